//! Kernelized correlation filters (KCF), one per face.
//!
//! Source: Henriques et al., "High-Speed Tracking with Kernelized Correlation Filters", PAMI 2015, arXiv
//! 1404.7584, on luma and colour names, as OpenCV implements it. A filter learns a face and its
//! surroundings and finds both in the next picture. A filter does not measure the change of size of a face,
//! which is small between two anchor frames a third of a second apart. Every face is scaled to the same size,
//! so that a large face takes no more time, and a small face is located with the same relative accuracy.

use geometry::BBox;
use opencv::core::{Mat, Ptr, Rect as Region, Size};
use opencv::imgproc;
use opencv::prelude::TrackerTrait as _;
use opencv::tracking::{TrackerKCF, TrackerKCF_Params};
use video::Image;

use super::Trajectory;
use crate::cv;

/// Width and height of a face in the picture that the filter gets, pixels. Fourier transforms of the
/// filter's window, twice as wide and high, are fast.
const FACE_PX: (i32, i32) = (24, 32);
/// Search distance on each side of a face, in widths and heights of the face.
const AROUND: f32 = 1.0;
/// Response of the filter below which a face is lost. OpenCV's default of 0.5 loses faces that turn; the
/// next anchor frame corrects a filter that drifts.
const MIN_RESPONSE: f32 = 0.2;

/// Follows faces from picture to picture.
pub struct Follower {
    faces: Vec<Followed>,
}

struct Followed {
    bbox: BBox,
    /// `None` when the face is lost.
    filter: Option<Filter>,
    trajectory: Trajectory,
}

struct Filter {
    tracker: Ptr<TrackerKCF>,
    /// Part of the picture in which the face is searched for, pixels.
    region: Region,
    /// Size to which that part is scaled, pixels.
    size: Size,
    /// Box of the face in the scaled part of the first picture, pixels.
    start: Region,
}

impl Follower {
    /// Learns the faces in `boxes` of an RGB picture, in pixels of the picture.
    ///
    /// # Errors
    /// The message of OpenCV.
    pub fn new(picture: &Image, boxes: &[BBox]) -> Result<Self, String> {
        let begin = |bbox: &BBox| {
            Ok(Followed { bbox: *bbox, filter: Filter::new(picture, bbox)?, trajectory: Vec::new() })
        };
        let faces: opencv::Result<_> = cv::use_one_thread().and_then(|()| boxes.iter().map(begin).collect());
        Ok(Self { faces: faces.map_err(|e| e.message)? })
    }

    /// Follows the faces into the next picture, which has the same size.
    ///
    /// # Errors
    /// The message of OpenCV.
    pub fn step(&mut self, frame_idx: i64, picture: &Image) -> Result<(), String> {
        for face in &mut self.faces {
            let Some(filter) = &mut face.filter else { continue };
            match filter.step(picture).map_err(|e| e.message)? {
                Some((x, y)) => face.trajectory.push((frame_idx, face.bbox.moved(x, y))),
                None => face.filter = None,
            }
        }
        Ok(())
    }

    /// Returns the trajectory of each face, in the order of the boxes it began with.
    pub fn finish(self) -> Vec<Trajectory> {
        self.faces.into_iter().map(|face| face.trajectory).collect()
    }
}

impl Filter {
    /// Learns the face at `bbox`; `None` when the box does not overlap the picture.
    fn new(picture: &Image, bbox: &BBox) -> opencv::Result<Option<Self>> {
        let (wide, high) = (AROUND * bbox.width(), AROUND * bbox.height());
        let (left, top) = ((bbox.x_min - wide) as i32, (bbox.y_min - high) as i32);
        let (right, bottom) = ((bbox.x_max + wide) as i32, (bbox.y_max + high) as i32);
        let whole = Region::new(0, 0, cv::int(picture.width), cv::int(picture.height));
        let region = Region::new(left, top, right - left, bottom - top) & whole;
        if region.empty() {
            return Ok(None);
        }
        let across = |length: f32| (length / bbox.width().max(1.0) * FACE_PX.0 as f32).round() as i32;
        let down = |length: f32| (length / bbox.height().max(1.0) * FACE_PX.1 as f32).round() as i32;
        let size = Size::new(across(region.width as f32).max(1), down(region.height as f32).max(1));
        let (x, y) = (across(bbox.x_min - region.x as f32), down(bbox.y_min - region.y as f32));
        let start = Region::new(x, y, FACE_PX.0, FACE_PX.1);
        let parameters = TrackerKCF_Params { detect_thresh: MIN_RESPONSE, ..TrackerKCF_Params::default()? };
        let tracker = TrackerKCF::create(parameters)?;
        let mut filter = Self { tracker, region, size, start };
        let view = filter.view(picture)?;
        filter.tracker.init(&view, start)?;
        // The first update only learns the face; searching starts with the second.
        filter.tracker.update(&view, &mut filter.start)?;
        Ok(Some(filter))
    }

    /// Shift of the face since the beginning, pixels; `None` when the face is lost.
    fn step(&mut self, picture: &Image) -> opencv::Result<Option<(f32, f32)>> {
        let view = self.view(picture)?;
        let mut place = self.start;
        let is_found = self.tracker.update(&view, &mut place)?;
        let across = self.region.width as f32 / self.size.width as f32;
        let down = self.region.height as f32 / self.size.height as f32;
        let moved = ((place.x - self.start.x) as f32 * across, (place.y - self.start.y) as f32 * down);
        Ok(is_found.then_some(moved))
    }

    /// Returns the part of the picture in which the face is searched for, scaled.
    fn view(&self, picture: &Image) -> opencv::Result<Mat> {
        let whole = cv::rgb(picture)?;
        let part = Mat::roi(&whole, self.region)?;
        let mut view = Mat::default();
        let method =
            if self.size.width < self.region.width { imgproc::INTER_AREA } else { imgproc::INTER_LINEAR };
        imgproc::resize(&part, &mut view, self.size, 0.0, 0.0, method)?;
        Ok(view)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    const SIDE: usize = 200;

    /// Returns a picture with a chequered square of 40 pixels whose upper left corner is at (`x`, `y`).
    fn picture(x: usize, y: usize) -> Image {
        let value = |at_x: usize, at_y: usize| match (at_x.wrapping_sub(x), at_y.wrapping_sub(y)) {
            (0..40, 0..40) => 60 + (((at_x - x) / 8 * 7 + (at_y - y) / 8 * 11) % 13 * 12) as u8,
            _ => 20 + ((at_x / 16 + at_y / 16) % 3 * 5) as u8,
        };
        let data = (0..SIDE).flat_map(|y| (0..SIDE).flat_map(move |x| [value(x, y); 3])).collect();
        Image { width: SIDE, height: SIDE, channels: 3, data }
    }

    fn patch(x: f32, y: f32) -> BBox {
        BBox::from_corner(x, y, 40.0, 40.0)
    }

    #[test]
    fn a_moving_patch_is_followed() {
        let mut follower = Follower::new(&picture(50, 60), &[patch(50.0, 60.0)]).unwrap();
        for i in 1..=8 {
            follower.step(i as i64, &picture(50 + 4 * i, 60 + 2 * i)).unwrap();
        }
        let trajectory = follower.finish().remove(0);
        assert_eq!(trajectory.iter().map(|(frame, _)| *frame).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
        for (frame, bbox) in trajectory {
            let truth = patch(50.0 + 4.0 * frame as f32, 60.0 + 2.0 * frame as f32);
            assert!(bbox.iou(&truth) > 0.85, "frame {frame}: {bbox:?} for {truth:?}");
        }
    }

    #[test]
    fn a_face_that_vanishes_is_lost() {
        let mut follower = Follower::new(&picture(50, 60), &[patch(50.0, 60.0)]).unwrap();
        follower.step(1, &picture(52, 60)).unwrap();
        follower.step(2, &picture(500, 500)).unwrap();
        follower.step(3, &picture(52, 60)).unwrap();
        assert_eq!(follower.finish()[0].iter().map(|(frame, _)| *frame).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_box_beside_the_picture_is_not_followed() {
        let boxes = [patch(-300.0, 20.0), patch(50.0, 60.0)];
        let mut follower = Follower::new(&picture(50, 60), &boxes).unwrap();
        follower.step(1, &picture(50, 60)).unwrap();
        assert_eq!(follower.finish().iter().map(Vec::len).collect::<Vec<_>>(), [0, 1]);
    }
}
