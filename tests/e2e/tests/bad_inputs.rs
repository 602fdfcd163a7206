//! Bad inputs, through the programs: each ends in one clear sentence, a hint, the documented exit
//! code, and no half-written table. `snapshots/bad_inputs.txt` holds what people read.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use run::manifest::{Manifest, STAGES};
use schema::Row;
use schema::io::read_all;
use schema::tables::{
    Appearance, Cluster, Constraint, Crop, Detection, Embedding, Frame, Identity, Label, LinkVector, Linkage,
    Shot, Track, TrackEmbedding,
};
use testkit::files::{copy, hashes, untidy, walk};
use testkit::line::{Line, Said};
use testkit::{assets, snapshot};

use crate::empty_folder;

/// A place to work in, with the test clip's line on a run directory inside.
struct Place {
    folder: PathBuf,
    line: Line,
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let folder = empty_folder("bad_inputs", name);
        let folder = folder.canonicalize().unwrap();
        Some(Self { line: Line::on_clip(&folder.join("r"))?, folder })
    }

    /// A file in this place.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The message, with the paths of this machine replaced.
    fn message(&self, said: &Said) -> String {
        let error = said.events("error").next().unwrap_or_else(|| panic!("no error: {said:?}"));
        assert_eq!(said.code.map(i64::from), error["exit_code"].as_i64(), "{said:?}");
        assert_eq!(said.stderr, "", "with --json only events are spoken");
        assert_eq!(said.events.last(), Some(error), "the error is the last word");
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains('\n'), "not one sentence: {message}");
        let hint = error["hint"].as_str().map_or(String::new(), |hint| format!("\n  hint: {hint}"));
        let text = format!("exit {}: {message}{hint}", error["exit_code"]);
        let weights = self.line.yunet.parent().unwrap();
        let paths =
            [(self.folder.as_path(), "$HERE"), (self.line.video.as_path(), "$CLIP"), (weights, "$WEIGHTS")];
        paths.iter().fold(text, |text, (path, name)| text.replace(path.to_str().unwrap(), name))
    }

    /// Runs stages, of which the last must fail and leave nothing half-written.
    fn fails(&self, line: &Line, stages: &[&'static str]) -> String {
        let said = line.run_stages(stages);
        let (stage, last) = said.last().unwrap();
        assert_eq!(Some(stage), stages.last(), "ended early: {last:?}");
        let message = self.message(last);
        if line.run_dir.is_dir() {
            assert_eq!(untidy(&line.run_dir), [""; 0]);
            let manifest = Manifest::read(&line.run_dir).unwrap();
            assert!(manifest.is_none_or(|m| m.stage(stage).is_none()), "{stage} is recorded as finished");
        }
        format!("{stage}: {message}")
    }
}

/// How a bad input is made; `None` when something for it is missing.
type Case = (&'static str, fn(&Place) -> Option<String>);

fn video(place: &Place, path: PathBuf) -> Option<String> {
    Some(place.fails(&Line { video: path, ..place.line.clone() }, &["ingest"]))
}

fn weights(place: &Place, path: PathBuf) -> Option<String> {
    Some(place.fails(&Line { yunet: path, ..place.line.clone() }, &["ingest", "detect-track"]))
}

fn config(place: &Place, content: &str) -> Option<String> {
    let config = Some(place.file("config.toml", content));
    Some(place.fails(&Line { config, ..place.line.clone() }, &["ingest"]))
}

fn detector(place: &Place, settings: &str) -> Option<String> {
    let config = Some(place.file("config.toml", format!("[detect-track]\n{settings}\n")));
    Some(place.fails(&Line { config, ..place.line.clone() }, &["ingest", "detect-track"]))
}

/// The clip without a face is embedded with these settings.
fn embedder(place: &Place, settings: &str) -> Option<String> {
    let config = Some(place.file("config.toml", format!("[embed]\n{settings}\n")));
    let line = Line { video: no_face()?, config, ..place.line.clone() };
    Some(place.fails(&line, &["ingest", "detect-track", "embed"]))
}

/// The clip without a face is linked with these settings.
fn linker(place: &Place, settings: &str) -> Option<String> {
    let config = Some(place.file("config.toml", format!("[cluster]\n{settings}\n")));
    let line = Line { video: no_face()?, config, ..place.line.clone() };
    Some(place.fails(&line, &["ingest", "detect-track", "embed", "cluster"]))
}

/// Haar cascades out of a folder of this place.
#[cfg(feature = "opencv")]
fn cascades(place: &Place) -> Option<String> {
    detector(place, &format!("detector = 'haar'\ncascades = '{}'", place.folder.display()))
}

/// A file of the `ffmpeg` tool.
fn made(place: &Place, name: &str, arguments: &[&str]) -> Option<PathBuf> {
    let path = place.folder.join(name);
    let done = assets::require_ffmpeg()?.args(arguments).arg(&path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(path)
}

const SINE: [&str; 6] = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"];

const VIDEOS: &[Case] = &[
    ("no file", |p| video(p, p.folder.join("missing.mkv"))),
    ("a directory", |p| video(p, p.folder.clone())),
    ("a file below a file", |p| video(p, p.file("clip.mkv", "x").join("clip.mkv"))),
    ("an empty file", |p| video(p, p.file("empty.mp4", ""))),
    ("text named .mp4", |p| video(p, p.file("text.mp4", "This is not a video.\n".repeat(100)))),
    ("text named .mkv", |p| video(p, p.file("text.mkv", "This is not a video.\n".repeat(100)))),
    ("zeros named .mp4", |p| video(p, p.file("zeros.mp4", vec![0; 1 << 16]))),
    ("a picture named .mp4", |p| {
        let picture = ["-f", "lavfi", "-i", "color=size=64x64:duration=1", "-frames:v", "1"];
        let png = made(p, "picture.png", &picture)?;
        video(p, p.file("picture.mp4", fs::read(png).unwrap()))
    }),
    ("sound only", |p| video(p, made(p, "sound.mp4", &SINE)?)),
    ("a playlist named .mp4", |p| video(p, p.file("list.mp4", "#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"))),
    ("the head of an mkv", |p| video(p, p.file("head.mkv", &fs::read(&p.line.video).unwrap()[..512]))),
];

const WEIGHTS: &[Case] = &[
    ("no weights", |p| weights(p, p.folder.join("missing.safetensors"))),
    ("a directory of weights", |p| weights(p, p.folder.clone())),
    ("empty weights", |p| weights(p, p.file("empty.safetensors", ""))),
    ("text for weights", |p| weights(p, p.file("text.safetensors", "weights ".repeat(100)))),
    ("half the weights", |p| {
        let whole = fs::read(&p.line.yunet).unwrap();
        weights(p, p.file("half.safetensors", &whole[..whole.len() / 2]))
    }),
    ("the weights of another network", |p| weights(p, p.line.sface.clone())),
];

const SETTINGS: &[Case] = &[
    ("an unknown embedder", |p| embedder(p, "embedders = ['eyes']")),
    ("no embedder", |p| embedder(p, "embedders = []")),
    ("an embedder twice", |p| embedder(p, "embedders = ['orb', 'orb']")),
    ("an embedder without weights", |p| embedder(p, "embedders = ['arcface']")),
    ("a fusion with nothing in it", |p| embedder(p, "embedders = ['fusion']\nfusion = { orb = 1.0 }")),
    ("a device that is none", |p| embedder(p, "device = 'gpu'")),
    ("a card in a program without CUDA", |p| embedder(p, "device = 'cuda:1'")),
    ("half precision on the CPU", |p| embedder(p, "device = 'cpu'\nprecision = 'f16'")),
    ("a setting of another way of linking", |p| linker(p, "method = 'dbscan'\nk = 3")),
    ("an angle where there is none", |p| {
        linker(p, "method = 'agglomerative'\nlinkage = 'ward'\nmetric = 'cosine'")
    }),
    ("a distance that is none", |p| linker(p, "threshold = 2.0")),
    ("an unknown section", |p| config(p, "[clusters]\nthreshold = 0.5\n")),
    ("an unknown key", |p| config(p, "[ingest]\nstride = 3\n")),
    ("no TOML", |p| config(p, "threshold: 0.5\n")),
    ("no file of settings", |p| {
        let config = Some(p.folder.join("missing.toml"));
        Some(p.fails(&Line { config, ..p.line.clone() }, &["ingest"]))
    }),
];

const DETECTORS: &[Case] = &[
    ("an unknown detector", |p| detector(p, "detector = 'eyes'")),
    ("an unknown tracker", |p| detector(p, "tracker = 'dog'")),
    ("no weights for yunet", |p| {
        assert_eq!(p.line.run("ingest").code, Some(0));
        let mut command = Command::new(&p.line.program);
        command
            .args(["stage", "detect-track", "--run-dir"])
            .arg(&p.line.run_dir)
            .arg("--video")
            .arg(&p.line.video);
        Some(format!("detect-track: {}", p.message(&Said::of(command.arg("--json")))))
    }),
];

#[cfg(feature = "opencv")]
const OPENCV: &[Case] = &[
    ("no cascades", cascades),
    ("one cascade of two", |p| {
        p.file("haarcascade_frontalface_alt2.xml", "");
        cascades(p)
    }),
    ("text for cascades", |p| {
        for name in ["frontalface_alt2", "profileface"] {
            p.file(&format!("haarcascade_{name}.xml"), "This is not a cascade.\n");
        }
        cascades(p)
    }),
];

#[cfg(not(feature = "opencv"))]
const OPENCV: &[Case] = &[
    ("a detector of OpenCV", |p| detector(p, "detector = 'haar'")),
    ("a tracker of OpenCV", |p| detector(p, "tracker = 'correlation'")),
    ("gradients of OpenCV", |p| embedder(p, "embedders = ['sface', 'sift']")),
    ("binary descriptors of OpenCV", |p| embedder(p, "embedders = ['orb']")),
];

const RUNS: &[Case] = &[
    ("a run directory below a file", |p| {
        let run_dir = p.file("file", "x").join("r");
        Some(p.fails(&Line { run_dir, ..p.line.clone() }, &["ingest"]))
    }),
    ("a run directory that is a file", |p| {
        let run_dir = p.file("file", "x");
        Some(p.fails(&Line { run_dir, ..p.line.clone() }, &["ingest"]))
    }),
    ("stages in the wrong order", |p| Some(p.fails(&p.line, &["embed"]))),
    ("a manifest that is none", |p| {
        fs::create_dir_all(&p.line.run_dir).unwrap();
        fs::write(p.line.run_dir.join("manifest.json"), "{").unwrap();
        let said = p.line.run("ingest");
        Some(format!("ingest: {}", p.message(&said)))
    }),
    ("another video in the same run", |p| {
        assert_eq!(p.line.run("ingest").code, Some(0));
        let copy = p.file("other.mkv", [fs::read(&p.line.video).unwrap(), vec![0]].concat());
        let before = hashes(&p.line.run_dir);
        let said = Line { video: copy, ..p.line.clone() }.run("ingest");
        assert_eq!(hashes(&p.line.run_dir), before);
        Some(format!("ingest: {}", p.message(&said)))
    }),
];

fn assert_stored<'a>(snapshot: &str, cases: impl IntoIterator<Item = &'a Case>) {
    let mut text = String::new();
    for (name, case) in cases {
        let Some(place) = Place::new(&name.replace(' ', "-")) else { return };
        let Some(message) = case(&place) else { return };
        text += &format!("{name}\n  {message}\n");
    }
    snapshot::assert_matches(snapshot, &text);
}

#[test]
fn every_bad_input_ends_in_the_stored_words() {
    let cases = [VIDEOS, WEIGHTS, SETTINGS, DETECTORS, RUNS];
    assert_stored("bad_inputs.txt", cases.into_iter().flatten());
}

/// Programs with OpenCV read its files; programs without it refuse what only OpenCV can do.
#[test]
fn bad_inputs_of_opencv_end_in_the_stored_messages() {
    assert_stored(if cfg!(feature = "opencv") { "opencv.txt" } else { "no_opencv.txt" }, OPENCV);
}

/// Labels are only looked at by the last stage, so this run is made once.
#[test]
fn bad_labels_end_in_the_stored_words() {
    let cases: &[(&str, &[u8])] = &[
        ("an empty file", b""),
        ("a missing column", b"frame,x,y,w,h\n"),
        ("another separator", b"frame|x|y|w|h|identity\n1|2|3|4|5|a\n"),
        ("a column twice", b"frame,x,y,w,h,identity,x\n"),
        ("a frame that is no number", b"frame,x,y,w,h,identity\n0,1,2,3,4,a\nten,1,2,3,4,a\n"),
        ("a frame after the end", b"frame,x,y,w,h,identity\n999999,1,2,3,4,a\n"),
        ("a frame before the beginning", b"frame,x,y,w,h,identity\n-1,1,2,3,4,a\n"),
        ("a place that is no number", b"frame,x,y,w,h,identity\n0,NaN,2,3,4,a\n"),
        ("a face without a size", b"frame,x,y,w,h,identity\n0,1,2,0,4,a\n"),
        ("a line that is too short", b"frame,x,y,w,h,identity\n0,1,2,3\n"),
        ("no UTF-8", b"frame,x,y,w,h,identity\n0,1,2,3,4,\xff\xfe\n"),
    ];
    let Some(no_face) = no_face() else { return };
    let Some(place) = Place::new("labels") else { return };
    let line = Line { video: no_face, ..place.line.clone() };
    line.run_all();
    let before = hashes(&line.run_dir);
    let mut text = String::new();
    let mut try_labels = |name: &str, labels: PathBuf| {
        let said = Line { labels: Some(labels), ..line.clone() }.run("evaluate");
        text += &format!("{name}\n  {}\n", place.message(&said));
        assert_eq!(hashes(&line.run_dir), before, "{name}: the earlier result is gone");
    };
    for (name, content) in cases {
        try_labels(name, place.file("labels.csv", content));
    }
    try_labels("no file", place.folder.join("missing.csv"));
    try_labels("a directory", place.folder.clone());
    snapshot::assert_matches("bad_labels.txt", &text);
}

/// People without `--json` read the same sentence and hint, and nothing else.
#[test]
fn people_read_one_sentence_and_a_hint() {
    let Some(place) = Place::new("people") else { return };
    let line = Line { video: place.folder.join("missing.mkv"), ..place.line.clone() };
    let done = line.command("ingest").output().unwrap();
    let error = line.run("ingest").events("error").next().unwrap().clone();
    let expected =
        format!("error: {}\nhint: {}\n", error["message"].as_str().unwrap(), error["hint"].as_str().unwrap());
    assert_eq!(String::from_utf8(done.stderr).unwrap(), expected);
    assert_eq!(done.stdout, b"");
    assert_eq!(done.status.code(), Some(3));
}

#[test]
fn wrong_usage_has_its_exit_code() {
    let Some(place) = Place::new("usage") else { return };
    let wrong: [&[&str]; 5] =
        [&["--no-such-option"], &["--threads", "0"], &["--threads", "many"], &["extra"], &["--run-dir"]];
    for stage in STAGES {
        for arguments in wrong {
            let done = place.line.command(stage).args(arguments).output().unwrap();
            assert_eq!(done.status.code(), Some(2), "{stage} {arguments:?}");
            assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{stage} {arguments:?}");
        }
    }
    assert!(!place.line.run_dir.exists(), "a wrong call has made a run directory");
}

/// A directory into which we may not write. The superuser may write everywhere, so the test becomes the user `nobody`.
#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let Some(place) = Place::new("unwritable") else { return };
    let folder = tempfile::tempdir().unwrap();
    let locked = folder.path().join("locked");
    fs::create_dir(&locked).unwrap();
    for path in [folder.path(), &locked] {
        fs::set_permissions(path, Permissions::from_mode(0o555)).unwrap();
    }
    for run_dir in [locked.join("r"), locked] {
        let line = Line { run_dir: run_dir.clone(), ..place.line.clone() };
        let ingest = line.command("ingest");
        let writable = fs::write(folder.path().join("probe"), "").is_ok();
        let mut command = if writable { as_unprivileged_user(&ingest) } else { ingest };
        let may_run = Command::new(command.get_program()).args(command.get_args()).arg("--version").output();
        if !may_run.is_ok_and(|done| done.status.success()) {
            // The user `nobody` may not even start the programs here; the test cannot change that.
            return;
        }
        let said = Said::of(command.arg("--json"));
        let message = place.message(&said).replace(folder.path().to_str().unwrap(), "$LOCKED");
        assert!(message.starts_with("exit 1: failed to create `$LOCKED/locked"), "{message}");
        assert!(message.contains("Permission denied"), "{message}");
        assert!(message.ends_with("hint: use a --run-dir with write permission"), "{message}");
    }
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(folder.path().join("locked"), Permissions::from_mode(0o755)).unwrap();
}

fn as_unprivileged_user(command: &Command) -> Command {
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    nobody.arg(command.get_program()).args(command.get_args());
    nobody
}

fn no_face() -> Option<PathBuf> {
    let clip = assets::require("FACETRACK_CLIP")?;
    assets::require_beside("FACETRACK_CLIP_NO_FACE", &clip, "noface.mp4")
}

fn rows<R: Row + Clone>(run: &Path) -> usize {
    read_all::<R>(&run.join(R::TABLE.file_name())).unwrap().len()
}

/// No face is no failure: every table is there and valid, and so is the page.
#[test]
fn a_clip_without_faces_is_a_success() {
    let Some(video) = no_face() else { return };
    let Some(place) = Place::new("no-face") else { return };
    let line = Line { video, ..place.line };
    line.run_all();
    let run = &line.run_dir;
    assert_eq!(untidy(run), [""; 0]);
    let empty = [
        rows::<Detection>(run),
        rows::<Track>(run),
        rows::<Crop>(run),
        rows::<Embedding>(run),
        rows::<TrackEmbedding>(run),
        rows::<Constraint>(run),
        rows::<Cluster>(run),
        rows::<Linkage>(run),
        rows::<LinkVector>(run),
        rows::<Identity>(run),
        rows::<Appearance>(run),
        rows::<Label>(run),
    ];
    assert_eq!(empty, [0; 12]);
    assert!(rows::<Frame>(run) > 0 && rows::<Shot>(run) > 0);
    let page = fs::read_to_string(run.join("report/index.html")).unwrap();
    assert!(page.trim_end().ends_with("</html>"));
    assert_eq!(line.run_again(), [""; 0]);
}

/// Half a file gives half a result, with a warning.
#[test]
fn a_truncated_video_gives_an_honest_part() {
    let Some(place) = Place::new("truncated") else { return };
    let whole = fs::read(&place.line.video).unwrap();
    let half = place.file("half.mkv", &whole[..whole.len() / 2]);
    let line = Line { video: half, ..place.line };
    let said = line.run_all();
    assert_eq!(untidy(&line.run_dir), [""; 0]);
    let frames = rows::<Frame>(&line.run_dir);
    assert!((100..550).contains(&frames), "{frames} frames");
    assert!(rows::<Track>(&line.run_dir) > 0);
    let warnings: Vec<_> = said.iter().flat_map(|(_, said)| said.warnings()).collect();
    assert!(!warnings.is_empty(), "half of the video is missing, without a warning");
}

/// What was finished stays finished, whatever a later stage meets.
#[test]
fn a_failing_stage_leaves_the_others_alone() {
    let Some(video) = no_face() else { return };
    let Some(place) = Place::new("later") else { return };
    let line = Line { video, ..place.line.clone() };
    line.run_all();
    let before = hashes(&line.run_dir);
    let broken = Line { sface: place.file("broken.safetensors", "x"), ..line.clone() };
    assert_eq!(broken.run("embed").code, Some(3));
    assert_eq!(hashes(&line.run_dir), before);
    assert_eq!(line.run_again(), [""; 0]);
}

/// A damaged table is detected by the stage that reads it, and written again by its own stage.
#[test]
fn a_damaged_table_is_refused_and_made_again() {
    let Some(video) = no_face() else { return };
    let Some(place) = Place::new("damaged") else { return };
    let line = Line { video, ..place.line.clone() };
    line.run_all();
    let copied = Line { run_dir: place.folder.join("copy/r"), ..line.clone() };
    copy(&line.run_dir, &copied.run_dir);
    let table = copied.run_dir.join("crops.parquet");
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&table, bytes).unwrap();
    let message = place.message(&copied.run("embed"));
    assert!(
        message.starts_with("exit 4: `$HERE/copy/r/crops.parquet` was changed after its stage wrote it"),
        "{message}"
    );
    assert_eq!(copied.run_again(), ["detect-track"]);
    assert_eq!(testkit::files::table_hashes(&copied.run_dir), testkit::files::table_hashes(&line.run_dir));
    assert!(walk(&copied.run_dir, &[]).keys().all(|name| !name.ends_with(".tmp")));
}
