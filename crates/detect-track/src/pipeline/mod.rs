//! One decode, faces in worker threads, and everything in order again.
//!
//! * [`reel`]: frames on their way from the decoder; judges shots.
//! * [`schedule`]: which frames are examined, and everything in order again; knows no thread.
//! * [`worker`]: finds and cuts the faces of one frame, or follows them through some.
//!
//! Frames that wait for a verdict, an order or an answer are limited, and so is memory.

mod reel;
pub mod schedule;
mod worker;

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use schema::stage::Progress;
use schema::tables::Frame;
use video::Decoder;

use crate::crops::AlignedCrop;
use crate::detector::NewDetector;
use crate::follow::Trajectory;
use crate::geometry::Face;
use crate::pipeline::reel::{Desk, Reel};
use crate::pipeline::worker::Examiner;
use crate::shots::Boundary;
use crate::{Config, Error};

/// A face, its aligned image, and where it went.
#[derive(Debug)]
pub struct Seen {
    /// The face, in pixels of the full-size frame.
    pub face: Face,
    /// Its image; `None` when it could not be aligned.
    pub image: Option<AlignedCrop>,
    /// Where it was in the frames up to the next key frame, if faces are followed.
    pub trajectory: Trajectory,
}

/// What the pipeline tells, strictly in order of frames.
pub trait Listener {
    /// A shot begins at this frame; the one before it, if any, ends with the frame before.
    ///
    /// # Errors
    /// When what was heard cannot be stored.
    fn begin_shot(&mut self, frame_idx: i64, boundary: Boundary) -> Result<(), Error>;
    /// Faces were looked for in this frame of the current shot, and these were seen.
    ///
    /// # Errors
    /// When what was heard cannot be stored.
    fn examined(&mut self, frame_idx: i64, faces: Vec<Seen>) -> Result<(), Error>;
    /// The video ends, and with it the last shot.
    ///
    /// # Errors
    /// When what was heard cannot be stored.
    fn end(&mut self) -> Result<(), Error>;
    /// Number and time of every frame.
    fn clock(&self) -> &Clock;
}

/// Frame numbers and times as `ingest` read them.
#[derive(Debug)]
pub struct Clock {
    /// Presentation time of every frame: ticks and seconds.
    times: Vec<(i64, f64)>,
}

impl Clock {
    /// From the rows of `frames`, batch by batch: of a long video only the times are kept.
    ///
    /// # Errors
    /// When a batch cannot be read.
    pub fn read(batches: impl Iterator<Item = schema::Result<Vec<Frame>>>) -> schema::Result<Self> {
        let mut times = Vec::new();
        for batch in batches {
            times.extend(batch?.iter().map(|frame| (frame.pts_ticks, frame.t_secs)));
        }
        Ok(Self { times })
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Time of a frame, seconds; the last known time for numbers beyond the end.
    pub fn t_secs(&self, frame_idx: i64) -> f64 {
        let i = usize::try_from(frame_idx).unwrap_or(0).min(self.times.len().saturating_sub(1));
        self.times.get(i).map_or(0.0, |(_, t_secs)| *t_secs)
    }

    /// Time of a frame, ticks; the last known time for numbers beyond the end.
    fn ticks(&self, frame_idx: i64) -> i64 {
        let i = usize::try_from(frame_idx).unwrap_or(0).min(self.times.len().saturating_sub(1));
        self.times.get(i).map_or(0, |(pts_ticks, _)| *pts_ticks)
    }

    /// Mean number of frames a second; 25 when the times do not tell.
    pub fn fps(&self) -> f64 {
        let steps = self.times.len().saturating_sub(1);
        let secs = self.t_secs(steps as i64) - self.t_secs(0);
        if steps > 0 && secs > 0.0 { steps as f64 / secs } else { 25.0 }
    }

    /// The frame shown at `pts_ticks`, if the container announced one.
    fn frame_at(&self, pts_ticks: i64) -> Option<usize> {
        self.times.binary_search_by_key(&pts_ticks, |(pts_ticks, _)| *pts_ticks).ok()
    }
}

/// Decodes the video once and tells `listener` of shots and faces; gives warnings.
///
/// # Errors
/// Those of the decoder, of a frame, and of the listener.
pub fn run(
    path: &Path,
    new_detector: &NewDetector,
    config: &Config,
    threads: usize,
    listener: &mut dyn Listener,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, Error> {
    let mut decoder = Decoder::open(path, threads)?;
    let ticks = |frame_idx| listener.clock().ticks(frame_idx);
    decoder.skip(config.skip_frames.iter().map(|(first, last)| ticks(*first)..=ticks(*last)));
    let (orders, taken) = channel();
    let (answers, received) = channel();
    let taken = Mutex::new(taken);
    let facts = decoder.facts().clone();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (taken, answers, facts) = (&taken, answers.clone(), &facts);
            let new_examiner = || Ok(Examiner::new(new_detector()?, config, facts));
            scope.spawn(move || worker::work(taken, &answers, new_examiner()));
        }
        drop(answers);
        let desk = Desk::new(path, orders, received, config, threads, listener);
        Reel::new(decoder, config, desk).run(progress)
    })
}
