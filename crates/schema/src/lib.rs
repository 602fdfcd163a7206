//! The contract between the stages: what each table means, and how it is stored.
//!
//! Every table is one Parquet file with a declared sort key and one footer key, [`footer::KEY`], that
//! says in JSON which table it is, at which version, and what made it.
//!
//! * [`tables`]: every table, its columns with unit and meaning, its version and sort key.
//! * [`io`]: checked writing and reading; a file that breaks the contract never gets through.
//! * [`crypt`]: the key of encrypted tables.
//! * [`docs`]: the published documents under `schemas/`, generated from this source.
//! * [`published`]: those documents on disk, and which of them are released.
//!
//! **Architecture invariant:** this crate imports only the leaves `failure` and `hash`, and is the only
//! one that touches Parquet. It knows nothing about pixels, networks or clustering.

mod bounds;
pub mod cell;
pub mod crypt;
pub mod docs;
pub mod error;
pub mod footer;
pub mod io;
pub mod published;
pub mod table;
pub mod tables;

pub use cell::{Ragged, Symbol, UnitVector};
pub use error::{Error, Result};
pub use table::Row;
