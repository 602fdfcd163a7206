//! Association of detections into tracks, within one shot.
//!
//! Tracking by detection in the manner of ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864):
//! confident detections are matched to predicted boxes first, doubtful ones may then continue a
//! track but never begin one. Motion is predicted from the last two boxes.

use serde::{Deserialize, Serialize};

use crate::geometry::{Face, Rect};

/// How detections become tracks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// Score from which a detection may begin a track, 0 to 1.
    pub min_start_score: f64,
    /// Smallest IoU of a confident detection with the predicted box, 0 to 1.
    pub min_iou: f64,
    /// Smallest IoU of a doubtful detection with the predicted box, 0 to 1.
    pub min_weak_iou: f64,
    /// A face that is not seen for longer gets a new track, seconds.
    pub max_gap_secs: f64,
    /// Tracks that are shorter, or seen only once, are rejected, seconds.
    pub min_track_secs: f64,
    /// Tracks whose mean score is lower are rejected, 0 to 1.
    pub min_mean_score: f64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            min_start_score: 0.7,
            min_iou: 0.3,
            min_weak_iou: 0.4,
            max_gap_secs: 0.5,
            min_track_secs: 0.2,
            min_mean_score: 0.6,
        }
    }
}

/// One frame's detection of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// Frame.
    pub frame_idx: i64,
    /// Its presentation time, seconds.
    pub t_secs: f64,
    /// What was seen.
    pub face: Face,
}

/// Follows faces through one shot. A track is known by its number, in order of its beginning.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    tracks: Vec<Vec<Sighting>>,
}

impl Tracker {
    /// A tracker at the beginning of a shot.
    pub fn new(config: TrackerConfig) -> Self {
        Self { config, tracks: Vec::new() }
    }

    /// Takes the faces of the next examined frame; gives each its track, `None` when rejected.
    pub fn step(&mut self, frame_idx: i64, t_secs: f64, faces: &[Face]) -> Vec<Option<usize>> {
        let mut assigned = vec![None; faces.len()];
        let mut open: Vec<(usize, Rect)> = self.predictions(t_secs);
        let confident = |face: &Face| f64::from(face.score) >= self.config.min_start_score;
        self.associate(faces, &mut assigned, &mut open, self.config.min_iou, confident);
        self.associate(faces, &mut assigned, &mut open, self.config.min_weak_iou, |face| !confident(face));
        for (face, track) in faces.iter().zip(&mut assigned) {
            if track.is_none() && confident(face) {
                *track = Some(self.tracks.len());
                self.tracks.push(Vec::new());
            }
            if let Some(track) = track {
                self.tracks[*track].push(Sighting { frame_idx, t_secs, face: *face });
            }
        }
        assigned
    }

    /// Every track of the shot; `None` in place of those that are too short or too doubtful.
    pub fn finish(self) -> Vec<Option<Vec<Sighting>>> {
        let config = self.config;
        self.tracks.into_iter().map(|track| is_credible(&track, &config).then_some(track)).collect()
    }

    /// Where each track that may go on is expected at `t_secs`.
    fn predictions(&self, t_secs: f64) -> Vec<(usize, Rect)> {
        let recent = |track: &&Vec<Sighting>| {
            track.last().is_some_and(|last| t_secs - last.t_secs <= self.config.max_gap_secs)
        };
        let tracks = self.tracks.iter().enumerate();
        tracks.filter(|(_, track)| recent(track)).map(|(i, track)| (i, predict(track, t_secs))).collect()
    }

    /// Matches faces that satisfy `eligible` with open tracks, best overlap first; ties go to the
    /// older track and the earlier face.
    fn associate(
        &self,
        faces: &[Face],
        assigned: &mut [Option<usize>],
        open: &mut Vec<(usize, Rect)>,
        min_iou: f64,
        eligible: impl Fn(&Face) -> bool,
    ) {
        let mut pairs = Vec::new();
        for (i, face) in faces.iter().enumerate().filter(|(_, face)| eligible(face)) {
            let overlaps = open.iter().map(|(track, predicted)| (predicted.iou(&face.rect), *track, i));
            pairs.extend(overlaps.filter(|(iou, ..)| f64::from(*iou) >= min_iou));
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        for (_, track, i) in pairs {
            let is_open = open.iter().any(|(t, _)| *t == track);
            if is_open && assigned[i].is_none() {
                assigned[i] = Some(track);
                open.retain(|(t, _)| *t != track);
            }
        }
    }
}

/// Carries the last box on at the speed of the last two, for at most the time between them: speed
/// from noisy boxes is not to be trusted for longer.
fn predict(track: &[Sighting], t_secs: f64) -> Rect {
    match track {
        [.., before, last] => {
            let step = last.t_secs - before.t_secs;
            let share = if step > 0.0 { ((t_secs - last.t_secs) / step).min(1.0) as f32 } else { 0.0 };
            let (from, to) = (before.face.rect.centre(), last.face.rect.centre());
            last.face.rect.moved((to.0 - from.0) * share, (to.1 - from.1) * share)
        }
        [last] => last.face.rect,
        [] => Rect { x_min: 0.0, y_min: 0.0, x_max: 0.0, y_max: 0.0 },
    }
}

fn is_credible(track: &[Sighting], config: &TrackerConfig) -> bool {
    let (Some(first), Some(last)) = (track.first(), track.last()) else { return false };
    let mean = f64::from(mean_score(track));
    track.len() > 1 && last.t_secs - first.t_secs >= config.min_track_secs && mean >= config.min_mean_score
}

/// Mean of the detector's scores over a track, 0 to 1.
pub fn mean_score(track: &[Sighting]) -> f32 {
    track.iter().map(|s| s.face.score).sum::<f32>() / track.len().max(1) as f32
}

/// The box of a track in every frame from its first to its last: seen ones as they are, those
/// between interpolated. `t_secs` gives the time of a frame.
pub fn fill_gaps(track: &[Sighting], t_secs: impl Fn(i64) -> f64) -> Vec<(i64, Rect, Option<Face>)> {
    let mut boxes = Vec::new();
    for pair in track.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        boxes.push((from.frame_idx, from.face.rect, Some(from.face)));
        for frame_idx in from.frame_idx + 1..to.frame_idx {
            let share = (t_secs(frame_idx) - from.t_secs) / (to.t_secs - from.t_secs);
            boxes.push((frame_idx, from.face.rect.towards(&to.face.rect, share as f32), None));
        }
    }
    boxes.extend(track.last().map(|s| (s.frame_idx, s.face.rect, Some(s.face))));
    boxes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FPS: f64 = 25.0;

    fn face(x: f32, score: f32) -> Face {
        let rect = Rect { x_min: x, y_min: 0.0, x_max: x + 40.0, y_max: 50.0 };
        Face { rect, points: [(x, 0.0); 5], score }
    }

    /// What each step gave, and the tracks at the end.
    type Tracked = (Vec<Vec<Option<usize>>>, Vec<Option<Vec<Sighting>>>);

    /// Tracks of faces given per frame as (x, score).
    fn track(frames: &[&[(f32, f32)]]) -> Tracked {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let mut assigned = Vec::new();
        for (i, faces) in frames.iter().enumerate() {
            let faces: Vec<_> = faces.iter().map(|(x, score)| face(*x, *score)).collect();
            assigned.push(tracker.step(i as i64, i as f64 / FPS, &faces));
        }
        (assigned, tracker.finish())
    }

    #[test]
    fn follows_two_faces_whatever_their_order() {
        let frames: Vec<Vec<(f32, f32)>> = (0..10)
            .map(|i| {
                let (a, b) = ((f32::from(i as u8) * 5.0, 0.9), (300.0, 0.8));
                if i % 2 == 0 { vec![a, b] } else { vec![b, a] }
            })
            .collect();
        let (assigned, tracks) = track(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(assigned[4], [Some(0), Some(1)]);
        assert_eq!(assigned[5], [Some(1), Some(0)]);
        assert_eq!(tracks.iter().flatten().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
    }

    #[test]
    fn a_doubtful_face_continues_a_track_but_begins_none() {
        let (assigned, _) = track(&[&[(0.0, 0.9), (200.0, 0.4)], &[(2.0, 0.4), (200.0, 0.4)]]);
        assert_eq!(assigned, [vec![Some(0), None], vec![Some(0), None]]);
    }

    #[test]
    fn a_short_absence_is_bridged_and_a_long_one_is_not() {
        let seen: &[(f32, f32)] = &[(0.0, 0.9)];
        let mut frames = vec![seen; 7];
        frames.extend([&[] as &[(f32, f32)]; 5]);
        frames.extend([seen; 7]);
        frames.extend([&[] as &[(f32, f32)]; 20]);
        frames.extend([seen; 7]);
        let (_, tracks) = track(&frames);
        assert_eq!(tracks.iter().flatten().map(Vec::len).collect::<Vec<_>>(), [14, 7]);
    }

    #[test]
    fn a_glimpse_is_rejected() {
        let (_, tracks) = track(&[&[(0.0, 0.9)], &[], &[]]);
        assert_eq!(tracks, [None]);
    }

    #[test]
    fn gaps_are_interpolated_in_time() {
        let sighting =
            |frame_idx: i64, x| Sighting { frame_idx, t_secs: frame_idx as f64, face: face(x, 0.9) };
        let boxes = fill_gaps(&[sighting(2, 0.0), sighting(6, 40.0)], |i| i as f64);
        assert_eq!(boxes.iter().map(|b| b.1.x_min).collect::<Vec<_>>(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(
            boxes.iter().map(|b| b.2.is_some()).collect::<Vec<_>>(),
            [true, false, false, false, true]
        );
    }

    proptest! {
        /// No face is in two tracks, no track has two faces in a frame, and nothing is invented.
        #[test]
        fn an_assignment_is_one_to_one(
            frames in prop::collection::vec(prop::collection::vec((0.0..600.0_f32, 0.3..1.0_f32), 0..6), 1..20),
        ) {
            let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let (assigned, tracks) = track(&frames);
            for tracks in &assigned {
                let mut used: Vec<_> = tracks.iter().flatten().collect();
                let count = used.len();
                used.sort();
                used.dedup();
                prop_assert_eq!(used.len(), count);
            }
            for track in tracks.iter().flatten() {
                prop_assert!(track.windows(2).all(|pair| pair[0].frame_idx < pair[1].frame_idx));
            }
        }
    }
}
