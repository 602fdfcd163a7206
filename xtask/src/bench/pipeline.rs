//! `cargo xtask bench pipeline`: a whole run beside ffmpeg decoding the same video.
//!
//! The two take turns, so that a machine that grows busy slows both. A run is what the
//! user of `cargo xtask run` waits for, without building.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::process::{self, Cost};
use console::{Error, Result, duration, exit, rounded};
use fetch::cache::Scratch;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::{Column, every_core, listen, number, shown, spread, table, word};
use crate::{parse_count, parse_size, system, workspace};

/// The stages whose costs are shown.
const STAGES: [&str; 5] = ["ingest", "detect-track", "embed", "cluster", "evaluate"];

/// What `cargo xtask bench pipeline` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The video, mkv or mp4
    #[arg(long, value_name = "PATH")]
    video: PathBuf,
    /// Measure a copy of this size, which is made first (libx264, crf 23)
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    scale: Option<(u32, u32)>,
    /// Threads of ffmpeg and of every stage [default: every core]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    threads: Option<usize>,
    /// Rounds, ffmpeg and then a run in each
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "3")]
    repeat: usize,
}

/// Measures, round by round.
pub(super) fn pipeline(options: &Options, install: bool) -> Result<Value> {
    let scratch = Scratch::new("bench")?;
    fs::File::open(&options.video)
        .map_err(|e| Error::new(exit::INPUT, format!("failed to read `{}`: {e}", options.video.display())))?;
    system::ensure(&[system::RUN, system::OPENCV], install)?;
    workspace::build(true)?;
    let video = match options.scale {
        Some(size) => scaled(&options.video, size, scratch.path())?,
        None => options.video.clone(),
    };
    let threads = options.threads.unwrap_or_else(every_core);
    let mut rounds = Vec::new();
    for number in 1..=options.repeat {
        // The yardstick.
        let decode = decode(&video, &["-threads", &threads.to_string()])?;
        let round = run_once(&video, &scratch.path().join("run"), threads, decode)?;
        let [decode, run] = [decode.wall_secs, round.run_secs].map(duration);
        eprintln!("round {number} of {}: decode only {decode}, run {run}", options.repeat);
        rounds.push(round);
    }
    let name = options.video.file_name().unwrap_or(options.video.as_os_str());
    Ok(report(&name.display().to_string(), options.scale, threads, &rounds))
}

/// A copy at another size, frame for frame.
fn scaled(video: &Path, (width, height): (u32, u32), folder: &Path) -> Result<PathBuf> {
    eprintln!("making a copy of {width}×{height} pixels");
    let copy = folder.join("scaled.mkv");
    let mut command = ffmpeg();
    command.arg("-i").arg(video).args(["-map", "0:v:0", "-vf", &format!("scale={width}:{height}")]);
    command.args(["-fps_mode", "passthrough", "-enc_time_base", "-1", "-c:v", "libx264", "-crf", "23"]);
    finish(command.arg(&copy))?;
    Ok(copy)
}

/// Decodes every frame of a video by ffmpeg, with these options, and throws it away.
pub(super) fn decode(video: &Path, options: &[&str]) -> Result<Cost> {
    finish(ffmpeg().args(options).arg("-i").arg(video).args(["-map", "0:v:0", "-f", "null", "-"]))
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-y", "-v", "error"]);
    command
}

fn finish(command: &mut Command) -> Result<Cost> {
    let done = process::capture(command)?;
    if done.status.success() {
        return Ok(done.cost);
    }
    let why = process::tail(&done.stderr, 3);
    Err(Error::new(exit::INPUT, format!("ffmpeg failed to decode the video: {why}")))
}

/// A run into a fresh directory, and what its stages took.
fn run_once(video: &Path, run_dir: &Path, threads: usize, decode: Cost) -> Result<Round> {
    let mut command = workspace::facetrack();
    command.arg("run").arg(video).arg("--run-dir").arg(run_dir);
    let (events, cost) = listen(command.args(["--threads", &threads.to_string(), "--json"]))?;
    fs::remove_dir_all(run_dir).map_err(Error::io("remove", run_dir))?;
    let last = events.last().cloned().unwrap_or_default();
    Ok(Round {
        decode,
        run_secs: cost.wall_secs,
        ingested: last["figures"]["ingest"].clone(),
        stages: STAGES.map(|stage| Cost::deserialize(&last["costs"][stage]).unwrap_or_default()).to_vec(),
    })
}

/// One decode and one run.
#[derive(Debug)]
struct Round {
    decode: Cost,
    run_secs: f64,
    /// The figures of `ingest`.
    ingested: Value,
    /// In the order of [`STAGES`].
    stages: Vec<Cost>,
}

impl Round {
    /// The run as a whole: its own time, and what its stages took together.
    fn run(&self) -> Cost {
        Cost {
            wall_secs: self.run_secs,
            cpu_secs: self.stages.iter().map(|cost| cost.cpu_secs).sum(),
            peak_bytes: self.stages.iter().map(|cost| cost.peak_bytes).max().unwrap_or(0),
        }
    }
}

/// All that was measured.
fn report(video: &str, scale: Option<(u32, u32)>, threads: usize, rounds: &[Round]) -> Value {
    let line = |cost: &dyn Fn(&Round) -> Cost| {
        let spread_of = |value: fn(&Cost) -> f64| spread(rounds.iter().map(|round| value(&cost(round))));
        json!({
            "wall_secs": spread_of(|cost| cost.wall_secs),
            "cpu_secs": spread_of(|cost| cost.cpu_secs),
            "peak_bytes": spread_of(|cost| cost.peak_bytes as f64),
        })
    };
    let (decode, run) = (line(&|round| round.decode), line(&Round::run));
    let measured = rounds.first().map_or(0, |round| round.stages.len());
    let stages = STAGES.iter().enumerate().take(measured);
    let stages: Map<_, _> =
        stages.map(|(i, name)| ((*name).to_owned(), line(&|round| round.stages[i]))).collect();
    // How many times more a run takes than decoding, round by round.
    let ratio = |value: fn(&Cost) -> f64| spread(rounds.iter().map(|r| value(&r.run()) / value(&r.decode)));
    // The same in every round.
    let ingested = |key: &str| rounds.first().and_then(|round| round.ingested[key].as_f64()).unwrap_or(0.0);
    let (frames, secs) = (ingested("frames"), ingested("duration_secs"));
    json!({
        "bench": "pipeline",
        "video": video,
        "scale": scale.map(|(width, height)| format!("{width}x{height}")),
        "threads": threads,
        "repeat": rounds.len(),
        "frames": frames as u64,
        "duration_secs": secs,
        "ratio": { "wall": ratio(|cost| cost.wall_secs), "cpu": ratio(|cost| cost.cpu_secs) },
        "frames_per_sec": { "decode": per_sec(frames, &decode), "run": per_sec(frames, &run) },
        "times_real_time": { "decode": per_sec(secs, &decode), "run": per_sec(secs, &run) },
        "decode": decode,
        "stages": stages,
        "run": run,
    })
}

/// An amount by the second of the usual time.
fn per_sec(amount: f64, line: &Value) -> f64 {
    amount / line["wall_secs"]["median"].as_f64().unwrap_or(0.0)
}

const COLUMNS: [Column; 6] = [
    ("", |row| word(&row["name"])),
    ("wall s", |row| shown(&row["wall_secs"], 1.0)),
    ("CPU s", |row| shown(&row["cpu_secs"], 1.0)),
    ("peak MiB", |row| number(&row["peak_bytes"]["max"], 1.0 / f64::from(1 << 20))),
    ("frames/s", |row| number(&row["frames_per_sec"], 1.0)),
    ("× real time", |row| number(&row["times_real_time"], 1.0)),
];

pub(super) fn text(report: &Value) -> String {
    let secs = report["duration_secs"].as_f64().unwrap_or(0.0);
    let row = |name: &str, line: &Value| {
        let mut row = line.clone();
        row["name"] = name.into();
        row["frames_per_sec"] = per_sec(report["frames"].as_f64().unwrap_or(0.0), line).into();
        row["times_real_time"] = per_sec(secs, line).into();
        row
    };
    let mut rows = vec![row("decode only", &report["decode"])];
    rows.extend(STAGES.iter().filter_map(|stage| Some(row(stage, report["stages"].get(stage)?))));
    rows.push(row("run", &report["run"]));
    let ratio = &report["ratio"];
    rows.push(json!({ "name": "run ÷ decode only", "wall_secs": ratio["wall"], "cpu_secs": ratio["cpu"] }));
    let scale =
        report["scale"].as_str().map_or(String::new(), |size| format!(" at {}", size.replace('x', "×")));
    format!(
        "{}{scale}: {} frames, {} s; threads: {}; median of {} (least–most)\n{}",
        word(&report["video"]),
        report["frames"],
        rounded(secs),
        report["threads"],
        report["repeat"],
        table(&COLUMNS, &rows),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rounds of a film of 100 frames in four seconds.
    fn measured() -> Value {
        let cost = |wall_secs, cpu_secs, mib: u64| Cost { wall_secs, cpu_secs, peak_bytes: mib << 20 };
        let round = |slow: f64| Round {
            decode: cost(0.5 * slow, 1.0 * slow, 40),
            run_secs: 2.5 * slow * slow,
            ingested: json!({"frames": 100, "duration_secs": 4.0}),
            stages: vec![cost(0.5, 0.25, 20), cost(1.5 * slow, 2.75, 300)],
        };
        report("a.mkv", Some((1280, 720)), 2, &[round(1.0), round(2.0)])
    }

    #[test]
    fn the_table_shows_every_program_and_the_ratio() {
        let expected = "\
a.mkv at 1280×720: 100 frames, 4.00 s; threads: 2; median of 2 (least–most)
                               wall s             CPU s  peak MiB  frames/s  × real time
decode only        0.750 (0.500–1.00)  1.50 (1.00–2.00)      40.0       133         5.33
ingest                          0.500             0.250      20.0       200         8.00
detect-track         2.25 (1.50–3.00)              2.75       300      44.4         1.78
run                  6.25 (2.50–10.0)              3.00       300      16.0        0.640
run ÷ decode only    7.50 (5.00–10.0)  2.25 (1.50–3.00)
";
        assert_eq!(text(&measured()), expected);
    }

    #[test]
    fn programs_read_the_same() {
        let object = measured();
        let spread = |median: f64, min: f64, max: f64| json!({"median": median, "min": min, "max": max});
        assert_eq!(object["decode"]["wall_secs"], spread(0.75, 0.5, 1.0));
        assert_eq!(object["stages"]["detect-track"]["cpu_secs"], spread(2.75, 2.75, 2.75));
        assert_eq!(object["run"]["peak_bytes"]["max"], json!(f64::from(300 << 20)));
        assert_eq!(object["ratio"], json!({"wall": spread(7.5, 5.0, 10.0), "cpu": spread(2.25, 1.5, 3.0)}));
        assert_eq!(object["times_real_time"]["run"], json!(0.64));
        assert_eq!((&object["scale"], &object["frames"]), (&json!("1280x720"), &json!(100)));
    }
}
