//! Log odds that two clusters are one person, for questions to the user. Linking merges and reassigns by the same log
//! odds.

use std::collections::HashMap;

use schema::footer::Quality;

use super::alpha::{self, Prior};
use super::clothes::{self, Law, Mean, Worn};
use super::evidence::Sums;
use super::quality::{Norms, Tracks};
use super::reassign::Clusters;
use super::second_look::{Faces, members};
use super::{Clothes, cannot_link_of, offsets};
use crate::items::Vectors;
use crate::method::{Error, Items};
use crate::neighbours::Search;

/// Model of a video, learned from a partition: its offset, the prior of the number of people, the odds of clothes.
#[derive(Debug, Clone)]
pub struct Model {
    tracks: Sums,
    prior: Prior,
    worn: Worn,
    cannot_link_of: Vec<Vec<usize>>,
    search: Search,
    faces: Faces,
}

impl Model {
    /// Learns the model from items in the clusters `labels`, one per item, by the quality table of their embedder.
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
        let mut worn = Worn::new();
        if let Some(bounds) = clothes.bounds() {
            let pairs = clothes::pairs(items.outfits(), threads);
            let law = Law::learn(&pairs, labels, &sums, items.cannot_link());
            worn = law.map(|law| law.apply(&pairs, labels.len(), bounds)).unwrap_or_default();
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

    /// Returns the log odds for the partition `labels`: the cluster of each item, numbered from zero.
    pub fn odds(&self, labels: Vec<usize>) -> Odds<'_> {
        let clusters = Clusters::new(&self.tracks, &self.prior, &self.cannot_link_of, labels, self.search);
        let clusters = clusters.with_clothes(&self.worn);
        let means = self.faces.means(&members(clusters.labels(), clusters.len()));
        Odds { clothes: clusters.clothes_between(), faces: &self.faces, means, clusters }
    }
}

/// Log odds in one partition.
#[derive(Debug)]
pub struct Odds<'a> {
    clusters: Clusters<'a>,
    /// Mean log odds of clothes for two clusters.
    clothes: HashMap<(usize, usize), Mean>,
    faces: &'a Faces,
    /// Mean vectors of the clusters.
    means: Vectors,
}

impl Odds<'_> {
    /// Log odds that two clusters are one person, constraints aside.
    pub fn one(&self, a: usize, b: usize) -> f64 {
        let clothes = self.clothes.get(&(a, b)).map_or(0.0, |mean| mean.value());
        self.clusters.merge_gain(a, b) + clothes
    }

    /// Log odds that two clusters are one person, given that linking left the clusters apart.
    pub fn left_apart(&self, a: usize, b: usize) -> f64 {
        self.faces.left_apart(self.one(a, b), &self.means, a, b)
    }

    /// Whether several embedders see the items.
    pub fn has_several_views(&self) -> bool {
        self.faces.has_several_views()
    }

    /// Log odds that an item belongs to a cluster, against being alone, as a function of the cluster; `None` where there is
    /// no other item, or one that the item must stay apart from.
    pub fn belongs(&self, item: usize) -> impl Fn(usize) -> Option<f64> {
        // The log odds of clothes are computed once for all clusters.
        let clothes = self.clusters.clothes(item);
        move |cluster| self.clusters.gain(item, cluster, &clothes)
    }
}
