//! Clips made by the `ffmpeg` tool, read by this crate: every frame at its time, with its own
//! content, upright, in its colours; and a clear word where that cannot be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should end there"
)]

mod clip;
mod colours;
mod damage;
mod formats;
mod orientation;
mod refused;
mod times;
