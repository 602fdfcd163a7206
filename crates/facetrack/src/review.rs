//! `facetrack review`: the page on which a user corrects a run or a gallery.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use console::{Error, Result, process, say};
use gallery::Library;
use gallery::validate::is_library;
use run::RunReader;
use run::edits::EditOp;
use run::stage::Reporter;

use crate::edits::{Act, heeding, user};
use crate::people::{self, How};
use crate::single::open;
use crate::{keys, library_edits};

/// Arguments of `review`.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The run directory, or a gallery
    run: PathBuf,
    /// The video file, if the file was moved after the run
    #[arg(long, value_name = "FILE")]
    video: Option<PathBuf>,
    /// Port of 127.0.0.1 [default: a free one]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Show the run, but refuse corrections
    #[arg(long)]
    read_only: bool,
    /// Who makes the corrections [default: $USER]
    #[arg(long, value_name = "NAME")]
    author: Option<String>,
    /// Ground truth, CSV, for the metrics of the page
    #[arg(long, value_name = "CSV")]
    labels: Option<PathBuf>,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
}

/// Serves the page until Ctrl-C.
pub(crate) fn main(args: &ReviewArgs) -> Result<()> {
    let run = std::path::absolute(&args.run).map_err(Error::io("resolve", &args.run))?;
    let author = args.author.clone().unwrap_or_else(user);
    let options = review::Options {
        run: run.clone(),
        video: args.video.clone(),
        port: args.port,
        is_read_only: args.read_only,
        author: author.clone(),
    };
    let library = is_library(&run).then(|| run.clone());
    // A correction of the gallery waits until the names of a run are taken, and the other way round.
    let turn = Arc::new(Mutex::new(()));
    let other = turn.clone();
    let make = move |run: &Path| {
        make_tables(run, args.labels.as_deref())?;
        // The gallery takes the names of the run, and gives them to the other runs.
        let Some(library) = &library else { return Ok(()) };
        let _turn = other.lock();
        let mut reporter = Reporter::new("library", false);
        let added = people::add(library, &[run.to_path_buf()], How::Add, 1, &mut reporter);
        added.map(drop).map_err(|error| error.to_string())
    };
    let act = Act::by(author);
    let correct = Box::new(move |what: &review::Act| {
        let _turn = turn.lock();
        correct(&run, what, &act)
    });
    let ready = |address: &str| {
        eprintln!("open this address in a browser; the address works once. Ctrl-C ends the server");
        say(address);
        if args.open {
            open(address.as_ref());
        }
    };
    let removals = Removals::new(&args.run)?;
    review::serve(&options, &make, correct, &|| process::interrupted() || removals.has_new(), ready)?;
    if removals.has_new() {
        eprintln!(
            "something was removed from a run that the page shows, so the server has ended; start it again"
        );
    }
    Ok(())
}

/// Time between two looks at the manifests of the runs.
const LOOK: Duration = Duration::from_secs(1);

/// Notices when `redact` removes something from a run. The server holds a copy of the pictures until it ends.
#[derive(Debug)]
struct Removals {
    runs: Vec<(PathBuf, Option<SystemTime>)>,
    before: Vec<Removed>,
    looked: Mutex<(Instant, bool)>,
}

/// Number of removed tracks, and whether the pictures were removed; `None` for a run that is not there.
type Removed = Option<(usize, bool)>;

impl Removals {
    fn new(root: &Path) -> Result<Self> {
        let runs: Vec<PathBuf> = match is_library(root) {
            true => Library::view(root)?.videos().filter_map(|video| video.run_dir).collect(),
            false => vec![root.to_path_buf()],
        };
        let before = runs.iter().map(|run| Self::of(run)).collect();
        let runs = runs.into_iter().map(|run| (run.clone(), Self::changed(&run))).collect();
        Ok(Self { runs, before, looked: Mutex::new((Instant::now(), false)) })
    }

    fn of(run: &Path) -> Removed {
        let run = RunReader::open(run).ok()?;
        Some((run::redact::removed_tracks(&run).len(), run::redact::has_no_pictures(&run)))
    }

    fn changed(run: &Path) -> Option<SystemTime> {
        run.join(run::manifest::FILE_NAME).metadata().and_then(|found| found.modified()).ok()
    }

    fn has_new(&self) -> bool {
        let Ok(mut looked) = self.looked.lock() else { return false };
        if !looked.1 && looked.0.elapsed() >= LOOK {
            let is_new = |((run, changed), before): (&(PathBuf, Option<SystemTime>), &Removed)| {
                Self::changed(run) != *changed && before.is_some() && Self::of(run) != *before
            };
            *looked = (Instant::now(), self.runs.iter().zip(&self.before).any(is_new));
        }
        looked.1
    }
}

/// Performs an act on a gallery. Returns a sentence about the result, or the reason of the refusal.
fn correct(root: &Path, what: &review::Act, act: &Act) -> std::result::Result<String, String> {
    let add = |op, people: &[String], name| library_edits::correct(root, op, people, name, act);
    let done = match what {
        review::Act::Name { person, name } => add(EditOp::Name, &[person.to_string()], Some(name)),
        review::Act::Same { people } => add(EditOp::Same, people, None),
        review::Act::Different { people } => add(EditOp::Different, people, None),
        review::Act::Undo => library_edits::undo(root, None, act),
        review::Act::Redo => library_edits::redo(root, act),
    };
    done.map_err(|error| error.message)
}

/// Runs `cluster` and `evaluate` in separate process groups: the Ctrl-C that ends the server must not interrupt the
/// update of the tables.
fn make_tables(run: &Path, labels: Option<&Path>) -> std::result::Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let config = run.join("config.toml");
    let settings = heeding(run).map_err(|error| error.to_string())?;
    for stage in [cluster::STAGE.name, evaluate::STAGE.name] {
        let mut command = Command::new(&program);
        command.args(["stage", stage, "--run-dir"]).arg(run).arg("--config").arg(&config);
        let settings = settings.iter().filter(|_| stage == cluster::STAGE.name);
        command.args(settings.flat_map(|setting| ["--set", setting]));
        let labels = labels.filter(|_| stage == evaluate::STAGE.name);
        command.args(labels.iter().flat_map(|labels| [Path::new("--labels"), labels]));
        keys::pass(&mut command);
        let done =
            command.stdin(Stdio::null()).process_group(0).output().map_err(|error| error.to_string())?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            return Err(process::tail(&said, 2));
        }
    }
    Ok(())
}
