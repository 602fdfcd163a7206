//! Files that break the contract, and the message with which each is refused. `bad_files.txt` holds what
//! people read.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, StringArray, StructArray, TimestampNanosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type};
use parquet::file::metadata::{FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use schema::footer::KEY;
use schema::io::{TableWriter, read_all};
use schema::tables::{
    Cluster, Constraint, Crop, Detection, Frame, Linkage, MetricUnit, Track, TrackEmbedding, TrackView,
};
use schema::{Error, Row, UnitVector};

use crate::raw::{Raw, footer};
use crate::rows::{
    DIM, cluster, constraint, crop, detection, frame, linkage, metric, track, track_embedding, track_view,
};
use crate::snapshot::{assert_matches, describe};

/// A bad file: what is wrong with it, and how it is made at a path and read from there.
type Case = (&'static str, fn(&Path) -> Error);

fn refused<R: Row + Clone>(path: &Path) -> Error {
    match read_all::<R>(path) {
        Ok(rows) => panic!("{} rows were read", rows.len()),
        Err(error) => error,
    }
}

/// Writes rows as they are and reads them.
fn rows<R: Row + Clone>(path: &Path, rows: &[R], dim: usize) -> Error {
    Raw::of(rows, dim).write(path);
    refused::<R>(path)
}

/// Replaces one column of two merges and reads them.
fn merges(path: &Path, column: &str, array: impl Array + 'static) -> Error {
    Raw::of(&[linkage(0), linkage(1)], 0).set(column, Arc::new(array)).write(path);
    refused::<Linkage>(path)
}

/// Replaces the vectors of two tracks and reads them.
fn vectors(path: &Path, array: impl Array + 'static) -> Error {
    Raw::of(&[track_embedding(0), track_embedding(1)], DIM).set("embedding", Arc::new(array)).write(path);
    refused::<TrackEmbedding>(path)
}

fn lists(rows: &[&[Option<f32>]]) -> ListArray {
    ListArray::from_iter_primitive::<Float32Type, _, _>(rows.iter().map(|row| Some(row.to_vec())))
}

/// Replaces the footer's JSON and reads.
fn footed(path: &Path, json: &str) -> Error {
    Raw::of(&[linkage(0)], 0).footer(json).write(path);
    refused::<Linkage>(path)
}

fn versioned(path: &Path, version: &str) -> Error {
    Raw::of(&[linkage(0)], 0).footer_field("version", version.into()).write(path);
    refused::<Linkage>(path)
}

/// Changes the bytes of a good file and reads it.
fn damaged(path: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> Error {
    Raw::of(&[linkage(0), linkage(1)], 0).write(path);
    let mut bytes = fs::read(path).unwrap();
    damage(&mut bytes);
    fs::write(path, bytes).unwrap();
    refused::<Linkage>(path)
}

const ROWS: &[Case] = &[
    ("rows out of order", |p| rows(p, &[linkage(1), linkage(0)], 0)),
    ("the same key twice", |p| rows(p, &[linkage(0), linkage(0)], 0)),
    ("words out of order", |p| {
        rows(p, &[metric("ari", MetricUnit::Track), metric("ari", MetricUnit::Frame)], 0)
    }),
    ("NaN in a double", |p| rows(p, &[Linkage { distance: f64::NAN, ..linkage(0) }], 0)),
    ("infinity in a float", |p| rows(p, &[Track { mean_score: f32::INFINITY, ..track(0) }], 0)),
    ("NaN in a nullable float", |p| rows(p, &[Detection { score: Some(f32::NAN), ..detection(0) }], 0)),
    ("NaN in a fixed vector", |p| {
        rows(p, &[Detection { landmarks: Some([f32::NAN; 10]), ..detection(0) }], 0)
    }),
    ("a whole number that doubles do not hold", |p| {
        rows(p, &[Linkage { size: (1 << 53) + 1, ..linkage(0) }], 0)
    }),
    ("a whole number that cannot be counted on from", |p| {
        rows(p, &[Track { n_detections: i64::MIN, ..track(0) }], 0)
    }),
    ("a picture too large for a face", |p| rows(p, &[Crop { width: 60_000, ..crop(0, 0) }], 0)),
    ("a picture without height", |p| rows(p, &[Crop { height: 0, ..crop(0, 0) }], 0)),
    ("a box without width", |p| rows(p, &[Detection { x_max: 1.0, ..detection(0) }], 0)),
    ("a box upside down", |p| rows(p, &[detection(0), Detection { y_max: -1.0, ..detection(1) }], 0)),
    ("a best frame outside the track", |p| rows(p, &[Track { best_frame_idx: 10, ..track(0) }], 0)),
    ("a pair with the larger track first", |p| rows(p, &[constraint(2, 1)], 0)),
    ("a pair of one track", |p| rows(p, &[constraint(1, 1)], 0)),
    ("noise with a cluster", |p| rows(p, &[cluster(0, Some(0), true)], 0)),
    ("neither noise nor a cluster", |p| rows(p, &[cluster(0, None, false)], 0)),
];

const COLUMNS: &[Case] = &[
    ("a null where none may be", |p| merges(p, "size", Int64Array::from(vec![Some(2), None]))),
    ("a null in the sort key", |p| merges(p, "step", Int64Array::from(vec![None, Some(1)]))),
    ("a null word", |p| merges(p, "video_id", StringArray::from(vec![Some("v"), None]))),
    ("no value at all", |p| merges(p, "size", new_null_array(&DataType::Int64, 2))),
    ("a column of the null type", |p| merges(p, "size", new_null_array(&DataType::Null, 2))),
    ("32-bit integers for 64-bit ones", |p| merges(p, "size", Int32Array::from(vec![2, 2]))),
    ("floats for integers", |p| merges(p, "size", Float64Array::from(vec![2.0, 2.0]))),
    ("text for integers", |p| merges(p, "size", StringArray::from(vec!["2", "2"]))),
    ("times for integers", |p| merges(p, "size", TimestampNanosecondArray::from(vec![2, 2]))),
    ("floats for doubles", |p| merges(p, "distance", Float32Array::from(vec![0.5, 0.5]))),
    ("integers for text", |p| merges(p, "video_id", Int64Array::from(vec![1, 2]))),
    ("bytes for text", |p| merges(p, "video_id", BinaryArray::from(vec![b"v".as_slice(), b"\xff"]))),
    ("numbered integers for text", |p| {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Int64));
        merges(p, "video_id", cast(&numbers, &dictionary).unwrap())
    }),
    ("a structure for a number", |p| {
        let field = Arc::new(Field::new("size", DataType::Int64, true));
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![2, 2]));
        merges(p, "size", StructArray::from(vec![(field, inner)]))
    }),
    ("text for an image", |p| {
        let raw = Raw::of(&[crop(0, 0)], 0).set("image", Arc::new(StringArray::from(vec!["PNG"])));
        raw.write(p);
        refused::<Crop>(p)
    }),
    ("an unknown word", |p| {
        let raw = Raw::of(&[frame(0), frame(1)], 0);
        raw.set("status", Arc::new(StringArray::from(vec!["ok", "Ok"]))).write(p);
        refused::<Frame>(p)
    }),
    ("a missing column", |p| {
        Raw::of(&[linkage(0)], 0).without("size").write(p);
        refused::<Linkage>(p)
    }),
    ("a missing nullable column", |p| {
        Raw::of(&[cluster(0, Some(0), false)], 0).without("margin").write(p);
        refused::<Cluster>(p)
    }),
];

const VECTORS: &[Case] = &[
    ("a vector that is not unit", |p| vectors(p, lists(&[&[Some(1.0); 3], &[Some(1.0); 3]]))),
    ("a vector of zeros", |p| vectors(p, lists(&[&[Some(0.0); 3], &[Some(0.0); 3]]))),
    ("a vector with NaN", |p| vectors(p, lists(&[&[Some(f32::NAN); 3], &[Some(1.0); 3]]))),
    ("a null in a vector", |p| vectors(p, lists(&[&[Some(1.0), None, Some(0.0)], &[Some(1.0); 3]]))),
    ("an empty vector", |p| vectors(p, lists(&[&[], &[]]))),
    ("vectors of two lengths", |p| {
        vectors(p, lists(&[&[Some(1.0), Some(0.0), Some(0.0)], &[Some(1.0), Some(0.0)]]))
    }),
    ("vectors of another length than the footer says", |p| {
        vectors(p, lists(&[&[Some(1.0), Some(0.0)], &[Some(1.0), Some(0.0)]]))
    }),
    ("fixed vectors of another length than the footer says", |p| {
        let raw = Raw::of(&[track_embedding(0)], DIM);
        raw.footer_field("embedders", serde_json::json!([])).write(p);
        refused::<TrackEmbedding>(p)
    }),
    ("a null vector", |p| {
        let some = Some(vec![Some(1.0), Some(0.0), Some(0.0)]);
        vectors(p, ListArray::from_iter_primitive::<Float32Type, _, _>(vec![some, None]))
    }),
    ("vectors of doubles", |p| {
        let child = Arc::new(Field::new("item", DataType::Float64, true));
        let values = Arc::new(Float64Array::from(vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0]));
        vectors(p, FixedSizeListArray::new(child, 3, values, None))
    }),
    ("vectors much longer than the footer says", |p| {
        vectors(p, lists(&[&[Some(0.1); 100], &[Some(0.1); 100]]))
    }),
    ("vectors longer than any", |p| {
        let raw = Raw::of(&[track_embedding(0)], DIM);
        let dim = serde_json::json!([{ "name": "a", "dim": 65_537, "weights_sha256": "", "license": "" }]);
        raw.footer_field("embedders", dim).write(p);
        refused::<TrackEmbedding>(p)
    }),
    ("a view longer than those of every embedder", |p| {
        let raw = Raw::of(&[track_view("a", &[1.0; DIM + 1]), track_view("b", &[1.0])], DIM + 1);
        let embedder = serde_json::json!([{ "name": "a", "dim": DIM, "weights_sha256": "", "license": "" }]);
        raw.footer_field("embedders", embedder).write(p);
        refused::<TrackView>(p)
    }),
    ("an empty view", |p| {
        let raw = Raw::of(&[track_view("a", &[1.0; DIM])], DIM);
        raw.set("embedding", Arc::new(lists(&[&[]]))).write(p);
        refused::<TrackView>(p)
    }),
    ("a view of raw norm 0", |p| rows(p, &[TrackView { norm: 0.0, ..track_view("a", &[1.0; DIM]) }], DIM)),
    ("numbers for vectors", |p| vectors(p, Float32Array::from(vec![1.0, 1.0]))),
    ("lists of lists for vectors", |p| {
        let inner = lists(&[&[Some(1.0)], &[Some(1.0)]]);
        let child = Arc::new(Field::new("item", inner.data_type().clone(), true));
        vectors(p, FixedSizeListArray::new(child, 1, Arc::new(inner), None))
    }),
    ("eight landmarks for ten", |p| {
        let child = Arc::new(Field::new("item", DataType::Float32, true));
        let eight = FixedSizeListArray::new(child, 8, Arc::new(Float32Array::from(vec![1.0; 8])), None);
        Raw::of(&[detection(0)], 0).set("landmarks", Arc::new(eight)).write(p);
        refused::<Detection>(p)
    }),
    ("a plain list of eight landmarks", |p| {
        Raw::of(&[detection(0)], 0).set("landmarks", Arc::new(lists(&[&[Some(1.0); 8]]))).write(p);
        refused::<Detection>(p)
    }),
];

const FOOTERS: &[Case] = &[
    ("no footer key", |p| {
        Raw::of(&[linkage(0)], 0).keys(&[]).write(p);
        refused::<Linkage>(p)
    }),
    ("only other keys", |p| {
        Raw::of(&[linkage(0)], 0).keys(&[("pandas", Some("{}"))]).write(p);
        refused::<Linkage>(p)
    }),
    ("a key without a value", |p| {
        Raw::of(&[linkage(0)], 0).keys(&[(KEY, None)]).write(p);
        refused::<Linkage>(p)
    }),
    ("a footer that is no JSON", |p| footed(p, "linkage 1.0.0")),
    ("an empty footer", |p| footed(p, "")),
    ("a footer that is a list", |p| footed(p, "[1, 2]")),
    ("a footer without a version", |p| footed(p, r#"{"table": "linkage"}"#)),
    ("a footer whose version is a number", |p| footed(p, r#"{"table": "linkage", "version": 1}"#)),
    ("a footer nested without end", |p| footed(p, &"[".repeat(100_000))),
    ("the footer of another table", |p| {
        Raw::of(&[metric("ari", MetricUnit::Frame)], 0).write(p);
        refused::<Linkage>(p)
    }),
    ("a version that is none", |p| versioned(p, "1.0")),
    ("a version too old", |p| versioned(p, "0.9.0")),
    ("a newer minor version", |p| versioned(p, "1.1.0")),
    ("a newer major version", |p| versioned(p, "2.0.0")),
];

const FILES: &[Case] = &[
    ("no file", refused::<Linkage>),
    ("a file below a file", |p| {
        fs::write(p, "x").unwrap();
        refused::<Linkage>(&p.join("linkage.parquet"))
    }),
    ("an empty file", |p| {
        fs::write(p, "").unwrap();
        refused::<Linkage>(p)
    }),
    ("a text file", |p| {
        fs::write(p, "step,left,right\n0,1,2\n".repeat(10)).unwrap();
        refused::<Linkage>(p)
    }),
    ("a directory", |p| {
        fs::create_dir(p).unwrap();
        refused::<Linkage>(p)
    }),
    ("a pipe", |p| {
        assert!(Command::new("mkfifo").arg(p).status().unwrap().success());
        refused::<Linkage>(p)
    }),
    ("half a file", |p| damaged(p, |bytes| bytes.truncate(bytes.len() / 2))),
    ("a file without its last byte", |p| damaged(p, |bytes| bytes.truncate(bytes.len() - 1))),
    ("a file that ends in another word", |p| {
        damaged(p, |bytes| bytes.splice(bytes.len() - 4.., *b"JUNK").for_each(drop))
    }),
    ("an encrypted footer", |p| damaged(p, |bytes| bytes.splice(bytes.len() - 4.., *b"PARE").for_each(drop))),
    ("a footer longer than the file", |p| {
        damaged(p, |bytes| bytes.splice(bytes.len() - 8..bytes.len() - 4, [0xff, 0xff, 0, 0]).for_each(drop))
    }),
    ("a footer of zeros", |p| {
        damaged(p, |bytes| {
            let (from, to) = (bytes.len() / 2, bytes.len() - 8);
            bytes[from..to].fill(0);
        })
    }),
    ("pages of zeros", |p| damaged(p, |bytes| bytes[4..200].fill(0))),
    ("more rows announced than there are", |p| {
        announce(p, 7);
        refused::<Linkage>(p)
    }),
    ("fewer rows announced than there are", |p| {
        announce(p, 1);
        refused::<Linkage>(p)
    }),
    ("a number of rows below zero", |p| {
        announce(p, -1);
        refused::<Linkage>(p)
    }),
];

/// A good file of two rows that claims to have `rows`.
fn announce(path: &Path, rows: i64) {
    Raw::of(&[linkage(0), linkage(1)], 0).write(path);
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    let group = reader.metadata().row_group(0).clone();
    let group = group.into_builder().set_num_rows(rows).build().unwrap();
    let good = reader.metadata().file_metadata();
    let keys = good.key_value_metadata().cloned();
    let bad = FileMetaData::new(good.version(), rows, None, keys, good.schema_descr_ptr(), None);
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    let metadata = ParquetMetaDataBuilder::new(bad).add_row_group(group).build();
    let mut tail = Vec::new();
    ParquetMetaDataWriter::new(&mut tail, &metadata).finish().unwrap();
    file.write_all(&tail).unwrap();
}

#[test]
fn every_bad_file_is_refused_in_the_stored_words() {
    let mut text = String::new();
    for (name, read) in [ROWS, COLUMNS, VECTORS, FOOTERS, FILES].into_iter().flatten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.parquet");
        // Seen only when the file turns out to be good.
        eprintln!("{name}");
        let error = describe(&read(&path), &path);
        text.push_str(&format!("{name}\n  {error}\n"));
    }
    assert_matches("bad_files.txt", &text);
}

/// What a writer refuses is what a reader refuses: the same rows, in the same words.
#[test]
fn writers_refuse_what_readers_refuse() {
    fn check<R: Row + Clone>(rows: &[R], dim: usize) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.parquet");
        let mut writer = TableWriter::create(&path, &footer::<R>(dim)).unwrap();
        let written = rows.iter().cloned().try_for_each(|row| writer.push(row)).unwrap_err();
        drop(writer);
        Raw::of(rows, dim).write(&path);
        assert_eq!(written.to_string(), refused::<R>(&path).to_string());
    }
    check(&[linkage(1), linkage(0)], 0);
    check(&[linkage(0), linkage(0)], 0);
    check(&[Linkage { distance: f64::NAN, ..linkage(0) }], 0);
    check(&[Detection { x_max: 1.0, ..detection(0) }], 0);
    check(&[Track { best_frame_idx: 10, ..track(0) }], 0);
    check::<Constraint>(&[constraint(2, 1)], 0);
    check::<Cluster>(&[cluster(0, None, false)], 0);
}

#[test]
fn a_writer_refuses_vectors_of_another_length_than_its_footer_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.parquet");
    let mut writer = TableWriter::create(&path, &footer::<TrackEmbedding>(DIM)).unwrap();
    let embedding = UnitVector::normalised(&[1.0, 0.0]).unwrap();
    writer.push(TrackEmbedding { embedding, ..track_embedding(0) }).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(
        error.ends_with("column `embedding` of `track_embeddings` contains a vector of length 2, expected 3"),
        "{error}"
    );
    let mut writer = TableWriter::create(&path, &footer::<TrackView>(DIM)).unwrap();
    writer.push(track_view("a", &[1.0; DIM + 1])).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("contains a vector of length 4, the footer declares at most 3"), "{error}");
}

/// A reader that has met an error has nothing more to say.
#[test]
fn a_reader_stops_at_its_first_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.parquet");
    let mut rows: Vec<_> = (0..140_000).map(linkage).collect();
    rows[10].distance = f64::NAN;
    rows[70_000].distance = f64::NAN;
    Raw::of(&rows, 0).write(&path);
    let mut reader = schema::io::open::<Linkage>(&path).unwrap();
    assert!(reader.next().unwrap().is_err());
    assert!(reader.next().is_none());
}

#[test]
fn only_vectors_with_a_direction_can_be_normalised() {
    for bad in [&[][..], &[0.0, 0.0], &[f32::NAN, 1.0], &[f32::INFINITY, 1.0]] {
        assert_eq!(UnitVector::normalised(bad), None, "{bad:?}");
    }
    for good in [&[f32::MAX, f32::MAX][..], &[f32::MIN_POSITIVE, f32::MIN_POSITIVE], &[-3.0, 4.0]] {
        let vector = UnitVector::normalised(good).unwrap();
        schema::cell::Value::check(&vector).unwrap_or_else(|e| panic!("{good:?} {e}"));
    }
    assert_eq!(UnitVector::normalised(&[-3.0, 4.0]).unwrap().as_slice(), [-0.6, 0.8]);
}
