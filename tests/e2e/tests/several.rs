//! Several videos through `facetrack run`: the test clip cut in two, and a file that is no video.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use run::edits::Log;
use schema::io::read_all;
use schema::tables::{Cluster, Identity, Member, Person, Track, Video};
use serde_json::Value;
use testkit::assets;
use testkit::truth::{self, TrueShot};

use crate::empty_folder;

/// The clip in two parts, and what lies beside them.
pub(crate) struct Parts {
    pub(crate) folder: PathBuf,
    /// Frames of the clip that each part has.
    frames: [Range<i64>; 2],
    shots: Vec<TrueShot>,
}

impl Parts {
    /// Cuts the clip where the fifth of its nine shots begins: both people are in both parts.
    pub(crate) fn cut(name: &str) -> Option<Self> {
        let clip = assets::require("FACETRACK_CLIP")?;
        assets::require("FACETRACK_WEIGHTS_DIR")?;
        assets::require_encoder("libx264")?;
        let shots = truth::shots(&clip)?;
        let (cut, end) = (shots[4].frames.start, shots.last()?.frames.end);
        let folder = empty_folder("several", name);
        fs::create_dir_all(folder.join("videos")).unwrap();
        let parts = Self { folder, frames: [0..cut, cut..end], shots };
        for (name, frames) in ["one", "two"].iter().zip(&parts.frames) {
            let select =
                format!("select='between(n,{},{})',setpts=PTS-STARTPTS", frames.start, frames.end - 1);
            let mut ffmpeg = assets::require_ffmpeg()?;
            ffmpeg.arg("-i").arg(&clip).args(["-an", "-vf", &select, "-c:v", "libx264", "-crf", "16"]);
            assert!(ffmpeg.arg(parts.video(name)).status().unwrap().success());
        }
        Some(parts)
    }

    fn video(&self, name: &str) -> PathBuf {
        self.folder.join("videos").join(format!("{name}.mp4"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = assets::require_facetrack(&["run", "--run-dir"]).unwrap();
        command.arg(self.folder.join("runs")).args(arguments);
        command.output().unwrap()
    }

    /// The person of each `person_id`, from the shots that show one person only.
    pub(crate) fn people(&self) -> BTreeMap<i64, BTreeSet<String>> {
        let runs = self.folder.join("runs");
        let mut people: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        for (name, frames) in ["one", "two"].iter().zip(&self.frames) {
            let run = runs.join(name);
            let video_id = read_all::<Video>(&run.join("videos.parquet")).unwrap()[0].video_id.clone();
            let clusters = read_all::<Cluster>(&run.join("clusters.parquet")).unwrap();
            let members: BTreeMap<_, _> = members(&runs.join("library"))
                .into_iter()
                .filter(|row| row.video_id == video_id)
                .map(|row| (row.cluster_id, row.person_id))
                .collect();
            for track in read_all::<Track>(&run.join("tracks.parquet")).unwrap() {
                let at = track.first_frame_idx + frames.start;
                let shot = self.shots.iter().find(|shot| shot.frames.contains(&at)).unwrap();
                let cluster = clusters.iter().find(|row| row.track_id == track.track_id).unwrap();
                if let [person] = shot.people.as_slice() {
                    let id = members[&cluster.cluster_id.unwrap()];
                    people.entry(id).or_default().insert(person.clone());
                }
            }
        }
        people
    }
}

pub(crate) fn members(library: &Path) -> Vec<Member> {
    let files = fs::read_dir(library.join("members")).unwrap();
    let mut rows: Vec<Member> = files.flat_map(|file| read_all(&file.unwrap().path()).unwrap()).collect();
    rows.sort_by(|a, b| (a.video_id.as_str(), a.cluster_id).cmp(&(b.video_id.as_str(), b.cluster_id)));
    rows
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn people_have_one_id_in_both_halves_of_a_clip_and_a_bad_file_is_reported() {
    let Some(parts) = Parts::cut("people") else { return };
    let library = parts.folder.join("runs/library");
    fs::write(parts.video("broken"), "no video").unwrap();
    let videos = parts.folder.join("videos");
    let done = parts.run(&["--video", videos.to_str().unwrap()]);
    let said = text(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{said}");
    let people = read_all::<Person>(&library.join("people.parquet")).unwrap();
    assert_eq!(text(&done.stdout).trim(), library.join("people.parquet").to_str().unwrap());
    for line in ["[1/3] broken.mp4: failed: ", "[2/3] one.mp4: 2 people in ", "[3/3] two.mp4: 2 people in "] {
        assert_eq!(said.lines().filter(|found| found.starts_with(line)).count(), 1, "{line}: {said}");
    }
    assert!(said.contains("gallery: 2 people in 2 videos, 2 of them in several videos\n"), "{said}");
    assert!(said.trim_end().ends_with("error: 1 of 3 videos failed: broken.mp4"), "{said}");
    // As many ids as people, and each of one person.
    let shown = parts.people();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(shown.values().all(|people| people.len() == 1), "{shown:?}");
    assert_eq!(people.iter().map(|person| person.n_videos).collect::<Vec<_>>(), [2, 2]);
    let mut validate = assets::require_facetrack(&["validate"]).unwrap();
    let done = validate.arg(&library).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stdout));

    // The good ones again, by a pattern and for a program: nothing changes, and nothing is wrong.
    let pattern = videos.join("[ot]*o.mp4");
    let one = parts.video("one");
    let again = parts.run(&["--json", "--video", one.to_str().unwrap(), pattern.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    assert!(again.stderr.is_empty(), "{}", text(&again.stderr));
    let events: Vec<Value> =
        text(&again.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_kind = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((of_kind("video_started"), of_kind("run_finished"), of_kind("video_failed")), (2, 2, 0));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["figures"]["changed"]), (&"library_finished".into(), &false.into()));
    assert_eq!(read_all::<Person>(&library.join("people.parquet")).unwrap(), people);
}

/// `facetrack` with arguments, of which those that begin with `@` are paths below the folder; exit code and standard
/// error.
pub(crate) fn attempt(parts: &Parts, arguments: &str) -> (i32, String) {
    let mut command = assets::require_facetrack(&[]).unwrap();
    for argument in arguments.split(' ') {
        match argument.strip_prefix('@') {
            Some(path) => command.arg(parts.folder.join(path)),
            None => command.arg(argument),
        };
    }
    let done = command.output().unwrap();
    (done.status.code().unwrap(), text(&done.stderr))
}

/// As [`attempt`], but the program must succeed.
pub(crate) fn facetrack(parts: &Parts, arguments: &str) -> String {
    let (code, stderr) = attempt(parts, arguments);
    assert_eq!(code, 0, "{arguments}: {stderr}");
    stderr
}

/// Names of the people of a run, by `cluster_id`.
fn names(parts: &Parts, run: &str) -> BTreeMap<i64, Option<String>> {
    let path = parts.folder.join("runs").join(run).join("identities.parquet");
    read_all::<Identity>(&path).unwrap().into_iter().map(|row| (row.cluster_id, row.name)).collect()
}

#[test]
fn a_name_reaches_earlier_and_later_videos_and_goes_when_the_person_is_removed() {
    let Some(parts) = Parts::cut("names") else { return };
    fs::rename(parts.video("two"), parts.video("later")).unwrap();
    let one = parts.video("one");
    // A third video with both people: the first part, mirrored.
    let mut ffmpeg = assets::require_ffmpeg().unwrap();
    ffmpeg
        .arg("-i")
        .arg(&one)
        .args(["-vf", "hflip", "-c:v", "libx264", "-crf", "20"])
        .arg(parts.video("two"));
    assert!(ffmpeg.status().unwrap().success());
    let two = parts.video("two");
    let done = parts.run(&["--video", one.to_str().unwrap(), two.to_str().unwrap()]);
    let said = text(&done.stderr);
    assert!(done.status.success() && said.contains("page of the gallery: "), "{said}");
    let library = parts.folder.join("runs/library");
    let person = |run: &str, cluster_id: i64| {
        let path = parts.folder.join("runs").join(run).join("videos.parquet");
        let video_id = read_all::<Video>(&path).unwrap()[0].video_id.clone();
        let rows = members(&library);
        rows.into_iter()
            .find(|row| (&row.video_id, row.cluster_id) == (&video_id, cluster_id))
            .unwrap()
            .person_id
    };
    let ross = person("two", 0);
    let of = |run: &str| -> Vec<i64> {
        names(&parts, run).into_keys().filter(|id| person(run, *id) == ross).collect()
    };

    // A name in the second video; the first one was added before.
    facetrack(&parts, "edits add name @runs/two 1 Ross");
    facetrack(&parts, "library add --library @runs/library --run-dir @runs/two");
    let named = |run: &str| -> Vec<i64> {
        names(&parts, run)
            .into_iter()
            .filter(|(_, name)| name.as_deref() == Some("Ross"))
            .map(|(id, _)| id)
            .collect()
    };
    assert_eq!((named("one"), of("one").len()), (of("one"), 1));
    let page = fs::read_to_string(library.join("index.html")).unwrap();
    assert!(page.contains("Ross") && page.matches("src=\"data:image").count() >= 2);
    // A video that comes later.
    facetrack(&parts, "run @videos/later.mp4 --run-dir @runs --library @runs/library");
    assert_eq!((named("later"), of("later").len()), (of("later"), 1));

    // The same name for two people offers the merge, in a run and in the gallery; an undo takes the name away again.
    let other = person("one", 1 - of("one")[0]);
    let said = facetrack(&parts, &format!("edits add name @runs/library {other} Ross"));
    assert!(said.contains("several people are called `Ross`: `facetrack edits add merge "), "{said}");
    assert_eq!(named("one").len(), 2);
    facetrack(&parts, "edits undo @runs/library");
    assert_eq!((named("one"), named("two")), (of("one"), vec![0]));

    // One video of a person shows another person; an undo restores the match.
    let before = members(&library);
    facetrack(&parts, "edits add different @runs/library Ross two:1");
    assert_ne!(person("two", 0), ross);
    facetrack(&parts, "edits undo @runs/library");
    assert_eq!(members(&library), before);

    // A person who is removed from the run that gave the name loses the name everywhere.
    facetrack(&parts, "redact --run-dir @runs/two --identity 1");
    assert!(named("one").is_empty() && named("two").is_empty());
    let people = read_all::<Person>(&library.join("people.parquet")).unwrap();
    assert!(people.iter().all(|person| person.name.is_none()));
    // Of the corrections with the name, only the undone one about the other person is left.
    for (root, n_left) in [("one", 0), ("later", 0), ("two", 1), ("library", 1)] {
        let log = Log::open(&parts.folder.join("runs").join(root)).unwrap();
        let left = log.entries().iter().filter(|entry| entry.edit.name.is_some());
        let left: Vec<bool> = left.map(|entry| log.is_undone(entry.edit_id)).collect();
        assert_eq!(left, vec![true; n_left], "{root}");
    }
    assert!(!fs::read_to_string(library.join("index.html")).unwrap().contains("Ross"));
    facetrack(&parts, "validate @runs/library");
}

#[test]
fn corrections_of_a_gallery_go_to_another_one_and_teach_linking() {
    let Some(parts) = Parts::cut("corrections") else { return };
    let videos = parts.folder.join("videos");
    assert!(parts.run(&["--video", videos.to_str().unwrap()]).status.success());
    let ids = |library: &str| -> BTreeMap<(String, i64), i64> {
        let rows = members(&parts.folder.join("runs").join(library)).into_iter();
        rows.map(|row| ((row.video_id.to_string(), row.cluster_id), row.person_id)).collect()
    };
    let n_people = |library: &str| ids(library).into_values().collect::<BTreeSet<_>>().len();
    let start = ids("library");
    assert_eq!(n_people("library"), 2);
    facetrack(&parts, "edits add name @runs/library one:1 Ross");
    facetrack(&parts, "edits add different @runs/library one:2 two:2");
    facetrack(&parts, "edits export @runs/library --out @all.json");
    facetrack(&parts, "edits export @runs/library --to csv --out @all.csv");
    assert_eq!(n_people("library"), 3);

    // Another gallery of the same runs, from both formats: once each.
    for (library, file) in [("other", "all.json"), ("third", "all.csv")] {
        facetrack(
            &parts,
            &format!("library build --library @runs/{library} --run-dir @runs/one --run-dir @runs/two"),
        );
        assert_eq!(n_people(library), 2);
        let import = format!("edits import @runs/{library} @{file}");
        assert!(facetrack(&parts, &import).contains("imported 2 corrections"));
        assert_eq!(n_people(library), 3);
        let log = Log::open(&parts.folder.join("runs").join(library)).unwrap();
        let again = facetrack(&parts, &import);
        assert!(again.contains("imported 0 corrections"), "{again}");
        let same = Log::open(&parts.folder.join("runs").join(library)).unwrap();
        assert_eq!(same.entries(), log.entries());
        facetrack(&parts, &format!("validate @runs/{library}"));
    }
    // A gallery that lacks a run lists what does not land, which lands when the run is added.
    facetrack(&parts, "library build --library @runs/half --run-dir @runs/one");
    let said = facetrack(&parts, "edits import @runs/half @all.json");
    let expected = "warning: correction 2 (different) is not applied: no run of the gallery shows the faces";
    assert!(said.contains(expected) && said.contains("imported 2 corrections"), "{said}");
    facetrack(&parts, "library add --library @runs/half --run-dir @runs/two");
    assert_eq!(n_people("half"), 3);
    // A run takes what is about its own faces.
    facetrack(&parts, "edits undo @runs/one");
    assert!(names(&parts, "one").values().all(Option::is_none));
    let said = facetrack(&parts, "edits import @runs/one @all.json");
    assert!(said.contains("corrections left out, because they need faces of other videos: 1"), "{said}");
    assert!(said.contains("imported 1 correction of"), "{said}");
    assert_eq!(names(&parts, "one").values().flatten().collect::<Vec<_>>(), ["Ross"]);
    // A gallery takes no corrections of tracks.
    facetrack(&parts, "edits add lock @runs/one 1 --no-apply");
    facetrack(&parts, "edits export @runs/one --out @one.json");
    let said = facetrack(&parts, "edits import @runs/half @one.json");
    assert!(
        said.contains("corrections left out, because they are about tracks of a run (lock): 1"),
        "{said}"
    );
    fs::write(parts.folder.join("pairs.csv"), "track_a,track_b,kind\n0,1,must_link\n").unwrap();
    let (code, said) = attempt(&parts, "edits import @runs/half @pairs.csv");
    assert!(code == 2 && said.contains("has track numbers, which are valid in one run only"), "{said}");

    // Linking again keeps the people apart after an undo, and lists what would change before it changes.
    let said = facetrack(&parts, "edits relink @runs/library");
    assert!(said.contains("0 of 4 people of the runs change their person"), "{said}");
    facetrack(&parts, "edits undo @runs/library");
    assert_eq!(n_people("library"), 3);
    let apart = members(&parts.folder.join("runs/library"));
    let said = facetrack(&parts, "edits relink @runs/library --dry-run");
    assert!(said.contains("1 of 4 people of the runs change their person"), "{said}");
    assert_eq!(members(&parts.folder.join("runs/library")), apart);
    facetrack(&parts, "edits relink @runs/library");
    assert_eq!(ids("library"), start);
    facetrack(&parts, "validate @runs/library");

    // The log is checked, too.
    fs::remove_file(parts.folder.join("runs/other/edit_anchors.parquet")).unwrap();
    let (code, said) = attempt(&parts, "validate @runs/other");
    assert!(code == 4 && said.contains("found 2 faults"), "{said}");
}

#[test]
fn the_videos_of_a_series_are_linked_together() {
    let Some(parts) = Parts::cut("series") else { return };
    let videos = parts.folder.join("videos");
    let run = |more: &[&str]| parts.run(&[&["--series", "--video", videos.to_str().unwrap()], more].concat());
    let people = |name: &str| -> BTreeMap<i64, Option<String>> {
        let rows: Vec<Identity> =
            read_all(&parts.folder.join("runs").join(name).join("identities.parquet")).unwrap();
        rows.into_iter().map(|row| (row.cluster_id, row.series_uid)).collect()
    };
    let keys = |name: &str| people(name).into_values().collect::<BTreeSet<_>>();
    let done = run(&[]);
    let said = text(&done.stderr);
    assert!(done.status.success(), "{said}");
    for line in ["[1/2] one.mp4: 2 people in ", "[2/2] two.mp4: 2 people in "] {
        assert_eq!(said.lines().filter(|found| found.starts_with(line)).count(), 1, "{line}: {said}");
    }
    let shown = parts.people();
    assert!(shown.len() == 2 && shown.values().all(|people| people.len() == 1), "{shown:?}");
    assert_eq!((keys("one").len(), keys("one").contains(&None)), (2, false));
    assert_eq!(keys("one"), keys("two"));
    // The gallery has the people of the series.
    let library = parts.folder.join("runs/library");
    let person_of: BTreeMap<_, _> =
        members(&library).into_iter().map(|row| (row.series_uid, row.person_id)).collect();
    assert_eq!((person_of.len(), members(&library).len()), (2, 4));
    facetrack(&parts, "validate @runs/one");
    facetrack(&parts, "validate @runs/library");

    // Nothing is left to do; a correction and a name keep the series.
    let again = run(&["--json"]);
    let events: Vec<Value> =
        text(&again.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let finished: Vec<_> = events.iter().filter(|event| event["event"] == "run_finished").collect();
    assert_eq!(finished.len(), 2);
    assert!(finished.iter().all(|event| event["skipped"].as_array().unwrap().len() == 5), "{finished:?}");
    let videos_of = |kind: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["event"] == kind).map(|event| &event["video"]).collect()
    };
    assert_eq!(
        (videos_of("video_started").len(), videos_of("video_started")),
        (2, videos_of("video_continued"))
    );
    facetrack(&parts, "edits add name @runs/two 1 Ross");
    facetrack(&parts, "library add --library @runs/library --run-dir @runs/two");
    assert_eq!(names(&parts, "one").into_values().flatten().collect::<Vec<_>>(), ["Ross"]);
    assert_eq!(keys("one"), keys("two"));
    let (code, said) = attempt(&parts, "edits relink @runs/two");
    assert!(code == 2 && said.contains("is for a run that is linked alone"), "{said}");

    // A run that is gone is left out with a warning; so is one with other vectors.
    facetrack(&parts, "run @videos/two.mp4 --run-dir @runs/two --embedder dlib");
    let linked = "stage cluster --run-dir @runs/one --set cluster.series=['../two','../gone']";
    let said = facetrack(&parts, linked);
    assert!(said.contains("the run `../gone` of the series is missing and is left out"), "{said}");
    assert!(said.contains("of the series has vectors of other embedders and is left out"), "{said}");
    assert_eq!(keys("one"), BTreeSet::from([None]));

    // What cannot be is found before any work.
    let (code, said) = attempt(&parts, "run @videos/one.mp4 --series");
    assert!(code == 2 && said.contains("--series needs several videos"), "{said}");
    let done = run(&["--method", "kmeans"]);
    let said = text(&done.stderr);
    let expected = "the method `kmeans` does not use the setting `series`";
    assert!(done.status.code() == Some(2) && said.contains(expected), "{said}");
}

#[test]
fn a_series_is_migrated_and_loses_a_person_as_a_whole() {
    let Some(parts) = Parts::cut("series-less") else { return };
    let videos = parts.folder.join("videos");
    assert!(parts.run(&["--series", "--video", videos.to_str().unwrap()]).status.success());
    let people = |name: &str| -> Vec<Identity> {
        read_all(&parts.folder.join("runs").join(name).join("identities.parquet")).unwrap()
    };
    let keys = |name: &str| -> BTreeSet<_> {
        people(name).into_iter().map(|row| (row.series_id, row.series_uid)).collect()
    };
    let before = keys("one");
    assert_eq!((before.len(), &before), (2, &keys("two")));
    facetrack(&parts, "library migrate --library @runs/library --embedder dlib");
    let migrated = keys("one");
    assert_eq!(migrated, keys("two"));
    assert!(migrated.iter().all(|key| key.0.is_some() && !before.contains(key)), "{migrated:?}");

    facetrack(&parts, "edits add name @runs/library two:1 Ross");
    facetrack(&parts, "redact --library @runs/library --person Ross");
    assert_eq!((people("one").len(), people("two").len()), (1, 1));
    assert_eq!((keys("one").len(), keys("one")), (1, keys("two")));
    assert!(keys("one").is_disjoint(&migrated), "linked again, by the vectors that are left");
    // A person who is removed from one run: the other is linked again, too.
    let [before] = keys("two").into_iter().collect::<Vec<_>>().try_into().unwrap();
    facetrack(&parts, "redact --run-dir @runs/one --identity 1");
    assert!(people("one").is_empty());
    let row = people("two").remove(0);
    assert_ne!((row.series_id, row.series_uid), before);
    facetrack(&parts, "validate @runs/two");
}

#[test]
fn a_run_keeps_its_embedder_when_another_method_links() {
    let Some(parts) = Parts::cut("embedder") else { return };
    facetrack(&parts, "run @videos/one.mp4 --run-dir @runs/one --embedder dlib");
    let stderr = facetrack(&parts, "run @videos/one.mp4 --run-dir @runs/one --method kmeans --k 2");
    assert!(stderr.contains("embed: up to date"), "{stderr}");
}

#[test]
fn contradictory_arguments_are_refused_before_the_first_stage() {
    let Some(program) = assets::require_program("facetrack") else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("several_usage");
    fs::create_dir_all(folder.join("empty")).unwrap();
    for file in ["a/x.mkv", "b/x.mkv", "library.mkv", "labels.csv"] {
        fs::create_dir_all(folder.join(file).parent().unwrap()).unwrap();
        fs::write(folder.join(file), "x").unwrap();
    }
    let cases = [
        (
            &["a/x.mkv", "library.mkv", "--labels", "labels.csv"][..],
            2,
            "--labels, --edits and --annotate require a single video",
        ),
        (&["empty"], 3, "contains no video"),
        (&["*.avi"], 3, "no file matches `*.avi`"),
    ];
    for (arguments, code, message) in cases {
        let mut command = Command::new(&program);
        let done = command.args(["run", "--video"]).args(arguments).current_dir(&folder).output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{arguments:?}: {}", text(&done.stderr));
        assert!(text(&done.stderr).contains(message), "{arguments:?}: {}", text(&done.stderr));
        assert!(!folder.join("runs").exists(), "{arguments:?}");
    }
}
