//! Damaged and absurd videos through the programs: an error or an honest part, within a time and a memory
//! that are bounded; never a crash.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use run::manifest::STAGES;
use schema::io::read_all;
use schema::tables::{Frame, Video};
use serde_json::Value;
use testkit::assets;
use testkit::files::untidy;
use testkit::line::Line;
use testkit::mp4;
use testkit::random::{SplitMix64, times};

use crate::empty_folder;

/// Longest that a stage may take for a second of a small video.
const WATCHDOG: Duration = Duration::from_secs(120);
/// Address space that a stage may take, KiB: far more than it needs, far less than the file may ask for.
const MAX_KIB: u32 = 6 << 20;

fn folder(name: &str) -> PathBuf {
    empty_folder("hostile_videos", name)
}

/// How a stage ended: its exit code, and what it said of an error.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    error: Option<String>,
    warnings: usize,
}

/// Runs a stage under the watchdog and within the memory.
fn watched(line: &Line, stage: &str, what: &str) -> Ended {
    let whole = line.command(stage);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {MAX_KIB}; exec \"$0\" \"$@\"")]);
    command.arg(whole.get_program()).args(whole.get_args()).arg("--json");
    let events = line.run_dir.with_file_name("events");
    let out = fs::File::create(&events).unwrap();
    let mut child = command.stdout(out).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if started.elapsed() > WATCHDOG {
            child.kill().unwrap();
            panic!("{what}: {stage} hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = fs::read_to_string(&events).unwrap();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| said.iter().filter(|e| e["event"] == kind).cloned().collect::<Vec<_>>();
    let error = of("error").first().map(|e| e["message"].as_str().unwrap().to_owned());
    Ended { code: status.code(), error, warnings: of("warning").len() }
}

fn run_beside(video: &Path) -> PathBuf {
    video.with_file_name("r")
}

/// Runs stages on a video until one refuses it. Each must succeed, or say what is wrong with the video.
fn survives(video: &Path, stages: &[&'static str], what: &str) -> Option<Vec<Ended>> {
    let run_dir = run_beside(video);
    let _ = fs::remove_dir_all(&run_dir);
    let line = Line { threads: Some(2), ..Line::on(video, &run_dir)? };
    let mut ended = Vec::new();
    for stage in stages {
        let end = watched(&line, stage, what);
        let is_honest = matches!((end.code, &end.error), (Some(0), None) | (Some(3), Some(_)));
        assert!(is_honest, "{what}: {stage} ended with {end:?}");
        assert_eq!(untidy(&run_dir), [""; 0], "{what}");
        ended.push(end);
        if ended.last().is_some_and(|end| end.code != Some(0)) {
            break;
        }
    }
    Some(ended)
}

/// A second of the test clip, small, with these arguments of `ffmpeg`.
fn second(name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let path = folder(name).join(name);
    let mut ffmpeg = assets::require_ffmpeg()?;
    ffmpeg.args(["-t", "1", "-i"]).arg(assets::require("FACETRACK_CLIP")?).args(["-vf", "scale=320:-2"]);
    make(ffmpeg.args(arguments).arg(&path));
    Some(path)
}

fn make(ffmpeg: &mut Command) {
    let done = ffmpeg.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// One kind of damage, as disks, cables and players do it.
fn damage(bytes: &mut Vec<u8>, random: &mut SplitMix64) {
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(bytes.len() / 8)).min(bytes.len());
    match random.below(6) {
        0 => bytes.truncate(at.max(1)),
        1 => bytes[at..end].fill(0),
        2 => drop(bytes.drain(at..end)),
        3 => bytes[at..end].iter_mut().for_each(|byte| *byte = random.next_u64() as u8),
        // Headers are short, and decide most.
        4 => {
            let header = random.below(bytes.len().min(1024));
            bytes[header] ^= 1 << random.below(8);
        }
        _ => {
            for _ in 0..=random.below(40) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
    if bytes.is_empty() {
        bytes.push(0);
    }
}

/// `FACETRACK_MUTATIONS` says how many in all.
#[test]
fn damaged_videos_end_in_an_error_or_a_part() {
    const X264: [&str; 4] = ["-c:v", "libx264", "-g", "12"];
    let mut videos = Vec::new();
    for (name, arguments) in [
        ("h264.mkv", X264.as_slice()),
        ("h264.mp4", &X264),
        ("mpeg4.avi", &["-c:v", "mpeg4"]),
        ("h264.ts", &X264),
    ] {
        let Some(path) = second(name, arguments) else { return };
        videos.push((name, fs::read(&path).unwrap()));
    }
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let place = folder("damaged");
    for seed in 0..times("FACETRACK_MUTATIONS", 48) {
        let (name, good) = &videos[seed % videos.len()];
        let mut bytes = good.clone();
        damage(&mut bytes, &mut SplitMix64::new(seed as u64));
        let path = place.join(name);
        fs::write(&path, bytes).unwrap();
        // The whole line for some: later stages see tables only, but empty and odd ones too.
        let stages = if seed % 8 == 0 { &STAGES[..] } else { &STAGES[..2] };
        let Some(ended) = survives(&path, stages, &format!("mutation {seed} of {name}")) else { return };
        let last = ended.last().unwrap();
        let warned = ended.iter().any(|end| end.warnings > 0);
        let outcome = match (last.code, warned) {
            (Some(0), true) => "a part, with warnings",
            (Some(0), false) => "a result without warnings",
            _ => "an error",
        };
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
    }
    println!("damaged videos gave {outcomes:?}");
    assert!(outcomes.len() == 3, "all damage has one outcome: {outcomes:?}");
}

fn refused(video: &Path, words: &str) {
    let what = video.display().to_string();
    let Some(ended) = survives(video, &STAGES, &what) else { return };
    let last = ended.last().unwrap();
    assert!(last.error.as_ref().is_some_and(|error| error.contains(words)), "{what}: {last:?}");
}

#[test]
fn garbage_without_end_is_refused() {
    let place = folder("garbage");
    let mut random = SplitMix64::new(1);
    let noise: Vec<u8> = (0..4 << 20).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    for name in ["noise.mkv", "noise.mp4", "noise.ts", "noise.avi"] {
        let path = place.join(name);
        fs::write(&path, &noise).unwrap();
        refused(&path, "is not a readable video");
    }
}

/// What is whole before endless garbage is used.
#[test]
fn garbage_after_a_video_costs_nothing() {
    let Some(path) = second("before.mkv", &["-c:v", "libx264"]) else { return };
    let mut random = SplitMix64::new(2);
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend((0..4 << 20).flat_map(|_| random.next_u64().to_le_bytes()));
    fs::write(&path, bytes).unwrap();
    let Some(ended) = survives(&path, &STAGES, "garbage after a video") else { return };
    assert!(ended.iter().all(|end| end.code == Some(0)), "{ended:?}");
    let run = run_beside(&path);
    assert!(read_all::<Frame>(&run.join("frames.parquet")).unwrap().len() >= 20);
}

/// What is no video is refused before it is read to its end, be there an end or not.
#[test]
fn files_without_end_are_refused_at_once() {
    let place = folder("endless");
    for name in ["hole.mkv", "hole.mp4", "hole.ts", "hole.avi"] {
        let path = place.join(name);
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        refused(&path, "is not a readable video");
        fs::remove_file(&path).unwrap();
    }
    let pipe = place.join("pipe.mkv");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused(&pipe, "is not a file");
    let device = place.join("device.mkv");
    std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
    refused(&device, "is not a file");
}

/// What is written while it is read is not what the tables would say it is.
#[test]
fn a_video_that_grows_is_reported() {
    let Some(path) = second("grows.mkv", &["-c:v", "libx264"]) else { return };
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    // Zeros behind it cost some time, and nothing else.
    file.set_len(file.metadata().unwrap().len() + (128 << 20)).unwrap();
    let whole = survives(&path, &STAGES[..2], "zeros after a video").unwrap();
    assert!(whole.iter().all(|end| end.code == Some(0)), "{whole:?}");
    let line = Line { threads: Some(2), ..Line::on(&path, &run_beside(&path)).unwrap() };
    let grow = || (&file).write_all(&[0]).unwrap();
    grow();
    let late = watched(&line, "detect-track", "a video that has grown");
    assert!(late.error.is_some_and(|error| error.ends_with("has changed since `ingest` read it")));
    let read = std::thread::scope(|scope| {
        let stage = scope.spawn(|| watched(&line, "ingest", "a video that grows"));
        while !stage.is_finished() {
            grow();
            std::thread::sleep(Duration::from_millis(10));
        }
        stage.join().unwrap()
    });
    assert_eq!(read.code, Some(3), "{read:?}");
    assert!(read.error.is_some_and(|error| error.ends_with("changed while it was being read")));
    assert_eq!(untidy(&line.run_dir), [""; 0]);
}

/// A picture that moves for no time at all is a video of one frame.
#[test]
fn a_single_frame_is_a_video() {
    let Some(path) = second("one.mkv", &["-frames:v", "1", "-c:v", "libx264"]) else { return };
    let Some(ended) = survives(&path, &STAGES, "one frame") else { return };
    assert!(ended.len() == STAGES.len() && ended.iter().all(|end| end.code == Some(0)), "{ended:?}");
    let run = run_beside(&path);
    assert_eq!(read_all::<Frame>(&run.join("frames.parquet")).unwrap().len(), 1);
    assert!(read_all::<Video>(&run.join("videos.parquet")).unwrap()[0].duration_secs < 1.0);
}

/// Frames that are all shown at once are one frame.
#[test]
fn a_video_of_no_duration_is_one_frame() {
    let Some(path) = second("instant.mkv", &["-c:v", "libx264", "-bsf:v", "setts=ts=0"]) else { return };
    let Some(ended) = survives(&path, &STAGES, "no duration") else { return };
    assert!(ended.iter().all(|end| end.code == Some(0)) && ended[0].warnings > 0, "{ended:?}");
    let run = run_beside(&path);
    assert_eq!(read_all::<Frame>(&run.join("frames.parquet")).unwrap().len(), 1);
}

/// A fifth of a second of a size, from this encoder.
fn of_size(name: &str, (width, height): (u32, u32), encoder: &str) -> Option<PathBuf> {
    let path = folder(name).join(name);
    let source =
        format!("testsrc=size={}x{}:duration=0.2,crop={width}:{height}", width.max(2), height.max(2));
    let format = if encoder == "ffv1" { "yuv444p" } else { "yuvj420p" };
    make(
        assets::require_ffmpeg()?
            .args(["-f", "lavfi", "-i", &source, "-pix_fmt", format, "-c:v", encoder])
            .arg(&path),
    );
    Some(path)
}

#[test]
fn the_thinnest_pictures_are_videos() {
    for (name, size) in [("dot.mkv", (1, 1)), ("line.mkv", (16384, 1)), ("pole.mkv", (1, 16384))] {
        let Some(path) = of_size(name, size, "ffv1") else { return };
        let Some(ended) = survives(&path, &STAGES, name) else { return };
        assert!(ended.len() == STAGES.len() && ended.iter().all(|end| end.code == Some(0)), "{ended:?}");
    }
}

/// Sizes that are in the headers only, of the file or of its pictures.
#[test]
fn sizes_that_lie_cost_no_memory() {
    for side in [16384_u32, 65535] {
        let Some(path) = of_size("header.avi", (64, 64), "rawvideo") else { return };
        let mut bytes = fs::read(&path).unwrap();
        // Width and height of the stream's format: after name and size of the chunk, and its own size.
        let format = bytes.windows(4).position(|w| w == b"strf").unwrap() + 12;
        bytes[format..][..8].copy_from_slice(&[side.to_le_bytes(), side.to_le_bytes()].concat());
        fs::write(&path, bytes).unwrap();
        refused(&path, "has a video stream without readable frames");
    }
    let Some(path) = of_size("pictures.avi", (64, 64), "mjpeg") else { return };
    let whole = fs::read(&path).unwrap();
    let frames: Vec<_> = whole.windows(2).enumerate().filter(|(_, w)| w == &[0xff, 0xc0]).collect();
    assert_eq!(frames.len(), 5, "not one start of frame a picture");
    for (damaged, expected) in [(&frames[1..2], Some(0)), (&frames[..], Some(3))] {
        let mut bytes = whole.clone();
        // Height and width: after marker, length and precision.
        damaged.iter().for_each(|(at, _)| bytes[at + 5..][..4].fill(0xff));
        fs::write(&path, bytes).unwrap();
        let Some(ended) = survives(&path, &STAGES[..2], "pictures of 65535 × 65535") else { return };
        let last = ended.last().unwrap();
        assert!(last.code == expected && (last.warnings > 0 || last.error.is_some()), "{ended:?}");
    }
}

#[test]
fn absurd_sizes_are_refused() {
    let Some(mut ffmpeg) = assets::require_ffmpeg() else { return };
    let path = folder("large").join("large.mkv");
    make(
        ffmpeg
            .args(["-f", "lavfi", "-i", "color=size=9000x8000", "-frames:v", "1", "-c:v", "mjpeg"])
            .arg(&path),
    );
    refused(&path, "has frames of 9000×8000 pixels, above the limit of");
}

/// One stream of many is read, and that is said; more than FFmpeg takes are refused.
#[test]
fn many_streams_are_no_matter() {
    let Some(path) = second("streams.mp4", &["-c:v", "libx264"]) else { return };
    let one = fs::read(&path).unwrap();
    let put = |more| {
        let mut bytes = one.clone();
        mp4::add_tracks(&mut bytes, more);
        fs::write(&path, bytes).unwrap();
    };
    put(900);
    let Some(ended) = survives(&path, &STAGES[..2], "901 streams") else { return };
    assert!(ended.iter().all(|end| end.code == Some(0)) && ended[0].warnings > 0, "{ended:?}");
    for more in [5_000, 50_000] {
        put(more);
        refused(&path, "or has more than 1000 streams");
    }
}
