//! SHA-256 of files and bytes, in lower-case hexadecimal, as `sha256sum` prints it.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes`.
pub fn bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of the whole file, read in blocks of 1 MiB.
///
/// # Errors
/// When the file cannot be read, or is neither a regular file nor a directory: opening a pipe would wait
/// for a writer, and some devices never end.
pub fn file(path: &Path) -> io::Result<String> {
    let kind = std::fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut source = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut digest = Sha256::new();
    io::copy(&mut source, &mut digest)?;
    Ok(hex(&digest.finalize()))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(super::file(&pipe).unwrap_err().to_string().ends_with("not a regular file"));
        assert!(super::file(folder.path()).is_err());
    }

    #[test]
    fn agrees_with_the_published_vector_for_abc() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::bytes(b"abc"), expected);
    }
}
