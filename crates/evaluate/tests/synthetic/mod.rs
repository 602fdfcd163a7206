//! A made-up run, written through `schema` as the stages before this one would write it: people who
//! return over several shots, a few tracks linked wrongly, some noise, and faces drawn by rule.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use schema::footer::Embedder;
use schema::manifest::VideoFile;
use schema::run::{Begin, Plan, RunDir, StageRun};
use schema::tables::{
    Calibration, Cluster, Constraint, ConstraintKind, ConstraintReason, Crop, Detection, DetectionSource,
    Frame, FrameStatus, Identity, Linkage, Shot, Track, TrackEmbedding, Transition, Video,
};
use schema::{Symbol, UnitVector};

const FPS: f64 = 25.0;
const SHOT_FRAMES: i64 = 110;
const DIM: usize = 16;
pub(crate) const THRESHOLD: f64 = 0.62;

/// What the run should hold.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) file_name: String,
    /// What stands wherever a stranger's words may: names of people, warnings, settings, the codec.
    pub(crate) words: Option<String>,
    pub(crate) tracks: usize,
    pub(crate) people: usize,
    /// Of the tracks, how many are linked to nobody.
    pub(crate) noise: usize,
    pub(crate) crops_per_track: i64,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            file_name: "dinner.mp4".into(),
            words: None,
            tracks: 60,
            people: 9,
            noise: 3,
            crops_per_track: 3,
        }
    }
}

/// A track before it is written.
struct Plot {
    person: usize,
    cluster: Option<i64>,
    shot: i64,
    first: i64,
    last: i64,
    left: f32,
}

/// Writes the run into `root` and gives labels for it as CSV.
pub(crate) fn write(root: &Path, spec: &Spec) -> String {
    let mut random = Random(7);
    let plots = plots(spec, &mut random);
    let mut run = RunDir::open(root).unwrap();
    run.set_video(VideoFile {
        path: format!("/videos/{}", spec.file_name),
        size_bytes: 1,
        modified_ns: 0,
        sha256: "0123456789abcdef".repeat(4),
    });
    let id = run.video_id().unwrap();
    let frames = plots.iter().map(|p| p.shot + 1).max().unwrap_or(3) * SHOT_FRAMES;
    stage(&mut run, spec, "ingest", |stage| {
        stage.write([video(&id, spec, frames)]).unwrap();
        stage.write((0..frames).map(|frame_idx| frame(&id, frame_idx))).unwrap();
    });
    stage(&mut run, spec, "detect-track", |stage| {
        stage.warn(spec.words.as_deref().unwrap_or("2 frames of 6,600 could not be decoded"));
        detect_track(stage, &id, spec, &plots, frames, &mut random);
    });
    stage(&mut run, spec, "embed", |stage| embed(stage, &id, &plots, &mut random));
    stage(&mut run, spec, "cluster", |stage| cluster(stage, &id, spec, &plots, &mut random));
    labels(&plots)
}

fn stage(run: &mut RunDir, spec: &Spec, name: &'static str, body: impl FnOnce(&mut StageRun)) {
    let config = serde_json::json!({ "method": spec.words.as_deref().unwrap_or("average") });
    let plan = Plan { stage: name, version: 1, config: &config, tables: &[], inputs: &[], force: false };
    let Begin::Run(mut stage) = run.begin(&plan).unwrap() else { return };
    body(&mut stage);
    run.commit(stage).unwrap();
}

fn plots(spec: &Spec, random: &mut Random) -> Vec<Plot> {
    let mut plots = Vec::new();
    for at in 0..spec.tracks {
        let shot = at as i64 / 3;
        // Squaring makes some people leads and others extras.
        let person = ((random.unit() * random.unit()) * spec.people as f64) as usize;
        let first = shot * SHOT_FRAMES + (random.unit() * 40.0) as i64;
        let last = first + 15 + (random.unit() * 50.0) as i64;
        let wrong = random.unit() < 0.06;
        let cluster = if wrong { (person + 1) % spec.people } else { person } as i64;
        let noise = at + spec.noise >= spec.tracks;
        let left = 40.0 + 190.0 * (at % 3) as f32;
        plots.push(Plot { person, cluster: (!noise).then_some(cluster), shot, first, last, left });
    }
    number_by_screen_time(&mut plots);
    plots
}

fn number_by_screen_time(plots: &mut [Plot]) {
    let mut frames: BTreeMap<i64, i64> = BTreeMap::new();
    for plot in plots.iter() {
        if let Some(cluster) = plot.cluster {
            *frames.entry(cluster).or_default() += plot.last - plot.first + 1;
        }
    }
    let mut order: Vec<i64> = frames.keys().copied().collect();
    order.sort_by_key(|cluster| -frames[cluster]);
    for plot in plots {
        plot.cluster = plot.cluster.and_then(|c| (0..).zip(&order).find(|(_, o)| **o == c)).map(|(at, _)| at);
    }
}

fn secs(frame: i64) -> f64 {
    frame as f64 / FPS
}

fn video(id: &Symbol, spec: &Spec, frames: i64) -> Video {
    Video {
        video_id: id.clone(),
        file_name: spec.file_name.clone(),
        sha256: "0123456789abcdef".repeat(4),
        container: "mov,mp4".into(),
        codec: spec.words.clone().unwrap_or_else(|| "h264".into()),
        width: 640,
        height: 360,
        rotation_degrees: 0,
        time_base_num: 1,
        time_base_den: 25,
        start_secs: 0.0,
        duration_secs: secs(frames),
        frame_count: frames,
        size_bytes: 1,
    }
}

fn frame(id: &Symbol, frame_idx: i64) -> Frame {
    Frame {
        video_id: id.clone(),
        frame_idx,
        pts_ticks: frame_idx,
        t_secs: secs(frame_idx),
        is_key: frame_idx % 50 == 0,
        status: FrameStatus::Ok,
    }
}

fn detect_track(
    stage: &mut StageRun,
    id: &Symbol,
    spec: &Spec,
    plots: &[Plot],
    frames: i64,
    random: &mut Random,
) {
    let shots = (0..frames / SHOT_FRAMES).map(|shot_idx| Shot {
        video_id: id.clone(),
        shot_idx,
        first_frame_idx: shot_idx * SHOT_FRAMES,
        last_frame_idx: (shot_idx + 1) * SHOT_FRAMES - 1,
        first_t_secs: secs(shot_idx * SHOT_FRAMES),
        last_t_secs: secs((shot_idx + 1) * SHOT_FRAMES - 1),
        transition: if shot_idx == 0 { Transition::Start } else { Transition::Cut },
        score: (shot_idx > 0).then_some(0.8),
    });
    stage.write(shots).unwrap();
    stage.write(detections(id, plots)).unwrap();
    stage.write((0..).zip(plots).map(|(track_id, plot)| track(id, track_id, plot))).unwrap();
    let mut writer = stage.create::<Crop>(&[]).unwrap();
    for (track_id, plot) in (0..).zip(plots) {
        for rank in 0..spec.crops_per_track {
            writer.push(crop(id, track_id, rank, plot, random)).unwrap();
        }
    }
    stage.finish(writer).unwrap();
}

fn detections(id: &Symbol, plots: &[Plot]) -> Vec<Detection> {
    let mut rows: BTreeMap<i64, Vec<Detection>> = BTreeMap::new();
    for (track_id, plot) in (0..).zip(plots) {
        for frame_idx in plot.first..=plot.last {
            let row = rows.entry(frame_idx).or_default();
            row.push(Detection {
                video_id: id.clone(),
                frame_idx,
                det_idx: row.len() as i64,
                track_id: Some(track_id),
                x_min: plot.left,
                y_min: 80.0,
                x_max: plot.left + 60.0,
                y_max: 160.0,
                score: Some(0.9),
                landmarks: None,
                source: DetectionSource::Detected,
                sharpness: Some(0.5),
                frontality: Some(0.5),
                size_px: 69.0,
            });
        }
    }
    rows.into_values().flatten().collect()
}

fn track(id: &Symbol, track_id: i64, plot: &Plot) -> Track {
    Track {
        video_id: id.clone(),
        track_id,
        shot_idx: plot.shot,
        first_frame_idx: plot.first,
        last_frame_idx: plot.last,
        first_t_secs: secs(plot.first),
        last_t_secs: secs(plot.last),
        n_detections: plot.last - plot.first + 1,
        mean_score: 0.9,
        best_frame_idx: plot.first,
    }
}

fn crop(id: &Symbol, track_id: i64, rank: i64, plot: &Plot, random: &mut Random) -> Crop {
    Crop {
        video_id: id.clone(),
        track_id,
        rank,
        frame_idx: plot.first + 5 * rank,
        image: Some(face(plot.person, random)),
        width: 112,
        height: 112,
        transform: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        quality: (0.9 - 0.1 * rank as f32 - 0.2 * random.unit() as f32).clamp(0.0, 1.0),
    }
}

/// A face drawn by rule, the same for the same person up to a shift and the light.
fn face(person: usize, random: &mut Random) -> Vec<u8> {
    let (dx, dy, light) =
        (random.unit() * 10.0 - 5.0, random.unit() * 10.0 - 5.0, 0.75 + 0.4 * random.unit());
    let hue = person as f64 * 0.618;
    let tone = |base: f64, at: f64| (base + 45.0 * (std::f64::consts::TAU * (hue + at)).cos()) * light;
    let image = image::RgbImage::from_fn(112, 112, |x, y| {
        let (u, v) = ((f64::from(x) - 56.0 - dx) / 56.0, (f64::from(y) - 58.0 - dy) / 56.0);
        let inside =
            |cx: f64, cy: f64, rx: f64, ry: f64| ((u - cx) / rx).powi(2) + ((v - cy) / ry).powi(2) < 1.0;
        let eye = inside(-0.26, -0.15, 0.08, 0.07) || inside(0.26, -0.15, 0.08, 0.07);
        let mouth = inside(0.0, 0.42, 0.24, 0.06);
        let hair = inside(0.0, -0.3, 0.72, 0.62) && v < -0.36;
        let rgb = if eye || hair {
            [30.0 + tone(20.0, 0.5), 25.0, 22.0]
        } else if mouth {
            [150.0 * light, 60.0, 60.0]
        } else if inside(0.0, 0.02, 0.62, 0.82) {
            [205.0 * light, (150.0 + 10.0 * hue.sin()) * light, 120.0 * light]
        } else {
            [tone(110.0, 0.0), tone(110.0, 0.33), tone(110.0, 0.67)]
        };
        image::Rgb(rgb.map(|c| c.clamp(0.0, 255.0) as u8))
    });
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

fn embed(stage: &mut StageRun, id: &Symbol, plots: &[Plot], random: &mut Random) {
    let name = "made-up";
    let embedder = Embedder {
        name: name.into(),
        dim: DIM,
        weights_sha256: "0".repeat(64),
        license: "CC0-1.0".into(),
        same_up_to: None,
        similarity: None,
        quality: None,
    };
    let mut writer = stage.create::<TrackEmbedding>(&[embedder]).unwrap();
    for (track_id, plot) in (0..).zip(plots) {
        let mut own = Random(plot.person as u64 * 97 + 13);
        let vector: Vec<f32> =
            (0..DIM).map(|_| (own.unit() - 0.5 + 0.4 * (random.unit() - 0.5)) as f32).collect();
        let row = TrackEmbedding {
            video_id: id.clone(),
            track_id,
            embedder: name.into(),
            embedding: UnitVector::normalised(&vector).unwrap(),
            n_crops: 3,
            spread: 0.1,
        };
        writer.push(row).unwrap();
    }
    stage.finish(writer).unwrap();
}

fn cluster(stage: &mut StageRun, id: &Symbol, spec: &Spec, plots: &[Plot], random: &mut Random) {
    stage.figure("threshold", THRESHOLD);
    let n_clusters = plots.iter().filter_map(|p| p.cluster).max().map_or(0, |max| max + 1);
    stage.write(constraints(id, plots)).unwrap();
    let clusters = (0..).zip(plots).map(|(track_id, plot)| {
        let runner_up = plot.cluster.filter(|_| n_clusters > 1).map(|c| (c + 1) % n_clusters);
        Cluster {
            video_id: id.clone(),
            track_id,
            cluster_id: plot.cluster,
            is_noise: plot.cluster.is_none(),
            confidence: if plot.cluster.is_some() { 0.5 + 0.5 * random.unit() as f32 } else { 0.0 },
            runner_up_cluster_id: runner_up,
            margin: runner_up.map(|_| 0.4 * random.unit() as f32 - 0.05),
        }
    });
    stage.write(clusters.collect::<Vec<_>>()).unwrap();
    stage.write(if plots.len() > 1 { calibration(id) } else { Vec::new() }).unwrap();
    stage.write(linkage(id, plots, random)).unwrap();
    stage.write((0..n_clusters).map(|cluster_id| identity(id, spec, cluster_id, plots))).unwrap();
}

fn constraints(id: &Symbol, plots: &[Plot]) -> Vec<Constraint> {
    let mut rows = Vec::new();
    for (a, first) in plots.iter().enumerate() {
        for (b, second) in plots.iter().enumerate().skip(a + 1).take(2) {
            if first.first.max(second.first) <= first.last.min(second.last) {
                rows.push(Constraint {
                    video_id: id.clone(),
                    track_a: a as i64,
                    track_b: b as i64,
                    kind: ConstraintKind::CannotLink,
                    reason: ConstraintReason::Overlap,
                    weight: 1.0,
                    violated: first.cluster.is_some() && first.cluster == second.cluster,
                });
            }
        }
    }
    rows
}

/// Two kinds of pairs, the alike ones few.
fn calibration(id: &Symbol) -> Vec<Calibration> {
    let bell = |x: f64, mean: f64| (-((x - mean) / 0.15).powi(2) / 2.0).exp();
    let bin = |bin: i64| {
        let similarity = (bin as f64 + 0.5) / 500.0 - 1.0;
        let (two, one) = (900.0 * bell(similarity, 0.0), 60.0 * bell(similarity, 0.5));
        Calibration {
            video_id: id.clone(),
            bin,
            similarity,
            n_open: (two + one) as i64,
            n_apart: (two / 30.0) as i64,
            same: if similarity < 0.0 { 0.0 } else { one / (one + two) },
        }
    };
    (300..980).map(bin).filter(|bin| bin.n_open > 0).collect()
}

/// Random merges within every cluster below the threshold, then of clusters above it.
fn linkage(id: &Symbol, plots: &[Plot], random: &mut Random) -> Vec<Linkage> {
    let mut nodes: BTreeMap<(bool, i64), Vec<(i64, i64)>> = BTreeMap::new();
    for (track, plot) in (0..).zip(plots) {
        nodes.entry((plot.cluster.is_none(), plot.cluster.unwrap_or(track))).or_default().push((track, 1));
    }
    let n = plots.len() as i64;
    let mut rows: Vec<Linkage> = Vec::new();
    let mut merge = |(left, a): (i64, i64), (right, b): (i64, i64), distance: f64| {
        let (step, size) = (rows.len() as i64, a + b);
        let (left, right) = (left.min(right), left.max(right));
        rows.push(Linkage { video_id: id.clone(), step, left, right, distance, size });
        (n + step, size)
    };
    let within: usize = nodes.values().map(|nodes| nodes.len() - 1).sum();
    for step in 0..within {
        let open: Vec<_> = nodes.iter().filter(|(_, nodes)| nodes.len() > 1).map(|(key, _)| *key).collect();
        let group = nodes.get_mut(&open[random.below(open.len())]).unwrap();
        let (a, b) =
            (group.swap_remove(random.below(group.len())), group.swap_remove(random.below(group.len())));
        group.push(merge(a, b, 0.12 + (THRESHOLD - 0.14) * step as f64 / within as f64));
    }
    let mut roots: Vec<_> = nodes.into_values().flatten().collect();
    let between = roots.len().saturating_sub(1);
    for step in 0..between {
        let (a, b) =
            (roots.swap_remove(random.below(roots.len())), roots.swap_remove(random.below(roots.len())));
        let height = if step + 3 > between { 2.8 } else { 0.7 + 0.3 * step as f64 / between as f64 };
        roots.push(merge(a, b, height));
    }
    rows
}

fn identity(id: &Symbol, spec: &Spec, cluster_id: i64, plots: &[Plot]) -> Identity {
    let own: Vec<_> = (0_i64..).zip(plots).filter(|(_, p)| p.cluster == Some(cluster_id)).collect();
    let n_frames: i64 = own.iter().map(|(_, p)| p.last - p.first + 1).sum();
    Identity {
        video_id: id.clone(),
        cluster_id,
        name: spec.words.clone(),
        n_tracks: own.len() as i64,
        n_frames,
        screen_secs: secs(n_frames),
        first_t_secs: own.iter().map(|(_, p)| secs(p.first)).fold(f64::INFINITY, f64::min),
        last_t_secs: own.iter().map(|(_, p)| secs(p.last)).fold(0.0, f64::max),
        exemplar_track_id: own[own.len() / 2].0,
        exemplar_frame_idx: own[own.len() / 2].1.first,
    }
}

/// What is true of the run: boxes a little off, one in ten missing, every fifth track unknown.
fn labels(plots: &[Plot]) -> String {
    const NAMES: [&str; 9] = ["anna", "bert", "cleo", "dora", "emil", "fritz", "gitta", "hugo", "<b>ida</b>"];
    let mut csv = "frame,x,y,w,h,identity,shot\n".to_owned();
    for (at, plot) in plots.iter().enumerate() {
        let name = if at % 5 == 4 { "?" } else { NAMES[plot.person % NAMES.len()] };
        for frame in (plot.first..=plot.last).filter(|frame| frame % 10 != 0) {
            writeln!(csv, "{frame},{},81.0,62.0,78.0,{name},{}", plot.left + 2.0, plot.shot).unwrap();
        }
    }
    csv
}

/// Numbers that look random and are always the same (Knuth's multiplicative generator).
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }
}
