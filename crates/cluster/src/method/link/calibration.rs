//! Histogram of the log odds of pairs of tracks, and the probability in each bin.

use super::evidence::{Sums, distance, log_odds};
use crate::prior::Prior;

/// Bins of a histogram from −1 to 1.
pub const BINS: usize = 1000;

/// Pairs of tracks by the similarity `1 − distance` of the log odds that the two show one person.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Pairs that may show one person, by bin.
    pub open: Vec<u64>,
    /// Pairs that share a frame, and so show two.
    pub cannot_link: Vec<u64>,
    /// `α`, which expects more people the larger it is.
    pub alpha: f64,
    /// Squared length of the offset of the video.
    pub offset: f64,
}

impl Calibration {
    /// Counts the pairs of tracks; `cannot_link` in order, smaller track first.
    pub(super) fn count(&mut self, tracks: &Sums, prior: &Prior, cannot_link: &[(usize, usize)]) {
        let bin = |a: usize, b: usize| {
            let similarity = 1.0 - distance(tracks.log_odds(prior, a, b));
            (((similarity + 1.0) / 2.0 * BINS as f64).max(0.0) as usize).min(BINS - 1)
        };
        for a in 0..tracks.vectors().len() {
            for b in a + 1..tracks.vectors().len() {
                self.open[bin(a, b)] += 1;
            }
        }
        for (a, b) in cannot_link {
            self.open[bin(*a, *b)] -= 1;
            self.cannot_link[bin(*a, *b)] += 1;
        }
    }

    /// Similarity in the middle of a bin, −1 to 1.
    pub fn similarity(bin: usize) -> f64 {
        (bin as f64 + 0.5) / BINS as f64 * 2.0 - 1.0
    }

    /// Probability that a pair of such a similarity shows one person, 0 to 1.
    pub fn same(bin: usize) -> f64 {
        1.0 / (1.0 + (-log_odds(1.0 - Self::similarity(bin))).exp())
    }
}
