//! Passing batches, and the time it takes.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use candle_core::Tensor;

use crate::Result;
use crate::networks::Network;

/// Clock ticks a second in `/proc`, the same on every Linux.
const TICKS_PER_SEC: f64 = 100.0;

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
    Ok(inputs.chunks(size).map(|part| Tensor::cat(part, 0)).collect::<candle_core::Result<_>>()?)
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

/// A worker that panicked would never come to the end of a batch, where the others wait for it.
fn whole(work: impl FnOnce() -> candle_core::Result<()>) -> candle_core::Result<()> {
    let panicked = |_| Err(candle_core::Error::Msg("a worker panicked".into()));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

/// Processor time of this process so far, user and kernel mode.
fn cpu_secs() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let ticks: f64 = ticks.sum::<std::result::Result<f64, _>>().ok()?;
    Some(ticks / TICKS_PER_SEC)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
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
