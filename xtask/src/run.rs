//! `cargo xtask run`: from a video to its tables and a page that shows who is in it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::embedders::{Own, Source};
use crate::failure::{Failure, Result, exit, say};
use crate::progress::{Screen, duration, rounded};
use crate::stages::{self, Finished, Job, STAGES};
use crate::{annotate, cache, embedders, exchange, forget, models, process, skip, system, workspace};

/// The page, below the run directory.
const PAGE: &str = "report/index.html";
const RESUMES: &str = "interrupted; the same command resumes after the last finished stage";

/// What `cargo xtask run` was called with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The video.
    pub(crate) video: PathBuf,
    /// The truth, if any.
    pub(crate) labels: Option<PathBuf>,
    /// What a person says of pairs of tracks, if anything.
    pub(crate) edits: Option<PathBuf>,
    /// Where results go.
    pub(crate) run_dir: Option<PathBuf>,
    /// Configuration, if any.
    pub(crate) config: Option<PathBuf>,
    /// Settings that override it, each a line of TOML.
    pub(crate) settings: Vec<String>,
    /// Weights of the user's own.
    pub(crate) weights: Vec<Own>,
    /// This stage and the later ones run even when nothing has changed.
    pub(crate) from: Option<String>,
    /// Worker threads.
    pub(crate) threads: Option<usize>,
    /// Keep no picture of anybody.
    pub(crate) no_crops: bool,
    /// Go on without the frames at which a stage crashes.
    pub(crate) skip_bad: bool,
    /// Where the video with boxes drawn in goes, if anywhere.
    pub(crate) annotate: Option<PathBuf>,
    /// Install missing system packages.
    pub(crate) install: bool,
    /// Events on standard output.
    pub(crate) json: bool,
    /// Say no more than needed.
    pub(crate) quiet: bool,
    /// One of several videos, each of which gets one line.
    pub(crate) is_one_of_several: bool,
}

/// Runs every stage.
pub(crate) fn run(options: &Options) -> Result<()> {
    run_all(options).map_err(resumes)
}

/// Says of an interrupt that it lost next to nothing.
pub(crate) fn resumes(failure: Failure) -> Failure {
    match failure {
        Failure { code: exit::INTERRUPTED, .. } => Failure::new(exit::INTERRUPTED, RESUMES),
        other => other,
    }
}

fn run_all(options: &Options) -> Result<()> {
    let started = Instant::now();
    let run_dir = prepare(options)?;
    build(options.json || options.quiet)?;
    let finished = run_built(options, &run_dir)?;
    if let Some(out) = &options.annotate {
        annotate::annotate(&options.video, &run_dir, out, options.json || options.quiet)?;
    }
    close(options, &run_dir, &finished, started.elapsed().as_secs_f64());
    Ok(())
}

/// What is cheap to find wrong must not come up after minutes of building. Gives the run directory.
pub(crate) fn prepare(options: &Options) -> Result<PathBuf> {
    check_inputs(options)?;
    let run_dir = prepare_run_dir(options)?;
    ensure_system(options)?;
    Ok(run_dir)
}

/// What a run needs of the system, whatever the video.
pub(crate) fn ensure_system(options: &Options) -> Result<()> {
    let needs = models::needs(&stages::weights(&embedders(options)?))?;
    system::ensure(&[system::RUN, needs], options.install)
}

fn embedders(options: &Options) -> Result<Vec<Source>> {
    embedders::sources(options.config.as_deref(), &options.settings, &options.weights)
}

/// All of a run that is left once its programs are built.
pub(crate) fn run_built(options: &Options, run_dir: &Path) -> Result<Vec<(&'static str, Finished)>> {
    let embedders = embedders(options)?;
    // A run that somebody is taken out of must not keep their name in a copy.
    let scratch = cache::Scratch::new("labels")?;
    let labels =
        options.labels.as_deref().map(|given| exchange::labels(given, scratch.path())).transpose()?;
    let mut job = Job {
        video: options.video.clone(),
        labels,
        edits: options.edits.clone(),
        run_dir: run_dir.to_path_buf(),
        config: options.config.clone(),
        settings: options.settings.clone(),
        from: options.from.clone(),
        threads: options.threads,
        weights: models::obtain(&stages::weights(&embedders), || Ok(()))?,
        embedders,
    };
    let mut screen = Screen::new(options.json, options.quiet);
    if options.is_one_of_several {
        screen = screen.without_closings();
    }
    let mut finished = Vec::new();
    for stage in &STAGES {
        let result = match stage.name {
            "detect-track" if options.skip_bad => skip::run(stage, &mut job, &mut screen, options.json),
            _ => stages::run(stage, &job, &mut screen, options.json),
        };
        finished.push((stage.name, result?));
        // Only `embed` needs pictures; the page then goes without.
        if options.no_crops && stage.name == "embed" {
            forget::pictures(run_dir, &mut screen, options.json)?;
        }
    }
    if options.no_crops {
        forget::scan(run_dir, &mut screen, options.json)?;
    }
    Ok(finished)
}

fn check_inputs(options: &Options) -> Result<()> {
    check_file(&options.video, "video", exit::INPUT)?;
    check_settings(options)
}

/// The files that a run reads beside its video.
pub(crate) fn check_settings(options: &Options) -> Result<()> {
    if let Some(labels) = &options.labels {
        check_file(labels, "labels file", exit::INPUT)?;
    }
    if let Some(edits) = &options.edits {
        check_file(edits, "edits file", exit::INPUT)?;
    }
    for own in &options.weights {
        check_file(&own.path, "weights file", exit::INPUT)?;
    }
    if let Some(out) = &options.annotate {
        annotate::check(&options.video, out)?;
    }
    match &options.config {
        Some(config) => check_file(config, "configuration file", exit::USAGE),
        None => Ok(()),
    }
}

/// Fails unless `path` is a file with something in it that we may read.
pub(crate) fn check_file(path: &Path, what: &str, code: u8) -> Result<()> {
    let shown = path.display();
    let wrong = |message: String| Err(Failure::new(code, message));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return wrong(format!("the {what} {shown} does not exist"));
        }
        Err(e) => return wrong(format!("the {what} {shown} cannot be read: {e}")),
    };
    if metadata.is_dir() {
        return wrong(format!("the {what} {shown} is a directory, not a file"));
    }
    if metadata.is_file() && metadata.len() == 0 && code == exit::INPUT {
        return wrong(format!("the {what} {shown} is empty: it has no bytes"));
    }
    match File::open(path) {
        Ok(_) => Ok(()),
        Err(e) => wrong(format!("the {what} {shown} cannot be read: {e}")),
    }
}

/// Makes the run directory and finds out whether we may write there.
pub(crate) fn prepare_run_dir(options: &Options) -> Result<PathBuf> {
    let given = options.run_dir.clone().unwrap_or_else(|| default_run_dir(&options.video));
    let dir = std::path::absolute(&given).map_err(Failure::io("resolve", &given))?;
    let elsewhere = |failure: Failure| failure.hint("name a directory you may write to with --run-dir");
    fs::create_dir_all(&dir).map_err(Failure::io("create the run directory", &dir)).map_err(elsewhere)?;
    let probe = dir.join(format!("probe.{}.tmp", std::process::id()));
    File::create(&probe).map_err(Failure::io("write to the run directory", &dir)).map_err(elsewhere)?;
    fs::remove_file(&probe).map_err(Failure::io("remove", &probe))?;
    Ok(dir)
}

fn default_run_dir(video: &Path) -> PathBuf {
    Path::new("runs").join(video.file_stem().unwrap_or("video".as_ref()))
}

/// Builds the stages' programs.
pub(crate) fn build(quiet: bool) -> Result<()> {
    let mut cargo = workspace::cargo(workspace::BUILD);
    if quiet {
        cargo.arg("--quiet");
    } else {
        eprintln!("building the stages (minutes the first time, a moment later on)");
    }
    process::show(&mut cargo).map_err(|failure| {
        if failure.is_interrupt() { failure } else { failure.hint("the compiler's messages are above") }
    })
}

/// Says what came out: an event for programs; for people a summary, and the path of the page alone
/// on standard output.
fn close(options: &Options, run_dir: &Path, finished: &[(&'static str, Finished)], secs: f64) {
    let page = run_dir.join(PAGE);
    if options.json {
        say(&closing_event(run_dir, finished).to_string());
        return;
    }
    if !options.quiet {
        eprint!("{}", summary(finished));
        eprintln!("tables: {}", run_dir.display());
        eprintln!("finished in {}; the page:", duration(secs));
    }
    say(&page.display().to_string());
}

pub(crate) fn closing_event(run_dir: &Path, finished: &[(&'static str, Finished)]) -> Value {
    let page = run_dir.join(PAGE);
    let skipped: Vec<_> = finished.iter().filter(|(_, f)| f.skipped).map(|(name, _)| *name).collect();
    let figures: Map<String, Value> =
        finished.iter().map(|(name, f)| ((*name).to_owned(), Value::Object(f.figures.clone()))).collect();
    json!({
        "event": "run_finished",
        "run_dir": run_dir.display().to_string(),
        "report": page.display().to_string(),
        "skipped": skipped,
        "figures": figures,
    })
}

/// Figures that a line has room for; more make a table.
const FIGURES_PER_LINE: usize = 6;
/// Figures side by side in a table.
const TABLE_COLUMNS: usize = 3;

/// One line per stage that has figures, or a table where a line would be too long.
fn summary(finished: &[(&'static str, Finished)]) -> String {
    let mut text = String::new();
    for (name, stage) in finished {
        let figures: Vec<_> = stage.figures.iter().filter_map(|(key, value)| figure(key, value)).collect();
        if figures.len() > FIGURES_PER_LINE {
            text += &format!("  {name}\n{}", figure_table(&figures));
        } else if !figures.is_empty() {
            let figures: Vec<_> = figures.iter().map(|(name, value)| format!("{name} {value}")).collect();
            text += &format!("  {name:<12} {}\n", figures.join(", "));
        }
    }
    text
}

/// Columns of names and values, read from the top down.
fn figure_table(figures: &[(String, String)]) -> String {
    let rows = figures.len().div_ceil(TABLE_COLUMNS);
    let columns: Vec<_> = figures.chunks(rows).collect();
    let mut text = String::new();
    for row in 0..rows {
        let cells = columns.iter().filter_map(|column| {
            let (name, value) = column.get(row)?;
            let widest = |of: fn(&(String, String)) -> &String| {
                column.iter().map(|figure| of(figure).chars().count()).max().unwrap_or(0)
            };
            Some(format!("    {name:<0$} {value:>1$}", widest(|f| &f.0), widest(|f| &f.1)))
        });
        text += &(cells.collect::<String>() + "\n");
    }
    text
}

/// Name and value of a figure for people; lists and objects are for programs.
fn figure(key: &str, value: &Value) -> Option<(String, String)> {
    let value = match value {
        Value::Number(number) if number.is_f64() => rounded(number.as_f64()?),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some((key.replace('_', " "), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished() -> Vec<(&'static str, Finished)> {
        let figures = |v: Value| v.as_object().cloned().unwrap_or_default();
        vec![
            (
                "ingest",
                Finished {
                    skipped: true,
                    figures: figures(json!({"frames": 600, "codec": "h264"})),
                    secs: 0.1,
                    ..Finished::default()
                },
            ),
            (
                "cluster",
                Finished {
                    figures: figures(json!({"threshold": 0.6543, "sizes": [1, 2]})),
                    ..Finished::default()
                },
            ),
            ("evaluate", Finished::default()),
        ]
    }

    #[test]
    fn the_summary_shows_single_figures_only() {
        assert_eq!(
            summary(&finished()),
            "  ingest       codec h264, frames 600\n  cluster      threshold 0.654\n"
        );
    }

    #[test]
    fn many_figures_are_a_table() {
        let figures = json!({"a": 1, "b_c": 22, "d": 0.5, "e": 4, "f": 5, "g": 6, "h": 7});
        let figures = figures.as_object().cloned().unwrap_or_default();
        let expected =
            "  evaluate\n    a       1    e 4    h 7\n    b c    22    f 5\n    d   0.500    g 6\n";
        let found = summary(&[("evaluate", Finished { figures, ..Finished::default() })]);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn the_closing_event_tells_programs_everything() {
        let event = closing_event(Path::new("/r"), &finished());
        assert_eq!(event["skipped"], json!(["ingest"]));
        assert_eq!(event["report"], json!("/r/report/index.html"));
        assert_eq!(event["figures"]["cluster"]["sizes"], json!([1, 2]));
    }

    #[test]
    fn a_run_is_named_after_its_video() {
        assert_eq!(default_run_dir(Path::new("/films/My Film.mkv")), Path::new("runs/My Film"));
    }

    #[test]
    fn inputs_that_cannot_be_used_are_found_at_once() {
        let tell =
            |path: &str, code| check_file(Path::new(path), "video", code).err().map(|f| (f.code, f.message));
        assert_eq!(tell("/no/such.mkv", 3), Some((3, "the video /no/such.mkv does not exist".into())));
        assert_eq!(tell("/", 3), Some((3, "the video / is a directory, not a file".into())));
        assert_eq!(tell("/dev/null", 3), None);
    }
}
