//! A closer look at a face that no frame of its track shows clearly.
//!
//! A detector is less sure of turned, painted and half covered faces, and its score changes with every copy of a video.
//! Whether such a track is kept would be up to chance. At the end of the track, the surroundings of its best detection
//! are therefore looked at: in two sizes that suit the detector, as they are and mirrored. Looks of this kind are usual
//! on the benchmark WIDER FACE (test-time augmentation: Hu and Ramanan, CVPR 2017, arXiv 1612.04402).
//!
//! docs/design/detection-schedule.md has the figures from which the constants were chosen.

use geometry::BBox;
use video::{Image, Region};

use crate::crops::{shrink, source_region, warp};
use crate::detector::Detector;
use crate::face::Face;

/// Smallest score of a face that is worth a closer look, 0 to 1.
pub(crate) const MIN_SCORE: f32 = 0.6;
/// How much more than a clear face the closer look must score: the best of several looks is higher than a single one.
pub(crate) const MARGIN: f64 = 0.04;
/// Largest number of faces of a frame whose surroundings are kept, those with the highest scores; it limits memory.
pub(crate) const MOST: usize = 4;
/// Side of the surroundings, pixels. The longer side of the face is half of it.
const SIDE: usize = 224;
/// Smallest overlap (IoU) of the face that is found with the face that is looked for, 0 to 1.
const SAME_FACE: f32 = 0.4;

/// What is around a face, and where it is in the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    /// Affine map from the frame to the surroundings, a 2 × 3 matrix row by row; pixels with the origin at the image
    /// corner.
    transform: [f32; 6],
    /// The part of the frame that the surroundings show.
    pub(crate) region: Region,
    /// The face in the surroundings, pixels.
    bbox: BBox,
}

/// The surroundings of a face: RGB of 224 × 224 pixels, with the face in the middle.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    picture: Image,
    bbox: BBox,
}

impl Area {
    /// Returns the area around a box in a frame of `width × height` pixels; `None` for a box of less than one pixel.
    pub(crate) fn around(bbox: &BBox, width: usize, height: usize) -> Option<Self> {
        let side = bbox.width().max(bbox.height());
        if !(side >= 1.0 && side.is_finite()) {
            return None;
        }
        let scale = SIDE as f32 / 2.0 / side;
        let (x, y) = bbox.centre();
        let (left, top) = (SIDE as f32 / 2.0 - scale * x, SIDE as f32 / 2.0 - scale * y);
        let transform = [scale, 0.0, left, 0.0, scale, top];
        let region = source_region(&transform, SIDE, width, height);
        Some(Self { transform, region, bbox: bbox.scaled(scale, scale).moved(left, top) })
    }

    /// Returns the surroundings; `picture` is the part [`region`](Self::region) of the frame, RGB. Beyond the frame, its
    /// border goes on.
    pub(crate) fn cut(&self, picture: &Image) -> Surroundings {
        let data = warp(picture, &self.transform, self.region, SIDE);
        Surroundings { picture: Image { width: SIDE, height: SIDE, channels: 3, data }, bbox: self.bbox }
    }
}

impl Surroundings {
    /// Returns the highest score of the face in both sizes, as it is and mirrored; 0 if it is not found.
    ///
    /// # Errors
    /// Those of the detector.
    pub(crate) fn score(&self, detector: &mut dyn Detector) -> Result<f32, String> {
        let Self { picture, bbox } = self;
        let half = shrink(picture, SIDE / 2, SIDE / 2);
        let mut best = 0.0_f32;
        for (picture, bbox) in [(picture, *bbox), (&half, bbox.scaled(0.5, 0.5))] {
            let mirrored = picture.clone().mirrored();
            for (picture, bbox) in [(picture, bbox), (&mirrored, bbox.mirrored(picture.width as f32))] {
                let faces = detector.detect(picture)?;
                let same = faces.iter().filter(|face| face.bbox.iou(&bbox) >= SAME_FACE);
                best = same.map(|face| face.score).fold(best, f32::max);
            }
        }
        Ok(best)
    }
}

/// The detection of a track with the highest score.
#[derive(Debug, Default)]
pub(crate) struct Best {
    score: f32,
    frame_idx: i64,
    /// `None` if the face is clear, or is not worth a closer look.
    surroundings: Option<Surroundings>,
}

impl Best {
    /// Offers the next detection of the track; of equal scores, the first counts.
    pub(crate) fn offer(&mut self, frame_idx: i64, face: &Face, surroundings: Option<Surroundings>) {
        if face.score > self.score {
            *self = Self { score: face.score, frame_idx, surroundings };
        }
    }

    /// Takes over the best detection of another track of the same face, if it is better.
    pub(crate) fn absorb(&mut self, other: Self) {
        if other.score > self.score {
            *self = other;
        }
    }

    /// Looks at the face again: whether one of the looks scores at least `clear_score` and [`MARGIN`].
    ///
    /// # Errors
    /// The frame, and the message of the detector.
    pub(crate) fn is_face(
        &self,
        detector: &mut dyn Detector,
        clear_score: f64,
    ) -> Result<bool, (i64, String)> {
        let Some(surroundings) = &self.surroundings else { return Ok(false) };
        let score = surroundings.score(detector).map_err(|reason| (self.frame_idx, reason))?;
        Ok(f64::from(score) >= clear_score + MARGIN)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Finds a face in the middle of every picture, and a clearer one in the corner, and keeps what it saw: the width of
    /// the picture, and whether it is mirrored.
    struct Fake {
        score: fn(usize, bool) -> f32,
        seen: Vec<(usize, bool)>,
    }

    impl Detector for Fake {
        fn smallest_px(&self) -> f64 {
            15.0
        }

        fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String> {
            let is_mirrored = picture.data[0] > 128;
            self.seen.push((picture.width, is_mirrored));
            let side = picture.width as f32 / 2.0;
            let face =
                |at, score| Face { bbox: BBox::from_corner(at, at, side, side), landmarks: None, score };
            Ok(vec![face(side / 2.0, (self.score)(picture.width, is_mirrored)), face(-side / 2.0, 0.99)])
        }
    }

    /// A frame that is dark on the left and bright on the right.
    fn frame(width: usize, height: usize) -> Image {
        let data = (0..width * height).flat_map(|at| [if at % width < width / 2 { 10 } else { 200 }; 3]);
        Image { width, height, channels: 3, data: data.collect() }
    }

    fn surroundings() -> Surroundings {
        let area = Area::around(&BBox::from_corner(300.0, 160.0, 40.0, 40.0), 640, 360).unwrap();
        assert_eq!((area.region.x, area.region.y), (272, 132), "the region has a margin of eight pixels");
        let Region { width, height, .. } = area.region;
        area.cut(&frame(width, height))
    }

    fn best(score: f32) -> Best {
        let mut best = Best::default();
        let face = Face { bbox: BBox::default(), landmarks: None, score };
        best.offer(7, &face, Some(surroundings()));
        best
    }

    #[test]
    fn the_best_of_four_looks_at_the_same_face_counts() {
        let score = |width, is_mirrored| if width == 112 && is_mirrored { 0.85 } else { 0.7 };
        let mut detector = Fake { score, seen: Vec::new() };
        assert_eq!(surroundings().score(&mut detector).unwrap(), 0.85);
        assert_eq!(detector.seen, [(224, false), (224, true), (112, false), (112, true)]);
        assert!(best(0.7).is_face(&mut detector, 0.8).unwrap());
        assert!(!best(0.7).is_face(&mut detector, 0.82).unwrap(), "one of four looks must be surer than one");
    }

    #[test]
    fn a_clear_detection_ends_the_doubt() {
        let mut detector = Fake { score: |_, _| 0.9, seen: Vec::new() };
        let mut best = best(0.7);
        let face = |score| Face { bbox: BBox::default(), landmarks: None, score };
        best.offer(8, &face(0.6), None);
        assert!(best.is_face(&mut detector, 0.8).unwrap(), "the first has the higher score");
        best.offer(9, &face(0.85), None);
        assert!(!best.is_face(&mut detector, 0.8).unwrap());
        assert_eq!(detector.seen.len(), 4, "without surroundings, there is no look");
    }

    #[test]
    fn the_face_is_in_the_middle_whatever_its_size() {
        for (width, height) in [(15.0, 20.0), (300.0, 420.0), (900.0, 1200.0)] {
            let area = Area::around(&BBox::from_corner(-20.0, 100.0, width, height), 1280, 720).unwrap();
            let (x, y) = area.bbox.centre();
            assert!((x - 112.0).abs() < 1e-3 && (y - 112.0).abs() < 1e-3);
            assert!((area.bbox.height() - 112.0).abs() < 1e-3);
            let Region { x, y, width, height } = area.region;
            assert!(x + width <= 1280 && y + height <= 720);
            assert_eq!(area.cut(&frame(width, height)).picture.data.len(), 224 * 224 * 3);
        }
    }

    #[test]
    fn a_box_without_area_has_no_surroundings() {
        for side in [0.0, 0.5, f32::NAN, f32::INFINITY] {
            assert_eq!(Area::around(&BBox::from_corner(9.0, 9.0, side, side), 640, 360), None, "{side}");
        }
    }
}
