//! An error of a program: one sentence, a hint, and an exit code.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use failure::{Failure, exit, shown};
use serde_json::json;

/// Result of a task.
pub type Result<T> = std::result::Result<T, Error>;

/// Error of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// One sentence.
    pub message: String,
    /// What the user can do about it.
    pub hint: Option<String>,
    /// Exit code, one of [`exit`] or the one that a stage ended with.
    pub code: u8,
    /// Whether the event stream already has an event of it.
    pub in_events: bool,
    /// Whether a stage was ended by a fault of its own, as by a library that meets damage.
    pub is_crash: bool,
}

impl Error {
    /// An error with an exit code.
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, code, in_events: false, is_crash: false }
    }

    /// Something unexpected, or the system refused.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::new(exit::UNEXPECTED, message)
    }

    /// An error that has been shown already; only its exit code is left to give.
    pub fn shown(code: u8) -> Self {
        Self::new(code, "")
    }

    /// Ctrl-C.
    pub fn interrupted() -> Self {
        Self::new(exit::INTERRUPTED, "interrupted")
    }

    /// The system refused to do something with a file: `verb` as in "failed to {verb} `{path}`".
    pub fn io(verb: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("failed to {verb} `{}`", path.display());
        move |error| Self::unexpected(format!("{what}: {error}"))
    }

    /// Adds what the person can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a hint unless the person ended the task.
    #[must_use]
    pub fn hint_unless_interrupted(self, hint: impl Into<String>) -> Self {
        if self.is_interrupt() { self } else { self.hint(hint) }
    }

    /// Whether the person ended the task.
    pub fn is_interrupt(&self) -> bool {
        self.code == exit::INTERRUPTED
    }

    /// Reports the error: to people on standard error and, with `json`, as an event of `program` on standard
    /// output.
    pub fn report(&self, program: &str, json: bool) -> ExitCode {
        let Self { message, hint, code, in_events, .. } = self;
        if json && !in_events {
            let event = json!({
                "event": "error", "stage": program, "message": message, "hint": hint, "exit_code": code,
            });
            say(&event.to_string());
        }
        if !message.is_empty() {
            let label = if self.is_interrupt() { "" } else { "error: " };
            eprintln!("{label}{}", shown(message));
            if let Some(hint) = hint {
                eprintln!("hint: {}", shown(hint));
            }
        }
        ExitCode::from(*code)
    }
}

impl<E: Failure> From<E> for Error {
    fn from(error: E) -> Self {
        Self { hint: error.hint(), ..Self::new(error.exit_code(), error.to_string()) }
    }
}

/// Writes one line of data to standard output, without what would control a terminal. A reader that has gone away is no
/// error.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{}", shown(line));
}

/// Writes a warning to standard error, without what would control a terminal.
pub fn warn(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "warning: {}", shown(message));
}
