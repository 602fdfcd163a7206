//! SIFT and ORB against OpenCV's own Python bindings on squares of a photo: `make_bow.py`.
#![cfg(feature = "opencv")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use embed::descriptors::{Kind, describe};
use serde::Deserialize;
use testkit::assets::require_in;

const SIDE: u32 = 160;

#[derive(Deserialize)]
struct Case {
    kind: String,
    left: u32,
    top: u32,
    count: usize,
    rows: Vec<Vec<u8>>,
}

fn squared_distance(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b)).pow(2)).sum()
}

/// Other releases of OpenCV and other processors round differently, so values may differ by a little.
#[test]
fn descriptors_are_those_of_opencv() {
    let Some(photo) = require_in("FACETRACK_PHOTOS_DIR", "32bit.png") else { return };
    let photo = image::open(photo).unwrap().into_rgb8();
    let cases: Vec<Case> = serde_json::from_str(include_str!("descriptors.json")).unwrap();
    assert_eq!(cases.len(), 8);
    for Case { kind, left, top, count, rows } in cases {
        let (what, dim, most) = if kind == "sift" { (Kind::Sift, 128, 128 * 4) } else { (Kind::Orb, 256, 5) };
        let square = image::imageops::crop_imm(&photo, left, top, SIDE, SIDE).to_image();
        let found = describe(what, square.as_raw(), SIDE as usize).unwrap();
        assert!(
            found.rows().len().abs_diff(count) * 50 <= count,
            "{kind}: {} of {count}",
            found.rows().len()
        );
        assert_eq!(rows.len(), 12);
        for row in rows {
            assert_eq!(row.len(), dim);
            let closest = found.rows().map(|found| squared_distance(found, &row)).min().unwrap();
            assert!(closest <= most, "{kind} at {left}, {top}: {closest}");
        }
    }
}
