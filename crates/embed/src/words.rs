//! `sift` and `orb`: key points of a crop as a bag of visual words, learned from the run itself.
//!
//! Source: Sivic and Zisserman, "Video Google", ICCV 2003; see [`crate::descriptors`] and [`crate::bow`].
//! There are no weights and no training data; OpenCV's code is Apache-2.0. Vectors of two runs cannot be
//! compared, because each has a vocabulary of its own.

use candle_core::{Device, Tensor};

use crate::Embedder;
use crate::bow::{Descriptors, Vocabulary, WORDS};
use crate::descriptors::{self, Kind, describe};

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

    fn describe(&self, crop: &Tensor) -> candle_core::Result<Vec<f32>> {
        let (side, _, _) = crop.dims3()?;
        let rgb: Vec<u8> = crop.flatten_all()?.to_vec1()?;
        let failed = |e: descriptors::Error| candle_core::Error::Msg(e.to_string());
        Ok(self.vocabulary.embed(&describe(self.kind, &rgb, side).map_err(failed)?))
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

    /// The crop itself, `(1, side, side, 3)`, u8.
    fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String> {
        Tensor::from_slice(rgb, (1, side, side, 3), &Device::Cpu).map_err(|e| e.to_string())
    }

    fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        (0..inputs.dim(0)?).map(|i| self.describe(&inputs.get(i)?)).collect()
    }
}
