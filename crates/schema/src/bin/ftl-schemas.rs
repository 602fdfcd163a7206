//! Writes the documents under `schemas/`, or checks that the committed ones are current.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, value_parser};

fn main() -> ExitCode {
    let matches = Command::new("ftl-schemas")
        .about("Writes the documents of the tables, or checks that they are current")
        .arg(Arg::new("folder").required(true).value_parser(value_parser!(PathBuf)))
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue))
        .get_matches();
    let Some(folder) = matches.get_one::<PathBuf>("folder") else { return ExitCode::from(2) };
    let result = if matches.get_flag("check") { check(folder) } else { write(folder) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write(folder: &Path) -> Result<(), String> {
    for (path, content) in schema::docs::documents() {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|e| format!("create {}: {e}", parent.display()))?;
        fs::write(&path, content).map_err(|e| format!("write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn check(folder: &Path) -> Result<(), String> {
    for (path, content) in schema::docs::documents() {
        let path = folder.join(path);
        let committed = fs::read_to_string(&path).map_err(|e| format!("read {}: {e}", path.display()))?;
        if committed != content {
            let hint = "raise the version of a released table, then run `cargo xtask schemas`";
            return Err(format!("{} differs from the source\nhint: {hint}", path.display()));
        }
    }
    Ok(())
}
