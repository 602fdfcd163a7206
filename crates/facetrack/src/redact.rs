//! `facetrack redact`: takes people or pictures out of a finished run, and checks that they are gone.
//!
//! The tables of faces and vectors are written anew, without these people. Then `cluster` and `evaluate` run
//! again with the settings that they had, because everything they wrote was made from the old tables; at last
//! every table is read again. Labels name people, so the run loses them all.

use std::path::Path;

use console::{Error, Result, exit, process, say};
use run::redact::{self, Request, redact_job};
use run::stage::{Arguments, Job};
use serde_json::{Map, Value, json};

use crate::cli::RedactArgs;
use crate::progress::Screen;
use crate::stages;

/// Takes people or pictures out of a run; without either, checks that what was taken out is gone.
pub(crate) fn redact(arguments: &RedactArgs) -> Result<()> {
    let RedactArgs { run_dir, identity, pictures, json } = arguments;
    if !run_dir.join(run::manifest::FILE_NAME).is_file() {
        let message = format!("`{}` is not a run directory: it has no manifest.json", run_dir.display());
        return Err(Error::new(exit::INPUT, message).hint("pass a run directory with --run-dir"));
    }
    let run_dir = std::path::absolute(run_dir).map_err(Error::io("resolve", run_dir))?;
    let mut screen = Screen::new(*json, false);
    let mut erased = Map::new();
    if *pictures {
        self::pictures(&run_dir, *json)?;
    }
    if !identity.is_empty() {
        let identities = identity.iter().copied().map(i64::from).collect();
        erased = start(&run_dir, Request { identities, pictures: false }, *json)?;
    }
    if *pictures || !identity.is_empty() {
        // The settings of the run, with which the stages after the erased ones start again.
        let config = run_dir.join("config.toml");
        let job = stages::Job::again(&run_dir, &config);
        for stage in [cluster::STAGE.name, evaluate::STAGE.name] {
            stages::run(stage, &job, &mut screen, *json)?;
        }
    }
    let scanned = scan(&run_dir, *json)?;
    close(&erased, &scanned, *json, *pictures || !identity.is_empty());
    Ok(())
}

/// Takes every picture out of the tables of a run.
pub(crate) fn pictures(run_dir: &Path, json: bool) -> Result<()> {
    start(run_dir, Request { identities: Vec::new(), pictures: true }, json).map(|_| ())
}

/// Checks that what was taken out is gone, and gives the figures of the search.
pub(crate) fn scan(run_dir: &Path, json: bool) -> Result<Map<String, Value>> {
    start(run_dir, Request::default(), json)
}

/// Works on the run in this process, with the events of a stage.
fn start(run_dir: &Path, request: Request, json: bool) -> Result<Map<String, Value>> {
    process::check_interrupt()?;
    let arguments = Arguments { run_dir: run_dir.to_path_buf(), json, ..Arguments::default() };
    let mut job = Job::open(redact::TASK, &arguments)?;
    let record = redact_job(&mut job, &request)?.record;
    record.warnings.iter().for_each(|warning| job.reporter.warn(warning));
    if json {
        job.reporter.done(false, &record.figures, Map::new());
    }
    process::check_interrupt()?;
    Ok(record.figures)
}

fn close(erased: &Map<String, Value>, scanned: &Map<String, Value>, json: bool, has_erased: bool) {
    let figure = |of: &Map<String, Value>, name: &str| of.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (tracks, rows) = (figure(erased, "tracks_forgotten"), figure(scanned, "rows_scanned"));
    let files = figure(scanned, "files_scanned");
    if json {
        let event =
            json!({ "event": "forgotten", "tracks": tracks, "rows_scanned": rows, "files_scanned": files });
        return say(&event.to_string());
    }
    if !has_erased {
        eprintln!("nothing that was taken out is left in {rows} rows of {files} files");
        return;
    }
    eprintln!("removed {tracks} tracks; verified {rows} rows of {files} files");
    eprintln!("the video itself, copies of the run and backups still contain the person");
}
