//! What tests need from outside the source tree. `cargo xtask check` obtains it and says where it is
//! through the environment; without it a test says so and is skipped.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A file or folder named by an environment variable. `None`, after saying why, where it cannot be
/// had; a failure instead where skips are not allowed.
pub fn require(variable: &str) -> Option<PathBuf> {
    match env::var_os(variable).map(PathBuf::from) {
        Some(path) if path.exists() => Some(path),
        Some(path) => skip(&format!("{variable} names {}, which is not there", path.display())),
        None => skip(&format!("{variable} is not set; `cargo xtask check` sets it")),
    }
}

/// A file in the folder that a variable names.
pub fn require_in(variable: &str, file: &str) -> Option<PathBuf> {
    let path = require(variable)?.join(file);
    if path.is_file() { Some(path) } else { skip(&format!("{} is not there", path.display())) }
}

/// The weights of the embedder `retail`: in the folder of the weights, or as published in the folder `shared/weights`
/// beside the checkout. No registry holds them, so a test that finds none passes, also where skips are not allowed.
pub fn find_retail() -> Option<PathBuf> {
    let converted =
        env::var_os("FACETRACK_WEIGHTS_DIR").map(|dir| Path::new(&dir).join("retail.safetensors"));
    let shared = crate::files::repository().with_file_name("shared").join("weights");
    let published = shared.join("face-reidentification-retail-0095.xml");
    let found = converted.into_iter().chain([published]).find(|path| path.is_file());
    if found.is_none() {
        println!("SKIPPED: there are no weights of `retail`, which not every machine can obtain");
    }
    found
}

/// A file beside another one, or where a variable of its own says.
pub fn require_beside(variable: &str, file: &Path, name: &str) -> Option<PathBuf> {
    let beside = file.with_file_name(name);
    if env::var_os(variable).is_none() && beside.exists() { Some(beside) } else { require(variable) }
}

/// A program of this workspace, built beside the running test.
pub fn require_program(name: &str) -> Option<PathBuf> {
    let path = programs().join(name);
    if path.is_file() {
        return Some(path);
    }
    skip(&format!("{name} is not built; `cargo build --release --workspace --bins` builds it"))
}

/// The program `facetrack` with its first arguments.
pub fn require_facetrack(arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(require_program("facetrack")?);
    command.args(arguments);
    Some(command)
}

/// The `ffmpeg` tool, which makes some of the inputs.
pub fn require_ffmpeg() -> Option<Command> {
    if encoders().is_empty() {
        return skip("there is no program `ffmpeg`");
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y"]);
    Some(ffmpeg)
}

/// The browser `chromium`.
pub fn require_chromium() -> Option<()> {
    let done = Command::new("chromium").arg("--version").output();
    if done.is_ok_and(|done| done.status.success()) {
        Some(())
    } else {
        skip("there is no program `chromium`")
    }
}

/// The program `strace`, where it may look at other programs.
pub fn require_strace() -> Option<Command> {
    let may = Command::new("strace").args(["-o", "/dev/null", "true"]).status();
    if may.is_ok_and(|status| status.success()) {
        Some(Command::new("strace"))
    } else {
        skip("there is no program `strace`, or it may not trace")
    }
}

/// An encoder of the `ffmpeg` tool: builds differ in what they have.
pub fn require_encoder(name: &str) -> Option<()> {
    require_ffmpeg()?;
    if encoders().split_whitespace().any(|word| word == name) {
        Some(())
    } else {
        skip(&format!("this `ffmpeg` has no encoder {name}"))
    }
}

/// A filter of the `ffmpeg` tool.
pub fn require_filter(name: &str) -> Option<()> {
    require_ffmpeg()?;
    if listed("-filters").split_whitespace().any(|word| word == name) {
        Some(())
    } else {
        skip(&format!("this `ffmpeg` has no filter {name}"))
    }
}

/// What the `ffmpeg` tool says of its encoders; empty without the tool.
fn encoders() -> &'static str {
    static ENCODERS: OnceLock<String> = OnceLock::new();
    ENCODERS.get_or_init(|| listed("-encoders"))
}

/// What the `ffmpeg` tool lists with an option; empty without the tool.
fn listed(option: &str) -> String {
    let done = Command::new("ffmpeg").args(["-v", "quiet", option]).output();
    let done = done.ok().filter(|done| done.status.success());
    done.map_or_else(String::new, |done| String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The folder of the built programs: test executables are in `deps` below it.
fn programs() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_path_buf()
}

fn skip<T>(why: &str) -> Option<T> {
    assert!(!is_strict(), "cannot be skipped here: {why}");
    println!("SKIPPED: {why}");
    None
}

/// Where a skipped test is a failure, as in `cargo xtask check`.
fn is_strict() -> bool {
    let on = |name: &str| env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0" && v != "false");
    on("CI") || on("FACETRACK_NO_SKIP")
}
