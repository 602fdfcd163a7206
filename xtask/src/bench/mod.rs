//! `cargo xtask bench`: how fast it is, beside a yardstick that ran on the same cores at the same time.

pub(crate) mod library;
pub(crate) mod linking;
pub(crate) mod networks;
pub(crate) mod pipeline;
mod runner;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use console::process::{self, Cost};
use console::{Error, Result, rounded};
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
        "scikit-learn==1.9.1",
        "scipy==1.17.1",
    ],
    modules: "cv2, finch, numpy, onnx, onnxruntime, pyarrow, scipy, sklearn",
};

/// What every benchmark takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Shared {
    /// Install missing system packages with apt-get
    #[arg(long = "install-deps")]
    install: bool,
    /// One JSON object on standard output in place of the table
    #[arg(long)]
    pub(crate) json: bool,
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

/// What repeated measurements of one thing gave.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of at least one value; zeros otherwise.
    fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(0.0);
        let last = values.len().saturating_sub(1);
        Self { median: (at(last / 2) + at(last.div_ceil(2))) / 2.0, min: at(0), max: at(last) }
    }

    /// `1.23 (1.20–1.31)`; the median alone when there is no spread.
    fn shown(&self) -> String {
        let [median, min, max] = [self.median, self.min, self.max].map(rounded);
        if min == max { median } else { format!("{median} ({min}–{max})") }
    }

    fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

fn every_core() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Columns of text, the first one flush left, the others flush right.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
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
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]), Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).shown(), "2.00 (1.00–3.00)");
        assert_eq!(Spread::of([12.34]).shown(), "12.3");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["", "s"], ["ingest", "1.00"], ["run", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "           s\ningest  1.00\nrun\n");
    }
}
