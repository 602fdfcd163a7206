//! The default: linking by evidence.
//!
//! 1. [`quality`]: how much of a track's vector is the person, by its raw norm.
//! 2. [`offset`] and [`alpha`]: the offset of the video, and the expected number of people, both learned from
//!    the clusters of the previous round.
//! 3. [`merge`]: merges the two clusters with the largest gain of [`evidence`], while a gain is above zero.
//! 4. [`reassign`]: moves every track to its best cluster.
//! 5. [`clothes`]: what the clothes of two tracks say, learned from what their faces prove; then again from
//!    step 2 with it.
//! 6. [`posterior`]: how often the cluster of a track would be the same by chance.
//! 7. [`second_look`]: merges people who are left, by their evidence and the similarity of their mean vectors.
//!
//! Steps 2 to 4 are repeated until a partition repeats. No similarity is compared with a threshold: evidence
//! adds up over the tracks of a cluster, and the prior says how much of it is needed. Tracks that share a
//! frame stay apart.
//!
//! The quality table belongs to the embedder. [`fixed`] links vectors of an embedder without a quality table.

mod alpha;
mod calibration;
mod clothes;
mod evidence;
mod fixed;
mod merge;
mod odds;
mod offset;
mod posterior;
mod quality;
mod reassign;
mod second_look;
#[cfg(test)]
mod tests;

use schema::footer::Quality;
use serde::{Deserialize, Serialize};

pub use self::calibration::{BINS, Calibration};
use self::clothes::{ClothesModel, ClothesOdds, Pair};
use self::evidence::{Sums, distance, log_odds};
use self::merge::{Joined, Limits, Merger, Stop};
pub use self::odds::{Odds, VideoModel};
pub(crate) use self::quality::mean_norm;
use self::quality::{Norms, Tracks};
use self::reassign::{Clusters, Standing};
use self::second_look::{Clarity, Faces, Looked, SecondLook};
use super::{
    Assignment, Cut, Error, Evidence, Fit, Items, Method, Outfit, Tree, cannot_link_of, numbered, numbers,
};
use crate::agglomerate::CANNOT_LINK_PENALTY;
use crate::linkage::{self, FORBIDDEN, Merge};
use crate::neighbours::Search;
use crate::parallel::in_parallel;
use crate::prior::Prior;

/// Largest number of rounds of learning. In nearly all videos, the rounds end after three to five.
const ROUNDS: usize = 10;
/// Largest number of times that the rounds are repeated with clothes.
const CLOTHES_ROUNDS: usize = 3;
/// Largest log odds that clothes give for or against one person.
const CLOTHES_BOUND: f64 = 2.0;
/// Largest number of tracks for learning; of more tracks, an even sample is taken.
const LEARN_FROM: usize = 4000;
/// Largest number of items with which the tree is continued beyond the stop.
const WHOLE_TREE: usize = 5000;
/// Number of neighbours of a cluster that a search finds.
const NEIGHBOURS: usize = 24;
/// Largest number of neighbours that a union of clusters keeps.
const KNOWN: usize = 256;
/// Largest number of clusters of which all pairs are compared.
const ALL_PAIRS: usize = 2000;
/// Largest number of pairs of items that a search compares; with more, an item is compared with those in the nearest
/// cells. Of 100,000 synthetic tracks, the cells find so many neighbours that B³ is 0.966 either way, in less than half of
/// the time.
const EXACT_PAIRS: usize = 1 << 31;
/// Number of cells in which a search looks for neighbours.
const PROBES: usize = 32;
/// Number of steps per item, for the progress: learning, merging, reassigning.
const STEPS: usize = 3;

/// The default linking method.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Measure by which clusters are compared.
    pub scale: Scale,
    /// Where merging ends: by itself with [`Cut::Best`].
    pub cut: Cut,
    /// Evidence of clothes; used with [`Scale::Evidence`] only.
    pub clothes: Clothes,
    /// Parts of linking by [`Scale::Evidence`] that are left out.
    pub without: Vec<Part>,
    /// Number of threads, from 1; does not change the result.
    pub threads: usize,
}

/// A part of linking by evidence that can be left out, to measure what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The quality of tracks: without it, every track counts as one of the median norm.
    Quality,
    /// The offset of the video.
    Offset,
    /// Cannot-link constraints.
    Constraints,
    /// Reassignment of single tracks.
    Reassignment,
    /// The second look at people who are left.
    SecondLook,
}

/// Evidence that the clothes of two tracks may give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clothes {
    /// No evidence.
    Off,
    /// Different clothes are evidence for two people.
    Veto,
    /// Different clothes are evidence for two people, similar clothes for one person.
    #[default]
    Both,
}

impl Clothes {
    /// Returns the smallest and the largest log odds; `None` without evidence of clothes.
    fn bounds(self) -> Option<[f64; 2]> {
        match self {
            Self::Off => None,
            Self::Veto => Some([-CLOTHES_BOUND, 0.0]),
            Self::Both => Some([-CLOTHES_BOUND, CLOTHES_BOUND]),
        }
    }
}

/// Measure by which clusters are compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Scale {
    /// Evidence, by the quality table of the embedder. The distance of two clusters is `1 − g / (20 + |g|)` for the log
    /// odds `g` that the clusters are one person: 0 for one person, 1 for even odds, 2 for two people.
    Evidence(Quality),
    /// Mean cosine distance: the largest distance at which clusters are joined, 0 to below 2.
    Distance(f64),
}

impl Method for Link {
    fn assign(&self, items: &Items<'_>, advance: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error> {
        match self.cut {
            Cut::Clusters(k) if k > items.len() && !items.is_empty() => {
                return Err(Error::TooFewTracks { k, n_tracks: items.len() });
            }
            _ if items.is_empty() => return Ok(Assignment::default()),
            _ => {}
        }
        match &self.scale {
            Scale::Evidence(table) => self.by_evidence(items, table, advance),
            Scale::Distance(usual) => self.by_distance(items, *usual, advance),
        }
    }
}

impl Link {
    /// Whether a part of linking is not left out.
    fn has(&self, part: Part) -> bool {
        !self.without.contains(&part)
    }

    fn by_distance(
        &self,
        items: &Items<'_>,
        usual: f64,
        advance: &mut dyn FnMut(usize, usize),
    ) -> Result<Assignment, Error> {
        let steps = STEPS * items.len();
        let mut merging = |done: usize, _: usize| advance(done, steps);
        let fixed::Linked { labels, merges, cut } =
            fixed::link(items, usual, self.cut, self.threads, &mut merging)?;
        let fits = fixed::fits(items, &labels, cut);
        let tree = Tree { merges, cut, forbidden: CANNOT_LINK_PENALTY.into() };
        advance(steps, steps);
        let norms = Norms::new(items, 1.0);
        let thresholds = linkage::thresholds(&tree.merges, tree.cut, tree.forbidden).into_iter();
        let is_undecided = vec![false; items.len()];
        let cutting = |threshold| {
            let labels = linkage::cut(items.len(), &tree.merges, threshold);
            Cutting { threshold, labels, is_undecided: is_undecided.clone() }
        };
        let cuts = thresholds.map(cutting).collect();
        Ok(self.finish(&norms, (labels, &is_undecided), fits, tree, None, cuts))
    }

    fn by_evidence(
        &self,
        items: &Items<'_>,
        table: &Quality,
        advance: &mut dyn FnMut(usize, usize),
    ) -> Result<Assignment, Error> {
        let n = items.len();
        let norms = Norms::new(items, table.centre_norm);
        let tracks = Tracks::new(items, &norms, table, self.has(Part::Quality))?;
        let cannot_link = if self.has(Part::Constraints) { items.cannot_link() } else { &[] };
        let step = n.div_ceil(LEARN_FROM);
        let bounds = self.clothes.bounds();
        let pairs = |outfits: &[Outfit<'_>]| match bounds {
            Some(_) => clothes::pairs(outfits, self.threads),
            None => Vec::new(),
        };
        let search =
            Search { k: NEIGHBOURS, exact_pairs: EXACT_PAIRS, probes: PROBES, threads: self.threads };
        let limits = Limits { all_pairs: ALL_PAIRS, known: KNOWN, search };
        let sample = Sample::of(&tracks, items, cannot_link, step);
        let round = Round {
            tracks: &sample.tracks,
            cannot_link: &sample.cannot_link,
            worn: ClothesOdds::new(),
            second_look: None,
            without: &self.without,
            limits,
        };
        let learned = learn(round, &pairs(&sample.outfits), bounds);
        advance(n, STEPS * n);

        let stop = match self.cut {
            Cut::Best => Stop::Gain(0.0),
            Cut::Height(height) => Stop::Gain(log_odds(height)),
            Cut::Clusters(k) => Stop::Clusters(k),
        };
        let model = learned.clothes.zip(bounds);
        let worn =
            model.map(|(model, bounds)| model.apply(&pairs(items.outfits()), n, bounds)).unwrap_or_default();
        let clarity = |track: usize| match tracks.is_clear(track) {
            _ if norms.is_unclear(track) => Clarity::Unclear,
            true => Clarity::Clear,
            false => Clarity::Poor,
        };
        let second_look = self
            .has(Part::SecondLook)
            .then(|| SecondLook { faces: Faces::new(items, table), clarity: (0..n).map(clarity).collect() });
        let round = Round { tracks: &tracks, cannot_link, worn, second_look, without: &self.without, limits };
        let mut part = |share: f64| advance(n + (share * (2 * n) as f64) as usize, STEPS * n);
        let found = round.run(&learned, stop, true, &mut part);
        let mut calibration = Calibration {
            open: vec![0; BINS],
            cannot_link: vec![0; BINS],
            alpha: learned.alpha,
            offset: learned.offsets[0].iter().map(|x| x * x).sum(),
        };
        let singles = Sums::new(&sample.tracks, &learned.offsets, self.threads);
        calibration.count(&singles, &Prior::new(2, learned.alpha), &sample.cannot_link);
        let cut = match self.cut {
            Cut::Best => distance(0.0),
            Cut::Height(height) => height,
            Cut::Clusters(k) => {
                n.checked_sub(k + 1).and_then(|last| found.merges.get(last)).map_or(0.0, |merge| merge.height)
            }
        };
        let fits = found.standings.iter().zip(&found.confidences).map(fit).collect();
        let cuts = round.cuts(&learned, &found.merges, cut);
        let tree = Tree { merges: found.merges, cut, forbidden: FORBIDDEN };
        let evidence = Evidence {
            items: (0..n).collect(),
            views: Sums::new(&tracks, &learned.offsets, self.threads).views(),
            alpha: learned.alpha,
            clothes: model.map(|(model, bounds)| model.line(bounds)),
        };
        advance(STEPS * n, STEPS * n);
        let labels = (found.labels, found.is_undecided.as_slice());
        let found = self.finish(&norms, labels, fits, tree, Some(calibration), cuts);
        Ok(Assignment { evidence: Some(evidence), ..found })
    }

    /// Marks single unclear and undecided tracks as noise, unless a number of clusters is given.
    fn finish(
        &self,
        norms: &Norms,
        (labels, is_undecided): (Vec<usize>, &[bool]),
        fits: Vec<Fit>,
        tree: Tree,
        calibration: Option<Calibration>,
        cuts: Vec<Cutting>,
    ) -> Assignment {
        let kept = |labels: &[usize], is_undecided: &[bool], keeps_all: bool| -> Vec<Option<usize>> {
            let mut counts = vec![0_usize; labels.iter().max().map_or(0, |last| last + 1)];
            labels.iter().for_each(|label| counts[*label] += 1);
            let is_no_person = |item: usize| norms.is_unclear(item) || is_undecided[item];
            let is_kept = |item: usize| keeps_all || counts[labels[item]] > 1 || !is_no_person(item);
            (0..labels.len()).map(|item| is_kept(item).then_some(labels[item])).collect()
        };
        // With a threshold, unclear tracks are noise.
        let people = |cutting: &Cutting| numbered(kept(&cutting.labels, &cutting.is_undecided, false));
        let cuts = cuts.iter().map(|cutting| (cutting.threshold, people(cutting))).collect();
        let kept = kept(&labels, is_undecided, matches!(self.cut, Cut::Clusters(_)));
        let numbers = numbers(&kept);
        let number = |label: usize| numbers.get(&label).copied();
        let runner_up = |fit: &Fit| fit.runner_up.and_then(|(label, margin)| Some((number(label)?, margin)));
        Assignment {
            labels: kept.iter().map(|label| label.and_then(number)).collect(),
            tree: Some(tree),
            fits: Some(fits.iter().map(|fit| Fit { runner_up: runner_up(fit), ..*fit }).collect()),
            calibration,
            evidence: None,
            cuts,
        }
    }
}

fn fit((standing, confidence): (&Standing, &f64)) -> Fit {
    let margin = |gain: f64| distance(gain) - distance(standing.own);
    Fit { confidence: *confidence, runner_up: standing.next.map(|(label, gain)| (label, margin(gain))) }
}

/// Tracks for learning.
struct Sample<'a> {
    tracks: Tracks,
    cannot_link: Vec<(usize, usize)>,
    outfits: Vec<Outfit<'a>>,
}

impl<'a> Sample<'a> {
    /// Takes every `step`th track, with the constraints and clothes of these tracks.
    fn of(tracks: &Tracks, items: &Items<'a>, cannot_link: &[(usize, usize)], step: usize) -> Self {
        let is_in = |track: usize| track.is_multiple_of(step.max(1));
        let some: Vec<usize> = (0..tracks.len()).filter(|track| is_in(*track)).collect();
        let pairs = cannot_link.iter().filter(|(a, b)| is_in(*a) && is_in(*b));
        let outfits = items.outfits().iter().filter(|outfit| is_in(outfit.item));
        Self {
            tracks: tracks.subset(&some),
            cannot_link: pairs.map(|(a, b)| (a / step, b / step)).collect(),
            outfits: outfits.map(|outfit| Outfit { item: outfit.item / step, ..*outfit }).collect(),
        }
    }
}

/// Parameters learned from a video.
#[derive(Debug, Clone, PartialEq)]
struct Learned {
    /// Offset of the video in each view.
    offsets: Vec<Vec<f64>>,
    /// Expected number of people, as the concentration of the prior.
    alpha: f64,
    /// ClothesModel of the clothes; `None` if clothes give no evidence.
    clothes: Option<ClothesModel>,
}

/// Learns from faces alone, then from faces and clothes, until a partition repeats.
fn learn(mut round: Round<'_>, pairs: &[Pair], bounds: Option<[f64; 2]>) -> Learned {
    let (mut learned, mut labels) = learn_rounds(&round);
    for _ in 0..CLOTHES_ROUNDS {
        let Some(bounds) = bounds else { break };
        let singles = Sums::new(round.tracks, &round.offsets(&labels), round.limits.search.threads);
        let model = ClothesModel::learn(pairs, &labels, &singles, round.cannot_link);
        if model.is_none() && round.worn.is_empty() {
            break;
        }
        round.worn = model.map(|model| model.apply(pairs, labels.len(), bounds)).unwrap_or_default();
        let before = std::mem::take(&mut labels);
        (learned, labels) = learn_rounds(&round);
        learned.clothes = model;
        if labels == before {
            break;
        }
    }
    learned
}

/// Repeats rounds until a partition repeats. Returns the parameters and the partition.
fn learn_rounds(round: &Round<'_>) -> (Learned, Vec<usize>) {
    let tracks = round.tracks;
    let mut labels: Vec<usize> = (0..tracks.len()).collect();
    let mut seen: Vec<Vec<usize>> = Vec::new();
    let mut alpha = alpha::start(tracks.len());
    loop {
        let learned = Learned { offsets: round.offsets(&labels), alpha, clothes: None };
        labels = round.run(&learned, Stop::Gain(0.0), false, &mut |_| ()).labels;
        if seen.len() + 1 == ROUNDS || seen.contains(&labels) {
            return (learned, labels);
        }
        alpha = alpha::learn(tracks, &labels);
        seen.push(labels.clone());
    }
}

/// Returns the offset of the video in each view.
fn offsets(tracks: &Tracks, labels: &[usize]) -> Vec<Vec<f64>> {
    tracks.views.iter().map(|view| offset::offset(view, labels)).collect()
}

/// One round of merging and reassignment.
struct Round<'a> {
    tracks: &'a Tracks,
    cannot_link: &'a [(usize, usize)],
    /// Log odds of clothes.
    worn: ClothesOdds,
    second_look: Option<SecondLook>,
    without: &'a [Part],
    limits: Limits,
}

/// Result of a round.
struct Partition {
    /// Cluster of each track; clusters are numbered from zero in the order of their first tracks.
    labels: Vec<usize>,
    /// See [`Looked::is_undecided`].
    is_undecided: Vec<bool>,
    /// Merges of the last round; with at most [`WHOLE_TREE`] tracks, also the merges beyond the stop.
    merges: Vec<Merge>,
    /// Standings of all tracks in the last round; empty in earlier rounds.
    standings: Vec<Standing>,
    /// Of the last round: confidence of each track.
    confidences: Vec<f64>,
}

/// Result for another threshold.
struct Cutting {
    threshold: f64,
    /// As in [`Partition`].
    labels: Vec<usize>,
    /// As in [`Partition`].
    is_undecided: Vec<bool>,
}

impl Round<'_> {
    /// Returns the offset of the video in each view.
    fn offsets(&self, labels: &[usize]) -> Vec<Vec<f64>> {
        if self.without.contains(&Part::Offset) {
            return self.tracks.views.iter().map(|view| vec![0.0; view.vectors.dim()]).collect();
        }
        offsets(self.tracks, labels)
    }

    /// Moves single tracks to better clusters.
    fn reassign(&self, clusters: &mut Clusters<'_>, stop: Stop, advance: &mut dyn FnMut(f64)) {
        if !self.without.contains(&Part::Reassignment) {
            clusters.reassign(&self.tracks.least_clear_first(), stop, advance);
        }
    }

    /// Merges and reassigns once. Reports the completed share, 0 to 1, to `advance`.
    fn run(&self, learned: &Learned, stop: Stop, is_last: bool, advance: &mut dyn FnMut(f64)) -> Partition {
        let n = self.tracks.len();
        let search = self.limits.search;
        let singles = Sums::new(self.tracks, &learned.offsets, search.threads);
        let prior = Prior::new(n, learned.alpha);
        let mut merger =
            Merger::new(singles.clone(), &prior, self.cannot_link, self.limits).with_clothes(&self.worn);
        merger.run(stop, &mut |part| advance(0.5 * part));
        let labels = merger.labels();
        let mut merges = Vec::new();
        if is_last {
            if n <= WHOLE_TREE {
                merger.complete(1);
            }
            merges = tree(n, merger.joined());
        }
        drop(merger);
        let cannot_link_of = cannot_link_of(n, self.cannot_link);
        let mut clusters =
            Clusters::new(&singles, &prior, &cannot_link_of, labels, search).with_clothes(&self.worn);
        self.reassign(&mut clusters, stop, &mut |part| advance(0.5 + 0.5 * part));
        let (mut standings, mut confidences) = (Vec::new(), Vec::new());
        let mut is_undecided = vec![false; n];
        if is_last {
            standings = clusters.standings();
            let certainty: Vec<f64> = standings.iter().map(|standing| standing.certainty).collect();
            confidences = posterior::confidences(&clusters, self.tracks, &certainty, search.threads);
            if let (Some(look), Stop::Gain(stop)) = (&self.second_look, stop) {
                let was_alone: Vec<bool> = (0..n).map(|track| clusters.is_alone(track)).collect();
                let Looked { right, is_undecided: undecided } = look.merge(&mut clusters, stop, search);
                is_undecided = undecided;
                let moved: Vec<usize> = (0..n).filter(|track| right[*track] < 1.0).collect();
                for track in &moved {
                    // That a track is alone was wrong if the track moved.
                    let before = if was_alone[*track] { 1.0 } else { confidences[*track] };
                    confidences[*track] = right[*track] * before;
                }
                if !moved.is_empty() {
                    standings = clusters.standings();
                }
            }
        }
        Partition { labels: clusters.labels().to_vec(), is_undecided, merges, standings, confidences }
    }

    /// Returns the labels and the undecided tracks that other thresholds would give, for the tree of the last round and its
    /// cut.
    fn cuts(&self, learned: &Learned, merges: &[Merge], cut: f64) -> Vec<Cutting> {
        let (n, search) = (self.tracks.len(), self.limits.search);
        let thresholds = linkage::thresholds(merges, cut, FORBIDDEN);
        if thresholds.is_empty() {
            return Vec::new();
        }
        let singles = Sums::new(self.tracks, &learned.offsets, search.threads);
        let prior = Prior::new(n, learned.alpha);
        let cannot_link_of = cannot_link_of(n, self.cannot_link);
        let labels = |threshold: &f64| {
            let labels = linkage::cut(n, merges, *threshold);
            let one_thread = Search { threads: 1, ..search };
            let clusters = Clusters::new(&singles, &prior, &cannot_link_of, labels, one_thread);
            let mut clusters = clusters.with_clothes(&self.worn);
            let stop = log_odds(*threshold);
            self.reassign(&mut clusters, Stop::Gain(stop), &mut |_| ());
            let looked = self.second_look.as_ref().map(|look| look.merge(&mut clusters, stop, one_thread));
            let is_undecided = looked.map_or_else(|| vec![false; n], |looked| looked.is_undecided);
            Cutting { threshold: *threshold, labels: clusters.labels().to_vec(), is_undecided }
        };
        in_parallel(search.threads, &thresholds, labels, &mut |_| ())
    }
}

/// Returns the merges with their heights. A merge can have a larger gain than an earlier merge; its height is then
/// that of the earlier merge.
fn tree(n: usize, joined: &[Joined]) -> Vec<Merge> {
    let mut highest = 0.0_f64;
    let merge = |joined: &Joined| {
        let forbidden = if joined.forbidden { FORBIDDEN } else { 0.0 };
        highest = highest.max(distance(joined.gain) + forbidden);
        (joined.into, joined.from, highest)
    };
    linkage::numbered(n, joined.iter().map(merge).collect())
}
