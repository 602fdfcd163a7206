//! Agglomerative clustering as SciPy and scikit-learn have it.

use super::silhouette::{self, MOST_CLUSTERS};
use super::{Assignment, Error, Items, Method, Tree};
use crate::linkage::{self, Linkage, Merge, Metric, Pairs};

/// Joins the two nearest clusters again and again.
///
/// Heights are SciPy's; where heights tie, trees may differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agglomerative {
    /// Distance of items; [`Linkage::Ward`] is defined for [`Metric::Euclidean`] only.
    pub metric: Metric,
    /// Distance of clusters.
    pub linkage: Linkage,
    /// Where the tree is cut.
    pub cut: Cut,
    /// Whether constraints hold. Only [`Cut::Clusters`] may still join them, where so few
    /// clusters are not to be had otherwise.
    pub constraints: bool,
}

/// Where a tree is cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// Merges up to this height are made.
    Height(f64),
    /// So many clusters are left.
    Clusters(usize),
    /// Where the mean [`silhouette()`](super::silhouette()) is largest, the fewest clusters on a tie; there
    /// are 100 at most, or as few as constraints allow.
    Best,
}

impl Method for Agglomerative {
    fn assign(&self, items: &Items<'_>, _: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error> {
        let n = items.len();
        let unconstrained = || Pairs::of(items.vectors(), self.metric);
        let pairs = if self.constraints { items.pairs(self.metric) } else { unconstrained() };
        let merges = linkage::linkage(pairs, self.linkage);
        let forbidden = self.linkage.forbidden(n);
        let up_to = |height: f64| merges.iter().take_while(|merge| merge.height <= height).count();
        let allowed = up_to(if self.constraints { forbidden.next_down() } else { f64::MAX });
        let made = match self.cut {
            Cut::Height(height) => up_to(height).min(allowed),
            Cut::Clusters(k) if k > n && n > 0 => return Err(Error::TooFewTracks { k, n_tracks: n }),
            Cut::Clusters(k) => n.saturating_sub(k).min(merges.len()),
            Cut::Best => best(&items.pairs(self.metric), &merges[..allowed]),
        };
        let cut = match self.cut {
            Cut::Height(height) => height,
            Cut::Clusters(_) | Cut::Best => made.checked_sub(1).map_or(0.0, |last| merges[last].height),
        };
        let labels = |made: usize| after(n, &merges[..made]).into_iter().map(Some).collect::<Vec<_>>();
        let at = |threshold: f64| (threshold, labels(up_to(threshold).min(allowed)));
        let cuts = linkage::thresholds(&merges, cut, forbidden).into_iter().map(at).collect();
        let labels = labels(made);
        Ok(Assignment { labels, tree: Some(Tree { merges, cut, forbidden }), cuts, ..Assignment::default() })
    }
}

/// Labels when all these merges are made.
fn after(n: usize, merges: &[Merge]) -> Vec<usize> {
    linkage::cut(n, merges, f64::INFINITY)
}

/// How many merges to make for the best silhouette.
fn best(pairs: &Pairs, allowed: &[Merge]) -> usize {
    let n = pairs.len();
    let fewest = n - allowed.len();
    let most = n.saturating_sub(1).clamp(fewest, MOST_CLUSTERS.max(fewest));
    let candidates = (fewest..=most).map(|k| (0, after(n, &allowed[..n - k])));
    let labels = silhouette::best(pairs, candidates);
    n - labels.into_iter().max().map_or(0, |last| last + 1)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::method::tests::{cases, items};

    const LINKAGES: [Linkage; 4] = [Linkage::Average, Linkage::Complete, Linkage::Single, Linkage::Ward];

    const OF_KODAMA: [kodama::Method; 4] =
        [kodama::Method::Average, kodama::Method::Complete, kodama::Method::Single, kodama::Method::Ward];

    fn method(linkage: Linkage, cut: Cut, constraints: bool) -> Agglomerative {
        Agglomerative { metric: Metric::Euclidean, linkage, cut, constraints }
    }

    proptest! {
        /// Two implementations, one tree.
        #[test]
        fn trees_equal_those_of_kodama((vectors, _) in cases()) {
            let items = items(&vectors, &[]);
            for (linkage, of_kodama) in LINKAGES.into_iter().zip(OF_KODAMA) {
                let ours = linkage::linkage(items.pairs(Metric::Euclidean), linkage);
                let pairs = items.pairs(Metric::Euclidean);
                let mut distances: Vec<f64> = (0..items.len())
                    .flat_map(|a| (a + 1..items.len()).map(move |b| (a, b)))
                    .map(|(a, b)| pairs.distance(a, b))
                    .collect();
                let theirs = kodama::linkage(&mut distances, items.len(), of_kodama);
                prop_assert_eq!(ours.len(), theirs.len());
                for (ours, theirs) in ours.iter().zip(theirs.steps()) {
                    prop_assert!((ours.height - theirs.dissimilarity).abs() < 1e-9, "{ours:?} {theirs:?}");
                    prop_assert_eq!((ours.left, ours.right), (theirs.cluster1, theirs.cluster2));
                }
            }
        }

        #[test]
        fn a_cut_by_height_or_silhouette_keeps_every_constraint((vectors, cannot_link) in cases()) {
            let items = items(&vectors, &cannot_link);
            for linkage in LINKAGES {
                for cut in [Cut::Height(0.7), Cut::Height(100.0), Cut::Best] {
                    let labels = method(linkage, cut, true).assign(&items, &mut |_, _| ()).unwrap().labels;
                    prop_assert!(cannot_link.iter().all(|(a, b)| labels[*a] != labels[*b]), "{linkage:?} {cut:?}");
                }
            }
        }

        #[test]
        fn every_threshold_gives_back_what_it_shows((vectors, cannot_link) in cases(), k in 1_usize..4) {
            let items = items(&vectors, &cannot_link);
            for (linkage, constraints) in LINKAGES.into_iter().zip([true, false, true, false]) {
                let assign = |cut| method(linkage, cut, constraints).assign(&items, &mut |_, _| ());
                let Ok(found) = assign(Cut::Clusters(k)) else { continue };
                for (threshold, labels) in found.cuts {
                    prop_assert_eq!(assign(Cut::Height(threshold)).unwrap().labels, labels, "{}", threshold);
                }
            }
        }

        #[test]
        fn as_many_clusters_are_left_as_asked_for((vectors, cannot_link) in cases(), constraints: bool) {
            let items = items(&vectors, &cannot_link);
            for k in 1..=vectors.len() {
                let found = method(Linkage::Ward, Cut::Clusters(k), constraints).assign(&items, &mut |_, _| ()).unwrap();
                prop_assert_eq!(found.labels.iter().max(), Some(&Some(k - 1)));
            }
        }
    }

    /// Three directions with a little spread, each twice or three times.
    #[test]
    fn the_silhouette_finds_the_number_of_clusters() {
        let at = |degrees: f32| vec![degrees.to_radians().cos(), degrees.to_radians().sin()];
        let vectors: Vec<_> = [0.0, 100.0, 3.0, 103.0, 200.0, 206.0, 1.0].map(at).to_vec();
        for linkage in LINKAGES {
            let found =
                method(linkage, Cut::Best, false).assign(&items(&vectors, &[]), &mut |_, _| ()).unwrap();
            assert_eq!(found.labels, [0, 1, 0, 1, 2, 2, 0].map(Some), "{linkage:?}");
        }
    }
}
