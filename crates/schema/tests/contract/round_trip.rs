//! Whatever valid rows a stage writes, the next one reads exactly those.

use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use schema::cell::{Category, MAX_WHOLE, Ragged, UnitVector};
use schema::footer::Footer;
use schema::io::{TableWriter, open, open_some, read_all, write_all};
use schema::tables::{
    Appearance, Cluster, Constraint, Crop, Detection, Embedding, Frame, Identity, Label, LinkVector, Linkage,
    MAX_CROP_SIDE, Metric, Shot, TORSO_BINS, Track, TrackEmbedding, TrackView, Video,
};
use schema::{Row, Symbol};

use crate::raw::footer;
use crate::rows;

/// Length of every vector here.
const DIM: usize = 5;

fn int() -> BoxedStrategy<i64> {
    // Small numbers collide, which is what sort keys and dictionaries have to live with.
    prop_oneof![4 => 0..20_i64, 1 => -MAX_WHOLE..=MAX_WHOLE].boxed()
}

fn float() -> BoxedStrategy<f32> {
    use proptest::num::f32::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    (POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO).boxed()
}

fn double() -> BoxedStrategy<f64> {
    use proptest::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
    (POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO).boxed()
}

fn maybe<T: Debug + Clone + 'static>(value: BoxedStrategy<T>) -> BoxedStrategy<Option<T>> {
    proptest::option::of(value).boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![Just(String::new()), any::<String>()].boxed()
}

fn symbol() -> BoxedStrategy<Symbol> {
    select(vec!["", "a", "b", "zwölf Ähren", "0123456789abcdef"]).prop_map(Symbol::from).boxed()
}

fn word<T: Category + Debug>() -> BoxedStrategy<T> {
    select(T::WORDS).prop_map(|word| T::from_word(word).unwrap()).boxed()
}

fn unit_vector() -> BoxedStrategy<UnitVector> {
    let components = vec(-1.0..1.0_f32, DIM);
    components.prop_filter_map("no direction", |v| UnitVector::normalised(&v)).boxed()
}

/// Two different numbers, the smaller first.
fn ascending<T: Debug + Clone + PartialOrd + 'static>(value: BoxedStrategy<T>) -> BoxedStrategy<(T, T)> {
    let order = |(a, b)| if a < b { Some((a, b)) } else { (b < a).then_some((b, a)) };
    (value.clone(), value).prop_filter_map("equal", order).boxed()
}

fn video() -> BoxedStrategy<Video> {
    let texts = (text(), text(), text(), text());
    let size = (int(), int(), int());
    let clock = (int(), int(), double(), double());
    (symbol(), texts, size, clock, int(), int())
        .prop_map(|(video_id, texts, size, clock, frame_count, size_bytes)| Video {
            video_id,
            file_name: texts.0,
            sha256: texts.1,
            container: texts.2,
            codec: texts.3,
            width: size.0,
            height: size.1,
            rotation_degrees: size.2,
            time_base_num: clock.0,
            time_base_den: clock.1,
            start_secs: clock.2,
            duration_secs: clock.3,
            frame_count,
            size_bytes,
        })
        .boxed()
}

fn frame() -> BoxedStrategy<Frame> {
    (symbol(), int(), int(), double(), any::<bool>(), word(), maybe(double()))
        .prop_map(|(video_id, frame_idx, pts_ticks, t_secs, is_key, status, duration_secs)| Frame {
            video_id,
            frame_idx,
            pts_ticks,
            t_secs,
            is_key,
            status,
            duration_secs,
        })
        .boxed()
}

fn shot() -> BoxedStrategy<Shot> {
    (symbol(), int(), (int(), int()), (double(), double()), word(), maybe(double()))
        .prop_map(|(video_id, shot_idx, frames, times, transition, score)| Shot {
            video_id,
            shot_idx,
            first_frame_idx: frames.0,
            last_frame_idx: frames.1,
            first_t_secs: times.0,
            last_t_secs: times.1,
            transition,
            score,
        })
        .boxed()
}

fn detection() -> BoxedStrategy<Detection> {
    let key = (symbol(), int(), int(), maybe(int()));
    let span = (ascending(float()), ascending(float()));
    let seen = (maybe(float()), maybe(proptest::array::uniform10(float()).boxed()), word());
    let quality = (maybe(float()), maybe(float()), float());
    (key, span, seen, quality)
        .prop_map(|(key, (x, y), seen, quality)| Detection {
            video_id: key.0,
            frame_idx: key.1,
            det_idx: key.2,
            track_id: key.3,
            x_min: x.0,
            y_min: y.0,
            x_max: x.1,
            y_max: y.1,
            score: seen.0,
            landmarks: seen.1,
            source: seen.2,
            sharpness: quality.0,
            frontality: quality.1,
            size_px: quality.2,
        })
        .boxed()
}

fn track() -> BoxedStrategy<Track> {
    let numbers = (symbol(), int(), int(), ascending(int()), any::<bool>());
    let torso = proptest::option::of(float().prop_map(|value| Box::new([value; TORSO_BINS])));
    let is_still = proptest::option::of(any::<bool>());
    (numbers, (double(), double()), (int(), float()), torso, is_still)
        .prop_map(|((video_id, track_id, shot_idx, frames, best_last), times, detected, torso, is_still)| {
            Track {
                video_id,
                track_id,
                shot_idx,
                first_frame_idx: frames.0,
                last_frame_idx: frames.1,
                first_t_secs: times.0,
                last_t_secs: times.1,
                n_detections: detected.0,
                mean_score: detected.1,
                best_frame_idx: if best_last { frames.1 } else { frames.0 },
                torso,
                is_still,
            }
        })
        .boxed()
}

fn crop() -> BoxedStrategy<Crop> {
    let image = proptest::option::of(vec(any::<u8>(), 0..20));
    let transform = proptest::array::uniform6(float());
    let side = || 1..=MAX_CROP_SIDE;
    (symbol(), (int(), int(), int()), image, (side(), side()), transform, float())
        .prop_map(|(video_id, key, image, size, transform, quality)| Crop {
            video_id,
            track_id: key.0,
            rank: key.1,
            frame_idx: key.2,
            image,
            width: size.0,
            height: size.1,
            transform,
            quality,
        })
        .boxed()
}

fn embedding() -> BoxedStrategy<Embedding> {
    (symbol(), int(), int(), symbol(), unit_vector(), float())
        .prop_map(|(video_id, track_id, frame_idx, embedder, embedding, norm)| Embedding {
            video_id,
            track_id,
            frame_idx,
            embedder,
            embedding,
            norm,
        })
        .boxed()
}

fn track_embedding() -> BoxedStrategy<TrackEmbedding> {
    (symbol(), int(), symbol(), unit_vector(), int(), float())
        .prop_map(|(video_id, track_id, embedder, embedding, n_crops, spread)| TrackEmbedding {
            video_id,
            track_id,
            embedder,
            embedding,
            n_crops,
            spread,
        })
        .boxed()
}

fn track_view() -> BoxedStrategy<TrackView> {
    let components = vec(-1.0..1.0_f32, 1..=DIM);
    let vector = components.prop_filter_map("no direction", |v| UnitVector::normalised(&v)).boxed();
    let norm = 1e-30..1e30_f32;
    (symbol(), symbol(), int(), vector, norm)
        .prop_map(|(video_id, embedder, track_id, vector, norm)| TrackView {
            video_id,
            embedder,
            track_id,
            embedding: Ragged(vector),
            norm,
        })
        .boxed()
}

fn constraint() -> BoxedStrategy<Constraint> {
    (symbol(), ascending(int()), word(), word(), float(), any::<bool>())
        .prop_map(|(video_id, tracks, kind, reason, weight, violated)| Constraint {
            video_id,
            track_a: tracks.0,
            track_b: tracks.1,
            kind,
            reason,
            weight,
            violated,
        })
        .boxed()
}

fn cluster() -> BoxedStrategy<Cluster> {
    (symbol(), int(), (maybe(int()), maybe(int())), float(), maybe(int()), maybe(float()))
        .prop_map(|(video_id, track_id, clusters, confidence, runner_up_cluster_id, margin)| Cluster {
            video_id,
            track_id,
            cluster_id: clusters.0,
            is_noise: clusters.0.is_none(),
            confidence,
            runner_up_cluster_id,
            margin,
            linked_cluster_id: clusters.1,
            not_a_face: Some(clusters.0.is_none()),
        })
        .boxed()
}

fn linkage() -> BoxedStrategy<Linkage> {
    (symbol(), int(), int(), int(), double(), int())
        .prop_map(|(video_id, step, left, right, distance, size)| Linkage {
            video_id,
            step,
            left,
            right,
            distance,
            size,
        })
        .boxed()
}

fn link_vector() -> BoxedStrategy<LinkVector> {
    let above = || (f64::MIN_POSITIVE..1e300).boxed();
    let clothes = maybe((double(), double(), double(), double()).boxed());
    let constants = (above(), above(), above(), clothes);
    (symbol(), symbol(), int(), unit_vector(), (above(), above()), constants)
        .prop_map(|(video_id, embedder, track_id, direction, own, constants)| LinkVector {
            video_id,
            embedder,
            track_id,
            direction: Ragged(direction),
            length: own.0,
            precision: own.1,
            person_variance: constants.0,
            evidence_dim: constants.1,
            alpha: constants.2,
            clothes_intercept: constants.3.map(|clothes| clothes.0),
            clothes_slope: constants.3.map(|clothes| clothes.1),
            clothes_min: constants.3.map(|clothes| clothes.2),
            clothes_max: constants.3.map(|clothes| clothes.3),
        })
        .boxed()
}

fn identity() -> BoxedStrategy<Identity> {
    let times = (double(), double(), double());
    (
        symbol(),
        int(),
        (maybe(text()), maybe(text()), maybe(text()), maybe(text())),
        (int(), int()),
        times,
        (int(), int()),
    )
        .prop_map(|(video_id, cluster_id, names, counts, times, exemplar)| Identity {
            video_id,
            cluster_id,
            name: names.0,
            person_uid: names.1,
            series_id: names.2,
            series_uid: names.3,
            n_tracks: counts.0,
            n_frames: counts.1,
            screen_secs: times.0,
            first_t_secs: times.1,
            last_t_secs: times.2,
            exemplar_track_id: exemplar.0,
            exemplar_frame_idx: exemplar.1,
        })
        .boxed()
}

fn appearance() -> BoxedStrategy<Appearance> {
    let spans = (ascending(int()), ascending(int()));
    (symbol(), int(), int(), spans, (double(), double()), (int(), int()))
        .prop_map(|(video_id, cluster_id, appearance_idx, (frames, shots), times, counts)| Appearance {
            video_id,
            cluster_id,
            appearance_idx,
            first_frame_idx: frames.0,
            last_frame_idx: frames.1,
            first_t_secs: times.0,
            last_t_secs: times.1,
            n_tracks: counts.0,
            n_shots: counts.1,
            first_shot_idx: shots.0,
            last_shot_idx: shots.1,
        })
        .boxed()
}

fn metric() -> BoxedStrategy<Metric> {
    (symbol(), text(), word(), double(), maybe(double()), maybe(double()), int())
        .prop_map(|(video_id, name, unit, value, ci_low, ci_high, n)| Metric {
            video_id,
            name,
            unit,
            value,
            ci_low,
            ci_high,
            n,
        })
        .boxed()
}

fn label() -> BoxedStrategy<Label> {
    let edge = || maybe(float());
    let about = (maybe(int()), maybe(int()));
    (symbol(), int(), about, (edge(), edge(), edge(), edge()), maybe(text()), word())
        .prop_map(|(video_id, label_idx, about, edges, identity, source)| Label {
            video_id,
            label_idx,
            frame_idx: about.0,
            track_id: about.1,
            x_min: edges.0,
            y_min: edges.1,
            x_max: edges.2,
            y_max: edges.3,
            identity,
            source,
        })
        .boxed()
}

/// In the order of the sort key, one row per key.
fn sorted<R: Row>(mut rows: Vec<R>) -> Vec<R> {
    rows.sort_by(Row::cmp_key);
    rows.dedup_by(|a, b| a.cmp_key(b).is_eq());
    rows
}

/// Writes `rows` and gives back what a reader sees, with the footer.
fn through_a_file<R: Row + Clone>(rows: &[R], footer: &Footer) -> (Vec<R>, Footer, u64) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    let mut writer = TableWriter::create(&path, footer).unwrap();
    rows.iter().cloned().try_for_each(|row| writer.push(row)).unwrap();
    let written = writer.finish().unwrap();
    let reader = open::<R>(&path).unwrap();
    assert_eq!(reader.row_count(), written);
    (read_all(&path).unwrap(), reader.footer().clone(), written)
}

fn comes_back<R: Row + Clone + PartialEq + Debug>(row: BoxedStrategy<R>, dim: usize) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) };
    proptest!(config, |(rows in vec(row, 0..40))| {
        let rows = sorted(rows);
        let footer = footer::<R>(dim);
        let (read, found, written) = through_a_file(&rows, &footer);
        prop_assert_eq!(&read, &rows);
        prop_assert_eq!(found, footer);
        prop_assert_eq!(written, rows.len() as u64);
    });
}

macro_rules! round_trips {
    ($($row:ident: $dim:expr,)+) => { $(
        #[test]
        fn $row() {
            comes_back(super::$row(), $dim);
        }
    )+ };
}

mod comes_back_as_written {
    use super::{DIM, comes_back};

    round_trips! {
        video: 0, frame: 0, shot: 0, detection: 0, track: 0, crop: 0, embedding: DIM, track_embedding: DIM,
        track_view: DIM, link_vector: DIM,
        constraint: 0, cluster: 0, linkage: 0, identity: 0, appearance: 0, metric: 0, label: 0,
    }
}

/// The sign of zero and the smallest numbers compare equal to others, so their bits are looked at.
#[test]
fn floats_come_back_bit_by_bit() {
    let values = [-0.0, 0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, f64::MIN];
    let row = |(step, distance): (usize, &f64)| Linkage { distance: *distance, ..rows::linkage(step as i64) };
    let (read, ..) =
        through_a_file(&values.iter().enumerate().map(row).collect::<Vec<_>>(), &footer::<Linkage>(0));
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read.iter().map(|row| row.distance).collect::<Vec<_>>()), bits(&values));
}

/// Tables of one, of exactly one row group, and of one row more; images have smaller groups.
#[test]
fn row_groups_join_without_a_seam() {
    for n in [16_384, 16_385] {
        let rows: Vec<_> = (0..n).map(rows::frame).collect();
        assert!(through_a_file(&rows, &footer::<Frame>(0)).0 == rows, "{n} frames");
    }
    for n in [256, 257] {
        let rows: Vec<_> = (0..n).map(|rank| rows::crop(0, rank)).collect();
        assert!(through_a_file(&rows, &footer::<Crop>(0)).0 == rows, "{n} crops");
    }
}

/// A table with pictures has 256 rows in a row group.
#[test]
fn only_the_row_groups_with_the_wanted_tracks_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crops.parquet");
    let all: Vec<Crop> = (0..600).map(|track| rows::crop(track, 0)).collect();
    write_all(&path, &footer::<Crop>(0), all.clone()).unwrap();
    let some = |tracks: &[i64]| -> Vec<Crop> {
        let reader = open_some::<Crop>(&path, "track_id", &tracks.iter().copied().collect()).unwrap();
        let declared = reader.row_count();
        let rows: Vec<Crop> = reader.flat_map(Result::unwrap).collect();
        assert_eq!(declared, rows.len() as u64);
        rows
    };
    assert_eq!(some(&[3, 511, 599]), all);
    assert_eq!(some(&[599, 0]), [&all[..256], &all[512..]].concat());
    assert_eq!(some(&[300]), all[256..512]);
    assert_eq!(some(&[600]), []);
    assert_eq!(some(&[]), []);
}

/// Order is checked across row groups and batches too.
#[test]
fn the_order_holds_across_row_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.parquet");
    let mut writer = TableWriter::create(&path, &footer::<Frame>(0)).unwrap();
    (0..16_384).try_for_each(|frame_idx| writer.push(rows::frame(frame_idx))).unwrap();
    let error = writer.push(rows::frame(16_383)).unwrap_err().to_string();
    assert!(error.contains("row 16384 of `frames` is not greater than the previous row"), "{error}");
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str| {
        let path = folder.path().join(name);
        let mut writer = TableWriter::create(&path, &footer::<Frame>(0)).unwrap();
        (0..1000).try_for_each(|frame_idx| writer.push(rows::frame(frame_idx))).unwrap();
        writer.finish().unwrap();
        std::fs::read(path).unwrap()
    };
    assert!(write("a") == write("b"));
}
