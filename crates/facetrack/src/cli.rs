//! The command line: verbs, options, and what each accepts.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use serde::de::DeserializeOwned;
use serde::de::value::StrDeserializer;

use crate::edits::EditsVerb;
use crate::find::FindArgs;
use crate::keys::{KeyFile, KeyVerb};
use crate::migrate::MigrateArgs;
use crate::models;
use crate::review::ReviewArgs;
use crate::sources::Own;
use crate::stage::Stage;
use crate::subject::SubjectArgs;

const EXIT_CODES: &str = "Exit codes: 0 success, 1 unexpected, 2 usage, 3 unusable input or weights, \
4 contract mismatch, 5 quality gate, 75 busy, 130 interrupted.";

/// Finds the faces in a video, tracks them, and groups the tracks into people.
///
/// `facetrack VIDEO` is the short form of `facetrack run VIDEO`.
#[derive(Debug, Parser)]
#[command(name = "facetrack", version, after_help = EXIT_CODES, arg_required_else_help = true)]
#[command(override_usage = "facetrack <VIDEO>...\n       facetrack <VERB>")]
#[command(propagate_version = true, subcommand_value_name = "VERB", subcommand_help_heading = "Verbs")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) key: KeyFile,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Analyse a video: write its tables and a page that shows who is on screen
    Run(Box<RunArgs>),
    /// Manage a gallery: one person_id per person in several videos
    #[command(subcommand)]
    Library(LibraryVerb),
    /// List the people of a gallery who resemble the face in a photo; candidates, not identifications
    #[command(after_help = EXIT_CODES)]
    Find(FindArgs),
    /// Correct a run: merge, split and name people; later runs keep the corrections
    #[command(subcommand, after_help = EXIT_CODES)]
    Edits(EditsVerb),
    /// Check and correct a run or a gallery in the browser, with a page that only this machine can open
    #[command(after_help = EXIT_CODES)]
    Review(ReviewArgs),
    /// Export a run to the format of another tool
    Export(ExportArgs),
    /// Compare two runs of one video: who is the same person, and which faces moved
    #[command(after_help = EXIT_CODES)]
    Compare(CompareArgs),
    /// Convert what another tool found: to labels for `run --labels`, or to names for the people of a run
    Import(ImportArgs),
    /// Serve a run or a gallery to an assistant over the Model Context Protocol: who is on screen, scenes of a person
    ///
    /// The server speaks JSON-RPC over standard input and output. It reads only, and has no tool that returns pictures
    /// or vectors.
    #[command(after_help = EXIT_CODES)]
    Mcp {
        /// The run directory, or a gallery
        path: PathBuf,
    },
    /// Check tables against their schemas, and the tables of a run or a gallery against each other
    #[command(after_help = "Prints one fault per line to standard output. Exit codes: 0 no fault, \
                            1 unexpected, 2 usage, 3 missing path, 4 faults.")]
    Validate {
        /// A run directory, a gallery, a folder of tables, or one table
        path: PathBuf,
    },
    /// Remove people or pictures from runs and galleries, and verify that nothing is left
    #[command(visible_alias = "forget", after_help = EXIT_CODES)]
    Redact(Box<RedactArgs>),
    /// Write what is stored of one person into a folder: where and when the person appears, pictures and vectors
    #[command(after_help = EXIT_CODES)]
    SubjectReport(SubjectArgs),
    /// Make keys, and encrypt runs and galleries with another key
    #[command(subcommand, after_help = EXIT_CODES)]
    Key(KeyVerb),
    /// List the weights of the networks, or download, verify and convert them
    Models(ModelsArgs),
    /// Check this machine: weights, cache, device, optional programs
    Doctor {
        #[command(flatten)]
        weights: WeightsDir,
    },
    /// Print a configuration file with every setting, its default and its meaning
    Settings,
    /// Run a single stage on a run directory
    #[command(subcommand, after_help = EXIT_CODES)]
    Stage(Stage),
    /// Write shell completions to standard output
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man {
        /// The folder
        folder: PathBuf,
    },
    /// Write the documents of the tables, check that they are current, or release them
    #[command(hide = true)]
    Schemas {
        /// The folder of the documents
        folder: PathBuf,
        /// Only check: fail if a document differs from the source
        #[arg(long)]
        check: bool,
        /// Release the present table versions, with the tables of this run as examples
        #[arg(long, value_name = "RUN", conflicts_with = "check")]
        release: Option<PathBuf>,
    },
    /// Print the default settings of every stage as JSON
    #[command(hide = true)]
    Defaults,
    /// Convert weights of any known format to safetensors
    #[command(hide = true)]
    Convert {
        /// ONNX, safetensors, dlib or TensorFlow
        from: PathBuf,
        /// The safetensors file to write
        to: PathBuf,
        /// Keep only these tensors, under new names
        #[arg(value_name = "NEW=OLD")]
        names: Vec<String>,
    },
}

/// Arguments of `run`.
#[derive(Debug, Clone, Default, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct RunArgs {
    /// Video files, folders, or glob patterns such as 'season1/*.mkv'; people are matched across several videos
    #[arg(value_name = "VIDEO", required_unless_present = "video")]
    pub(crate) videos: Vec<PathBuf>,
    /// The same as VIDEO
    #[arg(long, value_name = "VIDEO", num_args = 1..)]
    pub(crate) video: Vec<PathBuf>,
    /// Also search the subfolders of given folders
    #[arg(long)]
    pub(crate) recursive: bool,
    /// The videos are of one series, such as the episodes of a season: link the tracks of all of them together
    #[arg(long)]
    pub(crate) series: bool,
    /// Ground truth, CSV: frame,x,y,w,h,identity; adds metrics to the report
    #[arg(long, value_name = "CSV")]
    pub(crate) labels: Option<PathBuf>,
    /// Before the first stage, import the corrections of a file, JSON or CSV, as `facetrack edits import` does
    #[arg(long, value_name = "FILE")]
    pub(crate) edits: Option<PathBuf>,
    /// Fail with exit code 5 if a correction is not applied
    #[arg(long)]
    pub(crate) strict: bool,
    /// Output folder [default: runs/NAME-OF-THE-VIDEO]; for several videos, the folder of their runs
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Name of the run in its tables [default: the name of the output folder]
    #[arg(long, value_name = "NAME", value_parser = parse_run_id)]
    pub(crate) run_id: Option<String>,
    /// At the end, write hashes of the results and no times, JSON; for an unusable video, the reason. One video only
    #[arg(long, value_name = "FILE")]
    pub(crate) stamp: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Another run of the video: stages with the same settings and weights take over its tables instead of running
    #[arg(long, value_name = "DIR")]
    pub(crate) reuse: Option<PathBuf>,
    /// Match the people to this gallery [default for several videos: runs/library]
    #[arg(long, value_name = "DIR")]
    pub(crate) library: Option<PathBuf>,
    /// Day from which the run must be gone: a date, or a number of days such as 90d; see `redact --expired`
    #[arg(long, value_name = "DAY", value_parser = parse_expiry)]
    pub(crate) expires: Option<String>,
    /// Configuration file, TOML, one section per stage
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Also write a video with boxes and names, .mp4 or .mkv
    #[arg(long, value_name = "OUT")]
    pub(crate) annotate: Option<PathBuf>,
    /// Custom weights for an embedder: safetensors, ONNX, dlib or TensorFlow
    #[arg(long, value_name = "[NAME=]FILE", value_parser = Own::parse)]
    pub(crate) weights: Vec<Own>,
    #[command(flatten)]
    pub(crate) weights_dir: WeightsDir,
    /// Run this stage and all later ones even if nothing has changed
    #[arg(long, value_name = "STAGE", value_parser = PossibleValuesParser::new(run::manifest::STAGES))]
    pub(crate) from: Option<String>,
    /// Number of worker threads; does not change the result [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) threads: Option<usize>,
    /// Keep no pictures: face images are deleted after embedding
    #[arg(long)]
    pub(crate) no_crops: bool,
    /// If a stage crashes on a frame, continue without the frames around it
    #[arg(long)]
    pub(crate) skip_bad: bool,
    /// Print JSON Lines: every event of every stage, then run_finished
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only warnings, errors and the path of the page
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Also show the figures of every stage
    #[arg(long, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Open the page in the browser when the run has finished
    #[arg(long)]
    pub(crate) open: bool,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

impl RunArgs {
    /// All videos, folders and patterns that are given, in their order.
    pub(crate) fn given(&self) -> impl Iterator<Item = &PathBuf> {
        self.video.iter().chain(&self.videos)
    }
}

/// Options that are settings of the stages: each overrides what the configuration file says.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Face detector
    #[arg(long, value_parser = one_of::<detect_track::detector::DetectorKind>())]
    detector: Option<String>,
    /// Face tracker
    #[arg(long, value_parser = one_of::<detect_track::tracker::TrackerKind>())]
    tracker: Option<String>,
    /// Size of the smallest face to detect, in pixels of the picture with square pixels
    #[arg(long, value_name = "PIXELS", value_parser = parse_face_px)]
    min_face_px: Option<f64>,
    /// Do not measure the colours of clothes
    #[arg(long)]
    no_context: bool,
    /// Embedders; tracks are linked by the first. auto: sface with the view retail; if the weights of retail are missing,
    /// sface with --flip
    #[arg(long, value_delimiter = ',', value_parser = embedders())]
    embedder: Vec<String>,
    /// Views: networks whose evidence is added to that of the first embedder for linking; needs --embedder
    #[arg(long, value_name = "EMBEDDER", value_delimiter = ',', value_parser = one_of::<embed::Name>(), requires = "embedder")]
    view: Vec<String>,
    /// Embed every face and its mirror image; takes twice the time
    #[arg(long)]
    flip: bool,
    /// Linking method
    #[arg(long, value_parser = one_of::<cluster::Name>())]
    method: Option<String>,
    /// Distance between tracks; not used by link
    #[arg(long, value_parser = one_of::<cluster::linkage::Metric>())]
    metric: Option<String>,
    /// Distance between clusters, for agglomerative
    #[arg(long, value_parser = one_of::<cluster::linkage::Linkage>())]
    linkage: Option<String>,
    /// Number of people, for link, agglomerative and kmeans
    #[arg(long, value_name = "N", value_parser = parse_count)]
    k: Option<usize>,
    /// Largest distance at which clusters are joined, for link and agglomerative; the page shows other values
    #[arg(long, value_name = "DISTANCE", value_parser = parse_distance, conflicts_with = "k")]
    threshold: Option<f64>,
    /// Never link tracks that share a frame; link always does this
    #[arg(long)]
    constraints: bool,
    /// Ignore the corrections of the run
    #[arg(long)]
    no_edits: bool,
    /// Use the corrections of the run as constraints for linking, too
    #[arg(long, conflicts_with = "no_edits")]
    relink_with_edits: bool,
    /// Device of the embedding networks
    #[arg(long, value_name = "cpu|cuda[:N]|auto", value_parser = parsed::<nn::device::Choice>)]
    device: Option<String>,
    /// Precision of the embedding networks; int8 needs the CPU, f16 a CUDA device
    #[arg(long, value_name = "int8|f32|f16|auto", value_parser = parsed::<nn::device::Precision>)]
    precision: Option<String>,
    /// Show faces on the page of an encrypted run; the page is not encrypted
    #[arg(long)]
    page_pictures: bool,
    /// Show names on the page and in the subtitles of an encrypted run, which are not encrypted
    #[arg(long)]
    page_names: bool,
    /// Address of the video for the times on the page; one that ends with / is a folder [default: the video file]
    #[arg(long, value_name = "URL")]
    video_url: Option<String>,
}

impl Settings {
    /// Each setting that is given, as a line of TOML.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = |given: &Option<String>| given.as_ref().map(|text| format!("{text:?}"));
        let flag = |given: bool| given.then(|| "true".to_owned());
        let list = |given: &[String]| (!given.is_empty()).then(|| format!("{given:?}"));
        let embedders = match self.embedder.as_slice() {
            [auto] if auto == embed::AUTO => Some(format!("{auto:?}")),
            names => list(names),
        };
        // Rust writes plain text, lists of it, and finite numbers as TOML does.
        let values = [
            ("detect-track.detector", text(&self.detector)),
            ("detect-track.tracker", text(&self.tracker)),
            ("detect-track.min_face_px", self.min_face_px.map(|px| format!("{px:?}"))),
            ("detect-track.context", self.no_context.then(|| "false".to_owned())),
            ("embed.embedders", embedders),
            ("embed.views", list(&self.view)),
            ("embed.flip", flag(self.flip)),
            ("cluster.method", text(&self.method)),
            ("cluster.metric", text(&self.metric)),
            ("cluster.linkage", text(&self.linkage)),
            ("cluster.k", self.k.map(|k| k.to_string())),
            ("cluster.threshold", self.threshold.map(|distance| format!("{distance:?}"))),
            ("cluster.constraints", flag(self.constraints)),
            ("cluster.edits", self.no_edits.then(|| "\"off\"".to_owned())),
            ("cluster.edits", self.relink_with_edits.then(|| "\"relink\"".to_owned())),
            ("embed.device", text(&self.device)),
            ("embed.precision", text(&self.precision)),
            ("evaluate.page_pictures", flag(self.page_pictures)),
            ("evaluate.page_names", flag(self.page_names)),
            ("evaluate.video_url", text(&self.video_url)),
        ];
        values.into_iter().filter_map(|(key, value)| Some(format!("{key} = {}", value?))).collect()
    }
}

/// Patience with other processes.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Wait {
    /// Seconds to wait while another process uses the run directory or the gallery; after that, the exit code is 75
    #[arg(long = "wait", value_name = "SECS", value_parser = clap::value_parser!(u32), default_value_t)]
    pub(crate) secs: u32,
}

impl Verb {
    /// Whether the verb reads or writes tables with the key of the process.
    pub(crate) fn uses_key(&self) -> bool {
        !matches!(
            self,
            Self::Key(_)
                | Self::Models(_)
                | Self::Doctor { .. }
                | Self::Settings
                | Self::Defaults
                | Self::Completions { .. }
                | Self::Man { .. }
                | Self::Schemas { .. }
                | Self::Convert { .. }
        )
    }

    /// Time to wait for another process.
    pub(crate) fn patience(&self) -> Duration {
        let secs = match self {
            Self::Run(run) => run.wait.secs,
            Self::Stage(stage) => stage.shared().wait.secs,
            Self::Library(
                LibraryVerb::Build { wait, .. }
                | LibraryVerb::Add { wait, .. }
                | LibraryVerb::Remove { wait, .. }
                | LibraryVerb::Migrate(MigrateArgs { wait, .. }),
            ) => wait.secs,
            _ => 0,
        };
        Duration::from_secs(secs.into())
    }
}

/// Location of the pinned weights.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WeightsDir {
    /// Folder of the weights [default: weights/ in the cache, $FACETRACK_CACHE]
    #[arg(long = "weights-dir", value_name = "DIR")]
    given: Option<PathBuf>,
}

impl WeightsDir {
    /// The folder that is given.
    pub(crate) fn given(&self) -> Option<&Path> {
        self.given.as_deref()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum LibraryVerb {
    /// Make the gallery from these runs only; the result does not depend on the order of the runs
    Build {
        /// Directory of the gallery
        #[arg(long, value_name = "DIR")]
        library: PathBuf,
        /// A finished run; may be repeated
        #[arg(long, value_name = "DIR", required_unless_present = "runs_from")]
        run_dir: Vec<PathBuf>,
        /// A file with one run directory per line; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        runs_from: Option<PathBuf>,
        /// Number of worker threads; does not change the result [default: all cores]
        #[arg(long, value_name = "N", value_parser = parse_count)]
        threads: Option<usize>,
        /// Save progress after N runs, and every minute: a build that was killed continues there [default: 500]
        #[arg(long, value_name = "N", value_parser = parse_count)]
        save_every: Option<usize>,
        /// Day from which the gallery must be gone: a date, or a number of days such as 90d; see `redact --expired`
        #[arg(long, value_name = "DAY", value_parser = parse_expiry)]
        expires: Option<String>,
        #[command(flatten)]
        wait: Wait,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Match the people of finished runs to the people of the gallery, one run after the other
    Add {
        /// Directory of the gallery
        #[arg(long, value_name = "DIR")]
        library: PathBuf,
        /// A finished run; may be repeated
        #[arg(long, value_name = "DIR", required = true)]
        run_dir: Vec<PathBuf>,
        #[command(flatten)]
        wait: Wait,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
    /// Give the gallery and its runs the vectors of another embedder, from the stored face images; people keep their
    /// person_id and name
    #[command(after_help = EXIT_CODES)]
    Migrate(MigrateArgs),
    /// Remove a video, and people who appear in no other video
    Remove {
        /// Directory of the gallery
        #[arg(long, value_name = "DIR")]
        library: PathBuf,
        /// video_id of the video, as in videos.parquet and library.json
        #[arg(long, value_name = "ID")]
        video_id: String,
        #[command(flatten)]
        wait: Wait,
        /// Print JSON Lines
        #[arg(long)]
        json: bool,
    },
}

/// The export that is a folder of tables.
pub(crate) const DATASET: &str = "dataset";

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The run directory
    #[arg(long, value_name = "DIR", alias = "run")]
    pub(crate) run_dir: PathBuf,
    /// The format
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(formats::export::FORMATS.iter().map(|(name, _)| *name).chain([DATASET])), requires_if(DATASET, "out"))]
    pub(crate) to: String,
    /// Output file, or for a dataset an empty folder [default: standard output]
    #[arg(long, value_name = "PATH")]
    pub(crate) out: Option<PathBuf>,
    /// Put the pictures of faces into the dataset
    #[arg(long)]
    pub(crate) pictures: bool,
    /// Put the vectors of faces, which are biometric data, into the dataset
    #[arg(long)]
    pub(crate) vectors: bool,
    /// Licence of the dataset, as an SPDX expression or an address
    #[arg(long, value_name = "LICENSE")]
    pub(crate) license: Option<String>,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A run directory
    #[arg(value_name = "RUN_A")]
    pub(crate) run_a: PathBuf,
    /// Another run directory of the same video
    #[arg(value_name = "RUN_B")]
    pub(crate) run_b: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `import` writes in place of labels.
pub(crate) const EDITS: &str = "edits";

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// MOTChallenge (.txt), CVAT (.xml), COCO (.json), CSV, or a file of another format of --from
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    /// Output file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The format [default: by the file extension]
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(formats::labels::LabelFormat::ALL.map(|(_, name, _)| name)))]
    pub(crate) from: Option<String>,
    /// Write labels as CSV for `run --labels`, or corrections that name the people of RUN_DIR for `edits import`
    #[arg(long, value_name = "WHAT", value_parser = ["labels", EDITS], default_value = "labels", requires_if(EDITS, "run_dir"))]
    pub(crate) to: String,
    /// A run of the video; needed for corrections, and for formats with times or relative boxes
    #[arg(long, value_name = "DIR", alias = "run")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Number of the first frame in the file [default: 1 for mot, otherwise 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) first_frame: Option<i64>,
    /// All N frames are labelled; frames without a row have no face
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=formats::labels::MOST_FRAMES))]
    pub(crate) frames: Option<i64>,
}

/// Arguments of `redact`. A run without people and pictures is only verified.
#[derive(Debug, Default, Args)]
pub(crate) struct RedactArgs {
    /// The run directory
    #[arg(long, value_name = "DIR", alias = "run", required_unless_present_any = ["library", "verify", "expired"])]
    pub(crate) run_dir: Option<PathBuf>,
    /// People to remove from the run, by their number on the page
    #[arg(long, value_name = "N,..", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..), requires = "run_dir")]
    pub(crate) identity: Vec<u32>,
    /// Also remove the people from other runs of the video, which are beside the run or in a gallery
    #[arg(long, requires = "identity")]
    pub(crate) other_runs: bool,
    /// Remove all pictures from the run
    #[arg(long, requires = "run_dir")]
    pub(crate) pictures: bool,
    /// The gallery of PERSON; with --identity, a gallery that loses the people, too. Galleries beside a run are found
    /// without this option
    #[arg(long, value_name = "DIR")]
    pub(crate) library: Vec<PathBuf>,
    /// A person to remove from a gallery, from every run that the gallery names, and from other runs of these videos
    /// beside them: a person_id, or a name
    #[arg(long, value_name = "PERSON", requires = "library", conflicts_with = "run_dir")]
    pub(crate) person: Option<String>,
    /// List what would be removed where, and remove nothing
    #[arg(long, conflicts_with_all = ["verify", "expires"])]
    pub(crate) dry_run: bool,
    /// Write a report to this file, JSON, and as text beside it: what was removed where, with hashes
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) report: Option<PathBuf>,
    /// Who signs the report off [default: the user name]
    #[arg(long, value_name = "NAME", requires = "report")]
    pub(crate) signed_off_by: Option<String>,
    /// Reason or reference of the request, for the report
    #[arg(long, value_name = "TEXT", requires = "report")]
    pub(crate) reason: Option<String>,
    /// Verify that nothing that a report lists is left or has come back
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["run_dir", "library", "report", "expired", "expires"])]
    pub(crate) verify: Option<PathBuf>,
    /// Set the day from which the run or the gallery must be gone: a date, a number of days such as 90d, or never
    #[arg(long, value_name = "DAY", value_parser = parse_expiry, conflicts_with_all = ["identity", "pictures", "person"])]
    pub(crate) expires: Option<String>,
    /// Delete the runs and galleries below this folder, or of this gallery, whose day has come; see --dry-run
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["run_dir", "library", "expires"])]
    pub(crate) expired: Option<PathBuf>,
    /// Print JSON Lines: every event, then `forgotten`, `would_remove`, `verified` or `expired`
    #[arg(long)]
    pub(crate) json: bool,
}

/// What `--expires` takes for no day.
pub(crate) const NEVER: &str = "never";

/// Reads a day of expiry, or `never`.
pub(crate) fn parse_expiry(text: &str) -> Result<String, String> {
    if text == NEVER { Ok(NEVER.into()) } else { run::date::parse_expiry(text) }
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<ModelsVerb>,
    #[command(flatten)]
    pub(crate) weights: WeightsDir,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsVerb {
    /// List the weights with their state, source and licence (the default)
    List {
        #[command(flatten)]
        weights: WeightsDir,
    },
    /// Download, verify and convert missing weights
    Fetch {
        /// Only these [default: all]
        #[arg(value_name = "NAME", value_parser = PossibleValuesParser::new(models::names()))]
        names: Vec<String>,
        #[command(flatten)]
        weights: WeightsDir,
    },
}

/// The option that every verb has.
const KEY_OPTION: &str = "--encryption-key";

/// The arguments with the verb `run` put in where a video comes first.
pub(crate) fn with_verb(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    // The key may come before the verb, as before every verb.
    let at = match arguments.get(1).map(|first| first.to_string_lossy()) {
        Some(first) if first == KEY_OPTION => 3,
        Some(first) if first.strip_prefix(KEY_OPTION).is_some_and(|rest| rest.starts_with('=')) => 2,
        _ => 1,
    };
    let is_short = arguments.get(at).is_some_and(|first| {
        let text = first.to_string_lossy();
        let is_path = || text.contains(['/', '.', '*', '?']) || Path::new(first).exists();
        let is_verb = || Cli::command().find_subcommand(text.as_ref()).is_some();
        match text.strip_prefix('-') {
            Some(option) => !["h", "-help", "V", "-version"].contains(&option),
            None => !is_verb() && is_path(),
        }
    });
    if is_short {
        arguments.insert(at, "run".into());
    }
    arguments
}

/// Accepts the names of embedders, and `auto`.
fn embedders() -> PossibleValuesParser {
    PossibleValuesParser::new(std::iter::once(embed::AUTO).chain(embed::spec::NAMES))
}

/// Accepts the names of an enum's variants as the configuration writes them.
fn one_of<T: DeserializeOwned>() -> PossibleValuesParser {
    /// An error of deserialization that keeps only the names that would have been known.
    #[derive(Debug)]
    struct Expected(&'static [&'static str]);
    impl std::fmt::Display for Expected {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "one of {}", self.0.join(", "))
        }
    }
    impl std::error::Error for Expected {}
    impl serde::de::Error for Expected {
        fn custom<M: std::fmt::Display>(_: M) -> Self {
            Self(&[])
        }
        fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
            Self(expected)
        }
    }
    let names = match T::deserialize(StrDeserializer::<Expected>::new("")) {
        Ok(_) => &[],
        Err(Expected(names)) => names,
    };
    PossibleValuesParser::new(names)
}

/// Accepts text that `T` understands.
fn parsed<T: std::str::FromStr>(text: &str) -> Result<String, String>
where
    T::Err: std::fmt::Display,
{
    text.parse::<T>().map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Reads the name of a run: what can also be the name of a directory.
pub(crate) fn parse_run_id(text: &str) -> Result<String, String> {
    let is_name =
        !text.is_empty() && text.len() <= 255 && !text.contains(|c: char| c == '/' || c.is_control());
    if is_name { Ok(text.into()) } else { Err("must be a name of 1 to 255 bytes without slashes".into()) }
}

/// Reads a whole number above zero.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be an integer above 0".into())
}

fn parse_face_px(text: &str) -> Result<f64, String> {
    let (range, number) = (detect_track::FACE_PX, text.parse().ok());
    number
        .filter(|px| range.contains(px))
        .ok_or_else(|| format!("must be between {} and {}", range.start(), range.end()))
}

fn parse_distance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0);
    number.ok_or_else(|| "must be a number from 0".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str]) -> Option<RunArgs> {
        let all = ["facetrack", "run", "v.mkv"].iter().chain(arguments);
        match Cli::try_parse_from(all).ok()?.verb {
            Verb::Run(run) => Some(*run),
            _ => None,
        }
    }

    fn lines(arguments: &[&str]) -> Option<Vec<String>> {
        run(arguments).map(|run| run.settings.lines())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_video_alone_is_short_for_run() {
        let short = |line: &str| {
            let words = with_verb(line.split(' ').map(OsString::from));
            words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(short("facetrack film.mkv --quiet"), "facetrack run film.mkv --quiet");
        assert_eq!(short("facetrack --quiet film.mkv"), "facetrack run --quiet film.mkv");
        let with_key = "facetrack --encryption-key k film.mkv";
        assert_eq!(short(with_key), "facetrack --encryption-key k run film.mkv");
        assert_eq!(
            short("facetrack --encryption-key=k validate x"),
            "facetrack --encryption-key=k validate x"
        );
        for whole in
            ["facetrack", "facetrack doctor", "facetrack forget x", "facetrack librray", "facetrack -h"]
        {
            assert_eq!(short(whole), whole);
        }
    }

    #[test]
    fn videos_come_with_and_without_the_option() {
        let run = run(&["w.mkv", "--video", "x.mkv", "y.mkv"]).unwrap_or_default();
        let names: Vec<_> = run.given().map(|path| path.display().to_string()).collect();
        assert_eq!(names, ["x.mkv", "y.mkv", "v.mkv", "w.mkv"]);
    }

    #[test]
    fn options_become_lines_of_toml() {
        let expect = |expected: &[&str]| Some(expected.iter().map(|line| (*line).to_owned()).collect());
        assert_eq!(lines(&[]), expect(&[]));
        assert_eq!(
            lines(&["--min-face-px", "20", "--detector", "haar"]),
            expect(&["detect-track.detector = \"haar\"", "detect-track.min_face_px = 20.0"])
        );
        assert_eq!(
            lines(&["--embedder", "sface", "--view", "retail,dlib"]),
            expect(&["embed.embedders = [\"sface\"]", "embed.views = [\"retail\", \"dlib\"]"])
        );
        assert_eq!(lines(&["--embedder", "auto"]), expect(&["embed.embedders = \"auto\""]));
        assert_eq!(
            lines(&["--embedder", "sface,dlib", "--flip"]),
            expect(&["embed.embedders = [\"sface\", \"dlib\"]", "embed.flip = true"])
        );
        assert_eq!(
            lines(&["--method", "kmeans", "--k", "6", "--constraints", "--device", "cuda:1"]),
            expect(&[
                "cluster.method = \"kmeans\"",
                "cluster.k = 6",
                "cluster.constraints = true",
                "embed.device = \"cuda:1\""
            ])
        );
    }

    #[test]
    fn unknown_names_and_strange_numbers_are_refused() {
        for arguments in [
            ["--detector", "eyes"],
            ["--embedder", "sface,eyes"],
            ["--device", "cuda:x"],
            ["--k", "0"],
            ["--min-face-px", "0"],
            ["--min-face-px", "NaN"],
            ["--from", "paint"],
        ] {
            assert_eq!(lines(&arguments), None, "{arguments:?}");
        }
    }
}
