//! Reassignment of single tracks after merging.
//!
//! The least clear tracks come first. A track is removed from its cluster and joins the cluster with the largest
//! log odds (evidence plus prior plus clothes), or stays alone if no log odds are above the stop. This is repeated
//! until no track moves. So the reassignment corrects early merges of unclear tracks.

use std::collections::{HashMap, HashSet};

use super::clothes::{self, ClothesOdds, Mean};
use super::evidence::Sums;
use super::merge::Stop;
use crate::neighbours::{self, Rows, Search};
use crate::parallel::in_parallel;
use crate::prior::Prior;

/// Largest number of clusters with which a track is compared: those whose sums are nearest in direction.
pub(super) const CANDIDATES: usize = 64;
const ROUNDS: usize = 30;

/// Clusters during reassignment.
#[derive(Debug, Clone)]
pub(super) struct Clusters<'a> {
    tracks: &'a Sums,
    prior: &'a Prior,
    /// For each track, the tracks with which it has a cannot-link constraint.
    cannot_link_of: &'a [Vec<usize>],
    worn: Option<&'a ClothesOdds>,
    labels: Vec<usize>,
    sums: Sums,
    search: Search,
}

/// Log odds of a track for its cluster and the second-best one, against being alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Standing {
    /// Log odds of the track for its own cluster; 0 if the track is alone.
    pub(super) own: f64,
    /// The best other cluster that no constraint forbids, and the log odds; `None` if there is none.
    pub(super) next: Option<(usize, f64)>,
    /// Probability of its own cluster against the others and against being alone, as long as all other tracks stay.
    pub(super) certainty: f64,
}

impl<'a> Clusters<'a> {
    /// Creates the clusters of tracks from `labels`, numbered from zero.
    pub(super) fn new(
        tracks: &'a Sums,
        prior: &'a Prior,
        cannot_link_of: &'a [Vec<usize>],
        labels: Vec<usize>,
        search: Search,
    ) -> Self {
        let count = labels.iter().max().map_or(0, |last| last + 1);
        let sums = tracks.grouped(&labels, count);
        let search = Search { k: CANDIDATES, ..search };
        Self { tracks, prior, cannot_link_of, worn: None, labels, sums, search }
    }

    /// Adds the log odds of clothes for pairs of tracks.
    pub(super) fn with_clothes(self, worn: &'a ClothesOdds) -> Self {
        Self { worn: Some(worn), ..self }
    }

    /// Moves tracks, in the order `order`, until every track is in its best cluster or [`ROUNDS`] rounds are over.
    /// Returns whether every track is in its best cluster; with clothes this may fail, because the log odds of
    /// clothes are means over pairs, so tracks can move in a circle. With [`Stop::Clusters`] the number of clusters
    /// does not change. Reports the completed share, 0 to 1, to `advance`.
    pub(super) fn reassign(&mut self, order: &[usize], stop: Stop, advance: &mut dyn FnMut(f64)) -> bool {
        let mut asking = order.to_vec();
        let mut near = vec![Vec::new(); order.len()];
        let mut changed: HashSet<usize> = HashSet::new();
        for round in 0..ROUNDS {
            if asking.is_empty() {
                break;
            }
            advance(round as f64 / ROUNDS as f64);
            let numbers = self.forget_empty();
            // Of very many tracks, a search takes minutes and misses some clusters anyway: the first one serves all rounds.
            let is_large = !self.search.is_exact(self.len(), order.len());
            let is_known = is_large && round > 0;
            let before = std::mem::take(&mut changed);
            let before: HashSet<usize> = before.iter().filter_map(|label| numbers[*label]).collect();
            if is_known {
                let renumber = |label: &usize| numbers.get(*label).copied().flatten();
                near.iter_mut().for_each(|labels| *labels = labels.iter().filter_map(renumber).collect());
            } else {
                for (track, candidates) in asking.iter().zip(self.candidates(&asking)) {
                    near[*track] = candidates;
                }
            }
            // Clusters made in this round, which no search has seen; of very many tracks, they are too many.
            let made = self.len();
            for track in asking {
                let from = self.labels[track];
                // Of clusters that did not change, none was better than the own one.
                let has_changed = |label: &usize| before.contains(label) || changed.contains(label);
                let is_asked = |label: &usize| !is_known || has_changed(&from) || has_changed(label);
                let end = if is_large { made } else { self.len() };
                let candidates = near[track].iter().copied().filter(is_asked).chain(made..end);
                let to = self.best(track, candidates, stop);
                if to != Some(from) {
                    let to = to.unwrap_or_else(|| self.push_empty());
                    self.put(track, to);
                    changed.extend([from, to]);
                }
            }
            // A track with none of the changed clusters near it need not be checked again.
            let is_near = |track: &usize| near[*track].iter().any(|label| changed.contains(label));
            let is_concerned = |track: &usize| {
                let has_room = near[*track].len() < CANDIDATES && !is_large;
                changed.contains(&self.labels[*track]) || has_room || is_near(track)
            };
            asking = if changed.is_empty() {
                Vec::new()
            } else {
                order.iter().copied().filter(is_concerned).collect()
            };
        }
        self.forget_empty();
        asking.is_empty()
    }

    /// A further cluster, without tracks.
    pub(super) fn push_empty(&mut self) -> usize {
        self.sums.push_empty()
    }

    /// Moves a track to another cluster.
    pub(super) fn put(&mut self, track: usize, to: usize) {
        self.sums.put(self.labels[track], self.tracks, track, false);
        self.sums.put(to, self.tracks, track, true);
        self.labels[track] = to;
    }

    /// Returns the number of clusters, including empty ones.
    pub(super) fn len(&self) -> usize {
        self.sums.vectors().len()
    }

    /// Returns the best cluster for a track, of equal ones the first; `None` for a new cluster.
    fn best(&self, track: usize, candidates: impl Iterator<Item = usize>, stop: Stop) -> Option<usize> {
        let own = self.labels[track];
        let is_alone = self.is_alone(track);
        let (mut best, mut to) = match stop {
            Stop::Gain(gain) => (gain, is_alone.then_some(own)),
            // The last track of a cluster stays, so that the number of clusters does not change.
            Stop::Clusters(_) if is_alone => return Some(own),
            Stop::Clusters(_) => (f64::NEG_INFINITY, Some(own)),
        };
        let mut candidates: Vec<usize> = candidates.chain([own]).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let clothes = self.clothes(track);
        for label in candidates {
            if let Some(gain) = self.gain(track, label, &clothes)
                && gain > best
            {
                (best, to) = (gain, Some(label));
            }
        }
        to
    }

    /// Returns the log odds that a track belongs to a cluster, against being alone; `None` if the cluster has no
    /// other track, or a track with a cannot-link constraint.
    pub(super) fn gain(&self, track: usize, label: usize, clothes: &HashMap<u32, Mean>) -> Option<f64> {
        let is_own = self.labels[track] == label;
        let mates = self.sums.count(label) - if is_own { self.tracks.count(track) } else { 0 };
        if mates == 0 || self.forbids(track, label) {
            return None;
        }
        let evidence = if is_own {
            self.sums.without(label, self.tracks, track)
        } else {
            self.sums.with(label, self.tracks, track)
        };
        let clothes = clothes.get(&(label as u32)).map_or(0.0, |mean| mean.value());
        Some(evidence + self.prior.merge(mates, self.tracks.count(track)) + clothes)
    }

    /// Returns whether a constraint keeps a track out of a cluster.
    pub(super) fn forbids(&self, track: usize, label: usize) -> bool {
        self.cannot_link_of[track].iter().any(|other| self.labels[*other] == label)
    }

    /// Log odds that two clusters are one person, clothes aside.
    pub(super) fn merge_gain(&self, a: usize, b: usize) -> f64 {
        self.sums.log_odds(self.prior, a, b)
    }

    /// Returns the mean log odds of clothes for a track and each cluster.
    pub(super) fn clothes(&self, track: usize) -> HashMap<u32, Mean> {
        let worn = self.worn.and_then(|worn| worn.get(track));
        worn.map_or_else(HashMap::new, |worn| clothes::means(worn, |other| self.labels[other]))
    }

    /// Returns the mean log odds of clothes for the pairs of clusters that have some.
    pub(super) fn clothes_between(&self) -> HashMap<(usize, usize), Mean> {
        let mut between: HashMap<(usize, usize), Mean> = HashMap::new();
        for (track, worn) in self.worn.into_iter().flatten().enumerate() {
            for (other, odds) in worn {
                let pair = (self.labels[track], self.labels[*other as usize]);
                between.entry(pair).or_default().add(Mean::of(*odds));
            }
        }
        between
    }

    /// Returns whether a track is the only track of its cluster.
    pub(super) fn is_alone(&self, track: usize) -> bool {
        self.sums.count(self.labels[track]) == self.tracks.count(track)
    }

    /// Returns the cluster of every track.
    pub(super) fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Removes empty clusters, numbers the others in the order of their first tracks, and computes the sums again. Returns
    /// the new number of each cluster, `None` of an empty one.
    pub(super) fn forget_empty(&mut self) -> Vec<Option<usize>> {
        let mut numbers = vec![None; self.len()];
        let mut count = 0;
        for label in &mut self.labels {
            *label = *numbers[*label].get_or_insert_with(|| {
                count += 1;
                count - 1
            });
        }
        self.sums = self.tracks.grouped(&self.labels, count);
        numbers
    }

    /// Returns the standings of all tracks.
    pub(super) fn standings(&self) -> Vec<Standing> {
        let all: Vec<usize> = (0..self.labels.len()).collect();
        let candidates = self.candidates(&all);
        let standing = |track: &usize| self.standing(*track, &candidates[*track]);
        in_parallel(self.search.threads, &all, standing, &mut |_| ())
    }

    fn standing(&self, track: usize, candidates: &[usize]) -> Standing {
        let label = self.labels[track];
        let clothes = self.clothes(track);
        let own = self.gain(track, label, &clothes).unwrap_or(0.0);
        let mut next: Option<(usize, f64)> = None;
        // The gains are relative to the own gain, so that the exponentials do not overflow together.
        let mut others = if self.is_alone(track) { 0.0 } else { (-own).exp() };
        for other in candidates.iter().copied().filter(|other| *other != label) {
            let Some(gain) = self.gain(track, other, &clothes) else { continue };
            others += (gain - own).exp();
            if next.is_none_or(|(_, best)| gain > best) {
                next = Some((other, gain));
            }
        }
        Standing { own, next, certainty: 1.0 / (1.0 + others) }
    }

    /// Returns for each of `tracks` the clusters nearest to it, in the order of their numbers.
    pub(super) fn candidates(&self, tracks: &[usize]) -> Vec<Vec<usize>> {
        let clusters: Vec<u32> = (0..self.len() as u32).collect();
        if clusters.len() <= CANDIDATES {
            return vec![(0..clusters.len()).collect(); tracks.len()];
        }
        let (means, directions) = (self.sums.directions(), self.tracks.towards(tracks));
        let rows: Vec<u32> = (0..tracks.len() as u32).collect();
        let among = Rows { of: &means, rows: &clusters };
        let queries = Rows { of: &directions, rows: &rows };
        let found = neighbours::nearest(among, queries, f32::MIN, |_, _| 0.0, &self.search, &mut |_| ());
        let mut candidates = vec![Vec::new(); tracks.len()];
        for edge in &found.edges {
            candidates[edge.a as usize].push(edge.b as usize);
        }
        candidates.iter_mut().for_each(|labels| labels.sort_unstable());
        candidates
    }
}
