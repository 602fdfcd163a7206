//! `ftl-ingest`: the binary of stage 1.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, value_parser};

fn main() -> ExitCode {
    let video = Arg::new("video")
        .long("video")
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help("the video file");
    schema::stage::main(ingest::STAGE, [video], |job, arguments| {
        let video = arguments.get_one::<PathBuf>("video").cloned().unwrap_or_default();
        ingest::run(job, &video)
    })
}
