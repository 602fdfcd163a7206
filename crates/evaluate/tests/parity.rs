//! Figures against scikit-learn and the project's independent scorer, on stored cases made by
//! `make_expected.py`.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::collections::BTreeMap;
use std::path::Path;

use evaluate::budget::Budget;
use evaluate::cohesion::{self, Point};
use evaluate::confidence::{self, Guess};
use evaluate::figures;
use evaluate::labels::Labels;
use evaluate::matching::{Group, judge};
use evaluate::metrics::{Contingency, Item, Prf};
use geometry::BBox;
use report::input::TrackBox;
use schema::cell::Category as _;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    groupings: Vec<Grouping>,
    vectors: Vec<Vectors>,
    guesses: Vec<Guesses>,
    clips: Vec<Clip>,
}

#[derive(Deserialize)]
struct Grouping {
    group: Vec<i64>,
    person: Vec<usize>,
    weight: Vec<f64>,
    ari: f64,
    nmi: f64,
    ami: f64,
    v: [f64; 3],
    v_weighted: [f64; 3],
    nmi_weighted: f64,
    wcp_weighted: f64,
    b3_weighted: [f64; 3],
    pairs_weighted: [f64; 3],
}

#[derive(Deserialize)]
struct Vectors {
    group: Vec<i64>,
    vectors: Vec<Vec<f32>>,
    silhouette: f64,
    within: f64,
    between: f64,
}

#[derive(Deserialize)]
struct Guesses {
    said: Vec<f64>,
    right: Vec<bool>,
    error: f64,
}

/// Frame, x, y, w, h, track, cluster.
type FoundRow = (f64, f64, f64, f64, f64, i64, Option<i64>);
/// Frame, x, y, w, h, identity.
type TruthRow = (f64, f64, f64, f64, f64, String);

#[derive(Deserialize)]
struct Clip {
    frames: i64,
    truth: Vec<TruthRow>,
    found: Vec<FoundRow>,
    expected: BTreeMap<String, f64>,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("expected.json")).unwrap()
}

fn close(a: f64, b: f64, tolerance: f64, what: &str) {
    assert!((a - b).abs() <= tolerance, "{what}: {a} here, {b} expected");
}

fn close_prf(prf: Prf, expected: [f64; 3], what: &str) {
    for (a, b) in [prf.precision, prf.recall, prf.f1].into_iter().zip(expected) {
        close(a, b, 1e-9, what);
    }
}

#[test]
fn groupings_agree_with_scikit_learn_and_sums_over_pairs() {
    for case in expected().groupings {
        let item =
            |i: usize, weight| Item { group: Group::Cluster(case.group[i]), person: case.person[i], weight };
        let plain: Vec<_> = (0..case.group.len()).map(|i| item(i, 1.0)).collect();
        let weighted: Vec<_> = (0..case.group.len()).map(|i| item(i, case.weight[i])).collect();
        let (plain, weighted) = (Contingency::new(&plain), Contingency::new(&weighted));
        close(plain.ari(), case.ari, 1e-9, "ari");
        close(plain.nmi(), case.nmi, 1e-9, "nmi");
        close(plain.ami(), case.ami, 1e-9, "ami");
        close_prf(plain.v_measure(), case.v, "v");
        close_prf(weighted.v_measure(), case.v_weighted, "weighted v");
        close(weighted.nmi(), case.nmi_weighted, 1e-9, "weighted nmi");
        close(weighted.wcp(), case.wcp_weighted, 1e-9, "wcp");
        close_prf(weighted.b_cubed(), case.b3_weighted, "b3");
        close_prf(weighted.pairs(), case.pairs_weighted, "pairs");
    }
}

#[test]
fn distances_agree_with_scikit_learn() {
    for case in expected().vectors {
        let pairs = case.group.iter().zip(&case.vectors);
        let points: Vec<_> = pairs.map(|(&cluster_id, vector)| Point { cluster_id, vector }).collect();
        // The stored vectors are rounded to f32, and scikit-learn normalises them again.
        let silhouettes = cohesion::silhouettes(&points);
        let mean = silhouettes.iter().sum::<f64>() / silhouettes.len() as f64;
        close(mean, case.silhouette, 1e-6, "silhouette");
        close(cohesion::within(&points).unwrap().0, case.within, 1e-6, "within");
        close(cohesion::between(&points).unwrap().0, case.between, 1e-6, "between");
    }
}

#[test]
fn errors_of_confidences_agree_with_scikit_learn() {
    for case in expected().guesses {
        let pairs = case.said.iter().zip(&case.right);
        let guesses: Vec<_> = pairs.map(|(&said, &right)| Guess { said, right }).collect();
        close(confidence::error(&guesses), case.error, 1e-9, "error");
    }
}

/// Name in our table of a figure of the independent scorer.
fn our_name(theirs: &str) -> (String, Option<&'static str>) {
    if theirs == "tracks" {
        return ("matched_tracks".into(), None);
    }
    match theirs.strip_suffix("_frames") {
        Some(name) => (name.to_owned(), Some("frame")),
        None => (theirs.to_owned(), None),
    }
}

#[test]
fn labelled_clips_agree_with_the_independent_scorer() {
    for clip in expected().clips {
        let labels = Labels::parse(Path::new("truth.csv"), truth_csv(&clip).as_bytes(), clip.frames).unwrap();
        let judged = judge(&labels, &found(&clip), 0.5);
        let mut figures = figures::labelled(&judged);
        figures.extend(figures::budget(&judged, &Budget::new(&judged, &[], &[])));
        for (theirs, value) in &clip.expected {
            let (name, unit) = our_name(theirs);
            // Without a unit named, their figure is the first of ours: over tracks where there are two.
            let ours =
                figures.iter().find(|f| f.name == name && unit.is_none_or(|unit| f.unit.word() == unit));
            // Theirs are rounded to six decimals.
            close(ours.unwrap().value, *value, 1e-6, theirs);
        }
    }
}

fn truth_csv(clip: &Clip) -> String {
    let line = |(frame, x, y, w, h, name): &TruthRow| format!("\"{name}\",{frame},{h},{w},{y},{x},extra\n");
    let lines: String = clip.truth.iter().map(line).collect();
    format!("identity,frame,h,w,y,x,note\n{lines}")
}

fn found(clip: &Clip) -> Vec<TrackBox> {
    let found = |&(frame, x, y, w, h, track_id, cluster_id): &FoundRow| {
        let bbox = BBox::from_corner(x, y, w, h);
        TrackBox { frame_idx: frame as i64, bbox, track_id, cluster_id }
    };
    clip.found.iter().map(found).collect()
}
