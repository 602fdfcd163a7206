//! `cargo xtask regress`: `cluster` and `evaluate` on every stored dataset, and their figures beside those
//! that are expected.
//!
//! A dataset is a folder of `datasets/`: tables as `embed` left them and `labels.csv`, or a `recipe.toml`
//! from which `ftl-datasets` makes both; and `expected.json`, which says of each figure what it is and how
//! far it may move. A figure that gets better by more than that fails, too: then it is time to say so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Args;
use console::{Error, Result, duration, exit, say};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::workspace;

const RECIPE: &str = "recipe.toml";
const EXPECTED: &str = "expected.json";
const LABELS: &str = "labels.csv";
/// How far a new figure may move: a share or a distance, and anything larger as a part of itself.
const TOLERANCE: f64 = 0.005;

/// What `cargo xtask regress` takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
    /// This dataset only [default: all]
    #[arg(long = "dataset", value_name = "NAME")]
    datasets: Vec<String>,
    /// Expect what came out from now on, and show what changed
    #[arg(long)]
    update: bool,
    /// A setting other than the default, such as cluster.threshold = 0.5, to see what it moves
    #[arg(long = "set", value_name = "TOML", conflicts_with = "update")]
    settings: Vec<String>,
}

/// A figure, and how far it may be from what is expected. `evaluate` writes figures without a tolerance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Figure {
    name: String,
    #[serde(default)]
    tolerance: f64,
    unit: String,
    value: f64,
}

impl Figure {
    /// The figure of this name and unit.
    fn among<'a>(&self, figures: &'a [Self]) -> Option<&'a Self> {
        figures.iter().find(|other| (&other.name, &other.unit) == (&self.name, &self.unit))
    }
}

/// Builds, and compares.
pub(crate) fn regress(options: &Options) -> Result<()> {
    workspace::build_all()?;
    compare(options)
}

/// The same with the programs as they were last built.
pub(crate) fn compare(options: &Options) -> Result<()> {
    let mut missed = Vec::new();
    for name in chosen(&options.datasets)? {
        let started = Instant::now();
        let folder = root().join(&name);
        let found = read(&run(&name, &folder, &options.settings)?.join("report/metrics.json"))?;
        let path = folder.join(EXPECTED);
        // Nothing is expected of a dataset that is new.
        let expected = if path.exists() { read(&path)? } else { Vec::new() };
        let differences = differences(&name, &expected, &found);
        let took = duration(started.elapsed().as_secs_f64());
        let verdict = if differences.is_empty() { "as expected" } else { "not as expected" };
        eprintln!("{name}: {} metrics {verdict} ({took})", found.len());
        differences.iter().for_each(|line| say(line));
        if options.update {
            write(&path, &updated(&expected, &found))?;
        } else if !differences.is_empty() {
            missed.push(name);
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    let message = format!("metrics left their tolerance: {}", missed.join(", "));
    let hint = "if the change is intended, run `cargo xtask regress --update`";
    Err(Error::new(exit::QUALITY, message).hint(hint))
}

fn root() -> PathBuf {
    workspace::root().join("datasets")
}

/// Names of the datasets asked for, or of all, in their order.
fn chosen(asked: &[String]) -> Result<Vec<String>> {
    let entries = fs::read_dir(root()).map_err(Error::io("read", &root()))?.flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut all: Vec<_> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    all.sort();
    match asked.iter().find(|name| !all.contains(name)) {
        Some(unknown) => {
            let error = Error::new(exit::USAGE, format!("unknown dataset `{unknown}`"));
            Err(error.hint(format!("known datasets: {}", all.join(", "))))
        }
        None => Ok(if asked.is_empty() { all } else { asked.to_vec() }),
    }
}

/// Keeps a finished run as a dataset.
pub(crate) fn store(name: &str, run: &Path, labels: &Path) -> Result<()> {
    workspace::build_all()?;
    let mut command = Command::new(workspace::program("ftl-datasets"));
    command.arg("store").arg("--run").arg(run).arg("--labels").arg(labels);
    workspace::call(command.arg("--into").arg(root().join(name)))
}

/// Links and judges a dataset in a run directory of its own, which is left to be looked at.
fn run(name: &str, folder: &Path, settings: &[String]) -> Result<PathBuf> {
    let scratch = workspace::target().join("regress");
    let (run, made) = (scratch.join(name), scratch.join(format!("{name}.{LABELS}")));
    if run.exists() {
        fs::remove_dir_all(&run).map_err(Error::io("remove", &run))?;
    }
    fs::create_dir_all(&run).map_err(Error::io("create", &run))?;
    let recipe = folder.join(RECIPE);
    let labels = if recipe.is_file() {
        let mut command = Command::new(workspace::program("ftl-datasets"));
        command.arg("make").arg("--recipe").arg(&recipe).arg("--run").arg(&run);
        workspace::call(command.arg("--labels").arg(&made))?;
        made
    } else {
        // The tables and their manifest.
        for entry in fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten() {
            let name = entry.file_name();
            if entry.path().extension().is_some_and(|e| e == "parquet") || name == "manifest.json" {
                fs::copy(entry.path(), run.join(&name)).map_err(Error::io("copy", &entry.path()))?;
            }
        }
        folder.join(LABELS)
    };
    let stage = |name: &str| {
        let mut command = workspace::facetrack();
        command.args(["stage", name, "--run-dir"]).arg(&run);
        settings.iter().for_each(|setting| _ = command.arg("--set").arg(setting));
        command
    };
    workspace::call(&mut stage("cluster"))?;
    workspace::call(stage("evaluate").arg("--labels").arg(&labels))?;
    workspace::call(workspace::facetrack().arg("validate").arg(&run))?;
    Ok(run)
}

fn read(path: &Path) -> Result<Vec<Figure>> {
    let content = fs::read_to_string(path).map_err(Error::io("read", path))?;
    let wrong = |_| Error::unexpected(format!("`{}` is not a list of metrics", path.display()));
    serde_json::from_str(&content).map_err(wrong)
}

/// One line about each figure of a dataset that is not what was expected.
fn differences(dataset: &str, expected: &[Figure], found: &[Figure]) -> Vec<String> {
    let mut all = Vec::new();
    let what = |figure: &Figure| format!("{dataset}  {} ({})", figure.name, figure.unit);
    for before in expected {
        let Figure { value, tolerance, .. } = before;
        match before.among(found).map(|now| now.value) {
            Some(now) if (now - value).abs() <= *tolerance => {}
            Some(now) => all.push(format!(
                "{}: {} → {} ({:+}, tolerance {})",
                what(before),
                rounded(*value),
                rounded(now),
                rounded(now - value),
                rounded(*tolerance)
            )),
            None => all.push(format!("{}: {} → missing", what(before), rounded(*value))),
        }
    }
    let is_new = |figure: &&Figure| figure.among(expected).is_none();
    all.extend(found.iter().filter(is_new).map(|new| format!("{}: new, {}", what(new), rounded(new.value))));
    all
}

/// Figures to expect from now on; how far each may move stays as it is.
fn updated(expected: &[Figure], found: &[Figure]) -> Vec<Figure> {
    let figure = |found: &Figure| {
        let before = found.among(expected);
        // Shares and distances may move by a little, counts and times by that part of themselves.
        let usual = rounded(TOLERANCE * found.value.abs().max(1.0));
        let tolerance = before.map_or(usual, |before| before.tolerance);
        // What is still expected keeps its digits, so that a diff shows only what has moved.
        let value =
            before.map(|b| b.value).filter(|b| (b - found.value).abs() <= 1e-9).unwrap_or(found.value);
        Figure { tolerance, value: rounded(value), ..found.clone() }
    };
    found.iter().map(figure).collect()
}

fn write(path: &Path, expected: &[Figure]) -> Result<()> {
    let rows: Vec<_> = expected.iter().map(|figure| format!("  {}", json!(figure))).collect();
    fs::write(path, format!("[\n{}\n]\n", rows.join(",\n"))).map_err(Error::io("write", path))
}

/// Enough digits for any tolerance, and no more than a person cares for.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(value: f64) -> Vec<Figure> {
        vec![Figure { name: "b3_f1".into(), unit: "track".into(), value, tolerance: 0.005 }]
    }

    fn found(value: f64) -> Vec<Figure> {
        vec![Figure { tolerance: 0.0, ..expected(value).remove(0) }]
    }

    fn message(expected: &[Figure], found: &[Figure]) -> Vec<String> {
        differences("set", expected, found)
    }

    #[test]
    fn figures_may_move_within_their_tolerance_only() {
        assert_eq!(message(&expected(0.9), &found(0.9049)), [] as [&str; 0]);
        let worse = "set  b3_f1 (track): 0.9 → 0.88 (-0.02, tolerance 0.005)";
        assert_eq!(message(&expected(0.9), &found(0.88)), [worse]);
        let better = "set  b3_f1 (track): 0.9 → 0.92 (+0.02, tolerance 0.005)";
        assert_eq!(message(&expected(0.9), &found(0.92)), [better]);
        assert_eq!(message(&expected(0.9), &found(f64::NAN)).len(), 1);
    }

    #[test]
    fn figures_that_come_and_go_are_reported() {
        assert_eq!(message(&expected(0.9), &[]), ["set  b3_f1 (track): 0.9 → missing"]);
        assert_eq!(message(&[], &found(0.9)), ["set  b3_f1 (track): new, 0.9"]);
    }

    #[test]
    fn an_update_keeps_how_far_a_figure_may_move() {
        let mut before = expected(0.9);
        before[0].tolerance = 0.05;
        let after = updated(&before, &found(0.7));
        assert_eq!((after[0].value, after[0].tolerance), (0.7, 0.05));
        assert_eq!(updated(&[], &found(0.7))[0].tolerance, 0.005);
        assert_eq!(updated(&[], &found(200.0))[0].tolerance, 1.0);
    }
}
