//! Convolution layers; a [`Graph`](crate::graph::Graph) runs them.

use std::ops::Range;
use std::sync::OnceLock;

use candle_core::{DType, Result, Tensor, bail};
use pulp::Arch;

use crate::integer::{self, Integers};
use crate::isa::Isa;
use crate::row_buffer::{Aligned, CHANNEL_BLOCK, Extent, RowBuffer, Spare};
use crate::winograd::{self, Winograd};
use crate::{kernel, stock};

/// Rows of fewer pixels than this do not fill the kernel.
const NARROW: usize = 8;

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

impl Activation {
    pub(crate) fn check(&self, layer: &str, channels: usize) -> Result<()> {
        match self {
            Self::Prelu(slopes) if slopes.len() != channels => {
                bail!("{layer}: found {} slopes for {channels} channels", slopes.len())
            }
            _ => Ok(()),
        }
    }

    /// The activation with a slope for each of `channels`; those that are added are 0.
    pub(crate) fn padded(&self, channels: usize) -> Self {
        let mut padded = self.clone();
        if let Self::Prelu(slopes) = &mut padded {
            slopes.resize(channels, 0.0);
        }
        padded
    }
}

/// Geometry of a kernel: size, stride and padding. Pairs are (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the kernel.
    pub size: [usize; 2],
    /// Step between outputs.
    pub stride: usize,
    /// Zeros above and below, left and right of the input; less than the kernel's size.
    pub padding: [usize; 2],
}

impl Window {
    /// A 1×1 window.
    pub const POINT: Self = Self::square(1, 1, 0);

    /// A 3×3 window with a border of one, at `stride`.
    pub const fn three(stride: usize) -> Self {
        Self::square(3, stride, 1)
    }

    /// A `size × size` window.
    pub const fn square(size: usize, stride: usize, padding: usize) -> Self {
        Self { size: [size; 2], stride, padding: [padding; 2] }
    }

    /// A window of odd height and width that gives as many outputs as there are inputs.
    pub const fn rect([height, width]: [usize; 2]) -> Self {
        Self { size: [height, width], stride: 1, padding: [height / 2, width / 2] }
    }

    /// Height and width of the output map; 0 if the kernel does not fit.
    pub fn outputs(self, [height, width]: [usize; 2]) -> [usize; 2] {
        let outputs = |axis: usize, len: usize| {
            (len + 2 * self.padding[axis] + self.stride).saturating_sub(self.size[axis]) / self.stride
        };
        [outputs(0, height), outputs(1, width)]
    }

    /// Number of weights of one input and one output.
    pub(crate) fn taps(self) -> usize {
        self.size[0] * self.size[1]
    }

    pub(crate) fn check(self, layer: &str) -> Result<()> {
        let padded = (0..2).any(|axis| self.padding[axis] >= self.size[axis]);
        if self.stride == 0 || padded {
            bail!("{layer}: invalid window {self:?}");
        }
        Ok(())
    }
}

/// Parameters of a layer, in the form that its device needs.
#[derive(Debug)]
enum Form {
    /// For the kernels.
    Packed(Packed),
    /// For the kernels of integers.
    Integers(Integers),
    /// For candle's own operations.
    Stock { weight: Tensor, bias: Tensor, activation: Activation },
}

#[derive(Debug)]
struct Packed {
    weight: Aligned,
    /// Padded to whole cells.
    bias: Vec<f32>,
    epilogue: kernel::Epilogue,
}

impl Packed {
    fn weight(&self) -> &[f32] {
        &self.weight.as_slice()[..self.weight.len()]
    }
}

impl Form {
    fn packed(
        weight: &Tensor,
        bias: &Tensor,
        activation: &Activation,
        pack: impl Fn(&[f32]) -> Aligned,
    ) -> Result<Self> {
        let floats = |t: &Tensor| t.flatten_all()?.to_dtype(DType::F32)?.to_vec1();
        let mut bias: Vec<f32> = floats(bias)?;
        bias.resize(bias.len().next_multiple_of(CHANNEL_BLOCK), 0.0);
        let epilogue = activation.padded(bias.len());
        Ok(Self::Packed(Packed { weight: pack(&floats(weight)?), bias, epilogue }))
    }

    fn for_kernels(&self) -> Result<&Packed> {
        match self {
            Self::Packed(packed) => Ok(packed),
            Self::Integers(_) => bail!("the weights are integers"),
            Self::Stock { .. } => bail!("the input is on the CPU, the weights are on another device"),
        }
    }

    /// `convolve` with weight and bias in `dtype`, then the activation. Turning the weights into another type
    /// at every pass costs little beside the pass, and they stay as they were read.
    fn by_candle(
        &self,
        dtype: DType,
        convolve: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        match self {
            Self::Packed(_) | Self::Integers(_) => {
                bail!("the weights are on the CPU, the input is on another device")
            }
            Self::Stock { weight, bias, activation } => {
                let output = convolve(&weight.to_dtype(dtype)?, &bias.to_dtype(dtype)?)?;
                stock::activated(output, activation)
            }
        }
    }
}

/// A dense convolution: every output channel sees every input channel.
///
/// Computed as an indirect matrix product (the idea of XNNPACK's indirect GEMM, arXiv 1907.02129): no im2col
/// copy, but for very narrow maps, and a table of where each tap's inputs begin. Weights are packed once at
/// load. 3×3 kernels of stride 1 use [`winograd`] if the maps are large enough. A graph
/// [in integers](crate::graph::Graph::in_integers) has layers of integers where these suit.
#[derive(Debug)]
pub struct Conv2d {
    pub(crate) window: Window,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Packed as `[block of outputs][block of inputs][tap][input][output]`.
    form: Form,
    /// Transformed weights for [`winograd`], computed at first use.
    transformed: OnceLock<Aligned>,
}

impl Conv2d {
    /// `weight` is `(outputs, inputs, height, width)` as checkpoints store it, `bias` is `(outputs)`. The
    /// layer runs on the device that holds them.
    ///
    /// # Errors
    /// When a shape differs from that.
    pub fn new(weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Result<Self> {
        if !weight.device().is_cpu() {
            return Self::stock(weight, bias, window, activation);
        }
        let (outputs, inputs) = check_layer("conv2d", weight, bias, window, &activation)?;
        let pack = |weight: &[f32]| pack(weight, outputs, inputs, window.taps());
        let form = Form::packed(weight, bias, &activation, pack)?;
        Ok(Self { window, inputs, outputs, form, transformed: OnceLock::new() })
    }

    /// The layer with [`Integers`] where [`integer::suits`] says so.
    pub(crate) fn in_integers(mut self) -> Self {
        if let Form::Packed(packed) = &self.form
            && self.cell() == CHANNEL_BLOCK
            && integer::suits(self.window, self.inputs, self.outputs)
        {
            self.form = Form::Integers(Integers::new(packed.weight(), &packed.bias, &packed.epilogue));
        }
        self
    }

    /// A layer that runs by candle's operations.
    pub(crate) fn stock(
        weight: &Tensor,
        bias: &Tensor,
        window: Window,
        activation: Activation,
    ) -> Result<Self> {
        let (outputs, inputs) = check_layer("conv2d", weight, bias, window, &activation)?;
        let form = Form::Stock { weight: weight.clone(), bias: bias.clone(), activation };
        Ok(Self { window, inputs, outputs, form, transformed: OnceLock::new() })
    }

    pub(crate) fn by_candle(&self, x: &Tensor) -> Result<Tensor> {
        self.form.by_candle(x.dtype(), |weight, bias| stock::conv2d(x, weight, bias, self.window))
    }

    /// Channels of an input cell: pictures are not padded to whole cells.
    pub(crate) fn cell(&self) -> usize {
        if self.inputs == 3 { 3 } else { CHANNEL_BLOCK }
    }

    /// Weights that are read for outputs of size `to`, in floats.
    pub(crate) fn weights(&self, to: Extent) -> usize {
        if let Form::Integers(integers) = &self.form {
            return integers.len() / size_of::<f32>();
        }
        let points = if self.is_winograd(to) { winograd::POINTS } else { self.window.taps() };
        self.inputs * self.outputs * points
    }

    /// Number of rows of an image of size `to` that are computed together; fewer at its end.
    pub(crate) fn rows(&self, to: Extent) -> usize {
        if self.is_winograd(to) { winograd::SIDE } else { 1 }
    }

    fn is_winograd(&self, to: Extent) -> bool {
        winograd::suits(self.window, self.inputs, to)
    }

    pub(crate) fn run(
        &self,
        isa: Isa,
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) -> Result<()> {
        if let Form::Integers(integers) = &self.form {
            self.by_integers(integers, isa, input, rows, out, spare);
            return Ok(());
        }
        let (packed, arch) = (self.form.for_kernels()?, isa.arch);
        if self.is_winograd(out.extent()) {
            let layer = Winograd {
                inputs: self.inputs,
                weight: self.transformed.get_or_init(|| winograd::transform(packed.weight())).as_slice(),
                bias: &packed.bias,
                epilogue: &packed.epilogue,
                padding: self.window.padding,
            };
            layer.run(arch, input, rows, out, spare);
            return Ok(());
        }
        if self.window == Window::POINT && input.cell() == self.cell() {
            let starts: Vec<_> =
                (0..input.blocks()).map(|b| input.offset(b, rows.start) / self.cell()).collect();
            let pixels = rows.len() * out.extent().width;
            self.dense(packed, arch, input.data(), (&starts, &[0], pixels), (out, rows.start));
        } else if self.window.taps() == 1 || out.extent().width < NARROW {
            self.gathered(packed, arch, input, rows, out, spare);
        } else {
            self.padded(packed, arch, input, rows, out, spare);
        }
        Ok(())
    }

    /// Computes rows of a window without padding: all rows together if the window is a point, all images together if it
    /// sees a whole map, else row by row.
    fn by_integers(
        &self,
        integers: &Integers,
        isa: Isa,
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) {
        let (from, to) = (input.extent(), out.extent());
        // Without padding, there is a row under every row of the window.
        let starts = |row: usize| -> Vec<usize> {
            let cell = |(block, y, x)| {
                Some(input.offset(block, source(self.window, input, row, to.height, y)?) + x * CHANNEL_BLOCK)
            };
            taps(input.blocks(), self.window.size).filter_map(cell).collect()
        };
        if self.window == Window::POINT {
            integers.run(isa.products, (input, &starts(rows.start), CHANNEL_BLOCK), rows, out, spare);
        } else if (to.height, to.width) == (1, 1) {
            let step = from.height * from.width * CHANNEL_BLOCK;
            integers.run(isa.products, (input, &starts(rows.start), step), rows, out, spare);
        } else {
            let step = self.window.stride * CHANNEL_BLOCK;
            for row in rows {
                integers.run(isa.products, (input, &starts(row), step), row..row + 1, out, spare);
            }
        }
    }

    /// Computes rows from a copy of the inputs of each tap, in which the pixels of all rows are contiguous.
    fn gathered(
        &self,
        packed: &Packed,
        arch: Arch,
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) {
        let (cell, width, height) = (self.cell(), out.extent().width, out.extent().height);
        let taps: Vec<_> = taps(self.inputs.div_ceil(cell), self.window.size).collect();
        let pixels = rows.len() * width;
        let mut scratch = spare.take(taps.len() * pixels * cell);
        let mut targets = scratch.as_mut_slice().chunks_exact_mut(width * cell);
        for (block, y, x) in &taps {
            for (row, target) in rows.clone().zip(&mut targets) {
                let source = source(self.window, input, row, height, *y);
                pick(arch, self.window, input, (*block, source, *x), target, cell);
            }
        }
        let starts: Vec<_> = (0..taps.len()).map(|tap| tap * pixels).collect();
        self.dense(packed, arch, scratch.as_slice(), (&starts, &[0], pixels), (out, rows.start));
        spare.give(scratch);
    }

    /// Computes rows from a padded copy, with columns sorted by their phase in the stride, so that the pixels
    /// under a tap are contiguous.
    fn padded(
        &self,
        packed: &Packed,
        arch: Arch,
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) {
        let Window { size, stride, padding } = self.window;
        let (cell, height, blocks) = (self.cell(), out.extent().height, self.inputs.div_ceil(self.cell()));
        let columns = (input.extent().width + 2 * padding[1]).div_ceil(stride);
        let (mut sources, mut places) = (Vec::new(), Vec::new());
        for rows in by_image(rows.clone(), height) {
            let first = sources.len();
            places.extend((0..rows.len()).map(|i| (first + i * stride) * stride * columns));
            let copied = 0..(rows.len() - 1) * stride + size[0];
            sources.extend(copied.map(|y| source(self.window, input, rows.start, height, y)));
        }
        let mut scratch = spare.take(blocks * sources.len() * stride * columns * cell);
        let mut targets = scratch.as_mut_slice().chunks_exact_mut(columns * cell);
        for block in 0..blocks {
            for source in &sources {
                for (phase, target) in (0..stride).zip(&mut targets) {
                    pick(arch, self.window, input, (block, *source, phase), target, cell);
                }
            }
        }
        let start =
            |(block, y, x)| ((block * sources.len() + y) * stride + x % stride) * columns + x / stride;
        let starts: Vec<_> = taps(blocks, size).map(start).collect();
        let pixels = out.extent().width;
        self.dense(packed, arch, scratch.as_slice(), (&starts, &places, pixels), (out, rows.start));
        spare.give(scratch);
    }

    /// Rows of `pixels` outputs from `row` on; see [`kernel::Dense`] for `starts` and `rows`.
    fn dense(
        &self,
        packed: &Packed,
        arch: Arch,
        input: &[f32],
        (starts, rows, pixels): (&[usize], &[usize], usize),
        (out, row): (&mut RowBuffer, usize),
    ) {
        let (pitch, at) = (out.pitch(), out.offset(0, row));
        arch.dispatch(kernel::Dense {
            input,
            cell: self.cell(),
            starts,
            rows,
            weight: packed.weight.as_slice(),
            bias: &packed.bias,
            epilogue: &packed.epilogue,
            pixels,
            out: &mut out.data_mut()[at..],
            pitch,
        });
    }
}

/// The input row under row `y` of the window, for output row `row` of images of `height` rows; `None` on the
/// padding.
fn source(window: Window, input: &RowBuffer, row: usize, height: usize, y: usize) -> Option<usize> {
    let from = input.extent().height;
    let y = (row % height * window.stride + y).checked_sub(window.padding[0]).filter(|y| *y < from)?;
    Some(row / height * from + y)
}

/// Copies the input pixels under column `x` of the window along a whole row, with zeros for the padding.
fn pick(
    arch: Arch,
    window: Window,
    input: &RowBuffer,
    (block, row, x): (usize, Option<usize>, usize),
    target: &mut [f32],
    cell: usize,
) {
    let Some(row) = row.map(|row| input.row(block, row)) else { return target.fill(0.0) };
    arch.dispatch(
        #[inline(always)]
        || match (input.cell(), cell) {
            (3, 3) => pick_cells::<3, 3>(window, row, x, target),
            (_, 3) => pick_cells::<CHANNEL_BLOCK, 3>(window, row, x, target),
            _ => pick_cells::<CHANNEL_BLOCK, CHANNEL_BLOCK>(window, row, x, target),
        },
    );
}

#[inline(always)]
fn pick_cells<const FROM: usize, const TO: usize>(window: Window, row: &[f32], x: usize, target: &mut [f32]) {
    let Window { stride, padding: [_, padding], .. } = window;
    let (row, target) = (row.as_chunks::<FROM>().0, target.as_chunks_mut::<TO>().0);
    // Output `i` sees column `x + i × stride − padding`.
    let left = padding.saturating_sub(x).div_ceil(stride).min(target.len());
    let (border, target) = target.split_at_mut(left);
    let pixels = row.get(left * stride + x - padding..).unwrap_or_default();
    let seen = pixels.len().div_ceil(stride).min(target.len());
    let (target, rest) = target.split_at_mut(seen);
    border.as_flattened_mut().fill(0.0);
    rest.as_flattened_mut().fill(0.0);
    for (target, pixel) in target.iter_mut().zip(pixels.iter().step_by(stride)) {
        target.copy_from_slice(&pixel[..TO]);
    }
}

fn taps(blocks: usize, [rows, columns]: [usize; 2]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..blocks * rows * columns).map(move |i| (i / (rows * columns), i / columns % rows, i % columns))
}

/// Splits rows that are numbered through all images at the ends of images of `height` rows.
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
    let cell = if inputs == 3 { 3 } else { CHANNEL_BLOCK };
    let blocks = inputs.div_ceil(cell);
    let mut packed = Aligned::zeros(outputs.div_ceil(CHANNEL_BLOCK) * blocks * taps * cell * CHANNEL_BLOCK);
    for (i, values) in weight.chunks_exact(taps).enumerate() {
        let (output, input) = (i / inputs, i % inputs);
        for (tap, value) in values.iter().enumerate() {
            let tap = ((output / CHANNEL_BLOCK) * blocks + input / cell) * taps + tap;
            packed.as_mut_slice()[(tap * cell + input % cell) * CHANNEL_BLOCK + output % CHANNEL_BLOCK] =
                *value;
        }
    }
    packed
}

/// A depthwise convolution: every channel is filtered on its own. With [`Window::POINT`] it scales and
/// shifts channels.
#[derive(Debug)]
pub struct Depthwise {
    pub(crate) window: Window,
    pub(crate) channels: usize,
    /// Packed as `[block of channels][tap][channel]`.
    form: Form,
}

impl Depthwise {
    /// `weight` is `(channels, 1, height, width)` as checkpoints store it, `bias` is `(channels)`. The layer
    /// runs on the device that holds them.
    ///
    /// # Errors
    /// When a shape differs from that.
    pub fn new(weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Result<Self> {
        if !weight.device().is_cpu() {
            return Self::stock(weight, bias, window, activation);
        }
        let channels = Self::check(weight, bias, window, &activation)?;
        let taps = window.taps();
        let pack = |weight: &[f32]| {
            let mut packed = Aligned::zeros(channels.next_multiple_of(CHANNEL_BLOCK) * taps);
            for (i, value) in weight.iter().enumerate() {
                let (channel, tap) = (i / taps, i % taps);
                packed.as_mut_slice()
                    [((channel / CHANNEL_BLOCK) * taps + tap) * CHANNEL_BLOCK + channel % CHANNEL_BLOCK] =
                    *value;
            }
            packed
        };
        Ok(Self { window, channels, form: Form::packed(weight, bias, &activation, pack)? })
    }

    /// A layer that runs by candle's operations.
    pub(crate) fn stock(
        weight: &Tensor,
        bias: &Tensor,
        window: Window,
        activation: Activation,
    ) -> Result<Self> {
        let channels = Self::check(weight, bias, window, &activation)?;
        let form = Form::Stock { weight: weight.clone(), bias: bias.clone(), activation };
        Ok(Self { window, channels, form })
    }

    fn check(weight: &Tensor, bias: &Tensor, window: Window, activation: &Activation) -> Result<usize> {
        match check_layer("depthwise", weight, bias, window, activation)? {
            (channels, 1) => Ok(channels),
            (_, inputs) => bail!("depthwise: weight has {inputs} inputs per channel, not 1"),
        }
    }

    pub(crate) fn by_candle(&self, x: &Tensor) -> Result<Tensor> {
        self.form.by_candle(x.dtype(), |weight, bias| stock::depthwise(x, weight, bias, self.window))
    }

    pub(crate) fn run(
        &self,
        arch: Arch,
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
    ) -> Result<()> {
        let packed = self.form.for_kernels()?;
        let width = out.extent().width;
        let zeros = vec![0.0; input.extent().width * CHANNEL_BLOCK];
        let (input_pitch, pitch) = (input.pitch(), out.pitch());
        for row in rows {
            let starts = starts(self.window, input, row, out.extent().height);
            let at = out.offset(0, row);
            kernel::dispatch(
                arch,
                kernel::Depthwise {
                    window: self.window,
                    input: input.data(),
                    starts: &starts,
                    input_pitch,
                    zeros: &zeros,
                    weight: packed.weight.as_slice(),
                    bias: &packed.bias,
                    epilogue: &packed.epilogue,
                    width,
                    out: &mut out.data_mut()[at..],
                    pitch,
                },
            );
        }
        Ok(())
    }
}

/// Where the input rows under the window begin for output row `row` of images of `height` rows; `None` on
/// the padding.
fn starts(window: Window, input: &RowBuffer, row: usize, height: usize) -> Vec<Option<usize>> {
    let sources = (0..window.size[0]).map(|y| source(window, input, row, height, y));
    sources.map(|row| row.map(|row| input.offset(0, row))).collect()
}

/// Replaces the values under a window by one.
pub(crate) fn pool(
    pooling: kernel::Pooling,
    window: Window,
    arch: Arch,
    input: &RowBuffer,
    rows: Range<usize>,
    out: &mut RowBuffer,
) {
    let (width, pitch) = (out.extent().width, out.pitch());
    for row in rows {
        let starts = starts(window, input, row, out.extent().height);
        let at = out.offset(0, row);
        kernel::dispatch(
            arch,
            kernel::Pool {
                pooling,
                window,
                input: input.data(),
                starts: &starts,
                input_width: input.extent().width,
                input_pitch: input.pitch(),
                blocks: input.blocks(),
                width,
                out: &mut out.data_mut()[at..],
                pitch,
            },
        );
    }
}

/// Outputs, and inputs of each.
fn check_layer(
    layer: &str,
    weight: &Tensor,
    bias: &Tensor,
    window: Window,
    activation: &Activation,
) -> Result<(usize, usize)> {
    let (outputs, inputs, rows, columns) = weight.dims4()?;
    if [rows, columns] != window.size {
        bail!("{layer}: the weight is {rows}×{columns}, expected {}×{}", window.size[0], window.size[1]);
    }
    window.check(layer)?;
    if bias.dims1()? != outputs {
        bail!("{layer}: found {} biases for {outputs} outputs", bias.dims1()?);
    }
    activation.check(layer, outputs)?;
    Ok((outputs, inputs))
}
