//! Child processes: starts programs, waits for them, and ends them on Ctrl-C.
//!
//! A terminal sends Ctrl-C to the whole process group, so children receive the signal too, and this process only
//! waits for their end. If the signal is sent to this process alone, this process kills the child after a pause.

use std::io::{ErrorKind, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wait4::Wait4 as _;

use crate::{Error, Result};

/// Time between an interrupt and the killing of a child that has not ended.
const GRACE: Duration = Duration::from_secs(2);
/// Interval at which a waiting loop checks the child; also the error of measured times.
pub const TICK: Duration = Duration::from_millis(5);
/// Signals that request the end of a process: SIGHUP, SIGINT and SIGTERM.
const ASKED_TO_END: [i32; 3] = [1, 2, 15];

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Makes Ctrl-C set [`interrupted`] instead of ending this process at once.
pub fn watch_interrupts() -> Result<()> {
    let count = || {
        SIGNALS.fetch_add(1, Ordering::SeqCst);
    };
    ctrlc::set_handler(count).map_err(|e| Error::unexpected(format!("failed to handle Ctrl-C: {e}")))
}

/// Returns whether this process received Ctrl-C or another request to end.
pub fn interrupted() -> bool {
    SIGNALS.load(Ordering::SeqCst) > 0
}

/// Fails after an interrupt.
pub fn check_interrupt() -> Result<()> {
    if interrupted() { Err(Error::interrupted()) } else { Ok(()) }
}

/// Exit status, standard error and cost of a finished program.
#[derive(Debug)]
pub struct Captured {
    /// Exit status of the program.
    pub status: ExitStatus,
    /// Standard error of the program.
    pub stderr: String,
    /// Time and memory that the program took.
    pub cost: Cost,
}

/// Time and memory that a process took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Time from the start to the end of the process, seconds.
    pub wall_secs: f64,
    /// Processor time on all cores together, in user and kernel mode, seconds.
    pub cpu_secs: f64,
    /// Largest resident memory, bytes.
    pub peak_bytes: u64,
}

/// Runs a program and shows its output on standard error, because standard output is for data.
pub fn show(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr()));
    let mut child = spawn(command)?;
    let status = wait(&mut child)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::unexpected(format!("`{}` failed ({})", line(command), ended(status))))
}

/// Runs a program without showing its output, and returns its standard error.
pub fn capture(command: &mut Command) -> Result<Captured> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = spawn(command)?;
    let reader = child.stderr.take().map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // After an error, the bytes that were read so far are still useful.
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        })
    });
    let (status, cost) = wait_since(started, &mut child)?;
    let stderr = reader.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ok(Captured { status, stderr: String::from_utf8_lossy(&stderr).into_owned(), cost })
}

/// Returns whether a program can be started and ends with exit code 0.
pub fn succeeds(program: &str, args: &[&str]) -> bool {
    let quiet = || Stdio::null();
    let status = Command::new(program).args(args).stdin(quiet()).stdout(quiet()).stderr(quiet()).status();
    status.is_ok_and(|s| s.success())
}

/// Starts a program.
pub fn spawn(command: &mut Command) -> Result<Child> {
    check_interrupt()?;
    command.spawn().map_err(|error| {
        let program = command.get_program().display();
        match error.kind() {
            ErrorKind::NotFound => Error::unexpected(format!("program not found: `{program}`")),
            _ => Error::unexpected(format!("failed to start `{program}`: {error}")),
        }
    })
}

/// Waits for the end of a child. An interrupt ends the child too, and is returned as an error.
pub fn wait(child: &mut Child) -> Result<ExitStatus> {
    wait_since(Instant::now(), child).map(|(status, _)| status)
}

/// Waits for the end of a child that was started at `started`, as [`wait`] does. Returns the exit status and the
/// cost.
pub fn wait_since(started: Instant, child: &mut Child) -> Result<(ExitStatus, Cost)> {
    let refused = |e| Error::unexpected(format!("failed to wait for a program: {e}"));
    let mut asked: Option<Instant> = None;
    let used = loop {
        if let Some(used) = child.try_wait4().map_err(refused)? {
            break used;
        }
        if interrupted() {
            let since = *asked.get_or_insert_with(Instant::now);
            if since.elapsed() > GRACE || SIGNALS.load(Ordering::SeqCst) > 1 {
                // An error means that the child has just ended.
                let _ = child.kill();
            }
        }
        thread::sleep(TICK);
    };
    // The child may receive the signal a moment before this process does.
    let by_signal = used.status.signal().is_some_and(|s| ASKED_TO_END.contains(&s));
    if interrupted() || by_signal {
        Err(Error::interrupted())
    } else {
        let cost = Cost {
            wall_secs: started.elapsed().as_secs_f64(),
            cpu_secs: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
            peak_bytes: used.rusage.maxrss,
        };
        Ok((used.status, cost))
    }
}

/// Returns the exit status of a program as text.
pub fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown end".into(),
    }
}

/// Returns the last `lines` lines of a text that are not empty.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Returns a command as typed in a shell, without quoting.
pub fn line(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).display().to_string();
    let args = command.get_args().map(|a| a.display().to_string());
    std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named() {
        let failure = capture(&mut Command::new("no-such-program-of-ours"));
        let message = failure.err().map(|f| f.message);
        assert_eq!(message.as_deref(), Some("program not found: `no-such-program-of-ours`"));
    }

    #[test]
    fn standard_error_and_the_exit_code_come_back() {
        let done = capture(Command::new("sh").args(["-c", "echo oh >&2; exit 7"]));
        let seen = done.ok().map(|c| (c.stderr, ended(c.status)));
        assert_eq!(seen, Some(("oh\n".to_owned(), "exit code 7".to_owned())));
    }

    #[test]
    fn programs_are_measured() {
        let work = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 0.05";
        let cost = capture(Command::new("sh").args(["-c", work])).ok().map(|c| c.cost).unwrap_or_default();
        assert!(cost.wall_secs >= 0.05 && cost.wall_secs > cost.cpu_secs, "{cost:?}");
        assert!(cost.cpu_secs > 0.0 && cost.peak_bytes > 100_000, "{cost:?}");
    }

    #[test]
    fn the_tail_leaves_out_empty_lines() {
        assert_eq!(tail("a\n\nb\n  \nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn a_command_reads_as_typed() {
        assert_eq!(line(Command::new("cargo").args(["fmt", "--check"])), "cargo fmt --check");
    }
}
