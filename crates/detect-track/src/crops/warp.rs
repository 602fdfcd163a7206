//! An affine warp of a picture: bilinear samples at fixed-point positions.
//!
//! The result equals that of OpenCV's `warpAffine` with `INTER_LINEAR` and `BORDER_REPLICATE`, bit for bit.
//! A position is the sum of a step along the row and a step along the column, both rounded to 1/1024 of
//! a pixel, and the sum is rounded to 1/32. Weights are therefore multiples of 1/1024, the sum of four
//! weighted bytes fits into 18 bits, and everything after the steps is exact integer arithmetic.

use pulp::Arch;
use video::Image;

/// Bits after the point of a step along a row or a column.
const STEP_BITS: u32 = 10;
/// Bits after the point of a sampling position.
const POSITION_BITS: u32 = 5;
/// Sampling positions per pixel.
const POSITIONS: i32 = 1 << POSITION_BITS;
/// Number of pixels of a row that are computed together.
const BLOCK: usize = 32;

/// Warps an RGB picture into a square of `side × side` pixels by the affine map from the picture to the square,
/// `matrix` (2 × 3, row by row; pixels with the origin at the centre of the first pixel). Positions outside the picture
/// take the nearest pixel of its border.
pub(super) fn warped(picture: &Image, matrix: [f64; 6], side: usize) -> Vec<u8> {
    Arch::new().dispatch(
        #[inline(always)]
        || warp(picture, matrix, side),
    )
}

#[inline(always)]
fn warp(picture: &Image, matrix: [f64; 6], side: usize) -> Vec<u8> {
    let [a, b, c, d, e, f] = inverse(matrix);
    // Steps of whole blocks, so that all blocks of pixels can be computed in the same way.
    let steps = |slope: f64| (0..side.next_multiple_of(BLOCK)).map(move |x| fixed(slope * x as f64));
    let (steps_x, steps_y): (Vec<_>, Vec<_>) = (steps(a).collect(), steps(d).collect());
    let (steps_x, steps_y) = (steps_x.as_chunks().0, steps_y.as_chunks().0);
    let mut warped = vec![0; side * side * 3];
    for (y, row) in warped.chunks_exact_mut(side * 3).enumerate() {
        let (start_x, start_y) = (fixed(b * y as f64 + c), fixed(e * y as f64 + f));
        for (out, steps) in row.chunks_mut(BLOCK * 3).zip(steps_x.iter().zip(steps_y)) {
            let (x, y) = (positions(start_x, steps.0), positions(start_y, steps.1));
            let pixels = out.as_chunks_mut::<3>().0;
            let blended = blend(&corners(picture, &x, &y, pixels.len()), &x, &y);
            for (pixel, word) in pixels.iter_mut().zip(blended) {
                let [r, g, b, _] = word.to_le_bytes();
                *pixel = [r, g, b];
            }
        }
    }
    warped
}

/// Returns the map from the square back to the picture; all zeros for a singular map.
fn inverse([a, b, c, d, e, f]: [f64; 6]) -> [f64; 6] {
    let determinant = a * e - b * d;
    let reciprocal = if determinant == 0.0 { 0.0 } else { 1.0 / determinant };
    let (a, b, d, e) = (e * reciprocal, b * -reciprocal, d * -reciprocal, a * reciprocal);
    [a, b, -a * c - b * f, d, e, -d * c - e * f]
}

/// Returns a length in pixels with [`STEP_BITS`] bits after the point; halves are rounded to even. Lengths are
/// clamped to half a million pixels, far outside every picture, so that the sum of two lengths cannot overflow.
#[inline(always)]
fn fixed(pixels: f64) -> i32 {
    const FARTHEST: f64 = (1 << 29) as f64;
    (pixels * f64::from(1 << STEP_BITS)).round_ties_even().clamp(-FARTHEST, FARTHEST) as i32
}

/// Returns the sampling positions of a block along one axis, pixels with [`POSITION_BITS`] bits after the point.
#[inline(always)]
fn positions(start: i32, steps: &[i32; BLOCK]) -> [i32; BLOCK] {
    let start = start.wrapping_add(1 << (STEP_BITS - POSITION_BITS - 1));
    let mut positions = *steps;
    for position in &mut positions {
        *position = start.wrapping_add(*position) >> (STEP_BITS - POSITION_BITS);
    }
    positions
}

/// The four pixels around each position of a block, one pixel per number: red in the lowest byte; the highest
/// byte is unused.
struct Corners {
    upper_left: [u32; BLOCK],
    upper_right: [u32; BLOCK],
    lower_left: [u32; BLOCK],
    lower_right: [u32; BLOCK],
}

/// The pixels around the first `count` positions of a block.
#[inline(always)]
fn corners(picture: &Image, x: &[i32; BLOCK], y: &[i32; BLOCK], count: usize) -> Corners {
    const OUTSIDE: u32 = u32::MAX;
    let none = [0; BLOCK];
    let mut corners = Corners { upper_left: none, upper_right: none, lower_left: none, lower_right: none };
    let (width, height) = (picture.width as i32, picture.height as i32);
    let mut starts = [OUTSIDE; BLOCK];
    for i in 0..BLOCK {
        let (left, top) = (x[i] >> POSITION_BITS, y[i] >> POSITION_BITS);
        let is_inside = (left >= 0) & (left < width - 1) & (top >= 0) & (top < height - 1);
        let start = top.wrapping_mul(width).wrapping_add(left).wrapping_mul(3) as u32;
        starts[i] = if is_inside { start } else { OUTSIDE };
    }
    // From the upper left pixel to two bytes after the lower right one; `max` tells the compiler that there
    // are eight bytes.
    let span = (picture.width * 3 + 8).max(8);
    for i in 0..count.min(BLOCK) {
        let around = picture.data.get(starts[i] as usize..).and_then(|data| data.get(..span));
        let [upper, lower] = match around.map(|around| (around.first_chunk(), around.last_chunk())) {
            Some((Some(upper), Some(lower))) => [*upper, *lower].map(u64::from_le_bytes),
            _ => outermost(picture, x[i] >> POSITION_BITS, y[i] >> POSITION_BITS),
        };
        corners.upper_left[i] = upper as u32;
        corners.upper_right[i] = (upper >> 24) as u32;
        corners.lower_left[i] = lower as u32;
        corners.lower_right[i] = (lower >> 24) as u32;
    }
    corners
}

/// Returns the upper and the lower pair of pixels; positions outside the picture take the nearest pixel of its border.
#[cold]
fn outermost(picture: &Image, left: i32, top: i32) -> [u64; 2] {
    let column = |x: i32| x.clamp(0, picture.width as i32 - 1) as usize;
    let row = |y: i32| y.clamp(0, picture.height as i32 - 1) as usize * picture.width;
    [row(top), row(top.saturating_add(1))].map(|row| {
        let pixel = |column: usize| &picture.data[(row + column) * 3..][..3];
        let mut pair = [0; 8];
        pair[..3].copy_from_slice(pixel(column(left)));
        pair[3..6].copy_from_slice(pixel(column(left.saturating_add(1))));
        u64::from_le_bytes(pair)
    })
}

/// The weighted means of the pixels around each position.
#[inline(always)]
fn blend(corners: &Corners, x: &[i32; BLOCK], y: &[i32; BLOCK]) -> [u32; BLOCK] {
    let mut blended = [0; BLOCK];
    for i in 0..BLOCK {
        let (right_weight, lower_weight) = (x[i] & (POSITIONS - 1), y[i] & (POSITIONS - 1));
        for shift in [0, 8, 16] {
            let value = |corner: &[u32; BLOCK]| (corner[i] >> shift & 255) as i32;
            let upper = between(value(&corners.upper_left), value(&corners.upper_right), right_weight);
            let lower = between(value(&corners.lower_left), value(&corners.lower_right), right_weight);
            let sum = between(upper, lower, lower_weight).wrapping_add(1 << (2 * POSITION_BITS - 1));
            blended[i] |= ((sum >> (2 * POSITION_BITS)) as u32) << shift;
        }
    }
    blended
}

/// `first · (32 − weight) + second · weight`, which cannot overflow for sums of weighted bytes.
#[inline(always)]
fn between(first: i32, second: i32, weight: i32) -> i32 {
    (first << POSITION_BITS).wrapping_add(second.wrapping_sub(first).wrapping_mul(weight))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIDE: usize = 20;

    fn warped(picture: &Image, matrix: [f64; 6]) -> Vec<u8> {
        super::warped(picture, matrix, SIDE)
    }

    fn pictures() -> impl Strategy<Value = Image> {
        let of_size = |(width, height): (usize, usize)| {
            let data = prop::collection::vec(any::<u8>(), width * height * 3);
            data.prop_map(move |data| Image { width, height, channels: 3, data })
        };
        (1_usize..40, 1_usize..40).prop_flat_map(of_size)
    }

    fn matrices() -> impl Strategy<Value = [f64; 6]> {
        let (linear, shift) = (-3.0..3.0, -60.0..60.0);
        (prop::array::uniform4(linear), prop::array::uniform2(shift))
            .prop_map(|([a, b, d, e], [c, f])| [a, b, c, d, e, f])
    }

    proptest! {
        /// A shift by whole pixels copies pixels, and repeats the outermost ones.
        #[test]
        fn whole_shifts_copy_pixels(picture in pictures(), left in -50_i32..50, top in -50_i32..50) {
            let found = warped(&picture, [1.0, 0.0, f64::from(-left), 0.0, 1.0, f64::from(-top)]);
            for (i, pixel) in found.chunks_exact(3).enumerate() {
                let within = |at: usize, from: i32, size: usize| (at as i32 + from).clamp(0, size as i32 - 1);
                let x = within(i % SIDE, left, picture.width) as usize;
                let y = within(i / SIDE, top, picture.height) as usize;
                prop_assert_eq!(pixel, &picture.data[(y * picture.width + x) * 3..][..3]);
            }
        }

        /// No sample is darker or brighter than the picture.
        #[test]
        fn samples_are_means(picture in pictures(), matrix in matrices()) {
            let warped = warped(&picture, matrix);
            for channel in 0..3 {
                let values = |data: &[u8]| data.iter().skip(channel).step_by(3).copied().collect::<Vec<_>>();
                let (from, to) = (values(&picture.data), values(&warped));
                prop_assert!(from.iter().min() <= to.iter().min());
                prop_assert!(from.iter().max() >= to.iter().max());
            }
        }

        /// Within a rounding of the position and of the value, samples are those of the definition.
        #[test]
        fn samples_are_bilinear(matrix in matrices(), slope in 0_u8..5) {
            let (width, height) = (50, 50);
            let value = |x: usize, y: usize| [slope * x as u8, slope * y as u8, 7];
            let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| value(x, y))).collect();
            let found = warped(&Image { width, height, channels: 3, data }, matrix);
            // The inverse of a nearly singular map leads farther than positions reach.
            prop_assume!((matrix[0] * matrix[4] - matrix[1] * matrix[3]).abs() > 0.01);
            let [a, b, c, d, e, f] = inverse(matrix);
            // Positions are rounded to 1/32 of a pixel after two roundings to 1/1024.
            let tolerance = f64::from(slope) * (1.0 / 64.0 + 1.0 / 1024.0) + 0.501;
            for (i, pixel) in found.chunks_exact(3).enumerate() {
                let (x, y) = ((i % SIDE) as f64, (i / SIDE) as f64);
                for (at, found) in [a * x + b * y + c, d * x + e * y + f].into_iter().zip(pixel) {
                    let expected = f64::from(slope) * at.clamp(0.0, 49.0);
                    prop_assert!((expected - f64::from(*found)).abs() <= tolerance, "{expected} {found}");
                }
            }
        }

        /// The inverse map undoes the map.
        #[test]
        fn inverses_undo(matrix in matrices(), x in 0.0..99.0, y in 0.0..99.0) {
            let map = |[a, b, c, d, e, f]: [f64; 6], x: f64, y: f64| (a * x + b * y + c, d * x + e * y + f);
            let [a, b, _, d, e, _] = matrix;
            prop_assume!((a * e - b * d).abs() > 0.01);
            let (to_x, to_y) = map(matrix, x, y);
            let (back_x, back_y) = map(inverse(matrix), to_x, to_y);
            prop_assert!((back_x - x).abs() < 1e-6 && (back_y - y).abs() < 1e-6);
        }
    }

    #[test]
    fn a_map_onto_a_line_gives_one_pixel() {
        let picture = Image { width: 2, height: 1, channels: 3, data: vec![1, 2, 3, 4, 5, 6] };
        let found = warped(&picture, [1.0, 1.0, 0.0, 1.0, 1.0, 0.0]);
        assert!(found.chunks_exact(3).all(|pixel| pixel == [1, 2, 3]), "{found:?}");
    }

    #[test]
    fn far_positions_take_the_outermost_pixel() {
        let picture = Image { width: 2, height: 1, channels: 3, data: vec![1, 2, 3, 4, 5, 6] };
        for (shift, expected) in [(-1e12, [4, 5, 6]), (1e12, [1, 2, 3]), (f64::NAN, [1, 2, 3])] {
            let found = warped(&picture, [1.0, 0.0, shift, 0.0, 1.0, 0.0]);
            assert_eq!(found[..3], expected, "{shift}");
        }
    }
}
