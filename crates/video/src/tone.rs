//! ToneMap mapping of high dynamic range for networks that were trained on pictures of standard range.
//!
//! PQ and HLG (ITU-R BT.2100) are converted to the linear light of a display with a peak of 1000 cd/m², and from the
//! primaries of BT.2020 to those of BT.709 (ITU-R BT.2087). The light is then compressed to a peak of 203 cd/m², the
//! reference white of ITU-R BT.2408, by the EETF of ITU-R BT.2390, section 5.4.1: light up to 92 cd/m² stays as it is,
//! and 1000 cd/m² become 203 cd/m². Light becomes a signal by the gamma of BT.1886.
//!
//! HLG's system gamma of 1.2 is applied to each channel instead of luminance, which makes colours slightly stronger.

use ffmpeg::color::{Primaries, TransferCharacteristic};
use ffmpeg::frame;

/// Peak of the display of high dynamic range, cd/m².
const HDR_PEAK_NITS: f64 = 1000.0;
/// Peak of the display of standard range: its white, cd/m².
const SDR_PEAK_NITS: f64 = 203.0;
/// HLG's system gamma for a display with the peak [`HDR_PEAK_NITS`].
const HLG_GAMMA: f64 = 1.2;
/// Number of levels of light. The levels are uniform in the square root of light, so that dark levels are finer.
const LEVELS: usize = 4096;
/// Matrix from linear RGB of BT.2020 to linear RGB of BT.709.
const TO_BT709: [[f32; 3]; 3] =
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]];

/// Maps pixels of high dynamic range to standard range.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToneMap {
    kind: (TransferCharacteristic, Primaries),
    /// Linear light of each 8-bit signal, as a share of [`HDR_PEAK_NITS`]: 0 to 1 for HLG, 0 to 10 for PQ.
    light: [f32; 256],
    /// 8-bit signal of standard range for each of [`LEVELS`] levels of light.
    signal: Vec<u8>,
    /// 8-bit signal of standard range for each 8-bit signal of grey.
    grey: [u8; 256],
}

impl ToneMap {
    /// Returns the transfer characteristic and the primaries of a frame; `None` for standard range.
    pub(crate) fn kind(frame: &frame::Video) -> Option<(TransferCharacteristic, Primaries)> {
        use TransferCharacteristic::{ARIB_STD_B67, SMPTE2084};
        let transfer = frame.color_transfer_characteristic();
        matches!(transfer, SMPTE2084 | ARIB_STD_B67).then(|| (transfer, frame.color_primaries()))
    }

    /// Creates the mapping for this transfer characteristic and these primaries.
    pub(crate) fn new(kind: (TransferCharacteristic, Primaries)) -> Self {
        let light = |signal: usize| {
            let signal = signal as f64 / 255.0;
            match kind.0 {
                TransferCharacteristic::ARIB_STD_B67 => hlg_inverse_oetf(signal).powf(HLG_GAMMA),
                _ => pq_eotf(signal) / HDR_PEAK_NITS,
            }
        };
        let light: [f32; 256] = std::array::from_fn(|signal| light(signal) as f32);
        let signal: Vec<u8> = (0..LEVELS)
            .map(|level| {
                let light = eetf(HDR_PEAK_NITS * (level as f64 / (LEVELS - 1) as f64).powi(2));
                (255.0 * (light / SDR_PEAK_NITS).powf(1.0 / 2.4)).round() as u8
            })
            .collect();
        let grey = light.map(|light| signal[level(light)]);
        Self { kind, light, signal, grey }
    }

    /// Returns whether the mapping is for this transfer characteristic and these primaries.
    pub(crate) fn fits(&self, kind: (TransferCharacteristic, Primaries)) -> bool {
        self.kind == kind
    }

    /// Maps interleaved 8-bit RGB in place. Primaries other than those of BT.709 are taken as those of BT.2020.
    pub(crate) fn rgb_row(&self, row: &mut [u8]) {
        let is_wide = self.kind.1 != Primaries::BT709;
        for pixel in row.as_chunks_mut::<3>().0 {
            let light = pixel.map(|signal| self.light[usize::from(signal)]);
            let light = match is_wide {
                true => TO_BT709.map(|[r, g, b]| r * light[0] + g * light[1] + b * light[2]),
                false => light,
            };
            *pixel = light.map(|light| self.signal[level(light)]);
        }
    }

    /// Maps 8-bit luma of full range in place, as if every pixel were grey.
    pub(crate) fn luma_row(&self, row: &mut [u8]) {
        row.iter_mut().for_each(|luma| *luma = self.grey[usize::from(*luma)]);
    }
}

/// Returns the level of linear light, a share of [`HDR_PEAK_NITS`]; light outside 0 to 1 is clamped.
fn level(light: f32) -> usize {
    (light.clamp(0.0, 1.0).sqrt() * (LEVELS - 1) as f32 + 0.5) as usize
}

/// Constants of PQ (SMPTE ST 2084): m₁, m₂, c₁, c₂, c₃.
const PQ: [f64; 5] = [0.159_301_757_812_5, 78.84375, 0.8359375, 18.8515625, 18.6875];

/// Returns the light of a PQ signal of 0 to 1, cd/m² (EOTF).
fn pq_eotf(signal: f64) -> f64 {
    let [m1, m2, c1, c2, c3] = PQ;
    let power = signal.powf(1.0 / m2);
    10_000.0 * ((power - c1).max(0.0) / (c2 - c3 * power)).powf(1.0 / m1)
}

/// Returns the PQ signal, 0 to 1, of light in cd/m² (inverse EOTF).
fn pq_inverse_eotf(light: f64) -> f64 {
    let [m1, m2, c1, c2, c3] = PQ;
    let power = (light / 10_000.0).powf(m1);
    ((c1 + c2 * power) / (1.0 + c3 * power)).powf(m2)
}

/// Returns the scene light of an HLG signal, both 0 to 1 (inverse OETF).
fn hlg_inverse_oetf(signal: f64) -> f64 {
    let (a, b, c) = (0.178_832_77, 0.284_668_92, 0.559_910_73);
    if signal <= 0.5 { signal * signal / 3.0 } else { (((signal - c) / a).exp() + b) / 12.0 }
}

/// Returns light after compression from [`HDR_PEAK_NITS`] to [`SDR_PEAK_NITS`], both in cd/m² (EETF).
fn eetf(light: f64) -> f64 {
    let peak = pq_inverse_eotf(HDR_PEAK_NITS);
    let white = pq_inverse_eotf(SDR_PEAK_NITS) / peak;
    let signal = pq_inverse_eotf(light) / peak;
    let knee = 1.5 * white - 0.5;
    if signal <= knee {
        return light;
    }
    let t = (signal - knee) / (1.0 - knee);
    let (t2, t3) = (t * t, t * t * t);
    let spline = (2.0 * t3 - 3.0 * t2 + 1.0) * knee
        + (t3 - 2.0 * t2 + t) * (1.0 - knee)
        + (3.0 * t2 - 2.0 * t3) * white;
    pq_eotf(spline * peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signals of light by BT.2100 (PQ) and of scene light (HLG), as tables of the standards have them.
    #[test]
    fn curves_have_their_published_values() {
        for (light, signal) in
            [(0.0, 0.0), (100.0, 0.5081), (203.0, 0.5807), (1000.0, 0.7518), (10_000.0, 1.0)]
        {
            assert!((pq_inverse_eotf(light) - signal).abs() < 1e-4, "{light}: {}", pq_inverse_eotf(light));
            assert!((pq_eotf(pq_inverse_eotf(light)) - light).abs() < 1e-6 * light.max(1.0), "{light}");
        }
        for (signal, light) in [(0.0, 0.0), (0.5, 1.0 / 12.0), (0.75, 0.2650), (1.0, 1.0)] {
            assert!(
                (hlg_inverse_oetf(signal) - light).abs() < 1e-4,
                "{signal}: {}",
                hlg_inverse_oetf(signal)
            );
        }
    }

    #[test]
    fn dark_light_stays_and_bright_light_is_compressed() {
        assert_eq!(eetf(50.0), 50.0);
        assert!((eetf(203.0) - 159.0).abs() < 0.1, "{}", eetf(203.0));
        assert!((eetf(1000.0) - 203.0).abs() < 1e-6, "{}", eetf(1000.0));
        let mut last = 0.0;
        for light in (0..1000).map(f64::from) {
            assert!(eetf(light) >= last, "{light}");
            last = eetf(light);
        }
    }

    /// Black, grey and white of both curves; a face is between the last two.
    #[test]
    fn greys_stay_grey() {
        use TransferCharacteristic::{ARIB_STD_B67, SMPTE2084};
        for transfer in [SMPTE2084, ARIB_STD_B67] {
            let tone = ToneMap::new((transfer, Primaries::BT2020));
            for signal in 0..=255 {
                let (mut pixel, mut luma) = ([signal; 3], [signal]);
                tone.rgb_row(&mut pixel);
                tone.luma_row(&mut luma);
                assert!(pixel.iter().all(|v| v.abs_diff(luma[0]) <= 1), "{transfer:?} {signal}: {pixel:?}");
            }
            // Reference white: 58 % of PQ, 75 % of HLG.
            let white = if transfer == SMPTE2084 { 148 } else { 191 };
            assert!((225..=232).contains(&tone.grey[white]), "{transfer:?}: {}", tone.grey[white]);
            assert_eq!((tone.grey[0], tone.grey[255]), (0, 255));
        }
    }

    /// Saturated red of BT.709 as BT.2020 has it, half as light as reference white.
    #[test]
    fn colours_get_other_primaries() {
        let tone = ToneMap::new((TransferCharacteristic::SMPTE2084, Primaries::BT2020));
        let light = [0.6274, 0.0691, 0.0164].map(|share| 100.0 * share);
        let mut pixel = light.map(|light| (255.0 * pq_inverse_eotf(light)).round() as u8);
        tone.rgb_row(&mut pixel);
        assert!(pixel[0] > 180 && pixel[1] < 30 && pixel[2] < 30, "{pixel:?}");
    }
}
