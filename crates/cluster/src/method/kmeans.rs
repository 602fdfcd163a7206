//! K-means.

use numeric::kmeans;
use numeric::random::SplitMix64;
use numeric::vector::norm_f64;

use super::silhouette::{self, MOST_CLUSTERS};
use super::{Assignment, Error, Items, Method, cannot_link_of};
use crate::linkage::Metric;

/// Runs from other centres, of which the best counts.
const RESTARTS: u64 = 10;

/// Rounds of a run at most; as scikit-learn's.
const MAX_ROUNDS: usize = 300;

/// K-means by k-means++ (Arthur and Vassilvitskii, SODA 2007) and Lloyd's rounds, the best of ten.
///
/// With [`Metric::Cosine`] centres are scaled to unit length, which makes it spherical k-means (Dhillon
/// and Modha, Machine Learning 2001). With constraints items are taken one after the other, each to the
/// nearest centre that no item took with which it cannot be linked (Wagstaff et al., ICML 2001); where there
/// is none, to the nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeans {
    /// Distance of items.
    pub metric: Metric,
    /// Number of clusters. Unless given, the one of 1 to 100 with the largest mean silhouette.
    pub k: Option<usize>,
    /// Start of the random numbers.
    pub seed: u64,
    /// Whether constraints hold, as far as centres suffice.
    pub constraints: bool,
}

/// One clustering.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// Centre of every item. There may be centres without items, where items are equal.
    pub labels: Vec<usize>,
    /// Sum of squared distances of items to their centres.
    pub inertia: f64,
    /// Pairs that cannot be linked and were.
    pub violations: usize,
}

impl Method for KMeans {
    fn assign(&self, items: &Items<'_>, _: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error> {
        let n = items.len();
        if n == 0 {
            return Ok(Assignment::default());
        }
        let labels = match self.k {
            Some(k) if k > n => return Err(Error::TooFewTracks { k, n_tracks: n }),
            Some(k) => self.best_of_restarts(items, k).labels,
            None => {
                let of = |k: usize| self.best_of_restarts(items, k);
                let most = (n - 1).clamp(1, MOST_CLUSTERS);
                let candidates = (1..=most).map(of).map(|found| (found.violations, found.labels));
                silhouette::best(&items.pairs(self.metric), candidates)
            }
        };
        Ok(Assignment::flat(labels.into_iter().map(Some).collect()))
    }
}

impl KMeans {
    /// The best of ten runs with `k` centres: fewest violations, then least inertia.
    pub fn best_of_restarts(&self, items: &Items<'_>, k: usize) -> Partition {
        let run = |restart: u64| {
            let mut random = SplitMix64::new(self.seed.wrapping_add(restart));
            self.lloyd(items, first_centres(items, k, &mut random))
        };
        let order = |a: &Partition, b: &Partition| {
            a.violations.cmp(&b.violations).then(a.inertia.total_cmp(&b.inertia))
        };
        let first = run(0);
        (1..RESTARTS).map(run).fold(first, |best, next| if order(&next, &best).is_lt() { next } else { best })
    }

    /// Lloyd's rounds from these centres (k rows as long as the vectors) until no item moves. A centre
    /// without items is set to the item that lies farthest from its own, as scikit-learn does.
    pub fn lloyd(&self, items: &Items<'_>, centres: Vec<Vec<f64>>) -> Partition {
        let pairs = if self.constraints { items.cannot_link() } else { &[] };
        let cannot_link = cannot_link_of(items.len(), pairs);
        let assign = |centres: &mut Vec<Vec<f64>>| {
            let mut labels = nearest_centres(items, centres, &cannot_link);
            fill_empty(items, centres, &mut labels);
            labels
        };
        let update = |centres, labels: &[usize]| self.means(items, labels, centres);
        let (centres, labels) = kmeans::lloyd(centres, MAX_ROUNDS, assign, update);
        let distances = items.vectors().iter().zip(&labels).map(|(x, label)| squared(x, &centres[*label]));
        let joined = |others: &[usize], own: usize| others.iter().filter(|b| labels[**b] == own).count();
        Partition {
            inertia: distances.sum(),
            violations: cannot_link
                .iter()
                .zip(&labels)
                .map(|(others, own)| joined(others, *own))
                .sum::<usize>()
                / 2,
            labels,
        }
    }

    fn means(&self, items: &Items<'_>, labels: &[usize], mut centres: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let dim = centres.first().map_or(0, Vec::len);
        let rows = items.vectors().iter().copied().zip(labels.iter().copied());
        let sums = kmeans::sums::<f64>(centres.len(), dim, rows);
        for (centre, (sum, count)) in centres.iter_mut().zip(sums) {
            let scale = match self.metric {
                Metric::Euclidean => count as f64,
                Metric::Cosine => norm_f64(&sum),
            };
            if scale > 0.0 {
                *centre = sum.into_iter().map(|x| x / scale).collect();
            }
        }
        centres
    }
}

/// Of every item the nearest centre, or the nearest that no item before it took with which it cannot be linked.
fn nearest_centres(items: &Items<'_>, centres: &[Vec<f64>], cannot_link: &[Vec<usize>]) -> Vec<usize> {
    let mut labels: Vec<usize> = Vec::with_capacity(items.len());
    for (vector, others) in items.vectors().iter().zip(cannot_link) {
        let is_taken = |centre: usize| others.iter().any(|other| labels.get(*other) == Some(&centre));
        let distances =
            centres.iter().enumerate().map(|(i, centre)| (is_taken(i), squared(vector, centre), i));
        let nearest = distances.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        labels.push(nearest.map_or(0, |(_, _, centre)| centre));
    }
    labels
}

/// Moves the items that lie farthest from their centres to centres that have none.
fn fill_empty(items: &Items<'_>, centres: &mut [Vec<f64>], labels: &mut [usize]) {
    let mut counts = vec![0; centres.len()];
    labels.iter().for_each(|label| counts[*label] += 1);
    for empty in (0..centres.len()).filter(|centre| !labels.contains(centre)).collect::<Vec<_>>() {
        let places = items.vectors().iter().zip(&*labels).enumerate();
        let far = places.map(|(item, (x, label))| (squared(x, &centres[*label]), item));
        let candidates = far.filter(|(distance, item)| *distance > 0.0 && counts[labels[*item]] > 1);
        let Some((_, item)) = candidates.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1))) else {
            return;
        };
        counts[labels[item]] -= 1;
        counts[empty] = 1;
        labels[item] = empty;
        centres[empty] = items.vectors()[item].iter().copied().map(f64::from).collect();
    }
}

/// Centres to start from: items by k-means++, of some that are drawn the one that leaves the least distance,
/// as in scikit-learn. Fewer than `k` where there are not as many different items.
fn first_centres(items: &Items<'_>, k: usize, random: &mut SplitMix64) -> Vec<Vec<f64>> {
    let candidates = 2 + (k as f64).ln() as usize;
    let centre = |item: usize| items.vectors()[item].iter().copied().map(f64::from).collect::<Vec<_>>();
    let distances = |drawn: usize| {
        let centre = centre(drawn);
        items.vectors().iter().map(|vector| squared(vector, &centre)).collect()
    };
    let chosen = kmeans::first_rows(items.len(), k, candidates, random, distances);
    chosen.into_iter().map(centre).collect()
}

/// Squared Euclidean distance.
fn squared(vector: &[f32], centre: &[f64]) -> f64 {
    kmeans::squared_distance::<f64, 8>(vector, centre)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::method::tests::{cases, items};

    fn of(metric: Metric, k: usize, constraints: bool) -> KMeans {
        KMeans { metric, k: Some(k), seed: 0, constraints }
    }

    proptest! {
        /// Where Lloyd's rounds end, every item is nearest to the mean of its own cluster.
        #[test]
        fn no_item_would_rather_be_elsewhere((vectors, _) in cases(), k in 1..6_usize) {
            for metric in [Metric::Cosine, Metric::Euclidean] {
                let (items, k) = (items(&vectors, &[]), k.min(vectors.len()));
                let method = of(metric, k, false);
                let Partition { labels, inertia, .. } = method.best_of_restarts(&items, k);
                let means = method.means(&items, &labels, vec![vec![9.0; 4]; k]);
                let mut sum = 0.0;
                for (vector, label) in vectors.iter().zip(&labels) {
                    let own = squared(vector, &means[*label]);
                    prop_assert!(means.iter().all(|mean| own <= squared(vector, mean) + 1e-9));
                    sum += own;
                }
                prop_assert!((sum - inertia).abs() < 1e-9);
            }
        }

        /// With as many centres as items, every constraint holds.
        #[test]
        fn items_that_cannot_be_linked_take_different_centres((vectors, cannot_link) in cases()) {
            let items = items(&vectors, &cannot_link);
            let found = of(Metric::Cosine, vectors.len(), true).assign(&items, &mut |_, _| ()).unwrap().labels;
            prop_assert!(cannot_link.iter().all(|(a, b)| found[*a] != found[*b]));
        }
    }

    #[test]
    fn too_few_centres_are_a_violation_and_no_error() {
        let vectors = vec![vec![1.0, 0.0], vec![0.8, 0.6], vec![0.0, 1.0]];
        let items = items(&vectors, &[(0, 1), (0, 2), (1, 2)]);
        assert_eq!(of(Metric::Cosine, 2, true).best_of_restarts(&items, 2).violations, 1);
        assert_eq!(
            of(Metric::Cosine, 4, true).assign(&items, &mut |_, _| ()),
            Err(Error::TooFewTracks { k: 4, n_tracks: 3 })
        );
    }
}
