//! `face-reidentification-retail-0095` of Open Model Zoo, a MobileNet of 1.1 million weights.
//!
//! Source: Intel, Open Model Zoo 2023.0, Apache-2.0, after Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: Inverted
//! Residuals and Linear Bottlenecks", CVPR 2018, with gates by squeeze-and-excitation (Hu, Shen, Sun, CVPR 2018). LFW
//! 99.35 % to 99.43 % measured. The training data is not stated. Preprocessing: the middle 160×160 pixels of an aligned
//! crop, BGR, 0 to 255, resampled bicubically to 128×128 such that landmarks lie on the 96×112 template of ArcFace
//! stretched to that size. The network is sensitive to noise and to the filter: bilinear samples cost accuracy on small
//! faces.

use candle_core::{Device, Result, Tensor, bail};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::graph::{Builder, Layer, Map};
use nn::pinned::{Origin, PinnedFile, PinnedWeights};
use schema::footer::{Quality, Similarity};

use crate::network::Network;
use crate::preparation::{BGR, pixels};
use crate::spec::{EmbedderSpec, Source};

/// Side of the part of a crop that is resampled, pixels.
const CROP: usize = 160;
/// Side of the input, pixels.
const SIDE: usize = 128;
/// Length of the vectors.
const DIM: usize = 256;
/// Channels of the first two layers.
const STEM: usize = 64;
/// Blocks with a gate: channels between the layers of the block, channels after it, stride, and how often the block is repeated.
const BLOCKS: [(usize, usize, usize, usize); 6] = [
    (128, 64, 2, 1),
    (128, 64, 1, 4),
    (256, 128, 2, 1),
    (256, 128, 1, 6),
    (512, 128, 2, 1),
    (256, 128, 1, 2),
];
/// Channels of the layers after the blocks.
const LAST: usize = 512;
/// Side of the last map.
const LAST_SIDE: usize = 8;
/// The middle channels of a gate are this many times fewer.
const SQUEEZE: usize = 8;

/// The embedder `retail`.
pub const SPEC: EmbedderSpec = EmbedderSpec {
    similarity: Some(Similarity { different: 0.03, same: 0.35 }),
    quality: Some(quality),
    ..EmbedderSpec::new("retail", DIM, Source::Network { build: network, weights: Some(WEIGHTS) })
};

/// The published weights.
const WEIGHTS: PinnedWeights = PinnedWeights {
    name: "retail",
    origin: Origin::Storage(
        "https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1/\
         face-reidentification-retail-0095/FP16/",
    ),
    files: &[
        PinnedFile {
            path: "face-reidentification-retail-0095.xml",
            sha256: "ce53d2c9c08c0bd1c1660fb8a5b6d0e3e4ec19eb92f1036d2d83a85e83082dce",
        },
        PinnedFile {
            path: "face-reidentification-retail-0095.bin",
            sha256: "241229ca3d206321868d46ce74a3c0b06c49cea58db7dc70b2e842ff287545d1",
        },
    ],
    names: Vec::new,
    license: "Apache-2.0",
    trained_on: "not stated",
};

/// Mean of the unit vectors of faces at a raw norm of [`CENTRE_NORM`], ten-thousandths.
#[rustfmt::skip]
const MEAN: [i16; DIM] = [
    -36, 23, 76, 27, -59, 57, 146, 73, -131, -106, 65, -157, 277, 10, -86, -161, -85, 121, -103, 105, 8,
    95, 77, 237, 87, 46, 204, -220, 148, -308, -137, 346, -37, 147, 101, -204, 228, 53, -204, -6, -138,
    111, -126, -121, 138, -63, 294, 10, -239, 2, 244, 74, 381, 456, -93, 83, 95, 448, 85, -84, 110, 114,
    -56, 257, -179, 43, 138, 3, -85, -323, -16, 57, 197, 189, -143, -69, 294, -329, -101, -108, -260,
    -250, 110, -20, -84, 203, 63, -140, 150, 156, -93, 30, 157, 47, -94, 218, 41, 32, 42, -4, -88, -75,
    113, -41, 145, 184, 338, -139, -113, 349, -75, 269, 24, 151, -137, 66, -25, 77, 32, 0, 87, 1, 346,
    -181, -254, 222, -94, 406, -79, 250, -290, 74, 162, 429, 121, 72, -235, 67, -287, -166, -14, -58, -22,
    -17, -38, -82, 32, -131, 390, -308, 43, -193, -192, -17, -126, 42, -48, -85, 19, 40, -253, 144, -177,
    -39, -341, 158, 336, -268, -29, 270, -141, -101, 135, -69, -174, 244, -8, -44, 108, -252, -248, -46,
    -100, -323, -128, 118, -97, -181, 6, -162, -148, 202, -224, 145, -13, 154, 39, 229, 208, -154, -103,
    -99, -287, 157, -90, 140, 77, 256, 133, 115, 21, -192, 278, -157, -56, -165, 91, -192, -135, -292, 54,
    -184, -97, -58, -265, -82, -276, -71, 95, -81, 713, 65, -82, 26, 19, 2, -31, 136, -70, -177, 106, 258,
    -23, -444, 52, -53, -151, 197, 260, 167, 103, -99, 399, -194, -289, 54,
];
/// Change of that mean for each unit of the logarithm of the norm, ten-thousandths.
#[rustfmt::skip]
const SLOPE: [i16; DIM] = [
    64, -16, -40, 43, 207, -208, -191, -110, 156, 198, -178, 274, -456, -158, 79, 239, 254, -227, 30,
    -134, -52, -273, -114, -196, -47, 30, -323, 491, -302, 578, 209, -578, 66, -98, -248, 489, -215, -96,
    161, -243, 322, -126, 103, 298, -189, 53, -405, 20, 308, 72, -313, -9, -635, -681, 235, -366, -255,
    -786, -29, 63, 33, -150, 52, -463, 260, -236, -100, -102, 113, 498, 115, -25, -243, -229, 288, 253,
    -669, 511, 25, 205, 522, 464, -116, -15, 57, -454, -134, 292, -322, -293, 193, -43, -258, 70, 393,
    -277, -178, -95, -134, -39, 224, 318, -39, -139, -269, -343, -552, 156, 130, -517, 127, -444, -69,
    -342, 163, -58, -9, -157, 20, -61, -38, 119, -620, 234, 508, -260, 93, -713, 125, -439, 520, -143,
    -80, -666, -99, 110, 374, 6, 365, 122, -36, -83, -85, 31, 109, 151, 76, 333, -550, 564, -37, 301, 503,
    112, 292, -172, 298, 125, -172, -266, 488, -266, 213, 207, 509, -272, -644, 452, 205, -510, 289, 123,
    -322, 113, 319, -377, 124, 5, -87, 410, 419, 236, 340, 568, 296, -319, 167, 438, -32, 277, 345, -272,
    325, -310, 231, -274, 114, -297, -305, 238, 243, 73, 314, -262, 245, -98, -153, -572, -129, -364, 86,
    413, -334, 353, 78, 323, -60, 317, 185, 430, 26, 283, 116, 222, 213, 150, 383, 97, -101, 61, -1339,
    -171, 369, -58, -184, 81, 121, -342, 104, 410, -254, -526, 153, 730, -19, 233, 135, -288, -319, -386,
    33, -25, -945, 327, 492, -105,
];
const CENTRE_NORM: f64 = 9.0;
/// Raw norm, gain of the person, variance of the noise: see [`Quality`]. Less than 2 % of the pictures that these
/// numbers were fitted on have a norm below 10.
const QUALITY: [[f64; 3]; 10] = [
    [7.0, 0.100, 0.906],
    [8.0, 0.110, 0.893],
    [9.0, 0.169, 0.898],
    [10.0, 0.265, 0.894],
    [11.0, 0.395, 0.859],
    [12.0, 0.527, 0.792],
    [13.0, 0.650, 0.703],
    [14.0, 0.754, 0.610],
    [15.0, 0.835, 0.525],
    [16.5, 0.922, 0.422],
];
/// Variance of the person vector over the people of LFW.
const PERSON_VARIANCE: f64 = 0.670;
/// A quarter of the components: as for SFace, the value that minimizes the cost of the log likelihood ratios (Cllr) of
/// pairs of LFW people who were not used in the fit, rounded to the cautious side.
const EVIDENCE_DIM: f64 = 64.0;

/// The quality table.
///
/// Fitted as SFace's, on 6,287 pictures of 2,673 people of LFW, each clean and in two degraded copies, by crops of 160
/// pixels resampled bicubically. The gain is that of one picture: unlike with SFace, the tracks of nine labelled clips
/// are about as consistent as the table says (1.0 to 1.2 on most).
fn quality() -> Quality {
    let ten_thousandths = |numbers: [i16; DIM]| numbers.iter().map(|x| f32::from(*x) / 10_000.0).collect();
    let column = |at: usize| QUALITY.iter().map(|row| row[at]).collect();
    Quality {
        centre_norm: CENTRE_NORM,
        mean: ten_thousandths(MEAN),
        slope: ten_thousandths(SLOPE),
        norms: column(0),
        gain: column(1),
        noise: column(2),
        person_variance: PERSON_VARIANCE,
        evidence_dim: EVIDENCE_DIM,
    }
}

/// Builds the network from the constants of the IR, numbered in its order. It maps `(n, 128, 128, 3)`, BGR, scaled by
/// its first constants, to `(n, 256)`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn network(vb: &VarBuilder<'_>) -> Result<Network> {
    let mut constants = Constants { vb, next: 0 };
    // Factor and summand of every input channel.
    let scale: Vec<f32> = constants.per_channel(3)?.to_vec1()?;
    let shift: Vec<f32> = constants.per_channel(3)?.to_vec1()?;
    let (mut builder, input) = Builder::new();
    let (weight, bias) = (constants.weight(STEM, 3, 3)?, constants.per_channel(STEM)?);
    let layer = Conv2d::new(&weight, &bias, Window::three(2), constants.prelu(STEM)?)?;
    let mut map = builder.layer(input, layer);
    map = builder.layer(map, constants.depthwise(STEM, 1)?);
    let (mut channels, mut side) = (STEM, SIDE / 2);
    let blocks = BLOCKS
        .iter()
        .flat_map(|(inner, outputs, stride, count)| std::iter::repeat_n((*inner, *outputs, *stride), *count));
    for (inner, outputs, stride) in blocks {
        let before = map;
        side /= stride;
        map = builder.layer(map, constants.point(channels, inner)?);
        map = builder.layer(map, constants.depthwise(inner, stride)?);
        map = builder.layer(map, constants.linear(inner, outputs)?);
        map = constants.gate(&mut builder, map, outputs, side)?;
        if stride == 1 && channels == outputs {
            map = builder.add(before, map, Activation::Identity);
        }
        channels = outputs;
    }
    map = builder.layer(map, constants.point(channels, LAST)?);
    let pooling = constants.get((LAST, 1, 1, LAST_SIDE, LAST_SIDE))?;
    let pooling = pooling.reshape((LAST, 1, LAST_SIDE, LAST_SIDE))?;
    let (bias, window) = (constants.per_channel(LAST)?, Window::square(LAST_SIDE, 1, 0));
    map = builder.layer(map, Depthwise::new(&pooling, &bias, window, Activation::Identity)?);
    let matrix = constants.weight(DIM, LAST, 1)?;
    let none = Tensor::zeros(DIM, matrix.dtype(), matrix.device())?;
    map = builder.layer(map, Conv2d::new(&matrix, &none, Window::POINT, Activation::Identity)?);
    let warp = Warp::new();
    let prepare = move |rgb: &[u8], side| {
        let mut input = warp.apply(rgb, side)?;
        // The network pads its input with zeros after this, so that this cannot be folded into the first layer.
        for pixel in input.as_chunks_mut::<3>().0 {
            for (i, value) in pixel.iter_mut().enumerate() {
                *value = *value * scale[i] + shift[i];
            }
        }
        Tensor::from_vec(input, (1, SIDE, SIDE, 3), &Device::Cpu).map_err(|e| e.to_string())
    };
    Ok(Network::new(&SPEC, builder.build(map), prepare))
}

/// The constants of the IR, one after the other.
struct Constants<'a> {
    vb: &'a VarBuilder<'a>,
    next: usize,
}

impl Constants<'_> {
    fn get(&mut self, shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        let name = format!("constant.{}", self.next);
        self.next += 1;
        self.vb.get(shape.into(), &name)
    }

    /// Numbers of the channels of a map.
    fn per_channel(&mut self, channels: usize) -> Result<Tensor> {
        self.get((1, channels, 1, 1))?.reshape(channels)
    }

    fn weight(&mut self, outputs: usize, inputs: usize, side: usize) -> Result<Tensor> {
        self.get((outputs, inputs, side, side))
    }

    /// One slope for all channels.
    fn prelu(&mut self, channels: usize) -> Result<Activation> {
        let Some(slope) = self.get(1)?.to_vec1::<f32>()?.first().copied() else {
            bail!("the slope is missing")
        };
        Ok(Activation::Prelu(vec![slope; channels]))
    }

    fn linear(&mut self, inputs: usize, outputs: usize) -> Result<Conv2d> {
        let (weight, bias) = (self.weight(outputs, inputs, 1)?, self.per_channel(outputs)?);
        Conv2d::new(&weight, &bias, Window::POINT, Activation::Identity)
    }

    fn point(&mut self, inputs: usize, outputs: usize) -> Result<Conv2d> {
        let (weight, bias) = (self.weight(outputs, inputs, 1)?, self.per_channel(outputs)?);
        Conv2d::new(&weight, &bias, Window::POINT, self.prelu(outputs)?)
    }

    fn depthwise(&mut self, channels: usize, stride: usize) -> Result<Depthwise> {
        let weight = self.get((channels, 1, 1, 3, 3))?.reshape((channels, 1, 3, 3))?;
        let bias = self.per_channel(channels)?;
        Depthwise::new(&weight, &bias, Window::three(stride), self.prelu(channels)?)
    }

    /// `map` times its gate.
    fn gate(&mut self, builder: &mut Builder, map: Map, channels: usize, side: usize) -> Result<Map> {
        let mean = builder.layer(map, Layer::AvgPool(Window::square(side, 1, 0)));
        let narrow = builder.layer(mean, self.point(channels, channels / SQUEEZE)?);
        let wide = builder.layer(narrow, self.linear(channels / SQUEEZE, channels)?);
        let gate = builder.layer(wide, Layer::Sigmoid);
        Ok(builder.scale(map, gate))
    }
}

/// Samples along an axis: the first of four neighbours, and the weight of each.
type Taps = (usize, [f32; 4]);

/// The bicubic map from the middle of a crop to the input:
/// `x' = 4/3 x − 128/3`, `y' = 1.1424 y + 0.0063 x − 27.805` between pixel centres.
struct Warp {
    /// Of every column of the input.
    columns: Vec<Taps>,
    /// Of every pixel of the input, row by row.
    rows: Vec<Taps>,
}

impl Warp {
    fn new() -> Self {
        let x = |column: usize| (column as f64 + 128.0 / 3.0) * 0.75;
        let y = |row: usize, column: usize| (row as f64 + 27.805 - 0.0063 * x(column)) / 1.1424;
        let places = (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column)));
        Self {
            columns: (0..SIDE).map(|column| taps(x(column))).collect(),
            rows: places.map(|(row, column)| taps(y(row, column))).collect(),
        }
    }

    /// The input, BGR, 0 to 255, for an RGB picture of `side × side` pixels.
    ///
    /// # Errors
    /// When the picture has another size, or is smaller than [`CROP`].
    fn apply(&self, rgb: &[u8], side: usize) -> std::result::Result<Vec<f32>, String> {
        let (pixels, margin) = pixels(rgb, side, CROP)?;
        // The picture with its rows resampled.
        let rows = pixels.chunks_exact(side).skip(margin).take(CROP).map(|row| &row[margin..margin + CROP]);
        let narrow: Vec<[f32; 3]> = rows
            .flat_map(|row| {
                self.columns.iter().map(|(first, weights)| {
                    let four = &row[*first..first + 4];
                    BGR.map(|c| four.iter().zip(weights).map(|(pixel, w)| f32::from(pixel[c]) * w).sum())
                })
            })
            .collect();
        let mut input = Vec::with_capacity(SIDE * SIDE * 3);
        for (i, (first, weights)) in self.rows.iter().enumerate() {
            let four = [0, 1, 2, 3].map(|row| narrow[(first + row) * SIDE + i % SIDE]);
            let value = |c: usize| four.iter().zip(weights).map(|(pixel, w)| pixel[c] * w).sum::<f32>();
            input.extend([0, 1, 2].map(|c| value(c).clamp(0.0, 255.0)));
        }
        Ok(input)
    }
}

/// Taps at a position between the centres of the pixels of a crop: the cubic convolution of Keys (IEEE TASSP 1981) with
/// `a = −0.75`, as OpenCV's `INTER_CUBIC`.
fn taps(position: f64) -> Taps {
    const A: f64 = -0.75;
    let first = (position.floor() - 1.0).clamp(0.0, (CROP - 4) as f64);
    let weight = |i: usize| {
        let d = (position - first - i as f64).abs();
        let value = if d <= 1.0 {
            ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0
        } else {
            ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A
        };
        value as f32
    };
    (first as usize, [0, 1, 2, 3].map(weight))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn cubic_taps_keep_constants_and_lines() {
        for position in [30.0, 31.25, 40.5, 99.99, 135.0] {
            let (first, weights) = taps(position);
            let sum: f32 = weights.iter().sum();
            assert!((sum - 1.0).abs() < 1e-6, "{position}: {weights:?}");
            assert!((first as f64 - (position.floor() - 1.0)).abs() < 1e-9);
        }
        assert_eq!(taps(40.0), (39, [0.0, 1.0, 0.0, 0.0]));
        // Keys' polynomial for a = −0.75 half way between two pixels.
        assert_eq!(taps(40.5), (39, [-0.09375, 0.59375, 0.59375, -0.09375]));
    }

    #[test]
    fn a_crop_is_resampled_to_the_template() {
        // Red rises by one a column, green by one a row, blue is constant; cubic samples keep straight lines but
        // for the small error of `a = −0.75`, which has none of order one at pixel centres and half way.
        let picture: Vec<u8> = (0..160 * 160).flat_map(|i| [(i % 160) as u8, (i / 160) as u8, 7]).collect();
        let input = Warp::new().apply(&picture, 160).unwrap();
        let at = |row: usize, column: usize| &input[(row * SIDE + column) * 3..][..3];
        for (row, column) in [(0, 0), (127, 127), (40, 64), (99, 3)] {
            let x = (column as f64 + 128.0 / 3.0) * 0.75;
            let y = (row as f64 + 27.805 - 0.0063 * x) / 1.1424;
            let [blue, green, red] = at(row, column) else { unreachable!() };
            assert!(
                (f64::from(*red) - x).abs() < 0.1 && (f64::from(*green) - y).abs() < 0.1,
                "{row} {column}"
            );
            assert!((blue - 7.0).abs() < 1e-4);
        }
        // Of a larger crop the middle counts.
        let large: Vec<u8> = (0..170 * 170)
            .flat_map(|i| [(i % 170_i32 - 5).clamp(0, 255) as u8, (i / 170_i32 - 5).clamp(0, 255) as u8, 7])
            .collect();
        assert_eq!(Warp::new().apply(&large, 170).unwrap(), input);
        assert_eq!(Warp::new().apply(&[0; 3], 1).unwrap_err(), "is 1 pixels wide; at least 160 are needed");
    }
}
