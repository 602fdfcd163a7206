//! Errors of this crate.

use failure::{Advice, Failure, exit};

/// Error of making the page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A table of the run is not what the contract says.
    #[error(transparent)]
    Table(#[from] schema::Error),
    /// A face image of `crops` cannot be decoded.
    #[error("failed to decode the crop of track {track_id}, frame {frame_idx}: {source}")]
    Crop {
        /// Track of the crop.
        track_id: i64,
        /// Frame of the crop.
        frame_idx: i64,
        /// The decoder's error.
        source: image::ImageError,
    },
    /// `linkage` is no tree over the tracks of `clusters`.
    #[error("step {step} of `linkage` merges nodes that do not exist or are merged already")]
    Linkage {
        /// The offending merge.
        step: usize,
    },
    /// The template cannot be rendered, which is a mistake of this program.
    #[error("failed to render the report: {0}")]
    Page(#[from] minijinja::Error),
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Table(error) => error.advice(),
            Self::Crop { .. } => Advice::new(exit::CONTRACT, "run again with --from detect-track"),
            Self::Linkage { .. } => Advice::new(exit::CONTRACT, "run again with --from cluster"),
            Self::Page(_) => exit::UNEXPECTED.into(),
        }
    }
}
