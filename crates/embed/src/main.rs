//! `ftl-embed`: the binary of stage 3.

use std::process::ExitCode;

use schema::stage::{self, file, path};

fn main() -> ExitCode {
    let own = [file("weights", "SFace as safetensors")];
    stage::main(embed::STAGE, own, |job, arguments| embed::run(job, &path(arguments, "weights")))
}
