//! Recipes of stored datasets: synthetic runs for sizes and corners that no clip has, with the truth.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use numeric::law;
use schema::footer::{Embedder, Similarity};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::people;
use crate::synthetic::{FPS, SyntheticCrop, SyntheticRun, SyntheticTrack};

/// Number of components of a vector, as of SFace.
const DIM: usize = 128;
/// Frames of a track.
const FRAMES: i64 = 5;
/// Number of crops of a track, and how far their vectors are from that of the track.
const CROPS: i64 = 2;
const CROP_SPREAD: f32 = 0.2;
/// Boxes beside each other in a frame.
const COLUMNS: i64 = 8;
const NAME: &str = "made-up";

/// What a synthetic run holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Number of tracks.
    pub tracks: usize,
    /// Start of the random numbers.
    #[serde(default)]
    pub seed: u64,
    /// Kind of the vectors.
    #[serde(default)]
    pub vectors: Vectors,
    /// Which tracks share frames.
    #[serde(default)]
    pub together: Together,
}

/// Kinds of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vectors {
    /// As different as faces are.
    #[default]
    People,
    /// All the same, of one person.
    Identical,
}

/// Which tracks share frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Together {
    /// A few at a time, different people.
    #[default]
    Shots,
    /// All of them, so that none may be linked; each track is another person.
    All,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// When the file cannot be read or understood.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let wrong = |e: toml::de::Error| Error::Recipe { path: path.into(), reason: e.message().to_owned() };
        toml::from_str(&text).map_err(wrong)
    }
}

/// A track before it has its place in a frame.
#[derive(Debug, Clone)]
struct Plot {
    shot: i64,
    /// Number of the stretch of the shot that the track fills.
    slot: i64,
    /// Place among the tracks of the shot.
    place: i64,
    person: usize,
    vector: Vec<f32>,
    norm: f32,
    /// Distance of the vectors of the crops from `vector`.
    spread: f32,
    /// First frame.
    first: i64,
}

/// Writes the run of a recipe at `root`, as `embed` would leave it, and its labels.
///
/// # Errors
/// When the run or the labels cannot be written.
pub fn write(recipe: &Recipe, root: &Path, labels: &Path) -> Result<()> {
    let plots = plots(recipe);
    let mut noise = Noise(1);
    let run = SyntheticRun {
        file_name: format!("{NAME}.mkv"),
        video_sha256: hash::bytes(format!("{recipe:?}").as_bytes()),
        codec: "h264".into(),
        config: serde_json::to_value(recipe).unwrap_or_default(),
        warning: None,
        shots: shots(&plots),
        tracks: plots.iter().map(|plot| track(plot, &mut noise)).collect(),
        // The distances of these vectors are those of SFace.
        embedder: Embedder {
            name: NAME.into(),
            dim: DIM,
            weights_sha256: String::new(),
            license: "MIT OR Apache-2.0".into(),
            same_up_to: Some(law::SFACE_SAME_UP_TO),
            similarity: Some(Similarity { different: law::SFACE_DIFFERENT, same: law::SFACE_SAME }),
            quality: Some(people::quality(DIM)),
        },
        linking: None,
    };
    run.write(root)?;
    fs::write(labels, truth(&plots)).map_err(Error::io("write", labels))
}

fn track(plot: &Plot, noise: &mut Noise) -> SyntheticTrack {
    let (x, y) = corner(plot);
    let crop = |at| SyntheticCrop {
        frame: plot.first + 2 * at,
        quality: 1.0,
        image: None,
        vector: Some(plot.vector.iter().map(|x| x + plot.spread * noise.next()).collect()),
        norm: plot.norm,
    };
    SyntheticTrack {
        shot: plot.shot,
        frames: (plot.first, plot.first + FRAMES - 1),
        bbox: [x, y, 60.0, 50.0],
        vector: plot.vector.clone(),
        n_crops: CROPS,
        crops: (0..CROPS).map(crop).collect(),
        cluster: None,
        confidence: 0.0,
        margin: None,
    }
}

/// Tracks in the order of their first appearance.
fn plots(recipe: &Recipe) -> Vec<Plot> {
    let people = people::people(recipe.tracks, DIM, recipe.seed);
    let alone = recipe.together == Together::All;
    let identical = recipe.vectors == Vectors::Identical;
    let shot_of = match recipe.together {
        Together::All => vec![0; recipe.tracks],
        Together::Shots if identical => (0..recipe.tracks as i64).collect(),
        Together::Shots => shots_of(recipe.tracks, &people.cannot_link),
    };
    let mut slots: HashMap<(i64, usize), i64> = HashMap::new();
    let mut places: HashMap<i64, i64> = HashMap::new();
    let plot = |(track, &shot): (usize, &i64)| {
        let person = if alone {
            track
        } else if identical {
            0
        } else {
            people.truth[track]
        };
        let (slot, place) = (slots.entry((shot, person)).or_default(), places.entry(shot).or_default());
        let vector = people.vector(if identical { 0 } else { track }).to_vec();
        let usual = people::USUAL_NORM as f32;
        let (norm, spread) = if identical { (usual, 0.0) } else { (people.norms[track], CROP_SPREAD) };
        let plot = Plot { shot, slot: *slot, place: *place, person, vector, norm, spread, first: 0 };
        *slot += 1;
        *place += 1;
        plot
    };
    let mut plots: Vec<_> = shot_of.iter().enumerate().map(plot).collect();
    plots.sort_by_key(|plot| (plot.shot, plot.slot, plot.place));
    let mut start = 0;
    for shot in plots.chunk_by_mut(|a, b| a.shot == b.shot) {
        shot.iter_mut().for_each(|plot| plot.first = start + plot.slot * FRAMES);
        start = shot.last().map_or(start, |plot| plot.first + FRAMES);
    }
    plots
}

/// The shot of each track: tracks that are connected by pairs share a shot.
fn shots_of(tracks: usize, pairs: &[(usize, usize)]) -> Vec<i64> {
    // The last track that each track, or an earlier track of its shot, has a pair with.
    let mut reach: Vec<usize> = (0..tracks).collect();
    pairs.iter().for_each(|&(a, b)| reach[a] = reach[a].max(b));
    let (mut shot, mut end) = (-1, None);
    let of = |(track, reach): (usize, &usize)| {
        if end.is_none_or(|end| track > end) {
            shot += 1;
        }
        end = Some(end.unwrap_or(0).max(*reach));
        shot
    };
    reach.iter().enumerate().map(of).collect()
}

/// First frame of each shot, and the end of the last. A video without a track has a shot all the same.
fn shots(plots: &[Plot]) -> Vec<i64> {
    let mut starts: Vec<_> = plots.chunk_by(|a, b| a.shot == b.shot).map(|shot| shot[0].first).collect();
    if starts.is_empty() {
        starts.push(0);
    }
    starts.push(plots.last().map_or(FPS, |plot| plot.first + FRAMES));
    starts
}

/// Left and top edge of a box.
fn corner(plot: &Plot) -> (f32, f32) {
    ((80 * (plot.place % COLUMNS)) as f32, (60 * (plot.place / COLUMNS % 6)) as f32)
}

/// The middle frame of every track, with the person's number and the shot.
fn truth(plots: &[Plot]) -> String {
    let mut csv = String::from("frame,x,y,w,h,identity,shot\n");
    for plot in plots {
        let (x, y) = corner(plot);
        let frame = plot.first + FRAMES / 2;
        // Writing to a String cannot fail.
        let _ = writeln!(csv, "{frame},{x},{y},60,50,p{},{}", plot.person, plot.shot);
    }
    csv
}

/// Random numbers of the size of a unit vector's components (Knuth's multiplicative generator), with which the
/// stored figures of recipes were made.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let uniform = (self.0 >> 40) as f32 / (1_u32 << 24) as f32;
        // A uniform number of this width has the variance of a component.
        (uniform - 0.5) * (12.0 / DIM as f32).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracks_that_are_connected_share_a_shot() {
        assert_eq!(shots_of(7, &[(0, 2), (1, 2), (4, 5)]), [0, 0, 0, 1, 2, 2, 3]);
        assert_eq!(shots_of(0, &[]), [] as [i64; 0]);
    }

    #[test]
    fn no_person_is_in_a_frame_twice() {
        let recipe = Recipe { tracks: 300, seed: 5, vectors: Vectors::People, together: Together::Shots };
        let plots = plots(&recipe);
        assert_eq!(plots.len(), 300);
        let mut seen = std::collections::HashSet::new();
        assert!(plots.iter().all(|plot| seen.insert((plot.shot, plot.slot, plot.person))));
        assert!(plots.is_sorted_by_key(|plot| plot.first));
    }

    #[test]
    fn a_recipe_has_no_other_keys() {
        assert!(toml::from_str::<Recipe>("tracks = 3").is_ok());
        assert!(toml::from_str::<Recipe>("tracks = 3\nperson = 1").is_err());
    }
}
