//! K-means.

use super::silhouette::{self, MOST_CLUSTERS};
use super::{Assignment, Error, Items, Method};
use crate::linkage::Metric;

/// Runs from other centres, of which the best counts.
const RESTARTS: u64 = 10;

/// Rounds of a run at most; as scikit-learn's.
const MAX_ROUNDS: usize = 300;

/// K-means by k-means++ (Arthur and Vassilvitskii, SODA 2007) and Lloyd's rounds, the best of ten.
///
/// With [`Metric::Cosine`] centres are scaled to unit length, which makes it spherical k-means (Dhillon
/// and Modha, Machine Learning 2001). With constraints items are taken one after the other, each to the
/// nearest centre that nobody took who must stay apart from it (Wagstaff et al., ICML 2001); where there
/// is none, to the nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KMeans {
    /// Distance of items.
    pub metric: Metric,
    /// Number of clusters. Unless given, the one of 1 to 100 with the largest mean silhouette.
    pub k: Option<usize>,
    /// Start of the random numbers.
    pub seed: u64,
    /// Whether items that must stay apart do, as far as centres suffice.
    pub constraints: bool,
}

/// One clustering.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// Centre of every item. There may be centres without items, where items are alike.
    pub labels: Vec<usize>,
    /// Sum of squared distances of items to their centres.
    pub inertia: f64,
    /// Pairs that must stay apart and do not.
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
            let mut random = Random(self.seed.wrapping_add(restart));
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
    pub fn lloyd(&self, items: &Items<'_>, mut centres: Vec<Vec<f64>>) -> Partition {
        let rivals = if self.constraints { items.rivals() } else { vec![Vec::new(); items.len()] };
        let mut labels = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let before = std::mem::replace(&mut labels, nearest_centres(items, &centres, &rivals));
            fill_empty(items, &mut centres, &mut labels);
            if labels == before {
                break;
            }
            centres = self.means(items, &labels, centres);
        }
        let distances = items.vectors().iter().zip(&labels).map(|(x, label)| squared(x, &centres[*label]));
        let together = |rivals: &[usize], own: usize| rivals.iter().filter(|b| labels[**b] == own).count();
        Partition {
            inertia: distances.sum(),
            violations: rivals.iter().zip(&labels).map(|(rivals, own)| together(rivals, *own)).sum::<usize>()
                / 2,
            labels,
        }
    }

    fn means(&self, items: &Items<'_>, labels: &[usize], mut centres: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let mut counts = vec![0.0; centres.len()];
        let mut sums = vec![vec![0.0; centres.first().map_or(0, Vec::len)]; centres.len()];
        for (vector, label) in items.vectors().iter().zip(labels) {
            sums[*label].iter_mut().zip(*vector).for_each(|(sum, x)| *sum += f64::from(*x));
            counts[*label] += 1.0;
        }
        for ((centre, sum), count) in centres.iter_mut().zip(sums).zip(counts) {
            let scale = match self.metric {
                Metric::Euclidean => count,
                Metric::Cosine => sum.iter().map(|x| x * x).sum::<f64>().sqrt(),
            };
            if scale > 0.0 {
                *centre = sum.into_iter().map(|x| x / scale).collect();
            }
        }
        centres
    }
}

/// Of every item the nearest centre, or the nearest that no rival before it took.
fn nearest_centres(items: &Items<'_>, centres: &[Vec<f64>], rivals: &[Vec<usize>]) -> Vec<usize> {
    let mut labels: Vec<usize> = Vec::with_capacity(items.len());
    for (vector, rivals) in items.vectors().iter().zip(rivals) {
        let is_taken = |centre: usize| rivals.iter().any(|rival| labels.get(*rival) == Some(&centre));
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

/// Items to start from, each drawn with a chance proportional to its squared distance from those drawn
/// before; of some that are drawn, the one that leaves the least distance, as in scikit-learn. Fewer
/// than `k` where there are not as many different items.
fn first_centres(items: &Items<'_>, k: usize, random: &mut Random) -> Vec<Vec<f64>> {
    let n_drawn = 2 + (k as f64).ln() as usize;
    let mut centres: Vec<Vec<f64>> = Vec::new();
    let mut left = vec![1.0; items.len()];
    while centres.len() < k {
        let drawn: Vec<usize> = (0..n_drawn).filter_map(|_| draw(&left, random)).collect();
        let nearer = |drawn: usize| {
            let centre: Vec<f64> = items.vectors()[drawn].iter().copied().map(f64::from).collect();
            let distances = items.vectors().iter().map(|vector| squared(vector, &centre));
            let nearer = |(distance, left): (f64, &f64)| {
                if centres.is_empty() { distance } else { distance.min(*left) }
            };
            let left: Vec<f64> = distances.zip(&left).map(nearer).collect();
            (left.iter().sum::<f64>(), left, centre)
        };
        let best = drawn.into_iter().map(nearer).min_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, left_by_best, centre)) = best else { break };
        left = left_by_best;
        centres.push(centre);
    }
    centres
}

/// Draws one of several by their chances; `None` where nobody has any.
fn draw(chances: &[f64], random: &mut Random) -> Option<usize> {
    let mut left = random.below_one() * chances.iter().sum::<f64>();
    let passed = chances.iter().position(|chance| {
        left -= chance;
        left < 0.0
    });
    // Rounding may leave a little after the last.
    passed.or_else(|| chances.iter().rposition(|chance| *chance > 0.0))
}

/// Squared Euclidean distance, summed in lanes, because the compiler may not reorder a sum itself.
fn squared(vector: &[f32], centre: &[f64]) -> f64 {
    const LANES: usize = 8;
    let ((a, a_rest), (b, b_rest)) = (vector.as_chunks::<LANES>(), centre.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += (f64::from(a[lane]) - b[lane]).powi(2);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (f64::from(*a) - b).powi(2));
    sums.into_iter().chain(rest).sum()
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same numbers everywhere, which the generators of
/// libraries do not promise from version to version.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below 1.
    fn below_one(&mut self) -> f64 {
        const BITS: u32 = f64::MANTISSA_DIGITS;
        (self.next() >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
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

        /// With as many centres as items, items that must stay apart do.
        #[test]
        fn rivals_take_different_centres((vectors, apart) in cases()) {
            let items = items(&vectors, &apart);
            let found = of(Metric::Cosine, vectors.len(), true).assign(&items, &mut |_, _| ()).unwrap().labels;
            prop_assert!(apart.iter().all(|(a, b)| found[*a] != found[*b]));
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
