//! Frames that need not be examined: those between two examined frames that agree.
//!
//! A shot is examined at its first and last frame and every so often between. Where the faces at both ends of
//! such a span are plainly the same ones, hardly moved, their boxes in between are interpolated; otherwise
//! the frame in the middle is examined too, and so on. Calm passages need few examined frames and busy ones
//! many, and a face that appears or disappears is located to the frame.

use crate::face::Face;

/// Two faces of one span are the same if their boxes overlap by this much, IoU.
const SAME: f32 = 0.5;
/// A second face that overlaps by this much makes a face ambiguous, IoU.
const NEAR: f32 = 0.2;

/// Whether every face that scores at least `clear_score` at one end has one and only one
/// counterpart at the other, near where it was.
pub fn agree(from: &[Face], to: &[Face], clear_score: f32) -> bool {
    let all_found = |here: &[Face], there: &[Face]| {
        here.iter().filter(|face| face.score >= clear_score).all(|face| has_one_counterpart(face, there))
    };
    all_found(from, to) && all_found(to, from)
}

fn has_one_counterpart(face: &Face, others: &[Face]) -> bool {
    let overlaps = others.iter().map(|other| face.bbox.iou(&other.bbox));
    let near: Vec<f32> = overlaps.filter(|iou| *iou > NEAR).collect();
    matches!(near[..], [iou] if iou >= SAME)
}

#[cfg(test)]
mod tests {
    use geometry::BBox;

    use super::*;

    fn face(x: f32, score: f32) -> Face {
        Face { bbox: BBox::from_corner(x, 0.0, 10.0, 10.0), landmarks: None, score }
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
    fn doubtful_faces_need_no_counterpart() {
        assert!(agree(&[face(0.0, 0.9)], &[face(0.0, 0.9), face(50.0, 0.6)], 0.8));
    }
}
