//! `cargo xtask dist`: the Debian package and the tarball, and their test in a fresh Debian.
//!
//! The same commit and the same compiled program give the same bytes: files are as old as the commit, names are
//! sorted, and gzip stores neither name nor time.

mod licences;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use console::{Error, Result, process, say};

use crate::workspace::{create, remove};
use crate::{assets, check, system, workspace};

/// What `cargo xtask dist` takes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Also install the package in a fresh Debian, and compare the tables of a run there with those of a run here
    #[arg(long)]
    test: bool,
    /// Install missing system packages with apt-get
    #[arg(long = "install-deps")]
    install: bool,
}

/// The files that users download.
#[derive(Debug)]
pub(crate) struct Packages {
    deb: PathBuf,
    tarball: PathBuf,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Completions: the shell, and the file below `usr/share`.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/facetrack"),
    ("zsh", "zsh/vendor-completions/_facetrack"),
    ("fish", "fish/vendor_completions.d/facetrack.fish"),
];

/// Documents for users, at the same relative places as in the repository, so that their links work.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "CHANGELOG.md",
    "crates/embed/EMBEDDERS.md",
    "docs/guide",
    "docs/images",
    "docs/reference",
    "schemas",
];

/// Builds and packs the program; prints the paths of the packages.
pub(crate) fn dist(options: &Options) -> Result<()> {
    let groups: &[_] = &[system::RUN, system::OPENCV, system::DIST, system::FETCH];
    system::ensure(if options.test { groups } else { &groups[..2] }, options.install)?;
    let packages = make()?;
    say(&packages.deb.display().to_string());
    say(&packages.tarball.display().to_string());
    if options.test {
        assets::obtain()?;
        let skipped = test(&packages, &assets::clip()?, &check::obtain_weights()?)?;
        if skipped > 0 && check::is_strict() {
            return Err(Error::unexpected("the test was skipped, which counts as a failure here"));
        }
    }
    Ok(())
}

/// Builds and packs the program.
pub(crate) fn make() -> Result<Packages> {
    workspace::build_all()?;
    let dist = workspace::target().join("dist");
    let tree = dist.join("debian/facetrack");
    remove(&tree)?;
    let (time, date, maintainer) = (commit("%ct")?, commit("%cD")?, commit("%cn <%ce>")?);
    fill(&tree, &changelog(&date, &maintainer))?;
    let arch = text(Command::new("dpkg").arg("--print-architecture"))?;
    let tarball = dist.join(format!("facetrack-{VERSION}-{arch}-linux.tar.gz"));
    pack(&tree, &format!("facetrack-{VERSION}"), &time, &tarball)?;
    let depends = dependencies(&dist)?;
    let control = control(&arch, &maintainer, &depends, installed_kib(&tree)?);
    write(&tree.join("DEBIAN/control"), control.as_bytes())?;
    // The umask of this process has no say in the modes of the package.
    workspace::call(Command::new("chmod").args(["-R", "u=rwX,go=rX"]).arg(&tree))?;
    let deb = dist.join(format!("facetrack_{VERSION}_{arch}.deb"));
    // The usual level takes five times the processor time, and makes the package 15 % smaller.
    let mut build = Command::new("dpkg-deb");
    workspace::call(
        build
            .args(["-z1", "--build", "--root-owner-group"])
            .args([&tree, &deb])
            .env("SOURCE_DATE_EPOCH", time),
    )?;
    Ok(Packages { deb, tarball })
}

/// Writes the files that are installed.
fn fill(tree: &Path, changelog: &str) -> Result<()> {
    let (root, share) = (workspace::root(), tree.join("usr/share"));
    let bin = tree.join("usr/bin");
    create(&bin)?;
    let mut strip = Command::new("strip");
    workspace::call(strip.arg("-o").args([&bin.join("facetrack"), &workspace::program("facetrack")]))?;

    let man = share.join("man/man1");
    create(&man)?;
    workspace::call(workspace::facetrack().arg("man").arg(&man))?;
    for (shell, file) in COMPLETIONS {
        write(&share.join(file), &output(workspace::facetrack().args(["completions", shell]))?)?;
    }

    let documents = share.join("doc/facetrack");
    for name in DOCUMENTS {
        let source = root.join(name);
        let files = if source.is_dir() { list(&source)? } else { vec![source] };
        for file in files.into_iter().filter(|path| path.is_file()) {
            let place = file.strip_prefix(&root).unwrap_or(&file);
            write(&documents.join(place), &read(&file)?)?;
        }
    }
    let licence = String::from_utf8_lossy(&read(&root.join("LICENSE-MIT"))?).into_owned();
    write(&documents.join("copyright"), copyright(&licence).as_bytes())?;
    write(&documents.join("changelog"), changelog.as_bytes())?;
    write(&documents.join("third-party.txt"), licences::third_party()?.as_bytes())?;
    let large = ["changelog", "third-party.txt"].map(|name| documents.join(name));
    workspace::call(Command::new("gzip").arg("-9n").args(list(&man)?).args(large))
}

/// A field of the last commit, as `git log` formats it.
fn commit(format: &str) -> Result<String> {
    text(
        Command::new("git")
            // The checkout may belong to another user, as in continuous integration.
            .args(["-c", "safe.directory=*", "log", "-1"])
            .arg(format!("--format={format}"))
            .current_dir(workspace::root()),
    )
}

/// Packs the installed files and the licences below one folder, which may be moved anywhere.
fn pack(tree: &Path, folder: &str, time: &str, to: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX"]);
    tar.args(["--format=gnu", "--use-compress-program=gzip -9n"]);
    tar.arg(format!("--mtime=@{time}")).arg(format!("--transform=s,^,{folder}/,")).arg("--file").arg(to);
    tar.arg("--directory").arg(tree.join("usr")).args(["bin", "share", "--directory"]).arg(workspace::root());
    workspace::call(tar.args(["LICENSE-APACHE", "LICENSE-MIT", "README.md"]))
}

/// Packages of the libraries that the packed program loads, as a list for the control file.
fn dependencies(dist: &Path) -> Result<String> {
    // `dpkg-shlibdeps` works in the source folder of a package, which has this file.
    write(&dist.join("debian/control"), b"Source: facetrack\n\nPackage: facetrack\nArchitecture: any\n")?;
    let mut command = Command::new("dpkg-shlibdeps");
    let printed = text(command.args(["-O", "debian/facetrack/usr/bin/facetrack"]).current_dir(dist))?;
    let list = printed.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    list.map(str::to_owned).ok_or_else(|| Error::unexpected("dpkg-shlibdeps found no dependency"))
}

/// The control file of the package. `pip` downloads the weights and `ffmpeg` draws boxes for `--annotate`; the
/// detector `haar` reads the cascades of `opencv-data`, and `--open` calls `xdg-open`.
fn control(arch: &str, maintainer: &str, depends: &str, installed_kib: u64) -> String {
    format!(
        include_str!("dist/control.txt"),
        version = VERSION,
        arch = arch,
        maintainer = maintainer,
        installed_kib = installed_kib,
        depends = depends,
    )
}

/// The file `changelog`, in Debian's format.
fn changelog(date: &str, maintainer: &str) -> String {
    format!(
        "facetrack ({VERSION}) stable; urgency=medium\n\n  * CHANGELOG.md lists what is new.\n\n \
         -- {maintainer}  {date}\n"
    )
}

/// The file `copyright`, in Debian's format, from the text of the MIT licence.
fn copyright(licence: &str) -> String {
    let holder = licence.lines().find_map(|line| line.strip_prefix("Copyright (c) ")).unwrap_or_default();
    let line = |line: &str| if line.is_empty() { " .\n".into() } else { format!(" {line}\n") };
    let text: String = licence.lines().map(line).collect();
    format!(include_str!("dist/copyright.txt"), holder = holder, licence = text)
}

/// Installs the package in a fresh Debian of this machine's release, runs the clip there and here, and compares
/// the tables. Returns 1 where this machine does not allow the test, 0 otherwise.
pub(crate) fn test(packages: &Packages, clip: &Path, weights: &Path) -> Result<u64> {
    let probe = "mount -t tmpfs tmpfs /mnt && mknod /mnt/null c 1 3";
    if !process::succeeds("unshare", &["--mount", "--net", "--pid", "--fork", "sh", "-c", probe]) {
        return Ok(check::not_permitted("the packages are not tested: a fresh Debian"));
    }
    let folder = workspace::target().join("dist/test");
    remove(&folder)?;
    let [debian, here, there] = ["debian", "here", "there"].map(|name| folder.join(name));
    create(&debian)?;
    create(&here)?;
    workspace::call(
        workspace::facetrack()
            .args(["run", "--quiet", "--weights-dir"])
            .args([weights, clip])
            .current_dir(&here),
    )?;
    let options = folder.join("apt.conf");
    write(&options, acquire(&text(Command::new("apt-config").arg("dump"))?).as_bytes())?;
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let release = codename(&release).ok_or_else(|| Error::unexpected("/etc/os-release names no release"))?;

    let mut script = Command::new("unshare");
    script.args(["--mount", "sh"]).arg(workspace::root().join("xtask/src/dist/fresh_debian.sh"));
    script.args([&debian, &packages.deb, &packages.tarball]).args([clip, weights, &there]);
    process::show(script.arg(release).arg(options).args(sources()?))?;
    compare(&here.join("runs/clip"), &there.join("clip"))?;
    remove(&folder)?;
    Ok(0)
}

/// The sources of this machine's apt, so that no other mirror is needed than the one that this machine uses.
fn sources() -> Result<Vec<PathBuf>> {
    let is_source = |path: &PathBuf| path.extension().is_some_and(|e| e == "list" || e == "sources");
    let folder = Path::new("/etc/apt/sources.list.d");
    let more = if folder.is_dir() { list(folder)? } else { Vec::new() };
    let main = PathBuf::from("/etc/apt/sources.list");
    Ok(std::iter::once(main)
        .filter(|path| path.is_file())
        .chain(more.into_iter().filter(is_source))
        .collect())
}

/// Settings of apt about downloads, such as a proxy, out of the output of `apt-config dump`.
fn acquire(dump: &str) -> String {
    let is_kept = |line: &&str| line.starts_with("Acquire::") && !line.ends_with("\"\";");
    dump.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

/// The name of the release, such as `bookworm`, out of the file `/etc/os-release`.
fn codename(os_release: &str) -> Option<&str> {
    os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))
}

/// Fails unless two runs have the same tables, byte for byte.
fn compare(here: &Path, there: &Path) -> Result<()> {
    let tables = |run: &Path| -> Result<Vec<PathBuf>> {
        let is_table = |path: &PathBuf| path.extension().is_some_and(|e| e == "parquet");
        Ok(list(run)?.into_iter().filter(is_table).collect())
    };
    let (ours, theirs) = (tables(here)?, tables(there)?);
    let names = |files: &[PathBuf]| {
        files.iter().map(|file| file.file_name().map(ToOwned::to_owned)).collect::<Vec<_>>()
    };
    if ours.is_empty() || names(&ours) != names(&theirs) {
        let message =
            format!("a run in the fresh Debian wrote {} tables, and here {}", theirs.len(), ours.len());
        return Err(Error::unexpected(message));
    }
    for (ours, theirs) in ours.iter().zip(&theirs) {
        if read(ours)? != read(theirs)? {
            let message = format!("`{}` and `{}` differ", ours.display(), theirs.display());
            return Err(Error::unexpected(message));
        }
    }
    eprintln!("the {} tables of a run in the fresh Debian equal those of a run here", ours.len());
    Ok(())
}

/// Disk space of the files in `folder` and below, in KiB, counted as Debian's policy says: 1 for a folder.
fn installed_kib(folder: &Path) -> Result<u64> {
    list(folder)?.iter().try_fold(1, |sum, path| {
        let kib = if path.is_dir() {
            installed_kib(path)?
        } else {
            path.metadata().map_err(Error::io("read", path))?.len().div_ceil(1024)
        };
        Ok(sum + kib)
    })
}

/// Files and folders in `folder`, sorted by name.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::io("read", path))
}

/// Writes a file, and creates its folder.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    create(path.parent().unwrap_or(path))?;
    fs::write(path, content).map_err(Error::io("write", path))
}

/// Runs a program and returns its standard output without the line end.
fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).trim_end().to_owned())
}

/// Runs a program and returns its standard output.
fn output(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.output();
    let why = match done {
        Ok(done) if done.status.success() => return Ok(done.stdout),
        Ok(done) => process::tail(&String::from_utf8_lossy(&done.stderr), 3),
        Err(error) => error.to_string(),
    };
    Err(Error::unexpected(format!("`{}` failed: {why}", process::line(command))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_file_has_one_line_per_field() {
        let control = control("amd64", "A <a@b.example>", "libc6 (>= 2.35), libavcodec59", 36_000);
        for line in ["Depends: libc6 (>= 2.35), libavcodec59", "Architecture: amd64", "Installed-Size: 36000"]
        {
            assert!(control.lines().any(|found| found == line), "{control}");
        }
        let is_field = |line: &str| line.starts_with(' ') || line.split_once(": ").is_some();
        assert!(control.lines().all(is_field), "{control}");
    }

    #[test]
    fn the_copyright_file_has_the_text_of_the_licence_indented() {
        let text = copyright("MIT License\n\nCopyright (c) 2026 Some people\n\nPermission\n");
        assert!(text.contains("\nCopyright: 2026 Some people\n"), "{text}");
        assert!(
            text.contains("\n MIT License\n .\n Copyright (c) 2026 Some people\n .\n Permission\n"),
            "{text}"
        );
    }

    #[test]
    fn settings_of_downloads_are_kept() {
        let dump = "APT::Architecture \"amd64\";\nAcquire \"\";\nAcquire::http \"\";\n\
                    Acquire::http::Proxy \"http://proxy:3142\";\nDir \"/\";\n";
        assert_eq!(acquire(dump), "Acquire::http::Proxy \"http://proxy:3142\";\n");
    }

    #[test]
    fn runs_with_other_tables_differ() -> Result<()> {
        let scratch = fetch::cache::Scratch::within(&std::env::temp_dir(), "compare")?;
        let [here, there] = ["here", "there"].map(|name| scratch.path().join(name));
        for run in [&here, &there] {
            write(&run.join("tracks.parquet"), b"one")?;
            write(&run.join("manifest.json"), run.as_os_str().as_encoded_bytes())?;
        }
        compare(&here, &there)?;
        write(&there.join("tracks.parquet"), b"two")?;
        assert!(compare(&here, &there).is_err());
        write(&there.join("tracks.parquet"), b"one")?;
        write(&there.join("crops.parquet"), b"")?;
        assert!(compare(&here, &there).is_err());
        Ok(())
    }

    #[test]
    fn the_release_is_read() {
        assert_eq!(codename("ID=debian\nVERSION_CODENAME=bookworm\n"), Some("bookworm"));
        assert_eq!(codename("ID=arch\n"), None);
    }
}
