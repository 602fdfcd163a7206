//! `facetrack run` on several videos: a run each, then one id for a person in all of them.
//!
//! The videos of a series go through the stages in two passes, since `cluster` needs the vectors of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use console::{Error, Result, counted, duration, exit, process, say};
use glob::MatchOptions;
use run::RunReader;
use run::manifest::STAGES;
use run::stage::Reporter;
use serde_json::{Map, Value, json};

use crate::cli::RunArgs;
use crate::keys;
use crate::people::{self, How};
use crate::progress::Screen;
use crate::single::{self, Done, Plan};

/// Endings of the files that are taken out of a folder.
const VIDEOS: [&str; 28] = [
    "3g2", "3gp", "asf", "avi", "dif", "divx", "dv", "f4v", "flv", "m2t", "m2ts", "m4v", "mj2", "mkv", "mod",
    "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "ogg", "ogv", "qt", "ts", "vob", "webm", "wmv",
];
/// Number of names that a line lists at most.
const MAX_NAMES: usize = 20;
/// Name of the library beside the runs.
const LIBRARY: &str = "library";
const RESUMES: &str = "interrupted; the same command continues";

/// Whether a file is named like a video.
pub(crate) fn is_video_name(path: &Path) -> bool {
    path.extension().is_some_and(|ending| VIDEOS.contains(&ending.to_string_lossy().to_lowercase().as_str()))
}

/// Runs every stage on one video; or on each of several, whose people are then linked.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let found = Found::of(args.given(), args.recursive)?;
    found.say_left_out(args.json);
    if let Some(file) = args.run_dir.as_deref().filter(|path| path.exists() && !path.is_dir()) {
        let message = format!("`{}` is a file, and --run-dir is a folder", file.display());
        return Err(Error::new(exit::USAGE, message).hint("pass a new or empty folder, or that of a run"));
    }
    if args.series && found.videos.len() < 2 {
        let error = Error::new(exit::USAGE, "--series needs several videos");
        return Err(error.hint("give all videos of the series, or their folder"));
    }
    let is_folder = args.given().any(|path| path.is_dir());
    let result = match (found.videos.as_slice(), &args.library) {
        ([video], None) if !is_folder => single::run(args, video),
        _ => run_each(args, &found.videos),
    };
    result.map_err(|error| if error.is_interrupt() { Error::new(exit::INTERRUPTED, RESUMES) } else { error })
}

/// What the given paths, folders and patterns stand for.
#[derive(Debug, Default)]
struct Found {
    /// The video files, each once.
    videos: Vec<PathBuf>,
    /// Files in folders whose ending is not that of a video.
    others: Vec<PathBuf>,
    /// Folders in folders that were not searched.
    folders: Vec<PathBuf>,
    /// Links to folders, which are never followed: they may lead back.
    links: Vec<PathBuf>,
    /// Files and folders whose name begins with a dot, such as the `._film.mp4` of macOS.
    hidden: Vec<PathBuf>,
}

impl Found {
    fn of<'a>(given: impl IntoIterator<Item = &'a PathBuf>, recursive: bool) -> Result<Self> {
        let mut found = Self::default();
        for path in given {
            if let Some(pattern) =
                path.to_str().filter(|text| !path.exists() && text.contains(['*', '?', '[']))
            {
                let wrong = |e| Error::new(exit::USAGE, format!("invalid pattern `{pattern}`: {e}"));
                let before = found.videos.len();
                // As in a shell, `*` does not stand for a name that begins with a dot.
                let how = MatchOptions { require_literal_leading_dot: true, ..MatchOptions::new() };
                let matches = glob::glob_with(pattern, how).map_err(wrong)?.flatten();
                found.videos.extend(matches.filter(|path| path.is_file()));
                if found.videos.len() == before {
                    return Err(Error::new(exit::INPUT, format!("no file matches `{pattern}`")));
                }
            } else if path.is_dir() {
                let before = found.videos.len();
                found.search(path, recursive)?;
                if found.videos.len() == before {
                    let message = format!("the folder `{}` contains no video", path.display());
                    let hint = match () {
                        () if !found.folders.is_empty() => "search the folders in it with --recursive".into(),
                        () if !found.links.is_empty() => "give the folder to which the link leads".into(),
                        () if !found.hidden.is_empty() => {
                            "a file or folder whose name begins with a dot is left out; give its own path"
                                .into()
                        }
                        () => format!("video files end in {}", VIDEOS.join(", ")),
                    };
                    return Err(Error::new(exit::INPUT, message).hint(hint));
                }
            } else {
                found.videos.push(path.clone());
            }
        }
        let mut seen = BTreeSet::new();
        found.videos.retain(|video| seen.insert(video.clone()));
        Ok(found)
    }

    /// Takes the videos of a folder, in the order of their paths. Neither links to folders nor hidden files and folders
    /// are followed.
    fn search(&mut self, folder: &Path, recursive: bool) -> Result<()> {
        let entries = fs::read_dir(folder).map_err(Error::io("read", folder))?;
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".")) {
                self.hidden.push(path);
            } else if path.is_dir() {
                match recursive {
                    _ if path.is_symlink() => self.links.push(path),
                    true => self.search(&path, recursive)?,
                    false => self.folders.push(path),
                }
            } else if path.is_file() && is_video_name(&path) {
                self.videos.push(path);
            } else {
                self.others.push(path);
            }
        }
        Ok(())
    }

    /// Lists what was found in folders and is not run, with the reason.
    fn say_left_out(&self, json: bool) {
        let reasons = [
            (&self.others, "file", "files", "without the ending of a video"),
            (&self.folders, "folder", "folders", "because --recursive is not given"),
            (&self.links, "link to a folder", "links to folders", "because links are not followed"),
            (&self.hidden, "file or folder", "files or folders", "whose name begins with a dot"),
        ];
        for (paths, one, many, reason) in reasons.into_iter().filter(|(paths, ..)| !paths.is_empty()) {
            if json {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                say(&json!({ "event": "left_out", "reason": reason, "paths": paths }).to_string());
                continue;
            }
            let names: Vec<_> = paths.iter().take(MAX_NAMES).map(|path| name(path)).collect();
            let more = match paths.len().saturating_sub(MAX_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let count = counted(paths.len(), one, many);
            console::warn(&format!("left out {count} {reason}: {}{more}", names.join(", ")));
        }
    }
}

/// For each video that has the content of an earlier one, the two paths.
fn copies(videos: &[PathBuf]) -> Result<Vec<(&PathBuf, &PathBuf)>> {
    let mut by_size: BTreeMap<u64, Vec<&PathBuf>> = BTreeMap::new();
    for video in videos {
        if let Some(found) = fs::metadata(video).ok().filter(fs::Metadata::is_file) {
            by_size.entry(found.len()).or_default().push(video);
        }
    }
    let mut copies = Vec::new();
    for same_size in by_size.values().filter(|same_size| same_size.len() > 1) {
        let mut seen: BTreeMap<String, &PathBuf> = BTreeMap::new();
        for video in same_size {
            let hash = run::files::sha256(video)?;
            if let Some(first) = seen.get(&hash) {
                copies.push((*video, *first));
            } else {
                seen.insert(hash, *video);
            }
        }
    }
    Ok(copies)
}

/// Runs each video, then matches the people of all of them. A failed video does not stop the others.
fn run_each(args: &RunArgs, videos: &[PathBuf]) -> Result<()> {
    let started = Instant::now();
    let of_one = [&args.labels, &args.edits, &args.annotate];
    if videos.len() > 1 && of_one.iter().any(|file| file.is_some()) {
        let error = Error::new(exit::USAGE, "--labels, --edits and --annotate require a single video");
        return Err(error.hint("run that video alone, with --library; finished stages are not run again"));
    }
    if args.stamp.is_some() || args.run_id.is_some() {
        let error = Error::new(exit::USAGE, "--run-id and --stamp are for one video without a gallery");
        return Err(error.hint("run each video alone, then `facetrack library build`"));
    }
    let runs = args.run_dir.clone().unwrap_or_else(|| "runs".into());
    let library = args.library.clone().unwrap_or_else(|| runs.join(LIBRARY));
    let library = std::path::absolute(&library).map_err(Error::io("resolve", &library))?;
    if library.join(run::manifest::FILE_NAME).is_file() {
        let message = format!("the gallery cannot be in `{}`, which is a run directory", library.display());
        return Err(Error::new(exit::USAGE, message).hint("set another folder with --library"));
    }
    let run_dirs = run_dirs(videos, &runs, &library)?;
    let copies = copies(videos)?;
    for (copy, first) in &copies {
        let (copy, first) = (copy.display(), first.display());
        eprintln!(
            "warning: `{copy}` is a copy of `{first}`: both get a run, but only the run of the first is in the gallery"
        );
    }
    let plan = Plan::check(args)?;
    keys::check(run_dirs.iter().map(PathBuf::as_path).chain(args.reuse.as_deref()), Some(&library))?;
    let plan = plan.obtain_weights()?;
    // A run that fails stays in the series: an earlier result of it may be there.
    let all = run_dirs.clone();
    let mut open: Vec<Unfinished<'_>> = (1..)
        .zip(videos.iter().zip(run_dirs))
        .map(|(number, (video, run_dir))| {
            let place = format!("[{number}/{}]", videos.len());
            Unfinished { video, run_dir, place, done: Vec::new(), secs: 0.0 }
        })
        .collect();
    let mut failed = Vec::new();
    let is_cluster = |stage: &&str| *stage == cluster::STAGE.name;
    let at = STAGES.iter().position(is_cluster).filter(|_| args.series).unwrap_or(0);
    for stages in [&STAGES[..at], &STAGES[at..]].into_iter().filter(|stages| !stages.is_empty()) {
        for mut one in std::mem::take(&mut open) {
            let later = videos.iter().skip_while(|video| *video != one.video).skip(1);
            let runs_left = later.map(|later| size(later)).sum::<f64>() / size(one.video);
            let is_linking = args.series && stages.contains(&cluster::STAGE.name);
            let ran = match is_linking {
                true => {
                    plan.with_series(&one.run_dir, &all).and_then(|plan| one.run(&plan, stages, runs_left))
                }
                false => one.run(&plan, stages, runs_left),
            };
            match ran {
                Ok(()) => open.push(one),
                Err(error) if error.is_interrupt() => return Err(error),
                Err(error) => {
                    one.say_failed(&error, args.json);
                    failed.push((one.video, error));
                }
            }
        }
    }
    // A library has one run of each video.
    let is_copy = |one: &Unfinished<'_>| copies.iter().any(|(copy, _)| *copy == one.video);
    let done: Vec<PathBuf> = open.iter().filter(|one| !is_copy(one)).map(|one| one.run_dir.clone()).collect();
    if !done.is_empty() {
        link(args, &library, &done, &failed, started)?;
    }
    match failed.first() {
        None => Ok(()),
        Some((_, first)) => Err(Error::new(first.code, list(&failed, videos.len()))),
    }
}

/// Where the run of each video goes: where the video has a run, with its corrections, or a folder named after the file.
/// Files of one name keep their endings or, in several folders, get the names of as many of these as it takes:
/// `season1-e01`.
fn run_dirs(videos: &[PathBuf], runs: &Path, library: &Path) -> Result<Vec<PathBuf>> {
    let runs = std::path::absolute(runs).map_err(Error::io("resolve", runs))?;
    let mut names = Vec::new();
    for video in videos {
        let video = std::path::absolute(video).map_err(Error::io("resolve", video))?;
        names.push(possible_names(&video));
    }
    let earlier = |(video, own): (&PathBuf, &Vec<String>)| {
        let path = video.canonicalize().ok()?;
        let is_of_video = |dir: &PathBuf| {
            RunReader::open(dir)
                .is_ok_and(|run| run.video_file().is_ok_and(|file| Path::new(&file.path) == path))
        };
        own.iter().map(|name| runs.join(name)).find(is_of_video)
    };
    let earlier: Vec<_> = videos.iter().zip(&names).map(earlier).collect();
    let longest = names.iter().map(Vec::len).max().unwrap_or(0);
    let mut dirs = Vec::new();
    for ((video, own), dir) in videos.iter().zip(&names).zip(&earlier) {
        if let Some(dir) = dir {
            dirs.push(dir.clone());
            continue;
        }
        // A name of the same kind as another video's, and equal to it, says too little.
        let is_free = |place: usize| {
            let same = names.iter().filter(|other| other.get(place) == own.get(place)).count();
            let dir = own.get(place).map(|name| runs.join(name));
            same == 1 && dir.as_deref() != Some(library) && !earlier.contains(&dir)
        };
        let name = (0..longest).find(|place| is_free(*place)).and_then(|place| own.get(place));
        let dir = name.map(|name| runs.join(name)).filter(|dir| !dirs.contains(dir));
        dirs.push(dir.ok_or_else(|| {
            let message = format!("the run of `{}` would use the directory of another run", video.display());
            Error::new(exit::USAGE, message).hint("set another --run-dir")
        })?);
    }
    Ok(dirs)
}

/// Names that the run of a video may have, the shortest first.
fn possible_names(video: &Path) -> Vec<String> {
    let text = |name: Option<&std::ffi::OsStr>| name.map(|name| name.to_string_lossy().into_owned());
    let mut longer = text(video.file_stem()).unwrap_or_else(|| "video".into());
    let mut names = vec![longer.clone(), text(video.file_name()).unwrap_or_else(|| longer.clone())];
    for folder in video.ancestors().skip(1).filter_map(|folder| text(folder.file_name())) {
        longer = format!("{folder}-{longer}");
        names.push(longer.clone());
    }
    names
}

/// Bytes of a file, as a measure of the work that it is; at least 1.
fn size(video: &Path) -> f64 {
    fs::metadata(video).map_or(1.0, |metadata| metadata.len().max(1) as f64)
}

/// A video between its stages.
struct Unfinished<'a> {
    video: &'a PathBuf,
    run_dir: PathBuf,
    /// Number of the video, as in `[2/3]`.
    place: String,
    done: Done,
    /// Time that its stages took.
    secs: f64,
}

impl Unfinished<'_> {
    /// Runs stages; the first ones begin the run, and the last ones end it with its line. `runs_left` is the work after
    /// it, in runs like this one.
    fn run(&mut self, plan: &Plan<'_>, stages: &[&'static str], runs_left: f64) -> Result<()> {
        let started = Instant::now();
        let args = plan.args;
        let is_first = stages.first() == STAGES.first();
        if is_first {
            single::check_file(self.video, "video", exit::INPUT)?;
            self.run_dir = single::prepare_run_dir(std::mem::take(&mut self.run_dir))?;
            single::set_expiry(args, &self.run_dir)?;
        }
        if args.json {
            let event = if is_first { "video_started" } else { "video_continued" };
            let (video, run_dir) = (self.video.display().to_string(), self.run_dir.display().to_string());
            say(&json!({ "event": event, "video": video, "run_dir": run_dir }).to_string());
        }
        let mut screen = Screen::new(args.json, args.quiet).of_several(runs_left);
        self.done.extend(plan.run(stages, self.video, &self.run_dir, &mut screen)?);
        self.secs += started.elapsed().as_secs_f64();
        if stages.last() != STAGES.last() {
            return Ok(());
        }
        single::check_edits(args, &self.done)?;
        if args.json {
            say(&single::closing_event(&self.run_dir, &self.done).to_string());
        } else if !args.quiet {
            eprintln!("{} {}: {}", self.place, name(self.video), line(&self.done, self.secs));
        }
        Ok(())
    }

    /// Reports why the run of the video is not complete.
    fn say_failed(&self, Error { message, hint, code, .. }: &Error, json: bool) {
        if json {
            let video = self.video.display().to_string();
            say(&json!({
                "event": "video_failed", "video": video, "message": message, "hint": hint, "exit_code": code,
            })
            .to_string());
        }
        eprintln!("{} {}: failed: {message}", self.place, name(self.video));
        hint.iter().for_each(|hint| eprintln!("hint: {hint}"));
    }
}

fn name(video: &Path) -> String {
    video.file_name().unwrap_or(video.as_os_str()).display().to_string()
}

/// Summary of a run, one line.
fn line(finished: &Done, secs: f64) -> String {
    let figure = |stage: &str, key: &str| {
        let figures = finished.iter().find(|(name, _)| *name == stage).map(|(_, finished)| &finished.figures);
        figures.and_then(|figures| figures.get(key)).and_then(Value::as_f64).unwrap_or(0.0)
    };
    let took = match finished.iter().all(|(_, finished)| finished.skipped) {
        true => "was up to date".into(),
        false => format!("took {}", duration(secs)),
    };
    format!(
        "{} in {} of {}; {took}",
        counted(figure("cluster", "identities") as usize, "person", "people"),
        counted(figure("detect-track", "tracks") as usize, "track", "tracks"),
        duration(figure("ingest", "duration_secs")),
    )
}

/// Adds runs to the library, and reports it: an event for programs; for people a summary, and the path of the table
/// alone on standard output.
fn link(
    args: &RunArgs,
    library: &Path,
    runs: &[PathBuf],
    failed: &[(&PathBuf, Error)],
    started: Instant,
) -> Result<()> {
    let mut reporter = Reporter::new("library", args.json);
    if let Some(day) = &args.expires {
        people::set_expiry(library, day)?;
    }
    let figures = people::add(library, runs, How::Either, args.threads.unwrap_or(1), &mut reporter)?;
    process::check_interrupt()?;
    if args.json {
        reporter.done(people::is_unchanged(&figures), &figures, Map::new());
        let failed: Vec<_> = failed.iter().map(|(video, _)| video.display().to_string()).collect();
        let library = library.display().to_string();
        let event =
            json!({ "event": "library_finished", "library": library, "failed": failed, "figures": figures });
        say(&event.to_string());
        return Ok(());
    }
    if !args.quiet {
        people::say_summary(&figures);
        eprintln!("finished in {}; table of people:", duration(started.elapsed().as_secs_f64()));
    }
    say(figures.get("table").and_then(Value::as_str).unwrap_or_default());
    Ok(())
}

/// Names the videos that failed, each of which has been reported.
fn list(failed: &[(&PathBuf, Error)], all: usize) -> String {
    let names: Vec<_> = failed.iter().map(|(video, _)| name(video)).collect();
    format!("{} of {} failed: {}", failed.len(), counted(all, "video", "videos"), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Finished;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn runs_are_named_after_their_videos_and_never_share_a_place() {
        let dirs = |videos: &[&str]| {
            let dirs = run_dirs(&paths(videos), Path::new("/runs"), Path::new("/runs/library"));
            dirs.map_err(|error| (error.code, error.message))
        };
        assert_eq!(dirs(&["/a/x.mkv", "y.mp4"]), Ok(paths(&["/runs/x", "/runs/y"])));
        assert_eq!(dirs(&["x.mkv", "x.mp4", "y.mp4"]), Ok(paths(&["/runs/x.mkv", "/runs/x.mp4", "/runs/y"])));
        assert_eq!(
            dirs(&["/t/season1/e01.mkv", "/t/season2/e01.mkv", "/t/e02.mkv"]),
            Ok(paths(&["/runs/season1-e01", "/runs/season2-e01", "/runs/e02"]))
        );
        assert_eq!(dirs(&["/a/1/x.mkv", "/b/1/x.mkv"]), Ok(paths(&["/runs/a-1-x", "/runs/b-1-x"])));
        assert_eq!(dirs(&["library.mkv"]), Ok(paths(&["/runs/library.mkv"])));
    }

    #[test]
    fn a_video_keeps_the_run_that_it_has() -> Result<()> {
        let scratch = fetch::cache::Scratch::new("kept")?;
        let [mp4, mkv, runs] = ["film.mp4", "film.mkv", "runs"].map(|name| scratch.path().join(name));
        [&mp4, &mkv].into_iter().try_for_each(|video| scratch.write(video, "x"))?;
        let mut run = run::RunDir::open(&runs.join("film"))?;
        run.moved_video(run::manifest::VideoFile::stat(&mp4).map_err(Error::io("read", &mp4))?)?;
        let found = run_dirs(&[mkv, mp4], &runs, &runs.join("library"))?;
        assert_eq!(found, ["film.mkv", "film"].map(|name| runs.join(name)));
        Ok(())
    }

    #[test]
    fn folders_and_patterns_stand_for_the_videos_in_them() -> Result<()> {
        let scratch = fetch::cache::Scratch::new("several")?;
        let at = |name: &str| scratch.path().join(name);
        for name in ["b.mp4", "a.MKV", "notes.txt", "c[1].mkv"] {
            scratch.write(&at(name), "x")?;
        }
        let found =
            |given: &[PathBuf]| Found::of(given, false).map(|found| found.videos).map_err(|error| error.code);
        let all = ["a.MKV", "b.mp4", "c[1].mkv"].map(at).to_vec();
        assert_eq!(found(&[scratch.path().to_path_buf()]), Ok(all.clone()));
        assert_eq!(found(&[at("*.mp4"), at("b.mp4")]), Ok(vec![at("b.mp4")]), "each once");
        assert_eq!(found(&[at("c[1].mkv")]), Ok(vec![at("c[1].mkv")]), "a file before a pattern");
        assert_eq!(found(&[at("none.mkv")]), Ok(vec![at("none.mkv")]), "reported when its turn comes");
        assert_eq!(found(&[at("*.avi")]), Err(exit::INPUT));
        fs::create_dir(at("season1")).map_err(Error::io("create", &at("season1")))?;
        scratch.write(&at("season1/e1.MTS"), "y")?;
        let below = [at("season1/e1.MTS"), at("a.MKV")];
        let searched = Found::of(&[scratch.path().to_path_buf()], true)?;
        assert_eq!(searched.videos, [all.as_slice(), &below[..1]].concat());
        assert_eq!((searched.others, searched.folders.len()), (vec![at("notes.txt")], 0));
        let searched = Found::of(&[scratch.path().to_path_buf()], false)?;
        assert_eq!((searched.videos, searched.folders), (all.clone(), vec![at("season1")]));
        scratch.write(&at("season1/._e1.MTS"), "z")?;
        fs::create_dir(at(".trash")).map_err(Error::io("create", &at(".trash")))?;
        scratch.write(&at(".trash/old.mp4"), "z")?;
        std::os::unix::fs::symlink(scratch.path(), at("loop")).map_err(Error::io("link", &at("loop")))?;
        let searched = Found::of(&[scratch.path().to_path_buf()], true)?;
        assert_eq!(searched.videos, [all.as_slice(), &below[..1]].concat());
        assert_eq!((searched.links, searched.folders), (vec![at("loop")], vec![]));
        assert_eq!(searched.hidden, [".trash", "season1/._e1.MTS"].map(at));
        assert_eq!(found(&[at("season1/*")]), Ok(vec![at("season1/e1.MTS")]), "as in a shell");
        let copied = copies(&all)?;
        assert_eq!(copied, [(&all[1], &all[0]), (&all[2], &all[0])]);
        assert_eq!(copies(&below)?, []);
        Ok(())
    }

    #[test]
    fn a_video_gets_one_line() {
        let stage = |figures: Value, skipped| Finished {
            figures: figures.as_object().cloned().unwrap_or_default(),
            skipped,
            ..Finished::default()
        };
        let mut finished = vec![
            ("ingest", stage(json!({"duration_secs": 20.7}), true)),
            ("detect-track", stage(json!({"tracks": 17}), true)),
            ("cluster", stage(json!({"identities": 1}), true)),
        ];
        assert_eq!(line(&finished, 0.2), "1 person in 17 tracks of 21 s; was up to date");
        finished[2].1.skipped = false;
        assert_eq!(line(&finished, 3.0), "1 person in 17 tracks of 21 s; took 3.0 s");
        let video = PathBuf::from("a/b.mkv");
        assert_eq!(list(&[(&video, Error::unexpected("x"))], 3), "1 of 3 videos failed: b.mkv");
    }
}
