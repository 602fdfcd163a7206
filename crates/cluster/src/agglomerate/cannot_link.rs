//! Which clusters should stay apart, and how strongly.

use super::CannotLink;

/// For every cluster, those it should stay apart from.
#[derive(Debug)]
pub(super) struct Apart {
    /// Clusters as they were when this was last settled, with strengths.
    of: Vec<Vec<(u32, f32)>>,
}

impl Apart {
    pub(super) fn new(n: usize, pairs: &[CannotLink]) -> Self {
        let mut of = vec![Vec::new(); n];
        for pair in pairs {
            of[pair.a].push((pair.b as u32, pair.strength));
            of[pair.b].push((pair.a as u32, pair.strength));
        }
        Self { of }
    }

    /// The strongest of the pairs between two clusters, 0 without one. `now` says what has become of a
    /// cluster.
    pub(super) fn between(&self, a: u32, b: u32, mut now: impl FnMut(u32) -> u32) -> f32 {
        let (a, b) = if self.of[a as usize].len() <= self.of[b as usize].len() { (a, b) } else { (b, a) };
        let pairs = self.of[a as usize].iter().filter(|(other, _)| now(*other) == b);
        pairs.fold(0.0, |strongest, (_, strength)| strength.max(strongest))
    }

    /// One cluster takes the other in.
    pub(super) fn merge(&mut self, into: u32, from: u32) {
        let mut from = std::mem::take(&mut self.of[from as usize]);
        let into = &mut self.of[into as usize];
        if from.len() > into.len() {
            std::mem::swap(&mut from, into);
        }
        into.append(&mut from);
    }

    /// Calls clusters what they are now, and keeps the strongest of several pairs.
    pub(super) fn settle(&mut self, mut now: impl FnMut(u32) -> u32) {
        for pairs in self.of.iter_mut().filter(|pairs| !pairs.is_empty()) {
            pairs.iter_mut().for_each(|(other, _)| *other = now(*other));
            pairs.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)));
            pairs.dedup_by_key(|(other, _)| *other);
        }
    }
}
