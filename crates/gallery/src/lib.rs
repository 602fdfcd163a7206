//! The people of several videos, with one id per person.
//!
//! A *library* is a directory beside the runs. It is built of a set of runs, whose order does not matter, or runs are
//! added to it one at a time: the clusters of an added run are compared with the known people, each of which has one
//! vector in the library, so that earlier decisions stay.
//!
//! * [`identities`]: the people of a finished run.
//! * `evidence`: how much similarities say; pure.
//! * `linking`: links the people of all runs at once; pure.
//! * [`matching`]: matches the people of a run with the known people; pure.
//! * [`finding`]: people who resemble a face; pure.
//! * [`edits`]: corrections of the matches: which people are one person, and which are not.
//! * [`erasure`]: people and whole galleries removed.
//! * [`migration`]: the vectors of another embedder for the same people.
//! * [`mod@page`]: the page of the gallery.
//! * [`people`]: the people that members add up to; pure.
//! * `progress`: what an unfinished build has done.
//! * [`rotation`]: another key for an encrypted library.
//! * [`store`]: the directory: lock, index, files that are absent or whole.
//! * [`mod@validate`]: the rules of a library.
//!
//! **Architecture invariant:** no stage and no row of a run depends on a library. `people` is what
//! `members` add up to in the order of `library.json`, to the last bit.

pub mod edits;
pub mod erasure;
mod evidence;
pub mod finding;
pub mod identities;
mod linking;
pub mod matching;
pub mod migration;
mod page;
pub mod people;
mod progress;
pub mod rotation;
pub mod store;
pub mod validate;

use std::path::PathBuf;

use failure::{Advice, Failure, exit};

pub use crate::erasure::is_own;
pub use crate::finding::{Candidate, Odds};
pub use crate::identities::RunIdentities;
pub use crate::page::PAGE;
pub use crate::progress::{Saving, is_unfinished};
pub use crate::store::{Added, Appended, Change, INDEX, Library, Table, Video};

/// Raised whenever the same runs would give other people.
pub const VERSION: u32 = 2;

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A run cannot be used.
    #[error(transparent)]
    Run(run::Error),
    /// A file of the library cannot be used.
    #[error(transparent)]
    Library(#[from] run::Error),
    /// The run's vectors are of another embedder than the library's, so the two cannot be compared.
    #[error("`{}` was linked by {found} and `{}` by {expected}; their embeddings cannot be compared", run.display(), library.display())]
    OtherEmbedder {
        /// The run.
        run: PathBuf,
        /// The library.
        library: PathBuf,
        /// Embedder of the run.
        found: String,
        /// Embedder of the library.
        expected: String,
    },
    /// Two runs are of one video, so that one of them would count twice.
    #[error("`{}` and `{}` are runs of one video", runs[0].display(), runs[1].display())]
    TwoRuns {
        /// The run directories.
        runs: Box<[PathBuf; 2]>,
    },
    /// The people cannot be linked.
    #[error("failed to link the people of the gallery: {0}")]
    Items(#[from] cluster::items::Error),
    /// Runs are not where the library found them, or not as they were added.
    #[error("these runs are not where the gallery found them, or not as they were added: {}", runs.join(", "))]
    RunsGone {
        /// Names of the runs.
        runs: Vec<String>,
    },
    /// The pictures of runs were removed.
    #[error("these runs have no pictures to compute vectors from: {}", runs.join(", "))]
    NoPictures {
        /// Names of the runs.
        runs: Vec<String>,
    },
    /// `library.json` cannot be understood.
    #[error("`{}` is not the index of a gallery of this version: {reason}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no library.
    #[error("`{}` is not a gallery: it has no library.json", path.display())]
    NoGallery {
        /// The directory.
        path: PathBuf,
    },
    /// The video is not in the library.
    #[error("`{}` contains no video {video_id}", path.display())]
    NoVideo {
        /// The library.
        path: PathBuf,
        /// What was asked for.
        video_id: String,
    },
    /// A correction is refused.
    #[error("the correction `{op}` is refused: {reason}")]
    Refused {
        /// Kind of the correction.
        op: &'static str,
        /// The reason, as a clause.
        reason: String,
        /// What the user can do.
        hint: String,
    },
    /// The page cannot be made.
    #[error(transparent)]
    Page(#[from] report::Error),
    /// Some runs could not be added; each was reported.
    #[error("failed to add {failed} of {runs} runs")]
    Some {
        /// Number of those.
        failed: usize,
        /// Number of runs.
        runs: usize,
        /// Exit code of the first.
        code: u8,
    },
}

impl From<schema::Error> for Error {
    fn from(error: schema::Error) -> Self {
        Self::Library(error.into())
    }
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Run(e) => e.advice(),
            Self::Library(error) => Advice::new(
                error.exit_code(),
                match error {
                    run::Error::Locked { .. } => {
                        "run again later, wait with --wait, or use another --library"
                    }
                    run::Error::Table(schema::Error::Io { action, .. }) if *action != "read" => {
                        "use a --library directory with write permission"
                    }
                    _ => ADD_AGAIN,
                },
            ),
            Self::Index { .. } => Advice::new(exit::CONTRACT, ADD_AGAIN),
            Self::OtherEmbedder { .. } => Advice::new(
                exit::USAGE,
                "run the video again with the --embedder of the gallery, or use another --library",
            ),
            Self::NoGallery { .. } => {
                Advice::new(exit::INPUT, "`facetrack library build` makes a gallery of runs")
            }
            Self::TwoRuns { .. } => Advice::new(exit::USAGE, "name one of them"),
            Self::RunsGone { .. } => Advice::new(
                exit::INPUT,
                "add the runs again with `facetrack library add`, or remove their videos with `facetrack library remove`",
            ),
            Self::NoPictures { .. } => Advice::new(
                exit::INPUT,
                "process the videos again, or remove them from the gallery with `facetrack library remove`",
            ),
            Self::Items(_) => exit::CONTRACT.into(),
            Self::Refused { hint, .. } => Advice::new(exit::USAGE, hint),
            Self::Page(error) => error.advice(),
            Self::NoVideo { .. } => Advice::new(exit::USAGE, "library.json lists the videos"),
            Self::Some { code, .. } => (*code).into(),
        }
    }
}

const ADD_AGAIN: &str = "use another --library, or delete this one: runs can be added again";
