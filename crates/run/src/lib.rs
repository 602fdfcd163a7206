//! The run directory, and the protocol that every stage follows.
//!
//! A *run* is one directory. Stages read tables from it and write tables into it; nothing else passes
//! between them.
//!
//! * [`RunDir`]: lock, manifest, atomic commit, skipping of finished stages.
//! * [`manifest`]: `manifest.json`, what ran with which inputs, outputs and hashes.
//! * [`stage`]: what all stages share: arguments, configuration, progress events.
//! * [`files`]: files that are absent or whole.
//!
//! **Architecture invariant:** this crate knows tables by their names and versions only. It imports no
//! stage and knows nothing about pixels, networks or clustering.

mod directory;
pub mod error;
pub mod files;
pub mod manifest;
pub mod stage;

pub use directory::{Begin, Plan, RunDir, StageRun};
pub use error::{Error, Result};
