//! Boxes and the five points of a face.

/// A box in pixels, half-open, origin at the image corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x_min: f32,
    /// Top edge.
    pub y_min: f32,
    /// Right edge.
    pub x_max: f32,
    /// Bottom edge.
    pub y_max: f32,
}

impl Rect {
    /// Width, pixels.
    pub fn width(&self) -> f32 {
        self.x_max - self.x_min
    }

    /// Height, pixels.
    pub fn height(&self) -> f32 {
        self.y_max - self.y_min
    }

    /// Geometric mean of width and height, pixels.
    pub fn size(&self) -> f32 {
        (self.width() * self.height()).max(0.0).sqrt()
    }

    /// Centre (x, y).
    pub fn centre(&self) -> (f32, f32) {
        ((self.x_min + self.x_max) / 2.0, (self.y_min + self.y_max) / 2.0)
    }

    /// Intersection over union, 0 to 1.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = (self.x_max.min(other.x_max) - self.x_min.max(other.x_min)).max(0.0);
        let height = (self.y_max.min(other.y_max) - self.y_min.max(other.y_min)).max(0.0);
        let shared = width * height;
        let all = self.width() * self.height() + other.width() * other.height() - shared;
        if all > 0.0 { shared / all } else { 0.0 }
    }

    /// The box `share` (0 to 1) of the way from `self` to `other`.
    pub fn towards(&self, other: &Self, share: f32) -> Self {
        let mix = |a: f32, b: f32| a + (b - a) * share;
        Self {
            x_min: mix(self.x_min, other.x_min),
            y_min: mix(self.y_min, other.y_min),
            x_max: mix(self.x_max, other.x_max),
            y_max: mix(self.y_max, other.y_max),
        }
    }

    /// The box in a picture that is `across` times as wide and `down` times as high.
    pub fn scaled(&self, across: f32, down: f32) -> Self {
        Self {
            x_min: self.x_min * across,
            y_min: self.y_min * down,
            x_max: self.x_max * across,
            y_max: self.y_max * down,
        }
    }

    /// The box in the mirror image of a picture of this width.
    pub fn mirrored(&self, width: f32) -> Self {
        Self { x_min: width - self.x_max, x_max: width - self.x_min, ..*self }
    }

    /// The box moved by `dx` and `dy` pixels.
    pub fn moved(&self, dx: f32, dy: f32) -> Self {
        Self {
            x_min: self.x_min + dx,
            y_min: self.y_min + dy,
            x_max: self.x_max + dx,
            y_max: self.y_max + dy,
        }
    }
}

/// Right eye, left eye, nose, right and left corner of the mouth (the person's right), pixels.
pub type Points = [(f32, f32); 5];

/// Where the points of a face that looks ahead lie in its box, as shares of width and height: means
/// over what YuNet sees in portraits.
const MEAN_POINTS: Points = [(0.27, 0.375), (0.73, 0.375), (0.5, 0.57), (0.3, 0.73), (0.7, 0.73)];

/// A face that a detector saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// Box.
    pub rect: Rect,
    /// Five points; `None` when the detector gives none.
    pub points: Option<Points>,
    /// Detector's score, 0 to 1.
    pub score: f32,
}

impl Face {
    /// The five points, or where those of a mean face would be.
    pub fn likely_points(&self) -> Points {
        let Rect { x_min, y_min, .. } = self.rect;
        let (width, height) = (self.rect.width(), self.rect.height());
        self.points.unwrap_or_else(|| MEAN_POINTS.map(|(x, y)| (x_min + x * width, y_min + y * height)))
    }

    /// How far the points are from a profile view: 0 (profile) to 1 (nose midway between the eyes);
    /// `None` without points.
    pub fn frontality(&self) -> Option<f32> {
        let [right, left, nose, ..] = self.points?;
        let (across_x, across_y) = (left.0 - right.0, left.1 - right.1);
        let distance = across_x.hypot(across_y);
        if distance < f32::EPSILON {
            return Some(0.0);
        }
        // Where the nose falls along the line of the eyes: 0 at the right eye, 1 at the left.
        let along = ((nose.0 - right.0) * across_x + (nose.1 - right.1) * across_y) / distance.powi(2);
        Some((1.0 - 2.0 * (along - 0.5).abs()).clamp(0.0, 1.0))
    }
}

/// Keeps the best of every group of boxes that overlap by more than `max_iou`; best first.
pub fn suppress(mut faces: Vec<Face>, max_iou: f32) -> Vec<Face> {
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Face> = Vec::new();
    for face in faces {
        if kept.iter().all(|k| k.rect.iou(&face.rect) <= max_iou) {
            kept.push(face);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Face {
        let rect = Rect { x_min: x, y_min: 0.0, x_max: x + 10.0, y_max: 10.0 };
        let points = [(x, 0.0), (x + 4.0, 0.0), (x + 2.0, 2.0), (x, 4.0), (x + 4.0, 4.0)];
        Face { rect, points: Some(points), score }
    }

    #[test]
    fn iou_has_no_plus_one() {
        assert_eq!(face(0.0, 1.0).rect.iou(&face(5.0, 1.0).rect), 50.0 / 150.0);
        assert_eq!(face(0.0, 1.0).rect.iou(&face(10.0, 1.0).rect), 0.0);
    }

    #[test]
    fn suppression_keeps_the_best_of_each_group() {
        let kept = suppress(vec![face(0.0, 0.5), face(1.0, 0.9), face(30.0, 0.4)], 0.3);
        assert_eq!(kept.iter().map(|f| f.score).collect::<Vec<_>>(), [0.9, 0.4]);
    }

    #[test]
    fn a_nose_over_an_eye_is_a_profile() {
        let mut profile = face(0.0, 1.0);
        assert_eq!(profile.frontality(), Some(1.0));
        profile.points = profile.points.map(|[eye, rest @ ..]| [eye, rest[0], eye, rest[2], rest[3]]);
        assert_eq!(profile.frontality(), Some(0.0));
    }

    #[test]
    fn points_that_nobody_saw_are_those_of_a_mean_face() {
        let seen = face(20.0, 1.0);
        assert_eq!(Some(seen.likely_points()), seen.points);
        let unseen = Face { points: None, ..seen };
        let [right, left, nose, mouth, _] = unseen.likely_points();
        assert!(right.0 > 20.0 && right.0 < nose.0 && nose.0 < left.0 && left.0 < 30.0, "{unseen:?}");
        assert!(0.0 < right.1 && right.1 < nose.1 && nose.1 < mouth.1 && mouth.1 < 10.0, "{unseen:?}");
        assert_eq!(unseen.frontality(), None);
    }
}
