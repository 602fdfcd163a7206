//! Weight files of every format: safetensors, ONNX, dlib, TensorFlow.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let path = std::env::temp_dir().join(format!("fuzz-weights-{}", std::process::id()));
    if std::fs::write(&path, data).is_ok() {
        let _ = nn::weights::read_tensors(&path);
    }
});
