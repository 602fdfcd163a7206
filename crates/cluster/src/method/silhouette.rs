//! How well items lie in their clusters.

use crate::linkage::Pairs;

/// Largest number of clusters that is tried: for more people, the silhouette is not reliable.
pub(super) const MOST_CLUSTERS: usize = 100;

/// Mean silhouette (Rousseeuw, J. Comput. Appl. Math. 1987), −1 to 1; an item alone in its cluster counts
/// 0. Labels are numbers from zero without holes. Where there is one cluster only, or each item is its
/// own, nothing is compared with anything, which counts 0 too.
pub fn silhouette(pairs: &Pairs, labels: &[usize]) -> f64 {
    let n = labels.len();
    let n_clusters = labels.iter().max().map_or(0, |last| last + 1);
    if n_clusters < 2 || n_clusters == n {
        return 0.0;
    }
    let mut sizes = vec![0.0; n_clusters];
    labels.iter().for_each(|label| sizes[*label] += 1.0);
    // Distance of every item to all of every cluster.
    let mut sums = vec![0.0; n * n_clusters];
    for i in 0..n {
        for j in i + 1..n {
            let distance = pairs.distance(i, j);
            sums[i * n_clusters + labels[j]] += distance;
            sums[j * n_clusters + labels[i]] += distance;
        }
    }
    let of_item = |(sums, own): (&[f64], &usize)| {
        let others = (0..n_clusters).filter(|label| label != own);
        let next = others.map(|label| sums[label] / sizes[label]).fold(f64::INFINITY, f64::min);
        let own = sums[*own] / (sizes[*own] - 1.0);
        let farther = own.max(next);
        // Not a number where the item is alone, zero where all are equal.
        if farther > 0.0 && own.is_finite() { (next - own) / farther } else { 0.0 }
    };
    sums.chunks(n_clusters).zip(labels).map(of_item).sum::<f64>() / n as f64
}

/// The candidate that violates the fewest constraints and then has the largest silhouette, the first on
/// a tie. A candidate is how many it violates, and labels.
pub(super) fn best(pairs: &Pairs, candidates: impl Iterator<Item = (usize, Vec<usize>)>) -> Vec<usize> {
    let mut best = (usize::MAX, f64::NEG_INFINITY, Vec::new());
    for (violations, labels) in candidates {
        let score = silhouette(pairs, &labels);
        if violations < best.0 || (violations == best.0 && score > best.1) {
            best = (violations, score, labels);
        }
    }
    best.2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linkage::Metric;

    #[test]
    fn it_is_the_mean_over_items_of_how_much_nearer_their_own_cluster_is() {
        let vectors: [&[f32]; 3] = [&[1.0, 0.0], &[0.6, 0.8], &[-1.0, 0.0]];
        let pairs = Pairs::of(&vectors, Metric::Cosine);
        // Distances: 0.4 within, 2 and 1.6 to the one alone.
        let expected = ((2.0 - 0.4) / 2.0 + (1.6 - 0.4) / 1.6 + 0.0) / 3.0;
        assert!((silhouette(&pairs, &[0, 0, 1]) - expected).abs() < 1e-6);
        assert_eq!([silhouette(&pairs, &[0, 0, 0]), silhouette(&pairs, &[0, 1, 2])], [0.0, 0.0]);
    }
}
