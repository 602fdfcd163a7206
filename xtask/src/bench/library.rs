//! `cargo xtask bench library`: what it takes to add one more video to a library, by how many it has, or to build one of
//! all videos at once.

use std::process::Command;

use clap::Args;
use console::Result;
use fetch::cache::Scratch;
use serde_json::{Value, json};

use super::{Column, every_core, listen, number, shown, spread, table, word};
use crate::{parse_count, workspace};

/// Additions that a figure is taken from.
const ADDITIONS: u64 = 11;

/// What `cargo xtask bench library` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Videos that are there before
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "50,100,500")]
    stored: Vec<usize>,
    /// People in a video
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "40")]
    people: usize,
    /// Share of a video's people who were in an earlier one [default: 0.6]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    returning: Option<f64>,
    /// Build galleries of so many videos at once, instead of adding videos one by one
    #[arg(long)]
    at_once: bool,
    /// Threads, with --at-once [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse_count, requires = "at_once")]
    threads: Option<usize>,
    /// Start of the random numbers
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
}

fn parse_share(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "must be from 0 to 1".into())
}

/// Measures additions, or builds.
pub(super) fn library(options: &Options) -> Result<Value> {
    workspace::build_all()?;
    if options.at_once {
        return at_once(options);
    }
    let videos = options.stored.iter().max().copied().unwrap_or(0) as u64 + ADDITIONS;
    let lines = measured(options, videos, None)?;
    let mut rows: Vec<Value> = Vec::new();
    for stored in &options.stored {
        let row = row(*stored as u64, &lines, rows.first());
        rows.push(row);
    }
    Ok(json!({
        "bench": "library",
        "people": options.people,
        "seed": options.seed,
        "rows": rows,
        "accuracy": lines.last().cloned().unwrap_or_default(),
    }))
}

/// Measures builds of libraries of several sizes.
fn at_once(options: &Options) -> Result<Value> {
    let threads = options.threads.unwrap_or_else(every_core);
    let mut rows = Vec::new();
    for videos in &options.stored {
        rows.extend(measured(options, *videos as u64, Some(threads))?);
    }
    Ok(json!({
        "bench": "library",
        "at_once": true,
        "people": options.people,
        "seed": options.seed,
        "threads": threads,
        "rows": rows,
    }))
}

/// What the program prints for so many videos; with threads, it builds.
fn measured(options: &Options, videos: u64, threads: Option<usize>) -> Result<Vec<Value>> {
    let scratch = Scratch::new("bench")?;
    let mut command = Command::new(workspace::program("ftl-bench-library"));
    command.arg(scratch.path()).args(["--videos", &videos.to_string()]);
    command.args(["--people", &options.people.to_string(), "--seed", &options.seed.to_string()]);
    if let Some(share) = options.returning {
        command.args(["--returning", &share.to_string()]);
    }
    if let Some(threads) = threads {
        command.args(["--threads", &threads.to_string()]);
    }
    Ok(listen(&mut command)?.0)
}

/// Additions to a library of about one size; `first` is the row that others are compared with.
fn row(stored: u64, lines: &[Value], first: Option<&Value>) -> Value {
    let sizes = stored..stored + ADDITIONS;
    let is_near = |line: &&Value| line["stored"].as_u64().is_some_and(|n| sizes.contains(&n));
    let additions: Vec<_> = lines.iter().filter(is_near).collect();
    let spread_of = |key: &str| spread(additions.iter().filter_map(|line| line[key].as_f64()));
    let median = |secs: &Value| secs["median"].as_f64().unwrap_or(0.0);
    let secs = spread_of("secs");
    json!({
        "stored": stored,
        "people": additions.first().and_then(|line| line["people"].as_u64()).unwrap_or(0),
        "ratio": median(&secs) / median(first.map_or(&secs, |first| &first["secs"])),
        "secs": secs,
        "cpu_secs": spread_of("cpu_secs"),
    })
}

const COLUMNS: [Column; 5] = [
    ("videos in the gallery", |row| word(&row["stored"])),
    ("people", |row| word(&row["people"])),
    ("ms per addition", |row| shown(&row["secs"], 1e3)),
    ("ratio", |row| number(&row["ratio"], 1.0)),
    ("CPU ms", |row| shown(&row["cpu_secs"], 1e3)),
];

const BUILT: [Column; 9] = [
    ("videos", |row| word(&row["videos"])),
    ("appearances", |row| word(&row["appearances"])),
    ("people", |row| word(&row["people_true"])),
    ("found", |row| word(&row["people_found"])),
    ("B³ precision", |row| format!("{:.4}", row["b3_precision"].as_f64().unwrap_or(0.0))),
    ("B³ recall", |row| format!("{:.4}", row["b3_recall"].as_f64().unwrap_or(0.0))),
    ("secs", |row| number(&row["secs"], 1.0)),
    ("CPU secs", |row| number(&row["cpu_secs"], 1.0)),
    ("peak MiB", |row| number(&row["peak_mib"], 1.0)),
];

pub(super) fn text(object: &Value) -> String {
    if object["at_once"] == true {
        return table(&BUILT, object["rows"].as_array().into_iter().flatten());
    }
    let scores = &object["accuracy"];
    let score = |key: &str| scores[key].as_f64().unwrap_or(0.0);
    format!(
        "{}ms: median of {ADDITIONS} additions (least–most), including reading, comparing, writing and fsync\n\
         {} appearances of {} people, matched to {}: B³ precision {:.4}, recall {:.4}, F1 {:.4}\n",
        table(&COLUMNS, object["rows"].as_array().into_iter().flatten()),
        scores["appearances"],
        scores["people_true"],
        scores["people_found"],
        score("b3_precision"),
        score("b3_recall"),
        score("b3_f1"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Value> {
        let addition = |n: usize| {
            let secs = 0.01 + n as f64 / 1000.0;
            json!({ "stored": n, "secs": secs, "cpu_secs": secs / 2.0, "people": 10 * n })
        };
        let scores = json!({
            "appearances": 120, "people_true": 30, "people_found": 31,
            "b3_precision": 1.0, "b3_recall": 0.5, "b3_f1": 0.6667,
        });
        (0..31).map(addition).chain([scores]).collect()
    }

    #[test]
    fn additions_to_libraries_of_about_one_size_make_a_row() {
        let lines = lines();
        let first = row(0, &lines, None);
        let rows = [row(20, &lines, Some(&first)), first].into_iter().rev().collect::<Vec<_>>();
        let found = text(&json!({ "rows": rows, "accuracy": lines[31] }));
        let expected = [
            "videos in the gallery  people   ms per addition  ratio            CPU ms",
            "0                           0  15.0 (10.0–20.0)   1.00  7.50 (5.00–10.0)",
            "20                        200  35.0 (30.0–40.0)   2.33  17.5 (15.0–20.0)",
        ];
        assert_eq!(found.lines().take(3).collect::<Vec<_>>(), expected);
        assert!(found.ends_with("B³ precision 1.0000, recall 0.5000, F1 0.6667\n"), "{found}");
    }
}
