//! The repository and folders to work in.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use run::manifest::{self, Manifest};

/// The repository.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Every file below `root`, by path below it with `/`; folders called one of `without` are left out.
pub fn walk(root: &Path, without: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !path.is_dir() {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), path);
            } else if !without.contains(&name.as_str()) {
                folders.push(path);
            }
        }
    }
    found
}

/// SHA-256 of every file of a run but lock and logs, which say when it was last looked at.
pub fn hashes(run: &Path) -> BTreeMap<String, String> {
    let files = walk(run, &["logs"]).into_iter().filter(|(name, _)| name != ".lock");
    files.map(|(name, path)| (name, hash::file(&path).unwrap())).collect()
}

/// SHA-256 of every table of a run.
pub fn table_hashes(run: &Path) -> BTreeMap<String, String> {
    hashes(run).into_iter().filter(|(name, _)| name.ends_with(".parquet")).collect()
}

/// Copies a folder with everything in it.
pub fn copy(from: &Path, to: &Path) {
    for (name, path) in walk(from, &[]) {
        let target = to.join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

/// Says which files of a run its manifest does not name, or names with another content; empty when
/// every table is absent or whole.
pub fn untidy(run: &Path) -> Vec<String> {
    let mut files = hashes(run);
    let recorded = Manifest::read(run).unwrap();
    let mut wrong = Vec::new();
    for output in recorded.iter().flat_map(|m| &m.stages).flat_map(|s| &s.outputs) {
        if files.remove(&output.file).as_ref() != Some(&output.sha256) {
            wrong.push(format!("{} is not what the manifest says", output.file));
        }
    }
    for name in [manifest::FILE_NAME, "config.toml", run::uids::FILE, run::exports::FILE] {
        files.remove(name);
    }
    wrong.extend(files.into_keys().map(|name| format!("{name} is not in the manifest")));
    wrong
}
