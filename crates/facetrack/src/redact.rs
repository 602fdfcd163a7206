//! `facetrack redact`: takes people or pictures out of a finished run, and checks that they are gone.
//!
//! The tables of faces and vectors are written anew, without these people. Then `cluster` and `evaluate` run
//! again with the settings that they had, because everything they wrote was made from the old tables; at last
//! every table is read again. Labels name people, so the run loses them all. Galleries with the video lose the people,
//! the corrections about them and the names that came from them, too.

use std::path::{Path, PathBuf};

use console::{Error, Result, exit, process, say};
use gallery::{Library, RunIdentities};
use run::RunReader;
use run::edits::Log;
use run::redact::{self, Request, redact_check, redact_run};
use run::stage::{Arguments, Job};
use schema::tables::{Identity, Member};
use serde_json::{Map, Value, json};

use crate::cli::RedactArgs;
use crate::progress::Screen;
use crate::{library_edits, people, stages};

/// Takes people or pictures out of a run; without either, checks that what was taken out is gone.
pub(crate) fn redact(arguments: &RedactArgs) -> Result<()> {
    let RedactArgs { run_dir, identity, pictures, library, json } = arguments;
    if !run_dir.join(run::manifest::FILE_NAME).is_file() {
        let message = format!("`{}` is not a run directory: it has no manifest.json", run_dir.display());
        return Err(Error::new(exit::INPUT, message).hint("pass a run directory with --run-dir"));
    }
    let run_dir = std::path::absolute(run_dir).map_err(Error::io("resolve", run_dir))?;
    let mut erased = Map::new();
    let identities: Vec<i64> = identity.iter().map(|number| i64::from(*number) - 1).collect();
    let has_erased = *pictures || !identity.is_empty();
    let galleries = if has_erased { galleries(&run_dir, library)? } else { Vec::new() };
    let names = names(&run_dir, &identities)?;
    if *pictures {
        start(&run_dir, &Request { pictures: true, ..Request::default() }, *json)?;
    }
    if !identity.is_empty() {
        let logs = galleries.iter().map(|(root, _)| root.clone()).collect();
        erased = start(&run_dir, &Request { identities, pictures: false, logs }, *json)?;
    }
    if has_erased {
        // The stages after the erased ones start again, with the settings of the run.
        let screen = &mut Screen::new(*json, false);
        stages::again(&[cluster::STAGE, evaluate::STAGE], &run_dir, Vec::new(), None, screen)?;
    }
    for (root, people) in &galleries {
        forget_in(root, people, &run_dir, &names)?;
    }
    let scanned = start(&run_dir, &Request::default(), *json)?;
    let figure = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (tracks, rows) = (figure(&erased, "tracks_forgotten"), figure(&scanned, "rows_scanned"));
    let files = figure(&scanned, "files_scanned");
    if *json {
        let event =
            json!({ "event": "forgotten", "tracks": tracks, "rows_scanned": rows, "files_scanned": files });
        say(&event.to_string());
    } else if has_erased {
        eprintln!("removed {tracks} tracks; verified {rows} rows of {files} files");
        for (root, _) in &galleries {
            eprintln!("the gallery `{}` has the run as it is now", root.display());
        }
        eprintln!("the video itself, copies of the run and backups still contain the person");
    } else {
        eprintln!("verified {rows} rows of {files} files: nothing that was removed is left");
    }
    Ok(())
}

/// A gallery, and its members of the video before the removal.
type Gallery = (PathBuf, Vec<Member>);

/// Returns the galleries that have the video of a run: those given, and those in the folder of the run.
fn galleries(run_dir: &Path, given: &[PathBuf]) -> Result<Vec<Gallery>> {
    let video_id = RunReader::open(run_dir)?.video_id()?;
    let mut folders: Vec<PathBuf> = given.to_vec();
    let beside = run_dir.parent().map(std::fs::read_dir).and_then(std::result::Result::ok);
    folders.extend(beside.into_iter().flatten().flatten().map(|entry| entry.path()));
    folders.retain(|folder| given.contains(folder) || gallery::validate::is_library(folder));
    let mut galleries: Vec<Gallery> = Vec::new();
    for folder in folders {
        if !gallery::validate::is_library(&folder) {
            let message = format!("`{}` is not a gallery: it has no library.json", folder.display());
            return Err(Error::new(exit::INPUT, message));
        }
        let library = Library::view(&folder)?;
        let at = library.videos().position(|video| video.video_id == video_id.as_str());
        let root = library.root().to_path_buf();
        if let Some(at) = at.filter(|_| galleries.iter().all(|(known, _)| *known != root)) {
            galleries.push((root, library.members_of_all()?.swap_remove(at)));
        }
    }
    Ok(galleries)
}

/// Returns the key and the name of people.
fn names(run_dir: &Path, identities: &[i64]) -> Result<Vec<(i64, Option<String>)>> {
    if identities.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Identity> = RunReader::open(run_dir)?.read()?;
    let rows = rows.into_iter().filter(|row| identities.contains(&row.cluster_id));
    Ok(rows.map(|row| (row.cluster_id, row.name)).collect())
}

/// Adds the run to a gallery again, without the removed people, and takes away the names that the gallery gave to the
/// same people in other runs.
fn forget_in(root: &Path, members: &[Member], run_dir: &Path, names: &[(i64, Option<String>)]) -> Result<()> {
    let mut library = Library::open(root)?;
    library.add(&RunIdentities::read(run_dir)?)?;
    library.commit()?;
    let of_person = |(cluster_id, name): &(i64, Option<String>)| {
        let row = members.iter().find(|row| row.cluster_id == *cluster_id)?;
        Some((row.person_id, name.clone()?))
    };
    let names: Vec<(i64, String)> = names.iter().filter_map(of_person).collect();
    let tables = library.members_of_all()?;
    for (video, rows) in library.videos().collect::<Vec<_>>().iter().zip(tables) {
        let of_run: Vec<&String> = names
            .iter()
            .filter(|(person_id, _)| rows.iter().any(|row| row.person_id == *person_id))
            .map(|(_, name)| name)
            .collect();
        let Some(other) = video.run_dir.as_deref().filter(|dir| !of_run.is_empty() && dir.is_dir()) else {
            continue;
        };
        let mut log = Log::open(other)?;
        let before = log.entries().len();
        log.retain(|entry| {
            let is_of_gallery =
                entry.edit.author == people::AUTHOR || library_edits::is_of_gallery(&entry.edit);
            let is_name = entry.edit.name.as_ref().is_some_and(|name| of_run.contains(&name));
            (!is_of_gallery || !is_name).then_some(entry)
        })?;
        if log.entries().len() == before {
            continue;
        }
        match people::update(other) {
            Ok(()) => drop(library.add(&RunIdentities::read(other)?)?),
            Err(reason) => eprintln!(
                "warning: the next `facetrack run` of `{}` takes the name from its page, because {reason}",
                other.display()
            ),
        }
    }
    library.commit()?;
    library.write_page()?;
    Ok(())
}

/// Works on the run in this process, with the events of a stage, and gives the figures of the work: takes out what is
/// requested or, with an empty request, checks that what was taken out is gone.
pub(crate) fn start(run_dir: &Path, request: &Request, json: bool) -> Result<Map<String, Value>> {
    process::check_interrupt()?;
    let arguments = Arguments { run_dir: run_dir.to_path_buf(), json, ..Arguments::default() };
    let mut job = Job::<redact::Config>::open(redact::TASK, &arguments)?;
    let record = match *request == Request::default() {
        true => redact_check(&job.run)?,
        false => redact_run(&mut job.run, request)?,
    };
    record.warnings.iter().for_each(|warning| job.reporter.warn(warning));
    if json {
        job.reporter.done(false, &record.figures, Map::new());
    }
    process::check_interrupt()?;
    Ok(record.figures)
}
