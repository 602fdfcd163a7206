//! `ftl-embed`: the binary of stage 3.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, value_parser};

fn main() -> ExitCode {
    let weights = Arg::new("weights")
        .long("weights")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("SFace as safetensors");
    schema::stage::main(embed::STAGE, [weights], |job, arguments| {
        let weights = arguments.get_one::<PathBuf>("weights").cloned().unwrap_or_default();
        embed::run(job, &weights)
    })
}
