//! Errors of making and storing datasets.

use std::io;
use std::path::PathBuf;

use failure::{Failure, exit};

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run cannot be read or written.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// A file cannot be read or written.
    #[error("failed to {action} `{}`: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Message of the operating system.
        source: io::Error,
    },
    /// Labels cannot be read.
    #[error("`{}`: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A recipe is wrong.
    #[error("`{}`: {reason}", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Failure for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Schema(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Recipe { .. } => Some("datasets/README.md describes recipes".into()),
            Self::Io { .. } | Self::Labels { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Schema(error) => error.exit_code(),
            Self::Run(error) => error.exit_code(),
            Self::Recipe { .. } => exit::USAGE,
            Self::Labels { .. } => exit::INPUT,
            Self::Io { .. } => exit::UNEXPECTED,
        }
    }
}
