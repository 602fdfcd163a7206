//! The page in a browser: headless Chromium opens it, clicks through it, and looks for complaints.
//! Pictures of what it saw are left in the target directory's `tmp/page`.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use run::RunDir;
use run::stage::{Job, Reporter};
use testkit::assets;
use testkit::linked::{self, Spec};

/// A folder of the target directory for a page.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("page").join(name)
}

/// Makes a run and its page; gives the run directory.
fn page(name: &str, spec: &Spec) -> PathBuf {
    let root = folder(name);
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    let (run, labels) = (root.join("run"), root.join("truth.csv"));
    fs::write(&labels, linked::write(&run, spec)).unwrap();
    let mut job = Job {
        stage: evaluate::STAGE,
        run: RunDir::open(&run).unwrap(),
        // Relative to the page, beside the run directory; only one of the tests has such a file.
        config: evaluate::Config { video_url: Some("../../film.mp4".into()), ..evaluate::Config::default() },
        threads: 1,
        force: false,
        reporter: Reporter::new(evaluate::STAGE.name, false),
    };
    evaluate::run(&mut job, Some(&labels)).unwrap();
    run
}

/// Runs a script with our Python; its complaints are the failure. `None` where it cannot run.
fn python(script: &str, arguments: &[&Path]) -> Option<()> {
    let python = assets::require("FACETRACK_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let done = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(())
}

/// One test, because two browsers at once would measure each other.
#[test]
fn pages_work_in_a_browser() {
    if assets::require_chromium().is_none() {
        return;
    }
    let hostile = "dinner <script>alert(1)</script>\"'&.mp4".to_owned();
    let empty = page("empty", &Spec { tracks: 0, people: 0, noise: 0, ..Spec::default() });
    let one = page("one", &Spec { tracks: 1, people: 1, noise: 0, ..Spec::default() });
    let usual = page("usual", &Spec { file_name: hostile, ..Spec::default() });
    let Some(mut ffmpeg) = assets::require_ffmpeg() else { return };
    let film = ["-f", "lavfi", "-i", "testsrc=size=64x36:rate=5:duration=90", "-pix_fmt", "yuv420p"];
    assert!(ffmpeg.args(film).arg(folder("usual").join("film.mp4")).status().unwrap().success());
    let film =
        page("film", &Spec { tracks: 5000, people: 60, noise: 300, crops_per_track: 1, ..Spec::default() });
    let season = page("season", &Spec { tracks: 2041, people: 60, noise: 300, ..Spec::default() });
    for (run, most) in [(&season, 3_000_000), (&film, 6_000_000)] {
        let size = fs::metadata(run.join("report/index.html")).unwrap().len();
        assert!(size < most, "the page of `{}` has {size} bytes", run.display());
    }
    python("browser.py", &[&empty, &one, &usual, &season, &film]);
}

#[test]
fn recipes_on_the_page_give_its_figures() {
    python("recipe.py", &[&page("recipe", &Spec::default())]);
}
