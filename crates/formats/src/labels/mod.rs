//! The reader of labels: ground truth from files of CSV, MOTChallenge, CVAT and COCO, and what other services and tools
//! found. [`LabelFormat::ALL`] lists the formats.
//!
//! A label is a line about a frame: a face with a box and an identity, or the statement that the frame has no
//! further face. Frames count from zero. The identity `?` or an empty identity marks a face that is not scored;
//! the identity `-` marks a frame without faces. Frames without a line are not scored. A label may name the shot of
//! the face: a true track is one person within one shot.
//!
//! Formats without boxes have [`Time`]s instead: a person with a name at a time, which name the people of a run (see
//! [`crate::names`]).

mod azure;
mod coco;
mod cvat;
mod google;
mod mmif;
mod mot;
mod pyannote;
mod rekognition;
mod scene;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization as _;

/// Largest frame number, more than a day of video at 60 frames per second; a large number in an untrusted file must
/// not exhaust the memory.
pub const MOST_FRAMES: i64 = 6_000_000;
/// Largest absolute coordinate, pixels; larger than in any picture.
const MOST_PIXELS: f64 = 1e9;
/// Members and attributes of a box that may hold the identity, in order of preference.
const IDENTITY: [&str; 4] = ["identity", "name", "person", "id"];
/// Smallest distance between frames with labels, in frames, at which a warning asks whether the frames between were
/// labelled; the median counts.
const SPARSE: i64 = 3;
/// Warning about boxes that have no extent, which are left out.
const EMPTY_BOXES: &str = "boxes without a width and a height, which are left out";
/// Reason of an error.
const NOT_UTF8: &str = "the text is not UTF-8";
/// Reason of an error; the crate has a hint for it.
pub(crate) const NO_SCENE: &str =
    "the file has times or relative boxes, but not the frames and the size of the video";

pub use scene::Scene;

/// An error in a label file: the number of the line, from 1, and the reason.
pub type Wrong = (u64, String);

/// A labelled face.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// Left, top, width and height, pixels of the upright frame; width and height are above 0.
    pub bbox: [f64; 4],
    /// Identity; `None` for a face that is not scored.
    pub identity: Option<String>,
    /// Number of the shot in the labels; `None` if the labels do not name the shot.
    pub shot: Option<i64>,
}

/// One line of the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Number of the line in the file, from 1.
    pub line: u64,
    /// Frame, from zero.
    pub frame: i64,
    /// Face; `None` states that the frame is labelled and has no further face.
    pub face: Option<Face>,
}

/// A time at which a person is said to be in the video, without a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    /// Name of the person; `None` for a person without a name.
    pub name: Option<String>,
    /// Start, seconds.
    pub start_secs: f64,
    /// End, seconds.
    pub end_secs: f64,
}

/// Content of a label file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    /// Lines, in the order of the file.
    pub lines: Vec<Line>,
    /// Times of people without boxes, in the order of the file.
    pub times: Vec<Time>,
    /// Identities that the reader made of numbers, because the file has no names.
    pub made_up: BTreeSet<String>,
    /// Frames that count as labelled even without a line, because the format or the caller states this.
    pub looked_at: BTreeSet<i64>,
    /// Warnings about labels that were left out or are doubtful.
    pub warnings: Vec<String>,
}

impl Labels {
    /// Leaves out repeated lines, and adds warnings about repeated lines and about people with two boxes in a frame.
    fn without_doubles(&mut self) {
        let mut seen: BTreeMap<(i64, String), [f64; 4]> = BTreeMap::new();
        let (mut doubles, mut twice) = (Vec::new(), Vec::new());
        self.lines.retain(|line| {
            let Some(Face { bbox, identity: Some(identity), .. }) = &line.face else { return true };
            match seen.insert((line.frame, identity.clone()), *bbox) {
                Some(before) if before == *bbox => {
                    doubles.push(line.line);
                    false
                }
                Some(_) => {
                    twice.push(line.line);
                    true
                }
                None => true,
            }
        });
        for (lines, what) in [
            (doubles, "repeat an earlier line and are left out"),
            (twice, "give a person a second box in a frame"),
        ] {
            if let Some(first) = lines.first() {
                self.warnings
                    .push(format!("lines of the labels that {what}: {}, first line {first}", lines.len()));
            }
        }
    }

    /// Adds a warning if the number of things that it is about is above 0.
    fn warn(&mut self, number: usize, what: &str) {
        if number > 0 {
            self.warnings.push(format!("{what}: {number}"));
        }
    }

    /// Warns where the frames with faces lie regularly apart, but all frames count as labelled: every face that is
    /// found between them would be an error of the detector.
    fn warn_if_sparse(&mut self) {
        let frames: BTreeSet<i64> = self.lines.iter().map(|line| line.frame).collect();
        let all: Vec<i64> = frames.into_iter().collect();
        let mut gaps: Vec<i64> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        let Some(median) = gaps.get(gaps.len() / 2).filter(|median| **median >= SPARSE) else { return };
        let between = self.looked_at.iter().filter(|frame| all.binary_search(frame).is_err()).count();
        if between > all.len() {
            self.warnings.push(format!(
                "most labels are {median} frames apart, and the {between} frames without a label count as frames \
                 without a face; if those frames were not labelled, import the labels as CSV"
            ));
        }
    }

    /// Checks that every labelled frame is in a video of `frame_count` frames.
    ///
    /// # Errors
    /// The line of the first frame outside the video.
    pub fn check_frames(&self, frame_count: i64) -> Result<(), Wrong> {
        let lines = self.lines.iter().map(|line| (line.line, line.frame));
        let implied = self.looked_at.last().map(|last| (1, *last));
        for (line, frame) in lines.chain(implied) {
            if !(0..frame_count).contains(&frame) {
                let frames = if frame_count == 1 { "frame" } else { "frames" };
                let video = format!("the video, which has {frame_count} {frames}, counted from 0");
                return Err((line, format!("frame {frame} is outside {video}")));
            }
        }
        Ok(())
    }
}

/// A format of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabelFormat {
    /// A table with a header.
    Csv,
    /// MOTChallenge.
    Mot,
    /// CVAT for video or for images, 1.1.
    Cvat,
    /// COCO's object detection format.
    Coco,
    /// Answers of Amazon Rekognition Video.
    Rekognition,
    /// Answers of Google Cloud Video Intelligence.
    Google,
    /// Insights of Azure AI Video Indexer.
    Azure,
    /// Speakers of pyannote.
    Pyannote,
    /// The Multi-Media Interchange Format of CLAMS.
    Mmif,
}

impl LabelFormat {
    /// Every format with its name on the command line, and the extension of its files if the extension tells them from
    /// those of other formats.
    pub const ALL: [(Self, &'static str, Option<&'static str>); 9] = [
        (Self::Csv, "csv", Some("csv")),
        (Self::Mot, "mot", Some("txt")),
        (Self::Cvat, "cvat", Some("xml")),
        (Self::Coco, "coco", Some("json")),
        (Self::Rekognition, "rekognition", None),
        (Self::Google, "google-video-intelligence", None),
        (Self::Azure, "azure-video-indexer", None),
        (Self::Pyannote, "pyannote", None),
        (Self::Mmif, "mmif", None),
    ];

    /// Returns the format with the name `name`; `None` if there is no such format.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known, _)| *known == name).map(|(format, ..)| format)
    }

    /// Returns the name of the format on the command line.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(format, ..)| *format == self).map_or("", |(_, name, _)| name)
    }

    /// Returns the format of a file by its extension; `None` for an unknown extension.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?;
        let is_known = |known: Option<&str>| known.is_some_and(|known| known.eq_ignore_ascii_case(ending));
        let found = Self::ALL.into_iter().find(|(.., known)| is_known(*known));
        found.map(|(format, ..)| format)
    }

    /// Reads labels. `first` is the number of the first frame in the file; without it, 1 for MOTChallenge unless the
    /// file has a frame 0, otherwise 0. The first `frames` frames count as labelled, even without a line.
    ///
    /// # Errors
    /// The number of an invalid line, and the reason.
    pub fn read(self, content: &[u8], first: Option<i64>, frames: Option<i64>) -> Result<Labels, Wrong> {
        self.read_of(content, first, frames, None)
    }

    /// Does the same for a video. Formats with times and relative boxes need to know the video, unless the file
    /// describes it.
    ///
    /// # Errors
    /// The number of an invalid line, and the reason.
    pub fn read_of(
        self,
        content: &[u8],
        first: Option<i64>,
        frames: Option<i64>,
        scene: Option<&Scene>,
    ) -> Result<Labels, Wrong> {
        let given = first.is_some();
        let (mut labels, first) = match self {
            Self::Csv => (table::read(content)?, first.unwrap_or(0)),
            Self::Mot => mot::read(text(content)?, first)?,
            Self::Cvat => (cvat::read(text(content)?)?, first.unwrap_or(0)),
            Self::Coco => (coco::read(text(content)?)?, first.unwrap_or(0)),
            Self::Rekognition => (rekognition::read(text(content)?, scene)?, 0),
            Self::Google => (google::read(text(content)?, scene)?, 0),
            Self::Azure => (azure::read(text(content)?)?, 0),
            Self::Pyannote => (pyannote::read(text(content)?)?, 0),
            Self::Mmif => (mmif::read(text(content)?, scene, first.unwrap_or(0))?, 0),
        };
        let counts_frames = !matches!(self, Self::Rekognition | Self::Google | Self::Azure | Self::Pyannote);
        if given && !counts_frames {
            labels.warnings.push("the file has times, so the number of the first frame has no effect".into());
        }
        let early = |frame: i64| format!("frame {frame} is before the first frame, {first}");
        if let Some(frame) = labels.looked_at.first().filter(|frame| **frame < first) {
            return Err((1, early(*frame)));
        }
        for line in &mut labels.lines {
            if line.frame < first {
                return Err((line.line, early(line.frame)));
            }
            line.frame = line.frame.saturating_sub(first);
        }
        let implied = std::mem::take(&mut labels.looked_at).into_iter();
        labels.looked_at = implied.map(|frame| frame.saturating_sub(first)).collect();
        labels.warn_if_sparse();
        labels.looked_at.extend(0..frames.unwrap_or(0));
        labels.without_doubles();
        Ok(labels)
    }
}

/// Parses a file of JSON: the documents of a list, or the one document that the file is.
fn documents<T: DeserializeOwned>(content: &str) -> Result<Vec<T>, Wrong> {
    let parse = |e: &serde_json::Error| {
        (e.line().max(1) as u64, format!("failed to parse the JSON: {}", run::plain_json(e)))
    };
    let value: Value = serde_json::from_str(content).map_err(|e| parse(&e))?;
    if value.is_array() {
        return serde_json::from_str(content).map_err(|e| parse(&e));
    }
    serde_json::from_str(content).map(|one| vec![one]).map_err(|e| parse(&e))
}

/// The error of a format that needs to know the video.
fn no_scene() -> Wrong {
    (1, NO_SCENE.to_owned())
}

/// Things of a file that have no counterpart here, by what they are.
#[derive(Debug, Default)]
struct Unused(BTreeMap<String, usize>);

impl Unused {
    fn add(&mut self, what: impl Into<String>, number: usize) {
        *self.0.entry(what.into()).or_default() += number;
    }

    /// Adds the items of the lists among the members of an object.
    fn add_lists(&mut self, members: &Map<String, Value>) {
        for (name, value) in members {
            if let Some(list) = value.as_array().filter(|list| !list.is_empty()) {
                self.add(name, list.len());
            }
        }
    }

    fn warn(self, labels: &mut Labels) {
        for (what, number) in self.0 {
            labels.warn(number, &format!("`{what}` has no counterpart and is left out"));
        }
    }
}

fn text(content: &[u8]) -> Result<&str, Wrong> {
    std::str::from_utf8(content).map_err(|error| {
        let before = &content[..error.valid_up_to()];
        (1 + before.iter().filter(|byte| **byte == b'\n').count() as u64, NOT_UTF8.to_owned())
    })
}

/// Returns labels as the CSV that `run --labels` reads, in the order of the frames. The CSV has the column `shot`
/// only if every face with an identity has a shot.
pub fn write(labels: &Labels) -> String {
    let faces = || labels.lines.iter().filter_map(|line| line.face.as_ref());
    let all_known = faces().all(|face| face.shot.is_some() || face.identity.is_none());
    let columns = if all_known && faces().any(|face| face.shot.is_some()) { 7 } else { 6 };
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory cannot fail.
    let _ = writer.write_record(&["frame", "x", "y", "w", "h", "identity", "shot"][..columns]);
    for (frame, face) in by_frame(labels) {
        let [x, y, w, h] = face.map_or([0.0; 4], |face| face.bbox);
        let identity = face.map_or("-", |face| face.identity.as_deref().unwrap_or("?"));
        let shot = face.and_then(|face| face.shot);
        let record = [
            frame.to_string(),
            x.to_string(),
            y.to_string(),
            w.to_string(),
            h.to_string(),
            identity.into(),
            shot.map_or_else(String::new, |shot| shot.to_string()),
        ];
        let _ = writer.write_record(&record[..columns]);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// Returns every face in the order of the frames, and one entry without a face for each labelled frame without faces.
fn by_frame(labels: &Labels) -> Vec<(i64, Option<&Face>)> {
    let (mut all, mut empty) = (Vec::new(), labels.looked_at.clone());
    for line in &labels.lines {
        match &line.face {
            Some(face) => all.push((line.frame, Some(face))),
            None => {
                empty.insert(line.frame);
            }
        }
    }
    for (frame, _) in &all {
        empty.remove(frame);
    }
    all.extend(empty.into_iter().map(|frame| (frame, None)));
    all.sort_by_key(|(frame, _)| *frame);
    all
}

/// Parses the number of a frame in the column or attribute `name`.
fn frame(name: &str, text: &str) -> Result<i64, String> {
    let frame = text.trim().parse().ok().filter(|frame: &f64| frame.fract() == 0.0);
    let frame = frame.ok_or_else(|| format!("`{name}`: {text:?} is not an integer"))?;
    if frame.abs() <= MOST_FRAMES as f64 {
        return Ok(frame as i64);
    }
    Err(format!("`{name}`: {text:?} is not an integer within the range of frame numbers"))
}

/// Parses a coordinate in the column or attribute `name`, pixels.
fn number(name: &str, text: &str) -> Result<f64, String> {
    let text = text.trim();
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    let number = number.ok_or_else(|| format!("`{name}`: {text:?} is not a number"))?;
    if number.abs() <= MOST_PIXELS {
        return Ok(number);
    }
    Err(format!("`{name}`: {text} is larger than any picture"))
}

/// Checks that a box has a width and a height above 0.
fn bbox(x: f64, y: f64, w: f64, h: f64) -> Result<[f64; 4], String> {
    if w > 0.0 && h > 0.0 {
        return Ok([x, y, w, h]);
    }
    Err(format!("a box must have a width and height above 0, not {w} × {h}"))
}

/// Returns the identity in a cell, in Unicode's form NFC, so that one name is one person; `None` for the usual marks of
/// an unknown person.
fn identity(text: &str) -> Option<String> {
    let text = text.trim();
    // A person called `-` would be read as a frame without faces.
    (!matches!(text, "" | "?" | "-" | "-1")).then(|| text.nfc().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: LabelFormat, text: &str) -> Result<String, Wrong> {
        format.read(text.as_bytes(), None, None).map(|labels| write(&labels))
    }

    #[test]
    fn mot_counts_from_one_and_marks_faces_that_are_not_scored() {
        let text = "1,7,10,20,30,40,1,1,1\n3,7,11,20,30,40,1,1,0.5\n3,8,50,20,30,40,0,1,1\n";
        let expected =
            "frame,x,y,w,h,identity\n0,10,20,30,40,7\n1,0,0,0,0,-\n2,11,20,30,40,7\n2,50,20,30,40,?\n";
        assert_eq!(read(LabelFormat::Mot, text).as_deref(), Ok(expected));
    }

    fn of_service(format: LabelFormat, text: &str) -> Result<Labels, Wrong> {
        let times = (0..100).map(|frame| (frame, frame as f64 / 25.0)).collect();
        format.read_of(text.as_bytes(), None, None, Some(&Scene::new(times, 640, 360)))
    }

    fn identities(labels: &Labels) -> Vec<&str> {
        labels.lines.iter().filter_map(|line| line.face.as_ref()?.identity.as_deref()).collect()
    }

    #[test]
    fn a_tracked_person_has_the_name_of_most_matches() {
        let entry = |index: u8, name: &str| {
            let face = r#"{"BoundingBox": {"Left": 0.1, "Top": 0.1, "Width": 0.1, "Height": 0.2}}"#;
            let known =
                if name.is_empty() { String::new() } else { format!(r#", "ExternalImageId": "{name}""#) };
            format!(
                r#"{{"Timestamp": 40, "Person": {{"Index": {index}, "Face": {face}}},
                    "FaceMatches": [{{"Similarity": 90, "Face": {{"FaceId": "f"{known}}}}}]}}"#
            )
        };
        let list = [(1, "Ida"), (1, ""), (1, "Ida"), (1, "Bo"), (2, ""), (3, "Ida"), (3, "Bo"), (3, "")];
        let list: Vec<String> = list.iter().map(|(index, name)| entry(*index, name)).collect();
        let labels = of_service(LabelFormat::Rekognition, &format!(r#"{{"Persons": [{}]}}"#, list.join(",")))
            .unwrap_or_default();
        // Repeated lines are left out, so the names are counted by the warnings.
        let warned = |what: &str| labels.warnings.iter().any(|warning| warning.contains(what));
        assert!(warned("name of other faces of the same `Index`: 1"), "{:?}", labels.warnings);
        assert!(warned("a number in place of a name: 2"), "{:?}", labels.warnings);
    }

    #[test]
    fn boxes_that_are_empty_after_rounding_are_left_out() {
        let seen = |width: f64| {
            format!(
                r#"{{"Timestamp": 0, "Celebrity": {{"Name": "ida", "Face": {{"BoundingBox":
                    {{"Left": 0.1, "Top": 0.1, "Width": {width}, "Height": 0.2}}}}}}}}"#
            )
        };
        let text = format!(r#"{{"Celebrities": [{}, {}, {}]}}"#, seen(1e-7), seen(0.1), seen(-0.1));
        let labels = of_service(LabelFormat::Rekognition, &text).unwrap_or_default();
        assert_eq!(identities(&labels), ["ida"]);
        assert_eq!(labels.warnings, [format!("{EMPTY_BOXES}: 2")]);
        let object = |right: f64| {
            format!(
                r#"{{"timeOffset": "0.04s", "normalizedBoundingBox": {{"right": {right}, "bottom": 0.5}}}}"#
            )
        };
        let text = format!(
            r#"{{"annotationResults": [{{"faceDetectionAnnotations": [{{"tracks": [{{"timestampedObjects": [{}, {}]}}]}}]}}]}}"#,
            object(0.0),
            object(0.5)
        );
        let labels = of_service(LabelFormat::Google, &text).unwrap_or_default();
        assert_eq!(identities(&labels), ["face 1"]);
        assert_eq!(labels.warnings, [format!("{EMPTY_BOXES}: 1")]);
    }

    /// What the reader of JSON says of types has no words of its language.
    #[test]
    fn wrong_types_are_reported_in_plain_words() {
        let object = |time: &str, left: &str| {
            format!(
                r#"{{"annotationResults": [{{"faceDetectionAnnotations": [{{"tracks": [{{"timestampedObjects":
                    [{{"timeOffset": {time}, "normalizedBoundingBox": {{"left": {left}, "right": 0.5, "bottom": 0.5}}}}]}}]}}]}}]}}"#
            )
        };
        for time in ["7", "[1]", "{\"seconds\": []}", "\"soon\"", "true"] {
            let labels = of_service(LabelFormat::Google, &object(time, "0")).unwrap_or_default();
            assert_eq!(labels.warnings, ["boxes without edges or a time, which are left out: 1"], "{time}");
        }
        for left in ["\"x\"", "{}", "[]", "null"] {
            let (_, reason) =
                of_service(LabelFormat::Google, &object("\"0s\"", left)).err().unwrap_or_default();
            for word in ["f64", "struct", "enum", "untagged", "map", "sequence", "unit", "Option"] {
                assert!(!reason.is_empty() && !reason.contains(word), "{left}: {reason}");
            }
        }
    }

    /// Files of this size took minutes before.
    #[test]
    fn long_files_take_time_in_proportion_to_their_length() {
        let n = 60_000;
        let started = std::time::Instant::now();
        let categories: Vec<_> = (0..n).map(|id| format!(r#"{{"id": {id}, "name": "p"}}"#)).collect();
        let annotations: Vec<_> = (0..n)
            .map(|id| format!(r#"{{"image_id": 1, "bbox": [1, 1, 5, 5], "category_id": {}}}"#, n - 1 - id))
            .collect();
        let coco = format!(
            r#"{{"images": [{{"id": 1, "frame": 0}}], "categories": [{}], "annotations": [{}]}}"#,
            categories.join(","),
            annotations.join(",")
        );
        assert!(LabelFormat::Coco.read(coco.as_bytes(), None, None).is_ok());
        let boxes: Vec<_> = (0..n)
            .map(|at| format!("\n<box frame=\"{at}\" xtl=\"1\" ytl=\"1\" xbr=\"9\" ybr=\"9\"/>"))
            .collect();
        let cvat =
            format!("<annotations><track id=\"0\" label=\"f\">{}</track></annotations>", boxes.concat());
        let labels = LabelFormat::Cvat.read(cvat.as_bytes(), None, None).unwrap_or_default();
        assert_eq!(labels.lines.last().map(|line| line.line), Some(n + 1));
        assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
    }

    #[test]
    fn invalid_mot_is_reported_by_line() {
        let cases = [
            ("1,7,10,20,30\n", (1, "the row has 5 cells; MOTChallenge has at least 6")),
            ("1,7,10,20,30,40\n2,7,ten,20,30,40\n", (2, "`left`: \"ten\" is not a number")),
            ("1,7,10,20,0,40\n", (1, "a box must have a width and height above 0, not 0 × 40")),
            ("-1,7,10,20,30,40\n", (1, "frame -1 is before the first frame, 1")),
            ("1.5,7,10,20,30,40\n", (1, "`frame`: \"1.5\" is not an integer")),
            ("1,7,10,20,30,1e10\n", (1, "`height`: 1e10 is larger than any picture")),
        ];
        for (text, (line, reason)) in cases {
            assert_eq!(read(LabelFormat::Mot, text), Err((line, reason.to_owned())), "{text}");
        }
    }

    /// Tests numbers that overflow in sums and differences, and frame numbers that would exhaust the memory.
    #[test]
    fn frames_that_no_video_reaches_are_refused() {
        let far = "is not an integer within the range of frame numbers";
        for number in ["-9223372036854775808", "9223372036854775807", "1e300", "6000001"] {
            let csv = format!("frame,x,y,w,h,identity\n{number},1,1,5,5,ida\n");
            let mot = format!("{number},7,10,20,30,40\n");
            let image = format!("<annotations><image id='{number}'/></annotations>");
            for (format, text) in
                [(LabelFormat::Csv, csv), (LabelFormat::Mot, mot), (LabelFormat::Cvat, image)]
            {
                let found = format.read(text.as_bytes(), Some(i64::MAX), None);
                assert!(found.as_ref().is_err_and(|(_, reason)| reason.contains(far)), "{text}: {found:?}");
            }
            let ends = format!("<start_frame>{number}</start_frame><stop_frame>{number}</stop_frame>");
            let task = format!("<annotations><meta><task>{ends}</task></meta></annotations>");
            assert_eq!(
                LabelFormat::Cvat.read(task.as_bytes(), None, None),
                Ok(Labels::default()),
                "{number}"
            );
        }
        let text = b"frame,x,y,w,h,identity\n3,1,1,5,5,ida\n";
        let found = LabelFormat::Csv.read(text, Some(i64::MAX), None).map_err(|(_, reason)| reason);
        assert_eq!(found, Err("frame 3 is before the first frame, 9223372036854775807".into()));
        assert!(LabelFormat::Csv.read(text, Some(i64::MIN), None).is_ok());
    }

    #[test]
    fn csv_may_have_other_column_names() {
        let corners = "frame_idx,name,x_min,y_min,x_max,y_max,shot\n4,ida,1,2,11,22,0\n4,,50,2,61,22,\n";
        let expected = "frame,x,y,w,h,identity,shot\n4,1,2,10,20,ida,0\n4,50,2,11,20,?,\n";
        assert_eq!(read(LabelFormat::Csv, corners).as_deref(), Ok(expected));
        assert_eq!(read(LabelFormat::Csv, expected).as_deref(), Ok(expected));
        let missing = read(LabelFormat::Csv, "frame,x,y,w,identity\n");
        assert_eq!(missing, Err((1, "missing column `h`".into())));
    }

    #[test]
    fn csv_of_spreadsheets_is_read() {
        let expected = "frame,x,y,w,h,identity,shot\n4,1,2.5,10,20,ida,0\n";
        for text in [
            "\u{feff}Frame;X;Y;W;H;Identity;Shot\n4.0;1;2,5;10;20;ida;0.0\n",
            "FRAME\tX\tY\tW\tH\tIDENTITY\tSHOT\n4\t1\t2.5\t10\t20\tida\t0\n",
        ] {
            assert_eq!(read(LabelFormat::Csv, text).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn doubled_lines_are_left_out_and_reported() {
        let text =
            "frame,x,y,w,h,identity\n1,1,1,5,5,ida\n1,1,1,5,5,ida\n1,9,1,5,5,ida\n1,1,1,5,5,?\n1,1,1,5,5,?\n";
        let labels = LabelFormat::Csv.read(text.as_bytes(), None, None).unwrap_or_default();
        assert_eq!(labels.lines.iter().map(|line| line.line).collect::<Vec<_>>(), [2, 4, 5, 6]);
        let expected = [
            "lines of the labels that repeat an earlier line and are left out: 1, first line 3",
            "lines of the labels that give a person a second box in a frame: 1, first line 4",
        ];
        assert_eq!(labels.warnings, expected);
    }

    #[test]
    fn csv_keeps_frames_without_faces() {
        let text = "frame,x,y,w,h,identity\n0,0,0,0,0,-\n1,1,1,5,5,ida\n";
        assert_eq!(read(LabelFormat::Csv, text).as_deref(), Ok(text));
    }

    #[test]
    fn cvat_tracks_have_an_attribute_or_their_number() {
        let text = r#"<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>
            <meta><task><size>4</size></task></meta>
            <track id="0" label="face"><box frame="0" outside="0" xtl="1" ytl="2" xbr="11" ybr="22">
              <attribute name="identity">ida</attribute></box>
              <box frame="1" outside="1" xtl="1" ytl="2" xbr="11" ybr="22"/></track>
            <track id="1" label="face"><box frame="1" outside="0" xtl="5" ytl="2" xbr="11" ybr="22"/></track>
            <track id="2" label="face"><box frame="1" outside="0" xtl="7" ytl="2" xbr="11" ybr="22">
              <attribute name="identity"></attribute></box></track>
            </annotations>"#;
        let expected = "frame,x,y,w,h,identity\n0,1,2,10,20,ida\n1,5,2,6,20,face 1\n1,7,2,4,20,?\n2,0,0,0,0,-\n3,0,0,0,0,-\n";
        assert_eq!(read(LabelFormat::Cvat, text).as_deref(), Ok(expected));
    }

    #[test]
    fn cvat_with_a_frame_step_labels_only_frames_of_the_step() {
        let text = r#"<annotations><meta><task><size>3</size><start_frame>2</start_frame><stop_frame>9</stop_frame>
            <frame_filter>step=3</frame_filter></task></meta><track id="0" label="face">
            <box frame="5" outside="0" xtl="1" ytl="2" xbr="11" ybr="22"><attribute name="identity">ida</attribute></box>
            </track></annotations>"#;
        let expected = "frame,x,y,w,h,identity\n2,0,0,0,0,-\n5,1,2,10,20,ida\n8,0,0,0,0,-\n";
        assert_eq!(read(LabelFormat::Cvat, text).as_deref(), Ok(expected));
    }

    /// Reads two CVAT tracks with these labels and without attributes.
    fn cvat_labels(a: &str, b: &str) -> Labels {
        let track = |id: u8, label: &str| {
            let at = r#"frame="0" outside="0" ytl="2" ybr="22""#;
            format!(r#"<track id="{id}" label="{label}"><box {at} xtl="{id}1" xbr="{id}9"/></track>"#)
        };
        let text = format!("<annotations>{}{}</annotations>", track(0, a), track(1, b));
        LabelFormat::Cvat.read(text.as_bytes(), None, None).unwrap_or_default()
    }

    #[test]
    fn different_labels_are_people_and_a_common_label_is_not() {
        let people = |labels: &Labels| -> Vec<_> {
            labels
                .lines
                .iter()
                .map(|line| line.face.as_ref().and_then(|face| face.identity.clone()))
                .collect()
        };
        let named = cvat_labels("ida", "bo");
        assert_eq!((people(&named), named.warnings), (vec![Some("ida".into()), Some("bo".into())], vec![]));
        let repeated = cvat_labels("face", "face");
        assert_eq!(people(&repeated), [Some("face 0".into()), Some("face 1".into())]);
        assert_eq!(repeated.warnings.len(), 1);
    }

    #[test]
    fn cvat_of_images_is_read_too() {
        let text = r#"<annotations><image id="3" name="a.png" width="9" height="9">
            <box label="ida" xtl="1" ytl="2" xbr="11" ybr="22"/></image><image id="4" name="b.png"/></annotations>"#;
        let expected = "frame,x,y,w,h,identity\n3,1,2,10,20,ida\n4,0,0,0,0,-\n";
        assert_eq!(read(LabelFormat::Cvat, text).as_deref(), Ok(expected));
    }

    #[test]
    fn cvat_ellipses_and_polygons_are_boxes_and_other_shapes_are_counted() {
        let text = r#"<annotations><image id="3"><ellipse label="ida" cx="6" cy="12" rx="5" ry="10"/>
            <polygon label="bo" points="1.0,2.0;11.0,3.5;4,22"/><mask label="bo" rle="1"/><points points="1,2"/>
            </image></annotations>"#;
        let labels = LabelFormat::Cvat.read(text.as_bytes(), None, None).unwrap_or_default();
        assert_eq!(write(&labels), "frame,x,y,w,h,identity\n3,1,2,10,20,ida\n3,1,2,10,20,bo\n");
        assert_eq!(labels.warnings, ["shapes of the labels that surround no face and are left out: 2"]);
    }

    #[test]
    fn coco_has_the_frame_in_the_picture_and_the_person_in_the_annotation() {
        let text = r#"{"images": [{"id": 1, "file_name": "clip2_000004.png"}, {"id": 2, "frame_idx": 6}],
            "categories": [{"id": 1, "name": "face"}], "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20.5], "attributes": {"name": "ida"}},
            {"id": 9, "image_id": 1, "category_id": 1, "bbox": [3, 2, 10, 20], "track_id": 7},
            {"image_id": 1, "category_id": 1, "bbox": [5, 2, 10, 20], "track_id": 7, "identity": null},
            {"image_id": 1, "category_id": 1, "segmentation": []}]}"#;
        let labels = LabelFormat::Coco.read(text.as_bytes(), None, None).unwrap_or_default();
        let expected =
            "frame,x,y,w,h,identity\n4,1,2,10,20.5,ida\n4,3,2,10,20,face 7\n4,5,2,10,20,?\n6,0,0,0,0,-\n";
        assert_eq!(write(&labels), expected);
        let warnings = [
            "annotations of the labels without a box, which are left out: 1",
            "annotations of the labels without an identity, which are not scored: 1",
        ];
        assert_eq!(labels.warnings, warnings);
    }

    #[test]
    fn coco_categories_are_people_where_several_are_used() {
        let text = r#"{"images": [{"id": 4, "file_name": "a.png"}], "annotations": [
            {"image_id": 4, "category_id": 1, "bbox": [1, 2, 10, 20]},
            {"image_id": 4, "category_id": 2, "bbox": [3, 2, 10, 20]}],
            "categories": [{"id": 1, "name": "ida"}, {"id": 2, "name": "bo"}]}"#;
        let expected = "frame,x,y,w,h,identity\n4,1,2,10,20,ida\n4,3,2,10,20,bo\n";
        assert_eq!(read(LabelFormat::Coco, text).as_deref(), Ok(expected));
    }

    #[test]
    fn invalid_coco_is_refused() {
        let annotation = |text: &str| {
            let text = format!(r#"{{"images": [{{"id": 4}}], "annotations": [{{{text}}}]}}"#);
            read(LabelFormat::Coco, &text).map_err(|(_, reason)| reason)
        };
        let cases = [
            (r#""image_id": 5, "bbox": [1, 2, 3, 4]"#, "there is no picture 5"),
            (
                r#""image_id": 4, "bbox": [1, 2, 0, 4]"#,
                "a box must have a width and height above 0, not 0 × 4",
            ),
            (r#""image_id": 4, "bbox": [1, 2, 3, 1e10]"#, "the box is larger than any picture"),
        ];
        for (text, reason) in cases {
            assert_eq!(annotation(text), Err(format!("annotation 1 of the file: {reason}")), "{text}");
        }
        assert!(read(LabelFormat::Coco, "[1]").is_err());
    }

    #[test]
    fn mot_may_count_from_zero_and_reports_boxes_without_an_id() {
        let text = "0,7,10,20,30,40\n1,-1,11,20,30,40\n";
        let labels = LabelFormat::Mot.read(text.as_bytes(), None, None).unwrap_or_default();
        assert_eq!(write(&labels), "frame,x,y,w,h,identity\n0,10,20,30,40,7\n1,11,20,30,40,?\n");
        let warnings = [
            "boxes of the labels without an id or with the flag 0, which are not scored: 1",
            "frames of the labels count from 0, those of MOTChallenge from 1",
        ];
        assert_eq!(labels.warnings, warnings);
    }

    #[test]
    fn sparse_labels_are_reported_where_all_frames_count() {
        let lines = |step: usize| -> String {
            (1..100).step_by(step).map(|frame| format!("{frame},7,10,20,30,40\n")).collect()
        };
        let warned = |step| {
            let labels = LabelFormat::Mot.read(lines(step).as_bytes(), None, None).unwrap_or_default();
            labels.warnings.iter().any(|warning| warning.contains("5 frames apart"))
        };
        assert!(warned(5) && !warned(1));
    }

    #[test]
    fn one_name_in_two_unicode_forms_is_one_person() {
        let text = "frame,x,y,w,h,identity\n1,1,1,5,5,J\u{f6}rg\n2,1,1,5,5,Jo\u{308}rg\n";
        let labels = LabelFormat::Csv.read(text.as_bytes(), None, None).unwrap_or_default();
        let faces = labels.lines.iter().filter_map(|line| line.face.as_ref());
        let names: BTreeSet<_> = faces.map(|face| face.identity.clone()).collect();
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn invalid_cvat_is_reported_by_line() {
        assert!(
            read(LabelFormat::Cvat, "<annotations>\n<track></annotations>").is_err_and(|(line, _)| line == 2)
        );
        let no_box =
            "<annotations>\n<track id='0' label='a'>\n<box frame='0' xtl='1'/></track></annotations>";
        assert_eq!(read(LabelFormat::Cvat, no_box), Err((3, "the box has no attribute `ytl`".into())));
        assert_eq!(
            read(LabelFormat::Cvat, "<svg/>"),
            Err((1, "the root element is <svg>, not <annotations>".into()))
        );
    }

    #[test]
    fn the_caller_can_state_that_all_frames_are_labelled() {
        let labels = LabelFormat::Csv.read(b"frame,x,y,w,h,identity\n1,1,1,5,5,ida\n", None, Some(3));
        let text = labels.map(|labels| write(&labels));
        assert_eq!(text.as_deref(), Ok("frame,x,y,w,h,identity\n0,0,0,0,0,-\n1,1,1,5,5,ida\n2,0,0,0,0,-\n"));
    }

    /// A sample as of a video of 640 × 360 pixels at 25 frames per second.
    fn sample(format: LabelFormat, content: &str) -> Labels {
        let scene = Scene::new((0..100).map(|frame| (frame, frame as f64 / 25.0)).collect(), 640, 360);
        format.read_of(content.as_bytes(), None, None, Some(&scene)).unwrap_or_default()
    }

    #[test]
    fn people_of_rekognition_are_matches_of_a_collection_or_numbers() {
        let labels = sample(LabelFormat::Rekognition, include_str!("../../samples/rekognition-faces.json"));
        let expected = "frame,x,y,w,h,identity\n0,160,45,80,90,Ida\n13,166.4,45,80,90,Ida\n\
                        13,448,108,64,72,person 1\n";
        assert_eq!(write(&labels), expected);
        assert_eq!(labels.made_up, ["person 1".to_owned()].into());
        let warnings = [
            "entries with a body but no face, which are left out: 1",
            "faces without a name that get the name of other faces of the same `Index`: 1",
            "faces with a number in place of a name: 1",
            "faces with landmarks, pose, emotions or other attributes, which are left out: 1",
        ];
        assert_eq!(labels.warnings, warnings);
        // The answer describes the video, too.
        let text = include_str!("../../samples/rekognition-faces.json");
        assert_eq!(read(LabelFormat::Rekognition, text).as_deref(), Ok(expected));
    }

    #[test]
    fn tracks_of_google_are_people_unless_a_celebrity_has_the_same_face() {
        let labels = sample(LabelFormat::Google, include_str!("../../samples/google.json"));
        let expected =
            "frame,x,y,w,h,identity\n0,160,45,80,90,face 1\n1,0,180,64,72,face 2\n2,160,45,80,90,face 1\n";
        assert_eq!(write(&labels), expected);
        let warnings = [
            "the tracks of faces do not say who is who: each of the 2 tracks counts as one person",
            "boxes without edges or a time, which are left out: 1",
            "boxes at times that no frame of the video has, which are left out: 1",
            "boxes with attributes or landmarks, which are left out: 1",
            "`personDetectionAnnotations` has no counterpart and is left out: 1",
            "`shotAnnotations` has no counterpart and is left out: 2",
        ];
        assert_eq!(labels.warnings, warnings);
        let labels = sample(LabelFormat::Google, include_str!("../../samples/google-celebrities.json"));
        assert_eq!(
            write(&labels),
            "frame,x,y,w,h,identity\n1,160,45,80,90,Ida Berg\n2,448,45,64,90,face 1\n"
        );
        assert_eq!(labels.warnings, ["boxes of faces that a celebrity has, too, which are left out: 1"]);
        let alone = read(LabelFormat::Google, include_str!("../../samples/google.json"));
        assert_eq!(alone, Err((1, NO_SCENE.to_owned())));
    }

    #[test]
    fn faces_of_azure_and_speakers_of_pyannote_have_times() {
        let times = |format, content: &str| -> Vec<(Option<String>, f64, f64)> {
            let labels = sample(format, content);
            assert_eq!(labels.lines, []);
            labels.times.into_iter().map(|time| (time.name, time.start_secs, time.end_secs)).collect()
        };
        let ida = |name: &str| Some(name.to_owned());
        assert_eq!(
            times(LabelFormat::Azure, include_str!("../../samples/azure.json")),
            [(ida("Ida Berg"), 0.0, 10.5), (ida("Ida Berg"), 20.0, 25.0), (None, 12.0, 15.0)]
        );
        for (content, name) in [
            (include_str!("../../samples/pyannote.rttm"), "Ida_Berg"),
            (include_str!("../../samples/pyannote.json"), "Ida Berg"),
        ] {
            let expected = [(ida(name), 0.5, 3.75), (None, 4.0, 5.5)];
            assert_eq!(times(LabelFormat::Pyannote, content), expected);
        }
    }

    #[test]
    fn boxes_of_mmif_have_the_time_and_the_name_of_what_they_belong_to() {
        let labels = sample(LabelFormat::Mmif, include_str!("../../samples/mmif.json"));
        assert_eq!(write(&labels), "frame,x,y,w,h,identity\n2,160,45,80,90,Ida Berg\n");
        let time = Time { name: Some("Ida Berg".into()), start_secs: 3.0, end_secs: 9.0 };
        assert_eq!(labels.times, [time]);
        let warnings = [
            "faces and names without a time, which are left out: 1",
            "`BoundingBox text` has no counterpart and is left out: 1",
            "`TimeFrame slate` has no counterpart and is left out: 1",
        ];
        assert_eq!(labels.warnings, warnings);
        // Boxes at frames need no video.
        let labels = read(LabelFormat::Mmif, include_str!("../../samples/mmif-faces.json"));
        let expected = "frame,x,y,w,h,identity\n0,160,45,80,90,ida\n30,162,45,80,90,ida\n";
        assert_eq!(labels.as_deref(), Ok(expected));
    }

    proptest::proptest! {
        /// Any text is either read or refused.
        #[test]
        fn nothing_breaks_the_readers(text in "(<[a-z ='/>]{0,9}|[0-9,.\\-\n a-z?]){0,60}") {
            for format in LabelFormat::ALL.map(|(format, ..)| format) {
                let _ = read(format, &text);
            }
        }
    }
}
