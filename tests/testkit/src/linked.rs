//! A run that is linked, with pictures: people who return over several shots, a few tracks that are linked
//! wrongly, some noise, and faces drawn by rule.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use picture::Format;
use schema::footer::Embedder;
use schema::tables::DoubtKind;

use crate::people;
use crate::random::SplitMix64;
use crate::synthetic::{Linking, SyntheticCrop, SyntheticDoubt, SyntheticRun, SyntheticTrack};

/// Frames of a shot.
const SHOT_FRAMES: i64 = 110;
/// Width and height of a face, pixels.
const SIDE: u32 = 112;
/// Distance at which the tree is cut.
pub const THRESHOLD: f64 = 0.62;

/// What the run holds.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name of the video file.
    pub file_name: String,
    /// Text in place of all text of strangers: names of people, warnings, settings, the codec.
    pub text: Option<String>,
    /// Number of tracks.
    pub tracks: usize,
    /// Number of people.
    pub people: usize,
    /// Number of tracks that are noise.
    pub noise: usize,
    /// Crops of each track.
    pub crops_per_track: i64,
    /// Number of components of a vector.
    pub dim: usize,
    /// Whether the embedder has a quality table, by which linking weighs evidence.
    pub has_quality: bool,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            file_name: "dinner.mp4".into(),
            text: None,
            tracks: 60,
            people: 9,
            noise: 3,
            crops_per_track: 3,
            dim: 16,
            has_quality: false,
        }
    }
}

/// A track before it has vectors and pictures.
struct Plot {
    person: usize,
    cluster: Option<i64>,
    shot: i64,
    first: i64,
    last: i64,
    left: f32,
}

/// Writes the run at `root`, as `cluster` would leave it; gives labels for it as CSV.
pub fn write(root: &Path, spec: &Spec) -> String {
    let mut random = SplitMix64::new(7);
    let plots = plots(spec, &mut random);
    let n_shots = plots.iter().map(|p| p.shot + 1).max().unwrap_or(3);
    let n_clusters = plots.iter().filter_map(|p| p.cluster).max().map_or(0, |most| most + 1);
    let merges = merges(&plots, &mut random);
    let run = SyntheticRun {
        file_name: spec.file_name.clone(),
        video_sha256: "0123456789abcdef".repeat(4),
        codec: spec.text.clone().unwrap_or_else(|| "h264".into()),
        config: serde_json::json!({ "method": spec.text.as_deref().unwrap_or("average") }),
        warning: Some(spec.text.clone().unwrap_or_else(|| "2 frames of 6,600 could not be decoded".into())),
        shots: (0..=n_shots).map(|shot| shot * SHOT_FRAMES).collect(),
        tracks: plots.iter().map(|plot| track(spec, plot, n_clusters, &mut random)).collect(),
        embedder: Embedder {
            name: "made-up".into(),
            dim: spec.dim,
            weights_sha256: "0".repeat(64),
            license: "CC0-1.0".into(),
            same_up_to: None,
            similarity: None,
            quality: spec.has_quality.then(|| people::quality(spec.dim)),
        },
        linking: Some(Linking {
            threshold: Some(THRESHOLD),
            name: spec.text.clone(),
            doubts: doubts(&plots),
            cuts: [0.0, 0.3, THRESHOLD, 0.8, 0.9].map(|at| (at, cut(&plots, &merges, at))).into(),
            merges,
            calibration: if plots.len() > 1 { calibration() } else { Vec::new() },
        }),
    };
    run.write(root).unwrap();
    labels(&plots)
}

fn plots(spec: &Spec, random: &mut SplitMix64) -> Vec<Plot> {
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

fn track(spec: &Spec, plot: &Plot, n_clusters: i64, random: &mut SplitMix64) -> SyntheticTrack {
    let mut own = SplitMix64::new(plot.person as u64 * 97 + 13);
    let vector = (0..spec.dim).map(|_| (own.unit() - 0.5 + 0.4 * (random.unit() - 0.5)) as f32).collect();
    let crop = |rank: i64| SyntheticCrop {
        frame: plot.first + 5 * rank,
        quality: (0.9 - 0.1 * rank as f32 - 0.2 * random.unit() as f32).clamp(0.0, 1.0),
        image: Some(face(plot.person, random)),
        vector: None,
        norm: if spec.has_quality { people::USUAL_NORM as f32 } else { 1.0 },
    };
    let crops = (0..spec.crops_per_track).map(crop).collect();
    let (confidence, margin) = (0.5 + 0.5 * random.unit() as f32, 0.4 * random.unit() as f32 - 0.05);
    SyntheticTrack {
        shot: plot.shot,
        frames: (plot.first, plot.last),
        bbox: [plot.left, 80.0, 60.0, 80.0],
        vector,
        n_crops: spec.crops_per_track.max(1),
        crops,
        cluster: plot.cluster,
        confidence: if plot.cluster.is_some() { confidence } else { 0.0 },
        margin: plot.cluster.filter(|_| n_clusters > 1).map(|_| margin),
    }
}

/// A face drawn by rule, the same for the same person up to a shift and the light: a JPEG of every other person, and a
/// PNG of the rest, because a table may have both.
pub(crate) fn face(person: usize, random: &mut SplitMix64) -> Vec<u8> {
    let (dx, dy, light) =
        (random.unit() * 10.0 - 5.0, random.unit() * 10.0 - 5.0, 0.75 + 0.4 * random.unit());
    let hue = person as f64 * 0.618;
    let tone = |base: f64, at: f64| (base + 45.0 * (std::f64::consts::TAU * (hue + at)).cos()) * light;
    let image = image::RgbImage::from_fn(SIDE, SIDE, |x, y| {
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
    let format = if person.is_multiple_of(2) { Format::Jpeg } else { Format::Png };
    picture::encode(&image, SIDE, SIDE, format).unwrap()
}

/// Two kinds of pairs, with few similar ones.
fn calibration() -> Vec<(i64, f64, i64, i64, f64)> {
    let bell = |x: f64, mean: f64| (-((x - mean) / 0.15).powi(2) / 2.0).exp();
    let bin = |bin: i64| {
        let similarity = (bin as f64 + 0.5) / 500.0 - 1.0;
        let (two, one) = (900.0 * bell(similarity, 0.0), 60.0 * bell(similarity, 0.5));
        let same = if similarity < 0.0 { 0.0 } else { one / (one + two) };
        (bin, similarity, (two + one) as i64, (two / 30.0) as i64, same)
    };
    (300..980).map(bin).filter(|(_, _, pairs, ..)| *pairs > 0).collect()
}

/// Random merges within every cluster below the threshold, then of clusters above it.
fn merges(plots: &[Plot], random: &mut SplitMix64) -> Vec<(i64, i64, f64, i64)> {
    let mut nodes: BTreeMap<(bool, i64), Vec<(i64, i64)>> = BTreeMap::new();
    for (track, plot) in (0..).zip(plots) {
        nodes.entry((plot.cluster.is_none(), plot.cluster.unwrap_or(track))).or_default().push((track, 1));
    }
    let n = plots.len() as i64;
    let mut rows: Vec<(i64, i64, f64, i64)> = Vec::new();
    let mut merge = |(left, a): (i64, i64), (right, b): (i64, i64), distance: f64| {
        let (step, size) = (rows.len() as i64, a + b);
        let (left, right) = (left.min(right), left.max(right));
        rows.push((left, right, distance, size));
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

/// Doubts of every kind, if there are two people: the first two may be one, and some tracks may be wrong.
fn doubts(plots: &[Plot]) -> Vec<SyntheticDoubt> {
    let mut doubts = Vec::new();
    if plots.iter().any(|plot| plot.cluster == Some(1)) {
        doubts.push((DoubtKind::Split, None, Some(0), Some(1), 0.31));
    }
    for (track, plot) in (0..).zip(plots) {
        match plot.cluster {
            Some(_) if track % 7 == 3 => {
                doubts.push((DoubtKind::Stranger, Some(track), plot.cluster, None, 0.12));
            }
            Some(_) if track % 11 == 5 => {
                doubts.push((DoubtKind::NotAFace, Some(track), plot.cluster, None, 0.05));
            }
            None if doubts.len() > 1 => doubts.push((DoubtKind::Unsorted, Some(track), Some(0), None, 0.45)),
            _ => {}
        }
    }
    doubts
}

/// The people when merges up to a distance are made, numbered by their first tracks; single tracks that are noise stay
/// noise.
fn cut(plots: &[Plot], merges: &[(i64, i64, f64, i64)], threshold: f64) -> Vec<Option<i64>> {
    let mut groups: Vec<Vec<usize>> = (0..plots.len()).map(|track| vec![track]).collect();
    for (left, right, distance, _) in merges {
        if *distance > threshold {
            groups.push(Vec::new());
            continue;
        }
        let (left, right) =
            (std::mem::take(&mut groups[*left as usize]), std::mem::take(&mut groups[*right as usize]));
        groups.push([left, right].concat());
    }
    groups.retain(|group| match group[..] {
        [] => false,
        [track] => plots[track].cluster.is_some(),
        _ => true,
    });
    groups.sort_by_key(|group| group.iter().min().copied());
    let mut people = vec![None; plots.len()];
    for (person, group) in (0..).zip(&groups) {
        group.iter().for_each(|track| people[*track] = Some(person));
    }
    people
}

/// The truth about the run: boxes a little off, one in ten missing, every fifth track unknown.
fn labels(plots: &[Plot]) -> String {
    const NAMES: [&str; 9] = ["anna", "bert", "<b>ida</b>", "dora", "emil", "fritz", "gitta", "hugo", "cleo"];
    let mut csv = "frame,x,y,w,h,identity,shot\n".to_owned();
    for (at, plot) in plots.iter().enumerate() {
        let name = if at % 5 == 4 { "?" } else { NAMES[plot.person % NAMES.len()] };
        for frame in (plot.first..=plot.last).filter(|frame| frame % 10 != 0) {
            writeln!(csv, "{frame},{},81.0,62.0,78.0,{name},{}", plot.left + 2.0, plot.shot).unwrap();
        }
    }
    csv
}
