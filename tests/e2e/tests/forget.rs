//! Privacy: who is forgotten is gone from every table and from the page, and no later run brings them back;
//! a run without pictures keeps none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use run::manifest::{Manifest, STAGES};
use schema::Row;
use schema::io::{TableWriter, open, read_all};
use schema::tables::{
    Cluster, Constraint, Crop, Detection, Embedding, Identity, Label, Shot, Track, TrackEmbedding,
};
use testkit::assets;
use testkit::files::{hashes, table_hashes, untidy};
use testkit::line::{Line, Said};

use crate::empty_folder;

fn line(name: &str) -> Option<Line> {
    let folder = empty_folder("forget", name);
    Line::on_clip(&folder.canonicalize().unwrap().join("r"))
}

fn read<R: Row + Clone>(line: &Line) -> Vec<R> {
    read_all(&line.run_dir.join(R::TABLE.file_name())).unwrap()
}

fn task(arguments: &[&str], line: &Line) -> Option<Output> {
    let mut command = Command::new(assets::require_program("facetrack")?);
    let paths = |text: &&str| match *text {
        "RUN" => line.run_dir.clone(),
        "VIDEO" => line.video.clone(),
        other => PathBuf::from(other),
    };
    Some(command.args(arguments.iter().map(paths)).output().unwrap())
}

/// `redact` with nothing to take out: it checks.
fn scan(line: &Line) -> Said {
    let mut command = Command::new(&line.program);
    Said::of(command.args(["redact", "--run-dir"]).arg(&line.run_dir).arg("--json"))
}

/// Pictures of the page, and of the part of it about one person.
fn pictures(page: &str) -> BTreeSet<&str> {
    page.split("src=\"data:image").skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// Labels of both people, as a person would bring them.
fn labels(line: &Line) -> PathBuf {
    let names: BTreeMap<_, _> = read::<Cluster>(line).iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let mut csv = String::from("frame,x,y,w,h,identity\n");
    for d in read::<Detection>(line).iter().filter(|d| d.track_id.is_some()) {
        let (w, h) = (d.x_max - d.x_min, d.y_max - d.y_min);
        let who = names[&d.track_id.unwrap()].unwrap();
        csv += &format!("{},{},{},{w},{h},person-{who}\n", d.frame_idx, d.x_min, d.y_min);
    }
    let path = line.run_dir.with_file_name("labels.csv");
    fs::write(&path, csv).unwrap();
    path
}

#[test]
fn a_forgotten_person_is_gone_and_stays_gone() {
    let Some(line) = line("person") else { return };
    line.run_all();
    let labelled = Line { labels: Some(labels(&line)), ..line.clone() };
    assert_eq!(labelled.run_again(), ["evaluate"]);
    let clusters = read::<Cluster>(&line);
    let theirs = |id: i64| clusters.iter().filter(move |c| c.cluster_id == Some(id)).map(|c| c.track_id);
    let (gone, kept): (BTreeSet<_>, BTreeSet<_>) = (theirs(0).collect(), theirs(1).collect());
    assert!(!gone.is_empty() && !kept.is_empty());
    let crops = read::<Crop>(&line);
    let vectors = read::<Embedding>(&line);
    let page = fs::read_to_string(line.run_dir.join("report/index.html")).unwrap();

    let Some(done) = task(&["redact", "--run-dir", "RUN", "--identity", "1"], &line) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(untidy(&line.run_dir), [""; 0]);
    assert_tables_without(&line, &gone, &kept);

    // What is kept says what it said before, to the byte of every picture and vector.
    let rest: Vec<_> = crops.into_iter().filter(|c| kept.contains(&c.track_id)).collect();
    assert_eq!(read::<Crop>(&line), rest);
    let rest: Vec<_> = vectors.into_iter().filter(|v| kept.contains(&v.track_id)).collect();
    assert_eq!(read::<Embedding>(&line), rest);

    // Every picture of the page shows a person who was kept.
    let after = fs::read_to_string(line.run_dir.join("report/index.html")).unwrap();
    let (before, after) = (pictures(&page), pictures(&after));
    assert!(!after.is_empty() && after.len() < before.len());
    assert_eq!(without_person(&line, &after), [""; 0]);

    // A later run accepts the shorter tables and restores no person.
    let hashes = hashes(&line.run_dir);
    assert_eq!(line.run_again(), [""; 0]);
    assert_eq!(testkit::files::hashes(&line.run_dir), hashes);
    assert_eq!(scan(&line).code, Some(0));
    let warnings = line.run("detect-track").warnings().join("\n");
    assert!(warnings.contains("tracks are removed"), "{warnings}");
}

fn assert_tables_without(line: &Line, gone: &BTreeSet<i64>, kept: &BTreeSet<i64>) {
    let tracks: BTreeSet<_> = read::<Track>(line).iter().map(|t| t.track_id).collect();
    assert_eq!(&tracks, kept);
    for ids in [
        read::<Crop>(line).iter().map(|c| c.track_id).collect::<BTreeSet<_>>(),
        read::<Embedding>(line).iter().map(|e| e.track_id).collect(),
        read::<TrackEmbedding>(line).iter().map(|e| e.track_id).collect(),
        read::<Cluster>(line).iter().map(|c| c.track_id).collect(),
        read::<Detection>(line).iter().filter_map(|d| d.track_id).collect(),
    ] {
        assert_eq!(&ids, kept);
    }
    assert!(
        read::<Constraint>(line).iter().all(|c| !gone.contains(&c.track_a) && !gone.contains(&c.track_b))
    );
    assert!(read::<Identity>(line).iter().all(|i| kept.contains(&i.exemplar_track_id)));
    assert!(read::<Label>(line).is_empty(), "labels name who is forgotten");
    // Boxes without a track in shots of the removed person may show that person.
    let shots = read::<Shot>(line);
    for d in read::<Detection>(line).iter().filter(|d| d.track_id.is_none()) {
        assert!(shots.iter().any(|s| (s.first_frame_idx..=s.last_frame_idx).contains(&d.frame_idx)));
    }
}

/// Pictures that are not made from the crops that are still there: the page is made again to know those.
fn without_person(line: &Line, pictures: &BTreeSet<&str>) -> Vec<String> {
    let copied = Line { run_dir: line.run_dir.with_file_name("copy"), ..line.clone() };
    testkit::files::copy(&line.run_dir, &copied.run_dir);
    let forced = Said::of(copied.command("evaluate").args(["--force", "--json"]));
    assert_eq!(forced.code, Some(0));
    let page = fs::read_to_string(copied.run_dir.join("report/index.html")).unwrap();
    let known = self::pictures(&page);
    pictures.iter().filter(|picture| !known.contains(*picture)).map(|p| (*p).to_owned()).collect()
}

/// Other settings would detect the removed person again, so they are refused unless forced.
#[test]
fn a_redacted_person_does_not_come_back() {
    let Some(line) = line("pinned") else { return };
    line.run_all();
    let before = table_hashes(&line.run_dir);
    let Some(done) = task(&["forget", "--run", "RUN", "--identity", "1", "--json"], &line) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let forgotten = table_hashes(&line.run_dir);
    let config = line.run_dir.with_file_name("other.toml");
    fs::write(&config, "[detect-track]\ncrops_per_track = 3\n").unwrap();
    let other = Line { config: Some(config), ..line.clone() };
    let said = other.run("detect-track");
    assert_eq!(said.code, Some(2), "{said:?}");
    let error = said.events("error").next().unwrap();
    let expected =
        format!("the stage `detect-track` would restore what was removed from `{}`", line.run_dir.display());
    assert_eq!(error["message"], expected.as_str());
    assert_eq!(table_hashes(&line.run_dir), forgotten);
    for stage in STAGES {
        assert_eq!(Said::of(line.command(stage).args(["--force", "--json"])).code, Some(0));
    }
    assert_eq!(table_hashes(&line.run_dir), before);
}

#[test]
fn who_is_not_there_cannot_be_forgotten() {
    let Some(line) = line("absent") else { return };
    let Some(done) = task(&["redact", "--run-dir", "RUN", "--identity", "1"], &line) else { return };
    assert_eq!(done.status.code(), Some(3));
    line.run_all();
    let before = hashes(&line.run_dir);
    let done = task(&["redact", "--run-dir", "RUN", "--identity", "99"], &line).unwrap();
    let message = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{message}");
    assert!(message.contains("has no person 99"), "{message}");
    assert_eq!(hashes(&line.run_dir), before);
}

/// The scan sees what it is there for: a row of a forgotten track, put back by hand with a manifest that
/// agrees.
#[test]
fn the_scan_finds_what_is_left() {
    let Some(line) = line("left") else { return };
    line.run_all();
    let clusters = fs::read(line.run_dir.join("clusters.parquet")).unwrap();
    let names: Vec<Cluster> = read(&line);
    let Some(done) = task(&["redact", "--run-dir", "RUN", "--identity", "1"], &line) else { return };
    assert!(done.status.success());
    fs::write(line.run_dir.join("notes.txt"), "mine").unwrap();
    let said = scan(&line);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.warnings()[0].ends_with("notes.txt` does not belong to this run and was not checked"),
        "{said:?}"
    );

    // What a detection that was killed had found is in no table of the manifest; redacting again removes it.
    let checkpoint = line.run_dir.join("checkpoint");
    fs::create_dir(&checkpoint).unwrap();
    fs::copy(line.run_dir.join("crops.parquet"), checkpoint.join("000000-crops.parquet")).unwrap();
    let said = scan(&line);
    assert_eq!(said.code, Some(4), "{said:?}");
    let message = said.events("error").next().unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("checkpoint` still contains unfinished tables"), "{message}");
    assert!(task(&["redact", "--run-dir", "RUN", "--pictures"], &line).unwrap().status.success());
    assert!(!checkpoint.exists());

    // A table that is not the recorded one is no evidence of anything.
    let path = line.run_dir.join("clusters.parquet");
    let good = fs::read(&path).unwrap();
    fs::write(&path, clusters).unwrap();
    assert_eq!(scan(&line).code, Some(4));
    fs::write(&path, good).unwrap();

    // A row of the forgotten person in a table that the manifest vouches for.
    let footer = open::<Cluster>(&path).unwrap().footer().clone();
    let mut writer = TableWriter::<Cluster>::create(&path, &footer).unwrap();
    names.into_iter().for_each(|row| writer.push(row).unwrap());
    writer.finish().unwrap();
    vouch_for(&line.run_dir, "clusters.parquet");
    let said = scan(&line);
    assert_eq!(said.code, Some(4), "{said:?}");
    let message = said.events("error").next().unwrap()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("clusters.parquet` still contains track"), "{message}");
}

/// Makes the manifest agree with a file that was changed.
fn vouch_for(run: &Path, file: &str) {
    let mut manifest = Manifest::read(run).unwrap().unwrap();
    let path = run.join(file);
    let sha256 = hash::file(&path).unwrap();
    for stage in &mut manifest.stages {
        for output in stage.outputs.iter_mut().filter(|output| output.file == file) {
            output.size_bytes = fs::metadata(&path).unwrap().len();
            output.sha256.clone_from(&sha256);
        }
        for input in stage.inputs.iter_mut().filter(|input| format!("{}.parquet", input.name) == file) {
            input.sha256.clone_from(&sha256);
        }
    }
    fs::write(run.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
}

#[test]
fn a_run_without_pictures_keeps_none() {
    let Some(with) = line("with") else { return };
    with.run_all();
    let line = line("without").unwrap();
    let arguments = ["run", "--video", "VIDEO", "--run-dir", "RUN", "--no-crops", "--quiet"];
    let Some(done) = task(&arguments, &line) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(untidy(&line.run_dir), [""; 0]);
    let crops = read::<Crop>(&line);
    assert!(!crops.is_empty() && crops.iter().all(|crop| crop.image.is_none()));
    let page = fs::read_to_string(line.run_dir.join("report/index.html")).unwrap();
    assert!(!page.contains("data:image"), "a picture is on the page");
    // PNG, JPEG: in no file, under whatever name.
    for (name, path) in testkit::files::walk(&line.run_dir, &[]) {
        let bytes = fs::read(path).unwrap();
        for magic in [b"\x89PNG".as_slice(), b"\xff\xd8\xff"] {
            assert!(!bytes.windows(magic.len()).any(|w| w == magic), "{name} contains a picture");
        }
    }
    assert_eq!(read::<Embedding>(&line), read::<Embedding>(&with));
    assert_eq!(read::<Cluster>(&line), read::<Cluster>(&with));
    let before = hashes(&line.run_dir);
    let again = task(&arguments, &line).unwrap();
    assert!(again.status.success());
    assert_eq!(hashes(&line.run_dir), before);
    // Other vectors need the pictures, which are gone.
    let config = line.run_dir.with_file_name("orb.toml");
    fs::write(&config, "[embed]\nembedders = [\"orb\"]\n").unwrap();
    let said = Line { config: Some(config), ..line.clone() }.run("embed");
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.events("error").next().unwrap()["message"].as_str().unwrap().ends_with("has no image"));
    // And a person can still be forgotten.
    let done = task(&["redact", "--run-dir", "RUN", "--identity", "1"], &line).unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(read::<Embedding>(&line).len() < read::<Embedding>(&with).len());
}
