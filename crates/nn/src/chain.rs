//! Layers one after the other, as one candle custom op.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use pulp::Arch;

use crate::band::{Band, CELL, Extent, Spare};
use crate::conv::{Conv2d, Depthwise, Window};
use crate::kernel;

#[cfg(test)]
mod tests;

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

    /// Number of weights.
    fn weights(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.weights(),
            Self::Depthwise(_) | Self::Max2x2 => 0,
        }
    }

    /// Channels of the cells in which the layer wants its input.
    fn cell(&self) -> usize {
        match self {
            Self::Dense(layer) => layer.cell(),
            Self::Depthwise(_) | Self::Max2x2 => CELL,
        }
    }

    fn run(&self, arch: Arch, input: &Band, rows: Range<usize>, out: &mut Band, spare: &mut Spare) {
        match self {
            Self::Dense(layer) => layer.run(arch, input, rows, out, spare),
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

/// Floats of the maps before and after a layer that are to be in the cache together.
const CACHED: usize = 256 << 10;

/// Layers that run over a few rows at a time, so that the maps between them stay in the cache.
///
/// Every map is held as a band of rows: those that a later layer still needs. Memory is shared between
/// bands, and kept from call to call, one set for each thread that calls at the same time.
#[derive(Debug)]
pub struct Chain {
    layers: Vec<Layer>,
    arch: Arch,
    /// See [`CACHED`].
    cached: usize,
    spare: Mutex<Vec<Spare>>,
}

impl Chain {
    /// Runs `layers` in their order.
    pub fn new(layers: Vec<Layer>) -> Self {
        Self { layers, arch: Arch::new(), cached: CACHED, spare: Mutex::default() }
    }

    /// Maps `(n, height, width, channels)`, f32 or (first layer on pictures) u8, to the last layer's f32 output.
    ///
    /// # Errors
    /// When the tensor has another shape, type or device.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }

    /// [`Chain::forward`] of `fine` plus `coarse` with every pixel doubled in both directions, as feature
    /// pyramids join maps: `(n, 2 × height, 2 × width, channels)` and `(n, height, width, channels)`, f32.
    ///
    /// # Errors
    /// When a tensor has another shape, type or device.
    pub fn forward_sum(&self, fine: &Tensor, coarse: &Tensor) -> Result<Tensor> {
        fine.apply_op2_no_bwd(coarse, self)
    }

    fn forward_source(&self, source: &Source<'_>, shape: &Shape) -> Result<(CpuStorage, Shape)> {
        let (count, height, width, channels) = shape.dims4()?;
        let extents = self.extents(Extent { count, height, width, channels })?;
        let last = extents[extents.len() - 1];
        let shape = Shape::from((last.count, last.height, last.width, last.channels));
        let empty = extents.iter().any(|e| e.len() == 0);
        let values = if empty { vec![0.0; shape.elem_count()] } else { self.run(source, &extents) };
        Ok((CpuStorage::F32(values), shape))
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

    fn run(&self, source: &Source<'_>, extents: &[Extent]) -> Vec<f32> {
        let last = extents[extents.len() - 1];
        let mut spare = self.spare().pop().unwrap_or_default();
        let cells = self.layers.first().map(Layer::cell).into_iter().chain(std::iter::repeat(CELL));
        let mut bands: Vec<_> = extents.iter().zip(cells).map(|(e, cell)| Band::new(*e, cell)).collect();
        let mut out = Vec::with_capacity(last.len());
        let step = self.rows_at_a_time(extents);
        for start in (0..last.rows()).step_by(step) {
            let end = last.rows().min(start + step);
            self.advance(source, end, &mut bands, &mut spare);
            if let Some(band) = bands.last() {
                self.arch.dispatch(|| append(band, start..end, &mut out));
            }
        }
        bands.iter_mut().for_each(|band| band.release(usize::MAX, &mut spare));
        self.spare().push(spare);
        out
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes the rows of the last map up to `end`.
    fn advance(&self, source: &Source<'_>, end: usize, bands: &mut [Band], spare: &mut Spare) {
        let mut ends = vec![end; bands.len()];
        for (i, layer) in self.layers.iter().enumerate().rev() {
            let (from, to) = (bands[i].extent().height, bands[i + 1].extent().height);
            ends[i] = inputs(layer.window(), from, to, ends[i + 1] - 1).end.max(bands[i].end());
        }
        let rows = bands[0].end()..ends[0];
        bands[0].advance(self.keep(0, bands), ends[0], spare);
        source.fill(self.arch, &mut bands[0], rows);
        for (i, layer) in self.layers.iter().enumerate() {
            let rows = bands[i + 1].end()..ends[i + 1];
            let keep = self.keep(i + 1, bands);
            bands[i + 1].advance(keep, ends[i + 1], spare);
            let (before, after) = bands.split_at_mut(i + 1);
            layer.run(self.arch, &before[i], rows, &mut after[0], spare);
            let keep = self.keep(i, bands);
            bands[i].release(keep, spare);
        }
    }

    /// Rows of the last map to compute at a time: as many as the cache holds, and enough to read large
    /// weights once for many pixels.
    fn rows_at_a_time(&self, extents: &[Extent]) -> usize {
        let rows = extents[extents.len() - 1].rows();
        let maps = extents.windows(2).map(|pair| pair[0].len() + pair[1].len()).max().unwrap_or(0);
        let weights = self.layers.iter().map(Layer::weights).max().unwrap_or(0);
        (self.cached.max(weights) * rows / maps.max(1)).clamp(1, rows.max(1))
    }

    /// First row of map `i` that is needed for what comes next.
    fn keep(&self, i: usize, bands: &[Band]) -> usize {
        match (self.layers.get(i), bands.get(i + 1)) {
            (Some(layer), Some(next)) if next.end() < next.extent().rows() => {
                inputs(layer.window(), bands[i].extent().height, next.extent().height, next.end()).start
            }
            _ => bands[i].end(),
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
#[inline(always)]
fn append(band: &Band, rows: Range<usize>, out: &mut Vec<f32>) {
    let Extent { width, channels, .. } = band.extent();
    for row in rows {
        let start = out.len();
        out.resize(start + width * channels, 0.0);
        for block in 0..band.blocks() {
            let cells = band.row(block, row).as_chunks::<CELL>().0;
            for (pixel, cell) in out[start..].chunks_exact_mut(channels).zip(cells) {
                match pixel[block * CELL..].first_chunk_mut() {
                    Some(target) => *target = *cell,
                    None => pixel[block * CELL..].copy_from_slice(&cell[..channels - block * CELL]),
                }
            }
        }
    }
}

/// Values of the input.
enum Source<'a> {
    F32(&'a [f32]),
    U8(&'a [u8]),
    Sum { fine: &'a [f32], coarse: &'a [f32] },
}

impl Source<'_> {
    fn fill(&self, arch: Arch, band: &mut Band, rows: Range<usize>) {
        match self {
            Self::F32(values) => fill(arch, values, band, rows),
            Self::U8(values) => fill(arch, values, band, rows),
            Self::Sum { fine, coarse } => {
                fill(arch, fine, band, rows.clone());
                add_doubled(coarse, band, rows);
            }
        }
    }
}

/// Copies rows of a map with its channels last into a band.
fn fill<T: Copy + Into<f32>>(arch: Arch, values: &[T], band: &mut Band, rows: Range<usize>) {
    match band.cell() {
        3 => arch.dispatch(|| fill_cells::<T, 3>(values, band, rows)),
        _ => arch.dispatch(|| fill_cells::<T, CELL>(values, band, rows)),
    }
}

#[inline(always)]
fn fill_cells<T: Copy + Into<f32>, const K: usize>(values: &[T], band: &mut Band, rows: Range<usize>) {
    let Extent { width, channels, .. } = band.extent();
    for row in rows {
        let values = &values[row * width * channels..][..width * channels];
        if channels == K {
            band.row_mut(0, row).iter_mut().zip(values).for_each(|(to, from)| *to = (*from).into());
            continue;
        }
        for block in 0..band.blocks() {
            let cells = band.row_mut(block, row).as_chunks_mut::<K>().0;
            for (cell, pixel) in cells.iter_mut().zip(values.chunks_exact(channels)) {
                let pixel = &pixel[block * K..];
                match pixel.first_chunk::<K>() {
                    Some(values) => *cell = values.map(Into::into),
                    None => {
                        *cell = std::array::from_fn(|i| pixel.get(i).map_or(0.0, |value| (*value).into()));
                    }
                }
            }
        }
    }
}

/// Adds a map of half the size, its channels last, to rows of a band.
fn add_doubled(values: &[f32], band: &mut Band, rows: Range<usize>) {
    let Extent { width, channels, .. } = band.extent();
    let (cell, row_len) = (band.cell(), width / 2 * channels);
    for row in rows {
        let values = &values[row / 2 * row_len..][..row_len];
        for block in 0..band.blocks() {
            let pairs = band.row_mut(block, row).chunks_exact_mut(2 * cell);
            for (pair, pixel) in pairs.zip(values.chunks_exact(channels)) {
                for target in pair.chunks_exact_mut(cell) {
                    target.iter_mut().zip(&pixel[block * cell..]).for_each(|(to, from)| *to += from);
                }
            }
        }
    }
}

impl CustomOp1 for Chain {
    fn name(&self) -> &'static str {
        "chain-nhwc"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let source = match storage {
            CpuStorage::U8(values) => Source::U8(contiguous(values, layout)?),
            _ => Source::F32(contiguous(storage.as_slice()?, layout)?),
        };
        self.forward_source(&source, layout.shape())
    }
}

impl CustomOp2 for Chain {
    fn name(&self) -> &'static str {
        "chain-sum-nhwc"
    }

    fn cpu_fwd(
        &self,
        fine: &CpuStorage,
        fine_layout: &Layout,
        coarse: &CpuStorage,
        coarse_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, height, width, channels) = coarse_layout.shape().dims4()?;
        if fine_layout.shape().dims() != [n, 2 * height, 2 * width, channels] {
            bail!("{:?} is not twice {:?}", fine_layout.shape(), coarse_layout.shape());
        }
        let fine = contiguous(fine.as_slice()?, fine_layout)?;
        let coarse = contiguous(coarse.as_slice()?, coarse_layout)?;
        self.forward_source(&Source::Sum { fine, coarse }, fine_layout.shape())
    }
}

fn contiguous<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    let Some((from, to)) = layout.contiguous_offsets() else { bail!("the tensor is not contiguous") };
    Ok(&values[from..to])
}
