//! `ftl-forget`: takes people or pictures out of a run; told nothing, it looks whether they are gone.

use std::process::ExitCode;

use clap::{Arg, ArgAction, value_parser};
use forget::Request;

fn main() -> ExitCode {
    let own = [
        Arg::new("identity")
            .long("identity")
            .value_name("N,..")
            .value_delimiter(',')
            .value_parser(value_parser!(i64))
            .help("people to forget, as `identities` numbers them"),
        Arg::new("pictures").long("pictures").action(ArgAction::SetTrue).help("forget every picture"),
    ];
    run::stage::main(forget::TASK, own, |job, matches| {
        let identities = matches.get_many("identity").into_iter().flatten().copied().collect();
        forget::run(job, &Request { identities, pictures: matches.get_flag("pictures") })
    })
}
