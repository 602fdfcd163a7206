//! Clothes: people wear the same for minutes, so different clothes within minutes keep tracks apart.
//!
//! What clothes are worth differs by video: much in a comedy, nothing where everybody wears black. So each
//! video is its own teacher. After linking by faces alone, pairs of outfits at most four minutes apart
//! are taken whose people the faces are sure of, and a logistic regression (ridge 1 on the slope and 0.1
//! on the intercept) learns the log odds `e` of one person from the Hellinger distance `d = √(1 − Σ√(p q))`
//! of the colour histograms. Both classes weigh the same, so faces keep the prior. Then
//!
//! ```text
//! e = clamp(slope · (d − middle) / 0.15 + intercept, bounds),    c(A, B) = mean of e over pairs between A and B
//! ```
//!
//! and `c` is added to the gain of merging A and B. Where faces prove too little, `c` is 0.

use std::collections::HashMap;

use numeric::vector::dot_in_lanes as dot;

use super::evidence::Sums;
use crate::method::{ClothesLine, Outfit};
use crate::parallel::in_parallel;

/// Outfits further apart say nothing, seconds.
const MOST_GAP_SECS: f64 = 240.0;
/// Pairs that are compared, about, at most: of more, those that follow each other soonest.
const MOST_PAIRS: usize = 1 << 22;
/// Outfits that each is compared with, at least.
const LEAST_FOLLOWING: usize = 8;
/// Log odds from which on faces are sure that a pair is one person; less than the negative, that it is two.
const SURE: f64 = 2.0;
/// Pairs of each class from which on a model is learned.
const FEWEST: usize = 3;
/// Distances are in this unit.
const UNIT: f64 = 0.15;
/// Of the slope and the intercept.
const RIDGE: [f64; 2] = [1.0, 0.1];
const NEWTON_STEPS: usize = 50;
/// Outfits that a thread takes at a time.
const BATCH: usize = 256;

/// Two outfits of different tracks that are worn within [`MOST_GAP_SECS`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    tracks: [u32; 2],
    distance: f32,
    is_in_one_shot: bool,
}

/// All pairs of outfits that count.
pub(super) fn pairs(outfits: &[Outfit<'_>], threads: usize) -> Vec<Pair> {
    let mut outfits: Vec<&Outfit<'_>> = outfits.iter().collect();
    outfits.sort_by(|a, b| a.first_secs.total_cmp(&b.first_secs).then(a.item.cmp(&b.item)));
    let roots: Vec<Vec<f32>> =
        outfits.iter().map(|outfit| outfit.torso.iter().map(|x| x.max(0.0).sqrt()).collect()).collect();
    let most = (MOST_PAIRS / outfits.len().max(1)).max(LEAST_FOLLOWING);
    let all: Vec<usize> = (0..outfits.len()).collect();
    let batches: Vec<&[usize]> = all.chunks(BATCH).collect();
    let of = |batch: &&[usize]| {
        let mut pairs = Vec::new();
        for a in *batch {
            let outfit = outfits[*a];
            let following = outfits[a + 1..].iter().zip(&roots[a + 1..]).take(most);
            for (other, root) in following {
                if other.first_secs > outfit.last_secs + MOST_GAP_SECS {
                    break;
                }
                if other.item != outfit.item {
                    pairs.push(Pair {
                        tracks: [outfit.item as u32, other.item as u32],
                        distance: (1.0 - dot(&roots[*a], root)).max(0.0).sqrt(),
                        is_in_one_shot: other.shot == outfit.shot,
                    });
                }
            }
        }
        pairs
    };
    in_parallel(threads, &batches, of, &mut |_| ()).concat()
}

/// What a distance of clothes says in a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ClothesModel {
    middle: f64,
    slope: f64,
    intercept: f64,
}

impl ClothesModel {
    /// Learned from the clusters `labels` of tracks, by faces; `cannot_link` in order, smaller track first.
    /// `None` where faces prove too little.
    pub(super) fn learn(
        pairs: &[Pair],
        labels: &[usize],
        tracks: &Sums,
        cannot_link: &[(usize, usize)],
    ) -> Option<Self> {
        let (mut same, mut different) = (Vec::new(), Vec::new());
        let mut is_taught = vec![false; labels.len()];
        for pair in pairs {
            let [a, b] = pair.tracks.map(|track| track as usize);
            let is_one = labels[a] == labels[b];
            let odds = tracks.merge_gain(a, b);
            if cannot_link.binary_search(&(a.min(b), a.max(b))).is_ok() || (!is_one && odds < -SURE) {
                different.push(f64::from(pair.distance));
            }
            if is_one && odds > SURE && !pair.is_in_one_shot {
                same.push(f64::from(pair.distance));
                is_taught[a] = true;
                is_taught[b] = true;
            }
        }
        if same.len().min(different.len()) < FEWEST {
            return None;
        }
        // Pairs depend on each other: each class weighs half as much as there are tracks.
        let weight = is_taught.iter().filter(|is_taught| **is_taught).count() as f64 / 2.0;
        Self::fit(&same, &different, weight)
    }

    /// Logistic regression by Newton's method; each class has this weight in total.
    fn fit(same: &[f64], different: &[f64], weight: f64) -> Option<Self> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let middle = f64::midpoint(mean(same), mean(different));
        let (mut slope, mut intercept) = (0.0_f64, 0.0_f64);
        for _ in 0..NEWTON_STEPS {
            let mut gradient = [-RIDGE[0] * slope, -RIDGE[1] * intercept];
            let mut hessian = [RIDGE[0], 0.0, RIDGE[1]];
            for (values, target) in [(same, 1.0), (different, 0.0)] {
                let weight = weight / values.len() as f64;
                for value in values {
                    let z = (value - middle) / UNIT;
                    let odds = 1.0 / (1.0 + (-(slope * z + intercept)).exp());
                    let (error, curvature) = (weight * (target - odds), weight * odds * (1.0 - odds));
                    gradient[0] += error * z;
                    gradient[1] += error;
                    hessian[0] += curvature * z * z;
                    hessian[1] += curvature * z;
                    hessian[2] += curvature;
                }
            }
            let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
            slope += (hessian[2] * gradient[0] - hessian[1] * gradient[1]) / determinant;
            intercept += (hessian[0] * gradient[1] - hessian[1] * gradient[0]) / determinant;
        }
        (slope.is_finite() && intercept.is_finite()).then_some(Self { middle, slope, intercept })
    }

    /// Returns the model as a line over the distance, with its bounds.
    pub(super) fn line(&self, bounds: [f64; 2]) -> ClothesLine {
        let slope = self.slope / UNIT;
        ClothesLine { intercept: self.intercept - slope * self.middle, slope, bounds }
    }

    /// For each of `n` tracks the others whose clothes are compared with its own, with `e` within `bounds`.
    pub(super) fn apply(&self, pairs: &[Pair], n: usize, [low, high]: [f64; 2]) -> ClothesOdds {
        let mut worn = vec![Vec::new(); n];
        for pair in pairs {
            let z = (f64::from(pair.distance) - self.middle) / UNIT;
            let odds = (self.slope * z + self.intercept).clamp(low, high) as f32;
            let [a, b] = pair.tracks;
            worn[a as usize].push((b, odds));
            worn[b as usize].push((a, odds));
        }
        worn
    }
}

/// For each track the others whose clothes are compared with its own, with the log odds; empty where clothes say
/// nothing.
pub(super) type ClothesOdds = Vec<Vec<(u32, f32)>>;

/// Mean log odds of the pairs between two clusters, or between a track and a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    pub(super) fn add(&mut self, other: Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    /// Of one pair.
    pub(super) fn of(odds: f32) -> Self {
        Self { sum: f64::from(odds), count: 1 }
    }

    /// 0 without pairs.
    pub(super) fn value(self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / f64::from(self.count) }
    }
}

/// The means between one track and the clusters of `label`.
pub(super) fn means(worn: &[(u32, f32)], label: impl Fn(usize) -> usize) -> HashMap<u32, Mean> {
    let mut means: HashMap<u32, Mean> = HashMap::new();
    for (other, odds) in worn {
        let mean = means.entry(label(*other as usize) as u32).or_default();
        mean.add(Mean::of(*odds));
    }
    means
}

/// Means between all clusters while they are merged.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Between {
    of: Vec<HashMap<u32, Mean>>,
}

impl Between {
    /// Every track is a cluster.
    pub(super) fn new(worn: &ClothesOdds) -> Self {
        Self { of: worn.iter().map(|worn| means(worn, |track| track)).collect() }
    }

    /// `c(A, B)`.
    pub(super) fn value(&self, a: usize, b: usize) -> f64 {
        self.of.get(a).and_then(|means| means.get(&(b as u32))).map_or(0.0, |mean| mean.value())
    }

    /// Adds the pairs of one cluster to those of another.
    pub(super) fn merge(&mut self, into: usize, from: usize) {
        if self.of.is_empty() {
            return;
        }
        for (other, mean) in std::mem::take(&mut self.of[from]) {
            self.of[other as usize].remove(&(from as u32));
            if other as usize != into {
                self.of[other as usize].entry(into as u32).or_default().add(mean);
                self.of[into].entry(other).or_default().add(mean);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn outfit(item: usize, torso: &[f32], at: f64, shot: i64) -> Outfit<'_> {
        Outfit { item, torso, first_secs: at, last_secs: at + 1.0, shot }
    }

    #[test]
    fn pairs_are_those_within_four_minutes() {
        let (red, blue) = ([1.0, 0.0], [0.0, 1.0]);
        let outfits = [
            outfit(0, &red, 0.0, 0),
            outfit(1, &blue, 0.5, 0),
            outfit(2, &red, 241.0, 1),
            outfit(1, &red, 241.2, 1),
        ];
        let pair = |a, b, distance, is_in_one_shot| Pair { tracks: [a, b], distance, is_in_one_shot };
        let expected =
            [pair(0, 1, 1.0, true), pair(0, 2, 0.0, false), pair(1, 2, 1.0, false), pair(2, 1, 0.0, true)];
        assert_eq!(pairs(&outfits, 2), expected);
    }

    /// Numbers of the reference in NumPy.
    #[test]
    fn the_law_is_that_of_the_reference() {
        let model = ClothesModel::fit(&[0.2, 0.3, 0.25, 0.4], &[0.6, 0.7, 0.35], 4.0).unwrap();
        assert!((model.middle - 0.41874999999999996).abs() < 1e-12, "{model:?}");
        assert!(
            (model.slope - -1.077421222280276).abs() < 1e-9
                && (model.intercept - -0.06594267978167433).abs() < 1e-9,
            "{model:?}"
        );
        let pairs = [Pair { tracks: [0, 2], distance: 0.9, is_in_one_shot: false }];
        let worn = model.apply(&pairs, 3, [-2.0, 0.0]);
        assert_eq!(worn, [vec![(2, -2.0)], vec![], vec![(0, -2.0)]]);
    }

    #[test]
    fn merged_clusters_keep_the_mean_of_their_pairs() {
        let mut worn: ClothesOdds = vec![Vec::new(); 4];
        for (a, b, odds) in [(0, 1, -1.0), (0, 2, -2.0), (1, 2, -0.5), (1, 3, -1.0)] {
            worn[a as usize].push((b, odds));
            worn[b as usize].push((a, odds));
        }
        let mut between = Between::new(&worn);
        between.merge(0, 1);
        assert_eq!([between.value(0, 2), between.value(2, 0), between.value(0, 3)], [-1.25, -1.25, -1.0]);
        assert_eq!(between.value(2, 3), 0.0);
        assert_eq!(means(&worn[2], |track| usize::from(track > 1))[&0].value(), -1.25);
    }
}
