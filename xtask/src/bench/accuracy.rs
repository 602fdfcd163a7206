//! `cargo xtask bench accuracy`: whole runs on labelled clips and on re-encoded copies of them, scored.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use console::{Result, process};

use super::scripts;
use crate::{system, workspace};

/// What `cargo xtask bench accuracy` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of labelled clips: NAME.mp4 or NAME.mkv beside NAME.csv
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only these clips
    #[arg(long, value_name = "NAME,..", default_value = "")]
    clips: String,
    /// Copies of each clip; an empty list leaves them out
    #[arg(long, value_name = "COPY,..", default_value = "crf16,crf20,crf23,hevc,mirrored,bars")]
    copies: String,
    /// Seed of the copies and of the intervals
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Compare with the results of an earlier call, clip by clip
    #[arg(long, value_name = "JSON")]
    before: Option<PathBuf>,
    /// Store the results
    #[arg(long, value_name = "JSON")]
    out: Option<PathBuf>,
    /// Options of every run, after `--`
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// Runs and scores every clip and copy; copies and finished runs are kept in `target/bench-accuracy`.
pub(super) fn accuracy(options: &Options, install: bool) -> Result<()> {
    system::ensure(&[system::RUN, system::TESTS], install)?;
    workspace::build()?;
    let scratch = scripts(&[("accuracy.py", include_str!("accuracy.py"))])?;
    let mut python = Command::new("python3");
    python.arg(scratch.path().join("accuracy.py")).arg("--program").arg(workspace::program("facetrack"));
    python.arg("--data").arg(&options.data);
    python.arg("--work").arg(workspace::target().join("bench-accuracy")).args(["--clips", &options.clips]);
    python.args(["--copies", &options.copies, "--seed", &options.seed.to_string()]);
    for (name, file) in [("--before", &options.before), ("--out", &options.out)] {
        if let Some(file) = file {
            python.arg(name).arg(file);
        }
    }
    process::show(python.arg("--").args(&options.options))
}
