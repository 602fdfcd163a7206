//! Linking methods, one file each. Every method implements the trait [`Method`].
//!
//! | method | groups by | number of people | noise | dendrogram |
//! |---|---|---|---|---|
//! | [`Link`] | evidence under constraints | by evidence, distance or `k` | yes | yes |
//! | [`Agglomerative`] | one of four linkages | by distance, `k` or silhouette | no | yes |
//! | [`KMeans`] | means | `k` or silhouette | no | no |
//! | [`Dbscan`] | regions of one density | by density | yes | no |
//! | [`Hdbscan`] | regions of different densities | by density | yes | no |
//!
//! All methods are pure and deterministic. [`crate::config::METHODS`] lists the settings of each method.

mod agglomerative;
mod dbscan;
mod hdbscan;
mod kmeans;
mod link;
mod silhouette;

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use schema::footer::Quality;

pub use self::agglomerative::{Agglomerative, Cut};
pub use self::dbscan::Dbscan;
pub use self::hdbscan::Hdbscan;
pub use self::kmeans::{KMeans, Partition};
pub(crate) use self::link::mean_norm;
pub use self::link::{BINS, Calibration, Clothes, Link, Odds, Part, Scale, VideoModel};
pub use self::silhouette::silhouette;
use crate::linkage::{self, FORBIDDEN, Linkage, Merge, Metric, Pairs};

/// A way to decide which items show one person.
pub trait Method {
    /// Assigns every item to a cluster or to noise. Methods for many items report progress with
    /// `advance(done, total)`, in steps.
    ///
    /// # Errors
    /// See [`Error`].
    fn assign(&self, items: &Items<'_>, advance: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error>;
}

/// Errors of this module.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More clusters are asked for than there are items.
    #[error("[cluster] k is {k}, which is more than the number of tracks in the run: {n_tracks}")]
    TooFewTracks {
        /// Clusters asked for.
        k: usize,
        /// Number of items.
        n_tracks: usize,
    },
    /// The quality table of the embedder cannot be used.
    #[error("the quality table of the embedder cannot be used: {reason}")]
    Quality {
        /// What is wrong with it.
        reason: String,
    },
    /// The vectors cannot be linked.
    #[error(transparent)]
    Items(#[from] crate::items::Error),
    /// A library returned an error.
    #[error("the library `{library}` failed: {reason}")]
    Library {
        /// Its name.
        library: &'static str,
        /// Message of the library.
        reason: String,
    },
}

/// Unit vectors of equal dimension, and pairs of vectors with a cannot-link constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct Items<'a> {
    vectors: Vec<&'a [f32]>,
    cannot_link: Vec<(usize, usize)>,
    crops: Vec<Crop<'a>>,
    views: Vec<FurtherView<'a>>,
    outfits: Vec<Outfit<'a>>,
    scores: Vec<f32>,
}

/// One crop of an item: its embedding is a part of the vector of the item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop<'a> {
    /// Index of the item, from zero.
    pub item: usize,
    /// Embedding of the crop, of unit norm.
    pub vector: &'a [f32],
    /// Raw norm of the embedding, 0 or more; larger for clear faces.
    pub norm: f32,
}

/// Items as a further embedder sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct FurtherView<'a> {
    /// Quality table of the embedder.
    pub quality: &'a Quality,
    /// Vector of each item, of unit length, and its raw norm; `None` without a vector.
    pub seen: Vec<Option<(&'a [f32], f32)>>,
}

/// What the person of an item wears for some time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outfit<'a> {
    /// Place of the item.
    pub item: usize,
    /// Colour histogram of the torso, of sum 1; every outfit has one of the same length.
    pub torso: &'a [f32],
    /// From when, seconds.
    pub first_secs: f64,
    /// Until when, seconds.
    pub last_secs: f64,
    /// Index of the shot.
    pub shot: i64,
}

impl<'a> Items<'a> {
    /// Creates items from vectors of unit norm and cannot-link pairs of their indices.
    ///
    /// # Errors
    /// [`Error::Items`] when a vector has a number that is not finite, or another dimension than the first one.
    pub fn new(vectors: Vec<&'a [f32]>, mut cannot_link: Vec<(usize, usize)>) -> Result<Self, Error> {
        cannot_link.iter_mut().for_each(|(a, b)| (*a, *b) = (*a.min(b), *a.max(b)));
        cannot_link.sort_unstable();
        cannot_link.dedup();
        let expected = vectors.first().map_or(0, |first| first.len());
        for (item, vector) in vectors.iter().enumerate() {
            check(item, vector, expected, 0.0)?;
        }
        Ok(Self {
            vectors,
            cannot_link,
            crops: Vec::new(),
            views: Vec::new(),
            outfits: Vec::new(),
            scores: Vec::new(),
        })
    }

    /// Adds crops, which must be sorted by their items; an item may have no crop.
    ///
    /// # Errors
    /// As for [`Self::new`], with the item of the crop.
    pub fn with_crops(self, crops: Vec<Crop<'a>>) -> Result<Self, Error> {
        let expected = self.vectors.first().map_or(0, |first| first.len());
        for Crop { item, vector, norm } in &crops {
            check(*item, vector, expected, f64::from(*norm))?;
        }
        Ok(Self { crops, ..self })
    }

    /// As further embedders see them.
    ///
    /// # Errors
    /// As for [`Self::new`], also of a view that does not see all items.
    pub fn with_views(self, views: Vec<FurtherView<'a>>) -> Result<Self, Error> {
        for view in &views {
            let (expected, found) = (self.len(), view.seen.len());
            if found != expected {
                return Err(wrong_dimension(found, expected, found));
            }
            let expected = view.seen.iter().flatten().map(|(vector, _)| vector.len()).next().unwrap_or(0);
            for (item, seen) in view.seen.iter().enumerate() {
                let Some((vector, norm)) = seen else { continue };
                check(item, vector, expected, f64::from(*norm))?;
            }
        }
        Ok(Self { views, ..self })
    }

    /// With what some of the items wear.
    ///
    /// # Errors
    /// As for [`Self::new`], with the item.
    pub fn with_outfits(self, outfits: Vec<Outfit<'a>>) -> Result<Self, Error> {
        let expected = outfits.first().map_or(0, |first| first.torso.len());
        for Outfit { item, torso, first_secs, last_secs, .. } in &outfits {
            check(*item, torso, expected, first_secs + last_secs)?;
        }
        Ok(Self { outfits, ..self })
    }

    /// With the mean detection score of each item, 0 to 1.
    ///
    /// # Errors
    /// [`Error::Items`] when there is not one score for each item, or a score is not finite.
    pub fn with_scores(self, scores: Vec<f32>) -> Result<Self, Error> {
        let (expected, found) = (self.len(), scores.len());
        if found != expected {
            let message = format!("{expected} items have {found} detection scores");
            return Err(crate::items::Error(message).into());
        }
        if let Some(item) = scores.iter().position(|score| !score.is_finite()) {
            let message = format!("the detection score of item {item} is not finite");
            return Err(crate::items::Error(message).into());
        }
        Ok(Self { scores, ..self })
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    /// The vectors.
    pub fn vectors(&self) -> &[&'a [f32]] {
        &self.vectors
    }

    /// Returns the cannot-link pairs of indices into [`Self::vectors`], sorted, with the smaller index first.
    pub fn cannot_link(&self) -> &[(usize, usize)] {
        &self.cannot_link
    }

    /// Returns the crops, sorted by item.
    pub fn crops(&self) -> &[Crop<'a>] {
        &self.crops
    }

    /// The items as further embedders see them.
    pub fn views(&self) -> &[FurtherView<'a>] {
        &self.views
    }

    /// What some of the items wear.
    pub fn outfits(&self) -> &[Outfit<'a>] {
        &self.outfits
    }

    /// Returns the mean detection score of each item; empty where the scores are not known.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Returns the distances of all pairs, with the cannot-link pairs marked.
    pub fn pairs(&self, metric: Metric) -> Pairs {
        let mut pairs = Pairs::of(&self.vectors, metric);
        self.cannot_link.iter().for_each(|(a, b)| pairs.forbid(*a, *b));
        pairs
    }
}

/// Checks the vector of an item, and a number that belongs to it.
fn check(item: usize, vector: &[f32], expected: usize, number: f64) -> Result<(), Error> {
    if vector.len() != expected {
        return Err(wrong_dimension(item, expected, vector.len()));
    }
    if !number.is_finite() || !vector.iter().all(|x| x.is_finite()) {
        let message = format!("the vector of item {item} contains a value that is not finite");
        return Err(crate::items::Error(message).into());
    }
    Ok(())
}

fn wrong_dimension(item: usize, expected: usize, found: usize) -> Error {
    let message = format!("the vector of item {item} has dimension {found}, others have {expected}");
    crate::items::Error(message).into()
}

/// For each of `n` items, the items that cannot be linked with it.
fn cannot_link_of(n: usize, cannot_link: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let mut others = vec![Vec::new(); n];
    for (a, b) in cannot_link {
        others[*a].push(*b);
        others[*b].push(*a);
    }
    others
}

/// Result of a method.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assignment {
    /// Cluster of every item, numbered from zero by their first items; `None` is noise.
    pub labels: Vec<Option<usize>>,
    /// Dendrogram; `None` for a method without a dendrogram.
    pub tree: Option<Tree>,
    /// Fit of each item to its cluster; `None` for a method that does not compute it.
    pub fits: Option<Vec<Fit>>,
    /// Calibration of pair similarities; `None` for a method that does not estimate it.
    pub calibration: Option<Calibration>,
    /// Evidence of every item; `None` for a method without a model of the vectors.
    pub evidence: Option<Evidence>,
    /// The labels that other thresholds would give, with the thresholds in rising order; empty for a method without a
    /// dendrogram, and for many items.
    pub cuts: Vec<(f64, Vec<Option<usize>>)>,
}

/// Evidence by which [`Link`] compares items, one cluster each.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Index of each item, rising; of items that are linked as one, the first.
    pub items: Vec<usize>,
    /// The embedders, in the order of the views.
    pub views: Vec<ViewEvidence>,
    /// Concentration of the prior.
    pub alpha: f64,
    /// Log odds of clothes; `None` if clothes give no evidence.
    pub clothes: Option<ClothesLine>,
}

/// Evidence of one embedder.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewEvidence {
    /// `β`: variance of the person vector.
    pub person_variance: f64,
    /// `E`: number of independent components that a vector is worth, times the weight of the view.
    pub evidence_dim: f64,
    /// `F` and `λ` of each item; `None` for an item without a vector.
    pub seen: Vec<Option<(Vec<f32>, f64)>>,
}

/// Log odds of one person as a line over the Hellinger distance of the clothes of two tracks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClothesLine {
    /// Log odds at distance 0.
    pub intercept: f64,
    /// Change of the log odds from distance 0 to distance 1.
    pub slope: f64,
    /// Smallest and largest log odds.
    pub bounds: [f64; 2],
}

/// How well an item fits its cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Confidence that the item belongs to its cluster, 0 to 1; for noise, the confidence that the item is
    /// alone.
    pub confidence: f64,
    /// Second best cluster that no constraint forbids, and the margin of the item's own cluster over that
    /// cluster; `None` if there is no other cluster.
    pub runner_up: Option<(usize, f64)>,
}

/// A dendrogram.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// All n − 1 merges.
    pub merges: Vec<Merge>,
    /// Height of the cut: merges up to this height form the clusters.
    pub cut: f64,
    /// Amount that a cannot-link constraint adds to the height of a forbidden merge.
    pub forbidden: f64,
}

impl Assignment {
    /// Creates the assignment of a method without a dendrogram; the labels may be arbitrary numbers.
    fn flat(labels: Vec<Option<usize>>) -> Self {
        Self { labels: numbered(labels), ..Self::default() }
    }

    /// Keeps a range of the items, with the clusters, merges and evidence of these. The calibration stays that of all.
    pub(crate) fn of_range(self, range: Range<usize>) -> Self {
        let labels = self.labels[range.clone()].to_vec();
        let numbers = numbers(&labels);
        let of = |(label, margin): (usize, f64)| Some((*numbers.get(&label)?, margin));
        let fit = |fit: &Fit| Fit { runner_up: fit.runner_up.and_then(of), ..*fit };
        let n = self.labels.len();
        Self {
            labels: numbered(labels),
            tree: self.tree.map(|tree| Tree { merges: of_range(&tree.merges, n, &range), ..tree }),
            fits: self.fits.map(|fits| fits[range.clone()].iter().map(fit).collect()),
            calibration: self.calibration,
            evidence: self.evidence.map(|evidence| evidence.of_range(&range)),
            cuts: self
                .cuts
                .into_iter()
                .map(|(threshold, labels)| (threshold, numbered(labels[range.clone()].to_vec())))
                .collect(),
        }
    }
}

/// The merges of `n` items that join items of a range with each other.
fn of_range(merges: &[Merge], n: usize, range: &Range<usize>) -> Vec<Merge> {
    // An item of the range below each node.
    let mut under: Vec<Option<usize>> =
        (0..n).map(|item| item.checked_sub(range.start).filter(|_| range.contains(&item))).collect();
    let mut kept = Vec::new();
    for merge in merges {
        let (left, right) = (under[merge.left], under[merge.right]);
        kept.extend(left.zip(right).map(|(left, right)| (left, right, merge.height)));
        under.push(left.or(right));
    }
    linkage::numbered(range.len(), kept)
}

impl Evidence {
    /// Keeps the items of a range.
    fn of_range(self, range: &Range<usize>) -> Self {
        let is_in: Vec<bool> = self.items.iter().map(|item| range.contains(item)).collect();
        let view = |view: ViewEvidence| ViewEvidence {
            seen: view
                .seen
                .into_iter()
                .zip(&is_in)
                .filter_map(|(seen, is_in)| is_in.then_some(seen))
                .collect(),
            ..view
        };
        let views = self.views.into_iter().map(view).collect();
        let items = self.items.into_iter().filter(|item| range.contains(item)).map(|item| item - range.start);
        Self { items: items.collect(), views, ..self }
    }
}

/// Returns the new number of every label, from zero in the order of the first items.
fn numbers(labels: &[Option<usize>]) -> HashMap<usize, usize> {
    let mut numbers = HashMap::new();
    for label in labels.iter().flatten() {
        let next = numbers.len();
        numbers.entry(*label).or_insert(next);
    }
    numbers
}

/// Numbers clusters from zero by their first items.
fn numbered(labels: Vec<Option<usize>>) -> Vec<Option<usize>> {
    let numbers = numbers(&labels);
    labels.into_iter().map(|label| label.and_then(|label| numbers.get(&label).copied())).collect()
}

/// Returns the fit of each item, for methods that do not compute it. The confidence is the silhouette of the
/// item (Rousseeuw, 1987) with respect to the nearest other cluster that no constraint forbids, but at least
/// 0. For noise and for an item that is alone in its cluster, the distance to the own cluster is
/// `same_up_to`.
pub fn silhouettes(pairs: &Pairs, labels: &[Option<usize>], same_up_to: f64) -> Vec<Fit> {
    let mut members = vec![Vec::new(); labels.iter().flatten().max().map_or(0, |most| most + 1)];
    for (item, label) in labels.iter().enumerate() {
        label.iter().for_each(|label| members[*label].push(item));
    }
    let fit = |item: usize| {
        let mean = |members: &[usize]| {
            let others: Vec<_> = members.iter().filter(|other| **other != item).collect();
            let sum: f64 = others.iter().map(|other| pairs.distance(item, **other)).sum();
            (!others.is_empty()).then(|| sum / others.len() as f64)
        };
        let own = labels[item].and_then(|own| mean(&members[own])).unwrap_or(same_up_to);
        let open = |members: &[usize]| !members.iter().any(|other| pairs.is_forbidden(item, *other));
        let candidates =
            members.iter().enumerate().filter(|(label, m)| Some(*label) != labels[item] && open(m));
        let distances = candidates.filter_map(|(label, members)| Some((mean(members)?, label)));
        let next = distances.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Fit::by_distance(own, next.map(|(distance, label)| (label, distance)))
    };
    (0..labels.len()).map(fit).collect()
}

impl Fit {
    /// Computes the fit from the distances to the own cluster and to the second best cluster.
    fn by_distance(own: f64, next: Option<(usize, f64)>) -> Self {
        let confidence = next.map_or(1.0, |(_, next)| if next > own { (next - own) / next } else { 0.0 });
        Self { confidence, runner_up: next.map(|(label, next)| (label, next - own)) }
    }
}

/// Splits every cluster that violates a cannot-link constraint. Constrained average linkage makes all allowed
/// merges within the cluster, and each resulting part becomes a cluster. Noise stays noise.
fn repair(labels: &mut Vec<Option<usize>>, pairs: &Pairs) {
    let mut members = BTreeMap::<usize, Vec<usize>>::new();
    for (item, label) in labels.iter().enumerate() {
        if let Some(label) = label {
            members.entry(*label).or_default().push(item);
        }
    }
    let mut next = members.last_key_value().map_or(0, |(last, _)| last + 1);
    for members in members.values() {
        let among = pairs.among(members);
        if !among.has_forbidden() {
            continue;
        }
        let merges = linkage::linkage(among, Linkage::Average);
        let parts = linkage::cut(members.len(), &merges, FORBIDDEN.next_down());
        members.iter().zip(&parts).for_each(|(item, part)| labels[*item] = Some(next + part));
        next += members.len();
    }
    *labels = numbered(std::mem::take(labels));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Unit vectors of four numbers, with pairs that cannot be linked.
    pub(crate) fn cases() -> impl Strategy<Value = (Vec<Vec<f32>>, Vec<(usize, usize)>)> {
        let vector = prop::collection::vec(-1.0..1.0_f32, 4).prop_map(|mut vector| {
            vector[0] += 0.1;
            let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter().map(|x| x / norm).collect()
        });
        prop::collection::vec(vector, 0..16).prop_flat_map(|vectors: Vec<Vec<f32>>| {
            let n = vectors.len().max(1);
            let pairs = prop::collection::vec((0..n, 0..n), 0..8)
                .prop_map(|pairs| pairs.into_iter().filter(|(a, b)| a < b).collect());
            (Just(vectors), pairs)
        })
    }

    pub(crate) fn items<'a>(vectors: &'a [Vec<f32>], cannot_link: &[(usize, usize)]) -> Items<'a> {
        Items::new(vectors.iter().map(Vec::as_slice).collect(), cannot_link.to_vec()).unwrap()
    }

    proptest! {
        /// Merges of a range, cut anywhere, give the clusters of all merges in this range.
        #[test]
        fn the_merges_of_a_range_cut_it_as_all_merges_do(
            (vectors, cannot_link) in cases(),
            ends in (0..16_usize, 0..16_usize),
            height in 0.0..2.0_f64,
        ) {
            let n = vectors.len();
            let range = ends.0.min(ends.1).min(n)..ends.0.max(ends.1).min(n);
            let all = linkage::linkage(items(&vectors, &cannot_link).pairs(Metric::Cosine), Linkage::Average);
            let some = of_range(&all, n, &range);
            prop_assert_eq!(some.len(), range.len().saturating_sub(1));
            let expected = linkage::cut(n, &all, height)[range.clone()].iter().copied().map(Some).collect();
            let found = linkage::cut(range.len(), &some, height);
            prop_assert_eq!(found.into_iter().map(Some).collect::<Vec<_>>(), numbered(expected));
        }
    }

    /// Every method, with constraints.
    pub(crate) fn methods() -> Vec<Box<dyn Method>> {
        let metrics = [Metric::Cosine, Metric::Euclidean];
        let mut methods: Vec<Box<dyn Method>> = Vec::new();
        for scale in [Scale::Distance(0.5), Scale::Evidence(testkit::people::quality(4))] {
            for cut in [Cut::Best, Cut::Clusters(1), Cut::Height(0.5)] {
                methods.push(Box::new(Link {
                    scale: scale.clone(),
                    cut,
                    clothes: Clothes::Both,
                    without: Vec::new(),
                    threads: 1,
                }));
            }
        }
        for metric in metrics {
            methods.push(Box::new(Dbscan { metric, eps: 0.3, min_samples: 2, constraints: true }));
            methods.push(Box::new(Hdbscan {
                metric,
                min_cluster_size: 2,
                min_samples: 2,
                constraints: true,
            }));
            for k in [None, Some(1)] {
                methods.push(Box::new(KMeans { metric, k, seed: 0, constraints: true }));
            }
            for linkage in [linkage::Linkage::Average, linkage::Linkage::Ward] {
                for cut in [Cut::Best, Cut::Clusters(1), Cut::Height(0.5)] {
                    if (linkage, metric) != (linkage::Linkage::Ward, Metric::Cosine) {
                        methods.push(Box::new(Agglomerative { metric, linkage, cut, constraints: true }));
                    }
                }
            }
        }
        methods
    }

    proptest! {
        #[test]
        fn labels_are_numbered_by_their_first_items((vectors, cannot_link) in cases()) {
            for method in methods() {
                let items = items(&vectors, &cannot_link);
                let found = method.assign(&items, &mut |_, _| ()).unwrap();
                prop_assert_eq!(found.labels.len(), vectors.len());
                prop_assert_eq!(&numbered(found.labels.clone()), &found.labels);
                prop_assert!(found.tree.as_ref().is_none_or(|t| t.merges.len() == vectors.len().saturating_sub(1)));
                prop_assert_eq!(method.assign(&items, &mut |_, _| ()).unwrap(), found);
            }
        }

        #[test]
        fn repaired_clusters_keep_every_constraint_and_noise((vectors, cannot_link) in cases(), seed: u64) {
            let items = items(&vectors, &cannot_link);
            let label = |item: usize| Some((seed >> (2 * item)) as usize % 4).filter(|label| *label < 3);
            let before: Vec<_> = (0..items.len()).map(label).collect();
            let mut after = before.clone();
            repair(&mut after, &items.pairs(Metric::Cosine));
            prop_assert!(cannot_link.iter().all(|(a, b)| after[*a].is_none() || after[*a] != after[*b]));
            for a in 0..items.len() {
                prop_assert_eq!(before[a].is_none(), after[a].is_none());
                for b in 0..items.len() {
                    let is_joined = after[a].is_some() && after[a] == after[b];
                    prop_assert!(!is_joined || before[a] == before[b], "repairs join nothing");
                }
            }
            if cannot_link.iter().all(|(a, b)| before[*a].is_none() || before[*a] != before[*b]) {
                prop_assert_eq!(after, numbered(before));
            }
        }
    }

    /// Tests zero to six equal items.
    #[test]
    fn few_and_equal_items() {
        let same = vec![vec![0.6, 0.8, 0.0, 0.0]; 6];
        for method in methods() {
            for n in 0..=6 {
                let items = items(&same[..n], &[]);
                let found = method.assign(&items, &mut |_, _| ()).unwrap();
                let clusters: BTreeSet<_> = found.labels.iter().flatten().collect();
                assert_eq!(found.labels.len(), n);
                // Evidence of four dimensions is too weak to join a few tracks; only evidence is calibrated.
                let most = if found.calibration.is_some() { n } else { n.min(1) };
                assert!(clusters.len() <= most, "{n} equal tracks are {} clusters", clusters.len());
            }
        }
    }

    #[test]
    fn link_reports_its_progress() {
        let people = testkit::people::people(300, 16, 1);
        let rows = (0..300).map(|row| people.vector(row)).collect();
        let items = Items::new(rows, people.cannot_link.clone()).unwrap();
        let scale = Scale::Evidence(testkit::people::quality(16));
        let mut steps = Vec::new();
        Link { scale, cut: Cut::Best, clothes: Clothes::Off, without: Vec::new(), threads: 2 }
            .assign(&items, &mut |done, of| steps.push((done, of)))
            .unwrap();
        assert!(steps.is_sorted() && steps.iter().all(|(_, of)| *of == 900), "{steps:?}");
        assert_eq!(steps.last(), Some(&(900, 900)));
    }

    #[test]
    fn vectors_that_are_none_are_refused() {
        let new = |vectors: &[&'static [f32]]| Items::new(vectors.to_vec(), Vec::new());
        let refused = |vectors: &[&'static [f32]]| new(vectors).unwrap_err().to_string();
        let wrong = refused(&[&[1.0, 0.0], &[f32::NAN, 1.0]]);
        assert_eq!(wrong, "the vector of item 1 contains a value that is not finite");
        let wrong = refused(&[&[1.0, 0.0], &[1.0]]);
        assert_eq!(wrong, "the vector of item 1 has dimension 1, others have 2");
        assert!(new(&[]).is_ok_and(|items| items.is_empty()));
    }
}
