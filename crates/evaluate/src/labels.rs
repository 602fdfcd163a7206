//! Ground truth: who is where, frame by frame, as people or a strong detector marked it.
//!
//! A CSV file with a header and the columns `frame`, `x`, `y`, `w`, `h`, `identity`, in any order.
//! `frame` counts decoded frames from zero, boxes are in pixels of the upright frame. The identity
//! `?` or an empty one marks a face that nobody can be asked to know; `-` marks a frame without
//! faces. Frames that do not occur are not judged. A column `shot` may say which shot each known face
//! is in: a true track is one person within one shot. Other columns are ignored.

use std::collections::BTreeSet;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, StringRecord, Trim};
use schema::Symbol;
use schema::tables::{Label, LabelSource};

use crate::error::{Error, Result};
use crate::matching::Rect;

/// Names of the columns that must be there, in the order in which this module uses them.
const COLUMNS: [&str; 6] = ["frame", "x", "y", "w", "h", "identity"];

/// More pixels than any picture has.
const MOST_PIXELS: f64 = 1e9;

/// What a line of the labels says of its frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A person's face.
    Known {
        /// Where it is.
        rect: Rect,
        /// Whose it is.
        identity: String,
        /// The shot it is in, as the labels number shots; `None` when they do not.
        shot: Option<i64>,
    },
    /// A face whose identity is unknown, or too poor to demand.
    Unknown(Rect),
    /// The frame was looked at, and this line adds no face.
    NoFace,
}

/// One line of the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Frame, from zero.
    pub frame_idx: i64,
    /// What is there.
    pub mark: Mark,
}

/// Every line of a label file, in file order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    /// The lines.
    pub lines: Vec<Line>,
}

impl Labels {
    /// Parses the content of the file at `path` (which only serves messages) for a video of
    /// `frame_count` frames.
    pub fn parse(path: &Path, content: &[u8], frame_count: i64) -> Result<Self> {
        let wrong = |line: u64, reason: String| Error::Labels { path: path.to_path_buf(), line, reason };
        let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(content);
        let header = reader.headers().map_err(|e| wrong(1, csv_reason(&e)))?.clone();
        let columns = Columns::locate(&header).map_err(|reason| wrong(1, reason))?;
        let mut lines = Vec::new();
        let mut record = ByteRecord::new();
        loop {
            let more = reader.read_byte_record(&mut record);
            if !more.map_err(|e| wrong(e.position().map_or(1, csv::Position::line), csv_reason(&e)))? {
                return Ok(Self { lines });
            }
            let line = record.position().map_or(1, csv::Position::line);
            lines.push(parse_line(&record, &columns, frame_count).map_err(|reason| wrong(line, reason))?);
        }
    }

    /// Frames that are judged: those with at least one line.
    pub fn frames(&self) -> BTreeSet<i64> {
        self.lines.iter().map(|line| line.frame_idx).collect()
    }

    /// Rows of the table `labels`.
    pub fn rows(&self, video_id: &Symbol) -> impl Iterator<Item = Label> {
        (0..).zip(&self.lines).map(move |(label_idx, line)| {
            let (rect, identity) = match &line.mark {
                Mark::Known { rect, identity, .. } => (Some(rect), Some(identity.clone())),
                Mark::Unknown(rect) => (Some(rect), None),
                Mark::NoFace => (None, None),
            };
            Label {
                video_id: video_id.clone(),
                label_idx,
                frame_idx: Some(line.frame_idx),
                track_id: None,
                x_min: rect.map(|r| r.x_min as f32),
                y_min: rect.map(|r| r.y_min as f32),
                x_max: rect.map(|r| r.x_max as f32),
                y_max: rect.map(|r| r.y_max as f32),
                identity,
                source: LabelSource::GroundTruth,
            }
        })
    }
}

/// Where the columns stand.
struct Columns {
    /// Each of [`COLUMNS`].
    required: [usize; 6],
    /// `shot`, if it is there.
    shot: Option<usize>,
}

impl Columns {
    fn locate(header: &StringRecord) -> Result<Self, String> {
        let mut required = [0; 6];
        for (at, name) in required.iter_mut().zip(COLUMNS) {
            *at = find(header, name)?.ok_or_else(|| format!("the column `{name}` is missing"))?;
        }
        Ok(Self { required, shot: find(header, "shot")? })
    }
}

fn find(header: &StringRecord, name: &str) -> Result<Option<usize>, String> {
    let mut found = header.iter().enumerate().filter(|(_, column)| *column == name);
    let at = found.next().map(|(at, _)| at);
    match found.next() {
        Some(_) => Err(format!("the column `{name}` is there twice")),
        None => Ok(at),
    }
}

fn parse_line(record: &ByteRecord, columns: &Columns, frame_count: i64) -> Result<Line, String> {
    let [frame, x, y, w, h, identity] = columns.required;
    let frame_idx = parse_frame(text(record, frame)?, frame_count)?;
    let identity = text(record, identity)?;
    if identity == "-" {
        return Ok(Line { frame_idx, mark: Mark::NoFace });
    }
    let number = |column: usize, name: &str| parse_number(text(record, column)?, name);
    let (x, y) = (number(x, "x")?, number(y, "y")?);
    let (w, h) = (number(w, "w")?, number(h, "h")?);
    if w <= 0.0 || h <= 0.0 {
        return Err(format!("a face must have a size above zero, not {w} × {h}"));
    }
    let rect = Rect { x_min: x, y_min: y, x_max: x + w, y_max: y + h };
    let mark = match identity {
        "" | "?" => Mark::Unknown(rect),
        name => {
            let shot = columns.shot.map(|column| parse_whole(text(record, column)?, "shot")).transpose()?;
            Mark::Known { rect, identity: name.to_owned(), shot }
        }
    };
    Ok(Line { frame_idx, mark })
}

fn text(record: &ByteRecord, column: usize) -> Result<&str, String> {
    let cell = record.get(column).ok_or("the line is too short")?;
    std::str::from_utf8(cell).map_err(|_| "the text is not UTF-8".to_owned())
}

fn parse_frame(cell: &str, frame_count: i64) -> Result<i64, String> {
    let frame = parse_whole(cell, "frame")?;
    if (0..frame_count).contains(&frame) {
        return Ok(frame);
    }
    Err(format!("frame {frame} is not in the video, which has {frame_count} frames, counted from zero"))
}

fn parse_whole(cell: &str, column: &str) -> Result<i64, String> {
    cell.parse().map_err(|_| format!("`{column}` is {cell:?}, not a whole number"))
}

fn parse_number(cell: &str, column: &str) -> Result<f64, String> {
    let number = cell.parse().ok().filter(|n: &f64| n.is_finite());
    let number = number.ok_or_else(|| format!("`{column}` is {cell:?}, not a number"))?;
    if number.abs() <= MOST_PIXELS {
        return Ok(number);
    }
    Err(format!("`{column}` is {cell}, which no picture reaches"))
}

/// What is wrong with a line, without the position that the error's own text repeats.
fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8".into(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} cells, the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

    use super::*;

    fn parse(text: &[u8]) -> Result<Labels> {
        Labels::parse(Path::new("truth.csv"), text, 100)
    }

    fn reason(text: &[u8]) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn columns_may_come_in_any_order_with_others_between() {
        let labels = parse(b"\xEF\xBB\xBFnote,identity,h,w,y,x,frame\n0,joey,4,3,2,1,7\n").unwrap();
        let rect = Rect { x_min: 1.0, y_min: 2.0, x_max: 4.0, y_max: 6.0 };
        let mark = Mark::Known { rect, identity: "joey".into(), shot: None };
        assert_eq!(labels.lines, [Line { frame_idx: 7, mark }]);
    }

    #[test]
    fn shots_are_read_of_known_faces_only() {
        let text = b"frame,x,y,w,h,identity,shot\n0,0,0,0,0,-,\n1,0,0,5,5,?,\n2,0,0,5,5,joey,3\n";
        let labels = parse(text).unwrap();
        assert!(matches!(&labels.lines[2].mark, Mark::Known { shot: Some(3), .. }));
    }

    #[test]
    fn unknown_faces_and_empty_frames_are_told_apart() {
        let labels = parse(b"frame,x,y,w,h,identity\n0,0,0,0,0,-\n1,0,0,5,5,?\n2,0,0,5,5,\n").unwrap();
        let kinds: Vec<_> = labels.lines.iter().map(|l| matches!(l.mark, Mark::Unknown(_))).collect();
        assert_eq!(kinds, [false, true, true]);
        assert_eq!(labels.frames(), BTreeSet::from([0, 1, 2]));
        let rows: Vec<_> = labels.rows(&Symbol::from("v")).collect();
        assert_eq!((rows[0].x_min, rows[1].x_max), (None, Some(5.0)));
        assert!(rows.iter().all(|row| row.identity.is_none()));
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let cases: [(&[u8], &str); 11] = [
            (b"frame,x,y,w,identity\n", "truth.csv, line 1: the column `h` is missing"),
            (b"", "truth.csv, line 1: the column `frame` is missing"),
            (b"frame,x,y,w,h,identity,x\n", "truth.csv, line 1: the column `x` is there twice"),
            (
                b"frame,x,y,w,h,identity\n0,0,0,5,5,a\n1,0,0,5,-5,a\n",
                "truth.csv, line 3: a face must have a size above zero, not 5 \u{d7} -5",
            ),
            (b"frame,x,y,w,h,identity\n0,left,0,5,5,a\n", "truth.csv, line 2: `x` is \"left\", not a number"),
            (
                b"frame,x,y,w,h,identity\n0,0,0,1e300,5,a\n",
                "truth.csv, line 2: `w` is 1e300, which no picture reaches",
            ),
            (
                b"frame,x,y,w,h,identity\n1.5,0,0,5,5,a\n",
                "truth.csv, line 2: `frame` is \"1.5\", not a whole number",
            ),
            (
                b"frame,x,y,w,h,identity\n100,0,0,5,5,a\n",
                "truth.csv, line 2: frame 100 is not in the video, which has 100 frames, counted from zero",
            ),
            (
                b"frame,x,y,w,h,identity,shot\n1,0,0,5,5,a,\n",
                "truth.csv, line 2: `shot` is \"\", not a whole number",
            ),
            (b"frame,x,y,w,h,identity\n1,0,0,5,5\n", "truth.csv, line 2: it has 5 cells, the header has 6"),
            (b"frame,x,y,w,h,identity\n1,0,0,5,5,\xff\n", "truth.csv, line 2: the text is not UTF-8"),
        ];
        for (text, expected) in cases {
            assert_eq!(reason(text), expected);
        }
    }
}
