//! The tables of a library: each by itself, and whether `people` is what `appearances` add up to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use run::{Error, Result};
use schema::Row;
use schema::tables::{Appearance, Person};
use serde_json::Value;

use super::rules::{Wrong, each, note};
use super::tables::{Rows, read_file};
use super::{Verdict, changed};

/// The index, which names the files that count.
const INDEX: &str = "library.json";
/// Sums of times that were added in one order and are compared in another differ by no more, relatively.
const SAME: f64 = 1e-9;

/// Whether a directory is a library.
pub(super) fn is_library(root: &Path) -> bool {
    root.join(INDEX).is_file()
}

/// Looks at every file that the index names.
pub(super) fn validate(root: &Path) -> Result<Verdict> {
    let index = read_index(&root.join(INDEX))?;
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let mut faults = Vec::new();
    let people_file = root.join(Person::TABLE.file_name());
    let videos = index["videos"].as_array().map(Vec::as_slice).unwrap_or_default();
    // A library of no video may have no table yet.
    let people = (!videos.is_empty() || people_file.is_file())
        .then(|| recorded::<Person>(people_file, &text(&index, "people_sha256"), &mut faults))
        .flatten();
    let mut appearances = Vec::new();
    for video in videos {
        let file = root.join(text(video, "file"));
        let rows = recorded::<Appearance>(file, &text(video, "sha256"), &mut faults);
        appearances.extend(rows.map(|rows| (text(video, "video_id"), rows)));
    }
    let is_whole = appearances.len() == videos.len();
    check(people.as_ref(), &appearances, is_whole, &mut faults);
    let mut rows = BTreeMap::from([(
        Appearance::TABLE.name,
        appearances.iter().map(|(_, table)| table.rows.len()).sum::<usize>(),
    )]);
    rows.extend(people.map(|people| (Person::TABLE.name, people.rows.len())));
    Ok(Verdict { rows, faults })
}

fn read_index(path: &Path) -> Result<Value> {
    let json = std::fs::read(path).map_err(Error::io("read", path))?;
    serde_json::from_slice(&json)
        .map_err(|e| Error::Changed { path: path.to_path_buf(), reason: format!("it is no JSON: {e}") })
}

/// A table that must have the content that the index records.
fn recorded<R: Row + Clone + 'static>(
    path: PathBuf,
    sha256: &str,
    faults: &mut Vec<Error>,
) -> Option<Rows<R>> {
    match changed(&path, sha256, INDEX) {
        Ok(fault) => faults.extend(fault),
        Err(error) => {
            faults.push(error);
            return None;
        }
    }
    read_file(path, faults)
}

/// What a person's appearances come to.
#[derive(Debug, Default)]
struct Sum {
    n_videos: i64,
    n_tracks: i64,
    screen_secs: f64,
    clusters: BTreeSet<(String, i64)>,
}

fn check(
    people: Option<&Rows<Person>>,
    appearances: &[(String, Rows<Appearance>)],
    is_whole: bool,
    faults: &mut Vec<Error>,
) {
    let mut sums: BTreeMap<i64, Sum> = BTreeMap::new();
    let ids = people.map(|people| people.rows.iter().map(|row| row.person_id).collect::<BTreeSet<_>>());
    for (video_id, table) in appearances {
        let mut here = BTreeSet::new();
        for (at, row) in table.rows.iter().enumerate() {
            let mut wrong = Wrong::default();
            wrong.unless(row.video_id.as_str() == video_id, || {
                format!("is about the video {}, {INDEX} says {video_id}", row.video_id)
            });
            wrong.unless(here.insert(row.person_id), || {
                format!("is the second cluster that is person {}", row.person_id)
            });
            wrong.unless(ids.as_ref().is_none_or(|ids| ids.contains(&row.person_id)), || {
                format!("names person {}, who is not in `people`", row.person_id)
            });
            note(faults, table, at, wrong);
            let sum = sums.entry(row.person_id).or_default();
            sum.n_videos += 1;
            sum.n_tracks = sum.n_tracks.saturating_add(row.n_tracks);
            sum.screen_secs += row.screen_secs;
            sum.clusters.insert((row.video_id.to_string(), row.cluster_id));
        }
    }
    // Sums over some of the files say nothing.
    if is_whole {
        each(people, faults, |_, row| person(row, sums.get(&row.person_id)));
    }
}

fn person(row: &Person, sum: Option<&Sum>) -> Wrong {
    let mut wrong = Wrong::default();
    wrong.unless(sum.is_some(), || format!("is person {}, who is in no `appearances`", row.person_id));
    let Some(sum) = sum else { return wrong };
    for (what, found, expected) in
        [("videos", row.n_videos, sum.n_videos), ("tracks", row.n_tracks, sum.n_tracks)]
    {
        wrong.unless(found == expected, || format!("has {found} {what}, `appearances` add up to {expected}"));
    }
    let differ = (row.screen_secs - sum.screen_secs).abs() > SAME * sum.screen_secs.abs();
    wrong.unless(!differ, || {
        format!("has {} s on screen, `appearances` add up to {}", row.screen_secs, sum.screen_secs)
    });
    let first = (row.first_video_id.to_string(), row.first_cluster_id);
    wrong.unless(sum.clusters.contains(&first), || {
        format!("was first cluster {} of {}, which `appearances` do not say", first.1, first.0)
    });
    wrong
}
