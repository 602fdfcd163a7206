//! MMIF, the Multi-Media Interchange Format of CLAMS: bounding boxes of faces, objects of a video and time frames with
//! the name of a person.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    Face, IDENTITY, Labels, Line, MOST_PIXELS, Scene, Time, Unused, Wrong, bbox, documents, frame, identity,
};

/// Label of a box around a face.
const FACE: &str = "face";

#[derive(Deserialize)]
struct Document {
    documents: Vec<Annotation>,
    views: Vec<View>,
}

#[derive(Deserialize)]
struct View {
    id: String,
    metadata: Metadata,
    #[serde(default)]
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    contains: BTreeMap<String, Map<String, Value>>,
}

/// Units of time by view and by the type of annotations in it.
type Units<'a> = HashMap<(&'a str, &'a str), &'a str>;

/// The units that the views state for types; of several types of one name, the first counts.
fn units(views: &[View]) -> Units<'_> {
    let mut units = HashMap::new();
    for view in views {
        for (name, properties) in &view.metadata.contains {
            if let Some(unit) = properties.get("timeUnit").and_then(Value::as_str) {
                units.entry((view.id.as_str(), kind(name))).or_insert(unit);
            }
        }
    }
    units
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(rename = "@type")]
    at_type: String,
    properties: Map<String, Value>,
}

impl Annotation {
    /// The type without its address and version: `BoundingBox` of `http://mmif.clams.ai/vocabulary/BoundingBox/v4`.
    fn kind(&self) -> &str {
        kind(&self.at_type)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name)?.as_str()
    }

    /// The label; earlier versions of the vocabulary have `boxType` and `frameType`.
    fn label(&self) -> Option<&str> {
        ["label", "boxType", "frameType"].iter().find_map(|name| self.text(name))
    }

    /// The name of a person; an `id` is that of the annotation.
    fn name(&self) -> Option<&str> {
        IDENTITY.iter().filter(|name| **name != "id").find_map(|name| self.text(name))
    }
}

fn kind(at_type: &str) -> &str {
    let is_version = |part: &str| part.len() > 1 && part[1..].bytes().all(|byte| byte.is_ascii_digit());
    at_type
        .rsplit('/')
        .find(|part| !(part.is_empty() || part.starts_with('v') && is_version(part)))
        .unwrap_or("")
}

/// A unit of time.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Frames,
    /// So many of the unit are one second.
    PerSecond(f64),
}

impl Unit {
    fn of(text: &str) -> Option<Self> {
        match text.to_lowercase().as_str() {
            "frames" | "frame" => Some(Self::Frames),
            "seconds" | "second" | "s" => Some(Self::PerSecond(1.0)),
            "milliseconds" | "millisecond" | "ms" => Some(Self::PerSecond(1000.0)),
            _ => None,
        }
    }
}

/// The annotations of all views, by their id with and without that of the view.
struct Index<'a> {
    by_id: HashMap<String, (&'a View, &'a Annotation)>,
    /// The first time point that an `Alignment` connects with an annotation, by the id of that.
    aligned: HashMap<String, String>,
    units: Units<'a>,
}

impl<'a> Index<'a> {
    fn new(views: &'a [View]) -> Self {
        let mut by_id: HashMap<String, (&View, &Annotation)> = HashMap::new();
        for view in views {
            for annotation in &view.annotations {
                if let Some(id) = annotation.text("id") {
                    by_id.insert(full(view, id), (view, annotation));
                }
            }
        }
        let has_time = |point: &Annotation| {
            ["timePoint", "point"].iter().any(|name| point.properties.contains_key(*name))
        };
        let is_point =
            |id: &str| by_id.get(id).is_some_and(|(_, point)| point.kind() == "TimePoint" && has_time(point));
        let mut aligned: HashMap<String, String> = HashMap::new();
        for view in views {
            for annotation in view.annotations.iter().filter(|annotation| annotation.kind() == "Alignment") {
                let [a, b] = ["source", "target"].map(|name| annotation.text(name).map(|id| full(view, id)));
                let (Some(a), Some(b)) = (a, b) else { continue };
                for (id, point) in [(&a, &b), (&b, &a)] {
                    if is_point(point) {
                        aligned.entry(id.clone()).or_insert_with(|| point.clone());
                    }
                }
            }
        }
        Self { by_id, aligned, units: units(views) }
    }

    /// The time of a box: its own, that of a time point that it names, or that of a time point aligned with it.
    fn time(&self, view: &View, annotation: &Annotation) -> Result<Option<(f64, Unit)>, String> {
        let own = ["timePoint", "timepoint"].iter().find_map(|name| annotation.properties.get(*name));
        match own {
            Some(Value::String(id)) => self.time_point(&full(view, id)),
            Some(value) => Ok(Some((number(value)?, self.unit(view, annotation)?))),
            None => {
                let id = annotation.text("id").map(|id| full(view, id)).unwrap_or_default();
                self.aligned.get(&id).map_or(Ok(None), |id| self.time_point(id))
            }
        }
    }

    fn time_point(&self, id: &str) -> Result<Option<(f64, Unit)>, String> {
        let Some((view, point)) = self.by_id.get(id).filter(|(_, point)| point.kind() == "TimePoint") else {
            return Ok(None);
        };
        let at = point.properties.get("timePoint").or_else(|| point.properties.get("point"));
        at.map(|at| Ok((number(at)?, self.unit(view, point)?))).transpose()
    }

    /// The unit of an annotation: its own, that of its type in the view, or milliseconds.
    fn unit(&self, view: &View, annotation: &Annotation) -> Result<Unit, String> {
        let of_type = || self.units.get(&(view.id.as_str(), annotation.kind())).copied();
        let Some(text) = annotation.text("timeUnit").or_else(of_type) else {
            return Ok(Unit::PerSecond(1000.0));
        };
        Unit::of(text).ok_or_else(|| format!("`timeUnit` is {text:?}, which is no unit of MMIF"))
    }
}

/// The id of an annotation in the file: ids of the own view may lack its id.
fn full(view: &View, id: &str) -> String {
    if id.contains(':') { id.to_owned() } else { format!("{}:{id}", view.id) }
}

fn number(value: &Value) -> Result<f64, String> {
    value.as_f64().ok_or_else(|| format!("{value} is not a number"))
}

pub(super) fn read(content: &str, scene: Option<&Scene>, first: i64) -> Result<Labels, Wrong> {
    let files: Vec<Document> = documents(content)?;
    let [Document { documents, views }] = &files[..] else {
        return Err((1, format!("the file has {} documents of MMIF, not one", files.len())));
    };
    let videos = documents.iter().filter(|document| document.kind() == "VideoDocument").count();
    if videos != 1 {
        return Err((1, format!("the file is about {videos} videos, not about one")));
    }
    let index = Index::new(views);
    let names = names(views);
    let (mut labels, mut unused) = (Labels::default(), Unused::default());
    let (mut no_time, mut outside, mut empty, mut unnamed) = (0, 0, 0, 0);
    for view in views {
        for annotation in &view.annotations {
            let id = annotation.text("id").unwrap_or("?");
            let wrong =
                |reason: String| (1, format!("annotation `{id}` of the view `{}`: {reason}", view.id));
            let name = annotation.name().or_else(|| names.get(&full(view, id)).copied()).and_then(identity);
            match (annotation.kind(), annotation.label()) {
                ("BoundingBox", label)
                    if label.map_or(name.is_some(), |label| label.eq_ignore_ascii_case(FACE)) =>
                {
                    let Some((at, unit)) = index.time(view, annotation).map_err(wrong)? else {
                        no_time += 1;
                        continue;
                    };
                    let place = match unit {
                        Unit::Frames => {
                            let number = frame("timePoint", &at.to_string()).map_err(wrong)?;
                            let early =
                                || wrong(format!("frame {number} is before the first frame, {first}"));
                            Some(number.checked_sub(first).filter(|at| *at >= 0).ok_or_else(early)?)
                        }
                        Unit::PerSecond(rate) => scene.ok_or_else(super::no_scene)?.frame(at / rate),
                    };
                    let Some(frame) = place else {
                        outside += 1;
                        continue;
                    };
                    let Some(bbox) = extent(annotation).map_err(wrong)? else {
                        empty += 1;
                        continue;
                    };
                    unnamed += usize::from(name.is_none());
                    labels.lines.push(Line {
                        line: 1,
                        frame,
                        face: Some(Face { bbox, identity: name, shot: None }),
                    });
                }
                ("TimeFrame", _) if name.is_some() => {
                    let Some(time) = span(&index, view, annotation, scene, first).map_err(wrong)? else {
                        no_time += 1;
                        continue;
                    };
                    labels.times.push(Time { name, ..time });
                }
                // Boxes have what these say; an `Annotation` has facts about the document.
                ("TimePoint" | "Alignment" | "VideoObject" | "Annotation", _) => {}
                (kind, Some(label)) => unused.add(format!("{kind} {label}"), 1),
                (kind, None) => unused.add(kind, 1),
            }
        }
    }
    labels.warn(no_time, "faces and names without a time, which are left out");
    labels.warn(outside, "faces at times that no frame of the video has, which are left out");
    labels.warn(empty, super::EMPTY_BOXES);
    labels.warn(unnamed, "faces without an identity, which are not scored");
    unused.warn(&mut labels);
    Ok(labels)
}

/// The names that objects of a video give to their polygons.
fn names(views: &[View]) -> HashMap<String, &str> {
    let mut names = HashMap::new();
    for view in views {
        for object in view.annotations.iter().filter(|annotation| annotation.kind() == "VideoObject") {
            let Some(name) = object.name() else { continue };
            let polygons = object.properties.get("polygons").and_then(Value::as_array).into_iter().flatten();
            names.extend(polygons.filter_map(Value::as_str).map(|id| (full(view, id), name)));
        }
    }
    names
}

/// The box around the corners; `None` for an empty box.
fn extent(annotation: &Annotation) -> Result<Option<[f64; 4]>, String> {
    let corners = annotation.properties.get("coordinates").and_then(Value::as_array);
    let corners =
        corners.filter(|corners| corners.len() > 1).ok_or("`coordinates` has fewer than two corners")?;
    let mut edges = [f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY];
    for corner in corners {
        let Some([x, y]) = corner.as_array().map(Vec::as_slice) else {
            return Err(format!("`coordinates`: {corner} is not a corner"));
        };
        let (x, y) = (number(x)?, number(y)?);
        if x.abs() > MOST_PIXELS || y.abs() > MOST_PIXELS {
            return Err("the box is larger than any picture".into());
        }
        edges = [edges[0].min(x), edges[1].min(y), edges[2].max(x), edges[3].max(y)];
    }
    Ok(bbox(edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]).ok())
}

/// Start and end of a time frame; frames need the times of the video.
fn span(
    index: &Index<'_>,
    view: &View,
    annotation: &Annotation,
    scene: Option<&Scene>,
    first: i64,
) -> Result<Option<Time>, String> {
    let (Some(start), Some(end)) = (annotation.properties.get("start"), annotation.properties.get("end"))
    else {
        return Ok(None);
    };
    let (start, end) = (number(start)?, number(end)?);
    let secs = match index.unit(view, annotation)? {
        Unit::PerSecond(rate) => [start / rate, end / rate],
        Unit::Frames => match scene {
            Some(scene) => [start, end].map(|frame| scene.secs((frame - first as f64).max(0.0))),
            None => return Ok(None),
        },
    };
    Ok(Some(Time { name: None, start_secs: secs[0], end_secs: secs[1] }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_known_by_their_name() {
        for (uri, name) in [
            ("http://mmif.clams.ai/vocabulary/BoundingBox/v4", "BoundingBox"),
            ("http://clams.ai/vocabulary/type/TimeFrame/v6", "TimeFrame"),
            ("http://mmif.clams.ai/0.4.0/vocabulary/VideoDocument", "VideoDocument"),
            ("http://vocab.lappsgrid.org/Token", "Token"),
            ("", ""),
        ] {
            assert_eq!(kind(uri), name);
        }
    }
}
