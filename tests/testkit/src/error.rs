//! Errors of making and storing datasets.

use std::io;
use std::path::PathBuf;

use failure::{Advice, Failure, exit};

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
    fn advice(&self) -> Advice {
        match self {
            Self::Schema(error) => error.advice(),
            Self::Run(error) => error.advice(),
            Self::Recipe { .. } => Advice::new(exit::USAGE, "datasets/README.md describes recipes"),
            Self::Labels { .. } => exit::INPUT.into(),
            Self::Io { .. } => exit::UNEXPECTED.into(),
        }
    }
}
