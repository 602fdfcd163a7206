//! The highest scores that each of some queries has met so far.

use super::tile::{Hear, Query};

/// A score and whose it is.
pub(super) type Scored = (f32, u32);

/// Keeps `k` rows for every query, those of the highest scores above a floor.
pub(super) struct Best<'a, F> {
    k: usize,
    /// What a query's row and another row score, given their product, which is no less.
    score: &'a F,
    queries: &'a [Query],
    /// Up to `2 k` for each query.
    lists: Vec<Vec<Scored>>,
    bounds: Vec<f32>,
}

impl<'a, F: Fn(u32, u32, f32) -> f32> Best<'a, F> {
    pub(super) fn new(queries: &'a [Query], k: usize, floor: f32, score: &'a F) -> Self {
        Self { k, score, queries, lists: vec![Vec::new(); queries.len()], bounds: vec![floor; queries.len()] }
    }

    /// For each query its rows, the best first.
    pub(super) fn into_lists(mut self) -> Vec<Vec<Scored>> {
        for list in &mut self.lists {
            list.sort_unstable_by(better);
            list.truncate(self.k);
        }
        self.lists
    }
}

impl<F: Fn(u32, u32, f32) -> f32> Hear for Best<'_, F> {
    #[inline(always)]
    fn bound(&self, query: u32) -> f32 {
        self.bounds[query as usize]
    }

    fn hear(&mut self, query: u32, row: u32, product: f32) {
        let place = query as usize;
        let score = (self.score)(self.queries[place].row, row, product);
        if score <= self.bounds[place] {
            return;
        }
        let list = &mut self.lists[place];
        list.push((score, row));
        if list.len() == 2 * self.k {
            list.select_nth_unstable_by(self.k - 1, better);
            list.truncate(self.k);
            self.bounds[place] = list[self.k - 1].0;
        }
    }
}

fn better(a: &Scored, b: &Scored) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}
