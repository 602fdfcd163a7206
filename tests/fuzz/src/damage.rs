//! Good runs in which the data change some cells, rows and columns, for everything that reads a run as a whole: the
//! manifest vouches for the changed tables, as that of a hostile run would.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbitrary::Unstructured;
use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, concat, concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use evaluate::labels::Labels;
use failure::Failure;
use formats::labels::{LabelFormat, Scene};
use formats::names::names;
use formats::run::Run;
use formats::subject::{self, Part};
use gallery::{Library, RunIdentities, Saving};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use run::RunReader;
use run::edits::{Entry, Faces};
use run::redact::{Request, outlook, redact_check, redact_run};
use run::stage::{Arguments, Job};
use schema::footer::KEY;
use schema::table::Table;
use schema::tables::ALL;
use serde_json::{Value, json};
use testkit::linked::{self, Spec};
use testkit::world::{self, World};

use crate::shape::odd_values;
use crate::{assert_message, one_of, place, up_to};

/// Most changes of a run.
const MOST_CHANGES: usize = 6;
/// Columns of a table, by name.
type Columns = Vec<(String, ArrayRef)>;

/// A table of a good run.
struct Good {
    table: &'static Table,
    columns: Columns,
    footer: Option<String>,
}

/// A good run: its directory, its manifest, its tables, and labels of it.
struct Base {
    root: PathBuf,
    manifest: Value,
    tables: BTreeMap<String, Good>,
    labels: String,
}

thread_local! {
    static LINKED: Base = Base::linked();
    static GALLERY: (Base, PathBuf) = Base::of_gallery();
    static RUN: (Run, Faces) = LINKED.with(|base| {
        (Run::read(&base.root).unwrap(), Faces::read(&RunReader::open(&base.root).unwrap()).unwrap())
    });
}

impl Base {
    fn read(root: PathBuf, labels: String) -> Self {
        let manifest = serde_json::from_slice(&fs::read(root.join("manifest.json")).unwrap()).unwrap();
        let mut tables = BTreeMap::new();
        for table in ALL {
            let path = root.join(table.file_name());
            if path.is_file() {
                tables.insert(table.file_name(), Good::read(table, &path));
            }
        }
        Self { root, manifest, tables, labels }
    }

    /// A run with pictures, labels, and everything that `cluster` writes.
    fn linked() -> Self {
        let root = place::folder().join("linked");
        let spec = Spec { tracks: 9, people: 3, noise: 1, has_quality: true, ..Spec::default() };
        let labels = linked::write(&root, &spec);
        Self::read(root, labels)
    }

    /// A run whose people are in the other run of the gallery, too; the other run.
    fn of_gallery() -> (Self, PathBuf) {
        let mut world = World::new(5, 0.9);
        let mut write = |name: &str| {
            let root = place::folder().join(name);
            world::write_run(&root, name, &world::embedder(), &world.video(4)).unwrap();
            root
        };
        let (first, second) = (write("first"), write("second"));
        (Self::read(first, String::new()), second)
    }

    /// Writes the run with some changes to a new folder.
    fn changed(&self, data: &mut Unstructured<'_>, name: &str) -> PathBuf {
        let root = place::folder().join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        let mut changed: BTreeMap<&str, RecordBatch> = BTreeMap::new();
        let names: Vec<&String> = self.tables.keys().collect();
        for _ in 0..up_to(data, MOST_CHANGES) {
            let name = one_of(data, &names).as_str();
            let good = &self.tables[name];
            let batch = changed.remove(name).unwrap_or_else(|| good.batch());
            changed.insert(name, change(data, good.table, batch));
        }
        let mut hashes = BTreeMap::new();
        for name in &names {
            let to = root.join(name);
            match changed.remove(name.as_str()) {
                Some(batch) => {
                    let file = self.tables[*name].write(&batch);
                    fs::write(&to, &file).unwrap();
                    hashes.insert((*name).clone(), (hash::bytes(&file), file.len()));
                }
                // No table is changed in place.
                None => fs::hard_link(self.root.join(name), &to).unwrap(),
            }
        }
        let mut manifest = self.manifest.clone();
        for stage in manifest["stages"].as_array_mut().unwrap() {
            for output in stage["outputs"].as_array_mut().unwrap() {
                if let Some((sha256, size)) = output["file"].as_str().and_then(|file| hashes.get(file)) {
                    (output["sha256"], output["size_bytes"]) = (json!(sha256), json!(size));
                }
            }
            for input in stage["inputs"].as_array_mut().unwrap() {
                let file = format!("{}.parquet", input["name"].as_str().unwrap_or_default());
                if let Some((sha256, _)) = hashes.get(&file) {
                    input["sha256"] = json!(sha256);
                }
            }
        }
        fs::write(root.join("manifest.json"), manifest.to_string()).unwrap();
        root
    }
}

impl Good {
    fn read(table: &'static Table, path: &Path) -> Self {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap();
        let keys = reader.metadata().file_metadata().key_value_metadata();
        let footer =
            keys.and_then(|keys| keys.iter().find(|key| key.key == KEY)).and_then(|key| key.value.clone());
        let schema = reader.schema().clone();
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let batch = concat_batches(&schema, &batches).unwrap();
        let plain = |array: &ArrayRef| match array.data_type() {
            DataType::Dictionary(_, value) => cast(array, value).unwrap(),
            _ => array.clone(),
        };
        let columns = schema.fields().iter().zip(batch.columns());
        let columns = columns.map(|(field, array)| (field.name().clone(), plain(array))).collect();
        Self { table, columns, footer }
    }

    fn batch(&self) -> RecordBatch {
        batch(self.columns.clone())
    }

    fn write(&self, batch: &RecordBatch) -> Vec<u8> {
        let keys = self.footer.clone().map(|footer| vec![KeyValue::new(KEY.to_owned(), footer)]);
        let properties = WriterProperties::builder().set_key_value_metadata(keys).build();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        file
    }
}

fn batch(columns: Columns) -> RecordBatch {
    let (fields, arrays): (Vec<_>, Vec<_>) = columns
        .into_iter()
        .map(|(name, array)| (Field::new(name, array.data_type().clone(), true), array))
        .unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// One change of a table: a cell, a row, or a column.
fn change(data: &mut Unstructured<'_>, table: &Table, old: RecordBatch) -> RecordBatch {
    let rows = old.num_rows();
    if rows == 0 {
        return old;
    }
    let (row, other) = (up_to(data, rows - 1), up_to(data, rows - 1));
    let all = || (0..rows as u32).collect::<Vec<_>>();
    let order = |places: Vec<u32>| take_record_batch(&old, &UInt32Array::from(places)).unwrap();
    match up_to(data, 9) {
        0 => {
            let mut places = all();
            places.remove(row);
            order(places)
        }
        1 => {
            let mut places = all();
            places.truncate(row);
            order(places)
        }
        how => {
            let at = up_to(data, old.num_columns() - 1);
            let mut columns: Columns = old
                .schema()
                .fields()
                .iter()
                .zip(old.columns())
                .map(|(field, array)| (field.name().clone(), array.clone()))
                .collect();
            let (name, array) = &columns[at];
            let cell = table.columns.iter().find(|column| column.name == name).map(|column| column.cell);
            // The new value of the row stands behind the column.
            let value = match how {
                2..6 => array.slice(other, 1),
                6 => new_null_array(array.data_type(), 1),
                _ => {
                    let odd = cell.and_then(|cell| odd_values(data, cell, 1));
                    let odd = odd.and_then(|odd| cast(&odd, array.data_type()).ok());
                    odd.unwrap_or_else(|| array.slice(other, 1))
                }
            };
            let both = concat(&[array.as_ref(), value.as_ref()]).unwrap();
            let mut places = all();
            // Mostly one row; sometimes all rows from here on.
            let end = if up_to(data, 7) == 7 { rows } else { row + 1 };
            places[row..end].fill(rows as u32);
            columns[at].1 = take(&both, &UInt32Array::from(places), None).unwrap();
            batch(columns)
        }
    }
}

/// A job of a stage, as the program starts it.
fn job<C: Default + serde::de::DeserializeOwned>(
    stage: run::stage::Stage,
    root: &Path,
    settings: &[&str],
) -> Option<Job<C>> {
    let arguments = Arguments {
        run_dir: root.to_path_buf(),
        settings: settings.iter().map(|text| (*text).to_owned()).collect(),
        threads: Some(1),
        force: true,
        ..Arguments::default()
    };
    match Job::open(stage, &arguments) {
        Ok(job) => Some(job),
        Err(error) => {
            assert_message(&error);
            None
        }
    }
}

fn assert_failure(error: &dyn Failure) {
    assert!(!error.to_string().trim().is_empty() && error.exit_code() > 0, "{error}");
}

/// The stage `cluster` on a run whose tables were changed.
pub fn linking(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let settings: &[&str] = one_of(
        data,
        &[
            &[][..],
            &["cluster.method = 'agglomerative'", "cluster.threshold = 0.5"],
            &["cluster.method = 'kmeans'", "cluster.k = 3"],
            &["cluster.edits = 'relink'"],
        ],
    );
    let root = LINKED.with(|base| base.changed(data, "linking"));
    let Some(mut job) = job::<cluster::Config>(cluster::STAGE, &root, settings) else { return };
    if let Err(error) = cluster::run(&mut job) {
        assert_failure(&error);
    }
}

/// The stage `evaluate` with its page, on a run whose tables were changed, with labels or without.
pub fn judging(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let labels = LINKED.with(|base| place::file("labels.csv", base.labels.as_bytes()));
    let labels = (up_to(data, 2) > 0).then_some(labels.as_path());
    let root = LINKED.with(|base| base.changed(data, "judging"));
    let Some(mut job) = job::<evaluate::Config>(evaluate::STAGE, &root, &[]) else { return };
    if let Err(error) = evaluate::run(&mut job, labels) {
        assert_failure(&error);
    }
}

/// A gallery of a run whose tables were changed and a good one: built, added to, and shown.
pub fn galleries(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let is_build = up_to(data, 1) == 0;
    let (root, other) = GALLERY.with(|(base, other)| (base.changed(data, "gallery-run"), other.clone()));
    let library = place::folder().join("gallery");
    let _ = fs::remove_dir_all(&library);
    let made = RunIdentities::read(&other).and_then(|good| {
        let mut library = Library::open(&library)?;
        let bad = RunIdentities::read(&root)?;
        if is_build {
            library.build(&[good, bad], 1, Saving::default())?;
        } else {
            library.add(&good)?;
            library.add(&bad)?;
        }
        library.commit()?;
        library.write_page()?;
        library.relink(1, false)?;
        let videos: Vec<String> = library.videos().map(|video| video.video_id).collect();
        library.forget(&videos[0], &[0].into())?;
        library.commit()
    });
    if let Err(error) = made {
        assert_failure(&error);
    }
    if gallery::validate::is_library(&library) {
        gallery::validate::validate(&library).unwrap().faults.iter().for_each(|fault| assert_message(fault));
    }
}

/// The review page of a run whose tables were changed: everything that the server does before the first request.
pub fn reviews(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let root = LINKED.with(|base| base.changed(data, "review"));
    if let Err(error) = review::read(&root) {
        assert_failure(&error);
    }
}

/// A run whose tables were changed: a person is reported on and removed.
pub fn redactions(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let request = Request {
        identities: vec![up_to(data, 2) as i64],
        pictures: up_to(data, 1) == 1,
        ..Request::default()
    };
    let root = LINKED.with(|base| base.changed(data, "redaction"));
    let out = place::folder().join("subject");
    let _ = fs::remove_dir_all(&out);
    let done = RunReader::open(&root).map_err(run::redact::Error::from).and_then(|run| {
        let clusters = request.identities.iter().copied().collect();
        if let Err(error) = subject::write(&out, "a person", &[Part { run: run.clone(), clusters }], &[]) {
            assert_failure(&error);
        }
        outlook(&run, &request)?;
        let mut run = run::RunDir::open(&root)?;
        redact_run(&mut run, &request)?;
        redact_check(&run)
    });
    if let Err(error) = done {
        assert_failure(&error);
    }
}

/// A file of another tool that names the people of a good run: the first byte says of which tool.
pub fn imports(data: &[u8]) {
    RUN.with(|(run, faces)| import(data, run, faces));
}

fn import(data: &[u8], run: &Run, faces: &Faces) {
    let Some((which, content)) = data.split_first() else { return };
    let formats = LabelFormat::ALL.map(|(format, ..)| format);
    let format = formats[usize::from(*which) % formats.len()];
    let scene = Scene::new(run.times.clone(), run.video.width, run.video.height);
    let Ok(labels) = format.read_of(content, None, None, Some(&scene)) else { return };
    let named = names(&labels, run, faces, "fuzz");
    let entry = |(edit_id, edit)| Entry { edit_id, made_at: String::new(), undoes: None, edit };
    let entries: Vec<Entry> = (1..).zip(named.edits).map(entry).collect();
    let json = formats::edits::json(&entries);
    if let Err(error) = formats::edits::parse(Path::new("edits.json"), json.as_bytes()) {
        panic!("the corrections of an import are refused: {error}");
    }
    let csv = formats::labels::write(&labels);
    if labels.looked_at.len() < 100_000
        && Labels::parse(Path::new("labels.csv"), csv.as_bytes(), i64::MAX).is_err()
    {
        panic!("the labels of an import are refused");
    }
}

/// Seeds of the targets that change runs: no change, and some at random.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    (0..12).map(|number| crate::seeds::choices(number, 3)).chain([vec![]]).collect()
}
