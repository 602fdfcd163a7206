//! `ftl-detect-track`: the binary of stage 2.

use std::process::ExitCode;

use schema::stage::{self, file, path};

fn main() -> ExitCode {
    let own = [file("video", "the video file"), file("weights", "YuNet as safetensors")];
    stage::main(detect_track::STAGE, own, |job, arguments| {
        detect_track::run(job, &path(arguments, "video"), &path(arguments, "weights"))
    })
}
