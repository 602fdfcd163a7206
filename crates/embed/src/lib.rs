//! Stage 3, `embed`: face images to vectors, and the crops of a track pooled into one vector.
//!
//! Reads `crops`; writes `embeddings` and `track_embeddings`.
//!
//! * [`sface`]: the default network. One file per network: source, preprocessing, `new`, `forward`.
//! * [`bow`], [`descriptors`]: SIFT and ORB, without a network.
//! * [`Embedder`]: what every network offers.
//! * [`pool()`]: crops of a track to one vector.
//!
//! **Architecture invariant:** sees crops only, never a video. Results do not depend on the number
//! of threads or on what shares a batch.

pub mod arcface;
pub mod bow;
pub mod descriptors;
pub mod dlib;
pub mod facenet;
pub mod iresnet;
pub mod mobilefacenet;
mod norm;
mod pool;
mod preparation;
pub mod sface;
pub mod vgg;

use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use nn::weights::Weights;
use schema::footer::Embedder as EmbedderNote;
use schema::io::TableWriter;
use schema::manifest::Input;
use schema::run::{Begin, StageRun};
use schema::stage::{Failure, Job, Outcome, Progress, Stage, exit};
use schema::tables::{Crop, Embedding, TrackEmbedding};
use schema::{Symbol, UnitVector};
use serde::{Deserialize, Serialize};

pub use crate::pool::{Pooled, pool};
use crate::sface::SFace;

/// This stage.
pub const STAGE: Stage = Stage { name: "embed", version: 1, about: "Turns face images into vectors" };

/// Crops embedded between two progress reports; bounds memory.
const CROPS_PER_PASS: usize = 256;

/// Crops that a worker gives the network at a time, so that weights are read once for several.
const CROPS_PER_BATCH: usize = 8;

/// Section `[embed]` of the configuration; it has no keys yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be used.
    #[error(transparent)]
    Weights(#[from] nn::weights::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// A crop is no image of the size its row says.
    #[error("{}: the crop of track {track_id}, frame {frame_idx} {reason}", path.display())]
    Crop {
        /// The table.
        path: PathBuf,
        /// Track.
        track_id: i64,
        /// Frame.
        frame_idx: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// The network failed.
    #[error("the network {embedder} failed: {reason}")]
    Network {
        /// The embedder.
        embedder: &'static str,
        /// candle's own words.
        reason: String,
    },
}

impl Failure for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Weights(e) => e.hint(),
            Self::Schema(e) => e.hint(),
            Self::Crop { .. } => Some("run again with --from detect-track".into()),
            Self::Network { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Weights(e) => e.exit_code(),
            Self::Schema(e) => e.exit_code(),
            Self::Crop { .. } => exit::CONTRACT,
            Self::Network { .. } => exit::UNEXPECTED,
        }
    }
}

/// A network that turns an aligned face image into a vector.
pub trait Embedder: Sync {
    /// Name, as in the column `embedder`.
    fn name(&self) -> &'static str;
    /// Length of its vectors.
    fn dim(&self) -> usize;
    /// Licence of the weights, as an SPDX expression.
    fn license(&self) -> &'static str;
    /// The network's input for one crop: RGB, `side × side` pixels as `detect-track` aligns them.
    ///
    /// # Errors
    /// Says what is wrong with the crop.
    fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String>;
    /// Maps prepared crops, joined along their first axis, to their vectors, of any norm. A vector must not
    /// depend on what shares the batch.
    ///
    /// # Errors
    /// candle's own.
    fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>>;
}

/// Runs the stage with the SFace weights at `weights`.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>, weights: &Path) -> Result<Outcome, Error> {
    let weights = Weights::read(weights, &Device::Cpu)?;
    let input = Input { name: "weights".into(), sha256: weights.sha256().to_owned() };
    let mut stage = match job.begin(&["crops"], &[input])? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let embedder = weights.load("sface", |vb| SFace::new(&vb))?;
    let note = EmbedderNote {
        name: embedder.name().to_owned(),
        dim: embedder.dim(),
        weights_sha256: weights.sha256().to_owned(),
        license: embedder.license().to_owned(),
    };
    let mut writer = Writer::new(&stage, job.run.video_id()?, embedder.name(), &[note])?;
    let path = job.run.root().join("crops.parquet");
    let mut batches = job.run.open_table::<Crop>()?;
    let (total, mut done) = (batches.row_count(), 0);
    let mut waiting: Vec<Crop> = Vec::new();
    loop {
        let batch = batches.next().transpose()?;
        let at_end = batch.is_none();
        waiting.extend(batch.into_iter().flatten());
        // The last track may go on in the next batch.
        let open = waiting.last().filter(|_| !at_end).map(|last| last.track_id);
        let whole = open.map_or(waiting.len(), |open| waiting.partition_point(|crop| crop.track_id < open));
        let rest = waiting.split_off(whole);
        for crops in passes(&waiting) {
            writer.write(crops, &embed_all(&embedder, crops, job.threads, &path)?)?;
            done += crops.len() as u64;
            job.reporter.advance(done, total, "crops");
        }
        waiting = rest;
        if at_end {
            break;
        }
    }
    writer.finish(&mut stage)?;
    Ok(job.commit(stage)?)
}

/// Cuts crops into groups of whole tracks of about [`CROPS_PER_PASS`] crops.
fn passes(crops: &[Crop]) -> Vec<&[Crop]> {
    let mut groups: Vec<&[Crop]> = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for track in crops.chunk_by(|a, b| a.track_id == b.track_id) {
        end += track.len();
        if end - start >= CROPS_PER_PASS {
            groups.push(&crops[start..end]);
            start = end;
        }
    }
    if end > start {
        groups.push(&crops[start..end]);
    }
    groups
}

/// The raw vector of every crop, in order; `threads` crops at a time.
fn embed_all(
    embedder: &dyn Embedder,
    crops: &[Crop],
    threads: usize,
    path: &Path,
) -> Result<Vec<Vec<f32>>, Error> {
    let share = crops.len().div_ceil(threads).max(1);
    let parts: Vec<Result<Vec<_>, Error>> = std::thread::scope(|scope| {
        let embed = |part| move || embed_part(embedder, part, path);
        let workers: Vec<_> = crops.chunks(share).map(|part| scope.spawn(embed(part))).collect();
        let panicked = || Error::Network { embedder: embedder.name(), reason: "the worker panicked".into() };
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    let mut vectors = Vec::with_capacity(crops.len());
    for part in parts {
        vectors.extend(part?);
    }
    Ok(vectors)
}

fn embed_part(embedder: &dyn Embedder, crops: &[Crop], path: &Path) -> Result<Vec<Vec<f32>>, Error> {
    let failed = |e: candle_core::Error| Error::Network { embedder: embedder.name(), reason: e.to_string() };
    let mut vectors = Vec::with_capacity(crops.len());
    for batch in crops.chunks(CROPS_PER_BATCH) {
        let inputs: Vec<_> =
            batch.iter().map(|crop| prepare(embedder, crop, path)).collect::<Result<_, _>>()?;
        let inputs = Tensor::cat(&inputs, 0).map_err(failed)?;
        vectors.extend(embedder.embed(&inputs).map_err(failed)?);
    }
    Ok(vectors)
}

fn prepare(embedder: &dyn Embedder, crop: &Crop, path: &Path) -> Result<Tensor, Error> {
    let wrong = |reason: String| Error::Crop {
        path: path.to_path_buf(),
        track_id: crop.track_id,
        frame_idx: crop.frame_idx,
        reason,
    };
    decode(crop).and_then(|(rgb, side)| embedder.prepare(&rgb, side)).map_err(wrong)
}

/// RGB bytes and side of a square crop.
fn decode(crop: &Crop) -> Result<(Vec<u8>, usize), String> {
    let image = image::load_from_memory_with_format(&crop.image, image::ImageFormat::Png)
        .map_err(|e| format!("cannot be decoded: {e}"))?
        .into_rgb8();
    let (width, height) = image.dimensions();
    if width != height {
        return Err(format!("has {width}×{height} pixels, which is not square"));
    }
    if (i64::from(width), i64::from(height)) != (crop.width, crop.height) {
        return Err(format!("has {width}×{height} pixels, its row says {}×{}", crop.width, crop.height));
    }
    Ok((image.into_raw(), width as usize))
}

/// Writes the two tables of this stage.
struct Writer {
    video_id: Symbol,
    embedder: Symbol,
    embeddings: TableWriter<Embedding>,
    tracks: TableWriter<TrackEmbedding>,
    n_crops: u64,
    n_tracks: u64,
    unusable: u64,
}

impl Writer {
    fn new(stage: &StageRun, video_id: Symbol, embedder: &str, note: &[EmbedderNote]) -> Result<Self, Error> {
        Ok(Self {
            video_id,
            embedder: embedder.into(),
            embeddings: stage.create(note)?,
            tracks: stage.create(note)?,
            n_crops: 0,
            n_tracks: 0,
            unusable: 0,
        })
    }

    /// Writes whole tracks: their crops' vectors and the pooled one.
    fn write(&mut self, crops: &[Crop], vectors: &[Vec<f32>]) -> Result<(), Error> {
        let mut vectors = vectors.iter();
        for track in crops.chunk_by(|a, b| a.track_id == b.track_id) {
            let mut crops: Vec<_> = track.iter().zip(vectors.by_ref()).collect();
            crops.sort_by_key(|(crop, _)| crop.frame_idx);
            self.write_track(&crops)?;
        }
        Ok(())
    }

    fn write_track(&mut self, crops: &[(&Crop, &Vec<f32>)]) -> Result<(), Error> {
        let mut usable: Vec<&[f32]> = Vec::new();
        for (crop, vector) in crops {
            // A vector without direction says nothing about anyone.
            let Some(embedding) = UnitVector::normalised(vector) else {
                self.unusable += 1;
                continue;
            };
            usable.push(vector);
            self.n_crops += 1;
            self.embeddings.push(Embedding {
                video_id: self.video_id.clone(),
                track_id: crop.track_id,
                frame_idx: crop.frame_idx,
                embedder: self.embedder.clone(),
                embedding,
                norm: vector.iter().map(|x| x * x).sum::<f32>().sqrt(),
            })?;
        }
        let (Some((crop, _)), Some(pooled)) = (crops.first(), pool(&usable)) else { return Ok(()) };
        self.n_tracks += 1;
        self.tracks.push(TrackEmbedding {
            video_id: self.video_id.clone(),
            track_id: crop.track_id,
            embedder: self.embedder.clone(),
            embedding: pooled.vector,
            n_crops: usable.len() as i64,
            spread: pooled.spread,
        })?;
        Ok(())
    }

    fn finish(self, stage: &mut StageRun) -> Result<(), Error> {
        stage.figure("crops_embedded", self.n_crops);
        stage.figure("tracks_embedded", self.n_tracks);
        if self.unusable > 0 {
            stage.warn(format!("{} crops gave a vector without direction and are left out", self.unusable));
        }
        stage.finish(self.embeddings)?;
        stage.finish(self.tracks)?;
        Ok(())
    }
}
