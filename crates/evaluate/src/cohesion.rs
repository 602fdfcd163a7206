//! Metrics without labels: similarities within a cluster and between clusters.
//!
//! The distance is cosine, 1 − x·y for unit vectors, 0 to 2. It is linear in y, so sums over a
//! cluster follow from the cluster's summed vector: everything here costs tracks × clusters, not
//! tracks².

use std::collections::BTreeMap;

use numeric::vector::{add, dot_f64, dot_in_lanes_f64};

/// A linked track and its vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point<'a> {
    /// Cluster of the track.
    pub cluster_id: i64,
    /// Vector of the track, of unit norm.
    pub vector: &'a [f32],
}

/// The vectors of one cluster, summed.
struct Sum {
    vector: Vec<f64>,
    n: usize,
    /// Sum of x·x, which is n up to rounding.
    squares: f64,
}

fn sums(points: &[Point<'_>]) -> BTreeMap<i64, Sum> {
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    for point in points {
        let empty = || Sum { vector: vec![0.0; point.vector.len()], n: 0, squares: 0.0 };
        let sum = sums.entry(point.cluster_id).or_insert_with(empty);
        add(&mut sum.vector, point.vector);
        sum.n += 1;
        sum.squares += dot_f64(point.vector, point.vector);
    }
    sums
}

/// Silhouettes: per track (b − a) / max(a, b), with a the mean distance to the rest of its own cluster
/// and b that to the nearest other one; 0 for a track alone in its cluster. Range −1 to 1. Empty unless
/// there are at least two clusters and one of them has two tracks.
///
/// Does not show wrong merges of people who look similar: only embeddings are compared. Source: Rousseeuw
/// 1987; `sklearn.metrics.silhouette_score(metric="cosine")`.
pub fn silhouettes(points: &[Point<'_>]) -> Vec<f64> {
    let sums = sums(points);
    if sums.len() < 2 || sums.len() == points.len() {
        return Vec::new();
    }
    let silhouette = |point: &Point<'_>| {
        let (mut own, mut nearest) = (None, f64::INFINITY);
        for (cluster, sum) in &sums {
            let n = sum.n as f64;
            let distances = n - dot_in_lanes_f64(&sum.vector, point.vector);
            if *cluster != point.cluster_id {
                nearest = nearest.min(distances / n);
            } else if sum.n > 1 {
                own = Some((distances - (1.0 - dot_f64(point.vector, point.vector))) / (n - 1.0));
            }
        }
        let larger = own.map_or(0.0, |own: f64| own.max(nearest));
        own.filter(|_| larger > 0.0).map_or(0.0, |own| (nearest - own) / larger)
    };
    points.iter().map(silhouette).collect()
}

/// Mean cosine similarity over pairs of tracks of one cluster, −1 to 1, and the number of pairs; `None` without
/// such a pair.
pub fn within(points: &[Point<'_>]) -> Option<(f64, usize)> {
    let sums = sums(points);
    let (n, dots) = sums.values().fold((0, 0.0), |(n, dots), sum| {
        (n + sum.n * (sum.n - 1) / 2, dots + (norm2(&sum.vector) - sum.squares) / 2.0)
    });
    (n > 0).then(|| (dots / n as f64, n))
}

/// Mean cosine similarity over pairs of tracks of different clusters, −1 to 1, and the number of pairs; `None`
/// without such a pair.
pub fn between(points: &[Point<'_>]) -> Option<(f64, usize)> {
    let sums = sums(points);
    let dim = points.first()?.vector.len();
    let mut all = vec![0.0; dim];
    let (mut same_pairs, mut same_dots) = (0, 0.0);
    for sum in sums.values() {
        all.iter_mut().zip(&sum.vector).for_each(|(a, s)| *a += s);
        same_pairs += sum.n * sum.n;
        same_dots += norm2(&sum.vector);
    }
    let n = (points.len() * points.len() - same_pairs) / 2;
    (n > 0).then(|| ((norm2(&all) - same_dots) / 2.0 / n as f64, n))
}

fn norm2(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(cluster_id: i64, vector: &[f32]) -> Point<'_> {
        Point { cluster_id, vector }
    }

    #[test]
    fn figures_without_the_pairs_they_need_are_absent() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        assert!(silhouettes(&[]).is_empty());
        assert!(silhouettes(&[point(0, &a), point(0, &b)]).is_empty());
        assert!(silhouettes(&[point(0, &a), point(1, &b)]).is_empty());
        assert_eq!(within(&[point(0, &a)]), None);
        assert_eq!(between(&[point(0, &a), point(0, &b)]), None);
    }

    #[test]
    fn two_tight_clusters_at_right_angles() {
        let (a, b) = ([1.0, 0.0], [0.0, 1.0]);
        let points = [point(0, &a), point(0, &a), point(1, &b), point(1, &b)];
        assert_eq!(silhouettes(&points), [1.0; 4]);
        assert_eq!(within(&points), Some((1.0, 2)));
        assert_eq!(between(&points), Some((0.0, 4)));
    }
}
