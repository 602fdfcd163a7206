//! Runs without a video: a recipe of `datasets/`, linked and judged by the programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::files::repository;
use crate::{assets, recipe};

/// A finished run, and its labels.
#[derive(Debug, Clone)]
pub struct SyntheticRun {
    /// The run directory.
    pub run: PathBuf,
    /// The truth.
    pub labels: PathBuf,
}

/// Makes up a run in `folder` from a recipe, links it and judges it; `None`, after saying why, when a program
/// is not built.
pub fn finished(recipe: &str, folder: &Path) -> Option<SyntheticRun> {
    fs::create_dir_all(folder).unwrap();
    let made = SyntheticRun { run: folder.join("r"), labels: folder.join("labels.csv") };
    recipe::write(&toml::from_str(recipe).unwrap(), &made.run, &made.labels).unwrap();
    must(assets::require_facetrack(&["stage", "cluster", "--run-dir"])?.arg(&made.run));
    judge(&made.run, &made.labels)?;
    Some(made)
}

/// Judges a run by labels.
pub fn judge(run: &Path, labels: &Path) -> Option<()> {
    let mut evaluate = assets::require_facetrack(&["stage", "evaluate", "--run-dir"])?;
    must(evaluate.arg(run).arg("--labels").arg(labels));
    Some(())
}

/// The recipe of a stored dataset.
pub fn recipe(dataset: &str) -> String {
    fs::read_to_string(repository().join("datasets").join(dataset).join("recipe.toml")).unwrap()
}

/// Runs a program that must succeed; gives its standard output.
pub fn must(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
