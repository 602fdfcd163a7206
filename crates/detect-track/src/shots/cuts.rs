//! Cuts: the picture changes from one frame to the next.
//!
//! A cut is a change that stands out from the changes around it and replaces the structure of the
//! picture: a pan or a busy picture changes for many frames in a row, a flash changes back at once,
//! and when a lamp goes on the edges stay.

use schema::tables::Transition;

use crate::shots::{Boundary, ShotConfig, difference, structure_change};

/// Frames after a change that must be known to judge it.
pub const LOOKAHEAD: usize = 2;

/// Finds cuts in a stream of luma pictures, [`LOOKAHEAD`] frames late.
#[derive(Debug)]
pub struct CutDetector {
    config: ShotConfig,
    /// The last pictures, oldest first.
    pictures: Vec<Vec<u8>>,
    /// Change that led to each of those pictures.
    changes: Vec<f64>,
}

/// Pictures around the judged one: two before, itself, and [`LOOKAHEAD`] after.
const SPAN: usize = 3 + LOOKAHEAD;

impl CutDetector {
    /// A detector at the beginning of a video.
    pub fn new(config: ShotConfig) -> Self {
        Self { config, pictures: Vec::new(), changes: Vec::new() }
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

    /// Judges the frames that [`CutDetector::push`] still owes at the end of the video, in order.
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
        let ShotConfig { min_cut_change, min_cut_ratio, min_structure_change, .. } = self.config;
        if change < min_cut_change || change < min_cut_ratio * around || self.flashes(i, change) {
            return None;
        }
        if structure_change(&self.pictures[i - 1], &self.pictures[i]) < min_structure_change {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames at which a shot begins when the pictures are blank and have these grey levels.
    fn cuts(levels: &[u8]) -> Vec<usize> {
        let mut detector = CutDetector::new(ShotConfig::default());
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
