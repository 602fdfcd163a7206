//! The run in memory: the people that linking found, the edits of the user, and the state that the page shows.
//!
//! An act of the user is first added to the log ([`run::edits::Log`]) as an edit. Then the function that the stage
//! `cluster` uses applies the edit to the people in memory, so the page shows the same people as the next run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::SystemTime;

use cluster::edits::{Found, People, Refusal};
use cluster::method::VideoModel;
use cluster::queue::{Kind, Question, Queue, Situation};
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
use crate::video;

/// Largest number of marks of one side of an edit about a whole person; the marks of the longest tracks are kept.
const MOST_MARKS: usize = 64;
/// Largest number of pictures of a person.
const MOST_FACES: usize = 6;
/// Number of questions that the server sends at once, so that the page can load the pictures in advance.
const NEXT_QUESTIONS: usize = 4;

/// An act of the user on the page.
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
    /// Merges several people into the first one, who keeps the number.
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
    /// Locks a person, so that the tracks of the person stay together; unlocks a person who is locked.
    Lock {
        /// Key of the person.
        person: i64,
    },
    /// Takes tracks from their person and makes a new person of the tracks.
    Split {
        /// Keys of the tracks.
        tracks: Vec<i64>,
    },
    /// Moves tracks to another person.
    Move {
        /// Keys of the tracks.
        tracks: Vec<i64>,
        /// Key of the person.
        to: i64,
    },
    /// Marks tracks as not a face.
    NotAFace {
        /// Keys of the tracks.
        tracks: Vec<i64>,
    },
    /// Undoes an edit.
    Undo {
        /// Key of the edit; `None` undoes the last act.
        #[serde(default)]
        edit: Option<i64>,
    },
    /// Redoes the edit that was undone last.
    Redo,
}

/// An answer to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// By the kind of question: the two people are one person, the track shows the person, the track shows a face, or
    /// the name is given.
    Yes,
    /// The two people are different, or the track does not show the person.
    No,
    /// The user does not know; this server does not ask the question again.
    Unsure,
    /// The track shows no face.
    NotAFace,
}

/// Reason why an act was refused.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Problem {
    /// The reason, in one sentence.
    pub message: String,
    /// The faces that contradict each other.
    pub faces: Vec<Picture>,
    /// Key of the earlier edit that the act contradicts; `None` if there is none.
    pub edit: Option<i64>,
}

impl Problem {
    /// Creates a problem without faces.
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
    /// Rank of the crop within its track; null when the run has no picture of the track.
    rank: Option<i64>,
    /// Time of the frame, seconds.
    t: f64,
}

/// Data that do not change while the page is open.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Static {
    video: video::Facts,
    is_read_only: bool,
    /// First and last moment of each shot, seconds.
    shots: Vec<(f64, f64)>,
    tracks: Vec<StaticTrack>,
}

/// Data of a track that do not change while the page is open.
#[derive(Debug, Clone, Serialize)]
struct StaticTrack {
    id: i64,
    /// First and last moment, seconds.
    from: f64,
    to: f64,
    shot: i64,
    face: Picture,
}

/// The people after all edits, and the next questions.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct State {
    /// Number of the state; rises with every change.
    pub(crate) version: u64,
    people: Vec<ShownPerson>,
    /// Keys of the tracks without a person.
    unsorted: Vec<i64>,
    /// Keys of the tracks that show no face.
    not_faces: Vec<i64>,
    /// Probability that a track is assigned to the wrong person, percent; in the order of the tracks.
    doubts: Vec<u8>,
    questions: Vec<ShownQuestion>,
    /// Number of answers that this server received.
    answered: usize,
    /// Number of open questions.
    left: usize,
    /// Share of the screen time that is expected to be right, percent.
    settled: u8,
    /// Name of the act that an undo takes back; `None` if there is none.
    undo: Option<String>,
    /// Whether an edit can be redone.
    redo: bool,
    /// Keys of the edits that are not applied, each with the reason.
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
    /// First and last moment of each appearance, seconds.
    appearances: Vec<(f64, f64)>,
    /// Pictures: the best one first, then others in the order of time.
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

/// Result of an act.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Done {
    /// The people after the act.
    pub state: State,
    /// Reason why the act was refused; `None` if the act was done.
    pub problem: Option<Problem>,
    /// Keys of the people who have the same name after the act; `None` if the act gave no name twice.
    pub same_name: Option<Vec<i64>>,
}

/// An act of this server, for undo.
#[derive(Debug, Clone)]
enum Recent {
    Edit,
    /// The user passed over the question with this key.
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
    model: Option<VideoModel>,
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
        let times: FrameTimes =
            frames.iter().map(|row| (row.pts_ticks, row.t_secs, row.duration_secs)).collect();
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
        // The session applies the edits itself, so constraints that came from edits are left out.
        constraints.retain(|row| row.reason == ConstraintReason::Overlap);
        let seen = Seen::read(run)?;
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

    /// Returns the bytes of a picture, JPEG or PNG; `None` if the run has no such picture.
    pub(crate) fn picture(&self, track: i64, rank: i64) -> Option<Vec<u8>> {
        self.pictures.get(track, rank)
    }

    /// Returns the data that do not change while the page is open.
    pub(crate) fn fixed(&self, video: &video::VideoSource) -> Static {
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

    /// Returns the boxes of all tracks between two times: for each track, rows of the time in seconds, and left, top,
    /// width and height in pixels.
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

    /// Returns the version of the state. Reads the log again if another program has changed the log.
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

    /// Performs an act of the user and returns the new state.
    pub(crate) fn act(&mut self, act: Act) -> Done {
        let mut same_name = None;
        let problem = match self.is_read_only {
            true => {
                Err(Problem::new("This page is read-only; start `facetrack review` without `--read-only`."))
            }
            false => {
                self.perform(act).map(|named| same_name = named.and_then(|id| self.people.same_name(id)))
            }
        };
        Done { problem: problem.err(), same_name, state: self.state() }
    }

    /// Performs an act. Returns the key of the person that the act named; `None` if the act named none.
    fn perform(&mut self, act: Act) -> Result<Option<i64>, Problem> {
        match act {
            Act::Answer { question, answer, name } => return self.answer(&question, answer, name),
            Act::Merge { people } => {
                let distinct: BTreeSet<_> = people.iter().collect();
                if people.len() < 2 || distinct.len() < people.len() {
                    return Err(Problem::new("Choose two or more people to merge."));
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
                    return Err(Problem::new("These are all tracks of the person; leave at least one."));
                }
                self.append(EditOp::Split, vec![tracks, rest], None)?;
            }
            Act::Move { tracks, to } => {
                let mut target = self.members(to)?;
                target.retain(|track| !tracks.contains(track));
                if target.is_empty() {
                    return Err(Problem::new("The person has no track besides these."));
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
            // The side of the person is the first side, because a merge keeps the number of the first side.
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
        let name = run::edits::name(name).map_err(Problem::new)?;
        self.append(EditOp::Name, vec![members.to_vec()], name)
    }

    fn members(&self, person: i64) -> Result<Vec<i64>, Problem> {
        let members = self.people.clusters().remove(&person);
        members.ok_or_else(|| Problem::new("The person no longer exists after an act in another window."))
    }

    /// Adds an edit to the log, unless the edit contradicts an earlier one.
    fn append(&mut self, op: EditOp, sides: Vec<Vec<i64>>, name: Option<String>) -> Result<(), Problem> {
        let known: HashSet<i64> = self.tracks.iter().map(|track| track.track_id).collect();
        if sides[0].is_empty() || sides.iter().flatten().any(|track| !known.contains(track)) {
            return Err(Problem::new("Select at least one track."));
        }
        let is_about_tracks = matches!(op, EditOp::Lock | EditOp::NotAFace);
        let marks = |(side, mut tracks): (usize, Vec<i64>)| {
            // An edit about tracks needs the marks of every track; for a person, the longest tracks are enough.
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

    /// Converts a refusal to a problem for the page, with both faces and the earlier edit.
    fn problem(&self, refusal: &Refusal) -> Problem {
        let faces = |(a, b): (i64, i64)| vec![self.best(a), self.best(b)];
        match refusal {
            Refusal::NoFace => Problem::new("The faces of this correction are not found in the run."),
            Refusal::OneFrame { tracks } => Problem {
                faces: faces(*tracks),
                ..Problem::new("These two faces are in the same frame, so they show two people.")
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

    /// Returns the key of the last lock that contains all tracks of a person; `None` if no lock does.
    fn lock_of(&self, members: &[i64]) -> Option<i64> {
        let is_lock = |entry: &&Entry| {
            entry.edit.op == EditOp::Lock
                && self.found.get(&entry.edit_id).is_some_and(|found| {
                    found.sides.first().is_some_and(|side| members.iter().all(|track| side.contains(track)))
                })
        };
        self.log.active().filter(is_lock).last().map(|entry| entry.edit_id)
    }

    /// Computes the people and the questions again, and increments the version.
    fn refresh(&mut self) {
        (self.people, self.refused) = applied(&self.linked, &self.log, &self.faces, &mut self.found);
        self.queue = self.situation().evidence(self.passed.clone()).queue();
        self.version += 1;
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            tracks: &self.tracks,
            times: &self.times,
            seen: &self.seen,
            model: self.model.as_ref(),
            people: &self.people,
            confidence: &self.confidence,
        }
    }

    /// Returns the first and last moment of each appearance of a person, seconds.
    fn appearances(&self, tracks: &[i64]) -> Vec<(f64, f64)> {
        let end = self.times.end_secs();
        let tracks = tracks.iter().filter_map(|track| self.track(*track));
        let spans = self.times.appearances(tracks.map(|track| (track.first_frame_idx, track.last_frame_idx)));
        spans.into_iter().map(|span| self.times.on_screen(span, end)).collect()
    }

    /// Returns the people after all edits, and the next questions.
    pub(crate) fn state(&self) -> State {
        let people = self.people.clusters();
        let main = self.situation().main_people();
        let person = |(id, tracks): (&i64, &Vec<i64>)| ShownPerson {
            id: *id,
            label: self.label(*id),
            name: self.people.name(*id).map(str::to_owned),
            secs: self.situation().screen_secs(tracks),
            is_main: main.contains(id),
            is_locked: self.lock_of(tracks).is_some(),
            tracks: tracks.clone(),
            appearances: self.appearances(tracks),
            faces: self.strip(tracks),
        };
        let mut shown: Vec<_> = people.iter().map(person).collect();
        shown.sort_by(|a, b| b.secs.total_cmp(&a.secs).then(a.id.cmp(&b.id)));
        let ids = |keep: &dyn Fn(i64) -> bool| {
            self.tracks.iter().map(|track| track.track_id).filter(|id| keep(*id)).collect()
        };
        let is_face = |id: i64| self.people.is_face(id);
        let undo = match self.recent.last() {
            Some(Recent::Passed(_)) => Some("answer".into()),
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
            label: person.map_or_else(|| "No person".into(), |person| self.label(person)),
            secs: self.situation().screen_secs(tracks),
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

    /// Returns the best picture of a track; a picture without a rank if the run has none.
    fn best(&self, track: i64) -> Picture {
        self.strip(&[track]).first().copied().unwrap_or_else(|| Picture {
            track,
            rank: None,
            t: self.track(track).map_or(0.0, |track| track.first_t_secs),
        })
    }

    /// Returns at most [`MOST_FACES`] pictures of tracks, spread over time: the best one first, then the others in
    /// the order of time.
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

/// Returns the people after the edits of a log, and the edits that are not applied. `cache` holds the tracks that
/// were found for each edit.
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

/// Returns the name of an edit for the page, in lower case.
fn said(op: EditOp) -> &'static str {
    match op {
        EditOp::Merge | EditOp::Same => "merge",
        EditOp::Different => "different people",
        EditOp::Split => "split",
        EditOp::Move => "move",
        EditOp::Name => "name",
        EditOp::Lock => "lock",
        EditOp::NotAFace => "not a face",
        EditOp::Undo => EditOp::Undo.word(),
    }
}
