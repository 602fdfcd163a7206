//! Association of detections into tracks, within one shot.
//!
//! Tracking by detection in the manner of ByteTrack (Zhang et al., ECCV 2022, arXiv 2110.06864):
//! clear detections are matched to predicted boxes first, doubtful ones may then continue a track.
//! Where boxes alone are ambiguous, what the faces look like decides; where that does not decide
//! either, the tracks end and new ones begin: a split track can be linked again, a swapped one
//! never. A track counts if some of its detections are clear, whenever they come: hysteresis in
//! the manner of Canny's edge detector (PAMI 1986), but in time. Whether a track without a clear
//! detection counts is left to a closer look.

use geometry::{BBox, FrameTimes, Landmarks};
use numeric::vector::dot;
use schema::tables::DetectionSource;
use serde::{Deserialize, Serialize};

use crate::face::DetectedFace;
use crate::follow::Trajectory;

/// Choice of the tracker between anchor frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackerKind {
    /// By its detections: where it moves, comes or goes, the frames between are examined too.
    #[default]
    Assoc,
    /// By correlation filters, from frame to frame; see [`crate::follow`].
    Correlation,
}

/// Settings of the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// Score from which a detection is clear, 0 to 1. With `yunet`, a track without a score of `clear_score + 0.06` gets
    /// closer looks at its best detections. It is kept if the mean of its best score, which must be at least 0.7, and of
    /// the two best looks is at least `clear_score + 0.01`.
    pub clear_score: f64,
    /// Share of a track's detections that must be clear, 0 to 1; with `yunet`, other tracks get closer looks.
    pub min_clear_share: f64,
    /// Smallest IoU of the predicted box and a detection that continues a track, 0 to 1.
    pub min_iou: f64,
    /// Smallest margin by which a match must be better than the next one, 0 to 1.
    pub min_margin: f64,
    /// Longest time without a detection or a followed position before a track ends, 0 to 60 s.
    pub max_gap_secs: f64,
    /// Shortest track, 0 to 60 s; shorter tracks are rejected, and those detected only once unless this is 0 or
    /// a single frame is shown for as long.
    pub min_track_secs: f64,
}

impl TrackerConfig {
    /// The settings for a video with these frames: the next frame is never a gap, and no track need be longer
    /// than the video or have two frames where one is shown for long enough.
    pub fn at_pace_of(self, times: &FrameTimes) -> Self {
        let frame_secs = times.frame_secs();
        let is_slow = frame_secs >= self.min_track_secs;
        let whole_secs = times.t_secs(times.len() as i64) - times.t_secs(0);
        Self {
            // Times are not exact, so half a frame is added.
            max_gap_secs: self.max_gap_secs.max(1.5 * frame_secs),
            min_track_secs: if is_slow { 0.0 } else { self.min_track_secs.min(whole_secs) },
            ..self
        }
    }
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

/// Longest time in which no face turns so far that it looks like another one, seconds.
const MOMENT_SECS: f64 = 0.1;
/// Correlation below which two appearances may be of two faces, −1 to 1.
const OTHER_PATTERN: f32 = 0.5;
/// Mean difference of the colours from which they then are, as a share of the range, 0 to 1.
const OTHER_COLOURS: f32 = 0.1;

/// Smallest overlap (IoU) of the boxes of two tracks of one face wherever both have a box, 0 to 1.
const ONE_FACE: f32 = 0.5;

/// What a face looks like: a small picture of the aligned face.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Appearance {
    /// Luma of the cells with mean 0 and norm 1, so that the dot product of two is their correlation, −1 to 1.
    pub pattern: Vec<f32>,
    /// Red, green and blue of the cells, 0 to 255.
    pub colours: Vec<u8>,
}

impl Appearance {
    /// Correlation of two faces' appearances, −1 to 1.
    pub fn similarity(&self, other: &Self) -> f32 {
        dot(&self.pattern, &other.pattern)
    }

    /// Mean difference of the luma of the cells after one gain and offset, as a share of the range, 0 to 1.
    pub fn change(&self, other: &Self) -> f32 {
        let (from, to) = (self.luma(), other.luma());
        let n = from.len().max(1) as f32;
        let moments = |cells: &[f32]| {
            let mean = cells.iter().sum::<f32>() / n;
            let variance = cells.iter().map(|cell| (cell - mean).powi(2)).sum::<f32>() / n;
            (mean, variance.sqrt().max(1.0))
        };
        let ((mean_from, spread_from), (mean_to, spread_to)) = (moments(&from), moments(&to));
        let pairs = from.iter().zip(&to);
        let difference =
            |(a, b): (&f32, &f32)| ((a - mean_from) / spread_from - (b - mean_to) / spread_to).abs();
        pairs.map(difference).sum::<f32>() / n * (spread_from * spread_to).sqrt() / 255.0
    }

    fn luma(&self) -> Vec<f32> {
        self.colours.chunks_exact(3).map(|rgb| f32::from(rgb[1])).collect()
    }

    /// Whether the appearances are so different that a face needs more than [`MOMENT_SECS`] to change from one to the
    /// other. A face that is lit anew keeps its pattern, and one that turns keeps its colours.
    pub fn is_of_another(&self, other: &Self) -> bool {
        let pairs = self.colours.iter().zip(&other.colours);
        let difference: u32 = pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
        let most = self.colours.len().max(1) as f32 * 255.0;
        difference as f32 / most > OTHER_COLOURS && self.similarity(other) < OTHER_PATTERN
    }
}

/// One box of a track.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackDetection {
    /// Frame.
    pub frame_idx: i64,
    /// Its presentation time, seconds.
    pub t_secs: f64,
    /// Where the face is, pixels of the frame.
    pub bbox: BBox,
    /// Where the box comes from.
    pub source: DetectionSource,
    /// Detector's score, 0 to 1; `None` unless the face was detected.
    pub score: Option<f32>,
    /// Landmarks, pixels of the frame; `None` unless the face was detected by a detector that gives them.
    pub landmarks: Option<Landmarks>,
    /// Sharpness of the crop, 0 to 1; `None` without a crop.
    pub sharpness: Option<f32>,
    /// Where the face was in the frames after this one, as far as it was followed.
    pub trajectory: Trajectory,
}

impl TrackDetection {
    fn detected(frame_idx: i64, t_secs: f64, found: &DetectedFace) -> Self {
        Self {
            frame_idx,
            t_secs,
            bbox: found.face.bbox,
            source: DetectionSource::Detected,
            score: Some(found.face.score),
            landmarks: found.face.landmarks,
            sharpness: found.crop.as_ref().map(|crop| crop.sharpness),
            trajectory: found.trajectory.clone(),
        }
    }

    fn between(frame_idx: i64, t_secs: f64, bbox: BBox, source: DetectionSource) -> Self {
        let trajectory = Trajectory::new();
        Self { frame_idx, t_secs, bbox, source, score: None, landmarks: None, sharpness: None, trajectory }
    }

    /// Where the face was in a later frame, if it was followed so far.
    fn followed_to(&self, frame_idx: i64) -> Option<BBox> {
        let place = self.trajectory.binary_search_by_key(&frame_idx, |(frame, _)| *frame).ok()?;
        Some(self.trajectory[place].1)
    }

    fn is_clear(&self, config: &TrackerConfig) -> bool {
        self.score.is_some_and(|score| f64::from(score) >= config.clear_score)
    }
}

/// A track that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedTrack {
    /// Number of the track, in order of the beginnings of tracks.
    pub number: usize,
    /// Frames in which the face was detected, in order.
    pub detections: Vec<TrackDetection>,
    /// Whether detections are enough and clear enough for a track.
    pub credibility: Credibility,
}

/// Whether what was tracked is a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credibility {
    /// It is a face: enough of its detections are clear.
    Credible,
    /// It may be a face: too few of its detections are clear, or none.
    Doubtful,
    /// It was seen too briefly.
    Rejected,
}

/// Follows faces through one shot. A track is known by its number, in order of its beginning.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    tracks: Vec<ActiveTrack>,
    /// Tracks that may go on, by number.
    open: Vec<usize>,
    /// Tracks that have ended and were not yet handed out, by number.
    ended: Vec<usize>,
    /// Time of the last step, seconds.
    last_secs: f64,
}

/// A track as it grows.
#[derive(Debug, Default)]
struct ActiveTrack {
    detections: Vec<TrackDetection>,
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
    pub fn step(&mut self, frame_idx: i64, t_secs: f64, faces: &[DetectedFace]) -> Vec<usize> {
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

    /// Joins tracks that have ended since the last call to other tracks of the same face, which are open or have ended, too.
    /// Returns the numbers of each track and of the track that it was joined to.
    ///
    /// A face that looks like another one for a moment begins a second track, and the first one goes on when the face
    /// looks as before. The two overlap wherever both have a box, and the face is never detected twice in a frame.
    pub fn join_ended(&mut self) -> Vec<(usize, usize)> {
        let (mut left, mut joined) = (Vec::new(), Vec::new());
        self.ended.sort_unstable();
        let ended = std::mem::take(&mut self.ended);
        for (at, number) in ended.iter().enumerate() {
            let others = self.open.iter().chain(&ended[at + 1..]).chain(&left).copied();
            match others.filter(|other| self.are_one_face(*number, *other)).min() {
                Some(same) => {
                    self.join(*number, same);
                    joined.push((*number, same));
                }
                None => left.push(*number),
            }
        }
        self.ended = left;
        joined
    }

    fn are_one_face(&self, a: usize, b: usize) -> bool {
        let [a, b] = [a, b].map(|number| self.tracks[number].detections.as_slice());
        let is_track = |track| credibility(track, &self.config) != Credibility::Rejected;
        are_one_face(a, b) && is_track(a) && is_track(b)
    }

    fn join(&mut self, from: usize, into: usize) {
        let ActiveTrack { detections, appearance, known_secs } = std::mem::take(&mut self.tracks[from]);
        let into = &mut self.tracks[into];
        if last_frame(&detections) > last_frame(&into.detections) {
            into.appearance = appearance;
        }
        into.known_secs = into.known_secs.max(known_secs);
        into.detections.extend(detections);
        into.detections.sort_by_key(|detection| detection.frame_idx);
    }

    /// Tracks that have ended since the last call, in order of their numbers.
    pub fn take_ended(&mut self) -> Vec<EndedTrack> {
        let mut ended = std::mem::take(&mut self.ended);
        ended.sort_unstable();
        let mut take = |number: usize| {
            let detections = std::mem::take(&mut self.tracks[number].detections);
            EndedTrack { number, credibility: credibility(&detections, &self.config), detections }
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
            let track = &mut self.tracks[*track];
            if track.detections.last().is_some_and(|last| last.followed_to(frame_idx).is_some()) {
                track.known_secs = t_secs;
            }
        }
    }

    /// Every open track with every face near its predicted box, best first; ties go to the older
    /// track and the earlier face.
    fn pairs(&self, frame_idx: i64, t_secs: f64, faces: &[DetectedFace]) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for track in &self.open {
            let ActiveTrack { detections, appearance, .. } = &self.tracks[*track];
            let known_secs = detections.last().map_or(f64::NEG_INFINITY, |last| last.t_secs);
            let predicted = predict(detections, frame_idx, t_secs);
            for (face, found) in faces.iter().enumerate() {
                let iou = f64::from(predicted.iou(&found.face.bbox));
                let looks = appearance.as_ref().zip(appearance_of(found));
                // A cut that was missed: another face is where this one was a moment ago.
                let is_replaced =
                    t_secs - known_secs <= MOMENT_SECS && looks.is_some_and(|(a, b)| a.is_of_another(b));
                if iou >= self.config.min_iou && !is_replaced {
                    let similarity = looks.map(|(a, b)| f64::from(a.similarity(b)));
                    pairs.push(Pair { affinity: affinity(iou, similarity), track: *track, face });
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

    fn extend(&mut self, track: Option<usize>, frame_idx: i64, t_secs: f64, found: &DetectedFace) -> usize {
        let number = track.unwrap_or_else(|| {
            self.tracks.push(ActiveTrack::default());
            self.open.push(self.tracks.len() - 1);
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[number];
        track.detections.push(TrackDetection::detected(frame_idx, t_secs, found));
        track.known_secs = t_secs;
        track.appearance = appearance_of(found).cloned().or(track.appearance.take());
        number
    }
}

fn appearance_of(found: &DetectedFace) -> Option<&Appearance> {
    found.crop.as_ref().map(|crop| &crop.appearance)
}

/// Gives faces to tracks, best pair first.
fn match_best(pairs: &[Pair], assigned: &mut [Option<usize>]) {
    for pair in pairs {
        if assigned[pair.face].is_none() && !assigned.contains(&Some(pair.track)) {
            assigned[pair.face] = Some(pair.track);
        }
    }
}

/// Affinity of a face to a track, 0 to 1: the mean of IoU and similarity of appearance; without an
/// appearance, the IoU.
fn affinity(iou: f64, similarity: Option<f64>) -> f64 {
    similarity.map_or(iou, |similarity| (iou + similarity.max(0.0)) / 2.0)
}

/// Where the face was followed to, if it was. Otherwise carries the last box on at the speed of the
/// last two, for at most the time between them: speed from noisy boxes is not to be trusted for longer.
fn predict(track: &[TrackDetection], frame_idx: i64, t_secs: f64) -> BBox {
    let trajectory = track.last().map_or(&[][..], |last| &last.trajectory);
    if let Some((_, bbox)) = trajectory.iter().take_while(|(frame, _)| *frame <= frame_idx).last() {
        return *bbox;
    }
    match track {
        [.., before, last] => {
            let step = last.t_secs - before.t_secs;
            let share = if step > 0.0 { ((t_secs - last.t_secs) / step).min(1.0) as f32 } else { 0.0 };
            let (from, to) = (before.bbox.centre(), last.bbox.centre());
            last.bbox.moved((to.0 - from.0) * share, (to.1 - from.1) * share)
        }
        [last] => last.bbox,
        [] => BBox::default(),
    }
}

fn credibility(track: &[TrackDetection], config: &TrackerConfig) -> Credibility {
    let (Some(first), Some(last)) = (track.first(), track.last()) else { return Credibility::Rejected };
    let is_long = (track.len() > 1 || config.min_track_secs == 0.0)
        && last.t_secs - first.t_secs >= config.min_track_secs;
    match track.iter().filter(|detection| detection.is_clear(config)).count() {
        _ if !is_long => Credibility::Rejected,
        clear if clear > 0 && clear as f64 >= config.min_clear_share * track.len() as f64 => {
            Credibility::Credible
        }
        _ => Credibility::Doubtful,
    }
}

fn last_frame(track: &[TrackDetection]) -> Option<i64> {
    track.last().map(|last| last.frame_idx)
}

/// Whether two tracks have boxes in some of the same frames, overlap there by at least [`ONE_FACE`], and are never both
/// detected in a frame.
fn are_one_face(a: &[TrackDetection], b: &[TrackDetection]) -> bool {
    let overlaps = |track: &[TrackDetection], other: &[TrackDetection]| {
        let (first, last) = (track.first()?.frame_idx, track.last()?.frame_idx);
        let begin = other.partition_point(|detection| detection.frame_idx < first);
        let end = other.partition_point(|detection| detection.frame_idx <= last);
        let are_near = |detection: &TrackDetection| {
            box_between(track, detection).is_some_and(|bbox| bbox.iou(&detection.bbox) >= ONE_FACE)
        };
        other[begin..end].iter().all(are_near).then_some(end - begin)
    };
    overlaps(a, b).zip(overlaps(b, a)).is_some_and(|(in_a, in_b)| in_a + in_b > 0)
}

/// The box of a track in the frame of a detection, between two detections of the track; `None` where the track was
/// detected, and before and after it.
fn box_between(track: &[TrackDetection], at: &TrackDetection) -> Option<BBox> {
    let next = track.partition_point(|detection| detection.frame_idx < at.frame_idx);
    let (from, to) = (track.get(next.checked_sub(1)?)?, track.get(next)?);
    if to.frame_idx == at.frame_idx {
        return None;
    }
    let share = (at.t_secs - from.t_secs) / (to.t_secs - from.t_secs);
    from.followed_to(at.frame_idx).or_else(|| Some(from.bbox.towards(&to.bbox, share as f32)))
}

/// Mean of the detector's scores over a track, 0 to 1.
pub fn mean_score(track: &[TrackDetection]) -> f32 {
    track.iter().filter_map(|detection| detection.score).sum::<f32>() / track.len().max(1) as f32
}

/// The boxes of a track in the frames between those in which it was detected: where the face was followed
/// to, otherwise interpolated. `t_secs` gives the time of a frame, seconds.
pub fn fill_gaps(track: &[TrackDetection], t_secs: impl Fn(i64) -> f64) -> Vec<TrackDetection> {
    let mut filled = Vec::new();
    for pair in track.windows(2) {
        let (from, to) = (&pair[0], &pair[1]);
        let (mut known_secs, mut known) = (from.t_secs, from.bbox);
        for frame_idx in from.frame_idx + 1..to.frame_idx {
            let now = t_secs(frame_idx);
            if let Some(bbox) = from.followed_to(frame_idx) {
                (known_secs, known) = (now, bbox);
                filled.push(TrackDetection::between(frame_idx, now, bbox, DetectionSource::Tracked));
            } else {
                let share = (now - known_secs) / (to.t_secs - known_secs);
                let bbox = known.towards(&to.bbox, share as f32);
                filled.push(TrackDetection::between(frame_idx, now, bbox, DetectionSource::Interpolated));
            }
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crops::AlignedCrop;
    use crate::face::Face;

    const FPS: f64 = 25.0;

    fn bbox(x: f32) -> BBox {
        BBox::from_corner(x, 0.0, 40.0, 50.0)
    }

    fn found(x: f32, score: f32, appearance: Option<Appearance>, trajectory: &[(i64, f32)]) -> DetectedFace {
        let crop = appearance.map(|appearance| AlignedCrop {
            rgb: Vec::new(),
            transform: [0.0; 6],
            score,
            sharpness: 0.5,
            quality: 1.0,
            appearance,
        });
        let trajectory = trajectory.iter().map(|(frame, x)| (*frame, bbox(*x))).collect();
        DetectedFace {
            face: Face { bbox: bbox(x), landmarks: None, score },
            crop,
            torso: None,
            surroundings: None,
            trajectory,
        }
    }

    /// What each step gave, and the tracks at the end.
    type Tracked = (Vec<Vec<usize>>, Vec<EndedTrack>);

    /// Tracks of faces given per frame as (x, score, appearance).
    fn track_seen(frames: &[Vec<(f32, f32, Option<Appearance>)>]) -> Tracked {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let mut assigned = Vec::new();
        for (i, faces) in frames.iter().enumerate() {
            let found = |(x, score, appearance): &(f32, f32, Option<Appearance>)| {
                found(*x, *score, appearance.clone(), &[])
            };
            let faces: Vec<_> = faces.iter().map(found).collect();
            assigned.push(tracker.step(i as i64, i as f64 / FPS, &faces));
        }
        tracker.end_all();
        tracker.join_ended();
        (assigned, tracker.take_ended())
    }

    /// Tracks of faces given per frame as (x, score), looks unknown.
    fn track(frames: &[&[(f32, f32)]]) -> Tracked {
        let frames: Vec<Vec<_>> =
            frames.iter().map(|faces| faces.iter().map(|(x, score)| (*x, *score, None)).collect()).collect();
        track_seen(&frames)
    }

    /// Number of detections of each track; `None` where they are not credible.
    fn lengths(tracks: &[EndedTrack]) -> Vec<Option<usize>> {
        tracks
            .iter()
            .map(|track| (track.credibility == Credibility::Credible).then_some(track.detections.len()))
            .collect()
    }

    #[test]
    fn follows_two_faces_in_any_order() {
        let frames: Vec<Vec<(f32, f32)>> = (0..10)
            .map(|i| {
                let (a, b) = ((f32::from(i as u8) * 5.0, 0.9), (300.0, 0.8));
                if i % 2 == 0 { vec![a, b] } else { vec![b, a] }
            })
            .collect();
        let (assigned, tracks) = track(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(assigned[4], [0, 1]);
        assert_eq!(assigned[5], [1, 0]);
        assert_eq!(lengths(&tracks), [Some(10), Some(10)]);
    }

    #[test]
    fn doubtful_faces_count_before_and_after_a_clear_one_and_alone_they_are_in_doubt() {
        let frames: Vec<Vec<(f32, f32)>> =
            (0..9).map(|i| vec![(0.0, if i == 4 { 0.9 } else { 0.6 }), (200.0, 0.6)]).collect();
        let (_, tracks) = track(&frames.iter().map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(lengths(&tracks), [Some(9), None]);
        assert_eq!(tracks[1].credibility, Credibility::Doubtful);
        let (_, tracks) = track(&frames.iter().take(4).map(Vec::as_slice).collect::<Vec<_>>());
        assert_eq!(tracks[1].credibility, Credibility::Rejected, "too short");
        let frames = [vec![[(0.0, 0.9)].as_slice()], vec![[(0.0, 0.6)].as_slice(); 10]].concat();
        let (_, tracks) = track(&frames);
        assert_eq!(tracks[0].credibility, Credibility::Doubtful, "one of eleven is clear");
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
        assert_eq!(lengths(&tracks), [Some(14), Some(7)]);
    }

    #[test]
    fn the_pace_of_a_video_sets_gaps_and_the_shortest_track() {
        let pace = |secs: f64, n: i64| {
            let times: FrameTimes = (0..n).map(|i| (i, i as f64 * secs)).collect();
            let config = TrackerConfig::default().at_pace_of(&times);
            (config.max_gap_secs, config.min_track_secs)
        };
        assert_eq!(pace(0.04, 100), (0.5, 0.2));
        assert_eq!(pace(1.0, 11), (1.5, 0.0), "a frame a second");
        assert_eq!(pace(0.04, 2), (0.5, 0.04), "two frames");
        assert_eq!(pace(0.04, 1), (0.5, 0.0), "one frame");
        let config = TrackerConfig { min_track_secs: 0.0, ..TrackerConfig::default() };
        let detection = detection(0, 0.0, &[]);
        assert_eq!(credibility(std::slice::from_ref(&detection), &config), Credibility::Credible);
        assert_eq!(credibility(&[detection], &TrackerConfig::default()), Credibility::Rejected);
    }

    #[test]
    fn a_glimpse_is_rejected() {
        let (_, tracks) = track(&[&[(0.0, 0.9)], &[], &[]]);
        assert_eq!(lengths(&tracks), [None]);
    }

    fn pattern_of(pattern: &[f32]) -> Appearance {
        Appearance { pattern: pattern.to_vec(), colours: Vec::new() }
    }

    #[test]
    fn a_track_ends_where_another_face_takes_its_place() {
        let look = |pattern: [f32; 2], colour: u8| {
            Some(Appearance { pattern: pattern.to_vec(), colours: vec![colour; 6] })
        };
        let (a, lit, turned, b) =
            (look([1.0, 0.0], 90), look([1.0, 0.0], 160), look([0.0, 1.0], 90), look([0.0, 1.0], 160));
        let frames = |looks: &[&Option<Appearance>]| -> Vec<Vec<(f32, f32, Option<Appearance>)>> {
            looks.iter().flat_map(|look| vec![vec![(0.0, 0.9, (*look).clone())]; 8]).collect()
        };
        assert_eq!(lengths(&track_seen(&frames(&[&a, &b])).1), [Some(8), Some(8)]);
        assert_eq!(lengths(&track_seen(&frames(&[&a, &lit])).1), [Some(16)]);
        assert_eq!(lengths(&track_seen(&frames(&[&a, &turned])).1), [Some(16)]);
        // For one frame only, as behind a lamp that flashes.
        let mut flash = frames(&[&a, &a]);
        flash[8][0].2 = b;
        assert_eq!(lengths(&track_seen(&flash).1), [Some(15), None]);
    }

    #[test]
    fn a_face_that_looks_like_another_for_a_moment_has_one_track() {
        let look = |pattern: [f32; 2], colour: u8| {
            Some(Appearance { pattern: pattern.to_vec(), colours: vec![colour; 6] })
        };
        let (a, b) = (look([1.0, 0.0], 90), look([0.0, 1.0], 160));
        let frames = |places: [f32; 3]| -> Vec<Vec<(f32, f32, Option<Appearance>)>> {
            let looks = [(8, &a), (7, &b), (8, &a)].into_iter().zip(places);
            looks.flat_map(|((n, look), x)| vec![vec![(x, 0.9, look.clone())]; n]).collect()
        };
        let (assigned, tracks) = track_seen(&frames([0.0; 3]));
        assert_eq!((assigned[8].as_slice(), assigned[15].as_slice()), (&[1][..], &[0][..]));
        assert_eq!(lengths(&tracks), [Some(23)]);
        assert!(tracks[0].detections.windows(2).all(|pair| pair[0].frame_idx < pair[1].frame_idx));
        // Beside the first face, and after it.
        assert_eq!(lengths(&track_seen(&frames([0.0, 20.0, 0.0])).1), [Some(16), Some(7)]);
        assert_eq!(lengths(&track_seen(&frames([0.0, 0.0, 300.0])).1), [Some(8), Some(7), Some(8)]);
        // Both are seen in one frame.
        let mut both = frames([0.0; 3]);
        both[12].push((10.0, 0.9, a.clone()));
        assert_eq!(lengths(&track_seen(&both).1), [Some(17), Some(7)]);
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
        let looks = [[1.0, 0.0], [0.0, 1.0]].map(|pattern| Some(pattern_of(&pattern)));
        let (truth, assigned) = crossing(looks);
        assert!(is_pure(&truth, &assigned), "{assigned:?}");
        assert_eq!(assigned.last(), assigned.first(), "looks tell them apart");
    }

    #[test]
    fn tracks_of_similar_people_who_cross_are_split() {
        let (truth, assigned) = crossing([Some(pattern_of(&[1.0, 0.0])), Some(pattern_of(&[1.0, 0.0]))]);
        assert!(is_pure(&truth, &assigned), "{assigned:?}");
    }

    fn detection(frame_idx: i64, x: f32, trajectory: &[(i64, f32)]) -> TrackDetection {
        TrackDetection::detected(frame_idx, frame_idx as f64, &found(x, 0.9, None, trajectory))
    }

    /// Left edge and source of the boxes between two detections, numbers of frames being their times.
    fn filled(from: TrackDetection, to: TrackDetection) -> Vec<(f32, DetectionSource)> {
        let boxes = fill_gaps(&[from, to], |i| i as f64);
        boxes.iter().map(|detection| (detection.bbox.x_min, detection.source)).collect()
    }

    #[test]
    fn gaps_are_interpolated_in_time() {
        use DetectionSource::Interpolated;
        let boxes = filled(detection(2, 0.0, &[]), detection(6, 40.0, &[]));
        assert_eq!(boxes, [(10.0, Interpolated), (20.0, Interpolated), (30.0, Interpolated)]);
    }

    #[test]
    fn gaps_are_filled_as_far_as_the_face_was_followed() {
        use DetectionSource::{Interpolated, Tracked};
        let boxes = filled(detection(2, 0.0, &[(3, 25.0), (4, 30.0)]), detection(6, 40.0, &[]));
        assert_eq!(boxes, [(25.0, Tracked), (30.0, Tracked), (35.0, Interpolated)]);
    }

    #[test]
    fn a_face_goes_on_where_it_was_followed_to() {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let mut step = |frame_idx: i64, x: f32, followed: &[(i64, f32)]| {
            tracker.step(frame_idx, frame_idx as f64 / FPS, &[found(x, 0.9, None, followed)])
        };
        assert_eq!((step(0, 0.0, &[(8, 200.0)]), step(8, 195.0, &[])), (vec![0], vec![0]));
        assert_eq!(step(16, 600.0, &[]), [1]);
    }

    #[test]
    fn a_face_that_was_followed_over_a_missed_look_goes_on() {
        for (followed, expected) in [(vec![(10, 100.0)], 0), (Vec::new(), 1)] {
            let mut tracker = Tracker::new(TrackerConfig::default());
            tracker.step(0, 0.0, &[found(100.0, 0.9, None, &followed)]);
            tracker.step(10, 10.0 / FPS, &[]);
            assert_eq!(tracker.step(20, 20.0 / FPS, &[found(100.0, 0.9, None, &[])]), [expected]);
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
            for track in &tracks {
                prop_assert!(track.detections.windows(2).all(|pair| pair[0].frame_idx < pair[1].frame_idx));
            }
        }
    }
}
