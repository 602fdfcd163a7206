//! `cargo xtask bench pipeline`: a whole run beside ffmpeg decoding the same video.
//!
//! The two take turns, so that a machine that grows busy slows both. A run is what a person who
//! types `cargo xtask run` waits for, less the building.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::process::{self, Cost};
use console::{Error, Result, duration, exit, rounded, say};
use fetch::cache::Scratch;
use serde_json::{Map, Value, json};

use super::{Shared, Spread, every_core, listen, table};
use crate::{parse_count, parse_size, system, workspace};

/// The stages whose costs are shown.
const STAGES: [&str; 5] = ["ingest", "detect-track", "embed", "cluster", "evaluate"];

/// What `cargo xtask bench pipeline` takes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Options {
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
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// Measures, and prints a table or an object.
pub(crate) fn pipeline(options: &Options) -> Result<()> {
    let scratch = Scratch::new("bench")?;
    fs::File::open(&options.video)
        .map_err(|e| Error::new(exit::INPUT, format!("failed to read `{}`: {e}", options.video.display())))?;
    system::ensure(&[system::RUN], options.shared.install)?;
    workspace::build()?;
    let video = match options.scale {
        Some(size) => scaled(&options.video, size, scratch.path())?,
        None => options.video.clone(),
    };
    let report = measure(options, &video, &scratch.path().join("run"))?;
    say(if options.shared.json { report.json().to_string() } else { report.table() }.trim_end());
    Ok(())
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

fn measure(options: &Options, video: &Path, run_dir: &Path) -> Result<Report> {
    let threads = options.threads.unwrap_or_else(every_core);
    let mut rounds = Vec::new();
    for number in 1..=options.repeat {
        let decode = decode_only(video, threads)?;
        let round = run_once(video, run_dir, threads, decode)?;
        eprintln!(
            "round {number} of {}: decode only {}, run {}",
            options.repeat,
            duration(decode.wall_secs),
            duration(round.run_secs)
        );
        rounds.push(round);
    }
    let name = options.video.file_name().unwrap_or(options.video.as_os_str());
    Ok(Report { video: name.display().to_string(), scale: options.scale, threads, rounds })
}

/// The yardstick: ffmpeg decodes every frame and throws it away.
fn decode_only(video: &Path, threads: usize) -> Result<Cost> {
    let mut command = ffmpeg();
    command.args(["-threads", &threads.to_string(), "-i"]).arg(video);
    finish(command.args(["-map", "0:v:0", "-f", "null", "-"]))
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
        stages: STAGES.map(|stage| (stage, read_cost(&last["costs"][stage]))).to_vec(),
    })
}

fn read_cost(cost: &Value) -> Cost {
    Cost {
        wall_secs: cost["wall_secs"].as_f64().unwrap_or(0.0),
        cpu_secs: cost["cpu_secs"].as_f64().unwrap_or(0.0),
        peak_bytes: cost["peak_bytes"].as_u64().unwrap_or(0),
    }
}

/// One decode and one run.
#[derive(Debug)]
struct Round {
    decode: Cost,
    run_secs: f64,
    /// The figures of `ingest`.
    ingested: Value,
    stages: Vec<(&'static str, Cost)>,
}

impl Round {
    /// The run as a whole: its own time, and what its stages took together.
    fn run(&self) -> Cost {
        let costs = || self.stages.iter().map(|(_, cost)| *cost);
        Cost {
            wall_secs: self.run_secs,
            cpu_secs: costs().map(|cost| cost.cpu_secs).sum(),
            peak_bytes: costs().map(|cost| cost.peak_bytes).max().unwrap_or(0),
        }
    }
}

/// All that was measured.
#[derive(Debug)]
struct Report {
    video: String,
    scale: Option<(u32, u32)>,
    threads: usize,
    rounds: Vec<Round>,
}

/// Measurements of one program over all rounds.
struct Line {
    name: &'static str,
    wall_secs: Spread,
    cpu_secs: Spread,
    peak_bytes: Spread,
}

impl Line {
    fn new(name: &'static str, costs: &[Cost]) -> Self {
        let spread = |value: fn(&Cost) -> f64| Spread::of(costs.iter().map(value));
        Self {
            name,
            wall_secs: spread(|cost| cost.wall_secs),
            cpu_secs: spread(|cost| cost.cpu_secs),
            peak_bytes: spread(|cost| cost.peak_bytes as f64),
        }
    }

    fn json(&self) -> Value {
        json!({
            "wall_secs": self.wall_secs.json(),
            "cpu_secs": self.cpu_secs.json(),
            "peak_bytes": self.peak_bytes.json(),
        })
    }
}

impl Report {
    /// A figure of `ingest`, the same in every round.
    fn ingested(&self, key: &str) -> f64 {
        self.rounds.first().and_then(|round| round.ingested[key].as_f64()).unwrap_or(0.0)
    }

    fn line(&self, name: &'static str, cost: impl Fn(&Round) -> Cost) -> Line {
        Line::new(name, &self.rounds.iter().map(cost).collect::<Vec<_>>())
    }

    fn stages(&self) -> Vec<Line> {
        let names = self.rounds.first().map_or(&[][..], |round| &round.stages).iter().map(|(name, _)| *name);
        names.enumerate().map(|(i, name)| self.line(name, |round| round.stages[i].1)).collect()
    }

    fn decode(&self) -> Line {
        self.line("decode only", |round| round.decode)
    }

    fn run(&self) -> Line {
        self.line("run", Round::run)
    }

    /// How many times more a run takes than decoding, round by round.
    fn ratio(&self, value: fn(&Cost) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(|round| value(&round.run()) / value(&round.decode)))
    }

    fn json(&self) -> Value {
        let stages: Map<_, _> =
            self.stages().iter().map(|line| (line.name.to_owned(), line.json())).collect();
        let (frames, secs) = (self.ingested("frames"), self.ingested("duration_secs"));
        let rate = |amount: f64, line: &Line| amount / line.wall_secs.median;
        json!({
            "bench": "pipeline",
            "video": self.video,
            "scale": self.scale.map(|(width, height)| format!("{width}x{height}")),
            "threads": self.threads,
            "repeat": self.rounds.len(),
            "frames": frames as u64,
            "duration_secs": secs,
            "decode": self.decode().json(),
            "stages": stages,
            "run": self.run().json(),
            "ratio": { "wall": self.ratio(|c| c.wall_secs).json(), "cpu": self.ratio(|c| c.cpu_secs).json() },
            "frames_per_sec": { "decode": rate(frames, &self.decode()), "run": rate(frames, &self.run()) },
            "times_real_time": { "decode": rate(secs, &self.decode()), "run": rate(secs, &self.run()) },
        })
    }

    fn table(&self) -> String {
        let (frames, secs) = (self.ingested("frames"), self.ingested("duration_secs"));
        let row = |line: &Line| {
            [
                line.name.to_owned(),
                line.wall_secs.shown(),
                line.cpu_secs.shown(),
                rounded(line.peak_bytes.max / f64::from(1 << 20)),
                rounded(frames / line.wall_secs.median),
                rounded(secs / line.wall_secs.median),
            ]
        };
        let mut rows =
            vec![["", "wall s", "CPU s", "peak MiB", "frames/s", "× real time"].map(str::to_owned)];
        let lines = [vec![self.decode()], self.stages(), vec![self.run()]];
        rows.extend(lines.iter().flatten().map(row));
        let [wall, cpu] = [self.ratio(|c| c.wall_secs), self.ratio(|c| c.cpu_secs)].map(|r| r.shown());
        rows.push(["run ÷ decode only".into(), wall, cpu, String::new(), String::new(), String::new()]);
        format!("{}\n{}", self.heading(), table(&rows))
    }

    fn heading(&self) -> String {
        let size = self.scale.map_or(String::new(), |(width, height)| format!(" at {width}×{height}"));
        format!(
            "{}{size}: {} frames, {} s; threads: {}; median of {} (least–most)",
            self.video,
            self.ingested("frames"),
            rounded(self.ingested("duration_secs")),
            self.threads,
            self.rounds.len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rounds of a film of 100 frames in four seconds.
    fn report() -> Report {
        let cost = |wall_secs, cpu_secs, mib: u64| Cost { wall_secs, cpu_secs, peak_bytes: mib << 20 };
        let round = |slow: f64| Round {
            decode: cost(0.5 * slow, 1.0 * slow, 40),
            run_secs: 2.5 * slow * slow,
            ingested: json!({"frames": 100, "duration_secs": 4.0}),
            stages: vec![("ingest", cost(0.5, 0.25, 20)), ("detect-track", cost(1.5 * slow, 2.75, 300))],
        };
        Report {
            video: "a.mkv".into(),
            scale: Some((1280, 720)),
            threads: 2,
            rounds: vec![round(1.0), round(2.0)],
        }
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
        assert_eq!(report().table(), expected);
    }

    #[test]
    fn programs_read_the_same() {
        let object = report().json();
        let spread = |median: f64, min: f64, max: f64| json!({"median": median, "min": min, "max": max});
        assert_eq!(object["decode"]["wall_secs"], spread(0.75, 0.5, 1.0));
        assert_eq!(object["stages"]["detect-track"]["cpu_secs"], spread(2.75, 2.75, 2.75));
        assert_eq!(object["run"]["peak_bytes"]["max"], json!(f64::from(300 << 20)));
        assert_eq!(object["ratio"], json!({"wall": spread(7.5, 5.0, 10.0), "cpu": spread(2.25, 1.5, 3.0)}));
        assert_eq!(object["times_real_time"]["run"], json!(0.64));
        assert_eq!((&object["scale"], &object["frames"]), (&json!("1280x720"), &json!(100)));
    }
}
