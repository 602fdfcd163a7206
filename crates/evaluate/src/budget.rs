//! Error budget: the labels replace one stage after the other, and the gain in identity F1 is the loss by
//! that stage.
//!
//! The losses add up to 1 minus identity F1, so the largest shows which stage to improve.

use std::collections::BTreeMap;

use numeric::merges::Merges;
use schema::tables::Linkage;

use crate::matching::{Group, Judged, judged_tracks, largest_total};
use crate::metrics;

/// Most cuts of the tree that are tried; of more merges, so many evenly spread over them.
const MAX_CUTS: usize = 64;

/// Identity F1 of the run, and with the labels in place of more and more stages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// As it is.
    pub found: f64,
    /// With the best cut of the dendrogram; `None` without a dendrogram.
    pub cut: Option<f64>,
    /// With every track assigned to the person that it shows most.
    pub linked: f64,
    /// With every found face tracked and linked correctly: only missed and false faces remain.
    pub tracked: f64,
}

impl Budget {
    /// From what was found; `leaves` are the tracks that are leaves of `linkage`.
    pub fn new(judged: &Judged, leaves: &[i64], linkage: &[Linkage]) -> Self {
        let both = (judged.n_found + judged.n_labelled).max(1) as f64;
        let f1 = |right: usize| 2.0 * right as f64 / both;
        let linked = judged_tracks(&judged.matches).iter().map(|track| track.n_person).sum();
        Self {
            found: f1(metrics::identity_matches(&judged.matches)),
            cut: best_cut(judged, leaves, linkage).map(f1),
            linked: f1(linked),
            tracked: f1(judged.matches.len()),
        }
    }

    /// Costs of finding, following, embedding (the best that any cut of the tree leaves undone) and linking
    /// (what the result lacks to that cut: below 0 where it is better than all cuts). Their sum is 1 less
    /// [`Self::found`].
    pub fn costs(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("cost_detection", Some(1.0 - self.tracked)),
            ("cost_tracking", Some(self.tracked - self.linked)),
            ("cost_embedding", self.cut.map(|cut| self.linked - cut)),
            ("cost_linking", Some(self.cut.unwrap_or(self.linked) - self.found)),
        ]
    }
}

/// Boxes with the right identity at the best cut of the tree. Children that are no nodes are left out.
fn best_cut(judged: &Judged, leaves: &[i64], linkage: &[Linkage]) -> Option<usize> {
    if linkage.is_empty() {
        return None;
    }
    let mut boxes: BTreeMap<(i64, usize), usize> = BTreeMap::new();
    for m in &judged.matches {
        *boxes.entry((m.track_id, m.person)).or_default() += 1;
    }
    let right_at = |n_merges: usize| {
        let mut sets = Merges::new(leaves.len());
        for merge in &linkage[..n_merges] {
            let node = |child: i64| u32::try_from(child).ok().filter(|child| sets.has(*child));
            if let (Some(left), Some(right)) = (node(merge.left), node(merge.right)) {
                sets.unite(left, right);
            }
        }
        let labels = sets.labels(leaves.len()).into_iter();
        let clusters: BTreeMap<i64, usize> = leaves.iter().copied().zip(labels).collect();
        let mut counts: BTreeMap<(Group, usize), usize> = BTreeMap::new();
        for (&(track, person), count) in &boxes {
            let cluster = clusters.get(&track).and_then(|cluster| i64::try_from(*cluster).ok());
            *counts.entry((Group::of(track, cluster), person)).or_default() += count;
        }
        largest_total(&counts)
    };
    cuts(linkage.len()).map(right_at).max()
}

/// Numbers of merges after which the tree is cut.
fn cuts(n_merges: usize) -> impl Iterator<Item = usize> {
    let n = n_merges.min(MAX_CUTS);
    (0..=n).map(move |at| at * n_merges / n.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Match;

    fn merge(step: i64, left: i64, right: i64) -> Linkage {
        Linkage { video_id: "v".into(), step, left, right, distance: step as f64, size: 0 }
    }

    /// Tracks 1, 2 and 3 show anna, 4 bert; 3 has a box of bert's. Two faces are missed, one is false.
    fn judged() -> Judged {
        let cluster = |track| Some(if track == 1 { 0 } else { 1 });
        let seen = |(track_id, person)| Match { person, track_id, cluster_id: cluster(track_id) };
        let boxes = [(1, 0), (1, 0), (2, 0), (2, 0), (3, 0), (3, 0), (3, 1), (4, 1)];
        let matches: Vec<_> = boxes.into_iter().map(seen).collect();
        Judged {
            people: vec!["anna".into(), "bert".into()],
            n_labelled: 10,
            n_found: 9,
            matches,
            ..Judged::default()
        }
    }

    #[test]
    fn each_truth_helps_and_costs_add_up() {
        let tree = [merge(0, 0, 1), merge(1, 2, 4), merge(2, 3, 5)];
        let budget = Budget::new(&judged(), &[1, 2, 3, 4], &tree);
        let f1 = |right: f64| 2.0 * right / 19.0;
        let expected = Budget { found: f1(4.0), cut: Some(f1(7.0)), linked: f1(7.0), tracked: f1(8.0) };
        assert_eq!(budget, expected);
        let sum: f64 = budget.costs().iter().filter_map(|(_, cost)| *cost).sum();
        assert!((sum + budget.found - 1.0).abs() < 1e-12);
    }

    #[test]
    fn without_a_tree_linking_bears_it_all() {
        let budget = Budget::new(&judged(), &[], &[]);
        assert_eq!((budget.cut, budget.costs()[2].1), (None, None));
        let sum: f64 = budget.costs().iter().filter_map(|(_, cost)| *cost).sum();
        assert!((sum + budget.found - 1.0).abs() < 1e-12);
    }

    #[test]
    fn cuts_reach_from_no_merge_to_all() {
        assert_eq!(cuts(2).collect::<Vec<_>>(), [0, 1, 2]);
        let many: Vec<_> = cuts(5000).collect();
        assert_eq!((many.len(), many[0], many[64]), (65, 0, 5000));
    }
}
