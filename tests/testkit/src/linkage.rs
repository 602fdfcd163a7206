//! Average linkage by its definition, to compare with.

use numeric::vector::dot_f64;

/// Merges by weighted average linkage of the cosine distance: of unit vectors, the two clusters of the smallest mean
/// distance are merged until there are none within `threshold`. `penalty` is added to the distance of two clusters
/// with a pair of `cannot_link` between them. A merge is the first items of both clusters, and their distance. Memory
/// grows with the square of the number of items, and time with its cube at worst.
pub fn average(
    vectors: &[&[f32]],
    weights: &[f32],
    cannot_link: &[(usize, usize)],
    penalty: f32,
    threshold: f64,
) -> Vec<(usize, usize, f64)> {
    let mut table = Table::new(vectors, weights, cannot_link, penalty);
    let mut merges = Vec::new();
    while let Some((x, y, height)) = table.closest().filter(|(x, y, height)| x != y && *height <= threshold) {
        merges.push(table.merge(x, y, height));
    }
    merges
}

/// All pairs of clusters. A cluster goes by its first item.
struct Table {
    /// Weighted sum of the distances between the items of two clusters.
    distance: Vec<Vec<f64>>,
    /// What is added to their mean.
    penalty: Vec<Vec<f32>>,
    weight: Vec<f64>,
    living: Vec<usize>,
    /// Height and second cluster of the lowest merge with a later cluster.
    lowest: Vec<(f64, usize)>,
}

impl Table {
    fn new(vectors: &[&[f32]], weights: &[f32], cannot_link: &[(usize, usize)], penalty: f32) -> Self {
        let n = vectors.len();
        let weight: Vec<_> = weights.iter().copied().map(f64::from).collect();
        let dot = |a: usize, b: usize| dot_f64(vectors[a], vectors[b]);
        let row = |a: usize| (0..n).map(|b| weight[a] * weight[b] * (1.0 - dot(a, b))).collect();
        let mut penalties = vec![vec![0.0_f32; n]; n];
        for &(a, b) in cannot_link {
            (penalties[a][b], penalties[b][a]) = (penalty, penalty);
        }
        let mut table = Self {
            distance: (0..n).map(row).collect(),
            penalty: penalties,
            weight,
            living: (0..n).collect(),
            lowest: vec![(f64::INFINITY, 0); n],
        };
        (0..n).for_each(|x| table.look(x));
        table
    }

    fn height(&self, x: usize, y: usize) -> f64 {
        self.distance[x][y] / (self.weight[x] * self.weight[y]) + f64::from(self.penalty[x][y])
    }

    /// Finds the lowest merge of `x` with a later cluster.
    fn look(&mut self, x: usize) {
        let later = self.living.iter().filter(|y| **y > x).map(|y| (self.height(x, *y), *y));
        self.lowest[x] = later.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, x));
    }

    /// The lowest merge of all: both clusters and its height.
    fn closest(&self) -> Option<(usize, usize, f64)> {
        let all = self.living.iter().map(|x| (*x, self.lowest[*x].1, self.lowest[*x].0));
        all.min_by(|a, b| a.2.total_cmp(&b.2))
    }

    fn merge(&mut self, x: usize, y: usize, height: f64) -> (usize, usize, f64) {
        let (into, from) = (x.min(y), x.max(y));
        self.living.retain(|z| *z != from);
        for z in self.living.clone() {
            for (a, b, gone) in [(into, z, (from, z)), (z, into, (z, from))] {
                self.distance[a][b] += self.distance[gone.0][gone.1];
                self.penalty[a][b] = self.penalty[a][b].max(self.penalty[gone.0][gone.1]);
            }
        }
        self.weight[into] += self.weight[from];
        for z in self.living.clone() {
            if z == into || [into, from].contains(&self.lowest[z].1) {
                self.look(z);
            }
        }
        (into, from, height.max(0.0))
    }
}
