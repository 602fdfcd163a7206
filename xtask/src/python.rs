//! Pythons of our own with pinned packages, so that the system's is left alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use console::{Error, Result, process};
use fetch::cache;

use crate::workspace;

/// A Python and what it is to have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Environment {
    /// Its folder in the cache.
    pub(crate) folder: &'static str,
    /// Packages with their versions.
    pub(crate) packages: &'static [&'static str],
    /// Packages of which the registry has only the source. Others come as wheels, so that nothing is compiled.
    pub(crate) sources: &'static [&'static str],
    /// Names of the modules in them, separated by commas.
    pub(crate) modules: &'static str,
}

impl Environment {
    /// Makes sure that it is there; returns its program.
    pub(crate) fn obtain(&self) -> Result<PathBuf> {
        let dir = cache::root()?.join(self.folder);
        let (program, pins) = (dir.join("bin").join("python"), dir.join("requirements.txt"));
        let wanted = self.packages.join("\n") + "\n";
        let works = || {
            let import = format!("import {}", self.modules);
            process::capture(Command::new(&program).args(["-c", &import]))
                .is_ok_and(|done| done.status.success())
        };
        if fs::read_to_string(&pins).is_ok_and(|found| found == wanted) && works() {
            return Ok(program);
        }
        let mut venv = Command::new("python3");
        workspace::call(venv.args(["-m", "venv", "--clear"]).arg(&dir))
            .map_err(|error| error.hint_unless_interrupted("apt-get install -y python3-venv"))?;
        let mut pip = Command::new(&program);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip.args(["--only-binary", ":all:"]);
        self.sources.iter().for_each(|name| _ = pip.args(["--no-binary", name]));
        workspace::call(pip.args(self.packages))?;
        // Written last: it says that all the rest is there.
        fs::write(&pins, wanted).map_err(Error::io("write", &pins))?;
        Ok(program)
    }
}
