//! Convolution layers as candle custom ops on `(n, height, width, channels)` f32 tensors.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::kernel;

/// What is applied to every output of a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// `max(x, 0)`.
    Relu,
    /// `x` if positive, else `slope × x`, one slope per channel.
    Prelu(Vec<f32>),
}

/// Where the kernel stands on its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Height and width of the kernel.
    pub size: usize,
    /// Step between outputs.
    pub stride: usize,
    /// Zeros around the input, on every side.
    pub padding: usize,
}

impl Window {
    /// A 1×1 window.
    pub const POINT: Self = Self { size: 1, stride: 1, padding: 0 };

    /// A 3×3 window with a border of one, at `stride`.
    pub const fn three(stride: usize) -> Self {
        Self { size: 3, stride, padding: 1 }
    }

    /// Number of outputs along an axis of `len` inputs; 0 when the kernel does not fit.
    pub fn outputs(self, len: usize) -> usize {
        (len + 2 * self.padding + self.stride).saturating_sub(self.size) / self.stride
    }
}

/// A dense convolution: every output channel sees every input channel.
///
/// Computed as an indirect matrix product (the idea of XNNPACK's indirect GEMM, arXiv 1907.02129):
/// no im2col copy, weights packed once at load in blocks of output channels.
#[derive(Debug, Clone)]
pub struct Conv2d {
    window: Window,
    inputs: usize,
    outputs: usize,
    packed: kernel::Packed,
    bias: Vec<f32>,
    activation: Activation,
}

impl Conv2d {
    /// `weight` is `(outputs, inputs, size, size)` as checkpoints store it, `bias` is `(outputs)`.
    ///
    /// # Errors
    /// When a shape differs from that.
    pub fn new(weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Result<Self> {
        let (outputs, inputs, rows, columns) = weight.dims4()?;
        check_layer("conv2d", window, (rows, columns), outputs, bias, &activation)?;
        let flat = weight.flatten_all()?.to_vec1()?;
        let packed = kernel::Packed::new(&flat, outputs, inputs, window.size * window.size);
        Ok(Self { window, inputs, outputs, packed, bias: bias.to_vec1()?, activation })
    }

    /// Maps `(n, h, w, inputs)` to `(n, h', w', outputs)`.
    ///
    /// # Errors
    /// When the tensor has another shape, type or device.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d-nhwc"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let map = FeatureMap::of(storage, layout, self.inputs)?;
        map.run(self.window, self.outputs, |image, out| {
            kernel::dense(&image, self.window, &self.packed, &self.bias, &self.activation, out);
        })
    }
}

/// A depthwise convolution: every channel is filtered on its own.
#[derive(Debug, Clone)]
pub struct Depthwise {
    window: Window,
    channels: usize,
    /// `(size × size, channels)`.
    weight: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
}

impl Depthwise {
    /// `weight` is `(channels, 1, size, size)` as checkpoints store it, `bias` is `(channels)`.
    ///
    /// # Errors
    /// When a shape differs from that.
    pub fn new(weight: &Tensor, bias: &Tensor, window: Window, activation: Activation) -> Result<Self> {
        let (channels, one, rows, columns) = weight.dims4()?;
        if one != 1 {
            bail!("depthwise: weight has {one} inputs per channel, not 1");
        }
        check_layer("depthwise", window, (rows, columns), channels, bias, &activation)?;
        let weight = weight.reshape((channels, window.size * window.size))?.t()?.flatten_all()?;
        Ok(Self { window, channels, weight: weight.to_vec1()?, bias: bias.to_vec1()?, activation })
    }

    /// Maps `(n, h, w, channels)` to `(n, h', w', channels)`.
    ///
    /// # Errors
    /// When the tensor has another shape, type or device.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.apply_op1_no_bwd(self)
    }
}

impl CustomOp1 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise-nhwc"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let map = FeatureMap::of(storage, layout, self.channels)?;
        map.run(self.window, self.channels, |image, out| {
            kernel::depthwise(&image, self.window, &self.weight, &self.bias, &self.activation, out);
        })
    }
}

fn check_layer(
    layer: &str,
    window: Window,
    (rows, columns): (usize, usize),
    outputs: usize,
    bias: &Tensor,
    activation: &Activation,
) -> Result<()> {
    if (rows, columns) != (window.size, window.size) {
        bail!("{layer}: weight is {rows}×{columns}, not {0}×{0}", window.size);
    }
    if bias.dims1()? != outputs {
        bail!("{layer}: {} biases for {outputs} outputs", bias.dims1()?);
    }
    match activation {
        Activation::Prelu(slopes) if slopes.len() != outputs => {
            bail!("{layer}: {} slopes for {outputs} outputs", slopes.len())
        }
        _ => Ok(()),
    }
}

/// A contiguous `(n, height, width, channels)` f32 tensor on the CPU.
pub(crate) struct FeatureMap<'a> {
    data: &'a [f32],
    count: usize,
    height: usize,
    width: usize,
    channels: usize,
}

impl<'a> FeatureMap<'a> {
    pub(crate) fn of(storage: &'a CpuStorage, layout: &Layout, channels: usize) -> Result<Self> {
        let (count, height, width, found) = layout.shape().dims4()?;
        if channels != found {
            bail!("expected {channels} channels, got a tensor of shape {:?}", layout.shape());
        }
        let Some((from, to)) = layout.contiguous_offsets() else { bail!("the tensor is not contiguous") };
        Ok(Self { data: &storage.as_slice::<f32>()?[from..to], count, height, width, channels })
    }

    /// Runs `body` for every image and gathers the outputs.
    pub(crate) fn run(
        &self,
        window: Window,
        outputs: usize,
        body: impl Fn(kernel::Image<'_>, &mut [f32]),
    ) -> Result<(CpuStorage, Shape)> {
        let (height, width) = (window.outputs(self.height), window.outputs(self.width));
        let (taken, given) = (self.height * self.width * self.channels, height * width * outputs);
        let mut out = vec![0.0; self.count * given];
        if taken > 0 && given > 0 {
            for (data, out) in self.data.chunks_exact(taken).zip(out.chunks_exact_mut(given)) {
                let image =
                    kernel::Image { data, height: self.height, width: self.width, channels: self.channels };
                body(image, out);
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((self.count, height, width, outputs))))
    }
}
