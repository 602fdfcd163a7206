//! Worker threads: a worker detects faces and cuts their crops in one frame, or tracks faces through several
//! frames.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex};

use geometry::BBox;
use video::{Converter, Facts, Image, Picture, Region};

use crate::Config;
use crate::closer_look::{self, Area};
use crate::crops::Alignment;
use crate::detector::{Detector, DetectorKind};
use crate::face::{DetectedFace, Face, suppress};
use crate::follow::{Follower, Trajectory};
use crate::pipeline::schedule::{Order, Task};
use crate::torso::{self, Counts};
use crate::view::View;
use crate::yunet::GRID;

/// Shorter side of the detector's input picture if `min_face_px` is not set, pixels.
const SHORT_SIDE_PX: f64 = 360.0;
/// Largest enlargement of the picture for the detector; a larger one adds no detail.
const MAX_SCALE: f64 = 2.0;
/// Upper limit on the longer side of the detector's input picture, pixels; it limits time and memory.
const MAX_SIDE_PX: f64 = 4096.0;
/// Enlargement of the detector's input picture at the last of several looks at one frame.
const LARGER: f64 = 1.2;
/// Shorter side of the picture in which the detector searches for huge faces, pixels.
const FAR_SIDE_PX: f64 = 90.0;
/// Smallest score of a huge face, 0 to 1; a face is huge if its size is at least the shorter side of the picture.
/// docs/design/detection-schedule.md has figures.
const HUGE_SCORE: f32 = 0.88;
/// Where a face is searched for above and beside a box that it had a moment before or after, in heights and widths of the
/// box.
const AROUND: f32 = 1.0;
/// The same below, where the clothes are.
const BELOW: f32 = torso::BOTTOM + 0.25;

/// Result of one order: index of its frame, and the faces or trajectories, or an error message.
pub(super) type Answer = (i64, Result<Done, String>);

/// Output of a worker.
pub(super) enum Done {
    /// Faces of the examined frame.
    Examined(Vec<DetectedFace>),
    /// One trajectory per face of the order.
    Followed(Vec<Trajectory>),
}

/// Executes orders until the channel closes. If the examiner could not be created, every answer is that
/// error.
pub(super) fn work(
    taken: &Mutex<Receiver<Order<Arc<Picture>>>>,
    answers: &Sender<Answer>,
    mut examiner: Result<Examiner<'_>, String>,
) {
    loop {
        let order = match taken.lock() {
            Ok(taken) => taken.recv(),
            Err(_) => return,
        };
        let Ok(Order { frame_idx, task }) = order else { return };
        // A panic must not leave the reader waiting for an answer that never comes.
        let done = catch_unwind(AssertUnwindSafe(|| match (&mut examiner, &task) {
            (Ok(examiner), Task::Examine { picture, near }) => {
                examiner.examine(picture, near).map(Done::Examined)
            }
            (Ok(examiner), Task::Follow { faces, pictures }) => {
                examiner.follow(faces, pictures).map(Done::Followed)
            }
            (Err(reason), _) => Err(reason.clone()),
        }));
        let done = done.unwrap_or_else(|_| Err("a worker thread panicked".into()));
        // The dispatcher counts the picture as released when it receives the answer.
        drop(task);
        if answers.send((frame_idx, done)).is_err() {
            return;
        }
    }
}

/// Detector of one worker, with the converters that it needs.
pub(super) struct Examiner<'a> {
    detector: Box<dyn Detector + 'a>,
    config: &'a Config,
    /// The picture in the frame; boxes are returned in pixels of its square frame, even if a picture has another
    /// size.
    view: View,
    /// Whether a frame is looked at several times, because no other frame may show its faces.
    looks_again: bool,
    small: Converter,
    full: Converter,
    far: Converter,
}

impl<'a> Examiner<'a> {
    /// Creates an examiner with its own detector, for the video that `facts` describes. In a video of few frames a
    /// second, `looks_again` is true.
    pub(super) fn new(
        detector: Box<dyn Detector + 'a>,
        config: &'a Config,
        facts: &Facts,
        view: View,
        looks_again: bool,
    ) -> Self {
        let converter = || view.converter(facts.rotation_degrees);
        let [small, full, far] = std::array::from_fn(|_| converter());
        Self { detector, config, view, looks_again, small, full, far }
    }

    /// Finds the faces of a picture; with boxes, only those near the boxes.
    fn examine(&mut self, picture: &Picture, near: &[BBox]) -> Result<Vec<DetectedFace>, String> {
        let scale = self.scale(1.0).near(near);
        let small = self.small.rgb_region(picture, scale.size.0, scale.size.1, scale.part)?;
        let mut faces = self.detector.detect(&small)?;
        let is_huge = |bbox: &BBox| bbox.size() >= self.short_side();
        if self.config.detector == DetectorKind::YuNet && (near.is_empty() || near.iter().any(is_huge)) {
            self.look_from_afar(picture, scale, &mut faces)?;
        }
        if self.looks_again {
            self.look_again(picture, near, &small, scale, &mut faces)?;
        }
        let faces = suppress(faces, self.config.max_overlap as f32);
        if faces.is_empty() {
            return Ok(Vec::new());
        }
        let torso = |face: &Face| if self.config.context { torso::look(&small, &face.bbox) } else { None };
        let mut faces: Vec<_> = faces.into_iter().map(|face| (scale.out(&face), torso(&face))).collect();
        faces.sort_by(|(a, _), (b, _)| {
            a.bbox.x_min.total_cmp(&b.bbox.x_min).then(a.bbox.y_min.total_cmp(&b.bbox.y_min))
        });
        let doubtful = self.doubtful(faces.iter().map(|(face, _)| face.score));
        faces.into_iter().map(|(face, torso)| self.see(picture, face, torso, &doubtful)).collect()
    }

    /// Returns the scores of the doubtful faces whose surroundings are kept, of the scores in a frame.
    fn doubtful(&self, scores: impl Iterator<Item = f32>) -> Range<f32> {
        let sure = (self.config.association.clear_score + closer_look::SURE) as f32;
        // A cascade searches for faces of all sizes already.
        if self.config.detector == DetectorKind::Haar {
            return sure..sure;
        }
        let mut doubtful: Vec<f32> =
            scores.filter(|score| (closer_look::MIN_SCORE..sure).contains(score)).collect();
        doubtful.sort_by(|a, b| b.total_cmp(a));
        doubtful.truncate(closer_look::MOST);
        doubtful.last().copied().unwrap_or(sure)..sure
    }

    /// Looks at a small copy of a picture for huge faces, of which the detector sees too little at once in a larger one.
    fn look_from_afar(
        &mut self,
        picture: &Picture,
        scale: Scale,
        faces: &mut Vec<Face>,
    ) -> Result<(), String> {
        let scale_from_afar = FAR_SIDE_PX / f64::from(self.short_side());
        // A small or thin picture is seen from afar already.
        if scale_from_afar >= self.input_scale() {
            return Ok(());
        }
        let far = self.scaled(scale_from_afar);
        let picture = self.far.rgb_region(picture, far.size.0, far.size.1, far.part)?;
        let found = self.detector.detect(&picture)?.into_iter().map(|face| far.out(&face));
        let huge = found.filter(|face| face.bbox.size() >= self.short_side() && face.score >= HUGE_SCORE);
        faces.extend(huge.map(|face| scale.within(&face)));
        Ok(())
    }

    /// Returns the shorter side of the picture, pixels of the square frame.
    fn short_side(&self) -> f32 {
        self.view.picture.width.min(self.view.picture.height) as f32
    }

    /// Looks at a picture again, mirrored and enlarged, for faces that the first look missed or doubted. In other
    /// videos, the frames before and after show a face once more.
    fn look_again(
        &mut self,
        picture: &Picture,
        near: &[BBox],
        small: &Image,
        scale: Scale,
        faces: &mut Vec<Face>,
    ) -> Result<(), String> {
        let found = self.detector.detect(&small.clone().mirrored())?;
        faces.extend(found.iter().map(|face| face.mirrored(small.width as f32)));
        let larger = self.scale(LARGER).near(near);
        let picture = self.small.rgb_region(picture, larger.size.0, larger.size.1, larger.part)?;
        let found = self.detector.detect(&picture)?;
        faces.extend(found.iter().map(|face| scale.within(&larger.out(face))));
        Ok(())
    }

    /// Cuts the crop of a face from the full-size picture, and the surroundings of one that scores in `doubtful`; only
    /// their regions are converted to RGB.
    fn see(
        &mut self,
        picture: &Picture,
        face: Face,
        torso: Option<Counts>,
        doubtful: &Range<f32>,
    ) -> Result<DetectedFace, String> {
        let (width, height) = self.view.size;
        let mut region = |region| self.full.rgb_region(picture, width, height, region);
        let crop = match Alignment::new(&face, width, height) {
            Some(alignment) => Some(alignment.crop(&region(alignment.region)?, &face)),
            None => None,
        };
        let area = Area::around(&face.bbox, width, height);
        let surroundings = match area.filter(|_| doubtful.contains(&face.score)) {
            Some(area) => Some(area.cut(&region(area.region)?)),
            None => None,
        };
        Ok(DetectedFace { face, crop, torso, surroundings, trajectory: Vec::new() })
    }

    /// Returns the trajectory of each face of the first picture through the other pictures.
    fn follow(
        &mut self,
        faces: &[Face],
        pictures: &[(i64, Arc<Picture>)],
    ) -> Result<Vec<Trajectory>, String> {
        let Some(((_, first), others)) = pictures.split_first() else { return Ok(Vec::new()) };
        let scale = self.scale(1.0);
        let boxes: Vec<BBox> = faces.iter().map(|face| scale.inside(&face.bbox)).collect();
        let mut small = |picture| self.small.rgb_region(picture, scale.size.0, scale.size.1, scale.part);
        let mut follower = Follower::new(&small(first)?, &boxes)?;
        for (frame_idx, picture) in others {
            follower.step(*frame_idx, &small(picture)?)?;
        }
        let mut trajectories = follower.finish();
        trajectories.iter_mut().flatten().for_each(|(_, bbox)| *bbox = scale.outside(bbox));
        Ok(trajectories)
    }

    /// Returns the size of the detector's input picture, enlarged by a factor.
    fn scale(&self, factor: f64) -> Scale {
        self.scaled(factor * self.input_scale())
    }

    fn input_scale(&self) -> f64 {
        detector_scale(&self.view, self.config.min_face_px, self.detector.smallest_px())
    }

    /// Returns the picture at another scale than the square frame.
    fn scaled(&self, scale: f64) -> Scale {
        let (size, part) = self.view.scaled(scale);
        let (across, down) =
            (self.view.size.0 as f32 / size.0 as f32, self.view.size.1 as f32 / size.1 as f32);
        Scale { size, part, across, down }
    }
}

/// The detector's input picture in relation to the square frame.
#[derive(Debug, Clone, Copy)]
struct Scale {
    /// Width and height of the scaled frame, pixels.
    size: (usize, usize),
    /// The input picture within the scaled frame.
    part: Region,
    /// Width of the square frame relative to the scaled frame.
    across: f32,
    /// Height of the square frame relative to the scaled frame.
    down: f32,
}

impl Scale {
    /// The part of the input picture in which faces that were in some boxes a moment before or after can be seen, with
    /// their clothes; all of the input picture without boxes. The cells of YuNet lie as in the whole picture.
    fn near(self, boxes: &[BBox]) -> Self {
        let boxes: Vec<BBox> = boxes.iter().map(|bbox| self.inside(bbox)).collect();
        let least = |edge: fn(&BBox) -> f32| boxes.iter().map(edge).fold(f32::INFINITY, f32::min).max(0.0);
        let most = |edge: fn(&BBox) -> f32| boxes.iter().map(edge).fold(0.0, f32::max);
        let side = |from: f32, to: f32, size: usize| {
            let first = from as usize / GRID * GRID;
            let end = (to as usize).next_multiple_of(GRID).min(size);
            (first < end).then(|| (first, end - first))
        };
        let whole = self.part;
        let (left, right) = (
            least(|bbox| bbox.x_min - AROUND * bbox.width()),
            most(|bbox| bbox.x_max + AROUND * bbox.width()),
        );
        let (top, bottom) = (
            least(|bbox| bbox.y_min - AROUND * bbox.height()),
            most(|bbox| bbox.y_max + BELOW * bbox.height()),
        );
        match side(left, right, whole.width).zip(side(top, bottom, whole.height)) {
            Some(((x, width), (y, height))) => {
                Self { part: Region { x: whole.x + x, y: whole.y + y, width, height }, ..self }
            }
            None => self,
        }
    }

    fn shift(&self) -> (f32, f32) {
        (self.part.x as f32, self.part.y as f32)
    }

    /// A face of the input picture in the square frame.
    fn out(&self, face: &Face) -> Face {
        let (x, y) = self.shift();
        face.moved(x, y).scaled(self.across, self.down)
    }

    /// A face of the square frame in the input picture.
    fn within(&self, face: &Face) -> Face {
        let (x, y) = self.shift();
        face.scaled(1.0 / self.across, 1.0 / self.down).moved(-x, -y)
    }

    /// A box of the input picture in the square frame.
    fn outside(&self, bbox: &BBox) -> BBox {
        let (x, y) = self.shift();
        bbox.moved(x, y).scaled(self.across, self.down)
    }

    /// A box of the square frame in the input picture.
    fn inside(&self, bbox: &BBox) -> BBox {
        let (x, y) = self.shift();
        bbox.scaled(1.0 / self.across, 1.0 / self.down).moved(-x, -y)
    }
}

/// Returns the scale of the detector's input picture: a face of `min_face_px` pixels in the picture has
/// `smallest_px` pixels in the input picture.
pub(crate) fn detector_scale(view: &View, min_face_px: Option<f64>, smallest_px: f64) -> f64 {
    let (width, height) = (view.picture.width, view.picture.height);
    let (short, long) = (width.min(height) as f64, width.max(height) as f64);
    let wanted = min_face_px.map_or(SHORT_SIDE_PX / short, |min_face_px| smallest_px / min_face_px);
    wanted.min(MAX_SCALE).min(MAX_SIDE_PX / long)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Size of the detector's input picture for a frame without bars.
    fn input_size(width: usize, height: usize, min_face_px: Option<f64>) -> (usize, usize) {
        let view = View::of_size(width, height);
        view.scaled(detector_scale(&view, min_face_px, 15.0)).0
    }

    #[test]
    fn the_detector_input_size_is_independent_of_the_resolution() {
        assert_eq!(input_size(640, 360, None), (640, 360));
        assert_eq!(input_size(1920, 1080, None), (640, 360));
        assert_eq!(input_size(1080, 1920, None), (360, 640));
        assert_eq!(input_size(320, 180, None), (640, 360));
    }

    #[test]
    fn smaller_faces_take_a_larger_picture() {
        assert_eq!(input_size(1920, 1080, Some(15.0)), (1920, 1080));
        assert_eq!(input_size(1920, 1080, Some(30.0)), (960, 540));
        assert_eq!(input_size(640, 360, Some(1.0)), (1280, 720));
    }

    #[test]
    fn the_surroundings_of_faces_lie_on_the_grid_of_the_picture() {
        let whole = Region { x: 10, y: 20, width: 640, height: 360 };
        let scale = Scale { size: (660, 400), part: whole, across: 2.0, down: 2.0 };
        let face = |x: f32, y: f32| BBox::from_corner(2.0 * (10.0 + x), 2.0 * (20.0 + y), 80.0, 100.0);
        assert_eq!(scale.near(&[]).part, whole);
        // From 260 to 380 and from 50 to 237.5 pixels.
        let region = Region { x: 10 + 256, y: 20 + 32, width: 128, height: 224 };
        assert_eq!(scale.near(&[face(300.0, 100.0)]).part, region);
        let region = Region { x: 10, y: 20, width: 640, height: 360 };
        assert_eq!(scale.near(&[face(20.0, 10.0), face(590.0, 300.0)]).part, region);
        assert_eq!(scale.near(&[face(700.0, 10.0)]).part, whole, "beside the picture");
    }

    #[test]
    fn extreme_shapes_stay_within_bounds() {
        assert_eq!(input_size(16384, 16, None).0, 4096);
        assert_eq!(input_size(1, 1, None), (2, 2));
    }
}
