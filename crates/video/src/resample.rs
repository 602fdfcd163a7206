//! Planes at another size: means over areas where they shrink, linear interpolation where they grow.
//!
//! All arithmetic is on integers, so that every machine gives the same bytes. It wraps where it
//! cannot overflow anyway: checks would keep the loops from being vectorised.

use crate::planes::Plane;

/// Bits of a weight; the weights of one pixel sum to `1 << BITS`.
const BITS: u32 = 8;

/// Which source pixels make up each pixel along one axis.
struct Axis {
    from: usize,
    to: usize,
    /// Source pixels that count for one pixel, at most.
    taps: usize,
    /// First source pixel of each pixel.
    first: Vec<usize>,
    /// `taps` weights for each pixel.
    weights: Vec<u16>,
}

impl Axis {
    /// Every pixel is the mean over its own area or, where planes grow, over the area of one source
    /// pixel around its centre, which is linear interpolation. What lies outside counts as the
    /// outermost pixel.
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        let extent = scale.max(1.0);
        // An area that begins between two pixels touches one more.
        let taps = if from.is_multiple_of(to) { from / to } else { (extent.ceil() as usize + 1).min(from) };
        let (mut first, mut weights) = (Vec::with_capacity(to), Vec::with_capacity(to * taps));
        for i in 0..to {
            let begin = (i as f64 + 0.5) * scale - extent / 2.0;
            let start = (begin.max(0.0) as usize).min(from - taps);
            first.push(start);
            // Rounding the running sum, not each weight, makes the weights add up.
            let mut given = 0;
            for end in start + 1..=start + taps {
                let share = if end == from { 1.0 } else { ((end as f64 - begin) / extent).clamp(0.0, 1.0) };
                let sum = (share * f64::from(1 << BITS)).round() as u16;
                weights.push(sum - given);
                given = sum;
            }
        }
        Self { from, to, taps, first, weights }
    }
}

/// Resamples the rows of planes; keeps its tables while the sizes stay the same.
pub(crate) struct Resampler {
    across: Axis,
    down: Axis,
    /// One row of the new height, still of the old width, with [`BITS`] bits after the point.
    row: Vec<u16>,
}

impl Resampler {
    /// Between two sizes, width and height, all above zero.
    pub(crate) fn new(from: (usize, usize), to: (usize, usize)) -> Self {
        Self { across: Axis::new(from.0, to.0), down: Axis::new(from.1, to.1), row: vec![0; from.0] }
    }

    /// Whether it is for these sizes.
    pub(crate) fn fits(&self, from: (usize, usize), to: (usize, usize)) -> bool {
        (self.across.from, self.down.from) == from && (self.across.to, self.down.to) == to
    }

    /// Row `y` of the plane at its new size into `out`, as wide as the new size.
    #[inline(always)]
    pub(crate) fn row(&mut self, plane: &Plane<'_>, y: usize, out: &mut [u8]) {
        let Self { across, down, row } = self;
        row.fill(0);
        let weights = &down.weights[y * down.taps..][..down.taps];
        for (source_y, weight) in (down.first[y]..).zip(weights).filter(|(_, weight)| **weight > 0) {
            for (sum, byte) in row.iter_mut().zip(plane.row(source_y)) {
                *sum = sum.wrapping_add(weight.wrapping_mul(u16::from(*byte)));
            }
        }
        match (across.from.is_multiple_of(across.to), across.taps) {
            (true, 1) => gather_evenly::<1>(across, row, out),
            (true, 2) => gather_evenly::<2>(across, row, out),
            (true, 3) => gather_evenly::<3>(across, row, out),
            (true, 4) => gather_evenly::<4>(across, row, out),
            (false, 2) => gather::<2>(across, row, out),
            (false, 3) => gather::<3>(across, row, out),
            (false, 4) => gather::<4>(across, row, out),
            _ => gather_many(across, row, out),
        }
    }
}

/// For integer ratios: every pixel is computed in the same way, which vectorizes.
#[inline(always)]
fn gather_evenly<const TAPS: usize>(axis: &Axis, row: &[u16], out: &mut [u8]) {
    let Some(weights) = axis.weights.first_chunk::<TAPS>() else { return };
    for (out, taken) in out.iter_mut().zip(row.as_chunks::<TAPS>().0) {
        *out = mean(taken, weights);
    }
}

#[inline(always)]
fn gather<const TAPS: usize>(axis: &Axis, row: &[u16], out: &mut [u8]) {
    let weights = axis.weights.as_chunks::<TAPS>().0;
    for ((out, first), weights) in out.iter_mut().zip(&axis.first).zip(weights) {
        *out = mean(&row[*first..][..TAPS], weights);
    }
}

#[inline(always)]
fn gather_many(axis: &Axis, row: &[u16], out: &mut [u8]) {
    let weights = axis.weights.chunks_exact(axis.taps);
    for ((out, first), weights) in out.iter_mut().zip(&axis.first).zip(weights) {
        *out = mean(&row[*first..][..axis.taps], weights);
    }
}

#[inline(always)]
fn mean(values: &[u16], weights: &[u16]) -> u8 {
    let half = 1 << (2 * BITS - 1);
    let products = values.iter().zip(weights).map(|(v, w)| u32::from(*v).wrapping_mul(u32::from(*w)));
    (products.fold(half, u32::wrapping_add) >> (2 * BITS)) as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resampled(data: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
        let plane = Plane { data, stride: from.0, width: from.0, height: from.1 };
        let mut resampler = Resampler::new(from, to);
        let mut out = vec![0; to.0 * to.1];
        out.chunks_exact_mut(to.0).enumerate().for_each(|(y, row)| resampler.row(&plane, y, row));
        out
    }

    #[test]
    fn shrinking_gives_means_of_areas() {
        assert_eq!(resampled(&[0, 100, 50, 250], (4, 1), (2, 1)), [50, 150]);
        assert_eq!(resampled(&[0, 100, 50, 250], (2, 2), (1, 1)), [100]);
        // Two thirds of a pixel and the whole next one, and so on: areas of one and a half.
        assert_eq!(resampled(&[0, 90, 180], (3, 1), (2, 1)), [30, 150]);
        assert_eq!(resampled(&[9; 70], (10, 7), (3, 2)), [9; 6]);
    }

    #[test]
    fn growing_interpolates_between_centres() {
        assert_eq!(resampled(&[0, 100], (2, 1), (4, 1)), [0, 25, 75, 100]);
        assert_eq!(resampled(&[7], (1, 1), (3, 2)), [7; 6]);
    }

    proptest! {
        /// Exact area means, or interpolation, in floating point, within the rounding of weights: half
        /// a level for each pixel that counts.
        #[test]
        fn agrees_with_the_definition(from in 1_usize..40, to in 1_usize..40, seed in any::<u64>()) {
            let data: Vec<u8> = (0..from as u64).map(|i| (seed.rotate_left(i as u32 * 7) >> 3) as u8).collect();
            let scale = from as f64 / to as f64;
            let extent = scale.max(1.0);
            for (i, found) in resampled(&data, (from, 1), (to, 1)).into_iter().enumerate() {
                let begin = (i as f64 + 0.5) * scale - extent / 2.0;
                let (mut sum, steps) = (0.0, 2000);
                for step in 0..steps {
                    let at = begin + (f64::from(step) + 0.5) / f64::from(steps) * extent;
                    sum += f64::from(data[(at.max(0.0) as usize).min(from - 1)]);
                }
                let tolerance = 1.5 + (extent.ceil() + 1.0) / 2.0;
                let expected = sum / f64::from(steps);
                prop_assert!((expected - f64::from(found)).abs() < tolerance, "{i}: {found}, not {expected}");
            }
        }
    }
}
