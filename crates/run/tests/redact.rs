//! Redaction of a synthetic run: rows leave, later results go, and the check finds what is left.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use failure::Failure as _;
use run::manifest::Manifest;
use run::redact::{Before, Digester, Error, PlaceKind, Report, Request, outlook, redact_check, redact_run};
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

#[test]
fn what_a_request_would_remove_is_what_it_removes() {
    let run = Run::new();
    let request = Request { identities: vec![0], ..Request::default() };
    let reader = run.reader();
    let foreseen = outlook(&reader, &request).unwrap();
    let rows = |run: &RunReader| {
        let outputs = run.manifest().stages.iter().flat_map(|stage| stage.outputs.clone());
        outputs.filter_map(|output| Some((output.file, output.rows?))).collect::<BTreeMap<String, u64>>()
    };
    let before = rows(&reader);
    assert_eq!(foreseen.tracks, tracks_of(&reader, 0).into_iter().collect());
    run.redact(&[0], false).unwrap();
    let after = rows(&run.reader());
    for file in ["detections", "tracks", "crops", "embeddings", "track_embeddings"] {
        let file = format!("{file}.parquet");
        let fewer = before[&file] - after[&file];
        assert_eq!(foreseen.rows.get(&file).copied().unwrap_or(0), fewer, "{file}");
    }
    // The same person of another run of the video is given by tracks.
    let other = Run::new();
    let request = Request { tracks: foreseen.tracks.clone(), ..Request::default() };
    redact_run(&mut RunDir::open(&other.root).unwrap(), &request).unwrap();
    assert_eq!(other.reader().read::<Crop>().unwrap(), run.reader().read::<Crop>().unwrap());
}

#[test]
fn a_report_proves_that_nothing_has_come_back() {
    let run = Run::new();
    let reader = run.reader();
    let tracks: BTreeSet<i64> = tracks_of(&reader, 0).into_iter().collect();
    let crops = fs::read(run.root.join("crops.parquet")).unwrap();
    let digester = Digester::new();
    let mut before = Before::of(PlaceKind::Run, &run.root).unwrap();
    digester.of_run(&reader, &tracks, false, &mut before.digests).unwrap();
    assert!(before.digests.len() >= 2 * tracks.len());
    run.redact(&[0], false).unwrap();
    let place = before.after("run".into(), tracks.iter().copied().collect(), false).unwrap();
    assert!(place.rows["tracks.parquet"] == tracks.len() as u64 && place.unchanged > 0);
    let made = |places| {
        Report::new(
            "person 1".into(),
            "clerk".into(),
            None,
            &digester,
            places,
            BTreeMap::new(),
            vec!["a copy".into()],
        )
    };
    let report = made(vec![place]);
    assert_eq!(report.check().unwrap().0, [""; 0]);
    let file = run.root.with_file_name("report.json");
    let text = report.write(&file).unwrap();
    assert_eq!(Report::read(&file).unwrap(), report);
    assert!(fs::read_to_string(text).unwrap().contains("  a copy\n"));
    fs::write(run.root.join("backup"), &crops).unwrap();
    let (found, _) = report.check().unwrap();
    assert!(found.len() == 2 && found[0].contains("backup` is a file as it was"), "{found:?}");
    fs::remove_file(run.root.join("backup")).unwrap();
    let wrong = fs::read_to_string(&file).unwrap().replace("clerk", "thief");
    fs::write(&file, wrong).unwrap();
    assert!(Report::read(&file).unwrap_err().to_string().contains("its seal does not match"));
    // A run that was deleted has nothing left.
    fs::remove_dir_all(&run.root).unwrap();
    assert_eq!(report.check().unwrap(), (vec![], 0));
}

#[test]
fn a_deleted_run_leaves_only_files_of_others() {
    let run = Run::new();
    fs::write(run.root.join("notes.txt"), "mine").unwrap();
    let mut open = RunDir::open(&run.root).unwrap();
    open.set_expiry(Some("2020-01-31".into())).unwrap();
    assert_eq!(Manifest::read(&run.root).unwrap().unwrap().expires.as_deref(), Some("2020-01-31"));
    assert_eq!(open.delete().unwrap(), [run.root.canonicalize().unwrap().join("notes.txt")]);
    assert_eq!(fs::read_dir(&run.root).unwrap().count(), 1);
}
