//! Figures about following faces over time, as TrackEval computes them: HOTA, CLEAR and identity
//! scores. Pure functions over judged frames; [`report::catalog`] explains each to readers of the page.
//!
//! `T` names what ought to be followed and `F` what was: a person within a shot and a track, or a
//! person over the whole video and a cluster. A name should occur once in a frame. TrackEval refuses
//! anything else; here every box counts.
//!
//! Everything is kept by pairs of names that overlap in at least one frame, so the cost grows with the
//! boxes and not with all pairs of names.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use crate::matching::{Frame, assign_scores, largest_total};
use crate::metrics::Prf;

/// Higher order tracking accuracy and its parts, each 0 to 1, the mean over the overlaps 0.05, 0.10, …,
/// 0.95 from which a found box counts as a labelled face. Source: Luiten et al. 2021.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hota {
    /// √(DetA · AssA) at every overlap, averaged.
    pub hota: f64,
    /// Detection accuracy: matches over matches, missed faces and false boxes.
    pub deta: f64,
    /// Detection recall.
    pub detre: f64,
    /// Detection precision.
    pub detpr: f64,
    /// Association accuracy: for each match, how much of both names' boxes are such matches, averaged.
    pub assa: f64,
    /// Association recall: the same, of the boxes of the true name.
    pub assre: f64,
    /// Association precision: the same, of the boxes of the found name.
    pub asspr: f64,
    /// Overlap of matches, averaged; 1 without matches, as TrackEval has it.
    pub loca: f64,
    /// Matches at the lowest of the overlaps.
    pub n_matches: usize,
}

/// HOTA of `frames`; everything is 0 but [`Hota::loca`] when nothing is labelled or nothing was found.
///
/// A frame's boxes are assigned once, so that overlap times the alignment of the two names over all
/// frames is largest; each overlap then keeps the pairs that reach it.
pub fn hota<T: Ord + Copy, F: Ord + Copy>(frames: &[Frame<T, F>]) -> Hota {
    let counts = Counts::new(frames);
    let alignment = alignment(frames, &counts);
    // Overlaps of matched boxes, by the pair of names.
    let mut matches: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for frame in frames {
        let names = |t: usize, f: usize| (frame.truth[t], frame.found[f]);
        let pairs = assign_scores(frame.truth.len(), frame.found.len(), |t, f| {
            alignment.get(&names(t, f)).map_or(0.0, |fit| fit * frame.overlap(t, f))
        });
        for (t, f) in pairs {
            matches.entry(names(t, f)).or_default().push(frame.overlap(t, f));
        }
    }
    let at: Vec<Hota> =
        (0..19).map(|step| hota_at(0.05 + 0.05 * f64::from(step), &matches, &counts)).collect();
    let mean = |part: fn(&Hota) -> f64| at.iter().map(part).sum::<f64>() / at.len() as f64;
    Hota {
        hota: mean(|h| h.hota),
        deta: mean(|h| h.deta),
        detre: mean(|h| h.detre),
        detpr: mean(|h| h.detpr),
        assa: mean(|h| h.assa),
        assre: mean(|h| h.assre),
        asspr: mean(|h| h.asspr),
        loca: mean(|h| h.loca),
        n_matches: at[0].n_matches,
    }
}

/// How many boxes there are of each name.
struct Counts<T, F> {
    truth: BTreeMap<T, usize>,
    found: BTreeMap<F, usize>,
    n_truth: usize,
    n_found: usize,
}

impl<T: Ord + Copy, F: Ord + Copy> Counts<T, F> {
    fn new(frames: &[Frame<T, F>]) -> Self {
        let mut counts = Self { truth: BTreeMap::new(), found: BTreeMap::new(), n_truth: 0, n_found: 0 };
        for frame in frames {
            frame.truth.iter().for_each(|name| *counts.truth.entry(*name).or_default() += 1);
            frame.found.iter().for_each(|name| *counts.found.entry(*name).or_default() += 1);
            counts.n_truth += frame.truth.len();
            counts.n_found += frame.found.len();
        }
        counts
    }

    /// Boxes of either name.
    fn both(&self, (truth, found): (T, F)) -> (f64, f64) {
        (self.truth[&truth] as f64, self.found[&found] as f64)
    }
}

/// How well two names fit over all frames, before any assignment: the overlap that they have to
/// themselves, summed, over the boxes of both. Range 0 to 1; pairs that never overlap are left out.
fn alignment<T: Ord + Copy, F: Ord + Copy>(
    frames: &[Frame<T, F>],
    counts: &Counts<T, F>,
) -> BTreeMap<(T, F), f64> {
    let mut shared: BTreeMap<(T, F), f64> = BTreeMap::new();
    for frame in frames {
        let (mut of_truth, mut of_found) = (vec![0.0; frame.truth.len()], vec![0.0; frame.found.len()]);
        for (t, f, overlap) in frame.cells() {
            of_truth[t] += overlap;
            of_found[f] += overlap;
        }
        for (t, f, overlap) in frame.cells().filter(|(.., overlap)| *overlap > 0.0) {
            let share = overlap / (of_truth[t] + of_found[f] - overlap);
            *shared.entry((frame.truth[t], frame.found[f])).or_default() += share;
        }
    }
    for (pair, shared) in &mut shared {
        let (truth, found) = counts.both(*pair);
        *shared /= truth + found - *shared;
    }
    shared
}

/// HOTA at one overlap, of which [`hota`] is the mean.
fn hota_at<T: Ord + Copy, F: Ord + Copy>(
    min_iou: f64,
    matches: &BTreeMap<(T, F), Vec<f64>>,
    counts: &Counts<T, F>,
) -> Hota {
    let (mut n_matches, mut overlap, mut assa, mut assre, mut asspr) = (0, 0.0, 0.0, 0.0, 0.0);
    for (pair, overlaps) in matches {
        let reached = || overlaps.iter().filter(|overlap| reaches(**overlap, min_iou));
        let n = reached().count();
        n_matches += n;
        overlap += reached().sum::<f64>();
        let ((truth, found), n) = (counts.both(*pair), n as f64);
        assa += n * n / (truth + found - n);
        assre += n * n / truth;
        asspr += n * n / found;
    }
    let of = |whole: usize| n_matches as f64 / whole.max(1) as f64;
    let mean = |sum: f64| sum / n_matches.max(1) as f64;
    let deta = of(counts.n_truth + counts.n_found - n_matches);
    Hota {
        hota: (deta * mean(assa)).sqrt(),
        deta,
        detre: of(counts.n_truth),
        detpr: of(counts.n_found),
        assa: mean(assa),
        assre: mean(assre),
        asspr: mean(asspr),
        loca: if n_matches > 0 { mean(overlap) } else { 1.0 },
        n_matches,
    }
}

/// Whether an overlap reaches a threshold, rounding forgiven as in TrackEval.
fn reaches(overlap: f64, min_iou: f64) -> bool {
    overlap >= min_iou - f64::EPSILON
}

/// What goes wrong while faces are followed. Source: Bernardin and Stiefelhagen 2008 (CLEAR MOT); the
/// counts of names after Wu and Nevatia 2006 and Li et al. 2009.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clear {
    /// Matches less false boxes less switches, over labelled boxes; at most 1, may be negative; 0 when
    /// nothing is labelled.
    pub mota: f64,
    /// How often a true name is matched with another found name than the last time it was matched.
    pub id_switches: usize,
    /// How often a true name is matched again after frames in which it was not.
    pub fragmentations: usize,
    /// True names of which more than 80 % of the boxes are matched.
    pub mostly_tracked: usize,
    /// True names of which less than 20 % of the boxes are matched.
    pub mostly_lost: usize,
    /// True names.
    pub n_truth: usize,
}

/// How a true name was followed so far.
struct Followed<F> {
    n_boxes: usize,
    n_matched: usize,
    n_switches: usize,
    /// Stretches of frames in which it was matched.
    n_stretches: usize,
    /// What it was matched with the last time: one name, or more where it is in a frame more than once.
    last: Vec<F>,
}

impl<F> Followed<F> {
    const NEVER: Self = Self { n_boxes: 0, n_matched: 0, n_switches: 0, n_stretches: 0, last: Vec::new() };
}

/// CLEAR figures of `frames`, which must be in order. Boxes match from `min_iou`; what was matched in
/// the frame before stays matched if it can, then the sum of overlaps decides.
///
/// As in TrackEval, frames in which nothing is labelled or nothing was found do not end a stretch.
pub fn clear<T: Ord + Copy, F: Ord + Copy>(frames: &[Frame<T, F>], min_iou: f64) -> Clear {
    // More than all overlaps of a frame together, as TrackEval has it.
    const STAYS: f64 = 1000.0;
    let mut followed: BTreeMap<T, Followed<F>> = BTreeMap::new();
    // What each true name was matched with in the frame before.
    let mut before: BTreeMap<T, Vec<F>> = BTreeMap::new();
    for frame in frames {
        for truth in &frame.truth {
            followed.entry(*truth).or_insert(Followed::NEVER).n_boxes += 1;
        }
        if frame.truth.is_empty() || frame.found.is_empty() {
            continue;
        }
        let pairs = assign_scores(frame.truth.len(), frame.found.len(), |t, f| {
            let stays = before.get(&frame.truth[t]).is_some_and(|found| found.contains(&frame.found[f]));
            let overlap = frame.overlap(t, f);
            if reaches(overlap, min_iou) { overlap + if stays { STAYS } else { 0.0 } } else { 0.0 }
        });
        let mut now: BTreeMap<T, Vec<F>> = BTreeMap::new();
        for (t, f) in pairs {
            now.entry(frame.truth[t]).or_default().push(frame.found[f]);
        }
        for (truth, found) in &now {
            let name = followed.entry(*truth).or_insert(Followed::NEVER);
            let is_new = |found: &&F| !name.last.is_empty() && !name.last.contains(found);
            name.n_switches += found.iter().filter(is_new).count();
            name.n_stretches += usize::from(!before.contains_key(truth));
            name.n_matched += found.len();
            name.last.clone_from(found);
        }
        before = now;
    }
    let sum = |of: fn(&Followed<F>) -> usize| followed.values().map(of).sum::<usize>();
    let (n_boxes, n_matched, id_switches) = (sum(|f| f.n_boxes), sum(|f| f.n_matched), sum(|f| f.n_switches));
    let n_found: usize = frames.iter().map(|frame| frame.found.len()).sum();
    let wrong = n_found - n_matched + id_switches;
    let shares = || followed.values().map(|f| f.n_matched as f64 / f.n_boxes as f64);
    Clear {
        mota: if n_boxes > 0 { (n_matched as f64 - wrong as f64) / n_boxes as f64 } else { 0.0 },
        id_switches,
        fragmentations: sum(|f| f.n_stretches.saturating_sub(1)),
        mostly_tracked: shares().filter(|share| *share > 0.8).count(),
        mostly_lost: shares().filter(|share| *share < 0.2).count(),
        n_truth: followed.len(),
    }
}

/// IDP, IDR and IDF1: every true name is given to at most one found name so that their common boxes, of
/// overlap `min_iou` or more, are as many as can be; over found boxes and over labelled ones. Range 0 to 1.
/// Source: Ristani et al. 2016.
pub fn identity<T, F>(frames: &[Frame<T, F>], min_iou: f64) -> Prf
where
    T: Ord + Copy + Hash,
    F: Ord + Copy + Hash,
{
    let mut common: BTreeMap<(T, F), usize> = BTreeMap::new();
    for frame in frames {
        let reached = frame.cells().filter(|(.., overlap)| *overlap >= min_iou);
        let pairs: BTreeSet<_> = reached.map(|(t, f, _)| (frame.truth[t], frame.found[f])).collect();
        for pair in pairs {
            *common.entry(pair).or_default() += 1;
        }
    }
    let right = largest_total(&common) as f64;
    let share = |whole: usize| right / whole.max(1) as f64;
    let n_truth = frames.iter().map(|frame| frame.truth.len()).sum();
    let n_found = frames.iter().map(|frame| frame.found.len()).sum();
    Prf::new(share(n_found), share(n_truth))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    type Named = Frame<i32, i32>;

    /// Frames of up to four labelled faces and five tracks.
    fn frames() -> impl Strategy<Value = Vec<Named>> {
        let overlap = prop_oneof![Just(0.0), 0.0..=1.0];
        let (truth, found) = (subsequence(vec![0, 1, 2, 3], 0..=4), subsequence(vec![0, 1, 2, 3, 4], 0..=5));
        let frame = (truth, found, vec(overlap, 20)).prop_map(|(truth, found, mut iou)| {
            iou.truncate(truth.len() * found.len());
            Frame { truth, found, iou }
        });
        vec(frame, 1..12)
    }

    fn shares(frames: &[Named]) -> [f64; 11] {
        let (hota, id) = (hota(frames), identity(frames, 0.5));
        let Hota { hota, deta, detre, detpr, assa, assre, asspr, loca, .. } = hota;
        [hota, deta, detre, detpr, assa, assre, asspr, loca, id.precision, id.recall, id.f1]
    }

    proptest! {
        #[test]
        fn shares_are_between_0_and_1_and_counts_no_more_than_there_is(frames in frames()) {
            for share in shares(&frames) {
                prop_assert!((0.0..=1.0 + 1e-12).contains(&share), "{share}");
            }
            let clear = clear(&frames, 0.5);
            let n_boxes: usize = frames.iter().map(|frame| frame.truth.len()).sum();
            prop_assert!(clear.mota <= 1.0);
            prop_assert!(clear.mostly_tracked + clear.mostly_lost <= clear.n_truth);
            prop_assert!(clear.id_switches + clear.n_truth <= n_boxes + usize::from(n_boxes == 0));
        }

        #[test]
        fn names_and_the_order_of_boxes_do_not_matter(frames in frames()) {
            let other: Vec<_> = frames
                .iter()
                .map(|frame| {
                    let mut other = frame.named(|t| 10 - t, |f| 7 * f % 5);
                    other.truth.reverse();
                    other.found.reverse();
                    other.iou.reverse();
                    other
                })
                .collect();
            for (a, b) in shares(&frames).into_iter().zip(shares(&other)) {
                prop_assert!((a - b).abs() < 1e-12);
            }
            prop_assert_eq!(clear(&frames, 0.5), clear(&other, 0.5));
        }

        #[test]
        fn the_truth_itself_is_perfect(frames in frames()) {
            let perfect: Vec<_> = frames
                .iter()
                .map(|Frame { truth, .. }| {
                    let same = truth.iter().flat_map(|a| truth.iter().map(move |b| f64::from(u8::from(a == b))));
                    Frame { truth: truth.clone(), found: truth.clone(), iou: same.collect() }
                })
                .collect();
            prop_assume!(perfect.iter().any(|frame| !frame.truth.is_empty()));
            for share in shares(&perfect) {
                prop_assert!((share - 1.0).abs() < 1e-12);
            }
            let clear = clear(&perfect, 0.5);
            prop_assert_eq!((clear.mota, clear.id_switches, clear.mostly_tracked), (1.0, 0, clear.n_truth));
        }
    }

    /// A person and their picture in a mirror are one name twice in a frame, which TrackEval refuses.
    #[test]
    fn a_name_twice_in_a_frame_is_followed_twice() {
        let mirror = Frame { truth: vec![0, 0], found: vec![1, 2], iou: vec![0.9, 0.0, 0.0, 0.9] };
        let frames = vec![mirror; 4];
        let clear = clear(&frames, 0.5);
        assert_eq!((clear.mota, clear.id_switches, clear.fragmentations), (1.0, 0, 0));
        assert!((hota(&frames).detre - 18.0 / 19.0).abs() < 1e-12);
        assert_eq!(identity(&frames, 0.5), Prf::new(0.5, 0.5));
    }

    #[test]
    fn two_labels_on_one_box_share_it() {
        let frame = Frame { truth: vec![0, 0], found: vec![1], iou: vec![0.9, 0.8] };
        assert_eq!(identity(&[frame], 0.5), Prf::new(1.0, 0.5));
    }

    /// A film of 5,000 true tracks and 20,000 found ones. All pairs of names would take gigabytes and
    /// minutes.
    #[test]
    fn what_never_meets_costs_nothing() {
        let frame = |at: i32| Frame { truth: vec![at / 20], found: vec![at / 5], iou: vec![0.9] };
        let film: Vec<_> = (0..100_000).map(frame).collect();
        assert!((hota(&film).assa - 0.25 * 18.0 / 19.0).abs() < 1e-9);
        assert_eq!(identity(&film, 0.5), Prf::new(0.25, 0.25));
        assert_eq!(clear(&film, 0.5).id_switches, 15_000);
    }
}
