//! The rules of ARCHITECTURE.md, as far as they show in `cargo metadata` and in the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testkit::files::{repository, walk};

/// Every member and the members it may import. A new member needs a line here, which is the moment
/// to think about it.
const IMPORTS: &[(&str, &[&str])] = &[
    ("failure", &[]),
    ("hash", &[]),
    ("geometry", &[]),
    ("numeric", &[]),
    ("picture", &[]),
    // Its tests draw random numbers.
    ("schema", &["failure", "hash", "numeric"]),
    ("run", &["failure", "geometry", "hash", "picture", "schema"]),
    ("video", &["failure"]),
    ("nn", &["failure", "hash"]),
    ("ingest", &["failure", "geometry", "hash", "run", "schema", "video"]),
    ("detect-track", &["failure", "geometry", "hash", "nn", "numeric", "picture", "run", "schema", "video"]),
    ("embed", &["failure", "nn", "numeric", "picture", "run", "schema"]),
    ("cluster", &["failure", "geometry", "hash", "numeric", "run", "schema"]),
    ("formats", &["failure", "geometry", "picture", "run", "schema"]),
    // For its test in the browser `report` has the stage make a page.
    ("report", &["evaluate", "failure", "geometry", "hash", "picture", "run", "schema"]),
    ("evaluate", &["failure", "formats", "geometry", "hash", "numeric", "report", "run", "schema"]),
    ("review", &["cluster", "failure", "gallery", "geometry", "hash", "picture", "run", "schema"]),
    ("gallery", &["cluster", "failure", "hash", "numeric", "report", "run", "schema"]),
    ("console", &["failure"]),
    ("fetch", &["console", "hash"]),
    (
        "facetrack",
        &[
            "cluster",
            "console",
            "detect-track",
            "embed",
            "evaluate",
            "failure",
            "fetch",
            "formats",
            "gallery",
            "geometry",
            "hash",
            "ingest",
            "nn",
            "review",
            "run",
            "schema",
        ],
    ),
    ("testkit", &["failure", "hash", "numeric", "picture", "run", "schema"]),
    ("bench", &["cluster", "detect-track", "embed", "failure", "gallery", "hash", "nn", "schema", "testkit"]),
    ("e2e", &["failure", "hash", "run", "schema"]),
    (
        "fuzz",
        &[
            "cluster", "evaluate", "failure", "formats", "gallery", "hash", "nn", "picture", "review", "run",
            "schema", "testkit",
        ],
    ),
    // Nothing heavy, so that it builds in seconds.
    ("xtask", &["console", "fetch", "hash"]),
];

/// Who may depend on what from outside, by the beginning of its name.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    // `fuzz` writes tables that no table of ours is.
    ("arrow", &["schema", "fuzz"]),
    ("parquet", &["schema", "fuzz"]),
    ("ffmpeg", &["video"]),
    ("opencv", &["detect-track", "embed"]),
    ("candle", &["nn", "detect-track", "embed", "bench"]),
    ("csv", &["cluster", "formats", "testkit"]),
    ("minijinja", &["report"]),
    ("hdbscan", &["cluster"]),
    ("kodama", &["cluster"]),
    ("rayon", &["detect-track", "embed"]),
    ("ndarray", &["cluster"]),
    ("petal", &["cluster"]),
    // The server of the review page, which only this machine reaches.
    ("hyper", &["review"]),
    ("tokio", &["review"]),
    // Nothing that speaks to the network.
    ("reqwest", &[]),
    ("ureq", &[]),
    ("curl", &[]),
    ("hf-hub", &[]),
];

/// Words that only these members may have in their sources: who decodes, who sees what.
const WORDS: &[(&str, &[&str])] = &[
    ("Decoder", &["video", "detect-track"]),
    // `fuzz` changes cells of tables.
    ("ParquetRecordBatch", &["schema", "fuzz"]),
    ("std::net", &["review"]),
    ("TcpStream", &[]),
    ("set_hook", &["failure"]),
];

/// Which members may take these rows out of `schema::tables`: who sees pictures, vectors and labels.
const SEES: &[(&str, &[&str])] = &[
    ("Label", &["evaluate", "run"]),
    // `formats` hands a person what is stored of them.
    ("Crop", &["detect-track", "embed", "formats", "gallery", "report", "review", "run", "testkit"]),
    ("Detection", &["cluster", "detect-track", "evaluate", "formats", "review", "run", "testkit"]),
    ("Embedding", &["embed", "cluster", "formats", "run", "testkit"]),
    ("Metric", &["evaluate", "report", "run"]),
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let done = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Members by name.
fn members() -> BTreeMap<String, Value> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages.map(|package| (text(&package["name"]), package.clone())).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Names of a member's dependencies of every kind; what tests share may be used by any test.
fn dependencies(member: &Value) -> BTreeSet<String> {
    let shared = |d: &&Value| d["kind"] == "dev" && d["name"] == "testkit";
    let all = member["dependencies"].as_array().unwrap().iter();
    all.filter(|d| !shared(d)).map(|d| text(&d["name"])).collect()
}

/// Folder of a member, below the repository.
fn folder(member: &Value) -> String {
    let manifest = text(&member["manifest_path"]);
    let folder = Path::new(&manifest).parent().unwrap();
    folder.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned()
}

/// Every file of the repository that is text, with its content.
fn texts() -> Vec<(String, String)> {
    let files = walk(&repository(), &["target", ".git", "runs", "__pycache__", "node_modules"]);
    let read = |(name, path): (String, _)| Some((name, fs::read_to_string(path).ok()?));
    // In a linked worktree `.git` is a file.
    files.into_iter().filter(|(name, _)| name != ".git").filter_map(read).collect()
}

/// Rust sources of members, as (member, file, content), without tests that stand in files of their own.
fn sources() -> Vec<(String, String, String)> {
    let folders: Vec<_> = members().iter().map(|(name, member)| (name.clone(), folder(member))).collect();
    let owner = |file: &str| {
        let of_file = folders.iter().find(|(_, folder)| file.starts_with(&format!("{folder}/src/")));
        of_file.map(|(name, _)| name.clone())
    };
    let rust = texts().into_iter().filter(|(file, _)| file.ends_with(".rs"));
    rust.filter_map(|(file, content)| Some((owner(&file)?, file, content))).collect()
}

#[test]
fn members_import_only_what_they_may() {
    let members = members();
    let listed: BTreeSet<_> = IMPORTS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(members.keys().cloned().collect::<BTreeSet<_>>(), listed, "IMPORTS lists every member");
    for (name, allowed) in IMPORTS {
        let found = dependencies(&members[*name]);
        let siblings: Vec<_> = found.iter().filter(|d| listed.contains(*d)).collect();
        let wrong: Vec<_> = siblings.iter().filter(|d| !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not import {wrong:?}");
    }
}

#[test]
fn dependencies_stay_where_they_belong() {
    for (name, member) in members() {
        for dependency in dependencies(&member) {
            let rules = DEPENDENCIES.iter().filter(|(beginning, _)| dependency.starts_with(beginning));
            for (beginning, allowed) in rules {
                assert!(allowed.contains(&name.as_str()), "{name} must not depend on {beginning}");
            }
        }
    }
}

#[test]
fn words_stay_where_they_belong() {
    for (member, file, content) in sources() {
        for (word, allowed) in WORDS {
            let free = allowed.contains(&member.as_str()) || member == "e2e";
            assert!(free || !content.contains(word), "{file} must not speak of {word}");
        }
    }
    for (word, allowed) in WORDS.iter().filter(|(_, allowed)| !allowed.is_empty()) {
        let used =
            sources().iter().any(|(m, _, content)| allowed.contains(&m.as_str()) && content.contains(word));
        assert!(used, "no source contains {word}: the rule has no effect");
    }
}

/// The names that a source takes out of `schema::tables`.
fn rows_seen(content: &str) -> BTreeSet<&str> {
    let uses =
        content.split("schema::tables::").skip(1).map(|rest| rest.split(';').next().unwrap_or_default());
    uses.flat_map(|list| list.split(|c: char| !c.is_alphanumeric())).collect()
}

#[test]
fn stages_see_only_what_they_may() {
    for (row, allowed) in SEES {
        let seen_by: BTreeSet<_> = sources()
            .into_iter()
            .filter(|(member, _, content)| {
                !["schema", "e2e", "fuzz"].contains(&member.as_str()) && rows_seen(content).contains(row)
            })
            .map(|(member, ..)| member)
            .collect();
        let expected: BTreeSet<_> = allowed.iter().map(|member| (*member).to_owned()).collect();
        assert_eq!(seen_by, expected, "members that see rows of {row}");
    }
}

#[test]
fn members_have_one_form() {
    for (name, member) in members() {
        let folder = folder(&member);
        assert_eq!(Path::new(&folder).file_name().unwrap().to_str(), Some(name.as_str()), "{folder}");
        assert!(!["common", "utils", "util", "helpers"].contains(&name.as_str()), "{name} says nothing");
        assert_eq!(member["license"], "MIT OR Apache-2.0", "{name}");
        assert!(member["description"].is_string(), "{name} has no description");
        let manifest: toml::Table =
            fs::read_to_string(text(&member["manifest_path"])).unwrap().parse().unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{name} does not take our lints");
        assert_eq!(manifest["package"]["version"]["workspace"].as_bool(), Some(true), "{name}: one version");
    }
}

/// One function of the kernels calls code for instructions that it has found; nothing else is unsafe.
#[test]
fn one_file_may_be_unsafe() {
    // In two pieces, so that this file does not contain it.
    let lint = concat!("unsafe", "_code");
    let manifest: toml::Table = fs::read_to_string(repository().join("Cargo.toml")).unwrap().parse().unwrap();
    assert_eq!(manifest["workspace"]["lints"]["rust"][lint].as_str(), Some("deny"));
    let rust = texts().into_iter().filter(|(path, _)| path.ends_with(".rs"));
    let found: Vec<_> = rust.filter(|(_, text)| text.contains(lint)).map(|(path, _)| path).collect();
    assert_eq!(found, ["crates/nn/src/kernel/products/mod.rs"]);
}

/// Stages are libraries; the one program that is installed starts them.
#[test]
fn there_is_one_program() {
    for (name, member) in members() {
        let targets = member["targets"].as_array().unwrap().iter();
        let programs: Vec<_> = targets.filter(|t| t["kind"][0] == "bin").map(|t| text(&t["name"])).collect();
        match name.as_str() {
            "facetrack" | "xtask" => assert_eq!(programs, [name]),
            // Programs of the tests.
            "bench" | "testkit" | "fuzz" => {}
            _ => assert!(programs.is_empty(), "{name} has the programs {programs:?}"),
        }
    }
}

/// Where a machine gets its packages from and where a person works is no matter of the repository.
#[test]
fn no_file_names_a_registry_host_or_a_path_of_a_machine() {
    // Written in two pieces each, so that this file does not name them either.
    let names = [
        concat!("pypi", ".org"),
        concat!("python", "hosted"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("conda", ".anaconda"),
        concat!("hugging", "face.co"),
        concat!("proxy.golang", ".org"),
        concat!("deb.debian", ".org"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
    ];
    for (file, content) in texts() {
        // Cargo itself writes the name of the default registry into its lock file.
        let lock = file == "Cargo.lock";
        for name in names.iter().filter(|name| !lock || name.starts_with('/')) {
            let line = content.lines().position(|line| line.contains(name));
            assert!(line.is_none(), "{file}, line {}: names {name}", line.unwrap_or(0) + 1);
        }
    }
}

/// The screenshot in the README, of the free test clip.
const SCREENSHOT: &str = "docs/images/page.png";

/// Third-party pictures, videos and weights stay out; the stored data is small.
#[test]
fn the_repository_holds_no_pictures_videos_or_weights() {
    let files = walk(&repository(), &["target", ".git", "runs", "__pycache__", "node_modules"]);
    // The screenshot of the page shows the free test clip.
    for (name, path) in files.into_iter().filter(|(name, _)| !name.starts_with("docs/images/")) {
        let ending = Path::new(&name).extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        let kinds =
            ["jpg", "jpeg", "png", "gif", "webp", "bmp", "mp4", "mkv", "avi", "onnx", "safetensors", "dat"];
        let is_allowed = name == SCREENSHOT || !kinds.contains(&ending.as_str());
        assert!(is_allowed, "{name} does not belong into the repository");
        let kib = fs::metadata(path).unwrap().len() / 1024;
        assert!(kib < 1024, "{name} has {kib} KiB");
    }
}

#[test]
fn lints_are_suppressed_only_with_a_reason() {
    let beginnings = [
        concat!("#[", "allow("),
        concat!("#![", "allow("),
        concat!("#[", "expect("),
        concat!("#![", "expect("),
    ];
    let mut seen = 0;
    for (file, content) in texts().into_iter().filter(|(file, _)| file.ends_with(".rs")) {
        for beginning in beginnings {
            for (at, _) in content.match_indices(beginning) {
                seen += 1;
                let attribute = content[at..].split_once(")]").map_or("", |(attribute, _)| attribute);
                let line = content[..at].lines().count();
                assert!(
                    attribute.contains("reason = \""),
                    "{file}, line {line}: suppressed without a reason"
                );
            }
        }
    }
    assert!(seen > 0, "this test looks for the wrong thing");
}

#[test]
fn the_architecture_names_every_member() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    for name in IMPORTS.iter().map(|(name, _)| name) {
        assert!(text.contains(&format!("{name}`")), "ARCHITECTURE.md does not name {name}");
    }
}

#[test]
fn every_table_has_its_document_and_no_other_is_there() {
    let schemas = repository().join("schemas");
    let found: BTreeSet<_> = walk(&schemas, &[]).into_keys().collect();
    for table in schema::tables::all() {
        let name = format!("{}/{}.json", table.name, table.version);
        assert!(found.contains(&name), "schemas/{name} is missing");
    }
    let folders: BTreeSet<_> = found.iter().filter_map(|name| name.split_once('/')).map(|(f, _)| f).collect();
    assert_eq!(folders, schema::tables::all().map(|table| table.name).collect());
}

/// Links between our own pages lead somewhere.
#[test]
fn links_between_pages_hold() {
    let mut links = 0;
    for (file, content) in texts().into_iter().filter(|(file, _)| file.ends_with(".md")) {
        let base = repository().join(&file);
        for (_, rest) in content.match_indices("](").map(|(at, _)| content.split_at(at + 2)) {
            let target = rest.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains(':') {
                continue;
            }
            links += 1;
            assert!(base.with_file_name("").join(target).exists(), "{file} links to {target}");
        }
    }
    assert!(links > 5, "this test looks for the wrong thing");
}
