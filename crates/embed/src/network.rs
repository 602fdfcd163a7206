//! A network as an embedder, wherever its weights are.

use candle_core::{DType, Result, Tensor};
use nn::device::Place;
use nn::graph::Graph;

use crate::spec::EmbedderSpec;
use crate::{CROPS_PER_BATCH, Embedder};

/// Number of crops per batch on a card; too few leave most of the card idle.
const CROPS_PER_BATCH_ON_CARD: usize = 64;

/// See [`Embedder::prepare`].
type Prepare = dyn Fn(&[u8], usize) -> std::result::Result<Tensor, String> + Sync;

/// A network, and how its inputs are made of crops.
pub struct Network {
    spec: &'static EmbedderSpec,
    graph: Graph,
    prepare: Box<Prepare>,
    /// Where the weights are, other than on the CPU.
    place: Option<Place>,
}

impl Network {
    /// Joins the parts of a network that is on the CPU.
    pub(crate) fn new(
        spec: &'static EmbedderSpec,
        graph: Graph,
        prepare: impl Fn(&[u8], usize) -> std::result::Result<Tensor, String> + Sync + 'static,
    ) -> Self {
        Self { spec, graph, prepare: Box::new(prepare), place: None }
    }

    /// The network with weights that are at `place`, in the precision of `place`; inputs are brought there. Workers
    /// decode and prepare crops while others wait for a card.
    pub fn at(self, place: Place) -> Self {
        let graph = place.graph(self.graph);
        Self { graph, place: Some(place).filter(|place| !place.device().is_cpu()), ..self }
    }

    /// Its layers, which take inputs that are where the weights are.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }
}

impl Embedder for Network {
    fn spec(&self) -> &'static EmbedderSpec {
        self.spec
    }

    fn batch(&self) -> usize {
        if self.place.is_some() { CROPS_PER_BATCH_ON_CARD } else { CROPS_PER_BATCH }
    }

    fn prepare(&self, rgb: &[u8], side: usize) -> std::result::Result<Tensor, String> {
        (self.prepare)(rgb, side)
    }

    fn embed(&self, inputs: &Tensor) -> Result<Vec<Vec<f32>>> {
        let output = match &self.place {
            Some(place) => self.graph.forward(&place.put(inputs)?)?,
            None => self.graph.forward(inputs)?,
        };
        output.flatten_from(1)?.to_dtype(DType::F32)?.to_vec2()
    }
}
