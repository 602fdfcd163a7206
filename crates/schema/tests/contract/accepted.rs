//! What other writers make of our tables is still read, as long as nothing has to be guessed.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int32Array, LargeListArray, LargeStringArray, ListArray,
    StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use parquet::basic::{Compression, ZstdLevel};
use schema::footer::KEY;
use schema::io::{current_name, read_all, read_footer};
use schema::tables::{
    Crop, Detection, Embedding, Linkage, Member, MetricUnit, TORSO_BINS, Track, TrackEmbedding, TrackView,
};
use schema::{Error, Row};

use crate::raw::Raw;
use crate::rows::{DIM, crop, detection, linkage, member, metric, track, track_embedding};

fn reads_as<R: Row + Clone + PartialEq + Debug>(name: &str, raw: Raw, rows: &[R]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    raw.write(&path);
    let read = read_all::<R>(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(read, rows, "{name}");
}

fn retyped<R: Row>(rows: &[R], dim: usize, column: &str, to: &DataType) -> Raw {
    let raw = Raw::of(rows, dim);
    let array = cast(&raw.column(column), to).unwrap();
    raw.set(column, array)
}

fn dictionary(key: DataType, value: DataType) -> DataType {
    DataType::Dictionary(Box::new(key), Box::new(value))
}

#[test]
fn text_in_any_encoding() {
    let rows = [metric("ari", MetricUnit::Frame), metric("ari", MetricUnit::Track)];
    let types = [
        DataType::Utf8,
        DataType::LargeUtf8,
        DataType::Utf8View,
        dictionary(DataType::Int8, DataType::Utf8),
        dictionary(DataType::UInt32, DataType::Utf8),
        dictionary(DataType::Int32, DataType::LargeUtf8),
    ];
    for to in types {
        for column in ["video_id", "name", "unit"] {
            reads_as(&format!("{column} as {to}"), retyped(&rows, 0, column, &to), &rows);
        }
    }
}

#[test]
fn bytes_in_any_encoding() {
    let rows = [crop(0, 0), Crop { image: None, ..crop(0, 1) }];
    for to in [DataType::Binary, DataType::LargeBinary, DataType::BinaryView] {
        reads_as(&to.to_string(), retyped(&rows, 0, "image", &to), &rows);
    }
}

/// The vectors of a column as one flat array, whatever the type of list.
fn flat(column: &ArrayRef) -> Float32Array {
    let list = column.as_any().downcast_ref::<FixedSizeListArray>().unwrap();
    list.values().as_any().downcast_ref::<Float32Array>().unwrap().clone()
}

#[test]
fn vectors_as_plain_lists_under_any_child_name() {
    let rows = [track_embedding(0), track_embedding(1)];
    let raw = Raw::of(&rows, DIM);
    let values: ArrayRef = Arc::new(flat(&raw.column("embedding")));
    for (name, nullable) in [("item", false), ("element", true), ("", true)] {
        let child = Arc::new(Field::new(name, DataType::Float32, nullable));
        let lengths = || [DIM; 2];
        let (short, long) = (OffsetBuffer::from_lengths(lengths()), OffsetBuffer::from_lengths(lengths()));
        let list = ListArray::new(Arc::clone(&child), short, Arc::clone(&values), None);
        let large = LargeListArray::new(Arc::clone(&child), long, Arc::clone(&values), None);
        let fixed = FixedSizeListArray::new(child, DIM as i32, Arc::clone(&values), None);
        let arrays: [ArrayRef; 3] = [Arc::new(list), Arc::new(large), Arc::new(fixed)];
        for array in arrays {
            let named = format!("{} of {name:?}", array.data_type());
            reads_as(&named, raw.clone().set("embedding", array), &rows);
        }
    }
}

#[test]
fn vectors_that_may_be_null() {
    let rows = [detection(0), Detection { landmarks: None, ..detection(1) }];
    let raw = Raw::of(&rows, 0);
    reads_as("fixed-size list", raw.clone(), &rows);
    let plain = DataType::List(Arc::new(Field::new("element", DataType::Float32, true)));
    reads_as("list", raw.clone().set("landmarks", cast(&raw.column("landmarks"), &plain).unwrap()), &rows);
}

/// Version 1.0.0 of `tracks` has no column `torso`.
#[test]
fn a_table_of_an_earlier_minor_version() {
    let torso = Some(Box::new([1.0 / TORSO_BINS as f32; TORSO_BINS]));
    let rows = [track(0), Track { torso, ..track(1) }];
    reads_as("some measured", Raw::of(&rows, 0), &rows);
    let before = Raw::of(&rows, 0).without("torso").footer_field("version", "1.0.0".into());
    reads_as("before the column", before, &[track(0), track(1)]);
}

/// `members` was `appearances` until version 1.1.0, which added the column `name`.
#[test]
fn a_table_by_its_former_name() {
    let rows = [member(0), Member { name: Some("Ida".into()), ..member(1) }];
    let former = |version: &str| {
        let raw = Raw::of(&rows, DIM).footer_field("table", "appearances".into());
        let raw =
            raw.without("linked_person_id").without("named_at").without("series_id").without("series_uid");
        raw.footer_field("version", version.into())
    };
    reads_as("the last version", former("1.1.0"), &rows);
    reads_as("before the column", former("1.0.0").without("name"), &[member(0), member(1)]);
    let current = |version: &str| {
        let path = tempfile::NamedTempFile::new().unwrap();
        former(version).write(path.path());
        current_name(&read_footer(path.path()).unwrap().unwrap()).to_owned()
    };
    assert_eq!(["1.0.0", "2.0.0"].map(current), ["members", "appearances"]);
    let raw = former("2.0.0");
    let path = tempfile::NamedTempFile::new().unwrap();
    raw.write(path.path());
    assert!(matches!(read_all::<Member>(path.path()), Err(Error::OtherVersion { is_newer: true, .. })));
}

#[test]
fn columns_that_the_contract_does_not_know() {
    let rows = [linkage(0), linkage(1)];
    let raw = Raw::of(&rows, 0);
    let extra: [(&str, ArrayRef); 3] = [
        ("note", Arc::new(StringArray::from(vec![Some("x"), None]))),
        ("__index_level_0__", Arc::new(Int32Array::from(vec![0, 1]))),
        ("embedding", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
    ];
    let crowded = extra.into_iter().fold(raw, |raw, (name, array)| raw.set(name, array));
    reads_as("extra columns", crowded.clone(), &rows);
    reads_as("columns in another order", crowded.reversed(), &rows);
}

#[test]
fn footers_with_more_in_them() {
    let rows = [linkage(0)];
    reads_as("a new field", Raw::of(&rows, 0).footer_field("colour", "red".into()), &rows);
    let json = serde_json::to_string(&crate::raw::footer::<Linkage>(0)).unwrap();
    let keys = [("pandas", Some("{}")), ("empty", None), (KEY, Some(json.as_str()))];
    reads_as("more keys", Raw::of(&rows, 0).keys(&keys), &rows);
}

#[test]
fn the_usual_compressions() {
    let rows = [linkage(0), linkage(1)];
    let zstd = Compression::ZSTD(ZstdLevel::default());
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, zstd] {
        reads_as(&compression.to_string(), Raw::of(&rows, 0).compressed(compression), &rows);
    }
}

/// A video without faces has tables without rows; vectors then have the length of the embedder, or none.
#[test]
fn tables_without_rows() {
    for dim in [0, DIM] {
        reads_as::<TrackEmbedding>(&format!("dim {dim}"), Raw::of::<TrackEmbedding>(&[], dim), &[]);
        reads_as::<Embedding>(&format!("dim {dim}"), Raw::of::<Embedding>(&[], dim), &[]);
    }
    reads_as::<TrackView>("one embedder", Raw::of::<TrackView>(&[], 0), &[]);
    reads_as::<Detection>("no faces", Raw::of::<Detection>(&[], 0), &[]);
    reads_as::<Crop>("no crops", Raw::of::<Crop>(&[], 0), &[]);
}
