//! Files that are absent or whole, and the lock of a directory.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Ending of files that are still being written.
pub(crate) const TEMPORARY: &str = "tmp";

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256(path: &Path) -> Result<String> {
    hash::file(path).map_err(Error::io("read", path))
}

/// Takes the lock of a directory: only one process at a time writes there.
pub fn lock(root: &Path) -> Result<File> {
    let path = root.join(".lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number only makes the message kinder, so failing to read it is no error.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "unknown".into() } else { holder.trim().to_owned() };
            return Err(Error::Locked { path: root.to_path_buf(), holder });
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(Error::io("write", &path))?;
    Ok(file)
}

/// Removes a file that need not be there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Where a file is written before it gets its name.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

/// Writes a whole file in place of what is there, or nothing.
pub fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    write_synced(&temporary, content)?;
    publish(path)
}

/// Gives a file its name that was written and brought to disk as its [`temporary`].
pub fn publish(path: &Path) -> Result<()> {
    fs::rename(temporary(path), path).map_err(Error::io("write", path))?;
    let sync =
        |folder| File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write", folder));
    path.parent().map_or(Ok(()), sync)
}

pub(crate) fn write_synced(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}
