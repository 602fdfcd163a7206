//! The transforms of Winograd's F(4×4, 3×3): Lavin, Gray, "Fast Algorithms for Convolutional Neural
//! Networks", CVPR 2016. Products are then taken point by point, each a matrix product over all tiles.

use pulp::Simd;

use super::{Epilogue, Finish, Identity, OnCells, Prelu, Relu, cells, cells_mut};
use crate::row_buffer::CHANNEL_BLOCK;

/// Outputs of a tile along an axis.
pub(crate) const SIDE: usize = 4;
/// Inputs of a tile along an axis, and its points in the transformed space.
pub(crate) const REACH: usize = SIDE + 2;
/// Products of a tile.
pub(crate) const POINTS: usize = REACH * REACH;

/// `G` of the paper: three weights to the points of an axis.
pub(crate) const WEIGHTS: [[f64; 3]; REACH] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

/// Where a tile lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    /// Where its input rows begin, in the first block; `None` on the padding.
    pub(crate) inputs: [Option<usize>; REACH],
    /// Where its output rows begin, in the first block; `None` below the map.
    pub(crate) outputs: [Option<usize>; SIDE],
    /// First column of the outputs.
    pub(crate) x: usize,
}

/// Values on cache lines: the stack alone would let every vector straddle two, and some two pages.
#[repr(align(64))]
struct Lines<T>(T);

/// `Bᵀ d B` of every tile: `[point][block of channels][tile][channel]`.
pub(crate) struct Forward<'a> {
    pub(crate) tiles: &'a [Tile],
    pub(crate) input: &'a [f32],
    /// Floats between the blocks of `input`.
    pub(crate) input_pitch: usize,
    /// Pixels of an input row.
    pub(crate) input_width: usize,
    /// Columns of padding.
    pub(crate) padding: usize,
    pub(crate) blocks: usize,
    pub(crate) out: &'a mut [f32],
    /// Floats between the points of `out`.
    pub(crate) pitch: usize,
}

impl OnCells for Forward<'_> {
    // Loops and not closures over arrays: those would not be inlined into the vector code.
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let zero = simd.splat_f32s(0.0);
        let mut square = Lines([[[zero; N]; REACH]; REACH]);
        for block in 0..self.blocks {
            let input = &self.input[block * self.input_pitch..];
            for (i, tile) in self.tiles.iter().enumerate() {
                let inside = tile.x.checked_sub(self.padding).filter(|x| x + REACH <= self.input_width);
                for (row, start) in square.0.iter_mut().zip(&tile.inputs) {
                    match (start, inside) {
                        (Some(start), Some(x)) => {
                            let cells =
                                cells::<S, N>(&input[start + x * CHANNEL_BLOCK..][..REACH * CHANNEL_BLOCK]);
                            forward(simd, &cells.as_chunks().0[0], row);
                        }
                        (Some(start), None) => {
                            let mut cut = [[zero; N]; REACH];
                            let cells = cells::<S, N>(&input[*start..][..self.input_width * CHANNEL_BLOCK]);
                            let left = self.padding.saturating_sub(tile.x);
                            let seen = cells.get(tile.x + left - self.padding..).unwrap_or_default();
                            cut[left..].iter_mut().zip(seen).for_each(|(to, from)| *to = *from);
                            forward(simd, &cut, row);
                        }
                        (None, _) => *row = [[zero; N]; REACH],
                    }
                }
                let out = &mut self.out[(block * self.tiles.len() + i) * CHANNEL_BLOCK..];
                let mut column = [[zero; N]; REACH];
                let mut points = [[zero; N]; REACH];
                for x in 0..REACH {
                    for (cell, row) in column.iter_mut().zip(&square.0) {
                        *cell = row[x];
                    }
                    forward(simd, &column, &mut points);
                    for y in 0..REACH {
                        let out = &mut out[(y * REACH + x) * self.pitch..][..CHANNEL_BLOCK];
                        cells_mut::<S, N>(out)[0] = points[y];
                    }
                }
            }
        }
    }
}

/// `Bᵀ` of the paper.
#[inline(always)]
fn forward<S: Simd, const N: usize>(
    simd: S,
    cells: &[[S::f32s; N]; REACH],
    points: &mut [[S::f32s; N]; REACH],
) {
    let [two, four, five] = [simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(5.0)];
    for v in 0..N {
        let [a, b, c] = [cells[0][v], cells[1][v], cells[2][v]];
        let [d, e, f] = [cells[3][v], cells[4][v], cells[5][v]];
        // The middle rows come in pairs that differ in signs alone.
        let (even, odd) = (simd.negate_mul_add_e_f32s(four, c, e), simd.negate_mul_add_e_f32s(four, b, d));
        let (even_2, odd_2) = (simd.sub_f32s(e, c), simd.sub_f32s(d, b));
        points[0][v] = simd.mul_add_e_f32s(four, a, simd.negate_mul_add_e_f32s(five, c, e));
        points[1][v] = simd.add_f32s(even, odd);
        points[2][v] = simd.sub_f32s(even, odd);
        points[3][v] = simd.mul_add_e_f32s(two, odd_2, even_2);
        points[4][v] = simd.negate_mul_add_e_f32s(two, odd_2, even_2);
        points[5][v] = simd.mul_add_e_f32s(four, b, simd.negate_mul_add_e_f32s(five, d, f));
    }
}

/// `Aᵀ m A` of every tile, with bias and activation.
pub(crate) struct Inverse<'a> {
    pub(crate) tiles: &'a [Tile],
    /// `[point][block of channels][tile][channel]`.
    pub(crate) input: &'a [f32],
    /// Floats between the points of `input`.
    pub(crate) input_pitch: usize,
    /// Padded to whole cells.
    pub(crate) bias: &'a [f32],
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) out: &'a mut [f32],
    /// Floats between the blocks of `out`.
    pub(crate) pitch: usize,
    /// Pixels of an output row.
    pub(crate) width: usize,
}

impl OnCells for Inverse<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let (epilogue, bias) = (self.epilogue, self.bias);
        match epilogue {
            Epilogue::Identity => self.finished::<S, N>(simd, Identity, bias),
            Epilogue::Relu => self.finished::<S, N>(simd, Relu, bias),
            Epilogue::Prelu(slopes) => self.finished::<S, N>(simd, Prelu, slopes),
        }
    }
}

impl Inverse<'_> {
    #[inline(always)]
    fn finished<S: Simd, const N: usize>(self, simd: S, finish: impl Finish, slopes: &[f32]) {
        let zero = simd.splat_f32s(0.0);
        let mut narrow = Lines([[zero; SIDE]; REACH]);
        let mut square = Lines([[[zero; N]; SIDE]; SIDE]);
        let bias_and_slope = cells::<S, N>(self.bias).iter().zip(cells::<S, N>(slopes));
        for (block, (bias, slope)) in bias_and_slope.enumerate() {
            for (i, tile) in self.tiles.iter().enumerate() {
                let input = &self.input[(block * self.tiles.len() + i) * CHANNEL_BLOCK..];
                for v in 0..N {
                    for x in 0..REACH {
                        let mut column = [simd.splat_f32s(0.0); REACH];
                        for y in 0..REACH {
                            let point = &input[(y * REACH + x) * self.input_pitch..][..CHANNEL_BLOCK];
                            column[y] = cells::<S, N>(point)[0][v];
                        }
                        narrow.0[x] = inverse(simd, column);
                    }
                    for y in 0..SIDE {
                        let mut row = [simd.splat_f32s(0.0); REACH];
                        for (value, column) in row.iter_mut().zip(&narrow.0) {
                            *value = column[y];
                        }
                        for (cell, sum) in square.0[y].iter_mut().zip(inverse(simd, row)) {
                            cell[v] = finish.finish(simd, simd.add_f32s(sum, bias[v]), slope[v]);
                        }
                    }
                }
                for (start, row) in tile.outputs.iter().zip(&square.0) {
                    let Some(start) = start else { continue };
                    let start = block * self.pitch + start;
                    let out = cells_mut::<S, N>(&mut self.out[start..][..self.width * CHANNEL_BLOCK]);
                    let out = &mut out[tile.x..];
                    match out.first_chunk_mut() {
                        Some(out) => *out = *row,
                        None => out.iter_mut().zip(row).for_each(|(out, cell)| *out = *cell),
                    }
                }
            }
        }
    }
}

/// `Aᵀ` of the paper.
#[inline(always)]
fn inverse<S: Simd>(simd: S, [a, b, c, d, e, f]: [S::f32s; REACH]) -> [S::f32s; SIDE] {
    let [two, four, eight] = [simd.splat_f32s(2.0), simd.splat_f32s(4.0), simd.splat_f32s(8.0)];
    let (even, odd) = (simd.add_f32s(b, c), simd.sub_f32s(b, c));
    let (even_2, odd_2) = (simd.add_f32s(d, e), simd.sub_f32s(d, e));
    [
        simd.add_f32s(a, simd.add_f32s(even, even_2)),
        simd.mul_add_e_f32s(two, odd_2, odd),
        simd.mul_add_e_f32s(four, even_2, even),
        simd.add_f32s(simd.mul_add_e_f32s(eight, odd_2, odd), f),
    ]
}
