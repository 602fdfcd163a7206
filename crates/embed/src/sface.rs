//! SFace, a MobileNet-style network of 9.7 million weights.
//!
//! Source: Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-constrained Hypersphere Loss for Robust
//! Face Recognition", IEEE TIP 2021; weights `face_recognition_sface_2021dec` of opencv_zoo,
//! Apache-2.0. LFW 99.40 % published; 99.38 % measured on the 6,000 pairs with YuNet's points.
//! Trained on CASIA-WebFace, VGGFace2 and MS-Celeb-1M, pictures gathered from the web: see
//! "Weights" in the README.
//! Preprocessing: the middle 112×112 pixels of an aligned crop, RGB; `(x − 127.5) / 128`, which
//! the checkpoint has as its first two operations.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::graph::{Graph, Layer};

use crate::Embedder;

/// Side of the input, pixels.
const SIDE: usize = 112;
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
/// Blocks before the map shrinks to 7×7.
const EARLY_BLOCKS: usize = 11;
/// Side of the map that the last block gives.
const LAST_SIDE: usize = 7;

/// `ε` of the batch norms inside the blocks.
const EPSILON: f64 = 1e-3;
/// `ε` of the two batch norms around the last layer.
const LAST_EPSILON: f64 = 2e-5;

/// The network, batch norms folded into the convolutions.
pub struct SFace {
    /// The stem and blocks whose maps are large: a few rows of them fill a cache.
    early: Graph,
    /// Blocks whose weights are large: they run on several images at a time.
    late: Graph,
    /// The fully connected layer, as a convolution of one pixel with very many channels.
    last: Graph,
}

impl SFace {
    /// Builds the network from the tensors of the checkpoint, under their names there.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn new(vb: &VarBuilder<'_>) -> Result<Self> {
        let stem = Folded::new(vb, "conv_1", (32, 3, 3, 3))?;
        let stem = Conv2d::new(&stem.weight, &stem.bias, Window::three(1), stem.activation)?;
        let mut blocks: Vec<Layer> = vec![stem.into()];
        let mut inputs = 32;
        for (i, (outputs, stride)) in BLOCKS.into_iter().enumerate() {
            let name = format!("conv_{}", i + 2);
            let depth = Folded::new(vb, &format!("{name}_dw"), (inputs, 1, 3, 3))?;
            let point = Folded::new(vb, &name, (outputs, inputs, 1, 1))?;
            let depth = Depthwise::new(&depth.weight, &depth.bias, Window::three(stride), depth.activation)?;
            let point = Conv2d::new(&point.weight, &point.bias, Window::POINT, point.activation)?;
            blocks.extend([depth.into(), point.into()]);
            inputs = outputs;
        }
        let late = blocks.split_off(1 + 2 * EARLY_BLOCKS);
        Ok(Self {
            early: Graph::chain(blocks),
            late: Graph::chain(late),
            last: Graph::chain(vec![last_layer(vb, inputs)?.into()]),
        })
    }

    /// Maps `(n, 112, 112, 3)`, values −1 to 1, to `(n, 128)`.
    ///
    /// # Errors
    /// When the tensor has another shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.late.forward(&self.early.forward(x)?)?;
        let (n, height, width, channels) = x.dims4()?;
        self.last.forward(&x.reshape((n, 1, 1, height * width * channels))?)?.reshape((n, DIM))
    }
}

impl Embedder for SFace {
    fn name(&self) -> &'static str {
        "sface"
    }

    fn dim(&self) -> usize {
        DIM
    }

    fn license(&self) -> &'static str {
        "Apache-2.0"
    }

    fn prepare(&self, rgb: &[u8], side: usize) -> std::result::Result<Tensor, String> {
        let margin =
            side.checked_sub(SIDE).ok_or_else(|| format!("is {side} pixels wide, less than {SIDE}"))? / 2;
        let rows = rgb.chunks_exact(side * 3).skip(margin).take(SIDE);
        let middle = rows.flat_map(|row| &row[margin * 3..(margin + SIDE) * 3]);
        let values: Vec<f32> = middle.map(|v| (f32::from(*v) - 127.5) / 128.0).collect();
        Tensor::from_vec(values, (1, SIDE, SIDE, 3), &Device::Cpu).map_err(|e| e.to_string())
    }

    fn embed(&self, inputs: &Tensor) -> Result<Vec<Vec<f32>>> {
        self.forward(inputs)?.to_vec2()
    }
}

/// A convolution and its batch norm as one.
struct Folded {
    weight: Tensor,
    bias: Tensor,
    activation: Activation,
}

impl Folded {
    fn new(vb: &VarBuilder<'_>, name: &str, shape: (usize, usize, usize, usize)) -> Result<Self> {
        let norm = Norm::new(vb, &format!("{name}_batchnorm"), shape.0, EPSILON)?;
        let weight = vb.get(shape, &format!("{name}_conv2d_weight"))?;
        let slopes = vb.get((shape.0, 1, 1), &format!("{name}_relu_gamma"))?;
        Ok(Self {
            weight: weight.broadcast_mul(&norm.scale.reshape((shape.0, 1, 1, 1))?)?,
            bias: norm.shift,
            activation: Activation::Prelu(slopes.flatten_all()?.to_vec1()?),
        })
    }
}

/// A batch norm at rest: `scale × x + shift`, per channel.
struct Norm {
    scale: Tensor,
    shift: Tensor,
}

impl Norm {
    fn new(vb: &VarBuilder<'_>, name: &str, channels: usize, epsilon: f64) -> Result<Self> {
        let get = |part: &str| vb.get(channels, &format!("{name}_{part}"));
        let scale = (get("gamma")? / (get("moving_var")? + epsilon)?.sqrt()?)?;
        let shift = (get("beta")? - (get("moving_mean")? * &scale)?)?;
        Ok(Self { scale, shift })
    }
}

/// `fc1(pre_fc1(bn1(x)))`: two batch norms folded into the matrix between them.
fn last_layer(vb: &VarBuilder<'_>, channels: usize) -> Result<Conv2d> {
    let before = Norm::new(vb, "bn1", channels, LAST_EPSILON)?;
    let after = Norm::new(vb, "fc1", DIM, LAST_EPSILON)?;
    let matrix = vb.get((DIM, channels * LAST_SIDE * LAST_SIDE), "pre_fc1_weight")?;
    let matrix = matrix.reshape((DIM, channels, LAST_SIDE * LAST_SIDE))?;
    let shifted = matrix.broadcast_mul(&before.shift.reshape((1, channels, 1))?)?.sum((1, 2))?;
    let bias = ((vb.get(DIM, "pre_fc1_bias")? + shifted)? * &after.scale)?;
    let weight = matrix
        .broadcast_mul(&before.scale.reshape((1, channels, 1))?)?
        .broadcast_mul(&after.scale.reshape((DIM, 1, 1))?)?
        .transpose(1, 2)?
        .reshape((DIM, LAST_SIDE * LAST_SIDE * channels, 1, 1))?;
    Conv2d::new(&weight, &(bias + after.shift)?, Window::POINT, Activation::Identity)
}
