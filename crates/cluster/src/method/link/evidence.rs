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

use numeric::vector::dot_in_lanes as dot;

use super::quality::Tracks;
use crate::items::Vectors;
use crate::parallel::in_parallel;

/// Log odds at which the distance of two clusters is a half. Two tracks of one person on TV have log odds of
/// 5 to 20, a track and a cluster of ten tracks about 50.
const HALF_LOG_ODDS: f64 = 20.0;
/// Tracks that a thread takes at a time.
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

/// Clusters as sums over their tracks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sums {
    person: f64,
    dim: f64,
    /// `F`.
    vectors: Vectors,
    /// `|F|²`.
    squares: Vec<f64>,
    /// `Λ`.
    precisions: Vec<f64>,
    /// `L`.
    evidence: Vec<f64>,
    counts: Vec<u32>,
}

impl Sums {
    /// Every track as a cluster of its own; `dim` is `E`.
    pub(super) fn new(tracks: &Tracks, offset: &[f64], dim: f64, threads: usize) -> Self {
        let width = tracks.vectors.dim();
        let all: Vec<usize> = (0..tracks.len()).collect();
        let batches: Vec<&[usize]> = all.chunks(BATCH).collect();
        let scaled = |batch: &&[usize]| {
            let mut values = Vec::with_capacity(batch.len() * width);
            for track in *batch {
                let scale = tracks.precision(*track) / tracks.gain[*track];
                let row = tracks.vectors.row(*track).iter().zip(offset);
                values.extend(row.map(|(x, offset)| (scale * (f64::from(*x) - offset)) as f32));
            }
            values
        };
        let values = in_parallel(threads, &batches, scaled, &mut |_| ()).concat();
        let precisions = all.iter().map(|track| tracks.precision(*track)).collect();
        Self::of(tracks.person, dim, Vectors::trusted(width, values), precisions, vec![1; all.len()])
    }

    fn of(person: f64, dim: f64, vectors: Vectors, precisions: Vec<f64>, counts: Vec<u32>) -> Self {
        let n = counts.len();
        let mut sums =
            Self { person, dim, vectors, squares: vec![0.0; n], precisions, evidence: vec![0.0; n], counts };
        (0..n).for_each(|cluster| sums.weigh(cluster));
        sums
    }

    /// The clusters of `labels`, of which there are `count`; clusters are rows of the result.
    pub(super) fn grouped(&self, labels: &[usize], count: usize) -> Self {
        let width = self.vectors.dim();
        let mut values = vec![0.0_f32; count * width];
        let (mut precisions, mut counts) = (vec![0.0; count], vec![0; count]);
        for (track, label) in labels.iter().enumerate() {
            let sum = values[label * width..][..width].iter_mut();
            sum.zip(self.vectors.row(track)).for_each(|(sum, x)| *sum += x);
            precisions[*label] += self.precisions[track];
            counts[*label] += self.counts[track];
        }
        Self::of(self.person, self.dim, Vectors::trusted(width, values), precisions, counts)
    }

    /// Updates the values derived from the sums of a cluster.
    fn weigh(&mut self, cluster: usize) {
        let row = self.vectors.row(cluster);
        self.squares[cluster] = f64::from(dot(row, row));
        self.evidence[cluster] = self.likelihood(self.squares[cluster], self.precisions[cluster]);
    }

    fn likelihood(&self, square: f64, precision: f64) -> f64 {
        let spread = self.person * precision;
        0.5 * self.dim * (self.person * square / (1.0 + spread) - spread.ln_1p())
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

    /// The same with `b` of other sums.
    pub(super) fn with(&self, a: usize, other: &Self, b: usize) -> f64 {
        let product = f64::from(dot(self.vectors.row(a), other.vectors.row(b)));
        let square = self.squares[a] + other.squares[b] + 2.0 * product;
        let precision = self.precisions[a] + other.precisions[b];
        self.likelihood(square, precision) - self.evidence[a] - other.evidence[b]
    }

    /// `L(A) − L(A \ B) − L(B)`, where `b` of other sums is a part of `a`.
    pub(super) fn without(&self, a: usize, other: &Self, b: usize) -> f64 {
        let product = f64::from(dot(self.vectors.row(a), other.vectors.row(b)));
        let square = self.squares[a] + other.squares[b] - 2.0 * product;
        let rest = self.likelihood(square, self.precisions[a] - other.precisions[b]);
        self.evidence[a] - rest - other.evidence[b]
    }

    /// Adds the sums of one cluster to those of another.
    pub(super) fn merge(&mut self, into: usize, from: usize) {
        self.vectors.add_into(into, from);
        self.precisions[into] += self.precisions[from];
        self.counts[into] += self.counts[from];
        self.weigh(into);
    }

    /// Adds a track of other sums to a cluster, or removes it.
    pub(super) fn put(&mut self, cluster: usize, other: &Self, track: usize, is_added: bool) {
        let sign = if is_added { 1.0 } else { -1.0 };
        let row = self.vectors.row_mut(cluster).iter_mut();
        row.zip(other.vectors.row(track)).for_each(|(sum, x)| *sum += sign * x);
        self.precisions[cluster] += f64::from(sign) * other.precisions[track];
        self.counts[cluster] = self.counts[cluster].wrapping_add_signed(sign as i32);
        self.weigh(cluster);
    }

    /// A cluster without tracks, behind all others; returns its number.
    pub(super) fn push_empty(&mut self) -> usize {
        self.vectors.push_zeros();
        self.squares.push(0.0);
        self.precisions.push(0.0);
        self.evidence.push(0.0);
        self.counts.push(0);
        self.counts.len() - 1
    }

    /// Unit vectors along `F`, by which neighbours are looked for; zeros stay zeros.
    pub(super) fn directions(&self) -> Vectors {
        let rows = (0..self.counts.len()).map(|row| self.vectors.row(row));
        let unit = rows.flat_map(|row| {
            let length = dot(row, row).sqrt().max(f32::MIN_POSITIVE);
            row.iter().map(move |x| x / length)
        });
        Vectors::trusted(self.vectors.dim(), unit.collect())
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
        let tracks = |values: Vec<f32>| Tracks {
            gain: vec![gain; values.len()],
            noise: vec![noise; values.len()],
            vectors: Vectors::trusted(1, values),
            person,
        };
        let (x, y) = (0.8_f32, -0.3_f32);
        // The precision is taken to 0.85, so what is compared with has so much more noise.
        let noise = noise / 0.85;
        let pair = tracks(vec![x, y]);
        let sums = Sums::new(&pair, &[0.0], 1.0, 1);
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
