//! Answers of Google Cloud Video Intelligence, JSON: `faceDetectionAnnotations`, and `celebrityRecognitionAnnotations`
//! of the preview version.

use geometry::BBox;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Face, Labels, Line, Scene, Unused, Wrong, documents, identity};

/// Least intersection over union of two boxes of one face.
const SAME_FACE: f64 = 0.5;
/// Most boxes of celebrities in a frame that other boxes are compared with: more than fit into a picture, so that a
/// hostile file cannot make the comparison take hours.
const MOST_IN_FRAME: usize = 1000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(alias = "annotation_results")]
    annotation_results: Option<Vec<Results>>,
    /// Where the file is the operation and not its answer.
    response: Option<Box<Answer>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Results {
    #[serde(alias = "input_uri")]
    input_uri: Option<String>,
    #[serde(default, alias = "face_detection_annotations")]
    face_detection_annotations: Vec<Faces>,
    #[serde(alias = "celebrity_recognition_annotations")]
    celebrity_recognition_annotations: Option<Celebrities>,
    /// The other members.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Faces {
    #[serde(default)]
    tracks: Vec<Track>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Celebrities {
    #[serde(default, alias = "celebrity_tracks")]
    celebrity_tracks: Vec<CelebrityTrack>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CelebrityTrack {
    #[serde(default)]
    celebrities: Vec<Candidate>,
    #[serde(alias = "face_track")]
    face_track: Option<Track>,
}

#[derive(Deserialize)]
struct Candidate {
    celebrity: Option<Celebrity>,
    confidence: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Celebrity {
    #[serde(alias = "display_name")]
    display_name: Option<String>,
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Track {
    #[serde(default, alias = "timestamped_objects")]
    timestamped_objects: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(alias = "time_offset")]
    time_offset: Option<Offset>,
    #[serde(alias = "normalized_bounding_box")]
    normalized_bounding_box: Option<Edges>,
    #[serde(default)]
    attributes: Vec<Value>,
    #[serde(default)]
    landmarks: Vec<Value>,
}

/// A duration of Protocol Buffers: a text such as `1.5s`, or an object with `seconds` and `nanos`.
#[derive(Deserialize)]
struct Offset(Value);

/// Edges in shares of the frame. Protocol Buffers leave out zeros.
#[derive(Deserialize)]
struct Edges {
    #[serde(default)]
    left: f64,
    #[serde(default)]
    top: f64,
    #[serde(default)]
    right: f64,
    #[serde(default)]
    bottom: f64,
}

impl Offset {
    /// Seconds; `None` for what is no duration.
    fn secs(&self) -> Option<f64> {
        let number = |part: Option<&Value>| match part {
            None | Some(Value::Null) => Some(0.0),
            Some(Value::String(text)) => text.parse().ok(),
            Some(number) => number.as_f64(),
        };
        match &self.0 {
            Value::String(text) => text.strip_suffix('s')?.parse().ok(),
            Value::Object(parts) => Some(number(parts.get("seconds"))? + number(parts.get("nanos"))? / 1e9),
            _ => None,
        }
    }
}

/// What is counted while tracks are read.
#[derive(Default)]
struct Counts {
    incomplete: usize,
    outside: usize,
    empty: usize,
    details: usize,
    doubles: usize,
}

pub(super) fn read(content: &str, scene: Option<&Scene>) -> Result<Labels, Wrong> {
    let mut results = Vec::new();
    for answer in documents::<Answer>(content)? {
        let inner = answer.response.map_or(answer.annotation_results, |inner| inner.annotation_results);
        results.extend(inner.ok_or_else(|| (1, "the file has no `annotationResults`".to_owned()))?);
    }
    let mut videos: Vec<_> = results.iter().filter_map(|found| found.input_uri.as_deref()).collect();
    videos.sort_unstable();
    videos.dedup();
    if videos.len() > 1 {
        return Err((1, format!("the file is about {} videos, such as `{}`", videos.len(), videos[0])));
    }
    let scene = scene.ok_or_else(super::no_scene)?;
    let (mut labels, mut unused, mut counts) = (Labels::default(), Unused::default(), Counts::default());
    for found in results.iter().flat_map(|found| &found.celebrity_recognition_annotations) {
        for CelebrityTrack { celebrities, face_track } in &found.celebrity_tracks {
            let best = celebrities
                .iter()
                .max_by(|a, b| a.confidence.unwrap_or(0.0).total_cmp(&b.confidence.unwrap_or(0.0)));
            let best = best.and_then(|candidate| candidate.celebrity.as_ref());
            let name = best.and_then(|found| found.display_name.as_ref().or(found.name.as_ref()));
            let name = name.and_then(|name| identity(name));
            face_track
                .iter()
                .try_for_each(|track| add(track, name.as_deref(), scene, &mut labels, &mut counts))?;
        }
    }
    let named = labels.lines.len();
    let mut tracks = 0;
    for track in
        results.iter().flat_map(|found| &found.face_detection_annotations).flat_map(|found| &found.tracks)
    {
        tracks += 1;
        let number = format!("face {tracks}");
        labels.made_up.insert(number.clone());
        add(track, Some(&number), scene, &mut labels, &mut counts)?;
    }
    leave_out_doubles(&mut labels, named, &mut counts);
    let unnamed =
        labels.lines.iter().filter(|line| line.face.as_ref().is_some_and(|f| f.identity.is_none())).count();
    labels.warn(unnamed, "faces without an identity, which are not scored");
    if tracks > 1 {
        labels.warnings.push(format!(
            "the tracks of faces do not say who is who: each of the {tracks} tracks counts as one person"
        ));
    }
    labels.warn(counts.doubles, "boxes of faces that a celebrity has, too, which are left out");
    labels.warn(counts.incomplete, "boxes without edges or a time, which are left out");
    labels.warn(counts.outside, "boxes at times that no frame of the video has, which are left out");
    labels.warn(counts.empty, super::EMPTY_BOXES);
    labels.warn(counts.details, "boxes with attributes or landmarks, which are left out");
    results.iter().for_each(|found| unused.add_lists(&found.rest));
    unused.warn(&mut labels);
    Ok(labels)
}

/// Adds the boxes of a track.
fn add(
    track: &Track,
    name: Option<&str>,
    scene: &Scene,
    labels: &mut Labels,
    counts: &mut Counts,
) -> Result<(), Wrong> {
    for object in &track.timestamped_objects {
        let secs = object.time_offset.as_ref().and_then(Offset::secs);
        let (Some(edges), Some(secs)) = (&object.normalized_bounding_box, secs) else {
            counts.incomplete += 1;
            continue;
        };
        let Some(frame) = scene.frame(secs) else {
            counts.outside += 1;
            continue;
        };
        counts.details += usize::from(!object.attributes.is_empty() || !object.landmarks.is_empty());
        let share = [edges.left, edges.top, edges.right - edges.left, edges.bottom - edges.top];
        let bbox = scene.bbox(share).map_err(|reason| (1, format!("a box at {secs} s: {reason}")))?;
        let Some(bbox) = bbox else {
            counts.empty += 1;
            continue;
        };
        let identity = name.map(str::to_owned);
        labels.lines.push(Line { line: 1, frame, face: Some(Face { bbox, identity, shot: None }) });
    }
    Ok(())
}

/// Leaves out the faces after the first `named` that are among those, too.
fn leave_out_doubles(labels: &mut Labels, named: usize, counts: &mut Counts) {
    let rest = labels.lines.split_off(named.min(labels.lines.len()));
    let bbox = |line: &Line| {
        let [x, y, w, h] = line.face.as_ref()?.bbox;
        Some((line.frame, BBox::from_corner(x, y, w, h)))
    };
    let mut known: std::collections::BTreeMap<i64, Vec<BBox<f64>>> = std::collections::BTreeMap::new();
    labels.lines.iter().filter_map(bbox).for_each(|(frame, found)| {
        let of_frame = known.entry(frame).or_default();
        if of_frame.len() < MOST_IN_FRAME {
            of_frame.push(found);
        }
    });
    for line in rest {
        let is_double = bbox(&line).is_some_and(|(frame, own)| {
            known.get(&frame).is_some_and(|boxes| boxes.iter().any(|other| other.iou(&own) >= SAME_FACE))
        });
        if is_double {
            counts.doubles += 1;
        } else {
            labels.lines.push(line);
        }
    }
}
