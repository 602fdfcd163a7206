//! Calibration of confidences: the share of correct tracks against the confidence of `cluster`.

use std::collections::BTreeMap;

use report::input::{LabelledTrack, ReliabilityBin};
use schema::tables::Cluster;

/// Bins from 0 to 1.
const BINS: usize = 10;

/// A probability and its outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guess {
    /// Probability, 0 to 1.
    pub said: f64,
    /// Whether it was right.
    pub right: bool,
}

/// Confidences of linked tracks with a known person. A track is right if it shows the majority person of its
/// cluster.
pub fn guesses(clusters: &[Cluster], tracks: &[LabelledTrack]) -> Vec<Guess> {
    let said: BTreeMap<i64, f64> = clusters.iter().map(|c| (c.track_id, f64::from(c.confidence))).collect();
    let mut counts: BTreeMap<i64, BTreeMap<usize, usize>> = BTreeMap::new();
    for track in tracks {
        if let Some(cluster) = track.cluster_id {
            *counts.entry(cluster).or_default().entry(track.person).or_default() += 1;
        }
    }
    // The first person among equals.
    let majority = |cluster: i64| {
        let people = counts.get(&cluster)?.iter();
        people.max_by_key(|(person, count)| (**count, std::cmp::Reverse(**person))).map(|(person, _)| *person)
    };
    let guess = |track: &LabelledTrack| {
        let right = majority(track.cluster_id?) == Some(track.person);
        Some(Guess { said: *said.get(&track.track_id)?, right })
    };
    tracks.iter().filter_map(guess).collect()
}

/// Guesses by probability, in [`BINS`] equal bins; empty ones are left out.
pub fn bins(guesses: &[Guess]) -> Vec<ReliabilityBin> {
    let mut bins = [ReliabilityBin { stated: 0.0, right: 0.0, n: 0 }; BINS];
    for guess in guesses {
        let bin = &mut bins[((guess.said * BINS as f64) as usize).min(BINS - 1)];
        bin.stated += guess.said;
        bin.right += f64::from(u8::from(guess.right));
        bin.n += 1;
    }
    let mean = |bin: ReliabilityBin| {
        let n = bin.n as f64;
        ReliabilityBin { stated: bin.stated / n, right: bin.right / n, ..bin }
    };
    bins.into_iter().filter(|bin| bin.n > 0).map(mean).collect()
}

/// Expected calibration error: the distance between probability and share that was right, over bins,
/// weighted by their guesses. 0 is perfect, at most 1; 0 without guesses.
///
/// Does not show whether confidences separate right from wrong: a constant equal to the average scores 0.
/// Source: Naeini, Cooper and Hauskrecht 2015; bins as `sklearn.calibration.calibration_curve`.
pub fn error(guesses: &[Guess]) -> f64 {
    let off: f64 = bins(guesses).iter().map(|bin| (bin.stated - bin.right).abs() * bin.n as f64).sum();
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
