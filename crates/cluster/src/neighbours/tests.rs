#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;
use crate::neighbours::tile::Hear;
use testkit::people::people;

fn search(k: usize) -> Search {
    Search { k, exact_pairs: usize::MAX, probes: 1, threads: 2 }
}

fn vectors() -> impl Strategy<Value = Vectors> {
    (1..70_usize, 1..40_usize).prop_flat_map(|(n, dim)| {
        let values = prop::collection::vec(-1.0..1.0_f32, n * dim);
        values.prop_map(move |values| Vectors::new(dim, values).unwrap())
    })
}

/// A product as tiles sum it.
fn product(vectors: &Vectors, a: u32, b: u32) -> f32 {
    let rows = vectors.row(a as usize).iter().zip(vectors.row(b as usize));
    rows.fold(0.0, |sum, (a, b)| a.mul_add(*b, sum))
}

/// Neighbours by definition, best first, and the bound.
fn defined(
    vectors: &Vectors,
    among: &[u32],
    query: u32,
    (k, floor): (usize, f32),
    penalty: impl Fn(u32, u32) -> f32,
) -> (Vec<Edge>, f32) {
    let others = among.iter().filter(|row| **row != query);
    let mut all: Vec<_> = others
        .map(|b| Edge { a: query, b: *b, similarity: product(vectors, query, *b) - penalty(query, *b) })
        .filter(|edge| edge.similarity > floor)
        .collect();
    all.sort_by(|x, y| y.similarity.total_cmp(&x.similarity).then(x.b.cmp(&y.b)));
    all.truncate(k);
    let bound = all.get(k - 1).map_or(floor, |edge| edge.similarity);
    (all, bound)
}

proptest! {
    #[test]
    fn an_exact_search_finds_the_nearest(vectors in vectors(), k in 1..80_usize, floor in -1.0..1.0_f32, step in 1..4_usize) {
        let among: Vec<u32> = (0..vectors.len() as u32).collect();
        let queries: Vec<u32> = among.iter().copied().step_by(step).collect();
        // Nobody hears of some, and others seem less similar than they are.
        let penalty = |a: u32, b: u32| match a.abs_diff(b) % 5 {
            0 => f32::INFINITY,
            1 => 0.5,
            _ => 0.0,
        };
        let rows = |rows| Rows { of: &vectors, rows };
        let found = nearest(rows(&among), rows(&queries), floor, penalty, &search(k), &mut |_| ());
        let expected: Vec<_> =
            queries.iter().map(|query| defined(&vectors, &among, *query, (k, floor), penalty)).collect();
        prop_assert_eq!(found.bounds, expected.iter().map(|(_, bound)| *bound).collect::<Vec<_>>());
        prop_assert_eq!(found.edges, expected.into_iter().flat_map(|(edges, _)| edges).collect::<Vec<_>>());
    }
}

/// Keeps everything.
struct All(Vec<(u32, u32, u32)>);

impl Hear for All {
    fn bound(&self, _: u32) -> f32 {
        f32::MIN
    }

    fn hear(&mut self, query: u32, row: u32, product: f32) {
        self.0.push((query, row, product.to_bits()));
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    let vectors = Vectors::trusted(37, people(100, 37, 1).values);
    let rows: Vec<u32> = (0..100).collect();
    let queries: Vec<_> = rows[..41].iter().map(|row| Query { number: *row, row: *row }).collect();
    let mut archs = vec![Arch::new()];
    #[cfg(target_arch = "x86_64")]
    {
        archs.extend(pulp::x86::V4::try_new().map(Arch::V4));
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    }
    for arch in archs {
        let mut panels = Panels::new(arch, 37, 100, 1);
        let all = panels.append(&vectors, &rows);
        let mut heard = All(Vec::new());
        panels.multiply(all, &vectors, &queries, &mut heard);
        heard.0.sort_unstable();
        let expected = (0..41).flat_map(|a| rows.iter().map(move |b| (a, *b)));
        let expected: Vec<_> = expected.map(|(a, b)| (a, b, product(&vectors, a, b).to_bits())).collect();
        assert_eq!(heard.0, expected, "{arch:?}");
    }
}

#[test]
fn cells_miss_few_neighbours() {
    let vectors = Vectors::trusted(64, people(20_000, 64, 1).values);
    let rows: Vec<u32> = (0..20_000).collect();
    let with = |exact_pairs, probes| {
        let search = Search { exact_pairs, probes, ..search(16) };
        let of = |rows| Rows { of: &vectors, rows };
        let not_itself = |a, b| if a == b { f32::INFINITY } else { 0.0 };
        nearest(of(&rows), of(&rows[..2000]), 0.5, not_itself, &search, &mut |_| ()).edges
    };
    let key = |edge: &Edge| (edge.a, edge.b);
    let expected: std::collections::BTreeSet<_> = with(usize::MAX, 1).iter().map(key).collect();
    let found = with(0, 32).iter().map(key).filter(|pair| expected.contains(pair)).count();
    let recall = found as f64 / expected.len() as f64;
    assert!(recall > 0.9, "{recall}");
}
