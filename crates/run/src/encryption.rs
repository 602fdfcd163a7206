//! Which key a directory is encrypted with, and giving a directory another key.
//!
//! The manifest of a run and the index of a gallery name the key of all tables by its identifier. A process has one key
//! at most ([`schema::crypt`]); [`check`] compares both before any table is read or written.
//!
//! [`rotate`] encrypts every file of a run again: the manifest first says to which key, then one file after the other
//! takes the place of the old one, and at last the manifest gets the new hashes. Every file is whole under one of both
//! keys at any moment and names its key, so that an interrupted rotation is completed by the same call.

use std::path::{Path, PathBuf};

use schema::crypt::{self, Key};
use schema::io;
use schema::tables::{self, EDITS};
use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::directory::{fingerprint, remove_temporaries};
use crate::edits::{LOCK, PATIENCE};
use crate::error::{Error, Result};
use crate::files::{publish, remove, sha256, temporary};
use crate::lock::{lock, lock_file};
use crate::manifest::{Input, Manifest, StageRecord};
use crate::uids;

/// The stage whose page shows faces and names.
const PAGE_STAGE: &str = "evaluate";

/// The key of a directory, as its manifest or index has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Identifier of the key; empty while a directory that was not encrypted is encrypted.
    pub key_id: String,
    /// Identifier of the key that the files are getting, empty for none; absent unless a rotation was interrupted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotating_to: Option<String>,
}

impl Encryption {
    /// With the key of this process; `None` without one.
    pub fn of_process() -> Option<Self> {
        Self::of(crypt::key())
    }

    fn of(key: Option<&Key>) -> Option<Self> {
        key.map(|key| Self { key_id: key.id().to_owned(), rotating_to: None })
    }
}

/// Identifier of a key; empty without a key.
fn id(key: Option<&Key>) -> &str {
    key.map_or("", Key::id)
}

/// Fails unless the directory `root`, which has this key, can be read and written by this process.
///
/// # Errors
/// When the process has another key or none, when it has a key and the directory has none, and when a rotation was
/// interrupted.
pub fn check(root: &Path, found: Option<&Encryption>) -> Result<()> {
    if found.is_some_and(|found| found.rotating_to.is_some()) {
        return Err(Error::Rotating { path: root.to_path_buf() });
    }
    Ok(crypt::check(root, found.map(|found| found.key_id.as_str()), crypt::key())?)
}

/// Fails, as [`check`] does, for the run at `root`, which need not exist. A directory may have corrections before it has
/// a manifest.
///
/// # Errors
/// As of [`check`], and when the manifest cannot be read.
pub fn check_run(root: &Path) -> Result<()> {
    match Manifest::read(root)? {
        Some(manifest) => check(root, manifest.encryption.as_ref()),
        None => check_edits(root),
    }
}

/// Fails unless the log of corrections in a directory, if there is one, has the key of this process.
///
/// # Errors
/// As of [`check`].
pub fn check_edits(root: &Path) -> Result<()> {
    for path in EDITS.map(|table| root.join(table.file_name())) {
        if path.is_file() {
            crypt::check(&path, crypt::id_of(&path)?.as_deref(), crypt::key())?;
        }
    }
    Ok(())
}

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The directory has the new key.
    Done,
    /// The directory has the old key.
    New,
    /// The rotation was interrupted.
    Resumed,
}

impl Turn {
    /// Compares the key of the directory `root` with both keys of a rotation.
    ///
    /// # Errors
    /// When the directory has neither key.
    pub fn of(root: &Path, found: Option<&Encryption>, [old, new]: [Option<&Key>; 2]) -> Result<Self> {
        let has = found.map_or("", |found| &found.key_id);
        if let Some(to) = found.and_then(|found| found.rotating_to.as_deref()) {
            return match (has, to) == (id(old), id(new)) {
                true => Ok(Self::Resumed),
                false => Err(Error::Rotating { path: root.to_path_buf() }),
            };
        }
        if has == id(new) {
            return Ok(Self::Done);
        }
        crypt::check(root, found.map(|found| found.key_id.as_str()), old)?;
        Ok(Self::New)
    }
}

/// What the manifest or index says during a rotation, and after it.
pub fn states([old, new]: [Option<&Key>; 2]) -> [Option<Encryption>; 2] {
    let during = Encryption { key_id: id(old).to_owned(), rotating_to: Some(id(new).to_owned()) };
    [Some(during), Encryption::of(new)]
}

/// Encrypts a file again, unless it has the new key.
///
/// # Errors
/// When the file has neither key, cannot be read or cannot be written.
pub fn encrypt_again(path: &Path, keys: [Option<&Key>; 2]) -> Result<()> {
    if crypt::id_of(path)?.as_deref().unwrap_or("") == id(keys[1]) {
        return Ok(());
    }
    io::encrypt_again(path, &temporary(path), keys)?;
    publish(path)
}

/// Encrypts the log of corrections of a directory again, under its lock.
///
/// # Errors
/// As of [`encrypt_again`].
pub fn encrypt_edits_again(root: &Path, keys: [Option<&Key>; 2]) -> Result<usize> {
    let files = EDITS.map(|table| root.join(table.file_name()));
    let files: Vec<PathBuf> = files.into_iter().filter(|path| path.is_file()).collect();
    if !files.is_empty() {
        let _lock = lock_file(&root.join(LOCK), PATIENCE)?;
        files.iter().try_for_each(|path| encrypt_again(path, keys))?;
    }
    Ok(files.len())
}

/// Result of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// Number of tables with the new key.
    pub tables: usize,
    /// Whether the page must be made again: that of a run that was not encrypted before is removed.
    pub is_page_gone: bool,
}

/// Gives the run at `root` another key in place of the old one; `None` is no encryption. A run that has the new key is
/// left as it is. The records in the manifest get the hashes of the new files, so that later runs find their results.
///
/// # Errors
/// When there is no run, when it has neither key, when a file is not as its stage wrote it, and when the system refuses.
pub fn rotate(root: &Path, keys: [Option<&Key>; 2]) -> Result<Rotated> {
    let missing = || Error::NoRun { path: root.to_path_buf() };
    if Manifest::read(root)?.is_none() {
        return Err(missing());
    }
    let _lock = lock(root)?;
    let mut manifest = Manifest::read(root)?.ok_or_else(missing)?;
    let count = |manifest: &Manifest| manifest.outputs().filter(|o| o.table_version.is_some()).count();
    let turn = Turn::of(root, manifest.encryption.as_ref(), keys)?;
    // Whether the page must be made again, also after an interruption between the last table and the page.
    let is_page_gone = |manifest: &Manifest| {
        let has = |stage| manifest.stage(stage).is_some();
        keys[0].is_none() && has("cluster") && !has(PAGE_STAGE)
    };
    if turn == Turn::Done {
        return Ok(Rotated { tables: count(&manifest), is_page_gone: is_page_gone(&manifest) });
    }
    remove_temporaries(root)?;
    checkpoint::clear(root)?;
    let [during, after] = states(keys);
    if turn == Turn::New {
        let reader = crate::RunReader { root: root.to_path_buf(), manifest: manifest.clone() };
        manifest.outputs().try_for_each(|output| reader.verify(output))?;
        manifest.encryption = during;
        manifest.write(root)?;
    }
    // The page and its drawings may show faces and names, which are not encrypted.
    if keys[0].is_none() {
        let page = manifest.stage(PAGE_STAGE).map(|stage| stage.outputs.clone()).unwrap_or_default();
        page.iter().try_for_each(|output| remove(&root.join(&output.file)))?;
        manifest.stages.retain(|stage| stage.stage != PAGE_STAGE);
    }
    let mut tables = encrypt_edits_again(root, keys)?;
    for output in manifest.outputs().filter(|output| output.table_version.is_some()) {
        encrypt_again(&root.join(&output.file), keys)?;
        tables += 1;
    }
    uids::rotate(root, keys)?;
    with_new_hashes(root, &mut manifest)?;
    manifest.encryption = after;
    manifest.write(root)?;
    Ok(Rotated { tables, is_page_gone: is_page_gone(&manifest) })
}

/// Puts the hashes of the files into the records in place of those of the files before.
fn with_new_hashes(root: &Path, manifest: &mut Manifest) -> Result<()> {
    // Old and new hash, by table.
    let mut hashes: Vec<(String, [String; 2])> = Vec::new();
    for StageRecord { inputs, outputs, .. } in &mut manifest.stages {
        for Input { name, sha256 } in inputs {
            let is_same = |(table, [old, _]): &&(String, [String; 2])| *table == *name && *old == *sha256;
            if let Some((_, [_, new])) = hashes.iter().find(is_same) {
                sha256.clone_from(new);
            }
        }
        for output in outputs.iter_mut().filter(|output| output.table_version.is_some()) {
            let path = root.join(&output.file);
            let new = sha256(&path)?;
            output.size_bytes = std::fs::metadata(&path).map_err(Error::io("read", &path))?.len();
            let old = std::mem::replace(&mut output.sha256, new.clone());
            let table = tables::ALL.iter().find(|table| table.file_name() == output.file);
            hashes.extend(table.map(|table| (table.name.to_owned(), [old, new])));
        }
    }
    manifest.stages.iter_mut().for_each(|record| record.fingerprint = fingerprint(record));
    Ok(())
}
