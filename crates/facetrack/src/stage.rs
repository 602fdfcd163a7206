//! `facetrack stage NAME`: one stage in this process, as [`crate::single`] starts it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use console::exit;
use embed::{Name, WeightFile};
use run::stage::{self, Arguments};

use crate::cli::{Wait, parse_count, parse_run_id};
use crate::stages::ENDS_WITH_INPUT;

/// A stage with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Stage {
    #[command(about = ingest::STAGE.about)]
    Ingest {
        #[command(flatten)]
        shared: Shared,
        /// The video file
        #[arg(long, value_name = "FILE")]
        video: PathBuf,
    },
    #[command(about = detect_track::STAGE.about)]
    DetectTrack {
        #[command(flatten)]
        shared: Shared,
        /// The video file
        #[arg(long, value_name = "FILE")]
        video: PathBuf,
        /// Weights of YuNet, safetensors; required for the detector `yunet`
        #[arg(long, value_name = "FILE")]
        weights: Option<PathBuf>,
    },
    #[command(about = embed::STAGE.about)]
    Embed {
        #[command(flatten)]
        shared: Shared,
        /// Pinned weights of a network, NAME=FILE
        #[arg(long, value_name = "NAME=FILE", value_parser = parse_weights)]
        weights: Vec<(Name, PathBuf)>,
        /// Custom weights of a network, NAME=FILE, instead of the pinned weights
        #[arg(long, value_name = "NAME=FILE", value_parser = parse_weights)]
        own_weights: Vec<(Name, PathBuf)>,
    },
    #[command(about = cluster::STAGE.about)]
    Cluster {
        #[command(flatten)]
        shared: Shared,
    },
    #[command(about = evaluate::STAGE.about)]
    Evaluate {
        #[command(flatten)]
        shared: Shared,
        /// Ground truth, CSV with the columns frame, x, y, w, h, identity and, to score tracks, shot
        #[arg(long, value_name = "CSV")]
        labels: Option<PathBuf>,
    },
}

/// Arguments of every stage.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// The run directory
    #[arg(long, value_name = "DIR")]
    run_dir: PathBuf,
    /// Configuration file, TOML, one section per stage
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting that overrides the configuration file, such as detect-track.min_face_px = 20
    #[arg(long, value_name = "TOML")]
    set: Vec<String>,
    /// Number of worker threads; does not change the result [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    threads: Option<usize>,
    /// Run even if nothing has changed
    #[arg(long)]
    force: bool,
    /// Another run of the video, whose tables are taken over where they would be the same
    #[arg(long, value_name = "DIR")]
    reuse: Option<PathBuf>,
    /// Name of the run in its tables [default: the name of the run directory]
    #[arg(long, value_name = "NAME", value_parser = parse_run_id)]
    run_id: Option<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Print events as JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
}

impl From<Shared> for Arguments {
    fn from(shared: Shared) -> Self {
        let Shared { run_dir, config, set: settings, threads, force, reuse, run_id, json, wait: _ } = shared;
        Self { run_dir, config, settings, threads, force, reuse, run_id, json }
    }
}

impl Stage {
    /// The arguments that every stage has.
    pub(crate) fn shared(&self) -> &Shared {
        let (Self::Ingest { shared, .. }
        | Self::DetectTrack { shared, .. }
        | Self::Embed { shared, .. }
        | Self::Cluster { shared }
        | Self::Evaluate { shared, .. }) = self;
        shared
    }
}

/// Ends this process when its standard input ends.
fn end_with_input() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        std::process::exit(exit::INTERRUPTED.into());
    });
}

/// Runs the stage to its end.
pub(crate) fn main(stage: Stage) -> ExitCode {
    if std::env::var_os(ENDS_WITH_INPUT).is_some() {
        end_with_input();
    }
    match stage {
        Stage::Ingest { shared, video } => {
            stage::main(ingest::STAGE, &shared.into(), |job| ingest::run(job, &video))
        }
        Stage::DetectTrack { shared, video, weights } => {
            stage::main(detect_track::STAGE, &shared.into(), |job| {
                detect_track::run(job, &video, weights.as_deref())
            })
        }
        Stage::Embed { shared, weights, own_weights } => {
            let files = |given: Vec<(Name, PathBuf)>, is_own| {
                given.into_iter().map(move |(name, path)| WeightFile { name, path, is_own })
            };
            let files: Vec<_> = files(weights, false).chain(files(own_weights, true)).collect();
            stage::main(embed::STAGE, &shared.into(), |job| embed::run(job, &files))
        }
        Stage::Cluster { shared } => stage::main(cluster::STAGE, &shared.into(), cluster::run),
        Stage::Evaluate { shared, labels } => {
            stage::main(evaluate::STAGE, &shared.into(), |job| evaluate::run(job, labels.as_deref()))
        }
    }
}

fn parse_weights(text: &str) -> Result<(Name, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("must be NAME=FILE, such as sface=my.onnx")?;
    let name: Name = name.parse()?;
    if !name.is_network() {
        return Err(format!("the embedder `{name}` has no weights"));
    }
    Ok((name, path.into()))
}
