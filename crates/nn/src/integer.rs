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
        let blocks = || weight.chunks_exact(inputs * CHANNEL_BLOCK);
        let mut scale = vec![0.0_f32; bias.len()];
        for (scale, block) in scale.chunks_exact_mut(CHANNEL_BLOCK).zip(blocks()) {
            for cell in block.as_chunks::<CHANNEL_BLOCK>().0 {
                // What is not a number stays so, and thereby the output.
                let larger = |scale: f32, value: f32| {
                    if scale.is_nan() || value.abs() <= scale { scale } else { value.abs() }
                };
                scale.iter_mut().zip(cell).for_each(|(scale, value)| *scale = larger(*scale, *value));
            }
            for scale in scale {
                *scale = if *scale <= NOTHING { 0.0 } else { *scale / f32::from(LARGEST) };
            }
        }
        let mut packed = Vec::with_capacity(weight.len() / (CHANNEL_BLOCK * CHANNEL_BLOCK));
        let mut offset = vec![0; bias.len()];
        for (block, (scale, offset)) in
            blocks().zip(scale.chunks_exact(CHANNEL_BLOCK).zip(offset.chunks_exact_mut(CHANNEL_BLOCK)))
        {
            for cell in block.as_chunks::<CHANNEL_BLOCK>().0.as_chunks::<CHANNEL_BLOCK>().0 {
                let mut weights = Weights([[0; CHANNEL_BLOCK * QUAD]; QUADS]);
                for (input, values) in cell.iter().enumerate() {
                    for (output, value) in values.iter().enumerate() {
                        let level =
                            if scale[output] > 0.0 { (value / scale[output]).round() as i8 } else { 0 };
                        let level = level.clamp(-LARGEST, LARGEST);
                        weights.0[input / QUAD][output * QUAD + input % QUAD] = level;
                        offset[output] -= ZERO * i32::from(level);
                    }
                }
                packed.push(weights);
            }
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
