//! Errors of the contract, each with the file it is about and a hint for the person who sees it.

use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong between a stage and a run directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: permission, disk full, missing file.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb: "read", "write", "create".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// The file is no readable Parquet file.
    #[error("{} is not a readable Parquet file: {reason}", path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// The reader's own words.
        reason: String,
    },
    /// The footer key is missing, not JSON, or names another table.
    #[error("{} is not a `{table}` table of this tool: {reason}", path.display())]
    Footer {
        /// The file.
        path: PathBuf,
        /// The table that was asked for.
        table: &'static str,
        /// What is wrong with the footer.
        reason: String,
    },
    /// The table was written by an older, incompatible version.
    #[error("{} holds `{table}` {found}, too old for this version, which reads {expected}", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Version in the file.
        found: String,
        /// Version of this build.
        expected: &'static str,
    },
    /// The table was written by a newer version.
    #[error("{} holds `{table}` {found}, newer than this version, which reads {expected}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Version in the file.
        found: String,
        /// Version of this build.
        expected: &'static str,
    },
    /// A column is missing or has another type than the contract says.
    #[error("{}: column `{column}` of `{table}` {reason}", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row breaks the contract: order, range, norm.
    #[error("{}: row {row} of `{table}` {reason}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Row number, from zero.
        row: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process holds the run directory.
    #[error("another run (process {holder}) is using {}", path.display())]
    Locked {
        /// The run directory.
        path: PathBuf,
        /// Process id of the holder, or "unknown".
        holder: String,
    },
    /// An earlier stage has not finished, so its tables cannot be read.
    #[error("{} has no finished `{stage}` stage, which `{table}` comes from", path.display())]
    MissingInput {
        /// The run directory.
        path: PathBuf,
        /// The table that was asked for.
        table: &'static str,
        /// The stage that writes it.
        stage: String,
    },
    /// A stage has not finished, or not since the tables changed that it reads.
    #[error("`{stage}` has not finished in {}, or not with the tables that are there", path.display())]
    Unfinished {
        /// The run directory.
        path: PathBuf,
        /// The stage.
        stage: String,
    },
    /// Something was taken out of a stage's tables, which it must not undo by itself.
    #[error("`{stage}` would bring back what was taken out of {}", path.display())]
    Pinned {
        /// The run directory.
        path: PathBuf,
        /// The stage.
        stage: String,
    },
    /// A table is not the one that the manifest records.
    #[error("{} is not the file its stage wrote: {reason}", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What differs.
        reason: String,
    },
    /// `manifest.json` cannot be understood.
    #[error("{} is not a manifest of this tool: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The configuration file cannot be understood.
    #[error("configuration {}: {reason}", path.display())]
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
        move |source| Self::Io { action, path, source }
    }
}

impl crate::stage::Failure for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space and run the same command again; finished stages are kept".into())
            }
            Self::Io { action: "create", .. } => {
                Some("choose a directory you may write to with --run-dir".into())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("choose a directory you may write to with --run-dir".into())
            }
            Self::Io { .. } | Self::Row { .. } => None,
            Self::NotParquet { .. } | Self::Changed { .. } | Self::Column { .. } | Self::Footer { .. } => {
                Some("restore the file, or run again with --from the stage that writes it".into())
            }
            Self::TooOld { table, .. } => {
                Some(format!("run again with --from {}", crate::tables::producer(table)))
            }
            Self::TooNew { .. } => Some("upgrade this tool to the version that wrote the file".into()),
            Self::Locked { .. } => Some("wait for it to end, or choose another --run-dir".into()),
            Self::MissingInput { stage, .. } | Self::Unfinished { stage, .. } => {
                Some(format!("run again with --from {stage}"))
            }
            Self::Pinned { stage, .. } => Some(format!(
                "ask for that with --from {stage}, or choose another --run-dir for other settings"
            )),
            Self::Manifest { .. } => Some("choose another --run-dir, or delete this one".into()),
            Self::Config { .. } => Some("the README lists every section and key".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        use crate::stage::exit;
        match self {
            Self::Io { .. } | Self::Locked { .. } => exit::UNEXPECTED,
            Self::Config { .. } | Self::Pinned { .. } => exit::USAGE,
            _ => exit::CONTRACT,
        }
    }
}
