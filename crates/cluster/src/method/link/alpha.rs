//! How many people are expected: a Chinese-restaurant prior (Aldous 1985; Pitman 2006) over partitions.
//!
//! A partition of n tracks into clusters of N₁ … N_K has the probability `∝ α^K Π Γ(N_k)`. A large `α`
//! expects many people. The number of people in a video is not known in advance, so `α` is learned from the
//! video.

use super::quality::Tracks;

/// Initial `α`.
const START: f64 = 8.0;
/// Lower limit of `α`, and upper limit per track.
const LEAST: f64 = 0.05;
const MOST_PER_TRACK: f64 = 20.0;
/// Smallest number of clear tracks from which `α` is estimated separately.
const FEWEST_CLEAR: usize = 6;
/// Number of bisections of the interval of `ln α`.
const HALVINGS: usize = 60;

/// The prior for one `α`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prior {
    /// `ln Γ(n)` for whole n from zero; that of 0 is taken to be 0.
    log_gamma: Vec<f64>,
    log_alpha: f64,
}

impl Prior {
    /// For up to `n` tracks.
    pub(super) fn new(n: usize, alpha: f64) -> Self {
        let mut log_gamma = vec![0.0, 0.0];
        let mut sum = 0.0;
        for count in 2..=n {
            sum += ((count - 1) as f64).ln();
            log_gamma.push(sum);
        }
        Self { log_gamma, log_alpha: alpha.ln() }
    }

    /// `ln Γ(N_A + N_B) − ln Γ(N_A) − ln Γ(N_B) − ln α`: log odds of one cluster against two of these sizes.
    pub(super) fn merge(&self, a: u32, b: u32) -> f64 {
        let of = |count: u32| self.log_gamma[count as usize];
        of(a + b) - of(a) - of(b) - self.log_alpha
    }
}

/// `α` for the first round.
pub(super) fn start(n: usize) -> f64 {
    START.min(10.0 * n as f64)
}

/// Estimates `α` from a partition: the geometric mean of the values for which the number of people is the
/// expected one among all tracks and among the clear tracks. All tracks alone tend to split, since an unclear
/// track is often alone; clear tracks alone tend to join.
pub(super) fn learn(tracks: &Tracks, labels: &[usize]) -> f64 {
    let all: Vec<usize> = (0..tracks.len()).collect();
    let mut clear: Vec<usize> = all.iter().copied().filter(|track| tracks.is_clear(*track)).collect();
    if clear.len() < FEWEST_CLEAR {
        clear.clone_from(&all);
    }
    let of = |tracks: &[usize]| {
        let mut people: Vec<usize> = tracks.iter().map(|track| labels[*track]).collect();
        people.sort_unstable();
        people.dedup();
        solve(people.len(), tracks.len())
    };
    (of(&all) * of(&clear)).sqrt()
}

/// The `α` by which `people` is the expected number of people among `n` tracks, `Σ_{i<n} α / (α + i)`, within its
/// bounds.
fn solve(people: usize, n: usize) -> f64 {
    let expected = |alpha: f64| (0..n).map(|i| alpha / (alpha + i as f64)).sum::<f64>();
    let (mut low, mut high) = (LEAST.ln(), (MOST_PER_TRACK * n as f64).ln());
    if expected(low.exp()) >= people as f64 {
        return LEAST;
    }
    if expected(high.exp()) <= people as f64 {
        return MOST_PER_TRACK * n as f64;
    }
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if expected(middle.exp()) < people as f64 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alpha_is_what_expects_as_many_people() {
        // Of two tracks: 1 + α / (α + 1) people, so 1.5 for α = 1. Of one there is always one.
        assert_eq!(solve(1, 1), LEAST);
        assert_eq!(solve(1, 5), LEAST);
        assert_eq!(solve(5, 5), 100.0);
        let alpha = solve(7, 98);
        let expected: f64 = (0..98).map(|i| alpha / (alpha + f64::from(i))).sum();
        assert!((expected - 7.0).abs() < 1e-9 && (1.5..1.6).contains(&alpha), "{alpha}");
    }

    #[test]
    fn the_prior_is_that_of_partitions() {
        let prior = Prior::new(7, 2.0);
        // Γ(7) / (Γ(3) Γ(4)) / 2 = 720 / (2 · 6) / 2.
        assert!((prior.merge(3, 4) - 30.0_f64.ln()).abs() < 1e-12);
        // One track joins four: N / α.
        assert!((prior.merge(4, 1) - 2.0_f64.ln()).abs() < 1e-12);
    }
}
