//! `cargo xtask bench shots`: shot boundaries of whole runs, beside PySceneDetect's adaptive detector.

use clap::Args;
use console::Result;

use super::PYTHON;
use super::accuracy::{Clips, python};

/// What `cargo xtask bench shots` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    clips: Clips,
    /// Largest distance of a found boundary from a labelled one, frames
    #[arg(long, value_name = "N", default_value = "2")]
    tolerance: u32,
}

/// Runs every clip that has a list of shots, NAME.shots.csv, and its copies, and prints precision, recall and F1.
pub(super) fn shots(options: &Options, install: bool) -> Result<()> {
    let tolerance = ["--tolerance".into(), options.tolerance.to_string()];
    python(&PYTHON.obtain()?, "shots.py", &options.clips, &tolerance, install)
}
