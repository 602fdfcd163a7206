//! Situations that users of programs of this kind report, made from the test clip, each with its right outcome.
//!
//! | situation | test |
//! |---|---|
//! | a hole of ten minutes in the times, joined recordings, one frame a second, AVI with B-frames, MXF, narrow pixels in a program stream, a scene coded again | [`people_are_on_screen_as_long_as_in_the_clip`] |
//! | bars, a window in a still frame, flicker, pixels that are not square, a turned picture | `pictures.rs` |
//! | a face in a photo or on a poster | [`a_face_that_never_moves_is_a_still_picture`] |
//! | labels of CVAT for every fifth frame or with a label for each person, CSV of spreadsheets | [`labels_of_other_programs_mean_the_same`] |
//! | one name in two folders, other endings, folders in folders, a name that is not UTF-8, a pipe | [`files_and_folders_are_run_or_listed`] |
//! | corrections after another setting | [`corrections_of_tracks_stay_with_their_faces`], and others in `edits.rs` |
//! | OpenTimelineIO of a rate that no editor has, and of a name with `#` | [`editors_get_a_usual_rate_and_a_url`] |

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use run::manifest::Manifest;
use schema::Row;
use schema::io::read_all;
use schema::tables::{Cluster, Detection, DetectionSource, Identity, Metric, Track, Video};
use serde_json::Value;
use testkit::assets;
use testkit::line::Line;

use crate::empty_folder;

/// Seconds that are taken of the clip: a shot of one person, and one of another from 2.8 s to 5.4 s.
const SECS: &str = "5.4";
/// Frames in these seconds.
const FRAMES: i64 = 135;
const H264: [&str; 4] = ["-c:v", "libx264", "-crf", "12"];

fn folder(name: &str) -> PathBuf {
    empty_folder("cases", name)
}

/// Makes a video of the beginning of the clip, from `start` seconds on, with arguments of `ffmpeg`.
fn make(path: &Path, start: &str, secs: &str, arguments: &[&str]) -> Option<()> {
    let clip = assets::require("FACETRACK_CLIP")?;
    let mut ffmpeg = assets::require_ffmpeg()?;
    ffmpeg.args(["-ss", start, "-t", secs, "-i"]).arg(clip).arg("-an").args(arguments).arg(path);
    assert!(ffmpeg.status().unwrap().success(), "{arguments:?}");
    Some(())
}

/// A finished run.
struct Found {
    line: Line,
    warnings: Vec<String>,
}

impl Found {
    fn new(video: &Path) -> Option<Self> {
        let line = Line::on(video, &video.with_file_name("run"))?;
        let said = line.run_all();
        let warnings = said.iter().flat_map(|(_, said)| said.warnings()).map(str::to_owned).collect();
        Some(Self { line, warnings })
    }

    fn of_clip(name: &str, arguments: &[&str]) -> Option<Self> {
        let video = folder(name).join(name);
        make(&video, "0", SECS, arguments)?;
        Self::new(&video)
    }

    fn read<R: Row + Clone>(&self) -> Vec<R> {
        read_all(&self.line.run_dir.join(R::TABLE.file_name())).unwrap()
    }

    /// Seconds on screen of each person, the longest first.
    fn screen_secs(&self) -> Vec<f64> {
        self.read::<Identity>().iter().map(|person| person.screen_secs).collect()
    }

    /// Number of frames in which the detector looked for faces and found some.
    fn n_looks(&self) -> usize {
        let mut looks: Vec<_> = self.read::<Detection>();
        looks.retain(|row| row.source == DetectionSource::Detected);
        looks.dedup_by_key(|row| row.frame_idx);
        looks.len()
    }

    fn duration(&self) -> f64 {
        self.read::<Video>()[0].duration_secs
    }

    fn export(&self, format: &str) -> String {
        let mut command = Command::new(&self.line.program);
        let done =
            command.arg("export").arg("--run-dir").arg(&self.line.run_dir).args(["--to", format]).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn assert_people(&self, name: &str, expected: &[f64]) {
        let found = self.screen_secs();
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.13);
        assert!(found.len() == expected.len() && near, "{name}: {found:?}, expected {expected:?}");
    }
}

#[test]
fn people_are_on_screen_as_long_as_in_the_clip() {
    let Some(plain) = Found::of_clip("plain.mkv", &H264) else { return };
    let secs = plain.screen_secs();
    plain.assert_people("plain", &[2.8, 2.6]);
    assert_eq!(plain.warnings, [""; 0]);

    let mpeg2 = ["-c:v", "mpeg2video", "-q:v", "3"];
    for (name, arguments) in [
        ("bframes.avi", ["-c:v", "mpeg4", "-q:v", "2", "-bf", "2", "-vtag", "XVID"].as_slice()),
        ("film.mxf", &[&["-vf", "scale=1440:1080,setsar=4/3"], mpeg2.as_slice()].concat()),
        ("narrow.mpg", &[&["-vf", "scale=352:576,setsar=24/11"], mpeg2.as_slice()].concat()),
        ("again.mp4", &["-c:v", "libx264", "-crf", "23"]),
        ("hevc.mp4", &["-c:v", "libx265", "-crf", "24", "-x265-params", "log-level=error"]),
    ] {
        let Some(found) = Found::of_clip(name, arguments) else { return };
        assert_eq!(found.warnings, [""; 0], "{name}");
        assert_eq!(found.read::<Video>()[0].frame_count, FRAMES, "{name}");
        found.assert_people(name, &secs);
    }

    // Each person is cut in two by ten minutes without a picture.
    let hole = "setpts='PTS+if(gte(N,100),600/TB,0)'";
    let hole = ["-vf", hole, "-fps_mode", "vfr", "-enc_time_base", "1/1000"];
    let Some(found) = Found::of_clip("hole.mkv", &[hole.as_slice(), &H264].concat()) else { return };
    found.assert_people("hole", &secs);
    assert!((found.duration() - 605.4).abs() < 0.1, "{}", found.duration());
    assert!(found.n_looks() <= plain.n_looks() + 6, "{} and {}", found.n_looks(), plain.n_looks());
    assert!(
        found.warnings.len() == 1 && found.warnings[0].starts_with("gaps without frames"),
        "{:?}",
        found.warnings
    );
    let rttm = found.export("rttm");
    let lengths = rttm.lines().map(|line| line.split(' ').nth(4).unwrap().parse::<f64>().unwrap());
    assert!((lengths.sum::<f64>() - 5.4).abs() < 0.2, "{rttm}");

    let place = folder("joined.ts");
    for (name, start, offset) in [("a.ts", "0", "1000"), ("b.ts", "3", "20")] {
        let arguments = [H264.as_slice(), &["-output_ts_offset", offset]].concat();
        let secs = if start == "0" { "3" } else { "2.4" };
        let Some(()) = make(&place.join(name), start, secs, &arguments) else { return };
    }
    let parts = ["a.ts", "b.ts"].map(|name| fs::read(place.join(name)).unwrap());
    fs::write(place.join("joined.ts"), parts.concat()).unwrap();
    let Some(found) = Found::new(&place.join("joined.ts")) else { return };
    found.assert_people("joined", &secs);
    assert!((found.duration() - 5.4).abs() < 0.1, "{}", found.duration());
    let warning = "the clock of the file jumps 1 time";
    assert!(found.warnings.iter().any(|said| said.starts_with(warning)), "{:?}", found.warnings);
    assert!(
        !found.export("rttm").contains('−') && !found.export("rttm").contains(" -"),
        "a time is negative"
    );

    // Frames 0, 25 and 50 show one person, 75, 100 and 125 the other one.
    let slow = ["-vf", "select='not(mod(n,25))',setpts=N/TB", "-r", "1"];
    let Some(found) = Found::of_clip("slow.mp4", &[slow.as_slice(), &H264].concat()) else { return };
    found.assert_people("slow", &[3.0, 3.0]);
    assert_eq!(found.warnings, [""; 0]);
}

/// One frame for four seconds, and four seconds in which the picture moves.
#[test]
fn a_face_that_never_moves_is_a_still_picture() {
    for (name, filter, is_still) in [
        ("frozen.mkv", "select='eq(n,10)',loop=99:1:0,setpts=N/25/TB", Some(true)),
        ("slower.mkv", "select='lt(n,70)',setpts=2*PTS", Some(false)),
        ("short.mkv", "select='lt(n,70)'", None),
    ] {
        let Some(found) = Found::of_clip(name, &[&["-vf", filter], H264.as_slice()].concat()) else { return };
        let stills: Vec<_> = found.read::<Track>().iter().map(|track| track.is_still).collect();
        assert_eq!(stills, [is_still], "{name}");
        let page = fs::read_to_string(found.line.run_dir.join("report/index.html")).unwrap();
        assert_eq!(page.contains("The face never moves"), is_still == Some(true), "{name}");
    }
}

/// Labels that hold what a run found, so that every figure is 1, in the ways in which programs write them.
fn labels(found: &Found) -> BTreeMap<&'static str, String> {
    let people: BTreeMap<i64, i64> =
        found.read::<Cluster>().iter().filter_map(|row| Some((row.track_id, row.cluster_id?))).collect();
    let boxes = found.read::<Detection>();
    let tracks = found.read::<Track>();
    let shot_of = |track: i64| tracks.iter().find(|row| row.track_id == track).unwrap().shot_idx;
    // Two forms of one name in Unicode, by turns.
    let name = |person: i64, frame: i64, is_mixed: bool| match (person, is_mixed && frame % 2 == 1) {
        (0, false) => "J\u{f6}rg",
        (0, true) => "Jo\u{308}rg",
        _ => "Ida",
    };
    let csv = |separator: &str, end: &str, is_mixed: bool| {
        let mut text = ["frame", "x", "y", "w", "h", "identity", "shot"].join(separator) + "\n";
        for row in &boxes {
            let Some(track) = row.track_id else { continue };
            let sides = [row.x_min, row.y_min, row.x_max - row.x_min, row.y_max - row.y_min];
            let sides = sides.map(|side| side.to_string()).join(separator);
            let person = name(people[&track], row.frame_idx, is_mixed);
            let (frame, shot) = (row.frame_idx, shot_of(track));
            let _ = writeln!(text, "{frame}{end}{separator}{sides}{separator}{person}{separator}{shot}{end}");
        }
        text
    };
    let cvat = |step: i64, is_named: bool| {
        let filter = if step > 1 { format!("step={step}") } else { String::new() };
        let (size, stop) = ((FRAMES + step - 1) / step, FRAMES - 1);
        let attribute = if is_named { "" } else { "<attribute><name>identity</name></attribute>" };
        let mut text = format!(
            "<annotations><version>1.1</version><meta><task><size>{size}</size><start_frame>0</start_frame>\
             <stop_frame>{stop}</stop_frame><frame_filter>{filter}</frame_filter><labels><label><name>face</name>\
             <attributes>{attribute}</attributes></label></labels></task></meta>"
        );
        for (track, person) in &people {
            let person = name(*person, 0, false);
            let label = if is_named { person } else { "face" };
            let said = if is_named {
                String::new()
            } else {
                format!("<attribute name=\"identity\">{person}</attribute>")
            };
            let _ = write!(text, "<track id=\"{track}\" label=\"{label}\">");
            let own = |row: &&Detection| row.track_id == Some(*track) && row.frame_idx % step == 0;
            for row in boxes.iter().filter(own) {
                let _ = write!(
                    text,
                    "<box frame=\"{}\" keyframe=\"1\" outside=\"0\" occluded=\"0\" xtl=\"{}\" ytl=\"{}\" xbr=\"{}\" \
                     ybr=\"{}\">{said}</box>",
                    row.frame_idx, row.x_min, row.y_min, row.x_max, row.y_max
                );
            }
            text += "</track>";
        }
        text + "</annotations>"
    };
    let plain = csv(",", "", false);
    let (header, lines) = plain.split_once('\n').unwrap();
    BTreeMap::from([
        ("float.csv", csv(",", ".0", false)),
        ("semicolons.csv", csv(";", "", false)),
        ("tabs.csv", csv("\t", "", false)),
        ("capitals.csv", format!("\u{feff}{}\n{lines}", header.to_uppercase())),
        ("doubled.csv", format!("{plain}{lines}")),
        ("decomposed.csv", csv(",", "", true)),
        ("step.xml", cvat(5, false)),
        ("labels.xml", cvat(1, true)),
        ("plain.csv", plain),
    ])
}

#[test]
fn labels_of_other_programs_mean_the_same() {
    let Some(found) = Found::of_clip("labelled.mkv", &H264) else { return };
    for (name, content) in labels(&found) {
        let labels = found.line.run_dir.with_file_name(name);
        fs::write(&labels, content).unwrap();
        let line = Line { labels: Some(labels), ..found.line.clone() };
        let said = line.run_all();
        let warnings: Vec<_> = said.iter().flat_map(|(_, said)| said.warnings()).collect();
        // What is not used is counted.
        assert_eq!(warnings.len(), usize::from(name == "doubled.csv"), "{name}: {warnings:?}");
        let metrics = found.read::<Metric>();
        for figure in ["det_precision", "det_recall", "id_f1", "b3_f1", "ratio"] {
            let values: Vec<_> = metrics.iter().filter(|m| m.name == figure).map(|m| m.value).collect();
            assert!(
                !values.is_empty() && values.iter().all(|v| (v - 1.0).abs() < 1e-9),
                "{name}: {figure} {values:?}"
            );
        }
    }
}

/// `facetrack run` with arguments; exit code and standard error.
fn facetrack(arguments: &[&OsStr]) -> Option<(Option<i32>, String)> {
    let done = assets::require_facetrack(&["run"])?.args(arguments).output().unwrap();
    Some((done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned()))
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn files_and_folders_are_run_or_listed() {
    let place = folder("files");
    let videos = place.join("videos");
    for season in ["s1", "s2"] {
        fs::create_dir_all(videos.join(season)).unwrap();
    }
    let odd = OsStr::from_bytes(b"caf\xe9.mkv");
    let temporary = place.join("x.mkv");
    for (name, start, arguments) in [
        (OsStr::new("top.mkv"), "0", H264.as_slice()),
        (OsStr::new("old.mpg"), "0", &["-c:v", "mpeg2video", "-q:v", "3"]),
        (OsStr::new("00001.MTS"), "0", &[H264.as_slice(), &["-f", "mpegts"]].concat()),
        (OsStr::new("s2/e1.mkv"), "3", &H264),
        (odd, "0", &["-c:v", "libx264", "-crf", "20"]),
    ] {
        let to = videos.join(name);
        let path = if name == odd { &temporary } else { &to };
        let Some(()) = make(path, start, "1", arguments) else { return };
        if name == odd {
            fs::rename(path, &to).unwrap();
        }
    }
    fs::copy(videos.join("top.mkv"), videos.join("s1/e1.mkv")).unwrap();
    fs::write(videos.join("notes.txt"), "Ida is in the second one.").unwrap();
    let arguments = |folder: &Path, runs: &str, more: &[&str]| {
        let mut arguments = vec!["--video".into(), folder.as_os_str().to_owned(), "--run-dir".into()];
        arguments.push(place.join(runs).into_os_string());
        arguments.extend(more.iter().map(|argument| OsStr::new(argument).to_owned()));
        arguments
    };
    let run = |folder: &Path, runs: &str, more: &[&str]| {
        let arguments = arguments(folder, runs, more);
        facetrack(&arguments.iter().map(std::ffi::OsString::as_os_str).collect::<Vec<_>>())
    };

    let Some((code, said)) = run(&videos, "flat", &[]) else { return };
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("left out 1 file without the ending of a video: notes.txt"), "{said}");
    assert!(said.contains("left out 2 folders because --recursive is not given: s1, s2"), "{said}");
    assert_eq!(names_in(&place.join("flat")), ["00001", "caf\u{fffd}", "library", "old", "top"]);
    let table = place.join("flat").join("caf\u{fffd}").join("videos.parquet");
    assert_eq!(read_all::<Video>(&table).unwrap()[0].file_name, "caf\u{fffd}.mkv");

    let Some((code, said)) = run(&videos, "deep", &["--recursive"]) else { return };
    assert_eq!(code, Some(0), "{said}");
    let names = ["00001", "caf\u{fffd}", "library", "old", "s1-e1", "s2-e1", "top"];
    assert_eq!(names_in(&place.join("deep")), names);
    assert!(said.contains("e1.mkv` is a copy of") || said.contains("top.mkv` is a copy of"), "{said}");

    // A folder with one video is laid out like one with several.
    let Some((code, said)) = run(&videos.join("s1"), "one", &[]) else { return };
    assert_eq!(
        (code, names_in(&place.join("one"))),
        (Some(0), vec!["e1".into(), "library".into()]),
        "{said}"
    );

    let pipe = place.join("pipe.mkv");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let started = Instant::now();
    let Some((code, said)) = run(&pipe, "pipe", &[]) else { return };
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("is a pipe or a device, not a file"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Four shots, of one person and of another one by turns. Without the second shot, tracks 0 and 2 are of two people.
#[test]
fn corrections_of_tracks_stay_with_their_faces() {
    let video = folder("pairs").join("pairs.mkv");
    let Some(()) = make(&video, "0", "10.6", &H264) else { return };
    let Some(found) = Found::new(&video) else { return };
    assert_eq!((found.read::<Track>().len(), found.screen_secs().len()), (4, 2));
    let (edits, config) = (video.with_file_name("edits.csv"), video.with_file_name("config.toml"));
    fs::write(&edits, "track_a,track_b,kind\n0,2,must_link\n").unwrap();
    fs::write(&config, "[detect-track]\nskip_frames = [[70, 134]]\n").unwrap();
    let run = |more: &[&OsStr]| {
        let own =
            ["--video".as_ref(), video.as_os_str(), "--run-dir".as_ref(), found.line.run_dir.as_os_str()];
        facetrack(&[own.as_slice(), &["--edits".as_ref(), edits.as_os_str()], more].concat())
    };
    let Some((code, said)) = run(&[]) else { return };
    assert_eq!((code, found.screen_secs().len()), (Some(0), 2), "{said}");
    let Some((code, said)) = run(&["--config".as_ref(), config.as_os_str()]) else { return };
    assert_eq!((code, found.read::<Track>().len()), (Some(0), 3), "{said}");
    found.assert_people("other numbers", &[5.6, 2.4]);
    let manifest = Manifest::read(&found.line.run_dir).unwrap().unwrap();
    assert_eq!(manifest.stage("cluster").unwrap().figures["edits_not_applied"], serde_json::json!([]));
}

#[test]
fn editors_get_a_usual_rate_and_a_url() {
    let video = folder("otio").join("100% #1?.mkv");
    let phone = ["-vf", "fps=30000/1001,select='not(eq(mod(n,40),20))'", "-fps_mode", "vfr"];
    let Some(()) = make(&video, "0", SECS, &[phone.as_slice(), &H264].concat()) else { return };
    let Some(found) = Found::new(&video) else { return };
    let text = found.export("otio");
    let timeline: Value = serde_json::from_str(&text).unwrap();
    let rates = text.lines().filter(|line| line.trim_start().starts_with("\"rate\""));
    let rates: Vec<f64> =
        rates.map(|line| line.split(": ").nth(1).unwrap().trim_end_matches(',').parse().unwrap()).collect();
    assert!(
        !rates.is_empty() && rates.iter().all(|rate| (rate - 30_000.0 / 1001.0).abs() < 1e-9),
        "{rates:?}"
    );
    let tracks = timeline["tracks"]["children"].as_array().unwrap();
    let clips = tracks.iter().flat_map(|track| track["children"].as_array().unwrap());
    let clips: Vec<_> = clips.filter(|child| child["OTIO_SCHEMA"] == "Clip.1").collect();
    assert_eq!(clips.len(), 2);
    for clip in &clips {
        assert_eq!(clip["media_reference"]["target_url"], "100%25%20%231%3F.mkv");
    }
    // The second person appears with the second shot, at 2.8 s.
    let starts = clips.iter().map(|clip| clip["source_range"]["start_time"]["value"].as_f64().unwrap());
    let starts: Vec<_> = starts.map(|frame| frame * 1001.0 / 30_000.0).collect();
    assert!(
        starts.iter().any(|t| t.abs() < 0.05) && starts.iter().any(|t| (t - 2.8).abs() < 0.1),
        "{starts:?}"
    );
}
