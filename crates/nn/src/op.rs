//! Operations of a graph.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use crate::conv::{self, Activation, Conv2d, Depthwise, Window};
use crate::isa::Isa;
use crate::kernel::{self, Epilogue, Pooling};
use crate::row_buffer::{CHANNEL_BLOCK, Extent, RowBuffer, Spare};
use crate::stock;

/// An operation on one map.
#[derive(Debug)]
pub enum Layer {
    /// See [`Conv2d`].
    Dense(Conv2d),
    /// See [`Depthwise`].
    Depthwise(Depthwise),
    /// Maximum under the window, without the padding.
    MaxPool(Window),
    /// Mean under the window, with zeros for the padding.
    AvgPool(Window),
    /// `1 / (1 + exp(−x))`, which turns the values of a small map into a gate; see
    /// [`Builder::scale`](crate::graph::Builder::scale).
    Sigmoid,
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
            Self::MaxPool(window) | Self::AvgPool(window) => *window,
            Self::Sigmoid => Window::POINT,
        }
    }

    fn in_integers(self) -> Self {
        match self {
            Self::Dense(layer) => Self::Dense(layer.in_integers()),
            other => other,
        }
    }

    fn extent(&self, from: Extent) -> Result<Extent> {
        let (inputs, outputs) = match self {
            Self::Dense(layer) => (layer.inputs, layer.outputs),
            Self::Depthwise(layer) => (layer.channels, layer.channels),
            Self::MaxPool(window) | Self::AvgPool(window) => {
                window.check("pooling")?;
                (from.channels, from.channels)
            }
            Self::Sigmoid => (from.channels, from.channels),
        };
        if from.channels != inputs {
            bail!("expected {inputs} channels, got {}", from.channels);
        }
        Ok(from.after(self.window(), outputs))
    }

    fn run(
        &self,
        isa: Isa,
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) -> Result<()> {
        match self {
            Self::Dense(layer) => return layer.run(isa, input, rows, out, spare),
            Self::Depthwise(layer) => return layer.run(isa.arch, input, rows, out),
            Self::MaxPool(window) => conv::pool(Pooling::Max, *window, isa.arch, input, rows, out),
            Self::AvgPool(window) => conv::pool(Pooling::Average, *window, isa.arch, input, rows, out),
            Self::Sigmoid => sigmoid(input, &rows, out),
        }
        Ok(())
    }

    fn by_candle(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Dense(layer) => layer.by_candle(x),
            Self::Depthwise(layer) => layer.by_candle(x),
            Self::MaxPool(window) => stock::max_pool(x, *window),
            Self::AvgPool(window) => stock::avg_pool(x, *window),
            Self::Sigmoid => candle_nn::ops::sigmoid(x),
        }
    }
}

/// An operation on one or several maps.
#[derive(Debug)]
pub(crate) enum Op {
    Layer(Layer),
    Add(Activation, Epilogue),
    Concat,
    Scale,
}

impl Op {
    pub(crate) fn add(activation: Activation) -> Self {
        let channels = if let Activation::Prelu(slopes) = &activation { slopes.len() } else { 0 };
        let epilogue = activation.padded(channels.next_multiple_of(CHANNEL_BLOCK));
        Self::Add(activation, epilogue)
    }

    /// See [`Graph::in_integers`](crate::graph::Graph::in_integers).
    pub(crate) fn in_integers(self) -> Self {
        match self {
            Self::Layer(layer) => Self::Layer(layer.in_integers()),
            other => other,
        }
    }

    /// The window on input `number`.
    pub(crate) fn window(&self, number: usize) -> Window {
        match self {
            Self::Layer(layer) => layer.window(),
            // The only row of the gate is under every row.
            Self::Scale if number == 1 => Window { stride: 0, ..Window::POINT },
            Self::Add(..) | Self::Concat | Self::Scale => Window::POINT,
        }
    }

    /// Size of the output for inputs of sizes `from`.
    pub(crate) fn extent(&self, from: &[Extent]) -> Result<Extent> {
        match (self, from) {
            (Self::Layer(layer), [from]) => layer.extent(*from),
            (Self::Add(activation, _), [a, b]) => {
                let (height, width) = (a.height.max(b.height), a.width.max(b.width));
                let channels = a.channels.max(b.channels);
                activation.check("add", channels)?;
                Ok(Extent { height, width, channels, ..*a })
            }
            (Self::Concat, [first, ..]) => {
                let channels: usize = from.iter().map(|e| e.channels).sum();
                if from.iter().any(|e| (e.height, e.width) != (first.height, first.width)) {
                    bail!("concat: the maps have different sizes");
                }
                if from[..from.len() - 1].iter().any(|e| e.channels % CHANNEL_BLOCK != 0) {
                    bail!("concat: all maps except the last need a multiple of {CHANNEL_BLOCK} channels");
                }
                Ok(Extent { channels, ..*first })
            }
            (Self::Scale, [from, gate]) => {
                if (gate.height, gate.width, gate.channels) != (1, 1, from.channels) {
                    bail!("scale: expected a gate of 1 × 1 × {}, got {gate:?}", from.channels);
                }
                Ok(*from)
            }
            _ => bail!("wrong number of inputs, {}, for {self:?}", from.len()),
        }
    }

    /// Weights that are read for an output of size `to`, in floats.
    pub(crate) fn weights(&self, to: Extent) -> usize {
        match self {
            Self::Layer(Layer::Dense(layer)) => layer.weights(to),
            _ => 0,
        }
    }

    /// Number of multiplications by weights for an output of size `to`.
    pub(crate) fn multiplications(&self, to: Extent) -> usize {
        match self {
            Self::Layer(Layer::Dense(layer)) => to.len() * layer.inputs * layer.window.taps(),
            Self::Layer(Layer::Depthwise(layer)) => to.len() * layer.window.taps(),
            _ => 0,
        }
    }

    /// Number of rows of an image of size `to` that are computed together; fewer at its end.
    pub(crate) fn rows(&self, to: Extent) -> usize {
        match self {
            Self::Layer(Layer::Dense(layer)) => layer.rows(to),
            _ => 1,
        }
    }

    /// Number of channels of an input block.
    pub(crate) fn cell(&self) -> usize {
        match self {
            Self::Layer(Layer::Dense(layer)) => layer.cell(),
            _ => CHANNEL_BLOCK,
        }
    }

    pub(crate) fn run(
        &self,
        isa: Isa,
        inputs: &[&RowBuffer],
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) -> Result<()> {
        match (self, inputs) {
            (Self::Layer(layer), [input]) => layer.run(isa, input, rows, out, spare)?,
            (Self::Add(_, epilogue), [a, b]) => add(isa.arch, [a, b], rows, epilogue, out),
            (Self::Scale, [input, gate]) => scale(isa.arch, input, gate, rows, out),
            _ => concat(inputs, &rows, out),
        }
        Ok(())
    }

    /// The op by candle's operations.
    pub(crate) fn by_candle(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        match (self, inputs) {
            (Self::Layer(layer), [x]) => layer.by_candle(x),
            (Self::Add(activation, _), [a, b]) => stock::activated(stock::add(a, b)?, activation),
            (Self::Scale, [x, gate]) => x.broadcast_mul(gate),
            _ => Tensor::cat(inputs, 1),
        }
    }
}

fn add(
    arch: pulp::Arch,
    parts: [&RowBuffer; 2],
    rows: Range<usize>,
    epilogue: &Epilogue,
    out: &mut RowBuffer,
) {
    let height = out.extent().height;
    for row in rows {
        for block in 0..out.blocks() {
            let part = |band: &'_ RowBuffer| {
                let from = band.extent().height;
                let row = (block < band.blocks() && row % height < from)
                    .then(|| row / height * from + row % height);
                row.map_or(0..0, |row| band.range(block, row..row + 1))
            };
            let parts = parts.map(|band| &band.data()[part(band)]);
            kernel::dispatch(arch, kernel::Add { parts, block, epilogue, out: out.row_mut(block, row) });
        }
    }
}

fn scale(arch: pulp::Arch, input: &RowBuffer, gate: &RowBuffer, rows: Range<usize>, out: &mut RowBuffer) {
    let height = out.extent().height;
    for row in rows {
        for block in 0..out.blocks() {
            let gate = gate.row(block, row / height);
            kernel::dispatch(
                arch,
                kernel::Scale { input: input.row(block, row), gate, out: out.row_mut(block, row) },
            );
        }
    }
}

fn sigmoid(input: &RowBuffer, rows: &Range<usize>, out: &mut RowBuffer) {
    for row in rows.clone() {
        for block in 0..out.blocks() {
            // What follows the last channel stays 0.
            let channels = (out.extent().channels - block * CHANNEL_BLOCK).min(CHANNEL_BLOCK);
            let cells = out.row_mut(block, row).as_chunks_mut::<CHANNEL_BLOCK>().0.iter_mut();
            for (cell, input) in cells.zip(input.row(block, row).as_chunks::<CHANNEL_BLOCK>().0) {
                *cell = [0.0; CHANNEL_BLOCK];
                let values = cell.iter_mut().zip(input).take(channels);
                values.for_each(|(out, x)| *out = 1.0 / (1.0 + (-x).exp()));
            }
        }
    }
}

fn concat(inputs: &[&RowBuffer], rows: &Range<usize>, out: &mut RowBuffer) {
    let mut place = 0;
    for input in inputs {
        for block in 0..input.blocks() {
            let target = out.range(place, rows.clone());
            out.data_mut()[target].copy_from_slice(&input.data()[input.range(block, rows.clone())]);
            place += 1;
        }
    }
}
