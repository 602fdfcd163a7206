//! Encryption at rest, through the program: an encrypted run has the rows of a plain one, other programs read them with
//! the key, no file shows a face, a vector or a name, and a rotation that is killed loses nothing.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use run::manifest::Manifest;
use schema::Row;
use schema::crypt::{self, Key};
use schema::io::open_with;
use schema::tables::{
    Appearance, Calibration, Cluster, Constraint, Crop, Cut, Detection, Doubt, Embedding, Frame, Identity,
    Label, LinkVector, Linkage, Metric, Shot, Track, TrackEmbedding, TrackView, Video,
};
use testkit::assets;
use testkit::files::{repository, walk};
use testkit::random::SplitMix64;
use testkit::synthetic_run;

use crate::empty_folder;

/// A name that no other text contains.
const NAME: &str = "Zaphod Beeblebrox";

/// The program with its first arguments, with a key file or without.
fn facetrack(arguments: &[&dyn AsRef<std::ffi::OsStr>], key: Option<&Path>) -> Option<Command> {
    let mut command = assets::require_facetrack(&[])?;
    command.args(arguments.iter().map(AsRef::as_ref));
    command.env_remove("FACETRACK_ENCRYPTION_KEY_FILE");
    if let Some(key) = key {
        command.arg("--encryption-key").arg(key);
    }
    Some(command)
}

fn text(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr)
}

fn must(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", text(&done));
    text(&done)
}

/// What a program says that must end with exit code 3.
fn refused(command: &mut Command) -> String {
    let done = command.output().unwrap();
    assert_eq!(done.status.code(), Some(3), "{command:?}: {}", text(&done));
    String::from_utf8_lossy(&done.stderr).into_owned()
}

fn new_key(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    must(&mut facetrack(&[&"key", &"new", &path], None)?);
    Some(path)
}

fn rows<R: Row + Clone>(run: &Path, key: Option<&Key>) -> Vec<R> {
    let path = run.join(R::TABLE.file_name());
    open_with::<R>(&path, None, key).unwrap_or_else(|e| panic!("{e}")).flat_map(Result::unwrap).collect()
}

/// Fails unless a table has the same rows and, but for the fingerprint, the same footer.
fn same<R: Row + Clone + PartialEq + Debug>(plain: &Path, encrypted: &Path, key: &Key) {
    let name = R::TABLE.name;
    assert!(rows::<R>(plain, None) == rows::<R>(encrypted, Some(key)), "{name} has other rows");
    let footer = |run: &Path, key| {
        let path = run.join(R::TABLE.file_name());
        let mut footer = open_with::<R>(&path, None, key).unwrap().footer().clone();
        footer.fingerprint.clear();
        footer
    };
    assert_eq!(footer(plain, None), footer(encrypted, Some(key)), "{name}");
}

fn all_same(plain: &Path, encrypted: &Path, key: &Key) {
    same::<Video>(plain, encrypted, key);
    same::<Frame>(plain, encrypted, key);
    same::<Shot>(plain, encrypted, key);
    same::<Detection>(plain, encrypted, key);
    same::<Track>(plain, encrypted, key);
    same::<Crop>(plain, encrypted, key);
    same::<Embedding>(plain, encrypted, key);
    same::<TrackEmbedding>(plain, encrypted, key);
    same::<TrackView>(plain, encrypted, key);
    same::<Constraint>(plain, encrypted, key);
    same::<Cluster>(plain, encrypted, key);
    same::<Identity>(plain, encrypted, key);
    same::<Calibration>(plain, encrypted, key);
    same::<Linkage>(plain, encrypted, key);
    same::<LinkVector>(plain, encrypted, key);
    same::<Appearance>(plain, encrypted, key);
    same::<Doubt>(plain, encrypted, key);
    same::<Cut>(plain, encrypted, key);
    same::<Metric>(plain, encrypted, key);
    same::<Label>(plain, encrypted, key);
}

/// What must not stand in any file: pieces of each picture and of each vector, names, and the key.
fn secrets(run: &Path, key: Option<&Key>, key_file: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let mut secrets = vec![("a name", NAME.as_bytes().to_vec())];
    for crop in rows::<Crop>(run, key) {
        // The header is the same in all pictures.
        let middle = |image: Vec<u8>| Some(("a picture", image[image.len() / 2..].get(..24)?.to_vec()));
        secrets.extend(crop.image.and_then(middle));
    }
    let vector = |vector: &[f32]| vector.iter().take(4).flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    secrets
        .extend(rows::<Embedding>(run, key).iter().map(|row| ("a vector", vector(row.embedding.as_slice()))));
    secrets.extend(
        rows::<TrackEmbedding>(run, key).iter().map(|row| ("a vector", vector(row.embedding.as_slice()))),
    );
    secrets.push(("the key", key_bytes(key_file)));
    secrets.push(("the key", fs::read_to_string(key_file).unwrap().trim().into()));
    secrets
}

fn key_bytes(key_file: &Path) -> Vec<u8> {
    STANDARD.decode(fs::read_to_string(key_file).unwrap().trim()).unwrap()
}

/// Kinds of secrets that stand in a file below a folder, with the file.
fn shown(root: &Path, secrets: &[(&'static str, Vec<u8>)]) -> Vec<String> {
    let mut shown = Vec::new();
    for (name, path) in walk(root, &[]) {
        let bytes = fs::read(&path).unwrap();
        // Looked up by their first bytes, because there are thousands.
        let mut starts: std::collections::HashMap<&[u8], Vec<usize>> = std::collections::HashMap::new();
        for (at, (_, secret)) in secrets.iter().enumerate() {
            starts.entry(&secret[..8]).or_default().push(at);
        }
        for (at, window) in bytes.windows(8).enumerate() {
            for secret in starts.get(window).into_iter().flatten() {
                if bytes[at..].starts_with(&secrets[*secret].1) {
                    shown.push(format!("{} in {name}", secrets[*secret].0));
                }
            }
        }
    }
    shown.sort();
    shown.dedup();
    shown
}

/// Whether any process of the machine has a text in its arguments or its environment.
fn is_in_a_process(what: &[u8]) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let texts = processes.flat_map(|process| ["cmdline", "environ"].map(|file| process.join(file)));
    texts.filter_map(|path| fs::read(path).ok()).any(|text| text.windows(what.len()).any(|part| part == what))
}

#[test]
fn an_encrypted_run_has_the_content_of_a_plain_one_and_shows_nothing() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let Some(weights) = assets::require("FACETRACK_WEIGHTS_DIR") else { return };
    let folder = empty_folder("encryption", "clip").canonicalize().unwrap();
    let (plain, encrypted) = (folder.join("plain/r"), folder.join("encrypted/r"));
    let Some(key_file) = new_key(&folder, "key") else { return };
    let (key, other) = (Key::read(&key_file).unwrap(), new_key(&folder, "other").unwrap());
    let run = |dir: &Path, key: Option<&Path>| {
        facetrack(&[&"run", &clip, &"--run-dir", &dir, &"--weights-dir", &weights, &"--quiet"], key).unwrap()
    };
    must(&mut run(&plain, None));
    let mut child = run(&encrypted, Some(&key_file)).stdout(Stdio::null()).spawn().unwrap();
    let secret = fs::read_to_string(&key_file).unwrap();
    while child.try_wait().unwrap().is_none() {
        assert!(!is_in_a_process(secret.trim().as_bytes()), "a process shows the key");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(child.wait().unwrap().success());
    all_same(&plain, &encrypted, &key);
    let manifest = Manifest::read(&encrypted).unwrap().unwrap();
    assert_eq!(manifest.encryption.unwrap().key_id, key.id());

    // A name in both; only the plain run shows it.
    for (run, key) in [(&plain, None), (&encrypted, Some(&*key_file))] {
        must(&mut facetrack(&[&"edits", &"add", &"name", run, &"1", &NAME], key).unwrap());
    }
    all_same(&plain, &encrypted, &key);
    let of_plain = shown(&plain, &secrets(&plain, None, &key_file));
    for found in ["a name in report/index.html", "a picture in crops.parquet"] {
        assert!(of_plain.iter().any(|shown| shown == found), "the scan finds what is there: {of_plain:?}");
    }
    let secrets = secrets(&encrypted, Some(&key), &key_file);
    assert!(secrets.len() > 20, "{}", secrets.len());
    assert_eq!(shown(&encrypted, &secrets), [""; 0]);
    let page = fs::read_to_string(encrypted.join("report/index.html")).unwrap();
    assert!(!page.contains("data:image") && page.contains("Person 1"));

    // Other programs.
    if let Some(python) = assets::require("FACETRACK_PYTHON") {
        let script = repository().join("tests/python/encrypted.py");
        let mut command = Command::new(python);
        command.arg(script).arg(repository().join("schemas")).args([&plain, &encrypted, &key_file]);
        let read: usize = must(&mut command).trim().parse().unwrap();
        // 20 of stages and two of corrections; the times of corrections differ.
        assert!(read >= 20, "{read}");
    }

    // Nothing is done again, and nothing is done without the key, with another one, or with one too many.
    let again = must(run(&encrypted, Some(&key_file)).arg("--json"));
    assert!(!again.contains("\"skipped\":false"), "{again}");
    let hashes = testkit::files::hashes(&encrypted);
    let no_key = refused(&mut run(&encrypted, None));
    let expected = format!(
        "error: `{}` is encrypted, and no key is given\nhint: pass --encryption-key FILE, or set \
         FACETRACK_ENCRYPTION_KEY_FILE to the path of the key file\n",
        encrypted.display()
    );
    assert_eq!(no_key, expected);
    let wrong = refused(&mut run(&encrypted, Some(&other)));
    assert!(wrong.contains("is encrypted with the key ") && !wrong.contains(secret.trim()), "{wrong}");
    assert!(refused(&mut run(&plain, Some(&key_file))).contains("is not encrypted, and a key is given"));
    for verb in [
        &["export", "--to", "csv", "--run-dir"][..],
        &["validate"],
        &["edits", "list"],
        &["mcp"],
        &["review"],
        &["redact", "--run-dir"],
        &["library", "add", "--library", "l", "--run-dir"],
        &["stage", "cluster", "--run-dir"],
    ] {
        let arguments: Vec<&dyn AsRef<std::ffi::OsStr>> =
            verb.iter().map(|word| word as &dyn AsRef<std::ffi::OsStr>).collect();
        let mut command = facetrack(&arguments, None).unwrap();
        command.current_dir(&folder).stdin(Stdio::null());
        let said = refused(command.arg(&encrypted));
        assert!(said.contains("is encrypted, and no key is given"), "{verb:?}: {said}");
    }
    assert_eq!(testkit::files::hashes(&encrypted), hashes);

    // What reads the run says the same as of a plain run.
    let export = |run: &Path, key: Option<&Path>| {
        must(&mut facetrack(&[&"export", &"--to", &"csv", &"--run-dir", &run], key).unwrap())
    };
    assert_eq!(export(&encrypted, Some(&key_file)), export(&plain, None));
    must(&mut facetrack(&[&"validate", &encrypted], Some(&key_file)).unwrap());
    let dataset = folder.join("dataset");
    let arguments: &[&dyn AsRef<std::ffi::OsStr>] =
        &[&"export", &"--to", &"dataset", &"--run-dir", &encrypted, &"--out", &dataset];
    assert!(must(&mut facetrack(arguments, Some(&key_file)).unwrap()).contains("are not encrypted"));
    assert!(rows::<Cluster>(&dataset, None) == rows::<Cluster>(&plain, None));
    must(&mut facetrack(&[&"validate", &dataset], None).unwrap());

    // By the environment; with faces and names on the page where they are asked for.
    let mut asked = run(&encrypted, None);
    asked.env("FACETRACK_ENCRYPTION_KEY_FILE", &key_file).args(["--page-pictures", "--page-names"]);
    must(&mut asked);
    let page = fs::read_to_string(encrypted.join("report/index.html")).unwrap();
    assert!(page.contains("data:image") && page.contains(NAME));
    // Encrypting a run whose page has them removes them.
    for (verb, side) in [("decrypt", "--from"), ("encrypt", "--to")] {
        must(&mut facetrack(&[&"key", &verb, &side, &key_file, &encrypted], None).unwrap());
    }
    for (name, path) in walk(&encrypted.join("report"), &[]) {
        let content = fs::read_to_string(path).unwrap();
        assert!(!content.contains("data:image") && !content.contains(NAME), "{name}");
    }
    must(&mut run(&encrypted, Some(&key_file)));
    let page = fs::read_to_string(encrypted.join("report/index.html")).unwrap();
    assert!(!page.contains("data:image") && !page.contains(NAME));

    // A removed person, and another key.
    let tracks: Vec<i64> = rows::<Cluster>(&encrypted, Some(&key))
        .iter()
        .filter(|row| row.cluster_id == Some(0))
        .map(|row| row.track_id)
        .collect();
    must(
        &mut facetrack(&[&"redact", &"--run-dir", &encrypted, &"--identity", &"1"], Some(&key_file)).unwrap(),
    );
    let left = rows::<Track>(&encrypted, Some(&key));
    assert!(!tracks.is_empty() && left.iter().all(|row| !tracks.contains(&row.track_id)));
    must(&mut facetrack(&[&"redact", &"--run-dir", &encrypted], Some(&key_file)).unwrap());
    must(
        &mut facetrack(&[&"key", &"rotate", &"--from", &key_file, &"--to", &other, &encrypted], None)
            .unwrap(),
    );
    assert!(rows::<Track>(&encrypted, Some(&Key::read(&other).unwrap())) == left);
    let again = must(run(&encrypted, Some(&other)).arg("--json"));
    assert!(!again.contains("\"skipped\":false"), "{again}");
    must(&mut facetrack(&[&"redact", &"--run-dir", &encrypted], Some(&other)).unwrap());
}

/// Runs of synthetic people, which a gallery links; all encrypted.
fn gallery(folder: &Path, key_file: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    let library = folder.join("library");
    let mut runs = Vec::new();
    for seed in 0..6 {
        let recipe = format!("tracks = 60\nseed = {seed}\n");
        let run = synthetic_run::finished(&recipe, &folder.join(format!("run{seed}")))?.run;
        must(&mut facetrack(&[&"edits", &"add", &"name", &run, &"1", &NAME], None)?);
        runs.push(run);
    }
    let mut encrypt = facetrack(&[&"key", &"encrypt", &"--to", &key_file], None)?;
    must(encrypt.args(&runs));
    let mut build = facetrack(&[&"library", &"build", &"--library", &library], Some(key_file))?;
    must(build.args(runs.iter().flat_map(|run| [Path::new("--run-dir"), run])));
    must(&mut facetrack(&[&"edits", &"add", &"name", &library, &"0", &NAME], Some(key_file))?);
    Some((library, runs))
}

/// Every table of a folder.
fn tables(root: &Path) -> Vec<PathBuf> {
    walk(root, &[])
        .into_values()
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect()
}

#[test]
fn a_gallery_is_encrypted_and_no_kill_of_a_rotation_loses_a_table() {
    let folder = empty_folder("encryption", "gallery").canonicalize().unwrap();
    let Some(one) = new_key(&folder, "one") else { return };
    let Some((library, runs)) = gallery(&folder, &one) else { return };
    let two = new_key(&folder, "two").unwrap();
    let keys = [&one, &two].map(|path| Key::read(path).unwrap());
    for path in tables(&folder) {
        assert_eq!(crypt::id_of(&path).unwrap().as_deref(), Some(keys[0].id()), "{}", path.display());
    }
    let all: Vec<_> = runs.iter().flat_map(|run| secrets(run, Some(&keys[0]), &one)).collect();
    for root in runs.iter().chain([&library]) {
        assert_eq!(shown(root, &all), [""; 0], "{}", root.display());
        must(&mut facetrack(&[&"validate", root], Some(&one)).unwrap());
    }
    let said = refused(&mut facetrack(&[&"validate", &library], None).unwrap());
    assert!(said.contains("is encrypted, and no key is given"), "{said}");
    assert!(
        refused(facetrack(&[&"mcp", &library], Some(&two)).unwrap().stdin(Stdio::null())).contains("key")
    );

    // The Python package.
    if let Some(python) = assets::require("FACETRACK_PYTHON") {
        let script = "import facetrack, sys\n\
                      library = facetrack.read(sys.argv[1], encryption_key=sys.argv[2])\n\
                      assert len(library.people) and len(library.tracks) and len(library.similar(0)), library.people\n\
                      for key in (None, sys.argv[3]):\n    \
                          try:\n        facetrack.read(sys.argv[1], encryption_key=key)\n    \
                          except facetrack.Error as error:\n        print(error)\n    \
                          else:\n        sys.exit('read with another key')\n";
        let mut command = Command::new(python);
        command.env("PYTHONPATH", repository().join("python/src")).arg("-c").arg(script);
        let said = must(command.arg(&library).args([&one, &two]));
        assert!(said.contains("is encrypted, and no key is given\nhint: pass encryption_key=FILE"), "{said}");
    }

    // Kills at moments spread over the time that a rotation takes.
    let rotate = |from: &Path, to: &Path| {
        facetrack(&[&"key", &"rotate", &"--from", &from, &"--to", &to, &library], None).unwrap()
    };
    let before: Vec<Vec<Cluster>> = runs.iter().map(|run| rows(run, Some(&keys[0]))).collect();
    // A build that was killed left tables with the old key.
    fs::create_dir(library.join("building")).unwrap();
    fs::copy(library.join("people.parquet"), library.join("building/runs-000000.parquet")).unwrap();
    let started = Instant::now();
    must(&mut rotate(&one, &two));
    let whole = started.elapsed();
    assert!(!library.join("building").exists(), "what a build had saved with the old key is there");
    must(&mut rotate(&two, &one));
    let (mut random, mut partly) = (SplitMix64::new(5), 0);
    for number in 0..16 {
        let (from, to) = if number % 2 == 0 { (&one, &two) } else { (&two, &one) };
        let mut child = rotate(from, to).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(random.unit()));
        let _ = child.kill();
        child.wait().unwrap();
        let mut counts = [0; 2];
        for path in tables(&folder) {
            // A table that was being written has its own name, and counts for nothing.
            let id = crypt::id_of(&path).unwrap().unwrap();
            let at =
                keys.iter().position(|key| key.id() == id).unwrap_or_else(|| panic!("{}", path.display()));
            counts[at] += 1;
        }
        partly += usize::from(counts[0] > 0 && counts[1] > 0);
        for (run, before) in runs.iter().zip(&before) {
            let id = crypt::id_of(&run.join("clusters.parquet")).unwrap().unwrap();
            let key = keys.iter().find(|key| key.id() == id);
            assert!(rows::<Cluster>(run, key) == *before);
        }
        must(&mut rotate(from, to));
        must(&mut facetrack(&[&"validate", &library], Some(to)).unwrap());
    }
    println!("{partly} of 16 kills met a rotation that had begun");
    assert!(partly > 2, "only {partly} of 16 kills met a rotation that had begun");
    for (root, before) in runs.iter().zip(&before) {
        assert!(rows::<Cluster>(root, Some(&keys[0])) == *before);
    }
    // The people are those of before.
    let people = |key: &Key| rows::<schema::tables::Person>(&library, Some(key));
    let known = people(&keys[0]);
    let mut add = facetrack(&[&"library", &"add", &"--library", &library], Some(&one)).unwrap();
    must(add.args(runs.iter().flat_map(|run| [Path::new("--run-dir"), run])));
    assert_eq!(people(&keys[0]).len(), known.len());

    // Without encryption again.
    must(&mut facetrack(&[&"key", &"decrypt", &"--from", &one, &library], None).unwrap());
    for root in runs.iter().chain([&library]) {
        must(&mut facetrack(&[&"validate", root], None).unwrap());
    }
}
