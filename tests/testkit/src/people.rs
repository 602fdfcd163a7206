//! Vectors of synthetic people: seeded, and about as hard to link as faces.
//!
//! A vector is the direction of its person plus noise. Sizes and spreads are chosen so that distances are
//! about those of SFace between tracks of TV: one person's around 0.4, two people's around 0.95. There are
//! a few people of many tracks and many of one, people who vary more than others, tracks far from their
//! person, and tracks that show no person.

use schema::footer::Quality;

use crate::random::{SplitMix64, direction};

/// Tracks and the truth about them.
#[derive(Debug, Clone, PartialEq)]
pub struct People {
    /// Number of components of a vector.
    pub dim: usize,
    /// Unit vectors of all tracks, one after the other, in no order.
    pub values: Vec<f32>,
    /// Raw norm of each track, around [`USUAL_NORM`]: see [`quality()`].
    pub norms: Vec<f32>,
    /// Person that each track shows; a track that shows no person has a number of its own.
    pub truth: Vec<usize>,
    /// Pairs of tracks of different people that share a shot, the smaller first, in order.
    pub cannot_link: Vec<(usize, usize)>,
}

impl People {
    /// The vector of a track.
    pub fn vector(&self, track: usize) -> &[f32] {
        &self.values[track * self.dim..(track + 1) * self.dim]
    }
}

/// Share of tracks that show no person.
const STRANGERS: f64 = 0.01;
/// Share of tracks that are far from their person.
const FAR: f64 = 0.04;
/// Noise of those, relative to the direction of their person.
const FAR_SPREAD: f64 = 2.0;
/// Noise of the others, in the middle.
const SPREAD: f64 = 0.75;
/// Length of the part that all faces have in common.
const COMMON: f64 = 0.22;
/// Most tracks of a shot.
const MOST_IN_SHOT: u64 = 4;

/// Norm of a track of the usual quality, and the power of quality that norms go by: then a track of some norm is about as
/// reliable as one of SFace.
pub const USUAL_NORM: f64 = 12.2;
const NORM_POWER: f64 = 0.35;

/// Norm of a track of a quality, 1 for the usual one: noise falls with quality.
fn norm(quality: f64) -> f64 {
    USUAL_NORM * quality.powf(NORM_POWER)
}

/// The quality table of these vectors, of `dim` numbers.
pub fn quality(dim: usize) -> Quality {
    let norms: Vec<f64> = (6..=17).map(f64::from).collect();
    let person_variance = 0.575;
    // Share of a track's variance that is the person's, by norm.
    let share = |norm: &f64| 1.0 / (1.0 + (SPREAD / (norm / USUAL_NORM).powf(1.0 / NORM_POWER)).powi(2));
    Quality {
        centre_norm: USUAL_NORM,
        mean: vec![0.0; dim],
        slope: vec![0.0; dim],
        gain: norms.iter().map(|norm| (share(norm) / person_variance).sqrt()).collect(),
        noise: norms.iter().map(|norm| 1.0 - share(norm)).collect(),
        norms,
        person_variance,
        evidence_dim: dim as f64 / 2.0,
    }
}

/// Makes `n` tracks with vectors of `dim` components.
pub fn people(n: usize, dim: usize, seed: u64) -> People {
    let mut random = SplitMix64::new(seed);
    let persons = persons(n, &mut random);
    let common = direction(&mut random, dim);
    let centres: Vec<_> = (0..persons.last().map_or(0, |last| last + 1))
        .map(|_| (plus(direction(&mut random, dim), &common, COMMON), SPREAD * around_one(&mut random, 0.2)))
        .collect();
    let order = shuffled(&mut random, n);
    let mut values = Vec::with_capacity(n * dim);
    let (mut norms, mut truth) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for (number, place) in order.into_iter().enumerate() {
        let (person, quality, kind) = (persons[place], around_one(&mut random, 0.25), random.unit());
        let (centre, spread) = &centres[person];
        let noise = if kind < FAR { FAR_SPREAD } else { spread / quality };
        let is_stranger = kind > 1.0 - STRANGERS;
        let mean =
            if is_stranger { plus(direction(&mut random, dim), &common, COMMON) } else { centre.clone() };
        let vector = unit(plus(mean, &direction(&mut random, dim), noise));
        values.extend(vector.into_iter().map(|x| x as f32));
        norms.push(norm(quality) as f32);
        truth.push(if is_stranger { centres.len() + number } else { person });
    }
    let cannot_link = in_one_shot(&truth, &mut random);
    People { dim, values, norms, truth, cannot_link }
}

/// The person of each track, by persons: the number of those with at least s tracks falls like s^-1.2.
fn persons(n: usize, random: &mut SplitMix64) -> Vec<usize> {
    let most = (n / 20).max(3) as f64;
    let mut persons = Vec::with_capacity(n);
    for person in 0.. {
        if persons.len() == n {
            break;
        }
        let size = (1.0 - random.unit()).powf(-1.0 / 1.2).min(most) as usize;
        persons.extend(std::iter::repeat_n(person, size.min(n - persons.len())));
    }
    persons
}

/// Pairs within shots of one to [`MOST_IN_SHOT`] tracks that follow each other.
fn in_one_shot(truth: &[usize], random: &mut SplitMix64) -> Vec<(usize, usize)> {
    let (mut pairs, mut start) = (Vec::new(), 0);
    while start < truth.len() {
        let end = (start + 1 + below(random, MOST_IN_SHOT) as usize).min(truth.len());
        let all = (start..end).flat_map(|a| (a + 1..end).map(move |b| (a, b)));
        pairs.extend(all.filter(|(a, b)| truth[*a] != truth[*b]));
        start = end;
    }
    pairs
}

fn plus(mut a: Vec<f64>, b: &[f64], factor: f64) -> Vec<f64> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
    a
}

fn unit(mut vector: Vec<f64>) -> Vec<f64> {
    let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// By remainder, as the stored figures of synthetic datasets were made.
fn below(random: &mut SplitMix64, end: u64) -> u64 {
    random.next_u64() % end
}

/// Log-normal, with the median 1.
fn around_one(random: &mut SplitMix64, spread: f64) -> f64 {
    (spread * random.normal()).exp()
}

/// The numbers up to `n`, shuffled.
fn shuffled(random: &mut SplitMix64, n: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, below(random, i as u64 + 1) as usize);
    }
    order
}
