//! Multiplication of a map by a gate.

use pulp::Simd;

use super::{OnCells, cells, cells_mut};

/// One row of one block of channels: every pixel of `input` times the one pixel of `gate`.
pub(crate) struct Scale<'a> {
    pub(crate) input: &'a [f32],
    pub(crate) gate: &'a [f32],
    pub(crate) out: &'a mut [f32],
}

impl OnCells for Scale<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let gate = cells::<S, N>(self.gate)[0];
        for (out, input) in cells_mut::<S, N>(self.out).iter_mut().zip(cells::<S, N>(self.input)) {
            for v in 0..N {
                out[v] = simd.mul_f32s(input[v], gate[v]);
            }
        }
    }
}
