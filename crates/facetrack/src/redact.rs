//! `facetrack redact`: takes people or pictures out of a finished run, and checks that they are gone.
//!
//! The tables of faces and vectors are written anew, without these people. Then `cluster` and `evaluate` run
//! again with the settings that they had, because everything they wrote was made from the old tables; at last
//! every table is read again. Labels name people, so the run loses them all.

use std::path::Path;

use console::{Error, Result, exit, process, say};
use run::redact::{self, Request, redact_check, redact_run};
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
    let mut erased = Map::new();
    if *pictures {
        start(&run_dir, &Request { pictures: true, ..Request::default() }, *json)?;
    }
    if !identity.is_empty() {
        let identities = identity.iter().map(|number| i64::from(*number) - 1).collect();
        erased = start(&run_dir, &Request { identities, pictures: false }, *json)?;
    }
    let has_erased = *pictures || !identity.is_empty();
    if has_erased {
        // The stages after the erased ones start again, with the settings of the run.
        let screen = &mut Screen::new(*json, false);
        stages::again(&[cluster::STAGE, evaluate::STAGE], &run_dir, Vec::new(), None, screen)?;
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
        eprintln!("the video itself, copies of the run and backups still contain the person");
    } else {
        eprintln!("nothing that was taken out is left in {rows} rows of {files} files");
    }
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
