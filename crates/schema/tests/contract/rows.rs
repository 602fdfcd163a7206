//! Small valid rows, one maker per table that the tests break.

use schema::cell::{Ragged, UnitVector};
use schema::tables::{
    Cluster, Constraint, ConstraintKind, ConstraintReason, Crop, Detection, DetectionSource, Frame,
    FrameStatus, Linkage, Member, Metric, MetricUnit, Track, TrackEmbedding, TrackView,
};

/// Length of the vectors of [`track_embedding`].
pub(crate) const DIM: usize = 3;

pub(crate) fn linkage(step: i64) -> Linkage {
    Linkage { video_id: "v".into(), step, left: 0, right: 1, distance: 0.5, size: 2 }
}

pub(crate) fn frame(frame_idx: i64) -> Frame {
    Frame {
        video_id: "v".into(),
        frame_idx,
        pts_ticks: frame_idx * 40,
        t_secs: frame_idx as f64 * 0.04,
        is_key: frame_idx % 12 == 0,
        status: FrameStatus::Ok,
        duration_secs: Some(0.04),
    }
}

pub(crate) fn detection(frame_idx: i64) -> Detection {
    Detection {
        video_id: "v".into(),
        frame_idx,
        det_idx: 0,
        track_id: Some(0),
        x_min: 1.0,
        y_min: 2.0,
        x_max: 30.0,
        y_max: 40.0,
        score: Some(0.9),
        landmarks: Some([5.0; 10]),
        source: DetectionSource::Detected,
        sharpness: Some(0.5),
        frontality: None,
        size_px: 33.2,
    }
}

pub(crate) fn track(track_id: i64) -> Track {
    Track {
        video_id: "v".into(),
        track_id,
        shot_idx: 0,
        first_frame_idx: 0,
        last_frame_idx: 9,
        first_t_secs: 0.0,
        last_t_secs: 0.36,
        n_detections: 5,
        mean_score: 0.9,
        best_frame_idx: 4,
        torso: None,
        is_still: None,
    }
}

pub(crate) fn crop(track_id: i64, rank: i64) -> Crop {
    Crop {
        video_id: "v".into(),
        track_id,
        rank,
        frame_idx: rank,
        image: Some(vec![137, 80, 78, 71]),
        width: 112,
        height: 112,
        transform: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        quality: 0.7,
    }
}

pub(crate) fn track_embedding(track_id: i64) -> TrackEmbedding {
    TrackEmbedding {
        video_id: "v".into(),
        track_id,
        embedder: "sface".into(),
        embedding: UnitVector::normalised(&[1.0, 2.0, 2.0]).unwrap(),
        n_crops: 1,
        spread: 0.0,
    }
}

pub(crate) fn track_view(embedder: &str, vector: &[f32]) -> TrackView {
    TrackView {
        video_id: "v".into(),
        embedder: embedder.into(),
        track_id: 0,
        embedding: Ragged(UnitVector::normalised(vector).unwrap()),
        norm: 9.0,
    }
}

pub(crate) fn constraint(track_a: i64, track_b: i64) -> Constraint {
    Constraint {
        video_id: "v".into(),
        track_a,
        track_b,
        kind: ConstraintKind::CannotLink,
        reason: ConstraintReason::Overlap,
        weight: 1.0,
        violated: false,
    }
}

pub(crate) fn cluster(track_id: i64, cluster_id: Option<i64>, is_noise: bool) -> Cluster {
    Cluster {
        video_id: "v".into(),
        track_id,
        cluster_id,
        is_noise,
        confidence: 0.5,
        runner_up_cluster_id: None,
        margin: None,
        linked_cluster_id: cluster_id,
        not_a_face: None,
    }
}

pub(crate) fn member(cluster_id: i64) -> Member {
    Member {
        video_id: "v".into(),
        cluster_id,
        person_id: cluster_id,
        similarity: None,
        threshold: None,
        runner_up_person_id: None,
        margin: None,
        n_tracks: 3,
        screen_secs: 1.5,
        embedding: UnitVector::normalised(&[1.0, 2.0, 2.0]).unwrap(),
        name: None,
        linked_person_id: None,
        named_at: None,
        series_id: None,
        series_uid: None,
    }
}

pub(crate) fn metric(name: &str, unit: MetricUnit) -> Metric {
    Metric { video_id: "v".into(), name: name.into(), unit, value: 1.0, ci_low: None, ci_high: None, n: 3 }
}
