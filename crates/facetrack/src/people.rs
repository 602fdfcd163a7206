//! `facetrack library`: the people of several runs, one id each.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use failure::Failure as _;
use gallery::{Error, Library, RunIdentities};
use run::RunReader;
use run::edits::{Edit, EditOp, Faces, Log};
use run::stage::{Progress as _, Reporter};
use schema::tables::{Cluster, Identity};
use serde_json::{Map, Value, json};

use crate::cli::LibraryVerb;

/// Adds runs to a library, or removes a video.
pub(crate) fn main(verb: &LibraryVerb) -> ExitCode {
    let (LibraryVerb::Add { json, .. } | LibraryVerb::Remove { json, .. }) = verb;
    let mut reporter = Reporter::new("library", *json);
    let result = match verb {
        LibraryVerb::Add { library, run_dir, .. } => add(library, run_dir, &mut reporter),
        LibraryVerb::Remove { library, video_id, .. } => Library::open(library).and_then(|mut library| {
            library.remove(video_id)?;
            library.commit()?;
            Ok(figures(&library))
        }),
    };
    match result {
        Ok(figures) => reporter.done(is_unchanged(&figures), &figures, Map::new()),
        Err(error) => reporter.failed(&error),
    }
}

/// Whether an addition found nothing to add.
pub(crate) fn is_unchanged(figures: &Map<String, Value>) -> bool {
    figures.get("changed") == Some(&Value::Bool(false))
}

/// Adds runs, in their order. One that cannot be added does not keep the others out.
pub(crate) fn add(
    library: &Path,
    runs: &[PathBuf],
    reporter: &mut Reporter,
) -> Result<Map<String, Value>, Error> {
    let mut library = Library::open(library)?;
    if library.is_upgraded() {
        reporter.warn("the library was upgraded: its vectors are now the table `person_vectors`");
    }
    let (mut runs_added, mut codes, mut changed) = (Vec::new(), Vec::new(), false);
    for (number, run) in runs.iter().enumerate() {
        match RunIdentities::read(run).and_then(|seen| Ok((library.add(&seen)?, seen))) {
            Ok((added, seen)) => {
                changed |= !added.up_to_date;
                let (run, video) = (&seen.run_id, seen.video_id.as_str());
                runs_added.push(
                    json!({ "run_id": run, "video_id": video, "known": added.known, "new": added.new }),
                );
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
    for run in runs {
        // A run that cannot be read was reported above.
        if let Ok(named) = share_names(&library, run).map(|n| n > 0) {
            named.then(|| reporter.warn(&renamed(run)));
        }
    }
    if let Some(code) = codes.first() {
        return Err(Error::Some { failed: codes.len(), runs: runs.len(), code: *code });
    }
    let mut figures = figures(&library);
    figures.insert("changed".into(), changed.into());
    figures.insert("runs".into(), runs_added.into());
    Ok(figures)
}

fn renamed(run: &Path) -> String {
    let run = run.display();
    format!("the library names people of `{run}`; the next `facetrack run` shows the names")
}

/// Names people of a run as the library does, where the run does not name them and no correction did; gives their number.
fn share_names(library: &Library, root: &Path) -> Result<usize, Error> {
    let run = RunReader::open(root)?;
    let people = library.people_of(run.video_id()?.as_str())?;
    let unnamed: Vec<i64> =
        run.read::<Identity>()?.iter().filter(|row| row.name.is_none()).map(|row| row.cluster_id).collect();
    let named = people.into_iter().filter_map(|(id, person)| Some((id, person.name.clone()?)));
    let named: Vec<_> = named.filter(|(id, _)| unnamed.contains(id)).collect();
    if named.is_empty() {
        return Ok(0);
    }
    let (faces, clusters) = (Faces::read(&run)?, run.read::<Cluster>()?);
    let edit = |(id, name): &(i64, String)| {
        let tracks = clusters.iter().filter(|row| row.cluster_id == Some(*id)).map(|row| row.track_id);
        let edit = Edit::new(EditOp::Name, "library", vec![faces.marks(tracks)]);
        Edit { name: Some(name.clone()), reason: Some("same person in another video".into()), ..edit }
    };
    let mut log = Log::open(root)?;
    let mut n_named = 0;
    log.append_with(|log| {
        // An edit that was undone is not made again.
        let is_known = |edit: &Edit| {
            log.entries().iter().any(|old| old.edit.name == edit.name && old.edit.sides == edit.sides)
        };
        let edits: Vec<_> = named.iter().map(edit).filter(|edit| !is_known(edit)).collect();
        n_named = edits.len();
        Ok::<_, Error>(edits)
    })?;
    Ok(n_named)
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
