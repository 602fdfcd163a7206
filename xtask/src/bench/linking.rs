//! `cargo xtask bench cluster` and `link`: telling who is who, beside other ways to do it.
//!
//! `cluster` makes people who do not exist, up to very many, and looks at time and memory; `link` takes the
//! tracks of labelled runs, and looks at how well people are told apart.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::process::{self, Cost};
use console::{Error, Result, exit, rounded, say};
use fetch::cache::Scratch;
use serde_json::{Value, json};

use super::runner::Runner;
use super::{PYTHON, Shared, every_core, listen, table};
use crate::{parse_count, system, workspace};

const SCRIPTS: [(&str, &str); 3] = [
    ("figures.py", include_str!("linking/figures.py")),
    ("peers.py", include_str!("linking/peers.py")),
    ("runs.py", include_str!("linking/runs.py")),
];

/// Start of the random numbers that people are made of.
const SEED: usize = 1;

/// A program that links synthetic people.
#[derive(Debug, Clone, Copy)]
struct Linker {
    name: &'static str,
    /// Whether it is a method of `ftl-bench`.
    ours: bool,
    /// Tracks that it can link in minutes and a few GiB.
    most: usize,
}

/// The others' time or memory grows with the square of the number of tracks.
const LINKERS: [Linker; 4] = [
    Linker { name: "link", ours: true, most: usize::MAX },
    Linker { name: "naive", ours: true, most: 10_000 },
    Linker { name: "scipy", ours: false, most: 20_000 },
    Linker { name: "hdbscan", ours: false, most: 20_000 },
];

/// What `cargo xtask bench cluster` takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Synthetic {
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
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// What `cargo xtask bench link` takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Labelled {
    /// A finished run with labels; thresholds of others are chosen on the other runs
    #[arg(long = "run", value_name = "DIR", required = true)]
    runs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// Measures linkers of synthetic people.
pub(crate) fn cluster(options: &Synthetic) -> Result<()> {
    system::ensure(&[system::RUN, system::TESTS], options.shared.install)?;
    workspace::build_all()?;
    let (python, scratch) = (PYTHON.obtain()?, scripts()?);
    let threads = options.threads.unwrap_or_else(every_core);
    let hall = Hall { python, scratch, threads };
    let mut rows = Vec::new();
    for dim in &options.dims {
        for n in &options.sizes {
            rows.extend(hall.compare(*n, *dim)?);
        }
    }
    say(if options.shared.json { object(threads, &rows).to_string() } else { text(threads, &rows) }
        .trim_end());
    Ok(())
}

/// Judges linkers of labelled runs.
pub(crate) fn link(options: &Labelled) -> Result<()> {
    options.runs.iter().try_for_each(|run| check_labels(run))?;
    system::ensure(&[system::TESTS], options.shared.install)?;
    let (python, scratch) = (PYTHON.obtain()?, scripts()?);
    let mut command = Command::new(python);
    command.arg(scratch.path().join("runs.py")).args(&options.runs);
    let found = std::mem::take(&mut Runner::start(&mut command)?.about);
    say(if options.shared.json { found.to_string() } else { runs_text(&found) }.trim_end());
    Ok(())
}

fn check_labels(run: &Path) -> Result<()> {
    if run.join("labels.parquet").is_file() {
        return Ok(());
    }
    let message = format!("`{}` is not a finished run with labels", run.display());
    Err(Error::new(exit::INPUT, message).hint("create one with `cargo xtask run --labels`"))
}

/// A folder with the scripts of the other side.
fn scripts() -> Result<Scratch> {
    let scratch = Scratch::new("bench")?;
    for (file, text) in SCRIPTS {
        scratch.write(&scratch.path().join(file), text)?;
    }
    Ok(scratch)
}

/// Where synthetic people are linked.
struct Hall {
    python: PathBuf,
    scratch: Scratch,
    threads: usize,
}

impl Hall {
    /// Has the same people linked by all who can link so many.
    fn compare(&self, n: usize, dim: usize) -> Result<Vec<Row>> {
        let folder = self.scratch.path().join("people");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let numbers = ["--n", &n.to_string(), "--dim", &dim.to_string(), "--seed", &SEED.to_string()];
        process::show(ours("people", &folder).args(numbers))?;
        let mut rows = Vec::new();
        for linker in LINKERS.iter().filter(|linker| n <= linker.most) {
            let row = self.measure(linker, &folder, n, dim)?;
            eprintln!("{}", row.message());
            rows.push(row);
        }
        fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
        Ok(rows)
    }

    /// Every linker is a process of its own, so that memory is its own.
    fn measure(&self, linker: &Linker, folder: &Path, n: usize, dim: usize) -> Result<Row> {
        let (dim_text, threads) = (dim.to_string(), self.threads.to_string());
        let mut command = if linker.ours {
            let mut command = ours("cluster", folder);
            command.args(["--dim", &dim_text, "--threads", &threads, linker.name]);
            command
        } else {
            self.theirs(linker.name, folder, dim)
        };
        let took = figures(linker.name, &mut command)?;
        let judged = figures("judge", &mut self.theirs("judge", folder, dim))?;
        for result in ["labels.i32", "tree.f64"].map(|file| folder.join(file)).iter().filter(|f| f.exists()) {
            fs::remove_file(result).map_err(Error::io("remove", result))?;
        }
        Ok(Row { linker: linker.name, n, dim, took, judged })
    }

    fn theirs(&self, what: &str, folder: &Path, dim: usize) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scratch.path().join("peers.py")).arg(what).arg(folder);
        command.args([dim.to_string(), self.threads.to_string()]);
        command
    }
}

/// What a program found, as the event `finished` has it, and what it took.
fn figures(name: &str, command: &mut Command) -> Result<Measured> {
    let (events, cost) = listen(command)?;
    let finished = events.into_iter().find(|event| event["event"] == "finished");
    let mut finished = finished.ok_or_else(|| Error::unexpected(format!("{name} did not finish")))?;
    Ok(Measured { figures: finished["figures"].take(), cost })
}

/// What a program found, and what it took.
#[derive(Debug)]
struct Measured {
    figures: Value,
    cost: Cost,
}

fn ours(what: &str, folder: &Path) -> Command {
    let mut command = Command::new(workspace::program("ftl-bench"));
    command.arg(what).arg("--folder").arg(folder);
    command
}

/// A linker, what it took, and how well it did.
#[derive(Debug)]
struct Row {
    linker: &'static str,
    n: usize,
    dim: usize,
    took: Measured,
    judged: Measured,
}

impl Row {
    fn message(&self) -> String {
        let [wall_secs, b3_f1] =
            ["wall_secs", "b3_f1"].map(|name| self.figure(name).map_or("?".into(), rounded));
        format!("{}, {} × {}: {wall_secs} s, B³ {b3_f1}", self.linker, self.n, self.dim)
    }

    /// Said by the linker itself or by the judge.
    fn figure(&self, name: &str) -> Option<f64> {
        let figures = [&self.took.figures, &self.judged.figures];
        figures.into_iter().find_map(|figures| figures.get(name)).and_then(Value::as_f64)
    }

    fn json(&self) -> Value {
        let mut object = json!({ "method": self.linker, "n": self.n, "dim": self.dim, "peak_bytes": self.took.cost.peak_bytes });
        for name in ["wall_secs", "cpu_secs", "pairs_f1", "b3_f1", "cut"] {
            object[name] = self.figure(name).into();
        }
        object
    }

    fn cells(&self) -> [String; 9] {
        let shown = |name: &str, show: fn(f64) -> String| self.figure(name).map_or(String::new(), show);
        [
            self.linker.to_owned(),
            self.n.to_string(),
            self.dim.to_string(),
            shown("wall_secs", rounded),
            shown("cpu_secs", rounded),
            rounded(self.took.cost.peak_bytes as f64 / f64::from(1 << 20)),
            shown("pairs_f1", |f1| format!("{f1:.3}")),
            shown("b3_f1", |f1| format!("{f1:.3}")),
            shown("cut", |cut| format!("{cut:.2}")),
        ]
    }
}

fn object(threads: usize, rows: &[Row]) -> Value {
    json!({ "bench": "cluster", "threads": threads, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

fn text(threads: usize, rows: &[Row]) -> String {
    let heading = ["", "tracks", "dim", "wall s", "CPU s", "peak MiB", "pairs F1", "B³ F1", "best cut"];
    let mut cells = vec![heading.map(str::to_owned)];
    cells.extend(rows.iter().map(Row::cells));
    format!(
        "{}threads: {threads}; times exclude reading the input, memory is that of the whole process\n",
        table(&cells)
    )
}

/// One table for all runs: a line of its own for each, and one for every method below it.
fn runs_text(found: &Value) -> String {
    let mut cells = vec![["", "", "B³ F1", "WCP", "clusters ÷ persons", "identity F1"].map(str::to_owned)];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let figure = |value: &Value| value.as_f64().map_or("–".into(), |x| format!("{x:.3}"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for run in list(&found["runs"]) {
        let title = format!("{}: {} tracks, AUC {}", word(&run["run"]), run["tracks"], figure(&run["auc"]));
        cells.push([title, String::new(), String::new(), String::new(), String::new(), String::new()]);
        for row in list(&run["rows"]) {
            let figures = ["b3_f1", "wcp", "ratio", "id_f1"].map(|name| figure(&row[name]));
            let [b3_f1, wcp, ratio, id_f1] = figures;
            cells.push([
                format!("  {}", word(&row["method"])),
                word(&row["setting"]),
                b3_f1,
                wcp,
                ratio,
                id_f1,
            ]);
        }
    }
    table(&cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        let cost = Cost { peak_bytes: 300 << 20, ..Cost::default() };
        let said = |figures: Value| Measured { figures, cost };
        Row {
            linker: "naive",
            n: 1000,
            dim: 128,
            took: said(json!({"wall_secs": 2.5, "cpu_secs": 4.0})),
            judged: said(json!({"b3_f1": 0.95, "pairs_f1": 0.9, "wcp": 0.9, "cut": 0.6})),
        }
    }

    #[test]
    fn the_table_shows_cost_and_figures() {
        let expected = "       \
tracks  dim  wall s  CPU s  peak MiB  pairs F1  B³ F1  best cut
naive    1000  128    2.50   4.00       300     0.900  0.950      0.60
threads: 2; times exclude reading the input, memory is that of the whole process
";
        let found = text(2, &[row()]);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn programs_read_the_same() {
        let expected = json!({
            "method": "naive", "n": 1000, "dim": 128, "wall_secs": 2.5, "cpu_secs": 4.0,
            "peak_bytes": 300 << 20, "pairs_f1": 0.9, "b3_f1": 0.95, "cut": 0.6,
        });
        assert_eq!(object(2, &[row()])["rows"], json!([expected]));
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
