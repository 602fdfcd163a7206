//! Figures about following faces against TrackEval, on stored cases made by
//! `make_tracking_expected.py`.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::collections::BTreeMap;
use std::path::Path;

use evaluate::figures;
use evaluate::labels::Labels;
use evaluate::matching::{Frame, judge};
use evaluate::tracking::{clear, hota, identity};
use geometry::BBox;
use report::input::TrackBox;
use serde::Deserialize;

const MIN_IOU: f64 = 0.5;

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
    clips: Vec<Clip>,
}

/// TrackEval's figures by name.
type Scores = BTreeMap<String, f64>;

#[derive(Deserialize)]
struct Case {
    name: String,
    frames: Vec<(Vec<u32>, Vec<u32>, Vec<f64>)>,
    expected: Scores,
}

/// Frame, x, y, w, h, identity, shot.
type TruthRow = (i64, f64, f64, f64, f64, String, i64);
/// Frame, x, y, w, h, track, cluster.
type FoundRow = (i64, f64, f64, f64, f64, i64, Option<i64>);

#[derive(Deserialize)]
struct Clip {
    frames: i64,
    truth: Vec<TruthRow>,
    found: Vec<FoundRow>,
    tracks: Scores,
    identities: Scores,
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("tracking_expected.json")).unwrap()
}

fn close(ours: f64, theirs: f64, what: &str) {
    assert!((ours - theirs).abs() <= 1e-9, "{what}: {ours} here, {theirs} in TrackEval");
}

/// Our figures under the names of the stored ones.
fn scores(frames: &[Frame<u32, u32>]) -> [(&'static str, f64); 16] {
    let (hota, clear, id) = (hota(frames), clear(frames, MIN_IOU), identity(frames, MIN_IOU));
    [
        ("hota", hota.hota),
        ("deta", hota.deta),
        ("detre", hota.detre),
        ("detpr", hota.detpr),
        ("assa", hota.assa),
        ("assre", hota.assre),
        ("asspr", hota.asspr),
        ("loca", hota.loca),
        ("mota", clear.mota),
        ("id_switches", clear.id_switches as f64),
        ("fragmentations", clear.fragmentations as f64),
        ("mostly_tracked", clear.mostly_tracked as f64),
        ("mostly_lost", clear.mostly_lost as f64),
        ("id_precision", id.precision),
        ("id_recall", id.recall),
        ("id_f1", id.f1),
    ]
}

#[test]
fn frames_agree_with_trackeval() {
    let cases = expected().cases;
    assert!(cases.len() > 10);
    for case in cases {
        let frame = |(truth, found, iou)| Frame { truth, found, iou };
        let frames: Vec<_> = case.frames.into_iter().map(frame).collect();
        let ours = scores(&frames);
        assert_eq!(ours.len(), case.expected.len());
        for (name, value) in ours {
            close(value, case.expected[name], &format!("{}, {name}", case.name));
        }
    }
}

/// From labels and boxes: what is judged, what a true track is, and what an identity.
#[test]
fn clips_agree_with_trackeval() {
    for clip in expected().clips {
        let labels = Labels::parse(Path::new("truth.csv"), truth_csv(&clip).as_bytes(), clip.frames).unwrap();
        let figures = figures::labelled(&judge(&labels, &found(&clip), MIN_IOU));
        let ours = |name: &str| figures.iter().find(|f| f.name == name).map(|f| f.value);
        for (name, value) in &clip.tracks {
            close(ours(&format!("track_{name}")).unwrap(), *value, &format!("track_{name}"));
        }
        for name in ["hota", "deta", "assa", "assre", "asspr"] {
            close(
                ours(&format!("identity_{name}")).unwrap(),
                clip.identities[name],
                &format!("identity_{name}"),
            );
        }
    }
}

fn truth_csv(clip: &Clip) -> String {
    let line =
        |(frame, x, y, w, h, name, shot): &TruthRow| format!("{frame},{x},{y},{w},{h},\"{name}\",{shot}\n");
    let lines: String = clip.truth.iter().map(line).collect();
    format!("frame,x,y,w,h,identity,shot\n{lines}")
}

fn found(clip: &Clip) -> Vec<TrackBox> {
    let found = |&(frame_idx, x, y, w, h, track_id, cluster_id): &FoundRow| {
        let bbox = BBox::from_corner(x, y, w, h);
        TrackBox { frame_idx, bbox, track_id, cluster_id }
    };
    clip.found.iter().map(found).collect()
}
