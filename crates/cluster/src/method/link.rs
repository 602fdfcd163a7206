//! The default: average linkage under constraints.

use super::{Assignment, Error, Items, Method, Tree};
use crate::linkage::{self, FORBIDDEN, Metric};

/// Average linkage on cosine distances, where tracks that share a frame stay apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Clusters are joined up to this mean distance, 0 to below 2.
    pub threshold: f64,
}

impl Method for Link {
    fn assign(&self, items: &Items<'_>) -> Result<Assignment, Error> {
        let merges = linkage::average_linkage(items.pairs(Metric::Cosine));
        let labels = linkage::cut(items.len(), &merges, self.threshold);
        let tree = Tree { merges, cut: self.threshold, forbidden: FORBIDDEN };
        Ok(Assignment { labels: labels.into_iter().map(Some).collect(), tree: Some(tree) })
    }
}
