//! Which clusters cannot be linked.

/// For every cluster, those that it cannot be linked with.
#[derive(Debug)]
pub(super) struct CannotLink {
    /// Clusters as they were called when [`Self::renumber`] was last called.
    of: Vec<Vec<u32>>,
}

impl CannotLink {
    pub(super) fn new(n: usize, pairs: &[(usize, usize)]) -> Self {
        let mut of = vec![Vec::new(); n];
        for (a, b) in pairs {
            of[*a].push(*b as u32);
            of[*b].push(*a as u32);
        }
        Self { of }
    }

    /// Whether there is a pair between two clusters. `now` gives the present number of a cluster.
    pub(super) fn has(&self, a: u32, b: u32, mut now: impl FnMut(u32) -> u32) -> bool {
        let (a, b) = if self.of[a as usize].len() <= self.of[b as usize].len() { (a, b) } else { (b, a) };
        self.of[a as usize].iter().any(|other| now(*other) == b)
    }

    /// Cluster `into` takes `from` in.
    pub(super) fn merge(&mut self, into: u32, from: u32) {
        let mut from = std::mem::take(&mut self.of[from as usize]);
        let into = &mut self.of[into as usize];
        if from.len() > into.len() {
            std::mem::swap(&mut from, into);
        }
        into.append(&mut from);
    }

    /// Replaces the numbers of clusters by their present ones, each once.
    pub(super) fn renumber(&mut self, mut now: impl FnMut(u32) -> u32) {
        for others in self.of.iter_mut().filter(|others| !others.is_empty()) {
            others.iter_mut().for_each(|other| *other = now(*other));
            others.sort_unstable();
            others.dedup();
        }
    }
}
