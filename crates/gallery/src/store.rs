//! The directory of a library.
//!
//! ```text
//! library/
//!   library.json                          which videos, in the order in which they were added: written last
//!   people.parquet                        one row per person, made anew by every addition
//!   vectors.bin                           one vector per person; grows at its end
//!   appearances/<video_id>.<key>.parquet  one file per video, never changed
//!   .lock
//! ```
//!
//! What `library.json` names counts. Files of `appearances` that it does not name are what an interrupted
//! addition left, and go; so are vectors behind those that it counts. `people` and `vectors` follow from
//! `appearances`, so both are made again where one of them is not what `library.json` says.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use schema::cell::MAX_WHOLE;
use schema::footer::{Embedder, Footer, MAX_DIM};
use schema::io::{self, PRODUCER, TableWriter};
use schema::run::{lock, publish, remove, replace, temporary};
use schema::tables::{Appearance, Person};
use schema::{Row, hash};
use serde::{Deserialize, Serialize};

use crate::matching::{self, Match, Scale};
use crate::people::People;
use crate::vectors::{self, Vectors};
use crate::{Error, Seen};

/// Name of the index.
const INDEX: &str = "library.json";
/// Name of the file of vectors.
const VECTORS: &str = "vectors.bin";
/// Version of its format.
const FORMAT: u32 = 1;
/// Digits of a fingerprint in the name of a file.
const KEY_DIGITS: usize = 8;

/// What `library.json` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Index {
    format: u32,
    next_person_id: i64,
    /// What made the vectors; of the first video.
    embedder: Option<Embedder>,
    people_sha256: String,
    vectors: VectorFile,
    videos: Vec<Entry>,
}

/// What counts of `vectors.bin`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct VectorFile {
    n_records: usize,
    /// Of these records; it can be carried on where the file grows, which a SHA-256 cannot.
    crc32: u32,
}

/// A video of the library.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    video_id: String,
    /// Name of its run.
    run_id: String,
    /// Hash of what was read of the run.
    fingerprint: String,
    /// Its table, below the library.
    file: String,
    sha256: String,
}

/// An open, locked library. Nothing counts before [`Library::commit`].
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    index: Index,
    people: People,
    _lock: File,
}

/// What adding a run came to.
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
    fn of(rows: &[Appearance], up_to_date: bool) -> Self {
        let known = rows.iter().filter(|row| row.similarity.is_some()).count();
        Self { known, new: rows.len() - known, up_to_date }
    }
}

impl Library {
    /// Opens the library at `root`, making an empty one where there is none.
    ///
    /// # Errors
    /// When it is in use, cannot be written, or is of another version.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let folder = root.join(Appearance::TABLE.name);
        fs::create_dir_all(&folder).map_err(schema::Error::io("create", &folder))?;
        let lock = lock(root)?;
        let root = root.canonicalize().map_err(schema::Error::io("read", root))?;
        let index = Index::read(&root.join(INDEX))?;
        let mut library = Self { root, index, people: People::default(), _lock: lock };
        library.sweep()?;
        library.people = library.stored_people()?;
        Ok(library)
    }

    /// The directory, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The table of people.
    pub fn people_file(&self) -> PathBuf {
        self.root.join(Person::TABLE.file_name())
    }

    /// Everybody.
    pub fn people(&self) -> impl Iterator<Item = &Person> {
        self.people.rows.values()
    }

    /// Number of videos.
    pub fn n_videos(&self) -> usize {
        self.index.videos.len()
    }

    /// Finds the people of a run among those known; whoever is not gets an id. A video that was here before
    /// is replaced: its people are found by what is known of them, so they keep their ids.
    ///
    /// # Errors
    /// When the run's vectors cannot be compared with the library's, and when files cannot be used.
    pub fn add(&mut self, seen: &Seen) -> Result<Added, Error> {
        if let Some(rows) = self.unchanged(seen) {
            return Ok(Added::of(&rows, true));
        }
        self.check_embedder(seen)?;
        if self.n_videos() == 0 {
            self.people = People::new(seen.embedder.dim);
        }
        let rows = self.appearances(seen);
        let entry = self.write_appearances(seen, &rows)?;
        self.index.embedder = Some(seen.embedder.clone());
        match self.index.videos.iter_mut().find(|other| other.video_id == entry.video_id) {
            Some(old) => {
                *old = entry;
                self.people = self.sum_up()?;
            }
            None => {
                self.index.videos.push(entry);
                self.people.add(&rows);
            }
        }
        Ok(Added::of(&rows, false))
    }

    /// Forgets a video. Whoever was in no other goes, and their ids stay unused.
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
        Ok(())
    }

    /// Makes everything since the last commit count, all of it or nothing.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn commit(&mut self) -> Result<(), Error> {
        let path = self.people_file();
        let fingerprints: Vec<_> = self.index.videos.iter().map(|entry| &entry.fingerprint).collect();
        let fingerprint = hash::bytes(serde_json::json!(fingerprints).to_string().as_bytes());
        let run_id = self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let footer = self.footer::<Person>(run_id, fingerprint);
        self.index.vectors = self.write_vectors()?;
        self.index.people_sha256 = write(&path, &footer, self.people.rows.values().cloned())?;
        let index = self.root.join(INDEX);
        let json = serde_json::to_string(&self.index)
            .map_err(|e| Error::Index { path: index.clone(), reason: e.to_string() })?;
        replace(&index, json.as_bytes())?;
        self.sweep()
    }

    /// The appearances of a run that has been added as it is, if their file is whole.
    fn unchanged(&self, seen: &Seen) -> Option<Vec<Appearance>> {
        let same = |entry: &&Entry| {
            entry.video_id == seen.video_id.as_str() && entry.fingerprint == seen.fingerprint
        };
        self.index.videos.iter().find(same).and_then(|entry| self.read(entry).ok())
    }

    fn check_embedder(&self, seen: &Seen) -> Result<(), Error> {
        let Some(ours) = self.index.embedder.as_ref().filter(|_| self.n_videos() > 0) else { return Ok(()) };
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

    /// Rows of a run, with new ids for those who are new.
    fn appearances(&mut self, seen: &Seen) -> Vec<Appearance> {
        let ids: Vec<_> = self.people.rows.keys().copied().collect();
        let known: Vec<_> = ids.iter().filter_map(|id| self.people.vectors.get(*id)).collect();
        let vectors: Vec<_> = seen.people.iter().map(|person| person.vector.as_slice()).collect();
        let found = matching::find(&Scale::of(&seen.embedder), &known, &vectors);
        let mut next = self.index.next_person_id;
        let mut new_id = || {
            next += 1;
            next - 1
        };
        let row = |(person, found): (&crate::seen::SeenPerson, &Match)| Appearance {
            video_id: seen.video_id.clone(),
            cluster_id: person.cluster_id,
            person_id: found.known.map_or_else(&mut new_id, |(at, _)| ids[at]),
            similarity: found.known.map(|(_, similarity)| similarity),
            threshold: found.threshold,
            runner_up_person_id: found.runner_up.map(|(at, _)| ids[at]),
            margin: found.margin(),
            n_tracks: person.n_tracks,
            screen_secs: person.screen_secs,
            embedding: person.vector.clone(),
        };
        let rows = seen.people.iter().zip(&found).map(row).collect();
        self.index.next_person_id = next;
        rows
    }

    fn write_appearances(&self, seen: &Seen, rows: &[Appearance]) -> Result<Entry, Error> {
        let key = seen.fingerprint.get(..KEY_DIGITS).unwrap_or_default();
        let file = format!("{}/{}.{key}.parquet", Appearance::TABLE.name, seen.video_id);
        let footer = Footer {
            embedders: vec![seen.embedder.clone()],
            ..self.footer::<Appearance>(seen.run_id.clone(), seen.fingerprint.clone())
        };
        let sha256 = write(&self.root.join(&file), &footer, rows.iter().cloned())?;
        Ok(Entry {
            video_id: seen.video_id.to_string(),
            run_id: seen.run_id.clone(),
            fingerprint: seen.fingerprint.clone(),
            file,
            sha256,
        })
    }

    fn footer<R: Row>(&self, run_id: String, fingerprint: String) -> Footer {
        Footer {
            table: R::TABLE.name.to_owned(),
            version: R::TABLE.version.to_owned(),
            producer: PRODUCER.to_owned(),
            run_id,
            fingerprint,
            embedders: self.index.embedder.iter().cloned().collect(),
        }
    }

    /// Everybody as they were written, or made again where the files are not these any more.
    fn stored_people(&self) -> Result<People, Error> {
        let path = self.people_file();
        if self.index.videos.is_empty() {
            return Ok(People::default());
        }
        let is_whole = hash::file(&path).ok().as_deref() == Some(&self.index.people_sha256);
        let Some(vectors) = self.stored_vectors().filter(|_| is_whole) else { return self.sum_up() };
        let rows: Vec<Person> = io::read_all(&path)?;
        Ok(People { rows: rows.into_iter().map(|person| (person.person_id, person)).collect(), vectors })
    }

    fn stored_vectors(&self) -> Option<Vectors> {
        let VectorFile { n_records, crc32 } = self.index.vectors;
        let file = File::open(self.root.join(VECTORS)).ok()?;
        let (vectors, found) = Vectors::read(self.index.dim(), n_records, file).ok()?;
        (found == crc32).then_some(vectors)
    }

    /// Brings to disk what is new; gives what counts from then on.
    fn write_vectors(&mut self) -> Result<VectorFile, Error> {
        let path = self.root.join(VECTORS);
        let (kept, bytes) = self.people.vectors.unwritten();
        let crc32 = if kept == 0 { 0 } else { self.index.vectors.crc32 };
        let mut crc32 = crc32fast::Hasher::new_with_initial(crc32);
        crc32.update(bytes);
        if kept == 0 {
            replace(&path, bytes)?;
        } else if !bytes.is_empty() {
            append(&path, (kept * vectors::size(self.index.dim())) as u64, bytes)
                .map_err(schema::Error::io("write", &path))?;
        }
        self.people.vectors.set_written();
        Ok(VectorFile { n_records: self.people.vectors.n_records(), crc32: crc32.finalize() })
    }

    /// Everybody, from the appearances of all videos.
    fn sum_up(&self) -> Result<People, Error> {
        let mut people = People::new(self.index.dim());
        for entry in &self.index.videos {
            people.add(&self.read(entry)?);
        }
        Ok(people)
    }

    /// The appearances of a video.
    fn read(&self, entry: &Entry) -> Result<Vec<Appearance>, Error> {
        let path = self.root.join(&entry.file);
        if hash::file(&path)? != entry.sha256 {
            return Err(schema::Error::Changed { path, reason: "its content differs".into() }.into());
        }
        Ok(io::read_all(&path)?)
    }

    /// Removes what an interrupted addition left, and files that others took the place of.
    fn sweep(&self) -> Result<(), Error> {
        for name in [Person::TABLE.file_name(), INDEX.to_owned(), VECTORS.to_owned()] {
            remove(&temporary(&self.root.join(name)))?;
        }
        let named: HashSet<_> = self.index.videos.iter().map(|entry| entry.file.as_str()).collect();
        let folder = self.root.join(Appearance::TABLE.name);
        for entry in fs::read_dir(&folder).map_err(schema::Error::io("read", &folder))?.flatten() {
            let path = entry.path();
            let file = format!("{}/{}", Appearance::TABLE.name, entry.file_name().display());
            if is_ours(&path) && !named.contains(file.as_str()) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Index {
    /// Numbers in a vector.
    fn dim(&self) -> usize {
        self.embedder.as_ref().map_or(0, |embedder| embedder.dim)
    }

    /// What stands at `path`; an empty one where there is nothing.
    fn read(path: &Path) -> Result<Self, Error> {
        /// The one field that every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let json = match fs::read(path) {
            Ok(json) => json,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    format: FORMAT,
                    next_person_id: 0,
                    embedder: None,
                    people_sha256: String::new(),
                    vectors: VectorFile::default(),
                    videos: Vec::new(),
                });
            }
            Err(e) => return Err(schema::Error::io("read", path)(e).into()),
        };
        let wrong = |reason: String| Error::Index { path: path.to_path_buf(), reason };
        let Format { format } = serde_json::from_slice(&json).map_err(|e| wrong(e.to_string()))?;
        if format != FORMAT {
            return Err(wrong(format!("it has format {format}, not {FORMAT}")));
        }
        let index: Self = serde_json::from_slice(&json).map_err(|e| wrong(e.to_string()))?;
        if !index.videos.is_empty() && !(1..=MAX_DIM).contains(&index.dim()) {
            return Err(wrong(format!("its vectors have {} components", index.dim())));
        }
        if !(0..=MAX_WHOLE).contains(&index.next_person_id) {
            return Err(wrong(format!("its next person is {}", index.next_person_id)));
        }
        // Files that are named get removed some day; a foreign index must not name others.
        match index.videos.iter().find(|entry| !is_ours(Path::new(&entry.file))) {
            Some(entry) => Err(wrong(format!("it names {:?}", entry.file))),
            None => Ok(index),
        }
    }
}

/// Whether a path is named like a file of `appearances`, finished or not: `<hex>.<hex>.parquet[.tmp]`.
fn is_ours(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(".tmp").unwrap_or(name).strip_suffix(".parquet");
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts = stem.and_then(|stem| stem.split_once('.'));
    folder == Some(Appearance::TABLE.name) && parts.is_some_and(|(video, key)| is_hex(video) && is_hex(key))
}

/// Writes from a place on, where a file ends or what is left of an interrupted addition begins.
fn append(path: &Path, from: u64, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.set_len(from)?;
    file.seek(SeekFrom::Start(from))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Writes a whole table, or nothing; gives its hash.
fn write<R: Row + Clone>(
    path: &Path,
    footer: &Footer,
    rows: impl Iterator<Item = R>,
) -> Result<String, Error> {
    let mut writer = TableWriter::<R>::create(&temporary(path), footer)?;
    for row in rows {
        writer.push(row)?;
    }
    writer.finish()?;
    let sha256 = hash::file(&temporary(path))?;
    publish(path)?;
    Ok(sha256)
}
