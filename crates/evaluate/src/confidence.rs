//! Calibration of confidences: the share of correct tracks against the confidence of `cluster`.

use std::collections::BTreeMap;

use schema::tables::Cluster;

use crate::matching::{Group, JudgedTrack};

/// Bins from 0 to 1.
pub const BINS: usize = 10;

/// A probability and its outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// Probability, 0 to 1.
    pub said: f64,
    /// Whether it was right.
    pub right: bool,
}

/// Guesses of about one probability.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Mean probability.
    pub said: f64,
    /// Share that was right.
    pub right: f64,
    /// How many; above 0.
    pub n: usize,
}

/// Confidences of linked tracks with a known person. A track is right if it shows the majority person of its
/// cluster.
pub fn guesses(clusters: &[Cluster], tracks: &[JudgedTrack]) -> Vec<Guess> {
    let said: BTreeMap<i64, f64> = clusters.iter().map(|c| (c.track_id, f64::from(c.confidence))).collect();
    let majority = majorities(tracks);
    let linked = tracks.iter().filter(|track| matches!(track.group, Group::Cluster(_)));
    let guess = |track: &JudgedTrack| {
        let right = majority.get(&track.group) == Some(&track.person);
        Some(Guess { said: *said.get(&track.track_id)?, right })
    };
    linked.filter_map(guess).collect()
}

/// Majority person of each group; the first person among equals.
pub fn majorities(tracks: &[JudgedTrack]) -> BTreeMap<Group, usize> {
    let mut counts: BTreeMap<Group, BTreeMap<usize, usize>> = BTreeMap::new();
    for track in tracks {
        *counts.entry(track.group).or_default().entry(track.person).or_default() += 1;
    }
    let most = |people: &BTreeMap<usize, usize>| {
        people.iter().max_by_key(|(person, count)| (**count, std::cmp::Reverse(**person))).map(|(p, _)| *p)
    };
    counts.iter().filter_map(|(group, people)| Some((*group, most(people)?))).collect()
}

/// Guesses by probability, in [`BINS`] equal bins; empty ones are left out.
pub fn bins(guesses: &[Guess]) -> Vec<Bin> {
    let mut bins = [Bin::default(); BINS];
    for guess in guesses {
        let bin = &mut bins[((guess.said * BINS as f64) as usize).min(BINS - 1)];
        bin.said += guess.said;
        bin.right += f64::from(u8::from(guess.right));
        bin.n += 1;
    }
    let mean = |bin: Bin| Bin { said: bin.said / bin.n as f64, right: bin.right / bin.n as f64, ..bin };
    bins.into_iter().filter(|bin| bin.n > 0).map(mean).collect()
}

/// Expected calibration error: the distance between probability and share that was right, over bins,
/// weighted by their guesses. 0 is perfect, at most 1; 0 without guesses.
///
/// Does not show whether confidences separate right from wrong: a constant equal to the average scores 0.
/// Source: Naeini, Cooper and Hauskrecht 2015; bins as `sklearn.calibration.calibration_curve`.
pub fn error(guesses: &[Guess]) -> f64 {
    let off: f64 = bins(guesses).iter().map(|bin| (bin.said - bin.right).abs() * bin.n as f64).sum();
    off / guesses.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saying_certain_and_being_wrong_costs_all() {
        let guess = |said, right| Guess { said, right };
        assert_eq!(error(&[guess(1.0, false), guess(0.0, true)]), 1.0);
        assert_eq!(error(&[guess(0.5, true), guess(0.5, false)]), 0.0);
        assert_eq!(error(&[]), 0.0);
    }
}
