//! `facetrack run`: from a video to its tables and a page that shows who is in it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use console::{Error, Result, duration, exit, rounded, say};
use evaluate::labels::Labels;
use gallery::validate::is_library;
use run::RunDir;
use run::manifest::STAGES;
use run::redact::Request;
use run::stage::read_config;
use schema::Row as _;
use schema::io::read_all;
use schema::tables::Identity;
use serde_json::{Map, Value, json};

use crate::cli::{NEVER, RunArgs};
use crate::models;
use crate::progress::Screen;
use crate::sources::{self, WeightSource};
use crate::stages::{self, Finished};
use crate::{annotate, edits, keys, redact, skip, stamp, tables};

/// What every stage reported at its end, in their order.
pub(crate) type Done = Vec<(&'static str, Finished)>;

/// What holds for every video of a call: settings and files, all checked before the first stage.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) args: &'a RunArgs,
    /// Settings that override the configuration file, each a line of TOML.
    pub(crate) settings: Vec<String>,
    /// The networks that turn crops into vectors.
    pub(crate) embedders: Vec<WeightSource>,
    /// Folder of the pinned weights.
    pub(crate) weights: PathBuf,
}

/// Runs every stage on one video, and reports the results: to programs an event; to people a summary, and on
/// standard output the path of the page alone.
pub(crate) fn run(args: &RunArgs, video: &Path) -> Result<()> {
    args.stamp.iter().try_for_each(|file| stamp::check(file))?;
    let run_dir = args.run_dir.clone().unwrap_or_else(|| default_run_dir(video));
    let result = run_in(args, video, run_dir.clone());
    args.stamp.iter().try_for_each(|file| stamp::write(file, video, &run_dir, &result))?;
    result
}

fn run_in(args: &RunArgs, video: &Path, run_dir: PathBuf) -> Result<()> {
    let started = Instant::now();
    check_file(video, "video", exit::INPUT)?;
    if let Some(out) = &args.annotate {
        annotate::check(video, out)?;
    }
    let plan = Plan::check(args)?;
    keys::check([run_dir.as_path()].into_iter().chain(args.reuse.as_deref()), None)?;
    let run_dir = prepare_run_dir(run_dir)?;
    let plan = plan.obtain_weights()?;
    if let Some(file) = &args.edits {
        let imported = edits::import(&run_dir, file, None, &edits::user())?;
        if !args.json && !args.quiet {
            eprintln!("{imported}; the track numbers are read as those of `{}`", run_dir.display());
        }
    }
    set_expiry(args, &run_dir)?;
    let done = plan.run(&STAGES, video, &run_dir, &mut Screen::new(args.json, args.quiet))?;
    if let Some(out) = &args.annotate {
        annotate::annotate(video, &run_dir, out, args.json || args.quiet)?;
        tables::record(&run_dir, "annotate", std::slice::from_ref(out));
    }
    if args.json {
        say(&closing_event(&run_dir, &done).to_string());
        return check_edits(args, &done);
    }
    if !args.quiet {
        let is_shown = |stage: &str| args.verbose || args.labels.is_some() && stage == evaluate::STAGE.name;
        eprint!("{}", figures(done.iter().filter(|(stage, _)| is_shown(stage))));
        if let Ok(people) = read_all::<Identity>(&run_dir.join(Identity::TABLE.file_name())) {
            let secs: Vec<f64> = people.iter().map(|person| person.screen_secs).collect();
            let main = geometry::main_cast(&secs).into_iter().filter(|is_main| *is_main).count();
            eprintln!("{}", sentence(main, people.len() - main));
        }
        let embed = done.iter().find(|(stage, _)| *stage == embed::STAGE.name);
        if let Some(embedders) = embed.and_then(|(_, embed)| embed.figures.get("embedders")?.as_str()) {
            let is_chosen =
                args.config.is_some() || args.settings.lines().iter().any(|l| l.starts_with("embed."));
            let better = "; `facetrack models fetch retail` makes the next runs more accurate";
            let is_alone = embedders == "sface + mirror images" && !is_chosen;
            eprintln!("embedders: {embedders}{}", if is_alone { better } else { "" });
        }
        if schema::crypt::key().is_some() {
            eprintln!(
                "the tables are encrypted; the page is not, and has faces only with --page-pictures, names with --page-names"
            );
        }
        eprintln!("tables: {}", run_dir.display());
        eprintln!("finished in {}; page:", duration(started.elapsed().as_secs_f64()));
    }
    let page = run_dir.join(run::PAGE);
    say(&page.display().to_string());
    if args.open {
        open(&page);
    }
    check_edits(args, &done)
}

/// Sets the day from which a run must be gone, before its first stage: what an interrupted run leaves has the day, too.
pub(crate) fn set_expiry(args: &RunArgs, run_dir: &Path) -> Result<()> {
    let Some(day) = &args.expires else { return Ok(()) };
    Ok(RunDir::open(run_dir)?.set_expiry(Some(day.clone()).filter(|day| day != NEVER))?)
}

/// Fails with `--strict` if a correction is not applied.
pub(crate) fn check_edits(args: &RunArgs, done: &Done) -> Result<()> {
    let cluster = done.iter().find(|(stage, _)| *stage == cluster::STAGE.name);
    let lost = cluster.and_then(|(_, finished)| finished.figures.get(cluster::NOT_APPLIED)?.as_array());
    match lost.filter(|lost| args.strict && !lost.is_empty()) {
        None => Ok(()),
        Some(lost) => {
            let ids: Vec<_> = lost.iter().map(Value::to_string).collect();
            let message = format!("corrections that are not applied: {}", ids.join(", "));
            let hint = "`facetrack edits list RUN` gives the reasons; `edits undo RUN N` removes one";
            Err(Error::new(exit::QUALITY, message).hint(hint))
        }
    }
}

impl<'a> Plan<'a> {
    /// Checks everything that can be found wrong without looking at a video: files, settings, weights.
    pub(crate) fn check(args: &'a RunArgs) -> Result<Self> {
        let given = [(&args.labels, "labels file"), (&args.edits, "edits file")];
        for (path, what) in given {
            path.iter().try_for_each(|path| check_file(path, what, exit::INPUT))?;
        }
        args.weights.iter().try_for_each(|own| check_file(&own.path, "weights file", exit::INPUT))?;
        args.config.iter().try_for_each(|path| check_file(path, "configuration file", exit::USAGE))?;
        // Every section is read as its stage will read it.
        let settings = args.settings.lines();
        let (file, lines) = (args.config.as_deref(), settings.iter().map(String::as_str).collect::<Vec<_>>());
        read_config::<ingest::Config>(file, &lines, ingest::STAGE.name)?;
        read_config::<detect_track::Config>(file, &lines, detect_track::STAGE.name)?.check()?;
        let embed: embed::Config = read_config(file, &lines, embed::STAGE.name)?;
        let mut cluster: cluster::Config = read_config(file, &lines, cluster::STAGE.name)?;
        if args.series {
            // The method must take a series; which runs there are follows later.
            cluster.series.push(PathBuf::new());
        }
        cluster.check()?;
        read_config::<evaluate::Config>(file, &lines, evaluate::STAGE.name)?.check()?;
        let at_hand = |name: embed::Name| {
            let weights = models::by_name(name.as_str());
            // A folder that cannot be read is reported when the other weights are obtained.
            weights.is_some_and(|weights| weights.is_at_hand(args.weights_dir.given()).unwrap_or(false))
        };
        let embedders = sources::sources(&embed, &args.weights, at_hand)?;
        embed::check(&embed, &sources::own_files(&embedders))?;
        if let Some(edits) = &args.edits {
            let content = fs::read(edits).map_err(Error::io("read", edits))?;
            formats::edits::parse(edits, &content)?;
        }
        if let Some(labels) = &args.labels {
            let content = fs::read(labels).map_err(Error::io("read", labels))?;
            Labels::parse(labels, &content, i64::MAX)?;
        }
        Ok(Self { args, settings, embedders, weights: PathBuf::new() })
    }

    /// The same for a video of a series, whose run is linked together with those of the others. `all` are the runs of the
    /// series, some of which may not be there.
    ///
    /// # Errors
    /// When the path of a run is no UTF-8, which settings must be.
    pub(crate) fn with_series(&self, run_dir: &Path, all: &[PathBuf]) -> Result<Self> {
        // The stage takes the paths relative to the true place of its run directory.
        let place = |dir: &Path| dir.canonicalize().unwrap_or_else(|_| dir.to_path_buf());
        let own = place(run_dir);
        let from_own = |other: &Path| match other.file_name().filter(|_| other.parent() == own.parent()) {
            Some(name) => Path::new("..").join(name),
            None => other.to_path_buf(),
        };
        let text = |other: &PathBuf| {
            let path = from_own(&place(other));
            path.to_str().map(str::to_owned).ok_or_else(|| {
                let message = format!("the path of the run `{}` is no UTF-8", other.display());
                Error::new(exit::USAGE, message).hint("set another --run-dir")
            })
        };
        let others = all.iter().filter(|other| place(other) != own).map(text);
        let mut others = others.collect::<Result<Vec<String>>>()?;
        others.sort();
        let mut plan = self.clone();
        // A list of strings is the same in JSON and in TOML.
        plan.settings.push(format!("cluster.series = {}", json!(others)));
        Ok(plan)
    }

    /// Makes sure that the pinned weights are there.
    pub(crate) fn obtain_weights(self) -> Result<Self> {
        let mut wanted = vec![models::YUNET];
        wanted.extend(self.embedders.iter().filter_map(WeightSource::pinned));
        let weights = models::obtain(&wanted, self.args.weights_dir.given())?;
        Ok(Self { weights, ..self })
    }

    /// Runs stages on a video, in their order.
    pub(crate) fn run(
        &self,
        stages: &[&'static str],
        video: &Path,
        run_dir: &Path,
        screen: &mut Screen,
    ) -> Result<Done> {
        let RunArgs { no_crops, skip_bad, json, .. } = *self.args;
        let mut done = Vec::new();
        for stage in stages.iter().copied() {
            let run = if skip_bad && stage == "detect-track" { skip::run } else { stages::run };
            done.push((stage, run(stage, self, video, run_dir, screen)?));
            // Only `embed` needs pictures; the page then goes without.
            if no_crops && stage == "embed" {
                redact::start(run_dir, &Request { pictures: true, ..Request::default() }, json)?;
            }
        }
        if no_crops && stages.last() == STAGES.last() {
            redact::start(run_dir, &Request::default(), json)?;
        }
        Ok(done)
    }
}

/// Fails unless `path` is a file with something in it that we may read.
pub(crate) fn check_file(path: &Path, what: &str, code: u8) -> Result<()> {
    let shown = path.display();
    let unreadable = |e: std::io::Error| format!("failed to read the {what} `{shown}`: {e}");
    let checked = match fs::metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Err(format!("the {what} `{shown}` does not exist")),
        Err(e) => Err(unreadable(e)),
        Ok(found) if found.is_dir() => Err(format!("the {what} `{shown}` is a directory")),
        // Opening a pipe would wait for another program.
        Ok(found) if !found.is_file() => {
            Err(format!("the {what} `{shown}` is a pipe or a device, not a file"))
        }
        Ok(found) if found.len() == 0 && code == exit::INPUT => Err(format!("the {what} `{shown}` is empty")),
        Ok(_) => File::open(path).map(drop).map_err(unreadable),
    };
    checked.map_err(|message| Error::new(code, message))
}

/// Makes the run directory and finds out whether it can be written to.
pub(crate) fn prepare_run_dir(given: PathBuf) -> Result<PathBuf> {
    let dir = std::path::absolute(&given).map_err(Error::io("resolve", &given))?;
    if is_library(&dir) {
        let message = format!("the run cannot be in `{}`, which is a gallery", dir.display());
        return Err(Error::new(exit::USAGE, message).hint("set another folder with --run-dir"));
    }
    let elsewhere = |error: Error| error.hint("use a --run-dir with write permission");
    fs::create_dir_all(&dir).map_err(Error::io("create the run directory", &dir)).map_err(elsewhere)?;
    let probe = dir.join(format!("probe.{}.tmp", std::process::id()));
    File::create(&probe).map_err(Error::io("write to the run directory", &dir)).map_err(elsewhere)?;
    fs::remove_file(&probe).map_err(Error::io("remove", &probe))?;
    Ok(dir)
}

fn default_run_dir(video: &Path) -> PathBuf {
    Path::new("runs").join(video.file_stem().unwrap_or("video".as_ref()))
}

/// Describes how many people are in the video, in one sentence.
fn sentence(main: usize, brief: usize) -> String {
    let people = |n: usize| if n == 1 { "1 main person".to_owned() } else { format!("{n} main people") };
    match (main, brief) {
        (0, 0) => "no people were found".into(),
        (main, 0) => people(main),
        (main, brief) => format!("{}, {brief} seen for under {} s", people(main), geometry::MAIN_SECS),
    }
}

/// Opens a page in the user's browser; a failure costs nothing but a warning.
pub(crate) fn open(page: &Path) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = Command::new(opener);
    command.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        eprintln!("warning: failed to open the page with `{opener}`: {error}");
    }
}

/// The closing event of a run: where its results are, what each stage found and took.
pub(crate) fn closing_event(run_dir: &Path, finished: &[(&'static str, Finished)]) -> Value {
    let of_each = |value: fn(&Finished) -> Value| {
        finished.iter().map(|(name, stage)| ((*name).to_owned(), value(stage))).collect::<Map<_, _>>()
    };
    json!({
        "event": "run_finished",
        "run_dir": run_dir.display().to_string(),
        "report": run_dir.join(run::PAGE).display().to_string(),
        "skipped": finished.iter().filter(|(_, f)| f.skipped).map(|(name, _)| *name).collect::<Vec<_>>(),
        "figures": of_each(|stage| Value::Object(stage.figures.clone())),
        "costs": of_each(|stage| json!(stage.cost)),
    })
}

/// Figures that a line has room for; more make a table.
const FIGURES_PER_LINE: usize = 6;
/// Figures side by side in a table.
const TABLE_COLUMNS: usize = 3;

/// One line per stage that has figures, or a table where a line would be too long.
fn figures<'a>(finished: impl IntoIterator<Item = &'a (&'static str, Finished)>) -> String {
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
    fn lists_are_left_out_of_the_figures() {
        assert_eq!(
            super::figures(&finished()),
            "  ingest       codec h264, frames 600\n  cluster      threshold 0.654\n"
        );
    }

    #[test]
    fn many_figures_are_a_table() {
        let figures = json!({"a": 1, "b_c": 22, "d": 0.5, "e": 4, "f": 5, "g": 6, "h": 7});
        let figures = figures.as_object().cloned().unwrap_or_default();
        let expected =
            "  evaluate\n    a       1    e 4    h 7\n    b c    22    f 5\n    d   0.500    g 6\n";
        let found = super::figures(&[("evaluate", Finished { figures, ..Finished::default() })]);
        assert_eq!(found, expected, "\n{found}");
    }

    #[test]
    fn the_closing_event_has_everything_for_programs() {
        let event = closing_event(Path::new("/r"), &finished());
        assert_eq!(event["skipped"], json!(["ingest"]));
        assert_eq!(event["report"], json!("/r/report/index.html"));
        assert_eq!(event["figures"]["cluster"]["sizes"], json!([1, 2]));
    }

    #[test]
    fn people_are_counted_by_their_time_on_screen() {
        assert_eq!(sentence(6, 14), "6 main people, 14 seen for under 4 s");
        assert_eq!(sentence(1, 0), "1 main person");
        assert_eq!(sentence(0, 0), "no people were found");
    }

    #[test]
    fn a_run_is_named_after_its_video() {
        assert_eq!(default_run_dir(Path::new("/films/My Film.mkv")), Path::new("runs/My Film"));
    }

    #[test]
    fn inputs_that_cannot_be_used_are_found_at_once() {
        let tell =
            |path: &str, code| check_file(Path::new(path), "video", code).err().map(|f| (f.code, f.message));
        assert_eq!(tell("/no/such.mkv", 3), Some((3, "the video `/no/such.mkv` does not exist".into())));
        assert_eq!(tell("/", 3), Some((3, "the video `/` is a directory".into())));
        let device = "the video `/dev/null` is a pipe or a device, not a file";
        assert_eq!(tell("/dev/null", 3), Some((3, device.into())));
    }
}
