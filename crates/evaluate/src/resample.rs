//! How much figures would change with other tracks: the bootstrap, Efron 1979, by percentiles.
//!
//! Tracks are drawn as many times as there are, with replacement. Tracks of one scene resemble each
//! other, so the truth is less certain than these intervals say; figures that count small groups rise a
//! little when some tracks are drawn twice.

use numeric::random::SplitMix64;

/// Number of draws.
pub const ROUNDS: usize = 1000;
/// Share of the rounds that lies outside an interval, on either side.
const TAIL: f64 = 0.025;

/// A 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Intervals of several figures; `figures` computes them from how often each of `n` things was drawn, and
/// always gives as many. `None` with fewer than two things, which say nothing of others.
pub fn intervals(n: usize, mut figures: impl FnMut(&[u32]) -> Vec<f64>) -> Option<Vec<Interval>> {
    if n < 2 {
        return None;
    }
    let mut random = SplitMix64::new(n as u64);
    let mut rounds: Vec<Vec<f64>> = Vec::new();
    for _ in 0..ROUNDS {
        let mut drawn = vec![0; n];
        (0..n).for_each(|_| drawn[random.below(n)] += 1);
        for (at, value) in figures(&drawn).into_iter().enumerate() {
            if rounds.len() == at {
                rounds.push(Vec::with_capacity(ROUNDS));
            }
            rounds[at].push(value);
        }
    }
    Some(rounds.into_iter().map(interval).collect())
}

fn interval(mut values: Vec<f64>) -> Interval {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Interval { low: at(TAIL), high: at(1.0 - TAIL) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

    use super::*;

    /// Of 400 zeros and ones the mean has a standard error of 0.025, whatever is drawn.
    #[test]
    fn the_interval_of_a_mean_is_as_wide_as_theory_says() {
        let mean = |drawn: &[u32]| {
            let ones: u32 = drawn.iter().step_by(2).sum();
            vec![f64::from(ones) / drawn.len() as f64]
        };
        let Interval { low, high } = intervals(400, mean).unwrap()[0];
        assert!((low - (0.5 - 1.96 * 0.025)).abs() < 0.008 && (high - (0.5 + 1.96 * 0.025)).abs() < 0.008);
    }

    #[test]
    fn a_draw_has_the_size_of_the_sample_and_one_item_gives_no_interval() {
        let all = |drawn: &[u32]| vec![f64::from(drawn.iter().sum::<u32>())];
        assert_eq!(intervals(7, all).unwrap(), [Interval { low: 7.0, high: 7.0 }]);
        assert_eq!(intervals(1, all), None);
    }
}
