//! MobileFaceNet, the small networks of ArcFace: 2 to 6 million weights.
//!
//! Source: Chen, Liu, Gao, Han, "MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on
//! Mobile Devices", CCBR 2018, as in `mobilefacenet.py` of insightface's `arcface_torch`. Licence, training
//! data and preprocessing: see [`arcface`](crate::arcface).

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::graph::{Builder, Graph, Map};

use crate::arcface::{DIM, Tensors, count};

/// Channels of the first layer at scale 1, and the groups of the second one.
const GROUPS: usize = 64;
/// Side of the last map.
const LAST_SIDE: usize = 7;

/// Depth and width of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Residual blocks of each part; 1 of the first part is a grouped convolution in their place.
    pub blocks: [usize; 4],
    /// Multiplies the channels.
    pub scale: usize,
}

impl Config {
    /// insightface's `get_mbf`.
    pub const SMALL: Self = Self { blocks: [1, 4, 6, 2], scale: 2 };
    /// insightface's `get_mbf_large`.
    pub const LARGE: Self = Self { blocks: [2, 8, 12, 4], scale: 4 };

    /// Counts blocks and channels. `None` when these are not the tensors of a MobileFaceNet.
    pub fn find(vb: &VarBuilder<'_>) -> Option<Self> {
        vb.contains_tensor("features.layers.3.weight").then_some(())?;
        let first =
            ["layers.0.layers.0.weight", "Conv.0.1"].into_iter().find(|name| vb.contains_tensor(name))?;
        let scale = vb.get_unchecked(first).ok()?.dim(0).ok()? / GROUPS;
        let named = [1, 3, 5, 7]
            .map(|part| count(vb, &format!("layers.{part}.layers."), ".layers.0.layers.0.weight").max(1));
        // Without names, blocks cannot be distinguished: assume the published depth with as many
        // convolutions.
        let unnamed = count(vb, "Conv.", ".1");
        let matches = |blocks: &[usize; 4]| convolutions(*blocks) == unnamed;
        let blocks = match unnamed {
            0 => Some(named),
            _ => [Self::SMALL, Self::LARGE].map(|config| config.blocks).into_iter().find(matches),
        };
        Some(Self { blocks: blocks?, scale }).filter(|config| config.scale > 0)
    }
}

/// Number of convolutions.
fn convolutions(blocks: [usize; 4]) -> usize {
    let first = if blocks[0] == 1 { 1 } else { 3 * blocks[0] };
    let rest: usize = blocks[1..].iter().map(|count| 3 + 3 * count).sum();
    1 + first + rest + 2
}

/// Builds the network, batch norms folded into the convolutions, from tensors named as in
/// [`arcface::network`](crate::arcface::network).
///
/// # Errors
/// When a tensor is missing or has another shape.
pub(crate) fn graph(Config { blocks, scale }: Config, vb: &VarBuilder<'_>) -> Result<Graph> {
    let (builder, input) = Builder::new();
    let mut network = Draft { tensors: Tensors::new(vb), builder };
    let narrow = GROUPS * scale;
    let wide = 2 * narrow;
    let mut map = if blocks[0] == 1 {
        network.grouped_stem(input, scale)?
    } else {
        let map = network.conv(input, (narrow, 3), "layers.0", Window::three(2))?;
        network.residual(map, narrow, "layers.1", (blocks[0], 128))?
    };
    let parts = [(narrow, narrow, 128, 128), (narrow, wide, 256, 256), (wide, wide, 512, 256)];
    for (i, (inputs, outputs, groups, residual_groups)) in parts.into_iter().enumerate() {
        let (down, residual) = (format!("layers.{}", 2 * i + 2), format!("layers.{}", 2 * i + 3));
        map = network.bottleneck(map, (outputs, inputs), &down, (groups, 2))?;
        map = network.residual(map, outputs, &residual, (blocks[i + 1], residual_groups))?;
    }
    map = network.conv(map, (DIM, wide), "conv_sep", Window::POINT)?;
    map = network.last(map)?;
    Ok(network.builder.build(map))
}

/// The network while it is put together.
struct Draft<'a> {
    tensors: Tensors<'a>,
    builder: Builder,
}

impl Draft<'_> {
    /// The first two convolutions, the second one of [`GROUPS`] groups of `size` channels.
    ///
    /// Every output of a group is a sum of depthwise convolutions, each of another channel of the group: number
    /// `i` sees the maps of the first convolution turned by `i` channels within their groups.
    fn grouped_stem(&mut self, input: Map, size: usize) -> Result<Map> {
        let channels = GROUPS * size;
        let (weight, bias) = self.folded("layers.0", (channels, 3, 3, 3))?;
        let slopes = self.slopes("layers.0", channels)?;
        let (grouped, grouped_bias) = self.folded("layers.1", (channels, size, 3, 3))?;
        let grouped = grouped.reshape((channels * size, 1, 3, 3))?;
        let activation = self.slopes("layers.1", channels)?;
        let device = weight.device();
        let mut sum = None;
        for turn in 0..size {
            let order: Vec<_> = (0..channels).map(|c| c / size * size + (c + turn) % size).collect();
            let slopes = reordered(&slopes, &order);
            let places = order.iter().enumerate().map(|(c, from)| c * size + from % size);
            let [order, places] = [indices(order.iter().copied(), device)?, indices(places, device)?];
            let (weight, bias) = (weight.index_select(&order, 0)?, bias.index_select(&order, 0)?);
            let map = self.builder.layer(input, Conv2d::new(&weight, &bias, Window::three(2), slopes)?);
            let taps = grouped.index_select(&places, 0)?;
            let bias = if turn == 0 { grouped_bias.clone() } else { grouped_bias.zeros_like()? };
            let depthwise = |activation| Depthwise::new(&taps, &bias, Window::three(1), activation);
            let last = if turn + 1 == size { activation.clone() } else { Activation::Identity };
            sum = Some(match sum {
                None => self.builder.layer(map, depthwise(last)?),
                Some(sum) => {
                    let map = self.builder.layer(map, depthwise(Activation::Identity)?);
                    self.builder.add(sum, map, last)
                }
            });
        }
        Ok(sum.unwrap_or(input))
    }

    /// Bottlenecks that add to their input.
    fn residual(
        &mut self,
        mut map: Map,
        channels: usize,
        name: &str,
        (blocks, groups): (usize, usize),
    ) -> Result<Map> {
        for block in 0..blocks {
            let name = format!("{name}.layers.{block}");
            let change = self.bottleneck(map, (channels, channels), &name, (groups, 1))?;
            map = self.builder.add(map, change, Activation::Identity);
        }
        Ok(map)
    }

    /// To `groups` channels, a depthwise convolution there, and to the outputs.
    fn bottleneck(
        &mut self,
        input: Map,
        (outputs, inputs): (usize, usize),
        name: &str,
        (groups, stride): (usize, usize),
    ) -> Result<Map> {
        let [wide, depthwise, narrow] = [0, 1, 2].map(|i| format!("{name}.layers.{i}"));
        let map = self.conv(input, (groups, inputs), &wide, Window::POINT)?;
        let (weight, bias) = self.folded(&depthwise, (groups, 1, 3, 3))?;
        let activation = self.slopes(&depthwise, groups)?;
        let layer = Depthwise::new(&weight, &bias, Window::three(stride), activation)?;
        let map = self.builder.layer(map, layer);
        let (weight, bias) = self.folded(&narrow, (outputs, groups, 1, 1))?;
        Ok(self.builder.layer(map, Conv2d::new(&weight, &bias, Window::POINT, Activation::Identity)?))
    }

    fn conv(
        &mut self,
        input: Map,
        (outputs, inputs): (usize, usize),
        name: &str,
        window: Window,
    ) -> Result<Map> {
        let [height, width] = window.size;
        let (weight, bias) = self.folded(name, (outputs, inputs, height, width))?;
        let layer = Conv2d::new(&weight, &bias, window, self.slopes(name, outputs)?)?;
        Ok(self.builder.layer(input, layer))
    }

    /// A filter per channel that sees the whole map, then a matrix and a batch norm.
    fn last(&mut self, input: Map) -> Result<Map> {
        let (weight, bias) = self.folded("features.layers.0", (DIM, 1, LAST_SIDE, LAST_SIDE))?;
        let window = Window::square(LAST_SIDE, 1, 0);
        let map = self.builder.layer(input, Depthwise::new(&weight, &bias, window, Activation::Identity)?);
        let matrix = self.tensors.matrix("features.layers.2", (DIM, DIM))?.reshape((DIM, DIM, 1, 1))?;
        let (weight, bias) = self.tensors.norm("features.layers.3", DIM)?.after(&matrix)?;
        Ok(self.builder.layer(map, Conv2d::new(&weight, &bias, Window::POINT, Activation::Identity)?))
    }

    fn folded(&mut self, name: &str, shape: (usize, usize, usize, usize)) -> Result<(Tensor, Tensor)> {
        self.tensors.conv(&format!("{name}.layers.0"), &format!("{name}.layers.1"), shape)
    }

    fn slopes(&mut self, name: &str, channels: usize) -> Result<Activation> {
        self.tensors.prelu(&format!("{name}.layers.2"), channels)
    }
}

fn indices(values: impl Iterator<Item = usize>, device: &Device) -> Result<Tensor> {
    Tensor::from_iter(values.map(|i| i as u32), device)
}

fn reordered(activation: &Activation, order: &[usize]) -> Activation {
    match activation {
        Activation::Prelu(slopes) => Activation::Prelu(order.iter().map(|i| slopes[*i]).collect()),
        other => other.clone(),
    }
}
