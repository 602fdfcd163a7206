//! What every stage shares: arguments, configuration, progress events, exit codes.
//!
//! With `--json` a stage speaks JSON Lines on standard output, one [event](Reporter) a line; the
//! same lines go to `logs/<stage>.jsonl` in the run directory. Without it, people read warnings,
//! errors and one closing line on standard error.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use failure::{Failure, shown};
use schema::io::PRODUCER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

pub use crate::config::read_config;
use crate::error::{Error, Result};
use crate::manifest::{STAGES, StageRecord};
use crate::{Begin, Plan, RunDir, StageRun};

/// Receives the progress of a stage.
pub trait Progress {
    /// `done` of `total` units are through; `total` is an estimate and may be 0 when unknown.
    fn advance(&mut self, done: u64, total: u64, unit: &str);
    /// The frame that comes next, noted where it outlives a crash.
    fn bookmark(&mut self, _frame_idx: i64) {}
}

/// A stage: its name, the version of what it computes, and its own arguments.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// Name, one of [`crate::manifest::STAGES`].
    pub name: &'static str,
    /// Raised whenever the same inputs would give other outputs.
    pub version: u32,
    /// One sentence for `--help`.
    pub about: &'static str,
}

/// What a stage gets to work with.
#[derive(Debug)]
pub struct Job<C> {
    /// The stage.
    pub stage: Stage,
    /// The open run directory.
    pub run: RunDir,
    /// Its section of the configuration, defaults filled in.
    pub config: C,
    /// Number of worker threads; never changes the result.
    pub threads: usize,
    /// Run even when an earlier result still holds.
    pub force: bool,
    /// Speaks to the person or to the program that started the stage.
    pub reporter: Reporter,
}

impl<C: Serialize> Job<C> {
    /// Asks the run directory whether the stage must run, given the tables and other inputs it reads.
    pub fn begin(&mut self, tables: &[&'static str], inputs: &[crate::manifest::Input]) -> Result<Begin> {
        let path = self.run.root().to_path_buf();
        let config =
            serde_json::to_value(&self.config).map_err(|e| Error::Config { path, reason: e.to_string() })?;
        let Stage { name, version, .. } = self.stage;
        self.run.begin(&Plan { stage: name, version, config: &config, tables, inputs, force: self.force })
    }

    /// Commits what the stage wrote.
    pub fn commit(&mut self, stage: StageRun) -> Result<Outcome> {
        Ok(Outcome { record: self.run.commit(stage)?, skipped: false })
    }
}

/// How a stage ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the manifest says of it.
    pub record: StageRecord,
    /// Whether an earlier result still held.
    pub skipped: bool,
}

impl Outcome {
    /// An earlier result still holds.
    pub fn skipped(record: StageRecord) -> Self {
        Self { record, skipped: true }
    }
}

/// What every stage is started with.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    /// The run directory.
    pub run_dir: PathBuf,
    /// A TOML file with one section for each stage.
    pub config: Option<PathBuf>,
    /// Settings that override the file's, each a line of TOML such as `detect-track.min_face_px = 20`.
    pub settings: Vec<String>,
    /// Number of worker threads; every core unless given.
    pub threads: Option<usize>,
    /// Run even when nothing has changed.
    pub force: bool,
    /// Another run of the video, whose tables are taken over where they would be the same.
    pub reuse: Option<PathBuf>,
    /// Name of the run in its tables; the name of the directory unless given.
    pub run_id: Option<String>,
    /// Write events as JSON Lines to standard output.
    pub json: bool,
}

/// Number of threads that this process may run at a time: the default of `threads`.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

impl<C: Default + DeserializeOwned> Job<C> {
    /// Opens the run directory and reads the configuration; the log begins.
    ///
    /// # Errors
    /// The configuration is wrong, or the run directory cannot be used.
    pub fn open(stage: Stage, arguments: &Arguments) -> Result<Self> {
        let settings: Vec<_> = arguments.settings.iter().map(String::as_str).collect();
        let config = read_config(arguments.config.as_deref(), &settings, stage.name)?;
        let mut run = RunDir::open(&arguments.run_dir)?;
        arguments.run_id.iter().try_for_each(|name| run.name(name))?;
        arguments.reuse.iter().try_for_each(|other| run.reuse(other))?;
        let mut reporter = Reporter::new(stage.name, arguments.json);
        reporter.log_to(&run.root().join("logs"))?;
        let threads = arguments.threads.unwrap_or_else(cores);
        Ok(Self { stage, run, config, threads, force: arguments.force, reporter })
    }
}

/// Runs a stage as a process of its own: opens the run directory, runs `body`, reports how it ended.
pub fn main<C, E>(
    stage: Stage,
    arguments: &Arguments,
    body: impl FnOnce(&mut Job<C>) -> std::result::Result<Outcome, E>,
) -> ExitCode
where
    C: Default + Serialize + DeserializeOwned,
    E: Failure + From<Error>,
{
    let mut job = match Job::open(stage, arguments) {
        Ok(job) => job,
        Err(error) => return Reporter::new(stage.name, arguments.json).failed(&error),
    };
    match body(&mut job) {
        Ok(outcome) => job.reporter.finished(&outcome),
        Err(error) => job.reporter.failed(&error),
    }
}

/// Speaks events: to standard output and the log as JSON Lines, or to people on standard error.
///
/// Events, each with `event` and `stage`: `progress` (done, total, unit), `warning` (message),
/// `error` (message, hint, exit_code), `finished` (skipped, duration_secs, figures, rows). The log begins with
/// `started` (producer, arguments).
#[derive(Debug)]
pub struct Reporter {
    stage: &'static str,
    json: bool,
    log: Option<File>,
    /// A file that says how far a stage has come, there only while it runs: after a crash it stays.
    bookmark_path: PathBuf,
    bookmark: Option<File>,
    started: Instant,
    last_progress: Option<Instant>,
}

impl Reporter {
    /// A reporter of the program that calls itself `stage`, without a log.
    pub fn new(stage: &'static str, json: bool) -> Self {
        let (bookmark_path, started) = (PathBuf::new(), Instant::now());
        Self { stage, json, log: None, bookmark_path, bookmark: None, started, last_progress: None }
    }

    fn log_to(&mut self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let path = folder.join(format!("{}.jsonl", self.stage));
        let mut log = File::create(&path).map_err(Error::io("create", &path))?;
        // The first line has the arguments, so that later lines need not name files. Arguments of `redact` are left out:
        // they may name the removed person.
        let is_stage = STAGES.contains(&self.stage);
        let arguments = std::env::args_os().filter(|_| is_stage);
        let arguments: Vec<_> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
        let started =
            json!({ "event": "started", "stage": self.stage, "producer": PRODUCER, "arguments": arguments });
        let _ = writeln!(log, "{started}");
        self.log = Some(log);
        self.bookmark_path = folder.join(format!("{}.at", self.stage));
        self.remove_bookmark();
        Ok(())
    }

    /// Something went wrong without ending the stage.
    pub fn warn(&mut self, message: &str) {
        self.say(&format!("warning: {message}"));
        self.emit("warning", json!({ "message": message }), true);
    }

    /// Prints the final message of a failure.
    pub fn failed(mut self, error: &dyn Failure) -> ExitCode {
        self.remove_bookmark();
        let hint = error.hint();
        self.say(&format!("error: {error}"));
        if let Some(hint) = &hint {
            self.say(&format!("hint: {hint}"));
        }
        let code = error.exit_code();
        self.emit("error", json!({ "message": error.to_string(), "hint": hint, "exit_code": code }), true);
        ExitCode::from(code)
    }

    fn finished(mut self, outcome: &Outcome) -> ExitCode {
        self.remove_bookmark();
        let record = &outcome.record;
        for warning in &record.warnings {
            self.warn(warning);
        }
        let rows = record.outputs.iter().filter_map(|o| Some((o.file.clone(), json!(o.rows?)))).collect();
        self.done(outcome.skipped, &record.figures, rows)
    }

    /// Prints the final message of a success.
    pub fn done(mut self, skipped: bool, figures: &Map<String, Value>, rows: Map<String, Value>) -> ExitCode {
        let what = if skipped { "is up to date" } else { "done" };
        self.say(&format!("{} {what}: {}", self.stage, json!(figures)));
        let secs = self.started.elapsed().as_secs_f64();
        let event = json!({ "skipped": skipped, "duration_secs": secs, "figures": figures, "rows": rows });
        self.emit("finished", event, true);
        ExitCode::SUCCESS
    }

    fn remove_bookmark(&self) {
        let _ = std::fs::remove_file(&self.bookmark_path);
    }

    /// Prints a line for people. Like [`Self::emit`], it ignores a failed write.
    fn say(&self, line: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr().lock(), "{}", shown(line));
        }
    }

    /// A failed write to stdout or to the log is ignored; it must not abort the stage.
    fn emit(&mut self, event: &str, mut fields: Value, log: bool) {
        fields["event"] = json!(event);
        fields["stage"] = json!(self.stage);
        fields["at_secs"] = json!(self.started.elapsed().as_secs_f64());
        if self.json {
            let _ = writeln!(std::io::stdout().lock(), "{fields}");
        }
        if let Some(file) = self.log.as_mut().filter(|_| log) {
            let _ = writeln!(file, "{fields}");
        }
    }
}

impl Progress for Reporter {
    fn advance(&mut self, done: u64, total: u64, unit: &str) {
        const PAUSE: Duration = Duration::from_millis(100);
        if done < total && self.last_progress.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        self.last_progress = Some(Instant::now());
        self.emit("progress", json!({ "done": done, "total": total, "unit": unit }), false);
    }

    /// As little as possible, because it is done for every frame; a bookmark that fails is none.
    fn bookmark(&mut self, frame_idx: i64) {
        if self.bookmark.is_none() {
            self.bookmark = File::create(&self.bookmark_path).ok();
        }
        if let Some(file) = &self.bookmark {
            let _ = file.write_all_at(format!("{frame_idx:<20}").as_bytes(), 0);
        }
    }
}
