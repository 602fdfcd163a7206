//! Weight files: safetensors. The SHA-256 of what was read goes into the records of a run; that it is
//! the pinned one is checked where weights are obtained.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use schema::hash;
use schema::stage::{Failure, exit};

/// What can be wrong with a weight file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the weights {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
    /// The file is no safetensors file.
    #[error("{} is not a safetensors file: {reason}", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// The reader's own words.
        reason: String,
    },
    /// The file is no ONNX file whose initialisers this tool can read.
    #[error("{} is not an ONNX file this tool can read: {reason}", path.display())]
    NotOnnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing or has another shape than the network needs.
    #[error("{} does not hold the weights of `{network}`: {reason}", path.display())]
    WrongNetwork {
        /// The file.
        path: PathBuf,
        /// The network that was to be loaded.
        network: &'static str,
        /// candle's own words.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

/// Result of this module.
pub type Result<T> = std::result::Result<T, Error>;

impl Failure for Error {
    fn hint(&self) -> Option<String> {
        Some("`cargo xtask models fetch` obtains the weights anew, or says which file to put where".into())
    }

    fn exit_code(&self) -> u8 {
        exit::INPUT
    }
}

/// A weight file in memory.
pub struct Weights {
    path: PathBuf,
    sha256: String,
    builder: VarBuilder<'static>,
}

impl Weights {
    /// Reads the safetensors file at `path` onto `device` as f32.
    ///
    /// # Errors
    /// [`Error::Unreadable`], [`Error::NotSafetensors`].
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let bytes = read(path)?;
        let sha256 = hash::bytes(&bytes);
        let builder = VarBuilder::from_buffered_safetensors(bytes, DType::F32, device)
            .map_err(|e| Error::NotSafetensors { path: path.to_path_buf(), reason: first_line(&e) })?;
        Ok(Self { path: path.to_path_buf(), sha256, builder })
    }

    /// SHA-256 of the file.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Builds a network; its errors name the file.
    ///
    /// # Errors
    /// [`Error::WrongNetwork`] when a tensor is missing or has another shape.
    pub fn load<T>(
        &self,
        network: &'static str,
        new: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<T>,
    ) -> Result<T> {
        new(self.builder.clone()).map_err(|e| Error::WrongNetwork {
            path: self.path.clone(),
            network,
            reason: first_line(&e),
        })
    }
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Unreadable { path: path.to_path_buf(), source })
}

/// candle appends a backtrace to its messages; people need the sentence only.
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
