//! Shrinking of pictures by area averaging: every pixel is the mean of the area of the original that the pixel covers.
//!
//! The result has the same bytes as that of OpenCV's `resize` with `INTER_AREA` for 8-bit pictures. If both
//! factors are whole numbers, the sums are integers. Otherwise the pixels of each row are averaged first, then
//! the rows, in single precision: rounding depends on this order.

use pulp::Arch;
use video::Image;

/// Smallest share of a pixel that counts in an area, 0 to 1; smaller shares are left out.
const NEGLIGIBLE: f64 = 1e-3;

/// Shrinks an RGB picture to `width × height` pixels, each from 1 to that of the picture.
pub(crate) fn shrink(picture: &Image, width: usize, height: usize) -> Image {
    let factors = (whole_factor(picture.width, width), whole_factor(picture.height, height));
    let data = Arch::new().dispatch(
        #[inline(always)]
        || match factors {
            (Some(2), Some(2)) => halved(picture),
            (Some(across), Some(down)) => shrunk_evenly(picture, across, down),
            _ => shrunk(picture, width, height),
        },
    );
    Image { width, height, channels: 3, data }
}

/// Returns the number of pixels along an axis that become one; `None` if the number is not whole.
fn whole_factor(from: usize, to: usize) -> Option<usize> {
    let factor = factor(from, to);
    ((factor - factor.round_ties_even()).abs() < f64::EPSILON).then_some(factor.round_ties_even() as usize)
}

/// Returns the number of pixels along an axis that become one, as OpenCV computes it: the reciprocal of `to / from`,
/// which may differ from `from / to` in the last bit.
fn factor(from: usize, to: usize) -> f64 {
    1.0 / (to as f64 / from as f64)
}

/// Means of 2×2 pixels; halves are rounded up.
#[inline(always)]
fn halved(picture: &Image) -> Vec<u8> {
    let mut data = Vec::with_capacity(picture.data.len() / 4);
    for rows in picture.data.chunks_exact(picture.width * 6) {
        let (upper, lower) = rows.split_at(picture.width * 3);
        for (upper, lower) in upper.as_chunks::<6>().0.iter().zip(lower.as_chunks::<6>().0) {
            data.extend([0, 1, 2].map(|i| {
                let pixels = [upper[i], upper[i + 3], lower[i], lower[i + 3]];
                (pixels.map(u16::from).iter().fold(2, |sum: u16, byte| sum.wrapping_add(*byte)) >> 2) as u8
            }));
        }
    }
    data
}

/// Means of `across × down` pixels; halves are rounded to even.
#[inline(always)]
fn shrunk_evenly(picture: &Image, across: usize, down: usize) -> Vec<u8> {
    let share = 1.0 / (across * down) as f32;
    let mut data = Vec::with_capacity(picture.data.len() / (across * down));
    let mut sums = vec![0_u32; picture.width * 3];
    for rows in picture.data.chunks_exact(picture.width * 3 * down) {
        sums.fill(0);
        for row in rows.chunks_exact(picture.width * 3) {
            for (sum, byte) in sums.iter_mut().zip(row) {
                *sum = sum.wrapping_add(u32::from(*byte));
            }
        }
        for pixels in sums.as_chunks::<3>().0.chunks_exact(across) {
            let mut sum = [0_u32; 3];
            for pixel in pixels {
                sum = [0, 1, 2].map(|i| sum[i].wrapping_add(pixel[i]));
            }
            data.extend(sum.map(|sum| byte(sum as f32 * share)));
        }
    }
    data
}

/// Means of areas of any size.
#[inline(always)]
fn shrunk(picture: &Image, width: usize, height: usize) -> Vec<u8> {
    let (columns, rows) = (areas(picture.width, width), areas(picture.height, height));
    let mut data = vec![0; width * height * 3];
    let mut sums = vec![[0.0_f32; 3]; width];
    for (out, area) in data.chunks_exact_mut(width * 3).zip(&rows) {
        sums.fill([0.0; 3]);
        for (y, row_share) in (area.first..).zip(&area.shares) {
            let row = &picture.data[y * picture.width * 3..][..picture.width * 3];
            let pixels = row.as_chunks::<3>().0;
            for (sum, area) in sums.iter_mut().zip(&columns) {
                let mut mean = [0.0; 3];
                for (pixel, share) in pixels[area.first..].iter().zip(&area.shares) {
                    mean = [0, 1, 2].map(|i| mean[i] + f32::from(pixel[i]) * share);
                }
                *sum = [0, 1, 2].map(|i| sum[i] + row_share * mean[i]);
            }
        }
        for (pixel, sum) in out.as_chunks_mut::<3>().0.iter_mut().zip(&sums) {
            *pixel = sum.map(byte);
        }
    }
    data
}

/// Pixels of the original that become one pixel along an axis.
struct Area {
    /// Index of the first pixel.
    first: usize,
    /// Weights of the pixels from `first` on; their sum is about 1.
    shares: Vec<f32>,
}

/// Returns the area of every pixel of the result along an axis that shrinks from `from` to `to` pixels.
fn areas(from: usize, to: usize) -> Vec<Area> {
    let factor = factor(from, to);
    let area = |i: usize| {
        let begin = i as f64 * factor;
        let end = begin + factor;
        let length = factor.min(from as f64 - begin);
        let last = (end.floor() as usize).min(from - 1);
        let first_whole = (begin.ceil() as usize).min(last);
        let mut first = first_whole;
        let mut shares = Vec::with_capacity(last + 2 - first);
        if first_whole as f64 - begin > NEGLIGIBLE {
            first -= 1;
            shares.push(((first_whole as f64 - begin) / length) as f32);
        }
        shares.extend((first_whole..last).map(|_| (1.0 / length) as f32));
        if end - last as f64 > NEGLIGIBLE {
            shares.push(((end - last as f64).min(1.0).min(length) / length) as f32);
        }
        Area { first, shares }
    };
    (0..to).map(area).collect()
}

/// The nearest byte; halves are rounded to even.
#[inline(always)]
fn byte(value: f32) -> u8 {
    value.round_ties_even() as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A grey picture.
    fn grey(width: usize, height: usize, values: &[u8]) -> Image {
        Image { width, height, channels: 3, data: values.iter().flat_map(|value| [*value; 3]).collect() }
    }

    #[test]
    fn pixels_are_means_of_areas() {
        assert_eq!(shrink(&grey(4, 1, &[0, 100, 50, 250]), 2, 1), grey(2, 1, &[50, 150]));
        assert_eq!(shrink(&grey(2, 2, &[0, 100, 50, 250]), 1, 1), grey(1, 1, &[100]));
        // One pixel and a half each.
        assert_eq!(shrink(&grey(3, 1, &[0, 90, 180]), 2, 1), grey(2, 1, &[30, 150]));
        assert_eq!(shrink(&grey(10, 7, &[9; 70]), 3, 2), grey(3, 2, &[9; 6]));
    }

    /// As OpenCV rounds: halves up where four pixels become one, else to even.
    #[test]
    fn halves_are_rounded() {
        assert_eq!(shrink(&grey(2, 2, &[0, 1, 0, 1]), 1, 1), grey(1, 1, &[1]));
        assert_eq!(shrink(&grey(2, 1, &[0, 1]), 1, 1), grey(1, 1, &[0]));
        assert_eq!(shrink(&grey(2, 1, &[1, 2]), 1, 1), grey(1, 1, &[2]));
    }

    proptest! {
        /// Every area lies within the picture, and its weights sum to 1.
        #[test]
        fn shares_add_up(from in 1_usize..5000, share in 0.0..1.0_f64) {
            let to = ((from as f64 * share) as usize).max(1);
            let areas = areas(from, to);
            prop_assert_eq!(areas.len(), to);
            for Area { first, shares } in &areas {
                let sum: f64 = shares.iter().map(|share| f64::from(*share)).sum();
                // A share below a thousandth is left out.
                prop_assert!((sum - 1.0).abs() < 2.0 * NEGLIGIBLE, "{sum}");
                prop_assert!(!shares.is_empty() && first + shares.len() <= from);
            }
        }

        /// The mean of a picture stays what it is, within the rounding of its pixels.
        #[test]
        fn the_mean_stays(
            (width, height) in (1_usize..60, 1_usize..60),
            (across, down) in (0.0..1.0_f64, 0.0..1.0_f64),
            seed in any::<u64>(),
        ) {
            let value = |i: usize| (seed.rotate_left(i as u32 * 7) >> 3) as u8;
            let picture = grey(width, height, &(0..width * height).map(value).collect::<Vec<_>>());
            let to = |side: usize, share: f64| ((side as f64 * share) as usize).max(1);
            let small = shrink(&picture, to(width, across), to(height, down));
            let mean = |data: &[u8]| data.iter().map(|byte| f64::from(*byte)).sum::<f64>() / data.len() as f64;
            prop_assert!((mean(&picture.data) - mean(&small.data)).abs() < 1.6);
        }
    }
}
