//! Linking for embedders without a quality table: average linkage under constraints, up to the embedder's
//! distance.

use numeric::vector::add;

use super::{EXACT_PAIRS, PROBES, WHOLE_TREE, cannot_link_of};
use crate::agglomerate;
use crate::items::Vectors;
use crate::linkage::{self, Merge};
use crate::method::{Cut, Error, Fit, Items};
use crate::neighbours::Search;

/// Neighbours of an item that are looked for at once.
const NEIGHBOURS: usize = 16;

/// Result of linking.
pub(super) struct Linked {
    pub(super) labels: Vec<usize>,
    pub(super) merges: Vec<Merge>,
    /// Height up to which merges were made.
    pub(super) cut: f64,
}

/// Links `items` whose mean cosine distance is at most `usual`, unless `cut` says otherwise. Reports the
/// numbers of completed and total steps to `advance`.
///
/// # Errors
/// Those of [`agglomerate::link`].
pub(super) fn link(
    items: &Items<'_>,
    usual: f64,
    cut: Cut,
    threads: usize,
    advance: &mut dyn FnMut(usize, usize),
) -> Result<Linked, Error> {
    let n = items.len();
    let dim = items.vectors().first().map_or(1, |vector| vector.len());
    let vectors = Vectors::new(dim, items.vectors().concat())?;
    let weights = vec![1.0; n];
    let given = agglomerate::Items { vectors: &vectors, weights: &weights, cannot_link: items.cannot_link() };
    let height = if let Cut::Height(height) = cut { height } else { usual };
    let is_whole = n <= WHOLE_TREE || matches!(cut, Cut::Clusters(_));
    let up_to = if is_whole { f64::INFINITY } else { height };
    let search = Search { k: NEIGHBOURS, exact_pairs: EXACT_PAIRS, probes: PROBES, threads };
    let merges = agglomerate::link(given, up_to as f32, &search, advance)?.merges;
    let made = match cut {
        Cut::Clusters(k) => n.saturating_sub(k).min(merges.len()),
        Cut::Best | Cut::Height(_) => merges.partition_point(|merge| merge.height <= height),
    };
    let cut = match cut {
        Cut::Clusters(_) => made.checked_sub(1).map_or(0.0, |last| merges[last].height),
        Cut::Best | Cut::Height(_) => height,
    };
    let labels = linkage::cut(n, &merges[..made], f64::INFINITY);
    Ok(Linked { labels, merges, cut })
}

/// Fit of items: mean distance to the others of the own cluster, and to the nearest other cluster that no
/// constraint forbids. A single item has the distance `cut` to its own cluster.
pub(super) fn fits(items: &Items<'_>, labels: &[usize], cut: f64) -> Vec<Fit> {
    let count = labels.iter().max().map_or(0, |last| last + 1);
    let dim = items.vectors().first().map_or(0, |vector| vector.len());
    let (mut sums, mut counts) = (vec![vec![0.0_f64; dim]; count], vec![0_usize; count]);
    for (vector, label) in items.vectors().iter().zip(labels) {
        add(&mut sums[*label], vector);
        counts[*label] += 1;
    }
    let cannot_link_of = cannot_link_of(items.len(), items.cannot_link());
    let fit = |item: usize| {
        let product = |label: usize| {
            let pairs = sums[label].iter().zip(items.vectors()[item]);
            pairs.map(|(sum, x)| sum * f64::from(*x)).sum::<f64>()
        };
        let own = match counts[labels[item]] - 1 {
            0 => cut,
            // Without its product with itself, which is 1.
            others => 1.0 - (product(labels[item]) - 1.0) / others as f64,
        };
        let is_open = |label: &usize| {
            *label != labels[item] && !cannot_link_of[item].iter().any(|other| labels[*other] == *label)
        };
        let others =
            (0..count).filter(is_open).map(|label| (label, 1.0 - product(label) / counts[label] as f64));
        Fit::by_distance(own.max(0.0), others.min_by(|a, b| a.1.total_cmp(&b.1)))
    };
    (0..items.len()).map(fit).collect()
}
