//! Shot boundaries from small luma pictures.
//!
//! A cut is a change between two frames that stands out from the changes around it: a pan or a
//! busy picture changes for many frames in a row, a flash changes back at once.

use schema::tables::Transition;

/// Width of the luma pictures, pixels.
pub const WIDTH: usize = 64;
/// Height of the luma pictures, pixels.
pub const HEIGHT: usize = 36;

/// Frames after a change that must be known to judge it.
pub const LOOKAHEAD: usize = 2;

/// What counts as a cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Smallest change, as a share of the luma range, 0 to 1.
    pub min_change: f64,
    /// How many times larger than the largest change nearby.
    pub min_ratio: f64,
}

/// The beginning of a shot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boundary {
    /// How it begins.
    pub transition: Transition,
    /// Strength, 0 to 1; `None` for the first shot.
    pub score: Option<f64>,
}

/// Finds cuts in a stream of luma pictures, [`LOOKAHEAD`] frames late.
#[derive(Debug)]
pub struct ShotDetector {
    thresholds: Thresholds,
    /// The last pictures, oldest first.
    pictures: Vec<Vec<u8>>,
    /// Change that led to each of those pictures.
    changes: Vec<f64>,
}

/// Pictures around the judged one: two before, itself, and [`LOOKAHEAD`] after.
const SPAN: usize = 3 + LOOKAHEAD;

impl ShotDetector {
    /// A detector at the beginning of a video.
    pub fn new(thresholds: Thresholds) -> Self {
        Self { thresholds, pictures: Vec::new(), changes: Vec::new() }
    }

    /// Takes the next picture and judges the one [`LOOKAHEAD`] before it: does a shot begin there?
    /// The first frame of the video is not judged; the caller knows that a shot begins there.
    pub fn push(&mut self, luma: Vec<u8>) -> Option<Boundary> {
        let change = self.pictures.last().map_or(0.0, |before| difference(before, &luma));
        self.pictures.push(luma);
        self.changes.push(change);
        if self.pictures.len() > SPAN {
            self.pictures.remove(0);
            self.changes.remove(0);
        }
        let judged = self.pictures.len().checked_sub(1 + LOOKAHEAD)?;
        self.judge(judged)
    }

    /// Judges the frames that [`ShotDetector::push`] still owes at the end of the video, in order.
    pub fn finish(&mut self) -> Vec<Option<Boundary>> {
        let len = self.pictures.len();
        (len.saturating_sub(LOOKAHEAD)..len).map(|i| self.judge(i)).collect()
    }

    fn judge(&self, i: usize) -> Option<Boundary> {
        if i == 0 {
            return None;
        }
        let change = self.changes[i];
        let nearby = |j: &usize| *j != i && j.abs_diff(i) <= LOOKAHEAD;
        let around = (0..self.changes.len()).filter(nearby).map(|j| self.changes[j]).fold(0.0, f64::max);
        let Thresholds { min_change, min_ratio } = self.thresholds;
        if change < min_change || change < min_ratio * around || self.flashes(i, change) {
            return None;
        }
        Some(Boundary { transition: Transition::Cut, score: Some(change.min(1.0)) })
    }

    /// Whether the picture soon looks again as it did before the change.
    fn flashes(&self, i: usize, change: f64) -> bool {
        let before = &self.pictures[i - 1];
        self.pictures[i + 1..].iter().any(|later| difference(before, later) < change / 2.0)
    }
}

/// Mean absolute difference of two pictures, as a share of the luma range, 0 to 1.
fn difference(a: &[u8], b: &[u8]) -> f64 {
    let sum: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len().max(1) as f64 / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { min_change: 0.03, min_ratio: 2.0 };

    /// Frames at which a shot begins when the pictures have these grey levels.
    fn cuts(levels: &[u8]) -> Vec<usize> {
        let mut detector = ShotDetector::new(THRESHOLDS);
        let mut judged: Vec<_> = levels.iter().map(|l| detector.push(vec![*l; 16])).collect();
        judged.extend(detector.finish());
        let late = judged.into_iter().skip(LOOKAHEAD).enumerate();
        late.filter_map(|(i, boundary)| boundary.map(|_| i)).collect()
    }

    #[test]
    fn finds_a_cut_where_it_is() {
        assert_eq!(cuts(&[10, 10, 11, 10, 90, 91, 90, 90, 30, 30, 31]), [4, 8]);
    }

    #[test]
    fn a_cut_at_either_end_counts() {
        assert_eq!(cuts(&[10, 90, 90, 90, 90]), [1]);
        assert_eq!(cuts(&[10, 10, 10, 10, 90]), [4]);
    }

    #[test]
    fn a_flash_is_no_cut() {
        assert_eq!(cuts(&[10, 10, 10, 200, 10, 10, 10, 10]), [0; 0]);
    }

    #[test]
    fn a_pan_is_no_cut() {
        assert_eq!(cuts(&[10, 25, 40, 55, 70, 85, 100, 115]), [0; 0]);
    }

    #[test]
    fn a_pan_of_doubled_frames_is_no_cut() {
        assert_eq!(cuts(&[10, 10, 25, 25, 40, 40, 55, 55, 55, 55, 55]), [0; 0]);
    }

    #[test]
    fn short_videos_are_one_shot() {
        assert_eq!(cuts(&[]), [0; 0]);
        assert_eq!(cuts(&[7]), [0; 0]);
        assert_eq!(cuts(&[7, 7]), [0; 0]);
    }
}
