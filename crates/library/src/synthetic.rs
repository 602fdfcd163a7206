//! Runs of people who do not exist, for tests and benches: seeded, and about as hard as faces are.
//!
//! A track's vector is the direction of its person, plus what is the person's in that video, plus the
//! track's own noise. Lengths are chosen so that the similarities of tracks are about SFace's: 0.5 of one
//! person in one video, 0.4 in two, 0 to 0.2 of two people.

use std::collections::BTreeSet;
use std::path::Path;

use schema::footer::{Embedder, Similarity};
use schema::manifest::VideoFile;
use schema::run::{Begin, Plan, RunDir, StageRun};
use schema::tables::{Cluster, Identity, TrackEmbedding};
use schema::{Symbol, UnitVector, hash};

/// Numbers in a vector.
const DIM: usize = 128;
/// Length of what all vectors have in common; a person's own direction has 1.
const COMMON: f64 = 0.22;
/// Length of what a person has in all tracks of one video.
const IN_VIDEO: f64 = 0.6;
/// Length of the noise of a track.
const IN_TRACK: f64 = 1.1;
/// Share of a video's people who were in an earlier one, unless asked for another.
pub const RETURNING: f64 = 0.6;
/// Tracks of a person in a video, at most.
const MOST_TRACKS: f64 = 30.0;

/// Somebody in a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Who it is.
    pub person: usize,
    /// Vectors of the tracks.
    pub tracks: Vec<Vec<f32>>,
}

/// What the vectors seem to be made by.
pub fn embedder() -> Embedder {
    Embedder {
        name: "synthetic".into(),
        dim: DIM,
        weights_sha256: String::new(),
        license: "CC0-1.0".into(),
        same_up_to: Some(0.637),
        similarity: Some(Similarity { different: 0.06, same: 0.35 }),
        quality: None,
    }
}

/// People who are in one video after the other, some of them again.
#[derive(Debug)]
pub struct World {
    random: Random,
    returning: f64,
    common: Vec<f64>,
    people: Vec<Vec<f64>>,
    /// Everybody as often as they were in a video: who was often is again.
    seen: Vec<usize>,
}

impl World {
    /// A world of that seed, in which this share of a video's people was in an earlier one.
    pub fn new(seed: u64, returning: f64) -> Self {
        let mut random = Random(seed);
        let common = random.direction();
        Self { random, returning, common, people: Vec::new(), seen: Vec::new() }
    }

    /// The next video, with `n` people.
    pub fn video(&mut self, n: usize) -> Vec<Shown> {
        let mut here = BTreeSet::new();
        let past = self.seen.len();
        for _ in 0..n {
            let again = past > 0 && self.random.uniform() < self.returning;
            let known = again.then(|| self.seen[self.random.below(past)]);
            let person = known.filter(|person| !here.contains(person)).unwrap_or(self.people.len());
            if person == self.people.len() {
                let direction = self.random.direction();
                self.people.push(direction);
            }
            here.insert(person);
            self.seen.push(person);
        }
        here.into_iter().map(|person| self.show(person)).collect()
    }

    fn show(&mut self, person: usize) -> Shown {
        let common = self.common.iter().map(|x| COMMON * x);
        let here = self.random.direction();
        let mean: Vec<f64> =
            common.zip(&self.people[person]).zip(&here).map(|((c, p), h)| c + p + IN_VIDEO * h).collect();
        // The number of people with at least n tracks falls like n^-1.2.
        let count = (1.0 - self.random.uniform()).powf(-1.0 / 1.2).min(MOST_TRACKS) as usize;
        let mut track = || {
            let noise = self.random.direction();
            mean.iter().zip(noise).map(|(x, noise)| (x + IN_TRACK * noise) as f32).collect()
        };
        Shown { person, tracks: (0..count).map(|_| track()).collect() }
    }
}

/// Writes the run of a video: what `ingest`, `embed` and `cluster` would leave, as far as a library reads it.
/// The video's key comes from `name`; clusters are `shown` in their order.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_run(run_dir: &Path, name: &str, embedder: &Embedder, shown: &[Shown]) -> schema::Result<()> {
    let mut run = RunDir::open(run_dir)?;
    let video = VideoFile {
        path: name.to_owned(),
        size_bytes: 0,
        modified_ns: 0,
        sha256: hash::bytes(name.as_bytes()),
    };
    let video_id = video.video_id();
    run.set_video(video);
    stage(&mut run, "embed", |stage| {
        let mut table = stage.create::<TrackEmbedding>(std::slice::from_ref(embedder))?;
        let rows = shown.iter().flat_map(|shown| &shown.tracks).enumerate();
        for row in rows.filter_map(|(track, vector)| track_row(&video_id, embedder, track, vector)) {
            table.push(row)?;
        }
        stage.finish(table)
    })?;
    stage(&mut run, "cluster", |stage| {
        let of_track =
            shown.iter().enumerate().flat_map(|(cluster, shown)| shown.tracks.iter().map(move |_| cluster));
        stage.write(of_track.enumerate().map(|(track, cluster)| cluster_row(&video_id, track, cluster)))?;
        stage.write(shown.iter().enumerate().map(|(cluster, shown)| identity_row(&video_id, cluster, shown)))
    })
}

fn stage(
    run: &mut RunDir,
    name: &'static str,
    write: impl FnOnce(&mut StageRun) -> schema::Result<()>,
) -> schema::Result<()> {
    let config = serde_json::json!({});
    let plan = Plan { stage: name, version: 1, config: &config, tables: &[], inputs: &[], force: true };
    if let Begin::Run(mut stage) = run.begin(&plan)? {
        write(&mut stage)?;
        run.commit(stage)?;
    }
    Ok(())
}

fn track_row(video_id: &Symbol, embedder: &Embedder, track: usize, vector: &[f32]) -> Option<TrackEmbedding> {
    Some(TrackEmbedding {
        video_id: video_id.clone(),
        track_id: track as i64,
        embedder: embedder.name.as_str().into(),
        embedding: UnitVector::normalised(vector)?,
        n_crops: 1,
        spread: 0.0,
    })
}

fn cluster_row(video_id: &Symbol, track: usize, cluster: usize) -> Cluster {
    Cluster {
        video_id: video_id.clone(),
        track_id: track as i64,
        cluster_id: Some(cluster as i64),
        is_noise: false,
        confidence: 1.0,
        runner_up_cluster_id: None,
        margin: None,
    }
}

fn identity_row(video_id: &Symbol, cluster: usize, shown: &Shown) -> Identity {
    Identity {
        video_id: video_id.clone(),
        cluster_id: cluster as i64,
        name: None,
        n_tracks: shown.tracks.len() as i64,
        n_frames: shown.tracks.len() as i64,
        screen_secs: shown.tracks.len() as f64,
        first_t_secs: 0.0,
        last_t_secs: 0.0,
        exemplar_track_id: 0,
        exemplar_frame_idx: 0,
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to below 1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.uniform() * end as f64) as usize
    }

    /// Of mean 0 and variance 1 (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A unit vector. As with faces, some directions vary more than others.
    fn direction(&mut self) -> Vec<f64> {
        let mut vector: Vec<f64> = (0..DIM).map(|i| self.normal() / (1.0 + i as f64 / 16.0).sqrt()).collect();
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|x| *x /= length);
        vector
    }
}
