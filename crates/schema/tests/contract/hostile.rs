//! Damaged tables: every one of some thousand seeded mutations is read as rows or refused with a
//! typed error. It never panics, and what is read keeps the contract.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use numeric::random::SplitMix64;
use schema::Row;
use schema::io::read_all;
use schema::tables::MetricUnit;

use crate::raw::Raw;
use crate::rows::{DIM, crop, detection, frame, metric, track_embedding};

/// Mutations of each table.
const MUTATIONS: u64 = 1500;

/// One to four damages: a byte replaced, a bit flipped, a stretch dropped, doubled or zeroed.
fn mutate(bytes: &mut Vec<u8>, random: &mut SplitMix64) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        let end = (at + 1 + random.below(16)).min(bytes.len());
        match random.below(5) {
            0 => bytes[at] = random.next_u64() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.splice(at..at, bytes[at..end].to_vec()).for_each(drop),
            _ => bytes[at..end].fill(0),
        }
        if bytes.is_empty() {
            return;
        }
    }
}

/// Whether reading gave rows; `None` when it panicked.
fn read<R: Row + Clone>(path: &Path) -> Option<bool> {
    catch_unwind(|| match read_all::<R>(path) {
        Ok(rows) => {
            rows.iter().for_each(|row| assert!(row.check().is_ok()));
            assert!(rows.is_sorted_by(|a, b| a.cmp_key(b).is_lt()));
            true
        }
        Err(error) => error.to_string().is_empty(),
    })
    .ok()
}

fn survives<R: Row + Clone>(rows: &[R], dim: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    Raw::of(rows, dim).write(&path);
    let good = fs::read(&path).unwrap();
    let mut panicked = Vec::new();
    let mut refused = 0;
    for seed in 0..MUTATIONS {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut SplitMix64::new(seed));
        fs::write(&path, bytes).unwrap();
        match read::<R>(&path) {
            Some(accepted) => refused += u64::from(!accepted),
            None => panicked.push(seed),
        }
    }
    assert!(panicked.is_empty(), "{}: mutations {panicked:?} panicked", R::TABLE.name);
    assert!(refused > MUTATIONS / 10, "{}: only {refused} mutations mattered", R::TABLE.name);
}

#[test]
fn damaged_frames() {
    survives(&(0..40).map(frame).collect::<Vec<_>>(), 0);
}

#[test]
fn damaged_detections() {
    survives(&(0..40).map(detection).collect::<Vec<_>>(), 0);
}

#[test]
fn damaged_crops() {
    survives(&(0..40).map(|rank| crop(0, rank)).collect::<Vec<_>>(), 0);
}

#[test]
fn damaged_vectors() {
    survives(&(0..40).map(track_embedding).collect::<Vec<_>>(), DIM);
}

#[test]
fn damaged_metrics() {
    let rows: Vec<_> = (10..40).map(|i| metric(&format!("m{i}"), MetricUnit::Frame)).collect();
    survives(&rows, 0);
}
