//! The stages as processes: what each is called with, and what it reports while it runs.
//!
//! A stage called with `--json` prints one event a line: `progress`, `warning`, `error`,
//! `finished`. Anything else that it writes, on either stream, is the sign of a crash and is kept in a log.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use console::process::{self, Cost};
use console::{Error, Result, exit, say};
use run::manifest::STAGES;
use serde_json::{Map, Value};

use crate::models;
use crate::progress::Screen;
use crate::sources::Source;

/// Number of lines kept of the output of a stage that are no events.
const STRAY_LINES: usize = 40;
/// Exit code of a Rust program that panicked.
const PANICKED: i32 = 101;
/// SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: faults of the program itself.
const FAULTS: [i32; 5] = [4, 6, 7, 8, 11];

/// Arguments of a run for its stages.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    /// The video.
    pub(crate) video: &'a Path,
    /// Ground truth, if any.
    pub(crate) labels: Option<&'a Path>,
    /// Edits, if any.
    pub(crate) edits: Option<&'a Path>,
    /// Where results go.
    pub(crate) run_dir: &'a Path,
    /// Configuration, if any.
    pub(crate) config: Option<&'a Path>,
    /// Settings that override it, each a line of TOML.
    pub(crate) settings: Vec<String>,
    /// This stage and the later ones run even if nothing has changed.
    pub(crate) from: Option<&'a str>,
    /// Worker threads.
    pub(crate) threads: Option<usize>,
    /// Folder of the pinned weights.
    pub(crate) weights: &'a Path,
    /// The networks that turn crops into vectors.
    pub(crate) embedders: &'a [Source],
}

impl<'a> Job<'a> {
    /// The stages behind `embed` once more, with the settings of an earlier run.
    pub(crate) fn again(run_dir: &'a Path, config: &'a Path) -> Self {
        Self {
            video: Path::new(""),
            labels: None,
            edits: None,
            run_dir,
            config: Some(config),
            settings: Vec::new(),
            from: None,
            threads: None,
            weights: Path::new(""),
            embedders: &[],
        }
    }

    /// The arguments of a stage.
    fn arguments(&self, stage: &str) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut option = |name: &str, value: OsString| args.extend([name.into(), value]);
        option("--run-dir", self.run_dir.into());
        if ["ingest", "detect-track"].contains(&stage) {
            option("--video", self.video.into());
        }
        match stage {
            "detect-track" => option("--weights", models::YUNET.safetensors(self.weights).into()),
            "embed" => {
                for source in self.embedders {
                    let (name, value) = source.arguments(self.weights);
                    option(name, value);
                }
            }
            "cluster" => self.edits.into_iter().for_each(|edits| option("--edits", edits.into())),
            "evaluate" => self.labels.into_iter().for_each(|labels| option("--labels", labels.into())),
            _ => {}
        }
        if let Some(config) = self.config {
            option("--config", config.into());
        }
        for setting in &self.settings {
            option("--set", setting.into());
        }
        if let Some(threads) = self.threads {
            option("--threads", threads.to_string().into());
        }
        if self.forces(stage) {
            args.push("--force".into());
        }
        args.push("--json".into());
        args
    }

    fn forces(&self, stage: &str) -> bool {
        let place = |name: &str| STAGES.iter().position(|known| *known == name);
        self.from.and_then(place).is_some_and(|from| place(stage) >= Some(from))
    }
}

/// Event of a stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// So much is done; a total of 0 is unknown.
    Progress { done: u64, total: u64, unit: String },
    /// Something went wrong without ending the stage.
    Warning(String),
    /// Why the stage ends early.
    Error { message: String, hint: Option<String> },
    /// The stage has its results.
    Finished(Finished),
    /// An event of a later version.
    Other,
}

/// How a stage finished.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Finished {
    /// Whether an earlier result still held.
    pub(crate) skipped: bool,
    /// Duration reported by the stage.
    pub(crate) secs: f64,
    /// Duration and memory measured by the parent process.
    pub(crate) cost: Cost,
    /// Summary values.
    pub(crate) figures: Map<String, Value>,
}

impl Event {
    /// Reads a line; `None` when it is no event.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| event.get(key).and_then(Value::as_u64).unwrap_or(0);
        Some(match event.get("event")?.as_str()? {
            "progress" => Self::Progress {
                done: number("done"),
                total: number("total"),
                unit: text("unit").unwrap_or_default(),
            },
            "warning" => Self::Warning(text("message").unwrap_or_default()),
            "error" => Self::Error { message: text("message").unwrap_or_default(), hint: text("hint") },
            "finished" => Self::Finished(Finished {
                skipped: event.get("skipped").and_then(Value::as_bool).unwrap_or(false),
                secs: event.get("duration_secs").and_then(Value::as_f64).unwrap_or(0.0),
                cost: Cost::default(),
                figures: event.get("figures").and_then(Value::as_object).cloned().unwrap_or_default(),
            }),
            _ => Self::Other,
        })
    }
}

/// Runs a stage to its end, as a process of its own. With `json` its events go to standard output as they are.
pub(crate) fn run(stage: &'static str, job: &Job<'_>, screen: &mut Screen, json: bool) -> Result<Finished> {
    screen.begin(stage);
    let program = std::env::current_exe()
        .map_err(|e| Error::unexpected(format!("failed to locate the program file: {e}")))?;
    let mut command = Command::new(program);
    command.args(["stage", stage]).args(job.arguments(stage));
    let result = listen_to(&mut command, screen, json).and_then(|(heard, status, cost)| {
        Ok(Finished { cost, ..heard.conclude(stage, status, job.run_dir)? })
    });
    match &result {
        Ok(finished) => screen.finished(finished),
        Err(error) if error.is_interrupt() => screen.clear(),
        Err(_) => screen.failed(),
    }
    result
}

fn listen_to(command: &mut Command, screen: &mut Screen, json: bool) -> Result<(Heard, ExitStatus, Cost)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = process::spawn(command)?;
    let lines = lines_of(&mut child);
    let mut heard = Heard::default();
    heard.listen(&lines, screen, json);
    let (status, cost) = process::wait_since(started, &mut child)?;
    // Whatever was said between our last look and the end.
    heard.listen(&lines, screen, json);
    Ok((heard, status, cost))
}

/// A line, and whether it came from standard output, where events are.
type Line = (bool, String);

fn lines_of(child: &mut Child) -> Receiver<Line> {
    let (send, lines) = mpsc::channel();
    let pipes: [(bool, Option<Box<dyn std::io::Read + Send>>); 2] = [
        (true, child.stdout.take().map(|pipe| Box::new(pipe) as _)),
        (false, child.stderr.take().map(|pipe| Box::new(pipe) as _)),
    ];
    for (events, pipe) in pipes {
        let send = send.clone();
        thread::spawn(move || {
            for line in
                pipe.into_iter().flat_map(|p| BufReader::new(p).split(b'\n')).map_while(std::io::Result::ok)
            {
                if send.send((events, String::from_utf8_lossy(&line).into_owned())).is_err() {
                    return;
                }
            }
        });
    }
    lines
}

/// State of the events of a stage.
#[derive(Debug, Default)]
struct Heard {
    finished: Option<Finished>,
    error: Option<(String, Option<String>)>,
    stray: VecDeque<String>,
}

impl Heard {
    /// Reads until the stage closes both its streams, or the program is asked to stop.
    fn listen(&mut self, lines: &Receiver<Line>, screen: &mut Screen, json: bool) {
        loop {
            match lines.recv_timeout(process::TICK) {
                Ok((events, line)) => self.hear(events, line, screen, json),
                Err(RecvTimeoutError::Timeout) if !process::interrupted() => {}
                Err(_) => return,
            }
        }
    }

    fn hear(&mut self, events: bool, line: String, screen: &mut Screen, json: bool) {
        let Some(event) = Event::parse(&line).filter(|_| events) else {
            if self.stray.len() == STRAY_LINES {
                self.stray.pop_front();
            }
            self.stray.push_back(line);
            return;
        };
        if json {
            say(&line);
        }
        screen.hear(&event);
        match event {
            Event::Finished(finished) => self.finished = Some(finished),
            Event::Error { message, hint } => self.error = Some((message, hint)),
            _ => {}
        }
    }

    fn conclude(self, stage: &str, status: ExitStatus, run_dir: &Path) -> Result<Finished> {
        if let (true, Some(finished)) = (status.success(), self.finished) {
            return Ok(finished);
        }
        let stray: String = self.stray.iter().map(|line| format!("{line}\n")).collect();
        if let Some((message, hint)) = self.error {
            let code = status.code().and_then(|c| u8::try_from(c).ok()).filter(|c| *c != 0);
            let code = code.unwrap_or(exit::UNEXPECTED);
            return Err(Error { hint, in_events: true, ..Error::new(code, message) });
        }
        Err(crashed(stage, status, &stray, run_dir))
    }
}

/// A stage that ended without an event: report how it ended, show its last output, and keep the output in a
/// log.
fn crashed(stage: &str, status: ExitStatus, stray: &str, run_dir: &Path) -> Error {
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => "ended without reporting a result".into(),
        (Some(PANICKED), _) => "crashed: it panicked, which is a bug in facetrack".into(),
        (Some(code), _) => format!("ended with exit code {code} and no reason"),
        (None, Some(9)) => "was killed (signal 9), perhaps because the machine ran out of memory".into(),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended for an unknown reason".into(),
    };
    let usage = status.code() == Some(i32::from(exit::USAGE));
    let code = if usage { exit::USAGE } else { exit::UNEXPECTED };
    let frame = frame_at_crash(stage, run_dir);
    let place = frame.map_or(String::new(), |frame| format!(" at about frame {frame}"));
    let mut message = format!("{stage} {how}{place}");
    let words = process::tail(stray, 8);
    if !words.is_empty() {
        message += &format!("; its last output:\n{words}");
    }
    let is_crash =
        status.code() == Some(PANICKED) || status.signal().is_some_and(|signal| FAULTS.contains(&signal));
    let mut hint = match keep(stage, stray, run_dir) {
        Some(path) => format!("logs are in {} and {}", path.display(), events_log(stage, run_dir).display()),
        None => format!("the log is {}", events_log(stage, run_dir).display()),
    };
    if let Some(frame) = frame.filter(|_| is_crash) {
        hint += &format!("\n{}", past_crash(stage, frame));
    }
    Error { is_crash, ..Error::new(code, message).hint(hint) }
}

/// How to go on after a crash at a frame. To leave frames out, one must know which there are, and that is
/// what `ingest` reads.
fn past_crash(stage: &str, frame: i64) -> String {
    match (stage, frame) {
        ("ingest", 0) => "--skip-bad cannot help here: use another copy of the video".into(),
        ("ingest", _) => format!(
            "--skip-bad cannot help here; save the part before this frame with\n\
             ffmpeg -i VIDEO -map 0:v:0 -c copy -frames:v {frame} part.mkv"
        ),
        _ => "run with --skip-bad to continue without the frames around it".into(),
    }
}

/// The next frame that a stage was to hand on when it crashed: its bookmark is there only if it did not
/// end by itself.
pub(crate) fn frame_at_crash(stage: &str, run_dir: &Path) -> Option<i64> {
    fs::read_to_string(run_dir.join("logs").join(format!("{stage}.at"))).ok()?.trim().parse().ok()
}

fn events_log(stage: &str, run_dir: &Path) -> PathBuf {
    run_dir.join("logs").join(format!("{stage}.jsonl"))
}

/// Keeps what a crashed stage said; the crash is reported even if that fails.
fn keep(stage: &str, stray: &str, run_dir: &Path) -> Option<PathBuf> {
    let dir = run_dir.join("logs");
    let path = dir.join(format!("{stage}.stderr.txt"));
    fs::create_dir_all(&dir).and_then(|()| fs::write(&path, stray)).ok().map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(stage: &str, change: impl FnOnce(&mut Job<'_>)) -> String {
        let embedders: Vec<_> = models::by_name("sface").map(Source::Pinned).into_iter().collect();
        let again = Job::again(Path::new("out"), Path::new(""));
        let (video, weights) = (Path::new("v.mkv"), Path::new("w"));
        let mut job = Job { video, config: None, weights, embedders: &embedders, ..again };
        change(&mut job);
        let words: Vec<_> = job.arguments(stage).iter().map(|a| a.display().to_string()).collect();
        words.join(" ")
    }

    #[test]
    fn every_stage_gets_what_it_needs_and_no_more() {
        let expected = [
            "--run-dir out --video v.mkv --json",
            "--run-dir out --video v.mkv --weights w/yunet.safetensors --json",
            "--run-dir out --weights sface=w/sface.safetensors --json",
            "--run-dir out --json",
            "--run-dir out --json",
        ];
        for (stage, expected) in STAGES.iter().zip(expected) {
            assert_eq!(line(stage, |_| ()), expected);
        }
    }

    #[test]
    fn options_reach_the_stages() {
        let change = |job: &mut Job<'_>| {
            job.labels = Some(Path::new("t.csv"));
            job.config = Some(Path::new("c.toml"));
            job.threads = Some(2);
        };
        assert_eq!(line("cluster", change), "--run-dir out --config c.toml --threads 2 --json");
        let expected = "--run-dir out --labels t.csv --config c.toml --threads 2 --json";
        assert_eq!(line("evaluate", change), expected);
        let change = |job: &mut Job<'_>| job.edits = Some(Path::new("e.csv"));
        assert_eq!(line("cluster", change), "--run-dir out --edits e.csv --json");
        assert_eq!(line("evaluate", change), "--run-dir out --json");
        let change = |job: &mut Job<'_>| job.settings = vec!["a.b = 1".into(), "a.c = 2".into()];
        assert_eq!(line("cluster", change), "--run-dir out --set a.b = 1 --set a.c = 2 --json");
    }

    #[test]
    fn from_forces_that_stage_and_the_later_ones() {
        let forced = STAGES.map(|stage| line(stage, |job| job.from = Some("embed")).contains("--force"));
        assert_eq!(forced, [false, false, true, true, true]);
    }

    #[test]
    fn events_are_read() {
        let progress =
            r#"{"event":"progress","stage":"embed","done":3,"total":9,"unit":"crops","at_secs":1.5}"#;
        assert_eq!(Event::parse(progress), Some(Event::Progress { done: 3, total: 9, unit: "crops".into() }));
        let error = r#"{"event":"error","stage":"ingest","message":"no video","hint":null,"exit_code":3}"#;
        assert_eq!(Event::parse(error), Some(Event::Error { message: "no video".into(), hint: None }));
        let finished = r#"{"event":"finished","skipped":true,"duration_secs":0.5,"figures":{"frames":7}}"#;
        let Some(Event::Finished(finished)) = Event::parse(finished) else {
            unreachable!("a finished event");
        };
        assert!(finished.skipped);
        assert_eq!(finished.figures.get("frames"), Some(&Value::from(7)));
    }

    #[test]
    fn lines_that_are_no_events_are_distinguished_from_unknown_events() {
        assert_eq!(Event::parse(r#"{"event":"checkpoint"}"#), Some(Event::Other));
        for stranger in ["", "thread 'main' panicked", "{}", "[1]", r#"{"event":3}"#] {
            assert_eq!(Event::parse(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_reason_and_its_exit_code_survive() {
        let heard =
            Heard { error: Some(("no faces file".into(), Some("fetch it".into()))), ..Heard::default() };
        let error = heard.conclude("embed", ExitStatus::from_raw(3 << 8), Path::new("/nowhere")).err();
        let expected = Error { in_events: true, ..Error::new(3, "no faces file").hint("fetch it") };
        assert_eq!(error, Some(expected));
    }

    #[test]
    fn crashes_are_distinguished_by_their_exit_status() {
        let tell = |raw: i32| {
            let heard = Heard { stray: ["last words".to_owned()].into(), ..Heard::default() };
            let error = heard.conclude("embed", ExitStatus::from_raw(raw), Path::new("/dev/null/none"));
            error.err().map(|f| (f.code, f.message)).unwrap_or_default()
        };
        let with = |how: &str| format!("embed {how}; its last output:\nlast words");
        assert_eq!(
            tell(9),
            (1, with("was killed (signal 9), perhaps because the machine ran out of memory"))
        );
        assert_eq!(tell(PANICKED << 8), (1, with("crashed: it panicked, which is a bug in facetrack")));
        assert_eq!(tell(2 << 8), (2, with("ended with exit code 2 and no reason")));
        assert_eq!(tell(0), (1, with("ended without reporting a result")));
    }
}
