//! Where the workspace is, how its cargo is called, and how its programs are built and started.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use console::{Error, Result, exit, process};

/// Arguments that build every program of the project with the one profile that is used.
pub(crate) const BUILD: [&str; 4] = ["build", "--release", "--workspace", "--bins"];

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // Cargo names the folder; the path at build time serves when the program is started directly.
    let own =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    // A test of another package passes on where that package is, so the root is looked for above it.
    let is_root = |folder: &&Path| folder.join("xtask/Cargo.toml").is_file();
    own.ancestors().find(is_root).map_or_else(|| own.clone(), Path::to_path_buf)
}

/// Cargo, started in the root of the workspace. What Cargo said to this program of its package is not passed on: `ring`,
/// and with it most of the workspace, would be built again whenever that differs.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).env("CARGO_TARGET_DIR", target());
    env::vars_os().filter(|(name, _)| is_of_package(name)).for_each(|(name, _)| _ = command.env_remove(name));
    command
}

/// Whether Cargo sets a variable for each package by itself.
fn is_of_package(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name == "OUT_DIR"
        || ["CARGO_CFG_", "CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| name.starts_with(start))
}

/// A program of the workspace, built before.
pub(crate) fn program(name: &str) -> PathBuf {
    target().join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX))
}

/// The program `facetrack`, built before.
pub(crate) fn facetrack() -> Command {
    Command::new(program("facetrack"))
}

/// The folder cargo builds in, absolute because cargo is started in another folder than this program.
pub(crate) fn target() -> PathBuf {
    let given = env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty());
    let dir = given.map_or_else(|| root().join("target"), PathBuf::from);
    std::path::absolute(&dir).unwrap_or(dir)
}

/// Builds every program of the project.
pub(crate) fn build_all() -> Result<()> {
    process::show(cargo(BUILD).arg("--quiet"))
}

/// Builds `facetrack` and nothing that only tests and benchmarks need; without the methods of OpenCV, the build takes a
/// fifth less time and needs fewer system packages.
pub(crate) fn build(opencv: bool) -> Result<()> {
    let mut cargo = cargo(["build", "--release", "--package", "facetrack"]);
    if !opencv {
        cargo.arg("--no-default-features");
    }
    if program("facetrack").is_file() {
        cargo.arg("--quiet");
    } else {
        eprintln!("building facetrack, which takes minutes the first time");
    }
    process::show(&mut cargo).map_err(|e| e.hint_unless_interrupted("see the compiler's messages above"))
}

/// Whether the program needs OpenCV for these arguments. A program that was built with OpenCV stays so.
pub(crate) fn needs_opencv(arguments: &[OsString]) -> bool {
    let built = fs::read_dir(target().join("release/build")).into_iter().flatten().flatten();
    let is_built =
        built.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("opencv-"));
    is_built || name_opencv(arguments)
}

/// Whether the arguments, or the configuration files that they name, contain a name of a method of OpenCV.
fn name_opencv(arguments: &[OsString]) -> bool {
    const METHODS: [&str; 4] = ["haar", "correlation", "sift", "orb"];
    let names_method = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|w| METHODS.contains(&w));
    arguments.iter().map(|argument| argument.to_string_lossy()).any(|text| {
        let file = text.strip_prefix("--config=").unwrap_or(&text);
        let is_config = file.ends_with(".toml");
        names_method(&text) || (is_config && fs::read_to_string(file).is_ok_and(|text| names_method(&text)))
    })
}

/// Makes a folder, and those above it.
pub(crate) fn create(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io("create", folder))
}

/// Removes a folder with everything in it, where there is one.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    if folder.exists() { fs::remove_dir_all(folder).map_err(Error::io("remove", folder)) } else { Ok(()) }
}

/// Runs one of our programs silently; its error and its exit code become the error.
pub(crate) fn call(program: &mut Command) -> Result<()> {
    let done = process::capture(program)?;
    if done.status.success() {
        return Ok(());
    }
    let line = |label: &str| done.stderr.lines().find_map(|line| line.strip_prefix(label)).map(str::to_owned);
    let code = done.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::UNEXPECTED);
    let message = line("error: ").unwrap_or_else(|| {
        let how = process::ended(done.status);
        format!("`{}` failed ({how}): {}", process::line(program), process::tail(&done.stderr, 3))
    });
    Err(Error { hint: line("hint: "), ..Error::new(code, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opencv_is_needed_where_its_methods_are_named() -> std::io::Result<()> {
        let file = std::env::temp_dir().join(format!("xtask-{}.toml", std::process::id()));
        fs::write(&file, "[embed]\nembedders = ['orb']\n")?;
        let config = format!("--config={}", file.display());
        let cases: [(&[&str], bool); 6] = [
            (&["run", "--video", "a.mkv"], false),
            (&["run", "historic correlations.mkv", "--embedder", "dlib"], false),
            (&["run", "a.mkv", "--embedder=sface,sift"], true),
            (&["run", "a.mkv", "--tracker", "correlation"], true),
            (&["run", "a.mkv", &config], true),
            (&["run", "a.mkv", "--config", "missing.toml"], false),
        ];
        for (arguments, expected) in cases {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(name_opencv(&arguments), expected, "{arguments:?}");
        }
        fs::remove_file(file)
    }
}
