//! How a task ends when it does not succeed: one sentence, a hint, an exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

/// Exit codes, the same as those of the stages.
pub(crate) mod exit {
    /// Something unexpected, or the system refused.
    pub(crate) const UNEXPECTED: u8 = 1;
    /// Wrong usage: arguments or configuration.
    pub(crate) const USAGE: u8 = 2;
    /// The input cannot be used: the video, the labels or the weights.
    pub(crate) const INPUT: u8 = 3;
    /// A quality gate was not met.
    pub(crate) const QUALITY: u8 = 5;
    /// Ctrl-C: 128 + SIGINT, as shells have it.
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Result of whatever a task does.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a task ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// One sentence.
    pub(crate) message: String,
    /// What the person can do about it.
    pub(crate) hint: Option<String>,
    /// Exit code, one of [`exit`] or what a stage ended with.
    pub(crate) code: u8,
    /// Whether a stage's own event has already told it to whoever reads events.
    pub(crate) in_events: bool,
    /// Whether a stage broke off by a fault of its own, as libraries do that meet damage.
    pub(crate) is_crash: bool,
}

impl Failure {
    /// A failure with an exit code.
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code, in_events: false, is_crash: false }
    }

    /// Something unexpected, or the system refused.
    pub(crate) fn unexpected(message: impl Into<String>) -> Self {
        Self::new(exit::UNEXPECTED, message)
    }

    /// What a program that we passed a task on to has told already.
    pub(crate) fn told(code: u8) -> Self {
        Self::new(code, "")
    }

    /// Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new(exit::INTERRUPTED, "interrupted")
    }

    /// The system refused to do something with a file: `verb` as in "could not {verb} {path}".
    pub(crate) fn io(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("could not {verb} {}", path.display());
        move |error| Self::unexpected(format!("{what}: {error}"))
    }

    /// Says what the person can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the person ended it.
    pub(crate) fn is_interrupt(&self) -> bool {
        self.code == exit::INTERRUPTED
    }

    /// Tells people, on standard error, and programs, as an event on standard output.
    pub(crate) fn tell(&self, json: bool) -> ExitCode {
        if json && !self.in_events {
            let event = json!({
                "event": "error",
                "stage": "xtask",
                "message": self.message,
                "hint": self.hint,
                "exit_code": self.code,
            });
            say(&event.to_string());
        }
        if self.message.is_empty() {
            return ExitCode::from(self.code);
        }
        let label = if self.is_interrupt() { "" } else { "error: " };
        eprintln!("{label}{}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
        ExitCode::from(self.code)
    }
}

/// Writes one line of data to standard output. A reader that has gone away is no failure of ours.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
