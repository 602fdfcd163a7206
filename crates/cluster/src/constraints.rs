//! Which tracks cannot show the same person (those that share a frame, and those that a person marked so),
//! and which must.

use std::collections::{HashMap, HashSet};

use numeric::merges::Merges;
use numeric::vector::cosine_distance;
use run::edits::EditOp;
use schema::Symbol;
use schema::tables::{
    Cluster, Constraint, ConstraintKind, ConstraintReason, Embedding, Track, TrackEmbedding,
};

use crate::edits::Found;
use crate::groups::Groups;
use crate::seen::Seen;

/// Pairs of tracks, smaller id first, in order, that share a frame. A track has a box in every
/// frame from its first to its last, so sharing a shot and a stretch of it is sharing a frame.
fn overlaps(tracks: &[Track]) -> Vec<(i64, i64)> {
    let mut pairs = Vec::new();
    for shot in tracks.chunk_by(|a, b| a.shot_idx == b.shot_idx) {
        for (i, a) in shot.iter().enumerate() {
            let overlaps =
                |b: &&Track| a.first_frame_idx <= b.last_frame_idx && b.first_frame_idx <= a.last_frame_idx;
            pairs.extend(shot[i + 1..].iter().filter(overlaps).map(|b| ordered(a.track_id, b.track_id)));
        }
    }
    pairs.sort_unstable();
    pairs
}

fn ordered(a: i64, b: i64) -> (i64, i64) {
    (a.min(b), a.max(b))
}

/// Pairs that look like one picture although they share a frame, as those do of a mirror or a picture in a
/// picture: their vectors are as similar as the upper quarter of pairs of crops inside one track.
///
/// `vectors` in order of tracks, `crops` grouped by track. Nothing is said by fewer than 20 pairs of crops.
fn look_like_one_picture(
    overlaps: &[(i64, i64)],
    vectors: &[TrackEmbedding],
    crops: &[Embedding],
) -> HashSet<(i64, i64)> {
    let mut inside: Vec<f64> = Vec::new();
    for crops in crops.chunk_by(|a, b| a.track_id == b.track_id) {
        for (i, a) in crops.iter().enumerate() {
            inside.extend(
                crops[i + 1..]
                    .iter()
                    .map(|b| cosine_distance(a.embedding.as_slice(), b.embedding.as_slice())),
            );
        }
    }
    if inside.len() < 20 {
        return HashSet::new();
    }
    let quarter = inside.len() / 4;
    let (_, similar, _) = inside.select_nth_unstable_by(quarter, f64::total_cmp);
    let vector = |track_id: i64| {
        let place = vectors.binary_search_by_key(&track_id, |v| v.track_id).ok()?;
        Some(&vectors[place].embedding)
    };
    let is_similar = |(a, b): &&(i64, i64)| {
        let pair = vector(*a).zip(vector(*b));
        pair.is_some_and(|(a, b)| cosine_distance(a.as_slice(), b.as_slice()) <= *similar)
    };
    overlaps.iter().filter(is_similar).copied().collect()
}

/// Pairs of tracks, smaller id first, in order and each once, that edits say something about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pairs {
    /// Pairs that show one person.
    pub must_link: Vec<(i64, i64)>,
    /// Pairs that show two people; no such pair is one person by way of `must_link`.
    pub cannot_link: Vec<(i64, i64)>,
}

impl Pairs {
    /// The pairs of tracks that are to be linked again with what edits say, `track_ids` in order: tracks of a lock,
    /// and those of a move, are one person, and so are the first tracks of the sides of a merge; the first tracks of
    /// the sides of a split and of different people are two. Where edits contradict each other, a lock counts, and otherwise
    /// the later one, as when edits are applied.
    pub fn of(edits: &[Found], track_ids: &[i64]) -> Self {
        let place = |id: i64| track_ids.binary_search(&id).ok().map(|place| place as u32);
        let mut sets = Merges::new(track_ids.len());
        let mut pairs = Self::default();
        let (locks, others): (Vec<&Found>, Vec<&Found>) =
            edits.iter().partition(|edit| edit.op == EditOp::Lock);
        for edit in locks.into_iter().chain(others.into_iter().rev()) {
            let Self { must_link, cannot_link } = Self::of_edit(edit);
            for (a, b) in must_link {
                let Some((x, y)) = place(a).zip(place(b)) else { continue };
                let both = [sets.root(x), sets.root(y)];
                let is_apart = pairs.cannot_link.iter().any(|(a, b)| {
                    let found = place(*a).zip(place(*b)).map(|(a, b)| [sets.root(a), sets.root(b)]);
                    found.is_some_and(|[a, b]| both == [a, b] || both == [b, a])
                });
                if !is_apart {
                    sets.unite(x, y);
                    pairs.must_link.push((a, b));
                }
            }
            for (a, b) in cannot_link {
                if place(a).zip(place(b)).is_some_and(|(a, b)| sets.root(a) != sets.root(b)) {
                    pairs.cannot_link.push((a, b));
                }
            }
        }
        for list in [&mut pairs.must_link, &mut pairs.cannot_link] {
            list.sort_unstable();
            list.dedup();
        }
        pairs
    }

    /// The pairs that one edit gives.
    fn of_edit(edit: &Found) -> Self {
        let firsts = || edit.sides.iter().filter_map(|side| side.first().copied());
        let first = || firsts().next().into_iter();
        let (mut must_link, mut cannot_link) = (Vec::new(), Vec::new());
        match edit.op {
            EditOp::Lock => must_link = chain(edit.sides.iter().flatten().copied()),
            EditOp::Move => {
                let moved = edit.sides.first().into_iter().flatten().copied();
                must_link = chain(moved.chain(firsts().nth(1)));
            }
            EditOp::Merge | EditOp::Same => must_link = chain(firsts()),
            EditOp::Different | EditOp::Split => {
                let pairs = first().zip(firsts().skip(1)).map(|(a, b)| ordered(a, b));
                cannot_link = pairs.filter(|(a, b)| a != b).collect();
            }
            EditOp::Name | EditOp::NotAFace | EditOp::Undo => {}
        }
        Self { must_link, cannot_link }
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.must_link.is_empty() && self.cannot_link.is_empty()
    }

    /// Tracks that must be linked, directly or by way of others.
    pub fn groups(&self, track_ids: &[i64]) -> Groups {
        let place = |id: i64| track_ids.binary_search(&id).ok();
        let pairs = self.must_link.iter().filter_map(|(a, b)| place(*a).zip(place(*b)));
        Groups::new(track_ids.len(), pairs)
    }

    /// Every pair with its kind.
    fn each(&self) -> impl Iterator<Item = ((i64, i64), ConstraintKind)> {
        let must_link = self.must_link.iter().map(|pair| (*pair, ConstraintKind::MustLink));
        must_link.chain(self.cannot_link.iter().map(|pair| (*pair, ConstraintKind::CannotLink)))
    }
}

/// Pairs of each track and the next.
fn chain(tracks: impl IntoIterator<Item = i64>) -> Vec<(i64, i64)> {
    let tracks: Vec<i64> = tracks.into_iter().collect();
    tracks.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| ordered(pair[0], pair[1])).collect()
}

/// All constraints of the tracks of a run, with what `edits` say of pairs of tracks; see [`known`].
pub(crate) fn of_run(video_id: &Symbol, tracks: &[Track], seen: &Seen, edits: &Pairs) -> Vec<Constraint> {
    let overlaps = overlaps(tracks);
    let one_picture = look_like_one_picture(&overlaps, &seen.vectors, &seen.crops);
    let track_ids: Vec<i64> = tracks.iter().map(|track| track.track_id).collect();
    let people = edits.groups(&track_ids);
    let is_one = |(a, b)| people.are_one(track_ids.binary_search(&a).ok(), track_ids.binary_search(&b).ok());
    known(video_id, &overlaps, edits, |pair| one_picture.contains(&pair) || is_one(pair))
}

/// All constraints, in the order of their table. An edit overrules an overlap, and an overlap that `is_waived` or
/// that is overruled is only recorded, with weight 0. None is marked as violated; see [`mark_violated`].
pub(crate) fn known(
    video_id: &Symbol,
    overlaps: &[(i64, i64)],
    edits: &Pairs,
    is_waived: impl Fn((i64, i64)) -> bool,
) -> Vec<Constraint> {
    let constraint = |(track_a, track_b), kind, reason, weight| Constraint {
        video_id: video_id.clone(),
        track_a,
        track_b,
        kind,
        reason,
        weight,
        violated: false,
    };
    let overlaps = overlaps.iter().copied().filter(|pair| edits.cannot_link.binary_search(pair).is_err());
    let mut known: Vec<Constraint> = overlaps
        .map(|pair| {
            let weight = if is_waived(pair) { 0.0 } else { 1.0 };
            constraint(pair, ConstraintKind::CannotLink, ConstraintReason::Overlap, weight)
        })
        .collect();
    known.extend(edits.each().map(|(pair, kind)| constraint(pair, kind, ConstraintReason::Edit, 1.0)));
    known.sort_by_key(|row| (row.track_a, row.track_b, row.kind == ConstraintKind::MustLink));
    known
}

/// Marks the constraints that the clusters go against.
pub fn mark_violated(constraints: &mut [Constraint], clusters: &[Cluster]) {
    let cluster: HashMap<i64, Option<i64>> = clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let of = |track_id: i64| cluster.get(&track_id).copied().flatten();
    for row in constraints {
        let is_one = of(row.track_a).is_some() && of(row.track_a) == of(row.track_b);
        row.violated = is_one != (row.kind == ConstraintKind::MustLink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(track_id: i64, shot_idx: i64, first: i64, last: i64) -> Track {
        Track {
            video_id: "v".into(),
            track_id,
            shot_idx,
            first_frame_idx: first,
            last_frame_idx: last,
            first_t_secs: first as f64,
            last_t_secs: last as f64,
            n_detections: 2,
            mean_score: 0.9,
            best_frame_idx: first,
            torso: None,
            is_still: None,
        }
    }

    #[test]
    fn sharing_one_frame_is_enough_and_touching_is_not() {
        let tracks = [track(0, 0, 0, 10), track(1, 0, 10, 20), track(2, 0, 11, 20), track(3, 1, 21, 30)];
        assert_eq!(overlaps(&tracks), [(0, 1), (1, 2)]);
    }

    #[test]
    fn an_edit_comes_before_an_overlap() {
        let edits = Pairs { must_link: vec![(0, 3)], cannot_link: vec![(1, 2), (4, 5)] };
        let found = known(&"v".into(), &[(0, 1), (0, 3), (1, 2)], &edits, |pair| pair == (0, 3));
        let shown: Vec<_> = found
            .iter()
            .map(|k| {
                let is_must_link = k.kind == ConstraintKind::MustLink;
                ((k.track_a, k.track_b), is_must_link, k.reason == ConstraintReason::Edit, k.forbids())
            })
            .collect();
        let expected = [
            ((0, 1), false, false, true),
            ((0, 3), false, false, false),
            ((0, 3), true, true, false),
            ((1, 2), false, true, true),
            ((4, 5), false, true, true),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn of_edits_that_contradict_each_other_a_lock_or_the_later_one_counts() {
        let edit = |op, sides: &[&[i64]]| Found {
            edit_id: 0,
            op,
            name: None,
            sides: sides.iter().map(|side| side.iter().copied().collect()).collect(),
        };
        let pairs = |edits: &[Found]| {
            let Pairs { must_link, cannot_link } = Pairs::of(edits, &[1, 2, 3, 4, 5]);
            (must_link, cannot_link)
        };
        let (merge, split) =
            (edit(EditOp::Merge, &[&[1, 2], &[3, 4]]), edit(EditOp::Split, &[&[3], &[1, 2]]));
        assert_eq!(pairs(&[merge.clone(), split.clone()]), (vec![], vec![(1, 3)]));
        assert_eq!(pairs(&[split.clone(), merge.clone()]), (vec![(1, 3)], vec![]));
        let lock = edit(EditOp::Lock, &[&[1, 3]]);
        assert_eq!(pairs(&[lock, split.clone()]), (vec![(1, 3)], vec![]));
        // By way of another track.
        let [near, far] = [edit(EditOp::Same, &[&[1], &[2]]), edit(EditOp::Same, &[&[2], &[3]])];
        assert_eq!(pairs(&[near, far, split]), (vec![(2, 3)], vec![(1, 3)]));
    }

    #[test]
    fn violated_constraints_are_marked() {
        let cluster = |track_id: i64, cluster_id: Option<i64>| Cluster {
            video_id: "v".into(),
            track_id,
            cluster_id,
            is_noise: cluster_id.is_none(),
            confidence: 1.0,
            runner_up_cluster_id: None,
            margin: None,
            linked_cluster_id: cluster_id,
            not_a_face: None,
        };
        let clusters = [
            cluster(0, Some(0)),
            cluster(1, Some(0)),
            cluster(2, Some(1)),
            cluster(3, None),
            cluster(4, None),
        ];
        let edits = Pairs { must_link: vec![(0, 1), (0, 2), (3, 4)], cannot_link: vec![] };
        let mut rows = known(&"v".into(), &[(0, 1), (1, 2), (3, 4)], &edits, |_| false);
        mark_violated(&mut rows, &clusters);
        let violated: Vec<_> =
            rows.iter().filter(|row| row.violated).map(|row| (row.track_a, row.track_b, row.kind)).collect();
        let (cannot, must) = (ConstraintKind::CannotLink, ConstraintKind::MustLink);
        assert_eq!(violated, [(0, 1, cannot), (0, 2, must), (3, 4, must)]);
    }
}
