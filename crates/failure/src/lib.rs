//! Errors as the user sees them: one sentence, a hint, and the exit code of the process.
//!
//! Libraries have typed errors (`thiserror`) that implement [`Failure`]; programs print them and exit
//! with [`Failure::exit_code`]. [`catch_panic`] turns panics of third-party libraries into errors.

mod catch_panic;

use std::borrow::Cow;

pub use catch_panic::catch_panic;

/// Returns a text that a terminal shows as it is: characters that control a terminal or the direction of writing, which
/// files of strangers may contain, are written as `\u{1b}`. Line breaks and tabs stay.
pub fn shown(text: &str) -> Cow<'_, str> {
    let is_odd = |c: char| {
        c.is_control() && !matches!(c, '\n' | '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_odd(c) { plain.extend(c.escape_unicode()) } else { plain.push(c) }
    }
    Cow::Owned(plain)
}

/// Exit codes of every program of the project.
pub mod exit {
    /// An unexpected error, a crashed stage, or an error of the operating system, such as a full disk or a
    /// missing permission. Run again: yes, after the cause is removed.
    pub const UNEXPECTED: u8 = 1;
    /// Wrong usage: options or settings, or a refused correction. Run again: no.
    pub const USAGE: u8 = 2;
    /// Unusable input: the video, the labels or the weights; a failed download of weights; a missing run
    /// directory. Run again: after a failed download yes, otherwise no.
    pub const INPUT: u8 = 3;
    /// A table or manifest breaks the contract of its version. Run again: no.
    pub const CONTRACT: u8 = 4;
    /// A quality gate was not met (`cargo xtask regress`), or a correction was not applied (`run --strict`). Run again: no.
    pub const QUALITY: u8 = 5;
    /// Another process is using the run directory or the gallery: EX_TEMPFAIL of `sysexits.h`. Run again: yes, later, or
    /// with --wait.
    pub const BUSY: u8 = 75;
    /// Interrupted by Ctrl-C, 128 + SIGINT as in shells; finished stages are kept. Run again: yes, the same
    /// command resumes.
    pub const INTERRUPTED: u8 = 130;
}

/// What follows from an error, beside its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The exit code of the process, one of [`exit`].
    pub exit_code: u8,
    /// What the user can do about the error; `None` if there is nothing to add to the message.
    pub hint: Option<String>,
}

impl Advice {
    /// An exit code and a hint.
    pub fn new(exit_code: u8, hint: impl Into<String>) -> Self {
        Self { exit_code, hint: Some(hint.into()) }
    }
}

impl From<u8> for Advice {
    fn from(exit_code: u8) -> Self {
        Self { exit_code, hint: None }
    }
}

/// An error as the user sees it: one sentence (its `Display`), a hint, an exit code.
pub trait Failure: std::error::Error {
    /// Returns the exit code of the process, and what the user can do about the error.
    fn advice(&self) -> Advice;
    /// Returns what the user can do about the error.
    fn hint(&self) -> Option<String> {
        self.advice().hint
    }
    /// Returns the exit code of the process, one of [`exit`].
    fn exit_code(&self) -> u8 {
        self.advice().exit_code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_controlled_by_a_text() {
        assert_eq!(shown("Ida\tB\u{e5}\n"), "Ida\tB\u{e5}\n");
        assert_eq!(shown("\u{1b}[2J a\rb\u{9b}1m\u{202e}"), "\\u{1b}[2J a\\u{d}b\\u{9b}1m\\u{202e}");
    }
}
