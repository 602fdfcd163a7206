//! When frames are shown, and for how long spans of them are.

/// A stretch of frames: number of the first and of the last, both included.
pub type Span = (i64, i64);

/// The union of spans as disjoint spans in order; spans that overlap or touch become one.
pub fn union(spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
    let mut spans: Vec<Span> = spans.into_iter().collect();
    spans.sort_unstable();
    let mut union: Vec<Span> = Vec::new();
    for (first, last) in spans {
        match union.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => union.push((first, last)),
        }
    }
    union
}

/// Frame rate of a video whose frame times do not tell, frames per second.
const UNKNOWN_FPS: f64 = 25.0;

/// Presentation time of every frame of a video, by frame number.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FrameTimes {
    /// Presentation timestamps in ticks of the stream's time base.
    ticks: Vec<i64>,
    /// Presentation times, seconds.
    secs: Vec<f64>,
}

impl FromIterator<(i64, f64)> for FrameTimes {
    fn from_iter<I: IntoIterator<Item = (i64, f64)>>(times: I) -> Self {
        let mut all = Self::default();
        all.extend(times);
        all
    }
}

impl Extend<(i64, f64)> for FrameTimes {
    /// Adds the next frames, each its timestamp in ticks and its time in seconds.
    fn extend<I: IntoIterator<Item = (i64, f64)>>(&mut self, times: I) {
        for (ticks, secs) in times {
            self.ticks.push(ticks);
            self.secs.push(secs);
        }
    }
}

impl FrameTimes {
    /// Number of frames.
    pub fn len(&self) -> usize {
        self.secs.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.secs.is_empty()
    }

    /// Times of all frames, seconds.
    pub fn secs(&self) -> &[f64] {
        &self.secs
    }

    /// Time of a frame, seconds; `None` for a number that no frame has.
    pub fn at(&self, frame_idx: i64) -> Option<f64> {
        self.secs.get(usize::try_from(frame_idx).ok()?).copied()
    }

    /// Time of a frame, seconds; that of the nearest frame for a number that no frame has, 0 without
    /// frames.
    pub fn t_secs(&self, frame_idx: i64) -> f64 {
        self.secs.get(self.nearest(frame_idx)).copied().unwrap_or(0.0)
    }

    /// Timestamp of a frame, ticks; that of the nearest frame for a number that no frame has, 0 without
    /// frames.
    pub fn ticks(&self, frame_idx: i64) -> i64 {
        self.ticks.get(self.nearest(frame_idx)).copied().unwrap_or(0)
    }

    fn nearest(&self, frame_idx: i64) -> usize {
        usize::try_from(frame_idx).unwrap_or(0).min(self.len().saturating_sub(1))
    }

    /// Number of the frame with this timestamp in ticks, if there is one.
    pub fn frame_at(&self, ticks: i64) -> Option<i64> {
        let place = self.ticks.binary_search(&ticks).ok()?;
        i64::try_from(place).ok()
    }

    /// Mean number of frames per second; 25 when the times do not tell.
    pub fn fps(&self) -> f64 {
        let steps = self.len().saturating_sub(1);
        let secs = self.t_secs(steps as i64) - self.t_secs(0);
        if steps > 0 && secs > 0.0 { steps as f64 / secs } else { UNKNOWN_FPS }
    }

    /// [`Self::fps`] as the whole or NTSC rate (24000/1001 and the like) that it is within 0.01 % of, if
    /// any: many containers count in milliseconds, so the mean is only nearly the nominal rate.
    pub fn nominal_fps(&self) -> f64 {
        let mean = self.fps();
        let ntsc = (mean * 1.001).round() / 1.001;
        [mean.round(), ntsc].into_iter().find(|rate| (mean - rate).abs() < mean * 1e-4).unwrap_or(mean)
    }

    /// Time at which the last frame ends if it is shown for as long as frames are on average, seconds.
    pub fn end_secs(&self) -> f64 {
        let (Some(first), Some(last)) = (self.secs.first(), self.secs.last()) else { return 0.0 };
        last + (last - first) / (self.len() as f64 - 1.0).max(1.0)
    }

    /// When a span begins and ends, seconds. It ends when the next frame is shown, or at `end_secs` if it
    /// is the last of the video.
    pub fn on_screen(&self, (first, last): Span, end_secs: f64) -> (f64, f64) {
        let start = self.at(first).unwrap_or(0.0);
        (start, self.at(last + 1).unwrap_or(end_secs).max(start))
    }

    /// Total time of disjoint spans, seconds; the last frame of the video ends at [`Self::end_secs`].
    pub fn screen_secs(&self, spans: &[Span]) -> f64 {
        let end = self.end_secs();
        let secs = |span: &Span| {
            let (from, until) = self.on_screen(*span, end);
            until - from
        };
        spans.iter().map(secs).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(secs: f64, n: i64) -> FrameTimes {
        (0..n).map(|i| (10 * i, i as f64 * secs)).collect()
    }

    #[test]
    fn spans_that_touch_become_one() {
        assert_eq!(union([(8, 9), (0, 3), (2, 3), (4, 5)]), [(0, 5), (8, 9)]);
        assert_eq!(union([]), []);
    }

    #[test]
    fn frames_beyond_the_ends_have_the_times_of_the_ends() {
        let times = every(0.5, 3);
        assert_eq!([times.t_secs(-1), times.t_secs(1), times.t_secs(7)], [0.0, 0.5, 1.0]);
        assert_eq!((times.at(3), times.ticks(9), FrameTimes::default().t_secs(3)), (None, 20, 0.0));
        assert_eq!((times.frame_at(10), times.frame_at(11)), (Some(1), None));
    }

    #[test]
    fn a_rate_is_the_mean_or_the_nominal_one() {
        assert_eq!(every(0.04, 101).fps(), 25.0);
        assert_eq!(FrameTimes::default().fps(), 25.0);
        let millis: FrameTimes =
            (0..240).map(|i| (i, (f64::from(i as i32) / 23.976 * 1e3).round() / 1e3)).collect();
        assert!((millis.nominal_fps() - 24000.0 / 1001.0).abs() < 1e-9);
    }

    #[test]
    fn a_span_lasts_until_the_next_frame_is_shown() {
        let times = every(0.5, 4);
        assert_eq!(times.end_secs(), 2.0);
        assert_eq!(times.on_screen((1, 2), 9.0), (0.5, 1.5));
        assert_eq!(times.on_screen((3, 3), 9.0), (1.5, 9.0));
        assert_eq!(times.screen_secs(&[(0, 0), (2, 3)]), 1.5);
        assert_eq!(FrameTimes::default().screen_secs(&[(0, 3)]), 0.0);
    }
}
