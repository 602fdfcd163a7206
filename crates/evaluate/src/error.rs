//! Errors of this stage.

use std::path::PathBuf;

use failure::{Failure, exit};

/// Errors of this stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory or one of its tables is not what the contract says.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// A table cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// A configuration value is out of its range.
    #[error("[evaluate] {key} must be {range}")]
    Setting {
        /// Key in the section `[evaluate]`.
        key: &'static str,
        /// Description of the range.
        range: &'static str,
    },
    /// The labels cannot be read from disk.
    #[error("failed to read the labels `{}`: {source}", path.display())]
    LabelsFile {
        /// The file.
        path: PathBuf,
        /// Message of the operating system.
        source: std::io::Error,
    },
    /// A line of the labels is not what it should be.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// Line, from 1; the header is line 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The page cannot be made.
    #[error(transparent)]
    Report(#[from] report::Error),
    /// The figures could not be put into JSON; a mistake of this program.
    #[error("failed to write report/metrics.json: {0}")]
    Json(#[from] serde_json::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Failure for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Schema(error) => error.hint(),
            Self::Setting { .. } => Some("correct the value in the configuration file".into()),
            Self::LabelsFile { .. } => Some("check the path of the labels file".into()),
            Self::Labels { .. } => Some(
                "labels are a UTF-8 CSV file with a header and the columns frame, x, y, w, h, identity"
                    .into(),
            ),
            Self::Report(error) => error.hint(),
            Self::Json(_) => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Run(error) => error.exit_code(),
            Self::Schema(error) => error.exit_code(),
            Self::Setting { .. } => exit::USAGE,
            Self::LabelsFile { .. } | Self::Labels { .. } => exit::INPUT,
            Self::Report(error) => error.exit_code(),
            Self::Json(_) => exit::UNEXPECTED,
        }
    }
}
