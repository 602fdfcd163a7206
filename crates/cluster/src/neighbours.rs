//! The nearest neighbours of rows, by inner product.
//!
//! Rows lie in *cells*, and a query is compared with all rows of the cells it is nearest to. Up to
//! [`Search::exact_pairs`] there is one cell, and the answer is exact. Above, cells are those of
//! spherical K-means (Dhillon and Modha, Machine Learning 2001) on a sample, as in an inverted file
//! (Jégou, Douze and Schmid, TPAMI 2011), and some neighbours are missed. Either way the answer does not
//! depend on threads, nor on the order of rows but where similarities are equal.

mod best;
mod cells;
#[cfg(test)]
mod tests;
mod tile;

use std::ops::Range;

use pulp::Arch;

use crate::items::Vectors;
use crate::neighbours::best::{Best, Scored};
use crate::neighbours::cells::Cells;
use crate::neighbours::tile::{Panels, Query};
use crate::parallel::in_parallel;

/// How neighbours are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Neighbours of a row, from 1.
    pub k: usize,
    /// Up to so many pairs of a query and a row are all looked at; the answer is then exact.
    pub exact_pairs: usize,
    /// Cells that a row looks into where there are many.
    pub probes: usize,
    /// Threads, from 1; they don't change the result.
    pub threads: usize,
}

impl Search {
    /// As measured on synthetic people (`cargo xtask bench cluster`): beyond 64 neighbours the time for
    /// merging grows, below, clusters ask more often. Up to 130,000 rows every search is exact; above, 32
    /// cells of 2 √n find all but so few neighbours that no figure moves by 0.001.
    pub fn new(threads: usize) -> Self {
        Self { k: 64, exact_pairs: 1 << 34, probes: 32, threads }
    }

    /// Whether a search among so many rows for so many queries misses nothing.
    pub fn is_exact(&self, rows: usize, queries: usize) -> bool {
        rows.saturating_mul(queries) <= self.exact_pairs
    }
}

/// Some rows of some vectors.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The vectors.
    pub of: &'a Vectors,
    /// Which of them.
    pub rows: &'a [u32],
}

/// Two rows and how similar they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edge {
    /// Row of the query.
    pub a: u32,
    /// Row of its neighbour.
    pub b: u32,
    /// Inner product, less the penalty.
    pub similarity: f32,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// From queries to their neighbours, in no order of meaning.
    pub edges: Vec<Edge>,
    /// For each query, how similar a row can be at most that is not among its neighbours, in an exact
    /// search.
    pub bounds: Vec<f32>,
}

/// Queries that are answered together: enough to fill tiles, few enough to stay in the cache.
const BATCH: usize = 4096;
/// Fewer are not worth a pass over the rows.
const LEAST_BATCH: usize = 96;

/// The up to [`Search::k`] rows `among` some that are most similar to each of `queries`, as far as they are
/// more similar than `floor`. The `penalty` of a query's row and another, from 0, is taken off their
/// similarity; an infinite one keeps a row from being its own neighbour. `advance` hears how many queries
/// have been answered.
pub fn nearest(
    among: Rows<'_>,
    queries: Rows<'_>,
    floor: f32,
    penalty: impl Fn(u32, u32) -> f32 + Sync,
    search: &Search,
    advance: &mut dyn FnMut(usize),
) -> Found {
    let index = Index::new(among, queries.rows.len(), search);
    let vectors = queries.of;
    let queries = index.numbered(queries, search.threads);
    let size = (queries.len() / (4 * search.threads)).clamp(LEAST_BATCH, BATCH);
    let batches: Vec<_> = queries.chunks(size).collect();
    let score = |query, row, product| product - penalty(query, row);
    let answer = |batch: &&[Query]| index.best(vectors, batch, floor, search, &score);
    let answers = in_parallel(search.threads, &batches, answer, &mut |taken| advance(taken * size));
    let mut found = Found { edges: Vec::new(), bounds: vec![floor; queries.len()] };
    for (query, best) in queries.iter().zip(answers.into_iter().flatten()) {
        // A list that is not full leaves nothing out that is above the floor.
        if let Some((lowest, _)) = best.get(search.k - 1) {
            found.bounds[query.number as usize] = *lowest;
        }
        let edge = |(similarity, b)| Edge { a: query.row, b, similarity };
        found.edges.extend(best.into_iter().map(edge));
    }
    found
}

/// Rows, sorted into cells.
struct Index {
    panels: Panels,
    /// The panels of each cell.
    cells: Vec<Range<usize>>,
    /// Unless there is one cell only.
    directions: Option<Cells>,
}

impl Index {
    fn new(Rows { of: vectors, rows: among }: Rows<'_>, queries: usize, search: &Search) -> Self {
        let arch = Arch::new();
        if search.is_exact(among.len(), queries) {
            let mut panels = Panels::new(arch, vectors.dim(), among.len(), 1);
            let all = panels.append(vectors, among);
            return Self { panels, cells: vec![all], directions: None };
        }
        let directions = Cells::new(arch, vectors, among, search.threads);
        let mut rows = vec![Vec::new(); directions.len()];
        for (row, cell) in among.iter().zip(directions.nearest(vectors, among, 1, search.threads)) {
            rows[cell[0] as usize].push(*row);
        }
        let mut panels = Panels::new(arch, vectors.dim(), among.len(), rows.len());
        let cells = rows.iter().map(|rows| panels.append(vectors, rows)).collect();
        Self { panels, cells, directions: Some(directions) }
    }

    /// Queries in an order in which those of a batch look into the same cells.
    fn numbered(&self, Rows { of: vectors, rows }: Rows<'_>, threads: usize) -> Vec<Query> {
        let numbered = (0..).zip(rows).map(|(number, row)| Query { number, row: *row });
        let Some(directions) = &self.directions else { return numbered.collect() };
        let cells = directions.nearest(vectors, rows, 1, threads);
        let mut ordered: Vec<_> = numbered.zip(cells).map(|(query, cell)| (cell[0], query)).collect();
        ordered.sort_unstable();
        ordered.into_iter().map(|(_, query)| query).collect()
    }

    /// The best rows for each query of a batch, the best first.
    fn best(
        &self,
        vectors: &Vectors,
        batch: &[Query],
        floor: f32,
        search: &Search,
        score: &impl Fn(u32, u32, f32) -> f32,
    ) -> Vec<Vec<Scored>> {
        let local = |(number, query): (u32, &Query)| Query { number, row: query.row };
        let queries: Vec<_> = (0..).zip(batch).map(local).collect();
        let mut best = Best::new(&queries, search.k, floor, score);
        for (cell, queries) in self.visits(vectors, &queries, search.probes) {
            self.panels.multiply(self.cells[cell].clone(), vectors, &queries, &mut best);
        }
        best.into_lists()
    }

    /// Who looks into which cell.
    fn visits(&self, vectors: &Vectors, queries: &[Query], probes: usize) -> Vec<(usize, Vec<Query>)> {
        let Some(directions) = &self.directions else { return vec![(0, queries.to_vec())] };
        let rows: Vec<_> = queries.iter().map(|query| query.row).collect();
        let mut visitors = vec![Vec::new(); self.cells.len()];
        for (query, cells) in queries.iter().zip(directions.nearest(vectors, &rows, probes, 1)) {
            cells.into_iter().for_each(|cell| visitors[cell as usize].push(*query));
        }
        visitors.into_iter().enumerate().filter(|(_, queries)| !queries.is_empty()).collect()
    }
}
