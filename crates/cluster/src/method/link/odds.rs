//! Log odds (natural logarithm) that two clusters are one person, for questions to the user. Linking merges clusters
//! and reassigns tracks by the same log odds.

use std::collections::HashMap;

use schema::footer::Quality;

use super::alpha;
use super::clothes::{self, ClothesModel, ClothesOdds, Mean};
use super::evidence::Sums;
use super::quality::{Norms, Tracks};
use super::reassign::Clusters;
use super::second_look::{Faces, members};
use super::{Clothes, cannot_link_of, offsets};
use crate::items::Vectors;
use crate::method::{Error, Items};
use crate::neighbours::Search;
use crate::prior::Prior;

/// Model of a video, learned from a partition of the items: the offset of the video, the prior of the number of people,
/// the log odds of clothes.
#[derive(Debug, Clone)]
pub struct VideoModel {
    tracks: Sums,
    prior: Prior,
    worn: ClothesOdds,
    cannot_link_of: Vec<Vec<usize>>,
    search: Search,
    faces: Faces,
}

impl VideoModel {
    /// Learns the model from `items` and `labels`, the cluster of each item, by `table`, the quality table of the first
    /// embedder. `threads`, from 1, does not change the result.
    ///
    /// # Errors
    /// [`Error::Quality`] when a table is inconsistent or does not fit the vectors.
    pub fn new(
        items: &Items<'_>,
        table: &Quality,
        clothes: Clothes,
        labels: &[usize],
        threads: usize,
    ) -> Result<Self, Error> {
        let tracks = Tracks::new(items, &Norms::new(items, table.centre_norm), table, true)?;
        let sums = Sums::new(&tracks, &offsets(&tracks, labels), threads);
        let mut worn = ClothesOdds::new();
        if let Some(bounds) = clothes.bounds() {
            let pairs = clothes::pairs(items.outfits(), threads);
            let model = ClothesModel::learn(&pairs, labels, &sums, items.cannot_link());
            worn = model.map(|model| model.apply(&pairs, labels.len(), bounds)).unwrap_or_default();
        }
        Ok(Self {
            prior: Prior::new(labels.len(), alpha::learn(&tracks, labels)),
            tracks: sums,
            worn,
            cannot_link_of: cannot_link_of(labels.len(), items.cannot_link()),
            search: Search { k: 1, exact_pairs: usize::MAX, probes: 1, threads },
            faces: Faces::new(items, table),
        })
    }

    /// Returns the log odds in the partition `labels`, the cluster of each item, numbered from zero.
    pub fn odds(&self, labels: Vec<usize>) -> Odds<'_> {
        let clusters = Clusters::new(&self.tracks, &self.prior, &self.cannot_link_of, labels, self.search);
        let clusters = clusters.with_clothes(&self.worn);
        let means = self.faces.means(&members(clusters.labels(), clusters.len()));
        Odds { clothes: clusters.clothes_between(), faces: &self.faces, means, clusters }
    }
}

/// Log odds of clusters and items in one partition.
#[derive(Debug)]
pub struct Odds<'a> {
    clusters: Clusters<'a>,
    /// Mean log odds of clothes over the pairs of items of two clusters; no entry for clusters without such a pair.
    clothes: HashMap<(usize, usize), Mean>,
    faces: &'a Faces,
    /// Mean vectors of the clusters, one row each: see [`Faces::means`].
    means: Vectors,
}

impl Odds<'_> {
    /// Returns the log odds that two clusters are one person, by faces, clothes and the prior; constraints are ignored.
    pub fn same_person(&self, a: usize, b: usize) -> f64 {
        let clothes = self.clothes.get(&(a, b)).map_or(0.0, |mean| mean.value());
        self.clusters.merge_gain(a, b) + clothes
    }

    /// Returns the log odds that two clusters are one person, given that linking left the clusters apart.
    pub fn same_person_given_apart(&self, a: usize, b: usize) -> f64 {
        self.faces.same_person_given_apart(self.same_person(a, b), &self.means, a, b)
    }

    /// Returns whether the items have vectors of several embedders.
    pub fn has_several_views(&self) -> bool {
        self.faces.has_several_views()
    }

    /// Returns the log odds that an item belongs to a cluster, against being alone, as a function of the cluster. The
    /// function returns `None` if the cluster has no other item, or an item with a cannot-link constraint to this item.
    pub fn membership(&self, item: usize) -> impl Fn(usize) -> Option<f64> {
        // The log odds of clothes are computed once for all clusters.
        let clothes = self.clusters.clothes(item);
        move |cluster| self.clusters.gain(item, cluster, &clothes)
    }
}
