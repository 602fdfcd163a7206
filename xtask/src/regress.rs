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
use serde_json::{Value, json};

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

/// A figure, and how far it may be from what it was.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    name: String,
    unit: String,
    value: f64,
    tolerance: f64,
}

/// A figure that is not what was expected.
#[derive(Debug, Clone, PartialEq)]
struct Difference {
    name: String,
    unit: String,
    expected: Option<f64>,
    found: Option<f64>,
    tolerance: f64,
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
        let found = figures(&run(&name, &folder, &options.settings)?)?;
        let path = folder.join(EXPECTED);
        let expected = read(&path)?;
        let differences = differences(&expected, &found);
        let took = duration(started.elapsed().as_secs_f64());
        let verdict = if differences.is_empty() { "as expected" } else { "not as expected" };
        eprintln!("{name}: {} metrics {verdict} ({took})", found.len());
        say_each(&name, &differences);
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

fn say_each(name: &str, differences: &[Difference]) {
    for line in differences.iter().map(|difference| tell(name, difference)) {
        say(&line);
    }
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
    let mut command = datasets("store");
    workspace::call(
        command.arg("--run").arg(run).arg("--labels").arg(labels).arg("--into").arg(root().join(name)),
    )
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
        let mut command = datasets("make");
        workspace::call(
            command.arg("--recipe").arg(&recipe).arg("--run").arg(&run).arg("--labels").arg(&made),
        )?;
        made
    } else {
        copy(folder, &run)?;
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

fn datasets(task: &str) -> Command {
    let mut command = Command::new(workspace::program("ftl-datasets"));
    command.arg(task);
    command
}

/// The tables and their manifest.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::io("read", from))?.flatten() {
        let name = entry.file_name();
        if entry.path().extension().is_some_and(|e| e == "parquet") || name == "manifest.json" {
            fs::copy(entry.path(), to.join(&name)).map_err(Error::io("copy", &entry.path()))?;
        }
    }
    Ok(())
}

/// What `evaluate` found, in its order: name, unit, value.
fn figures(run: &Path) -> Result<Vec<(String, String, f64)>> {
    let path = run.join("report").join("metrics.json");
    let rows = json(&path)?;
    let figure = |row: &Value| Some((text(row, "name")?, text(row, "unit")?, row.get("value")?.as_f64()?));
    rows.iter().map(|row| figure(row).ok_or_else(|| unreadable(&path))).collect()
}

/// What is expected; nothing of a dataset that is new.
fn read(path: &Path) -> Result<Vec<Expected>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let expected = |row: &Value| {
        Some(Expected {
            name: text(row, "name")?,
            unit: text(row, "unit")?,
            value: row.get("value")?.as_f64()?,
            tolerance: row.get("tolerance")?.as_f64()?,
        })
    };
    json(path)?.iter().map(|row| expected(row).ok_or_else(|| unreadable(path))).collect()
}

fn json(path: &Path) -> Result<Vec<Value>> {
    let content = fs::read_to_string(path).map_err(Error::io("read", path))?;
    serde_json::from_str(&content).map_err(|_| unreadable(path))
}

fn unreadable(path: &Path) -> Error {
    Error::unexpected(format!("`{}` is not a list of metrics", path.display()))
}

fn text(row: &Value, key: &str) -> Option<String> {
    row.get(key)?.as_str().map(str::to_owned)
}

fn differences(expected: &[Expected], found: &[(String, String, f64)]) -> Vec<Difference> {
    let mut all = Vec::new();
    for Expected { name, unit, value, tolerance } in expected {
        let now = found.iter().find(|(n, u, _)| n == name && u == unit).map(|(.., value)| *value);
        // Not `>`: what is no number is no success.
        if !now.is_some_and(|now| (now - value).abs() <= *tolerance) {
            let (name, unit, tolerance) = (name.clone(), unit.clone(), *tolerance);
            all.push(Difference { name, unit, expected: Some(*value), found: now, tolerance });
        }
    }
    for (name, unit, value) in found {
        if !expected.iter().any(|e| e.name == *name && e.unit == *unit) {
            let (name, unit) = (name.clone(), unit.clone());
            all.push(Difference { name, unit, expected: None, found: Some(*value), tolerance: 0.0 });
        }
    }
    all
}

/// One line about a figure.
fn tell(dataset: &str, difference: &Difference) -> String {
    let Difference { name, unit, expected, found, tolerance } = difference;
    let what = format!("{dataset}  {name} ({unit})");
    match (expected, found) {
        (Some(expected), Some(found)) => format!(
            "{what}: {} → {} ({:+}, tolerance {})",
            number(*expected),
            number(*found),
            rounded(found - expected),
            number(*tolerance)
        ),
        (Some(expected), None) => format!("{what}: {} → missing", number(*expected)),
        (None, found) => format!("{what}: new, {}", found.map_or_else(String::new, number)),
    }
}

/// Figures to expect from now on; how far each may move stays as it is.
fn updated(expected: &[Expected], found: &[(String, String, f64)]) -> Vec<Expected> {
    let figure = |(name, unit, value): &(String, String, f64)| {
        let before = expected.iter().find(|e| e.name == *name && e.unit == *unit);
        let tolerance = before.map_or_else(|| tolerance(*value), |before| before.tolerance);
        // What is still expected keeps its digits, so that a diff shows only what has moved.
        let value = before.map(|b| b.value).filter(|b| (b - value).abs() <= 1e-9).unwrap_or(*value);
        Expected { name: name.clone(), unit: unit.clone(), value: rounded(value), tolerance }
    };
    found.iter().map(figure).collect()
}

/// Shares and distances may move by a little, counts and times by that part of themselves.
fn tolerance(value: f64) -> f64 {
    rounded(TOLERANCE * value.abs().max(1.0))
}

fn write(path: &Path, expected: &[Expected]) -> Result<()> {
    let row = |e: &Expected| {
        format!("  {}", json!({ "name": e.name, "unit": e.unit, "value": e.value, "tolerance": e.tolerance }))
    };
    let rows: Vec<_> = expected.iter().map(row).collect();
    fs::write(path, format!("[\n{}\n]\n", rows.join(",\n"))).map_err(Error::io("write", path))
}

/// Enough digits for any tolerance, and no more than a person cares for.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn number(value: f64) -> String {
    rounded(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(value: f64) -> Vec<Expected> {
        vec![Expected { name: "b3_f1".into(), unit: "track".into(), value, tolerance: 0.005 }]
    }

    fn found(value: f64) -> Vec<(String, String, f64)> {
        vec![("b3_f1".into(), "track".into(), value)]
    }

    fn message(expected: &[Expected], found: &[(String, String, f64)]) -> Vec<String> {
        differences(expected, found).iter().map(|difference| tell("set", difference)).collect()
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
