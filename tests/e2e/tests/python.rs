//! The Python package, installed as users install it: it reads what the programs wrote. And an assistant that asks the
//! program in the official client of its protocol.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use testkit::assets;
use testkit::files::repository;
use testkit::synthetic_run::{self, must};

use crate::empty_folder;

/// Installs the package once for all tests; returns the folder with it.
fn installed(python: &Path) -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = empty_folder("python", "installed");
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        // The environment of the tests has the packages that this one needs.
        pip.args(["--no-index", "--no-deps", "--no-build-isolation", "--target"]).arg(&folder);
        must(pip.arg(repository().join("python")));
        folder
    })
}

/// Runs a task of `python/package.py`; its complaints are the failure.
fn python(task: &str, arguments: &[&Path]) -> Option<()> {
    let python = assets::require("FACETRACK_PYTHON")?;
    let script = repository().join("tests/python/package.py");
    let mut command = Command::new(&python);
    command.env("PYTHONPATH", installed(&python)).env("PYTHONWARNINGS", "error::FutureWarning");
    must(command.arg(script).arg(task).args(arguments));
    Some(())
}

/// Two finished runs of synthetic people, and a gallery beside them. One person has a name.
fn gallery(name: &str) -> Option<(PathBuf, [PathBuf; 2])> {
    let folder = empty_folder("python", name);
    let library = folder.join("library");
    let mut runs = Vec::new();
    for seed in [4, 5] {
        let recipe = format!("tracks = 40\nseed = {seed}\n");
        let made = synthetic_run::finished(&recipe, &folder.join(format!("run{seed}")))?;
        let mut edits = assets::require_facetrack(&["edits", "add", "name"])?;
        must(edits.arg(&made.run).args(["1", &format!("Ida {seed}")]));
        let mut add = assets::require_facetrack(&["library", "add", "--library"])?;
        must(add.arg(&library).arg("--run-dir").arg(&made.run));
        runs.push(made.run);
    }
    Some((library, runs.try_into().unwrap()))
}

#[test]
fn the_package_says_what_the_tables_say() {
    let Some((library, [a, b])) = gallery("gallery") else { return };
    let Some(()) = python("run", &[&a]) else { return };
    python("library", &[&library, &a, &b]);
}

#[test]
fn the_package_reads_runs_with_few_people_or_none() {
    for dataset in ["none", "one", "two"] {
        let folder = empty_folder("python", dataset);
        let Some(made) = synthetic_run::finished(&synthetic_run::recipe(dataset), &folder) else { return };
        let Some(()) = python("run", &[&made.run]) else { return };
    }
}

#[test]
fn errors_of_the_package_say_what_to_do() {
    let Some((library, [a, _])) = gallery("errors-gallery") else { return };
    python("errors", &[&empty_folder("python", "errors"), &a, &library]);
}

#[test]
fn the_notebook_runs() {
    let Some((library, [a, _])) = gallery("notebook-gallery") else { return };
    python("notebook", &[&repository().join("python/examples/film.ipynb"), &a, &library]);
}

#[test]
fn the_types_of_the_package_hold() {
    let Some(python) = assets::require("FACETRACK_PYTHON") else { return };
    let package = repository().join("python");
    let mut mypy = Command::new(python);
    mypy.args(["-m", "mypy", "--config-file"]).arg(package.join("pyproject.toml"));
    mypy.arg("--cache-dir").arg(empty_folder("python", "mypy"));
    // What is wrong goes to standard output.
    let done = mypy.arg(package.join("src/facetrack")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn the_package_has_the_version_of_the_program() {
    python("version", &[Path::new(env!("CARGO_PKG_VERSION"))]);
}

#[test]
fn an_assistant_gets_its_answers_from_the_tables() {
    let Some((library, [a, b])) = gallery("assistant") else { return };
    let Some(python) = assets::require("FACETRACK_PYTHON") else { return };
    let Some(program) = assets::require_program("facetrack") else { return };
    let script = repository().join("tests/python/assistant.py");
    let ask = |path: &Path, runs: &[&Path]| {
        must(Command::new(&python).arg(&script).arg(&program).arg(path).args(runs));
    };
    ask(&a, &[&a]);
    ask(&library, &[&a, &b]);
}

#[test]
fn an_assistant_is_not_served_without_a_run() {
    let folder = empty_folder("python", "no-run");
    let Some(mut command) = assets::require_facetrack(&["mcp"]) else { return };
    let done = command.arg(&folder).output().unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(3), 0));
    assert!(String::from_utf8_lossy(&done.stderr).contains("is not a run directory"));
}
