//! `facetrack edits` on a gallery: who is one person across videos, who is not, and names for all videos at once.
//!
//! The corrections are in the log of the gallery. A name is also added to the log of every run with the person, with a
//! reason that names the correction of the gallery, so that an undo finds it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use console::{Error, Result, counted, exit, say};
use formats::edits::CorrectionsFile;
use gallery::{Appended, Change, Library, RunIdentities, Table, Video};
use run::RunReader;
use run::edits::{Edit, EditOp, Entry, Faces, Log, Mark, is_number};
use run::stage::{Reporter, cores};
use schema::cell::Category as _;
use schema::tables::{Cluster, Identity, Member};
use serde_json::json;

use crate::edits::{self, About, Act, AddVerb};
use crate::people;

/// Largest number of tracks of a cluster in a correction; those with most boxes are kept.
const MOST_TRACKS: usize = 16;

/// Part of the reason of a correction of a run that belongs to a correction of a gallery.
const OF_GALLERY: &str = " of the gallery ";

/// Clusters, by `video_id` and `cluster_id`.
pub(crate) type Side = Vec<(String, i64)>;

/// Adds a correction.
pub(crate) fn add(verb: &AddVerb) -> Result<()> {
    let (root, act) = verb.run_and_act();
    let (op, given, name) = match verb {
        AddVerb::Merge { people, .. } => (EditOp::Merge, people.as_slice(), None),
        AddVerb::Same { people, .. } => (EditOp::Same, people.as_slice(), None),
        AddVerb::Different { people, .. } => (EditOp::Different, people.as_slice(), None),
        AddVerb::Name { person, name, .. } => {
            (EditOp::Name, std::slice::from_ref(person), Some(name.as_str()))
        }
        AddVerb::Split { .. } | AddVerb::Move { .. } | AddVerb::Lock { .. } | AddVerb::NotAFace { .. } => {
            let message =
                format!("`{}` is a gallery; this correction is about the tracks of a run", root.display());
            let hint = "correct the run, then add the run to the gallery again";
            return Err(Error::new(exit::USAGE, message).hint(hint));
        }
    };
    let done = correct(root, op, given, name, act)?;
    say_done(&done, act);
    Ok(())
}

/// Adds a correction about people, each given as text, and applies it. Returns a message about the result.
pub(crate) fn correct(
    root: &Path,
    op: EditOp,
    given: &[String],
    name: Option<&str>,
    act: &Act,
) -> Result<String> {
    let name = edits::checked_name(name.unwrap_or_default())?;
    let mut library = Library::open(root)?;
    let tables = library.members_of_all()?;
    let mut sides: Vec<Side> =
        given.iter().map(|given| side(&library, &tables, given)).collect::<Result<_>>()?;
    if (1..sides.len()).any(|at| sides[..at].contains(&sides[at])) {
        return Err(Error::new(exit::USAGE, "the correction names one person twice"));
    }
    if let [first, second] = sides.as_mut_slice() {
        // A person of one video may be taken out of the person of the gallery, or confirmed there.
        let (smaller, larger) = if first.len() < second.len() { (first, second) } else { (second, first) };
        larger.retain(|place| !smaller.contains(place));
    }
    let marked = sides.iter().map(|side| marks(&library, &tables, side)).collect::<Result<Vec<_>>>()?;
    if marked.iter().any(Vec::is_empty) {
        let message = "none of the runs with these people is where the gallery found it, as it was added";
        return Err(Error::new(exit::INPUT, message).hint("add the runs to the gallery again"));
    }
    let edit = Edit { name: name.clone(), reason: act.reason.clone(), ..Edit::new(op, act.author(), marked) };
    let edit_id = library.correct(edit, &sides)?;
    library.commit()?;
    let done = format!("correction {edit_id}: {}", edits::act_of(op, name.as_deref()));
    if op == EditOp::Name {
        name_in_runs(&mut library, &[(edit_id, name)], act)?;
    }
    finish(&mut library, act)?;
    Ok(done)
}

/// Adds the corrections of a file that `edits export` wrote, and applies them; prints a warning for each correction that
/// is not applied. Returns a message about the result.
pub(crate) fn import(root: &Path, file: &Path, act: &Act) -> Result<String> {
    let (CorrectionsFile::Edits(found), _) = edits::read(file)? else {
        let message = format!("`{}` has track numbers, which are valid in one run only", file.display());
        let hint = format!("import the file to that run: `facetrack edits import RUN {}`", file.display());
        return Err(Error::new(exit::USAGE, message).hint(hint));
    };
    let mut library = Library::open(root)?;
    let videos: Vec<String> = library.videos().map(|video| video.video_id).collect();
    let of_gallery =
        |mark: &Mark| videos.iter().any(|video_id| mark.video_sha256.as_str().starts_with(video_id));
    edits::check_videos(file, &found, of_gallery)?;
    let is_of_people =
        |edit: &Edit| matches!(edit.op, EditOp::Merge | EditOp::Same | EditOp::Different | EditOp::Name);
    let (found, of_tracks): (Vec<Edit>, Vec<Edit>) = found.into_iter().partition(is_of_people);
    let mut reporter = Reporter::new("library", act.json);
    if !of_tracks.is_empty() {
        let ops: BTreeSet<_> = of_tracks.iter().map(|edit| edit.op.word()).collect();
        reporter.warn(&format!(
            "corrections left out, because they are about tracks of a run ({}): {}; import the file to the run",
            ops.into_iter().collect::<Vec<_>>().join(", "),
            of_tracks.len()
        ));
    }
    let Appended { corrections: added, refused } =
        library.import(edits::unknown(found, &Log::open(root)?))?;
    library.commit()?;
    for (edit_id, refusal) in &refused {
        let op =
            added.iter().find(|entry| entry.edit_id == *edit_id).map_or("", |entry| entry.edit.op.word());
        let reason = library.reason(refusal);
        reporter.warn(&format!("correction {edit_id} ({op}) is not applied: {reason}"));
    }
    let names = added.iter().filter(|entry| entry.edit.op == EditOp::Name);
    let names: Vec<_> = names.map(|entry| (entry.edit_id, entry.edit.name.clone())).collect();
    name_in_runs(&mut library, &names, act)?;
    finish(&mut library, act)?;
    let corrections = counted(added.len(), "correction", "corrections");
    Ok(format!("imported {corrections} of `{}`", file.display()))
}

/// Links the people of all videos again, with the corrections as constraints; first lists the people who change.
pub(crate) fn relink(root: &Path, dry_run: bool, act: &Act) -> Result<()> {
    let mut library = Library::open(root)?;
    let labels: BTreeMap<i64, String> = library
        .people()
        .map(|person| {
            let number = || format!("person {}", person.person_id);
            (person.person_id, person.name.clone().unwrap_or_else(number))
        })
        .collect();
    let n_members: usize = library.members_of_all()?.iter().map(|rows| rows.len()).sum();
    let changes = library.relink(cores(), !dry_run)?;
    let label = |id: i64| labels.get(&id).map_or("a new person", String::as_str);
    for Change { run_id, cluster_id, before, after } in &changes {
        let person = Identity::numbered(*cluster_id);
        say(&format!("{person} of {run_id}: {} → {}", label(*before), label(*after)));
    }
    eprintln!("{} of {n_members} people of the runs change their person", changes.len());
    if dry_run {
        return Ok(());
    }
    library.commit()?;
    finish(&mut library, act)?;
    eprintln!("`facetrack library build` links without the corrections; relink again after it");
    Ok(())
}

/// Undoes a correction, or the last one that counts.
pub(crate) fn undo(root: &Path, edit_id: Option<i64>, act: &Act) -> Result<String> {
    let mut library = Library::open(root)?;
    let mut log = Log::open(root)?;
    let undone = match edit_id {
        Some(edit_id) => log.undo(edit_id, &act.author()).map(|_| edit_id)?,
        None => log.undo_last(&act.author())?,
    };
    let reason = reason(&library, undone);
    for video in library.videos().collect::<Vec<_>>() {
        let Some(run_dir) = video.run_dir.filter(|run_dir| run_dir.is_dir()) else { continue };
        let mut log = Log::open(&run_dir)?;
        let own: Vec<i64> = log
            .active()
            .filter(|entry| entry.edit.op == EditOp::Name && entry.edit.reason.as_ref() == Some(&reason))
            .map(|entry| entry.edit_id)
            .collect();
        for edit_id in &own {
            log.undo(*edit_id, &act.author())?;
        }
        if !own.is_empty() {
            update(&mut library, &run_dir, act)?;
        }
    }
    refresh(&mut library)?;
    finish(&mut library, act)?;
    Ok(format!("correction {undone} is undone"))
}

/// Restores the correction that was undone last.
pub(crate) fn redo(root: &Path, act: &Act) -> Result<String> {
    let mut library = Library::open(root)?;
    let edit_id = Log::open(root)?.redo(&act.author())?;
    refresh(&mut library)?;
    let entry = Log::open(root)?.entries().iter().find(|entry| entry.edit_id == edit_id).cloned();
    if let Some(edit) = entry.map(|entry| entry.edit).filter(|edit| edit.op == EditOp::Name) {
        name_in_runs(&mut library, &[(edit_id, edit.name)], act)?;
    }
    finish(&mut library, act)?;
    Ok(format!("correction {edit_id} counts again"))
}

/// Returns, by correction, the reason why it is not applied, and what it is about.
pub(crate) fn refused_and_about(
    root: &Path,
    log: &Log,
) -> Result<(BTreeMap<i64, String>, BTreeMap<i64, About>)> {
    let mut library = Library::open(root)?;
    let refused = library.apply_edits()?;
    let refused = refused.iter().map(|(edit_id, refusal)| (*edit_id, library.reason(refusal))).collect();
    let mut persons: BTreeMap<(String, i64), i64> = BTreeMap::new();
    for (video, rows) in library.videos().zip(&library.members_of_all()?) {
        let place = |row: &Member| ((video.video_id.clone(), row.cluster_id), row.person_id);
        persons.extend(rows.iter().map(place));
    }
    let about = |entry: &Entry| {
        let sides = (0..entry.edit.sides.len()).flat_map(|side| library.clusters_of(entry.edit_id, side));
        let people = sides.filter_map(|place| persons.get(&place).copied()).collect();
        (entry.edit_id, About { people, ..About::default() })
    };
    Ok((refused, log.entries().iter().map(about).collect()))
}

/// Returns the clusters of a person, given by `person_id` or name; `RUN:PERSON` is the person of one run, by number or
/// name on its page.
pub(crate) fn side(library: &Library, tables: &[Table], given: &str) -> Result<Side> {
    let videos: Vec<_> = library.videos().collect();
    let is_person = |row: &Member| match is_number(given) {
        true => given == row.person_id.to_string(),
        false => library.person(row.person_id).and_then(|person| person.name.as_deref()) == Some(given),
    };
    let is_of_run = |video: &Video, row: &Member| {
        let own = [&video.run_id, &video.video_id].into_iter().find_map(|id| given.strip_prefix(id.as_str()));
        own.and_then(|rest| rest.strip_prefix(':')).is_some_and(|own| match is_number(own) {
            true => own == Identity::number(row.cluster_id).to_string(),
            false => own == Identity::numbered(row.cluster_id) || row.name.as_deref() == Some(own),
        })
    };
    let mut side = Side::new();
    let mut people = BTreeSet::new();
    for (video, rows) in videos.iter().zip(tables) {
        for row in rows.iter().filter(|row| is_person(row) || is_of_run(video, row)) {
            side.push((video.video_id.clone(), row.cluster_id));
            people.insert(row.person_id);
        }
    }
    let root = library.root().display();
    match people.len() {
        1 => Ok(side),
        0 => {
            let message = format!("`{root}` has no person `{given}`");
            let hint = "give a person_id or a name of the gallery, or RUN:PERSON as on the page of the run";
            Err(Error::new(exit::USAGE, message).hint(hint))
        }
        n => {
            let numbers: Vec<_> = people.iter().map(i64::to_string).collect();
            Err(Error::new(exit::USAGE, format!("{n} people are called `{given}`"))
                .hint(format!("use one of the numbers {}", numbers.join(", "))))
        }
    }
}

/// Returns the marks of clusters whose runs are in their places.
fn marks(library: &Library, tables: &[Table], side: &Side) -> Result<Vec<Mark>> {
    let mut marks = Vec::new();
    for (video, rows) in library.videos().zip(tables) {
        let own: Vec<i64> =
            side.iter().filter(|(video_id, _)| *video_id == video.video_id).map(|(_, id)| *id).collect();
        let run_dir = video.run_dir.as_deref().filter(|_| !own.is_empty() && video.is_as_added(rows));
        let Some(run_dir) = run_dir else { continue };
        let run = RunReader::open(run_dir)?;
        let (faces, clusters): (_, Vec<Cluster>) = (Faces::read(&run)?, run.read()?);
        for cluster_id in own {
            let mut of_cluster = people::marks(cluster_id, &clusters, &faces);
            of_cluster.sort_by_key(|mark| std::cmp::Reverse(mark.anchors.len()));
            of_cluster.truncate(MOST_TRACKS);
            marks.extend(of_cluster);
        }
    }
    Ok(marks)
}

/// The reason of the corrections of runs that belong to a correction of a gallery.
fn reason(library: &Library, edit_id: i64) -> String {
    let name = library.root().file_name().unwrap_or_default().to_string_lossy();
    format!("correction {edit_id}{OF_GALLERY}{name}")
}

/// Whether a correction of a run belongs to a correction of a gallery.
pub(crate) fn is_of_gallery(edit: &Edit) -> bool {
    edit.op == EditOp::Name && edit.reason.as_ref().is_some_and(|reason| reason.contains(OF_GALLERY))
}

/// Names the people of runs by corrections of the gallery, each given by its key and the name. The stages of a run
/// work once, whatever the number of names.
fn name_in_runs(library: &mut Library, names: &[(i64, Option<String>)], act: &Act) -> Result<()> {
    let sides: Vec<Side> = names.iter().map(|(edit_id, _)| library.clusters_of(*edit_id, 0)).collect();
    for video in library.videos().collect::<Vec<_>>() {
        let own = names.iter().zip(&sides).flat_map(|(name, side)| {
            let clusters = side.iter().filter(|(video_id, _)| *video_id == video.video_id);
            clusters.map(move |(_, cluster_id)| (name, *cluster_id))
        });
        let own: Vec<_> = own.collect();
        if own.is_empty() {
            continue;
        }
        let run = video.run_dir.as_deref().map(RunReader::open).and_then(std::result::Result::ok);
        let Some(run) = run else {
            console::warn(&format!("the run `{}` is gone, so its person keeps the name there", video.run_id));
            continue;
        };
        let (faces, clusters): (_, Vec<Cluster>) = (Faces::read(&run)?, run.read()?);
        let edit = |((edit_id, name), cluster_id): (&(i64, Option<String>), i64)| {
            let marks = people::marks(cluster_id, &clusters, &faces);
            let edit = Edit::new(EditOp::Name, act.author(), vec![marks]);
            Edit { name: name.clone(), reason: Some(reason(library, *edit_id)), ..edit }
        };
        let mut log = Log::open(run.root())?;
        // Another gallery may have given the name.
        let is_named = |edit: &Edit| {
            let last = log.active().map(|entry| &entry.edit);
            let last = last.filter(|last| last.op == EditOp::Name && last.sides == edit.sides).last();
            last.is_some_and(|last| last.name == edit.name)
        };
        let edits: Vec<Edit> = own.into_iter().map(edit).filter(|edit| !is_named(edit)).collect();
        if !edits.is_empty() {
            log.append_with(|_| Ok::<_, run::Error>(edits))?;
            update(library, run.root(), act)?;
        }
    }
    Ok(())
}

/// Applies the corrections of a run, and takes its names into the gallery.
fn update(library: &mut Library, run_dir: &Path, act: &Act) -> Result<()> {
    if act.no_apply {
        return Ok(());
    }
    match people::update(run_dir) {
        Ok(()) => {
            library.add(&RunIdentities::read(run_dir)?)?;
            library.commit()?;
        }
        Err(reason) => {
            let run = run_dir.display();
            console::warn(&format!(
                "the next `facetrack run` of `{run}` applies the correction, because {reason}"
            ));
        }
    }
    Ok(())
}

fn refresh(library: &mut Library) -> Result<()> {
    library.apply_edits()?;
    library.commit()?;
    Ok(())
}

/// Prints a message about a correction.
pub(crate) fn say_done(done: &str, act: &Act) {
    if act.json {
        say(&json!({ "event": "edited", "message": done }).to_string());
    } else {
        eprintln!("{done}");
    }
}

fn finish(library: &mut Library, act: &Act) -> Result<()> {
    let mut reporter = Reporter::new("library", act.json);
    if !act.no_apply {
        people::share_names(library, &mut reporter)?;
    }
    people::same_names(library)?.iter().for_each(|sentence| reporter.warn(sentence));
    library.write_page()?;
    Ok(())
}
