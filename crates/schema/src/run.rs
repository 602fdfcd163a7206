//! The run directory: one lock, one manifest, and files that are absent or whole.
//!
//! A stage writes under temporary names, brings every file to disk, renames, and writes the
//! manifest last. Whatever happens in between, the next start finds either the old state or the
//! new one: files without a record in the manifest do not count, and `*.tmp` files are removed.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use crate::cell::Symbol;
use crate::error::{Error, Result};
use crate::footer::{Embedder, Footer};
use crate::hash;
use crate::io::{self, PRODUCER, TableReader, TableWriter};
use crate::manifest::{self, Input, Manifest, Output, STAGES, StageRecord, VideoFile};
use crate::table::Row;
use crate::tables;

/// Ending of files that are still being written.
const TEMPORARY: &str = "tmp";
/// The resolved configuration, one section per stage.
const CONFIG_FILE: &str = "config.toml";

/// An open, locked run directory.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    manifest: Manifest,
    _lock: File,
}

/// What decides a stage's outputs.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Name of the stage, one of [`STAGES`].
    pub stage: &'static str,
    /// Raised whenever the same inputs would give other outputs.
    pub version: u32,
    /// Resolved configuration as JSON.
    pub config: &'a serde_json::Value,
    /// Names of the tables it reads.
    pub tables: &'a [&'static str],
    /// What else it reads: video, weights, labels.
    pub inputs: &'a [Input],
    /// Run even when an earlier result still holds.
    pub force: bool,
}

/// What [`RunDir::begin`] found.
#[derive(Debug)]
pub enum Begin {
    /// The stage has finished with this very plan and its files are as it left them.
    UpToDate(StageRecord),
    /// The stage must run.
    Run(StageRun),
}

impl RunDir {
    /// Opens the run at `root`, creating the directory when missing, and takes its lock.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let lock = lock(root)?;
        let root = root.canonicalize().map_err(Error::io("read", root))?;
        remove_temporaries(&root)?;
        let run_id = root.file_name().map_or_else(|| "run".into(), |n| n.to_string_lossy().into_owned());
        let manifest = Manifest::read(&root)?.unwrap_or_else(|| Manifest::new(run_id));
        Ok(Self { root, manifest, _lock: lock })
    }

    /// The directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is recorded so far.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Key of the video; `ingest` must have finished.
    pub fn video_id(&self) -> Result<Symbol> {
        Ok(self.video_file()?.video_id())
    }

    /// The video file as `ingest` recorded it.
    pub fn video_file(&self) -> Result<&VideoFile> {
        self.manifest.video.as_ref().ok_or_else(|| self.missing("videos"))
    }

    /// Opens a table of a finished stage.
    pub fn open_table<R: Row + Clone>(&self) -> Result<TableReader<R>> {
        self.recorded(R::TABLE.name)?;
        io::open(&self.root.join(R::TABLE.file_name()))
    }

    /// Every row of a table of a finished stage.
    pub fn read<R: Row + Clone>(&self) -> Result<Vec<R>> {
        self.recorded(R::TABLE.name)?;
        io::read_all(&self.root.join(R::TABLE.file_name()))
    }

    /// Decides whether a stage must run, and prepares it when it must.
    ///
    /// Every input table is hashed and compared with the manifest, so a stage never reads a file
    /// that its producer did not write.
    pub fn begin(&mut self, plan: &Plan<'_>) -> Result<Begin> {
        let mut inputs = Vec::new();
        for table in plan.tables {
            let output = self.recorded(table)?;
            self.verify(output)?;
            inputs.push(Input { name: (*table).to_owned(), sha256: output.sha256.clone() });
        }
        inputs.extend_from_slice(plan.inputs);
        let fingerprint = fingerprint(plan, &inputs);
        if let Some(record) = self.manifest.stage(plan.stage)
            && !plan.force
            && record.fingerprint == fingerprint
            && record.outputs.iter().all(|output| self.verify(output).is_ok())
        {
            return Ok(Begin::UpToDate(record.clone()));
        }
        Ok(Begin::Run(StageRun {
            root: self.root.clone(),
            run_id: self.manifest.run_id.clone(),
            started: Instant::now(),
            outputs: Vec::new(),
            record: StageRecord {
                stage: plan.stage.to_owned(),
                fingerprint,
                producer: PRODUCER.to_owned(),
                config: plan.config.clone(),
                inputs,
                outputs: Vec::new(),
                warnings: Vec::new(),
                figures: serde_json::Map::new(),
                duration_secs: 0.0,
            },
        }))
    }

    /// Records which video the run is about; only `ingest` does, just before it commits.
    ///
    /// Refuses when the directory already holds the results of another file.
    pub fn set_video(&mut self, video: VideoFile) {
        self.manifest.video = Some(video);
    }

    /// Makes the outputs of a stage visible, all of them or none, and drops results of later
    /// stages that were made from what they replace.
    pub fn commit(&mut self, stage: StageRun) -> Result<StageRecord> {
        let StageRun { started, outputs, mut record, .. } = stage;
        for output in &outputs {
            let path = self.root.join(&output.file);
            let temporary = temporary(&path);
            let size_bytes = fs::metadata(&temporary).map_err(Error::io("read", &temporary))?.len();
            let sha256 = hash::file(&temporary)?;
            record.outputs.push(Output { size_bytes, sha256, ..output.clone() });
        }
        record.duration_secs = started.elapsed().as_secs_f64();
        self.forget_stale(&record)?;
        for output in &record.outputs {
            let path = self.root.join(&output.file);
            fs::rename(temporary(&path), &path).map_err(Error::io("write", &path))?;
        }
        sync_directory(&self.root)?;
        self.write_config(&record)?;
        self.manifest.stages.push(record.clone());
        self.manifest.stages.sort_by_key(|s| STAGES.iter().position(|name| *name == s.stage));
        self.write_manifest()?;
        Ok(record)
    }

    /// Drops the record of the stage that is about to be replaced, and record and files of every
    /// later stage that read something which now differs.
    fn forget_stale(&mut self, new: &StageRecord) -> Result<()> {
        let mut changed: Vec<String> = Vec::new();
        for old in self.manifest.stage(&new.stage).iter().flat_map(|s| &s.outputs) {
            if !new.outputs.iter().any(|o| o.file == old.file && o.sha256 == old.sha256) {
                changed.push(old.file.clone());
            }
        }
        let mut stale: Vec<Output> = Vec::new();
        let mut kept = Vec::new();
        for record in std::mem::take(&mut self.manifest.stages) {
            if record.stage == new.stage {
                continue;
            }
            if record.inputs.iter().any(|input| changed.contains(&format!("{}.parquet", input.name))) {
                changed.extend(record.outputs.iter().map(|o| o.file.clone()));
                stale.extend(record.outputs);
            } else {
                kept.push(record);
            }
        }
        self.manifest.stages = kept;
        self.write_manifest()?;
        for output in stale {
            let path = self.root.join(&output.file);
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn recorded(&self, table: &'static str) -> Result<&Output> {
        self.manifest.output(&format!("{table}.parquet")).ok_or_else(|| self.missing(table))
    }

    fn missing(&self, table: &'static str) -> Error {
        Error::MissingInput { path: self.root.clone(), table, stage: tables::producer(table).to_owned() }
    }

    fn verify(&self, output: &Output) -> Result<()> {
        let path = self.root.join(&output.file);
        let changed = |reason: String| Error::Changed { path: path.clone(), reason };
        let size = fs::metadata(&path).map_err(|e| changed(e.to_string()))?.len();
        if size != output.size_bytes {
            return Err(changed(format!("it has {size} bytes, not {}", output.size_bytes)));
        }
        let sha256 = hash::file(&path)?;
        if sha256 == output.sha256 { Ok(()) } else { Err(changed("its content differs".into())) }
    }

    fn write_manifest(&self) -> Result<()> {
        let path = self.root.join(manifest::FILE_NAME);
        let json = serde_json::to_string_pretty(&self.manifest)
            .map_err(|e| Error::Manifest { path: path.clone(), reason: e.to_string() })?;
        replace(&path, json.as_bytes())
    }

    /// Puts the stage's resolved section into `config.toml`, for people; the manifest has it too.
    fn write_config(&self, record: &StageRecord) -> Result<()> {
        let path = self.root.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut sections: toml::Table = text.parse().unwrap_or_default();
        let section = toml::Value::try_from(&record.config)
            .map_err(|e| Error::Config { path: path.clone(), reason: e.to_string() })?;
        sections.insert(record.stage.clone(), section);
        replace(&path, sections.to_string().as_bytes())
    }
}

/// A stage that is running: files under temporary names, removed again unless committed.
#[derive(Debug)]
pub struct StageRun {
    root: PathBuf,
    run_id: String,
    started: Instant,
    outputs: Vec<Output>,
    record: StageRecord,
}

impl StageRun {
    /// Starts writing a table. `embedders` says what made the vectors, whose length is that of the
    /// first; it is empty for tables without vectors.
    pub fn create<R: Row + Clone>(&self, embedders: &[Embedder]) -> Result<TableWriter<R>> {
        let footer = Footer {
            table: R::TABLE.name.to_owned(),
            version: R::TABLE.version.to_owned(),
            producer: PRODUCER.to_owned(),
            run_id: self.run_id.clone(),
            fingerprint: self.record.fingerprint.clone(),
            embedders: embedders.to_vec(),
        };
        let path = temporary(&self.root.join(R::TABLE.file_name()));
        TableWriter::create(&path, &footer, embedders.first().map_or(0, |e| e.dim))
    }

    /// Finishes a table begun with [`StageRun::create`].
    pub fn finish<R: Row + Clone>(&mut self, writer: TableWriter<R>) -> Result<()> {
        let rows = writer.finish()?;
        self.outputs.push(Output {
            file: R::TABLE.file_name(),
            table_version: Some(R::TABLE.version.to_owned()),
            rows: Some(rows),
            size_bytes: 0,
            sha256: String::new(),
        });
        Ok(())
    }

    /// Writes a whole table without vectors.
    pub fn write<R: Row + Clone>(&mut self, rows: impl IntoIterator<Item = R>) -> Result<()> {
        let mut writer = self.create::<R>(&[])?;
        rows.into_iter().try_for_each(|row| writer.push(row))?;
        self.finish(writer)
    }

    /// Writes a file that is no table, such as `report/index.html`.
    pub fn write_file(&mut self, file: &str, content: &[u8]) -> Result<()> {
        let path = self.root.join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        write_synced(&temporary(&path), content)?;
        self.outputs.push(Output {
            file: file.to_owned(),
            table_version: None,
            rows: None,
            size_bytes: 0,
            sha256: String::new(),
        });
        Ok(())
    }

    /// Records something that went wrong without ending the stage.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.record.warnings.push(message.into());
    }

    /// Records a figure that sums the stage up.
    pub fn figure(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(serde_json::Value::Null);
        self.record.figures.insert(name.to_owned(), value);
    }

    /// Rows of each table finished so far.
    pub fn rows(&self) -> impl Iterator<Item = (&str, u64)> {
        self.outputs.iter().filter_map(|o| Some((o.file.as_str(), o.rows?)))
    }
}

fn fingerprint(plan: &Plan<'_>, inputs: &[Input]) -> String {
    let inputs: Vec<_> = inputs.iter().map(|i| (&i.name, &i.sha256)).collect();
    let identity = serde_json::json!([PRODUCER, plan.stage, plan.version, plan.config, inputs]);
    hash::bytes(identity.to_string().as_bytes())
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join(".lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Error::io("create", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number only makes the message kinder, so failing to read it is no error.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() { "unknown".into() } else { holder.trim().to_owned() };
            return Err(Error::Locked { path: root.to_path_buf(), holder });
        }
        Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
    }
    file.set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()))
        .map_err(Error::io("write", &path))?;
    Ok(file)
}

fn remove_temporaries(root: &Path) -> Result<()> {
    for folder in [root.to_path_buf(), root.join("report")] {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == TEMPORARY) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
    }
    Ok(())
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(TEMPORARY);
    name.into()
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = temporary(path);
    write_synced(&temporary, content)?;
    fs::rename(&temporary, path).map_err(Error::io("write", path))?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn write_synced(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = File::create(path).map_err(Error::io("create", path))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::io("write", path))
}
