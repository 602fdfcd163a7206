//! Licences of the libraries that are compiled into the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use console::{Error, Result};
use serde_json::Value;

use super::{list, output, text};
use crate::workspace;

/// Beginnings of the names of files with a licence.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// The name, version and licence of every library, and each text of a licence with the libraries that have it.
pub(super) fn third_party() -> Result<String> {
    let tree = ["tree", "--locked", "--package", "facetrack", "--edges", "normal", "--prefix", "none"];
    let tree = text(workspace::cargo(tree).args(["--format", "{p}"]))?;
    let used: BTreeSet<_> = tree.lines().filter_map(name).collect();
    let metadata = output(&mut workspace::cargo(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_slice(&metadata).map_err(|error| {
        Error::unexpected(format!("failed to read the output of cargo metadata: {error}"))
    })?;

    let mut page = String::from("Libraries that are compiled into facetrack, and their licences.\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().into_iter().flatten().filter(|p| !p["source"].is_null()) {
        let field = |key: &str| package[key].as_str().unwrap_or_default();
        let name = format!("{} {}", field("name"), field("version"));
        if !used.contains(&name) {
            continue;
        }
        page += &format!("{name}: {}\n", field("license"));
        let folder = Path::new(field("manifest_path")).parent().unwrap_or(Path::new(""));
        for file in files(folder)? {
            let text = std::fs::read(&file).map_err(Error::io("read", &file))?;
            texts.entry(String::from_utf8_lossy(&text).trim_end().to_owned()).or_default().push(name.clone());
        }
    }
    let mut texts: Vec<_> = texts.into_iter().map(|(text, names)| (names.join(", "), text)).collect();
    texts.sort();
    for (names, text) in texts {
        page += &format!("\n{}\n{names}\n\n{text}\n", "=".repeat(80));
    }
    Ok(page)
}

/// The name and version in a line of `cargo tree`, such as `serde v1.0.228` or `nn v0.1.0 (/src/nn)`.
fn name(line: &str) -> Option<String> {
    let mut parts = line.split_whitespace();
    Some(format!("{} {}", parts.next()?, parts.next()?.strip_prefix('v')?))
}

/// Files with a licence in the folder of a package, and in its folders: there is the C code of some.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in list(folder)? {
        let inner = if path.is_dir() { list(&path)? } else { vec![path] };
        all.extend(inner.into_iter().filter(|path| path.is_file() && is_licence(path)));
    }
    Ok(all)
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    NAMES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read_from_the_tree_of_cargo() {
        assert_eq!(name("serde v1.0.228").as_deref(), Some("serde 1.0.228"));
        assert_eq!(name("nn v0.1.0 (/src/nn) (*)").as_deref(), Some("nn 0.1.0"));
        assert_eq!(name(""), None);
    }

    #[test]
    fn licences_are_found_by_their_names() {
        assert!(
            ["LICENSE-MIT", "license.txt", "COPYING", "Licence.md"].iter().all(|n| is_licence(Path::new(n)))
        );
        assert!(["src", "README.md", "Cargo.toml"].iter().all(|n| !is_licence(Path::new(n))));
    }
}
