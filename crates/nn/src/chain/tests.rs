//! Layers and chains against candle's own operations, over random shapes, with every instruction set
//! that the machine has.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use candle_core::{DType, Device};
use proptest::prelude::*;

use super::*;
use crate::conv::Activation;

/// Reproducible values in −1..1.
fn values(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 23) - 1.0
    };
    (0..count).map(|_| next() as f32).collect()
}

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    Tensor::from_vec(values(shape.iter().product(), seed), shape, &Device::Cpu).unwrap()
}

/// candle's own convolution, which works on NCHW.
fn reference(input: &Tensor, weight: &Tensor, bias: &Tensor, window: Window, groups: usize) -> Tensor {
    let out = nchw(input).conv2d(weight, window.padding, window.stride, 1, groups).unwrap();
    nhwc(&out).broadcast_add(bias).unwrap()
}

fn activated(x: &Tensor, activation: &Activation) -> Tensor {
    match activation {
        Activation::Identity => x.clone(),
        Activation::Relu => x.relu().unwrap(),
        Activation::Prelu(slopes) => {
            let slopes = Tensor::new(slopes.as_slice(), &Device::Cpu).unwrap();
            let negative = x.minimum(0.0).unwrap().broadcast_mul(&slopes).unwrap();
            (x.relu().unwrap() + negative).unwrap()
        }
    }
}

fn assert_close(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.dims(), expected.dims());
    let difference =
        (found - expected).unwrap().abs().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let largest = difference.into_iter().fold(0.0, f32::max);
    assert!(largest < 1e-4, "differs by {largest}");
}

fn activation(kind: usize, outputs: usize) -> Activation {
    match kind {
        0 => Activation::Identity,
        1 => Activation::Relu,
        _ => Activation::Prelu(values(outputs, 77)),
    }
}

/// The instruction sets of this machine.
fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar, Arch::new()];
    // What `new` passes over for something better.
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

/// Checks a chain with every instruction set, by few rows and by whole maps.
fn assert_gives(layers: Vec<Layer>, input: &Tensor, expected: &Tensor) {
    let mut chain = Chain::new(layers);
    for arch in archs() {
        let whole = Chain { arch, ..chain }.assert_close(input, expected);
        chain = Chain { cached: 0, ..whole }.assert_close(input, expected);
        chain.cached = CACHED;
    }
}

impl Chain {
    /// Twice, because the second pass meets the memory of the first.
    fn assert_close(self, input: &Tensor, expected: &Tensor) -> Self {
        for _ in 0..2 {
            assert_close(&self.forward(input).unwrap(), expected);
        }
        self
    }
}

fn window() -> impl Strategy<Value = Window> {
    (1..4usize, 1..4usize, 0..3usize).prop_map(|(size, stride, padding)| Window {
        size,
        stride,
        padding: padding.min(size - 1),
    })
}

proptest! {
    #[test]
    fn dense_is_a_convolution(
        (n, height, width, inputs, outputs) in (1..3usize, 3..34usize, 3..34usize, 1..36usize, 1..70usize),
        window in window(),
        kind in 0..3usize,
    ) {
        let input = tensor(&[n, height, width, inputs], 1);
        let weight = tensor(&[outputs, inputs, window.size, window.size], 2);
        let bias = tensor(&[outputs], 3);
        let activation = activation(kind, outputs);
        let layer = Conv2d::new(&weight, &bias, window, activation.clone()).unwrap();
        let expected = activated(&reference(&input, &weight, &bias, window, 1), &activation);
        assert_gives(vec![layer.into()], &input, &expected);
    }

    #[test]
    fn depthwise_is_a_grouped_convolution(
        (n, height, width, channels) in (1..3usize, 3..24usize, 3..24usize, 1..40usize),
        window in window(),
        kind in 0..3usize,
    ) {
        let input = tensor(&[n, height, width, channels], 4);
        let weight = tensor(&[channels, 1, window.size, window.size], 5);
        let bias = tensor(&[channels], 6);
        let activation = activation(kind, channels);
        let layer = Depthwise::new(&weight, &bias, window, activation.clone()).unwrap();
        let expected = activated(&reference(&input, &weight, &bias, window, channels), &activation);
        assert_gives(vec![layer.into()], &input, &expected);
    }

    #[test]
    fn pooling_is_candles(
        (n, height, width, channels) in (1..3usize, 2..13usize, 2..13usize, 1..40usize),
    ) {
        let input = tensor(&[n, height, width, channels], 7);
        let pooled = nhwc(&nchw(&input).max_pool2d(2).unwrap());
        assert_gives(vec![Layer::Max2x2], &input, &pooled);
    }

    #[test]
    fn a_sum_is_candles_upsampling_and_addition(
        (n, height, width, channels) in (1..3usize, 1..7usize, 1..7usize, 1..40usize),
    ) {
        let coarse = tensor(&[n, height, width, channels], 8);
        let fine = tensor(&[n, 2 * height, 2 * width, channels], 9);
        let doubled = nhwc(&nchw(&coarse).upsample_nearest2d(2 * height, 2 * width).unwrap());
        let found = Chain::new(vec![]).forward_sum(&fine, &coarse).unwrap();
        assert_close(&found, &(fine + doubled).unwrap());
    }

    /// Layers in a chain hand over what they give alone, whatever rows they do at a time.
    #[test]
    fn a_chain_is_its_layers(
        (n, height, width, channels) in (1..4usize, 12..30usize, 12..30usize, 1..40usize),
        kinds in prop::collection::vec((0..4usize, 1..3usize), 1..6),
    ) {
        let input = tensor(&[n, height, width, channels], 10);
        let layers = || kinds.iter().scan(channels, |channels, (kind, stride)| Some(layer(*kind, *stride, channels)));
        let alone = |x: Tensor, layer| Chain::new(vec![layer]).forward(&x);
        // Kernels may leave nothing of a small map, which is no error.
        let expected = layers().try_fold(input.clone(), alone).unwrap();
        assert_gives(layers().collect(), &input, &expected);
    }
}

/// A layer of some kind; changes the number of channels to that of its outputs.
fn layer(kind: usize, stride: usize, channels: &mut usize) -> Layer {
    let inputs = *channels;
    let dense = |outputs: usize, window: Window| {
        let weight = tensor(&[outputs, inputs, window.size, window.size], 11);
        let weight = (weight / inputs as f64).unwrap();
        Conv2d::new(&weight, &tensor(&[outputs], 12), window, Activation::Relu).unwrap().into()
    };
    match kind {
        0 => {
            *channels = inputs % 37 + 3;
            dense(*channels, Window::POINT)
        }
        1 => dense(inputs, Window::three(stride)),
        2 => {
            let (weight, bias) = (tensor(&[inputs, 1, 3, 3], 13), tensor(&[inputs], 14));
            Depthwise::new(&weight, &bias, Window::three(stride), activation(2, inputs)).unwrap().into()
        }
        _ => Layer::Max2x2,
    }
}

fn nchw(input: &Tensor) -> Tensor {
    input.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap()
}

fn nhwc(input: &Tensor) -> Tensor {
    input.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap()
}

fn picture_layer() -> Layer {
    let weight = tensor(&[16, 3, 3, 3], 1);
    Conv2d::new(&weight, &tensor(&[16], 2), Window::three(2), Activation::Relu).unwrap().into()
}

#[test]
fn bytes_are_read_as_their_values() {
    let bytes = Tensor::from_iter((0..3 * 20 * 30).map(|i| (i * 7 % 256) as u8), &Device::Cpu).unwrap();
    let bytes = bytes.reshape((1, 20, 30, 3)).unwrap();
    let chain = Chain::new(vec![picture_layer()]);
    let expected = chain.forward(&bytes.to_dtype(DType::F32).unwrap()).unwrap();
    assert_eq!(
        chain.forward(&bytes).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        expected.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    );
}

/// Not only nearly: a vector must not depend on what shares its batch.
#[test]
fn an_image_gives_the_same_bits_alone_and_in_a_batch() {
    let mut channels = 3;
    let layers = [1, 2, 0, 2, 0].map(|kind| layer(kind, 2, &mut channels));
    let chain = Chain { cached: 500, ..Chain::new(layers.into()) };
    let images = tensor(&[9, 23, 31, 3], 15);
    let bits =
        |x: &Tensor| -> Vec<f32> { chain.forward(x).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
    let alone: Vec<f32> = (0..9).flat_map(|i| bits(&images.narrow(0, i, 1).unwrap())).collect();
    assert_eq!(bits(&images), alone);
}

#[test]
fn a_wrong_shape_is_an_error() {
    let message =
        Chain::new(vec![picture_layer()]).forward(&tensor(&[1, 5, 5, 2], 3)).unwrap_err().to_string();
    assert!(message.contains("expected 3 channels"), "{message}");
    let (fine, coarse) = (tensor(&[1, 5, 4, 3], 4), tensor(&[1, 2, 2, 3], 5));
    assert!(Chain::new(vec![picture_layer()]).forward_sum(&fine, &coarse).is_err());
    let (weight, bias) = (tensor(&[4, 3, 3, 3], 1), tensor(&[5], 2));
    assert!(Conv2d::new(&weight, &bias, Window::three(1), Activation::Relu).is_err());
    let (weight, bias) = (tensor(&[4, 2, 3, 3], 1), tensor(&[4], 2));
    assert!(Depthwise::new(&weight, &bias, Window::three(1), Activation::Relu).is_err());
}
