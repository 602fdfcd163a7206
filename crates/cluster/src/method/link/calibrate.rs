//! How alike two tracks must be to show one person, told by the video itself.
//!
//! The similarities of all pairs of tracks are a mixture of two normal distributions: those of different
//! people and those of one person. The first is by far the larger, so what lies below its mean tells its
//! width; what sticks out above is the second. Expectation–maximisation (Dempster, Laird and Rubin 1977)
//! with prior counts finds both: where there are few pairs of one person, or none, or only such, the
//! prior of the embedder holds.

use crate::items::Vectors;

/// Bins of a histogram from −1 to 1.
pub const BINS: usize = 1000;

/// Widths expected beforehand, and how many pairs each expectation is worth.
const DIFFERENT_SD: f64 = 0.12;
const SAME_SD: f64 = 0.15;
const DIFFERENT_PAIRS: f64 = 1000.0;
const SAME_PAIRS: f64 = 30.0;
const SHARE: f64 = 0.05;
const SHARE_PAIRS: f64 = 20.0;
/// Pairs of one person are more alike than others by that at least.
const LEAST_GAP: f64 = 0.2;
/// How much of the log odds of a pair's being one person's counts. All of it would be right for a single
/// pair; clusters are compared by the mean of many.
const ODDS_POWER: f64 = 0.6;
const ROUNDS: usize = 60;

/// What is known of the similarities of an embedder before a video is seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Mean similarity of tracks of different people, −1 to 1.
    pub different: f64,
    /// Mean similarity of tracks of one person, −1 to 1.
    pub same: f64,
}

/// Similarities of pairs, counted in bins of one width from −1 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// Of pairs that may show one person.
    pub open: Vec<u64>,
    /// Of pairs that share a frame, and so show two.
    pub apart: Vec<u64>,
}

impl Pairs {
    /// Of all rows of unit length; `apart` in order, smaller row first.
    pub(super) fn count(vectors: &Vectors, apart: &[(usize, usize)]) -> Self {
        let mut pairs = Self { open: vec![0; BINS], apart: vec![0; BINS] };
        for a in 0..vectors.len() {
            for b in a + 1..vectors.len() {
                pairs.open[bin(vectors.dot(a, b))] += 1;
            }
        }
        for (a, b) in apart {
            let bin = bin(vectors.dot(*a, *b));
            pairs.open[bin] -= 1;
            pairs.apart[bin] += 1;
        }
        pairs
    }
}

fn bin(similarity: f32) -> usize {
    let bin = (f64::from(similarity) + 1.0) / 2.0 * BINS as f64;
    (bin.max(0.0) as usize).min(BINS - 1)
}

/// The similarity in the middle of a bin.
pub fn middle(bin: usize) -> f64 {
    (bin as f64 + 0.5) / BINS as f64 * 2.0 - 1.0
}

/// What pairs of tracks tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// What was counted.
    pub pairs: Pairs,
    /// What was found in it.
    pub mixture: Mixture,
}

/// Two kinds of pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture {
    /// Mean similarity of different people, and standard deviation.
    pub different: (f64, f64),
    /// Of one person.
    pub same: (f64, f64),
    /// Share of pairs that show one person, above 0 to below 1.
    pub share: f64,
}

impl Mixture {
    /// By what was counted, and what is expected.
    pub fn new(pairs: &Pairs, prior: Prior) -> Self {
        let total: f64 = pairs.open.iter().map(|count| *count as f64).sum();
        let mut at =
            Self { different: (prior.different, DIFFERENT_SD), same: (prior.same, SAME_SD), share: 0.1 };
        for _ in 0..ROUNDS {
            let (mut same, mut different) = (Moments::default(), Moments::default());
            for (bin, (open, apart)) in pairs.open.iter().zip(&pairs.apart).enumerate() {
                let similarity = middle(bin);
                // The wider distribution would also claim what is least alike of all.
                let odds = if similarity < at.different.0 { 0.0 } else { at.odds(similarity) };
                let share = odds / (1.0 + odds);
                same.add(similarity, *open as f64 * share);
                different.add(similarity, *open as f64 * (1.0 - share) + *apart as f64);
            }
            let mean = different.mean(prior.different, DIFFERENT_PAIRS);
            at = Self {
                different: (mean, different.sd(mean, DIFFERENT_SD, DIFFERENT_PAIRS)),
                same: (same.mean(prior.same, SAME_PAIRS).max(mean + LEAST_GAP), SAME_SD),
                share: (same.count + SHARE_PAIRS * SHARE) / (total + SHARE_PAIRS),
            };
        }
        at
    }

    /// Odds that a pair of that similarity shows one person. Finite: no similarity is that far out.
    fn odds(&self, similarity: f64) -> f64 {
        (self.evidence(similarity) + logit(self.share)).min(500.0).exp()
    }
    /// Logarithm of how much likelier that similarity is for one person than for two.
    fn evidence(&self, similarity: f64) -> f64 {
        log_normal(similarity, self.same) - log_normal(similarity, self.different)
    }

    /// Log odds that a track and a cluster of that similarity show one person, never falling with it.
    pub fn log_odds(&self, similarity: f64) -> f64 {
        // Two normals of different widths cross twice; beyond their means nothing is turned round.
        let clamped = similarity.clamp(self.different.0, self.same.0);
        self.evidence(clamped) + ODDS_POWER * logit(self.share)
    }

    /// Similarity from which on two clusters are taken for one person: where the log odds are even.
    pub fn threshold(&self) -> f64 {
        let (mut low, mut high) = (self.different.0, self.same.0);
        if self.log_odds(high) <= 0.0 {
            return high;
        }
        for _ in 0..40 {
            let middle = (low + high) / 2.0;
            if self.log_odds(middle) > 0.0 { high = middle } else { low = middle }
        }
        high
    }
}

fn logit(share: f64) -> f64 {
    (share / (1.0 - share)).ln()
}

/// Logarithm of a normal density, but for the constant.
fn log_normal(x: f64, (mean, sd): (f64, f64)) -> f64 {
    -((x - mean) / sd).powi(2) / 2.0 - sd.ln()
}

/// Weighted sums.
#[derive(Debug, Clone, Copy, Default)]
struct Moments {
    count: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, x: f64, count: f64) {
        self.count += count;
        self.sum += count * x;
        self.squares += count * x * x;
    }

    /// With a mean expected that is worth some counts.
    fn mean(&self, expected: f64, worth: f64) -> f64 {
        (self.sum + worth * expected) / (self.count + worth)
    }

    /// About a mean, with a standard deviation expected that is worth some counts.
    fn sd(&self, mean: f64, expected: f64, worth: f64) -> f64 {
        let about = self.squares - 2.0 * mean * self.sum + mean * mean * self.count;
        ((about.max(0.0) + worth * expected * expected) / (self.count + worth)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PRIOR: Prior = Prior { different: 0.0, same: 0.4 };

    /// Counts as of a normal distribution.
    fn normal(count: f64, (mean, sd): (f64, f64)) -> Vec<u64> {
        let density: Vec<f64> = (0..BINS).map(|bin| log_normal(middle(bin), (mean, sd)).exp()).collect();
        let total: f64 = density.iter().sum();
        density.iter().map(|density| (density / total * count).round() as u64).collect()
    }

    fn pairs(different: Vec<u64>, same: Vec<u64>) -> Pairs {
        let open = different.iter().zip(same).map(|(a, b)| a + b).collect();
        Pairs { open, apart: vec![0; BINS] }
    }

    #[test]
    fn two_kinds_of_pairs_are_told_apart() {
        for (same, count) in [((0.75, 0.15), 30_000.0), ((0.45, 0.18), 30_000.0)] {
            let found = Mixture::new(&pairs(normal(270_000.0, (-0.03, 0.11)), normal(count, same)), PRIOR);
            assert!((found.different.0 + 0.03).abs() < 0.02 && (found.different.1 - 0.11).abs() < 0.01);
            assert!((found.same.0 - same.0).abs() < 0.05, "{found:?}");
            assert!((found.share - 0.1).abs() < 0.03, "{found:?}");
            let threshold = found.threshold();
            assert!(found.different.0 < threshold && threshold < found.same.0);
        }
    }

    #[test]
    fn rarer_pairs_of_one_person_ask_for_more_likeness() {
        let threshold = |count| {
            Mixture::new(&pairs(normal(100_000.0, (0.0, 0.12)), normal(count, (0.5, 0.15))), PRIOR)
                .threshold()
        };
        assert!(threshold(300.0) > threshold(3000.0) && threshold(3000.0) > threshold(30_000.0));
    }

    /// Nobody twice, one person only, one pair, none: then what is known of the embedder holds.
    #[test]
    fn where_a_kind_is_missing_the_prior_holds() {
        let none = vec![0; BINS];
        let strangers = Mixture::new(&pairs(normal(300.0, (0.0, 0.12)), none.clone()), PRIOR);
        assert!((strangers.same.0 - 0.4).abs() < 0.05 && strangers.share < 0.05, "{strangers:?}");
        let one_person = Mixture::new(&pairs(none.clone(), normal(300.0, (0.55, 0.15))), PRIOR);
        assert!(one_person.different.0.abs() < 0.15 && one_person.share > 0.8, "{one_person:?}");
        let nobody = Mixture::new(&pairs(none.clone(), none), PRIOR);
        assert_eq!((nobody.different.0, nobody.same.0), (PRIOR.different, PRIOR.same));
    }

    #[test]
    fn pairs_that_share_a_frame_are_of_different_people() {
        let alike = normal(300.0, (0.5, 0.1));
        let together = Pairs { open: alike.clone(), apart: vec![0; BINS] };
        let apart = Pairs { open: vec![0; BINS], apart: alike };
        let (together, apart) = (Mixture::new(&together, PRIOR), Mixture::new(&apart, PRIOR));
        assert!(apart.threshold() > together.threshold() + 0.1);
    }

    proptest! {
        #[test]
        fn odds_never_fall_and_the_threshold_lies_between_the_means(
            different in -0.2..0.3_f64, sd in 0.05..0.2_f64, gap in LEAST_GAP..0.7_f64, share in 1e-6..0.9_f64,
        ) {
            let mixture = Mixture { different: (different, sd), same: (different + gap, SAME_SD), share };
            let odds: Vec<f64> = (0..BINS).map(|bin| mixture.log_odds(middle(bin))).collect();
            // Where one person's pairs are the narrower kind, the clamp keeps what falls below them out.
            if sd <= SAME_SD {
                prop_assert!(odds.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9));
            }
            let threshold = mixture.threshold();
            prop_assert!(different <= threshold && threshold <= different + gap);
        }
    }
}
