//! Layers without weights, on `(n, height, width, channels)` f32 tensors.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::conv::{FeatureMap, Window};

/// The largest of every 2×2 pixels; odd rows and columns at the end are dropped.
///
/// # Errors
/// When the tensor has another shape, type or device.
pub fn max_2x2(input: &Tensor) -> Result<Tensor> {
    input.contiguous()?.apply_op1_no_bwd(&Max2x2)
}

struct Max2x2;

impl CustomOp1 for Max2x2 {
    fn name(&self) -> &'static str {
        "max-2x2-nhwc"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let channels = layout.shape().dims4()?.3;
        let map = FeatureMap::of(storage, layout, channels)?;
        map.run(Window { size: 2, stride: 2, padding: 0 }, channels, |image, out| {
            let width = image.width / 2;
            for (pixel, target) in out.chunks_exact_mut(channels).enumerate() {
                let corner = (2 * (pixel / width) * image.width + 2 * (pixel % width)) * channels;
                let pixel = |offset: usize| &image.data[corner + offset * channels..][..channels];
                let (a, b) = (pixel(0), pixel(1));
                let (c, d) = (pixel(image.width), pixel(image.width + 1));
                for (i, target) in target.iter_mut().enumerate() {
                    *target = a[i].max(b[i]).max(c[i].max(d[i]));
                }
            }
        })
    }
}

/// Every pixel doubled in both directions.
///
/// # Errors
/// When the tensor has another shape.
pub fn upsample_2x(input: &Tensor) -> Result<Tensor> {
    let (n, height, width, channels) = input.dims4()?;
    let apart = input.reshape((n, height, 1, width, 1, channels))?;
    let doubled = apart.broadcast_as((n, height, 2, width, 2, channels))?;
    doubled.reshape((n, 2 * height, 2 * width, channels))
}
