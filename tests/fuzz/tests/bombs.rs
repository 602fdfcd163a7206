//! Small files that stand for gigabytes. The programs that read them have a gigabyte of address space; each
//! file must be refused with a message, or be read within it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets the unexpected should end there, and its sizes should be seen"
)]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, RecordBatch, StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use schema::Row;
use schema::cell::CellType;
use schema::footer::KEY;
use schema::table::Table;
use schema::tables::{Crop, Frame, Label, Linkage, TrackEmbedding, TrackView};
use serde_json::json;
use testkit::assets;

/// Address space of a program, KiB.
const MAX_KIB: u32 = 1 << 20;
/// What is said of rows that are too much.
const TOO_MANY: &str = "its rows decode to more bytes than the limit for its file size";
/// No bomb is larger, bytes.
const MAX_BYTES: u64 = 300 << 10;

/// Runs `facetrack`; gives its exit code and its first line of output.
fn run(arguments: &[&str]) -> Option<(Option<i32>, String)> {
    let program = assets::require_program("facetrack")?;
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -v {MAX_KIB}; exec \"$0\" \"$@\"")]).arg(program).args(arguments);
    let done = shell.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    Some((done.status.code(), String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()))
}

/// Asserts that `facetrack` refuses a file in these words.
fn refused(arguments: &[&str], file: &Path, code: i32, words: &str) {
    let size = file.metadata().unwrap().len();
    assert!(size < MAX_BYTES, "{} has {size} bytes", file.display());
    let Some((found, said)) = run(arguments) else { return };
    println!("{size} bytes: {said}");
    assert!(found == Some(code) && said.contains(words), "{arguments:?} ended with {found:?}: {said}");
}

/// A table whose columns are constant, but for these; the first of them is a key where there is more than one
/// batch.
struct Bomb {
    table: &'static Table,
    batches: usize,
    columns: Vec<(&'static str, ArrayRef)>,
    encoding: Encoding,
}

impl Bomb {
    fn of<R: Row>(columns: Vec<(&'static str, ArrayRef)>) -> Self {
        Self { table: R::TABLE, batches: 1, columns, encoding: Encoding::PLAIN }
    }

    fn write(self, path: &Path) {
        let rows = self.columns[0].1.len();
        let column = |column: &schema::table::Column| {
            let given = self.columns.iter().find(|(name, _)| *name == column.name);
            let array = given.map_or_else(|| constant(column.cell, rows), |(_, array)| Arc::clone(array));
            (Field::new(column.name, array.data_type().clone(), true), array)
        };
        let (fields, arrays): (Vec<_>, Vec<_>) = self.table.columns.iter().map(column).unzip();
        let footer = json!({ "table": self.table.name, "version": self.table.version, "producer": "p", "run_id": "r",
            "fingerprint": "f", "embedders": [{ "name": "v", "dim": 2, "weights_sha256": "", "license": "MIT" }] });
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), footer.to_string())]))
            .set_dictionary_page_size_limit(64 << 20)
            .set_column_dictionary_enabled(self.columns[0].0.into(), false)
            .set_column_encoding(self.columns[0].0.into(), self.encoding)
            .build();
        let schema = Arc::new(Schema::new(fields));
        let file = fs::File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).unwrap();
        for batch in 0..self.batches {
            let mut arrays = arrays.clone();
            if batch > 0 {
                // The key goes on.
                let at =
                    self.table.columns.iter().position(|column| column.name == self.columns[0].0).unwrap();
                arrays[at] = numbers(batch * rows..(batch + 1) * rows);
            }
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap()).unwrap();
        }
        writer.close().unwrap();
    }
}

fn constant(cell: CellType, rows: usize) -> ArrayRef {
    match cell {
        CellType::Symbol => words("v", rows),
        CellType::Category(words) => self::words(words[0], rows),
        CellType::Vector(len) => lists(rows, len),
        CellType::UnitVector | CellType::Ragged => lists(rows, 2),
        _ => arrow::array::new_null_array(&cell.arrow(0), rows),
    }
}

/// One word, many times.
fn words(word: &str, rows: usize) -> ArrayRef {
    let words = Arc::new(StringArray::from(vec![word]));
    Arc::new(DictionaryArray::new(Int32Array::from(vec![0; rows]), words))
}

/// Lists of zeros.
fn lists(rows: usize, len: usize) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let offsets = OffsetBuffer::from_lengths(vec![len; rows]);
    Arc::new(ListArray::new(item, offsets, Arc::new(Float32Array::from(vec![0.0; rows * len])), None))
}

fn numbers(range: Range<usize>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(range.map(|number| number as i64)))
}

/// Writes a bomb and has it validated.
fn explodes(name: &str, bomb: Bomb, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    bomb.write(&path);
    refused(&["validate", path.to_str().unwrap()], &path, 4, words);
}

#[test]
fn a_picture_of_zeros() {
    let zeros = vec![0; 400 << 20];
    let image: ArrayRef = Arc::new(BinaryArray::from(vec![zeros.as_slice()]));
    explodes(
        "crops.parquet",
        Bomb::of::<Crop>(vec![("image", image)]),
        "column `image`: a page decompresses to 4194304",
    );
}

#[test]
fn a_long_word_in_every_row() {
    let word = "a".repeat(1 << 20);
    let columns = vec![("label_idx", numbers(0..3000)), ("identity", words(&word, 3000))];
    explodes("labels.parquet", Bomb::of::<Label>(columns), TOO_MANY);
}

#[test]
fn a_list_without_end() {
    let bomb = Bomb::of::<TrackEmbedding>(vec![("embedding", lists(1, 60_000_000))]);
    explodes("track_embeddings.parquet", bomb, "column `embedding` has 60000000 values for 1 rows");
    let bomb = Bomb::of::<TrackView>(vec![("embedding", lists(1, 60_000_000))]);
    explodes("track_views.parquet", bomb, "column `embedding` has 60000000 values for 1 rows");
}

/// Numbers that rise by one are stored as that.
#[test]
fn rows_without_end() {
    let rows = 1 << 20;
    let times = Arc::new(Float64Array::from(vec![0.0; rows]));
    let zeros = Arc::new(Int64Array::from(vec![0; rows]));
    let keys = Arc::new(BooleanArray::from(vec![false; rows]));
    let columns: Vec<(_, ArrayRef)> =
        vec![("frame_idx", numbers(0..rows)), ("t_secs", times), ("pts_ticks", zeros), ("is_key", keys)];
    let encoding = Encoding::DELTA_BINARY_PACKED;
    explodes("frames.parquet", Bomb { batches: 6, encoding, ..Bomb::of::<Frame>(columns) }, TOO_MANY);
}

/// A fault is larger than a row.
#[test]
fn faults_without_end() {
    let rows = 2_000_000;
    let columns: Vec<(_, ArrayRef)> = vec![
        ("step", Arc::new(Int64Array::from(vec![0; rows]))),
        ("left", Arc::new(Int64Array::from(vec![0; rows]))),
        ("right", Arc::new(Int64Array::from(vec![0; rows]))),
        ("distance", Arc::new(Float64Array::from(vec![0.0; rows]))),
        ("size", Arc::new(Int64Array::from(vec![2; rows]))),
    ];
    explodes(
        "linkage.parquet",
        Bomb::of::<Linkage>(columns),
        "row 1 of `linkage` is not greater than the previous row",
    );
}

/// Has labels imported, or weights converted.
fn reads(verb: &str, name: &str, content: &[u8], code: i32, words: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join(name), folder.path().join("out"));
    fs::write(&path, content).unwrap();
    let (path_text, out) = (path.to_str().unwrap(), out.to_str().unwrap());
    let arguments = match verb {
        "convert" => vec![verb, path_text, out],
        _ => vec![verb, "--labels", path_text, "--out", out],
    };
    refused(&arguments, &path, code, words);
}

#[test]
fn entities_in_entities() {
    let letters: Vec<char> = ('a'..='j').collect();
    let nested =
        letters.windows(2).map(|w| format!("<!ENTITY {} \"{}\">", w[1], format!("&{};", w[0]).repeat(10)));
    let nested: String = nested.collect();
    let text =
        format!("<!DOCTYPE x [<!ENTITY a \"{}\">{nested}]><annotations>&j;</annotations>", "a".repeat(1000));
    reads("import", "nested.xml", text.as_bytes(), 3, "failed to parse the XML: XML with DTD detected");
}

#[test]
fn elements_in_elements() {
    let text = format!("<annotations>{}", "<a>".repeat(80_000));
    reads("import", "deep.xml", text.as_bytes(), 3, "failed to parse the XML");
}

#[test]
fn frames_without_end() {
    reads("import", "far.txt", b"6000000,1,1,1,5,5\n", 0, "");
    reads(
        "import",
        "farther.txt",
        b"6000001,1,1,1,5,5\n",
        3,
        "is not an integer within the range of frame numbers",
    );
    let meta = "<annotations><meta><task><size>6000000</size></task></meta></annotations>";
    reads("import", "far.xml", meta.as_bytes(), 0, "");
}

/// A node of a few bytes stands for a million values.
#[test]
fn constants_that_repeat() {
    let field = |number: u8, value: &[u8]| [&[number << 3 | 2, value.len() as u8], value].concat();
    let node = |number: usize| {
        let size = field(2, &[8, 0x80, 0x80, 0x40]);
        let tensor = field(8, &[vec![8, 1], field(2, &size), vec![5 << 3 | 5, 0, 0, 0, 63]].concat());
        let value = field(5, &[field(1, b"value"), field(2, &tensor)].concat());
        field(1, &[field(1, format!("c{number}").as_bytes()), field(2, b"Const"), value].concat())
    };
    let graph: Vec<u8> = (0..5000).flat_map(node).collect();
    reads("convert", "graph.pb", &graph, 3, "1 values for the shape [1048576]");
}
