//! `cargo xtask bench episodes`: a gallery of labelled clips that are cut into episodes, scored.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use console::{Result, process};

use super::{PYTHON, scripts};
use crate::{parse_count, system, workspace};

/// What `cargo xtask bench episodes` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Folder of labelled clips: NAME.mp4 or NAME.mkv beside NAME.csv and NAME.shots.csv
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Number of episodes of a clip
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "3")]
    parts: usize,
    /// Run the episodes of a clip as those of a series
    #[arg(long)]
    series: bool,
    /// Options of every run, after `--`
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// Runs every episode and builds the gallery; episodes and finished runs are kept in `target/bench-episodes`.
pub(super) fn episodes(options: &Options, install: bool) -> Result<()> {
    system::ensure(&[system::RUN, system::OPENCV, system::TESTS], install)?;
    workspace::build(true)?;
    let scratch = scripts(&[
        ("episodes.py", include_str!("episodes.py")),
        ("accuracy.py", include_str!("accuracy.py")),
        ("score.py", include_str!("score.py")),
    ])?;
    let mut python = Command::new(PYTHON.obtain()?);
    python.arg(scratch.path().join("episodes.py")).arg("--program").arg(workspace::program("facetrack"));
    python.arg("--data").arg(&options.data).arg("--work").arg(workspace::target().join("bench-episodes"));
    python.args(["--parts", &options.parts.to_string()]);
    if options.series {
        python.arg("--series");
    }
    python.arg("--").args(&options.options);
    process::show(&mut python)
}
