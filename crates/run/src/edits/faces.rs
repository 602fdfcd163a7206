//! From tracks to anchors, and from anchors to the tracks of another run.

use std::collections::BTreeMap;

use geometry::{BBox, FrameTimes};
use schema::Symbol;
use schema::tables::{Detection, DetectionSource, Frame};

use super::{Anchor, Mark};
use crate::error::Result;
use crate::reader::RunReader;

/// Most anchors of a mark.
pub const MOST_ANCHORS: usize = 9;
/// Least intersection over union of an anchor with the box of the face that it names.
pub const LEAST_IOU: f32 = 0.5;

/// A box of a track.
#[derive(Debug, Clone, Copy)]
struct Face {
    frame_idx: i64,
    bbox: BBox,
    is_detected: bool,
}

/// The boxes of the tracks of a run.
#[derive(Debug, Clone, Default)]
pub struct Faces {
    video_sha256: Option<Symbol>,
    times: FrameTimes,
    /// The boxes of each track, by frame.
    tracks: BTreeMap<i64, Vec<Face>>,
}

impl Faces {
    /// Reads the tables `frames` and `detections` of a run.
    ///
    /// # Errors
    /// When a stage has not finished, or a table cannot be read.
    pub fn read(run: &RunReader) -> Result<Self> {
        let video_sha256 = Symbol::from(run.video_file()?.sha256.as_str());
        let times =
            run.read::<Frame>()?.iter().map(|row| (row.pts_ticks, row.t_secs, row.duration_secs)).collect();
        let mut faces = Self::new(video_sha256, times, []);
        for batch in run.open_table::<Detection>()? {
            faces.extend(batch?);
        }
        Ok(faces)
    }

    /// The faces of `detections`, whose rows are in order of frames.
    pub fn new(
        video_sha256: Symbol,
        times: FrameTimes,
        detections: impl IntoIterator<Item = Detection>,
    ) -> Self {
        let mut faces = Self { video_sha256: Some(video_sha256), times, tracks: BTreeMap::new() };
        faces.extend(detections);
        faces
    }

    fn extend(&mut self, detections: impl IntoIterator<Item = Detection>) {
        for Detection { frame_idx, track_id, x_min, y_min, x_max, y_max, source, .. } in detections {
            let Some(track_id) = track_id else { continue };
            let bbox = BBox { x_min, y_min, x_max, y_max };
            let is_detected = source == DetectionSource::Detected;
            self.tracks.entry(track_id).or_default().push(Face { frame_idx, bbox, is_detected });
        }
    }

    /// Every track, by id.
    pub fn track_ids(&self) -> impl Iterator<Item = i64> {
        self.tracks.keys().copied()
    }

    /// The mark of a track: at most [`MOST_ANCHORS`] of its boxes, spread evenly over its frames, of those that the
    /// detector found if there are any. `None` for a track that is not there.
    pub fn mark(&self, track_id: i64) -> Option<Mark> {
        let all = self.tracks.get(&track_id)?;
        let detected: Vec<_> = all.iter().filter(|face| face.is_detected).collect();
        let from = if detected.is_empty() { all.iter().collect() } else { detected };
        let last = from.len().checked_sub(1)?;
        let count = from.len().min(MOST_ANCHORS);
        // The middle of each of `count` equal parts: faces at the ends of a track are the least certain.
        let places = (0..count).map(|i| ((2 * i + 1) * from.len() / (2 * count)).min(last));
        let anchor = |face: &Face| Anchor { t_secs: self.times.t_secs(face.frame_idx), bbox: face.bbox };
        let anchors = places.map(|place| anchor(from[place])).collect();
        Some(Mark { video_sha256: self.video_sha256.clone()?, anchors })
    }

    /// The marks of tracks, in their order; tracks that are not there are left out.
    pub fn marks(&self, track_ids: impl IntoIterator<Item = i64>) -> Vec<Mark> {
        track_ids.into_iter().filter_map(|track_id| self.mark(track_id)).collect()
    }

    /// The boxes of two tracks in the first frame that both have a box in.
    pub fn together(&self, a: i64, b: i64) -> Option<(Anchor, Anchor)> {
        let (first, second) = (self.tracks.get(&a)?, self.tracks.get(&b)?);
        let anchor = |face: &Face| Anchor { t_secs: self.times.t_secs(face.frame_idx), bbox: face.bbox };
        first.iter().find_map(|face| {
            let other = second.binary_search_by_key(&face.frame_idx, |face| face.frame_idx).ok()?;
            Some((anchor(face), anchor(&second[other])))
        })
    }

    /// The tracks that show the face of a mark, by id; none where the face is not found.
    ///
    /// Of the anchors that lie between the first and the last frame of such a track, the track has a box with an
    /// IoU of at least 0.5 at half of them or more, and at one or more. Several tracks match the mark where the run
    /// follows the face in several pieces.
    pub fn find(&self, mark: &Mark) -> Vec<i64> {
        if self.video_sha256.as_ref() != Some(&mark.video_sha256) {
            return Vec::new();
        }
        let at = |anchor: &Anchor| Some((self.times.near(anchor.t_secs)?, anchor.bbox));
        let anchors: Vec<_> = mark.anchors.iter().filter_map(at).collect();
        let is_shown = |faces: &[Face]| {
            let (Some(first), Some(last)) = (faces.first(), faces.last()) else { return false };
            let span = first.frame_idx..=last.frame_idx;
            let (mut within, mut hit) = (0, 0);
            for (frame_idx, bbox) in anchors.iter().filter(|(frame_idx, _)| span.contains(frame_idx)) {
                within += 1;
                let face = faces.binary_search_by_key(frame_idx, |face| face.frame_idx);
                hit += usize::from(face.is_ok_and(|face| faces[face].bbox.iou(bbox) >= LEAST_IOU));
            }
            hit > 0 && 2 * hit >= within
        };
        self.tracks.iter().filter(|(_, faces)| is_shown(faces)).map(|(track_id, _)| *track_id).collect()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Boxes of tracks: track, first and last frame, left edge; every third is detected.
    fn faces(tracks: &[(i64, i64, i64, f32)]) -> Faces {
        let mut rows = Vec::new();
        for &(track_id, first, last, x) in tracks {
            rows.extend((first..=last).map(|frame_idx| Detection {
                video_id: "v".into(),
                frame_idx,
                det_idx: track_id,
                track_id: Some(track_id),
                x_min: x,
                y_min: 0.0,
                x_max: x + 100.0,
                y_max: 100.0,
                score: None,
                landmarks: None,
                source: if frame_idx % 3 == 0 {
                    DetectionSource::Detected
                } else {
                    DetectionSource::Interpolated
                },
                sharpness: None,
                frontality: None,
                size_px: 100.0,
            }));
        }
        rows.sort_by_key(|row| (row.frame_idx, row.det_idx));
        Faces::new("sha".into(), (0..1000).map(|i| (i, i as f64 * 0.04)).collect(), rows)
    }

    #[test]
    fn a_mark_is_a_spread_of_detected_boxes() {
        let faces = faces(&[(3, 0, 299, 0.0), (4, 301, 302, 0.0)]);
        let mark = faces.mark(3).unwrap();
        assert_eq!(mark.anchors.len(), MOST_ANCHORS);
        let frames: Vec<_> = mark.anchors.iter().map(|a| (a.t_secs / 0.04).round() as i64).collect();
        assert_eq!(frames, [15, 48, 81, 114, 150, 183, 216, 249, 282]);
        // A track without a detected box has marks of what it has.
        assert_eq!(faces.mark(4).unwrap().anchors.len(), 2);
        assert_eq!(faces.mark(9), None);
    }

    #[test]
    fn a_face_is_found_under_another_number_and_in_pieces() {
        let mark = faces(&[(3, 0, 299, 0.0)]).mark(3).unwrap();
        let found = |tracks: &[(i64, i64, i64, f32)]| faces(tracks).find(&mark);
        assert_eq!(found(&[(3, 0, 299, 300.0), (7, 0, 299, 20.0)]), [7]);
        assert_eq!(found(&[(1, 10, 120, 0.0), (2, 140, 300, 0.0)]), [1, 2]);
        assert_eq!(found(&[(1, 0, 299, 60.0)]), [0i64; 0], "an IoU of 0.25");
        // Between the anchors there is nothing to go by.
        assert_eq!(found(&[(1, 16, 47, 0.0)]), [0i64; 0]);
        assert_eq!(found(&[]), [0i64; 0]);
    }

    #[test]
    fn faces_of_one_frame_are_given_at_that_frame() {
        let faces = faces(&[(0, 0, 50, 0.0), (1, 40, 99, 200.0), (2, 60, 99, 400.0)]);
        let (a, b) = faces.together(0, 1).unwrap();
        assert_eq!((a.t_secs, a.bbox.x_min, b.t_secs, b.bbox.x_min), (1.6, 0.0, 1.6, 200.0));
        assert_eq!(faces.together(0, 2), None);
    }

    #[test]
    fn half_of_the_anchors_must_fit() {
        let mark = faces(&[(0, 0, 299, 0.0)]).mark(0).unwrap();
        // Four of the nine anchors, and five.
        let moved = |until: i64| {
            let mut faces = faces(&[(5, 0, 299, 0.0)]);
            let away = |face: &mut Face| face.bbox = face.bbox.moved(500.0, 0.0);
            faces.tracks.get_mut(&5).unwrap()[..until as usize].iter_mut().for_each(away);
            faces.find(&mark)
        };
        assert_eq!(moved(150), [5]);
        assert_eq!(moved(151), [0i64; 0]);
    }

    #[test]
    fn another_video_and_another_time_are_not_found() {
        let faces = faces(&[(0, 0, 99, 0.0)]);
        let mark = faces.mark(0).unwrap();
        assert_eq!(faces.find(&Mark { video_sha256: "other".into(), ..mark.clone() }), [0i64; 0]);
        let late = |secs: f64| {
            let anchors = mark.anchors.iter().map(|a| Anchor { t_secs: a.t_secs + secs, ..*a }).collect();
            faces.find(&Mark { anchors, ..mark.clone() })
        };
        assert_eq!((late(0.0199), late(-0.0199)), (vec![0], vec![0]));
        assert_eq!(late(1000.0), [0i64; 0]);
    }
}
