//! `cargo xtask schemas [--check]`: the committed documents of the tables.

use std::path::PathBuf;
use std::process::Command;

use crate::failure::{Failure, Result};
use crate::{process, workspace};

/// Writes `schemas/`, or compares it with the source, or releases the tables with those of a run as examples.
pub(crate) fn schemas(check: bool, release: Option<&PathBuf>) -> Result<()> {
    process::show(workspace::cargo(workspace::BUILD).arg("--quiet"))?;
    let Some(run) = release else { return document(check) };
    let run = std::path::absolute(run).map_err(Failure::io("resolve", run))?;
    let mut command = Command::new(workspace::program("ftl-schemas"));
    process::show(command.arg("schemas").arg("--release").arg(run).current_dir(workspace::root()))
}

/// The same with the program as it was last built.
pub(crate) fn document(check: bool) -> Result<()> {
    let mut command = Command::new(workspace::program("ftl-schemas"));
    command.arg("schemas").current_dir(workspace::root());
    if check {
        command.arg("--check");
    }
    process::show(&mut command)
}
