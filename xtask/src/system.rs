//! What the system must provide, found by looking for the thing itself rather than for a package:
//! package names differ between systems, and between releases of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use console::{Error, Result, process};

/// Something the system must provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Finds the libraries below.
    PkgConfig,
    /// Detection and image operations.
    OpenCv,
    /// Haar cascades.
    OpenCvData,
    /// Decoding.
    FfmpegLibraries,
    /// Composing test clips.
    FfmpegProgram,
    /// Called while the OpenCV bindings are built.
    Clang,
    /// Loaded while the OpenCV bindings are built.
    LibClang,
    /// Obtaining weights.
    Pip,
    /// A Python of our own for the tests that read tables.
    Venv,
    /// Opens the page for the tests.
    Chromium,
    /// Sees what stages ask of the system.
    Strace,
}

use Need::{
    Chromium, Clang, FfmpegLibraries, FfmpegProgram, LibClang, OpenCv, OpenCvData, Pip, PkgConfig, Strace,
    Venv,
};

/// What building and running needs.
pub(crate) const RUN: &[Need] =
    &[PkgConfig, OpenCv, OpenCvData, FfmpegLibraries, FfmpegProgram, Clang, LibClang];
/// What obtaining weights needs.
pub(crate) const FETCH: &[Need] = &[Pip];
/// What the tests need beyond [`RUN`] and [`FETCH`].
pub(crate) const TESTS: &[Need] = &[Venv, Chromium, Strace];

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

fn missing(needs: &[&[Need]]) -> Vec<Need> {
    needs.iter().flat_map(|group| group.iter()).copied().filter(|need| !present(*need)).collect()
}

fn present(need: Need) -> bool {
    match need {
        PkgConfig => process::succeeds("pkg-config", &["--version"]),
        OpenCv => process::succeeds("pkg-config", &["--exists", "opencv4"]),
        // Elsewhere the cascades' place is anyone's guess, and only one detector wants them.
        OpenCvData => has_cascades() || !has_apt(),
        FfmpegLibraries => process::succeeds(
            "pkg-config",
            &["--exists", "libavcodec", "libavformat", "libavutil", "libswscale"],
        ),
        FfmpegProgram => process::succeeds("ffmpeg", &["-version"]),
        Clang => process::succeeds("clang", &["--version"]),
        LibClang => has_libclang(),
        Pip => process::succeeds("python3", &["-c", "import pip"]),
        Venv => process::succeeds("python3", &["-c", "import ensurepip, venv"]),
        Chromium => process::succeeds("chromium", &["--version"]),
        Strace => process::succeeds("strace", &["--version"]),
    }
}

fn has_cascades() -> bool {
    ["/usr", "/usr/local"].iter().any(|prefix| {
        ["opencv4", "OpenCV", "opencv"]
            .iter()
            .any(|name| Path::new(prefix).join("share").join(name).join("haarcascades").is_dir())
    })
}

fn has_libclang() -> bool {
    let given = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    given.into_iter().chain(library_folders()).any(|dir| contains_libclang(&dir))
}

/// Folders that hold libraries: the usual ones, their subfolders (one per architecture), LLVM's own.
fn library_folders() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for top in ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib"] {
        all.push(PathBuf::from(top));
        for folder in subfolders(Path::new(top)) {
            all.push(folder.join("lib"));
            all.push(folder);
        }
    }
    all
}

fn subfolders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
}

fn contains_libclang(dir: &Path) -> bool {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.file_name()).any(|name| is_libclang(&name.to_string_lossy()))
}

fn is_libclang(name: &str) -> bool {
    name == "libclang.dylib"
        || name.strip_prefix("libclang").is_some_and(|rest| {
            // libclang.so, libclang.so.1, libclang-14.so.1; not libclang-cpp.so.
            let version = rest.split_once(".so").map(|(before, _)| before);
            version.is_some_and(|v| v.is_empty() || v.strip_prefix('-').is_some_and(is_number))
        })
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn has_apt() -> bool {
    process::succeeds("apt-get", &["--version"])
}

/// Debian's packages for what is missing, without repetition.
fn packages(missing: &[Need]) -> Vec<&'static str> {
    let mut all = Vec::new();
    for need in missing {
        for package in debian(*need, missing) {
            if !all.contains(package) {
                all.push(package);
            }
        }
    }
    all
}

fn debian(need: Need, missing: &[Need]) -> &'static [&'static str] {
    match need {
        PkgConfig => &["pkg-config"],
        OpenCv => &["libopencv-dev"],
        OpenCvData => &["opencv-data"],
        FfmpegLibraries => &["libavcodec-dev", "libavformat-dev", "libavutil-dev", "libswscale-dev"],
        FfmpegProgram => &["ffmpeg"],
        Clang => &["clang"],
        // clang brings its own; the name of that package differs between releases.
        LibClang if missing.contains(&Clang) => &[],
        LibClang => &["libclang-dev"],
        Pip => &["python3-pip"],
        Venv => &["python3-venv"],
        Chromium => &["chromium"],
        Strace => &["strace"],
    }
}

fn describe(need: Need) -> &'static str {
    match need {
        PkgConfig => "pkg-config",
        OpenCv => "OpenCV 4 with its contributed module tracking and headers (pkg-config module opencv4)",
        OpenCvData => "OpenCV's cascades",
        FfmpegLibraries => {
            "FFmpeg's libraries with headers (pkg-config modules libavcodec, libavformat, libavutil, libswscale)"
        }
        FfmpegProgram => "the program ffmpeg",
        Clang => "the program clang",
        LibClang => "libclang",
        Pip => "pip for python3",
        Venv => "venv for python3",
        Chromium => "the browser chromium",
        Strace => "the program strace",
    }
}

fn report(missing: &[Need]) -> Error {
    let names: Vec<_> = missing.iter().map(|need| describe(*need)).collect();
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

    #[test]
    fn the_line_for_a_bare_system_names_every_package() {
        let line = apt_line(&packages(RUN));
        let expected = "sudo apt-get update && sudo apt-get install -y --no-install-recommends pkg-config \
             libopencv-dev opencv-data libavcodec-dev libavformat-dev libavutil-dev libswscale-dev ffmpeg clang";
        assert_eq!(line, expected);
    }

    #[test]
    fn libclang_alone_needs_its_own_package() {
        assert_eq!(packages(&[LibClang]), ["libclang-dev"]);
        assert_eq!(packages(&[Clang, LibClang]), ["clang"]);
    }

    #[test]
    fn libclang_is_distinguished_from_similar_names() {
        for name in
            ["libclang.so", "libclang.so.1", "libclang-14.so.1", "libclang-14.so.14.0.6", "libclang.dylib"]
        {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang-common", "libclangAST.so", "libc.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named_in_one_sentence() {
        let error = report(&[FfmpegProgram, Clang]);
        assert_eq!(error.message, "missing system packages: the program ffmpeg, the program clang");
        assert_eq!(error.code, 1);
    }
}
