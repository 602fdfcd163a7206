//! `ftl-cluster`: the binary of stage 4.

use std::process::ExitCode;

fn main() -> ExitCode {
    schema::stage::main(cluster::STAGE, [], |job, _| cluster::run(job))
}
