//! Passing batches through a network, and the time it takes.
//!
//! Speaks the protocol of the runners, one JSON object a line: says `isa` and `peak_flops` (of all
//! its threads together) once it is ready; then, for every line `BATCH COUNT` on standard input, passes
//! that many batches of so many images, one after the other, and says `wall_secs` and `cpu_secs`. With
//! `--device` it also says `device` and `macs`, multiplications of one image, the peak of a card is that of a
//! product of matrices, and for a line `parity BATCH` it says `distance` and `difference` from the CPU.
//! In place of an answer it says `error` when it failed, as in a batch that does not fit into the memory.

use std::io::BufRead as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};
use std::time::Instant;

use candle_core::Tensor;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use nn::device::{Choice, Place, Precision};
use nn::isa::{self, Isa};
use pulp::Arch;
use serde_json::{Value, json};

use crate::networks::{self, Network};
use crate::on_device::{self, OnDevice};
use crate::process::cpu_secs;
use crate::{Result, peak, say};

/// The arguments of `ftl-bench network`.
pub(crate) fn command() -> Command {
    let names: Vec<_> = isa::available().into_iter().map(|isa| isa.name).collect();
    Command::new("network")
        .about("Runs images through one of our networks, as requested on standard input")
        .args([
            Arg::new("network").required(true).value_parser(PossibleValuesParser::new(networks::names())),
            Arg::new("weights").long("weights").value_parser(value_parser!(PathBuf)),
            crate::threads(),
            Arg::new("size").long("size").num_args(2).value_parser(value_parser!(usize)),
            Arg::new("isa").long("isa").value_parser(names),
            Arg::new("device").long("device").value_parser(str::parse::<Choice>),
            Arg::new("precision").long("precision").value_parser(str::parse::<Precision>),
            Arg::new("resident").long("resident").action(ArgAction::SetTrue).requires("device"),
        ])
}

/// Loads a network, and passes images through it until nothing more is asked for.
pub(crate) fn answer_requests(arguments: &ArgMatches) -> Result<()> {
    let isa = chosen(arguments.get_one::<String>("isa").map(String::as_str))?;
    if !isa::choose(isa) {
        return Err("the instruction set can be chosen only once".into());
    }
    let threads = usize::from(arguments.get_one::<u16>("threads").copied().unwrap_or(1));
    let name = arguments.get_one::<String>("network").map_or("", String::as_str);
    let weights = arguments.get_one::<PathBuf>("weights").map(PathBuf::as_path);
    let size: Vec<usize> = arguments.get_many("size").into_iter().flatten().copied().collect();
    let device = arguments.get_one::<Choice>("device").copied();
    let precision = arguments.get_one("precision").copied().unwrap_or(Precision::Single);
    let place = Place::open(device.unwrap_or(Choice::Cpu), precision)?;
    let network: Box<dyn Network> = match device {
        None if name == "yunet" && precision != Precision::Single => {
            return Err("the detector has single precision only".into());
        }
        None if name == "yunet" => networks::detector(weights, &size)?,
        None => Box::new(networks::embedder(name, weights, &place)?),
        Some(_) => Box::new(OnDevice {
            network: networks::embedder(name, weights, &place)?,
            on_cpu: networks::embedder(name, weights, &Place::open(Choice::Cpu, Precision::Single)?)?,
            place: place.clone(),
            is_resident: arguments.get_flag("resident"),
        }),
    };
    let peak_flops = match place.device().is_cpu() {
        true => peak_flops(isa.arch, threads),
        false => on_device::product_flops(&place, on_device::MATRIX_SIDE)?,
    };
    let mut about = json!({ "isa": isa.name, "peak_flops": peak_flops });
    if device.is_some() {
        about["device"] = place.choice().to_string().into();
        about["macs"] = network.macs()?.into();
    }
    say(&about)?;
    for line in std::io::stdin().lock().lines() {
        let answer = answer(network.as_ref(), threads, &line?);
        say(&answer.unwrap_or_else(|e| json!({ "error": e.to_string().lines().next() })))?;
    }
    Ok(())
}

/// The named instruction set, or the fastest.
fn chosen(name: Option<&str>) -> Result<Isa> {
    let found = isa::available().into_iter().find(|isa| name.is_none_or(|name| isa.name == name));
    found.ok_or_else(|| "this machine does not have the instruction set".into())
}

/// Of all threads at once, because cores may share their arithmetic units.
fn peak_flops(arch: Arch, threads: usize) -> f64 {
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(move || peak::peak_flops(arch))).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).sum()
    })
}

fn answer(network: &dyn Network, threads: usize, line: &str) -> Result<Value> {
    if let Some(batch) = line.strip_prefix("parity ") {
        return network.parity(batch.parse()?, available_parallelism().map_or(1, usize::from));
    }
    let numbers: std::result::Result<Vec<usize>, _> = line.split_whitespace().map(str::parse).collect();
    let [batch, count] = numbers?[..] else {
        return Err(format!("expected BATCH COUNT, found `{line}`").into());
    };
    let took = run(network, batch, count, threads)?;
    Ok(json!({ "wall_secs": took.wall_secs, "cpu_secs": took.cpu_secs }))
}

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) wall_secs: f64,
    /// On all cores; absent where the system does not say.
    pub(crate) cpu_secs: Option<f64>,
}

/// Passes `count` batches of `batch` images, one after the other. The images of a batch are split over
/// the threads, as crops are in `embed` and pictures in `detect-track`.
pub(crate) fn run(network: &dyn Network, batch: usize, count: usize, threads: usize) -> Result<Took> {
    let parts = parts(network, batch, threads)?;
    let (started, cpu_before) = (Instant::now(), cpu_secs());
    pass(network, &parts, count, threads)?;
    let wall_secs = started.elapsed().as_secs_f64();
    let cpu_secs = cpu_secs().zip(cpu_before).map(|(after, before)| after - before);
    Ok(Took { wall_secs, cpu_secs })
}

/// What workers take at a time.
fn parts(network: &dyn Network, batch: usize, threads: usize) -> Result<Vec<Tensor>> {
    let inputs: Vec<_> = (0..batch).map(|number| network.input(number)).collect::<Result<_>>()?;
    let size = network.most().min(batch.div_ceil(threads)).max(1);
    let parts: Vec<_> =
        inputs.chunks(size).map(|part| Tensor::cat(part, 0)).collect::<candle_core::Result<_>>()?;
    // A card joins them while this program goes on.
    parts.iter().try_for_each(|part| part.device().synchronize())?;
    Ok(parts)
}

/// Workers stay for all batches, as in the stages, and wait for each other at the end of each.
fn pass(network: &dyn Network, parts: &[Tensor], count: usize, threads: usize) -> Result<()> {
    let workers = threads.min(parts.len()).max(1);
    let end = Barrier::new(workers);
    let batches: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let work = || -> candle_core::Result<()> {
        let mut result = Ok(());
        for next in &batches {
            while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| result.is_ok())
            {
                result = whole(|| network.pass(part));
            }
            end.wait();
        }
        result
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
        work()?;
        others.into_iter().try_for_each(|other| Ok(other.join().map_err(|_| "a worker panicked")??))
    })
}

/// A worker that panicked would never reach the end of a batch, where the others wait for it.
fn whole(work: impl FnOnce() -> candle_core::Result<()>) -> candle_core::Result<()> {
    let panicked = |_| Err(candle_core::Error::Msg("a worker panicked".into()));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::Mutex;

    use candle_core::Device;

    use super::*;

    /// Notes the sizes of what it is given.
    #[derive(Default)]
    struct Noted(Mutex<Vec<usize>>);

    impl Network for Noted {
        fn most(&self) -> usize {
            8
        }

        fn input(&self, number: usize) -> Result<Tensor> {
            Ok(Tensor::full(number as f32, (1, 2), &Device::Cpu)?)
        }

        fn pass(&self, inputs: &Tensor) -> candle_core::Result<()> {
            self.0.lock().unwrap().push(inputs.dim(0)?);
            Ok(())
        }
    }

    #[test]
    fn batches_are_split_over_threads_and_into_passes() {
        for (batch, threads, sizes) in [
            (1, 2, vec![1]),
            (8, 1, vec![8]),
            (8, 2, vec![4, 4]),
            (9, 2, vec![5, 4]),
            (32, 2, vec![8, 8, 8, 8]),
        ] {
            let network = Noted::default();
            let took = run(&network, batch, 3, threads).unwrap();
            let mut found = network.0.into_inner().unwrap();
            let mut expected = sizes.repeat(3);
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected, "batch {batch}, {threads} threads");
            assert!(took.wall_secs > 0.0 && took.cpu_secs.is_none_or(|secs| secs >= 0.0));
        }
    }

    #[test]
    fn processor_time_grows_with_work() {
        let Some(before) = cpu_secs() else { return };
        let started = Instant::now();
        while started.elapsed().as_millis() < 100 || cpu_secs() == Some(before) {}
        assert!(cpu_secs().unwrap() > before);
    }
}
