//! A network on a graphics card.

use candle_core::{Result, Tensor};
use nn::device::Place;

use crate::Embedder;
use crate::spec::EmbedderSpec;

/// Number of crops per batch on a card; too few leave most of the card idle.
const CROPS_PER_BATCH: usize = 64;

/// A network whose weights are at a place other than the CPU; its inputs are brought there. Workers
/// decode and prepare crops while others wait for the card.
pub(crate) struct Placed {
    pub(crate) network: Box<dyn Embedder>,
    pub(crate) place: Place,
}

impl Embedder for Placed {
    fn spec(&self) -> &'static EmbedderSpec {
        self.network.spec()
    }

    fn dim(&self) -> usize {
        self.network.dim()
    }

    fn license(&self) -> &str {
        self.network.license()
    }

    fn norm_power(&self) -> i32 {
        self.network.norm_power()
    }

    fn batch(&self) -> usize {
        CROPS_PER_BATCH
    }

    fn prepare(&self, rgb: &[u8], side: usize) -> std::result::Result<Tensor, String> {
        self.network.prepare(rgb, side)
    }

    fn embed(&self, inputs: &Tensor) -> Result<Vec<Vec<f32>>> {
        self.network.embed(&self.place.put(inputs)?)
    }
}
