//! What is known of the test clip by construction.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::assets;

/// A shot of the test clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrueShot {
    /// Its frames.
    pub frames: Range<i64>,
    /// Who is in it, from left to right.
    pub people: Vec<String>,
}

/// The shots of the clip at `clip`, read from the files beside it.
pub fn shots(clip: &Path) -> Option<Vec<TrueShot>> {
    let shots = assets::require_beside("FACETRACK_CLIP_SHOTS", clip, "clip.shots.csv")?;
    let people = assets::require_beside("FACETRACK_CLIP_PEOPLE", clip, "clip.people.csv")?;
    let people = rows(&people, "shot,people");
    let shot = |row: &Vec<String>| {
        let of_this = people.iter().find(|p| p[0] == row[0]).unwrap();
        TrueShot {
            frames: row[1].parse().unwrap()..row[2].parse().unwrap(),
            people: of_this[1].split('+').map(str::to_owned).collect(),
        }
    };
    Some(rows(&shots, "shot,first_frame,end_frame_exclusive").iter().map(shot).collect())
}

fn rows(path: &Path, header: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(header), "{}", path.display());
    lines.map(|line| line.split(',').map(str::to_owned).collect()).collect()
}
