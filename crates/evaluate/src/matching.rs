//! Matching of found boxes to labelled faces, one-to-one in each frame.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use geometry::BBox;
use pathfinding::prelude::{Matrix, kuhn_munkres, separate_components};
use report::input::{LabelledTrack, TrackBox};

use crate::labels::{self, Labels};

/// Pairs (row, column), each used at most once, with the largest sum of weights (Kuhn–Munkres).
/// Pairs of weight zero or less are left out; rows ascend.
pub fn assign(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> i64) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    // The algorithm wants at least as many columns as rows.
    let mut pairs: Vec<_> = if rows <= columns {
        let (_, column_of) = kuhn_munkres(&Matrix::from_fn(rows, columns, |(r, c)| weight(r, c)));
        column_of.into_iter().enumerate().collect()
    } else {
        let (_, row_of) = kuhn_munkres(&Matrix::from_fn(columns, rows, |(c, r)| weight(r, c)));
        row_of.into_iter().enumerate().map(|(c, r)| (r, c)).collect()
    };
    pairs.retain(|&(r, c)| weight(r, c) > 0);
    pairs.sort_unstable();
    pairs
}

/// [`assign`] for scores that are no whole numbers, at most a thousand or so.
pub fn assign_scores(
    rows: usize,
    columns: usize,
    score: impl Fn(usize, usize) -> f64,
) -> Vec<(usize, usize)> {
    // Exact ties aside, a billionth of a thousandth decides as the fraction itself would.
    const SCALE: f64 = 1e12;
    assign(rows, columns, |row, column| (score(row, column) * SCALE).round() as i64)
}

/// Pairs (labelled, found) with the largest sum of IoU among those that reach `min_iou`.
pub fn assign_boxes(labelled: &[BBox<f64>], found: &[BBox<f64>], min_iou: f64) -> Vec<(usize, usize)> {
    assign_scores(labelled.len(), found.len(), |l, f| {
        let overlap = labelled[l].iou(&found[f]);
        if overlap >= min_iou { overlap } else { 0.0 }
    })
}

/// The largest sum of counts over pairs of which no two share an end.
pub fn largest_total<A, B>(counts: &BTreeMap<(A, B), usize>) -> usize
where
    A: Ord + Copy + Hash,
    B: Ord + Copy + Hash,
{
    largest_pairs(counts).iter().map(|pair| counts[pair]).sum()
}

/// The pairs with the largest sum of counts of which no two share an end, in order (Kuhn–Munkres).
///
/// Pairs that no chain of pairs connects do not bear on each other, so only as much is dense at a time
/// as hangs together. Tracks hang together within a shot, which keeps a film of thousands cheap.
pub fn largest_pairs<A, B>(counts: &BTreeMap<(A, B), usize>) -> Vec<(A, B)>
where
    A: Ord + Copy + Hash,
    B: Ord + Copy + Hash,
{
    #[derive(Clone, PartialEq, Eq, Hash)]
    enum End<A, B> {
        Left(A),
        Right(B),
    }
    let ends: Vec<_> = counts.keys().map(|&(a, b)| vec![End::Left(a), End::Right(b)]).collect();
    let mut parts: BTreeMap<usize, BTreeMap<(A, B), usize>> = BTreeMap::new();
    for (part, (&pair, &count)) in separate_components(&ends).1.into_iter().zip(counts) {
        parts.entry(part).or_default().insert(pair, count);
    }
    let best = |counts: &BTreeMap<(A, B), usize>| {
        let rows: Vec<A> = counts.keys().map(|(a, _)| *a).collect::<BTreeSet<_>>().into_iter().collect();
        let columns: Vec<B> = counts.keys().map(|(_, b)| *b).collect::<BTreeSet<_>>().into_iter().collect();
        let count = |r: usize, c: usize| counts.get(&(rows[r], columns[c])).copied().unwrap_or(0);
        let weight = |r: usize, c: usize| i64::try_from(count(r, c)).unwrap_or(i64::MAX);
        let pairs = assign(rows.len(), columns.len(), weight).into_iter();
        pairs.map(|(r, c)| (rows[r], columns[c])).collect::<Vec<_>>()
    };
    let mut pairs: Vec<(A, B)> = parts.values().flat_map(best).collect();
    pairs.sort_unstable();
    pairs
}

/// A found box that is a known person's face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// Number of the person in [`Judged::people`].
    pub person: usize,
    /// Track of the found box.
    pub track_id: i64,
    /// Cluster of that track; `None` for noise.
    pub cluster_id: Option<i64>,
}

/// One judged frame: who is there, what was found, and how far each pair overlaps.
///
/// `T` and `F` are the keys of labelled and found faces.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame<T, F> {
    /// Labelled faces of known people.
    pub truth: Vec<T>,
    /// Found boxes, without those that match a face of unknown identity.
    pub found: Vec<F>,
    /// Intersection over union, row by row: one row per face of `truth`, one column per box of `found`.
    pub iou: Vec<f64>,
}

impl<T, F> Frame<T, F> {
    /// Intersection over union of a labelled face and a found box, by their places in the lists.
    pub fn overlap(&self, truth: usize, found: usize) -> f64 {
        self.iou[truth * self.found.len() + found]
    }

    /// Every pair: places of the labelled face and of the found box, and how far they overlap.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, f64)> {
        let columns = self.found.len();
        self.iou.iter().enumerate().map(move |(at, overlap)| (at / columns, at % columns, *overlap))
    }

    /// The same frame under other names.
    pub fn named<A, B>(&self, truth: impl Fn(&T) -> A, found: impl Fn(&F) -> B) -> Frame<A, B> {
        Frame {
            truth: self.truth.iter().map(truth).collect(),
            found: self.found.iter().map(found).collect(),
            iou: self.iou.clone(),
        }
    }
}

/// A labelled face of a known person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrueFace {
    /// Number of the person in [`Judged::people`].
    pub person: usize,
    /// The shot it is in, as the labels number shots; `None` when they do not.
    pub shot: Option<i64>,
}

/// Found boxes compared with labels, on labelled frames only.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    /// The overlap from which a found box counts as a labelled face.
    pub min_iou: f64,
    /// Every known person of the labels, in alphabetical order.
    pub people: Vec<String>,
    /// Every labelled frame, in order.
    pub frames: Vec<Frame<TrueFace, TrackBox>>,
    /// Found boxes that are known people, by frame, then in the order of the labels.
    pub matches: Vec<Match>,
    /// Labelled boxes of known people.
    pub n_labelled: usize,
    /// Found boxes, without those that match a face of unknown identity: they are neither right nor wrong.
    pub n_found: usize,
    /// Found boxes that match no labelled face, by cluster (`None`: noise).
    pub false_boxes: BTreeMap<Option<i64>, usize>,
    /// Labelled boxes that no found box matches, by person.
    pub missed: Vec<usize>,
}

/// A labelled face: where, and who if that is known.
type Labelled = (BBox<f64>, Option<TrueFace>);

/// Compares `found` with `labels`: on every labelled frame the one-to-one assignment with the
/// largest total IoU, of pairs with IoU ≥ `min_iou`.
pub fn judge(labels: &Labels, found: &[TrackBox], min_iou: f64) -> Judged {
    let names = labels.lines.iter().filter_map(|line| line.face.as_ref()?.identity.clone());
    let people: Vec<String> = names.collect::<BTreeSet<_>>().into_iter().collect();
    let mut found_in: BTreeMap<i64, Vec<TrackBox>> = BTreeMap::new();
    for face in found {
        found_in.entry(face.frame_idx).or_default().push(*face);
    }
    // Labelled faces of every judged frame.
    let mut labelled_in: BTreeMap<i64, Vec<Labelled>> = BTreeMap::new();
    for line in &labels.lines {
        let faces = labelled_in.entry(line.frame).or_default();
        if let Some(face) = &line.face {
            let person = face.identity.as_ref().and_then(|identity| people.binary_search(identity).ok());
            faces.push((labels::bbox(face), person.map(|person| TrueFace { person, shot: face.shot })));
        }
    }
    let mut judged = Judged { min_iou, missed: vec![0; people.len()], people, ..Judged::default() };
    for (frame, labelled) in labelled_in {
        let found = found_in.remove(&frame).unwrap_or_default();
        let truth_boxes: Vec<BBox<f64>> = labelled.iter().map(|(bbox, _)| *bbox).collect();
        let boxes: Vec<BBox<f64>> = found.iter().map(|f| f.bbox).collect();
        let found_at: BTreeMap<usize, usize> =
            assign_boxes(&truth_boxes, &boxes, min_iou).into_iter().collect();
        let mut ignored = BTreeSet::new();
        for (at, (_, face)) in labelled.iter().enumerate() {
            match (face, found_at.get(&at)) {
                (Some(face), Some(&at)) => {
                    let TrackBox { track_id, cluster_id, .. } = found[at];
                    judged.matches.push(Match { person: face.person, track_id, cluster_id });
                }
                (Some(face), None) => judged.missed[face.person] += 1,
                (None, Some(&at)) => {
                    ignored.insert(at);
                }
                (None, None) => {}
            }
        }
        let matched: BTreeSet<usize> = found_at.into_values().collect();
        for (_, face) in found.iter().enumerate().filter(|(at, _)| !matched.contains(at)) {
            *judged.false_boxes.entry(face.cluster_id).or_default() += 1;
        }
        let counted = found.into_iter().enumerate().filter(|(at, _)| !ignored.contains(at));
        let found: Vec<TrackBox> = counted.map(|(_, face)| face).collect();
        let known = || labelled.iter().filter_map(|(bbox, face)| Some((bbox, (*face)?)));
        let truth: Vec<TrueFace> = known().map(|(_, face)| face).collect();
        let iou = known().flat_map(|(bbox, _)| found.iter().map(|f| bbox.iou(&f.bbox))).collect();
        judged.n_labelled += truth.len();
        judged.n_found += found.len();
        judged.frames.push(Frame { truth, found, iou });
    }
    judged
}

/// A cluster for the metrics: each noise track is a cluster of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A cluster.
    Cluster(i64),
    /// A noise track on its own.
    Alone(i64),
}

impl Group {
    /// Where a track of this cluster (`None`: noise) belongs.
    pub fn of(track_id: i64, cluster_id: Option<i64>) -> Self {
        cluster_id.map_or(Self::Alone(track_id), Self::Cluster)
    }
}

impl Match {
    /// The group that its track belongs to.
    pub fn group(&self) -> Group {
        Group::of(self.track_id, self.cluster_id)
    }
}

/// Tracks with matched boxes, by track id.
pub fn judged_tracks(matches: &[Match]) -> Vec<LabelledTrack> {
    let mut by_track: BTreeMap<i64, Vec<&Match>> = BTreeMap::new();
    for m in matches {
        by_track.entry(m.track_id).or_default().push(m);
    }
    let track = |boxes: Vec<&Match>| {
        let mut counts: Vec<(usize, usize)> = Vec::new();
        for m in &boxes {
            match counts.iter_mut().find(|(person, _)| *person == m.person) {
                Some((_, count)) => *count += 1,
                None => counts.push((m.person, 1)),
            }
        }
        // `max_by_key` would take the last of equals.
        let n_person = counts.iter().map(|(_, count)| *count).max()?;
        let (person, _) = *counts.iter().find(|(_, count)| *count == n_person)?;
        let Match { track_id, cluster_id, .. } = **boxes.first()?;
        Some(LabelledTrack { track_id, cluster_id, person, n_boxes: boxes.len(), n_person })
    };
    by_track.into_values().filter_map(track).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The best total over every way to assign, the slow and obvious way.
    fn best_total(weights: &[Vec<i64>], row: usize, used: &mut Vec<bool>) -> i64 {
        let Some(line) = weights.get(row) else { return 0 };
        let mut best = best_total(weights, row + 1, used);
        for (column, weight) in line.iter().enumerate() {
            if !used[column] {
                used[column] = true;
                best = best.max(weight + best_total(weights, row + 1, used));
                used[column] = false;
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_largest_total_is_that_of_the_dense_table(
            cells in proptest::collection::vec((0_usize..5, 0_usize..5, 1_usize..20), 0..9)
        ) {
            let counts: BTreeMap<_, _> = cells.into_iter().map(|(a, b, count)| ((a, b), count)).collect();
            let weight = |a, b| i64::try_from(counts.get(&(a, b)).copied().unwrap_or(0)).unwrap_or(0);
            let dense: Vec<Vec<i64>> = (0..5).map(|a| (0..5).map(|b| weight(a, b)).collect()).collect();
            let best = best_total(&dense, 0, &mut vec![false; 5]);
            prop_assert_eq!(i64::try_from(largest_total(&counts)), Ok(best));
        }

        #[test]
        fn the_assignment_is_as_good_as_the_best_of_all(
            weights in (1_usize..5, 1_usize..5).prop_flat_map(|(r, c)| {
                proptest::collection::vec(proptest::collection::vec(0_i64..20, c), r)
            })
        ) {
            let columns = weights[0].len();
            let pairs = assign(weights.len(), columns, |r, c| weights[r][c]);
            let total: i64 = pairs.iter().map(|&(r, c)| weights[r][c]).sum();
            prop_assert_eq!(total, best_total(&weights, 0, &mut vec![false; columns]));
            let distinct: BTreeSet<_> = pairs.iter().map(|p| p.1).collect();
            prop_assert_eq!(distinct.len(), pairs.len());
        }
    }

    #[test]
    fn boxes_below_the_threshold_never_match() {
        let a = BBox::from_corner(0.0, 0.0, 10.0, 10.0);
        let b = a.moved(5.0, 0.0);
        assert_eq!(assign_boxes(&[a], &[b], 0.34), []);
        assert_eq!(assign_boxes(&[a], &[b], 0.33), [(0, 0)]);
        assert_eq!(assign_boxes(&[], &[b], 0.33), []);
    }

    #[test]
    fn of_equally_frequent_people_the_first_seen_counts() {
        let seen = |person| Match { person, track_id: 4, cluster_id: None };
        let tracks = judged_tracks(&[seen(2), seen(1), seen(1), seen(2)]);
        let expected = LabelledTrack { track_id: 4, cluster_id: None, person: 2, n_boxes: 4, n_person: 2 };
        assert_eq!(tracks, [expected]);
    }
}
