//! The published documents: one JSON file per table and version, and one page in Markdown.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::cell::CellType;
use crate::footer;
use crate::table::{Column, Table};
use crate::tables;

/// Returns the name of a cell type as the documents write it.
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
        CellType::Ragged => "list<float32>, unit norm".into(),
    }
}

/// Returns every document as a pair of its path below `schemas/` and its content.
pub fn documents() -> Vec<(PathBuf, String)> {
    let mut documents: Vec<_> = tables::all()
        .map(|table| {
            let path = PathBuf::from(table.name).join(format!("{}.json", table.version));
            (path, table_document(table))
        })
        .collect();
    documents.push(("README.md".into(), page()));
    documents
}

/// Returns the JSON document of a table.
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
         Every table is one Parquet file, compressed with zstd. The footer key `facetrack` holds a JSON object \
         with the table, its version, the producer, the `run_id` and the fingerprint of the run. Tables of \
         vectors also list their `embedders` with the SHA-256 and the licence of the weights. `detections` also \
         has `picture`: `x_min`, `y_min`, `x_max` and `y_max` of the part of the frame in which faces were \
         detected, and `turn_degrees`, the clockwise turn after which its faces are upright, in addition to \
         `rotation_degrees` of `videos`.\n\n\
         - Rows are in strictly increasing order of the sort key.\n\
         - `*_idx` counts from zero without gaps; `*_id` is an opaque key.\n\
         - Boxes are half-open, in pixels of the full-size upright frame, with the origin at the image corner.\n\
         - A missing value is null.\n\
         - Integers lie within ±2⁵³; floats are finite.\n\n\
         [Ten questions](ANALYSTS.md) are answered in pandas, Polars and DuckDB.\n",
    );
    for table in tables::all() {
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

/// Returns the documentation of a table or a column in one line, without the character that ends a cell in Markdown.
pub fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
