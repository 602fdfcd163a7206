//! What the contract promises: rows come back as they were written, nothing else gets through, and
//! a run directory is in a known state whatever happens.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should end there"
)]

mod accepted;
mod bad_files;
mod declarations;
mod encrypted;
mod hostile;
mod probe;
mod raw;
mod round_trip;
mod rows;
mod snapshot;
