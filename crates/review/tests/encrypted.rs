//! The page of an encrypted run: this process has a key, so this test has a program of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test should stop where it fails")]

mod support;

use std::fs;
use std::path::Path;

use run::RunReader;
use run::edits::Log;
use schema::crypt::{self, Key};
use schema::tables::Crop;
use serde_json::json;
use testkit::linked::{self, Spec};

use crate::support::Server;

/// Whether a file of this process, open and without a name, has these bytes.
fn is_in_an_open_file(what: &[u8]) -> bool {
    let files = fs::read_dir("/proc/self/fd").unwrap().map(|entry| entry.unwrap().path());
    let regular = files.filter(|path| fs::metadata(path).is_ok_and(|found| found.is_file()));
    regular
        .filter_map(|path| fs::read(path).ok())
        .any(|bytes| bytes.windows(what.len()).any(|part| part == what))
}

#[test]
fn pictures_come_from_the_encrypted_table_and_corrections_are_encrypted() {
    let key = Key::random().unwrap();
    crypt::use_key(key.clone());
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    linked::write(&run, &Spec::default());
    let id = |path: &Path| crypt::id_of(path).unwrap();
    assert_eq!(id(&run.join("crops.parquet")).as_deref(), Some(key.id()));
    let server = Server::start(&run, false);
    let cookie = server.open();
    let crops = RunReader::open(&run).unwrap().read::<Crop>().unwrap();
    for crop in crops.iter().step_by(17) {
        let path = format!("/face/{}/{}", crop.track_id, crop.rank);
        let answer = server.send("GET", &path, &[("cookie", cookie.as_str())], "");
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(Some(&answer.body), crop.image.as_ref());
    }
    assert!(!is_in_an_open_file(&crops[0].image.as_ref().unwrap()[..64]));
    let person = server.get(&cookie, "/api/state")["state"]["people"][0]["id"].clone();
    server.act(&cookie, &json!({ "do": "name", "person": person, "name": "Zaphod Beeblebrox" }));
    assert_eq!(Log::open(&run).unwrap().entries()[0].edit.name.as_deref(), Some("Zaphod Beeblebrox"));
    for (name, path) in testkit::files::walk(&run, &[]) {
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"Zaphod"), "{name}");
    }
}
