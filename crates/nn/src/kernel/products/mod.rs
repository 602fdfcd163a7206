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

use super::tile_pixels;
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
const HALF_RANGE: f32 = 127.0;
/// Added to a number of few bits, it moves its rounded value into the lowest bits: 1.5 · 2²³ + [`ZERO`].
const ROUNDER: f32 = 12_582_912.0 + ZERO as f32;

/// Magnitudes up to this are 0: the inverse of smaller ones may be infinite.
pub(crate) const NOTHING: f32 = 1e-35;

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
            Self::Avx512Vnni => avx512vnni::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => avxvnni::is_available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::is_available(),
            Self::Portable => true,
        }
    }

    /// Computes the outputs of a task.
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "what is compiled for certain instructions can run only where they are"
        )
    )]
    pub(crate) fn run(self, task: &mut Task<'_>) {
        match self {
            // SAFETY, here and below: the module has just found all features that its `run` is compiled for.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni if avx512vnni::is_available() => unsafe { avx512vnni::run(task) },
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni if avxvnni::is_available() => unsafe { avxvnni::run(task) },
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 if avx2::is_available() => unsafe { avx2::run(task) },
            _ => portable::run(task),
        }
    }
}

/// A dense layer on pixels, or on windows, each a sequence of cells of inputs.
pub(crate) struct Task<'a> {
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

/// `is_available` and `run` of a module that has vectors of integers and floats, `Ints` and `Floats`, and functions on
/// them: the loops with tiles of `$pixels` pixels by `$blocks` blocks of outputs, which fill the registers. A macro,
/// because functions that are compiled for certain features of a processor cannot be generic over others.
macro_rules! kernel {
    ([$($feature:tt)*], $pixels:literal by $blocks:literal) => {
        /// Whether this machine has the features.
        #[allow(dead_code, reason = "plain code needs none")]
        pub(super) fn is_available() -> bool {
            true $(&& std::arch::is_x86_feature_detected!($feature))*
        }

        /// Vectors of a cell.
        const VECTORS: usize = size_of::<[f32; CHANNEL_BLOCK]>() / size_of::<Floats>();

        $(#[target_feature(enable = $feature)])*
        pub(super) fn run(task: &mut Task<'_>) {
            for pixel in 0..task.pixels {
                quantise(task, pixel);
            }
            let blocks = task.bias.len() / CHANNEL_BLOCK;
            let whole = whole(blocks, $blocks);
            for block in (0..whole).step_by($blocks) {
                group::<$blocks>(task, block);
            }
            for block in whole..blocks {
                group::<1>(task, block);
            }
        }

        /// A pixel as integers: its largest magnitude is [`HALF_RANGE`] away from [`ZERO`].
        $(#[target_feature(enable = $feature)])*
        #[inline]
        fn quantise(task: &mut Task<'_>, pixel: usize) {
            let at = pixel * task.step;
            let mut most = [ints(0); VECTORS];
            for start in task.starts {
                let cell: [Ints; VECTORS] = bytemuck::must_cast(*cell(&task.input[start + at..]));
                for v in 0..VECTORS {
                    most[v] = max(most[v], and(cell[v], ints(MAGNITUDE)));
                }
            }
            let (factor, inverse) = scales(largest(bytemuck::must_cast(most)));
            task.factors[pixel] = factor;
            for (number, start) in task.starts.iter().enumerate() {
                let mut cell: [Floats; VECTORS] = bytemuck::must_cast(*cell(&task.input[start + at..]));
                for v in 0..VECTORS {
                    cell[v] = add(mul(cell[v], floats(inverse)), floats(ROUNDER));
                }
                task.levels[number * task.pixels + pixel] = lowest_bytes(bytemuck::must_cast(cell));
            }
        }

        /// All pixels of `G` blocks. A last tile that does not fit begins earlier and writes some outputs again.
        $(#[target_feature(enable = $feature)])*
        fn group<const G: usize>(task: &mut Task<'_>, block: usize) {
            let mut at = 0;
            while at < task.pixels {
                at += match tile_pixels($pixels, task.pixels - at, task.pixels) {
                    1 => tile::<G, 1>(task, block, at),
                    4 => tile::<G, 4>(task, block, at),
                    8 => tile::<G, 8>(task, block, at),
                    _ => tile::<G, $pixels>(task, block, at),
                };
            }
        }

        /// Returns its number of pixels.
        $(#[target_feature(enable = $feature)])*
        fn tile<const G: usize, const P: usize>(task: &mut Task<'_>, block: usize, at: usize) -> usize {
            let at = at.min(task.pixels - P);
            let mut sums = [[[ints(0); VECTORS]; P]; G];
            add_up(task, block, at, &mut sums);
            for g in 0..G {
                let place = (block + g) * CHANNEL_BLOCK;
                let [scale, bias, slope]: [[Floats; VECTORS]; 3] =
                    [task.scale, task.bias, task.slope].map(|of| bytemuck::must_cast(*cell(&of[place..])));
                let factors: &[f32; P] = &task.factors[at..].as_chunks().0[0];
                let start = (block + g) * task.pitch + at * CHANNEL_BLOCK;
                let out: &mut [[f32; CHANNEL_BLOCK]; P] =
                    &mut task.out[start..].as_chunks_mut().0.as_chunks_mut().0[0];
                for p in 0..P {
                    let factor = floats(factors[p]);
                    let mut values = [floats(0.0); VECTORS];
                    for v in 0..VECTORS {
                        let value = add(mul(to_floats(sums[g][p][v]), mul(scale[v], factor)), bias[v]);
                        values[v] = sloped(value, slope[v]);
                    }
                    out[p] = bytemuck::must_cast(values);
                }
            }
            P
        }

        /// A function of its own with a result that is written at its end, so that the sums stay in registers until
        /// then.
        $(#[target_feature(enable = $feature)])*
        #[inline(never)]
        fn add_up<const G: usize, const P: usize>(
            task: &Task<'_>,
            block: usize,
            at: usize,
            result: &mut [[[Ints; VECTORS]; P]; G],
        ) {
            let mut sums = [[[ints(0); VECTORS]; P]; G];
            for g in 0..G {
                sums[g] = [bytemuck::must_cast(*cell(&task.offset[(block + g) * CHANNEL_BLOCK..])); P];
            }
            let cells = task.starts.len();
            let planes = task.levels.chunks_exact(task.pixels).take(cells);
            let of_group = &task.weight[block * cells..][..G * cells];
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

/// The bits of a float without its sign. As integers they have the order of the magnitudes, and what is not a number is
/// above all.
const MAGNITUDE: i32 = i32::MAX;

/// The float with the largest bits.
#[inline(always)]
fn largest(mut bits: [i32; CHANNEL_BLOCK]) -> f32 {
    let mut half = CHANNEL_BLOCK / 2;
    while half > 0 {
        for i in 0..half {
            bits[i] = bits[i].max(bits[i + half]);
        }
        half /= 2;
    }
    f32::from_bits(bits[0].cast_unsigned())
}

/// For a pixel with this largest magnitude: what an input of 1 stands for, and its inverse. Magnitudes up to
/// [`NOTHING`] count as 0; what is not finite stays so in the first, and thereby in all outputs.
#[inline(always)]
fn scales(most: f32) -> (f32, f32) {
    if most <= NOTHING {
        return (0.0, 0.0);
    }
    (most / HALF_RANGE, if most.is_finite() { HALF_RANGE / most } else { 0.0 })
}
