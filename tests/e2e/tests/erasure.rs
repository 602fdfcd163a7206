//! Erasure that reaches everywhere: a person of a gallery leaves no byte in the gallery and in its runs, a report proves
//! it later, a person gets what is stored, and what has expired is deleted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use run::redact::each_trace;
use schema::io::read_all;
use schema::tables::{Cluster, Crop, Embedding, Member, Person, PersonVector, TrackEmbedding};
use serde_json::Value;
use testkit::assets;
use testkit::files::{copy, hashes, untidy, walk};
use testkit::random::SplitMix64;
use testkit::synthetic_run::must;
use testkit::world::{World, embedder, write_pictured_run};

use crate::empty_folder;

/// Number of runs of the gallery.
const RUNS: usize = 20;
/// Bytes of a picture or a vector that are searched for: more than chance repeats.
const WINDOW: usize = 24;

/// Runs of synthetic people with pictures, linked into a gallery.
struct World20 {
    runs: PathBuf,
    library: PathBuf,
}

impl World20 {
    fn new(name: &str, n_runs: usize) -> Option<Self> {
        let folder = empty_folder("erasure", name).canonicalize().unwrap();
        let mut world = World::new(11, 0.95);
        let random = &mut SplitMix64::new(3);
        let mut build = assets::require_facetrack(&["library", "build", "--threads", "2", "--library"])?;
        let library = folder.join("library");
        build.arg(&library);
        for number in 0..n_runs {
            let run_dir = folder.join(format!("run{number:02}"));
            let name = format!("film {number}");
            write_pictured_run(&run_dir, &name, &embedder(), &world.video(5), random).unwrap();
            for stage in ["cluster", "evaluate"] {
                must(assets::require_facetrack(&["stage", stage, "--run-dir"])?.arg(&run_dir));
            }
            build.arg("--run-dir").arg(run_dir);
        }
        must(&mut build);
        Some(Self { runs: folder, library })
    }

    /// The person who is in most videos.
    fn lead(&self) -> Person {
        let people: Vec<Person> = read_all(&self.library.join("people.parquet")).unwrap();
        people.into_iter().max_by_key(|person| person.n_videos).unwrap()
    }

    fn run_dirs(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.runs).unwrap().map(|entry| entry.unwrap().path());
        let mut dirs: Vec<_> = entries.filter(|path| path.join("manifest.json").is_file()).collect();
        dirs.sort();
        dirs
    }

    /// Pictures and vectors of a person, everywhere.
    fn secrets(&self, person_id: i64) -> BTreeSet<Vec<u8>> {
        let mut secrets = BTreeSet::new();
        let mut members: Vec<Member> = Vec::new();
        for path in walk(&self.library.join("members"), &[]).into_values() {
            members.extend(read_all::<Member>(&path).unwrap());
        }
        for path in walk(&self.library.join("person_vectors"), &[]).into_values() {
            let rows = read_all::<PersonVector>(&path).unwrap().into_iter();
            secrets.extend(
                rows.filter(|row| row.person_id == person_id).map(|row| bytes(row.embedding.as_slice())),
            );
        }
        for run_dir in self.run_dirs() {
            let clusters: Vec<Cluster> = read_all(&run_dir.join("clusters.parquet")).unwrap();
            let video_id = clusters[0].video_id.clone();
            let own = members.iter().filter(|row| row.video_id == video_id && row.person_id == person_id);
            let own: BTreeSet<i64> = own.map(|row| row.cluster_id).collect();
            let tracks: BTreeSet<i64> = clusters
                .iter()
                .filter(|row| row.cluster_id.is_some_and(|id| own.contains(&id)))
                .map(|row| row.track_id)
                .collect();
            let crops: Vec<Crop> = read_all(&run_dir.join("crops.parquet")).unwrap();
            let is_own = |track: i64| tracks.contains(&track);
            secrets.extend(crops.into_iter().filter(|row| is_own(row.track_id)).filter_map(|row| row.image));
            let rows: Vec<Embedding> = read_all(&run_dir.join("embeddings.parquet")).unwrap();
            secrets.extend(
                rows.iter().filter(|row| is_own(row.track_id)).map(|row| bytes(row.embedding.as_slice())),
            );
            let rows: Vec<TrackEmbedding> = read_all(&run_dir.join("track_embeddings.parquet")).unwrap();
            secrets.extend(
                rows.iter().filter(|row| is_own(row.track_id)).map(|row| bytes(row.embedding.as_slice())),
            );
        }
        let own = members.iter().filter(|row| row.person_id == person_id);
        secrets.extend(own.map(|row| bytes(row.embedding.as_slice())));
        secrets
    }
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Files in which a piece of a secret is, as it is or in a decoded table.
fn traces(folder: &Path, secrets: &BTreeSet<Vec<u8>>) -> Vec<String> {
    let windows: BTreeSet<&[u8]> = secrets
        .iter()
        .flat_map(|secret| {
            // The beginning of a PNG is the same in all pictures, as is its end.
            let middle = secret.len() / 2;
            [&secret[middle..middle + WINDOW], &secret[middle + WINDOW..middle + 2 * WINDOW]]
        })
        .collect();
    let first: BTreeSet<[u8; 4]> = windows.iter().map(|window| window[..4].try_into().unwrap()).collect();
    let mut found = Vec::new();
    for (name, path) in walk(folder, &[]) {
        let content = fs::read(&path).unwrap();
        let raw = content.windows(WINDOW).any(|window| {
            let start: [u8; 4] = window[..4].try_into().unwrap();
            first.contains(&start) && windows.contains(window)
        });
        if raw {
            found.push(format!("{name} (bytes)"));
        }
        if name.ends_with(".parquet") {
            let mut decoded = 0;
            each_trace(&path, |_, trace| decoded += usize::from(secrets.contains(trace))).unwrap();
            if decoded > 0 {
                found.push(format!("{name} ({decoded} rows)"));
            }
        }
    }
    found
}

fn redact(arguments: &[&str], paths: &[&Path]) -> Option<Output> {
    let mut command = assets::require_facetrack(&["redact"])?;
    let mut paths = paths.iter();
    for argument in arguments {
        match *argument {
            "@" => command.arg(paths.next().unwrap()),
            other => command.arg(other),
        };
    }
    Some(command.output().unwrap())
}

fn said(done: &Output) -> String {
    [String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)].concat()
}

#[test]
fn no_byte_of_a_person_is_left_in_twenty_runs_and_their_gallery() {
    let Some(world) = World20::new("twenty", RUNS) else { return };
    let lead = world.lead();
    assert!(lead.n_videos >= 8, "{lead:?}");
    let id = lead.person_id.to_string();
    let name = "Zoë Quist";
    // A name for all runs, and a correction of one run.
    must(
        assets::require_facetrack(&["edits", "add", "name"])
            .unwrap()
            .arg(&world.library)
            .args([id.as_str(), name]),
    );
    let with = |run_dir: &PathBuf| {
        fs::read_to_string(run_dir.join("report/index.html")).is_ok_and(|page| page.contains(name))
    };
    let named: Vec<PathBuf> = world.run_dirs().into_iter().filter(with).collect();
    assert_eq!(named.len() as i64, lead.n_videos);
    must(assets::require_facetrack(&["edits", "add", "lock"]).unwrap().arg(&named[0]).arg(name));
    // Exports: one that is found, one that the user has changed, and a dataset with everything.
    let exports = world.runs.join("exports");
    fs::create_dir(&exports).unwrap();
    let export = |to: &str, out: &str, more: &[&str]| {
        let mut command = assets::require_facetrack(&["export", "--to", to, "--run-dir"]).unwrap();
        must(command.arg(&named[0]).arg("--out").arg(exports.join(out)).args(more));
    };
    export("csv", "boxes.csv", &[]);
    export("coco", "mine.json", &[]);
    export("dataset", "dataset", &["--pictures", "--vectors"]);
    fs::write(exports.join("mine.json"), "{}").unwrap();

    let secrets = world.secrets(lead.person_id);
    assert!(secrets.len() > 60, "{} pictures and vectors", secrets.len());
    assert!(traces(&world.runs, &secrets).len() > 3 * named.len(), "the search finds them before");

    // What is stored of the person, in full.
    let subject = world.runs.join("subject");
    let mut command = assets::require_facetrack(&["subject-report", "--person", name, "--library"]).unwrap();
    must(command.arg(&world.library).arg("--out").arg(&subject));
    let vectors: Vec<Value> =
        serde_json::from_slice(&fs::read(subject.join("vectors.json")).unwrap()).unwrap();
    let of = |row: &Value| -> Vec<u8> {
        let values = row["vector"].as_array().unwrap().iter();
        bytes(&values.map(|x| x.as_f64().unwrap() as f32).collect::<Vec<_>>())
    };
    let mut reported: BTreeSet<Vec<u8>> = vectors.iter().map(of).collect();
    reported.extend(walk(&subject.join("pictures"), &[]).into_values().map(|path| fs::read(path).unwrap()));
    assert!(secrets.is_subset(&reported), "a picture or a vector is missing in the report");
    let page = fs::read_to_string(subject.join("index.html")).unwrap();
    assert_eq!(page.matches("<section>").count() as i64, lead.n_videos);
    fs::remove_dir_all(&subject).unwrap();

    // Builds that were killed left people: one of this gallery, and one of a gallery that has never been finished.
    let other = world.runs.join("unfinished");
    for root in [&world.library, &other] {
        fs::create_dir_all(root.join("members")).unwrap();
        fs::create_dir_all(root.join("building")).unwrap();
        for (number, (file, path)) in walk(&world.library.join("members"), &[]).iter().enumerate() {
            let rows: Vec<Member> = read_all(path).unwrap();
            if rows.iter().all(|row| row.person_id != lead.person_id) {
                continue;
            }
            fs::copy(path, root.join(format!("building/runs-{number:06}.parquet"))).unwrap();
            if root == &other {
                fs::copy(path, other.join("members").join(file)).unwrap();
            }
        }
    }
    assert!(traces(&other, &secrets).len() >= 2 * named.len(), "the search finds these, too");

    // A dry run lists everything and changes nothing.
    let before = hashes(&world.runs);
    let done = redact(&["--library", "@", "--person", name, "--dry-run"], &[&world.library]).unwrap();
    let listed = said(&done);
    assert!(done.status.success(), "{listed}");
    for run_dir in &named {
        assert!(listed.contains(&format!("run `{}`", run_dir.display())), "{listed}");
    }
    assert!(listed.contains("boxes.csv") && listed.contains("mine.json` was changed since"), "{listed}");
    assert_eq!(hashes(&world.runs), before);

    let kept = world.runs.with_file_name("kept");
    let _ = fs::remove_dir_all(&kept);
    copy(&named[0], &kept);
    let report = world.runs.with_file_name("report.json");
    let arguments = [
        "--library",
        "@",
        "--person",
        name,
        "--report",
        "@",
        "--signed-off-by",
        "A. Clerk",
        "--reason",
        "request 7",
    ];
    let done = redact(&arguments, &[&world.library, &report]).unwrap();
    assert!(done.status.success(), "{}", said(&done));

    assert_eq!(traces(&world.runs, &secrets), [""; 0]);
    for (file, path) in walk(&world.runs, &[]) {
        let content = fs::read(&path).unwrap();
        assert!(!content.windows(name.len()).any(|window| window == name.as_bytes()), "{file} has the name");
    }
    for run_dir in world.run_dirs() {
        assert_eq!(
            untidy(&run_dir).into_iter().filter(|file| !file.contains("edit")).collect::<Vec<_>>(),
            [""; 0]
        );
    }
    let people: Vec<Person> = read_all(&world.library.join("people.parquet")).unwrap();
    assert!(people.iter().all(|person| person.person_id != lead.person_id) && people.len() > 3);
    must(assets::require_facetrack(&["validate"]).unwrap().arg(&world.library));
    assert!(!exports.join("boxes.csv").exists() && exports.join("mine.json").exists());
    assert_eq!(walk(&exports, &[]).len(), 1, "the dataset is deleted");

    // The report: hashes, numbers, and nothing of a face.
    let text = fs::read_to_string(report.with_extension("txt")).unwrap();
    for part in [
        "Signed off by:  A. Clerk",
        "Reason:         request 7",
        "mine.json` was changed since",
        "Deleted exports",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = fs::read(&report).unwrap();
    let windows: BTreeSet<&[u8]> =
        secrets.iter().map(|secret| &secret[secret.len() / 2..][..WINDOW]).collect();
    assert!(!json.windows(WINDOW).any(|window| windows.contains(window)));
    assert!(!String::from_utf8_lossy(&json).contains(name), "the report names no person");
    let places: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(places["places"].as_array().unwrap().len(), named.len() + 1);

    let done = redact(&["--verify", "@"], &[&report]).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    // Something comes back: a table of before, under any name.
    fs::copy(kept.join("crops.parquet"), named[0].join("old.bin")).unwrap();
    let done = redact(&["--verify", "@"], &[&report]).unwrap();
    assert_eq!(done.status.code(), Some(4), "{}", said(&done));
    assert!(said(&done).contains("old.bin` has removed pictures or vectors"), "{}", said(&done));
    fs::remove_file(named[0].join("old.bin")).unwrap();
    // The gallery gets the old run back.
    fs::remove_dir_all(&named[0]).unwrap();
    copy(&kept, &named[0]);
    let mut add = assets::require_facetrack(&["library", "add", "--library"]).unwrap();
    must(add.arg(&world.library).arg("--run-dir").arg(&named[0]));
    let done = redact(&["--verify", "@"], &[&report]).unwrap();
    assert_eq!(done.status.code(), Some(4), "{}", said(&done));
    assert!(said(&done).contains("members/"), "{}", said(&done));
    // A report that was changed proves nothing.
    fs::write(&report, String::from_utf8(json).unwrap().replace("A. Clerk", "B. Clerk")).unwrap();
    let done = redact(&["--verify", "@"], &[&report]).unwrap();
    assert!(done.status.code() == Some(4) && said(&done).contains("seal"), "{}", said(&done));
}

/// Another run of the video, and a gallery whose run is gone.
#[test]
fn other_runs_of_the_video_and_runs_that_are_gone_are_reached() {
    let Some(world) = World20::new("others", 3) else { return };
    let lead = world.lead();
    let secrets = world.secrets(lead.person_id);
    let members: Vec<Member> = walk(&world.library.join("members"), &[])
        .values()
        .flat_map(|path| read_all::<Member>(path).unwrap())
        .collect();
    let dirs = world.run_dirs();
    let video_id =
        |dir: &PathBuf| read_all::<Cluster>(&dir.join("clusters.parquet")).unwrap()[0].video_id.clone();
    let has = |dir: &&PathBuf| {
        members.iter().any(|row| row.video_id == video_id(dir) && row.person_id == lead.person_id)
    };
    let own: Vec<&PathBuf> = dirs.iter().filter(has).collect();
    assert!(own.len() > 1, "{lead:?}");
    let (gone, twice) = (own[0], own[1]);
    copy(twice, &world.runs.join("again"));
    let elsewhere = world.runs.with_file_name("elsewhere");
    let _ = fs::remove_dir_all(&elsewhere);
    fs::rename(gone, &elsewhere).unwrap();
    let done =
        redact(&["--library", "@", "--person", &lead.person_id.to_string()], &[&world.library]).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(said(&done).contains("is not where the gallery found it"), "{}", said(&done));
    assert_eq!(traces(&world.runs, &secrets), [""; 0]);
    assert!(!traces(&elsewhere, &secrets).is_empty());
    must(assets::require_facetrack(&["validate"]).unwrap().arg(&world.library));

    // One run: the other run of the video is named, and reached with an option.
    let Some(world) = World20::new("one", 2) else { return };
    let dirs = world.run_dirs();
    copy(&dirs[0], &world.runs.join("again"));
    let done = redact(&["--run-dir", "@", "--identity", "1", "--dry-run"], &[&dirs[0]]).unwrap();
    assert!(
        said(&done).contains("again` is another run of the video and shows the person"),
        "{}",
        said(&done)
    );
    let done = redact(&["--run-dir", "@", "--identity", "1", "--other-runs", "--json"], &[&dirs[0]]).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let crops = |dir: &Path| read_all::<Crop>(&dir.join("crops.parquet")).unwrap();
    assert_eq!(crops(&dirs[0]), crops(&world.runs.join("again")));
    let untouched = read_all::<Cluster>(&dirs[1].join("clusters.parquet")).unwrap();
    assert!(!untouched.is_empty());
}

#[test]
fn what_has_expired_is_listed_and_deleted() {
    let Some(world) = World20::new("expired", 3) else { return };
    let dirs = world.run_dirs();
    for (place, option, day) in [
        (&dirs[0], "--run-dir", "2020-01-31"),
        (&dirs[1], "--run-dir", "400d"),
        (&world.library, "--library", "2999-12-31"),
    ] {
        let done = redact(&[option, "@", "--expires", day], &[place]).unwrap();
        assert!(done.status.success(), "{}", said(&done));
    }
    let done = redact(&["--run-dir", "@", "--expires", "2027-02-30"], &[&dirs[0]]).unwrap();
    assert_eq!(done.status.code(), Some(2), "{}", said(&done));
    fs::write(dirs[0].join("notes.txt"), "mine").unwrap();
    let video_id = read_all::<Cluster>(&dirs[0].join("clusters.parquet")).unwrap()[0].video_id.clone();
    let before = hashes(&world.runs);
    let done = redact(&["--expired", "@", "--dry-run"], &[&world.runs]).unwrap();
    let listed = said(&done);
    assert!(listed.contains(&format!("expired 2020-01-31  {}", dirs[0].display())), "{listed}");
    assert!(listed.contains("expires 2999-12-31") && listed.contains("1 of 3"), "{listed}");
    assert_eq!(hashes(&world.runs), before);
    let report = world.runs.with_file_name("expired.json");
    let done = redact(&["--expired", "@", "--report", "@"], &[&world.library, &report]).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert_eq!(walk(&dirs[0], &[]).into_keys().collect::<Vec<_>>(), ["notes.txt"]);
    assert!(said(&done).contains("notes.txt` was not written by the program"), "{}", said(&done));
    let members: Vec<Member> = walk(&world.library.join("members"), &[])
        .values()
        .flat_map(|path| read_all::<Member>(path).unwrap())
        .collect();
    assert!(members.iter().all(|row| row.video_id != video_id) && !members.is_empty());
    must(assets::require_facetrack(&["validate"]).unwrap().arg(&world.library));
    let done = redact(&["--verify", "@"], &[&report]).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    // The day of a gallery stays when the gallery is built again; then its day comes.
    let done = redact(&["--library", "@", "--expires", "2020-01-01"], &[&world.library]).unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let done = redact(&["--expired", "@", "--json"], &[&world.runs]).unwrap();
    assert!(done.status.success() && said(&done).contains("\"deleted\":1"), "{}", said(&done));
    assert!(!world.library.exists() && dirs[1].join("manifest.json").is_file());
    let done = redact(&["--run-dir", "@", "--expires", "never"], &[&dirs[1]]).unwrap();
    assert!(done.status.success());
    let done = redact(&["--expired", "@", "--dry-run"], &[&world.runs]).unwrap();
    assert!(said(&done).contains("0 of 0"), "{}", said(&done));
}
