//! Pooling of the crops of a track.

use numeric::vector::{dot, norm};
use schema::UnitVector;

/// A track's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Of unit norm.
    pub vector: UnitVector,
    /// Number of crops in it.
    pub n_crops: usize,
    /// Mean cosine distance of those crops to it, 0 to 2.
    pub spread: f32,
}

/// Cosines to the pooled vector between which the weight of a crop rises from 0 to its full value. In the middle, a
/// crop is as far from the track's vector as from nothing at all, |u − v| = |u|. A sharp limit there would turn a
/// difference of half a step of 255 in the pixels into another vector, up to a cosine of 0.92.
const COSINES: [f32; 2] = [0.3, 0.7];
/// Number of times that the weights follow the pooled vector.
const ROUNDS: usize = 3;

/// The mean direction of raw vectors, each weighed by its norm to the power `power`: networks trained with a
/// margin loss give blurred and turned faces short vectors (Meng et al., MagFace, CVPR 2021). Crops far from
/// that mean then count less, or not at all. `None` when there is no vector, when one has no direction, or when they
/// cancel out.
pub fn pool(vectors: &[&[f32]], power: i32) -> Option<Pooled> {
    let units: Vec<UnitVector> = vectors.iter().map(|v| UnitVector::normalised(v)).collect::<Option<_>>()?;
    let norms: Vec<f32> = vectors.iter().map(|v| norm(v)).collect();
    let longest = norms.iter().copied().fold(0.0, f32::max);
    // Shares of the longest, so that powers stay finite.
    let all: Vec<_> = units.iter().zip(norms.iter().map(|norm| (norm / longest).powi(power))).collect();
    let mut vector = mean_direction(&all)?;
    let mut kept = all.clone();
    for _ in 0..ROUNDS {
        let near = all.iter().map(|(unit, weight)| (*unit, weight * nearness(unit, &vector)));
        let near: Vec<_> = near.filter(|(_, weight)| *weight > 0.0).collect();
        let Some(next) = mean_direction(&near) else { break };
        (vector, kept) = (next, near);
    }
    let distances = kept.iter().map(|(unit, _)| (1.0 - cosine(unit, &vector)).max(0.0));
    let spread = distances.sum::<f32>() / kept.len() as f32;
    Some(Pooled { vector, n_crops: kept.len(), spread })
}

/// What share of the weight of a crop counts, 0 to 1.
fn nearness(unit: &UnitVector, vector: &UnitVector) -> f32 {
    let [none, all] = COSINES;
    ((cosine(unit, vector) - none) / (all - none)).clamp(0.0, 1.0)
}

fn mean_direction(weighed: &[(&UnitVector, f32)]) -> Option<UnitVector> {
    let mut sum = vec![0.0_f32; weighed.first()?.0.as_slice().len()];
    for (unit, weight) in weighed {
        sum.iter_mut().zip(unit.as_slice()).for_each(|(sum, x)| *sum += weight * x);
    }
    UnitVector::normalised(&sum)
}

fn cosine(a: &UnitVector, b: &UnitVector) -> f32 {
    dot(a.as_slice(), b.as_slice())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn is_close(found: &Pooled, expected: &[f32]) -> bool {
        found.vector.as_slice().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6)
    }

    #[test]
    fn longer_vectors_count_for_more() {
        let vectors: [&[f32]; 2] = [&[3.0, 0.0], &[3.0, 4.0]];
        let pooled = pool(&vectors, 1).unwrap();
        let length = 6.0_f32.hypot(4.0);
        assert!(is_close(&pooled, &[6.0 / length, 4.0 / length]) && pooled.n_crops == 2);
        assert!((pooled.spread - (1.0 - (6.0 + 6.8) / 2.0 / length)).abs() < 1e-6);
        assert!(is_close(&pool(&vectors, 0).unwrap(), &[0.8_f32.sqrt(), 0.2_f32.sqrt()]));
        let pooled = pool(&[&[1.0, 0.0], &[1.6, 1.2]], 4).unwrap();
        let expected = [1.0 + 16.0 * 0.8, 16.0 * 0.6].map(|x: f32| x / 13.8_f32.hypot(9.6));
        assert!(is_close(&pooled, &expected));
    }

    #[test]
    fn what_looks_away_is_left_out() {
        // The mean of all three points along (4, 1.1): the cosine of the last one to it is 0.27.
        let pooled = pool(&[&[2.0, 0.0], &[2.0, 0.0], &[0.0, 1.1]], 1).unwrap();
        assert!(is_close(&pooled, &[1.0, 0.0]));
        assert_eq!((pooled.n_crops, pooled.spread), (2, 0.0));
    }

    /// A crop is turned away from two others, by a fifth of a degree at a time.
    #[test]
    fn a_small_change_of_a_crop_is_a_small_change_of_the_track() {
        let of = |step: i32| {
            let angle = (step as f32 / 5.0).to_radians();
            pool(&[&[1.0, 0.0], &[1.0, 0.0], &[angle.cos(), angle.sin()]], 4).unwrap().vector
        };
        let angles: Vec<f32> =
            (0..=900).map(of).map(|v| v.as_slice()[1].atan2(v.as_slice()[0]).to_degrees()).collect();
        assert!(angles.windows(2).all(|pair| (pair[0] - pair[1]).abs() < 1.5), "{angles:?}");
        assert!(angles[300] > 5.0 && angles[800] == 0.0);
    }

    #[test]
    fn huge_and_tiny_vectors_stay_finite() {
        let pooled = pool(&[&[1e18, 0.0], &[0.0, 1e-18]], 4).unwrap();
        assert!(is_close(&pooled, &[1.0, 0.0]));
    }

    #[test]
    fn one_crop_is_itself() {
        let pooled = pool(&[&[0.0, 2.0]], 4).unwrap();
        assert_eq!(
            (pooled.vector.as_slice(), pooled.n_crops, pooled.spread),
            ([0.0, 1.0].as_slice(), 1, 0.0)
        );
    }

    #[test]
    fn nothing_pools_to_nothing() {
        assert_eq!(pool(&[], 1), None);
        assert_eq!(pool(&[&[1.0, 0.0], &[-1.0, 0.0]], 1), None);
    }
}
