//! `ftl-evaluate`: the last stage of a run. See the library for what it does.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, value_parser};

fn main() -> ExitCode {
    let labels = Arg::new("labels")
        .long("labels")
        .value_name("CSV")
        .value_parser(value_parser!(PathBuf))
        .help("ground truth with the columns frame, x, y, w, h, identity and, to judge tracks, shot");
    run::stage::main(evaluate::STAGE, [labels], |job, matches| {
        evaluate::run(job, matches.get_one::<PathBuf>("labels").map(PathBuf::as_path))
    })
}
