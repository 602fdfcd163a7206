//! Orders on their way to the workers, and answers on their way to the writer.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use geometry::FrameTimes;
use video::Picture;

use crate::pipeline::schedule::{Order, Policy, ReadyFrame, Schedule};
use crate::pipeline::worker::{Answer, Done};
use crate::track_writer::TrackWriter;
use crate::tracker::TrackerKind;
use crate::{Config, Error};

/// Bytes of the pictures that may be in memory beyond those of the anchor intervals, and the largest number of such
/// pictures; at least there may be 2 × threads + 2. With more of them, workers have orders while the decoder waits:
/// on two cores, `detect-track` takes 8 % less time for a comedy of 360 lines.
const SPARE: (usize, usize) = (24 << 20, 64);

/// Sends orders to the workers and passes answers on in order.
pub(super) struct Dispatcher<'a> {
    pub(super) path: &'a Path,
    orders: Sender<Order<Arc<Picture>>>,
    received: Receiver<Answer>,
    pub(super) schedule: Schedule<Arc<Picture>>,
    under_way: usize,
    /// Anchor intervals whose pictures may all be in memory.
    intervals: usize,
    /// Pictures that may be in memory beyond those.
    spare: usize,
    is_first: bool,
    writer: &'a mut TrackWriter,
}

impl<'a> Dispatcher<'a> {
    /// A dispatcher whose workers take from `orders` and answer to `received`; a picture has about `picture_bytes`.
    pub(super) fn new(
        path: &'a Path,
        orders: Sender<Order<Arc<Picture>>>,
        received: Receiver<Answer>,
        config: &Config,
        threads: usize,
        picture_bytes: usize,
        writer: &'a mut TrackWriter,
    ) -> Self {
        let (policy, intervals) = match config.tracker {
            TrackerKind::Assoc => (Policy::Halve { clear_score: config.association.clear_score as f32 }, 1),
            // One that grows, and one for every worker to follow faces through.
            TrackerKind::Correlation => (Policy::Follow, 1 + threads),
        };
        let (schedule, spare) =
            (Schedule::new(policy), (SPARE.0 / picture_bytes).min(SPARE.1).max(2 * threads + 2));
        let is_first = writer.continues_at().is_none();
        Self { path, orders, received, schedule, under_way: 0, intervals, spare, is_first, writer }
    }

    /// Takes answers, waiting for them while too many pictures are in memory, `interval` in an anchor
    /// interval.
    pub(super) fn make_room(&mut self, interval: usize) -> Result<(), Error> {
        while let Ok(answer) = self.received.try_recv() {
            self.take(answer)?;
        }
        while self.schedule.pictures() > interval * self.intervals + self.spare && self.under_way > 0 {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), Error> {
        let answer =
            self.received.recv().map_err(|_| self.failed(0, "all worker threads have stopped".into()))?;
        self.take(answer)
    }

    fn take(&mut self, (frame_idx, done): Answer) -> Result<(), Error> {
        self.under_way -= 1;
        match done.map_err(|reason| self.failed(frame_idx, reason))? {
            Done::Examined(faces) => {
                for order in self.schedule.record_faces(frame_idx, faces) {
                    self.send(order)?;
                }
            }
            Done::Followed(trajectories) => self.schedule.record_trajectories(frame_idx, trajectories),
        }
        Ok(())
    }

    pub(super) fn send(&mut self, order: Order<Arc<Picture>>) -> Result<(), Error> {
        self.under_way += 1;
        self.orders.send(order).map_err(|_| self.failed(0, "all worker threads have stopped".into()))
    }

    /// Passes every frame about which nothing is open on to the writer.
    pub(super) fn pass_on(&mut self, settled_before: i64) -> Result<(), Error> {
        while let Some(ReadyFrame { frame_idx, boundary, faces }) = self.schedule.pop_ready(settled_before) {
            if let Some(boundary) = boundary {
                // Frames before the first that could be decoded belong to the first shot.
                let first = if std::mem::take(&mut self.is_first) { 0 } else { frame_idx };
                self.writer.begin_shot(first, boundary)?;
            }
            if let Some(faces) = faces {
                self.writer.examined(frame_idx, faces)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.schedule.end();
        while self.under_way > 0 {
            self.receive()?;
        }
        self.pass_on(i64::MAX)?;
        self.writer.end()
    }

    pub(super) fn failed(&self, frame_idx: i64, reason: String) -> Error {
        Error::Frame { path: self.path.to_path_buf(), frame_idx, reason }
    }

    /// The first frame to examine after saved ones; see [`TrackWriter::continues_at`].
    pub(super) fn continues_at(&self) -> Option<i64> {
        self.writer.continues_at()
    }

    /// Times of the frames.
    pub(super) fn times(&self) -> &FrameTimes {
        self.writer.times()
    }
}
