//! Layers by candle's own operations, on tensors `(n, channels, height, width)`: how a graph runs where
//! the kernels cannot.

use candle_core::{D, Result, Tensor};

use crate::conv::{Activation, Window};

/// A dense convolution. candle knows but one padding for both axes, so borders are added here.
pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, bias: &Tensor, window: Window) -> Result<Tensor> {
    let [rows, columns] = window.padding;
    let (x, padding) = if rows == columns { (x.clone(), rows) } else { (bordered(x, window)?, 0) };
    x.conv2d(weight, padding, window.stride, 1, 1)?.broadcast_add(&per_channel(bias)?)
}

/// A depthwise convolution, tap by tap: candle's own does one channel after the other.
pub(crate) fn depthwise(x: &Tensor, weight: &Tensor, bias: &Tensor, window: Window) -> Result<Tensor> {
    let (_, _, height, width) = x.dims4()?;
    let [height, width] = window.outputs([height, width]);
    let x = bordered(x, window)?;
    let mut sum = None;
    for (row, column) in (0..window.size[0]).flat_map(|y| (0..window.size[1]).map(move |x| (y, x))) {
        let x = every(&every(&x, 2, row, window.stride, height)?, 3, column, window.stride, width)?;
        let weight = per_channel(&weight.narrow(2, row, 1)?.narrow(3, column, 1)?.flatten_all()?)?;
        let product = x.broadcast_mul(&weight)?;
        sum = Some(sum.map_or(Ok(product.clone()), |sum: Tensor| sum + product)?);
    }
    match sum {
        Some(sum) => sum.broadcast_add(&per_channel(bias)?),
        None => x.zeros_like(),
    }
}

/// `count` elements along `axis`, from `start` on in steps of `step`.
fn every(x: &Tensor, axis: usize, start: usize, step: usize, count: usize) -> Result<Tensor> {
    if step == 1 {
        return x.narrow(axis, start, count);
    }
    let missing = (start + count * step).saturating_sub(x.dim(axis)?);
    let x = x.pad_with_zeros(axis, 0, missing)?.narrow(axis, start, count * step)?;
    let mut shape = x.dims().to_vec();
    shape[axis] = count;
    shape.insert(axis + 1, step);
    x.reshape(shape)?.narrow(axis + 1, 0, 1)?.squeeze(axis + 1)
}

/// Borders repeat the edge: it is under every window that reaches over it.
pub(crate) fn max_pool(x: &Tensor, window: Window) -> Result<Tensor> {
    let [rows, columns] = window.padding;
    let x = x.pad_with_same(2, rows, rows)?.pad_with_same(3, columns, columns)?;
    x.max_pool2d_with_stride(<(usize, usize)>::from(window.size), (window.stride, window.stride))
}

pub(crate) fn avg_pool(x: &Tensor, window: Window) -> Result<Tensor> {
    let stride = (window.stride, window.stride);
    bordered(x, window)?.avg_pool2d_with_stride(<(usize, usize)>::from(window.size), stride)
}

/// The sum of two maps, each with zeros at its end where the other one is larger.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let filled = |x: &Tensor, other: &Tensor| {
        (1..4).try_fold(x.clone(), |x, axis| {
            let missing = other.dim(axis)?.saturating_sub(x.dim(axis)?);
            x.pad_with_zeros(axis, 0, missing)
        })
    };
    filled(a, b)? + filled(b, a)?
}

pub(crate) fn activated(x: Tensor, activation: &Activation) -> Result<Tensor> {
    match activation {
        Activation::Identity => Ok(x),
        Activation::Relu => x.relu(),
        Activation::Prelu(slopes) => {
            let slopes = Tensor::new(slopes.as_slice(), x.device())?.to_dtype(x.dtype())?;
            let negative = x.neg()?.relu()?.broadcast_mul(&per_channel(&slopes)?)?;
            x.relu()? - negative
        }
    }
}

/// Every pixel of `(n, height, width, channels)` doubled in both directions.
pub(crate) fn doubled(x: &Tensor) -> Result<Tensor> {
    let (_, height, width, _) = x.dims4()?;
    to_nhwc(&to_nchw(x)?.upsample_nearest2d(2 * height, 2 * width)?)
}

pub(crate) fn to_nchw(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 3, 1, 2))?.contiguous()
}

pub(crate) fn to_nhwc(x: &Tensor) -> Result<Tensor> {
    x.permute((0, 2, 3, 1))?.contiguous()
}

fn per_channel(values: &Tensor) -> Result<Tensor> {
    values.reshape((1, values.dim(D::Minus1)?, 1, 1))
}

fn bordered(x: &Tensor, window: Window) -> Result<Tensor> {
    let [rows, columns] = window.padding;
    x.pad_with_zeros(2, rows, rows)?.pad_with_zeros(3, columns, columns)
}
