//! IResNet, the residual networks of ArcFace: 24 to 65 million weights.
//!
//! Source: Duta, Liu, Zhu, Shao, "Improved Residual Networks for Image and Video Recognition", ICPR 2020,
//! as in `iresnet.py` of insightface's `arcface_torch`. Licence, training data and preprocessing: see
//! [`arcface`](crate::arcface).

use candle_core::Result;
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::graph::{Builder, Graph, Map};

use crate::arcface::{DIM, Tensors, count};

/// Output channels of the layers, each of several blocks.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];
/// Side of the last map.
const LAST_SIDE: usize = 7;

/// How deep the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Residual blocks of each layer.
    pub blocks: [usize; 4],
}

impl Config {
    /// IResNet-18.
    pub const R18: Self = Self { blocks: [2, 2, 2, 2] };
    /// IResNet-34.
    pub const R34: Self = Self { blocks: [3, 4, 6, 3] };
    /// IResNet-50.
    pub const R50: Self = Self { blocks: [3, 4, 14, 3] };
    /// IResNet-100.
    pub const R100: Self = Self { blocks: [3, 13, 30, 3] };

    /// Counts the blocks. `None` when these are not the tensors of an IResNet.
    pub fn find(vb: &VarBuilder<'_>) -> Option<Self> {
        let blocks = [1, 2, 3, 4].map(|layer| count(vb, &format!("layer{layer}."), ".bn1.weight"));
        (!blocks.contains(&0)).then_some(Self { blocks })
    }
}

/// Builds the network from tensors named as in [`arcface::network`](crate::arcface::network). Batch norms are folded
/// into the layers, but for those before convolutions with a border: the border is zeros behind the norm.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub(crate) fn graph(config: Config, vb: &VarBuilder<'_>) -> Result<Graph> {
    let (builder, input) = Builder::new();
    let mut network = Draft { tensors: Tensors::new(vb), builder };
    let (weight, bias) = network.tensors.conv("conv1", "bn1", (CHANNELS[0], 3, 3, 3))?;
    let activation = network.tensors.prelu("prelu", CHANNELS[0])?;
    let stem = Conv2d::new(&weight, &bias, Window::three(1), activation)?;
    let mut map = network.builder.layer(input, stem);
    let mut inputs = CHANNELS[0];
    for (i, (outputs, blocks)) in CHANNELS.into_iter().zip(config.blocks).enumerate() {
        for block in 0..blocks {
            map = network.block(map, &format!("layer{}.{block}", i + 1), (outputs, inputs), block == 0)?;
            inputs = outputs;
        }
    }
    let Draft { tensors, mut builder } = network;
    let matrix = tensors.get((DIM, inputs * LAST_SIDE * LAST_SIDE), "fc.weight")?;
    let bias = tensors.get(DIM, "fc.bias")?;
    let after = tensors.norm("features", DIM)?;
    let last = tensors.norm("bn2", inputs)?.around(&matrix, &bias, &after, LAST_SIDE)?;
    let vector = builder.layer(map, last);
    Ok(builder.build(vector))
}

/// The network while it is put together.
struct Draft<'a> {
    tensors: Tensors<'a>,
    builder: Builder,
}

impl Draft<'_> {
    /// A residual block; the first of a layer halves the map.
    fn block(
        &mut self,
        input: Map,
        name: &str,
        (outputs, inputs): (usize, usize),
        first: bool,
    ) -> Result<Map> {
        let Self { tensors, builder } = self;
        let stride = if first { 2 } else { 1 };
        let norm = tensors.norm(&format!("{name}.bn1"), inputs)?;
        let scales = norm.scale.reshape((inputs, 1, 1, 1))?;
        let map =
            builder.layer(input, Depthwise::new(&scales, &norm.shift, Window::POINT, Activation::Identity)?);
        let (conv, norm) = (format!("{name}.conv1"), format!("{name}.bn2"));
        let (weight, bias) = tensors.conv(&conv, &norm, (outputs, inputs, 3, 3))?;
        let activation = tensors.prelu(&format!("{name}.prelu"), outputs)?;
        let map = builder.layer(map, Conv2d::new(&weight, &bias, Window::three(1), activation)?);
        let mut conv = |conv: &str, norm: &str, inputs, window: Window| {
            let [height, width] = window.size;
            let (conv, norm) = (format!("{name}.{conv}"), format!("{name}.{norm}"));
            let (weight, bias) = tensors.conv(&conv, &norm, (outputs, inputs, height, width))?;
            Conv2d::new(&weight, &bias, window, Activation::Identity)
        };
        let map = builder.layer(map, conv("conv2", "bn3", outputs, Window::three(stride))?);
        let shortcut = if first {
            builder.layer(input, conv("downsample.0", "downsample.1", inputs, Window::square(1, 2, 0))?)
        } else {
            input
        };
        Ok(builder.add(map, shortcut, Activation::Identity))
    }
}
