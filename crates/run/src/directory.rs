//! The run directory: one lock, one manifest, and files that are absent or whole.
//!
//! A stage writes under temporary names, brings every file to disk, renames, and writes the
//! manifest last. Whatever happens in between, what the manifest names is whole: the next start
//! finds the old state, the new one, or the old one without the stage that was being replaced.
//! Files without a record do not count, and temporaries are removed.

use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use serde_json::Value;

use schema::footer::{Embedder, Footer, Picture};
use schema::io::{PRODUCER, TableWriter};
use schema::{Row, tables};

use crate::checkpoint::{self, Checkpoint};
use crate::encryption;
use crate::error::{Error, Result};
use crate::exports;
use crate::files::{self, TEMPORARY, publish, remove, replace, sha256, temporary, write_synced};
use crate::lock::{LOCK_FILE, Lock, lock};
use crate::manifest::{self, Input, Manifest, Output, STAGES, StageRecord, VideoFile};
use crate::reader::{CONFIG_FILE, RunReader, reads_stale};
use crate::uids;

/// Name of the figure with the run whose tables were taken over.
pub const REUSED: &str = "reused_from";
/// The folder of files that are no tables.
const REPORT: &str = "report";

/// An open, locked run directory.
#[derive(Debug)]
pub struct RunDir {
    reader: RunReader,
    lock: Arc<Lock>,
    /// Another run, whose tables may be taken over.
    other: Option<RunReader>,
}

/// Everything that can be read of a run.
impl Deref for RunDir {
    type Target = RunReader;

    fn deref(&self) -> &RunReader {
        &self.reader
    }
}

/// What decides a stage's outputs.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Name of the stage, one of [`STAGES`].
    pub stage: &'static str,
    /// Raised whenever the same inputs would give other outputs.
    pub version: u32,
    /// Resolved configuration as JSON.
    pub config: &'a Value,
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
    /// Opens the run at `root`, creating the directory when missing, and takes its lock. The run must have the key of
    /// this process.
    pub fn open(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(Error::io("create", root))?;
        let lock = Arc::new(lock(root)?);
        let root = root.canonicalize().map_err(Error::io("read", root))?;
        remove_temporaries(&root)?;
        let run_id = root.file_name().map_or_else(|| "run".into(), |n| n.to_string_lossy().into_owned());
        encryption::check_run(&root)?;
        let manifest = Manifest::read(&root)?.unwrap_or_else(|| Manifest::new(run_id));
        Ok(Self { reader: RunReader { root, manifest }, lock, other: None })
    }

    /// Names a run that has no tables yet; without this call, the run has the name of its directory.
    ///
    /// # Errors
    /// When the run has tables and another name.
    pub fn name(&mut self, name: &str) -> Result<()> {
        if self.manifest.run_id != name {
            if !self.manifest.stages.is_empty() {
                let (path, name) = (self.root.clone(), self.manifest.run_id.clone());
                return Err(Error::OtherName { path, name });
            }
            name.clone_into(&mut self.reader.manifest.run_id);
        }
        Ok(())
    }

    /// From now on, a stage that would run takes over the tables of the same stage of another run, if that stage had the
    /// same settings, inputs and weights.
    ///
    /// # Errors
    /// When there is no run at `root`.
    pub fn reuse(&mut self, root: &Path) -> Result<()> {
        self.other = Some(RunReader::open(root)?);
        Ok(())
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
        let mut new = StageRecord {
            stage: plan.stage.to_owned(),
            version: plan.version,
            producer: PRODUCER.to_owned(),
            config: plan.config.clone(),
            inputs,
            ..StageRecord::default()
        };
        new.fingerprint = fingerprint(&new);
        let is_whole = |record: &StageRecord| record.outputs.iter().all(|output| self.verify(output).is_ok());
        match self.manifest.stage(plan.stage) {
            _ if plan.force => {
                checkpoint::clear_for(&self.root, &new.stage)?;
                Ok(Begin::Run(self.start(new)))
            }
            Some(record) if record.fingerprint == new.fingerprint && is_whole(record) => {
                // What a start with other settings had done before it was killed.
                checkpoint::clear_for(&self.root, &new.stage)?;
                Ok(Begin::UpToDate(record.clone()))
            }
            _ if self.manifest.pinned.contains(&new.stage) => {
                Err(Error::Pinned { path: self.root.clone(), stage: new.stage })
            }
            _ => match self.take_over(&new)? {
                Some(record) => Ok(Begin::UpToDate(record)),
                None => Ok(Begin::Run(self.start(new))),
            },
        }
    }

    /// Takes over the tables of the same stage of the other run; `None` if there is no such stage, if it had other
    /// settings or inputs, if something was removed from its tables, or if a file is not as the stage left it.
    fn take_over(&mut self, new: &StageRecord) -> Result<Option<StageRecord>> {
        let Some(other) = &self.other else { return Ok(None) };
        let is_other = |input: &Input| {
            input.name == "video" && other.manifest.video.as_ref().is_some_and(|v| v.sha256 != input.sha256)
        };
        if new.inputs.iter().any(is_other) {
            return Err(Error::OtherVideo { path: other.root.clone() });
        }
        let known = other.manifest.stage(&new.stage).filter(|known| known.fingerprint == new.fingerprint);
        let is_complete = !other.manifest.pinned.contains(&new.stage);
        // The report of `evaluate` names its run.
        let is_shared = place(&new.stage) < place("evaluate");
        let Some(known) = known.filter(|_| is_complete && is_shared) else { return Ok(None) };
        let (from, mut record) = (other.root.clone(), known.clone());
        for output in &record.outputs {
            if !link_or_copy(&from.join(&output.file), &temporary(&self.root.join(&output.file)), output)? {
                remove_temporaries(&self.root)?;
                return Ok(None);
            }
        }
        record.figures.insert(REUSED.to_owned(), from.display().to_string().into());
        self.publish(&record, false)?;
        Ok(Some(record))
    }

    fn start(&self, record: StageRecord) -> StageRun {
        StageRun {
            root: self.root.clone(),
            _lock: Arc::clone(&self.lock),
            run_id: self.manifest.run_id.clone(),
            started: Instant::now(),
            outputs: Vec::new(),
            record,
            is_pinned: false,
        }
    }

    /// Begins to write a finished stage's tables again with less in them, as `redact` does.
    ///
    /// `before` are earlier stages that are being revised too: what they have finished takes the place of
    /// what this stage read. The fingerprint is the one that the stage itself would find, so that it takes
    /// the revised tables for its own.
    pub fn revise(&self, stage: &'static str, before: &[&StageRun]) -> Result<StageRun> {
        let missing = || Error::Unfinished { path: self.root.clone(), stage: stage.to_owned() };
        let mut record = self.manifest.stage(stage).ok_or_else(missing)?.clone();
        for output in std::mem::take(&mut record.outputs) {
            self.verify(&output)?;
        }
        for earlier in before {
            for output in earlier.record()?.outputs {
                let replaced =
                    record.inputs.iter_mut().find(|i| format!("{}.parquet", i.name) == output.file);
                replaced.into_iter().for_each(|input| input.sha256.clone_from(&output.sha256));
            }
        }
        record.fingerprint = fingerprint(&record);
        Ok(self.start(record))
    }

    /// Records which video the run is about; only `ingest` does, just before it commits. Results of
    /// another video go when that commit replaces the tables that they were made from.
    pub fn set_video(&mut self, video: VideoFile) {
        self.reader.manifest.video = Some(video);
    }

    /// Records where the video is now; its content is what it was.
    ///
    /// # Errors
    /// When the manifest cannot be written.
    pub fn moved_video(&mut self, video: VideoFile) -> Result<()> {
        if self.manifest.video.as_ref() == Some(&video) {
            return Ok(());
        }
        self.set_video(video);
        self.write_manifest()
    }

    /// Sets the day from which the run must be gone, as `2027-01-31`; `None` removes it.
    ///
    /// # Errors
    /// When the manifest cannot be written.
    pub fn set_expiry(&mut self, day: Option<String>) -> Result<()> {
        self.reader.manifest.expires = day;
        self.write_manifest()
    }

    /// Deletes the run: every file that the program wrote, the manifest last, so that a deletion that was interrupted
    /// can be repeated. Returns the files that are left, because the program did not write them.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn delete(self) -> Result<Vec<PathBuf>> {
        let root = self.root.clone();
        for path in files::walk(&root)? {
            let name = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy();
            if self.is_own(&name) && name != manifest::FILE_NAME && name != LOCK_FILE {
                remove(&path)?;
            }
        }
        remove(&root.join(manifest::FILE_NAME))?;
        drop(self);
        remove(&root.join(LOCK_FILE))?;
        files::remove_empty_folders(&root);
        if root.is_dir() { files::walk(&root) } else { Ok(Vec::new()) }
    }

    /// Makes the outputs of a stage visible, all of them or none, and drops results of later
    /// stages that were made from what they replace.
    pub fn commit(&mut self, stage: StageRun) -> Result<StageRecord> {
        let record = stage.record()?;
        self.publish(&record, stage.is_pinned)?;
        Ok(record)
    }

    /// Commits several stages, which stand in their order.
    pub fn commit_all(&mut self, stages: Vec<StageRun>) -> Result<()> {
        let records: Vec<_> = stages.iter().map(StageRun::record).collect::<Result<_>>()?;
        // Temporaries go with the stages, so those must outlive the last rename.
        records.iter().zip(&stages).try_for_each(|(record, stage)| self.publish(record, stage.is_pinned))
    }

    fn publish(&mut self, record: &StageRecord, is_pinned: bool) -> Result<()> {
        // Everything that can be refused comes before the first change.
        let config = self.config_with(record)?;
        // The pin comes first: were we killed now, the stage must not bring back what is leaving.
        self.reader.manifest.pinned.retain(|stage| *stage != record.stage);
        self.reader.manifest.pinned.extend(is_pinned.then(|| record.stage.clone()));
        self.forget_stale(record)?;
        for output in &record.outputs {
            publish(&self.root.join(&output.file))?;
        }
        replace(&self.root.join(CONFIG_FILE), config.as_bytes())?;
        self.reader.manifest.stages.push(record.clone());
        self.reader.manifest.stages.sort_by_key(|s| place(&s.stage));
        self.write_manifest()?;
        checkpoint::clear_for(&self.root, &record.stage)
    }

    /// Drops the record that `new` replaces and those of later stages that read what is then no
    /// longer there, and removes their files except where `new` brings others.
    fn forget_stale(&mut self, new: &StageRecord) -> Result<()> {
        let mut valid = new.outputs.clone();
        let mut dropped = Vec::new();
        let mut kept = Vec::new();
        for old in std::mem::take(&mut self.reader.manifest.stages) {
            let later = place(&old.stage) > place(&new.stage);
            if old.stage == new.stage || later && reads_stale(&old, &valid) {
                dropped.extend(old.outputs);
            } else {
                valid.extend(old.outputs.iter().cloned());
                kept.push(old);
            }
        }
        self.reader.manifest.stages = kept;
        self.write_manifest()?;
        dropped.retain(|old: &Output| !valid.iter().any(|output| output.file == old.file));
        dropped.iter().try_for_each(|output| remove(&self.root.join(&output.file)))
    }

    fn write_manifest(&self) -> Result<()> {
        self.manifest.write(&self.root)
    }

    /// `config.toml` with the stage's resolved section, for people; the manifest has it too.
    fn config_with(&self, record: &StageRecord) -> Result<String> {
        let path = self.root.join(CONFIG_FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut sections: toml::Table = text.parse().unwrap_or_default();
        let section = toml::Value::try_from(without_nulls(&record.config))
            .map_err(|e| Error::Config { path: path.clone(), reason: e.to_string() })?;
        sections.insert(record.stage.clone(), section);
        Ok(sections.to_string())
    }
}

/// A stage that is running: files under temporary names, removed again unless committed.
#[derive(Debug)]
pub struct StageRun {
    root: PathBuf,
    /// Held so that no other run can meet these temporaries while they exist.
    _lock: Arc<Lock>,
    run_id: String,
    started: Instant,
    outputs: Vec<Output>,
    record: StageRecord,
    is_pinned: bool,
}

impl Drop for StageRun {
    fn drop(&mut self) {
        // The next start removes what cannot be removed now.
        let _ = remove_temporaries(&self.root);
    }
}

impl StageRun {
    /// What the manifest will say once the temporaries have their names.
    fn record(&self) -> Result<StageRecord> {
        let seal = |output: &Output| {
            let path = temporary(&self.root.join(&output.file));
            let size_bytes = fs::metadata(&path).map_err(Error::io("read", &path))?.len();
            Ok(Output { size_bytes, sha256: sha256(&path)?, ..output.clone() })
        };
        let outputs = self.outputs.iter().map(seal).collect::<Result<_>>()?;
        Ok(StageRecord {
            outputs,
            duration_secs: self.started.elapsed().as_secs_f64(),
            ..self.record.clone()
        })
    }

    /// Saved work of an earlier start of this stage with the same fingerprint; `machine` says what else decides the rows.
    ///
    /// # Errors
    /// When a file that does not count cannot be removed.
    pub fn checkpoint(&self, machine: &str) -> Result<Checkpoint> {
        let key = hash::bytes(format!("{} {machine}", self.record.fingerprint).as_bytes());
        Checkpoint::open(&self.root, &self.run_id, key)
    }

    /// Starts writing a table. `embedders` says what made the vectors, whose length is that of the
    /// first; it is empty for tables without vectors.
    pub fn create<R: Row + Clone>(&self, embedders: &[Embedder]) -> Result<TableWriter<R>> {
        self.create_of_picture(embedders, None)
    }

    /// Starts writing a table as [`create`](StageRun::create) does; `picture` is that of `detections`.
    pub fn create_of_picture<R: Row + Clone>(
        &self,
        embedders: &[Embedder],
        picture: Option<Picture>,
    ) -> Result<TableWriter<R>> {
        let footer = Footer::of::<R>(self.run_id.clone(), self.record.fingerprint.clone(), embedders);
        let footer = Footer { picture, ..footer };
        let path = temporary(&self.root.join(R::TABLE.file_name()));
        Ok(TableWriter::create(&path, &footer)?)
    }

    /// Finishes a table begun with [`StageRun::create`].
    pub fn finish<R: Row + Clone>(&mut self, writer: TableWriter<R>) -> Result<()> {
        let rows = writer.finish()?;
        self.outputs.push(Output {
            file: R::TABLE.file_name(),
            table_version: Some(R::TABLE.version.to_owned()),
            rows: Some(rows),
            ..Output::default()
        });
        Ok(())
    }

    /// Writes a whole table without vectors.
    pub fn write<R: Row + Clone>(&mut self, rows: impl IntoIterator<Item = R>) -> Result<()> {
        let mut writer = self.create::<R>(&[])?;
        rows.into_iter().try_for_each(|row| writer.push(row))?;
        self.finish(writer)
    }

    /// Writes a file that is no table, in the folder `report`.
    pub fn write_file(&mut self, file: &str, content: &[u8]) -> Result<()> {
        let path = self.root.join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        write_synced(&temporary(&path), content)?;
        self.outputs.push(Output { file: file.to_owned(), ..Output::default() });
        Ok(())
    }

    /// Records something that went wrong without ending the stage.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.record.warnings.push(message.into());
    }

    /// From now on the stage runs again only when forced.
    pub fn pin(&mut self) {
        self.is_pinned = true;
    }

    /// Records a figure that sums the stage up.
    pub fn figure(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or(Value::Null);
        self.record.figures.insert(name.to_owned(), value);
    }

    /// Rows of each table finished so far.
    pub fn rows(&self) -> impl Iterator<Item = (&str, u64)> {
        self.outputs.iter().filter_map(|o| Some((o.file.as_str(), o.rows?)))
    }
}

/// Makes `to` the same file as `from`, or a copy where the file system does not allow that; says whether the file is
/// the one that is recorded.
///
/// No table is ever changed in place, so that both runs may have the same file.
fn link_or_copy(from: &Path, to: &Path, recorded: &Output) -> Result<bool> {
    // A link would go with its target.
    if !fs::symlink_metadata(from).is_ok_and(|found| found.is_file()) {
        return Ok(false);
    }
    if fs::hard_link(from, to).is_err() {
        fs::copy(from, to).and_then(|_| File::open(to)?.sync_all()).map_err(Error::io("write", to))?;
    }
    // The hash is that of the file that is kept, whatever happens to the other run meanwhile.
    Ok(sha256(to)? == recorded.sha256)
}

/// Place of a stage in the line.
fn place(stage: &str) -> Option<usize> {
    STAGES.iter().position(|name| *name == stage)
}

/// TOML has no null: a key without a value is left out.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            set.map(|(key, value)| (key.clone(), without_nulls(value))).collect()
        }
        other => other.clone(),
    }
}

/// A digest of everything in a record that decides the outputs.
pub(crate) fn fingerprint(record: &StageRecord) -> String {
    let inputs: Vec<_> = record.inputs.iter().map(|i| (&i.name, &i.sha256)).collect();
    let StageRecord { producer, stage, version, config, .. } = record;
    let identity = serde_json::json!([producer, stage, version, config, inputs]);
    hash::bytes(identity.to_string().as_bytes())
}

/// Removes what an interrupted stage left, and nothing else: the directory may be one in which a
/// person keeps files, and some of those may end in `.tmp` too.
pub(crate) fn remove_temporaries(root: &Path) -> Result<()> {
    let own = [manifest::FILE_NAME, CONFIG_FILE, uids::FILE, uids::SEALED, exports::FILE].map(str::to_owned);
    let own: Vec<_> = tables::ALL.iter().map(|table| table.file_name()).chain(own).collect();
    files::remove_temporaries(root, &own)?;
    checkpoint::remove_temporaries(root)?;
    remove_temporaries_below(&root.join(REPORT))
}

/// Removes what an interrupted stage left in a folder of the report and in the folders below it.
fn remove_temporaries_below(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    entries.flatten().map(|entry| entry.path()).try_for_each(|path| {
        match path.extension().is_some_and(|extension| extension == TEMPORARY) {
            true => remove(&path),
            false if path.is_dir() && !path.is_symlink() => remove_temporaries_below(&path),
            false => Ok(()),
        }
    })
}
