//! Tracks in the model of the quality table: the embedding minus the mean embedding of faces with the same raw
//! norm, and the share of the remainder that is the person.
//!
//! The raw norm of an embedding measures how clear the face is (Meng et al., MagFace, CVPR 2021). The quality
//! table of the embedder ([`Quality`]) maps the norm to the gain of the person and the variance of the noise.

use schema::footer::Quality;

use crate::items::Vectors;
use crate::method::{Error, Items};

/// Exponent of the raw norm of a crop that gives the weight of the crop in the mean norm of the track, as in the
/// pooling of the embeddings.
const NORM_POWER: i32 = 4;
/// Reliability, 0 to 1, from which a track is clear; for SFace, that of a raw norm of about 9.5.
const CLEAR: f64 = 0.25;

/// How far the vectors of an embedder are trusted.
#[derive(Debug, Clone, Copy)]
struct Trust {
    /// Factor of the precision of a track, the inverse of its noise. Tracks of one person share light, pose and make-up,
    /// so the tracks depend on each other more than the images to which the tables were fitted. Chosen by the B³ of the
    /// three hardest labelled clips and six copies of each; docs/design/linking.md has the figures. For pairs of single
    /// clear images, 0.85 is at the minimum of the cost of log likelihood ratios (Cllr).
    precision: f64,
    /// Weight of the evidence.
    evidence: f64,
}

/// The only embedder.
const ALONE: Trust = Trust { precision: 0.67, evidence: 1.0 };
/// One of several embedders. Their errors are correlated, so each has less weight: chosen on 20 families of clips and nine
/// re-encoded copies of a comedy, where 0.25 to 0.5 differ only by chance.
const JOINT: Trust = Trust { precision: 0.75, evidence: 0.35 };

/// Smallest raw norm, so that the logarithm is finite; smaller norms count as this norm.
const LEAST_NORM: f64 = 1e-6;
/// A track is unclear if its raw norm is below this share of the median norm.
const UNCLEAR: f64 = 0.7;
/// A track is also unclear if its raw norm is below this share of the median norm and its mean detection score is
/// below the median score by more than [`POOR_SCORE_MARGIN`]. Chosen on the single tracks of 77 runs on eleven labelled clips
/// and their copies, with one embedder and with two. None of the 321 tracks that are the only track of a person is
/// below both limits. Of the 140 and 200 other tracks, 38 and 52 are below both, most of them small faces in the
/// background. Limits chosen without one of the clips differ, and 6 tracks of one person in that clip are below them.
const POOR_NORM_SHARE: f64 = 0.85;
/// Difference of the mean detection score from the median score, 0 to 1: see [`POOR_NORM_SHARE`].
const POOR_SCORE_MARGIN: f64 = 0.06;

/// Returns the raw norm of several crops of one face: Σn⁵ / Σn⁴ over `norms`; NaN if `norms` is empty.
pub(crate) fn mean_norm(norms: impl Iterator<Item = f32>) -> f64 {
    let (mut sum, mut total) = (0.0, 0.0);
    for norm in norms {
        let norm = f64::from(norm).max(LEAST_NORM);
        sum += norm.powi(NORM_POWER + 1);
        total += norm.powi(NORM_POWER);
    }
    sum / total
}

/// Raw norm of every item: Σn⁵ / Σn⁴ over the crops. An item without crops has the median norm.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Norms {
    of: Vec<f64>,
    median: f64,
    /// Mean detection score of each item minus the median score; empty if the scores are not known.
    scores: Vec<f64>,
}

impl Norms {
    /// Computes the norms from the crops of `items`; `usual` is the median if no item has crops.
    pub(super) fn new(items: &Items<'_>, usual: f64) -> Self {
        let mut of = vec![f64::NAN; items.len()];
        for crops in items.crops().chunk_by(|a, b| a.item == b.item) {
            of[crops[0].item] = mean_norm(crops.iter().map(|crop| crop.norm));
        }
        let median = median(of.iter().copied().filter(|norm| !norm.is_nan())).unwrap_or(usual);
        of.iter_mut().filter(|norm| norm.is_nan()).for_each(|norm| *norm = median);
        let mut scores: Vec<f64> = items.scores().iter().copied().map(f64::from).collect();
        let usual = self::median(scores.iter().copied()).unwrap_or_default();
        scores.iter_mut().for_each(|score| *score -= usual);
        Self { of, median, scores }
    }

    /// Returns whether an item is unclear: by [`UNCLEAR`], or by [`POOR_NORM_SHARE`] and [`POOR_SCORE_MARGIN`]. The limits are relative
    /// to the video, so that in footage of small faces a person with one track is not lost.
    pub(super) fn is_unclear(&self, item: usize) -> bool {
        let share = self.of[item] / self.median;
        let is_poor = self.scores.get(item).is_some_and(|score| *score < -POOR_SCORE_MARGIN);
        share < UNCLEAR || (is_poor && share < POOR_NORM_SHARE)
    }
}

/// Returns the median; `None` if there are no numbers.
fn median(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    let n = numbers.len();
    (n > 0).then(|| f64::midpoint(numbers[(n - 1) / 2], numbers[n / 2]))
}

/// Tracks as one embedder sees them, in the model of its quality table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// `u − mean(n)`: the unit vector minus the mean vector at its raw norm; zeros for a track without a vector.
    pub(super) vectors: Vectors,
    /// `a`: gain of the person, above 0; 0 for a track without a vector.
    pub(super) gain: Vec<f64>,
    /// `ω`: variance of the noise, that of the table divided by [`Trust::precision`]; above 0, infinite for a track without
    /// a vector.
    pub(super) noise_variance: Vec<f64>,
    /// `β`: variance of the person vector.
    pub(super) person_variance: f64,
    /// `E`: number of independent components that a vector is worth as evidence, times the weight of the view.
    pub(super) evidence_dim: f64,
}

impl View {
    /// Creates the view by the quality table of the embedder; `seen` yields the vector, or `None`, and the raw norm of
    /// each track.
    ///
    /// # Errors
    /// [`Error::Quality`] when the table is inconsistent or does not fit the vectors.
    fn new<'a>(
        seen: impl Iterator<Item = (Option<&'a [f32]>, f64)> + Clone,
        table: &Quality,
        trust: Trust,
    ) -> Result<Self, Error> {
        let dim = seen.clone().find_map(|(vector, _)| vector).map_or(0, <[f32]>::len);
        check(table, dim)?;
        let knots: Vec<f64> = table.norms.iter().map(|norm| norm.ln()).collect();
        let (mut values, mut gain, mut noise) = (Vec::new(), Vec::new(), Vec::new());
        for (vector, norm) in seen {
            let Some(vector) = vector else {
                values.resize(values.len() + dim, 0.0);
                gain.push(0.0);
                noise.push(f64::INFINITY);
                continue;
            };
            let log_norm = norm.ln();
            let excess = log_norm - table.centre_norm.ln();
            // The vectors in a file may be longer than those of the embedder; the further components are zeros.
            let mean =
                table.mean.iter().zip(&table.slope).map(|(m, s)| f64::from(*m) + excess * f64::from(*s));
            let mean = mean.chain(std::iter::repeat(0.0));
            values.extend(vector.iter().zip(mean).map(|(x, mean)| (f64::from(*x) - mean) as f32));
            gain.push(interpolate(&knots, &table.gain, log_norm));
            noise.push(interpolate(&knots, &table.noise, log_norm) / trust.precision);
        }
        let vectors = Vectors::new(dim.max(1), values)?;
        Ok(Self {
            vectors,
            gain,
            noise_variance: noise,
            person_variance: table.person_variance,
            evidence_dim: trust.evidence * table.evidence_dim,
        })
    }

    /// Returns `λ = a² / ω`, the precision of a track; 0 for a track without a vector.
    pub(super) fn precision(&self, track: usize) -> f64 {
        self.gain[track].powi(2) / self.noise_variance[track]
    }

    /// Returns `ρ = λβ / (1 + λβ)`, 0 to 1: the share of the variance of the vector that is the person.
    fn reliability(&self, track: usize) -> f64 {
        let ratio = self.precision(track) * self.person_variance;
        ratio / (1.0 + ratio)
    }

    /// Returns `βE`, the weight of `λ` as evidence.
    pub(super) fn evidence_weight(&self) -> f64 {
        self.person_variance * self.evidence_dim
    }
}

/// Tracks as all embedders see them; there is at least one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tracks {
    pub(super) views: Vec<View>,
}

impl Tracks {
    /// Creates the tracks by the quality tables of the embedders; `table` is that of the first embedder. Without
    /// `by_norm`, every track has the median norm.
    ///
    /// # Errors
    /// [`Error::Quality`] when a table is inconsistent or does not fit the vectors.
    pub(super) fn new(
        items: &Items<'_>,
        norms: &Norms,
        table: &Quality,
        by_norm: bool,
    ) -> Result<Self, Error> {
        let trust = if items.views().is_empty() { ALONE } else { JOINT };
        let first = items.vectors().iter().zip(&norms.of).map(|(vector, norm)| (Some(*vector), *norm));
        // The vector and the raw norm of each item, for one embedder.
        type Seen<'a> = Vec<(Option<&'a [f32]>, f64)>;
        let mut seen: Vec<(&Quality, Seen<'_>)> = vec![(table, first.collect())];
        for view in items.views() {
            let further = view.seen.iter().map(|seen| (seen.map(|(vector, _)| vector), norm_of(*seen)));
            seen.push((view.quality, further.collect()));
        }
        if !by_norm {
            for (_, seen) in &mut seen {
                let known = seen.iter().filter(|(vector, _)| vector.is_some()).map(|(_, norm)| *norm);
                let usual = median(known).unwrap_or(1.0);
                seen.iter_mut().for_each(|(_, norm)| *norm = usual);
            }
        }
        let view = |(table, seen): (&Quality, Seen<'_>)| View::new(seen.into_iter(), table, trust);
        Ok(Self { views: seen.into_iter().map(view).collect::<Result<_, _>>()? })
    }

    /// Number of tracks.
    pub(super) fn len(&self) -> usize {
        self.views.first().map_or(0, |view| view.gain.len())
    }

    /// Returns whether a track is clear to at least one embedder, by [`CLEAR`].
    pub(super) fn is_clear(&self, track: usize) -> bool {
        self.reliability(track) >= CLEAR
    }

    /// Returns the largest reliability of a track over the embedders, 0 to 1.
    pub(super) fn reliability(&self, track: usize) -> f64 {
        self.views.iter().map(|view| view.reliability(track)).fold(0.0, f64::max)
    }

    /// Returns the tracks in order of rising precision, summed over views and weighted by [`View::evidence_weight`]; ties
    /// keep the order of the tracks.
    pub(super) fn least_clear_first(&self) -> Vec<usize> {
        let worth = |track: usize| -> f64 {
            self.views
                .iter()
                .map(|view| {
                    view.precision(track) * (view.evidence_weight() / self.views[0].evidence_weight())
                })
                .sum()
        };
        let worths: Vec<f64> = (0..self.len()).map(worth).collect();
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by(|a, b| worths[*a].total_cmp(&worths[*b]));
        order
    }

    /// Returns the given tracks, in the given order.
    pub(super) fn subset(&self, tracks: &[usize]) -> Self {
        let of = |view: &View| View {
            vectors: view.vectors.subset(tracks),
            gain: tracks.iter().map(|track| view.gain[*track]).collect(),
            noise_variance: tracks.iter().map(|track| view.noise_variance[*track]).collect(),
            ..*view
        };
        Self { views: self.views.iter().map(of).collect() }
    }
}

fn norm_of(seen: Option<(&[f32], f32)>) -> f64 {
    seen.map_or(1.0, |(_, norm)| f64::from(norm).max(LEAST_NORM))
}

fn check(table: &Quality, dim: usize) -> Result<(), Error> {
    let wrong = |reason: &str| Err(Error::Quality { reason: reason.into() });
    let Quality { mean, slope, norms, gain, noise, .. } = table;
    let positive = |numbers: &[f64]| numbers.iter().all(|x| x.is_finite() && *x > 0.0);
    if mean.len() != slope.len() || mean.len() > dim {
        return wrong(&format!(
            "`mean` and `slope` have {} and {} components, the vectors have {dim}",
            mean.len(),
            slope.len()
        ));
    }
    if norms.is_empty() || gain.len() != norms.len() || noise.len() != norms.len() {
        return wrong("`norms`, `gain` and `noise` have different lengths");
    }
    let single = [table.centre_norm, table.person_variance, table.evidence_dim];
    if ![norms.as_slice(), gain, noise, &single].into_iter().all(positive) {
        return wrong("a number that should be above 0 is not");
    }
    if !mean.iter().chain(slope).all(|x| x.is_finite()) {
        return wrong("`mean` or `slope` is not finite");
    }
    if !norms.is_sorted_by(|a, b| a < b) {
        return wrong("`norms` do not rise strictly");
    }
    Ok(())
}

/// Returns the value at `x` of the piecewise linear function through the points, constant outside of them.
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
    use crate::method::link::evidence::Sums;
    use crate::method::{Crop, FurtherView};

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
    fn a_track_that_embedder_and_detector_see_poorly_is_unclear() {
        let x = [1.0_f32];
        let norms = [10.0, 10.0, 10.0, 8.4, 8.4, 8.6, 6.9];
        let crops = norms.iter().enumerate().map(|(item, norm)| Crop { item, vector: &x, norm: *norm });
        let items = Items::new(vec![x.as_slice(); 7], vec![]).unwrap().with_crops(crops.collect()).unwrap();
        let unclear = |items: &Items<'_>| {
            let norms = Norms::new(items, 9.0);
            (0..7).filter(|item| norms.is_unclear(*item)).collect::<Vec<usize>>()
        };
        // The median norm is 8.6 and the limits are 6.0 and 7.3.
        assert_eq!(unclear(&items), [] as [usize; 0]);
        let scores = [0.9, 0.7, 0.9, 0.9, 0.9, 0.7, 0.83];
        let of = |scores: [f32; 7]| unclear(&items.clone().with_scores(scores.to_vec()).unwrap());
        assert_eq!(of(scores), [6], "low of both kinds, each below the median of the video");
        assert_eq!(of(scores.map(|score| score - 0.3)), [6], "scores are relative to the video");
        assert_eq!(of([0.83; 7]), [] as [usize; 0], "where all scores are low, none counts as low");
        assert!(items.clone().with_scores(vec![0.5; 6]).is_err());
        assert!(items.with_scores(vec![f32::NAN; 7]).is_err());
    }

    #[test]
    fn a_track_is_what_the_table_says_of_its_norm() {
        let x = [0.6, 0.8];
        let items = Items::new(vec![&x, &x, &x], vec![]).unwrap();
        let norms = Norms { of: vec![0.5, 0.5_f64.exp(), 99.0], median: 1.0, scores: Vec::new() };
        let tracks = Tracks::new(&items, &norms, &table(), true).unwrap();
        let view = &tracks.views[0];
        assert_eq!(
            (view.gain.as_slice(), view.noise_variance[0], view.noise_variance[2]),
            ([0.5, 0.75, 1.0].as_slice(), 0.8 / ALONE.precision, 0.4 / ALONE.precision)
        );
        let row = view.vectors.row(1);
        assert!((row[0] - (0.6 - 0.1 - 0.5 * 0.2)).abs() < 1e-6 && (row[1] - 0.8).abs() < 1e-6, "{row:?}");
        let ratio = ALONE.precision * 0.75 * 0.75 / 0.6 * 0.5;
        assert!((view.reliability(1) - ratio / (1.0 + ratio)).abs() < 1e-12);
        assert_eq!(view.evidence_dim, 2.0);
        assert_eq!(tracks.least_clear_first(), [0, 1, 2]);
    }

    /// The second embedder sees the first track clearly and the last not at all.
    #[test]
    fn a_further_view_has_a_say_in_what_it_sees() {
        let x = [0.6, 0.8];
        let wide = [0.0, 0.6, 0.8];
        let quality = Quality { mean: vec![0.0; 3], slope: vec![0.0; 3], evidence_dim: 4.0, ..table() };
        let seen = vec![Some((wide.as_slice(), 9.0)), Some((wide.as_slice(), 0.1)), None];
        let items = Items::new(vec![&x, &x, &x], vec![]).unwrap();
        let items = items.with_views(vec![FurtherView { quality: &quality, seen }]).unwrap();
        let norms = Norms { of: vec![1.0; 3], median: 1.0, scores: Vec::new() };
        let tracks = Tracks::new(&items, &norms, &table(), true).unwrap();
        assert_eq!([0, 1].map(|view| tracks.views[view].evidence_dim), [0.7, 1.4]);
        assert_eq!(
            (tracks.views[1].gain.as_slice(), tracks.views[1].precision(2)),
            ([1.0, 0.5, 0.0].as_slice(), 0.0)
        );
        assert_eq!([0, 1, 2].map(|track| tracks.is_clear(track)), [true, false, false]);
        assert_eq!(tracks.least_clear_first(), [2, 1, 0]);
        let sums = Sums::new(&tracks, &[vec![0.0; 2], vec![0.0; 3]], 1);
        let alone = Tracks { views: tracks.views[..1].to_vec() };
        let first = Sums::new(&alone, &[vec![0.0; 2]], 1);
        assert!((sums.merge_gain(1, 2) - first.merge_gain(1, 2)).abs() < 1e-12);
        assert!(sums.merge_gain(0, 1) > first.merge_gain(0, 1) + 0.1);
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
            assert!(
                matches!(Tracks::new(&items, &norms, &table, true), Err(Error::Quality { .. })),
                "{table:?}"
            );
        }
    }
}
