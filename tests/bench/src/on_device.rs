//! An embedding network on a device: with its input there already or brought there, and compared with the CPU.

use std::thread;
use std::time::Instant;

use candle_core::Tensor;
use embed::Embedder as _;
use nn::device::Place;
use serde_json::{Value, json};

use crate::Result;
use crate::networks::Network;

/// Side of the matrices whose product gives the peak of a card: their 10^12 operations keep it busy for milliseconds.
pub(crate) const MATRIX_SIDE: usize = 8192;

/// A network and where it runs.
pub(crate) struct OnDevice {
    pub(crate) network: embed::Network,
    pub(crate) place: Place,
    /// The same network on the CPU.
    pub(crate) on_cpu: embed::Network,
    /// Whether inputs are on the device before they are passed and vectors stay there.
    pub(crate) is_resident: bool,
}

impl Network for OnDevice {
    fn most(&self) -> usize {
        if self.place.device().is_cpu() { self.network.batch() } else { usize::MAX }
    }

    fn input(&self, number: usize) -> Result<Tensor> {
        let input = Network::input(&self.network, number)?;
        Ok(if self.is_resident { self.place.put(&input)? } else { input })
    }

    fn pass(&self, inputs: &Tensor) -> candle_core::Result<()> {
        if self.is_resident {
            self.network.graph().forward(inputs)?;
            return self.place.device().synchronize();
        }
        self.network.embed(inputs).map(drop)
    }

    fn macs(&self) -> Result<usize> {
        Ok(self.network.graph().multiplications(Network::input(&self.network, 0)?.shape())?)
    }

    fn parity(&self, batch: usize, threads: usize) -> Result<Value> {
        let inputs: Vec<_> = (0..batch).map(|i| Network::input(&self.network, i)).collect::<Result<_>>()?;
        let found = self.network.embed(&Tensor::cat(&inputs, 0)?)?;
        // A vector of the CPU does not depend on what shares its batch.
        let part = |part: &[Tensor]| self.on_cpu.embed(&Tensor::cat(part, 0)?);
        let expected = thread::scope(|scope| {
            let workers: Vec<_> = inputs
                .chunks(batch.div_ceil(threads))
                .map(|chunk| scope.spawn(move || part(chunk)))
                .collect();
            let joined = workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked"));
            joined.map(|vectors| Ok(vectors??)).collect::<Result<Vec<_>>>()
        })?;
        Ok(differences(&found, &expected.concat()))
    }
}

/// The largest distance of vectors, 1 − cosine, and the largest difference of their values; null where it is not finite.
fn differences(found: &[Vec<f32>], expected: &[Vec<f32>]) -> Value {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    // `f64::max` would drop a NaN.
    let larger = |a: f64, b: f64| if b.is_nan() || b > a { b } else { a };
    let pairs = || found.iter().zip(expected);
    let distances = pairs().map(|(a, b)| 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt());
    let values = pairs().flat_map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())));
    json!({ "distance": distances.fold(0.0, larger), "difference": values.fold(0.0, larger) })
}

/// Operations a second of the device in the product of two matrices, in the precision of `place`; the best of several.
pub(crate) fn product_flops(place: &Place, side: usize) -> Result<f64> {
    let device = place.device();
    let matrix = place.put(&Tensor::rand(-1.0_f32, 1.0, (side, side), device)?)?;
    let mut best = 0.0_f64;
    for _ in 0..20 {
        device.synchronize()?;
        let started = Instant::now();
        let _product = matrix.matmul(&matrix)?;
        device.synchronize()?;
        best = best.max(2.0 * (side as f64).powi(3) / started.elapsed().as_secs_f64());
    }
    Ok(best)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use nn::device::{Choice, Precision};

    use super::*;
    use crate::networks;

    #[test]
    fn differences_are_the_largest_and_not_lost_where_a_value_overflowed() {
        let expected = [vec![1.0, 0.0], vec![0.0, 2.0]];
        let found = differences(&[vec![1.0, 0.0], vec![2.0, 0.0]], &expected);
        assert_eq!(found, json!({ "distance": 1.0, "difference": 2.0 }));
        let found = differences(&[vec![f32::INFINITY, 0.0], vec![0.0, 2.0]], &expected);
        assert_eq!(found, json!({ "distance": null, "difference": null }));
    }

    #[test]
    fn the_cpu_equals_itself() {
        let place = Place::open(Choice::Cpu, Precision::Single).unwrap();
        let network = || networks::embedder("mobilefacenet", None, &place).unwrap();
        for is_resident in [false, true] {
            let (network, on_cpu, place) = (network(), network(), place.clone());
            let network = OnDevice { network, place, on_cpu, is_resident };
            let input = Network::input(&network, 0).unwrap();
            network.pass(&input).unwrap();
            assert_eq!(network.parity(3, 2).unwrap()["difference"], json!(0.0));
            assert!((200e6..600e6).contains(&(network.macs().unwrap() as f64)));
        }
        assert!(product_flops(&place, 16).unwrap() > 0.0);
    }
}
