//! Dense 3×3 convolutions by Winograd's F(4×4, 3×3): a quarter of the products of a direct one.
//!
//! A tile of 4×4 outputs is 36 products in a transformed space, each a matrix product over all tiles. Tiles
//! lie at multiples of 4 in every image, so results do not depend on which rows are computed together.

use std::ops::Range;

use pulp::Arch;

use crate::band::{Aligned, Band, CELL, Spare};
use crate::kernel::winograd::{Forward, Inverse, REACH, Tile, WEIGHTS};
pub(crate) use crate::kernel::winograd::{POINTS, SIDE};
use crate::kernel::{Dense, Epilogue};

/// Floats of transformed tiles that are to be in the cache together.
const CACHED: usize = 256 << 10;
/// Tiles at a time at least, so that large weights are read once for many.
const LEAST_TILES: usize = 112;

/// `G g Gᵀ` of every pair of an output and an input: `[point][block of outputs][input][output]`.
pub(crate) fn pack(weight: &[f32], outputs: usize, inputs: usize) -> Aligned {
    let (blocks, padded) = (outputs.div_ceil(CELL), inputs.next_multiple_of(CELL));
    let pitch = blocks * padded * CELL;
    let mut packed = Aligned::zeros(POINTS * pitch);
    for (i, kernel) in weight.as_chunks::<9>().0.iter().enumerate() {
        let (output, input) = (i / inputs, i % inputs);
        let at = (output / CELL * padded + input) * CELL + output % CELL;
        for point in 0..POINTS {
            let (rows, columns) = (WEIGHTS[point / REACH], WEIGHTS[point % REACH]);
            let terms = kernel.iter().enumerate();
            let sum: f64 = terms.map(|(k, w)| f64::from(*w) * rows[k / 3] * columns[k % 3]).sum();
            packed.as_mut_slice()[point * pitch + at] = sum as f32;
        }
    }
    packed
}

/// A layer.
pub(crate) struct Winograd<'a> {
    pub(crate) inputs: usize,
    /// See [`pack`].
    pub(crate) weight: &'a [f32],
    /// Padded to whole cells.
    pub(crate) bias: &'a [f32],
    pub(crate) epilogue: &'a Epilogue,
    /// Rows and columns.
    pub(crate) padding: [usize; 2],
}

impl Winograd<'_> {
    /// Output rows `rows`, which begin and end at multiples of [`SIDE`] in an image, or at its end.
    pub(crate) fn run(
        &self,
        arch: Arch,
        input: &Band,
        rows: Range<usize>,
        out: &mut Band,
        spare: &mut Spare,
    ) {
        let blocks = [self.inputs.div_ceil(CELL), self.bias.len() / CELL];
        let tiles = self.tiles(input, rows, out);
        let most = (CACHED / (POINTS * CELL * (blocks[0] + blocks[1]))).max(LEAST_TILES).min(tiles.len());
        // A line more, so that the points of a tile do not share the same few sets of the cache.
        let pitches = blocks.map(|blocks| (blocks * most + 1) * CELL);
        let mut spaces = pitches.map(|pitch| spare.take(POINTS * pitch));
        let zeros = vec![0.0; self.bias.len()];
        for tiles in tiles.chunks(most) {
            let [points, products] = spaces.each_mut().map(Aligned::as_mut_slice);
            arch.dispatch(Forward {
                tiles,
                input: input.data(),
                input_pitch: input.pitch(),
                input_width: input.extent().width,
                padding: self.padding[1],
                blocks: blocks[0],
                out: points,
                pitch: pitches[0],
            });
            let starts: Vec<_> = (0..blocks[0]).map(|block| block * tiles.len()).collect();
            let weights = self.weight.chunks_exact(blocks[0] * CELL * self.bias.len());
            for (point, weight) in weights.take(POINTS).enumerate() {
                arch.dispatch(Dense {
                    input: &points[point * pitches[0]..],
                    cell: CELL,
                    starts: &starts,
                    rows: &[0],
                    weight,
                    bias: &zeros,
                    epilogue: &Epilogue::Identity,
                    pixels: tiles.len(),
                    out: &mut products[point * pitches[1]..],
                    pitch: tiles.len() * CELL,
                });
            }
            let (pitch, width) = (out.pitch(), out.extent().width);
            arch.dispatch(Inverse {
                tiles,
                input: products,
                input_pitch: pitches[1],
                bias: self.bias,
                epilogue: self.epilogue,
                out: out.data_mut(),
                pitch,
                width,
            });
        }
        spaces.into_iter().for_each(|space| spare.give(space));
    }

    fn tiles(&self, input: &Band, rows: Range<usize>, out: &Band) -> Vec<Tile> {
        let (from, to) = (input.extent(), out.extent());
        let mut tiles = Vec::new();
        let mut row = rows.start;
        while row < rows.end {
            let (image, y) = (row / to.height, row % to.height);
            let high = SIDE.min(to.height - y);
            let above = |i: usize| (y + i).checked_sub(self.padding[0]).filter(|y| *y < from.height);
            let inputs = std::array::from_fn(|i| Some(input.offset(0, image * from.height + above(i)?)));
            let outputs = std::array::from_fn(|i| (i < high).then(|| out.offset(0, row + i)));
            tiles.extend((0..to.width).step_by(SIDE).map(|x| Tile { inputs, outputs, x }));
            row += high;
        }
        tiles
    }
}
