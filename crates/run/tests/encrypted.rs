//! Run directories with a key: this process has one, so these tests have a program of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should end there"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use failure::Failure as _;
use run::edits::{Edit, EditOp, Log};
use run::encryption::{Encryption, rotate};
use run::manifest::{FILE_NAME, Manifest};
use run::uids::{self, Uids};
use run::{Begin, Error, Plan, RunDir, RunReader};
use schema::crypt::{self, Key};
use schema::io::{encrypt_again, open_with};
use schema::tables::Frame;
use serde_json::json;

use crate::rows::{frame, metric, track};

#[path = "../../schema/tests/contract/rows.rs"]
#[allow(dead_code, reason = "the tests of single tables use the other rows")]
mod rows;

/// The key of this process.
fn key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = Key::random().unwrap();
        crypt::use_key(key.clone());
        key
    })
}

/// Runs a stage; whether it had something to do.
fn stage(run: &mut RunDir, stage: &'static str, tables: &[&'static str]) -> run::Result<bool> {
    let config = json!({});
    let plan = Plan { stage, version: 1, config: &config, tables, inputs: &[], force: false };
    let Begin::Run(mut writing) = run.begin(&plan)? else { return Ok(false) };
    match stage {
        "ingest" => writing.write((0..5).map(frame))?,
        "detect-track" => writing.write((0..5).map(track))?,
        "evaluate" => {
            writing.write([metric("m", schema::tables::MetricUnit::Frame)])?;
            writing.write_file("report/index.html", b"a face")?;
        }
        _ => writing.write::<schema::tables::Appearance>([])?,
    }
    run.commit(writing)?;
    Ok(true)
}

/// A run of four stages with a correction and the record of people; the names of the stages that had something to do.
fn run_all(root: &Path) -> run::Result<Vec<&'static str>> {
    let mut run = RunDir::open(root)?;
    let line: [(&str, &[&str]); 4] = [
        ("ingest", &[]),
        ("detect-track", &["frames"]),
        ("cluster", &["tracks"]),
        ("evaluate", &["frames", "tracks"]),
    ];
    let mut ran = Vec::new();
    for (name, tables) in line {
        if stage(&mut run, name, tables)? {
            ran.push(name);
        }
    }
    Ok(ran)
}

fn finished(root: &Path) {
    key();
    assert_eq!(run_all(root).unwrap().len(), 4);
    let name = Edit { name: Some("Zaphod".into()), ..Edit::new(EditOp::Name, "ann", vec![vec![]]) };
    Log::open(root).unwrap().append_with(|_| Ok::<_, Error>(vec![name])).unwrap();
    Uids { video_sha256: "Zaphod".into(), ..Uids::default() }.write(root).unwrap();
}

fn tables(root: &Path) -> BTreeMap<String, std::path::PathBuf> {
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap());
    let tables = entries.filter(|entry| entry.path().extension().is_some_and(|end| end == "parquet"));
    tables.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

fn frames(root: &Path, key: Option<&Key>) -> Vec<Frame> {
    open_with::<Frame>(&root.join("frames.parquet"), None, key).unwrap().flat_map(Result::unwrap).collect()
}

#[test]
fn every_table_has_the_key_that_the_manifest_names_and_the_next_run_finds_all() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    finished(&root);
    let manifest = Manifest::read(&root).unwrap().unwrap();
    assert_eq!(manifest.encryption, Some(Encryption { key_id: key().id().into(), rotating_to: None }));
    let found = tables(&root);
    // Four of stages, two of the log, and the record of people.
    assert_eq!(found.len(), 7, "{found:?}");
    for (name, path) in &found {
        assert_eq!(crypt::id_of(path).unwrap().as_deref(), Some(key().id()), "{name}");
    }
    assert!(!root.join(uids::FILE).exists());
    assert_eq!(Uids::read(&root).unwrap().video_sha256, "Zaphod");
    assert_eq!(Log::open(&root).unwrap().entries()[0].edit.name.as_deref(), Some("Zaphod"));
    for (name, path) in testkit::files::walk(&root, &[]) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"Zaphod"), "{name}");
    }
    assert_eq!(run_all(&root).unwrap(), [""; 0]);
    assert_eq!(frames(&root, Some(key())).len(), 5);
    RunReader::open(&root).unwrap().verify_all().unwrap();
    assert_eq!(run::validate::validate(&root).unwrap().rows["frames"], 5);
}

/// Which key a run has is found out before anything is read or written.
#[test]
fn a_run_with_another_key_and_one_without_are_refused_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    finished(&root);
    let other = Key::random().unwrap();
    let refused = |root: &Path| {
        let before = fs::read(root.join(FILE_NAME)).unwrap();
        let errors = [
            run_all(root).unwrap_err(),
            RunReader::open(root).unwrap_err(),
            Log::open(root).unwrap_err(),
            run::validate::validate(root).unwrap_err(),
        ];
        assert_eq!(fs::read(root.join(FILE_NAME)).unwrap(), before);
        let texts = errors.map(|error| {
            assert_eq!(error.exit_code(), 3, "{error}");
            assert!(error.hint().is_some());
            error.to_string().replace(&root.display().to_string(), "$RUN")
        });
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        texts[0].clone()
    };
    rotate(&root, [Some(key()), Some(&other)]).unwrap();
    let expected =
        format!("`$RUN` is encrypted with the key {}, and the given key is {}", other.id(), key().id());
    assert_eq!(refused(&root), expected);
    rotate(&root, [Some(&other), None]).unwrap();
    assert_eq!(refused(&root), "`$RUN` is not encrypted, and a key is given");
    // A correction may be there before the first run.
    let edits = folder.path().join("edits");
    fs::create_dir(&edits).unwrap();
    fs::copy(root.join("edits.parquet"), edits.join("edits.parquet")).unwrap();
    let error = RunDir::open(&edits).unwrap_err();
    assert!(error.to_string().ends_with("edits.parquet` is not encrypted, and a key is given"), "{error}");
}

#[test]
fn a_rotation_changes_the_key_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    finished(&root);
    let (other, before) = (Key::random().unwrap(), frames(&root, Some(key())));
    let done = rotate(&root, [Some(key()), Some(&other)]).unwrap();
    assert_eq!((done.tables, done.is_page_gone), (6, false));
    for (name, path) in tables(&root) {
        assert_eq!(crypt::id_of(&path).unwrap().as_deref(), Some(other.id()), "{name}");
    }
    assert_eq!(frames(&root, Some(&other)), before);
    assert!(rotate(&root, [Some(key()), Some(&other)]).is_ok(), "a rotation that is done is no error");
    let wrong = rotate(&root, [Some(&Key::random().unwrap()), Some(key())]).unwrap_err();
    assert!(wrong.to_string().contains("is encrypted with the key"), "{wrong}");
    assert!(rotate(&root, [None, Some(key())]).is_err());
    rotate(&root, [Some(&other), Some(key())]).unwrap();
    assert_eq!(run_all(&root).unwrap(), [""; 0], "the records know the new files");
    assert_eq!(Uids::read(&root).unwrap().video_sha256, "Zaphod");
    // A file that its stage did not write is not encrypted again.
    fs::write(root.join("tracks.parquet"), "broken").unwrap();
    assert!(matches!(rotate(&root, [Some(key()), Some(&other)]), Err(Error::Changed { .. })));
    assert_eq!(Manifest::read(&root).unwrap().unwrap().encryption.unwrap().key_id, key().id());
}

/// What a process that was killed leaves: the mark in the manifest, and some files with the new key.
#[test]
fn an_interrupted_rotation_is_said_and_completed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    finished(&root);
    let other = Key::random().unwrap();
    let before = frames(&root, Some(key()));
    for n_done in 0..=7 {
        let (old, new) = if n_done % 2 == 0 { (key(), &other) } else { (&other, key()) };
        let mut manifest = Manifest::read(&root).unwrap().unwrap();
        let mark = Encryption { key_id: old.id().into(), rotating_to: Some(new.id().into()) };
        manifest.encryption = Some(mark);
        fs::write(root.join(FILE_NAME), serde_json::to_string(&manifest).unwrap()).unwrap();
        for path in tables(&root).values().take(n_done) {
            let half = root.join("half");
            encrypt_again(path, &half, [Some(old), Some(new)]).unwrap();
            fs::rename(half, path).unwrap();
        }
        fs::write(root.join("tracks.parquet.host-1.tmp"), "half a table").unwrap();
        for error in [run_all(&root).unwrap_err(), rotate(&root, [Some(new), Some(old)]).unwrap_err()] {
            assert!(error.to_string().contains("a rotation of its key was interrupted"), "{error}");
            assert_eq!(error.exit_code(), 3);
        }
        rotate(&root, [Some(old), Some(new)]).unwrap();
        assert_eq!(frames(&root, Some(new)), before, "after {n_done} files");
        assert_eq!(tables(&root).len(), 7, "the half table is gone");
    }
    assert_eq!(run_all(&root).unwrap(), [""; 0]);
}

/// The page of a plain run may show faces, so it goes; and what is decrypted are the bytes of a run without a key.
#[test]
fn a_plain_run_becomes_an_encrypted_one_without_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("r");
    finished(&root);
    rotate(&root, [Some(key()), None]).unwrap();
    assert!(Manifest::read(&root).unwrap().unwrap().encryption.is_none());
    assert!(root.join(uids::FILE).is_file() && !root.join(uids::SEALED).exists());
    assert!(root.join("report/index.html").is_file());
    assert!(tables(&root).values().all(|path| crypt::id_of(path).unwrap().is_none()));
    let plain: BTreeMap<_, _> =
        tables(&root).into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect();
    let done = rotate(&root, [None, Some(key())]).unwrap();
    assert!(
        done.is_page_gone
            && !root.join("report/index.html").exists()
            && !root.join("metrics.parquet").exists()
    );
    assert!(root.join(uids::SEALED).is_file() && !root.join(uids::FILE).exists());
    assert!(rotate(&root, [None, Some(key())]).unwrap().is_page_gone, "until the page is made again");
    assert_eq!(run_all(&root).unwrap(), ["evaluate"]);
    assert!(!rotate(&root, [None, Some(key())]).unwrap().is_page_gone);
    rotate(&root, [Some(key()), None]).unwrap();
    for (name, bytes) in plain {
        assert!(name == "metrics.parquet" || fs::read(root.join(&name)).unwrap() == bytes, "{name}");
    }
}
