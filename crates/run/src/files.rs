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

/// Removes files of a folder by their names, and then the folder, unless files of others are left in it. A folder that is
/// not there is no error.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove_own(folder: &Path, is_own: impl Fn(&str) -> bool) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(&is_own) {
            remove(&entry.path())?;
        }
    }
    let _ = fs::remove_dir(folder);
    Ok(())
}

/// Every file below a folder, in the order of the paths. A link is not followed: its target is not part of the folder.
///
/// # Errors
/// When a folder cannot be read.
pub fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let entry = entry.map_err(Error::io("read", &folder))?;
            let is_folder = entry.file_type().map_err(Error::io("read", &folder))?.is_dir();
            if is_folder { &mut folders } else { &mut found }.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Path of a file below a folder, with `/`.
pub fn name_in(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

/// Removes a folder and the folders below it as far as they have no files.
pub fn remove_empty_folders(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty_folders(&entry.path());
        }
    }
    // A folder with files of others stays.
    let _ = fs::remove_dir(root);
}

/// Makes the folder `out` with what `fill` writes: the whole folder, or nothing. `out` may be an empty folder.
///
/// # Errors
/// Those of `fill`, and when the folder cannot be written.
pub fn new_folder<T, E: From<Error>>(
    out: &Path,
    fill: impl FnOnce(&Path) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let out = std::path::absolute(out).map_err(Error::io("resolve", out))?;
    let part = temporary(&out);
    let made = fs::create_dir_all(&part).map_err(|error| E::from(Error::io("create", &part)(error)));
    let made = made.and_then(|()| fill(&part)).and_then(|made| {
        // A system that cannot rename a folder over an empty one can remove that first.
        let _ = fs::remove_dir(&out);
        fs::rename(&part, &out).map_err(Error::io("write", &out))?;
        Ok(made)
    });
    if made.is_err() {
        // Half a folder is useless; a failure to remove it does not change the error.
        let _ = fs::remove_dir_all(&part);
    }
    made
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
    let Some(folder) = path.parent() else { return Ok(()) };
    // A name without a folder is one in the present folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("write", folder))
}

pub(crate) fn write_synced(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_whole_or_absent() {
        let place = tempfile::tempdir().unwrap();
        let out = place.path().join("out");
        let fill = |folder: &Path| write_synced(&folder.join("a"), b"x");
        let fail = |folder: &Path| fill(folder).and_then(|()| Err(Error::NoRun { path: folder.into() }));
        assert!(new_folder::<(), _>(&out, fail).is_err());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        fs::create_dir(&out).unwrap();
        new_folder(&out, fill).unwrap();
        assert_eq!(walk(place.path()).unwrap(), [out.join("a")]);
        // What is there stays.
        assert!(new_folder(&out, fill).is_err());
        assert_eq!(walk(place.path()).unwrap(), [out.join("a")]);
        remove(&out.join("a")).unwrap();
        remove_empty_folders(place.path());
        assert!(!place.path().exists());
        fs::create_dir(place.path()).unwrap();
    }
}
