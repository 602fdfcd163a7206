//! Tracks in the model of the quality table: the vector minus the mean of faces of its norm, and the share of
//! the remainder that is the person.
//!
//! The raw norm of a face vector measures how clear the face is (Meng et al., MagFace, CVPR 2021). The
//! quality table of the embedder ([`Quality`]) maps the norm to the gain of the person and the noise.

use schema::footer::Quality;

use crate::items::Vectors;
use crate::method::{Error, Items};

/// Crops of a track weigh by this power of their norm when their norms are averaged, as in the pooling of their
/// vectors.
const NORM_POWER: i32 = 4;
/// Factor of the precision of a track. For pairs of clear faces of people who were not used in the fit of
/// SFace's table, the full precision is overconfident; 0.85 is the cautious side of the minimum of the cost
/// of log likelihood ratios.
const CAUTION: f64 = 0.85;
/// Reliability from which on a track is clear; for SFace a norm of about 9.4.
const CLEAR: f64 = 0.25;
/// A track is unclear when its norm is less than this share of the median track's.
const UNCLEAR: f64 = 0.7;

/// The raw norm of every item: Σn⁵ / Σn⁴ over its crops. An item without crops has the median norm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Norms {
    of: Vec<f64>,
    median: f64,
}

impl Norms {
    /// Of the crops of `items`; `usual` is the median where no item has crops.
    pub(super) fn new(items: &Items<'_>, usual: f64) -> Self {
        let mut of = vec![f64::NAN; items.len()];
        for crops in items.crops().chunk_by(|a, b| a.item == b.item) {
            let (mut sum, mut total) = (0.0, 0.0);
            for crop in crops {
                let norm = f64::from(crop.norm).max(1e-6);
                sum += norm.powi(NORM_POWER + 1);
                total += norm.powi(NORM_POWER);
            }
            of[crops[0].item] = sum / total;
        }
        let mut known: Vec<f64> = of.iter().copied().filter(|norm| !norm.is_nan()).collect();
        known.sort_by(f64::total_cmp);
        let median = match known.len() {
            0 => usual,
            n => f64::midpoint(known[(n - 1) / 2], known[n / 2]),
        };
        of.iter_mut().filter(|norm| norm.is_nan()).for_each(|norm| *norm = median);
        Self { of, median }
    }

    /// Whether an item is much less clear than the median.
    pub(super) fn is_unclear(&self, item: usize) -> bool {
        self.of[item] < UNCLEAR * self.median
    }
}

/// Tracks in the model of the quality table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracks {
    /// `u − mean(n)`: the unit vector less the mean of faces of its norm.
    pub(super) vectors: Vectors,
    /// `a`: gain of the person, above 0.
    pub(super) gain: Vec<f64>,
    /// `ω`: variance of the noise, above 0.
    pub(super) noise: Vec<f64>,
    /// `β`: variance of the person vector.
    pub(super) person: f64,
}

impl Tracks {
    /// By the quality table of the embedder.
    ///
    /// # Errors
    /// [`Error::Quality`] when the table is inconsistent or does not fit the vectors.
    pub(super) fn new(items: &Items<'_>, norms: &Norms, table: &Quality) -> Result<Self, Error> {
        let dim = items.vectors().first().map_or(0, |vector| vector.len());
        check(table, dim)?;
        let knots: Vec<f64> = table.norms.iter().map(|norm| norm.ln()).collect();
        let mut values = Vec::with_capacity(items.len() * dim);
        let (mut gain, mut noise) = (Vec::with_capacity(items.len()), Vec::with_capacity(items.len()));
        for (vector, norm) in items.vectors().iter().zip(&norms.of) {
            let log_norm = norm.ln();
            let excess = log_norm - table.centre_norm.ln();
            // The vectors of a file may end in zeros, beyond those of the embedder.
            let mean =
                table.mean.iter().zip(&table.slope).map(|(m, s)| f64::from(*m) + excess * f64::from(*s));
            let mean = mean.chain(std::iter::repeat(0.0));
            values.extend(vector.iter().zip(mean).map(|(x, mean)| (f64::from(*x) - mean) as f32));
            gain.push(interpolate(&knots, &table.gain, log_norm));
            noise.push(interpolate(&knots, &table.noise, log_norm));
        }
        Ok(Self { vectors: Vectors::new(dim, values)?, gain, noise, person: table.person_variance })
    }

    /// Number of tracks.
    pub(super) fn len(&self) -> usize {
        self.gain.len()
    }

    /// `λ = 0.85 · a² / ω`: precision of a track about its person.
    pub(super) fn precision(&self, track: usize) -> f64 {
        CAUTION * self.gain[track].powi(2) / self.noise[track]
    }

    /// `ρ = λβ / (1 + λβ)`, 0 to 1: share of the vector that is the person.
    fn reliability(&self, track: usize) -> f64 {
        let ratio = self.precision(track) * self.person;
        ratio / (1.0 + ratio)
    }

    /// Whether a track is clear.
    pub(super) fn is_clear(&self, track: usize) -> bool {
        self.reliability(track) >= CLEAR
    }

    /// Tracks by rising precision, ties by their order.
    pub(super) fn least_clear_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| self.precision(*a).total_cmp(&self.precision(*b)));
        order
    }

    /// Some of the tracks.
    pub(super) fn some(&self, tracks: &[usize]) -> Self {
        Self {
            vectors: self.vectors.some(tracks),
            gain: tracks.iter().map(|track| self.gain[*track]).collect(),
            noise: tracks.iter().map(|track| self.noise[*track]).collect(),
            person: self.person,
        }
    }
}

fn check(table: &Quality, dim: usize) -> Result<(), Error> {
    let wrong = |reason: &str| Err(Error::Quality { reason: reason.into() });
    let Quality { mean, slope, norms, gain, noise, .. } = table;
    let positive = |numbers: &[f64]| numbers.iter().all(|x| x.is_finite() && *x > 0.0);
    if mean.len() != slope.len() || mean.len() > dim {
        return wrong(&format!("its mean and slope have {} and {} numbers", mean.len(), slope.len()));
    }
    if norms.is_empty() || gain.len() != norms.len() || noise.len() != norms.len() {
        return wrong("its knots differ in number");
    }
    let single = [table.centre_norm, table.person_variance, table.evidence_dim];
    if ![norms.as_slice(), gain, noise, &single].into_iter().all(positive) {
        return wrong("a number that should be above 0 is not");
    }
    if !mean.iter().chain(slope).all(|x| x.is_finite()) {
        return wrong("its mean or slope is not finite");
    }
    if !norms.is_sorted_by(|a, b| a < b) {
        return wrong("its norms do not rise");
    }
    Ok(())
}

/// The value at `x` of the line through the points, constant outside.
fn interpolate(xs: &[f64], ys: &[f64], x: f64) -> f64 {
    let above = xs.partition_point(|knot| *knot <= x);
    if above == 0 || above == xs.len() {
        return ys[above.saturating_sub(1)];
    }
    let share = (x - xs[above - 1]) / (xs[above] - xs[above - 1]);
    ys[above - 1] + share * (ys[above] - ys[above - 1])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::method::Crop;

    fn table() -> Quality {
        Quality {
            centre_norm: 1.0,
            mean: vec![0.1],
            slope: vec![0.2],
            norms: vec![1.0, std::f64::consts::E],
            gain: vec![0.5, 1.0],
            noise: vec![0.8, 0.4],
            person_variance: 0.5,
            evidence_dim: 2.0,
        }
    }

    #[test]
    fn clear_crops_count_for_more_and_items_without_any_are_as_most() {
        let (x, y) = ([1.0, 0.0], [0.0, 1.0]);
        let crop = |item, norm| Crop { item, vector: &x, norm };
        let items = Items::new(vec![&x, &y, &x, &y], vec![]).unwrap();
        let items = items.with_crops(vec![crop(0, 1.0), crop(0, 2.0), crop(2, 0.5), crop(3, 4.0)]).unwrap();
        let norms = Norms::new(&items, 9.0);
        assert_eq!(norms.of, [33.0 / 17.0, 33.0 / 17.0, 0.5, 4.0]);
        assert_eq!([0, 1, 2, 3].map(|item| norms.is_unclear(item)), [false, false, true, false]);
        let none = Items::new(vec![&x], vec![]).unwrap();
        assert_eq!(Norms::new(&none, 9.0).of, [9.0]);
    }

    #[test]
    fn a_track_is_what_the_table_says_of_its_norm() {
        let x = [0.6, 0.8];
        let items = Items::new(vec![&x, &x, &x], vec![]).unwrap();
        let norms = Norms { of: vec![0.5, 0.5_f64.exp(), 99.0], median: 1.0 };
        let tracks = Tracks::new(&items, &norms, &table()).unwrap();
        assert_eq!(
            (tracks.gain.as_slice(), tracks.noise[0], tracks.noise[2]),
            ([0.5, 0.75, 1.0].as_slice(), 0.8, 0.4)
        );
        let row = tracks.vectors.row(1);
        assert!((row[0] - (0.6 - 0.1 - 0.5 * 0.2)).abs() < 1e-6 && (row[1] - 0.8).abs() < 1e-6, "{row:?}");
        let ratio = 0.85 * 0.75 * 0.75 / 0.6 * 0.5;
        assert!((tracks.reliability(1) - ratio / (1.0 + ratio)).abs() < 1e-12);
        assert_eq!(tracks.least_clear_first(), [0, 1, 2]);
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused() {
        let x = [1.0];
        let items = Items::new(vec![&x], vec![]).unwrap();
        let norms = Norms::new(&items, 1.0);
        let tables = [
            Quality { slope: vec![], ..table() },
            Quality { mean: vec![0.0; 2], slope: vec![0.0; 2], ..table() },
            Quality { gain: vec![1.0], ..table() },
            Quality { noise: vec![0.0, 1.0], ..table() },
            Quality { evidence_dim: f64::NAN, ..table() },
            Quality { norms: vec![2.0, 1.0], ..table() },
            Quality { mean: vec![f32::NAN], ..table() },
        ];
        for table in tables {
            assert!(matches!(Tracks::new(&items, &norms, &table), Err(Error::Quality { .. })), "{table:?}");
        }
    }
}
