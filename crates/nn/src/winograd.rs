//! Dense 3×3 convolutions by Winograd's F(4×4, 3×3): a quarter of the products of a direct one.
//!
//! A tile of 4×4 outputs is 36 products in a transformed space, each a matrix product over all tiles. Tiles
//! lie at multiples of 4 in every image, so results do not depend on which rows are computed together.

use std::ops::Range;

use pulp::Arch;

use crate::conv::Window;
use crate::kernel::winograd::{Forward, Inverse, REACH, Tile, WEIGHTS};
pub(crate) use crate::kernel::winograd::{POINTS, SIDE};
use crate::kernel::{Dense, Epilogue, dispatch};
use crate::row_buffer::{Aligned, CHANNEL_BLOCK, Extent, RowBuffer, Spare};

/// Floats of transformed tiles that are to be in the cache together.
const CACHED: usize = 256 << 10;
/// Below this many outputs in a row or column, a direct convolution is as fast, with a quarter of the weights.
const LEAST_OUTPUTS: usize = 6;

/// Whether Winograd suits a layer with output maps of size `to`.
pub(crate) fn suits(window: Window, inputs: usize, to: Extent) -> bool {
    let three = window.size == [3, 3] && window.stride == 1;
    three && inputs >= CHANNEL_BLOCK && to.height.min(to.width) >= LEAST_OUTPUTS
}

/// `G g Gᵀ` of every pair of an output and an input: from `[block of outputs][block of inputs][tap][input]
/// [output]` to `[point][block of outputs][input][output]`.
pub(crate) fn transform(weight: &[f32]) -> Aligned {
    const CELLS: usize = CHANNEL_BLOCK * CHANNEL_BLOCK;
    let pitch = weight.len() / 9;
    let mut points = Aligned::zeros(POINTS * pitch);
    for (i, taps) in weight.chunks_exact(9 * CELLS).take(pitch / CELLS).enumerate() {
        for (point, place) in points.as_mut_slice().chunks_exact_mut(pitch).enumerate() {
            let (rows, columns) = (WEIGHTS[point / REACH], WEIGHTS[point % REACH]);
            let place = &mut place[i * CELLS..][..CELLS];
            for (tap, values) in taps.chunks_exact(CELLS).enumerate() {
                let factor = (rows[tap / 3] * columns[tap % 3]) as f32;
                place.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
            }
        }
    }
    points
}

/// A layer.
pub(crate) struct Winograd<'a> {
    pub(crate) inputs: usize,
    /// See [`transform`].
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
        input: &RowBuffer,
        rows: Range<usize>,
        out: &mut RowBuffer,
        spare: &mut Spare,
    ) {
        let blocks = [self.inputs.div_ceil(CHANNEL_BLOCK), self.bias.len() / CHANNEL_BLOCK];
        let tiles = self.tiles(input, rows, out);
        // As many tiles at a time as the cache holds, and enough to read large weights once for many.
        let room = CACHED.max(self.weight.len()) / (POINTS * CHANNEL_BLOCK * (blocks[0] + blocks[1]));
        let most = tiles.len().div_ceil(tiles.len().div_ceil(room.max(1)).max(1));
        // A line more, so that the points of a tile do not share the same few sets of the cache.
        let pitches = blocks.map(|blocks| (blocks * most + 1) * CHANNEL_BLOCK);
        let mut spaces = pitches.map(|pitch| spare.take(POINTS * pitch));
        let zeros = vec![0.0; self.bias.len()];
        for tiles in tiles.chunks(most) {
            let [points, products] = spaces.each_mut().map(Aligned::as_mut_slice);
            dispatch(
                arch,
                Forward {
                    tiles,
                    input: input.data(),
                    input_pitch: input.pitch(),
                    input_width: input.extent().width,
                    padding: self.padding[1],
                    blocks: blocks[0],
                    out: points,
                    pitch: pitches[0],
                },
            );
            let starts: Vec<_> = (0..blocks[0]).map(|block| block * tiles.len()).collect();
            let weights = self.weight.chunks_exact(blocks[0] * CHANNEL_BLOCK * self.bias.len());
            for (point, weight) in weights.take(POINTS).enumerate() {
                arch.dispatch(Dense {
                    input: &points[point * pitches[0]..],
                    cell: CHANNEL_BLOCK,
                    starts: &starts,
                    rows: &[0],
                    weight,
                    bias: &zeros,
                    epilogue: &Epilogue::Identity,
                    pixels: tiles.len(),
                    out: &mut products[point * pitches[1]..],
                    pitch: tiles.len() * CHANNEL_BLOCK,
                });
            }
            let (pitch, width) = (out.pitch(), out.extent().width);
            dispatch(
                arch,
                Inverse {
                    tiles,
                    input: products,
                    input_pitch: pitches[1],
                    bias: self.bias,
                    epilogue: self.epilogue,
                    out: out.data_mut(),
                    pitch,
                    width,
                },
            );
        }
        spaces.into_iter().for_each(|space| spare.give(space));
    }

    fn tiles(&self, input: &RowBuffer, rows: Range<usize>, out: &RowBuffer) -> Vec<Tile> {
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
