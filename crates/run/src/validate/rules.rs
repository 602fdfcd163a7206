//! Rules beyond single rows: within a table, and between the tables of a run. They also apply to rows that
//! break the contract by themselves, so sums must not overflow.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use crate::appearances::appearances;
use crate::error::Error;
use schema::footer::{Embedder, Picture};
use schema::io::MOST_FAULTS;
use schema::tables::{
    Appearance, Cluster, Constraint, ConstraintKind, Crop, Detection, DetectionSource, Edit, EditAnchor,
    Frame, Identity, Label, LinkVector, Shot, Track, Transition, Video,
};
use schema::{Row, Symbol};

use super::tables::{Rows, Tables, size_of_slim};

/// Times that are copies of each other differ by no more, seconds.
const SAME_SECS: f64 = 1e-6;

/// Everything that is wrong.
pub(super) fn check(tables: &Tables) -> Vec<Error> {
    let mut faults = Vec::new();
    let world = World::new(tables);
    one_video(&world, &mut faults);
    each(&tables.videos, &mut faults, |wrong, _, _, row| video(wrong, row, &world));
    each(&tables.frames, &mut faults, frame);
    each(&tables.shots, &mut faults, |wrong, at, before, row| shot(wrong, at, before, row, &world));
    each(&tables.detections, &mut faults, |wrong, _, before, row| detection(wrong, before, row, &world));
    faults.extend(picture(&world));
    each(&tables.tracks, &mut faults, |wrong, _, _, row| track(wrong, row, &world));
    each(&tables.crops, &mut faults, |wrong, _, before, row| crop(wrong, before, row, &world));
    each(&tables.embeddings, &mut faults, |wrong, _, _, row| {
        wrong.find(&world.tracks, row.track_id);
        wrong.unless(row.norm > 0.0, format_args!("has norm {}", row.norm));
        wrong.embedder(&row.embedder, &tables.embeddings);
        let (track_id, frame_idx) = (row.track_id, row.frame_idx);
        let has_crop = world.crops.as_ref().is_none_or(|crops| crops.contains(&(track_id, frame_idx)));
        wrong.unless(
            has_crop,
            format_args!("belongs to track {track_id} at frame {frame_idx}, which has no crop"),
        );
    });
    each(&tables.track_embeddings, &mut faults, |wrong, _, _, row| {
        wrong.find(&world.tracks, row.track_id);
        wrong.range(row.spread, [0.0, 2.0], "the spread");
        wrong.embedder(&row.embedder, &tables.track_embeddings);
        let key = (&row.embedder, row.track_id);
        let most = world.vectors.as_ref().map_or(i64::MAX, |vectors| *vectors.get(&key).unwrap_or(&0));
        let (n, is_possible) = (row.n_crops, (1..=most).contains(&row.n_crops));
        wrong.unless(is_possible, format_args!("is pooled from {n} crops, `embeddings` has {most}"));
    });
    each(&tables.track_views, &mut faults, |wrong, _, _, row| {
        wrong.find(&world.tracks, row.track_id);
        wrong.embedder(&row.embedder, &tables.track_views);
        let known = tables.track_views.iter().flat_map(|table| &table.embedders);
        let dim = known.into_iter().find(|known| known.name == row.embedder.as_str()).map(|known| known.dim);
        let found = row.embedding.0.as_slice().len();
        let dim = dim.unwrap_or(found);
        wrong.unless(found == dim, format_args!("has a vector of length {found}, the footer declares {dim}"));
    });
    each(&tables.constraints, &mut faults, |wrong, _, _, row| constraint(wrong, row, &world));
    each(&tables.clusters, &mut faults, |wrong, _, _, row| {
        wrong.find(&world.tracks, row.track_id);
        wrong.range(row.confidence, [0.0, 1.0], "the confidence");
        for cluster_id in [row.cluster_id, row.runner_up_cluster_id].into_iter().flatten() {
            wrong.find(&world.identities, cluster_id);
        }
        let is_other = row.runner_up_cluster_id.is_none() || row.runner_up_cluster_id != row.cluster_id;
        wrong.unless(is_other, "is its own runner-up");
    });
    each(&tables.tracks, &mut faults, |wrong, _, _, row| {
        let has_cluster = world.clusters.rows.as_ref().is_none_or(|rows| rows.contains_key(&row.track_id));
        wrong.unless(has_cluster, format_args!("has track {}, which is not in `clusters`", row.track_id));
    });
    each(&tables.calibration, &mut faults, |wrong, _, before, row| {
        wrong.range(row.similarity, [-1.0, 1.0], "the similarity");
        wrong.range(row.same, [0.0, 1.0], "the probability");
        let rises = before.is_none_or(|before| before.same <= row.same && before.similarity < row.similarity);
        wrong.unless(rises, "is smaller than in the previous row");
    });
    dendrogram(tables, &mut faults);
    each(&tables.link_vectors, &mut faults, |wrong, _, before, row| link_vector(wrong, before, row, &world));
    each(&tables.identities, &mut faults, |wrong, at, before, row| identity(wrong, at, before, row, &world));
    check_appearances(&world, &mut faults);
    each(&tables.doubts, &mut faults, |wrong, at, _, row| {
        wrong.counts(row.doubt_idx, at, "doubt_idx");
        wrong.range(row.probability, [0.0, 1.0], "the probability");
        row.track_id.map(|track_id| wrong.find(&world.tracks, track_id));
        for cluster_id in [row.cluster_id, row.other_cluster_id].into_iter().flatten() {
            wrong.find(&world.identities, cluster_id);
        }
    });
    each(&tables.cuts, &mut faults, |wrong, _, before, row| {
        wrong.find(&world.tracks, row.track_id);
        let rises = before.is_none_or(|before| before.threshold <= row.threshold);
        wrong.unless(rises, "has a smaller threshold than the previous row");
    });
    each(&tables.labels, &mut faults, |wrong, at, _, row| label(wrong, at, row, &world));
    check_edits(tables.edits.as_ref(), tables.edit_anchors.as_ref(), &mut faults);
    faults
}

/// Checks a log of corrections: every correction has faces, and the boxes of a face are in order.
pub fn check_edits(edits: Option<&Rows<Edit>>, anchors: Option<&Rows<EditAnchor>>, faults: &mut Vec<Error>) {
    let of_edits: HashSet<i64> =
        anchors.iter().flat_map(|table| &table.rows).map(|row| row.edit_id).collect();
    let mut known = HashSet::new();
    each(edits, faults, |wrong, _, _, row| {
        known.insert(row.edit_id);
        match row.undoes {
            Some(undone) => wrong.unless(
                known.contains(&undone),
                format_args!("undoes correction {undone}, which is not in `edits`"),
            ),
            None => wrong.unless(
                of_edits.contains(&row.edit_id),
                format_args!("is correction {}, which has no face in `edit_anchors`", row.edit_id),
            ),
        }
    });
    each(anchors, faults, |wrong, _, before, row| {
        let side = |row: &EditAnchor| (row.edit_id, row.side);
        let in_side = before.filter(|before| side(before) == side(row));
        let in_mark = in_side.filter(|before| before.mark_idx == row.mark_idx);
        let next = in_mark.map_or(0, |before| before.anchor_idx.saturating_add(1));
        wrong.unless(
            row.anchor_idx == next,
            format_args!("has anchor_idx {}, expected {next}", row.anchor_idx),
        );
        if in_mark.is_none() {
            let next = in_side.map_or(0, |before| before.mark_idx.saturating_add(1));
            wrong
                .unless(row.mark_idx == next, format_args!("has mark_idx {}, expected {next}", row.mark_idx));
        }
        if let Some(before) = in_mark {
            wrong.unless(before.t_secs <= row.t_secs, "is earlier than the previous row of its face");
            let is_same = before.video_sha256 == row.video_sha256;
            wrong.unless(is_same, "is of another video than the previous row of its face");
        }
    });
}

/// Applies a rule to every row. The rule gets the number of the row, the row before it, and the row, and notes all
/// faults of the row; of all faults the first [`MOST_FAULTS`] count.
pub fn each<'a, R: Row + 'a>(
    table: impl Into<Option<&'a Rows<R>>>,
    faults: &mut Vec<Error>,
    mut rule: impl FnMut(&mut Wrong, usize, Option<&R>, &R),
) {
    let Some(table) = table.into() else { return };
    let mut before = None;
    for (at, row) in table.rows.iter().enumerate() {
        let mut wrong = Wrong::default();
        rule(&mut wrong, at, before, row);
        before = Some(row);
        let room = MOST_FAULTS.saturating_sub(faults.len());
        faults.extend(wrong.0.into_iter().take(room).map(|reason| {
            schema::Error::Row { path: table.path.clone(), table: R::TABLE.name, row: at as u64, reason }
                .into()
        }));
    }
}

/// The faults of a row, as predicates of a sentence about it.
#[derive(Debug, Default)]
pub struct Wrong(Vec<String>);

impl Wrong {
    /// Adds a fault unless `holds`.
    pub fn unless(&mut self, holds: bool, reason: impl Display) {
        if !holds {
            self.0.push(reason.to_string());
        }
    }

    fn range(&mut self, value: impl Into<f64>, [low, high]: [f64; 2], what: &str) {
        let value = value.into();
        let holds = (low..=high).contains(&value);
        self.unless(holds, format_args!("has {what} {value}; it must be {low} to {high}"));
    }

    /// `*_idx` counts from zero without holes.
    fn counts(&mut self, idx: i64, at: usize, what: &str) {
        self.unless(usize::try_from(idx) == Ok(at), format_args!("has {what} {idx}, expected {at}"));
    }

    /// Finds what a row refers to; notes a fault where that table is there and it is not in it.
    fn find<'a, R: Row>(&mut self, index: &Index<'a, R>, key: i64) -> Option<&'a R> {
        let found = index.rows.as_ref()?.get(&key).copied();
        let Index { what, .. } = index;
        self.unless(found.is_some(), format_args!("names {what} {key}, which is not in `{}`", R::TABLE.name));
        found
    }

    fn embedder<R>(&mut self, embedder: &Symbol, table: &Option<Rows<R>>) {
        let is_same = |known: &Embedder| known.name == embedder.as_str();
        let is_known = table.as_ref().is_none_or(|table| table.embedders.iter().any(is_same));
        self.unless(is_known, format_args!("has the embedder `{embedder}`, which is not in the footer"));
    }

    /// First and last frame are there, in order, at the times that are claimed.
    fn span(&mut self, frames: [i64; 2], secs: [f64; 2], world: &World<'_>) {
        self.unless(frames[0] <= frames[1], format_args!("ends at frame {}, before it begins", frames[1]));
        for (frame_idx, secs) in frames.into_iter().zip(secs) {
            let Some(Frame { t_secs, .. }) = self.find(&world.frames, frame_idx) else { continue };
            let is_same = (t_secs - secs).abs() <= SAME_SECS;
            self.unless(is_same, format_args!("has frame {frame_idx} at {secs} s, `frames` at {t_secs} s"));
        }
    }
}

/// Rows by key; none where the table is not there.
struct Index<'a, R> {
    what: &'static str,
    rows: Option<HashMap<i64, &'a R>>,
}

impl<'a, R> Index<'a, R> {
    fn new(table: &'a Option<Rows<R>>, what: &'static str, key: impl Fn(&R) -> i64) -> Self {
        let rows = table.as_ref().map(|table| table.rows.iter().map(|row| (key(row), row)).collect());
        Self { what, rows }
    }
}

/// Everything that rows refer to.
struct World<'a> {
    tables: &'a Tables,
    video: Option<&'a Video>,
    frames: Index<'a, Frame>,
    shots: Index<'a, Shot>,
    tracks: Index<'a, Track>,
    clusters: Index<'a, Cluster>,
    identities: Index<'a, Identity>,
    /// Number of boxes of each track.
    boxes: Option<HashMap<i64, i64>>,
    /// Number of boxes of each track that the detector saw.
    detected: Option<HashMap<i64, i64>>,
    /// Track and frame of each crop; none where the pictures were taken out.
    crops: Option<HashSet<(i64, i64)>>,
    /// Number of vectors of crops by embedder and track.
    vectors: Option<HashMap<(&'a Symbol, i64), i64>>,
    /// Whether a track is in another cluster than linking assigned.
    is_edited: bool,
    /// Number of tracks of each cluster.
    members: Option<HashMap<i64, i64>>,
}

impl<'a> World<'a> {
    fn new(tables: &'a Tables) -> Self {
        let crops = tables.crops.as_ref().filter(|table| !table.rows.is_empty());
        let is_detected = |row: &Detection| row.source == DetectionSource::Detected;
        Self {
            tables,
            video: tables.videos.as_ref().and_then(|videos| videos.rows.first()),
            frames: Index::new(&tables.frames, "frame", |row| row.frame_idx),
            shots: Index::new(&tables.shots, "shot", |row| row.shot_idx),
            tracks: Index::new(&tables.tracks, "track", |row| row.track_id),
            clusters: Index::new(&tables.clusters, "track", |row| row.track_id),
            identities: Index::new(&tables.identities, "cluster", |row| row.cluster_id),
            boxes: counted(&tables.detections, |row| row.track_id),
            detected: counted(&tables.detections, |row| row.track_id.filter(|_| is_detected(row))),
            crops: crops.map(|table| table.rows.iter().map(|row| (row.track_id, row.frame_idx)).collect()),
            vectors: counted(&tables.embeddings, |row| Some((&row.embedder, row.track_id))),
            is_edited: tables.clusters.iter().flat_map(|table| &table.rows).any(is_edited),
            members: counted(&tables.clusters, |row| row.cluster_id),
        }
    }
}

/// How many rows have each key; rows without a key do not count.
fn counted<'a, R, K: Hash + Eq>(
    table: &'a Option<Rows<R>>,
    key: impl Fn(&'a R) -> Option<K>,
) -> Option<HashMap<K, i64>> {
    let mut count = HashMap::new();
    table.as_ref()?.rows.iter().filter_map(key).for_each(|key| *count.entry(key).or_default() += 1);
    Some(count)
}

/// All tables of a run speak of the same video.
fn one_video(world: &World<'_>, faults: &mut Vec<Error>) {
    let Some(Video { video_id, .. }) = world.video else { return };
    macro_rules! same {
        ($($field:ident)+) => { $(each(&world.tables.$field, faults, |wrong, _, _, row| {
            let own = &row.video_id;
            wrong.unless(own == video_id, format_args!("belongs to the video {own}, `videos` names {video_id}"));
        });)+ };
    }
    same! {
        videos frames shots detections tracks crops embeddings track_embeddings track_views constraints clusters calibration
        linkage link_vectors identities appearances metrics labels
    }
}

fn video(wrong: &mut Wrong, row: &Video, world: &World<'_>) {
    let Video { width, height, rotation_degrees, frame_count, .. } = row;
    wrong.unless(*width > 0 && *height > 0, format_args!("has a frame of {width} × {height}"));
    wrong.unless(row.time_base_num > 0 && row.time_base_den > 0, "has a time base of 0 or less");
    let is_right = [0, 90, 180, 270].contains(rotation_degrees);
    wrong.unless(is_right, format_args!("has a rotation of {rotation_degrees} degrees"));
    let is_key = row.sha256.len() == 64 && row.sha256.starts_with(row.video_id.as_str());
    wrong.unless(is_key, "has a video_id that is not the beginning of its SHA-256");
    if let Some(found) = world.tables.frames.as_ref().map(|frames| frames.rows.len()) {
        let is_all = usize::try_from(*frame_count) == Ok(found);
        wrong.unless(is_all, format_args!("declares {frame_count} frames, `frames` has {found}"));
    }
}

/// The picture in the footer of `detections` is a part of the frame, and turned by quarters.
fn picture(world: &World<'_>) -> Option<Error> {
    let table = world.tables.detections.as_ref()?;
    let Picture { x_min, y_min, x_max, y_max, turn_degrees } = table.picture?;
    let Video { width, height, .. } = *world.video?;
    let is_part = |low: i64, high: i64, side: i64| 0 <= low && low < high && high <= side;
    let is_right = is_part(x_min, x_max, width)
        && is_part(y_min, y_max, height)
        && [0, 90, 180, 270].contains(&turn_degrees);
    let reason = || {
        format!(
            "its footer declares the picture x {x_min}..{x_max}, y {y_min}..{y_max}, turned by {turn_degrees} degrees, \
             in a frame of {width} × {height}"
        )
    };
    let table = &table.path;
    let fault =
        || schema::Error::Footer { path: table.clone(), table: Detection::TABLE.name, reason: reason() };
    (!is_right).then(|| fault().into())
}

fn frame(wrong: &mut Wrong, at: usize, before: Option<&Frame>, row: &Frame) {
    wrong.counts(row.frame_idx, at, "frame_idx");
    let is_later = before.is_none_or(|before| before.pts_ticks < row.pts_ticks);
    wrong.unless(is_later, "has a time that is not after the time of the previous frame");
    wrong.unless(row.duration_secs.is_none_or(|secs| secs >= 0.0), "is shown for less than no time");
    if let Some((before, secs)) = before.and_then(|before| Some((before, before.duration_secs?))) {
        let until = row.t_secs - before.t_secs;
        let is_until = (secs - until).abs() <= SAME_SECS;
        wrong
            .unless(is_until, format_args!("is {until} s after the previous frame, which declares {secs} s"));
    }
}

fn shot(wrong: &mut Wrong, at: usize, before: Option<&Shot>, row: &Shot, world: &World<'_>) {
    let Shot { first_frame_idx: first, last_frame_idx: last, .. } = *row;
    wrong.counts(row.shot_idx, at, "shot_idx");
    wrong.span([first, last], [row.first_t_secs, row.last_t_secs], world);
    let next = before.map_or(0, |before| before.last_frame_idx.saturating_add(1));
    wrong.unless(first == next, format_args!("begins at frame {first}, expected frame {next}"));
    let is_last = world.tables.shots.as_ref().is_some_and(|shots| at + 1 == shots.rows.len());
    let frame_count = world.video.map(|video| video.frame_count).filter(|_| is_last);
    wrong.unless(
        frame_count.is_none_or(|count| last.saturating_add(1) == count),
        format_args!("is the last shot and ends at frame {last}, not at the end of the video"),
    );
    let is_start = row.transition == Transition::Start;
    wrong.unless(is_start == (at == 0), "must have the transition `start` exactly when it is the first shot");
    if let Some(score) = row.score {
        wrong.range(score, [0.0, 1.0], "the score");
    }
}

fn detection(wrong: &mut Wrong, before: Option<&Detection>, row: &Detection, world: &World<'_>) {
    let Detection { frame_idx, det_idx, x_min, x_max, y_min, y_max, .. } = *row;
    let before = before.filter(|before| before.frame_idx == frame_idx);
    let next = before.map_or(0, |before| before.det_idx.saturating_add(1));
    wrong.unless(det_idx == next, format_args!("has det_idx {det_idx}, expected {next}"));
    wrong.find(&world.frames, frame_idx);
    if let Some(Video { width, height, .. }) = world.video {
        // Faces reach over the edge of the frame, so their boxes may; a box beside it shows nothing.
        let inside = |low: f32, high: f32, size: i64| high > 0.0 && f64::from(low) < size as f64;
        wrong.unless(
            inside(x_min, x_max, *width) && inside(y_min, y_max, *height),
            format_args!(
                "has a box outside the frame of {width} × {height}: x {x_min}..{x_max}, y {y_min}..{y_max}"
            ),
        );
    }
    for (value, what) in
        [(row.score, "the score"), (row.sharpness, "the sharpness"), (row.frontality, "the frontality")]
    {
        value.into_iter().for_each(|value| wrong.range(value, [0.0, 1.0], what));
    }
    let is_detected = row.source == DetectionSource::Detected;
    let is_scored = row.score.is_some();
    wrong.unless(is_scored == is_detected, "must have a score exactly when its source is `detected`");
    if let Some(track) = row.track_id.and_then(|track_id| wrong.find(&world.tracks, track_id)) {
        let Track { track_id, first_frame_idx: first, last_frame_idx: last, .. } = track;
        wrong.unless(
            (*first..=*last).contains(&frame_idx),
            format_args!("is at frame {frame_idx}, its track {track_id} at frames {first} to {last}"),
        );
    }
}

fn track(wrong: &mut Wrong, row: &Track, world: &World<'_>) {
    let Track { track_id, shot_idx, n_detections, first_frame_idx: first, last_frame_idx: last, .. } = *row;
    wrong.span([first, last], [row.first_t_secs, row.last_t_secs], world);
    if let Some(shot) = wrong.find(&world.shots, shot_idx) {
        let frames = shot.first_frame_idx..=shot.last_frame_idx;
        let stays = frames.contains(&first) && frames.contains(&last);
        wrong.unless(stays, format_args!("leaves its shot {shot_idx}"));
    }
    wrong.range(row.mean_score, [0.0, 1.0], "the mean score");
    let counts =
        [&world.boxes, &world.detected].map(|count| Some(*count.as_ref()?.get(&track_id).unwrap_or(&0)));
    if let [Some(boxes), Some(detected)] = counts {
        let frames = last.saturating_sub(first).saturating_add(1);
        wrong.unless(boxes == frames, format_args!("has {frames} frames, but {boxes} boxes in `detections`"));
        wrong.unless(
            detected == n_detections,
            format_args!("declares {n_detections} detections, `detections` has {detected}"),
        );
    }
}

fn crop(wrong: &mut Wrong, before: Option<&Crop>, row: &Crop, world: &World<'_>) {
    let Crop { track_id, rank, frame_idx, width, height, .. } = *row;
    let before = before.filter(|before| before.track_id == track_id);
    let next = before.map_or(0, |before| before.rank.saturating_add(1));
    wrong.unless(rank == next, format_args!("has rank {rank}, expected {next}"));
    wrong.range(row.quality, [0.0, 1.0], "the quality");
    // A run may keep no pictures.
    if let Some(image) = &row.image {
        match size_of_slim(image) {
            None => wrong.unless(false, "has an image that is neither a JPEG nor a PNG"),
            Some((across, down)) => wrong.unless(
                (across, down) == (width, height),
                format_args!("declares {width} × {height} pixels, its image has {across} × {down}"),
            ),
        }
    }
    if let Some(track) = wrong.find(&world.tracks, track_id) {
        let is_inside = (track.first_frame_idx..=track.last_frame_idx).contains(&frame_idx);
        wrong.unless(is_inside, format_args!("is from frame {frame_idx}, which is outside its track"));
    }
}

fn constraint(wrong: &mut Wrong, row: &Constraint, world: &World<'_>) {
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
        let what = if violated { "goes" } else { "does not go" };
        wrong.unless(
            row.violated == violated,
            format_args!("says violated = {}, but `clusters` {what} against it", row.violated),
        );
    }
}

/// The merges are a forest over the tracks: every node is joined once, heights never fall.
fn dendrogram(tables: &Tables, faults: &mut Vec<Error>) {
    let Some(linkage) = &tables.linkage else { return };
    // The number of leaves follows from a complete tree.
    let leaves = tables.track_embeddings.as_ref().map_or(linkage.rows.len() + 1, |table| {
        let first = table.embedders.first().map_or("", |first| &first.name);
        table.rows.iter().filter(|row| row.embedder.as_str() == first).count()
    });
    let mut sizes: Vec<i64> = vec![1; leaves];
    let mut joined = BTreeSet::new();
    each(linkage, faults, |wrong, at, before, row| {
        wrong.counts(row.step, at, "step");
        wrong.unless(row.left < row.right, "must have the smaller node in `left`");
        let height = before.map_or(f64::NEG_INFINITY, |before| before.distance);
        wrong.unless(row.distance >= height, format_args!("decreases from {height} to {}", row.distance));
        let size = |node: i64| usize::try_from(node).ok().and_then(|node| sizes.get(node)).copied();
        for node in [row.left, row.right] {
            wrong.unless(size(node).is_some(), format_args!("merges node {node}, which does not exist yet"));
            wrong.unless(joined.insert(node), format_args!("merges node {node}, which is merged already"));
        }
        if let Some((left, right)) = size(row.left).zip(size(row.right)) {
            let (size, parts) = (row.size, left.saturating_add(right));
            wrong.unless(size == parts, format_args!("has {size} tracks, its parts have {parts}"));
        }
        sizes.push(row.size);
    });
}

/// The constants are those of the previous row of the embedder.
fn link_vector(wrong: &mut Wrong, before: Option<&LinkVector>, row: &LinkVector, world: &World<'_>) {
    wrong.find(&world.tracks, row.track_id);
    wrong.embedder(&row.embedder, &world.tables.link_vectors);
    let constants = |row: &LinkVector| {
        let clothes = (row.clothes_intercept, row.clothes_slope, row.clothes_min, row.clothes_max);
        (row.person_variance, row.evidence_dim, row.alpha, clothes)
    };
    let before = before.filter(|before| before.embedder == row.embedder);
    let is_same = before.is_none_or(|before| constants(before) == constants(row));
    wrong.unless(is_same, "has other constants than the previous row of its embedder");
}

/// Whether an edit changed the cluster of a track; tables before version 1.1.0 do not say, and had no such edits.
fn is_edited(row: &Cluster) -> bool {
    row.not_a_face.is_some() && row.linked_cluster_id != row.cluster_id
}

fn identity(wrong: &mut Wrong, at: usize, before: Option<&Identity>, row: &Identity, world: &World<'_>) {
    let Identity { cluster_id, n_tracks, exemplar_track_id, .. } = *row;
    // Edits leave gaps between the numbers, and change screen times.
    if !world.is_edited {
        wrong.counts(cluster_id, at, "cluster_id");
        let is_sorted = before.is_none_or(|before| before.screen_secs >= row.screen_secs);
        wrong.unless(is_sorted, "has more screen time than the previous row");
    }
    wrong.unless(row.first_t_secs <= row.last_t_secs, "has a last appearance before its first appearance");
    wrong.find(&world.frames, row.exemplar_frame_idx);
    if let Some(members) = &world.members {
        let found = members.get(&cluster_id).copied().unwrap_or(0);
        wrong.unless(n_tracks == found, format_args!("declares {n_tracks} tracks, `clusters` has {found}"));
    }
    if let Some(exemplar) = wrong.find(&world.clusters, exemplar_track_id) {
        wrong.unless(
            exemplar.cluster_id == Some(cluster_id),
            format_args!("has its exemplar in track {exemplar_track_id}, which is not in the cluster"),
        );
    }
}

/// Appearances are what the tracks, their clusters and the times of the frames say.
fn check_appearances(world: &World<'_>, faults: &mut Vec<Error>) {
    let tables = world.tables;
    let expected = match (&tables.frames, &tables.tracks, &tables.clusters) {
        (Some(frames), Some(tracks), Some(clusters)) => {
            let times =
                frames.rows.iter().map(|row| (row.pts_ticks, row.t_secs, row.duration_secs)).collect();
            Some(appearances(&tracks.rows, &clusters.rows, &times))
        }
        _ => None,
    };
    let key = |row: &Appearance| (row.cluster_id, row.appearance_idx);
    let expected: Option<HashMap<_, _>> =
        expected.map(|rows| rows.into_iter().map(|row| (key(&row), row)).collect());
    let mut found = HashSet::new();
    each(&tables.appearances, faults, |wrong, _, before, row| {
        found.insert(key(row));
        let before = before.filter(|before| before.cluster_id == row.cluster_id);
        let next = before.map_or(0, |before| before.appearance_idx.saturating_add(1));
        let idx = row.appearance_idx;
        wrong.unless(idx == next, format_args!("has appearance_idx {idx}, expected {next}"));
        wrong.find(&world.identities, row.cluster_id);
        wrong.span([row.first_frame_idx, row.last_frame_idx], [row.first_t_secs, row.last_t_secs], world);
        let Some(expected) = &expected else { return };
        let of = |row: &Appearance| {
            let Appearance { first_frame_idx, last_frame_idx, n_tracks, n_shots, .. } = *row;
            [first_frame_idx, last_frame_idx, n_tracks, n_shots, row.first_shot_idx, row.last_shot_idx]
        };
        let is_same = expected.get(&key(row)).is_some_and(|expected| of(expected) == of(row));
        wrong.unless(is_same, "is not what `tracks`, `clusters` and `frames` say");
    });
    if tables.appearances.is_none() {
        return;
    }
    let count = |keys: &mut dyn Iterator<Item = i64>| {
        let mut counts: HashMap<i64, usize> = HashMap::new();
        keys.for_each(|key| *counts.entry(key).or_default() += 1);
        counts
    };
    let listed = count(&mut found.iter().map(|key| key.0));
    let Some(all) = expected.map(|rows| count(&mut rows.keys().map(|key| key.0))) else { return };
    each(&tables.identities, faults, |wrong, _, _, row| {
        let [listed, all] = [&listed, &all].map(|counts| counts.get(&row.cluster_id).copied().unwrap_or(0));
        wrong.unless(
            listed == all,
            format_args!("has tracks in {all} appearances, `appearances` lists {listed}"),
        );
    });
}

fn label(wrong: &mut Wrong, at: usize, row: &Label, world: &World<'_>) {
    wrong.counts(row.label_idx, at, "label_idx");
    wrong.unless(row.frame_idx.is_some() != row.track_id.is_some(), "must name a frame or a track");
    row.frame_idx.map(|frame_idx| wrong.find(&world.frames, frame_idx));
    row.track_id.map(|track_id| wrong.find(&world.tracks, track_id));
    match (row.x_min, row.y_min, row.x_max, row.y_max) {
        (None, None, None, None) => {}
        (Some(x_min), Some(y_min), Some(x_max), Some(y_max)) => {
            wrong.unless(x_min < x_max && y_min < y_max, "has an empty box");
        }
        _ => wrong.unless(false, "has an incomplete box"),
    }
}
