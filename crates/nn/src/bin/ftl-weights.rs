//! Converts the weights of an ONNX file to safetensors: `ftl-weights IN.onnx OUT.safetensors`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nn::onnx;
use nn::weights::{Error, Result};
use schema::stage::{Failure as _, exit};

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("error: usage: ftl-weights IN.onnx OUT.safetensors");
        return ExitCode::from(exit::USAGE);
    };
    match convert(from, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn convert(from: &Path, to: &Path) -> Result<()> {
    let tensors = onnx::read_initializers(from)?;
    candle_core::safetensors::save(&tensors, to).map_err(|e| Error::Unwritable {
        path: to.to_path_buf(),
        source: std::io::Error::other(e.to_string()),
    })
}
