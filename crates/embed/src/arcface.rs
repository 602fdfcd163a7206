//! Networks of insightface, with weights that the user brings: [`iresnet`] and [`mobilefacenet`].
//!
//! Source: Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
//! CVPR 2019; layers as in insightface's `arcface_torch`. Licence and training data are those of the weights:
//! insightface gives its own out for non-commercial research only, trained on MS-Celeb-1M, Glint360K or
//! WebFace600K, pictures gathered from the web. See its card in EMBEDDERS.md.
//! Preprocessing: the middle 112×112 pixels of an aligned crop, RGB; `(x − 127.5) / 127.5`.

use candle_core::{Result, Shape, Tensor, bail};
use candle_nn::VarBuilder;
use nn::conv::Activation;

use crate::network::Network;
use crate::norm::{Names, Norm, prelu};
use crate::preparation::{Preparation, RGB};
use crate::spec::{EmbedderSpec, Source};
use crate::{iresnet, mobilefacenet};

const INPUT: Preparation = Preparation { side: 112, channels: RGB, means: [127.5; 3], divisor: 127.5 };
/// Length of the vectors.
pub(crate) const DIM: usize = 512;

/// `ε` of all batch norms.
const EPSILON: f64 = 1e-5;
const NORM: Names =
    Names { scale: ".weight", shift: ".bias", mean: ".running_mean", variance: ".running_var" };

/// What a weight file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Config {
    /// See [`iresnet::Config`].
    IResNet(iresnet::Config),
    /// See [`mobilefacenet::Config`].
    MobileFaceNet(mobilefacenet::Config),
}

impl Config {
    /// Finds out by the names of the tensors.
    ///
    /// # Errors
    /// When they are of neither.
    pub fn find(vb: &VarBuilder<'_>) -> Result<Self> {
        if let Some(config) = iresnet::Config::find(vb) {
            return Ok(Self::IResNet(config));
        }
        match mobilefacenet::Config::find(vb) {
            Some(config) => Ok(Self::MobileFaceNet(config)),
            None => bail!("the weights match neither an IResNet nor a MobileFaceNet of insightface"),
        }
    }

    /// Builds the network, which maps `(n, 112, 112, 3)`, values −1 to 1, to `(n, 512)`.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn network(self, vb: &VarBuilder<'_>) -> Result<Network> {
        let graph = match self {
            Self::IResNet(config) => iresnet::graph(config, vb)?,
            Self::MobileFaceNet(config) => mobilefacenet::graph(config, vb)?,
        };
        Ok(Network::new(&SPEC, graph, |rgb, side| INPUT.middle(rgb, side)))
    }
}

/// The embedder `arcface`.
pub const SPEC: EmbedderSpec =
    EmbedderSpec::new("arcface", DIM, Source::Network { build: network, weights: None });

/// Builds the network that the tensors belong to: those of a state dict of PyTorch under their names there, or of an
/// exported ONNX file, where names that the exporter made up are replaced as in [`nn::weights`].
///
/// # Errors
/// When they belong to none, or when a tensor is missing or has another shape.
pub fn network(vb: &VarBuilder<'_>) -> Result<Network> {
    Config::find(vb)?.network(vb)
}

/// Tensors in the order in which a network needs them, under their names in the PyTorch module. An exporter
/// may have folded the batch norms behind convolutions and made up names; each tensor that is not there under
/// its own name is therefore looked for by its place among the nodes of its kind.
pub(crate) struct Tensors<'a> {
    vb: &'a VarBuilder<'a>,
    convolutions: usize,
    slopes: usize,
}

impl<'a> Tensors<'a> {
    pub(crate) fn new(vb: &'a VarBuilder<'a>) -> Self {
        Self { vb, convolutions: 0, slopes: 0 }
    }

    /// Weight and bias of the next convolution with its batch norm folded in.
    pub(crate) fn conv(
        &mut self,
        conv: &str,
        norm: &str,
        shape: (usize, usize, usize, usize),
    ) -> Result<(Tensor, Tensor)> {
        let number = self.convolutions;
        self.convolutions += 1;
        let name = format!("{conv}.weight");
        if self.vb.contains_tensor(&name) {
            return self.norm(norm, shape.0)?.after(&self.vb.get(shape, &name)?);
        }
        let weight = self.vb.get(shape, &format!("Conv.{number}.1"))?;
        Ok((weight, self.vb.get(shape.0, &format!("Conv.{number}.2"))?))
    }

    /// The next activation.
    pub(crate) fn prelu(&mut self, name: &str, channels: usize) -> Result<Activation> {
        let number = self.slopes;
        self.slopes += 1;
        let name = format!("{name}.weight");
        if self.vb.contains_tensor(&name) {
            return prelu(&self.vb.get(channels, &name)?);
        }
        prelu(&self.vb.get((channels, 1, 1), &format!("PRelu.{number}.1"))?)
    }

    /// The matrix `(outputs, inputs)` of the only linear layer without a bias.
    pub(crate) fn matrix(&self, name: &str, (outputs, inputs): (usize, usize)) -> Result<Tensor> {
        let name = format!("{name}.weight");
        if self.vb.contains_tensor(&name) {
            return self.vb.get((outputs, inputs), &name);
        }
        self.vb.get((inputs, outputs), "MatMul.0.1")?.t()
    }

    /// A batch norm that stands for itself: exporters leave it as it is.
    pub(crate) fn norm(&self, name: &str, channels: usize) -> Result<Norm> {
        Norm::new(self.vb, name, &NORM, channels, EPSILON)
    }

    pub(crate) fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.vb.get(shape, name)
    }
}

/// Number of the names `{before}0{after}`, `{before}1{after}` and so on without a gap.
pub(crate) fn count(vb: &VarBuilder<'_>, before: &str, after: &str) -> usize {
    (0..).take_while(|i| vb.contains_tensor(&format!("{before}{i}{after}"))).count()
}
