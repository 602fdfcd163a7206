//! `facetrack export`, `import` and `validate`: tables checked, and exchanged with other tools.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use console::{Result, counted, exit, say, warn};
use formats::Error;
use formats::dataset;
use formats::export::FORMATS;
use formats::labels::{self, LabelFormat, Scene};
use formats::names::{Names, names};
use formats::run::Run;
use run::RunReader;
use run::edits::{Entry, Faces};
use schema::tables::{Frame, Video};

use crate::cli::{DATASET, EDITS, ExportArgs, ImportArgs};
use crate::outputs;

/// Faults that are listed one by one.
const MOST_FAULTS: usize = 1000;

/// Writes a run in the format of another tool.
pub(crate) fn export(arguments: &ExportArgs) -> Result<()> {
    arguments.out.iter().try_for_each(|out| outputs::check("--out", out))?;
    if let Some(out) = arguments.out.as_deref().filter(|_| arguments.to == DATASET) {
        return dataset(arguments, out);
    }
    if arguments.pictures || arguments.vectors || arguments.license.is_some() {
        let message = "--pictures, --vectors and --license belong to a dataset";
        return Err(console::Error::new(exit::USAGE, message).hint("export a dataset with --to dataset"));
    }
    let known = FORMATS.into_iter().find(|(name, _)| *name == arguments.to);
    let (_, write) = known.unwrap_or(FORMATS[0]);
    let run = Run::read(&arguments.run_dir)?;
    put(arguments.out.as_deref(), &write(&run))?;
    record(&arguments.run_dir, &arguments.to, arguments.out.as_slice());
    Ok(())
}

/// Records exported files, so that `redact` finds them. An export that cannot be recorded, as from a run of another
/// user, is there all the same.
pub(crate) fn record(root: &Path, format: &str, files: &[PathBuf]) {
    if !files.is_empty()
        && let Err(error) = run::exports::add(root, format, files)
    {
        warn(&format!("`facetrack redact` will not find the export: {error}"));
    }
}

/// Writes a run as a dataset.
fn dataset(arguments: &ExportArgs, out: &Path) -> Result<()> {
    let is_used = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if is_used || out.is_file() {
        let message = format!("`{}` is not an empty folder", out.display());
        return Err(console::Error::new(exit::USAGE, message).hint("pass an empty folder with --out"));
    }
    let ExportArgs { pictures, vectors, license, .. } = arguments;
    let content = dataset::Content { pictures: *pictures, vectors: *vectors, license: license.clone() };
    let tables = dataset::write(&arguments.run_dir, out, &content)?;
    let files = run::files::walk(out)?;
    record(&arguments.run_dir, DATASET, &files);
    if schema::crypt::key().is_some() {
        eprintln!("warning: the tables of the dataset are not encrypted");
    }
    eprintln!("`{}` has {tables} tables, a data card and {}", out.display(), dataset::CROISSANT);
    Ok(())
}

/// Writes labels of another tool as the CSV that a run takes, or as corrections that name the people of a run.
pub(crate) fn import(arguments: &ImportArgs) -> Result<()> {
    let ImportArgs { labels, out, from, first_frame, frames, to, run_dir } = arguments;
    out.iter().try_for_each(|out| outputs::check("--out", out))?;
    let format = match from {
        Some(name) => LabelFormat::by_name(name),
        None => LabelFormat::of(labels),
    };
    let format = format.ok_or_else(|| {
        console::Error::new(exit::USAGE, format!("unknown format of `{}`", labels.display()))
            .hint("set the format with --from: csv, mot (.txt), cvat (.xml), coco (.json), or the name of a service")
    })?;
    let content =
        fs::read(labels).map_err(|source| Error::Io { action: "read", path: labels.clone(), source })?;

    let wrong = |(line, reason)| Error::Labels { path: labels.clone(), line, reason };
    let scene = run_dir.as_deref().map(scene).transpose().map_err(Error::from)?;
    let read = format.read_of(&content, *first_frame, *frames, scene.as_ref()).map_err(wrong)?;
    read.warnings.iter().for_each(|warning| warn(warning));
    if read.lines.is_empty() && read.times.is_empty() {
        warn(&format!("`{}` has no labels, so the result has none", labels.display()));
    }
    if to == EDITS {
        let run_dir = run_dir.as_deref().unwrap_or_else(|| Path::new("."));
        return name_people(&read, run_dir, format.name(), out.as_deref());
    }
    if read.lines.is_empty() && !read.times.is_empty() {
        let message =
            format!("`{}` has times of people but no boxes, so there are no labels in it", labels.display());
        return Err(console::Error::new(exit::INPUT, message)
            .hint("name the people of a run with --to edits --run-dir RUN"));
    }
    Ok(put(out.as_deref(), &labels::write(&read))?)
}

/// Frame times and size of the video of a run.
fn scene(run_dir: &Path) -> run::Result<Scene> {
    let run = RunReader::open(run_dir)?;
    let video: Video = run.read_one()?;
    let frames = run.read::<Frame>()?;
    let times = frames.iter().map(|row| (row.pts_ticks, row.t_secs, row.duration_secs)).collect();
    Ok(Scene::new(times, video.width, video.height))
}

/// Writes a file of corrections with the names that labels give to the people of a run.
fn name_people(labels: &labels::Labels, run_dir: &Path, author: &str, out: Option<&Path>) -> Result<()> {
    let run = Run::read(run_dir)?;
    let faces = Faces::read(&RunReader::open(run_dir).map_err(Error::from)?).map_err(Error::from)?;
    let Names { edits, warnings } = names(labels, &run, &faces, author);
    warnings.iter().for_each(|warning| warn(warning));
    let people = counted(run.people.len(), "person", "people");
    eprintln!("names for {} of {people} of `{}`", edits.len(), run_dir.display());
    let entry = |(edit_id, edit)| Entry { edit_id, made_at: String::new(), undoes: None, edit };
    let entries: Vec<_> = (1..).zip(edits).map(entry).collect();
    Ok(put(out, &formats::edits::json(&entries))?)
}

/// Lists the faults of tables.
pub(crate) fn validate(path: &Path) -> Result<()> {
    if !path.exists() {
        return Err(console::Error::new(exit::INPUT, format!("`{}` does not exist", path.display())));
    }
    let verdict = if gallery::validate::is_library(path) {
        gallery::validate::validate(path)?
    } else {
        run::validate::validate(path)?
    };
    let mut lines: Vec<_> = verdict.faults.iter().take(MOST_FAULTS).map(ToString::to_string).collect();
    if let Some(more) = verdict.faults.len().checked_sub(MOST_FAULTS).filter(|more| *more > 0) {
        lines.push(format!("and {} more", counted(more, "fault", "faults")));
    }
    lines.iter().for_each(|line| say(line));
    if verdict.faults.is_empty() {
        let rows: usize = verdict.rows.values().sum();
        let tables = counted(verdict.rows.len(), "table", "tables");
        let rows = counted(rows, "row", "rows");
        eprintln!("`{}` is valid: {tables} with {rows}", path.display());
        return Ok(());
    }
    let faults = counted(verdict.faults.len(), "fault", "faults");
    let message = format!("found {faults} in `{}`", path.display());
    Err(console::Error::new(exit::CONTRACT, message))
}

/// Writes to the file that was named, or to standard output.
fn put(out: Option<&Path>, text: &str) -> formats::Result<()> {
    let Some(path) = out else {
        print(text);
        return Ok(());
    };
    fs::write(path, text).map_err(|source| Error::Io { action: "write", path: path.to_path_buf(), source })
}

/// A reader that has gone away is no error.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}
