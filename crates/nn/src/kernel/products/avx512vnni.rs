//! Vectors of 512 bits with VNNI.

use std::arch::x86_64::{
    __m512 as Floats, __m512i as Ints, _mm512_add_ps as add, _mm512_cvtepi32_epi8,
    _mm512_cvtepi32_ps as to_floats, _mm512_dpbusd_epi32 as dot, _mm512_max_ps as max, _mm512_min_ps as min,
    _mm512_mul_ps as mul, _mm512_set1_epi32 as ints, _mm512_set1_ps as floats, _mm512_sub_ps as sub,
};

use super::{CHANNEL_BLOCK, Layer, NONE, QUAD, QUADS, REACH, ROUNDER, cell, kernel, largest, whole};

#[target_feature(enable = "avx512f")]
#[inline]
fn lowest_bytes([values]: [Ints; 1]) -> [u8; CHANNEL_BLOCK] {
    bytemuck::must_cast(_mm512_cvtepi32_epi8(values))
}

kernel!(#[target_feature(enable = "avx512f,avx512vnni")], 14 by 2);
