//! Import and export of the formats of other tools.
//!
//! * [`dataset`]: a run as a dataset with a data card and a description in Croissant.
//! * [`edits`]: corrections as CSV or JSON.
//! * [`export`]: a run as CSV, MOTChallenge, COCO, CVAT, WebVTT, RTTM, OpenTimelineIO, MMIF, XMP or an
//!   edit decision list.
//! * [`labels`]: ground truth of CSV files, MOTChallenge, CVAT or COCO, for import and for stage `evaluate`; and what
//!   other services and tools found.
//! * [`names`]: names for the people of a run, from such labels.
//! * [`subject`]: what is stored of one person.
//!
//! **Architecture invariant:** this crate reads tables and does not change them.

pub mod dataset;
pub mod edits;
pub mod export;
pub mod labels;
pub mod names;
pub mod run;
pub mod subject;
mod xml;

use std::io;
use std::path::PathBuf;

use failure::{Advice, Failure, exit};

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] ::run::Error),
    /// A file cannot be read or written.
    #[error("failed to {action} `{}`: {source}", path.display())]
    Io {
        /// Action that failed: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Message of the operating system.
        source: io::Error,
    },
    /// A line of a file of labels or of corrections is invalid.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Run(error) => error.advice(),
            Self::Labels { reason, .. } if reason.starts_with("missing column") => Advice::new(
                exit::INPUT,
                "labels need the columns frame, x, y, w, h and identity, or common names for these, such as \
                 frame_idx, left, top, x_max, y_max or name",
            ),
            Self::Labels { reason, .. } if reason == labels::NO_SCENE => Advice::new(
                exit::INPUT,
                "pass a run of the video with --run-dir; the stage `ingest` is enough",
            ),
            Self::Io { action: "read", .. } | Self::Labels { .. } => exit::INPUT.into(),
            Self::Io { .. } => exit::UNEXPECTED.into(),
        }
    }
}
