//! The review page of a gallery: the people of several videos, and the runs of these videos, each with its own page
//! under `/run/<video_id>/`. A run is read when its page is opened first.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use gallery::{INDEX, Library};
use geometry::main_cast;
use run::RunReader;
use run::edits::Log;
use schema::tables::{Appearance, Identity, Member};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Error;
use crate::server::RunApp;

/// Most appearances of a person in a video that the page lists.
const MOST_TIMES: usize = 12;

/// An act of the user on the page of a gallery.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Names a person in all videos; an empty name takes the name away.
    Name {
        /// Key of the person.
        person: i64,
        /// The name.
        name: String,
    },
    /// Merges two people, or confirms that the person of a video is the person of the gallery.
    Same {
        /// People, as text: the key of a person, or `VIDEO_ID:N` for person N of a video.
        people: Vec<String>,
    },
    /// Says that two people are different; takes the person of a video out of a person.
    Different {
        /// People, as for [`Act::Same`].
        people: Vec<String>,
    },
    /// Undoes the last correction of the gallery.
    Undo,
    /// Redoes the correction that was undone last.
    Redo,
}

/// Function that performs an act and returns a sentence about the result, or the reason of a refusal.
pub type Correct = dyn Fn(&Act) -> Result<String, String> + Send + Sync;

/// A gallery and its runs.
pub(crate) struct Gallery {
    root: PathBuf,
    author: String,
    is_read_only: bool,
    correct: Box<Correct>,
    runs: Mutex<HashMap<String, Arc<RunApp>>>,
    shown: Mutex<Shown>,
}

/// What the page shows, as of a state of the index.
#[derive(Default)]
struct Shown {
    changed: Option<SystemTime>,
    version: u64,
    state: Value,
    runs: HashMap<String, PathBuf>,
    videos: HashMap<String, Seen>,
}

/// Faces and times of the people of a run.
#[derive(Default)]
struct Seen {
    /// Hashes of the tables that were read.
    key: String,
    faces: HashMap<i64, Vec<u8>>,
    times: HashMap<i64, Vec<(f64, f64)>>,
}

impl fmt::Debug for Gallery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gallery").field("root", &self.root).finish_non_exhaustive()
    }
}

impl Gallery {
    /// Reads the people of a gallery.
    ///
    /// # Errors
    /// When the gallery cannot be read.
    pub(crate) fn open(
        root: &Path,
        author: String,
        is_read_only: bool,
        correct: Box<Correct>,
    ) -> Result<Self, Error> {
        let gallery = Self {
            root: root.to_path_buf(),
            author,
            is_read_only,
            correct,
            runs: Mutex::default(),
            shown: Mutex::default(),
        };
        let mut shown = Shown::default();
        gallery.refresh(&mut shown)?;
        Ok(Self { shown: Mutex::new(shown), ..gallery })
    }

    /// Returns the run of a video; `None` for a video that is not in the gallery, and for a run that cannot be read.
    pub(crate) fn run(&self, video_id: &str) -> Option<Arc<RunApp>> {
        let root = self.shown.lock().ok()?.runs.get(video_id)?.clone();
        let mut runs = self.runs.lock().ok()?;
        if let Some(run) = runs.get(video_id) {
            return Some(run.clone());
        }
        let run = Arc::new(RunApp::open(&root, None, self.author.clone(), self.is_read_only).ok()?);
        runs.insert(video_id.to_owned(), run.clone());
        Some(run)
    }

    /// Returns the state as JSON, and `null` if the state has the version `since`.
    pub(crate) fn state(&self, since: Option<u64>) -> Value {
        let Ok(mut shown) = self.shown.lock() else { return Value::Null };
        // While another program writes the gallery, the page shows the state before.
        let _ = self.refresh(&mut shown);
        if since == Some(shown.version) { Value::Null } else { shown.state.clone() }
    }

    /// Performs an act; returns the new state with a sentence about the result, or with the problem.
    pub(crate) fn act(&self, act: &Act) -> Value {
        let done = match self.is_read_only {
            true => Err("This page is read-only; start `facetrack review` without `--read-only`.".to_owned()),
            false => (self.correct)(act),
        };
        let (done, problem) = match done {
            Ok(done) => (Some(done), None),
            Err(problem) => (None, Some(problem)),
        };
        json!({ "state": self.state(None), "done": done, "problem": problem })
    }

    /// Returns the face of a person of a video, JPEG.
    pub(crate) fn face(&self, video_id: &str, cluster_id: i64) -> Option<Vec<u8>> {
        self.shown.lock().ok()?.videos.get(video_id)?.faces.get(&cluster_id).cloned()
    }

    /// Reads the gallery again if its index has changed.
    fn refresh(&self, shown: &mut Shown) -> Result<(), Error> {
        let changed = self.root.join(INDEX).metadata().and_then(|found| found.modified()).ok();
        if shown.version > 0 && changed == shown.changed {
            return Ok(());
        }
        let library = Library::view(&self.root)?;
        let content = library.content(usize::MAX)?;
        let tables = library.members_of_all()?;
        let videos: Vec<gallery::Video> = library.videos().collect();
        let log = Log::open(&self.root)?;
        for (video, rows) in videos.iter().zip(&tables) {
            if video.is_as_added(rows) {
                let seen = shown.videos.entry(video.video_id.clone()).or_default();
                // A run without pictures has no faces; its people are shown without.
                let _ = seen.refresh(video);
            } else {
                shown.videos.remove(&video.video_id);
            }
        }
        shown.runs = videos
            .iter()
            .filter(|video| shown.videos.contains_key(&video.video_id))
            .filter_map(|video| Some((video.video_id.clone(), video.run_dir.clone()?)))
            .collect();
        let face = |place: Option<(usize, i64)>| {
            let (video, cluster) = place?;
            let id = &videos.get(video)?.video_id;
            shown.videos.get(id)?.faces.contains_key(&cluster).then(|| format!("face/{id}/{cluster}"))
        };
        let member = |(video, row): (usize, &Member)| {
            let id = &videos[video].video_id;
            let times = shown.videos.get(id).and_then(|seen| seen.times.get(&row.cluster_id));
            json!({
                "video": video,
                "cluster": row.cluster_id,
                "label": row.name.clone().unwrap_or_else(|| Identity::numbered(row.cluster_id)),
                "secs": row.screen_secs,
                "face": face(Some((video, row.cluster_id))),
                "times": times.map_or(&[][..], Vec::as_slice),
            })
        };
        let mut members: HashMap<i64, Vec<Value>> = HashMap::new();
        for (video, rows) in tables.iter().enumerate() {
            for row in rows {
                members.entry(row.person_id).or_default().push(member((video, row)));
            }
        }
        let secs: Vec<f64> = content.people.iter().map(|person| person.screen_secs).collect();
        let mut people = Vec::new();
        for (person, is_main) in content.people.iter().zip(main_cast(&secs)) {
            people.push(json!({
                "id": person.person_id,
                "label": person.label(),
                "name": person.name,
                "secs": person.screen_secs,
                "is_main": is_main,
                "face": face(person.place),
                "members": members.remove(&person.person_id).unwrap_or_default(),
            }));
        }
        let questions = content.matches.iter().map(|found| {
            let id = videos.get(found.video).map_or("", |video| video.video_id.as_str());
            json!({
                "own": format!("{id}:{}", Identity::number(found.cluster_id)),
                "own_label": format!(
                    "{} of {}",
                    Identity::numbered(found.cluster_id),
                    content.videos.get(found.video).map_or("", |video| video.run_id.as_str())
                ),
                "person": found.person_id,
                "person_label": found.person,
                "other": found.other_id,
                "other_label": found.other,
                "is_known": found.is_known,
                "margin": found.margin,
                "faces": found.places.map(face),
            })
        });
        let questions: Vec<Value> = questions.collect();
        let run = |video: &gallery::Video| json!({ "id": video.video_id, "run": video.run_id, "is_there": shown.runs.contains_key(&video.video_id) });
        shown.state = json!({
            "version": shown.version + 1,
            "name": content.name,
            "is_read_only": self.is_read_only,
            "videos": videos.iter().map(run).collect::<Vec<_>>(),
            "people": people,
            "questions": questions,
            "can_undo": log.active().next().is_some(),
            "can_redo": log.can_redo(),
        });
        shown.version += 1;
        shown.changed = changed;
        Ok(())
    }
}

impl Seen {
    /// Reads faces and times again if the tables of the run have changed.
    fn refresh(&mut self, video: &gallery::Video) -> Result<(), Error> {
        let Some(root) = &video.run_dir else { return Ok(()) };
        let run = RunReader::open(root)?;
        let hash = |file: &str| run.manifest().output(file).map(|output| output.sha256.clone());
        let key = format!("{:?}", ["crops.parquet", "clusters.parquet"].map(hash));
        if key == self.key {
            return Ok(());
        }
        self.times.clear();
        // Runs of older versions do not have the table.
        for row in run.read_if_there::<Appearance>()? {
            let times = self.times.entry(row.cluster_id).or_default();
            if times.len() < MOST_TIMES {
                times.push((row.first_t_secs, row.last_t_secs));
            }
        }
        self.faces = video.faces(|_| true)?;
        self.key = key;
        Ok(())
    }
}
