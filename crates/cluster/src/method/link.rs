//! The default: linking that learns from the video what it needs.
//!
//! 1. [`model`]: what light and unclear pictures put into all vectors of the video is estimated and taken
//!    off.
//! 2. [`calibrate`]: the similarities of all pairs, and of those that share a frame, tell how alike two
//!    tracks of one person are here.
//! 3. [`agglomerate`]: average linkage up to that similarity; clear tracks count for more, and tracks that
//!    share a frame stay apart.
//! 4. What is now known of who is who improves the estimates of 1: the three are repeated until nothing
//!    changes.
//! 5. [`refine`]: tracks move to where they fit clearly better; an unclear one that is alone goes to the one it is
//!    clearly like.

mod calibrate;
mod model;
mod refine;

pub use self::calibrate::{BINS, Calibration, Mixture, Pairs, Prior, middle};
use self::model::{Clarity, Model};
use self::refine::{Clusters, Standing};
use super::{Assignment, Error, Fit, Items, Method, Tree, numbers};
use crate::agglomerate::{self, CANNOT_LINK_PENALTY};
use crate::items::Vectors;
use crate::linkage::{self, Merge};
use crate::neighbours::Search;

/// Rounds of estimating and merging, at most. They nearly always end by themselves after three.
const ROUNDS: usize = 8;
/// Items that estimates are made from, at most: beyond that they don't change any more.
const LEARN_FROM: usize = 4000;
/// Items up to which the tree is made beyond the threshold, too.
const WHOLE_TREE: usize = 5000;
/// An item alone is noise when its raw vectors are that much shorter than those of the median item.
const UNCLEAR: f64 = 0.7;
/// Neighbours of an item that are looked for at once.
const NEIGHBOURS: usize = 16;
/// Pairs of items that are all compared, at most; beyond, an item is compared with those in the nearest
/// cells.
const EXACT_PAIRS: usize = 1_000_000_000;
const PROBES: usize = 16;

/// Linking without a knob.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// How alike tracks of one person are.
    pub scale: Scale,
    /// Threads, from 1; they don't change the result.
    pub threads: usize,
}

/// How alike tracks of one person are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// To be learned from the video, with what is known of the embedder.
    Learned(Prior),
    /// Clusters are joined up to this mean cosine distance, 0 to below 2; vectors are left as they are.
    Fixed(f64),
}

/// Vectors as they are compared, and from which similarity on clusters are one.
struct Scaled {
    vectors: Vectors,
    similarity: f64,
    calibration: Option<Calibration>,
}

impl Method for Link {
    fn assign(&self, items: &Items<'_>, advance: &mut dyn FnMut(usize, usize)) -> Result<Assignment, Error> {
        let Some(dim) = items.vectors().first().map(|vector| vector.len()) else {
            return Ok(Assignment::default());
        };
        let vectors = Vectors::new(dim, items.vectors().concat())?;
        let clarity = Clarity::new(items);
        let search =
            Search { k: NEIGHBOURS, exact_pairs: EXACT_PAIRS, probes: PROBES, threads: self.threads };
        let scaled = match self.scale {
            Scale::Fixed(distance) => Scaled { vectors, similarity: 1.0 - distance, calibration: None },
            Scale::Learned(prior) => learn(vectors, &clarity, items.cannot_link(), prior, &search)?,
        };
        let cut = 1.0 - scaled.similarity;
        let up_to = if items.len() <= WHOLE_TREE { f64::INFINITY } else { cut };
        // Merging has two steps an item; what comes after it takes about as long as one.
        let steps = 3 * items.len();
        let mut merging = |done: usize, _: usize| advance(done, steps);
        let merges = merges(&scaled.vectors, &clarity, items.cannot_link(), up_to, &search, &mut merging)?;
        let rivals = items.cannot_link_of();
        let labels = linkage::cut(items.len(), &merges, cut);
        let mut clusters = Clusters::new(&scaled.vectors, &rivals, labels);
        let mut settling = |round: usize, of: usize| advance(steps - items.len() * (of - round) / of, steps);
        let order = clarity.least_clear_first();
        clusters.settle(&order, scaled.similarity, &search, &mut settling);
        let is_unclear = |item: &usize| clarity.ratio(*item) < UNCLEAR;
        let unclear: Vec<usize> = order.into_iter().filter(is_unclear).collect();
        clusters.adopt(&unclear, scaled.similarity, &search);
        let is_noise = |item: usize| clusters.is_alone(item) && is_unclear(&item);
        let kept: Vec<_> =
            (0..items.len()).map(|item| (!is_noise(item)).then(|| clusters.label(item))).collect();
        let numbers = numbers(&kept);
        let number = |label: usize| numbers.get(&label).copied();
        let mixture = scaled.calibration.as_ref().map(|calibration| calibration.mixture);
        let fit = |standing: Standing| fit(standing, number, scaled.similarity, mixture.as_ref());
        let fits = clusters.standings(&search).into_iter().map(fit).collect();
        advance(steps, steps);
        Ok(Assignment {
            labels: kept.into_iter().map(|label| label.and_then(number)).collect(),
            tree: Some(Tree { merges, cut, forbidden: CANNOT_LINK_PENALTY.into() }),
            fits: Some(fits),
            calibration: scaled.calibration,
        })
    }
}

/// What the video says about its vectors. From many items a part is taken, evenly.
fn learn(
    vectors: Vectors,
    clarity: &Clarity,
    apart: &[(usize, usize)],
    prior: Prior,
    search: &Search,
) -> Result<Scaled, Error> {
    let n = vectors.len();
    let step = n.div_ceil(LEARN_FROM);
    let sample: Vec<usize> = (0..n).step_by(step).collect();
    let some = vectors.some(&sample);
    let some_clarity = clarity.some(&sample);
    let is_in = |item: usize| item.is_multiple_of(step);
    let some_apart: Vec<_> =
        apart.iter().filter(|(a, b)| is_in(*a) && is_in(*b)).map(|(a, b)| (a / step, b / step)).collect();

    let mut model = Model::start(clarity);
    let mut seen: Vec<Vec<usize>> = Vec::new();
    loop {
        let plain = model.without_common(&some, &some_clarity);
        let pairs = Pairs::count(&plain, &some_apart);
        let mixture = Mixture::new(&pairs, prior);
        let similarity = mixture.threshold();
        let merges = merges(&plain, &some_clarity, &some_apart, 1.0 - similarity, search, &mut |_, _| ())?;
        let labels = linkage::cut(some.len(), &merges, 1.0 - similarity);
        // It may also swing between a few states: each is as good as the other.
        if seen.len() + 1 == ROUNDS || seen.contains(&labels) {
            let vectors = model.without_common(&vectors, clarity);
            return Ok(Scaled { vectors, similarity, calibration: Some(Calibration { pairs, mixture }) });
        }
        model = Model::fit(&some, &some_clarity, &labels);
        seen.push(labels);
    }
}

/// Average linkage up to a mean distance.
fn merges(
    vectors: &Vectors,
    clarity: &Clarity,
    apart: &[(usize, usize)],
    up_to: f64,
    search: &Search,
    advance: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Merge>, Error> {
    let weights = clarity.weights();
    let items = agglomerate::Items { vectors, weights: &weights, cannot_link: apart };
    Ok(agglomerate::link(items, up_to as f32, search, advance)?.merges)
}

/// How well an item fits. By a mixture it is the probability of its own cluster, against the next and
/// against nobody; else a silhouette.
fn fit(
    standing: Standing,
    number: impl Fn(usize) -> Option<usize>,
    threshold: f64,
    mixture: Option<&Mixture>,
) -> Fit {
    let own = standing.own.unwrap_or(threshold);
    let next = standing.next.and_then(|(label, similarity)| Some((number(label)?, 1.0 - similarity)));
    let fit = Fit::by_distance(1.0 - own, next);
    let Some(mixture) = mixture else { return fit };
    let odds = |similarity: f64| mixture.log_odds(similarity).exp();
    let next = standing.next.map_or(0.0, |(_, similarity)| odds(similarity));
    // An item alone is somebody else than everybody, of which the odds are 1.
    let (own, nobody) = standing.own.map_or((1.0, 0.0), |similarity| (odds(similarity), 1.0));
    Fit { confidence: own / (own + nobody + next), ..fit }
}
