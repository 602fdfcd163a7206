//! One decode, faces in worker threads, and everything in order again.
//!
//! * [`source`]: frames on their way from the decoder; finds shots.
//! * [`dispatcher`]: orders to the workers, and answers on their way to the [`TrackWriter`].
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

use run::stage::Progress;
use video::Decoder;

use crate::detector::NewDetector;
use crate::pipeline::dispatcher::Dispatcher;
use crate::pipeline::source::{FrameSource, picture_bytes};
use crate::pipeline::worker::Examiner;
pub(crate) use crate::pipeline::worker::detector_scale;
use crate::track_writer::TrackWriter;
use crate::view::View;
use crate::{Config, Error};

/// Decodes the video once and gives shots and faces to `writer`, strictly in order of frames; returns
/// warnings.
///
/// # Errors
/// Those of the decoder, of a frame, and of the writer.
pub fn run(
    path: &Path,
    new_detector: &NewDetector,
    config: &Config,
    view: View,
    threads: usize,
    writer: &mut TrackWriter,
    progress: &mut dyn Progress,
) -> Result<Vec<String>, Error> {
    let mut decoder = Decoder::open(path, threads)?;
    let ticks = |frame_idx| writer.times().ticks(frame_idx);
    decoder.skip(config.skip_frames.iter().map(|(first, last)| ticks(*first)..=ticks(*last)));
    let (orders, taken) = channel();
    let (answers, received) = channel();
    let taken = Mutex::new(taken);
    let facts = decoder.facts().clone();
    // Where one frame is as long as a track must be, a face may be seen in one frame only.
    let is_slow = writer.times().frame_secs() >= config.association.min_track_secs;
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (taken, answers, facts) = (&taken, answers.clone(), &facts);
            let new_examiner = || Ok(Examiner::new(new_detector()?, config, facts, view, is_slow));
            scope.spawn(move || worker::work(taken, &answers, new_examiner()));
        }
        drop(answers);
        let dispatcher =
            Dispatcher::new(path, orders, received, config, threads, picture_bytes(&facts), writer);
        FrameSource::new(decoder, config, view, dispatcher).run(progress)
    })
}
