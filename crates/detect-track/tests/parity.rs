//! YuNet against onnxruntime on a real photo. Expected faces come from `make_expected.py`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use candle_core::Device;
use detect_track::face::Face;
use detect_track::yunet::YuNet;
use nn::weights::Weights;
use serde_json::Value;
use testkit::assets::require_in;

/// The photo shrunk by means of blocks of pixels, in the corner of a black square.
fn canvas(photo: &image::RgbImage, side: usize, block: u32) -> Vec<u8> {
    let mut canvas = vec![0; side * side * 3];
    for y in 0..photo.height() / block {
        for x in 0..photo.width() / block {
            for channel in 0..3 {
                let pixels = (0..block * block).map(|i| (x * block + i % block, y * block + i / block));
                let sum: u32 = pixels.map(|(x, y)| u32::from(photo.get_pixel(x, y)[channel])).sum();
                canvas[(y as usize * side + x as usize) * 3 + channel] = (sum / (block * block)) as u8;
            }
        }
    }
    canvas
}

fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap() as f32],
    }
}

#[test]
fn yunet_sees_what_onnxruntime_sees() {
    let Some(weights) = require_in("FACETRACK_WEIGHTS_DIR", "yunet.safetensors") else {
        return;
    };
    let Some(photo) = require_in("FACETRACK_PHOTOS_DIR", "32bit.png") else { return };
    let network = Weights::read(&weights, &Device::Cpu).unwrap().load("yunet", |vb| YuNet::new(&vb)).unwrap();
    let expected: Value = serde_json::from_str(include_str!("yunet.json")).unwrap();
    let side = expected["side"].as_u64().unwrap() as usize;
    let photo = image::open(photo).unwrap().into_rgb8();
    let canvas = canvas(&photo, side, expected["block"].as_u64().unwrap() as u32);
    let min_score = expected["min_score"].as_f64().unwrap() as f32;
    let found = network.detect(&canvas, side, side, min_score).unwrap();
    let faces = expected["faces"].as_array().unwrap();
    assert_eq!((found.len(), faces.len()), (8, 8));
    for (found, expected) in found.iter().zip(faces) {
        let Face { bbox, landmarks, score } = found;
        assert!((score - numbers(&expected["score"])[0]).abs() < 1e-4);
        let places: Vec<f32> = bbox.edges().into_iter().chain(landmarks.unwrap().flat()).collect();
        let expected = [numbers(&expected["rect"]), numbers(&expected["points"])].concat();
        for (found, expected) in places.iter().zip(&expected) {
            assert!((found - expected).abs() < 0.05, "{places:?}\n{expected:?}");
        }
    }
}
