//! Files of `bad/`, and the message with which each is refused: `tests/snapshots/bad_files.txt` holds what
//! people read. A file that is not listed there makes this test fail, and so does one that is accepted. Bad
//! tables are made, and listed, by `crates/schema/tests/contract`.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should end there")]

use std::fs;
use std::path::Path;

use evaluate::labels::Labels;
use failure::Failure;
use formats::labels::LabelFormat;
use gallery::Library;
use nn::weights::read_tensors;
use run::manifest::Manifest;
use run::stage::read_config;
use testkit::files::walk;
use testkit::snapshot;

/// An error as the user reads it.
fn message(error: &dyn Failure) -> String {
    let hint = error.hint().map_or_else(String::new, |hint| format!("\n  hint: {hint}"));
    format!("exit {}: {error}{hint}", error.exit_code())
}

fn manifest(path: &Path) -> Option<String> {
    let root = tempfile::tempdir().unwrap();
    fs::copy(path, root.path().join("manifest.json")).unwrap();
    Some(message(&Manifest::read(root.path()).err()?).replace(root.path().to_str().unwrap(), "$RUN"))
}

fn index(path: &Path) -> Option<String> {
    let root = tempfile::tempdir().unwrap();
    fs::copy(path, root.path().join("library.json")).unwrap();
    Some(message(&Library::open(root.path()).err()?).replace(root.path().to_str().unwrap(), "$LIBRARY"))
}

fn labels(path: &Path) -> Option<String> {
    Some(message(&Labels::parse(path, &fs::read(path).unwrap(), 100).err()?))
}

fn imported(path: &Path) -> Option<String> {
    let format = LabelFormat::of(path).unwrap();
    let (line, reason) = format.read(&fs::read(path).unwrap(), None, None).err()?;
    Some(message(&formats::Error::Labels { path: path.to_path_buf(), line, reason }))
}

fn edited(path: &Path) -> Option<String> {
    Some(message(&formats::edits::parse(path, &fs::read(path).unwrap()).err()?))
}

fn set(path: &Path) -> Option<String> {
    match read_config::<cluster::Config>(Some(path), &[], "cluster") {
        Err(error) => Some(message(&error)),
        Ok(config) => Some(message(&config.check().err()?)),
    }
}

/// Who reads the files of a folder; nothing where one is accepted.
fn refusal(folder: &str, path: &Path) -> Option<String> {
    match folder {
        "manifests" => manifest(path),
        "indexes" => index(path),
        "weights" => Some(message(&read_tensors(path).err()?)),
        "labels" => labels(path),
        "imports" => imported(path),
        "edits" => edited(path),
        "settings" => set(path),
        _ => Some(format!("no reader for files of {folder}")),
    }
}

#[test]
fn every_bad_file_is_refused_in_the_stored_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("bad");
    let mut text = String::new();
    for (name, path) in walk(&root, &[]) {
        let (folder, file) = name.split_once('/').unwrap();
        let error = refusal(folder, &path).unwrap_or_else(|| "ACCEPTED".into());
        let error = error.replace(path.to_str().unwrap(), file);
        assert!(error != "ACCEPTED", "{name} is not bad");
        text += &format!("{name}\n  {error}\n");
    }
    snapshot::assert_matches("bad_files.txt", &text);
}
