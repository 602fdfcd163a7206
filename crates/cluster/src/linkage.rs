//! Agglomerative clustering under constraints.

use numeric::merges::Merges;
use numeric::vector::cosine_distance;
use serde::{Deserialize, Serialize};

/// Added to the height of a merge that a constraint forbids: no less than any distance of unit vectors,
/// so such merges come after all others, and a cut below never goes against a constraint. Ward's
/// heights may be larger: see [`Linkage::forbidden`].
pub const FORBIDDEN: f64 = 2.0;

/// Distance of two vectors of unit length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// `1 − cosine`, 0 to 2.
    #[default]
    Cosine,
    /// Length of the difference, 0 to 2: the square root of twice the cosine distance.
    Euclidean,
}

impl Metric {
    /// Distance of two unit vectors of one length, 0 to 2.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::Cosine => cosine_distance(a, b),
            Self::Euclidean => {
                let squares = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
                squares.sum::<f64>().sqrt()
            }
        }
    }
}

/// Distance of two clusters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Linkage {
    /// The mean over all pairs.
    #[default]
    Average,
    /// The farthest pair.
    Complete,
    /// The nearest pair.
    Single,
    /// The root of twice what the sum of squared distances to the means grows by in the merge. Defined
    /// for Euclidean distances only (Ward, JASA 1963).
    Ward,
}

impl Linkage {
    /// What a constraint adds to the height of a merge of `n` unit vectors: no less than any height
    /// without it.
    pub fn forbidden(self, n: usize) -> f64 {
        match self {
            Self::Average | Self::Complete | Self::Single => FORBIDDEN,
            // Two halves at opposite ends: √(2·|A|·|B| / (|A| + |B|)) · 2.
            Self::Ward => (2.0 * n as f64).sqrt().max(FORBIDDEN),
        }
    }

    /// Distance of the union of `a` and `b` from a third cluster (Lance and Williams, The Computer
    /// Journal 1967). `sizes` are those of the three, `between` is the distance of `a` and `b`.
    fn of_union(self, a: f64, b: f64, sizes: [usize; 3], between: f64) -> f64 {
        let [n_a, n_b, n_c] = sizes.map(|size| size as f64);
        let distance = match self {
            Self::Average => (n_a * a + n_b * b) / (n_a + n_b),
            Self::Complete => a.max(b),
            Self::Single => a.min(b),
            Self::Ward => {
                let squares = (n_a + n_c) * a * a + (n_b + n_c) * b * b - n_c * between * between;
                (squares / (n_a + n_b + n_c)).max(0.0).sqrt()
            }
        };
        // So it is without constraints, but for rounding. Ward's merges against a constraint come late,
        // and are not to draw others nearer: chains would not end.
        distance.max(a.min(b))
    }
}

/// Distances between n items and which pairs cannot be linked, as condensed upper triangles.
#[derive(Debug, Clone)]
pub struct Pairs {
    n: usize,
    distance: Vec<f64>,
    forbidden: Vec<bool>,
}

impl Pairs {
    /// Distances between unit vectors of one length; nothing is forbidden yet.
    pub fn of(vectors: &[&[f32]], metric: Metric) -> Self {
        let n = vectors.len();
        let mut distance = Vec::with_capacity(n * n.saturating_sub(1) / 2);
        for (i, a) in vectors.iter().enumerate() {
            distance.extend(vectors[i + 1..].iter().map(|b| metric.distance(a, b)));
        }
        Self { n, forbidden: vec![false; distance.len()], distance }
    }

    /// Marks two items as not to be linked.
    pub fn forbid(&mut self, a: usize, b: usize) {
        let at = self.at(a, b);
        self.forbidden[at] = true;
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Distance of two different items.
    pub fn distance(&self, a: usize, b: usize) -> f64 {
        self.distance[self.at(a, b)]
    }

    /// Whether two different items cannot be linked.
    pub fn is_forbidden(&self, a: usize, b: usize) -> bool {
        self.forbidden[self.at(a, b)]
    }

    /// Whether any two items cannot be linked.
    pub fn has_forbidden(&self) -> bool {
        self.forbidden.contains(&true)
    }

    /// Some of the items, as pairs of their own.
    pub fn among(&self, items: &[usize]) -> Self {
        let places =
            items.iter().enumerate().flat_map(|(i, a)| items[i + 1..].iter().map(|b| self.at(*a, *b)));
        let (distance, forbidden) = places.map(|at| (self.distance[at], self.forbidden[at])).unzip();
        Self { n: items.len(), distance, forbidden }
    }

    fn at(&self, a: usize, b: usize) -> usize {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        low * self.n - low * (low + 1) / 2 + high - low - 1
    }

    fn height(&self, a: usize, b: usize, forbidden: f64) -> f64 {
        let at = self.at(a, b);
        self.distance[at] + if self.forbidden[at] { forbidden } else { 0.0 }
    }
}

/// One merge, in SciPy's convention: items are 0..n, the i-th merge makes node n + i.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Merge {
    /// The smaller node.
    pub left: usize,
    /// The larger node.
    pub right: usize,
    /// Distance of the two nodes, plus [`Linkage::forbidden`] when a pair of their items cannot be
    /// linked. Never falls from one merge to the next.
    pub height: f64,
    /// Items under the new node.
    pub size: usize,
}

/// The whole dendrogram, n − 1 merges. For [`Linkage::Ward`] distances must be Euclidean.
///
/// Nearest-neighbour chains (Murtagh, The Computer Journal 1983; Müllner, arXiv 1109.2378): these
/// linkages are reducible, and stay so with [`Linkage::forbidden`] added, since a union cannot
/// be linked with whatever one of its parts cannot be linked with. Time O(n²), ties go to the smaller item.
pub fn linkage(mut pairs: Pairs, linkage: Linkage) -> Vec<Merge> {
    let n = pairs.len();
    let forbidden = linkage.forbidden(n);
    let mut size = vec![1_usize; n];
    let mut active: Vec<usize> = (0..n).collect();
    let mut chain: Vec<usize> = Vec::new();
    let mut merges = Vec::with_capacity(n.saturating_sub(1));
    while active.len() > 1 {
        if chain.is_empty() {
            chain.push(active[0]);
        }
        let (top, below) = (chain[chain.len() - 1], chain.len().checked_sub(2).map(|i| chain[i]));
        let nearest = nearest(&pairs, &active, top, below, forbidden);
        if Some(nearest) != below {
            chain.push(nearest);
            continue;
        }
        chain.truncate(chain.len() - 2);
        let (kept, gone) = (top.min(nearest), top.max(nearest));
        merges.push((kept, gone, pairs.height(kept, gone, forbidden)));
        active.retain(|item| *item != gone);
        let between = pairs.distance(kept, gone);
        for other in active.iter().copied().filter(|other| *other != kept) {
            let (into, from) = (pairs.at(kept, other), pairs.at(gone, other));
            let sizes = [size[kept], size[gone], size[other]];
            pairs.distance[into] =
                linkage.of_union(pairs.distance[into], pairs.distance[from], sizes, between);
            pairs.forbidden[into] |= pairs.forbidden[from];
        }
        size[kept] += size[gone];
    }
    numbered(n, merges)
}

/// The active item nearest to `item`; on a tie the one `below` it in the chain, so that chains end.
fn nearest(pairs: &Pairs, active: &[usize], item: usize, below: Option<usize>, forbidden: f64) -> usize {
    let height = |other: usize| pairs.height(item, other, forbidden);
    let mut best = below.map_or((f64::INFINITY, item), |below| (height(below), below));
    for other in active.iter().copied().filter(|other| *other != item) {
        let height = height(other);
        if height < best.0 {
            best = (height, other);
        }
    }
    best.1
}

/// Orders merges of sets, each given by one of its items, by height and gives nodes their numbers.
pub fn numbered(n: usize, mut merges: Vec<(usize, usize, f64)>) -> Vec<Merge> {
    merges.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut sets = Merges::new(n);
    let mut size = vec![1_usize; n];
    let mut highest = 0.0_f64;
    let mut out = Vec::with_capacity(merges.len());
    for (a, b, height) in merges {
        let (a, b) = (sets.root(a as u32), sets.root(b as u32));
        sets.merge(a, b);
        // Rounding may put a parent a hair below its child.
        highest = highest.max(height);
        let (left, right) = (a.min(b) as usize, a.max(b) as usize);
        size.push(size[left] + size[right]);
        out.push(Merge { left, right, height: highest, size: size[left] + size[right] });
    }
    out
}

/// Cluster of each of `n` items when merges up to `threshold` are made; clusters are numbered by
/// their first item.
pub fn cut(n: usize, merges: &[Merge], threshold: f64) -> Vec<usize> {
    let mut sets = Merges::new(n);
    for merge in merges.iter().take_while(|merge| merge.height <= threshold) {
        sets.merge(merge.left as u32, merge.right as u32);
    }
    sets.labels(n)
}

/// Largest number of items for which other thresholds are tried.
const MOST_CUT: usize = 2000;
/// Steps from the cut of a run, in merges.
const CUT_STEPS: [usize; 13] = [1, 2, 3, 4, 6, 8, 12, 16, 32, 64, 128, 512, 1999];
/// Largest number of decimals of a threshold.
const DECIMALS: i32 = 6;

/// Returns thresholds in rising order: that of the run, and others around it, at growing steps of the tree. `cut` is the
/// height at which the run was cut, and merges from `limit` on are not made. A threshold has as few decimals as separate
/// the two merges around it, so that a user can give it back; that of the run is `cut` itself unless it has more than six
/// decimals. Empty for more than 2,000 items.
///
/// *Example.* For merges at 0.312, 0.45 and 0.613 and a cut at 0.5: 0, 0.4, 0.5 and 1.
pub(crate) fn thresholds(merges: &[Merge], cut: f64, limit: f64) -> Vec<f64> {
    if merges.is_empty() || merges.len() >= MOST_CUT {
        return Vec::new();
    }
    let heights: Vec<f64> = merges.iter().map(|merge| merge.height).take_while(|h| *h < limit).collect();
    let made = heights.partition_point(|height| *height <= cut);
    let below = CUT_STEPS.iter().rev().filter_map(|step| made.checked_sub(*step));
    let above = CUT_STEPS.iter().map(|step| made + step).take_while(|made| *made <= heights.len());
    let threshold = |made: usize| {
        let low = made.checked_sub(1).map_or(0.0, |last| heights[last]);
        let high = heights.get(made).copied().unwrap_or(limit);
        let rounded = |decimals: i32| {
            let scale = 10.0_f64.powi(decimals);
            (low * scale).ceil() / scale
        };
        (0..=DECIMALS).map(rounded).find(|threshold| (low..high).contains(threshold))
    };
    let own = Some(cut).filter(|cut| (cut * 1e6).round() / 1e6 == *cut).or_else(|| threshold(made));
    below.filter_map(threshold).chain(own).chain(above.filter_map(threshold)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pairs from explicit distances.
    fn pairs(n: usize, distance: Vec<f64>, forbidden: Vec<bool>) -> Pairs {
        Pairs { n, distance, forbidden }
    }

    /// The definition: merge the two closest clusters, measured over all their items, until one is left.
    fn naive(pairs: &Pairs, linkage: Linkage) -> Vec<(Vec<usize>, f64)> {
        let mut clusters: Vec<Vec<usize>> = (0..pairs.len()).map(|i| vec![i]).collect();
        let mut merged = Vec::new();
        while clusters.len() > 1 {
            let height = |a: &[usize], b: &[usize]| {
                let all: Vec<_> = a.iter().flat_map(|i| b.iter().map(move |j| (*i, *j))).collect();
                let distances = all.iter().map(|(i, j)| pairs.distance(*i, *j));
                let distance = match linkage {
                    Linkage::Complete => distances.fold(0.0, f64::max),
                    Linkage::Single => distances.fold(f64::INFINITY, f64::min),
                    Linkage::Average | Linkage::Ward => distances.sum::<f64>() / all.len() as f64,
                };
                let forbidden = all.iter().any(|(i, j)| pairs.is_forbidden(*i, *j));
                distance + if forbidden { FORBIDDEN } else { 0.0 }
            };
            let mut best = (f64::INFINITY, 0, 0);
            for i in 0..clusters.len() {
                for j in i + 1..clusters.len() {
                    let height = height(&clusters[i], &clusters[j]);
                    if height < best.0 {
                        best = (height, i, j);
                    }
                }
            }
            let (height, i, j) = best;
            let other = clusters.remove(j);
            clusters[i].extend(other);
            clusters[i].sort();
            merged.push((clusters[i].clone(), height));
        }
        merged
    }

    /// Items under every new node, with its height.
    fn unfold(n: usize, merges: &[Merge]) -> Vec<(Vec<usize>, f64)> {
        let mut nodes: Vec<Vec<usize>> = (0..n).map(|i| vec![i]).collect();
        for merge in merges {
            let mut items = [nodes[merge.left].clone(), nodes[merge.right].clone()].concat();
            items.sort();
            nodes.push(items);
        }
        nodes.into_iter().skip(n).zip(merges.iter().map(|m| m.height)).collect()
    }

    fn cases() -> impl Strategy<Value = Pairs> {
        (1..14_usize).prop_flat_map(|n| {
            let count = n * (n - 1) / 2;
            let distances = prop::collection::vec(0.0..2.0_f64, count);
            (distances, prop::collection::vec(prop::bool::weighted(0.2), count))
                .prop_map(move |(distance, forbidden)| pairs(n, distance, forbidden))
        })
    }

    proptest! {
        #[test]
        fn chains_give_what_the_definition_gives(case in cases()) {
            for kind in [Linkage::Average, Linkage::Complete, Linkage::Single] {
                let found = unfold(case.len(), &linkage(case.clone(), kind));
                let expected = naive(&case, kind);
                prop_assert_eq!(found.len(), expected.len());
                // Single linkage joins several at one height, in any order.
                for (found, expected) in found.iter().zip(&expected) {
                    prop_assert!(kind == Linkage::Single || found.0 == expected.0);
                    prop_assert!((found.1 - expected.1).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn heights_never_fall_and_sizes_add_up(case in cases()) {
            let n = case.len();
            let merges = linkage(case, Linkage::Average);
            prop_assert_eq!(merges.len(), n - 1);
            prop_assert!(merges.windows(2).all(|pair| pair[0].height <= pair[1].height));
            prop_assert!(merges.last().is_none_or(|last| last.size == n));
            prop_assert!(merges.iter().enumerate().all(|(i, m)| m.left < m.right && m.right < n + i));
        }

        #[test]
        fn a_cut_below_two_keeps_every_constraint(case in cases(), threshold in 0.0..1.99_f64) {
            let labels = cut(case.len(), &linkage(case.clone(), Linkage::Average), threshold);
            for a in 0..case.len() {
                for b in a + 1..case.len() {
                    prop_assert!(labels[a] != labels[b] || !case.is_forbidden(a, b));
                }
            }
        }
    }

    #[test]
    fn thresholds_have_few_decimals_and_separate_the_merges() {
        let merge = |(at, height): (usize, f64)| Merge { left: 2 * at, right: 2 * at + 1, height, size: 2 };
        let merges = |heights: &[f64]| heights.iter().copied().enumerate().map(merge).collect::<Vec<_>>();
        let found = |heights: &[f64], cut| thresholds(&merges(heights), cut, FORBIDDEN);
        assert_eq!(found(&[0.312, 0.45, 0.613, 2.4], 0.5), [0.0, 0.4, 0.5, 1.0]);
        assert_eq!(found(&[0.312, 0.3125, 0.613], 1.0 / 3.0), [0.0, 0.312, 0.4, 1.0]);
        assert_eq!(found(&[0.5, 0.5, 0.5], 0.2), [0.2, 1.0], "no threshold separates equal heights");
        assert_eq!(found(&[], 0.5), [0.0_f64; 0]);
    }

    #[test]
    fn nothing_and_one_item() {
        assert_eq!(linkage(pairs(0, vec![], vec![]), Linkage::Average), []);
        assert_eq!(linkage(pairs(1, vec![], vec![]), Linkage::Average), []);
        assert_eq!(cut(1, &[], 1.0), [0]);
    }

    #[test]
    fn equal_vectors_join_at_zero() {
        let vector: &[f32] = &[0.6, 0.8];
        let merges = linkage(Pairs::of(&[vector; 5], Metric::Cosine), Linkage::Average);
        assert!(merges.iter().all(|m| m.height < 1e-6));
        assert_eq!(cut(5, &merges, 0.1), [0; 5]);
    }
}
