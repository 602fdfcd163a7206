//! Vectors of 256 bits.

use std::arch::x86_64::{
    __m256 as Floats, __m256i as Ints, _mm256_add_epi32, _mm256_add_ps as add, _mm256_and_si256 as and,
    _mm256_blendv_ps, _mm256_castsi256_si128, _mm256_cvtepi32_ps as to_floats, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_max_epi32 as max, _mm256_mul_ps as mul, _mm256_packus_epi16,
    _mm256_packus_epi32, _mm256_permute4x64_epi64, _mm256_set1_epi16, _mm256_set1_epi32 as ints,
    _mm256_set1_ps as floats,
};

use super::{
    CHANNEL_BLOCK, MAGNITUDE, NONE, QUAD, QUADS, ROUNDER, Task, cell, kernel, largest, scales, tile_pixels,
    whole,
};

/// Sums of two products fit into 16 bits because weights are at most [`LARGEST`](super::LARGEST).
#[target_feature(enable = "avx2")]
#[inline]
fn dot(sum: Ints, input: Ints, weight: Ints) -> Ints {
    let pairs = _mm256_maddubs_epi16(input, weight);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Values below 0, those whose sign is set, times their slope.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn sloped(value: Floats, slope: Floats) -> Floats {
    _mm256_blendv_ps(value, mul(value, slope), value)
}

/// Packing works within halves of 128 bits; the permutations put their quarters in order.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn lowest_bytes(values: [Ints; 2]) -> [u8; CHANNEL_BLOCK] {
    let [a, b] = values.map(|values| and(values, ints(0xFF)));
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b));
    let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(words, words));
    bytemuck::must_cast(_mm256_castsi256_si128(bytes))
}

kernel!(["avx2"], 5 by 1);
