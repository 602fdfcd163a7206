//! Text snapshots: messages, stored as the user sees them.

use std::path::{Path, PathBuf};

use failure::Failure;

/// Compares `found` with the stored text; `UPDATE_SNAPSHOTS=1` stores it instead.
pub(crate) fn assert_matches(name: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/contract").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == found, "{name} differs; UPDATE_SNAPSHOTS=1 stores this instead:\n{found}");
}

/// An error as the user sees it, with `path` replaced by `$PATH`.
pub(crate) fn describe(error: &dyn Failure, path: &Path) -> String {
    let mut text = format!("exit {}: {error}", error.exit_code());
    if let Some(hint) = error.hint() {
        text = format!("{text}\n  hint: {hint}");
    }
    text.replace(&path.display().to_string(), "$PATH")
}
