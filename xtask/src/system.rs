//! What the system must provide, found by looking for the thing itself rather than for a package:
//! package names differ between systems, and between releases of one.

use std::path::Path;
use std::process::{Command, Stdio};

use console::{Error, Result, process};

/// Something the system must provide.
pub(crate) struct Need {
    /// What it is, for messages.
    what: &'static str,
    /// Debian's packages.
    packages: &'static [&'static str],
    is_present: fn() -> bool,
}

const fn need(what: &'static str, packages: &'static [&'static str], is_present: fn() -> bool) -> Need {
    Need { what, packages, is_present }
}

/// What building and running needs.
pub(crate) const RUN: &[Need] = &[
    need("pkg-config", &["pkg-config"], || process::succeeds("pkg-config", &["--version"])),
    need(
        "FFmpeg's libraries with headers (pkg-config modules libavcodec, libavformat, libavutil, libswscale)",
        &["libavcodec-dev", "libavformat-dev", "libavutil-dev", "libswscale-dev"],
        || {
            let modules = ["--exists", "libavcodec", "libavformat", "libavutil", "libswscale"];
            process::succeeds("pkg-config", &modules)
        },
    ),
    need("the program ffmpeg", &["ffmpeg"], || process::succeeds("ffmpeg", &["-version"])),
    // The build of the bindings of OpenCV and FFmpeg calls clang and loads libclang, on which Debian's package depends.
    need("the program clang", &["clang"], || process::succeeds("clang", &["--version"])),
];
/// What building and running with the methods of OpenCV needs beyond [`RUN`].
pub(crate) const OPENCV: &[Need] = &[
    need(
        "OpenCV 4 with its contributed module tracking and headers (pkg-config module opencv4)",
        &["libopencv-dev"],
        || process::succeeds("pkg-config", &["--exists", "opencv4"]),
    ),
    // Without apt, the place of the cascades is unknown, and only the detector `haar` needs them.
    need("OpenCV's cascades", &["opencv-data"], || has_cascades() || !has_apt()),
];
/// What obtaining weights needs.
pub(crate) const FETCH: &[Need] =
    &[need("pip for python3", &["python3-pip"], || process::succeeds("python3", &["-c", "import pip"]))];
/// What the tests need beyond [`RUN`] and [`FETCH`].
pub(crate) const TESTS: &[Need] = &[
    need("venv for python3", &["python3-venv"], || {
        process::succeeds("python3", &["-c", "import ensurepip, venv"])
    }),
    need("the browser chromium", &["chromium"], || process::succeeds("chromium", &["--version"])),
    need("the program strace", &["strace"], || process::succeeds("strace", &["--version"])),
];

/// What packing and testing the packages needs beyond [`RUN`]; packages for Debian are made on Debian.
pub(crate) const DIST: &[Need] = &[
    need("the program dpkg-shlibdeps", &["dpkg-dev"], || {
        process::succeeds("dpkg-shlibdeps", &["--version"]) || !has_apt()
    }),
    need("the program mmdebstrap", &["mmdebstrap"], || {
        process::succeeds("mmdebstrap", &["--version"]) || !has_apt()
    }),
];

/// What testing the recipes of `engines/` needs beyond [`RUN`] and [`FETCH`].
pub(crate) const ARCHIVE: &[Need] = &[
    need("the workload manager Slurm", &["slurm-wlm"], || {
        process::succeeds("slurmctld", &["-V"]) && process::succeeds("slurmd", &["-V"]) || !has_apt()
    }),
    need("the program munged", &["munge"], || process::succeeds("munged", &["--version"]) || !has_apt()),
];

/// Makes sure that the system has everything, installing it when asked to.
pub(crate) fn ensure(needs: &[&[Need]], install: bool) -> Result<()> {
    let missing = missing(needs);
    if missing.is_empty() {
        return Ok(());
    }
    if !install {
        return Err(report(&missing));
    }
    if !has_apt() {
        return Err(report(&missing).hint("--install-deps requires apt-get; install the packages by hand"));
    }
    install_with_apt(&packages(&missing))?;
    let still = self::missing(needs);
    if still.is_empty() { Ok(()) } else { Err(report(&still)) }
}

fn missing<'a>(needs: &[&'a [Need]]) -> Vec<&'a Need> {
    needs.iter().copied().flatten().filter(|need| !(need.is_present)()).collect()
}

fn has_cascades() -> bool {
    let folders = ["opencv4", "OpenCV", "opencv"].map(|name| format!("share/{name}/haarcascades"));
    let is_in = |prefix: &str| folders.iter().any(|folder| Path::new(prefix).join(folder).is_dir());
    is_in("/usr") || is_in("/usr/local")
}

/// Whether this system is Debian, or a relative of it.
pub(crate) fn has_apt() -> bool {
    process::succeeds("apt-get", &["--version"])
}

/// Debian's packages for what is missing.
fn packages(missing: &[&Need]) -> Vec<&'static str> {
    missing.iter().flat_map(|need| need.packages).copied().collect()
}

fn report(missing: &[&Need]) -> Error {
    let names: Vec<_> = missing.iter().map(|need| need.what).collect();
    let error = Error::unexpected(format!("missing system packages: {}", names.join(", ")));
    if !has_apt() {
        return error.hint("install the packages with the system's package manager");
    }
    let line = apt_line(&packages(missing));
    error.hint(format!("run this line, or the same command with --install-deps:\n{line}"))
}

/// One line to copy and paste.
fn apt_line(packages: &[&str]) -> String {
    let install = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    format!("sudo apt-get update && sudo {install}")
}

fn install_with_apt(packages: &[&str]) -> Result<()> {
    eprintln!("installing {}", packages.join(" "));
    // Stale lists may still do, so a failed update is not the end.
    if let Err(error) = process::show(apt().args(["update", "-qq"]))
        && error.is_interrupt()
    {
        return Err(error);
    }
    process::show(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages)).map_err(
        |error| {
            let hint = format!("the packages can also be installed by hand:\n{}", apt_line(packages));
            error.hint_unless_interrupted(hint)
        },
    )
}

/// apt-get that asks nothing, as the superuser where we are not.
fn apt() -> Command {
    let mut command = if !is_root() && process::succeeds("sudo", &["-V"]) {
        let mut sudo = Command::new("sudo");
        sudo.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        sudo
    } else {
        Command::new("apt-get")
    };
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stdin(Stdio::null()).output();
    id.is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<&'static Need> {
        RUN.iter().filter(|need| names.iter().any(|name| need.what.contains(name))).collect()
    }

    #[test]
    fn the_line_for_a_bare_system_names_every_package() {
        let line = apt_line(&packages(&named(&[""])));
        let expected = "sudo apt-get update && sudo apt-get install -y --no-install-recommends pkg-config \
             libavcodec-dev libavformat-dev libavutil-dev libswscale-dev ffmpeg clang";
        assert_eq!(line, expected);
    }

    #[test]
    fn what_is_missing_is_named_in_one_sentence() {
        let error = report(&named(&["program"]));
        assert_eq!(error.message, "missing system packages: the program ffmpeg, the program clang");
        assert_eq!(error.code, 1);
    }
}
