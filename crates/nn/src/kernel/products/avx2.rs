//! Vectors of 256 bits.

use std::arch::x86_64::{
    __m256 as Floats, __m256i as Ints, _mm256_add_epi32, _mm256_add_ps as add, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepi32_ps as to_floats, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_max_ps as max, _mm256_min_ps as min, _mm256_mul_ps as mul, _mm256_packus_epi16,
    _mm256_packus_epi32, _mm256_permute4x64_epi64, _mm256_set1_epi16, _mm256_set1_epi32 as ints,
    _mm256_set1_ps as floats, _mm256_sub_ps as sub,
};

use super::{CHANNEL_BLOCK, Layer, NONE, QUAD, QUADS, REACH, ROUNDER, cell, kernel, largest, whole};

/// Sums of two products fit into 16 bits because weights are at most [`LARGEST`](super::LARGEST).
#[target_feature(enable = "avx2")]
#[inline]
fn dot(sum: Ints, input: Ints, weight: Ints) -> Ints {
    let pairs = _mm256_maddubs_epi16(input, weight);
    _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
}

/// Packing works within halves of 128 bits; the permutations put their quarters in order.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn lowest_bytes(values: [Ints; 2]) -> [u8; CHANNEL_BLOCK] {
    let [a, b] = values.map(|values| _mm256_and_si256(values, ints(0xFF)));
    let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(a, b));
    let bytes = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(words, words));
    bytemuck::must_cast(_mm256_castsi256_si128(bytes))
}

kernel!(#[target_feature(enable = "avx2")], 5 by 1);
