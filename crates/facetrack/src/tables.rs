//! `facetrack export`, `import` and `validate`: tables checked, and exchanged with other tools.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use console::{Result, exit};
use formats::Error;
use formats::export::FORMATS;
use formats::labels::{self, LabelFormat};
use formats::run::Run;

use crate::cli::{ExportArgs, ImportArgs};

/// Faults that are listed one by one.
const MOST_FAULTS: usize = 1000;

/// Writes a run in the format of another tool.
pub(crate) fn export(arguments: &ExportArgs) -> Result<()> {
    let known = FORMATS.into_iter().find(|(name, _)| *name == arguments.to);
    let (_, write) = known.unwrap_or(FORMATS[0]);
    let run = Run::read(&arguments.run_dir)?;
    Ok(put(arguments.out.as_deref(), &write(&run))?)
}

/// Writes labels of another tool as the CSV that a run takes.
pub(crate) fn import(arguments: &ImportArgs) -> Result<()> {
    let ImportArgs { labels, out, from, first_frame, frames } = arguments;
    let format = match from {
        Some(name) => LabelFormat::by_name(name),
        None => LabelFormat::of(labels),
    };
    let format = format.ok_or_else(|| {
        console::Error::new(exit::USAGE, format!("unknown format of `{}`", labels.display()))
            .hint("set the format with --from: csv, mot (.txt) or cvat (.xml)")
    })?;
    let content =
        fs::read(labels).map_err(|source| Error::Io { action: "read", path: labels.clone(), source })?;
    let first = first_frame.unwrap_or_else(|| format.first_frame());
    let wrong = |(line, reason)| Error::Labels { path: labels.clone(), line, reason };
    let read = format.read(&content, first, *frames).map_err(wrong)?;
    read.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    Ok(put(out.as_deref(), &labels::write(&read))?)
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
        lines.push(format!("and {more} more faults"));
    }
    print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    if verdict.faults.is_empty() {
        let rows: usize = verdict.rows.values().sum();
        eprintln!("`{}`: {} tables with {rows} rows are valid", path.display(), verdict.rows.len());
        return Ok(());
    }
    let message = format!("found {} faults in `{}`", verdict.faults.len(), path.display());
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
