//! `cargo xtask forget`: takes people out of a finished run, and looks whether they are gone.
//!
//! The program `ftl-forget` writes the tables of faces and vectors anew, without these people. Then `cluster`
//! and `evaluate` run again with the settings they had, because everything they wrote was made from the old
//! tables; at last `ftl-forget` reads every table again. Labels name people, so the run forgets them all.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Failure, Result, exit, say};
use crate::progress::Screen;
use crate::run;
use crate::stages::{self, Finished, Job, STAGES};

/// Name of the program, less its beginning.
const PROGRAM: &str = "forget";

/// What `cargo xtask forget` was called with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The run directory.
    pub(crate) run_dir: PathBuf,
    /// Who is to be forgotten.
    pub(crate) identities: Vec<u32>,
    /// Events on standard output.
    pub(crate) json: bool,
}

/// Forgets people.
pub(crate) fn forget(options: &Options) -> Result<()> {
    let manifest = options.run_dir.join("manifest.json");
    if !manifest.is_file() {
        let message = format!("{} is not the directory of a run", options.run_dir.display());
        return Err(Failure::new(exit::USAGE, message).hint("name a folder that has a manifest.json"));
    }
    run::build(options.json)?;
    let run_dir = std::path::absolute(&options.run_dir).map_err(Failure::io("resolve", &options.run_dir))?;
    let mut screen = Screen::new(options.json, false);
    let people: Vec<_> = options.identities.iter().map(u32::to_string).collect();
    let erased = start(&run_dir, &["--identity".into(), people.join(",").into()], &mut screen, options.json)?;
    // The settings of the run, from which the stages after the erased ones start again.
    let config = Some(run_dir.join("config.toml"));
    let job = Job { run_dir: run_dir.clone(), config, ..Job::default() };
    for stage in STAGES.iter().filter(|stage| ["cluster", "evaluate"].contains(&stage.name)) {
        stages::run(stage, &job, &mut screen, options.json)?;
    }
    let scanned = start(&run_dir, &[], &mut screen, options.json)?;
    close(options, &erased, &scanned);
    Ok(())
}

/// Takes every picture out of the tables of a run.
pub(crate) fn pictures(run_dir: &Path, screen: &mut Screen, json: bool) -> Result<()> {
    start(run_dir, &["--pictures".into()], screen, json).map(|_| ())
}

/// Looks whether what was forgotten is gone.
pub(crate) fn scan(run_dir: &Path, screen: &mut Screen, json: bool) -> Result<()> {
    start(run_dir, &[], screen, json).map(|_| ())
}

fn start(run_dir: &Path, own: &[OsString], screen: &mut Screen, json: bool) -> Result<Finished> {
    let mut arguments = vec!["--run-dir".into(), run_dir.into()];
    arguments.extend_from_slice(own);
    arguments.push("--json".into());
    stages::run_program(PROGRAM, &arguments, run_dir, screen, json)
}

fn close(options: &Options, erased: &Finished, scanned: &Finished) {
    let figure = |of: &Finished, name: &str| of.figures.get(name).and_then(Value::as_u64).unwrap_or(0);
    let (tracks, rows) = (figure(erased, "tracks_forgotten"), figure(scanned, "rows_scanned"));
    let files = figure(scanned, "files_scanned");
    if options.json {
        let event =
            json!({ "event": "forgotten", "tracks": tracks, "rows_scanned": rows, "files_scanned": files });
        return say(&event.to_string());
    }
    eprintln!("{tracks} tracks are forgotten; none is left in {rows} rows of {files} files");
    eprintln!("the video itself, copies of the run and backups are yours to see to");
}
