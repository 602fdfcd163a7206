#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use testkit::people::{People, people};

use super::*;
use crate::linkage::{Linkage, Metric, Pairs, cut, linkage};

/// Seeded: the two sides round differently, and random vectors that are nearly as far from one as from
/// another would now and then be merged in another order.
fn seeded() -> ProptestConfig {
    ProptestConfig { rng_seed: RngSeed::Fixed(5), ..ProptestConfig::default() }
}

fn exact(k: usize) -> Search {
    Search { k, exact_pairs: usize::MAX, probes: 1, threads: 2 }
}

fn approximate(probes: usize) -> Search {
    Search { exact_pairs: 0, probes, ..exact(16) }
}

/// What items are made of.
#[derive(Debug, Clone)]
struct Case {
    vectors: Vectors,
    weights: Vec<f32>,
    cannot_link: Vec<(usize, usize)>,
}

impl Case {
    fn items(&self) -> Items<'_> {
        Items { vectors: &self.vectors, weights: &self.weights, cannot_link: &self.cannot_link }
    }

    fn plain(vectors: Vec<Vec<f32>>) -> Self {
        let dim = vectors.first().map_or(1, Vec::len);
        let weights = vec![1.0; vectors.len()];
        let vectors = Vectors::new(dim, vectors.concat()).unwrap();
        Self { vectors, weights, cannot_link: Vec::new() }
    }

    fn of(people: &People) -> Self {
        let (vectors, weights) = (Vectors::trusted(people.dim, people.values.clone()), people.norms.clone());
        Self { vectors, weights, cannot_link: people.cannot_link.clone() }
    }

    fn link(&self, threshold: f32, search: &Search) -> Agglomeration {
        link(self.items(), threshold, search, &mut |_, _| ()).unwrap()
    }

    fn naive(&self, threshold: f32) -> Agglomeration {
        let (n, penalty) = (self.vectors.len(), CANNOT_LINK_PENALTY);
        let rows: Vec<&[f32]> = (0..n).map(|item| self.vectors.row(item)).collect();
        let merges =
            testkit::linkage::average(&rows, &self.weights, &self.cannot_link, penalty, threshold.into());
        let merges = numbered(n, merges);
        Agglomeration { labels: cut(n, &merges, f64::INFINITY), merges }
    }
}

fn pair(n: usize) -> impl Strategy<Value = (usize, usize)> {
    (0..n, 1..n).prop_map(move |(a, step)| (a, (a + step) % n))
}

fn cases() -> impl Strategy<Value = Case> {
    (2..40_usize, 3..20_usize).prop_flat_map(|(n, dim)| {
        let vectors = prop::collection::vec(prop::collection::vec(-1.0..1.0_f32, dim), n);
        let cannot_link = prop::collection::vec(pair(n), 0..n);
        let weights = prop::collection::vec(0.1..3.0_f32, n);
        (vectors, weights, cannot_link).prop_map(|(vectors, weights, cannot_link)| {
            let unit = |v: Vec<f32>| {
                let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-3);
                v.into_iter().map(|x| x / norm).collect()
            };
            let plain = Case::plain(vectors.into_iter().map(unit).collect());
            Case { weights, cannot_link, ..plain }
        })
    })
}

proptest! {
    #![proptest_config(seeded())]

    #[test]
    fn few_neighbours_give_what_the_definition_gives(case in cases(), k in 1..50_usize, threshold in 0.1..2.0_f32) {
        let (found, expected) = (case.link(threshold, &exact(k)), case.naive(threshold));
        prop_assert_eq!(&found.labels, &expected.labels);
        prop_assert_eq!(found.merges.len(), expected.merges.len());
        for (found, expected) in found.merges.iter().zip(&expected.merges) {
            prop_assert_eq!((found.left, found.right, found.size), (expected.left, expected.right, expected.size));
            prop_assert!((found.height - expected.height).abs() < 1e-4);
        }
    }

    #[test]
    fn the_tree_is_one(case in cases(), threshold in 0.0..2.0_f32) {
        let n = case.vectors.len();
        let found = case.link(threshold, &exact(4));
        prop_assert!(found.merges.windows(2).all(|pair| pair[0].height <= pair[1].height));
        prop_assert!(found.merges.iter().enumerate().all(|(i, m)| m.left < m.right && m.right < n + i));
        prop_assert_eq!(cut(n, &found.merges, f64::INFINITY), found.labels);
    }

    /// A merge against a constraint is no lower than the penalty less the smallest distance.
    #[test]
    fn what_cannot_be_linked_is_not(case in cases(), threshold in 0.0..1.97_f32) {
        for found in [case.link(threshold, &exact(3)), case.link(threshold, &approximate(2))] {
            for (a, b) in &case.cannot_link {
                prop_assert_ne!(found.labels[*a], found.labels[*b]);
            }
        }
    }
}

/// Items as other rows, and the row of each.
fn shuffled(case: &Case) -> (Case, Vec<usize>) {
    let n = case.vectors.len();
    // 7919 is a prime that does not divide n.
    let row: Vec<_> = (0..n).map(|i| (i * 7919 + 13) % n).collect();
    let mut vectors = vec![Vec::new(); n];
    let mut weights = vec![0.0; n];
    for (i, row) in row.iter().enumerate() {
        vectors[*row] = case.vectors.row(i).to_vec();
        weights[*row] = case.weights[i];
    }
    let cannot_link = case.cannot_link.iter().map(|(a, b)| (row[*a], row[*b])).collect();
    (Case { weights, cannot_link, ..Case::plain(vectors) }, row)
}

#[test]
fn neither_threads_nor_the_order_of_rows_matter() {
    let case = Case::of(&people(3000, 32, 7));
    let (other, row) = shuffled(&case);
    for search in [exact(16), approximate(8)] {
        let found = case.link(0.5, &search);
        assert_eq!(found, case.link(0.5, &Search { threads: 1, ..search }));
        assert_eq!(found, case.link(0.5, &Search { threads: 5, ..search }));
        let moved = other.link(0.5, &search).labels;
        let mut name = HashMap::new();
        for (i, label) in found.labels.iter().enumerate() {
            assert_eq!(*name.entry(label).or_insert(moved[row[i]]), moved[row[i]], "item {i}");
        }
        assert_eq!(name.len(), moved.iter().max().unwrap() + 1);
    }
}

/// Precision, recall and F1 of B³ (Bagga and Baldwin 1998).
fn b_cubed(truth: &[usize], labels: &[usize]) -> f64 {
    let count = |keys: Vec<(usize, usize)>| {
        let mut counts: HashMap<_, f64> = HashMap::new();
        keys.iter().for_each(|key| *counts.entry(*key).or_default() += 1.0);
        keys.into_iter().map(|key| counts[&key]).collect::<Vec<_>>()
    };
    let both = count(truth.iter().copied().zip(labels.iter().copied()).collect());
    let mean_share = |of: &[usize]| {
        let of = count(of.iter().map(|x| (*x, 0)).collect());
        both.iter().zip(of).map(|(both, of)| both / of).sum::<f64>() / truth.len() as f64
    };
    let (precision, recall) = (mean_share(labels), mean_share(truth));
    2.0 * precision * recall / (precision + recall)
}

#[test]
fn people_are_found_as_by_the_definition() {
    for (n, dim, seed) in [(300, 128, 1), (1000, 64, 2), (2000, 128, 3)] {
        let people = people(n, dim, seed);
        let case = Case::of(&people);
        let expected = case.naive(0.55);
        for k in [1, 8, 64] {
            assert_eq!(case.link(0.55, &exact(k)).labels, expected.labels, "{n} items, k {k}");
        }
        let expected = b_cubed(&people.truth, &expected.labels);
        let found = b_cubed(&people.truth, &case.link(0.55, &approximate(4)).labels);
        assert!(expected > 0.9, "{n} items: {expected}");
        assert!(found > expected - 0.01, "{n} items: {found} instead of {expected}");
    }
}

#[test]
fn the_definition_agrees_with_nearest_neighbour_chains() {
    let mut case = Case::of(&people(400, 16, 4));
    case.weights.fill(1.0);
    let rows: Vec<&[f32]> = (0..400).map(|i| case.vectors.row(i)).collect();
    let mut pairs = Pairs::of(&rows, Metric::Cosine);
    case.cannot_link.iter().for_each(|(a, b)| pairs.forbid(*a, *b));
    assert!(!case.cannot_link.is_empty());
    assert_eq!(case.naive(0.6).labels, cut(400, &linkage(pairs, Linkage::Average), 0.6));
}

#[test]
fn weights_count_as_copies() {
    let [a, b, c] = [vec![1.0, 0.0], vec![0.8, 0.6], vec![0.0, 1.0]];
    let copies = Case::plain(vec![a.clone(), a.clone(), a.clone(), b.clone(), c.clone()]);
    let weighted = Case { weights: vec![3.0, 1.0, 1.0], ..Case::plain(vec![a, b, c]) };
    let last = |case: Case| case.link(2.0, &exact(2)).merges.last().unwrap().height;
    assert!((last(copies) - last(weighted)).abs() < 1e-6);
}

#[test]
fn none_one_and_two_items() {
    let empty = Case::plain(vec![]);
    assert_eq!(empty.link(1.0, &exact(3)), Agglomeration { labels: vec![], merges: vec![] });
    assert_eq!(empty.naive(1.0), empty.link(1.0, &exact(3)));
    assert_eq!(Case::plain(vec![vec![1.0]]).link(1.0, &exact(3)).labels, [0]);
    let two = Case::plain(vec![vec![1.0, 0.0], vec![0.6, 0.8]]);
    assert_eq!(two.link(0.39, &exact(3)).labels, [0, 1]);
    assert_eq!(two.link(0.41, &exact(3)).labels, [0, 0]);
    let approximately = two.link(0.41, &approximate(1));
    assert_eq!(approximately.labels, [0, 0]);
}

#[test]
fn identical_vectors_join_at_zero_unless_they_cannot_be_linked() {
    let mut case = Case::plain(vec![vec![0.6, 0.8]; 200]);
    for search in [exact(1), exact(8), approximate(2)] {
        let found = case.link(0.1, &search);
        assert_eq!(found.labels, [0; 200]);
        assert!(found.merges.iter().all(|merge| merge.height < 1e-6));
    }
    case.cannot_link = (0..200).flat_map(|a| (a + 1..200).map(move |b| (a, b))).collect();
    for search in [exact(1), exact(8), approximate(2)] {
        assert_eq!(case.link(1.9, &search).labels, (0..200).collect::<Vec<_>>());
    }
    case.cannot_link.retain(|(a, b)| *a < 100 && *b >= 100);
    assert_eq!(case.link(1.9, &exact(1)).labels, [[0; 100], [1; 100]].concat());
}

#[test]
fn a_merge_against_a_constraint_is_higher_by_the_penalty() {
    let mut case = Case::plain(vec![vec![1.0, 0.0], vec![1.0, 0.0], vec![0.8, 0.6]]);
    case.cannot_link = vec![(0, 1)];
    assert_eq!(case.link(1.9, &exact(2)).labels, [0, 1, 0]);
    let found = case.link(2.2, &exact(2));
    assert_eq!(found.labels, [0, 0, 0]);
    // Both pairs at a distance of 0 and 0.2, and the penalty.
    assert!((found.merges[1].height - (0.1 + f64::from(CANNOT_LINK_PENALTY))).abs() < 1e-6, "{found:?}");
}

#[test]
fn steps_never_go_back_and_stay_within_their_number() {
    let case = Case::of(&people(1000, 32, 3));
    for search in [exact(4), approximate(2)] {
        let mut steps = Vec::new();
        link(case.items(), 0.5, &search, &mut |done, of| steps.push((done, of))).unwrap();
        assert!(steps.is_sorted() && steps.iter().all(|(done, of)| done <= of && *of == 2000), "{steps:?}");
    }
}

#[test]
fn wrong_input_is_refused() {
    let refused = |dim, values| Vectors::new(dim, values).unwrap_err().to_string();
    assert_eq!(refused(2, vec![0.0; 3]), "3 values cannot be divided into vectors of dimension 2");
    assert_eq!(refused(0, vec![]), "0 values cannot be divided into vectors of dimension 0");
    let wrong = refused(2, vec![0.0, 1.0, 0.0, f32::NAN]);
    assert_eq!(wrong, "vector 1 contains a value that is not finite");
    let two = Case::plain(vec![vec![1.0], vec![1.0]]);
    let refused = |case: Case, threshold| {
        link(case.items(), threshold, &exact(1), &mut |_, _| ()).unwrap_err().to_string()
    };
    assert_eq!(refused(two.clone(), f32::NAN), "the threshold is not a number");
    let weights = |weights| Case { weights, ..two.clone() };
    assert_eq!(refused(weights(vec![1.0]), 1.0), "found 1 weights for 2 vectors");
    let not_above = |row, weight| format!("the weight of vector {row} is {weight}, which is not above 0");
    assert_eq!(refused(weights(vec![1.0, 0.0]), 1.0), not_above(1, "0"));
    assert_eq!(refused(weights(vec![f32::NAN, 1.0]), 1.0), not_above(0, "NaN"));
    let cannot_link = |pair| Case { cannot_link: vec![pair], ..two.clone() };
    assert_eq!(refused(cannot_link((0, 2)), 1.0), "invalid pair (0, 2) of 2 items");
    assert_eq!(refused(cannot_link((1, 1)), 1.0), "invalid pair (1, 1) of 2 items");
}
