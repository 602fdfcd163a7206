//! Vectors of 512 bits with VNNI.

use std::arch::x86_64::{
    __m512 as Floats, __m512i as Ints, _CMP_LT_OQ, _mm512_add_ps as add, _mm512_and_si512 as and,
    _mm512_cmp_ps_mask, _mm512_cvtepi32_epi8, _mm512_cvtepi32_ps as to_floats, _mm512_dpbusd_epi32 as dot,
    _mm512_mask_mul_ps, _mm512_max_epi32 as max, _mm512_mul_ps as mul, _mm512_set1_epi32 as ints,
    _mm512_set1_ps as floats,
};

use super::{
    CHANNEL_BLOCK, MAGNITUDE, NONE, QUAD, QUADS, ROUNDER, Task, cell, kernel, largest, scales, tile_pixels,
    whole,
};

/// Values below 0 times their slope.
#[target_feature(enable = "avx512f")]
#[inline]
fn sloped(value: Floats, slope: Floats) -> Floats {
    _mm512_mask_mul_ps(value, _mm512_cmp_ps_mask::<_CMP_LT_OQ>(value, floats(0.0)), value, slope)
}

#[target_feature(enable = "avx512f")]
#[inline]
fn lowest_bytes([values]: [Ints; 1]) -> [u8; CHANNEL_BLOCK] {
    bytemuck::must_cast(_mm512_cvtepi32_epi8(values))
}

// The first two are part of the third for the compiler.
kernel!(["fma" "f16c" "avx512f" "avx512vnni"], 14 by 2);
