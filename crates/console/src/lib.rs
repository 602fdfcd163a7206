//! What the command-line programs of the workspace, `facetrack` and `xtask`, share.
//!
//! * [`Error`]: how a program ends when it does not succeed: one sentence, a hint, an exit code.
//! * [`process`]: other programs, started, measured, and ended together with this one on Ctrl-C.
//! * [`duration`], [`rounded`]: durations and numbers as text for people.

mod error;
pub mod process;
mod text;

pub use error::{Error, Result, say};
pub use failure::exit;
pub use text::{counted, duration, rounded};
