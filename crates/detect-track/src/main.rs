//! `ftl-detect-track`: the binary of stage 2.

use std::path::PathBuf;
use std::process::ExitCode;

use run::stage::{self, file, path};

fn main() -> ExitCode {
    let weights = file("weights", "YuNet as safetensors, unless another detector is chosen").required(false);
    stage::main(detect_track::STAGE, [file("video", "the video file"), weights], |job, arguments| {
        let weights = arguments.get_one::<PathBuf>("weights").map(PathBuf::as_path);
        detect_track::run(job, &path(arguments, "video"), weights)
    })
}
