//! `cargo xtask bench review`: a simulated user answers the questions of the review page on labelled clips.

use clap::Args;
use console::Result;

use super::accuracy::{Clips, python};

/// What `cargo xtask bench review` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    clips: Clips,
    /// Answers that the simulated user gives to each run
    #[arg(long, value_name = "N", default_value = "25")]
    answers: usize,
}

/// Runs every clip and copy, answers the questions, and prints B³ by the number of answers.
pub(super) fn review(options: &Options, install: bool) -> Result<()> {
    let answers = ["--answers".into(), options.answers.to_string()];
    python("python3".as_ref(), "review.py", &options.clips, &answers, install)
}
