//! HDBSCAN.

use hdbscan::{DistanceMetric, Hdbscan as Library, HdbscanHyperParams};

use super::{Assignment, Error, Items, Method, repair};
use crate::linkage::Metric;

/// The clusters of a tree of densities that last longest (Campello, Moulavi and Sander, PAKDD 2013), by
/// the crate `hdbscan`.
///
/// As scikit-learn's: the whole is never a cluster, `min_samples` counts the item itself. Where distances
/// tie, as of equal items, trees of densities are not unique, and the two may differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hdbscan {
    /// Distance of items.
    pub metric: Metric,
    /// Smaller clusters are noise, from 2.
    pub min_cluster_size: usize,
    /// The distance to so many items, itself included, is how thinly an item lies, from 1.
    pub min_samples: usize,
    /// Whether clusters are split that hold items which cannot be linked.
    pub constraints: bool,
}

impl Method for Hdbscan {
    fn assign(&self, items: &Items<'_>, _: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error> {
        if items.len() < self.min_cluster_size.max(self.min_samples) {
            return Ok(Assignment::flat(vec![None; items.len()]));
        }
        let settings = HdbscanHyperParams::builder()
            .min_cluster_size(self.min_cluster_size)
            .min_samples(self.min_samples)
            .dist_metric(DistanceMetric::Precalculated)
            .build();
        let distances = self.distances(items);
        let library = |e: hdbscan::HdbscanError| Error::Library { library: "hdbscan", reason: e.to_string() };
        let found = Library::new(&distances, settings).cluster().map_err(library)?;
        // Noise is −1.
        let mut labels = found.into_iter().map(|label| usize::try_from(label).ok()).collect();
        if self.constraints {
            repair(&mut labels, &items.pairs(self.metric));
        }
        Ok(Assignment::flat(labels))
    }
}

impl Hdbscan {
    /// The whole matrix, symmetric to the last bit, as the library wants it.
    fn distances(&self, items: &Items<'_>) -> Vec<Vec<f64>> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(items.len());
        for (i, a) in items.vectors().iter().enumerate() {
            let before = rows.iter().map(|row| row[i]);
            let after = items.vectors()[i + 1..].iter().map(|b| self.metric.distance(a, b));
            let row = before.chain([0.0]).chain(after).collect();
            rows.push(row);
        }
        rows
    }
}
