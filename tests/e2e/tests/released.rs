//! Released versions of tables stay as they are, and can be read.

use std::fs;
use std::path::{Path, PathBuf};

use schema::tables::ALL;
use serde_json::Value;
use testkit::assets;
use testkit::files::{copy, repository, walk};
use testkit::synthetic_run::{self, must};

use crate::empty_folder;

fn folder(name: &str) -> PathBuf {
    empty_folder("released", name)
}

/// Exit code and what is said of a folder of documents.
fn schemas(folder: &Path, arguments: &[&str]) -> Option<(bool, String)> {
    let mut command = assets::require_facetrack(&["schemas"])?;
    let done = command.arg(folder).args(arguments).output().unwrap();
    Some((done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned()))
}

/// Every stored table of a released version, by (table, version).
fn examples(schemas: &Path) -> Vec<(String, String, PathBuf)> {
    let tables = walk(schemas, &[]).into_iter().filter(|(name, _)| name.ends_with(".parquet"));
    let parts = |(name, path): (String, PathBuf)| {
        let (table, file) = name.split_once('/').unwrap();
        (table.to_owned(), file.strip_suffix(".parquet").unwrap().to_owned(), path)
    };
    tables.map(parts).collect()
}

/// Released tables of our major version are read; older ones are refused with a message.
fn can_be_read(schemas: &Path) -> Option<usize> {
    let examples = examples(schemas);
    for (table, version, path) in &examples {
        let mut validate = assets::require_facetrack(&["validate"])?;
        let done = validate.arg(path).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        let ours = ALL.iter().find(|known| known.name == table).map(|known| major(known.version));
        if ours == Some(major(version)) {
            assert_eq!(said, "", "{table} {version} can no longer be read");
        } else if ours.is_some() {
            assert!(said.contains("too old for this version"), "{table} {version}: {said:?}");
        }
    }
    Some(examples.len())
}

fn major(version: &str) -> u64 {
    version.split('.').next().unwrap().parse().unwrap()
}

/// A copy of `schemas/` whose tables are all released with those of a made-up run.
fn release(name: &str) -> Option<PathBuf> {
    let folder = folder(name);
    let documents = folder.join("schemas");
    copy(&repository().join("schemas"), &documents);
    let made = synthetic_run::finished(&synthetic_run::recipe("constrained"), &folder)?;
    must(assets::require_facetrack(&["schemas"])?.arg(&documents).arg("--release").arg(&made.run));
    Some(documents)
}

#[test]
fn tables_of_every_released_version_can_be_read() {
    let Some(stored) = can_be_read(&repository().join("schemas")) else { return };
    let released: Value =
        serde_json::from_str(&fs::read_to_string(repository().join("schemas/released.json")).unwrap())
            .unwrap();
    let versions = released.as_object().unwrap().values().map(|versions| versions.as_object().unwrap().len());
    assert_eq!(stored, versions.sum::<usize>(), "released versions and their stored tables");
}

#[test]
fn a_release_stores_a_table_of_every_version() {
    let Some(documents) = release("stored") else { return };
    assert_eq!(can_be_read(&documents), Some(ALL.len()));
    assert_eq!(schemas(&documents, &["--check"]), Some((true, String::new())));
    // Released is released: the same again changes nothing, even with another run.
    let before = fs::read(documents.join("released.json")).unwrap();
    let nowhere = documents.join("no-run");
    assert_eq!(schemas(&documents, &["--release", nowhere.to_str().unwrap()]), Some((true, String::new())));
    assert_eq!(fs::read(documents.join("released.json")).unwrap(), before);
}

#[test]
fn a_released_document_cannot_be_edited() {
    let Some(documents) = release("edited") else { return };
    let path = documents.join("frames/1.1.0.json");
    let edited = fs::read_to_string(&path).unwrap().replace("presentation order", "decoding order");
    fs::write(&path, edited).unwrap();
    let Some((passed, said)) = schemas(&documents, &["--check"]) else { return };
    assert!(!passed && said.contains("frames/1.1.0.json` differs from the source"), "{said}");
}

/// The source of a released table has changed and its version has not: as if another document had been
/// released under that version.
#[test]
fn a_released_table_cannot_change_without_another_version() {
    let Some(documents) = release("changed") else { return };
    let path = documents.join("released.json");
    let mut released: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let version = ALL.iter().find(|table| table.name == "shots").unwrap().version;
    released["shots"][version] = Value::from("0".repeat(64));
    fs::write(&path, released.to_string()).unwrap();
    for arguments in [&["--check"][..], &[]] {
        let Some((passed, said)) = schemas(&documents, arguments) else { return };
        assert!(!passed, "{arguments:?} passed");
        let expected = format!(
            "error: `shots` {version} is released, and the source has changed it\n\
             hint: raise its version in crates/schema/src/tables.rs\n"
        );
        assert_eq!(said, expected);
    }
}

#[test]
fn a_released_version_without_its_table_is_reported() {
    let Some(documents) = release("missing") else { return };
    fs::remove_file(documents.join("shots/1.0.0.parquet")).unwrap();
    let Some((passed, said)) = schemas(&documents, &["--check"]) else { return };
    assert!(!passed && said.contains("every released version has an example"), "{said}");
}
