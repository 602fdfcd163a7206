//! Every table of a run.
//!
//! Conventions: `*_idx` counts from zero without holes, `*_id` is an opaque key. Boxes are
//! `x_min, y_min, x_max, y_max` in pixels of the full-size upright frame, half-open, the origin at
//! the outer corner of the top-left pixel (so IoU has no `+ 1`). `pts_ticks` counts in the time base
//! of `videos`; `t_secs` is the same moment in seconds since the container's start. Missing is null.

use crate::cell::{Symbol, UnitVector};
use crate::table::{Row as _, Table, category, table};

category! {
    /// What the container says of a frame's packet.
    FrameStatus {
        /// Nothing is wrong with the packet.
        Ok = "ok",
        /// The container marks the packet as damaged.
        Corrupt = "corrupt",
    }
}

category! {
    /// How a shot begins.
    Transition {
        /// It is the first shot of the video.
        Start = "start",
        /// From one frame to the next.
        Cut = "cut",
        /// Through black or white.
        Fade = "fade",
        /// One picture blends into the other.
        Dissolve = "dissolve",
    }
}

category! {
    /// Where a box comes from.
    DetectionSource {
        /// The detector saw it in this very frame.
        Detected = "detected",
        /// A tracker followed it into this frame.
        Tracked = "tracked",
        /// Interpolated in time between two frames in which it was seen.
        Interpolated = "interpolated",
    }
}

category! {
    /// What a constraint asks for.
    ConstraintKind {
        /// The two tracks show different people.
        CannotLink = "cannot_link",
        /// The two tracks show one person.
        MustLink = "must_link",
    }
}

category! {
    /// Why a constraint is there.
    ConstraintReason {
        /// Both faces are in one frame.
        Overlap = "overlap",
        /// A person said so.
        Edit = "edit",
    }
}

category! {
    /// What a metric counts.
    MetricUnit {
        /// Every track weighs the same.
        Track = "track",
        /// Every box (a face in a frame) weighs the same.
        Frame = "frame",
        /// The figure belongs to the video as a whole.
        Video = "video",
    }
}

category! {
    /// Who labelled.
    LabelSource {
        /// A file of ground truth.
        GroundTruth = "ground_truth",
        /// A person, looking at the result.
        Person = "person",
    }
}

table! {
    /// One row: the video of this run.
    Video = "videos" "1.0.0", written by "ingest", sorted by (video_id) {
        /// Key of the video: the first 16 digits of `sha256`.
        video_id: Symbol,
        /// File name without its folder.
        file_name: String,
        /// SHA-256 of the file, lower-case hexadecimal.
        sha256: String,
        /// Container format as FFmpeg names it, such as `matroska,webm`.
        container: String,
        /// Video codec as FFmpeg names it, such as `h264`.
        codec: String,
        /// Width of the upright frame, pixels.
        width: i64,
        /// Height of the upright frame, pixels.
        height: i64,
        /// Clockwise turn that makes a stored frame upright: 0, 90, 180 or 270 degrees.
        rotation_degrees: i64,
        /// Numerator of the time base: one tick is `num / den` seconds.
        time_base_num: i64,
        /// Denominator of the time base.
        time_base_den: i64,
        /// Time of `t_secs` = 0 on the clock of `pts_ticks`, seconds.
        start_secs: f64,
        /// From the first frame's presentation to the end of the last one, seconds.
        duration_secs: f64,
        /// Number of rows in `frames`.
        frame_count: i64,
        /// Size of the file, bytes.
        size_bytes: i64,
    }
}

table! {
    /// One row per frame that the container announces, in order of presentation.
    Frame = "frames" "1.0.0", written by "ingest", sorted by (video_id, frame_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Number of the frame in order of presentation, from zero.
        frame_idx: i64,
        /// Presentation time in ticks of the video's time base.
        pts_ticks: i64,
        /// Presentation time in seconds since the container's start.
        t_secs: f64,
        /// Whether decoding can start here.
        is_key: bool,
        /// What the container says of the packet; damage found while decoding is a warning of `detect-track`.
        status: FrameStatus,
    }
}

table! {
    /// One row per shot: frames between two transitions. Shots cover the video without holes.
    Shot = "shots" "1.0.0", written by "detect-track", sorted by (video_id, shot_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Number of the shot, from zero.
        shot_idx: i64,
        /// First frame.
        first_frame_idx: i64,
        /// Last frame, inclusive.
        last_frame_idx: i64,
        /// Presentation time of the first frame, seconds.
        first_t_secs: f64,
        /// Presentation time of the last frame, seconds.
        last_t_secs: f64,
        /// How the shot begins.
        transition: Transition,
        /// Strength of that transition, 0 to 1; null for the first shot.
        score: Option<f64>,
    }
}

table! {
    /// One row per face in a frame, whether or not it became part of a track.
    Detection = "detections" "1.0.0", written by "detect-track", sorted by (video_id, frame_idx, det_idx),
    checked by check_detection {
        /// Key of the video.
        video_id: Symbol,
        /// Frame.
        frame_idx: i64,
        /// Number of the box within its frame, from zero.
        det_idx: i64,
        /// Track it belongs to; null when rejected.
        track_id: Option<i64>,
        /// Left edge, pixels; may lie outside the frame, as faces do.
        x_min: f32,
        /// Top edge, pixels.
        y_min: f32,
        /// Right edge, pixels.
        x_max: f32,
        /// Bottom edge, pixels.
        y_max: f32,
        /// Detector's score, 0 to 1; null when not detected in this frame.
        score: Option<f32>,
        /// Right eye, left eye, nose, right and left corner of the mouth (the person's right), x and y each,
        /// pixels; null when not detected in this frame, or by a detector that knows none.
        landmarks: Option<[f32; 10]>,
        /// Where the box comes from.
        source: DetectionSource,
        /// Contrast of fine detail in the aligned crop, 0 (none) to 1 (very sharp); null when not measured.
        sharpness: Option<f32>,
        /// How far the five points are from a profile view, 0 (profile) to 1 (frontal); null when not measured.
        frontality: Option<f32>,
        /// Geometric mean of width and height, pixels.
        size_px: f32,
    }
}

table! {
    /// One row per face track: one face followed through one shot.
    Track = "tracks" "1.0.0", written by "detect-track", sorted by (video_id, track_id), checked by check_track {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the track, numbered by first appearance.
        track_id: i64,
        /// Shot; a track never leaves it.
        shot_idx: i64,
        /// First frame.
        first_frame_idx: i64,
        /// Last frame, inclusive.
        last_frame_idx: i64,
        /// Presentation time of the first frame, seconds.
        first_t_secs: f64,
        /// Presentation time of the last frame, seconds.
        last_t_secs: f64,
        /// Number of boxes that the detector saw; tracked and interpolated ones do not count.
        n_detections: i64,
        /// Mean of the detector's scores, 0 to 1.
        mean_score: f32,
        /// Frame of the best crop.
        best_frame_idx: i64,
    }
}

/// Largest width and height of a picture of a face, pixels.
pub const MAX_CROP_SIDE: i64 = 4096;

table! {
    /// One row per chosen face image: the best few of each track, spread over its length.
    Crop = "crops" "1.0.0", written by "detect-track", sorted by (video_id, track_id, rank), checked by check_crop {
        /// Key of the video.
        video_id: Symbol,
        /// Track.
        track_id: i64,
        /// Place within the track by quality; 0 is the best.
        rank: i64,
        /// Frame it was cut from.
        frame_idx: i64,
        /// PNG, 8-bit RGB, aligned by the five points; null when pictures are not kept.
        image: Option<Vec<u8>>,
        /// Width, pixels.
        width: i64,
        /// Height, pixels.
        height: i64,
        /// Affine map from frame to crop: `x' = t0 x + t1 y + t2`, `y' = t3 x + t4 y + t5`, corner-origin pixels.
        transform: [f32; 6],
        /// Quality, 0 to 1: the product of score, size, sharpness and frontality, each brought to 0..1.
        quality: f32,
    }
}

table! {
    /// One row per crop and embedder.
    Embedding = "embeddings" "1.0.0", written by "embed", sorted by (video_id, embedder, track_id, frame_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Track.
        track_id: i64,
        /// Frame of the crop.
        frame_idx: i64,
        /// Embedder; the footer says with which weights.
        embedder: Symbol,
        /// The vector, of unit norm.
        embedding: UnitVector,
        /// Norm of the network's output before normalising: larger means clearer, in the network's own unit.
        norm: f32,
    }
}

table! {
    /// One row per track and embedder: its crops pooled into one vector.
    TrackEmbedding = "track_embeddings" "1.0.0", written by "embed", sorted by (video_id, embedder, track_id) {
        /// Key of the video.
        video_id: Symbol,
        /// Track.
        track_id: i64,
        /// Embedder; the footer says with which weights.
        embedder: Symbol,
        /// The pooled vector, of unit norm.
        embedding: UnitVector,
        /// Number of crops pooled; those that look unlike the others are left out.
        n_crops: i64,
        /// Mean cosine distance of the pooled crops to the pooled vector, 0 to 2; 0 for a single crop.
        spread: f32,
    }
}

table! {
    /// One row per constrained pair of tracks.
    Constraint = "constraints" "1.0.0", written by "cluster", sorted by (video_id, track_a, track_b, kind),
    checked by check_constraint {
        /// Key of the video.
        video_id: Symbol,
        /// The smaller track id.
        track_a: i64,
        /// The larger track id.
        track_b: i64,
        /// What is asked for.
        kind: ConstraintKind,
        /// Why.
        reason: ConstraintReason,
        /// Strength, 0 to 1; 0 is only noted: the two look like one picture, as in a mirror.
        weight: f32,
        /// Whether the result goes against it.
        violated: bool,
    }
}

table! {
    /// One row per track: whom it shows.
    Cluster = "clusters" "1.0.0", written by "cluster", sorted by (video_id, track_id), checked by check_cluster {
        /// Key of the video.
        video_id: Symbol,
        /// Track.
        track_id: i64,
        /// Cluster, one per person, numbered by falling screen time; null for noise.
        cluster_id: Option<i64>,
        /// Whether the track is left out of every cluster.
        is_noise: bool,
        /// How well its own cluster fits, 0 (not at all) to 1. Of method `link` with an embedder whose quality table
        /// is known, the probability of its own cluster against all others and against being alone, given where all
        /// other tracks are; else a silhouette.
        confidence: f32,
        /// The next best cluster that no constraint forbids; null when there is none.
        runner_up_cluster_id: Option<i64>,
        /// Distance to the runner-up less that to its own cluster, in the scale of `linkage`; null without a
        /// runner-up.
        margin: Option<f32>,
    }
}

table! {
    /// One row per bin of similarity: how many pairs of tracks are so similar, and how likely two such tracks are one
    /// person. Empty after a method that learns nothing.
    Calibration = "calibration" "1.0.0", written by "cluster", sorted by (video_id, bin) {
        /// Key of the video.
        video_id: Symbol,
        /// Number of the bin, from zero; of 1000 from −1 to 1. Those without pairs are left out.
        bin: i64,
        /// Middle of the bin, similarity of two tracks, −1 to 1: 1 less their distance in the scale of `linkage`, so 0
        /// where the odds are even.
        similarity: f64,
        /// Pairs of tracks that may show one person.
        n_open: i64,
        /// Pairs of tracks that share a frame.
        n_apart: i64,
        /// Probability that a pair of that similarity shows one person, 0 to 1, never falling.
        same: f64,
    }
}

table! {
    /// One row per merge of the dendrogram, in SciPy's convention; none of methods without one. Leaves 0..n are the tracks of
    /// `track_embeddings` in order; step i makes node n + i.
    Linkage = "linkage" "1.0.0", written by "cluster", sorted by (video_id, step) {
        /// Key of the video.
        video_id: Symbol,
        /// Number of the merge, from zero.
        step: i64,
        /// The smaller node number.
        left: i64,
        /// The larger node number.
        right: i64,
        /// Height of the merge, plus 2 (with Ward's linkage √(2n), if more) when a cannot-link constraint forbids it.
        /// Never falls. Of method `link` with an embedder whose quality table is known, the height is the distance
        /// `20 / (20 + g)` for log odds `g` from 0 on that the two nodes show one person, and `2 − 20 / (20 − g)` below:
        /// 0 to 2, 1 where the odds are even; a merge that an earlier one made more likely is as high as that. Else it is
        /// the mean cosine distance, or that of the linkage in the settings.
        distance: f64,
        /// Tracks under the new node.
        size: i64,
    }
}

table! {
    /// One row per cluster: a person, and when they are on screen.
    Identity = "identities" "1.0.0", written by "cluster", sorted by (video_id, cluster_id) {
        /// Key of the video.
        video_id: Symbol,
        /// Cluster.
        cluster_id: i64,
        /// Name; null until a person has given one.
        name: Option<String>,
        /// Number of tracks.
        n_tracks: i64,
        /// Number of frames that show the person.
        n_frames: i64,
        /// Time on screen, seconds.
        screen_secs: f64,
        /// First appearance, seconds.
        first_t_secs: f64,
        /// Last appearance, seconds.
        last_t_secs: f64,
        /// Track that holds the best picture.
        exemplar_track_id: i64,
        /// Frame of the best picture.
        exemplar_frame_idx: i64,
    }
}

table! {
    /// One row per figure.
    Metric = "metrics" "1.0.0", written by "evaluate", sorted by (video_id, name, unit) {
        /// Key of the video.
        video_id: Symbol,
        /// Name of the figure; the evaluation page documents each.
        name: String,
        /// What weighs the same in it.
        unit: MetricUnit,
        /// Value.
        value: f64,
        /// Lower end of its 95 % confidence interval; null when not estimated.
        ci_low: Option<f64>,
        /// Upper end of its 95 % confidence interval; null when not estimated.
        ci_high: Option<f64>,
        /// Number of things counted.
        n: i64,
    }
}

table! {
    /// One row per labelled box or track. This table is never regenerated from the video: it is somebody's word.
    Label = "labels" "1.0.0", written by "evaluate", sorted by (video_id, label_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Number of the label, from zero.
        label_idx: i64,
        /// Frame; null when a whole track is labelled.
        frame_idx: Option<i64>,
        /// Track; null when a box is labelled.
        track_id: Option<i64>,
        /// Left edge, pixels; null for a track, or a labelled frame without faces.
        x_min: Option<f32>,
        /// Top edge, pixels.
        y_min: Option<f32>,
        /// Right edge, pixels.
        x_max: Option<f32>,
        /// Bottom edge, pixels.
        y_max: Option<f32>,
        /// Who it is; null when that is unknown or the frame has no faces.
        identity: Option<String>,
        /// Whose word it is.
        source: LabelSource,
    }
}

table! {
    /// One row per person of a library: whom one or several of its videos show.
    Person = "people" "1.0.0", written by "library", sorted by (person_id) {
        /// Key of the person; it stays when videos are added, and is never given to anybody else.
        person_id: i64,
        /// Number of videos that show the person.
        n_videos: i64,
        /// Number of tracks, of all videos together.
        n_tracks: i64,
        /// Time on screen, seconds, of all videos together.
        screen_secs: f64,
        /// The first of these videos, in the order in which they were added.
        first_video_id: Symbol,
        /// The person's cluster there; its row in that video's `identities` names the best picture.
        first_cluster_id: i64,
        /// Length of the mean of the person's vectors in `appearances`, each as often as it has tracks, 0 to 1:
        /// how alike the person looks from video to video.
        cohesion: f32,
    }
}

table! {
    /// One row per cluster of a video in a library: which person it is. A file for each video.
    Appearance = "appearances" "1.0.0", written by "library", sorted by (video_id, cluster_id),
    checked by check_appearance {
        /// Key of the video.
        video_id: Symbol,
        /// Cluster, as in the video's `identities`.
        cluster_id: i64,
        /// Person of `people`.
        person_id: i64,
        /// Cosine similarity to that person as known before this video, as people are compared, −1 to 1; null
        /// when the video brought the person into the library.
        similarity: Option<f64>,
        /// Similarity that it took to be somebody known; it rises with the number of people. Null when nobody was known.
        threshold: Option<f64>,
        /// The most alike other person who was known and is none of this video's other clusters; null when there
        /// was none.
        runner_up_person_id: Option<i64>,
        /// How far the similarity is from another decision: above the threshold and the runner-up's or, of a new
        /// person, the runner-up's below the threshold; null when nobody else was known.
        margin: Option<f64>,
        /// Number of tracks.
        n_tracks: i64,
        /// Time on screen, seconds.
        screen_secs: f64,
        /// Mean of the cluster's track vectors, of unit norm.
        embedding: UnitVector,
    }
}

/// Every table of a run, in the order of the stages.
pub const ALL: [&Table; 15] = [
    Video::TABLE,
    Frame::TABLE,
    Shot::TABLE,
    Detection::TABLE,
    Track::TABLE,
    Crop::TABLE,
    Embedding::TABLE,
    TrackEmbedding::TABLE,
    Constraint::TABLE,
    Cluster::TABLE,
    Calibration::TABLE,
    Linkage::TABLE,
    Identity::TABLE,
    Metric::TABLE,
    Label::TABLE,
];

/// Every table of a library of several runs.
pub const LIBRARY: [&Table; 2] = [Person::TABLE, Appearance::TABLE];

/// The stage that writes the table called `name`; "ingest", the first of all, when there is no such table.
pub fn producer(name: &str) -> &'static str {
    ALL.iter().find(|t| t.name == name).map_or("ingest", |t| t.producer)
}

fn check_detection(row: &Detection) -> Result<(), String> {
    if row.x_min < row.x_max && row.y_min < row.y_max {
        return Ok(());
    }
    Err(format!("has an empty box: x {}..{}, y {}..{}", row.x_min, row.x_max, row.y_min, row.y_max))
}

fn check_track(row: &Track) -> Result<(), String> {
    let span = row.first_frame_idx..=row.last_frame_idx;
    if span.contains(&row.best_frame_idx) {
        Ok(())
    } else {
        Err("has its best frame outside its frames".into())
    }
}

/// Whoever decodes a picture goes by this, so that one of a few bytes does not come to gigabytes.
fn check_crop(row: &Crop) -> Result<(), String> {
    if [row.width, row.height].iter().all(|side| (1..=MAX_CROP_SIDE).contains(side)) {
        return Ok(());
    }
    Err(format!("has a picture of {}×{} pixels, where each is 1 to {MAX_CROP_SIDE}", row.width, row.height))
}

fn check_constraint(row: &Constraint) -> Result<(), String> {
    if row.track_a < row.track_b { Ok(()) } else { Err("must name the smaller track first".into()) }
}

fn check_cluster(row: &Cluster) -> Result<(), String> {
    if row.is_noise == row.cluster_id.is_none() {
        return Ok(());
    }
    Err("must be noise exactly when it has no cluster".into())
}

fn check_appearance(row: &Appearance) -> Result<(), String> {
    if row.runner_up_person_id != Some(row.person_id) {
        return Ok(());
    }
    Err("has the person itself as its runner-up".into())
}
