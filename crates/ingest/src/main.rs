//! `ftl-ingest`: the binary of stage 1.

use std::process::ExitCode;

use run::stage::{self, file, path};

fn main() -> ExitCode {
    let own = [file("video", "the video file")];
    stage::main(ingest::STAGE, own, |job, arguments| ingest::run(job, &path(arguments, "video")))
}
