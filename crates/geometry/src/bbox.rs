//! Axis-aligned boxes.

use std::ops::{Add, Div, Mul, Sub};

/// A coordinate of a box: `f32` or `f64`. The default is 0.
pub trait Coordinate:
    Copy
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
}

impl Coordinate for f32 {}
impl Coordinate for f64 {}

/// The smaller of two coordinates; the other one where one is no number.
fn smaller<T: Coordinate>(a: T, b: T) -> T {
    if a < b || b.partial_cmp(&b).is_none() { a } else { b }
}

/// The larger of two coordinates; the other one where one is no number.
fn larger<T: Coordinate>(a: T, b: T) -> T {
    if a > b || b.partial_cmp(&b).is_none() { a } else { b }
}

/// A box in pixels, half-open, the origin at the upper left corner of the upright picture.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BBox<T = f32> {
    /// Left edge.
    pub x_min: T,
    /// Top edge.
    pub y_min: T,
    /// Right edge.
    pub x_max: T,
    /// Bottom edge.
    pub y_max: T,
}

impl<T: Coordinate> BBox<T> {
    /// Box with its upper left corner at (`x`, `y`).
    pub fn from_corner(x: T, y: T, width: T, height: T) -> Self {
        Self { x_min: x, y_min: y, x_max: x + width, y_max: y + height }
    }

    /// Width, pixels.
    pub fn width(&self) -> T {
        self.x_max - self.x_min
    }

    /// Height, pixels.
    pub fn height(&self) -> T {
        self.y_max - self.y_min
    }

    /// Area, square pixels.
    pub fn area(&self) -> T {
        self.width() * self.height()
    }

    /// Left, top, right and bottom edge.
    pub fn edges(&self) -> [T; 4] {
        [self.x_min, self.y_min, self.x_max, self.y_max]
    }

    /// Intersection over union of two boxes, 0 (disjoint) to 1 (equal); 0 for two empty boxes.
    pub fn iou(&self, other: &Self) -> T {
        let zero = T::default();
        let width = larger(smaller(self.x_max, other.x_max) - larger(self.x_min, other.x_min), zero);
        let height = larger(smaller(self.y_max, other.y_max) - larger(self.y_min, other.y_min), zero);
        let shared = width * height;
        let all = self.area() + other.area() - shared;
        if all > zero { shared / all } else { zero }
    }

    /// The box `share` (0 to 1) of the way from `self` to `other`.
    pub fn towards(&self, other: &Self, share: T) -> Self {
        let mix = |a: T, b: T| a + (b - a) * share;
        Self {
            x_min: mix(self.x_min, other.x_min),
            y_min: mix(self.y_min, other.y_min),
            x_max: mix(self.x_max, other.x_max),
            y_max: mix(self.y_max, other.y_max),
        }
    }

    /// The box in a picture that is `across` times as wide and `down` times as high.
    pub fn scaled(&self, across: T, down: T) -> Self {
        Self {
            x_min: self.x_min * across,
            y_min: self.y_min * down,
            x_max: self.x_max * across,
            y_max: self.y_max * down,
        }
    }

    /// The box in the mirror image of a picture of `width` pixels.
    pub fn mirrored(&self, width: T) -> Self {
        Self { x_min: width - self.x_max, x_max: width - self.x_min, ..*self }
    }

    /// The box moved by `dx` and `dy` pixels.
    pub fn moved(&self, dx: T, dy: T) -> Self {
        Self {
            x_min: self.x_min + dx,
            y_min: self.y_min + dy,
            x_max: self.x_max + dx,
            y_max: self.y_max + dy,
        }
    }
}

impl BBox<f32> {
    /// Box of this width and height with its centre at (`x`, `y`).
    pub fn around((x, y): (f32, f32), width: f32, height: f32) -> Self {
        let (across, down) = (width / 2.0, height / 2.0);
        Self { x_min: x - across, y_min: y - down, x_max: x + across, y_max: y + down }
    }

    /// Geometric mean of width and height, pixels.
    pub fn size(&self) -> f32 {
        self.area().max(0.0).sqrt()
    }

    /// Centre (x, y).
    pub fn centre(&self) -> (f32, f32) {
        ((self.x_min + self.x_max) / 2.0, (self.y_min + self.y_max) / 2.0)
    }
}

impl From<BBox<f32>> for BBox<f64> {
    fn from(narrow: BBox<f32>) -> Self {
        let [x_min, y_min, x_max, y_max] = narrow.edges().map(f64::from);
        Self { x_min, y_min, x_max, y_max }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bbox() -> impl Strategy<Value = BBox<f64>> {
        (0.0..50.0, 0.0..50.0, 1.0..40.0, 1.0..40.0).prop_map(|(x, y, w, h)| BBox::from_corner(x, y, w, h))
    }

    #[test]
    fn edges_are_not_counted_as_a_pixel() {
        let at = |x: f32| BBox::from_corner(x, 0.0, 10.0, 10.0);
        assert_eq!(at(0.0).iou(&at(5.0)), 50.0 / 150.0);
        assert_eq!(at(0.0).iou(&at(10.0)), 0.0);
        assert_eq!(BBox::<f64>::default().iou(&BBox::default()), 0.0);
    }

    proptest! {
        #[test]
        fn iou_is_symmetric_between_0_and_1_and_1_for_itself(a in bbox(), b in bbox()) {
            let iou = a.iou(&b);
            prop_assert!((0.0..=1.0).contains(&iou));
            prop_assert_eq!(iou, b.iou(&a));
            prop_assert!((a.iou(&a) - 1.0).abs() < 1e-12);
        }
    }
}
