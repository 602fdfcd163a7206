//! The server as a browser, another page and a stranger meet it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test should stop where it fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::Ordering;

use run::edits::{EditOp, Log};
use serde_json::{Value, json};
use testkit::linked::{self, Spec};
use testkit::random::SplitMix64;

use crate::support::Server;

/// Every file of a folder with its content.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    testkit::files::walk(root, &[]).into_iter().map(|(name, path)| (name, fs::read(path).unwrap())).collect()
}

fn ops(run: &Path) -> Vec<EditOp> {
    Log::open(run).unwrap().entries().iter().map(|entry| entry.edit.op).collect()
}

/// The person with this key in a state.
fn person(state: &Value, id: i64) -> Option<&Value> {
    state["people"].as_array().unwrap().iter().find(|person| person["id"] == id)
}

/// Two people who share no frame, and two who do, by the merges that are refused.
fn pairs(server: &Server, cookie: &str) -> ((i64, i64), (i64, i64)) {
    let state = &server.get(cookie, "/api/state")["state"];
    let ids: Vec<i64> =
        state["people"].as_array().unwrap().iter().map(|p| p["id"].as_i64().unwrap()).collect();
    let (mut free, mut apart) = (None, None);
    for (at, a) in ids.iter().enumerate() {
        for b in &ids[at + 1..] {
            let done = server.act(cookie, &json!({ "do": "merge", "people": [a, b] }));
            if done["problem"].is_null() {
                server.act(cookie, &json!({ "do": "undo" }));
                free = free.or(Some((*a, *b)));
            } else {
                apart = apart.or(Some((*a, *b)));
            }
            if let (Some(free), Some(apart)) = (free, apart) {
                return (free, apart);
            }
        }
    }
    panic!("the run has too few people");
}

#[test]
fn acts_reach_the_log_and_are_undone() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    linked::write(&run, &Spec::default());
    let server = Server::start(&run, false);
    let cookie = server.open();
    let ((a, b), (c, d)) = pairs(&server, &cookie);
    let start = server.get(&cookie, "/api/state")["state"]["people"].clone();

    let done = server.act(&cookie, &json!({ "do": "name", "person": a, "name": " Ross  Geller " }));
    assert_eq!(person(&done["state"], a).unwrap()["label"], "Ross Geller");
    let done = server.act(&cookie, &json!({ "do": "name", "person": b, "name": "ross geller" }));
    assert_eq!(done["same_name"], json!([a, b]), "the same name offers to merge");
    let tracks = person(&done["state"], b).unwrap()["tracks"].clone();
    let done = server.act(&cookie, &json!({ "do": "merge", "people": [a, b] }));
    assert_eq!(done["problem"], Value::Null);
    assert!(person(&done["state"], b).is_none());
    let merged = person(&done["state"], a).unwrap()["tracks"].as_array().unwrap().clone();
    assert!(tracks.as_array().unwrap().iter().all(|track| merged.contains(track)));

    let refused = server.act(&cookie, &json!({ "do": "merge", "people": [c, d] }));
    assert_eq!(refused["problem"]["faces"].as_array().unwrap().len(), 2, "both faces are shown");
    assert!(refused["problem"]["message"].as_str().unwrap().ends_with('.'));

    let done = server.act(&cookie, &json!({ "do": "not_a_face", "tracks": [merged[0]] }));
    assert_eq!(done["state"]["not_faces"], json!([merged[0]]));
    let done = server.act(&cookie, &json!({ "do": "split", "tracks": [merged[1]] }));
    let new = done["state"]["people"].as_array().unwrap().iter().find(|p| p["tracks"] == json!([merged[1]]));
    let new = new.unwrap()["id"].as_i64().unwrap();
    let done = server.act(&cookie, &json!({ "do": "move", "tracks": [merged[1]], "to": a }));
    assert!(person(&done["state"], new).is_none());
    let done = server.act(&cookie, &json!({ "do": "lock", "person": a }));
    assert_eq!(person(&done["state"], a).unwrap()["is_locked"], true);
    let refused = server.act(&cookie, &json!({ "do": "split", "tracks": [merged[1]] }));
    assert!(refused["problem"]["edit"].is_i64(), "the earlier edit is named: {refused}");

    let mut done = Value::Null;
    for _ in 0..20 {
        done = server.act(&cookie, &json!({ "do": "undo" }));
    }
    assert_eq!(done["problem"]["message"].as_str().map(|text| text.contains("nothing to undo")), Some(true));
    assert_eq!(done["state"]["people"], start, "everything is undone");
    let done = server.act(&cookie, &json!({ "do": "redo" }));
    assert_eq!(person(&done["state"], a).unwrap()["name"], "Ross Geller");
    let again = (0..20).find(|_| server.act(&cookie, &json!({ "do": "redo" }))["state"]["redo"] == false);
    assert!(again.is_some(), "what can be done again ends");
    (0..20).for_each(|_| drop(server.act(&cookie, &json!({ "do": "undo" }))));
    server.act(&cookie, &json!({ "do": "redo" }));
    let made = server.made.clone();
    drop(server);
    assert!(made.load(Ordering::SeqCst) > 0, "the tables are made when the server ends");
    let log = Log::open(&run).unwrap();
    assert_eq!(log.active().map(|entry| entry.edit.op).collect::<Vec<_>>(), [EditOp::Name]);
    assert!(log.entries().iter().all(|entry| entry.edit.author == "ann"));
}

#[test]
fn every_answer_takes_its_question_from_the_queue() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    linked::write(&run, &Spec { tracks: 90, people: 14, ..Spec::default() });
    let server = Server::start(&run, false);
    let cookie = server.open();
    let (mut seen, mut kinds, mut late) = (Vec::new(), BTreeMap::<String, usize>::new(), String::new());
    let mut state = server.get(&cookie, "/api/state")["state"].clone();
    for _ in 0..400 {
        let question = state["questions"][0].clone();
        let Some(key) = question["key"].as_str() else { break };
        let tracks: Vec<_> =
            question["sides"].as_array().unwrap().iter().map(|side| &side["tracks"]).collect();
        let asked = json!([question["kind"], tracks]);
        assert!(!seen.contains(&asked), "{asked} is asked twice");
        seen.push(asked);
        late = key.to_owned();
        let kind = question["kind"].as_str().unwrap();
        let count = kinds.entry(kind.to_owned()).or_default();
        *count += 1;
        let how = match (kind, *count % 3) {
            ("name", _) => "yes",
            (_, 0) => "unsure",
            (_, 1) => "no",
            _ => "yes",
        };
        let name = format!("Name {count}");
        let act = json!({ "do": "answer", "question": key, "answer": how, "name": name });
        let done = server.act(&cookie, &act);
        state = done["state"].clone();
        if done["problem"].is_object() {
            state =
                server.act(&cookie, &json!({ "do": "answer", "question": key, "answer": "unsure" }))["state"]
                    .clone();
        }
    }
    assert_eq!(state["left"], 0, "the queue ends");
    assert_eq!(state["settled"], 100);
    assert!(kinds.len() >= 3 && kinds["same"] > 2, "{kinds:?}");
    let late = server.act(&cookie, &json!({ "do": "answer", "question": late, "answer": "yes" }));
    assert!(late["problem"]["message"].as_str().unwrap().contains("another window"));
}

#[test]
fn two_windows_lose_nothing_and_see_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    linked::write(&run, &Spec::default());
    let server = Server::start(&run, false);
    let cookie = server.open();
    let before = server.get(&cookie, "/api/state")["state"]["version"].as_u64().unwrap();
    assert_eq!(server.get(&cookie, &format!("/api/state?since={before}"))["state"], Value::Null);
    std::thread::scope(|scope| {
        for window in 0..2 {
            let (server, cookie) = (&server, &cookie);
            scope.spawn(move || {
                for i in 0..10 {
                    let name = format!("{window}.{i}");
                    let done = server.act(cookie, &json!({ "do": "name", "person": window, "name": name }));
                    assert_eq!(done["problem"], Value::Null);
                }
            });
        }
    });
    let log = Log::open(&run).unwrap();
    let names: Vec<_> = log.entries().iter().filter_map(|entry| entry.edit.name.clone()).collect();
    assert!(names.len() == 20 && (0..2).all(|w| (0..10).all(|i| names.contains(&format!("{w}.{i}")))));
    let state = &server.get(&cookie, &format!("/api/state?since={before}"))["state"];
    assert_eq!(person(state, 1).unwrap()["name"], "1.9");
    // Another program adds an edit.
    Log::open(&run).unwrap().undo_last("bob").unwrap();
    let later = server.get(&cookie, &format!("/api/state?since={}", state["version"]));
    assert!(later["state"]["version"].as_u64() > state["version"].as_u64());
}

#[test]
fn the_video_comes_in_ranges_and_faces_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let (run, film) = (folder.path().join("run"), folder.path().join("dinner.mp4"));
    linked::write(&run, &Spec::default());
    fs::write(&film, (0..2000).map(|i| i as u8).collect::<Vec<_>>()).unwrap();
    move_video(&run, &film);
    let server = Server::start(&run, true);
    let cookie = server.open();
    let get = |path: &str, range: &str| {
        let headers = [("cookie", cookie.as_str()), ("range", range)];
        server.send("GET", path, &headers[..if range.is_empty() { 1 } else { 2 }], "")
    };
    let all = get("/video", "");
    assert_eq!((all.status, all.body.len()), (200, 2000));
    assert_eq!(all.header("accept-ranges"), Some("bytes"));
    let part = get("/video", "bytes=256-259");
    assert_eq!((part.status, part.body.as_slice()), (206, &[0, 1, 2, 3][..]));
    assert_eq!(part.header("content-range"), Some("bytes 256-259/2000"));
    assert_eq!(get("/video", "bytes=2000-").status, 416);
    // A run may have crops of both formats.
    let mut kinds = BTreeSet::new();
    for track in 0..20 {
        let face = get(&format!("/face/{track}/0"), "");
        let kind = if face.body.starts_with(b"\xff\xd8\xff") { "image/jpeg" } else { "image/png" };
        assert_eq!((face.status, face.header("content-type")), (200, Some(kind)), "track {track}");
        kinds.insert(kind);
    }
    assert_eq!(kinds.len(), 2, "{kinds:?}");
    for missing in
        ["/face/0/99", "/face/9999/0", "/face/a/0", "/face/0", "/face/0/0/0", "/face/-1/0", "/api/boxes/-1"]
    {
        assert_eq!(get(missing, "").status, 404, "{missing}");
    }
    assert!(!server.get(&cookie, "/api/boxes/0").as_object().unwrap().is_empty());
    let refused = server.act(&cookie, &json!({ "do": "name", "person": 0, "name": "x" }));
    assert!(refused["problem"]["message"].as_str().unwrap().contains("read-only"));
    assert!(ops(&run).is_empty());
}

/// Has the manifest name a file.
fn move_video(run: &Path, film: &Path) {
    let path = run.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let found = run::manifest::VideoFile::stat(film).unwrap();
    manifest["video"]["path"] = found.path.into();
    manifest["video"]["size_bytes"] = found.size_bytes.into();
    manifest["video"]["modified_ns"] = found.modified_ns.into();
    fs::write(path, manifest.to_string()).unwrap();
}

#[test]
fn strangers_get_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    linked::write(&run, &Spec::default());
    let server = Server::start(&run, false);
    let host = format!("127.0.0.1:{}", server.port);
    for path in [
        "/",
        "/page.js",
        "/common.js",
        "/page.css",
        "/api/run",
        "/api/state",
        "/video",
        "/face/0/0",
        "/?token=",
        "/?token=0",
    ] {
        assert_eq!(server.send("GET", path, &[], "").status, 401, "{path}");
    }
    let cookie = server.open();
    let path = &server.address[server.address.find("/?").unwrap()..];
    assert_eq!(server.send("GET", path, &[], "").status, 401, "the token is spent");
    let page = server.send("GET", "/", &[("cookie", &cookie)], "");
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let json = ("content-type", "application/json");
    let act = r#"{"do":"name","person":0,"name":"x"}"#;
    let post = |headers: &[(&str, &str)], body: &str| {
        let own = [("cookie", cookie.as_str())];
        server.send("POST", "/api/act", &[&own, headers].concat(), body).status
    };
    assert_eq!(post(&[json, ("origin", "http://evil.example")], act), 403);
    assert_eq!(post(&[json, ("sec-fetch-site", "cross-site")], act), 403);
    assert_eq!(post(&[("content-type", "text/plain")], act), 415);
    assert_eq!(post(&[json], "{}"), 400);
    assert_eq!(post(&[json], r#"{"do":"name","person":0,"name":"x","more":1}"#), 400);
    assert_eq!(post(&[json], &" ".repeat(300 * 1024)), 413);
    let foreign =
        format!("GET / HTTP/1.1\r\nhost: evil.example\r\ncookie: {cookie}\r\nconnection: close\r\n\r\n");
    assert_eq!(server.raw(foreign.as_bytes(), false).status, 403);
    assert!(ops(&run).is_empty());
    assert_eq!(post(&[json, ("origin", &format!("http://{host}"))], act), 200);
    assert_eq!(ops(&run), [EditOp::Name]);
}

/// Requests of random parts, with and without the cookie: none changes a file, none gets one.
#[test]
fn ten_thousand_random_requests_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    linked::write(&run, &Spec { tracks: 12, people: 3, ..Spec::default() });
    fs::write(folder.path().join("secret"), "the secret").unwrap();
    let server = Server::start(&run, false);
    let cookie = server.open();
    let before = files(folder.path());
    let mut random = SplitMix64::new(17);
    let methods = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "CONNECT", "TRACE", "\u{1}", ""];
    let parts = [
        "/",
        "..",
        "%2e%2e",
        "%2f",
        "\\",
        "face",
        "0",
        "api",
        "act",
        "state",
        "run",
        "video",
        "encode",
        "copy",
        "-1",
        "secret",
        "etc/passwd",
        "manifest.json",
        "\0",
        "%00",
        "9".repeat(40).as_str(),
        "?token=",
        "&",
        "#",
        "é",
        " ",
        ".",
        "NaN",
        "inf",
    ]
    .map(str::to_owned);
    let own = format!("127.0.0.1:{}", server.port);
    let mut statuses = BTreeMap::<u16, usize>::new();
    for _ in 0..10_000 {
        let mut pick = |from: &[&str]| from[random.below(from.len())].to_owned();
        let (method, with_cookie) = (pick(&methods), pick(&["", "1"]));
        let host = pick(&[&own, &own, &own, "evil.example", "", "127.0.0.1"]);
        let origin = pick(&["", "", "null", "http://evil.example"]);
        let kind = pick(&["", "text/plain", "application/json"]);
        let body = pick(&["", "{", "null", "[]", r#"{"do":"x"}"#, r#"{"do":"merge","people":[0,0]}"#]);
        let n = 1 + random.below(5);
        let path: String = (0..n).map(|_| format!("/{}", parts[random.below(parts.len())])).collect();
        let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        if !with_cookie.is_empty() {
            text += &format!("cookie: {cookie}\r\n");
        }
        if !origin.is_empty() {
            text += &format!("origin: {origin}\r\n");
        }
        text += &format!(
            "content-type: {kind}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut bytes = text.into_bytes();
        if random.unit() < 0.2 {
            let at = random.below(bytes.len());
            bytes[at] = random.below(256) as u8;
        }
        let answer = server.raw(&bytes, true);
        assert!(!answer.text().contains("the secret") && !answer.text().contains("root:"));
        *statuses.entry(answer.status).or_default() += 1;
    }
    assert!(statuses[&403] > 1000 && statuses[&401] > 100 && statuses[&404] > 20, "{statuses:?}");
    drop(server);
    assert_eq!(files(folder.path()), before);
}

#[test]
fn links_out_of_the_run_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (run, outside) = (folder.path().join("run"), folder.path().join("outside.parquet"));
    linked::write(&run, &Spec::default());
    fs::rename(run.join("crops.parquet"), &outside).unwrap();
    symlink(&outside, run.join("crops.parquet")).unwrap();
    let options = review::Options { run, video: None, port: 0, is_read_only: true, author: "ann".into() };
    let error =
        review::serve(&options, &|_| Ok(()), Box::new(|_| Ok(String::new())), &|| true, |_| ()).unwrap_err();
    assert!(error.to_string().contains("is a link to a file outside the run"), "{error}");
}

#[test]
fn another_video_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (run, other) = (folder.path().join("run"), folder.path().join("other.mp4"));
    linked::write(&run, &Spec::default());
    fs::write(&other, "another video").unwrap();
    let options =
        review::Options { run, video: Some(other), port: 0, is_read_only: true, author: "ann".into() };
    let error =
        review::serve(&options, &|_| Ok(()), Box::new(|_| Ok(String::new())), &|| true, |_| ()).unwrap_err();
    assert!(error.to_string().contains("its content differs"), "{error}");
}

#[test]
fn a_gallery_shows_its_people_and_serves_the_pages_of_its_runs() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("e01");
    linked::write(&run, &Spec::default());
    let root = folder.path().join("library");
    let mut library = gallery::Library::open(&root).unwrap();
    library.add(&gallery::RunIdentities::read(&run).unwrap()).unwrap();
    library.commit().unwrap();
    drop(library);
    let server = Server::start(&root, false);
    let cookie = server.open();
    let state = &server.get(&cookie, "/api/state")["state"];
    let people = state["people"].as_array().unwrap();
    let video_id = state["videos"][0]["id"].as_str().unwrap();
    let of_run = run::RunReader::open(&run).unwrap().read::<schema::tables::Identity>().unwrap();
    assert_eq!((people.len(), state["videos"][0]["is_there"].as_bool()), (of_run.len(), Some(true)));
    let first = &people[0];
    assert!(first["members"][0]["times"].as_array().is_some_and(|times| !times.is_empty()));
    let face =
        server.send("GET", &format!("/{}", first["face"].as_str().unwrap()), &[("cookie", &cookie)], "");
    assert_eq!((face.status, &face.body[..2]), (200, &[0xff, 0xd8][..]), "a JPEG");
    assert_eq!(server.get(&cookie, &format!("/api/state?since={}", state["version"]))["state"], Value::Null);

    // The run has the same page as alone, and acts there reach its log.
    let below = |path: &str| format!("/run/{video_id}/{path}");
    let page = server.send("GET", &below(""), &[("cookie", &cookie)], "");
    assert!(page.status == 200 && page.text().contains("page.js"));
    let of_run = &server.get(&cookie, &below("api/state"))["state"];
    let id = of_run["people"][0]["id"].as_i64().unwrap();
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    let name = json!({ "do": "name", "person": id, "name": "Ida" }).to_string();
    assert_eq!(server.send("POST", &below("api/act"), &headers, &name).status, 200);
    assert_eq!(ops(&run), [EditOp::Name]);

    let acts = [
        json!({ "do": "name", "person": 3, "name": "Ida" }),
        json!({ "do": "same", "people": ["3", "7"] }),
        json!({ "do": "different", "people": ["3", format!("{video_id}:1")] }),
        json!({ "do": "undo" }),
    ];
    for act in &acts {
        assert_eq!(server.act(&cookie, act)["done"], "done");
    }
    assert_eq!(server.acts.lock().unwrap().len(), acts.len());
    for path in
        ["/run/0000/", "/run//", &below("../library.json"), &below("nothing"), "/face/x/1", "/face/../0"]
    {
        assert_eq!(server.send("GET", path, &[("cookie", &cookie)], "").status, 404, "{path}");
    }
    for path in ["/", &below(""), &below("api/state"), "/api/state"] {
        assert_eq!(server.send("GET", path, &[], "").status, 401, "{path}");
    }
    assert_eq!(server.send("POST", "/api/act", &headers, "{}").status, 400);
    let foreign = [
        ("cookie", cookie.as_str()),
        ("content-type", "application/json"),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(server.send("POST", "/api/act", &foreign, &acts[0].to_string()).status, 403);
    drop(server);
    let server = Server::start(&root, true);
    let cookie = server.open();
    let refused = server.act(&cookie, &acts[0]);
    assert!(refused["problem"].as_str().unwrap().contains("read-only"));
    assert_eq!(server.acts.lock().unwrap().len(), 0);
}
