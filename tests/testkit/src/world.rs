//! Synthetic people who are in several videos: seeded, and about as hard to match as faces.
//!
//! The vector of a track is the direction of its person, plus a part that the person has in that video, plus
//! the noise of the track. Lengths are chosen so that the similarities of tracks are about those of SFace: 0.5
//! of one person in one video, 0.4 in two videos, 0 to 0.2 of two people.

use std::collections::BTreeSet;
use std::path::Path;

use numeric::law;
use schema::footer::{Embedder, Similarity};

use crate::linked;
use crate::random::{SplitMix64, direction};
use crate::synthetic::{FPS, Linking, SyntheticCrop, SyntheticRun, SyntheticTrack};

/// Number of components of a vector.
const DIM: usize = 128;
/// Length of the part that all vectors have in common; the direction of a person has length 1.
const COMMON: f64 = 0.22;
/// Length of the part that a person has in all tracks of one video.
const IN_VIDEO: f64 = 0.6;
/// Length of the noise of a track.
const IN_TRACK: f64 = 1.1;
/// Share of the people of a video who were in an earlier one, by default.
pub const RETURNING: f64 = 0.6;
/// Most tracks of a person in a video.
const MOST_TRACKS: f64 = 30.0;

/// A person in a video.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Number of the person.
    pub person: usize,
    /// Vectors of the tracks.
    pub tracks: Vec<Vec<f32>>,
}

/// The embedder that the vectors are said to be made by.
pub fn embedder() -> Embedder {
    Embedder {
        name: "synthetic".into(),
        dim: DIM,
        weights_sha256: String::new(),
        license: "CC0-1.0".into(),
        same_up_to: Some(law::SFACE_SAME_UP_TO),
        similarity: Some(Similarity { different: law::SFACE_DIFFERENT, same: law::SFACE_SAME }),
        quality: None,
    }
}

/// People who are in one video after the other, some of them repeatedly.
#[derive(Debug)]
pub struct World {
    random: SplitMix64,
    returning: f64,
    common: Vec<f64>,
    people: Vec<Vec<f64>>,
    /// Each person as often as the person was in a video: frequent people return more often.
    seen: Vec<usize>,
}

impl World {
    /// The world of a seed, in which the share `returning` of the people of a video was in an earlier one.
    pub fn new(seed: u64, returning: f64) -> Self {
        let mut random = SplitMix64::new(seed);
        let common = direction(&mut random, DIM);
        Self { random, returning, common, people: Vec::new(), seen: Vec::new() }
    }

    /// The next video, with `n` people.
    pub fn video(&mut self, n: usize) -> Vec<Shown> {
        let mut here = BTreeSet::new();
        let past = self.seen.len();
        for _ in 0..n {
            let again = past > 0 && self.random.unit() < self.returning;
            let known = again.then(|| self.seen[(self.random.unit() * past as f64) as usize]);
            let person = known.filter(|person| !here.contains(person)).unwrap_or(self.people.len());
            if person == self.people.len() {
                let direction = direction(&mut self.random, DIM);
                self.people.push(direction);
            }
            here.insert(person);
            self.seen.push(person);
        }
        here.into_iter().map(|person| self.show(person)).collect()
    }

    fn show(&mut self, person: usize) -> Shown {
        let common = self.common.iter().map(|x| COMMON * x);
        let here = direction(&mut self.random, DIM);
        let mean: Vec<f64> =
            common.zip(&self.people[person]).zip(&here).map(|((c, p), h)| c + p + IN_VIDEO * h).collect();
        // The number of people with at least n tracks falls like n^-1.2.
        let count = (1.0 - self.random.unit()).powf(-1.0 / 1.2).min(MOST_TRACKS) as usize;
        let mut track = || {
            let noise = direction(&mut self.random, DIM);
            mean.iter().zip(noise).map(|(x, noise)| (x + IN_TRACK * noise) as f32).collect()
        };
        Shown { person, tracks: (0..count).map(|_| track()).collect() }
    }
}

/// Writes the run of a video at `run_dir`, as `cluster` would leave it: a cluster for each of `shown`, in their
/// order, with tracks of one second. The video_id of the video comes from `name`.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_run(run_dir: &Path, name: &str, embedder: &Embedder, shown: &[Shown]) -> run::Result<()> {
    write(run_dir, name, embedder, shown, None)
}

/// Does the same with a picture of every track, and its vector. No two pictures are the same.
///
/// # Errors
/// When the directory cannot be written.
pub fn write_pictured_run(
    run_dir: &Path,
    name: &str,
    embedder: &Embedder,
    shown: &[Shown],
    random: &mut SplitMix64,
) -> run::Result<()> {
    write(run_dir, name, embedder, shown, Some(random))
}

fn write(
    run_dir: &Path,
    name: &str,
    embedder: &Embedder,
    shown: &[Shown],
    mut random: Option<&mut SplitMix64>,
) -> run::Result<()> {
    let mut tracks = Vec::new();
    for (cluster, shown) in (0..).zip(shown) {
        for vector in &shown.tracks {
            let first = FPS * tracks.len() as i64;
            let crop = |random: &mut SplitMix64| SyntheticCrop {
                frame: first + 2,
                quality: 0.8,
                image: Some(linked::face(shown.person, random)),
                vector: Some(vector.clone()),
                norm: 1.0,
            };
            tracks.push(SyntheticTrack {
                shot: 0,
                frames: (first, first + FPS - 1),
                bbox: [10.0, 10.0, 60.0, 50.0],
                vector: vector.clone(),
                n_crops: 1,
                crops: random.as_deref_mut().map(crop).into_iter().collect(),
                cluster: Some(cluster),
                confidence: 1.0,
                margin: None,
            });
        }
    }
    let run = SyntheticRun {
        file_name: name.to_owned(),
        video_sha256: hash::bytes(name.as_bytes()),
        codec: "h264".into(),
        config: serde_json::json!({}),
        warning: None,
        shots: vec![0, FPS * (tracks.len() as i64).max(1)],
        tracks,
        embedder: embedder.clone(),
        linking: Some(Linking::default()),
    };
    run.write(run_dir)
}
