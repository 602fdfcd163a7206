//! `cargo xtask schemas [--check]`: the committed documents of the tables, and the reference pages.

use std::path::Path;

use console::{Error, Result, process};

use crate::{reference, workspace};

/// Writes `schemas/`, or compares it with the source, or releases the tables with those of a run as examples.
pub(crate) fn schemas(check: bool, release: Option<&Path>) -> Result<()> {
    workspace::build(true)?;
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
    reference::pages(check)
}
