//! `ftl-embed`: the binary of stage 3.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction};
use embed::{Name, WeightFile};

fn main() -> ExitCode {
    let own = [
        weights("weights", "pinned weights of a network"),
        weights("own-weights", "the user's own weights of a network, in place of pinned ones"),
    ];
    run::stage::main(embed::STAGE, own, |job, matches| {
        let given = |option: &str, is_own| {
            let files = matches.get_many::<(Name, PathBuf)>(option).unwrap_or_default();
            files.map(move |(name, path)| WeightFile { name: *name, path: path.clone(), is_own })
        };
        let files: Vec<_> = given("weights", false).chain(given("own-weights", true)).collect();
        embed::run(job, &files)
    })
}

fn weights(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("NAME=FILE").action(ArgAction::Append).value_parser(parse).help(help)
}

fn parse(text: &str) -> Result<(Name, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("must be NAME=FILE, such as sface=my.onnx")?;
    let name: Name = name.parse()?;
    if !name.is_network() {
        return Err(format!("{name} has no weights"));
    }
    Ok((name, path.into()))
}
