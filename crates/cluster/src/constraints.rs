//! Which tracks cannot show the same person: those that are in one frame together.

use std::collections::HashMap;

use schema::Symbol;
use schema::tables::{Cluster, Constraint, ConstraintKind, ConstraintReason, Track};

/// Pairs of tracks, smaller id first, in order, that share a frame. A track has a box in every
/// frame from its first to its last, so sharing a shot and a stretch of it is sharing a frame.
pub fn overlaps(tracks: &[Track]) -> Vec<(i64, i64)> {
    let mut pairs = Vec::new();
    for shot in tracks.chunk_by(|a, b| a.shot_idx == b.shot_idx) {
        for (i, a) in shot.iter().enumerate() {
            let together =
                |b: &&Track| a.first_frame_idx <= b.last_frame_idx && b.first_frame_idx <= a.last_frame_idx;
            pairs.extend(shot[i + 1..].iter().filter(together).map(|b| ordered(a.track_id, b.track_id)));
        }
    }
    pairs.sort_unstable();
    pairs
}

fn ordered(a: i64, b: i64) -> (i64, i64) {
    (a.min(b), a.max(b))
}

/// Rows of `constraints` for the pairs of [`overlaps`].
pub fn rows(video_id: &Symbol, overlaps: &[(i64, i64)], clusters: &[Cluster]) -> Vec<Constraint> {
    let cluster: HashMap<i64, Option<i64>> = clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let of = |track_id: i64| cluster.get(&track_id).copied().flatten();
    let row = |&(track_a, track_b): &(i64, i64)| Constraint {
        video_id: video_id.clone(),
        track_a,
        track_b,
        kind: ConstraintKind::CannotLink,
        reason: ConstraintReason::Overlap,
        weight: 1.0,
        violated: of(track_a).is_some() && of(track_a) == of(track_b),
    };
    overlaps.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(track_id: i64, shot_idx: i64, first: i64, last: i64) -> Track {
        Track {
            video_id: "v".into(),
            track_id,
            shot_idx,
            first_frame_idx: first,
            last_frame_idx: last,
            first_t_secs: first as f64,
            last_t_secs: last as f64,
            n_detections: 2,
            mean_score: 0.9,
            best_frame_idx: first,
        }
    }

    #[test]
    fn sharing_one_frame_is_enough_and_touching_is_not() {
        let tracks = [track(0, 0, 0, 10), track(1, 0, 10, 20), track(2, 0, 11, 20), track(3, 1, 21, 30)];
        assert_eq!(overlaps(&tracks), [(0, 1), (1, 2)]);
    }
}
