//! Downloads single files from the storage of a publisher, with the program `curl`.

use std::path::Path;
use std::process::Command;

use console::{Error, Result, exit, process};

use crate::pypi::verify;

/// Longest time of a download, seconds.
const MAX_SECS: &str = "600";
/// Largest size of a file, bytes.
const MAX_BYTES: &str = "1073741824";

/// Downloads the file at `address` to `target` and verifies its SHA-256.
///
/// # Errors
/// When `curl` is not installed, when the download fails, and when the SHA-256 of the file differs.
pub fn download_from(address: &str, sha256: &str, target: &Path) -> Result<()> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--location", "--proto", "=https"]);
    curl.args(["--max-time", MAX_SECS, "--max-filesize", MAX_BYTES, "--output"]).arg(target).arg(address);
    let done = process::capture(&mut curl)
        .map_err(|error| error.hint_unless_interrupted("downloading needs curl: apt-get install -y curl"))?;
    if !done.status.success() {
        let why = process::tail(&done.stderr, 1);
        return Err(Error::new(exit::INPUT, format!("failed to download `{address}`: {why}")));
    }
    verify(target, sha256)
}
