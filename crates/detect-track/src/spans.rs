//! Frames that need not be examined: those between two examined frames that agree.
//!
//! A shot is examined at its first and last frame and every so often between. Where the faces at both ends of
//! such a span are plainly the same ones, hardly moved, their boxes in between are interpolated; otherwise
//! the frame in the middle is examined too, and so on. Calm passages need few examined frames and busy ones
//! many, and a face that appears or disappears is located to the frame.

use crate::face::{DetectedFace, Face};
use crate::tracker::Appearance;

/// Two faces of one span are the same if their boxes overlap by this much, IoU.
const SAME: f32 = 0.5;
/// A second face that overlaps by this much makes a face ambiguous, IoU.
const NEAR: f32 = 0.2;

/// A face as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Look {
    /// The detection.
    pub face: Face,
    appearance: Option<Appearance>,
}

impl Look {
    /// A look at a face.
    pub fn of(found: &DetectedFace) -> Self {
        Self { face: found.face, appearance: found.crop.as_ref().map(|crop| crop.appearance.clone()) }
    }

    fn is_of_another(&self, other: &Self) -> bool {
        self.appearance.as_ref().zip(other.appearance.as_ref()).is_some_and(|(a, b)| a.is_of_another(b))
    }
}

/// Whether every face that scores at least `clear_score` at one end has one and only one
/// counterpart at the other, near where it was and not plainly another face.
pub fn agree(from: &[Look], to: &[Look], clear_score: f32) -> bool {
    let all_found = |here: &[Look], there: &[Look]| {
        here.iter().filter(|look| look.face.score >= clear_score).all(|look| has_one_counterpart(look, there))
    };
    all_found(from, to) && all_found(to, from)
}

fn has_one_counterpart(look: &Look, others: &[Look]) -> bool {
    let overlaps = others.iter().map(|other| (look.face.bbox.iou(&other.face.bbox), other));
    let near: Vec<(f32, &Look)> = overlaps.filter(|(iou, _)| *iou > NEAR).collect();
    matches!(near[..], [(iou, other)] if iou >= SAME && !look.is_of_another(other))
}

#[cfg(test)]
mod tests {
    use geometry::BBox;

    use super::*;

    fn face(x: f32, score: f32) -> Look {
        let face = Face { bbox: BBox::from_corner(x, 0.0, 10.0, 10.0), landmarks: None, score };
        Look { face, appearance: None }
    }

    #[test]
    fn faces_that_hardly_move_agree() {
        assert!(agree(&[face(0.0, 0.9), face(50.0, 0.9)], &[face(51.0, 0.9), face(1.0, 0.5)], 0.8));
        assert!(agree(&[], &[], 0.8));
    }

    #[test]
    fn a_face_that_comes_goes_or_jumps_does_not_agree() {
        assert!(!agree(&[], &[face(0.0, 0.9)], 0.8));
        assert!(!agree(&[face(0.0, 0.9)], &[], 0.8));
        assert!(!agree(&[face(0.0, 0.9)], &[face(6.0, 0.9)], 0.8));
    }

    #[test]
    fn two_faces_close_together_do_not_agree() {
        assert!(!agree(&[face(0.0, 0.9)], &[face(0.0, 0.9), face(5.0, 0.9)], 0.8));
    }

    #[test]
    fn another_face_in_the_same_place_does_not_agree() {
        let look = |pattern: [f32; 2], colour: u8| {
            let appearance = Appearance { pattern: pattern.to_vec(), colours: vec![colour; 6] };
            Look { appearance: Some(appearance), ..face(0.0, 0.9) }
        };
        assert!(agree(&[look([1.0, 0.0], 90)], &[look([1.0, 0.0], 160)], 0.8), "lit anew");
        assert!(agree(&[look([1.0, 0.0], 90)], &[look([0.0, 1.0], 95)], 0.8), "turned");
        assert!(!agree(&[look([1.0, 0.0], 90)], &[look([0.0, 1.0], 160)], 0.8));
    }

    #[test]
    fn doubtful_faces_need_no_counterpart() {
        assert!(agree(&[face(0.0, 0.9)], &[face(0.0, 0.9), face(50.0, 0.6)], 0.8));
    }
}
