//! What this stage reads of a run.

use std::collections::{BTreeMap, BTreeSet};

use geometry::BBox;
use report::input::{self, TrackBox};
use run::RunDir;
use schema::UnitVector;
use schema::footer::Picture;
use schema::tables::{Cluster, Constraint, Detection, Frame, Track, TrackEmbedding};

use crate::cohesion::Point;
use crate::error::Result;

/// Names of the tables that this stage reads of every run.
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
    /// Tables that the page shows as well.
    pub shown: input::Tables,
    /// Constrained pairs.
    pub constraints: Vec<Constraint>,
    /// Number of boxes, also of those that belong to no track.
    pub n_detections: usize,
    /// Vector of each track from the embedder that the footer names first.
    vectors: BTreeMap<i64, UnitVector>,
}

impl Tables {
    /// Reads everything.
    pub fn read(run: &RunDir) -> Result<Self> {
        // What an edit calls no face is in no count and no picture.
        let (no_faces, clusters): (Vec<Cluster>, Vec<Cluster>) =
            run.read()?.into_iter().partition(|row: &Cluster| row.not_a_face == Some(true));
        let no_faces: BTreeSet<i64> = no_faces.iter().map(|row| row.track_id).collect();
        let mut tracks: Vec<Track> = run.read()?;
        tracks.retain(|track| !no_faces.contains(&track.track_id));
        let (n_detections, boxes, picture) = read_boxes(run, &clusters)?;
        let (_, vectors) = run.read_first_embedder(|row: &TrackEmbedding| &row.embedder)?;
        let vectors: BTreeMap<_, _> = vectors.into_iter().map(|row| (row.track_id, row.embedding)).collect();
        let constraints: Vec<Constraint> = run.read()?;
        let shown = input::Tables {
            video: run.read_one()?,
            times: run.read::<Frame>()?.iter().map(|frame| (frame.pts_ticks, frame.t_secs)).collect(),
            shots: run.read()?,
            tracks,
            clusters,
            identities: run.read()?,
            calibration: run.read()?,
            linkage: run.read()?,
            // All tracks with a vector, by id.
            leaves: vectors.keys().copied().collect(),
            boxes,
            doubts: run.read_if_there()?,
            cuts: run.read_if_there()?,
            violated: constraints.iter().filter(|row| row.violated).cloned().collect(),
            picture,
        };
        Ok(Self { shown, constraints, n_detections, vectors })
    }

    /// Linked tracks with their vectors; noise and tracks without a vector are left out.
    pub fn points(&self) -> Vec<Point<'_>> {
        let point = |c: &Cluster| {
            let vector = self.vectors.get(&c.track_id)?.as_slice();
            Some(Point { cluster_id: c.cluster_id?, vector })
        };
        self.shown.clusters.iter().filter_map(point).collect()
    }
}

/// The number of all boxes, the boxes that belong to a track of `clusters`, and the picture in which faces were detected;
/// boxes of other tracks do not count.
fn read_boxes(run: &RunDir, clusters: &[Cluster]) -> Result<(usize, Vec<TrackBox>, Option<Picture>)> {
    let cluster_of: BTreeMap<i64, Option<i64>> =
        clusters.iter().map(|c| (c.track_id, c.cluster_id)).collect();
    let (mut n, mut found) = (0, Vec::new());
    let table = run.open_table::<Detection>()?;
    let picture = table.footer().picture;
    for batch in table {
        let batch = batch.map_err(run::Error::from)?;
        n += batch.len();
        found.extend(batch.into_iter().filter_map(|d| {
            let track_id = d.track_id?;
            let [x_min, y_min, x_max, y_max] = [d.x_min, d.y_min, d.x_max, d.y_max].map(f64::from);
            let bbox = BBox { x_min, y_min, x_max, y_max };
            let cluster_id = *cluster_of.get(&track_id)?;
            Some(TrackBox { frame_idx: d.frame_idx, bbox, track_id, cluster_id })
        }));
    }
    Ok((n, found, picture))
}
