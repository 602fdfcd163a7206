//! Files that are absent or whole.

use std::fs::{self, File};
use std::io::Write as _;
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

/// Removes a file that need not be there.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Where this process writes a file before the file gets its name: `NAME.HOST-PID.tmp`, so that processes of several
/// machines do not meet.
pub fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.{TEMPORARY}", process_name()));
    name.into()
}

/// Removes the temporaries of these files that processes left in a folder, and nothing else: users may keep files there.
///
/// # Errors
/// When the folder cannot be read, or a temporary cannot be removed.
pub fn remove_temporaries(folder: &Path, files: &[String]) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten() {
        let name = entry.file_name();
        if files.iter().any(|of| is_temporary(&name.to_string_lossy(), of)) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whether a file is named like a temporary of the file `of`: as by [`temporary`], or `OF.tmp` as by earlier versions.
pub fn is_temporary(name: &str, of: &str) -> bool {
    let between = name.strip_prefix(of).and_then(|rest| rest.strip_suffix(TEMPORARY)?.strip_suffix('.'));
    between.is_some_and(|between| between.is_empty() || between.starts_with('.'))
}

/// Name of this process among those of all machines: `HOST-PID`.
pub(crate) fn process_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host: String = host.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{host}-{}", std::process::id())
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
