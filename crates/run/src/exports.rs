//! The record of the files that were exported from a run or a gallery, by which `redact` finds them again.
//!
//! The record is the file `exports.json` beside the tables. What was written to standard output is not in it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::date::utc;
use crate::edits::{LOCK, PATIENCE};
use crate::error::{Error, Result};
use crate::files::{replace, sha256};
use crate::lock::lock_file;

/// Name of the file.
pub const FILE: &str = "exports.json";

/// An exported file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// The file, an absolute path.
    pub path: PathBuf,
    /// The format, by its name on the command line.
    pub format: String,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
    /// Time of the export, UTC.
    pub made_at: String,
}

impl Export {
    /// Whether the file is there with the content that was exported.
    pub fn is_there(&self) -> bool {
        self.path.is_file() && sha256(&self.path).is_ok_and(|found| found == self.sha256)
    }
}

/// Reads the record of a run or a gallery; empty without one.
///
/// # Errors
/// When the file cannot be understood: then exports may be lost.
pub fn read(root: &Path) -> Result<Vec<Export>> {
    let path = root.join(FILE);
    match std::fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json)
            .map_err(|error| Error::Manifest { path, reason: crate::config::plain_json(&error) }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", &path)(error)),
    }
}

/// Records files that were exported from the run or the gallery at `root`.
///
/// # Errors
/// When a file cannot be read, or the record not written, as in a directory of another user.
pub fn add(root: &Path, format: &str, files: &[PathBuf]) -> Result<()> {
    let made_at = utc(std::time::SystemTime::now());
    let export = |path: &PathBuf| {
        let absolute = path.canonicalize().map_err(Error::io("read", path))?;
        let (format, made_at) = (format.to_owned(), made_at.clone());
        Ok(Export { sha256: sha256(path)?, path: absolute, format, made_at })
    };
    let new = files.iter().map(export).collect::<Result<Vec<_>>>()?;
    change(root, |exports| {
        exports.retain(|old| new.iter().all(|new| new.path != old.path));
        exports.extend(new);
    })
}

/// Removes exports from the record.
///
/// # Errors
/// When the record cannot be read or written.
pub fn retain(root: &Path, keep: impl FnMut(&Export) -> bool) -> Result<()> {
    // The lock would leave a file.
    if !root.join(FILE).exists() {
        return Ok(());
    }
    change(root, |exports| exports.retain(keep))
}

fn change(root: &Path, change: impl FnOnce(&mut Vec<Export>)) -> Result<()> {
    let _lock = lock_file(&root.join(LOCK), PATIENCE)?;
    let mut exports = read(root)?;
    let before = exports.clone();
    change(&mut exports);
    if exports == before {
        return Ok(());
    }
    let json = serde_json::to_vec_pretty(&exports).unwrap_or_default();
    replace(&root.join(FILE), &json)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_known_by_its_place_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let (root, file) = (folder.path().join("run"), folder.path().join("boxes.csv"));
        std::fs::create_dir(&root).unwrap();
        std::fs::write(&file, "a").unwrap();
        assert_eq!(read(&root).unwrap(), []);
        add(&root, "csv", std::slice::from_ref(&file)).unwrap();
        add(&root, "csv", std::slice::from_ref(&file)).unwrap();
        let exports = read(&root).unwrap();
        assert_eq!(exports.len(), 1, "one file counts once");
        assert!(exports[0].is_there());
        std::fs::write(&file, "b").unwrap();
        assert!(!exports[0].is_there(), "the user has changed it");
        retain(&root, |_| false).unwrap();
        assert_eq!(read(&root).unwrap(), []);
        std::fs::write(root.join(FILE), "[").unwrap();
        assert!(read(&root).is_err());
    }
}
