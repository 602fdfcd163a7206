//! `sift` and `orb`: key points of a crop as a bag of visual words, learned from the run itself.
//!
//! Source: Sivic and Zisserman, "Video Google", ICCV 2003; see [`crate::descriptors`] and [`crate::bow`].
//! There are no weights and no training data; OpenCV's code is Apache-2.0. Vectors of two runs cannot be
//! compared, because each has a vocabulary of its own.

use candle_core::{Device, Tensor};

use crate::Embedder;
use crate::bow::{Descriptors, Vocabulary, WORDS};
use crate::descriptors::{Kind, describe};

/// Fixed, so that equal runs give equal vectors.
const SEED: u64 = 0;

/// A vocabulary, and what it is of.
pub struct Words {
    kind: Kind,
    vocabulary: Vocabulary,
}

impl Words {
    /// Learns from the descriptors of crops, whose order does not matter.
    pub fn learn(kind: Kind, crops: &[Descriptors]) -> Self {
        Self { kind, vocabulary: Vocabulary::learn(crops, WORDS, SEED) }
    }
}

impl Embedder for Words {
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sift => "sift",
            Kind::Orb => "orb",
        }
    }

    fn dim(&self) -> usize {
        self.vocabulary.dim()
    }

    fn license(&self) -> &'static str {
        "Apache-2.0"
    }

    /// The norm counts key points, which says nothing about how clear the face is.
    fn norm_power(&self) -> i32 {
        0
    }

    /// The vector itself, `(1, dim)`: there is nothing to gain from several crops at a time.
    fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String> {
        let vector = self.vocabulary.embed(&describe(self.kind, rgb, side).map_err(|e| e.to_string())?);
        Tensor::from_vec(vector, (1, self.dim()), &Device::Cpu).map_err(|e| e.to_string())
    }

    fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        inputs.to_vec2()
    }
}
