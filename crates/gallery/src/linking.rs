//! Links the people of all videos at once, so that the result depends on the set of videos and not on their order.
//!
//! The method is centroid linkage under constraints. The two clusters with the most similar means are merged first,
//! while the similarity is at least [`Scale::threshold`](crate::matching::Scale), which rises with the number of
//! people. Two people of one video are never merged. The mean of a cluster has less noise than its members, so a
//! merge can make two clusters more similar. Therefore the search for neighbours among the means is repeated until no
//! clusters are merged.
//!
//! *Example.* In two dimensions, video 0 has people at 0° and 90°, and video 1 has people at 85° and 5°. The people
//! at 0° and 5° become one cluster, the people at 90° and 85° another one.

use std::collections::BinaryHeap;

use cluster::agglomerate::Candidate;
use cluster::items::{self, Vectors};
use cluster::neighbours::{self, Rows, Search};
use numeric::merges::Merges;

use crate::matching::{Match, Scale, common, without};

/// Number of neighbours that a search finds for each cluster.
const NEIGHBOURS: usize = 64;
/// Largest difference from the threshold, in cosine similarity, of a pair below the threshold that is kept, because
/// merges can raise the similarity of the pair.
const SLACK: f64 = 0.15;
/// Largest number of people whose pairs determine how similar different people are.
const SAMPLE: usize = 1000;
/// Largest number of searches.
const SEARCHES: usize = 20;

/// A person of a video.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Index of the video, from zero.
    pub(crate) video: u32,
    /// Number of tracks of the person, above 0.
    pub(crate) weight: f32,
    /// Mean embedding of the person, of unit norm.
    pub(crate) vector: &'a [f32],
}

/// What corrections say about items, given by their indices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taught {
    /// Pairs that are one person, which are linked first; a pair of one video is not linked.
    pub(crate) same: Vec<(usize, usize)>,
    /// Pairs that are two people, which are never linked.
    pub(crate) different: Vec<(usize, usize)>,
}

/// Clusters of the people of all videos.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linked {
    /// Cluster of each item; clusters are numbered from zero in the order of their first items.
    pub(crate) labels: Vec<usize>,
    /// Match of each item: its cluster with the similarity to the mean of the other items there, `None` where there
    /// are none, and the most similar other cluster without a person of its video. The threshold of an item with
    /// neither is `None`.
    pub(crate) matches: Vec<Match>,
}

/// Links items. The caller sorts the items, so that the result does not depend on the order of arrival.
///
/// # Errors
/// When vectors differ in length or are not finite, and when there are 2³¹ items or more.
pub(crate) fn link(
    scale: &Scale,
    items: &[Item<'_>],
    taught: &Taught,
    threads: usize,
) -> Result<Linked, items::Error> {
    if items.is_empty() {
        return Ok(Linked { labels: Vec::new(), matches: Vec::new() });
    }
    let rows = centred(scale, items)?;
    let sample = sampled(items, &rows);
    let search = Search { k: NEIGHBOURS, ..Search::new(threads.max(1)) };
    let mut clusters = Clusters::new(items, &rows);
    clusters.teach(taught);
    // At first every item is a person. With fewer people, the threshold is lower.
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

/// Returns the matches of items whose clusters are known: see [`Linked`]. Clusters are numbered from zero in the order
/// of their first items, and have no two items of a video.
///
/// # Errors
/// As [`link`].
pub(crate) fn matches(
    scale: &Scale,
    items: &[Item<'_>],
    labels: &[usize],
    threads: usize,
) -> Result<Vec<Match>, items::Error> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let rows = centred(scale, items)?;
    let mut clusters = Clusters::new(items, &rows);
    let mut firsts = Vec::new();
    for (item, label) in (0..).zip(labels) {
        match firsts.get(*label) {
            Some(first) => clusters.merge(*first, item),
            None => firsts.push(item),
        }
    }
    let threshold = scale.threshold(firsts.len(), &sampled(items, &rows));
    let search = Search { k: NEIGHBOURS, ..Search::new(threads.max(1)) };
    clusters.matches(items, &rows, (labels, threshold), &search)
}

/// Returns the vectors of items without what all have in common, if the scale says so.
fn centred(scale: &Scale, items: &[Item<'_>]) -> Result<Vectors, items::Error> {
    let dim = items.first().map_or(0, |item| item.vector.len());
    let vectors: Vec<&[f32]> = items.iter().map(|item| item.vector).collect();
    let common = if scale.has_common() { common(&vectors, &[]) } else { vec![0.0; dim] };
    let mut values = Vec::with_capacity(items.len() * dim);
    let mut rest = Vec::new();
    for vector in vectors {
        without(vector, &common, &mut rest);
        values.extend_from_slice(&rest);
    }
    Vectors::new(dim, values)
}

/// Returns the cosine similarities of pairs from different videos, of an evenly spaced sample of items.
fn sampled(items: &[Item<'_>], rows: &Vectors) -> Vec<Vec<f64>> {
    let step = items.len().div_ceil(SAMPLE).max(1);
    let some: Vec<usize> = (0..items.len()).step_by(step).collect();
    let row = |(at, a): (usize, &usize)| {
        let others = some[..at].iter().filter(|b| items[**b].video != items[*a].video);
        others.map(|b| f64::from(dot(rows.row(*a), rows.row(*b)))).collect()
    };
    some.iter().enumerate().map(row).collect()
}

/// Returns the inner product, summed in a fixed order.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    numeric::vector::dot_in_lanes(a, b)
}

/// Clusters during linking. The index of the first item of a cluster is the index of its sums, videos and root.
struct Clusters {
    dim: usize,
    /// Weighted sums of vectors, one after the other.
    sums: Vec<f32>,
    /// Videos of each cluster, in order.
    videos: Vec<Vec<u32>>,
    /// Indices of the pairs of [`Taught::different`] with an item in each cluster, in order.
    apart: Vec<Vec<u32>>,
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
            apart: vec![Vec::new(); items.len()],
            nodes: (0..items.len() as u32).collect(),
            forest: Merges::new(items.len()),
        }
    }

    /// Takes over what corrections say.
    fn teach(&mut self, taught: &Taught) {
        for (pair, (a, b)) in (0..).zip(&taught.different) {
            [a, b].into_iter().for_each(|item| self.apart[*item].push(pair));
        }
        for (a, b) in &taught.same {
            let (x, y) = (self.forest.first(*a as u32), self.forest.first(*b as u32));
            if x != y && !self.is_forbidden(x, y) {
                self.merge(x, y);
            }
        }
    }

    /// Returns the first items of all clusters.
    fn living(&mut self) -> Vec<u32> {
        (0..self.nodes.len() as u32).filter(|item| self.forest.first(*item) == *item).collect()
    }

    fn sum(&self, item: u32) -> &[f32] {
        &self.sums[item as usize * self.dim..][..self.dim]
    }

    /// Returns the cosine similarity of the means of two clusters; 0 if a mean is zero.
    fn similarity(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (self.sum(a), self.sum(b));
        let lengths = (dot(a, a) * dot(b, b)).sqrt();
        if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
    }

    /// Returns whether two clusters have people of the same video, or are two people by a correction.
    fn is_forbidden(&self, a: u32, b: u32) -> bool {
        [&self.videos, &self.apart].into_iter().any(|of| {
            let (a, b) = (&of[a as usize], &of[b as usize]);
            let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
            few.iter().any(|one| many.binary_search(one).is_ok())
        })
    }

    /// Returns the means of some clusters, of unit norm.
    fn means(&self, of: &[u32]) -> Result<Vectors, items::Error> {
        let mut values = Vec::with_capacity(of.len() * self.dim);
        for item in of {
            let sum = self.sum(*item);
            let length = dot(sum, sum).sqrt();
            values.extend(sum.iter().map(|x| if length > 0.0 { x / length } else { 0.0 }));
        }
        Vectors::new(self.dim, values)
    }

    /// Searches neighbours among the means and merges the pairs that reach the threshold. Returns whether any pair
    /// was merged.
    fn grow(&mut self, threshold: f64, search: &Search) -> Result<bool, items::Error> {
        let living = self.living();
        let means = self.means(&living)?;
        let all: Vec<u32> = (0..living.len() as u32).collect();
        let penalty = |a: u32, b: u32| {
            let is_forbidden = self.is_forbidden(living[a as usize], living[b as usize]);
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
        // A merge can raise the similarity of other pairs above the threshold.
        while self.merge_all(&pairs, threshold as f32) {
            merged = true;
        }
        Ok(merged)
    }

    /// Merges pairs that reach the threshold, the most similar first. Returns whether any pair was merged.
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

    /// Returns two clusters, given by their first items, as a candidate; `None` if they must not be merged.
    fn candidate(&self, x: u32, y: u32, threshold: f32) -> Option<Candidate> {
        let (x, y) = (x.min(y), x.max(y));
        let similarity = self.similarity(x, y);
        let is_allowed = x != y && similarity >= threshold && !self.is_forbidden(x, y);
        is_allowed.then(|| Candidate { similarity, a: self.nodes[x as usize], b: self.nodes[y as usize] })
    }

    /// Merges two clusters into one, whose first item is the smaller of the two first items.
    fn merge(&mut self, x: u32, y: u32) {
        let (into, from) = (x.min(y) as usize, x.max(y) as usize);
        self.nodes[into] = self.forest.merge(self.nodes[into], self.nodes[from]);
        let (low, high) = self.sums.split_at_mut(from * self.dim);
        for (x, y) in low[into * self.dim..][..self.dim].iter_mut().zip(&high[..self.dim]) {
            *x += y;
        }
        for of in [&mut self.videos, &mut self.apart] {
            let moved = std::mem::take(&mut of[from]);
            of[into].extend(moved);
            of[into].sort_unstable();
        }
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
        // Clusters have the same numbers as labels. The own cluster of an item is excluded, because it has the video.
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

    /// Links people given by a video and by the angle of a unit vector, in degrees.
    fn partition(people: &[(u32, f32)]) -> Linked {
        taught(people, &Taught::default())
    }

    fn taught(people: &[(u32, f32)], taught: &Taught) -> Linked {
        let vectors: Vec<[f32; 2]> =
            people.iter().map(|(_, angle)| [angle.to_radians().cos(), angle.to_radians().sin()]).collect();
        let item = |((video, _), vector): (&(u32, f32), &'_ [f32; 2])| (*video, *vector);
        let owned: Vec<_> = people.iter().zip(&vectors).map(item).collect();
        let items: Vec<_> = owned
            .iter()
            .map(|(video, vector)| Item { video: *video, weight: 1.0, vector: vector.as_slice() })
            .collect();
        link(&Scale::RAW, &items, taught, 1).unwrap()
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
        // The third item must not join the first cluster, which has a person of the same video.
        assert_eq!(linked.matches[2].runner_up, None);
        assert_eq!(linked.matches[0].runner_up.map(|(label, _)| label), Some(1));
        assert!((linked.matches[0].margin().unwrap_or(0.0) - (cos(10.0) - 0.5)).abs() < 1e-6);
    }

    #[test]
    fn what_corrections_say_holds_and_other_people_follow() {
        let people = [(0, 0.0), (1, 70.0), (2, 90.0), (0, 180.0)];
        assert_eq!(partition(&people).labels, [0, 1, 1, 2]);
        let say = |same: &[(usize, usize)], different: &[(usize, usize)]| {
            taught(&people, &Taught { same: same.to_vec(), different: different.to_vec() }).labels
        };
        // The mean of 0° and 70° is 55° from the item at 90°, so that item follows.
        assert_eq!(say(&[(0, 1)], &[]), [0, 0, 0, 1]);
        assert_eq!(say(&[(0, 1)], &[(0, 2)]), [0, 0, 1, 2]);
        assert_eq!(say(&[], &[(1, 2)]), [0, 1, 2, 3]);
        assert_eq!(say(&[(0, 3)], &[]), [0, 1, 1, 2], "two people of one video");
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
                prop_assert!(!people.iter().enumerate().any(is_same), "two people of one video are in one cluster");
            }
        }
    }
}
