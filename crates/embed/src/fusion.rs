//! `fusion`: the unit vectors of several networks, weighed, one behind the other.
//!
//! The cosine of two fused vectors is the mean of the parts' cosines, weighed by the squares of their weights.

use candle_core::{Device, Tensor};

use numeric::vector::norm;

use crate::Embedder;
use crate::spec::{EmbedderSpec, Source};

/// The embedder `fusion`, in its default proportions.
pub const SPEC: EmbedderSpec =
    EmbedderSpec { same_up_to: Some(0.40), ..EmbedderSpec::new("fusion", 0, Source::Fusion) };

/// Several embedders as one.
pub struct Fusion {
    /// With how much each counts; the one that counts most comes first.
    parts: Vec<(Box<dyn Embedder>, f32)>,
    license: String,
}

impl Fusion {
    /// Joins embedders, each with its weight, above 0.
    pub fn new(mut parts: Vec<(Box<dyn Embedder>, f32)>) -> Self {
        parts.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut licenses: Vec<_> = parts.iter().map(|(part, _)| part.license()).collect();
        licenses.sort_unstable();
        licenses.dedup();
        let license = licenses.join(" AND ");
        Self { parts, license }
    }

    /// The parts' vectors of all crops.
    fn vectors(part: &dyn Embedder, crops: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        let (count, side, _, _) = crops.dims4()?;
        let prepare = |i| {
            let rgb: Vec<u8> = crops.get(i)?.flatten_all()?.to_vec1()?;
            part.prepare(&rgb, side).map_err(candle_core::Error::Msg)
        };
        let inputs: Vec<_> = (0..count).map(prepare).collect::<candle_core::Result<_>>()?;
        part.embed(&Tensor::cat(&inputs, 0)?)
    }
}

impl Embedder for Fusion {
    fn spec(&self) -> &'static EmbedderSpec {
        &SPEC
    }

    fn dim(&self) -> usize {
        self.parts.iter().map(|(part, _)| part.dim()).sum()
    }

    /// Those of all parts.
    fn license(&self) -> &str {
        &self.license
    }

    fn batch(&self) -> usize {
        self.parts.iter().map(|(part, _)| part.batch()).max().unwrap_or(1)
    }

    /// The crop itself, `(1, side, side, 3)`, u8. A crop that a part cannot use is an error here, where the
    /// crop is still known.
    fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String> {
        self.parts.iter().try_for_each(|(part, _)| part.prepare(rgb, side).map(drop))?;
        Tensor::from_slice(rgb, (1, side, side, 3), &Device::Cpu).map_err(|e| e.to_string())
    }

    /// The norm is that of the first part's vector, which says how clear the face is.
    fn embed(&self, crops: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        let mut fused = vec![Vec::with_capacity(self.dim()); crops.dim(0)?];
        let mut clear = Vec::new();
        for (part, weight) in &self.parts {
            let vectors = Self::vectors(part.as_ref(), crops)?;
            let norms: Vec<f32> = vectors.iter().map(|v| norm(v).max(f32::MIN_POSITIVE)).collect();
            for ((fused, vector), norm) in fused.iter_mut().zip(&vectors).zip(&norms) {
                fused.extend(vector.iter().map(|x| x / norm * weight));
            }
            if clear.is_empty() {
                clear = norms;
            }
        }
        let whole = self.parts.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
        for (vector, norm) in fused.iter_mut().zip(&clear) {
            vector.iter_mut().for_each(|x| *x *= norm / whole);
        }
        Ok(fused)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const CONSTANT: EmbedderSpec = EmbedderSpec {
        name: "constant",
        dim: 0,
        source: Source::Fusion,
        same_up_to: None,
        similarity: None,
        quality: None,
    };

    /// Gives every crop the vector, times the crop's first byte.
    struct Constant(&'static [f32]);

    impl Embedder for Constant {
        fn spec(&self) -> &'static EmbedderSpec {
            &CONSTANT
        }

        fn dim(&self) -> usize {
            self.0.len()
        }

        fn license(&self) -> &'static str {
            "MIT"
        }

        fn prepare(&self, rgb: &[u8], _side: usize) -> Result<Tensor, String> {
            Tensor::from_slice(&[f32::from(rgb[0])], (1, 1), &Device::Cpu).map_err(|e| e.to_string())
        }

        fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
            let scales: Vec<Vec<f32>> = inputs.to_vec2()?;
            Ok(scales.iter().map(|scale| self.0.iter().map(|x| x * scale[0]).collect()).collect())
        }
    }

    #[test]
    fn parts_stand_behind_each_other_by_weight() {
        let fusion =
            Fusion::new(vec![(Box::new(Constant(&[0.0, 5.0])), 3.0), (Box::new(Constant(&[2.0])), 4.0)]);
        assert_eq!((fusion.dim(), fusion.license()), (3, "MIT"));
        let crop = |value: u8| fusion.prepare(&[value; 12], 2).unwrap();
        let crops = Tensor::cat(&[crop(1), crop(10)], 0).unwrap();
        let vectors = fusion.embed(&crops).unwrap();
        // Of norm 2 and 20, as the vectors of the part that counts most; directions are 4 to 3.
        for (vector, norm) in vectors.iter().zip([2.0, 20.0]) {
            let expected = [0.8 * norm, 0.0, 0.6 * norm];
            assert!(vector.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{vector:?}");
        }
    }
}
