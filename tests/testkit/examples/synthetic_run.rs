//! Writes a synthetic run, to look at its page: `synthetic_run DIR [TRACKS] [PEOPLE]`.
//!
//! The labels are put beside the run as `DIR.csv`; `facetrack stage evaluate --run-dir DIR --labels DIR.csv`
//! then makes the page.

#![allow(clippy::unwrap_used, reason = "an example should stop where it fails")]

use std::path::PathBuf;

use testkit::linked::{self, Spec};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().unwrap_or_else(|| "synthetic".into()));
    let mut number = |default: usize| arguments.next().map_or(default, |text| text.parse().unwrap());
    let tracks = number(60);
    let people = number(9);
    let file_name = "dinner <script>alert(1)</script>.mp4".to_owned();
    let noise = tracks.min(people).min(3);
    let labels = linked::write(&root, &Spec { file_name, tracks, people, noise, ..Spec::default() });
    std::fs::write(root.with_extension("csv"), labels).unwrap();
}
