//! MMIF, the Multi-Media Interchange Format of CLAMS.

use std::collections::HashMap;

use schema::tables::Detection;
use serde_json::{Value, json};

use super::boxes::clipped;
use super::times::url;
use crate::run::Run;

/// Version of the format.
const SPECIFICATION: &str = "http://mmif.clams.ai/1.1.0";
/// Where the types of the vocabulary are, before their name and version.
const VOCABULARY: &str = "http://mmif.clams.ai/vocabulary/";
const ANNOTATION: &str = "Annotation/v6";
const BOUNDING_BOX: &str = "BoundingBox/v5";
const VIDEO_OBJECT: &str = "VideoObject/v5";
const TIME_FRAME: &str = "TimeFrame/v6";
const VIDEO_DOCUMENT: &str = "VideoDocument/v1";
/// Id of the video.
const VIDEO: &str = "d1";

fn at(kind: &str) -> String {
    format!("{VOCABULARY}{kind}")
}

fn annotation(kind: &str, properties: Value) -> Value {
    json!({ "@type": at(kind), "properties": properties })
}

/// A bounding box per face and frame, a video object per track, and a time frame per appearance of a person. Objects
/// and time frames have the name of the person as `name`. The location of the video is only its file name.
pub(super) fn mmif(run: &Run) -> String {
    let video = &run.video;
    let mut annotations = vec![annotation(
        ANNOTATION,
        json!({
            "id": "a1", "fps": run.times.fps(), "width": video.width, "height": video.height,
            "frameCount": video.frame_count, "duration": millis(video.duration_secs),
            "durationTimeUnit": "milliseconds", "sha256": video.sha256,
        }),
    )];
    let mut polygons: HashMap<i64, Vec<String>> = HashMap::new();
    for (number, row) in (1..).zip(&run.boxes) {
        let id = format!("bb{number}");
        polygons.entry(row.track_id.unwrap_or(-1)).or_default().push(id.clone());
        annotations.push(bounding_box(&id, row, run));
    }
    for track in &run.tracks {
        let mut object = json!({
            "id": format!("vo{}", track.track_id), "label": "face", "track_id": track.track_id,
            "polygons": polygons.remove(&track.track_id).unwrap_or_default(),
        });
        if let Some(cluster_id) = run.cluster_of(track.track_id) {
            object["name"] = json!(run.name(cluster_id));
            object["cluster_id"] = json!(cluster_id);
        }
        annotations.push(annotation(VIDEO_OBJECT, object));
    }
    for (number, row) in (1..).zip(&run.appearances) {
        let (start, end) = run.appearance_secs(row);
        annotations.push(annotation(
            TIME_FRAME,
            json!({
                "id": format!("tf{number}"), "label": "person", "name": run.name(row.cluster_id),
                "cluster_id": row.cluster_id, "start": millis(start), "end": millis(end),
            }),
        ));
    }
    let contains = json!({
        at(ANNOTATION): { "document": VIDEO },
        at(BOUNDING_BOX): { "document": VIDEO, "timeUnit": "frames", "labelset": ["face"] },
        at(VIDEO_OBJECT): { "document": VIDEO, "labelset": ["face"] },
        at(TIME_FRAME): { "document": VIDEO, "timeUnit": "milliseconds", "labelset": ["person"] },
    });
    let document = json!({
        "metadata": { "mmif": SPECIFICATION },
        "documents": [annotation(
            VIDEO_DOCUMENT,
            json!({ "id": VIDEO, "mime": "video", "location": format!("file:///{}", url(&video.file_name)) }),
        )],
        "views": [{
            "id": "v1",
            // An address that no registry of apps has: the name of a program and its version.
            "metadata": { "app": format!("urn:facetrack:{}", env!("CARGO_PKG_VERSION")), "contains": contains },
            "annotations": annotations,
        }],
    });
    format!("{document}\n")
}

/// The part of a box in the picture, in whole pixels, as the format has them: upper corners, then lower ones.
fn bounding_box(id: &str, row: &Detection, run: &Run) -> Value {
    let [x, y, w, h] = clipped(run, row);
    let (left, top) = (x.round(), y.round());
    // No box is empty, however small the face.
    let (right, bottom) = ((x + w).round().max(left + 1.0), (y + h).round().max(top + 1.0));
    let corners = [[left, top], [right, top], [left, bottom], [right, bottom]];
    let corners = corners.map(|corner| corner.map(|edge| edge as i64));
    annotation(
        BOUNDING_BOX,
        json!({ "id": id, "label": "face", "timePoint": row.frame_idx, "coordinates": corners }),
    )
}

fn millis(secs: f64) -> i64 {
    (secs * 1e3).round() as i64
}
