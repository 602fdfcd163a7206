//! Writes the documents under `schemas/`, checks that the committed ones are current, or releases them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};
use schema::published;

fn main() -> ExitCode {
    let path = || value_parser!(PathBuf);
    let matches = Command::new("ftl-schemas")
        .about("Writes the documents of the tables, checks that they are current, or releases them")
        .arg(Arg::new("folder").required(true).value_parser(path()))
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue))
        .arg(
            Arg::new("release")
                .long("release")
                .value_name("RUN")
                .conflicts_with("check")
                .value_parser(path()),
        )
        .get_matches();
    let Some(folder) = matches.get_one::<PathBuf>("folder") else { return ExitCode::from(2) };
    let result = match matches.get_one::<PathBuf>("release") {
        Some(run) => published::release(folder, run),
        None if matches.get_flag("check") => published::check(folder),
        None => published::write(folder),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}
