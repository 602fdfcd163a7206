//! A run as a dataset that can be given away: the tables, a data card (`README.md`) and a description in Croissant 1.1
//! (`croissant.json`).
//!
//! Pictures and vectors of faces are left out unless they are asked for. The log of corrections, which names its
//! authors, is never part of a dataset; the corrections are applied in the tables.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use ::run::RunReader;
use ::run::files::{new_folder, sha256};
use schema::cell::CellType;
use schema::crypt;
use schema::docs::one_line;
use schema::io;
use schema::table::{Column, Table};
use schema::tables::{self, Identity, Video};
use serde_json::{Map, Value, json};

use crate::{Error, Result};

/// File name of the data card, which Hugging Face reads, too.
pub const CARD: &str = "README.md";
/// File name of the description in Croissant.
pub const CROISSANT: &str = "croissant.json";
/// Tables with pictures of faces.
const PICTURES: [&str; 1] = ["crops"];
/// Tables with vectors of faces.
const VECTORS: [&str; 4] = ["embeddings", "track_embeddings", "track_views", "link_vectors"];
/// Version of a dataset in its own description; a run is given away as it is.
const VERSION: &str = "1.0.0";

/// What a dataset contains besides the other tables.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Pictures of faces.
    pub pictures: bool,
    /// Vectors of faces.
    pub vectors: bool,
    /// Licence of the dataset, as an SPDX expression or an address; `None` if it is not stated.
    pub license: Option<String>,
}

/// A table of the dataset.
struct File {
    table: &'static Table,
    rows: u64,
    size_bytes: u64,
    sha256: String,
    /// Length of the vectors; 0 without vectors.
    dim: usize,
    /// Columns of the table that the file has: a table of an earlier version lacks new ones.
    columns: Vec<&'static Column>,
}

/// Writes the dataset of the run at `root` as the folder `out`, which must be empty or absent: the whole folder, or
/// nothing. Returns the number of its tables.
///
/// # Errors
/// When the stage `cluster` has not finished, a table is not as its stage wrote it, or a file cannot be written.
pub fn write(root: &Path, out: &Path, content: &Content) -> Result<usize> {
    let run = RunReader::open(root)?;
    let video: Video = run.read_one()?;
    let people: Vec<Identity> = run.read()?;
    let mut files = files(&run, content)?;
    let io = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Io { action, path, source }
    };
    new_folder(out, |folder| {
        for file in &mut files {
            let (from, to) = (root.join(file.table.file_name()), folder.join(file.table.file_name()));
            if let Some(key) = crypt::key() {
                // A dataset is given to others, who do not have the key.
                schema::io::encrypt_again(&from, &to, [Some(key), None]).map_err(::run::Error::from)?;
                file.size_bytes = fs::metadata(&to).map_err(io("read", &to))?.len();
                file.sha256 = sha256(&to)?;
                continue;
            }
            fs::copy(&from, &to).map_err(io("write", &to))?;
            // A stage may have replaced the table since its hash was taken.
            if sha256(&to)? != file.sha256 {
                let reason = "its SHA-256 differs".into();
                return Err(Error::Run(::run::Error::Changed { path: from, reason }));
            }
        }
        let texts = [
            (CARD, card(&run, &video, &people, &files, content)),
            (CROISSANT, croissant(&run, &video, &files, content)),
        ];
        for (name, text) in texts {
            let path: PathBuf = folder.join(name);
            fs::write(&path, text).map_err(io("write", &path))?;
        }
        Ok(())
    })?;
    Ok(files.len())
}

/// The tables of the dataset, each found to be as its stage wrote it.
fn files(run: &RunReader, content: &Content) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for table in tables::ALL {
        let is_wanted = (content.pictures || !PICTURES.contains(&table.name))
            && (content.vectors || !VECTORS.contains(&table.name));
        let Some(output) = run.manifest().output(&table.file_name()).filter(|_| is_wanted) else { continue };
        let sha256 = run.hash_of(table.name)?.to_owned();
        let path = run.root().join(table.file_name());
        let footer = io::read_footer(&path).map_err(::run::Error::from)?;
        let names = io::read_column_names(&path).map_err(::run::Error::from)?;
        files.push(File {
            table,
            rows: output.rows.unwrap_or(0),
            size_bytes: output.size_bytes,
            sha256,
            dim: footer.map_or(0, |footer| footer.dim()),
            columns: table
                .columns
                .iter()
                .filter(|column| names.iter().any(|name| name == column.name))
                .collect(),
        });
    }
    Ok(files)
}

/// The name of a dataset.
fn name(run: &RunReader) -> &str {
    &run.manifest().run_id
}

fn description(video: &Video) -> String {
    format!(
        "Faces of the video `{}`: boxes in every frame, tracks through shots, and people, found by facetrack {}.",
        video.file_name,
        env!("CARGO_PKG_VERSION"),
    )
}

/// The description in Croissant 1.1.
fn croissant(run: &RunReader, video: &Video, files: &[File], content: &Content) -> String {
    let distribution = files.iter().map(|file| {
        json!({
            "@type": "cr:FileObject", "@id": file.table.file_name(), "name": file.table.file_name(),
            "description": one_line(file.table.doc), "contentUrl": file.table.file_name(),
            "contentSize": format!("{} B", file.size_bytes), "encodingFormat": "application/x-parquet",
            "sha256": file.sha256,
        })
    });
    let mut document = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": name(run),
        "description": description(video),
        "version": VERSION,
        "keywords": ["face tracking", "face clustering", "video"],
        "rai:personalSensitiveInformation": personal(content, files),
        "rai:dataCollection": "Found by a program in a video; see the data card in README.md.",
        "distribution": distribution.collect::<Vec<_>>(),
        "recordSet": files.iter().map(record_set).collect::<Vec<_>>(),
    });
    if let Some(license) = &content.license {
        document["license"] = json!(license);
    }
    format!("{document:#}\n")
}

fn record_set(file: &File) -> Value {
    let table = file.table;
    let id = |column: &str| format!("{}/{column}", table.name);
    let field = |column: &&Column| {
        let mut field = json!({
            "@type": "cr:Field", "@id": id(column.name), "name": column.name,
            "description": one_line(column.doc), "dataType": data_type(column.cell),
            "source": { "fileObject": { "@id": table.file_name() }, "extract": { "column": column.name } },
        });
        let length = match column.cell {
            CellType::Vector(length) => length.to_string(),
            CellType::UnitVector => file.dim.to_string(),
            CellType::Ragged => "-1".to_owned(),
            _ => return field,
        };
        field["isArray"] = json!(true);
        field["arrayShape"] = json!(length);
        field
    };
    json!({
        "@type": "cr:RecordSet", "@id": table.name, "name": table.name, "description": one_line(table.doc),
        "key": table.sort_key.iter().map(|column| json!({ "@id": id(column) })).collect::<Vec<_>>(),
        "field": file.columns.iter().map(field).collect::<Vec<_>>(),
    })
}

fn data_type(cell: CellType) -> &'static str {
    match cell {
        CellType::Bool => "sc:Boolean",
        CellType::Int64 => "sc:Integer",
        CellType::Float32
        | CellType::Float64
        | CellType::Vector(_)
        | CellType::UnitVector
        | CellType::Ragged => "sc:Float",
        CellType::Text | CellType::Symbol | CellType::Category(_) => "sc:Text",
        CellType::Bytes => "sc:ImageObject",
    }
}

/// The `@context` that the specification prescribes.
fn context() -> Value {
    let mut context = Map::new();
    let mut put = |key: &str, value: Value| _ = context.insert(key.to_owned(), value);
    put("@language", json!("en"));
    put("@vocab", json!("https://schema.org/"));
    for (prefix, address) in [
        ("cr", "http://mlcommons.org/croissant/"),
        ("rai", "http://mlcommons.org/croissant/RAI/"),
        ("dct", "http://purl.org/dc/terms/"),
        ("sc", "https://schema.org/"),
    ] {
        put(prefix, json!(address));
    }
    put("conformsTo", json!("dct:conformsTo"));
    put("dataType", json!({ "@id": "cr:dataType", "@type": "@vocab" }));
    for key in ["data", "examples"] {
        put(key, json!({ "@id": format!("cr:{key}"), "@type": "@json" }));
    }
    for key in ["description", "name"] {
        put(key, json!({ "@container": "@language" }));
    }
    for key in [
        "arrayShape",
        "citeAs",
        "column",
        "containedIn",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
        "includes",
        "isArray",
        "isLiveDataset",
        "jsonPath",
        "key",
        "md5",
        "parentField",
        "path",
        "recordSet",
        "references",
        "regex",
        "repeated",
        "replace",
        "samplingRate",
        "separator",
        "source",
        "subField",
        "transform",
    ] {
        put(key, json!(format!("cr:{key}")));
    }
    Value::Object(context)
}

fn personal(content: &Content, files: &[File]) -> Vec<&'static str> {
    let mut personal =
        vec!["Where and when each person is in the video, and the names that a user has given."];
    if files.iter().any(|file| file.table.name == "labels") {
        personal.push("The names in the labels.");
    }
    if content.pictures {
        personal.push("Pictures of faces.");
    }
    if content.vectors {
        personal.push("Face embeddings, which are biometric data.");
    }
    personal
}

/// The data card in Markdown, with the metadata of Hugging Face.
fn card(run: &RunReader, video: &Video, people: &[Identity], files: &[File], content: &Content) -> String {
    // Strings of JSON are strings of YAML, too.
    let text = |text: &str| json!(text).to_string();
    let mut card = format!("---\npretty_name: {}\n", text(name(run)));
    let _ = match &content.license {
        Some(license) => writeln!(card, "license: other\nlicense_name: {}", text(license)),
        None => writeln!(card, "license: unknown"),
    };
    card += "tags: [face-tracking, face-clustering, video, croissant]\nconfigs:\n";
    // Readers of the metadata refuse a table without rows.
    for file in files.iter().filter(|file| file.rows > 0) {
        let _ =
            writeln!(card, "- config_name: {}\n  data_files: {}", file.table.name, file.table.file_name());
    }
    let named = people.iter().filter(|person| person.name.is_some()).count();
    let _ = write!(
        card,
        "---\n\n# {}\n\n{}\n\n| | |\n|---|---|\n| frames | {} |\n| size of a frame | {} × {} pixels |\n\
         | duration | {:.1} s |\n| people | {}, {named} of them with a name |\n| SHA-256 of the video | `{}` |\n",
        heading(name(run)),
        heading(&description(video)),
        video.frame_count,
        video.width,
        video.height,
        video.duration_secs,
        people.len(),
        video.sha256,
    );
    card += "\n## Tables\nEach table is a Parquet file, and a record set of `croissant.json`. All tables have the column \
             `video_id`.\n\n| table | rows | content |\n|---|---|---|\n";
    for file in files {
        let _ = writeln!(card, "| `{}` | {} | {} |", file.table.name, file.rows, one_line(file.table.doc));
    }
    card += "\n## How the data were made\nA program found the faces, followed each one through its shot, and grouped the \
             tracks by person. Where a user has corrected the result, the corrections are applied. No row is checked by \
             hand unless a user has done so.\n\n| stage | version | program | warnings |\n|---|---|---|---|\n";
    for stage in &run.manifest().stages {
        let warnings = stage.warnings.len();
        let _ = writeln!(card, "| `{}` | {} | {} | {warnings} |", stage.stage, stage.version, stage.producer);
    }
    let footer = io::read_footer(&run.root().join("track_embeddings.parquet")).ok().flatten();
    for embedder in footer.iter().flat_map(|footer| &footer.embedders) {
        let _ = write!(
            card,
            "\nTracks were compared with the embedder `{}`, whose weights have the licence {}{}.\n",
            embedder.name,
            embedder.license,
            if embedder.weights_sha256.is_empty() {
                String::new()
            } else {
                format!(" and the SHA-256 `{}`", embedder.weights_sha256)
            },
        );
    }
    card += "\n## Limits\n- Small, turned, blurred and dark faces are missed, or end up with another person. The column \
             `confidence` of `clusters` says how certain the person of a track is.\n- People who do not face the camera \
             are not in the data.\n- Whether all groups of people are found and distinguished equally well was not measured \
             on this video.\n- Never base a decision about a person on the data.\n";
    card += "\n## Personal data\n";
    personal(content, files).iter().for_each(|line| _ = writeln!(card, "- {line}"));
    card += "- The file name and the SHA-256 of the video, which tell which video it is.\n- A colour histogram of the \
             clothes below each face (`torso` of `tracks`), if it was measured.\n";
    let left_out = [(content.pictures, "pictures of faces"), (content.vectors, "vectors of faces")];
    let left_out: Vec<_> = left_out.iter().filter(|(is_in, _)| !is_in).map(|(_, what)| *what).collect();
    if !left_out.is_empty() {
        let _ = writeln!(card, "\nLeft out: {}, and the log of corrections.", left_out.join(", "));
    }
    card += "\nThe people in the video have rights to these data. A copy must be kept so that a person can be deleted from it.\n";
    card
}

/// A text that is one line and no markup of Markdown.
fn heading(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain
        .replace(['<', '>', '|', '`', '*', '_', '[', ']', '!'], " ")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_may_be_left_out_exist() {
        for name in PICTURES.iter().chain(&VECTORS) {
            assert!(tables::ALL.iter().any(|table| table.name == *name), "{name}");
        }
    }

    /// A new table with vectors or pictures must not slip into a dataset.
    #[test]
    fn every_table_with_vectors_or_pictures_may_be_left_out() {
        for table in tables::ALL {
            let has = |kinds: fn(CellType) -> bool| table.columns.iter().any(|column| kinds(column.cell));
            let vectors = has(|cell| matches!(cell, CellType::UnitVector | CellType::Ragged));
            let pictures = has(|cell| matches!(cell, CellType::Bytes));
            assert_eq!(vectors, VECTORS.contains(&table.name), "{}", table.name);
            assert_eq!(pictures, PICTURES.contains(&table.name), "{}", table.name);
        }
    }
}
