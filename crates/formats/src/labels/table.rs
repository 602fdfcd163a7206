//! CSV with a header, whose columns may have any of several usual names.

use csv::{ByteRecord, ReaderBuilder, StringRecord, Trim};

use super::{Face, Labels, Line, Wrong, bbox, frame, identity, number};

const FRAME: &[&str] = &["frame", "frame_idx", "frame_id", "frame_number"];
const X: &[&str] = &["x", "left", "bb_left", "x_min", "xmin"];
const Y: &[&str] = &["y", "top", "bb_top", "y_min", "ymin"];
const WIDTH: &[&str] = &["w", "width", "bb_width"];
const HEIGHT: &[&str] = &["h", "height", "bb_height"];
const RIGHT: &[&str] = &["x_max", "xmax", "right"];
const BOTTOM: &[&str] = &["y_max", "ymax", "bottom"];
const IDENTITY: &[&str] = &["identity", "name", "person", "label", "id", "track_id"];
const SHOT: &[&str] = &["shot", "shot_idx"];

/// A column: its place, and its name for messages.
type Column = (usize, String);

/// The columns of a table.
struct Columns {
    frame: Column,
    corner: [Column; 2],
    /// Width and height, or the right and lower edge, which the flag marks.
    extent: [(Column, bool); 2],
    identity: Column,
    shot: Option<Column>,
    has_decimal_commas: bool,
}

impl Columns {
    fn locate(header: &StringRecord) -> Result<Self, String> {
        let missing = |names: &[&str]| format!("missing column `{}`", names.first().unwrap_or(&""));
        let need = |names: &[&str]| find(header, names)?.ok_or_else(|| missing(names));
        let extent = |length: &[&str], edge: &[&str]| match find(header, length)? {
            Some(column) => Ok((column, false)),
            None => find(header, edge)?.map(|column| (column, true)).ok_or_else(|| missing(length)),
        };
        Ok(Self {
            frame: need(FRAME)?,
            corner: [need(X)?, need(Y)?],
            extent: [extent(WIDTH, RIGHT)?, extent(HEIGHT, BOTTOM)?],
            identity: need(IDENTITY)?,
            shot: find(header, SHOT)?,
            has_decimal_commas: false,
        })
    }
}

/// The first column that has one of the names, in the order of the names.
fn find(header: &StringRecord, names: &[&str]) -> Result<Option<Column>, String> {
    for name in names {
        let mut found = header.iter().enumerate().filter(|(_, column)| column.eq_ignore_ascii_case(name));
        let Some((at, column)) = found.next() else { continue };
        if found.next().is_some() {
            return Err(format!("duplicate column `{column}`"));
        }
        return Ok(Some((at, column.to_owned())));
    }
    Ok(None)
}

/// The separator of a table, of comma, semicolon and tab the most frequent in its header.
fn separator(content: &[u8]) -> u8 {
    let header = content.split(|byte| *byte == b'\n').next().unwrap_or(&[]);
    let count = |separator: &u8| header.iter().filter(|byte| *byte == separator).count();
    [b'\t', b';', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Reads all lines, in the order of the file.
pub(super) fn read(content: &[u8]) -> Result<Labels, Wrong> {
    let separator = separator(content);
    let mut reader = ReaderBuilder::new().delimiter(separator).trim(Trim::All).from_reader(content);
    let header = reader.headers().map_err(|error| (1, reason(&error)))?.clone();
    // A spreadsheet that parts cells by semicolons writes decimal commas.
    let has_decimal_commas = separator == b';';
    let columns = Columns { has_decimal_commas, ..Columns::locate(&header).map_err(|reason| (1, reason))? };
    let mut labels = Labels::default();
    let mut record = ByteRecord::new();
    loop {
        let more = reader.read_byte_record(&mut record);
        if !more.map_err(|error| (error.position().map_or(1, csv::Position::line), reason(&error)))? {
            return Ok(labels);
        }
        let line = record.position().map_or(1, csv::Position::line);
        let (frame, face) = parse(&record, &columns).map_err(|reason| (line, reason))?;
        labels.lines.push(Line { line, frame, face });
    }
}

/// Frame and face of a line; no face where the identity is `-`.
fn parse(record: &ByteRecord, columns: &Columns) -> Result<(i64, Option<Face>), String> {
    let frame = frame(&columns.frame.1, text(record, columns.frame.0)?)?;
    let name = text(record, columns.identity.0)?;
    if name == "-" {
        return Ok((frame, None));
    }
    let value = |(at, name): &Column| match (columns.has_decimal_commas, text(record, *at)?) {
        (true, cell) => number(name, &cell.replace(',', ".")),
        (false, cell) => number(name, cell),
    };
    let size = |(column, is_edge): &(Column, bool), from: f64| {
        value(column).map(|extent| if *is_edge { extent - from } else { extent })
    };
    let (x, y) = (value(&columns.corner[0])?, value(&columns.corner[1])?);
    let bbox = bbox(x, y, size(&columns.extent[0], x)?, size(&columns.extent[1], y)?)?;
    let identity = identity(name);
    let mut shot = None;
    // A face that is not judged needs no shot.
    if let Some((at, name)) = columns.shot.as_ref().filter(|_| identity.is_some()) {
        let cell = text(record, *at)?;
        // Programs that keep whole numbers with a hole as floating point write `0.0`.
        let whole = cell.strip_suffix(".0").unwrap_or(cell).parse();
        let whole = whole.map_err(|_| format!("column `{name}`: {cell:?} is not an integer"));
        shot = if cell.is_empty() { None } else { Some(whole?) };
    }
    Ok((frame, Some(Face { bbox, identity, shot })))
}

fn text(record: &ByteRecord, column: usize) -> Result<&str, String> {
    let cell = record.get(column).ok_or("the row has too few cells")?;
    std::str::from_utf8(cell).map_err(|_| super::NOT_UTF8.to_owned())
}

/// The reason of an error, without the position, which the caller adds.
fn reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => super::NOT_UTF8.into(),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("the row has {len} cells, the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}
