//! Removal of the combs of interlaced pictures.
//!
//! A frame of interlaced video shows two moments: one in the even rows, one in the odd rows. Where the picture moved in
//! between, rows alternate. Blocks in which many pixels alternate keep the rows of the first field, and the other rows
//! become means of their neighbours. All other blocks stay as they are, so still parts of the picture keep every row,
//! and so does film that was coded as interlaced.
//!
//! A pixel alternates if it is lighter, or darker, than the pixels above and below it, and the next pixels in both
//! directions are not. The measure is that of the AviSynth filter TFM. Its thresholds were chosen on three films and a
//! test picture that were woven from progressive frames: with them, the mean error is nearest to that of `bwdif`.

use pulp::Arch;

use crate::planes::{Plane, Planes};

/// Width and height of a block, luma pixels.
const BLOCK: usize = 16;
/// Largest difference between neighbouring rows without a comb, 0 to 255.
const STEP: i16 = 4;
/// Smallest number of alternating pixels in a block with a comb, of `BLOCK` × `BLOCK`.
const MIN_COMBED: u32 = 32;

/// Smallest number of pixels in a block with a comb for sure that end three rows that take turns.
const MIN_WOVEN: u32 = 16;

/// Buffers of pictures without combs.
#[derive(Debug, Default)]
pub(crate) struct Deinterlacer {
    /// Number of alternating pixels in each column of a row of blocks.
    columns: Vec<u8>,
    /// Whether a block has a comb, row by row.
    combed: Vec<bool>,
    /// Planes without combs.
    clean: [Vec<u8>; 3],
}

impl Deinterlacer {
    /// Returns the planes without combs: the same planes if there are none.
    pub(crate) fn planes<'a>(&'a mut self, planes: Planes<'a>, is_top_first: bool) -> Planes<'a> {
        if !Arch::new().dispatch(
            #[inline(always)]
            || self.find(&planes.y),
        ) {
            return planes;
        }
        let across = planes.y.width.div_ceil(BLOCK);
        let (right, down) = planes.chroma_shift();
        let blocks = [(0, 0), (right, down), (right, down)].map(|(x, y)| (BLOCK >> x, BLOCK >> y));
        let own = [planes.y, planes.u, planes.v];
        for ((from, to), block) in own.into_iter().zip(&mut self.clean).zip(blocks) {
            to.clear();
            for y in 0..from.height {
                to.extend_from_slice(from.row(y));
            }
            for y in (usize::from(is_top_first)..from.height).step_by(2) {
                // The outermost rows have one neighbour.
                let above = from.row(if y == 0 { 1.min(from.height - 1) } else { y - 1 });
                let below = from.row(if y + 1 == from.height { y.saturating_sub(1) } else { y + 1 });
                let row = &mut to[y * from.width..][..from.width];
                let combed = self.combed[(y / block.1) * across..][..across].iter();
                for (x, _) in
                    (0..).step_by(block.0).zip(combed).filter(|(x, combed)| **combed && *x < from.width)
                {
                    let end = (x + block.0).min(from.width);
                    let neighbours = above[x..end].iter().zip(&below[x..end]);
                    for (pixel, (above, below)) in row[x..end].iter_mut().zip(neighbours) {
                        *pixel = above.midpoint(*below);
                    }
                }
            }
        }
        let plane = |i: usize| {
            let Plane { width, height, .. } = own[i];
            Plane { data: &self.clean[i], stride: width, width, height }
        };
        Planes { y: plane(0), u: plane(1), v: plane(2), ..planes }
    }

    /// Finds the blocks with a comb. Returns whether there are any.
    #[inline(always)]
    fn find(&mut self, luma: &Plane<'_>) -> bool {
        self.combed.clear();
        for top in (0..luma.height).step_by(BLOCK) {
            self.columns.clear();
            self.columns.resize(luma.width, 0);
            for y in top.max(2)..(top + BLOCK).min(luma.height.saturating_sub(2)) {
                let [a, b, c, d, e] = [y - 2, y - 1, y, y + 1, y + 2].map(|y| luma.row(y));
                count(&mut self.columns, [a, b, c, d, e]);
            }
            let blocks = self.columns.chunks(BLOCK);
            self.combed
                .extend(blocks.map(|block| block.iter().copied().map(u32::from).sum::<u32>() >= MIN_COMBED));
        }
        self.combed.contains(&true)
    }
}

/// Adds one to the columns in which the middle one of five rows alternates.
#[inline(always)]
fn count(columns: &mut [u8], [a, b, c, d, e]: [&[u8]; 5]) {
    let rows = a.iter().zip(b).zip(c).zip(d).zip(e);
    for (column, ((((a, b), c), d), e)) in columns.iter_mut().zip(rows) {
        *column = column.wrapping_add(u8::from(alternates([*a, *b, *c, *d, *e]) != 0));
    }
}

/// 1 if the middle one of five pixels of a column is lighter than the other field, −1 if it is darker, otherwise 0.
#[inline(always)]
fn alternates(pixels: [u8; 5]) -> i8 {
    let [a, b, c, d, e] = pixels.map(i16::from);
    let (up, down) = (c.wrapping_sub(b), c.wrapping_sub(d));
    let same_field = a.wrapping_add(c.wrapping_mul(4)).wrapping_add(e);
    let other_field = b.wrapping_add(d).wrapping_mul(3);
    let contrast = same_field.wrapping_sub(other_field);
    let is_lighter = (up > STEP) & (down > STEP) & (contrast > 6 * STEP);
    let is_darker = (up < -STEP) & (down < -STEP) & (contrast < -6 * STEP);
    i8::from(is_lighter).wrapping_sub(i8::from(is_darker))
}

/// Returns the share of blocks that have a comb for sure, 0 to 1: lighter and darker rows take turns, three or more in
/// a column. Detail of a picture that shows one moment seldom does: with these limits, at most 4 % of the pictures of
/// eleven films have such blocks in more than [`crate::pixels::COMBED`] of their area, of the same films woven from two
/// moments at least 38 %.
pub(crate) fn combed_share(luma: &Plane<'_>) -> f64 {
    let (across, down) = (luma.width.div_ceil(BLOCK), luma.height.div_ceil(BLOCK));
    let mut n_woven = vec![0_u32; across * down];
    // Length of the run of rows that take turns, in each column; negative if its last row is darker.
    let mut runs = vec![0_i8; luma.width];
    for y in 2..luma.height.saturating_sub(2) {
        let rows = [y - 2, y - 1, y, y + 1, y + 2].map(|y| luma.row(y));
        for (x, run) in runs.iter_mut().enumerate() {
            let sign = alternates(rows.map(|row| row[x]));
            *run = if run.signum() == -sign { sign * (run.abs() + 1).min(3) } else { sign };
            n_woven[y / BLOCK * across + x / BLOCK] += u32::from(run.abs() == 3);
        }
    }
    let n_combed = n_woven.iter().filter(|n| **n >= MIN_WOVEN).count();
    n_combed as f64 / n_woven.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use ffmpeg::color::Space;

    use super::*;
    use crate::colour::Matrix;

    const WIDTH: usize = 64;
    const HEIGHT: usize = 48;

    /// Luma, with grey chroma of half the size.
    fn deinterlaced(luma: impl Fn(usize, usize) -> u8, is_top_first: bool) -> [Vec<u8>; 2] {
        let data: Vec<u8> = (0..WIDTH * HEIGHT).map(|at| luma(at % WIDTH, at / WIDTH)).collect();
        let grey = vec![128; WIDTH * HEIGHT / 4];
        let chroma = Plane { data: &grey, stride: WIDTH / 2, width: WIDTH / 2, height: HEIGHT / 2 };
        let planes = Planes {
            y: Plane { data: &data, stride: WIDTH, width: WIDTH, height: HEIGHT },
            u: chroma,
            v: chroma,
            matrix: Matrix::new(Space::BT709, false),
            tone: None,
        };
        let mut deinterlacer = Deinterlacer::default();
        let planes = deinterlacer.planes(planes, is_top_first);
        assert_eq!((planes.u.data, planes.v.data), (&*grey, &*grey));
        [planes.y.data.to_vec(), data.clone()]
    }

    /// A white bar that is further to the right in odd rows, on the left of the picture; noise on the right.
    fn bar(x: usize, y: usize, shift: usize) -> u8 {
        let left = 8 + shift * (y % 2);
        match x {
            32.. => ((x * 7 + y * 13) % 8) as u8,
            _ if (left..left + 8).contains(&x) => 235,
            _ => 16,
        }
    }

    #[test]
    fn moving_parts_keep_one_field_and_still_parts_keep_both() {
        for (is_top_first, first) in [(true, 8), (false, 13)] {
            let [clean, woven] = deinterlaced(|x, y| bar(x, y, 5), is_top_first);
            for (y, row) in clean.chunks(WIDTH).enumerate() {
                let expected: Vec<u8> =
                    (0..32).map(|x| if (first..first + 8).contains(&x) { 235 } else { 16 }).collect();
                assert_eq!(row[..32], expected, "row {y}");
                assert_eq!(row[32..], woven[y * WIDTH..][32..WIDTH], "row {y}");
            }
        }
    }

    #[test]
    fn combs_are_known_without_a_declaration() {
        let share = |luma: &dyn Fn(usize, usize) -> u8| {
            let data: Vec<u8> = (0..WIDTH * HEIGHT).map(|at| luma(at % WIDTH, at / WIDTH)).collect();
            combed_share(&Plane { data: &data, stride: WIDTH, width: WIDTH, height: HEIGHT })
        };
        // Two columns of three blocks of twelve have the edges of the bar.
        assert!(share(&|x, y| bar(x, y, 5)) >= 0.25);
        assert_eq!(share(&|x, y| bar(x, y, 0)), 0.0);
        assert_eq!(share(&|_, y| if y == 20 { 16 } else { 235 }), 0.0);
        assert_eq!(share(&|_, y| if y % 4 < 2 { 16 } else { 235 }), 0.0);
    }

    #[test]
    fn pictures_without_combs_stay() {
        let pictures: [&dyn Fn(usize, usize) -> u8; 4] = [
            &|x, y| bar(x, y, 0),
            // A horizontal edge, a line of one row, and stripes of two rows.
            &|_, y| if y < 20 { 16 } else { 235 },
            &|_, y| if y == 20 { 235 } else { 16 },
            &|_, y| if y % 4 < 2 { 16 } else { 235 },
        ];
        for (number, picture) in pictures.into_iter().enumerate() {
            let [clean, woven] = deinterlaced(picture, true);
            assert_eq!(clean, woven, "picture {number}");
        }
    }
}
