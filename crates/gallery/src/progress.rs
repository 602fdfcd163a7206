//! What an unfinished build has done, so that a build that was killed continues where it was.
//!
//! The folder `building` of a library has the people of runs that were read (`runs-K.json` with a table), the neighbours
//! that a search has found (`KEY.near-SEARCH-FIRST.bin`) and the names of the tables of members that were written
//! (`members-K.json`). `KEY` is a hash of all that decides the result, so that a build of other runs uses nothing but the
//! people of the same runs. What is read again here is exactly what would be computed again, so the library does not
//! depend on whether, when and how often the build was killed. A commit removes the folder, and so do `redact` and a change
//! of the key.
//!
//! Vectors and names of people are in tables only, which have the key of the process; what was saved with another key
//! counts for nothing.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use run::encryption::Encryption;
use run::files::{is_temporary, publish, remove_own, replace, sha256, temporary};
use schema::Row as _;
use schema::footer::{Embedder, Footer};
use schema::io;
use schema::tables::Member;
use serde::{Deserialize, Serialize};

use crate::identities::{self, RunIdentity};
use crate::store::member_of;
use crate::{Error, RunIdentities};

/// Name of the folder below the library.
pub(crate) const FOLDER: &str = "building";

/// How often a build saves what it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saving {
    /// After so many runs.
    pub runs: usize,
    /// After so much time.
    pub every: Duration,
}

impl Saving {
    /// Of work that is not worth continuing.
    pub const NEVER: Self = Self { runs: usize::MAX, every: Duration::MAX };
}

impl Default for Saving {
    /// A minute of work is soon done again, and saving takes milliseconds.
    fn default() -> Self {
        Self { runs: 500, every: Duration::from_secs(60) }
    }
}

/// Work that is saved as a build goes on.
#[derive(Debug)]
pub(crate) struct Progress {
    folder: PathBuf,
    saving: Saving,
    saved_at: Instant,
    /// Part of the names of files that are of no use for other runs.
    key: String,
    /// Number of files of members.
    n_members: usize,
}

/// SHA-256 of tables of members that were written, by their paths below the library.
pub(crate) type Written = HashMap<String, String>;

/// Pairs of clusters that a search has found, given by their first items.
pub(crate) type Pairs = Vec<[u32; 2]>;

/// Digits of a SHA-256.
const HASH_DIGITS: usize = 64;
/// Digits of a key in the name of a file.
const KEY_DIGITS: usize = 16;

/// Runs that were read.
#[derive(Debug, Serialize, Deserialize)]
struct Batch {
    /// Key of the table; `None` without encryption.
    encryption: Option<Encryption>,
    /// SHA-256 of the table with the people.
    sha256: String,
    embedder: Embedder,
    runs: Vec<Entry>,
}

/// A run that was read.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    run_dir: PathBuf,
    run_id: String,
    video_id: String,
    fingerprint: String,
}

/// Tables of members that were written.
#[derive(Debug, Serialize, Deserialize)]
struct Tables {
    /// Their key; `None` without encryption.
    encryption: Option<Encryption>,
    files: Written,
}

impl Progress {
    pub(crate) fn new(library: &Path, saving: Saving) -> Self {
        Self {
            folder: library.join(FOLDER),
            saving,
            saved_at: Instant::now(),
            key: String::new(),
            n_members: 0,
        }
    }

    /// Says of which runs a library is built.
    pub(crate) fn set_runs<'a>(&mut self, runs: impl Iterator<Item = &'a RunIdentities>) {
        let fingerprints: Vec<_> = runs.map(|run| run.fingerprint.as_str()).collect();
        self.key = hash::bytes(fingerprints.concat().as_bytes());
        self.key.truncate(KEY_DIGITS);
    }

    /// Whether what was done for so many runs since the last time is to be saved.
    pub(crate) fn is_due(&self, runs: usize) -> bool {
        runs >= self.saving.runs || (runs > 0 && self.saved_at.elapsed() >= self.saving.every)
    }

    /// Reads runs, or takes them as an interrupted build has read them if they have not changed. `done` gets the number of
    /// runs so far, and the error of a run that cannot be read, which is left out.
    pub(crate) fn read_runs(
        &mut self,
        runs: &[PathBuf],
        mut done: impl FnMut(usize, Option<Error>),
    ) -> Result<Vec<RunIdentities>, Error> {
        let mut known = self.known_runs();
        let mut number = self.files("runs-", ".json").len();
        let (mut seen, mut unsaved): (Vec<RunIdentities>, Vec<usize>) = (Vec::new(), Vec::new());
        for (at, run_dir) in runs.iter().enumerate() {
            // The tables of a run that was read are not read again to verify them.
            let saved = known.remove(run_dir).filter(|run| {
                identities::recorded_fingerprint(run_dir).is_ok_and(|recorded| recorded == run.fingerprint)
            });
            let is_saved = saved.is_some();
            match saved.map_or_else(|| RunIdentities::read(run_dir), Ok) {
                Ok(run) => {
                    seen.push(run);
                    unsaved.extend((!is_saved).then_some(seen.len() - 1));
                    done(at + 1, None);
                }
                Err(error) => done(at + 1, Some(error)),
            }
            if self.is_due(unsaved.len()) {
                self.save_runs(number, unsaved.drain(..).map(|at| &seen[at]).collect())?;
                number += 1;
            }
        }
        Ok(seen)
    }

    /// The runs that an interrupted build has read, by their directories.
    fn known_runs(&self) -> HashMap<PathBuf, RunIdentities> {
        let batches = self.files("runs-", ".json");
        batches
            .iter()
            .filter_map(|file| self.batch(file))
            .flatten()
            .map(|run| (run.run_dir.clone(), run))
            .collect()
    }

    /// Runs of a file; `None` if it is not whole or has another key.
    fn batch(&self, file: &Path) -> Option<Vec<RunIdentities>> {
        let batch: Batch = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        let table = file.with_extension("parquet");
        if batch.encryption != Encryption::of_process() || sha256(&table).ok()? != batch.sha256 {
            return None;
        }
        let mut people: HashMap<String, Vec<RunIdentity>> = HashMap::new();
        for row in io::read_all::<Member>(&table).ok()? {
            let person = RunIdentity {
                cluster_id: row.cluster_id,
                n_tracks: row.n_tracks,
                screen_secs: row.screen_secs,
                name: row.name,
                named_at: row.named_at,
                series_id: row.series_id,
                series_uid: row.series_uid,
                vector: row.embedding,
            };
            people.entry(row.video_id.to_string()).or_default().push(person);
        }
        let run = |entry: Entry| RunIdentities {
            people: people.remove(&entry.video_id).unwrap_or_default(),
            run_dir: entry.run_dir,
            run_id: entry.run_id,
            video_id: entry.video_id.as_str().into(),
            embedder: batch.embedder.clone(),
            fingerprint: entry.fingerprint,
        };
        Some(batch.runs.into_iter().map(run).collect())
    }

    /// Saves runs that were read.
    fn save_runs(&mut self, number: usize, mut runs: Vec<&RunIdentities>) -> Result<(), Error> {
        self.create()?;
        // A table has one embedder, and a video once; other runs are read again.
        runs.sort_by(|a, b| a.video_id.as_str().cmp(b.video_id.as_str()));
        runs.dedup_by(|a, b| a.video_id == b.video_id);
        let Some(embedder) = runs.first().map(|run| run.embedder.clone()) else { return Ok(()) };
        runs.retain(|run| run.embedder == embedder);
        let table = self.folder.join(format!("runs-{number:06}.parquet"));
        let footer = Footer::of::<Member>(
            FOLDER.into(),
            hash::bytes(FOLDER.as_bytes()),
            std::slice::from_ref(&embedder),
        );
        let rows = runs.iter().flat_map(|run| run.people.iter().map(|person| member_of(run, person)));
        io::write_all(&temporary(&table), &footer, rows)?;
        let sha256 = sha256(&temporary(&table))?;
        publish(&table)?;
        let entry = |run: &RunIdentities| Entry {
            run_dir: run.run_dir.clone(),
            run_id: run.run_id.clone(),
            video_id: run.video_id.to_string(),
            fingerprint: run.fingerprint.clone(),
        };
        let batch = Batch {
            encryption: Encryption::of_process(),
            sha256,
            embedder,
            runs: runs.into_iter().map(entry).collect(),
        };
        // Paths that are no UTF-8 cannot be saved; these runs are read again.
        serde_json::to_vec(&batch).map_or(Ok(()), |json| self.save(&table.with_extension("json"), &json))
    }

    /// The pairs of a search from a query on, and the query after them; `None` if they are not known.
    pub(crate) fn pairs(&self, search: usize, first: usize) -> Option<(usize, Pairs)> {
        let content = fs::read(self.pairs_file(search, first)).ok()?;
        let (sha256, content) = content.split_at_checked(HASH_DIGITS)?;
        if hash::bytes(content).as_bytes() != sha256 {
            return None;
        }
        let ([end, numbers @ ..], []) = content.as_chunks::<4>() else { return None };
        let (pairs, []) = numbers.as_chunks::<2>() else { return None };
        let pairs = pairs.iter().map(|pair| pair.map(u32::from_le_bytes)).collect();
        Some((u32::from_le_bytes(*end) as usize, pairs))
    }

    /// Saves the pairs of a search from the query `first` to before `end`.
    pub(crate) fn save_pairs(
        &mut self,
        search: usize,
        (first, end): (usize, usize),
        pairs: &[[u32; 2]],
    ) -> Result<(), Error> {
        let mut content = (end as u32).to_le_bytes().to_vec();
        content.extend(pairs.as_flattened().iter().flat_map(|number| number.to_le_bytes()));
        let mut all = hash::bytes(&content).into_bytes();
        all.append(&mut content);
        self.save(&self.pairs_file(search, first), &all)
    }

    fn pairs_file(&self, search: usize, first: usize) -> PathBuf {
        self.folder.join(format!("{}.near-{search}-{first}.bin", self.key))
    }

    /// The tables of members that interrupted builds have written with the key of this process.
    pub(crate) fn members(&mut self) -> Written {
        let files = self.files("members-", ".json");
        self.n_members = files.len();
        let read = |file: &PathBuf| serde_json::from_slice::<Tables>(&fs::read(file).ok()?).ok();
        let tables = files.iter().filter_map(read);
        tables.filter(|of| of.encryption == Encryption::of_process()).flat_map(|of| of.files).collect()
    }

    /// Saves which tables of members were written.
    pub(crate) fn save_members(&mut self, written: &mut Written) -> Result<(), Error> {
        let file = self.folder.join(format!("members-{:06}.json", self.n_members));
        self.n_members += 1;
        let tables = Tables { encryption: Encryption::of_process(), files: std::mem::take(written) };
        self.save(&file, serde_json::json!(tables).to_string().as_bytes())
    }

    /// The files of the folder with such names, in order.
    fn files(&self, start: &str, end: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_such = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(start) && name.ends_with(end)
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_such).collect();
        files.sort();
        files
    }

    fn create(&self) -> Result<(), Error> {
        Ok(fs::create_dir_all(&self.folder).map_err(run::Error::io("create", &self.folder))?)
    }

    fn save(&mut self, path: &Path, content: &[u8]) -> Result<(), Error> {
        self.create()?;
        replace(path, content)?;
        self.saved_at = Instant::now();
        Ok(())
    }
}

/// Whether the folder `library`, which need not be a library yet, has what an unfinished build has done.
pub fn is_unfinished(library: &Path) -> bool {
    let mut files = fs::read_dir(library.join(FOLDER)).into_iter().flatten().flatten();
    library.join(Member::TABLE.name).is_dir()
        && files.any(|entry| is_ours(entry.file_name().to_str().unwrap_or_default()))
}

/// Whether a file of the folder is named like one of a build, or like its temporary.
pub(crate) fn is_ours(name: &str) -> bool {
    let is_of = |start: &str, ends: &[&str]| {
        let Some(rest) = name.strip_prefix(start) else { return false };
        let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit() || digit == '-');
        ends.iter().any(|end| rest == *end || is_temporary(rest, end))
    };
    let key = name.split_once(".near-").map_or("", |(key, _)| key);
    is_of("runs-", &[".json", ".parquet"])
        || is_of("members-", &[".json"])
        || key.len() == KEY_DIGITS
            && key.bytes().all(|b| b.is_ascii_hexdigit())
            && is_of(&format!("{key}.near-"), &[".bin"])
}

/// Removes what unfinished builds of a library have saved; files of others stay.
pub(crate) fn clear(library: &Path) -> Result<(), Error> {
    Ok(remove_own(&library.join(FOLDER), is_ours)?)
}
