//! Corrections as files: the edits of a log as CSV or JSON, and pairs of tracks as CSV.
//!
//! | file | content |
//! |---|---|
//! | CSV of edits | one line per anchor: the columns of `edits` and `edit_anchors`, without `undoes` and `anchor_idx` |
//! | JSON of edits | `{"format": 1, "edits": […]}`, each edit with its sides, marks and anchors |
//! | CSV of pairs | `track_a`, `track_b` and `kind`, which is `must_link` or `cannot_link`; and, if given, `tracks_sha256` |
//!
//! Track numbers are valid in one run only: the caller must convert the numbers of a file of pairs to anchors with the
//! tracks of that run. The column `tracks_sha256` has the first 8 or more hexadecimal digits of the SHA-256 of
//! `tracks.parquet` of that run, as in the `manifest.json` of the run.

use std::path::Path;

use ::run::edits::{Anchor, Edit, EditOp, Entry, Mark};
use geometry::BBox;
use schema::Symbol;
use schema::cell::Category as _;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Version of the JSON format.
const FORMAT: u32 = 1;
/// Smallest number of hexadecimal digits of `tracks_sha256`.
const MIN_SHA256_DIGITS: usize = 8;

/// Content of a file of corrections.
#[derive(Debug, Clone, PartialEq)]
pub enum CorrectionsFile {
    /// Edits with anchors.
    Edits(Vec<Edit>),
    /// Pairs of tracks.
    Pairs(Vec<Pair>),
}

/// A pair of tracks of the run that the file was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Line of the file, from 1.
    pub line: u64,
    /// `track_id` of both tracks.
    pub tracks: (i64, i64),
    /// Whether the tracks show one person (`must_link`) or two people (`cannot_link`).
    pub is_must_link: bool,
    /// First 8 or more hexadecimal digits of the SHA-256 of `tracks.parquet`; `None` if the file has none.
    pub tracks_sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PairLine {
    track_a: i64,
    track_b: i64,
    kind: Kind,
    #[serde(default)]
    tracks_sha256: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    MustLink,
    CannotLink,
}

/// A line of a CSV of edits.
#[derive(Debug, Serialize, Deserialize)]
struct AnchorLine {
    edit_id: i64,
    op: String,
    made_at: String,
    author: String,
    reason: Option<String>,
    name: Option<String>,
    side: usize,
    mark_idx: usize,
    video_sha256: String,
    t_secs: f64,
    x_min: f32,
    y_min: f32,
    x_max: f32,
    y_max: f32,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonFile {
    format: u32,
    edits: Vec<JsonEdit>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonEdit {
    op: String,
    #[serde(default)]
    made_at: String,
    author: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    name: Option<String>,
    sides: Vec<Vec<JsonMark>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonMark {
    video_sha256: String,
    anchors: Vec<JsonAnchor>,
}

#[derive(Debug, Serialize, Deserialize)]
struct JsonAnchor {
    t_secs: f64,
    /// Left, top, right and bottom edge, pixels of the upright frame.
    edges: [f32; 4],
}

/// Returns edits as CSV, one line per anchor.
pub fn csv<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for Entry { edit_id, made_at, edit, .. } in entries {
        for (side, marks) in edit.sides.iter().enumerate() {
            for (mark_idx, mark) in marks.iter().enumerate() {
                for anchor in &mark.anchors {
                    let [x_min, y_min, x_max, y_max] = anchor.bbox.edges();
                    // Writing to memory cannot fail.
                    let _ = writer.serialize(AnchorLine {
                        edit_id: *edit_id,
                        op: edit.op.word().to_owned(),
                        made_at: made_at.clone(),
                        author: edit.author.clone(),
                        reason: edit.reason.clone(),
                        name: edit.name.clone(),
                        side,
                        mark_idx,
                        video_sha256: mark.video_sha256.to_string(),
                        t_secs: anchor.t_secs,
                        x_min,
                        y_min,
                        x_max,
                        y_max,
                    });
                }
            }
        }
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// Returns edits as JSON.
pub fn json<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> String {
    let mark = |mark: &Mark| JsonMark {
        video_sha256: mark.video_sha256.to_string(),
        anchors: mark
            .anchors
            .iter()
            .map(|anchor| JsonAnchor { t_secs: anchor.t_secs, edges: anchor.bbox.edges() })
            .collect(),
    };
    let edit = |Entry { made_at, edit, .. }: &Entry| JsonEdit {
        op: edit.op.word().to_owned(),
        made_at: made_at.clone(),
        author: edit.author.clone(),
        reason: edit.reason.clone(),
        name: edit.name.clone(),
        sides: edit.sides.iter().map(|side| side.iter().map(mark).collect()).collect(),
    };
    let file = JsonFile { format: FORMAT, edits: entries.into_iter().map(edit).collect() };
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

/// Parses a file of corrections, and recognizes the format by the content; `path` is for error messages.
///
/// # Errors
/// [`Error::Labels`], when the file has none of the formats, or a line is invalid.
pub fn parse(path: &Path, content: &[u8]) -> Result<CorrectionsFile> {
    if content.trim_ascii_start().starts_with(b"{") {
        return in_order(path, parse_json(path, content)?);
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(content);
    let header = reader.headers().map_err(|error| wrong(path, 1, error.to_string()))?.clone();
    let has = |columns: &str| columns.split(' ').all(|column| header.iter().any(|name| name == column));
    let mut lines = Vec::new();
    for (number, record) in reader.records().enumerate() {
        let record = record.map_err(|error| wrong(path, number as u64 + 2, reason(&error, &header)))?;
        let line = record.position().map_or(1, csv::Position::line);
        lines.push((line, record));
    }
    let lines = lines.into_iter();
    if has("track_a track_b kind") {
        let pair = |(line, record): (u64, csv::StringRecord)| pair(path, line, &record, &header);
        return Ok(CorrectionsFile::Pairs(lines.map(pair).collect::<Result<_>>()?));
    }
    if has("edit_id op side mark_idx video_sha256 t_secs x_min y_min x_max y_max") {
        return in_order(path, parse_anchors(path, lines, &header)?);
    }
    let expected = "the header has neither the columns `track_a`, `track_b` and `kind` nor those that `facetrack edits export` writes";
    Err(wrong(path, 1, expected.into()))
}

/// Checks that the boxes of each face are in order of time.
fn in_order(path: &Path, edits: Vec<Edit>) -> Result<CorrectionsFile> {
    let mut marks = edits.iter().flat_map(|edit| edit.sides.iter().flatten());
    match marks.all(|mark| mark.anchors.is_sorted_by(|a, b| a.t_secs <= b.t_secs)) {
        true => Ok(CorrectionsFile::Edits(edits)),
        false => Err(wrong(path, 1, "the boxes of a face are not in order of time".into())),
    }
}

fn pair(path: &Path, line: u64, record: &csv::StringRecord, header: &csv::StringRecord) -> Result<Pair> {
    let read: PairLine =
        record.deserialize(Some(header)).map_err(|error| wrong(path, line, reason(&error, header)))?;
    if read.track_a == read.track_b {
        return Err(wrong(
            path,
            line,
            format!("`track_a` and `track_b` are the same track, {}", read.track_a),
        ));
    }
    let digits = read.tracks_sha256.filter(|digits| !digits.is_empty());
    if digits.as_ref().is_some_and(|digits| digits.len() < MIN_SHA256_DIGITS) {
        return Err(wrong(path, line, format!("`tracks_sha256` has fewer than {MIN_SHA256_DIGITS} digits")));
    }
    Ok(Pair {
        line,
        tracks: (read.track_a, read.track_b),
        is_must_link: matches!(read.kind, Kind::MustLink),
        tracks_sha256: digits,
    })
}

fn parse_anchors(
    path: &Path,
    lines: impl Iterator<Item = (u64, csv::StringRecord)>,
    header: &csv::StringRecord,
) -> Result<Vec<Edit>> {
    let mut edits: Vec<(i64, Edit)> = Vec::new();
    let mut last = None;
    for (line, record) in lines {
        let row: AnchorLine =
            record.deserialize(Some(header)).map_err(|error| wrong(path, line, reason(&error, header)))?;
        let anchor = anchor(row.t_secs, [row.x_min, row.y_min, row.x_max, row.y_max])
            .map_err(|reason| wrong(path, line, reason))?;
        if edits.last().is_none_or(|(edit_id, _)| *edit_id != row.edit_id) {
            let edit = edit(&row.op, row.author, row.reason, row.name, Vec::new());
            edits.push((row.edit_id, edit.map_err(|reason| wrong(path, line, reason))?));
            last = None;
        }
        let Some((_, edit)) = edits.last_mut() else { continue };
        if edit.sides.len() == row.side {
            edit.sides.push(Vec::new());
        }
        let Some(marks) = edit.sides.last_mut().filter(|_| last.is_none_or(|(side, _)| side <= row.side))
        else {
            return Err(wrong(path, line, "the sides of an edit are not in order".into()));
        };
        match marks.last_mut().filter(|_| last == Some((row.side, row.mark_idx))) {
            Some(mark) => mark.anchors.push(anchor),
            None => {
                let video_sha256 = Symbol::from(row.video_sha256.as_str());
                marks.push(Mark { video_sha256, anchors: vec![anchor] });
            }
        }
        last = Some((row.side, row.mark_idx));
    }
    Ok(edits.into_iter().map(|(_, edit)| edit).collect())
}

fn parse_json(path: &Path, content: &[u8]) -> Result<Vec<Edit>> {
    let file: JsonFile = serde_json::from_slice(content)
        .map_err(|error| wrong(path, error.line() as u64, ::run::plain_json(&error)))?;
    if file.format != FORMAT {
        return Err(wrong(
            path,
            1,
            format!("the format is {}; this version reads format {FORMAT}", file.format),
        ));
    }
    let read = |read: JsonEdit| {
        let mark = |mark: JsonMark| {
            let anchors = mark.anchors.iter().map(|read| anchor(read.t_secs, read.edges));
            let anchors = anchors.collect::<std::result::Result<Vec<_>, _>>()?;
            match anchors.is_empty() {
                true => Err("a face has no boxes".to_owned()),
                false => Ok(Mark { video_sha256: mark.video_sha256.as_str().into(), anchors }),
            }
        };
        let side = |side: Vec<JsonMark>| side.into_iter().map(mark).collect();
        let sides = read.sides.into_iter().map(side).collect::<std::result::Result<_, _>>()?;
        edit(&read.op, read.author, read.reason, read.name, sides)
    };
    let edits = file.edits.into_iter().map(read).collect::<std::result::Result<_, String>>();
    edits.map_err(|reason| wrong(path, 1, reason))
}

fn anchor(t_secs: f64, [x_min, y_min, x_max, y_max]: [f32; 4]) -> std::result::Result<Anchor, String> {
    let edges = [x_min, y_min, x_max, y_max];
    if !t_secs.is_finite() || edges.iter().any(|edge| !edge.is_finite()) || x_min >= x_max || y_min >= y_max {
        return Err(format!(
            "the box x {x_min}..{x_max}, y {y_min}..{y_max} at {t_secs} s is empty or not finite"
        ));
    }
    Ok(Anchor { t_secs, bbox: BBox { x_min, y_min, x_max, y_max } })
}

fn edit(
    op: &str,
    author: String,
    reason: Option<String>,
    name: Option<String>,
    sides: Vec<Vec<Mark>>,
) -> std::result::Result<Edit, String> {
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (reason, name) = (some(reason), ::run::edits::name(&name.unwrap_or_default())?);
    match EditOp::from_word(op) {
        None | Some(EditOp::Undo) => {
            let known = EditOp::WORDS.iter().filter(|word| **word != EditOp::Undo.word());
            let known: Vec<_> = known.copied().collect();
            Err(format!("unknown op `{op}`, expected {}", known.join(", ")))
        }
        Some(op) if op != EditOp::Name && name.is_some() => {
            Err(format!("the op `{}` takes no name", op.word()))
        }
        Some(op) => Ok(Edit { op, name, sides, author, reason }),
    }
}

fn wrong(path: &Path, line: u64, reason: String) -> Error {
    Error::Labels { path: path.to_path_buf(), line, reason }
}

/// Returns what is wrong with a line, without the position, which the `csv` crate words in another way.
fn reason(error: &csv::Error, header: &csv::StringRecord) -> String {
    let column = |err: &csv::DeserializeError| {
        let name = err.field().and_then(|field| header.get(field as usize)).unwrap_or_default();
        format!("the column `{name}`")
    };
    match error.kind() {
        csv::ErrorKind::Deserialize { err, .. } => match err.kind() {
            csv::DeserializeErrorKind::ParseInt(_) => {
                format!("{} must be a whole number", column(err))
            }
            csv::DeserializeErrorKind::ParseFloat(_) => format!("{} must be a number", column(err)),
            kind => kind.to_string().replace("unknown variant", "unknown kind"),
        },
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} fields, the header has {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".into(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn parse(content: &str) -> Result<CorrectionsFile, String> {
        super::parse(Path::new("e.csv"), content.as_bytes()).map_err(|error| error.to_string())
    }

    fn entries() -> Vec<Entry> {
        let anchor =
            |t: f64| Anchor { t_secs: t / 3.0, bbox: BBox::from_corner(0.1 + t as f32, -2.5, 30.3, 40.0) };
        let mark = |t: f64| Mark { video_sha256: "ab".into(), anchors: vec![anchor(t), anchor(t + 1.0)] };
        let entry = |edit_id, edit| Entry { edit_id, made_at: "then".into(), undoes: None, edit };
        let merge = Edit::new(EditOp::Merge, "ann", vec![vec![mark(0.0), mark(4.0)], vec![mark(9.0)]]);
        let name = Edit {
            name: Some("Ross, \"R\"".into()),
            reason: Some("credits".into()),
            ..Edit::new(EditOp::Name, "bob", vec![vec![mark(2.0)]])
        };
        vec![entry(3, merge), entry(7, name)]
    }

    #[test]
    fn what_is_exported_is_imported_again() {
        let entries = entries();
        let edits: Vec<_> = entries.iter().map(|entry| entry.edit.clone()).collect();
        assert_eq!(parse(&csv(&entries)), Ok(CorrectionsFile::Edits(edits.clone())));
        assert_eq!(parse(&json(&entries)), Ok(CorrectionsFile::Edits(edits)));
    }

    #[test]
    fn pairs_of_tracks_are_read() {
        let found =
            parse("kind,track_a,track_b,why,tracks_sha256\nmust_link, 3, 1,x,\ncannot_link,5,8,,0123abcd\n");
        let pair = |line, tracks, is_must_link, digits: Option<&str>| Pair {
            line,
            tracks,
            is_must_link,
            tracks_sha256: digits.map(str::to_owned),
        };
        let expected = vec![pair(2, (3, 1), true, None), pair(3, (5, 8), false, Some("0123abcd"))];
        assert_eq!(found, Ok(CorrectionsFile::Pairs(expected)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let header = csv(&entries()).lines().next().unwrap().to_owned();
        let anchors = |row: &str| format!("{header}\n{row}\n");
        let expected = "the header has neither the columns `track_a`, `track_b` and `kind` nor those that `facetrack edits export` writes";
        let cases = [
            (String::new(), format!("line 1: {expected}")),
            ("track_a,kind\n".into(), format!("line 1: {expected}")),
            (
                "track_a,track_b,kind\n1,1,must_link\n".into(),
                "line 2: `track_a` and `track_b` are the same track, 1".into(),
            ),
            (
                "track_a,track_b,kind\n1,x,must_link\n".into(),
                "line 2: the column `track_b` must be a whole number".into(),
            ),
            (
                "track_a,track_b,kind\n1,2,same\n".into(),
                "line 2: unknown kind `same`, expected `must_link` or `cannot_link`".into(),
            ),
            ("track_a,track_b,kind\n1,2\n".into(), "line 2: the row has 2 fields, the header has 3".into()),
            (
                anchors("1,lock,t,a,,,0,0,ab,0.5,3,0,3,9"),
                "line 2: the box x 3..3, y 0..9 at 0.5 s is empty or not finite".into(),
            ),
            (
                anchors("1,name,t,a,,12,0,0,ab,0.5,1,0,3,9"),
                "line 2: a name cannot be only a number, because a number stands for the person with that number".into(),
            ),
            (anchors("1,lock,t,a,,Ross,0,0,ab,0.5,1,0,3,9"), "line 2: the op `lock` takes no name".into()),
            (
                anchors("1,lock,t,a,,,1,0,ab,0.5,1,0,3,9"),
                "line 2: the sides of an edit are not in order".into(),
            ),
            (
                "{\"format\":2,\"edits\":[]}".into(),
                "line 1: the format is 2; this version reads format 1".into(),
            ),
        ];
        for (content, expected) in cases {
            assert_eq!(parse(&content), Err(format!("`e.csv`, {expected}")), "{content}");
        }
    }
}
