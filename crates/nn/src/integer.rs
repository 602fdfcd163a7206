//! Dense layers whose products are of integers of 8 bits.
//!
//! Weights are quantised once, every output with a scale of its own; inputs are quantised as they come, what an output
//! sees by its largest magnitude (dynamic quantisation by rows, as in Dettmers et al., "LLM.int8()", NeurIPS 2022), so
//! that no pictures are needed to calibrate them, and nothing is clipped. Everything else stays in single precision.

use std::ops::Range;

use crate::conv::{Activation, Window};
use crate::kernel::products::{self, LARGEST, NOTHING, Products, QUAD, QUADS, Weights, ZERO};
use crate::row_buffer::{CHANNEL_BLOCK, RowBuffer, Spare};

/// Fewer inputs or outputs than this do not repay that inputs are turned into integers.
const LEAST_CHANNELS: usize = 32;
/// More inputs than this could exceed sums of 32 bits.
const MOST_INPUTS: usize = (i32::MAX / (2 * ZERO * LARGEST as i32)) as usize;

/// Weights of a layer.
#[derive(Debug)]
pub(crate) struct Integers {
    weight: Vec<Weights>,
    offset: Vec<i32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    slope: Vec<f32>,
}

/// Whether integers suit a layer: its window has no padding and one tap, as most layers of small networks, or more than
/// nine, as those that see a whole map (of windows between, Winograd computes most as fast); and it has at least
/// [`LEAST_CHANNELS`] outputs and, over all taps and in whole cells, inputs.
pub(crate) fn suits(window: Window, inputs: usize, outputs: usize) -> bool {
    let all_inputs = inputs.next_multiple_of(CHANNEL_BLOCK) * window.taps();
    window.padding == [0, 0]
        && !(2..=9).contains(&window.taps())
        && (LEAST_CHANNELS..=MOST_INPUTS).contains(&all_inputs)
        && outputs >= LEAST_CHANNELS
}

impl Integers {
    /// `weight` is `[block of outputs][input][output]`, whole cells of inputs; biases and slopes are padded to whole
    /// cells.
    pub(crate) fn new(weight: &[f32], bias: &[f32], activation: &Activation) -> Self {
        let inputs = weight.len() / bias.len();
        let (mut scale, mut offset) = (Vec::with_capacity(bias.len()), vec![0; bias.len()]);
        let mut packed = Vec::with_capacity(weight.len() / (CHANNEL_BLOCK * CHANNEL_BLOCK));
        let blocks = weight.chunks_exact(inputs * CHANNEL_BLOCK);
        for (block, offset) in blocks.zip(offset.as_chunks_mut().0) {
            let rows = block.as_chunks::<CHANNEL_BLOCK>().0;
            let scales = scales(rows);
            packed.extend(rows.as_chunks().0.iter().map(|cell| quantised(cell, &scales, offset)));
            scale.extend(scales);
        }
        let slope = match activation {
            Activation::Identity => vec![1.0; bias.len()],
            Activation::Relu => vec![0.0; bias.len()],
            Activation::Prelu(slopes) => slopes.clone(),
        };
        Self { weight: packed, offset, scale, bias: bias.to_vec(), slope }
    }

    /// Number of weights.
    pub(crate) fn len(&self) -> usize {
        self.weight.len() * CHANNEL_BLOCK * CHANNEL_BLOCK
    }

    /// Output rows `rows` from pixels whose cells of inputs begin at `starts`, `step` floats from pixel to pixel.
    pub(crate) fn run(
        &self,
        by: Products,
        (input, starts, step): (&RowBuffer, &[usize], usize),
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) {
        let pixels = rows.len() * out.extent().width;
        let mut levels = spare.take((starts.len() * pixels * CHANNEL_BLOCK).div_ceil(size_of::<f32>()));
        let mut factors = spare.take(pixels);
        let (pitch, at) = (out.pitch(), out.offset(0, rows.start));
        by.run(&mut products::Task {
            input: input.data(),
            starts,
            step,
            pixels,
            weight: &self.weight,
            offset: &self.offset,
            scale: &self.scale,
            bias: &self.bias,
            slope: &self.slope,
            levels: bytemuck::must_cast_slice_mut::<f32, u8>(levels.as_mut_slice()).as_chunks_mut().0,
            factors: factors.as_mut_slice(),
            out: &mut out.data_mut()[at..],
            pitch,
        });
        spare.give(levels);
        spare.give(factors);
    }
}

/// Of every output of a block, what a weight of 1 stands for; `rows` is `[input][output]`.
fn scales(rows: &[[f32; CHANNEL_BLOCK]]) -> [f32; CHANNEL_BLOCK] {
    let mut most = [0.0_f32; CHANNEL_BLOCK];
    for row in rows {
        for (most, value) in most.iter_mut().zip(row) {
            // What is not a number stays so, and thereby the output.
            *most = if most.is_nan() || value.abs() <= *most { *most } else { value.abs() };
        }
    }
    most.map(|most| if most <= NOTHING { 0.0 } else { most / f32::from(LARGEST) })
}

/// The weights of a cell, `[input][output]`, as integers. Takes from `offset` what the zero of the inputs adds to the sum
/// of each output.
fn quantised(
    cell: &[[f32; CHANNEL_BLOCK]; CHANNEL_BLOCK],
    scales: &[f32; CHANNEL_BLOCK],
    offset: &mut [i32; CHANNEL_BLOCK],
) -> Weights {
    let mut weights = Weights([[0; CHANNEL_BLOCK * QUAD]; QUADS]);
    for (input, row) in cell.iter().enumerate() {
        for (output, value) in row.iter().enumerate() {
            let scale = scales[output];
            let level = if scale > 0.0 { (value / scale).round() as i8 } else { 0 };
            let level = level.clamp(-LARGEST, LARGEST);
            weights.0[input / QUAD][output * QUAD + input % QUAD] = level;
            offset[output] -= ZERO * i32::from(level);
        }
    }
    weights
}
