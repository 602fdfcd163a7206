//! Another key for the tables of a library, as [`run::encryption`] does it for a run.

use std::path::{Path, PathBuf};

use run::encryption::{Turn, encrypt_again, encrypt_edits_again, states};
use run::files::{remove, sha256};
use run::lock::lock;
use schema::Row as _;
use schema::crypt::Key;
use schema::tables::Person;

use crate::page::PAGE;
use crate::store::{INDEX, Index, check_key, sweep, tidy};
use crate::{Error, progress, validate};

/// Fails unless the library at `root`, which need not exist, has the key of this process.
///
/// # Errors
/// When it has another key or none, or the index cannot be read.
pub fn check(root: &Path) -> Result<(), Error> {
    check_key(root)
}

/// The runs of the library at `root` that are in their places, whatever its key is.
///
/// # Errors
/// When the index cannot be read.
pub fn runs(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let root = root.canonicalize().map_err(run::Error::io("read", root))?;
    let index = Index::read(&root.join(INDEX))?;
    let dirs = index.videos.iter().filter_map(|entry| Some(tidy(&root.join(entry.run_dir.as_ref()?))));
    Ok(dirs.filter(|dir| dir.join(run::manifest::FILE_NAME).is_file()).collect())
}

/// Gives the library at `root` another key in place of the old one; `None` is no encryption. Returns the number of its
/// tables. What an unfinished build has done is removed, and the page, which may show faces and names, if the library was not
/// encrypted before.
///
/// # Errors
/// When there is no library, when it has neither key, when a table is not as the index says, and when the system refuses.
pub fn rotate(root: &Path, keys: [Option<&Key>; 2]) -> Result<usize, Error> {
    if !validate::is_library(root) {
        return Err(run::Error::NoRun { path: root.to_path_buf() }.into());
    }
    let _lock = lock(root)?;
    let mut index = Index::read(&root.join(INDEX))?;
    let people = root.join(Person::TABLE.file_name());
    // A library without a video may have no table of people yet.
    let people = Some((people.clone(), &mut index.people_sha256)).filter(|_| people.is_file());
    let vectors = index.vector_files.iter_mut().map(|of| (root.join(&of.file), &mut of.sha256));
    let members = index.videos.iter_mut().map(|of| (root.join(&of.file), &mut of.sha256));
    let mut files: Vec<(PathBuf, &mut String)> = people.into_iter().chain(vectors).chain(members).collect();
    let turn = Turn::of(root, index.encryption.as_ref(), keys)?;
    if turn == Turn::Done {
        return Ok(files.len());
    }
    let [during, after] = states(keys);
    if turn == Turn::New {
        for (path, expected) in &files {
            if sha256(path)? != **expected {
                let reason = "the content differs from its SHA-256".to_owned();
                return Err(run::Error::Changed { path: path.clone(), reason }.into());
            }
        }
        let mut marked = Index::read(&root.join(INDEX))?;
        marked.encryption = during;
        marked.write(root)?;
    }
    // An unfinished build has tables with the old key, or without one.
    progress::clear(root)?;
    sweep(root, &Index::read(&root.join(INDEX))?)?;
    if keys[0].is_none() {
        remove(&root.join(PAGE))?;
    }
    let mut tables = encrypt_edits_again(root, keys)?;
    for (path, recorded) in &mut files {
        encrypt_again(path, keys)?;
        **recorded = sha256(path)?;
        tables += 1;
    }
    index.encryption = after;
    index.write(root)?;
    Ok(tables)
}
