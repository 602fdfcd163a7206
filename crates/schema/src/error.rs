//! Errors of tables, each with the path of the file and a hint for the user.

use std::io;
use std::path::{Path, PathBuf};

use failure::{Advice, Failure, exit};

/// What can go wrong when a table is written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: permission, disk full, missing file.
    #[error("failed to {action} `{}`: {source}", path.display())]
    Io {
        /// What was being done, as a verb: "read", "write", "create".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Message of the operating system.
        source: io::Error,
    },
    /// The file is no readable Parquet file.
    #[error("failed to read the Parquet file `{}`: {reason}", path.display())]
    NotParquet {
        /// The file.
        path: PathBuf,
        /// Message of the Parquet reader.
        reason: String,
    },
    /// A key file cannot be read, or is none.
    #[error("failed to read the encryption key `{}`: {reason}", path.display())]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A table or a directory is encrypted, and no key is given.
    #[error("`{}` is encrypted, and no key is given", path.display())]
    NoKey {
        /// The file or directory.
        path: PathBuf,
    },
    /// A table or a directory is encrypted with another key than the given one.
    #[error("`{}` is encrypted with the key {found}, and the given key is {given}", path.display())]
    WrongKey {
        /// The file or directory.
        path: PathBuf,
        /// Identifier of its key.
        found: String,
        /// Identifier of the given key.
        given: String,
    },
    /// A key is given, and a table or a directory is not encrypted.
    #[error("`{}` is not encrypted, and a key is given", path.display())]
    NotEncrypted {
        /// The file or directory.
        path: PathBuf,
    },
    /// The footer key is missing, not JSON, or names another table.
    #[error("`{}` is not a `{table}` table of facetrack: {reason}", path.display())]
    Footer {
        /// The file.
        path: PathBuf,
        /// The table that was asked for.
        table: &'static str,
        /// What is wrong with the footer.
        reason: String,
    },
    /// The table was written by a newer version, or by an older, incompatible one.
    #[error("`{}` contains `{table}` {found}, which is too {}; this version reads {expected}", path.display(), if *is_newer { "new" } else { "old" })]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Version in the file.
        found: String,
        /// Version of this build.
        expected: &'static str,
        /// Whether the version in the file is the newer one.
        is_newer: bool,
    },
    /// A column is missing or has another type than the contract says.
    #[error("`{}`: column `{column}` of `{table}` {reason}", path.display())]
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
    #[error("`{}`: row {row} of `{table}` {reason}", path.display())]
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

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Io { action, source, .. } => match (source.kind(), *action) {
                (io::ErrorKind::StorageFull, _) => Advice::new(
                    exit::UNEXPECTED,
                    "free disk space and run the same command again; finished stages are kept",
                ),
                (io::ErrorKind::PermissionDenied, _) | (_, "create") => {
                    Advice::new(exit::UNEXPECTED, "use a --run-dir with write permission")
                }
                _ => exit::UNEXPECTED.into(),
            },
            Self::Row { .. } => exit::CONTRACT.into(),
            Self::KeyFile { .. } => {
                Advice::new(exit::INPUT, "`facetrack key new FILE` writes a new key into a file")
            }
            Self::NoKey { .. } => Advice::new(
                exit::INPUT,
                "pass --encryption-key FILE, or set FACETRACK_ENCRYPTION_KEY_FILE to the path of the key file",
            ),
            Self::WrongKey { .. } => {
                Advice::new(exit::INPUT, "pass the file of the other key with --encryption-key")
            }
            Self::NotEncrypted { path } => Advice::new(
                exit::INPUT,
                format!(
                    "run without --encryption-key and FACETRACK_ENCRYPTION_KEY_FILE, or encrypt it first: `facetrack key encrypt --to FILE {}`",
                    path.display()
                ),
            ),
            Self::NotParquet { .. } | Self::Column { .. } | Self::Footer { .. } => {
                Advice::new(exit::CONTRACT, RESTORE)
            }
            Self::OtherVersion { is_newer: true, .. } => {
                Advice::new(exit::CONTRACT, "upgrade facetrack to the version that wrote the file")
            }
            Self::OtherVersion { table, .. } => Advice::new(
                exit::CONTRACT,
                format!("run again with --from {}", crate::tables::producer(table)),
            ),
        }
    }
}

/// The hint for a file that is not as its stage wrote it.
pub const RESTORE: &str = "restore the file, or run again with --from the stage that writes it";
