//! `sift` and `orb`: key points of a crop as a bag of visual words, learned from the run itself.
//!
//! Source: Sivic and Zisserman, "Video Google", ICCV 2003; see [`crate::descriptors`] and [`crate::bow`].
//! There are no weights and no training data; OpenCV's code is Apache-2.0. Vectors of two runs cannot be
//! compared, because each has a vocabulary of its own.

use candle_core::{Device, Tensor};

use crate::Embedder;
use crate::bow::{Descriptors, N_WORDS, VisualVocabulary};
use crate::descriptors::{Kind, describe};
use crate::spec::{EmbedderSpec, Source};

/// Fixed, so that equal runs give equal vectors.
const SEED: u64 = 0;

/// The embedder `sift`.
pub const SIFT: EmbedderSpec = spec("sift", Kind::Sift, 0.30);

/// The embedder `orb`.
pub const ORB: EmbedderSpec = spec("orb", Kind::Orb, 0.28);

const fn spec(name: &'static str, kind: Kind, same_up_to: f64) -> EmbedderSpec {
    let source = Source::Vocabulary(kind);
    EmbedderSpec { same_up_to: Some(same_up_to), ..EmbedderSpec::new(name, N_WORDS, source) }
}

/// A vocabulary, and the kind of its descriptors.
pub struct BagOfWords {
    kind: Kind,
    vocabulary: VisualVocabulary,
}

impl BagOfWords {
    /// Learns from the descriptors of crops, whose order does not matter.
    pub fn learn(kind: Kind, crops: &[Descriptors]) -> Self {
        Self { kind, vocabulary: VisualVocabulary::learn(crops, N_WORDS, SEED) }
    }
}

impl Embedder for BagOfWords {
    fn spec(&self) -> &'static EmbedderSpec {
        match self.kind {
            Kind::Sift => &SIFT,
            Kind::Orb => &ORB,
        }
    }

    /// The norm counts key points, which says nothing about how clear the face is.
    fn norm_power(&self) -> i32 {
        0
    }

    /// The vector itself, `(1, dim)`: there is nothing to gain from several crops at a time.
    fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String> {
        let vector = self.vocabulary.embed(&describe(self.kind, rgb, side)?);
        Tensor::from_vec(vector, (1, self.dim()), &Device::Cpu).map_err(|e| e.to_string())
    }

    fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        inputs.to_vec2()
    }
}
