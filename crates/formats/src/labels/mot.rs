//! MOTChallenge's `gt.txt`: frame, id, left, top, width, height, flag, class, visibility.

use super::{Face, Labels, Line, Wrong, bbox, frame, identity, number};

/// Names of the cells that must be there.
const CELLS: [&str; 6] = ["frame", "id", "left", "top", "width", "height"];

/// Reads all lines. Returns the number of the first frame, too: without `first`, 1, or 0 if the file has a frame 0. By
/// the definition of MOTChallenge, all frames up to the last labelled one are labelled.
pub(super) fn read(content: &str, first: Option<i64>) -> Result<(Labels, i64), Wrong> {
    let mut labels = Labels::default();
    for (line, text) in (1..).zip(content.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let (frame, face) = parse(text).map_err(|reason| (line, reason))?;
        labels.lines.push(Line { line, frame, face: Some(face) });
    }
    let ids = labels.lines.iter().filter_map(|line| line.face.as_ref()?.identity.clone());
    labels.made_up = ids.collect();
    let unknown = |line: &&Line| line.face.as_ref().is_some_and(|face| face.identity.is_none());
    let unknown = labels.lines.iter().filter(unknown).count();
    labels.warn(unknown, "boxes of the labels without an id or with the flag 0, which are not scored");
    let counts_from_zero = first.is_none() && labels.lines.iter().any(|line| line.frame == 0);
    if counts_from_zero {
        labels.warnings.push("frames of the labels count from 0, those of MOTChallenge from 1".into());
    }
    let first = first.unwrap_or(i64::from(!counts_from_zero));
    let last = labels.lines.iter().map(|line| line.frame).max();
    labels.looked_at = last.map_or(0..0, |last| first..last + 1).collect();
    Ok((labels, first))
}

fn parse(line: &str) -> Result<(i64, Face), String> {
    let separator = |letter: char| letter == ',' || letter.is_whitespace();
    let cells: Vec<_> = line.trim().split(separator).filter(|cell| !cell.is_empty()).collect();
    if cells.len() < CELLS.len() {
        return Err(format!("the row has {} cells; MOTChallenge has at least {}", cells.len(), CELLS.len()));
    }
    let value = |at: usize| number(CELLS[at], cells[at]);
    // A flag of 0 marks a box that is not to be judged.
    let judged = cells.get(6).is_none_or(|flag| flag.parse() != Ok(0.0));
    let face = Face {
        bbox: bbox(value(2)?, value(3)?, value(4)?, value(5)?)?,
        identity: identity(cells[1]).filter(|_| judged),
        shot: None,
    };
    Ok((frame(CELLS[0], cells[0])?, face))
}
