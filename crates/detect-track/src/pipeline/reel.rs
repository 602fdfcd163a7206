//! Frames on their way from the decoder to the workers, and answers on their way to the listener.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use run::stage::Progress;
use video::{Converter, Decoder, Picture};

use crate::pipeline::schedule::{Order, Policy, Schedule, Step};
use crate::pipeline::worker::{Answer, Done};
use crate::pipeline::{Listener, Seen};
use crate::shots::{self, Boundary, ShotDetector, Verdict};
use crate::tracker::TrackerKind;
use crate::{Config, Error};

/// Pictures that wait for one span to end take at most this much memory, bytes.
const MAX_SPAN_BYTES: usize = 128 << 20;

/// Gives out orders and passes answers on in order.
pub(super) struct Desk<'a> {
    path: &'a Path,
    orders: Sender<Order<Arc<Picture>>>,
    received: Receiver<Answer>,
    schedule: Schedule<Arc<Picture>, Vec<Seen>>,
    under_way: usize,
    /// Spans whose pictures may all be in memory.
    spans: usize,
    /// Pictures that may be in memory beyond those.
    spare: usize,
    is_first: bool,
    listener: &'a mut dyn Listener,
}

impl<'a> Desk<'a> {
    /// A desk whose workers take from `orders` and answer to `received`.
    pub(super) fn new(
        path: &'a Path,
        orders: Sender<Order<Arc<Picture>>>,
        received: Receiver<Answer>,
        config: &Config,
        threads: usize,
        listener: &'a mut dyn Listener,
    ) -> Self {
        let (policy, spans) = match config.tracker {
            TrackerKind::Assoc => (Policy::Halve { clear_score: config.association.clear_score as f32 }, 1),
            // One that grows, and one for every worker to follow faces through.
            TrackerKind::Correlation => (Policy::Follow, 1 + threads),
        };
        let (schedule, spare) = (Schedule::new(policy), 2 * threads + 2);
        Self { path, orders, received, schedule, under_way: 0, spans, spare, is_first: true, listener }
    }

    /// Takes answers, waiting for them while too many pictures are in memory, `span` in a span.
    fn make_room(&mut self, span: usize) -> Result<(), Error> {
        while let Ok(answer) = self.received.try_recv() {
            self.take(answer)?;
        }
        while self.schedule.pictures() > span * self.spans + self.spare && self.under_way > 0 {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let answer = self.received.recv().map_err(|_| self.failed(0, "every worker has stopped".into()))?;
        self.take(answer)
    }

    fn take(&mut self, (frame_idx, done): Answer) -> Result<(), Error> {
        self.under_way -= 1;
        match done.map_err(|reason| self.failed(frame_idx, reason))? {
            Done::Examined(seen) => {
                let faces = seen.iter().map(|s| s.face).collect();
                let orders = self.schedule.examined(frame_idx, faces, seen);
                orders.into_iter().try_for_each(|order| self.send(order))
            }
            Done::Followed(trajectories) => {
                let note = |seen: &mut Vec<Seen>| {
                    let pairs = seen.iter_mut().zip(trajectories);
                    pairs.for_each(|(seen, trajectory)| seen.trajectory = trajectory);
                };
                self.schedule.followed(frame_idx, note);
                Ok(())
            }
        }
    }

    fn send(&mut self, order: Order<Arc<Picture>>) -> Result<(), Error> {
        self.under_way += 1;
        self.orders.send(order).map_err(|_| self.failed(0, "every worker has stopped".into()))
    }

    /// Tells the listener of every frame about which nothing is open.
    fn pass_on(&mut self, settled_before: i64) -> Result<(), Error> {
        while let Some(Step { frame_idx, begins, result }) = self.schedule.next(settled_before) {
            if let Some(boundary) = begins {
                // Frames before the first that could be decoded belong to the first shot.
                let first = if std::mem::take(&mut self.is_first) { 0 } else { frame_idx };
                self.listener.begin_shot(first, boundary)?;
            }
            if let Some(seen) = result {
                self.listener.examined(frame_idx, seen)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.schedule.end();
        while self.under_way > 0 {
            self.receive()?;
        }
        self.pass_on(i64::MAX)?;
        self.listener.end()
    }

    fn failed(&self, frame_idx: i64, reason: String) -> Error {
        Error::Frame { path: self.path.to_path_buf(), frame_idx, reason }
    }
}

/// Frames on their way from the decoder to the desk. A frame waits until it is known whether a
/// shot begins at the frame after it.
pub(super) struct Reel<'a> {
    decoder: Decoder,
    max_stride_secs: f64,
    skipped: Vec<(i64, i64)>,
    desk: Desk<'a>,
    shots: ShotDetector,
    waiting: VecDeque<Picture>,
    /// For each waiting frame, from the front, what is known of it.
    judged: VecDeque<Verdict>,
    luma: Converter,
    last_key_secs: f64,
    last_idx: Option<i64>,
    damaged: u64,
    untimed: u64,
}

impl<'a> Reel<'a> {
    /// Frames of `decoder` for `desk`.
    pub(super) fn new(decoder: Decoder, config: &Config, desk: Desk<'a>) -> Self {
        let fps = desk.listener.clock().fps();
        let facts = decoder.facts();
        let picture_bytes = facts.width as usize * facts.height as usize * 3;
        let budget_secs = MAX_SPAN_BYTES as f64 / picture_bytes.max(1) as f64 / fps;
        Self {
            luma: Converter::new(facts.rotation_degrees),
            decoder,
            max_stride_secs: config.max_stride_secs.min(budget_secs),
            skipped: config.skip_frames.clone(),
            desk,
            shots: ShotDetector::new(config.shots, fps),
            waiting: VecDeque::new(),
            judged: VecDeque::new(),
            last_key_secs: f64::NEG_INFINITY,
            last_idx: None,
            damaged: 0,
            untimed: 0,
        }
    }

    /// Decodes to the end; gives warnings.
    pub(super) fn run(mut self, progress: &mut dyn Progress) -> Result<Vec<String>, Error> {
        let total = self.desk.listener.clock().len() as u64;
        let mut decoded = 0;
        loop {
            progress.bookmark(self.last_idx.map_or(0, |last| last + 1));
            let Some(picture) = self.decoder.next_picture()? else { break };
            let Some(frame_idx) = self.number(&picture) else { continue };
            self.last_idx = Some(frame_idx);
            decoded += 1;
            progress.advance(decoded, total.max(decoded), "frames");
            let luma = self.luma.luma(&picture, shots::WIDTH, shots::HEIGHT);
            let luma = luma.map_err(|reason| self.desk.failed(frame_idx, reason))?;
            self.waiting.push_back(picture);
            let verdict = self.shots.push(frame_idx, luma.data);
            self.hear(verdict);
            self.release(false)?;
        }
        let owed = self.shots.finish();
        self.hear(owed);
        self.release(true)?;
        if decoded == 0 {
            return Err(Error::NothingDecoded { path: self.desk.path.to_path_buf() });
        }
        self.desk.finish()?;
        Ok(self.warnings(decoded, total))
    }

    /// Number of a decoded frame: by its time, or the next one when it has none. Frames that the
    /// container did not announce, or that come twice, get no number.
    fn number(&mut self, picture: &Picture) -> Option<i64> {
        self.damaged += u64::from(picture.is_damaged);
        let clock = self.desk.listener.clock();
        let next = self.last_idx.map_or(0, |last| last + 1);
        let frame_idx = match picture.pts_ticks {
            Some(pts) => clock.frame_at(pts).and_then(|i| i64::try_from(i).ok()),
            None => Some(next).filter(|i| usize::try_from(*i).is_ok_and(|i| i < clock.len())),
        };
        let usable = frame_idx.filter(|i| *i >= next);
        self.untimed += u64::from(usable.is_none());
        usable
    }

    fn hear(&mut self, verdicts: impl IntoIterator<Item = Verdict>) {
        for verdict in verdicts {
            if let Some((frame_idx, boundary)) = verdict.began {
                self.desk.schedule.begin_at(frame_idx, boundary);
            }
            self.judged.push_back(verdict);
        }
    }

    /// Passes on every frame whose successor has been judged; at the end, all of them.
    fn release(&mut self, at_end: bool) -> Result<(), Error> {
        while self.judged.len() > 1 || (at_end && !self.judged.is_empty()) {
            let verdict = self.judged.pop_front();
            let Some((verdict, picture)) = verdict.zip(self.waiting.pop_front()) else { return Ok(()) };
            let ends = self.judged.front().is_none_or(|next| next.begins.is_some());
            self.admit(verdict.frame_idx, picture, verdict.begins, ends)?;
        }
        let settled_before = if at_end { i64::MAX } else { self.shots.settled_before() };
        self.desk.pass_on(settled_before)
    }

    fn admit(
        &mut self,
        frame_idx: i64,
        picture: Picture,
        begins: Option<Boundary>,
        ends: bool,
    ) -> Result<(), Error> {
        let clock = self.desk.listener.clock();
        let (t_secs, fps) = (clock.t_secs(frame_idx), clock.fps());
        // Times are not exact: a frame counts as due when it is nearer than the next one.
        let is_due = t_secs - self.last_key_secs + 0.5 / fps >= self.max_stride_secs;
        let is_key = begins.is_some() || ends || is_due;
        if is_key {
            self.last_key_secs = t_secs;
        }
        if let Some(order) = self.desk.schedule.admit(frame_idx, Arc::new(picture), begins, is_key) {
            self.desk.send(order)?;
        }
        self.desk.make_room((self.max_stride_secs * fps).ceil() as usize)
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
            "could not be decoded and is left out",
            "could not be decoded and are left out",
        );
        warn(self.damaged, "is damaged; faces in it may be wrong", "are damaged; faces in them may be wrong");
        warn(
            self.untimed,
            "has a time that the file does not list and is left out",
            "have a time that the file does not list and are left out",
        );
        for (first, last) in &self.skipped {
            warnings.push(format!("frames {first} to {last} are left out, as the settings ask for"));
        }
        warnings.extend(self.decoder.stopped().map(|why| format!("decoding stopped early: {why}")));
        warnings
    }
}
