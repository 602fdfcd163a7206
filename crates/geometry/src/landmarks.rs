//! The five points of a face.

use crate::bbox::BBox;

/// A point in pixels, the origin at the upper left corner of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Distance from the left edge.
    pub x: f32,
    /// Distance from the top edge.
    pub y: f32,
}

/// Right eye, left eye, nose tip, right and left corner of the mouth (the person's right), pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Landmarks(pub [Point; 5]);

impl Landmarks {
    /// Positions in the box of a face that looks ahead, as shares of width and height: means over what
    /// YuNet sees in portraits.
    const MEAN: [(f32, f32); 5] = [(0.27, 0.375), (0.73, 0.375), (0.5, 0.57), (0.3, 0.73), (0.7, 0.73)];

    /// Landmarks from five pairs (x, y).
    pub const fn new(pairs: [(f32, f32); 5]) -> Self {
        let [a, b, c, d, e] = pairs;
        Self([
            Point { x: a.0, y: a.1 },
            Point { x: b.0, y: b.1 },
            Point { x: c.0, y: c.1 },
            Point { x: d.0, y: d.1 },
            Point { x: e.0, y: e.1 },
        ])
    }

    /// Landmarks of a mean face that fills a box and looks ahead.
    pub fn mean_of(bbox: &BBox) -> Self {
        let (width, height) = (bbox.width(), bbox.height());
        Self(Self::MEAN.map(|(x, y)| Point { x: bbox.x_min + x * width, y: bbox.y_min + y * height }))
    }

    /// The landmarks in a picture that is `across` times as wide and `down` times as high.
    pub fn scaled(&self, across: f32, down: f32) -> Self {
        Self(self.0.map(|point| Point { x: point.x * across, y: point.y * down }))
    }

    /// The landmarks moved right by `x` and down by `y` pixels.
    pub fn moved(&self, x: f32, y: f32) -> Self {
        Self(self.0.map(|point| Point { x: point.x + x, y: point.y + y }))
    }

    /// The landmarks in the mirror image of a picture of `width` pixels, where the right eye is the left one.
    pub fn mirrored(&self, width: f32) -> Self {
        let [right, left, nose, right_mouth, left_mouth] =
            self.0.map(|point| Point { x: width - point.x, ..point });
        Self([left, right, nose, left_mouth, right_mouth])
    }

    /// x and y of the first point, x and y of the second, and so on.
    pub fn flat(&self) -> [f32; 10] {
        std::array::from_fn(|i| if i % 2 == 0 { self.0[i / 2].x } else { self.0[i / 2].y })
    }

    /// Distance from a profile view: 0 (profile) to 1 (the nose midway between the eyes).
    pub fn frontality(&self) -> f32 {
        let [right, left, nose, ..] = self.0;
        let (across_x, across_y) = (left.x - right.x, left.y - right.y);
        let distance = across_x.hypot(across_y);
        if distance < f32::EPSILON {
            return 0.0;
        }
        // Where the nose falls along the line of the eyes: 0 at the right eye, 1 at the left.
        let along = ((nose.x - right.x) * across_x + (nose.y - right.y) * across_y) / distance.powi(2);
        (1.0 - 2.0 * (along - 0.5).abs()).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nose_over_an_eye_is_a_profile() {
        let ahead = [(0.0, 0.0), (4.0, 0.0), (2.0, 2.0), (0.0, 4.0), (4.0, 4.0)];
        assert_eq!(Landmarks::new(ahead).frontality(), 1.0);
        let [eye, rest @ ..] = ahead;
        assert_eq!(Landmarks::new([eye, rest[0], eye, rest[2], rest[3]]).frontality(), 0.0);
        assert_eq!(Landmarks::new([eye; 5]).frontality(), 0.0);
    }

    #[test]
    fn a_mean_face_lies_in_its_box() {
        let Landmarks([right, left, nose, mouth, _]) =
            Landmarks::mean_of(&BBox::from_corner(20.0, 0.0, 10.0, 10.0));
        assert!(20.0 < right.x && right.x < nose.x && nose.x < left.x && left.x < 30.0);
        assert!(0.0 < right.y && right.y < nose.y && nose.y < mouth.y && mouth.y < 10.0);
    }

    #[test]
    fn flat_landmarks_alternate_x_and_y() {
        let landmarks = Landmarks::new([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)]);
        assert_eq!(landmarks.flat(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(landmarks.scaled(2.0, 10.0).flat()[..2], [2.0, 20.0]);
    }
}
