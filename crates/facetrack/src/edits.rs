//! `facetrack edits`: corrections of a run (of a gallery: [`library_edits`]), which stay valid when the tracks get other numbers.
//!
//! The program adds an edit to the log of the run ([`run::edits`]). Then `cluster` and `evaluate` run again, so that
//! the page shows the effect of the edit. The command line names people and tracks as the page does; the program
//! converts the names to anchors at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use cluster::edits::{Found, People, Refusal};
use console::{Error, Result, counted, exit, say};
use formats::edits::{CorrectionsFile, Pair};
use gallery::validate::is_library;
use run::RunReader;
use run::edits::{Edit, EditOp, Entry, Faces, Log, Mark};
use run::stage::read_config;
use schema::Row as _;
use schema::cell::Category as _;
use schema::tables::{Cluster, Identity, Track};
use serde_json::json;

use crate::progress::{Screen, clock};
use crate::{library_edits, outputs, stages, tables};

/// The verbs of `facetrack edits`.
#[derive(Debug, Subcommand)]
pub(crate) enum EditsVerb {
    /// List the corrections of a run or a gallery, and whether each one counts
    List {
        /// The run directory, or a gallery
        run: PathBuf,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Add a correction; people and tracks are named as the page shows them
    #[command(subcommand)]
    Add(AddVerb),
    /// Add the corrections of a file that `edits export` wrote, or of a CSV file with the columns
    /// track_a,track_b,kind
    Import {
        /// The run directory, or a gallery
        run: PathBuf,
        /// The file
        file: PathBuf,
        /// The run to which the track numbers in a CSV file belong [default: RUN]
        #[arg(long, value_name = "RUN")]
        made_for: Option<PathBuf>,
        #[command(flatten)]
        act: Act,
    },
    /// Write the corrections that count, with the times and boxes of their faces
    Export {
        /// The run directory, or a gallery
        run: PathBuf,
        /// The format
        #[arg(long, value_name = "FORMAT", value_parser = ["csv", "json"], default_value = "json")]
        to: String,
        /// Output file [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Undo a correction
    Undo {
        /// The run directory, or a gallery
        run: PathBuf,
        /// Number of the correction [default: the last one that counts]
        edit_id: Option<i64>,
        #[command(flatten)]
        act: Act,
    },
    /// Restore the correction that was undone last
    Redo {
        /// The run directory, or a gallery
        run: PathBuf,
        #[command(flatten)]
        act: Act,
    },
    /// Link again with the corrections as constraints; first list the tracks, or the people of a gallery's runs, that
    /// change their person
    Relink {
        /// The run directory, or a gallery
        run: PathBuf,
        /// Only list what would change
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        act: Act,
    },
}

impl EditsVerb {
    /// Whether events are printed as JSON Lines.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List { json, .. } => *json,
            Self::Import { act, .. }
            | Self::Undo { act, .. }
            | Self::Redo { act, .. }
            | Self::Relink { act, .. } => act.json,
            Self::Add(verb) => verb.run_and_act().1.json,
            Self::Export { .. } => false,
        }
    }
}

/// What to add.
#[derive(Debug, Subcommand)]
pub(crate) enum AddVerb {
    /// Merge several people into one person, who keeps the number of the first
    Merge {
        /// The run directory, or a gallery
        run: PathBuf,
        /// People, by number or name
        #[arg(value_name = "PERSON", num_args = 2.., required = true)]
        people: Vec<String>,
        #[command(flatten)]
        act: Act,
    },
    /// Make a new person of tracks, which leave their person
    Split {
        /// The run directory
        run: PathBuf,
        /// Tracks, by number
        #[arg(value_name = "TRACK", required = true)]
        tracks: Vec<i64>,
        #[command(flatten)]
        act: Act,
    },
    /// Move tracks to another person
    Move {
        /// The run directory
        run: PathBuf,
        /// Tracks, by number
        #[arg(value_name = "TRACK", required = true)]
        tracks: Vec<i64>,
        /// The person, by number or name
        #[arg(long, value_name = "PERSON")]
        to: String,
        #[command(flatten)]
        act: Act,
    },
    /// Name a person
    Name {
        /// The run directory, or a gallery; a gallery names the person in all its runs
        run: PathBuf,
        /// The person, by number or name
        person: String,
        /// The name; an empty name ("") removes the name
        name: String,
        #[command(flatten)]
        act: Act,
    },
    /// Keep the tracks of a person together, whatever later runs find
    Lock {
        /// The run directory
        run: PathBuf,
        /// The person, by number or name
        person: String,
        #[command(flatten)]
        act: Act,
    },
    /// Mark tracks that show no face; people, counts and exports leave these tracks out
    NotAFace {
        /// The run directory
        run: PathBuf,
        /// Tracks, by number
        #[arg(value_name = "TRACK", required = true)]
        tracks: Vec<i64>,
        #[command(flatten)]
        act: Act,
    },
    /// Answer that two people are one person, who keeps the number of the first
    Same {
        /// The run directory, or a gallery
        run: PathBuf,
        /// The people, by number or name; in a gallery by person_id, by name, or as RUN:PERSON
        #[arg(value_name = "PERSON", num_args = 2, required = true)]
        people: Vec<String>,
        #[command(flatten)]
        act: Act,
    },
    /// Answer that two people are different; later corrections cannot merge them
    Different {
        /// The run directory, or a gallery
        run: PathBuf,
        /// The people, by number or name; in a gallery by person_id, by name, or as RUN:PERSON
        #[arg(value_name = "PERSON", num_args = 2, required = true)]
        people: Vec<String>,
        #[command(flatten)]
        act: Act,
    },
}

impl AddVerb {
    pub(crate) fn run_and_act(&self) -> (&Path, &Act) {
        match self {
            Self::Merge { run, act, .. }
            | Self::Split { run, act, .. }
            | Self::Move { run, act, .. }
            | Self::Name { run, act, .. }
            | Self::Lock { run, act, .. }
            | Self::NotAFace { run, act, .. }
            | Self::Same { run, act, .. }
            | Self::Different { run, act, .. } => (run, act),
        }
    }
}

/// Options of every change.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Act {
    /// Who makes the correction [default: $USER]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Reason for the correction
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Only add the correction to the log; the next `facetrack run` applies it
    #[arg(long)]
    pub(crate) no_apply: bool,
    /// Ground truth, CSV, for the metrics of the page
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// Print JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
}

impl Act {
    /// The options of a correction by an author.
    pub(crate) fn by(author: String) -> Self {
        Self { author: Some(author), ..Self::default() }
    }

    pub(crate) fn author(&self) -> String {
        self.author.clone().unwrap_or_else(user)
    }
}

/// Returns the name of the user of this machine, from `USER`; "unknown" without this variable.
pub(crate) fn user() -> String {
    std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "unknown".into())
}

/// Executes a verb of `facetrack edits`.
pub(crate) fn main(verb: &EditsVerb) -> Result<()> {
    match verb {
        EditsVerb::List { run, json } => list(run, *json),
        EditsVerb::Add(verb) => add(verb),
        EditsVerb::Import { run, file, act, .. } if is_library(run) => {
            library_edits::import(run, file, act).map(|done| library_edits::say_done(&done, act))
        }
        EditsVerb::Import { run, file, made_for, act } => {
            let done = import(run, file, made_for.as_deref(), &act.author())?;
            finish(run, act, &done)
        }
        EditsVerb::Export { run, to, out } => {
            let log = open_log(run)?;
            let text = match to.as_str() {
                "csv" => formats::edits::csv(log.active()),
                _ => formats::edits::json(log.active()),
            };
            match out {
                Some(path) => {
                    outputs::check("--out", path)?;
                    run::files::replace(path, text.as_bytes())?;
                    tables::record(run, "edits", std::slice::from_ref(path));
                    Ok(())
                }
                None => {
                    say(text.trim_end());
                    Ok(())
                }
            }
        }
        EditsVerb::Undo { run, edit_id, act } if is_library(run) => {
            library_edits::undo(run, *edit_id, act).map(|done| library_edits::say_done(&done, act))
        }
        EditsVerb::Redo { run, act } if is_library(run) => {
            library_edits::redo(run, act).map(|done| library_edits::say_done(&done, act))
        }
        EditsVerb::Undo { run, edit_id, act } => {
            let mut log = open_log(run)?;
            let undone = match edit_id {
                Some(edit_id) => log.undo(*edit_id, &act.author()).map(|_| *edit_id)?,
                None => log.undo_last(&act.author())?,
            };
            finish(run, act, &format!("correction {undone} is undone"))
        }
        EditsVerb::Redo { run, act } => {
            let edit_id = open_log(run)?.redo(&act.author())?;
            finish(run, act, &format!("correction {edit_id} counts again"))
        }
        EditsVerb::Relink { run, dry_run, act } if is_library(run) => {
            library_edits::relink(run, *dry_run, act)
        }
        EditsVerb::Relink { run, dry_run, act } => relink(run, *dry_run, act),
    }
}

fn open_log(root: &Path) -> Result<Log> {
    if !root.is_dir() {
        return Err(Error::new(exit::INPUT, format!("`{}` does not exist", root.display())));
    }
    Ok(Log::open(root)?)
}

/// A run with the tables that are needed to find its people and faces.
struct Shown {
    root: PathBuf,
    faces: Faces,
    linked: People,
}

impl Shown {
    fn read(root: &Path) -> Result<Self> {
        let run = RunReader::open(root)?;
        Ok(Self { root: root.to_path_buf(), faces: Faces::read(&run)?, linked: People::read(&run)? })
    }

    /// Returns the people after the edits of a log.
    fn people(&self, log: &Log) -> People {
        self.people_and_refusals(log).0
    }

    fn people_and_refusals(&self, log: &Log) -> (People, BTreeMap<i64, Refusal>) {
        let mut people = self.linked.clone();
        let refused = people.apply_all(log, &self.faces);
        (people, refused.into_iter().collect())
    }

    /// Returns the tracks of a person, given by the number or the name on the page.
    fn person(&self, people: &People, given: &str) -> Result<Vec<i64>> {
        let clusters = people.clusters();
        let name = |id: i64| people.name(id).map_or_else(|| Identity::numbered(id), str::to_owned);
        let is_meant = |id: i64| match run::edits::is_number(given) {
            true => given == Identity::number(id).to_string(),
            false => given == name(id) || given == Identity::numbered(id),
        };
        let meant: Vec<i64> = clusters.keys().copied().filter(|id| is_meant(*id)).collect();
        match meant.as_slice() {
            [id] => Ok(clusters[id].clone()),
            [] => {
                let message = format!("`{}` has no person `{given}`", self.root.display());
                let known: Vec<_> = clusters.keys().map(|id| name(*id)).take(12).collect();
                let rest = clusters.len().checked_sub(known.len()).filter(|rest| *rest > 0);
                let more = rest.map_or_else(String::new, |n| format!(" and {n} more"));
                let hint = match known.as_slice() {
                    [] => "this run has no people".into(),
                    [only] => format!("the only person of this run is {only}"),
                    known => format!("the people of this run are {}{more}", known.join(", ")),
                };
                Err(Error::new(exit::USAGE, message).hint(hint))
            }
            several => {
                let numbers: Vec<_> = several.iter().map(|id| Identity::number(*id).to_string()).collect();
                let message = format!("{} people are called `{given}`", several.len());
                Err(Error::new(exit::USAGE, message)
                    .hint(format!("use one of the numbers {}", numbers.join(", "))))
            }
        }
    }

    /// Returns the people and tracks that a correction is about.
    fn about(&self, people: &People, edit: &Edit) -> About {
        let sides = Found::new(edit, &self.faces).sides;
        let all = sides.iter().flatten().filter_map(|track| people.cluster_of(*track));
        let is_about_tracks = matches!(edit.op, EditOp::Split | EditOp::Move | EditOp::NotAFace);
        About {
            people: all.map(Identity::number).collect(),
            tracks: sides.first().filter(|_| is_about_tracks).cloned().unwrap_or_default(),
        }
    }

    fn check_tracks(&self, tracks: &[i64]) -> Result<()> {
        let known: BTreeSet<i64> = self.faces.track_ids().collect();
        match tracks.iter().find(|track| !known.contains(track)) {
            None => Ok(()),
            Some(unknown) => {
                let message = format!("`{}` has no track {unknown}", self.root.display());
                Err(Error::new(exit::USAGE, message).hint("the page lists the tracks of every person"))
            }
        }
    }

    /// Adds edits to the log of the run, unless one of the edits contradicts an earlier one. Returns the keys of the
    /// edits.
    fn append(&self, make: impl FnOnce(&People) -> Result<Vec<Edit>>) -> Result<Vec<i64>> {
        let mut log = Log::open(&self.root)?;
        let before = log.entries().len();
        log.append_with(|log| {
            let mut people = self.people(log);
            let edits = make(&people)?;
            for edit in &edits {
                match people.apply(Found::new(edit, &self.faces)) {
                    // The faces of an imported edit may be found only with other settings.
                    Ok(()) | Err(Refusal::NoFace) => {}
                    Err(refusal) => {
                        let what = edit.op.word();
                        let message =
                            format!("the correction `{what}` is refused: {}", refusal.reason(&self.faces));
                        return Err(Error::new(exit::USAGE, message).hint(self.hint(&refusal)));
                    }
                }
            }
            Ok(edits)
        })?;
        Ok(log.entries().iter().skip(before).map(|entry| entry.edit_id).collect())
    }

    fn hint(&self, refusal: &Refusal) -> String {
        let run = self.root.display();
        match refusal {
            Refusal::Earlier { edit_id, .. } => {
                format!("`facetrack edits undo {run} {edit_id}` undoes the earlier correction")
            }
            Refusal::OneFrame { .. } | Refusal::NoFace => {
                format!("first split the wrong track off: `facetrack edits add split {run} TRACK`")
            }
        }
    }
}

fn add(verb: &AddVerb) -> Result<()> {
    let (run, act) = verb.run_and_act();
    if is_library(run) {
        return library_edits::add(verb);
    }
    let shown = Shown::read(run)?;
    let (mut op, mut text) = (EditOp::Undo, None);
    let ids = shown.append(|people| {
        let people_of = |given: &[String]| -> Result<Vec<Vec<i64>>> {
            given.iter().map(|person| shown.person(people, person)).collect()
        };
        let sides;
        (op, sides) = match verb {
            AddVerb::Merge { people, .. } => (EditOp::Merge, people_of(people)?),
            AddVerb::Same { people, .. } => (EditOp::Same, people_of(people)?),
            AddVerb::Different { people, .. } => (EditOp::Different, people_of(people)?),
            AddVerb::Name { person, name, .. } => {
                text = checked_name(name)?;
                (EditOp::Name, people_of(std::slice::from_ref(person))?)
            }
            AddVerb::Lock { person, .. } => (EditOp::Lock, people_of(std::slice::from_ref(person))?),
            AddVerb::Move { tracks, to, .. } => {
                let mut target = shown.person(people, to)?;
                target.retain(|track| !tracks.contains(track));
                (EditOp::Move, vec![tracks.clone(), target])
            }
            AddVerb::Split { tracks, .. } => {
                let held = people.holder(&tracks.iter().copied().collect());
                let mut rest = held.and_then(|id| people.clusters().remove(&id)).unwrap_or_default();
                rest.retain(|track| !tracks.contains(track));
                (EditOp::Split, vec![tracks.clone(), rest])
            }
            AddVerb::NotAFace { tracks, .. } => (EditOp::NotAFace, vec![tracks.clone()]),
        };
        sides.iter().try_for_each(|side| shown.check_tracks(side))?;
        if sides.len() > 1 && sides[1].is_empty() && op != EditOp::Split
            || (1..sides.len()).any(|at| sides[..at].contains(&sides[at]))
        {
            return Err(Error::new(exit::USAGE, "the correction names one person twice"));
        }
        let sides = sides.into_iter().map(|side| shown.faces.marks(side)).collect();
        let edit = Edit::new(op, act.author(), sides);
        Ok(vec![Edit { name: text.clone(), reason: act.reason.clone(), ..edit }])
    })?;
    if let Some(name) = &text {
        offer_merge(&shown, name)?;
    }
    let number = ids.last().copied().unwrap_or(0);
    finish(run, act, &format!("correction {number}: {}", act_of(op, text.as_deref())))
}

/// Returns the name that a correction has; `None` removes a name.
pub(crate) fn checked_name(given: &str) -> Result<Option<String>> {
    run::edits::name(given).map_err(|reason| Error::new(exit::USAGE, reason))
}

/// Prints how to merge the people who have one name and may be one person.
fn offer_merge(shown: &Shown, name: &str) -> Result<()> {
    let people = shown.people(&Log::open(&shown.root)?);
    let mut called = people.clusters().into_keys().filter(|id| people.name(*id) == Some(name));
    if let Some(same) = called.find_map(|id| people.same_name(id)) {
        let numbers: BTreeSet<i64> = same.into_iter().map(Identity::number).collect();
        let numbers: Vec<_> = numbers.iter().map(i64::to_string).collect();
        let (run, numbers) = (shown.root.display(), numbers.join(" "));
        eprintln!(
            "several people are called `{name}`: `facetrack edits add merge {run} {numbers}` makes them one"
        );
    }
    Ok(())
}

/// Reports the change and, without `--no-apply`, runs `cluster` and `evaluate` again.
fn finish(run: &Path, act: &Act, done: &str) -> Result<()> {
    if act.json {
        say(&json!({ "event": "edited", "message": done }).to_string());
    } else {
        eprintln!("{done}");
    }
    if act.no_apply || !run.join(run::manifest::FILE_NAME).is_file() {
        return Ok(());
    }
    apply(run, act, heeding(run)?)
}

/// Returns the settings with which `cluster` applies edits, also in a run that was made with `--no-edits`.
pub(crate) fn heeding(run: &Path) -> run::Result<Vec<String>> {
    let config: cluster::Config = read_config(Some(&run.join("config.toml")), &[], cluster::STAGE.name)?;
    Ok(match config.edits {
        cluster::Use::Off => vec!["cluster.edits = \"apply\"".to_owned()],
        cluster::Use::Apply | cluster::Use::Relink => Vec::new(),
    })
}

fn apply(run: &Path, act: &Act, settings: Vec<String>) -> Result<()> {
    let run = std::path::absolute(run).map_err(Error::io("resolve", run))?;
    let screen = &mut Screen::new(act.json, false);
    stages::again(&[cluster::STAGE, evaluate::STAGE], &run, settings, act.labels.clone(), screen)
}

/// Reads a file of corrections; also returns the SHA-256 of the file.
pub(crate) fn read(file: &Path) -> Result<(CorrectionsFile, String)> {
    let content = fs::read(file).map_err(Error::io("read the corrections", file))?;
    Ok((formats::edits::parse(file, &content)?, hash::bytes(&content)))
}

/// Refuses a file without a correction about the videos whose marks are known by `is_own`.
pub(crate) fn check_videos(file: &Path, edits: &[Edit], is_own: impl Fn(&Mark) -> bool) -> Result<()> {
    if edits.is_empty() || edits.iter().flat_map(|edit| edit.sides.iter().flatten()).any(is_own) {
        return Ok(());
    }
    let message = format!("`{}` contains only corrections of other videos", file.display());
    Err(Error::new(exit::INPUT, message).hint("import the file to a run or a gallery of the same video"))
}

/// Returns the edits that do not count in a log yet.
pub(crate) fn unknown(edits: Vec<Edit>, log: &Log) -> Vec<Edit> {
    let is_known = |edit: &Edit| log.active().any(|entry| entry.edit.says_the_same(edit));
    edits.into_iter().filter(|edit| !is_known(edit)).collect()
}

/// Adds the corrections of a file to the log of a run. Returns a message about the result.
pub(crate) fn import(run: &Path, file: &Path, made_for: Option<&Path>, author: &str) -> Result<String> {
    let (content, sha256) = read(file)?;
    let edits = match content {
        CorrectionsFile::Edits(edits) => {
            let video = RunReader::open(run)?.video_file()?.sha256.clone();
            let is_own = |mark: &Mark| mark.video_sha256.as_str() == video;
            check_videos(file, &edits, is_own)?;
            let n_edits = edits.len();
            // A correction of a gallery names faces of several videos.
            let own = |mut edit: Edit| {
                edit.sides.iter_mut().for_each(|side| side.retain(is_own));
                let needed = if edit.op == EditOp::Split { 1 } else { edit.sides.len() };
                edit.sides.iter().take(needed).all(|side| !side.is_empty()).then_some(edit)
            };
            let own: Vec<Edit> = edits.into_iter().filter_map(own).collect();
            if own.len() < n_edits {
                let n_left_out = n_edits - own.len();
                eprintln!("corrections left out, because they need faces of other videos: {n_left_out}");
            }
            let new = unknown(own, &Log::open(run)?);
            Shown::read(run)?.append(|_| Ok(new))?
        }
        CorrectionsFile::Pairs(pairs) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let mark = format!("{name} {}", &sha256[..16]);
            if Log::open(run)?.entries().iter().any(|entry| entry.edit.reason.as_ref() == Some(&mark)) {
                return Ok(format!("`{}` was imported before", file.display()));
            }
            let edits = resolve_pairs(file, &pairs, made_for.unwrap_or(run), author, &mark)?;
            Shown::read(run)?.append(|_| Ok(edits))?
        }
    };
    let corrections = counted(edits.len(), "correction", "corrections");
    Ok(format!("imported {corrections} of `{}`", file.display()))
}

/// Converts pairs of track numbers to edits, with the tracks of the run `made_for`.
fn resolve_pairs(
    file: &Path,
    pairs: &[Pair],
    made_for: &Path,
    author: &str,
    mark: &str,
) -> Result<Vec<Edit>> {
    let run = RunReader::open(made_for).map_err(|error| {
        Error::from(error).hint(format!(
            "`{}` has track numbers of an earlier run: run the video without --edits first, then import the file with \
             `facetrack edits import`",
            file.display()
        ))
    })?;
    let tracks = run.hash_of(Track::TABLE.name).map(str::to_owned)?;
    let faces = Faces::read(&run)?;
    let edit = |pair: &Pair| {
        let Pair { line, tracks: (a, b), is_must_link, tracks_sha256 } = pair;
        let place = format!("`{}`, line {line}:", file.display());
        if let Some(digits) = tracks_sha256.as_ref().filter(|digits| !tracks.starts_with(*digits)) {
            let message = format!(
                "{place} the track numbers belong to another run (SHA-256 of the tracks: {digits}…) than `{}`",
                made_for.display()
            );
            return Err(Error::new(exit::INPUT, message).hint("pass that other run with `--made-for`"));
        }
        let side = |track: i64| match faces.mark(track) {
            Some(mark) => Ok(vec![mark]),
            None => {
                let message = format!("{place} unknown track {track}");
                let hint = format!("the track numbers of the file must be those of `{}`", made_for.display());
                Err(Error::new(exit::INPUT, message).hint(hint))
            }
        };
        let op = if *is_must_link { EditOp::Same } else { EditOp::Different };
        let edit = Edit::new(op, author, vec![side(*a)?, side(*b)?]);
        Ok(Edit { reason: Some(mark.to_owned()), ..edit })
    };
    pairs.iter().map(edit).collect()
}

/// What a correction is about, by the people and tracks of the present.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct About {
    /// Numbers of the people: in a run as on the page, in a gallery `person_id`.
    pub(crate) people: BTreeSet<i64>,
    /// Tracks that the correction names one by one; none of a gallery.
    pub(crate) tracks: BTreeSet<i64>,
}

/// Returns what a correction does, in a word or two.
pub(crate) fn act_of(op: EditOp, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{} `{name}`", op.word()),
        None if op == EditOp::Name => "remove name".into(),
        None => op.word().into(),
    }
}

/// Describes a correction in one line.
fn described(edit: &Edit, undoes: Option<i64>, about: &About) -> String {
    let act = act_of(edit.op, edit.name.as_deref());
    if let Some(undone) = undoes {
        return format!("{act} of correction {undone}");
    }
    let listed = |numbers: &BTreeSet<i64>, one: &str, many: &str| {
        let all: Vec<_> = numbers.iter().map(i64::to_string).collect();
        let noun = if all.len() == 1 { one } else { many };
        (!all.is_empty()).then(|| format!(" {noun} {}", all.join(", ")))
    };
    let tracks = listed(&about.tracks, "track", "tracks").unwrap_or_default();
    let people = listed(&about.people, "of person", "of people").unwrap_or_default();
    let n_faces: Vec<_> = edit.sides.iter().map(|side| side.len().to_string()).collect();
    let noun = if n_faces == ["1"] { "face" } else { "faces" };
    let first = first_secs(edit).map_or_else(String::new, |secs| format!(", first at {}", clock(secs)));
    format!("{act}{tracks}: {} {noun}{people}{first}", n_faces.join(" + "))
}

/// Returns the time of the first face of a correction, seconds; `None` for faces of several videos.
fn first_secs(edit: &Edit) -> Option<f64> {
    let marks = || edit.sides.iter().flatten();
    let video = &marks().next()?.video_sha256;
    let times = marks().flat_map(|mark| &mark.anchors).map(|anchor| anchor.t_secs);
    marks().all(|mark| mark.video_sha256 == *video).then(|| times.fold(f64::INFINITY, f64::min))
}

fn list(root: &Path, json: bool) -> Result<()> {
    let log = open_log(root)?;
    let (mut refused, mut about) = (BTreeMap::new(), BTreeMap::new());
    if is_library(root) {
        (refused, about) = library_edits::refused_and_about(root, &log)?;
    } else if root.join(run::manifest::FILE_NAME).is_file() {
        let shown = Shown::read(root)?;
        let (people, refusals) = shown.people_and_refusals(&log);
        refused.extend(refusals.into_iter().map(|(id, refusal)| (id, refusal.reason(&shown.faces))));
        about.extend(log.entries().iter().map(|entry| (entry.edit_id, shown.about(&people, &entry.edit))));
    }
    let nothing = About::default();
    for entry in log.entries() {
        let Entry { edit_id, made_at, undoes, edit } = entry;
        let state = match refused.get(edit_id) {
            _ if log.is_undone(*edit_id) => "undone".to_owned(),
            Some(reason) => format!("not applied: {reason}"),
            None => "counts".to_owned(),
        };
        let about = about.get(edit_id).unwrap_or(&nothing);
        if json {
            let n_faces: Vec<usize> = edit.sides.iter().map(Vec::len).collect();
            say(&json!({
                "edit_id": edit_id, "op": edit.op.word(), "made_at": made_at, "author": edit.author,
                "reason": edit.reason, "name": edit.name, "undoes": undoes, "faces": n_faces,
                "people": about.people, "tracks": about.tracks, "first_t_secs": first_secs(edit), "state": state,
            })
            .to_string());
            continue;
        }
        let what = described(edit, *undoes, about);
        let reason = edit.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
        say(&format!("{edit_id}\t{made_at}\t{}\t{what}{reason}\t{state}", edit.author));
    }
    if log.entries().is_empty() && !json {
        eprintln!("`{}` has no corrections", root.display());
    }
    Ok(())
}

/// Links again with the corrections as constraints. A copy of the tables is linked first, to list the changes.
fn relink(run: &Path, dry_run: bool, act: &Act) -> Result<()> {
    let settings = vec!["cluster.edits = \"relink\"".to_owned()];
    let root = std::path::absolute(run).map_err(Error::io("resolve", run))?;
    let before: Vec<Cluster> = RunReader::open(&root)?.read()?;
    let trial = root.join(".relink");
    let copied = copy_tables(&root, &trial).and_then(|()| {
        let screen = &mut Screen::new(act.json, true);
        stages::again(&[cluster::STAGE], &trial, settings.clone(), None, screen)
    });
    let after = copied.and_then(|()| Ok(RunReader::open(&trial)?.read::<Cluster>()?));
    fs::remove_dir_all(&trial).map_err(Error::io("remove", &trial))?;
    let changes = changes(&before, &after?);
    changes.iter().for_each(|line| say(line));
    eprintln!("{} of {} tracks change their person", changes.len(), before.len());
    if dry_run {
        return Ok(());
    }
    apply(&root, act, settings)?;
    eprintln!("to keep this result, pass `--relink-with-edits` to each later `facetrack run`");
    Ok(())
}

/// Makes hard links in another folder to the files that `cluster` reads; stages replace files and never write into
/// them, so the run does not change.
fn copy_tables(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to).map_err(Error::io("remove", to))?;
    }
    fs::create_dir(to).map_err(Error::io("create", to))?;
    for entry in fs::read_dir(from).map_err(Error::io("read", from))? {
        let path = entry.map_err(Error::io("read", from))?.path();
        let name = path.file_name().unwrap_or_default().to_owned();
        let is_table = path.extension().is_some_and(|ending| ending == "parquet");
        if is_table || [run::manifest::FILE_NAME, "config.toml"].iter().any(|known| name == *known) {
            fs::hard_link(&path, to.join(&name)).map_err(Error::io("link", &path))?;
        }
    }
    Ok(())
}

/// Returns a line for each track that changes its person. A person after the change is the same as the person
/// before it that shares most tracks.
fn changes(before: &[Cluster], after: &[Cluster]) -> Vec<String> {
    let mut shared: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for (old, new) in before.iter().zip(after) {
        if let (Some(old), Some(new)) = (old.cluster_id, new.cluster_id) {
            *shared.entry((new, old)).or_default() += 1;
        }
    }
    let mut same: BTreeMap<i64, (usize, i64)> = BTreeMap::new();
    for ((new, old), count) in shared {
        let best = same.entry(new).or_insert((count, old));
        if count > best.0 {
            *best = (count, old);
        }
    }
    let label = |id: Option<i64>| id.map_or_else(|| "noise".to_owned(), Identity::numbered);
    let change = |(old, new): (&Cluster, &Cluster)| {
        let was = new.cluster_id.map(|id| same.get(&id).map(|(_, old)| *old));
        let is_same = match (old.cluster_id, was) {
            (Some(old), Some(Some(was))) => old == was,
            (None, None) => true,
            _ => false,
        };
        let now = was.map_or_else(
            || label(None),
            |was| was.map_or_else(|| "a new person".into(), |id| label(Some(id))),
        );
        (!is_same).then(|| format!("track {}: {} → {now}", old.track_id, label(old.cluster_id)))
    };
    before.iter().zip(after).filter_map(change).collect()
}

#[cfg(test)]
mod tests {
    use geometry::BBox;
    use run::edits::Anchor;

    use super::*;

    #[test]
    fn a_correction_is_described_by_people_tracks_and_time() {
        let mark = |video: &str, t_secs: f64| {
            let bbox = BBox { x_min: 0.0, y_min: 0.0, x_max: 1.0, y_max: 1.0 };
            Mark { video_sha256: video.into(), anchors: vec![Anchor { t_secs, bbox }] }
        };
        let edit = |op, sides: &[&[f64]]| {
            let sides = sides.iter().map(|side| side.iter().map(|secs| mark("a", *secs)).collect());
            Edit::new(op, "ann", sides.collect())
        };
        let about = |people: &[i64], tracks: &[i64]| About {
            people: people.iter().copied().collect(),
            tracks: tracks.iter().copied().collect(),
        };
        let merge = edit(EditOp::Merge, &[&[75.0, 80.0], &[12.2]]);
        assert_eq!(
            described(&merge, None, &about(&[2], &[])),
            "merge: 2 + 1 faces of person 2, first at 0:12"
        );
        let split = edit(EditOp::Split, &[&[3.0], &[1.0]]);
        assert_eq!(
            described(&split, None, &about(&[2, 5], &[56])),
            "split track 56: 1 + 1 faces of people 2, 5, first at 0:01"
        );
        let removed = edit(EditOp::Name, &[&[3.0]]);
        assert_eq!(
            described(&removed, None, &about(&[4], &[])),
            "remove name: 1 face of person 4, first at 0:03"
        );
        let named = Edit { name: Some("Ross".into()), ..removed };
        assert_eq!(described(&named, None, &About::default()), "name `Ross`: 1 face, first at 0:03");
        let of_two = Edit::new(EditOp::Same, "ann", vec![vec![mark("a", 1.0)], vec![mark("b", 2.0)]]);
        assert_eq!(described(&of_two, None, &about(&[7], &[])), "same: 1 + 1 faces of person 7");
        let undo = Edit::new(EditOp::Undo, "ann", Vec::new());
        assert_eq!(described(&undo, Some(3), &About::default()), "undo of correction 3");
    }
}
