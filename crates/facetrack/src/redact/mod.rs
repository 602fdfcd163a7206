//! `facetrack redact`: removes people or pictures from finished runs and from galleries, and checks that they are gone.
//!
//! * [`targets`]: where the person is: runs, other runs of the same videos, galleries.
//! * [`person`]: removes the person there, and lists what would be removed.
//! * [`expiry`]: runs and galleries whose day has come.
//!
//! The tables of faces and vectors are written anew, without these people. Then `cluster` and `evaluate` run
//! again with the settings that they had, because everything they wrote was made from the old tables; at last
//! every table is read again. Labels name people, so the run loses them all. Galleries with the video lose the people,
//! the corrections about them and the names that came from them, too. Exports that the runs and galleries recorded are
//! deleted.

mod expiry;
mod person;
mod targets;

use std::path::Path;

use console::{Error, Result, exit, process, say};
use run::RunDir;
use run::redact::{self, Report, Request, redact_check, redact_run};
use run::stage::{Arguments, Job};
use serde_json::{Map, Value, json};

use crate::cli::{NEVER, RedactArgs};
use crate::people;

pub(crate) use targets::galleries_beside;

/// Executes `facetrack redact`.
pub(crate) fn redact(args: &RedactArgs) -> Result<()> {
    if let Some(report) = &args.verify {
        return verify(report, args.json);
    }
    if let Some(folder) = &args.expired {
        return expiry::expired(args, folder);
    }
    if let Some(day) = &args.expires {
        return set_expiry(args, day);
    }
    match (&args.run_dir, &args.person) {
        (_, Some(given)) => person::of_gallery(args, given),
        (Some(run_dir), None) => {
            check_run(run_dir)?;
            let run_dir = std::path::absolute(run_dir).map_err(Error::io("resolve", run_dir))?;
            if args.pictures || !args.identity.is_empty() {
                return person::of_run(args, &run_dir);
            }
            if args.dry_run || args.report.is_some() {
                let hint = "name people with --identity, or remove all pictures with --pictures";
                return Err(Error::new(exit::USAGE, "there is nothing to remove").hint(hint));
            }
            let scanned = start(&run_dir, &Request::default(), args.json)?;
            let count = |name: &str| scanned.get(name).and_then(Value::as_u64).unwrap_or(0);
            let (rows, files) = (count("rows_scanned"), count("files_scanned"));
            if args.json {
                say(&json!({ "event": "forgotten", "tracks": 0, "rows_scanned": rows, "files_scanned": files })
                    .to_string());
            } else {
                eprintln!("verified {rows} rows of {files} files: nothing that was removed is left");
            }
            Ok(())
        }
        (None, None) => {
            let hint = "name a person with --person, or set a day with --expires";
            Err(Error::new(exit::USAGE, "there is nothing to remove from the gallery").hint(hint))
        }
    }
}

fn check_run(run_dir: &Path) -> Result<()> {
    if run_dir.join(run::manifest::FILE_NAME).is_file() {
        return Ok(());
    }
    let message = format!("`{}` is not a run directory: it has no manifest.json", run_dir.display());
    Err(Error::new(exit::INPUT, message).hint("pass a run directory with --run-dir"))
}

/// Verifies that nothing of a report is left.
fn verify(path: &Path, json: bool) -> Result<()> {
    let report = Report::read(path)?;
    let (found, searched) = report.check()?;
    if json {
        say(&json!({ "event": "verified", "report": path, "files": searched, "left": found }).to_string());
    } else {
        found.iter().for_each(|found| say(found));
    }
    if found.is_empty() {
        if !json {
            let digests: usize = report.places.iter().map(|place| place.digests.len()).sum();
            eprintln!(
                "verified {searched} files: none of the {digests} removed pictures and vectors is there, and no \
                 removed file"
            );
        }
        return Ok(());
    }
    let message =
        format!("something that was removed is there: {}", console::counted(found.len(), "trace", "traces"));
    Err(Error::new(exit::CONTRACT, message)
        .hint("redact the person again; `redact --dry-run` lists the places"))
}

/// Sets the day of expiry of a run and of galleries.
fn set_expiry(args: &RedactArgs, day: &str) -> Result<()> {
    if let Some(run_dir) = &args.run_dir {
        check_run(run_dir)?;
        RunDir::open(run_dir)?.set_expiry(Some(day.to_owned()).filter(|day| day != NEVER))?;
    }
    for library in &args.library {
        gallery::validate::require(library)?;
        people::set_expiry(library, day)?;
    }
    for path in args.run_dir.iter().chain(&args.library) {
        if args.json {
            say(&json!({ "event": "expires", "path": path, "expires": day }).to_string());
        } else {
            eprintln!("`{}` expires: {day}", path.display());
        }
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
