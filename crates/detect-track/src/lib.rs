//! Stage 2, `detect-track`: shots, faces, tracks and aligned crops, from one decode.
//!
//! Reads the video file, `videos` and `frames`; writes `shots`, `detections`, `tracks` and `crops`.
//!
//! * [`pipeline`]: decode → shot boundaries → faces in worker threads → in order again.
//! * [`detector`]: what a face detector offers; [`yunet`]: the default one; `haar`: the classical one.
//! * [`follow`]: faces from frame to frame by correlation filters.
//! * [`photo`]: the face in a photo, outside the stage.
//! * [`shots`], [`spans`], [`tracker`], [`crops`], [`torso`], [`still`], [`face`]: pure parts.
//! * `closer_look`: another detection of faces that no frame shows clearly.
//! * [`view`]: which part of the frame is the picture, and how it is shown.
//! * [`track_writer`]: turns what the pipeline finds into rows, shot by shot.
//!
//! **Architecture invariant:** the only code that decodes pixels of the video, and it does so once per start.
//! A track never crosses a shot boundary. Results do not depend on the number of threads.
//!
//! **Feature `opencv`** (default): the detector `haar` and the tracker `correlation` are OpenCV's. Without
//! the feature the crate does not link OpenCV and both are refused; everything else is the same.

mod closer_look;
pub mod crops;
#[cfg(feature = "opencv")]
mod cv;
pub mod detector;
pub mod face;
pub mod follow;
#[cfg(feature = "opencv")]
pub mod haar;
pub mod photo;
pub mod pipeline;
pub mod shots;
pub mod spans;
pub mod still;
pub mod torso;
pub mod track_writer;
pub mod tracker;
pub mod view;
pub mod yunet;

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use failure::{Advice, Failure, exit};
use geometry::{BBox, FrameTimes};
use rayon::ThreadPoolBuilder;
use run::Begin;
use run::manifest::{Input, VideoFile};
use run::stage::{Job, Outcome, Stage};
use schema::tables::Frame;
use serde::{Deserialize, Serialize};

use crate::detector::DetectorKind;
use crate::shots::ShotConfig;
use crate::track_writer::TrackWriter;
use crate::tracker::{TrackerConfig, TrackerKind};
use crate::view::Preview;

/// Name, version and description of the stage.
pub const STAGE: Stage = Stage {
    name: "detect-track",
    version: 13,
    about: "Detects shots and faces, and tracks each face through its shot",
};

/// Sizes that [`Config::min_face_px`] may have, pixels.
pub const FACE_PX: RangeInclusive<f64> = 1.0..=4096.0;

/// Section `[detect-track]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Face detector: `yunet`, a small network, or `haar`, the cascades of OpenCV.
    pub detector: DetectorKind,
    /// Folder of OpenCV's Haar cascades, for `haar`.
    pub cascades: PathBuf,
    /// Tracker: `assoc` associates detections and examines more frames where faces move, appear or
    /// disappear; `correlation` follows faces by correlation filters between anchor frames.
    pub tracker: TrackerKind,
    /// Longest time between two examined frames, 0 to 60 s.
    pub max_stride_secs: f64,
    /// Size of the smallest face to find, 1 to 4096 pixels of the picture with square pixels. Default: a 24th of the
    /// shorter side of the picture without bars, with `haar` a 19th.
    pub min_face_px: Option<f64>,
    /// Smallest score of a detection that is kept, 0 to 1.
    pub min_score: f64,
    /// Largest overlap of two faces in one frame, IoU 0 to 1; boxes that overlap by more are one face.
    pub max_overlap: f64,
    /// Largest number of crops kept per track, 1 to 256; fewer are kept if further ones would look the
    /// same.
    pub crops_per_track: u32,
    /// Whether crops are stored without loss, as PNG, in place of JPEG with a third of the size.
    pub lossless_crops: bool,
    /// Whether the colours of clothes are measured, as evidence for linking.
    pub context: bool,
    /// Intervals of frames that are not examined, `[[first, last], …]`; `--skip-bad` sets them.
    pub skip_frames: Vec<(i64, i64)>,
    /// Settings of shot detection.
    pub shots: ShotConfig,
    /// Settings of the tracker.
    pub association: TrackerConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            detector: DetectorKind::default(),
            cascades: detector::CASCADES.into(),
            tracker: TrackerKind::default(),
            max_stride_secs: 0.34,
            min_face_px: None,
            min_score: 0.5,
            max_overlap: 0.3,
            crops_per_track: 4,
            lossless_crops: false,
            context: true,
            skip_frames: Vec::new(),
            shots: ShotConfig::default(),
            association: TrackerConfig::default(),
        }
    }
}

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The video cannot be used.
    #[error(transparent)]
    Video(#[from] video::Error),
    /// The weights cannot be used.
    #[error(transparent)]
    Weights(#[from] nn::weights::Error),
    /// YuNet was not given its weights.
    #[error("the detector `yunet` requires weights")]
    NoWeights,
    /// The settings ask for a part of OpenCV, and the program was built without the feature `opencv`.
    #[error("{what} needs OpenCV, which this program was built without")]
    NeedsOpenCv {
        /// What was asked for.
        what: &'static str,
    },
    /// A Haar cascade cannot be used.
    #[error("failed to load the cascade `{}`: {reason}", path.display())]
    Cascade {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The run directory cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The video is not the one that `ingest` read.
    #[error("`{}` has changed since `ingest` read it", path.display())]
    VideoChanged {
        /// The video.
        path: PathBuf,
    },
    /// Not one frame could be decoded.
    #[error("failed to decode any frame of `{}`", path.display())]
    NothingDecoded {
        /// The video.
        path: PathBuf,
    },
    /// The video is not decoded as it was when the checkpoint was written.
    #[error("failed to continue `{}`: no shot begins at frame {frame_idx}, as it did when the work was saved", path.display())]
    CutIsGone {
        /// The video.
        path: PathBuf,
        /// The first frame that the checkpoint does not have.
        frame_idx: i64,
    },
    /// A frame could not be processed.
    #[error("failed to process frame {frame_idx} of `{}`: {reason}", path.display())]
    Frame {
        /// The video.
        path: PathBuf,
        /// The frame.
        frame_idx: i64,
        /// What went wrong.
        reason: String,
    },
    /// A doubtful face could not be looked at more closely.
    #[error("failed to look closer at a face of frame {frame_idx}: {reason}")]
    CloserLook {
        /// The frame.
        frame_idx: i64,
        /// What went wrong.
        reason: String,
    },
    /// Threads cannot be started.
    #[error("failed to start threads: {reason}")]
    Threads {
        /// The system's own message.
        reason: String,
    },
    /// A crop could not be stored.
    #[error("failed to encode a crop of frame {frame_idx}: {reason}")]
    Crop {
        /// The frame.
        frame_idx: i64,
        /// What went wrong.
        reason: String,
    },
    /// A file is no photo that can be read.
    #[error("failed to read the photo `{}`: {reason}", path.display())]
    Photo {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A photo of one face was expected.
    #[error("the photo `{}` shows {}", path.display(), if boxes.is_empty() { "no clear face".into() } else { format!("{} faces", boxes.len()) })]
    Faces {
        /// The photo.
        path: PathBuf,
        /// Boxes of the faces, pixels of the upright photo.
        boxes: Vec<BBox>,
    },
    /// The configuration asks for something impossible.
    #[error("[detect-track] {key} {reason}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Video(e) => e.advice(),
            Self::Weights(e) => e.advice(),
            Self::Schema(e) => e.advice(),
            Self::Run(e) => e.advice(),
            Self::NoWeights => {
                Advice::new(exit::USAGE, "pass the weights with --weights, or use the detector `haar`")
            }
            Self::NeedsOpenCv { .. } => Advice::new(
                exit::USAGE,
                "build the program with its default features, or use the detector yunet and the tracker assoc",
            ),
            Self::Cascade { .. } => Advice::new(
                exit::INPUT,
                "install Debian's package opencv-data, or set [detect-track] cascades to the folder of the cascades",
            ),
            Self::VideoChanged { .. } => Advice::new(exit::INPUT, "run again with --from ingest"),
            Self::NothingDecoded { .. } => {
                Advice::new(exit::INPUT, "check that the file is complete and can be played")
            }
            Self::Photo { .. } => Advice::new(exit::INPUT, "use a JPEG or PNG file"),
            Self::Faces { boxes, .. } if boxes.is_empty() => Advice::new(
                exit::INPUT,
                "use a photo with a face that is upright, sharp, and at least a tenth as high as the photo",
            ),
            Self::Faces { boxes, .. } => {
                let place = |face: &BBox| format!("{:.0},{:.0}", face.x_min, face.y_min);
                let places: Vec<_> = boxes.iter().map(place).collect();
                let hint = "cut the photo so that one face is left; left upper corners of the faces, pixels";
                Advice::new(exit::INPUT, format!("{hint}: {}", places.join(" ")))
            }
            Self::CutIsGone { .. } => Advice::new(exit::UNEXPECTED, "run again with --from detect-track"),
            Self::Frame { .. } | Self::Crop { .. } | Self::CloserLook { .. } | Self::Threads { .. } => {
                exit::UNEXPECTED.into()
            }
            Self::Config { .. } => {
                Advice::new(exit::USAGE, "`facetrack settings` lists every setting and its range")
            }
        }
    }
}

/// Runs the stage on the video at `path`; YuNet's weights are at `weights`, other detectors need none.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>, path: &Path, weights: Option<&Path>) -> Result<Outcome, Error> {
    job.config.check()?;
    check_unchanged(path, job)?;
    let files = detector::Files::read(&job.config, weights)?;
    let mut inputs = vec![Input { name: "video".into(), sha256: job.run.video_file()?.sha256.clone() }];
    inputs.extend(files.inputs());
    let mut stage = match job.begin(&["videos", "frames"], &inputs)? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let new_detector = files.load(job.config.min_score as f32)?;
    // Batch by batch: of a long video only the times are kept.
    let (mut times, mut keys) = (Vec::new(), Vec::new());
    for frames in job.run.open_table::<Frame>()? {
        let frames = frames?;
        times.extend(frames.iter().map(|frame| (frame.pts_ticks, frame.t_secs)));
        let is_skipped = |frame: &Frame| job.config.skips(frame.frame_idx);
        let usable = frames.iter().filter(|frame| frame.is_key && !is_skipped(frame));
        keys.extend(usable.map(|frame| frame.pts_ticks));
    }
    let times: FrameTimes = times.into_iter().collect();
    let failed = |reason| Error::Frame { path: path.to_path_buf(), frame_idx: 0, reason };
    let detector = new_detector().map_err(failed)?;
    let smallest_px = detector.smallest_px();
    let preview = Preview { path, keys: &keys, n_frames: times.len(), config: &job.config, smallest_px };
    let pool = ThreadPoolBuilder::new().num_threads(job.threads).build();
    let pool = pool.map_err(|e| Error::Threads { reason: e.to_string() })?;
    let (view, unusual) = pool.install(|| preview.choose(&*new_detector))?;
    drop(pool);
    unusual.into_iter().for_each(|warning| stage.warn(warning));
    stage.figure("picture", view.to_string());
    // Other pictures or sums would give other rows than those that were saved.
    let isa = nn::isa::available().first().map_or("", |isa| isa.single_precision);
    let machine = format!("{} {isa} {view:?}", video::decoder_version());
    // A forced start begins anew, and so would its next try.
    let checkpoint = if job.force { None } else { Some(stage.checkpoint(&machine)?) };
    let mut writer =
        TrackWriter::new(&stage, job.run.video_id()?, job.config.clone(), times, view, checkpoint, detector)?;
    let warnings =
        pipeline::run(path, &*new_detector, &job.config, view, job.threads, &mut writer, &mut job.reporter)?;
    warnings.into_iter().for_each(|warning| stage.warn(warning));
    writer.finish(&mut stage)?;
    Ok(job.commit(stage)?)
}

impl Config {
    /// Whether a frame is not to be examined.
    fn skips(&self, frame_idx: i64) -> bool {
        self.skip_frames.iter().any(|(first, last)| (*first..=*last).contains(&frame_idx))
    }

    /// Refuses values outside their ranges, and what needs OpenCV in a program built without it.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::NeedsOpenCv`].
    pub fn check(&self) -> Result<(), Error> {
        const SHARE: &str = "must be between 0 and 1";
        const SECS: &str = "must be between 0 and 60";
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let secs = |value: f64| (0.0..=60.0).contains(&value);
        let config = self;
        let Config { shots, association, .. } = config;
        if cfg!(not(feature = "opencv")) {
            if config.detector == DetectorKind::Haar {
                return Err(Error::NeedsOpenCv { what: "the detector haar" });
            }
            if config.tracker == TrackerKind::Correlation {
                return Err(Error::NeedsOpenCv { what: "the tracker correlation" });
            }
        }
        let face_px = config.min_face_px.unwrap_or(1.0);
        let rules = [
            ("max_stride_secs", secs(config.max_stride_secs), SECS),
            ("min_face_px", FACE_PX.contains(&face_px), "must be between 1 and 4096"),
            ("min_score", share(config.min_score), SHARE),
            ("max_overlap", share(config.max_overlap), SHARE),
            ("crops_per_track", (1..=256).contains(&config.crops_per_track), "must be between 1 and 256"),
            (
                "skip_frames",
                config.skip_frames.iter().all(|(first, last)| 0 <= *first && first <= last),
                "must be pairs of a first and a last frame",
            ),
            ("shots.min_cut_change", share(shots.min_cut_change), SHARE),
            ("shots.min_cut_ratio", shots.min_cut_ratio >= 1.0, "must be at least 1"),
            ("shots.min_structure_change", share(shots.min_structure_change), SHARE),
            ("shots.min_gradual_change", share(shots.min_gradual_change), SHARE),
            ("shots.max_blend_error", share(shots.max_blend_error), SHARE),
            (
                "shots.max_gradual_secs",
                (0.1..=10.0).contains(&shots.max_gradual_secs),
                "must be between 0.1 and 10",
            ),
            ("association.clear_score", share(association.clear_score), SHARE),
            ("association.min_clear_share", share(association.min_clear_share), SHARE),
            ("association.min_iou", share(association.min_iou), SHARE),
            ("association.min_margin", share(association.min_margin), SHARE),
            ("association.max_gap_secs", secs(association.max_gap_secs), SECS),
            ("association.min_track_secs", secs(association.min_track_secs), SECS),
        ];
        match rules.into_iter().find(|(_, holds, _)| !holds) {
            Some((key, _, reason)) => Err(Error::Config { key, reason }),
            None => Ok(()),
        }
    }
}

/// Frame numbers and times come from `ingest`: they must be about these very bytes.
fn check_unchanged(path: &Path, job: &Job<Config>) -> Result<(), Error> {
    let recorded = job.run.video_file()?;
    let unreadable = |source| video::Error::Unreadable { path: path.to_path_buf(), source };
    let found = VideoFile::stat(path).map_err(unreadable)?;
    if found.is_same_file(recorded)
        || (found.size_bytes == recorded.size_bytes && run::files::sha256(path)? == recorded.sha256)
    {
        return Ok(());
    }
    Err(Error::VideoChanged { path: path.to_path_buf() })
}
