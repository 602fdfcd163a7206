//! The published documents: one JSON file per table and version, and a page for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cell::CellType;
use crate::footer;
use crate::table::{Column, Table};
use crate::tables::{ALL, LIBRARY};

/// A cell type in the words of the documents.
pub fn type_name(cell: CellType) -> String {
    match cell {
        CellType::Bool => "bool".into(),
        CellType::Int64 => "int64".into(),
        CellType::Float32 => "float32".into(),
        CellType::Float64 => "float64".into(),
        CellType::Text => "utf8".into(),
        CellType::Symbol => "dictionary<int32, utf8>".into(),
        CellType::Category(words) => format!("dictionary<int32, utf8>, one of {}", words.join(", ")),
        CellType::Bytes => "binary".into(),
        CellType::Vector(len) => format!("fixed_size_list<float32>[{len}]"),
        CellType::UnitVector => "fixed_size_list<float32>[dim], unit norm".into(),
    }
}

/// Every document as (path below `schemas/`, content).
pub fn documents() -> Vec<(PathBuf, String)> {
    let mut documents: Vec<_> = tables()
        .map(|table| {
            let path = PathBuf::from(table.name).join(format!("{}.json", table.version));
            (path, table_document(table))
        })
        .collect();
    documents.push(("README.md".into(), page()));
    documents
}

/// The tables of a run, then those of a library.
fn tables() -> impl Iterator<Item = &'static Table> {
    ALL.into_iter().chain(LIBRARY)
}

/// The document of a table.
pub fn table_document(table: &Table) -> String {
    let column = |c: &Column| {
        let mut document = json!({
            "name": c.name,
            "type": type_name(c.cell),
            "nullable": c.nullable,
            "description": one_line(c.doc),
        });
        if let CellType::Category(words) = c.cell {
            document["categories"] = json!(words);
        }
        document
    };
    let document: Value = json!({
        "table": table.name,
        "version": table.version,
        "producer": table.producer,
        "description": one_line(table.doc),
        "sort_key": table.sort_key,
        "footer_key": footer::KEY,
        "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn page() -> String {
    let mut page = String::from(
        "# Tables\n\n\
         Generated from `crates/schema/src/tables.rs` by `cargo xtask schemas`; do not edit.\n\n\
         Every table is one Parquet file (zstd) whose footer key `facetrack` holds JSON: table, version, \
         producer, run_id, fingerprint, and for vectors the embedders with the SHA-256 and licence of their \
         weights. Rows stand in strictly increasing order of the sort key. `*_idx` counts from zero without \
         holes, `*_id` is an opaque key. Boxes are half-open, in pixels of the full-size upright frame, the \
         origin at the image corner. Missing is null. Whole numbers lie within ±2⁵³, floats are finite. [Questions and answers](ANALYSTS.md) in pandas, Polars and \
         DuckDB.\n",
    );
    for table in tables() {
        let sort_key = table.sort_key.join(", ");
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## {} {}\n\n{} Written by `{}`, sorted by `{sort_key}`.\n\n| column | type | null | meaning |\n|---|---|---|---|\n",
            table.name,
            table.version,
            one_line(table.doc),
            table.producer,
        );
        for c in table.columns {
            let null = if c.nullable { "yes" } else { "" };
            let _ = writeln!(page, "| `{}` | {} | {null} | {} |", c.name, type_name(c.cell), one_line(c.doc));
        }
    }
    page
}

fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
