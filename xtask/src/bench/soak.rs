//! `cargo xtask bench soak`: whole runs on generated variants of a clip, compared with the run of the clip.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::{Result, process};

use super::{PYTHON, scripts};
use crate::{system, workspace};

/// What `cargo xtask bench soak` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The clip; plain, with people whose tracks the program finds
    #[arg(long, value_name = "PATH")]
    video: PathBuf,
    /// Seconds of the clip that are used
    #[arg(long, value_name = "SECS", default_value = "10")]
    secs: f64,
    /// Number of variants
    #[arg(long, value_name = "N", default_value = "300")]
    count: u32,
    /// First variant, to continue an earlier call
    #[arg(long, value_name = "N", default_value = "0")]
    first: u32,
    /// Seed of the variants
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Store the results
    #[arg(long, value_name = "JSON")]
    out: Option<PathBuf>,
}

/// Makes and runs the variants, and prints the differences of each.
pub(super) fn soak(options: &Options, install: bool) -> Result<()> {
    system::ensure(&[system::RUN, system::TESTS], install)?;
    workspace::build(true)?;
    let scratch = scripts(&[("soak.py", include_str!("soak.py"))])?;
    let mut python = Command::new(PYTHON.obtain()?);
    python.arg(scratch.path().join("soak.py")).arg("--program").arg(workspace::program("facetrack"));
    python.arg("--video").arg(&options.video).arg("--work").arg(workspace::target().join("bench-soak"));
    for (name, value) in [
        ("--secs", options.secs.to_string()),
        ("--count", options.count.to_string()),
        ("--first", options.first.to_string()),
        ("--seed", options.seed.to_string()),
    ] {
        python.args([name, &value]);
    }
    python.args(options.out.iter().flat_map(|file| [Path::new("--out"), file]));
    process::show(&mut python)
}
