//! What is done with a finished gallery: people found by a photo, and the vectors of another embedder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use schema::io::{open, read_all};
use schema::tables::{Cluster, Identity, Person, TrackEmbedding};
use serde_json::Value;
use testkit::assets;
use testkit::files::{copy, hashes};

use crate::several::{Parts, attempt, facetrack, members, text};

fn people(library: &Path) -> Vec<Person> {
    read_all(&library.join("people.parquet")).unwrap()
}

/// Person of each cluster of each video.
fn ids(library: &Path) -> BTreeMap<(String, i64), i64> {
    let rows = members(library).into_iter();
    rows.map(|row| ((row.video_id.to_string(), row.cluster_id), row.person_id)).collect()
}

/// Person of each track of each run. Tracks do not depend on the embedder.
fn owners(runs: &Path) -> BTreeMap<(String, i64), i64> {
    let ids = ids(&runs.join("library"));
    let of_run = |run: &str| read_all::<Cluster>(&runs.join(run).join("clusters.parquet")).unwrap();
    let rows = ["one", "two"].into_iter().flat_map(of_run);
    let owner = |row: Cluster| {
        let video_id = row.video_id.to_string();
        let person = ids.get(&(video_id.clone(), row.cluster_id?)).copied()?;
        Some(((video_id, row.track_id), person))
    };
    rows.filter_map(owner).collect()
}

/// Parts of the clip with a gallery of both; person 0 is called Ross.
fn gallery(name: &str) -> Option<(Parts, PathBuf)> {
    let parts = Parts::cut(name)?;
    let videos = parts.folder.join("videos");
    let done = parts.run(&["--quiet", "--embedder", "sface", "--video", videos.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    facetrack(&parts, "edits add name @runs/library 0 Ross");
    let library = parts.folder.join("runs/library");
    Some((parts, library))
}

fn find(library: &Path, photo: &Path) -> Output {
    let mut command = assets::require_facetrack(&["find", "--json", "--face"]).unwrap();
    command.arg(photo).arg(library).output().unwrap()
}

/// A picture of the clip, or of a pattern, made by `ffmpeg`.
fn picture(arguments: &[&str], to: &Path) -> PathBuf {
    let mut ffmpeg = assets::require_ffmpeg().unwrap();
    assert!(ffmpeg.args(arguments).args(["-frames:v", "1"]).arg(to).status().unwrap().success());
    to.to_path_buf()
}

#[test]
fn a_person_is_found_by_a_photo_and_nothing_is_stored() {
    let Some(photos) = assets::require("FACETRACK_PHOTOS_DIR") else { return };
    let Some((parts, library)) = gallery("found") else { return };
    let before = hashes(&library);
    let known = parts.people();
    for (photo, name) in [("obama.jpg", "obama"), ("biden.jpg", "biden"), ("32bit.png", "obama")] {
        let done = find(&library, &photos.join(photo));
        assert_eq!(done.status.code(), Some(0), "{photo}: {}", text(&done.stderr));
        let found: Value = serde_json::from_slice(&done.stdout).unwrap();
        let best = &found["candidates"][0];
        let person_id = best["person_id"].as_i64().unwrap();
        assert!(known[&person_id].contains(name), "{photo}: {found}");
        assert_eq!(best["name"].as_str(), (person_id == 0).then_some("Ross"), "{photo}: {found}");
        assert!(best["odds"].as_f64().unwrap() > 1.0, "{photo}: {found}");
        // The other person is no candidate.
        assert_eq!(found["candidates"].as_array().unwrap().len(), 1, "{photo}: {found}");
        assert_eq!(found["people"], 2);
    }
    let mut table = assets::require_facetrack(&["find", "--face"]).unwrap();
    let done = table.arg(photos.join("biden.jpg")).arg(&library).output().unwrap();
    let said = text(&done.stdout);
    assert!(said.starts_with("PERSON  NAME") && said.lines().count() == 2, "{said}");
    assert!(text(&done.stderr).contains("candidates among 2 people, not identifications"));
    assert_eq!(hashes(&library), before, "the gallery is as it was");

    // Without calibration there are similarities, but no odds.
    facetrack(&parts, "library migrate --library @runs/library --embedder dlib");
    let done = find(&library, &photos.join("obama.jpg"));
    let found: Value = serde_json::from_slice(&done.stdout).unwrap();
    let best = &found["candidates"][0];
    assert!(
        known[&best["person_id"].as_i64().unwrap()].contains("obama") && best["odds"].is_null(),
        "{found}"
    );
}

#[test]
fn a_picture_without_a_face_or_with_several_is_refused() {
    let Some((parts, library)) = gallery("refused") else { return };
    let clip = assets::require("FACETRACK_CLIP").unwrap();
    let at = |name: &str| parts.folder.join(name);
    let pattern = picture(&["-f", "lavfi", "-i", "testsrc2=size=640x360"], &at("pattern.png"));
    // The sixth shot shows both people.
    let both = picture(&["-ss", "14.5", "-i", clip.to_str().unwrap()], &at("both.jpg"));
    fs::write(at("words.jpg"), "no photo").unwrap();
    fs::write(at("empty.jpg"), "").unwrap();
    let cases = [
        (pattern, "shows no clear face"),
        (both, "shows 2 faces"),
        (at("words.jpg"), "failed to read the photo"),
        (at("empty.jpg"), "is empty"),
        (at("missing.jpg"), "does not exist"),
        (clip, "failed to read the photo"),
    ];
    for (photo, message) in cases {
        let done = find(&library, &photo);
        assert_eq!(done.status.code(), Some(3), "{}: {}", photo.display(), text(&done.stderr));
        assert!(text(&done.stderr).contains(message), "{}: {}", photo.display(), text(&done.stderr));
    }
    let (code, said) = attempt(&parts, "find --face @both.jpg @runs/one");
    assert!(code == 3 && said.contains("is not a gallery"), "{said}");
}

#[test]
fn a_gallery_gets_the_vectors_of_another_embedder_and_keeps_its_people() {
    let Some((parts, library)) = gallery("migrated") else { return };
    let runs = parts.folder.join("runs");
    let (people_before, owners_before) = (people(&library), owners(&runs));
    assert!(!owners_before.is_empty());
    assert_eq!(people_before.iter().filter(|person| person.name.is_some()).count(), 1);
    facetrack(&parts, "edits add different @runs/library one:1 one:2");

    // A migration that is killed leaves the gallery as it was, and goes on when it is repeated.
    let copied = parts.folder.join("killed");
    copy(&runs, &copied);
    let old = hashes(&copied.join("library"));
    let mut command =
        assets::require_facetrack(&["library", "migrate", "--embedder", "dlib", "--library"]).unwrap();
    command.arg(copied.join("library")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    let embedder = |run: &Path| -> Option<String> {
        let table = open::<TrackEmbedding>(&run.join("track_embeddings.parquet")).ok()?;
        Some(table.footer().embedders[0].name.clone())
    };
    while embedder(&copied.join("one")).as_deref() != Some("dlib") {
        assert!(begun.elapsed() < Duration::from_secs(120), "the first run is not embedded again");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut now = hashes(&copied.join("library"));
    assert!(now.remove("migration.json").is_some());
    assert_eq!(now, old);
    let mut again = Command::new(command.get_program());
    let done = again.args(command.get_args()).output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));

    let said = facetrack(&parts, "library migrate --library @runs/library --embedder dlib");
    assert!(said.contains("2 people in ") && said.contains("with vectors of dlib"), "{said}");
    for run in ["one", "two"] {
        assert_eq!(embedder(&runs.join(run)).as_deref(), Some("dlib"));
    }
    assert_eq!(ids(&copied.join("library")), ids(&library));
    assert_eq!(owners(&runs), owners_before);
    let keys = |people: &[Person]| -> Vec<(i64, Option<String>, i64)> {
        people.iter().map(|person| (person.person_id, person.name.clone(), person.n_videos)).collect()
    };
    assert_eq!(keys(&people(&library)), keys(&people_before));
    let index: Value = serde_json::from_slice(&fs::read(library.join("library.json")).unwrap()).unwrap();
    assert_eq!(index["embedder"]["name"], "dlib");
    let named: Vec<Identity> = read_all(&runs.join("two/identities.parquet")).unwrap();
    assert_eq!(named.iter().filter(|row| row.name.as_deref() == Some("Ross")).count(), 1);
    facetrack(&parts, "validate @runs/library");
    facetrack(&parts, "validate @runs/one");
    assert!(!library.join("migration.json").exists());

    // The same again changes nothing; linking all videos again keeps the people, too.
    let before = hashes(&library);
    facetrack(&parts, "library migrate --library @runs/library --embedder dlib");
    assert_eq!(hashes(&library), before);
    facetrack(&parts, "library build --library @runs/library --run-dir @runs/one --run-dir @runs/two");
    assert_eq!(keys(&people(&library)), keys(&people_before));

    let (code, said) = attempt(&parts, "library migrate --library @runs/library --embedder sift");
    assert!(code == 2, "{said}");
    facetrack(&parts, "redact --run-dir @runs/one --pictures");
    let (code, said) = attempt(&parts, "library migrate --library @runs/library --embedder sface");
    assert!(code == 3 && said.contains("these runs have no pictures to compute vectors from: one"), "{said}");
}
