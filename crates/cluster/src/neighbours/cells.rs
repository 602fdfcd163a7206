//! Where the cells of many rows lie: spherical K-means on a sample.

use numeric::kmeans;
use numeric::vector::norm;
use pulp::Arch;

use super::best::Best;
use super::tile::{Panels, Query};
use crate::items::Vectors;
use crate::parallel::in_parallel;

/// Rows of the sample for each cell.
const SAMPLES: usize = 48;
/// Rounds of K-means; more of them find no more neighbours.
const ROUNDS: usize = 6;
/// Rows that look for their cells together.
const BATCH: usize = 4096;

/// Directions that rows can be sorted by.
pub(super) struct Cells {
    dim: usize,
    count: usize,
    panels: Panels,
}

impl Cells {
    /// Cells for rows `among` some: twice the square root of their number.
    pub(super) fn new(arch: Arch, vectors: &Vectors, among: &[u32], threads: usize) -> Self {
        let count = 2 * among.len().isqrt();
        let sample = sample(vectors, among, count * SAMPLES);
        let firsts = sample.iter().step_by(SAMPLES).flat_map(|row| vectors.row(*row as usize));
        let cells = Self::of(arch, vectors.dim(), firsts.copied().collect());
        let assign = |cells: &mut Self| {
            let nearest = cells.nearest(vectors, &sample, 1, threads);
            nearest.iter().map(|cells| cells[0] as usize).collect::<Vec<_>>()
        };
        let update = |cells: Self, owners: &[usize]| {
            let rows = sample.iter().map(|row| vectors.row(*row as usize)).zip(owners.iter().copied());
            let sums = kmeans::sums::<f32>(cells.count, cells.dim, rows);
            Self::of(arch, cells.dim, sums.into_iter().flat_map(|(sum, _)| sum).collect())
        };
        kmeans::lloyd(cells, ROUNDS, assign, update).0
    }

    /// Cells with centres in these directions. A cell that no row is near to has no direction, and stays empty.
    fn of(arch: Arch, dim: usize, mut centres: Vec<f32>) -> Self {
        for centre in centres.chunks_exact_mut(dim) {
            let norm = norm(centre);
            centre.iter_mut().for_each(|value| *value /= norm.max(f32::MIN_POSITIVE));
        }
        let centres = Vectors::trusted(dim, centres);
        let count = centres.len();
        let mut panels = Panels::new(arch, dim, count, 1);
        panels.append(&centres, &(0..count as u32).collect::<Vec<_>>());
        Self { dim, count, panels }
    }

    /// Number of cells.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The `k` cells nearest to each row, the nearest first.
    pub(super) fn nearest(&self, vectors: &Vectors, rows: &[u32], k: usize, threads: usize) -> Vec<Vec<u32>> {
        let batches: Vec<_> = rows.chunks(BATCH).collect();
        let answer = |batch: &&[u32]| self.nearest_of(vectors, batch, k);
        in_parallel(threads, &batches, answer, &mut |_| ()).into_iter().flatten().collect()
    }

    fn nearest_of(&self, vectors: &Vectors, rows: &[u32], k: usize) -> Vec<Vec<u32>> {
        let queries: Vec<_> = (0..).zip(rows).map(|(number, row)| Query { number, row: *row }).collect();
        let mut best = Best::new(&queries, k, f32::MIN, &|_, _, product| product);
        self.panels.multiply(0..self.panels.len(), vectors, &queries, &mut best);
        best.into_lists().into_iter().map(|list| list.into_iter().map(|(_, cell)| cell).collect()).collect()
    }
}

/// `count` rows in an order that depends on nothing but what is in them.
fn sample(vectors: &Vectors, among: &[u32], count: usize) -> Vec<u32> {
    let hash = |row: &u32| {
        // FNV-1a over 64-bit words.
        let mix = |hash: u64, value: &f32| (hash ^ u64::from(value.to_bits())).wrapping_mul(0x100_0000_01b3);
        vectors.row(*row as usize).iter().fold(0xcbf2_9ce4_8422_2325, mix)
    };
    let mut hashed: Vec<_> = among.iter().map(|row| (hash(row), *row)).collect();
    hashed.sort_unstable();
    hashed.into_iter().take(count).map(|(_, row)| row).collect()
}
