//! Invalid and hostile files: what fuzzing found, refused files with their messages, and small files that stand for gigabytes.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that meets the unexpected should end there, and its counts should be seen"
)]

mod bad_files;
mod bombs;
mod replay;
