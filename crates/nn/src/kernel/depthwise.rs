//! Depthwise convolution, one row of one block of channels at a time.

use std::ops::Range;

use pulp::Simd;

use super::{Epilogue, Finish, Identity, OnCells, Prelu, Relu, cells, cells_mut};
use crate::conv::Window;
use crate::row_buffer::CHANNEL_BLOCK;

/// One output row of all channels.
pub(crate) struct Depthwise<'a> {
    pub(crate) window: Window,
    pub(crate) input: &'a [f32],
    /// Where the input rows under the kernel begin; `None` on the padding.
    pub(crate) starts: &'a [Option<usize>],
    /// Floats between the blocks of `input`.
    pub(crate) input_pitch: usize,
    /// A row of zeros.
    pub(crate) zeros: &'a [f32],
    /// `[block of channels][tap][channel]`.
    pub(crate) weight: &'a [f32],
    /// Padded to whole cells.
    pub(crate) bias: &'a [f32],
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) width: usize,
    pub(crate) out: &'a mut [f32],
    /// Floats between the blocks of `out`.
    pub(crate) pitch: usize,
}

/// One output row of one block of channels.
struct Row<'a, S: Simd, const N: usize> {
    window: Window,
    input: &'a [f32],
    starts: &'a [Option<usize>],
    zeros: &'a [f32],
    weight: &'a [[S::f32s; N]],
    bias: [S::f32s; N],
    slope: [S::f32s; N],
    out: &'a mut [[S::f32s; N]],
}

impl OnCells for Depthwise<'_> {
    #[inline(always)]
    fn run<S: Simd, const N: usize>(self, simd: S) {
        let (epilogue, bias) = (self.epilogue, self.bias);
        match epilogue {
            Epilogue::Identity => self.finished::<S, N>(simd, Identity, bias),
            Epilogue::Relu => self.finished::<S, N>(simd, Relu, bias),
            Epilogue::Prelu(slopes) => self.finished::<S, N>(simd, Prelu, slopes),
        }
    }
}

impl Depthwise<'_> {
    #[inline(always)]
    fn finished<S: Simd, const N: usize>(self, simd: S, finish: impl Finish, slopes: &[f32]) {
        let taps = self.window.taps();
        let blocks = cells::<S, N>(self.weight).chunks_exact(taps).zip(cells::<S, N>(self.bias));
        for (block, ((weight, bias), slope)) in blocks.zip(cells::<S, N>(slopes)).enumerate() {
            let row = Row::<S, N> {
                window: self.window,
                input: &self.input[block * self.input_pitch..],
                starts: self.starts,
                zeros: self.zeros,
                weight,
                bias: *bias,
                slope: *slope,
                out: cells_mut::<S, N>(&mut self.out[block * self.pitch..][..self.width * CHANNEL_BLOCK]),
            };
            row.run(simd, finish);
        }
    }
}

impl<'a, S: Simd, const N: usize> Row<'a, S, N> {
    #[inline(always)]
    fn run(mut self, simd: S, finish: impl Finish) {
        let inner = match (self.window.size, self.window.stride) {
            ([3, 3], 1 | 2) => self.three(simd, finish),
            _ => 0..0,
        };
        for x in (0..inner.start).chain(inner.end..self.out.len()) {
            self.pixel(simd, x, finish);
        }
    }

    /// The pixels of a 3×3 kernel that see no border; returns which they are.
    #[inline(always)]
    fn three(&mut self, simd: S, finish: impl Finish) -> Range<usize> {
        let Window { stride, padding: [_, padding], .. } = self.window;
        let first = padding.div_ceil(stride);
        let skipped = first * stride - padding;
        let Self { input, starts, zeros, .. } = *self;
        let row = |start: usize| &input[start..][..zeros.len()];
        let rows: [&'a [[S::f32s; N]]; 3] =
            std::array::from_fn(|y| cells::<S, N>(starts[y].map_or(zeros, row)));
        if self.out.len() <= first || rows[0].len() <= skipped {
            return first..first;
        }
        let rows = rows.map(|row| &row[skipped..]);
        let len = if stride == 1 {
            let three = rows.map(|row| row.array_windows().map(|[a, b, c]| [a, b, c]));
            self.inner(simd, finish, first, zip(three))
        } else {
            let pairs = rows.map(|row| row.as_chunks().0.array_windows());
            let three = pairs.map(|pairs| pairs.map(|[[a, b], [c, _]]| [a, b, c]));
            self.inner(simd, finish, first, zip(three))
        };
        first..first + len
    }

    /// Outputs from pixel `first` on, one for each 3×3 inputs; returns how many.
    #[inline(always)]
    fn inner(
        &mut self,
        simd: S,
        finish: impl Finish,
        first: usize,
        inputs: impl ExactSizeIterator<Item = [[&'a [S::f32s; N]; 3]; 3]> + Clone,
    ) -> usize {
        let weight: [[S::f32s; N]; 9] = self.weight.as_chunks().0[0];
        let len = inputs.len().min(self.out.len() - first);
        for v in 0..N {
            let weight: [S::f32s; 9] = std::array::from_fn(|tap| weight[tap][v]);
            let (bias, slope) = (self.bias[v], self.slope[v]);
            for (out, inputs) in self.out[first..].iter_mut().zip(inputs.clone()) {
                let mut sum = bias;
                for y in 0..3 {
                    for x in 0..3 {
                        sum = simd.mul_add_e_f32s(inputs[y][x][v], weight[3 * y + x], sum);
                    }
                }
                out[v] = finish.finish(simd, sum, slope);
            }
        }
        len
    }

    /// One pixel of any kernel anywhere.
    #[inline(always)]
    fn pixel(&mut self, simd: S, at: usize, finish: impl Finish) {
        let Window { size: [_, size], stride, padding: [_, padding] } = self.window;
        let width = self.zeros.len() / CHANNEL_BLOCK;
        // Columns of the kernel that are on the map.
        let from = padding.saturating_sub(at * stride);
        let to = size.min((width + padding).saturating_sub(at * stride));
        let mut sums = self.bias;
        for (y, start) in self.starts.iter().enumerate() {
            let Some(start) = start else { continue };
            let start = start + (at * stride + from - padding) * CHANNEL_BLOCK;
            let inputs = cells::<S, N>(&self.input[start..][..(to - from) * CHANNEL_BLOCK]);
            for (input, weight) in inputs.iter().zip(&self.weight[y * size + from..]) {
                for v in 0..N {
                    sums[v] = simd.mul_add_e_f32s(input[v], weight[v], sums[v]);
                }
            }
        }
        for ((out, sum), slope) in self.out[at].iter_mut().zip(sums).zip(self.slope) {
            *out = finish.finish(simd, sum, slope);
        }
    }
}

#[inline(always)]
fn zip<T: ExactSizeIterator + Clone>(
    [a, b, c]: [T; 3],
) -> impl ExactSizeIterator<Item = [T::Item; 3]> + Clone {
    a.zip(b).zip(c).map(|((a, b), c)| [a, b, c])
}
