//! The inner loops, generic over the vector width, and those of integers; all safe code but for one call.
//!
//! All kernels read and write cells of [`CHANNEL_BLOCK`](crate::row_buffer::CHANNEL_BLOCK) channels. A cell is `N` vectors: 1 with
//! AVX-512, 2 with AVX2, 4 with NEON, 16 "vectors" of one lane otherwise.

mod add;
mod dense;
mod depthwise;
mod pool;
pub(crate) mod products;
mod scale;
pub(crate) mod winograd;

pub(crate) use add::Add;
pub(crate) use dense::Dense;
pub(crate) use depthwise::Depthwise;
pub(crate) use pool::{Pool, Pooling};
use pulp::{Arch, Simd, WithSimd};
pub(crate) use scale::Scale;

use crate::row_buffer::CHANNEL_BLOCK;

/// Operation on sums before they are stored: an activation with its slopes padded to whole cells.
pub(crate) use crate::conv::Activation as Epilogue;

/// A kernel that is compiled for cells of `N` vectors.
pub(crate) trait OnCells {
    fn run<S: Simd, const N: usize>(self, simd: S);
}

/// Runs a kernel with the vectors that `arch` has.
pub(crate) fn dispatch(arch: Arch, kernel: impl OnCells) {
    arch.dispatch(Vectors(kernel));
}

struct Vectors<K>(K);

impl<K: OnCells> WithSimd for Vectors<K> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.0.run::<S, 1>(simd),
            8 => self.0.run::<S, 2>(simd),
            4 => self.0.run::<S, 4>(simd),
            _ => self.0.run::<S, CHANNEL_BLOCK>(simd),
        }
    }
}

/// Number of pixels of the next tile, of `left` pixels of a row of `pixels`: `full`, which fills the registers, or 8, 4 or
/// 1. May be more than are left, but not than the row has.
#[inline(always)]
pub(crate) fn tile_pixels(full: usize, left: usize, pixels: usize) -> usize {
    let suits = |size, least| size <= full && left >= least && pixels >= size;
    if suits(full, if full > 8 { 9 } else { 5 }) {
        full
    } else if suits(8, 5) {
        8
    } else if suits(4, 2) {
        4
    } else {
        1
    }
}

/// An [`Epilogue`] as a type, so that kernels are compiled for each.
pub(crate) trait Finish: Copy {
    fn finish<S: Simd>(self, simd: S, x: S::f32s, slope: S::f32s) -> S::f32s;
}

#[derive(Clone, Copy)]
pub(crate) struct Identity;

impl Finish for Identity {
    #[inline(always)]
    fn finish<S: Simd>(self, _simd: S, x: S::f32s, _slope: S::f32s) -> S::f32s {
        x
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Finish for Relu {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, x: S::f32s, _slope: S::f32s) -> S::f32s {
        simd.max_f32s(x, simd.splat_f32s(0.0))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Prelu;

impl Finish for Prelu {
    #[inline(always)]
    fn finish<S: Simd>(self, simd: S, x: S::f32s, slope: S::f32s) -> S::f32s {
        let zero = simd.splat_f32s(0.0);
        simd.select_f32s(simd.less_than_f32s(x, zero), simd.mul_f32s(x, slope), x)
    }
}

/// Cells as arrays of `N` vectors.
#[inline(always)]
pub(crate) fn cells<S: Simd, const N: usize>(values: &[f32]) -> &[[S::f32s; N]] {
    S::as_simd_f32s(values).0.as_chunks().0
}

/// Cells as arrays of `N` vectors, to be written.
#[inline(always)]
pub(crate) fn cells_mut<S: Simd, const N: usize>(values: &mut [f32]) -> &mut [[S::f32s; N]] {
    S::as_mut_simd_f32s(values).0.as_chunks_mut().0
}
