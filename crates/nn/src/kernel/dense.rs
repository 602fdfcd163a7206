//! Dense convolution: a matrix product whose left side is read in place, through a table of taps.

use pulp::{Simd, WithSimd};

use super::{Epilogue, Finish, Identity, Prelu, Relu, cells, cells_mut, tile_pixels};
use crate::row_buffer::CHANNEL_BLOCK;

/// Outputs for `pixels` consecutive pixels of each of some rows, whose outputs follow each other. The input
/// of tap `t` for pixel `p` of row `r` is cell `rows[r] + starts[t] + p`.
pub(crate) struct Dense<'a> {
    /// Cells of `cell` channels.
    pub(crate) input: &'a [f32],
    /// 3 or [`CHANNEL_BLOCK`].
    pub(crate) cell: usize,
    pub(crate) starts: &'a [usize],
    pub(crate) rows: &'a [usize],
    /// `[block of outputs][tap][channel of the cell][output]`.
    pub(crate) weight: &'a [f32],
    /// Padded to whole cells.
    pub(crate) bias: &'a [f32],
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) pixels: usize,
    pub(crate) out: &'a mut [f32],
    /// Floats between the blocks of `out`.
    pub(crate) pitch: usize,
}

impl WithSimd for Dense<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.cell {
            3 => self.with_cell::<S, 3>(simd),
            _ => self.with_cell::<S, CHANNEL_BLOCK>(simd),
        }
    }
}

impl Dense<'_> {
    /// The tile (pixels × vectors of outputs) fills the vector registers: 32 of them with
    /// AVX-512 and NEON, 16 with AVX2, less a few for weights and the broadcast input.
    #[inline(always)]
    fn with_cell<S: Simd, const K: usize>(mut self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, K, 1, 2, 14>(simd),
            8 => self.run::<S, K, 2, 1, 6>(simd),
            4 => self.run::<S, K, 4, 1, 6>(simd),
            _ => self.run::<S, K, CHANNEL_BLOCK, 1, 1>(simd),
        }
    }

    /// `N` vectors a cell, up to `G` blocks of outputs and `FULL` pixels at a time.
    #[inline(always)]
    fn run<S: Simd, const K: usize, const N: usize, const G: usize, const FULL: usize>(&mut self, simd: S) {
        let blocks = self.bias.len() / CHANNEL_BLOCK;
        let whole = blocks - blocks % G;
        for block in (0..whole).step_by(G) {
            self.group::<S, K, N, G, FULL>(simd, block);
        }
        for block in whole..blocks {
            self.group::<S, K, N, 1, FULL>(simd, block);
        }
    }

    /// All pixels of `G` blocks, whose weights then stay in the cache. A last tile of a row that does not fit
    /// begins earlier and writes some outputs again.
    #[inline(always)]
    fn group<S: Simd, const K: usize, const N: usize, const G: usize, const FULL: usize>(
        &mut self,
        simd: S,
        block: usize,
    ) {
        for row in 0..self.rows.len() {
            let mut at = 0;
            while at < self.pixels {
                at += match tile_pixels(FULL, self.pixels - at, self.pixels) {
                    1 => self.tile::<S, K, N, G, 1>(simd, block, row, at),
                    4 => self.tile::<S, K, N, G, 4>(simd, block, row, at),
                    8 => self.tile::<S, K, N, G, 8>(simd, block, row, at),
                    _ => self.tile::<S, K, N, G, FULL>(simd, block, row, at),
                };
            }
        }
    }

    /// Returns its number of pixels.
    #[inline(always)]
    fn tile<S: Simd, const K: usize, const N: usize, const G: usize, const P: usize>(
        &mut self,
        simd: S,
        block: usize,
        row: usize,
        at: usize,
    ) -> usize {
        let at = at.min(self.pixels - P);
        let (input, output) = (self.rows[row] + at, row * self.pixels + at);
        simd.vectorize(Tile::<K, N, G, P> { job: self, block, input, output });
        P
    }
}

/// `P` pixels × `G` blocks of outputs. Every size is a function of its own, so that the registers of one are
/// not planned with the others in mind.
struct Tile<'j, 'a, const K: usize, const N: usize, const G: usize, const P: usize> {
    job: &'j mut Dense<'a>,
    block: usize,
    /// Cells before the first pixel.
    input: usize,
    output: usize,
}

type Sums<S, const N: usize, const G: usize, const P: usize> = [[[<S as Simd>::f32s; N]; G]; P];

impl<const K: usize, const N: usize, const G: usize, const P: usize> WithSimd for Tile<'_, '_, K, N, G, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let sums = self.sums(simd);
        let (epilogue, bias) = (self.job.epilogue, self.job.bias);
        match epilogue {
            Epilogue::Identity => self.store(simd, sums, Identity, bias),
            Epilogue::Relu => self.store(simd, sums, Relu, bias),
            Epilogue::Prelu(slopes) => self.store(simd, sums, Prelu, slopes),
        }
    }
}

impl<const K: usize, const N: usize, const G: usize, const P: usize> Tile<'_, '_, K, N, G, P> {
    #[inline(always)]
    fn sums<S: Simd>(&self, simd: S) -> Sums<S, N, G, P> {
        let Dense { input, starts, weight, bias, .. } = *self.job;
        let (input, _) = input.as_chunks::<K>();
        let bias: [[S::f32s; N]; G] = std::array::from_fn(|g| cells::<S, N>(bias)[self.block + g]);
        let taps = starts.len();
        let weight: [&[[[S::f32s; N]; K]]; G] = std::array::from_fn(|g| {
            let (weight, _) = cells::<S, N>(weight).as_chunks::<K>();
            &weight[(self.block + g) * taps..][..taps]
        });
        let mut sums = [bias; P];
        for (tap, start) in starts.iter().enumerate() {
            let inputs: &[[f32; K]; P] = &input[start + self.input..][..P].as_chunks().0[0];
            for k in 0..K {
                for p in 0..P {
                    let input = simd.splat_f32s(inputs[p][k]);
                    for g in 0..G {
                        for v in 0..N {
                            sums[p][g][v] = simd.mul_add_e_f32s(input, weight[g][tap][k][v], sums[p][g][v]);
                        }
                    }
                }
            }
        }
        sums
    }

    #[inline(always)]
    fn store<S: Simd>(self, simd: S, sums: Sums<S, N, G, P>, finish: impl Finish, slopes: &[f32]) {
        for g in 0..G {
            let slope = cells::<S, N>(slopes)[self.block + g];
            let start = (self.block + g) * self.job.pitch + self.output * CHANNEL_BLOCK;
            let out = cells_mut::<S, N>(&mut self.job.out[start..][..P * CHANNEL_BLOCK]);
            let out: &mut [[S::f32s; N]; P] = &mut out.as_chunks_mut().0[0];
            for (out, sums) in out.iter_mut().zip(&sums) {
                for v in 0..N {
                    out[v] = finish.finish(simd, sums[g][v], slope[v]);
                }
            }
        }
    }
}
