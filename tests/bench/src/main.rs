//! Our side of `cargo xtask bench`: a network ([`networks`]) or linking ([`linking`]), timed on request.

mod linking;
mod networks;
mod on_device;
mod peak;
mod process;
mod requests;

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Arg, Command, value_parser};
use serde_json::Value;

/// What may go wrong ends the program; `xtask` shows it.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let done = match matches.subcommand() {
        Some(("network", arguments)) => requests::answer_requests(arguments),
        Some(("people", arguments)) => linking::make_people(arguments),
        Some(("cluster", arguments)) => linking::link_people(arguments),
        _ => Ok(()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            let known = error.downcast_ref::<nn::device::Error>().map(failure::Failure::advice);
            let Some(advice) = known else { return ExitCode::FAILURE };
            advice.hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
            ExitCode::from(advice.exit_code)
        }
    }
}

fn cli() -> Command {
    Command::new("ftl-bench")
        .about("Our side of `cargo xtask bench`")
        .subcommand_required(true)
        .subcommands([requests::command(), linking::people_command(), linking::cluster_command()])
}

/// Worker threads.
fn threads() -> Arg {
    Arg::new("threads").long("threads").default_value("1").value_parser(value_parser!(u16).range(1..))
}

fn say(object: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{object}")?;
    Ok(out.flush()?)
}
