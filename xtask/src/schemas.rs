//! `cargo xtask schemas [--check]`: the committed documents of the tables.

use std::process::Command;

use crate::failure::Result;
use crate::{process, workspace};

/// Writes `schemas/`, or compares it with the source.
pub(crate) fn schemas(check: bool) -> Result<()> {
    process::show(workspace::cargo(workspace::BUILD).arg("--quiet"))?;
    document(check)
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
