//! Frames on their way from the decoder to the dispatcher.

use std::collections::VecDeque;
use std::sync::Arc;

use run::stage::Progress;
use video::{Converter, Decoder, Facts, Picture};

use crate::pipeline::dispatcher::Dispatcher;
use crate::shots::{self, Boundary, ShotDetector, Verdict};
use crate::view::View;
use crate::{Config, Error};

/// Largest memory of the pictures that wait for the end of one span between anchor frames, bytes.
const MAX_INTERVAL_BYTES: usize = 128 << 20;

/// Returns about how much memory a picture of a video needs, bytes, 1 or more: that of 8 bits without subsampling.
pub(super) fn picture_bytes(facts: &Facts) -> usize {
    (facts.width as usize * facts.height as usize * 3).max(1)
}

/// Frames on their way from the decoder to the dispatcher. A frame waits until it is known whether a
/// shot begins at the frame after it.
pub(super) struct FrameSource<'a> {
    decoder: Decoder,
    max_stride_secs: f64,
    skipped: Vec<(i64, i64)>,
    dispatcher: Dispatcher<'a>,
    shots: ShotDetector,
    waiting: VecDeque<Picture>,
    /// Verdicts of shot detection on the waiting frames, from the front.
    judged: VecDeque<Verdict>,
    luma: Converter,
    view: View,
    last_anchor_secs: f64,
    last_idx: Option<i64>,
    /// The first frame that is not in the checkpoint, until it is reached. The frames before it are decoded again, for the
    /// shot that begins there, and not examined.
    continues_at: Option<i64>,
    damaged: u64,
    untimed: u64,
    /// Packets that were lost before the last picture.
    lost: u64,
}

impl<'a> FrameSource<'a> {
    /// Creates a source that passes the frames of `decoder` to `dispatcher`.
    pub(super) fn new(decoder: Decoder, config: &Config, view: View, dispatcher: Dispatcher<'a>) -> Self {
        let fps = dispatcher.times().fps();
        let facts = decoder.facts();
        let budget_secs = MAX_INTERVAL_BYTES as f64 / picture_bytes(facts) as f64 / fps;
        Self {
            luma: view.converter(facts.rotation_degrees),
            view,
            decoder,
            max_stride_secs: config.max_stride_secs.min(budget_secs),
            skipped: config.skip_frames.clone(),
            continues_at: dispatcher.continues_at(),
            dispatcher,
            shots: ShotDetector::new(config.shots, fps),
            waiting: VecDeque::new(),
            judged: VecDeque::new(),
            last_anchor_secs: f64::NEG_INFINITY,
            last_idx: None,
            damaged: 0,
            untimed: 0,
            lost: 0,
        }
    }

    /// Decodes the video to the end. Returns the warnings.
    pub(super) fn run(mut self, progress: &mut dyn Progress) -> Result<Vec<String>, Error> {
        let total = self.dispatcher.times().len() as u64;
        let mut decoded = 0;
        loop {
            progress.bookmark(self.last_idx.map_or(0, |last| last + 1));
            let Some(picture) = self.decoder.next_picture()? else { break };
            let Some(frame_idx) = self.number(&picture) else { continue };
            self.last_idx = Some(frame_idx);
            decoded += 1;
            progress.advance(decoded, total.max(decoded), "frames");
            let ((width, height), part) = self.view.squeezed(shots::WIDTH, shots::HEIGHT);
            let luma = self.luma.luma_region(&picture, width, height, part);
            let luma = luma.map_err(|reason| self.dispatcher.failed(frame_idx, reason))?;
            self.waiting.push_back(picture);
            let verdict = self.shots.push(frame_idx, luma.data);
            self.note(verdict);
            self.release(false)?;
        }
        let owed = self.shots.finish();
        self.note(owed);
        self.release(true)?;
        if let Some(frame_idx) = self.continues_at {
            return Err(self.cut_is_gone(frame_idx));
        }
        if decoded == 0 {
            return Err(Error::NothingDecoded { path: self.dispatcher.path.to_path_buf() });
        }
        self.dispatcher.finish()?;
        Ok(self.warnings(decoded, total))
    }

    /// Returns the index of a decoded frame: by its time or, for a frame without a time (as in AVI), by its place in
    /// the order of presentation, with lost frames counted. `None` for a frame that the container did not announce,
    /// and for a repeated frame.
    fn number(&mut self, picture: &Picture) -> Option<i64> {
        self.damaged += u64::from(picture.is_damaged);
        let times = self.dispatcher.times();
        let next = self.last_idx.map_or(0, |last| last + 1);
        let lost = self.decoder.lost();
        let newly_lost = (lost - std::mem::replace(&mut self.lost, lost)) as i64;
        let frame_idx = match picture.pts_ticks {
            Some(pts) => times.frame_at(pts),
            None => Some(next + newly_lost).filter(|i| usize::try_from(*i).is_ok_and(|i| i < times.len())),
        };
        let usable = frame_idx.filter(|i| *i >= next);
        self.untimed += u64::from(usable.is_none());
        usable
    }

    fn note(&mut self, verdicts: impl IntoIterator<Item = Verdict>) {
        for verdict in verdicts {
            if let Some((frame_idx, boundary)) = verdict.began {
                self.dispatcher.schedule.begin_at(frame_idx, boundary);
            }
            self.judged.push_back(verdict);
        }
    }

    /// Passes on every frame whose successor has been judged; at the end, all of them.
    fn release(&mut self, at_end: bool) -> Result<(), Error> {
        while self.judged.len() > 1 || (at_end && !self.judged.is_empty()) {
            let verdict = self.judged.pop_front();
            let Some((verdict, picture)) = verdict.zip(self.waiting.pop_front()) else { return Ok(()) };
            let frame_idx = verdict.frame_idx;
            if let Some(first) = self.continues_at {
                if frame_idx < first {
                    continue;
                }
                if frame_idx > first || verdict.begins.is_none() {
                    return Err(self.cut_is_gone(first));
                }
                self.continues_at = None;
            }
            let ends = self.judged.front().is_none_or(|next| next.begins.is_some());
            self.admit(frame_idx, picture, verdict.begins, ends)?;
        }
        let settled_before = if at_end { i64::MAX } else { self.shots.settled_before() };
        self.dispatcher.pass_on(settled_before)
    }

    fn cut_is_gone(&self, frame_idx: i64) -> Error {
        Error::CutIsGone { path: self.dispatcher.path.to_path_buf(), frame_idx }
    }

    fn admit(
        &mut self,
        frame_idx: i64,
        picture: Picture,
        begins: Option<Boundary>,
        ends: bool,
    ) -> Result<(), Error> {
        let times = self.dispatcher.times();
        let (t_secs, fps) = (times.t_secs(frame_idx), times.fps());
        // Times are not exact: a frame is due when it is nearer to the exact time than the next frame.
        let is_due = t_secs - self.last_anchor_secs + 0.5 / fps >= self.max_stride_secs;
        // Faces on one side of a hole say nothing about the other side.
        let is_cut_off = times.is_before_hole(frame_idx) || times.is_before_hole(frame_idx - 1);
        let is_anchor = begins.is_some() || ends || is_due || is_cut_off;
        if is_anchor {
            self.last_anchor_secs = t_secs;
        }
        if let Some(order) = self.dispatcher.schedule.admit(frame_idx, Arc::new(picture), begins, is_anchor) {
            self.dispatcher.send(order)?;
        }
        self.dispatcher.make_room((self.max_stride_secs * fps).ceil() as usize)
    }

    fn warnings(&self, decoded: u64, announced: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |count: u64, one: &str, many: &str| match count {
            0 => {}
            1 => warnings.push(format!("1 frame {one}")),
            _ => warnings.push(format!("{count} frames {many}")),
        };
        warn(
            announced.saturating_sub(decoded).max(self.decoder.lost()),
            "could not be decoded and was skipped",
            "could not be decoded and were skipped",
        );
        warn(self.damaged, "is damaged; faces in it may be wrong", "are damaged; faces in them may be wrong");
        warn(
            self.untimed,
            "has a time that is not in the frame index and was skipped",
            "have times that are not in the frame index and were skipped",
        );
        for (first, last) in &self.skipped {
            warnings.push(format!("frames {first} to {last} were skipped, as set by `skip_frames`"));
        }
        warnings.extend(self.decoder.stopped().map(|why| format!("decoding stopped early: {why}")));
        warnings
    }
}
