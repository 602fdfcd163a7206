//! The offset of a video: light, lens, grading and compression shift all its face vectors in the same way.
//!
//! In the model `v = m + a · y + e` (see [`super::evidence`]), `m` has the prior variance `τ` and is estimated by
//! generalised least squares (Laird and Ware, Biometrics 1982), given the clusters. In a cluster with `w = 1
//! / ω`,
//! `t = Σ w a` and `g = Σ w a²`, the inverse of the covariance `ω 1 + β a aᵀ` gives each track the weight
//!
//! ```text
//! x = w − w a · tβ / (1 + βg),    m = Σ x v / (1/τ + Σ x)
//! ```
//!
//! so a person with many tracks does not dominate the offset.

use super::quality::View;

/// `τ`: prior variance of the offset, the expected value of its squared length.
const PRIOR_VARIANCE: f64 = 0.1;

/// Returns the offset of the video in one view. `labels` has the cluster of each track, numbered from zero without
/// gaps.
pub(super) fn offset(tracks: &View, labels: &[usize]) -> Vec<f64> {
    let clusters = labels.iter().max().map_or(0, |last| last + 1);
    let (mut first, mut second) = (vec![0.0; clusters], vec![0.0; clusters]);
    for (track, label) in labels.iter().enumerate() {
        let (gain, weight) = (tracks.gain[track], 1.0 / tracks.noise_variance[track]);
        first[*label] += weight * gain;
        second[*label] += weight * gain * gain;
    }
    let mut sum = vec![0.0; tracks.vectors.dim()];
    let mut total = 1.0 / PRIOR_VARIANCE;
    for (track, label) in labels.iter().enumerate() {
        let (gain, weight) = (tracks.gain[track], 1.0 / tracks.noise_variance[track]);
        let shared = first[*label] * tracks.person_variance / (1.0 + tracks.person_variance * second[*label]);
        let weight = weight - weight * gain * shared;
        total += weight;
        sum.iter_mut().zip(tracks.vectors.row(track)).for_each(|(sum, x)| *sum += weight * f64::from(*x));
    }
    sum.iter_mut().for_each(|sum| *sum /= total);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::Vectors;

    /// Four tracks of one person and one of another.
    #[test]
    fn people_weigh_about_the_same_however_often_they_are_seen() {
        let rows = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]];
        let tracks = View {
            vectors: Vectors::trusted(2, rows.concat()),
            gain: vec![1.0; 5],
            noise_variance: vec![0.3; 5],
            person_variance: 0.6,
            evidence_dim: 2.0,
        };
        let strangers = offset(&tracks, &[0, 1, 2, 3, 4]);
        let people = offset(&tracks, &[0, 0, 0, 0, 1]);
        assert!((strangers[0] / strangers[1] - 4.0).abs() < 1e-9);
        assert!((1.0..1.5).contains(&(people[0] / people[1])), "{people:?}");
        assert!(people.iter().all(|x| (0.0..0.2).contains(x)), "small for two people: {people:?}");
    }
}
