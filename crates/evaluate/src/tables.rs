//! What this stage reads of a run.

use std::collections::BTreeMap;

use geometry::BBox;
use report::input::TrackBox;
use run::RunDir;
use schema::UnitVector;
use schema::tables::{
    Calibration, Cluster, Constraint, Detection, Frame, Identity, Linkage, Shot, Track, TrackEmbedding, Video,
};

use crate::cohesion::Point;
use crate::error::Result;

/// Names of every table this stage reads.
pub const INPUTS: [&str; 12] = [
    "videos",
    "frames",
    "shots",
    "detections",
    "tracks",
    "crops",
    "track_embeddings",
    "constraints",
    "clusters",
    "calibration",
    "linkage",
    "identities",
];

/// The tables of a run, less the pictures, which are read one batch at a time.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The video.
    pub video: Video,
    /// When each frame is shown, seconds.
    pub times: Vec<f64>,
    /// Its shots.
    pub shots: Vec<Shot>,
    /// Every track, by id.
    pub tracks: Vec<Track>,
    /// One row per track, by id.
    pub clusters: Vec<Cluster>,
    /// One row per cluster, by id.
    pub identities: Vec<Identity>,
    /// Constrained pairs.
    pub constraints: Vec<Constraint>,
    /// What similarities mean, by rising similarity.
    pub calibration: Vec<Calibration>,
    /// Merges.
    pub linkage: Vec<Linkage>,
    /// Number of boxes, also of those that belong to no track.
    pub n_detections: usize,
    /// Boxes that belong to a track.
    pub found: Vec<TrackBox>,
    /// Vector of each track from the embedder that the footer names first.
    vectors: BTreeMap<i64, UnitVector>,
}

impl Tables {
    /// Reads everything.
    pub fn read(run: &RunDir) -> Result<Self> {
        let clusters: Vec<Cluster> = run.read()?;
        let (n_detections, found) = read_found(run, &clusters)?;
        Ok(Self {
            video: run.read_one()?,
            shots: run.read()?,
            tracks: run.read()?,
            identities: run.read()?,
            constraints: run.read()?,
            calibration: run.read()?,
            linkage: run.read()?,
            times: run.read::<Frame>()?.into_iter().map(|frame| frame.t_secs).collect(),
            vectors: read_vectors(run)?,
            clusters,
            n_detections,
            found,
        })
    }

    /// Linked tracks with their vectors; noise and tracks without a vector are left out.
    pub fn points(&self) -> Vec<Point<'_>> {
        let point = |c: &Cluster| {
            let vector = self.vectors.get(&c.track_id)?.as_slice();
            Some(Point { cluster_id: c.cluster_id?, vector })
        };
        self.clusters.iter().filter_map(point).collect()
    }

    /// Tracks that are the leaves of `linkage`: all with a vector, by id.
    pub fn leaves(&self) -> Vec<i64> {
        self.vectors.keys().copied().collect()
    }
}

fn read_found(run: &RunDir, clusters: &[Cluster]) -> Result<(usize, Vec<TrackBox>)> {
    let cluster_of: BTreeMap<i64, Option<i64>> =
        clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let (mut n, mut found) = (0, Vec::new());
    for batch in run.open_table::<Detection>()? {
        let batch = batch?;
        n += batch.len();
        found.extend(batch.into_iter().filter_map(|d| {
            let track_id = d.track_id?;
            let [x_min, y_min, x_max, y_max] = [d.x_min, d.y_min, d.x_max, d.y_max].map(f64::from);
            let bbox = BBox { x_min, y_min, x_max, y_max };
            let cluster_id = cluster_of.get(&track_id).copied().flatten();
            Some(TrackBox { frame_idx: d.frame_idx, bbox, track_id, cluster_id })
        }));
    }
    Ok((n, found))
}

fn read_vectors(run: &RunDir) -> Result<BTreeMap<i64, UnitVector>> {
    let (_, rows) = run.read_first_embedder(|row: &TrackEmbedding| &row.embedder)?;
    Ok(rows.into_iter().map(|row| (row.track_id, row.embedding)).collect())
}
