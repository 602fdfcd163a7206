//! Our side of `cargo xtask bench library`: adds synthetic videos to a library one by one, or all at once.
//!
//! Prints one JSON object per line: for every addition `stored` (videos before it), `secs`, `cpu_secs` and
//! `people` (after it), and at the end the B³ of the matching over all people in all videos. With `--threads`, the
//! library is built of all videos at once: the only line has the B³, `secs`, `cpu_secs` and `peak_mib`.

mod process;

use std::collections::HashMap;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Arg, ArgMatches, Command, value_parser};
use gallery::identities::RunIdentity;
use gallery::{Library, RunIdentities, Saving};
use schema::UnitVector;
use schema::io::read_all;
use schema::tables::Member;
use serde_json::{Value, json};
use testkit::world::{RETURNING, Shown, World, embedder, write_run};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(&cli().get_matches()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn cli() -> Command {
    let number = |name: &'static str| Arg::new(name).long(name).required(true);
    Command::new("ftl-bench-library").about("Measures additions to a gallery for `cargo xtask bench`").args([
        Arg::new("folder").required(true).value_parser(value_parser!(PathBuf)).help("an empty folder"),
        number("videos").value_parser(value_parser!(usize)),
        number("people").value_parser(value_parser!(usize)),
        number("seed").value_parser(value_parser!(u64)),
        Arg::new("returning").long("returning").value_parser(value_parser!(f64)),
        Arg::new("threads").long("threads").value_parser(value_parser!(usize)),
    ])
}

fn run(arguments: &ArgMatches) -> Result<()> {
    let number = |name: &str| arguments.get_one::<usize>(name).copied().unwrap_or(0);
    let folder = arguments.get_one::<PathBuf>("folder").cloned().unwrap_or_default();
    let store = folder.join("library");
    let returning = arguments.get_one::<f64>("returning").copied().unwrap_or(RETURNING);
    let mut world = World::new(arguments.get_one::<u64>("seed").copied().unwrap_or(0), returning);
    let mut truth = HashMap::new();
    if let Some(threads) = arguments.get_one::<usize>("threads") {
        return build(&store, (number("videos"), number("people")), world, *threads);
    }
    for stored in 0..number("videos") {
        let name = format!("video{stored}");
        let shown = world.video(number("people"));
        let run_dir = folder.join(&name);
        write_run(&run_dir, &name, &embedder(), &shown)?;
        let (started, cpu_before) = (Instant::now(), cpu_secs()?);
        let (video_id, people) = add(&store, &run_dir)?;
        let (secs, cpu_secs) = (started.elapsed().as_secs_f64(), cpu_secs()? - cpu_before);
        say(&json!({ "stored": stored, "secs": secs, "cpu_secs": cpu_secs, "people": people }))?;
        for (cluster, shown) in shown.iter().enumerate() {
            truth.insert((video_id.clone(), cluster as i64), shown.person);
        }
    }
    say(&scores(&store, &truth)?)
}

/// Builds a library of all videos at once. The runs are never written: what is measured is linking, writing the
/// library and reading what was written.
fn build(store: &Path, (videos, people): (usize, usize), mut world: World, threads: usize) -> Result<()> {
    let mut truth = HashMap::new();
    let mut runs = Vec::new();
    for number in 0..videos {
        let shown = world.video(people);
        let run = in_memory(&format!("video{number}"), &shown);
        for (cluster, shown) in (0..).zip(&shown) {
            truth.insert((run.video_id.to_string(), cluster), shown.person);
        }
        runs.push(run);
    }
    drop(world);
    let (started, cpu_before) = (Instant::now(), process::cpu_secs());
    let mut library = Library::open(store)?;
    library.build(&runs, threads, Saving::default())?;
    library.commit()?;
    let secs = started.elapsed().as_secs_f64();
    let cpu_secs = process::cpu_secs().zip(cpu_before).map(|(after, before)| after - before);
    let peak_mib = peak_mib()?;
    let mut line = scores(store, &truth)?;
    for (key, value) in [
        ("videos", json!(videos)),
        ("secs", json!(secs)),
        ("cpu_secs", json!(cpu_secs)),
        ("peak_mib", json!(peak_mib)),
    ] {
        line[key] = value;
    }
    say(&line)
}

/// The people of a video as they would be read of its run.
fn in_memory(name: &str, shown: &[Shown]) -> RunIdentities {
    let person = |(cluster_id, shown): (i64, &Shown)| {
        let mut sum = vec![0.0; shown.tracks.first().map_or(0, Vec::len)];
        for track in &shown.tracks {
            let length = track.iter().map(|x| x * x).sum::<f32>().sqrt();
            sum.iter_mut().zip(track).for_each(|(sum, x)| *sum += x / length);
        }
        let n_tracks = shown.tracks.len() as i64;
        let vector = UnitVector::normalised(&sum)?;
        Some(RunIdentity {
            cluster_id,
            n_tracks,
            screen_secs: n_tracks as f64,
            name: None,
            named_at: None,
            series_id: None,
            series_uid: None,
            vector,
        })
    };
    let hash = hash::bytes(name.as_bytes());
    RunIdentities {
        run_dir: PathBuf::from(name),
        run_id: name.to_owned(),
        video_id: hash.get(..16).unwrap_or_default().into(),
        embedder: embedder(),
        fingerprint: hash,
        people: (0..).zip(shown).filter_map(person).collect(),
    }
}

/// Most memory that this process has had, MiB.
fn peak_mib() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse::<f64>()? / 1024.0)
}

/// Time that this thread, which is the only one, had a processor: Linux counts it in nanoseconds.
fn cpu_secs() -> Result<f64> {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let ran: f64 = counts.split(' ').next().unwrap_or_default().parse()?;
    Ok(ran * 1e-9)
}

/// All that it takes to add a run, but starting a program: gives the video and the number of people.
fn add(store: &Path, run_dir: &Path) -> Result<(String, usize)> {
    let mut library = Library::open(store)?;
    let seen = RunIdentities::read(run_dir)?;
    library.add(&seen)?;
    library.commit()?;
    Ok((seen.video_id.to_string(), library.people().count()))
}

/// B³ precision and recall of the matching.
fn scores(store: &Path, truth: &HashMap<(String, i64), usize>) -> Result<Value> {
    let mut pairs = Vec::new();
    for file in std::fs::read_dir(store.join("members"))? {
        for row in read_all::<Member>(&file?.path())? {
            let person = truth.get(&(row.video_id.to_string(), row.cluster_id));
            pairs.push((row.person_id, *person.ok_or("row not found")?));
        }
    }
    let (mut found, mut true_, mut both) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (id, person) in &pairs {
        *found.entry(*id).or_insert(0.0) += 1.0;
        *true_.entry(*person).or_insert(0.0) += 1.0;
        *both.entry((*id, *person)).or_insert(0.0) += 1.0_f64;
    }
    let mean = |of: &dyn Fn(&(i64, usize)) -> f64| pairs.iter().map(of).sum::<f64>() / pairs.len() as f64;
    let precision = mean(&|pair| both[pair] / found[&pair.0]);
    let recall = mean(&|pair| both[pair] / true_[&pair.1]);
    Ok(json!({
        "appearances": pairs.len(),
        "people_found": found.len(),
        "people_true": true_.len(),
        "b3_precision": precision,
        "b3_recall": recall,
        "b3_f1": 2.0 * precision * recall / (precision + recall),
    }))
}

fn say(object: &Value) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{object}")?)
}
