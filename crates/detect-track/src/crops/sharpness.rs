//! Sharpness of a crop: a measure of fine detail, 0 to 1.
//!
//! Source: variance of the Laplacian (Pech-Pacheco et al., "Diatom autofocusing in brightfield
//! microscopy", ICPR 2000) of the luma of BT.601. The result equals that of OpenCV's `cvtColor`, `Laplacian`
//! and `meanStdDev` bit for bit, because all values before the variance are integers.

use pulp::Arch;

/// Variance at which a crop counts as half sharp; about that of a well-lit face 60 pixels wide.
const HALF_SHARP: f64 = 100.0;

/// Sharpness of a square RGB picture, 0 to 1; `side` in pixels, at least 2.
pub(super) fn sharpness(rgb: &[u8], side: usize) -> f32 {
    let variance = Arch::new().dispatch(
        #[inline(always)]
        || variance_of_laplacian(&padded_luma(rgb, side), side),
    );
    (variance / (variance + HALF_SHARP)) as f32
}

/// Luma, 0 to 255, with a margin of one pixel on every side that mirrors the second outermost pixel.
#[inline(always)]
fn padded_luma(rgb: &[u8], side: usize) -> Vec<i16> {
    let stride = side + 2;
    let mut luma = vec![0; stride * stride];
    let (rows, inner) = (rgb.chunks_exact(side * 3), &mut luma[stride..]);
    for (row, out) in rows.zip(inner.chunks_exact_mut(stride)) {
        for (out, [r, g, b]) in out[1..].iter_mut().zip(row.as_chunks::<3>().0) {
            // The weights 0.299, 0.587 and 0.114 in 15 bits.
            let weighted = [(*r, 9798), (*g, 19235), (*b, 3735)];
            let sum = weighted.iter().fold(1 << 14, |sum: u32, (value, weight)| {
                sum.wrapping_add(u32::from(*value).wrapping_mul(*weight))
            });
            *out = (sum >> 15) as i16;
        }
        out[0] = out[2];
        out[side + 1] = out[side - 1];
    }
    luma.copy_within(2 * stride..3 * stride, 0);
    luma.copy_within((side - 1) * stride..side * stride, (side + 1) * stride);
    luma
}

/// Variance of the Laplacian: the sum of the four neighbours of a pixel minus four times the pixel.
#[inline(always)]
fn variance_of_laplacian(luma: &[i16], side: usize) -> f64 {
    let stride = side + 2;
    let (mut sum, mut square_sum) = (0_i64, 0_i64);
    for y in 1..=side {
        let row = |y: usize, x: usize| &luma[y * stride + x..][..side];
        let (above, below) = (row(y - 1, 1), row(y + 1, 1));
        let (left, middle, right) = (row(y, 0), row(y, 1), row(y, 2));
        // Both sums of a row fit into 32 bits, because |detail| is at most 1020.
        let (mut row_sum, mut row_square_sum) = (0_i32, 0_i32);
        for x in 0..side {
            let around = above[x].wrapping_add(below[x]).wrapping_add(left[x]).wrapping_add(right[x]);
            let detail = i32::from(around.wrapping_sub(middle[x].wrapping_mul(4)));
            row_sum = row_sum.wrapping_add(detail);
            row_square_sum = row_square_sum.wrapping_add(detail.wrapping_mul(detail));
        }
        sum += i64::from(row_sum);
        square_sum += i64::from(row_square_sum);
    }
    let share = 1.0 / (side * side) as f64;
    let mean = sum as f64 * share;
    // OpenCV returns the standard deviation. Its square may differ from the variance in the last bit.
    (square_sum as f64 * share - mean * mean).max(0.0).sqrt().powi(2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a grey square picture with the given pixel values.
    fn grey(side: usize, value: impl Fn(usize, usize) -> u8) -> Vec<u8> {
        (0..side * side).flat_map(|i| [value(i % side, i / side); 3]).collect()
    }

    #[test]
    fn a_plain_square_is_not_sharp() {
        assert_eq!(sharpness(&grey(9, |_, _| 200), 9), 0.0);
    }

    #[test]
    fn a_board_of_pixels_is_as_sharp_as_can_be() {
        let board = sharpness(&grey(32, |x, y| ((x + y) % 2 * 255) as u8), 32);
        // Every difference is 4 · 255 up or down.
        let variance = 1020.0_f64.powi(2);
        assert_eq!(board, (variance / (variance + HALF_SHARP)) as f32);
        assert!(board > sharpness(&grey(32, |x, y| ((x / 2 + y / 2) % 2 * 255) as u8), 32));
    }

    proptest! {
        /// Transposed and mirrored pictures have equal sharpness, and a doubled contrast does not reduce the
        /// sharpness.
        #[test]
        fn turning_does_not_matter(side in 2_usize..40, seed in any::<u64>()) {
            let value = |x: usize, y: usize| (seed.rotate_left((x * 5 + y * 11) as u32) % 128) as u8;
            let whole = sharpness(&grey(side, value), side);
            prop_assert!((0.0..=1.0).contains(&whole));
            prop_assert_eq!(sharpness(&grey(side, |x, y| value(y, x)), side), whole);
            prop_assert_eq!(sharpness(&grey(side, |x, y| value(side - 1 - x, y)), side), whole);
            prop_assert!(sharpness(&grey(side, |x, y| 2 * value(x, y)), side) >= whole);
        }
    }
}
