//! A second look at people that merging and reassignment left apart.
//!
//! The offset of a video is learned from the partition. Where one person has most of the tracks and some of the tracks are
//! alone, a part of the person goes into the offset, and the evidence for the rest is too low: so with heads in one colour
//! of light. The cosine of the mean vectors, without the offset, is then the better witness. The log odds that two clusters
//! are one person, given that linking left the clusters apart, are a logistic regression on both ([`left_apart`]).
//! Pairs that are one person with a probability of at least [`LEAST`] are merged, the most probable first.

use numeric::vector::{direction, dot_in_lanes as dot};

use super::reassign::Clusters;
use crate::items::Vectors;
use crate::neighbours::{self, Rows, Search};

/// Log odds of linking beyond this value count little, because linking takes the tracks of a person as independent, which
/// they are not.
const DAMPED_FROM: f64 = 2.0;
/// Log odds of one person per unit of cosine of the mean vectors, and at the even point of the embedder. They are near
/// the logistic regression on 3,255 pairs of people that linking had not merged (115 of them one person), in 77 runs on
/// eleven labelled clips and their copies. On clips left out, the log loss is 0.103; with the log odds of linking alone it
/// is 0.117, with the cosine alone 0.106.
const PER_COSINE: f64 = 16.6;
const AT_EVEN: f64 = 1.5;
/// Smallest probability of one person, and its log odds. In those runs, all of the 41 pairs above are one person; of the
/// next ten, one is not.
const LEAST: f64 = 0.8;
/// Number of people up to which the regression holds as it is: about as many as in the clips with most such pairs. With
/// more people, pairs of two people grow as the square of their number, pairs of one person as the number.
const PEOPLE: f64 = 20.0;

/// What a second look needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecondLook<'a> {
    /// Vectors of the first embedder, of unit norm, one per track.
    pub(super) vectors: &'a [&'a [f32]],
    /// Whether a track is much less clear than others; such a track alone is no person, and is left out.
    pub(super) is_unclear: &'a [bool],
    /// Cosine from which two tracks more likely show one person than two, by the first embedder.
    pub(super) same_from: f64,
}

/// Log odds that two people that linking left apart are one person.
///
/// `odds` are the log odds of linking, clothes included; `above` is the cosine of the mean vectors of the two people, by
/// the first embedder, less the cosine from which two tracks more likely show one person than two.
pub fn left_apart(odds: f64, above: f64) -> f64 {
    let damped = odds.signum() * DAMPED_FROM * (odds.abs() / DAMPED_FROM).ln_1p();
    damped + PER_COSINE * above + AT_EVEN
}

impl SecondLook<'_> {
    /// Merges clusters that are one person with a sufficient probability; `stop` are the log odds at which linking stopped.
    /// Returns for each track the probability that this put it to the right person, 1 for tracks that did not move.
    pub(super) fn merge(&self, clusters: &mut Clusters<'_>, stop: f64, search: Search) -> Vec<f64> {
        let least = stop + (LEAST / (1.0 - LEAST)).ln();
        let mut right = vec![1.0; self.vectors.len()];
        loop {
            let mut members: Vec<Vec<usize>> = vec![Vec::new(); clusters.len()];
            clusters.labels().iter().enumerate().for_each(|(track, label)| members[*label].push(track));
            let pairs = self.pairs(clusters, &members, search);
            let mut is_merged = vec![false; members.len()];
            for (odds, a, b) in pairs.into_iter().take_while(|(odds, ..)| *odds >= least) {
                if is_merged[a] || is_merged[b] {
                    continue;
                }
                (is_merged[a], is_merged[b]) = (true, true);
                let (into, from) = if members[b].len() > members[a].len() { (b, a) } else { (a, b) };
                for track in &members[from] {
                    clusters.put(*track, into);
                    right[*track] *= 1.0 / (1.0 + (-odds).exp());
                }
            }
            if !is_merged.contains(&true) {
                return right;
            }
            clusters.forget_empty();
        }
    }

    /// Returns pairs of clusters with near mean vectors that no constraint keeps apart, each with the log odds of one person,
    /// the largest first.
    fn pairs(
        &self,
        clusters: &Clusters<'_>,
        members: &[Vec<usize>],
        search: Search,
    ) -> Vec<(f64, usize, usize)> {
        let dim = self.vectors.first().map_or(1, |vector| vector.len());
        let mut means = Vec::with_capacity(members.len() * dim);
        for members in members {
            let mut sum = vec![0.0; dim];
            for track in members {
                sum.iter_mut().zip(self.vectors[*track]).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            means.extend(direction(&sum, 1e-9).unwrap_or_else(|| vec![0.0; dim]));
        }
        let means = Vectors::trusted(dim, means);
        let is_person = |label: &u32| match members[*label as usize].as_slice() {
            [track] => !self.is_unclear[*track],
            _ => true,
        };
        let people: Vec<u32> = (0..members.len() as u32).filter(is_person).collect();
        let rows = Rows { of: &means, rows: &people };
        let itself = |a: u32, b: u32| if a == b { f32::INFINITY } else { 0.0 };
        let found = neighbours::nearest(rows, rows, f32::MIN, itself, &search, &mut |_| ());
        let mut near: Vec<(usize, usize)> = found
            .edges
            .iter()
            .map(|edge| (edge.a.min(edge.b) as usize, edge.a.max(edge.b) as usize))
            .collect();
        near.sort_unstable();
        near.dedup();
        let clothes = clusters.clothes_between();
        let crowd = (people.len() as f64 / PEOPLE).ln().max(0.0);
        let log_odds = |(a, b): (usize, usize)| {
            let linked = clusters.merge_gain(a, b) + clothes.get(&(a, b)).map_or(0.0, |mean| mean.value());
            let above = f64::from(dot(means.row(a), means.row(b))) - self.same_from;
            (left_apart(linked, above) - crowd, a, b)
        };
        let is_free = |(a, b): &(usize, usize)| !members[*a].iter().any(|track| clusters.forbids(*track, *b));
        let mut pairs: Vec<_> = near.into_iter().filter(is_free).map(log_odds).collect();
        pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
        pairs
    }
}
