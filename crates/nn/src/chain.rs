//! Layers one after the other, as one candle custom op.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use pulp::Arch;

use crate::band::{Aligned, Band, CELL, Extent};
use crate::conv::{Conv2d, Depthwise, Window};
use crate::kernel;

/// A layer of a [`Chain`].
#[derive(Debug)]
pub enum Layer {
    /// See [`Conv2d`].
    Dense(Conv2d),
    /// See [`Depthwise`].
    Depthwise(Depthwise),
    /// The largest of every 2×2 pixels; odd rows and columns at the end are dropped.
    Max2x2,
}

impl From<Conv2d> for Layer {
    fn from(layer: Conv2d) -> Self {
        Self::Dense(layer)
    }
}

impl From<Depthwise> for Layer {
    fn from(layer: Depthwise) -> Self {
        Self::Depthwise(layer)
    }
}

impl Layer {
    fn window(&self) -> Window {
        match self {
            Self::Dense(layer) => layer.window,
            Self::Depthwise(layer) => layer.window,
            Self::Max2x2 => Window { size: 2, stride: 2, padding: 0 },
        }
    }

    /// Size of the output for an input of size `from`.
    fn extent(&self, from: Extent) -> Result<Extent> {
        let (inputs, outputs) = match self {
            Self::Dense(layer) => (layer.inputs, layer.outputs),
            Self::Depthwise(layer) => (layer.channels, layer.channels),
            Self::Max2x2 => (from.channels, from.channels),
        };
        if from.channels != inputs {
            bail!("expected {inputs} channels, got {}", from.channels);
        }
        Ok(from.after(self.window(), outputs))
    }

    /// Channels of the cells in which the layer wants its input.
    fn cell(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.cell(),
            Self::Depthwise(_) | Self::Max2x2 => CELL,
        }
    }

    fn run(&self, arch: Arch, input: &Band, rows: Range<usize>, out: &mut Band, scratch: &mut Aligned) {
        match self {
            Self::Dense(layer) => layer.run(arch, input, rows, out, scratch),
            Self::Depthwise(layer) => layer.run(arch, input, rows, out),
            Self::Max2x2 => max_2x2(arch, input, rows, out),
        }
    }
}

fn max_2x2(arch: Arch, input: &Band, rows: Range<usize>, out: &mut Band) {
    let (from, to) = (input.extent().height, out.extent().height);
    for row in rows {
        let top = row / to * from + row % to * 2;
        for block in 0..input.blocks() {
            let rows = [top, top + 1].map(|row| input.row(block, row));
            arch.dispatch(kernel::Max2x2 { rows, out: out.row_mut(block, row) });
        }
    }
}

/// Pixels of the last map to compute at a time: enough to read weights once for many pixels.
const PIXELS: usize = 80;

/// Layers that run over a few rows at a time, so that the maps between them stay in the cache.
///
/// Every map but the last is held as a band of rows: those that a later layer still needs. Bands are
/// kept from call to call, one set for each thread that calls at the same time.
#[derive(Debug)]
pub struct Chain {
    layers: Vec<Layer>,
    spare: Mutex<Vec<Workspace>>,
}

/// Memory of a pass: a band for the input and for the output of every layer.
#[derive(Debug)]
struct Workspace {
    bands: Vec<Band>,
    scratch: Aligned,
}

impl Chain {
    /// Runs `layers` in their order.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self { layers, spare: Mutex::default() }
    }

    /// Maps `(n, height, width, channels)`, f32 or (first layer on pictures) u8, to the last layer's f32 output.
    ///
    /// # Errors
    /// When the tensor has another shape, type or device.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }

    /// Sizes of the input and of every layer's output.
    fn extents(&self, input: Extent) -> Result<Vec<Extent>> {
        let mut extents = vec![input];
        let mut last = input;
        for layer in &self.layers {
            last = layer.extent(last)?;
            extents.push(last);
        }
        Ok(extents)
    }

    fn workspace(&self, extents: &[Extent]) -> Workspace {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut spare) =
            spare.filter(|s| s.bands.iter().map(Band::extent).eq(extents.iter().copied()))
        {
            spare.bands.iter_mut().for_each(Band::clear);
            return spare;
        }
        let cells = self.layers.first().map(Layer::cell).into_iter().chain(std::iter::repeat(CELL));
        let bands = extents.iter().zip(cells).map(|(extent, cell)| Band::new(*extent, cell)).collect();
        Workspace { bands, scratch: Aligned::default() }
    }

    fn run(&self, source: Source<'_>, extents: &[Extent]) -> Vec<f32> {
        let arch = Arch::new();
        let last = extents[extents.len() - 1];
        let mut out = Vec::with_capacity(last.rows() * last.width * last.channels);
        let mut workspace = self.workspace(extents);
        let step = PIXELS.div_ceil(last.width);
        for start in (0..last.rows()).step_by(step) {
            let end = last.rows().min(start + step);
            self.advance(arch, &source, end, &mut workspace);
            if let Some(band) = workspace.bands.last() {
                append(band, start..end, &mut out);
            }
        }
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        out
    }

    /// Computes the rows of the last map up to `end`.
    fn advance(&self, arch: Arch, source: &Source<'_>, end: usize, workspace: &mut Workspace) {
        let Workspace { bands, scratch } = workspace;
        let mut ends = vec![end; bands.len()];
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (from, to) = (bands[i].extent().height, bands[i + 1].extent().height);
            ends[i] = inputs(layer.window(), from, to, ends[i + 1] - 1).end.max(bands[i].end());
        }
        for i in 0..bands.len() {
            let done = bands[i].end();
            let keep = match (self.layers.get(i), bands.get(i + 1)) {
                (Some(layer), Some(next)) if next.end() < next.extent().rows() => {
                    inputs(layer.window(), bands[i].extent().height, next.extent().height, next.end()).start
                }
                _ => done,
            };
            bands[i].advance(keep, ends[i]);
            let (before, after) = bands.split_at_mut(i);
            let band = &mut after[0];
            match (before.last(), i.checked_sub(1).and_then(|i| self.layers.get(i))) {
                (Some(input), Some(layer)) if done < ends[i] => {
                    layer.run(arch, input, done..ends[i], band, scratch)
                }
                (None, _) => source.fill(band, done..ends[i]),
                _ => {}
            }
        }
    }
}

/// The input rows under output row `row`; both are numbered through all images.
fn inputs(window: Window, from: usize, to: usize, row: usize) -> Range<usize> {
    let (image, y) = (row / to, row % to * window.stride);
    let start = y.saturating_sub(window.padding).min(from);
    let end = (y + window.size).saturating_sub(window.padding).min(from);
    image * from + start..image * from + end
}

/// Appends rows of a band to a map with its channels last.
fn append(band: &Band, rows: Range<usize>, out: &mut Vec<f32>) {
    let Extent { width, channels, .. } = band.extent();
    for row in rows {
        for x in 0..width {
            for block in 0..band.blocks() {
                let cell = &band.row(block, row)[x * CELL..][..CELL];
                out.extend_from_slice(&cell[..CELL.min(channels - block * CELL)]);
            }
        }
    }
}

/// Values of the input tensor.
enum Source<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
}

impl Source<'_> {
    fn fill(&self, band: &mut Band, rows: Range<usize>) {
        match self {
            Self::F32(values) => fill(values, band, rows),
            Self::U8(values) => fill(values, band, rows),
        }
    }
}

/// Copies rows of a map with its channels last into a band.
fn fill<T: Copy + Into<f32>>(values: &[T], band: &mut Band, rows: Range<usize>) {
    let Extent { width, channels, .. } = band.extent();
    let cell = band.cell();
    for row in rows {
        let values = &values[row * width * channels..][..width * channels];
        for block in 0..band.blocks() {
            let len = cell.min(channels - block * cell);
            let target = band.row_mut(block, row).chunks_exact_mut(cell);
            for (target, pixel) in target.zip(values.chunks_exact(channels)) {
                let (taken, rest) = target.split_at_mut(len);
                for (target, value) in taken.iter_mut().zip(&pixel[block * cell..]) {
                    *target = (*value).into();
                }
                rest.fill(0.0);
            }
        }
    }
}

impl CustomOp1 for Chain {
    fn name(&self) -> &'static str {
        "chain-nhwc"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (count, height, width, channels) = layout.shape().dims4()?;
        let Some((from, to)) = layout.contiguous_offsets() else { bail!("the tensor is not contiguous") };
        let source = match storage {
            CpuStorage::U8(values) => Source::U8(&values[from..to]),
            _ => Source::F32(&storage.as_slice::<f32>()?[from..to]),
        };
        let extents = self.extents(Extent { count, height, width, channels })?;
        let last = extents[extents.len() - 1];
        let shape = Shape::from((last.count, last.height, last.width, last.channels));
        let empty = extents.iter().any(|e| e.rows() * e.width * e.channels == 0);
        let values = if empty { vec![0.0; shape.elem_count()] } else { self.run(source, &extents) };
        Ok((CpuStorage::F32(values), shape))
    }
}
