//! Vectors of 256 bits with VNNI.

use std::arch::x86_64::{
    __m256 as Floats, __m256i as Ints, _mm256_add_ps as add, _mm256_cvtepi32_ps as to_floats,
    _mm256_dpbusd_avx_epi32 as dot, _mm256_max_ps as max, _mm256_min_ps as min, _mm256_mul_ps as mul,
    _mm256_set1_epi32 as ints, _mm256_set1_ps as floats, _mm256_sub_ps as sub,
};

use super::avx2::lowest_bytes;
use super::{CHANNEL_BLOCK, Layer, NONE, QUAD, QUADS, REACH, ROUNDER, cell, kernel, largest, whole};

kernel!(#[target_feature(enable = "avx2,avxvnni")], 6 by 1);
