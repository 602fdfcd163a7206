//! The best few crops of a track.

use super::AlignedCrop;

/// Correlation of two appearances from which the second crop shows nothing new.
const SAME_APPEARANCE: f32 = 0.95;
/// Number of crops kept of a track even if all look the same.
const MIN_KEPT: usize = 3;

/// Keeps the best crop of every stretch of a track.
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
    /// Begins a choice that yields at most `capacity` crops and holds at most twice as many.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), stretch: 1, offered: 0, best: Vec::new() }
    }

    /// Offers the next crop of the track.
    pub fn offer(&mut self, frame_idx: i64, crop: AlignedCrop) {
        let number = self.offered / self.stretch;
        self.offered += 1;
        self.keep_better((number, frame_idx, crop));
        if self.best.len() > 2 * self.capacity {
            self.stretch *= 2;
            for (number, frame_idx, crop) in std::mem::take(&mut self.best) {
                self.keep_better((number / 2, frame_idx, crop));
            }
        }
    }

    fn keep_better(&mut self, offered: (usize, i64, AlignedCrop)) {
        match self.best.last_mut() {
            Some(held) if held.0 == offered.0 => {
                if offered.2.quality > held.2.quality {
                    *held = offered;
                }
            }
            _ => self.best.push(offered),
        }
    }

    /// Frame and crop of the best one, then of those that are good and differ from the ones before them:
    /// a second crop of the same pose and light adds little. Ties go to the earlier frame.
    pub fn finish(mut self) -> Vec<(i64, AlignedCrop)> {
        let mut chosen: Vec<(i64, AlignedCrop)> = Vec::new();
        while chosen.len() < self.capacity && !self.best.is_empty() {
            let worth = |crop: &AlignedCrop| {
                let closest = chosen
                    .iter()
                    .map(|(_, held)| held.appearance.similarity(&crop.appearance))
                    .fold(0.0, f32::max);
                crop.quality * (1.0 - closest)
            };
            let worths: Vec<f32> = self.best.iter().map(|(.., crop)| worth(crop)).collect();
            let best =
                worths.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
            let (_, frame_idx, crop) = self.best.remove(best);
            let is_new =
                |held: &(i64, AlignedCrop)| held.1.appearance.similarity(&crop.appearance) <= SAME_APPEARANCE;
            if chosen.len() < MIN_KEPT || chosen.iter().all(is_new) {
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

    fn crop(quality: f32) -> AlignedCrop {
        AlignedCrop {
            rgb: Vec::new(),
            transform: [0.0; 6],
            sharpness: 0.0,
            quality,
            appearance: Appearance::default(),
        }
    }

    #[test]
    fn the_choice_is_bounded_and_spread() {
        let mut crops = BestCrops::new(4);
        for i in 0..1000_u16 {
            crops.offer(i.into(), crop(f32::from(i % 7)));
            assert!(crops.best.len() <= 8);
        }
        let mut frames: Vec<_> = crops.finish().into_iter().map(|(frame, _)| frame).collect();
        assert_eq!(frames.len(), 4);
        frames.sort();
        assert!(frames.windows(2).all(|pair| pair[1] - pair[0] > 50), "{frames:?}");
    }

    #[test]
    fn the_best_crop_comes_first() {
        let mut crops = BestCrops::new(2);
        [0.1, 0.9, 0.5].into_iter().enumerate().for_each(|(i, q)| crops.offer(i as i64, crop(q)));
        let qualities: Vec<_> = crops.finish().into_iter().map(|(_, crop)| crop.quality).collect();
        assert_eq!(qualities, [0.9, 0.5]);
    }
}
