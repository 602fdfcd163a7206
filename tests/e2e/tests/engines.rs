//! What workflow engines and file systems of clusters need: names and stamps that do not depend on the place of a run,
//! exit codes to act on, and locks where the file system has none.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::assets;
use testkit::files::{table_hashes, untidy};

use crate::empty_folder;

fn folder(name: &str) -> PathBuf {
    empty_folder("engines", name).canonicalize().unwrap()
}

/// `facetrack run` on a video, with the smallest network alone.
fn run(video: &Path, run_dir: &Path) -> Option<Command> {
    let weights = assets::require("FACETRACK_WEIGHTS_DIR")?;
    let mut command = assets::require_facetrack(&["run", "--quiet", "--threads", "2", "--weights-dir"])?;
    command.arg(weights).arg(video).arg("--run-dir").arg(run_dir);
    command.args(["--embedder", "sface"]).stdin(Stdio::null());
    Some(command)
}

fn code(done: &Output) -> Option<i32> {
    done.status.code()
}

fn says(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[test]
fn a_run_with_a_given_name_is_the_same_in_every_folder() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let folder = folder("names");
    let mut results = Vec::new();
    for place in ["scratch-17", "final"] {
        let (run_dir, stamp) = (folder.join(place), folder.join(format!("{place}.json")));
        let Some(mut command) = run(&clip, &run_dir) else { return };
        let done = command.args(["--run-id", "season1-e01", "--stamp"]).arg(&stamp).output().unwrap();
        assert_eq!(code(&done), Some(0), "{}", says(&done));
        results.push((table_hashes(&run_dir), fs::read_to_string(stamp).unwrap()));
    }
    assert_eq!(results[0], results[1]);
    let stamp: Value = serde_json::from_str(&results[0].1).unwrap();
    assert_eq!(stamp["run_id"], "season1-e01");
    assert_eq!(stamp["stages"].as_array().unwrap().len(), 5);
    assert_eq!(stamp["stages"][3]["files"]["clusters.parquet"], results[0].0["clusters.parquet"].as_str());

    let mut renamed = run(&clip, &folder.join("final")).unwrap();
    let done = renamed.args(["--run-id", "other"]).output().unwrap();
    assert_eq!(code(&done), Some(2), "{}", says(&done));
    assert!(says(&done).contains("has the name `season1-e01`"), "{}", says(&done));
}

#[test]
fn the_stamp_of_an_unusable_video_gives_the_reason_and_other_errors_leave_none() {
    let folder = folder("unusable");
    let (video, stamp) = (folder.join("broken.mkv"), folder.join("stamp.json"));
    fs::write(&video, "no video").unwrap();
    let Some(mut command) = run(&video, &folder.join("r")) else { return };
    let done = command.arg("--stamp").arg(&stamp).output().unwrap();
    assert_eq!(code(&done), Some(3), "{}", says(&done));
    let content: Value = serde_json::from_slice(&fs::read(&stamp).unwrap()).unwrap();
    assert!(says(&done).contains(content["unusable"].as_str().unwrap()), "{content}");

    fs::remove_file(&stamp).unwrap();
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let mut command = run(&clip, &folder.join("labels")).unwrap();
    let done = command.arg("--labels").arg(&video).arg("--stamp").arg(&stamp).output().unwrap();
    assert_eq!(code(&done), Some(3), "{}", says(&done));
    assert!(!stamp.exists(), "unusable labels do not make the video unusable");
    let mut command = run(&clip, &folder.join("missing")).unwrap();
    let done = command.arg("--stamp").arg(folder.join("none/stamp.json")).output().unwrap();
    assert_eq!(code(&done), Some(2), "{}", says(&done));
}

/// Replaces `flock` by a function that fails as on file systems without locks.
fn without_flock(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("noflock.c"), folder.join("noflock.so"));
    fs::write(&source, "#include <errno.h>\nint flock(int fd, int op) { errno = ENOLCK; return -1; }\n")
        .unwrap();
    let mut compiler = Command::new("cc");
    let made = compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status().unwrap();
    assert!(made.success());
    library
}

#[test]
fn a_file_system_without_locks_serves_too() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let folder = folder("no_locks");
    let library = without_flock(&folder);
    let (plain, run_dir) = (folder.join("plain/r"), folder.join("r"));
    let Some(mut command) = run(&clip, &plain) else { return };
    assert!(command.status().unwrap().success());

    let start = |more: &[&str]| {
        let mut command = run(&clip, &run_dir).unwrap();
        command.args(more).env("LD_PRELOAD", &library).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let first = start(&[]);
    let begun = Instant::now();
    while !run_dir.join(".lock.claim").exists() && !run_dir.join("logs/ingest.jsonl").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the first run does not start");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The second run waits for each stage of the first.
    let second = start(&["--wait", "300"]);
    for done in [first, second] {
        let done = done.wait_with_output().unwrap();
        // Without patience, the first ends when it meets the second.
        assert!([Some(0), Some(75)].contains(&code(&done)), "{}", says(&done));
    }
    assert_eq!(table_hashes(&run_dir), table_hashes(&plain));
    assert_eq!(untidy(&run_dir), [""; 0]);
    assert!(!run_dir.join(".lock.claim").exists());

    // A claim of a living process of another machine.
    fs::write(run_dir.join(".lock.claim"), "elsewhere-17").unwrap();
    let done = start(&["--wait", "1"]).wait_with_output().unwrap();
    assert_eq!(code(&done), Some(75), "{}", says(&done));
    assert!(says(&done).contains("another process (elsewhere-17) is using"), "{}", says(&done));
    assert!(says(&done).contains("--wait"), "{}", says(&done));
}
