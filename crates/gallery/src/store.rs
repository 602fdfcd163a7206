//! The directory of a library.
//!
//! ```text
//! library/
//!   library.json                          the videos, in the order in which they were added: written last
//!   people.parquet                        one row per person, written anew by every addition
//!   person_vectors/<key>.parquet          the vectors of the people that an addition changed
//!   members/<video_id>.<key>.parquet      one file per video, never changed
//!   .lock
//! ```
//!
//! Only files that `library.json` names count. Other files of `members` and `person_vectors` were left by an
//! interrupted addition and are removed. `people` and `person_vectors` follow from `members`, so that both
//! are computed again when one of them is not what `library.json` says.
//!
//! An addition writes the vectors of the people it changed, so its cost does not grow with the library. After
//! [`MOST_VECTOR_FILES`] of them, one file with the vectors of all people takes their place, so that opening a
//! library reads few files.
//!
//! Format 1 kept the vectors in `vectors.bin`, and formats 1 and 2 kept the members in `appearances`, the former name
//! of the table. A library of an earlier format is upgraded when it is opened.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use numeric::vector::dot_in_lanes as dot;
use run::files::{self, lock, publish, remove, replace, temporary};
use run::plain_json;
use schema::cell::MAX_WHOLE;
use schema::footer::{Embedder, Footer, MAX_DIM};
use schema::io;
use schema::tables::{Member, Person, PersonVector};
use schema::{Row, UnitVector};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::identities::RunIdentity;
use crate::linking::{self, Item};
use crate::matching::{self, Match, Scale};
use crate::people::People;
use crate::{Error, RunIdentities};

/// Name of the index.
pub(crate) const INDEX: &str = "library.json";
/// Version of its format.
const FORMAT: u32 = 3;
/// The first format, which is still read, as are all later ones.
const FIRST_FORMAT: u32 = 1;
/// Name of the file of vectors in format 1.
const VECTORS_1: &str = "vectors.bin";
/// Folder of the members in formats 1 and 2.
const MEMBERS_2: &str = "appearances";
/// Digits of a fingerprint in the name of a file.
const KEY_DIGITS: usize = 8;
/// Digits of a fingerprint in the name of a file of vectors.
const VECTORS_KEY_DIGITS: usize = 16;
/// Similarity of the means of two clusters of one video, of two runs, from which they are the same people.
const SAME_MEMBERS: f32 = 0.9;
/// Most files of vectors.
const MOST_VECTOR_FILES: usize = 32;

/// The content of `library.json`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Index {
    format: u32,
    next_person_id: i64,
    /// What made the vectors; of the first video.
    embedder: Option<Embedder>,
    pub(crate) people_sha256: String,
    /// Files of `person_vectors`; of a person in several, the last one counts.
    #[serde(default)]
    pub(crate) vector_files: Vec<TableFile>,
    pub(crate) videos: Vec<Entry>,
}

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TableFile {
    /// Path below the library.
    pub(crate) file: String,
    pub(crate) sha256: String,
}

/// A video of the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) video_id: String,
    /// Name of its run.
    run_id: String,
    /// Hash of what was read of the run.
    fingerprint: String,
    /// Its table, below the library.
    pub(crate) file: String,
    pub(crate) sha256: String,
}

/// An open, locked library. Nothing counts before [`Library::commit`].
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    index: Index,
    people: People,
    is_upgraded: bool,
    _lock: File,
}

/// The result of adding a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// People whom the library knew.
    pub known: usize,
    /// People who are new.
    pub new: usize,
    /// Whether the run had been added before, as it is.
    pub up_to_date: bool,
}

impl Added {
    fn of(rows: &[Member], up_to_date: bool) -> Self {
        let known = rows.iter().filter(|row| row.similarity.is_some()).count();
        Self { known, new: rows.len() - known, up_to_date }
    }
}

impl Library {
    /// Opens the library at `root`, or creates an empty one. A library of an earlier format is upgraded.
    ///
    /// # Errors
    /// When it is in use, cannot be written, or is of another version.
    pub fn open(root: &Path) -> Result<Self, Error> {
        for table in [Member::TABLE, PersonVector::TABLE] {
            let folder = root.join(table.name);
            fs::create_dir_all(&folder).map_err(run::Error::io("create", &folder))?;
        }
        let lock = lock(root)?;
        let root = root.canonicalize().map_err(run::Error::io("read", root))?;
        let mut index = Index::read(&root.join(INDEX))?;
        let is_upgraded = index.format < FORMAT;
        index.format = FORMAT;
        let mut library = Self { root, index, people: People::default(), is_upgraded, _lock: lock };
        library.sweep()?;
        library.read_people()?;
        if is_upgraded {
            library.move_members()?;
            library.commit()?;
        }
        Ok(library)
    }

    /// Whether opening the library upgraded it from an earlier format.
    pub fn is_upgraded(&self) -> bool {
        self.is_upgraded
    }

    /// The directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The table of people.
    pub fn people_file(&self) -> PathBuf {
        self.root.join(Person::TABLE.file_name())
    }

    /// Every person, by `person_id`.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.rows.values()
    }

    /// Whether all videos of the library are among these runs.
    pub fn is_of(&self, runs: &[RunIdentities]) -> bool {
        let among: HashSet<_> = runs.iter().map(|run| run.video_id.as_str()).collect();
        self.index.videos.iter().all(|entry| among.contains(entry.video_id.as_str()))
    }

    /// The person of each cluster of a video, by `cluster_id`; none for a video that is not here.
    ///
    /// # Errors
    /// When the file of the video cannot be read.
    pub fn people_of(&self, video_id: &str) -> Result<Vec<(i64, &Person)>, Error> {
        let entry = self.index.videos.iter().find(|entry| entry.video_id == video_id);
        let rows = entry.map(|entry| self.read(entry)).transpose()?.unwrap_or_default();
        let person = |row: &Member| Some((row.cluster_id, self.people.rows.get(&row.person_id)?));
        Ok(rows.iter().filter_map(person).collect())
    }

    /// Number of videos.
    pub fn n_videos(&self) -> usize {
        self.index.videos.len()
    }

    /// Matches the people of a run with the known people; a person without a match gets a new id. A video that
    /// was added before is replaced; its people are matched like all others, so that they keep their ids.
    ///
    /// # Errors
    /// When the run's vectors cannot be compared with the library's, and when files cannot be used.
    pub fn add(&mut self, seen: &RunIdentities) -> Result<Added, Error> {
        let video_id = seen.video_id.as_str();
        let old = self.index.videos.iter().position(|entry| entry.video_id == video_id);
        // A run that has been added as it is, if its file is whole.
        let unchanged = old.map(|at| &self.index.videos[at]);
        let unchanged = unchanged.filter(|entry| entry.fingerprint == seen.fingerprint);
        if let Some(rows) = unchanged.and_then(|entry| self.read(entry).ok()) {
            return Ok(Added::of(&rows, true));
        }
        if self.n_videos() > 0 {
            self.check_embedder(seen)?;
        }
        let rows = self.members(seen);
        let entry = self.write_members(seen, &rows, &self.index)?;
        self.index.embedder = Some(seen.embedder.clone());
        match old {
            Some(at) => {
                self.index.videos[at] = entry;
                self.people = self.sum_up()?;
                self.index.vector_files.clear();
            }
            None => {
                self.index.videos.push(entry);
                self.people.add(&rows);
            }
        }
        self.write_vectors(rows.iter().map(|row| row.person_id).collect())?;
        Ok(Added::of(&rows, false))
    }

    /// Makes this the library of these runs and of no others. The people depend on the set of runs only, not on their
    /// order or on what the library held before; but people who were in the library keep their ids, as far as they have
    /// the same members. Says for each run, in their order, what was added.
    ///
    /// # Errors
    /// When two runs are of one video, when vectors cannot be compared with each other, and when files cannot be used.
    pub fn build(&mut self, runs: &[RunIdentities], threads: usize) -> Result<Vec<Added>, Error> {
        let mut seen: Vec<&RunIdentities> = runs.iter().collect();
        seen.sort_by(|a, b| a.video_id.as_str().cmp(b.video_id.as_str()));
        if let Some(two) = seen.windows(2).find(|two| two[0].video_id == two[1].video_id) {
            let runs = [two[0].run_dir.clone(), two[1].run_dir.clone()];
            return Err(Error::TwoRuns { runs: Box::new(runs) });
        }
        let old = self.index.clone();
        self.index.embedder = seen.first().map(|run| run.embedder.clone());
        for run in &seen {
            self.check_embedder(run)?;
        }
        let mut items = Vec::new();
        for (video, run) in (0..).zip(&seen) {
            items.extend(run.people.iter().map(|person| Item {
                video,
                weight: person.n_tracks.max(1) as f32,
                vector: person.vector.as_slice(),
            }));
        }
        let Some(scale) = self.index.embedder.as_ref().map(Scale::of) else {
            self.index.videos.clear();
            self.people = People::default();
            return Ok(Vec::new());
        };
        let linked = linking::link(&scale, &items, threads)?;
        let ids = self.ids(&seen, &linked.labels)?;
        let mut videos = Vec::new();
        let mut added = HashMap::new();
        let mut at = 0;
        self.people = People::default();
        for run in seen {
            let row = |(at, person): (usize, &RunIdentity)| {
                member(run, person, ids[linked.labels[at]], &linked.matches[at], &ids)
            };
            let rows: Vec<_> = (at..).zip(&run.people).map(row).collect();
            at += rows.len();
            let entry = self.write_members(run, &rows, &old)?;
            added.insert(run.video_id.as_str(), Added::of(&rows, old.videos.contains(&entry)));
            videos.push(entry);
            self.people.add(&rows);
        }
        self.index.videos = videos;
        self.index.vector_files.clear();
        Ok(runs.iter().filter_map(|run| added.get(run.video_id.as_str()).copied()).collect())
    }

    /// Ids of clusters, by their labels: the id of the person of the library with most of their tracks, each id once;
    /// new ids for the others, in the order of the labels.
    fn ids(&mut self, seen: &[&RunIdentities], labels: &[usize]) -> Result<Vec<i64>, Error> {
        let mut votes: HashMap<(usize, i64), i64> = HashMap::new();
        let mut at = 0;
        for run in seen {
            let entry = self.index.videos.iter().find(|entry| entry.video_id == run.video_id.as_str());
            // A file that was damaged cannot say whose ids these were.
            let old = entry.and_then(|entry| self.read(entry).ok()).unwrap_or_default();
            for (place, person) in (at..).zip(&run.people) {
                let similar = |row: &&Member| dot(row.embedding.as_slice(), person.vector.as_slice());
                let nearest = old.iter().max_by(|a, b| similar(a).total_cmp(&similar(b)));
                if let Some(row) = nearest.filter(|row| similar(row) >= SAME_MEMBERS) {
                    *votes.entry((labels[place], row.person_id)).or_default() += person.n_tracks.max(1);
                }
            }
            at += run.people.len();
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_unstable_by_key(|((label, id), tracks)| (-tracks, *id, *label));
        let mut ids = vec![None; labels.iter().max().map_or(0, |last| last + 1)];
        let mut taken = HashSet::new();
        for ((label, id), _) in votes {
            if ids[label].is_none() && taken.insert(id) {
                ids[label] = Some(id);
            }
        }
        let mut new = self.index.next_person_id..;
        let ids = ids.into_iter().filter_map(|id| id.or_else(|| new.next())).collect();
        self.index.next_person_id = new.start;
        Ok(ids)
    }

    /// Removes a video, and the people who are in no other video. Their ids stay unused.
    ///
    /// # Errors
    /// When it is not here, and when files cannot be used.
    pub fn remove(&mut self, video_id: &str) -> Result<(), Error> {
        let before = self.n_videos();
        self.index.videos.retain(|entry| entry.video_id != video_id);
        if self.n_videos() == before {
            return Err(Error::NoVideo { path: self.root.clone(), video_id: video_id.to_owned() });
        }
        self.people = self.sum_up()?;
        self.index.vector_files.clear();
        Ok(())
    }

    /// Makes everything since the last commit count, all of it or nothing.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn commit(&mut self) -> Result<(), Error> {
        let path = self.people_file();
        if self.index.vector_files.is_empty() {
            self.write_vectors(BTreeSet::new())?;
        }
        let footer = self.footer::<Person>(self.index.fingerprint());
        self.index.people_sha256 = write(&path, &footer, self.people.rows.values().cloned())?;
        let index = self.root.join(INDEX);
        let json = serde_json::to_string(&self.index)
            .map_err(|e| Error::Index { path: index.clone(), reason: e.to_string() })?;
        replace(&index, json.as_bytes())?;
        remove(&self.root.join(VECTORS_1))?;
        self.sweep()
    }

    /// Writes the members that are in the folder of formats 1 and 2 to the folder of this format. A damaged file stays
    /// where it is, until its run is added again.
    fn move_members(&mut self) -> Result<(), Error> {
        for at in 0..self.index.videos.len() {
            let entry = &self.index.videos[at];
            let Some(name) = entry.file.strip_prefix(MEMBERS_2) else { continue };
            let Ok(rows) = self.read(entry) else { continue };
            let file = format!("{}{name}", Member::TABLE.name);
            let (run_id, fingerprint) = (entry.run_id.clone(), entry.fingerprint.clone());
            let footer = Footer::of::<Member>(run_id, fingerprint, self.index.embedder.as_slice());
            let sha256 = write(&self.root.join(&file), &footer, rows.into_iter())?;
            let entry = &mut self.index.videos[at];
            (entry.file, entry.sha256) = (file, sha256);
        }
        Ok(())
    }

    /// Writes the rows of a run, unless a file of `old` holds them.
    fn write_members(&self, seen: &RunIdentities, rows: &[Member], old: &Index) -> Result<Entry, Error> {
        let video_id = seen.video_id.as_str();
        // A file that counts is never changed, so another decision has another name.
        let decision = |row: &Member| json!([row.person_id, row.similarity, row.threshold, row.margin]);
        let decisions: Vec<_> = rows.iter().map(decision).collect();
        let key = hash::bytes(json!([seen.fingerprint, decisions]).to_string().as_bytes());
        let key = key.get(..KEY_DIGITS).unwrap_or_default();
        let file = format!("{}/{video_id}.{key}.parquet", Member::TABLE.name);
        if let Some(entry) = old.videos.iter().find(|entry| entry.file == file)
            && self.read(entry).is_ok()
        {
            return Ok(entry.clone());
        }
        let (run_id, fingerprint) = (seen.run_id.clone(), seen.fingerprint.clone());
        let footer = Footer::of::<Member>(run_id, fingerprint, std::slice::from_ref(&seen.embedder));
        Ok(Entry {
            video_id: video_id.to_owned(),
            run_id: seen.run_id.clone(),
            fingerprint: seen.fingerprint.clone(),
            sha256: write(&self.root.join(&file), &footer, rows.iter().cloned())?,
            file,
        })
    }

    fn check_embedder(&self, seen: &RunIdentities) -> Result<(), Error> {
        let Some(ours) = self.index.embedder.as_ref() else { return Ok(()) };
        let theirs = &seen.embedder;
        if (&theirs.name, theirs.dim, &theirs.weights_sha256) == (&ours.name, ours.dim, &ours.weights_sha256)
        {
            return Ok(());
        }
        let name = |embedder: &Embedder| match embedder.weights_sha256.get(..KEY_DIGITS) {
            Some(weights) if theirs.name == ours.name => format!("`{}` (weights {weights}…)", embedder.name),
            _ => format!("`{}`", embedder.name),
        };
        Err(Error::OtherEmbedder {
            run: seen.run_dir.clone(),
            library: self.root.clone(),
            found: name(theirs),
            expected: name(ours),
        })
    }

    /// Rows of a run, with new ids for the people without a match.
    fn members(&mut self, seen: &RunIdentities) -> Vec<Member> {
        let ids: Vec<_> = self.people.rows.keys().copied().collect();
        let known: Vec<_> = ids.iter().map(|id| self.people.vectors[id].as_slice()).collect();
        let vectors: Vec<_> = seen.people.iter().map(|person| person.vector.as_slice()).collect();
        let found = matching::find(&Scale::of(&seen.embedder), &known, &vectors);
        let mut new = self.index.next_person_id..;
        let row = |(person, found): (&RunIdentity, &Match)| {
            let person_id = found.known.map(|(at, _)| ids[at]).or_else(|| new.next());
            Some(member(seen, person, person_id?, found, &ids))
        };
        let rows = seen.people.iter().zip(&found).filter_map(row).collect();
        self.index.next_person_id = new.start;
        rows
    }

    /// The footer of a table of all people.
    fn footer<R: Row>(&self, fingerprint: String) -> Footer {
        let name = self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Footer::of::<R>(name, fingerprint, self.index.embedder.as_slice())
    }

    /// Reads the people, or computes them again where files are not what `library.json` says.
    fn read_people(&mut self) -> Result<(), Error> {
        let path = self.people_file();
        let vectors = self.stored_vectors();
        let rows = match hash::file(&path) {
            Ok(sha256) if sha256 == self.index.people_sha256 => io::read_all::<Person>(&path)?,
            _ => Vec::new(),
        };
        let rows = rows.into_iter().map(|person| (person.person_id, person)).collect();
        let stored = People { rows, vectors: vectors.unwrap_or_default() };
        let is_whole = stored.rows.len() == stored.vectors.len()
            && stored.rows.keys().all(|id| stored.vectors.contains_key(id));
        if is_whole && (!stored.rows.is_empty() || self.index.videos.is_empty()) {
            self.people = stored;
            return Ok(());
        }
        self.people = self.sum_up()?;
        if self.people.vectors != stored.vectors {
            self.index.vector_files.clear();
        }
        Ok(())
    }

    /// The vectors of all people; `None` when a file is not what `library.json` says.
    fn stored_vectors(&self) -> Option<HashMap<i64, UnitVector>> {
        let mut vectors = HashMap::new();
        for TableFile { file, sha256 } in &self.index.vector_files {
            let path = self.root.join(file);
            if hash::file(&path).ok()? != *sha256 {
                return None;
            }
            for row in io::read_all::<PersonVector>(&path).ok()? {
                vectors.insert(row.person_id, row.embedding);
            }
        }
        Some(vectors)
    }

    /// Writes a file with the vectors of the `changed` people, or of all people in place of all files.
    fn write_vectors(&mut self, changed: BTreeSet<i64>) -> Result<(), Error> {
        let is_all = self.index.vector_files.is_empty() || self.index.vector_files.len() >= MOST_VECTOR_FILES;
        let ids = if is_all { self.people.rows.keys().copied().collect() } else { changed };
        if is_all {
            self.index.vector_files.clear();
        }
        if ids.is_empty() {
            return Ok(());
        }
        let last = self.index.vector_files.last().map_or("", |file| &file.sha256);
        let fingerprint = hash::bytes([last, &self.index.fingerprint()].concat().as_bytes());
        let key = fingerprint.get(..VECTORS_KEY_DIGITS).unwrap_or_default();
        let file = format!("{}/{key}.parquet", PersonVector::TABLE.name);
        let footer = self.footer::<PersonVector>(fingerprint);
        let row =
            |id: i64| Some(PersonVector { person_id: id, embedding: self.people.vectors.get(&id)?.clone() });
        let sha256 = write(&self.root.join(&file), &footer, ids.into_iter().filter_map(row))?;
        self.index.vector_files.push(TableFile { file, sha256 });
        Ok(())
    }

    /// Computes the people from the members of all videos.
    fn sum_up(&self) -> Result<People, Error> {
        let mut people = People::default();
        for entry in &self.index.videos {
            people.add(&self.read(entry)?);
        }
        Ok(people)
    }

    /// The members of a video.
    fn read(&self, entry: &Entry) -> Result<Vec<Member>, Error> {
        let path = self.root.join(&entry.file);
        if files::sha256(&path)? != entry.sha256 {
            return Err(
                run::Error::Changed { path, reason: "the content differs from its SHA-256".into() }.into()
            );
        }
        Ok(io::read_all(&path)?)
    }

    /// Removes what an interrupted addition left, and files that others took the place of.
    fn sweep(&self) -> Result<(), Error> {
        for name in [Person::TABLE.file_name(), INDEX.to_owned(), VECTORS_1.to_owned()] {
            remove(&temporary(&self.root.join(name)))?;
        }
        let videos = self.index.videos.iter().map(|entry| entry.file.as_str());
        let vectors = self.index.vector_files.iter().map(|entry| entry.file.as_str());
        let named: HashSet<_> = videos.chain(vectors).collect();
        for name in [Member::TABLE.name, PersonVector::TABLE.name, MEMBERS_2] {
            let folder = self.root.join(name);
            if name == MEMBERS_2 && !folder.is_dir() {
                continue;
            }
            for entry in fs::read_dir(&folder).map_err(run::Error::io("read", &folder))?.flatten() {
                let path = entry.path();
                let file = format!("{name}/{}", entry.file_name().display());
                if is_ours(&path) && !named.contains(file.as_str()) {
                    remove(&path)?;
                }
            }
        }
        // A folder that has files of others stays.
        let _ = fs::remove_dir(self.root.join(MEMBERS_2));
        Ok(())
    }
}

impl Index {
    /// Numbers in a vector.
    fn dim(&self) -> usize {
        self.embedder.as_ref().map_or(0, |embedder| embedder.dim)
    }

    /// Digest of all that decides the people: the videos, in their order.
    fn fingerprint(&self) -> String {
        let fingerprints: Vec<_> = self.videos.iter().map(|entry| &entry.fingerprint).collect();
        hash::bytes(json!(fingerprints).to_string().as_bytes())
    }

    /// Reads the index at `path`; an empty one where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        /// The one field that every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let json = match fs::read(path) {
            Ok(json) => json,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { format: FORMAT, ..Self::default() });
            }
            Err(e) => return Err(run::Error::io("read", path)(e).into()),
        };
        let wrong = |reason: String| Error::Index { path: path.to_path_buf(), reason };
        let Format { format } = serde_json::from_slice(&json).map_err(|e| wrong(plain_json(&e)))?;
        if !(FIRST_FORMAT..=FORMAT).contains(&format) {
            return Err(wrong(format!(
                "it has format {format}, and this version reads {FIRST_FORMAT} to {FORMAT}"
            )));
        }
        let index: Self = serde_json::from_slice(&json).map_err(|e| wrong(plain_json(&e)))?;
        if !index.videos.is_empty() && !(1..=MAX_DIM).contains(&index.dim()) {
            return Err(wrong(format!("its vectors have {} components", index.dim())));
        }
        if !(0..=MAX_WHOLE).contains(&index.next_person_id) {
            return Err(wrong(format!("invalid next_person_id {}", index.next_person_id)));
        }
        // Named files are removed some day, so a foreign index must not name other files.
        let files = index.videos.iter().map(|entry| &entry.file);
        let mut files = files.chain(index.vector_files.iter().map(|entry| &entry.file));
        match files.find(|file| !is_ours(Path::new(file))) {
            Some(file) => Err(wrong(format!("it names {file:?}"))),
            None => Ok(index),
        }
    }
}

/// The row of a person of a run; `ids` are those of the people who the match is among.
fn member(run: &RunIdentities, person: &RunIdentity, person_id: i64, found: &Match, ids: &[i64]) -> Member {
    Member {
        video_id: run.video_id.clone(),
        cluster_id: person.cluster_id,
        person_id,
        similarity: found.known.map(|(_, similarity)| similarity),
        threshold: found.threshold,
        runner_up_person_id: found.runner_up.map(|(at, _)| ids[at]),
        margin: found.margin(),
        n_tracks: person.n_tracks,
        screen_secs: person.screen_secs,
        embedding: person.vector.clone(),
        name: person.name.clone(),
    }
}

/// Whether a path is named like a file of the library, finished or not: `members/<hex>.<hex>.parquet[.tmp]`,
/// the same in the folder of formats 1 and 2, or `person_vectors/<hex>.parquet[.tmp]`.
fn is_ours(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(stem) = name.strip_suffix(".tmp").unwrap_or(name).strip_suffix(".parquet") else { return false };
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    if folder == Some(PersonVector::TABLE.name) {
        return is_hex(stem);
    }
    let parts = stem.split_once('.');
    [Member::TABLE.name, MEMBERS_2].map(Some).contains(&folder)
        && parts.is_some_and(|(video, key)| is_hex(video) && is_hex(key))
}

/// Writes a whole table, or nothing; gives its hash.
fn write<R: Row + Clone>(
    path: &Path,
    footer: &Footer,
    rows: impl Iterator<Item = R>,
) -> Result<String, Error> {
    io::write_all(&temporary(path), footer, rows)?;
    let sha256 = files::sha256(&temporary(path))?;
    publish(path)?;
    Ok(sha256)
}
