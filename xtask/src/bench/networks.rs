//! `cargo xtask bench embed` and `detect`: our networks beside the fastest other programs that run them.
//!
//! Both sides pass the same number of images of the same size through the same weights, by turns, so
//! that a machine that grows busy slows both. A batch is done before the next begins.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use console::{Result, rounded};
use fetch::cache;
use serde_json::{Value, json};

use super::runner::{Runner, Took};
use super::{Column, PYTHON, number, scripts, shown, spread, table, word};
use crate::{parse_count, parse_size, system, workspace};

const SCRIPTS: [(&str, &str); 2] = [
    ("runner.py", include_str!("runner.py")),
    ("networks.py", include_str!("../../../crates/embed/tests/reference/networks.py")),
];

/// Embedding networks with pinned weights.
pub(super) const PINNED: [&str; 4] = ["sface", "dlib", "facenet", "vgg"];
/// Embedding networks without; `runner.py` and `ftl-bench` make seeded weights.
pub(super) const SEEDED: [&str; 5] = ["iresnet18", "iresnet34", "iresnet50", "iresnet100", "mobilefacenet"];
const DETECTOR: &str = "yunet";

/// Pause before every turn: onnxruntime's idle threads spin for a while, on the cores of who is next.
const PAUSE: Duration = Duration::from_millis(300);

/// What `cargo xtask bench embed` and `detect` take.
#[derive(Debug, PartialEq, Args)]
struct Options {
    /// Threads of either side
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "1,2")]
    threads: Vec<usize>,
    /// Our instruction sets, which the yardstick is free to exceed [default: the fastest]
    #[arg(long = "isa", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(["avx512-vnni", "avx512", "avx-vnni", "avx2", "neon", "scalar"]))]
    isas: Vec<String>,
    /// Rounds, each one measurement of either side
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "5")]
    repeat: usize,
}

/// What `cargo xtask bench embed` takes.
#[derive(Debug, PartialEq, Args)]
pub(super) struct Embed {
    /// These networks only [default: all]
    #[arg(long = "network", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(PINNED.into_iter().chain(SEEDED)))]
    networks: Vec<String>,
    /// Images that are passed together
    #[arg(long = "batch", value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "1,8,32")]
    batches: Vec<usize>,
    /// Our precisions; the other program has single precision
    #[arg(long = "precision", value_name = "NAME,..", value_delimiter = ',', default_value = "int8,f32")]
    #[arg(value_parser = PossibleValuesParser::new(["int8", "f32"]))]
    precisions: Vec<String>,
    #[command(flatten)]
    options: Options,
}

/// What `cargo xtask bench detect` takes.
#[derive(Debug, PartialEq, Args)]
pub(super) struct Detect {
    /// Size of the pictures, multiples of 32
    #[arg(long, value_name = "WxH", value_parser = parse_grid_size, default_value = "640x384")]
    size: (u32, u32),
    #[command(flatten)]
    options: Options,
}

fn parse_grid_size(text: &str) -> std::result::Result<(u32, u32), String> {
    let size = parse_size(text).ok().filter(|(width, height)| width % 32 == 0 && height % 32 == 0);
    size.ok_or_else(|| "must be two multiples of 32 pixels, like 640x384".into())
}

/// Measures the embedding networks.
pub(super) fn embed(embed: &Embed, install: bool) -> Result<Value> {
    let mut names: Vec<_> = embed.networks.iter().map(String::as_str).collect();
    if names.is_empty() {
        names = PINNED.into_iter().chain(SEEDED).collect();
    }
    let entries: Vec<_> = names.into_iter().map(|name| (name, "onnxruntime")).collect();
    let precisions: Vec<_> = embed.precisions.iter().map(String::as_str).collect();
    let rows = measure(&entries, &embed.options, &embed.batches, &precisions, None, install)?;
    Ok(json!({ "bench": "embed", "repeat": embed.options.repeat, "rows": rows }))
}

/// Measures the detector, which gets as many pictures at a time as it has threads, one for each.
pub(super) fn detect(detect: &Detect, install: bool) -> Result<Value> {
    let entries = [(DETECTOR, "opencv"), (DETECTOR, "onnxruntime")];
    let rows = measure(&entries, &detect.options, &[], &["f32"], Some(detect.size), install)?;
    Ok(json!({ "bench": "detect", "repeat": detect.options.repeat, "rows": rows }))
}

/// Measures networks, each beside another program: one row for every combination of threads, instruction set, precision
/// and batch. Without batches, as many images are passed together as there are threads.
fn measure(
    entries: &[(&str, &str)],
    options: &Options,
    batches: &[usize],
    precisions: &[&str],
    size: Option<(u32, u32)>,
    install: bool,
) -> Result<Vec<Value>> {
    system::ensure(&[system::RUN, system::OPENCV, system::FETCH, system::TESTS], install)?;
    workspace::build_all()?;
    let pinned = entries.iter().map(|(name, _)| *name).filter(|name| !SEEDED.contains(name));
    workspace::call(workspace::facetrack().args(["models", "fetch", DETECTOR]).args(pinned))?;
    let folder = cache::folder("weights")?;
    let (python, scratch) = (PYTHON.obtain()?, scripts(&SCRIPTS)?);
    let size: Vec<_> =
        size.into_iter().flat_map(|(width, height)| [width, height]).map(|n| n.to_string()).collect();
    let given: Vec<_> = options.isas.iter().map(Some).collect();
    let isas = if given.is_empty() { vec![None] } else { given };
    let mut rows = Vec::new();
    for (name, reference) in entries {
        let weights = match SEEDED.contains(name) {
            true => scratch.path().join(format!("{name}.onnx")),
            false => folder.join(format!("{name}.safetensors")),
        };
        for threads in options.threads.iter().copied() {
            let mut command = Command::new(&python);
            command.arg(scratch.path().join("runner.py")).args([reference, name]);
            command.arg(&folder).arg(threads.to_string()).args(&size);
            let mut theirs = Runner::start(&mut command)?;
            for (isa, precision) in isas.iter().flat_map(|isa| precisions.iter().map(move |of| (isa, *of))) {
                let mut command = Command::new(workspace::program("ftl-bench"));
                command.args(["network", name, "--precision", precision, "--weights"]).arg(&weights);
                command.args(["--threads", &threads.to_string()]);
                command.args(isa.iter().flat_map(|isa| ["--isa", isa]));
                if !size.is_empty() {
                    command.arg("--size").args(&size);
                }
                let mut ours = Runner::start(&mut command)?;
                let own = [threads];
                for batch in if batches.is_empty() { &own } else { batches } {
                    let rounds = alternate(&mut ours, &mut theirs, *batch, options.repeat)?;
                    let about = [&ours.about, &theirs.about];
                    let mut row = row(name, reference, [*batch, threads], about, &rounds);
                    row["precision"] = precision.into();
                    if precision != "f32" {
                        // The peak is one of single precision.
                        row["share_of_peak"] = Value::Null;
                    }
                    let ratio = number(&row["ratio"]["median"], 1.0);
                    let isa = word(&row["isa"]);
                    eprintln!(
                        "{name}, batch {batch}, threads {threads}, {isa}, {precision}: {ratio} × {reference}"
                    );
                    rows.push(row);
                }
            }
        }
    }
    Ok(rows)
}

/// What one image took, ours and theirs.
type Round = [Took; 2];

/// Has both pass the same batches by turns. The first turn is not counted; it says how many batches
/// are enough.
fn alternate(ours: &mut Runner, theirs: &mut Runner, batch: usize, repeat: usize) -> Result<Vec<Round>> {
    let count = ours.enough(batch)?.max(theirs.enough(batch)?);
    let pass = |runner: &mut Runner| {
        thread::sleep(PAUSE);
        runner.pass_images(batch, count)
    };
    (0..repeat).map(|_| Ok([pass(ours)?, pass(theirs)?])).collect()
}

/// A network, how it was passed, and what that took; `about` is what both sides said of themselves.
fn row(
    network: &str,
    reference: &str,
    [batch, threads]: [usize; 2],
    about: [&Value; 2],
    rounds: &[Round],
) -> Value {
    let [ours, theirs] = about;
    let rate = |side: usize| spread(rounds.iter().map(|round| 1.0 / round[side].wall_secs))["median"].take();
    let ratio = spread(rounds.iter().map(|[ours, theirs]| theirs.wall_secs / ours.wall_secs));
    let cpu_ratio = |[ours, theirs]: &Round| Some(theirs.cpu_secs? / ours.cpu_secs?);
    let cpu_ratios: Option<Vec<_>> = rounds.iter().map(cpu_ratio).collect();
    let flops = 2.0 * theirs["macs"].as_f64().unwrap_or(0.0) * rate(0).as_f64().unwrap_or(0.0);
    // Of all our threads together.
    let peak_flops = ours["peak_flops"].as_f64().unwrap_or(0.0);
    let mut row = json!({
        "network": network,
        "batch": batch,
        "threads": threads,
        "isa": ours["isa"].as_str().unwrap_or_default(),
        "images_per_sec": rate(0),
        "reference": reference,
        "reference_images_per_sec": rate(1),
        "cpu_ratio": cpu_ratios.map(spread),
        "gflops": flops / 1e9,
        "peak_gflops_per_thread": peak_flops / threads as f64 / 1e9,
        "share_of_peak": flops / peak_flops,
    });
    row[format!("ratio_to_{reference}")] = ratio["median"].clone();
    row["ratio"] = ratio;
    row
}

const COLUMNS: [Column; 11] = [
    ("", |row| word(&row["network"])),
    ("batch", |row| word(&row["batch"])),
    ("threads", |row| word(&row["threads"])),
    ("isa", |row| word(&row["isa"])),
    ("precision", |row| word(&row["precision"])),
    ("images/s", |row| number(&row["images_per_sec"], 1.0)),
    ("the baseline's", |row| {
        format!("{} {}", number(&row["reference_images_per_sec"], 1.0), word(&row["reference"]))
    }),
    ("ratio", |row| shown(&row["ratio"], 1.0)),
    ("CPU ratio", |row| number(&row["cpu_ratio"]["median"], 1.0)),
    ("GFLOP/s", |row| number(&row["gflops"], 1.0)),
    ("of peak", |row| match row["share_of_peak"].as_f64() {
        Some(share) => format!("{} %", rounded(100.0 * share)),
        None => String::new(),
    }),
];

/// The table, what its columns mean, and the peak of every instruction set.
pub(super) fn text(object: &Value) -> String {
    let rows = object["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let mut peaks: BTreeMap<(String, u64), f64> = BTreeMap::new();
    for row in rows {
        let peak = peaks.entry((word(&row["isa"]), row["threads"].as_u64().unwrap_or(0))).or_default();
        *peak = peak.max(row["peak_gflops_per_thread"].as_f64().unwrap_or(0.0));
    }
    let peaks = peaks.iter().map(|((isa, threads), peak)| {
        format!("{isa}, threads {threads}: {} GFLOP/s a thread", rounded(*peak))
    });
    format!(
        "{}ratio: how many times as many images as the other program, median of {} (least–most); \
         CPU ratio: by processor time\npeak: {}\n",
        table(&COLUMNS, rows),
        object["repeat"],
        peaks.collect::<Vec<_>>().join("; ")
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn networks_are_benched_as_asked_for() {
        #[derive(Debug, Parser)]
        struct Cli {
            #[command(flatten)]
            embed: Embed,
        }
        let parsed = |line: &str| Cli::try_parse_from(line.split(' ')).ok().map(|cli| cli.embed);
        let embed = parsed("embed --network sface --batch 1,32 --isa avx2,scalar --repeat 2");
        let options = Options { threads: vec![1, 2], isas: vec!["avx2".into(), "scalar".into()], repeat: 2 };
        let (networks, precisions) = (vec!["sface".into()], vec!["int8".into(), "f32".into()]);
        assert_eq!(embed, Some(Embed { networks, batches: vec![1, 32], precisions, options }));
        assert_eq!(parsed("embed --batch 1,0"), None);
        assert_eq!(parsed("embed --network unknown"), None);
        assert_eq!(parse_grid_size("640x384"), Ok((640, 384)));
        assert!(parse_grid_size("640x380").is_err());
    }

    fn rounds() -> [Round; 3] {
        let took = |wall_secs, cpu_secs| Took { wall_secs, cpu_secs };
        [
            [took(0.005, Some(0.010)), took(0.010, Some(0.030))],
            [took(0.010, Some(0.010)), took(0.010, Some(0.030))],
            [took(0.005, Some(0.010)), took(0.0075, Some(0.030))],
        ]
    }

    fn sface(reference: &str, rounds: &[Round]) -> Value {
        let about = [json!({ "isa": "avx512", "peak_flops": 400e9 }), json!({ "macs": 0.5e9 })];
        let mut row = row("sface", reference, [8, 2], about.each_ref(), rounds);
        row["precision"] = "f32".into();
        row
    }

    #[test]
    fn the_table_shows_rates_ratios_and_the_peak() {
        let expected = "       \
batch  threads     isa  precision  images/s   the baseline's             ratio  CPU ratio  GFLOP/s  of peak
sface      8        2  avx512        f32       200  100 onnxruntime  1.50 (1.00–2.00)       3.00      200   50.0 %
ratio: how many times as many images as the other program, median of 3 (least–most); CPU ratio: by processor time
peak: avx512, threads 2: 200 GFLOP/s a thread
";
        let found = text(&json!({ "repeat": 3, "rows": [sface("onnxruntime", &rounds())] }));
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn programs_read_the_same() {
        let first = sface("onnxruntime", &rounds());
        assert_eq!(first["ratio_to_onnxruntime"], json!(1.5));
        assert_eq!(first["ratio"], json!({"median": 1.5, "min": 1.0, "max": 2.0}));
        assert_eq!((&first["images_per_sec"], &first["gflops"]), (&json!(200.0), &json!(200.0)));
        assert_eq!((&first["share_of_peak"], &first["isa"]), (&json!(0.5), &json!("avx512")));
        assert_eq!(sface("opencv", &rounds())["ratio_to_opencv"], json!(1.5));
    }

    #[test]
    fn processor_time_that_one_side_does_not_know_is_left_out() {
        let mut rounds = rounds();
        rounds[1][0].cpu_secs = None;
        assert_eq!(sface("opencv", &rounds)["cpu_ratio"], Value::Null);
    }

    #[test]
    fn every_network_has_weights() {
        let (_, runner) = SCRIPTS[0];
        for name in PINNED.into_iter().chain(SEEDED).chain([DETECTOR]) {
            let kind: String = name.chars().take_while(|c| c.is_alphabetic()).collect();
            assert!(runner.contains(&kind), "{name}");
        }
    }
}
