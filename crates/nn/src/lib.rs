//! Convolutions under candle, and the weight files that feed them.
//!
//! Tensors, weights and safetensors are candle's; the convolutions run as candle custom ops on NHWC tensors, because
//! candle's own `conv2d` transposes, repacks and copies on every call. Kernels are written once over [`pulp`]'s vectors
//! and chosen at run time: AVX-512, AVX2, NEON or scalar; those of integers are for VNNI, AVX2 or any machine. An op
//! runs on the calling thread; callers parallelise over images, some 8 of them at a time, so that weights are read once
//! for several.
//!
//! * [`graph`]: [`graph::Graph`], layers, sums and concatenations that run over a few rows at a time so that
//!   the maps between them stay in the cache. It is the only op. On other devices than the CPU, a graph is
//!   candle's own operations.
//! * [`conv`]: the layers [`conv::Conv2d`] (dense) and [`conv::Depthwise`], their window and
//!   activation.
//! * [`device`]: CPU or graphics card, and the precision.
//! * [`isa`]: the instruction sets that the kernels are compiled for.
//! * [`pinned`]: what identifies published weights.
//! * [`weights`]: weight files of several formats, with the SHA-256 of what was read.
//!
//! **Architecture invariant:** this crate knows no particular network and no image file.

pub mod conv;
pub mod device;
pub mod graph;
mod integer;
pub mod isa;
mod kernel;
mod op;
pub mod pinned;
mod row_buffer;
mod stock;
pub mod weights;
mod winograd;
