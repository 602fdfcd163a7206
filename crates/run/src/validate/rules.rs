//! Rules beyond single rows: within a table, and between the tables of a run. They also apply to rows that
//! break the contract by themselves, so sums must not overflow.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::error::Error;
use schema::footer::Embedder;
use schema::io::MOST_FAULTS;
use schema::tables::{
    Calibration, Cluster, Constraint, ConstraintKind, Crop, Detection, DetectionSource, Embedding, Frame,
    Identity, Label, Linkage, Shot, Track, TrackEmbedding, TrackView, Transition, Video,
};
use schema::{Row, Symbol};

use super::tables::{Rows, Tables};

/// Times that are copies of each other differ by no more, seconds.
const SAME_SECS: f64 = 1e-6;
/// What a PNG begins with.
const PNG: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];

/// Everything that is wrong.
pub(super) fn check(tables: &Tables) -> Vec<Error> {
    let mut faults = Vec::new();
    let world = World::new(tables);
    one_video(tables, &mut faults);
    each(&tables.videos, &mut faults, |_, row| video(row, &world));
    each(&tables.frames, &mut faults, |at, row| frame(row, at, &world));
    each(&tables.shots, &mut faults, |at, row| shot(row, at, &world));
    each(&tables.detections, &mut faults, |at, row| detection(row, at, &world));
    each(&tables.tracks, &mut faults, |_, row| track(row, &world));
    each(&tables.crops, &mut faults, |at, row| crop(row, at, &world));
    each(&tables.embeddings, &mut faults, |_, row| embedding(row, &world));
    each(&tables.track_embeddings, &mut faults, |_, row| track_embedding(row, &world));
    each(&tables.track_views, &mut faults, |_, row| track_view(row, &world));
    each(&tables.constraints, &mut faults, |_, row| constraint(row, &world));
    each(&tables.clusters, &mut faults, |_, row| cluster(row, &world));
    every_track_has_a_cluster(&world, &mut faults);
    each(&tables.calibration, &mut faults, |at, row| calibration(row, at, &world));
    dendrogram(&world, &mut faults);
    each(&tables.identities, &mut faults, |at, row| identity(row, at, &world));
    each(&tables.labels, &mut faults, |at, row| label(row, at, &world));
    faults
}

/// Applies a rule to every row; the rule gives all faults of a row.
pub fn each<'a, R: Row + 'a>(
    table: impl Into<Option<&'a Rows<R>>>,
    faults: &mut Vec<Error>,
    rule: impl Fn(usize, &R) -> Wrong,
) {
    let Some(table) = table.into() else { return };
    for (at, row) in table.rows.iter().enumerate() {
        note(faults, table, at, rule(at, row));
    }
}

/// Adds the faults of row `at`, up to [`MOST_FAULTS`].
pub fn note<R: Row>(faults: &mut Vec<Error>, table: &Rows<R>, at: usize, wrong: Wrong) {
    let room = MOST_FAULTS.saturating_sub(faults.len());
    faults.extend(wrong.0.into_iter().take(room).map(|reason| fault(table, at, reason)));
}

fn fault<R: Row>(table: &Rows<R>, at: usize, reason: String) -> Error {
    schema::Error::Row { path: table.path.clone(), table: R::TABLE.name, row: at as u64, reason }.into()
}

/// The faults of a row, as predicates of a sentence about it.
#[derive(Debug, Default)]
pub struct Wrong(Vec<String>);

impl Wrong {
    /// Adds a fault unless `holds`.
    pub fn unless(&mut self, holds: bool, reason: impl FnOnce() -> String) {
        if !holds {
            self.0.push(reason());
        }
    }

    fn range(&mut self, value: impl Into<f64>, [low, high]: [f64; 2], what: &str) {
        let value = value.into();
        self.unless((low..=high).contains(&value), || {
            format!("has {what} {value}; it must be {low} to {high}")
        });
    }

    /// Finds what a row refers to; notes a fault where that table is there and it is not in it.
    fn find<'a, K: std::hash::Hash + Eq + std::fmt::Display, T>(
        &mut self,
        index: &'a Index<K, T>,
        key: K,
    ) -> Option<&'a T> {
        let found = index.rows.as_ref()?.get(&key);
        self.unless(found.is_some(), || {
            format!("names {} {key}, which is not in `{}`", index.what, index.table)
        });
        found
    }
}

/// Rows by key; none where the table is not there.
struct Index<K, T> {
    table: &'static str,
    what: &'static str,
    rows: Option<HashMap<K, T>>,
}

impl<'a, R: Row> Index<i64, &'a R> {
    fn new(table: &'a Option<Rows<R>>, what: &'static str, key: impl Fn(&R) -> i64) -> Self {
        let rows = table.as_ref().map(|table| table.rows.iter().map(|row| (key(row), row)).collect());
        Self { table: R::TABLE.name, what, rows }
    }
}

/// What is known of each track beside its row.
#[derive(Debug, Default, Clone)]
struct Seen {
    /// Frames with a box.
    boxes: i64,
    /// Boxes that the detector saw.
    detected: i64,
}

/// Everything that rows refer to.
struct World<'a> {
    tables: &'a Tables,
    video: Option<&'a Video>,
    frames: Index<i64, &'a Frame>,
    shots: Index<i64, &'a Shot>,
    tracks: Index<i64, &'a Track>,
    clusters: Index<i64, &'a Cluster>,
    identities: Index<i64, &'a Identity>,
    seen: Option<HashMap<i64, Seen>>,
    /// Track and frame of each crop; none where the pictures were taken out.
    crops: Option<HashSet<(i64, i64)>>,
    /// Number of vectors of crops by embedder and track.
    vectors: Option<HashMap<(&'a Symbol, i64), i64>>,
    members: Option<BTreeMap<i64, i64>>,
}

impl<'a> World<'a> {
    fn new(tables: &'a Tables) -> Self {
        Self {
            tables,
            video: tables.videos.as_ref().and_then(|videos| videos.rows.first()),
            frames: Index::new(&tables.frames, "frame", |row| row.frame_idx),
            shots: Index::new(&tables.shots, "shot", |row| row.shot_idx),
            tracks: Index::new(&tables.tracks, "track", |row| row.track_id),
            clusters: Index::new(&tables.clusters, "track", |row| row.track_id),
            identities: Index::new(&tables.identities, "cluster", |row| row.cluster_id),
            seen: tables.detections.as_ref().map(|table| seen(&table.rows)),
            crops: tables
                .crops
                .as_ref()
                .filter(|table| !table.rows.is_empty())
                .map(|table| table.rows.iter().map(|row| (row.track_id, row.frame_idx)).collect()),
            vectors: tables.embeddings.as_ref().map(|table| {
                let mut count = HashMap::new();
                table
                    .rows
                    .iter()
                    .for_each(|row| *count.entry((&row.embedder, row.track_id)).or_default() += 1);
                count
            }),
            members: tables.clusters.as_ref().map(|table| {
                let mut count = BTreeMap::new();
                table
                    .rows
                    .iter()
                    .filter_map(|row| row.cluster_id)
                    .for_each(|id| *count.entry(id).or_default() += 1);
                count
            }),
        }
    }
}

fn seen(detections: &[Detection]) -> HashMap<i64, Seen> {
    let mut all: HashMap<i64, Seen> = HashMap::new();
    for row in detections {
        let Some(track_id) = row.track_id else { continue };
        let seen = all.entry(track_id).or_default();
        seen.boxes += 1;
        seen.detected += i64::from(row.source == DetectionSource::Detected);
    }
    all
}

/// All tables of a run speak of the same video.
fn one_video(tables: &Tables, faults: &mut Vec<Error>) {
    let Some(video_id) = tables.videos.as_ref().and_then(|t| t.rows.first()).map(|v| &v.video_id) else {
        return;
    };
    macro_rules! same {
        ($($field:ident),+) => { $(each(&tables.$field, faults, |_, row| {
            let mut wrong = Wrong::default();
            wrong.unless(row.video_id == *video_id, || {
                format!("belongs to the video {}, `videos` names {video_id}", row.video_id)
            });
            wrong
        });)+ };
    }
    same!(
        videos,
        frames,
        shots,
        detections,
        tracks,
        crops,
        embeddings,
        track_embeddings,
        track_views,
        constraints,
        clusters,
        calibration,
        linkage,
        identities,
        metrics,
        labels
    );
}

fn video(row: &Video, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong
        .unless(row.width > 0 && row.height > 0, || format!("has a frame of {} × {}", row.width, row.height));
    wrong.unless(row.time_base_num > 0 && row.time_base_den > 0, || "has a time base of 0 or less".into());
    wrong.unless([0, 90, 180, 270].contains(&row.rotation_degrees), || {
        format!("has a rotation of {} degrees", row.rotation_degrees)
    });
    wrong.unless(row.sha256.len() == 64 && row.sha256.starts_with(row.video_id.as_str()), || {
        "has a video_id that is not the beginning of its SHA-256".into()
    });
    if let Some(frames) = &world.tables.frames {
        let found = frames.rows.len();
        wrong.unless(usize::try_from(row.frame_count) == Ok(found), || {
            format!("declares {} frames, `frames` has {found}", row.frame_count)
        });
    }
    wrong
}

/// `*_idx` counts from zero without holes.
fn counts(wrong: &mut Wrong, idx: i64, at: usize, what: &str) {
    wrong.unless(usize::try_from(idx) == Ok(at), || format!("has {what} {idx}, expected {at}"));
}

fn frame(row: &Frame, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    counts(&mut wrong, row.frame_idx, at, "frame_idx");
    let before = at.checked_sub(1).and_then(|before| world.tables.frames.as_ref()?.rows.get(before));
    wrong.unless(before.is_none_or(|before| before.pts_ticks < row.pts_ticks), || {
        "has a time that is not after the time of the previous frame".into()
    });
    wrong
}

/// First and last frame are there, in order, at the times that are claimed.
fn span(wrong: &mut Wrong, frames: [i64; 2], secs: [f64; 2], world: &World<'_>) {
    wrong.unless(frames[0] <= frames[1], || format!("ends at frame {}, before it begins", frames[1]));
    for (frame_idx, secs) in frames.into_iter().zip(secs) {
        if let Some(frame) = wrong.find(&world.frames, frame_idx) {
            wrong.unless((frame.t_secs - secs).abs() <= SAME_SECS, || {
                format!("has frame {frame_idx} at {secs} s, `frames` at {} s", frame.t_secs)
            });
        }
    }
}

fn shot(row: &Shot, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    counts(&mut wrong, row.shot_idx, at, "shot_idx");
    span(&mut wrong, [row.first_frame_idx, row.last_frame_idx], [row.first_t_secs, row.last_t_secs], world);
    let rows = world.tables.shots.as_ref().map_or(&[][..], |table| &table.rows);
    let before = at.checked_sub(1).and_then(|before| rows.get(before));
    let next = before.map_or(0, |before| before.last_frame_idx.saturating_add(1));
    wrong.unless(row.first_frame_idx == next, || {
        format!("begins at frame {}, expected frame {next}", row.first_frame_idx)
    });
    let is_last = at + 1 == rows.len();
    let frame_count = world.video.map(|video| video.frame_count).filter(|_| is_last);
    wrong.unless(frame_count.is_none_or(|count| row.last_frame_idx.saturating_add(1) == count), || {
        format!("is the last shot and ends at frame {}, not at the end of the video", row.last_frame_idx)
    });
    wrong.unless((row.transition == Transition::Start) == (at == 0), || {
        "must have the transition `start` exactly when it is the first shot".into()
    });
    if let Some(score) = row.score {
        wrong.range(score, [0.0, 1.0], "the score");
    }
    wrong
}

fn detection(row: &Detection, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    let rows = world.tables.detections.as_ref().map_or(&[][..], |table| &table.rows);
    let before = at.checked_sub(1).and_then(|before| rows.get(before));
    let next = before
        .filter(|before| before.frame_idx == row.frame_idx)
        .map_or(0, |before| before.det_idx.saturating_add(1));
    wrong.unless(row.det_idx == next, || format!("has det_idx {}, expected {next}", row.det_idx));
    wrong.find(&world.frames, row.frame_idx);
    if let Some(video) = world.video {
        wrong.unless(is_in_frame(row, video), || {
            format!(
                "has a box outside the frame of {} × {}: x {}..{}, y {}..{}",
                video.width, video.height, row.x_min, row.x_max, row.y_min, row.y_max
            )
        });
    }
    for (value, what) in
        [(row.score, "the score"), (row.sharpness, "the sharpness"), (row.frontality, "the frontality")]
    {
        value.into_iter().for_each(|value| wrong.range(value, [0.0, 1.0], what));
    }
    let detected = row.source == DetectionSource::Detected;
    wrong.unless(row.score.is_some() == detected, || {
        "must have a score exactly when its source is `detected`".into()
    });
    if let Some(track) = row.track_id.and_then(|track_id| wrong.find(&world.tracks, track_id)) {
        wrong.unless((track.first_frame_idx..=track.last_frame_idx).contains(&row.frame_idx), || {
            let (first, last) = (track.first_frame_idx, track.last_frame_idx);
            format!("is at frame {}, its track {} at frames {first} to {last}", row.frame_idx, track.track_id)
        });
    }
    wrong
}

/// Faces reach over the edge of the frame, so their boxes may; a box beside it shows nothing.
fn is_in_frame(row: &Detection, video: &Video) -> bool {
    let inside = |low: f32, high: f32, size: i64| high > 0.0 && f64::from(low) < size as f64;
    inside(row.x_min, row.x_max, video.width) && inside(row.y_min, row.y_max, video.height)
}

fn track(row: &Track, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    span(&mut wrong, [row.first_frame_idx, row.last_frame_idx], [row.first_t_secs, row.last_t_secs], world);
    if let Some(shot) = wrong.find(&world.shots, row.shot_idx) {
        let frames = shot.first_frame_idx..=shot.last_frame_idx;
        wrong.unless(frames.contains(&row.first_frame_idx) && frames.contains(&row.last_frame_idx), || {
            format!("leaves its shot {}", row.shot_idx)
        });
    }
    wrong.range(row.mean_score, [0.0, 1.0], "the mean score");
    if let Some(seen) = &world.seen {
        let Seen { boxes, detected } = seen.get(&row.track_id).cloned().unwrap_or_default();
        let frames = row.last_frame_idx.saturating_sub(row.first_frame_idx).saturating_add(1);
        wrong.unless(boxes == frames, || format!("has {frames} frames, but {boxes} boxes in `detections`"));
        wrong.unless(detected == row.n_detections, || {
            format!("declares {} detections, `detections` has {detected}", row.n_detections)
        });
    }
    wrong
}

fn crop(row: &Crop, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    let rows = world.tables.crops.as_ref().map_or(&[][..], |table| &table.rows);
    let before = at.checked_sub(1).and_then(|before| rows.get(before));
    let next = before
        .filter(|before| before.track_id == row.track_id)
        .map_or(0, |before| before.rank.saturating_add(1));
    wrong.unless(row.rank == next, || format!("has rank {}, expected {next}", row.rank));
    wrong.range(row.quality, [0.0, 1.0], "the quality");
    // A run may keep no pictures.
    if let Some(image) = &row.image {
        picture(row, image, &mut wrong);
    }
    if let Some(track) = wrong.find(&world.tracks, row.track_id) {
        wrong.unless((track.first_frame_idx..=track.last_frame_idx).contains(&row.frame_idx), || {
            format!("is from frame {}, which is outside its track", row.frame_idx)
        });
    }
    wrong
}

/// Whether a picture is a PNG of the size that its row claims.
fn picture(row: &Crop, image: &[u8], wrong: &mut Wrong) {
    let size =
        |from: usize| image.get(from..from + 4)?.try_into().ok().map(u32::from_be_bytes).map(i64::from);
    let found = size(16).zip(size(20)).filter(|_| image.starts_with(&PNG));
    wrong.unless(found == Some((row.width, row.height)), || match found {
        Some((width, height)) => {
            format!("declares {} × {} pixels, its image has {width} × {height}", row.width, row.height)
        }
        None => "has an image that is not a PNG".into(),
    });
}

fn embedding(row: &Embedding, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.find(&world.tracks, row.track_id);
    wrong.unless(row.norm > 0.0, || format!("has norm {}", row.norm));
    known_embedder(&mut wrong, &row.embedder, world.tables.embeddings.as_ref().map(|table| &table.embedders));
    if let Some(crops) = &world.crops {
        wrong.unless(crops.contains(&(row.track_id, row.frame_idx)), || {
            format!("belongs to track {} at frame {}, which has no crop", row.track_id, row.frame_idx)
        });
    }
    wrong
}

fn known_embedder(wrong: &mut Wrong, embedder: &Symbol, known: Option<&Vec<Embedder>>) {
    let known = known.is_none_or(|known| known.iter().any(|known| known.name == embedder.as_str()));
    wrong.unless(known, || format!("has the embedder `{embedder}`, which is not in the footer"));
}

fn track_embedding(row: &TrackEmbedding, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.find(&world.tracks, row.track_id);
    wrong.range(row.spread, [0.0, 2.0], "the spread");
    known_embedder(
        &mut wrong,
        &row.embedder,
        world.tables.track_embeddings.as_ref().map(|table| &table.embedders),
    );
    let most = match &world.vectors {
        Some(vectors) => vectors.get(&(&row.embedder, row.track_id)).copied().unwrap_or(0),
        None => i64::MAX,
    };
    wrong.unless((1..=most).contains(&row.n_crops), || {
        format!("is pooled from {} crops, `embeddings` has {most}", row.n_crops)
    });
    wrong
}

fn track_view(row: &TrackView, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.find(&world.tracks, row.track_id);
    let known = world.tables.track_views.as_ref().map(|table| &table.embedders);
    known_embedder(&mut wrong, &row.embedder, known);
    let embedder = known.and_then(|known| known.iter().find(|known| known.name == row.embedder.as_str()));
    let found = row.embedding.0.as_slice().len();
    let dim = embedder.map_or(found, |embedder| embedder.dim);
    wrong.unless(found == dim, || format!("has a vector of length {found}, the footer declares {dim}"));
    wrong
}

fn constraint(row: &Constraint, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.range(row.weight, [0.0, 1.0], "the weight");
    wrong.find(&world.tracks, row.track_a);
    wrong.find(&world.tracks, row.track_b);
    let clusters = wrong.find(&world.clusters, row.track_a).zip(wrong.find(&world.clusters, row.track_b));
    if let Some((a, b)) = clusters {
        let together = a.cluster_id.is_some() && a.cluster_id == b.cluster_id;
        let violated = match row.kind {
            ConstraintKind::CannotLink => together,
            ConstraintKind::MustLink => !together,
        };
        wrong.unless(row.violated == violated, || {
            let what = if violated { "goes" } else { "does not go" };
            format!("says violated = {}, but `clusters` {what} against it", row.violated)
        });
    }
    wrong
}

fn cluster(row: &Cluster, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.find(&world.tracks, row.track_id);
    wrong.range(row.confidence, [0.0, 1.0], "the confidence");
    for cluster_id in [row.cluster_id, row.runner_up_cluster_id].into_iter().flatten() {
        wrong.find(&world.identities, cluster_id);
    }
    wrong.unless(row.runner_up_cluster_id.is_none() || row.runner_up_cluster_id != row.cluster_id, || {
        "is its own runner-up".into()
    });
    wrong
}

fn every_track_has_a_cluster(world: &World<'_>, faults: &mut Vec<Error>) {
    let (Some(tracks), Some(clusters)) = (&world.tables.tracks, &world.clusters.rows) else { return };
    for (at, row) in tracks.rows.iter().enumerate() {
        if !clusters.contains_key(&row.track_id) {
            let reason = format!("has track {}, which is not in `clusters`", row.track_id);
            note(faults, tracks, at, Wrong(vec![reason]));
        }
    }
}

fn calibration(row: &Calibration, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.range(row.similarity, [-1.0, 1.0], "the similarity");
    wrong.range(row.same, [0.0, 1.0], "the probability");
    let before = at.checked_sub(1).and_then(|before| world.tables.calibration.as_ref()?.rows.get(before));
    wrong.unless(
        before.is_none_or(|before| before.same <= row.same && before.similarity < row.similarity),
        || "is smaller than in the previous row".into(),
    );
    wrong
}

/// The merges are a forest over the tracks: every node is joined once, heights never fall.
fn dendrogram(world: &World<'_>, faults: &mut Vec<Error>) {
    let Some(linkage) = &world.tables.linkage else { return };
    // The number of leaves follows from a complete tree.
    let leaves = world.tables.track_embeddings.as_ref().map_or(linkage.rows.len() + 1, |table| {
        let first = table.embedders.first().map_or("", |first| &first.name);
        table.rows.iter().filter(|row| row.embedder.as_str() == first).count()
    });
    let mut sizes: Vec<i64> = vec![1; leaves];
    let mut joined = BTreeSet::new();
    let mut height = f64::NEG_INFINITY;
    for (at, row) in linkage.rows.iter().enumerate() {
        let wrong = merge(row, at, height, &sizes, &mut joined);
        note(faults, linkage, at, wrong);
        height = row.distance;
        sizes.push(row.size);
    }
}

fn merge(row: &Linkage, at: usize, height: f64, sizes: &[i64], joined: &mut BTreeSet<i64>) -> Wrong {
    let mut wrong = Wrong::default();
    counts(&mut wrong, row.step, at, "step");
    wrong.unless(row.left < row.right, || "must have the smaller node in `left`".into());
    wrong.unless(row.distance >= height, || format!("decreases from {height} to {}", row.distance));
    let size = |node: i64| usize::try_from(node).ok().and_then(|node| sizes.get(node)).copied();
    for node in [row.left, row.right] {
        wrong.unless(size(node).is_some(), || format!("merges node {node}, which does not exist yet"));
        wrong.unless(joined.insert(node), || format!("merges node {node}, which is merged already"));
    }
    if let Some((left, right)) = size(row.left).zip(size(row.right)) {
        let parts = left.saturating_add(right);
        wrong.unless(row.size == parts, || format!("has {} tracks, its parts have {parts}", row.size));
    }
    wrong
}

fn identity(row: &Identity, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    counts(&mut wrong, row.cluster_id, at, "cluster_id");
    let before = at.checked_sub(1).and_then(|before| world.tables.identities.as_ref()?.rows.get(before));
    wrong.unless(before.is_none_or(|before| before.screen_secs >= row.screen_secs), || {
        "has more screen time than the previous row".into()
    });
    wrong.unless(row.first_t_secs <= row.last_t_secs, || {
        "has a last appearance before its first appearance".into()
    });
    wrong.find(&world.frames, row.exemplar_frame_idx);
    if let Some(members) = &world.members {
        let found = members.get(&row.cluster_id).copied().unwrap_or(0);
        wrong.unless(row.n_tracks == found, || {
            format!("declares {} tracks, `clusters` has {found}", row.n_tracks)
        });
    }
    if let Some(exemplar) = wrong.find(&world.clusters, row.exemplar_track_id) {
        wrong.unless(exemplar.cluster_id == Some(row.cluster_id), || {
            format!("has its exemplar in track {}, which is not in the cluster", row.exemplar_track_id)
        });
    }
    wrong
}

fn label(row: &Label, at: usize, world: &World<'_>) -> Wrong {
    let mut wrong = Wrong::default();
    counts(&mut wrong, row.label_idx, at, "label_idx");
    wrong.unless(row.frame_idx.is_some() != row.track_id.is_some(), || "must name a frame or a track".into());
    row.frame_idx.map(|frame_idx| wrong.find(&world.frames, frame_idx));
    row.track_id.map(|track_id| wrong.find(&world.tracks, track_id));
    match (row.x_min, row.y_min, row.x_max, row.y_max) {
        (None, None, None, None) => {}
        (Some(x_min), Some(y_min), Some(x_max), Some(y_max)) => {
            wrong.unless(x_min < x_max && y_min < y_max, || "has an empty box".into());
        }
        _ => wrong.unless(false, || "has an incomplete box".into()),
    }
    wrong
}
