//! `ftl-exchange`: `validate`, `export` and `import`, which `cargo xtask` passes on. See the library.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use failure::Failure as _;
use formats::export::Format;
use formats::labels::{self, Source};
use formats::run::Run;
use formats::{Error, Result};

/// Faults that are told one by one.
const MOST_FAULTS: usize = 1000;

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let result = match matches.subcommand() {
        Some(("validate", m)) => return tell_faults(m),
        Some(("export", m)) => write_export(m),
        Some(("import", m)) => write_labels(m),
        _ => Ok(()),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    failed(&error)
}

fn failed(error: &dyn failure::Failure) -> ExitCode {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(error.exit_code())
}

fn cli() -> Command {
    let path = |name: &'static str, value: &'static str| {
        Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf))
    };
    let out = || path("out", "FILE").help("where to [default: standard output]");
    let validate = Command::new("validate")
        .about(
            "Checks tables against the published schemas, and those of a run or a library against each other",
        )
        .after_help(
            "One line a fault on standard output. Exit codes: 0 no fault, 1 unexpected, 2 usage, 4 faults.",
        )
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("a run directory, a library, a folder of tables, or one table"),
        );
    let export = Command::new("export")
        .about("Writes who is where in a run in the format of another tool")
        .args([path("run", "DIR").required(true).help("the run directory"), out()])
        .arg(
            Arg::new("to")
                .long("to")
                .value_name("FORMAT")
                .required(true)
                .value_parser(Format::NAMES)
                .help("the format"),
        );
    let import = Command::new("import")
        .about("Writes labels that another tool made as the CSV that `run --labels` takes")
        .args([
            path("labels", "FILE").required(true).help("MOTChallenge (.txt), CVAT for video (.xml), or CSV"),
            out(),
            Arg::new("from")
                .long("from")
                .value_name("FORMAT")
                .value_parser(Source::NAMES)
                .help("the format [default: by the file's ending]"),
            Arg::new("first-frame")
                .long("first-frame")
                .value_name("N")
                .value_parser(value_parser!(i64))
                .help("number of the first frame in the file [default: 1 with mot, else 0]"),
            Arg::new("frames")
                .long("frames")
                .value_name("N")
                .value_parser(value_parser!(i64).range(1..=labels::MOST_FRAMES))
                .help("every frame of so many was looked at, so those without a face have none"),
        ]);
    Command::new("ftl-exchange")
        .bin_name("cargo xtask")
        .about("Tables checked, exported, and labels imported")
        .subcommand_required(true)
        .subcommands([validate, export, import])
}

fn given<'a>(m: &'a ArgMatches, name: &str) -> &'a Path {
    m.get_one::<PathBuf>(name).map_or("".as_ref(), PathBuf::as_path)
}

fn tell_faults(m: &ArgMatches) -> ExitCode {
    let path = given(m, "path");
    let verdict = if gallery::validate::is_library(path) {
        gallery::validate::validate(path).map_err(|error| failed(&error))
    } else {
        run::validate::validate(path).map_err(|error| failed(&error))
    };
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(code) => return code,
    };
    let mut lines: Vec<_> = verdict.faults.iter().take(MOST_FAULTS).map(ToString::to_string).collect();
    if let Some(more) = verdict.faults.len().checked_sub(MOST_FAULTS).filter(|more| *more > 0) {
        lines.push(format!("and {more} faults more"));
    }
    say(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    if verdict.faults.is_empty() {
        let rows: usize = verdict.rows.values().sum();
        eprintln!("{}: {} tables with {rows} rows are as they should be", path.display(), verdict.rows.len());
        return ExitCode::SUCCESS;
    }
    failed(&Error::Faults { path: path.to_path_buf(), faults: verdict.faults.len() })
}

fn write_export(m: &ArgMatches) -> Result<()> {
    let format = m.get_one::<String>("to").and_then(|name| Format::by_name(name)).unwrap_or(Format::Csv);
    put(m, &format.write(&Run::read(given(m, "run"))?))
}

fn write_labels(m: &ArgMatches) -> Result<()> {
    let path = given(m, "labels");
    let source = match m.get_one::<String>("from") {
        Some(name) => Source::by_name(name),
        None => Source::of(path),
    };
    let source = source.ok_or_else(|| Error::UnknownFormat { path: path.to_path_buf() })?;
    let content =
        fs::read(path).map_err(|source| Error::Io { action: "read", path: path.to_path_buf(), source })?;
    let first = m.get_one::<i64>("first-frame").copied().unwrap_or_else(|| source.first_frame());
    let labels = source.read(&content, first, m.get_one::<i64>("frames").copied());
    let labels = labels.map_err(|(line, reason)| Error::Labels { path: path.to_path_buf(), line, reason })?;
    put(m, &labels::write(&labels))
}

/// To the file that was named, or to standard output.
fn put(m: &ArgMatches, text: &str) -> Result<()> {
    let Some(path) = m.get_one::<PathBuf>("out") else {
        say(text);
        return Ok(());
    };
    fs::write(path, text).map_err(|source| Error::Io { action: "write", path: path.clone(), source })
}

/// A reader that has gone away is no failure of ours.
fn say(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::cli().debug_assert();
    }
}
