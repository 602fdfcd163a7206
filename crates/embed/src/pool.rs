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

/// Cosine to the pooled vector below which a crop is left out: there it is farther from the track's
/// vector than from nothing at all, |u − v| > |u|.
const MIN_COSINE: f32 = 0.5;

/// The mean direction of raw vectors, each weighed by its norm to the power `power`: networks trained with a
/// margin loss give blurred and turned faces short vectors (Meng et al., MagFace, CVPR 2021). Crops far from
/// that mean are then excluded, once. `None` when there is no vector, when one has no direction, or when they
/// cancel out.
pub fn pool(vectors: &[&[f32]], power: i32) -> Option<Pooled> {
    let units: Vec<UnitVector> = vectors.iter().map(|v| UnitVector::normalised(v)).collect::<Option<_>>()?;
    let norms: Vec<f32> = vectors.iter().map(|v| norm(v)).collect();
    let longest = norms.iter().copied().fold(0.0, f32::max);
    // Shares of the longest, so that powers stay finite.
    let all: Vec<_> = units.iter().zip(norms.iter().map(|norm| (norm / longest).powi(power))).collect();
    let first = mean_direction(&all)?;
    let similar: Vec<_> =
        all.iter().copied().filter(|(unit, _)| cosine(unit, &first) >= MIN_COSINE).collect();
    let (kept, vector) = match mean_direction(&similar) {
        Some(vector) => (similar, vector),
        None => (all, first),
    };
    let distances = kept.iter().map(|(unit, _)| (1.0 - cosine(unit, &vector)).max(0.0));
    let spread = distances.sum::<f32>() / kept.len() as f32;
    Some(Pooled { vector, n_crops: kept.len(), spread })
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
        let vectors: [&[f32]; 2] = [&[3.0, 0.0], &[0.0, 4.0]];
        let pooled = pool(&vectors, 1).unwrap();
        assert!(is_close(&pooled, &[0.6, 0.8]) && pooled.n_crops == 2);
        assert!((pooled.spread - 0.3).abs() < 1e-6);
        assert!(is_close(&pool(&vectors, 0).unwrap(), &[0.5_f32.sqrt(), 0.5_f32.sqrt()]));
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
