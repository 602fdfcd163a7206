//! Formats of boxes: CSV, MOTChallenge, COCO, CVAT.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use schema::cell::Category as _;
use schema::tables::Detection;
use serde_json::{Value, json};

use crate::run::Run;
use crate::xml::escape;

/// One line per box: the columns of `run --labels` and a few more. Boxes without a person have the identity
/// `?`.
pub(super) fn csv(run: &Run) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["frame", "t_secs", "x", "y", "w", "h", "identity", "shot", "track", "score", "source"];
    // Writing to memory cannot fail.
    let _ = writer.write_record(header);
    for row in &run.boxes {
        let track_id = row.track_id.unwrap_or(-1);
        let t_secs = run.secs((row.frame_idx, row.frame_idx)).0;
        let shot = run.tracks.binary_search_by_key(&track_id, |track| track.track_id);
        let _ = writer.write_record([
            row.frame_idx.to_string(),
            t_secs.to_string(),
            row.x_min.to_string(),
            row.y_min.to_string(),
            (row.x_max - row.x_min).to_string(),
            (row.y_max - row.y_min).to_string(),
            run.cluster_of(track_id).map_or_else(|| "?".into(), |id| run.name(id)),
            shot.map_or_else(|_| String::new(), |at| run.tracks[at].shot_idx.to_string()),
            track_id.to_string(),
            row.score.map_or_else(String::new, |score| score.to_string()),
            row.source.word().to_owned(),
        ]);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

/// frame, id, left, top, width, height, confidence, −1, −1, −1. Frames and ids count from 1, boxes do not:
/// the corner of the first pixel is 0, as evaluators expect. The id of a person is its cluster + 1. Tracks
/// without a person, and the second of two boxes of one person in a frame, have larger ids of their own.
pub(super) fn mot(run: &Run) -> String {
    let mut lines = String::new();
    let mut taken = HashSet::new();
    let alone = run.people.last().map_or(0, |person| person.cluster_id + 1) + 1;
    for row in &run.boxes {
        let track_id = row.track_id.unwrap_or(-1);
        let person =
            run.cluster_of(track_id).map(|id| id + 1).filter(|id| taken.insert((row.frame_idx, *id)));
        let _ = writeln!(
            lines,
            "{},{},{},{},{},{},{},-1,-1,-1",
            row.frame_idx + 1,
            person.unwrap_or(alone + track_id),
            row.x_min,
            row.y_min,
            row.x_max - row.x_min,
            row.y_max - row.y_min,
            row.score.unwrap_or(1.0),
        );
    }
    lines
}

/// The part of a box that is in the picture: x, y, width, height. COCO, CVAT and MMIF know no pixels beside it.
pub(super) fn clipped(run: &Run, row: &Detection) -> [f64; 4] {
    let clip = |value: f32, size: i64| f64::from(value).min(size as f64).max(0.0);
    let (x, y) = (clip(row.x_min, run.video.width), clip(row.y_min, run.video.height));
    [x, y, clip(row.x_max, run.video.width) - x, clip(row.y_max, run.video.height) - y]
}

/// The five points as COCO lists them: x, y, and 2 for seen.
fn keypoints(row: &Detection) -> Vec<f32> {
    let points = row.landmarks.iter().flat_map(|points| points.chunks(2).map(|p| [p[0], p[1], 2.0]));
    points.flatten().collect()
}

/// Pictures are named as `ffmpeg -i VIDEO -start_number 0 -fps_mode passthrough %06d.png` names frames.
pub(super) fn coco(run: &Run) -> String {
    let (width, height) = (run.video.width, run.video.height);
    let image = |frame_idx: i64| {
        json!({
            "id": frame_idx, "file_name": format!("{frame_idx:06}.png"), "width": width, "height": height,
            "frame_idx": frame_idx,
        })
    };
    let annotation = |(id, row): (usize, &Detection)| {
        let [x, y, w, h] = clipped(run, row);
        let track_id = row.track_id.unwrap_or(-1);
        let cluster_id = run.cluster_of(track_id);
        let mut annotation = json!({
            "id": id + 1, "image_id": row.frame_idx, "category_id": 1, "bbox": [x, y, w, h], "area": w * h,
            "iscrowd": 0, "track_id": track_id, "cluster_id": cluster_id,
            "identity": cluster_id.map(|id| run.name(id)), "source": row.source.word(),
        });
        if let Some(score) = row.score {
            annotation["score"] = json!(score);
        }
        let points = keypoints(row);
        if !points.is_empty() {
            annotation["num_keypoints"] = json!(points.len() / 3);
            annotation["keypoints"] = json!(points);
        }
        annotation
    };
    let points = ["right_eye", "left_eye", "nose", "right_mouth", "left_mouth"];
    let document = json!({
        "info": { "description": run.video.file_name, "version": "1.0", "video_sha256": run.video.sha256 },
        "licenses": [],
        "images": (0..run.times.len() as i64).map(image).collect::<Vec<_>>(),
        "categories": [{
            "id": 1, "name": "face", "supercategory": "person", "keypoints": points,
            "skeleton": Vec::<Value>::new(),
        }],
        "annotations": run.boxes.iter().enumerate().map(annotation).collect::<Vec<_>>(),
    });
    format!("{document}\n")
}

/// A track is a CVAT track; the person, and the shot, are attributes of its boxes.
pub(super) fn cvat(run: &Run) -> String {
    let video = &run.video;
    let mut xml =
        String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n");
    let attribute = |name: &str| {
        format!(
            "<attribute><name>{name}</name><mutable>False</mutable><input_type>text</input_type>\
             <default_value></default_value><values></values></attribute>"
        )
    };
    let _ = write!(
        xml,
        "  <meta>\n    <task>\n      <name>{name}</name>\n      <size>{size}</size>\n      <mode>interpolation</mode>\n      \
         <start_frame>0</start_frame>\n      <stop_frame>{stop}</stop_frame>\n      <labels><label><name>face</name>\
         <attributes>{identity}{shot}</attributes></label></labels>\n      <original_size><width>{width}</width>\
         <height>{height}</height></original_size>\n      <source>{name}</source>\n    </task>\n  </meta>\n",
        name = escape(&video.file_name),
        size = video.frame_count,
        stop = video.frame_count - 1,
        identity = attribute("identity"),
        shot = attribute("shot"),
        width = video.width,
        height = video.height,
    );
    let mut boxes: HashMap<i64, Vec<&Detection>> = HashMap::new();
    for row in &run.boxes {
        boxes.entry(row.track_id.unwrap_or(-1)).or_default().push(row);
    }
    for track in &run.tracks {
        let identity = run.cluster_of(track.track_id).map_or_else(String::new, |id| run.name(id));
        let _ = writeln!(xml, "  <track id=\"{}\" label=\"face\" source=\"auto\">", track.track_id);
        let boxes = boxes.get(&track.track_id).map_or(&[][..], Vec::as_slice);
        let mut put = |row: &Detection, frame_idx: i64, outside: u8| {
            let [x, y, w, h] = clipped(run, row);
            let _ = writeln!(
                xml,
                "    <box frame=\"{frame_idx}\" outside=\"{outside}\" occluded=\"0\" keyframe=\"1\" xtl=\"{x}\" ytl=\"{y}\" \
                 xbr=\"{}\" ybr=\"{}\" z_order=\"0\"><attribute name=\"identity\">{}</attribute><attribute \
                 name=\"shot\">{}</attribute></box>",
                x + w,
                y + h,
                escape(&identity),
                track.shot_idx,
            );
        };
        boxes.iter().for_each(|row| put(row, row.frame_idx, 0));
        // Without it, CVAT shows the last box for the rest of the video.
        if let Some(last) = boxes.last().filter(|last| last.frame_idx + 1 < video.frame_count) {
            put(last, last.frame_idx + 1, 1);
        }
        xml.push_str("  </track>\n");
    }
    xml.push_str("</annotations>\n");
    xml
}
