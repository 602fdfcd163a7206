//! Names for the people of a run, from what another tool says of the same video.
//!
//! * Labels with boxes name a person if more than half of the named faces that meet the person's boxes have the name.
//!   A face meets the box of the same frame with the largest IoU, if the IoU is at least 0.5.
//! * Times without boxes name a person if the appearances of the person, in which short gaps are closed as other tools
//!   close them, have more than half of the time of the name, and if the name has more than half of the person's time on
//!   screen; and if other people and other names fit clearly less well.
//!
//! For example, if `Ida` is said to be in the video from 0 s to 10 s, Person 1 is on screen from 1 s to 12 s, and
//! Person 2 from 8 s to 9 s, then `Ida` is Person 1: they share 9 of 10 and of 11 seconds.

use std::collections::{BTreeMap, BTreeSet};

use ::run::edits::{self, Edit, EditOp, Faces, LEAST_IOU};
use geometry::BBox;
use schema::tables::Detection;

use crate::labels::{Labels, Time};
use crate::run::Run;

/// Largest share of the fit of a name and a person that the name may have with another person, and the person with another
/// name. Services look at a few frames a second and close gaps as they like, so that two people who are nearly always
/// together fit nearly equally well.
const CLEARLY_LESS: f64 = 0.8;

/// Corrections that name people.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Names {
    /// One correction of the kind `name` for each person, by cluster.
    pub edits: Vec<Edit>,
    /// Warnings about names that were left out.
    pub warnings: Vec<String>,
}

/// Returns the names that `labels` give to the people of a run. `author` is the author of the corrections.
pub fn names(labels: &Labels, run: &Run, faces: &Faces, author: &str) -> Names {
    let (mut found, mut warnings) = by_boxes(labels, run);
    for (cluster, name) in by_times(labels, run) {
        found.entry(cluster).or_insert((name, "by time"));
    }
    let given: BTreeSet<&str> = found.values().map(|(name, _)| name.as_str()).collect();
    let mut all = identities(labels);
    let is_number = |name: &&&str| edits::is_number(name.trim()) && !labels.made_up.contains(**name);
    let n_numbers = all.iter().filter(is_number).count();
    if n_numbers > 0 {
        warnings.push(format!("people who have a number in place of a name, and get none: {n_numbers}"));
    }
    all.retain(|name| is_name(name, labels));
    let lost: Vec<&str> = all.into_iter().filter(|name| !given.contains(name)).collect();
    if let Some(first) = lost.first() {
        warnings.push(format!("names that fit no person of the run: {}, such as `{first}`", lost.len()));
    }
    let mut tracks: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for track in &run.tracks {
        if let Some(cluster) = run.cluster_of(track.track_id) {
            tracks.entry(cluster).or_default().push(track.track_id);
        }
    }
    let (mut named, mut others) = (Vec::new(), 0);
    for (cluster, (given, how)) in found {
        let name = match edits::name(&given) {
            Ok(Some(name)) => name,
            Ok(None) => continue,
            Err(reason) => {
                warnings.push(format!("the name `{}` is left out: {reason}", given.escape_debug()));
                continue;
            }
        };
        let person = run.people.iter().find(|person| person.cluster_id == cluster);
        match person.and_then(|person| person.name.as_ref()) {
            Some(before) if *before == name => continue,
            Some(_) => {
                others += 1;
                continue;
            }
            None => {}
        }
        let marks = faces.marks(tracks.remove(&cluster).unwrap_or_default());
        let edit = Edit::new(EditOp::Name, author, vec![marks]);
        named.push(Edit { name: Some(name), reason: Some(format!("matched {how}")), ..edit });
    }
    if others > 0 {
        warnings.push(format!("people of the run who have another name, which they keep: {others}"));
    }
    Names { edits: named, warnings }
}

/// Whether an identity is a name. A number in place of a name is none, and neither is `Person 3` or `Person_3`, by which
/// exports name a person without a name.
fn is_name(name: &str, labels: &Labels) -> bool {
    let is_number = edits::is_number(name.trim());
    let number = name.strip_prefix("Person").and_then(|rest| rest.strip_prefix([' ', '_']));
    let number = number.and_then(|number| number.parse::<i64>().ok());
    !is_number && number.is_none() && !labels.made_up.contains(name)
}

/// Every identity of a person.
fn identities(labels: &Labels) -> BTreeSet<&str> {
    let of_faces = labels.lines.iter().filter_map(|line| line.face.as_ref()?.identity.as_deref());
    let of_times = labels.times.iter().filter_map(|time| time.name.as_deref());
    of_faces.chain(of_times).collect()
}

/// A name by cluster, with how it was found.
type Found = BTreeMap<i64, (String, &'static str)>;

fn by_boxes(labels: &Labels, run: &Run) -> (Found, Vec<String>) {
    let mut votes: BTreeMap<i64, BTreeMap<&str, usize>> = BTreeMap::new();
    let (mut named, mut lost) = (0, 0);
    for line in &labels.lines {
        let Some(face) = &line.face else { continue };
        let Some(name) = face.identity.as_deref().filter(|name| is_name(name, labels)) else { continue };
        named += 1;
        match meeting(face.bbox, line.frame, run).and_then(|row| run.cluster_of(row.track_id?)) {
            Some(cluster) => *votes.entry(cluster).or_default().entry(name).or_default() += 1,
            None => lost += 1,
        }
    }
    let (mut found, mut several) = (Found::new(), 0);
    for (cluster, votes) in votes {
        let total: usize = votes.values().sum();
        match votes.iter().find(|(_, count)| 2 * **count > total) {
            Some((name, _)) => _ = found.insert(cluster, ((*name).to_owned(), "by boxes")),
            None => several += 1,
        }
    }
    let mut warnings = Vec::new();
    if lost > 0 {
        warnings.push(format!("named faces that meet no person of the run: {lost} of {named}"));
    }
    if several > 0 {
        warnings
            .push(format!("people whose faces have several names and none for more than half: {several}"));
    }
    (found, warnings)
}

/// The box of the run that a face meets.
fn meeting([x, y, w, h]: [f64; 4], frame: i64, run: &Run) -> Option<&Detection> {
    let own = BBox::from_corner(x, y, w, h);
    let from = run.boxes.partition_point(|row| row.frame_idx < frame);
    let rows = run.boxes[from..].iter().take_while(|row| row.frame_idx == frame);
    let iou = |row: &Detection| {
        let [x_min, y_min, x_max, y_max] = [row.x_min, row.y_min, row.x_max, row.y_max].map(f64::from);
        BBox { x_min, y_min, x_max, y_max }.iou(&own)
    };
    let best = rows.map(|row| (iou(row), row)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= f64::from(LEAST_IOU)).then_some(best.1)
}

/// Disjoint spans of time in order, seconds.
type Spans = Vec<(f64, f64)>;

fn by_times(labels: &Labels, run: &Run) -> BTreeMap<i64, String> {
    let mut said: BTreeMap<&str, Spans> = BTreeMap::new();
    for Time { name, start_secs, end_secs } in &labels.times {
        if let Some(name) = name.as_deref().filter(|name| is_name(name, labels)) {
            said.entry(name).or_default().push((*start_secs, *end_secs));
        }
    }
    let said: Vec<(&str, Spans)> = said.into_iter().map(|(name, spans)| (name, union(spans))).collect();
    let mut pairs = Vec::new();
    for (cluster, spans) in run.presence() {
        let seen = union(spans.into_iter().map(|span| run.secs(span)).collect());
        let own = run.appearances.iter().filter(|row| row.cluster_id == cluster);
        let appearances = union(own.map(|row| run.appearance_secs(row)).collect());
        for (name, said) in &said {
            let common = overlap(said, &appearances);
            if 2.0 * common > total(said) && 2.0 * overlap(said, &seen) > total(&seen) {
                let fit = common / (total(said) + total(&appearances) - common);
                pairs.push(Pair { name, cluster, fit });
            }
        }
    }
    let mut by_name: BTreeMap<&str, Best<i64>> = BTreeMap::new();
    let mut by_cluster: BTreeMap<i64, Best<&str>> = BTreeMap::new();
    for Pair { name, cluster, fit } in &pairs {
        by_name.entry(name).or_default().see(*cluster, *fit);
        by_cluster.entry(*cluster).or_default().see(name, *fit);
    }
    let is_only = |pair: &&Pair<'_>| {
        let other =
            by_name[pair.name].without(&pair.cluster).max(by_cluster[&pair.cluster].without(&pair.name));
        other <= CLEARLY_LESS * pair.fit
    };
    pairs.iter().filter(is_only).map(|pair| (pair.cluster, pair.name.to_owned())).collect()
}

/// The two best fits of a name, by person, or of a person, by name.
#[derive(Debug, Clone)]
struct Best<K> {
    first: Option<(K, f64)>,
    second: f64,
}

impl<K> Default for Best<K> {
    fn default() -> Self {
        Self { first: None, second: 0.0 }
    }
}

impl<K: PartialEq> Best<K> {
    fn see(&mut self, key: K, fit: f64) {
        match &self.first {
            Some((_, best)) if *best >= fit => self.second = self.second.max(fit),
            before => {
                self.second = before.as_ref().map_or(0.0, |(_, best)| *best);
                self.first = Some((key, fit));
            }
        }
    }

    /// The best fit with another one than `key`; 0 where there is none.
    fn without(&self, key: &K) -> f64 {
        self.first.as_ref().map_or(0.0, |(first, fit)| if first == key { self.second } else { *fit })
    }
}

/// A name that may be the name of a person.
struct Pair<'a> {
    name: &'a str,
    cluster: i64,
    /// Time in common, as a share of the time of either, 0 to 1.
    fit: f64,
}

fn union(mut spans: Spans) -> Spans {
    spans.retain(|(start, end)| end > start);
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut union: Spans = Vec::new();
    for (start, end) in spans {
        match union.last_mut() {
            Some(before) if start <= before.1 => before.1 = before.1.max(end),
            _ => union.push((start, end)),
        }
    }
    union
}

fn total(spans: &[(f64, f64)]) -> f64 {
    spans.iter().map(|(start, end)| end - start).sum()
}

/// Time that both have in common, seconds.
fn overlap(a: &[(f64, f64)], b: &[(f64, f64)]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0.0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        common += (x.1.min(y.1) - x.0.max(y.0)).max(0.0);
        if x.1 < y.1 { i += 1 } else { j += 1 }
    }
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_joined_and_compared() {
        let a = union(vec![(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (4.0, 4.0)]);
        assert_eq!(a, [(0.0, 3.0), (5.0, 6.0)]);
        assert_eq!(total(&a), 4.0);
        let b = vec![(2.0, 5.5), (5.75, 9.0)];
        assert_eq!(overlap(&a, &b), 1.75);
        assert_eq!(overlap(&b, &a), 1.75);
        assert_eq!(overlap(&a, &[]), 0.0);
    }

    #[test]
    fn the_best_other_fit_is_known_of_each() {
        let mut best = Best::default();
        [(1, 0.5), (2, 0.9), (3, 0.7), (4, 0.9)].iter().for_each(|(key, fit)| best.see(*key, *fit));
        assert_eq!((best.without(&2), best.without(&4), best.without(&9)), (0.9, 0.9, 0.9));
        assert_eq!(Best::<i64>::default().without(&1), 0.0);
    }
}
