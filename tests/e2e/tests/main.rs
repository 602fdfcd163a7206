//! Tests across crates: the rules of the architecture, whole runs, invalid input, other readers.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should end there, and its counts should be seen"
)]

mod bad_inputs;
mod bench;
mod cases;
mod edits;
mod encryption;
mod end_to_end;
mod engines;
mod erasure;
mod exchange;
mod forget;
mod formats;
mod gallery;
mod hostile_videos;
mod imports;
mod interop;
mod kills;
mod pictures;
mod python;
mod regress;
mod released;
mod several;
mod supply;
mod tidy;

use std::fs;
use std::path::{Path, PathBuf};

/// Makes an empty folder for a test of a module.
fn empty_folder(module: &str, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(module).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}
