//! Figures that compare a grouping with the truth. Pure functions; [`report::catalog`] explains
//! each to readers of the page.
//!
//! Notation: items i (tracks) of weight wᵢ (1, or the track's boxes), group K(i), person C(i);
//! n_kc is the weight of items in group k that show person c, n_k and n_c are its marginals, n the
//! total. Definitions agree with scikit-learn where it has them.

use std::collections::{BTreeMap, BTreeSet};

use report::input::LabelledTrack;
use serde::Serialize;

use crate::matching::{Group, Judged, Match, largest_total};

/// One item of a grouping.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Item {
    /// Group it was put into.
    pub group: Group,
    /// Person it shows.
    pub person: usize,
    /// Weight, above 0.
    pub weight: f64,
}

/// Tracks as items, each of the weight that `weight` gives it.
pub fn items(tracks: &[LabelledTrack], weight: impl Fn(&LabelledTrack) -> f64) -> Vec<Item> {
    let item = |t: &LabelledTrack| Item {
        group: Group::of(t.track_id, t.cluster_id),
        person: t.person,
        weight: weight(t),
    };
    tracks.iter().map(item).collect()
}

/// Precision, recall and their harmonic mean, each 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prf {
    /// Share of what was claimed that is true.
    pub precision: f64,
    /// Share of what is true that was claimed.
    pub recall: f64,
    /// Harmonic mean; 0 when both are 0.
    pub f1: f64,
}

impl Prf {
    /// From precision and recall.
    pub fn new(precision: f64, recall: f64) -> Self {
        let sum = precision + recall;
        Self { precision, recall, f1: if sum > 0.0 { 2.0 * precision * recall / sum } else { 0.0 } }
    }
}

/// Weight of every pair of group and person, with sums along both. It is sparse, so thousands of
/// groups cost nothing; ordered, so sums are the same on every machine.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contingency {
    cells: BTreeMap<(Group, usize), f64>,
    groups: BTreeMap<Group, f64>,
    people: BTreeMap<usize, f64>,
    total: f64,
    squares: f64,
}

impl Contingency {
    /// Counts `items`.
    pub fn new(items: &[Item]) -> Self {
        let mut table = Self::default();
        for item in items {
            *table.cells.entry((item.group, item.person)).or_default() += item.weight;
            *table.groups.entry(item.group).or_default() += item.weight;
            *table.people.entry(item.person).or_default() += item.weight;
            table.total += item.weight;
            table.squares += item.weight * item.weight;
        }
        table
    }

    /// Number of groups with at least one item.
    pub fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// Largest cell of every group with its person; of equals, the first person.
    fn majorities(&self) -> BTreeMap<Group, (usize, f64)> {
        let mut best: BTreeMap<Group, (usize, f64)> = BTreeMap::new();
        for (&(group, person), &weight) in &self.cells {
            let entry = best.entry(group).or_insert((person, weight));
            if weight > entry.1 {
                *entry = (person, weight);
            }
        }
        best
    }

    /// Weighted cluster purity: Σₖ maxᶜ n_kc / n. Range 1/people to 1.
    ///
    /// Does not show splits: every track in a cluster of its own scores 1. Source: Zhao and Karypis 2001;
    /// "WCP" in the literature on faces in TV series.
    pub fn wcp(&self) -> f64 {
        self.majorities().values().map(|(_, weight)| weight).sum::<f64>() / self.total
    }

    /// Normalised mutual information, arithmetic mean: 2 I(K; C) / (H(K) + H(C)). Range 0 to 1; 1 when
    /// there is one group and one person.
    ///
    /// Does not correct for chance: random labels with many clusters score well above 0. Source: Strehl and
    /// Ghosh 2002; `sklearn.metrics.normalized_mutual_info_score`.
    pub fn nmi(&self) -> f64 {
        let entropies = self.group_entropy() + self.person_entropy();
        if entropies <= 0.0 { 1.0 } else { (2.0 * self.information() / entropies).clamp(0.0, 1.0) }
    }

    /// Homogeneity 1 − H(C|K) / H(C), completeness 1 − H(K|C) / H(K), and V, their harmonic mean. Range 0
    /// to 1; homogeneity is 1 with one person, completeness with one group. V is the same as [`Self::nmi`].
    ///
    /// Each hides what the other shows: homogeneity splits, completeness merges.
    /// Source: Rosenberg and Hirschberg 2007; `sklearn.metrics.homogeneity_completeness_v_measure`.
    pub fn v_measure(&self) -> Prf {
        let share = |of: f64| if of > 0.0 { (self.information() / of).clamp(0.0, 1.0) } else { 1.0 };
        Prf::new(share(self.person_entropy()), share(self.group_entropy()))
    }

    /// Adjusted mutual information: (I − E) / ((H(K) + H(C)) / 2 − E), with E the information that random
    /// groups of the same sizes share with the people. 0 for what chance gives, 1 for perfect; at worst
    /// somewhat below 0. Weights must be whole numbers.
    ///
    /// Hides little; unlike the others it does not favour many small groups.
    /// Source: Vinh, Epps and Bailey 2010; `sklearn.metrics.adjusted_mutual_info_score`.
    pub fn ami(&self) -> f64 {
        if self.cells.len() == self.groups.len() && self.cells.len() == self.people.len() {
            return 1.0;
        }
        let chance = self.information_by_chance();
        let most = f64::midpoint(self.group_entropy(), self.person_entropy()) - chance;
        let most = if most < 0.0 { most.min(-f64::EPSILON) } else { most.max(f64::EPSILON) };
        (self.information() - chance) / most
    }

    /// Mutual information of groups and people, nats.
    fn information(&self) -> f64 {
        let of = |((group, person), w): (&(Group, usize), &f64)| {
            let expected = self.groups[group] * self.people[person];
            w / self.total * (self.total * w / expected).ln()
        };
        self.cells.iter().map(of).sum()
    }

    /// What [`Self::information`] is on average when the people are dealt out at random.
    ///
    /// Only sizes matter, so groups of one size are summed once: thousands of single tracks cost nothing.
    fn information_by_chance(&self) -> f64 {
        let log = LogFactorials::up_to(self.total as usize);
        let people = sizes(self.people.values());
        let of = |(&group, &times): (&usize, &f64)| {
            times * people.iter().map(|(&person, &times)| times * log.shared(group, person)).sum::<f64>()
        };
        sizes(self.groups.values()).iter().map(of).sum()
    }

    fn group_entropy(&self) -> f64 {
        entropy(self.groups.values(), self.total)
    }

    fn person_entropy(&self) -> f64 {
        entropy(self.people.values(), self.total)
    }

    /// Adjusted Rand index: agreement over pairs of items, 0 for what chance gives and 1 for perfect;
    /// at worst −0.5. Weights must be 1.
    ///
    /// Hides small groups: pairs grow with the square of a group's size.
    /// Source: Hubert and Arabie 1985; `sklearn.metrics.adjusted_rand_score`.
    pub fn ari(&self) -> f64 {
        let (together, same_group, same_person) = self.pair_weights();
        let false_pairs = same_group - together;
        let missed_pairs = same_person - together;
        if false_pairs == 0.0 && missed_pairs == 0.0 {
            return 1.0;
        }
        let apart = self.total * self.total - self.squares - together - false_pairs - missed_pairs;
        2.0 * (together * apart - missed_pairs * false_pairs)
            / ((together + missed_pairs) * (missed_pairs + apart)
                + (together + false_pairs) * (false_pairs + apart))
    }

    /// B-cubed: for every item the share of its group that shows its person (precision) and the share
    /// of its person that is in its group (recall), averaged over items. Range 0 to 1.
    ///
    /// Hides little, but weighs a person by how many tracks show them: extras hardly count.
    /// Source: Bagga and Baldwin 1998; Amigó et al. 2009.
    pub fn b_cubed(&self) -> Prf {
        let share = |of: &dyn Fn(&(Group, usize)) -> f64| -> f64 {
            self.cells.iter().map(|(key, w)| w * w / of(key)).sum::<f64>() / self.total
        };
        Prf::new(share(&|(group, _)| self.groups[group]), share(&|(_, person)| self.people[person]))
    }

    /// Pairs of items put together against pairs that belong together; a pair weighs the product of its
    /// items' weights. Range 0 to 1; 1 where there is no pair to judge.
    ///
    /// Hides single tracks, which form no pair, and overweighs the largest groups.
    /// Source: Levine and Domany 2001; the pair confusion matrix of scikit-learn.
    pub fn pairs(&self) -> Prf {
        let (together, same_group, same_person) = self.pair_weights();
        let share = |of: f64| if of > 0.0 { together / of } else { 1.0 };
        Prf::new(share(same_group), share(same_person))
    }

    /// Weight of ordered pairs of distinct items in the same cell, group, person.
    fn pair_weights(&self) -> (f64, f64, f64) {
        let pairs = |weights: &mut dyn Iterator<Item = &f64>| -> f64 {
            weights.map(|w| w * w).sum::<f64>() - self.squares
        };
        (pairs(&mut self.cells.values()), pairs(&mut self.groups.values()), pairs(&mut self.people.values()))
    }

    /// Operator clicks: relabel every track that is not of its group's majority person, then merge the
    /// groups of one person. 0 is perfect; at most tracks − 1. Weights must be 1.
    ///
    /// Hides the time it takes to find what is wrong. Source: "OCI-k" of the literature on labelling
    /// faces in video (Guillaumin et al. 2009 and after), counted exactly as stated here.
    pub fn oci(&self) -> f64 {
        let majorities = self.majorities();
        let relabel = self.total - majorities.values().map(|(_, weight)| weight).sum::<f64>();
        let mut groups_of: BTreeMap<usize, usize> = BTreeMap::new();
        for (person, _) in majorities.values() {
            *groups_of.entry(*person).or_default() += 1;
        }
        let merges: usize = groups_of.values().map(|groups| groups - 1).sum();
        relabel + merges as f64
    }
}

/// How many weights there are of each size.
fn sizes<'a>(weights: impl Iterator<Item = &'a f64>) -> BTreeMap<usize, f64> {
    let mut sizes = BTreeMap::new();
    for weight in weights {
        *sizes.entry(*weight as usize).or_default() += 1.0;
    }
    sizes
}

/// ln n! for n from 0 to the number of items.
struct LogFactorials(Vec<f64>);

impl LogFactorials {
    fn up_to(n: usize) -> Self {
        let mut log = vec![0.0; n + 1];
        for i in 1..=n {
            log[i] = log[i - 1] + (i as f64).ln();
        }
        Self(log)
    }

    /// The part of a group of `a` and a person of `b` items in the information by chance: over the numbers
    /// of common items, of which each has its hypergeometric probability.
    fn shared(&self, a: usize, b: usize) -> f64 {
        let Self(log) = self;
        let n = log.len() - 1;
        let always = log[a] + log[b] + log[n - a] + log[n - b] - log[n];
        let of = |common: usize| {
            let ways = log[common] + log[a - common] + log[b - common] + log[n + common - a - b];
            let share = common as f64 / n as f64;
            share * (share * (n as f64 / a as f64) * (n as f64 / b as f64)).ln() * (always - ways).exp()
        };
        ((a + b).saturating_sub(n).max(1)..=a.min(b)).map(of).sum()
    }
}

fn entropy<'a>(weights: impl Iterator<Item = &'a f64>, total: f64) -> f64 {
    -weights.filter(|w| **w > 0.0).map(|w| w / total * (w / total).ln()).sum::<f64>()
}

/// Boxes that carry the right identity when every group is matched to at most one person and every
/// person to at most one group, in the way that makes this number largest.
///
/// The numerator of IDF1 over the whole video: IDF1 = 2 × this / (found boxes + labelled boxes).
/// Source: Ristani et al. 2016.
pub fn identity_matches(matches: &[Match]) -> usize {
    let mut counts = BTreeMap::new();
    for m in matches {
        *counts.entry((m.group(), m.person)).or_default() += 1;
    }
    largest_total(&counts)
}

/// Clusters as characters: each represents the person (or no person) that most of its scored boxes show.
///
/// Precision: represented people over clusters with scored boxes (a second cluster of one person counts as
/// false, as does one of no person). Recall: represented people over labelled people. Noise is not a cluster.
/// Range 0 to 1; 1 if there is nothing to score.
///
/// Does not show the purity of clusters: a small majority is enough.
pub fn characters(judged: &Judged) -> (Prf, usize) {
    let mut boxes: BTreeMap<i64, BTreeMap<Option<usize>, usize>> = BTreeMap::new();
    for m in &judged.matches {
        if let Some(cluster) = m.cluster_id {
            *boxes.entry(cluster).or_default().entry(Some(m.person)).or_default() += 1;
        }
    }
    for (cluster, count) in &judged.false_boxes {
        if let Some(cluster) = cluster {
            *boxes.entry(*cluster).or_default().entry(None).or_default() += count;
        }
    }
    // Among equals the first person counts, and no person comes last.
    let first = |(person, count): &(&Option<usize>, &usize)| {
        (**count, std::cmp::Reverse(person.unwrap_or(usize::MAX)))
    };
    let stands_for = |people: &BTreeMap<Option<usize>, usize>| *people.iter().max_by_key(first)?.0;
    let people: BTreeSet<usize> = boxes.values().filter_map(stands_for).collect();
    let share = |of: usize| if of > 0 { people.len() as f64 / of as f64 } else { 1.0 };
    (Prf::new(share(boxes.len()), share(judged.people.len())), boxes.len())
}

/// Share of matched boxes that show their track's majority person, 0 to 1; 0 without matches.
///
/// Hides broken tracks: tracks of one frame each score 1.
pub fn track_purity(tracks: &[LabelledTrack]) -> f64 {
    let boxes: usize = tracks.iter().map(|t| t.n_boxes).sum();
    let pure: usize = tracks.iter().map(|t| t.n_person).sum();
    pure as f64 / boxes.max(1) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn items() -> impl Strategy<Value = Vec<Item>> {
        let item = (0_i64..6, 0_usize..5, 1_u32..50).prop_map(|(group, person, weight)| Item {
            group: Group::Cluster(group),
            person,
            weight: f64::from(weight),
        });
        proptest::collection::vec(item, 1..40)
    }

    fn unit(items: &[Item]) -> Vec<Item> {
        items.iter().map(|item| Item { weight: 1.0, ..*item }).collect()
    }

    fn shares(table: &Contingency) -> Vec<f64> {
        let prf = |Prf { precision, recall, f1 }| [precision, recall, f1];
        let prfs = [table.b_cubed(), table.pairs(), table.v_measure()];
        prfs.into_iter().flat_map(prf).chain([table.wcp(), table.nmi()]).collect()
    }

    proptest! {
        #[test]
        fn shares_are_between_0_and_1(items in items()) {
            for share in shares(&Contingency::new(&items)) {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&share), "{share}");
            }
            let table = Contingency::new(&unit(&items));
            prop_assert!((-0.5 - 1e-12..=1.0 + 1e-12).contains(&table.ari()));
            prop_assert!((-1.0..=1.0 + 1e-12).contains(&table.ami()));
            prop_assert!((0.0..items.len() as f64).contains(&table.oci()));
        }

        #[test]
        fn names_of_groups_do_not_matter(items in items()) {
            let renamed: Vec<_> = items
                .iter()
                .map(|item| match item.group {
                    Group::Cluster(k) | Group::Alone(k) => Item { group: Group::Cluster(100 - k), ..*item },
                })
                .collect();
            let before = shares(&Contingency::new(&items));
            let after = shares(&Contingency::new(&renamed));
            for (a, b) in before.iter().zip(after) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }

        #[test]
        fn the_truth_itself_is_perfect(items in items()) {
            let perfect: Vec<_> = items
                .iter()
                .map(|item| Item { group: Group::Cluster(item.person as i64), ..*item })
                .collect();
            for share in shares(&Contingency::new(&perfect)) {
                prop_assert!((share - 1.0).abs() < 1e-12);
            }
            let table = Contingency::new(&unit(&perfect));
            prop_assert!((table.ari() - 1.0).abs() < 1e-12);
            prop_assert!((table.ami() - 1.0).abs() < 1e-12);
            prop_assert_eq!(table.oci(), 0.0);
        }

        #[test]
        fn doubling_every_weight_changes_no_average(items in items()) {
            let doubled: Vec<_> =
                items.iter().map(|item| Item { weight: 2.0 * item.weight, ..*item }).collect();
            let (a, b) = (Contingency::new(&items), Contingency::new(&doubled));
            prop_assert!((a.wcp() - b.wcp()).abs() < 1e-12);
            prop_assert!((a.nmi() - b.nmi()).abs() < 1e-12);
            prop_assert!((a.v_measure().f1 - a.nmi()).abs() < 1e-9);
            prop_assert!((a.b_cubed().f1 - b.b_cubed().f1).abs() < 1e-12);
        }
    }
}
