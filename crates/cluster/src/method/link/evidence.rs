//! Evidence that tracks show one person.
//!
//! A track's vector, less the mean of its quality, is `v = m + a · y + e`: the offset `m` of the video, the
//! person `y` with `|y|² = β`, and noise with `|e|² = ω`, normal and the same in all directions (a
//! two-covariance model, Brümmer and de Villiers, Odyssey 2010, with a covariance for each quality). The
//! sufficient statistics of the tracks of one person for `y` are two sums, `F = Σ f` with `f = (λ / a)(v −
//! m)`, and `Λ = Σ λ`. Integrating `y` out gives the log likelihood ratio of "one person" against "noise
//! only",
//!
//! ```text
//! L(C) = E/2 · (β|F|² / (1 + βΛ) − ln(1 + βΛ))
//! ```
//!
//! with `E` the number of independent components. So evidence for two clusters being one person is `L(A ∪ B)
//! − L(A) − L(B)`: it adds up over tracks, and unclear tracks contribute little.
//!
//! Several embedders are several views of the tracks. Each view has its own sums and parameters. The evidence of all
//! views is added, with a weight below one for each of several views, because embedders make the same errors.

use std::ops::Range;

use numeric::vector::dot_in_lanes as dot;

use super::quality::{Tracks, View};
use crate::items::Vectors;
use crate::method::ViewEvidence;
use crate::parallel::in_parallel;
use crate::prior::Prior;

/// Log odds at which the distance of two clusters is a half. Two tracks of one person on TV have log odds of
/// 5 to 20, a track and a cluster of ten tracks about 50.
const HALF_LOG_ODDS: f64 = 20.0;
/// Number of tracks that a thread takes at a time.
const BATCH: usize = 4096;

/// Distance of two clusters whose log odds of being one person are `log_odds`: 0 for certainly one person, 1
/// for even odds, 2 for certainly two people. It is `20 / (20 + log_odds)` from even odds on.
pub(super) fn distance(log_odds: f64) -> f64 {
    1.0 - log_odds / (HALF_LOG_ODDS + log_odds.abs())
}

/// Log odds at a [`distance`] from 0 to 2.
pub(super) fn log_odds(distance: f64) -> f64 {
    let similarity = 1.0 - distance;
    HALF_LOG_ODDS * similarity / (1.0 - similarity.abs())
}

/// One view in the sums of a cluster.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    /// Columns of the view in `F`.
    columns: Range<usize>,
    /// `β`.
    person_variance: f64,
    /// `E`, times the weight of the view.
    evidence_dim: f64,
    /// Factor of `F` where views are compared by direction: 1 for the first view.
    scale: f32,
}

impl Part {
    fn of(tracks: &Tracks) -> Vec<Self> {
        let mut end = 0;
        let part = |view: &View| {
            let start = end;
            end += view.vectors.dim();
            let scale = (view.evidence_weight() / tracks.views[0].evidence_weight()).sqrt() as f32;
            Self {
                columns: start..end,
                person_variance: view.person_variance,
                evidence_dim: view.evidence_dim,
                scale,
            }
        };
        tracks.views.iter().map(part).collect()
    }

    fn likelihood(&self, square: f64, precision: f64) -> f64 {
        let spread = self.person_variance * precision;
        0.5 * self.evidence_dim * (self.person_variance * square / (1.0 + spread) - spread.ln_1p())
    }
}

/// Clusters as sums over their tracks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sums {
    parts: Vec<Part>,
    /// `F` of all views, one after the other.
    vectors: Vectors,
    /// `|F|²` of each cluster and view.
    squares: Vec<f64>,
    /// `Λ` of each cluster and view.
    precisions: Vec<f64>,
    /// `L`, summed over views.
    evidence: Vec<f64>,
    counts: Vec<u32>,
}

impl Sums {
    /// Every track as a cluster of its own, with the offset of the video in each view.
    pub(super) fn new(tracks: &Tracks, offsets: &[Vec<f64>], threads: usize) -> Self {
        let parts = Part::of(tracks);
        let width = parts.last().map_or(1, |part| part.columns.end);
        let all: Vec<usize> = (0..tracks.len()).collect();
        let batches: Vec<&[usize]> = all.chunks(BATCH).collect();
        let scaled = |batch: &&[usize]| {
            let mut values = Vec::with_capacity(batch.len() * width);
            for track in *batch {
                for (view, offset) in tracks.views.iter().zip(offsets) {
                    // A track without a vector has neither precision nor gain.
                    let scale = view.precision(*track) / view.gain[*track].max(f64::MIN_POSITIVE);
                    let row = view.vectors.row(*track).iter().zip(offset);
                    values.extend(row.map(|(x, offset)| (scale * (f64::from(*x) - offset)) as f32));
                }
            }
            values
        };
        let values = in_parallel(threads, &batches, scaled, &mut |_| ()).concat();
        let precisions = all.iter().flat_map(|track| tracks.views.iter().map(|view| view.precision(*track)));
        Self::of(parts, Vectors::trusted(width, values), precisions.collect(), vec![1; all.len()])
    }

    fn of(parts: Vec<Part>, vectors: Vectors, precisions: Vec<f64>, counts: Vec<u32>) -> Self {
        let n = counts.len();
        let squares = vec![0.0; n * parts.len()];
        let mut sums = Self { parts, vectors, squares, precisions, evidence: vec![0.0; n], counts };
        (0..n).for_each(|cluster| sums.weigh(cluster));
        sums
    }

    /// The clusters of `labels`, of which there are `count`; clusters are rows of the result.
    pub(super) fn grouped(&self, labels: &[usize], count: usize) -> Self {
        let (width, views) = (self.vectors.dim(), self.parts.len());
        let mut values = vec![0.0_f32; count * width];
        let (mut precisions, mut counts) = (vec![0.0; count * views], vec![0; count]);
        for (track, label) in labels.iter().enumerate() {
            let sum = values[label * width..][..width].iter_mut();
            sum.zip(self.vectors.row(track)).for_each(|(sum, x)| *sum += x);
            let sum = precisions[label * views..][..views].iter_mut();
            sum.zip(&self.precisions[track * views..]).for_each(|(sum, precision)| *sum += precision);
            counts[*label] += self.counts[track];
        }
        Self::of(self.parts.clone(), Vectors::trusted(width, values), precisions, counts)
    }

    /// Updates the values derived from the sums of a cluster.
    fn weigh(&mut self, cluster: usize) {
        let row = self.vectors.row(cluster);
        let mut evidence = 0.0;
        for (view, part) in self.parts.iter().enumerate() {
            let at = cluster * self.parts.len() + view;
            let row = &row[part.columns.clone()];
            self.squares[at] = f64::from(dot(row, row));
            evidence += part.likelihood(self.squares[at], self.precisions[at]);
        }
        self.evidence[cluster] = evidence;
    }

    /// `L(A ∪ B)`, or with the sign −1 `L(A \ B)`, with `b` of other sums.
    fn joint(&self, a: usize, other: &Self, b: usize, sign: f64) -> f64 {
        let (row, other_row) = (self.vectors.row(a), other.vectors.row(b));
        let mut evidence = 0.0;
        for (view, part) in self.parts.iter().enumerate() {
            let [at, other_at] = [a, b].map(|cluster| cluster * self.parts.len() + view);
            let product = f64::from(dot(&row[part.columns.clone()], &other_row[part.columns.clone()]));
            let square = self.squares[at] + other.squares[other_at] + sign * 2.0 * product;
            evidence += part.likelihood(square, self.precisions[at] + sign * other.precisions[other_at]);
        }
        evidence
    }

    /// Returns `F` and `Λ` of every cluster in each view, with the constants of the view.
    pub(super) fn views(&self) -> Vec<ViewEvidence> {
        let view = |(at, part): (usize, &Part)| ViewEvidence {
            person_variance: part.person_variance,
            evidence_dim: part.evidence_dim,
            seen: (0..self.counts.len())
                .map(|cluster| {
                    let precision = self.precisions[cluster * self.parts.len() + at];
                    let row = &self.vectors.row(cluster)[part.columns.clone()];
                    (precision > 0.0).then(|| (row.to_vec(), precision))
                })
                .collect(),
        };
        self.parts.iter().enumerate().map(view).collect()
    }

    /// `F` of all clusters.
    pub(super) fn vectors(&self) -> &Vectors {
        &self.vectors
    }

    /// Number of tracks of a cluster.
    pub(super) fn count(&self, cluster: usize) -> u32 {
        self.counts[cluster]
    }

    /// `L(A ∪ B) − L(A) − L(B)`.
    pub(super) fn merge_gain(&self, a: usize, b: usize) -> f64 {
        self.with(a, self, b)
    }

    /// Log odds that two clusters are one person, clothes and constraints aside.
    pub(super) fn log_odds(&self, prior: &Prior, a: usize, b: usize) -> f64 {
        self.merge_gain(a, b) + prior.merge(self.count(a), self.count(b))
    }

    /// [`Self::merge_gain`] with `b` of other sums.
    pub(super) fn with(&self, a: usize, other: &Self, b: usize) -> f64 {
        self.joint(a, other, b, 1.0) - self.evidence[a] - other.evidence[b]
    }

    /// `L(A) − L(A \ B) − L(B)`, where `b` of other sums is a part of `a`.
    pub(super) fn without(&self, a: usize, other: &Self, b: usize) -> f64 {
        self.evidence[a] - self.joint(a, other, b, -1.0) - other.evidence[b]
    }

    /// Adds the sums of one cluster to those of another.
    pub(super) fn merge(&mut self, into: usize, from: usize) {
        self.vectors.add_into(into, from);
        for view in 0..self.parts.len() {
            let [into, from] = [into, from].map(|cluster| cluster * self.parts.len() + view);
            self.precisions[into] += self.precisions[from];
        }
        self.counts[into] += self.counts[from];
        self.weigh(into);
    }

    /// Adds a track of other sums to a cluster, or removes it.
    pub(super) fn put(&mut self, cluster: usize, other: &Self, track: usize, is_added: bool) {
        let sign = if is_added { 1.0 } else { -1.0 };
        let row = self.vectors.row_mut(cluster).iter_mut();
        row.zip(other.vectors.row(track)).for_each(|(sum, x)| *sum += sign * x);
        for view in 0..self.parts.len() {
            let [at, other_at] = [cluster, track].map(|row| row * self.parts.len() + view);
            self.precisions[at] += f64::from(sign) * other.precisions[other_at];
        }
        self.counts[cluster] = self.counts[cluster].wrapping_add_signed(sign as i32);
        self.weigh(cluster);
    }

    /// A cluster without tracks, behind all others; returns its number.
    pub(super) fn push_empty(&mut self) -> usize {
        self.vectors.push_zeros();
        self.squares.resize(self.squares.len() + self.parts.len(), 0.0);
        self.precisions.resize(self.squares.len(), 0.0);
        self.evidence.push(0.0);
        self.counts.push(0);
        self.counts.len() - 1
    }

    /// Unit vectors along `F`, by which neighbours are looked for; zeros stay zeros.
    pub(super) fn directions(&self) -> Vectors {
        let all: Vec<usize> = (0..self.counts.len()).collect();
        let mut towards = self.towards(&all);
        for row in 0..all.len() {
            let row = towards.row_mut(row);
            let length = dot(row, row).sqrt().max(f32::MIN_POSITIVE);
            row.iter_mut().for_each(|x| *x /= length);
        }
        towards
    }

    /// `F` of some clusters, each view scaled to what its components are worth as evidence.
    pub(super) fn towards(&self, clusters: &[usize]) -> Vectors {
        let mut towards = self.vectors.subset(clusters);
        for row in 0..clusters.len() {
            for part in self.parts.iter().skip(1) {
                towards.row_mut(row)[part.columns.clone()].iter_mut().for_each(|x| *x *= part.scale);
            }
        }
        towards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_log_odds_on_a_bounded_scale() {
        assert_eq!([20.0, 0.0, -20.0].map(distance), [0.5, 1.0, 1.5]);
        for odds in [-300.0, -3.0, 0.0, 0.1, 7.0, 500.0] {
            assert!((log_odds(distance(odds)) - odds).abs() < 1e-9 * (1.0 + odds.abs()));
        }
    }

    /// One dimension and one component: the ratio of two normal densities.
    #[test]
    fn evidence_is_the_likelihood_ratio_of_normal_densities() {
        let [gain, noise, person] = [0.6_f64, 0.5, 0.7];
        let view = |values: Vec<f32>| View {
            gain: vec![gain; values.len()],
            noise_variance: vec![noise; values.len()],
            vectors: Vectors::trusted(1, values),
            person_variance: person,
            evidence_dim: 1.0,
        };
        let (x, y) = (0.8_f32, -0.3_f32);
        let pair = Tracks { views: vec![view(vec![x, y])] };
        let sums = Sums::new(&pair, &[vec![0.0]], 1);
        let [x, y] = [x, y].map(f64::from);
        // Covariance of a pair of one person: c off the diagonal, c + noise on it; of two people c is 0 off it.
        let c = gain * gain * person;
        let d = c + noise;
        let determinant = d * d - c * c;
        let one = -0.5 * (d * (x * x + y * y) - 2.0 * c * x * y) / determinant - 0.5 * determinant.ln();
        let two = -0.5 * (x * x + y * y) / d - 0.5 * (d * d).ln();
        assert!((sums.merge_gain(0, 1) - (one - two)).abs() < 1e-6);
        let both = sums.grouped(&[0, 0], 1);
        assert!((both.without(0, &sums, 1) - (one - two)).abs() < 1e-6);
        let mut moved = sums.grouped(&[0, 1], 2);
        moved.put(1, &sums, 1, false);
        moved.put(0, &sums, 1, true);
        assert_eq!((moved.count(0), moved.count(1)), (2, 0));
        assert!((moved.evidence[0] - both.evidence[0]).abs() < 1e-6 && moved.evidence[1].abs() < 1e-6);
    }
}
