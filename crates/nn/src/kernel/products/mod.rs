//! Sums of products of 8-bit integers: the dense layers of [`integer`](crate::integer).
//!
//! The sums are exact, and what follows them is the same sequence of roundings everywhere, so that every instruction
//! set gives the same bits.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
mod portable;

use crate::row_buffer::CHANNEL_BLOCK;

/// Inputs whose products one instruction adds.
pub(crate) const QUAD: usize = 4;
/// Quads of a cell of [`CHANNEL_BLOCK`] inputs.
pub(crate) const QUADS: usize = CHANNEL_BLOCK / QUAD;

/// Weights of a cell of inputs to a block of outputs, `[quad][output][input]`: a cache line a quad.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Weights(pub(crate) [[i8; CHANNEL_BLOCK * QUAD]; QUADS]);

/// Weights from −`LARGEST` to `LARGEST`: with inputs up to 255, the sum of two products fits into 16 bits, which AVX2
/// needs.
pub(crate) const LARGEST: i8 = 64;

/// An integer that stands for 0.
pub(crate) const ZERO: i32 = 128;
/// Integers on either side of [`ZERO`].
const REACH: f32 = 127.0;
/// Added to a number of few bits, it moves its rounded value into the lowest bits: 1.5 · 2²³ + [`ZERO`].
const ROUNDER: f32 = 12_582_912.0 + ZERO as f32;

/// How sums of products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// Vectors of 512 bits with VNNI: servers of Intel since 2019, AMD since Zen 4.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// Vectors of 256 bits with VNNI: Intel since the 12th generation of Core.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// Vectors of 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of plain code.
    Portable,
}

impl Products {
    /// Whether this machine has the instructions.
    pub(crate) fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => {
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("avxvnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            Self::Portable => true,
        }
    }

    /// Runs a layer.
    #[expect(
        unsafe_code,
        reason = "a function for certain instructions can be called only where they are known"
    )]
    pub(crate) fn run(self, layer: &mut Layer<'_>) {
        if !self.is_available() {
            return portable::run(layer);
        }
        match self {
            // SAFETY: for these three, `is_available` has found every instruction that the function is compiled for.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => unsafe { avx512vnni::run(layer) },
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => unsafe { avxvnni::run(layer) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::run(layer) },
            Self::Portable => portable::run(layer),
        }
    }
}

/// A dense layer on pixels, each a sequence of cells of inputs.
pub(crate) struct Layer<'a> {
    pub(crate) input: &'a [f32],
    /// Where the cells of the first pixel begin in `input`.
    pub(crate) starts: &'a [usize],
    /// Floats from the inputs of a pixel to those of the next.
    pub(crate) step: usize,
    pub(crate) pixels: usize,
    /// `[block of outputs][cell]`.
    pub(crate) weight: &'a [Weights],
    /// Of every output: what its sum begins with.
    pub(crate) offset: &'a [i32],
    /// Of every output: what a weight of 1 stands for.
    pub(crate) scale: &'a [f32],
    pub(crate) bias: &'a [f32],
    /// Of every output: factor of values below 0.
    pub(crate) slope: &'a [f32],
    /// `[cell][pixel]`, room for the inputs as integers.
    pub(crate) levels: &'a mut [[u8; CHANNEL_BLOCK]],
    /// Of every pixel: what an input of 1 stands for.
    pub(crate) factors: &'a mut [f32],
    /// `[block of outputs][pixel]` of cells.
    pub(crate) out: &'a mut [f32],
    /// Floats between the blocks of `out`.
    pub(crate) pitch: usize,
}

/// `run` of a module that has vectors of integers and floats, `Ints` and `Floats`, and functions on them: the loops with
/// tiles of `$pixels` pixels by `$blocks` blocks of outputs, which fill the registers. A macro, because functions that are
/// compiled for certain instructions cannot be generic over others.
macro_rules! kernel {
    ($(#[$features:meta])?, $pixels:literal by $blocks:literal) => {
        /// Vectors of a cell.
        const VECTORS: usize = size_of::<[f32; CHANNEL_BLOCK]>() / size_of::<Floats>();

        $(#[$features])?
        pub(super) fn run(layer: &mut Layer<'_>) {
            for pixel in 0..layer.pixels {
                quantise(layer, pixel);
            }
            let blocks = layer.bias.len() / CHANNEL_BLOCK;
            let whole = whole(blocks, $blocks);
            for block in (0..whole).step_by($blocks) {
                group::<$blocks>(layer, block);
            }
            for block in whole..blocks {
                group::<1>(layer, block);
            }
        }

        /// A pixel as integers: its largest magnitude is [`REACH`] away from [`ZERO`].
        $(#[$features])?
        #[inline]
        fn quantise(layer: &mut Layer<'_>, pixel: usize) {
            let at = pixel * layer.step;
            let mut most = [floats(0.0); VECTORS];
            for start in layer.starts {
                let cell: [Floats; VECTORS] = bytemuck::must_cast(*cell(&layer.input[start + at..]));
                for v in 0..VECTORS {
                    most[v] = max(most[v], max(cell[v], sub(floats(0.0), cell[v])));
                }
            }
            let most = largest(bytemuck::must_cast(most));
            layer.factors[pixel] = most / REACH;
            let inverse = floats(if most > 0.0 { REACH / most } else { 0.0 });
            for (number, start) in layer.starts.iter().enumerate() {
                let mut cell: [Floats; VECTORS] = bytemuck::must_cast(*cell(&layer.input[start + at..]));
                for v in 0..VECTORS {
                    cell[v] = add(mul(cell[v], inverse), floats(ROUNDER));
                }
                layer.levels[number * layer.pixels + pixel] = lowest_bytes(bytemuck::must_cast(cell));
            }
        }

        /// All pixels of `G` blocks. A last tile that does not fit begins earlier and writes some outputs again.
        $(#[$features])?
        fn group<const G: usize>(layer: &mut Layer<'_>, block: usize) {
            let mut at = 0;
            while at < layer.pixels {
                let left = layer.pixels - at;
                let suits = |size, least| size <= $pixels && left >= least && layer.pixels >= size;
                at += if suits($pixels, if $pixels > 8 { 9 } else { 5 }) {
                    tile::<G, $pixels>(layer, block, at)
                } else if suits(8, 5) {
                    tile::<G, 8>(layer, block, at)
                } else if suits(4, 2) {
                    tile::<G, 4>(layer, block, at)
                } else {
                    tile::<G, 1>(layer, block, at)
                };
            }
        }

        /// Returns its number of pixels.
        $(#[$features])?
        fn tile<const G: usize, const P: usize>(layer: &mut Layer<'_>, block: usize, at: usize) -> usize {
            let at = at.min(layer.pixels - P);
            let mut sums = [[[ints(0); VECTORS]; P]; G];
            add_up(layer, block, at, &mut sums);
            for g in 0..G {
                let place = (block + g) * CHANNEL_BLOCK;
                let [scale, bias, slope]: [[Floats; VECTORS]; 3] =
                    [layer.scale, layer.bias, layer.slope].map(|of| bytemuck::must_cast(*cell(&of[place..])));
                let factors: &[f32; P] = &layer.factors[at..].as_chunks().0[0];
                let start = (block + g) * layer.pitch + at * CHANNEL_BLOCK;
                let out: &mut [[f32; CHANNEL_BLOCK]; P] =
                    &mut layer.out[start..].as_chunks_mut().0.as_chunks_mut().0[0];
                for p in 0..P {
                    let factor = floats(factors[p]);
                    let mut values = [floats(0.0); VECTORS];
                    for v in 0..VECTORS {
                        let value = add(mul(to_floats(sums[g][p][v]), mul(scale[v], factor)), bias[v]);
                        // Of the two terms one is 0.
                        let below = mul(min(floats(0.0), value), slope[v]);
                        values[v] = add(max(floats(0.0), value), below);
                    }
                    out[p] = bytemuck::must_cast(values);
                }
            }
            P
        }

        /// A function of its own with a result that is written at its end, so that the sums stay in registers until then.
        $(#[$features])?
        #[inline(never)]
        fn add_up<const G: usize, const P: usize>(
            layer: &Layer<'_>,
            block: usize,
            at: usize,
            result: &mut [[[Ints; VECTORS]; P]; G],
        ) {
            let mut sums = [[[ints(0); VECTORS]; P]; G];
            for g in 0..G {
                sums[g] = [bytemuck::must_cast(*cell(&layer.offset[(block + g) * CHANNEL_BLOCK..])); P];
            }
            let cells = layer.starts.len();
            let planes = layer.levels.chunks_exact(layer.pixels).take(cells);
            let of_group = &layer.weight[block * cells..][..G * cells];
            // What could panic in these loops would make the compiler keep the sums in memory.
            for (number, plane) in planes.enumerate() {
                let Some(levels) = plane.get(at..).and_then(|levels| levels.first_chunk::<P>()) else { break };
                let mut weights = [&NONE; G];
                for g in 0..G {
                    weights[g] = of_group.get(g * cells + number).unwrap_or(&NONE);
                }
                for quad in 0..QUADS {
                    let mut weight = [[ints(0); VECTORS]; G];
                    for g in 0..G {
                        weight[g] = bytemuck::must_cast(weights[g].0[quad]);
                    }
                    for p in 0..P {
                        let levels: &[[u8; QUAD]; QUADS] = bytemuck::must_cast_ref(&levels[p]);
                        let input = ints(i32::from_le_bytes(levels[quad]));
                        for g in 0..G {
                            for v in 0..VECTORS {
                                sums[g][p][v] = dot(sums[g][p][v], input, weight[g][v]);
                            }
                        }
                    }
                }
            }
            *result = sums;
        }
    };
}
use kernel;

/// As many of `blocks` as fill groups.
fn whole(blocks: usize, group: usize) -> usize {
    blocks - blocks % group
}

/// No weights.
const NONE: Weights = Weights([[0; CHANNEL_BLOCK * QUAD]; QUADS]);

/// The first cell.
#[inline(always)]
fn cell<T>(values: &[T]) -> &[T; CHANNEL_BLOCK] {
    &values.as_chunks().0[0]
}

/// The largest value.
#[inline(always)]
fn largest(mut values: [f32; CHANNEL_BLOCK]) -> f32 {
    let mut half = CHANNEL_BLOCK / 2;
    while half > 0 {
        for i in 0..half {
            values[i] = if values[i + half] > values[i] { values[i + half] } else { values[i] };
        }
        half /= 2;
    }
    values[0]
}
