//! The run directory: whatever is recorded is there and whole, and nothing stale stays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should end there"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use failure::Failure as _;
use run::manifest::{self, Input, Manifest, STAGES, StageRecord, VideoFile};
use run::{Begin, Error, Plan, RunDir, StageRun};
use schema::footer::Embedder;
use schema::tables::{
    Cluster, Detection, Frame, Identity, Label, LabelSource, Metric, MetricUnit, Track, TrackEmbedding,
};
use serde_json::{Value, json};

use crate::rows::{DIM, cluster, detection, frame, metric, track, track_embedding};

#[path = "../../schema/tests/contract/rows.rs"]
#[allow(dead_code, reason = "the tests of single tables use the other rows")]
mod rows;

/// A stage of a made-up line: what decides it and how many rows it writes.
#[derive(Debug, Clone)]
struct Step {
    stage: &'static str,
    version: u32,
    config: Value,
    tables: Vec<&'static str>,
    inputs: Vec<Input>,
    force: bool,
    rows: i64,
}

impl Step {
    fn new(stage: &'static str, tables: &[&'static str]) -> Self {
        Self {
            stage,
            version: 1,
            config: json!({ "threshold": 0.5 }),
            tables: tables.to_vec(),
            inputs: vec![],
            force: false,
            rows: 3,
        }
    }

    fn begin(&self, run: &mut RunDir) -> run::Result<Begin> {
        run.begin(&Plan {
            stage: self.stage,
            version: self.version,
            config: &self.config,
            tables: &self.tables,
            inputs: &self.inputs,
            force: self.force,
        })
    }

    /// Begins, writes and commits; false when there was nothing to do.
    fn run(&self, run: &mut RunDir) -> run::Result<bool> {
        match self.begin(run)? {
            Begin::UpToDate(_) => Ok(false),
            Begin::Run(mut stage) => {
                self.write(&mut stage)?;
                run.commit(stage)?;
                Ok(true)
            }
        }
    }

    fn write(&self, stage: &mut StageRun) -> run::Result<()> {
        let ids = 0..self.rows;
        match self.stage {
            "ingest" => stage.write(ids.map(frame)),
            "detect-track" => {
                stage.write(ids.clone().map(detection))?;
                stage.write(ids.map(track))
            }
            "embed" => {
                let embedders = embedders();
                let mut writer = stage.create(&embedders)?;
                ids.map(track_embedding).try_for_each(|row| writer.push(row))?;
                stage.finish(writer)
            }
            "cluster" => stage.write(ids.map(|track_id| cluster(track_id, Some(0), false))),
            _ => {
                stage.write(ids.map(|i| metric(&format!("m{i:09}"), MetricUnit::Frame)))?;
                stage.write_file("report/index.html", format!("<p>{} figures", self.rows).as_bytes())
            }
        }
    }
}

/// The embedder of the synthetic vectors.
fn embedders() -> Vec<Embedder> {
    vec![Embedder {
        name: "sface".into(),
        dim: DIM,
        weights_sha256: "0".repeat(64),
        license: "Apache-2.0".into(),
        same_up_to: None,
        similarity: None,
        quality: None,
    }]
}

/// An error as the user sees it, with `path` replaced by `$PATH`.
fn describe(error: &Error, path: &Path) -> String {
    let hint = error.hint().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
    format!("exit {}: {error}{hint}", error.exit_code()).replace(&path.display().to_string(), "$PATH")
}

/// The line in which only `cluster` reads vectors, and `evaluate` reads all but them.
fn line() -> [Step; 5] {
    [
        Step::new("ingest", &[]),
        Step::new("detect-track", &["frames"]),
        Step::new("embed", &["tracks"]),
        Step::new("cluster", &["tracks", "track_embeddings"]),
        Step::new("evaluate", &["detections", "clusters"]),
    ]
}

/// Opens a run directory that is not in use. Another test may be starting a process just now, and until that
/// has become its own program it holds a copy of every lock of ours; so this waits a little.
fn open(root: &Path) -> RunDir {
    for _ in 0..400 {
        match RunDir::open(root) {
            Err(Error::Locked { .. }) => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays locked", root.display());
}

/// A run directory whose five stages have finished.
struct Finished {
    folder: tempfile::TempDir,
    run: RunDir,
}

impl Finished {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut run = open(&folder.path().join("r"));
        for step in line() {
            assert!(step.run(&mut run).unwrap(), "{} did not run", step.stage);
        }
        Self { folder, run }
    }

    /// Closes and opens again, as the next process does.
    fn reopened(self) -> Self {
        let Self { folder, run } = self;
        drop(run);
        let run = open(&folder.path().join("r"));
        Self { folder, run }
    }

    fn stages(&self) -> Vec<&str> {
        self.run.manifest().stages.iter().map(|s| s.stage.as_str()).collect()
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.run.root().join(file)
    }
}

fn step(stage: &str) -> Step {
    line().into_iter().find(|step| step.stage == stage).unwrap()
}

/// Every file below the run directory, without the lock.
fn files(root: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(root, root, &mut found);
    found.remove(".lock");
    found
}

/// Every recorded file is on disk as recorded, and no other file is.
fn assert_consistent(root: &Path) {
    let manifest = Manifest::read(root).unwrap().unwrap();
    let mut expected: BTreeSet<_> = ["manifest.json", "config.toml"].map(String::from).into();
    for output in manifest.stages.iter().flat_map(|stage| &stage.outputs) {
        assert_whole(root, output);
        expected.insert(output.file.clone());
    }
    assert_eq!(files(root), expected);
}

fn assert_whole(root: &Path, output: &manifest::Output) {
    let path = root.join(&output.file);
    assert_eq!(hash::file(&path).unwrap(), output.sha256, "{}", output.file);
    assert_eq!(fs::metadata(&path).unwrap().len(), output.size_bytes, "{}", output.file);
}

#[test]
fn a_finished_line_is_recorded_and_readable() {
    let done = Finished::new().reopened();
    assert_eq!(done.stages(), ["ingest", "detect-track", "embed", "cluster", "evaluate"]);
    assert_consistent(done.run.root());
    assert_eq!(done.run.read::<Track>().unwrap(), (0..3).map(track).collect::<Vec<_>>());
    let reader = done.run.open_table::<TrackEmbedding>().unwrap();
    let record = done.run.manifest().stage("embed").unwrap();
    assert_eq!(reader.footer().fingerprint, record.fingerprint);
    assert_eq!(reader.footer().run_id, "r");
    assert_eq!(reader.footer().embedders, embedders());
    let rows: Vec<_> = record.outputs.iter().map(|o| (o.file.as_str(), o.rows)).collect();
    assert_eq!(rows, [("track_embeddings.parquet", Some(3))]);
}

#[test]
fn a_stage_runs_again_only_when_something_that_decides_it_changed() {
    type Change = fn(&mut Step, &Finished);
    let cases: &[(&str, Change, bool)] = &[
        ("nothing", |_, _| (), false),
        ("the configuration", |s, _| s.config = json!({ "threshold": 0.6 }), true),
        ("the version of the stage", |s, _| s.version = 2, true),
        (
            "an input more",
            |s, _| s.inputs.push(Input { name: "labels".into(), sha256: "0".repeat(64) }),
            true,
        ),
        ("the tables it reads", |s, _| s.tables = vec!["clusters"], true),
        ("force", |s, _| s.force = true, true),
        ("an output is gone", |_, d| fs::remove_file(d.path("metrics.parquet")).unwrap(), true),
        ("the page is gone", |_, d| fs::remove_file(d.path("report/index.html")).unwrap(), true),
        ("the page is longer", |_, d| fs::write(d.path("report/index.html"), "<p>3 figures!").unwrap(), true),
        ("the page is other", |_, d| fs::write(d.path("report/index.html"), "<p>4 figures").unwrap(), true),
        ("a file that is not recorded", |_, d| fs::write(d.path("notes.txt"), "x").unwrap(), false),
        (
            "the resolved configuration, which no stage reads",
            |_, d| fs::write(d.path("config.toml"), "").unwrap(),
            false,
        ),
    ];
    for (name, change, runs) in cases {
        let mut done = Finished::new().reopened();
        let mut evaluate = step("evaluate");
        change(&mut evaluate, &done);
        assert_eq!(evaluate.run(&mut done.run).unwrap(), *runs, "{name}");
        assert!(!Step { force: false, ..evaluate }.run(&mut done.run).unwrap(), "{name}: and again");
    }
}

#[test]
fn a_stage_runs_again_when_its_weights_changed() {
    let mut done = Finished::new();
    let with = |digit: &str| Step {
        inputs: vec![Input { name: "weights".into(), sha256: digit.repeat(64) }],
        ..step("embed")
    };
    assert!(with("1").run(&mut done.run).unwrap());
    assert!(!with("1").run(&mut done.run).unwrap());
    assert!(with("2").run(&mut done.run).unwrap());
}

/// Which stages are left after one of them is run again.
#[test]
fn a_commit_drops_what_was_made_from_what_it_replaces() {
    let cases: &[(&str, i64, &[&str])] = &[
        // The same rows again: everything made from them still holds.
        ("ingest", 3, &["ingest", "detect-track", "embed", "cluster", "evaluate"]),
        ("detect-track", 3, &["ingest", "detect-track", "embed", "cluster", "evaluate"]),
        // Other rows: whatever read them goes, and what was made from that.
        ("ingest", 4, &["ingest"]),
        ("detect-track", 4, &["ingest", "detect-track"]),
        ("embed", 4, &["ingest", "detect-track", "embed"]),
        ("cluster", 4, &["ingest", "detect-track", "embed", "cluster"]),
        ("evaluate", 4, &["ingest", "detect-track", "embed", "cluster", "evaluate"]),
        ("detect-track", 0, &["ingest", "detect-track"]),
    ];
    for (stage, rows, left) in cases {
        let mut done = Finished::new();
        let again = Step { force: true, rows: *rows, ..step(stage) };
        assert!(again.run(&mut done.run).unwrap());
        assert_eq!(done.stages(), *left, "{stage} with {rows} rows");
        assert_consistent(done.run.root());
    }
}

#[test]
fn a_commit_keeps_what_was_made_from_other_tables() {
    let mut done = Finished::new();
    let aside = Step { tables: vec!["detections"], ..step("evaluate") };
    assert!(aside.run(&mut done.run).unwrap());
    assert!(Step { force: true, rows: 4, ..step("embed") }.run(&mut done.run).unwrap());
    assert_eq!(done.stages(), ["ingest", "detect-track", "embed", "evaluate"]);
    assert!(!aside.run(&mut done.run).unwrap(), "evaluate has read nothing that changed");
    assert_consistent(done.run.root());
}

/// A crash while a stage is being replaced leaves later stages without that stage. What it writes
/// when it runs again has to be compared with what they read, not with a record that is gone.
#[test]
fn a_commit_after_a_crash_still_drops_what_is_stale() {
    let done = Finished::new();
    let path = done.path(manifest::FILE_NAME);
    let mut manifest: Manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest.stages.retain(|record| record.stage != "detect-track");
    fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let mut crashed = done.reopened();
    assert!(Step { rows: 4, ..step("detect-track") }.run(&mut crashed.run).unwrap());
    assert_eq!(crashed.stages(), ["ingest", "detect-track"]);
    assert_consistent(crashed.run.root());
}

/// `labels` is both a table and the name of the file it comes from: the file is no stale table.
#[test]
fn a_file_of_labels_is_not_taken_for_the_table_of_labels() {
    let mut done = Finished::new();
    let labels = Input { name: "labels".into(), sha256: "1".repeat(64) };
    let labelled = Step { inputs: vec![labels], ..step("evaluate") };
    assert!(labelled.run(&mut done.run).unwrap());
    assert!(Step { force: true, ..step("cluster") }.run(&mut done.run).unwrap());
    assert!(!labelled.run(&mut done.run).unwrap());
}

#[test]
fn a_file_that_a_stage_no_longer_writes_goes() {
    let mut done = Finished::new();
    let label = Label {
        video_id: "v".into(),
        label_idx: 0,
        frame_idx: Some(0),
        track_id: None,
        x_min: None,
        y_min: None,
        x_max: None,
        y_max: None,
        identity: None,
        source: LabelSource::Person,
    };
    let labelled = Step { version: 2, ..step("evaluate") };
    let Begin::Run(mut stage) = labelled.begin(&mut done.run).unwrap() else { panic!("nothing to do") };
    labelled.write(&mut stage).unwrap();
    stage.write([label]).unwrap();
    done.run.commit(stage).unwrap();
    assert_eq!(done.run.read::<Label>().unwrap().len(), 1);
    assert!(step("evaluate").run(&mut done.run).unwrap());
    assert!(matches!(done.run.read::<Label>(), Err(Error::MissingInput { .. })));
    assert_consistent(done.run.root());
}

#[test]
fn a_stage_that_is_not_committed_leaves_no_trace() {
    let mut done = Finished::new();
    let before = files(done.run.root());
    let again = Step { force: true, rows: 9, ..step("evaluate") };
    let Begin::Run(mut stage) = again.begin(&mut done.run).unwrap() else { panic!("nothing to do") };
    again.write(&mut stage).unwrap();
    let mut unfinished = stage.create::<Identity>(&[]).unwrap();
    assert!(unfinished.push(identity(f64::NAN)).is_err());
    assert!(files(done.run.root()).len() > before.len(), "nothing was written at all");
    drop(stage);
    assert_eq!(files(done.run.root()), before);
    assert_eq!(done.run.read::<Metric>().unwrap().len(), 3);
}

fn identity(screen_secs: f64) -> Identity {
    Identity {
        video_id: "v".into(),
        cluster_id: 0,
        name: None,
        n_tracks: 1,
        n_frames: 1,
        screen_secs,
        first_t_secs: 0.0,
        last_t_secs: 0.0,
        exemplar_track_id: 0,
        exemplar_frame_idx: 0,
        person_uid: None,
        series_id: None,
        series_uid: None,
    }
}

#[test]
fn a_commit_that_is_refused_changes_nothing() {
    let mut done = Finished::new();
    let before = fs::read(done.path(manifest::FILE_NAME)).unwrap();
    let again = Step { force: true, rows: 9, ..step("evaluate") };
    let Begin::Run(mut stage) = again.begin(&mut done.run).unwrap() else { panic!("nothing to do") };
    again.write(&mut stage).unwrap();
    fs::remove_file(run::files::temporary(&done.path("metrics.parquet"))).unwrap();
    assert!(matches!(done.run.commit(stage), Err(Error::Table(schema::Error::Io { .. }))));
    assert_eq!(fs::read(done.path(manifest::FILE_NAME)).unwrap(), before);
    assert_consistent(done.reopened().run.root());
}

#[test]
fn temporaries_are_removed_on_opening_but_only_ours() {
    let done = Finished::new();
    fs::create_dir_all(done.path("report/plots")).unwrap();
    let ours = [
        "tracks.parquet.tmp",
        "tracks.parquet.node-7-4711.tmp",
        "manifest.json.tmp",
        "config.toml.node-7-4711.tmp",
        "report/index.html.tmp",
        "report/plots/timeline.svg.node-7-4711.tmp",
    ];
    let theirs = ["notes.tmp", "thesis.parquet.tmp", "tracks.parquet.tmp.bak", "mytracks.parquet.a-1.tmp"];
    for file in ours.into_iter().chain(theirs) {
        fs::write(done.path(file), "x").unwrap();
    }
    let left = files(done.reopened().run.root());
    assert!(ours.iter().all(|file| !left.contains(*file)), "{left:?}");
    assert!(theirs.iter().all(|file| left.contains(*file)), "{left:?}");
}

#[test]
fn the_lock_refuses_a_second_opener_and_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r");
    let mut run = open(&path);
    let refused = RunDir::open(&path).unwrap_err();
    let expected = format!("another process ({}) is using `{}`", std::process::id(), path.display());
    assert_eq!(refused.to_string(), expected);
    assert_eq!(refused.exit_code(), 75);
    let Begin::Run(stage) = step("ingest").begin(&mut run).unwrap() else { panic!("nothing to do") };
    drop(run);
    assert!(RunDir::open(&path).is_err(), "the files of a running stage are still there");
    drop(stage);
    open(&path);
}

/// The lock of a dead process is free, whatever it left in the lock file.
#[test]
fn an_old_lock_file_does_not_lock() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(".lock"), "999999999999").unwrap();
    let _run = open(folder.path());
    let holder = fs::read_to_string(folder.path().join(".lock")).unwrap();
    assert_eq!(holder, std::process::id().to_string());
}

#[test]
fn a_stage_never_reads_a_table_that_its_producer_did_not_write() {
    type Tamper = fn(&Path);
    let cases: &[(&str, Tamper)] = &[
        ("the last byte differs", |path| {
            let mut bytes = fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("a byte more", |path| {
            let mut bytes = fs::read(path).unwrap();
            bytes.push(0);
            fs::write(path, bytes).unwrap();
        }),
        ("emptied", |path| fs::write(path, "").unwrap()),
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for (name, tamper) in cases {
        let mut done = Finished::new();
        tamper(&done.path("clusters.parquet"));
        let error = step("evaluate").run(&mut done.run).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{name}: {error}");
        assert_eq!(error.exit_code(), 4, "{name}");
    }
}

#[test]
fn a_stage_does_not_start_without_the_stages_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = open(folder.path());
    let error = step("cluster").run(&mut run).unwrap_err();
    let expected = format!(
        "`{}` has no finished stage `detect-track`, which writes `tracks`",
        folder.path().canonicalize().unwrap().display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint().unwrap(), "run the video again; finished stages are not repeated");
    assert!(matches!(run.video_id(), Err(Error::MissingInput { table: "videos", .. })));
}

/// A table that merely lies in the directory is none of the run's.
#[test]
fn files_without_a_record_do_not_count() {
    let done = Finished::new();
    let folder = tempfile::tempdir().unwrap();
    let run = open(folder.path());
    fs::copy(done.path("clusters.parquet"), run.root().join("clusters.parquet")).unwrap();
    assert!(matches!(run.read::<Cluster>(), Err(Error::MissingInput { .. })));
    assert!(matches!(run.open_table::<Cluster>(), Err(Error::MissingInput { .. })));
}

#[test]
fn manifests_that_are_none_are_refused_in_the_stored_words() {
    let good = {
        let done = Finished::new();
        String::from_utf8(fs::read(done.path(manifest::FILE_NAME)).unwrap()).unwrap()
    };
    let renamed = |file: &str| good.replace("report/index.html", file);
    let absolute = renamed("/etc/passwd");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("another format", good.replace("\"format\": 1", "\"format\": 2").into()),
        ("another format with other fields", r#"{"format": 2, "runs": []}"#.into()),
        ("no format", "{}".into()),
        ("a format that is no number", r#"{"format": "1"}"#.into()),
        ("no stages", r#"{"format": 1, "run_id": "r"}"#.into()),
        ("half a manifest", good.split_once("\"inputs\"").unwrap().0.into()),
        ("an empty file", vec![]),
        ("no text", vec![0xff, 0xfe, 0x00]),
        ("a list", "[]".into()),
        ("an absolute path", absolute.into()),
        ("a path that leaves the run", renamed("report/../../index.html").into()),
        ("an empty path", renamed("").into()),
    ];
    let mut text = String::new();
    for (name, content) in cases {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::write(root.join(manifest::FILE_NAME), content).unwrap();
        let error = RunDir::open(&root).unwrap_err();
        text.push_str(&format!("{name}\n  {}\n", describe(&error, &root)));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_manifests.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "bad_manifests.txt differs; UPDATE_SNAPSHOTS=1 stores this instead:\n{text}");
}

#[test]
fn directories_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for root in [file.clone(), file.join("below")] {
        let error = RunDir::open(&root).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("failed to create `{}`: ", root.display())),
            "{error}"
        );
        assert_eq!(error.exit_code(), 1);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "x");
}

/// TOML has no null, and the configuration of a stage may have keys without a value.
#[test]
fn the_resolved_configuration_is_written_for_people() {
    let mut done = Finished::new();
    let config =
        json!({ "threshold": 0.4, "seed": null, "names": ["a"], "inner": { "on": true, "off": null } });
    assert!(Step { config: config.clone(), ..step("cluster") }.run(&mut done.run).unwrap());
    let text = fs::read_to_string(done.path("config.toml")).unwrap();
    let sections: toml::Table = text.parse().unwrap();
    let expected = json!({ "threshold": 0.4, "names": ["a"], "inner": { "on": true } });
    assert_eq!(serde_json::to_value(&sections["cluster"]).unwrap(), expected);
    assert_eq!(serde_json::to_value(&sections["embed"]).unwrap(), json!({ "threshold": 0.5 }));
    assert_eq!(done.run.manifest().stage("cluster").unwrap().config, config);
}

#[test]
fn warnings_and_figures_are_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = open(folder.path());
    let Begin::Run(mut stage) = step("ingest").begin(&mut run).unwrap() else { panic!("nothing to do") };
    step("ingest").write(&mut stage).unwrap();
    stage.warn("frame 7 is damaged");
    stage.figure("frames", 3);
    assert_eq!(stage.rows().collect::<Vec<_>>(), [("frames.parquet", 3)]);
    let video = VideoFile {
        path: "/videos/a.mkv".into(),
        size_bytes: 1,
        modified_ns: 2,
        sha256: "0123456789abcdef".repeat(4),
    };
    run.set_video(video.clone());
    run.commit(stage).unwrap();
    drop(run);
    let mut run = open(folder.path());
    assert_eq!(run.video_file().unwrap(), &video);
    assert_eq!(run.video_id().unwrap().as_str(), "0123456789abcdef");
    let Begin::UpToDate(StageRecord { warnings, figures, .. }) = step("ingest").begin(&mut run).unwrap()
    else {
        panic!("ran again")
    };
    assert_eq!(warnings, ["frame 7 is damaged"]);
    assert_eq!(figures["frames"], 3);
}

/// Where the processes below work.
const ROOT: &str = "FACETRACK_TEST_ROOT";

/// Starts one of the tests below as a process of its own.
fn start(name: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name])
        .env(ROOT, root)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn root_of_this_process() -> std::path::PathBuf {
    std::env::var_os(ROOT).expect("this is a helper of another test").into()
}

#[test]
#[ignore = "the process that `a_crash_before_the_commit_leaves_the_state_before` starts"]
fn dies_before_its_commit() {
    let mut run = open(&root_of_this_process());
    let again = Step { force: true, rows: 9, ..step("detect-track") };
    let Begin::Run(mut stage) = again.begin(&mut run).unwrap() else { panic!("nothing to do") };
    again.write(&mut stage).unwrap();
    let mut unfinished = stage.create::<Frame>(&[]).unwrap();
    unfinished.push(frame(0)).unwrap();
    std::process::abort();
}

#[test]
fn a_crash_before_the_commit_leaves_the_state_before() {
    let Finished { folder, run } = Finished::new();
    let root = folder.path().join("r");
    drop(run);
    let before = files(&root);
    let status = start("dies_before_its_commit", &root).wait().unwrap();
    assert!(!status.success());
    let temporaries = files(&root).difference(&before).count();
    assert_eq!(temporaries, 3, "it should have died over detections, tracks and frames");
    let mut run = open(&root);
    assert_consistent(&root);
    assert_eq!(run.read::<Detection>().unwrap().len(), 3);
    for step in line() {
        assert!(!step.run(&mut run).unwrap(), "{} ran again", step.stage);
    }
}

#[test]
#[ignore = "the process that `a_kill_at_any_moment_leaves_whole_tables` starts"]
fn replaces_a_stage_without_end() {
    let mut run = open(&root_of_this_process());
    for round in 0.. {
        for step in line() {
            Step { version: round, rows: 1 + i64::from(round % 5), ..step }.run(&mut run).unwrap();
        }
    }
}

/// Waits until the process has committed something, so that it is killed at work.
fn wait_for_a_commit(root: &Path) {
    let manifest = || fs::read(root.join(manifest::FILE_NAME)).unwrap();
    let before = manifest();
    for _ in 0..4000 {
        if manifest() != before {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the process does nothing");
}

/// Seeded moments of death. Afterwards the next start finds only whole files, and goes on from there.
#[test]
fn a_kill_at_any_moment_leaves_whole_tables() {
    let Finished { folder, run } = Finished::new();
    let root = folder.path().join("r");
    drop(run);
    for kill in 0..40_u64 {
        let mut child = start("replaces_a_stage_without_end", &root);
        wait_for_a_commit(&root);
        std::thread::sleep(Duration::from_micros(kill * 3701 % 40_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let run = open(&root);
        for output in run.manifest().stages.iter().flat_map(|stage| &stage.outputs) {
            assert_whole(&root, output);
        }
        assert!(files(&root).iter().all(|file| !file.ends_with(".tmp")));
    }
    let mut run = open(&root);
    for step in line() {
        Step { version: u32::MAX, ..step }.run(&mut run).unwrap();
    }
    assert_consistent(&root);
}

/// A table that no stage writes could never be read.
#[test]
fn every_table_is_written_by_a_stage_or_by_a_library() {
    for table in schema::tables::ALL {
        assert!(STAGES.contains(&table.producer), "{} is written by no stage", table.name);
    }
}
