//! Every person with the best face, samples and tracks, and the tracks of no person.

use std::collections::BTreeMap;

use schema::tables::{Cluster, Identity, Track};
use serde_json::{Value, json};

use crate::faces::{Face, ThumbnailBudget};
use crate::input::{Comparison, LabelledTrack};
use crate::{Report, confusion, format, palette};

/// Most sample pictures of noise.
const MAX_NOISE_SAMPLES: usize = 48;
/// Most tracks that are listed, of people and of noise each: those of some hours of film. People longest on
/// screen come first; a list is whole or absent.
const MAX_LISTED: usize = 10_000;

/// The labels, by track.
#[derive(Debug)]
pub(crate) struct Truth<'a> {
    pub(crate) labels: &'a Comparison,
    pub(crate) tracks: BTreeMap<i64, LabelledTrack>,
}

impl<'a> Truth<'a> {
    /// Indexes labelled tracks.
    pub(crate) fn new(labels: &'a Comparison) -> Self {
        Self { labels, tracks: labels.tracks.iter().map(|t| (t.track_id, *t)).collect() }
    }

    /// The name of the person that a track shows.
    pub(crate) fn person(&self, track_id: i64) -> Option<&'a str> {
        Some(self.labels.people[self.tracks.get(&track_id)?.person].as_str())
    }

    /// The person that most of a cluster shows.
    pub(crate) fn majority(&self, cluster_id: i64) -> Option<usize> {
        confusion::majority(self.labels.boxes.get(&Some(cluster_id))?)
    }

    /// Whether a track shows another person than most of a cluster.
    pub(crate) fn is_wrong(&self, track_id: i64, cluster_id: i64) -> bool {
        let person = self.tracks.get(&track_id).map(|track| track.person);
        person.zip(self.majority(cluster_id)).is_some_and(|(person, majority)| person != majority)
    }

    /// The person, or no person, that most scored boxes of a cluster show, and the share of these boxes.
    fn of_cluster(&self, cluster_id: i64) -> Option<String> {
        let group = Some(cluster_id);
        let false_boxes = self.labels.false_boxes.get(&group).copied().unwrap_or(0);
        let people = self.labels.boxes.get(&group).map_or(&[][..], Vec::as_slice);
        let known: usize = people.iter().sum();
        let share = |count: usize| format::percent(count as f64 / (known + false_boxes).max(1) as f64);
        match confusion::majority(people).map(|person| (person, people[person])) {
            Some((person, count)) if count >= false_boxes => {
                Some(format!("{}, {}", self.labels.people[person], share(count)))
            }
            _ => (false_boxes > 0).then(|| format!("noise, {}", share(false_boxes))),
        }
    }
}

/// Every person, in the order of the table. Pictures are handed out in order of importance: the
/// best face of each person, then samples, then a face beside every track.
pub(crate) fn draw(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
) -> Vec<Value> {
    let identities = &report.tables.identities;
    let longest = identities.iter().map(|i| i.screen_secs).fold(1e-3, f64::max);
    let mut best = Vec::new();
    for identity in identities {
        let face = report.faces.at(identity.exemplar_track_id, identity.exemplar_frame_idx);
        let alt = || format!("Best picture of {}", identity.label());
        best.push(face.and_then(|face| thumbnails.picture(&face.large, alt())));
    }
    let mut samples = Vec::new();
    for identity in identities {
        let tracks = tracks(report, Some(identity.cluster_id));
        let best = (identity.exemplar_track_id, identity.exemplar_frame_idx);
        let limit = report.samples_per_identity;
        let faces = sample(report, &tracks, limit + 1).into_iter();
        let others = faces.filter(|face| (face.track_id, face.frame_idx) != best).take(limit);
        let pictures =
            others.filter_map(|face| thumbnails.picture(&face.large, alt(&identity.label(), face)));
        samples.push(pictures.collect::<Vec<_>>());
    }
    let mut left = MAX_LISTED;
    let person = |((identity, best), samples): ((&Identity, _), _)| {
        let tracks = tracks(report, Some(identity.cluster_id));
        let rows = rows(report, whole(&tracks, &mut left), truth, thumbnails, &identity.label());
        let confidence: f64 = tracks.iter().map(|(cluster, _)| f64::from(cluster.confidence)).sum();
        json!({
            "anchor": format!("p{}", identity.cluster_id),
            "name": identity.label(),
            "class": palette::class(Some(identity.cluster_id)),
            "best": best,
            "time": format::length(identity.screen_secs),
            "share": format::percent(identity.screen_secs / report.tables.video.duration_secs.max(1e-3)),
            // Relative to the person longest on screen.
            "bar": format!("{:.1}%", identity.screen_secs / longest * 100.0),
            "n_tracks": format::counted(tracks.len(), "track", "tracks"),
            "first": format::moment(identity.first_t_secs),
            "last": format::moment(identity.last_t_secs),
            "confidence": format!("{:.2}", confidence / tracks.len().max(1) as f64),
            "truth": truth.and_then(|truth| truth.of_cluster(identity.cluster_id)),
            "samples": samples,
            "tracks": rows,
        })
    };
    identities.iter().zip(best).zip(samples).map(person).collect()
}

/// Draws the tracks that are linked to no person; `None` when there are none.
pub(crate) fn noise(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
) -> Option<Value> {
    let tracks = tracks(report, None);
    if tracks.is_empty() {
        return None;
    }
    let faces = sample(report, &tracks, MAX_NOISE_SAMPLES).into_iter();
    let samples: Vec<_> =
        faces.filter_map(|face| thumbnails.picture(&face.small, alt("Noise", face))).collect();
    let listed = whole(&tracks, &mut { MAX_LISTED });
    Some(json!({
        "n_tracks": format::counted(tracks.len(), "track", "tracks"),
        "samples": samples,
        "tracks": rows(report, listed, truth, thumbnails, "Noise"),
    }))
}

/// The list when `left` has room for all of it, else an empty list.
fn whole<'a, T>(list: &'a [T], left: &mut usize) -> &'a [T] {
    let shown = if list.len() <= *left { list } else { &[] };
    *left -= shown.len();
    shown
}

/// Up to `limit` faces of tracks.
fn sample<'a>(report: &Report<'a>, tracks: &[(&Cluster, &Track)], limit: usize) -> Vec<&'a Face> {
    let ids: Vec<i64> = tracks.iter().map(|(_, track)| track.track_id).collect();
    report.faces.sample(&ids, limit)
}

fn alt(name: &str, face: &Face) -> String {
    format!("{name}, track {}, frame {}", face.track_id, face.frame_idx)
}

/// The tracks of a cluster (`None`: noise) by time.
fn tracks<'a>(report: &Report<'a>, cluster_id: Option<i64>) -> Vec<(&'a Cluster, &'a Track)> {
    let tables = report.tables;
    let clusters = tables.clusters.iter().filter(|c| c.cluster_id == cluster_id);
    let mut tracks: Vec<_> = clusters.filter_map(|c| Some((c, tables.track(c.track_id)?))).collect();
    tracks.sort_by_key(|(_, track)| (track.first_frame_idx, track.track_id));
    tracks
}

/// Rows of a table of tracks; `name` is that of their person.
fn rows(
    report: &Report<'_>,
    tracks: &[(&Cluster, &Track)],
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
    name: &str,
) -> Vec<Value> {
    let frame = report.tables.frame_secs();
    let runner_up = |cluster_id: i64| {
        let identity = report.tables.identities.iter().find(|i| i.cluster_id == cluster_id);
        json!({
            "name": identity.map_or_else(|| Identity::numbered(cluster_id), Identity::label),
            "class": palette::class(Some(cluster_id)),
            "anchor": format!("p{cluster_id}"),
        })
    };
    let row = |(cluster, track): &(&Cluster, &Track)| {
        let face = report.faces.best(track.track_id);
        let label = truth.and_then(|truth| {
            let is_wrong = cluster.cluster_id.is_some_and(|id| truth.is_wrong(track.track_id, id));
            Some(json!({ "name": truth.person(track.track_id)?, "wrong": is_wrong }))
        });
        json!({
            "id": track.track_id,
            "face": face.and_then(|face| thumbnails.picture(&face.small, alt(name, face))),
            "from": format::moment(track.first_t_secs),
            "to": format::moment(track.last_t_secs),
            "length": format::length(track.last_t_secs - track.first_t_secs + frame),
            "shot": track.shot_idx,
            "quality": face.map_or(String::new(), |face| format!("{:.2}", face.quality)),
            "confidence": format!("{:.2}", cluster.confidence),
            "runner_up": cluster.runner_up_cluster_id.map(runner_up),
            "margin": cluster.margin.map_or(String::new(), |margin| format::figure(f64::from(margin))),
            "truth": label,
        })
    };
    tracks.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_whole_or_not_there() {
        let mut left = 5;
        let shown = [2, 4, 3, 1].map(|n| whole(&vec![0; n], &mut left).len());
        assert_eq!((shown, left), ([2, 0, 3, 0], 0));
    }
}
