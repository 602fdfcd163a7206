//! Whether tables keep the contract, and whether the tables of a run agree with each other.
//!
//! Every fault is an error of the contract with the file and, for a fault of a row, the row. A rule about
//! several tables is left out when one of them is absent or cannot be read.

mod rules;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::encryption;
use crate::error::{Error, Result};
use crate::files::sha256;
use crate::manifest::Manifest;

pub use rules::{Wrong, check_edits, each};
pub use tables::{Rows, Tables, read_table};

/// The tables that were checked, and their faults.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Number of rows of each checked table, by name.
    pub rows: BTreeMap<&'static str, usize>,
    /// Faults, table by table: of rows at most [`schema::io::MOST_FAULTS`].
    pub faults: Vec<Error>,
}

/// Checks a run directory, a folder of tables, or one table.
///
/// # Errors
/// When there is nothing to check, or the system refuses.
pub fn validate(path: &Path) -> Result<Verdict> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if metadata.is_dir() {
        encryption::check_run(path)?;
    }
    let (files, mut faults) = if metadata.is_dir() { files(path)? } else { (named(path)?, Vec::new()) };
    let tables = Tables::read(&files, &mut faults);
    faults.extend(rules::check(&tables));
    Ok(Verdict { rows: tables.counts(), faults })
}

/// Files by the name of their table.
type Files = BTreeMap<String, PathBuf>;

/// The tables of a folder: those that its manifest records, which must be as their stages left them, or
/// without a manifest those that are there.
fn files(root: &Path) -> Result<(Files, Vec<Error>)> {
    let Some(manifest) = Manifest::read(root)? else {
        let path = |name: &str| root.join(format!("{name}.parquet"));
        let all = schema::tables::ALL.iter().chain(&schema::tables::EDITS);
        let names = all.map(|table| table.name).filter(|name| path(name).is_file());
        let files: Files = names.map(|name| (name.to_owned(), path(name))).collect();
        let nothing =
            || Error::io("read", root)(std::io::Error::other("found neither a manifest.json nor a table"));
        return if files.is_empty() { Err(nothing()) } else { Ok((files, Vec::new())) };
    };
    let (mut files, mut faults) = (Files::new(), Vec::new());
    for output in manifest.stages.iter().flat_map(|stage| &stage.outputs) {
        let path = root.join(&output.file);
        match check_recorded(&path, &output.sha256, "the manifest") {
            Ok(fault) => faults.extend(fault),
            Err(error) => {
                faults.push(Error::Changed { path, reason: error.to_string() });
                continue;
            }
        }
        if let Some(name) = output.file.strip_suffix(".parquet") {
            files.insert(name.to_owned(), path);
        }
    }
    // The log of edits is beside the stages: no manifest records it.
    for table in schema::tables::EDITS {
        let path = root.join(table.file_name());
        if path.is_file() {
            files.insert(table.name.to_owned(), path);
        }
    }
    Ok((files, faults))
}

/// The fault of a file whose content is not the one that `index` records.
///
/// # Errors
/// When the file cannot be read.
pub fn check_recorded(path: &Path, expected: &str, index: &str) -> Result<Option<Error>> {
    let reason = || format!("the content differs from the SHA-256 in {index}");
    let fault = || Error::Changed { path: path.to_path_buf(), reason: reason() };
    Ok((sha256(path)? != expected).then(fault))
}

/// One table, whose footer names it.
fn named(path: &Path) -> Result<Files> {
    let reason = || "the footer key `facetrack` is missing or unreadable".to_owned();
    let foreign = || schema::Error::NotParquet { path: path.to_path_buf(), reason: reason() };
    let footer = schema::io::read_footer(path)?.ok_or_else(foreign)?;
    Ok(Files::from([(schema::io::current_name(&footer).to_owned(), path.to_path_buf())]))
}
