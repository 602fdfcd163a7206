//! Read-only access to a run: it takes no lock, and creates and deletes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use schema::footer::{Footer, Picture};
use schema::io::{self, TableReader};
use schema::{Row, Symbol, tables};

use crate::checkpoint;
use crate::edits::LOCK;
use crate::encryption;
use crate::error::{Error, Result};
use crate::exports;
use crate::files::sha256;
use crate::lock::LOCK_FILE;
use crate::manifest::{self, Input, Manifest, Output, StageRecord, VideoFile};
use crate::uids;

/// The resolved configuration, one section per stage.
pub(crate) const CONFIG_FILE: &str = "config.toml";

/// The finished stages of a run, as the manifest recorded them when the run was opened.
///
/// [`RunReader::open`] takes no lock, so another process may write the run at the same time. Hashes
/// ([`RunReader::hash_of`], [`RunReader::verify_all`]) show whether a table is still the recorded one.
#[derive(Debug, Clone)]
pub struct RunReader {
    pub(crate) root: PathBuf,
    pub(crate) manifest: Manifest,
}

impl RunReader {
    /// Opens the run at `root`.
    ///
    /// # Errors
    /// When there is no manifest, or it cannot be read, and when the run does not have the key of this process.
    pub fn open(root: &Path) -> Result<Self> {
        let manifest = Manifest::read(root)?.ok_or_else(|| Error::NoRun { path: root.to_path_buf() })?;
        encryption::check(root, manifest.encryption.as_ref())?;
        Ok(Self { root: root.to_path_buf(), manifest })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What is recorded so far.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the program wrote a file, by its path below the run directory with `/`: a table or another result, the
    /// record of something, a lock, a log, or a part of an unfinished stage.
    pub fn is_own(&self, name: &str) -> bool {
        let around =
            [manifest::FILE_NAME, CONFIG_FILE, LOCK_FILE, LOCK, uids::FILE, uids::SEALED, exports::FILE]
                .contains(&name)
                || tables::EDITS.iter().any(|table| table.file_name() == name)
                || name.starts_with("logs/")
                || checkpoint::is_own(name);
        around || self.manifest.output(name).is_some()
    }

    /// Key of the video; `ingest` must have finished.
    pub fn video_id(&self) -> Result<Symbol> {
        Ok(self.video_file()?.video_id())
    }

    /// The video file as `ingest` recorded it.
    pub fn video_file(&self) -> Result<&VideoFile> {
        self.manifest.video.as_ref().ok_or_else(|| self.missing("videos"))
    }

    /// The part of the frame in which faces were detected; `None` for a run of an older version, or without the table.
    pub fn picture(&self) -> Option<Picture> {
        self.open_table::<tables::Detection>().ok().and_then(|table| table.footer().picture)
    }

    /// Whether a finished stage wrote this table: older versions of a stage may not know it.
    pub fn has<R: Row>(&self) -> bool {
        self.recorded(R::TABLE.name).is_ok()
    }

    /// Opens a table of a finished stage.
    pub fn open_table<R: Row + Clone>(&self) -> Result<TableReader<R>> {
        self.recorded(R::TABLE.name)?;
        Ok(io::open(&self.root.join(R::TABLE.file_name()))?)
    }

    /// Opens a table of a finished stage, of which only the parts are read that may have rows of these tracks.
    pub fn open_tracks<R: Row + Clone>(&self, tracks: &BTreeSet<i64>) -> Result<TableReader<R>> {
        self.recorded(R::TABLE.name)?;
        Ok(io::open_some(&self.root.join(R::TABLE.file_name()), "track_id", tracks)?)
    }

    /// Every row of a table of a finished stage.
    pub fn read<R: Row + Clone>(&self) -> Result<Vec<R>> {
        self.recorded(R::TABLE.name)?;
        Ok(io::read_all(&self.root.join(R::TABLE.file_name()))?)
    }

    /// Every row of a table; no rows where [`Self::has`] is false.
    pub fn read_if_there<R: Row + Clone>(&self) -> Result<Vec<R>> {
        if self.has::<R>() { self.read() } else { Ok(Vec::new()) }
    }

    /// The only row of a table of a finished stage.
    pub fn read_one<R: Row + Clone>(&self) -> Result<R> {
        let missing = || schema::Error::Row {
            path: self.root.join(R::TABLE.file_name()),
            table: R::TABLE.name,
            row: 0,
            reason: "is missing".into(),
        };
        Ok(self.read::<R>()?.into_iter().next().ok_or_else(missing)?)
    }

    /// The rows of the embedder that tracks are linked by, and the footer of their table; `embedder` names
    /// the embedder of a row.
    pub fn read_first_embedder<R: Row + Clone>(
        &self,
        embedder: impl Fn(&R) -> &Symbol,
    ) -> Result<(Footer, Vec<R>)> {
        let table = self.open_table::<R>()?;
        let footer = table.footer().clone();
        let mut rows = Vec::new();
        for batch in table {
            rows.extend(batch?.into_iter().filter(|row| footer.is_first(embedder(row).as_str())));
        }
        Ok((footer, rows))
    }

    /// SHA-256 of a table of a finished stage, which is found to be still what the stage wrote.
    pub fn hash_of(&self, table: &'static str) -> Result<&str> {
        let output = self.recorded(table)?;
        self.verify(output)?;
        Ok(&output.sha256)
    }

    /// Fails unless every recorded file is as its stage left it, and was made from the tables that are here.
    pub fn verify_all(&self) -> Result<()> {
        let valid: Vec<_> = self.manifest.stages.iter().flat_map(|s| s.outputs.clone()).collect();
        valid.iter().try_for_each(|output| self.verify(output))?;
        for record in &self.manifest.stages {
            if reads_stale(record, &valid) {
                return Err(Error::Unfinished { path: self.root.clone(), stage: record.stage.clone() });
            }
        }
        Ok(())
    }

    pub(crate) fn recorded(&self, table: &'static str) -> Result<&Output> {
        self.manifest.output(&format!("{table}.parquet")).ok_or_else(|| self.missing(table))
    }

    fn missing(&self, table: &'static str) -> Error {
        Error::MissingInput { path: self.root.clone(), table, stage: tables::producer(table).to_owned() }
    }

    /// Fails unless a file is the one that its stage wrote.
    pub(crate) fn verify(&self, output: &Output) -> Result<()> {
        let path = self.root.join(&output.file);
        let changed = |reason: String| Error::Changed { path: path.clone(), reason };
        let size = fs::metadata(&path).map_err(|e| changed(e.to_string()))?.len();
        if size != output.size_bytes {
            return Err(changed(format!("its size is {size} bytes, expected {}", output.size_bytes)));
        }
        if sha256(&path)? == output.sha256 { Ok(()) } else { Err(changed("its SHA-256 differs".into())) }
    }
}

/// Whether a finished stage read a table that is not among `valid`.
pub(crate) fn reads_stale(record: &StageRecord, valid: &[Output]) -> bool {
    // A stage's own table among its inputs is a file of the same name from outside: `labels`.
    let is_table = |name: &str| tables::ALL.iter().any(|t| t.name == name && t.producer != record.stage);
    let is_valid = |input: &Input| {
        valid.iter().any(|o| o.file == format!("{}.parquet", input.name) && o.sha256 == input.sha256)
    };
    record.inputs.iter().any(|input| is_table(&input.name) && !is_valid(input))
}
