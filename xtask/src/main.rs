//! The project's tasks: `cargo xtask check`, `dist`, `archive`, `regress`, `dataset`, `bench`, `schemas`; and `cargo
//! xtask run` and the other verbs of `facetrack`, which is built and then takes over.
//!
//! This crate knows the program only by its command line and its events. It imports nothing heavy on purpose: it
//! must build and start in seconds, on a machine where nothing else of the project can be built yet.

mod archive;
mod assets;
mod bench;
mod check;
mod deny;
mod dist;
mod python;
mod reference;
mod regress;
mod schemas;
mod system;
mod workspace;

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use console::{Error, Result, process};

/// Verbs of `facetrack` that are passed on to it.
const VERBS: &str = "run review edits library find compare export import mcp validate redact forget models doctor settings \
                     stage completions";

/// Tasks of FaceTrackLinking
///
/// `run`, `review`, `edits`, `library`, `find`, `compare`, `export`, `import`, `mcp`, `validate`, `redact`, `models`,
/// `doctor`, `settings` and `stage` are verbs of facetrack: the task builds facetrack and runs it with the same
/// arguments. Before, with `--install-deps`, the task installs missing system packages.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
enum Task {
    /// Runs continuous integration: format, lints, build, schemas, tests
    Check(check::Options),
    /// Measures accuracy, or speed next to a baseline on the same cores
    Bench(bench::Options),
    /// Makes the Debian package and the tarball of the program, in target/dist
    Dist(dist::Options),
    /// Tests the recipes of engines/ on a Slurm cluster on this machine, with kills
    Archive(archive::Options),
    /// Generates schemas/ and docs/reference from the source
    Schemas {
        /// Only check: fail if the committed documents differ
        #[arg(long)]
        check: bool,
        /// Release the present table versions, with the tables of this run as examples
        #[arg(long, value_name = "RUN")]
        release: Option<PathBuf>,
    },
    /// Links and scores every stored dataset, and compares the metrics with the expected ones
    Regress(regress::Options),
    /// Stores a finished run as a dataset, without its pictures
    Dataset {
        /// Name of its folder in datasets/
        name: String,
        /// The finished run
        #[arg(long, value_name = "DIR")]
        run: PathBuf,
        /// Ground truth
        #[arg(long, value_name = "CSV")]
        labels: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|verb| VERBS.split(' ').any(|known| verb == known)) {
        let json = arguments.iter().any(|argument| argument == "--json");
        return match hand_over(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report("xtask", json),
        };
    }
    let task = Task::parse();
    let json = matches!(&task, Task::Bench(options) if options.json);
    match process::watch_interrupts().and_then(|()| perform(task)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report("xtask", json),
    }
}

/// Builds `facetrack`, with its system packages if requested, and executes it.
fn hand_over(mut arguments: Vec<OsString>) -> Result<()> {
    let before = arguments.len();
    arguments.retain(|argument| argument != "--install-deps");
    let install = arguments.len() < before;
    let opencv = workspace::needs_opencv(&arguments);
    let mut needs = vec![system::RUN];
    needs.extend(install.then_some(system::FETCH));
    needs.extend(opencv.then_some(system::OPENCV));
    system::ensure(&needs, install)?;
    workspace::build(opencv)?;
    // This process goes on as `facetrack`; it returns only where that fails.
    let error = workspace::facetrack().args(&arguments).exec();
    Err(Error::io("start", &workspace::program("facetrack"))(error))
}

fn perform(task: Task) -> Result<()> {
    match task {
        Task::Check(options) => check::check(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Dist(options) => dist::dist(&options),
        Task::Archive(options) => archive::archive(&options),
        Task::Schemas { check, release } => schemas::schemas(check, release.as_deref()),
        Task::Regress(options) => regress::regress(&options),
        Task::Dataset { name, run, labels } => regress::store(&name, &run, &labels),
    }
}

fn parse_count(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be an integer above 0".into())
}

fn parse_size(text: &str) -> std::result::Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|n| *n > 0 && n % 2 == 0);
    let size = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    size.ok_or_else(|| "must be two even numbers of pixels, like 1280x720".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Task::command().debug_assert();
    }

    #[test]
    fn sizes_are_two_even_numbers() {
        assert_eq!(parse_size("1280x720"), Ok((1280, 720)));
        for wrong in ["", "1280", "x", "1280x", "0x720", "1281x720", "1280x720x1", "-2x2"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
