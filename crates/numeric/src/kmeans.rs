//! The parts of K-means: where it starts (k-means++: Arthur and Vassilvitskii, SODA 2007), Lloyd's rounds,
//! distances and sums.
//!
//! What differs between its users stays theirs: how rows are assigned (under constraints, by tiles of
//! inner products) and how a sum becomes a centre (mean or direction).

use std::iter::Sum;
use std::ops::{AddAssign, Mul, Sub};

use crate::random::SplitMix64;

/// Numbers of the rows, `k` of `n`, to start from: each is drawn with a chance proportional to its squared
/// distance from the nearest of those chosen before. Of `candidates` that are drawn each time the one that
/// leaves the least sum of distances is chosen. Fewer than `k` where there are not as many different rows.
/// `distances` gives the squared distance of every row from the row of a number.
pub fn first_rows(
    n: usize,
    k: usize,
    candidates: usize,
    random: &mut SplitMix64,
    distances: impl Fn(usize) -> Vec<f64>,
) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut left = vec![1.0; n];
    while chosen.len() < k {
        let drawn: Vec<usize> = (0..candidates).filter_map(|_| random.weighted(&left)).collect();
        let left_by = |drawn: usize| {
            let mut distances = distances(drawn);
            if !chosen.is_empty() {
                distances.iter_mut().zip(&left).for_each(|(distance, left)| *distance = distance.min(*left));
            }
            (distances.iter().sum::<f64>(), distances, drawn)
        };
        let best = drawn.into_iter().map(left_by).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, left_by_best, row)) = best else { break };
        left = left_by_best;
        chosen.push(row);
    }
    chosen
}

/// Lloyd's rounds, `rounds` at most: `assign` gives every row its centre, and may move centres that have no
/// row; `update` makes new centres of the rows that each one has. Ends when no row changes its centre.
/// Gives the last centres and the centre of every row.
pub fn lloyd<C>(
    mut centres: C,
    rounds: usize,
    mut assign: impl FnMut(&mut C) -> Vec<usize>,
    mut update: impl FnMut(C, &[usize]) -> C,
) -> (C, Vec<usize>) {
    let mut labels = Vec::new();
    for _ in 0..rounds {
        let before = std::mem::replace(&mut labels, assign(&mut centres));
        if labels == before {
            break;
        }
        centres = update(centres, &labels);
    }
    (centres, labels)
}

/// A number that sums are taken in: `f32` or `f64`. The default is 0.
pub trait Number:
    Copy + Default + From<f32> + AddAssign + Sum + Sub<Output = Self> + Mul<Output = Self>
{
}

impl Number for f32 {}
impl Number for f64 {}

/// Squared Euclidean distance of a row and a centre, summed in `LANES` lanes, because the compiler may not
/// reorder a sum itself.
pub fn squared_distance<T: Number, const LANES: usize>(row: &[f32], centre: &[T]) -> T {
    let ((a, a_rest), (b, b_rest)) = (row.as_chunks::<LANES>(), centre.as_chunks::<LANES>());
    let square = |a: f32, b: T| {
        let difference = T::from(a) - b;
        difference * difference
    };
    let mut sums = [T::default(); LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += square(a[lane], b[lane]);
        }
    }
    let mut total: T = sums.into_iter().sum();
    for (a, b) in a_rest.iter().zip(b_rest) {
        total += square(*a, *b);
    }
    total
}

/// Number of the centre nearest to a row, the first of several; `None` without centres.
pub fn nearest<D: PartialOrd>(distances: impl Iterator<Item = D>) -> Option<usize> {
    let nearer = |best: (usize, D), next: (usize, D)| if next.1 < best.1 { next } else { best };
    distances.enumerate().reduce(nearer).map(|(centre, _)| centre)
}

/// Sum and number of the rows of each of `k` centres, rows taken in order.
pub fn sums<'a, T: Number>(
    k: usize,
    dim: usize,
    rows: impl Iterator<Item = (&'a [f32], usize)>,
) -> Vec<(Vec<T>, usize)> {
    let mut sums = vec![(vec![T::default(); dim], 0); k];
    for (row, centre) in rows {
        let (sum, count) = &mut sums[centre];
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += T::from(*x));
        *count += 1;
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cluster(rows: &[f32], k: usize, seed: u64) -> (Vec<f64>, Vec<usize>) {
        let distance = |a: f32, b: f64| squared_distance::<f64, 8>(&[a], &[b]);
        let mut random = SplitMix64::new(seed);
        let distances = |drawn: usize| rows.iter().map(|x| distance(*x, rows[drawn].into())).collect();
        let first = first_rows(rows.len(), k, 2, &mut random, distances);
        let centres: Vec<f64> = first.iter().map(|row| f64::from(rows[*row])).collect();
        let assign = |centres: &mut Vec<f64>| {
            let of = |x: &f32| nearest(centres.iter().map(|c| distance(*x, *c))).unwrap_or(0);
            rows.iter().map(of).collect::<Vec<_>>()
        };
        let update = |centres: Vec<f64>, labels: &[usize]| {
            let rows = rows.chunks(1).zip(labels.iter().copied());
            let sums = sums::<f64>(centres.len(), 1, rows);
            sums.iter()
                .zip(centres)
                .map(|((sum, n), c)| if *n > 0 { sum[0] / *n as f64 } else { c })
                .collect()
        };
        lloyd(centres, 50, assign, update)
    }

    #[test]
    fn rounds_move_centres_to_the_means() {
        for seed in 0..20 {
            let (mut centres, labels) = cluster(&[0.0, 2.0, 10.0, 14.0], 2, seed);
            assert_eq!((labels[0] == labels[1], labels[1] == labels[2]), (true, false));
            centres.sort_by(f64::total_cmp);
            assert_eq!(centres, [1.0, 12.0]);
        }
    }

    #[test]
    fn equal_rows_are_one_centre() {
        assert_eq!(cluster(&[3.0; 4], 3, 1).0, [3.0]);
        assert_eq!(cluster(&[], 3, 1).0, [0.0; 0]);
        assert_eq!(nearest([2.0, 1.0, 1.0].into_iter()), Some(1));
    }

    proptest! {
        #[test]
        fn lanes_change_a_distance_by_rounding_only(row in prop::collection::vec(-1.0..1.0_f32, 0..40)) {
            let centre: Vec<f64> = row.iter().map(|x| f64::from(*x) + 0.5).collect();
            let found = squared_distance::<f64, 8>(&row, &centre);
            prop_assert!((found - 0.25 * row.len() as f64).abs() < 1e-9);
            let centre: Vec<f32> = row.iter().map(|x| x + 0.5).collect();
            prop_assert!((f64::from(squared_distance::<f32, 16>(&row, &centre)) - found).abs() < 1e-4);
        }
    }
}
