//! Linking synthetic people, and the time it takes.
//!
//! `people` writes a folder of raw little-endian numbers: `vectors.f32`, `norms.f32` (how clear each is),
//! `apart.u32` (pairs that must stay apart) and `truth.u32`. `cluster` reads all but the truth, says
//! `progress` and `finished` as stages do, and writes `labels.i32` (−1 is noise), or of the linker by
//! definition its whole dendrogram, `tree.f64`, in SciPy's convention.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Arg, ArgMatches, Command, value_parser};
use cluster::Config;
use cluster::agglomerate::{self, naive};
use cluster::items::Vectors;
use cluster::linkage::Merge;
use cluster::method::{Crop, Items};
use serde_json::json;
use testkit::people;

use crate::race::cpu_secs;
use crate::{Result, say};

/// Pause between two words about progress.
const PAUSE: Duration = Duration::from_millis(200);
/// The arguments of `ftl-bench people`.
pub(crate) fn people_command() -> Command {
    Command::new("people").about("Makes tracks of people who do not exist").args([
        folder(),
        number("n", "tracks"),
        number("dim", "numbers in a vector"),
        number("seed", "start of the random numbers"),
    ])
}

/// The arguments of `ftl-bench cluster`.
pub(crate) fn cluster_command() -> Command {
    Command::new("cluster").about("Links tracks that `people` made").args([
        Arg::new("method").required(true).value_parser(["link", "naive"]),
        folder(),
        number("dim", "numbers in a vector"),
        crate::threads(),
    ])
}

fn folder() -> Arg {
    Arg::new("folder").long("folder").required(true).value_parser(value_parser!(PathBuf))
}

fn number(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).required(true).value_parser(value_parser!(usize)).help(help)
}

fn given(arguments: &ArgMatches, name: &str) -> usize {
    arguments.get_one(name).copied().unwrap_or_default()
}

/// Makes people and writes them.
pub(crate) fn make_people(arguments: &ArgMatches) -> Result<()> {
    let folder = arguments.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let [n, dim, seed] = ["n", "dim", "seed"].map(|name| given(arguments, name));
    let people = people::people(n, dim, seed as u64);
    let small = |numbers: Vec<usize>| numbers.into_iter().map(|number| (number as u32).to_le_bytes());
    write(&folder.join("vectors.f32"), people.values.iter().map(|x| x.to_le_bytes()))?;
    write(&folder.join("norms.f32"), people.norms.iter().map(|x| x.to_le_bytes()))?;
    write(
        &folder.join("apart.u32"),
        small(people.cannot_link.into_iter().flat_map(|(a, b)| [a, b]).collect()),
    )?;
    write(&folder.join("truth.u32"), small(people.truth))
}

/// Links people that were written.
pub(crate) fn link_people(arguments: &ArgMatches) -> Result<()> {
    let folder = arguments.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let threads = usize::from(arguments.get_one::<u16>("threads").copied().unwrap_or(1));
    let people = People::read(&folder, given(arguments, "dim"))?;
    let (started, cpu_before) = (Instant::now(), cpu_secs());
    if arguments.get_one::<String>("method").is_some_and(|method| method == "naive") {
        let merges = people.naive()?;
        tell_end(started, cpu_before)?;
        let row = |m: Merge| [m.left as f64, m.right as f64, m.height, m.size as f64];
        return write(&folder.join("tree.f64"), merges.into_iter().flat_map(row).map(f64::to_le_bytes));
    }
    let labels = people.link(threads)?;
    tell_end(started, cpu_before)?;
    let number = |label: Option<usize>| label.map_or(-1, |label| label as i32);
    write(&folder.join("labels.i32"), labels.into_iter().map(|label| number(label).to_le_bytes()))
}

fn tell_end(started: Instant, cpu_before: Option<f64>) -> Result<()> {
    let wall_secs = started.elapsed().as_secs_f64();
    let cpu_secs = cpu_secs().zip(cpu_before).map(|(after, before)| after - before);
    say(&json!({ "event": "finished", "figures": { "wall_secs": wall_secs, "cpu_secs": cpu_secs } }))
}

/// Tracks without the truth about them.
struct People {
    dim: usize,
    values: Vec<f32>,
    norms: Vec<f32>,
    cannot_link: Vec<(usize, usize)>,
}

impl People {
    fn read(folder: &Path, dim: usize) -> Result<Self> {
        let apart = read(&folder.join("apart.u32"), u32::from_le_bytes)?;
        let (pairs, _) = apart.as_chunks::<2>();
        Ok(Self {
            dim,
            values: read(&folder.join("vectors.f32"), f32::from_le_bytes)?,
            norms: read(&folder.join("norms.f32"), f32::from_le_bytes)?,
            cannot_link: pairs.iter().map(|[a, b]| (*a as usize, *b as usize)).collect(),
        })
    }

    /// As the stage links tracks that have one crop each.
    fn link(&self, threads: usize) -> Result<Vec<Option<usize>>> {
        let rows = || self.values.chunks_exact(self.dim);
        let crops = rows().zip(&self.norms).enumerate();
        let crops = crops.map(|(item, (vector, norm))| Crop { item, vector, norm: *norm });
        let items = Items::new(rows().collect(), self.cannot_link.clone())?.with_crops(crops.collect())?;
        let quality = testkit::people::quality(self.dim);
        let method = Config::default().method(None, Some(&quality), false, threads);
        let mut last = Instant::now();
        let mut advance = |done: usize, total: usize| {
            if last.elapsed() >= PAUSE {
                last = Instant::now();
                // Nobody has to listen.
                let _ = say(&json!({ "event": "progress", "done": done, "total": total, "unit": "steps" }));
            }
        };
        Ok(method.assign(&items, &mut advance)?.labels)
    }

    /// The dendrogram of average linkage under constraints, by definition.
    fn naive(&self) -> Result<Vec<Merge>> {
        let vectors = Vectors::new(self.dim, self.values.clone())?;
        let items =
            agglomerate::Items { vectors: &vectors, weights: &self.norms, cannot_link: &self.cannot_link };
        Ok(naive(items, f32::MAX)?.merges)
    }
}

fn write<const N: usize>(path: &Path, numbers: impl IntoIterator<Item = [u8; N]>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for number in numbers {
        file.write_all(&number)?;
    }
    Ok(file.flush()?)
}

fn read<T>(path: &Path, number: impl Fn([u8; 4]) -> T) -> Result<Vec<T>> {
    let count = fs::metadata(path)?.len() as usize / 4;
    let mut file = BufReader::new(File::open(path)?);
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut bytes = [0; 4];
        file.read_exact(&mut bytes)?;
        numbers.push(number(bytes));
    }
    Ok(numbers)
}
