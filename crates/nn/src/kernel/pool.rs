//! Pooling.

use pulp::Simd;

use super::{OnCells, cells, cells_mut};
use crate::conv::Window;
use crate::row_buffer::CHANNEL_BLOCK;

/// Kind of pooling.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pooling {
    /// The largest.
    Max,
    /// Their sum, divided by the size of the window.
    Average,
}

/// One output row of all channels.
pub(crate) struct Pool<'a> {
    pub(crate) pooling: Pooling,
    pub(crate) window: Window,
    pub(crate) input: &'a [f32],
    /// Where the input rows under the window begin; `None` on the padding.
    pub(crate) starts: &'a [Option<usize>],
    /// Pixels of an input row.
    pub(crate) input_width: usize,
    /// Floats between the blocks of `input`.
    pub(crate) input_pitch: usize,
    pub(crate) blocks: usize,
    pub(crate) width: usize,
    pub(crate) out: &'a mut [f32],
    /// Floats between the blocks of `out`.
    pub(crate) pitch: usize,
}

impl OnCells for Pool<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(mut self, simd: S) {
        for block in 0..self.blocks {
            match self.pooling {
                Pooling::Max => {
                    self.fold::<S, N>(block, simd.splat_f32s(f32::NEG_INFINITY), |a, b| simd.max_f32s(a, b));
                }
                Pooling::Average => {
                    self.fold::<S, N>(block, simd.splat_f32s(0.0), |a, b| simd.add_f32s(a, b));
                    let [rows, columns] = self.window.size;
                    let share = simd.splat_f32s(1.0 / (rows * columns) as f32);
                    for cell in self.row::<S, N>(block) {
                        *cell = cell.map(|sum| simd.mul_f32s(sum, share));
                    }
                }
            }
        }
    }
}

impl Pool<'_> {
    fn row<S: Simd, const N: usize>(&mut self, block: usize) -> &mut [[S::f32s; N]] {
        cells_mut::<S, N>(&mut self.out[block * self.pitch..][..self.width * CHANNEL_BLOCK])
    }

    /// One tap of the window after the other, each for the whole row.
    #[inline(always)]
    fn fold<S: Simd, const N: usize>(
        &mut self,
        block: usize,
        start: S::f32s,
        fold: impl Fn(S::f32s, S::f32s) -> S::f32s,
    ) {
        let Window { size: [_, columns], stride, padding: [_, padding] } = self.window;
        let (starts, input, len) = (self.starts, self.input, self.input_width * CHANNEL_BLOCK);
        let input = &input[block * self.input_pitch..];
        let out = self.row::<S, N>(block);
        out.fill([start; N]);
        for (start, x) in starts.iter().flatten().flat_map(|start| (0..columns).map(move |x| (start, x))) {
            // Outputs that have no input under this tap.
            let left = padding.saturating_sub(x).div_ceil(stride);
            let inputs = cells::<S, N>(&input[*start..][..len]);
            let inputs = inputs.get(left * stride + x - padding..).unwrap_or_default().iter().step_by(stride);
            for (out, input) in out.iter_mut().skip(left).zip(inputs) {
                for v in 0..N {
                    out[v] = fold(out[v], input[v]);
                }
            }
        }
    }
}
