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
use schema::footer::Similarity;

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
    quality: Some(include_str!("../quality/retail.json")),
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
        // The picture with its rows resampled. Loops and not iterators over arrays, which take six times as long.
        let mut narrow = vec![[0.0_f32; 3]; CROP * SIDE];
        let rows = pixels.chunks_exact(side).skip(margin);
        for (row, target) in rows.zip(narrow.chunks_exact_mut(SIDE)) {
            for ((first, weights), pixel) in self.columns.iter().zip(target) {
                let four: &[[u8; 3]; 4] = &row[margin + first..].as_chunks().0[0];
                for i in 0..3 {
                    for tap in 0..4 {
                        pixel[i] += f32::from(four[tap][BGR[i]]) * weights[tap];
                    }
                }
            }
        }
        let mut input = vec![0.0_f32; SIDE * SIDE * 3];
        let places =
            self.rows.iter().enumerate().map(|(i, (first, weights))| (first * SIDE + i % SIDE, weights));
        for ((place, weights), pixel) in places.zip(input.as_chunks_mut::<3>().0) {
            let column = &narrow[place..=place + 3 * SIDE];
            for i in 0..3 {
                let mut sum = 0.0;
                for tap in 0..4 {
                    sum += column[tap * SIDE][i] * weights[tap];
                }
                pixel[i] = sum.clamp(0.0, 255.0);
            }
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
