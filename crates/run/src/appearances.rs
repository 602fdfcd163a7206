//! The appearances of people: when each person is on screen, with short gaps closed.

use std::collections::{BTreeMap, BTreeSet};

use geometry::FrameTimes;
use schema::tables::{Appearance, Cluster, Track};

/// Returns the rows of `appearances` that follow from the tracks, their clusters and the times of the frames. See
/// [`FrameTimes::appearances`] for the gaps.
pub fn appearances(tracks: &[Track], clusters: &[Cluster], times: &FrameTimes) -> Vec<Appearance> {
    let tracks: BTreeMap<i64, &Track> = tracks.iter().map(|track| (track.track_id, track)).collect();
    let mut people: BTreeMap<i64, Vec<&Track>> = BTreeMap::new();
    for row in clusters {
        if let Some((cluster_id, track)) = row.cluster_id.zip(tracks.get(&row.track_id)) {
            people.entry(cluster_id).or_default().push(track);
        }
    }
    let mut rows = Vec::new();
    for (cluster_id, tracks) in people {
        let spans =
            times.appearances(tracks.iter().map(|track| (track.first_frame_idx, track.last_frame_idx)));
        for (appearance_idx, (first, last)) in (0..).zip(spans) {
            let own = tracks.iter().filter(|track| (first..=last).contains(&track.first_frame_idx));
            let shots: BTreeSet<i64> = own.clone().map(|track| track.shot_idx).collect();
            let [Some(first_shot_idx), Some(last_shot_idx)] = [shots.first(), shots.last()] else { continue };
            rows.push(Appearance {
                video_id: tracks[0].video_id.clone(),
                cluster_id,
                appearance_idx,
                first_frame_idx: first,
                last_frame_idx: last,
                first_t_secs: times.t_secs(first),
                last_t_secs: times.t_secs(last),
                n_tracks: own.count() as i64,
                n_shots: shots.len() as i64,
                first_shot_idx: *first_shot_idx,
                last_shot_idx: *last_shot_idx,
            });
        }
    }
    rows
}
