//! Embedders from their settings and weight files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nn::device::Place;
use nn::weights::Weights;
use schema::footer::Embedder as Note;
use schema::manifest::Input;

use crate::arcface::ArcFace;
use crate::bow::Descriptors;
use crate::config::{Config, Name};
use crate::descriptors::Kind;
use crate::dlib::Dlib;
use crate::facenet::FaceNet;
use crate::fusion::Fusion;
use crate::placed::Placed;
use crate::sface::SFace;
use crate::vgg::Vgg;
use crate::words::Words;
use crate::{Embedder, Error};

/// A file with the weights of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightFile {
    /// The network.
    pub name: Name,
    /// The file: safetensors, ONNX, dlib or TensorFlow.
    pub path: PathBuf,
    /// Whether it is the user's own, so that nothing is known of its licence.
    pub is_own: bool,
}

/// Weights of the networks that a run needs.
pub(crate) struct Sources {
    weights: BTreeMap<Name, (Weights, bool)>,
    place: Place,
}

impl Sources {
    /// Reads the files of `networks`; the last one given for a network counts.
    pub(crate) fn read(networks: &[Name], files: &[WeightFile], place: Place) -> Result<Self, Error> {
        let mut weights = BTreeMap::new();
        for name in networks {
            let file = files.iter().rfind(|file| file.name == *name);
            let file = file.ok_or(Error::NoWeights { embedder: *name })?;
            weights.insert(*name, (Weights::read(&file.path, place.device())?, file.is_own));
        }
        Ok(Self { weights, place })
    }

    /// What a stage run depends on.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let input = |(name, (weights, _)): (&Name, &(Weights, bool))| Input {
            name: format!("{name}.weights"),
            sha256: weights.sha256().to_owned(),
        };
        self.weights.iter().map(input).collect()
    }

    /// An embedder. Only those that learn from the run need `crops`, and only they ask for them.
    pub(crate) fn embedder(
        &self,
        name: Name,
        config: &Config,
        crops: impl FnOnce(Kind) -> Result<Vec<Descriptors>, Error>,
    ) -> Result<Box<dyn Embedder>, Error> {
        let learn = |kind| crops(kind).map(|crops| Box::new(Words::learn(kind, &crops)));
        Ok(match name {
            Name::Sift => learn(Kind::Sift)?,
            Name::Orb => learn(Kind::Orb)?,
            Name::Fusion => {
                let part = |(name, weight): (&Name, &f32)| Ok((self.network(*name)?, *weight));
                Box::new(Fusion::new(config.fusion.iter().map(part).collect::<Result<_, Error>>()?))
            }
            name => self.network(name)?,
        })
    }

    fn network(&self, name: Name) -> Result<Box<dyn Embedder>, Error> {
        let (weights, _) = self.weights.get(&name).ok_or(Error::NoWeights { embedder: name })?;
        let network: Box<dyn Embedder> = match name {
            Name::Arcface => Box::new(weights.load("arcface", |vb| ArcFace::new(&vb))?),
            Name::Dlib => Box::new(weights.load("dlib", |vb| Dlib::new(&vb))?),
            Name::Facenet => Box::new(weights.load("facenet", |vb| FaceNet::new(&vb))?),
            Name::Sface => Box::new(weights.load("sface", |vb| SFace::new(&vb))?),
            Name::Vgg => Box::new(weights.load("vgg", |vb| Vgg::new(&vb))?),
            Name::Fusion | Name::Orb | Name::Sift => return Err(Error::NoWeights { embedder: name }),
        };
        let place = self.place.clone();
        Ok(if place.device().is_cpu() { network } else { Box::new(Placed { network, place }) })
    }

    /// What the footer says of an embedder: of several parts, all hashes and all licences. The
    /// licence of the user's own weights is not known.
    pub(crate) fn note(&self, name: Name, embedder: &dyn Embedder, config: &Config) -> Note {
        let parts = match name {
            Name::Fusion => config.fusion.keys().copied().collect(),
            name => vec![name],
        };
        let weights: Vec<_> = parts.iter().filter_map(|part| self.weights.get(part)).collect();
        let hashes: Vec<_> = weights.iter().map(|(weights, _)| weights.sha256()).collect();
        let are_own = weights.iter().any(|(_, is_own)| *is_own);
        // Distances were learned with the pinned weights, and with fusion's own proportions.
        let is_known = !are_own && (name != Name::Fusion || config.fusion == Config::default().fusion);
        Note {
            name: name.as_str().to_owned(),
            dim: embedder.dim(),
            weights_sha256: hashes.join("+"),
            license: if are_own { UNKNOWN } else { embedder.license() }.to_owned(),
            same_up_to: name.same_up_to().filter(|_| is_known),
            similarity: name.similarity().filter(|_| is_known),
            quality: name.quality().filter(|_| is_known),
        }
    }
}

/// SPDX for a licence of which nothing is said.
const UNKNOWN: &str = "NOASSERTION";
