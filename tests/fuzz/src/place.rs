//! Where a target puts its files: in memory where the system has such a place, so that bringing them to disk
//! costs nothing.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static FOLDER: TempDir = {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
    };
}

/// The folder of this thread.
pub(crate) fn folder() -> PathBuf {
    FOLDER.with(|folder| folder.path().to_path_buf())
}

/// A file in it.
pub(crate) fn file(name: &str, content: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::write(&path, content).unwrap();
    path
}
