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

/// A face that a detector saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Face {
    /// Box.
    pub rect: Rect,
    /// Five points.
    pub points: Points,
    /// Detector's score, 0 to 1.
    pub score: f32,
}

impl Face {
    /// How far the points are from a profile view: 0 (profile) to 1 (nose midway between the eyes).
    pub fn frontality(&self) -> f32 {
        let [right, left, nose, ..] = self.points;
        let (across_x, across_y) = (left.0 - right.0, left.1 - right.1);
        let distance = across_x.hypot(across_y);
        if distance < f32::EPSILON {
            return 0.0;
        }
        // Where the nose falls along the line of the eyes: 0 at the right eye, 1 at the left.
        let along = ((nose.0 - right.0) * across_x + (nose.1 - right.1) * across_y) / distance.powi(2);
        (1.0 - 2.0 * (along - 0.5).abs()).clamp(0.0, 1.0)
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
        Face { rect, points: [(x, 0.0), (x + 4.0, 0.0), (x + 2.0, 2.0), (x, 4.0), (x + 4.0, 4.0)], score }
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
        assert_eq!(profile.frontality(), 1.0);
        profile.points[2].0 = profile.points[0].0;
        assert_eq!(profile.frontality(), 0.0);
    }
}
