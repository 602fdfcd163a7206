//! `cargo xtask bench accuracy`: whole runs on labelled clips and on re-encoded copies of them, scored.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::{Result, process};

use super::scripts;
use crate::{system, workspace};

/// The labelled clips, and what is done with all of them.
#[derive(Debug, Args)]
pub(super) struct Clips {
    /// Folder of labelled clips: NAME.mp4 or NAME.mkv beside NAME.csv
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only these clips
    #[arg(long, value_name = "NAME,..", default_value = "")]
    clips: String,
    /// Copies of each clip; an empty list leaves them out
    #[arg(long, value_name = "COPY,..", default_value = "crf16,crf20,crf23,hevc,mirrored,bars")]
    copies: String,
    /// Add copies with an unusual picture or time: a window in a still frame, flicker, pixels that are not square,
    /// rotations without metadata, one frame per second
    #[arg(long)]
    unusual: bool,
    /// Seed of the copies and of everything random
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// Store the results
    #[arg(long, value_name = "JSON")]
    out: Option<PathBuf>,
    /// Leave out parts of linking, as `[cluster] without` does
    #[arg(long, value_name = "PART,..", value_delimiter = ',')]
    without: Vec<String>,
    /// Options of every run, after `--`
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// What `cargo xtask bench accuracy` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    clips: Clips,
    /// Also show the accuracy by groups of faces: size, pose, light, length, and the column `group` of the labels
    #[arg(long, value_name = "CRITERION,..", num_args = 0..=1, require_equals = true, default_missing_value = "size,pose,light,length,group")]
    by: Option<String>,
    /// Compare with the results of an earlier call, clip by clip
    #[arg(long, value_name = "JSON")]
    before: Option<PathBuf>,
}

/// Runs and scores every clip and copy; copies and finished runs are kept in `target/bench-accuracy`.
pub(super) fn accuracy(options: &Options, install: bool) -> Result<()> {
    let before = options.before.iter().flat_map(|file| ["--before".into(), file.display().to_string()]);
    let by = options.by.iter().flat_map(|by| ["--by".into(), by.clone()]);
    let arguments: Vec<String> = before.chain(by).collect();
    python("python3".as_ref(), "accuracy.py", &options.clips, &arguments, install)
}

/// Runs one of the scripts on the clips with this Python.
pub(super) fn python(
    program: &Path,
    script: &str,
    clips: &Clips,
    arguments: &[String],
    install: bool,
) -> Result<()> {
    system::ensure(&[system::RUN, system::OPENCV, system::TESTS], install)?;
    workspace::build(true)?;
    let scratch = scripts(&[
        ("accuracy.py", include_str!("accuracy.py")),
        ("groups.py", include_str!("groups.py")),
        ("review.py", include_str!("review.py")),
        ("shots.py", include_str!("shots.py")),
    ])?;
    let mut python = Command::new(program);
    python.arg(scratch.path().join(script)).arg("--program").arg(workspace::program("facetrack"));
    python.arg("--data").arg(&clips.data);
    python.arg("--work").arg(workspace::target().join("bench-accuracy")).args(["--clips", &clips.clips]);
    python.args(["--copies", &clips.copies, "--seed", &clips.seed.to_string()]).args(arguments);
    python.args(clips.unusual.then_some("--unusual"));
    python.args(clips.out.iter().flat_map(|file| [Path::new("--out"), file]));
    python.arg("--").args(&clips.options);
    if !clips.without.is_empty() {
        let config = scratch.path().join("without.toml");
        scratch.write(&config, &format!("[cluster]\nwithout = {:?}\n", clips.without))?;
        python.arg("--config").arg(config);
    }
    process::show(&mut python)
}
