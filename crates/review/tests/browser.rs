//! The page in a browser: headless Chromium corrects runs by keyboard, and looks for complaints.
//! Pictures of what it saw are left in the target directory's `tmp/review`.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use run::edits::Log;
use testkit::assets;
use testkit::linked::{self, Spec};

use crate::support::Server;

fn make(name: &str, spec: &Spec) -> PathBuf {
    let run = Path::new(env!("CARGO_TARGET_TMPDIR")).join("review").join(name);
    let _ = fs::remove_dir_all(&run);
    fs::create_dir_all(&run).unwrap();
    linked::write(&run, spec);
    run
}

/// Gives a run the video that the manifest names: a test picture of the same size and rate.
fn film(run: &Path) -> Option<()> {
    let path = run.with_extension("mp4");
    let source = "testsrc2=size=640x360:rate=25:duration=88";
    let mut ffmpeg = assets::require_ffmpeg()?;
    ffmpeg.args([
        "-f",
        "lavfi",
        "-i",
        source,
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
    ]);
    assert!(ffmpeg.arg(&path).status().unwrap().success());
    let manifest = run.join("manifest.json");
    let mut content: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let found = run::manifest::VideoFile::stat(&path).unwrap();
    content["video"]["path"] = found.path.into();
    content["video"]["size_bytes"] = found.size_bytes.into();
    content["video"]["modified_ns"] = found.modified_ns.into();
    fs::write(manifest, content.to_string()).unwrap();
    Some(())
}

/// One test, because two browsers at once would measure each other.
#[test]
fn a_run_is_corrected_in_a_browser() {
    let Some(python) = assets::require("FACETRACK_PYTHON") else { return };
    if assets::require_chromium().is_none() {
        return;
    }
    let usual = make("usual", &Spec { file_name: "<i>dinner</i>.mp4".into(), ..Spec::default() });
    // As long as the vectors of SFace, with a quality table as SFace has one: the most that a default run asks for.
    let long = Spec { tracks: 2000, people: 60, noise: 120, dim: 128, has_quality: true, ..Spec::default() };
    let long = make("film", &long);
    if film(&usual).is_none() {
        return;
    }
    let root = usual.with_file_name("library");
    let _ = fs::remove_dir_all(&root);
    let mut library = gallery::Library::open(&root).unwrap();
    library.add(&gallery::RunIdentities::read(&usual).unwrap()).unwrap();
    library.commit().unwrap();
    drop(library);
    let servers = [&usual, &long, &root].map(|root| Server::start(root, false));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser.py");
    let addresses = servers.iter().map(|server| &server.address);
    let done =
        Command::new(python).arg(script).arg(usual.parent().unwrap()).args(addresses).output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&done.stdout));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(Log::open(&usual).unwrap().entries().len() >= 20, "20 answers are in the log");
}
