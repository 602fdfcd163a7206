//! The inner loops, generic over the vector width; all safe code.

use pulp::{Arch, Simd, WithSimd};

use crate::conv::{Activation, Window};

/// One image of a feature map: `height × width × channels`, channels last.
#[derive(Clone, Copy)]
pub(crate) struct Image<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Image<'_> {
    /// Where the pixel under tap (`tap_y`, `tap_x`) of the output (`y`, `x`) begins; `None` on the padding.
    fn offset(
        &self,
        window: Window,
        (y, x): (usize, usize),
        (tap_y, tap_x): (usize, usize),
    ) -> Option<usize> {
        let y = (y * window.stride + tap_y).checked_sub(window.padding).filter(|y| *y < self.height)?;
        let x = (x * window.stride + tap_x).checked_sub(window.padding).filter(|x| *x < self.width)?;
        Some((y * self.width + x) * self.channels)
    }
}

/// Weights of a dense layer in the order in which the kernel reads them:
/// `[block of outputs][tap][input][output within the block]`, zero-padded to whole blocks.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    data: Vec<f32>,
    block: usize,
    taps: usize,
    outputs: usize,
}

impl Packed {
    /// From `(outputs, inputs, taps)`.
    pub(crate) fn new(weight: &[f32], outputs: usize, inputs: usize, taps: usize) -> Self {
        let lanes = Arch::new().dispatch(Lanes);
        let block = if outputs <= lanes { lanes } else { 2 * lanes };
        let mut data = vec![0.0; outputs.div_ceil(block) * taps * inputs * block];
        for (output, input, tap) in
            (0..outputs).flat_map(|o| (0..inputs).flat_map(move |i| (0..taps).map(move |t| (o, i, t))))
        {
            let row = ((output / block) * taps + tap) * inputs + input;
            data[row * block + output % block] = weight[(output * inputs + input) * taps + tap];
        }
        Self { data, block, taps, outputs }
    }
}

struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F32_LANES
    }
}

/// Dense convolution of one image into `out`, `height' × width' × outputs`.
pub(crate) fn dense(
    image: &Image<'_>,
    window: Window,
    weight: &Packed,
    bias: &[f32],
    activation: &Activation,
    out: &mut [f32],
) {
    Arch::new().dispatch(Dense { image, window, weight, bias, activation, out });
}

struct Dense<'a> {
    image: &'a Image<'a>,
    window: Window,
    weight: &'a Packed,
    bias: &'a [f32],
    activation: &'a Activation,
    out: &'a mut [f32],
}

impl WithSimd for Dense<'_> {
    type Output = ();

    /// The tile (pixels × vectors of outputs) fills the vector registers: 32 of them with
    /// AVX-512, 16 otherwise, less a few for weights and the broadcast input.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (S::F32_LANES, self.weight.block / S::F32_LANES) {
            (16, 1) => self.run::<S, 14, 1>(simd),
            (16, _) => self.run::<S, 12, 2>(simd),
            (8, 1) => self.run::<S, 8, 1>(simd),
            (8, _) => self.run::<S, 6, 2>(simd),
            (_, 1) => self.run::<S, 4, 1>(simd),
            _ => self.run::<S, 4, 2>(simd),
        }
    }
}

impl Dense<'_> {
    #[inline(always)]
    fn run<S: Simd, const PIXELS: usize, const VECTORS: usize>(self, simd: S) {
        let Self { image, window, weight, bias, activation, out } = self;
        let width = window.outputs(image.width);
        let pixels = out.len() / weight.outputs;
        let zeros = vec![0.0; image.channels];
        let per_block = weight.taps * image.channels * weight.block;
        for (number, block) in weight.data.chunks_exact(per_block).enumerate() {
            let first = number * weight.block;
            let outputs = first..weight.outputs.min(first + weight.block);
            for start in (0..pixels).step_by(PIXELS) {
                // The last tile repeats its last pixel instead of having a shape of its own.
                let places: [(usize, usize); PIXELS] = std::array::from_fn(|p| {
                    let pixel = (start + p).min(pixels - 1);
                    (pixel / width, pixel % width)
                });
                let mut sums = [[simd.splat_f32s(0.0); VECTORS]; PIXELS];
                for (tap, weights) in block.chunks_exact(image.channels * weight.block).enumerate() {
                    let tap = (tap / window.size, tap % window.size);
                    let rows = places.map(|place| match image.offset(window, place, tap) {
                        Some(at) => &image.data[at..at + image.channels],
                        None => &zeros[..],
                    });
                    sums = accumulate(simd, sums, rows, weights);
                }
                for (p, sums) in sums.iter().enumerate().take(pixels - start) {
                    let at = (start + p) * weight.outputs;
                    let target = &mut out[at + outputs.start..at + outputs.end];
                    store::<S, VECTORS>(sums, target, &bias[outputs.clone()]);
                    activate(activation, outputs.start, target);
                }
            }
        }
    }
}

/// Adds the products of one tap: `rows` are the inputs of each pixel, `weights` is
/// `(inputs, VECTORS × lanes)`.
#[inline(always)]
fn accumulate<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    simd: S,
    mut sums: [[S::f32s; VECTORS]; PIXELS],
    rows: [&[f32]; PIXELS],
    weights: &[f32],
) -> [[S::f32s; VECTORS]; PIXELS] {
    // Four inputs at a time: one bounds check serves four steps.
    const STEP: usize = 4;
    let (weights, _) = S::as_simd_f32s(weights);
    let (weights, _) = weights.as_chunks::<VECTORS>();
    let (steps, last) = weights.as_chunks::<STEP>();
    let chunks = rows.map(|row| row.as_chunks::<STEP>());
    for (i, weights) in steps.iter().enumerate() {
        let inputs: [&[f32; STEP]; PIXELS] = std::array::from_fn(|p| &chunks[p].0[i]);
        for (k, weights) in weights.iter().enumerate() {
            for p in 0..PIXELS {
                let input = simd.splat_f32s(inputs[p][k]);
                for v in 0..VECTORS {
                    sums[p][v] = simd.mul_add_e_f32s(input, weights[v], sums[p][v]);
                }
            }
        }
    }
    for (i, weights) in last.iter().enumerate() {
        for p in 0..PIXELS {
            let input = simd.splat_f32s(chunks[p].1[i]);
            for v in 0..VECTORS {
                sums[p][v] = simd.mul_add_e_f32s(input, weights[v], sums[p][v]);
            }
        }
    }
    sums
}

/// Writes sums plus bias; `target` may be shorter than the block.
#[inline(always)]
fn store<S: Simd, const VECTORS: usize>(sums: &[S::f32s; VECTORS], target: &mut [f32], bias: &[f32]) {
    let lanes = sums.iter().flat_map(|vector| {
        let lanes: &[f32] = pulp::bytemuck::cast_slice(std::slice::from_ref(vector));
        lanes
    });
    for ((target, sum), bias) in target.iter_mut().zip(lanes).zip(bias) {
        *target = sum + bias;
    }
}

#[inline(always)]
fn activate(activation: &Activation, first: usize, values: &mut [f32]) {
    match activation {
        Activation::Identity => {}
        Activation::Relu => values.iter_mut().for_each(|v| *v = v.max(0.0)),
        Activation::Prelu(slopes) => {
            for (value, slope) in values.iter_mut().zip(&slopes[first..]) {
                *value = if *value > 0.0 { *value } else { *value * slope };
            }
        }
    }
}

/// Depthwise convolution of one image into `out`; `weight` is `(taps, channels)`.
pub(crate) fn depthwise(
    image: &Image<'_>,
    window: Window,
    weight: &[f32],
    bias: &[f32],
    activation: &Activation,
    out: &mut [f32],
) {
    Arch::new().dispatch(DepthwiseJob { image, window, weight, bias, activation, out });
}

struct DepthwiseJob<'a> {
    image: &'a Image<'a>,
    window: Window,
    weight: &'a [f32],
    bias: &'a [f32],
    activation: &'a Activation,
    out: &'a mut [f32],
}

impl WithSimd for DepthwiseJob<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { image, window, weight, bias, activation, out } = self;
        let channels = image.channels;
        let width = window.outputs(image.width);
        for (pixel, target) in out.chunks_exact_mut(channels).enumerate() {
            target.copy_from_slice(bias);
            let place = (pixel / width, pixel % width);
            for (tap, weight) in weight.chunks_exact(channels).enumerate() {
                let tap = (tap / window.size, tap % window.size);
                if let Some(at) = image.offset(window, place, tap) {
                    multiply_add(simd, &image.data[at..at + channels], weight, target);
                }
            }
            activate(activation, 0, target);
        }
    }
}

/// `target += input × weight`, element by element.
#[inline(always)]
fn multiply_add<S: Simd>(simd: S, input: &[f32], weight: &[f32], target: &mut [f32]) {
    let (input, input_rest) = S::as_simd_f32s(input);
    let (weight, weight_rest) = S::as_simd_f32s(weight);
    let (target, target_rest) = S::as_mut_simd_f32s(target);
    for ((target, input), weight) in target.iter_mut().zip(input).zip(weight) {
        *target = simd.mul_add_e_f32s(*input, *weight, *target);
    }
    for ((target, input), weight) in target_rest.iter_mut().zip(input_rest).zip(weight_rest) {
        *target += input * weight;
    }
}
