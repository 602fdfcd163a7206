//! Our side of `cargo xtask bench embed` and `detect`: a network, timed on request.
//!
//! Speaks the protocol of the contestants, one JSON object a line: says `isa` and `peak_flops` (of all
//! its threads together) once it is ready; then, for every line `BATCH COUNT` on standard input, passes
//! that many batches of so many images, one after the other, and says `wall_secs` and `cpu_secs`.

mod networks;
mod race;

use std::error::Error;
use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Arg, ArgMatches, Command, value_parser};
use nn::isa::Isa;
use serde_json::{Value, json};

use crate::networks::Network;

/// What may go wrong ends the program; `xtask` shows it.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

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
    let names: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    Command::new("ftl-bench").about("Times one of our networks for `cargo xtask bench`").args([
        Arg::new("network").required(true).value_parser(networks::NAMES.to_vec()),
        Arg::new("weights").long("weights").required(true).value_parser(value_parser!(PathBuf)),
        Arg::new("threads").long("threads").default_value("1").value_parser(value_parser!(u16).range(1..)),
        Arg::new("size").long("size").num_args(2).value_parser(value_parser!(usize)),
        Arg::new("isa").long("isa").value_parser(names),
    ])
}

fn run(arguments: &ArgMatches) -> Result<()> {
    let isa = isa(arguments.get_one::<String>("isa").map(String::as_str))?;
    if !isa.choose() {
        return Err("the instruction set can be chosen only once".into());
    }
    let threads = usize::from(arguments.get_one::<u16>("threads").copied().unwrap_or(1));
    let name = arguments.get_one::<String>("network").map_or("", String::as_str);
    let weights = arguments.get_one::<PathBuf>("weights").cloned().unwrap_or_default();
    let size: Vec<usize> = arguments.get_many("size").into_iter().flatten().copied().collect();
    let network = networks::load(name, &weights, &size)?;
    say(&json!({ "isa": isa.name(), "peak_flops": peak_flops(isa, threads) }))?;
    for line in std::io::stdin().lock().lines() {
        say(&answer(network.as_ref(), threads, &line?)?)?;
    }
    Ok(())
}

/// The named instruction set, or the widest.
fn isa(name: Option<&str>) -> Result<Isa> {
    let found = Isa::available().into_iter().find(|isa| name.is_none_or(|name| isa.name() == name));
    found.ok_or_else(|| "this machine has no such instruction set".into())
}

/// Of all threads at once, because cores may share their arithmetic units.
fn peak_flops(isa: Isa, threads: usize) -> f64 {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(move || isa.peak_flops())).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).sum()
    })
}

fn answer(network: &dyn Network, threads: usize, line: &str) -> Result<Value> {
    let numbers: std::result::Result<Vec<usize>, _> = line.split_whitespace().map(str::parse).collect();
    let [batch, count] = numbers?[..] else { return Err(format!("`{line}` is not BATCH COUNT").into()) };
    let took = race::run(network, batch, count, threads)?;
    Ok(json!({ "wall_secs": took.wall_secs, "cpu_secs": took.cpu_secs }))
}

fn say(object: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{object}")?;
    Ok(out.flush()?)
}
