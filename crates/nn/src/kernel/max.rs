//! Max pooling.

use pulp::{Simd, WithSimd};

use crate::band::CELL;

/// One output row of one block of channels: the largest of every 2×2 cells.
pub(crate) struct Max2x2<'a> {
    pub(crate) rows: [&'a [f32]; 2],
    pub(crate) out: &'a mut [f32],
}

impl WithSimd for Max2x2<'_> {
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

impl Max2x2<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let [above, below] = self.rows.map(|row| super::cells::<S, N>(row).as_chunks::<2>().0);
        let out = super::cells_mut::<S, N>(self.out);
        for ((out, above), below) in out.iter_mut().zip(above).zip(below) {
            for v in 0..N {
                let [a, b] = [above, below].map(|pair| simd.max_f32s(pair[0][v], pair[1][v]));
                out[v] = simd.max_f32s(a, b);
            }
        }
    }
}
