//! Inner products of many rows with many rows, as tiles that fill the vector registers.
//!
//! A product is summed over the numbers of a row in their order, by fused multiply-adds, so its bits do
//! not depend on the instruction set, on where its rows lie, or on which of them comes first.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::items::Vectors;

/// The widest panel, in rows.
const WIDEST: usize = 32;
/// In place of a row where the last panel of some is not full.
const NONE: u32 = u32::MAX;

/// Rows in panels of some side by side, first numbers first.
pub(super) struct Panels {
    arch: Arch,
    dim: usize,
    /// Rows of a panel: two vectors of a wide instruction set, more of a narrow one.
    width: usize,
    /// `[panel][number of the row][row of the panel]`.
    values: Vec<f32>,
    /// Where rows come from, filled up by [`NONE`].
    rows: Vec<u32>,
}

impl Panels {
    /// Of rows of `dim` numbers, for about so many rows in so many groups.
    pub(super) fn new(arch: Arch, dim: usize, rows: usize, groups: usize) -> Self {
        let width = arch.dispatch(Width);
        let places = rows + groups * (width - 1);
        Self { arch, dim, width, values: Vec::with_capacity(places * dim), rows: Vec::with_capacity(places) }
    }

    /// Appends a group of rows, which begins a panel; returns its panels.
    pub(super) fn append(&mut self, vectors: &Vectors, group: &[u32]) -> Range<usize> {
        let first = self.len();
        for rows in group.chunks(self.width) {
            let start = self.values.len();
            self.values.resize(start + self.width * self.dim, 0.0);
            for (lane, row) in rows.iter().enumerate() {
                let places = self.values[start + lane..].iter_mut().step_by(self.width);
                places.zip(vectors.row(*row as usize)).for_each(|(place, value)| *place = *value);
            }
            self.rows.extend(rows);
            self.rows.resize(self.values.len() / self.dim, NONE);
        }
        first..self.len()
    }

    /// Number of panels.
    pub(super) fn len(&self) -> usize {
        self.rows.len() / self.width
    }

    /// Multiplies rows of some panels with those of `queries`, which have a number each, and lets hear of
    /// products above the query's bound.
    pub(super) fn multiply(
        &self,
        range: Range<usize>,
        vectors: &Vectors,
        queries: &[Query],
        heard: &mut impl Hear,
    ) {
        self.arch.dispatch(Product { panels: self, range, vectors, queries, heard });
    }

    fn panel(&self, panel: usize) -> (&[f32], &[u32]) {
        let size = self.width * self.dim;
        (&self.values[panel * size..][..size], &self.rows[panel * self.width..][..self.width])
    }
}

/// A row that others are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Query {
    /// What the listener calls it.
    pub(super) number: u32,
    pub(super) row: u32,
}

/// Who wants to hear of products above a bound of its own.
pub(super) trait Hear {
    /// The bound of the query with this number.
    fn bound(&self, query: u32) -> f32;
    /// A product of this query above its bound.
    fn hear(&mut self, query: u32, row: u32, product: f32);
}

/// Asks for the rows of a panel.
struct Width;

impl WithSimd for Width {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        if S::F32_LANES == 16 { WIDEST } else { 16 }
    }
}

struct Product<'a, H> {
    panels: &'a Panels,
    range: Range<usize>,
    vectors: &'a Vectors,
    queries: &'a [Query],
    heard: &'a mut H,
}

impl<H: Hear> WithSimd for Product<'_, H> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 2, 12>(simd),
            8 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 6>(simd),
            _ => self.run::<S, 16, 1>(simd),
        }
    }
}

impl<H: Hear> Product<'_, H> {
    /// Panels of `V` vectors with `Q` queries at a time.
    #[inline(always)]
    fn run<S: Simd, const V: usize, const Q: usize>(self, simd: S) {
        let dim = self.vectors.dim();
        // Queries side by side, like panels of width `Q`.
        let mut packed = vec![[0.0_f32; Q]; self.queries.len().div_ceil(Q) * dim];
        for (i, Query { row, .. }) in self.queries.iter().enumerate() {
            let places = packed[i / Q * dim..].iter_mut();
            places.zip(self.vectors.row(*row as usize)).for_each(|(place, value)| place[i % Q] = *value);
        }
        for panel in self.range {
            let (values, rows) = self.panels.panel(panel);
            for (queries, packed) in self.queries.chunks(Q).zip(packed.chunks_exact(dim)) {
                let mut bounds = [f32::INFINITY; Q];
                for (bound, Query { number, .. }) in bounds.iter_mut().zip(queries) {
                    *bound = self.heard.bound(*number);
                }
                let mut products = [[0.0_f32; WIDEST]; Q];
                let tile =
                    Tile::<V, Q> { panel: values, queries: packed, bounds: &bounds, products: &mut products };
                let above = simd.vectorize(tile);
                if above == 0 {
                    continue;
                }
                for (q, Query { number, .. }) in
                    queries.iter().enumerate().filter(|(q, _)| above >> q & 1 == 1)
                {
                    for (row, product) in rows.iter().zip(products[q]) {
                        if product > bounds[q] && *row != NONE {
                            self.heard.hear(*number, *row, product);
                        }
                    }
                }
            }
        }
    }
}

/// `Q` queries × `V` vectors of rows; says for which queries a product is above the bound, as bits, and
/// stores the products of these.
struct Tile<'a, const V: usize, const Q: usize> {
    panel: &'a [f32],
    queries: &'a [[f32; Q]],
    bounds: &'a [f32; Q],
    products: &'a mut [[f32; WIDEST]; Q],
}

#[expect(clippy::needless_range_loop, clippy::manual_memcpy, reason = "see the comment inside")]
impl<const V: usize, const Q: usize> WithSimd for Tile<'_, V, Q> {
    type Output = u32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u32 {
        let (panel, _) = S::as_simd_f32s(self.panel).0.as_chunks::<V>();
        let mut sums = [[simd.splat_f32s(0.0); V]; Q];
        for (rows, queries) in panel.iter().zip(self.queries) {
            for q in 0..Q {
                let query = simd.splat_f32s(queries[q]);
                for v in 0..V {
                    sums[q][v] = simd.mul_add_e_f32s(query, rows[v], sums[q][v]);
                }
            }
        }
        // Only numbers index the sums: an iterator would borrow them, and the loop above would write all of them to memory
        // in every step, at half the speed.
        let mut above = 0;
        for q in 0..Q {
            let mut highest = sums[q][0];
            for v in 1..V {
                highest = simd.max_f32s(highest, sums[q][v]);
            }
            let mask = simd.greater_than_f32s(highest, simd.splat_f32s(self.bounds[q]));
            if simd.first_true_m32s(mask) < S::F32_LANES {
                above |= 1 << q;
                let products = S::as_mut_simd_f32s(&mut self.products[q][..V * S::F32_LANES]).0;
                for v in 0..V {
                    products[v] = sums[q][v];
                }
            }
        }
        above
    }
}
