//! Presentation times of frames, and times on screen of spans of frames.
//!
//! *Example.* In a video of 25 frames per second, the span from frame 50 to frame 74 is on screen from 2 s to 3 s,
//! because a span ends when the frame after its last frame is shown.

/// A span of frames: index of the first frame and of the last frame, both included.
pub type Span = (i64, i64);

/// Duration of a frame if the frame times do not determine it, seconds.
const UNKNOWN_FRAME_SECS: f64 = 0.04;
/// Smallest length of a hole, in usual frame durations: a longer gap between two frames has an unknown content.
const HOLE: f64 = 3.0;
/// Longest gap between two tracks of a person within one appearance, seconds.
const APPEARANCE_GAP_SECS: f64 = 2.0;
/// Usual frame rates of video editing, frames per second.
const EDITING_RATES: [f64; 9] =
    [24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 24_000.0 / 1001.0, 30_000.0 / 1001.0, 60_000.0 / 1001.0];

/// Presentation time of every frame of a video, by frame number.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameTimes {
    /// Presentation timestamps in ticks of the stream's time base.
    ticks: Vec<i64>,
    /// Presentation times, seconds.
    secs: Vec<f64>,
    /// Duration of a usual frame, seconds.
    frame_secs: f64,
    /// Duration of the last frame, seconds.
    last_secs: f64,
}

impl Default for FrameTimes {
    fn default() -> Self {
        Self {
            ticks: Vec::new(),
            secs: Vec::new(),
            frame_secs: UNKNOWN_FRAME_SECS,
            last_secs: UNKNOWN_FRAME_SECS,
        }
    }
}

impl FromIterator<(i64, f64)> for FrameTimes {
    /// Creates the times from frames in order, each with its timestamp in ticks and its time in seconds.
    fn from_iter<I: IntoIterator<Item = (i64, f64)>>(times: I) -> Self {
        times.into_iter().map(|(ticks, secs)| (ticks, secs, None)).collect()
    }
}

impl FromIterator<(i64, f64, Option<f64>)> for FrameTimes {
    /// Creates the times from frames in order, each with its timestamp in ticks, its time in seconds, and its duration
    /// in seconds, which counts for the last frame: all others last until the next frame. Without a duration, and with
    /// one that would be a hole between two frames, the last frame has the usual duration.
    fn from_iter<I: IntoIterator<Item = (i64, f64, Option<f64>)>>(times: I) -> Self {
        let (mut ticks, mut secs, mut last) = (Vec::new(), Vec::new(), None);
        for (ticks_of_frame, secs_of_frame, duration) in times {
            ticks.push(ticks_of_frame);
            secs.push(secs_of_frame);
            last = duration;
        }
        let usual = usual_gap(&secs);
        let frame_secs = usual.unwrap_or(UNKNOWN_FRAME_SECS);
        let is_usual = |last: &f64| *last > 0.0 && usual.is_none_or(|usual| *last <= HOLE * usual);
        let last_secs = last.filter(is_usual).unwrap_or(frame_secs);
        Self { ticks, secs, frame_secs, last_secs }
    }
}

/// Returns the usual gap between times in order, seconds: the mean of the gaps within 25 % of their median. The
/// median alone is not exact, because many containers round times to milliseconds. `None` if no time differs from
/// another.
pub fn usual_gap(secs: &[f64]) -> Option<f64> {
    let mut gaps: Vec<f64> = secs.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| *gap > 0.0).collect();
    let middle = gaps.len().checked_sub(1)? / 2;
    let (_, median, _) = gaps.select_nth_unstable_by(middle, f64::total_cmp);
    let near = *median * 0.75..=*median * 1.25;
    // In order of time, so that the sum does not depend on the selection.
    let usual = secs.windows(2).map(|pair| pair[1] - pair[0]).filter(|gap| near.contains(gap));
    let (sum, count) = usual.fold((0.0, 0.0), |(sum, count), gap| (sum + gap, count + 1.0));
    Some(sum / count)
}

impl FrameTimes {
    /// Returns the number of frames.
    pub fn len(&self) -> usize {
        self.secs.len()
    }

    /// Returns whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.secs.is_empty()
    }

    /// Returns the times of all frames, seconds.
    pub fn secs(&self) -> &[f64] {
        &self.secs
    }

    /// Returns the time of a frame, seconds; `None` for an index that no frame has.
    pub fn at(&self, frame_idx: i64) -> Option<f64> {
        self.secs.get(usize::try_from(frame_idx).ok()?).copied()
    }

    /// Returns the time of a frame, seconds; for an index that no frame has, the time of the nearest frame; 0 without
    /// frames.
    pub fn t_secs(&self, frame_idx: i64) -> f64 {
        self.secs.get(self.nearest(frame_idx)).copied().unwrap_or(0.0)
    }

    /// Returns the timestamp of a frame, ticks; for an index that no frame has, that of the nearest frame; 0 without
    /// frames.
    pub fn ticks(&self, frame_idx: i64) -> i64 {
        self.ticks.get(self.nearest(frame_idx)).copied().unwrap_or(0)
    }

    fn nearest(&self, frame_idx: i64) -> usize {
        usize::try_from(frame_idx).unwrap_or(0).min(self.len().saturating_sub(1))
    }

    /// Returns the index of the frame with this timestamp in ticks; `None` if there is no such frame.
    pub fn frame_at(&self, ticks: i64) -> Option<i64> {
        let place = self.ticks.binary_search(&ticks).ok()?;
        i64::try_from(place).ok()
    }

    /// Returns the frame that is nearest to a time in seconds, if the frame is shown within half the duration of a usual
    /// frame of this time; `None` outside the video and in holes.
    pub fn near(&self, t_secs: f64) -> Option<i64> {
        let after = self.secs.partition_point(|secs| *secs < t_secs);
        let near = [after.checked_sub(1), Some(after)].into_iter().flatten().filter(|at| *at < self.len());
        let (off, at) = near
            .map(|at| ((self.secs[at] - t_secs).abs(), at))
            .min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))?;
        (off <= 0.5 / self.fps()).then_some(at as i64)
    }

    /// Returns the duration of a usual frame, seconds: see [`usual_gap`]; 0.04 if the times do not determine it.
    pub fn frame_secs(&self) -> f64 {
        self.frame_secs
    }

    /// Returns the usual number of frames per second, the inverse of [`Self::frame_secs`].
    pub fn fps(&self) -> f64 {
        1.0 / self.frame_secs
    }

    /// Returns the frame rate for video editing that is nearest to [`Self::fps`], or to a whole multiple or a whole
    /// fraction of it: 30000/1001 for 29.97, 24 for 12 frames per second.
    pub fn editing_fps(&self) -> f64 {
        let fps = self.fps();
        let error = |rate: &f64| {
            let share = (rate / fps).max(fps / rate);
            // A multiple is nearly as good as the rate itself; of two multiples, the smaller one is better.
            (share / share.round() - 1.0).abs() + share.round() * 1e-6
        };
        EDITING_RATES.into_iter().min_by(|a, b| error(a).total_cmp(&error(b))).unwrap_or(25.0)
    }

    /// Returns the time at which the last frame ends, seconds; 0 without frames.
    pub fn end_secs(&self) -> f64 {
        self.secs.last().map_or(0.0, |last| last + self.last_secs)
    }

    /// Returns whether a hole follows this frame: a gap with unknown content before the next frame.
    pub fn is_before_hole(&self, frame_idx: i64) -> bool {
        let (Some(at), Some(next)) = (self.at(frame_idx), self.at(frame_idx + 1)) else { return false };
        next - at > HOLE * self.frame_secs
    }

    /// Returns the union of spans as disjoint spans in order. Spans that overlap, or touch without a hole between
    /// them, are joined.
    pub fn union(&self, spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
        let mut spans: Vec<Span> = spans.into_iter().collect();
        spans.sort_unstable();
        let mut union: Vec<Span> = Vec::new();
        for (first, last) in spans {
            match union.last_mut() {
                Some(before) if first <= before.1 + i64::from(!self.is_before_hole(before.1)) => {
                    before.1 = before.1.max(last);
                }
                _ => union.push((first, last)),
            }
        }
        union
    }

    /// Returns the appearances of a person whose tracks have these spans, as disjoint spans in order: tracks are in one
    /// appearance if the next one begins at most 2 s after the end of the earlier ones.
    pub fn appearances(&self, spans: impl IntoIterator<Item = Span>) -> Vec<Span> {
        let end = self.end_secs();
        let mut appearances: Vec<Span> = Vec::new();
        for span in self.union(spans) {
            match appearances.last_mut() {
                Some(before)
                    if self.t_secs(span.0) - self.on_screen(*before, end).1 <= APPEARANCE_GAP_SECS =>
                {
                    before.1 = span.1;
                }
                _ => appearances.push(span),
            }
        }
        appearances
    }

    /// Returns the start and the end of a span, seconds. The span ends when the next frame is shown; before a hole,
    /// the span ends after the duration of a usual frame; at the end of the video, the span ends at `end_secs`.
    pub fn on_screen(&self, (first, last): Span, end_secs: f64) -> (f64, f64) {
        let start = self.at(first).unwrap_or(0.0);
        let end = match self.at(last) {
            Some(at) if self.is_before_hole(last) => at + self.frame_secs,
            _ => self.at(last + 1).unwrap_or(end_secs),
        };
        (start, end.max(start))
    }

    /// Returns the total time of disjoint spans, seconds; the last frame of the video ends at [`Self::end_secs`].
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
        let times = every(0.5, 10);
        assert_eq!(times.union([(8, 9), (0, 3), (2, 3), (4, 5)]), [(0, 5), (8, 9)]);
        assert_eq!(times.union([]), []);
    }

    #[test]
    fn gaps_of_two_seconds_are_closed() {
        let times = every(0.5, 30);
        // The second span begins 2 s after the end of the first, the third 2.5 s after the end of the second.
        assert_eq!(times.appearances([(6, 7), (0, 1), (13, 20)]), [(0, 7), (13, 20)]);
        assert_eq!(times.appearances([]), []);
    }

    #[test]
    fn frames_beyond_the_ends_have_the_times_of_the_ends() {
        let times = every(0.5, 3);
        assert_eq!([times.t_secs(-1), times.t_secs(1), times.t_secs(7)], [0.0, 0.5, 1.0]);
        assert_eq!((times.at(3), times.ticks(9), FrameTimes::default().t_secs(3)), (None, 20, 0.0));
        assert_eq!((times.frame_at(10), times.frame_at(11)), (Some(1), None));
    }

    #[test]
    fn a_frame_is_near_within_half_its_duration() {
        let times = every(0.5, 3);
        assert_eq!([-0.2, 0.2, 0.25, 0.3, 1.2].map(|secs| times.near(secs)), [0, 0, 0, 1, 2].map(Some));
        assert_eq!([-0.3, 1.3, f64::NAN].map(|secs| times.near(secs)), [None; 3]);
    }

    #[test]
    fn a_frame_is_as_long_as_frames_usually_are() {
        assert_eq!(every(0.5, 101).fps(), 2.0);
        assert_eq!((FrameTimes::default().fps(), every(1.0, 1).frame_secs()), (25.0, 0.04));
        // A hole of ten minutes, and 29.97 frames a second in whole milliseconds.
        let millis = |i: i64| (i as f64 * 1001.0 / 30.0).round() / 1e3 + if i < 125 { 0.0 } else { 600.0 };
        let times: FrameTimes = (0..266).map(|i| (i, millis(i))).collect();
        assert!((times.frame_secs() - 1001.0 / 30_000.0).abs() < 1e-5, "{}", times.frame_secs());
        assert_eq!(times.editing_fps(), 30_000.0 / 1001.0);
    }

    #[test]
    fn editors_conform_at_usual_rates() {
        let rate = |fps: f64| every(1.0 / fps, 300).editing_fps();
        for fps in EDITING_RATES {
            assert_eq!(rate(fps), fps);
        }
        let others =
            [(12.0, 24.0), (15.0, 30.0), (1.0, 24.0), (12.5, 25.0), (120.0, 60.0), (29.9, 30_000.0 / 1001.0)];
        for (fps, expected) in others {
            assert_eq!(rate(fps), expected, "{fps}");
        }
        let millis: FrameTimes =
            (0..240).map(|i| (i, (f64::from(i as i32) / 23.976 * 1e3).round() / 1e3)).collect();
        assert_eq!(millis.editing_fps(), 24_000.0 / 1001.0);
    }

    #[test]
    fn a_span_before_a_hole_ends_after_its_last_frame() {
        let times: FrameTimes =
            (0..10).map(|i| (i, i as f64 * 0.5 + if i < 5 { 0.0 } else { 600.0 })).collect();
        assert_eq!(times.on_screen((1, 4), 700.0), (0.5, 2.5));
        assert_eq!(times.on_screen((4, 5), 700.0), (2.0, 603.0), "a still picture goes on");
        assert_eq!(times.union([(0, 4), (5, 9)]), [(0, 4), (5, 9)]);
        assert_eq!(times.union([(0, 4), (4, 9)]), [(0, 9)]);
        assert_eq!([3, 4, 9].map(|frame| times.is_before_hole(frame)), [false, true, false]);
        assert_eq!(times.screen_secs(&[(0, 4), (8, 9)]), 3.5);
    }

    #[test]
    fn short_gaps_do_not_end_an_appearance() {
        let times = every(0.5, 30);
        // From 1 s to 2 s, then after a gap of 2 s from 4 s to 5 s, then after one of 2.5 s.
        assert_eq!(times.appearances([(8, 9), (2, 3)]), [(2, 9)]);
        assert_eq!(times.appearances([(15, 15), (2, 3), (8, 9), (4, 4)]), [(2, 9), (15, 15)]);
        assert_eq!(times.appearances([]), []);
        // A frame before a hole ends after the usual duration, also the duration of a gap.
        let times: FrameTimes =
            (0..10).map(|i| (i, i as f64 * 0.5 + if i < 5 { 0.0 } else { 1.75 })).collect();
        assert_eq!(times.appearances([(0, 4), (5, 9)]), [(0, 9)], "from 2.5 s to 4.25 s");
        let times: FrameTimes =
            (0..10).map(|i| (i, i as f64 * 0.5 + if i < 5 { 0.0 } else { 2.25 })).collect();
        assert_eq!(times.appearances([(0, 4), (5, 9)]), [(0, 4), (5, 9)], "from 2.5 s to 4.75 s");
    }

    #[test]
    fn the_container_says_how_long_the_last_frame_is() {
        let lasting = |secs: Option<f64>| -> FrameTimes {
            (0..4).map(|i| (i, i as f64 * 0.5, if i == 3 { secs } else { Some(0.5) })).collect()
        };
        assert_eq!(lasting(Some(0.75)).end_secs(), 2.25);
        assert_eq!(lasting(Some(0.75)).screen_secs(&[(2, 3)]), 1.25);
        for unknown in [None, Some(0.0), Some(60.0)] {
            assert_eq!(lasting(unknown).end_secs(), 2.0, "{unknown:?}");
        }
        let picture: FrameTimes = [(0, 0.0, Some(5.0))].into_iter().collect();
        assert_eq!(picture.end_secs(), 5.0);
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
