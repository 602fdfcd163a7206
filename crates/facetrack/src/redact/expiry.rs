//! Runs and galleries whose day of expiry has come: listed, and deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use console::{Error, Result, counted, exit, process, say, warn};
use gallery::Library;
use gallery::validate::is_library;
use run::date::today;
use run::exports;
use run::files::remove;
use run::manifest::{self, Manifest};
use run::redact::{Before, Digester, PlaceKind, each_trace};
use run::{RunDir, RunReader};
use serde_json::json;

use super::galleries_beside;
use super::person::write_report;
use crate::cli::RedactArgs;

/// A run or a gallery with a day of expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dated {
    kind: PlaceKind,
    path: PathBuf,
    day: String,
}

/// Lists the runs and galleries of a folder, or of a gallery, with a day of expiry; unless it is a dry run, deletes
/// those whose day has come.
pub(super) fn expired(args: &RedactArgs, folder: &Path) -> Result<()> {
    let (dated, unreadable) = dated(folder)?;
    unreadable.iter().for_each(|(path, reason)| warn(&format!("`{}` is left out: {reason}", path.display())));
    let today = today();
    for Dated { kind, path, day } in &dated {
        let is_due = *day <= today;
        if args.json {
            say(&json!({ "event": "dated", "kind": kind, "path": path, "expires": day, "expired": is_due })
                .to_string());
        } else {
            let state = if is_due { "expired" } else { "expires" };
            say(&format!("{state} {day}  {}", path.display()));
        }
    }
    let due: Vec<&Dated> = dated.iter().filter(|dated| dated.day <= today).collect();
    if args.dry_run {
        if !args.json {
            eprintln!(
                "{} of {} would be deleted",
                due.len(),
                counted(dated.len(), "dated folder", "dated folders")
            );
        }
        return Ok(());
    }
    let digester = Digester::new();
    let (mut places, mut deleted, mut left) = (Vec::new(), BTreeMap::new(), Vec::new());
    for Dated { kind, path, .. } in &due {
        process::check_interrupt()?;
        let mut before = Before::of(*kind, path)?;
        if args.report.is_some() {
            all_digests(path, &digester, &mut before)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for export in exports::read(path)? {
            if export.is_there() {
                remove(&export.path)?;
                deleted.insert(export.path, export.sha256);
            } else if export.path.exists() {
                left.push(format!("the export `{}` was changed since, so it stays", export.path.display()));
            }
        }
        let others = match kind {
            PlaceKind::Run => delete_run(path)?,
            PlaceKind::Gallery => Library::open(path)?.delete()?,
        };
        let note =
            |other: &PathBuf| format!("`{}` was not written by the program, so it stays", other.display());
        left.extend(others.iter().map(note));
        places.push(before.after(name, Vec::new(), false)?);
    }
    if !due.is_empty() {
        let what = format!("runs and galleries in `{}` that have expired on {today}", folder.display());
        write_report(args, &what, &digester, places, deleted.clone(), left.clone())?;
    }
    if args.json {
        say(&json!({ "event": "expired", "deleted": due.len(), "exports": deleted.len(), "left": left })
            .to_string());
    } else {
        left.iter().for_each(|left| warn(left));
        eprintln!("deleted {} of {}", due.len(), counted(dated.len(), "dated folder", "dated folders"));
    }
    Ok(())
}

/// A folder that cannot be read, with the reason.
type Unreadable = (PathBuf, String);

/// The runs and galleries with a day of expiry: the folder itself, those below it, and the runs that a gallery names.
fn dated(folder: &Path) -> Result<(Vec<Dated>, Vec<Unreadable>)> {
    if !folder.is_dir() {
        return Err(Error::new(exit::INPUT, format!("the folder `{}` does not exist", folder.display())));
    }
    let (mut found, mut unreadable, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    let mut folders = vec![folder.to_path_buf()];
    let mut is_first = true;
    while let Some(next) = folders.pop() {
        let Ok(path) = next.canonicalize() else { continue };
        if !seen.insert(path.clone()) {
            continue;
        }
        if is_library(&path) {
            match Library::view(&path) {
                Ok(library) => {
                    let day = library.expires().map(str::to_owned);
                    found.extend(day.map(|day| Dated { kind: PlaceKind::Gallery, path: path.clone(), day }));
                    if is_first {
                        folders.extend(library.videos().filter_map(|video| video.run_dir));
                    }
                }
                Err(error) => unreadable.push((path, error.to_string())),
            }
        } else if path.join(manifest::FILE_NAME).is_file() {
            match Manifest::read(&path) {
                Ok(manifest) => {
                    let day = manifest.and_then(|manifest| manifest.expires);
                    found.extend(day.map(|day| Dated { kind: PlaceKind::Run, path, day }));
                }
                Err(error) => unreadable.push((path, error.to_string())),
            }
        } else {
            let entries = std::fs::read_dir(&path).map_err(Error::io("read", &path))?.flatten();
            // A link is not followed: it may lead anywhere.
            let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.extend(below.map(|entry| entry.path()));
        }
        is_first = false;
    }
    found.sort_by(|a, b| (&a.day, &a.path).cmp(&(&b.day, &b.path)));
    Ok((found, unreadable))
}

/// Deletes a run, and removes its video from the galleries beside it that have this run.
fn delete_run(path: &Path) -> Result<Vec<PathBuf>> {
    let video_id = RunReader::open(path)?.video_id().ok();
    for root in galleries_beside(path, &[])? {
        let Some(video_id) = &video_id else { continue };
        let mut library = Library::open(&root)?;
        let is_this = |place: &PathBuf| place.canonicalize().is_ok_and(|place| place == path);
        let has = library
            .videos()
            .any(|video| video.video_id == video_id.as_str() && video.run_dir.as_ref().is_some_and(is_this));
        if has {
            library.forget_video(video_id.as_str())?;
            library.commit()?;
            library.write_page()?;
        }
    }
    Ok(RunDir::open(path)?.delete()?)
}

/// Adds the digests of all pictures and vectors of a run or a gallery.
fn all_digests(root: &Path, digester: &Digester, before: &mut Before) -> Result<()> {
    for path in
        run::files::walk(root)?.iter().filter(|path| path.extension().is_some_and(|end| end == "parquet"))
    {
        let digests = &mut before.digests;
        // A damaged table has nothing that could be found again.
        let _ = each_trace(path, |_, trace| _ = digests.insert(digester.digest(trace)));
    }
    Ok(())
}
