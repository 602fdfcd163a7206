//! The gallery: every person with their best face, samples and tracks, and the tracks of nobody.

use std::collections::BTreeMap;

use schema::tables::{Cluster, Identity, Track};
use serde::Serialize;

use super::confusion::{self, Confusion, Counts};
use super::faces::{Album, Face, Picture};
use super::{Report, palette, words};
use crate::matching::{Group, Judged, JudgedTrack, judged_tracks};

/// Most sample pictures of noise.
const MAX_NOISE_SAMPLES: usize = 48;
/// Most tracks that are listed, of people and of noise each: those of some hours of film. Who is on screen
/// longest comes first, and lists are whole or not there.
const MAX_LISTED: usize = 10_000;

/// A person on the page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Person {
    anchor: String,
    name: String,
    class: String,
    best: Option<Picture>,
    /// Time on screen in words.
    time: String,
    /// The same as a share of the video.
    share: String,
    /// The same relative to the person longest on screen, percent, for a bar.
    bar: String,
    n_tracks: String,
    first: String,
    last: String,
    confidence: String,
    /// Who the labels say it is.
    truth: Option<String>,
    samples: Vec<Picture>,
    tracks: Vec<TrackRow>,
}

/// Tracks that were linked to nobody.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Noise {
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
    /// Whether its cluster mostly shows somebody else.
    wrong: bool,
}

/// What the labels say, as the page needs it.
#[derive(Debug)]
pub struct Truth<'a> {
    judged: &'a Judged,
    counts: Counts,
    tracks: BTreeMap<i64, JudgedTrack>,
}

/// A track in a cluster that mostly shows somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongTrack<'a> {
    /// The track.
    pub track_id: i64,
    /// Its cluster.
    pub cluster_id: i64,
    /// Whom the track shows.
    pub person: &'a str,
    /// Whom most of the cluster shows.
    pub majority: &'a str,
    /// Labelled boxes of the track.
    pub n_boxes: usize,
}

impl<'a> Truth<'a> {
    /// Counts boxes and tracks.
    pub fn new(judged: &'a Judged) -> Self {
        let tracks = judged_tracks(&judged.matches).into_iter().map(|t| (t.track_id, t)).collect();
        Self { judged, counts: confusion::counts(judged), tracks }
    }

    /// Whom a track shows.
    pub fn person(&self, track_id: i64) -> Option<&'a str> {
        Some(self.judged.people[self.tracks.get(&track_id)?.person].as_str())
    }

    /// Whether a track shows somebody else than most of a cluster.
    pub fn is_wrong(&self, track_id: i64, cluster_id: i64) -> bool {
        let person = self.tracks.get(&track_id).map(|track| track.person);
        person.zip(self.majority(cluster_id)).is_some_and(|(person, majority)| person != majority)
    }

    /// Every track in a cluster that mostly shows somebody else.
    pub fn wrong_tracks(&self) -> Vec<WrongTrack<'a>> {
        let people = &self.judged.people;
        let wrong = |track: &JudgedTrack| {
            let Group::Cluster(cluster_id) = track.group else { return None };
            let majority = self.majority(cluster_id).filter(|majority| *majority != track.person)?;
            let (person, majority) = (people[track.person].as_str(), people[majority].as_str());
            let JudgedTrack { track_id, n_boxes, .. } = *track;
            Some(WrongTrack { track_id, cluster_id, person, majority, n_boxes })
        };
        self.tracks.values().filter_map(wrong).collect()
    }

    /// Clusters that mostly show a person whom an earlier one mostly shows: the person, the earlier one,
    /// the later one.
    pub fn splits(&self) -> Vec<(&'a str, i64, i64)> {
        let mut first: BTreeMap<usize, i64> = BTreeMap::new();
        let mut splits = Vec::new();
        for cluster in self.counts.keys().copied().flatten() {
            let Some(person) = self.majority(cluster) else { continue };
            let earlier = *first.entry(person).or_insert(cluster);
            if earlier != cluster {
                splits.push((self.judged.people[person].as_str(), earlier, cluster));
            }
        }
        splits
    }

    /// The table of clusters and people; `names` are those of the clusters.
    pub fn confusion(&self, names: &[(i64, String)]) -> Confusion {
        let names: BTreeMap<i64, &str> = names.iter().map(|(id, name)| (*id, name.as_str())).collect();
        confusion::draw(self.judged, &self.counts, |group| match group {
            None => "Noise".into(),
            Some(id) => names.get(&id).map_or_else(|| format!("Cluster {id}"), |name| (*name).to_owned()),
        })
    }

    fn majority(&self, cluster_id: i64) -> Option<usize> {
        confusion::majority(self.counts.get(&Some(cluster_id))?)
    }

    /// Whom most of a cluster's judged boxes show, be it nobody, and their share of these boxes.
    fn of_cluster(&self, cluster_id: i64) -> Option<String> {
        let group = Some(cluster_id);
        let nobody = self.judged.false_boxes.get(&group).copied().unwrap_or(0);
        let people = self.counts.get(&group).map_or(&[][..], Vec::as_slice);
        let known: usize = people.iter().sum();
        let share = |count: usize| words::percent(count as f64 / (known + nobody).max(1) as f64);
        match confusion::majority(people).map(|person| (person, people[person])) {
            Some((person, count)) if count >= nobody => {
                Some(format!("{}, {}", self.judged.people[person], share(count)))
            }
            _ => (nobody > 0).then(|| format!("nobody, {}", share(nobody))),
        }
    }

    fn of_track(&self, cluster: &Cluster) -> Option<TrackTruth> {
        let wrong = cluster.cluster_id.is_some_and(|id| self.is_wrong(cluster.track_id, id));
        Some(TrackTruth { name: self.person(cluster.track_id)?.to_owned(), wrong })
    }
}

/// What a person is called.
pub fn name(identity: &Identity) -> String {
    identity.name.clone().unwrap_or_else(|| format!("Person {}", identity.cluster_id))
}

/// Every person, in the order of the table. Pictures are handed out in order of importance: the
/// best face of everybody, then samples, then a face beside every track.
pub fn draw(report: &Report<'_>, truth: Option<&Truth<'_>>, album: &mut Album) -> Vec<Person> {
    let identities = &report.tables.identities;
    let longest = identities.iter().map(|i| i.screen_secs).fold(1e-3, f64::max);
    let best: Vec<_> = identities.iter().map(|i| best(report, i, album)).collect();
    let samples: Vec<_> = identities.iter().map(|i| samples(report, i, album)).collect();
    let pictures = best.into_iter().zip(samples);
    let mut left = MAX_LISTED;
    let person = |(identity, (best, samples)): (&Identity, _)| {
        let tracks = tracks(report, Some(identity.cluster_id));
        let rows = rows(report, whole(&tracks, &mut left), truth, album, &name(identity));
        Person {
            anchor: format!("p{}", identity.cluster_id),
            name: name(identity),
            class: palette::class(Some(identity.cluster_id)),
            best,
            time: words::length(identity.screen_secs),
            share: words::percent(identity.screen_secs / report.tables.video.duration_secs.max(1e-3)),
            bar: format!("{:.1}%", identity.screen_secs / longest * 100.0),
            n_tracks: words::counted(tracks.len(), "track", "tracks"),
            first: words::moment(identity.first_t_secs),
            last: words::moment(identity.last_t_secs),
            confidence: format!("{:.2}", mean_confidence(&tracks)),
            truth: truth.and_then(|truth| truth.of_cluster(identity.cluster_id)),
            samples,
            tracks: rows,
        }
    };
    identities.iter().zip(pictures).map(person).collect()
}

/// The tracks that were linked to nobody; `None` when there are none.
pub fn noise(report: &Report<'_>, truth: Option<&Truth<'_>>, album: &mut Album) -> Option<Noise> {
    let tracks = tracks(report, None);
    if tracks.is_empty() {
        return None;
    }
    let ids: Vec<i64> = tracks.iter().map(|(_, track)| track.track_id).collect();
    let faces = report.faces.sample(&ids, MAX_NOISE_SAMPLES);
    let samples = faces.into_iter().filter_map(|face| album.small(face, alt("Noise", face))).collect();
    let listed = whole(&tracks, &mut { MAX_LISTED });
    Some(Noise {
        n_tracks: words::counted(tracks.len(), "track", "tracks"),
        samples,
        tracks: rows(report, listed, truth, album, "Noise"),
    })
}

/// A list, if so many are left to be shown, or nothing of it.
fn whole<'a, T>(list: &'a [T], left: &mut usize) -> &'a [T] {
    let shown = if list.len() <= *left { list } else { &[] };
    *left -= shown.len();
    shown
}

fn best(report: &Report<'_>, identity: &Identity, album: &mut Album) -> Option<Picture> {
    let face = report.faces.at(identity.exemplar_track_id, identity.exemplar_frame_idx)?;
    album.large(face, format!("Best picture of {}", name(identity)))
}

fn samples(report: &Report<'_>, identity: &Identity, album: &mut Album) -> Vec<Picture> {
    let tracks = tracks(report, Some(identity.cluster_id));
    let ids: Vec<i64> = tracks.iter().map(|(_, track)| track.track_id).collect();
    let shown = (identity.exemplar_track_id, identity.exemplar_frame_idx);
    let limit = report.config.samples_per_identity;
    let faces = report.faces.sample(&ids, limit + 1).into_iter();
    let others = faces.filter(|face| (face.track_id, face.frame_idx) != shown).take(limit);
    others.filter_map(|face| album.large(face, alt(&name(identity), face))).collect()
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

fn mean_confidence(tracks: &[(&Cluster, &Track)]) -> f64 {
    let sum: f64 = tracks.iter().map(|(cluster, _)| f64::from(cluster.confidence)).sum();
    sum / tracks.len().max(1) as f64
}

fn rows(
    report: &Report<'_>,
    tracks: &[(&Cluster, &Track)],
    truth: Option<&Truth<'_>>,
    album: &mut Album,
    name: &str,
) -> Vec<TrackRow> {
    tracks.iter().map(|(cluster, track)| row(report, cluster, track, truth, album, name)).collect()
}

fn row(
    report: &Report<'_>,
    cluster: &Cluster,
    track: &Track,
    truth: Option<&Truth<'_>>,
    album: &mut Album,
    name: &str,
) -> TrackRow {
    let face = report.faces.best(track.track_id);
    let video = &report.tables.video;
    let frame = video.duration_secs / video.frame_count.max(1) as f64;
    TrackRow {
        id: track.track_id,
        face: face.and_then(|face| album.small(face, alt(name, face))),
        from: words::moment(track.first_t_secs),
        to: words::moment(track.last_t_secs),
        length: words::length(track.last_t_secs - track.first_t_secs + frame),
        shot: track.shot_idx,
        quality: face.map_or(String::new(), |face| format!("{:.2}", face.quality)),
        confidence: format!("{:.2}", cluster.confidence),
        runner_up: cluster.runner_up_cluster_id.map(|id| runner_up(report, id)),
        margin: cluster.margin.map_or(String::new(), |margin| words::figure(f64::from(margin))),
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
