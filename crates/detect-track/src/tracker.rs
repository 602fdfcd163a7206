//! Association of detections into tracks, within one shot.
//!
//! Tracking by detection in the manner of ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864):
//! clear detections are matched to predicted boxes first, doubtful ones may then continue a track.
//! Where boxes alone are ambiguous, what the faces look like decides; where that does not decide
//! either, the tracks end and new ones begin: a split track can be linked again, a swapped one
//! never. A track counts if some of its detections are clear, whenever they come: hysteresis in
//! the manner of Canny's edge detector (PAMI 1986), but in time.

use schema::tables::DetectionSource;
use serde::{Deserialize, Serialize};

use crate::follow::Trajectory;
use crate::geometry::{Face, Rect};

/// How a face is followed from one key frame to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// By its detections: where it moves, comes or goes, the frames between are examined too.
    #[default]
    Assoc,
    /// By correlation filters, from frame to frame; see [`crate::follow`].
    Correlation,
}

/// How detections become tracks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// Score from which a detection is clear, 0 to 1.
    pub clear_score: f64,
    /// Share of a track's detections that must be clear, 0 to 1.
    pub min_clear_share: f64,
    /// Smallest IoU of a detection with the predicted box, 0 to 1.
    pub min_iou: f64,
    /// A match that is not better than its rival by this much is no match, 0 to 1.
    pub min_margin: f64,
    /// A face that is neither seen nor followed for longer gets a new track, seconds.
    pub max_gap_secs: f64,
    /// Tracks that are shorter, or seen only once, are rejected, seconds.
    pub min_track_secs: f64,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            clear_score: 0.8,
            min_clear_share: 0.1,
            min_iou: 0.3,
            min_margin: 0.1,
            max_gap_secs: 0.5,
            min_track_secs: 0.2,
        }
    }
}

/// What a face looks like: a small luma picture of the aligned face with mean 0 and norm 1, so that
/// the dot product of two is their correlation, −1 to 1.
pub type Appearance = Vec<f32>;

/// A face as the tracker meets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation<'a> {
    /// The detection.
    pub face: Face,
    /// Its looks; `None` when it could not be aligned.
    pub appearance: Option<&'a Appearance>,
    /// Where it was in the frames after this one, as far as it was followed.
    pub trajectory: &'a [(i64, Rect)],
}

/// One frame's detection of a track.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Frame.
    pub frame_idx: i64,
    /// Its presentation time, seconds.
    pub t_secs: f64,
    /// What was seen.
    pub face: Face,
    /// Where it was in the frames after this one, as far as it was followed.
    pub trajectory: Trajectory,
}

impl Sighting {
    /// Where the face was in a later frame, if it was followed so far.
    fn followed_to(&self, frame_idx: i64) -> Option<Rect> {
        let place = self.trajectory.binary_search_by_key(&frame_idx, |(frame, _)| *frame).ok()?;
        Some(self.trajectory[place].1)
    }
}

/// Follows faces through one shot. A track is known by its number, in order of its beginning.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    tracks: Vec<Trail>,
    /// Tracks that may go on, by number.
    open: Vec<usize>,
    /// Tracks that have ended and were not yet handed out, by number.
    ended: Vec<usize>,
    /// Time of the last step, seconds.
    last_secs: f64,
}

/// A track as it grows.
#[derive(Debug, Default)]
struct Trail {
    sightings: Vec<Sighting>,
    appearance: Option<Appearance>,
    /// When the face was last seen or followed to, seconds.
    known_secs: f64,
}

/// A track and a face that may belong to it, by their numbers.
#[derive(Debug, Clone, Copy)]
struct Pair {
    affinity: f64,
    track: usize,
    face: usize,
}

impl Tracker {
    /// A tracker at the beginning of a shot.
    pub fn new(config: TrackerConfig) -> Self {
        Self { config, tracks: Vec::new(), open: Vec::new(), ended: Vec::new(), last_secs: f64::NEG_INFINITY }
    }

    /// Takes the faces of the next examined frame; gives each its track.
    pub fn step(&mut self, frame_idx: i64, t_secs: f64, faces: &[Observation<'_>]) -> Vec<usize> {
        self.end_lost(t_secs);
        self.note_followed(frame_idx, t_secs);
        let pairs = self.pairs(frame_idx, t_secs, faces);
        let mut assigned: Vec<Option<usize>> = vec![None; faces.len()];
        let is_clear = |face: usize| f64::from(faces[face].face.score) >= self.config.clear_score;
        let (clear, doubtful): (Vec<Pair>, Vec<Pair>) = pairs.iter().partition(|pair| is_clear(pair.face));
        match_best(&clear, &mut assigned);
        match_best(&doubtful, &mut assigned);
        self.split_unsure(&pairs, &mut assigned);
        self.last_secs = t_secs;
        faces.iter().zip(assigned).map(|(face, track)| self.extend(track, frame_idx, t_secs, face)).collect()
    }

    /// Tracks that have ended since the last call, in order of their numbers: the number, and the
    /// sightings, `None` when they are too few or too doubtful.
    pub fn take_ended(&mut self) -> Vec<(usize, Option<Vec<Sighting>>)> {
        let mut ended = std::mem::take(&mut self.ended);
        ended.sort_unstable();
        let mut take = |track: usize| {
            let sightings = std::mem::take(&mut self.tracks[track].sightings);
            (track, is_credible(&sightings, &self.config).then_some(sightings))
        };
        ended.into_iter().map(&mut take).collect()
    }

    /// The shot ends, and with it every track.
    pub fn end_all(&mut self) {
        self.ended.append(&mut self.open);
    }

    /// Ends the tracks that no face seen at `t_secs` can continue.
    fn end_lost(&mut self, t_secs: f64) {
        let is_lost = |track: usize| t_secs - self.tracks[track].known_secs > self.config.max_gap_secs;
        let (lost, open): (Vec<_>, _) = self.open.iter().partition(|track| is_lost(**track));
        self.ended.extend(lost);
        self.open = open;
    }

    /// A face that was followed to this frame need not be seen in it for its track to stay open.
    fn note_followed(&mut self, frame_idx: i64, t_secs: f64) {
        for track in &self.open {
            let trail = &mut self.tracks[*track];
            if trail.sightings.last().is_some_and(|last| last.followed_to(frame_idx).is_some()) {
                trail.known_secs = t_secs;
            }
        }
    }

    /// Every open track with every face near its predicted box, best first; ties go to the older
    /// track and the earlier face.
    fn pairs(&self, frame_idx: i64, t_secs: f64, faces: &[Observation<'_>]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for track in &self.open {
            let Trail { sightings, appearance, .. } = &self.tracks[*track];
            let predicted = predict(sightings, frame_idx, t_secs);
            for (face, observed) in faces.iter().enumerate() {
                let iou = f64::from(predicted.iou(&observed.face.rect));
                if iou >= self.config.min_iou {
                    let affinity = affinity(iou, appearance.as_ref(), observed.appearance);
                    pairs.push(Pair { affinity, track: *track, face });
                }
            }
        }
        pairs.sort_by(|a, b| {
            b.affinity.total_cmp(&a.affinity).then(a.track.cmp(&b.track)).then(a.face.cmp(&b.face))
        });
        pairs
    }

    /// Takes back matches that have a rival as good: another face for the same track, or another
    /// track that was there a moment ago for the same face.
    fn split_unsure(&mut self, pairs: &[Pair], assigned: &mut [Option<usize>]) {
        let was_there = |track: usize| self.tracks[track].known_secs >= self.last_secs;
        let matched: Vec<Pair> =
            pairs.iter().filter(|p| assigned[p.face] == Some(p.track)).copied().collect();
        for sure in matched {
            let rivals = pairs.iter().filter(|p| {
                (p.track == sure.track && p.face != sure.face)
                    || (p.face == sure.face && p.track != sure.track && was_there(p.track))
            });
            let best = rivals.map(|p| p.affinity).fold(f64::NEG_INFINITY, f64::max);
            if best > sure.affinity - self.config.min_margin {
                assigned[sure.face] = None;
                self.ended.push(sure.track);
            }
        }
        self.open.retain(|track| !self.ended.contains(track));
    }

    fn extend(
        &mut self,
        track: Option<usize>,
        frame_idx: i64,
        t_secs: f64,
        observed: &Observation<'_>,
    ) -> usize {
        let track = track.unwrap_or_else(|| {
            self.tracks.push(Trail::default());
            self.open.push(self.tracks.len() - 1);
            self.tracks.len() - 1
        });
        let trail = &mut self.tracks[track];
        let trajectory = observed.trajectory.to_vec();
        trail.sightings.push(Sighting { frame_idx, t_secs, face: observed.face, trajectory });
        trail.known_secs = t_secs;
        trail.appearance = observed.appearance.cloned().or(trail.appearance.take());
        track
    }
}

/// Gives faces to tracks, best pair first.
fn match_best(pairs: &[Pair], assigned: &mut [Option<usize>]) {
    for pair in pairs {
        if assigned[pair.face].is_none() && !assigned.contains(&Some(pair.track)) {
            assigned[pair.face] = Some(pair.track);
        }
    }
}

/// How well a face fits a track, 0 to 1: place and looks count alike. Without looks, place alone.
fn affinity(iou: f64, track: Option<&Appearance>, face: Option<&Appearance>) -> f64 {
    let (Some(track), Some(face)) = (track, face) else { return iou };
    (iou + f64::from(likeness(track, face).max(0.0))) / 2.0
}

/// Correlation of two faces' looks, −1 to 1.
pub fn likeness(a: &Appearance, b: &Appearance) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Where the face was followed to, if it was. Otherwise carries the last box on at the speed of the
/// last two, for at most the time between them: speed from noisy boxes is not to be trusted for longer.
fn predict(track: &[Sighting], frame_idx: i64, t_secs: f64) -> Rect {
    let trajectory = track.last().map_or(&[][..], |last| &last.trajectory);
    if let Some((_, rect)) = trajectory.iter().take_while(|(frame, _)| *frame <= frame_idx).last() {
        return *rect;
    }
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
    let clear = track.iter().filter(|s| f64::from(s.face.score) >= config.clear_score).count();
    track.len() > 1
        && last.t_secs - first.t_secs >= config.min_track_secs
        && clear > 0
        && clear as f64 >= config.min_clear_share * track.len() as f64
}

/// Mean of the detector's scores over a track, 0 to 1.
pub fn mean_score(track: &[Sighting]) -> f32 {
    track.iter().map(|s| s.face.score).sum::<f32>() / track.len().max(1) as f32
}

/// The box of a track in every frame between two in which it was seen: where the face was followed
/// to, otherwise interpolated. `t_secs` gives the time of a frame.
pub fn fill_gaps(track: &[Sighting], t_secs: impl Fn(i64) -> f64) -> Vec<(i64, Rect, DetectionSource)> {
    let mut boxes = Vec::new();
    for pair in track.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        let (mut known_secs, mut known) = (from.t_secs, from.face.rect);
        for frame_idx in from.frame_idx + 1..to.frame_idx {
            if let Some(rect) = from.followed_to(frame_idx) {
                (known_secs, known) = (t_secs(frame_idx), rect);
                boxes.push((frame_idx, rect, DetectionSource::Tracked));
            } else {
                let share = (t_secs(frame_idx) - known_secs) / (to.t_secs - known_secs);
                let rect = known.towards(&to.face.rect, share as f32);
                boxes.push((frame_idx, rect, DetectionSource::Interpolated));
            }
        }
    }
    boxes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FPS: f64 = 25.0;

    fn face(x: f32, score: f32) -> Face {
        let rect = Rect { x_min: x, y_min: 0.0, x_max: x + 40.0, y_max: 50.0 };
        Face { rect, points: None, score }
    }

    /// What each step gave, and the tracks at the end.
    type Tracked = (Vec<Vec<usize>>, Vec<Option<Vec<Sighting>>>);

    /// Tracks of faces given per frame as (x, score, appearance).
    fn track_seen(frames: &[Vec<(f32, f32, Option<Appearance>)>]) -> Tracked {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let mut assigned = Vec::new();
        for (i, faces) in frames.iter().enumerate() {
            let observed = |(x, score, appearance): &'_ (f32, f32, Option<Appearance>)| {
                (face(*x, *score), appearance.clone())
            };
            let faces: Vec<_> = faces.iter().map(observed).collect();
            let faces: Vec<_> = faces
                .iter()
                .map(|(face, a)| Observation { face: *face, appearance: a.as_ref(), trajectory: &[] })
                .collect();
            assigned.push(tracker.step(i as i64, i as f64 / FPS, &faces));
        }
        tracker.end_all();
        (assigned, tracker.take_ended().into_iter().map(|(_, sightings)| sightings).collect())
    }

    /// Tracks of faces given per frame as (x, score), looks unknown.
    fn track(frames: &[&[(f32, f32)]]) -> Tracked {
        let frames: Vec<Vec<_>> =
            frames.iter().map(|faces| faces.iter().map(|(x, score)| (*x, *score, None)).collect()).collect();
        track_seen(&frames)
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
        assert_eq!(assigned[4], [0, 1]);
        assert_eq!(assigned[5], [1, 0]);
        assert_eq!(tracks.iter().flatten().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
    }

    #[test]
    fn doubtful_faces_count_before_and_after_a_clear_one_and_never_alone() {
        let frames: Vec<Vec<(f32, f32)>> =
            (0..9).map(|i| vec![(0.0, if i == 4 { 0.9 } else { 0.6 }), (200.0, 0.6)]).collect();
        let (_, tracks) = track(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(tracks.iter().map(|t| t.as_ref().map(Vec::len)).collect::<Vec<_>>(), [Some(9), None]);
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

    /// Two faces walk through each other; while they overlap only one is seen.
    fn crossing(looks: [Option<Appearance>; 2]) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        let place = |i: usize| (i as f32 * 6.0, 180.0 - i as f32 * 6.0);
        let mut truth = Vec::new();
        let frames: Vec<Vec<_>> = (0..31)
            .map(|i| {
                let (a, b) = place(i);
                let faces = [(a, 0.9, looks[0].clone()), (b, 0.9, looks[1].clone())];
                let shown = if (a - b).abs() < 24.0 { 1 } else { 2 };
                truth.push((0..shown).collect());
                faces.into_iter().take(shown).collect()
            })
            .collect();
        (truth, track_seen(&frames).0)
    }

    /// Whether every track holds one person only.
    fn is_pure(truth: &[Vec<usize>], assigned: &[Vec<usize>]) -> bool {
        let mut owner = std::collections::BTreeMap::new();
        let seen = truth.iter().flatten().zip(assigned.iter().flatten());
        seen.into_iter().all(|(person, track)| owner.entry(*track).or_insert(*person) == person)
    }

    #[test]
    fn people_who_cross_never_swap() {
        let looks = [Some(vec![1.0, 0.0]), Some(vec![0.0, 1.0])];
        let (truth, assigned) = crossing(looks);
        assert!(is_pure(&truth, &assigned), "{assigned:?}");
        assert_eq!(assigned.last(), assigned.first(), "looks tell them apart");
    }

    #[test]
    fn people_who_cross_and_look_alike_are_split() {
        let (truth, assigned) = crossing([Some(vec![1.0, 0.0]), Some(vec![1.0, 0.0])]);
        assert!(is_pure(&truth, &assigned), "{assigned:?}");
    }

    fn sighting(frame_idx: i64, x: f32, trajectory: &[(i64, f32)]) -> Sighting {
        let trajectory = trajectory.iter().map(|(frame, x)| (*frame, face(*x, 0.0).rect)).collect();
        Sighting { frame_idx, t_secs: frame_idx as f64, face: face(x, 0.9), trajectory }
    }

    /// Left edge and source of the boxes between two sightings, numbers of frames being their times.
    fn filled(from: Sighting, to: Sighting) -> Vec<(f32, DetectionSource)> {
        let boxes = fill_gaps(&[from, to], |i| i as f64);
        boxes.iter().map(|(_, rect, source)| (rect.x_min, *source)).collect()
    }

    #[test]
    fn gaps_are_interpolated_in_time() {
        use DetectionSource::Interpolated;
        let boxes = filled(sighting(2, 0.0, &[]), sighting(6, 40.0, &[]));
        assert_eq!(boxes, [(10.0, Interpolated), (20.0, Interpolated), (30.0, Interpolated)]);
    }

    #[test]
    fn gaps_are_filled_as_far_as_the_face_was_followed() {
        use DetectionSource::{Interpolated, Tracked};
        let boxes = filled(sighting(2, 0.0, &[(3, 25.0), (4, 30.0)]), sighting(6, 40.0, &[]));
        assert_eq!(boxes, [(25.0, Tracked), (30.0, Tracked), (35.0, Interpolated)]);
    }

    #[test]
    fn a_face_goes_on_where_it_was_followed_to() {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let mut step = |frame_idx: i64, x: f32, followed: &[(i64, f32)]| {
            let Sighting { t_secs, face, trajectory, .. } = sighting(frame_idx, x, followed);
            let observed = Observation { face, appearance: None, trajectory: &trajectory };
            tracker.step(frame_idx, t_secs / FPS, &[observed])
        };
        assert_eq!((step(0, 0.0, &[(8, 200.0)]), step(8, 195.0, &[])), (vec![0], vec![0]));
        assert_eq!(step(16, 600.0, &[]), [1]);
    }

    #[test]
    fn a_face_that_was_followed_over_a_missed_look_goes_on() {
        for (followed, expected) in [(vec![(10, face(100.0, 0.0).rect)], 0), (Vec::new(), 1)] {
            let mut tracker = Tracker::new(TrackerConfig::default());
            let seen = |x, trajectory| Observation { face: face(x, 0.9), appearance: None, trajectory };
            tracker.step(0, 0.0, &[seen(100.0, &followed)]);
            tracker.step(10, 10.0 / FPS, &[]);
            assert_eq!(tracker.step(20, 20.0 / FPS, &[seen(100.0, &[])]), [expected]);
        }
    }

    proptest! {
        /// No track has two faces in a frame, and every track is in order of time.
        #[test]
        fn an_assignment_is_one_to_one(
            frames in prop::collection::vec(prop::collection::vec((0.0..600.0_f32, 0.3..1.0_f32), 0..6), 1..20),
        ) {
            let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let (assigned, tracks) = track(&frames);
            for tracks in &assigned {
                let mut used = tracks.clone();
                used.sort();
                used.dedup();
                prop_assert_eq!(used.len(), tracks.len());
            }
            for track in tracks.iter().flatten() {
                prop_assert!(track.windows(2).all(|pair| pair[0].frame_idx < pair[1].frame_idx));
            }
        }
    }
}
