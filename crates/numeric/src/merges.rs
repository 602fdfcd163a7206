//! Disjoint sets that grow by merges (union–find), numbered as dendrograms number their nodes.

use std::cmp::Ordering;

/// A pair of clusters as they were when they were compared, for a heap. The greatest pair has the largest gain, and among
/// equals the first clusters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// What merging the two gains; no NaN.
    pub gain: f64,
    /// The two clusters.
    pub clusters: [u32; 2],
    /// Versions of the two, which change when a cluster is merged.
    pub versions: [u32; 2],
}

impl Eq for Pair {}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then_with(|| other.clusters.cmp(&self.clusters))
    }
}

/// Which items have been merged. Nodes are the items, 0 to n − 1, then one for each merge, as in SciPy's
/// dendrograms. A node that is no root has been merged since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merges {
    parent: Vec<u32>,
    /// The first item of each node, which stands for it.
    first: Vec<u32>,
}

impl Merges {
    /// `n` items that are sets of their own.
    pub fn new(n: usize) -> Self {
        let items: Vec<u32> = (0..n as u32).collect();
        Self { parent: items.clone(), first: items }
    }

    /// Whether there is a node of this number.
    pub fn has(&self, node: u32) -> bool {
        (node as usize) < self.parent.len()
    }

    /// The root above a node (path halving).
    pub fn root(&mut self, mut node: u32) -> u32 {
        while self.parent[node as usize] != node {
            let above = self.parent[self.parent[node as usize] as usize];
            self.parent[node as usize] = above;
            node = above;
        }
        node
    }

    /// The first item of the set that a node is part of.
    pub fn first(&mut self, node: u32) -> u32 {
        let root = self.root(node);
        self.first[root as usize]
    }

    /// Makes one set of two, given by their roots; returns the new root.
    pub fn merge(&mut self, a: u32, b: u32) -> u32 {
        let node = self.parent.len() as u32;
        self.parent[a as usize] = node;
        self.parent[b as usize] = node;
        self.parent.push(node);
        self.first.push(self.first[a as usize].min(self.first[b as usize]));
        node
    }

    /// Makes one set of those that two nodes are part of, unless they are one already.
    pub fn unite(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if a != b {
            self.merge(a, b);
        }
    }

    /// Set of each of the first `n` items; sets are numbered from 0 by their first items.
    pub fn labels(&mut self, n: usize) -> Vec<usize> {
        let mut labels: Vec<usize> = Vec::with_capacity(n);
        let mut count = 0;
        for item in 0..n as u32 {
            let first = self.first(item);
            let label = if first == item { count } else { labels[first as usize] };
            count += usize::from(first == item);
            labels.push(label);
        }
        labels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_numbered_by_their_first_items() {
        let mut sets = Merges::new(6);
        for (a, b) in [(4, 1), (2, 5), (5, 4), (1, 2)] {
            sets.unite(a, b);
        }
        assert_eq!(sets.labels(6), [0, 1, 1, 2, 1, 1]);
    }

    #[test]
    fn a_merge_makes_the_next_node() {
        let mut merges = Merges::new(3);
        assert_eq!((merges.merge(1, 2), merges.merge(0, 3)), (3, 4));
        assert_eq!([merges.root(2), merges.first(3), merges.first(1)], [4, 0, 0]);
        assert_eq!((merges.has(4), merges.has(5)), (true, false));
    }
}
