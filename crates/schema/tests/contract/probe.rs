//! Versions, seen through a table whose version has room below and above: `probe` 2.3.1, whose
//! nullable column `note` is younger than 2.0.0.

use std::cmp::Ordering;

use arrow::array::ArrayRef;
use schema::Error;
use schema::cell::{Cell, CellType};
use schema::io::read_all;
use schema::table::{Column, Row, Table};

use crate::raw::Raw;

#[derive(Debug, Clone, PartialEq)]
struct Probe {
    id: i64,
    note: Option<String>,
}

const COLUMNS: &[Column] = &[
    Column { name: "id", cell: CellType::Int64, nullable: false, doc: "Key." },
    Column { name: "note", cell: CellType::Text, nullable: true, doc: "Younger than 2.0.0." },
];

impl Row for Probe {
    const TABLE: &'static Table = &Table {
        name: "probe",
        version: "2.3.1",
        former: &[],
        producer: "ingest",
        doc: "One row per test.",
        sort_key: &["id"],
        columns: COLUMNS,
    };

    fn cmp_key(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }

    fn to_arrays(rows: &[Self], dim: usize) -> Result<Vec<ArrayRef>, (&'static str, String)> {
        let ids: Vec<_> = rows.iter().map(|row| &row.id).collect();
        let notes: Vec<_> = rows.iter().map(|row| &row.note).collect();
        let id = Cell::to_array(&ids, dim).map_err(|e| ("id", e))?;
        Ok(vec![id, Cell::to_array(&notes, dim).map_err(|e| ("note", e))?])
    }

    fn from_arrays(arrays: &[ArrayRef]) -> Result<Vec<Self>, (&'static str, String)> {
        let ids: Vec<i64> = Cell::from_array(&arrays[0]).map_err(|e| ("id", e))?;
        let notes: Vec<Option<String>> = Cell::from_array(&arrays[1]).map_err(|e| ("note", e))?;
        Ok(ids.into_iter().zip(notes).map(|(id, note)| Self { id, note }).collect())
    }

    fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

fn rows() -> Vec<Probe> {
    vec![Probe { id: 1, note: Some("a".into()) }, Probe { id: 2, note: None }]
}

/// The result of reading, as text.
fn outcome(raw: Raw) -> &'static str {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("probe.parquet");
    raw.write(&path);
    match read_all::<Probe>(&path) {
        Ok(read) if read == rows() => "same",
        Ok(read) if read.iter().all(|row| row.note.is_none()) => "without notes",
        Ok(_) => "other rows",
        Err(Error::OtherVersion { is_newer: false, .. }) => "too old",
        Err(Error::OtherVersion { is_newer: true, .. }) => "too new",
        Err(Error::Column { .. }) => "column",
        Err(Error::Footer { .. }) => "footer",
        Err(_) => "other error",
    }
}

#[test]
fn an_equal_major_and_no_newer_minor_is_read() {
    let versions = [
        ("0.0.1", "too old"),
        ("1.9.9", "too old"),
        ("2.0.0", "same"),
        ("2.3.0", "same"),
        ("2.3.1", "same"),
        ("2.3.9", "same"),
        ("2.4.0", "too new"),
        ("3.0.0", "too new"),
        ("18446744073709551615.0.0", "too new"),
        ("18446744073709551616.0.0", "footer"),
        ("2.3", "footer"),
        ("2.3.1.0", "footer"),
        ("2.3.1-beta", "footer"),
        ("v2.3.1", "footer"),
        ("-2.3.1", "footer"),
        ("", "footer"),
    ];
    for (version, expected) in versions {
        let raw = Raw::of(&rows(), 0).footer_field("version", version.into());
        assert_eq!(outcome(raw), expected, "version {version:?}");
    }
}

/// A minor version adds nullable columns, so a file from before has none of them: they read as null.
#[test]
fn a_column_may_be_missing_only_where_it_is_nullable_and_the_file_is_older() {
    let cases = [
        ("2.2.0", "note", "without notes"),
        ("2.3.0", "note", "column"),
        ("2.3.1", "note", "column"),
        ("2.2.0", "id", "column"),
    ];
    for (version, column, expected) in cases {
        let raw = Raw::of(&rows(), 0).footer_field("version", version.into()).without(column);
        assert_eq!(outcome(raw), expected, "{version} without {column}");
    }
}
