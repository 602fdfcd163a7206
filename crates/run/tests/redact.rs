//! Redaction of a synthetic run: rows leave, later results go, and the check finds what is left.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

use failure::Failure as _;
use run::manifest::Manifest;
use run::redact::{Error, Request, redact_check, redact_run};
use run::{RunDir, RunReader};
use schema::tables::{Cluster, Crop, Detection, Embedding, Track, TrackEmbedding};
use serde_json::json;
use testkit::linked::{self, Spec};

struct Run {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("run");
        linked::write(&root, &Spec { tracks: 12, people: 3, noise: 1, ..Spec::default() });
        Self { _folder: folder, root }
    }

    fn redact(&self, identities: &[i64], pictures: bool) -> Result<serde_json::Value, Error> {
        let mut run = RunDir::open(&self.root)?;
        let record = redact_run(
            &mut run,
            &Request { identities: identities.to_vec(), pictures, ..Request::default() },
        )?;
        Ok(json!(record.figures))
    }

    fn check(&self) -> Result<serde_json::Value, Error> {
        Ok(json!(redact_check(&RunReader::open(&self.root)?)?.figures))
    }

    fn reader(&self) -> RunReader {
        RunReader::open(&self.root).unwrap()
    }
}

fn tracks_of(run: &RunReader, identity: i64) -> Vec<i64> {
    let clusters = run.read::<Cluster>().unwrap();
    clusters.iter().filter(|row| row.cluster_id == Some(identity)).map(|row| row.track_id).collect()
}

#[test]
fn no_row_names_a_removed_person_and_all_other_rows_stay() {
    let run = Run::new();
    let gone = tracks_of(&run.reader(), 0);
    let tracks = run.reader().read::<Track>().unwrap();
    let boxes = run.reader().read::<Detection>().unwrap();
    let figures = run.redact(&[0], false).unwrap();
    assert_eq!(figures, json!({ "tracks_forgotten": gone.len(), "pictures_kept": true }));
    let reader = run.reader();
    let kept: Vec<Track> = tracks.into_iter().filter(|row| !gone.contains(&row.track_id)).collect();
    assert_eq!(reader.read::<Track>().unwrap(), kept);
    let found = reader.read::<Detection>().unwrap();
    let is_kept = |row: &&Detection| row.track_id.is_some_and(|id| !gone.contains(&id));
    assert_eq!(found.len(), boxes.iter().filter(is_kept).count());
    assert!(reader.read::<Crop>().unwrap().iter().all(|row| !gone.contains(&row.track_id)));
    assert!(reader.read::<Embedding>().unwrap().iter().all(|row| !gone.contains(&row.track_id)));
    assert!(reader.read::<TrackEmbedding>().unwrap().iter().all(|row| !gone.contains(&row.track_id)));
    assert!(reader.manifest().stage("cluster").is_none(), "what was made from the old tables goes");
    assert!(!run.root.join("clusters.parquet").exists());
    assert_eq!(run.check().unwrap()["tracks_forgotten"], json!(gone.len()));
}

#[test]
fn numbers_of_boxes_have_no_holes() {
    let run = Run::new();
    run.redact(&[0], false).unwrap();
    let boxes = run.reader().read::<Detection>().unwrap();
    for frame in boxes.chunk_by(|a, b| a.frame_idx == b.frame_idx) {
        assert!((0..).zip(frame).all(|(number, row)| row.det_idx == number));
    }
}

#[test]
fn pictures_leave_and_their_rows_stay() {
    let run = Run::new();
    let before = run.reader().read::<Crop>().unwrap().len();
    run.redact(&[], true).unwrap();
    let crops = run.reader().read::<Crop>().unwrap();
    assert!(crops.len() == before && crops.iter().all(|crop| crop.image.is_none()));
    run.check().unwrap();
    fs::write(run.root.join("page.html"), "<img src=\"data:image/jpeg;base64,AA\">").unwrap();
    let error = run.check().unwrap_err();
    assert!(matches!(error, Error::Trace { .. }) && error.exit_code() == 4, "{error}");
}

#[test]
fn a_person_who_is_not_there_is_wrong_usage_and_changes_nothing() {
    let run = Run::new();
    let before = fs::read(run.root.join("manifest.json")).unwrap();
    let error = run.redact(&[0, 99], false).unwrap_err();
    assert!(matches!(error, Error::NoIdentity { cluster_id: 99, .. }) && error.exit_code() == 2, "{error}");
    assert_eq!(fs::read(run.root.join("manifest.json")).unwrap(), before);
}

#[test]
fn a_table_that_was_put_back_is_found() {
    let run = Run::new();
    let tracks = fs::read(run.root.join("tracks.parquet")).unwrap();
    run.redact(&[0], false).unwrap();
    fs::write(run.root.join("tracks.parquet"), &tracks).unwrap();
    assert!(run.check().unwrap_err().to_string().contains("was changed after its stage wrote it"));
    record_as_is(&run.root, "tracks.parquet");
    let error = run.check().unwrap_err().to_string();
    assert!(error.contains("tracks.parquet` still contains track"), "{error}");
}

/// Makes the manifest record a file as it is.
fn record_as_is(root: &Path, file: &str) {
    let mut manifest = Manifest::read(root).unwrap().unwrap();
    let bytes = fs::read(root.join(file)).unwrap();
    let outputs = manifest.stages.iter_mut().flat_map(|stage| &mut stage.outputs);
    for output in outputs.filter(|output| output.file == file) {
        output.size_bytes = bytes.len() as u64;
        output.sha256 = hash::bytes(&bytes);
    }
    let table = file.trim_end_matches(".parquet");
    let inputs = manifest.stages.iter_mut().flat_map(|stage| &mut stage.inputs);
    for input in inputs.filter(|input| input.name == table) {
        input.sha256 = hash::bytes(&bytes);
    }
    fs::write(root.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
}

#[test]
fn reading_a_run_leaves_no_trace_and_needs_no_lock() {
    let run = Run::new();
    let lock = RunDir::open(&run.root).unwrap();
    let before: Vec<_> = fs::read_dir(&run.root).unwrap().map(|entry| entry.unwrap().path()).collect();
    run.reader().verify_all().unwrap();
    assert!(!run.reader().read::<Track>().unwrap().is_empty());
    let after: Vec<_> = fs::read_dir(&run.root).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(before, after);
    drop(lock);
    let nowhere = run.root.join("nowhere");
    let error = RunReader::open(&nowhere).unwrap_err();
    assert!(matches!(error, run::Error::NoRun { .. }) && error.exit_code() == 3 && !nowhere.exists());
}
