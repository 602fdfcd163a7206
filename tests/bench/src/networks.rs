//! The networks that can be timed, behind one trait.

use std::path::Path;

use candle_core::{Device, Tensor};
use detect_track::yunet::YuNet;
use embed::spec::Source;
use embed::{Embedder, Name};
use nn::weights::Weights;

use crate::Result;

/// Variants of `arcface`, whose weights are seeded, and the face detector.
const OTHERS: [&str; 6] = ["iresnet18", "iresnet34", "iresnet50", "iresnet100", "mobilefacenet", "yunet"];

/// Names of the networks: the embedders with published weights, and [`OTHERS`].
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let embedders = embed::spec::ALL.into_iter().filter_map(|spec| spec.pinned().map(|_| spec.name));
    embedders.chain(OTHERS)
}

/// Side of the crops that `embed` gets, pixels.
const CROP: usize = 160;

/// A network as its stage runs it.
pub(crate) trait Network: Sync {
    /// Images that a worker of the stage gives it at a time, at most.
    fn most(&self) -> usize;
    /// An input made of image number `number`, with a first axis of one.
    fn input(&self, number: usize) -> Result<Tensor>;
    /// Passes inputs joined along their first axis.
    fn pass(&self, inputs: &Tensor) -> candle_core::Result<()>;
}

/// Loads a network; detectors look at pictures of `size`, width and height.
pub(crate) fn load(name: &str, weights: &Path, size: &[usize]) -> Result<Box<dyn Network>> {
    let weights = Weights::read(weights, &Device::Cpu)?;
    if name == "yunet" {
        return Ok(Box::new(Detector::new(&weights, size)?));
    }
    let embedder: Name = if OTHERS.contains(&name) { "arcface" } else { name }.parse()?;
    match embedder.spec().source {
        Source::Network { build, .. } => Ok(Box::new(weights.load(embedder.as_str(), |vb| build(&vb))?)),
        Source::Vocabulary(_) | Source::Fusion => Err(format!("{name} is no network").into()),
    }
}

impl Network for embed::Network {
    fn most(&self) -> usize {
        self.batch()
    }

    fn input(&self, number: usize) -> Result<Tensor> {
        Ok(self.prepare(&noise(number, CROP * CROP * 3), CROP)?)
    }

    fn pass(&self, inputs: &Tensor) -> candle_core::Result<()> {
        self.embed(inputs).map(drop)
    }
}

struct Detector {
    network: YuNet,
    width: usize,
    height: usize,
}

impl Detector {
    fn new(weights: &Weights, size: &[usize]) -> Result<Self> {
        let &[width, height] = size else { return Err("the detector needs --size WIDTH HEIGHT".into()) };
        Ok(Self { network: weights.load("yunet", |vb| YuNet::new(&vb))?, width, height })
    }
}

impl Network for Detector {
    fn most(&self) -> usize {
        1
    }

    fn input(&self, number: usize) -> Result<Tensor> {
        let (width, height) = (self.width, self.height);
        Ok(Tensor::from_vec(noise(number, width * height * 3), (1, height, width, 3), &Device::Cpu)?)
    }

    fn pass(&self, inputs: &Tensor) -> candle_core::Result<()> {
        self.network.forward(inputs).map(drop)
    }
}

/// Pixels of a picture of nothing; how long a network takes does not depend on what it sees.
fn noise(number: usize, count: usize) -> Vec<u8> {
    let mut state = number as u32 + 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}
