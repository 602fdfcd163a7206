//! Vectors of 256 bits with VNNI.

use std::arch::x86_64::{
    __m256 as Floats, __m256i as Ints, _mm256_add_ps as add, _mm256_and_si256 as and,
    _mm256_cvtepi32_ps as to_floats, _mm256_dpbusd_avx_epi32 as dot, _mm256_max_epi32 as max,
    _mm256_mul_ps as mul, _mm256_set1_epi32 as ints, _mm256_set1_ps as floats,
};

use super::avx2::{lowest_bytes, sloped};
use super::{
    CHANNEL_BLOCK, MAGNITUDE, NONE, QUAD, QUADS, ROUNDER, Task, cell, kernel, largest, scales, tile_pixels,
    whole,
};

kernel!(["avx2" "avxvnni"], 6 by 1);
