//! What the video itself does to all vectors, and how it is taken off.
//!
//! A track's vector is more than the person: all faces of a video share light, grading and lens, and
//! unclear faces look like each other. So a vector is taken to be
//!
//! ```text
//! vector = common + clarity · slope + person + rest
//! ```
//!
//! a linear mixed model (Laird and Ware, Biometrics 1982) with the clarity of the track as its one
//! covariate, `person` shared by the tracks of one cluster and `rest` by none. `common` and `slope` are
//! estimated by generalised least squares with a normal prior on both. That tells what is common to the
//! video from what is common to a person who is in most of it. Inside a track the person is the same
//! whatever the clarity, so the pictures of a track tell the slope without knowing who anybody is.

use crate::items::Vectors;
use crate::method::{Crop, Items};

/// Squared length of what is common, expected beforehand, against 1 of a whole vector.
const COMMON_PRIOR: f64 = 0.04;
/// Squared length of the slope for one unit of clarity, expected beforehand.
const SLOPE_PRIOR: f64 = 0.3;
/// Squared lengths of what is a person's and of the rest.
const PERSON: f64 = 0.5;
const REST: f64 = 0.5;
/// Squared length of the differences of pictures of one track.
const WITHIN_TRACK: f64 = 0.3;
/// Weight of a picture for the clarity of its track, by its norm to that power, as in pooling.
const NORM_POWER: i32 = 4;
/// Weight of a track in its cluster, by the exponential of its clarity times that.
const CLARITY_POWER: f64 = 6.0;

/// How clear tracks are, and what their pictures say about the slope.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clarity {
    /// Logarithm of the norm of each item's raw vectors, from the median of all.
    of: Vec<f64>,
    /// Sum over the pictures of each track of their differences in vector times those in clarity.
    slope_sum: Vec<f64>,
    /// The same for squared differences in clarity.
    square_sum: f64,
}

impl Clarity {
    /// Of items with pictures; an item without any is as clear as the median.
    pub(super) fn new(items: &Items<'_>) -> Self {
        let mut slope_sum = vec![0.0; items.vectors().first().map_or(0, |v| v.len())];
        let mut square_sum = 0.0;
        let mut of = vec![f64::NAN; items.len()];
        for crops in items.crops().chunk_by(|a, b| a.item == b.item) {
            let logs: Vec<f64> = crops.iter().map(log_norm).collect();
            let weights =
                crops.iter().map(|crop| f64::from(crop.norm).powi(NORM_POWER).max(f64::MIN_POSITIVE));
            let (sum, total) =
                weights.zip(&logs).fold((0.0, 0.0), |(sum, total), (w, log)| (sum + w * log, total + w));
            of[crops[0].item] = sum / total;
            let mean = logs.iter().sum::<f64>() / logs.len() as f64;
            for (crop, log) in crops.iter().zip(&logs) {
                // Differences from the mean sum to zero, so the mean vector need not be taken off.
                slope_sum.iter_mut().zip(crop.vector).for_each(|(s, x)| *s += (log - mean) * f64::from(*x));
                square_sum += (log - mean).powi(2);
            }
        }
        let median = median(of.iter().copied().filter(|clarity| !clarity.is_nan()).collect());
        of.iter_mut().for_each(|clarity| *clarity = if clarity.is_nan() { 0.0 } else { *clarity - median });
        Self { of, slope_sum, square_sum }
    }

    /// How much each item counts in its cluster, above 0 to 1 for the clearest.
    pub(super) fn weights(&self) -> Vec<f32> {
        let most = self.of.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |clarity: &f64| (CLARITY_POWER * (clarity - most)).exp() as f32;
        self.of.iter().map(|clarity| weight(clarity).max(f32::MIN_POSITIVE)).collect()
    }

    /// Items by rising clarity, ties by their order.
    pub(super) fn least_clear_first(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.of.len()).collect();
        order.sort_by(|a, b| self.of[*a].total_cmp(&self.of[*b]));
        order
    }

    /// Each item's norm over the median norm.
    pub(super) fn ratio(&self, item: usize) -> f64 {
        self.of[item].exp()
    }

    /// Of some of the items.
    pub(super) fn some(&self, items: &[usize]) -> Self {
        Self { of: items.iter().map(|item| self.of[*item]).collect(), ..self.clone() }
    }
}

fn log_norm(crop: &Crop<'_>) -> f64 {
    f64::from(crop.norm).max(1e-6).ln()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => (values[(n - 1) / 2] + values[n / 2]) / 2.0,
    }
}

/// What all vectors of a video have in common.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Model {
    common: Vec<f64>,
    slope: Vec<f64>,
}

impl Model {
    /// Before anybody is known: the slope by the pictures inside tracks, and nothing in common.
    pub(super) fn start(clarity: &Clarity) -> Self {
        let scale = 1.0 / (clarity.square_sum + WITHIN_TRACK / SLOPE_PRIOR);
        Self {
            common: vec![0.0; clarity.slope_sum.len()],
            slope: clarity.slope_sum.iter().map(|sum| sum * scale).collect(),
        }
    }

    /// When clusters are taken for people.
    pub(super) fn fit(vectors: &Vectors, clarity: &Clarity, labels: &[usize]) -> Self {
        let count = labels.iter().max().map_or(0, |most| most + 1);
        let mut clusters: Vec<Sums> = vec![Sums::new(vectors.dim()); count];
        for (item, label) in labels.iter().enumerate() {
            clusters[*label].add(vectors.row(item), clarity.of[item]);
        }
        // Normal equations of two unknowns, in units of 1 over a squared length.
        let mut left = [1.0 / COMMON_PRIOR, 0.0, 1.0 / SLOPE_PRIOR + clarity.square_sum / WITHIN_TRACK];
        let mut right =
            [vec![0.0; vectors.dim()], clarity.slope_sum.iter().map(|s| s / WITHIN_TRACK).collect()];
        for sums in &clusters {
            // Inverse of REST · 1 + PERSON · 11ᵀ, by Sherman and Morrison.
            let shared = PERSON / (REST + sums.n * PERSON);
            left[0] += (sums.n - shared * sums.n * sums.n) / REST;
            left[1] += (sums.clarity - shared * sums.n * sums.clarity) / REST;
            left[2] += (sums.square - shared * sums.clarity * sums.clarity) / REST;
            for (i, (x, cx)) in sums.vector.iter().zip(&sums.clarity_vector).enumerate() {
                right[0][i] += (x - shared * sums.n * x) / REST;
                right[1][i] += (cx - shared * sums.clarity * x) / REST;
            }
        }
        let [a, b, c] = left;
        let determinant = a * c - b * b;
        let [x, y] = &right;
        Self {
            common: x.iter().zip(y).map(|(x, y)| (c * x - b * y) / determinant).collect(),
            slope: x.iter().zip(y).map(|(x, y)| (a * y - b * x) / determinant).collect(),
        }
    }

    /// Vectors without what they have in common, of unit length.
    pub(super) fn without_common(&self, vectors: &Vectors, clarity: &Clarity) -> Vectors {
        let mut values = Vec::with_capacity(vectors.len() * vectors.dim());
        for (item, clarity) in clarity.of.iter().enumerate() {
            let common = self.common.iter().zip(&self.slope).map(|(common, slope)| common + clarity * slope);
            let rest: Vec<f64> =
                vectors.row(item).iter().zip(common).map(|(x, c)| f64::from(*x) - c).collect();
            let length = rest.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length > 1e-3 {
                values.extend(rest.iter().map(|x| (x / length) as f32));
            } else {
                // Nothing is left of it: it had better stay what it was.
                values.extend_from_slice(vectors.row(item));
            }
        }
        Vectors::trusted(vectors.dim(), values)
    }
}

/// Sums over the items of a cluster.
#[derive(Debug, Clone)]
struct Sums {
    n: f64,
    clarity: f64,
    square: f64,
    vector: Vec<f64>,
    clarity_vector: Vec<f64>,
}

impl Sums {
    fn new(dim: usize) -> Self {
        Self { n: 0.0, clarity: 0.0, square: 0.0, vector: vec![0.0; dim], clarity_vector: vec![0.0; dim] }
    }

    fn add(&mut self, vector: &[f32], clarity: f64) {
        self.n += 1.0;
        self.clarity += clarity;
        self.square += clarity * clarity;
        for (i, x) in vector.iter().enumerate() {
            self.vector[i] += f64::from(*x);
            self.clarity_vector[i] += clarity * f64::from(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tracks with two pictures each; the second number of a vector follows the clarity.
    fn pictures() -> Vec<(usize, [f32; 3], f32)> {
        let picture = |item, person: usize, norm: f32| {
            let mut vector = [0.0; 3];
            vector[person] = 1.0;
            vector[2] = 0.1 * norm.ln();
            (item, vector, norm)
        };
        vec![picture(0, 0, 5.0), picture(0, 0, 15.0), picture(1, 1, 8.0), picture(1, 1, 16.0)]
    }

    fn clarity(pictures: &[(usize, [f32; 3], f32)]) -> Clarity {
        let vectors: Vec<&[f32]> = vec![&pictures[0].1, &pictures[2].1, &pictures[0].1];
        let crops = pictures.iter().map(|(item, vector, norm)| Crop { item: *item, vector, norm: *norm });
        match Items::new(vectors, Vec::new()).and_then(|items| items.with_crops(crops.collect())) {
            Ok(items) => Clarity::new(&items),
            Err(e) => unreachable!("{e}"),
        }
    }

    #[test]
    fn clear_pictures_make_a_track_clear_and_none_the_median() {
        let clarity = clarity(&pictures());
        assert!(clarity.of[1] > clarity.of[0]);
        assert!((clarity.of[0] + clarity.of[1]).abs() < 1e-12, "both are as far from their median");
        assert_eq!(clarity.of[2], 0.0);
        assert_eq!(clarity.least_clear_first(), [0, 2, 1]);
        let weights = clarity.weights();
        assert!(weights[0] < weights[2] && weights[2] < weights[1] && weights[1] == 1.0);
        assert_eq!(clarity.some(&[1]).of, [clarity.of[1]]);
    }

    /// What differs inside tracks with their clarity is the slope, whoever they show; what differs between
    /// tracks is not.
    #[test]
    fn the_slope_is_seen_inside_tracks() {
        let Model { slope, common } = Model::start(&clarity(&pictures()));
        assert!(slope[0].abs() < 1e-7 && slope[1].abs() < 1e-7);
        // Shrunk by the prior: 0.1 · squares / (squares + WITHIN_TRACK / SLOPE_PRIOR).
        let squares = 3.0_f64.ln().powi(2) / 2.0 + 2.0_f64.ln().powi(2) / 2.0;
        let expected = 0.1 * squares / (squares + WITHIN_TRACK / SLOPE_PRIOR);
        assert!((slope[2] - expected).abs() < 1e-6, "{} {expected}", slope[2]);
        assert!(common.iter().all(|x| *x == 0.0));
    }

    /// A person who is in most of a video is not what all have in common.
    #[test]
    fn people_weigh_the_same_however_often_they_are_seen() {
        let rows = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let vectors = Vectors::trusted(2, rows.concat());
        let clarity = Clarity { of: vec![0.0; 5], slope_sum: vec![0.0; 2], square_sum: 0.0 };
        let as_strangers = Model::fit(&vectors, &clarity, &[0, 1, 2, 3, 4]).common;
        let as_people = Model::fit(&vectors, &clarity, &[0, 0, 0, 0, 1]).common;
        assert!(as_strangers[0] / as_strangers[1] > 3.9);
        assert!(as_people[0] / as_people[1] < 1.7);
        assert!(as_people.iter().all(|x| (0.0..0.1).contains(x)), "two people say little: {as_people:?}");
    }

    #[test]
    fn what_is_left_is_of_unit_length_or_what_it_was() {
        let vectors = Vectors::trusted(2, vec![1.0, 0.0, 0.6, 0.8]);
        let clarity = Clarity { of: vec![0.0, 1.0], slope_sum: vec![0.0; 2], square_sum: 0.0 };
        let model = Model { common: vec![1.0, 0.0], slope: vec![0.0, 0.8] };
        let plain = model.without_common(&vectors, &clarity);
        assert_eq!(plain.row(0), [1.0, 0.0], "nothing was left");
        assert!(plain.row(1).iter().zip([-1.0, 0.0]).all(|(x, y)| (x - y).abs() < 1e-6));
    }
}
