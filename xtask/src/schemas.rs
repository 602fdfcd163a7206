//! `cargo xtask schemas [--check]`: the committed documents of the tables and of the command line.

use std::fs;
use std::path::Path;

use console::{Error, Result, process};

use crate::workspace;

/// Writes `schemas/`, or compares it with the source, or releases the tables with those of a run as examples.
pub(crate) fn schemas(check: bool, release: Option<&Path>) -> Result<()> {
    workspace::build()?;
    let Some(run) = release else { return document(check) };
    let run = std::path::absolute(run).map_err(Error::io("resolve", run))?;
    let mut command = workspace::facetrack();
    process::show(command.args(["schemas", "schemas", "--release"]).arg(run).current_dir(workspace::root()))
}

/// Does the same with the program as it was last built.
pub(crate) fn document(check: bool) -> Result<()> {
    let mut command = workspace::facetrack();
    command.args(["schemas", "schemas"]).args(check.then_some("--check")).current_dir(workspace::root());
    process::show(&mut command)?;
    command_line(check)
}

/// Verbs of `facetrack`, in the order of its help.
const VERBS: [&str; 12] = [
    "run",
    "library",
    "library add",
    "library remove",
    "export",
    "import",
    "validate",
    "redact",
    "models",
    "doctor",
    "stage",
    "help",
];

/// Writes the help of every verb to `docs/reference/cli.md`, or compares them with that file.
fn command_line(check: bool) -> Result<()> {
    let mut text = String::from("# Command line\n\nThe help of every verb of `facetrack`. ");
    text += "`cargo xtask schemas` generates this page from the program.\n";
    for verb in VERBS {
        let (arguments, title): (Vec<_>, _) = match verb {
            "help" => (vec!["--help"], "facetrack".to_owned()),
            verb => (verb.split(' ').chain(["--help"]).collect(), format!("facetrack {verb}")),
        };
        let mut command = workspace::facetrack();
        let output = command.args(arguments).output().map_err(Error::io("start", &workspace::root()))?;
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &format!("\n## {title}\n\n```text\n{}\n```\n", help.trim_end());
    }
    let path = workspace::root().join("docs/reference/cli.md");
    if !check {
        return fs::write(&path, text).map_err(Error::io("write", &path));
    }
    if fs::read_to_string(&path).is_ok_and(|stored| stored == text) {
        return Ok(());
    }
    Err(Error::unexpected(format!("{} differs from the program", path.display()))
        .hint("run `cargo xtask schemas`"))
}
