//! Average linkage under constraints, for thousands to a million items.
//!
//! The similarity of two clusters is the weighted mean similarity of their items, which is the inner
//! product of their weighted means: a cluster is a vector. Pairs that should stay apart take
//! [`APART_PENALTY`] times their strength off it; of several pairs between two clusters the strongest
//! counts. So a union is never more similar to a third than both of its parts: the method is *reducible*,
//! and clusters that are each other's nearest can be merged in any order (Bruynooghe 1978; Müllner,
//! arXiv 1109.2378).
//!
//! [`link`] knows only the nearest neighbours of every cluster, and how similar others can be at most. It
//! makes a merge when both clusters are sure that nobody else is nearer. Clusters that are not, because their
//! neighbours are used up, look for new ones among the clusters that are left (Sumengen et al.,
//! arXiv 2105.11653, merge reciprocal neighbours in rounds, too). With an exact search this *is* average
//! linkage, stopped at the threshold, whatever the number of neighbours; [`naive`] says the same by
//! definition.

mod apart;
mod forest;
mod naive;
#[cfg(test)]
mod tests;

pub use naive::naive;

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::agglomerate::apart::Apart;
use crate::agglomerate::forest::Forest;
use crate::items::{Error, Vectors};
use crate::linkage::{Merge, numbered};
use crate::neighbours::{self, Rows, Search};

/// What a pair that should stay apart with strength 1 adds to the distance of two clusters. It is then
/// also never exceeded: such pairs are never merged.
pub const APART_PENALTY: f32 = 2.0;

/// Two items that should stay apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CannotLink {
    /// The one.
    pub a: usize,
    /// The other.
    pub b: usize,
    /// How strongly, 0 to 1; with 1 they are never merged.
    pub strength: f32,
}

/// What is to be linked. Results depend on the order of items only where similarities are equal; give
/// them in the order of their ids.
#[derive(Debug, Clone, Copy)]
pub struct Items<'a> {
    /// Unit vectors.
    pub vectors: &'a Vectors,
    /// How much each counts in its cluster, above 0.
    pub weights: &'a [f32],
    /// Pairs that should stay apart.
    pub apart: &'a [CannotLink],
    /// Pairs that belong together, whatever their distance.
    pub together: &'a [(usize, usize)],
}

/// Clusters, and how they came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Agglomeration {
    /// Cluster of each item; clusters are numbered by their first item.
    pub labels: Vec<usize>,
    /// All merges that were made, in SciPy's convention, but that the tree ends at the threshold. Pairs that
    /// belong together are merged first, at height 0.
    pub merges: Vec<Merge>,
    /// Pairs that belong together and were not merged at once, because others must stay apart.
    pub contradictions: Vec<(usize, usize)>,
}

/// Clusters of `items` whose mean distance (1 less the mean similarity, and penalties added) is at most
/// `threshold`. `advance` hears of how many of how many steps are done.
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
    let contradictions = linker.join(items.together);
    linker.run(search, advance);
    Ok(linker.finish(contradictions))
}

impl Items<'_> {
    fn check(&self, threshold: f32) -> Result<(), Error> {
        if threshold.is_nan() {
            return Err(Error::Threshold);
        }
        let n = self.vectors.len();
        if self.weights.len() != n {
            return Err(Error::Weights { weights: self.weights.len(), vectors: n });
        }
        // Written so that NaN is wrong, too.
        let wrong = |weight: &f32| !(*weight > 0.0 && weight.is_finite());
        if let Some(row) = self.weights.iter().position(wrong) {
            return Err(Error::Weight { row, weight: self.weights[row] });
        }
        let pairs = self.apart.iter().map(|pair| (pair.a, pair.b)).chain(self.together.iter().copied());
        if let Some((a, b)) = pairs.into_iter().find(|(a, b)| a == b || *a.max(b) >= n) {
            return Err(Error::Pair { a, b, n });
        }
        match self.apart.iter().find(|pair| !(0.0..=1.0).contains(&pair.strength)) {
            Some(CannotLink { a, b, strength }) => Err(Error::Strength { a: *a, b: *b, strength: *strength }),
            None => Ok(()),
        }
    }
}

/// What a strength takes off a similarity.
fn penalty(strength: f32) -> f32 {
    if strength >= 1.0 { f32::INFINITY } else { APART_PENALTY * strength }
}

/// Two clusters that may be merged, by their nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    similarity: f32,
    a: u32,
    b: u32,
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

/// How far it is: as many steps for the first search as there are items, and as many for merging, which
/// goes as fast as candidates become fewer.
struct Steps<'a> {
    n: usize,
    /// Candidates after the first search.
    candidates: Option<usize>,
    done: usize,
    advance: &'a mut dyn FnMut(usize, usize),
}

impl<'a> Steps<'a> {
    fn new(n: usize, advance: &'a mut dyn FnMut(usize, usize)) -> Self {
        Self { n, candidates: None, done: 0, advance }
    }

    fn answered(&mut self, queries: usize) {
        if self.candidates.is_none() {
            self.tell(queries.min(self.n));
        }
    }

    fn merging(&mut self, candidates: usize) {
        let first = *self.candidates.get_or_insert(candidates.max(1));
        let share = 1.0 - (candidates as f64 / first as f64).min(1.0);
        self.tell(self.n + (share * self.n as f64) as usize);
    }

    /// Never goes back.
    fn tell(&mut self, done: usize) {
        self.done = self.done.max(done);
        (self.advance)(self.done, 2 * self.n);
    }
}

/// Clusters on the way. A cluster goes by its first item, by which vectors and the like are kept.
struct Linker {
    /// Clusters must be more similar than that.
    floor: f32,
    means: Vectors,
    weights: Vec<f64>,
    /// How similar a cluster can be at most that has not been a candidate together with this one.
    bounds: Vec<f32>,
    /// Root of each cluster.
    nodes: Vec<u32>,
    forest: Forest,
    apart: Apart,
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
            forest: Forest::new(n),
            apart: Apart::new(n, items.apart),
            merges: Vec::new(),
            heights: vec![0.0; n],
        }
    }

    /// Merges pairs that belong together; returns those of which a part must stay apart.
    fn join(&mut self, together: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let mut contradictions = Vec::new();
        for (a, b) in together {
            let (x, y) = (self.forest.first(*a as u32), self.forest.first(*b as u32));
            if x != y && self.strength(x, y) >= 1.0 {
                contradictions.push((*a, *b));
            } else if x != y {
                self.merge(x, y, 0.0);
            }
        }
        contradictions
    }

    /// Searches and merges by turns until no clusters above the floor are left. A search that is not exact
    /// may have missed some, so then all clusters are asked again, until nothing comes of it.
    fn run(&mut self, search: &Search, advance: &mut dyn FnMut(usize, usize)) {
        let mut steps = Steps::new(self.nodes.len(), advance);
        let mut candidates = Vec::new();
        let mut asking = self.living();
        let (mut missed, mut merges_before) = (false, usize::MAX);
        // Ends, because of the clusters that were asked or are sure the two most similar can be merged.
        while !asking.is_empty() {
            missed |= !search.is_exact(self.living().len(), asking.len());
            candidates.extend(self.search(&asking, search, &mut |done| steps.answered(done)));
            steps.merging(candidates.len());
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
        self.apart.settle(|item| self.forest.first(item));
        let apart =
            |a, b| if a == b { f32::INFINITY } else { penalty(self.apart.between(a, b, |item| item)) };
        let rows = |rows| Rows { of: &self.means, rows };
        let found = neighbours::nearest(rows(&living), rows(asking), self.floor, apart, search, advance);
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
        self.means.dot(x as usize, y as usize) - penalty(self.strength(x, y))
    }

    fn strength(&mut self, x: u32, y: u32) -> f32 {
        self.apart.between(x, y, |item| self.forest.first(item))
    }

    /// Makes one cluster of two, which goes by the first item of both.
    fn merge(&mut self, x: u32, y: u32, height: f64) {
        let (into, from) = (x.min(y), x.max(y));
        self.apart.merge(into, from);
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

    fn finish(mut self, contradictions: Vec<(usize, usize)>) -> Agglomeration {
        let n = self.nodes.len();
        Agglomeration { labels: self.forest.labels(n), merges: numbered(n, self.merges), contradictions }
    }
}
