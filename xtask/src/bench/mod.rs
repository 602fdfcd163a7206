//! `cargo xtask bench`: speed, beside a baseline that ran on the same cores at the same time, and accuracy.
//!
//! Every benchmark of speed gives one JSON object; its table is made of that object.

mod accuracy;
mod episodes;
mod gpu;
mod library;
mod linking;
mod networks;
mod peers;
mod pipeline;
mod review;
mod runner;
mod shots;
mod soak;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::{Args, Subcommand};
use console::process::{self, Cost};
use console::{Error, Result, rounded, say};
use fetch::cache::Scratch;
use serde_json::{Value, json};

use crate::python::Environment;

/// The other side, and what it needs.
pub(crate) const PYTHON: Environment = Environment {
    folder: "bench-python",
    packages: &[
        "finch-clust==0.2.3",
        "numpy==2.4.6",
        "onnx==1.23.2",
        "onnxruntime==1.32.0",
        "opencv-python-headless==5.0.0.93",
        "pyarrow==26.0.1",
        "scenedetect-headless==0.7.2",
        "scikit-learn==1.9.1",
        "scipy==1.17.1",
    ],
    sources: &[],
    modules: "cv2, finch, numpy, onnx, onnxruntime, pyarrow, scenedetect, scipy, sklearn",
};

/// What `cargo xtask bench` takes.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    bench: Bench,
    /// Install missing system packages with apt-get
    #[arg(long = "install-deps", global = true)]
    install: bool,
    /// One JSON object on standard output in place of the table
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Whole runs on labelled clips and their re-encoded copies, scored
    Accuracy(accuracy::Options),
    /// Whole runs on generated variants of a clip, compared with the run of the clip
    Soak(soak::Options),
    /// Shot boundaries of whole runs on labelled clips, next to PySceneDetect
    Shots(shots::Options),
    /// A gallery of labelled clips that are cut into episodes, scored
    Episodes(episodes::Options),
    /// A simulated user answering the questions of the review page on labelled clips
    Review(review::Options),
    /// A whole run, next to ffmpeg decoding the same video
    Pipeline(pipeline::Options),
    /// Whole runs on labelled clips, next to pipelines of YuNet, SFace and dlib: time, memory and quality
    Peers(peers::Options),
    /// Every embedding network, next to onnxruntime
    Embed(networks::Embed),
    /// The embedding networks and whole runs on an NVIDIA card, next to the CPU
    Gpu(gpu::Options),
    /// The face detector, next to OpenCV and onnxruntime; one picture per thread
    Detect(networks::Detect),
    /// Linking of synthetic people, next to naive linkage, SciPy and HDBSCAN
    Cluster(linking::Synthetic),
    /// Linking of labelled runs, next to other methods and the oracle
    Link(linking::Labelled),
    /// Adding a video to galleries of several sizes, and the accuracy of matching
    Library(library::Options),
}

/// Runs a benchmark and prints its table, or its object.
pub(crate) fn bench(options: &Options) -> Result<()> {
    let install = options.install;
    let (object, text): (Value, fn(&Value) -> String) = match &options.bench {
        Bench::Accuracy(accuracy) => return accuracy::accuracy(accuracy, install),
        Bench::Soak(soak) => return soak::soak(soak, install),
        Bench::Shots(shots) => return shots::shots(shots, install),
        Bench::Episodes(episodes) => return episodes::episodes(episodes, install),
        Bench::Review(review) => return review::review(review, install),
        Bench::Pipeline(pipeline) => (pipeline::pipeline(pipeline, install)?, pipeline::text),
        Bench::Peers(peers) => (peers::peers(peers, install)?, peers::text),
        Bench::Embed(embed) => (networks::embed(embed, install)?, networks::text),
        Bench::Gpu(gpu) => (gpu::gpu(gpu, install)?, gpu::text),
        Bench::Detect(detect) => (networks::detect(detect, install)?, networks::text),
        Bench::Cluster(people) => (linking::cluster(people, install)?, linking::text),
        Bench::Link(runs) => (linking::link(runs, install)?, linking::runs_text),
        Bench::Library(library) => (library::library(library)?, library::text),
    };
    say(if options.json { object.to_string() } else { text(&object) }.trim_end());
    Ok(())
}

/// The JSON lines that a program prints, and what it took.
fn listen(command: &mut Command) -> Result<(Vec<Value>, Cost)> {
    let started = Instant::now();
    let mut child = process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let pipe = child.stdout.take();
    let lines = pipe.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()).map_while(std::io::Result::ok);
    let events: Vec<Value> = lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
    let (status, cost) = process::wait_since(started, &mut child)?;
    if status.success() {
        return Ok((events, cost));
    }
    let how = process::ended(status);
    Err(Error::unexpected(format!("`{}` failed ({how}); its messages are above", process::line(command))))
}

/// A folder with the scripts of the other side.
fn scripts(files: &[(&str, &str)]) -> Result<Scratch> {
    let scratch = Scratch::new("bench")?;
    for (file, text) in files {
        scratch.write(&scratch.path().join(file), text)?;
    }
    Ok(scratch)
}

fn every_core() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What repeated measurements of one thing gave: `median`, `min` and `max` of at least one value; zeros
/// otherwise.
fn spread(values: impl IntoIterator<Item = f64>) -> Value {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
    let last = values.len().saturating_sub(1);
    json!({ "median": (at(last / 2) + at(last.div_ceil(2))) / 2.0, "min": at(0), "max": at(last) })
}

/// A [`spread`] in another unit, `1.23 (1.20–1.31)`: the median alone when there is no spread, empty for null.
fn shown(spread: &Value, unit: f64) -> String {
    let [median, min, max] = ["median", "min", "max"].map(|key| number(&spread[key], unit));
    if min == max { median } else { format!("{median} ({min}–{max})") }
}

/// A number in another unit; empty for null.
fn number(value: &Value, unit: f64) -> String {
    value.as_f64().map_or_else(String::new, |value| rounded(value * unit))
}

/// The text of a cell; empty for null.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A column of a table: its heading, and the text of its cell in a row.
type Column = (&'static str, fn(&Value) -> String);

/// Columns of text, the first one flush left, the others flush right.
fn table<'a>(columns: &[Column], rows: impl IntoIterator<Item = &'a Value>) -> String {
    let mut lines = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.into_iter().map(|row| columns.iter().map(|(_, cell)| cell(row)).collect()));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<0$}", width(0)),
            _ => format!("{cell:>0$}", width(column)),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_median_least_and_most() {
        assert_eq!(spread([3.0, 1.0, 2.0]), json!({ "median": 2.0, "min": 1.0, "max": 3.0 }));
        assert_eq!(spread([4.0, 1.0]), json!({ "median": 2.5, "min": 1.0, "max": 4.0 }));
        assert_eq!(shown(&spread([3.0, 1.0, 2.0]), 1.0), "2.00 (1.00–3.00)");
        assert_eq!(shown(&spread([12.34]), 1.0), "12.3");
        assert_eq!(shown(&spread([0.01234]), 1e3), "12.3");
        assert_eq!(shown(&Value::Null, 1.0), "");
    }

    #[test]
    fn columns_line_up() {
        let columns: [Column; 2] = [("", |row| word(&row[0])), ("s", |row| word(&row[1]))];
        let rows = [json!(["ingest", "1.00"]), json!(["run", null])];
        assert_eq!(table(&columns, &rows), "           s\ningest  1.00\nrun\n");
    }
}
