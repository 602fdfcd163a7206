//! Which items have been merged: a disjoint-set forest whose nodes never change.

/// Nodes are the items, then one for each merge. A node that is no root has been merged since.
#[derive(Debug)]
pub(super) struct Forest {
    parent: Vec<u32>,
    /// The first item of each node, which stands for it.
    first: Vec<u32>,
}

impl Forest {
    pub(super) fn new(n: usize) -> Self {
        let items: Vec<u32> = (0..n as u32).collect();
        Self { parent: items.clone(), first: items }
    }

    /// The root above a node (path halving).
    pub(super) fn root(&mut self, mut node: u32) -> u32 {
        while self.parent[node as usize] != node {
            let above = self.parent[self.parent[node as usize] as usize];
            self.parent[node as usize] = above;
            node = above;
        }
        node
    }

    /// The item that stands for the cluster of a node.
    pub(super) fn first(&mut self, node: u32) -> u32 {
        let root = self.root(node);
        self.first[root as usize]
    }

    /// Merges two roots; returns the new one.
    pub(super) fn merge(&mut self, a: u32, b: u32) -> u32 {
        let node = self.parent.len() as u32;
        self.parent[a as usize] = node;
        self.parent[b as usize] = node;
        self.parent.push(node);
        self.first.push(self.first[a as usize].min(self.first[b as usize]));
        node
    }

    /// Cluster of each of the first `n` nodes, numbered by their first item.
    pub(super) fn labels(&mut self, n: usize) -> Vec<usize> {
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
