//! SFace against onnxruntime on real crops. Expected vectors come from `crates/nn/tests/make_expected.py`.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use candle_core::{Device, Tensor};
use embed::Embedder;
use embed::sface::SFace;
use image::RgbImage;
use nn::weights::Weights;
use tests::assets::require_in;

const CROP: u32 = 160;

/// The part of the photo at (`left`, `top`), every pixel the mean of a block of pixels.
fn crop(photo: &RgbImage, left: u32, top: u32, block: u32) -> Vec<u8> {
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

fn cosine_distance(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn sface_gives_what_onnxruntime_gives() {
    let Some(weights) = require_in("FACETRACK_WEIGHTS_DIR", "sface.safetensors") else {
        return;
    };
    let Some(photo) = require_in("FACETRACK_PHOTOS_DIR", "32bit.png") else { return };
    let network = Weights::read(&weights, &Device::Cpu).unwrap().load("sface", |vb| SFace::new(&vb)).unwrap();
    let photo = image::open(photo).unwrap().into_rgb8();
    let cases: Vec<serde_json::Value> = serde_json::from_str(include_str!("sface.json")).unwrap();
    assert_eq!(cases.len(), 5);
    let prepare = |case: &serde_json::Value| {
        let number = |key: &str| u32::try_from(case[key].as_u64().unwrap()).unwrap();
        let pixels = crop(&photo, number("left"), number("top"), number("block"));
        network.prepare(&pixels, CROP as usize).unwrap()
    };
    let inputs: Vec<Tensor> = cases.iter().map(prepare).collect();
    let vectors = network.embed(&Tensor::cat(&inputs, 0).unwrap()).unwrap();
    assert_eq!(vectors.len(), cases.len());
    for ((case, input), vector) in cases.iter().zip(&inputs).zip(vectors) {
        // A vector does not depend on its batch, to the last bit.
        assert_eq!(network.embed(input).unwrap(), std::slice::from_ref(&vector));
        let found: Vec<f64> = vector.into_iter().map(f64::from).collect();
        let expected: Vec<f64> =
            case["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let distance = cosine_distance(&found, &expected);
        assert!(distance <= 1e-4, "{distance} at {}, {}", case["left"], case["top"]);
        // Norms weigh crops when they are pooled, so they must agree too.
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm(&found) / norm(&expected) - 1.0).abs() < 1e-3);
    }
}

#[test]
fn a_crop_that_is_too_small_is_refused() {
    let Some(weights) = require_in("FACETRACK_WEIGHTS_DIR", "sface.safetensors") else {
        return;
    };
    let network = Weights::read(&weights, &Device::Cpu).unwrap().load("sface", |vb| SFace::new(&vb)).unwrap();
    assert_eq!(network.prepare(&[0; 300], 10).unwrap_err(), "is 10 pixels wide, less than 112");
}

#[test]
fn weights_of_another_network_are_refused() {
    let Some(weights) = require_in("FACETRACK_WEIGHTS_DIR", "yunet.safetensors") else {
        return;
    };
    let error = Weights::read(&weights, &Device::Cpu).unwrap().load("sface", |vb| SFace::new(&vb)).err();
    let message = error.unwrap().to_string();
    assert!(message.contains("does not hold the weights of `sface`"), "{message}");
}
