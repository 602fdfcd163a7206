//! Faces that never move: those of a poster, a photo, or a still on a screen.
//!
//! A living face moves: in some seconds, people breathe, blink or speak. Every look at the face of a track is compared
//! with the first one: how far the box moved, and how much the aligned face changed. A picture that the camera passes is
//! not recognized.
//!
//! *Example.* A face of 50 pixels whose box moves by 1 pixel in 5 s, and whose cells change by 0.01, is still.

use geometry::BBox;

use crate::tracker::Appearance;

/// Shortest time in which a living face moves, seconds. In 2 s, speakers in front of a camera move by 0.011 of the width
/// of the face only.
const MIN_SECS: f64 = 3.0;
/// Smallest number of looks, because living faces may happen to be equal in few looks.
const MIN_LOOKS: usize = 6;
/// Largest movement of a still face, as a share of the width of its box. Photos that were coded with little noise and
/// with much move by at most 0.019; the living faces of eleven clips, in at least 3 s, by at least 0.07. All were seen when the limits were chosen.
const MOVED: f32 = 0.03;
/// Largest change of a still face, see [`Appearance::change`]: at most 0.023 of these photos, at least 0.034 of these
/// living faces; one that moves by less than [`MOVED`] was not among them.
const CHANGED: f32 = 0.025;

/// What the looks at a face have in common.
#[derive(Debug, Clone, Default)]
pub struct Stillness {
    first: Option<(f64, BBox, Appearance)>,
    n_looks: usize,
    last_secs: f64,
    /// Largest movement of a look, as a share of the width of the first box.
    moved: f32,
    /// Largest change of a look.
    changed: f32,
}

impl Stillness {
    /// Adds a look at the face.
    pub fn add(&mut self, t_secs: f64, bbox: &BBox, appearance: &Appearance) {
        self.n_looks += 1;
        self.last_secs = t_secs;
        let Some((_, first, look)) = &self.first else {
            self.first = Some((t_secs, *bbox, appearance.clone()));
            return;
        };
        let (from, to) = (first.centre(), bbox.centre());
        let distance = (to.0 - from.0).hypot(to.1 - from.1);
        self.moved = self.moved.max(distance / (first.x_max - first.x_min).max(1.0));
        self.changed = self.changed.max(look.change(appearance));
    }

    /// Adds the looks at another track of the same face.
    pub fn absorb(&mut self, other: Self) {
        let Some((t_secs, bbox, look)) = &other.first else { return };
        let (n_looks, last_secs) = (self.n_looks + other.n_looks, self.last_secs.max(other.last_secs));
        self.add(*t_secs, bbox, look);
        (self.n_looks, self.last_secs) = (n_looks, last_secs);
        self.moved = self.moved.max(other.moved);
        self.changed = self.changed.max(other.changed);
    }

    /// Returns whether the face never moved; `None` if the track is too short to say.
    pub fn is_still(&self) -> Option<bool> {
        let (first_secs, ..) = self.first.as_ref()?;
        let is_long = self.last_secs - first_secs >= MIN_SECS && self.n_looks >= MIN_LOOKS;
        is_long.then_some(self.moved <= MOVED && self.changed <= CHANGED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks at a face of 50 pixels, three a second; `place` and `shade` give its left edge and one of its colours.
    fn looks(n: usize, place: impl Fn(usize) -> f32, shade: impl Fn(usize) -> u8) -> Option<bool> {
        let mut still = Stillness::default();
        for i in 0..n {
            let colours = vec![40, 40, 40, 200, 200, 200, 90, shade(i), 90, 160, 160, 160];
            let appearance = Appearance { pattern: Vec::new(), colours };
            still.add(i as f64 / 3.0, &BBox::from_corner(place(i), 10.0, 50.0, 60.0), &appearance);
        }
        still.is_still()
    }

    #[test]
    fn a_face_is_still_if_neither_box_nor_picture_change() {
        assert_eq!(looks(13, |i| (i % 2) as f32, |i| 90 + (i % 3) as u8), Some(true));
        assert_eq!(looks(13, |i| i as f32, |_| 90), Some(false), "it moves");
        assert_eq!(looks(13, |_| 0.0, |i| if i == 7 { 150 } else { 90 }), Some(false), "it blinks");
        assert_eq!(looks(8, |_| 0.0, |_| 90), None, "too short");
        assert_eq!(looks(0, |_| 0.0, |_| 90), None);
    }

    #[test]
    fn other_light_is_no_change() {
        let at = |light: f32| Appearance {
            pattern: Vec::new(),
            colours: [40.0, 200.0, 90.0, 160.0].iter().flat_map(|v| [(v * light) as u8 + 9; 3]).collect(),
        };
        assert!(at(1.0).change(&at(0.8)) < 0.01);
        assert_eq!(at(1.0).change(&at(1.0)), 0.0);
    }
}
