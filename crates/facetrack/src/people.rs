//! `facetrack library`: gives each person of several runs one `person_id`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use console::{counted, process};
use failure::Failure as _;
use gallery::{Added, Error, Library, RunIdentities, Saving};
use run::RunReader;
use run::edits::{Edit, EditOp, Entry, Faces, Log, Mark};
use run::stage::{Progress as _, Reporter, cores};
use schema::tables::{Cluster, Member};
use serde_json::{Map, Value, json};

use crate::cli::{LibraryVerb, NEVER};
use crate::progress::Screen;
use crate::{library_edits, migrate, stages};

/// Author of the corrections that the program adds to runs of a library.
pub(crate) const AUTHOR: &str = "library";

/// Executes a verb of `facetrack library`.
pub(crate) fn main(verb: &LibraryVerb) -> ExitCode {
    match verb {
        LibraryVerb::Build { library, run_dir, runs_from, threads, save_every, expires, json, .. } => {
            perform(*json, |reporter| {
                let runs = listed(run_dir, runs_from.as_deref())?;
                if let Some(day) = expires {
                    // The day counts even if the runs cannot be read.
                    set_expiry(library, day)?;
                }
                let saving =
                    save_every.map_or_else(Saving::default, |runs| Saving { runs, ..Saving::default() });
                add(library, &runs, How::Build(saving), threads.unwrap_or_else(cores), reporter)
            })
        }
        LibraryVerb::Add { library, run_dir, json, .. } => {
            perform(*json, |reporter| add(library, run_dir, How::Add, 1, reporter))
        }
        LibraryVerb::Remove { library, video_id, json, .. } => perform(*json, |_| {
            let mut library = Library::open(library)?;
            library.remove(video_id)?;
            library.commit()?;
            library.write_page()?;
            Ok(figures(&library))
        }),
        LibraryVerb::Migrate(args) => {
            let done = process::watch_interrupts().and_then(|()| migrate::main(args));
            done.map_or_else(|error| error.report("library", args.json), |()| ExitCode::SUCCESS)
        }
    }
}

/// Changes a library, and reports its figures.
fn perform(json: bool, change: impl FnOnce(&mut Reporter) -> Result<Map<String, Value>, Error>) -> ExitCode {
    let mut reporter = Reporter::new("library", json);
    match change(&mut reporter) {
        Ok(figures) => {
            if json {
                return reporter.done(is_unchanged(&figures), &figures, Map::new());
            }
            say_summary(&figures);
            ExitCode::SUCCESS
        }
        Err(error) => reporter.failed(&error),
    }
}

/// Prints how many people a gallery has, and the path of its page.
pub(crate) fn say_summary(figures: &Map<String, Value>) {
    let page = figures.get("page").and_then(Value::as_str).unwrap_or_default();
    eprintln!("gallery: {}", summary(figures));
    eprintln!("page of the gallery: {page}");
}

fn summary(figures: &Map<String, Value>) -> String {
    let number = |key: &str| figures.get(key).and_then(Value::as_u64).unwrap_or(0);
    let people = counted(number("people") as usize, "person", "people");
    let videos = counted(number("videos") as usize, "video", "videos");
    let unchanged = if is_unchanged(figures) { "; nothing has changed" } else { "" };
    format!(
        "{people} in {videos}, {} of them in several videos{unchanged}",
        number("people_in_several_videos")
    )
}

/// Whether an addition found nothing to add.
pub(crate) fn is_unchanged(figures: &Map<String, Value>) -> bool {
    figures.get("changed") == Some(&Value::Bool(false))
}

/// Way of adding runs to a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// One run after the other; videos that are not among the runs stay in the library.
    Add,
    /// All runs at once; videos that are not among the runs are removed from the library.
    Build(Saving),
    /// [`How::Build`] if the library has no video that is not among the runs, otherwise [`How::Add`].
    Either,
}

/// Adds runs to a library and returns the figures of the library. A run that cannot be read is reported and skipped.
///
/// # Errors
/// When a run was skipped, and when the library cannot be read or written.
pub(crate) fn add(
    library: &Path,
    runs: &[PathBuf],
    how: How,
    threads: usize,
    reporter: &mut Reporter,
) -> Result<Map<String, Value>, Error> {
    let mut library = Library::open(library)?;
    if library.is_upgraded() {
        reporter.warn(
            "the gallery was upgraded to the format of this version, which earlier versions cannot read",
        );
    }
    let mut codes = Vec::new();
    let mut report = |error: &Error, reporter: &mut Reporter| {
        let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        reporter.warn(&format!("{error}{hint}"));
        codes.push(error.exit_code());
    };
    let (reading, saving) = match how {
        How::Build(saving) => (saving, saving),
        How::Add | How::Either => (Saving::NEVER, Saving::default()),
    };
    let mut seen = library.read_runs(runs, reading, |number, error| {
        error.iter().for_each(|error| report(error, reporter));
        reporter.advance(number as u64, runs.len() as u64, "runs");
    })?;
    let is_build = matches!(how, How::Build(_)) || how == How::Either && library.is_of(&seen);
    let mut added = Vec::new();
    if is_build {
        added = library.build(&seen, threads, saving)?;
    } else {
        if seen.iter().flat_map(|run| &run.people).any(|person| person.series_uid.is_some()) {
            reporter.warn(
                "the people of the series are matched one by one, because the gallery has other videos; `facetrack library \
                 build` of all runs keeps the people of the series together",
            );
        }
        seen.retain(|run| match library.add(run) {
            Ok(of_run) => {
                added.push(of_run);
                true
            }
            Err(error) => {
                report(&error, reporter);
                false
            }
        });
    }
    let changed = added.iter().any(|of_run| !of_run.up_to_date);
    // `build` may have removed videos from the library.
    if is_build || changed || library.has_moved() {
        library.commit()?;
    }
    let n_named = share_names(&mut library, reporter)?;
    same_names(&library)?.iter().for_each(|sentence| reporter.warn(sentence));
    library.write_page()?;
    if let Some(code) = codes.first() {
        return Err(Error::Some { failed: codes.len(), runs: runs.len(), code: *code });
    }
    let of_run = |(run, added): (&RunIdentities, &Added)| {
        let (run, video) = (&run.run_id, run.video_id.as_str());
        json!({ "run_id": run, "video_id": video, "known": added.known, "new": added.new })
    };
    let mut figures = figures(&library);
    figures.insert("changed".into(), changed.into());
    figures.insert("runs_named".into(), n_named.into());
    figures.insert("runs".into(), seen.iter().zip(&added).map(of_run).collect());
    Ok(figures)
}

/// Sets the day from which a gallery must be gone; `never` removes it.
///
/// # Errors
/// When the library cannot be read or written.
pub(crate) fn set_expiry(library: &Path, day: &str) -> Result<(), Error> {
    let mut library = Library::open(library)?;
    library.set_expiry(Some(day.to_owned()).filter(|day| day != NEVER));
    library.commit()
}

/// Returns the runs of `--run-dir`, and those of a file or of standard input (`-`) with one path per line.
fn listed(run_dirs: &[PathBuf], from: Option<&Path>) -> Result<Vec<PathBuf>, Error> {
    let mut runs = run_dirs.to_vec();
    if let Some(from) = from {
        let text = match from.to_str() {
            Some("-") => std::io::read_to_string(std::io::stdin()),
            _ => std::fs::read_to_string(from),
        };
        let text = text.map_err(|error| Error::Run(run::Error::io("read", from)(error)))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        runs.extend(lines.map(PathBuf::from));
    }
    Ok(runs)
}

/// Names the people of all runs of a library as the library names them, and runs `cluster` and `evaluate` again on
/// these runs. Returns the number of runs with a new name.
///
/// # Errors
/// When a file of the library cannot be read or written. A run that cannot be named is reported.
pub(crate) fn share_names(library: &mut Library, reporter: &mut Reporter) -> Result<usize, Error> {
    if library.people().all(|person| person.name.is_none()) {
        return Ok(0);
    }
    let (mut named, mut gone) = (Vec::new(), Vec::new());
    let tables = library.members_of_all()?;
    for (video, rows) in library.videos().zip(&tables) {
        let name = |row: &Member| {
            let name = library.person(row.person_id)?.name.clone()?;
            (row.name.as_ref() != Some(&name)).then(|| (row.clone(), name))
        };
        let names: Vec<(Member, String)> = rows.iter().filter_map(name).collect();
        let run_dir = video.run_dir.as_deref().filter(|_| !names.is_empty());
        match run_dir.filter(|_| video.is_as_added(rows)) {
            Some(run_dir) if name_people(run_dir, &names)? > 0 => named.push(run_dir.to_path_buf()),
            None if !names.is_empty() => gone.push(video.run_id),
            _ => {}
        }
    }
    if !gone.is_empty() {
        reporter.warn(&format!(
            "these runs did not get the names of the gallery, because they were moved or changed: {}; add the runs again",
            gone.join(", ")
        ));
    }
    let mut n_updated = 0;
    for run_dir in &named {
        match update(run_dir) {
            Ok(()) => n_updated += usize::from(!library.add(&RunIdentities::read(run_dir)?)?.up_to_date),
            Err(reason) => reporter.warn(&format!(
                "the gallery names people of `{}`; the next `facetrack run` shows the names, because {reason}",
                run_dir.display()
            )),
        }
    }
    if n_updated > 0 {
        library.commit()?;
    }
    Ok(named.len())
}

/// Returns a sentence for each name of several people who may be one person, with the command that merges the people.
///
/// # Errors
/// When a file of the library cannot be read.
pub(crate) fn same_names(library: &Library) -> Result<Vec<String>, Error> {
    let mut by_name: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for person in library.people() {
        if let Some(name) = &person.name {
            by_name.entry(name).or_default().push(person.person_id);
        }
    }
    let apart = library.apart()?;
    let root = library.root().display();
    let sentence = |(name, ids): (&str, Vec<i64>)| {
        let is_open = ids.windows(2).any(|pair| !apart.contains(&(pair[0], pair[1])));
        let ids: Vec<_> = ids.iter().map(i64::to_string).collect();
        let merge = format!("`facetrack edits add merge {root} {}`", ids.join(" "));
        is_open.then(|| format!("several people are called `{name}`: {merge} makes them one"))
    };
    Ok(by_name.into_iter().filter_map(sentence).collect())
}

/// Whether the page of a run was made with labels.
pub(crate) fn has_labels(run: &RunReader) -> bool {
    let record = run.manifest().stage(evaluate::STAGE.name);
    record.is_some_and(|record| record.inputs.iter().any(|input| input.name == "labels"))
}

/// The other runs that a run is linked together with, as a series.
///
/// # Errors
/// When the settings of the run cannot be read.
pub(crate) fn series_of(run_dir: &Path) -> run::Result<Vec<PathBuf>> {
    let file = run_dir.join("config.toml");
    let config: cluster::Config =
        run::stage::read_config(file.is_file().then_some(file.as_path()), &[], cluster::STAGE.name)?;
    Ok(config.series.iter().map(|other| run_dir.join(other)).collect())
}

/// Runs `cluster` and `evaluate` again on a run.
///
/// # Errors
/// The reason as a clause. The page of a run with labels is not made again, because it would lose its metrics.
pub(crate) fn update(run_dir: &Path) -> Result<(), String> {
    if RunReader::open(run_dir).is_ok_and(|run| has_labels(&run)) {
        return Err("its page was made with labels".into());
    }
    let stages = [cluster::STAGE, evaluate::STAGE];
    let screen = &mut Screen::new(false, true);
    stages::again(&stages, run_dir, Vec::new(), None, screen).map_err(|error| error.message)
}

/// Adds corrections to a run that give names to people, each given by the row in the library. A correction that the log has, even undone, is not
/// added again. Returns the number of new corrections.
fn name_people(root: &Path, names: &[(Member, String)]) -> Result<usize, Error> {
    let run = RunReader::open(root)?;
    let (faces, clusters) = (Faces::read(&run)?, run.read::<Cluster>()?);
    let edit = |(row, name): &&(Member, String)| {
        let edit = Edit::new(EditOp::Name, AUTHOR, vec![marks(row.cluster_id, &clusters, &faces)]);
        Edit { name: Some(name.clone()), reason: Some("same person in another video".into()), ..edit }
    };
    let mut n_named = 0;
    Log::open(root)?.append_with(|log| {
        let is_known = |edit: &Edit| log.entries().iter().any(|old| old.edit.says_the_same(edit));
        // A name that a user gave in this run stays.
        let is_of_user = |name: &String| {
            let named = |e: &&Entry| e.edit.op == EditOp::Name && e.edit.name.as_ref() == Some(name);
            let last = log.active().filter(named).last().map(|entry| &entry.edit);
            last.is_some_and(|edit| edit.author != AUTHOR && !library_edits::is_of_gallery(edit))
        };
        let free = names.iter().filter(|(row, _)| !row.name.as_ref().is_some_and(is_of_user));
        let edits: Vec<_> = free.map(|of| edit(&of)).filter(|edit| !is_known(edit)).collect();
        n_named = edits.len();
        Ok::<_, Error>(edits)
    })?;
    Ok(n_named)
}

/// Returns the marks of the tracks of a cluster.
pub(crate) fn marks(cluster_id: i64, clusters: &[Cluster], faces: &Faces) -> Vec<Mark> {
    let tracks = clusters.iter().filter(|row| row.cluster_id == Some(cluster_id)).map(|row| row.track_id);
    faces.marks(tracks)
}

fn figures(library: &Library) -> Map<String, Value> {
    let several = library.people().filter(|person| person.n_videos > 1).count();
    Map::from_iter([
        ("videos".into(), library.n_videos().into()),
        ("people".into(), library.people().count().into()),
        ("people_in_several_videos".into(), several.into()),
        ("table".into(), library.people_file().display().to_string().into()),
        ("page".into(), library.root().join(gallery::PAGE).display().to_string().into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gallery_is_summed_up_in_one_sentence() {
        let mut figures = Map::from_iter([
            ("people".into(), 18.into()),
            ("videos".into(), 4.into()),
            ("people_in_several_videos".into(), 13.into()),
        ]);
        assert_eq!(summary(&figures), "18 people in 4 videos, 13 of them in several videos");
        figures.insert("changed".into(), false.into());
        assert!(summary(&figures).ends_with(" several videos; nothing has changed"));
    }
}
