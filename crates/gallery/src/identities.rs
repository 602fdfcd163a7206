//! The people of a finished run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use run::RunReader;
use run::edits::{EditOp, Log};
use schema::footer::Embedder;
use schema::io::PRODUCER;
use schema::tables::{Cluster, Identity, TrackEmbedding};
use schema::{Row, Symbol, UnitVector};

use crate::{Error, VERSION};

/// The tables that are read.
const READ: [&str; 3] = [TrackEmbedding::TABLE.name, Cluster::TABLE.name, Identity::TABLE.name];

/// The people of one video.
#[derive(Debug, Clone, PartialEq)]
pub struct RunIdentities {
    /// The run directory.
    pub run_dir: PathBuf,
    /// Its name.
    pub run_id: String,
    /// The video.
    pub video_id: Symbol,
    /// What made the vectors.
    pub embedder: Embedder,
    /// Hash of all that is read of the run.
    pub fingerprint: String,
    /// Clusters in their order.
    pub people: Vec<RunIdentity>,
}

/// One cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct RunIdentity {
    /// Its number in the run.
    pub cluster_id: i64,
    /// Number of tracks.
    pub n_tracks: i64,
    /// Time on screen, seconds.
    pub screen_secs: f64,
    /// Name of the person; `None` when no edit of the run names the person.
    pub name: Option<String>,
    /// Time of the correction that gave the name, as the log has it; `None` without a name.
    pub named_at: Option<String>,
    /// Key of the linking of the series of the run; `None` without a series.
    pub series_id: Option<String>,
    /// Key of the person in the series; `None` without one.
    pub series_uid: Option<String>,
    /// Mean of the track vectors.
    pub vector: UnitVector,
}

impl RunIdentities {
    /// Reads the run at `run_dir`, whose tables must be as their stages left them. The run is not locked.
    ///
    /// # Errors
    /// When there is no run, when it has not got as far as `cluster`, and when a table is damaged.
    pub fn read(run_dir: &Path) -> Result<Self, Error> {
        RunReader::open(run_dir).and_then(|run| Self::of(&run)).map_err(Error::Run)
    }

    fn of(run: &RunReader) -> run::Result<Self> {
        let fingerprint = fingerprint(run)?;
        let (footer, tracks) = run.read_first_embedder(|row: &TrackEmbedding| &row.embedder)?;
        let embedder = footer.embedders.first().cloned().ok_or_else(|| schema::Error::Footer {
            path: run.root().join(TrackEmbedding::TABLE.file_name()),
            table: TrackEmbedding::TABLE.name,
            reason: "it names no embedder".into(),
        })?;
        let clusters: BTreeMap<i64, i64> =
            run.read::<Cluster>()?.iter().filter_map(|row| Some((row.track_id, row.cluster_id?))).collect();
        // All tracks have the same weight: weights by clearness, as in pooling, matched no better across videos.
        let mut sums: BTreeMap<i64, Vec<f64>> = BTreeMap::new();
        for row in tracks {
            let Some(cluster) = clusters.get(&row.track_id) else { continue };
            let sum = sums.entry(*cluster).or_insert_with(|| vec![0.0; embedder.dim]);
            // Beyond the length of the embedder, vectors are padded with zeros.
            sum.iter_mut().zip(row.embedding.as_slice()).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let log = Log::open(run.root())?;
        let given = |name: &String| {
            let edits =
                log.active().filter(|e| e.edit.op == EditOp::Name && e.edit.name.as_ref() == Some(name));
            edits.last().map(|entry| entry.made_at.clone())
        };
        let person = |row: Identity| {
            // A person without a vector cannot be compared.
            let sum: Vec<f32> = sums.remove(&row.cluster_id)?.into_iter().map(|x| x as f32).collect();
            let vector = UnitVector::normalised(&sum)?;
            Some(RunIdentity {
                cluster_id: row.cluster_id,
                n_tracks: row.n_tracks,
                screen_secs: row.screen_secs,
                named_at: row.name.as_ref().and_then(given),
                name: row.name,
                series_id: row.series_id,
                series_uid: row.series_uid,
                vector,
            })
        };
        let people = run.read::<Identity>()?.into_iter().filter_map(person).collect();
        Ok(Self {
            run_dir: run.root().to_path_buf(),
            run_id: run.manifest().run_id.clone(),
            video_id: run.video_id()?,
            embedder,
            fingerprint,
            people,
        })
    }
}

/// Hash of all that is read of a run, whose tables are found to be as their stages left them.
fn fingerprint(run: &RunReader) -> run::Result<String> {
    for table in READ {
        run.hash_of(table)?;
    }
    Ok(recorded(run).unwrap_or_default())
}

/// The fingerprint of a run by its manifest. The tables are not read.
pub(crate) fn recorded_fingerprint(run_dir: &Path) -> Result<String, Error> {
    let run = RunReader::open(run_dir).map_err(Error::Run)?;
    Ok(recorded(&run).unwrap_or_default())
}

/// The hash of the recorded hashes; `None` if a table is not recorded.
fn recorded(run: &RunReader) -> Option<String> {
    let hash =
        |table: &str| run.manifest().output(&format!("{table}.parquet")).map(|output| output.sha256.as_str());
    let hashes = READ.map(hash).into_iter().collect::<Option<Vec<_>>>()?;
    Some(hash::bytes(serde_json::json!([PRODUCER, VERSION, hashes]).to_string().as_bytes()))
}
