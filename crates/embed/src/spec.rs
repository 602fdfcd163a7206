//! The table of embedders: one row each, from which settings, weights, footers and lists are derived.
//!
//! A new embedder is one file with its network, which ends in its row, and one entry of [`ALL`].

use std::fmt;
use std::str::FromStr;

use candle_nn::VarBuilder;
use nn::pinned::PinnedWeights;
use schema::footer::{Quality, Similarity};
use serde::{Deserialize, Deserializer, Serialize};

use crate::descriptors::Kind;
use crate::network::Network;
use crate::{arcface, bag_of_words, dlib, facenet, fusion, retail, sface, vgg};

/// Properties of an embedder.
#[derive(Debug, Clone, Copy)]
pub struct EmbedderSpec {
    /// Name, as in settings and in the column `embedder`.
    pub name: &'static str,
    /// Length of its vectors; 0 for `fusion`, whose vectors are as long as those of its parts together.
    pub dim: usize,
    /// Source of its vectors.
    pub source: Source,
    /// Cosine distance, 0 to 2, up to which two tracks more likely show one person; `None` where nothing is
    /// known. For SFace it is what its makers publish; for others, where average linkage does best on a clip
    /// of talking heads. Those of visual words hold for footage of that kind only.
    pub same_up_to: Option<f64>,
    /// Usual similarities of tracks once what a video puts into all of them is taken off; `None` where they
    /// have not been measured on enough footage.
    pub similarity: Option<Similarity>,
    /// The quality table, a [`Quality`] as JSON; `None` where none has been fitted. `quality/fit.py` writes it.
    pub quality: Option<&'static str>,
}

/// Where vectors come from.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// A network with a weight file of its own.
    Network {
        /// Builds the network from its tensors.
        build: fn(&VarBuilder<'_>) -> candle_core::Result<Network>,
        /// Published weights; `None` where the user brings the file.
        weights: Option<PinnedWeights>,
    },
    /// A vocabulary of descriptors of this kind, learned from the run.
    Vocabulary(Kind),
    /// Several networks as one.
    Fusion,
}

/// Every embedder, in alphabetical order.
pub const ALL: [&EmbedderSpec; 9] = [
    &arcface::SPEC,
    &dlib::SPEC,
    &facenet::SPEC,
    &fusion::SPEC,
    &bag_of_words::ORB,
    &retail::SPEC,
    &sface::SPEC,
    &bag_of_words::SIFT,
    &vgg::SPEC,
];

/// Names of every embedder, in alphabetical order.
pub const NAMES: [&str; ALL.len()] = {
    let mut names = [""; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        names[at] = ALL[at].name;
        at += 1;
    }
    names
};

impl EmbedderSpec {
    /// An embedder of whose similarities nothing is known.
    pub(crate) const fn new(name: &'static str, dim: usize, source: Source) -> Self {
        Self { name, dim, source, same_up_to: None, similarity: None, quality: None }
    }

    /// Licence of the weights, or without weights of the code, as an SPDX expression.
    pub fn license(&self) -> &'static str {
        match self.source {
            Source::Network { weights: Some(weights), .. } => weights.license,
            // The licence of a file that the user brings is not known.
            Source::Network { weights: None, .. } | Source::Fusion => UNKNOWN_LICENSE,
            Source::Vocabulary(_) => "Apache-2.0",
        }
    }

    /// The quality table; `None` where none has been fitted. A test reads every table.
    pub fn quality(&self) -> Option<Quality> {
        serde_json::from_str(self.quality?).ok()
    }

    /// Published weights; `None` where there are none, or none are needed.
    pub fn pinned(&self) -> Option<&PinnedWeights> {
        match &self.source {
            Source::Network { weights, .. } => weights.as_ref(),
            Source::Vocabulary(_) | Source::Fusion => None,
        }
    }
}

/// SPDX expression of an unknown licence.
pub(crate) const UNKNOWN_LICENSE: &str = "NOASSERTION";

/// An embedder by its name, one of [`NAMES`], which is how settings and tables write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Name(&'static str);

impl Name {
    /// The default embedder.
    pub const SFACE: Self = Self(sface::SPEC.name);
    /// The network whose vectors are further evidence beside those of SFace.
    pub const RETAIL: Self = Self(retail::SPEC.name);
    /// The small network that `fusion` adds to SFace.
    pub const DLIB: Self = Self(dlib::SPEC.name);

    /// All of them, in alphabetical order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        NAMES.into_iter().map(Self)
    }

    /// Row of the table.
    pub fn spec(self) -> &'static EmbedderSpec {
        ALL[NAMES.partition_point(|name| *name < self.0)]
    }

    /// As written in tables and settings.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether it is a network, with a weight file of its own.
    pub fn is_network(self) -> bool {
        matches!(self.spec().source, Source::Network { .. })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("unknown embedder `{text}`; known embedders: {}", NAMES.join(", "));
        Self::all().find(|name| name.as_str() == text).ok_or_else(unknown)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::unknown_variant(&text, &NAMES))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_in_order() {
        for name in Name::all() {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
            assert_eq!(serde_json::from_value::<Name>(name.as_str().into()).unwrap(), name);
        }
        assert!(NAMES.is_sorted());
        let message = "eyes".parse::<Name>().unwrap_err();
        assert!(message.starts_with("unknown embedder `eyes`; known embedders: arcface, dlib,"), "{message}");
    }

    #[test]
    fn quality_tables_are_read_and_fit_the_vectors_of_their_embedder() {
        for spec in ALL.iter().filter(|spec| spec.quality.is_some()) {
            let table = spec.quality().unwrap();
            assert_eq!((table.mean.len(), table.slope.len()), (spec.dim, spec.dim), "{}", spec.name);
            assert_eq!((table.gain.len(), table.noise.len()), (table.norms.len(), table.norms.len()));
            assert!(table.norms.is_sorted() && table.norms[0] > 0.0, "{}", spec.name);
            assert!(table.gain.iter().chain(&table.noise).all(|x| *x > 0.0), "{}", spec.name);
            assert!(table.person_variance > 0.0 && table.evidence_dim <= spec.dim as f64, "{}", spec.name);
        }
    }

    #[test]
    fn published_weights_have_the_name_of_their_embedder_and_files_of_their_own() {
        let pinned: Vec<_> = ALL.iter().filter_map(|spec| Some((spec.name, spec.pinned()?))).collect();
        for (at, (name, weights)) in pinned.iter().enumerate() {
            assert_eq!(*name, weights.name);
            assert!(weights.files.iter().all(|file| file.sha256.len() == 64), "{name}");
            let names = |weights: &PinnedWeights| weights.files.iter().map(|file| file.name());
            let others = || pinned[at + 1..].iter().flat_map(|(_, other)| names(other));
            assert!(names(weights).all(|name| others().all(|other| other != name)), "{name}");
        }
    }

    /// Readers find every embedder in EMBEDDERS.md, with the length of its vectors.
    #[test]
    fn every_embedder_has_a_card() {
        let cards = include_str!("../EMBEDDERS.md");
        for spec in ALL {
            assert!(cards.contains(&format!("\n## `{}`", spec.name)), "{} has no card", spec.name);
            let row = cards.lines().find(|line| line.starts_with(&format!("| `{}`", spec.name))).unwrap();
            let dim = if spec.dim == 0 { String::new() } else { format!("| {} |", spec.dim) };
            assert!(row.contains(&dim), "{row}");
        }
    }
}
