//! Convolution layers; [`Chain`](crate::chain::Chain) runs them.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};
use pulp::Arch;

use crate::band::{Aligned, Band, CELL, Spare};
use crate::kernel;

/// What is applied to every output of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` if positive, else `slope × x`, one slope per channel.
    Prelu(Vec<f32>),
}

/// Where the kernel stands on its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the kernel.
    pub size: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros around the input, on every side.
    pub padding: usize,
}

impl Window {
    /// A 1×1 window.
    pub const POINT: Self = Self { size: 1, stride: 1, padding: 0 };

    /// A 3×3 window with a border of one, at `stride`.
    pub const fn three(stride: usize) -> Self {
        Self { size: 3, stride, padding: 1 }
    }

    /// Number of outputs along an axis of `len` inputs; 0 when the kernel does not fit.
    pub fn outputs(self, len: usize) -> usize {
        (len + 2 * self.padding + self.stride).saturating_sub(self.size) / self.stride
    }
}

/// A dense convolution: every output channel sees every input channel.
///
/// Computed as an indirect matrix product (the idea of XNNPACK's indirect GEMM, arXiv 1907.02129):
/// no im2col copy but a table of where each tap's inputs begin; weights are packed once at load.
#[derive(Debug)]
pub struct Conv2d {
    pub(crate) window: Window,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[block of outputs][block of inputs][tap][input][output]`.
    weight: Aligned,
    bias: Vec<f32>,
    epilogue: kernel::Epilogue,
}

impl Conv2d {
    /// `weight` is `(outputs, inputs, size, size)` as checkpoints store it, `bias` is `(outputs)`.
    ///
    /// # Errors
    /// When a shape differs from that.
    pub fn new(weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Result<Self> {
        let (outputs, inputs, rows, columns) = weight.dims4()?;
        check_layer("conv2d", window, (rows, columns), outputs, bias, &activation)?;
        let padded = outputs.next_multiple_of(CELL);
        Ok(Self {
            window,
            inputs,
            outputs,
            weight: pack(&weight.flatten_all()?.to_vec1()?, outputs, inputs, window.size * window.size),
            bias: padded_to(bias.to_vec1()?, padded),
            epilogue: kernel::Epilogue::new(&activation, padded),
        })
    }

    /// Channels of an input cell: pictures are not padded to whole cells.
    pub(crate) fn cell(&self) -> usize {
        if self.inputs == 3 { 3 } else { CELL }
    }

    pub(crate) fn weights(&self) -> usize {
        self.weight.len()
    }

    pub(crate) fn run(
        &self,
        arch: Arch,
        input: &Band,
        rows: Range<usize>,
        out: &mut Band,
        spare: &mut Spare,
    ) {
        if self.window == Window::POINT && input.cell() == self.cell() {
            let starts: Vec<_> = (0..input.blocks()).map(|b| input.offset(b, rows.start) / CELL).collect();
            let pixels = rows.len() * out.extent().width;
            let at = out.offset(0, rows.start);
            self.dense(arch, input.data(), &starts, pixels, out, at);
            return;
        }
        for rows in by_image(rows, out.extent().height) {
            self.padded(arch, input, rows, out, spare);
        }
    }

    /// Rows of one image, by way of a copy with its border around it, columns sorted by their place in the
    /// stride so that the pixels under a tap lie side by side.
    fn padded(&self, arch: Arch, input: &Band, rows: Range<usize>, out: &mut Band, spare: &mut Spare) {
        let Window { size, stride, padding } = self.window;
        let (from, to) = (input.extent(), out.extent());
        let (image, top) = (rows.start / to.height, rows.start % to.height * stride);
        let cell = self.cell();
        let columns = (from.width + 2 * padding).div_ceil(stride);
        let row_len = stride * columns * cell;
        let copied = (rows.len() - 1) * stride + size;
        let blocks = self.inputs.div_ceil(cell);
        let mut scratch = spare.take(blocks * copied * row_len);
        let padded = &mut scratch.as_mut_slice()[..blocks * copied * row_len];
        for (i, target) in padded.chunks_exact_mut(row_len).enumerate() {
            let (block, y) = (i / copied, top + i % copied);
            let Some(y) = y.checked_sub(padding).filter(|y| *y < from.height) else {
                target.fill(0.0);
                continue;
            };
            let row = input.row(block, image * from.height + y);
            match (input.cell(), cell) {
                (3, 3) => spread::<3, 3>(row, target, self.window, columns),
                (_, 3) => spread::<CELL, 3>(row, target, self.window, columns),
                _ => spread::<CELL, CELL>(row, target, self.window, columns),
            }
        }
        let mut starts = Vec::new();
        for (block, y, x) in taps(blocks, size) {
            starts.push((block * copied + y) * stride * columns + (x % stride) * columns + x / stride);
        }
        for (i, row) in rows.enumerate() {
            let at = out.offset(0, row);
            let input = &scratch.as_slice()[i * stride * row_len..];
            self.dense(arch, input, &starts, to.width, out, at);
        }
        spare.give(scratch);
    }

    fn dense(&self, arch: Arch, input: &[f32], starts: &[usize], pixels: usize, out: &mut Band, at: usize) {
        let pitch = out.pitch();
        arch.dispatch(kernel::Dense {
            input,
            cell: self.cell(),
            starts,
            weight: self.weight.as_slice(),
            bias: &self.bias,
            epilogue: &self.epilogue,
            pixels,
            out: &mut out.data_mut()[at..],
            pitch,
        });
    }
}

/// Copies a row into one with padding whose columns are sorted by their place in the stride.
fn spread<const FROM: usize, const TO: usize>(
    row: &[f32],
    target: &mut [f32],
    window: Window,
    columns: usize,
) {
    let Window { stride, padding, .. } = window;
    let (row, target) = (row.as_chunks::<FROM>().0, target.as_chunks_mut::<TO>().0);
    for (phase, target) in target.chunks_exact_mut(columns).enumerate() {
        // Padded column `phase + i × stride` is input column `phase + i × stride − padding`.
        let left = padding.saturating_sub(phase).div_ceil(stride);
        let pixels = row.get(left * stride + phase - padding..).unwrap_or_default().iter().step_by(stride);
        let (border, target) = target.split_at_mut(left);
        let (target, rest) = target.split_at_mut(pixels.len());
        border.as_flattened_mut().fill(0.0);
        rest.as_flattened_mut().fill(0.0);
        for (target, pixel) in target.iter_mut().zip(pixels) {
            target.copy_from_slice(&pixel[..TO]);
        }
    }
}

fn taps(blocks: usize, size: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..blocks * size * size).map(move |i| (i / (size * size), i / size % size, i % size))
}

/// Cuts rows that are numbered through all images where an image of `height` rows ends.
fn by_image(rows: Range<usize>, height: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = rows.start;
    std::iter::from_fn(move || {
        let end = ((start / height + 1) * height).min(rows.end);
        let part = start..end;
        start = end;
        (!part.is_empty()).then_some(part)
    })
}

fn pack(weight: &[f32], outputs: usize, inputs: usize, taps: usize) -> Aligned {
    let cell = if inputs == 3 { 3 } else { CELL };
    let blocks = inputs.div_ceil(cell);
    let mut packed = Aligned::zeros(outputs.div_ceil(CELL) * blocks * taps * cell * CELL);
    for (i, values) in weight.chunks_exact(taps).enumerate() {
        let (output, input) = (i / inputs, i % inputs);
        for (tap, value) in values.iter().enumerate() {
            let tap = ((output / CELL) * blocks + input / cell) * taps + tap;
            packed.as_mut_slice()[(tap * cell + input % cell) * CELL + output % CELL] = *value;
        }
    }
    packed
}

fn padded_to(mut values: Vec<f32>, len: usize) -> Vec<f32> {
    values.resize(len, 0.0);
    values
}

/// A depthwise convolution: every channel is filtered on its own.
#[derive(Debug)]
pub struct Depthwise {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    /// `[block of channels][tap][channel]`.
    weight: Aligned,
    bias: Vec<f32>,
    epilogue: kernel::Epilogue,
}

impl Depthwise {
    /// `weight` is `(channels, 1, size, size)` as checkpoints store it, `bias` is `(channels)`.
    ///
    /// # Errors
    /// When a shape differs from that.
    pub fn new(weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Result<Self> {
        let (channels, one, rows, columns) = weight.dims4()?;
        if one != 1 {
            bail!("depthwise: weight has {one} inputs per channel, not 1");
        }
        check_layer("depthwise", window, (rows, columns), channels, bias, &activation)?;
        let padded = channels.next_multiple_of(CELL);
        let taps = window.size * window.size;
        let mut packed = Aligned::zeros(padded * taps);
        let flat: Vec<f32> = weight.flatten_all()?.to_vec1()?;
        for (i, value) in flat.iter().enumerate() {
            let (channel, tap) = (i / taps, i % taps);
            packed.as_mut_slice()[((channel / CELL) * taps + tap) * CELL + channel % CELL] = *value;
        }
        Ok(Self {
            window,
            channels,
            weight: packed,
            bias: padded_to(bias.to_vec1()?, padded),
            epilogue: kernel::Epilogue::new(&activation, padded),
        })
    }

    pub(crate) fn run(&self, arch: Arch, input: &Band, rows: Range<usize>, out: &mut Band) {
        let Window { size, stride, padding } = self.window;
        let (from, to) = (input.extent(), out.extent());
        let zeros = vec![0.0; from.width * CELL];
        let (input_pitch, pitch) = (input.pitch(), out.pitch());
        let mut starts = vec![None; size];
        for row in rows {
            let (image, y) = (row / to.height, row % to.height);
            for (tap, start) in starts.iter_mut().enumerate() {
                let y = (y * stride + tap).checked_sub(padding).filter(|y| *y < from.height);
                *start = y.map(|y| input.offset(0, image * from.height + y));
            }
            let at = out.offset(0, row);
            arch.dispatch(kernel::Depthwise {
                window: self.window,
                input: input.data(),
                starts: &starts,
                input_pitch,
                zeros: &zeros,
                weight: self.weight.as_slice(),
                bias: &self.bias,
                epilogue: &self.epilogue,
                width: to.width,
                out: &mut out.data_mut()[at..],
                pitch,
            });
        }
    }
}

fn check_layer(
    layer: &str,
    window: Window,
    (rows, columns): (usize, usize),
    outputs: usize,
    bias: &Tensor,
    activation: &Activation,
) -> Result<()> {
    if (rows, columns) != (window.size, window.size) {
        bail!("{layer}: weight is {rows}×{columns}, not {0}×{0}", window.size);
    }
    if window.stride == 0 || window.padding >= window.size {
        bail!("{layer}: the window {window:?} makes no sense");
    }
    if bias.dims1()? != outputs {
        bail!("{layer}: {} biases for {outputs} outputs", bias.dims1()?);
    }
    match activation {
        Activation::Prelu(slopes) if slopes.len() != outputs => {
            bail!("{layer}: {} slopes for {outputs} outputs", slopes.len())
        }
        _ => Ok(()),
    }
}
