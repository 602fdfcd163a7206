//! Work spread over threads.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// What `work` makes of each job, in their order. The calling thread works too, and lets `advance` hear
/// of how many jobs have been taken.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    jobs: &[T],
    work: impl Fn(&T) -> R + Sync,
    advance: &mut dyn FnMut(usize),
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = |advance: &mut dyn FnMut(usize)| {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else { return done };
            done.push((number, work(job)));
            advance(number);
        }
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> =
            (1..threads.min(jobs.len())).map(|_| scope.spawn(|| take(&mut |_| ()))).collect();
        let mut done = take(advance);
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}
