//! Whether tables are what their published documents say, and whether the tables of a run or a library agree.
//!
//! Every fault is an error of the contract with the file and, where it is about one, the row. Rules that
//! take several tables are left out where one of them is not there or cannot be read.

mod library;
mod rules;
mod tables;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use run::manifest::Manifest;
use run::{Error, Result};

pub use tables::Tables;

/// What was looked at and what is wrong with it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Number of rows of each table that was looked at, by name.
    pub rows: BTreeMap<&'static str, usize>,
    /// What is wrong, table by table: of rows as many faults as [`schema::io::MOST_FAULTS`].
    pub faults: Vec<Error>,
}

/// Looks at a run directory, a library, a folder of tables, or one table.
///
/// # Errors
/// When there is nothing to look at, or the system refuses.
pub fn validate(path: &Path) -> Result<Verdict> {
    let metadata = fs::metadata(path).map_err(Error::io("read", path))?;
    if library::is_library(path) {
        return library::validate(path);
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
        let names = schema::tables::ALL.iter().map(|table| table.name).filter(|name| path(name).is_file());
        let files: Files = names.map(|name| (name.to_owned(), path(name))).collect();
        let nothing =
            || Error::io("read", root)(std::io::Error::other("there is no manifest.json and no table"));
        return if files.is_empty() { Err(nothing()) } else { Ok((files, Vec::new())) };
    };
    let (mut files, mut faults) = (Files::new(), Vec::new());
    for output in manifest.stages.iter().flat_map(|stage| &stage.outputs) {
        let path = root.join(&output.file);
        match changed(&path, &output.sha256, "the manifest") {
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
    Ok((files, faults))
}

/// The fault of a file whose content is not the one that `index` records; an error where it cannot be read.
fn changed(path: &Path, sha256: &str, index: &str) -> Result<Option<Error>> {
    let reason = || format!("its content is not the one that {index} records");
    let fault = || Error::Changed { path: path.to_path_buf(), reason: reason() };
    Ok((run::files::sha256(path)? != sha256).then(fault))
}

/// One table, which says itself what it is.
fn named(path: &Path) -> Result<Files> {
    let reason = || "it has no footer key `facetrack` that can be read".to_owned();
    let foreign = || schema::Error::NotParquet { path: path.to_path_buf(), reason: reason() };
    let footer = schema::io::read_footer(path)?.ok_or_else(foreign)?;
    Ok(Files::from([(footer.table, path.to_path_buf())]))
}
