//! Weight files: safetensors, ONNX, dlib, TensorFlow, OpenVINO IR. The SHA-256 of what was read goes into the
//! records of a run; that it is the pinned one is checked where weights are obtained.

mod convert;
mod dlib;
mod onnx;
mod openvino;
mod tensorflow;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use failure::{Advice, Failure, catch_panic, exit};

pub use self::convert::convert;

/// Error of a weight file: one sentence, which names the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

/// Tensors by name, all f32.
pub type Tensors = HashMap<String, Tensor>;

/// Result of a reader of one format, which does not know the file's name.
type Parsed<T> = std::result::Result<T, String>;

impl Failure for Error {
    fn advice(&self) -> Advice {
        let hint = "`facetrack models fetch` obtains pinned weights anew, or says which file to put where";
        Advice::new(exit::INPUT, hint)
    }
}

/// A weight file in memory.
pub struct Weights {
    path: PathBuf,
    sha256: String,
    builder: VarBuilder<'static>,
}

impl Weights {
    /// Reads the file at `path` for a network on `device`, as [`read_tensors`] does.
    ///
    /// # Errors
    /// Those of [`read_tensors`].
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let file = File::read(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            sha256: file.sha256(),
            builder: VarBuilder::from_tensors(file.parse()?, DType::F32, device),
        })
    }

    /// SHA-256 of the file; of an OpenVINO IR those of both files, joined by `+`.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Builds a network; its errors name the file.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub fn load<T>(
        &self,
        network: &'static str,
        new: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<T>,
    ) -> Result<T> {
        new(self.builder.clone()).map_err(|e| {
            let (path, reason) = (self.path.display(), first_line(&e));
            Error(format!("`{path}` does not contain the weights of `{network}`: {reason}"))
        })
    }
}

/// Reads the float tensors of a weight file as f32, in memory. Its format shows in its first bytes:
///
/// * safetensors;
/// * ONNX: initialisers, single or half precision, block-wise quantised ones restored; tensors
///   whose names PyTorch's exporter made up also have another, `Conv.12.1` for input 1 of the
///   thirteenth `Conv`;
/// * a network that dlib has serialised: `conv0.weight` (out, in, h, w), `conv0.bias`,
///   `affine0.gamma`, `affine0.beta`, `fc0.weight` (out, in), each kind numbered from input to output;
/// * a frozen TensorFlow graph: constants by node name, the weights of `Conv2D` turned to
///   (out, in, h, w) and those of `MatMul` to (out, in);
/// * an OpenVINO IR, by its `.xml`: constants numbered in the order of the file, `constant.0` first. The `.bin` of
///   the same name lies beside it.
///
/// # Errors
/// When the file cannot be read, is of none of these formats or broken, and when a weight is not finite.
pub fn read_tensors(path: &Path) -> Result<Tensors> {
    File::read(path)?.parse()
}

/// A weight file in memory.
struct File<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    /// Of an OpenVINO IR, the values.
    beside: Option<Vec<u8>>,
}

impl<'a> File<'a> {
    fn read(path: &'a Path) -> Result<Self> {
        let bytes = read(path)?;
        let is_ir = Format::of(&bytes) == Some(Format::OpenVino);
        let beside = is_ir.then(|| read(&path.with_extension("bin"))).transpose()?;
        Ok(Self { path, bytes, beside })
    }

    fn sha256(&self) -> String {
        let hashes = std::iter::once(&self.bytes).chain(&self.beside).map(|bytes| hash::bytes(bytes));
        hashes.collect::<Vec<_>>().join("+")
    }

    fn parse(&self) -> Result<Tensors> {
        let path = self.path.display();
        let formats = Format::NAMES.join(", nor ");
        let unknown = || Error(format!("`{path}` is not a weight file: neither {formats}"));
        let format = Format::of(&self.bytes).ok_or_else(unknown)?;
        let tensors = match format {
            Format::Safetensors => safetensors(&self.bytes),
            Format::Onnx => onnx::parse(&self.bytes),
            Format::Dlib => dlib::parse(&self.bytes),
            Format::TensorFlow => tensorflow::parse(&self.bytes),
            Format::OpenVino => openvino::parse(&self.bytes, self.beside.as_deref().unwrap_or_default()),
        };
        let name = format.name();
        let tensors =
            tensors.map_err(|reason| Error(format!("`{path}` is not a valid {name} file: {reason}")))?;
        match first_not_finite(&tensors) {
            Some(name) => {
                Err(Error(format!("`{path}`: the tensor `{name}` contains a value that is not finite")))
            }
            None => Ok(tensors),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error(format!("failed to read the weights `{}`: {e}", path.display())))
}

/// A single weight that is not finite makes every embedding not finite.
fn first_not_finite(tensors: &Tensors) -> Option<String> {
    let is_finite = |tensor: &Tensor| {
        let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>());
        values.is_ok_and(|values| values.iter().all(|v| v.is_finite()))
    };
    tensors.iter().filter(|(_, tensor)| !is_finite(tensor)).map(|(name, _)| name).min().cloned()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Safetensors,
    Onnx,
    Dlib,
    TensorFlow,
    OpenVino,
}

impl Format {
    const NAMES: [&str; 5] = ["safetensors", "ONNX", "dlib", "TensorFlow", "OpenVINO"];

    /// By the first bytes; a broken file of a format still counts as one.
    fn of(bytes: &[u8]) -> Option<Self> {
        // safetensors: eight bytes of length, then JSON. dlib: the version, then the name of the loss.
        // ONNX's first field is a number, TensorFlow's a message.
        match bytes {
            [_, _, _, _, _, _, _, _, b'{', ..] => Some(Self::Safetensors),
            [_, _, _, _, b'l', b'o', b's', b's', b'_', ..] => Some(Self::Dlib),
            [0x08, ..] => Some(Self::Onnx),
            [0x0a, ..] => Some(Self::TensorFlow),
            [b'<', b'?', b'x', b'm', b'l', ..] | [b'<', b'n', b'e', b't', ..] => Some(Self::OpenVino),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

fn safetensors(bytes: &[u8]) -> Parsed<Tensors> {
    // candle multiplies the sizes of empty tensors without looking, and panics.
    let load = || candle_core::safetensors::load_buffer(bytes, &Device::Cpu);
    let tensors = catch_panic(load)?.map_err(|e| first_line(&e))?;
    let floats = tensors.into_iter().filter(|(_, tensor)| tensor.dtype().is_float());
    floats
        .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32).map_err(|e| first_line(&e))?)))
        .collect()
}

/// A tensor of as many values as its shape says.
fn tensor(name: &str, values: Vec<f32>, shape: Vec<usize>) -> Parsed<Tensor> {
    check_count(name, &shape, values.len())?;
    Tensor::from_vec(values, shape, &Device::Cpu).map_err(|e| first_line(&e))
}

fn check_count(name: &str, shape: &[usize], count: usize) -> Parsed<()> {
    // Also a shape with a zero in it must not overflow on its way there: candle multiplies it from behind.
    let product = shape.iter().try_fold(1_usize, |product, size| product.checked_mul((*size).max(1)));
    let found = if shape.contains(&0) { product.map(|_| 0) } else { product };
    if found == Some(count) {
        return Ok(());
    }
    Err(format!("`{name}`: found {count} values for the shape {shape:?}"))
}

/// Little-endian single precision.
fn floats(bytes: &[u8]) -> Parsed<Vec<f32>> {
    let (chunks, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(format!("{} bytes are not a whole number of floats", bytes.len()));
    }
    Ok(chunks.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// candle appends a backtrace to its messages; people need the sentence only.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn saved(values: &[f32]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.safetensors");
        let tensor = |v: &[f32]| Tensor::new(v, &Device::Cpu).unwrap();
        let count = Tensor::new(&[3_i64], &Device::Cpu).unwrap();
        let half = tensor(&[0.5]).to_dtype(DType::F16).unwrap();
        let all = HashMap::from([("b", tensor(values)), ("a", half), ("n", count), ("z", tensor(values))]);
        candle_core::safetensors::save(&all, &path).unwrap();
        (dir, path)
    }

    #[test]
    fn floats_of_every_precision_are_read_as_f32_and_counters_left_out() {
        let (_dir, path) = saved(&[1.0, 2.0]);
        let tensors = read_tensors(&path).unwrap();
        let mut found: Vec<_> =
            tensors.iter().map(|(n, t)| (n.as_str(), t.to_vec1::<f32>().unwrap())).collect();
        found.sort_by_key(|(name, _)| *name);
        assert_eq!(found, [("a", vec![0.5]), ("b", vec![1.0, 2.0]), ("z", vec![1.0, 2.0])]);
    }

    #[test]
    fn a_weight_that_is_no_number_is_reported_with_file_and_tensor() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (_dir, path) = saved(&[1.0, value]);
            let error = Weights::read(&path, &Device::Cpu).err().unwrap();
            let expected =
                format!("`{}`: the tensor `b` contains a value that is not finite", path.display());
            assert_eq!((error.to_string(), error.exit_code()), (expected, exit::INPUT));
        }
    }

    #[test]
    fn formats_show_in_the_first_bytes() {
        let (_dir, path) = saved(&[1.0]);
        assert_eq!(Format::of(&read(&path).unwrap()), Some(Format::Safetensors));
        assert_eq!(Format::of(b"\x01\x01\x01\x0dloss_metric_2"), Some(Format::Dlib));
        assert_eq!(Format::of(b"\x08\x07"), Some(Format::Onnx));
        assert_eq!(Format::of(b"\x0a\x07"), Some(Format::TensorFlow));
        assert_eq!(Format::of(b"<?xml version"), Some(Format::OpenVino));
        assert_eq!(Format::of(b"<net name"), Some(Format::OpenVino));
        for other in [&b""[..], b"PK\x03\x04", b"{\"a\":1}", b"loss_metric"] {
            assert_eq!(Format::of(other), None);
        }
        for format in [Format::Safetensors, Format::Onnx, Format::Dlib, Format::TensorFlow, Format::OpenVino]
        {
            assert_eq!(format.name().to_lowercase(), format!("{format:?}").to_lowercase());
        }
    }

    #[test]
    fn empty_tensors_of_impossible_shapes_are_errors() {
        let header = br#"{"w":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}"#;
        let file = [&(header.len() as u64).to_le_bytes(), header.as_slice()].concat();
        assert!(safetensors(&file).is_err());
        assert!(tensor("w", vec![], vec![0, 1 << 32, 1 << 32]).is_err());
        assert!(tensor("w", vec![], vec![3, 0]).is_ok());
    }

    #[test]
    fn a_torn_file_is_reported_with_its_format() {
        let (_dir, path) = saved(&[1.0]);
        let whole = read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let message = read_tensors(&path).unwrap_err().to_string();
        assert!(message.contains("is not a valid safetensors file: "), "{message}");
        std::fs::write(&path, "no weights").unwrap();
        let message = read_tensors(&path).unwrap_err().to_string();
        assert!(
            message.ends_with("neither safetensors, nor ONNX, nor dlib, nor TensorFlow, nor OpenVINO"),
            "{message}"
        );
    }
}
