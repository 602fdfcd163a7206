//! `facetrack`: from a video to tables and a page that shows who is in it.
//!
//! One program. `run` starts every stage as a process of its own by executing this very program
//! ([`stage`]), so that a crash in a library that decodes or detects ends one stage and not the run. All other
//! verbs call the crates that do the work.
//!
//! * [`cli`]: verbs and options. [`single`], [`several`]: `run` on one video, and on several that are linked.
//! * [`stages`]: stages as processes: arguments, events, crashes. [`skip`]: past frames that crash one. [`mod@stamp`]:
//!   hashes of the results for workflow engines.
//! * [`sources`], [`models`]: which networks a run needs, and their weights.
//! * [`tables`]: `export`, `import`, `validate`. [`people`], [`migrate`]: `library`. [`find`], [`compare`], [`edits`],
//!   [`library_edits`], [`review`], [`mcp`], [`redact`], [`subject`], [`keys`], [`doctor`], [`settings`], [`annotate`].

mod annotate;
mod cli;
mod compare;
mod doctor;
mod edits;
mod find;
mod keys;
mod library_edits;
mod mcp;
mod migrate;
mod models;
mod outputs;
mod people;
mod progress;
mod redact;
mod review;
mod settings;
mod several;
mod single;
mod skip;
mod sources;
mod stage;
mod stages;
mod stamp;
mod subject;
mod tables;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use console::{Error, Result, exit, process};

use crate::cli::{Cli, ModelsVerb, Verb};

fn main() -> ExitCode {
    let cli = Cli::parse_from(cli::with_verb(std::env::args_os()));
    let json = match &cli.verb {
        Verb::Run(run) => run.json,
        Verb::Redact(redact) => redact.json,
        Verb::SubjectReport(subject) => subject.json,
        Verb::Edits(verb) => verb.json(),
        Verb::Compare(compare) => compare.json,
        Verb::Find(find) => find.json,
        Verb::Stage(stage) => stage.shared().json,
        _ => false,
    };
    run::lock::set_patience(cli.verb.patience());
    let Cli { verb, key } = cli;
    let ready = if verb.uses_key() { key.apply() } else { Ok(()) };
    match ready.and_then(|()| dispatch(verb)) {
        Ok(code) => code,
        Err(error) => error.report("facetrack", json),
    }
}

fn dispatch(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Stage(stage) => return Ok(stage::main(stage)),
        Verb::Library(verb) => return Ok(people::main(&verb)),
        Verb::Run(run) => process::watch_interrupts().and_then(|()| several::run(&run))?,
        Verb::Redact(redact) => process::watch_interrupts().and_then(|()| redact::redact(&redact))?,
        Verb::SubjectReport(subject) => process::watch_interrupts().and_then(|()| subject::main(&subject))?,
        Verb::Edits(verb) => process::watch_interrupts().and_then(|()| edits::main(&verb))?,
        Verb::Review(review) => process::watch_interrupts().and_then(|()| review::main(&review))?,
        Verb::Export(export) => tables::export(&export)?,
        Verb::Compare(compare) => compare::main(&compare)?,
        Verb::Find(find) => process::watch_interrupts().and_then(|()| find::main(&find))?,
        Verb::Import(import) => tables::import(&import)?,
        Verb::Mcp { path } => mcp::main(&path)?,
        Verb::Validate { path } => tables::validate(&path)?,
        Verb::Key(verb) => process::watch_interrupts().and_then(|()| keys::main(&verb))?,
        Verb::Models(models) => match models.verb {
            Some(ModelsVerb::Fetch { names, weights }) => {
                process::watch_interrupts().and_then(|()| models::fetch(&names, weights.given()))?;
            }
            Some(ModelsVerb::List { weights }) => models::list(weights.given())?,
            None => models::list(models.weights.given())?,
        },
        Verb::Doctor { weights } => doctor::doctor(weights.given())?,
        Verb::Settings => settings::print()?,
        Verb::Defaults => settings::print_defaults()?,
        Verb::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "facetrack", &mut script);
            console::say(String::from_utf8_lossy(&script).trim_end());
        }
        Verb::Man { folder } => {
            clap_mangen::generate_to(Cli::command(), &folder).map_err(Error::io("write", &folder))?;
        }
        Verb::Schemas { folder, check, release } => match release {
            Some(run) => schema::published::release(&folder, &run),
            None if check => schema::published::check(&folder),
            None => schema::published::write(&folder),
        }
        .map_err(Error::unexpected)?,
        Verb::Convert { from, to, names } => {
            let pairs: Option<Vec<_>> = names.iter().map(|pair| pair.split_once('=')).collect();
            let pairs = pairs.ok_or_else(|| Error::new(exit::USAGE, "pass names of tensors as NEW=OLD"))?;
            nn::weights::convert(&from, &to, &pairs)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
