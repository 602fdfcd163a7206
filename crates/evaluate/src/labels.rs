//! Ground truth: the people in each frame, as a person or a strong detector marked them.
//!
//! The crate `formats` reads the file; this module checks it against the video and turns it into rows.

use std::path::Path;

use formats::labels::{self, Face, LabelFormat, Line};
use geometry::BBox;
use schema::Symbol;
use schema::tables::{Label, LabelSource};

use crate::error::{Error, Result};

/// The labels of a run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    /// Lines, in the order of the file; frames that the format implies follow.
    pub lines: Vec<Line>,
    /// Warnings about what was not used or is doubtful, for people.
    pub warnings: Vec<String>,
}

impl Labels {
    /// Parses the content of the file at `path` for a video of `frame_count` frames. The ending of the path
    /// gives the format: `.txt` is MOTChallenge, `.xml` is CVAT, `.json` is COCO, anything else is CSV.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn parse(path: &Path, content: &[u8], frame_count: i64) -> Result<Self> {
        let wrong = |(line, reason)| Error::Labels { path: path.to_path_buf(), line, reason };
        let format = LabelFormat::of(path).unwrap_or(LabelFormat::Csv);
        let read = format.read(content, None, None).map_err(wrong)?;
        read.check_frames(frame_count).map_err(|(line, reason)| Error::OtherVideo {
            path: path.to_path_buf(),
            line,
            reason,
        })?;
        check_shots(&read.lines).map_err(wrong)?;
        let mut empty = read.looked_at;
        let mut lines = read.lines;
        for line in &lines {
            empty.remove(&line.frame);
        }
        lines.extend(empty.into_iter().map(|frame| Line { line: 1, frame, face: None }));
        Ok(Self { lines, warnings: read.warnings })
    }

    /// Rows of the table `labels`.
    pub fn rows(&self, video_id: &Symbol) -> impl Iterator<Item = Label> {
        (0..).zip(&self.lines).map(move |(label_idx, line)| {
            let bbox = line.face.as_ref().map(bbox);
            Label {
                video_id: video_id.clone(),
                label_idx,
                frame_idx: Some(line.frame),
                track_id: None,
                x_min: bbox.map(|b| b.x_min as f32),
                y_min: bbox.map(|b| b.y_min as f32),
                x_max: bbox.map(|b| b.x_max as f32),
                y_max: bbox.map(|b| b.y_max as f32),
                identity: line.face.as_ref().and_then(|face| face.identity.clone()),
                source: LabelSource::GroundTruth,
            }
        })
    }
}

/// The box of a face, pixels.
pub(crate) fn bbox(face: &Face) -> BBox<f64> {
    let [x, y, w, h] = face.bbox;
    BBox::from_corner(x, y, w, h)
}

/// Either every known face has a shot or none: figures about following need all of them.
fn check_shots(lines: &[Line]) -> Result<(), labels::Wrong> {
    let known = || {
        lines
            .iter()
            .filter_map(|line| Some((line, line.face.as_ref()?)))
            .filter(|(_, f)| f.identity.is_some())
    };
    match known().find(|(_, face)| face.shot.is_none()) {
        Some((line, _)) if known().any(|(_, face)| face.shot.is_some()) => {
            Err((line.line, "`shot` is \"\", not a whole number".into()))
        }
        _ => Ok(()),
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
        let face = Face { bbox: [1.0, 2.0, 3.0, 4.0], identity: Some("joey".into()), shot: None };
        assert_eq!(labels.lines, [Line { line: 2, frame: 7, face: Some(face) }]);
        let row = labels.rows(&Symbol::from("v")).next().unwrap();
        assert_eq!((row.x_max, row.y_max), (Some(4.0), Some(6.0)));
    }

    #[test]
    fn shots_are_read_of_known_faces_only() {
        let text = b"frame,x,y,w,h,identity,shot\n0,0,0,0,0,-,\n1,0,0,5,5,?,\n2,0,0,5,5,joey,3\n";
        let labels = parse(text).unwrap();
        assert!(labels.lines[2].face.as_ref().is_some_and(|face| face.shot == Some(3)));
    }

    #[test]
    fn unknown_faces_and_empty_frames_are_distinguished() {
        let labels = parse(b"frame,x,y,w,h,identity\n0,0,0,0,0,-\n1,0,0,5,5,?\n2,0,0,5,5,\n").unwrap();
        let kinds: Vec<_> = labels.lines.iter().map(|line| line.face.is_some()).collect();
        assert_eq!(kinds, [false, true, true]);
        let rows: Vec<_> = labels.rows(&Symbol::from("v")).collect();
        assert_eq!((rows[0].x_min, rows[1].x_max), (None, Some(5.0)));
        assert!(rows.iter().all(|row| row.identity.is_none()));
    }

    #[test]
    fn labels_of_other_tools_are_read_by_the_ending_of_the_file() {
        let labels = Labels::parse(Path::new("gt.txt"), b"1,7,10,20,30,40\n3,7,11,20,30,40\n", 3).unwrap();
        let frames: Vec<_> = labels.lines.iter().map(|line| (line.frame, line.face.is_some())).collect();
        assert_eq!(frames, [(0, true), (2, true), (1, false)]);
        let error = Labels::parse(Path::new("gt.txt"), b"1,7,10,20,30,40\n\n4,7,1,2,3,4\n", 3).unwrap_err();
        let expected = "`gt.txt`, line 3: frame 3 is outside the video, which has 3 frames, counted from 0";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_bad_line_is_named_with_what_is_wrong() {
        let cases: [(&[u8], &str); 11] = [
            (b"frame,x,y,w,identity\n", "`truth.csv`, line 1: missing column `h`"),
            (b"", "`truth.csv`, line 1: missing column `frame`"),
            (b"frame,x,y,w,h,identity,x\n", "`truth.csv`, line 1: duplicate column `x`"),
            (
                b"frame,x,y,w,h,identity\n0,0,0,5,5,a\n1,0,0,5,-5,a\n",
                "`truth.csv`, line 3: a box must have a width and height above 0, not 5 \u{d7} -5",
            ),
            (
                b"frame,x,y,w,h,identity\n0,left,0,5,5,a\n",
                "`truth.csv`, line 2: `x`: \"left\" is not a number",
            ),
            (
                b"frame,x,y,w,h,identity\n0,0,0,1e300,5,a\n",
                "`truth.csv`, line 2: `w`: 1e300 is larger than any picture",
            ),
            (
                b"frame,x,y,w,h,identity\n1.5,0,0,5,5,a\n",
                "`truth.csv`, line 2: `frame`: \"1.5\" is not an integer",
            ),
            (
                b"frame,x,y,w,h,identity\n100,0,0,5,5,a\n",
                "`truth.csv`, line 2: frame 100 is outside the video, which has 100 frames, counted from 0",
            ),
            (
                b"frame,x,y,w,h,identity,shot\n0,0,0,5,5,a,1\n1,0,0,5,5,a,\n",
                "`truth.csv`, line 3: `shot` is \"\", not a whole number",
            ),
            (
                b"frame,x,y,w,h,identity\n1,0,0,5,5\n",
                "`truth.csv`, line 2: the row has 5 cells, the header has 6",
            ),
            (b"frame,x,y,w,h,identity\n1,0,0,5,5,\xff\n", "`truth.csv`, line 2: the text is not UTF-8"),
        ];
        for (text, expected) in cases {
            assert_eq!(reason(text), expected);
        }
    }
}
