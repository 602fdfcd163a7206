//! Cuts: the picture changes from one frame to the next.
//!
//! A cut is a change that stands out from the changes on either side of it and replaces the structure of the
//! picture. Where most of the structure is still there, hardly moved, as around a wheel that turns, a change must stand
//! out more; where all of it is gone, less. Change is what remains of a difference once one gain and one offset for the
//! whole picture, which a flickering light or an exposure explains, and the motion of blocks are taken out. A pan or a
//! busy picture changes for many frames in a row; a flash changes back at once; when a lamp goes on the edges stay. One
//! frame may mix both pictures: the shot begins with that frame.

use schema::tables::Transition;

use crate::shots::{Boundary, HEIGHT, ShotConfig, WIDTH, structure_change, structure_lost};

/// Frames after a change that must be known to judge it.
pub const LOOKAHEAD: usize = 3;
/// Frames before a change that are looked at.
const LOOKBACK: usize = 3;
/// Side of the blocks that move, pixels of the luma pictures.
const BLOCK: usize = 4;
/// Farthest that a block moves from one frame to the next, pixels of the luma pictures.
const REACH: usize = 1;
/// Largest gain between two pictures that light explains.
const MAX_GAIN: f32 = 1.4 * 1.4;
/// Change and structure that make a cut where frames are too far apart in time to have like neighbours, relative to
/// the smallest of other cuts.
const SLOW: f64 = 2.0;
/// Lost structure below which one scene has moved, 0 to 1, see [`structure_lost`]: at most 0.22 where motion looked
/// like a cut from one frame to the next, at least 0.52 over the cuts of ten films, except where a second picture
/// appears beside the first. From 0.25 to 0.45, and with [`REPLACED`] from 0.5 to 0.6 and [`REPLACED_RATIO`] from 0.6 to
/// 0.75, each film has the same cuts.
const MOVED: f64 = 0.35;
/// Lost structure from which the pictures show different scenes, 0 to 1: at most 0.48 in two frames of a scene that
/// moves, at least 0.58 over the cuts of these films but two.
const REPLACED: f64 = 0.55;
/// Smallest ratio of changes, relative to that of other cuts, where the structure is lost: then it only tells a cut
/// from a scene in which everything moves at random.
const REPLACED_RATIO: f64 = 0.75;
/// The same where most of the structure has stayed: things in the picture moved, unless the rest is calm, as when a
/// second picture appears beside the first.
const MOVED_RATIO: f64 = 2.0;
/// Length of a frame from which its neighbours say nothing of it, seconds.
const SLOW_SECS: f64 = 0.2;

/// Finds cuts in a stream of luma pictures, [`LOOKAHEAD`] frames late.
#[derive(Debug)]
pub struct CutDetector {
    config: ShotConfig,
    /// Whether frames are far apart in time.
    is_slow: bool,
    /// The last pictures, oldest first.
    pictures: Vec<Vec<u8>>,
    /// Frames since the last cut.
    since_cut: usize,
}

/// Pictures around the judged one: some before, itself, and [`LOOKAHEAD`] after.
const SPAN: usize = LOOKBACK + 1 + LOOKAHEAD;

impl CutDetector {
    /// A detector at the beginning of a video of `fps` frames a second.
    pub fn new(config: ShotConfig, fps: f64) -> Self {
        Self { config, is_slow: 1.0 / fps >= SLOW_SECS, pictures: Vec::new(), since_cut: SPAN }
    }

    /// Takes the next picture, [`WIDTH`] × [`HEIGHT`] bytes, and judges the one [`LOOKAHEAD`] before it: does a shot
    /// begin there? The first frame of the video is not judged; the caller knows that a shot begins there.
    pub fn push(&mut self, luma: Vec<u8>) -> Option<Boundary> {
        self.pictures.push(luma);
        if self.pictures.len() > SPAN {
            self.pictures.remove(0);
        }
        let judged = self.pictures.len().checked_sub(1 + LOOKAHEAD)?;
        self.judge(judged)
    }

    /// Judges the frames that [`CutDetector::push`] still owes at the end of the video, in order.
    pub fn finish(&mut self) -> Vec<Option<Boundary>> {
        let len = self.pictures.len();
        (len.saturating_sub(LOOKAHEAD)..len).map(|i| self.judge(i)).collect()
    }

    fn judge(&mut self, i: usize) -> Option<Boundary> {
        self.since_cut += 1;
        let change = self.stands_out(i)?;
        // Behind a mixed frame, the pure one stands out too.
        if self.since_cut <= 2 && !self.is_slow {
            return None;
        }
        self.since_cut = 0;
        Some(Boundary { transition: Transition::Cut, score: Some(change.min(1.0)) })
    }

    /// The change to picture `i`, if a shot begins there.
    fn stands_out(&self, i: usize) -> Option<f64> {
        let ShotConfig { min_cut_change, min_cut_ratio, min_structure_change, .. } = self.config;
        let len = self.pictures.len();
        let between = |a: usize, b: usize| change(&self.pictures[a], &self.pictures[b]);
        let structure = |a: usize, b: usize| structure_change(&self.pictures[a], &self.pictures[b]);
        let before = i.checked_sub(1)?;
        let mut across = between(before, i);
        if across < min_cut_change {
            return None;
        }
        if self.is_slow {
            let is_other =
                across >= SLOW * min_cut_change && structure(before, i) >= SLOW * min_structure_change;
            return is_other.then_some(across);
        }
        // A flash is over soon: then the pictures beyond it are like those before.
        let (farther, next) = (before.checked_sub(1), (i + 1 < len).then_some(i + 1));
        let pairs = [farther.map(|a| (a, i)), next.map(|b| (before, b)), farther.zip(next)];
        for (a, b) in pairs.into_iter().flatten() {
            across = across.min(between(a, b));
        }
        if across < min_cut_change {
            return None;
        }
        let unrest_before = self.unrest(i.saturating_sub(LOOKBACK), before);
        let unrest_after = self.unrest(i, (i + 2).min(len - 1));
        let least = across / min_cut_ratio;
        let lost = |after: usize| structure_lost(&self.pictures[before], &self.pictures[after]);
        let is_calm = |unrest_after: f64, ratio: f64| unrest_before.max(unrest_after) <= least / ratio;
        let is_pure = || {
            let ratio = match lost(i) {
                lost if lost < MOVED => MOVED_RATIO,
                lost if lost < REPLACED => 1.0,
                _ => REPLACED_RATIO,
            };
            is_calm(unrest_after, ratio)
        };
        if structure(before, i) >= min_structure_change
            && next.is_none_or(|next| structure(before, next) >= min_structure_change)
            && is_calm(unrest_after, REPLACED_RATIO)
            && is_pure()
        {
            return Some(across);
        }
        let next = next.filter(|_| i + 3 < len)?;
        let unrest_after = between(next, i + 2).max(between(i + 2, i + 3));
        let is_mixed = structure(before, next) >= min_structure_change
            && is_calm(unrest_after, 1.0)
            && is_calm(unrest_after, if lost(next) < REPLACED { MOVED_RATIO } else { 1.0 });
        is_mixed.then_some(across)
    }

    /// Largest change from one to the next of at most three pictures; a middle one that flashes does not count.
    fn unrest(&self, first: usize, last: usize) -> f64 {
        let between = |a: usize, b: usize| change(&self.pictures[a], &self.pictures[b]);
        match last - first {
            0 => 0.0,
            1 => between(first, last),
            _ => {
                let steps = [between(first, first + 1), between(first + 1, last)];
                let over = between(first, last);
                if over < steps[0].min(steps[1]) / 2.0 { over } else { steps[0].max(steps[1]) }
            }
        }
    }
}

/// Mean absolute difference of two pictures of [`WIDTH`] × [`HEIGHT`] pixels, as a share of the luma range, after one
/// gain and one offset, and with every block of the first where it fits the second best.
fn change(a: &[u8], b: &[u8]) -> f64 {
    let ((mean_a, deviation_a), (mean_b, deviation_b)) = (moments(a), moments(b));
    let gain = (deviation_b.max(1.0) / deviation_a.max(1.0)).clamp(1.0 / MAX_GAIN, MAX_GAIN).sqrt();
    let normal = |picture: &[u8], mean: f32, gain: f32| -> Vec<f32> {
        picture.iter().map(|v| (f32::from(*v) - mean) * gain).collect()
    };
    let (a, b) = (normal(a, mean_a, gain), normal(b, mean_b, 1.0 / gain));
    const ACROSS: usize = WIDTH / BLOCK;
    let mut best = [f32::INFINITY; ACROSS * (HEIGHT / BLOCK)];
    for down in 0..=2 * REACH {
        for across in 0..=2 * REACH {
            let mut sums = [0.0_f32; ACROSS * (HEIGHT / BLOCK)];
            for y in 0..HEIGHT {
                let from = (y + down).saturating_sub(REACH).min(HEIGHT - 1) * WIDTH;
                let (row_a, row_b) = (&a[y * WIDTH..][..WIDTH], &b[from..][..WIDTH]);
                let sums = &mut sums[y / BLOCK * ACROSS..][..ACROSS];
                for (x, value) in row_a.iter().enumerate() {
                    let other = row_b[(x + across).saturating_sub(REACH).min(WIDTH - 1)];
                    sums[x / BLOCK] += (value - other).abs();
                }
            }
            best.iter_mut().zip(sums).for_each(|(best, sum)| *best = best.min(sum));
        }
    }
    f64::from(best.iter().sum::<f32>()) / (WIDTH * HEIGHT) as f64 / 255.0
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shots::samples::{blend, lit, moved, scene};

    fn cuts_at(fps: f64, pictures: &[Vec<u8>]) -> Vec<usize> {
        let mut detector = CutDetector::new(ShotConfig::default(), fps);
        let mut judged: Vec<_> = pictures.iter().map(|picture| detector.push(picture.clone())).collect();
        judged.extend(detector.finish());
        let late = judged.into_iter().skip(LOOKAHEAD).enumerate();
        late.filter_map(|(i, boundary)| boundary.map(|_| i)).collect()
    }

    /// Frames at which a shot begins.
    fn cuts(pictures: &[Vec<u8>]) -> Vec<usize> {
        cuts_at(25.0, pictures)
    }

    /// Scenes by their seeds, one picture each.
    fn scenes(seeds: &[u32]) -> Vec<Vec<u8>> {
        seeds.iter().map(|seed| scene(*seed)).collect()
    }

    #[test]
    fn finds_a_cut_where_it_is() {
        assert_eq!(cuts(&scenes(&[1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3])), [4, 8]);
    }

    #[test]
    fn a_cut_at_either_end_counts() {
        assert_eq!(cuts(&scenes(&[1, 2, 2, 2, 2])), [1]);
        assert_eq!(cuts(&scenes(&[1, 1, 1, 1, 2])), [4]);
    }

    #[test]
    fn a_flash_is_no_cut_and_hides_none() {
        let white = vec![250; WIDTH * HEIGHT];
        let mut pictures = scenes(&[1, 1, 1, 1, 1, 1, 1, 1]);
        pictures[3] = white.clone();
        assert_eq!(cuts(&pictures), [0; 0]);
        for flash in 2..8 {
            let mut pictures = scenes(&[1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
            pictures[flash] = lit(&pictures[flash], 1.0, 90.0);
            let found = cuts(&pictures);
            assert!(matches!(found[..], [at] if at.abs_diff(5) <= 1), "{flash}: {found:?}");
        }
    }

    #[test]
    fn light_that_flickers_hides_no_cut_and_makes_none() {
        let seeds = [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2];
        let flicker =
            |i: usize| lit(&scene(seeds[i]), 1.0 + 0.1 * (i as f64).cos(), 15.0 * (2.0 * i as f64).sin());
        assert_eq!(cuts(&(0..12).map(flicker).collect::<Vec<_>>()), [6]);
    }

    #[test]
    fn a_cut_may_have_a_mixed_frame() {
        let mixed = blend(&scene(1), &scene(2), 0.5);
        let pictures = [scenes(&[1; 6]), vec![mixed], scenes(&[2; 6])].concat();
        assert_eq!(cuts(&pictures), [6]);
    }

    #[test]
    fn a_pan_is_no_cut() {
        let pan: Vec<_> = (0..12).map(|i| moved(&scene(1), 3 * i)).collect();
        assert_eq!(cuts(&pan), [0; 0]);
    }

    /// A wheel that jerks takes up half of the picture; the other half stays.
    #[test]
    fn a_part_that_moves_makes_no_cut_and_one_that_appears_does() {
        let rest = scene(1);
        let beside = |part: &[u8]| -> Vec<u8> {
            let pixel = |(i, (a, b)): (usize, (&u8, &u8))| if i % WIDTH < WIDTH / 2 { *b } else { *a };
            rest.iter().zip(part).enumerate().map(pixel).collect()
        };
        let turned = |from: u32, share: f64| beside(&blend(&scene(from), &scene(from + 1), share));
        let shares = [0.0, 0.15, 0.3];
        let wheel: Vec<_> = [3, 5].iter().flat_map(|from| shares.map(|share| turned(*from, share))).collect();
        assert_eq!(cuts(&wheel), [0; 0]);
        let appears: Vec<_> = (0..10).map(|i| if i < 5 { rest.clone() } else { turned(3, 0.0) }).collect();
        assert_eq!(cuts(&appears), [5]);
    }

    #[test]
    fn slides_are_cuts_although_every_frame_differs() {
        assert_eq!(cuts_at(1.0, &scenes(&[1, 2, 3, 3, 4])), [1, 2, 4]);
    }

    #[test]
    fn short_videos_are_one_shot() {
        assert_eq!(cuts(&[]), [0; 0]);
        assert_eq!(cuts(&scenes(&[7])), [0; 0]);
        assert_eq!(cuts(&scenes(&[7, 7])), [0; 0]);
    }
}
