//! Keys of encrypted runs and galleries: the option that every verb has, and `facetrack key`.
//!
//! Only the path of a key file is ever an argument or an environment variable, of this program and of the stages that it
//! starts. The key itself stands in the file and in memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use clap::{Args, Subcommand};
use console::{Error, Result, counted, exit, say};
use gallery::Library;
use gallery::validate::is_library;
use run::encryption::rotate;
use schema::crypt::{self, Key};

use crate::progress::Screen;
use crate::{outputs, stages};

/// The environment variable with the path of the key file.
const VARIABLE: &str = "FACETRACK_ENCRYPTION_KEY_FILE";

/// The key file of this process.
static FILE: OnceLock<PathBuf> = OnceLock::new();

/// The key of the tables.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct KeyFile {
    /// Read and write encrypted tables only, with the key in this file [default: $FACETRACK_ENCRYPTION_KEY_FILE]
    #[arg(long, value_name = "FILE", global = true, help_heading = "Encryption")]
    encryption_key: Option<PathBuf>,
}

impl KeyFile {
    /// Reads the key that is given, if one is, for the whole process.
    pub(crate) fn apply(self) -> Result<()> {
        let variable = || std::env::var_os(VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let Some(path) = self.encryption_key.or_else(variable) else { return Ok(()) };
        let path = std::path::absolute(&path).map_err(Error::io("resolve", &path))?;
        use_file(&path)
    }
}

fn use_file(path: &Path) -> Result<()> {
    crypt::use_key(Key::read(path)?);
    // A process has one key, so the first call is the only one.
    let _ = FILE.set(path.to_path_buf());
    Ok(())
}

/// Gives a stage the path of the key file of this process, or none.
pub(crate) fn pass(command: &mut Command) {
    match FILE.get() {
        Some(path) => command.env(VARIABLE, path),
        None => command.env_remove(VARIABLE),
    };
}

/// A verb of `facetrack key`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Write a new random key into a file that only you can read; without the file, the tables are lost
    New {
        /// The file, which must not exist
        file: PathBuf,
    },
    /// Print the identifier of a key, as manifests and tables have it; it reveals nothing of the key
    Id {
        /// The key file
        file: PathBuf,
    },
    /// Encrypt runs and galleries with another key; an interrupted call is completed by the same call
    Rotate {
        /// File of the present key
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// File of the new key
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Run directories, or galleries: these with all their runs
        #[arg(value_name = "RUN|LIBRARY", required = true)]
        paths: Vec<PathBuf>,
    },
    /// Encrypt runs and galleries that are not encrypted; their pages are made again, without faces and names
    Encrypt {
        /// File of the new key
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Run directories, or galleries: these with all their runs
        #[arg(value_name = "RUN|LIBRARY", required = true)]
        paths: Vec<PathBuf>,
    },
    /// Write the tables of encrypted runs and galleries without encryption
    Decrypt {
        /// File of the present key
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Run directories, or galleries: these with all their runs
        #[arg(value_name = "RUN|LIBRARY", required = true)]
        paths: Vec<PathBuf>,
    },
}

/// Executes a verb of `facetrack key`.
pub(crate) fn main(verb: &KeyVerb) -> Result<()> {
    match verb {
        KeyVerb::New { file } => {
            if file.exists() {
                let message = format!("`{}` exists, and no key is overwritten", file.display());
                return Err(Error::new(exit::USAGE, message).hint("pass the path of a new file"));
            }
            if let Some(folder) = outputs::missing_folder(file) {
                let message = format!("the folder `{}` does not exist", folder.display());
                return Err(Error::new(exit::USAGE, message).hint("make the folder, or pass another path"));
            }
            let key = Key::create(file)
                .map_err(|error| Error::from(error).hint("pass a path in a folder with write permission"))?;
            eprintln!(
                "`{}` has the new key {}; keep a copy of the file in a safe place",
                file.display(),
                key.id()
            );
            Ok(())
        }
        KeyVerb::Id { file } => {
            say(Key::read(file)?.id());
            Ok(())
        }
        KeyVerb::Rotate { from, to, paths } => again(Some(from), Some(to), paths),
        KeyVerb::Encrypt { to, paths } => again(None, Some(to), paths),
        KeyVerb::Decrypt { from, paths } => again(Some(from), None, paths),
    }
}

/// Gives runs and galleries another key.
fn again(from: Option<&PathBuf>, to: Option<&PathBuf>, paths: &[PathBuf]) -> Result<()> {
    let read = |file: Option<&PathBuf>| file.map(|file| Key::read(file)).transpose();
    let (old, new) = (read(from)?, read(to)?);
    if old == new {
        let message = "the new key is the old key";
        return Err(Error::new(exit::USAGE, message).hint("`facetrack key new FILE` writes a new key"));
    }
    // Runs come before the gallery, so that a gallery with the new key has runs with the new key.
    let (mut runs, mut galleries) = (Vec::new(), Vec::new());
    for path in paths {
        if is_library(path) {
            runs.extend(gallery::rotation::runs(path)?);
            galleries.push(path.clone());
        } else {
            runs.push(path.clone());
        }
    }
    let keys = [old.as_ref(), new.as_ref()];
    if let Some(to) = to {
        use_file(&std::path::absolute(to).map_err(Error::io("resolve", to))?)?;
    }
    let with = |tables| match &new {
        Some(key) => {
            format!("{} encrypted with the key {}", counted(tables, "table is", "tables are"), key.id())
        }
        None => format!("{} not encrypted", counted(tables, "table is", "tables are")),
    };
    for run in &runs {
        console::process::check_interrupt()?;
        let done = rotate(run, keys)?;
        eprintln!("`{}`: {}", run.display(), with(done.tables));
        if done.is_page_gone {
            let screen = &mut Screen::new(false, true);
            // Even if the page of the run had them.
            let without = ["page_pictures", "page_names"].map(|key| format!("evaluate.{key} = false"));
            stages::again(&[evaluate::STAGE], run, without.into(), None, screen)?;
            eprintln!("`{}`: the page is made again, without faces, names and labels", run.display());
        }
    }
    for root in &galleries {
        console::process::check_interrupt()?;
        eprintln!("`{}`: {}", root.display(), with(gallery::rotation::rotate(root, keys)?));
        Library::open(root)?.write_page()?;
    }
    if old.is_none() {
        eprintln!("deleted files and copies of these folders elsewhere are not encrypted");
    }
    Ok(())
}

/// Fails before any work if a run or a gallery does not have the key of this process. Neither need exist.
pub(crate) fn check<'a>(runs: impl IntoIterator<Item = &'a Path>, library: Option<&Path>) -> Result<()> {
    runs.into_iter().try_for_each(run::encryption::check_run)?;
    Ok(library.map_or(Ok(()), gallery::rotation::check)?)
}
