//! The run in memory: what linking left, the edits of a person, and what the page shows of them.
//!
//! An act becomes an edit of the log ([`run::edits::Log`]) before anything is shown, and the people in memory are
//! changed by the function that `cluster` uses as well, so that the page shows what the next run will show.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::SystemTime;

use cluster::edits::{Found, People, Refusal};
use cluster::method::Model;
use cluster::seen::Seen;
use geometry::FrameTimes;
use run::RunReader;
use run::edits::{Edit, EditOp, Entry, Faces, Log};
use schema::Row as _;
use schema::Symbol;
use schema::cell::Category as _;
use schema::tables::{Cluster, Constraint, ConstraintReason, Detection, Frame, Identity, Shot, Track};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::pictures::Pictures;
use crate::queue::{self, Evidence, Kind, Question, Queue};
use crate::video;

/// Most marks of one side of an edit about a whole person: those of the longest tracks say who is meant.
const MOST_MARKS: usize = 64;
/// Pictures of a person.
const MOST_FACES: usize = 6;
/// Questions that the page gets at once, so that it can load their pictures.
const NEXT_QUESTIONS: usize = 4;
/// Share of the screen time that the main cast has together, at least.
const MAIN_SHARE: f64 = 0.9;
/// Similarity from which two tracks are more likely of one person, for an embedder that does not say.
const SAME_FROM: f64 = 0.4;

/// What a person does on the page.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Act {
    /// Answers a question.
    Answer {
        /// Key of the question.
        question: String,
        /// The answer.
        answer: Answer,
        /// The name, for a question about a name.
        #[serde(default)]
        name: Option<String>,
    },
    /// Several people are one, who keeps the number of the first.
    Merge {
        /// Keys of the people.
        people: Vec<i64>,
    },
    /// Names a person; an empty name takes the name away.
    Name {
        /// Key of the person.
        person: i64,
        /// The name.
        name: String,
    },
    /// The tracks of a person stay together; once more, and they need not.
    Lock {
        /// Key of the person.
        person: i64,
    },
    /// Tracks leave their person and become a new one.
    Split {
        /// Keys of the tracks.
        tracks: Vec<i64>,
    },
    /// Tracks go to another person.
    Move {
        /// Keys of the tracks.
        tracks: Vec<i64>,
        /// Key of the person.
        to: i64,
    },
    /// Tracks show no face.
    NotAFace {
        /// Keys of the tracks.
        tracks: Vec<i64>,
    },
    /// Undoes an edit.
    Undo {
        /// Key of the edit; the last act without.
        #[serde(default)]
        edit: Option<i64>,
    },
    /// Makes the edit count again that was undone last.
    Redo,
}

/// An answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The people are one; the track belongs; it is a face; the name is right.
    Yes,
    /// The people are two; the track does not belong.
    No,
    /// The person cannot say; the question is not asked again by this server.
    Unsure,
    /// The track shows no face.
    NotAFace,
}

/// Why an act was not done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// One sentence.
    pub message: String,
    /// The faces that contradict each other.
    pub faces: Vec<Picture>,
    /// The earlier edit that says otherwise.
    pub edit: Option<i64>,
}

impl Problem {
    /// A problem without faces.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), faces: Vec::new(), edit: None }
    }
}

impl From<run::Error> for Problem {
    fn from(error: run::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// A picture of a face.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Picture {
    track: i64,
    /// Rank of the crop within its track; null when the run has no picture of it.
    rank: Option<i64>,
    /// Time of the frame, seconds.
    t: f64,
}

/// What does not change while the page is open.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Static {
    video: video::Facts,
    is_read_only: bool,
    /// First and last moment of each shot, seconds.
    shots: Vec<(f64, f64)>,
    tracks: Vec<StaticTrack>,
}

/// What does not change of a track.
#[derive(Debug, Clone, Serialize)]
struct StaticTrack {
    id: i64,
    /// First and last moment, seconds.
    from: f64,
    to: f64,
    shot: i64,
    face: Picture,
}

/// The people as they are now, and what to ask next.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct State {
    /// Rises with every change.
    pub(crate) version: u64,
    people: Vec<ShownPerson>,
    /// Tracks without a person, by key.
    unsorted: Vec<i64>,
    /// Tracks that show no face.
    not_faces: Vec<i64>,
    /// Probability that each track is wrong, percent, in the order of the tracks.
    doubts: Vec<u8>,
    questions: Vec<ShownQuestion>,
    /// Answers given to this server.
    answered: usize,
    /// Questions that are left.
    left: usize,
    /// Share of screen time that is settled, percent.
    settled: u8,
    /// What undo would undo, and redo would redo.
    undo: Option<String>,
    redo: bool,
    /// Edits that do not count, each with the reason.
    refused: Vec<(i64, String)>,
}

#[derive(Debug, Clone, Serialize)]
struct ShownPerson {
    id: i64,
    label: String,
    name: Option<String>,
    /// Time on screen, seconds.
    secs: f64,
    is_main: bool,
    is_locked: bool,
    tracks: Vec<i64>,
    /// The best picture first, then others by time.
    faces: Vec<Picture>,
}

#[derive(Debug, Clone, Serialize)]
struct ShownQuestion {
    key: String,
    kind: Kind,
    /// Screen time that the answer is expected to put right, seconds.
    secs: f64,
    sides: Vec<ShownSide>,
}

#[derive(Debug, Clone, Serialize)]
struct ShownSide {
    person: Option<i64>,
    label: String,
    secs: f64,
    tracks: Vec<i64>,
    faces: Vec<Picture>,
}

/// What an act led to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Done {
    /// The people after the act.
    pub state: State,
    /// Why the act was not done.
    pub problem: Option<Problem>,
    /// People who have the same name now.
    pub same_name: Option<Vec<i64>>,
}

/// The last acts of this server, for undo.
#[derive(Debug, Clone)]
enum Recent {
    Edit,
    /// The question was passed over.
    Passed(String),
}

/// The run, its edits, and its people.
#[derive(Debug)]
pub(crate) struct Session {
    root: PathBuf,
    author: String,
    is_read_only: bool,
    times: FrameTimes,
    tracks: Vec<Track>,
    /// Confidence of linking, by track.
    confidence: HashMap<i64, f64>,
    shots: Vec<Shot>,
    seen: Seen,
    /// What linking has learned of the video; `None` for an embedder without a quality table.
    model: Option<Model>,
    same_from: f64,
    /// Boxes by frame and track: left, top, width, height.
    boxes: Vec<(i64, i64, [f32; 4])>,
    faces: Faces,
    pictures: Pictures,
    linked: People,
    people: People,
    log: Log,
    changed: Option<SystemTime>,
    found: HashMap<i64, Found>,
    refused: Vec<(i64, Refusal)>,
    queue: Queue,
    passed: BTreeSet<String>,
    recent: Vec<Recent>,
    answered: usize,
    version: u64,
}

impl Session {
    /// Reads a run.
    ///
    /// # Errors
    /// When a stage has not finished, or a table cannot be read.
    pub(crate) fn open(
        run: &RunReader,
        frames: &[Frame],
        author: String,
        is_read_only: bool,
    ) -> Result<Self, Error> {
        let times: FrameTimes = frames.iter().map(|row| (row.pts_ticks, row.t_secs)).collect();
        let detections: Vec<Detection> = run.read()?;
        let corner = |d: &Detection| {
            let size = [d.x_min, d.y_min, d.x_max - d.x_min, d.y_max - d.y_min];
            d.track_id.map(|track| (d.frame_idx, track, size))
        };
        let boxes = detections.iter().filter_map(corner).collect();
        let sha256 = Symbol::from(run.video_file()?.sha256.as_str());
        let faces = Faces::new(sha256, times.clone(), detections);
        let tracks: Vec<Track> = run.read()?;
        let clusters: Vec<Cluster> = run.read()?;
        let mut constraints: Vec<Constraint> = run.read()?;
        // Edits are applied here, so what they left in the table is no evidence.
        constraints.retain(|row| row.reason == ConstraintReason::Overlap);
        let seen = Seen::read(run)?;
        let same_up_to = seen.embedder.as_ref().and_then(|embedder| embedder.same_up_to);
        let linked = People::linked(&clusters, &tracks, &constraints);
        let model = seen.model(&tracks, &constraints, |track| linked.cluster_of(track))?;
        let log = Log::open(run.root())?;
        let mut session = Self {
            root: run.root().to_path_buf(),
            author,
            is_read_only,
            pictures: Pictures::read(run, &times)?,
            times,
            tracks,
            confidence: clusters.iter().map(|row| (row.track_id, f64::from(row.confidence))).collect(),
            shots: run.read()?,
            seen,
            model,
            same_from: same_up_to.map_or(SAME_FROM, |distance| 1.0 - distance),
            boxes,
            faces,
            people: linked.clone(),
            linked,
            log,
            changed: None,
            found: HashMap::new(),
            refused: Vec::new(),
            queue: Queue { questions: Vec::new(), settled: 1.0, doubts: Vec::new() },
            passed: BTreeSet::new(),
            recent: Vec::new(),
            answered: 0,
            version: 0,
        };
        session.changed = session.log_changed();
        session.refresh();
        Ok(session)
    }

    /// The bytes of a picture: PNG.
    pub(crate) fn picture(&self, track: i64, rank: i64) -> Option<Vec<u8>> {
        self.pictures.get(track, rank)
    }

    /// What does not change while the page is open.
    pub(crate) fn fixed(&self, video: &video::Source) -> Static {
        let end = self.times.end_secs();
        let span = |first, last| self.times.on_screen((first, last), end);
        let track = |track: &Track| {
            let (from, to) = span(track.first_frame_idx, track.last_frame_idx);
            StaticTrack {
                id: track.track_id,
                from,
                to,
                shot: track.shot_idx,
                face: self.best(track.track_id),
            }
        };
        Static {
            video: video.facts.clone(),
            is_read_only: self.is_read_only,
            shots: self.shots.iter().map(|shot| span(shot.first_frame_idx, shot.last_frame_idx)).collect(),
            tracks: self.tracks.iter().map(track).collect(),
        }
    }

    /// The boxes of all tracks between two times: for each track, time, left, top, width and height.
    pub(crate) fn boxes(&self, from_secs: f64, to_secs: f64) -> BTreeMap<i64, Vec<[f32; 5]>> {
        let frame = |secs: f64| self.times.secs().partition_point(|t| *t < secs) as i64;
        let place = |frame: i64| self.boxes.partition_point(|(at, ..)| *at < frame);
        let mut tracks: BTreeMap<i64, Vec<[f32; 5]>> = BTreeMap::new();
        for (frame, track, [x, y, w, h]) in &self.boxes[place(frame(from_secs))..place(frame(to_secs))] {
            let t = self.times.t_secs(*frame) as f32;
            let tenth = |px: f32| (px * 10.0).round() / 10.0;
            tracks.entry(*track).or_default().push([t, tenth(*x), tenth(*y), tenth(*w), tenth(*h)]);
        }
        tracks
    }

    /// Version of the state, after a look at whether another program has changed the log.
    pub(crate) fn version(&mut self) -> u64 {
        let changed = self.log_changed();
        if changed != self.changed {
            // A log that cannot be read is reported by the next act.
            if let Ok(log) = Log::open(&self.root) {
                self.log = log;
                self.changed = changed;
                self.refresh();
            }
        }
        self.version
    }

    fn log_changed(&self) -> Option<SystemTime> {
        let path = self.root.join(schema::tables::Edit::TABLE.file_name());
        path.metadata().and_then(|found| found.modified()).ok()
    }

    /// Does what a person does on the page.
    pub(crate) fn act(&mut self, act: Act) -> Done {
        let mut same_name = None;
        let problem = match self.is_read_only {
            true => {
                Err(Problem::new("This page is read-only; start `facetrack review` without `--read-only`."))
            }
            false => self.perform(act).map(|named| same_name = named.and_then(|id| self.same_name(id))),
        };
        Done { problem: problem.err(), same_name, state: self.state() }
    }

    /// Performs an act; gives the person that it named.
    fn perform(&mut self, act: Act) -> Result<Option<i64>, Problem> {
        match act {
            Act::Answer { question, answer, name } => return self.answer(&question, answer, name),
            Act::Merge { people } => {
                let distinct: BTreeSet<_> = people.iter().collect();
                if people.len() < 2 || distinct.len() < people.len() {
                    return Err(Problem::new("Choose two people or more to merge."));
                }
                let sides = people.iter().map(|id| self.members(*id)).collect::<Result<_, _>>()?;
                self.append(EditOp::Merge, sides, None)?;
            }
            Act::Name { person, name } => {
                let members = self.members(person)?;
                self.name(&members, &name)?;
                return Ok(Some(person));
            }
            Act::Lock { person } => {
                let members = self.members(person)?;
                match self.lock_of(&members) {
                    Some(edit) => self.undo(Some(edit))?,
                    None => self.append(EditOp::Lock, vec![members], None)?,
                }
            }
            Act::Split { tracks } => {
                let held = self.people.holder(&tracks.iter().copied().collect());
                let mut rest = held.map_or_else(|| Ok(Vec::new()), |person| self.members(person))?;
                rest.retain(|track| !tracks.contains(track));
                if held.is_some() && rest.is_empty() {
                    return Err(Problem::new("These are all appearances of the person; leave one or more."));
                }
                self.append(EditOp::Split, vec![tracks, rest], None)?;
            }
            Act::Move { tracks, to } => {
                let mut target = self.members(to)?;
                target.retain(|track| !tracks.contains(track));
                if target.is_empty() {
                    return Err(Problem::new("These appearances are the whole person already."));
                }
                self.append(EditOp::Move, vec![tracks, target], None)?;
            }
            Act::NotAFace { tracks } => self.append(EditOp::NotAFace, vec![tracks], None)?,
            Act::Undo { edit } => self.undo(edit)?,
            Act::Redo => {
                self.log.redo(&self.author)?;
                self.recent.push(Recent::Edit);
                self.refresh();
            }
        }
        Ok(None)
    }

    fn answer(&mut self, key: &str, answer: Answer, name: Option<String>) -> Result<Option<i64>, Problem> {
        let question = self.queue.questions.iter().find(|question| question.key == key).cloned();
        let question =
            question.ok_or_else(|| Problem::new("This question was settled in another window."))?;
        let Question { kind, people, sides, .. } = question;
        let mut named = None;
        match (answer, kind) {
            (Answer::Unsure, _) | (Answer::Yes, Kind::Face) => {
                self.passed.insert(key.to_owned());
                self.recent.push(Recent::Passed(key.to_owned()));
                self.refresh();
            }
            (Answer::Yes, Kind::Name) => {
                self.name(&sides[0], &name.unwrap_or_default())?;
                named = people[0];
            }
            (Answer::No, Kind::Name) => return Err(Problem::new("Type a name, or pass with `u`.")),
            // The person comes first, so that the person keeps the number.
            (Answer::Yes, Kind::Join) => {
                self.append(EditOp::Same, sides.into_iter().rev().collect(), None)?;
            }
            (Answer::Yes, Kind::Same | Kind::Belongs) => self.append(EditOp::Same, sides, None)?,
            (Answer::No, Kind::Same | Kind::Join) => self.append(EditOp::Different, sides, None)?,
            (Answer::No, Kind::Belongs) => self.append(EditOp::Split, sides, None)?,
            (Answer::NotAFace, Kind::Same) => {
                self.append(EditOp::NotAFace, vec![sides.into_iter().nth(1).unwrap_or_default()], None)?;
            }
            (Answer::NotAFace | Answer::No, _) => {
                self.append(EditOp::NotAFace, vec![sides.into_iter().next().unwrap_or_default()], None)?;
            }
        }
        self.answered += 1;
        Ok(named)
    }

    fn name(&mut self, members: &[i64], name: &str) -> Result<(), Problem> {
        let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
        if name.chars().count() > 200 || name.chars().any(char::is_control) {
            return Err(Problem::new("A name has up to 200 letters."));
        }
        self.append(EditOp::Name, vec![members.to_vec()], Some(name).filter(|name| !name.is_empty()))
    }

    fn members(&self, person: i64) -> Result<Vec<i64>, Problem> {
        let members = self.people.clusters().remove(&person);
        members.ok_or_else(|| Problem::new("This person is gone: another window has changed the people."))
    }

    /// Adds an edit to the log, unless it contradicts what is there.
    fn append(&mut self, op: EditOp, sides: Vec<Vec<i64>>, name: Option<String>) -> Result<(), Problem> {
        let known: HashSet<i64> = self.tracks.iter().map(|track| track.track_id).collect();
        if sides[0].is_empty() || sides.iter().flatten().any(|track| !known.contains(track)) {
            return Err(Problem::new("Choose one appearance or more."));
        }
        let is_about_tracks = matches!(op, EditOp::Lock | EditOp::NotAFace);
        let marks = |(side, mut tracks): (usize, Vec<i64>)| {
            // Who leaves and who is no face is said of each track; of people, the longest tracks are enough.
            let is_whole = is_about_tracks || side == 0 && matches!(op, EditOp::Split | EditOp::Move);
            if !is_whole {
                tracks.sort_by_key(|track| std::cmp::Reverse(self.frames_of(*track)));
                tracks.truncate(MOST_MARKS);
                tracks.sort_unstable();
            }
            self.faces.marks(tracks)
        };
        let sides = sides.into_iter().enumerate().map(marks).collect();
        let edit = Edit { name, ..Edit::new(op, self.author.clone(), sides) };
        let found = Found::new(&edit, &self.faces);
        let (linked, faces, cache) = (&self.linked, &self.faces, &mut self.found);
        let mut refusal = None;
        let result = self.log.append_with(|log| {
            // The log on disk may have edits of other programs.
            let (mut people, _) = applied(linked, log, faces, cache);
            match people.apply(found) {
                Ok(()) => Ok(vec![edit]),
                Err(why) => {
                    refusal = Some(why);
                    Err(Problem::new(""))
                }
            }
        });
        self.changed = self.log_changed();
        self.refresh();
        match (result, refusal) {
            (_, Some(refusal)) => Err(self.problem(&refusal)),
            (result, None) => result.map(|()| self.recent.push(Recent::Edit)),
        }
    }

    fn frames_of(&self, track: i64) -> i64 {
        self.track(track).map_or(0, |track| track.last_frame_idx - track.first_frame_idx)
    }

    fn track(&self, track_id: i64) -> Option<&Track> {
        let at = self.tracks.binary_search_by_key(&track_id, |track| track.track_id).ok()?;
        Some(&self.tracks[at])
    }

    /// A refusal as the page shows it: both faces, and what said otherwise.
    fn problem(&self, refusal: &Refusal) -> Problem {
        let faces = |(a, b): (i64, i64)| vec![self.best(a), self.best(b)];
        match refusal {
            Refusal::NoFace => Problem::new("These faces are no longer people of the run."),
            Refusal::OneFrame { tracks } => Problem {
                faces: faces(*tracks),
                ..Problem::new("These two are in one picture at the same time, so they are two people.")
            },
            Refusal::Earlier { edit_id, op, tracks } => Problem {
                faces: faces(*tracks),
                edit: Some(*edit_id),
                ..Problem::new(format!("This contradicts correction {edit_id} ({}).", said(*op)))
            },
        }
    }

    fn undo(&mut self, edit: Option<i64>) -> Result<(), Problem> {
        if let (None, Some(Recent::Passed(key))) = (edit, self.recent.last()) {
            self.passed.remove(key);
            self.recent.pop();
            self.refresh();
            return Ok(());
        }
        match edit {
            Some(edit) => self.log.undo(edit, &self.author)?,
            None => self.log.undo_last(&self.author)?,
        };
        self.recent.pop();
        self.changed = self.log_changed();
        self.refresh();
        Ok(())
    }

    /// The lock that holds all tracks of a person.
    fn lock_of(&self, members: &[i64]) -> Option<i64> {
        let is_lock = |entry: &&Entry| {
            entry.edit.op == EditOp::Lock
                && self.found.get(&entry.edit_id).is_some_and(|found| {
                    found.sides.first().is_some_and(|side| members.iter().all(|track| side.contains(track)))
                })
        };
        self.log.active().filter(is_lock).last().map(|entry| entry.edit_id)
    }

    /// The people who have the name of a person, where there are several.
    fn same_name(&self, person: i64) -> Option<Vec<i64>> {
        let name = self.people.name(person)?.to_lowercase();
        let apart = self.people_apart();
        let is_same = |id: &i64| {
            *id != person
                && !apart.contains(&((*id).min(person), (*id).max(person)))
                && self.people.name(*id).is_some_and(|other| other.to_lowercase() == name)
        };
        let others: Vec<i64> = self.people.clusters().into_keys().filter(is_same).collect();
        (!others.is_empty()).then(|| others.into_iter().chain([person]).collect())
    }

    /// Makes people, questions and version anew.
    fn refresh(&mut self) {
        (self.people, self.refused) = applied(&self.linked, &self.log, &self.faces, &mut self.found);
        self.queue = self.evidence().queue();
        self.version += 1;
    }

    /// Pairs of people who are two: they share a frame, or a person said so.
    fn people_apart(&self) -> HashSet<(i64, i64)> {
        let by_frames = self.people.apart().filter_map(|(a, b)| {
            let (a, b) = (self.people.cluster_of(a)?, self.people.cluster_of(b)?);
            (a != b).then(|| (a.min(b), a.max(b)))
        });
        let said = self.log.active().filter(|e| matches!(e.edit.op, EditOp::Different | EditOp::Split));
        let by_edits = said.filter_map(|entry| {
            let sides = &self.found.get(&entry.edit_id)?.sides;
            let (a, b) = (self.people.holder(sides.first()?)?, self.people.holder(sides.get(1)?)?);
            (a != b).then(|| (a.min(b), a.max(b)))
        });
        by_frames.chain(by_edits).collect()
    }

    fn evidence(&self) -> Evidence<'_> {
        let people = self.people.clusters();
        let main = self.main_cast(&people);
        let confirmed = self.confirmed();
        let mut passed = self.passed.clone();
        for entry in self.log.active().filter(|entry| entry.edit.op == EditOp::Different) {
            // A track that was said not to be of a person is not asked about again.
            let sides = self.found.get(&entry.edit_id).map(|found| &found.sides);
            let track = sides.and_then(|sides| sides.first()).filter(|side| side.len() == 1);
            passed.extend(track.and_then(|side| side.first()).map(|track| format!("join:{track}")));
        }
        let track = |track: &Track| {
            let item = self.seen.place(track.track_id);
            queue::Track {
                track_id: track.track_id,
                secs: self.secs(track),
                person: self.people.cluster_of(track.track_id),
                is_face: self.people.is_face(track.track_id),
                is_confirmed: confirmed.contains(&track.track_id),
                // After edits, the table says 1 of tracks that edits have put where they are.
                confidence: self.confidence.get(&track.track_id).copied().unwrap_or(0.0),
                item,
                score: f64::from(track.mean_score),
                vector: item.map(|item| self.seen.vectors[item].embedding.as_slice()),
            }
        };
        let (labels, numbers) = self.seen.labels(|track| self.people.cluster_of(track));
        let person = |id: &i64| {
            (*id, queue::Person { is_named: self.people.name(*id).is_some(), is_main: main.contains(id) })
        };
        Evidence {
            tracks: self.tracks.iter().map(track).collect(),
            people: people.keys().map(person).collect(),
            apart: self.people_apart(),
            same_from: self.same_from,
            odds: self.model.as_ref().map(|model| model.odds(labels)),
            numbers,
            passed,
        }
    }

    /// Tracks that a person put where they are, or confirmed there.
    fn confirmed(&self) -> HashSet<i64> {
        let side = |entry: &Entry| -> Option<&BTreeSet<i64>> {
            let found = self.found.get(&entry.edit_id)?;
            match found.op {
                EditOp::Split | EditOp::Move | EditOp::Lock => found.sides.first(),
                // An answer about a single track.
                EditOp::Same => found.sides.iter().find(|side| side.len() == 1),
                _ => None,
            }
        };
        self.log.active().filter_map(side).flatten().copied().collect()
    }

    fn secs(&self, track: &Track) -> f64 {
        self.times.screen_secs(&[(track.first_frame_idx, track.last_frame_idx)])
    }

    /// Time on screen of tracks together, seconds.
    fn screen_secs(&self, tracks: &[i64]) -> f64 {
        let tracks = tracks.iter().filter_map(|track| self.track(*track));
        let spans = tracks.map(|track| (track.first_frame_idx, track.last_frame_idx));
        self.times.screen_secs(&self.times.union(spans))
    }

    /// The people who are on screen for more than a moment, and as many as have most of the screen time together.
    fn main_cast(&self, people: &BTreeMap<i64, Vec<i64>>) -> BTreeSet<i64> {
        let mut secs: Vec<_> = people.iter().map(|(id, tracks)| (self.screen_secs(tracks), *id)).collect();
        secs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let total: f64 = secs.iter().map(|(secs, _)| secs).sum();
        let mut before = 0.0;
        let mut main = BTreeSet::new();
        for (secs, id) in secs {
            if secs >= Identity::BRIEF_SECS || before < MAIN_SHARE * total {
                main.insert(id);
            }
            before += secs;
        }
        main
    }

    /// The people as they are now, and what to ask next.
    pub(crate) fn state(&self) -> State {
        let people = self.people.clusters();
        let main = self.main_cast(&people);
        let person = |(id, tracks): (&i64, &Vec<i64>)| ShownPerson {
            id: *id,
            label: self.label(*id),
            name: self.people.name(*id).map(str::to_owned),
            secs: self.screen_secs(tracks),
            is_main: main.contains(id),
            is_locked: self.lock_of(tracks).is_some(),
            tracks: tracks.clone(),
            faces: self.strip(tracks),
        };
        let mut shown: Vec<_> = people.iter().map(person).collect();
        shown.sort_by(|a, b| b.secs.total_cmp(&a.secs).then(a.id.cmp(&b.id)));
        let ids = |keep: &dyn Fn(i64) -> bool| {
            self.tracks.iter().map(|track| track.track_id).filter(|id| keep(*id)).collect()
        };
        let is_face = |id: i64| self.people.is_face(id);
        let undo = match self.recent.last() {
            Some(Recent::Passed(_)) => Some("the answer".into()),
            _ => self.log.active().last().map(|entry| said(entry.edit.op).into()),
        };
        State {
            version: self.version,
            people: shown,
            unsorted: ids(&|id| is_face(id) && self.people.cluster_of(id).is_none()),
            not_faces: ids(&|id| !is_face(id)),
            doubts: self.queue.doubts.iter().map(|doubt| (doubt * 100.0).round() as u8).collect(),
            questions: self.queue.questions.iter().take(NEXT_QUESTIONS).map(|q| self.shown(q)).collect(),
            answered: self.answered,
            left: self.queue.questions.len(),
            settled: (self.queue.settled * 100.0).floor() as u8,
            undo,
            redo: self.log.can_redo(),
            refused: self.refused.iter().map(|(id, why)| (*id, why.reason(&self.faces))).collect(),
        }
    }

    fn label(&self, person: i64) -> String {
        self.people.name(person).map_or_else(|| Identity::numbered(person), str::to_owned)
    }

    fn shown(&self, question: &Question) -> ShownQuestion {
        let side = |(tracks, person): (&Vec<i64>, &Option<i64>)| ShownSide {
            person: *person,
            label: person.map_or_else(|| "not sorted".into(), |person| self.label(person)),
            secs: self.screen_secs(tracks),
            tracks: tracks.clone(),
            faces: self.strip(tracks),
        };
        ShownQuestion {
            key: question.key.clone(),
            kind: question.kind,
            secs: question.value_secs,
            sides: question.sides.iter().zip(&question.people).map(side).collect(),
        }
    }

    /// The best picture of a track.
    fn best(&self, track: i64) -> Picture {
        self.strip(&[track]).first().copied().unwrap_or_else(|| Picture {
            track,
            rank: None,
            t: self.track(track).map_or(0.0, |track| track.first_t_secs),
        })
    }

    /// A few pictures of tracks, spread over time: the best of all first, then the others in order of time.
    fn strip(&self, tracks: &[i64]) -> Vec<Picture> {
        let mut all: Vec<_> = tracks.iter().flat_map(|track| self.pictures.of(*track)).collect();
        let Some(best) = all.iter().copied().max_by(|a, b| a.quality.total_cmp(&b.quality)) else {
            return Vec::new();
        };
        all.retain(|crop| (crop.track, crop.rank) != (best.track, best.rank));
        all.sort_by(|a, b| a.t_secs.total_cmp(&b.t_secs));
        let parts = (MOST_FACES - 1).min(all.len());
        let part = |i: usize| &all[i * all.len() / parts..(i + 1) * all.len() / parts];
        let others = (0..parts).filter_map(|i| part(i).iter().max_by(|a, b| a.quality.total_cmp(&b.quality)));
        let picture = |crop: crate::pictures::Kept| Picture {
            track: crop.track,
            rank: Some(crop.rank),
            t: crop.t_secs,
        };
        std::iter::once(best).chain(others.copied()).map(picture).collect()
    }
}

/// The people after the edits of a log, and the edits that do not count; `cache` has the tracks of edits.
fn applied(
    linked: &People,
    log: &Log,
    faces: &Faces,
    cache: &mut HashMap<i64, Found>,
) -> (People, Vec<(i64, Refusal)>) {
    let mut people = linked.clone();
    let mut refused = Vec::new();
    for entry in log.active() {
        let found = cache.entry(entry.edit_id).or_insert_with(|| Found::of(entry, faces));
        refused.extend(people.apply(found.clone()).err().map(|why| (entry.edit_id, why)));
    }
    (people, refused)
}

/// An edit in plain English.
fn said(op: EditOp) -> &'static str {
    match op {
        EditOp::Merge | EditOp::Same => "one person",
        EditOp::Different => "two people",
        EditOp::Split => "not this person",
        EditOp::Move => "another person",
        EditOp::Name => "the name",
        EditOp::Lock => "the lock",
        EditOp::NotAFace => "not a face",
        EditOp::Undo => EditOp::Undo.word(),
    }
}
