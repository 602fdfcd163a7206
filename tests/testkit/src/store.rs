//! A finished run becomes a dataset: tables from before `cluster`, without pictures, and the labels.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use run::manifest::{self, Manifest, Output, StageRecord};
use schema::Row as _;
use schema::io::{self, TableWriter};
use schema::tables::Crop;

use crate::error::{Error, Result};

/// Stages whose tables are kept; the later ones are what a dataset is there to judge.
const KEPT: [&str; 3] = ["ingest", "detect-track", "embed"];
/// The labels of a dataset.
pub const LABELS: &str = "labels.csv";

/// Keeps what is needed of the run at `run` in `into`. The same run gives the same bytes.
///
/// # Errors
/// When the run has no vectors yet, or a file cannot be read or written.
pub fn store(run: &Path, labels: &Path, into: &Path) -> Result<()> {
    let missing = || run::Error::MissingInput {
        path: run.to_path_buf(),
        table: "track_embeddings",
        stage: "embed".into(),
    };
    let mut manifest = Manifest::read(run)?.ok_or_else(missing)?;
    manifest.stages.retain(|record| KEPT.contains(&record.stage.as_str()));
    if manifest.stage("embed").is_none() {
        return Err(missing().into());
    }
    fs::create_dir_all(into).map_err(Error::io("create", into))?;
    for record in &mut manifest.stages {
        keep(record, run, into)?;
    }
    forget_the_machine(&mut manifest);
    write_labels(labels, &into.join(LABELS))?;
    let path = into.join(manifest::FILE_NAME);
    let json = serde_json::to_string_pretty(&manifest)
        .map_err(|e| run::Error::Manifest { path: path.clone(), reason: e.to_string() })?;
    fs::write(&path, json + "\n").map_err(Error::io("write", path))
}

/// Copies what a stage wrote; of pictures only the table that says that there are none.
fn keep(record: &mut StageRecord, run: &Path, into: &Path) -> Result<()> {
    record.duration_secs = 0.0;
    for output in &mut record.outputs {
        let (from, to) = (run.join(&output.file), into.join(&output.file));
        if output.file == Crop::TABLE.file_name() {
            write_no_crops(&from, &to)?;
            describe(output, &to)?;
        } else {
            copy(&from, &to)?;
        }
    }
    Ok(())
}

/// Copies labels with numbers instead of names: metrics need distinct people, not names.
fn write_labels(from: &Path, to: &Path) -> Result<()> {
    let wrong = |e: csv::Error| Error::Labels { path: from.into(), reason: e.to_string() };
    let mut reader = csv::Reader::from_path(from).map_err(wrong)?;
    let mut writer = csv::Writer::from_path(to).map_err(wrong)?;
    let header = reader.headers().map_err(wrong)?.clone();
    let column = header.iter().position(|name| name == "identity");
    writer.write_record(&header).map_err(wrong)?;
    let mut numbers: HashMap<String, usize> = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let anonymous = record.iter().enumerate().map(|(at, cell)| {
            if Some(at) != column || matches!(cell, "" | "?" | "-") {
                return cell.to_owned();
            }
            let next = numbers.len();
            format!("p{}", numbers.entry(cell.to_owned()).or_insert(next))
        });
        writer.write_record(anonymous).map_err(wrong)?;
    }
    writer.flush().map_err(Error::io("write", to))
}

fn write_no_crops(from: &Path, to: &Path) -> Result<()> {
    let footer = io::open::<Crop>(from)?.footer().clone();
    TableWriter::<Crop>::create(to, &footer)?.finish()?;
    Ok(())
}

fn describe(output: &mut Output, path: &Path) -> Result<()> {
    output.rows = Some(0);
    output.size_bytes = fs::metadata(path).map_err(Error::io("read", path))?.len();
    output.sha256 = run::files::sha256(path)?;
    Ok(())
}

/// The path of the video is private and differs between machines.
fn forget_the_machine(manifest: &mut Manifest) {
    if let Some(video) = &mut manifest.video {
        let name = Path::new(&video.path).file_name().map(|name| name.to_string_lossy().into_owned());
        video.path = name.unwrap_or_default();
        video.modified_ns = 0;
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    // Read and written, because a copy would inherit that the source may not be written to.
    let content = fs::read(from).map_err(Error::io("read", from))?;
    fs::write(to, content).map_err(Error::io("write", to))
}
