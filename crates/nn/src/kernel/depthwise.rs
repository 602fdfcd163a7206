//! Depthwise convolution, one row of one block of channels at a time.

use pulp::{Simd, WithSimd};

use super::{Finish, Identity, Packed, Prelu, Relu, cells, cells_mut};
use crate::band::CELL;
use crate::conv::Window;

/// One output row of one block of channels.
pub(crate) struct Depthwise<'a> {
    pub(crate) window: Window,
    /// The input rows under the kernel; `None` on the padding.
    pub(crate) rows: &'a [Option<&'a [f32]>],
    /// A row of zeros.
    pub(crate) zeros: &'a [f32],
    /// `[tap][channel]`.
    pub(crate) weight: &'a [f32],
    pub(crate) bias: &'a [f32],
    pub(crate) activation: &'a Packed,
    /// First channel of the block.
    pub(crate) channel: usize,
    pub(crate) out: &'a mut [f32],
}

impl WithSimd for Depthwise<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 1>(simd),
            8 => self.run::<S, 2>(simd),
            4 => self.run::<S, 4>(simd),
            _ => self.run::<S, CELL>(simd),
        }
    }
}

/// Cells at the distance `STRIDE`: the first of each array.
type Strided<'a, S, const N: usize, const STRIDE: usize> = &'a [[[<S as Simd>::f32s; N]; STRIDE]];

impl Depthwise<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        match self.activation {
            Packed::Identity => self.finished::<S, N>(simd, Identity, &[0.0; CELL]),
            Packed::Relu => self.finished::<S, N>(simd, Relu, &[0.0; CELL]),
            Packed::Prelu(slopes) => {
                let slopes = &slopes[self.channel..];
                self.finished::<S, N>(simd, Prelu, slopes);
            }
        }
    }

    #[inline(always)]
    fn finished<S: Simd, const N: usize>(mut self, simd: S, finish: impl Finish, slopes: &[f32]) {
        let slope = cells::<S, N>(slopes)[0];
        let width = self.out.len() / CELL;
        let inner = match (self.window.size, self.window.stride) {
            (3, 1) => self.three::<S, N, 1>(simd, finish, slope),
            (3, 2) => self.three::<S, N, 2>(simd, finish, slope),
            _ => 0..0,
        };
        for x in (0..inner.start).chain(inner.end..width) {
            self.pixel::<S, N>(simd, x, finish, slope);
        }
    }

    /// The pixels of a 3×3 kernel that see no border; returns which they are.
    #[inline(always)]
    fn three<S: Simd, const N: usize, const STRIDE: usize>(
        &mut self,
        simd: S,
        finish: impl Finish,
        slope: [S::f32s; N],
    ) -> std::ops::Range<usize> {
        let Window { padding, .. } = self.window;
        let first = padding.div_ceil(STRIDE);
        let rows: [&[[S::f32s; N]]; 3] =
            std::array::from_fn(|y| cells::<S, N>(self.rows[y].unwrap_or(self.zeros)));
        let out = cells_mut::<S, N>(self.out);
        if out.len() <= first || rows[0].len() < first * STRIDE - padding + 3 {
            return first..first;
        }
        let out = &mut out[first..];
        let taps: [[Strided<'_, S, N, STRIDE>; 3]; 3] =
            rows.map(|row| std::array::from_fn(|x| row[first * STRIDE - padding + x..].as_chunks().0));
        let len = out.len().min(taps[0][2].len());
        let taps = taps.map(|row| row.map(|tap| &tap[..len]));
        let out = &mut out[..len];
        let weight: [[S::f32s; N]; 9] = cells::<S, N>(self.weight).as_chunks().0[0];
        let bias = cells::<S, N>(self.bias)[0];
        for v in 0..N {
            let weight: [S::f32s; 9] = std::array::from_fn(|tap| weight[tap][v]);
            for i in 0..len {
                let mut sum = bias[v];
                for y in 0..3 {
                    for x in 0..3 {
                        sum = simd.mul_add_e_f32s(taps[y][x][i][0][v], weight[3 * y + x], sum);
                    }
                }
                out[i][v] = finish.finish(simd, sum, slope[v]);
            }
        }
        first..first + len
    }

    /// One pixel of any kernel anywhere.
    #[inline(always)]
    fn pixel<S: Simd, const N: usize>(
        &mut self,
        simd: S,
        at: usize,
        finish: impl Finish,
        slope: [S::f32s; N],
    ) {
        let Window { size, stride, padding } = self.window;
        let weight = cells::<S, N>(self.weight);
        let mut sums = cells::<S, N>(self.bias)[0];
        for (y, row) in self.rows.iter().enumerate() {
            let Some(row) = row else { continue };
            let row = cells::<S, N>(row);
            for x in 0..size {
                let Some(input) = (at * stride + x).checked_sub(padding).and_then(|x| row.get(x)) else {
                    continue;
                };
                for v in 0..N {
                    sums[v] = simd.mul_add_e_f32s(input[v], weight[y * size + x][v], sums[v]);
                }
            }
        }
        let out = &mut cells_mut::<S, N>(self.out)[at];
        for v in 0..N {
            out[v] = finish.finish(simd, sums[v], slope[v]);
        }
    }
}
