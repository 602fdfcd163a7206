//! `ftl-datasets`: `store` and `make`, which `cargo xtask` calls. See the library.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use failure::Failure as _;
use testkit::error::Result;
use testkit::recipe::{self, Recipe};
use testkit::store;

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let result = match matches.subcommand() {
        Some(("store", m)) => store::store(given(m, "run"), given(m, "labels"), given(m, "into")),
        Some(("make", m)) => make(m),
        _ => Ok(()),
    };
    let Err(error) = result else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    ExitCode::from(error.exit_code())
}

fn cli() -> Command {
    let path = |name: &'static str, help: &'static str| {
        let arg = Arg::new(name).long(name).value_name("PATH").required(true).help(help);
        arg.value_parser(value_parser!(PathBuf))
    };
    let labels = || path("labels", "the labels, CSV");
    let store = Command::new("store")
        .about("Stores the tables of a run that linking and evaluation need")
        .args([path("run", "a finished run"), labels(), path("into", "the folder of the dataset")]);
    let make = Command::new("make").about("Generates a synthetic run and its labels from a recipe").args([
        path("recipe", "TOML"),
        path("run", "the run directory to create"),
        labels(),
    ]);
    Command::new("ftl-datasets")
        .about("Stores datasets of runs, and generates synthetic ones")
        .subcommand_required(true)
        .subcommands([store, make])
}

fn given<'a>(m: &'a ArgMatches, name: &str) -> &'a Path {
    m.get_one::<PathBuf>(name).map_or("".as_ref(), PathBuf::as_path)
}

fn make(m: &ArgMatches) -> Result<()> {
    recipe::write(&Recipe::read(given(m, "recipe"))?, given(m, "run"), given(m, "labels"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::cli().debug_assert();
    }
}
