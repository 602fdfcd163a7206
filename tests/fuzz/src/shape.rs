//! Parquet that is whole and says what no table of ours would: the data choose types, values, footers, pages and
//! what the metadata claim. Where the data have ended, everything is as it should be.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arbitrary::Unstructured;
use arrow::array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array,
    Int64Array, ListArray, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, TimeUnit};
use failure::catch_panic;
use formats::export::FORMATS;
use formats::run::Run;
use gallery::Library;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData};
use parquet::file::properties::{WriterProperties, WriterVersion};
use run::validate::validate;
use schema::cell::CellType;
use schema::footer::KEY;
use schema::table::{Column, Table};
use schema::tables::ALL;
use serde_json::{Value, json};

use crate::read::{self, MEMBERS, READERS};
use crate::{assert_message, one_of, place, up_to};

/// Whole numbers that arithmetic stumbles over.
const NUMBERS: [i64; 10] = [0, 1, -1, 2, 255, i32::MAX as i64, 1 << 40, 1 << 62, i64::MAX, i64::MIN];

/// A well-formed file of any content, through the reader that it is meant for.
pub fn shapes(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let number = up_to(data, READERS.len() - 1);
    let path = place::file("shape.parquet", &file(data, READERS[number].0));
    read::table(number, &path);
    if number == MEMBERS {
        library(&path);
    }
}

/// A folder of well-formed tables of any content, as a run: looked at as a whole, and exported.
pub fn runs(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let root = place::folder().join("run");
    fs::create_dir_all(&root).unwrap();
    let outputs = READERS.iter().take(ALL.len()).map(|(table, _)| {
        let file = file(data, table);
        fs::write(root.join(table.file_name()), &file).unwrap();
        json!({ "file": table.file_name(), "table_version": table.version, "rows": 0, "size_bytes": file.len(),
                "sha256": hash::bytes(&file) })
    });
    let stage = json!({ "stage": "ingest", "version": 1, "fingerprint": "f", "producer": "fuzz", "config": {},
        "inputs": [], "outputs": outputs.collect::<Vec<_>>(), "warnings": [], "figures": {}, "duration_secs": 0.0 });
    let manifest = json!({ "format": 1, "run_id": "r", "video": null, "stages": [stage] });
    fs::write(root.join("manifest.json"), manifest.to_string()).unwrap();
    validate(&root).unwrap().faults.iter().for_each(|fault| assert_message(fault));
    if let Ok(run) = Run::read(&root) {
        FORMATS.into_iter().for_each(|(_, write)| _ = write(&run));
    }
}

/// A library of format 1, of one video with these members.
fn library(members: &Path) {
    let root = place::folder().join("library");
    let file = "appearances/0a.0b.parquet";
    fs::create_dir_all(root.join("appearances")).unwrap();
    fs::copy(members, root.join(file)).unwrap();
    let entry = json!({ "video_id": "0a", "run_id": "r", "fingerprint": "f", "file": file,
        "sha256": hash::file(members).unwrap() });
    let embedder = json!({ "name": "v", "dim": 2, "weights_sha256": "0", "license": "MIT" });
    let index = json!({ "format": 1, "next_person_id": 1, "embedder": embedder, "people_sha256": "",
        "vectors": { "n_records": 0, "crc32": 0 }, "videos": [entry] });
    fs::write(root.join("library.json"), index.to_string()).unwrap();
    if let Err(error) = Library::open(&root) {
        assert_message(&error);
    }
    let _ = gallery::validate::validate(&root);
}

/// The file of a table, as the data describe it.
pub(crate) fn file(data: &mut Unstructured<'_>, table: &Table) -> Vec<u8> {
    let rows = one_of(data, &[3, 1, 0, 2, 40, 300]);
    let dim = one_of(data, &[2, 1, 0, 3, 130]);
    let columns: Vec<_> =
        table.columns.iter().filter_map(|column| build_column(data, table, column, rows, dim)).collect();
    let footer = footer(data, table, dim);
    let (mut file, metadata) = write(data, columns, rows, footer);
    lie(data, &mut file, metadata);
    damage(data, &mut file);
    file
}

/// A column as it should be, or not; none where it is missing.
fn build_column(
    data: &mut Unstructured<'_>,
    table: &Table,
    column: &Column,
    rows: usize,
    dim: usize,
) -> Option<(Field, ArrayRef)> {
    let good = good(table, column, rows, dim);
    let array = match up_to(data, 23) {
        0..16 => good,
        16 => return None,
        17 => scattered(data, &good),
        18 => new_null_array(&any_type(data), rows),
        19 => lists(data, rows),
        20 => {
            let to = any_type(data);
            cast(&good, &to).unwrap_or_else(|_| new_null_array(&to, rows))
        }
        _ => odd_values(data, column.cell, rows).unwrap_or(good),
    };
    Some((Field::new(column.name, array.data_type().clone(), true), array))
}

/// Rows that break no rule.
fn good(table: &Table, column: &Column, rows: usize, dim: usize) -> ArrayRef {
    let ahead = ["x_max", "y_max", "track_b"].contains(&column.name) || column.name.starts_with("last_");
    let whole = (0..rows as i64).map(|row| row + i64::from(ahead));
    let real = 0.5 + f32::from(ahead);
    let word = |row: usize| if table.sort_key == [column.name] { format!("{row:04}") } else { "v".into() };
    match column.cell {
        CellType::Bool => Arc::new(BooleanArray::from(vec![false; rows])),
        CellType::Int64 => Arc::new(Int64Array::from_iter_values(whole)),
        CellType::Float32 => Arc::new(Float32Array::from(vec![real; rows])),
        CellType::Float64 => Arc::new(Float64Array::from(vec![f64::from(real); rows])),
        CellType::Text => Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("{row:04}")))),
        CellType::Symbol => Arc::new(StringArray::from_iter_values((0..rows).map(word))),
        CellType::Category(words) => Arc::new(StringArray::from(vec![words[0]; rows])),
        CellType::Bytes => Arc::new(BinaryArray::from(vec![b"PNG".as_slice(); rows])),
        CellType::Vector(len) => vectors(rows, len, real),
        CellType::UnitVector | CellType::Ragged => vectors(rows, dim, (1.0 / (dim.max(1) as f32)).sqrt()),
    }
}

fn vectors(rows: usize, len: usize, value: f32) -> ArrayRef {
    let child = Arc::new(Field::new("item", DataType::Float32, true));
    if len == 0 {
        return new_null_array(&DataType::FixedSizeList(child, 0), rows);
    }
    Arc::new(FixedSizeListArray::new(
        child,
        len as i32,
        Arc::new(Float32Array::from(vec![value; rows * len])),
        None,
    ))
}

/// Rows in another order, some twice, some null.
fn scattered(data: &mut Unstructured<'_>, good: &ArrayRef) -> ArrayRef {
    let rows = good.len();
    let place = |_| Some(up_to(data, rows)).filter(|row| *row < rows).map(|row| row as u32);
    take(good, &UInt32Array::from((0..rows).map(place).collect::<Vec<_>>()), None).unwrap()
}

/// Lists of floats, each as long as it likes.
fn lists(data: &mut Unstructured<'_>, rows: usize) -> ArrayRef {
    let length = |data: &mut Unstructured<'_>| one_of(data, &[2, 0, 1, 3, 10, 130, 3000]);
    let float = |data: &mut Unstructured<'_>| {
        data.ratio(15_u8, 16).unwrap_or(true).then(|| data.arbitrary().unwrap_or(0.5))
    };
    let mut list = |_| {
        let (length, value) = (length(data), float(data));
        Some(vec![value; length])
    };
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
        (0..rows).map(&mut list).collect::<Vec<_>>(),
    ))
}

/// Values of the right type that no row of ours holds.
pub(crate) fn odd_values(data: &mut Unstructured<'_>, cell: CellType, rows: usize) -> Option<ArrayRef> {
    let number = |data: &mut Unstructured<'_>| one_of(data, &NUMBERS).wrapping_add(up_to(data, 2) as i64);
    Some(match cell {
        CellType::Bool => {
            Arc::new(BooleanArray::from_iter((0..rows).map(|_| data.arbitrary::<Option<bool>>().ok()?)))
        }
        CellType::Int64 => Arc::new(Int64Array::from_iter_values((0..rows).map(|_| number(data)))),
        CellType::Float32 => {
            Arc::new(Float32Array::from_iter_values((0..rows).map(|_| data.arbitrary().unwrap_or(f32::NAN))))
        }
        CellType::Float64 => {
            Arc::new(Float64Array::from_iter_values((0..rows).map(|_| data.arbitrary().unwrap_or(f64::NAN))))
        }
        CellType::Category(words) => {
            Arc::new(StringArray::from_iter_values((0..rows).map(|_| one_of(data, words))))
        }
        CellType::Text | CellType::Symbol => {
            Arc::new(StringArray::from_iter_values((0..rows).map(|_| data.arbitrary::<&str>().unwrap_or(""))))
        }
        CellType::Bytes => Arc::new(BinaryArray::from_iter_values(
            (0..rows).map(|_| data.arbitrary::<&[u8]>().unwrap_or(&[])),
        )),
        CellType::Vector(_) | CellType::UnitVector | CellType::Ragged => return None,
    })
}

fn any_type(data: &mut Unstructured<'_>) -> DataType {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Decimal128, Dictionary, FixedSizeBinary, FixedSizeList, Float16,
        Float32, Float64, Int8, Int16, Int32, Int64, LargeBinary, LargeList, LargeUtf8, List, Timestamp,
        UInt64, Utf8, Utf8View,
    };
    let item = |of: DataType| Arc::new(Field::new("element", of, true));
    let numbered = |key: DataType, of: DataType| Dictionary(Box::new(key), Box::new(of));
    let types = [
        Boolean,
        Int8,
        Int16,
        Int32,
        Int64,
        UInt64,
        Float16,
        Float32,
        Float64,
        Utf8,
        LargeUtf8,
        Utf8View,
        Binary,
        LargeBinary,
        BinaryView,
        FixedSizeBinary(4),
        Date32,
        Timestamp(TimeUnit::Nanosecond, None),
        Decimal128(10, 2),
        DataType::Null,
        numbered(Int32, Utf8),
        numbered(Int8, Utf8),
        numbered(Int64, LargeUtf8),
        numbered(Int32, Int64),
        List(item(Float32)),
        LargeList(item(Float32)),
        FixedSizeList(item(Float32), 2),
        FixedSizeList(item(Float32), 10),
        List(item(List(item(Float32)))),
        DataType::Struct(vec![item(Int64)].into()),
    ];
    types[up_to(data, types.len() - 1)].clone()
}

/// The JSON of the footer, with one thing wrong at times.
fn footer(data: &mut Unstructured<'_>, table: &Table, dim: usize) -> String {
    let embedder = json!({ "name": "v", "dim": dim, "weights_sha256": "0", "license": "MIT" });
    let mut footer = json!({
        "table": table.name, "version": table.version, "producer": "fuzz", "run_id": "r", "fingerprint": "f",
        "embedders": [embedder],
    });
    match up_to(data, 23) {
        20 => footer["embedders"][0]["dim"] = json!(one_of(data, &[0, 1, 3, 1 << 20, u64::MAX])),
        21 => footer["embedders"] = json!([]),
        22 => footer["version"] = Value::from(one_of(data, &["1.0.1", "0.9.9", "1.99.0", "9.0.0", "1", ""])),
        23 => footer["table"] = Value::from(one_of(data, &["frames", "tracks", ""])),
        _ => {}
    }
    footer.to_string()
}

fn write(
    data: &mut Unstructured<'_>,
    columns: Vec<(Field, ArrayRef)>,
    rows: usize,
    footer: String,
) -> (Vec<u8>, ParquetMetaData) {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder()
        .set_compression(one_of(data, &[zstd, Compression::UNCOMPRESSED, Compression::SNAPPY]))
        .set_dictionary_enabled(one_of(data, &[true, false]))
        .set_writer_version(one_of(data, &[WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0]))
        .set_data_page_row_count_limit(one_of(data, &[20_000, 1, 7]))
        .set_write_batch_size(one_of(data, &[1024, 1, 7]))
        .set_max_row_group_row_count(Some(one_of(data, &[16_384, 1, 17])))
        .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), footer)]))
        .build();
    let options = ArrowWriterOptions::new()
        .with_properties(properties)
        .with_skip_arrow_metadata(one_of(data, &[false, true]));
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    let count = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &count).unwrap();
    let mut file = Vec::new();
    // Types that Parquet does not know, and no column at all, are refused by the writer already.
    let written =
        ArrowWriter::try_new_with_options(&mut file, batch.schema(), options).and_then(|mut writer| {
            writer.write(&batch)?;
            writer.close()
        });
    match written {
        Ok(metadata) => (file, metadata),
        // Nothing is odd any more, so this is not done twice.
        Err(_) => write(
            &mut Unstructured::new(&[]),
            vec![("other", rows)].into_iter().map(plain).collect(),
            rows,
            String::new(),
        ),
    }
}

fn plain((name, rows): (&str, usize)) -> (Field, ArrayRef) {
    (Field::new(name, DataType::Int64, true), new_null_array(&DataType::Int64, rows))
}

/// Appends other metadata: the same, but for a few numbers that are not true.
fn lie(data: &mut Unstructured<'_>, file: &mut Vec<u8>, metadata: ParquetMetaData) {
    let lies = up_to(data, 11).saturating_sub(8);
    let mut groups = metadata.row_groups().to_vec();
    for _ in 0..lies {
        let at = up_to(data, groups.len().saturating_sub(1));
        if let Some(group) = groups.get_mut(at)
            && let Some(changed) = lie_of(data, group)
        {
            *group = changed;
        }
    }
    if lies > 0 {
        let changed = metadata.into_builder().set_row_groups(groups).build();
        // The writer adds these numbers up, and panics where that overflows.
        let tail = catch_panic(|| {
            let mut tail = Vec::new();
            ParquetMetaDataWriter::new(&mut tail, &changed).finish().map(|_| tail)
        });
        file.extend(tail.into_iter().flatten().flatten());
    }
}

fn lie_of(data: &mut Unstructured<'_>, group: &RowGroupMetaData) -> Option<RowGroupMetaData> {
    let mut columns = group.columns().to_vec();
    let at = up_to(data, columns.len().saturating_sub(1));
    let builder = group.clone().into_builder();
    let column = columns.get(at)?.clone();
    let near = [column.data_page_offset(), column.compressed_size(), column.num_values(), group.num_rows()];
    let base = if data.ratio(1, 2).unwrap_or(false) { one_of(data, &NUMBERS) } else { one_of(data, &near) };
    let number = base.wrapping_add(up_to(data, 8) as i64 - 4);
    let column = column.into_builder();
    let changed = match up_to(data, 7) {
        0 => return builder.set_num_rows(number).build().ok(),
        1 => column.set_num_values(number),
        2 => column.set_total_compressed_size(number),
        3 => column.set_total_uncompressed_size(number),
        4 => column.set_data_page_offset(number),
        5 => column.set_dictionary_page_offset(Some(number)),
        6 => column.set_dictionary_page_offset(None),
        _ => column.set_compression(one_of(
            data,
            &[Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4_RAW],
        )),
    };
    columns[at] = changed.build().ok()?;
    builder.set_column_metadata(columns).build().ok()
}

/// Bytes replaced, mostly in pages: the metadata are at the end.
fn damage(data: &mut Unstructured<'_>, file: &mut [u8]) {
    for _ in 0..up_to(data, 11).saturating_sub(7) {
        let at = up_to(data, file.len() - 1);
        file[at] = data.arbitrary().unwrap_or(0);
    }
}
