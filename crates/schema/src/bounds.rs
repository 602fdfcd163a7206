//! Limits on the memory that a file may need.
//!
//! A few kilobytes of Parquet can decompress to gigabytes: compressed pages, runs of one value, long
//! dictionary entries, lists of any length. The decompressed size of a page is in its header, so all headers
//! are read before any page. The size of rows is counted while they are read. Headers use Thrift's compact
//! protocol, and the reader of the Parquet library is private. Ours accepts only what writers produce, so
//! that both readers cannot interpret a header differently.

use std::fs::File;
use std::io::{self, Read};

use arrow::datatypes::DataType;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader as _;

use crate::cell::CellType;
use crate::table::Column;

/// Limit on the decompressed size of a page, bytes. Most writers end a page after a megabyte, DuckDB after a
/// hundred million bytes.
const MAX_PAGE: u64 = 128 << 20;
/// Limit on the decoded size of a column of one batch, bytes.
const MAX_BATCH: u64 = 64 << 20;
/// Constant part of the limit on the decoded size of all rows, bytes: the limit is `FREE + RATIO × file
/// size`.
const FREE: u64 = 256 << 20;
/// Factor of the file size in that limit. Tables of videos decode to up to 30 times their size, synthetic
/// tables of identical rows to 120 times.
const RATIO: u64 = 500;

/// Limit on the decoded size of the rows of a file of `size` bytes.
pub(crate) fn allowed(size: u64) -> u64 {
    FREE.saturating_add(RATIO.saturating_mul(size))
}

/// A column that is to be read.
pub(crate) struct Wanted<'a> {
    pub(crate) column: &'static Column,
    /// Where it stands in the file.
    pub(crate) at: usize,
    /// Its type in the file.
    pub(crate) found: &'a DataType,
}

impl Wanted<'_> {
    /// Values in a row, which is one where it is null.
    fn width(&self, dim: usize) -> u64 {
        let found = match self.found {
            DataType::FixedSizeList(_, len) => usize::try_from(*len).unwrap_or(0),
            _ => 0,
        };
        let declared = match self.column.cell {
            CellType::Vector(len) => len,
            CellType::UnitVector | CellType::Ragged => dim,
            _ => 1,
        };
        declared.max(found).max(1) as u64
    }

    /// Limit on the size of a value, bytes.
    fn largest(&self, pages: &Pages) -> u64 {
        match self.column.cell {
            CellType::Text | CellType::Symbol | CellType::Category(_) | CellType::Bytes => pages.longest,
            _ => 8,
        }
    }
}

/// How many rows may be read at a time, `most` at most; the error says what is too large.
pub(crate) fn rows_at_a_time(
    file: &File,
    metadata: &ParquetMetaData,
    wanted: &[Wanted<'_>],
    dim: usize,
    most: usize,
    is_encrypted: bool,
) -> Result<usize, String> {
    let size = file.metadata().map_err(|e| e.to_string())?.len();
    let roots = metadata.file_metadata().schema_descr();
    let (mut total, mut rows_at_a_time) = (0_u64, most as u64);
    for group in metadata.row_groups() {
        let rows = u64::try_from(group.num_rows()).map_err(|_| "the number of rows is negative")?;
        for (leaf, chunk) in group.columns().iter().enumerate() {
            let root = roots.get_column_root_idx(leaf);
            let Some(wanted) = wanted.iter().find(|wanted| wanted.at == root) else { continue };
            let pages = if is_encrypted { Pages::of_encrypted(file, chunk) } else { Pages::of(file, chunk) };
            let pages = pages.map_err(|e| format!("column `{}`: {e}", wanted.column.name))?;
            let width = wanted.width(dim);
            if pages.values > rows.saturating_mul(width) {
                return Err(format!(
                    "column `{}` has {} values for {rows} rows",
                    wanted.column.name, pages.values
                ));
            }
            total = total.saturating_add(pages.bytes);
            let row = wanted.largest(&pages).saturating_mul(width).max(1);
            rows_at_a_time = rows_at_a_time.min(MAX_BATCH / row);
        }
    }
    if total > allowed(size) {
        return Err(format!(
            "its pages decompress to {total} bytes, above the limit of {} for a file of {size} bytes",
            allowed(size)
        ));
    }
    Ok(usize::try_from(rows_at_a_time).unwrap_or(most).max(1))
}

/// Sizes of the pages of a column in a row group.
#[derive(Debug, Default)]
struct Pages {
    values: u64,
    bytes: u64,
    /// Size of the longest dictionary entry, bytes.
    longest: u64,
}

/// Bytes of an encrypted module besides its content: length, nonce and tag.
const MODULE: u64 = 4 + 12 + 16;

impl Pages {
    /// The headers of encrypted pages cannot be read here. What the footer says of a column is authenticated: it is the
    /// word of a holder of the key. The lengths of the modules are not, before a module is read.
    fn of_encrypted(file: &File, chunk: &ColumnChunkMetaData) -> Result<Self, String> {
        let (mut at, mut left) = chunk.byte_range();
        while left > 0 {
            let mut length = [0; 4];
            let read = file.get_read(at).map_err(|e| e.to_string())?.read_exact(&mut length);
            read.map_err(|_| "a page has no header")?;
            let length = u64::from(u32::from_le_bytes(length)).saturating_add(4);
            if length < MODULE {
                return Err("a page is shorter than its encryption".into());
            }
            left = left.checked_sub(length).ok_or("a page extends beyond its column")?;
            at = at.saturating_add(length);
        }
        let size = |number: i64| u64::try_from(number).map_err(|_| "a size is negative");
        let (values, bytes) = (size(chunk.num_values())?, size(chunk.uncompressed_size())?);
        Ok(Self { values, bytes, longest: 0 })
    }

    fn of(file: &File, chunk: &ColumnChunkMetaData) -> Result<Self, String> {
        let (mut at, mut left) = chunk.byte_range();
        let mut pages = Self::default();
        while left > 0 {
            let input = file.get_read(at).map_err(|e| e.to_string())?;
            let mut thrift = Thrift { input, read: 0 };
            let page = thrift.page().ok_or("a page has no header")?;
            if page.bytes > MAX_PAGE {
                return Err(format!(
                    "a page decompresses to {} bytes, above the limit of {MAX_PAGE}",
                    page.bytes
                ));
            }
            // A dictionary entry takes at least one byte.
            if page.words > page.bytes {
                return Err(format!("a dictionary of {} bytes declares {} entries", page.bytes, page.words));
            }
            let length = thrift.read.saturating_add(page.stored);
            left = left.checked_sub(length).ok_or("a page extends beyond its column")?;
            at = at.saturating_add(length);
            pages.values = pages.values.saturating_add(page.values);
            pages.bytes = pages.bytes.saturating_add(page.bytes);
            if !page.is_plain {
                pages.longest = pages.longest.max(page.bytes);
            }
        }
        Ok(pages)
    }
}

/// What the header of a page says.
#[derive(Debug, Default, PartialEq)]
struct Page {
    /// Bytes when it is decompressed.
    bytes: u64,
    /// Bytes in the file.
    stored: u64,
    /// Values of a page of data.
    values: u64,
    /// Values of a dictionary.
    words: u64,
    /// Whether the encoding is plain: neither dictionary nor delta encoding.
    is_plain: bool,
}

/// Types of fields.
const I32: u8 = 5;
const STRUCT: u8 = 12;
/// The encoding of values as they are.
const PLAIN: u64 = 0;

/// A structure in a structure in the header of a page, and no deeper.
const MAX_DEPTH: u8 = 3;

/// Reads Thrift's compact protocol; nothing where it is not what a page header is made of.
struct Thrift<R> {
    input: R,
    read: u64,
}

impl<R: Read> Thrift<R> {
    fn page(&mut self) -> Option<Page> {
        let (mut last, mut page, mut kinds) = (0, Page::default(), 0);
        while let Some((field, kind)) = self.field(&mut last)? {
            match (field, kind) {
                (2, I32) => page.bytes = self.size()?,
                (3, I32) => page.stored = self.size()?,
                (5 | 7 | 8, STRUCT) => {
                    let [values, encoding] = self.first_two()?;
                    kinds += 1;
                    match field {
                        5 => (page.values, page.is_plain) = (values, encoding == PLAIN),
                        7 => page.words = values,
                        // Here the second number is another one.
                        _ => page.values = values,
                    }
                }
                (2 | 3 | 5 | 7 | 8, _) => return None,
                _ => self.skip(kind, MAX_DEPTH)?,
            }
        }
        // A page of two kinds could be read as either.
        (kinds <= 1).then_some(page)
    }

    /// The first two fields of a structure, which are numbers: how many values, and their encoding. The others
    /// are passed over.
    fn first_two(&mut self) -> Option<[u64; 2]> {
        let (mut last, mut two) = (0, [0; 2]);
        for (number, field) in two.iter_mut().zip(1..) {
            self.field(&mut last)?.filter(|found| *found == (field, I32))?;
            *number = self.size()?;
        }
        while let Some((_, kind)) = self.field(&mut last)? {
            self.skip(kind, MAX_DEPTH)?;
        }
        Some(two)
    }

    /// Number and type of the next field, if there is one. Fields come in order.
    fn field(&mut self, last: &mut u8) -> Option<Option<(u8, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        let (step, kind) = (byte >> 4, byte & 15);
        *last = last.checked_add(step).filter(|_| step > 0)?;
        Some(Some((*last, kind)))
    }

    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        match kind {
            // A boolean is its type.
            1 | 2 => Some(()),
            3 => self.byte().map(drop),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => self.varint().and_then(|length| self.pass(length)),
            STRUCT => {
                let (mut last, depth) = (0, depth.checked_sub(1)?);
                while let Some((_, kind)) = self.field(&mut last)? {
                    self.skip(kind, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// A number that must not be negative.
    fn size(&mut self) -> Option<u64> {
        let zigzag = self.varint()?;
        (zigzag & 1 == 0).then_some(zigzag >> 1).filter(|size| *size <= i32::MAX as u64)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte).ok()?;
        self.read += 1;
        Some(byte[0])
    }

    fn pass(&mut self, bytes: u64) -> Option<()> {
        let passed = io::copy(&mut self.input.by_ref().take(bytes), &mut io::sink()).ok()?;
        self.read += passed;
        (passed == bytes).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: &[u8]) -> (Option<Page>, u64) {
        let mut thrift = Thrift { input: bytes, read: 0 };
        (thrift.page(), thrift.read)
    }

    #[test]
    fn headers_of_pages_are_read_to_their_end() {
        // Type 0, 20 bytes, 10 stored, a checksum, and 3 values in encoding 0 with statistics.
        let data = [
            0x15, 0, 0x15, 40, 0x15, 20, 0x15, 1, 0x1c, 0x15, 6, 0x15, 0, 0x3c, 0x18, 2, 9, 9, 0x11, 0, 0, 0,
        ];
        assert_eq!(
            page(&data),
            (Some(Page { bytes: 20, stored: 10, values: 3, words: 0, is_plain: true }), 22)
        );
        let numbered = [0x15, 0, 0x15, 40, 0x15, 20, 0x2c, 0x15, 6, 0x15, 16, 0, 0];
        assert_eq!(page(&numbered).0.map(|page| page.is_plain), Some(false));
        let dictionary = [0x15, 4, 0x15, 40, 0x15, 20, 0x4c, 0x15, 4, 0x15, 0, 0, 0, 77];
        assert_eq!(
            page(&dictionary),
            (Some(Page { bytes: 20, stored: 10, values: 0, words: 2, is_plain: false }), 13)
        );
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let wrong: [&[u8]; 9] = [
            &[],
            &[0x15],
            // A negative size, one that is no 32-bit number, one without end.
            &[0x25, 1, 0],
            &[0x25, 0x80, 0x80, 0x80, 0x80, 0x20, 0],
            &[0x25, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
            // A size of another type, a field out of order, a list.
            &[0x26, 4, 0],
            &[0x05, 2, 4, 0],
            &[0x19, 0x15, 0, 0],
            // Two kinds of page at once.
            &[0x5c, 0x15, 6, 0x15, 0, 0, 0x3c, 0x15, 6, 0x15, 0, 0, 0],
        ];
        for bytes in wrong {
            assert_eq!(page(bytes).0, None, "{bytes:?}");
        }
        assert_eq!(page(&[[0x1c; 9].as_slice(), &[0; 9]].concat()).0, None, "nested without end");
    }
}
