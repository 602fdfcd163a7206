//! One decode, faces in worker threads, and everything in order again.
//!
//! * [`source`]: frames on their way from the decoder; finds shots.
//! * [`dispatcher`]: orders to the workers, and answers on their way to the [`PipelineSink`].
//! * [`schedule`]: which frames are examined, and everything in order again; knows no thread.
//! * [`worker`]: finds and cuts the faces of one frame, or follows them through some.
//!
//! The number of waiting frames is limited, and so is memory.

mod dispatcher;
pub mod schedule;
mod source;
mod worker;

use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use geometry::FrameTimes;
use run::stage::Progress;
use video::Decoder;

use crate::detector::NewDetector;
use crate::face::DetectedFace;
use crate::pipeline::dispatcher::Dispatcher;
use crate::pipeline::source::FrameSource;
use crate::pipeline::worker::Examiner;
pub(crate) use crate::pipeline::worker::detector_scale;
use crate::shots::Boundary;
use crate::view::View;
use crate::{Config, Error};

/// Receives what the pipeline finds, strictly in order of frames.
pub trait PipelineSink {
    /// A shot begins at this frame; the one before it, if any, ends with the frame before.
    ///
    /// # Errors
    /// When the shot cannot be stored.
    fn begin_shot(&mut self, frame_idx: i64, boundary: Boundary) -> Result<(), Error>;
    /// This frame of the current shot was examined, and these faces were found.
    ///
    /// # Errors
    /// When the faces cannot be stored.
    fn examined(&mut self, frame_idx: i64, faces: Vec<DetectedFace>) -> Result<(), Error>;
    /// The video ends, and with it the last shot.
    ///
    /// # Errors
    /// When the shot cannot be stored.
    fn end(&mut self) -> Result<(), Error>;
    /// Times of the frames.
    fn times(&self) -> &FrameTimes;
}

/// Decodes the video once and gives shots and faces to `sink`; returns warnings.
///
/// # Errors
/// Those of the decoder, of a frame, and of the sink.
pub fn run(
    path: &Path,
    new_detector: &NewDetector,
    config: &Config,
    view: View,
    threads: usize,
    sink: &mut dyn PipelineSink,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, Error> {
    let mut decoder = Decoder::open(path, threads)?;
    let ticks = |frame_idx| sink.times().ticks(frame_idx);
    decoder.skip(config.skip_frames.iter().map(|(first, last)| ticks(*first)..=ticks(*last)));
    let (orders, taken) = channel();
    let (answers, received) = channel();
    let taken = Mutex::new(taken);
    let facts = decoder.facts().clone();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (taken, answers, facts) = (&taken, answers.clone(), &facts);
            let new_examiner = || Ok(Examiner::new(new_detector()?, config, facts, view));
            scope.spawn(move || worker::work(taken, &answers, new_examiner()));
        }
        drop(answers);
        let dispatcher = Dispatcher::new(path, orders, received, config, threads, sink);
        FrameSource::new(decoder, config, view, dispatcher).run(progress)
    })
}
