//! MOTChallenge's `gt.txt`: frame, id, left, top, width, height, flag, class, visibility.

use super::{Face, Labels, Wrong, frame, identity, rect};

/// Names of the cells that must be there.
const CELLS: [&str; 6] = ["frame", "id", "left", "top", "width", "height"];

/// Frames up to the last labelled one were looked at: that is what ground truth of MOTChallenge means.
pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let mut labels = Labels::default();
    for (line, text) in (1..).zip(content.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        labels.faces.push(parse(text).map_err(|reason| (line, reason))?);
    }
    let last = labels.faces.iter().map(|face| face.frame).max();
    labels.looked_at = last.map_or(0..0, |last| 1..last + 1).collect();
    Ok(labels)
}

fn parse(line: &str) -> Result<Face, String> {
    let separator = |letter: char| letter == ',' || letter.is_whitespace();
    let cells: Vec<_> = line.trim().split(separator).filter(|cell| !cell.is_empty()).collect();
    if cells.len() < CELLS.len() {
        return Err(format!("it has {} cells, where MOTChallenge has at least {}", cells.len(), CELLS.len()));
    }
    let number = |at: usize| -> Result<f64, String> {
        cells[at].parse().map_err(|_| format!("`{}` is {:?}, not a number", CELLS[at], cells[at]))
    };
    // Flag 0: the box is there, and is not to be judged.
    let judged = cells.get(6).is_none_or(|flag| flag.parse() != Ok(0.0));
    Ok(Face {
        frame: frame(CELLS[0], cells[0])?,
        rect: rect(number(2)?, number(3)?, number(4)?, number(5)?)?,
        identity: identity(cells[1]).filter(|_| judged),
        shot: None,
    })
}
