//! Errors of this stage.

use std::path::PathBuf;

use failure::{Advice, Failure, exit};

/// Errors of this stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory or one of its tables is not what the contract says.
    #[error(transparent)]
    Run(#[from] run::Error),
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
    /// A line of the labels is about a frame that the video does not have.
    #[error("`{}`, line {line}: {reason}", path.display())]
    OtherVideo {
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
    fn advice(&self) -> Advice {
        match self {
            Self::Run(error) => error.advice(),
            Self::Report(error) => error.advice(),
            Self::Setting { .. } => Advice::new(exit::USAGE, "correct the value in the configuration file"),
            Self::LabelsFile { .. } => Advice::new(exit::INPUT, "check the path of the labels file"),
            Self::Labels { .. } => Advice::new(
                exit::INPUT,
                "labels are a UTF-8 CSV file with a header and the columns frame, x, y, w, h, identity",
            ),
            Self::OtherVideo { .. } => Advice::new(
                exit::INPUT,
                "the labels seem to belong to another video; pass the labels of this video, frames counted from 0",
            ),
            Self::Json(_) => exit::UNEXPECTED.into(),
        }
    }
}
