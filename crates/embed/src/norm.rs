//! Batch norms in inference, folded into neighbouring layers.

use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;
use nn::conv::{Activation, Conv2d, Window};

/// Names of a batch norm's tensors.
pub(crate) struct Names {
    pub(crate) scale: &'static str,
    pub(crate) shift: &'static str,
    pub(crate) mean: &'static str,
    pub(crate) variance: &'static str,
}

/// A batch norm in inference: `scale × x + shift`, per channel.
pub(crate) struct Norm {
    pub(crate) scale: Tensor,
    pub(crate) shift: Tensor,
}

impl Norm {
    /// Reads the tensors `{prefix}{name}`.
    ///
    /// # Errors
    /// When one is missing or is not `(channels)`.
    pub(crate) fn new(
        vb: &VarBuilder<'_>,
        prefix: &str,
        names: &Names,
        channels: usize,
        epsilon: f64,
    ) -> Result<Self> {
        let get = |name: &str| vb.get(channels, &format!("{prefix}{name}"));
        Self::of(&get(names.scale)?, get(names.shift)?, get(names.mean)?, get(names.variance)?, epsilon)
    }

    /// `(x − mean) / √(variance + epsilon) × scale + shift`.
    ///
    /// # Errors
    /// When the shapes differ.
    pub(crate) fn of(
        scale: &Tensor,
        shift: Tensor,
        mean: Tensor,
        variance: Tensor,
        epsilon: f64,
    ) -> Result<Self> {
        let scale = (scale / (variance + epsilon)?.sqrt()?)?;
        let shift = (shift - (mean * &scale)?)?;
        Ok(Self { scale, shift })
    }

    /// Weight and bias of a layer without a bias, `(outputs, …)`, that this norm follows.
    ///
    /// # Errors
    /// When there are not as many outputs as channels.
    pub(crate) fn after(self, weight: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut shape = vec![1; weight.rank()];
        shape[0] = weight.dim(0)?;
        Ok((weight.broadcast_mul(&self.scale.reshape(shape)?)?, self.shift))
    }

    /// The linear layer that sees a whole map of `side × side` pixels at once, with this norm before it and
    /// another one behind: `weight` is `(outputs, channels × side × side)`.
    ///
    /// # Errors
    /// When the shapes differ from that.
    pub(crate) fn around(&self, weight: &Tensor, bias: &Tensor, after: &Self, side: usize) -> Result<Conv2d> {
        let (outputs, channels) = (weight.dim(0)?, self.scale.dim(0)?);
        let (scale, shift) = (floats(&self.scale)?, floats(&self.shift)?);
        let (scale_after, shift_after) = (floats(&after.scale)?, floats(&after.shift)?);
        let (mut values, mut bias) = (floats(weight)?, floats(bias)?);
        let lengths = [values.len(), bias.len(), shift.len(), scale_after.len(), shift_after.len()];
        let expected = [outputs * channels * side * side, outputs, channels, outputs, outputs];
        if lengths != expected {
            bail!(
                "the last layer has {lengths:?} weights, biases and values of its norms, expected {expected:?}"
            );
        }
        // In plain loops: this is the largest layer of its network, and candle would go over it four times.
        for (output, row) in values.chunks_exact_mut(channels * side * side).enumerate() {
            for (channel, map) in row.chunks_exact_mut(side * side).enumerate() {
                bias[output] += shift[channel] * map.iter().sum::<f32>();
                map.iter_mut().for_each(|value| *value *= scale[channel] * scale_after[output]);
            }
            bias[output] = bias[output] * scale_after[output] + shift_after[output];
        }
        let weight = Tensor::from_vec(values, (outputs, channels, side, side), weight.device())?;
        let bias = Tensor::from_vec(bias, outputs, weight.device())?;
        Conv2d::new(&weight, &bias, Window::square(side, 1, 0), Activation::Identity)
    }
}

/// The activation with these slopes, of any shape.
///
/// # Errors
/// candle's own.
pub(crate) fn prelu(slopes: &Tensor) -> Result<Activation> {
    Ok(Activation::Prelu(floats(slopes)?))
}

/// The values of a tensor of any shape.
fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}
