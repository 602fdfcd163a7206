//! Checked writing and reading of tables. Both sides check: order, finiteness, norms, ranges.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use failure::catch_panic;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, RowGroupMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnPath;

use crate::bounds::{self, Wanted};
use crate::cell::{CellType, check_lengths, check_longest};
use crate::crypt::{self, Key};
use crate::error::{Error, Result};
use crate::footer::{self, Footer, MAX_DIM};
use crate::table::{Column, Row, Table};
use crate::tables;

/// Rows of a small table per row group.
const ROWS_PER_GROUP: usize = 16_384;
/// Rows per row group of a table that carries images.
const IMAGES_PER_GROUP: usize = 256;

/// Limit on the size of an encrypted page, bytes: the pictures of a row group take less. DuckDB 2.0 decrypts the first page
/// of a column chunk only, so that all of a row group is one page.
const ENCRYPTED_PAGE: usize = 64 << 20;

/// Writes one table in sort order, row group by row group; memory is bounded by one row group.
pub struct TableWriter<R> {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    dim: usize,
    group: Vec<R>,
    rows_per_group: usize,
    last: Option<R>,
    rows: u64,
}

impl<R: Row + Clone> TableWriter<R> {
    /// Creates the file at `path`, encrypted with the key of this process if there is one.
    pub fn create(path: &Path, footer: &Footer) -> Result<Self> {
        Self::create_with(path, footer, crypt::key())
    }

    /// Creates the file at `path`, encrypted with a key, or plain without one.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create_with(path: &Path, footer: &Footer, key: Option<&Key>) -> Result<Self> {
        let dim = footer.dim();
        let file = File::create(path).map_err(Error::io("create", path))?;
        let json = serde_json::to_string(footer).map_err(|e| Error::io("write", path)(e.into()))?;
        // Readers that keep Arrow's own metadata, as PyArrow does, then keep the key when they rewrite.
        let metadata = HashMap::from([(footer::KEY.to_owned(), json.clone())]);
        let schema = Arc::new(R::TABLE.arrow(dim).with_metadata(metadata));
        let rows_per_group = rows_per_group(R::TABLE);
        let properties = properties(Some(R::TABLE), json, rows_per_group, key);
        let properties = properties.map_err(|e| write_error(path, &e))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties));
        Ok(Self {
            writer: writer.map_err(|e| write_error(path, &e))?,
            path: path.to_path_buf(),
            schema,
            dim,
            group: Vec::new(),
            rows_per_group,
            last: None,
            rows: 0,
        })
    }

    /// Appends a row, which must come after every earlier one in the sort order.
    pub fn push(&mut self, row: R) -> Result<()> {
        check_row(&self.path, self.rows, self.group.last().or(self.last.as_ref()), &row)?;
        self.rows += 1;
        self.group.push(row);
        if self.group.len() >= self.rows_per_group { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let arrays = R::to_arrays(&self.group, self.dim).map_err(column_error::<R>(&self.path))?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|e| column_error::<R>(&self.path)(("*", e.to_string())))?;
        let written = self.writer.write(&batch).and_then(|()| self.writer.flush());
        written.map_err(|e| write_error(&self.path, &e))?;
        self.last = self.group.pop();
        self.group.clear();
        Ok(())
    }

    /// Writes what is left, closes the file and brings it to disk; gives the number of rows.
    pub fn finish(mut self) -> Result<u64> {
        if !self.group.is_empty() {
            self.flush()?;
        }
        let file = self.writer.into_inner().map_err(|e| write_error(&self.path, &e))?;
        file.sync_all().map_err(Error::io("write", &self.path))?;
        Ok(self.rows)
    }
}

/// Rows written or read at a time.
fn rows_per_group(table: &Table) -> usize {
    let has_images = table.columns.iter().any(|c| c.cell == CellType::Bytes);
    if has_images { IMAGES_PER_GROUP } else { ROWS_PER_GROUP }
}

/// Settings of the writer of a table; `None` for a table of another version, with columns that are not known.
fn properties(
    table: Option<&Table>,
    footer: String,
    rows_per_group: usize,
    key: Option<&Key>,
) -> parquet::errors::Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_max_row_group_row_count(Some(rows_per_group))
        .set_created_by(PRODUCER.to_owned())
        .set_key_value_metadata(Some(vec![KeyValue::new(footer::KEY.to_owned(), footer)]));
    for column in table.into_iter().flat_map(|table| table.columns) {
        // Vectors and images never repeat: a dictionary would only cost time.
        let leaf = match column.cell {
            CellType::Vector(_) | CellType::UnitVector | CellType::Ragged => {
                vec![column.name.into(), "list".into(), "item".into()]
            }
            CellType::Bytes => vec![column.name.into()],
            _ => continue,
        };
        let leaf = ColumnPath::new(leaf);
        properties = properties
            .set_column_dictionary_enabled(leaf.clone(), false)
            .set_column_statistics_enabled(leaf, EnabledStatistics::None);
    }
    if let Some(key) = key {
        properties = key.encrypt(properties.set_data_page_size_limit(ENCRYPTED_PAGE))?;
    }
    Ok(properties.build())
}

/// Program and version, as it stands in footers and manifests.
pub const PRODUCER: &str = concat!("facetracklinking ", env!("CARGO_PKG_VERSION"));

/// Opens the table at `path`: footer, version, columns and sizes of pages are checked here, rows while reading.
///
/// A batch takes some hundred megabytes at most, whatever the file says; all rows together 256 MiB and
/// five hundred times the size of the file. More is refused.
pub fn open<R: Row>(path: &Path) -> Result<TableReader<R>> {
    open_with(path, None, crypt::key())
}

/// Opens the table at `path` as [`open`] does, and reads only the row groups that may have one of these values in an
/// integer column. Other rows of these groups are read, too.
pub fn open_some<R: Row>(path: &Path, column: &str, values: &BTreeSet<i64>) -> Result<TableReader<R>> {
    open_with(path, Some((column, values)), crypt::key())
}

/// Whether a row group may have one of these values in an integer column, by the statistics of the column.
fn may_have(group: &RowGroupMetaData, column: &str, values: &BTreeSet<i64>) -> bool {
    let found = group.columns().iter().find(|chunk| chunk.column_descr().name() == column);
    let range = found.and_then(|chunk| match chunk.statistics()? {
        Statistics::Int64(of) => Some(*of.min_opt()?..=*of.max_opt()?),
        _ => None,
    });
    range.is_none_or(|range| range.is_empty() || values.range(range).next().is_some())
}

/// Opens the table at `path` as [`open_some`] does, or with all rows as [`open`] does, with another key than that of this
/// process or without one.
///
/// # Errors
/// As of [`open`].
pub fn open_with<R: Row>(
    path: &Path,
    wanted_rows: Option<(&str, &BTreeSet<i64>)>,
    key: Option<&Key>,
) -> Result<TableReader<R>> {
    let not_parquet = |reason: String| Error::NotParquet { path: path.to_path_buf(), reason };
    let (file, builder, json) = open_parquet(path, key)?;
    let footer = check_footer(path, R::TABLE, json.as_deref())?;
    // A file of a minor version before ours may miss nullable columns.
    let is_older = is_older(R::TABLE, &footer);
    let columns = locate_columns(path, R::TABLE, is_older, builder.schema())?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied().flatten());
    let mut rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
    let wanted = |(column, at): (&'static Column, &Option<usize>)| {
        Some(Wanted { column, at: (*at)?, found: builder.schema().field((*at)?).data_type() })
    };
    let wanted: Vec<_> = R::TABLE.columns.iter().zip(&columns).filter_map(wanted).collect();
    let most = rows_per_group(R::TABLE);
    let batch = parquet(|| {
        bounds::rows_at_a_time(&file, builder.metadata(), &wanted, footer.dim(), most, key.is_some())
    });
    let mut builder = builder.with_projection(mask).with_batch_size(batch.map_err(not_parquet)?);
    if let Some((column, values)) = wanted_rows {
        let groups = builder.metadata().row_groups().iter().enumerate();
        let groups: Vec<_> = groups.filter(|(_, group)| may_have(group, column, values)).collect();
        rows = groups.iter().filter_map(|(_, group)| u64::try_from(group.num_rows()).ok()).sum();
        let groups = groups.into_iter().map(|(at, _)| at).collect();
        builder = builder.with_row_groups(groups);
    }
    let reader = parquet(|| builder.build()).map_err(not_parquet)?;
    let order = ranks(&columns);
    Ok(TableReader {
        path: path.to_path_buf(),
        footer,
        rows,
        reader,
        order,
        last: None,
        read: 0,
        bytes_left: bounds::allowed(file.metadata().map_err(Error::io("read", path))?.len()),
        failed: false,
    })
}

/// Opens any Parquet file; gives what stands under our footer key, too.
fn open_parquet(
    path: &Path,
    key: Option<&Key>,
) -> Result<(File, ParquetRecordBatchReaderBuilder<File>, Option<String>)> {
    let not_parquet = |reason: String| Error::NotParquet { path: path.to_path_buf(), reason };
    // Opening a pipe would wait for a writer, so what the path names is looked at first.
    if !fs::metadata(path).map_err(Error::io("read", path))?.is_file() {
        return Err(not_parquet("not a regular file".into()));
    }
    let file = File::open(path).map_err(Error::io("read", path))?;
    let again = file.try_clone().map_err(Error::io("read", path))?;
    let builder = crypt::open(again, path, key)?;
    let keys = builder.metadata().file_metadata().key_value_metadata();
    let json = keys.and_then(|keys| keys.iter().find(|k| k.key == footer::KEY)).and_then(|k| k.value.clone());
    Ok((file, builder, json))
}

/// The footer of a table of any name and version; none where there is no footer of ours.
pub fn read_footer(path: &Path) -> Result<Option<Footer>> {
    let (.., json) = open_parquet(path, crypt::key())?;
    Ok(json.and_then(|json| serde_json::from_str(&json).ok()))
}

/// The names of the columns of a table of any name and version, in the order of the file.
pub fn read_column_names(path: &Path) -> Result<Vec<String>> {
    let (_, builder, _) = open_parquet(path, crypt::key())?;
    Ok(builder.schema().fields().iter().map(|field| field.name().clone()).collect())
}

/// Calls the Parquet reader and keeps its error message.
fn parquet<T, E: std::fmt::Display>(
    ask: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<T, String> {
    catch_panic(ask)
        .map_err(|words| format!("the Parquet reader failed: {words}"))?
        .map_err(|e| e.to_string())
}

/// Writes a whole table to `path`; gives the number of its rows.
pub fn write_all<R: Row + Clone>(
    path: &Path,
    footer: &Footer,
    rows: impl IntoIterator<Item = R>,
) -> Result<u64> {
    let mut writer = TableWriter::create(path, footer)?;
    rows.into_iter().try_for_each(|row| writer.push(row))?;
    writer.finish()
}

/// Writes a table of any name and version again, encrypted with another key, or plain without one: the same rows, columns,
/// row groups and footer. The file is brought to disk.
///
/// # Errors
/// When a file cannot be read with its key, or cannot be written.
pub fn encrypt_again(from: &Path, to: &Path, [old, new]: [Option<&Key>; 2]) -> Result<()> {
    let not_parquet = |reason: String| Error::NotParquet { path: from.to_path_buf(), reason };
    let (_, builder, json) = open_parquet(from, old)?;
    let footer: Option<Footer> = json.as_deref().and_then(|json| serde_json::from_str(json).ok());
    let is_current = |table: &&'static Table| {
        footer
            .as_ref()
            .is_some_and(|footer| (&*footer.table, &*footer.version) == (table.name, table.version))
    };
    let table = tables::all().find(is_current);
    let rows_per_group = table.map_or(IMAGES_PER_GROUP, rows_per_group);
    let file = File::create(to).map_err(Error::io("create", to))?;
    let schema = Arc::clone(builder.schema());
    let properties = properties(table, json.unwrap_or_default(), rows_per_group, new);
    let properties = properties.map_err(|e| write_error(to, &e))?;
    let mut writer = ArrowWriter::try_new(file, schema, Some(properties)).map_err(|e| write_error(to, &e))?;
    let mut reader = parquet(|| builder.with_batch_size(rows_per_group).build()).map_err(not_parquet)?;
    while let Some(batch) = parquet(|| reader.next().transpose()).map_err(not_parquet)? {
        writer.write(&batch).and_then(|()| writer.flush()).map_err(|e| write_error(to, &e))?;
    }
    let file = writer.into_inner().map_err(|e| write_error(to, &e))?;
    file.sync_all().map_err(Error::io("write", to))
}

/// Every row of the table at `path`.
pub fn read_all<R: Row + Clone>(path: &Path) -> Result<Vec<R>> {
    let mut rows = Vec::new();
    for batch in open::<R>(path)? {
        rows.extend(batch?);
    }
    Ok(rows)
}

/// Largest number of faults that are reported per file: every row may have one, and faults are larger than
/// rows.
pub const MOST_FAULTS: usize = 10_000;

/// Reads one table batch by batch; memory is bounded by one batch. Yields at most one error.
pub struct TableReader<R> {
    path: PathBuf,
    footer: Footer,
    rows: u64,
    reader: ParquetRecordBatchReader,
    /// Where each declared column stands in a batch; none for one that is younger than the file.
    order: Vec<Option<usize>>,
    last: Option<R>,
    read: u64,
    /// What rows to come may take.
    bytes_left: u64,
    failed: bool,
}

impl<R: Row + Clone> TableReader<R> {
    /// The footer.
    pub fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Number of rows that are read.
    pub fn row_count(&self) -> u64 {
        self.rows
    }

    /// Reads on where reading would stop: hands over every row that can be decoded, and gives everything that
    /// is wrong with the file; of faults in rows the first [`MOST_FAULTS`].
    pub fn inspect(mut self, mut see: impl FnMut(R)) -> Vec<Error> {
        let mut faults = Vec::new();
        loop {
            match self.next_batch() {
                Ok(Some(batch)) => match self.decode(&batch) {
                    Ok(rows) => {
                        let room = MOST_FAULTS.saturating_sub(faults.len());
                        faults.extend(self.faults_of(&rows).into_iter().take(room));
                        rows.into_iter().for_each(&mut see);
                    }
                    Err(error) => {
                        let is_over = matches!(error, Error::NotParquet { .. });
                        faults.push(error);
                        // Rows that are too much only go on being that.
                        if is_over || faults.len() >= MOST_FAULTS {
                            return faults;
                        }
                        self.read += batch.num_rows() as u64;
                    }
                },
                Ok(None) => return faults,
                Err(error) => {
                    faults.push(error);
                    return faults;
                }
            }
        }
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let not_parquet = |reason| Error::NotParquet { path: self.path.clone(), reason };
        let batch = parquet(|| self.reader.next().transpose()).map_err(not_parquet)?;
        let read = self.read + batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        if read > self.rows || (batch.is_none() && read < self.rows) {
            return Err(not_parquet(format!("it declares {} rows and contains {}", self.rows, read)));
        }
        Ok(batch)
    }

    fn decode(&mut self, batch: &RecordBatch) -> Result<Vec<R>> {
        let column = |(column, at): (&Column, &Option<usize>)| match at {
            Some(at) => plain(batch.column(*at)).map_err(|e| column_error::<R>(&self.path)((column.name, e))),
            None => Ok(new_null_array(&column.cell.arrow(self.footer.dim()), batch.num_rows())),
        };
        let arrays = R::TABLE.columns.iter().zip(&self.order).map(column).collect::<Result<Vec<_>>>()?;
        self.spend(&arrays, batch.num_rows())?;
        let rows = R::from_arrays(&arrays).map_err(column_error::<R>(&self.path))?;
        for (column, array) in R::TABLE.columns.iter().zip(&arrays) {
            let checked = match column.cell {
                CellType::UnitVector => check_lengths(array, self.footer.dim()),
                CellType::Ragged => check_longest(array, self.footer.dim()),
                _ => Ok(()),
            };
            checked.map_err(|e| column_error::<R>(&self.path)((column.name, e)))?;
        }
        Ok(rows)
    }

    /// Counts what rows take in memory.
    fn spend(&mut self, arrays: &[ArrayRef], rows: usize) -> Result<()> {
        let sizes = arrays.iter().map(|array| array.to_data().get_slice_memory_size().unwrap_or(usize::MAX));
        let bytes = sizes.fold(rows.saturating_mul(size_of::<R>()), usize::saturating_add);
        let too_large = || Error::NotParquet {
            path: self.path.clone(),
            reason: "its rows decode to more bytes than the limit for its file size".into(),
        };
        self.bytes_left = self.bytes_left.checked_sub(bytes as u64).ok_or_else(too_large)?;
        Ok(())
    }

    /// What is wrong with the next rows, each also seen against the one before it.
    fn faults_of(&mut self, rows: &[R]) -> Vec<Error> {
        let mut last = self.last.as_ref();
        let mut faults = Vec::new();
        for (row, number) in rows.iter().zip(self.read..) {
            faults.extend(check_row(&self.path, number, last, row).err());
            last = Some(row);
        }
        self.last = last.cloned();
        self.read += rows.len() as u64;
        faults
    }

    fn next_rows(&mut self) -> Result<Option<Vec<R>>> {
        let Some(batch) = self.next_batch()? else { return Ok(None) };
        let rows = self.decode(&batch)?;
        self.faults_of(&rows).into_iter().next().map_or(Ok(Some(rows)), Err)
    }
}

impl<R: Row + Clone> Iterator for TableReader<R> {
    type Item = Result<Vec<R>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let rows = self.next_rows().transpose()?;
        self.failed = rows.is_err();
        Some(rows)
    }
}

/// The column without its dictionary, so that its memory equals that of plain strings.
fn plain(array: &ArrayRef) -> std::result::Result<ArrayRef, String> {
    match array.data_type() {
        DataType::Dictionary(_, value) => cast(array, value).map_err(|e| e.to_string()),
        _ => Ok(Arc::clone(array)),
    }
}

/// Position of each column of the file after the columns that are not needed are removed.
fn ranks(columns: &[Option<usize>]) -> Vec<Option<usize>> {
    let rank = |at: usize| columns.iter().flatten().filter(|other| **other < at).count();
    columns.iter().map(|at| at.map(rank)).collect()
}

fn check_footer(path: &Path, table: &'static Table, json: Option<&str>) -> Result<Footer> {
    let wrong = |reason: String| Error::Footer { path: path.to_path_buf(), table: table.name, reason };
    let json = json.ok_or_else(|| wrong(format!("it has no footer key `{}`", footer::KEY)))?;
    let footer: Footer =
        serde_json::from_str(json).map_err(|e| wrong(format!("its footer is unreadable: {e}")))?;
    if footer.dim() > MAX_DIM {
        return Err(wrong(format!(
            "its vectors have {} components, above the limit of {MAX_DIM}",
            footer.dim()
        )));
    }
    let names = || table.former.iter().copied().chain([(table.name, table.version)]);
    let Some((_, newest)) = names().find(|(name, _)| *name == footer.table) else {
        return Err(wrong(format!("it contains the table `{}`", footer.table)));
    };
    let found = parse_version(&footer.version)
        .ok_or_else(|| wrong(format!("its version is {:?}", footer.version)))?;
    let ours = parse_version(newest).unwrap_or_default();
    let order = found.0.cmp(&ours.0);
    if order == Ordering::Equal && found.1 <= ours.1 {
        return Ok(footer);
    }
    let (path, found) = (path.to_path_buf(), footer.version);
    let Table { name: table, version: expected, .. } = *table;
    Err(Error::OtherVersion { path, table, found, expected, is_newer: order.is_ge() })
}

/// Returns the present name of the table that a footer names.
pub fn current_name(footer: &Footer) -> &str {
    let major = |version: &str| parse_version(version).map(|(major, _)| major);
    let was = |(name, last): &(&str, &str)| *name == footer.table && major(last) == major(&footer.version);
    tables::all().find(|table| table.former.iter().any(was)).map_or(footer.table.as_str(), |table| table.name)
}

/// Major and minor number of a semantic version.
fn parse_version(version: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    <[u64; 3]>::try_from(numbers).ok().map(|[major, minor, _]| (major, minor))
}

/// Whether the file is from a minor version before ours, or from before the table had its name, so that nullable
/// columns may be missing.
fn is_older(table: &Table, footer: &Footer) -> bool {
    footer.table != table.name || parse_version(&footer.version) < parse_version(table.version)
}

/// Where each declared column stands in the file; none for a nullable one that an `older` file does
/// not have yet. Columns that the contract does not know are ignored.
fn locate_columns(
    path: &Path,
    table: &'static Table,
    older: bool,
    found: &SchemaRef,
) -> Result<Vec<Option<usize>>> {
    let wrong = |column: &str, reason: String| Error::Column {
        path: path.to_path_buf(),
        table: table.name,
        column: column.to_owned(),
        reason,
    };
    let locate = |column: &Column| {
        let at = match found.index_of(column.name) {
            Ok(at) => at,
            Err(_) if older && column.nullable => return Ok(None),
            Err(_) => return Err(wrong(column.name, "is missing".into())),
        };
        let found = found.field(at).data_type();
        if column.cell.accepts(found) {
            return Ok(Some(at));
        }
        Err(wrong(
            column.name,
            format!("has the type {found}, expected {}", crate::docs::type_name(column.cell)),
        ))
    };
    table.columns.iter().map(locate).collect()
}

fn check_row<R: Row>(path: &Path, number: u64, last: Option<&R>, row: &R) -> Result<()> {
    let ordered = last.is_none_or(|last| last.cmp_key(row) == Ordering::Less);
    let result = if ordered {
        row.check()
    } else {
        Err(format!("is not greater than the previous row in the order of {}", R::TABLE.sort_key.join(", ")))
    };
    result.map_err(|reason| Error::Row {
        path: path.to_path_buf(),
        table: R::TABLE.name,
        row: number,
        reason,
    })
}

fn column_error<R: Row>(path: &Path) -> impl FnOnce((&'static str, String)) -> Error {
    let path = path.to_path_buf();
    move |(column, reason)| Error::Column { path, table: R::TABLE.name, column: column.to_owned(), reason }
}

/// A failed write is an I/O error, which is in the source chain of the Parquet error.
fn write_error(path: &Path, error: &parquet::errors::ParquetError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut source = std::io::Error::other(error.to_string());
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            source = std::io::Error::new(io.kind(), io.to_string());
            break;
        }
        cause = error.source();
    }
    Error::Io { action: "write", path: path.to_path_buf(), source }
}
