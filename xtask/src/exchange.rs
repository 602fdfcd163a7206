//! `cargo xtask validate`, `export`, `import` and `library`: passed on to the programs that know the tables.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Result, exit};
use crate::{process, workspace};

/// Name of the program that reads and writes what other tools do.
const PROGRAM: &str = "ftl-exchange";
/// What is passed on, and what each is about.
pub(crate) const TASKS: [(&str, &str); 4] = [
    ("validate", "Check a run, a library or a table against the published schemas: `validate PATH`"),
    ("export", "Write a run for other tools: `export --run R --to csv|mot|coco|cvat|webvtt|rttm|otio`"),
    ("import", "Make labels of MOT, CVAT or CSV the CSV that `run --labels` takes: `import --labels FILE`"),
    (
        LIBRARY,
        "Add finished runs, or remove a video: `library add --library L --run-dir R`, `library remove`",
    ),
];
/// The task that has a program of its own.
const LIBRARY: &str = "library";

/// Passes a task on with its arguments; what the program prints is what people and programs get.
pub(crate) fn pass_on(task: &str, arguments: &[String]) -> Result<()> {
    process::show(workspace::cargo(workspace::BUILD).arg("--quiet"))?;
    let (program, task) = if task == LIBRARY { ("ftl-library", None) } else { (PROGRAM, Some(task)) };
    let mut command = Command::new(workspace::program(program));
    let mut child = process::spawn(command.args(task).args(arguments).stdin(Stdio::null()))?;
    let status = process::wait(&mut child)?;
    match status.code().map(u8::try_from) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(Failure::told(code)),
        _ => Err(Failure::unexpected(format!("`{program}` failed ({})", process::ended(status)))),
    }
}

/// Fails unless the tables of a run are what they should be.
pub(crate) fn validate(run: &Path) -> Result<()> {
    call(&mut Command::new(workspace::program(PROGRAM)), &["validate".as_ref(), run])
}

/// Labels that `evaluate` reads: those given, or, of another format, a copy in `folder`.
pub(crate) fn labels(given: &Path, folder: &Path) -> Result<PathBuf> {
    let ending = given.extension().map(|ending| ending.to_ascii_lowercase());
    if !ending.is_some_and(|ending| ending == "xml" || ending == "txt") {
        return Ok(given.to_path_buf());
    }
    let copy = folder.join("labels.imported.csv");
    let arguments = ["import".as_ref(), "--labels".as_ref(), given, "--out".as_ref(), &copy];
    call(&mut Command::new(workspace::program(PROGRAM)), &arguments)?;
    Ok(copy)
}

/// Calls one of our programs; its error and its exit code are the failure.
pub(crate) fn call(program: &mut Command, arguments: &[&Path]) -> Result<()> {
    let done = process::capture(program.args(arguments))?;
    if done.status.success() {
        return Ok(());
    }
    let told = |label: &str| done.stderr.lines().find_map(|line| line.strip_prefix(label)).map(str::to_owned);
    let code = done.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::UNEXPECTED);
    let message = told("error: ").unwrap_or_else(|| {
        let how = process::ended(done.status);
        format!("`{}` failed ({how}): {}", process::line(program), process::tail(&done.stderr, 3))
    });
    Err(Failure { hint: told("hint: "), ..Failure::new(code, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_our_own_are_taken_as_they_are() {
        let taken = labels(Path::new("films/truth.CSV"), Path::new("/no/run"));
        assert_eq!(taken.ok(), Some(PathBuf::from("films/truth.CSV")));
    }
}
