//! Dissolves and fades: one picture blends into the next over many frames.
//!
//! While `a` dissolves into `b`, every picture is `a + α (b − a)` with α growing from 0 to 1. So
//! pictures are projected onto the line between the two ends of a window: a dissolve is a window in
//! which they stay close to that line, move along it in one direction without a jump, and rest at
//! both ends. A pan or a walk through the picture leaves the line. A fade is a dissolve from a blank
//! picture. (The blend model is that of Hampapur, Jain, Weymouth, "Production model based digital
//! video segmentation", 1995.)

use std::collections::VecDeque;

use schema::tables::Transition;

use crate::shots::{Boundary, ShotConfig, difference, structure_change};

/// Lengths of the windows that are tried, as shares of the longest.
const WINDOWS: [f64; 6] = [1.0 / 6.0, 0.25, 1.0 / 3.0, 0.5, 2.0 / 3.0, 1.0];
/// Shortest window, frames: it holds the rest before and after the transition.
const MIN_WINDOW: usize = 8;
/// α at which the new picture begins to show.
const SHOWS: f32 = 0.04;
/// Largest |α| of a picture at rest at the beginning of a window, 1 − α at its end.
const REST: f32 = 0.06;
/// Share of the window that rests at either end. A slow pan drifts evenly and never rests: a window
/// of it is refused if this is more than [`REST`].
const REST_SHARE: usize = 8;
/// How far α may fall back from one picture to the next.
const BACK: f32 = 0.05;
/// Largest step of α: a larger one is a cut.
const JUMP: f32 = 0.34;
/// Standard deviation below which a picture is blank, levels.
const BLANK: f32 = 6.0;

/// Finds dissolves and fades within what cuts have left together.
#[derive(Debug)]
pub struct GradualDetector {
    config: ShotConfig,
    /// Window lengths, frames, ascending.
    windows: Vec<usize>,
    /// The last pictures since the last boundary, oldest first.
    pictures: VecDeque<(i64, Vec<u8>)>,
    /// The first frame of the current shot that is not blank.
    first_content: Option<i64>,
}

impl GradualDetector {
    /// A detector at the beginning of a video of `fps` frames a second.
    pub fn new(config: ShotConfig, fps: f64) -> Self {
        let frames = |share: f64| ((config.max_gradual_secs * fps * share).round() as usize).max(MIN_WINDOW);
        let mut windows: Vec<_> = WINDOWS.into_iter().map(frames).collect();
        windows.dedup();
        Self { config, windows, pictures: VecDeque::new(), first_content: None }
    }

    /// Takes the next picture; `begins` says that a cut begins a shot there. Gives the shot that began
    /// gradually, and its first frame.
    pub fn push(&mut self, frame_idx: i64, luma: &[u8], begins: bool) -> Option<(i64, Boundary)> {
        if begins {
            self.pictures.clear();
            self.first_content = None;
        }
        self.pictures.push_back((frame_idx, luma.to_vec()));
        let longest = self.windows.last().copied().unwrap_or(MIN_WINDOW);
        if self.pictures.len() > longest + 1 {
            self.pictures.pop_front();
        }
        let found = self.windows.iter().find_map(|window| self.transition(*window));
        if self.first_content.is_none() && !is_blank(luma) {
            self.first_content = Some(frame_idx);
        }
        let (frame_idx, boundary) = found?;
        // What follows is compared with pictures after the transition only.
        self.pictures.drain(..self.pictures.len() - 1);
        match boundary.transition {
            // Out of the blank at the beginning of a shot: the shot has merely become visible.
            Transition::Fade if self.first_content.is_none_or(|first| first >= frame_idx) => None,
            _ => Some((frame_idx, boundary)),
        }
    }

    /// The earliest frame that a later call may name.
    pub fn earliest(&self) -> i64 {
        self.pictures.front().map_or(0, |(frame_idx, _)| *frame_idx)
    }

    /// Whether the last `window + 1` pictures are a transition: its first frame and its kind.
    fn transition(&self, window: usize) -> Option<(i64, Boundary)> {
        let first = self.pictures.len().checked_sub(window + 1)?;
        let from = &self.pictures[first].1;
        let to = &self.pictures.back()?.1;
        let change = difference(from, to);
        if change < self.config.min_gradual_change {
            return None;
        }
        let line = Line::new(from, to);
        // The rest at both ends is cheap to test and seldom there.
        let at = |i: usize| line.along(&self.pictures[first + i].1);
        let rest = (window / REST_SHARE).max(2);
        if at(rest).abs() > REST || (1.0 - at(window - rest)).abs() > REST {
            return None;
        }
        let along: Vec<f32> = (0..=window).map(at).collect();
        let is_steady = along.windows(2).all(|pair| (-BACK..=JUMP).contains(&(pair[1] - pair[0])));
        let begins = along.iter().position(|alpha| *alpha > SHOWS)?;
        let transition = match (is_blank(from), is_blank(to)) {
            // Into the blank: the shot ends, and the next has not begun.
            (_, true) => return None,
            (true, false) => Transition::Fade,
            (false, false) => Transition::Dissolve,
        };
        let stays = |(i, alpha): (usize, &f32)| {
            let picture = &self.pictures[first + i].1;
            f64::from(line.error(picture, *alpha)) <= self.config.max_blend_error
        };
        let is_transition = is_steady
            && structure_change(from, to) >= self.config.min_structure_change
            && along.iter().enumerate().all(stays);
        let score = Some(change.min(1.0));
        is_transition.then(|| (self.pictures[first + begins].0, Boundary { transition, score }))
    }
}

/// The line between two pictures.
struct Line<'a> {
    from: &'a [u8],
    difference: Vec<f32>,
    /// Squared length.
    square: f32,
}

impl<'a> Line<'a> {
    fn new(from: &'a [u8], to: &[u8]) -> Self {
        let difference: Vec<f32> = from.iter().zip(to).map(|(a, b)| f32::from(*b) - f32::from(*a)).collect();
        let square = difference.iter().map(|d| d * d).sum::<f32>().max(1.0);
        Self { from, difference, square }
    }

    /// α of the point on the line that is closest to a picture.
    fn along(&self, picture: &[u8]) -> f32 {
        let pixels = picture.iter().zip(self.from).zip(&self.difference);
        pixels.map(|((p, a), d)| (f32::from(*p) - f32::from(*a)) * d).sum::<f32>() / self.square
    }

    /// Distance of a picture from the point at `alpha`, relative to the length of the line.
    fn error(&self, picture: &[u8], alpha: f32) -> f32 {
        let pixels = picture.iter().zip(self.from).zip(&self.difference);
        let square: f32 = pixels.map(|((p, a), d)| (f32::from(*p) - f32::from(*a) - alpha * d).powi(2)).sum();
        (square / self.square).sqrt()
    }
}

/// Whether a picture shows nothing: one grey all over.
fn is_blank(picture: &[u8]) -> bool {
    let n = picture.len().max(1) as f32;
    let mean = picture.iter().map(|v| f32::from(*v)).sum::<f32>() / n;
    let variance = picture.iter().map(|v| (f32::from(*v) - mean).powi(2)).sum::<f32>() / n;
    variance < BLANK * BLANK
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shots::samples::{blend, moved, noisy, scene};

    fn found(pictures: &[Vec<u8>]) -> Vec<(i64, Transition)> {
        let mut detector = GradualDetector::new(ShotConfig::default(), 25.0);
        let mut found = Vec::new();
        for (i, picture) in pictures.iter().enumerate() {
            let earliest = detector.earliest();
            if let Some((frame_idx, boundary)) = detector.push(i as i64, picture, i == 0) {
                assert!(frame_idx >= earliest);
                found.push((frame_idx, boundary.transition));
            }
        }
        found
    }

    fn rest(picture: &[u8], frames: usize) -> Vec<Vec<u8>> {
        (0..frames).map(|i| noisy(picture, i)).collect()
    }

    fn ramp(from: &[u8], to: &[u8], frames: usize) -> Vec<Vec<u8>> {
        (1..=frames).map(|i| noisy(&blend(from, to, i as f64 / (frames + 1) as f64), i)).collect()
    }

    #[test]
    fn a_fade_through_black_begins_where_the_new_picture_shows() {
        let (a, b, black) = (scene(1), scene(2), vec![16; scene(1).len()]);
        let parts = [rest(&a, 30), ramp(&a, &black, 15), rest(&black, 6), ramp(&black, &b, 15), rest(&b, 30)];
        assert_eq!(found(&parts.concat()), [(51, Transition::Fade)]);
    }

    #[test]
    fn a_video_that_fades_in_has_one_shot() {
        let (a, black) = (scene(1), vec![16; scene(1).len()]);
        assert_eq!(found(&[rest(&black, 20), ramp(&black, &a, 15), rest(&a, 30)].concat()), []);
    }

    #[test]
    fn a_video_that_fades_out_has_one_shot() {
        let (a, black) = (scene(1), vec![16; scene(1).len()]);
        assert_eq!(found(&[rest(&a, 30), ramp(&a, &black, 15), rest(&black, 30)].concat()), []);
    }

    #[test]
    fn a_pan_is_no_dissolve() {
        let a = scene(1);
        let mut pictures = rest(&a, 20);
        pictures.extend((0..20).map(|i| moved(&a, 2 * i)));
        pictures.extend(rest(&moved(&a, 40), 20));
        assert_eq!(found(&pictures), []);
    }

    #[test]
    fn a_slow_drift_is_no_dissolve() {
        let (a, b) = (scene(1), moved(&scene(1), 2));
        let drift = |i: i32| noisy(&blend(&a, &b, f64::from(i) / 80.0), i as usize);
        assert_eq!(found(&(0..=80).map(drift).collect::<Vec<_>>()), []);
    }

    #[test]
    fn a_cut_is_no_dissolve() {
        assert_eq!(found(&[rest(&scene(1), 30), rest(&scene(2), 30)].concat()), []);
    }

    proptest! {
        /// A dissolve of any length that leaves a window its rest is found once, where it begins.
        #[test]
        fn dissolves_of_any_length(frames in 4_usize..36, a in 0_u32..100, b in 100_u32..200) {
            let (a, b) = (scene(a), scene(b));
            let pictures = [rest(&a, 60), ramp(&a, &b, frames), rest(&b, 60)].concat();
            let found = found(&pictures);
            prop_assert_eq!(found.len(), 1);
            prop_assert!((found[0].0 - 60).abs() <= 2, "{:?}", found);
            prop_assert_eq!(found[0].1, Transition::Dissolve);
        }
    }
}
