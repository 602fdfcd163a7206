//! `ftl-detect-track`: the binary of stage 2.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, value_parser};

fn main() -> ExitCode {
    let file = |name: &'static str, help: &'static str| {
        let path = value_parser!(PathBuf);
        Arg::new(name).long(name).value_name("FILE").required(true).value_parser(path).help(help)
    };
    let own = [file("video", "the video file"), file("weights", "YuNet as safetensors")];
    schema::stage::main(detect_track::STAGE, own, |job, arguments| {
        let path = |name: &str| arguments.get_one::<PathBuf>(name).cloned().unwrap_or_default();
        detect_track::run(job, &path("video"), &path("weights"))
    })
}
