//! `cargo xtask bench cluster` and `link`: linking beside other methods.
//!
//! `cluster` measures time and memory on synthetic people, up to a million tracks; `link` measures accuracy on
//! the tracks of labelled runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::process::{self, Cost};
use console::{Error, Result, exit, rounded};
use serde_json::{Value, json};

use super::runner::Runner;
use super::{Column, PYTHON, every_core, listen, number, scripts, table, word};
use crate::{parse_count, system, workspace};

const SCRIPTS: [(&str, &str); 3] = [
    ("figures.py", include_str!("linking/figures.py")),
    ("peers.py", include_str!("linking/peers.py")),
    ("runs.py", include_str!("linking/runs.py")),
];

/// Start of the random numbers that people are made of.
const SEED: &str = "1";

/// Programs that link synthetic people: name, whether it is a method of `ftl-bench`, and the number of tracks that
/// it can link in minutes and a few GiB. The others' time or memory grows with the square of that number.
const LINKERS: [(&str, bool, usize); 4] = [
    ("link", true, usize::MAX),
    ("naive", true, 10_000),
    ("scipy", false, 20_000),
    ("hdbscan", false, 20_000),
];

/// What `cargo xtask bench cluster` takes.
#[derive(Debug, Args)]
pub(super) struct Synthetic {
    /// Numbers of tracks
    #[arg(long = "n", value_name = "N,..", value_delimiter = ',', value_parser = parse_count)]
    #[arg(default_value = "1000,10000,100000,1000000")]
    sizes: Vec<usize>,
    /// Numbers in a vector
    #[arg(long = "dim", value_name = "N,..", value_delimiter = ',', value_parser = parse_count)]
    #[arg(default_value = "128,512")]
    dims: Vec<usize>,
    /// Threads of those who can use several [default: every core]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    threads: Option<usize>,
}

/// What `cargo xtask bench link` takes.
#[derive(Debug, Args)]
pub(super) struct Labelled {
    /// A finished run with labels; thresholds of others are chosen on the other runs
    #[arg(long = "run", value_name = "DIR", required = true)]
    runs: Vec<PathBuf>,
}

/// Measures linkers of synthetic people.
pub(super) fn cluster(options: &Synthetic, install: bool) -> Result<Value> {
    system::ensure(&[system::RUN, system::TESTS], install)?;
    workspace::build_all()?;
    let (python, scratch) = (PYTHON.obtain()?, scripts(&SCRIPTS)?);
    let threads = options.threads.unwrap_or_else(every_core);
    let folder = scratch.path().join("people");
    let ours = |what: &str| {
        let mut command = Command::new(workspace::program("ftl-bench"));
        command.arg(what).arg("--folder").arg(&folder);
        command
    };
    let mut rows = Vec::new();
    for (dim, n) in options.dims.iter().flat_map(|dim| options.sizes.iter().map(move |n| (*dim, *n))) {
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let [size, dim_text, threads_text] = [n, dim, threads].map(|number| number.to_string());
        process::show(ours("people").args(["--n", &size, "--dim", &dim_text, "--seed", SEED]))?;
        let theirs = |what: &str| {
            let mut command = Command::new(&python);
            command.arg(scratch.path().join("peers.py")).arg(what).arg(&folder);
            command.args([&dim_text, &threads_text]);
            command
        };
        // Every linker is a process of its own, so that memory is its own.
        for (linker, is_ours, _) in LINKERS.iter().filter(|(.., most)| n <= *most) {
            let mut command = if *is_ours { ours("cluster") } else { theirs(linker) };
            if *is_ours {
                command.args(["--dim", &dim_text, "--threads", &threads_text, linker]);
            }
            let (took, cost) = figures(linker, &mut command)?;
            let (judged, _) = figures("judge", &mut theirs("judge"))?;
            for result in
                ["labels.i32", "tree.f64"].map(|file| folder.join(file)).iter().filter(|f| f.exists())
            {
                fs::remove_file(result).map_err(Error::io("remove", result))?;
            }
            let row = row(linker, [n, dim], cost, [&took, &judged]);
            let said = |key: &str| row[key].as_f64().map_or("?".into(), rounded);
            eprintln!("{linker}, {n} × {dim}: {} s, B³ {}", said("wall_secs"), said("b3_f1"));
            rows.push(row);
        }
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
    }
    Ok(json!({ "bench": "cluster", "threads": threads, "rows": rows }))
}

/// What a program found, as the event `finished` has it, and what it took.
fn figures(name: &str, command: &mut Command) -> Result<(Value, Cost)> {
    let (events, cost) = listen(command)?;
    let finished = events.into_iter().find(|event| event["event"] == "finished");
    let mut finished = finished.ok_or_else(|| Error::unexpected(format!("{name} did not finish")))?;
    Ok((finished["figures"].take(), cost))
}

/// A linker, what it took, and how well it did: figures of the linker itself, then of the judge.
fn row(linker: &str, [n, dim]: [usize; 2], cost: Cost, figures: [&Value; 2]) -> Value {
    let mut row = json!({ "method": linker, "n": n, "dim": dim, "peak_bytes": cost.peak_bytes });
    for name in ["wall_secs", "cpu_secs", "pairs_f1", "b3_f1", "cut"] {
        row[name] = figures.iter().find_map(|figures| figures.get(name)).and_then(Value::as_f64).into();
    }
    row
}

const COLUMNS: [Column; 9] = [
    ("", |row| word(&row["method"])),
    ("tracks", |row| word(&row["n"])),
    ("dim", |row| word(&row["dim"])),
    ("wall s", |row| number(&row["wall_secs"], 1.0)),
    ("CPU s", |row| number(&row["cpu_secs"], 1.0)),
    ("peak MiB", |row| number(&row["peak_bytes"], 1.0 / f64::from(1 << 20))),
    ("pairs F1", |row| share(&row["pairs_f1"]).unwrap_or_default()),
    ("B³ F1", |row| share(&row["b3_f1"]).unwrap_or_default()),
    ("best cut", |row| row["cut"].as_f64().map_or(String::new(), |cut| format!("{cut:.2}"))),
];

fn share(value: &Value) -> Option<String> {
    value.as_f64().map(|share| format!("{share:.3}"))
}

pub(super) fn text(object: &Value) -> String {
    format!(
        "{}threads: {}; times exclude reading the input, memory is that of the whole process\n",
        table(&COLUMNS, object["rows"].as_array().into_iter().flatten()),
        object["threads"],
    )
}

/// Judges linkers of labelled runs.
pub(super) fn link(options: &Labelled, install: bool) -> Result<Value> {
    options.runs.iter().try_for_each(|run| check_labels(run))?;
    system::ensure(&[system::TESTS], install)?;
    let (python, scratch) = (PYTHON.obtain()?, scripts(&SCRIPTS)?);
    let mut command = Command::new(python);
    command.arg(scratch.path().join("runs.py")).args(&options.runs);
    Ok(std::mem::take(&mut Runner::start(&mut command)?.about))
}

fn check_labels(run: &Path) -> Result<()> {
    if run.join("labels.parquet").is_file() {
        return Ok(());
    }
    let message = format!("`{}` is not a finished run with labels", run.display());
    Err(Error::new(exit::INPUT, message).hint("create one with `cargo xtask run --labels`"))
}

const RUN_COLUMNS: [Column; 6] = [
    ("", |row| row["title"].as_str().map_or_else(|| format!("  {}", word(&row["method"])), str::to_owned)),
    ("", |row| word(&row["setting"])),
    ("B³ F1", |row| run_share(row, "b3_f1")),
    ("WCP", |row| run_share(row, "wcp")),
    ("clusters ÷ persons", |row| run_share(row, "ratio")),
    ("identity F1", |row| run_share(row, "id_f1")),
];

fn run_share(row: &Value, key: &str) -> String {
    if row["title"].is_string() { String::new() } else { share(&row[key]).unwrap_or("–".into()) }
}

/// One table for all runs: a line of its own for each, and one for every method below it.
pub(super) fn runs_text(found: &Value) -> String {
    let mut rows = Vec::new();
    for run in found["runs"].as_array().into_iter().flatten() {
        let auc = share(&run["auc"]).unwrap_or("–".into());
        rows.push(json!({ "title": format!("{}: {} tracks, AUC {auc}", word(&run["run"]), run["tracks"]) }));
        rows.extend(run["rows"].as_array().into_iter().flatten().cloned());
    }
    table(&RUN_COLUMNS, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        let cost = Cost { peak_bytes: 300 << 20, ..Cost::default() };
        let took = json!({"wall_secs": 2.5, "cpu_secs": 4.0});
        let judged = json!({"b3_f1": 0.95, "pairs_f1": 0.9, "wcp": 0.9, "cut": 0.6});
        json!({ "threads": 2, "rows": [row("naive", [1000, 128], cost, [&took, &judged])] })
    }

    #[test]
    fn the_table_shows_cost_and_figures() {
        let expected = "       \
tracks  dim  wall s  CPU s  peak MiB  pairs F1  B³ F1  best cut
naive    1000  128    2.50   4.00       300     0.900  0.950      0.60
threads: 2; times exclude reading the input, memory is that of the whole process
";
        let found = text(&object());
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn programs_read_the_same() {
        let expected = json!({
            "method": "naive", "n": 1000, "dim": 128, "wall_secs": 2.5, "cpu_secs": 4.0,
            "peak_bytes": 300 << 20, "pairs_f1": 0.9, "b3_f1": 0.95, "cut": 0.6,
        });
        assert_eq!(object()["rows"], json!([expected]));
    }

    #[test]
    fn every_run_has_its_lines() {
        let row = |method: &str, setting: Value| json!({"method": method, "setting": setting, "b3_f1": 1.0, "wcp": 0.5, "ratio": 1.25, "id_f1": 0.75});
        let rows = [row("link", Value::Null), row("HAC", json!("0.64"))];
        let found = runs_text(&json!({"runs": [{"run": "a", "tracks": 9, "auc": null, "rows": rows}]}));
        let expected = "                          \
B³ F1    WCP  clusters ÷ persons  identity F1
a: 9 tracks, AUC –
  link                    1.000  0.500               1.250        0.750
  HAC               0.64  1.000  0.500               1.250        0.750
";
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn a_run_without_labels_is_refused() {
        let error = check_labels(Path::new("/nowhere")).err();
        assert_eq!(error.map(|error| error.code), Some(exit::INPUT));
    }
}
