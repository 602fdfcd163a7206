//! A second look at people that merging and reassignment left apart.
//!
//! The offset of a video is learned from the partition. Where one person has most of the tracks and some of the tracks are
//! alone, a part of the person goes into the offset, and the evidence for the rest is too low. Heads lit in one colour are
//! an example. The cosine of the mean vectors, without the offset, is then more reliable; of several embedders the mean
//! of their cosines. The log odds that two clusters are one person, given that linking left the clusters apart, are a
//! logistic regression on both ([`Faces::same_person_given_apart`]). Pairs that are one person with a probability of at least
//! [`LEAST`] are merged, the most probable first; a single poor track joins a person of several tracks from
//! [`LEAST_OF_POOR`] on. From [`PERHAPS`] on, a poor track is noise, because it may well be this person.

use std::ops::Range;

use numeric::vector::{direction, dot_in_lanes as dot};
use schema::footer::Quality;

use super::reassign::Clusters;
use crate::items::Vectors;
use crate::method::Items;
use crate::neighbours::{self, Rows, Search};

/// Log odds of linking beyond this value count little, because linking takes the tracks of a person as independent, which
/// they are not.
const DAMPED_FROM: f64 = 2.0;
/// Factor of the damped log odds of linking, log odds per unit of cosine, and log odds at the even point, for one embedder
/// and for several. They are near the logistic regressions on the pairs of people that linking had not merged in 77 runs on
/// eleven labelled clips and their copies: 2,900 pairs with one embedder, 40 of them one person, and 3,200 with two, 102 of
/// them one person. One embedder has little to add to its own evidence: on clips left out, no pair reaches [`LEAST`].
const BY_ONE: [f64; 3] = [0.6, 18.0, -0.3];
const BY_SEVERAL: [f64; 3] = [1.8, 27.0, 3.3];
/// Where a cosine is even, as a share of the way from that of two people to that of one person, of clear faces. For SFace,
/// this is 0.365; its makers publish 0.363.
const EVEN: f64 = 0.4;
/// Smallest probability of one person.
const LEAST: f64 = 0.75;
/// The same of a single poor track and a person of several tracks: a poor track is worth little as a person of its own, and
/// a wrong one is a smaller error than two people who are merged. From 0.6 to 0.7, B³ is equal within 0.001 on copies of
/// eleven labelled clips, also with coefficients from the other clips.
const LEAST_OF_POOR: f64 = 0.65;
/// Probability of one person from which a single poor track founds no person. In 77 runs on eleven labelled clips and their
/// copies, with one embedder and with two, this leaves out 24 of 335 such tracks: 1 and 1 of a person with other tracks, 10
/// and 7 that show no known person, and 1 and 4 that are the only track of a person, all in one clip.
const PERHAPS: f64 = 0.3;
/// Number of people up to which the regression holds as it is: about as many as in the clips with most such pairs. With
/// more people, pairs of two people grow as the square of their number, pairs of one person as the number.
const PEOPLE: f64 = 20.0;

/// Vectors of tracks as all embedders see them.
#[derive(Debug, Clone)]
pub(super) struct Faces {
    /// Unit vectors of all embedders, one after the other; zeros for a track without a vector.
    vectors: Vectors,
    /// Columns of each embedder.
    columns: Vec<Range<usize>>,
    /// Mean over the embedders of the cosine from which two people more likely are one.
    even: f64,
}

impl Faces {
    /// By the quality tables of the embedders, of which `table` is the first one's.
    pub(super) fn new(items: &Items<'_>, table: &Quality) -> Self {
        let dim = |vector: Option<&&[f32]>| vector.map_or(0, |vector| vector.len());
        let dims =
            items.views().iter().map(|view| dim(view.seen.iter().flatten().map(|(vector, _)| vector).next()));
        let mut columns = Vec::new();
        for dim in [dim(items.vectors().first())].into_iter().chain(dims) {
            let start = columns.last().map_or(0, |last: &Range<usize>| last.end);
            columns.push(start..start + dim);
        }
        let width = columns.last().map_or(0, |last| last.end).max(1);
        let mut values = vec![0.0; items.len() * width];
        for (item, row) in values.chunks_mut(width).enumerate() {
            let further = items.views().iter().map(|view| view.seen[item].map(|(vector, _)| vector));
            for (columns, vector) in
                columns.iter().zip([Some(items.vectors()[item])].into_iter().chain(further))
            {
                vector.into_iter().for_each(|vector| row[columns.clone()].copy_from_slice(vector));
            }
        }
        let tables = items.views().iter().map(|view| view.quality);
        let even = [table].into_iter().chain(tables).map(even).sum::<f64>() / columns.len() as f64;
        Self { vectors: Vectors::trusted(width, values), columns, even }
    }

    /// Whether there are several embedders.
    pub(super) fn has_several_views(&self) -> bool {
        self.columns.len() > 1
    }

    /// Mean vectors of clusters, so that the inner product of two is the mean of their cosines by each embedder.
    pub(super) fn means(&self, members: &[Vec<usize>]) -> Vectors {
        let width = self.vectors.dim();
        let scale = 1.0 / (self.columns.len() as f32).sqrt();
        let mut means = vec![0.0; members.len() * width];
        for (members, mean) in members.iter().zip(means.chunks_mut(width)) {
            let mut sum = vec![0.0; width];
            for track in members {
                sum.iter_mut().zip(self.vectors.row(*track)).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            for columns in &self.columns {
                let unit = direction(&sum[columns.clone()], 1e-9).unwrap_or_default();
                mean[columns.clone()].iter_mut().zip(unit).for_each(|(mean, x)| *mean = scale * x);
            }
        }
        Vectors::trusted(width, means)
    }

    /// Log odds that two people that linking left apart are one person. `odds` are the log odds of linking, clothes
    /// included; `means` are the [`Self::means`] of the people.
    pub(super) fn same_person_given_apart(&self, odds: f64, means: &Vectors, a: usize, b: usize) -> f64 {
        let [factor, per_cosine, at_even] = if self.has_several_views() { BY_SEVERAL } else { BY_ONE };
        let damped = odds.signum() * DAMPED_FROM * (odds.abs() / DAMPED_FROM).ln_1p();
        factor * damped + per_cosine * (f64::from(dot(means.row(a), means.row(b))) - self.even) + at_even
    }
}

/// Cosine from which two people with clear faces more likely are one, by the quality table of an embedder: that of two people
/// is `|mean|²`, that of one person `a²β` more, with the largest gain `a`.
fn even(table: &Quality) -> f64 {
    let mean: f64 = table.mean.iter().map(|x| f64::from(*x).powi(2)).sum();
    let gain = table.gain.iter().copied().fold(0.0, f64::max);
    mean + EVEN * gain * gain * table.person_variance
}

fn log_odds(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}

/// The tracks of each of `count` clusters.
pub(super) fn members(labels: &[usize], count: usize) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); count];
    labels.iter().enumerate().for_each(|(track, label)| members[*label].push(track));
    members
}

/// What a second look needs.
#[derive(Debug, Clone)]
pub(super) struct SecondLook {
    pub(super) faces: Faces,
    /// How clear each track is.
    pub(super) clarity: Vec<Clarity>,
}

/// How clear a track is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clarity {
    /// Clear to at least one embedder.
    Clear,
    /// Clear to no embedder. The track can be a person of its own.
    Poor,
    /// Much less clear than others: the track founds no person. It joins a person of several tracks, or is noise.
    Unclear,
}

/// What a second look found, for each track.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Looked {
    /// Probability that the second look put the track to the right person; 1 for tracks that did not move.
    pub(super) right: Vec<f64>,
    /// Whether the track is a single poor one that may be another person: see [`PERHAPS`].
    pub(super) is_undecided: Vec<bool>,
}

impl SecondLook {
    /// Merges clusters that are one person with a sufficient probability; `stop` are the log odds at which linking stopped.
    pub(super) fn merge(&self, clusters: &mut Clusters<'_>, stop: f64, search: Search) -> Looked {
        let mut right = vec![1.0; self.clarity.len()];
        let mut pairs: Vec<(f64, usize, usize)> = Vec::new();
        // Clusters that were merged since the last search.
        let mut fresh: Vec<u32> = (0..clusters.len() as u32).collect();
        loop {
            let members = members(clusters.labels(), clusters.len());
            pairs.extend(self.pairs(clusters, &members, &fresh, search));
            pairs.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
            let n_people = members.iter().filter(|members| self.clarity(members) != Clarity::Unclear).count();
            let crowd = (n_people as f64 / PEOPLE).ln().max(0.0);
            let reaches = |odds: f64, probability: f64| odds - crowd >= stop + log_odds(probability);
            let mut is_merged = vec![false; members.len()];
            for &(odds, a, b) in &pairs {
                let least = self.least(&members[a], &members[b]);
                let is_one = least.is_some_and(|least| reaches(odds, least));
                if !is_one || is_merged[a] || is_merged[b] {
                    continue;
                }
                (is_merged[a], is_merged[b]) = (true, true);
                let (into, from) = if members[b].len() > members[a].len() { (b, a) } else { (a, b) };
                for track in &members[from] {
                    clusters.put(*track, into);
                    right[*track] *= 1.0 / (1.0 + (crowd - odds).exp());
                }
            }
            if !is_merged.contains(&true) {
                let mut is_undecided = vec![false; right.len()];
                for (_, a, b) in pairs.iter().filter(|(odds, ..)| reaches(*odds, PERHAPS)) {
                    for (one, other) in [(a, b), (b, a)] {
                        if self.clarity(&members[*one]) == Clarity::Poor && members[*other].len() > 1 {
                            is_undecided[members[*one][0]] = true;
                        }
                    }
                }
                return Looked { right, is_undecided };
            }
            let numbers = clusters.forget_empty();
            pairs.retain(|(_, a, b)| !is_merged[*a] && !is_merged[*b]);
            for (_, a, b) in &mut pairs {
                let (x, y) = (numbers[*a].unwrap_or(*a), numbers[*b].unwrap_or(*b));
                (*a, *b) = (x.min(y), x.max(y));
            }
            let merged = (0..is_merged.len()).filter(|label| is_merged[*label]);
            fresh = merged.filter_map(|label| Some(numbers[label]? as u32)).collect();
            fresh.sort_unstable();
        }
    }

    /// Returns how clear a cluster is: of a single track the clarity of the track.
    fn clarity(&self, members: &[usize]) -> Clarity {
        match members {
            [track] => self.clarity[*track],
            _ => Clarity::Clear,
        }
    }

    /// Returns the smallest probability with which two clusters, given by their tracks, are merged; `None` if one of them
    /// is no person and the other is no person of several tracks.
    fn least(&self, a: &[usize], b: &[usize]) -> Option<f64> {
        let (a_is, b_is) = (self.clarity(a), self.clarity(b));
        match (a.len() > 1) != (b.len() > 1) && (a_is, b_is) != (Clarity::Clear, Clarity::Clear) {
            true => Some(LEAST_OF_POOR),
            false => (a_is != Clarity::Unclear && b_is != Clarity::Unclear).then_some(LEAST),
        }
    }

    /// Returns pairs of a cluster of `fresh` and another one with near mean vectors that no constraint keeps apart, each with
    /// the log odds of one person among few people.
    fn pairs(
        &self,
        clusters: &Clusters<'_>,
        members: &[Vec<usize>],
        fresh: &[u32],
        search: Search,
    ) -> Vec<(f64, usize, usize)> {
        let means = self.faces.means(members);
        let labels: Vec<u32> = (0..members.len() as u32).collect();
        let (among, of) = (Rows { of: &means, rows: &labels }, Rows { of: &means, rows: fresh });
        let itself = |a: u32, b: u32| if a == b { f32::INFINITY } else { 0.0 };
        let found = neighbours::nearest(among, of, f32::MIN, itself, &search, &mut |_| ());
        let mut near: Vec<(usize, usize)> = found
            .edges
            .iter()
            .map(|edge| (edge.a.min(edge.b) as usize, edge.a.max(edge.b) as usize))
            .collect();
        near.sort_unstable();
        near.dedup();
        let clothes = clusters.clothes_between();
        let odds = |(a, b): (usize, usize)| {
            let linked = clusters.merge_gain(a, b) + clothes.get(&(a, b)).map_or(0.0, |mean| mean.value());
            (self.faces.same_person_given_apart(linked, &means, a, b), a, b)
        };
        let is_free = |(a, b): &(usize, usize)| !members[*a].iter().any(|track| clusters.forbids(*track, *b));
        near.into_iter().filter(is_free).map(odds).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::method::FurtherView;

    /// Two tracks; the second embedder has no vector of a third.
    #[test]
    fn the_cosine_is_the_mean_over_embedders() {
        let (x, y, wide) = ([1.0, 0.0], [0.6, 0.8], [0.0, 0.6, 0.8]);
        let table = |mean: Vec<f32>| Quality {
            centre_norm: 9.0,
            slope: mean.clone(),
            mean,
            norms: vec![5.0, 12.0],
            gain: vec![0.5, 1.0],
            noise: vec![0.8, 0.4],
            person_variance: 0.5,
            evidence_dim: 2.0,
        };
        let (first, second) = (table(vec![0.3, 0.4]), table(vec![0.0, 0.0, 0.1]));
        let one = Items::new(vec![&x, &y, &x], Vec::new()).unwrap();
        let seen = vec![Some((wide.as_slice(), 9.0)), Some((wide.as_slice(), 9.0)), None];
        let two = one.clone().with_views(vec![FurtherView { quality: &second, seen }]).unwrap();
        let alone = [vec![0], vec![1], vec![2]];
        let (faces, both) = (Faces::new(&one, &first), Faces::new(&two, &first));
        // |mean|² + 0.4 · 1² · 0.5
        assert!((faces.even - 0.45).abs() < 1e-6 && (both.even - (0.45 + 0.21) / 2.0).abs() < 1e-6);
        let of = |faces: &Faces, a, b| faces.same_person_given_apart(0.0, &faces.means(&alone), a, b);
        assert!((of(&faces, 0, 1) - (18.0 * (0.6 - 0.45) - 0.3)).abs() < 1e-4);
        assert!((of(&both, 0, 1) - (27.0 * (0.8 - 0.33) + 3.3)).abs() < 1e-4);
        assert!(
            (of(&both, 0, 2) - (27.0 * (0.5 - 0.33) + 3.3)).abs() < 1e-4,
            "nothing seen is nothing similar"
        );
        let means = both.means(&[vec![0, 1], vec![2]]);
        assert!(
            (dot(means.row(0), means.row(1)) - 0.5 * 0.8_f32.sqrt()).abs() < 1e-6,
            "half of the cosine of x"
        );
    }
}
