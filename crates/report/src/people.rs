//! Every person with the best face, samples and tracks, and the tracks of no person.

use std::collections::BTreeMap;

use schema::tables::{Cluster, Identity, Track};
use serde::Serialize;

use crate::confusion::{self, Confusion};
use crate::faces::{Face, Picture, ThumbnailBudget};
use crate::input::{Comparison, LabelledTrack};
use crate::{Report, format, palette};

/// Most sample pictures of noise.
const MAX_NOISE_SAMPLES: usize = 48;
/// Most tracks that are listed, of people and of noise each: those of some hours of film. People longest on
/// screen come first; a list is whole or absent.
const MAX_LISTED: usize = 10_000;

/// A person on the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Person {
    anchor: String,
    name: String,
    class: String,
    best: Option<Picture>,
    /// Time on screen, as text.
    time: String,
    /// The same as a share of the video.
    share: String,
    /// The same relative to the person longest on screen, percent, for a bar.
    bar: String,
    n_tracks: String,
    first: String,
    last: String,
    confidence: String,
    /// The person according to the labels.
    truth: Option<String>,
    samples: Vec<Picture>,
    tracks: Vec<TrackRow>,
}

/// Tracks that are linked to no person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Noise {
    n_tracks: String,
    samples: Vec<Picture>,
    tracks: Vec<TrackRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct TrackRow {
    id: i64,
    face: Option<Picture>,
    from: String,
    to: String,
    length: String,
    shot: i64,
    quality: String,
    confidence: String,
    runner_up: Option<RunnerUp>,
    margin: String,
    truth: Option<TrackTruth>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct RunnerUp {
    name: String,
    class: String,
    anchor: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct TrackTruth {
    name: String,
    /// Whether its cluster mostly shows another person.
    wrong: bool,
}

/// The labels, by track.
#[derive(Debug)]
pub(crate) struct Truth<'a> {
    labels: &'a Comparison,
    tracks: BTreeMap<i64, LabelledTrack>,
}

/// A track in a cluster that mostly shows another person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WrongTrack<'a> {
    /// The track.
    pub(crate) track_id: i64,
    /// Its cluster.
    pub(crate) cluster_id: i64,
    /// Name of the person that the track shows.
    pub(crate) person: &'a str,
    /// Name of the person that most of the cluster shows.
    pub(crate) majority: &'a str,
    /// Labelled boxes of the track.
    pub(crate) n_boxes: usize,
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

    /// Whether a track shows another person than most of a cluster.
    pub(crate) fn is_wrong(&self, track_id: i64, cluster_id: i64) -> bool {
        let person = self.tracks.get(&track_id).map(|track| track.person);
        person.zip(self.majority(cluster_id)).is_some_and(|(person, majority)| person != majority)
    }

    /// Every track in a cluster that mostly shows another person.
    pub(crate) fn wrong_tracks(&self) -> Vec<WrongTrack<'a>> {
        let people = &self.labels.people;
        let wrong = |track: &LabelledTrack| {
            let cluster_id = track.cluster_id?;
            let majority = self.majority(cluster_id).filter(|majority| *majority != track.person)?;
            let (person, majority) = (people[track.person].as_str(), people[majority].as_str());
            let LabelledTrack { track_id, n_boxes, .. } = *track;
            Some(WrongTrack { track_id, cluster_id, person, majority, n_boxes })
        };
        self.tracks.values().filter_map(wrong).collect()
    }

    /// Clusters that mostly show the person of an earlier cluster: the person, the earlier cluster, the later
    /// cluster.
    pub(crate) fn splits(&self) -> Vec<(&'a str, i64, i64)> {
        let mut first: BTreeMap<usize, i64> = BTreeMap::new();
        let mut splits = Vec::new();
        for cluster in self.labels.boxes.keys().copied().flatten() {
            let Some(person) = self.majority(cluster) else { continue };
            let earlier = *first.entry(person).or_insert(cluster);
            if earlier != cluster {
                splits.push((self.labels.people[person].as_str(), earlier, cluster));
            }
        }
        splits
    }

    /// The table of clusters and people; `names` are those of the clusters.
    pub(crate) fn confusion(&self, names: &[(i64, String)]) -> Confusion {
        let names: BTreeMap<i64, &str> = names.iter().map(|(id, name)| (*id, name.as_str())).collect();
        confusion::draw(self.labels, |group| match group {
            None => "Noise".into(),
            Some(id) => names.get(&id).map_or_else(|| format!("Cluster {id}"), |name| (*name).to_owned()),
        })
    }

    fn majority(&self, cluster_id: i64) -> Option<usize> {
        confusion::majority(self.labels.boxes.get(&Some(cluster_id))?)
    }

    /// The person, or no person, that most scored boxes of a cluster show, and the share of these boxes.
    fn of_cluster(&self, cluster_id: i64) -> Option<String> {
        let group = Some(cluster_id);
        let nobody = self.labels.false_boxes.get(&group).copied().unwrap_or(0);
        let people = self.labels.boxes.get(&group).map_or(&[][..], Vec::as_slice);
        let known: usize = people.iter().sum();
        let share = |count: usize| format::percent(count as f64 / (known + nobody).max(1) as f64);
        match confusion::majority(people).map(|person| (person, people[person])) {
            Some((person, count)) if count >= nobody => {
                Some(format!("{}, {}", self.labels.people[person], share(count)))
            }
            _ => (nobody > 0).then(|| format!("noise, {}", share(nobody))),
        }
    }

    fn of_track(&self, cluster: &Cluster) -> Option<TrackTruth> {
        let wrong = cluster.cluster_id.is_some_and(|id| self.is_wrong(cluster.track_id, id));
        Some(TrackTruth { name: self.person(cluster.track_id)?.to_owned(), wrong })
    }
}

/// The name of a person: the given name, or a number.
pub(crate) fn name(identity: &Identity) -> String {
    identity.name.clone().unwrap_or_else(|| format!("Person {}", identity.cluster_id))
}

/// Every person, in the order of the table. Pictures are handed out in order of importance: the
/// best face of each person, then samples, then a face beside every track.
pub(crate) fn draw(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
) -> Vec<Person> {
    let identities = report.tables.identities;
    let longest = identities.iter().map(|i| i.screen_secs).fold(1e-3, f64::max);
    let best: Vec<_> = identities.iter().map(|i| best(report, i, thumbnails)).collect();
    let samples: Vec<_> = identities.iter().map(|i| samples(report, i, thumbnails)).collect();
    let pictures = best.into_iter().zip(samples);
    let mut left = MAX_LISTED;
    let person = |(identity, (best, samples)): (&Identity, _)| {
        let tracks = tracks(report, Some(identity.cluster_id));
        let rows = rows(report, whole(&tracks, &mut left), truth, thumbnails, &name(identity));
        Person {
            anchor: format!("p{}", identity.cluster_id),
            name: name(identity),
            class: palette::class(Some(identity.cluster_id)),
            best,
            time: format::length(identity.screen_secs),
            share: format::percent(identity.screen_secs / report.tables.video.duration_secs.max(1e-3)),
            bar: format!("{:.1}%", identity.screen_secs / longest * 100.0),
            n_tracks: format::counted(tracks.len(), "track", "tracks"),
            first: format::moment(identity.first_t_secs),
            last: format::moment(identity.last_t_secs),
            confidence: format!("{:.2}", mean_confidence(&tracks)),
            truth: truth.and_then(|truth| truth.of_cluster(identity.cluster_id)),
            samples,
            tracks: rows,
        }
    };
    identities.iter().zip(pictures).map(person).collect()
}

/// Draws the tracks that are linked to no person; `None` when there are none.
pub(crate) fn noise(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
) -> Option<Noise> {
    let tracks = tracks(report, None);
    if tracks.is_empty() {
        return None;
    }
    let ids: Vec<i64> = tracks.iter().map(|(_, track)| track.track_id).collect();
    let faces = report.faces.sample(&ids, MAX_NOISE_SAMPLES);
    let samples = faces.into_iter().filter_map(|face| thumbnails.small(face, alt("Noise", face))).collect();
    let listed = whole(&tracks, &mut { MAX_LISTED });
    Some(Noise {
        n_tracks: format::counted(tracks.len(), "track", "tracks"),
        samples,
        tracks: rows(report, listed, truth, thumbnails, "Noise"),
    })
}

/// The list when `left` has room for all of it, else an empty list.
fn whole<'a, T>(list: &'a [T], left: &mut usize) -> &'a [T] {
    let shown = if list.len() <= *left { list } else { &[] };
    *left -= shown.len();
    shown
}

fn best(report: &Report<'_>, identity: &Identity, thumbnails: &mut ThumbnailBudget) -> Option<Picture> {
    let face = report.faces.at(identity.exemplar_track_id, identity.exemplar_frame_idx)?;
    thumbnails.large(face, format!("Best picture of {}", name(identity)))
}

fn samples(report: &Report<'_>, identity: &Identity, thumbnails: &mut ThumbnailBudget) -> Vec<Picture> {
    let tracks = tracks(report, Some(identity.cluster_id));
    let ids: Vec<i64> = tracks.iter().map(|(_, track)| track.track_id).collect();
    let shown = (identity.exemplar_track_id, identity.exemplar_frame_idx);
    let limit = report.samples_per_identity;
    let faces = report.faces.sample(&ids, limit + 1).into_iter();
    let others = faces.filter(|face| (face.track_id, face.frame_idx) != shown).take(limit);
    others.filter_map(|face| thumbnails.large(face, alt(&name(identity), face))).collect()
}

fn alt(name: &str, face: &Face) -> String {
    format!("{name}, track {}, frame {}", face.track_id, face.frame_idx)
}

/// The tracks of a cluster (`None`: noise) by time.
fn tracks<'a>(report: &Report<'a>, cluster_id: Option<i64>) -> Vec<(&'a Cluster, &'a Track)> {
    let tables = &report.tables;
    let clusters = tables.clusters.iter().filter(|c| c.cluster_id == cluster_id);
    let mut tracks: Vec<_> = clusters.filter_map(|c| Some((c, tables.track(c.track_id)?))).collect();
    tracks.sort_by_key(|(_, track)| (track.first_frame_idx, track.track_id));
    tracks
}

fn mean_confidence(tracks: &[(&Cluster, &Track)]) -> f64 {
    let sum: f64 = tracks.iter().map(|(cluster, _)| f64::from(cluster.confidence)).sum();
    sum / tracks.len().max(1) as f64
}

fn rows(
    report: &Report<'_>,
    tracks: &[(&Cluster, &Track)],
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
    name: &str,
) -> Vec<TrackRow> {
    tracks.iter().map(|(cluster, track)| row(report, cluster, track, truth, thumbnails, name)).collect()
}

fn row(
    report: &Report<'_>,
    cluster: &Cluster,
    track: &Track,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
    name: &str,
) -> TrackRow {
    let face = report.faces.best(track.track_id);
    let frame = report.tables.frame_secs();
    TrackRow {
        id: track.track_id,
        face: face.and_then(|face| thumbnails.small(face, alt(name, face))),
        from: format::moment(track.first_t_secs),
        to: format::moment(track.last_t_secs),
        length: format::length(track.last_t_secs - track.first_t_secs + frame),
        shot: track.shot_idx,
        quality: face.map_or(String::new(), |face| format!("{:.2}", face.quality)),
        confidence: format!("{:.2}", cluster.confidence),
        runner_up: cluster.runner_up_cluster_id.map(|id| runner_up(report, id)),
        margin: cluster.margin.map_or(String::new(), |margin| format::figure(f64::from(margin))),
        truth: truth.and_then(|truth| truth.of_track(cluster)),
    }
}

fn runner_up(report: &Report<'_>, cluster_id: i64) -> RunnerUp {
    let identity = report.tables.identities.iter().find(|i| i.cluster_id == cluster_id);
    RunnerUp {
        name: identity.map_or_else(|| format!("Person {cluster_id}"), name),
        class: palette::class(Some(cluster_id)),
        anchor: format!("p{cluster_id}"),
    }
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
