//! `cargo xtask schemas [--check]`: the committed documents of the tables.

use crate::failure::Result;
use crate::{process, workspace};

/// Writes `schemas/`, or compares it with the source.
pub(crate) fn schemas(check: bool) -> Result<()> {
    let args = ["run", "--quiet", "--release", "-p", "schema", "--bin", "ftl-schemas", "--", "schemas"];
    let mut command = workspace::cargo(args);
    if check {
        command.arg("--check");
    }
    process::show(&mut command)
}
