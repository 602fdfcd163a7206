//! Every person with the best face, samples and tracks, and the tracks of no person.

use std::collections::BTreeMap;

use schema::tables::{Cluster, Doubt, DoubtKind, Identity, Track};
use serde_json::{Value, json};

use crate::faces::{Face, ThumbnailBudget};
use crate::input::{Comparison, LabelledTrack};
use crate::moments::Moments;
use crate::{Report, confusion, format};

/// Most sample pictures of the tracks of no person.
const MAX_NOISE_SAMPLES: usize = 48;
/// Most tracks that are listed, of people and of no person each: those of some hours of film. People longest on
/// screen come first; a list is whole or absent.
pub(crate) const MAX_LISTED: usize = 10_000;
/// Smallest probability of an error that is shown, 0 to 1.
pub(crate) const LEAST_SHOWN: f64 = 0.01;
/// Most doubts of a person.
const MAX_DOUBTS: usize = 3;
/// End of a sentence about a face that never moves.
const STILL: &str = ", as in a poster, a photo or a still on a screen.";

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
            _ => (false_boxes > 0).then(|| format!("no labelled person, {}", share(false_boxes))),
        }
    }
}

/// Pictures of the people: those that come first on the page are chosen first, because the page has room for so many
/// only.
#[derive(Debug)]
pub(crate) struct Pictures {
    /// The clearest face of each person.
    portraits: BTreeMap<i64, Value>,
    samples: BTreeMap<i64, Vec<Value>>,
}

impl Pictures {
    /// The clearest faces of these people.
    pub(crate) fn portraits(
        report: &Report<'_>,
        people: &[&Identity],
        thumbnails: &mut ThumbnailBudget,
    ) -> Self {
        let mut pictures = Self { portraits: BTreeMap::new(), samples: BTreeMap::new() };
        pictures.add_portraits(report, people, thumbnails);
        pictures
    }

    /// Adds the clearest faces of further people.
    pub(crate) fn add_portraits(
        &mut self,
        report: &Report<'_>,
        people: &[&Identity],
        thumbnails: &mut ThumbnailBudget,
    ) {
        for identity in people {
            let face = report.faces.portrait(identity.cluster_id);
            let alt = format!("Best picture of {}", identity.label());
            let picture = face.and_then(|face| thumbnails.picture(&face.large, alt));
            picture.into_iter().for_each(|picture| {
                self.portraits.insert(identity.cluster_id, picture);
            });
        }
    }

    /// Adds samples of people: one of each, then the second one of each, and so on, so that no person takes the room of
    /// the others.
    pub(crate) fn add_samples(
        &mut self,
        report: &Report<'_>,
        people: &[&Identity],
        thumbnails: &mut ThumbnailBudget,
    ) {
        let limit = report.samples_per_identity;
        let faces = |identity: &&Identity| {
            let best = report.faces.portrait(identity.cluster_id).map(|face| (face.track_id, face.frame_idx));
            let tracks = report.tables.tracks_of(Some(identity.cluster_id));
            let faces = sample(report, &tracks, limit + 1).into_iter();
            let others = faces.filter(|face| Some((face.track_id, face.frame_idx)) != best).take(limit);
            others.map(|face| (face, None)).collect::<Vec<(&Face, Option<Value>)>>()
        };
        let mut all: Vec<_> = people.iter().map(faces).collect();
        for round in 0..limit {
            for (identity, faces) in people.iter().zip(&mut all) {
                let n = faces.len();
                // From the middle of each half, of each quarter, and so on, few pictures still span the whole time.
                if let Some((face, picture)) = faces.get_mut(spread(round, n)) {
                    *picture = thumbnails.picture(&face.large, alt(&identity.label(), face));
                }
            }
        }
        for (identity, faces) in people.iter().zip(all) {
            let shown = faces.into_iter().filter_map(|(_, picture)| picture).collect();
            self.samples.insert(identity.cluster_id, shown);
        }
    }
}

/// The place of the sample that is chosen in a round, of `n` in order of time; `n` when there is none left.
fn spread(round: usize, n: usize) -> usize {
    // Every place once, for an odd step near the golden section of `n` that shares no factor with `n`.
    let shares_factor = |step: usize| (2..=step).any(|f| step.is_multiple_of(f) && n.is_multiple_of(f));
    let step = (n * 5 / 8..=n.max(1)).find(|step| *step > 0 && !shares_factor(*step)).unwrap_or(1);
    if round < n { round * step % n } else { n }
}

/// Doubts about the result, by track and by person.
#[derive(Debug)]
pub(crate) struct Doubts<'a> {
    by_track: BTreeMap<i64, Vec<&'a Doubt>>,
    by_person: BTreeMap<i64, Vec<&'a Doubt>>,
}

impl<'a> Doubts<'a> {
    /// Indexes the doubts that are shown.
    pub(crate) fn new(doubts: &'a [Doubt]) -> Self {
        let (mut by_track, mut by_person) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for doubt in doubts.iter().filter(|doubt| doubt.probability >= LEAST_SHOWN) {
            doubt.track_id.iter().for_each(|track| by_track.entry(*track).or_default().push(doubt));
            if doubt.kind != DoubtKind::Unsorted {
                let people = doubt.cluster_id.into_iter().chain(doubt.other_cluster_id);
                people.for_each(|person| by_person.entry(person).or_default().push(doubt));
            }
        }
        Self { by_track, by_person }
    }

    /// What a track may be instead, in plain words: "another person (12 %)"; empty without a doubt.
    fn of_track(&self, report: &Report<'_>, track_id: i64) -> String {
        let text = |doubt: &&Doubt| {
            let what = match doubt.kind {
                DoubtKind::NotAFace => "not a face".into(),
                DoubtKind::Unsorted => report.tables.name(doubt.cluster_id),
                DoubtKind::Stranger | DoubtKind::Split => "another person".into(),
            };
            format!("{what} ({})", format::percent(doubt.probability))
        };
        let doubts = self.by_track.get(&track_id).into_iter().flatten();
        doubts.map(text).collect::<Vec<_>>().join(", ")
    }

    /// What may be wrong about a person, in plain words, and the number of further doubts.
    fn of_person(&self, report: &Report<'_>, cluster_id: i64) -> (Vec<String>, usize) {
        let text = |doubt: &&Doubt| {
            let percent = format::percent(doubt.probability);
            let track = doubt.track_id.unwrap_or_default();
            match doubt.kind {
                DoubtKind::Split => {
                    let other =
                        doubt.other_cluster_id.filter(|other| *other != cluster_id).or(doubt.cluster_id);
                    format!("{percent} likely to be the same person as {}", report.tables.name(other))
                }
                DoubtKind::NotAFace => format!("track {track} is {percent} likely not to be a face"),
                DoubtKind::Stranger | DoubtKind::Unsorted => {
                    format!("track {track} is {percent} likely to be another person")
                }
            }
        };
        let doubts = self.by_person.get(&cluster_id).map_or(&[][..], Vec::as_slice);
        let shown = doubts.len().min(MAX_DOUBTS);
        (doubts[..shown].iter().map(text).collect(), doubts.len() - shown)
    }
}

/// The people in the order of their time on screen, the main people first.
pub(crate) fn order<'a>(report: &Report<'a>) -> (Vec<&'a Identity>, Vec<&'a Identity>) {
    let main = report.tables.main();
    let mut people: Vec<_> = report.tables.identities.iter().collect();
    people.sort_by(|a, b| b.screen_secs.total_cmp(&a.screen_secs).then(a.cluster_id.cmp(&b.cluster_id)));
    people.into_iter().partition(|identity| main.contains(&identity.cluster_id))
}

/// Every person of `people`, which is in the order of the page. `left` is the number of tracks that may still be listed.
pub(crate) fn draw(
    report: &Report<'_>,
    people: &[&Identity],
    about: &About<'_>,
    thumbnails: &mut ThumbnailBudget,
    left: &mut usize,
) -> Vec<Value> {
    let tables = report.tables;
    let longest = tables.identities.iter().map(|i| i.screen_secs).fold(1e-3, f64::max);
    let colours = tables.colours();
    let person = |identity: &&Identity| {
        let id = identity.cluster_id;
        let tracks = tables.tracks_of(Some(id));
        let rows = rows(report, whole(&tracks, left), about, thumbnails, &identity.label());
        let (doubts, more) = about.doubts.of_person(report, id);
        json!({
            "anchor": format!("p{id}"),
            "name": identity.label(),
            "class": colours(Some(id)).0,
            "best": about.pictures.portraits.get(&id),
            "time": format::length(identity.screen_secs),
            "share": format::percent(identity.screen_secs / tables.video.duration_secs.max(1e-3)),
            // Relative to the person longest on screen.
            "bar": format!("{:.1}%", identity.screen_secs / longest * 100.0),
            "appearances": format::counted(tables.appearances(Some(id)).len(), "appearance", "appearances"),
            "n_tracks": format::counted(tracks.len(), "track", "tracks"),
            "first": about.moments.at(identity.first_t_secs),
            "last": about.moments.at(identity.last_t_secs),
            "still": still(&tracks),
            "doubts": doubts,
            "more_doubts": more,
            "truth": about.truth.and_then(|truth| truth.of_cluster(id)),
            "samples": about.pictures.samples.get(&id),
            "tracks": rows,
        })
    };
    people.iter().map(person).collect()
}

/// What is said about a person whose face never moves in some tracks; empty without such tracks.
fn still(tracks: &[(&Cluster, &Track)]) -> String {
    let n = tracks.iter().filter(|(_, track)| track.is_still == Some(true)).count();
    match n {
        0 => String::new(),
        n if n == tracks.len() => format!("The face never moves{STILL}"),
        n => format!(
            "In {} of {} the face never moves{STILL}",
            format::count(n),
            format::counted(tracks.len(), "track", "tracks")
        ),
    }
}

/// What is shown about people and tracks besides the tables.
#[derive(Debug)]
pub(crate) struct About<'a> {
    pub(crate) truth: Option<&'a Truth<'a>>,
    pub(crate) doubts: Doubts<'a>,
    pub(crate) pictures: Pictures,
    pub(crate) moments: &'a Moments,
}

/// Draws the tracks that are linked to no person; `None` when there are none.
pub(crate) fn noise(
    report: &Report<'_>,
    about: &About<'_>,
    thumbnails: &mut ThumbnailBudget,
) -> Option<Value> {
    let tracks = report.tables.tracks_of(None);
    if tracks.is_empty() {
        return None;
    }
    let faces = sample(report, &tracks, MAX_NOISE_SAMPLES).into_iter();
    let samples: Vec<_> =
        faces.filter_map(|face| thumbnails.picture(&face.small, alt("Not sorted", face))).collect();
    let listed = whole(&tracks, &mut { MAX_LISTED });
    Some(json!({
        "n_tracks": format::counted(tracks.len(), "track", "tracks"),
        "samples": samples,
        "tracks": rows(report, listed, about, thumbnails, "Not sorted"),
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

/// Rows of a table of tracks; `name` is that of their person.
fn rows(
    report: &Report<'_>,
    tracks: &[(&Cluster, &Track)],
    about: &About<'_>,
    thumbnails: &mut ThumbnailBudget,
    name: &str,
) -> Vec<Value> {
    let frame = report.tables.frame_secs();
    let colours = report.tables.colours();
    let runner_up = |cluster_id: i64| {
        json!({
            "name": report.tables.name(Some(cluster_id)),
            "class": colours(Some(cluster_id)).0,
            "anchor": format!("p{cluster_id}"),
        })
    };
    let row = |(cluster, track): &(&Cluster, &Track)| {
        let face = report.faces.best(track.track_id);
        let label = about.truth.and_then(|truth| {
            let is_wrong = cluster.cluster_id.is_some_and(|id| truth.is_wrong(track.track_id, id));
            Some(json!({ "name": truth.person(track.track_id)?, "wrong": is_wrong }))
        });
        json!({
            "id": track.track_id,
            "face": face.and_then(|face| thumbnails.picture(&face.small, alt(name, face))),
            "from": about.moments.at(track.first_t_secs),
            "length": format::length(track.last_t_secs - track.first_t_secs + frame),
            "shot": track.shot_idx,
            "quality": face.map_or(String::new(), |face| format!("{:.2}", face.quality)),
            "is_still": track.is_still == Some(true),
            "doubt": about.doubts.of_track(report, track.track_id),
            "runner_up": cluster.runner_up_cluster_id.map(runner_up),
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

    #[test]
    fn samples_are_chosen_all_over_the_time_and_each_once() {
        for n in 1..40 {
            let mut places: Vec<_> = (0..n).map(|round| spread(round, n)).collect();
            places.sort_unstable();
            assert_eq!(places, (0..n).collect::<Vec<_>>(), "{n}");
        }
        assert_eq!([0, 1, 2].map(|round| spread(round, 12)), [0, 7, 2]);
        assert_eq!((spread(3, 3), spread(0, 0)), (3, 0));
    }
}
