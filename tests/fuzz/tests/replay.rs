//! Every target on its seeds, on what fuzzing found, and on seeded mutations of both: what was mended stays
//! mended, without libFuzzer.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise and says how much it tried"
)]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fuzz::{TARGETS, seeds};
use testkit::random::{SplitMix64, times};

/// Longest that any input may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Targets that run a stage on a whole run for each input, and so take a hundred times as long as the readers.
const SLOW: [&str; 6] = ["linking", "judging", "galleries", "reviews", "redactions", "imports"];

/// Seeds, and the stored corpus of a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    seeds::of(target).into_iter().chain(files.iter().map(|file| fs::read(file).unwrap())).collect()
}

/// A few damages, as libFuzzer's own: bytes replaced, dropped, doubled, put in, taken from another input.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut SplitMix64) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] = random.next_u64() as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => bytes
                .splice(at..at, (0..=random.below(24)).map(|_| random.next_u64() as u8).collect::<Vec<_>>())
                .for_each(drop),
            4 => {
                let from = random.below(other.len());
                let to = (from + 1 + random.below(32)).min(other.len());
                bytes.splice(at..at, other[from.min(to)..to].to_vec()).for_each(drop);
            }
            _ => bytes[at.min(end)..end].fill(0),
        }
    }
}

fn replay(target: &str) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).unwrap();
    let corpus = corpus(target);
    let tried = |bytes: &[u8]| {
        let started = Instant::now();
        run(bytes);
        assert!(started.elapsed() < PATIENCE, "{target} takes {:?} for {bytes:?}", started.elapsed());
    };
    corpus.iter().for_each(|bytes| tried(bytes));
    let mutations = times("FACETRACK_FUZZ", if SLOW.contains(&target) { 100 } else { 2000 });
    for seed in 0..mutations {
        let random = &mut SplitMix64::new(seed as u64);
        let mut bytes = corpus[random.below(corpus.len())].clone();
        mutate(&mut bytes, &corpus[random.below(corpus.len())], random);
        tried(&bytes);
    }
    println!("{target}: {} stored inputs and {mutations} mutations", corpus.len());
}

macro_rules! replays {
    ($($target:ident),+) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })+

        #[test]
        fn no_target_is_left_out() {
            assert_eq!(TARGETS.map(|(name, _)| name), [$(stringify!($target)),+]);
        }
    };
}

replays!(
    tables, shapes, runs, footers, manifests, indexes, weights, labels, edits, settings, linking, judging,
    galleries, reviews, redactions, imports, pictures
);
