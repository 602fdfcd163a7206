//! Comparison of two runs of one video: which person of one run is which person of the other, and which faces are with
//! another person. Neither run is the truth.
//!
//! A face of run A and a face of run B are the same face if their boxes are matched, one-to-one in each frame, with an IoU
//! of at least [`MIN_IOU`]. The people of both runs are matched one-to-one so that the time of the faces that they share
//! is largest (Kuhn–Munkres).
//!
//! *Example.* Person 1 of A has the faces of ten seconds, of which Person 2 of B has eight and Person 3 of B has two. Person
//! 1 of A is Person 2 of B, and two seconds moved to Person 3 of B, who is only in B.

use std::collections::{BTreeMap, BTreeSet};

use formats::run::Run;
use geometry::{BBox, FrameTimes};
use report::input::TrackBox;
use serde::Serialize;

use crate::matching::{Group, assign_boxes, largest_pairs};
use crate::metrics::{Contingency, Item, Prf};

/// Smallest IoU of two boxes of one face.
pub const MIN_IOU: f64 = 0.5;

/// A person of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Person {
    /// Key of the cluster.
    pub cluster_id: i64,
    /// Name of the person, or the number for users, as in "Person 3".
    pub person: String,
    /// Time on screen, seconds.
    pub screen_secs: f64,
}

/// The people and the boxes of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Side {
    /// Every person, by `cluster_id`.
    pub people: Vec<Person>,
    /// Every box of a track, by frame.
    pub boxes: Vec<TrackBox>,
}

impl From<&Run> for Side {
    fn from(run: &Run) -> Self {
        let person = |row: &schema::tables::Identity| Person {
            cluster_id: row.cluster_id,
            person: row.label(),
            screen_secs: row.screen_secs,
        };
        let boxes = run.boxes.iter().filter_map(|row| {
            let track_id = row.track_id?;
            Some(TrackBox {
                frame_idx: row.frame_idx,
                bbox: BBox { x_min: row.x_min, y_min: row.y_min, x_max: row.x_max, y_max: row.y_max }.into(),
                track_id,
                cluster_id: run.cluster_of(track_id),
            })
        });
        Self { people: run.people.iter().map(person).collect(), boxes: boxes.collect() }
    }
}

impl Side {
    fn person(&self, cluster_id: i64) -> Person {
        let known = self.people.iter().find(|person| person.cluster_id == cluster_id);
        // A table that does not list a cluster breaks the contract.
        known.cloned().unwrap_or_else(|| Person {
            cluster_id,
            person: schema::tables::Identity::numbered(cluster_id),
            screen_secs: 0.0,
        })
    }
}

/// Two runs side by side, A and B.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Number of boxes in A and in B.
    pub boxes: [usize; 2],
    /// Number of boxes of A that have the same face in B.
    pub shared_boxes: usize,
    /// B³ of the people of B with those of A as the truth, over the shared boxes; with B as the truth, precision and
    /// recall change places. `None` without shared boxes.
    pub b_cubed: Option<Prf>,
    /// People of A with the same person of B, by falling shared time.
    pub same: Vec<Same>,
    /// Faces that are with another person in B than the person of A is, by falling time.
    pub moved: Vec<Moved>,
    /// People of A who are no person of B, by `cluster_id`.
    pub only_in_a: Vec<Person>,
    /// People of B who are no person of A, by `cluster_id`.
    pub only_in_b: Vec<Person>,
}

/// A person of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Same {
    /// The person in A.
    pub a: Person,
    /// The person in B.
    pub b: Person,
    /// Time of the frames in which both have the same face, seconds.
    pub secs: f64,
}

/// Faces of a person of A that another person of B has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Moved {
    /// The person in A; `None` for faces without a person in A.
    pub a: Option<Person>,
    /// The person in B; `None` for faces without a person in B.
    pub b: Option<Person>,
    /// Time of the frames with such faces, seconds.
    pub secs: f64,
    /// Number of tracks of A with such faces.
    pub tracks: usize,
}

/// Compares two runs of one video, whose frames have these times.
pub fn compare(times: &FrameTimes, a: &Side, b: &Side) -> Comparison {
    #[derive(Default)]
    struct Cell {
        secs: f64,
        tracks: BTreeSet<i64>,
    }
    let mut cells: BTreeMap<(Option<i64>, Option<i64>), Cell> = BTreeMap::new();
    let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
    let mut items = Vec::new();
    let by_frame = |side: &Side| {
        let mut frames: BTreeMap<i64, Vec<TrackBox>> = BTreeMap::new();
        side.boxes.iter().for_each(|row| frames.entry(row.frame_idx).or_default().push(*row));
        frames
    };
    let (frames, others) = (by_frame(a), by_frame(b));
    let end = times.end_secs();
    for (frame_idx, boxes) in frames {
        let Some(other) = others.get(&frame_idx) else { continue };
        let (from, until) = times.on_screen((frame_idx, frame_idx), end);
        let [left, right] = [&boxes, other].map(|boxes| boxes.iter().map(|row| row.bbox).collect::<Vec<_>>());
        // A frame counts once, also where two boxes of it are of one person.
        let mut counted = BTreeSet::new();
        for (at, other_at) in assign_boxes(&left, &right, MIN_IOU) {
            let (face, other) = (boxes[at], other[other_at]);
            let key = (face.cluster_id, other.cluster_id);
            let cell = cells.entry(key).or_default();
            cell.tracks.insert(face.track_id);
            if counted.insert(key) {
                cell.secs += until - from;
            }
            let next = groups.len();
            let person = *groups.entry(Group::of(face.track_id, face.cluster_id)).or_insert(next);
            items.push(Item { group: Group::of(other.track_id, other.cluster_id), person, weight: 1.0 });
        }
    }
    let micros = |secs: f64| (secs * 1e6).round() as usize;
    let weights =
        cells.iter().filter_map(|((a, b), cell)| Some(((*a.as_ref()?, *b.as_ref()?), micros(cell.secs))));
    let matched: BTreeMap<i64, i64> = largest_pairs(&weights.collect()).into_iter().collect();
    let (mut same, mut moved) = (Vec::new(), Vec::new());
    for ((id, other_id), cell) in cells {
        let secs = cell.secs;
        match (id, other_id) {
            (None, None) => {}
            (Some(id), Some(other_id)) if matched.get(&id) == Some(&other_id) => {
                same.push(Same { a: a.person(id), b: b.person(other_id), secs });
            }
            _ => moved.push(Moved {
                a: id.map(|id| a.person(id)),
                b: other_id.map(|id| b.person(id)),
                secs,
                tracks: cell.tracks.len(),
            }),
        }
    }
    same.sort_by(|x, y| y.secs.total_cmp(&x.secs));
    moved.sort_by(|x, y| y.secs.total_cmp(&x.secs));
    let found: BTreeSet<i64> = matched.values().copied().collect();
    Comparison {
        boxes: [a.boxes.len(), b.boxes.len()],
        shared_boxes: items.len(),
        b_cubed: (!items.is_empty()).then(|| Contingency::new(&items).b_cubed()),
        same,
        moved,
        only_in_a: a.people.iter().filter(|p| !matched.contains_key(&p.cluster_id)).cloned().collect(),
        only_in_b: b.people.iter().filter(|p| !found.contains(&p.cluster_id)).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run with these tracks: first and last frame, place in the frame, and cluster. There are ten frames a second.
    fn side(tracks: &[(i64, i64, f64, Option<i64>)]) -> Side {
        let mut boxes = Vec::new();
        for (track_id, (first, last, x, cluster_id)) in (0..).zip(tracks) {
            for frame_idx in *first..=*last {
                let bbox = BBox::from_corner(*x, 0.0, 10.0, 10.0);
                boxes.push(TrackBox { frame_idx, bbox, track_id, cluster_id: *cluster_id });
            }
        }
        boxes.sort_by_key(|row| row.frame_idx);
        let ids: BTreeSet<i64> = tracks.iter().filter_map(|track| track.3).collect();
        let person = |cluster_id: i64| Person {
            cluster_id,
            person: schema::tables::Identity::numbered(cluster_id),
            screen_secs: 1.0,
        };
        Side { people: ids.into_iter().map(person).collect(), boxes }
    }

    fn times() -> FrameTimes {
        (0..100).map(|i| (i, i as f64 * 0.1)).collect()
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn a_run_is_itself() {
        let run = side(&[(0, 49, 0.0, Some(0)), (20, 39, 50.0, Some(1)), (60, 69, 0.0, None)]);
        let found = compare(&times(), &run, &run);
        let ids: Vec<_> = found.same.iter().map(|same| (same.a.cluster_id, same.b.cluster_id)).collect();
        assert_eq!((ids, found.moved.len(), found.shared_boxes), (vec![(0, 0), (1, 1)], 0, 80));
        assert_eq!(found.b_cubed, Some(Prf { precision: 1.0, recall: 1.0, f1: 1.0 }));
        assert!(found.only_in_a.is_empty() && found.only_in_b.is_empty());
        near(found.same[0].secs, 5.0);
    }

    /// Person 0 of A is split: eight of ten seconds are person 1 of B, and two are person 2, who is new. A face has no
    /// person in B, one is not found in B, and one box is elsewhere.
    #[test]
    fn what_differs_is_listed() {
        let a = side(&[
            (0, 79, 0.0, Some(0)),
            (80, 99, 0.0, Some(0)),
            (0, 9, 50.0, Some(1)),
            (20, 29, 50.0, Some(2)),
            (40, 49, 50.0, None),
        ]);
        let b = side(&[
            (0, 79, 1.0, Some(1)),
            (80, 99, 1.0, Some(2)),
            (0, 9, 50.0, None),
            (20, 29, 90.0, Some(0)),
            (40, 49, 50.0, Some(2)),
        ]);
        let found = compare(&times(), &a, &b);
        let ids: Vec<_> = found.same.iter().map(|same| (same.a.cluster_id, same.b.cluster_id)).collect();
        assert_eq!(ids, [(0, 1)]);
        near(found.same[0].secs, 8.0);
        let moved: Vec<_> = found
            .moved
            .iter()
            .map(|moved| {
                let id = |person: &Option<Person>| person.as_ref().map(|person| person.cluster_id);
                (id(&moved.a), id(&moved.b), (moved.secs * 10.0).round(), moved.tracks)
            })
            .collect();
        assert_eq!(moved, [(Some(0), Some(2), 20.0, 1), (None, Some(2), 10.0, 1), (Some(1), None, 10.0, 1)]);
        let only = |people: &[Person]| people.iter().map(|person| person.cluster_id).collect::<Vec<_>>();
        assert_eq!((only(&found.only_in_a), only(&found.only_in_b)), (vec![1, 2], vec![0, 2]));
        assert_eq!((found.boxes, found.shared_boxes), ([130, 130], 120));
        // Boxes of A's person 0: 80 in a group of 80, 20 in a group of 30 with ten others.
        let b3 = found.b_cubed.unwrap_or(Prf { precision: 0.0, recall: 0.0, f1: 0.0 });
        near(b3.precision, (80.0 + 20.0 * 2.0 / 3.0 + 10.0 / 3.0 + 10.0) / 120.0);
        near(b3.recall, (80.0 * 0.8 + 20.0 * 0.2 + 20.0) / 120.0);
        let back = compare(&times(), &b, &a).b_cubed.unwrap_or(b3);
        near(back.precision, b3.recall);
        near(back.recall, b3.precision);
    }

    /// The largest sum, not the largest pair: 5 + 4 is more than 6.
    #[test]
    fn people_are_matched_by_the_largest_sum() {
        let a = side(&[(0, 59, 0.0, Some(0)), (0, 49, 50.0, Some(0)), (60, 99, 50.0, Some(1))]);
        let b = side(&[(0, 49, 50.0, Some(1)), (0, 59, 0.0, Some(0)), (60, 99, 50.0, Some(0))]);
        let ids: Vec<_> =
            compare(&times(), &a, &b).same.iter().map(|s| (s.a.cluster_id, s.b.cluster_id)).collect();
        assert_eq!(ids, [(0, 1), (1, 0)]);
    }

    #[test]
    fn runs_without_a_shared_face_are_compared() {
        let a = side(&[(0, 9, 0.0, Some(0))]);
        let found = compare(&times(), &a, &side(&[]));
        assert_eq!((found.b_cubed, found.only_in_a.len(), found.shared_boxes), (None, 1, 0));
    }
}
