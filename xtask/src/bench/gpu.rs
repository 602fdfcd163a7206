//! `cargo xtask bench gpu`: the embedding networks and whole runs on an NVIDIA card, beside our own kernels on the CPU.
//!
//! All that can fail is tried before the measuring begins. With `--device cpu` everything is measured but a card, which
//! tests the bench on a machine without one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;
use console::{Error, Result, exit, process};
use fetch::cache::{self, Scratch};
use serde_json::{Value, json};

use super::networks::{PINNED, SEEDED};
use super::pipeline::decode;
use super::runner::Runner;
use super::{Column, every_core, listen, number, shown, spread, table, word};
use crate::{parse_count, system, workspace};

/// A network that is measured only where its weights are, because not every machine can download them.
const RETAIL: &str = "retail";
/// Measured by default: the two that runs use, and a large one whose layers fill a card.
const DEFAULT: [&str; 3] = ["sface", RETAIL, "iresnet50"];
/// How long measurements are begun, so that with the checks before and the last batch the whole ends within 8 minutes.
const LIMIT: Duration = Duration::from_secs(400);

/// What `cargo xtask bench gpu` takes.
#[derive(Debug, PartialEq, Args)]
pub(super) struct Options {
    /// The card, or cpu to test the bench on a machine without one
    #[arg(long, value_name = "cpu|cuda[:N]", default_value = "cuda", value_parser = parse_device)]
    device: String,
    /// These networks only [default: sface, iresnet50, and retail where its weights are]
    #[arg(long = "network", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new([RETAIL].into_iter().chain(PINNED).chain(SEEDED)))]
    networks: Vec<String>,
    /// Precisions on the device [default: f32, and f16 on a card]
    #[arg(long = "precision", value_name = "f32|f16|int8", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(["f32", "f16", "int8"]))]
    precisions: Vec<String>,
    /// Images that are passed together
    #[arg(long = "batch", value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "1,8,32,128,256")]
    batches: Vec<usize>,
    /// Also time whole runs of this video on either device, and compare their people
    #[arg(long, value_name = "PATH")]
    video: Option<PathBuf>,
    /// Rounds, each one measurement of every side
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "3")]
    repeat: usize,
    /// Folder of the programs ftl-bench and facetrack, built elsewhere [default: build them]
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
}

fn parse_device(text: &str) -> std::result::Result<String, String> {
    let number = |text: &str| text.strip_prefix("cuda:").is_some_and(|number| number.parse::<u8>().is_ok());
    let is_known = ["cpu", "cuda"].contains(&text) || number(text);
    is_known.then(|| text.to_owned()).ok_or_else(|| "must be cpu, cuda or cuda:N".into())
}

/// What is measured where, once it is known to be there.
struct Plan<'a> {
    options: &'a Options,
    /// Of the programs.
    folder: PathBuf,
    /// Each with its weight file, `None` for seeded weights.
    networks: Vec<(&'a str, Option<PathBuf>)>,
    precisions: Vec<&'a str>,
}

/// Measures, first whole runs, then network by network.
pub(super) fn gpu(options: &Options, install: bool) -> Result<Value> {
    let plan = Plan::new(options, install)?;
    let end = Instant::now() + LIMIT;
    let runs = options.video.as_deref().map(|video| plan.runs(video, end)).transpose()?;
    let decoding = options.video.as_deref().map(|video| plan.decoding(video)).transpose()?;
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for (name, weights) in &plan.networks {
        let mut sides = plan.sides(name, weights.as_deref())?;
        for batch in &options.batches {
            eprintln!("{name}, batch {batch}");
            let late = Error::unexpected("no time was left");
            let is_in_time = Instant::now() < end;
            match if is_in_time { measure(&mut sides, *batch, options.repeat) } else { Err(late) } {
                Ok(measured) => rows.extend(rows_of(name, &plan.precisions, *batch, &measured)),
                Err(error) if error.is_interrupt() => return Err(error),
                // As where a batch does not fit into the card's memory.
                Err(error) => left_out.push(format!("{name}, batch {batch}: {}", error.message)),
            }
        }
    }
    if rows.is_empty() && runs.is_none() {
        return Err(Error::unexpected(format!("nothing was measured: {}", left_out.join("; "))));
    }
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(json!({
        "bench": "gpu",
        "device": options.device,
        "card": card(&options.device),
        "cpu": cpu.map(|(_, name)| name),
        "threads": every_core(),
        "repeat": options.repeat,
        "rows": rows,
        "left_out": left_out,
        "runs": runs,
        "decoding": decoding,
    }))
}

impl<'a> Plan<'a> {
    /// Checks and builds.
    fn new(options: &'a Options, install: bool) -> Result<Self> {
        let is_card = options.device != "cpu";
        let mut precisions: Vec<_> = options.precisions.iter().map(String::as_str).collect();
        if precisions.is_empty() {
            precisions.extend(["f32", "f16"].into_iter().take(1 + usize::from(is_card)));
        }
        if precisions.contains(&"f16") && !is_card {
            return refused(
                "half precision requires a card",
                "leave out --precision f16, or pass --device cuda",
            );
        }
        if precisions.contains(&"int8") && is_card {
            return refused("int8 requires the CPU", "leave out --precision int8, or pass --device cpu");
        }
        if let Some(video) = &options.video {
            let unreadable =
                |e| Error::new(exit::INPUT, format!("failed to read `{}`: {e}", video.display()));
            fs::File::open(video).map_err(unreadable)?;
        }
        if is_card && !process::succeeds("nvidia-smi", &["-L"]) {
            let hint = "install NVIDIA's driver, or pass --device cpu, which measures all but a card";
            return refused("no NVIDIA card was found: `nvidia-smi -L` failed", hint);
        }
        let folder = match &options.programs {
            Some(folder) => folder.clone(),
            None => build(is_card, install)?,
        };
        let programs = ["ftl-bench", "facetrack"].map(|name| folder.join(name));
        if let Some(missing) = programs.iter().find(|program| !program.is_file()) {
            let missing = format!("`{}` is missing", missing.display());
            return refused(&missing, "without --programs, the programs are built");
        }
        let folder_of_weights = cache::folder("weights")?;
        let stored = |name: &str| folder_of_weights.join(format!("{name}.safetensors"));
        let mut names: Vec<_> = options.networks.iter().map(String::as_str).collect();
        if names.is_empty() {
            names.extend(DEFAULT.into_iter().filter(|name| *name != RETAIL || stored(name).is_file()));
        }
        let with_file = names.iter().copied().filter(|name| !SEEDED.contains(name));
        let of_runs = options.video.iter().flat_map(|_| ["yunet", "sface"]);
        let files: Vec<_> = with_file.chain(of_runs).collect();
        if !files.is_empty() {
            workspace::call(Command::new(&programs[1]).args(["models", "fetch"]).args(files))?;
        }
        let weights = |name| (name, Some(stored(name)).filter(|_| !SEEDED.contains(&name)));
        let networks = names.into_iter().map(weights).collect();
        let plan = Self { options, folder, networks, precisions };
        // Without a request, the program ends as soon as it has the device and the network.
        for (name, weights) in &plan.networks {
            for precision in &plan.precisions {
                workspace::call(&mut plan.side(name, weights.as_deref(), Some(precision)))?;
            }
        }
        Ok(plan)
    }

    /// A side: the CPU, or with a precision the device.
    fn side(&self, network: &str, weights: Option<&Path>, precision: Option<&str>) -> Command {
        let mut command = Command::new(self.folder.join("ftl-bench"));
        let device = &*self.options.device;
        // On a card one thread passes whole batches; on the CPU all threads share a batch, as in `embed`.
        let threads = if precision.is_none() || device == "cpu" { every_core() } else { 1 };
        command.args(["network", network, "--threads", &threads.to_string()]);
        command.args(weights.iter().flat_map(|file| [Path::new("--weights"), file]));
        command.args(precision.iter().flat_map(|precision| ["--device", device, "--precision", precision]));
        command
    }

    /// The CPU, then for each precision the device with transfers and without.
    fn sides(&self, network: &str, weights: Option<&Path>) -> Result<Vec<Runner>> {
        let mut sides = vec![Runner::start(&mut self.side(network, weights, None))?];
        for precision in &self.precisions {
            for resident in [None, Some("--resident")] {
                let mut side = self.side(network, weights, Some(precision));
                sides.push(Runner::start(side.args(resident))?);
            }
        }
        Ok(sides)
    }

    /// Whole runs by turns, at least one on each device: a row for every precision.
    fn runs(&self, video: &Path, end: Instant) -> Result<Value> {
        let scratch = Scratch::new("bench")?;
        let places: Vec<_> = [("cpu", "f32")]
            .into_iter()
            .chain(self.precisions.iter().map(|p| (&*self.options.device, *p)))
            .collect();
        let folder = |i: usize| scratch.path().join(format!("run-{i}"));
        let mut rounds: Vec<Vec<f64>> = Vec::new();
        while rounds.len() < self.options.repeat && (rounds.is_empty() || Instant::now() < end) {
            let run = |(i, (device, precision)): (usize, &(&str, &str))| {
                workspace::remove(&folder(i))?;
                let mut command = Command::new(self.folder.join("facetrack"));
                command.arg("run").arg(video).arg("--run-dir").arg(folder(i));
                command.args(["--device", device, "--precision", precision, "--json"]);
                Ok(listen(&mut command)?.1.wall_secs)
            };
            rounds.push(places.iter().enumerate().map(run).collect::<Result<_>>()?);
            eprintln!("runs: round {} of {}", rounds.len(), self.options.repeat);
        }
        let rows = places.iter().enumerate().map(|(i, (device, precision))| {
            let mut compare = Command::new(self.folder.join("facetrack"));
            compare.arg("compare").arg(folder(0)).arg(folder(i)).arg("--json");
            let found = listen(&mut compare)?.0.pop().unwrap_or_default();
            Ok(json!({
                "device": device,
                "precision": precision,
                "wall_secs": spread(rounds.iter().map(|round| round[i])),
                "ratio_to_cpu": spread(rounds.iter().map(|round| round[0] / round[i])),
                "same_people": same_people(&found),
            }))
        });
        rows.collect::<Result<Vec<_>>>().map(Value::from)
    }

    /// Seconds that ffmpeg takes to decode the video on all cores, and to decode it on the card and bring the frames to the
    /// CPU; without the latter where ffmpeg cannot. Runs decode on the CPU: this is what they could gain.
    fn decoding(&self, video: &Path) -> Result<Value> {
        let by = |options: &[&str]| -> Result<Value> {
            let rounds = (0..self.options.repeat).map(|_| Ok(decode(video, options)?.wall_secs));
            Ok(spread(rounds.collect::<Result<Vec<_>>>()?))
        };
        let cpu = by(&["-threads", &every_core().to_string()])?;
        // With `xerror`, ffmpeg fails where it would decode on the CPU instead.
        let card = card_number(&self.options.device)
            .map(|number| by(&["-xerror", "-hwaccel", "cuda", "-hwaccel_device", number]));
        Ok(json!({ "cpu_secs": cpu, "card_secs": card.and_then(Result::ok) }))
    }
}

fn refused<T>(message: &str, hint: &str) -> Result<T> {
    Err(Error::new(exit::USAGE, message).hint(hint))
}

/// Whether a comparison of two runs found the same faces, and the same partition of them into people.
fn same_people(found: &Value) -> bool {
    let none = |key: &str| found[key].as_array().is_some_and(Vec::is_empty);
    let boxes = &found["shared_boxes"];
    ["moved", "only_in_a", "only_in_b"].into_iter().all(none) && found["boxes"] == json!([boxes, boxes])
}

/// Builds the programs; returns their folder.
fn build(is_card: bool, install: bool) -> Result<PathBuf> {
    if is_card && !workspace::root().join("target/cuda/nvidia/cu13/bin/nvcc").is_file() {
        let hint = "see \"With a GPU\" in CONTRIBUTING.md, or pass --programs DIR";
        return refused("NVIDIA's compiler, which the build needs, is not in `target/cuda`", hint);
    }
    system::ensure(&[system::RUN, system::OPENCV, system::FETCH], install)?;
    if !is_card {
        workspace::build_all()?;
        return Ok(workspace::target().join("release"));
    }
    let mut cargo = workspace::cargo(["--config", ".cargo/cuda.toml"]);
    process::show(cargo.args(workspace::BUILD).args(["--features", "embed/cuda", "--quiet"]))?;
    // The folder of the target that this configuration names.
    Ok(workspace::target().join("x86_64-unknown-linux-gnu/release"))
}

/// Number of a card; `None` for the CPU.
fn card_number(device: &str) -> Option<&str> {
    Some(device.strip_prefix("cuda")?.strip_prefix(':').unwrap_or("0"))
}

/// Name of a card; `None` for the CPU, and where the numbers of `nvidia-smi` may be those of other cards.
fn card(device: &str) -> Option<String> {
    let number = card_number(device)?;
    if std::env::var_os("CUDA_VISIBLE_DEVICES").is_some() {
        return None;
    }
    let mut smi = Command::new("nvidia-smi");
    let output = smi.args(["--query-gpu=name", "--format=csv,noheader", "-i", number]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|name| !name.is_empty())
}

/// What the sides of a network said and took for a batch.
#[derive(Debug)]
struct Measured {
    /// Of the device, one for each precision: what it said of itself, and its distance from the CPU.
    about: Vec<[Value; 2]>,
    /// Seconds of one image, in the order of [`Plan::sides`].
    rounds: Vec<Vec<f64>>,
}

fn measure(sides: &mut [Runner], batch: usize, repeat: usize) -> Result<Measured> {
    let with_transfers = sides.iter_mut().skip(1).step_by(2);
    let parity = |side: &mut Runner| Ok([side.about.clone(), side.ask(&format!("parity {batch}"))?]);
    let about = with_transfers.map(parity).collect::<Result<_>>()?;
    let counts: Vec<_> = sides.iter_mut().map(|side| side.enough(batch)).collect::<Result<_>>()?;
    let round = |_| {
        let turns = sides.iter_mut().zip(&counts);
        turns.map(|(side, count)| Ok(side.pass_images(batch, *count)?.wall_secs)).collect::<Result<_>>()
    };
    Ok(Measured { about, rounds: (0..repeat).map(round).collect::<Result<_>>()? })
}

/// A row for every precision.
fn rows_of(network: &str, precisions: &[&str], batch: usize, measured: &Measured) -> Vec<Value> {
    let rate = |side: usize| spread(measured.rounds.iter().map(|round| 1.0 / round[side]));
    let ratio =
        |slow: usize, fast: usize| spread(measured.rounds.iter().map(|round| round[slow] / round[fast]));
    let row = |(i, precision): (usize, &&str)| {
        let [about, parity] = &measured.about[i];
        let (moved, resident) = (1 + 2 * i, 2 + 2 * i);
        let images_per_sec = rate(resident);
        let [macs, peak_flops] = ["macs", "peak_flops"].map(|key| about[key].as_f64().unwrap_or(0.0));
        let flops = 2.0 * macs * images_per_sec["median"].as_f64().unwrap_or(0.0);
        json!({
            "network": network,
            "precision": precision,
            "batch": batch,
            "distance": parity["distance"],
            "difference": parity["difference"],
            "images_per_sec": images_per_sec,
            "images_per_sec_with_transfers": rate(moved),
            "transfers": ratio(moved, resident),
            "cpu_images_per_sec": rate(0),
            "ratio_to_cpu": ratio(0, moved),
            "gflops": flops / 1e9,
            "peak_gflops": peak_flops / 1e9,
            "share_of_peak": flops / peak_flops,
        })
    };
    precisions.iter().enumerate().map(row).collect()
}

/// A small number; the programs answer null for one that is not finite.
fn small(value: &Value) -> String {
    value.as_f64().map_or_else(|| "not finite".into(), |value| format!("{value:.1e}"))
}

const COLUMNS: [Column; 12] = [
    ("", |row| word(&row["network"])),
    ("precision", |row| word(&row["precision"])),
    ("batch", |row| word(&row["batch"])),
    ("distance", |row| small(&row["distance"])),
    ("difference", |row| small(&row["difference"])),
    ("images/s", |row| number(&row["images_per_sec"]["median"], 1.0)),
    ("with transfers", |row| number(&row["images_per_sec_with_transfers"]["median"], 1.0)),
    ("transfers ×", |row| shown(&row["transfers"], 1.0)),
    ("the CPU's", |row| number(&row["cpu_images_per_sec"]["median"], 1.0)),
    ("ratio", |row| shown(&row["ratio_to_cpu"], 1.0)),
    ("GFLOP/s", |row| number(&row["gflops"], 1.0)),
    ("of peak", |row| format!("{} %", number(&row["share_of_peak"], 100.0))),
];

const RUN_COLUMNS: [Column; 4] = [
    ("run", |row| format!("{} {}", word(&row["device"]), word(&row["precision"]))),
    ("wall s", |row| shown(&row["wall_secs"], 1.0)),
    ("ratio", |row| shown(&row["ratio_to_cpu"], 1.0)),
    ("people", |row| if row["same_people"] == true { "the same".into() } else { "differ".into() }),
];

/// The tables, where they were measured, and what is missing.
pub(super) fn text(object: &Value) -> String {
    let rows = |key: &str| object[key].as_array().map_or(&[][..], Vec::as_slice);
    let mut text = format!(
        "{}, beside {}, threads {}; median of {} (least–most)\n{}",
        object["card"].as_str().map_or_else(|| format!("device {}", word(&object["device"])), str::to_owned),
        object["cpu"].as_str().unwrap_or("an unknown CPU"),
        object["threads"],
        object["repeat"],
        table(&COLUMNS, rows("rows")),
    );
    if object["runs"].is_array() {
        text += &table(&RUN_COLUMNS, rows("runs"));
    }
    if object["decoding"].is_object() {
        let secs = |side: &str| match &object["decoding"][side] {
            Value::Null => "not measured".into(),
            secs => format!("{} s", shown(secs, 1.0)),
        };
        text += &format!("decoding alone: CPU {}, card {}\n", secs("cpu_secs"), secs("card_secs"));
    }
    rows("left_out").iter().for_each(|what| text += &format!("not measured: {}\n", word(what)));
    if object["device"] == "cpu" {
        text += "no card was measured: `device cpu` is the CPU beside itself\n";
    }
    text
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test may panic")]
mod tests {
    use clap::Parser;

    use super::*;

    fn parsed(line: &str) -> Option<Options> {
        #[derive(Debug, Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        Cli::try_parse_from(line.split(' ')).ok().map(|cli| cli.options)
    }

    #[test]
    fn cards_are_benched_as_asked_for() {
        let options = parsed("gpu").expect("there is a default for everything");
        assert_eq!((options.device.as_str(), options.batches), ("cuda", vec![1, 8, 32, 128, 256]));
        let options = parsed("gpu --device cuda:1 --network retail,iresnet50 --precision f16 --batch 8");
        let options = options.expect("the options are known");
        assert_eq!((options.device.as_str(), options.precisions), ("cuda:1", vec!["f16".to_owned()]));
        for wrong in
            ["--device auto", "--device cuda:x", "--device cuda:-1", "--network yunet", "--precision f8"]
        {
            assert_eq!(parsed(&format!("gpu {wrong}")), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_missing_is_said_before_anything_is_built() {
        let failed =
            |line: &str| gpu(&parsed(line)?, false).err().map(|e| (e.code, e.message, e.hint.is_some()));
        let half = failed("gpu --device cpu --precision f16");
        assert_eq!(half, Some((exit::USAGE, "half precision requires a card".into(), true)));
        let integers = failed("gpu --precision int8");
        assert_eq!(integers, Some((exit::USAGE, "int8 requires the CPU".into(), true)));
        let (code, message, _) =
            failed("gpu --device cpu --video no-such.mkv").expect("there is no such file");
        assert!(code == exit::INPUT && message.contains("no-such.mkv"), "{message}");
        let (code, message, _) =
            failed("gpu --device cpu --programs /no-such-folder").expect("there is none");
        assert_eq!((code, message.as_str()), (exit::USAGE, "`/no-such-folder/ftl-bench` is missing"));
        if !process::succeeds("nvidia-smi", &["-L"]) {
            let (code, message, has_hint) = failed("gpu").expect("there is no card");
            assert!(code == exit::USAGE && has_hint && message.starts_with("no NVIDIA card"), "{message}");
        }
    }

    /// Two rounds of two precisions, of which the second overflows.
    fn measured() -> Value {
        let about = |peak_flops: f64, parity| [json!({ "macs": 0.5e9, "peak_flops": peak_flops }), parity];
        let half = json!({ "distance": null, "difference": null });
        let measured = Measured {
            about: vec![about(10e12, json!({ "distance": 1.2e-7, "difference": 0.002 })), about(20e12, half)],
            rounds: vec![
                vec![0.01, 0.0005, 0.00025, 0.0004, 0.0001],
                vec![0.02, 0.0005, 0.00025, 0.0004, 0.0001],
            ],
        };
        let run = |device: &str, secs| {
            json!({ "device": device, "precision": "f32", "wall_secs": spread([secs]),
            "ratio_to_cpu": spread([10.0 / secs]), "same_people": device == "cpu" })
        };
        json!({
            "device": "cuda", "card": "Card 1", "cpu": "CPU 1", "threads": 16, "repeat": 2,
            "rows": rows_of("sface", &["f32", "f16"], 8, &measured),
            "left_out": ["vgg, batch 256: out of memory"], "runs": [run("cpu", 10.0), run("cuda", 5.0)],
            "decoding": { "cpu_secs": spread([2.0]), "card_secs": spread([0.5]) },
        })
    }

    #[test]
    fn the_tables_show_every_precision_and_what_is_missing() {
        let expected = "\
Card 1, beside CPU 1, threads 16; median of 2 (least–most)
       precision  batch    distance  difference  images/s  with transfers  transfers ×  the CPU's             ratio  GFLOP/s  of peak
sface        f32      8      1.2e-7      2.0e-3      4000            2000         2.00       75.0  30.0 (20.0–40.0)     4000   40.0 %
sface        f16      8  not finite  not finite     10000            2500         4.00       75.0  37.5 (25.0–50.0)    10000   50.0 %
run       wall s  ratio    people
cpu f32     10.0   1.00  the same
cuda f32    5.00   2.00    differ
decoding alone: CPU 2.00 s, card 0.500 s
not measured: vgg, batch 256: out of memory
";
        let found = text(&measured());
        assert_eq!(found, expected, "\n{found}");
        let mut on_cpu = measured();
        (on_cpu["device"], on_cpu["card"]) = (json!("cpu"), Value::Null);
        on_cpu["decoding"]["card_secs"] = Value::Null;
        assert!(text(&on_cpu).contains("decoding alone: CPU 2.00 s, card not measured\n"));
        assert!(
            text(&on_cpu).starts_with("device cpu, beside") && text(&on_cpu).contains("no card was measured")
        );
    }

    #[test]
    fn people_are_the_same_only_where_no_face_moved() {
        let found =
            json!({"boxes": [3, 3], "shared_boxes": 3, "moved": [], "only_in_a": [], "only_in_b": []});
        assert!(same_people(&found));
        for (key, value) in [("boxes", json!([3, 4])), ("moved", json!([{}])), ("only_in_b", json!([{}]))] {
            let mut other = found.clone();
            other[key] = value;
            assert!(!same_people(&other), "{key}");
        }
        assert!(!same_people(&Value::Null));
    }
}
