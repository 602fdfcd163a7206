//! Embedders from their settings and weight files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use nn::device::Place;
use nn::pinned::PinnedWeights;
use nn::weights::Weights;
use run::manifest::Input;
use schema::footer::Embedder as Note;

use crate::bag_of_words::BagOfWords;
use crate::bow::Descriptors;
use crate::config::Config;
use crate::descriptors::Kind;
use crate::fusion::Fusion;
use crate::network::Network;
use crate::spec::{Name, Source, UNKNOWN_LICENSE};
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

    /// Inputs of the stage for the manifest.
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
        match name.spec().source {
            Source::Network { .. } => Ok(Box::new(self.network(name)?)),
            Source::Vocabulary(kind) => Ok(Box::new(BagOfWords::learn(kind, &crops(kind)?))),
            Source::Fusion => {
                let part = |(name, weight): (&Name, &f32)| -> Result<(Box<dyn Embedder>, f32), Error> {
                    Ok((Box::new(self.network(*name)?), *weight))
                };
                Ok(Box::new(Fusion::new(config.fusion.iter().map(part).collect::<Result<_, Error>>()?)))
            }
        }
    }

    /// The network itself, from its weights.
    pub(crate) fn network(&self, name: Name) -> Result<Network, Error> {
        let missing = || Error::NoWeights { embedder: name };
        let Source::Network { build, .. } = name.spec().source else { return Err(missing()) };
        let (weights, _) = self.weights.get(&name).ok_or_else(missing)?;
        Ok(weights.load(name.as_str(), |vb| build(&vb))?.at(self.place.clone()))
    }

    /// Entry of the footer for an embedder; for several parts, all hashes and licences. The licence of custom
    /// weights is unknown, unless they are the published files.
    pub(crate) fn note(&self, name: Name, embedder: &dyn Embedder, config: &Config) -> Note {
        let spec = name.spec();
        let is_fusion = matches!(spec.source, Source::Fusion);
        let parts = if is_fusion { config.fusion.keys().copied().collect() } else { vec![name] };
        let weights: Vec<_> = parts.iter().filter_map(|part| self.weights.get(part)).collect();
        let hashes: Vec<_> = weights.iter().map(|(weights, _)| weights.sha256()).collect();
        let is_foreign = |part: &Name| {
            self.weights.get(part).is_some_and(|(weights, is_own)| *is_own && !is_published(*part, weights))
        };
        let are_own = parts.iter().any(is_foreign);
        // Distances were learned with the pinned weights, and with fusion's own proportions.
        let is_known = !are_own && (!is_fusion || config.fusion == Config::default().fusion);
        Note {
            name: spec.name.to_owned(),
            dim: embedder.dim(),
            weights_sha256: hashes.join("+"),
            license: if are_own { UNKNOWN_LICENSE } else { embedder.license() }.to_owned(),
            same_up_to: spec.same_up_to.filter(|_| is_known),
            similarity: spec.similarity.filter(|_| is_known),
            quality: spec.quality().filter(|_| is_known),
        }
    }
}

/// Whether a file of the user is the published one.
fn is_published(name: Name, weights: &Weights) -> bool {
    let joined =
        |pinned: &PinnedWeights| pinned.files.iter().map(|file| file.sha256).collect::<Vec<_>>().join("+");
    name.spec().pinned().is_some_and(|pinned| joined(pinned) == weights.sha256())
}
