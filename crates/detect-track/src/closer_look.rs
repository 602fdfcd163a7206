//! Closer looks at a face that no frame of its track shows surely.
//!
//! A detector is less sure of turned, painted and half covered faces, and its score changes with every copy of a video.
//! By one score of one frame, whether such a track is kept would be up to chance. At the end of the track, the surroundings
//! of its best detections are therefore looked at: in two sizes that suit the detector, as they are and mirrored. Looks of
//! this kind are usual on the benchmark WIDER FACE (test-time augmentation: Hu and Ramanan, CVPR 2017, arXiv 1612.04402).
//!
//! docs/design/detection-schedule.md has the figures from which the constants were chosen.

use geometry::BBox;
use video::{Image, Region};

use crate::crops::{shrink, source_region, warp};
use crate::detector::Detector;
use crate::face::Face;

/// Smallest score of a detection that is worth a closer look, 0 to 1.
pub(crate) const MIN_SCORE: f32 = 0.7;
/// How much more than a clear detection a sure one scores, which needs no closer look.
pub(crate) const SURE: f64 = 0.06;
/// How much more than a clear detection the best detection and the closer looks must score on average: a look scores
/// higher, because it is the best of four pictures.
const MARGIN: f64 = 0.01;
/// The looks end where the mean is further below that: further looks hardly ever raise it by more.
const OUT_OF_REACH: f64 = 0.1;
/// Largest number of detections of a track that are looked at, those with the highest scores.
const LOOKS: usize = 3;
/// Number of closer looks that count, those with the highest scores.
const COUNTED: usize = 2;
/// Largest number of faces of a frame whose surroundings are kept, those with the highest scores; it limits memory.
pub(crate) const MOST: usize = 8;
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

/// The detections of a track with the highest scores.
#[derive(Debug, Default)]
pub(crate) struct Best {
    /// The highest score, 0 to 1.
    score: f32,
    /// The detections to look at, best first, at most [`LOOKS`].
    doubtful: Vec<Doubtful>,
}

/// A detection that may be looked at closer.
#[derive(Debug)]
struct Doubtful {
    score: f32,
    frame_idx: i64,
    surroundings: Surroundings,
}

impl Best {
    /// Offers the next detection of the track, with its surroundings if it is worth a closer look; of equal scores, the
    /// first counts.
    pub(crate) fn offer(&mut self, frame_idx: i64, face: &Face, surroundings: Option<Surroundings>) {
        self.score = self.score.max(face.score);
        let doubtful =
            surroundings.map(|surroundings| Doubtful { score: face.score, frame_idx, surroundings });
        self.keep(doubtful);
    }

    /// Takes over the best detections of another track of the same face.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.score = self.score.max(other.score);
        self.keep(other.doubtful);
    }

    fn keep(&mut self, doubtful: impl IntoIterator<Item = Doubtful>) {
        self.doubtful.extend(doubtful);
        self.doubtful.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.frame_idx.cmp(&b.frame_idx)));
        self.doubtful.truncate(LOOKS);
    }

    /// Whether the best detection is worth a closer look. It is not if it is sure, or if its surroundings are unknown, as
    /// with cascades or in a crowd.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.doubtful.first().is_some_and(|first| first.score >= self.score)
    }

    /// Looks closer at the face: whether the mean of the score of the best detection and of the [`COUNTED`] best closer
    /// looks is at least `clear_score` and [`MARGIN`].
    ///
    /// # Errors
    /// The frame, and the message of the detector.
    pub(crate) fn is_face(
        &self,
        detector: &mut dyn Detector,
        clear_score: f64,
    ) -> Result<bool, (i64, String)> {
        let least = clear_score + MARGIN;
        let mut looks: Vec<f32> = Vec::new();
        for (at, Doubtful { frame_idx, surroundings, .. }) in self.doubtful.iter().enumerate() {
            looks.push(surroundings.score(detector).map_err(|reason| (*frame_idx, reason))?);
            looks.sort_by(|a, b| b.total_cmp(a));
            looks.truncate(COUNTED);
            let mean = self.mean_with(&looks);
            let is_last = at + 1 == self.doubtful.len();
            // A further look replaces the worst one that counts, so the mean can only rise once all count.
            if mean >= least && (is_last || looks.len() == COUNTED) {
                return Ok(true);
            }
            if mean < least - OUT_OF_REACH {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Mean of the best detection's score and of closer looks; one look counts as often as several.
    fn mean_with(&self, looks: &[f32]) -> f64 {
        let mean = looks.iter().map(|score| f64::from(*score)).sum::<f64>() / looks.len() as f64;
        (f64::from(self.score) + COUNTED as f64 * mean) / (1 + COUNTED) as f64
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Finds a face in the middle of every picture, and a clearer one in the corner, and keeps what it saw: the width of
    /// the picture, and whether it is mirrored. The face scores by the number of pictures before this one, and by both.
    struct Fake<F> {
        score: F,
        seen: Vec<(usize, bool)>,
    }

    impl<F: Fn(usize, usize, bool) -> f32> Detector for Fake<F> {
        fn smallest_px(&self) -> f64 {
            15.0
        }

        fn detect(&mut self, picture: &Image) -> Result<Vec<Face>, String> {
            let is_mirrored = picture.data[0] > 128;
            let score = (self.score)(self.seen.len(), picture.width, is_mirrored);
            self.seen.push((picture.width, is_mirrored));
            let side = picture.width as f32 / 2.0;
            let face =
                |at, score| Face { bbox: BBox::from_corner(at, at, side, side), landmarks: None, score };
            Ok(vec![face(side / 2.0, score), face(-side / 2.0, 0.99)])
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

    /// A track with detections that score so much; all but sure ones have surroundings.
    fn best(scores: &[f32]) -> Best {
        let mut best = Best::default();
        for (frame_idx, score) in scores.iter().enumerate() {
            let face = Face { bbox: BBox::default(), landmarks: None, score: *score };
            best.offer(frame_idx as i64, &face, (*score < 0.86).then(surroundings));
        }
        best
    }

    /// Whether the track is a face if closer looks score so much one after the other, and how many looks that takes.
    fn judged(scores: &[f32], looks: &[f32]) -> (bool, usize) {
        let mut detector = Fake { score: |before: usize, _, _| looks[before / 4], seen: Vec::new() };
        let is_face = best(scores).is_face(&mut detector, 0.8).unwrap();
        (is_face, detector.seen.len() / 4)
    }

    #[test]
    fn the_best_of_four_pictures_counts() {
        let score = |_, width, is_mirrored| if width == 112 && is_mirrored { 0.85 } else { 0.7 };
        let mut detector = Fake { score, seen: Vec::new() };
        assert_eq!(surroundings().score(&mut detector).unwrap(), 0.85);
        assert_eq!(detector.seen, [(224, false), (224, true), (112, false), (112, true)]);
    }

    #[test]
    fn the_best_detection_and_the_two_best_looks_count() {
        let three = |looks: &[f32]| judged(&[0.78, 0.74, 0.75], looks);
        assert_eq!(three(&[0.8, 0.84, 0.83]), (true, 3), "(0.78 + 0.84 + 0.83) / 3 ≥ 0.81");
        assert_eq!(three(&[0.8, 0.84, 0.79]), (false, 3));
        assert_eq!(judged(&[0.78, 0.74], &[0.83, 0.84, 0.9]), (true, 2));
        assert_eq!(judged(&[0.85], &[0.8]), (true, 1), "one look counts twice if there is no other");
        assert_eq!(judged(&[0.85], &[0.78]), (false, 1));
    }

    #[test]
    fn no_more_looks_than_needed() {
        let three = |looks: &[f32]| judged(&[0.79, 0.79, 0.79], looks);
        assert_eq!(three(&[0.83, 0.83, 0.0]), (true, 2), "a third look can only raise the mean");
        assert_eq!(three(&[0.6, 0.9, 0.9]), (false, 1), "far below");
        assert_eq!(judged(&[0.79; 9], &[0.79, 0.79, 0.79, 0.9]), (false, 3), "three at most");
        assert_eq!(judged(&[], &[]), (false, 0));
    }

    #[test]
    fn a_sure_detection_needs_no_look() {
        assert!(!best(&[0.7, 0.86]).is_doubtful());
        assert!(best(&[0.7, 0.85]).is_doubtful());
        let mut crowd = best(&[0.7]);
        crowd.offer(1, &Face { bbox: BBox::default(), landmarks: None, score: 0.84 }, None);
        assert!(!crowd.is_doubtful(), "the surroundings of the best detection are unknown");
        assert_eq!(judged(&[0.9], &[0.9]), (false, 0), "without surroundings, there is no look");
        let mut joined = best(&[0.7, 0.71]);
        joined.absorb(best(&[0.72, 0.73, 0.87]));
        assert!(!joined.is_doubtful());
        assert_eq!(joined.doubtful.iter().map(|at| at.score).collect::<Vec<_>>(), [0.73, 0.72, 0.71]);
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
