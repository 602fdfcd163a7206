//! What the programs are made of: every dependency has a licence that `deny.toml` allows, comes from the
//! one registry, and is pinned; none speaks to a network, and neither do the stages. `cargo xtask check` also
//! asks `cargo deny`.

use std::collections::BTreeSet;
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::process::Command;

use run::manifest::STAGES;
use serde_json::Value;
use testkit::assets;
use testkit::files::repository;
use testkit::line::Line;

/// Every package that is built on our platform.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let done = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(platform)
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression can be met with these licences. `OR` binds weaker than `AND`; a slash is an
/// old way to write `OR`.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let spaced = spaced.replace(" WITH ", "~");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    assert_eq!(words.next(), None, "{expression} is no SPDX expression");
    met
}

fn any<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>, allowed: &BTreeSet<String>) -> bool {
    let word = words.next().unwrap();
    if word != "(" {
        return allowed.contains(&word.replace('~', " WITH "));
    }
    let met = any(words, allowed);
    assert_eq!(words.next(), Some(")"));
    met
}

fn allowed() -> BTreeSet<String> {
    let deny: toml::Table = fs::read_to_string(repository().join("deny.toml")).unwrap().parse().unwrap();
    let list = deny["licenses"]["allow"].as_array().unwrap();
    list.iter().map(|licence| licence.as_str().unwrap().to_owned()).collect()
}

#[test]
fn expressions_are_read_as_spdx_has_them() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "A WITH B"].map(str::to_owned).into();
    for good in ["MIT", "GPL/MIT", "GPL OR MIT", "MIT AND (GPL OR ISC)", "A WITH B", "GPL AND X OR MIT"] {
        assert!(is_allowed(good, &allowed), "{good}");
    }
    for bad in ["GPL", "MIT AND GPL", "A", "(MIT OR ISC) AND GPL", "GPL AND MIT OR X"] {
        assert!(!is_allowed(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_dependency_may_be_used() {
    let (packages, allowed) = (packages(), allowed());
    assert!(packages.len() > 100, "this test looks at the wrong thing");
    for package in &packages {
        let name = &package["name"];
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} has no licence"));
        assert!(is_allowed(licence, &allowed), "{name} is under {licence}");
    }
}

/// One registry, no repositories, no wildcards; what is downloaded must have the hash of the lock file.
#[test]
fn every_dependency_comes_from_the_registry_and_is_pinned() {
    let lock: toml::Table = fs::read_to_string(repository().join("Cargo.lock")).unwrap().parse().unwrap();
    let locked = lock["package"].as_array().unwrap();
    let sources: BTreeSet<_> = locked.iter().filter_map(|p| p.get("source")?.as_str()).collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
    for package in locked.iter().filter(|p| p.get("source").is_some()) {
        let checksum = package.get("checksum").and_then(|sum| sum.as_str());
        assert!(checksum.is_some_and(|sum| sum.len() == 64), "{package} is not pinned");
    }
    for package in packages().iter().filter(|p| p["source"].is_null()) {
        let wild = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .find(|d| d["req"] == "*" && d["path"].is_null());
        assert!(wild.is_none(), "{} takes any version of {wild:?}", package["name"]);
    }
}

/// Crates that everything which speaks to a network is built on.
const SOCKETS: [&str; 5] = ["curl-sys", "native-tls", "openssl-sys", "rustls", "ureq"];
/// Crates that the server of the review page is built on, which listens on this machine only.
const SERVER: [&str; 5] = ["hyper", "hyper-util", "mio", "socket2", "tokio"];

#[test]
fn no_dependency_opens_sockets_but_those_of_the_review_page() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        assert!(!SOCKETS.contains(&name), "{name} speaks to networks");
        let needed = package["dependencies"].as_array().unwrap().iter();
        let needed =
            needed.filter(|d| d["kind"].is_null() && d["optional"] == false && d["target"].is_null());
        for dependency in needed.filter_map(|d| d["name"].as_str()).filter(|name| SERVER.contains(name)) {
            assert!(SERVER.contains(&name) || name == "review", "{name} depends on {dependency}");
        }
    }
}

/// The sockets that a program and its children ask for, but those within the machine.
fn sockets(mut strace: Command, program: &Command, log: &Path) -> Vec<String> {
    strace.args(["-f", "-qq", "-e", "trace=socket", "-o"]).arg(log);
    let done = strace.arg(program.get_program()).args(program.get_args()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let log = fs::read_to_string(log).unwrap();
    let asked = log.lines().filter(|line| line.contains("socket(") && !line.contains("AF_UNIX"));
    asked.map(str::to_owned).collect()
}

/// Watched while they turn a video with people into a page.
#[test]
fn no_stage_opens_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let Some(line) = Line::on_clip(&folder.path().join("r")) else { return };
    for stage in STAGES {
        let Some(strace) = assets::require_strace() else { return };
        assert_eq!(sockets(strace, &line.command(stage), &log), [""; 0], "{stage}");
    }
    // Who does open one is seen.
    let mut python = Command::new("python3");
    python.args(["-c", "import socket; socket.socket()"]);
    assert_eq!(sockets(assets::require_strace().unwrap(), &python, &log).len(), 1);
}
