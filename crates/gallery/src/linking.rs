//! Links the people of all videos at once, so that the result depends on the set of videos and not on their order.
//!
//! Clusters are compared by their [evidence](crate::evidence), under constraints: two people of one video are never
//! merged, and people of one series are merged exactly where the linking of the series found one person. The pair of clusters
//! that gains most is merged first, while a merge gains [enough](Measure::least_gain). Pairs are found by a search for
//! neighbours, first among all people of videos, then of the clusters that merges have changed, until nothing is merged. After
//! every search, the expected number of people is learned anew.
//!
//! *Example.* In two dimensions, video 0 has people at 0° and 90°, and video 1 has people at 85° and 5°. The people
//! at 0° and 5° become one cluster, the people at 90° and 85° another one.

use std::collections::{BinaryHeap, HashMap};

use cluster::items::{self, Vectors};
use cluster::neighbours::{self, Rows, Search};
use cluster::prior;
use numeric::merges::{Merges, Pair};
use numeric::vector::dot_in_lanes as dot;

use crate::Error;
use crate::evidence::{Measure, Sum};
use crate::matching::{Match, Scale, TRIMMED, centred, evenly, sample};
use crate::progress::{Pairs, Progress};

/// Number of neighbours that a search finds for each cluster, and twice the number that a cluster keeps.
const NEIGHBOURS: usize = 64;
/// Largest number of searches.
const SEARCHES: usize = 20;
/// `α` of the first search for each item: more than what is learned where most items are people of their own.
const START: f64 = 1.0;
/// Number of steps of the precision at which the least cosine is computed.
const STEPS: u32 = 12;
/// Number of pairs that are looked at before progress may be saved, some 10 s of work of one core.
const PAIRS: usize = 1 << 32;
/// Smallest and largest number of clusters whose neighbours are searched at once.
const LEAST_BLOCK: usize = 1 << 10;
const LARGEST_BLOCK: usize = 1 << 14;
/// Number of pairs for which the average of all pairs counts in the spread of a cluster. A gallery with few people says
/// little about the spread of one.
const AVERAGE_PAIRS: f64 = 100.0;
/// Up to so many pairs of a person and a cluster, the most similar other cluster is searched among all.
const EXACT_PAIRS: usize = 1 << 32;

/// A person of a video.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Index of the video, from zero.
    pub(crate) video: u32,
    /// Number of tracks of the person, above 0.
    pub(crate) weight: f32,
    /// Mean embedding of the person, of unit norm.
    pub(crate) vector: &'a [f32],
    /// Keys of the series of the video and of the person in it; `None` without a series.
    pub(crate) in_series: Option<(&'a str, &'a str)>,
}

/// What corrections say about items, given by their indices.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taught {
    /// Pairs that are one person, which are linked first; a pair of one video is not linked.
    pub(crate) same: Vec<(usize, usize)>,
    /// Pairs that are two people, which are never linked.
    pub(crate) different: Vec<(usize, usize)>,
}

/// Clusters of the people of all videos.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Linked {
    /// Cluster of each item; clusters are numbered from zero in the order of their first items.
    pub(crate) labels: Vec<usize>,
    /// Match of each item: its cluster with the similarity to the mean of the other items there, `None` where there
    /// are none, and the most similar other cluster without a person of its video. The threshold of an item with
    /// neither is `None`.
    pub(crate) matches: Vec<Match>,
}

/// Links items. The caller sorts the items, so that the result does not depend on the order of arrival.
///
/// # Errors
/// When vectors differ in length or are not finite, when there are 2³¹ items or more, and when the progress cannot be
/// saved.
pub(crate) fn link(
    scale: &Scale,
    items: &[Item<'_>],
    taught: &Taught,
    threads: usize,
    mut progress: Option<&mut Progress>,
) -> Result<Linked, Error> {
    if items.is_empty() {
        return Ok(Linked { labels: Vec::new(), matches: Vec::new() });
    }
    let rows = rows(scale, items)?;
    let mut clusters = Clusters::new(measure(scale, items, &rows), items, &rows);
    clusters.teach(taught);
    clusters.join_series(items);
    let mut fresh = clusters.living();
    for number in 0..SEARCHES {
        if !fresh.is_empty() {
            clusters.search(&fresh, threads, (number, progress.as_deref_mut()))?;
        }
        fresh = clusters.merge_all();
        let learned = clusters.learn();
        if fresh.is_empty() && !learned {
            break;
        }
    }
    let labels = clusters.forest.labels(items.len());
    let matches = clusters.matches(items, &rows, &labels, threads)?;
    Ok(Linked { labels, matches })
}

/// Returns the matches of items whose clusters are known: see [`Linked`]. Clusters are numbered from zero in the order
/// of their first items, and have no two items of a video.
///
/// # Errors
/// As [`link`].
pub(crate) fn matches(
    scale: &Scale,
    items: &[Item<'_>],
    labels: &[usize],
    threads: usize,
) -> Result<Vec<Match>, items::Error> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let rows = rows(scale, items)?;
    let mut clusters = Clusters::new(measure(scale, items, &rows), items, &rows);
    let mut firsts = Vec::new();
    for (item, label) in (0..).zip(labels) {
        match firsts.get(*label) {
            Some(first) => clusters.merge(*first, item),
            None => firsts.push(item),
        }
    }
    clusters.learn();
    clusters.matches(items, &rows, labels, threads)
}

/// Returns the vectors of items without what all have in common, if the scale says so.
fn rows(scale: &Scale, items: &[Item<'_>]) -> Result<Vectors, items::Error> {
    let dim = items.first().map_or(0, |item| item.vector.len());
    let vectors: Vec<&[f32]> = items.iter().map(|item| item.vector).collect();
    Vectors::new(dim, centred(&vectors, &scale.common(&vectors, &[])))
}

/// Returns how items are compared, which depends on the similarities of different people among them.
fn measure(scale: &Scale, items: &[Item<'_>], rows: &Vectors) -> Measure {
    let row = |at: usize| rows.row(at);
    let sample = sample(items.len(), row, |a, b| items[a].video != items[b].video);
    scale.measure(items.len(), &sample)
}

/// Vectors that stand for the strangers of a library.
#[derive(Debug, Clone, PartialEq)]
struct Cohort {
    dim: usize,
    /// The vectors, one after the other; none without evidence.
    vectors: Vec<f32>,
    /// Variance of the similarities of strangers.
    variance: f64,
}

impl Cohort {
    /// An evenly spaced sample of rows.
    fn new(measure: &Measure, rows: &Vectors, n: usize) -> Self {
        let Measure::Evidence { dim } = measure else {
            return Self { dim: rows.dim(), vectors: Vec::new(), variance: 1.0 };
        };
        let vectors = evenly(n).flat_map(|at| rows.row(at).iter().copied()).collect();
        Self { dim: rows.dim(), vectors, variance: dim.recip() }
    }

    /// The [spread](Sum::spread) of a vector whose squared length is `square`. Vectors that are too similar are taken for
    /// the same person.
    fn spread(&self, vector: &[f32], square: f64) -> f64 {
        let most = TRIMMED * TRIMMED * self.variance * square;
        let (mut count, mut squares) = (AVERAGE_PAIRS, AVERAGE_PAIRS);
        if square > 0.0 {
            for other in self.vectors.chunks_exact(self.dim) {
                let product = f64::from(dot(vector, other));
                if product < 0.0 || product * product < most {
                    count += 1.0;
                    squares += product * product / (self.variance * square);
                }
            }
        }
        squares / count
    }
}

/// Clusters during linking. The index of the first item of a cluster is the index of its sums, videos and node.
struct Clusters {
    dim: usize,
    measure: Measure,
    cohort: Cohort,
    log_alpha: f64,
    /// `F` of each cluster, one after the other.
    vectors: Vec<f32>,
    sums: Vec<Sum>,
    /// Videos of each cluster, in order.
    videos: Vec<Vec<u32>>,
    /// Indices of the pairs of [`Taught::different`] with an item in each cluster, in order.
    apart: Vec<Vec<u32>>,
    /// Series of each cluster, in order.
    series: Vec<Vec<u32>>,
    /// Node of each cluster, the version in a [`Pair`].
    nodes: Vec<u32>,
    /// Clusters that each is compared with, as they were when it was last merged.
    near: Vec<Vec<u32>>,
    forest: Merges,
    living: usize,
    n_videos: usize,
}

impl Clusters {
    fn new(measure: Measure, items: &[Item<'_>], rows: &Vectors) -> Self {
        let cohort = Cohort::new(&measure, rows, items.len());
        let mut vectors = Vec::with_capacity(items.len() * rows.dim());
        let mut sums = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let precision = measure.precision(f64::from(item.weight));
            let length = measure.length(precision);
            vectors.extend(rows.row(at).iter().map(|x| x * length as f32));
            sums.push(Sum { spread: cohort.spread(rows.row(at), 1.0), ..Sum::of(&measure, precision) });
        }
        Self {
            dim: rows.dim(),
            measure,
            cohort,
            log_alpha: (START * items.len() as f64).ln(),
            vectors,
            sums,
            videos: items.iter().map(|item| vec![item.video]).collect(),
            apart: vec![Vec::new(); items.len()],
            series: vec![Vec::new(); items.len()],
            nodes: (0..items.len() as u32).collect(),
            near: vec![Vec::new(); items.len()],
            forest: Merges::new(items.len()),
            living: items.len(),
            n_videos: items.iter().map(|item| item.video as usize + 1).max().unwrap_or(0),
        }
    }

    /// Takes over what corrections say.
    fn teach(&mut self, taught: &Taught) {
        for (pair, (a, b)) in (0..).zip(&taught.different) {
            [a, b].into_iter().for_each(|item| self.apart[*item].push(pair));
        }
        for (a, b) in &taught.same {
            let (x, y) = (self.forest.first(*a as u32), self.forest.first(*b as u32));
            if x != y && !self.is_forbidden(x, y) {
                self.merge(x, y);
            }
        }
    }

    /// Merges the people who are one person of a series, unless a correction says otherwise. From then on, no two people of
    /// a series are merged: all of their tracks were compared when the series was linked.
    fn join_series(&mut self, items: &[Item<'_>]) {
        let mut last: HashMap<(&str, &str), u32> = HashMap::new();
        for (at, item) in (0..).zip(items) {
            let Some(before) = item.in_series.and_then(|keys| last.insert(keys, at)) else { continue };
            let (x, y) = (self.forest.first(before), self.forest.first(at));
            if x != y && !self.is_forbidden(x, y) {
                self.merge(x, y);
            }
        }
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        for (at, item) in (0..).zip(items) {
            let Some((series_id, _)) = item.in_series else { continue };
            let next = numbers.len() as u32;
            let number = *numbers.entry(series_id).or_insert(next);
            let of = &mut self.series[self.forest.first(at) as usize];
            if let Err(place) = of.binary_search(&number) {
                of.insert(place, number);
            }
        }
    }

    /// Returns the first items of all clusters.
    fn living(&mut self) -> Vec<u32> {
        (0..self.nodes.len() as u32).filter(|item| self.forest.first(*item) == *item).collect()
    }

    fn vector(&self, item: u32) -> &[f32] {
        &self.vectors[item as usize * self.dim..][..self.dim]
    }

    fn gain(&self, a: u32, b: u32) -> f64 {
        let product = f64::from(dot(self.vector(a), self.vector(b)));
        self.measure.gain(&self.sums[a as usize], &self.sums[b as usize], product, self.log_alpha)
    }

    /// Returns whether two clusters have people of the same video or series, or are two people by a correction.
    fn is_forbidden(&self, a: u32, b: u32) -> bool {
        [&self.videos, &self.apart, &self.series].into_iter().any(|of| {
            let (a, b) = (&of[a as usize], &of[b as usize]);
            let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
            few.iter().any(|one| many.binary_search(one).is_ok())
        })
    }

    /// Learns from the clusters how many people are to be expected; returns whether that has changed.
    fn learn(&mut self) -> bool {
        let log_alpha = prior::solve(self.living, self.nodes.len(), 0.0).ln();
        let has_changed = (log_alpha - self.log_alpha).abs() > 0.01;
        self.log_alpha = log_alpha;
        has_changed
    }

    /// Returns the directions of some clusters.
    fn directions(&self, of: &[u32]) -> Result<Vectors, items::Error> {
        let mut values = Vec::with_capacity(of.len() * self.dim);
        for item in of {
            let vector = self.vector(*item);
            let length = dot(vector, vector).sqrt();
            values.extend(vector.iter().map(|x| if length > 0.0 { x / length } else { 0.0 }));
        }
        Vectors::new(self.dim, values)
    }

    /// Finds the neighbours of clusters that are `fresh`, in order. The progress has the number of the search.
    fn search(
        &mut self,
        fresh: &[u32],
        threads: usize,
        (number, mut progress): (usize, Option<&mut Progress>),
    ) -> Result<(), Error> {
        let living = self.living();
        let mut first = 0;
        while first < fresh.len() {
            let known = progress.as_ref().and_then(|progress| progress.pairs(number, first));
            let (end, pairs) = match known {
                Some(known) => known,
                None => {
                    self.search_from(first, (fresh, &living), threads, (number, progress.as_deref_mut()))?
                }
            };
            for [a, b] in pairs {
                self.near[a as usize].push(b);
                self.near[b as usize].push(a);
            }
            first = end;
        }
        Ok(())
    }

    /// Finds the neighbours of fresh clusters from the one of index `first` on, until progress was saved. Returns the end
    /// of these clusters, and the pairs.
    fn search_from(
        &self,
        first: usize,
        (fresh, living): (&[u32], &[u32]),
        threads: usize,
        (number, mut progress): (usize, Option<&mut Progress>),
    ) -> Result<(usize, Pairs), Error> {
        let is_all = fresh.len() == living.len();
        // Of all pairs, each is looked at once.
        let among = if is_all { &living[first..] } else { living };
        let directions = self.directions(among)?;
        let rows: Vec<u32> = (0..among.len() as u32).collect();
        let floor = self.least_cosine(fresh, living);
        let least_kept = self.measure.least_kept();
        // Cosines count from what the pair needs, so that the nearest neighbours are those that gain most.
        let penalty = |a: u32, b: u32| {
            let (x, y) = (among[a as usize], among[b as usize]);
            if a == b || is_all && a > b || self.is_forbidden(x, y) {
                return f32::INFINITY;
            }
            let (x, y) = (&self.sums[x as usize], &self.sums[y as usize]);
            let needs = self.measure.cosine(x, y, least_kept, self.log_alpha);
            (needs as f32 - floor).max(0.0)
        };
        let search = Search { k: NEIGHBOURS, exact_pairs: usize::MAX, ..Search::new(threads.max(1)) };
        let size = (PAIRS / living.len()).clamp(LEAST_BLOCK, LARGEST_BLOCK);
        let (mut pairs, mut end) = (Vec::new(), first);
        while end < fresh.len() {
            let block = &fresh[end..(end + size).min(fresh.len())];
            let queries: Vec<u32> =
                block.iter().filter_map(|item| among.binary_search(item).ok()).map(|at| at as u32).collect();
            let rest = if is_all { &rows[end - first..] } else { &rows[..] };
            let (rest, queries) =
                (Rows { of: &directions, rows: rest }, Rows { of: &directions, rows: &queries });
            let found = neighbours::nearest(rest, queries, floor, penalty, &search, &mut |_| ());
            pairs.extend(found.edges.iter().map(|edge| [among[edge.a as usize], among[edge.b as usize]]));
            end += block.len();
            if let Some(progress) = progress.as_mut() {
                let runs = (end - first) * self.n_videos / self.nodes.len();
                if progress.is_due(runs) {
                    progress.save_pairs(number, (first, end), &pairs)?;
                    break;
                }
            }
        }
        Ok((end, pairs))
    }

    /// Returns a cosine that is below what any two clusters need.
    fn least_cosine(&self, a: &[u32], b: &[u32]) -> f32 {
        let count = self.sums.iter().map(|sum| sum.count).max().unwrap_or(1);
        let spread = self.sums.iter().map(|sum| sum.spread);
        let spreads = [spread.clone().fold(1.0, f64::min), spread.fold(1.0, f64::max)];
        let ends = |of: &[u32]| {
            let by = |x: &&u32, y: &&u32| {
                self.sums[**x as usize].precision.total_cmp(&self.sums[**y as usize].precision)
            };
            let ends = [of.iter().min_by(by), of.iter().max_by(by)];
            let sums: Vec<Sum> = ends.into_iter().flatten().map(|item| self.sums[*item as usize]).collect();
            // Needs are not monotone between the ends.
            let steps = (0..=STEPS).flat_map(|step| {
                let share = f64::from(step) / f64::from(STEPS);
                let precision =
                    sums[0].precision.powf(1.0 - share) * sums[sums.len() - 1].precision.powf(share);
                spreads.map(|spread| Sum { count, spread, ..Sum::of(&self.measure, precision) })
            });
            steps.collect::<Vec<_>>()
        };
        let (a, b) = (ends(a), ends(b));
        let needs = a.iter().flat_map(|a| {
            b.iter().map(move |b| self.measure.cosine(a, b, self.measure.least_kept(), self.log_alpha))
        });
        needs.fold(1.0, f64::min) as f32
    }

    /// Merges pairs of neighbours, those that gain most first, as long as they gain enough. Returns the clusters that
    /// were merged, in order.
    fn merge_all(&mut self) -> Vec<u32> {
        let mut heap = BinaryHeap::new();
        for item in self.living() {
            let mut near = std::mem::take(&mut self.near[item as usize]);
            self.refresh(item, &mut near);
            heap.extend(
                near.iter().filter(|other| **other > item).filter_map(|other| self.pair(item, *other)),
            );
            self.near[item as usize] = near;
        }
        let mut merged = Vec::new();
        while let Some(pair) = heap.pop() {
            let [a, b] = pair.clusters;
            if pair.versions != [self.nodes[a as usize], self.nodes[b as usize]] {
                continue;
            }
            self.merge(a, b);
            merged.push(a);
            let mut near = std::mem::take(&mut self.near[a as usize]);
            self.refresh(a, &mut near);
            let mut gains: Vec<(f64, u32)> = Vec::with_capacity(near.len());
            for other in near {
                if self.is_forbidden(a, other) {
                    continue;
                }
                let gain = self.gain(a, other);
                if gain >= self.measure.least_kept() {
                    gains.push((gain, other));
                }
                if gain >= self.measure.least_gain() {
                    heap.push(self.pair_of(a, other, gain));
                }
            }
            if gains.len() > 2 * NEIGHBOURS {
                gains.select_nth_unstable_by(2 * NEIGHBOURS, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                gains.truncate(2 * NEIGHBOURS);
            }
            self.near[a as usize] = gains.into_iter().map(|(_, other)| other).collect();
        }
        merged.iter_mut().for_each(|item| *item = self.forest.first(*item));
        merged.sort_unstable();
        merged.dedup();
        merged
    }

    /// Replaces neighbours by the clusters that they are part of, each once.
    fn refresh(&mut self, item: u32, near: &mut Vec<u32>) {
        near.iter_mut().for_each(|other| *other = self.forest.first(*other));
        near.sort_unstable();
        near.dedup();
        near.retain(|other| *other != item);
    }

    /// Returns two clusters as a pair; `None` if they must not be merged.
    fn pair(&self, a: u32, b: u32) -> Option<Pair> {
        if self.is_forbidden(a, b) {
            return None;
        }
        let gain = self.gain(a, b);
        (gain >= self.measure.least_gain()).then(|| self.pair_of(a, b, gain))
    }

    fn pair_of(&self, a: u32, b: u32, gain: f64) -> Pair {
        let clusters = [a.min(b), a.max(b)];
        Pair { gain, clusters, versions: clusters.map(|item| self.nodes[item as usize]) }
    }

    /// Merges two clusters into one, whose first item is the smaller of the two first items.
    fn merge(&mut self, x: u32, y: u32) {
        let (into, from) = (x.min(y) as usize, x.max(y) as usize);
        self.nodes[into] = self.forest.merge(self.nodes[into], self.nodes[from]);
        // No pair has this node.
        self.nodes[from] = u32::MAX;
        let (low, high) = self.vectors.split_at_mut(from * self.dim);
        for (x, y) in low[into * self.dim..][..self.dim].iter_mut().zip(&high[..self.dim]) {
            *x += y;
        }
        let (vector, other) = (self.vector(into as u32), self.sums[from]);
        let square = f64::from(dot(vector, vector));
        let spread = self.cohort.spread(vector, square);
        let sum = &mut self.sums[into];
        let (precision, count) = (sum.precision + other.precision, sum.count + other.count);
        *sum = Sum { square, precision, count, spread };
        for of in [&mut self.videos, &mut self.apart, &mut self.series] {
            let moved = std::mem::take(&mut of[from]);
            of[into].extend(moved);
            of[into].sort_unstable();
        }
        let near = std::mem::take(&mut self.near[from]);
        self.near[into].extend(near);
        self.living -= 1;
    }

    /// See [`Linked::matches`].
    fn matches(
        &mut self,
        items: &[Item<'_>],
        rows: &Vectors,
        labels: &[usize],
        threads: usize,
    ) -> Result<Vec<Match>, items::Error> {
        let living = self.living();
        let directions = self.directions(&living)?;
        let mut matches = vec![Match { known: None, runner_up: None, threshold: None }; items.len()];
        // Clusters have the same numbers as labels. The own cluster of an item is excluded, because it has the video. Other
        // people of its series are excluded, too: whether they are one person was not decided here.
        let is_forbidden = |item: usize, label: u32| {
            let cluster = living[label as usize] as usize;
            let own = &self.series[living[labels[item]] as usize];
            let is_of_series = |series: &u32| self.series[cluster].binary_search(series).is_ok();
            self.videos[cluster].binary_search(&items[item].video).is_ok()
                || (items[item].in_series.is_some() && own.iter().any(is_of_series))
        };
        if items.len() * living.len() <= EXACT_PAIRS {
            let all: Vec<u32> = (0..living.len() as u32).collect();
            let queries: Vec<u32> = (0..items.len() as u32).collect();
            let penalty =
                |item: u32, label: u32| if is_forbidden(item as usize, label) { f32::INFINITY } else { 0.0 };
            let search = Search { k: 1, exact_pairs: usize::MAX, ..Search::new(threads.max(1)) };
            let (among, of) = (Rows { of: &directions, rows: &all }, Rows { of: rows, rows: &queries });
            for edge in neighbours::nearest(among, of, f32::MIN, penalty, &search, &mut |_| ()).edges {
                matches[edge.a as usize].runner_up = Some((edge.b as usize, f64::from(edge.similarity)));
            }
        } else {
            for (at, found) in matches.iter_mut().enumerate() {
                let near = self.near[living[labels[at]] as usize]
                    .iter()
                    .filter_map(|other| living.binary_search(other).ok());
                let free = near.filter(|label| !is_forbidden(at, *label as u32));
                let similar = free.map(|label| (label, f64::from(dot(rows.row(at), directions.row(label)))));
                found.runner_up = similar.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
            }
        }
        for (at, (found, label)) in matches.iter_mut().zip(labels).enumerate() {
            let precision = self.measure.precision(f64::from(items[at].weight));
            let length = self.measure.length(precision);
            let spread = self.cohort.spread(rows.row(at), 1.0);
            let own = Sum { spread, ..Sum::of(&self.measure, precision) };
            let mut other = found.runner_up.map(|(label, _)| self.sums[living[label] as usize]);
            if self.videos[living[*label] as usize].len() > 1 {
                let sum = self.vector(living[*label]).iter();
                let rest: Vec<f32> = sum.zip(rows.row(at)).map(|(sum, x)| sum - length as f32 * x).collect();
                let square = dot(&rest, &rest);
                let spread = self.cohort.spread(&rest, f64::from(square));
                let similarity = if square > 0.0 { dot(&rest, rows.row(at)) / square.sqrt() } else { 0.0 };
                found.known = Some((*label, f64::from(similarity)));
                let all = self.sums[living[*label] as usize];
                let precision = (all.precision - precision).max(0.0);
                other = Some(Sum { square: f64::from(square), precision, count: all.count - 1, spread });
            }
            found.threshold = other
                .map(|other| self.measure.cosine(&own, &other, self.measure.least_gain(), self.log_alpha));
        }
        Ok(matches)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Links people given by a video and by the angle of a unit vector, in degrees.
    fn partition(people: &[(u32, f32)]) -> Linked {
        taught(people, &Taught::default())
    }

    fn taught(people: &[(u32, f32)], taught: &Taught) -> Linked {
        in_series(people, &vec![None; people.len()], taught)
    }

    /// People with their keys in a series.
    fn in_series(people: &[(u32, f32)], keys: &[Option<(&str, &str)>], taught: &Taught) -> Linked {
        let vectors: Vec<[f32; 2]> =
            people.iter().map(|(_, angle)| [angle.to_radians().cos(), angle.to_radians().sin()]).collect();
        let mut items = Vec::new();
        for (((video, _), vector), in_series) in people.iter().zip(&vectors).zip(keys) {
            items.push(Item { video: *video, weight: 1.0, vector, in_series: *in_series });
        }
        link(&Scale::RAW, &items, taught, 1, None).unwrap()
    }

    #[test]
    fn people_of_different_videos_are_linked_and_those_of_one_video_are_not() {
        assert_eq!(partition(&[(0, 0.0), (0, 90.0), (1, 85.0), (1, 5.0)]).labels, [0, 1, 1, 0]);
        assert_eq!(partition(&[(0, 0.0), (0, 10.0), (1, 12.0)]).labels, [0, 1, 1]);
        assert!(partition(&[]).labels.is_empty());
    }

    #[test]
    fn matches_say_how_sure_a_decision_is() {
        let linked = partition(&[(0, 0.0), (1, 10.0), (1, 90.0)]);
        let cos = |degrees: f64| degrees.to_radians().cos();
        let own: Vec<_> = linked.matches.iter().map(|found| Some(found.known?.1)).collect();
        assert!((own[0].unwrap_or(0.0) - cos(10.0)).abs() < 1e-6 && own[2].is_none(), "{own:?}");
        // The third item must not join the first cluster, which has a person of the same video.
        assert_eq!(linked.matches[2].runner_up, None);
        assert_eq!(linked.matches[0].runner_up.map(|(label, _)| label), Some(1));
        assert!((linked.matches[0].margin().unwrap_or(0.0) - (cos(10.0) - 0.5)).abs() < 1e-6);
    }

    #[test]
    fn what_corrections_say_holds_and_other_people_follow() {
        let people = [(0, 0.0), (1, 70.0), (2, 90.0), (0, 180.0)];
        assert_eq!(partition(&people).labels, [0, 1, 1, 2]);
        let say = |same: &[(usize, usize)], different: &[(usize, usize)]| {
            taught(&people, &Taught { same: same.to_vec(), different: different.to_vec() }).labels
        };
        // The mean of 0° and 70° is 55° from the item at 90°, so that item follows.
        assert_eq!(say(&[(0, 1)], &[]), [0, 0, 0, 1]);
        assert_eq!(say(&[(0, 1)], &[(0, 2)]), [0, 0, 1, 2]);
        assert_eq!(say(&[], &[(1, 2)]), [0, 1, 2, 3]);
        assert_eq!(say(&[(0, 3)], &[]), [0, 1, 1, 2], "two people of one video");
    }

    #[test]
    fn people_of_a_series_are_merged_as_the_series_was_linked() {
        // Videos 0 and 1 are a series; video 2 is another film.
        let people = [(0, 0.0), (0, 90.0), (1, 85.0), (1, 180.0), (2, 2.0), (2, 88.0)];
        let link =
            |keys: [Option<(&str, &str)>; 6], taught: &Taught| in_series(&people, &keys, taught).labels;
        let none = Taught::default();
        assert_eq!(link([None; 6], &none), [0, 1, 1, 2, 0, 1]);
        // Two series of one video each, which were not linked together.
        let [x, y, z] = ["x", "y", "z"].map(|person| Some(("s", person)));
        let [other_x, other_z] = ["x", "z"].map(|person| Some(("t", person)));
        assert_eq!(link([x, y, other_z, other_x, None, None], &none), [0, 1, 1, 2, 0, 1]);
        // 0° and 180° are one person of the series; 85° and 90° are two.
        let keys = [x, y, z, x, None, None];
        assert_eq!(link(keys, &none)[..4], [0, 1, 2, 0]);
        let pair = |pair| vec![pair];
        assert_eq!(link(keys, &Taught { same: pair((1, 2)), different: Vec::new() })[..4], [0, 1, 1, 0]);
        assert_eq!(link(keys, &Taught { same: Vec::new(), different: pair((0, 3)) })[..4], [0, 1, 2, 3]);
    }

    proptest! {
        /// The order of the items changes the numbers of clusters only.
        #[test]
        fn the_order_changes_nothing(
            people in prop::collection::vec((0..6_u32, -180.0..180.0_f32), 1..24),
            seed in any::<u64>(),
        ) {
            let mut order: Vec<usize> = (0..people.len()).collect();
            order.sort_by_key(|at| (*at as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
            let shuffled: Vec<_> = order.iter().map(|at| people[*at]).collect();
            let (straight, turned) = (partition(&people).labels, partition(&shuffled).labels);
            for (i, a) in order.iter().enumerate() {
                for (j, b) in order.iter().enumerate() {
                    prop_assert_eq!(turned[i] == turned[j], straight[*a] == straight[*b]);
                }
            }
            for (at, (video, _)) in people.iter().enumerate() {
                let is_same = |(other, row): (usize, &(u32, f32))| {
                    other != at && row.0 == *video && straight[other] == straight[at]
                };
                prop_assert!(!people.iter().enumerate().any(is_same), "two people of one video are in one cluster");
            }
        }
    }
}
