//! Links the people of all videos at once, so that the result depends on the set of videos and not on their order.
//!
//! Centroid linkage under constraints: the two most similar clusters are merged first, while their means are at
//! least as similar as [`Scale::threshold`](crate::matching::Scale) asks for that many people. Two people of one
//! video are never merged. The mean of a cluster is less noisy than its members, so that two clusters can become
//! more similar by merges; neighbours are therefore searched among the means again until nothing merges.

use std::collections::BinaryHeap;

use cluster::agglomerate::Candidate;
use cluster::items::{self, Vectors};
use cluster::neighbours::{self, Rows, Search};
use numeric::merges::Merges;

use crate::matching::{Match, Scale, common, without};

/// Neighbours that a cluster knows in a search.
const NEIGHBOURS: usize = 64;
/// Pairs whose similarity is less than the threshold by this much are looked at, because a merge can bring them
/// nearer.
const SLACK: f64 = 0.15;
/// People whose pairs say how similar different people are.
const SAMPLE: usize = 1000;
/// Searches, at most.
const SEARCHES: usize = 20;

/// A person of a video.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Number of the video.
    pub(crate) video: u32,
    /// Number of tracks, above 0.
    pub(crate) weight: f32,
    /// Unit norm.
    pub(crate) vector: &'a [f32],
}

/// Clusters of the people of all videos.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linked {
    /// Cluster of each item; clusters are numbered by their first items.
    pub(crate) labels: Vec<usize>,
    /// Match of each item: its cluster with the similarity to the mean of the other items there, `None` where there
    /// are none, and the most similar other cluster without a person of its video. The threshold of an item with
    /// neither is `None`.
    pub(crate) matches: Vec<Match>,
}

/// Links items, which are in an order that does not depend on how they arrived.
///
/// # Errors
/// When vectors differ in length or are not finite, and from 2³¹ items on.
pub(crate) fn link(scale: &Scale, items: &[Item<'_>], threads: usize) -> Result<Linked, items::Error> {
    let Some(first) = items.first() else {
        return Ok(Linked { labels: Vec::new(), matches: Vec::new() });
    };
    let vectors: Vec<&[f32]> = items.iter().map(|item| item.vector).collect();
    let common = if scale.has_common() { common(&vectors, &[]) } else { vec![0.0; first.vector.len()] };
    let mut values = Vec::with_capacity(items.len() * first.vector.len());
    let mut rest = Vec::new();
    for vector in vectors {
        without(vector, &common, &mut rest);
        values.extend_from_slice(&rest);
    }
    let rows = Vectors::new(first.vector.len(), values)?;
    let sample = sampled(items, &rows);
    let search = Search { k: NEIGHBOURS, ..Search::new(threads.max(1)) };
    let mut clusters = Clusters::new(items, &rows);
    // As many people as items at first; with fewer people, less similarity is enough.
    let mut n = items.len();
    let mut threshold = scale.threshold(n, &sample);
    for _ in 0..SEARCHES {
        let merged = clusters.grow(threshold, &search)?;
        let count = clusters.living().len();
        if !merged && count == n {
            break;
        }
        n = count;
        threshold = scale.threshold(n, &sample);
    }
    let labels = clusters.forest.labels(items.len());
    let matches = clusters.matches(items, &rows, (&labels, threshold), &search)?;
    Ok(Linked { labels, matches })
}

/// Similarities of pairs from different videos, of an even sample.
fn sampled(items: &[Item<'_>], rows: &Vectors) -> Vec<Vec<f64>> {
    let step = items.len().div_ceil(SAMPLE).max(1);
    let some: Vec<usize> = (0..items.len()).step_by(step).collect();
    let row = |(at, a): (usize, &usize)| {
        let others = some[..at].iter().filter(|b| items[**b].video != items[*a].video);
        others.map(|b| f64::from(dot(rows.row(*a), rows.row(*b)))).collect()
    };
    some.iter().enumerate().map(row).collect()
}

/// An inner product in one order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    numeric::vector::dot_in_lanes(a, b)
}

/// Clusters while they grow. A cluster goes by its first item, by which sums and the like are kept.
struct Clusters {
    dim: usize,
    /// Weighted sums of vectors, one after the other.
    sums: Vec<f32>,
    /// Videos of each cluster, in order.
    videos: Vec<Vec<u32>>,
    /// Root of each cluster.
    nodes: Vec<u32>,
    forest: Merges,
}

impl Clusters {
    fn new(items: &[Item<'_>], rows: &Vectors) -> Self {
        let sum =
            |(at, item): (usize, &Item<'_>)| rows.row(at).iter().map(|x| x * item.weight).collect::<Vec<_>>();
        Self {
            dim: rows.dim(),
            sums: items.iter().enumerate().flat_map(sum).collect(),
            videos: items.iter().map(|item| vec![item.video]).collect(),
            nodes: (0..items.len() as u32).collect(),
            forest: Merges::new(items.len()),
        }
    }

    /// First items of the clusters there are.
    fn living(&mut self) -> Vec<u32> {
        (0..self.nodes.len() as u32).filter(|item| self.forest.first(*item) == *item).collect()
    }

    fn sum(&self, item: u32) -> &[f32] {
        &self.sums[item as usize * self.dim..][..self.dim]
    }

    /// Cosine of the means of two clusters; 0 where a mean has no direction.
    fn similarity(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.sum(a), self.sum(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    }

    /// Whether two clusters have people of one video.
    fn share_video(&self, a: u32, b: u32) -> bool {
        let (a, b) = (&self.videos[a as usize], &self.videos[b as usize]);
        let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
        few.iter().any(|video| many.binary_search(video).is_ok())
    }

    /// Means of some clusters, of unit length.
    fn means(&self, of: &[u32]) -> Result<Vectors, items::Error> {
        let mut values = Vec::with_capacity(of.len() * self.dim);
        for item in of {
            let sum = self.sum(*item);
            let length = dot(sum, sum).sqrt();
            values.extend(sum.iter().map(|x| if length > 0.0 { x / length } else { 0.0 }));
        }
        Vectors::new(self.dim, values)
    }

    /// Searches neighbours among the means and merges what is similar enough; says whether anything was.
    fn grow(&mut self, threshold: f64, search: &Search) -> Result<bool, items::Error> {
        let living = self.living();
        let means = self.means(&living)?;
        let all: Vec<u32> = (0..living.len() as u32).collect();
        let penalty = |a: u32, b: u32| {
            let is_forbidden = self.share_video(living[a as usize], living[b as usize]);
            if is_forbidden { f32::INFINITY } else { 0.0 }
        };
        let rows = Rows { of: &means, rows: &all };
        let floor = (threshold - SLACK) as f32;
        let found = neighbours::nearest(rows, rows, floor, penalty, search, &mut |_| ());
        let mut pairs: Vec<(u32, u32)> = Vec::with_capacity(found.edges.len());
        pairs.extend(found.edges.iter().map(|edge| {
            let (a, b) = (living[edge.a as usize], living[edge.b as usize]);
            (a.min(b), a.max(b))
        }));
        pairs.sort_unstable();
        pairs.dedup();
        let mut merged = false;
        // A merge can bring pairs above the threshold that were below it.
        while self.merge_all(&pairs, threshold as f32) {
            merged = true;
        }
        Ok(merged)
    }

    /// Merges pairs, the most similar first; says whether any was merged.
    fn merge_all(&mut self, pairs: &[(u32, u32)], threshold: f32) -> bool {
        let mut heap = BinaryHeap::new();
        for (a, b) in pairs {
            let (x, y) = (self.forest.first(*a), self.forest.first(*b));
            heap.extend(self.candidate(x, y, threshold));
        }
        let mut merged = false;
        while let Some(candidate) = heap.pop() {
            let (x, y) = (self.forest.first(candidate.a), self.forest.first(candidate.b));
            let is_fresh = (self.nodes[x as usize], self.nodes[y as usize]) == (candidate.a, candidate.b);
            if is_fresh {
                self.merge(x, y);
                merged = true;
            } else {
                heap.extend(self.candidate(x, y, threshold));
            }
        }
        merged
    }

    /// Two clusters, by their first items, if they may be merged.
    fn candidate(&self, x: u32, y: u32, threshold: f32) -> Option<Candidate> {
        let (x, y) = (x.min(y), x.max(y));
        let similarity = self.similarity(x, y);
        let is_allowed = x != y && similarity >= threshold && !self.share_video(x, y);
        is_allowed.then(|| Candidate { similarity, a: self.nodes[x as usize], b: self.nodes[y as usize] })
    }

    /// Makes one cluster of two, which goes by the first item of both.
    fn merge(&mut self, x: u32, y: u32) {
        let (into, from) = (x.min(y) as usize, x.max(y) as usize);
        self.nodes[into] = self.forest.merge(self.nodes[into], self.nodes[from]);
        let (low, high) = self.sums.split_at_mut(from * self.dim);
        for (x, y) in low[into * self.dim..][..self.dim].iter_mut().zip(&high[..self.dim]) {
            *x += y;
        }
        let videos = std::mem::take(&mut self.videos[from]);
        self.videos[into].extend(videos);
        self.videos[into].sort_unstable();
    }

    /// See [`Linked::matches`]; `threshold` is what the last merge had to have.
    fn matches(
        &mut self,
        items: &[Item<'_>],
        rows: &Vectors,
        (labels, threshold): (&[usize], f64),
        search: &Search,
    ) -> Result<Vec<Match>, items::Error> {
        let living = self.living();
        let means = self.means(&living)?;
        let all: Vec<u32> = (0..living.len() as u32).collect();
        let queries: Vec<u32> = (0..items.len() as u32).collect();
        // Clusters are numbered by their first items, as labels are. An item's own cluster has its video.
        let penalty = |item: u32, label: u32| {
            let videos = &self.videos[living[label as usize] as usize];
            let is_forbidden = videos.binary_search(&items[item as usize].video).is_ok();
            if is_forbidden { f32::INFINITY } else { 0.0 }
        };
        let search = Search { k: 1, ..*search };
        let (among, of) = (Rows { of: &means, rows: &all }, Rows { of: rows, rows: &queries });
        let found = neighbours::nearest(among, of, f32::MIN, penalty, &search, &mut |_| ());
        let mut matches = vec![Match { known: None, runner_up: None, threshold: None }; items.len()];
        for edge in found.edges {
            matches[edge.a as usize].runner_up = Some((edge.b as usize, f64::from(edge.similarity)));
        }
        for (at, (found, label)) in matches.iter_mut().zip(labels).enumerate() {
            if self.videos[living[*label] as usize].len() > 1 {
                let own = rows.row(at);
                let sum = self.sum(living[*label]);
                let others: Vec<f32> =
                    sum.iter().zip(own).map(|(sum, x)| sum - items[at].weight * x).collect();
                let length = dot(&others, &others).sqrt();
                let similarity = if length > 0.0 { dot(&others, own) / length } else { 0.0 };
                found.known = Some((*label, f64::from(similarity)));
            }
            found.threshold = found.known.or(found.runner_up).map(|_| threshold);
        }
        Ok(matches)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Unit vectors at these angles, degrees, with their videos.
    fn partition(people: &[(u32, f32)]) -> Linked {
        let vectors: Vec<[f32; 2]> =
            people.iter().map(|(_, angle)| [angle.to_radians().cos(), angle.to_radians().sin()]).collect();
        let item = |((video, _), vector): (&(u32, f32), &'_ [f32; 2])| (*video, *vector);
        let owned: Vec<_> = people.iter().zip(&vectors).map(item).collect();
        let items: Vec<_> = owned
            .iter()
            .map(|(video, vector)| Item { video: *video, weight: 1.0, vector: vector.as_slice() })
            .collect();
        link(&Scale::RAW, &items, 1).unwrap()
    }

    #[test]
    fn people_of_different_videos_are_linked_and_those_of_one_video_are_not() {
        assert_eq!(partition(&[(0, 0.0), (0, 90.0), (1, 85.0), (1, 5.0)]).labels, [0, 1, 1, 0]);
        assert_eq!(partition(&[(0, 0.0), (0, 10.0), (1, 12.0)]).labels, [0, 1, 1]);
        assert!(partition(&[]).labels.is_empty());
    }

    #[test]
    fn matches_say_how_sure_a_decision_is() {
        let linked = partition(&[(0, 0.0), (1, 10.0), (1, 90.0)]);
        let cos = |degrees: f64| degrees.to_radians().cos();
        let own: Vec<_> = linked.matches.iter().map(|found| Some(found.known?.1)).collect();
        assert!((own[0].unwrap_or(0.0) - cos(10.0)).abs() < 1e-6 && own[2].is_none(), "{own:?}");
        // The third may not join the first, which has a person of its video.
        assert_eq!(linked.matches[2].runner_up, None);
        assert_eq!(linked.matches[0].runner_up.map(|(label, _)| label), Some(1));
        assert!((linked.matches[0].margin().unwrap_or(0.0) - (cos(10.0) - 0.5)).abs() < 1e-6);
    }

    proptest! {
        /// The order of the items changes the numbers of clusters only.
        #[test]
        fn the_order_changes_nothing(
            people in prop::collection::vec((0..6_u32, -180.0..180.0_f32), 1..24),
            seed in any::<u64>(),
        ) {
            let mut order: Vec<usize> = (0..people.len()).collect();
            order.sort_by_key(|at| (*at as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            let shuffled: Vec<_> = order.iter().map(|at| people[*at]).collect();
            let (straight, turned) = (partition(&people).labels, partition(&shuffled).labels);
            for (i, a) in order.iter().enumerate() {
                for (j, b) in order.iter().enumerate() {
                    prop_assert_eq!(turned[i] == turned[j], straight[*a] == straight[*b]);
                }
            }
            for (at, (video, _)) in people.iter().enumerate() {
                let is_same = |(other, row): (usize, &(u32, f32))| {
                    other != at && row.0 == *video && straight[other] == straight[at]
                };
                prop_assert!(!people.iter().enumerate().any(is_same), "two people of one video are one");
            }
        }
    }
}
