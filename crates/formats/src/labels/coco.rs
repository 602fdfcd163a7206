//! COCO's object detection format, JSON.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Face, IDENTITY, Labels, Line, MOST_PIXELS, Wrong, bbox, frame, identity};

/// Members of a picture that may hold its frame, in order of preference; after them the last number in the name of
/// its file, and its `id`.
const FRAME: [&str; 4] = ["frame_idx", "frame_id", "frame_index", "frame"];

#[derive(Deserialize)]
struct Document {
    images: Vec<Map<String, Value>>,
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: i64,
    bbox: Option<Vec<f64>>,
    category_id: Option<i64>,
    #[serde(default)]
    iscrowd: u8,
    track_id: Option<Value>,
    #[serde(default)]
    attributes: Map<String, Value>,
    /// The other members.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

/// Reads all annotations with a box. All pictures of the file count as labelled.
pub(super) fn read(content: &str) -> Result<Labels, Wrong> {
    let document: Document = serde_json::from_str(content)
        .map_err(|e| (e.line() as u64, format!("failed to parse the JSON: {}", run::plain_json(&e))))?;
    let mut frames = BTreeMap::new();
    for image in &document.images {
        let id = image.get("id").and_then(Value::as_i64).ok_or((1, "a picture has no `id`".to_owned()))?;
        frames.insert(id, frame_of(image, id).map_err(|reason| (1, format!("picture {id}: {reason}")))?);
    }
    let mut categories: BTreeMap<i64, &str> = BTreeMap::new();
    for category in &document.categories {
        categories.entry(category.id).or_insert(&category.name);
    }
    // Where several categories are in use, and nothing else says who is who, the categories are the people.
    let mut used: Vec<_> = document.annotations.iter().map(|annotation| annotation.category_id).collect();
    used.sort_unstable();
    used.dedup();
    let mut labels = Labels { looked_at: frames.values().copied().collect(), ..Labels::default() };
    let (mut no_box, mut no_identity) = (0, 0);
    for (at, annotation) in document.annotations.iter().enumerate() {
        let wrong = |reason: String| (1, format!("annotation {} of the file: {reason}", at + 1));
        let frame = frames.get(&annotation.image_id);
        let frame = *frame.ok_or_else(|| wrong(format!("there is no picture {}", annotation.image_id)))?;
        let Some(&[x, y, w, h]) = annotation.bbox.as_deref() else {
            no_box += 1;
            continue;
        };
        if [x, y, w, h].iter().any(|side| side.abs() > MOST_PIXELS) {
            return Err(wrong("the box is larger than any picture".into()));
        }
        let label = annotation.category_id.and_then(|id| categories.get(&id).copied());
        let own = match label {
            Some(name) if used.len() > 1 => Some(name.to_owned()),
            _ => {
                let id = annotation.track_id.as_ref().or_else(|| annotation.attributes.get("track_id"));
                let own = id.map(|id| format!("{} {}", label.unwrap_or("track"), text(id)));
                labels.made_up.extend(own.clone());
                own
            }
        };
        // The `id` of an annotation is its own number, an attribute of this name is the person.
        let mut named = IDENTITY.iter().filter_map(|name| {
            let member = annotation.rest.get(*name).filter(|_| *name != "id");
            member.or_else(|| annotation.attributes.get(*name))
        });
        let named = named.next().map(text).or(own).unwrap_or_default();
        let who = identity(&named).filter(|_| annotation.iscrowd == 0);
        no_identity += usize::from(who.is_none());
        let face = Face { bbox: bbox(x, y, w, h).map_err(wrong)?, identity: who, shot: None };
        labels.lines.push(Line { line: 1, frame, face: Some(face) });
    }
    labels.warn(no_box, "annotations of the labels without a box, which are left out");
    labels.warn(no_identity, "annotations of the labels without an identity, which are not scored");
    Ok(labels)
}

/// The frame of a picture.
fn frame_of(image: &Map<String, Value>, id: i64) -> Result<i64, String> {
    if let Some((name, value)) = FRAME.iter().find_map(|name| Some((name, image.get(*name)?))) {
        return frame(name, &text(value));
    }
    let file = image.get("file_name").and_then(Value::as_str).unwrap_or("");
    let stem = std::path::Path::new(file).file_stem().unwrap_or_default().to_string_lossy();
    let digits = stem.split(|c: char| !c.is_ascii_digit()).rfind(|digits| !digits.is_empty());
    digits.map_or(Ok(id), |digits| frame("file_name", digits))
}

/// The text of a string, nothing for `null`, or another value as JSON writes it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        value => value.to_string(),
    }
}
