//! Networks as graphs of layers, each graph one candle custom op.

use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use pulp::Arch;

use crate::conv::{Activation, Window};
use crate::isa::{self, Isa};
pub use crate::op::Layer;
use crate::op::Op;
use crate::row_buffer::{CHANNEL_BLOCK, Extent, RowBuffer, Spare};
use crate::stock;

#[cfg(test)]
mod tests;

/// A feature map of the graph that a [`Builder`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Map(usize);

/// Builds a [`Graph`], one map after the other.
#[derive(Debug)]
pub struct Builder {
    nodes: Vec<Node>,
}

/// Computes a map from others. Map 0 is the input of the graph, map `i + 1` is the output of node `i`.
#[derive(Debug)]
struct Node {
    op: Op,
    inputs: Vec<usize>,
}

impl Builder {
    /// An empty graph and its input.
    pub fn new() -> (Self, Map) {
        (Self { nodes: Vec::new() }, Map(0))
    }

    /// Adds `layer` on a map.
    pub fn layer(&mut self, input: Map, layer: impl Into<Layer>) -> Map {
        self.push(Op::Layer(layer.into()), &[input])
    }

    /// `activation(a + b)`. Where one map is smaller (height, width or channels), zeros follow its end, as in
    /// dlib's `add_prev`.
    pub fn add(&mut self, a: Map, b: Map, activation: Activation) -> Map {
        self.push(Op::add(activation), &[a, b])
    }

    /// The channels of maps of one size, one map after the other. All but the last need a multiple of 16
    /// channels.
    pub fn concat(&mut self, maps: &[Map]) -> Map {
        self.push(Op::Concat, maps)
    }

    /// A map times a gate: every pixel by the same factors, one a channel. The gate is a map of one pixel with as
    /// many channels, as squeeze-and-excitation makes it (Hu et al., CVPR 2018): a mean over the whole map, two
    /// layers, and [`Layer::Sigmoid`].
    pub fn scale(&mut self, map: Map, gate: Map) -> Map {
        self.push(Op::Scale, &[map, gate])
    }

    fn push(&mut self, op: Op, inputs: &[Map]) -> Map {
        self.nodes.push(Node { op, inputs: inputs.iter().map(|map| map.0).collect() });
        Map(self.nodes.len())
    }

    /// The graph that computes `output`. Maps that were added after it are dropped.
    pub fn build(mut self, output: Map) -> Graph {
        self.nodes.truncate(output.0);
        Graph::new(self.nodes)
    }
}

/// Floats of the maps before and after a layer that are to be in the cache together.
const CACHED: usize = 256 << 10;

/// A network that computes all maps a few rows at a time, so that they stay in the cache.
///
/// Every map is held as a band of rows: those that a later layer still needs. Memory is shared between
/// bands, and kept from call to call, one set for each thread that calls at the same time.
///
/// That is on the CPU. On other devices, the layers are candle's own operations, one after the other.
#[derive(Debug)]
pub struct Graph {
    /// The last one computes the output.
    nodes: Vec<Node>,
    /// Nodes that read each map.
    readers: Vec<Vec<usize>>,
    /// Maps that are all that later nodes read of what comes before.
    joints: Vec<usize>,
    /// Maps that a gate scales: they must be whole, image by image, before the first row of the next map.
    gated: Vec<usize>,
    isa: Isa,
    /// See [`CACHED`].
    cached: usize,
    spare: Mutex<Vec<Spare>>,
}

/// A part of a graph that runs over a few rows at a time.
struct Stage {
    /// The map that it computes.
    map: usize,
    /// Rows of that map at a time.
    step: usize,
}

/// Largest sizes among some nodes, in floats.
#[derive(Debug, Default, Clone, Copy)]
struct Load {
    maps: usize,
    weights: usize,
}

impl Load {
    fn max(self, other: Self) -> Self {
        Self { maps: self.maps.max(other.maps), weights: self.weights.max(other.weights) }
    }

    /// The share of all images to compute at a time: as much as the cache holds, and enough to read large
    /// weights once for many pixels.
    fn share(self, cached: usize) -> f64 {
        cached.max(self.weights) as f64 / self.maps.max(1) as f64
    }

    fn until(self, map: usize, extents: &[Extent], cached: usize) -> Stage {
        let rows = extents[map].rows();
        Stage { map, step: ((self.share(cached) * rows as f64) as usize).clamp(1, rows.max(1)) }
    }
}

impl Graph {
    fn new(nodes: Vec<Node>) -> Self {
        let mut readers = vec![Vec::new(); nodes.len() + 1];
        for (i, node) in nodes.iter().enumerate() {
            node.inputs.iter().for_each(|input| readers[*input].push(i));
        }
        let alone = |map: &usize| readers[..*map].iter().flatten().all(|reader| reader < map);
        let joints = (1..=nodes.len()).filter(alone).collect();
        let scaled = |node: &Node| matches!(node.op, Op::Scale).then(|| node.inputs[0]);
        let gated = nodes.iter().filter_map(scaled).collect();
        let isa = isa::chosen();
        Self { nodes, readers, joints, gated, isa, cached: CACHED, spare: Mutex::default() }
    }

    /// Runs `layers` in their order.
    pub fn chain(layers: Vec<Layer>) -> Self {
        let (mut builder, mut map) = Builder::new();
        for layer in layers {
            map = builder.layer(map, layer);
        }
        builder.build(map)
    }

    /// The graph with integers of 8 bits in place of the weights and inputs of those dense layers on the CPU that have
    /// no padding, at least 32 inputs and outputs, and one tap or more than nine. All instruction sets give the same
    /// outputs of such a layer for the same inputs. Layers on other devices stay as they are.
    pub fn in_integers(self) -> Self {
        let nodes = self.nodes.into_iter().map(|node| Node { op: node.op.in_integers(), ..node }).collect();
        Self { nodes, ..self }
    }

    /// Maps `(n, height, width, channels)`, f32 or (first layer on pictures) u8, to the output map, f32. Of f16,
    /// which only other devices than the CPU take, all is computed in f16; the output is f32 nonetheless.
    ///
    /// # Errors
    /// When the tensor has another shape or type, or is on another device than the weights.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if input.device().is_cpu() { input.apply_op1_no_bwd(self) } else { self.forward_stock(input) }
    }

    /// [`Graph::forward`] of `fine` plus `coarse` with every pixel doubled in both directions, as feature
    /// pyramids join maps: `(n, 2 × height, 2 × width, channels)` and `(n, height, width, channels)`, f32.
    ///
    /// # Errors
    /// As for [`Graph::forward`].
    pub fn forward_sum(&self, fine: &Tensor, coarse: &Tensor) -> Result<Tensor> {
        if fine.device().is_cpu() {
            return fine.apply_op2_no_bwd(coarse, self);
        }
        self.forward_stock(&(fine + stock::doubled(coarse)?)?)
    }

    /// Number of multiplications by weights for an input `(n, height, width, channels)`, as the layers define them: the
    /// kernels need fewer.
    ///
    /// # Errors
    /// When the layers do not take an input of this shape.
    pub fn multiplications(&self, input: &Shape) -> Result<usize> {
        let extents = self.extents(Extent::of(input)?)?;
        Ok(self.nodes.iter().zip(&extents[1..]).map(|(node, to)| node.op.multiplications(*to)).sum())
    }

    /// By candle's own operations.
    fn forward_stock(&self, input: &Tensor) -> Result<Tensor> {
        let extents = self.extents(Extent::of(input.shape())?)?;
        if extents.iter().any(|e| e.len() == 0) {
            return Tensor::zeros(extents[extents.len() - 1].shape(), DType::F32, input.device());
        }
        let dtype = if input.dtype().is_float() { input.dtype() } else { DType::F32 };
        let mut maps = vec![Some(stock::to_nchw(&input.to_dtype(dtype)?)?)];
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<_> = node.inputs.iter().filter_map(|input| maps[*input].as_ref()).collect();
            let output = node.op.by_candle(&inputs)?;
            maps.push(Some(output));
            for input in node.inputs.iter().filter(|input| self.readers[**input].last() == Some(&i)) {
                maps[*input] = None;
            }
        }
        match maps.pop().flatten() {
            Some(output) => stock::to_nhwc(&output)?.to_dtype(DType::F32),
            None => bail!("the graph is empty"),
        }
    }

    fn forward_source(&self, source: &Source<'_>, shape: &Shape) -> Result<(CpuStorage, Shape)> {
        let extents = self.extents(Extent::of(shape)?)?;
        let shape = Shape::from(extents[extents.len() - 1].shape());
        let empty = extents.iter().any(|e| e.len() == 0);
        let values = if empty { vec![0.0; shape.elem_count()] } else { self.run(source, &extents)? };
        Ok((CpuStorage::F32(values), shape))
    }

    /// Sizes of all maps.
    fn extents(&self, input: Extent) -> Result<Vec<Extent>> {
        let mut extents = vec![input];
        for node in &self.nodes {
            let inputs: Vec<_> = node.inputs.iter().map(|input| extents[*input]).collect();
            extents.push(node.op.extent(&inputs)?);
        }
        Ok(extents)
    }

    fn run(&self, source: &Source<'_>, extents: &[Extent]) -> Result<Vec<f32>> {
        let last = extents[extents.len() - 1];
        let mut spare = self.spare().pop().unwrap_or_default();
        let mut bands: Vec<_> = extents.iter().map(|e| RowBuffer::new(*e, CHANNEL_BLOCK)).collect();
        // In the cells that all readers of the input want.
        let cells = self.readers[0].iter().map(|reader| self.nodes[*reader].op.cell());
        bands[0] = RowBuffer::new(extents[0], cells.max().unwrap_or(CHANNEL_BLOCK));
        let mut out = Vec::with_capacity(last.len());
        let gates = self.gates(extents);
        self.crossing(&gates).for_each(|map| bands[map].hold(extents[map].height));
        for Stage { map, step } in self.stages(extents) {
            if map < self.nodes.len() {
                bands[map].hold(extents[map].rows());
            }
            while bands[map].end() < extents[map].rows() {
                let (start, end) = (bands[map].end(), extents[map].rows().min(bands[map].end() + step));
                let ends = self.ends(map, end, &bands);
                for Stage { map, step } in &gates {
                    while bands[*map].end() < ends[*map] {
                        let end = ends[*map].min(bands[*map].end() + step);
                        self.advance(source, *map, end, &mut bands, &mut spare)?;
                    }
                }
                self.advance(source, map, end, &mut bands, &mut spare)?;
                if map == self.nodes.len() {
                    let band = &bands[map];
                    self.isa.arch.dispatch(
                        #[inline(always)]
                        || append(band, start..band.end(), &mut out),
                    );
                }
            }
        }
        bands.iter_mut().for_each(|band| band.release(usize::MAX, &mut spare));
        self.spare().push(spare);
        Ok(out)
    }

    fn spare(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes the rows of a map up to `end`, or a few more.
    fn advance(
        &self,
        source: &Source<'_>,
        map: usize,
        end: usize,
        bands: &mut [RowBuffer],
        spare: &mut Spare,
    ) -> Result<()> {
        let ends = self.ends(map, end, bands);
        let rows = bands[0].end()..ends[0];
        bands[0].advance(self.keep(0, bands), ends[0], spare);
        source.fill(self.isa.arch, &mut bands[0], rows);
        for (i, node) in self.nodes.iter().enumerate() {
            let rows = bands[i + 1].end()..ends[i + 1];
            if rows.is_empty() {
                continue;
            }
            let keep = self.keep(i + 1, bands);
            bands[i + 1].advance(keep, ends[i + 1], spare);
            let (before, after) = bands.split_at_mut(i + 1);
            let inputs: Vec<_> = node.inputs.iter().map(|input| &before[*input]).collect();
            node.op.run(self.isa, &inputs, rows, &mut after[0], spare)?;
            for input in &node.inputs {
                let keep = self.keep(*input, bands);
                bands[*input].release(keep, spare);
            }
        }
        Ok(())
    }

    /// Up to which row every map is needed for the rows of `map` up to `end`.
    fn ends(&self, map: usize, end: usize, bands: &[RowBuffer]) -> Vec<usize> {
        let mut ends: Vec<_> = bands.iter().map(RowBuffer::end).collect();
        ends[map] = end;
        for (i, node) in self.nodes.iter().enumerate().rev() {
            let to = &bands[i + 1];
            if ends[i + 1] > to.end() {
                ends[i + 1] = whole(ends[i + 1], node.op.rows(to.extent()), to.extent().height);
                for (number, input) in node.inputs.iter().enumerate() {
                    let from = bands[*input].extent().height;
                    let needed =
                        inputs(node.op.window(number), from, to.extent().height, ends[i + 1] - 1).end;
                    ends[*input] = ends[*input].max(needed);
                }
            }
        }
        ends
    }

    /// Cuts the graph where a layer's weights exceed the cache and want more images at a time than what comes
    /// before. The map between two stages is held as a whole.
    fn stages(&self, extents: &[Extent]) -> Vec<Stage> {
        let mut stages = Vec::new();
        let (mut stage, mut start) = (Load::default(), 0);
        for joint in &self.joints {
            let part = self.load(start..*joint, extents);
            let large = part.weights > self.cached;
            if start > 0 && large && part.share(self.cached) > 2.0 * stage.share(self.cached) {
                stages.push(stage.until(start, extents, self.cached));
                stage = Load::default();
            }
            (stage, start) = (stage.max(part), *joint);
        }
        stages.push(stage.until(self.nodes.len(), extents, self.cached));
        stages
    }

    /// The maps that gates scale, each with the rows to compute at a time.
    fn gates(&self, extents: &[Extent]) -> Vec<Stage> {
        let mut start = 0;
        let stage = |map: &usize| {
            let part = self.load(start..*map, extents);
            start = *map;
            part.until(*map, extents, self.cached)
        };
        self.gated.iter().map(stage).collect()
    }

    /// Maps that are read after a gated map is whole.
    fn crossing(&self, gates: &[Stage]) -> impl Iterator<Item = usize> {
        let crosses = |map: &usize, gated: usize| {
            *map <= gated && self.readers[*map].iter().any(|reader| *reader >= gated)
        };
        (0..self.readers.len()).filter(move |map| gates.iter().any(|gate| crosses(map, gate.map)))
    }

    /// Largest sizes among some nodes.
    fn load(&self, nodes: Range<usize>, extents: &[Extent]) -> Load {
        let load = |node: usize| {
            let (Node { op, inputs }, to) = (&self.nodes[node], extents[node + 1]);
            let from: usize = inputs.iter().map(|input| extents[*input].len()).sum();
            Load { maps: from + to.len(), weights: op.weights(to) }
        };
        nodes.map(load).fold(Load::default(), Load::max)
    }

    /// First row of a map that is needed for what comes next.
    fn keep(&self, map: usize, bands: &[RowBuffer]) -> usize {
        let first = |reader: &usize| {
            let (Node { op, inputs: read }, next) = (&self.nodes[*reader], &bands[reader + 1]);
            let (from, to) = (bands[map].extent().height, next.extent());
            let needed = |number| inputs(op.window(number), from, to.height, next.end()).start;
            let numbers = (0..read.len()).filter(|number| read[*number] == map);
            if next.end() < to.rows() { numbers.map(needed).min() } else { None }
        };
        self.readers[map].iter().filter_map(first).min().unwrap_or(bands[map].end())
    }
}

/// Row `end` of images of `height` rows, moved on to where a group of rows ends.
fn whole(end: usize, group: usize, height: usize) -> usize {
    let start = (end - 1) / height * height;
    start + (end - start).next_multiple_of(group).min(height)
}

/// The input rows under output row `row`; both are numbered through all images.
fn inputs(window: Window, from: usize, to: usize, row: usize) -> Range<usize> {
    let (image, y) = (row / to, row % to * window.stride);
    let start = y.saturating_sub(window.padding[0]).min(from);
    let end = (y + window.size[0]).saturating_sub(window.padding[0]).min(from);
    image * from + start..image * from + end
}

/// Appends rows of a band to a map with its channels last.
#[inline(always)]
fn append(band: &RowBuffer, rows: Range<usize>, out: &mut Vec<f32>) {
    let Extent { width, channels, .. } = band.extent();
    for row in rows {
        let start = out.len();
        out.resize(start + width * channels, 0.0);
        for block in 0..band.blocks() {
            let cells = band.row(block, row).as_chunks::<CHANNEL_BLOCK>().0;
            for (pixel, cell) in out[start..].chunks_exact_mut(channels).zip(cells) {
                match pixel[block * CHANNEL_BLOCK..].first_chunk_mut() {
                    Some(target) => *target = *cell,
                    None => pixel[block * CHANNEL_BLOCK..]
                        .copy_from_slice(&cell[..channels - block * CHANNEL_BLOCK]),
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
    fn fill(&self, arch: Arch, band: &mut RowBuffer, rows: Range<usize>) {
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
fn fill<T: Copy + Into<f32>>(arch: Arch, values: &[T], band: &mut RowBuffer, rows: Range<usize>) {
    // Closures that are not inlined are compiled without the instructions of `arch`.
    arch.dispatch(
        #[inline(always)]
        || match band.cell() {
            3 => fill_cells::<T, 3>(values, band, rows),
            _ => fill_cells::<T, CHANNEL_BLOCK>(values, band, rows),
        },
    );
}

#[inline(always)]
fn fill_cells<T: Copy + Into<f32>, const K: usize>(values: &[T], band: &mut RowBuffer, rows: Range<usize>) {
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
fn add_doubled(values: &[f32], band: &mut RowBuffer, rows: Range<usize>) {
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

impl CustomOp1 for Graph {
    fn name(&self) -> &'static str {
        "graph-nhwc"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let source = match storage {
            CpuStorage::U8(values) => Source::U8(contiguous(values, layout)?),
            _ => Source::F32(contiguous(storage.as_slice()?, layout)?),
        };
        self.forward_source(&source, layout.shape())
    }
}

impl CustomOp2 for Graph {
    fn name(&self) -> &'static str {
        "graph-sum-nhwc"
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
            bail!("{:?} does not have twice the size of {:?}", fine_layout.shape(), coarse_layout.shape());
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
