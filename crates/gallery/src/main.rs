//! `ftl-library`: adds runs to a library and removes videos from it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use failure::Failure as _;
use gallery::{Added, Error, Library, RunIdentities};
use run::stage::{Progress as _, Reporter};
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let Some((task, matches)) = matches.subcommand() else { return ExitCode::SUCCESS };
    let mut reporter = Reporter::new("library", matches.get_flag("json"));
    let result = match task {
        "add" => add(matches, &mut reporter),
        _ => remove(matches),
    };
    match result {
        Ok(figures) => {
            reporter.done(figures.get("changed") == Some(&Value::Bool(false)), &figures, Map::new())
        }
        Err(error) => reporter.failed(&error),
    }
}

fn cli() -> Command {
    let path = |name: &'static str| {
        Arg::new(name).long(name).value_name("DIR").required(true).value_parser(value_parser!(PathBuf))
    };
    let json =
        || Arg::new("json").long("json").action(ArgAction::SetTrue).help("JSON Lines on standard output");
    let library = || path("library").help("directory of the library");
    Command::new("ftl-library")
        .about("One id for a person in all videos")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            Command::new("add").about("Links the people of finished runs to those of the library").args([
                library(),
                path("run-dir").action(ArgAction::Append).help("a finished run; may be given several times"),
                json(),
            ]),
            Command::new("remove").about("Forgets a video, and whoever is in no other").args([
                library(),
                Arg::new("video-id")
                    .long("video-id")
                    .value_name("ID")
                    .required(true)
                    .help("key of the video"),
                json(),
            ]),
        ])
}

/// Adds runs, in their order. One that cannot be added does not keep the others out.
fn add(matches: &ArgMatches, reporter: &mut Reporter) -> Result<Map<String, Value>, Error> {
    let runs: Vec<&PathBuf> = matches.get_many("run-dir").into_iter().flatten().collect();
    let mut library = Library::open(given(matches, "library"))?;
    if library.is_upgraded() {
        reporter.warn("the library was upgraded: its vectors are now the table `person_vectors`");
    }
    let (mut runs_added, mut codes, mut changed) = (Vec::new(), Vec::new(), false);
    for (number, run) in runs.iter().enumerate() {
        match RunIdentities::read(run).and_then(|seen| Ok((library.add(&seen)?, seen))) {
            Ok((added, seen)) => {
                changed |= !added.up_to_date;
                runs_added.push(told(&seen, added));
            }
            Err(error) => {
                let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
                reporter.warn(&format!("{error}{hint}"));
                codes.push(error.exit_code());
            }
        }
        reporter.advance(number as u64 + 1, runs.len() as u64, "runs");
    }
    if changed {
        library.commit()?;
    }
    if let Some(code) = codes.first() {
        return Err(Error::Some { failed: codes.len(), runs: runs.len(), code: *code });
    }
    let mut figures = figures(&library);
    figures.insert("changed".into(), changed.into());
    figures.insert("runs".into(), runs_added.into());
    Ok(figures)
}

fn told(seen: &RunIdentities, added: Added) -> Value {
    json!({
        "run_id": seen.run_id,
        "video_id": seen.video_id.as_str(),
        "known": added.known,
        "new": added.new,
    })
}

fn remove(matches: &ArgMatches) -> Result<Map<String, Value>, Error> {
    let mut library = Library::open(given(matches, "library"))?;
    library.remove(matches.get_one::<String>("video-id").map_or("", String::as_str))?;
    library.commit()?;
    Ok(figures(&library))
}

fn given<'a>(matches: &'a ArgMatches, name: &str) -> &'a Path {
    matches.get_one::<PathBuf>(name).map_or(Path::new(""), PathBuf::as_path)
}

fn figures(library: &Library) -> Map<String, Value> {
    let several = library.people().filter(|person| person.n_videos > 1).count();
    Map::from_iter([
        ("videos".into(), library.n_videos().into()),
        ("people".into(), library.people().count().into()),
        ("people_in_several_videos".into(), several.into()),
        ("table".into(), library.people_file().display().to_string().into()),
    ])
}
