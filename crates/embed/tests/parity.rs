//! Every network against its reference on real crops: onnxruntime, dlib or OpenCV, see
//! `reference/make_expected.py`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use embed::arcface::Config;
use embed::{Embedder, Network, arcface, dlib, facenet, iresnet, mobilefacenet, retail, sface, vgg};
use image::RgbImage;
use nn::device::{Choice, Place, Precision};
use nn::weights::Weights;
use serde::Deserialize;
use testkit::assets::{find_retail, require_in};

const CROP: u32 = 160;

/// What a network gives for crops of the photo.
#[derive(Deserialize)]
struct Expected {
    /// Left, top, and the side of the block of pixels that becomes one.
    crops: Vec<[u32; 3]>,
    vectors: Vec<Vec<f64>>,
}

impl Expected {
    fn of(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected");
        let text = fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// The part of the photo at (`left`, `top`), every pixel the mean of a block of pixels.
fn crop(photo: &RgbImage, [left, top, block]: [u32; 3]) -> Vec<u8> {
    let mean = |x: u32, y: u32, channel: usize| {
        let block_of =
            |x: u32, y: u32| (0..block * block).map(move |i| (x * block + i % block, y * block + i / block));
        let sum: u32 =
            block_of(x, y).map(|(x, y)| u32::from(photo.get_pixel(left + x, top + y)[channel])).sum();
        (sum / (block * block)) as u8
    };
    let pixels = (0..CROP * CROP).map(|i| (i % CROP, i / CROP));
    pixels.flat_map(|(x, y)| [0, 1, 2].map(|channel| mean(x, y, channel))).collect()
}

fn photo() -> Option<RgbImage> {
    let path = require_in("FACETRACK_PHOTOS_DIR", "32bit.png")?;
    Some(image::open(path).unwrap().into_rgb8())
}

fn weights(name: &str) -> Option<Weights> {
    let path = require_in("FACETRACK_WEIGHTS_DIR", &format!("{name}.safetensors"))?;
    Some(Weights::read(&path, &Device::Cpu).unwrap())
}

fn cosine_distance(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Checks a network in single precision, then in integers, which are near it. `prepare` makes a network's input of a
/// crop of 160×160 pixels.
fn agrees(name: &str, network: Network, prepare: impl Fn(&Network, &[u8]) -> Result<Tensor, String>) {
    let (Expected { crops, vectors: expected }, Some(photo)) = (Expected::of(name), photo()) else { return };
    assert!(crops.len() >= 2 && crops.len() == expected.len(), "{name}");
    let inputs: Vec<_> = crops.iter().map(|at| prepare(&network, &crop(&photo, *at)).unwrap()).collect();
    let single = vectors(name, &network, &inputs);
    let integers = network.at(Place::open(Choice::Cpu, Precision::Integer).unwrap());
    let integers = vectors(name, &integers, &inputs);
    for (i, expected) in expected.iter().enumerate() {
        // Norms weigh crops when they are pooled, so they must agree too.
        for (found, farthest, ratio) in [(&single[i], 1e-4, 1e-3), (&integers[i], 0.03, 0.05)] {
            let distance = cosine_distance(found, expected);
            assert!(distance <= farthest, "{name}, crop {i}: {distance}");
            let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
            let change = (norm(found) / norm(expected) - 1.0).abs();
            assert!(change < ratio, "{name}, crop {i}: {change}");
        }
    }
}

/// The vectors of the inputs, which do not depend on their batch, to the last bit.
fn vectors(name: &str, network: &Network, inputs: &[Tensor]) -> Vec<Vec<f64>> {
    let vectors = network.embed(&Tensor::cat(inputs, 0).unwrap()).unwrap();
    assert_eq!(vectors.len(), inputs.len(), "{name}");
    for (input, vector) in inputs.iter().zip(&vectors) {
        assert_eq!(vector.len(), network.dim(), "{name}");
        assert_eq!(network.embed(input).unwrap()[0], *vector, "{name}");
    }
    vectors.iter().map(|vector| vector.iter().copied().map(f64::from).collect()).collect()
}

#[test]
fn sface_gives_what_onnxruntime_gives() {
    let Some(weights) = weights("sface") else { return };
    let network = weights.load("sface", |vb| sface::network(&vb)).unwrap();
    agrees("sface", network, |network, crop| network.prepare(crop, CROP as usize));
}

#[test]
fn dlib_gives_what_dlib_gives() {
    let Some(weights) = weights("dlib") else { return };
    let network = weights.load("dlib", |vb| dlib::network(&vb)).unwrap();
    agrees("dlib", network, |_, crop| dlib::normalised(crop, CROP as usize));
}

#[test]
fn facenet_gives_what_opencv_gives() {
    let Some(weights) = weights("facenet") else { return };
    let network = weights.load("facenet", |vb| facenet::network(&vb)).unwrap();
    agrees("facenet", network, |network, crop| network.prepare(crop, CROP as usize));
}

#[test]
fn vgg_gives_what_onnxruntime_gives() {
    let Some(weights) = weights("vgg") else { return };
    let network = weights.load("vgg", |vb| vgg::network(&vb)).unwrap();
    agrees("vgg", network, |network, crop| network.prepare(crop, CROP as usize));
}

#[test]
fn retail_gives_what_openvino_gives() {
    let Some(path) = find_retail() else { return };
    let weights = Weights::read(&path, &Device::Cpu).unwrap();
    let network = weights.load("retail", |vb| retail::network(&vb)).unwrap();
    agrees("retail", network, |network, crop| network.prepare(crop, CROP as usize));
}

#[test]
fn iresnets_give_what_onnxruntime_gives() {
    use iresnet::Config as C;
    for (name, config) in [
        ("iresnet18", C::R18),
        ("iresnet18_exported", C::R18),
        ("iresnet34", C::R34),
        ("iresnet50", C::R50),
        ("iresnet100", C::R100),
    ] {
        let seeded = Seeded::new(name.ends_with("exported"));
        let network = Config::IResNet(config).network(&seeded.builder()).unwrap();
        agrees(name, network, |network, crop| network.prepare(crop, CROP as usize));
        assert_eq!(Config::find(&seeded.stored(|t| t)).unwrap(), Config::IResNet(config), "{name}");
    }
}

#[test]
fn mobilefacenets_give_what_onnxruntime_gives() {
    use mobilefacenet::Config as C;
    for (name, config) in
        [("mobilefacenet", C::SMALL), ("mobilefacenet_exported", C::SMALL), ("mobilefacenet_large", C::LARGE)]
    {
        let seeded = Seeded::new(name.ends_with("exported"));
        let network = Config::MobileFaceNet(config).network(&seeded.builder()).unwrap();
        agrees(name, network, |network, crop| network.prepare(crop, CROP as usize));
        assert_eq!(Config::find(&seeded.stored(|t| t)).unwrap(), Config::MobileFaceNet(config), "{name}");
    }
}

/// An exporter that folds no batch norms still makes up names for slopes and for a matrix.
#[test]
fn networks_are_found_where_only_some_names_are_lost() {
    let input = Tensor::rand(-1.0_f32, 1.0, (1, 112, 112, 3), &Device::Cpu).unwrap();
    let resnet = Seeded::new(false);
    let embed = |config: Config, tensors| config.network(&tensors).unwrap().embed(&input).unwrap();
    let resnet_vectors = embed(Config::IResNet(iresnet::Config::R18), resnet.builder());
    let mobile = Seeded::new(false);
    let config = mobilefacenet::Config { blocks: [2, 3, 1, 1], scale: 1 };
    let mobile_vectors = embed(Config::MobileFaceNet(config), mobile.builder());
    for (seeded, expected) in [(resnet, resnet_vectors), (mobile, mobile_vectors)] {
        let network = arcface::network(&seeded.stored(partly_renamed)).unwrap();
        let found = network.embed(&input).unwrap();
        assert_eq!(found, expected);
    }
}

/// `prelu.weight` becomes `PRelu.0.1` and so on, `features.layers.2.weight` becomes `MatMul.0.1`.
fn partly_renamed(tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let mut slopes = 0;
    let renamed = tensors.into_iter().map(|(name, tensor)| {
        if name == "features.layers.2.weight" {
            return ("MatMul.0.1".to_owned(), tensor.t().unwrap());
        }
        if name.ends_with("prelu.weight") || name.ends_with("layers.2.weight") {
            slopes += 1;
            let channels = tensor.dim(0).unwrap();
            return (format!("PRelu.{}.1", slopes - 1), tensor.reshape((channels, 1, 1)).unwrap());
        }
        (name, tensor)
    });
    renamed.collect()
}

/// Tensors made from their names, as `seeded` of `reference/networks.py` makes them; remembers which.
#[derive(Clone)]
struct Seeded {
    /// Whether there are only the names that PyTorch's exporter makes up when it folds batch norms.
    exported: bool,
    given: Arc<Mutex<Vec<(String, Tensor)>>>,
}

impl Seeded {
    fn new(exported: bool) -> Self {
        Self { exported, given: Arc::default() }
    }

    fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    /// What it has given so far.
    fn stored(&self, change: impl Fn(Vec<(String, Tensor)>) -> Vec<(String, Tensor)>) -> VarBuilder<'static> {
        let tensors: HashMap<_, _> = change(self.given.lock().unwrap().clone()).into_iter().collect();
        VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
    }
}

impl SimpleBackend for Seeded {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        _: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let tensor = Tensor::from_vec(testkit::random::weights(name, shape.dims()), shape, device)?;
        self.given.lock().unwrap().push((name.to_owned(), tensor.clone()));
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("the shape of {name} is not known")
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.exported == ["Conv.", "PRelu.", "MatMul."].iter().any(|op| name.starts_with(op))
    }
}

#[test]
fn a_crop_that_is_too_small_is_refused() {
    let Some(weights) = weights("sface") else { return };
    let network = weights.load("sface", |vb| sface::network(&vb)).unwrap();
    assert_eq!(network.prepare(&[0; 300], 10).unwrap_err(), "is 10 pixels wide; at least 112 are needed");
}

#[test]
fn weights_of_another_network_are_refused() {
    let Some(weights) = weights("yunet") else { return };
    let message = |error: Option<nn::weights::Error>| error.unwrap().to_string();
    let sface = message(weights.load("sface", |vb| sface::network(&vb)).err());
    assert!(sface.contains("does not contain the weights of `sface`"), "{sface}");
    let arcface = message(weights.load("arcface", |vb| arcface::network(&vb)).err());
    assert!(arcface.contains("neither an IResNet nor a MobileFaceNet"), "{arcface}");
}
