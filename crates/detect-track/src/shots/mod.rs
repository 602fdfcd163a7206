//! Shot boundaries from small luma pictures.
//!
//! * [`cuts`]: from one frame to the next.
//! * [`gradual`]: dissolves and fades.
//!
//! A shot begins with the first frame that shows its picture: of a dissolve that is the first frame
//! in which the new picture shines through, of a fade the first that is no longer blank.

pub mod cuts;
pub mod gradual;

use std::collections::VecDeque;

use schema::tables::Transition;
use serde::{Deserialize, Serialize};

use crate::shots::cuts::{CutDetector, LOOKAHEAD};
use crate::shots::gradual::GradualDetector;

/// Width of the luma pictures, pixels.
pub const WIDTH: usize = 64;
/// Height of the luma pictures, pixels.
pub const HEIGHT: usize = 36;

/// Settings of shot detection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShotConfig {
    /// Smallest change between two frames that may be a cut, free of motion and of one gain and offset: mean
    /// difference as a share of the luma range, 0 to 1.
    pub min_cut_change: f64,
    /// Smallest ratio of the change at a cut to the changes next to it, from 1.
    pub min_cut_ratio: f64,
    /// Smallest share of the picture's structure that changes at a boundary, 0 to 1. A change of light
    /// keeps the structure.
    pub min_structure_change: f64,
    /// Smallest change over a dissolve or fade, as a share of the luma range, 0 to 1.
    pub min_gradual_change: f64,
    /// Largest difference between the pictures of a dissolve and a blend of its two ends, relative to the
    /// difference of the ends, 0 to 1.
    pub max_blend_error: f64,
    /// Longest dissolve or fade, 0.1 to 10 s.
    pub max_gradual_secs: f64,
}

impl Default for ShotConfig {
    fn default() -> Self {
        Self {
            min_cut_change: 0.03,
            min_cut_ratio: 2.0,
            min_structure_change: 0.3,
            min_gradual_change: 0.06,
            max_blend_error: 0.35,
            max_gradual_secs: 2.0,
        }
    }
}

/// The beginning of a shot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boundary {
    /// How it begins.
    pub transition: Transition,
    /// Strength, 0 to 1; `None` for the first shot.
    pub score: Option<f64>,
}

impl Boundary {
    /// The beginning of the first shot.
    pub const START: Self = Self { transition: Transition::Start, score: None };
}

/// What is known of a frame once those after it were seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Verdict {
    /// The frame.
    pub frame_idx: i64,
    /// The shot that begins there at once, by a cut or because the video begins.
    pub begins: Option<Boundary>,
    /// A shot that turned out to have begun gradually at an earlier frame, at least
    /// [`ShotDetector::settled_before`].
    pub began: Option<(i64, Boundary)>,
}

/// Finds shot boundaries in a stream of luma pictures.
#[derive(Debug)]
pub struct ShotDetector {
    cuts: CutDetector,
    gradual: GradualDetector,
    /// Frames that are not judged yet.
    waiting: VecDeque<(i64, Vec<u8>)>,
    is_first: bool,
}

impl ShotDetector {
    /// A detector at the beginning of a video of `fps` frames a second.
    pub fn new(config: ShotConfig, fps: f64) -> Self {
        Self {
            cuts: CutDetector::new(config, fps),
            gradual: GradualDetector::new(config, fps),
            waiting: VecDeque::new(),
            is_first: true,
        }
    }

    /// Takes the next picture, [`WIDTH`] × [`HEIGHT`] bytes; judges the one [`LOOKAHEAD`] before it.
    pub fn push(&mut self, frame_idx: i64, luma: Vec<u8>) -> Option<Verdict> {
        let cut = self.cuts.push(luma.clone());
        self.waiting.push_back((frame_idx, luma));
        (self.waiting.len() > LOOKAHEAD).then(|| self.judge(cut)).flatten()
    }

    /// Judges the frames that [`ShotDetector::push`] still owes at the end of the video, in order.
    pub fn finish(&mut self) -> Vec<Verdict> {
        let owed = self.cuts.finish();
        owed.into_iter().filter_map(|cut| self.judge(cut)).collect()
    }

    /// No later verdict will speak of a frame before this one.
    pub fn settled_before(&self) -> i64 {
        self.gradual.earliest()
    }

    fn judge(&mut self, cut: Option<Boundary>) -> Option<Verdict> {
        let (frame_idx, luma) = self.waiting.pop_front()?;
        let begins = if std::mem::take(&mut self.is_first) { Some(Boundary::START) } else { cut };
        let began = self.gradual.push(frame_idx, &luma, begins.is_some());
        Some(Verdict { frame_idx, begins, began })
    }
}

/// Mean absolute difference of two pictures, as a share of the luma range, 0 to 1.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len().max(1) as f64 / 255.0
}

/// How much of the structure changes between two pictures of [`WIDTH`] pixels a row: one minus the
/// correlation of their gradients, 0 to 2. Without structure in either there is nothing to compare: 1.
fn structure_change(a: &[u8], b: &[u8]) -> f64 {
    let (mut dot, mut energy_a, mut energy_b) = (0.0, 0.0, 0.0);
    let mut add = |i: usize, j: usize| {
        let step = |picture: &[u8]| f64::from(picture[j]) - f64::from(picture[i]);
        let (x, y) = (step(a), step(b));
        dot += x * y;
        energy_a += x * x;
        energy_b += y * y;
    };
    let len = a.len().min(b.len());
    for i in 0..len {
        if i % WIDTH + 1 < WIDTH && i + 1 < len {
            add(i, i + 1);
        }
        if i + WIDTH < len {
            add(i, i + WIDTH);
        }
    }
    let least = len as f64;
    if energy_a < least || energy_b < least { 1.0 } else { 1.0 - dot / (energy_a * energy_b).sqrt() }
}

/// Width and height of the blocks whose structure is searched for, pixels of the luma pictures.
const BLOCK: (usize, usize) = (8, 6);
/// Number of blocks across and down.
const BLOCKS: (usize, usize) = (WIDTH / BLOCK.0, HEIGHT / BLOCK.1);
/// Farthest that a block moves, pixels of the luma pictures.
const REACH: usize = 2;
/// Mean square of the gradients of a block from which it has structure, levels².
const STRUCTURED: f64 = 4.0;
/// Ratio of the squares of gradients below which two blocks have nothing in common.
const FAINT: f64 = 0.05;

/// How much of the structure of a picture is in none of the places of a second one to which it may have moved: one
/// minus the mean, over the blocks with structure in one of the pictures, of the best correlation of their gradients.
/// From 0; blocks of unrelated pictures correlate a little somewhere, so that these have about 0.75. Unlike
/// [`structure_change`], every block counts the same, whatever its contrast. Without structure in either, 1.
fn structure_lost(a: &[u8], b: &[u8]) -> f64 {
    const N: usize = BLOCKS.0 * BLOCKS.1;
    let gradients = |picture: &[u8]| -> Vec<(f32, f32)> {
        let at = |x: usize, y: usize| f32::from(picture[y * WIDTH + x]);
        let gradient = |x: usize, y: usize| {
            (at((x + 1).min(WIDTH - 1), y) - at(x, y), at(x, (y + 1).min(HEIGHT - 1)) - at(x, y))
        };
        (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y))).map(|(x, y)| gradient(x, y)).collect()
    };
    let (from, to) = (gradients(a), gradients(b));
    // Sums over each block: of the squares of its gradients, and of the products with those of the moved block.
    let sums = |across: usize, down: usize| {
        let mut sums = [[0.0_f32; 3]; N];
        for y in 0..HEIGHT {
            let row = (y + down).saturating_sub(REACH).min(HEIGHT - 1) * WIDTH;
            for x in 0..WIDTH {
                let (p, q) =
                    (from[y * WIDTH + x], to[row + (x + across).saturating_sub(REACH).min(WIDTH - 1)]);
                let [own, other, both] = &mut sums[y / BLOCK.1 * BLOCKS.0 + x / BLOCK.0];
                *own += p.0 * p.0 + p.1 * p.1;
                *other += q.0 * q.0 + q.1 * q.1;
                *both += p.0 * q.0 + p.1 * q.1;
            }
        }
        sums.map(|sums| sums.map(f64::from))
    };
    let mut best = [-1.0_f64; N];
    for (across, down) in (0..=2 * REACH).flat_map(|across| (0..=2 * REACH).map(move |down| (across, down))) {
        for (best, [own, other, both]) in best.iter_mut().zip(sums(across, down)) {
            *best = best.max(both / (own * other).max(1.0).sqrt());
        }
    }
    let least = STRUCTURED * (BLOCK.0 * BLOCK.1) as f64;
    let kept = best.iter().zip(sums(REACH, REACH)).filter_map(|(best, [own, other, _])| {
        let is_faint = own.min(other) < FAINT * own.max(other);
        (own.max(other) >= least).then_some(if is_faint { best.min(0.0) } else { *best })
    });
    let (sum, n) = kept.fold((0.0, 0), |(sum, n), kept| (sum + kept, n + 1));
    if n == 0 { 1.0 } else { 1.0 - sum / f64::from(n) }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Pictures for tests.

    use super::{HEIGHT, WIDTH};

    /// A picture of blocks that depends on `seed`, values 40 to 215.
    pub(crate) fn scene(seed: u32) -> Vec<u8> {
        let value = |x: usize, y: usize| {
            let cell = (seed, x as u32 / 6, y as u32 / 5);
            let mut hash = cell.0.wrapping_mul(0x9E37_79B9) ^ cell.1.wrapping_mul(0x85EB_CA6B);
            hash = (hash ^ (hash >> 15) ^ cell.2.wrapping_mul(0xC2B2_AE35)).wrapping_mul(0x2C1B_3C6D);
            40 + ((hash ^ (hash >> 12)).wrapping_mul(0x297A_2D39) >> 24) as u8 % 176
        };
        (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| value(x, y))).collect()
    }

    /// `share` (0 to 1) of the way from `a` to `b`.
    pub(crate) fn blend(a: &[u8], b: &[u8], share: f64) -> Vec<u8> {
        let mix =
            |(a, b): (&u8, &u8)| (f64::from(*a) + (f64::from(*b) - f64::from(*a)) * share).round() as u8;
        a.iter().zip(b).map(mix).collect()
    }

    /// The picture in another light: `gain` times as bright, and `offset` levels.
    pub(crate) fn lit(picture: &[u8], gain: f64, offset: f64) -> Vec<u8> {
        picture.iter().map(|v| (f64::from(*v) * gain + offset).round().clamp(0.0, 255.0) as u8).collect()
    }

    /// The picture moved by `pixels` to the left, its right edge repeated.
    pub(crate) fn moved(picture: &[u8], pixels: usize) -> Vec<u8> {
        let at = |x: usize, y: usize| picture[y * WIDTH + (x + pixels).min(WIDTH - 1)];
        (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y))).map(|(x, y)| at(x, y)).collect()
    }

    /// The picture with noise of one level, as a codec leaves it.
    pub(crate) fn noisy(picture: &[u8], seed: usize) -> Vec<u8> {
        picture
            .iter()
            .enumerate()
            .map(|(i, v)| v.saturating_add(u8::from((i * 7 + seed * 13).is_multiple_of(5))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{blend, lit, moved, noisy, scene};
    use super::*;

    /// Where shots begin, and how, in a video of 25 frames a second.
    fn boundaries(pictures: Vec<Vec<u8>>) -> Vec<(i64, Transition)> {
        let mut detector = ShotDetector::new(ShotConfig::default(), 25.0);
        let mut verdicts = Vec::new();
        for (i, picture) in pictures.into_iter().enumerate() {
            let verdict = detector.push(i as i64, picture);
            if let Some((began, _)) = verdict.and_then(|v| v.began) {
                assert!(began >= 0);
            }
            verdicts.extend(verdict);
        }
        verdicts.extend(detector.finish());
        let mut found: Vec<_> = verdicts
            .iter()
            .flat_map(|v| v.begins.map(|b| (v.frame_idx, b)).into_iter().chain(v.began))
            .map(|(frame_idx, boundary)| (frame_idx, boundary.transition))
            .collect();
        found.sort_by_key(|(frame_idx, _)| *frame_idx);
        found
    }

    #[test]
    fn cuts_and_dissolves_in_one_video() {
        let (a, b, c) = (scene(1), scene(2), scene(3));
        let mut pictures: Vec<_> = (0..40).map(|i| noisy(&a, i)).collect();
        pictures.extend((1..=12).map(|i| noisy(&blend(&a, &b, f64::from(i) / 13.0), i as usize)));
        pictures.extend((0..40).map(|i| noisy(&b, i)));
        pictures.extend((0..40).map(|i| noisy(&c, i)));
        let expected = [(0, Transition::Start), (40, Transition::Dissolve), (92, Transition::Cut)];
        assert_eq!(boundaries(pictures), expected);
    }

    #[test]
    fn a_change_of_light_is_no_boundary() {
        let a = scene(1);
        let dim: Vec<u8> = a.iter().map(|v| v / 2 + 10).collect();
        let mut pictures: Vec<_> = (0..30).map(|i| noisy(&a, i)).collect();
        pictures.extend((0..30).map(|i| noisy(&dim, i)));
        pictures.extend((0..20).map(|i| blend(&dim, &a, f64::from(i) / 20.0)));
        pictures.extend((0..30).map(|i| noisy(&a, i)));
        assert_eq!(boundaries(pictures), [(0, Transition::Start)]);
    }

    #[test]
    fn structure_is_lost_between_scenes_and_not_by_motion_or_light() {
        let (a, b) = (scene(1), scene(2));
        assert!(structure_lost(&a, &b) > 0.4, "{}", structure_lost(&a, &b));
        assert!(structure_lost(&a, &moved(&a, 2)) < 0.2, "{}", structure_lost(&a, &moved(&a, 2)));
        assert!(structure_lost(&a, &lit(&a, 0.5, 10.0)) < 0.1);
        assert_eq!(structure_lost(&a, &vec![16; a.len()]), 1.0);
        assert_eq!(structure_lost(&vec![16; a.len()], &vec![90; a.len()]), 1.0);
    }

    #[test]
    fn structure_changes_between_scenes_only() {
        let (a, b) = (scene(1), scene(2));
        assert!(structure_change(&a, &b) > 0.7);
        assert!(structure_change(&a, &noisy(&a, 3)) < 0.01);
        assert_eq!(structure_change(&a, &vec![16; a.len()]), 1.0);
    }
}
