//! Stage 4, `cluster`: links the tracks that show the same person.
//!
//! Reads `frames`, `tracks`, `embeddings` and `track_embeddings`; writes `clusters`, `linkage`,
//! `constraints` and `identities`.
//!
//! * [`agglomerate`]: average linkage under constraints of up to a million items, over the
//!   [`neighbours`] of their vectors.
//! * [`linkage`]: the dendrogram under constraints, and its cut.
//! * [`mod@constraints`]: which tracks cannot show the same person.
//! * [`identities`]: labels to rows: who is on screen, when, and how sure that is.
//!
//! **Architecture invariant:** sees vectors, times and constraints; never pixels, never labels. The
//! result does not depend on threads or on the order of rows.

pub mod agglomerate;
pub mod constraints;
pub mod identities;
pub mod items;
pub mod linkage;
pub mod neighbours;
mod parallel;
pub mod synthetic;

use schema::footer::Footer;
use schema::run::{Begin, RunDir};
use schema::stage::{Failure, Job, Outcome, Progress, Stage, exit};
use schema::tables::{Embedding, Frame, Linkage, Track, TrackEmbedding};
use schema::{Row, Symbol};
use serde::{Deserialize, Serialize};

use crate::identities::Linked;
use crate::linkage::Pairs;

/// This stage.
pub const STAGE: Stage =
    Stage { name: "cluster", version: 1, about: "Links the tracks that show the same person" };

/// More tracks than that would need more than 4 GiB: nine bytes a pair, twice.
const MAX_TRACKS: usize = 20_000;

/// Section `[cluster]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Clusters whose mean cosine distance is at most this are joined, 0 to below 2. Unless given, the
    /// distance that the embedder's own entry in the footer says.
    pub threshold: Option<f64>,
}

/// For vectors of which no such distance is known: that of SFace.
const SAME_UP_TO: f64 = 0.637;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The threshold is out of range.
    #[error("[cluster] threshold is {threshold}, which is not between 0 and 2")]
    Threshold {
        /// The value given.
        threshold: f64,
    },
    /// There are more tracks than this method can hold in memory.
    #[error("{n_tracks} tracks are more than the {MAX_TRACKS} that this method can link")]
    TooManyTracks {
        /// Number of tracks.
        n_tracks: usize,
    },
}

impl Failure for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Schema(e) => e.hint(),
            Self::Threshold { .. } => {
                Some("0.3 splits more, 0.8 joins more; leave it out for the default".into())
            }
            Self::TooManyTracks { .. } => Some("cut the video into parts and run each".into()),
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Schema(e) => e.exit_code(),
            Self::Threshold { .. } => exit::USAGE,
            Self::TooManyTracks { .. } => exit::INPUT,
        }
    }
}

/// Runs the stage.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>) -> Result<Outcome, Error> {
    if let Some(threshold) = job.config.threshold.filter(|t| !(0.0..linkage::FORBIDDEN).contains(t)) {
        return Err(Error::Threshold { threshold });
    }
    let mut stage = match job.begin(&["frames", "tracks", "embeddings", "track_embeddings"], &[])? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let tracks = job.run.read::<Track>()?;
    let (footer, vectors) = of_first(&job.run, |row: &TrackEmbedding| &row.embedder)?;
    let known = footer.embedders.first().and_then(|embedder| embedder.same_up_to);
    let threshold = job.config.threshold.or(known).unwrap_or(SAME_UP_TO);
    if let (None, None, [first, ..]) = (job.config.threshold, known, footer.embedders.as_slice()) {
        stage.warn(format!(
            "nothing is known of the distances of `{}`; tracks are linked up to {SAME_UP_TO}, which may be far \
             off: give [cluster] threshold",
            first.name
        ));
    }
    if vectors.len() > MAX_TRACKS {
        return Err(Error::TooManyTracks { n_tracks: vectors.len() });
    }
    let overlaps = constraints::overlaps(&tracks);
    let pairs = constrained(&vectors, &overlaps);
    let merges = linkage::average_linkage(pairs.clone());
    let labels = linkage::cut(pairs.len(), &merges, threshold);
    let linked = Linked {
        tracks: &tracks,
        vectors: &vectors,
        crops: &of_first(&job.run, |row: &Embedding| &row.embedder)?.1,
        frames: &job.run.read::<Frame>()?,
        pairs: &pairs,
        labels: &labels,
        threshold,
    };
    let rows = linked.rows();
    let video_id = job.run.video_id()?;
    stage.figure("threshold", threshold);
    stage.figure("identities", rows.identities.len());
    stage.figure("noise_tracks", rows.clusters.iter().filter(|c| c.is_noise).count());
    stage.write(constraints::rows(&video_id, &overlaps, &rows.clusters))?;
    stage.write(rows.clusters)?;
    stage.write(rows.identities)?;
    stage.write(merges.iter().enumerate().map(|(step, merge)| Linkage {
        video_id: video_id.clone(),
        step: step as i64,
        left: merge.left as i64,
        right: merge.right as i64,
        distance: merge.height,
        size: merge.size as i64,
    }))?;
    job.reporter.advance(tracks.len() as u64, tracks.len() as u64, "tracks");
    Ok(job.commit(stage)?)
}

/// The rows of the embedder that tracks are linked by, and the footer of their table.
fn of_first<R: Row + Clone>(
    run: &RunDir,
    embedder: impl Fn(&R) -> &Symbol,
) -> Result<(Footer, Vec<R>), Error> {
    let table = run.open_table::<R>()?;
    let footer = table.footer().clone();
    let mut rows = Vec::new();
    for batch in table {
        rows.extend(batch?.into_iter().filter(|row| footer.is_first(embedder(row).as_str())));
    }
    Ok((footer, rows))
}

/// Distances between the tracks that have a vector, and which of them overlap in time.
fn constrained(vectors: &[TrackEmbedding], overlaps: &[(i64, i64)]) -> Pairs {
    let slices: Vec<&[f32]> = vectors.iter().map(|v| v.embedding.as_slice()).collect();
    let mut pairs = Pairs::cosine(&slices);
    let place = |track_id: i64| vectors.binary_search_by_key(&track_id, |v| v.track_id).ok();
    for (a, b) in overlaps {
        if let (Some(a), Some(b)) = (place(*a), place(*b)) {
            pairs.forbid(a, b);
        }
    }
    pairs
}
