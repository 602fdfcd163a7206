//! Greedy merging: the pair of clusters with the largest gain is merged, repeatedly.
//!
//! The gain is the log odds of one person against two: evidence plus prior plus clothes. It is neither monotone nor
//! reducible (two unclear clusters may each gain little with a third, and their union much), so neighbour
//! chains do not apply. A heap holds the gains of pairs, each with the versions that the two clusters had
//! then. Up to [`Limits::all_pairs`] clusters all pairs are in it, and the result equals the definition,
//! which the tests implement. Beyond, a cluster has a list of the nearest clusters by the direction of its
//! sum; a union has those of both parts, up to [`Limits::known`]. When the heap is empty, the remaining
//! clusters search for neighbours again.

use std::collections::BinaryHeap;

use numeric::merges::{Merges, Pair};

use super::clothes::{Between, ClothesOdds};
use super::evidence::Sums;
use crate::neighbours::{self, Rows, Search};
use crate::prior::Prior;

/// Bounds of time and memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Limits {
    /// Up to so many clusters all pairs are compared.
    pub(super) all_pairs: usize,
    /// Most neighbours that a union keeps: those it gains most with.
    pub(super) known: usize,
    /// How neighbours are looked for.
    pub(super) search: Search,
}

/// When merging ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Stop {
    /// When no merge gains more than these log odds.
    Gain(f64),
    /// When so many clusters are left; merges against a constraint come last.
    Clusters(usize),
}

/// A merge of two clusters, named by the smaller number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Joined {
    /// A track of the one.
    pub(super) into: usize,
    /// A track of the other.
    pub(super) from: usize,
    /// Log odds.
    pub(super) gain: f64,
    /// Whether a constraint forbids it.
    pub(super) forbidden: bool,
}

/// Number of neighbour searches before merging stops; later searches find little.
const SEARCHES: usize = 3;

/// State of merging.
pub(super) struct Merger<'a> {
    sums: Sums,
    prior: &'a Prior,
    clothes: Between,
    limits: Limits,
    clusters: Merges,
    versions: Vec<u32>,
    /// Clusters that each is compared with, as they were when it was last joined.
    near: Vec<Vec<u32>>,
    /// The same for cannot-linked clusters, which are complete.
    cannot_link_of: Vec<Vec<u32>>,
    heap: BinaryHeap<Pair>,
    living: usize,
    /// Gains up to this value are ignored.
    floor: f64,
    /// Whether merges against a constraint are made, and only those.
    is_forbidden: bool,
    joined: Vec<Joined>,
}

impl<'a> Merger<'a> {
    /// Creates the state with every track alone; pairs of `cannot_link` are never merged.
    pub(super) fn new(sums: Sums, prior: &'a Prior, cannot_link: &[(usize, usize)], limits: Limits) -> Self {
        let n = sums.vectors().len();
        let mut cannot_link_of = vec![Vec::new(); n];
        for (a, b) in cannot_link {
            cannot_link_of[*a].push(*b as u32);
            cannot_link_of[*b].push(*a as u32);
        }
        cannot_link_of.iter_mut().for_each(|cannot_link_of| cannot_link_of.sort_unstable());
        Self {
            sums,
            prior,
            clothes: Between::default(),
            limits,
            clusters: Merges::new(n),
            versions: vec![0; n],
            near: vec![Vec::new(); n],
            cannot_link_of,
            heap: BinaryHeap::new(),
            living: n,
            floor: f64::NEG_INFINITY,
            is_forbidden: false,
            joined: Vec::new(),
        }
    }

    /// With what clothes say of pairs of tracks.
    pub(super) fn with_clothes(self, worn: &ClothesOdds) -> Self {
        Self { clothes: Between::new(worn), ..self }
    }

    /// Merges clusters up to the stop. Reports the completed share, 0 to 1, to `advance`.
    pub(super) fn run(&mut self, stop: Stop, advance: &mut dyn FnMut(f64)) {
        match stop {
            Stop::Gain(gain) => self.join_above(gain, 1, SEARCHES, advance),
            Stop::Clusters(clusters) => {
                self.join_above(0.0, clusters, SEARCHES, advance);
                self.complete(clusters);
            }
        }
    }

    /// Continues merging until so many clusters are left: first merges that no constraint forbids.
    ///
    /// A merge that the limited lists of neighbours missed before the stop counts as one at the stop, so that
    /// cutting the tree there gives the clusters that merging ended with.
    pub(super) fn complete(&mut self, clusters: usize) {
        let (before, stop) = (self.joined.len(), self.floor);
        self.join_above(f64::NEG_INFINITY, clusters, usize::MAX, &mut |_| ());
        self.is_forbidden = true;
        self.join_above(f64::NEG_INFINITY, clusters, usize::MAX, &mut |_| ());
        self.is_forbidden = false;
        if stop.is_finite() {
            self.joined[before..].iter_mut().for_each(|joined| joined.gain = joined.gain.min(stop));
        }
    }

    fn join_above(&mut self, floor: f64, clusters: usize, searches: usize, advance: &mut dyn FnMut(f64)) {
        self.floor = floor;
        for search in 1..=searches {
            if self.living <= clusters.max(1) {
                break;
            }
            let before = self.joined.len();
            let has_all = self.compare();
            advance(search as f64 / (search + 1) as f64);
            while self.living > clusters
                && let Some(pair) = self.heap.pop()
            {
                if pair.clusters.map(|cluster| self.versions[cluster as usize]) == pair.versions {
                    self.join(pair);
                }
            }
            if has_all || self.joined.len() == before {
                break;
            }
        }
        self.heap.clear();
    }

    /// Fills the heap with pairs of the clusters there are: whether with all of them.
    fn compare(&mut self) -> bool {
        self.heap.clear();
        let n = self.versions.len() as u32;
        let living: Vec<u32> = (0..n).filter(|track| self.clusters.first(*track) == *track).collect();
        let has_all = living.len() <= self.limits.all_pairs;
        if has_all {
            living.iter().for_each(|a| self.near[*a as usize].clone_from(&living));
        } else {
            let directions = self.sums.directions();
            let rows = Rows { of: &directions, rows: &living };
            let itself = |a: u32, b: u32| if a == b { f32::INFINITY } else { 0.0 };
            let found = neighbours::nearest(rows, rows, f32::MIN, itself, &self.limits.search, &mut |_| ());
            living.iter().for_each(|a| self.near[*a as usize].clear());
            for edge in found.edges {
                self.near[edge.a as usize].push(edge.b);
                self.near[edge.b as usize].push(edge.a);
            }
        }
        for a in living {
            self.refresh(a as usize);
            let near = std::mem::take(&mut self.near[a as usize]);
            for b in near.iter().filter(|b| **b > a) {
                self.consider(a as usize, *b as usize);
            }
            self.near[a as usize] = near;
        }
        has_all
    }

    /// Calls the neighbours and cannot_link_of of a cluster what they are now, each once.
    fn refresh(&mut self, cluster: usize) {
        for list in [&mut self.near[cluster], &mut self.cannot_link_of[cluster]] {
            list.iter_mut().for_each(|other| *other = self.clusters.first(*other));
            list.sort_unstable();
            list.dedup();
            list.retain(|other| *other as usize != cluster);
        }
    }

    /// Puts a pair on the heap if it is wanted; returns its gain. The cannot_link_of of `a` are up to date.
    fn consider(&mut self, a: usize, b: usize) -> Option<f64> {
        // What `b` was before it was joined does not matter: cannot_link_of are up to date, and `b` is a cluster.
        if self.cannot_link_of[a].binary_search(&(b as u32)).is_ok() != self.is_forbidden {
            return None;
        }
        let gain = self.sums.log_odds(self.prior, a, b) + self.clothes.value(a, b);
        if gain > self.floor {
            let (a, b) = (a.min(b), a.max(b));
            let versions = [self.versions[a], self.versions[b]];
            self.heap.push(Pair { gain, clusters: [a as u32, b as u32], versions });
        }
        Some(gain)
    }

    fn join(&mut self, pair: Pair) {
        let [into, from] = pair.clusters.map(|cluster| cluster as usize);
        self.joined.push(Joined { into, from, gain: pair.gain, forbidden: self.is_forbidden });
        self.sums.merge(into, from);
        self.clothes.merge(into, from);
        self.clusters.unite(into as u32, from as u32);
        self.versions[into] += 1;
        // No pair has that version.
        self.versions[from] = u32::MAX;
        self.living -= 1;
        for lists in [&mut self.near, &mut self.cannot_link_of] {
            let list = std::mem::take(&mut lists[from]);
            lists[into].extend(list);
        }
        self.refresh(into);
        let near = std::mem::take(&mut self.near[into]);
        let mut gains: Vec<(f64, u32)> = Vec::with_capacity(near.len());
        for other in near {
            let gain = self.consider(into, other as usize);
            gains.push((gain.unwrap_or(f64::NEG_INFINITY), other));
        }
        if self.living > self.limits.all_pairs && gains.len() > self.limits.known {
            gains.select_nth_unstable_by(self.limits.known, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            gains.truncate(self.limits.known);
        }
        self.near[into] = gains.into_iter().map(|(_, other)| other).collect();
    }

    /// The cluster of every track, numbered by their first tracks.
    pub(super) fn labels(&mut self) -> Vec<usize> {
        self.clusters.labels(self.versions.len())
    }

    /// All merges, in their order.
    pub(super) fn joined(&self) -> &[Joined] {
        &self.joined
    }
}
