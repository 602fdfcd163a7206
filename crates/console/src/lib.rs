//! Code that the programs `facetrack` and `xtask` share.
//!
//! * [`Error`]: the failure of a program: one sentence, a hint, an exit code.
//! * [`process`]: starts and measures other programs, and ends them if the user presses Ctrl-C.
//! * [`duration`], [`rounded`]: durations and numbers as text for people.

mod error;
pub mod process;
mod text;

pub use error::{Error, Result, say, warn};
pub use failure::exit;
pub use text::{counted, duration, rounded};
