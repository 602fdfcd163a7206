//! From luma and colour differences to RGB, by what the stream says of its colours.

use ffmpeg::color::Space;

/// Bits after the point.
const BITS: u32 = 13;
/// Pixels that are converted together: their channels fit registers before they are interleaved.
const BLOCK: usize = 64;

/// Turns Y'CbCr into R'G'B' of full range, in integers (ITU-T H.273, section 8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matrix {
    black: i32,
    luma: i32,
    red_of_v: i32,
    green_of_u: i32,
    green_of_v: i32,
    blue_of_u: i32,
}

impl Matrix {
    /// Creates the conversion for a colour matrix and a full or limited range. Colour spaces without such a
    /// matrix are treated as BT.601.
    pub(crate) fn new(space: Space, is_full_range: bool) -> Self {
        let (red, blue) = match space {
            Space::BT709 => (0.2126, 0.0722),
            Space::BT2020NCL | Space::BT2020CL => (0.2627, 0.0593),
            Space::SMPTE240M => (0.212, 0.087),
            Space::FCC => (0.30, 0.11),
            _ => (0.299, 0.114),
        };
        let green = 1.0 - red - blue;
        let (black, luma, chroma) =
            if is_full_range { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let fixed = |value: f64| (value * f64::from(1 << BITS)).round() as i32;
        Self {
            black,
            luma: fixed(luma),
            red_of_v: fixed(chroma * 2.0 * (1.0 - red)),
            green_of_u: fixed(-chroma * 2.0 * (1.0 - blue) * blue / green),
            green_of_v: fixed(-chroma * 2.0 * (1.0 - red) * red / green),
            blue_of_u: fixed(chroma * 2.0 * (1.0 - blue)),
        }
    }

    /// A row of RGB, interleaved, from rows of the three components.
    #[inline(always)]
    pub(crate) fn rgb_row(&self, y: &[u8], u: &[u8], v: &[u8], out: &mut [u8]) {
        let (y, u, v, out) =
            (y.chunks(BLOCK), u.chunks(BLOCK), v.chunks(BLOCK), out.as_chunks_mut().0.chunks_mut(BLOCK));
        for (((y, u), v), out) in y.zip(u).zip(v).zip(out) {
            match (y.as_array(), u.as_array(), v.as_array(), out.as_mut_array()) {
                (Some(y), Some(u), Some(v), Some(out)) => self.rgb_block::<BLOCK>(y, u, v, out),
                _ => {
                    for (((y, u), v), out) in y.iter().zip(u).zip(v).zip(out) {
                        *out = self.rgb(*y, *u, *v);
                    }
                }
            }
        }
    }

    /// Channels first, then interleaving: each of the two loops vectorises, together they do not.
    #[inline(always)]
    fn rgb_block<const N: usize>(&self, y: &[u8; N], u: &[u8; N], v: &[u8; N], out: &mut [[u8; 3]; N]) {
        let mut channels = [[0; N]; 3];
        for i in 0..N {
            [channels[0][i], channels[1][i], channels[2][i]] = self.rgb(y[i], u[i], v[i]);
        }
        for (i, out) in out.iter_mut().enumerate() {
            *out = [channels[0][i], channels[1][i], channels[2][i]];
        }
    }

    #[inline(always)]
    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let light = self.light(y);
        let (u, v) = (i32::from(u).wrapping_sub(128), i32::from(v).wrapping_sub(128));
        let green = self.green_of_u.wrapping_mul(u).wrapping_add(self.green_of_v.wrapping_mul(v));
        [self.red_of_v.wrapping_mul(v), green, self.blue_of_u.wrapping_mul(u)]
            .map(|colour| byte(light.wrapping_add(colour)))
    }

    /// Luma of full range from luma as it is stored, in place.
    #[inline(always)]
    pub(crate) fn widen(&self, row: &mut [u8]) {
        for y in row {
            *y = byte(self.light(*y));
        }
    }

    #[inline(always)]
    fn light(&self, y: u8) -> i32 {
        i32::from(y).wrapping_sub(self.black).wrapping_mul(self.luma)
    }
}

#[inline(always)]
fn byte(value: i32) -> u8 {
    (value.wrapping_add(1 << (BITS - 1)) >> BITS).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rgb(space: Space, is_full_range: bool, [y, u, v]: [u8; 3]) -> [u8; 3] {
        let mut out = [0; 3];
        Matrix::new(space, is_full_range).rgb_row(&[y], &[u], &[v], &mut out);
        out
    }

    /// Triples of limited range as every table of colour bars has them.
    #[test]
    fn colour_bars() {
        for space in [Space::BT709, Space::SMPTE170M, Space::BT2020NCL] {
            assert_eq!(rgb(space, false, [235, 128, 128]), [255; 3]);
            assert_eq!(rgb(space, false, [16, 128, 128]), [0; 3]);
            assert_eq!(rgb(space, true, [77, 128, 128]), [77; 3]);
        }
        let near = |found: [u8; 3], expected: [u8; 3]| {
            assert!(found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1), "{found:?} {expected:?}");
        };
        near(rgb(Space::BT709, false, [63, 102, 240]), [255, 0, 0]);
        near(rgb(Space::BT709, false, [173, 42, 26]), [0, 255, 0]);
        near(rgb(Space::SMPTE170M, false, [81, 90, 240]), [254, 0, 0]);
        near(rgb(Space::SMPTE170M, false, [41, 240, 110]), [0, 0, 255]);
        near(rgb(Space::Unspecified, true, [76, 85, 255]), [254, 0, 0]);
    }

    #[test]
    fn long_rows_are_converted_as_single_pixels_are() {
        let (y, u, v): (Vec<u8>, Vec<u8>, Vec<u8>) =
            ((0..200).collect(), (20..220).rev().collect(), (50..250).collect());
        let matrix = Matrix::new(Space::BT709, false);
        let mut out = vec![0; 3 * y.len()];
        matrix.rgb_row(&y, &u, &v, &mut out);
        for (i, found) in out.chunks(3).enumerate() {
            assert_eq!(found, rgb(Space::BT709, false, [y[i], u[i], v[i]]));
        }
    }
}
