//! `cargo xtask archive`: the recipes of `engines/` for Snakemake and Slurm on a cluster of two nodes on this machine,
//! while stages, nodes and the controller are killed; every file must equal that of a plain run.

use std::path::Path;
use std::process::Command;

use clap::Args;
use console::{Error, Result, process};

use crate::python::Environment;
use crate::workspace::{create, remove};
use crate::{assets, check, system, workspace};

/// Snakemake with its plugin for Slurm.
const PYTHON: Environment = Environment {
    folder: "archive-python",
    packages: &["snakemake==9.27.1", "snakemake-executor-plugin-slurm==2.8.0"],
    sources: &["connection_pool"],
    modules: "snakemake, snakemake_executor_plugin_slurm",
};

/// What `cargo xtask archive` takes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Install missing system packages with apt-get
    #[arg(long = "install-deps")]
    install: bool,
}

/// Builds the program and tests the recipes with it.
pub(crate) fn archive(options: &Options) -> Result<()> {
    system::ensure(&[system::RUN, system::OPENCV, system::FETCH, system::ARCHIVE], options.install)?;
    workspace::build_all()?;
    assets::obtain()?;
    let skipped = test(&assets::clip()?, &check::obtain_weights()?)?;
    if skipped > 0 && check::is_strict() {
        return Err(Error::unexpected("the test was skipped, which counts as a failure here"));
    }
    Ok(())
}

/// Tests the recipes on a clip. Returns 1 where this machine does not allow the test, 0 otherwise.
pub(crate) fn test(clip: &Path, weights: &Path) -> Result<u64> {
    let unshare = ["--mount", "--net", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let probe = ["sh", "-c", "mount -t tmpfs tmpfs /run"];
    if !process::succeeds("unshare", &[unshare.as_slice(), &probe].concat()) {
        return Ok(check::not_permitted("the recipes of engines/ are not tested: a cluster"));
    }
    let python = PYTHON.obtain()?;
    let folder = workspace::target().join("archive");
    remove(&folder)?;
    create(&folder)?;
    let root = workspace::root();
    let mut script = Command::new("unshare");
    script.args(unshare).arg(python).arg(root.join("tests/python/archive.py"));
    script.args([&folder, &root.join("engines"), &workspace::program("facetrack")]);
    process::show(script.args([weights, clip]))
        .map_err(|error| error.hint_unless_interrupted(format!("logs are in `{}`", folder.display())))?;
    remove(&folder)?;
    Ok(0)
}
