//! Which found box is which labelled face: one-to-one, frame by frame.

use std::collections::{BTreeMap, BTreeSet};

use pathfinding::prelude::{Matrix, kuhn_munkres};

use crate::labels::{Labels, Mark};

/// A box in pixels of the upright frame, half-open, the origin at the image's corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x_min: f64,
    /// Top edge.
    pub y_min: f64,
    /// Right edge.
    pub x_max: f64,
    /// Bottom edge.
    pub y_max: f64,
}

impl Rect {
    fn area(&self) -> f64 {
        (self.x_max - self.x_min) * (self.y_max - self.y_min)
    }
}

/// Intersection over union of two boxes, 0 (apart) to 1 (the same).
pub fn iou(a: &Rect, b: &Rect) -> f64 {
    let width = (a.x_max.min(b.x_max) - a.x_min.max(b.x_min)).max(0.0);
    let height = (a.y_max.min(b.y_max) - a.y_min.max(b.y_min)).max(0.0);
    let inter = width * height;
    // The floor only matters for two empty boxes, which share nothing.
    inter / (a.area() + b.area() - inter).max(1e-9)
}

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

/// Pairs (labelled, found) with the largest sum of IoU among those that reach `min_iou`.
pub fn assign_boxes(labelled: &[Rect], found: &[Rect], min_iou: f64) -> Vec<(usize, usize)> {
    // Exact ties aside, a billionth decides as the fraction itself would.
    const SCALE: f64 = 1e9;
    assign(labelled.len(), found.len(), |l, f| {
        let overlap = iou(&labelled[l], &found[f]);
        if overlap >= min_iou { (overlap * SCALE).round() as i64 } else { 0 }
    })
}

/// A found box that belongs to a track.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Frame.
    pub frame_idx: i64,
    /// Where the face is.
    pub rect: Rect,
    /// Its track.
    pub track_id: i64,
    /// The track's cluster; `None` for noise.
    pub cluster_id: Option<i64>,
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

/// Found boxes compared with labels, on labelled frames only.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judged {
    /// Every known person of the labels, in alphabetical order.
    pub people: Vec<String>,
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

/// Compares `found` with `labels`: on every labelled frame the one-to-one assignment with the
/// largest total IoU, of pairs with IoU ≥ `min_iou`.
pub fn judge(labels: &Labels, found: &[Found], min_iou: f64) -> Judged {
    let people: Vec<String> = known(labels).into_iter().map(str::to_owned).collect();
    let mut judged = Judged { missed: vec![0; people.len()], people, ..Judged::default() };
    let mut found_in: BTreeMap<i64, Vec<&Found>> = BTreeMap::new();
    for face in found {
        found_in.entry(face.frame_idx).or_default().push(face);
    }
    for (frame, faces) in faces_by_frame(labels) {
        let found = found_in.get(&frame).map_or(&[][..], Vec::as_slice);
        judge_frame(&mut judged, &faces, found, min_iou);
    }
    judged
}

fn known(labels: &Labels) -> BTreeSet<&str> {
    let lines = labels.lines.iter();
    lines
        .filter_map(|line| if let Mark::Known(_, name) = &line.mark { Some(name.as_str()) } else { None })
        .collect()
}

/// Labelled faces of every judged frame: where, and who if that is known.
fn faces_by_frame(labels: &Labels) -> BTreeMap<i64, Vec<(Rect, Option<&str>)>> {
    let mut frames: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in &labels.lines {
        let faces = frames.entry(line.frame_idx).or_default();
        match &line.mark {
            Mark::Known(rect, name) => faces.push((*rect, Some(name.as_str()))),
            Mark::Unknown(rect) => faces.push((*rect, None)),
            Mark::NoFace => {}
        }
    }
    frames
}

fn judge_frame(judged: &mut Judged, faces: &[(Rect, Option<&str>)], found: &[&Found], min_iou: f64) {
    let labelled: Vec<Rect> = faces.iter().map(|(rect, _)| *rect).collect();
    let rects: Vec<Rect> = found.iter().map(|f| f.rect).collect();
    let pairs = assign_boxes(&labelled, &rects, min_iou);
    let found_at: BTreeMap<usize, usize> = pairs.iter().copied().collect();
    judged.n_found += found.len();
    for (at, (_, name)) in faces.iter().enumerate() {
        let face = found_at.get(&at).map(|f| found[*f]);
        let person = name.and_then(|name| judged.people.binary_search_by(|p| p.as_str().cmp(name)).ok());
        judged.n_labelled += usize::from(person.is_some());
        match (person, face) {
            (Some(person), Some(face)) => {
                judged.matches.push(Match { person, track_id: face.track_id, cluster_id: face.cluster_id })
            }
            (Some(person), None) => judged.missed[person] += 1,
            (None, Some(_)) => judged.n_found -= 1,
            (None, None) => {}
        }
    }
    let matched: BTreeSet<usize> = found_at.into_values().collect();
    for (_, face) in found.iter().enumerate().filter(|(at, _)| !matched.contains(at)) {
        *judged.false_boxes.entry(face.cluster_id).or_default() += 1;
    }
}

/// A cluster as the figures see it: noise links nobody, so each of its tracks stands alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// A cluster.
    Cluster(i64),
    /// A noise track on its own.
    Alone(i64),
}

impl Match {
    /// The group that its track belongs to.
    pub fn group(&self) -> Group {
        self.cluster_id.map_or(Group::Alone(self.track_id), Group::Cluster)
    }
}

/// A track with at least one box that is a known person's face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedTrack {
    /// The track.
    pub track_id: i64,
    /// What it was linked to.
    pub group: Group,
    /// The person most of its matched boxes show; of several, the one seen first.
    pub person: usize,
    /// Its matched boxes.
    pub n_boxes: usize,
    /// Those that show `person`.
    pub n_person: usize,
}

/// Tracks with matched boxes, by track id.
pub fn judged_tracks(matches: &[Match]) -> Vec<JudgedTrack> {
    let mut by_track: BTreeMap<i64, Vec<&Match>> = BTreeMap::new();
    for m in matches {
        by_track.entry(m.track_id).or_default().push(m);
    }
    by_track.into_values().filter_map(|boxes| judged_track(&boxes)).collect()
}

fn judged_track(boxes: &[&Match]) -> Option<JudgedTrack> {
    let first = boxes.first()?;
    let mut counts: Vec<(usize, usize)> = Vec::new();
    for m in boxes {
        match counts.iter_mut().find(|(person, _)| *person == m.person) {
            Some((_, count)) => *count += 1,
            None => counts.push((m.person, 1)),
        }
    }
    // `max_by_key` would take the last of equals.
    let most = counts.iter().map(|(_, count)| *count).max()?;
    let (person, n_person) = *counts.iter().find(|(_, count)| *count == most)?;
    Some(JudgedTrack {
        track_id: first.track_id,
        group: first.group(),
        person,
        n_boxes: boxes.len(),
        n_person,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rect() -> impl Strategy<Value = Rect> {
        (0.0..50.0, 0.0..50.0, 1.0..40.0, 1.0..40.0).prop_map(|(x, y, w, h)| Rect {
            x_min: x,
            y_min: y,
            x_max: x + w,
            y_max: y + h,
        })
    }

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
        fn iou_is_symmetric_and_between_0_and_1(a in rect(), b in rect()) {
            let overlap = iou(&a, &b);
            prop_assert!((0.0..=1.0).contains(&overlap));
            prop_assert_eq!(overlap, iou(&b, &a));
            prop_assert!((iou(&a, &a) - 1.0).abs() < 1e-12);
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
        let a = Rect { x_min: 0.0, y_min: 0.0, x_max: 10.0, y_max: 10.0 };
        let b = Rect { x_min: 5.0, x_max: 15.0, ..a };
        assert_eq!(assign_boxes(&[a], &[b], 0.34), []);
        assert_eq!(assign_boxes(&[a], &[b], 0.33), [(0, 0)]);
        assert_eq!(assign_boxes(&[], &[b], 0.33), []);
    }

    #[test]
    fn of_equally_frequent_people_the_first_seen_counts() {
        let seen = |person| Match { person, track_id: 4, cluster_id: None };
        let tracks = judged_tracks(&[seen(2), seen(1), seen(1), seen(2)]);
        let expected =
            JudgedTrack { track_id: 4, group: Group::Alone(4), person: 2, n_boxes: 4, n_person: 2 };
        assert_eq!(tracks, [expected]);
    }
}
