//! A face that a detector found.

use geometry::{BBox, Landmarks};

use crate::closer_look::Surroundings;
use crate::crops::AlignedCrop;
use crate::follow::Trajectory;
use crate::torso::Counts;

/// A detection in one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// Box, pixels of the picture.
    pub bbox: BBox,
    /// Landmarks, pixels of the picture; `None` when the detector gives none.
    pub landmarks: Option<Landmarks>,
    /// Detector's score, 0 to 1.
    pub score: f32,
}

impl Face {
    /// The landmarks, or those of a mean face in this box.
    pub fn likely_landmarks(&self) -> Landmarks {
        self.landmarks.unwrap_or_else(|| Landmarks::mean_of(&self.bbox))
    }

    /// The face in a picture whose origin lies `x` pixels to the left and `y` above.
    pub fn moved(&self, x: f32, y: f32) -> Self {
        let landmarks = self.landmarks.map(|landmarks| landmarks.moved(x, y));
        Self { bbox: self.bbox.moved(x, y), landmarks, score: self.score }
    }

    /// The face in a picture that is `across` times as wide and `down` times as high.
    pub fn scaled(&self, across: f32, down: f32) -> Self {
        let landmarks = self.landmarks.map(|landmarks| landmarks.scaled(across, down));
        Self { bbox: self.bbox.scaled(across, down), landmarks, score: self.score }
    }

    /// The face in the mirror image of a picture of `width` pixels.
    pub fn mirrored(&self, width: f32) -> Self {
        let landmarks = self.landmarks.map(|landmarks| landmarks.mirrored(width));
        Self { bbox: self.bbox.mirrored(width), landmarks, score: self.score }
    }
}

/// A detection with what else is known of the face.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedFace {
    /// The detection, in pixels of the full-size frame.
    pub face: Face,
    /// Its aligned crop; `None` when it could not be aligned.
    pub crop: Option<AlignedCrop>,
    /// Colours of the clothes; `None` when not measured.
    pub torso: Option<Counts>,
    /// What is around a doubtful face; `None` for a clear one, and for one that is not worth a closer look.
    pub surroundings: Option<Surroundings>,
    /// Where it was in the frames up to the next anchor frame, if faces are followed.
    pub trajectory: Trajectory,
}

/// Keeps the best of every group of boxes that overlap by more than `max_iou`; best first.
pub fn suppress(mut faces: Vec<Face>, max_iou: f32) -> Vec<Face> {
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Face> = Vec::new();
    for face in faces {
        if kept.iter().all(|k| k.bbox.iou(&face.bbox) <= max_iou) {
            kept.push(face);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Face {
        Face { bbox: BBox::from_corner(x, 0.0, 10.0, 10.0), landmarks: None, score }
    }

    #[test]
    fn suppression_keeps_the_best_of_each_group() {
        let kept = suppress(vec![face(0.0, 0.5), face(1.0, 0.9), face(30.0, 0.4)], 0.3);
        assert_eq!(kept.iter().map(|f| f.score).collect::<Vec<_>>(), [0.9, 0.4]);
    }

    #[test]
    fn a_mirror_image_swaps_the_sides_of_a_face() {
        let landmarks = Landmarks::new([(1.0, 2.0), (5.0, 2.0), (4.0, 4.0), (2.0, 6.0), (5.0, 6.0)]);
        let seen = Face { landmarks: Some(landmarks), ..face(0.0, 0.9) };
        let mirrored = seen.mirrored(20.0);
        let expected = Landmarks::new([(15.0, 2.0), (19.0, 2.0), (16.0, 4.0), (15.0, 6.0), (18.0, 6.0)]);
        assert_eq!((mirrored.bbox.x_min, mirrored.landmarks), (10.0, Some(expected)));
        assert_eq!(mirrored.mirrored(20.0), seen);
    }

    #[test]
    fn a_face_without_landmarks_has_those_of_a_mean_face() {
        let without = face(20.0, 1.0);
        assert_eq!(without.likely_landmarks(), Landmarks::mean_of(&without.bbox));
        let landmarks = Landmarks::new([(1.0, 2.0); 5]);
        assert_eq!(Face { landmarks: Some(landmarks), ..without }.likely_landmarks(), landmarks);
    }
}
