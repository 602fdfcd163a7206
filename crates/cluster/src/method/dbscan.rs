//! DBSCAN.

use ndarray::Array2;
use petal_clustering::{Dbscan as Petal, Fit as _};
use petal_neighbors::distance::Euclidean;

use super::{Assignment, Error, Items, Method, repair};
use crate::linkage::Metric;

/// Clusters of items that lie densely (Ester et al., KDD 1996), by `petal-clustering`.
///
/// As scikit-learn's, with one difference: a cluster with fewer than `min_samples` items is noise. There are
/// such where items at the edge of two clusters went to the one that was found first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dbscan {
    /// Distance of items.
    pub metric: Metric,
    /// Items up to this far away are neighbours, above 0.
    pub eps: f64,
    /// Neighbours, the item itself included, that make an item a core of its cluster, from 1.
    pub min_samples: usize,
    /// Whether clusters are split that hold items which cannot be linked.
    pub constraints: bool,
}

impl Method for Dbscan {
    fn assign(&self, items: &Items<'_>, _: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error> {
        let n = items.len();
        let dim = items.vectors().first().map_or(0, |vector| vector.len());
        let rows = Array2::from_shape_fn((n, dim), |(row, column)| f64::from(items.vectors()[row][column]));
        // Of unit vectors the cosine distance is half the squared Euclidean distance.
        let eps = match self.metric {
            Metric::Euclidean => self.eps,
            Metric::Cosine => (2.0 * self.eps).sqrt(),
        };
        // The library looks below its radius, the definition includes it.
        let mut method = Petal::new(eps.next_up(), self.min_samples, Euclidean::default());
        let (clusters, _noise) = method.fit(&rows, None);
        let mut labels = vec![None; n];
        for (label, members) in clusters {
            members.into_iter().for_each(|item| labels[item] = Some(label));
        }
        if self.constraints {
            repair(&mut labels, &items.pairs(self.metric));
        }
        Ok(Assignment::flat(labels))
    }
}
