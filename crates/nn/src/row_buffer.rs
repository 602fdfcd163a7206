//! Rows of a feature map, in the layout that the kernels read.

use std::ops::Range;

use candle_core::{Result, Shape};

use crate::conv::Window;

/// Channels of a block: one cache line of f32, and a whole number of vectors on every instruction set.
pub(crate) const CHANNEL_BLOCK: usize = 16;

/// Size of a feature map: all images of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) count: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

impl Extent {
    /// That of a tensor `(n, height, width, channels)`.
    pub(crate) fn of(shape: &Shape) -> Result<Self> {
        let (count, height, width, channels) = shape.dims4()?;
        Ok(Self { count, height, width, channels })
    }

    pub(crate) fn shape(&self) -> (usize, usize, usize, usize) {
        (self.count, self.height, self.width, self.channels)
    }

    /// Rows of all images, one image below the other.
    pub(crate) fn rows(&self) -> usize {
        self.count * self.height
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.rows() * self.width * self.channels
    }

    /// Size of the output of a window with `channels` output channels.
    pub(crate) fn after(&self, window: Window, channels: usize) -> Self {
        let [height, width] = window.outputs([self.height, self.width]);
        Self { height, width, channels, ..*self }
    }
}

/// Floats that begin on a cache line: a vector that straddles two of them costs two loads.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    data: Vec<f32>,
    start: usize,
}

impl Aligned {
    pub(crate) fn zeros(len: usize) -> Self {
        let data = vec![0.0; len + CHANNEL_BLOCK];
        let start = data.as_ptr().align_offset(CHANNEL_BLOCK * size_of::<f32>()).min(CHANNEL_BLOCK);
        Self { data, start }
    }

    pub(crate) fn len(&self) -> usize {
        self.data.len().saturating_sub(CHANNEL_BLOCK)
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        &self.data[self.start..]
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data[self.start..]
    }
}

/// Consecutive rows of a map: `[block of channels][row][x][channel within the block]`. Rows are
/// numbered through all images.
#[derive(Debug)]
pub(crate) struct RowBuffer {
    data: Aligned,
    extent: Extent,
    /// Channels of a block: [`CHANNEL_BLOCK`], or 3 for the pixels of a picture.
    cell: usize,
    /// Number of rows that the memory holds.
    capacity: usize,
    /// Smallest number of rows to allocate.
    least: usize,
    first: usize,
    end: usize,
}

impl RowBuffer {
    /// No rows yet of a map of this size.
    pub(crate) fn new(extent: Extent, cell: usize) -> Self {
        Self { data: Aligned::default(), extent, cell, capacity: 0, least: 0, first: 0, end: 0 }
    }

    /// Keeps all rows of the map.
    pub(crate) fn hold(&mut self) {
        self.least = self.extent.rows();
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    pub(crate) fn cell(&self) -> usize {
        self.cell
    }

    pub(crate) fn blocks(&self) -> usize {
        self.extent.channels.div_ceil(self.cell)
    }

    /// Index of the next row.
    pub(crate) fn end(&self) -> usize {
        self.end
    }

    fn row_len(&self) -> usize {
        self.extent.width * self.cell
    }

    /// Floats from a block to the next.
    pub(crate) fn pitch(&self) -> usize {
        pitch(self.capacity * self.row_len())
    }

    /// Where `row` of `block` begins in [`Self::data`].
    pub(crate) fn offset(&self, block: usize, row: usize) -> usize {
        block * self.pitch() + (row - self.first) * self.row_len()
    }

    pub(crate) fn data(&self) -> &[f32] {
        self.data.as_slice()
    }

    pub(crate) fn data_mut(&mut self) -> &mut [f32] {
        self.data.as_mut_slice()
    }

    /// Where `rows` of `block` lie in [`Self::data`].
    pub(crate) fn range(&self, block: usize, rows: Range<usize>) -> Range<usize> {
        let start = self.offset(block, rows.start);
        start..start + rows.len() * self.row_len()
    }

    pub(crate) fn row(&self, block: usize, row: usize) -> &[f32] {
        &self.data()[self.offset(block, row)..][..self.row_len()]
    }

    pub(crate) fn row_mut(&mut self, block: usize, row: usize) -> &mut [f32] {
        let (offset, len) = (self.offset(block, row), self.row_len());
        &mut self.data_mut()[offset..][..len]
    }

    /// Makes room for the rows up to `end`, whose values are undefined, and drops the rows before `keep`.
    pub(crate) fn advance(&mut self, keep: usize, end: usize, spare: &mut Spare) {
        if end - self.first > self.capacity {
            let keep = keep.clamp(self.first, self.end);
            if end - keep > self.capacity {
                self.enlarge(keep, self.least.max(end - keep), spare);
            } else {
                self.move_to_front(keep);
            }
            self.first = keep;
        }
        self.end = end;
    }

    fn move_to_front(&mut self, keep: usize) {
        let (pitch, row_len) = (self.pitch(), self.row_len());
        let rows = keep - self.first..self.end - self.first;
        for start in (0..self.blocks()).map(|block| block * pitch) {
            let moved = start + rows.start * row_len..start + rows.end * row_len;
            self.data_mut().copy_within(moved, start);
        }
    }

    fn enlarge(&mut self, keep: usize, capacity: usize, spare: &mut Spare) {
        let pitch = pitch(capacity * self.row_len());
        let mut data = spare.take(self.blocks() * pitch);
        let len = (self.end - keep) * self.row_len();
        if len > 0 {
            for block in 0..self.blocks() {
                let kept = &self.data()[self.offset(block, keep)..][..len];
                data.as_mut_slice()[block * pitch..][..len].copy_from_slice(kept);
            }
        }
        spare.give(std::mem::replace(&mut self.data, data));
        self.capacity = capacity;
    }

    /// Returns the memory to the pool if no row from `keep` on is held.
    pub(crate) fn release(&mut self, keep: usize, spare: &mut Spare) {
        if keep >= self.end {
            spare.give(std::mem::take(&mut self.data));
            (self.capacity, self.first) = (0, self.end);
        }
    }
}

/// A cache line more than `len`: blocks whose distance is a power of two would share a few sets of the cache.
fn pitch(len: usize) -> usize {
    len + CHANNEL_BLOCK
}

/// Pool of released memory. The memory released last is reused first, because it is still in the cache.
#[derive(Debug, Default)]
pub(crate) struct Spare(Vec<Aligned>);

impl Spare {
    /// At least `len` floats, whose values are undefined.
    pub(crate) fn take(&mut self, len: usize) -> Aligned {
        let fits = self.0.iter().rposition(|data| data.len() >= len);
        fits.map_or_else(|| Aligned::zeros(len), |i| self.0.remove(i))
    }

    pub(crate) fn give(&mut self, data: Aligned) {
        if data.len() > 0 {
            self.0.push(data);
        }
    }
}
