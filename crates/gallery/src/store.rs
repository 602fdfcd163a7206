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

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Component, Path, PathBuf};

use numeric::vector::dot_in_lanes as dot;
use run::edits::{Edit, EditOp, Entry as Correction, Faces, Log, Mark};
use run::files::{self, lock, publish, remove, replace, temporary};
use run::{RunReader, plain_json};
use schema::cell::MAX_WHOLE;
use schema::footer::{Embedder, Footer, MAX_DIM};
use schema::io;
use schema::tables::{Cluster, Identity, Member, Person, PersonVector};
use schema::{Row, UnitVector};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::edits::{self, Refusal, Said};
use crate::identities::RunIdentity;
use crate::linking::{self, Item};
use crate::matching::{self, Match, Scale};
use crate::people::People;
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
    /// The run directory: a path below the library's folder, or an absolute one. `None` in indexes that earlier
    /// versions wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_dir: Option<String>,
    /// Clusters that show the faces of corrections: key of the correction, index of the side, key of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    marked: Vec<(i64, usize, i64)>,
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

/// An open, locked library. Nothing counts before [`Library::commit`].
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    index: Index,
    people: People,
    is_upgraded: bool,
    has_moved: bool,
    _lock: Option<File>,
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
        let mut library =
            Self { root, index, people: People::default(), is_upgraded, has_moved: false, _lock: Some(lock) };
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
    /// When a file cannot be read.
    pub fn view(root: &Path) -> Result<Self, Error> {
        let root = root.canonicalize().map_err(run::Error::io("read", root))?;
        let index = Index::read(&root.join(INDEX))?;
        let people = People::default();
        let mut library = Self { root, index, people, is_upgraded: false, has_moved: false, _lock: None };
        library.read_people()?;
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
    pub fn members_of_all(&self) -> Result<Vec<Vec<Member>>, Error> {
        self.index.videos.iter().map(|entry| self.read(entry)).collect()
    }

    /// Whether the run of a video was found in another place than before, which a commit stores.
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
        let video_id = seen.video_id.as_str();
        let old = self.index.videos.iter().position(|entry| entry.video_id == video_id);
        // A run that has been added as it is, if its file is whole.
        let unchanged = old.map(|at| &self.index.videos[at]);
        let unchanged = unchanged.filter(|entry| entry.fingerprint == seen.fingerprint);
        if let Some(rows) = unchanged.and_then(|entry| self.read(entry).ok()) {
            let run_dir = self.relative(&seen.run_dir);
            let entry = old.map(|at| &mut self.index.videos[at]).filter(|entry| entry.run_dir != run_dir);
            if let Some(entry) = entry {
                entry.run_dir = run_dir;
                self.has_moved = true;
            }
            return Ok(Added::of(&rows, true));
        }
        if self.n_videos() > 0 {
            self.check_embedder(seen)?;
        }
        let before = old.and_then(|at| self.read(&self.index.videos[at]).ok());
        let rows = match before.filter(|before| are_same_people(before, seen)) {
            // A new name is no reason to match again.
            Some(before) => renamed(before, seen),
            None => self.members(seen),
        };
        let entry = self.write_members(seen, &rows, &self.index)?;
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
        self.apply_edits()?;
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
                    let id = row.linked_person_id.unwrap_or(row.person_id);
                    *votes.entry((labels[place], id)).or_default() += person.n_tracks.max(1);
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
        let decision = |row: &Member| {
            json!([row.person_id, row.linked_person_id, row.similarity, row.threshold, row.margin])
        };
        let decisions: Vec<_> = rows.iter().map(decision).collect();
        let key = hash::bytes(json!([seen.fingerprint, decisions]).to_string().as_bytes());
        let key = key.get(..KEY_DIGITS).unwrap_or_default();
        let file = format!("{}/{video_id}.{key}.parquet", Member::TABLE.name);
        if let Some(entry) = old.videos.iter().find(|entry| entry.file == file)
            && self.read(entry).is_ok()
        {
            return Ok(Entry { run_dir: self.relative(&seen.run_dir), ..entry.clone() });
        }
        let (run_id, fingerprint) = (seen.run_id.clone(), seen.fingerprint.clone());
        let footer = Footer::of::<Member>(run_id, fingerprint, std::slice::from_ref(&seen.embedder));
        Ok(Entry {
            run_dir: self.relative(&seen.run_dir),
            marked: self.marked(&seen.run_dir)?,
            video_id: video_id.to_owned(),
            run_id: seen.run_id.clone(),
            fingerprint: seen.fingerprint.clone(),
            sha256: write(&self.root.join(&file), &footer, rows.iter().cloned())?,
            file,
        })
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

    /// Clusters of a run that show the faces of corrections.
    fn marked(&self, run_dir: &Path) -> Result<Vec<(i64, usize, i64)>, Error> {
        let log = Log::open(&self.root)?;
        if log.entries().is_empty() {
            return Ok(Vec::new());
        }
        let run = RunReader::open(run_dir).map_err(Error::Run)?;
        let sha256 = run.video_file().map_err(Error::Run)?.sha256.clone();
        let is_own = |mark: &Mark| mark.video_sha256.as_str() == sha256;
        if !log.entries().iter().flat_map(|entry| entry.edit.sides.iter().flatten()).any(is_own) {
            return Ok(Vec::new());
        }
        let faces = Faces::read(&run).map_err(Error::Run)?;
        let clusters = run.read::<Cluster>().map_err(Error::Run)?;
        let clusters: HashMap<i64, i64> =
            clusters.iter().filter_map(|row| Some((row.track_id, row.cluster_id?))).collect();
        let mut marked = Vec::new();
        for entry in log.entries() {
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
        if log.entries().is_empty() {
            return Ok(Vec::new());
        }
        let said: Vec<Said> = log.active().map(|entry| self.said(entry)).collect();
        let before = self.members_of_all()?;
        let mut tables = before.clone();
        let (mut made, mut next) = (self.index.made.clone(), self.index.next_person_id);
        let refused = edits::apply(&mut tables, &said, |edit_id| {
            *made.entry(edit_id).or_insert_with(|| {
                next += 1;
                next - 1
            })
        });
        (self.index.made, self.index.next_person_id) = (made, next);
        let old = self.index.clone();
        let mut has_changed = false;
        for (at, rows) in tables.iter().enumerate().filter(|(at, rows)| **rows != before[*at]) {
            let mut entry = old.videos[at].clone();
            let decisions: Vec<_> = rows.iter().map(|row| (row.person_id, row.linked_person_id)).collect();
            let key = hash::bytes(json!([entry.fingerprint, entry.sha256, decisions]).to_string().as_bytes());
            let key = key.get(..KEY_DIGITS).unwrap_or_default();
            let (run_id, fingerprint) = (entry.run_id.clone(), entry.fingerprint.clone());
            let footer = Footer::of::<Member>(run_id, fingerprint, self.index.embedder.as_slice());
            entry.file = format!("{}/{}.{key}.parquet", Member::TABLE.name, entry.video_id);
            entry.sha256 = write(&self.root.join(&entry.file), &footer, rows.iter().cloned())?;
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
        let mut log = Log::open(&self.root)?;
        let before = self.index.clone();
        let mut added = 0;
        log.append_with(|log| {
            let edit_id = log.entries().last().map_or(0, |entry| entry.edit_id) + 1;
            for (side, clusters) in clusters.iter().enumerate() {
                for (video_id, cluster_id) in clusters {
                    let entry = self.index.videos.iter_mut().find(|entry| entry.video_id == *video_id);
                    entry.into_iter().for_each(|entry| entry.marked.push((edit_id, side, *cluster_id)));
                }
            }
            let new = Correction { edit_id, made_at: String::new(), undoes: None, edit: edit.clone() };
            let said: Vec<Said> = log.active().chain([&new]).map(|entry| self.said(entry)).collect();
            let refused = edits::apply(&mut self.members_of_all()?, &said, |edit_id| i64::MAX - edit_id);
            match refused.into_iter().find(|(refused, _)| *refused == edit_id) {
                Some((_, refusal)) => Err(Error::Refused { reason: self.reason(&refusal) }),
                None => {
                    added = edit_id;
                    Ok(vec![edit])
                }
            }
        })
        .inspect_err(|_| self.index = before)?;
        self.apply_edits()?;
        Ok(added)
    }

    /// Returns the reason of a refusal as a clause.
    pub fn reason(&self, refusal: &Refusal) -> String {
        match refusal {
            Refusal::NoFace => "no video of the library shows the faces of the correction".into(),
            Refusal::OneVideo { video, clusters: (a, b) } => {
                let run = self.index.videos.get(*video).map_or("", |entry| entry.run_id.as_str());
                let (a, b) = (Identity::numbered(*a), Identity::numbered(*b));
                format!(
                    "{a} and {b} of `{run}` would be one person; if they are, merge them in that run first"
                )
            }
            Refusal::Earlier { edit_id } => format!("it contradicts correction {edit_id} of the library"),
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
        linked_person_id: Some(person_id),
        named_at: person.named_at.clone(),
    }
}

/// Whether the people of a run are those of its rows, apart from names.
pub(crate) fn are_same_people(rows: &[Member], seen: &RunIdentities) -> bool {
    let is_same = |(row, person): (&Member, &RunIdentity)| {
        (row.cluster_id, row.n_tracks, row.screen_secs)
            == (person.cluster_id, person.n_tracks, person.screen_secs)
            && row.embedding == person.vector
    };
    rows.len() == seen.people.len() && rows.iter().zip(&seen.people).all(is_same)
}

/// The rows of a run with the present names of its people.
fn renamed(rows: Vec<Member>, seen: &RunIdentities) -> Vec<Member> {
    let rename = |(row, person): (Member, &RunIdentity)| Member {
        name: person.name.clone(),
        named_at: person.named_at.clone(),
        ..row
    };
    rows.into_iter().zip(&seen.people).map(rename).collect()
}

/// A path without `..` after a folder.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        if part != Component::ParentDir || !tidied.pop() {
            tidied.push(part);
        }
    }
    tidied
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
