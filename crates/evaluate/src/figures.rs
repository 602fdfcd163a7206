//! All metrics of a run, as rows of `metrics`.

use report::catalog::CATALOG;
use report::input::{self, LabelledTrack};
use schema::cell::Category as _;
use schema::tables::{Metric, MetricUnit};
use schema::{Row as _, Symbol};
use serde_json::json;

use crate::budget::Budget;
use crate::cohesion;
use crate::confidence::{self, Guess};
use crate::matching::{Group, Judged, judged_tracks};
use crate::metrics::{self, Contingency, Item, Prf};
use crate::resample::{self, Interval};
use crate::tables::Tables;
use crate::tracking;

/// One figure. [`report::catalog`] defines it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Name, as in the column `name` of `metrics`.
    pub name: &'static str,
    /// Unit over which the metric averages.
    pub unit: MetricUnit,
    /// Value, always finite.
    pub value: f64,
    /// Confidence interval over tracks; `None` if not estimated.
    pub interval: Option<Interval>,
    /// Number of things counted.
    pub n: usize,
}

impl Figure {
    fn new(name: &'static str, unit: MetricUnit, value: f64, n: usize) -> Self {
        Self { name, unit, value, interval: None, n }
    }

    /// A plain count.
    fn count(name: &'static str, unit: MetricUnit, n: usize) -> Self {
        Self::new(name, unit, n as f64, n)
    }
}

/// Rows of `metrics` in the table's order.
pub fn rows(figures: &[Figure], video_id: &Symbol) -> Vec<Metric> {
    let row = |figure: &Figure| Metric {
        video_id: video_id.clone(),
        name: figure.name.to_owned(),
        unit: figure.unit,
        value: figure.value,
        ci_low: figure.interval.map(|(low, _)| low),
        ci_high: figure.interval.map(|(_, high)| high),
        n: i64::try_from(figure.n).unwrap_or(i64::MAX),
    };
    let mut rows: Vec<_> = figures.iter().map(row).collect();
    rows.sort_by(|a, b| a.cmp_key(b));
    rows
}

/// The same rows as a JSON array, for programs that would rather not read Parquet.
pub fn json(rows: &[Metric]) -> serde_json::Value {
    let row = |m: &Metric| {
        json!({
            "name": m.name, "unit": m.unit.word(), "value": m.value,
            "ci_low": m.ci_low, "ci_high": m.ci_high, "n": m.n,
        })
    };
    rows.iter().map(row).collect()
}

/// Figures that need no labels.
pub fn unlabelled(tables: &Tables) -> Vec<Figure> {
    use MetricUnit::{Frame, Track, Video};
    let input::Tables { shots, tracks, clusters, identities, calibration, boxes, .. } = &tables.shown;
    let screen_secs: f64 = identities.iter().map(|i| i.screen_secs).sum();
    let violated = tables.constraints.iter().filter(|c| c.violated).count();
    let mut figures = vec![
        Figure::count("detections", Frame, tables.n_detections),
        Figure::count("shots", Video, shots.len()),
        Figure::count("tracks", Track, tracks.len()),
        Figure::count("identities", Video, identities.len()),
        Figure::new("screen_secs", Video, screen_secs, identities.len()),
        Figure::new("constraint_violations", Track, violated as f64, tables.constraints.len()),
    ];
    let is_noise: Vec<f64> = clusters.iter().map(|c| f64::from(u8::from(c.is_noise))).collect();
    figures.extend(average("noise_share", &is_noise));
    // A share of zero items is not a metric.
    if !boxes.is_empty() {
        let noise = boxes.iter().filter(|f| f.cluster_id.is_none()).count();
        figures.push(Figure::new("noise_share", Frame, noise as f64 / boxes.len() as f64, boxes.len()));
    }
    let points = tables.points();
    figures.extend(average("silhouette", &cohesion::silhouettes(&points)));
    let similarities = [
        ("within_similarity", cohesion::within(&points)),
        ("between_similarity", cohesion::between(&points)),
    ];
    let mean =
        |(name, mean): (_, Option<(f64, usize)>)| mean.map(|(value, n)| Figure::new(name, Track, value, n));
    figures.extend(similarities.into_iter().filter_map(mean));
    // Pairs that share a frame show two people for certain: what does the calibration say of them?
    let n: i64 = calibration.iter().map(|bin| bin.n_apart).sum();
    if let Some(n) = usize::try_from(n).ok().filter(|n| *n > 0) {
        let said: f64 = calibration.iter().map(|bin| bin.n_apart as f64 * bin.same).sum();
        figures.push(Figure::new("said_of_two", Track, said / n as f64, n));
    }
    figures
}

/// The mean of one value a track, with its interval.
fn average(name: &'static str, values: &[f64]) -> Option<Figure> {
    let n = values.len();
    let mean = |drawn: &[u32]| {
        let sum: f64 = values.iter().zip(drawn).map(|(value, times)| value * f64::from(*times)).sum();
        vec![sum / n as f64]
    };
    let interval = resample::intervals(n, mean).and_then(|all| all.first().copied());
    let value = values.iter().sum::<f64>() / n as f64;
    (n > 0).then_some(Figure { name, unit: MetricUnit::Track, value, interval, n })
}

/// Figures that compare with labels. Those about linking are absent when no track shows a known person,
/// those about following when the labels do not say which shots their faces are in.
pub fn labelled(judged: &Judged) -> Vec<Figure> {
    use MetricUnit::{Frame, Track, Video};
    let Judged { n_found, n_labelled, .. } = *judged;
    let both = n_found + n_labelled;
    let tracks = judged_tracks(&judged.matches);
    let matched = judged.matches.len();
    let right = metrics::identity_matches(&judged.matches);
    let part = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
    let (characters, n_clusters) = metrics::characters(judged);
    // What is followed is a person over the whole video, by clusters.
    let frames = judged.frames.iter();
    let frames: Vec<_> =
        frames.map(|f| f.named(|t| t.person, |f| Group::of(f.track_id, f.cluster_id))).collect();
    let hota = tracking::hota(&frames);
    let mut figures = vec![
        Figure::new("det_precision", Frame, part(matched, n_found), n_found),
        Figure::new("det_recall", Frame, part(matched, n_labelled), n_labelled),
        Figure::new("id_precision", Frame, part(right, n_found), n_found),
        Figure::new("id_recall", Frame, part(right, n_labelled), n_labelled),
        Figure::new("id_f1", Frame, part(2 * right, both), both),
        Figure::new("track_purity", Frame, metrics::track_purity(&tracks), matched),
        Figure::count("matched_tracks", Track, tracks.len()),
        Figure::count("persons", Video, judged.people.len()),
        Figure::new("identity_hota", Frame, hota.hota, both),
        Figure::new("identity_deta", Frame, hota.deta, both),
        Figure::new("identity_assa", Frame, hota.assa, hota.n_matches),
        Figure::new("identity_assre", Frame, hota.assre, hota.n_matches),
        Figure::new("identity_asspr", Frame, hota.asspr, hota.n_matches),
        Figure::new("character_precision", Video, characters.precision, n_clusters),
        Figure::new("character_recall", Video, characters.recall, judged.people.len()),
    ];
    if !tracks.is_empty() {
        figures.extend(linking(&tracks, judged.people.len()));
    }
    if judged.frames.iter().flat_map(|frame| &frame.truth).all(|face| face.shot.is_some()) {
        figures.extend(following(judged));
    }
    figures
}

/// What each stage costs, where anything is labelled.
pub fn budget(judged: &Judged, budget: &Budget) -> Vec<Figure> {
    let both = judged.n_found + judged.n_labelled;
    let oracles = [
        ("oracle_cut_id_f1", budget.cut),
        ("oracle_linking_id_f1", Some(budget.linked)),
        ("oracle_tracking_id_f1", Some(budget.tracked)),
    ];
    let all = oracles.into_iter().chain(budget.costs());
    let figure = |(name, value): (_, Option<f64>)| Some(Figure::new(name, MetricUnit::Frame, value?, both));
    all.filter(|_| judged.n_labelled > 0).filter_map(figure).collect()
}

/// How far confidences can be believed; none without a linked track of a known person.
pub fn confidences(guesses: &[Guess]) -> Option<Figure> {
    let figure =
        || Figure::new("confidence_error", MetricUnit::Track, confidence::error(guesses), guesses.len());
    (!guesses.is_empty()).then(figure)
}

/// What is followed is a person within a shot, by tracks. All shots are one sequence, so that a track
/// that runs over a cut is held to account.
fn following(judged: &Judged) -> [Figure; 16] {
    use MetricUnit::{Frame, Track, Video};
    let frames: Vec<_> =
        judged.frames.iter().map(|f| f.named(|t| (t.shot, t.person), |f| f.track_id)).collect();
    let hota = tracking::hota(&frames);
    let clear = tracking::clear(&frames, judged.min_iou);
    let id = tracking::identity(&frames, judged.min_iou);
    let Judged { n_found, n_labelled, .. } = *judged;
    let both = n_found + n_labelled;
    let among = |name, unit, n: usize| Figure::new(name, unit, n as f64, clear.n_truth);
    [
        Figure::new("track_hota", Frame, hota.hota, both),
        Figure::new("track_deta", Frame, hota.deta, both),
        Figure::new("track_detre", Frame, hota.detre, n_labelled),
        Figure::new("track_detpr", Frame, hota.detpr, n_found),
        Figure::new("track_assa", Frame, hota.assa, hota.n_matches),
        Figure::new("track_assre", Frame, hota.assre, hota.n_matches),
        Figure::new("track_asspr", Frame, hota.asspr, hota.n_matches),
        Figure::new("track_loca", Frame, hota.loca, hota.n_matches),
        Figure::new("track_mota", Frame, clear.mota, n_labelled),
        Figure::new("track_id_f1", Frame, id.f1, both),
        Figure::new("track_id_precision", Frame, id.precision, n_found),
        Figure::new("track_id_recall", Frame, id.recall, n_labelled),
        among("track_id_switches", Video, clear.id_switches),
        among("track_fragmentations", Video, clear.fragmentations),
        among("track_mostly_tracked", Track, clear.mostly_tracked),
        among("track_mostly_lost", Track, clear.mostly_lost),
    ]
}

/// Figures about how well tracks are grouped, those that average over tracks with intervals.
fn linking(tracks: &[LabelledTrack], n_people: usize) -> Vec<Figure> {
    use MetricUnit::{Track, Video};
    let by_track = metrics::items(tracks, |_| 1.0);
    let by_frame = metrics::items(tracks, |track| track.n_boxes as f64);
    let values = |drawn: &[u32]| {
        let [track, frame] = [&by_track, &by_frame].map(|items| drawn_items(items, drawn));
        grouping(&track, &frame).into_iter().map(|figure| figure.value).collect()
    };
    let intervals = resample::intervals(tracks.len(), values);
    let mut figures = grouping(&by_track, &by_frame);
    for (figure, interval) in figures.iter_mut().zip(intervals.into_iter().flatten()) {
        figure.interval = Some(interval);
    }
    let table = Contingency::new(&by_track);
    let n_groups = table.n_groups();
    figures.extend([
        Figure::new("oci", Track, table.oci(), tracks.len()),
        Figure::count("clusters", Track, n_groups),
        Figure::new("ratio", Video, n_groups as f64 / n_people.max(1) as f64, n_people),
    ]);
    figures
}

/// A track that is drawn twice weighs twice. It forms no pair with itself.
fn drawn_items(items: &[Item], drawn: &[u32]) -> Vec<Item> {
    let weighed = |(item, times): (&Item, &u32)| Item { weight: item.weight * f64::from(*times), ..*item };
    items.iter().zip(drawn).filter(|(_, times)| **times > 0).map(weighed).collect()
}

fn grouping(by_track: &[Item], by_frame: &[Item]) -> Vec<Figure> {
    use MetricUnit::{Frame, Track};
    let n_boxes = by_frame.iter().map(|item| item.weight as usize).sum();
    let (track, frame) = (Contingency::new(by_track), Contingency::new(by_frame));
    let mut figures = weighted(&track, Track, by_track.len());
    figures.extend(weighted(&frame, Frame, n_boxes));
    figures.extend([
        Figure::new("ari", Track, track.ari(), by_track.len()),
        Figure::new("ami", Track, track.ami(), by_track.len()),
    ]);
    figures
}

fn weighted(table: &Contingency, unit: MetricUnit, n: usize) -> Vec<Figure> {
    let prf = |names: [&'static str; 3], Prf { precision, recall, f1 }: Prf| {
        let [p, r, f] = names;
        [Figure::new(p, unit, precision, n), Figure::new(r, unit, recall, n), Figure::new(f, unit, f1, n)]
    };
    let mut figures =
        vec![Figure::new("wcp", unit, table.wcp(), n), Figure::new("nmi", unit, table.nmi(), n)];
    figures.extend(prf(["homogeneity", "completeness", "v_measure"], table.v_measure()));
    figures.extend(prf(["b3_precision", "b3_recall", "b3_f1"], table.b_cubed()));
    figures.extend(prf(["pairs_precision", "pairs_recall", "pairs_f1"], table.pairs()));
    figures
}

/// Names and values for the closing summary, rounded to four decimals; whole numbers stay whole. Where a figure
/// counts both ways, that over tracks is meant.
pub fn summary(figures: &[Figure]) -> Vec<(&'static str, serde_json::Value)> {
    let names = CATALOG.iter().filter(|explained| explained.summary).map(|explained| &explained.name);
    let find =
        |name: &String| figures.iter().filter(|f| f.name == name).min_by_key(|f| f.unit != MetricUnit::Track);
    names.filter_map(find).map(|f| (f.name, rounded(f.value))).collect()
}

fn rounded(value: f64) -> serde_json::Value {
    let rounded = (value * 1e4).round() / 1e4;
    if rounded.fract() == 0.0 { json!(rounded as i64) } else { json!(rounded) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::{Frame, Match, TrueFace};

    fn value(figures: &[Figure], name: &str) -> Option<f64> {
        figures.iter().find(|f| f.name == name).map(|f| f.value)
    }

    #[test]
    fn every_figure_with_labels_is_explained() {
        let judged = Judged {
            people: vec!["joey".into()],
            matches: vec![Match { person: 0, track_id: 0, cluster_id: None }],
            n_labelled: 1,
            n_found: 1,
            ..Judged::default()
        };
        let figures = labelled(&judged);
        let explained = |name| report::catalog::CATALOG.iter().any(|e| e.name == name);
        assert!(figures.iter().all(|figure| explained(figure.name)));
        assert!(["oci", "track_hota", "identity_hota"].iter().all(|name| value(&figures, name).is_some()));
    }

    #[test]
    fn without_shots_there_are_no_figures_about_following() {
        let face = TrueFace { person: 0, shot: None };
        let frame = Frame { truth: vec![face], found: vec![], iou: vec![] };
        let judged = Judged { people: vec!["joey".into()], frames: vec![frame], ..Judged::default() };
        let figures = labelled(&judged);
        let found = ["track_hota", "track_id_switches", "identity_hota"].map(|name| value(&figures, name));
        assert_eq!(found, [None, None, Some(0.0)]);
    }

    #[test]
    fn labels_that_nothing_matches_give_zeros_and_no_linking() {
        let judged = Judged { people: vec!["joey".into()], n_labelled: 9, ..Judged::default() };
        let figures = labelled(&judged);
        let found = ["det_recall", "id_f1", "wcp"].map(|name| value(&figures, name));
        assert_eq!(found, [Some(0.0), Some(0.0), None]);
    }

    #[test]
    fn the_summary_prefers_tracks_and_keeps_counts_whole() {
        let figures = [
            Figure::new("wcp", MetricUnit::Frame, 0.5, 2),
            Figure::new("wcp", MetricUnit::Track, 0.123_456, 2),
            Figure::count("tracks", MetricUnit::Track, 7),
        ];
        assert_eq!(summary(&figures), [("wcp", json!(0.1235)), ("tracks", json!(7))]);
    }
}
