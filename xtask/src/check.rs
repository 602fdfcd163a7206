//! `cargo xtask check`: everything that continuous integration does, in its order.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use console::{Error, Result, duration, exit, process, say};
use fetch::cache;

use crate::python::Environment;
use crate::{archive, assets, bench, deny, dist, regress, schemas, system, workspace};

/// What the tests read tables and exports with, and run the Python package with.
const PYTHON: Environment = Environment {
    folder: "python",
    packages: &[
        "numpy==2.4.6",
        "pandas==3.1.1",
        "pyarrow==26.0.1",
        "polars==2.1.0",
        "duckdb==2.0.0",
        "datasets==5.2.0",
        // The Python package is built with this, offline.
        "flit-core==4.2.0",
        "ipykernel==7.4.0",
        "lxml==6.1.3",
        "matplotlib==3.11.2",
        "mcp==2.3.0",
        "mlcroissant==1.1.1",
        "mmif-python==1.6.0",
        "motmetrics==1.4.0",
        "mypy==2.4.1",
        "nbclient==0.11.0",
        "opentimelineio==0.18.1",
        "otio-cmx3600-adapter==1.0.0",
        "pyannote.database==6.1.1",
        "pycocotools==2.0.11",
        "webvtt-py==0.6.0",
    ],
    sources: &["clams-vocabulary", "jsonpath-rw", "mmif-python"],
    modules: "numpy, pandas, pyarrow, polars, duckdb, datasets, flit_core, ipykernel, lxml, matplotlib, mcp, mlcroissant, mmif, \
              motmetrics, mypy, nbclient, opentimelineio, otio_cmx3600_adapter, pyannote.database, pycocotools, webvtt",
};
/// How a test says that something it needs could not be had.
const SKIPPED: &str = "SKIPPED:";

/// What `cargo xtask check` takes.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Options {
    /// Install missing system packages with apt-get
    #[arg(long = "install-deps")]
    install: bool,
    /// Format, lints and unit tests only; no network
    #[arg(long)]
    fast: bool,
}

/// Runs every step; the first that fails ends it.
pub(crate) fn check(options: &Options) -> Result<()> {
    let started = Instant::now();
    let strict = is_strict();
    if options.fast {
        step("system", || system::ensure(&[system::RUN, system::OPENCV], options.install))?;
        lint()?;
        let skipped = step("unit tests", || test(&["--lib", "--bins"], &[]))?;
        return close(started, skipped, strict);
    }
    step("system", || {
        system::ensure(
            &[system::RUN, system::OPENCV, system::FETCH, system::TESTS, system::DIST, system::ARCHIVE],
            options.install,
        )
    })?;
    lint()?;
    step("build", || cargo(&["build", "--release", "--workspace", "--bins", "--tests"]))?;
    step("fuzz targets", fuzz)?;
    if let Some(program) = asset("cargo-deny", strict, deny::obtain)? {
        step("dependencies", || deny::check(&program))?;
    }
    step("schemas", || schemas::document(true))?;
    step("regress", || regress::compare(&regress::Options::default()))?;
    let assets = obtain_assets(strict)?;
    let skipped = step("tests", || test(&[], &assets))?;
    let skipped = skipped + step("packages", || package(&assets))?;
    let skipped = skipped + step("archive", || cluster(&assets))?;
    close(started, skipped, strict)
}

/// Where a skipped test is a failure: in continuous integration, or when asked for.
pub(crate) fn is_strict() -> bool {
    is_on("CI") || is_on(NO_SKIP)
}

/// The variable that asks for skipped tests to fail.
pub(crate) const NO_SKIP: &str = "FACETRACK_NO_SKIP";

/// Whether a variable of the environment is set and does not say no.
pub(crate) fn is_on(name: &str) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0" && value != "false")
}

fn lint() -> Result<()> {
    step("format", || cargo(&["fmt", "--all", "--check"]))?;
    step("lints", || cargo(&["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

/// Compiles the targets of `cargo fuzz` and runs each on its seeds; the tests try what lies around them.
fn fuzz() -> Result<()> {
    let libfuzzer = ["--features", "fuzz/libfuzzer", "--example", "seeds"];
    process::show(workspace::cargo(workspace::BUILD).args(libfuzzer))?;
    let seeds = workspace::target().join("tmp/seeds");
    // Those of a target that is no more would be looked for.
    let _ = fs::remove_dir_all(&seeds);
    process::show(Command::new(workspace::program("examples/seeds")).arg(&seeds))?;
    for target in fs::read_dir(&seeds).map_err(Error::io("read", &seeds))?.flatten() {
        let name = target.file_name().to_string_lossy().into_owned();
        let files = fs::read_dir(target.path()).map_err(Error::io("read", &target.path()))?;
        let files = files.flatten().map(|file| file.path());
        let run = process::capture(Command::new(workspace::program(&name)).args(files))?;
        if !run.status.success() {
            return Err(Error::unexpected(format!("{name}: {}", process::tail(&run.stderr, 20))));
        }
    }
    Ok(())
}

fn cargo(args: &[&str]) -> Result<()> {
    process::show(&mut workspace::cargo(args))
}

/// Runs a step, saying its name before and its time after.
fn step<T>(name: &str, body: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("── {name}");
    let started = Instant::now();
    let result = body();
    let took = duration(started.elapsed().as_secs_f64());
    match result {
        Ok(value) => {
            eprintln!("── {name}: passed in {took}");
            Ok(value)
        }
        Err(error) if error.is_interrupt() => Err(error),
        Err(error) => Err(Error {
            message: format!("check: {name} failed after {took}: {}", error.message),
            code: exit::UNEXPECTED,
            ..error
        }),
    }
}

/// What the tests find through the environment.
type Variables = Vec<(&'static str, OsString)>;

/// Obtains what the tests need. What cannot be had is left out, and the tests that need it say so;
/// where a skip is a failure, so is that.
fn obtain_assets(strict: bool) -> Result<Variables> {
    let mut found: Variables = vec![("FACETRACK_CACHE", cache::root()?.into())];
    if let Some(dir) = asset("weights", strict, obtain_weights)? {
        found.push(("FACETRACK_WEIGHTS_DIR", dir.into()));
    }
    found.extend(asset("test clip", strict, assets::obtain)?.into_iter().flatten());
    if let Some(python) = asset("python", strict, || PYTHON.obtain())? {
        found.push(("FACETRACK_PYTHON", python.into()));
    }
    if let Some(python) = asset("python of the benches", strict, || bench::PYTHON.obtain())? {
        found.push(("FACETRACK_BENCH_PYTHON", python.into()));
    }
    if strict {
        found.push((NO_SKIP, "1".into()));
    }
    Ok(found)
}

/// Makes sure that the weights of every network are there; returns their folder. Files in the folder `shared/weights`
/// beside the checkout count as downloaded: no registry holds the weights of `retail`, and a machine that cannot reach
/// their publisher tests without them.
pub(crate) fn obtain_weights() -> Result<PathBuf> {
    let folder = cache::folder("weights")?;
    let shared = workspace::root().with_file_name("shared").join("weights");
    for entry in fs::read_dir(shared).into_iter().flatten().flatten() {
        let target = folder.join(entry.file_name());
        if !target.exists() {
            fs::copy(entry.path(), &target).map_err(Error::io("write", &target))?;
        }
    }
    workspace::call(workspace::facetrack().args(["models", "fetch"]))?;
    Ok(folder)
}

fn asset<T>(name: &str, strict: bool, body: impl FnOnce() -> Result<T>) -> Result<Option<T>> {
    match step(name, body) {
        Ok(value) => Ok(Some(value)),
        Err(error) if strict || error.is_interrupt() => Err(error),
        Err(error) => {
            eprintln!("warning: {}; tests that need it are skipped", error.message);
            if let Some(hint) = &error.hint {
                eprintln!("hint: {hint}");
            }
            Ok(None)
        }
    }
}

/// Runs the tests, showing everything they print; returns how many were skipped.
fn test(kinds: &[&str], assets: &[(&'static str, OsString)]) -> Result<u64> {
    let mut command = workspace::cargo(["test", "--release", "--workspace", "--no-fail-fast"]);
    // Passing tests are silent unless asked, and we look for skips in what they say.
    command.args(kinds).args(["--", "--show-output"]).envs(assets.iter().cloned());
    let mut child = process::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let mut skipped = 0;
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).lines().map_while(std::io::Result::ok) {
            skipped += u64::from(is_skip(&line));
            say(&line);
        }
    }
    let status = process::wait(&mut child)?;
    if status.success() { Ok(skipped) } else { Err(Error::unexpected("see the list of failures above")) }
}

/// Makes the packages and tests them in a fresh Debian; returns how many tests were skipped.
fn package(assets: &[(&'static str, OsString)]) -> Result<u64> {
    if !system::has_apt() {
        return Ok(skip("packages are made on Debian only"));
    }
    let packages = dist::make()?;
    match clip_and_weights(assets) {
        Some((clip, weights)) => dist::test(&packages, clip, weights),
        None => Ok(skip("the packages are not tested without the clip and the weights")),
    }
}

/// Tests the recipes of `engines/` on a cluster; returns how many tests were skipped.
fn cluster(assets: &[(&'static str, OsString)]) -> Result<u64> {
    match clip_and_weights(assets) {
        _ if !system::has_apt() => Ok(skip("the cluster of the test is made of Debian's packages")),
        Some((clip, weights)) => archive::test(clip, weights),
        None => Ok(skip("the recipes of engines/ are not tested without the clip and the weights")),
    }
}

fn clip_and_weights<'a>(assets: &'a [(&'static str, OsString)]) -> Option<(&'a Path, &'a Path)> {
    let find = |name| assets.iter().find(|(known, _)| *known == name).map(|(_, path)| Path::new(path));
    find("FACETRACK_CLIP").zip(find("FACETRACK_WEIGHTS_DIR"))
}

/// Says that a test is skipped; returns 1.
fn skip(reason: &str) -> u64 {
    say(&format!("{SKIPPED} {reason}"));
    1
}

/// Says that this machine forbids mounts, devices or namespaces, which `what` needs. It could not have them at all, so
/// this counts as a skip only where skips are counted on request.
pub(crate) fn not_permitted(what: &str) -> u64 {
    eprintln!("warning: {what} needs root and the right to mount");
    u64::from(is_on(NO_SKIP))
}

fn is_skip(line: &str) -> bool {
    line.trim_start().starts_with(SKIPPED)
}

fn close(started: Instant, skipped: u64, strict: bool) -> Result<()> {
    let took = duration(started.elapsed().as_secs_f64());
    if strict && skipped > 0 {
        let message = format!("check: {skipped} tests were skipped, which counts as a failure here");
        return Err(Error::unexpected(message));
    }
    eprintln!("check: everything passed in {took}; {skipped} tests skipped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_recognised() {
        assert!(is_skip("SKIPPED: no clip"));
        assert!(is_skip("  SKIPPED: no weights"));
        assert!(!is_skip("test tells_what_was_SKIPPED: ok"));
    }

    #[test]
    fn a_failing_step_is_named_and_ends_with_one() {
        let result: Result<()> = step("paint", || Err(Error::new(3, "no colour").hint("buy some")));
        let error = result.err();
        assert!(
            error
                .as_ref()
                .is_some_and(|f| f.message.starts_with("check: paint failed after 0.0 s: no colour"))
        );
        assert_eq!(error.map(|f| (f.code, f.hint)), Some((1, Some("buy some".into()))));
    }

    #[test]
    fn skips_fail_where_they_must() {
        assert!(close(Instant::now(), 1, true).is_err());
        assert!(close(Instant::now(), 1, false).is_ok());
    }
}
