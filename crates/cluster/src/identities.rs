//! Rows of `clusters` and `identities` from labels: who is on screen, when, and with which confidence.

use std::collections::BTreeMap;

use geometry::FrameTimes;
use schema::Symbol;
use schema::tables::{Cluster, Embedding, Identity, Track, TrackEmbedding};

use crate::edits::People;
use crate::method::Fit;

/// A finished clustering and the tables it was made from.
#[derive(Debug, Clone, Copy)]
pub struct Linked<'a> {
    /// Every track.
    pub tracks: &'a [Track],
    /// The vectors that were clustered, in order.
    pub vectors: &'a [TrackEmbedding],
    /// Vectors of the crops.
    pub crops: &'a [Embedding],
    /// Times of the frames of the video.
    pub times: &'a FrameTimes,
    /// Label of each of `vectors`; `None` is noise.
    pub labels: &'a [Option<usize>],
    /// How well each of `vectors` fits its cluster.
    pub fits: &'a [Fit],
}

/// Rows of the two tables, in their order.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// One per track.
    pub clusters: Vec<Cluster>,
    /// One per cluster.
    pub identities: Vec<Identity>,
}

impl Linked<'_> {
    /// Returns the rows of `clusters` and `identities` before edits, without `person_uid`. Clusters are numbered by
    /// falling screen time, ties by their first track; tracks without a vector are noise.
    pub fn rows(&self) -> Rows {
        let members = self.members();
        let mut identities: Vec<(usize, Identity)> =
            members.iter().enumerate().map(|(label, members)| (label, self.identity(members))).collect();
        identities.sort_by(|(a, x), (b, y)| y.screen_secs.total_cmp(&x.screen_secs).then(a.cmp(b)));
        let mut cluster_ids = vec![0; members.len()];
        for (cluster_id, (label, identity)) in identities.iter_mut().enumerate() {
            identity.cluster_id = cluster_id as i64;
            cluster_ids[*label] = identity.cluster_id;
        }
        let clusters = self.tracks.iter().map(|track| self.cluster(track, &cluster_ids));
        Rows {
            clusters: clusters.collect(),
            identities: identities.into_iter().map(|(_, identity)| identity).collect(),
        }
    }

    /// Returns the rows after edits. Edits do not change the rows of other people.
    pub fn edited(&self, linked: Rows, people: &People) -> Rows {
        let members = people.clusters();
        let before =
            |cluster_id: i64| linked.clusters.iter().filter(move |c| c.cluster_id == Some(cluster_id));
        // For each person whose number is gone: the person who has most of the tracks.
        let gone = linked.identities.iter().map(|i| i.cluster_id).filter(|id| !members.contains_key(id));
        let heirs: BTreeMap<i64, Option<i64>> =
            gone.map(|id| (id, people.holder(&before(id).map(|c| c.track_id).collect()))).collect();
        let cluster = |row: &Cluster| {
            let cluster_id = people.cluster_of(row.track_id);
            let is_edited = people.is_edited(row.track_id);
            let heir = |id: i64| heirs.get(&id).copied().unwrap_or(Some(id));
            let runner_up = row.runner_up_cluster_id.and_then(heir);
            let runner_up = runner_up.filter(|id| !is_edited && Some(*id) != cluster_id);
            Cluster {
                cluster_id,
                is_noise: cluster_id.is_none(),
                // The user said so.
                confidence: match cluster_id {
                    Some(_) if is_edited => 1.0,
                    Some(_) => row.confidence,
                    None => 0.0,
                },
                runner_up_cluster_id: runner_up,
                margin: row.margin.filter(|_| runner_up.is_some()),
                not_a_face: Some(!people.is_face(row.track_id)),
                ..row.clone()
            }
        };
        let identity = |(cluster_id, members): (&i64, &Vec<i64>)| Identity {
            cluster_id: *cluster_id,
            name: people.name(*cluster_id).map(str::to_owned),
            ..self.identity(members)
        };
        Rows {
            clusters: linked.clusters.iter().map(cluster).collect(),
            identities: members.iter().map(identity).collect(),
        }
    }

    /// Tracks by label.
    fn members(&self) -> Vec<Vec<i64>> {
        let count = self.labels.iter().flatten().max().map_or(0, |most| most + 1);
        let mut members = vec![Vec::new(); count];
        for (place, label) in self.labels.iter().enumerate() {
            label.iter().for_each(|label| members[*label].push(self.vectors[place].track_id));
        }
        members
    }

    fn cluster(&self, track: &Track, cluster_ids: &[i64]) -> Cluster {
        let place = self.vectors.binary_search_by_key(&track.track_id, |v| v.track_id).ok();
        let label = place.and_then(|place| self.labels[place]);
        let fit = place.map(|place| self.fits[place]);
        let runner_up = fit.and_then(|fit| fit.runner_up);
        Cluster {
            video_id: track.video_id.clone(),
            track_id: track.track_id,
            cluster_id: label.map(|label| cluster_ids[label]),
            is_noise: label.is_none(),
            confidence: label.and(fit).map_or(0.0, |fit| fit.confidence as f32),
            runner_up_cluster_id: runner_up.map(|(label, _)| cluster_ids[label]),
            // The margin compares with the own cluster, which noise does not have.
            margin: label.and(runner_up).map(|(_, margin)| margin as f32),
            linked_cluster_id: label.map(|label| cluster_ids[label]),
            not_a_face: Some(false),
        }
    }

    /// The row of a person with these tracks, without a number and a name.
    fn identity(&self, members: &[i64]) -> Identity {
        let tracks = || members.iter().filter_map(|track_id| self.track(*track_id));
        let presence = self.times.union(tracks().map(|track| (track.first_frame_idx, track.last_frame_idx)));
        let clearest = members
            .iter()
            .flat_map(|track_id| self.crops_of(*track_id))
            .max_by(|a, b| a.norm.total_cmp(&b.norm).then(b.track_id.cmp(&a.track_id)));
        // A person of edits may have no track with a vector.
        let first = tracks().next().map(|track| (track.track_id, track.best_frame_idx));
        let exemplar = clearest.map(|crop| (crop.track_id, crop.frame_idx)).or(first).unwrap_or_default();
        let edge = |pick: fn(f64, f64) -> f64, time: fn(&Track) -> f64| tracks().map(time).reduce(pick);
        Identity {
            video_id: tracks().next().map_or_else(|| Symbol::from(""), |t| t.video_id.clone()),
            cluster_id: 0,
            name: None,
            n_tracks: members.len() as i64,
            n_frames: presence.iter().map(|(first, last)| last - first + 1).sum(),
            screen_secs: self.times.screen_secs(&presence),
            first_t_secs: edge(f64::min, |t| t.first_t_secs).unwrap_or(0.0),
            last_t_secs: edge(f64::max, |t| t.last_t_secs).unwrap_or(0.0),
            exemplar_track_id: exemplar.0,
            exemplar_frame_idx: exemplar.1,
            person_uid: None,
            series_id: None,
            series_uid: None,
        }
    }

    fn track(&self, track_id: i64) -> Option<&Track> {
        self.tracks.binary_search_by_key(&track_id, |track| track.track_id).ok().map(|at| &self.tracks[at])
    }

    fn crops_of(&self, track_id: i64) -> &[Embedding] {
        let first = self.crops.partition_point(|crop| crop.track_id < track_id);
        let count = self.crops[first..].partition_point(|crop| crop.track_id == track_id);
        &self.crops[first..first + count]
    }
}
