//! The run directory, and the protocol that every stage follows.
//!
//! A *run* is one directory. Stages read tables from it and write tables into it; nothing else passes
//! between them.
//!
//! * [`RunDir`]: lock, manifest, atomic commit, skipping of finished stages.
//! * [`RunReader`]: read-only access, without the lock.
//! * [`manifest`]: `manifest.json`, what ran with which inputs, outputs and hashes.
//! * [`stage`]: what all stages share: arguments, configuration, progress events.
//! * [`checkpoint`]: what an unfinished stage has done, for its next start.
//! * [`appearances`]: when each person is on screen, from the tracks and clusters.
//! * [`edits`]: corrections of a person, and the faces that they are about.
//! * [`encryption`]: the key of a directory, and another key for it.
//! * [`exports`]: the files that were exported from a run. [`date`]: times as text, and the day on which data must be gone.
//! * [`uids`]: the people of the last run, whose keys the next run takes over.
//! * [`files`]: files that are absent or whole. [`mod@lock`]: one process at a time writes in a directory.
//! * [`mod@validate`]: whether tables keep the contract, and agree with each other.
//! * [`redact`]: removes people or pictures from a finished run.
//!
//! **Architecture invariant:** this crate knows tables by their names and versions only. It imports no
//! stage and knows nothing about pixels, networks or clustering.

pub mod appearances;
pub mod checkpoint;
mod config;
pub mod date;
mod directory;
pub mod edits;
pub mod encryption;
pub mod error;
pub mod exports;
pub mod files;
pub mod lock;
pub mod manifest;
mod reader;
pub mod redact;
pub mod stage;
pub mod uids;
pub mod validate;

/// The page of a run, below its directory.
pub const PAGE: &str = "report/index.html";

pub use config::plain_json;
pub use directory::{Begin, Plan, REUSED, RunDir, StageRun};
pub use error::{Error, Result};
pub use reader::RunReader;
