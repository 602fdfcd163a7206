//! `facetrack mcp`: a server of the Model Context Protocol over standard input and output, which answers questions about
//! a run or a gallery from its tables.
//!
//! The server reads and never writes, and reads the tables anew for each question. It has no tool that returns pictures
//! or vectors. Every message is one line of JSON-RPC 2.0. Times are seconds since the start of the container.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use console::{Error, Result, exit};
use gallery::Library;
use gallery::validate::is_library;
use geometry::{FrameTimes, Span};
use run::RunReader;
use run::appearances::appearances;
use schema::tables::{Appearance, Cluster, Frame, Identity, Member, Track, Video};
use serde_json::{Map, Value, json};

/// Revisions of the protocol that the server speaks, the newest last. A client that offers another one gets the newest.
/// 2025-03-26 is left out, because a server of that revision must read several messages in one line.
const REVISIONS: [&str; 3] = ["2024-11-05", "2025-06-18", "2025-11-25"];
/// Codes of JSON-RPC.
const PARSE_ERROR: i64 = -32_700;
const INVALID_REQUEST: i64 = -32_600;
const UNKNOWN_METHOD: i64 = -32_601;
const INVALID_PARAMS: i64 = -32_602;
/// Rows of an answer without and with the argument `limit`, so that an answer fits into a conversation.
const ROWS: usize = 100;
const MOST_ROWS: usize = 1000;
/// Longest message, bytes: what is longer is cut, and so is no JSON.
const MOST_BYTES: u64 = 1 << 20;
/// What a client shows to its model.
const INSTRUCTIONS: &str = "Answers who is on screen when in videos, by face. A person is a group of faces that a \
    program takes for one; it may mix two people, or split one. Names come from the user of the program. Do not use the \
    answers to identify strangers or to decide about a person. Times are seconds since the start of the video file.";

/// A tool: its name, what it does, its arguments with their JSON Schemas, and those of them that it needs.
struct Tool {
    name: &'static str,
    description: &'static str,
    arguments: &'static [&'static str],
    required: &'static [&'static str],
    answer: fn(&Source, &Map<String, Value>) -> Result<Value>,
}

const TOOLS: [Tool; 5] = [
    Tool {
        name: "list_videos",
        description: "Lists the videos with their file name, duration and number of people.",
        arguments: &["offset", "limit"],
        required: &[],
        answer: list_videos,
    },
    Tool {
        name: "list_people",
        description: "Lists the people, those longest on screen first, with the time on screen and the number of \
                      appearances.",
        arguments: &["video_id", "offset", "limit"],
        required: &[],
        answer: list_people,
    },
    Tool {
        name: "who_is_on_screen",
        description: "Says which people are on screen at a time of a video.",
        arguments: &["t_secs", "video_id"],
        required: &["t_secs"],
        answer: who_is_on_screen,
    },
    Tool {
        name: "scenes_of_person",
        description: "Lists when a person is on screen: start, end and shots of each appearance. Gaps of at most 2 s are \
                      closed.",
        arguments: &["person", "video_id", "offset", "limit"],
        required: &["person"],
        answer: scenes_of_person,
    },
    Tool {
        name: "scenes_of_two_people",
        description: "Lists when two people are on screen at the same time.",
        arguments: &["person", "other", "video_id", "offset", "limit"],
        required: &["person", "other"],
        answer: scenes_of_two_people,
    },
];

/// The JSON Schema of an argument.
fn argument(name: &str) -> Value {
    let person = "A person: the name, or `Person 3` or `3` with the number in list_people.";
    match name {
        "t_secs" => {
            json!({ "type": "number", "minimum": 0, "description": "Seconds since the start of the video." })
        }
        "video_id" => json!({
            "type": "string",
            "description": "Key of a video, from list_videos. Needed for one time in several videos.",
        }),
        "offset" => json!({ "type": "integer", "minimum": 0, "description": "Rows to skip; 0 by default." }),
        "limit" => json!({
            "type": "integer", "minimum": 1, "maximum": MOST_ROWS,
            "description": format!("Most rows to return; {ROWS} by default."),
        }),
        _ => json!({ "type": "string", "description": person }),
    }
}

impl Tool {
    fn declaration(&self) -> Value {
        let properties: Map<_, _> =
            self.arguments.iter().map(|name| ((*name).to_owned(), argument(name))).collect();
        json!({
            "name": self.name,
            "description": self.description,
            "inputSchema": {
                "type": "object", "properties": properties, "required": self.required, "additionalProperties": false,
            },
            "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
        })
    }
}

/// Serves until standard input ends.
pub(crate) fn main(path: &Path) -> Result<()> {
    // A wrong path should end the program, not each question.
    Source::open(path)?;
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line);
        match read.map_err(|error| Error::unexpected(format!("failed to read standard input: {error}")))? {
            0 => break,
            _ if line.trim_ascii().is_empty() => continue,
            _ => {}
        }
        let Some(answer) = answer(path, &line) else { continue };
        let mut out = io::stdout().lock();
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            // The client has gone away.
            break;
        }
    }
    Ok(())
}

/// The answer to a message; `None` for a notification, which has none.
fn answer(path: &Path, line: &[u8]) -> Option<Value> {
    let failed = |id: Value, code: i64, message: &str| {
        Some(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }))
    };
    let Ok(message) = serde_json::from_slice::<Value>(line) else {
        return failed(Value::Null, PARSE_ERROR, "the line is no JSON");
    };
    let id = message.get("id").cloned();
    let Some(method) = message.get("method").and_then(Value::as_str) else {
        // The answer of the client to a question, which this server does not ask.
        if message.get("result").or(message.get("error")).is_some() {
            return None;
        }
        return failed(id.unwrap_or_default(), INVALID_REQUEST, "the message has no `method`");
    };
    let id = id?;
    let params = message.get("params").and_then(Value::as_object).cloned().unwrap_or_default();
    let result = match method {
        "initialize" => initialize(&params),
        "ping" => json!({}),
        "tools/list" => json!({ "tools": TOOLS.iter().map(Tool::declaration).collect::<Vec<_>>() }),
        "tools/call" => {
            let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
            let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
                return failed(id, INVALID_PARAMS, &format!("there is no tool `{name}`"));
            };
            call(path, tool, &params)
        }
        _ => return failed(id, UNKNOWN_METHOD, &format!("there is no method `{method}`")),
    };
    Some(json!({ "jsonrpc": "2.0", "id": id, "result": result }))
}

fn initialize(params: &Map<String, Value>) -> Value {
    let offered = params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
    let [.., newest] = REVISIONS;
    let revision = REVISIONS.iter().find(|known| **known == offered).unwrap_or(&newest);
    json!({
        "protocolVersion": revision,
        "capabilities": { "tools": {} },
        "serverInfo": { "name": "facetrack", "version": env!("CARGO_PKG_VERSION") },
        "instructions": INSTRUCTIONS,
    })
}

/// Calls a tool. What the caller can put right is a result, so that the model reads it.
fn call(path: &Path, tool: &Tool, params: &Map<String, Value>) -> Value {
    let arguments = params.get("arguments").and_then(Value::as_object).cloned().unwrap_or_default();
    let unknown = arguments.keys().find(|name| !tool.arguments.contains(&name.as_str()));
    let answer = match unknown {
        Some(name) => Err(wrong(format!("`{}` has no argument `{name}`", tool.name))),
        None => Source::open(path).and_then(|source| (tool.answer)(&source, &arguments)),
    };
    match answer {
        Ok(value) => json!({
            "content": [{ "type": "text", "text": value.to_string() }], "structuredContent": value, "isError": false,
        }),
        Err(error) => {
            let hint = error.hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            let text = format!("{}{hint}", error.message);
            json!({ "content": [{ "type": "text", "text": text }], "isError": true })
        }
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::new(exit::USAGE, message)
}

/// A person as the page numbers people.
#[derive(Debug, Clone)]
struct Known {
    /// In a run the `cluster_id` + 1, in a gallery the `person_id`.
    number: i64,
    name: Option<String>,
}

impl Known {
    fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("Person {}", self.number))
    }

    fn json(&self) -> Value {
        json!({ "number": self.number, "person": self.label() })
    }
}

/// A video and where its run is.
struct Film {
    video_id: String,
    run_dir: PathBuf,
    /// Number of the person of each cluster; `None` in a run, where the number is the cluster + 1.
    numbers: Option<BTreeMap<i64, i64>>,
    /// The people of the run when it was added to the gallery; empty for a run.
    members: Rc<[Member]>,
}

/// A run or a gallery.
struct Source {
    films: Vec<Film>,
    /// By number.
    people: BTreeMap<i64, Known>,
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        if is_library(path) { Self::library(path) } else { Self::run(path) }
    }

    fn run(path: &Path) -> Result<Self> {
        let run = RunReader::open(path)?;
        let video_id = run.video_id()?.to_string();
        let known = |row: Identity| {
            let number = Identity::number(row.cluster_id);
            (number, Known { number, name: row.name })
        };
        let people = run.read::<Identity>()?.into_iter().map(known).collect();
        Ok(Self {
            films: vec![Film { video_id, run_dir: path.into(), numbers: None, members: Rc::from([]) }],
            people,
        })
    }

    fn library(path: &Path) -> Result<Self> {
        let library = Library::view(path)?;
        let known = |row: &schema::tables::Person| {
            (row.person_id, Known { number: row.person_id, name: row.name.clone() })
        };
        let people = library.people().map(known).collect();
        let mut films = Vec::new();
        for (video, members) in library.videos().zip(library.members_of_all()?) {
            let run_dir = video.run_dir.ok_or_else(|| {
                wrong(format!("the gallery does not know where the run `{}` is", video.run_id))
                    .hint("add the run again with `facetrack library add`")
            })?;
            let numbers = Some(members.iter().map(|row| (row.cluster_id, row.person_id)).collect());
            films.push(Film { video_id: video.video_id, run_dir, numbers, members });
        }
        Ok(Self { films, people })
    }

    /// The films that a question is about: the one of the argument `video_id`, or all.
    fn asked(&self, arguments: &Map<String, Value>) -> Result<Vec<&Film>> {
        let Some(wanted) = arguments.get("video_id") else { return Ok(self.films.iter().collect()) };
        let found = self.films.iter().find(|film| Some(film.video_id.as_str()) == wanted.as_str());
        let found = found
            .ok_or_else(|| wrong(format!("there is no video {wanted}")).hint("list_videos lists them"))?;
        Ok(vec![found])
    }

    /// The person of an argument, by name or by number.
    fn person(&self, arguments: &Map<String, Value>, name: &str) -> Result<&Known> {
        let wanted = match arguments.get(name) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => return Err(wrong(format!("the argument `{name}` is missing"))),
        };
        let named: Vec<_> =
            self.people.values().filter(|known| known.name.as_deref() == Some(&wanted)).collect();
        match named[..] {
            [known] => Ok(known),
            [] => {
                let number = wanted.strip_prefix("Person ").unwrap_or(&wanted).parse::<i64>().ok();
                let found = number.and_then(|number| self.people.get(&number));
                found.ok_or_else(|| {
                    wrong(format!("there is no person {wanted:?}")).hint("list_people lists the people")
                })
            }
            _ => {
                let numbers: Vec<_> = named.iter().map(|known| known.number.to_string()).collect();
                Err(wrong(format!("{} people have the name {wanted:?}", named.len()))
                    .hint(format!("give the number: {}", numbers.join(", "))))
            }
        }
    }
}

/// The tables of a run that say who is on screen when.
struct Shown {
    video: Video,
    times: FrameTimes,
    tracks: Vec<Track>,
    /// The number of the person of a track.
    owners: BTreeMap<i64, i64>,
    appearances: Vec<(i64, Appearance)>,
}

impl Shown {
    fn read(film: &Film) -> Result<Self> {
        let run = film.open()?;
        let number = |cluster_id: i64| match &film.numbers {
            None => Some(Identity::number(cluster_id)),
            Some(numbers) => numbers.get(&cluster_id).copied(),
        };
        let clusters = run.read::<Cluster>()?;
        let mut tracks = run.read::<Track>()?;
        // What a correction calls no face is not shown.
        let faces: BTreeSet<i64> =
            clusters.iter().filter(|row| row.not_a_face != Some(true)).map(|row| row.track_id).collect();
        tracks.retain(|track| faces.contains(&track.track_id));
        let frames = run.read::<Frame>()?;
        let times: FrameTimes =
            frames.iter().map(|row| (row.pts_ticks, row.t_secs, row.duration_secs)).collect();
        // Runs of older versions do not have the table.
        let rows = if run.has::<Appearance>() {
            run.read::<Appearance>()?
        } else {
            appearances(&tracks, &clusters, &times)
        };
        let owner = |row: &Cluster| Some((row.track_id, number(row.cluster_id?)?));
        Ok(Self {
            video: run.read_one()?,
            owners: clusters.iter().filter_map(owner).collect(),
            appearances: rows.into_iter().filter_map(|row| Some((number(row.cluster_id)?, row))).collect(),
            times,
            tracks,
        })
    }

    /// Start and end of a span of frames, seconds.
    fn secs(&self, span: Span) -> [f64; 2] {
        let (start, end) = self.times.on_screen(span, self.times.end_secs());
        [start, end].map(millis)
    }

    /// Spans of frames with a track of a person.
    fn presence(&self, number: i64) -> Vec<Span> {
        let own = self.tracks.iter().filter(|track| self.owners.get(&track.track_id) == Some(&number));
        self.times.union(own.map(|track| (track.first_frame_idx, track.last_frame_idx)))
    }
}

/// A time to the millisecond.
fn millis(secs: f64) -> f64 {
    (secs * 1e3).round() / 1e3
}

/// The rows that a question asks for, and how many there are.
fn page(kind: &str, rows: Vec<Value>, arguments: &Map<String, Value>) -> Result<Value> {
    let number = |name: &str, default: usize| match arguments.get(name) {
        None => Ok(default),
        Some(value) => {
            let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
            number.ok_or_else(|| wrong(format!("`{name}` is {value}, not a whole number from 0")))
        }
    };
    let (offset, limit) = (number("offset", 0)?, number("limit", ROWS)?.min(MOST_ROWS));
    let total = rows.len();
    let rows: Vec<_> = rows.into_iter().skip(offset).take(limit).collect();
    Ok(json!({ kind: rows, "offset": offset, "total": total }))
}

fn list_videos(source: &Source, arguments: &Map<String, Value>) -> Result<Value> {
    let mut rows = Vec::new();
    for film in &source.films {
        let run = film.open()?;
        let video: Video = run.read_one()?;
        let people = film.numbers.as_ref().map_or(source.people.len(), BTreeMap::len);
        rows.push(json!({
            "video_id": film.video_id, "file_name": video.file_name, "duration_secs": millis(video.duration_secs),
            "people": people,
        }));
    }
    page("videos", rows, arguments)
}

fn list_people(source: &Source, arguments: &Map<String, Value>) -> Result<Value> {
    let mut found: BTreeMap<i64, (f64, usize, usize)> = BTreeMap::new();
    for film in source.asked(arguments)? {
        let shown = Shown::read(film)?;
        let mut tracks: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
        for track in &shown.tracks {
            if let Some(number) = shown.owners.get(&track.track_id) {
                tracks.entry(*number).or_default().push((track.first_frame_idx, track.last_frame_idx));
            }
        }
        for (number, spans) in tracks {
            let entry = found.entry(number).or_default();
            entry.0 += shown.times.screen_secs(&shown.times.union(spans));
            entry.1 += shown.appearances.iter().filter(|(of, _)| *of == number).count();
            entry.2 += 1;
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(&b.0)));
    let row = |(number, (secs, appearances, videos)): (i64, (f64, usize, usize))| {
        let mut row = source.people.get(&number)?.json();
        row["screen_secs"] = json!(millis(secs));
        row["appearances"] = json!(appearances);
        row["videos"] = json!(videos);
        Some(row)
    };
    page("people", found.into_iter().filter_map(row).collect(), arguments)
}

fn who_is_on_screen(source: &Source, arguments: &Map<String, Value>) -> Result<Value> {
    let at = arguments.get("t_secs").and_then(Value::as_f64);
    let at = at.ok_or_else(|| wrong("the argument `t_secs` is missing or no number"))?;
    let films = source.asked(arguments)?;
    let [film] = films[..] else {
        return Err(wrong(format!("there are {} videos", films.len()))
            .hint("give the `video_id` of one, from list_videos"));
    };
    let shown = Shown::read(film)?;
    if !(0.0..=shown.times.end_secs()).contains(&at) {
        let end = millis(shown.times.end_secs());
        return Err(wrong(format!(
            "`t_secs` is outside the video `{}`, which ends at {end} s",
            shown.video.file_name
        )));
    }
    // The frame that is shown is the last one that has begun.
    let frame = shown.times.secs().partition_point(|secs| *secs <= at) as i64 - 1;
    let tracks = shown.tracks.iter().filter(|t| (t.first_frame_idx..=t.last_frame_idx).contains(&frame));
    let (mut people, mut unknown) = (Vec::new(), 0);
    for track in tracks {
        match shown.owners.get(&track.track_id).and_then(|number| source.people.get(number)) {
            Some(known) => people.push(known.json()),
            None => unknown += 1,
        }
    }
    people.sort_by_key(|row| row["number"].as_i64());
    people.dedup();
    Ok(
        json!({ "video_id": film.video_id, "t_secs": at, "people": people, "faces_without_a_person": unknown }),
    )
}

fn scenes_of_person(source: &Source, arguments: &Map<String, Value>) -> Result<Value> {
    let known = source.person(arguments, "person")?;
    let mut rows = Vec::new();
    for film in source.asked(arguments)?.into_iter().filter(|film| film.has(known.number)) {
        let shown = Shown::read(film)?;
        for (_, row) in shown.appearances.iter().filter(|(number, _)| *number == known.number) {
            let [start, end] = shown.secs((row.first_frame_idx, row.last_frame_idx));
            rows.push(json!({
                "video_id": film.video_id, "file_name": shown.video.file_name, "start_secs": start, "end_secs": end,
                "first_shot": row.first_shot_idx, "last_shot": row.last_shot_idx,
            }));
        }
    }
    page("scenes", rows, arguments)
}

fn scenes_of_two_people(source: &Source, arguments: &Map<String, Value>) -> Result<Value> {
    let (a, b) = (source.person(arguments, "person")?, source.person(arguments, "other")?);
    let mut rows = Vec::new();
    let films = source.asked(arguments)?.into_iter();
    for film in films.filter(|film| film.has(a.number) && film.has(b.number)) {
        let shown = Shown::read(film)?;
        for span in common(&shown.presence(a.number), &shown.presence(b.number)) {
            let [start, end] = shown.secs(span);
            rows.push(json!({
                "video_id": film.video_id, "file_name": shown.video.file_name, "start_secs": start, "end_secs": end,
            }));
        }
    }
    page("scenes", rows, arguments)
}

impl Film {
    /// Opens the run, which must be of this video and, in a gallery, have the people that were added.
    fn open(&self) -> Result<RunReader> {
        let run = RunReader::open(&self.run_dir)?;
        let stale = |what: String| {
            Error::new(exit::INPUT, what).hint("add the run again with `facetrack library add`")
        };
        if run.video_id()?.as_str() != self.video_id {
            return Err(stale(format!("`{}` is a run of another video", self.run_dir.display())));
        }
        let is_same = |(own, added): (&Identity, &Member)| {
            (own.cluster_id, own.n_tracks, own.screen_secs)
                == (added.cluster_id, added.n_tracks, added.screen_secs)
        };
        if self.numbers.is_some() {
            let own: Vec<Identity> = run.read()?;
            if own.len() != self.members.len() || !own.iter().zip(self.members.iter()).all(is_same) {
                let dir = self.run_dir.display();
                return Err(stale(format!("the run `{dir}` has changed since it was added to the gallery")));
            }
        }
        Ok(run)
    }

    /// Whether a person may be in the video.
    fn has(&self, number: i64) -> bool {
        self.numbers.as_ref().is_none_or(|numbers| numbers.values().any(|other| *other == number))
    }
}

/// Frames that are in both of two lists of disjoint spans in order.
fn common(a: &[Span], b: &[Span]) -> Vec<Span> {
    let (mut i, mut j, mut common) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let span = (x.0.max(y.0), x.1.min(y.1));
        if span.0 <= span.1 {
            common.push(span);
        }
        if x.1 < y.1 { i += 1 } else { j += 1 }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_frames_are_those_of_both() {
        assert_eq!(common(&[(0, 5), (8, 9)], &[(3, 8), (9, 12)]), [(3, 5), (8, 8), (9, 9)]);
        assert_eq!(common(&[(0, 5)], &[(6, 8)]), []);
    }

    #[test]
    fn a_client_gets_its_revision_or_the_newest() {
        let revision = |offered: &str| {
            let params = json!({ "protocolVersion": offered });
            initialize(params.as_object().unwrap_or(&Map::new()))["protocolVersion"].clone()
        };
        assert_eq!(revision("2024-11-05"), "2024-11-05");
        assert_eq!(revision("2025-03-26"), "2025-11-25");
        assert_eq!(revision("2099-01-01"), "2025-11-25");
    }

    #[test]
    fn messages_that_are_no_requests_are_answered_by_their_kind() {
        let code = |line: &str| {
            answer(Path::new("x"), line.as_bytes()).map(|answer| answer["error"]["code"].as_i64())
        };
        assert_eq!(code("{"), Some(Some(PARSE_ERROR)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1}"#), Some(Some(INVALID_REQUEST)));
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#), Some(Some(UNKNOWN_METHOD)));
        assert_eq!(
            code(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}"#),
            Some(Some(INVALID_PARAMS))
        );
        assert_eq!(code(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), None);
        assert_eq!(code(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#), None);
    }

    /// Every argument that a tool needs is one that it has.
    #[test]
    fn tools_have_the_arguments_that_they_need() {
        for tool in &TOOLS {
            assert!(tool.required.iter().all(|name| tool.arguments.contains(name)), "{}", tool.name);
        }
    }
}
