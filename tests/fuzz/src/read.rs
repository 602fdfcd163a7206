//! Every reader of a table, and what must hold of what it says.

use std::fmt::Debug;
use std::path::Path;

use run::validate::validate;
use schema::io::{TableWriter, open, read_all, read_footer};
use schema::table::Table;
use schema::tables::{
    Appearance, Calibration, Cluster, Constraint, Crop, Detection, Embedding, Frame, Identity, Label,
    LinkVector, Linkage, Member, Metric, Person, PersonVector, Shot, Track, TrackEmbedding, TrackView, Video,
};
use schema::{Error, Row};

use crate::assert_message;

/// A table and its reader.
type Reader = (&'static Table, fn(&Path));

macro_rules! readers {
    ($($row:ident),+) => { [$(($row::TABLE, read::<$row>)),+] };
}

/// Every table of a run, and those of a library.
pub(crate) const READERS: [Reader; 21] = readers!(
    Video,
    Frame,
    Shot,
    Detection,
    Track,
    Crop,
    Embedding,
    TrackEmbedding,
    TrackView,
    Constraint,
    Cluster,
    Calibration,
    Linkage,
    LinkVector,
    Identity,
    Appearance,
    Metric,
    Label,
    Person,
    Member,
    PersonVector
);

/// Number of `members` among them.
pub(crate) const MEMBERS: usize = READERS.len() - 2;

/// Reads a file as the table of that number.
pub(crate) fn table(number: usize, path: &Path) {
    READERS[number % READERS.len()].1(path);
    let footer = read_footer(path);
    footer.iter().flatten().for_each(|footer| _ = footer.dim());
    let _ = validate(path);
}

fn read<R: Row + Clone + PartialEq + Debug>(path: &Path) {
    let faults = open::<R>(path).map_or_else(|error| vec![error], |reader| reader.inspect(drop));
    faults.iter().for_each(|fault| assert_message(fault));
    let first = faults.first().map(Error::to_string);
    match read_all::<R>(path) {
        Err(error) => assert_eq!(Some(error.to_string()), first, "reading and inspecting disagree"),
        Ok(rows) => {
            assert_eq!(first, None, "reading and inspecting disagree");
            keep_the_contract(&rows);
            come_back(path, rows);
        }
    }
}

fn keep_the_contract<R: Row + Debug>(rows: &[R]) {
    rows.iter().for_each(|row| assert_eq!(row.check(), Ok(()), "{row:?}"));
    assert!(rows.is_sorted_by(|a, b| a.cmp_key(b).is_lt()), "rows out of order");
}

/// What a reader has accepted, a writer writes, and is read to the same.
fn come_back<R: Row + Clone + PartialEq + Debug>(path: &Path, rows: Vec<R>) {
    let footer = open::<R>(path).unwrap().footer().clone();
    let copy = path.with_extension("copy");
    let mut writer = TableWriter::create(&copy, &footer).unwrap();
    rows.iter().for_each(|row| writer.push(row.clone()).unwrap());
    writer.finish().unwrap();
    assert_eq!(read_all::<R>(&copy).unwrap(), rows);
}
