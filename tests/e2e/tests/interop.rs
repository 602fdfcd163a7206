//! Other programs read our tables, and we read what they make of them.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use schema::Row;
use schema::io::{open, read_all};
use schema::tables::{
    Appearance, Cluster, Constraint, Crop, Detection, Embedding, Frame, Identity, Label, LinkVector, Linkage,
    Metric, Shot, Track, TrackEmbedding, Video,
};
use testkit::assets;
use testkit::files::repository;
use testkit::line::Line;

use crate::empty_folder;

/// Who rewrites tables.
const WRITERS: [&str; 4] = ["pyarrow", "pandas", "polars", "duckdb"];

fn folder(name: &str) -> PathBuf {
    empty_folder("interop", name)
}

/// Runs a task of `python/interop.py`; its complaints are the failure.
fn python(task: &str, run: &Path, arguments: &[&Path]) -> Option<()> {
    let python = assets::require("FACETRACK_PYTHON")?;
    let script = repository().join("tests/python/interop.py");
    let mut command = Command::new(python);
    command.arg(script).arg(task).arg(repository().join("schemas")).arg(run).args(arguments);
    let done = command.output().unwrap();
    let complaints = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{task}: {complaints}");
    Some(())
}

/// Executes the snippets of a page on a run, and a library of that run.
fn answers(page: &str, run: &Path) -> Option<()> {
    let python = assets::require("FACETRACK_PYTHON")?;
    let library = run.parent().unwrap().join("library");
    let mut add = assets::require_facetrack(&["library", "add", "--library"])?;
    let done = add.arg(&library).arg("--run-dir").arg(run).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let script = repository().join("tests/python/interop.py");
    let page_file = repository().join(page);
    let done = Command::new(python).arg(script).arg("answers").args([&page_file, run, &library]).output();
    let done = done.unwrap();
    assert!(done.status.success(), "{page}: {}", String::from_utf8_lossy(&done.stderr));
    Some(())
}

/// A finished run on a video.
fn finished(video: &Path, name: &str) -> Option<PathBuf> {
    let line = Line::on(video, &folder(name).join("r"))?;
    line.run_all();
    Some(line.run_dir)
}

/// The rewritten table has the rows and the footer of ours.
fn same<R: Row + Clone + PartialEq + Debug>(ours: &Path, theirs: &Path) {
    let name = R::TABLE.file_name();
    let rewritten = theirs.join(&name);
    let read = read_all::<R>(&rewritten).unwrap_or_else(|e| panic!("{e}"));
    assert!(read == read_all::<R>(&ours.join(&name)).unwrap(), "{} has other rows", rewritten.display());
    let footer = |path: &Path| open::<R>(path).unwrap().footer().clone();
    assert_eq!(footer(&rewritten), footer(&ours.join(&name)), "{}", rewritten.display());
}

fn all_same(ours: &Path, theirs: &Path) {
    same::<Video>(ours, theirs);
    same::<Frame>(ours, theirs);
    same::<Shot>(ours, theirs);
    same::<Detection>(ours, theirs);
    same::<Track>(ours, theirs);
    same::<Crop>(ours, theirs);
    same::<Embedding>(ours, theirs);
    same::<TrackEmbedding>(ours, theirs);
    same::<Constraint>(ours, theirs);
    same::<Cluster>(ours, theirs);
    same::<Linkage>(ours, theirs);
    same::<LinkVector>(ours, theirs);
    same::<Identity>(ours, theirs);
    same::<Appearance>(ours, theirs);
    same::<Metric>(ours, theirs);
    same::<Label>(ours, theirs);
}

/// Reads a run with every program, rewrites it with every program, and reads that.
fn goes_around(run: &Path, name: &str) {
    for reader in ["pyarrow", "pandas", "polars", "duckdb", "datasets"] {
        if python(reader, run, &[]).is_none() {
            return;
        }
    }
    let rewritten = folder(name);
    if python("rewrite", run, &[&rewritten]).is_none() {
        return;
    }
    for writer in WRITERS {
        all_same(run, &rewritten.join(writer));
    }
}

#[test]
fn tables_of_a_clip_go_around() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let Some(run) = finished(&clip, "clip") else { return };
    goes_around(&run, "clip-rewritten");
    answers("schemas/ANALYSTS.md", &run);
}

/// Tables without rows still have their columns and types.
#[test]
fn tables_of_a_clip_without_faces_go_around() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let no_face = assets::require_beside("FACETRACK_CLIP_NO_FACE", &clip, "noface.mp4");
    let Some(run) = no_face.and_then(|video| finished(&video, "no-face")) else { return };
    goes_around(&run, "no-face-rewritten");
}
