//! The rules of a library: each table by itself, whether `people` and `person_vectors` are what `members` add up to,
//! and whether the corrections are whole.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use run::validate::{Rows, Verdict, Wrong, check_edits, check_recorded, each, read_table};
use schema::tables::{Edit, EditAnchor, Member, Person, PersonVector};
use schema::{Row, UnitVector};

use crate::Error;
use crate::people::People;
use crate::store::{INDEX, Index, check_key};

/// Largest relative difference of sums of times, which another program may have added in another order.
const SAME: f64 = 1e-9;
/// Largest difference of a component of a vector, for the same reason.
const SAME_VECTOR: f32 = 1e-5;

/// Whether a directory is a library.
pub fn is_library(root: &Path) -> bool {
    root.join(INDEX).is_file()
}

/// Fails unless a directory is a library.
///
/// # Errors
/// [`Error::NoGallery`].
pub fn require(root: &Path) -> Result<(), Error> {
    if is_library(root) { Ok(()) } else { Err(Error::NoGallery { path: root.to_path_buf() }) }
}

/// Checks every file that the index of the library at `root` names.
///
/// # Errors
/// When the index cannot be read, or the library does not have the key of this process.
pub fn validate(root: &Path) -> Result<Verdict, Error> {
    check_key(root)?;
    let index = Index::read(&root.join(INDEX))?;
    let mut faults = Vec::new();
    let people_file = root.join(Person::TABLE.file_name());
    // A library without a video may have no table yet.
    let people = if index.videos.is_empty() && !people_file.is_file() {
        None
    } else {
        recorded::<Person>(&people_file, &index.people_sha256, &mut faults)
    };
    let mut vectors = Vec::new();
    for file in &index.vector_files {
        vectors.extend(recorded::<PersonVector>(&root.join(&file.file), &file.sha256, &mut faults));
    }
    let mut members = Vec::new();
    for video in &index.videos {
        let rows = recorded::<Member>(&root.join(&video.file), &video.sha256, &mut faults);
        members.extend(rows.map(|rows| (video.video_id.as_str(), rows)));
    }
    check_members(people.as_ref(), &members, &mut faults);
    // Sums over some of the files mean nothing.
    if members.len() == index.videos.len() {
        let mut sums = People::default();
        members.iter().for_each(|(_, table)| sums.add(&table.rows));
        each(people.as_ref(), &mut faults, |wrong, _, _, row| check_person(wrong, row, &sums));
        check_vectors(&vectors, &sums.vectors, &mut faults);
    }
    let edits = logged::<Edit>(root, &mut faults);
    let anchors = logged::<EditAnchor>(root, &mut faults);
    check_edits(edits.as_ref(), anchors.as_ref(), &mut faults);
    check_marked(root, &index, edits.as_ref(), &members, &mut faults);
    let mut rows = BTreeMap::new();
    rows.extend(edits.map(|table| (Edit::TABLE.name, table.rows.len())));
    rows.extend(anchors.map(|table| (EditAnchor::TABLE.name, table.rows.len())));
    rows.extend(people.map(|table| (Person::TABLE.name, table.rows.len())));
    rows.insert(Member::TABLE.name, members.iter().map(|(_, table)| table.rows.len()).sum());
    rows.insert(PersonVector::TABLE.name, vectors.iter().map(|table| table.rows.len()).sum());
    Ok(Verdict { rows, faults })
}

/// Reads a table of the log of corrections, which the index does not name; `None` in a library without corrections.
fn logged<R: Row + Clone + 'static>(root: &Path, faults: &mut Vec<run::Error>) -> Option<Rows<R>> {
    let path = root.join(R::TABLE.file_name());
    path.is_file().then(|| read_table(&path, faults)).flatten()
}

/// The clusters that show the faces of corrections, by the index.
fn check_marked(
    root: &Path,
    index: &Index,
    edits: Option<&Rows<Edit>>,
    members: &[(&str, Rows<Member>)],
    faults: &mut Vec<run::Error>,
) {
    let known: BTreeSet<i64> = edits.iter().flat_map(|table| &table.rows).map(|row| row.edit_id).collect();
    for video in &index.videos {
        let table = members.iter().find(|(video_id, _)| *video_id == video.video_id);
        for (edit_id, _, cluster_id) in &video.marked {
            let mut wrong = |reason: String| {
                faults.push(run::Error::Changed { path: root.join(INDEX), reason });
            };
            if !known.contains(edit_id) {
                wrong(format!("it names correction {edit_id}, which is not in `edits`"));
            }
            let has_cluster =
                table.is_none_or(|(_, table)| table.rows.iter().any(|row| row.cluster_id == *cluster_id));
            if !has_cluster {
                wrong(format!(
                    "it names cluster {cluster_id} of {}, which is not in `members`",
                    video.video_id
                ));
            }
        }
    }
}

/// Reads a table that must have the content that the index records.
fn recorded<R: Row + Clone + 'static>(
    path: &Path,
    sha256: &str,
    faults: &mut Vec<run::Error>,
) -> Option<Rows<R>> {
    match check_recorded(path, sha256, INDEX) {
        Ok(fault) => faults.extend(fault),
        Err(error) => {
            faults.push(error);
            return None;
        }
    }
    read_table(path, faults)
}

fn check_members(
    people: Option<&Rows<Person>>,
    members: &[(&str, Rows<Member>)],
    faults: &mut Vec<run::Error>,
) {
    let ids = people.map(|people| people.rows.iter().map(|row| row.person_id).collect::<BTreeSet<_>>());
    for (video_id, table) in members {
        let mut here = BTreeSet::new();
        each(table, faults, |wrong, _, _, row| {
            let Member { video_id: own, person_id, .. } = row;
            let is_same = own.as_str() == *video_id;
            wrong.unless(is_same, format_args!("belongs to the video {own}, {INDEX} names {video_id}"));
            let is_new = here.insert(*person_id);
            wrong.unless(is_new, format_args!("is the second cluster of person {person_id}"));
            let is_known = ids.as_ref().is_none_or(|ids| ids.contains(person_id));
            wrong.unless(is_known, format_args!("names person {person_id}, which is not in `people`"));
        });
    }
}

fn check_person(wrong: &mut Wrong, row: &Person, sums: &People) {
    let Person { person_id, n_videos, n_tracks, screen_secs, first_video_id, first_cluster_id, .. } = row;
    let Some(sum) = sums.rows.get(person_id) else {
        return wrong.unless(false, format_args!("is person {person_id}, which is not in `members`"));
    };
    for (what, found, expected) in [("videos", *n_videos, sum.n_videos), ("tracks", *n_tracks, sum.n_tracks)]
    {
        wrong.unless(
            found == expected,
            format_args!("has {found} {what}, the sum in `members` is {expected}"),
        );
    }
    let differ = (screen_secs - sum.screen_secs).abs() > SAME * sum.screen_secs.abs();
    wrong.unless(
        !differ,
        format_args!("has {screen_secs} s on screen, the sum in `members` is {}", sum.screen_secs),
    );
    wrong.unless(
        (first_video_id, *first_cluster_id) == (&sum.first_video_id, sum.first_cluster_id),
        format_args!("was first cluster {first_cluster_id} of {first_video_id}, which `members` do not say"),
    );
}

/// Of a person in several files, the last one counts.
fn check_vectors(
    vectors: &[Rows<PersonVector>],
    sums: &HashMap<i64, UnitVector>,
    faults: &mut Vec<run::Error>,
) {
    let mut seen = BTreeSet::new();
    for table in vectors.iter().rev() {
        each(table, faults, |wrong, _, _, row| {
            if !seen.insert(row.person_id) {
                return;
            }
            let is_sum = sums.get(&row.person_id).is_some_and(|sum| {
                let (found, sum) = (row.embedding.as_slice(), sum.as_slice());
                found.len() == sum.len() && found.iter().zip(sum).all(|(a, b)| (a - b).abs() <= SAME_VECTOR)
            });
            wrong.unless(
                is_sum,
                format_args!("has a vector of person {} that `members` do not add up to", row.person_id),
            );
        });
    }
}
