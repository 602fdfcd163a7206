//! What tests and benchmarks share.
//!
//! * [`synthetic`]: the builder of synthetic runs; [`recipe`], [`world`] and [`linked`] say what they hold, and
//!   [`people`] makes vectors about as hard as those of faces.
//! * [`linkage`]: linking by its definition.
//! * [`store`]: stored datasets, which are finished runs without their pictures.
//! * [`assets`], [`truth`]: inputs from outside of the source tree.
//! * [`line`]: the stages as programs.
//! * [`files`], [`mp4`], [`random`], [`snapshot`]: small helpers.
//!
//! Cross-crate tests are in `tests/e2e`, one file per question:
//!
//! * `tidy`: are the rules of ARCHITECTURE.md kept?
//! * `end_to_end`: does the whole line find who is in a clip, again and again the same?
//! * `bad_inputs`: does each bad input end in one clear sentence and no half-written table?
//! * `bench`: is what `cargo xtask bench` measures whole and plausible?
//! * `cases`, `pictures`: is the outcome right where people report other programs to fail?
//! * `formats`: do the programs read unusual videos, and tell what they cannot do?
//! * `gallery`: is a person found by a photo, and do people stay when a gallery gets another embedder?
//! * `kills`: is nothing lost when a stage is killed, crashes, is interrupted, or runs out of room?
//! * `forget`: is a person who is forgotten gone, and stays gone?
//! * `hostile_videos`: do damaged and absurd videos end in an error or an honest part?
//! * `supply`: may every dependency be used, is it pinned, and does anything speak to a network?
//! * `exchange`: are faults of runs reported, can other tools read our exports, and can we read their labels?
//! * `released`: can tables of every released version be read, and is a released table left alone?
//! * `regress`: are stored datasets what they should be, and is a loss reported?
//! * `interop`: can pandas, Polars and DuckDB read the tables, and we what they write?

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that meets the unexpected should end there, and a skip must be seen"
)]

pub mod assets;
pub mod error;
pub mod files;
pub mod line;
pub mod linkage;
pub mod linked;
pub mod mp4;
pub mod people;
pub mod random;
pub mod recipe;
pub mod snapshot;
pub mod store;
pub mod synthetic;
pub mod synthetic_run;
pub mod truth;
pub mod world;
