//! Gives each person the key `person_uid`, which later runs in the same run directory keep.
//!
//! In a fresh run directory, the key of a person of linking follows from the first track of the person, and the key of
//! a person that an edit made follows from the number of the edit. If the result of linking is that of the last run,
//! every person has the same key as in the last run, whatever edits were added or undone. Otherwise, the people take
//! over the keys of the last run, one to one and in the order of shared screen time, if the two people share at least
//! half of the frames of either. The faces of the last run are found by time and box.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use run::RunReader;
use run::edits::Faces;
use run::uids::{Known, KnownFace, Uids};
use schema::Row as _;
use schema::tables::Track;

use crate::edits::People;

/// Largest number of faces of a person in the record; the faces of the longest tracks are kept.
const MOST_FACES: usize = 16;
/// Digits of a key.
const DIGITS: usize = 16;

/// The keys of the people of a run.
pub(crate) struct Keys {
    /// The record for the next run.
    pub(crate) record: Uids,
    keys: BTreeMap<i64, String>,
}

impl Keys {
    /// Returns the key of a person.
    pub(crate) fn of(&self, cluster_id: i64) -> Option<String> {
        self.keys.get(&cluster_id).cloned()
    }
}

/// A person, as shown after edits; a person that edits merged into another, as linking found the person.
#[derive(Debug, Clone, PartialEq)]
struct Person {
    cluster_id: i64,
    /// Origin of the person, as the record names it.
    origin: String,
    /// The key in a fresh run directory.
    fresh: String,
    tracks: Vec<i64>,
}

/// Returns the keys of people: those that linking found, and those after edits.
///
/// # Errors
/// When the table of tracks is not what the manifest says.
pub(crate) fn keep(
    run: &RunReader,
    (linked, edited): (&People, &People),
    tracks: &[Track],
    faces: &Faces,
) -> run::Result<Keys> {
    let old = Uids::read(run.root());
    let before = linked.clusters();
    let digest = (run.hash_of(Track::TABLE.name)?, &before);
    let linking = hash::bytes(format!("{digest:?}").as_bytes());
    let video_sha256 = run.video_file()?.sha256.clone();
    let mut members = before.clone();
    members.extend(edited.clusters());
    let people: Vec<Person> = members
        .into_iter()
        .map(|(cluster_id, tracks_of)| {
            let (origin, seed) = match edited.origin(cluster_id) {
                Some((edit_id, number)) => {
                    let origin = format!("edit {edit_id}.{number}");
                    (origin.clone(), format!("{video_sha256} {origin}"))
                }
                None => {
                    let first = before.get(&cluster_id).and_then(|of| track(tracks, *of.first()?));
                    (format!("link {cluster_id}"), first.map_or_else(String::new, seed))
                }
            };
            Person { cluster_id, origin, fresh: key(&seed), tracks: tracks_of }
        })
        .collect();
    let n_frames = |id: i64| track(tracks, id).map_or(1, |t| t.last_frame_idx - t.first_frame_idx + 1);
    let old = old.filter(|old| old.video_sha256 == video_sha256);
    let (keys, taken) = match old {
        Some(old) if old.linking == linking => {
            let key = |person: &Person| old.taken.get(&person.origin).unwrap_or(&person.fresh).clone();
            (people.iter().map(key).collect(), old.taken)
        }
        Some(old) => take_over(&old, &people, &n_frames, faces),
        None => (people.iter().map(|person| person.fresh.clone()).collect(), BTreeMap::new()),
    };
    let known = |(person, uid): (&Person, &String)| {
        let mut longest = person.tracks.clone();
        longest.sort_by_key(|id| (-n_frames(*id), *id));
        longest.truncate(MOST_FACES);
        let faces = longest.into_iter().filter_map(|id| KnownFace::of(faces, id, n_frames(id)));
        Known { uid: uid.clone(), faces: faces.collect() }
    };
    let known = people.iter().zip(&keys).map(known).collect();
    let keys = people.iter().map(|person| person.cluster_id).zip(keys.iter().cloned()).collect();
    Ok(Keys { record: Uids { video_sha256, linking, taken, people: known }, keys })
}

/// Returns the key of each person after another result of linking, and the keys that do not follow from the origin.
fn take_over(
    old: &Uids,
    people: &[Person],
    n_frames: &dyn Fn(i64) -> i64,
    faces: &Faces,
) -> (Vec<String>, BTreeMap<String, String>) {
    let mut owners: HashMap<i64, Vec<usize>> = HashMap::new();
    for (at, person) in people.iter().enumerate() {
        person.tracks.iter().for_each(|track| owners.entry(*track).or_default().push(at));
    }
    let mut pairs = Vec::new();
    for (was, known) in old.people.iter().enumerate() {
        let mut shared: BTreeMap<usize, i64> = BTreeMap::new();
        for face in &known.faces {
            let found = face.find(&old.video_sha256, faces);
            let own: BTreeSet<usize> =
                found.iter().filter_map(|id| owners.get(id)).flatten().copied().collect();
            own.into_iter().for_each(|at| *shared.entry(at).or_default() += face.n_frames);
        }
        let whole: i64 = known.faces.iter().map(|face| face.n_frames).sum();
        for (at, frames) in shared {
            let own: i64 = people[at].tracks.iter().map(|id| n_frames(*id)).sum();
            if 2 * frames >= whole.min(own) {
                pairs.push((-frames, was, at));
            }
        }
    }
    pairs.sort_unstable();
    let mut keys: Vec<Option<String>> = vec![None; people.len()];
    let mut used = BTreeSet::new();
    for (_, was, at) in pairs {
        let uid = &old.people[was].uid;
        if keys[at].is_none() && used.insert(uid.clone()) {
            keys[at] = Some(uid.clone());
        }
    }
    // The key of a person who is gone is not given to another person.
    used.extend(old.people.iter().map(|known| known.uid.clone()));
    let mut taken = BTreeMap::new();
    let mut all = Vec::new();
    for (person, found) in people.iter().zip(keys) {
        let uid = found.unwrap_or_else(|| {
            let mut uid = person.fresh.clone();
            while !used.insert(uid.clone()) {
                uid = key(&uid);
            }
            uid
        });
        if uid != person.fresh {
            taken.insert(person.origin.clone(), uid.clone());
        }
        all.push(uid);
    }
    (all, taken)
}

fn track(tracks: &[Track], track_id: i64) -> Option<&Track> {
    tracks.binary_search_by_key(&track_id, |track| track.track_id).ok().map(|at| &tracks[at])
}

/// The text from which the key of a person of linking follows.
fn seed(first: &Track) -> String {
    let Track { video_id, first_t_secs, last_t_secs, n_detections, mean_score, .. } = first;
    format!("{video_id} {first_t_secs} {last_t_secs} {n_detections} {mean_score} ")
}

/// The key that follows from a text: 16 hexadecimal digits.
pub(crate) fn key(seed: &str) -> String {
    hash::bytes(seed.as_bytes()).get(..DIGITS).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use schema::tables::{Detection, DetectionSource};

    use super::*;

    /// Boxes of tracks, one per frame: track, first and last frame, left edge.
    fn faces(tracks: &[(i64, i64, i64, f32)]) -> Faces {
        let mut rows = Vec::new();
        for &(track_id, first, last, x_min) in tracks {
            rows.extend((first..=last).map(|frame_idx| Detection {
                video_id: "v".into(),
                frame_idx,
                det_idx: track_id,
                track_id: Some(track_id),
                x_min,
                y_min: 0.0,
                x_max: x_min + 100.0,
                y_max: 100.0,
                score: None,
                landmarks: None,
                source: DetectionSource::Detected,
                sharpness: None,
                frontality: None,
                size_px: 100.0,
            }));
        }
        rows.sort_by_key(|row| (row.frame_idx, row.det_idx));
        Faces::new("sha".into(), (0..1000).map(|i| (i, i as f64 * 0.04)).collect(), rows)
    }

    fn person(cluster_id: i64, tracks: &[i64]) -> Person {
        let (origin, fresh) = (format!("link {cluster_id}"), format!("fresh {cluster_id}"));
        Person { cluster_id, origin, fresh, tracks: tracks.to_vec() }
    }

    /// The record of people by key and tracks.
    fn record(people: &[(&str, &[i64])], faces: &Faces, n_frames: impl Fn(i64) -> i64) -> Uids {
        let known = |(uid, tracks): &(&str, &[i64])| Known {
            uid: (*uid).to_owned(),
            faces: tracks.iter().filter_map(|id| KnownFace::of(faces, *id, n_frames(*id))).collect(),
        };
        let people = people.iter().map(known).collect();
        Uids { video_sha256: "sha".into(), people, ..Uids::default() }
    }

    #[test]
    fn people_keep_their_keys_under_other_tracks_and_numbers() {
        let before = faces(&[(0, 0, 99, 0.0), (1, 0, 49, 300.0), (2, 200, 299, 300.0)]);
        let old = record(&[("ann", &[0]), ("bob", &[1, 2])], &before, |id| [100, 50, 100][id as usize]);
        // Other numbers, other boxes, and the first track in two pieces.
        let now = faces(&[(0, 0, 49, 310.0), (1, 0, 60, 5.0), (2, 63, 99, 5.0), (3, 200, 290, 305.0)]);
        let n_frames = |id: i64| [50, 61, 37, 91][id as usize];
        let (keys, taken) = take_over(&old, &[person(0, &[0, 3]), person(1, &[1, 2])], &n_frames, &now);
        assert_eq!(keys, ["bob", "ann"]);
        assert_eq!(taken.len(), 2, "neither key follows from the origin");
        // A person who is split keeps the key in the larger part; the smaller part gets a key of its own.
        let (keys, _) =
            take_over(&old, &[person(0, &[0]), person(1, &[1, 2]), person(2, &[3])], &n_frames, &now);
        assert_eq!(keys, ["fresh 0", "ann", "bob"]);
        // Two people who are linked keep the key of the person with more screen time.
        let (keys, _) = take_over(&old, &[person(0, &[0, 1, 2, 3])], &n_frames, &now);
        assert_eq!(keys, ["bob"]);
    }

    #[test]
    fn the_key_of_a_person_who_is_gone_is_not_given_again() {
        let before = faces(&[(0, 0, 99, 0.0)]);
        let old = record(&[("fresh 0", &[0])], &before, |_| 100);
        let now = faces(&[(0, 0, 99, 500.0)]);
        let (keys, taken) = take_over(&old, &[person(0, &[0])], &|_| 100, &now);
        assert!(keys[0] != "fresh 0" && taken["link 0"] == keys[0], "{keys:?}");
    }
}
