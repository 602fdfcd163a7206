//! Average linkage under constraints, for thousands to a million items.
//!
//! The similarity of two clusters is the weighted mean similarity of their items, which is the inner
//! product of their weighted means: a cluster is a vector. [`CANNOT_LINK_PENALTY`] is taken off it where a
//! pair between the two clusters cannot be linked. So a union is never more similar to a third than both of its parts: the method is *reducible*,
//! and clusters that are each other's nearest can be merged in any order (Bruynooghe 1978; Müllner,
//! arXiv 1109.2378).
//!
//! [`link`] knows only the nearest neighbours of every cluster, and how similar others can be at most. It
//! merges two clusters when it is certain that each is the nearest of the other. Clusters that are not,
//! because their neighbours are used up, look for new ones among the clusters that are left (Sumengen et al.,
//! arXiv 2105.11653, merge reciprocal neighbours in rounds, too). With an exact search this *is* average
//! linkage, stopped at the threshold, whatever the number of neighbours; `testkit::linkage` says the same
//! by definition.

mod cannot_link;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use numeric::merges::Merges;

use crate::agglomerate::cannot_link::CannotLink;
use crate::items::{Error, Vectors};
use crate::linkage::{Merge, numbered};
use crate::neighbours::{self, Rows, Search};

/// What is added to the distance of two clusters with a pair between them that cannot be linked: nearly the
/// largest distance of unit vectors, so such merges come after nearly all others, and the tree still has them.
pub const CANNOT_LINK_PENALTY: f32 = 2.0 * 0.99;

/// What is to be linked. Results depend on the order of items only where similarities are equal; give
/// them in the order of their ids.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// Unit vectors.
    pub vectors: &'a Vectors,
    /// How much each counts in its cluster, above 0.
    pub weights: &'a [f32],
    /// Pairs that cannot be linked.
    pub cannot_link: &'a [(usize, usize)],
}

/// Clusters, and how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Agglomeration {
    /// Cluster of each item; clusters are numbered by their first item.
    pub labels: Vec<usize>,
    /// All merges that were made, in SciPy's convention, but that the tree ends at the threshold.
    pub merges: Vec<Merge>,
}

/// Clusters of `items` whose mean distance (1 less the mean similarity, and penalties added) is at most
/// `threshold`. Reports the numbers of completed and total steps to `advance`.
///
/// # Errors
/// See [`Error`].
pub fn link(
    items: Items<'_>,
    threshold: f32,
    search: &Search,
    advance: &mut dyn FnMut(usize, usize),
) -> Result<Agglomeration, Error> {
    items.check(threshold)?;
    let mut linker = Linker::new(items, threshold);
    linker.run(search, advance);
    Ok(linker.finish())
}

impl Items<'_> {
    fn check(&self, threshold: f32) -> Result<(), Error> {
        if threshold.is_nan() {
            return Err(Error("the threshold is not a number".into()));
        }
        let n = self.vectors.len();
        if self.weights.len() != n {
            return Err(Error(format!("found {} weights for {n} vectors", self.weights.len())));
        }
        // Written so that NaN is wrong, too.
        let wrong = |weight: &f32| !(*weight > 0.0 && weight.is_finite());
        if let Some(row) = self.weights.iter().position(wrong) {
            let weight = self.weights[row];
            return Err(Error(format!("the weight of vector {row} is {weight}, which is not above 0")));
        }
        match self.cannot_link.iter().find(|(a, b)| a == b || *a.max(b) >= n) {
            Some((a, b)) => Err(Error(format!("invalid pair ({a}, {b}) of {n} items"))),
            None => Ok(()),
        }
    }
}

/// Two clusters that may be merged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Similarity of the two.
    pub similarity: f32,
    /// Node of the one.
    pub a: u32,
    /// Node of the other.
    pub b: u32,
}

impl Candidate {
    fn new(similarity: f32, a: u32, b: u32) -> Self {
        Self { similarity, a: a.min(b), b: a.max(b) }
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The most similar is the greatest; among equals that of the first nodes.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.similarity.total_cmp(&other.similarity).then_with(|| (other.a, other.b).cmp(&(self.a, self.b)))
    }
}

/// State of merging. A cluster goes by its first item, by which vectors and the like are kept.
struct Linker {
    /// Clusters must be more similar than that.
    floor: f32,
    means: Vectors,
    weights: Vec<f64>,
    /// How similar a cluster can be at most that has not been a candidate together with this one.
    bounds: Vec<f32>,
    /// Root of each cluster.
    nodes: Vec<u32>,
    forest: Merges,
    cannot_link: CannotLink,
    /// First items of both, height.
    merges: Vec<(usize, usize, f64)>,
    /// Of the last merge of each cluster.
    heights: Vec<f64>,
}

impl Linker {
    fn new(items: Items<'_>, threshold: f32) -> Self {
        let n = items.vectors.len();
        Self {
            floor: (1.0 - threshold).next_down(),
            means: items.vectors.clone(),
            weights: items.weights.iter().copied().map(f64::from).collect(),
            bounds: vec![f32::INFINITY; n],
            nodes: (0..n as u32).collect(),
            forest: Merges::new(n),
            cannot_link: CannotLink::new(n, items.cannot_link),
            merges: Vec::new(),
            heights: vec![0.0; n],
        }
    }

    /// Searches and merges by turns until no clusters above the floor are left. A search that is not exact
    /// may have missed some, so then all clusters are asked again, until nothing comes of it.
    ///
    /// Reports as many steps for the first search as there are items, and as many for merging, which goes as fast as
    /// candidates become fewer.
    fn run(&mut self, search: &Search, advance: &mut dyn FnMut(usize, usize)) {
        let n = self.nodes.len();
        let mut done = 0;
        // Never goes back.
        let mut tell = |steps: usize| {
            done = done.max(steps);
            advance(done, 2 * n);
        };
        let mut most = None;
        let mut candidates = Vec::new();
        let mut asking = self.living();
        let (mut missed, mut merges_before) = (false, usize::MAX);
        // Ends, because of the clusters that were asked or are sure the two most similar can be merged.
        while !asking.is_empty() {
            missed |= !search.is_exact(self.living().len(), asking.len());
            let mut answered = |queries: usize| {
                if most.is_none() {
                    tell(queries.min(n));
                }
            };
            candidates.extend(self.search(&asking, search, &mut answered));
            let most = *most.get_or_insert(candidates.len().max(1));
            let share = 1.0 - (candidates.len() as f64 / most as f64).min(1.0);
            tell(n + (share * n as f64) as usize);
            candidates = self.merge_all(candidates);
            asking = self.unsure(&candidates);
            if asking.is_empty() && missed && self.merges.len() != merges_before {
                (missed, merges_before) = (false, self.merges.len());
                asking = self.living();
            }
        }
    }

    /// The clusters there are.
    fn living(&mut self) -> Vec<u32> {
        (0..self.nodes.len() as u32).filter(|item| self.forest.first(*item) == *item).collect()
    }

    /// Candidates for clusters that ask for them.
    fn search(&mut self, asking: &[u32], search: &Search, advance: &mut dyn FnMut(usize)) -> Vec<Candidate> {
        let living = self.living();
        self.cannot_link.renumber(|item| self.forest.first(item));
        let penalty = |a, b| {
            if a == b {
                f32::INFINITY
            } else if self.cannot_link.has(a, b, |item| item) {
                CANNOT_LINK_PENALTY
            } else {
                0.0
            }
        };
        let rows = |rows| Rows { of: &self.means, rows };
        let found = neighbours::nearest(rows(&living), rows(asking), self.floor, penalty, search, advance);
        for (item, bound) in asking.iter().zip(found.bounds) {
            self.bounds[*item as usize] = bound;
        }
        let node = |item: u32| self.nodes[item as usize];
        found.edges.into_iter().map(|e| Candidate::new(e.similarity, node(e.a), node(e.b))).collect()
    }

    /// Merges, the most similar first, whatever is surely nearest to each other; returns the candidates
    /// that have to wait.
    fn merge_all(&mut self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        // Of several the highest: a search rounds otherwise than `similarity`, and the bounds are its own.
        candidates.sort_unstable_by(|x, y| (x.a, x.b).cmp(&(y.a, y.b)).then(y.cmp(x)));
        candidates.dedup_by_key(|candidate| (candidate.a, candidate.b));
        let mut heap = BinaryHeap::from(candidates);
        let mut waits = vec![false; self.nodes.len()];
        let mut left = Vec::new();
        while let Some(candidate) = heap.pop() {
            let (a, b) = (self.forest.root(candidate.a), self.forest.root(candidate.b));
            if a == b {
                continue;
            }
            let (x, y) = (self.forest.first(a), self.forest.first(b));
            if (a, b) != (candidate.a, candidate.b) {
                // A union is no more similar than its parts, so its turn has not yet come.
                let grown = Candidate::new(self.similarity(x, y), a, b);
                heap.extend((grown.similarity > self.floor).then_some(grown));
                continue;
            }
            let [x_at, y_at] = [x as usize, y as usize];
            if waits[x_at] || waits[y_at] || candidate.similarity < self.bounds[x_at].max(self.bounds[y_at]) {
                (waits[x_at], waits[y_at]) = (true, true);
                left.push(candidate);
            } else {
                self.merge(x, y, 1.0 - f64::from(candidate.similarity));
            }
        }
        left
    }

    /// Clusters that may have a nearer neighbour than their candidates.
    fn unsure(&mut self, candidates: &[Candidate]) -> Vec<u32> {
        let mut best = vec![self.floor; self.nodes.len()];
        for candidate in candidates {
            for node in [candidate.a, candidate.b] {
                let best = &mut best[self.forest.first(node) as usize];
                *best = best.max(candidate.similarity);
            }
        }
        let living = self.living();
        living.into_iter().filter(|item| self.bounds[*item as usize] > best[*item as usize]).collect()
    }

    fn similarity(&mut self, x: u32, y: u32) -> f32 {
        let is_forbidden = self.cannot_link.has(x, y, |item| self.forest.first(item));
        self.means.dot(x as usize, y as usize) - if is_forbidden { CANNOT_LINK_PENALTY } else { 0.0 }
    }

    /// Makes one cluster of two, which goes by the first item of both.
    fn merge(&mut self, x: u32, y: u32, height: f64) {
        let (into, from) = (x.min(y), x.max(y));
        self.cannot_link.merge(into, from);
        let node = self.forest.merge(self.nodes[into as usize], self.nodes[from as usize]);
        let [into, from] = [into as usize, from as usize];
        self.nodes[into] = node;
        self.means.mean_into(into, from, [self.weights[into], self.weights[from]]);
        self.weights[into] += self.weights[from];
        self.bounds[into] = self.bounds[into].max(self.bounds[from]);
        // Rounding may put a parent a hair below its child.
        self.heights[into] = height.max(self.heights[into]).max(self.heights[from]);
        self.merges.push((into, from, self.heights[into]));
    }

    fn finish(mut self) -> Agglomeration {
        let n = self.nodes.len();
        Agglomeration { labels: self.forest.labels(n), merges: numbered(n, self.merges) }
    }
}
