//! The networks that can be timed, behind one trait.

use std::path::Path;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use detect_track::yunet::YuNet;
use embed::arcface::Config;
use embed::iresnet::Config as IResNet;
use embed::mobilefacenet::Config as MobileFaceNet;
use embed::spec::Source;
use embed::{Embedder, Name};
use nn::device::Place;
use nn::weights::Weights;
use serde_json::Value;

use crate::Result;

/// Variants of `arcface`; without a weight file their weights are seeded.
const SEEDED: [(&str, Config); 5] = [
    ("iresnet18", Config::IResNet(IResNet::R18)),
    ("iresnet34", Config::IResNet(IResNet::R34)),
    ("iresnet50", Config::IResNet(IResNet::R50)),
    ("iresnet100", Config::IResNet(IResNet::R100)),
    ("mobilefacenet", Config::MobileFaceNet(MobileFaceNet::SMALL)),
];

/// Names of the networks: the embedders with published weights, [`SEEDED`], and the face detector.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let embedders = embed::spec::ALL.into_iter().filter_map(|spec| spec.pinned().map(|_| spec.name));
    embedders.chain(SEEDED.map(|(name, _)| name)).chain(["yunet"])
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
    /// Multiplications by weights for one image; 0 where they are not counted.
    fn macs(&self) -> Result<usize> {
        Ok(0)
    }
    /// How far the vectors of `batch` images are from those of the CPU, which gets `threads`.
    fn parity(&self, _batch: usize, _threads: usize) -> Result<Value> {
        Err("only a network on a --device is compared".into())
    }
}

/// Loads the detector, which looks at pictures of `size`, width and height.
pub(crate) fn detector(weights: Option<&Path>, size: &[usize]) -> Result<Box<dyn Network>> {
    let weights = weights.ok_or("the detector needs --weights")?;
    Ok(Box::new(Detector::new(&Weights::read(weights, &Device::Cpu)?, size)?))
}

/// Loads an embedding network.
pub(crate) fn embedder(name: &str, weights: Option<&Path>, place: &Place) -> Result<embed::Network> {
    let seeded = SEEDED.into_iter().find(|(known, _)| *known == name);
    let network = match (weights, seeded) {
        (None, None) => return Err(format!("{name} needs --weights").into()),
        (None, Some((_, config))) => {
            let builder = VarBuilder::from_backend(Box::new(Seeded), DType::F32, place.device().clone());
            config.network(&builder)?
        }
        (Some(path), _) => {
            let embedder: Name = if seeded.is_some() { "arcface" } else { name }.parse()?;
            let Source::Network { build, .. } = embedder.spec().source else {
                return Err(format!("{name} is no network").into());
            };
            Weights::read(path, place.device())?.load(embedder.as_str(), |vb| build(&vb))?
        }
    };
    Ok(network.at(place.clone()))
}

/// Tensors made of their names, under those that they have in PyTorch.
struct Seeded;

impl SimpleBackend for Seeded {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        _: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        Tensor::from_vec(testkit::random::weights(name, shape.dims()), shape, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("the shape of {name} is not known")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        !["Conv.", "PRelu.", "MatMul."].iter().any(|op| name.starts_with(op))
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
