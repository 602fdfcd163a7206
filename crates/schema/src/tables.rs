//! The declarations of all tables of a run and of a gallery.
//!
//! Conventions: `*_idx` counts from zero without gaps; `*_id` is an opaque key. A box is
//! `x_min, y_min, x_max, y_max` in pixels of the full-size upright frame, half-open, with the origin at
//! the outer corner of the top-left pixel, so an IoU has no `+ 1`. `pts_ticks` counts in the time base
//! of `videos`; `t_secs` is the same moment in seconds since the start of the container. A missing value
//! is null.

use crate::cell::{Ragged, Symbol, UnitVector};
use crate::table::{Row as _, Table, category, table};

category! {
    /// State of a frame's packet according to the container.
    FrameStatus {
        /// The container does not mark the packet as damaged.
        Ok = "ok",
        /// The container marks the packet as damaged.
        Corrupt = "corrupt",
    }
}

category! {
    /// Kind of transition at the start of a shot.
    Transition {
        /// First shot of the video.
        Start = "start",
        /// Hard cut from one frame to the next.
        Cut = "cut",
        /// Fade through black or white.
        Fade = "fade",
        /// Dissolve: one picture blends into the next.
        Dissolve = "dissolve",
    }
}

category! {
    /// Origin of a box.
    DetectionSource {
        /// Found by the detector in this frame.
        Detected = "detected",
        /// Followed into this frame by the tracker.
        Tracked = "tracked",
        /// Interpolated in time between two frames in which the face was found.
        Interpolated = "interpolated",
    }
}

category! {
    /// Kind of a constraint on two tracks.
    ConstraintKind {
        /// The two tracks show different people.
        CannotLink = "cannot_link",
        /// The two tracks show one person.
        MustLink = "must_link",
    }
}

category! {
    /// Origin of a constraint.
    ConstraintReason {
        /// Both tracks have a face in the same frame.
        Overlap = "overlap",
        /// A row of the edits file.
        Edit = "edit",
    }
}

category! {
    /// Kind of a doubt about a result.
    DoubtKind {
        /// The track shows no face.
        NotAFace = "not_a_face",
        /// Two people are one person.
        Split = "split",
        /// The track shows another person than its own.
        Stranger = "stranger",
        /// The track without a person shows this person.
        Unsorted = "unsorted",
    }
}

category! {
    /// Unit over which a metric averages.
    MetricUnit {
        /// Every track has the same weight.
        Track = "track",
        /// Every box (a face in a frame) has the same weight.
        Frame = "frame",
        /// The metric describes the video as a whole.
        Video = "video",
    }
}

category! {
    /// Origin of a label.
    LabelSource {
        /// A file of ground-truth labels.
        GroundTruth = "ground_truth",
        /// A person who reviewed the result.
        Person = "person",
    }
}

category! {
    /// Kind of a correction.
    EditOp {
        /// The people of all sides are one person.
        Merge = "merge",
        /// The faces of side 0 leave their person and become a new one.
        Split = "split",
        /// The faces of side 0 go to the person of side 1.
        Move = "move",
        /// The person of side 0 has the name `name`.
        Name = "name",
        /// The faces of side 0 stay together, whatever linking says.
        Lock = "lock",
        /// The tracks of side 0 show no face.
        NotAFace = "not_a_face",
        /// The people of side 0 and of side 1 are one person: the answer to a question.
        Same = "same",
        /// The people of side 0 and of side 1 are two people: the answer to a question.
        Different = "different",
        /// The edit `undoes` no longer counts; an edit counts again once the undo of it is undone.
        Undo = "undo",
    }
}

table! {
    /// One row per video; a run has exactly one.
    Video = "videos" "1.0.0", written by "ingest", sorted by (video_id) {
        /// Key of the video: the first 16 digits of `sha256`.
        video_id: Symbol,
        /// File name without its folder.
        file_name: String,
        /// SHA-256 of the file, lower-case hexadecimal.
        sha256: String,
        /// Container format by FFmpeg's name, such as `matroska,webm`.
        container: String,
        /// Video codec by FFmpeg's name, such as `h264`.
        codec: String,
        /// Width of the upright frame, pixels.
        width: i64,
        /// Height of the upright frame, pixels.
        height: i64,
        /// Clockwise rotation that makes a stored frame upright: 0, 90, 180 or 270 degrees.
        rotation_degrees: i64,
        /// Numerator of the time base: one tick is `num / den` seconds.
        time_base_num: i64,
        /// Denominator of the time base.
        time_base_den: i64,
        /// Start of the container on the clock of `pts_ticks`, seconds; `t_secs` is 0 at this moment.
        start_secs: f64,
        /// Duration from the presentation of the first frame to the end of the last frame, seconds.
        duration_secs: f64,
        /// Number of rows in `frames`.
        frame_count: i64,
        /// Size of the file, bytes.
        size_bytes: i64,
    }
}

table! {
    /// One row per frame listed in the container, in presentation order.
    Frame = "frames" "1.1.0", written by "ingest", sorted by (video_id, frame_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the frame in presentation order, from zero.
        frame_idx: i64,
        /// Presentation time in ticks of the time base of `videos`.
        pts_ticks: i64,
        /// Presentation time, seconds since the start of the container.
        t_secs: f64,
        /// Whether decoding can start at this frame (a key frame of the codec).
        is_key: bool,
        /// State of the packet according to the container. Damage found while decoding is reported as a
        /// warning of `detect-track` instead.
        status: FrameStatus,
        /// Time until the presentation of the next frame, seconds; of the last frame, the duration that the
        /// container declares, or the usual one; null when the frame is the only one and no duration is declared,
        /// and before version 1.1.0.
        duration_secs: Option<f64>,
    }
}

table! {
    /// One row per shot, the frames between two transitions. Shots cover the video without gaps or overlaps.
    Shot = "shots" "1.0.0", written by "detect-track", sorted by (video_id, shot_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the shot, from zero.
        shot_idx: i64,
        /// Index of the first frame.
        first_frame_idx: i64,
        /// Index of the last frame, inclusive.
        last_frame_idx: i64,
        /// Presentation time of the first frame, seconds.
        first_t_secs: f64,
        /// Presentation time of the last frame, seconds.
        last_t_secs: f64,
        /// Kind of transition at the start of the shot.
        transition: Transition,
        /// Strength of the transition, 0 to 1; null for the first shot.
        score: Option<f64>,
    }
}

table! {
    /// One row per face box in a frame, whether or not the box belongs to a track. The field `picture` of the footer
    /// has the part of the frame without bars, and the turn after which faces are upright.
    Detection = "detections" "1.0.0", written by "detect-track", sorted by (video_id, frame_idx, det_idx),
    checked by check_detection {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the frame.
        frame_idx: i64,
        /// Index of the box within its frame, from zero.
        det_idx: i64,
        /// Key of the track that the box belongs to; null for a rejected box.
        track_id: Option<i64>,
        /// Left edge, pixels. Edges may lie outside the frame when a face does.
        x_min: f32,
        /// Top edge, pixels.
        y_min: f32,
        /// Right edge, pixels.
        x_max: f32,
        /// Bottom edge, pixels.
        y_max: f32,
        /// Score of the detector, 0 to 1; null unless `source` is `detected`.
        score: Option<f32>,
        /// Landmarks as x, y pairs, pixels: right eye, left eye, nose, right and left corner of the mouth,
        /// where right means the person's right; null unless `source` is `detected`, and for a detector
        /// without landmarks.
        landmarks: Option<[f32; 10]>,
        /// Origin of the box.
        source: DetectionSource,
        /// Sharpness of the aligned crop, 0 (no fine detail) to 1 (very sharp); null when not measured.
        sharpness: Option<f32>,
        /// Frontality estimated from the landmarks, 0 (profile view) to 1 (frontal view); null when not
        /// measured.
        frontality: Option<f32>,
        /// Size of the box: geometric mean of its width and height, pixels.
        size_px: f32,
    }
}

/// Bins of a colour histogram: 5 of L*, 8 of a*, 8 of b*.
pub const TORSO_BINS: usize = 320;

table! {
    /// One row per track: one face followed through one shot.
    Track = "tracks" "1.2.0", written by "detect-track", sorted by (video_id, track_id), checked by check_track {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the track, numbered in order of first appearance.
        track_id: i64,
        /// Index of the shot; a track lies within one shot.
        shot_idx: i64,
        /// Index of the first frame.
        first_frame_idx: i64,
        /// Index of the last frame, inclusive.
        last_frame_idx: i64,
        /// Presentation time of the first frame, seconds.
        first_t_secs: f64,
        /// Presentation time of the last frame, seconds.
        last_t_secs: f64,
        /// Number of boxes with source `detected`.
        n_detections: i64,
        /// Mean score of those boxes, 0 to 1.
        mean_score: f32,
        /// Index of the frame with the crop of the highest score.
        best_frame_idx: i64,
        /// Colour histogram of the clothes below the face, the mean over frames, of sum 1: CIE L*a*b* in 5 bins
        /// of L* from 0 to 100, times 8 of a* and 8 of b* from −64 to 64; b* varies fastest; null when too
        /// little of the torso is in the picture, when not measured, and before version 1.1.0.
        torso: Option<Box<[f32; TORSO_BINS]>>,
        /// Whether the face never moves, as in a poster, a photo or a still on a screen; null for a track that is too
        /// short to say, and before version 1.2.0.
        is_still: Option<bool>,
    }
}

/// Largest width and height of a crop, pixels.
pub const MAX_CROP_SIDE: i64 = 4096;

table! {
    /// One row per selected face image: a few of the best of each track, spread over its duration.
    Crop = "crops" "1.1.0", written by "detect-track", sorted by (video_id, track_id, rank), checked by check_crop {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the track.
        track_id: i64,
        /// Rank within the track by the score of the detector; 0 is the crop with the highest score.
        rank: i64,
        /// Index of the frame that the crop was cut from.
        frame_idx: i64,
        /// JPEG or PNG image, 8-bit RGB, aligned by the landmarks, before version 1.1.0 always PNG; null when pictures
        /// are not kept.
        image: Option<Vec<u8>>,
        /// Width of the image, pixels.
        width: i64,
        /// Height of the image, pixels.
        height: i64,
        /// Affine map from frame to crop, `x' = t0 x + t1 y + t2` and `y' = t3 x + t4 y + t5`; pixels with
        /// the origin at the image corner.
        transform: [f32; 6],
        /// Quality, 0 to 1: the product of score, size, sharpness and frontality, each mapped to 0 to 1.
        quality: f32,
    }
}

table! {
    /// One row per crop and embedder.
    Embedding = "embeddings" "1.0.0", written by "embed", sorted by (video_id, embedder, track_id, frame_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the track.
        track_id: i64,
        /// Index of the frame of the crop.
        frame_idx: i64,
        /// Name of the embedder; the footer holds the SHA-256 and the licence of its weights.
        embedder: Symbol,
        /// Embedding of the crop, of unit norm.
        embedding: UnitVector,
        /// Norm of the network's output before normalization, 0 or more, in the network's own unit; larger
        /// for clearer faces.
        norm: f32,
    }
}

table! {
    /// One row per track and embedder: the embeddings of the track's crops, pooled into one vector.
    TrackEmbedding = "track_embeddings" "1.0.0", written by "embed", sorted by (video_id, embedder, track_id) {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the track.
        track_id: i64,
        /// Name of the embedder; the footer holds the SHA-256 and the licence of its weights.
        embedder: Symbol,
        /// Pooled embedding of the track, of unit norm.
        embedding: UnitVector,
        /// Number of crops that were pooled; outliers are excluded.
        n_crops: i64,
        /// Mean cosine distance from the pooled crops to the pooled embedding, 0 to 2; 0 for a single crop.
        spread: f32,
    }
}

table! {
    /// One row per track and further embedder, whose vectors are additional evidence for linking beside those of
    /// the main embedder in `track_embeddings`. Empty for a run with one embedder.
    TrackView = "track_views" "1.0.0", written by "embed", sorted by (video_id, embedder, track_id),
    checked by check_track_view {
        /// Key of the video.
        video_id: Symbol,
        /// Name of the embedder; the footer holds the SHA-256 and the licence of its weights, and its quality
        /// table.
        embedder: Symbol,
        /// Key of the track.
        track_id: i64,
        /// Pooled embedding of the track, of unit norm; as long as the vectors of its embedder.
        embedding: Ragged,
        /// Mean of the crops' raw norms, each weighed by its fourth power, `Σn⁵ / Σn⁴`, above 0, in the network's
        /// own unit; larger for clearer faces.
        norm: f32,
    }
}

table! {
    /// One row per constraint on a pair of tracks.
    Constraint = "constraints" "1.0.0", written by "cluster", sorted by (video_id, track_a, track_b, kind),
    checked by check_constraint {
        /// Key of the video.
        video_id: Symbol,
        /// Key of one track, the smaller of the two.
        track_a: i64,
        /// Key of the other track, the larger of the two.
        track_b: i64,
        /// Kind of the constraint.
        kind: ConstraintKind,
        /// Origin of the constraint.
        reason: ConstraintReason,
        /// Strength, 0 to 1. A constraint of strength 0 is recorded but not applied, because both tracks look
        /// like one picture, as in a mirror.
        weight: f32,
        /// Whether the result violates the constraint.
        violated: bool,
    }
}

impl Constraint {
    /// Whether the two tracks cannot be linked.
    pub fn forbids(&self) -> bool {
        self.kind == ConstraintKind::CannotLink && self.weight > 0.0
    }
}

table! {
    /// One row per track: the cluster that the track was assigned to.
    Cluster = "clusters" "1.1.0", written by "cluster", sorted by (video_id, track_id), checked by check_cluster {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the track.
        track_id: i64,
        /// Key of the cluster, one per person; null for noise. Linking numbers clusters in order of decreasing
        /// screen time. Edits leave these numbers as they are: a person who is merged into another leaves a gap,
        /// and a new person has the next number.
        cluster_id: Option<i64>,
        /// Whether the track is noise: left out of every cluster.
        is_noise: bool,
        /// Confidence of the assignment against other clusters and against no cluster, 0 to 1: a probability
        /// with the method `link` and a calibrated embedder, otherwise a silhouette.
        confidence: f32,
        /// Key of the second-best cluster that no constraint forbids; null when there is none, or when it has no track in
        /// this run of a series.
        runner_up_cluster_id: Option<i64>,
        /// Distance to the runner-up minus the distance to the assigned cluster, as the linking method
        /// measures distances (see `linkage`); null without a runner-up.
        margin: Option<f32>,
        /// Key of the cluster that linking assigned, before edits; null for noise, and before version 1.1.0.
        linked_cluster_id: Option<i64>,
        /// Whether an edit says that the track shows no face, so that it belongs to no person; null before version
        /// 1.1.0.
        not_a_face: Option<bool>,
    }
}

table! {
    /// One row per bin of similarity: the number of track pairs in the bin and the probability that such a
    /// pair shows one person. Empty for linking methods without a calibration.
    Calibration = "calibration" "1.0.0", written by "cluster", sorted by (video_id, bin) {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the bin, from zero, out of 1000 bins from −1 to 1. Bins without pairs are omitted.
        bin: i64,
        /// Centre of the bin: similarity of two tracks, 1 minus the distance of the linking method, −1 to 1;
        /// 0 where one person and two people are equally likely.
        similarity: f64,
        /// Number of pairs without a cannot-link constraint; in a series, of the tracks of all its runs.
        n_open: i64,
        /// Number of pairs with a cannot-link constraint, which share a frame; in a series, of all its runs.
        n_apart: i64,
        /// Probability that a pair of this similarity shows one person, 0 to 1; does not decrease with
        /// similarity.
        same: f64,
    }
}

table! {
    /// One row per merge of the dendrogram, in SciPy's convention: leaves 0 to n − 1 are the tracks of
    /// `track_embeddings` in order, and step i creates node n + i. Empty for linking methods without a
    /// dendrogram.
    Linkage = "linkage" "1.0.0", written by "cluster", sorted by (video_id, step) {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the merge, from zero.
        step: i64,
        /// Number of one merged node, the smaller of the two.
        left: i64,
        /// Number of the other merged node, the larger of the two.
        right: i64,
        /// Height of the merge. With the method `link` and a calibrated embedder: `1 − g / (20 + |g|)` for
        /// the log odds `g` of one person, which is 0 for one person, 1 where one person and two people are
        /// equally likely, and 2 for two people; at least the height of the previous merge. Otherwise: mean
        /// cosine distance, or the distance of the configured linkage. Plus 2 (for Ward's linkage √(2n), if
        /// larger) when a cannot-link constraint forbids the merge. Does not decrease.
        distance: f64,
        /// Number of tracks under the new node.
        size: i64,
    }
}

table! {
    /// One row per embedder and track: the evidence that the method `link` compares, and the constants of its log
    /// odds, which are the same in all rows of an embedder. Empty for other methods, and for an embedder without a
    /// quality table. The log odds that the clusters A and B, of N_A and N_B tracks, are one person are
    /// `g = Σ (L(A∪B) − L(A) − L(B)) + lnΓ(N_A + N_B) − lnΓ(N_A) − lnΓ(N_B) − ln alpha + c`, with the sum over
    /// embedders, and `L(C) = E/2 · (β F² / (1 + βΛ) − ln(1 + βΛ))` where F is the length of the sum of
    /// `length · direction` over the tracks of C, Λ the sum of `precision`, β `person_variance` and E `evidence_dim`.
    /// For two single tracks, the terms with lnΓ are 0. The clothes give c, the mean of
    /// `min(max(clothes_intercept + clothes_slope · d, clothes_min), clothes_max)` over the pairs of a track of A and a
    /// track of B that both have a `torso` in `tracks` and of which the later one begins at most 240 s after the
    /// `last_t_secs` of the earlier one, with `d = √(1 − Σ√(p q))` of the two colour histograms; c is 0 without such a
    /// pair. (Of more than 2,048 tracks with a torso, n in number, each is paired with the 2²²/n tracks that begin
    /// next.) `linkage.distance` follows from g.
    LinkVector = "link_vectors" "1.0.0", written by "cluster", sorted by (video_id, embedder, track_id),
    checked by check_link_vector {
        /// Key of the video.
        video_id: Symbol,
        /// Name of the embedder.
        embedder: Symbol,
        /// Key of the track; of tracks that corrections tie together with `edits = "relink"`, which are linked as
        /// one, the first. A track without a vector of the embedder has no row and adds 0 to the sums.
        track_id: i64,
        /// Direction of `f = (λ/a)(v − m)`, of unit norm: the vector of the track less the mean of faces of its norm
        /// (v), less the offset (m) of the video or series, with the gain of the person at this norm (a).
        direction: Ragged,
        /// Length of f, above 0.
        length: f64,
        /// Precision `λ = a²/ω` of the track about its person, with the variance ω of the noise at its norm, which is higher in
        /// a video than in the quality table; above 0.
        precision: f64,
        /// Variance β of the person vector, above 0.
        person_variance: f64,
        /// Number E of independent components that the vectors are worth as evidence, above 0; if several embedders
        /// give evidence, times the weight 0.35 of each.
        evidence_dim: f64,
        /// Concentration of the prior: a large value expects many people; above 0.
        alpha: f64,
        /// Log odds of equal clothes before the limits; null when clothes give no evidence, as are the next three.
        clothes_intercept: Option<f64>,
        /// Change of the log odds for each unit of the distance d of clothes; null when clothes give no evidence.
        clothes_slope: Option<f64>,
        /// Lower limit of the log odds of clothes; null when clothes give no evidence.
        clothes_min: Option<f64>,
        /// Upper limit of the log odds of clothes; null when clothes give no evidence.
        clothes_max: Option<f64>,
    }
}

table! {
    /// One row per cluster: one person and the person's time on screen.
    Identity = "identities" "1.2.0", written by "cluster", sorted by (video_id, cluster_id) {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the cluster, from 0. People read the number `cluster_id + 1`: the page shows 0 as "Person 1".
        cluster_id: i64,
        /// Name of the person, from the edits; null when no edit names the person.
        name: Option<String>,
        /// Number of tracks.
        n_tracks: i64,
        /// Number of frames in which a track of the person has a box.
        n_frames: i64,
        /// Time on screen, seconds.
        screen_secs: f64,
        /// Presentation time of the first appearance, seconds.
        first_t_secs: f64,
        /// Presentation time of the last appearance, seconds.
        last_t_secs: f64,
        /// Key of the track with the exemplar, the best crop of the person.
        exemplar_track_id: i64,
        /// Index of the frame of the exemplar.
        exemplar_frame_idx: i64,
        /// Stable key of the person, 16 hexadecimal digits. Corrections keep the key. A later run in the same run
        /// directory, whatever its settings, gives the key to the person who has most of the same faces: to at
        /// most one person, and only if both share half of the screen time of one of the two. In a fresh
        /// run directory, the key follows from the video and the tracks; null before version 1.1.0.
        person_uid: Option<String>,
        /// Key of the linking of the series, 16 hexadecimal digits, which follows from the settings and from the tables of all
        /// its runs (`cluster.series`); null for a run that was linked alone, and before version 1.2.0.
        series_id: Option<String>,
        /// Key of the person in the series, 16 hexadecimal digits: the same for the person in all runs with this `series_id`,
        /// as linking found them; null without a series, for a person that a correction made of a part of another, and before
        /// version 1.2.0.
        series_uid: Option<String>,
    }
}

table! {
    /// One row per appearance of a person: a time in which the person is on screen with gaps of at most 2 s between
    /// tracks. A gap is the time from the end of the last frame of a track to the first frame of the next track.
    Appearance = "appearances" "2.0.0", written by "cluster", sorted by (video_id, cluster_id, appearance_idx),
    checked by check_appearance {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the cluster, as in `identities`; all corrections are applied.
        cluster_id: i64,
        /// Index of the appearance of the person, from zero, in order of time.
        appearance_idx: i64,
        /// Index of the first frame.
        first_frame_idx: i64,
        /// Index of the last frame, inclusive.
        last_frame_idx: i64,
        /// Presentation time of the first frame, seconds.
        first_t_secs: f64,
        /// Presentation time of the last frame, seconds. The appearance ends when this frame does:
        /// `last_t_secs` plus the `duration_secs` of the frame in `frames`.
        last_t_secs: f64,
        /// Number of tracks.
        n_tracks: i64,
        /// Number of shots in which a track of the appearance lies.
        n_shots: i64,
        /// Index of the first of these shots.
        first_shot_idx: i64,
        /// Index of the last of these shots.
        last_shot_idx: i64,
    }
}

impl Identity {
    /// Returns the text for users: the name of the person, or a number that counts from 1, as in "Person 3".
    pub fn label(&self) -> String {
        self.name.clone().unwrap_or_else(|| Self::numbered(self.cluster_id))
    }

    /// Returns the text for users of a person without a name, as in "Person 3".
    pub fn numbered(cluster_id: i64) -> String {
        format!("Person {}", Self::number(cluster_id))
    }

    /// Returns the number of a person for users, from 1.
    pub fn number(cluster_id: i64) -> i64 {
        cluster_id.saturating_add(1)
    }
}

table! {
    /// One row per doubt: an error that the result may have, with its probability. Rows are in the order in which a
    /// person who checks the result puts most screen time right. Doubts below 0.5 % are left out.
    Doubt = "doubts" "1.0.0", written by "cluster", sorted by (video_id, doubt_idx), checked by check_doubt {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the doubt, from zero.
        doubt_idx: i64,
        /// Kind of the error.
        kind: DoubtKind,
        /// Key of the track; null for `split`.
        track_id: Option<i64>,
        /// Key of the person: of the track, for `split` the person who is seen more, for `unsorted` the person that
        /// the track may show; null for a track without a person that may show no face.
        cluster_id: Option<i64>,
        /// For `split`, key of the person who is seen less; otherwise null.
        other_cluster_id: Option<i64>,
        /// Probability of the error, 0 to 1.
        probability: f64,
        /// Time on screen that is wrong if it is an error, seconds.
        secs: f64,
    }
}

table! {
    /// One row per threshold and track: the people that linking finds with another value of the setting `threshold`,
    /// corrections aside. Empty for methods without a dendrogram, and for more than 2,000 tracks.
    Cut = "cuts" "1.0.0", written by "cluster", sorted by (video_id, cut_idx, track_id) {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the threshold, from zero, in rising order.
        cut_idx: i64,
        /// Key of the track; every cut has the tracks of `linkage`.
        track_id: i64,
        /// The threshold, on the scale of `linkage.distance`.
        threshold: f64,
        /// Number of the person of the track within this cut, from zero; null for noise.
        person: Option<i64>,
    }
}

table! {
    /// One row per metric and unit.
    Metric = "metrics" "1.0.0", written by "evaluate", sorted by (video_id, name, unit) {
        /// Key of the video.
        video_id: Symbol,
        /// Name of the metric; the report explains each one.
        name: String,
        /// Unit over which the metric averages.
        unit: MetricUnit,
        /// Value of the metric.
        value: f64,
        /// Lower end of the 95 % confidence interval; null when not estimated.
        ci_low: Option<f64>,
        /// Upper end of the 95 % confidence interval; null when not estimated.
        ci_high: Option<f64>,
        /// Number of items counted.
        n: i64,
    }
}

table! {
    /// One row per labelled box or track. Rows are human labels; the pipeline copies them and never changes
    /// them.
    Label = "labels" "1.0.0", written by "evaluate", sorted by (video_id, label_idx) {
        /// Key of the video.
        video_id: Symbol,
        /// Index of the label, from zero.
        label_idx: i64,
        /// Index of the frame; null when a whole track is labelled.
        frame_idx: Option<i64>,
        /// Key of the track; null when a box is labelled.
        track_id: Option<i64>,
        /// Left edge, pixels; null for a labelled track or a labelled frame without faces, as are the other
        /// edges.
        x_min: Option<f32>,
        /// Top edge, pixels.
        y_min: Option<f32>,
        /// Right edge, pixels.
        x_max: Option<f32>,
        /// Bottom edge, pixels.
        y_max: Option<f32>,
        /// Name or number of the person; null when the person is unknown or the frame has no faces.
        identity: Option<String>,
        /// Origin of the label.
        source: LabelSource,
    }
}

table! {
    /// One row per person of a gallery, who appears in one or several of its videos.
    Person = "people" "1.1.0", written by "library", sorted by (person_id) {
        /// Key of the person. The key stays the same when videos are added and is never reused.
        person_id: i64,
        /// Number of videos in which the person appears.
        n_videos: i64,
        /// Number of tracks in all videos together.
        n_tracks: i64,
        /// Time on screen in all videos together, seconds.
        screen_secs: f64,
        /// Key of the first of these videos, in the order in which videos were added.
        first_video_id: Symbol,
        /// Key of the person's cluster in that video; its row of `identities` names the exemplar.
        first_cluster_id: i64,
        /// Similarity of the person across videos, 0 to 1: the norm of the mean of the embeddings in
        /// `members`, weighted by number of tracks.
        cohesion: f32,
        /// Name of the person, the one that a correction gave last in any of the videos; null when none is named,
        /// and before version 1.1.0.
        name: Option<String>,
    }
}

table! {
    /// One row per cluster of a video in a gallery: the person that the cluster was matched to. One file per
    /// video.
    Member = "members" "1.1.0", formerly ("appearances" "1.1.0"), written by "library",
    sorted by (video_id, cluster_id), checked by check_member {
        /// Key of the video.
        video_id: Symbol,
        /// Key of the cluster, as in the video's `identities`.
        cluster_id: i64,
        /// Key of the person in `people`.
        person_id: i64,
        /// Cosine similarity to the person's mean embedding before this video was added, −1 to 1, in the
        /// space in which people are compared; null when this video added the person.
        similarity: Option<f64>,
        /// Similarity threshold for a match to a known person; rises with the number of people. Null when the
        /// gallery was empty.
        threshold: Option<f64>,
        /// Key of the most similar other person who was known and not matched to another cluster of this
        /// video; null when there was none.
        runner_up_person_id: Option<i64>,
        /// Distance of the decision from the alternative, in similarity. For a matched person: the similarity
        /// minus the larger of the threshold and the runner-up's similarity. For a new person: the threshold
        /// minus the runner-up's similarity. Null when there was no alternative.
        margin: Option<f64>,
        /// Number of tracks.
        n_tracks: i64,
        /// Time on screen, seconds.
        screen_secs: f64,
        /// Mean embedding of the cluster's tracks, of unit norm.
        embedding: UnitVector,
        /// Name of the person in the video's `identities`; null when the person has none, and in
        /// `appearances` 1.0.0.
        name: Option<String>,
        /// Key of the person that matching found, before the corrections of the gallery; `similarity`,
        /// `runner_up_person_id` and `margin` are about this person. Null in `appearances`: the same as `person_id`.
        linked_person_id: Option<i64>,
        /// Time at which a correction gave the person the name, UTC, as in `2026-11-28T18:20:00Z`; null without a
        /// name, and in `appearances`.
        named_at: Option<String>,
        /// Key of the linking of the series, as in `identities`; null without a series, and before version 1.1.0.
        series_id: Option<String>,
        /// Key of the person in the series, as in `identities`; null without one, and before version 1.1.0.
        series_uid: Option<String>,
    }
}

table! {
    /// One row per person whose embedding an addition to the gallery changed; one file per addition. For a
    /// person in several files, the last file in `library.json` counts.
    PersonVector = "person_vectors" "1.0.0", written by "library", sorted by (person_id) {
        /// Key of the person in `people`.
        person_id: i64,
        /// Mean of the person's embeddings in `members`, weighted by number of tracks, of unit norm.
        embedding: UnitVector,
    }
}

table! {
    /// One row per correction of a user, in the order in which the corrections were made. Rows are only added; an
    /// undo is a row, too. Only the removal of a person (`redact`) removes rows.
    Edit = "edits" "1.0.0", written by "edits", sorted by (edit_id), checked by check_edit {
        /// Key of the edit, from 1.
        edit_id: i64,
        /// Kind of the edit.
        op: EditOp,
        /// Time at which the edit was made, UTC, as in `2026-11-28T18:20:00Z`.
        made_at: String,
        /// Author of the edit; by default the user name of the machine.
        author: String,
        /// Reason for the edit; null when no reason was given.
        reason: Option<String>,
        /// Name of the person; null unless `op` is `name`, and null when the edit removes a name.
        name: Option<String>,
        /// Key of the edit that no longer counts; null unless `op` is `undo`.
        undoes: Option<i64>,
    }
}

table! {
    /// One row per box of a face in an edit. An edit names faces by video, time and box, never by track, so that
    /// later runs find the faces in any tracks. Rows whose `edit_id` has no row in `edits` do not count.
    EditAnchor = "edit_anchors" "1.0.0", written by "edits", sorted by (edit_id, side, mark_idx, anchor_idx),
    checked by check_edit_anchor {
        /// Key of the edit.
        edit_id: i64,
        /// Index of the group of faces within the edit, from zero; a merge can have more than two groups.
        side: i64,
        /// Index of the mark within its side, from zero. A mark is the boxes of one track of the run that the
        /// edit was made on.
        mark_idx: i64,
        /// Index of the box within its mark, from zero, in order of time.
        anchor_idx: i64,
        /// SHA-256 of the video file, lower-case hexadecimal.
        video_sha256: Symbol,
        /// Presentation time of the frame, seconds since the start of the container.
        t_secs: f64,
        /// Left edge, pixels.
        x_min: f32,
        /// Top edge, pixels.
        y_min: f32,
        /// Right edge, pixels.
        x_max: f32,
        /// Bottom edge, pixels.
        y_max: f32,
    }
}

/// Every table of a run, in the order of the stages.
pub const ALL: [&Table; 20] = [
    Video::TABLE,
    Frame::TABLE,
    Shot::TABLE,
    Detection::TABLE,
    Track::TABLE,
    Crop::TABLE,
    Embedding::TABLE,
    TrackEmbedding::TABLE,
    TrackView::TABLE,
    Constraint::TABLE,
    Cluster::TABLE,
    Calibration::TABLE,
    Linkage::TABLE,
    LinkVector::TABLE,
    Identity::TABLE,
    Appearance::TABLE,
    Doubt::TABLE,
    Cut::TABLE,
    Metric::TABLE,
    Label::TABLE,
];

/// Every table of a library of several runs.
pub const LIBRARY: [&Table; 3] = [Person::TABLE, Member::TABLE, PersonVector::TABLE];

/// The tables of corrections, in a run and in a library. No stage writes them.
pub const EDITS: [&Table; 2] = [Edit::TABLE, EditAnchor::TABLE];

/// Returns every table: those of a run, of corrections, and of a library.
pub fn all() -> impl Iterator<Item = &'static Table> {
    ALL.into_iter().chain(EDITS).chain(LIBRARY)
}

/// Returns the stage that writes the table `name`; "ingest", the first stage, for an unknown name.
pub fn producer(name: &str) -> &'static str {
    ALL.iter().find(|t| t.name == name).map_or("ingest", |t| t.producer)
}

fn check_edit(row: &Edit) -> Result<(), String> {
    match row.op {
        EditOp::Undo if row.undoes.is_none_or(|undone| undone >= row.edit_id) => {
            Err("must name an earlier edit in `undoes`".into())
        }
        EditOp::Undo => Ok(()),
        _ if row.undoes.is_some() => Err("has `undoes` and is no undo".into()),
        op if op != EditOp::Name && row.name.is_some() => Err("has `name` and names no person".into()),
        _ => Ok(()),
    }
}

fn check_edit_anchor(row: &EditAnchor) -> Result<(), String> {
    check_box([row.x_min, row.y_min, row.x_max, row.y_max])
}

fn check_detection(row: &Detection) -> Result<(), String> {
    check_box([row.x_min, row.y_min, row.x_max, row.y_max])
}

fn check_box([x_min, y_min, x_max, y_max]: [f32; 4]) -> Result<(), String> {
    if x_min < x_max && y_min < y_max {
        return Ok(());
    }
    Err(format!("has an empty box: x {x_min}..{x_max}, y {y_min}..{y_max}"))
}

fn check_track(row: &Track) -> Result<(), String> {
    let span = row.first_frame_idx..=row.last_frame_idx;
    if span.contains(&row.best_frame_idx) {
        Ok(())
    } else {
        Err("has its best frame outside its frames".into())
    }
}

/// Checks the size that decoders use as their limit, which guards against decompression bombs.
fn check_crop(row: &Crop) -> Result<(), String> {
    if [row.width, row.height].iter().all(|side| (1..=MAX_CROP_SIDE).contains(side)) {
        return Ok(());
    }
    Err(format!(
        "has an image of {}×{} pixels; each side must be 1 to {MAX_CROP_SIDE}",
        row.width, row.height
    ))
}

fn check_track_view(row: &TrackView) -> Result<(), String> {
    if row.norm > 0.0 { Ok(()) } else { Err(format!("has norm {}", row.norm)) }
}

fn check_link_vector(row: &LinkVector) -> Result<(), String> {
    let clothes = [row.clothes_intercept, row.clothes_slope, row.clothes_min, row.clothes_max];
    if clothes.iter().any(Option::is_some) && clothes.iter().any(Option::is_none) {
        return Err("has some of the constants of clothes and not all".into());
    }
    let LinkVector { length, precision, person_variance, evidence_dim, alpha, .. } = row;
    match [length, precision, person_variance, evidence_dim, alpha].into_iter().find(|x| **x <= 0.0) {
        Some(wrong) => Err(format!("has the number {wrong}, which must be above 0")),
        None => Ok(()),
    }
}

fn check_constraint(row: &Constraint) -> Result<(), String> {
    if row.track_a < row.track_b { Ok(()) } else { Err("must have the smaller track in `track_a`".into()) }
}

fn check_doubt(row: &Doubt) -> Result<(), String> {
    let named = [row.track_id.is_some(), row.other_cluster_id.is_some()];
    let is_whole = match row.kind {
        DoubtKind::Split => named == [false, true] && row.cluster_id.is_some(),
        DoubtKind::NotAFace => named == [true, false],
        DoubtKind::Stranger | DoubtKind::Unsorted => named == [true, false] && row.cluster_id.is_some(),
    };
    if is_whole {
        Ok(())
    } else {
        Err("must name two people when `kind` is `split`, otherwise a track".into())
    }
}

fn check_cluster(row: &Cluster) -> Result<(), String> {
    if row.is_noise != row.cluster_id.is_none() {
        return Err("must have `is_noise` exactly when `cluster_id` is null".into());
    }
    if row.not_a_face == Some(true) && !row.is_noise {
        return Err("is no face and has a cluster".into());
    }
    Ok(())
}

fn check_appearance(row: &Appearance) -> Result<(), String> {
    if row.first_frame_idx <= row.last_frame_idx && row.first_shot_idx <= row.last_shot_idx {
        return Ok(());
    }
    Err("ends before it begins".into())
}

fn check_member(row: &Member) -> Result<(), String> {
    if row.runner_up_person_id != Some(row.linked_person_id.unwrap_or(row.person_id)) {
        return Ok(());
    }
    Err("names the matched person as its own runner-up".into())
}
