//! What a format with times and with relative boxes needs to know of the video.

use geometry::FrameTimes;

use super::{MOST_FRAMES, MOST_PIXELS};

/// Frame times and size of a video.
#[derive(Debug, Clone)]
pub struct Scene {
    clock: Clock,
    /// Width and height of the upright frame, pixels.
    size: [f64; 2],
}

#[derive(Debug, Clone)]
enum Clock {
    Times(FrameTimes),
    /// Frames per second.
    Rate(f64),
}

impl Scene {
    /// Returns the scene of a video with these frames, whose upright frame has this width and height in pixels.
    pub fn new(times: FrameTimes, width: i64, height: i64) -> Self {
        Self { clock: Clock::Times(times), size: [width as f64, height as f64] }
    }

    /// Returns the scene of a video of a constant rate; `None` for values that no video has.
    pub(super) fn of_rate(fps: f64, width: f64, height: f64) -> Option<Self> {
        let is_size = |size: f64| (1.0..=MOST_PIXELS).contains(&size);
        let is_known = (1e-3..=1e6).contains(&fps) && is_size(width) && is_size(height);
        is_known.then_some(Self { clock: Clock::Rate(fps), size: [width, height] })
    }

    /// Returns the frame that is nearest to a time in seconds; `None` outside the video and in a hole of it.
    pub(super) fn frame(&self, secs: f64) -> Option<i64> {
        match &self.clock {
            Clock::Times(times) => times.near(secs),
            Clock::Rate(fps) => {
                let frame = (secs * fps).round();
                (0.0..=MOST_FRAMES as f64).contains(&frame).then_some(frame as i64)
            }
        }
    }

    /// Returns the time at which a frame begins, seconds; beyond the video, the time of its end.
    pub(super) fn secs(&self, frame: f64) -> f64 {
        match &self.clock {
            Clock::Times(times) => times.at(frame as i64).unwrap_or_else(|| times.end_secs()),
            Clock::Rate(fps) => frame / fps,
        }
    }

    /// Returns a box in pixels, of left, top, width and height as shares of the frame; `None` for a box that is empty at
    /// a thousandth of a pixel, as services write boxes of faces at the edge of the frame.
    pub(super) fn bbox(&self, [left, top, width, height]: [f64; 4]) -> Result<Option<[f64; 4]>, String> {
        let [across, down] = self.size;
        // Services write the shares as 32-bit numbers; a thousandth of a pixel keeps them readable.
        let pixels = |share: f64, size: f64| (share * size * 1e3).round() / 1e3;
        let [x, y, w, h] =
            [pixels(left, across), pixels(top, down), pixels(width, across), pixels(height, down)];
        if [x, y, w, h].iter().any(|side| side.is_nan() || side.abs() > MOST_PIXELS) {
            return Err("the box is larger than any picture".into());
        }
        Ok(super::bbox(x, y, w, h).ok())
    }
}
