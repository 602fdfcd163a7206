//! `cargo xtask bench embed` and `detect`: our networks beside the fastest other programs that run them.
//!
//! Both sides pass the same number of images of the same size through the same weights, by turns, so
//! that a machine that grows busy slows both. A batch is done before the next begins.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use console::{Result, rounded, say};
use fetch::cache::{self, Scratch};
use serde_json::{Value, json};

use super::runner::{Runner, Took};
use super::{PYTHON, Shared, Spread, table};
use crate::{parse_count, parse_size, system, workspace};

const SCRIPTS: [(&str, &str); 2] = [
    ("runner.py", include_str!("runner.py")),
    ("networks.py", include_str!("../../../crates/embed/tests/reference/networks.py")),
];

/// Embedding networks with pinned weights.
const PINNED: [&str; 4] = ["sface", "dlib", "facenet", "vgg"];
/// Embedding networks without; `runner.py` makes seeded weights.
const SEEDED: [&str; 5] = ["iresnet18", "iresnet34", "iresnet50", "iresnet100", "mobilefacenet"];
const DETECTOR: &str = "yunet";

/// How long a measurement of the faster side takes at least.
const LEAST_SECS: f64 = 0.4;
/// Pause before every turn: onnxruntime's idle threads spin for a while, on the cores of who is next.
const PAUSE: Duration = Duration::from_millis(300);

/// What `cargo xtask bench embed` and `detect` take.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Options {
    /// Threads of either side
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "1,2")]
    threads: Vec<usize>,
    /// Our instruction sets, which the yardstick is free to exceed [default: the widest]
    #[arg(long = "isa", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(["avx512", "avx2", "neon", "scalar"]))]
    isas: Vec<String>,
    /// Rounds, each one measurement of either side
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "5")]
    repeat: usize,
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// What `cargo xtask bench embed` takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Embed {
    /// These networks only [default: all]
    #[arg(long = "network", value_name = "NAME", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(PINNED.into_iter().chain(SEEDED)))]
    networks: Vec<String>,
    /// Images that are passed together
    #[arg(long = "batch", value_name = "N,..", value_delimiter = ',', value_parser = parse_count, default_value = "1,8,32")]
    batches: Vec<usize>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What `cargo xtask bench detect` takes.
#[derive(Debug, Clone, PartialEq, Default, Args)]
pub(crate) struct Detect {
    /// Size of the pictures, multiples of 32
    #[arg(long, value_name = "WxH", value_parser = parse_grid_size, default_value = "640x384")]
    size: (u32, u32),
    #[command(flatten)]
    pub(crate) options: Options,
}

fn parse_grid_size(text: &str) -> std::result::Result<(u32, u32), String> {
    let size = parse_size(text).ok().filter(|(width, height)| width % 32 == 0 && height % 32 == 0);
    size.ok_or_else(|| "must be two multiples of 32 pixels, like 640x384".into())
}

/// Measures the embedding networks.
pub(crate) fn embed(embed: &Embed) -> Result<()> {
    let all = || PINNED.into_iter().chain(SEEDED).map(str::to_owned).collect();
    let names: Vec<_> = if embed.networks.is_empty() { all() } else { embed.networks.clone() };
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), "onnxruntime")).collect();
    bench("embed", &entries, &embed.options, &embed.batches, None)
}

/// Measures the detector, which gets as many pictures at a time as it has threads, one for each.
pub(crate) fn detect(detect: &Detect) -> Result<()> {
    let entries = [(DETECTOR, "opencv"), (DETECTOR, "onnxruntime")];
    bench("detect", &entries, &detect.options, &[], Some(detect.size))
}

/// Measures networks, each beside another program.
fn bench(
    name: &str,
    entries: &[(&str, &'static str)],
    options: &Options,
    batches: &[usize],
    size: Option<(u32, u32)>,
) -> Result<()> {
    system::ensure(&[system::RUN, system::FETCH, system::TESTS], options.shared.install)?;
    workspace::build_all()?;
    let pinned = entries.iter().map(|(name, _)| *name).filter(|name| !SEEDED.contains(name));
    workspace::call(workspace::facetrack().args(["models", "fetch", DETECTOR]).args(pinned))?;
    let folder = cache::folder("weights")?;
    let python = PYTHON.obtain()?;
    let scratch = Scratch::new("bench")?;
    for (file, text) in SCRIPTS {
        scratch.write(&scratch.path().join(file), text)?;
    }
    let hall = Hall { options, batches, size, folder, python, scripts: scratch.path() };
    let mut rows = Vec::new();
    for (name, reference) in entries {
        rows.extend(hall.compare(name, reference)?);
    }
    say(if options.shared.json { object(name, &rows).to_string() } else { text(&rows) }.trim_end());
    Ok(())
}

/// Where contests take place.
struct Hall<'a> {
    options: &'a Options,
    /// Images that are passed together; none: as many as there are threads.
    batches: &'a [usize],
    /// Width and height of a detector's pictures.
    size: Option<(u32, u32)>,
    folder: PathBuf,
    python: PathBuf,
    scripts: &'a Path,
}

impl Hall<'_> {
    /// One row for every combination of threads, instruction set and batch.
    fn compare(&self, name: &str, reference: &'static str) -> Result<Vec<Row>> {
        let widest = [None];
        let given: Vec<_> = self.options.isas.iter().map(|isa| Some(isa.as_str())).collect();
        let isas = if given.is_empty() { &widest[..] } else { &given };
        let mut rows = Vec::new();
        for threads in self.options.threads.iter().copied() {
            let mut theirs = Runner::start(&mut self.theirs(name, reference, threads))?;
            for isa in isas {
                let mut ours = Runner::start(&mut self.ours(name, threads, *isa))?;
                for batch in self.batches(threads) {
                    let rounds = alternate(&mut ours, &mut theirs, batch, self.options.repeat)?;
                    let row = Row::new(name, reference, (batch, threads), [&ours, &theirs], rounds);
                    eprintln!("{}", row.message());
                    rows.push(row);
                }
            }
        }
        Ok(rows)
    }

    fn batches(&self, threads: usize) -> Vec<usize> {
        if self.batches.is_empty() { vec![threads] } else { self.batches.to_vec() }
    }

    fn ours(&self, name: &str, threads: usize, isa: Option<&str>) -> Command {
        let mut command = Command::new(workspace::program("ftl-bench"));
        let weights = match SEEDED.contains(&name) {
            true => self.scripts.join(format!("{name}.onnx")),
            false => self.folder.join(format!("{name}.safetensors")),
        };
        command.args(["network", name, "--weights"]).arg(weights);
        command.args(["--threads", &threads.to_string()]);
        command.args(isa.iter().flat_map(|isa| ["--isa", isa]));
        if let Some((width, height)) = self.size {
            command.args(["--size", &width.to_string(), &height.to_string()]);
        }
        command
    }

    fn theirs(&self, name: &str, reference: &str, threads: usize) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join("runner.py")).args([reference, name]);
        command.arg(&self.folder).arg(threads.to_string());
        if let Some((width, height)) = self.size {
            command.args([width.to_string(), height.to_string()]);
        }
        command
    }
}

/// What one image took, ours and theirs.
type Round = [Took; 2];

/// Has both pass the same batches by turns. The first turn is not counted; it says how many batches
/// are enough.
fn alternate(ours: &mut Runner, theirs: &mut Runner, batch: usize, repeat: usize) -> Result<Vec<Round>> {
    let mut secs = f64::INFINITY;
    for runner in [&mut *ours, &mut *theirs] {
        runner.pass(batch, 1)?;
        secs = secs.min(runner.pass(batch, 1)?.wall_secs);
    }
    let count = (LEAST_SECS / secs).ceil().clamp(1.0, 1e6) as usize;
    let images = (batch * count) as f64;
    let pass = |runner: &mut Runner| -> Result<Took> {
        thread::sleep(PAUSE);
        let took = runner.pass(batch, count)?;
        Ok(Took { wall_secs: took.wall_secs / images, cpu_secs: took.cpu_secs.map(|secs| secs / images) })
    };
    (0..repeat).map(|_| Ok([pass(ours)?, pass(theirs)?])).collect()
}

/// A network, how it was passed, and what that took.
#[derive(Debug)]
struct Row {
    network: String,
    reference: &'static str,
    batch: usize,
    threads: usize,
    isa: String,
    /// Multiplications of one image.
    macs: f64,
    /// Of all our threads together.
    peak_flops: f64,
    rounds: Vec<Round>,
}

impl Row {
    fn new(
        network: &str,
        reference: &'static str,
        (batch, threads): (usize, usize),
        [ours, theirs]: [&Runner; 2],
        rounds: Vec<Round>,
    ) -> Self {
        Self {
            network: network.to_owned(),
            reference,
            batch,
            threads,
            isa: ours.about["isa"].as_str().unwrap_or_default().to_owned(),
            macs: theirs.about["macs"].as_f64().unwrap_or(0.0),
            peak_flops: ours.about["peak_flops"].as_f64().unwrap_or(0.0),
            rounds,
        }
    }

    /// Images a second of one side: 0 is ours.
    fn rate(&self, side: usize) -> Spread {
        Spread::of(self.rounds.iter().map(|round| 1.0 / round[side].wall_secs))
    }

    /// How many times as many images we pass in the same time.
    fn ratio(&self) -> Spread {
        Spread::of(self.rounds.iter().map(|[ours, theirs]| theirs.wall_secs / ours.wall_secs))
    }

    /// The same in processor time, where both sides know it.
    fn cpu_ratio(&self) -> Option<Spread> {
        let ratio = |[ours, theirs]: &Round| Some(theirs.cpu_secs? / ours.cpu_secs?);
        Some(Spread::of(self.rounds.iter().map(ratio).collect::<Option<Vec<_>>>()?))
    }

    fn flops(&self) -> f64 {
        2.0 * self.macs * self.rate(0).median
    }

    fn share_of_peak(&self) -> f64 {
        self.flops() / self.peak_flops
    }

    fn message(&self) -> String {
        let Self { network, batch, threads, isa, reference, .. } = self;
        let ratio = rounded(self.ratio().median);
        format!("{network}, batch {batch}, threads {threads}, {isa}: {ratio} × {reference}")
    }

    fn json(&self) -> Value {
        let ratio = self.ratio();
        let mut object = json!({
            "network": self.network,
            "batch": self.batch,
            "threads": self.threads,
            "isa": self.isa,
            "images_per_sec": self.rate(0).median,
            "reference": self.reference,
            "reference_images_per_sec": self.rate(1).median,
            "ratio": ratio.json(),
            "cpu_ratio": self.cpu_ratio().map(|ratio| ratio.json()),
            "gflops": self.flops() / 1e9,
            "peak_gflops_per_thread": self.peak_flops / self.threads as f64 / 1e9,
            "share_of_peak": self.share_of_peak(),
        });
        object[format!("ratio_to_{}", self.reference)] = ratio.median.into();
        object
    }

    fn cells(&self) -> [String; 10] {
        [
            self.network.clone(),
            self.batch.to_string(),
            self.threads.to_string(),
            self.isa.clone(),
            rounded(self.rate(0).median),
            format!("{} {}", rounded(self.rate(1).median), self.reference),
            self.ratio().shown(),
            self.cpu_ratio().map_or(String::new(), |ratio| rounded(ratio.median)),
            rounded(self.flops() / 1e9),
            format!("{} %", rounded(100.0 * self.share_of_peak())),
        ]
    }
}

fn object(name: &str, rows: &[Row]) -> Value {
    let repeat = rows.first().map_or(0, |row| row.rounds.len());
    json!({ "bench": name, "repeat": repeat, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

fn text(rows: &[Row]) -> String {
    let heads = [
        "",
        "batch",
        "threads",
        "isa",
        "images/s",
        "the baseline's",
        "ratio",
        "CPU ratio",
        "GFLOP/s",
        "of peak",
    ];
    let mut cells = vec![heads.map(str::to_owned)];
    cells.extend(rows.iter().map(Row::cells));
    format!("{}{}", table(&cells), legend(rows))
}

/// What the columns mean, and the peak of every instruction set.
fn legend(rows: &[Row]) -> String {
    let repeat = rows.first().map_or(0, |row| row.rounds.len());
    let mut peaks: Vec<_> = rows.iter().map(|row| (row.isa.as_str(), row.threads)).collect();
    peaks.sort_unstable();
    peaks.dedup();
    let peaks = peaks.into_iter().map(|(isa, threads)| {
        let of = rows.iter().filter(|row| (row.isa.as_str(), row.threads) == (isa, threads));
        let best = of.map(|row| row.peak_flops / row.threads as f64).fold(0.0, f64::max);
        format!("{isa}, threads {threads}: {} GFLOP/s a thread", rounded(best / 1e9))
    });
    format!(
        "ratio: how many times as many images as the other program, median of {repeat} (least–most); \
         CPU ratio: by processor time\npeak: {}\n",
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
        let options = Options {
            threads: vec![1, 2],
            isas: vec!["avx2".into(), "scalar".into()],
            repeat: 2,
            shared: Shared::default(),
        };
        assert_eq!(embed, Some(Embed { networks: vec!["sface".into()], batches: vec![1, 32], options }));
        assert_eq!(parsed("embed --batch 1,0"), None);
        assert_eq!(parsed("embed --network unknown"), None);
        assert_eq!(parse_grid_size("640x384"), Ok((640, 384)));
        assert!(parse_grid_size("640x380").is_err());
    }

    fn row(reference: &'static str) -> Row {
        let took = |wall_secs, cpu_secs| Took { wall_secs, cpu_secs };
        Row {
            network: "sface".into(),
            reference,
            batch: 8,
            threads: 2,
            isa: "avx512".into(),
            macs: 0.5e9,
            peak_flops: 400e9,
            rounds: vec![
                [took(0.005, Some(0.010)), took(0.010, Some(0.030))],
                [took(0.010, Some(0.010)), took(0.010, Some(0.030))],
                [took(0.005, Some(0.010)), took(0.0075, Some(0.030))],
            ],
        }
    }

    #[test]
    fn the_table_shows_rates_ratios_and_the_peak() {
        let expected = "       \
batch  threads     isa  images/s   the baseline's             ratio  CPU ratio  GFLOP/s  of peak
sface      8        2  avx512       200  100 onnxruntime  1.50 (1.00–2.00)       3.00      200   50.0 %
ratio: how many times as many images as the other program, median of 3 (least–most); CPU ratio: by processor time
peak: avx512, threads 2: 200 GFLOP/s a thread
";
        let found = text(&[row("onnxruntime")]);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn programs_read_the_same() {
        let object = object("embed", &[row("onnxruntime"), row("opencv")]);
        let first = &object["rows"][0];
        assert_eq!((&object["bench"], &object["repeat"]), (&json!("embed"), &json!(3)));
        assert_eq!(first["ratio_to_onnxruntime"], json!(1.5));
        assert_eq!(first["ratio"], json!({"median": 1.5, "min": 1.0, "max": 2.0}));
        assert_eq!((&first["images_per_sec"], &first["gflops"]), (&json!(200.0), &json!(200.0)));
        assert_eq!((&first["share_of_peak"], &first["isa"]), (&json!(0.5), &json!("avx512")));
        assert_eq!(object["rows"][1]["ratio_to_opencv"], json!(1.5));
    }

    #[test]
    fn processor_time_that_one_side_does_not_know_is_left_out() {
        let mut row = row("opencv");
        row.rounds[1][0].cpu_secs = None;
        assert_eq!(row.json()["cpu_ratio"], Value::Null);
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
