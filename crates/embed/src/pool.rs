//! The crops of a track to one vector.

use schema::UnitVector;

/// A track's vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Of unit norm.
    pub vector: UnitVector,
    /// Mean cosine distance of the crops to it, 0 to 2.
    pub spread: f32,
}

/// Sums raw vectors, so that each counts by its norm: networks trained with a margin loss give
/// blurred and turned faces short vectors (Meng et al., MagFace, CVPR 2021). `None` when there is
/// no vector, or when they cancel out.
pub fn pool(vectors: &[&[f32]]) -> Option<Pooled> {
    let mut sum = vec![0.0_f32; vectors.first()?.len()];
    for vector in vectors {
        sum.iter_mut().zip(*vector).for_each(|(sum, x)| *sum += x);
    }
    let pooled = UnitVector::normalised(&sum)?;
    let distance = |vector: &[f32]| {
        let unit = UnitVector::normalised(vector)?;
        let cosine: f32 = unit.as_slice().iter().zip(pooled.as_slice()).map(|(a, b)| a * b).sum();
        Some((1.0 - cosine).max(0.0))
    };
    let distances: Option<Vec<f32>> = vectors.iter().map(|v| distance(v)).collect();
    let spread = distances?.iter().sum::<f32>() / vectors.len() as f32;
    Some(Pooled { vector: pooled, spread })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn longer_vectors_count_for_more() {
        let pooled = pool(&[&[3.0, 0.0], &[0.0, 4.0]]).unwrap();
        assert!((pooled.vector.as_slice()[0] - 0.6).abs() < 1e-6);
        assert!((pooled.vector.as_slice()[1] - 0.8).abs() < 1e-6);
        assert!((pooled.spread - 0.3).abs() < 1e-6);
    }

    #[test]
    fn one_crop_is_itself() {
        let pooled = pool(&[&[0.0, 2.0]]).unwrap();
        assert_eq!((pooled.vector.as_slice(), pooled.spread), ([0.0, 1.0].as_slice(), 0.0));
    }

    #[test]
    fn nothing_pools_to_nothing() {
        assert_eq!(pool(&[]), None);
        assert_eq!(pool(&[&[1.0, 0.0], &[-1.0, 0.0]]), None);
    }
}
