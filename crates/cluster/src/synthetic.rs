//! Tracks of people who do not exist, for tests and benches: seeded, and about as hard as faces are.
//!
//! A vector is the direction of its person plus noise. Sizes and spreads are chosen so that distances are
//! about those of SFace between tracks of TV: one person's around 0.4, two people's around 0.95. There are
//! a few people of many tracks and many of one, people who vary more than others, tracks far from their
//! person, and tracks that show nobody.

use schema::footer::Quality;

use crate::items::Vectors;

/// Tracks and the truth about them.
#[derive(Debug, Clone, PartialEq)]
pub struct People {
    /// Unit vectors, in no order.
    pub vectors: Vectors,
    /// Raw norm of each track, around [`USUAL_NORM`]: see [`quality()`].
    pub norms: Vec<f32>,
    /// Person that each track shows; one that shows nobody has a number of its own.
    pub truth: Vec<usize>,
    /// Pairs of tracks of different people that share a shot, the smaller first, in order.
    pub together: Vec<(usize, usize)>,
}

/// Share of tracks that show nobody.
const NOBODY: f64 = 0.01;
/// Share of tracks that are far from their person.
const FAR: f64 = 0.04;
/// Noise of those, relative to the direction of their person.
const FAR_SPREAD: f64 = 2.0;
/// Noise of the others, in the middle.
const SPREAD: f64 = 0.75;
/// How much all faces have in common.
const COMMON: f64 = 0.22;
/// Tracks of a shot, at most.
const TOGETHER: u64 = 4;

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

/// `n` tracks with vectors of `dim` numbers.
pub fn people(n: usize, dim: usize, seed: u64) -> People {
    let mut random = Random(seed);
    let persons = persons(n, &mut random);
    let common = random.direction(dim);
    let centres: Vec<_> = (0..persons.last().map_or(0, |last| last + 1))
        .map(|_| (plus(random.direction(dim), &common, COMMON), SPREAD * random.around_one(0.2)))
        .collect();
    let order = random.order(n);
    let mut values = Vec::with_capacity(n * dim);
    let (mut norms, mut truth) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for (number, place) in order.into_iter().enumerate() {
        let (person, quality, kind) = (persons[place], random.around_one(0.25), random.uniform());
        let (centre, spread) = &centres[person];
        let noise = if kind < FAR { FAR_SPREAD } else { spread / quality };
        let nobody = kind > 1.0 - NOBODY;
        let mean = if nobody { plus(random.direction(dim), &common, COMMON) } else { centre.clone() };
        values.extend(unit(plus(mean, &random.direction(dim), noise)).into_iter().map(|x| x as f32));
        norms.push(norm(quality) as f32);
        truth.push(if nobody { centres.len() + number } else { person });
    }
    let together = together(&truth, &mut random);
    People { vectors: Vectors::trusted(dim, values), norms, truth, together }
}

/// The person of each track, by persons: the number of those with at least s tracks falls like s^-1.2.
fn persons(n: usize, random: &mut Random) -> Vec<usize> {
    let most = (n / 20).max(3) as f64;
    let mut persons = Vec::with_capacity(n);
    for person in 0.. {
        if persons.len() == n {
            break;
        }
        let size = (1.0 - random.uniform()).powf(-1.0 / 1.2).min(most) as usize;
        persons.extend(std::iter::repeat_n(person, size.min(n - persons.len())));
    }
    persons
}

/// Tracks that follow each other share shots of one to [`TOGETHER`] tracks.
fn together(truth: &[usize], random: &mut Random) -> Vec<(usize, usize)> {
    let (mut pairs, mut start) = (Vec::new(), 0);
    while start < truth.len() {
        let end = (start + 1 + random.below(TOGETHER) as usize).min(truth.len());
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

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// Of mean 0 and variance 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Log-normal, its median 1.
    fn around_one(&mut self, spread: f64) -> f64 {
        (spread * self.normal()).exp()
    }

    /// A unit vector. As with faces, some directions vary more than others.
    fn direction(&mut self, dim: usize) -> Vec<f64> {
        unit((0..dim).map(|i| self.normal() / (1.0 + i as f64 / 16.0).sqrt()).collect())
    }

    /// The numbers up to `n`, shuffled.
    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i as u64 + 1) as usize);
        }
        order
    }
}
