//! Shot boundaries from small luma pictures.
//!
//! * [`cuts`]: from one frame to the next.
//! * [`gradual`]: dissolves, wipes and fades.
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
/// Height of the bands that are compared one by one, pixels of the luma pictures.
const BAND_HEIGHT: usize = 4;
/// Standard deviation below which a picture has nothing but noise, levels.
const NOISE: f32 = 3.0;
/// Standard deviation below which a picture has a low contrast, levels.
const FULL_CONTRAST: f64 = 40.0;
/// Largest factor of a change between pictures of low contrast; a larger one would make noise a change.
const MAX_CONTRAST_GAIN: f64 = 4.0;

/// Settings of shot detection.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShotConfig {
    /// Smallest change between two frames that may be a cut, free of motion and of one gain and offset: mean
    /// difference as a share of the luma range, 0 to 1; up to a quarter of it where the contrast is low.
    pub min_cut_change: f64,
    /// Smallest ratio of the change at a cut to the changes next to it, from 1.
    pub min_cut_ratio: f64,
    /// Smallest share of the picture's structure that changes at a boundary, 0 to 1. A change of light
    /// keeps the structure.
    pub min_structure_change: f64,
    /// Smallest change over a dissolve, wipe or fade, as a share of the luma range, 0 to 1.
    pub min_gradual_change: f64,
    /// Largest difference between the pictures of a dissolve or wipe and a blend or patchwork of its two ends,
    /// relative to the difference of the ends, 0 to 1.
    pub max_blend_error: f64,
    /// Longest dissolve, wipe or fade, 0.1 to 10 s.
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

/// Mean and standard deviation of a picture, levels.
fn moments(picture: &[u8]) -> (f32, f32) {
    let n = picture.len().max(1) as f64;
    let (sum, squares) = picture.iter().fold((0_u64, 0_u64), |(sum, squares), v| {
        (sum + u64::from(*v), squares + u64::from(*v) * u64::from(*v))
    });
    let mean = sum as f64 / n;
    (mean as f32, (squares as f64 / n - mean * mean).max(0.0).sqrt() as f32)
}

/// Factor that makes the changes between two pictures of low contrast, by their standard deviations in levels,
/// as large as those between others: 1 to [`MAX_CONTRAST_GAIN`]. Noise has no contrast.
fn low_contrast(a: f32, b: f32) -> f64 {
    if a.min(b) < NOISE {
        return 1.0;
    }
    (FULL_CONTRAST / f64::from(a * b).sqrt()).clamp(1.0, MAX_CONTRAST_GAIN)
}

/// How much of the structure changes between two pictures, band by band: the change that a quarter of the bands
/// reach, 0 to 2. A line of text that appears changes fewer bands, and one that stays keeps fewer.
fn band_change(a: &[u8], b: &[u8]) -> f64 {
    const BAND: usize = BAND_HEIGHT * WIDTH;
    let bands = a.chunks(BAND).zip(b.chunks(BAND));
    let mut changes: Vec<f64> = bands.filter_map(|(a, b)| gradient_change(a, b)).collect();
    changes.sort_by(f64::total_cmp);
    changes.get(changes.len().saturating_sub(1) * 3 / 4).copied().unwrap_or(1.0)
}

/// How much of the structure changes between two pictures, 0 to 2. Without structure in either there is nothing to
/// compare: 1.
fn structure_change(a: &[u8], b: &[u8]) -> f64 {
    gradient_change(a, b).unwrap_or(1.0)
}

/// One minus the correlation of the gradients of two pictures of [`WIDTH`] pixels a row, 0 to 2; 1 if only one of
/// them has structure, and `None` if neither has.
fn gradient_change(a: &[u8], b: &[u8]) -> Option<f64> {
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
    let has_structure = |energy: f64| energy >= len as f64;
    match (has_structure(energy_a), has_structure(energy_b)) {
        (true, true) => Some(1.0 - dot / (energy_a * energy_b).sqrt()),
        (false, false) => None,
        _ => Some(1.0),
    }
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
    use super::samples::{blend, lit, noisy, scene};
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

    /// Frames of every shot before and after a transition.
    const SHOT: usize = 40;

    /// Two shots with these pictures between them.
    fn joined(from: &[u8], between: Vec<Vec<u8>>, to: &[u8]) -> Vec<Vec<u8>> {
        let rest = |picture: &[u8]| -> Vec<Vec<u8>> { vec![picture.to_vec(); SHOT] };
        let pictures = [rest(from), between, rest(to)].concat();
        pictures.iter().enumerate().map(|(i, picture)| noisy(picture, i)).collect()
    }

    /// `frames` blends on the way from one picture to another, without the two ends.
    fn ramp(from: &[u8], to: &[u8], frames: usize) -> Vec<Vec<u8>> {
        (1..=frames).map(|i| blend(from, to, i as f64 / (frames + 1) as f64)).collect()
    }

    /// `frames` pictures in which `b` replaces `a`, first where `order` of a pixel, 0 to 1, is small.
    fn wipe(a: &[u8], b: &[u8], frames: usize, order: impl Fn(f64, f64) -> f64) -> Vec<Vec<u8>> {
        let place = |i: usize| order((i % WIDTH) as f64 / WIDTH as f64, (i / WIDTH) as f64 / HEIGHT as f64);
        let picture = |share: f64| (0..a.len()).map(|i| if place(i) < share { b[i] } else { a[i] }).collect();
        (1..=frames).map(|i| picture(i as f64 / (frames + 1) as f64)).collect()
    }

    /// The pictures between two.
    type Between = fn(&[u8], &[u8]) -> Vec<Vec<u8>>;

    /// A dip through a blank picture, which lasts for `rest` frames.
    fn dip(a: &[u8], b: &[u8], level: u8, frames: usize, rest: usize) -> Vec<Vec<u8>> {
        let blank = vec![level; a.len()];
        [ramp(a, &blank, frames), vec![blank.clone(); rest], ramp(&blank, b, frames)].concat()
    }

    /// Two scenes with `contrast` times their differences.
    fn pale(seeds: (u32, u32), contrast: f64) -> (Vec<u8>, Vec<u8>) {
        let of = |seed| lit(&scene(seed), contrast, 60.0 * (1.0 - contrast));
        (of(seeds.0), of(seeds.1))
    }

    #[test]
    fn transitions_of_every_kind_are_found_where_they_are() {
        let cases: [(&str, Between, std::ops::RangeInclusive<i64>); 14] = [
            ("cut", |_, _| Vec::new(), 40..=40),
            ("one mixed frame", |a, b| ramp(a, b, 1), 40..=40),
            ("two mixed frames", |a, b| ramp(a, b, 2), 40..=40),
            ("three mixed frames", |a, b| ramp(a, b, 3), 40..=40),
            ("a flash before the cut", |a, _| vec![lit(a, 1.0, 110.0)], 40..=41),
            (
                "a flash that goes out behind the cut",
                |_, b| vec![lit(b, 1.0, 110.0), lit(b, 1.0, 50.0)],
                40..=40,
            ),
            ("wipe to the right", |a, b| wipe(a, b, 12, |x, _| x), 40..=41),
            ("wipe to the left", |a, b| wipe(a, b, 24, |x, _| 1.0 - x), 40..=41),
            ("wipe downwards", |a, b| wipe(a, b, 12, |_, y| y), 40..=41),
            ("iris", |a, b| wipe(a, b, 12, |x, y| (x - 0.5).hypot(y - 0.5) * 1.42), 40..=42),
            ("fade to white that rests", |a, b| dip(a, b, 240, 10, 5), 55..=56),
            ("fade to white", |a, b| dip(a, b, 240, 10, 0), 50..=51),
            ("fade to black", |a, b| dip(a, b, 16, 10, 0), 50..=51),
            ("short fade to black", |a, b| dip(a, b, 16, 4, 1), 44..=45),
        ];
        for (name, between, at) in cases {
            for contrast in [1.0, 0.4, 0.2] {
                let (a, b) = pale((1, 2), contrast);
                let found = boundaries(joined(&a, between(&a, &b), &b));
                assert!(
                    matches!(found[..], [_, (begins, _)] if at.contains(&begins)),
                    "{name}, contrast {contrast}: {found:?}"
                );
            }
        }
    }

    /// The picture with two lines of text.
    fn subtitled(picture: &[u8]) -> Vec<u8> {
        let mut picture = picture.to_vec();
        picture[27 * WIDTH..32 * WIDTH].iter_mut().step_by(3).for_each(|v| *v = 235);
        picture
    }

    #[test]
    fn text_that_stays_hides_no_cut() {
        for contrast in [1.0, 0.4, 0.2] {
            let (a, b) = pale((1, 2), contrast);
            let found = boundaries(joined(&subtitled(&a), Vec::new(), &subtitled(&b)));
            assert!(matches!(found[..], [_, (40, Transition::Cut)]), "contrast {contrast}: {found:?}");
        }
    }

    #[test]
    fn what_comes_and_goes_is_no_boundary() {
        let cases: [(&str, Between); 3] = [
            ("two white frames", |a, _| vec![vec![250; a.len()]; 2]),
            ("a lamp that goes out slowly", |a, _| {
                [120.0, 60.0, 20.0].map(|level| lit(a, 1.0, level)).to_vec()
            }),
            ("a line of text", |a, _| vec![subtitled(a); 30]),
        ];
        for (name, between) in cases {
            let a = scene(1);
            assert_eq!(boundaries(joined(&a, between(&a, &a), &a)), [(0, Transition::Start)], "{name}");
        }
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
    fn structure_changes_between_scenes_only() {
        let (a, b) = (scene(1), scene(2));
        assert!(structure_change(&a, &b) > 0.7);
        assert!(structure_change(&a, &noisy(&a, 3)) < 0.01);
        assert_eq!(structure_change(&a, &vec![16; a.len()]), 1.0);
    }
}
