//! A library over synthetic runs: through its directory, as `facetrack library` uses it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected should end there"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use failure::Failure as _;
use gallery::{Added, Appended, Error, Library, RunIdentities, Saving, is_unfinished};
use run::edits::{Edit, EditOp, Faces, Log};
use schema::footer::Embedder;
use schema::io::{open, read_all, write_all};
use schema::tables::{Member, Person, PersonVector};
use tempfile::TempDir;
use testkit::world::{RETURNING, Shown, World, embedder, write_run};

/// Runs and a library over them.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("library")
    }

    /// Writes the run of a video in which these people are, each with a few tracks.
    fn run(&self, video: &str, people: &[usize]) -> RunIdentities {
        self.run_by(&embedder(), video, people)
    }

    fn run_by(&self, embedder: &Embedder, video: &str, people: &[usize]) -> RunIdentities {
        let shown: Vec<Shown> = people.iter().map(|person| shown(*person, video)).collect();
        let run_dir = self.folder.path().join(video);
        write_run(&run_dir, video, embedder, &shown).unwrap();
        RunIdentities::read(&run_dir).unwrap()
    }

    fn add(&self, seen: &RunIdentities) -> Added {
        let mut library = Library::open(&self.root()).unwrap();
        let added = library.add(seen).unwrap();
        library.commit().unwrap();
        added
    }

    fn remove(&self, seen: &RunIdentities) {
        let mut library = Library::open(&self.root()).unwrap();
        library.remove(seen.video_id.as_str()).unwrap();
        library.commit().unwrap();
    }

    fn people(&self) -> Vec<Person> {
        read_all(&self.root().join("people.parquet")).unwrap()
    }

    /// Ids by video and cluster.
    fn ids(&self) -> BTreeMap<(String, i64), i64> {
        let mut ids = BTreeMap::new();
        for file in self.files("members") {
            for row in read_all::<Member>(&file).unwrap() {
                ids.insert((row.video_id.to_string(), row.cluster_id), row.person_id);
            }
        }
        ids
    }

    fn ids_of(&self, seen: &RunIdentities) -> Vec<i64> {
        let ids = self.ids();
        let id =
            |person: &gallery::identities::RunIdentity| ids[&(seen.video_id.to_string(), person.cluster_id)];
        seen.people.iter().map(id).collect()
    }

    fn files(&self, table: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.root().join(table)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// Every file but the lock, by name.
    fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        let named = |path: PathBuf| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        };
        let own = ["library.json", "people.parquet"].map(|name| self.root().join(name));
        let tables = self.files("members").into_iter().chain(self.files("person_vectors"));
        tables.chain(own).map(named).collect()
    }
}

/// Four tracks around an axis of the person's own; each video shows them a little differently.
fn shown(person: usize, video: &str) -> Shown {
    let tracks = (0..4).map(|track| {
        let mut vector = vec![0.0; embedder().dim];
        vector[person] = 1.0;
        vector[64 + (video.len() * 7 + track * 5 + person) % 64] = 0.4;
        vector
    });
    Shown { person, tracks: tracks.collect() }
}

#[test]
fn a_person_has_one_id_in_all_videos_and_keeps_it() {
    let place = Place::new();
    let a = place.run("a", &[1, 2, 3]);
    assert_eq!(place.add(&a), Added { known: 0, new: 3, up_to_date: false });
    let ids_of_a = place.ids_of(&a);
    let b = place.run("bb", &[3, 4, 1]);
    assert_eq!(place.add(&b), Added { known: 2, new: 1, up_to_date: false });
    let c = place.run("ccc", &[4, 5]);
    assert_eq!(place.add(&c), Added { known: 1, new: 1, up_to_date: false });
    let [ids_of_b, ids_of_c] = [&b, &c].map(|seen| place.ids_of(seen));
    assert_eq!((ids_of_b[0], ids_of_b[2]), (ids_of_a[2], ids_of_a[0]));
    assert_eq!(ids_of_c[0], ids_of_b[1]);
    assert_eq!(place.ids_of(&a), ids_of_a, "ids of earlier people stay");
    let people = place.people();
    assert_eq!(people.len(), 5);
    let first = people.iter().find(|person| person.person_id == ids_of_a[0]).unwrap();
    assert_eq!((first.n_videos, first.n_tracks, first.screen_secs), (2, 8, 8.0));
    assert_eq!((&first.first_video_id, first.first_cluster_id), (&a.video_id, 0));
}

#[test]
fn a_run_that_was_added_is_not_added_again() {
    let place = Place::new();
    let seen = place.run("a", &[1, 2]);
    place.add(&seen);
    let before = place.bytes();
    assert_eq!(place.add(&seen), Added { known: 0, new: 2, up_to_date: true });
    assert_eq!(place.bytes(), before);
}

#[test]
fn a_video_that_is_run_again_takes_the_place_of_its_rows_and_keeps_its_ids() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1, 2, 3]), place.run("bb", &[1, 4])];
    place.add(&a);
    place.add(&b);
    let (old_a, old_b) = (place.ids_of(&a), place.ids_of(&b));
    // The same video in another order, without the second person and with a new one.
    let again = place.run("a", &[3, 1, 9]);
    assert_eq!(place.add(&again), Added { known: 2, new: 1, up_to_date: false });
    let ids = place.ids_of(&again);
    assert_eq!((ids[0], ids[1]), (old_a[2], old_a[0]));
    assert!(!old_a.contains(&ids[2]) && !old_b.contains(&ids[2]));
    assert_eq!(place.ids_of(&b), old_b);
    assert_eq!(place.files("members").len(), 2, "the old file is gone");
    let people: Vec<_> = place.people().iter().map(|person| person.person_id).collect();
    assert_eq!(people.len(), 4);
    assert!(!people.contains(&old_a[1]), "whoever is in no video any more is nobody");
}

#[test]
fn what_is_left_after_a_removal_is_as_if_the_video_had_never_come() {
    let [with, without] = [Place::new(), Place::new()];
    for place in [&with, &without] {
        place.add(&place.run("a", &[1, 2]));
        place.add(&place.run("bb", &[2, 3]));
    }
    let c = with.run("ccc", &[1, 3, 7]);
    with.add(&c);
    let gone = with.ids_of(&c)[2];
    with.remove(&c);
    assert_eq!(with.bytes()["people.parquet"], without.bytes()["people.parquet"]);
    let d = with.run("dddd", &[8]);
    with.add(&d);
    assert!(with.ids_of(&d)[0] > gone, "an id is never given to anybody else");
}

#[test]
fn the_same_order_gives_the_same_bytes_one_by_one_or_together() {
    let [single, together] = [Place::new(), Place::new()];
    let mut world = [World::new(5, RETURNING), World::new(5, RETURNING)];
    let write = |place: &Place, world: &mut World, video: usize| {
        let run_dir = place.folder.path().join(format!("v{video}"));
        write_run(&run_dir, &format!("v{video}"), &embedder(), &world.video(12)).unwrap();
        RunIdentities::read(&run_dir).unwrap()
    };
    let mut library = Library::open(&together.root()).unwrap();
    for video in 0..6 {
        single.add(&write(&single, &mut world[0], video));
        library.add(&write(&together, &mut world[1], video)).unwrap();
    }
    library.commit().unwrap();
    assert_eq!(single.bytes(), together.bytes());
    assert!(single.people().iter().any(|person| person.n_videos > 1));
}

/// Six videos of a world, as runs of this place.
fn six(place: &Place) -> Vec<RunIdentities> {
    let mut world = World::new(5, RETURNING);
    let write = |video: usize| {
        let run_dir = place.folder.path().join(format!("v{video}"));
        write_run(&run_dir, &format!("v{video}"), &embedder(), &world.video(12)).unwrap();
        RunIdentities::read(&run_dir).unwrap()
    };
    (0..6).map(write).collect()
}

fn build(place: &Place, runs: &[RunIdentities]) {
    let mut library = Library::open(&place.root()).unwrap();
    library.build(runs, 2, Saving::default()).unwrap();
    library.commit().unwrap();
}

#[test]
fn a_library_that_is_built_depends_on_the_set_of_runs_only() {
    // Beside the runs, the index would have other paths to the runs.
    let (home, place) = (Place::new(), Place::new());
    let mut runs = six(&home);
    build(&place, &runs);
    let built = place.bytes();
    assert!(place.people().iter().any(|person| person.n_videos > 2));
    for order in 1..8 {
        let place = Place::new();
        runs.rotate_left(order % 6);
        runs.swap(0, order % 3 + 1);
        build(&place, &runs);
        assert_eq!(place.bytes(), built, "order {order}");
        // Again over what is there.
        runs.reverse();
        build(&place, &runs);
        assert_eq!(place.bytes(), built, "order {order}, again");
    }
}

/// A build without its commit, with progress saved every two runs.
fn uncommitted(place: &Place, runs: &[RunIdentities]) -> Library {
    let saving = Saving { runs: 2, every: Duration::from_secs(3600) };
    let dirs: Vec<PathBuf> = runs.iter().map(|run| run.run_dir.clone()).collect();
    let mut library = Library::open(&place.root()).unwrap();
    let seen = library.read_runs(&dirs, saving, |_, error| assert!(error.is_none())).unwrap();
    assert_eq!(seen, runs);
    library.build(&seen, 2, saving).unwrap();
    library
}

/// A build that ends before its commit leaves what a killed one leaves.
#[test]
fn a_build_that_was_killed_continues_and_ends_as_if_nothing_had_happened() {
    let (home, place, undisturbed) = (Place::new(), Place::new(), Place::new());
    let runs = six(&home);
    build(&undisturbed, &runs);
    let uncommitted = || uncommitted(&place, &runs);
    let times = |folder: &str| -> BTreeMap<PathBuf, SystemTime> {
        let files = place.files(folder).into_iter();
        files.map(|file| (file.clone(), fs::metadata(file).unwrap().modified().unwrap())).collect()
    };
    drop(uncommitted());
    let kept = ["building", "members"].map(times);
    let has = |part: &str| kept[0].keys().any(|file| file.display().to_string().contains(part));
    assert!(has("runs-000002.json") && has(".near-0-0.bin") && has("members-000002.json"), "{kept:?}");
    drop(uncommitted());
    assert_eq!(["building", "members"].map(times), kept, "what had been done was done again");
    // What is not whole counts for nothing.
    for file in kept[0].keys() {
        let content = fs::read(file).unwrap();
        fs::write(file, &content[..content.len() - 1]).unwrap();
        drop(uncommitted());
    }
    uncommitted().commit().unwrap();
    assert_eq!(place.bytes(), undisturbed.bytes());
    assert!(!place.root().join("building").exists());
}

#[test]
fn what_was_saved_with_another_key_counts_for_nothing_and_can_be_removed() {
    let (home, place, undisturbed) = (Place::new(), Place::new(), Place::new());
    let runs = six(&home);
    build(&undisturbed, &runs);
    drop(uncommitted(&place, &runs));
    let members = place.files("members");
    // Tables that this process could not read.
    for file in place.files("building").iter().chain(&members) {
        if file.extension().is_none_or(|extension| extension != "json") {
            fs::write(file, "encrypted").unwrap();
            continue;
        }
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text.matches(r#""encryption":null"#).count(), 1, "{text}");
        let text = text.replace(r#""encryption":null"#, r#""encryption":{"key_id":"another"}"#);
        fs::write(file, text).unwrap();
    }
    uncommitted(&place, &runs).commit().unwrap();
    assert_eq!(place.bytes(), undisturbed.bytes());

    let place = Place::new();
    assert!(!is_unfinished(&place.root()));
    drop(uncommitted(&place, &runs));
    fs::write(place.root().join("building/mine.txt"), "mine").unwrap();
    assert!(is_unfinished(&place.root()));
    Library::open(&place.root()).unwrap().forget_unfinished().unwrap();
    assert!(!is_unfinished(&place.root()) && place.files("members").is_empty());
    assert_eq!(place.files("building"), [place.root().join("building/mine.txt")]);
    fs::remove_file(place.root().join("building/mine.txt")).unwrap();

    // A library that is deleted leaves nothing of an unfinished build.
    build(&place, &runs[..2]);
    let library = uncommitted(&place, &runs);
    assert!(is_unfinished(&place.root()));
    assert!(library.delete().unwrap().is_empty());
    assert!(!place.root().exists());
}

#[test]
fn what_an_unfinished_build_has_read_does_not_outlive_a_change_of_the_run() {
    let (home, place) = (Place::new(), Place::new());
    let saving = Saving { runs: 1, every: Duration::from_secs(3600) };
    let before = home.run("a", &[1, 2]);
    let read = || {
        let library = Library::open(&place.root()).unwrap();
        library.read_runs(std::slice::from_ref(&before.run_dir), saving, |_, _| ()).unwrap()
    };
    assert_eq!(read(), std::slice::from_ref(&before));
    let after = home.run("a", &[1, 2, 3]);
    assert_eq!(read(), [after]);
}

#[test]
fn a_library_that_is_built_again_keeps_ids_and_nothing_that_is_not_listed() {
    let place = Place::new();
    let [a, b, c] = [place.run("a", &[1, 2, 3]), place.run("bb", &[3, 4, 1]), place.run("ccc", &[4, 5])];
    build(&place, &[a.clone(), c.clone()]);
    let (ids_of_a, ids_of_c) = (place.ids_of(&a), place.ids_of(&c));
    build(&place, &[c.clone(), b.clone(), a.clone()]);
    assert_eq!((place.ids_of(&a), place.ids_of(&c)), (ids_of_a.clone(), ids_of_c.clone()));
    assert_eq!(place.ids_of(&b), [ids_of_a[2], ids_of_c[0], ids_of_a[0]]);
    // The video is run again with other people, in another order; another video is gone.
    let again = place.run("a", &[9, 3, 2]);
    build(&place, &[again.clone(), b.clone()]);
    let ids = place.ids_of(&again);
    assert_eq!(ids[1..], [ids_of_a[2], ids_of_a[1]]);
    assert!(!ids_of_a.contains(&ids[0]) && !ids_of_c.contains(&ids[0]));
    assert_eq!(place.files("members").len(), 2);
    assert!(!place.people().iter().any(|person| person.person_id == ids_of_c[1]));
}

#[test]
fn two_runs_of_one_video_and_runs_of_two_embedders_are_refused() {
    let place = Place::new();
    let a = place.run("a", &[1]);
    let mut library = Library::open(&place.root()).unwrap();
    let error = library.build(&[a.clone(), a.clone()], 1, Saving::default()).unwrap_err();
    assert!(matches!(error, Error::TwoRuns { .. }), "{error}");
    let other = Embedder { name: "other".into(), ..embedder() };
    let b = place.run_by(&other, "bb", &[1]);
    let error = library.build(&[a, b], 1, Saving::default()).unwrap_err();
    assert!(matches!(error, Error::OtherEmbedder { .. }), "{error}");
    drop(library);
    build(&place, &[]);
    assert_eq!(place.people(), []);
}

#[test]
fn vectors_of_different_embedders_never_meet() {
    let place = Place::new();
    place.add(&place.run("a", &[1]));
    let before = place.bytes();
    let other = |embedder: Embedder| {
        let seen = place.run_by(&embedder, "bb", &[1]);
        let error = Library::open(&place.root()).unwrap().add(&seen).unwrap_err();
        assert!(matches!(error, Error::OtherEmbedder { .. }), "{error}");
        assert_eq!(error.exit_code(), 2);
        assert!(error.hint().unwrap().contains("--embedder"));
        error.to_string()
    };
    let name = other(Embedder { name: "dlib".into(), ..embedder() });
    assert!(name.contains("`dlib`") && name.contains("`synthetic`"), "{name}");
    let weights = other(Embedder { weights_sha256: "0123456789abcdef".into(), ..embedder() });
    assert!(weights.contains("`synthetic` (weights 01234567…)"), "{weights}");
    assert_eq!(place.bytes(), before);
}

#[test]
fn an_addition_that_was_interrupted_counts_for_nothing() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1]), place.run("bb", &[1, 2])];
    place.add(&a);
    let before = place.bytes();
    // Everything of the addition is there but the index.
    let index = fs::read(place.root().join("library.json")).unwrap();
    place.add(&b);
    let after = place.bytes();
    fs::write(place.root().join("library.json"), index).unwrap();
    fs::write(place.root().join("people.parquet.tmp"), "half").unwrap();
    fs::write(place.root().join("members/0123.4567.parquet.tmp"), "half").unwrap();
    fs::write(place.root().join("members/notes.txt"), "a note").unwrap();
    let mut library = Library::open(&place.root()).unwrap();
    assert_eq!((library.n_videos(), library.people().count()), (1, 1));
    library.commit().unwrap();
    assert_eq!(fs::read(place.root().join("members/notes.txt")).unwrap(), b"a note");
    fs::remove_file(place.root().join("members/notes.txt")).unwrap();
    assert_eq!(place.bytes(), before);
    drop(library);
    place.add(&b);
    assert_eq!(place.bytes(), after);
}

#[test]
fn lost_people_are_made_again() {
    let place = Place::new();
    for (video, people) in [("a", [1, 2]), ("bb", [2, 3]), ("ccc", [3, 1])] {
        place.add(&place.run(video, &people));
    }
    let before = place.bytes();
    let damages = |bytes: &[u8]| {
        let mut flipped = bytes.to_vec();
        flipped[100] ^= 1;
        [None, Some("edited".into()), Some(flipped), Some([bytes, b"left"].concat())]
    };
    let damage = |path: &Path, damage: Option<Vec<u8>>| match damage {
        None => fs::remove_file(path).unwrap(),
        Some(bytes) => fs::write(path, bytes).unwrap(),
    };
    for bytes in damages(&before["people.parquet"]) {
        damage(&place.root().join("people.parquet"), bytes);
        Library::open(&place.root()).unwrap().commit().unwrap();
        assert_eq!(place.bytes(), before);
    }
    let path = place.files("person_vectors").remove(1);
    let whole = fs::read(&path).unwrap();
    for bytes in damages(&whole) {
        damage(&path, bytes);
        Library::open(&place.root()).unwrap().commit().unwrap();
        assert_eq!(place.bytes()["people.parquet"], before["people.parquet"]);
        let files = place.files("person_vectors");
        assert_eq!(files.len(), 1, "all vectors are in one file now");
        assert_eq!(read_all::<PersonVector>(&files[0]).unwrap().len(), 3);
        fs::remove_file(&files[0]).unwrap();
        before.iter().filter(|(name, _)| name.len() == 24).for_each(|(name, bytes)| {
            fs::write(place.root().join("person_vectors").join(name), bytes).unwrap();
        });
        fs::write(place.root().join("library.json"), &before["library.json"]).unwrap();
    }
    assert_eq!(place.bytes(), before);
}

/// Vectors of many additions are kept in few files, which say the same as the members.
#[test]
fn vectors_of_many_additions_are_in_few_files() {
    let place = Place::new();
    let mut world = World::new(3, RETURNING);
    for video in 0..40 {
        let name = format!("v{video}");
        write_run(&place.folder.path().join(&name), &name, &embedder(), &world.video(3)).unwrap();
        place.add(&RunIdentities::read(&place.folder.path().join(&name)).unwrap());
        assert!((1..=32).contains(&place.files("person_vectors").len()));
    }
    let (before, people) = (place.bytes(), place.people().len());
    place.files("person_vectors").iter().for_each(|file| fs::remove_file(file).unwrap());
    Library::open(&place.root()).unwrap().commit().unwrap();
    let again = read_all::<PersonVector>(&place.files("person_vectors")[0]).unwrap();
    assert_eq!(again.len(), people);
    // The last file in the order of the index counts.
    let index: serde_json::Value = serde_json::from_slice(&before["library.json"]).unwrap();
    let mut vectors = BTreeMap::new();
    for file in index["vector_files"].as_array().unwrap() {
        let name = file["file"].as_str().unwrap().split_once('/').unwrap().1;
        let path = place.folder.path().join(name);
        fs::write(&path, &before[name]).unwrap();
        vectors.extend(read_all::<PersonVector>(&path).unwrap().into_iter().map(|row| (row.person_id, row)));
    }
    assert_eq!(vectors.into_values().collect::<Vec<_>>(), again);
}

#[test]
fn a_library_of_format_1_is_upgraded() {
    let [place, expected] = [Place::new(), Place::new()];
    for (video, people) in [("a", [1, 2]), ("bb", [2, 3])] {
        place.add(&place.run(video, &people));
        expected.add(&expected.run(video, &people));
    }
    let path = place.root().join("library.json");
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let fields = index.as_object_mut().unwrap();
    fields.remove("vector_files");
    fields.insert("format".into(), 1.into());
    fields.insert("vectors".into(), serde_json::json!({ "n_records": 4, "crc32": 7 }));
    fs::write(&path, index.to_string()).unwrap();
    fs::remove_dir_all(place.root().join("person_vectors")).unwrap();
    fs::write(place.root().join("vectors.bin"), "of format 1").unwrap();
    assert!(Library::open(&place.root()).unwrap().is_upgraded());
    assert!(!place.root().join("vectors.bin").exists());
    assert!(!Library::open(&place.root()).unwrap().is_upgraded());
    let next = |place: &Place| {
        place.add(&place.run("ccc", &[1, 3, 7]));
        (place.bytes()["people.parquet"].clone(), place.ids())
    };
    assert_eq!(next(&place), next(&expected));
}

/// Formats 1 and 2 kept the members in `appearances`, whose version 1.0.0 had no column `name`.
#[test]
fn a_library_with_members_in_appearances_is_upgraded() {
    let [place, expected] = [Place::new(), Place::new()];
    for (video, people) in [("a", [1, 2]), ("bb", [2, 3])] {
        place.add(&place.run(video, &people));
        expected.add(&expected.run(video, &people));
    }
    let path = place.root().join("library.json");
    let text = fs::read_to_string(&path).unwrap().replace("members/", "appearances/");
    let mut index: serde_json::Value = serde_json::from_str(&text).unwrap();
    index["format"] = 2.into();
    fs::rename(place.root().join("members"), place.root().join("appearances")).unwrap();
    for (at, version) in ["1.0.0", "1.1.0"].into_iter().enumerate() {
        let file = place.root().join(index["videos"][at]["file"].as_str().unwrap());
        let mut footer = open::<Member>(&file).unwrap().footer().clone();
        (footer.table, footer.version) = ("appearances".into(), version.into());
        let rows = read_all::<Member>(&file).unwrap();
        write_all(&file, &footer, rows).unwrap();
        index["videos"][at]["sha256"] = hash::file(&file).unwrap().into();
    }
    fs::write(&path, index.to_string()).unwrap();
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty(), "before the upgrade");
    assert!(Library::open(&place.root()).unwrap().is_upgraded());
    assert!(!place.root().join("appearances").exists());
    assert_eq!(place.bytes(), expected.bytes());
    assert!(!Library::open(&place.root()).unwrap().is_upgraded());
}

#[test]
fn a_damaged_video_is_reported_and_can_be_added_again() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1, 2]), place.run("bb", &[2, 3])];
    place.add(&a);
    place.add(&b);
    let before = place.bytes();
    let mut files = place.files("members").into_iter();
    let file = files.find(|path| path.display().to_string().contains(a.video_id.as_str())).unwrap();
    fs::write(&file, "edited").unwrap();
    fs::remove_file(place.root().join("people.parquet")).unwrap();
    let error = Library::open(&place.root()).unwrap_err();
    assert_eq!(error.exit_code(), 4, "{error}");
    fs::remove_file(&file).unwrap();
    let error = Library::open(&place.root()).unwrap_err();
    assert!(error.hint().unwrap().contains("can be added again"), "{error}");
    fs::write(place.root().join("people.parquet"), &before["people.parquet"]).unwrap();
    assert_eq!(place.add(&a), Added { known: 2, new: 0, up_to_date: false });
    assert_eq!(place.people().len(), 3);
}

#[test]
fn what_is_no_library_or_no_run_is_refused() {
    let place = Place::new();
    place.add(&place.run("a", &[1]));
    let lock = Library::open(&place.root()).unwrap();
    let error = Library::open(&place.root()).unwrap_err();
    assert!(error.hint().unwrap().contains("--library"), "{error}");
    drop(lock);
    let error = RunIdentities::read(&place.folder.path().join("none")).unwrap_err();
    assert!(matches!(error, Error::Run(run::Error::NoRun { .. })) && error.exit_code() == 3, "{error}");
    assert!(!Path::new(&place.folder.path().join("none")).exists(), "looking makes no directory");
    let index = place.root().join("library.json");
    let text = fs::read_to_string(&index).unwrap();
    for (wrong, reason) in [
        (text.replace("\"format\":3", "\"format\":4"), "it has format 4, and this version reads 1 to 3"),
        (text.replace("members/", "../"), "it names"),
        ("{".into(), "invalid JSON at line 1 column 1"),
    ] {
        fs::write(&index, wrong).unwrap();
        let error = Library::open(&place.root()).unwrap_err();
        assert!(error.to_string().contains(reason) && error.exit_code() == 4, "{error}");
    }
}

/// Synthetic people whose similarities are those of faces.
#[test]
fn people_of_many_videos_are_found_again() {
    let place = Place::new();
    let mut world = World::new(11, RETURNING);
    let mut ids = BTreeMap::new();
    for video in 0..25 {
        let name = format!("v{video}");
        // Tracks enough to know a person by.
        let shown: Vec<_> = world.video(20).into_iter().filter(|shown| shown.tracks.len() > 2).collect();
        write_run(&place.folder.path().join(&name), &name, &embedder(), &shown).unwrap();
        let seen = RunIdentities::read(&place.folder.path().join(&name)).unwrap();
        place.add(&seen);
        for (shown, id) in shown.iter().zip(place.ids_of(&seen)) {
            ids.entry(shown.person).or_insert_with(Vec::new).push(id);
        }
    }
    let all: usize = ids.values().map(Vec::len).sum();
    let again = ids.values().map(|ids| ids.len() - 1).sum::<usize>();
    let found = ids.values().map(|ids| ids[1..].iter().filter(|id| **id == ids[0]).count()).sum::<usize>();
    let people: std::collections::BTreeSet<_> = ids.values().flatten().collect();
    assert!(again > 30, "{again} of {all} came again");
    assert!(found * 10 >= again * 9, "{found} of {again} were found again");
    assert!(people.len() >= ids.len(), "{} people were found as {}", ids.len(), people.len());
}

/// The marks of a cluster of a run.
fn marks(seen: &RunIdentities, cluster_id: i64) -> Vec<run::edits::Mark> {
    let run = run::RunReader::open(&seen.run_dir).unwrap();
    let clusters: Vec<schema::tables::Cluster> = run.read().unwrap();
    let own = clusters.iter().filter(|row| row.cluster_id == Some(cluster_id)).map(|row| row.track_id);
    Faces::read(&run).unwrap().marks(own)
}

#[test]
fn corrections_hold_when_a_run_is_added_again_and_an_undo_gives_the_start() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1, 2]), place.run("bb", &[1, 3])];
    place.add(&a);
    place.add(&b);
    let start = place.ids();
    assert_eq!(place.people().len(), 3);
    let side = |seen: &RunIdentities, cluster_id: i64| vec![(seen.video_id.to_string(), cluster_id)];
    let correct = |op: EditOp, sides: [(&RunIdentities, i64); 2]| {
        let mut library = Library::open(&place.root()).unwrap();
        let faces = sides.map(|(seen, cluster)| marks(seen, cluster)).to_vec();
        let clusters = sides.map(|(seen, cluster)| side(seen, cluster));
        let result = library.correct(Edit::new(op, "ann", faces), &clusters);
        library.commit().unwrap();
        result
    };
    // The second people of both videos are one person, and the first are two.
    assert_eq!(correct(EditOp::Same, [(&a, 1), (&b, 1)]).unwrap(), 1);
    assert_eq!(correct(EditOp::Different, [(&a, 0), (&b, 0)]).unwrap(), 2);
    let (of_a, of_b) = (place.ids_of(&a), place.ids_of(&b));
    assert!(of_a[1] == of_b[1] && of_a[0] != of_b[0], "{of_a:?} {of_b:?}");
    assert_eq!(of_a[0], start[&(a.video_id.to_string(), 0)]);
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty());
    // What contradicts, or would give a person two clusters of one video, is refused.
    for sides in [[(&a, 0), (&b, 0)], [(&a, 0), (&a, 1)], [(&a, 0), (&b, 1)]] {
        assert!(matches!(correct(EditOp::Same, sides), Err(Error::Refused { .. })));
    }
    // The run again, with one more person, and the whole library anew.
    let again = place.run("a", &[1, 2, 9]);
    place.add(&again);
    assert_eq!(place.ids_of(&again)[..2], of_a);
    let mut library = Library::open(&place.root()).unwrap();
    library.build(&[again.clone(), b.clone()], 1, Saving::default()).unwrap();
    library.commit().unwrap();
    drop(library);
    assert_eq!((&place.ids_of(&again)[..2], place.ids_of(&b)), (&of_a[..], of_b));
    let mut log = Log::open(&place.root()).unwrap();
    log.undo_last("ann").unwrap();
    log.undo_last("ann").unwrap();
    let mut library = Library::open(&place.root()).unwrap();
    assert_eq!(library.apply_edits().unwrap(), []);
    library.commit().unwrap();
    let mut now = place.ids();
    now.remove(&(a.video_id.to_string(), 2));
    assert_eq!(now, start);
}

/// Corrections of a file are found by their faces, count once, and wait for a run that shows the faces.
#[test]
fn corrections_of_another_gallery_are_imported() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1, 2]), place.run("bb", &[1, 3])];
    place.add(&a);
    let different = Edit::new(EditOp::Different, "ann", vec![marks(&a, 0), marks(&b, 0)]);
    let import = |edits: &[Edit]| {
        let mut library = Library::open(&place.root()).unwrap();
        let result = library.import(edits.to_vec());
        library.commit().unwrap();
        result.map(|Appended { corrections: added, refused }| {
            let reasons =
                refused.iter().map(|(id, refusal)| (*id, library.reason(refusal))).collect::<Vec<_>>();
            (added.iter().map(|entry| entry.edit_id).collect::<Vec<_>>(), reasons)
        })
    };
    let (added, refused) = import(std::slice::from_ref(&different)).unwrap();
    let reason = "no run of the gallery shows the faces of the correction".to_owned();
    assert_eq!((added, refused), (vec![1], vec![(1, reason)]));
    place.add(&b);
    assert_ne!(place.ids_of(&a)[0], place.ids_of(&b)[0]);
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty());
    // What contradicts an earlier correction is refused with its people, and nothing of the file is added.
    let same = Edit::new(EditOp::Same, "ann", vec![marks(&b, 0), marks(&a, 0)]);
    let other = Edit::new(EditOp::Same, "ann", vec![marks(&b, 1), marks(&a, 1)]);
    let error = import(&[other.clone(), same]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the correction `same` is refused: it contradicts correction 1 (different) of the gallery about Person 1 of `a` \
         and Person 1 of `bb`"
    );
    assert!(error.hint().unwrap().ends_with("library 1` undoes the earlier correction"), "{error:?}");
    assert_eq!(Log::open(&place.root()).unwrap().entries().len(), 1);
    // A person who would have two clusters of one video waits, too.
    let own = Edit::new(EditOp::Same, "ann", vec![marks(&a, 0), marks(&a, 1)]);
    let (added, refused) = import(&[other, own]).unwrap();
    assert_eq!((added, refused[0].0), (vec![2, 3], 3));
    assert_eq!(place.ids_of(&a)[1], place.ids_of(&b)[1]);
}

#[test]
fn linking_again_heeds_corrections_and_is_building_without_them() {
    let place = Place::new();
    let [a, b, c] = [place.run("a", &[1, 2]), place.run("bb", &[1, 3]), place.run("ccc", &[1, 2, 3])];
    let mut library = Library::open(&place.root()).unwrap();
    library.build(&[a.clone(), b.clone(), c.clone()], 1, Saving::default()).unwrap();
    library.commit().unwrap();
    let before = place.bytes();
    assert_eq!(library.relink(1, true).unwrap(), []);
    library.commit().unwrap();
    assert_eq!(place.bytes(), before, "without corrections, linking again is building");
    // Person 1 of `a` is another person; then linking keeps the two apart, too. Person 1 of `bb` is more similar to `ccc`.
    let side = |seen: &RunIdentities, cluster_id: i64| vec![(seen.video_id.to_string(), cluster_id)];
    let different = Edit::new(EditOp::Different, "ann", vec![marks(&c, 0), marks(&a, 0)]);
    library.correct(different, &[side(&c, 0), side(&a, 0)]).unwrap();
    library.commit().unwrap();
    let ids = place.ids();
    let apart = place.ids_of(&a)[0];
    assert_eq!(library.relink(1, true).unwrap(), [], "the people are those of the correction");
    library.commit().unwrap();
    assert_eq!(place.ids(), ids);
    // What was linked stays after an undo, until it is linked again.
    Log::open(&place.root()).unwrap().undo_last("ann").unwrap();
    library.apply_edits().unwrap();
    library.commit().unwrap();
    assert_eq!(place.ids(), ids);
    let tables = place.bytes();
    let expected =
        gallery::Change { run_id: "a".into(), cluster_id: 0, before: apart, after: place.ids_of(&c)[0] };
    assert_eq!(library.relink(1, false).unwrap(), [expected]);
    library.commit().unwrap();
    assert_eq!(place.bytes(), tables, "only listed");
    assert_eq!(library.relink(1, true).unwrap().len(), 1);
    library.commit().unwrap();
    assert_eq!(place.ids_of(&c)[0], place.ids_of(&a)[0]);
    drop(library);
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty());
}

/// `redact` removes corrections from the log, and the next correction may get the key of a removed one.
#[test]
fn the_clusters_of_a_removed_correction_are_forgotten() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1, 2]), place.run("bb", &[1, 3])];
    place.add(&a);
    place.add(&b);
    let side = |seen: &RunIdentities, cluster_id: i64| vec![(seen.video_id.to_string(), cluster_id)];
    let name = |seen: &RunIdentities| Edit {
        name: Some("Ida".into()),
        ..Edit::new(EditOp::Name, "ann", vec![marks(seen, 0)])
    };
    let mut library = Library::open(&place.root()).unwrap();
    library.correct(name(&a), &[side(&a, 0)]).unwrap();
    library.commit().unwrap();
    Log::open(&place.root()).unwrap().retain(|_| None).unwrap();
    let faults = gallery::validate::validate(&place.root()).unwrap().faults;
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().ends_with("it names correction 1, which is not in `edits`"), "{faults:?}");
    library.apply_edits().unwrap();
    library.commit().unwrap();
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty());
    assert_eq!(library.correct(name(&b), &[side(&b, 0)]).unwrap(), 1);
    assert_eq!(library.clusters_of(1, 0), side(&b, 0));
}

#[test]
fn a_new_name_changes_no_match_and_runs_are_found_where_they_are() {
    let place = Place::new();
    let [a, b] = [place.run("a", &[1, 2]), place.run("bb", &[1, 3])];
    place.add(&a);
    place.add(&b);
    let ids = place.ids();
    let mut named = b.clone();
    named.fingerprint = "other".into();
    named.people[0].name = Some("Ida".into());
    named.people[0].named_at = Some("2026-11-28T18:20:00Z".into());
    place.add(&named);
    assert_eq!(place.ids(), ids);
    assert_eq!(place.people()[0].name.as_deref(), Some("Ida"));
    let run_dirs = |root: &Path| -> Vec<PathBuf> {
        Library::open(root).unwrap().videos().filter_map(|video| video.run_dir).collect()
    };
    let at = |folder: &Path| ["a", "bb"].map(|name| folder.canonicalize().unwrap().join(name)).to_vec();
    assert_eq!(run_dirs(&place.root()), at(place.folder.path()));
    // The runs and the gallery move together.
    let moved = place.folder.path().join("elsewhere");
    fs::create_dir(&moved).unwrap();
    for name in ["a", "bb", "library"] {
        fs::rename(place.folder.path().join(name), moved.join(name)).unwrap();
    }
    assert_eq!(run_dirs(&moved.join("library")), at(&moved));
    // An index of an earlier version does not have the path.
    let index = moved.join("library/library.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    for video in json["videos"].as_array_mut().unwrap() {
        assert_eq!(video["run_dir"].as_str().unwrap().split('/').next(), Some(".."));
        video.as_object_mut().unwrap().remove("run_dir");
    }
    fs::write(&index, json.to_string()).unwrap();
    assert!(run_dirs(&moved.join("library")).is_empty());
    let mut library = Library::open(&moved.join("library")).unwrap();
    let a = RunIdentities::read(&moved.join("a")).unwrap();
    assert!(library.add(&a).unwrap().up_to_date && library.has_moved());
}

#[test]
fn the_page_names_everyone_and_an_empty_gallery_has_a_page_too() {
    let place = Place::new();
    let mut library = Library::open(&place.root()).unwrap();
    let page = fs::read_to_string(library.write_page().unwrap()).unwrap();
    assert!(page.contains("The gallery has no video."));
    library.commit().unwrap();
    drop(library);
    let a = place.run("a", &[1, 2]);
    place.add(&a);
    place.add(&place.run("bb", &[2]));
    let library = Library::open(&place.root()).unwrap();
    let content = library.page().unwrap();
    assert_eq!(content.n_in_several, 1);
    let cells: Vec<Vec<usize>> =
        content.people.iter().map(|person| person.cells.iter().map(|(video, _)| *video).collect()).collect();
    assert_eq!(cells, [vec![0, 1], vec![0]], "those longest on screen first");
    // A run that is gone leaves its people on the page.
    fs::remove_dir_all(&a.run_dir).unwrap();
    assert_eq!(library.page().unwrap().people.len(), 2);
}

/// The run of a video without one of its people: the others, who have other numbers now, are who they were.
#[test]
fn people_who_stay_in_a_run_keep_their_ids() {
    let place = Place::new();
    let (a, b) = (place.run("a", &[0, 1, 2, 3]), place.run("b", &[1, 2, 3, 4]));
    let mut library = Library::open(&place.root()).unwrap();
    library.build(&[a, b.clone()], 1, Saving::default()).unwrap();
    library.commit().unwrap();
    drop(library);
    let before = place.ids();
    fs::remove_dir_all(&b.run_dir).unwrap();
    let less = place.run("b", &[2, 3, 4]);
    let mut library = Library::open(&place.root()).unwrap();
    library.add_less(&less).unwrap();
    library.commit().unwrap();
    drop(library);
    let after = place.ids();
    let video_id = b.video_id.to_string();
    for cluster in 0..3 {
        let (was, is) = (before[&(video_id.clone(), cluster + 1)], after[&(video_id.clone(), cluster)]);
        assert_eq!(was, is, "person {cluster} of {before:?} {after:?}");
    }
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty());
}

/// The run of a video is gone, so that only the gallery can lose a person: the vector, and what corrections say.
#[test]
fn a_person_is_removed_without_the_run() {
    let place = Place::new();
    let (a, b) = (place.run("a", &[0, 1, 2]), place.run("b", &[0, 1, 3]));
    place.add(&a);
    place.add(&b);
    let vectors = |library: &Library| -> Vec<Vec<f32>> {
        let rows = library.members_of_all().unwrap();
        rows.iter().flat_map(|rows| rows.iter()).map(|row| row.embedding.as_slice().to_vec()).collect()
    };
    let mut library = Library::open(&place.root()).unwrap();
    let gone = library.members_of(0).unwrap()[2].clone();
    library.forget(a.video_id.as_str(), &[2].into()).unwrap();
    library.commit().unwrap();
    drop(library);
    let library = Library::open(&place.root()).unwrap();
    assert_eq!(vectors(&library).len(), 5);
    assert!(vectors(&library).iter().all(|vector| vector != gone.embedding.as_slice()));
    assert!(library.vectors().all(|(_, vector)| *vector != gone.embedding));
    assert!(library.person(gone.person_id).is_none());
    drop(library);
    for file in place.files("members").iter().chain(&place.files("person_vectors")) {
        let bytes: Vec<u8> = gone.embedding.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect();
        run::redact::each_trace(file, |_, trace| assert!(trace != bytes.as_slice(), "{file:?}")).unwrap();
    }
    assert!(gallery::validate::validate(&place.root()).unwrap().faults.is_empty());
    // The run as it was is no longer known, and is read when it is added.
    assert!(!place.add(&a).up_to_date);
    let mut library = Library::open(&place.root()).unwrap();
    library.forget_video(b.video_id.as_str()).unwrap();
    library.set_expiry(Some("2020-01-31".into()));
    library.commit().unwrap();
    drop(library);
    let mut library = Library::open(&place.root()).unwrap();
    assert_eq!((library.n_videos(), library.expires()), (1, Some("2020-01-31")));
    library.set_expiry(None);
    fs::write(place.root().join("mine.txt"), "x").unwrap();
    let left = library.delete().unwrap();
    assert_eq!(left, [place.root().canonicalize().unwrap().join("mine.txt")]);
}
