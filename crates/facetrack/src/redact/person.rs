//! Removes people from runs and galleries, and lists what would be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use console::{Error, Result, counted, process, say, warn};
use gallery::{Library, RunIdentities, is_unfinished, validate};
use run::RunReader;
use run::edits::Log;
use run::exports::{self, Export};
use run::files::remove;
use run::redact::{Before, Digester, Place, PlaceKind, Report, Request, outlook, removed_tracks};
use schema::tables::{Cluster, Member};
use serde_json::{Value, json};

use super::start;
use super::targets::{Missing, Target, folders_beside, of_person, other_runs};
use crate::cli::{DATASET, RedactArgs};
use crate::edits::user;
use crate::progress::Screen;
use crate::{library_edits, people, stages};

/// Name of the table with pictures.
const PICTURES: &str = "crops";

/// Removes people or pictures from a run.
pub(super) fn of_run(args: &RedactArgs, run_dir: &Path) -> Result<()> {
    let identities: Vec<i64> = args.identity.iter().map(|number| i64::from(*number) - 1).collect();
    let request = Request { identities, pictures: args.pictures, ..Request::default() };
    let numbers: Vec<_> = args.identity.iter().map(u32::to_string).collect();
    let mut what = Vec::new();
    if !numbers.is_empty() {
        what.push(format!("person {}", numbers.join(", ")));
    }
    if args.pictures {
        what.push("all pictures".into());
    }
    let what = format!("{} of the run `{}`", what.join(" and "), run_dir.display());
    let main = Target::new(run_dir, request, &args.library)?;
    let mut left = Vec::new();
    let mut targets = Vec::new();
    if !args.identity.is_empty() {
        // Fails for a person who is not there.
        outlook(&RunReader::open(run_dir)?, &main.request)?;
        let others = other_runs(&main, &args.library)?;
        if args.other_runs {
            targets.extend(with_tracks(others, &args.library)?);
        } else {
            let note = |(other, _): &(PathBuf, BTreeSet<i64>)| {
                format!(
                    "`{}` is another run of the video and shows the person; see --other-runs",
                    other.display()
                )
            };
            left.extend(others.iter().map(note));
        }
        left.extend(in_other_videos(&main)?);
    }
    targets.insert(0, main);
    erase(args, &what, &targets, &[], left)
}

/// Removes a person from a gallery and everywhere that the gallery knows of.
pub(super) fn of_gallery(args: &RedactArgs, given: &str) -> Result<()> {
    let [root] = args.library.as_slice() else {
        let message = "--person is a person of one gallery";
        return Err(Error::new(console::exit::USAGE, message).hint("pass --library once"));
    };
    validate::require(root)?;
    let (mut targets, missing) = of_person(root, given, &args.library)?;
    let mut others: Vec<Target> = Vec::new();
    for target in &targets {
        let found = other_runs(target, &args.library)?;
        let is_new = |(dir, _): &(PathBuf, BTreeSet<i64>)| {
            targets.iter().chain(&others).all(|known| known.run_dir != *dir)
        };
        let found = found.into_iter().filter(is_new).collect();
        others.extend(with_tracks(found, &args.library)?);
    }
    targets.extend(others);
    let note = |missing: &Missing| {
        format!(
            "the run `{}` of the video {} is not where the gallery found it; only the gallery loses the person",
            missing.run_id, missing.video_id
        )
    };
    let left = missing.iter().map(note).collect();
    // A name would be personal data in the report.
    let library = Library::view(root)?;
    let id = library.people().find(|p| given == p.person_id.to_string() || p.name.as_deref() == Some(given));
    let person = id.map_or_else(|| "a person".to_owned(), |person| format!("person {}", person.person_id));
    let what = format!(
        "{person} of the gallery `{}`, and of every run that the gallery names",
        library.root().display()
    );
    erase(args, &what, &targets, &missing, left)
}

fn with_tracks(runs: Vec<(PathBuf, BTreeSet<i64>)>, given: &[PathBuf]) -> Result<Vec<Target>> {
    let target = |(run_dir, tracks): (PathBuf, BTreeSet<i64>)| {
        Target::new(&run_dir, Request { tracks, ..Request::default() }, given)
    };
    runs.into_iter().map(target).collect()
}

/// Notes about the same people in other videos of the galleries.
fn in_other_videos(target: &Target) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for (root, members) in &target.galleries {
        let own = members.iter().filter(|row| target.request.identities.contains(&row.cluster_id));
        let ids: BTreeSet<i64> = own.map(|row| row.person_id).collect();
        let library = Library::view(root)?;
        for person in library.people().filter(|person| ids.contains(&person.person_id) && person.n_videos > 1)
        {
            notes.push(format!(
                "person {0} of the gallery `{1}` is in {2} videos; `facetrack redact --library {1} --person {0}` removes \
                 the person from all of them",
                person.person_id,
                root.display(),
                person.n_videos
            ));
        }
    }
    Ok(notes)
}

/// Removes people from everywhere, or lists what would be removed.
fn erase(
    args: &RedactArgs,
    what: &str,
    targets: &[Target],
    missing: &[Missing],
    mut left: Vec<String>,
) -> Result<()> {
    let exports = exports_of(targets, missing)?;
    for export in exports.iter().filter(|export| !export.is_there() && export.path.exists()) {
        left.push(format!("the export `{}` was changed since, so it stays", export.path.display()));
    }
    let exports: Vec<Export> = exports.into_iter().filter(Export::is_there).collect();
    if args.dry_run {
        return list(args.json, what, targets, missing, &exports, &left);
    }
    if !args.json {
        left.iter().for_each(|left| warn(left));
    }
    let digester = Digester::new();
    let before = args.report.as_ref().map(|_| before(targets, missing, &digester)).transpose()?;
    // A page shows the faces of people, and is written when everyone is gone.
    for root in roots(targets, missing) {
        remove(&root.join(gallery::PAGE))?;
    }
    for folder in unfinished(targets, missing, &args.library) {
        Library::open(&folder)?.forget_unfinished()?;
    }
    let mut n_tracks = 0;
    let mut of_series = Vec::new();
    for target in targets {
        // With --person, all runs with the name are among the targets.
        let names = if args.person.is_some() { Vec::new() } else { target.names()? };
        n_tracks += take_out(target, args.json)?;
        let series = people::series_of(&target.run_dir)?;
        if series.is_empty() {
            finish(target, &names, args.json)?;
        } else {
            of_series.push((target, names, series));
        }
    }
    // Runs of a series are linked together, so the people are first taken out of all of them.
    for (target, names, _) in &of_series {
        finish(target, names, args.json)?;
    }
    link_without(of_series.iter().flat_map(|(.., series)| series), targets);
    for Missing { library, video_id, clusters, .. } in missing {
        let mut library = Library::open(library)?;
        library.forget(video_id, clusters)?;
        library.commit()?;
    }
    for root in roots(targets, missing) {
        Library::open(&root)?.write_page()?;
    }
    let deleted = delete_exports(targets, missing, &exports)?;
    let (mut rows, mut files) = (0, 0);
    for target in targets {
        let scanned = start(&target.run_dir, &Request::default(), args.json)?;
        let count = |name: &str| scanned.get(name).and_then(Value::as_u64).unwrap_or(0);
        rows += count("rows_scanned");
        files += count("files_scanned");
    }
    if let Some(before) = before {
        let places = before.into_iter().map(|before| after(before, targets)).collect::<Result<Vec<_>>>()?;
        write_report(args, what, &digester, places, deleted.clone(), left)?;
    }
    if args.json {
        let event = json!({
            "event": "forgotten", "tracks": n_tracks, "rows_scanned": rows, "files_scanned": files,
            "runs": targets.len(), "exports": deleted.len(),
        });
        say(&event.to_string());
        return Ok(());
    }
    let runs = if targets.len() == 1 { String::new() } else { format!(" of {} runs", targets.len()) };
    let pictures = if args.pictures { " and all pictures" } else { "" };
    eprintln!(
        "removed {}{pictures}{runs}; verified {rows} rows of {files} files",
        counted(usize::try_from(n_tracks).unwrap_or(usize::MAX), "track", "tracks")
    );
    for root in roots(targets, missing) {
        eprintln!("the gallery `{}` has the runs as they are now", root.display());
    }
    if !deleted.is_empty() {
        let files = counted(deleted.len(), "exported file", "exported files");
        eprintln!("deleted {files}; --report or --dry-run lists them");
    }
    let left = if args.pictures { "pictures" } else { "the person" };
    eprintln!("the videos themselves, copies of the runs and backups still contain {left}");
    Ok(())
}

/// Removes people or pictures from a run. Returns the number of removed tracks.
fn take_out(target: &Target, json: bool) -> Result<u64> {
    let Target { run_dir, request, galleries } = target;
    let request =
        Request { logs: galleries.iter().map(|(root, _)| root.clone()).collect(), ..request.clone() };
    let erased = start(run_dir, &request, json)?;
    Ok(erased.get("tracks_forgotten").and_then(Value::as_u64).unwrap_or(0))
}

/// Runs the stages after the erased ones again, with the settings of the run, and adds the run to its galleries again.
fn finish(target: &Target, names: &[(i64, Option<String>)], json: bool) -> Result<()> {
    let screen = &mut Screen::new(json, false);
    stages::again(&[cluster::STAGE, evaluate::STAGE], &target.run_dir, Vec::new(), None, screen)?;
    target.galleries.iter().try_for_each(|(root, members)| forget_in(root, members, &target.run_dir, names))
}

/// Links the runs of series that are no targets again, without the removed people, whose vectors their results depend on.
fn link_without<'a>(series: impl Iterator<Item = &'a PathBuf>, targets: &[Target]) {
    let others = places(series);
    let are_done = places(targets.iter().map(|target| &target.run_dir));
    for other in others.difference(&are_done).filter(|other| RunReader::open(other).is_ok()) {
        if let Err(reason) = people::update(other) {
            warn(&format!(
                "`{}` is still linked with the vectors of the removed person until the next `facetrack run`, because \
                 {reason}",
                other.display()
            ));
        }
    }
}

/// Where these run directories truly are; those that are gone are left out.
fn places<'a>(run_dirs: impl Iterator<Item = &'a PathBuf>) -> BTreeSet<PathBuf> {
    run_dirs.filter_map(|run_dir| run_dir.canonicalize().ok()).collect()
}

/// The galleries that lose something.
fn roots(targets: &[Target], missing: &[Missing]) -> BTreeSet<PathBuf> {
    let of_runs = targets.iter().flat_map(|target| &target.galleries).map(|(root, _)| root.clone());
    of_runs.chain(missing.iter().map(|missing| missing.library.clone())).collect()
}

/// The folders of galleries beside the runs, and the given ones, in which an unfinished build has left people.
fn unfinished(targets: &[Target], missing: &[Missing], given: &[PathBuf]) -> BTreeSet<PathBuf> {
    let beside = targets.iter().flat_map(|target| folders_beside(&target.run_dir));
    let known = roots(targets, missing).into_iter().chain(given.iter().cloned());
    beside.chain(known).filter(|folder| is_unfinished(folder)).collect()
}

/// The exports that the runs and galleries recorded; where only pictures are removed, the datasets with pictures.
fn exports_of(targets: &[Target], missing: &[Missing]) -> Result<Vec<Export>> {
    let runs = targets.iter().map(|target| target.run_dir.clone());
    let mut exports = Vec::new();
    for root in runs.chain(roots(targets, missing)) {
        exports.extend(exports::read(&root)?);
    }
    let is_of_people =
        |target: &Target| !target.request.identities.is_empty() || !target.request.tracks.is_empty();
    if missing.is_empty() && !targets.iter().any(is_of_people) {
        let crops = format!("{PICTURES}.parquet");
        let has_pictures: BTreeSet<PathBuf> = exports
            .iter()
            .filter(|export| export.path.file_name().is_some_and(|name| name == crops.as_str()))
            .filter_map(|export| export.path.parent().map(Path::to_path_buf))
            .collect();
        exports.retain(|export| export.path.parent().is_some_and(|folder| has_pictures.contains(folder)));
    }
    Ok(exports)
}

/// Deletes exports; returns the deleted files with their SHA-256.
fn delete_exports(
    targets: &[Target],
    missing: &[Missing],
    exports: &[Export],
) -> Result<BTreeMap<PathBuf, String>> {
    let mut deleted = BTreeMap::new();
    for export in exports {
        process::check_interrupt()?;
        remove(&export.path)?;
        // The folder of a dataset is empty then; other folders are those of the user.
        if let Some(folder) = export.path.parent().filter(|_| export.format == DATASET) {
            let _ = std::fs::remove_dir(folder);
        }
        deleted.insert(export.path.clone(), export.sha256.clone());
    }
    let runs = targets.iter().map(|target| target.run_dir.clone());
    for root in runs.chain(roots(targets, missing)) {
        exports::retain(&root, |export| !deleted.contains_key(&export.path))?;
    }
    Ok(deleted)
}

/// Every place before the removal, with digests of what is removed there.
fn before(targets: &[Target], missing: &[Missing], digester: &Digester) -> Result<Vec<Before>> {
    let mut places: Vec<Before> = Vec::new();
    let mut people: BTreeMap<PathBuf, BTreeSet<(String, i64)>> = BTreeMap::new();
    for target in targets {
        let run = RunReader::open(&target.run_dir)?;
        let mut place = Before::of(PlaceKind::Run, &target.run_dir)?;
        let tracks = outlook(&run, &target.request)?.tracks;
        digester.of_run(&run, &tracks, target.request.pictures, &mut place.digests)?;
        places.push(place);
        let clusters: Vec<Cluster> = if tracks.is_empty() { Vec::new() } else { run.read()? };
        let own =
            clusters.iter().filter(|row| tracks.contains(&row.track_id)).filter_map(|row| row.cluster_id);
        let own: BTreeSet<i64> = own.collect();
        let video_id = run.video_id()?;
        for (root, _) in &target.galleries {
            let of = people.entry(root.clone()).or_default();
            of.extend(own.iter().map(|cluster| (video_id.to_string(), *cluster)));
        }
    }
    for missing in missing {
        let of = people.entry(missing.library.clone()).or_default();
        of.extend(missing.clusters.iter().map(|cluster| (missing.video_id.clone(), *cluster)));
    }
    for (root, clusters) in people {
        let mut place = Before::of(PlaceKind::Gallery, &root)?;
        gallery_digests(&root, &clusters, digester, &mut place.digests)?;
        places.push(place);
    }
    Ok(places)
}

/// Digests of the vectors of clusters in a gallery, and of people who have no other clusters.
fn gallery_digests(
    root: &Path,
    clusters: &BTreeSet<(String, i64)>,
    digester: &Digester,
    into: &mut BTreeSet<String>,
) -> Result<()> {
    let library = Library::view(root)?;
    let is_gone = |row: &Member| clusters.contains(&(row.video_id.to_string(), row.cluster_id));
    let (mut gone, mut others) = (BTreeSet::new(), BTreeSet::new());
    for row in library.members_of_all()?.iter().flat_map(|rows| rows.iter()) {
        if is_gone(row) {
            into.insert(digester.digest(&run::redact::bytes(&row.embedding)));
            gone.insert(row.person_id);
        } else {
            others.insert(row.person_id);
        }
    }
    for (person_id, vector) in library.vectors() {
        if gone.contains(&person_id) && !others.contains(&person_id) {
            into.insert(digester.digest(&run::redact::bytes(vector)));
        }
    }
    Ok(())
}

/// A place after the removal.
fn after(before: Before, targets: &[Target]) -> Result<Place> {
    let root = before.path().to_path_buf();
    let of_run = targets.iter().find(|target| target.run_dir.canonicalize().is_ok_and(|dir| dir == root));
    Ok(match of_run {
        Some(target) => {
            let run = RunReader::open(&root)?;
            let tracks = removed_tracks(&run).into_iter().collect();
            before.after(run.manifest().run_id.clone(), tracks, target.request.pictures)?
        }
        None => {
            let name = root.file_name().unwrap_or_default().to_string_lossy().into_owned();
            before.after(name, Vec::new(), false)?
        }
    })
}

/// Writes the report that was asked for.
pub(super) fn write_report(
    args: &RedactArgs,
    what: &str,
    digester: &Digester,
    places: Vec<Place>,
    exports: BTreeMap<PathBuf, String>,
    left: Vec<String>,
) -> Result<()> {
    let Some(path) = &args.report else { return Ok(()) };
    let by = args.signed_off_by.clone().unwrap_or_else(user);
    let report = Report::new(what.to_owned(), by, args.reason.clone(), digester, places, exports, left);
    let text = report.write(path)?;
    if !args.json {
        eprintln!("report: {} and {}", path.display(), text.display());
    }
    Ok(())
}

/// Lists what would be removed.
fn list(
    json: bool,
    what: &str,
    targets: &[Target],
    missing: &[Missing],
    exports: &[Export],
    left: &[String],
) -> Result<()> {
    if !json {
        say(&format!("would remove {what}:"));
    }
    let event = |value: Value| say(&value.to_string());
    for target in targets {
        let found = outlook(&RunReader::open(&target.run_dir)?, &target.request)?;
        if json {
            event(json!({
                "event": "would_remove", "run": target.run_dir, "tracks": found.tracks, "rows": found.rows,
                "pictures": found.pictures, "corrections": found.corrections,
            }));
            continue;
        }
        say(&format!("  run `{}`", target.run_dir.display()));
        let mut parts = vec![counted(found.tracks.len(), "track", "tracks")];
        parts.push(counted(found.pictures as usize, "picture", "pictures"));
        parts.push(counted(found.corrections as usize, "correction", "corrections"));
        parts.extend(found.rows.iter().map(|(table, rows)| format!("{rows} rows of {table}")));
        parts.iter().for_each(|part| say(&format!("    {part}")));
    }
    for missing in missing {
        let (library, people) = (missing.library.display(), missing.clusters.len());
        match json {
            true => event(json!({
                "event": "would_remove", "library": missing.library, "video_id": missing.video_id, "people": people,
            })),
            false => {
                say(&format!("  gallery `{library}`, video {}: {people} of its people", missing.video_id))
            }
        }
    }
    for target in targets {
        for (root, _) in &target.galleries {
            match json {
                true => event(json!({ "event": "would_remove", "library": root, "run": target.run_dir })),
                false => say(&format!(
                    "  gallery `{}`: the people of `{}`",
                    root.display(),
                    target.run_dir.display()
                )),
            }
        }
    }
    for export in exports {
        match json {
            true => event(json!({ "event": "would_remove", "export": export.path })),
            false => say(&format!("  export `{}` ({})", export.path.display(), export.format)),
        }
    }
    for left in left {
        match json {
            true => event(json!({ "event": "would_leave", "message": left })),
            false => say(&format!("would not remove: {left}")),
        }
    }
    Ok(())
}

/// Adds the run to a gallery again, without the removed people, and takes away the names that the gallery gave to the
/// same people in other runs.
fn forget_in(root: &Path, members: &[Member], run_dir: &Path, names: &[(i64, Option<String>)]) -> Result<()> {
    let mut library = Library::open(root)?;
    library.add_less(&RunIdentities::read(run_dir)?)?;
    library.commit()?;
    if names.iter().all(|(_, name)| name.is_none()) {
        return Ok(());
    }
    let of_person = |(cluster_id, name): &(i64, Option<String>)| {
        let row = members.iter().find(|row| row.cluster_id == *cluster_id)?;
        Some((row.person_id, name.clone()?))
    };
    let names: Vec<(i64, String)> = names.iter().filter_map(of_person).collect();
    let tables = library.members_of_all()?;
    for (video, rows) in library.videos().collect::<Vec<_>>().iter().zip(tables) {
        let of_run: Vec<&String> = names
            .iter()
            .filter(|(person_id, _)| rows.iter().any(|row| row.person_id == *person_id))
            .map(|(_, name)| name)
            .collect();
        let Some(other) = video.run_dir.as_deref().filter(|dir| !of_run.is_empty() && dir.is_dir()) else {
            continue;
        };
        let mut log = Log::open(other)?;
        let before = log.entries().len();
        log.retain(|entry| {
            let is_of_gallery =
                entry.edit.author == people::AUTHOR || library_edits::is_of_gallery(&entry.edit);
            let is_name = entry.edit.name.as_ref().is_some_and(|name| of_run.contains(&name));
            (!is_of_gallery || !is_name).then_some(entry)
        })?;
        if log.entries().len() == before {
            continue;
        }
        match people::update(other) {
            Ok(()) => drop(library.add(&RunIdentities::read(other)?)?),
            Err(reason) => warn(&format!(
                "the next `facetrack run` of `{}` takes the name from its page, because {reason}",
                other.display()
            )),
        }
    }
    library.commit()?;
    Ok(())
}
