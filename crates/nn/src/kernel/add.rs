//! Addition of two maps.

use pulp::Simd;

use super::{Epilogue, Finish, Identity, OnCells, Prelu, Relu, cells, cells_mut};
use crate::row_buffer::CHANNEL_BLOCK;

/// One row of one block of channels: the sum of `parts`, of which either may be shorter than the row.
pub(crate) struct Add<'a> {
    pub(crate) parts: [&'a [f32]; 2],
    pub(crate) block: usize,
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) out: &'a mut [f32],
}

impl OnCells for Add<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        match self.epilogue {
            Epilogue::Identity => self.finished::<S, N>(simd, Identity, &[0.0; CHANNEL_BLOCK]),
            Epilogue::Relu => self.finished::<S, N>(simd, Relu, &[0.0; CHANNEL_BLOCK]),
            Epilogue::Prelu(slopes) => {
                let slopes = &slopes[self.block * CHANNEL_BLOCK..];
                self.finished::<S, N>(simd, Prelu, slopes);
            }
        }
    }
}

impl Add<'_> {
    #[inline(always)]
    fn finished<S: Simd, const N: usize>(self, simd: S, finish: impl Finish, slopes: &[f32]) {
        let slope = cells::<S, N>(slopes)[0];
        let [a, b] = self.parts.map(cells::<S, N>);
        let both = a.len().min(b.len());
        let rest = if a.len() > both { &a[both..] } else { &b[both..] };
        let (out, out_rest) = cells_mut::<S, N>(self.out).split_at_mut(both);
        for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
            for v in 0..N {
                out[v] = finish.finish(simd, simd.add_f32s(a[v], b[v]), slope[v]);
            }
        }
        let (out, nothing) = out_rest.split_at_mut(rest.len());
        for (out, a) in out.iter_mut().zip(rest) {
            for v in 0..N {
                out[v] = finish.finish(simd, a[v], slope[v]);
            }
        }
        // Every activation leaves 0 as it is.
        nothing.fill([simd.splat_f32s(0.0); N]);
    }
}
