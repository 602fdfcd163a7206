//! Colours of the clothes below a face, as a histogram that linking compares within a scene.
//!
//! The torso is taken to be as wide as one and a half heights of the face box, from a quarter to one and a
//! half heights below it. Its pixels are counted in CIE L*a*b* (D65), in [`TORSO_BINS`] bins: 5 of L* from
//! 0 to 100, 8 each of a* and b* from −64 to 64, colours beyond in the outermost. At the end of a track the
//! counts of its frames, each frame of sum 1, are averaged and smoothed by a Gaussian of 0.6 bins.

use std::sync::LazyLock;

use geometry::BBox;
use schema::tables::TORSO_BINS;
use video::Image;

const L_BINS: usize = 5;
const AB_BINS: usize = 8;
/// Range of a* and b*, to both sides of grey.
const MOST_AB: f32 = 64.0;
/// Standard deviation of the smoothing, bins.
const SMOOTHING: f32 = 0.6;
/// Bins to each side beyond which the smoothing is cut off.
const REACH: usize = 2;
/// Half the width of the torso, and where it begins below the face, in heights of the face box.
const HALF_WIDTH: f32 = 0.75;
const TOP: f32 = 0.25;
/// Where the torso ends below the face, in heights of the face box.
pub const BOTTOM: f32 = 1.5;
/// Share of the torso that must be in the picture.
const LEAST_INSIDE: f32 = 0.35;
/// About as many pixels are looked at.
const PIXELS: f32 = 1000.0;

/// Counts by bin: a* and b* vary fastest.
pub type Counts = Box<[f32; TORSO_BINS]>;

/// The share of each colour in the clothes below a face of `picture`, RGB; `None` where too little of them is in the
/// picture.
pub fn look(picture: &Image, face: &BBox) -> Option<Counts> {
    let (height, middle) = (face.height(), f32::midpoint(face.x_min, face.x_max));
    let torso = BBox {
        x_min: middle - HALF_WIDTH * height,
        y_min: face.y_max + TOP * height,
        x_max: middle + HALF_WIDTH * height,
        y_max: face.y_max + BOTTOM * height,
    };
    let clamped = |value: f32, most: usize| value.round().clamp(0.0, most as f32);
    let [x_min, x_max] = [torso.x_min, torso.x_max].map(|x| clamped(x, picture.width));
    let [y_min, y_max] = [torso.y_min, torso.y_max].map(|y| clamped(y, picture.height));
    let area = (x_max - x_min) * (y_max - y_min);
    if area < 1.0 || area < LEAST_INSIDE * torso.area() {
        return None;
    }
    let step = (area / PIXELS).sqrt().ceil().max(1.0) as usize;
    let mut counts = Box::new([0.0; TORSO_BINS]);
    let mut total = 0.0;
    for y in (y_min as usize..y_max as usize).step_by(step) {
        for x in (x_min as usize..x_max as usize).step_by(step) {
            let at = (y * picture.width + x) * 3;
            if let Some(rgb) = picture.data.get(at..).and_then(|rest| rest.first_chunk()) {
                counts[bin(lab(*rgb))] += 1.0;
                total += 1.0;
            }
        }
    }
    counts.iter_mut().for_each(|count| *count /= total);
    (total > 0.0).then_some(counts)
}

/// Mean over the frames of a track.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeanTorso {
    sum: Option<Counts>,
}

impl MeanTorso {
    /// Adds a frame.
    pub fn add(&mut self, counts: Counts) {
        match &mut self.sum {
            None => self.sum = Some(counts),
            Some(sum) => sum.iter_mut().zip(counts.iter()).for_each(|(sum, count)| *sum += count),
        }
    }

    /// Adds the frames of another track of the same face.
    pub fn absorb(&mut self, other: Self) {
        other.sum.into_iter().for_each(|counts| self.add(counts));
    }

    /// The smoothed histogram, of sum 1; `None` where no frame was added.
    pub fn finish(self) -> Option<Counts> {
        let mut counts = self.sum?;
        for (bins, stride) in [(L_BINS, AB_BINS * AB_BINS), (AB_BINS, AB_BINS), (AB_BINS, 1)] {
            smooth(&mut counts, bins, stride);
        }
        let total: f32 = counts.iter().sum();
        counts.iter_mut().for_each(|count| *count /= total);
        Some(counts)
    }
}

/// Smooths along one axis, of so many bins that are `stride` apart; the histogram is mirrored at its ends.
fn smooth(counts: &mut [f32; TORSO_BINS], bins: usize, stride: usize) {
    let weight = |offset: usize| (-0.5 * (offset as f32 / SMOOTHING).powi(2)).exp();
    let kernel: [f32; REACH + 1] = std::array::from_fn(weight);
    let total = kernel[0] + 2.0 * kernel[1..].iter().sum::<f32>();
    let before = *counts;
    let mirrored = |at: isize| {
        let at = if at < 0 { -1 - at } else { at } as usize;
        if at < bins { at } else { 2 * bins - 1 - at }
    };
    for (place, count) in counts.iter_mut().enumerate() {
        let own = place / stride % bins;
        let reach = REACH as isize;
        *count = (-reach..=reach)
            .map(|offset| {
                let other = mirrored(own as isize + offset);
                before[place - own * stride + other * stride] * kernel[offset.unsigned_abs()]
            })
            .sum::<f32>()
            / total;
    }
}

/// CIE L*a*b* of an sRGB colour: L* 0 to 100, a* and b* about −100 to 100.
fn lab(rgb: [u8; 3]) -> [f32; 3] {
    /// Linear light of a byte (IEC 61966-2-1).
    static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
        std::array::from_fn(|byte| {
            let value = byte as f32 / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    });
    let [r, g, b] = rgb.map(|byte| LINEAR[usize::from(byte)]);
    // Relative to the white of D65.
    let x = (0.412_453 * r + 0.357_580 * g + 0.180_423 * b) / 0.950_456;
    let y = 0.212_671 * r + 0.715_160 * g + 0.072_169 * b;
    let z = (0.019_334 * r + 0.119_193 * g + 0.950_227 * b) / 1.088_754;
    let [x, y, z] = [x, y, z].map(|t| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// In whole steps of a* and b*, as 8-bit pictures have them: so grey is in one bin, whatever the rounding.
fn bin([l, a, b]: [f32; 3]) -> usize {
    let place = |share: f32, bins: usize| ((share * bins as f32).max(0.0) as usize).min(bins - 1);
    let [a, b] = [a, b].map(|value| place((value.round() + MOST_AB) / (2.0 * MOST_AB), AB_BINS));
    (place(l / 100.0, L_BINS) * AB_BINS + a) * AB_BINS + b
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Numbers of OpenCV 4's `cvtColor` with `COLOR_RGB2LAB`, which rounds them.
    #[test]
    fn colours_are_those_of_opencv() {
        let cases = [
            ([0, 0, 0], [0.0, 0.0, 0.0]),
            ([255, 255, 255], [100.0, 0.0, 0.0]),
            ([255, 0, 0], [53.33, 80.0, 67.0]),
            ([0, 0, 255], [32.16, 79.0, -108.0]),
            ([30, 90, 60], [33.73, -28.0, 12.0]),
            ([200, 180, 40], [72.94, -7.0, 68.0]),
            ([12, 3, 40], [2.75, 11.0, -21.0]),
        ];
        for (rgb, expected) in cases {
            let found = lab(rgb);
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 0.8, "{rgb:?}: {found} for {expected}");
            }
        }
    }

    /// Numbers of SciPy's `gaussian_filter`, sigma 0.6, mode `reflect`.
    #[test]
    fn smoothing_is_that_of_scipy() {
        let at = |l: usize, a: usize, b: usize| (l * AB_BINS + a) * AB_BINS + b;
        let mut counts: Counts = Box::new([0.0; TORSO_BINS]);
        counts[at(0, 4, 4)] = 0.5;
        counts[at(2, 7, 0)] = 0.5;
        let mut mean = MeanTorso::default();
        mean.add(counts.clone());
        mean.add(counts);
        let found = mean.finish().unwrap();
        let expected = [
            (at(0, 4, 4), 0.182_727),
            (at(1, 4, 4), 0.037_035),
            (at(0, 3, 4), 0.045_563),
            (at(2, 7, 0), 0.228_290),
            (at(2, 7, 1), 0.046_270),
            (at(4, 7, 0), 0.000_883),
            (at(0, 4, 6), 0.000_706),
        ];
        for (place, expected) in expected {
            assert!((found[place] - expected).abs() < 1e-5, "{} for {expected}", found[place]);
        }
        assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(MeanTorso::default().finish(), None);
    }

    /// A red shirt below a face, in a green picture.
    #[test]
    fn the_torso_is_below_the_face() {
        let (width, height) = (200, 200);
        let mut picture = Image { width, height, channels: 3, data: [0, 200, 0].repeat(width * height) };
        for y in 90..160 {
            for x in 55..145 {
                picture.data[(y * width + x) * 3..][..3].copy_from_slice(&[200, 0, 0]);
            }
        }
        let face = BBox::from_corner(80.0, 20.0, 40.0, 50.0);
        let counts = look(&picture, &face).unwrap();
        let red = counts[bin(lab([200, 0, 0]))];
        assert!((0.85..1.0).contains(&red), "{red}");
        assert!((counts.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let low = BBox::from_corner(80.0, 130.0, 40.0, 50.0);
        assert_eq!(look(&picture, &low), None, "the torso is below the picture");
    }
}
