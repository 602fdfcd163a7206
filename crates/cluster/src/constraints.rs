//! Which tracks cannot show the same person: those that are in one frame together.

use std::collections::{HashMap, HashSet};

use schema::Symbol;
use schema::tables::{
    Cluster, Constraint, ConstraintKind, ConstraintReason, Embedding, Track, TrackEmbedding,
};

use crate::linkage::cosine_distance;

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

/// Pairs that look like one picture although they share a frame, as those do of a mirror or a picture in a
/// picture: their vectors are as alike as the upper quarter of pairs of crops inside one track.
///
/// `vectors` in order of tracks, `crops` grouped by track. Nothing is said by fewer than 20 pairs of crops.
pub fn look_like_one_picture(
    overlaps: &[(i64, i64)],
    vectors: &[TrackEmbedding],
    crops: &[Embedding],
) -> HashSet<(i64, i64)> {
    let mut inside: Vec<f64> = Vec::new();
    for crops in crops.chunk_by(|a, b| a.track_id == b.track_id) {
        for (i, a) in crops.iter().enumerate() {
            inside.extend(
                crops[i + 1..]
                    .iter()
                    .map(|b| cosine_distance(a.embedding.as_slice(), b.embedding.as_slice())),
            );
        }
    }
    if inside.len() < 20 {
        return HashSet::new();
    }
    let quarter = inside.len() / 4;
    let (_, alike, _) = inside.select_nth_unstable_by(quarter, f64::total_cmp);
    let vector = |track_id: i64| {
        let place = vectors.binary_search_by_key(&track_id, |v| v.track_id).ok()?;
        Some(&vectors[place].embedding)
    };
    let is_alike = |(a, b): &&(i64, i64)| {
        let pair = vector(*a).zip(vector(*b));
        pair.is_some_and(|(a, b)| cosine_distance(a.as_slice(), b.as_slice()) <= *alike)
    };
    overlaps.iter().filter(is_alike).copied().collect()
}

/// Rows of `constraints` for the pairs of [`overlaps`]; `waived` are those of no strength.
pub fn rows(
    video_id: &Symbol,
    overlaps: &[(i64, i64)],
    waived: &HashSet<(i64, i64)>,
    clusters: &[Cluster],
) -> Vec<Constraint> {
    let cluster: HashMap<i64, Option<i64>> = clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let of = |track_id: i64| cluster.get(&track_id).copied().flatten();
    let row = |&(track_a, track_b): &(i64, i64)| Constraint {
        video_id: video_id.clone(),
        track_a,
        track_b,
        kind: ConstraintKind::CannotLink,
        reason: ConstraintReason::Overlap,
        weight: if waived.contains(&(track_a, track_b)) { 0.0 } else { 1.0 },
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
