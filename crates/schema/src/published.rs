//! The published documents under `schemas/`, and those among them that are released and stay as they are.
//!
//! `released.json` names every released version of a table with the SHA-256 of its document; beside the
//! document lies a table of that version, written by the programs of its time, which tests read.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::table::Table;
use crate::tables::ALL;
use crate::{docs, io};

/// Names the released versions.
pub const RELEASED: &str = "released.json";

/// SHA-256 of a document by table and version.
type Released = BTreeMap<String, BTreeMap<String, String>>;

/// What is wrong, in a sentence.
pub type Result<T> = std::result::Result<T, String>;

/// Writes every document; one that is released is not overwritten with another.
///
/// # Errors
/// When a released table has changed, or the system refuses.
pub fn write(folder: &Path) -> Result<()> {
    let released = released(folder)?;
    refuse_changes(&released)?;
    docs::documents().into_iter().try_for_each(|(path, content)| put(&folder.join(path), content.as_bytes()))
}

/// Fails unless the committed documents are those of the source, and the released ones as they were.
///
/// # Errors
/// What differs.
pub fn check(folder: &Path) -> Result<()> {
    let released = released(folder)?;
    refuse_changes(&released)?;
    for (path, content) in docs::documents() {
        let path = folder.join(path);
        if read(&path)? != content {
            return Err(format!(
                "`{}` differs from the source\nhint: run `cargo xtask schemas`",
                path.display()
            ));
        }
    }
    let versions = released.iter().flat_map(|(table, versions)| versions.iter().map(move |of| (table, of)));
    for (table, (version, sha256)) in versions {
        let path = document(folder, table, version);
        if hash::bytes(read(&path)?.as_bytes()) != *sha256 {
            return Err(format!("`{}` is released and was changed\nhint: restore the file", path.display()));
        }
        let example = example(folder, table, version);
        if !example.is_file() {
            return Err(format!("missing `{}`: every released version has an example", example.display()));
        }
    }
    Ok(())
}

/// Releases every table as it is now, with those of the run at `run` as examples. Versions that are
/// released already stay.
///
/// # Errors
/// When the documents are not current, the run has no such table of this version, or the system refuses.
pub fn release(folder: &Path, run: &Path) -> Result<()> {
    check(folder)?;
    let mut released = released(folder)?;
    let is_new = |table: &&&Table| !released.get(table.name).is_some_and(|v| v.contains_key(table.version));
    let new: Vec<_> = ALL.iter().filter(is_new).copied().collect();
    for table in &new {
        let from = run.join(table.file_name());
        let footer = io::read_footer(&from).map_err(|e| e.to_string())?;
        if footer.is_none_or(|footer| footer.version != table.version) {
            return Err(format!("`{}` does not have version {}", from.display(), table.version));
        }
        let content = fs::read(&from).map_err(|e| format!("failed to read `{}`: {e}", from.display()))?;
        put(&example(folder, table.name, table.version), &content)?;
    }
    for table in new {
        let sha256 = hash::bytes(docs::table_document(table).as_bytes());
        released.entry(table.name.into()).or_default().insert(table.version.into(), sha256);
    }
    let json = serde_json::to_string_pretty(&released).map_err(|e| e.to_string())?;
    put(&folder.join(RELEASED), (json + "\n").as_bytes())
}

/// A table whose released version the source describes otherwise must get another version.
fn refuse_changes(released: &Released) -> Result<()> {
    for table in ALL {
        let known = released.get(table.name).and_then(|versions| versions.get(table.version));
        let now = hash::bytes(docs::table_document(table).as_bytes());
        if known.is_some_and(|known| *known != now) {
            let what =
                format!("`{}` {} is released, and the source has changed it", table.name, table.version);
            return Err(format!("{what}\nhint: raise its version in crates/schema/src/tables.rs"));
        }
    }
    Ok(())
}

fn released(folder: &Path) -> Result<Released> {
    let path = folder.join(RELEASED);
    serde_json::from_str(&read(&path)?).map_err(|e| format!("failed to parse `{}`: {e}", path.display()))
}

fn document(folder: &Path, table: &str, version: &str) -> PathBuf {
    folder.join(table).join(format!("{version}.json"))
}

fn example(folder: &Path, table: &str, version: &str) -> PathBuf {
    folder.join(table).join(format!("{version}.parquet"))
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| format!("failed to read `{}`: {e}", path.display()))
}

fn put(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| format!("failed to create `{}`: {e}", folder.display()))?;
    }
    fs::write(path, content).map_err(|e| format!("failed to write `{}`: {e}", path.display()))
}
