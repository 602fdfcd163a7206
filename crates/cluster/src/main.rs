//! `ftl-cluster`: the binary of stage 4.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, value_parser};

fn main() -> ExitCode {
    let edits = Arg::new("edits")
        .long("edits")
        .value_name("CSV")
        .value_parser(value_parser!(PathBuf))
        .help("what a person says of pairs of tracks: track_a,track_b,kind");
    run::stage::main(cluster::STAGE, [edits], |job, matches| {
        cluster::run(job, matches.get_one::<PathBuf>("edits").map(PathBuf::as_path))
    })
}
