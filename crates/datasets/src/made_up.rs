//! Runs of people who do not exist: tracks of [`cluster::synthetic`] laid out in shots, with the truth.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cluster::synthetic;
use schema::footer::{Embedder, Similarity};
use schema::manifest::VideoFile;
use schema::run::{Begin, Plan, RunDir, StageRun};
use schema::tables::{
    Crop, Detection, DetectionSource, Embedding, Frame, FrameStatus, Shot, Track, TrackEmbedding, Transition,
    Video,
};
use schema::{Symbol, UnitVector, hash};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Length of the vectors, that of SFace.
const DIM: usize = 128;
/// Frames a second.
const FPS: i64 = 25;
/// Frames of a track.
const FRAMES: i64 = 5;
/// Vectors of crops of a track, and how far they are from the track's.
const CROPS: i64 = 2;
const CROP_SPREAD: f32 = 0.2;
/// Boxes beside and above each other in a frame of 640 × 360.
const COLUMNS: i64 = 8;
const NAME: &str = "made-up";

/// What is to be made up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Number of tracks.
    pub tracks: usize,
    /// Start of the random numbers.
    #[serde(default)]
    pub seed: u64,
    /// What the vectors are.
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
    /// All of them, so that none may be linked; everybody is another person.
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

/// A track before it is written.
#[derive(Debug, Clone)]
struct Plot {
    shot: i64,
    /// Which stretch of the shot it fills.
    slot: i64,
    /// Place among the tracks of the shot.
    place: i64,
    person: usize,
    vector: Vec<f32>,
    norm: f32,
    /// How far the vectors of its crops are from its own.
    spread: f32,
    /// First frame.
    first: i64,
}

/// Makes up a run at `root`, as `embed` would leave it, and its labels.
///
/// # Errors
/// When the run or the labels cannot be written.
pub fn write(recipe: &Recipe, root: &Path, labels: &Path) -> Result<()> {
    let plots = plots(recipe);
    let shots = shots(&plots);
    let mut run = RunDir::open(root)?;
    run.set_video(VideoFile {
        path: format!("{NAME}.mkv"),
        size_bytes: 0,
        modified_ns: 0,
        sha256: hash::bytes(format!("{recipe:?}").as_bytes()),
    });
    let sha256 = run.video_file()?.sha256.clone();
    let id = run.video_id()?;
    stage(&mut run, recipe, "ingest", |stage| ingest(stage, &id, sha256, &shots))?;
    stage(&mut run, recipe, "detect-track", |stage| detect_track(stage, &id, &plots, &shots))?;
    stage(&mut run, recipe, "embed", |stage| embed(stage, &id, &plots))?;
    fs::write(labels, truth(&plots)).map_err(Error::io("write", labels))
}

fn stage(
    run: &mut RunDir,
    recipe: &Recipe,
    name: &'static str,
    body: impl FnOnce(&mut StageRun) -> schema::Result<()>,
) -> Result<()> {
    let config = serde_json::to_value(recipe).unwrap_or_default();
    let plan = Plan { stage: name, version: 1, config: &config, tables: &[], inputs: &[], force: true };
    let Begin::Run(mut stage) = run.begin(&plan)? else { return Ok(()) };
    body(&mut stage)?;
    run.commit(stage)?;
    Ok(())
}

/// Tracks in the order of their first appearance.
fn plots(recipe: &Recipe) -> Vec<Plot> {
    let people = synthetic::people(recipe.tracks, DIM, recipe.seed);
    let alone = recipe.together == Together::All;
    let identical = recipe.vectors == Vectors::Identical;
    let shot_of = match recipe.together {
        Together::All => vec![0; recipe.tracks],
        Together::Shots if identical => (0..recipe.tracks as i64).collect(),
        Together::Shots => shots_of(recipe.tracks, &people.together),
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
        let vector = people.vectors.row(if identical { 0 } else { track }).to_vec();
        let usual = synthetic::USUAL_NORM as f32;
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

/// The shot of each track: tracks that hang together by pairs, of which none reaches past another's shot.
fn shots_of(tracks: usize, together: &[(usize, usize)]) -> Vec<i64> {
    // The last track that each one, or an earlier one of its shot, is together with.
    let mut reach: Vec<usize> = (0..tracks).collect();
    together.iter().for_each(|&(a, b)| reach[a] = reach[a].max(b));
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

fn secs(frame: i64) -> f64 {
    frame as f64 / FPS as f64
}

fn ingest(stage: &mut StageRun, id: &Symbol, sha256: String, shots: &[i64]) -> schema::Result<()> {
    let frame_count = shots.last().copied().unwrap_or(0);
    stage.write([Video {
        video_id: id.clone(),
        file_name: format!("{NAME}.mkv"),
        sha256,
        container: "matroska,webm".into(),
        codec: "h264".into(),
        width: 640,
        height: 360,
        rotation_degrees: 0,
        time_base_num: 1,
        time_base_den: FPS,
        start_secs: 0.0,
        duration_secs: secs(frame_count),
        frame_count,
        size_bytes: 0,
    }])?;
    stage.write((0..frame_count).map(|frame_idx| Frame {
        video_id: id.clone(),
        frame_idx,
        pts_ticks: frame_idx,
        t_secs: secs(frame_idx),
        is_key: frame_idx == 0,
        status: FrameStatus::Ok,
    }))
}

fn detect_track(stage: &mut StageRun, id: &Symbol, plots: &[Plot], shots: &[i64]) -> schema::Result<()> {
    stage.write((0..).zip(shots.windows(2)).map(|(shot_idx, ends)| Shot {
        video_id: id.clone(),
        shot_idx,
        first_frame_idx: ends[0],
        last_frame_idx: ends[1] - 1,
        first_t_secs: secs(ends[0]),
        last_t_secs: secs(ends[1] - 1),
        transition: if shot_idx == 0 { Transition::Start } else { Transition::Cut },
        score: (shot_idx > 0).then_some(1.0),
    }))?;
    stage.write(detections(id, plots))?;
    stage.write((0..).zip(plots).map(|(track_id, plot)| Track {
        video_id: id.clone(),
        track_id,
        shot_idx: plot.shot,
        first_frame_idx: plot.first,
        last_frame_idx: plot.first + FRAMES - 1,
        first_t_secs: secs(plot.first),
        last_t_secs: secs(plot.first + FRAMES - 1),
        n_detections: FRAMES,
        mean_score: 0.9,
        best_frame_idx: plot.first,
    }))?;
    stage.write(std::iter::empty::<Crop>())
}

/// Left and top edge of a box.
fn corner(plot: &Plot) -> (f32, f32) {
    ((80 * (plot.place % COLUMNS)) as f32, (60 * (plot.place / COLUMNS % 6)) as f32)
}

fn detections(id: &Symbol, plots: &[Plot]) -> Vec<Detection> {
    let mut faces: Vec<(i64, i64, &Plot)> = (0..)
        .zip(plots)
        .flat_map(|(track_id, plot)| {
            (plot.first..plot.first + FRAMES).map(move |frame| (frame, track_id, plot))
        })
        .collect();
    faces.sort_by_key(|(frame, track_id, _)| (*frame, *track_id));
    let rows = faces.chunk_by(|a, b| a.0 == b.0).flat_map(|frame| (0..).zip(frame));
    rows.map(|(det_idx, &(frame_idx, track_id, plot))| {
        let (x_min, y_min) = corner(plot);
        Detection {
            video_id: id.clone(),
            frame_idx,
            det_idx,
            track_id: Some(track_id),
            x_min,
            y_min,
            x_max: x_min + 60.0,
            y_max: y_min + 50.0,
            score: Some(0.9),
            landmarks: None,
            source: DetectionSource::Detected,
            sharpness: None,
            frontality: None,
            size_px: 3000.0_f32.sqrt(),
        }
    })
    .collect()
}

fn embed(stage: &mut StageRun, id: &Symbol, plots: &[Plot]) -> schema::Result<()> {
    // What is known of SFace, whose distances these vectors have.
    let embedders = [Embedder {
        name: NAME.into(),
        dim: DIM,
        weights_sha256: String::new(),
        license: "MIT OR Apache-2.0".into(),
        same_up_to: Some(0.637),
        similarity: Some(Similarity { different: 0.06, same: 0.35 }),
        quality: Some(synthetic::quality(DIM)),
    }];
    let mut crops = stage.create::<Embedding>(&embedders)?;
    let mut noise = Noise(1);
    for (track_id, plot) in (0..).zip(plots) {
        for crop in 0..CROPS {
            let vector: Vec<f32> = plot.vector.iter().map(|x| x + plot.spread * noise.next()).collect();
            let Some(embedding) = UnitVector::normalised(&vector) else { continue };
            crops.push(Embedding {
                video_id: id.clone(),
                track_id,
                frame_idx: plot.first + 2 * crop,
                embedder: NAME.into(),
                embedding,
                norm: plot.norm,
            })?;
        }
    }
    stage.finish(crops)?;
    let mut tracks = stage.create::<TrackEmbedding>(&embedders)?;
    for (track_id, plot) in (0..).zip(plots) {
        let Some(embedding) = UnitVector::normalised(&plot.vector) else { continue };
        tracks.push(TrackEmbedding {
            video_id: id.clone(),
            track_id,
            embedder: NAME.into(),
            embedding,
            n_crops: CROPS,
            spread: 0.0,
        })?;
    }
    stage.finish(tracks)
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

/// Numbers that look random and are always the same, of the size of a unit vector's components (Knuth's
/// multiplicative generator).
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
    fn tracks_that_hang_together_are_one_shot() {
        assert_eq!(shots_of(7, &[(0, 2), (1, 2), (4, 5)]), [0, 0, 0, 1, 2, 2, 3]);
        assert_eq!(shots_of(0, &[]), [] as [i64; 0]);
    }

    #[test]
    fn nobody_is_in_a_frame_twice() {
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
