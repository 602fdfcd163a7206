//! `cargo xtask doctor`: what this machine has of what the tool needs, and what to do next.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::{Failure, Result, say};
use crate::stages::STAGES;
use crate::{cache, models, system, workspace};

/// Something looked at.
struct Finding {
    what: String,
    found: String,
    /// What to do where it is not as it should be.
    remedy: Option<String>,
}

impl Finding {
    fn of(what: &str, found: impl Into<String>) -> Self {
        Self { what: what.into(), found: found.into(), remedy: None }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Says what there is, on standard output, and what to do next, on standard error.
pub(crate) fn doctor() -> Result<()> {
    let mut findings = vec![
        Finding::of("facetracklinking", env!("CARGO_PKG_VERSION")),
        Finding::of("system", os()),
        Finding::of("machine", machine()),
    ];
    let tools = [
        ("rustc", "rustc", "--version"),
        ("cargo", "cargo", "--version"),
        ("python", "python3", "--version"),
        ("ffmpeg", "ffmpeg", "-version"),
        ("clang", "clang", "--version"),
    ];
    findings.extend(tools.map(|(what, program, option)| Finding::of(what, first_line(program, &[option]))));
    let libraries = ["opencv4", "libavcodec", "libavformat", "libavutil", "libswscale"];
    findings
        .extend(libraries.map(|name| Finding::of(name, first_line("pkg-config", &["--modversion", name]))));
    findings.push(packages());
    findings.extend(weights()?);
    findings.push(programs());
    findings.push(device());
    findings.push(Finding::of("cache", format!("{}, {}", cache::root()?.display(), room(&cache::root()?))));
    tell(&findings)
}

fn tell(findings: &[Finding]) -> Result<()> {
    for Finding { what, found, remedy } in findings {
        say(&format!("{} {what:<18} {found}", if remedy.is_some() { "✗" } else { " " }));
    }
    let remedies: Vec<&str> = findings.iter().filter_map(|f| f.remedy.as_deref()).collect();
    if remedies.is_empty() {
        eprintln!("nothing is missing; next: cargo xtask run --video your.mkv");
        return Ok(());
    }
    let missing = if remedies.len() == 1 { "1 thing is" } else { &format!("{} things are", remedies.len()) };
    Err(Failure::unexpected(format!("{missing} not as needed")).hint(remedies.join("\n")))
}

fn os() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    format!("{}, {}", name.unwrap_or(env::consts::OS).trim_matches('"'), env::consts::ARCH)
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.split_whitespace().next());
    let gib = kib.and_then(|kib| kib.parse::<f64>().ok()).map_or(0.0, |kib| kib / f64::from(1 << 20));
    format!("{cores} cores, {gib:.1} GiB of memory free")
}

/// Room on the disk that holds `path`.
fn room(path: &Path) -> String {
    let shown = path.ancestors().find(|path| path.is_dir()).unwrap_or(path).display().to_string();
    let done = Command::new("df").args(["--output=avail", "-h", &shown]).output();
    let text = done.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    text.lines().nth(1).map_or("room unknown".into(), |room| format!("{} free", room.trim()))
}

/// The first line that a program prints, or that there is none.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).current_dir(workspace::root()).output();
    let text = done.ok().filter(|done| done.status.success());
    let text = text.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    text.lines().next().map_or("missing".into(), str::to_owned)
}

fn packages() -> Finding {
    match system::ensure(&[system::RUN, system::FETCH], false) {
        Ok(()) => Finding::of("system packages", "complete"),
        Err(failure) => {
            let remedy = failure.hint.clone().unwrap_or_else(|| failure.message.clone());
            Finding::of("system packages", failure.message).remedy(remedy)
        }
    }
}

/// Weights of the detector and of the default embedder must be there; others are fetched when named.
fn weights() -> Result<Vec<Finding>> {
    let finding = |(name, state): (&'static str, &'static str)| {
        let finding = Finding::of(&format!("weights of {name}"), state);
        let is_needed = ["yunet", "sface"].contains(&name) && state != "ready";
        if is_needed { finding.remedy(format!("cargo xtask models fetch {name}")) } else { finding }
    };
    Ok(models::states()?.into_iter().map(finding).collect())
}

fn programs() -> Finding {
    let built = |name: &str| workspace::program(&format!("ftl-{name}")).is_file();
    let missing: Vec<_> = STAGES.iter().map(|stage| stage.name).filter(|name| !built(name)).collect();
    // A run builds them, so that is no fault.
    let found =
        if missing.is_empty() { "built".into() } else { format!("not built yet: {}", missing.join(", ")) };
    Finding::of("stages", found)
}

fn device() -> Finding {
    let cards = first_line("nvidia-smi", &["--query-gpu=name,driver_version", "--format=csv,noheader"]);
    let cards = if cards == "missing" { "no NVIDIA card".into() } else { cards };
    Finding::of("device", format!("CPU; {cards}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_remedy() {
        let fine = || Finding::of("cargo", "cargo 1.0");
        assert_eq!(tell(&[fine()]), Ok(()));
        let failure = tell(&[fine(), Finding::of("weights of x", "missing").remedy("fetch x")]).err();
        let expected = Failure::unexpected("1 thing is not as needed").hint("fetch x");
        assert_eq!(failure, Some(expected));
    }

    #[test]
    fn programs_that_are_not_there_are_missing() {
        assert_eq!(first_line("no-such-program-of-ours", &[]), "missing");
        assert_eq!(first_line("sh", &["-c", "echo one; echo two"]), "one");
    }
}
