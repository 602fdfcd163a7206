//! Stage 3, `embed`: computes embeddings of crops, and pools those of a track into one.
//!
//! Reads `crops`; writes `embeddings`, `track_embeddings` and `track_views`.
//!
//! * [`Embedder`]: an embedder. Networks have one file each with source, preprocessing and `network`, which builds a
//!   [`Network`]:
//!   [`sface`], the default, [`retail`], a view beside it, [`dlib`], [`facenet`], [`vgg`], and behind [`arcface`] [`iresnet`] and
//!   [`mobilefacenet`].
//! * [`spec`]: the table of embedders, one row each.
//! * [`bag_of_words`]: SIFT and ORB as bags of visual words, built from [`descriptors`] and [`bow`].
//! * [`fusion`]: several networks as one.
//! * [`pool()`]: crops of a track to one vector.
//!
//! **Architecture invariant:** sees crops only, never a video. Results do not depend on the number
//! of threads or on what shares a batch.
//!
//! **Feature `opencv`** (default): the embedders `sift` and `orb` are OpenCV's. Without the feature the crate
//! does not link OpenCV and both are refused; everything else is the same.

pub mod arcface;
pub mod bag_of_words;
pub mod bow;
mod config;
pub mod descriptors;
pub mod dlib;
pub mod facenet;
pub mod fusion;
pub mod iresnet;
pub mod mobilefacenet;
mod network;
mod norm;
mod pool;
mod preparation;
pub mod retail;
pub mod sface;
mod sources;
pub mod spec;
pub mod vgg;
mod writer;

use std::path::{Path, PathBuf};

use candle_core::Tensor;
use failure::{Advice, Failure, exit};
use nn::device;
use nn::pinned::{Origin, PinnedWeights};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use run::stage::{Job, Outcome, Progress, Stage};
use run::{Begin, RunDir};
use schema::footer::Embedder as Footnote;
use schema::tables::Crop;
use schema::{Row as _, UnitVector};
use serde::Deserialize as _;

use crate::bow::Descriptors;
pub use crate::config::{AUTO, Config, Embedders};
use crate::descriptors::{Kind, describe};
pub use crate::network::Network;
pub use crate::pool::{Pooled, pool};
use crate::sources::Sources;
pub use crate::sources::WeightFile;
pub use crate::spec::{EmbedderSpec, Name};
use crate::writer::{ViewWriter, Writer};

/// Name, version and description of the stage.
pub const STAGE: Stage = Stage { name: "embed", version: 7, about: "Computes embeddings of face images" };

/// Crops embedded between two progress reports; bounds memory.
const CROPS_PER_PASS: usize = 256;

/// Crops that a worker gives the network at a time, so that weights are read once for several.
const CROPS_PER_BATCH: usize = 8;

/// Errors of this module.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The weights cannot be used.
    #[error(transparent)]
    Weights(#[from] nn::weights::Error),
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] device::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// The settings are invalid.
    #[error("[embed] {reason}")]
    Config {
        /// What is wrong.
        reason: String,
    },
    /// An embedder is OpenCV's, and the program was built without the feature `opencv`.
    #[error("the embedder {embedder} needs OpenCV, which this program was built without")]
    NeedsOpenCv {
        /// The embedder.
        embedder: Name,
    },
    /// No weight file was given for a network.
    #[error("missing weights for the embedder `{embedder}`")]
    NoWeights {
        /// The network.
        embedder: Name,
    },
    /// A crop is no image of the size its row says.
    #[error("`{}`: the crop of track {track_id}, frame {frame_idx} {reason}", path.display())]
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
    /// A vector has numbers that are not finite.
    #[error("`{}`: the embedding by `{embedder}` of the crop of track {track_id}, frame {frame_idx} is not finite", path.display())]
    NotFinite {
        /// The embedder.
        embedder: &'static str,
        /// The table.
        path: PathBuf,
        /// Track.
        track_id: i64,
        /// Frame.
        frame_idx: i64,
    },
    /// Threads cannot be started.
    #[error("failed to start threads: {reason}")]
    Threads {
        /// The system's own message.
        reason: String,
    },
    /// The network failed.
    #[error("the network `{embedder}` failed: {reason}")]
    Network {
        /// The embedder.
        embedder: &'static str,
        /// Message of candle.
        reason: String,
    },
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Weights(e) => e.advice(),
            Self::Device(e) => e.advice(),
            Self::Schema(e) => e.advice(),
            Self::Run(e) => e.advice(),
            Self::NeedsOpenCv { .. } => Advice::new(
                exit::USAGE,
                "build the program with its default features, or use another embedder",
            ),
            Self::NoWeights { embedder } => {
                let pass = format!("pass the weights with --weights {embedder}=FILE");
                // A run that was made with them keeps its embedders, and does not download these.
                let is_stored = |pinned: &PinnedWeights| matches!(pinned.origin, Origin::Storage(_));
                let hint = match embedder.spec().pinned().is_some_and(is_stored) {
                    true => format!(
                        "obtain the weights with `facetrack models fetch {embedder}`, {pass}, or choose the embedders \
                         anew with --from embed"
                    ),
                    false => pass,
                };
                Advice::new(exit::INPUT, hint)
            }
            Self::Crop { .. } => Advice::new(exit::CONTRACT, "run again with --from detect-track"),
            Self::NotFinite { .. } => Advice::new(
                exit::INPUT,
                "the weights are damaged, belong to another network, or are too large for f16: use --precision f32",
            ),
            Self::Config { .. } => exit::USAGE.into(),
            Self::Network { .. } | Self::Threads { .. } => exit::UNEXPECTED.into(),
        }
    }
}

/// An embedder of aligned face images.
pub trait Embedder: Sync {
    /// Row of the table of embedders.
    fn spec(&self) -> &'static EmbedderSpec;
    /// Name, as in the column `embedder`.
    fn name(&self) -> &'static str {
        self.spec().name
    }
    /// Length of its vectors.
    fn dim(&self) -> usize {
        self.spec().dim
    }
    /// Licence of the weights, as an SPDX expression.
    fn license(&self) -> &str {
        self.spec().license()
    }
    /// Crops that it wants at a time.
    fn batch(&self) -> usize {
        CROPS_PER_BATCH
    }
    /// Weight of vectors in the pooling of a track: this power of their norm. Networks give unclear faces
    /// short vectors.
    fn norm_power(&self) -> i32 {
        4
    }
    /// The network's input for one crop: RGB, `side × side` pixels as `detect-track` aligns them.
    ///
    /// # Errors
    /// A message about the crop.
    fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String>;
    /// Maps prepared crops, joined along their first axis, to their vectors, of any norm. A vector must not
    /// depend on what shares the batch.
    ///
    /// # Errors
    /// candle's own.
    fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>>;
}

/// Runs the stage with the weights in `files`.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>, files: &[WeightFile]) -> Result<Outcome, Error> {
    let earlier = job.run.manifest().stage(STAGE.name).filter(|_| !job.force);
    let earlier = earlier.and_then(|record| Config::deserialize(record.config.clone()).ok());
    job.config = job.config.resolved(earlier.as_ref(), |name| files.iter().any(|file| file.name == name));
    let networks = job.config.networks()?;
    let place = job.config.place()?;
    let device = place.choice().to_string();
    // Other precisions give other vectors.
    job.config.precision = place.precision().to_string();
    let config = job.config.clone();
    let sources = Sources::read(&networks, files, place)?;
    let mut stage = match job.begin(&["crops"], &sources.inputs())? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let load = |names: &[Name]| -> Result<Vec<_>, Error> {
        let load = |name: &Name| {
            let embedder = sources.embedder(*name, &config, |kind| described(&job.run, kind))?;
            Ok((sources.note(*name, embedder.as_ref(), &config), embedder))
        };
        names.iter().map(load).collect()
    };
    let (notes, mut embedders): (Vec<_>, Vec<_>) = load(config.embedders.names())?.into_iter().unzip();
    let (view_notes, mut views): (Vec<_>, Vec<_>) = load(&config.views)?.into_iter().unzip();
    let mut writer = Writer::new(&stage, job.run.video_id()?, &notes)?;
    let mut view_writer = ViewWriter::new(&stage, job.run.video_id()?, &view_notes)?;
    let threads = ThreadPoolBuilder::new().num_threads(job.threads).build();
    let pool = threads.map_err(|e| Error::Threads { reason: e.to_string() })?;
    // Rows are sorted by embedder; the footer keeps the order of the settings.
    embedders.sort_by_key(|embedder| embedder.name());
    views.sort_by_key(|embedder| embedder.name());
    let of = (embedders.len() + views.len()) as u64;
    for (i, embedder) in embedders.iter().chain(&views).enumerate() {
        let write = |crops: &[Crop], vectors| match i.checked_sub(embedders.len()) {
            None => writer.write(embedder.as_ref(), crops, vectors),
            Some(_) => view_writer.write(embedder.as_ref(), crops, &vectors),
        };
        embed_table(job, embedder.as_ref(), (i as u64, of), &pool, write)?;
    }
    let names = config.embedders.names().iter().chain(&config.views).map(|name| name.as_str());
    let names = names.chain((config.flip == Some(true)).then_some("mirror images"));
    stage.figure("embedders", names.collect::<Vec<_>>().join(" + "));
    stage.figure("device", device);
    stage.figure("precision", config.precision);
    writer.finish(&mut stage)?;
    view_writer.finish(&mut stage)?;
    Ok(job.commit(stage)?)
}

/// Checks settings and the user's own weights as [`run`] will use them, without a run.
///
/// # Errors
/// See [`Error`].
pub fn check(config: &Config, own: &[WeightFile]) -> Result<(), Error> {
    let place = config.place()?;
    for file in own {
        Sources::read(&[file.name], own, place.clone())?.network(file.name)?;
    }
    Ok(())
}

/// Embeds a single crop, RGB, `side × side` pixels, as the stage embeds the crops of a run with default settings and
/// without mirror images. Returns the embedder with its weights, as in the footers of tables, and the vector.
///
/// # Errors
/// [`Error::Config`] for an embedder that learns from the crops of a run; otherwise see [`Error`].
pub fn embed_one(
    name: Name,
    files: &[WeightFile],
    crop: &[u8],
    side: usize,
) -> Result<(Footnote, UnitVector), Error> {
    let config = Config { embedders: Embedders::Named(vec![name]), ..Config::default() };
    let place = config.place()?;
    let sources = Sources::read(&config.networks()?, files, place)?;
    let learns = |_| Err(Error::Config { reason: format!("`{name}` learns from the faces of one video") });
    let embedder = sources.embedder(name, &config, learns)?;
    let failed = |reason| Error::Network { embedder: name.as_str(), reason };
    let input = embedder.prepare(crop, side).map_err(failed)?;
    let vectors = embedder.embed(&input).map_err(|e| failed(e.to_string()))?;
    let vector = vectors.first().and_then(|vector| UnitVector::normalised(vector));
    let vector = vector.ok_or_else(|| failed("the embedding has no direction".into()))?;
    Ok((sources.note(name, embedder.as_ref(), &config), vector))
}

/// Descriptors of the crops that a vocabulary is learned from.
fn described(run: &RunDir, kind: Kind) -> Result<Vec<Descriptors>, Error> {
    let path = run.root().join(Crop::TABLE.file_name());
    let table = run.open_table::<Crop>()?;
    let mut wanted = bow::sampled(usize::try_from(table.row_count()).unwrap_or(usize::MAX)).peekable();
    let mut found = Vec::new();
    let mut number = 0;
    for batch in table {
        for crop in batch? {
            if wanted.next_if_eq(&number).is_some() {
                let described = decode(&crop).and_then(|(rgb, side)| describe(kind, &rgb, side));
                found.push(described.map_err(|reason| wrong_crop(&crop, &path, reason))?);
            }
            number += 1;
        }
    }
    Ok(found)
}

/// Embeds every crop of the run. For the progress, `passed` embedders of `of` have seen all crops.
fn embed_table(
    job: &mut Job<Config>,
    embedder: &dyn Embedder,
    (passed, of): (u64, u64),
    pool: &ThreadPool,
    mut write: impl FnMut(&[Crop], Vec<Vec<f32>>) -> Result<(), Error>,
) -> Result<(), Error> {
    let path = job.run.root().join(Crop::TABLE.file_name());
    let mut batches = job.run.open_table::<Crop>()?;
    let total = batches.row_count();
    let mut done = passed * total;
    let mut waiting: Vec<Crop> = Vec::new();
    loop {
        let batch = batches.next().transpose()?;
        let at_end = batch.is_none();
        waiting.extend(batch.into_iter().flatten());
        // The last track may go on in the next batch.
        let open = waiting.last().filter(|_| !at_end).map(|last| last.track_id);
        let whole = open.map_or(waiting.len(), |open| waiting.partition_point(|crop| crop.track_id < open));
        let rest = waiting.split_off(whole);
        for crops in passes(&waiting, CROPS_PER_PASS.max(embedder.batch() * job.threads)) {
            let work = Work { embedder, flip: job.config.flip == Some(true), path: &path };
            write(crops, work.vectors(crops, pool)?)?;
            done += crops.len() as u64;
            job.reporter.advance(done, of * total, "crops");
        }
        waiting = rest;
        if at_end {
            return Ok(());
        }
    }
}

/// Cuts crops into groups of whole tracks of about `limit` crops.
fn passes(crops: &[Crop], limit: usize) -> Vec<&[Crop]> {
    let mut groups: Vec<&[Crop]> = Vec::new();
    let mut start = 0;
    let mut end = 0;
    for track in crops.chunk_by(|a, b| a.track_id == b.track_id) {
        end += track.len();
        if end - start >= limit {
            groups.push(&crops[start..end]);
            start = end;
        }
    }
    if end > start {
        groups.push(&crops[start..end]);
    }
    groups
}

/// Embedding of crops.
#[derive(Clone, Copy)]
struct Work<'a> {
    embedder: &'a dyn Embedder,
    /// See [`Config::flip`].
    flip: bool,
    /// Of the crops' table.
    path: &'a Path,
}

impl Work<'_> {
    /// The raw vector of every crop, in order, on the threads of the pool.
    fn vectors(self, crops: &[Crop], pool: &ThreadPool) -> Result<Vec<Vec<f32>>, Error> {
        let batches = || crops.par_chunks(self.embedder.batch()).map(|crops| self.batch(crops));
        let batches: Vec<Result<Vec<_>, Error>> = pool.install(|| batches().collect());
        let mut vectors = Vec::with_capacity(crops.len());
        for batch in batches {
            vectors.extend(batch?);
        }
        Ok(vectors)
    }

    fn batch(self, crops: &[Crop]) -> Result<Vec<Vec<f32>>, Error> {
        let mut inputs = Vec::new();
        for crop in crops {
            let wrong = |reason| wrong_crop(crop, self.path, reason);
            let (mut rgb, side) = decode(crop).map_err(wrong)?;
            inputs.push(self.embedder.prepare(&rgb, side).map_err(wrong)?);
            if self.flip {
                mirror(&mut rgb, side);
                inputs.push(self.embedder.prepare(&rgb, side).map_err(wrong)?);
            }
        }
        let embedder = self.embedder.name();
        let failed = |e: candle_core::Error| Error::Network { embedder, reason: e.to_string() };
        let vectors =
            Tensor::cat(&inputs, 0).and_then(|inputs| self.embedder.embed(&inputs)).map_err(failed)?;
        let vectors: Vec<_> = vectors.chunks(inputs.len() / crops.len()).map(mean).collect();
        for (crop, vector) in crops.iter().zip(&vectors) {
            if !vector.iter().all(|x| x.is_finite()) {
                return Err(Error::NotFinite {
                    embedder,
                    path: self.path.to_path_buf(),
                    track_id: crop.track_id,
                    frame_idx: crop.frame_idx,
                });
            }
        }
        Ok(vectors)
    }
}

fn wrong_crop(crop: &Crop, path: &Path, reason: String) -> Error {
    let Crop { track_id, frame_idx, .. } = *crop;
    Error::Crop { path: path.to_path_buf(), track_id, frame_idx, reason }
}

/// Swaps left and right of an RGB picture.
fn mirror(rgb: &mut [u8], side: usize) {
    for row in rgb.as_chunks_mut::<3>().0.chunks_mut(side.max(1)) {
        row.reverse();
    }
}

/// Mean of one or more vectors of one length, so that the norm of a crop with its mirror image means what that of
/// the crop alone does.
fn mean(vectors: &[Vec<f32>]) -> Vec<f32> {
    let mut mean = vectors.first().cloned().unwrap_or_default();
    for vector in vectors.iter().skip(1) {
        mean.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
    }
    mean.iter_mut().for_each(|x| *x /= vectors.len() as f32);
    mean
}

/// RGB bytes and side of a square crop.
fn decode(crop: &Crop) -> Result<(Vec<u8>, usize), String> {
    let encoded = crop.image.as_ref().ok_or("has no image")?;
    let image =
        picture::decode(encoded, crop.width, crop.height).map_err(|e| format!("cannot be decoded: {e}"))?;
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    if width != height {
        return Err(format!("has {width}×{height} pixels, which is not square"));
    }
    if (i64::from(width), i64::from(height)) != (crop.width, crop.height) {
        return Err(format!("has {width}×{height} pixels, its row declares {}×{}", crop.width, crop.height));
    }
    Ok((image.into_raw(), width as usize))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::spec::Source;

    const FIRST: EmbedderSpec = EmbedderSpec {
        name: "first",
        dim: 2,
        source: Source::Fusion,
        same_up_to: None,
        similarity: None,
        quality: None,
    };

    /// Gives the first byte of a crop, twice; NaN for 255.
    struct First;

    impl Embedder for First {
        fn spec(&self) -> &'static EmbedderSpec {
            &FIRST
        }

        fn prepare(&self, rgb: &[u8], side: usize) -> Result<Tensor, String> {
            if side != 4 {
                return Err(format!("is {side} pixels wide, not 4"));
            }
            Tensor::from_slice(&rgb[..1], (1, 1), &Device::Cpu).map_err(|e| e.to_string())
        }

        fn embed(&self, inputs: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
            let value = |byte: &Vec<u8>| if byte[0] == 255 { f32::NAN } else { f32::from(byte[0]) };
            Ok(inputs.to_vec2::<u8>()?.iter().map(|byte| vec![value(byte); 2]).collect())
        }
    }

    /// A crop whose pixels are `left` and, in the right half, `right`.
    fn crop(side: u32, left: u8, right: u8) -> Crop {
        let pixel = |x, _| image::Rgb([if x < side / 2 { left } else { right }; 3]);
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_fn(side, side, pixel).write_to(&mut png, image::ImageFormat::Png).unwrap();
        Crop {
            video_id: "v".into(),
            track_id: 3,
            rank: 0,
            frame_idx: 17,
            width: side.into(),
            height: side.into(),
            image: Some(png.into_inner()),
            transform: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            quality: 1.0,
        }
    }

    fn vectors(crops: &[Crop], flip: bool, threads: usize) -> Result<Vec<Vec<f32>>, String> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let work = Work { embedder: &First, flip, path: Path::new("crops.parquet") };
        work.vectors(crops, &pool).map_err(|e| e.to_string())
    }

    #[test]
    fn a_mirror_image_counts_as_much_as_the_crop() {
        let crops: Vec<_> = (0..20).map(|i| crop(4, i, 100)).collect();
        for threads in [1, 3] {
            let plain = vectors(&crops, false, threads).unwrap();
            let flipped = vectors(&crops, true, threads).unwrap();
            for (i, (plain, flipped)) in plain.iter().zip(&flipped).enumerate() {
                assert_eq!((plain, flipped), (&vec![i as f32; 2], &vec![(i as f32 + 100.0) / 2.0; 2]));
            }
        }
    }

    #[test]
    fn a_crop_that_cannot_be_used_is_named() {
        let good = crop(4, 1, 1);
        let cases = [
            (Crop { image: Some(vec![1, 2, 3]), ..good.clone() }, "cannot be decoded: "),
            (Crop { image: None, ..good.clone() }, "has no image"),
            (Crop { width: 5, ..good.clone() }, "has 4×4 pixels, its row declares 5×4"),
            (Crop { width: 3, ..good.clone() }, "cannot be decoded: Image size exceeds limit"),
            (crop(6, 1, 1), "is 6 pixels wide, not 4"),
        ];
        for (bad, reason) in cases {
            let message = vectors(&[good.clone(), bad], false, 1).unwrap_err();
            let expected = format!("`crops.parquet`: the crop of track 3, frame 17 {reason}");
            assert!(message.starts_with(&expected), "{message}");
        }
        let message = vectors(&[good, crop(4, 255, 1)], false, 1).unwrap_err();
        let expected = "the embedding by `first` of the crop of track 3, frame 17 is not finite";
        assert_eq!(message, format!("`crops.parquet`: {expected}"));
    }
}
