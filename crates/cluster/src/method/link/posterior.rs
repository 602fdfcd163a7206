//! Confidence of a partition, by Gibbs sampling (Neal, Journal of Computational and Graphical Statistics 9, 2000,
//! algorithm 3).
//!
//! Reassignment takes the best cluster of every track. Sampling starts from its result: one track after the other leaves
//! its cluster and joins another one, or none, by chance, with odds that are the exponential of the gain. The
//! partitions so visited are as frequent as they are probable, so what holds in a share of them holds with about that
//! probability, whole clusters that may be two people included. Labels stay those of the best partition.

use std::collections::HashMap;

use numeric::random::SplitMix64;

use super::quality::Tracks;
use super::reassign::{CANDIDATES, Clusters};
use crate::parallel::in_parallel;

/// Independent chains, each from the best partition on with a stream of its own.
const CHAINS: usize = 4;
/// Sweeps over the tracks before a partition counts, and those that count.
const BURN_IN: usize = 20;
const SWEEPS: usize = 60;
/// Gains that all chains compute, at most: of more tracks, only the least certain are sampled.
const GAINS: usize = 16_000_000;

/// Odds that a track is in the main cluster of its person, per odds that it is in one cluster with another track of its
/// cluster in a sample: the other track moves as well. The log of the best value is 1.2 on 101 runs on eleven labelled
/// clips and their copies, by two embedders and by one, and 0.95 to 1.4 when one clip is left out.
const ODDS: f64 = std::f64::consts::E;

/// For every track, the probability that it shows the person of its cluster, 0 to 1: the share of samples in which it is
/// in one cluster with the other tracks of its cluster, each of which counts as much as it is reliable; of a track that is
/// alone, the share of samples in which it is. The odds are then multiplied by [`ODDS`].
///
/// `certainty` of each track, given all others, says which tracks are sampled where there are too many.
pub(super) fn confidences(
    clusters: &Clusters<'_>,
    tracks: &Tracks,
    certainty: &[f64],
    threads: usize,
) -> Vec<f64> {
    let n = tracks.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| certainty[*a].total_cmp(&certainty[*b]));
    order.truncate(GAINS / (CHAINS * (BURN_IN + SWEEPS) * clusters.len().clamp(1, CANDIDATES)));
    order.sort_unstable();
    let near = clusters.candidates(&order);
    let weights: Vec<f64> = (0..n).map(|track| tracks.reliability(track)).collect();
    let whole = sums(clusters.labels(), &weights);
    let run = |seed: &u64| {
        let mut chain = Chain::new(clusters, *seed);
        let mut shares = vec![0.0; n];
        for sweep in 0..BURN_IN + SWEEPS {
            for (track, near) in order.iter().zip(&near) {
                chain.draw(*track, near);
            }
            if sweep >= BURN_IN {
                let found = together(clusters.labels(), &whole, chain.clusters.labels(), &weights);
                shares.iter_mut().zip(found).for_each(|(sum, share)| *sum += share);
            }
        }
        shares
    };
    let seeds: Vec<u64> = (0..CHAINS as u64).collect();
    let chains = in_parallel(threads, &seeds, run, &mut |_| ());
    let mean =
        |track: usize| chains.iter().map(|shares| shares[track]).sum::<f64>() / (CHAINS * SWEEPS) as f64;
    let calibrated = |share: f64| ODDS * share / (ODDS * share + 1.0 - share);
    (0..n).map(|track| calibrated(mean(track).clamp(0.0, 1.0))).collect()
}

/// A sequence of partitions.
struct Chain<'a> {
    clusters: Clusters<'a>,
    random: SplitMix64,
    /// Number of clusters at the start: of those, a track is compared with the nearest; with later ones always.
    n_first: usize,
    /// Clusters that have lost their last track.
    empty: Vec<usize>,
}

impl<'a> Chain<'a> {
    fn new(clusters: &Clusters<'a>, seed: u64) -> Self {
        Self {
            clusters: clusters.clone(),
            random: SplitMix64::new(seed),
            n_first: clusters.len(),
            empty: Vec::new(),
        }
    }

    /// Moves a track by chance: to its own cluster, to one of the first clusters that are `near`, to a later one, or to
    /// none.
    fn draw(&mut self, track: usize, near: &[usize]) {
        let clusters = &self.clusters;
        let own = clusters.labels()[track];
        let clothes = clusters.clothes(track);
        let is_far = own < self.n_first && !near.contains(&own);
        let labels = near.iter().copied().chain(self.n_first..clusters.len()).chain(is_far.then_some(own));
        let with_gain = |label: usize| Some((label, clusters.gain(track, label, &clothes)?));
        let gains: Vec<(usize, f64)> = labels.filter_map(with_gain).collect();
        // Being alone has the odds 1. All are taken relative to the most likely, so that no exponential is too large.
        let most = gains.iter().map(|(_, gain)| *gain).fold(0.0, f64::max);
        let odds: Vec<f64> = gains.iter().map(|(_, gain)| gain - most).chain([-most]).map(f64::exp).collect();
        let drawn = self.random.weighted(&odds).and_then(|drawn| gains.get(drawn)).map(|(label, _)| *label);
        let is_alone = clusters.is_alone(track);
        if drawn == Some(own) || (drawn.is_none() && is_alone) {
            return;
        }
        let to = drawn.or_else(|| self.empty.pop()).unwrap_or_else(|| self.clusters.push_empty());
        self.clusters.put(track, to);
        if is_alone {
            self.empty.push(own);
        }
    }
}

/// Weight of the tracks of each cluster; clusters are numbered from zero.
fn sums(labels: &[usize], weights: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; labels.iter().max().map_or(0, |last| last + 1)];
    labels.iter().zip(weights).for_each(|(label, weight)| sums[*label] += weight);
    sums
}

/// For every track, the share of the weight of the other tracks of its cluster that a sample has in its cluster, too; of a
/// track that is alone, 1 where the sample has it alone. `whole` is the weight of each cluster.
fn together(labels: &[usize], whole: &[f64], sampled: &[usize], weights: &[f64]) -> Vec<f64> {
    let (mut parts, mut counts) = (HashMap::new(), HashMap::new());
    for (track, weight) in weights.iter().enumerate() {
        *parts.entry((labels[track], sampled[track])).or_insert(0.0) += weight;
        *counts.entry(sampled[track]).or_insert(0_usize) += 1;
    }
    let share = |track: usize| {
        let own = weights[track];
        let others = whole[labels[track]] - own;
        if others <= f64::EPSILON {
            return if counts[&sampled[track]] == 1 { 1.0 } else { 0.0 };
        }
        (parts[&(labels[track], sampled[track])] - own) / others
    };
    (0..labels.len()).map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_the_other_tracks_of_the_cluster() {
        // The sample moves the last track of the first cluster to the track that was alone.
        let of = |labels: &[usize], sampled: &[usize], weights: &[f64]| {
            together(labels, &sums(labels, weights), sampled, weights)
        };
        let shares = of(&[0, 0, 0, 1], &[5, 5, 7, 7], &[1.0, 3.0, 1.0, 1.0]);
        assert_eq!(shares, [0.75, 0.5, 0.0, 0.0]);
        assert_eq!(of(&[0, 1], &[1, 0], &[1.0, 1.0]), [1.0, 1.0]);
    }
}
