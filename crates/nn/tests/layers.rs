//! Layers against their definition, over random shapes.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use candle_core::{Device, Tensor};
use nn::chain::{Chain, Layer};
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::pool;
use proptest::prelude::*;

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
    let nchw = input.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
    let out = nchw.conv2d(weight, window.padding, window.stride, 1, groups).unwrap();
    let out = out.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
    out.broadcast_add(bias).unwrap()
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

fn forward(layer: impl Into<Layer>, input: &Tensor) -> candle_core::Result<Tensor> {
    Chain::new(vec![layer.into()]).forward(input)
}

fn window() -> impl Strategy<Value = Window> {
    (1..4usize, 1..3usize, 0..2usize).prop_map(|(size, stride, padding)| Window {
        size,
        stride,
        padding: padding.min(size - 1),
    })
}

proptest! {
    #[test]
    fn dense_is_a_convolution(
        (n, height, width, inputs, outputs) in (1..3usize, 3..13usize, 3..13usize, 1..21usize, 1..70usize),
        window in window(),
        kind in 0..3usize,
    ) {
        let input = tensor(&[n, height, width, inputs], 1);
        let weight = tensor(&[outputs, inputs, window.size, window.size], 2);
        let bias = tensor(&[outputs], 3);
        let activation = activation(kind, outputs);
        let layer = Conv2d::new(&weight, &bias, window, activation.clone()).unwrap();
        let expected = activated(&reference(&input, &weight, &bias, window, 1), &activation);
        assert_close(&forward(layer, &input).unwrap(), &expected);
    }

    #[test]
    fn depthwise_is_a_grouped_convolution(
        (n, height, width, channels) in (1..3usize, 3..13usize, 3..13usize, 1..40usize),
        window in window(),
        kind in 0..3usize,
    ) {
        let input = tensor(&[n, height, width, channels], 4);
        let weight = tensor(&[channels, 1, window.size, window.size], 5);
        let bias = tensor(&[channels], 6);
        let activation = activation(kind, channels);
        let layer = Depthwise::new(&weight, &bias, window, activation.clone()).unwrap();
        let expected = activated(&reference(&input, &weight, &bias, window, channels), &activation);
        assert_close(&forward(layer, &input).unwrap(), &expected);
    }

    #[test]
    fn pooling_is_candles(
        (n, height, width, channels) in (1..3usize, 2..13usize, 2..13usize, 1..20usize),
    ) {
        let input = tensor(&[n, height, width, channels], 7);
        let nchw = input.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let back = |t: Tensor| t.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap();
        assert_close(&forward(Layer::Max2x2, &input).unwrap(), &back(nchw.max_pool2d(2).unwrap()));
        let doubled = back(nchw.upsample_nearest2d(2 * height, 2 * width).unwrap());
        let fine = tensor(&[n, 2 * height, 2 * width, channels], 8);
        assert_close(&pool::add_upsampled(&fine, &input).unwrap(), &(fine + doubled).unwrap());
    }
}

#[test]
fn a_wrong_shape_is_an_error() {
    let layer = Conv2d::new(&tensor(&[4, 3, 3, 3], 1), &tensor(&[4], 2), Window::three(1), Activation::Relu);
    let message = forward(layer.unwrap(), &tensor(&[1, 5, 5, 2], 3)).unwrap_err().to_string();
    assert!(message.contains("expected 3 channels"), "{message}");
    assert!(
        Conv2d::new(&tensor(&[4, 3, 3, 3], 1), &tensor(&[5], 2), Window::three(1), Activation::Relu).is_err()
    );
    assert!(
        Depthwise::new(&tensor(&[4, 2, 3, 3], 1), &tensor(&[4], 2), Window::three(1), Activation::Relu)
            .is_err()
    );
}
