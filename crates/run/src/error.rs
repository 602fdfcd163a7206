//! Errors of run directories, each with the path and a hint for the user.

use std::io;
use std::path::{Path, PathBuf};

use failure::{Advice, Failure, exit};

/// What can go wrong between a stage and a run directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A table cannot be written or read, or the operating system refused.
    #[error(transparent)]
    Table(#[from] schema::Error),
    /// There is no run.
    #[error("`{}` is not a run directory: it has no manifest.json", path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// A run whose tables are to be taken over is of another video.
    #[error("nothing can be reused from `{}`, which is a run of another video", path.display())]
    OtherVideo {
        /// The other run directory.
        path: PathBuf,
    },
    /// A run keeps the name that is in its tables.
    #[error("the run in `{}` has the name `{name}`", path.display())]
    OtherName {
        /// The run directory.
        path: PathBuf,
        /// Name of the run.
        name: String,
    },
    /// Another process holds the run directory.
    #[error("another process ({holder}) is using `{}`", path.display())]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// Process id of the holder, or "unknown".
        holder: String,
    },
    /// A rotation of the key was interrupted, or is going on.
    #[error("the tables of `{}` are partly encrypted with another key: a rotation of its key was interrupted", path.display())]
    Rotating {
        /// The run directory or library.
        path: PathBuf,
    },
    /// An earlier stage has not finished, so its tables cannot be read.
    #[error("`{}` has no finished stage `{stage}`, which writes `{table}`", path.display())]
    MissingInput {
        /// The run directory.
        path: PathBuf,
        /// The table that was asked for.
        table: &'static str,
        /// The stage that writes it.
        stage: String,
    },
    /// A stage has not finished, or not since the tables changed that it reads.
    #[error("the stage `{stage}` has not finished in `{}`, or used other tables", path.display())]
    Unfinished {
        /// The run directory.
        path: PathBuf,
        /// The stage.
        stage: String,
    },
    /// Something was taken out of a stage's tables, which it must not undo by itself.
    #[error("the stage `{stage}` would restore what was removed from `{}`", path.display())]
    Pinned {
        /// The run directory.
        path: PathBuf,
        /// The stage.
        stage: String,
    },
    /// A table is not the one that the manifest records.
    #[error("`{}` was changed after its stage wrote it: {reason}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// `manifest.json` cannot be understood.
    #[error("`{}` is not a manifest of facetrack: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file is no report of an erasure, or was changed.
    #[error("`{}` is not a report of an erasure by facetrack: {reason}", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An edit cannot be undone or redone.
    #[error("the edits of `{}`: {reason}", path.display())]
    Edit {
        /// The run directory or library.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The configuration file cannot be understood.
    #[error("invalid configuration `{}`: {reason}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Wraps a system error with what was being done to which path.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Table(schema::Error::Io { action, path, source })
    }
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Table(error) => error.advice(),
            Self::NoRun { .. } => Advice::new(exit::INPUT, "run the video first"),
            Self::OtherVideo { .. } => Advice::new(exit::USAGE, "pass --reuse with a run of the same file"),
            Self::OtherName { .. } => {
                Advice::new(exit::USAGE, "leave out --run-id, or use another --run-dir")
            }
            Self::Rotating { .. } => Advice::new(
                exit::INPUT,
                "run the same `facetrack key` command with the same keys again, which completes it",
            ),
            Self::Changed { .. } => Advice::new(exit::CONTRACT, schema::error::RESTORE),
            Self::Locked { .. } => {
                Advice::new(exit::BUSY, "run again later, wait with --wait, or use another --run-dir")
            }
            Self::MissingInput { .. } | Self::Unfinished { .. } => {
                Advice::new(exit::CONTRACT, "run the video again; finished stages are not repeated")
            }
            Self::Pinned { stage, .. } => Advice::new(
                exit::USAGE,
                format!("to restore it, run with --from {stage}; for other settings, use another --run-dir"),
            ),
            Self::Manifest { .. } => Advice::new(exit::CONTRACT, "use another --run-dir, or delete this one"),
            Self::Report { .. } => {
                Advice::new(exit::CONTRACT, "pass the JSON file that `facetrack redact --report` wrote")
            }
            Self::Edit { path, .. } => {
                Advice::new(exit::USAGE, format!("`facetrack edits list {}` lists the edits", path.display()))
            }
            Self::Config { .. } => {
                Advice::new(exit::USAGE, "`facetrack settings` lists every section and setting")
            }
        }
    }
}
