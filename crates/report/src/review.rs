//! The pairs of faces to check first: those about which the result is least sure and, with labels, those
//! that are wrong.

use std::collections::BTreeMap;

use schema::tables::Identity;
use serde_json::{Value, json};

use crate::error::Result;
use crate::faces::ThumbnailBudget;
use crate::input::LabelledTrack;
use crate::people::Truth;
use crate::{Report, dendrogram, format, palette};

/// Most pairs of each list.
const MAX_PAIRS: usize = 12;
/// Most wrong tracks; of more, those that are longest on screen.
const MAX_WRONG: usize = 60;

/// Lists of pairs, each the most urgent first: branches that meet nearest to where the tree was cut; tracks
/// that almost fit another person as well; tracks in a cluster that mainly shows another person, and the
/// number of all such tracks, shown or not; clusters of one person.
pub(crate) fn draw(
    report: &Report<'_>,
    truth: Option<&Truth<'_>>,
    thumbnails: &mut ThumbnailBudget,
) -> Result<Value> {
    let tables = report.tables;
    let cluster_of = tables.clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let identities = tables.identities.iter().map(|i| (i.cluster_id, i)).collect();
    let mut reviewer = Reviewer { report, truth, thumbnails, cluster_of, identities };
    // Pictures go to the lists in this order.
    let (wrong, n_wrong) = reviewer.wrong();
    let splits = reviewer.splits();
    let merges = report.cut.map_or(Ok(Vec::new()), |cut| reviewer.merges(cut))?;
    let margins = reviewer.margins();
    Ok(json!({
        "merges": merges, "margins": margins, "wrong": wrong, "n_wrong": n_wrong, "splits": splits,
    }))
}

/// Two faces beside each other, and the reason to look at them. `truth` is what the labels say of the pair,
/// `None` when they say nothing, and `wrong` whether they contradict the result.
fn pair(sides: [Value; 2], text: String, truth: Option<String>, wrong: bool) -> Value {
    json!({ "sides": sides, "text": text, "truth": truth, "wrong": wrong })
}

struct Reviewer<'r, 'a> {
    report: &'r Report<'a>,
    truth: Option<&'r Truth<'a>>,
    thumbnails: &'r mut ThumbnailBudget,
    cluster_of: BTreeMap<i64, Option<i64>>,
    identities: BTreeMap<i64, &'a Identity>,
}

impl Reviewer<'_, '_> {
    fn merges(&mut self, cut: f64) -> Result<Vec<Value>> {
        let mut merges = dendrogram::merges(self.report)?;
        merges.sort_by(|a, b| (a.0 - cut).abs().total_cmp(&(b.0 - cut).abs()));
        merges.truncate(MAX_PAIRS);
        let draw = |&(height, [a, b]): &(f64, [i64; 2])| {
            let same = self.cluster(a) == self.cluster(b) && self.cluster(a).is_some();
            let result = if same { "linked" } else { "kept apart" };
            let sides = [self.track(a), self.track(b)];
            let (truth, wrong) = self.verdict(a, b, same);
            let text = format!("{result}; merged at {height:.3}, the cut is at {cut:.3}");
            pair(sides, text, truth, wrong)
        };
        Ok(merges.iter().map(draw).collect())
    }

    /// What the labels say of two tracks that are, or are not, taken for one person.
    fn verdict(&self, a: i64, b: i64, same: bool) -> (Option<String>, bool) {
        let person = |track| self.truth.and_then(|truth| truth.person(track));
        let Some((a, b)) = person(a).zip(person(b)) else { return (None, false) };
        let text = if a == b { format!("both are {a}") } else { format!("{a} and {b}") };
        (Some(text), same != (a == b))
    }

    fn margins(&mut self) -> Vec<Value> {
        let clusters = self.report.tables.clusters.iter();
        let mut doubtful: Vec<_> = clusters
            .filter_map(|c| Some((c.margin?, c.track_id, c.cluster_id?, c.runner_up_cluster_id?)))
            .collect();
        doubtful.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        doubtful.truncate(MAX_PAIRS);
        let draw = |&(margin, track, own, other): &(f32, i64, i64, i64)| {
            let sides = [self.track(track), self.person(other)];
            let near = if margin < 0.0 { "nearer" } else { "almost as near" };
            let text = format!(
                "assigned to {}, but {} is {near}: margin {}",
                self.name(own),
                self.name(other),
                format::figure(f64::from(margin))
            );
            let person = self.truth.and_then(|truth| truth.person(track));
            let wrong = self.truth.is_some_and(|truth| truth.is_wrong(track, own));
            pair(sides, text, person.map(str::to_owned), wrong)
        };
        doubtful.iter().map(draw).collect()
    }

    fn wrong(&mut self) -> (Vec<Value>, usize) {
        let Some(truth) = self.truth else { return (Vec::new(), 0) };
        let people = &truth.labels.people;
        let wrong = |track: &LabelledTrack| {
            let cluster = track.cluster_id?;
            let majority = truth.majority(cluster).filter(|majority| *majority != track.person)?;
            Some((*track, cluster, &people[majority]))
        };
        let mut wrong: Vec<_> = truth.tracks.values().filter_map(wrong).collect();
        let n = wrong.len();
        wrong.sort_by_key(|(track, ..)| std::cmp::Reverse(track.n_boxes));
        wrong.truncate(MAX_WRONG);
        let draw = |&(track, cluster, majority): &(LabelledTrack, i64, &String)| {
            let sides = [self.track(track.track_id), self.person(cluster)];
            let boxes = format::counted(track.n_boxes, "labelled box", "labelled boxes");
            let text = format!("is in {}, which mainly shows {majority}; {boxes}", self.name(cluster));
            pair(sides, text, Some(people[track.person].clone()), true)
        };
        (wrong.iter().map(draw).collect(), n)
    }

    fn splits(&mut self) -> Vec<Value> {
        let Some(truth) = self.truth else { return Vec::new() };
        let mut first: BTreeMap<usize, i64> = BTreeMap::new();
        let mut splits = Vec::new();
        for cluster in truth.labels.boxes.keys().copied().flatten() {
            let Some(person) = truth.majority(cluster) else { continue };
            let earlier = *first.entry(person).or_insert(cluster);
            if earlier != cluster {
                let both = format!("both are {}", truth.labels.people[person]);
                let sides = [self.person(earlier), self.person(cluster)];
                splits.push(pair(sides, "are two clusters of one person".into(), Some(both), true));
            }
        }
        splits
    }

    fn cluster(&self, track_id: i64) -> Option<i64> {
        self.cluster_of.get(&track_id).copied().flatten()
    }

    fn name(&self, cluster_id: i64) -> String {
        self.identities.get(&cluster_id).map_or_else(|| Identity::numbered(cluster_id), |i| i.label())
    }

    fn track(&mut self, track_id: i64) -> Value {
        let cluster = self.cluster(track_id);
        let who = cluster.map_or("noise".into(), |id| self.name(id));
        let face = self.report.faces.best(track_id);
        json!({
            "face": face.and_then(|face| self.thumbnails.picture(&face.large, format!("Track {track_id}, {who}"))),
            "name": format!("Track {track_id}"),
            "class": palette::class(cluster),
            "anchor": format!("t{track_id}"),
        })
    }

    fn person(&mut self, cluster_id: i64) -> Value {
        let name = self.name(cluster_id);
        let exemplar = self.identities.get(&cluster_id);
        let face = exemplar.and_then(|i| self.report.faces.at(i.exemplar_track_id, i.exemplar_frame_idx));
        json!({
            "face": face.and_then(|face| self.thumbnails.picture(&face.large, format!("Best picture of {name}"))),
            "name": name,
            "class": palette::class(Some(cluster_id)),
            "anchor": format!("p{cluster_id}"),
        })
    }
}
