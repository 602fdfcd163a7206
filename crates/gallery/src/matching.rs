//! Matches the identities of a run to the known people.
//!
//! People are compared by the cosine of their mean vectors. If the usual similarity of different people is
//! known, the component common to all vectors is subtracted first. The similarities of a stranger to the
//! known people are then about normally distributed, however many tracks a mean has; so the largest of them
//! rises with the number of people. The embedder defines the threshold for *one* pair. With n known people
//! the threshold is raised so that a stranger is matched to any of them as rarely as to one: the tail of the
//! normal distribution, about exp(−z²/2), times n. The width of the distribution is estimated from the pairs
//! of different people, with a prior for few pairs.

use std::collections::HashSet;

use crate::evidence::Measure;
use numeric::law::{COMMON_PRIOR, DIFFERENT_PAIRS, DIFFERENT_SD, SFACE_SAME_UP_TO};
use pulp::{Arch, Simd, WithSimd};
use schema::footer::Embedder;

/// Pairs that are more similar than the mean by so many standard deviations are taken for pairs of one person when the
/// width of the distribution is measured; of different people, 0.1 % are.
pub(crate) const TRIMMED: f64 = 3.0;
/// Number of times that the width is measured, each time without the pairs above the last limit.
const TRIMS: usize = 4;
/// Largest number of vectors whose pairs determine how similar different people are.
const SAMPLE: usize = 1000;
/// Number of vectors that are compared with one vector at a time.
const SIDE_BY_SIDE: usize = 32;

/// Similarities of people for an embedder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Similarity threshold for a pair of one person.
    same_from: f64,
    /// Mean similarity of different people after what all have in common is taken off, where it is known.
    different: Option<f64>,
}

impl Scale {
    /// Of an embedder without a law.
    #[cfg(test)]
    pub(crate) const RAW: Self = Self { same_from: 0.5, different: None };

    /// From the footer of the vectors of a run.
    pub fn of(embedder: &Embedder) -> Self {
        Self {
            same_from: 1.0 - embedder.same_up_to.unwrap_or(SFACE_SAME_UP_TO),
            different: embedder.similarity.map(|similarity| similarity.different),
        }
    }

    /// What all vectors have in common, which is subtracted before they are compared; empty if nothing is.
    pub(crate) fn common(&self, known: &[&[f32]], seen: &[&[f32]]) -> Vec<f32> {
        self.different.map_or(Vec::new(), |_| common(known, seen))
    }

    /// Similarity that it takes to be one of `n` people, from 1, whose pairs with others are `similarities`.
    pub(crate) fn threshold(&self, n: usize, similarities: &[Vec<f64>]) -> f64 {
        let Some(strangers) = self.strangers(n, similarities) else { return self.same_from };
        strangers.mean + strangers.deviations * strangers.sd
    }

    /// How clusters of `n` people of videos are compared, whose pairs are `similarities`.
    pub(crate) fn measure(&self, n: usize, similarities: &[Vec<f64>]) -> Measure {
        match self.strangers(n, similarities) {
            Some(strangers) => {
                // Pairs of one person are among them, and few of them would widen the distribution.
                let (mut mean, mut sd) = (strangers.mean, strangers.sd);
                for _ in 0..TRIMS {
                    let most = mean + TRIMMED * sd;
                    (mean, sd) = within(similarities, most, strangers.mean);
                }
                Measure::evidence(sd)
            }
            None => Measure::Cosine { threshold: self.same_from },
        }
    }

    /// The similarities of different people among `n` people, from 1, whose pairs are `similarities`; `None` where
    /// nothing is known of them.
    pub(crate) fn strangers(&self, n: usize, similarities: &[Vec<f64>]) -> Option<Strangers> {
        let different = self.different?;
        let gap = (self.same_from - different) / DIFFERENT_SD;
        let deviations = (gap * gap + 2.0 * (n.max(1) as f64).ln()).sqrt();
        // Pairs of one person would be taken for a wide distribution.
        let most = different + deviations * DIFFERENT_SD;
        let (mean, sd) = within(similarities, most, different);
        Some(Strangers { mean, sd, deviations })
    }
}

/// Mean and standard deviation of the similarities below a limit, with the prior
/// for different people around `centre`.
fn within(similarities: &[Vec<f64>], most: f64, centre: f64) -> (f64, f64) {
    let (mut count, mut sum) = (DIFFERENT_PAIRS, DIFFERENT_PAIRS * centre);
    let mut squares = DIFFERENT_PAIRS * DIFFERENT_SD * DIFFERENT_SD;
    for similarity in similarities.iter().flatten().filter(|similarity| **similarity < most) {
        count += 1.0;
        sum += similarity;
        squares += (similarity - centre).powi(2);
    }
    let mean = sum / count;
    (mean, (squares / count - (mean - centre).powi(2)).max(0.0).sqrt())
}

/// Distribution of the similarities of different people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Strangers {
    pub(crate) mean: f64,
    pub(crate) sd: f64,
    /// Number of standard deviations from the mean to the threshold.
    deviations: f64,
}

/// Match of an identity to a known person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Index of the known person, and similarity; `None` for a new person.
    pub known: Option<(usize, f64)>,
    /// Most similar known person who is not matched to another identity of the video.
    pub runner_up: Option<(usize, f64)>,
    /// Similarity threshold; `None` if no person was known.
    pub threshold: Option<f64>,
}

impl Match {
    /// Distance of the similarity from the other decision; `None` if there is none.
    pub fn margin(&self) -> Option<f64> {
        let (threshold, next) = (self.threshold?, self.runner_up.map(|(_, similarity)| similarity));
        match self.known {
            Some((_, own)) => Some(own - next.map_or(threshold, |next| next.max(threshold))),
            None => next.map(|next| threshold - next),
        }
    }
}

/// Matches each of `identities` to at most one of `known`, and no two to the same person, most similar pair
/// first. Vectors have unit norm and one length.
pub fn find(scale: &Scale, known: &[&[f32]], seen: &[&[f32]]) -> Vec<Match> {
    if known.is_empty() {
        return vec![Match { known: None, runner_up: None, threshold: None }; seen.len()];
    }
    let similarities = similarities(scale, known, seen);
    let threshold = scale.threshold(known.len(), &similarities);
    let found = one_to_one(&similarities, threshold);
    let taken: HashSet<usize> = found.iter().copied().flatten().collect();
    let row = |(row, found): (&Vec<f64>, &Option<usize>)| {
        let free = row.iter().copied().enumerate().filter(|(at, _)| !taken.contains(at));
        let runner_up = free.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        Match { known: found.map(|at| (at, row[at])), runner_up, threshold: Some(threshold) }
    };
    similarities.iter().zip(&found).map(row).collect()
}

/// Greedy matching of pairs above the threshold, most similar pair first. Among equals the pair with the
/// smaller indices comes first.
fn one_to_one(similarities: &[Vec<f64>], threshold: f64) -> Vec<Option<usize>> {
    let mut pairs = Vec::new();
    for (seen, row) in similarities.iter().enumerate() {
        let similar = row.iter().enumerate().filter(|(_, similarity)| **similarity >= threshold);
        pairs.extend(similar.map(|(known, similarity)| (*similarity, seen, known)));
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut found = vec![None; similarities.len()];
    let mut taken = HashSet::new();
    for (_, seen, known) in pairs {
        if found[seen].is_none() && taken.insert(known) {
            found[seen] = Some(known);
        }
    }
    found
}

/// Indices of an evenly spaced sample of `n` vectors.
pub(crate) fn evenly(n: usize) -> impl Iterator<Item = usize> {
    (0..n).step_by(n.div_ceil(SAMPLE).max(1))
}

/// Similarities of the pairs that `counts` allows among an evenly spaced sample of `n` vectors, of unit norm.
pub(crate) fn sample<'a>(
    n: usize,
    vector: impl Fn(usize) -> &'a [f32],
    counts: impl Fn(usize, usize) -> bool,
) -> Vec<Vec<f64>> {
    let some: Vec<usize> = evenly(n).collect();
    let row = |(at, a): (usize, &usize)| {
        let others = some[..at].iter().filter(|b| counts(**b, *a));
        others.map(|b| f64::from(numeric::vector::dot_in_lanes(vector(*a), vector(*b)))).collect()
    };
    some.iter().enumerate().map(row).collect()
}

/// Similarities of each of `seen` with each of `known`, after what all have in common is taken off if the scale says
/// so.
pub(crate) fn similarities(scale: &Scale, known: &[&[f32]], seen: &[&[f32]]) -> Vec<Vec<f64>> {
    let common = scale.common(known, seen);
    Arch::new().dispatch(Comparison { known, seen, common: &common })
}

/// Similarities of each of `seen` with each of `known`: the only work that is done for every known person, so it
/// determines the cost of a large library.
struct Comparison<'a> {
    known: &'a [&'a [f32]],
    seen: &'a [&'a [f32]],
    common: &'a [f32],
}

impl WithSimd for Comparison<'_> {
    type Output = Vec<Vec<f64>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let mut rest = Vec::new();
        // Number by number, those of several vectors side by side.
        let block = |seen: &[&[f32]]| {
            let mut columns = vec![[0.0_f32; SIDE_BY_SIDE]; seen[0].len()];
            for (place, vector) in seen.iter().enumerate() {
                without(vector, self.common, &mut rest);
                columns.iter_mut().zip(&rest).for_each(|(column, x)| column[place] = *x);
            }
            columns
        };
        let blocks: Vec<_> = self.seen.chunks(SIDE_BY_SIDE).map(block).collect();
        let mut rows = vec![Vec::with_capacity(self.known.len()); self.seen.len()];
        for known in self.known {
            without(known, self.common, &mut rest);
            for (columns, rows) in blocks.iter().zip(rows.chunks_mut(SIDE_BY_SIDE)) {
                let products = products(columns, &rest);
                rows.iter_mut().zip(products).for_each(|(row, product)| row.push(f64::from(product)));
            }
        }
        rows
    }
}

/// Inner products of a vector with all that stand side by side. Each is one sum in order, so that it does not
/// depend on how many a processor computes at once.
#[inline(always)]
fn products(columns: &[[f32; SIDE_BY_SIDE]], vector: &[f32]) -> [f32; SIDE_BY_SIDE] {
    let mut sums = [0.0; SIDE_BY_SIDE];
    for (column, x) in columns.iter().zip(vector) {
        for lane in 0..SIDE_BY_SIDE {
            sums[lane] += column[lane] * x;
        }
    }
    sums
}

/// What all vectors have in common: their mean, shrunk where there are few.
fn common(known: &[&[f32]], seen: &[&[f32]]) -> Vec<f32> {
    let all = || known.iter().chain(seen);
    let mut sum = vec![0.0_f64; all().next().map_or(0, |vector| vector.len())];
    for vector in all() {
        sum.iter_mut().zip(*vector).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let count = (known.len() + seen.len()) as f64 + 1.0 / COMMON_PRIOR;
    sum.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// Vectors without what is common, of unit length, one after the other.
pub(crate) fn centred(vectors: &[&[f32]], common: &[f32]) -> Vec<f32> {
    let mut values = Vec::with_capacity(vectors.iter().map(|vector| vector.len()).sum());
    let mut rest = Vec::new();
    for vector in vectors {
        without(vector, common, &mut rest);
        values.extend_from_slice(&rest);
    }
    values
}

/// A vector without what is common, of unit length; what it was, where nothing would be left.
#[inline(always)]
fn without(vector: &[f32], common: &[f32], rest: &mut Vec<f32>) {
    rest.clear();
    rest.extend_from_slice(vector);
    rest.iter_mut().zip(common).for_each(|(x, common)| *x -= common);
    let length = squares(rest).sqrt();
    if length < 1e-3 {
        rest.copy_from_slice(vector);
    } else {
        rest.iter_mut().for_each(|x| *x /= length);
    }
}

/// Sum of squares, in an order that many lanes can share.
#[inline(always)]
fn squares(vector: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 16];
    for some in vector.chunks(16) {
        lanes.iter_mut().zip(some).for_each(|(lane, x)| *lane += x * x);
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schema::footer::Similarity;

    use super::*;

    const RAW: Scale = Scale::RAW;

    /// Unit vectors at these angles, degrees.
    fn at(degrees: &[f32]) -> Vec<[f32; 2]> {
        degrees.iter().map(|angle| [angle.to_radians().cos(), angle.to_radians().sin()]).collect()
    }

    fn found(known: &[f32], seen: &[f32]) -> Vec<Match> {
        let (known, seen) = (at(known), at(seen));
        let slices = |of: &'_ [[f32; 2]]| of.iter().map(|v| v.to_vec()).collect::<Vec<_>>();
        let (known, seen) = (slices(&known), slices(&seen));
        let known: Vec<_> = known.iter().map(Vec::as_slice).collect();
        find(&RAW, &known, &seen.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn places(known: &[f32], seen: &[f32]) -> Vec<Option<usize>> {
        found(known, seen).iter().map(|found| found.known.map(|(at, _)| at)).collect()
    }

    #[test]
    fn a_person_is_the_most_similar_one_or_new() {
        assert_eq!(places(&[0.0, 90.0], &[80.0, 10.0, 200.0]), [Some(1), Some(0), None]);
        assert_eq!(places(&[], &[80.0]), [None]);
        assert_eq!(places(&[80.0], &[]), []);
    }

    #[test]
    fn two_of_a_video_are_never_one_person() {
        assert_eq!(places(&[0.0], &[20.0, 10.0]), [None, Some(0)]);
        // The second best is good enough for who comes second.
        assert_eq!(places(&[0.0, -30.0], &[20.0, 10.0]), [Some(1), Some(0)]);
    }

    #[test]
    fn margins_say_how_far_another_decision_was() {
        let cos = |degrees: f64| degrees.to_radians().cos();
        let margins: Vec<_> = found(&[0.0, 90.0], &[10.0, 40.0, 220.0]).iter().map(Match::margin).collect();
        let expected = [cos(10.0) - 0.5, cos(50.0) - 0.5, 0.5 - f64::from(-0.64279_f32)];
        // 10° is the first; 40° then is nearest to the second, which no other person takes.
        for (margin, expected) in margins.iter().zip(expected).take(2) {
            assert!((margin.unwrap_or(9.0) - expected).abs() < 1e-6, "{margins:?}");
        }
        assert_eq!(margins[2], None, "both known people are taken");
        assert_eq!(found(&[], &[0.0])[0].margin(), None);
    }

    #[test]
    fn the_threshold_rises_with_the_number_of_people() {
        let embedder = |similarity| Embedder {
            name: "e".into(),
            dim: 2,
            weights_sha256: String::new(),
            license: String::new(),
            same_up_to: Some(SFACE_SAME_UP_TO),
            similarity,
            quality: None,
        };
        let known = Scale::of(&embedder(Some(Similarity { different: 0.06, same: 0.35 })));
        assert!((known.threshold(1, &[]) - 0.363).abs() < 1e-12);
        assert!(known.threshold(10, &[]) > 0.4 && known.threshold(10_000, &[]) < 0.7);
        let unknown = Scale::of(&embedder(None));
        assert!((unknown.threshold(10_000, &[]) - 0.363).abs() < 1e-12);
        // Pairs of different people that are less similar than expected ask for less; those of one person for
        // nothing.
        let narrow: Vec<f64> = (0..100_000).map(|i| if i % 2 == 0 { 0.01 } else { 0.11 }).collect();
        let threshold = known.threshold(100, std::slice::from_ref(&narrow));
        assert!(threshold < known.threshold(100, &[]) - 0.2, "{threshold}");
        let with_same = [narrow, vec![0.9; 10_000]];
        assert!((known.threshold(100, &with_same) - threshold).abs() < 1e-12);
    }

    /// A common offset makes all vectors similar until it is subtracted.
    #[test]
    fn what_all_have_in_common_counts_for_nothing() {
        let lit = |person: usize| {
            let mut vector = vec![0.0; 102];
            (vector[person], vector[101]) = (0.6, 0.8);
            vector
        };
        let vectors: Vec<_> = (0..101).map(lit).collect();
        let slices: Vec<_> = vectors.iter().map(Vec::as_slice).collect();
        let (seen, known) = slices.split_at(1);
        let scale = Scale { same_from: 0.363, different: Some(0.06) };
        assert_eq!(find(&scale, known, seen)[0].known, None);
        assert!(find(&RAW, known, seen)[0].known.is_some(), "0.64 similar by their light");
        assert_eq!(find(&scale, &slices, seen)[0].known.map(|(at, _)| at), Some(0));
    }

    proptest! {
        /// As the slow way: look for the best pair again and again.
        #[test]
        fn the_most_similar_pairs_are_taken_first(
            known in prop::collection::vec(-180.0..180.0_f32, 0..6),
            seen in prop::collection::vec(-180.0..180.0_f32, 0..6),
        ) {
            let found = found(&known, &seen);
            let similarity = |a: &f32, b: &f32| f64::from((a - b).to_radians().cos());
            let (mut left_known, mut left_seen): (Vec<_>, Vec<_>) = ((0..known.len()).collect(), (0..seen.len()).collect());
            let mut expected = vec![None; seen.len()];
            loop {
                let mut best: Option<(f64, usize, usize)> = None;
                for s in &left_seen {
                    for k in &left_known {
                        let similar = similarity(&seen[*s], &known[*k]);
                        if similar >= 0.5 && best.is_none_or(|best| similar > best.0) {
                            best = Some((similar, *s, *k));
                        }
                    }
                }
                let Some((_, s, k)) = best else { break };
                expected[s] = Some(k);
                left_seen.retain(|other| *other != s);
                left_known.retain(|other| *other != k);
            }
            let places: Vec<_> = found.iter().map(|found| found.known.map(|(at, _)| at)).collect();
            prop_assert_eq!(places, expected);
            prop_assert!(found.iter().filter_map(Match::margin).all(|margin| margin >= 0.0));
        }
    }
}
