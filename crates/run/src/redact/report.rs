//! The report of an erasure: what was removed where, with hashes before and after, and no biometric content. A report
//! can be checked later, by [`Report::check`].
//!
//! The report is JSON with a seal, the SHA-256 of the JSON with an empty seal, so that a change by accident is noticed.
//! The seal is no signature: it proves neither who wrote the report nor that the report was not replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schema::io::PRODUCER;
use serde::{Deserialize, Serialize};

use super::traces::{Digester, each_trace, is_parquet};
use super::{redact_check, removed_tracks};
use crate::config::plain_json;
use crate::date::utc;
use crate::error::{Error, Result};
use crate::files::{name_in, replace, sha256, walk};
use crate::manifest;
use crate::reader::RunReader;

/// Version of the format.
const FORMAT: u32 = 1;
/// What the program cannot know.
const BEYOND: &str = "The program does not know of the video files themselves, of copies of runs, galleries and exports, \
                      of what was printed to standard output, of backups, and of deleted blocks of disks.";

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the format.
    pub format: u32,
    /// Program and version.
    pub program: String,
    /// Time at which the erasure was finished, UTC.
    pub finished_at: String,
    /// Who signs the report off.
    pub signed_off_by: String,
    /// Reason or reference of the request; `None` when none was given.
    pub reason: Option<String>,
    /// What was to be removed.
    pub request: String,
    /// Salt of the digests.
    pub salt: String,
    /// What was removed, by place.
    pub places: Vec<Place>,
    /// Exported files that were deleted, with their SHA-256.
    pub exports: BTreeMap<PathBuf, String>,
    /// What the program knows of and could not remove.
    pub left: Vec<String>,
    /// SHA-256 of the report with an empty seal.
    pub seal: String,
}

/// Kind of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaceKind {
    /// A run directory.
    Run,
    /// The directory of a gallery.
    Gallery,
}

/// A directory from which something was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Kind of the directory.
    pub kind: PlaceKind,
    /// The directory, an absolute path.
    pub path: PathBuf,
    /// Name of the run or of the gallery.
    pub name: String,
    /// Whether the whole directory was deleted.
    pub is_deleted: bool,
    /// Removed tracks, by `track_id`.
    pub tracks: Vec<i64>,
    /// Whether all pictures were removed.
    pub pictures: bool,
    /// Number of removed rows by table; tables that the stages wrote anew may have other rows, too.
    pub rows: BTreeMap<String, u64>,
    /// Number of removed corrections.
    pub corrections: u64,
    /// Files that changed.
    pub files: Vec<Change>,
    /// Number of files that did not change.
    pub unchanged: u64,
    /// Digests of the removed pictures and vectors.
    pub digests: BTreeSet<String>,
}

/// A file that changed, with its SHA-256 before and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The file, below its place.
    pub file: String,
    /// SHA-256 before; `None` for a new file.
    pub before: Option<String>,
    /// SHA-256 after; `None` for a file that is gone.
    pub after: Option<String>,
}

/// A place before something is removed from it.
#[derive(Debug, Clone)]
pub struct Before {
    kind: PlaceKind,
    path: PathBuf,
    hashes: BTreeMap<String, String>,
    rows: BTreeMap<String, u64>,
    corrections: u64,
    /// Digests of the pictures and vectors to be removed.
    pub digests: BTreeSet<String>,
}

impl Before {
    /// Looks at a place.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(kind: PlaceKind, path: &Path) -> Result<Self> {
        let path = path.canonicalize().map_err(Error::io("read", path))?;
        let corrections = corrections(&path)?;
        Ok(Self {
            kind,
            hashes: hashes(&path)?,
            rows: rows(&path)?,
            corrections,
            digests: BTreeSet::new(),
            path,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the place with what it is now.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn after(self, name: String, tracks: Vec<i64>, pictures: bool) -> Result<Place> {
        let is_deleted = !self.path.is_dir();
        let after = if is_deleted { BTreeMap::new() } else { hashes(&self.path)? };
        let rows_after = if is_deleted { BTreeMap::new() } else { rows(&self.path)? };
        let left = if is_deleted { 0 } else { corrections(&self.path)? };
        let names: BTreeSet<&String> = self.hashes.keys().chain(after.keys()).collect();
        let change = |file: &&String| Change {
            file: (*file).clone(),
            before: self.hashes.get(*file).cloned(),
            after: after.get(*file).cloned(),
        };
        let all: Vec<Change> = names.iter().map(change).collect();
        let (unchanged, files): (Vec<Change>, Vec<Change>) =
            all.into_iter().partition(|change| change.before == change.after);
        let fewer = |(table, before): (&String, &u64)| {
            let fewer = before.saturating_sub(rows_after.get(table).copied().unwrap_or(0));
            (fewer > 0).then(|| (table.clone(), fewer))
        };
        Ok(Place {
            kind: self.kind,
            name,
            is_deleted,
            tracks,
            pictures,
            rows: self.rows.iter().filter_map(fewer).collect(),
            corrections: self.corrections.saturating_sub(left),
            unchanged: unchanged.len() as u64,
            files,
            digests: self.digests,
            path: self.path,
        })
    }
}

/// SHA-256 of every file of a place but locks and logs, which say only when something was done.
fn hashes(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for path in walk(root)? {
        let name = name_in(root, &path);
        let is_lock = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".lock"));
        if !is_lock && !name.starts_with("logs/") && !path.is_symlink() {
            hashes.insert(name, sha256(&path)?);
        }
    }
    Ok(hashes)
}

/// Number of rows of every table of a run; empty for a gallery.
fn rows(root: &Path) -> Result<BTreeMap<String, u64>> {
    let manifest = manifest::Manifest::read(root)?;
    let outputs = manifest.iter().flat_map(|manifest| &manifest.stages).flat_map(|stage| &stage.outputs);
    Ok(outputs.filter_map(|output| Some((output.file.clone(), output.rows?))).collect())
}

fn corrections(root: &Path) -> Result<u64> {
    Ok(crate::edits::Log::open(root)?.entries().len() as u64)
}

impl Report {
    /// A report of what was removed. The seal is set.
    pub fn new(
        request: String,
        signed_off_by: String,
        reason: Option<String>,
        digester: &Digester,
        places: Vec<Place>,
        exports: BTreeMap<PathBuf, String>,
        left: Vec<String>,
    ) -> Self {
        let mut report = Self {
            format: FORMAT,
            program: PRODUCER.to_owned(),
            finished_at: utc(std::time::SystemTime::now()),
            signed_off_by,
            reason,
            request,
            salt: digester.salt.clone(),
            places,
            exports,
            left,
            seal: String::new(),
        };
        report.seal = report.sealed();
        report
    }

    fn sealed(&self) -> String {
        let open = Self { seal: String::new(), ..self.clone() };
        hash::bytes(serde_json::to_string(&open).unwrap_or_default().as_bytes())
    }

    /// Reads a report, whose seal must hold.
    ///
    /// # Errors
    /// When the file is no report, or was changed.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(Error::io("read", path))?;
        let wrong = |reason: String| Error::Report { path: path.to_path_buf(), reason };
        let report: Self = serde_json::from_slice(&json).map_err(|error| wrong(plain_json(&error)))?;
        if report.format != FORMAT {
            return Err(wrong(format!("its format is {}, this version reads {FORMAT}", report.format)));
        }
        if report.seal != report.sealed() {
            return Err(wrong("it was changed after it was written: its seal does not match".into()));
        }
        Ok(report)
    }

    /// Writes the report as JSON to `path`, and as readable text to the file of the same name with the extension
    /// `txt`. Returns the path of the text.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, path: &Path) -> Result<PathBuf> {
        let json = serde_json::to_string_pretty(self).unwrap_or_default();
        let text = path.with_extension("txt");
        replace(path, format!("{json}\n").as_bytes())?;
        replace(&text, self.text().as_bytes())?;
        Ok(text)
    }

    /// The report as text for people.
    pub fn text(&self) -> String {
        let mut text = format!(
            "Report of an erasure\n====================\n\nRequest:        {}\nReason:         {}\nFinished:       {}\n\
             Signed off by:  {}\nProgram:        {}\nSeal (SHA-256): {}\n",
            self.request,
            self.reason.as_deref().unwrap_or("none given"),
            self.finished_at,
            self.signed_off_by,
            self.program,
            self.seal,
        );
        for place in &self.places {
            let kind = match place.kind {
                PlaceKind::Run => "Run",
                PlaceKind::Gallery => "Gallery",
            };
            let _ = writeln!(text, "\n{kind} {}\n  {}", place.name, place.path.display());
            if place.is_deleted {
                text += "  The whole directory is deleted.\n";
            }
            if place.pictures {
                text += "  All pictures are removed.\n";
            }
            if !place.tracks.is_empty() {
                let tracks: Vec<_> = place.tracks.iter().map(i64::to_string).collect();
                let _ = writeln!(text, "  Removed tracks: {}", tracks.join(", "));
            }
            for (table, rows) in &place.rows {
                let _ = writeln!(text, "  Rows fewer in {table}: {rows}");
            }
            if place.corrections > 0 {
                let _ = writeln!(text, "  Removed corrections: {}", place.corrections);
            }
            let _ = writeln!(text, "  Removed pictures and vectors: {}", place.digests.len());
            let _ = writeln!(
                text,
                "  Files that changed ({} did not), SHA-256 before and after:",
                place.unchanged
            );
            for Change { file, before, after } in &place.files {
                let [before, after] = [before, after].map(|hash| hash.as_deref().unwrap_or("-"));
                let _ = writeln!(text, "    {file}\n      {before}\n      {after}");
            }
        }
        if !self.exports.is_empty() {
            text += "\nDeleted exports, with their SHA-256\n";
            for (path, hash) in &self.exports {
                let _ = writeln!(text, "  {}\n    {hash}", path.display());
            }
        }
        text += "\nNot removed\n";
        self.left.iter().for_each(|left| _ = writeln!(text, "  {left}"));
        let _ = writeln!(
            text,
            "  {BEYOND}\n\nThe report contains no picture and no vector of a face. `facetrack redact --verify` with the \
             JSON file checks that\nnothing has come back.\n\nDate and signature: ______________________________"
        );
        text
    }

    /// Searches all places again; returns what is left or has come back, one sentence each, and the number of files
    /// that were searched. A place that is gone has nothing left.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn check(&self) -> Result<(Vec<String>, u64)> {
        let digester = Digester { salt: self.salt.clone() };
        let digests: BTreeSet<&str> =
            self.places.iter().flat_map(|p| &p.digests).map(String::as_str).collect();
        let gone: BTreeSet<&str> = self
            .places
            .iter()
            .flat_map(|place| &place.files)
            .filter(|change| change.before != change.after)
            .filter_map(|change| change.before.as_deref())
            .collect();
        let kept: BTreeSet<&str> =
            self.places.iter().flat_map(|p| &p.files).filter_map(|change| change.after.as_deref()).collect();
        let (mut found, mut searched) = (Vec::new(), 0);
        for place in &self.places {
            if !place.path.is_dir() {
                continue;
            }
            for path in walk(&place.path)? {
                searched += 1;
                if path.is_symlink() {
                    continue;
                }
                let shown = path.display();
                let hash = sha256(&path)?;
                if gone.contains(hash.as_str()) && !kept.contains(hash.as_str()) {
                    found.push(format!("`{shown}` is a file as it was before the erasure"));
                }
                if is_parquet(&path) {
                    let mut n_traces = 0;
                    let read = each_trace(&path, |_, trace| {
                        n_traces += usize::from(digests.contains(digester.digest(trace).as_str()));
                    });
                    match read {
                        Ok(_) if n_traces > 0 => {
                            found.push(format!("`{shown}` has removed pictures or vectors: {n_traces}"));
                        }
                        Ok(_) => {}
                        Err(error) => found.push(format!("`{shown}` cannot be searched: {error}")),
                    }
                }
            }
            found.extend(place.check_run()?);
        }
        for (path, hash) in &self.exports {
            searched += 1;
            if path.is_file() && sha256(path)? == *hash {
                found.push(format!("`{}` is an export as it was before the erasure", path.display()));
            }
        }
        Ok((found, searched))
    }
}

impl Place {
    /// What is wrong with a run that must have neither the removed tracks nor, where pictures were removed, pictures.
    fn check_run(&self) -> Result<Option<String>> {
        if self.kind != PlaceKind::Run || self.is_deleted || !self.path.join(manifest::FILE_NAME).is_file() {
            return Ok(None);
        }
        let run = RunReader::open(&self.path)?;
        let known = removed_tracks(&run);
        let shown = self.path.display();
        if self.pictures && !super::has_no_pictures(&run)
            || self.tracks.iter().any(|track| !known.contains(track))
        {
            return Ok(Some(format!(
                "`{shown}` was made again from the video, which may have restored the person"
            )));
        }
        Ok(redact_check(&run).err().map(|error| error.to_string()))
    }
}
