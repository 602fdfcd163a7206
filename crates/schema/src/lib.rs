//! The contract between the stages: what a run directory holds and what each table means.
//!
//! A *run* is one directory. Stages read tables from it and write tables into it; nothing else
//! passes between them. Every table is one Parquet file with a declared sort key and one footer
//! key, [`footer::KEY`], that says in JSON which table it is, at which version, and what made it.
//!
//! * [`tables`]: every table, its columns with unit and meaning, its version and sort key.
//! * [`io`]: checked writing and reading; a file that breaks the contract never gets through.
//! * [`run`]: the run directory: lock, manifest, atomic commit, skipping of finished stages.
//! * [`stage`]: what every stage binary shares: arguments, progress events, exit codes.
//! * [`docs`]: the published documents under `schemas/`, generated from this source.
//! * [`published`]: those documents on disk, and which of them are released.
//!
//! **Architecture invariant:** this crate imports no sibling and is the only one that touches
//! Parquet. It knows nothing about pixels, networks or clustering.

mod bounds;
pub mod cell;
pub mod contain;
pub mod docs;
pub mod error;
pub mod footer;
pub mod hash;
pub mod io;
pub mod manifest;
pub mod published;
pub mod run;
pub mod stage;
pub mod table;
pub mod tables;

pub use cell::{Symbol, UnitVector};
pub use error::{Error, Result};
pub use table::Row;
