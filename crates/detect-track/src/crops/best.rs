//! The best few crops of a track.

use super::AlignedCrop;

/// Correlation of two appearances from which the second crop shows nothing new.
const SAME_APPEARANCE: f32 = 0.95;
/// Number of crops kept of a track even if all look the same.
const MIN_KEPT: usize = 3;

/// Number of stretches of which the best crop is held, twice the number of crops if that is more; at least half of it once a
/// track is long.
const STRETCHES: usize = 12;

/// Keeps the crop with the highest score of every stretch of a track.
///
/// The detector's score says best which crop an embedder recognises: the score falls with small, blurred, turned and
/// covered faces. docs/design/detection-schedule.md has figures.
///
/// Stretches double in length whenever there are too many of them, so the memory is bounded however long
/// the track is, and the choice is spread over the track.
#[derive(Debug)]
pub struct BestCrops {
    capacity: usize,
    /// Length of a stretch, in crops offered.
    stretch: usize,
    /// Crops offered so far.
    offered: usize,
    /// Best of each stretch: number of the stretch, frame, crop.
    best: Vec<(usize, i64, AlignedCrop)>,
}

impl BestCrops {
    /// Begins a choice that yields at most `capacity` crops.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), stretch: 1, offered: 0, best: Vec::new() }
    }

    /// Offers the next crop of the track.
    pub fn offer(&mut self, frame_idx: i64, crop: AlignedCrop) {
        let number = self.offered / self.stretch;
        self.offered += 1;
        self.keep_better((number, frame_idx, crop));
        if self.best.len() > STRETCHES.max(2 * self.capacity) {
            self.stretch *= 2;
            for (number, frame_idx, crop) in std::mem::take(&mut self.best) {
                self.keep_better((number / 2, frame_idx, crop));
            }
        }
    }

    /// Takes over the crops that were held of another track of the same face.
    pub fn absorb(&mut self, other: Self) {
        self.offered += other.offered;
        self.best.splice(0..0, other.best);
    }

    fn keep_better(&mut self, offered: (usize, i64, AlignedCrop)) {
        match self.best.last_mut() {
            Some(held) if held.0 == offered.0 => {
                if offered.2.score > held.2.score {
                    *held = offered;
                }
            }
            _ => self.best.push(offered),
        }
    }

    /// Frame and crop of those with the highest scores, the highest first; after the first three, only crops that differ
    /// from those before them. Ties go to the earlier frame.
    pub fn finish(mut self) -> Vec<(i64, AlignedCrop)> {
        self.best.sort_by(|a, b| b.2.score.total_cmp(&a.2.score));
        let mut chosen: Vec<(i64, AlignedCrop)> = Vec::new();
        for (_, frame_idx, crop) in self.best {
            let is_new =
                |held: &(i64, AlignedCrop)| held.1.appearance.similarity(&crop.appearance) <= SAME_APPEARANCE;
            if chosen.len() < self.capacity && (chosen.len() < MIN_KEPT || chosen.iter().all(is_new)) {
                chosen.push((frame_idx, crop));
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracker::Appearance;

    fn crop(score: f32) -> AlignedCrop {
        AlignedCrop {
            rgb: Vec::new(),
            transform: [0.0; 6],
            score,
            sharpness: 0.0,
            quality: 0.0,
            appearance: Appearance::default(),
        }
    }

    #[test]
    fn the_choice_is_bounded_and_spread() {
        let mut crops = BestCrops::new(4);
        for i in 0..1000_u16 {
            crops.offer(i.into(), crop(f32::from(i % 7)));
            assert!(crops.best.len() <= STRETCHES);
        }
        let mut frames: Vec<_> = crops.finish().into_iter().map(|(frame, _)| frame).collect();
        assert_eq!(frames.len(), 4);
        frames.sort();
        assert!(frames.windows(2).all(|pair| pair[1] - pair[0] > 50), "{frames:?}");
    }

    #[test]
    fn a_fourth_crop_must_differ() {
        let looking = |pattern: [f32; 2], score| {
            let appearance = Appearance { pattern: pattern.to_vec(), ..Appearance::default() };
            AlignedCrop { appearance, ..crop(score) }
        };
        let mut crops = BestCrops::new(5);
        (0..5).for_each(|frame| crops.offer(frame, looking([1.0, 0.0], 0.9)));
        crops.offer(5, looking([0.0, 1.0], 0.1));
        let frames: Vec<_> = crops.finish().into_iter().map(|(frame, _)| frame).collect();
        assert_eq!(frames, [0, 1, 2, 5]);
    }

    #[test]
    fn the_best_crop_comes_first() {
        let mut crops = BestCrops::new(2);
        [0.1, 0.9, 0.5].into_iter().enumerate().for_each(|(i, score)| crops.offer(i as i64, crop(score)));
        let scores: Vec<_> = crops.finish().into_iter().map(|(_, crop)| crop.score).collect();
        assert_eq!(scores, [0.9, 0.5]);
    }
}
