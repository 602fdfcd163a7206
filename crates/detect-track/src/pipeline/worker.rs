//! Finds and cuts the faces of one frame.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender};

use video::{Converter, Facts, Picture};

use crate::Config;
use crate::crops;
use crate::detector::Detector;
use crate::geometry::{Face, Points, suppress};
use crate::pipeline::Seen;
use crate::pipeline::schedule::Order;

/// Size of the smallest face in the picture that a detector sees, pixels: about the smallest that
/// it finds reliably.
const DETECTOR_FACE_PX: f64 = 15.0;
/// How many of the smallest faces fit into the short side of the picture, unless the user says
/// how large the smallest face is.
const FACES_ACROSS: f64 = 24.0;
/// Largest enlargement of the picture for the detector: more shows nothing new.
const MAX_SCALE: f64 = 2.0;
/// Longest side of the picture that a detector sees, pixels; bounds time and memory.
const MAX_SIDE_PX: f64 = 4096.0;

/// A worker's answer: the frame and its faces, or why there is none.
pub(super) type Answer = (i64, Result<Vec<Seen>, String>);

/// A worker: takes orders until there are none. Without an examiner it answers why there is none.
pub(super) fn work(
    taken: &Mutex<Receiver<Order<Picture>>>,
    answers: &Sender<Answer>,
    mut examiner: Result<Examiner<'_>, String>,
) {
    loop {
        let order = match taken.lock() {
            Ok(taken) => taken.recv(),
            Err(_) => return,
        };
        let Ok(Order { frame_idx, picture }) = order else { return };
        // A panic must not leave the reader waiting for an answer that never comes.
        let examined = catch_unwind(AssertUnwindSafe(|| match &mut examiner {
            Ok(examiner) => examiner.examine(&picture),
            Err(reason) => Err(reason.clone()),
        }));
        let examined = examined.unwrap_or_else(|_| Err("the worker panicked".into()));
        if answers.send((frame_idx, examined)).is_err() {
            return;
        }
    }
}

/// Finds and cuts the faces of pictures.
pub(super) struct Examiner<'a> {
    detector: Box<dyn Detector + 'a>,
    config: &'a Config,
    /// Width and height that every box is given in, whatever size a picture of the stream has.
    size: (usize, usize),
    small: Converter,
    full: Converter,
}

impl<'a> Examiner<'a> {
    /// With a detector of its own, for a video of which `facts` are known.
    pub(super) fn new(detector: Box<dyn Detector + 'a>, config: &'a Config, facts: &Facts) -> Self {
        let converter = || Converter::new(facts.rotation_degrees);
        let size = (facts.width as usize, facts.height as usize);
        Self { detector, config, size, small: converter(), full: converter() }
    }

    fn examine(&mut self, picture: &Picture) -> Result<Vec<Seen>, String> {
        let (width, height) = self.size;
        let (small_width, small_height) = detector_size(width, height, self.config.min_face_px);
        let small = self.small.rgb(picture, small_width, small_height)?;
        let faces = self.detector.detect(&small)?;
        let faces = suppress(faces, self.config.max_overlap as f32);
        if faces.is_empty() {
            return Ok(Vec::new());
        }
        let across = width as f32 / small_width as f32;
        let down = height as f32 / small_height as f32;
        let mut faces: Vec<Face> = faces.into_iter().map(|face| enlarged(face, across, down)).collect();
        faces.sort_by(|a, b| {
            a.rect.x_min.total_cmp(&b.rect.x_min).then(a.rect.y_min.total_cmp(&b.rect.y_min))
        });
        let is_full = (small_width, small_height) == (width, height);
        let full = if is_full { small } else { self.full.rgb(picture, width, height)? };
        faces.into_iter().map(|face| Ok(Seen { face, image: crops::cut(&full, &face)? })).collect()
    }
}

/// Size at which a detector sees a picture, so that a face of `min_face_px` is just large enough.
fn detector_size(width: usize, height: usize, min_face_px: Option<f64>) -> (usize, usize) {
    let (short, long) = (width.min(height) as f64, width.max(height) as f64);
    let min_face_px = min_face_px.unwrap_or(short / FACES_ACROSS);
    let scale = (DETECTOR_FACE_PX / min_face_px).min(MAX_SCALE).min(MAX_SIDE_PX / long);
    let scaled = |side: usize| ((side as f64 * scale).round() as usize).max(1);
    (scaled(width), scaled(height))
}

fn enlarged(face: Face, across: f32, down: f32) -> Face {
    let mut rect = face.rect;
    (rect.x_min, rect.x_max) = (rect.x_min * across, rect.x_max * across);
    (rect.y_min, rect.y_max) = (rect.y_min * down, rect.y_max * down);
    let points: Points = face.points.map(|(x, y)| (x * across, y * down));
    Face { rect, points, score: face.score }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detector_sees_the_same_picture_whatever_the_resolution() {
        assert_eq!(detector_size(640, 360, None), (640, 360));
        assert_eq!(detector_size(1920, 1080, None), (640, 360));
        assert_eq!(detector_size(1080, 1920, None), (360, 640));
        assert_eq!(detector_size(320, 180, None), (640, 360));
    }

    #[test]
    fn smaller_faces_take_a_larger_picture() {
        assert_eq!(detector_size(1920, 1080, Some(15.0)), (1920, 1080));
        assert_eq!(detector_size(1920, 1080, Some(30.0)), (960, 540));
        assert_eq!(detector_size(640, 360, Some(1.0)), (1280, 720));
    }

    #[test]
    fn extreme_shapes_stay_within_bounds() {
        assert_eq!(detector_size(16384, 16, None).0, 4096);
        assert_eq!(detector_size(1, 1, None), (2, 2));
    }
}
