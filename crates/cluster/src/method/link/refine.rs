//! After merging: every track is asked again where it belongs.
//!
//! Merging looks at the mean similarity of whole clusters, which is robust; but a person is seen in several
//! poses, and a track need only be like those of its own. So a track is compared with the best quarter of
//! the tracks of a cluster, which needs clusters to be there already. It moves where it fits clearly
//! better, or leaves to be alone, until nothing moves. An unclear track that is then alone goes to the
//! cluster of the one track that it is clearly like, if there is one: nobody else may be seen in its pose.

use std::collections::HashSet;

use crate::items::Vectors;
use crate::neighbours::{self, Rows, Search};
use crate::parallel::in_parallel;

/// Share of a cluster's tracks that a track is compared with.
const BEST: f64 = 0.25;
/// How much more similar another cluster has to be. Less lets tracks swing between poses.
const CLEARLY: f64 = 0.05;
/// Clusters that a track is compared with: those with the nearest means.
const CANDIDATES: usize = 16;
/// Tracks of a cluster that a track is compared with, at most; of larger clusters some, evenly.
const COMPARED: usize = 64;
const ROUNDS: usize = 10;

/// Clusters while tracks move.
#[derive(Debug, Clone)]
pub(super) struct Clusters<'a> {
    vectors: &'a Vectors,
    /// For each item those that it must stay apart from.
    rivals: &'a [Vec<usize>],
    labels: Vec<usize>,
    members: Vec<Vec<usize>>,
}

/// How an item stands to the clusters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Standing {
    /// Similarity to the others of its own cluster; `None` when it is alone.
    pub(super) own: Option<f64>,
    /// The most similar other cluster that no constraint forbids, and how similar.
    pub(super) next: Option<(usize, f64)>,
}

impl<'a> Clusters<'a> {
    pub(super) fn new(vectors: &'a Vectors, rivals: &'a [Vec<usize>], labels: Vec<usize>) -> Self {
        let mut members = vec![Vec::new(); labels.iter().max().map_or(0, |most| most + 1)];
        labels.iter().enumerate().for_each(|(item, label)| members[*label].push(item));
        Self { vectors, rivals, labels, members }
    }

    pub(super) fn label(&self, item: usize) -> usize {
        self.labels[item]
    }

    pub(super) fn is_alone(&self, item: usize) -> bool {
        self.members[self.labels[item]].len() == 1
    }

    /// Moves items, in that order, until all are where they fit best. `threshold` is the similarity below
    /// which an item had better be alone. `advance` hears of how many of how many rounds are done.
    pub(super) fn settle(
        &mut self,
        order: &[usize],
        threshold: f64,
        search: &Search,
        advance: &mut dyn FnMut(usize, usize),
    ) {
        let mut asking = order.to_vec();
        let mut near = vec![Vec::new(); order.len()];
        for round in 0..ROUNDS {
            advance(round, ROUNDS);
            if asking.is_empty() {
                break;
            }
            for (item, candidates) in asking.iter().zip(self.candidates(&asking, search)) {
                near[*item] = candidates;
            }
            let mut changed = HashSet::new();
            for item in asking {
                changed.extend(self.resettle(item, &near[item], threshold).into_iter().flatten());
            }
            // Only they may now fit elsewhere: for the others nothing near has changed.
            let is_near = |item: &usize| near[*item].iter().any(|label| changed.contains(label));
            let is_concerned = |item: &usize| changed.contains(&self.labels[*item]) || is_near(item);
            asking = order.iter().copied().filter(is_concerned).collect();
        }
    }

    /// Moves one item if it fits clearly better elsewhere; returns the clusters that it left and came to.
    fn resettle(&mut self, item: usize, candidates: &[usize], threshold: f64) -> Option<[usize; 2]> {
        let standing = self.standing(item, candidates);
        let own = standing.own.unwrap_or(threshold) + CLEARLY;
        let (to, similarity) = match standing.next {
            Some((label, similarity)) if similarity > threshold => (Some(label), similarity),
            _ => (None, threshold),
        };
        if similarity <= own || (to.is_none() && self.is_alone(item)) {
            return None;
        }
        let from = self.labels[item];
        let to = to.unwrap_or_else(|| {
            self.members.push(Vec::new());
            self.members.len() - 1
        });
        self.put(item, to);
        Some([from, to])
    }

    fn put(&mut self, item: usize, label: usize) {
        self.members[self.labels[item]].retain(|other| *other != item);
        self.members[label].push(item);
        self.labels[item] = label;
    }

    /// Puts those of some items that are alone, in that order, to the one item that they are clearly like, and
    /// clearly more than any of another cluster: among thousands somebody alike is always found.
    pub(super) fn adopt(&mut self, order: &[usize], threshold: f64, search: &Search) {
        let alone: Vec<usize> = order.iter().copied().filter(|item| self.is_alone(*item)).collect();
        let candidates = self.candidates(&alone, search);
        for (item, candidates) in alone.into_iter().zip(candidates) {
            let of = |label: &usize| Some((*label, *self.similarities(item, *label).first()?));
            let open = || candidates.iter().filter(|label| self.is_open(item, **label)).filter_map(of);
            let Some((label, nearest)) = best(open()) else { continue };
            let other = best(open().filter(|(other, _)| *other != label)).map_or(threshold, |(_, like)| like);
            // Somebody else who was alone may have come to it by now.
            if self.is_alone(item) && nearest > threshold.max(other) + CLEARLY {
                self.put(item, label);
            }
        }
    }

    /// How every item stands.
    pub(super) fn standings(&self, search: &Search) -> Vec<Standing> {
        let all: Vec<usize> = (0..self.labels.len()).collect();
        let candidates = self.candidates(&all, search);
        in_parallel(search.threads, &all, |item| self.standing(*item, &candidates[*item]), &mut |_| ())
    }

    fn standing(&self, item: usize, candidates: &[usize]) -> Standing {
        let open = candidates.iter().filter(|label| self.is_open(item, **label));
        let scored = open.filter_map(|label| Some((*label, self.similarity(item, *label)?)));
        Standing { own: self.similarity(item, self.labels[item]), next: best(scored) }
    }

    /// Whether an item may move to a cluster.
    fn is_open(&self, item: usize, label: usize) -> bool {
        label != self.labels[item] && !self.rivals[item].iter().any(|rival| self.labels[*rival] == label)
    }

    /// Mean similarity to the best quarter of a cluster's items but itself; `None` if there are none.
    fn similarity(&self, item: usize, label: usize) -> Option<f64> {
        let similarities = self.similarities(item, label);
        let best = (similarities.len() as f64 * BEST).ceil() as usize;
        (best > 0).then(|| similarities[..best].iter().sum::<f64>() / best as f64)
    }

    /// Similarities to a cluster's items but itself, the best first.
    fn similarities(&self, item: usize, label: usize) -> Vec<f64> {
        let members = &self.members[label];
        let some = members.iter().step_by(members.len().div_ceil(COMPARED).max(1));
        let others = some.filter(|other| **other != item);
        let mut similarities: Vec<f64> =
            others.map(|other| f64::from(self.vectors.dot(item, *other))).collect();
        similarities.sort_by(|a, b| b.total_cmp(a));
        similarities
    }

    /// For each of some items the clusters with the nearest means.
    fn candidates(&self, items: &[usize], search: &Search) -> Vec<Vec<usize>> {
        let living: Vec<usize> =
            (0..self.members.len()).filter(|label| !self.members[*label].is_empty()).collect();
        let means = living.iter().flat_map(|label| self.mean(*label)).collect();
        let means = Vectors::trusted(self.vectors.dim(), means);
        let clusters: Vec<u32> = (0..living.len() as u32).collect();
        let rows: Vec<u32> = items.iter().map(|item| *item as u32).collect();
        let among = Rows { of: &means, rows: &clusters };
        let queries = Rows { of: self.vectors, rows: &rows };
        let search = Search { k: CANDIDATES, ..*search };
        let found = neighbours::nearest(among, queries, f32::NEG_INFINITY, |_, _| 0.0, &search, &mut |_| ());
        let mut candidates = vec![Vec::new(); self.labels.len()];
        for edge in &found.edges {
            candidates[edge.a as usize].push(living[edge.b as usize]);
        }
        candidates.iter_mut().for_each(|labels| labels.sort_unstable());
        items.iter().map(|item| std::mem::take(&mut candidates[*item])).collect()
    }

    /// Direction of the mean of a cluster's items.
    fn mean(&self, label: usize) -> Vec<f32> {
        let mut mean = vec![0.0_f64; self.vectors.dim()];
        for item in &self.members[label] {
            mean.iter_mut().zip(self.vectors.row(*item)).for_each(|(m, x)| *m += f64::from(*x));
        }
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        mean.iter().map(|x| (x / length) as f32).collect()
    }
}

/// The cluster of the highest similarity; of equals the first.
fn best(scored: impl Iterator<Item = (usize, f64)>) -> Option<(usize, f64)> {
    scored.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCH: Search = Search { k: 4, exact_pairs: usize::MAX, probes: 1, threads: 1 };

    /// Unit vectors at these angles, degrees.
    fn at(degrees: &[f32]) -> Vectors {
        let vector = |degrees: &f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        Vectors::trusted(2, degrees.iter().flat_map(vector).collect())
    }

    fn settled(vectors: &Vectors, rivals: &[Vec<usize>], labels: &[usize], threshold: f64) -> Vec<usize> {
        let mut clusters = Clusters::new(vectors, rivals, labels.to_vec());
        let order: Vec<usize> = (0..labels.len()).collect();
        clusters.settle(&order, threshold, &SEARCH, &mut |_, _| ());
        (0..labels.len()).map(|item| clusters.label(item)).collect()
    }

    /// The first is nearer to the mean of the second cluster, but like one pose of the third.
    #[test]
    fn a_track_goes_to_those_it_is_like_and_not_to_the_nearer_mean() {
        let vectors = at(&[0.0, 40.0, 40.0, -5.0, -90.0]);
        let none = vec![Vec::new(); 5];
        assert_eq!(settled(&vectors, &none, &[0, 0, 0, 1, 1], 0.0), [1, 0, 0, 1, 1]);
    }

    #[test]
    fn nothing_moves_against_a_constraint_or_for_little() {
        let vectors = at(&[0.0, 40.0, 40.0, -5.0, -90.0]);
        let rivals = vec![vec![3, 4], vec![], vec![], vec![0], vec![0]];
        assert_eq!(settled(&vectors, &rivals, &[0, 0, 0, 1, 1], 0.0), [0, 0, 0, 1, 1]);
        let close = at(&[0.0, 20.0, 20.0, -15.0, -15.0]);
        assert_eq!(settled(&close, &vec![Vec::new(); 5], &[0, 0, 0, 1, 1], 0.0), [0, 0, 0, 1, 1]);
    }

    #[test]
    fn who_is_like_nobody_leaves_and_who_is_alone_stays() {
        let vectors = at(&[0.0, 0.0, 100.0, 200.0]);
        assert_eq!(settled(&vectors, &vec![Vec::new(); 4], &[0, 0, 0, 1], 0.7), [0, 0, 2, 1]);
    }

    /// Best quarters are far from the last item, but one item of the first cluster is near.
    #[test]
    fn who_is_alone_goes_to_the_one_it_is_like() {
        let vectors = at(&[0.0, 0.0, 0.0, 0.0, 70.0, 110.0]);
        let adopted = |rivals: &[Vec<usize>], threshold: f64| {
            let mut clusters = Clusters::new(&vectors, rivals, vec![0, 0, 0, 0, 0, 1]);
            clusters.adopt(&[0, 1, 2, 3, 4, 5], threshold, &SEARCH);
            clusters.label(5)
        };
        let none = vec![Vec::new(); 6];
        assert_eq!(adopted(&none, 0.7), 0, "cos 40° is clearly above");
        assert_eq!(adopted(&none, 0.75), 1, "and here it is not");
        let rivals = vec![vec![5], vec![], vec![], vec![], vec![], vec![0]];
        assert_eq!(adopted(&rivals, 0.7), 1, "they share a frame");
    }

    #[test]
    fn standings_name_the_next_cluster() {
        let vectors = at(&[0.0, 10.0, 60.0]);
        let rivals = vec![vec![], vec![2], vec![1]];
        let standings = Clusters::new(&vectors, &rivals, vec![0, 0, 1]).standings(&SEARCH);
        let cos = |degrees: f32| f64::from(degrees.to_radians().cos());
        assert!((standings[0].own.unwrap_or(0.0) - cos(10.0)).abs() < 1e-6);
        let next =
            standings[0].next.map(|(label, similarity)| (label, (similarity - cos(60.0)).abs() < 1e-6));
        assert_eq!(next, Some((1, true)));
        assert_eq!(standings[1].next, None, "they share a frame");
        assert_eq!((standings[2].own, standings[2].next), (None, None));
    }
}
