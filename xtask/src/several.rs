//! `cargo xtask run` on several videos: a run each, then one id for a person in all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::failure::{Failure, Result, exit, say};
use crate::progress::{Screen, duration};
use crate::run;
use crate::stages::{self, Finished};

/// Endings of the files that are taken out of a folder.
const VIDEOS: [&str; 12] =
    ["mkv", "mp4", "webm", "mov", "m4v", "avi", "ts", "m2ts", "flv", "ogg", "ogv", "wmv"];
/// Name of the library beside the runs.
const LIBRARY: &str = "library";

/// What `cargo xtask run` was called with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// What holds for every video.
    pub(crate) run: run::Options,
    /// Videos, folders, and patterns of files.
    pub(crate) videos: Vec<PathBuf>,
    /// Where the people of all videos are kept.
    pub(crate) library: Option<PathBuf>,
}

/// Runs every stage on one video; or on each of several, whose people are then linked.
pub(crate) fn run(options: &Options) -> Result<()> {
    let videos = videos(&options.videos)?;
    match (videos.as_slice(), &options.library) {
        ([video], None) => run::run(&run::Options { video: video.clone(), ..options.run.clone() }),
        _ => run_each(options, &videos).map_err(run::resumes),
    }
}

/// The files that are meant, each once.
fn videos(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut videos = Vec::new();
    for path in given {
        let found = match path.to_str().filter(|text| !path.exists() && text.contains(['*', '?', '['])) {
            Some(pattern) => matching(pattern)?,
            None if path.is_dir() => in_folder(path)?,
            None => vec![path.clone()],
        };
        videos.extend(found);
    }
    let mut seen = BTreeSet::new();
    videos.retain(|video| seen.insert(video.clone()));
    Ok(videos)
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    let wrong = |e: glob::PatternError| Failure::new(exit::USAGE, format!("{pattern} is no pattern: {e}"));
    let found: Vec<_> = glob::glob(pattern).map_err(wrong)?.flatten().filter(|path| path.is_file()).collect();
    if found.is_empty() {
        return Err(Failure::new(exit::INPUT, format!("no file matches {pattern}")));
    }
    Ok(found)
}

/// The videos in a folder, by name.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(Failure::io("read", folder))?;
    let ending = |path: &Path| path.extension().map(|e| e.to_string_lossy().to_lowercase());
    let is_video =
        |path: &PathBuf| ending(path).is_some_and(|e| VIDEOS.contains(&e.as_str())) && path.is_file();
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_video).collect();
    found.sort();
    if found.is_empty() {
        let message = format!("the folder {} holds no video", folder.display());
        return Err(Failure::new(exit::INPUT, message).hint(format!("videos end in {}", VIDEOS.join(", "))));
    }
    Ok(found)
}

/// A run each, then one table of the people in all of them. A video that fails keeps no other from it.
fn run_each(options: &Options, videos: &[PathBuf]) -> Result<()> {
    let started = Instant::now();
    let of_one = [&options.run.labels, &options.run.edits, &options.run.annotate];
    if videos.len() > 1 && of_one.iter().any(|file| file.is_some()) {
        let failure = Failure::new(exit::USAGE, "labels, edits and an annotated copy belong to one video");
        return Err(
            failure.hint("run that video alone, with them and --library; what has finished is not run again")
        );
    }
    let runs = options.run.run_dir.clone().unwrap_or_else(|| "runs".into());
    let library = options.library.clone().unwrap_or_else(|| runs.join(LIBRARY));
    let library = std::path::absolute(&library).map_err(Failure::io("resolve", &library))?;
    let run_dirs = run_dirs(videos, &runs, &library)?;
    run::check_settings(&options.run)?;
    run::ensure_system(&options.run)?;
    run::build(options.run.json || options.run.quiet)?;
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for (number, (video, run_dir)) in videos.iter().zip(run_dirs).enumerate() {
        let place = format!("[{}/{}]", number + 1, videos.len());
        let one = run::Options {
            video: video.clone(),
            run_dir: Some(run_dir),
            is_one_of_several: true,
            ..options.run.clone()
        };
        match run_one(&one, &place) {
            Ok(run_dir) => done.push(run_dir),
            Err(failure) if failure.is_interrupt() => return Err(failure),
            Err(failure) => {
                tell_failed(&one, &place, &failure);
                failed.push((video, failure));
            }
        }
    }
    if !done.is_empty() {
        let figures = link(&options.run, &library, &done)?;
        close(&options.run, &library, &figures, &failed, started.elapsed().as_secs_f64());
    }
    match failed.first() {
        None => Ok(()),
        Some((_, first)) => Err(Failure::new(first.code, told(&failed, videos.len()))),
    }
}

/// Where the run of each video goes. Videos that differ only in their endings keep these; others of one
/// name would overwrite each other.
fn run_dirs(videos: &[PathBuf], runs: &Path, library: &Path) -> Result<Vec<PathBuf>> {
    let stem = |video: &Path| video.file_stem().unwrap_or("video".as_ref()).to_owned();
    let name = |video: &PathBuf| match videos.iter().filter(|other| stem(other) == stem(video)).count() {
        1 => stem(video),
        _ => video.file_name().unwrap_or("video".as_ref()).to_owned(),
    };
    let mut taken = BTreeMap::new();
    let mut dirs = Vec::new();
    for video in videos {
        let dir = runs.join(name(video));
        let dir = std::path::absolute(&dir).map_err(Failure::io("resolve", &dir))?;
        let other = match taken.insert(dir.clone(), video) {
            Some(other) => format!("that of {}", other.display()),
            None if dir == library => "the library".into(),
            None => {
                dirs.push(dir);
                continue;
            }
        };
        let message =
            format!("the run of {} would go where {other} goes, {}", video.display(), dir.display());
        return Err(Failure::new(exit::USAGE, message)
            .hint("rename the file, or give its run a --run-dir of its own"));
    }
    Ok(dirs)
}

/// One video, from the start to its line.
fn run_one(options: &run::Options, place: &str) -> Result<PathBuf> {
    let started = Instant::now();
    let video = options.video.display().to_string();
    run::check_file(&options.video, "video", exit::INPUT)?;
    let run_dir = run::prepare_run_dir(options)?;
    if options.json {
        say(&json!({ "event": "video_started", "video": video, "run_dir": run_dir.display().to_string() })
            .to_string());
    }
    let finished = run::run_built(options, &run_dir)?;
    if options.json {
        say(&run::closing_event(&run_dir, &finished).to_string());
    } else if !options.quiet {
        eprintln!("{place} {}: {}", name(&options.video), line(&finished, started.elapsed().as_secs_f64()));
    }
    Ok(run_dir)
}

fn tell_failed(options: &run::Options, place: &str, failure: &Failure) {
    let Failure { message, hint, code, .. } = failure;
    if options.json {
        let video = options.video.display().to_string();
        let event = json!({
            "event": "video_failed", "video": video, "message": message, "hint": hint, "exit_code": code,
        });
        say(&event.to_string());
    }
    eprintln!("{place} {}: failed: {message}", name(&options.video));
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

fn name(video: &Path) -> String {
    video.file_name().unwrap_or(video.as_os_str()).display().to_string()
}

/// What a run came to, in a line.
fn line(finished: &[(&'static str, Finished)], secs: f64) -> String {
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
        counted(figure("cluster", "identities") as u64, "person", "people"),
        counted(figure("detect-track", "tracks") as u64, "track", "tracks"),
        duration(figure("ingest", "duration_secs")),
    )
}

fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Adds runs to the library.
fn link(options: &run::Options, library: &Path, runs: &[PathBuf]) -> Result<Map<String, Value>> {
    let mut screen = Screen::new(options.json, options.quiet).without_closings();
    let mut arguments: Vec<OsString> = ["add", "--json", "--library"].map(OsString::from).to_vec();
    arguments.push(library.into());
    for run in runs {
        arguments.extend(["--run-dir".into(), run.into()]);
    }
    let finished = stages::run_program("library", &arguments, library, &mut screen, options.json)?;
    Ok(finished.figures)
}

/// An event for programs; for people a summary, and the path of the table alone on standard output.
fn close(
    options: &run::Options,
    library: &Path,
    figures: &Map<String, Value>,
    failed: &[(&PathBuf, Failure)],
    secs: f64,
) {
    if options.json {
        let failed: Vec<_> = failed.iter().map(|(video, _)| video.display().to_string()).collect();
        let event = json!({
            "event": "library_finished",
            "library": library.display().to_string(),
            "failed": failed,
            "figures": figures,
        });
        say(&event.to_string());
        return;
    }
    if !options.quiet {
        eprintln!("library: {}", summary(figures));
        eprintln!("finished in {}; the table of people:", duration(secs));
    }
    say(figures.get("table").and_then(Value::as_str).unwrap_or_default());
}

fn summary(figures: &Map<String, Value>) -> String {
    let number = |key: &str| figures.get(key).and_then(Value::as_u64).unwrap_or(0);
    let people = counted(number("people"), "person", "people");
    let videos = counted(number("videos"), "video", "videos");
    format!("{people} in {videos}, {} of them in more than one", number("people_in_several_videos"))
}

/// Which videos failed, each of which has been told.
fn told(failed: &[(&PathBuf, Failure)], all: usize) -> String {
    let names: Vec<_> = failed.iter().map(|(video, _)| name(video)).collect();
    format!("{} of {} failed: {}", failed.len(), counted(all as u64, "video", "videos"), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn runs_are_named_after_their_videos_and_never_share_a_place() {
        let dirs = |videos: &[&str]| {
            let dirs = run_dirs(&paths(videos), Path::new("/runs"), Path::new("/runs/library"));
            dirs.map_err(|failure| (failure.code, failure.message))
        };
        assert_eq!(dirs(&["/a/x.mkv", "y.mp4"]), Ok(paths(&["/runs/x", "/runs/y"])));
        assert_eq!(dirs(&["x.mkv", "x.mp4", "y.mp4"]), Ok(paths(&["/runs/x.mkv", "/runs/x.mp4", "/runs/y"])));
        let message = "the run of b/x.mkv would go where that of a/x.mkv goes, /runs/x.mkv";
        assert_eq!(dirs(&["a/x.mkv", "b/x.mkv"]), Err((2, message.into())));
        assert_eq!(dirs(&["library.mkv"]).map_err(|(code, _)| code), Err(2));
    }

    #[test]
    fn folders_and_patterns_stand_for_the_videos_in_them() -> Result<()> {
        let scratch = crate::cache::Scratch::new("several")?;
        let at = |name: &str| scratch.path().join(name);
        for name in ["b.mp4", "a.MKV", "notes.txt", "c[1].mkv"] {
            scratch.write(&at(name), "x")?;
        }
        let found = |given: &[PathBuf]| videos(given).map_err(|failure| failure.code);
        let all = ["a.MKV", "b.mp4", "c[1].mkv"].map(at).to_vec();
        assert_eq!(found(&[scratch.path().to_path_buf()]), Ok(all.clone()));
        assert_eq!(found(&[at("*.mp4"), at("b.mp4")]), Ok(vec![at("b.mp4")]), "each once");
        assert_eq!(found(&[at("c[1].mkv")]), Ok(vec![at("c[1].mkv")]), "a file before a pattern");
        assert_eq!(found(&[at("none.mkv")]), Ok(vec![at("none.mkv")]), "told when its turn comes");
        assert_eq!(found(&[at("*.avi")]), Err(exit::INPUT));
        Ok(())
    }

    #[test]
    fn a_video_gets_one_line_and_the_library_another() {
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
        let figures = json!({"people": 18, "videos": 4, "people_in_several_videos": 13});
        let figures = figures.as_object().cloned().unwrap_or_default();
        assert_eq!(summary(&figures), "18 people in 4 videos, 13 of them in more than one");
        let video = PathBuf::from("a/b.mkv");
        assert_eq!(told(&[(&video, Failure::unexpected("x"))], 3), "1 of 3 videos failed: b.mkv");
    }
}
