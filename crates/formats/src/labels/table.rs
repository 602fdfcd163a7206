//! CSV with a header, whose columns may go by several names.

use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Face, Labels, Wrong, frame, identity, rect};

const FRAME: &[&str] = &["frame", "frame_idx", "frame_id", "frame_number"];
const X: &[&str] = &["x", "left", "bb_left", "x_min", "xmin"];
const Y: &[&str] = &["y", "top", "bb_top", "y_min", "ymin"];
const WIDTH: &[&str] = &["w", "width", "bb_width"];
const HEIGHT: &[&str] = &["h", "height", "bb_height"];
const RIGHT: &[&str] = &["x_max", "xmax", "right"];
const BOTTOM: &[&str] = &["y_max", "ymax", "bottom"];
const IDENTITY: &[&str] = &["identity", "name", "person", "label", "id", "track_id"];
const SHOT: &[&str] = &["shot", "shot_idx"];

/// Where the columns stand.
struct Columns {
    frame: usize,
    corner: [usize; 2],
    size: [Extent; 2],
    identity: usize,
    shot: Option<usize>,
}

/// How far a box reaches.
#[derive(Clone, Copy)]
enum Extent {
    Length(usize),
    End(usize),
}

impl Columns {
    fn locate(header: &StringRecord) -> Result<Self, String> {
        let find = |names: &[&str]| {
            names.iter().find_map(|name| header.iter().position(|column| column.eq_ignore_ascii_case(name)))
        };
        let need = |names: &[&str]| find(names).ok_or_else(|| missing(&[names]));
        let extent = |length: &[&str], end: &[&str]| {
            let found = find(length).map(Extent::Length).or_else(|| find(end).map(Extent::End));
            found.ok_or_else(|| missing(&[length, end]))
        };
        Ok(Self {
            frame: need(FRAME)?,
            corner: [need(X)?, need(Y)?],
            size: [extent(WIDTH, RIGHT)?, extent(HEIGHT, BOTTOM)?],
            identity: need(IDENTITY)?,
            shot: find(SHOT),
        })
    }
}

fn missing(names: &[&[&str]]) -> String {
    let all = names.concat();
    match all.split_last() {
        Some((last, [])) => format!("there is no column {last}"),
        Some((last, others)) => format!("there is no column {} or {last}", others.join(", ")),
        None => String::new(),
    }
}

pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(content.as_bytes());
    let told = |error: &csv::Error| (error.position().map_or(1, csv::Position::line), error.to_string());
    let header = reader.headers().map_err(|error| told(&error))?.clone();
    let columns = Columns::locate(&header).map_err(|reason| (1, reason))?;
    let mut labels = Labels::default();
    for record in reader.records() {
        let record = record.map_err(|error| told(&error))?;
        let line = record.position().map_or(1, csv::Position::line);
        let wrong = |reason| (line, reason);
        let frame = frame("frame", &record[columns.frame]).map_err(wrong)?;
        if &record[columns.identity] == "-" {
            labels.looked_at.insert(frame);
        } else {
            labels.faces.push(face(&record, &columns, frame).map_err(wrong)?);
        }
    }
    Ok(labels)
}

fn face(record: &StringRecord, columns: &Columns, frame: i64) -> Result<Face, String> {
    let [x, y] = [number(record, columns.corner[0])?, number(record, columns.corner[1])?];
    let size = |extent: Extent, from: f64| match extent {
        Extent::Length(at) => number(record, at),
        Extent::End(at) => number(record, at).map(|end| end - from),
    };
    let (w, h) = (size(columns.size[0], x)?, size(columns.size[1], y)?);
    let identity = identity(&record[columns.identity]);
    // A face that is not judged needs no shot.
    let shot = columns.shot.filter(|at| identity.is_some() && !record[*at].is_empty());
    let shot = shot.map(|at| whole(&record[at], "shot")).transpose()?;
    Ok(Face { frame, rect: rect(x, y, w, h)?, identity, shot })
}

fn number(record: &StringRecord, at: usize) -> Result<f64, String> {
    let cell = &record[at];
    cell.parse().map_err(|_| format!("{cell:?} is not a number"))
}

fn whole(cell: &str, name: &str) -> Result<i64, String> {
    cell.parse().map_err(|_| format!("`{name}` is {cell:?}, not a whole number"))
}
