//! The directory of a library.
//!
//! ```text
//! library/
//!   library.json                          the videos, in the order in which they were added: written last
//!   people.parquet                        one row per person, written anew by every addition
//!   person_vectors/<key>.parquet          the vectors of the people that an addition changed
//!   members/<video_id>.<key>.parquet      one file per video, never changed
//!   building/                             what an unfinished build has done
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

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use numeric::pairing::one_to_one;
use numeric::vector::dot_in_lanes as dot;
use run::edits::{Edit, EditOp, Entry as Correction, Faces, Log, Mark};
use run::encryption::Encryption;
use run::files::{self, is_temporary, publish, remove, replace, temporary};
use run::lock::{Lock, lock};
use run::{RunReader, plain_json};
use schema::cell::Category as _;
use schema::cell::MAX_WHOLE;
use schema::footer::{Embedder, Footer, MAX_DIM};
use schema::io;
use schema::tables::{Cluster, Identity, Member, Person, PersonVector};
use schema::{Row, UnitVector};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::edits::{self, Refusal, Said};
use crate::finding::{self, Candidate, Known};
use crate::identities::RunIdentity;
use crate::linking::{self, Item, Taught};
use crate::matching::{self, Match, Scale};
use crate::people::People;
use crate::progress::{self, Progress, Saving, Written};
use crate::{Error, RunIdentities};

/// Name of the index.
pub const INDEX: &str = "library.json";
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
    /// Key of the person that a correction made, by key of the correction.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    made: BTreeMap<i64, i64>,
    /// Day from which the gallery must be gone, as `2027-01-31`; `None` without such a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    /// Key of all tables; absent without encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) encryption: Option<Encryption>,
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
    pub(crate) fingerprint: String,
    /// Its table, below the library.
    pub(crate) file: String,
    pub(crate) sha256: String,
    /// The run directory: a path below the library's folder, or an absolute one. `None` in indexes that earlier
    /// versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_dir: Option<String>,
    /// Clusters that show the faces of corrections: key of the correction, index of the side, key of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) marked: Vec<(i64, usize, i64)>,
}

/// A video of a library, and its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// Key of the video.
    pub video_id: String,
    /// Name of the run.
    pub run_id: String,
    /// The run directory; `None` in galleries of earlier versions, until the run is added again.
    pub run_dir: Option<PathBuf>,
    /// The run directory, relative to the gallery.
    pub(crate) relative: Option<String>,
}

/// The members of a video.
pub type Table = Rc<[Member]>;

/// A person of a video who gets another `person_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Name of the run.
    pub run_id: String,
    /// Key of the cluster in the run.
    pub cluster_id: i64,
    /// Key of the person before the change.
    pub before: i64,
    /// Key of the person after the change; a key that no person had before is a new person.
    pub after: i64,
}

/// Corrections that were added to the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    /// The corrections.
    pub corrections: Vec<Correction>,
    /// Keys of those that are not applied, with the reasons.
    pub refused: Vec<(i64, Refusal)>,
}

/// Other people of the library, which do not count yet.
#[derive(Debug)]
struct Regrouped {
    tables: Vec<Vec<Member>>,
    made: BTreeMap<i64, i64>,
    next_person_id: i64,
    /// Corrections that are not applied, with the reasons.
    refused: Vec<(i64, Refusal)>,
}

/// An open, locked library. Nothing counts before [`Library::commit`].
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    pub(crate) index: Index,
    people: People,
    /// Tables of members that were read or written, by SHA-256: each is read once.
    tables: RefCell<HashMap<String, Table>>,
    is_upgraded: bool,
    has_moved: bool,
    _lock: Option<Lock>,
}

/// The result of adding a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// People of the library before.
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
    /// When it is in use, cannot be written, is of another version, or does not have the key of this process.
    pub fn open(root: &Path) -> Result<Self, Error> {
        check_key(root)?;
        for table in [Member::TABLE, PersonVector::TABLE] {
            let folder = root.join(table.name);
            fs::create_dir_all(&folder).map_err(run::Error::io("create", &folder))?;
        }
        let lock = lock(root)?;
        let root = root.canonicalize().map_err(run::Error::io("read", root))?;
        check_key(&root)?;
        let mut index = Index::read(&root.join(INDEX))?;
        let is_upgraded = index.format < FORMAT;
        index.format = FORMAT;
        let mut library = Self { is_upgraded, _lock: Some(lock), ..Self::unread(root, index) };
        library.sweep()?;
        library.read_people()?;
        if is_upgraded {
            library.move_members()?;
            library.commit()?;
        }
        Ok(library)
    }

    /// Opens the library at `root` only to read it, without its lock. A file that another program replaces meanwhile
    /// is an error.
    ///
    /// # Errors
    /// When a file cannot be read, or the library does not have the key of this process.
    pub fn view(root: &Path) -> Result<Self, Error> {
        check_key(root)?;
        let root = root.canonicalize().map_err(run::Error::io("read", root))?;
        let index = Index::read(&root.join(INDEX))?;
        let mut library = Self::unread(root, index);
        library.read_people()?;
        Ok(library)
    }

    fn unread(root: PathBuf, index: Index) -> Self {
        let (people, tables) = (People::default(), RefCell::default());
        Self { root, index, people, tables, is_upgraded: false, has_moved: false, _lock: None }
    }

    /// Whether opening the library upgraded it from an earlier format.
    pub fn is_upgraded(&self) -> bool {
        self.is_upgraded
    }

    /// The directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The mean embedding of every person, in no order.
    pub fn vectors(&self) -> impl Iterator<Item = (i64, &UnitVector)> {
        self.people.vectors.iter().map(|(id, vector)| (*id, vector))
    }

    /// The table of people.
    pub fn people_file(&self) -> PathBuf {
        self.root.join(Person::TABLE.file_name())
    }

    /// Every person, by `person_id`.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.rows.values()
    }

    /// The embedder of all vectors; `None` in an empty library.
    pub fn embedder(&self) -> Option<&Embedder> {
        self.index.embedder.as_ref()
    }

    /// Compares a face, a vector of the embedder of the library, with all people; returns the people, the most similar
    /// first.
    pub fn candidates(&self, face: &UnitVector) -> Vec<Candidate> {
        let Some(embedder) = self.embedder() else { return Vec::new() };
        let vectors = &self.people.vectors;
        let known = |person: &Person| {
            let (person_id, n_videos, n_tracks) = (person.person_id, person.n_videos, person.n_tracks);
            Some(Known { person_id, vector: vectors.get(&person_id)?.as_slice(), n_videos, n_tracks })
        };
        let people: Vec<Known<'_>> = self.people.rows.values().filter_map(known).collect();
        finding::candidates(embedder, &people, face.as_slice())
    }

    /// Reads runs to build the library of them. What an interrupted build has read is not read again, as long as the runs
    /// are the same. `done` gets the number of runs so far, and the error of a run that cannot be read, which is left
    /// out.
    ///
    /// # Errors
    /// When the progress cannot be saved.
    pub fn read_runs(
        &self,
        runs: &[PathBuf],
        saving: Saving,
        done: impl FnMut(usize, Option<Error>),
    ) -> Result<Vec<RunIdentities>, Error> {
        Progress::new(&self.root, saving).read_runs(runs, done)
    }

    /// Whether all videos of the library are among these runs.
    pub fn is_of(&self, runs: &[RunIdentities]) -> bool {
        let among: HashSet<_> = runs.iter().map(|run| run.video_id.as_str()).collect();
        self.index.videos.iter().all(|entry| among.contains(entry.video_id.as_str()))
    }

    /// A person; `None` for a key that no person has.
    pub fn person(&self, person_id: i64) -> Option<&Person> {
        self.people.rows.get(&person_id)
    }

    /// The videos, in the order in which they were added.
    pub fn videos(&self) -> impl Iterator<Item = Video> {
        self.index.videos.iter().map(|entry| Video {
            video_id: entry.video_id.clone(),
            run_id: entry.run_id.clone(),
            run_dir: entry.run_dir.as_ref().map(|path| tidy(&self.root.join(path))),
            relative: entry.run_dir.clone(),
        })
    }

    /// The members of all videos, one table per video, in the order of [`Library::videos`].
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn members_of_all(&self) -> Result<Vec<Table>, Error> {
        self.index.videos.iter().map(|entry| self.read(entry)).collect()
    }

    /// The members of a video, by its index in [`Library::videos`].
    ///
    /// # Errors
    /// When the file cannot be read, and when there is no such video.
    pub fn members_of(&self, video: usize) -> Result<Table, Error> {
        let unknown = || Error::NoVideo { path: self.root.clone(), video_id: format!("number {video}") };
        self.read(self.index.videos.get(video).ok_or_else(unknown)?)
    }

    /// SHA-256 of the table of members of each video, in the order of [`Library::videos`].
    pub(crate) fn member_hashes(&self) -> impl Iterator<Item = String> {
        self.index.videos.iter().map(|entry| entry.sha256.clone())
    }

    /// Whether the run of a video was found in another place than before, or shows faces of a correction that it did
    /// not show before; a commit stores both.
    pub fn has_moved(&self) -> bool {
        self.has_moved
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
        self.add_run(seen, false)
    }

    /// Does the same for a run from which people were removed: the others, whose vectors are what they were, keep their
    /// `person_id`, whatever matching would find now.
    ///
    /// # Errors
    /// As [`Library::add`].
    pub fn add_less(&mut self, seen: &RunIdentities) -> Result<Added, Error> {
        self.add_run(seen, true)
    }

    fn add_run(&mut self, seen: &RunIdentities, is_less: bool) -> Result<Added, Error> {
        let video_id = seen.video_id.as_str();
        let old = self.index.videos.iter().position(|entry| entry.video_id == video_id);
        // A run that has been added as it is, if its file is whole.
        let unchanged = old.map(|at| &self.index.videos[at]);
        let unchanged = unchanged.filter(|entry| entry.fingerprint == seen.fingerprint);
        if let Some(rows) = unchanged.and_then(|entry| self.read(entry).ok()) {
            let place =
                (self.relative(&seen.run_dir), marked(&seen.run_dir, Log::open(&self.root)?.entries())?);
            if let Some(entry) = old.map(|at| &mut self.index.videos[at])
                && (&entry.run_dir, &entry.marked) != (&place.0, &place.1)
            {
                (entry.run_dir, entry.marked) = place;
                self.has_moved = true;
                self.apply_edits()?;
            }
            return Ok(Added::of(&rows, true));
        }
        if self.n_videos() > 0 {
            self.check_embedder(seen)?;
        }
        let before = old.and_then(|at| self.read(&self.index.videos[at]).ok());
        let rows = match before {
            // A new name is no reason to match again.
            Some(before) if are_same_people(&before, seen) => renamed(&before, seen),
            Some(before) if is_less => self.members(seen, &before),
            _ => self.members(seen, &[]),
        };
        let entry = self.write_members(seen, &rows, &self.index, &Written::new())?;
        self.index.embedder = Some(seen.embedder.clone());
        // The name that was given last is known from the members of all videos.
        let is_named = rows.iter().any(|row| row.name.is_some());
        match old {
            Some(at) => self.index.videos[at] = entry,
            None => self.index.videos.push(entry),
        }
        if old.is_some() || is_named {
            self.people = self.sum_up()?;
        } else {
            self.people.add(&rows);
        }
        if old.is_some() {
            self.index.vector_files.clear();
        }
        self.write_vectors(rows.iter().map(|row| row.person_id).collect())?;
        self.apply_edits()?;
        Ok(Added::of(&rows, false))
    }

    /// Makes this the library of these runs and of no others. The people depend on the set of runs only, not on their
    /// order or on what the library held before; but people who were in the library keep their ids, as far as they have
    /// the same members. Says for each run, in their order, what was added.
    ///
    /// What is done is saved from time to time, so that the next build of these runs continues there if this one is
    /// killed; [`Library::commit`] removes it.
    ///
    /// # Errors
    /// When two runs are of one video, when vectors cannot be compared with each other, and when files cannot be used.
    pub fn build(
        &mut self,
        runs: &[RunIdentities],
        threads: usize,
        saving: Saving,
    ) -> Result<Vec<Added>, Error> {
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
                in_series: person.series_id.as_deref().zip(person.series_uid.as_deref()),
            }));
        }
        let Some(scale) = self.index.embedder.as_ref().map(Scale::of) else {
            self.index.videos.clear();
            self.people = People::default();
            return Ok(Vec::new());
        };
        let mut progress = Progress::new(&self.root, saving);
        progress.set_runs(seen.iter().copied());
        let linked = linking::link(&scale, &items, &Taught::default(), threads, Some(&mut progress))?;
        let votes = self.votes(&seen, &linked.labels)?;
        let ids = assign(votes, &linked.labels, &mut self.index.next_person_id);
        let people: Vec<i64> = linked.labels.iter().map(|label| ids[*label]).collect();
        let added = self.fill(&old, &seen, (&people, &linked.matches), &ids, &mut progress)?;
        Ok(runs.iter().filter_map(|run| added.get(run.video_id.as_str()).copied()).collect())
    }

    /// Makes this the library of these runs, whose people have these ids and matches; `ids` are those of the people who
    /// the matches are among. Says for each video what was added.
    fn fill<'a>(
        &mut self,
        old: &Index,
        seen: &[&'a RunIdentities],
        (people, matches): (&[i64], &[Match]),
        ids: &[i64],
        progress: &mut Progress,
    ) -> Result<HashMap<&'a str, Added>, Error> {
        let mut videos = Vec::new();
        let mut added = HashMap::new();
        let mut at = 0;
        let (done, mut written) = (progress.members(), Written::new());
        self.people = People::default();
        for run in seen {
            let row =
                |(at, person): (usize, &RunIdentity)| member(run, person, people[at], &matches[at], ids);
            let rows: Vec<_> = (at..).zip(&run.people).map(row).collect();
            at += rows.len();
            let entry = self.write_members(run, &rows, old, &done)?;
            if !done.contains_key(&entry.file) {
                written.insert(entry.file.clone(), entry.sha256.clone());
            }
            if progress.is_due(written.len()) {
                progress.save_members(&mut written)?;
            }
            added.insert(run.video_id.as_str(), Added::of(&rows, old.videos.contains(&entry)));
            videos.push(entry);
            self.people.add(&rows);
        }
        self.index.videos = videos;
        self.index.vector_files.clear();
        self.apply_edits()?;
        Ok(added)
    }

    /// Replaces the runs of all videos by these, in the order of the videos. Each run has the `cluster_id` that a
    /// cluster had in the replaced run, by the present one; it stays the person of that cluster, and other clusters are
    /// new people.
    ///
    /// # Errors
    /// When the runs have different embedders, and when files cannot be used.
    pub(crate) fn replace_runs(
        &mut self,
        runs: &[(RunIdentities, BTreeMap<i64, i64>)],
        threads: usize,
    ) -> Result<(), Error> {
        let (old, before) = (self.index.clone(), self.members_of_all()?);
        self.index.embedder = runs.first().map(|(run, _)| run.embedder.clone());
        let Some(scale) = self.index.embedder.as_ref().map(Scale::of) else { return Ok(()) };
        let (mut people, mut items) = (Vec::new(), Vec::new());
        for (video, ((run, kept), rows)) in (0..).zip(runs.iter().zip(&before)) {
            self.check_embedder(run)?;
            for person in &run.people {
                let was = |row: &&Member| Some(&row.cluster_id) == kept.get(&person.cluster_id);
                let known = rows.iter().find(was).map(|row| row.linked_person_id.unwrap_or(row.person_id));
                people.push(known.unwrap_or_else(|| {
                    self.index.next_person_id += 1;
                    self.index.next_person_id - 1
                }));
                let weight = person.n_tracks.max(1) as f32;
                let vector = person.vector.as_slice();
                // The people are known, so no series says who is one person.
                items.push(Item { video, weight, vector, in_series: None });
            }
        }
        // Numbers of the people, in the order of their first clusters.
        let (mut ids, mut numbers) = (Vec::new(), HashMap::new());
        let label = |id: &i64| {
            *numbers.entry(*id).or_insert_with(|| {
                ids.push(*id);
                ids.len() - 1
            })
        };
        let labels: Vec<usize> = people.iter().map(label).collect();
        let matches = linking::matches(&scale, &items, &labels, threads)?;
        let seen: Vec<&RunIdentities> = runs.iter().map(|(run, _)| run).collect();
        let mut progress = Progress::new(&self.root, Saving::default());
        self.fill(&old, &seen, (&people, &matches), &ids, &mut progress)?;
        Ok(())
    }

    /// Number of tracks by label of a cluster and by person of the library who has the same members.
    fn votes(&self, seen: &[&RunIdentities], labels: &[usize]) -> Result<HashMap<(usize, i64), i64>, Error> {
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
                    let id = row.linked_person_id.unwrap_or(row.person_id);
                    *votes.entry((labels[place], id)).or_default() += person.n_tracks.max(1);
                }
            }
            at += run.people.len();
        }
        Ok(votes)
    }

    /// Links the people of all videos again, with the corrections as constraints; the corrections are applied to the
    /// result. Returns the people who change their `person_id`. Only with `is_kept` the result takes the place of the
    /// present people.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn relink(&mut self, threads: usize, is_kept: bool) -> Result<Vec<Change>, Error> {
        let Some(scale) = self.index.embedder.as_ref().map(Scale::of) else { return Ok(Vec::new()) };
        let log = Log::open(&self.root)?;
        let said: Vec<Said> = log.active().map(|entry| self.said(entry)).collect();
        let before = self.members_of_all()?;
        let mut tables = edits::copies(&before);
        // In the order of `build`, which is that of the keys.
        let mut order: Vec<usize> = (0..tables.len()).collect();
        order.sort_by(|a, b| self.index.videos[*a].video_id.cmp(&self.index.videos[*b].video_id));
        let rows = |video: usize| (0..before[video].len()).map(move |row| (video, row));
        let places: Vec<(usize, usize)> = order.into_iter().flat_map(rows).collect();
        let item = |(video, row): &(usize, usize)| {
            let member = &before[*video][*row];
            let vector = member.embedding.as_slice();
            let in_series = member.series_id.as_deref().zip(member.series_uid.as_deref());
            Item { video: *video as u32, weight: member.n_tracks.max(1) as f32, vector, in_series }
        };
        let items: Vec<Item<'_>> = places.iter().map(item).collect();
        let at: HashMap<edits::Place, usize> = (0..)
            .zip(&places)
            .map(|(at, (video, row))| ((*video, before[*video][*row].cluster_id), at))
            .collect();
        let pair = |(a, b): (edits::Place, edits::Place)| Some((*at.get(&a)?, *at.get(&b)?));
        let [same, different] =
            edits::taught(&tables, &said).map(|pairs| pairs.into_iter().filter_map(pair).collect());
        let linked = linking::link(&scale, &items, &Taught { same, different }, threads, None)?;
        let mut votes = HashMap::new();
        for ((video, row), label) in places.iter().zip(&linked.labels) {
            let member = &before[*video][*row];
            *votes.entry((*label, member.person_id)).or_default() += member.n_tracks.max(1);
        }
        let mut next_person_id = self.index.next_person_id;
        let ids = assign(votes, &linked.labels, &mut next_person_id);
        for (at, (video, row)) in places.iter().enumerate() {
            let member = &mut tables[*video][*row];
            *member = decided(member.clone(), ids[linked.labels[at]], &linked.matches[at], &ids);
        }
        // A person that a correction made is a person of linking now; without the link, the correction makes another.
        let mut made = self.index.made.clone();
        made.retain(|_, id| !ids.contains(id));
        let regrouped = edited(tables, &said, made, next_person_id);
        let mut changes = Vec::new();
        for (entry, (before, after)) in self.index.videos.iter().zip(before.iter().zip(&regrouped.tables)) {
            let pairs =
                before.iter().zip(after).filter(|(before, after)| before.person_id != after.person_id);
            changes.extend(pairs.map(|(before, after)| Change {
                run_id: entry.run_id.clone(),
                cluster_id: before.cluster_id,
                before: before.person_id,
                after: after.person_id,
            }));
        }
        if is_kept {
            self.adopt(regrouped)?;
        }
        Ok(changes)
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
        self.apply_edits()?;
        Ok(())
    }

    /// Gives a video other members than its run has, such as those without a person who was removed. The video then
    /// counts as changed, so that the run is read again when it is added.
    pub(crate) fn replace_members(&mut self, video: usize, rows: &[Member]) -> Result<(), Error> {
        let mut entry = self.index.videos[video].clone();
        entry.fingerprint = hash::bytes(json!(["without its run", entry.fingerprint]).to_string().as_bytes());
        let (run_id, fingerprint) = (entry.run_id.clone(), entry.fingerprint.clone());
        let footer = Footer::of::<Member>(run_id, fingerprint, self.index.embedder.as_slice());
        entry.file = member_file(&entry.video_id, &entry.fingerprint, rows);
        entry.sha256 = self.write_table(&entry.file, &footer, rows)?;
        self.index.videos[video] = entry;
        self.people = self.sum_up()?;
        self.index.vector_files.clear();
        self.apply_edits()?;
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
        self.index.write(&self.root)?;
        remove(&self.root.join(VECTORS_1))?;
        progress::clear(&self.root)?;
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
            let sha256 = self.write_table(&file, &footer, &rows)?;
            let entry = &mut self.index.videos[at];
            (entry.file, entry.sha256) = (file, sha256);
        }
        Ok(())
    }

    /// Writes the rows of a run, unless a file of `old` or of those that were written holds them.
    fn write_members(
        &self,
        seen: &RunIdentities,
        rows: &[Member],
        old: &Index,
        written: &Written,
    ) -> Result<Entry, Error> {
        let video_id = seen.video_id.as_str();
        let file = member_file(video_id, &seen.fingerprint, rows);
        if let Some(entry) = old.videos.iter().find(|entry| entry.file == file)
            && self.read(entry).is_ok()
        {
            return Ok(Entry { run_dir: self.relative(&seen.run_dir), ..entry.clone() });
        }
        let (run_id, fingerprint) = (seen.run_id.clone(), seen.fingerprint.clone());
        let footer = Footer::of::<Member>(run_id, fingerprint, std::slice::from_ref(&seen.embedder));
        Ok(Entry {
            run_dir: self.relative(&seen.run_dir),
            marked: marked(&seen.run_dir, Log::open(&self.root)?.entries())?,
            video_id: video_id.to_owned(),
            run_id: seen.run_id.clone(),
            fingerprint: seen.fingerprint.clone(),
            sha256: match written.get(&file).filter(|sha256| self.is_whole(&file, sha256)) {
                Some(sha256) => sha256.clone(),
                None => self.write_table(&file, &footer, rows)?,
            },
            file,
        })
    }

    /// Whether a file has this content.
    fn is_whole(&self, file: &str, sha256: &str) -> bool {
        files::sha256(&self.root.join(file)).is_ok_and(|found| found == sha256)
    }

    /// Writes a table of members; gives its hash.
    fn write_table(&self, file: &str, footer: &Footer, rows: &[Member]) -> Result<String, Error> {
        let sha256 = write(&self.root.join(file), footer, rows.iter().cloned())?;
        self.tables.borrow_mut().insert(sha256.clone(), rows.into());
        Ok(sha256)
    }

    /// The path of a run directory from the library, if both have a common folder besides the root; otherwise the
    /// absolute path. `None` for a path that is no UTF-8.
    fn relative(&self, run_dir: &Path) -> Option<String> {
        let run_dir = run_dir.canonicalize().ok()?;
        let common = self.root.components().zip(run_dir.components()).take_while(|(a, b)| a == b).count();
        if common < 2 {
            return run_dir.to_str().map(str::to_owned);
        }
        let up = self.root.components().skip(common).map(|_| Component::ParentDir);
        let path: PathBuf = up.chain(run_dir.components().skip(common)).collect();
        path.to_str().map(str::to_owned)
    }

    /// A correction with the clusters that show its faces.
    fn said(&self, entry: &Correction) -> Said {
        let mut sides = vec![BTreeSet::new(); entry.edit.sides.len()];
        for (video, of) in self.index.videos.iter().enumerate() {
            for (edit_id, side, cluster_id) in &of.marked {
                if let Some(side) = sides.get_mut(*side).filter(|_| *edit_id == entry.edit_id) {
                    side.insert((video, *cluster_id));
                }
            }
        }
        Said { edit_id: entry.edit_id, op: entry.edit.op, sides }
    }

    /// Pairs of people that are different by corrections, the smaller key first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn apart(&self) -> Result<BTreeSet<(i64, i64)>, Error> {
        let log = Log::open(&self.root)?;
        let said: Vec<Said> = log.active().map(|entry| self.said(entry)).collect();
        Ok(if said.is_empty() { BTreeSet::new() } else { edits::apart(&self.members_of_all()?, &said) })
    }

    /// Clusters about which a correction decided whether they are one person with others, by the index of the video.
    pub(crate) fn settled(&self) -> Result<HashSet<(usize, i64)>, Error> {
        let log = Log::open(&self.root)?;
        let about_people = log.active().filter(|entry| entry.edit.op != EditOp::Name);
        let sides = about_people.flat_map(|entry| self.said(entry).sides);
        // A side of one cluster is the answer to a question about this cluster.
        Ok(sides.filter(|side| side.len() == 1).flatten().collect())
    }

    /// Returns the clusters that show the faces of a side of a correction, by `video_id` and `cluster_id`.
    pub fn clusters_of(&self, edit_id: i64, side: usize) -> Vec<(String, i64)> {
        let of_video = |entry: &Entry| {
            let own = entry.marked.iter().filter(|(id, at, _)| (*id, *at) == (edit_id, side));
            own.map(|(.., cluster_id)| (entry.video_id.clone(), *cluster_id)).collect::<Vec<_>>()
        };
        self.index.videos.iter().flat_map(of_video).collect()
    }

    /// Applies the corrections of the library to the people that matching found. Returns the corrections that are not
    /// applied, with the reasons.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn apply_edits(&mut self) -> Result<Vec<(i64, Refusal)>, Error> {
        let log = Log::open(&self.root)?;
        // A correction that `redact` removed; its key may be given to a later correction.
        let known: BTreeSet<i64> = log.entries().iter().map(|entry| entry.edit_id).collect();
        self.index.made.retain(|edit_id, _| known.contains(edit_id));
        for entry in &mut self.index.videos {
            entry.marked.retain(|(edit_id, ..)| known.contains(edit_id));
        }
        if log.entries().is_empty() {
            return Ok(Vec::new());
        }
        let said: Vec<Said> = log.active().map(|entry| self.said(entry)).collect();
        let tables = edits::copies(&self.members_of_all()?);
        self.adopt(edited(tables, &said, self.index.made.clone(), self.index.next_person_id))
    }

    /// Takes over other people. Returns the corrections that are not applied.
    fn adopt(&mut self, regrouped: Regrouped) -> Result<Vec<(i64, Refusal)>, Error> {
        let Regrouped { tables, made, next_person_id, refused } = regrouped;
        (self.index.made, self.index.next_person_id) = (made, next_person_id);
        let before = self.members_of_all()?;
        let mut has_changed = false;
        for (at, rows) in tables.iter().enumerate().filter(|(at, rows)| rows[..] != before[*at][..]) {
            let mut entry = self.index.videos[at].clone();
            let (run_id, fingerprint) = (entry.run_id.clone(), entry.fingerprint.clone());
            let footer = Footer::of::<Member>(run_id, fingerprint, self.index.embedder.as_slice());
            entry.file = member_file(&entry.video_id, &entry.sha256, rows);
            entry.sha256 = self.write_table(&entry.file, &footer, rows)?;
            self.index.videos[at] = entry;
            has_changed = true;
        }
        if has_changed {
            self.people = self.sum_up()?;
            self.index.vector_files.clear();
        }
        Ok(refused)
    }

    /// Adds a correction to the log of the library. `sides` are groups of faces, each with the clusters that show the
    /// faces: the marks of a cluster, its `video_id` and its `cluster_id`. Returns the key of the correction;
    /// [`Library::commit`] makes it count for the tables.
    ///
    /// # Errors
    /// [`Error::Refused`] when the correction contradicts an earlier one, or would give a person two clusters of one
    /// video; and when files cannot be read or written.
    pub fn correct(&mut self, edit: Edit, clusters: &[Vec<(String, i64)>]) -> Result<i64, Error> {
        let mark = |library: &mut Self, new: &[Correction]| {
            for (side, clusters) in clusters.iter().enumerate() {
                for (video_id, cluster_id) in clusters {
                    let entry = library.index.videos.iter_mut().find(|entry| entry.video_id == *video_id);
                    let marked = entry.into_iter().map(|entry| &mut entry.marked);
                    marked.for_each(|marked| {
                        marked.extend(new.iter().map(|new| (new.edit_id, side, *cluster_id)))
                    });
                }
            }
            Ok(())
        };
        let appended = self.append(vec![edit], mark, |_| false)?;
        Ok(appended.corrections.first().map_or(0, |entry| entry.edit_id))
    }

    /// Adds corrections of a file to the log of the library. Their faces are looked for in the runs that are in their
    /// places, as they were added; faces that are not found may be found when another run is added.
    ///
    /// # Errors
    /// [`Error::Refused`] when a correction contradicts an earlier one; then none is added. And when files cannot be
    /// read or written.
    pub fn import(&mut self, edits: Vec<Edit>) -> Result<Appended, Error> {
        let mark = |library: &mut Self, new: &[Correction]| {
            let tables = library.members_of_all()?;
            let videos: Vec<Video> = library.videos().collect();
            for (at, video) in videos.iter().enumerate() {
                let is_own = |mark: &Mark| mark.video_sha256.as_str().starts_with(&video.video_id);
                let run_dir = video.run_dir.as_deref().filter(|_| {
                    new.iter().flat_map(|new| new.edit.sides.iter().flatten()).any(is_own)
                        && video.is_as_added(&tables[at])
                });
                if let Some(run_dir) = run_dir {
                    library.index.videos[at].marked.extend(marked(run_dir, new)?);
                }
            }
            Ok(())
        };
        self.append(edits, mark, |refusal| !matches!(refusal, Refusal::Earlier { .. }))
    }

    /// Adds corrections to the log; `mark` records the clusters that show their faces. A refused correction must be
    /// `is_tolerated`, otherwise none is added. Returns the new corrections, and those that are not applied.
    fn append(
        &mut self,
        edits: Vec<Edit>,
        mark: impl FnOnce(&mut Self, &[Correction]) -> Result<(), Error>,
        is_tolerated: impl Fn(&Refusal) -> bool,
    ) -> Result<Appended, Error> {
        let mut log = Log::open(&self.root)?;
        let before = self.index.clone();
        let mut new: Vec<Correction> = Vec::new();
        log.append_with(|log| {
            let ids = log.entries().last().map_or(0, |entry| entry.edit_id) + 1..;
            let entry = |(edit_id, edit)| Correction { edit_id, made_at: String::new(), undoes: None, edit };
            new = ids.zip(edits.iter().cloned()).map(entry).collect();
            mark(self, &new)?;
            let said: Vec<Said> = log.active().chain(&new).map(|entry| self.said(entry)).collect();
            let mut tables = edits::copies(&self.members_of_all()?);
            let refused = edits::apply(&mut tables, &said, |edit_id| i64::MAX - edit_id);
            let wrong = refused.iter().find_map(|(edit_id, refusal)| {
                let wrong = new.iter().find(|entry| entry.edit_id == *edit_id);
                wrong.filter(|_| !is_tolerated(refusal)).map(|wrong| (wrong.edit.op, refusal))
            });
            match wrong {
                Some((op, refusal)) => {
                    let (reason, hint) = (self.reason(refusal), self.hint(refusal));
                    Err(Error::Refused { op: op.word(), reason, hint })
                }
                None => Ok(edits),
            }
        })
        .inspect_err(|_| self.index = before)?;
        let mut refused = self.apply_edits()?;
        refused.retain(|(edit_id, _)| new.iter().any(|entry| entry.edit_id == *edit_id));
        Ok(Appended { corrections: new, refused })
    }

    /// Returns the reason of a refusal as a clause.
    pub fn reason(&self, refusal: &Refusal) -> String {
        let run = |video: usize| self.index.videos.get(video).map_or("", |entry| entry.run_id.as_str());
        match refusal {
            Refusal::NoFace => "no run of the gallery shows the faces of the correction".into(),
            Refusal::OneVideo { video, clusters: (a, b) } => {
                let (a, b) = (Identity::numbered(*a), Identity::numbered(*b));
                let run = run(*video);
                format!(
                    "{a} and {b} of `{run}` would be one person; if they are, merge them in that run first"
                )
            }
            Refusal::Earlier { edit_id, op, clusters } => {
                let [a, b] = clusters
                    .map(|(video, cluster)| format!("{} of `{}`", Identity::numbered(cluster), run(video)));
                format!(
                    "it contradicts correction {edit_id} ({}) of the gallery about {a} and {b}",
                    op.word()
                )
            }
        }
    }

    fn hint(&self, refusal: &Refusal) -> String {
        match refusal {
            Refusal::NoFace => "add the runs to the gallery again".into(),
            Refusal::OneVideo { video, clusters: (a, b) } => {
                let run = self.videos().nth(*video).and_then(|video| video.run_dir).unwrap_or_default();
                let (a, b) = (Identity::number(*a), Identity::number(*b));
                format!("`facetrack edits add merge {} {a} {b}` merges them in the run", run.display())
            }
            Refusal::Earlier { edit_id, .. } => {
                format!(
                    "`facetrack edits undo {} {edit_id}` undoes the earlier correction",
                    self.root.display()
                )
            }
        }
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

    /// Rows of a run, with new ids for the people without a match. People with the vector of a row of `before` are its
    /// person.
    fn members(&mut self, seen: &RunIdentities, before: &[Member]) -> Vec<Member> {
        let kept = |person: &RunIdentity| {
            let is_same = |row: &&Member| row.n_tracks == person.n_tracks && row.embedding == person.vector;
            let RunIdentity { cluster_id, screen_secs, .. } = *person;
            let (name, named_at) = (person.name.clone(), person.named_at.clone());
            let (series_id, series_uid) = (person.series_id.clone(), person.series_uid.clone());
            before.iter().find(is_same).map(|row| Member {
                cluster_id,
                screen_secs,
                name,
                named_at,
                series_id,
                series_uid,
                ..row.clone()
            })
        };
        let mut rows: Vec<Option<Member>> = seen.people.iter().map(kept).collect();
        let taken: HashSet<i64> =
            rows.iter().flatten().map(|row| row.linked_person_id.unwrap_or(row.person_id)).collect();
        let ids: Vec<_> = self.people.rows.keys().copied().filter(|id| !taken.contains(id)).collect();
        let known: Vec<_> = ids.iter().map(|id| self.people.vectors[id].as_slice()).collect();
        let others: Vec<usize> = (0..rows.len()).filter(|at| rows[*at].is_none()).collect();
        let vectors: Vec<_> = others.iter().map(|at| seen.people[*at].vector.as_slice()).collect();
        let found = matching::find(&Scale::of(&seen.embedder), &known, &vectors);
        let mut new = self.index.next_person_id..;
        for (at, found) in others.into_iter().zip(&found) {
            let person_id = found.known.map(|(at, _)| ids[at]).or_else(|| new.next());
            rows[at] = person_id.map(|id| member(seen, &seen.people[at], id, found, &ids));
        }
        self.index.next_person_id = new.start;
        rows.into_iter().flatten().collect()
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
        let stored = People { rows, vectors: vectors.unwrap_or_default(), ..People::default() };
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
    fn read(&self, entry: &Entry) -> Result<Table, Error> {
        if let Some(rows) = self.tables.borrow().get(&entry.sha256) {
            return Ok(rows.clone());
        }
        let path = self.root.join(&entry.file);
        if files::sha256(&path)? != entry.sha256 {
            return Err(
                run::Error::Changed { path, reason: "the content differs from its SHA-256".into() }.into()
            );
        }
        let rows: Table = io::read_all(&path)?.into();
        self.tables.borrow_mut().insert(entry.sha256.clone(), rows.clone());
        Ok(rows)
    }

    /// Removes what an interrupted addition left, and files that others took the place of.
    pub(crate) fn sweep(&self) -> Result<(), Error> {
        sweep(&self.root, &self.index)
    }
}

/// Removes what an interrupted addition to the library at `root` left, and files that others took the place of.
pub(crate) fn sweep(root: &Path, index: &Index) -> Result<(), Error> {
    let own =
        [Person::TABLE.file_name(), INDEX.to_owned(), VECTORS_1.to_owned(), crate::page::PAGE.to_owned()];
    files::remove_temporaries(root, &own)?;
    let videos = index.videos.iter().map(|entry| entry.file.as_str());
    let vectors = index.vector_files.iter().map(|entry| entry.file.as_str());
    // A build that was killed continues with the files that it has written.
    let building = Progress::new(root, Saving::default()).members();
    let named: HashSet<_> = videos.chain(vectors).chain(building.keys().map(String::as_str)).collect();
    for name in [Member::TABLE.name, PersonVector::TABLE.name, MEMBERS_2] {
        let folder = root.join(name);
        if !folder.is_dir() {
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
    let _ = fs::remove_dir(root.join(MEMBERS_2));
    Ok(())
}

/// Fails unless the library at `root`, which need not exist, has the key of this process.
pub(crate) fn check_key(root: &Path) -> Result<(), Error> {
    let index = Index::read(&root.join(INDEX))?;
    run::encryption::check(root, index.encryption.as_ref()).map_err(Error::Run)
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

    /// Writes the index of the library at `root`.
    pub(crate) fn write(&self, root: &Path) -> Result<(), Error> {
        let path = root.join(INDEX);
        let json = serde_json::to_string(self)
            .map_err(|e| Error::Index { path: path.clone(), reason: e.to_string() })?;
        Ok(replace(&path, json.as_bytes())?)
    }

    /// Reads the index at `path`; an empty one, with the key of this process, where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        /// The one field that every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let json = match fs::read(path) {
            Ok(json) => json,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { format: FORMAT, encryption: Encryption::of_process(), ..Self::default() });
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
        if let Some(day) = index.expires.as_ref().filter(|day| !run::date::is_date(day)) {
            return Err(wrong(format!("its day of expiry is {day:?}, not a date such as 2027-01-31")));
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
    decided(member_of(run, person), person_id, found, ids)
}

/// The row of a person of a run before matching.
pub(crate) fn member_of(run: &RunIdentities, person: &RunIdentity) -> Member {
    Member {
        video_id: run.video_id.clone(),
        cluster_id: person.cluster_id,
        person_id: 0,
        similarity: None,
        threshold: None,
        runner_up_person_id: None,
        margin: None,
        n_tracks: person.n_tracks,
        screen_secs: person.screen_secs,
        embedding: person.vector.clone(),
        name: person.name.clone(),
        linked_person_id: None,
        named_at: person.named_at.clone(),
        series_id: person.series_id.clone(),
        series_uid: person.series_uid.clone(),
    }
}

/// A row with the person that matching found; `ids` are those of the people who the match is among.
fn decided(row: Member, person_id: i64, found: &Match, ids: &[i64]) -> Member {
    Member {
        person_id,
        similarity: found.known.map(|(_, similarity)| similarity),
        threshold: found.threshold,
        runner_up_person_id: found.runner_up.map(|(at, _)| ids[at]),
        margin: found.margin(),
        linked_person_id: Some(person_id),
        ..row
    }
}

/// The people that corrections make of those that matching found.
fn edited(
    mut tables: Vec<Vec<Member>>,
    said: &[Said],
    mut made: BTreeMap<i64, i64>,
    mut next_person_id: i64,
) -> Regrouped {
    let refused = edits::apply(&mut tables, said, |edit_id| {
        *made.entry(edit_id).or_insert_with(|| {
            next_person_id += 1;
            next_person_id - 1
        })
    });
    Regrouped { tables, made, next_person_id, refused }
}

/// Ids of clusters, by their labels: the id with most `votes`, each id once; new ids for the others, in the order of
/// the labels.
fn assign(votes: HashMap<(usize, i64), i64>, labels: &[usize], next: &mut i64) -> Vec<i64> {
    let mut ids = vec![None; labels.iter().max().map_or(0, |last| last + 1)];
    for (id, label) in one_to_one(votes.into_iter().map(|((label, id), tracks)| ((id, label), tracks))) {
        ids[label] = Some(id);
    }
    let mut new = *next..;
    let ids = ids.into_iter().filter_map(|id| id.or_else(|| new.next())).collect();
    *next = new.start;
    ids
}

/// Clusters of a run that show the faces of corrections: key of the correction, index of the side, key of the cluster.
fn marked(run_dir: &Path, entries: &[Correction]) -> Result<Vec<(i64, usize, i64)>, Error> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let run = RunReader::open(run_dir).map_err(Error::Run)?;
    let sha256 = run.video_file().map_err(Error::Run)?.sha256.clone();
    let is_own = |mark: &Mark| mark.video_sha256.as_str() == sha256;
    if !entries.iter().flat_map(|entry| entry.edit.sides.iter().flatten()).any(is_own) {
        return Ok(Vec::new());
    }
    let faces = Faces::read(&run).map_err(Error::Run)?;
    let clusters = run.read::<Cluster>().map_err(Error::Run)?;
    let clusters: HashMap<i64, i64> =
        clusters.iter().filter_map(|row| Some((row.track_id, row.cluster_id?))).collect();
    let mut marked = Vec::new();
    for entry in entries {
        for (side, marks) in entry.edit.sides.iter().enumerate() {
            let mut votes: BTreeMap<i64, usize> = BTreeMap::new();
            for track in marks.iter().filter(|mark| is_own(mark)).flat_map(|mark| faces.find(mark)) {
                clusters.get(&track).into_iter().for_each(|id| *votes.entry(*id).or_default() += 1);
            }
            let most = votes.into_iter().max_by_key(|(id, votes)| (*votes, -id));
            marked.extend(most.map(|(cluster_id, _)| (entry.edit_id, side, cluster_id)));
        }
    }
    Ok(marked)
}

/// Path of a table of members below the library. A file that counts is never changed, so another decision has another
/// name.
fn member_file(video_id: &str, source: &str, rows: &[Member]) -> String {
    let decision = |row: &Member| {
        json!([row.person_id, row.linked_person_id, row.similarity, row.threshold, row.margin])
    };
    let decisions: Vec<_> = rows.iter().map(decision).collect();
    let key = hash::bytes(json!([source, decisions]).to_string().as_bytes());
    let key = key.get(..KEY_DIGITS).unwrap_or_default();
    format!("{}/{video_id}.{key}.parquet", Member::TABLE.name)
}

/// Whether the people of a run are those of its rows, apart from names and from the series.
pub(crate) fn are_same_people(rows: &[Member], seen: &RunIdentities) -> bool {
    let is_same = |(row, person): (&Member, &RunIdentity)| {
        (row.cluster_id, row.n_tracks, row.screen_secs)
            == (person.cluster_id, person.n_tracks, person.screen_secs)
            && row.embedding == person.vector
    };
    rows.len() == seen.people.len() && rows.iter().zip(&seen.people).all(is_same)
}

/// The rows of a run with the present names of its people, and their keys in the series.
fn renamed(rows: &[Member], seen: &RunIdentities) -> Vec<Member> {
    let rename = |(row, person): (&Member, &RunIdentity)| Member {
        name: person.name.clone(),
        named_at: person.named_at.clone(),
        series_id: person.series_id.clone(),
        series_uid: person.series_uid.clone(),
        ..row.clone()
    };
    rows.iter().zip(&seen.people).map(rename).collect()
}

/// A path without `..` after a folder.
pub(crate) fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        if part != Component::ParentDir || !tidied.pop() {
            tidied.push(part);
        }
    }
    tidied
}

/// Whether a path is named like a file of the library, or like its temporary: `members/<hex>.<hex>.parquet`,
/// the same in the folder of formats 1 and 2, or `person_vectors/<hex>.parquet`.
pub(crate) fn is_ours(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((stem, rest)) = name.split_once(".parquet") else { return false };
    if !rest.is_empty() && !is_temporary(rest, "") {
        return false;
    }
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
