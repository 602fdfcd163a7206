//! How many people are expected: a Chinese-restaurant prior (Aldous 1985; Pitman 2006) over partitions.
//!
//! A partition of n items into clusters of N₁ … N_K has the probability `∝ α^K Π Γ(N_k)`. A large `α` expects many
//! people. The number of people is not known in advance, so `α` is learned from a partition ([`solve`]).

/// `α` of a usual video.
pub const USUAL: f64 = 8.0;
/// Lower limit of `α`, and upper limit per item.
const LEAST: f64 = 0.05;
const MOST_PER_ITEM: f64 = 20.0;
/// Number of bisections of the interval of `ln α`.
const HALVINGS: usize = 60;

/// The prior for one `α`.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// `ln Γ(n)` for whole n from zero; that of 0 is taken to be 0.
    log_gamma: Vec<f64>,
    log_alpha: f64,
}

impl Prior {
    /// The prior for up to `n` items.
    pub fn new(n: usize, alpha: f64) -> Self {
        let mut log_gamma = vec![0.0, 0.0];
        let mut sum = 0.0;
        for count in 2..=n {
            sum += ((count - 1) as f64).ln();
            log_gamma.push(sum);
        }
        Self { log_gamma, log_alpha: alpha.ln() }
    }

    /// `ln Γ(N_A + N_B) − ln Γ(N_A) − ln Γ(N_B) − ln α`: log odds of one cluster against two of these sizes.
    pub fn merge(&self, a: u32, b: u32) -> f64 {
        let of = |count: u32| self.log_gamma[count as usize];
        of(a + b) - of(a) - of(b) - self.log_alpha
    }
}

/// The `α` by which `people` is the expected number of people among `n` items, `Σ_{i<n} α / (α + i)`, within its
/// bounds. `caution` is the number of further people that `α` needs each time it grows by the factor e above [`USUAL`]: where
/// all of a few items are people of their own, the number of people alone says only that `α` is large.
pub fn solve(people: usize, n: usize, caution: f64) -> f64 {
    let expected = |alpha: f64| {
        let people: f64 = (0..n).map(|i| alpha / (alpha + i as f64)).sum();
        people + caution * (alpha / USUAL).ln().max(0.0)
    };
    let (mut low, mut high) = (LEAST.ln(), (MOST_PER_ITEM * n as f64).ln());
    if expected(low.exp()) >= people as f64 {
        return LEAST;
    }
    if expected(high.exp()) <= people as f64 {
        return MOST_PER_ITEM * n as f64;
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
        assert_eq!(solve(1, 1, 0.0), LEAST);
        assert_eq!(solve(1, 5, 0.0), LEAST);
        assert_eq!(solve(5, 5, 0.0), 100.0);
        let alpha = solve(7, 98, 0.0);
        let expected: f64 = (0..98).map(|i| alpha / (alpha + f64::from(i))).sum();
        assert!((expected - 7.0).abs() < 1e-9 && (1.5..1.6).contains(&alpha), "{alpha}");
    }

    #[test]
    fn caution_lowers_a_large_alpha_and_no_other() {
        assert_eq!(solve(7, 98, 0.5), solve(7, 98, 0.0), "{USUAL} is more");
        let alpha = solve(5, 5, 0.5);
        assert!((USUAL..30.0).contains(&alpha), "{alpha}");
        assert!(solve(5, 5, 1.0) < alpha && solve(500, 500, 0.5) > 300.0);
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
