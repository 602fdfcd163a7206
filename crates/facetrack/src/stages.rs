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
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Instant;

use console::process::{self, Cost};
use console::{Error, Result, exit};
use run::manifest::STAGES;
use run::stage::Stage;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::RunArgs;
use crate::progress::Screen;
use crate::single::Plan;
use crate::sources;
use crate::{keys, models};

/// Number of lines kept of the output of a stage that are no events.
const STRAY_LINES: usize = 40;
/// Exit code of a Rust program that panicked.
const PANICKED: i32 = 101;
/// SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV: faults of the program itself.
const FAULTS: [i32; 5] = [4, 6, 7, 8, 11];

/// The arguments of a stage.
fn arguments(stage: &str, plan: &Plan<'_>, video: &Path, run_dir: &Path) -> Vec<OsString> {
    let Plan { args, settings, embedders, weights } = plan;
    let mut all: Vec<OsString> = Vec::new();
    let mut option = |name: &str, value: OsString| all.extend([name.into(), value]);
    option("--run-dir", run_dir.into());
    if ["ingest", "detect-track"].contains(&stage) {
        option("--video", video.into());
    }
    match stage {
        "detect-track" => option("--weights", models::YUNET.safetensors(weights).into()),
        "embed" => {
            // Of two files for one embedder, the stage takes the last.
            for source in sources::earlier(run_dir, weights).iter().chain(embedders) {
                let (name, value) = source.arguments(weights);
                option(name, value);
            }
        }
        "evaluate" => args.labels.iter().for_each(|labels| option("--labels", labels.into())),
        _ => {}
    }
    args.config.iter().for_each(|config| option("--config", config.into()));
    settings.iter().for_each(|setting| option("--set", setting.into()));
    args.threads.iter().for_each(|threads| option("--threads", threads.to_string().into()));
    args.reuse.iter().for_each(|other| option("--reuse", other.into()));
    args.run_id.iter().for_each(|name| option("--run-id", name.into()));
    if args.wait.secs > 0 {
        option("--wait", args.wait.secs.to_string().into());
    }
    let place = |name: &str| STAGES.iter().position(|known| *known == name);
    if args.from.as_deref().and_then(place).is_some_and(|from| place(stage) >= Some(from)) {
        all.push("--force".into());
    }
    all.push("--json".into());
    all
}

/// Environment variable of a stage that ends when its standard input ends, which a process that is killed closes.
pub(crate) const ENDS_WITH_INPUT: &str = "FACETRACK_ENDS_WITH_INPUT";

/// Environment variable of glibc: number of pools from which threads allocate memory. By default there are up to eight
/// for each core, and what a thread has freed is of no use to the threads of another pool. With as many pools as threads
/// of the stage, two, `detect-track` needs 151 in place of 164 MiB for 30 s of 720 lines, in the same time.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Event of a stage.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// So much is done; a total of 0 is unknown.
    Progress { done: u64, total: u64, unit: String },
    /// Something went wrong without ending the stage.
    Warning { message: String },
    /// Why the stage ends early.
    Error { message: String, hint: Option<String> },
    /// The stage has its results.
    Finished(Finished),
    /// An event of a later version.
    #[serde(other)]
    Other,
}

/// How a stage finished.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub(crate) struct Finished {
    /// Whether an earlier result still held.
    pub(crate) skipped: bool,
    /// Duration reported by the stage.
    #[serde(rename = "duration_secs")]
    pub(crate) secs: f64,
    /// Duration and memory measured by the parent process.
    #[serde(skip)]
    pub(crate) cost: Cost,
    /// Summary values.
    pub(crate) figures: Map<String, Value>,
}

impl Event {
    /// Reads a line; `None` when it is no event.
    fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

/// Runs a stage to its end, as a process of its own.
pub(crate) fn run(
    stage: &'static str,
    plan: &Plan<'_>,
    video: &Path,
    run_dir: &Path,
    screen: &mut Screen,
) -> Result<Finished> {
    screen.begin(stage);
    let program = std::env::current_exe()
        .map_err(|e| Error::unexpected(format!("failed to locate the program file: {e}")))?;
    let mut command = Command::new(program);
    command.args(["stage", stage]).args(arguments(stage, plan, video, run_dir));
    if std::env::var_os(ARENAS).is_none() {
        let threads = plan.args.threads.unwrap_or_else(run::stage::cores);
        command.env(ARENAS, threads.to_string());
    }
    keys::pass(&mut command);
    let result = listen_to(&mut command, screen)
        .and_then(|(heard, status, cost)| Ok(Finished { cost, ..heard.conclude(stage, status, run_dir)? }));
    screen.end(&result);
    result
}

/// Runs stages again on a run, with the settings of the run and those that override them.
pub(crate) fn again(
    stages: &[Stage],
    run_dir: &Path,
    settings: Vec<String>,
    labels: Option<PathBuf>,
    screen: &mut Screen,
) -> Result<()> {
    let args = RunArgs { config: Some(run_dir.join("config.toml")), labels, ..RunArgs::default() };
    let plan = Plan { args: &args, settings, embedders: Vec::new(), weights: PathBuf::new() };
    stages.iter().try_for_each(|stage| run(stage.name, &plan, Path::new(""), run_dir, screen).map(drop))
}

fn listen_to(command: &mut Command, screen: &mut Screen) -> Result<(Heard, ExitStatus, Cost)> {
    command.env(ENDS_WITH_INPUT, "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = process::spawn(command)?;
    // Open as long as this process lives.
    let _input = child.stdin.take();
    let (send, lines) = mpsc::channel();
    child.stdout.take().into_iter().for_each(|pipe| forward(true, pipe, send.clone()));
    child.stderr.take().into_iter().for_each(|pipe| forward(false, pipe, send.clone()));
    drop(send);
    let mut heard = Heard::default();
    heard.listen(&lines, screen);
    let (status, cost) = process::wait_since(started, &mut child)?;
    // Whatever was said between our last look and the end.
    heard.listen(&lines, screen);
    Ok((heard, status, cost))
}

/// A line, and whether it came from standard output, where events are.
type Line = (bool, String);

/// Sends the lines of a pipe on, in a thread of its own.
fn forward(events: bool, pipe: impl std::io::Read + Send + 'static, to: Sender<Line>) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(std::io::Result::ok) {
            if to.send((events, String::from_utf8_lossy(&line).into_owned())).is_err() {
                return;
            }
        }
    });
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
    fn listen(&mut self, lines: &Receiver<Line>, screen: &mut Screen) {
        loop {
            let (events, line) = match lines.recv_timeout(process::TICK) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) if !process::interrupted() => continue,
                Err(_) => return,
            };
            let Some(event) = Event::parse(&line).filter(|_| events) else {
                if self.stray.len() == STRAY_LINES {
                    self.stray.pop_front();
                }
                self.stray.push_back(line);
                continue;
            };
            screen.repeat(&line);
            screen.hear(&event);
            match event {
                Event::Finished(finished) => self.finished = Some(finished),
                Event::Error { message, hint } => self.error = Some((message, hint)),
                _ => {}
            }
        }
    }

    fn conclude(self, stage: &str, status: ExitStatus, run_dir: &Path) -> Result<Finished> {
        if let (true, Some(finished)) = (status.success(), self.finished) {
            return Ok(finished);
        }
        if let Some((message, hint)) = self.error {
            let code = status.code().and_then(|c| u8::try_from(c).ok()).filter(|c| *c != 0);
            let code = code.unwrap_or(exit::UNEXPECTED);
            return Err(Error { hint, in_events: true, ..Error::new(code, message) });
        }
        let stray: String = self.stray.iter().map(|line| format!("{line}\n")).collect();
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
    let logs = run_dir.join("logs");
    let (events, output) = (logs.join(format!("{stage}.jsonl")), logs.join(format!("{stage}.stderr.txt")));
    // The crash is reported even if its output cannot be kept.
    let mut hint = match fs::create_dir_all(&logs).and_then(|()| fs::write(&output, stray)) {
        Ok(()) => format!("logs are in {} and {}", output.display(), events.display()),
        Err(_) => format!("the log is {}", events.display()),
    };
    let is_crash =
        status.code() == Some(PANICKED) || status.signal().is_some_and(|signal| FAULTS.contains(&signal));
    if let Some(frame) = frame.filter(|_| is_crash) {
        // To leave frames out, one must know which there are, and that is what `ingest` reads.
        hint += &match (stage, frame) {
            ("ingest", 0) => "\n--skip-bad cannot help here: use another copy of the video".into(),
            ("ingest", _) => format!(
                "\n--skip-bad cannot help here; save the part before this frame with\n\
                 ffmpeg -i VIDEO -map 0:v:0 -c copy -frames:v {frame} part.mkv"
            ),
            _ => "\nrun with --skip-bad to continue without the frames around it".to_owned(),
        };
    }
    Error { is_crash, ..Error::new(code, message).hint(hint) }
}

/// The next frame that a stage was to hand on when it crashed: its bookmark is there only if it did not
/// end by itself.
pub(crate) fn frame_at_crash(stage: &str, run_dir: &Path) -> Option<i64> {
    fs::read_to_string(run_dir.join("logs").join(format!("{stage}.at"))).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::WeightSource;

    fn line(stage: &str, change: impl FnOnce(&mut RunArgs, &mut Vec<String>)) -> String {
        let embedders = models::by_name("sface").map(WeightSource::Pinned).into_iter().collect();
        let (mut args, mut settings) = (RunArgs::default(), Vec::new());
        change(&mut args, &mut settings);
        let plan = Plan { args: &args, settings, embedders, weights: "w".into() };
        let all = arguments(stage, &plan, Path::new("v.mkv"), Path::new("out"));
        all.iter().map(|a| a.display().to_string()).collect::<Vec<_>>().join(" ")
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
            assert_eq!(line(stage, |_, _| ()), expected);
        }
    }

    #[test]
    fn options_reach_the_stages() {
        let change = |args: &mut RunArgs, _: &mut Vec<String>| {
            args.labels = Some("t.csv".into());
            args.config = Some("c.toml".into());
            args.threads = Some(2);
            args.reuse = Some("a".into());
        };
        assert_eq!(line("cluster", change), "--run-dir out --config c.toml --threads 2 --reuse a --json");
        let expected = "--run-dir out --labels t.csv --config c.toml --threads 2 --reuse a --json";
        assert_eq!(line("evaluate", change), expected);
        let change = |_: &mut RunArgs, settings: &mut Vec<String>| {
            *settings = vec!["a.b = 1".into(), "a.c = 2".into()]
        };
        assert_eq!(line("cluster", change), "--run-dir out --set a.b = 1 --set a.c = 2 --json");
    }

    #[test]
    fn from_forces_that_stage_and_the_later_ones() {
        let forced =
            STAGES.map(|stage| line(stage, |args, _| args.from = Some("embed".into())).contains("--force"));
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
