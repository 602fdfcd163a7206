//! The cache of downloaded and generated files: weights, photos, clips, Python environments.
//!
//! Files appear whole or not at all: they are made in a [`Scratch`] folder inside the cache and
//! then renamed.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use console::{Error, Result};

/// The cache: `$FACETRACK_CACHE`, else `$XDG_CACHE_HOME/facetracklinking`, else
/// `~/.cache/facetracklinking`.
pub fn root() -> Result<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let root = locate(set("FACETRACK_CACHE"), set("XDG_CACHE_HOME"), set("HOME"))?;
    std::path::absolute(&root).map_err(Error::io("resolve", &root))
}

fn locate(own: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Result<PathBuf> {
    const NAME: &str = "facetracklinking";
    own.or_else(|| xdg.map(|dir| dir.join(NAME)))
        .or_else(|| home.map(|dir| dir.join(".cache").join(NAME)))
        .ok_or_else(|| {
            Error::unexpected("no home directory for the cache").hint("set FACETRACK_CACHE to a folder")
        })
}

/// A folder of the cache, made when missing.
pub fn folder(name: &str) -> Result<PathBuf> {
    let dir = root()?.join(name);
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    Ok(dir)
}

/// A folder inside the cache that disappears with the value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder of this process in the cache.
    pub fn new(purpose: &str) -> Result<Self> {
        Self::within(&root()?, purpose)
    }

    /// An empty folder of this process below `parent`; what is published must be on the same file system.
    pub fn within(parent: &Path, purpose: &str) -> Result<Self> {
        let dir = parent.join(format!("{purpose}.{}.tmp", std::process::id()));
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        Ok(Self(dir))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves a file or folder made here to its place, replacing what is there. Every user of the machine may read the
    /// file: some libraries write files that only their owner can read, and caches are shared.
    pub fn publish(&self, name: &str, to: &Path) -> Result<()> {
        let from = self.0.join(name);
        if to.is_dir() {
            fs::remove_dir_all(to).map_err(Error::io("remove", to))?;
        }
        if from.is_file() {
            let mode = fs::metadata(&from).map_err(Error::io("read", &from))?.permissions().mode();
            fs::set_permissions(&from, Permissions::from_mode(mode | 0o644))
                .map_err(Error::io("change", &from))?;
        }
        fs::rename(&from, to).map_err(Error::io("write", to))
    }

    /// Writes a small file and moves it to its place.
    pub fn write(&self, to: &Path, content: &str) -> Result<()> {
        let name = "small-file";
        let path = self.0.join(name);
        fs::write(&path, content).map_err(Error::io("write", &path))?;
        self.publish(name, to)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind costs only space, so a failure to remove it is not reported.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// SHA-256 of a file in hexadecimal digits; `None` when there is no such file.
pub fn sha256(path: &Path) -> Result<Option<String>> {
    match hash::file(path) {
        Ok(sha256) => Ok(Some(sha256)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path)(e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_variable_wins_then_xdg_then_home() {
        let some = |s: &str| Some(PathBuf::from(s));
        let at = |own, xdg, home| locate(own, xdg, home).ok();
        assert_eq!(at(some("/a"), some("/b"), some("/c")), some("/a"));
        assert_eq!(at(None, some("/b"), some("/c")), some("/b/facetracklinking"));
        assert_eq!(at(None, None, some("/c")), some("/c/.cache/facetracklinking"));
        assert_eq!(at(None, None, None), None);
    }

    /// The mode that a file with the mode `before` has after it was published.
    fn published(name: &str, before: u32) -> Result<u32> {
        let folder = env::temp_dir().join(format!("facetrack-cache-{name}-{}", std::process::id()));
        let (scratch, to) = (Scratch::within(&folder, "test")?, folder.join(name));
        let from = scratch.path().join(name);
        fs::write(&from, "1").map_err(Error::io("write", &from))?;
        fs::set_permissions(&from, Permissions::from_mode(before)).map_err(Error::io("change", &from))?;
        scratch.publish(name, &to)?;
        let mode = fs::metadata(&to).map_err(Error::io("read", &to))?.permissions().mode();
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        Ok(mode & 0o777)
    }

    #[test]
    fn every_user_may_read_a_published_file() -> Result<()> {
        assert_eq!(published("weights", 0o600)?, 0o644);
        Ok(())
    }

    #[test]
    fn a_published_program_can_be_started() -> Result<()> {
        assert_eq!(published("program", 0o700)?, 0o744);
        Ok(())
    }

    #[test]
    fn a_file_that_is_not_there_has_no_hash() {
        assert_eq!(sha256(Path::new("/no/such/file")).ok(), Some(None));
    }
}
