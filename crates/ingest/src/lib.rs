//! Stage 1, `ingest`: container facts, one row per frame with presentation time and key flag, and
//! the content hash. No pixel is decoded.
//!
//! Reads the video file; writes `videos` and `frames`.

use std::path::{Path, PathBuf};

use failure::{Advice, Failure, exit};
use run::manifest::{Input, VideoFile};
use run::stage::{Job, Outcome, Progress, Stage};
use run::{Begin, StageRun};
use schema::tables::{Frame, FrameStatus, Video};
use serde::{Deserialize, Serialize};
use video::Index;

/// Name, version and description of the stage.
pub const STAGE: Stage = Stage {
    name: "ingest",
    version: 5,
    about: "Reads the container of a video: frames, times, key frames, SHA-256",
};

/// Section `[ingest]` of the configuration; it has no keys.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The video cannot be used.
    #[error(transparent)]
    Video(#[from] video::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The video changed while it was being read.
    #[error("`{}` changed while it was being read", path.display())]
    Changing {
        /// The video.
        path: PathBuf,
    },
    /// The run directory holds the results of another file.
    #[error("`{}` contains the results of another video, `{other}`", run_dir.display())]
    OtherVideo {
        /// The run directory.
        run_dir: PathBuf,
        /// The video it is about.
        other: String,
    },
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Video(e) => e.advice(),
            Self::Run(e) => e.advice(),
            Self::Changing { .. } => {
                Advice::new(exit::INPUT, "the file may still be copied; run again when it is complete")
            }
            Self::OtherVideo { .. } => Advice::new(exit::USAGE, "choose another directory with --run-dir"),
        }
    }
}

/// Runs the stage on the video at `path`.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>, path: &Path) -> Result<Outcome, Error> {
    job.reporter.bookmark(0);
    let file = identify(job, path)?;
    let input = Input { name: "video".into(), sha256: file.sha256.clone() };
    let mut stage = match job.begin(&[], &[input])? {
        Begin::UpToDate(record) => {
            // The same content may have moved, or been touched: the next start need not read it again.
            job.run.moved_video(file)?;
            return Ok(Outcome::skipped(record));
        }
        Begin::Run(stage) => stage,
    };
    let reporter = &mut job.reporter;
    let mut frames = 0;
    let index = video::index(path, |position| {
        frames += 1;
        reporter.bookmark(frames);
        reporter.advance(position, file.size_bytes, "bytes");
    })?;
    if !stat(path)?.is_same_file(&file) {
        return Err(Error::Changing { path: path.to_path_buf() });
    }
    write(&mut stage, &file, &index)?;
    job.run.set_video(file);
    Ok(job.commit(stage)?)
}

fn stat(path: &Path) -> Result<VideoFile, video::Error> {
    VideoFile::stat(path).map_err(|source| video::Error::Unreadable { path: path.to_path_buf(), source })
}

/// Hashes the file, or trusts the hash of an earlier run when path, size and time of last
/// modification are what they were then.
fn identify(job: &Job<Config>, path: &Path) -> Result<VideoFile, Error> {
    let mut file = stat(path)?;
    // The manifest's path is text, and a name need not be: the file is opened by the path that was given.
    if !path.is_file() {
        return Err(video::Error::NotAFile { path: path.to_path_buf() }.into());
    }
    let known = job.run.manifest().video.as_ref();
    file.sha256 = match known.filter(|known| file.is_same_file(known)) {
        Some(known) => known.sha256.clone(),
        None => {
            // A large file that is no video is refused before it is hashed.
            video::check(path)?;
            run::files::sha256(path)?
        }
    };
    match known {
        // The same path with new content is the same video, edited; the same content elsewhere has moved.
        Some(known) if known.path != file.path && known.sha256 != file.sha256 => {
            Err(Error::OtherVideo { run_dir: job.run.root().to_path_buf(), other: known.path.clone() })
        }
        _ => Ok(file),
    }
}

fn write(stage: &mut StageRun, file: &VideoFile, index: &Index) -> Result<(), Error> {
    let facts = &index.facts;
    let secs: Vec<f64> = index.packets.iter().map(|packet| facts.t_secs(packet.pts_ticks)).collect();
    let last_secs = last_secs(index, &secs);
    let span = secs.first().zip(secs.last()).map(|(first, last)| last - first);
    let duration_secs = span.map_or(0.0, |span| span + last_secs.unwrap_or(0.0));
    let name = Path::new(&file.path).file_name().map(|n| n.to_string_lossy().into_owned());
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let video_id = file.video_id();
    stage.write([Video {
        video_id: video_id.clone(),
        file_name: name.unwrap_or_default(),
        sha256: file.sha256.clone(),
        container: facts.container.clone(),
        codec: facts.codec.clone(),
        width: facts.width.into(),
        height: facts.height.into(),
        rotation_degrees: facts.rotation_degrees.into(),
        time_base_num: facts.time_base_num.into(),
        time_base_den: facts.time_base_den.into(),
        start_secs: facts.start_secs,
        duration_secs,
        frame_count: count(index.packets.len()),
        size_bytes: i64::try_from(file.size_bytes).unwrap_or(i64::MAX),
    }])?;
    stage.write(index.packets.iter().enumerate().map(|(i, packet)| Frame {
        video_id: video_id.clone(),
        frame_idx: count(i),
        pts_ticks: packet.pts_ticks,
        t_secs: secs[i],
        is_key: packet.is_key,
        status: if packet.is_corrupt { FrameStatus::Corrupt } else { FrameStatus::Ok },
        duration_secs: secs.get(i + 1).map(|next| next - secs[i]).or(last_secs),
    }))?;
    index.warnings.iter().for_each(|warning| stage.warn(warning));
    stage.figure("frames", index.packets.len());
    stage.figure("duration_secs", duration_secs);
    Ok(())
}

/// Returns the duration of the last frame, seconds: what the container declares, or the usual duration of a frame; `None`
/// when neither is known.
fn last_secs(index: &Index, secs: &[f64]) -> Option<f64> {
    let packet = index.packets.last()?;
    match packet.duration_ticks {
        0 => geometry::usual_gap(secs),
        ticks => Some(index.facts.t_secs(packet.pts_ticks + ticks) - secs.last()?),
    }
}
