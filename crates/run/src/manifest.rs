//! `manifest.json`: what ran, with what, from what. It is written last, so what it names is whole.

use std::path::{Component, Path};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::config::plain_json;
use crate::date::is_date;
use crate::encryption::Encryption;
use crate::error::{Error, Result};
use crate::files::replace;

/// Name of the manifest inside the run directory.
pub const FILE_NAME: &str = "manifest.json";

/// Version of the manifest's own format.
const FORMAT: u32 = 1;

/// The stages in the order in which they run.
pub const STAGES: [&str; 5] = ["ingest", "detect-track", "embed", "cluster", "evaluate"];

/// Everything known about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Name of the run directory.
    pub run_id: String,
    /// The video, once `ingest` has read it.
    pub video: Option<VideoFile>,
    /// Finished stages, in the order of [`STAGES`].
    pub stages: Vec<StageRecord>,
    /// Stages that run again only when forced, because something was taken out of their tables.
    #[serde(default)]
    pub pinned: Vec<String>,
    /// Day from which the run must be gone, as `2027-01-31`; `None` without such a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Key of all tables; absent without encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

/// Which file the run is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VideoFile {
    /// Absolute path at the time of reading.
    pub path: String,
    /// Size, bytes.
    pub size_bytes: u64,
    /// Time of last modification, nanoseconds since 1970.
    pub modified_ns: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}

impl VideoFile {
    /// What the system says of the file at `path`, its content not yet read: `sha256` is empty.
    ///
    /// # Errors
    /// The system's own.
    pub fn stat(path: &Path) -> std::io::Result<Self> {
        let path = path.canonicalize()?;
        let metadata = std::fs::metadata(&path)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            path: path.to_string_lossy().into_owned(),
            size_bytes: metadata.len(),
            modified_ns: u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX),
            sha256: String::new(),
        })
    }

    /// Whether path, size and time of last modification are those of `other`, so that its content may
    /// be taken to be the same.
    pub fn is_same_file(&self, other: &Self) -> bool {
        (&self.path, self.size_bytes, self.modified_ns) == (&other.path, other.size_bytes, other.modified_ns)
    }

    /// Key of the video in every table: the first 16 digits of its SHA-256.
    pub fn video_id(&self) -> schema::Symbol {
        self.sha256.get(..16).unwrap_or(&self.sha256).into()
    }
}

/// One finished stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Name of the stage.
    pub stage: String,
    /// Version of what it computes.
    pub version: u32,
    /// SHA-256 over everything that decides the outputs: stage version, configuration, inputs, weights.
    pub fingerprint: String,
    /// Program and version.
    pub producer: String,
    /// Resolved configuration.
    pub config: serde_json::Value,
    /// What was read, besides the configuration.
    pub inputs: Vec<Input>,
    /// What was written.
    pub outputs: Vec<Output>,
    /// What went wrong without ending the stage.
    pub warnings: Vec<String>,
    /// Figures that sum the stage up, for people.
    pub figures: serde_json::Map<String, serde_json::Value>,
    /// Wall-clock time, seconds.
    pub duration_secs: f64,
}

/// Something a stage read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Name of the table, or what else it is: `video`, `weights`, `frontal cascade`, `labels`.
    pub name: String,
    /// SHA-256 of the content.
    pub sha256: String,
}

/// A file a stage wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Path below the run directory, with `/`.
    pub file: String,
    /// Version of the table; null when it is no table.
    pub table_version: Option<String>,
    /// Number of rows; null when it is no table.
    pub rows: Option<u64>,
    /// Size, bytes.
    pub size_bytes: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}

/// The one field that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Whether `file` stays below the run directory. Files that a manifest names get removed, so a
/// foreign manifest must not name others.
fn is_below(file: &str) -> bool {
    !file.is_empty() && Path::new(file).components().all(|part| matches!(part, Component::Normal(_)))
}

impl Manifest {
    /// An empty manifest, with the key of this process.
    pub fn new(run_id: String) -> Self {
        Self {
            format: FORMAT,
            run_id,
            video: None,
            stages: Vec::new(),
            pinned: Vec::new(),
            expires: None,
            encryption: Encryption::of_process(),
        }
    }

    /// Reads the manifest of the run at `root`; `None` when there is none yet.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let path = root.join(FILE_NAME);
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", &path)(e)),
        };
        let wrong = |reason: String| Error::Manifest { path: path.clone(), reason };
        // The format comes first: fields of another format mean nothing here.
        let Format { format } = serde_json::from_slice(&json).map_err(|e| wrong(plain_json(&e)))?;
        if format != FORMAT {
            return Err(wrong(format!("its format is {format}, this version reads {FORMAT}")));
        }
        let manifest: Self = serde_json::from_slice(&json).map_err(|e| wrong(plain_json(&e)))?;
        // A day that cannot be read must not count as none.
        if let Some(day) = manifest.expires.as_ref().filter(|day| !is_date(day)) {
            return Err(wrong(format!("its day of expiry is {day:?}, not a date such as 2027-01-31")));
        }
        match manifest.stages.iter().flat_map(|s| &s.outputs).find(|o| !is_below(&o.file)) {
            Some(output) => {
                Err(wrong(format!("invalid file name {:?}, which is outside the run", output.file)))
            }
            None => Ok(Some(manifest)),
        }
    }

    /// Writes the manifest of the run at `root`.
    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(FILE_NAME);
        let json = serde_json::to_string_pretty(self)
            .map_err(|e| Error::Manifest { path: path.clone(), reason: e.to_string() })?;
        replace(&path, json.as_bytes())
    }

    /// Every recorded output file.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.stages.iter().flat_map(|stage| &stage.outputs)
    }

    /// The record of a finished stage.
    pub fn stage(&self, name: &str) -> Option<&StageRecord> {
        self.stages.iter().find(|s| s.stage == name)
    }

    /// What the manifest says of an output file, and the stage that wrote it.
    pub fn output(&self, file: &str) -> Option<&Output> {
        self.outputs().find(|o| o.file == file)
    }
}
