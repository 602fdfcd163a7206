//! Text snapshots: what people read, stored as people read it.

use std::fs;

use crate::files;

/// Compares `found` with the stored text `tests/snapshots/<name>`; `UPDATE_SNAPSHOTS=1` stores it instead.
pub fn assert_matches(name: &str, found: &str) {
    let path = files::repository().join("tests/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == found, "{name} differs; UPDATE_SNAPSHOTS=1 stores this instead:\n{found}");
}
