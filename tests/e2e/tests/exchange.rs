//! `validate` reports faults of tables; other tools read what `export` writes; `import` reads their labels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use schema::Row;
use schema::footer::{Footer, Picture};
use schema::io::{TableWriter, open, read_all, write_all};
use schema::tables::{
    Appearance, Cluster, Constraint, Detection, Edit, EditAnchor, Embedding, Frame, Identity, Label, Linkage,
    Metric, Person, Shot, Track, TrackEmbedding, Video,
};
use testkit::assets;
use testkit::files::{copy, repository, walk};
use testkit::line::Line;
use testkit::synthetic_run::{self, SyntheticRun, must};

use crate::empty_folder;

const FORMATS: [&str; 11] =
    ["csv", "mot", "coco", "cvat", "webvtt", "rttm", "otio", "appearances-csv", "edl", "mmif", "xmp"];

fn folder(name: &str) -> PathBuf {
    empty_folder("exchange", name)
}

fn exchange() -> Option<Command> {
    assets::require_facetrack(&[])
}

/// Exit code, and the faults with the folder left out.
fn validate(path: &Path, folder: &Path) -> Option<(Option<i32>, Vec<String>)> {
    let done = exchange()?.arg("validate").arg(path).output().unwrap();
    let prefix = format!("{}/", folder.display());
    let said = String::from_utf8(done.stdout).unwrap();
    Some((done.status.code(), said.lines().map(|line| line.replace(&prefix, "")).collect()))
}

/// A small made-up run: a dozen people, some together.
fn small(name: &str) -> Option<SyntheticRun> {
    synthetic_run::finished("tracks = 40\nseed = 4\n", &folder(name))
}

#[test]
fn runs_are_as_they_should_be() {
    for dataset in ["none", "one", "two", "identical", "constrained"] {
        let Some(made) = synthetic_run::finished(&synthetic_run::recipe(dataset), &folder(dataset)) else {
            return;
        };
        assert_eq!(validate(&made.run, &made.run), Some((Some(0), vec![])), "{dataset}");
        assert_eq!(
            validate(&made.run.join("tracks.parquet"), &made.run),
            Some((Some(0), vec![])),
            "{dataset}"
        );
    }
}

#[test]
fn a_table_that_a_stage_did_not_write_is_reported() {
    let Some(made) = small("changed") else { return };
    let path = made.run.join("tracks.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"x");
    fs::write(&path, bytes).unwrap();
    let Some((code, faults)) = validate(&made.run, &made.run) else { return };
    assert_eq!(code, Some(4));
    assert!(
        faults[0].starts_with(
            "`tracks.parquet` was changed after its stage wrote it: the content differs from the SHA-256 in the manifest"
        ),
        "{faults:?}"
    );
}

#[test]
fn a_library_is_what_its_videos_add_up_to() {
    let Some(program) = assets::require_program("facetrack") else { return };
    let folder = folder("library");
    let library = folder.join("library");
    for seed in [4, 5] {
        let recipe = format!("tracks = 40\nseed = {seed}\n");
        let Some(made) = synthetic_run::finished(&recipe, &folder.join(format!("run{seed}"))) else { return };
        let mut add = Command::new(&program);
        add.args(["library", "add"]).arg("--library").arg(&library).arg("--run-dir").arg(&made.run);
        assert!(add.output().unwrap().status.success());
    }
    assert_eq!(validate(&library, &library), Some((Some(0), vec![])));
    let people = library.join("people.parquet");
    let members = fs::read_dir(library.join("members")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(validate(&people, &library), Some((Some(0), vec![])));
    assert_eq!(validate(&members, &library), Some((Some(0), vec![])));

    change::<Person>(&library, |rows| {
        rows[1].n_videos += 1;
        rows[2].screen_secs += 1.0;
        rows[3].first_cluster_id = 999;
        rows.remove(0);
    });
    let Some((code, faults)) = validate(&library, &library) else { return };
    assert_eq!(code, Some(4));
    let has = |file: &str, words: &str| {
        let found = faults
            .iter()
            .filter(|fault| fault.starts_with(&format!("`{file}")) && fault.contains(words))
            .count();
        assert_eq!(found, 1, "{file} {words}: {faults:#?}");
    };
    has("people.parquet", "the content differs from the SHA-256 in library.json");
    has("people.parquet", "row 0 of `people` has 2 videos, the sum in `members` is 1");
    has("people.parquet", "row 1 of `people` has");
    has("people.parquet", "row 2 of `people` was first cluster 999 of");
    has("members/", "names person 0, which is not in `people`");
    assert_eq!(faults.len(), 5, "{faults:#?}");

    fs::remove_file(&members).unwrap();
    let Some((code, faults)) = validate(&library, &library) else { return };
    // The table of people, the file that is gone, and rows whose person is no longer in the table.
    let of_rows = faults.iter().filter(|fault| fault.contains("names person 0")).count();
    assert_eq!((code, faults.len() - of_rows), (Some(4), 2), "{faults:#?}");
}

/// Changes rows of one table of a run without a manifest.
fn change<R: Row + Clone>(run: &Path, change: impl FnOnce(&mut Vec<R>)) {
    let path = run.join(R::TABLE.file_name());
    let footer = open::<R>(&path).unwrap().footer().clone();
    let mut rows = read_all::<R>(&path).unwrap();
    change(&mut rows);
    let mut writer = TableWriter::create(&path, &footer).unwrap();
    rows.into_iter().for_each(|row| writer.push(row).unwrap());
    writer.finish().unwrap();
}

/// Declares a picture in the footer of `detections` of a run without a manifest.
fn set_picture(run: &Path, x_min: i64, turn_degrees: i64) {
    let path = run.join(Detection::TABLE.file_name());
    let picture = Picture { x_min, y_min: 0, x_max: 640, y_max: 360, turn_degrees };
    let footer = Footer { picture: Some(picture), ..open::<Detection>(&path).unwrap().footer().clone() };
    let rows = read_all::<Detection>(&path).unwrap();
    write_all(&path, &footer, rows).unwrap();
}

/// Faults that `validate` reports after a change; without the manifest, whose hashes would show the change.
fn faults(run: &Path, name: &str, change: impl FnOnce(&Path)) -> Option<Vec<String>> {
    let copy = folder("broken").join(name);
    fs::create_dir_all(&copy).unwrap();
    for entry in fs::read_dir(run).unwrap().flatten().filter(|e| e.path().extension().is_some()) {
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    fs::remove_file(copy.join("manifest.json")).unwrap();
    change(&copy);
    let (code, faults) = validate(&copy, &copy)?;
    assert_eq!(code, Some(if faults.is_empty() { 0 } else { 4 }), "{name}");
    Some(faults)
}

type Break = fn(&Path);

#[test]
fn each_fault_is_one_line_that_says_where() {
    let Some(made) = small("whole") else { return };
    for correction in ["add lock", "undo"] {
        let Some(mut edits) = exchange() else { return };
        edits.arg("edits").args(correction.split(' ')).arg(&made.run);
        must(edits.args(correction.contains("lock").then_some("1")).arg("--no-apply"));
    }
    let cases: [(&str, Break, &str); 28] = [
        ("nothing", |_| {}, ""),
        ("a picture with bars", |run| set_picture(run, 40, 90), ""),
        (
            "a picture beside the frame",
            |run| set_picture(run, 650, 90),
            "`detections.parquet` is not a `detections` table of facetrack: its footer declares the picture x 650..640, \
             y 0..360, turned by 90 degrees, in a frame of 640 × 360",
        ),
        (
            "a correction without faces",
            |run| change::<EditAnchor>(run, Vec::clear),
            "`edits.parquet`: row 0 of `edits` is correction 1, which has no face in `edit_anchors`",
        ),
        (
            "an undo of nothing",
            |run| change::<Edit>(run, |rows| _ = rows.remove(0)),
            "`edits.parquet`: row 0 of `edits` undoes correction 1, which is not in `edits`",
        ),
        (
            "a face without its first box",
            |run| change::<EditAnchor>(run, |rows| _ = rows.remove(0)),
            "`edit_anchors.parquet`: row 0 of `edit_anchors` has anchor_idx 1, expected 0",
        ),
        (
            "a box before the previous one",
            |run| change::<EditAnchor>(run, |rows| rows[1].t_secs = -1.0),
            "`edit_anchors.parquet`: row 1 of `edit_anchors` is earlier than the previous row of its face",
        ),
        (
            "a box beside the frame",
            |run| change::<Detection>(run, |rows| (rows[3].x_min, rows[3].x_max) = (640.0, 700.0)),
            "`detections.parquet`: row 3 of `detections` has a box outside the frame of 640 × 360: x 640..700, y",
        ),
        (
            "a box of a track that is not there",
            |run| change::<Detection>(run, |rows| rows[0].track_id = Some(999)),
            "`detections.parquet`: row 0 of `detections` names track 999, which is not in `tracks`\n\
             `tracks.parquet`: row 0 of `tracks` has 5 frames, but 4 boxes in `detections`\n\
             `tracks.parquet`: row 0 of `tracks` declares 5 detections, `detections` has 4",
        ),
        (
            "a hole in det_idx",
            |run| change::<Detection>(run, |rows| rows[199].det_idx = 7),
            "`detections.parquet`: row 199 of `detections` has det_idx 7, expected 0",
        ),
        (
            "a frame too many",
            |run| change::<Video>(run, |rows| rows[0].frame_count += 1),
            "`videos.parquet`: row 0 of `videos` declares ",
        ),
        (
            "shots that do not touch",
            |run| change::<Shot>(run, |rows| rows[1].first_frame_idx += 1),
            "`shots.parquet`: row 1 of `shots` has frame ",
        ),
        (
            "a track that leaves its shot",
            |run| change::<Track>(run, |rows| rows[0].shot_idx = 1),
            "`tracks.parquet`: row 0 of `tracks` leaves its shot 1",
        ),
        (
            "a track at another time",
            |run| change::<Track>(run, |rows| rows[2].last_t_secs += 0.5),
            "`tracks.parquet`: row 2 of `tracks` has frame ",
        ),
        (
            "a crop's vector of an unknown embedder",
            |run| change::<Embedding>(run, |rows| rows.last_mut().unwrap().embedder = "other".into()),
            "`embeddings.parquet`: row 79 of `embeddings` has the embedder `other`, which is not in the footer\n\
             `track_embeddings.parquet`: row 39 of `track_embeddings` is pooled from 2 crops, `embeddings` has 1",
        ),
        (
            "a pooled vector of too many crops",
            |run| change::<TrackEmbedding>(run, |rows| rows[5].n_crops = 3),
            "`track_embeddings.parquet`: row 5 of `track_embeddings` is pooled from 3 crops, `embeddings` has 2",
        ),
        (
            "a constraint that claims to hold",
            |run| change::<Constraint>(run, |rows| rows[0].violated = true),
            "`constraints.parquet`: row 0 of `constraints` says violated = true, but `clusters` does not go against it",
        ),
        (
            "a track without a cluster",
            |run| change::<Cluster>(run, |rows| _ = rows.pop()),
            "`tracks.parquet`: row 39 of `tracks` has track 39, which is not in `clusters`",
        ),
        (
            "a cluster that does not exist",
            |run| change::<Cluster>(run, |rows| rows[0].runner_up_cluster_id = Some(888)),
            "`clusters.parquet`: row 0 of `clusters` names cluster 888, which is not in `identities`",
        ),
        (
            "a merge of what is merged",
            |run| change::<Linkage>(run, |rows| rows[1].left = rows[0].left),
            "`linkage.parquet`: row 1 of `linkage` merges node ",
        ),
        (
            "a merge of the wrong size",
            |run| change::<Linkage>(run, |rows| rows[0].size = 9),
            "`linkage.parquet`: row 0 of `linkage` has 9 tracks, its parts have 2",
        ),
        (
            "a person of other tracks",
            |run| change::<Identity>(run, |rows| rows[0].n_tracks += 1),
            "`identities.parquet`: row 0 of `identities` declares ",
        ),
        (
            "an appearance with another track",
            |run| change::<Appearance>(run, |rows| rows[1].n_tracks += 1),
            "`appearances.parquet`: row 1 of `appearances` is not what `tracks`, `clusters` and `frames` say",
        ),
        (
            "a person without the last appearance",
            |run| change::<Appearance>(run, |rows| _ = rows.pop()),
            "`identities.parquet`: row ",
        ),
        (
            "a frame of another duration",
            |run| change::<Frame>(run, |rows| rows[6].duration_secs = Some(7.0)),
            "`frames.parquet`: row 7 of `frames` is 0.0",
        ),
        (
            "a label of no frame",
            |run| change::<Label>(run, |rows| rows[0].frame_idx = Some(12_345)),
            "`labels.parquet`: row 0 of `labels` names frame 12345, which is not in `frames`",
        ),
        (
            "another video",
            |run| change::<Metric>(run, |rows| rows.last_mut().unwrap().video_id = "zzz".into()),
            "`metrics.parquet`: row ",
        ),
        (
            "half a box",
            |run| change::<Label>(run, |rows| rows[1].x_max = None),
            "`labels.parquet`: row 1 of `labels` has an incomplete box",
        ),
    ];
    for (name, broken, expected) in cases {
        let Some(found) = faults(&made.run, name, broken) else { return };
        let begins =
            found.first().is_some_and(|first| first.starts_with(expected.lines().next().unwrap_or("?")));
        let all: Vec<_> = expected.lines().skip(1).collect();
        let others = all.iter().all(|line| found.iter().any(|fault| fault == line));
        assert!(if expected.is_empty() { found.is_empty() } else { begins && others }, "{name}: {found:#?}");
        assert!(found.len() <= 12, "{name}: one mistake, {} faults: {found:#?}", found.len());
    }
}

/// Runs a task of `python/exchange.py`; its complaints are the failure.
fn python(task: &str, arguments: &[&Path]) -> Option<()> {
    let python = assets::require("FACETRACK_PYTHON")?;
    let script = repository().join("tests/python/exchange.py");
    let done = Command::new(python).arg(script).arg(task).args(arguments).output().unwrap();
    assert!(done.status.success(), "{task}: {}", String::from_utf8_lossy(&done.stderr));
    Some(())
}

/// What no writer of ours would write: rows out of order, vectors of other norms, and no end of it.
#[test]
fn reading_goes_on_after_the_first_fault() {
    let Some(made) = small("foreign") else { return };
    let broken = folder("foreign-broken");
    if python("break", &[&made.run.join("track_embeddings.parquet"), &broken.join("t.parquet")]).is_none() {
        return;
    }
    let Some((code, found)) = validate(&broken.join("t.parquet"), &broken) else { return };
    let order = "is not greater than the previous row in the order of video_id, embedder, track_id";
    let expected = [
        "`t.parquet`: row 4 of `track_embeddings` column `embedding` has norm 2, expected 1".to_owned(),
        format!("`t.parquet`: row 8 of `track_embeddings` {order}"),
        "`t.parquet`: row 20 of `track_embeddings` column `embedding` has norm 0, expected 1".to_owned(),
    ];
    let rounded: Vec<_> =
        found.iter().map(|line| line.replace("2.0000000", "2").replace("1.9999999", "2")).collect();
    assert_eq!(code, Some(4));
    assert_eq!(rounded.len(), 3, "{found:#?}");
    assert_eq!(rounded[1], expected[1]);
    assert!(rounded[0].starts_with("`t.parquet`: row 4 of") && rounded[2] == expected[2], "{found:#?}");
}

#[test]
fn what_is_no_table_is_reported() {
    let folder = folder("no-table");
    fs::write(folder.join("x.parquet"), "no").unwrap();
    let Some(mut command) = exchange() else { return };
    let done = command.arg("validate").arg(folder.join("x.parquet")).output().unwrap();
    assert_eq!(done.status.code(), Some(4));
    let Some(mut command) = exchange() else { return };
    let done = command.arg("validate").arg(folder.join("nowhere")).output().unwrap();
    assert_eq!(done.status.code(), Some(3));
}

fn export(run: &Path, into: &Path) -> Option<()> {
    for format in FORMATS {
        let out = into.join(format);
        must(exchange()?.arg("export").arg("--run").arg(run).args(["--to", format]).arg("--out").arg(out));
    }
    Some(())
}

#[test]
fn a_result_replaces_neither_a_video_nor_a_file_of_a_run() {
    let Some(made) = small("outputs") else { return };
    let folder = made.run.parent().unwrap();
    fs::write(folder.join("film.mp4"), "a film").unwrap();
    let to = |verb: &[&str], out: &Path| {
        let mut command = exchange().unwrap();
        command.current_dir(folder).args(verb).arg(&made.run).args(["--to", "csv", "--out"]).arg(out);
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    for verb in [["export", "--run-dir"].as_slice(), &["edits", "export"]] {
        for (out, what) in [
            (folder.join("film.mp4"), "a video"),
            (made.run.join("manifest.json"), "a file of a run or gallery"),
            (made.run.join("tracks.parquet"), "a file of a run or gallery"),
        ] {
            let (code, said) = to(verb, &out);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(&format!("--out would overwrite {what}")), "{said}");
        }
        // A name alone is a file in the present folder, and an earlier result may be replaced.
        for out in [Path::new("people.csv"), Path::new("people.csv"), &made.run.join("people.csv")] {
            assert_eq!(to(verb, out), (Some(0), String::new()));
        }
    }
    assert_eq!(fs::read_to_string(folder.join("film.mp4")).unwrap(), "a film");
    let video = folder.join("film.mp4");
    let mut run = exchange().unwrap();
    let refused = run.args(["run", "--video"]).arg(&video).arg("--stamp").arg(&video).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
}

/// A run, the same run with one track moved, and a run of another video.
#[test]
fn runs_of_one_video_are_compared() {
    let Some(made) = small("compared") else { return };
    let other = folder("compared-other");
    copy(&made.run, &other);
    let mut from = 0;
    change::<Cluster>(&other, |rows| {
        let row = rows.iter_mut().find(|row| row.cluster_id.is_some_and(|id| id > 0)).unwrap();
        from = row.cluster_id.unwrap();
        row.cluster_id = Some(from - 1);
    });
    change::<Identity>(&other, |rows| rows[from as usize - 1].name = Some("Ida".into()));
    let compare = |a: &Path, b: &Path, options: &[&str]| {
        let done = exchange()?.arg("compare").args([a, b]).args(options).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Some((done.status.code(), text(done.stdout), text(done.stderr)))
    };
    let Some((code, said, _)) = compare(&made.run, &made.run, &[]) else { return };
    assert_eq!(code, Some(0));
    assert!(
        said.contains("100.0 % of A and 100.0 % of B") && said.contains("B³ of these faces: 1.000"),
        "{said}"
    );
    assert!(!said.contains("With another person") && !said.contains("Only in"), "{said}");

    let Some((code, said, _)) = compare(&made.run, &other, &["--json"]) else { return };
    assert_eq!(code, Some(0));
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    let boxes = read_all::<Detection>(&made.run.join("detections.parquet")).unwrap();
    let tracked = boxes.iter().filter(|row| row.track_id.is_some()).count();
    assert_eq!((&found["shared_boxes"], &found["boxes"][1]), (&tracked.into(), &tracked.into()));
    assert!(found["b_cubed"]["f1"].as_f64().unwrap() < 1.0, "{found}");
    let moved = found["moved"].as_array().unwrap();
    assert_eq!(moved.len(), 1, "{found}");
    assert_eq!((&moved[0]["a"]["cluster_id"], &moved[0]["b"]["person"]), (&from.into(), &"Ida".into()));
    assert_eq!(moved[0]["tracks"], 1);

    let Some((_, said, _)) = compare(&made.run, &other, &[]) else { return };
    let line = format!("in 1 track: {} in A, Ida in B", Identity::numbered(from));
    assert!(said.contains(&line), "{said}");

    change::<Video>(&other, |rows| rows[0].sha256 = "0".repeat(64));
    let Some((code, said, message)) = compare(&made.run, &other, &[]) else { return };
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(message.contains("are runs of different videos"), "{message}");
}

/// Faces, points and tracks of a real detector.
#[test]
fn other_tools_read_what_we_export() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let Some(line) = Line::on(&clip, &folder("clip").join("r")) else { return };
    line.run_all();
    assert_eq!(validate(&line.run_dir, &line.run_dir), Some((Some(0), vec![])));
    let exports = folder("clip-exports");
    let Some(()) = export(&line.run_dir, &exports) else { return };
    python("formats", &[&line.run_dir, &exports]);
    python("link", &[&line.run_dir]);
}

/// Exports a dataset and reads it; returns the names of its files.
fn dataset(run: &Path, name: &str, options: &[&str]) -> Option<Vec<String>> {
    let out = folder(name).join("dataset");
    let mut command = exchange()?;
    must(
        command
            .arg("export")
            .arg("--run-dir")
            .arg(run)
            .args(["--to", "dataset", "--out"])
            .arg(&out)
            .args(options),
    );
    python("dataset", &[run, &out])?;
    Some(walk(&out, &[]).into_keys().collect())
}

#[test]
fn readers_of_datasets_open_a_run_that_is_given_away() {
    let Some(made) = small("dataset") else { return };
    let Some(files) = dataset(&made.run, "dataset-plain", &[]) else { return };
    let biometric = ["crops", "embeddings", "track_embeddings", "track_views", "link_vectors"];
    for name in biometric.map(|name| format!("{name}.parquet")) {
        assert!(!files.contains(&name), "{name} is in the dataset");
    }
    for name in ["README.md", "croissant.json", "identities.parquet"] {
        assert!(files.iter().any(|file| file == name), "{files:?}");
    }
    assert!(!files.iter().any(|file| file.starts_with("edit") || file.starts_with("manifest")), "{files:?}");
    let all = ["--vectors", "--license", "CC-BY-4.0"];
    let Some(files) = dataset(&made.run, "dataset-vectors", &all) else { return };
    assert!(files.contains(&"track_embeddings.parquet".to_owned()), "{files:?}");
    // Neither a used folder nor a changed table.
    let export = |out: &Path| {
        let mut command = exchange().unwrap();
        command.arg("export").arg("--run-dir").arg(&made.run).args(["--to", "dataset", "--out"]).arg(out);
        let done = command.output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let used = folder("dataset-used");
    fs::write(used.join("a"), "").unwrap();
    let (code, said) = export(&used);
    assert!(code == Some(2) && said.contains("is not an empty folder"), "{said}");
    change::<Track>(&made.run, |rows| rows[0].mean_score = 0.0);
    let (code, said) = export(&folder("dataset-changed"));
    assert!(code == Some(4) && said.contains("was changed after its stage wrote it"), "{said}");
}

/// Pictures, and tables of a real detector.
#[test]
fn readers_of_datasets_open_a_run_of_the_clip() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let Some(line) = Line::on(&clip, &folder("dataset-clip").join("r")) else { return };
    line.run_all();
    let Some(files) = dataset(&line.run_dir, "dataset-pictures", &["--pictures", "--vectors"]) else {
        return;
    };
    assert!(files.contains(&"crops.parquet".to_owned()), "{files:?}");
}

#[test]
fn other_tools_read_what_we_export_of_nothing() {
    let Some(made) = synthetic_run::finished(&synthetic_run::recipe("none"), &folder("export-none")) else {
        return;
    };
    let exports = folder("none-exports");
    let Some(()) = export(&made.run, &exports) else { return };
    python("formats", &[&made.run, &exports]);
}

/// Names that mean something else to every format they get into.
#[test]
fn a_name_stays_a_name_in_every_format() {
    let Some(made) = small("names") else { return };
    change::<Identity>(&made.run, |rows| {
        let name = |id| format!("=1+{id}, \"<b>&amp;\" --> {{\\b1}} <NA>'");
        rows.iter_mut().for_each(|row| row.name = Some(name(row.cluster_id)));
    });
    change::<Video>(&made.run, |rows| rows[0].file_name = "<i> & \"{\\b1}\", =1.mkv".into());
    let exports = folder("names-exports");
    let Some(()) = export(&made.run, &exports) else { return };
    python("formats", &[&made.run, &exports]);
}

/// A run labelled with its own export is perfect, whichever format the labels went through.
#[test]
fn labels_come_back_as_they_went() {
    let Some(made) = small("round-trip") else { return };
    let exports = folder("round-trip-exports");
    let Some(()) = export(&made.run, &exports) else { return };
    for format in ["csv", "mot", "cvat", "coco", "mmif"] {
        let labels = exports.join(format!("{format}.labels.csv"));
        let Some(mut command) = exchange() else { return };
        let import = command.arg("import").args(["--from", format]).arg("--out").arg(&labels);
        must(import.arg("--labels").arg(exports.join(format)));
        let Some(()) = synthetic_run::judge(&made.run, &labels) else { return };
        let metrics = read_all::<Metric>(&made.run.join("metrics.parquet")).unwrap();
        let value =
            |name: &str| metrics.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("{name}")).value;
        for name in ["id_f1", "det_recall", "det_precision", "identity_hota"] {
            assert!((value(name) - 1.0).abs() < 1e-9, "{format}: {name} is {}", value(name));
        }
    }
}

#[test]
fn labels_that_cannot_be_understood_end_with_three() {
    let folder = folder("bad-labels");
    fs::write(folder.join("gt.txt"), "1,2,3\n").unwrap();
    fs::write(folder.join("gt.dat"), "1,2,3\n").unwrap();
    let run = |file: &str| {
        let done = exchange()?.arg("import").arg("--labels").arg(folder.join(file)).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap().replace(&format!("{}/", folder.display()), "");
        Some((done.status.code(), said, done.stdout))
    };
    let message = "error: `gt.txt`, line 1: the row has 3 cells; MOTChallenge has at least 6\n";
    let Some(found) = run("gt.txt") else { return };
    assert_eq!(found, (Some(3), message.to_owned(), vec![]));
    let Some((code, said, _)) = run("gt.dat") else { return };
    assert_eq!(code, Some(2));
    assert!(said.contains("hint: set the format with --from"), "{said}");
}
