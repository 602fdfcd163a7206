//! `cargo xtask bench library`: what it takes to add one more video to a library, by how many it has.

use std::process::Command;

use clap::Args;
use console::{Result, rounded, say};
use fetch::cache::Scratch;
use serde_json::{Value, json};

use super::{Shared, Spread, listen, table};
use crate::{parse_count, workspace};

/// Additions that a figure is taken from.
const ADDITIONS: usize = 11;

/// What `cargo xtask bench library` takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Options {
    /// Videos that are there before
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "50,100,500")]
    stored: Vec<usize>,
    /// People in a video
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "40")]
    people: usize,
    /// Share of a video's people who were in an earlier one [default: 0.6]
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    returning: Option<f64>,
    /// Start of the random numbers
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

fn parse_share(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "must be from 0 to 1".into())
}

/// Measures additions.
pub(crate) fn library(options: &Options) -> Result<()> {
    workspace::build_all()?;
    let scratch = Scratch::new("bench")?;
    let videos = options.stored.iter().max().copied().unwrap_or(0) + ADDITIONS;
    let mut command = Command::new(workspace::program("ftl-bench-library"));
    command.arg(scratch.path()).args(["--videos", &videos.to_string()]);
    command.args(["--people", &options.people.to_string(), "--seed", &options.seed.to_string()]);
    if let Some(share) = options.returning {
        command.args(["--returning", &share.to_string()]);
    }
    let (lines, _) = listen(&mut command)?;
    let rows: Vec<_> = options.stored.iter().map(|stored| Row::new(*stored, &lines)).collect();
    let scores = lines.last().cloned().unwrap_or_default();
    say(if options.shared.json { object(options, &rows, &scores).to_string() } else { text(&rows, &scores) }
        .trim_end());
    Ok(())
}

/// Additions to a library of about one size.
#[derive(Debug, PartialEq)]
struct Row {
    stored: usize,
    people: u64,
    secs: Spread,
    cpu_secs: Spread,
}

impl Row {
    fn new(stored: usize, lines: &[Value]) -> Self {
        let additions: Vec<_> = lines
            .iter()
            .filter(|line| {
                line["stored"].as_u64().is_some_and(|n| (stored..stored + ADDITIONS).contains(&(n as usize)))
            })
            .collect();
        Self {
            stored,
            people: additions.first().and_then(|line| line["people"].as_u64()).unwrap_or(0),
            secs: Spread::of(additions.iter().filter_map(|line| line["secs"].as_f64())),
            cpu_secs: Spread::of(additions.iter().filter_map(|line| line["cpu_secs"].as_f64())),
        }
    }

    fn ratio(&self, first: &Self) -> f64 {
        self.secs.median / first.secs.median
    }
}

fn text(rows: &[Row], scores: &Value) -> String {
    let mut cells =
        vec![["videos in the gallery", "people", "ms per addition", "ratio", "CPU ms"].map(str::to_owned)];
    let in_ms =
        |secs: &Spread| Spread { median: secs.median * 1e3, min: secs.min * 1e3, max: secs.max * 1e3 };
    cells.extend(rows.iter().map(|row| {
        [
            row.stored.to_string(),
            row.people.to_string(),
            in_ms(&row.secs).shown(),
            rounded(row.ratio(&rows[0])),
            in_ms(&row.cpu_secs).shown(),
        ]
    }));
    let number = |key: &str| scores[key].as_f64().unwrap_or(0.0);
    format!(
        "{}ms: median of {ADDITIONS} additions (least–most), including reading, comparing, writing and fsync\n\
         {} appearances of {} people, matched to {}: B³ precision {:.4}, recall {:.4}, F1 {:.4}\n",
        table(&cells),
        scores["appearances"],
        scores["people_true"],
        scores["people_found"],
        number("b3_precision"),
        number("b3_recall"),
        number("b3_f1"),
    )
}

fn object(options: &Options, rows: &[Row], scores: &Value) -> Value {
    let row = |row: &Row| {
        json!({
            "stored": row.stored,
            "people": row.people,
            "secs": row.secs.json(),
            "cpu_secs": row.cpu_secs.json(),
            "ratio": row.ratio(&rows[0]),
        })
    };
    json!({
        "bench": "library",
        "people": options.people,
        "seed": options.seed,
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "accuracy": scores,
    })
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
        let rows = [0, 20].map(|stored| Row::new(stored, &lines));
        let found = text(&rows, &lines[31]);
        let expected = [
            "videos in the gallery  people   ms per addition  ratio            CPU ms",
            "0                           0  15.0 (10.0–20.0)   1.00  7.50 (5.00–10.0)",
            "20                        200  35.0 (30.0–40.0)   2.33  17.5 (15.0–20.0)",
        ];
        assert_eq!(found.lines().take(3).collect::<Vec<_>>(), expected);
        assert!(found.ends_with("B³ precision 1.0000, recall 0.5000, F1 0.6667\n"), "{found}");
    }
}
