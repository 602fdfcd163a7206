//! `facetrack library`: gives each person of several runs one `person_id`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use failure::Failure as _;
use gallery::{Added, Error, Library, RunIdentities};
use run::RunReader;
use run::edits::{Edit, EditOp, Faces, Log};
use run::stage::{Progress as _, Reporter, cores};
use schema::tables::{Cluster, Identity};
use serde_json::{Map, Value, json};

use crate::cli::LibraryVerb;

/// Builds a library, adds runs to it, or removes a video.
pub(crate) fn main(verb: &LibraryVerb) -> ExitCode {
    let (LibraryVerb::Build { json, .. } | LibraryVerb::Add { json, .. } | LibraryVerb::Remove { json, .. }) =
        verb;
    let mut reporter = Reporter::new("library", *json);
    let result = match verb {
        LibraryVerb::Build { library, run_dir, runs_from, threads, .. } => {
            let threads = threads.unwrap_or_else(cores);
            listed(run_dir, runs_from.as_deref())
                .and_then(|runs| add(library, &runs, How::Build, threads, &mut reporter))
        }
        LibraryVerb::Add { library, run_dir, .. } => add(library, run_dir, How::Add, 1, &mut reporter),
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

/// Way of adding runs to a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// One run after the other; videos that are not among the runs stay in the library.
    Add,
    /// All runs at once; videos that are not among the runs are removed from the library.
    Build,
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
            "the library was upgraded to the format of this version, which earlier versions cannot read",
        );
    }
    let (mut seen, mut codes) = (Vec::new(), Vec::new());
    let mut report = |error: &Error, reporter: &mut Reporter| {
        let hint = error.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        reporter.warn(&format!("{error}{hint}"));
        codes.push(error.exit_code());
    };
    for (number, run) in runs.iter().enumerate() {
        match RunIdentities::read(run) {
            Ok(run) => seen.push(run),
            Err(error) => report(&error, reporter),
        }
        reporter.advance(number as u64 + 1, runs.len() as u64, "runs");
    }
    let is_build = how == How::Build || how == How::Either && library.is_of(&seen);
    let mut added = Vec::new();
    if is_build {
        added = library.build(&seen, threads)?;
    } else {
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
    if is_build || changed {
        library.commit()?;
    }
    // Without a name in the library, no run needs to be read again.
    let has_names = library.people().any(|person| person.name.is_some());
    for run in runs.iter().filter(|_| has_names) {
        // A run that cannot be read was reported above.
        if let Ok(named) = share_names(&library, run).map(|n| n > 0) {
            named.then(|| reporter.warn(&renamed(run)));
        }
    }
    if let Some(code) = codes.first() {
        return Err(Error::Some { failed: codes.len(), runs: runs.len(), code: *code });
    }
    let of_run = |(run, added): (&RunIdentities, &Added)| {
        let (run, video) = (&run.run_id, run.video_id.as_str());
        json!({ "run_id": run, "video_id": video, "known": added.known, "new": added.new })
    };
    let mut figures = figures(&library);
    figures.insert("changed".into(), changed.into());
    figures.insert("runs".into(), seen.iter().zip(&added).map(of_run).collect());
    Ok(figures)
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

fn renamed(run: &Path) -> String {
    let run = run.display();
    format!("the library names people of `{run}`; the next `facetrack run` shows the names")
}

/// Adds corrections to a run that name its unnamed people as the library names them. Returns the number of these
/// people.
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
        let is_known = |edit: &Edit| log.entries().iter().any(|old| old.edit.says_the_same(edit));
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
