//! Files of other services and tools: what is read of them, what is left out, and whom they name in a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use schema::Row;
use schema::io::read_all;
use schema::tables::{Appearance, Cluster, Detection, Frame, Identity, Video};
use serde_json::{Value, json};
use testkit::assets;
use testkit::files::{repository, walk};
use testkit::snapshot;
use testkit::synthetic_run::{self, must};

use crate::empty_folder;

fn folder(name: &str) -> PathBuf {
    empty_folder("imports", name)
}

/// A finished run of synthetic people, 640 × 360 pixels at 25 frames per second.
fn finished(name: &str) -> Option<PathBuf> {
    Some(synthetic_run::finished("tracks = 40\nseed = 4\n", &folder(name))?.run)
}

/// Exit code, standard output and standard error of `import`, with the folder of the file left out.
fn import(from: &str, file: &Path, arguments: &[&str]) -> Option<(i32, String, String)> {
    let mut command = assets::require_facetrack(&["import", "--from", from, "--labels"])?;
    let done = command.arg(file).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&format!("{}/", file.parent().unwrap().display()), "")
    };
    Some((done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr)))
}

/// The format of a sample, by the beginning of its name.
fn format_of(sample: &str) -> &'static str {
    let formats = [
        ("azure", "azure-video-indexer"),
        ("google", "google-video-intelligence"),
        ("mmif", "mmif"),
        ("pyannote", "pyannote"),
        ("rekognition", "rekognition"),
    ];
    formats.iter().find(|(beginning, _)| sample.starts_with(beginning)).unwrap().1
}

#[test]
fn samples_are_read_and_what_is_left_out_is_counted() {
    let Some(run) = finished("samples") else { return };
    let samples = walk(&repository().join("crates/formats/samples"), &[]);
    let mut text = String::new();
    for (name, path) in samples.into_iter().filter(|(name, _)| name != "README.md") {
        let from = format_of(&name);
        for run_dir in [None, run.to_str()] {
            let option = run_dir.map_or(vec![], |run_dir| vec!["--run-dir", run_dir]);
            let Some((code, out, said)) = import(from, &path, &option) else { return };
            let with = if run_dir.is_some() { " --run-dir RUN" } else { "" };
            text += &format!("## {name} --from {from}{with}: exit {code}\n{out}{said}\n");
        }
    }
    snapshot::assert_matches("imports.txt", &text);
}

#[test]
fn files_that_are_not_of_the_format_are_refused() {
    let folder = folder("refused");
    let cases = [
        ("rekognition", "{", "line 1: failed to parse the JSON"),
        (
            "rekognition",
            r#"{"JobStatus": "IN_PROGRESS"}"#,
            "the job has the status `IN_PROGRESS`, not `SUCCEEDED`",
        ),
        ("rekognition", "{}", "the file has none of the lists `Persons`, `Celebrities` and `Faces`"),
        ("rekognition", r#"{"Persons": []}"#, "hint: pass a run of the video with --run-dir"),
        ("google-video-intelligence", "{}", "the file has no `annotationResults`"),
        ("azure-video-indexer", r#"{"videos": []}"#, "the file is about 0 videos, not about one"),
        ("pyannote", "nothing", "the file has no line of the type SPEAKER"),
        ("pyannote", "SPEAKER a 1 x 2 <NA> <NA> ida\n", "line 1: `onset`: \"x\" is not a number"),
        (
            "mmif",
            r#"{"metadata": {}, "documents": [], "views": []}"#,
            "the file is about 0 videos, not about one",
        ),
    ];
    for (from, content, expected) in cases {
        let file = folder.join("file");
        fs::write(&file, content).unwrap();
        let Some((code, out, said)) = import(from, &file, &[]) else { return };
        assert_eq!((code, out.as_str()), (3, ""), "{from} {content}: {said}");
        assert!(said.contains(expected), "{from} {content}: {said}");
    }
    let Some((code, _, said)) = import("pyannote", &folder.join("file"), &["--to", "edits"]) else { return };
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("--run-dir"), "{said}");
}

/// What another tool says of a run, made of the tables of the run.
struct Said {
    run: PathBuf,
    /// Names that are given to people, by cluster; others are not known.
    names: BTreeMap<i64, &'static str>,
    frames: Vec<Frame>,
    boxes: Vec<(Detection, Option<&'static str>)>,
    appearances: Vec<Appearance>,
}

impl Said {
    fn new(name: &str) -> Option<Self> {
        let run = finished(name)?;
        let read = |path: &str| run.join(path);
        let names: BTreeMap<i64, _> = [(0, "Ida Berg"), (1, "Bo Falk")].into();
        let clusters: BTreeMap<i64, Option<i64>> = read_all::<Cluster>(&read("clusters.parquet"))
            .unwrap()
            .iter()
            .map(|row| (row.track_id, row.cluster_id))
            .collect();
        let boxes = read_all::<Detection>(&read("detections.parquet")).unwrap().into_iter().map(|row| {
            let cluster = row.track_id.and_then(|track| clusters[&track]);
            (row, cluster.and_then(|cluster| names.get(&cluster).copied()))
        });
        let boxes = boxes.collect();
        let frames = read_all(&read("frames.parquet")).unwrap();
        let appearances = read_all(&read("appearances.parquet")).unwrap();
        Some(Self { names, frames, boxes, appearances, run })
    }

    fn t_secs(&self, frame_idx: i64) -> f64 {
        self.frames[usize::try_from(frame_idx).unwrap()].t_secs
    }

    /// Left, top, width and height in shares of the frame, a little off.
    fn share(row: &Detection) -> [f32; 4] {
        [
            (row.x_min + 2.0) / 640.0,
            (row.y_min - 1.0) / 360.0,
            (row.x_max - row.x_min) / 640.0,
            (row.y_max - row.y_min) / 360.0,
        ]
    }

    fn rekognition(&self) -> Value {
        let seen = self.boxes.iter().filter_map(|(row, name)| {
            let [left, top, width, height] = Self::share(row);
            let bbox = json!({ "Left": left, "Top": top, "Width": width, "Height": height });
            let timestamp = (self.t_secs(row.frame_idx) * 1e3).round();
            let celebrity = json!({ "Name": (*name)?, "Id": "x", "Face": { "BoundingBox": bbox } });
            Some(json!({ "Timestamp": timestamp, "Celebrity": celebrity }))
        });
        let video = json!({ "FrameRate": 25.0, "FrameWidth": 640, "FrameHeight": 360 });
        let seen: Vec<_> = seen.collect();
        json!({ "JobStatus": "SUCCEEDED", "VideoMetadata": video, "Celebrities": seen })
    }

    fn google(&self) -> Value {
        let tracks = self.names.values().map(|name| {
            let objects = self.boxes.iter().filter(|(_, of)| of == &Some(*name)).map(|(row, _)| {
                let [left, top, width, height] = Self::share(row);
                let edges = json!({ "left": left, "top": top, "right": left + width, "bottom": top + height });
                json!({ "timeOffset": format!("{:.6}s", self.t_secs(row.frame_idx)), "normalizedBoundingBox": edges })
            });
            let objects: Vec<_> = objects.collect();
            let candidates = json!([{ "celebrity": { "displayName": name }, "confidence": 0.7 }]);
            json!({ "celebrities": candidates, "faceTrack": { "timestampedObjects": objects } })
        });
        let tracks: Vec<_> = tracks.collect();
        json!({ "annotationResults": [{ "celebrityRecognitionAnnotations": { "celebrityTracks": tracks } }] })
    }

    /// Start and end of the appearances of a person, seconds; a little off.
    fn times(&self, cluster: i64) -> Vec<(f64, f64)> {
        let own = self.appearances.iter().filter(|row| row.cluster_id == cluster);
        own.map(|row| (self.t_secs(row.first_frame_idx) + 0.01, self.t_secs(row.last_frame_idx) + 0.05))
            .collect()
    }

    fn azure(&self) -> Value {
        let clock = |secs: f64| format!("0:{:02}:{:05.2}", secs as u64 / 60, secs % 60.0);
        let face = |(cluster, name): (&i64, &&str)| {
            let instance = |(start, end)| json!({ "start": clock(start), "end": clock(end) });
            json!({ "name": name, "instances": self.times(*cluster).into_iter().map(instance).collect::<Vec<_>>() })
        };
        let faces: Vec<_> = self.names.iter().map(face).collect();
        json!({ "videos": [{ "insights": { "faces": faces } }] })
    }

    fn rttm(&self) -> String {
        let line = |name: &str, (start, end): (f64, f64)| {
            let name = name.replace(' ', "_");
            format!("SPEAKER film 1 {start:.3} {:.3} <NA> <NA> {name} <NA> <NA>\n", end - start)
        };
        self.names
            .iter()
            .flat_map(|(id, name)| self.times(*id).into_iter().map(move |time| line(name, time)))
            .collect()
    }

    /// Imports a file as corrections and applies these; returns the names of the run.
    fn named(&self, from: &str, content: &str) -> Option<(BTreeMap<i64, String>, String)> {
        let file = self.run.with_file_name("said");
        fs::write(&file, content).unwrap();
        let edits = self.run.with_file_name("edits.json");
        let to_edits = ["--to", "edits", "--run-dir", self.run.to_str()?, "--out", edits.to_str()?];
        let (code, _, said) = import(from, &file, &to_edits)?;
        assert_eq!(code, 0, "{from}: {said}");
        must(assets::require_facetrack(&["edits", "import"])?.arg(&self.run).arg(&edits));
        let people = read_all::<Identity>(&self.run.join("identities.parquet")).unwrap();
        Some((people.into_iter().filter_map(|row| Some((row.cluster_id, row.name?))).collect(), said))
    }
}

#[test]
fn names_of_faces_reach_the_people_of_a_run() {
    for from in ["rekognition", "google-video-intelligence"] {
        let Some(said) = Said::new(from) else { return };
        let content = if from == "rekognition" { said.rekognition() } else { said.google() };
        let Some((names, message)) = said.named(from, &content.to_string()) else { return };
        let expected = said.names.iter().map(|(id, name)| (*id, (*name).to_owned()));
        assert_eq!(names, expected.collect(), "{from}: {message}");
    }
}

/// Ida is on screen when no other person is. Bo's times fit another person nearly as well.
#[test]
fn names_with_times_reach_the_people_whom_they_clearly_fit() {
    for (from, ida) in [("azure-video-indexer", "Ida Berg"), ("pyannote", "Ida_Berg")] {
        let Some(said) = Said::new(from) else { return };
        let content = if from == "pyannote" { said.rttm() } else { said.azure().to_string() };
        let Some((names, message)) = said.named(from, &content) else { return };
        assert_eq!(names, [(0, ida.to_owned())].into(), "{from}: {message}");
        assert!(message.contains("names that fit no person of the run: 1, such as `Bo"), "{message}");
        assert_eq!(message.contains("speakers are voices"), from == "pyannote", "{message}");
    }
}

/// A name that fits two people fits none, a number is no name, and a person keeps a name.
#[test]
fn doubtful_names_are_left_out_and_counted() {
    let Some(said) = Said::new("doubtful") else { return };
    must(assets::require_facetrack(&["edits", "add", "name"]).unwrap().arg(&said.run).args(["1", "Eva"]));
    let mut content = said.rekognition();
    let list = content["Celebrities"].as_array_mut().unwrap();
    // Every second face of Bo has another name, and the first of them a third.
    let mut of_bo: Vec<_> = list.iter_mut().filter(|seen| seen["Celebrity"]["Name"] == "Bo Falk").collect();
    of_bo[0]["Celebrity"]["Name"] = json!("Cy");
    of_bo.iter_mut().skip(1).step_by(2).for_each(|seen| seen["Celebrity"]["Name"] = json!("Dag"));
    // A face beside all others.
    let mut far = list[0].clone();
    far["Celebrity"]["Face"]["BoundingBox"] =
        json!({ "Left": 0.0, "Top": 0.0, "Width": 0.01, "Height": 0.01 });
    list.push(far);
    let Some((names, message)) = said.named("rekognition", &content.to_string()) else { return };
    assert_eq!(names, [(0, "Eva".to_owned())].into());
    let named = said.boxes.iter().filter(|(_, name)| name.is_some()).count() + 1;
    for expected in [
        format!("named faces that meet no person of the run: 1 of {named}"),
        "people whose faces have several names and none for more than half: 1".into(),
        "names that fit no person of the run: 3, such as `Bo Falk`".into(),
        "people of the run who have another name, which they keep: 1".into(),
        "0 of ".into(),
    ] {
        assert!(message.contains(&expected), "{expected}: {message}");
    }
}

/// A run in MMIF names the people of another run of the same video.
#[test]
fn names_in_mmif_come_back() {
    let Some(named) = Said::new("mmif-named") else { return };
    for (cluster, name) in &named.names {
        let mut add = assets::require_facetrack(&["edits", "add", "name"]).unwrap();
        must(add.arg(&named.run).args([&(cluster + 1).to_string(), *name]));
    }
    let mut export = assets::require_facetrack(&["export", "--to", "mmif", "--run-dir"]).unwrap();
    let content = must(export.arg(&named.run));
    let Some(plain) = Said::new("mmif-plain") else { return };
    let video =
        |said: &Said| read_all::<Video>(&said.run.join(Video::TABLE.file_name())).unwrap()[0].sha256.clone();
    assert_eq!(video(&named), video(&plain));
    let Some((names, _)) = plain.named("mmif", &content) else { return };
    let own = plain.names.iter().map(|(id, name)| (*id, (*name).to_owned()));
    assert_eq!(names, own.collect());
}
