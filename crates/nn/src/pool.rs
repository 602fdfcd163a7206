//! Layers without weights, on `(n, height, width, channels)` f32 tensors.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// `fine` plus `coarse` with every pixel doubled in both directions.
///
/// # Errors
/// When a tensor has another shape, type or device.
pub fn add_upsampled(fine: &Tensor, coarse: &Tensor) -> Result<Tensor> {
    fine.apply_op2_no_bwd(coarse, &AddUpsampled)
}

struct AddUpsampled;

impl CustomOp2 for AddUpsampled {
    fn name(&self) -> &'static str {
        "add-upsampled-nhwc"
    }

    fn cpu_fwd(
        &self,
        fine: &CpuStorage,
        fine_layout: &Layout,
        coarse: &CpuStorage,
        coarse_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, height, width, channels) = coarse_layout.shape().dims4()?;
        let shape = Shape::from((n, 2 * height, 2 * width, channels));
        if *fine_layout.shape() != shape {
            bail!("expected a fine map of shape {shape:?}, got {:?}", fine_layout.shape());
        }
        let (fine, coarse) = (contiguous(fine, fine_layout)?, contiguous(coarse, coarse_layout)?);
        let row_len = width * channels;
        let mut out = Vec::with_capacity(fine.len());
        if !fine.is_empty() {
            for (row, values) in fine.chunks_exact(2 * row_len).enumerate() {
                let coarse = &coarse[row / 2 * row_len..][..row_len];
                let pairs = values.chunks_exact(2 * channels).zip(coarse.chunks_exact(channels));
                for (pair, coarse) in pairs {
                    for pixel in pair.chunks_exact(channels) {
                        out.extend(pixel.iter().zip(coarse).map(|(fine, coarse)| fine + coarse));
                    }
                }
            }
        }
        Ok((CpuStorage::F32(out), shape))
    }
}

fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else { bail!("the tensor is not contiguous") };
    Ok(&storage.as_slice::<f32>()?[from..to])
}
