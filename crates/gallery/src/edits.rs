//! Corrections of a gallery: "these two people are one person", and "these are two people".
//!
//! The corrections are in the same two tables as those of a run, in the directory of the gallery. `library.json` says
//! which clusters show the faces of each correction. The corrections change the people that matching found, which stay
//! in the column `linked_person_id`, so that an undo gives the people before the correction. People that no correction
//! mentions keep their members.
//!
//! *Example.* Matching found person 3 in the videos a and b, and person 7 in video c. After "same 3 7", person 3 is in
//! all three videos; no video may have person 3 twice.

use std::collections::{BTreeMap, BTreeSet};

use std::rc::Rc;

use numeric::vector::dot_in_lanes as dot;
use run::edits::EditOp;
use schema::tables::Member;

/// A cluster: index of its video, and its key in the run.
pub(crate) type Place = (usize, i64);

/// A correction, and the clusters that show its faces.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Said {
    pub(crate) edit_id: i64,
    pub(crate) op: EditOp,
    pub(crate) sides: Vec<BTreeSet<Place>>,
}

impl Said {
    /// The refusal of another correction, which contradicts this one.
    fn contradicts(&self, other: &Self) -> Refusal {
        let first =
            |side: usize| other.sides.get(side).and_then(BTreeSet::first).copied().unwrap_or_default();
        Refusal::Earlier { edit_id: self.edit_id, op: self.op, clusters: [first(0), first(1)] }
    }
}

/// Reason why a correction is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The gallery has no cluster that shows a group of faces of the correction.
    NoFace,
    /// One person would have two clusters of one video, which the run must merge first.
    OneVideo {
        /// Index of the video, in the order of `library.json`.
        video: usize,
        /// Keys of the clusters.
        clusters: (i64, i64),
    },
    /// The correction contradicts an earlier one.
    Earlier {
        /// Key of the earlier correction.
        edit_id: i64,
        /// Kind of the earlier correction.
        op: EditOp,
        /// A cluster of either side of the contradiction: index of the video, and key in the run.
        clusters: [(usize, i64); 2],
    },
}

/// Returns copies of tables, which corrections can change.
pub(crate) fn copies(tables: &[Rc<[Member]>]) -> Vec<Vec<Member>> {
    tables.iter().map(|rows| rows.to_vec()).collect()
}

/// Sets the people of all rows, one table per video, to those of matching, then applies corrections in their order.
/// `new_id` returns the key of the person that a correction makes. Returns the corrections that are not applied.
pub(crate) fn apply(
    tables: &mut [Vec<Member>],
    said: &[Said],
    mut new_id: impl FnMut(i64) -> i64,
) -> Vec<(i64, Refusal)> {
    for row in tables.iter_mut().flatten() {
        let linked = row.linked_person_id.unwrap_or(row.person_id);
        (row.person_id, row.linked_person_id) = (linked, Some(linked));
    }
    let mut refused = Vec::new();
    for (at, edit) in said.iter().enumerate() {
        let before: Vec<Vec<i64>> = ids(tables);
        let changed = change(tables, edit, &said[..at], &mut new_id);
        if let Err(refusal) = changed.and_then(|()| check(tables, &before, &said[..at], &refused)) {
            for (row, id) in tables.iter_mut().flatten().zip(before.into_iter().flatten()) {
                row.person_id = id;
            }
            refused.push((edit.edit_id, refusal));
        }
    }
    refused
}

fn ids(tables: &[Vec<Member>]) -> Vec<Vec<i64>> {
    tables.iter().map(|rows| rows.iter().map(|row| row.person_id).collect()).collect()
}

/// Returns the pairs of people that are different by these corrections, the smaller key first.
pub(crate) fn apart(tables: &[impl AsRef<[Member]>], said: &[Said]) -> BTreeSet<(i64, i64)> {
    let different = said.iter().filter(|said| said.op == EditOp::Different);
    let people = |said: &Said| {
        let a = holder(tables, said.sides.first()?)?;
        let b = holder(tables, said.sides.get(1)?)?;
        Some((a.min(b), a.max(b)))
    };
    different.filter_map(people).collect()
}

/// Returns the pairs of clusters that are one person, and those that are two people, by these corrections. The cluster
/// with most tracks stands for a side.
pub(crate) fn taught(tables: &[Vec<Member>], said: &[Said]) -> [Vec<(Place, Place)>; 2] {
    let tracks: BTreeMap<Place, i64> = (0..)
        .zip(tables)
        .flat_map(|(video, rows)| rows.iter().map(move |row| ((video, row.cluster_id), row.n_tracks)))
        .collect();
    let stands = |side: &BTreeSet<Place>| {
        let known = side.iter().filter_map(|place| Some((*tracks.get(place)?, *place)));
        known.max_by_key(|(tracks, place)| (*tracks, std::cmp::Reverse(*place))).map(|(_, place)| place)
    };
    let [mut same, mut different] = [Vec::new(), Vec::new()];
    for said in said {
        let sides: Vec<Place> = said.sides.iter().filter_map(stands).collect();
        let pairs = sides.windows(2).map(|pair| (pair[0], pair[1])).filter(|(a, b)| a != b);
        match said.op {
            EditOp::Merge | EditOp::Same => same.extend(pairs),
            EditOp::Different => different.extend(pairs),
            _ => {}
        }
    }
    [same, different]
}

/// Returns the person who has most tracks of these clusters; of several, the smallest key.
fn holder(tables: &[impl AsRef<[Member]>], side: &BTreeSet<Place>) -> Option<i64> {
    let mut shares: BTreeMap<i64, i64> = BTreeMap::new();
    for (video, cluster_id) in side {
        let rows = tables.get(*video).map_or(&[][..], AsRef::as_ref);
        for row in rows.iter().filter(|row| row.cluster_id == *cluster_id) {
            *shares.entry(row.person_id).or_default() += row.n_tracks;
        }
    }
    shares.into_iter().max_by_key(|(id, tracks)| (*tracks, -id)).map(|(id, _)| id)
}

fn change(
    tables: &mut [Vec<Member>],
    edit: &Said,
    earlier: &[Said],
    new_id: &mut impl FnMut(i64) -> i64,
) -> Result<(), Refusal> {
    let people: Vec<i64> = edit
        .sides
        .iter()
        .map(|side| holder(tables, side).ok_or(Refusal::NoFace))
        .collect::<Result<_, _>>()?;
    let [first, others @ ..] = people.as_slice() else { return Err(Refusal::NoFace) };
    match edit.op {
        EditOp::Merge | EditOp::Same => {
            for row in tables.iter_mut().flatten().filter(|row| others.contains(&row.person_id)) {
                row.person_id = *first;
            }
        }
        EditOp::Different if others.contains(first) => {
            let meets = |a: &BTreeSet<Place>, b: &BTreeSet<Place>| !a.is_disjoint(b);
            let says_one = |said: &&Said| {
                let side_of = |side| said.sides.iter().position(|own| meets(own, side));
                let (a, b) = (side_of(&edit.sides[0]), side_of(&edit.sides[1]));
                matches!(said.op, EditOp::Merge | EditOp::Same) && a.is_some() && b.is_some() && a != b
            };
            if let Some(said) = earlier.iter().find(says_one) {
                return Err(said.contradicts(edit));
            }
            split(tables, edit, *first, new_id(edit.edit_id));
        }
        _ => {}
    }
    Ok(())
}

/// Gives the clusters of the second side to a new person; other clusters of the person stay or go with the side that
/// they are more similar to.
fn split(tables: &mut [Vec<Member>], edit: &Said, person: i64, new_id: i64) {
    let mean = |side: &BTreeSet<Place>| {
        let mut sum: Vec<f32> = Vec::new();
        for (video, rows) in tables.iter().enumerate() {
            for row in rows.iter().filter(|row| side.contains(&(video, row.cluster_id))) {
                sum.resize(row.embedding.as_slice().len(), 0.0);
                sum.iter_mut().zip(row.embedding.as_slice()).for_each(|(sum, x)| *sum += x);
            }
        }
        let length = dot(&sum, &sum).sqrt().max(f32::MIN_POSITIVE);
        sum.into_iter().map(|x| x / length).collect::<Vec<_>>()
    };
    let (first, second) = (mean(&edit.sides[0]), mean(&edit.sides[1]));
    for (video, rows) in tables.iter_mut().enumerate() {
        for row in rows.iter_mut().filter(|row| row.person_id == person) {
            let place = (video, row.cluster_id);
            let vector = row.embedding.as_slice();
            let leaves = edit.sides[1].contains(&place)
                || !edit.sides[0].contains(&place) && dot(vector, &second) > dot(vector, &first);
            if leaves {
                row.person_id = new_id;
            }
        }
    }
}

/// Checks that no person has two clusters of a video whose people are not those `before`, and that people who are
/// different stay different.
fn check(
    tables: &[Vec<Member>],
    before: &[Vec<i64>],
    earlier: &[Said],
    refused: &[(i64, Refusal)],
) -> Result<(), Refusal> {
    let has_changed = |(rows, before): (&Vec<Member>, &Vec<i64>)| {
        rows.iter().zip(before).any(|(row, before)| row.person_id != *before)
    };
    for (video, rows) in
        tables.iter().enumerate().filter(|(video, rows)| has_changed((rows, &before[*video])))
    {
        let mut seen = BTreeMap::new();
        for row in rows {
            if let Some(other) = seen.insert(row.person_id, row.cluster_id) {
                return Err(Refusal::OneVideo { video, clusters: (other, row.cluster_id) });
            }
        }
    }
    let counts = |said: &&Said| {
        said.op == EditOp::Different && !refused.iter().any(|(edit_id, _)| *edit_id == said.edit_id)
    };
    for said in earlier.iter().filter(counts) {
        let people: Vec<_> = said.sides.iter().filter_map(|side| holder(tables, side)).collect();
        if people.len() == 2 && people[0] == people[1] {
            return Err(said.contradicts(said));
        }
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use schema::UnitVector;

    use super::*;

    fn row(cluster_id: i64, person_id: i64, degrees: f32) -> Member {
        Member {
            video_id: "v".into(),
            cluster_id,
            person_id,
            similarity: None,
            threshold: None,
            runner_up_person_id: None,
            margin: None,
            n_tracks: 2,
            screen_secs: 1.0,
            embedding: UnitVector::normalised(&[degrees.to_radians().cos(), degrees.to_radians().sin()])
                .unwrap(),
            name: None,
            linked_person_id: None,
            named_at: None,
            series_id: None,
            series_uid: None,
        }
    }

    /// Three videos: person 0 is in all of them, person 1 in the first two, person 2 in the third.
    fn tables() -> Vec<Vec<Member>> {
        vec![
            vec![row(0, 0, 0.0), row(1, 1, 90.0)],
            vec![row(0, 0, 10.0), row(1, 1, 100.0)],
            vec![row(0, 0, 40.0), row(1, 2, 95.0)],
        ]
    }

    fn said(edit_id: i64, op: EditOp, sides: &[&[Place]]) -> Said {
        Said { edit_id, op, sides: sides.iter().map(|side| side.iter().copied().collect()).collect() }
    }

    fn after(edits: &[Said]) -> (Vec<Vec<i64>>, Vec<(i64, Refusal)>) {
        let mut tables = tables();
        let refused = apply(&mut tables, edits, |edit_id| 100 + edit_id);
        (ids(&tables), refused)
    }

    #[test]
    fn people_are_merged_and_separated_and_an_undo_gives_the_start() {
        let same = said(1, EditOp::Same, &[&[(0, 1), (1, 1)], &[(2, 1)]]);
        let (merged, refused) = after(std::slice::from_ref(&same));
        assert_eq!((merged, refused), (vec![vec![0, 1], vec![0, 1], vec![0, 1]], vec![]));
        // The cluster of the second video is nearer to that of the first.
        let different = said(2, EditOp::Different, &[&[(0, 0)], &[(2, 0)]]);
        let (apart, _) = after(std::slice::from_ref(&different));
        assert_eq!(apart, [[0, 1], [0, 1], [102, 2]]);
        let mut rows = tables();
        apply(&mut rows, &[same, different], |edit_id| 100 + edit_id);
        assert_eq!(ids(&rows), [[0, 1], [0, 1], [102, 1]]);
        apply(&mut rows, &[], |_| 0);
        assert_eq!(ids(&rows), ids(&tables()));
    }

    #[test]
    fn contradictions_change_nothing() {
        let start = ids(&tables());
        let one_video = said(1, EditOp::Same, &[&[(0, 0)], &[(0, 1)]]);
        assert_eq!(
            after(&[one_video]),
            (start.clone(), vec![(1, Refusal::OneVideo { video: 0, clusters: (0, 1) })])
        );
        let gone = said(1, EditOp::Same, &[&[(0, 0)], &[]]);
        assert_eq!(after(&[gone]).1, [(1, Refusal::NoFace)]);
        let sides: [&[Place]; 2] = [&[(0, 1), (1, 1)], &[(2, 1)]];
        let (same, different) = (said(1, EditOp::Same, &sides), said(2, EditOp::Different, &sides));
        let (people, refused) = after(&[same.clone(), different]);
        let earlier = |op| Refusal::Earlier { edit_id: 1, op, clusters: [(0, 1), (2, 1)] };
        assert_eq!((people[2][1], refused), (1, vec![(2, earlier(EditOp::Same))]));
        let (people, refused) = after(&[said(1, EditOp::Different, &sides), Said { edit_id: 2, ..same }]);
        assert_eq!((people, refused), (start, vec![(2, earlier(EditOp::Different))]));
    }

    /// Of a side, the cluster with most tracks is linked; of several, the first one.
    #[test]
    fn one_cluster_stands_for_a_side() {
        let mut tables = tables();
        tables[1][1].n_tracks = 5;
        let sides: [&[Place]; 2] = [&[(0, 1), (1, 1), (7, 7)], &[(2, 0), (2, 1)]];
        let said = [said(1, EditOp::Same, &sides), said(2, EditOp::Different, &[&[(0, 0)], &[(2, 0)]])];
        assert_eq!(taught(&tables, &said), [vec![((1, 1), (2, 0))], vec![((0, 0), (2, 0))]]);
    }
}
