//! Takes people, or all pictures, out of a finished run, and looks whether they are gone.
//!
//! [`erase`] writes the tables of `detect-track` and `embed` anew, without the rows that show a person or
//! without pictures. What later stages made of the old tables goes with them, so that `cluster` and
//! `evaluate` start from tables in which the person never was. The records in the manifest keep the
//! fingerprints that the stages look for: a later run takes the shorter tables for what they are, and does
//! not bring anybody back unless `detect-track` is asked to look again.
//!
//! [`scan`] trusts none of that: it reads every table again, and every file of the run.
//!
//! **Architecture invariant:** rows only leave; nothing here adds one or changes what a kept row says, but
//! for the number of a box within its frame.

pub mod erase;
pub mod scan;

use std::path::PathBuf;

use failure::{Failure, exit};
use run::RunDir;
use run::manifest::StageRecord;
use run::stage::{Job, Outcome, Stage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the events of this program are called by. It is no stage: nothing of it is in the manifest.
pub const TASK: Stage = Stage {
    name: "forget",
    version: 1,
    about: "Takes people or pictures out of a run; told nothing, looks whether they are gone",
};

/// Figure of `detect-track` that lists the tracks taken out.
const TRACKS: &str = "forgotten_tracks";
/// Figure of `detect-track` that says that pictures were taken out.
const PICTURES: &str = "forgotten_pictures";

/// There is nothing to configure.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// What is to be forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// People, by their number in `identities`.
    pub identities: Vec<i64>,
    /// Every picture.
    pub pictures: bool,
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::Error),
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// No track belongs to that person.
    #[error("{} has no identity {identity}", run.display())]
    Nobody {
        /// The run directory.
        run: PathBuf,
        /// The number asked for.
        identity: i64,
    },
    /// Something is left of what was forgotten.
    #[error("{} still {what}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// What is left, as in "still holds 3 rows of track 7".
        what: String,
    },
    /// A file of the run cannot be looked into.
    #[error("cannot look into {}: {source}", path.display())]
    Unseen {
        /// The file.
        path: PathBuf,
        /// The system's own words.
        source: std::io::Error,
    },
}

impl Failure for Error {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Schema(e) => e.hint(),
            Self::Run(e) => e.hint(),
            Self::Nobody { .. } => Some("the page and the table `identities` number everybody".into()),
            Self::Trace { .. } => {
                Some("forget again; if that does not help, delete the run directory".into())
            }
            Self::Unseen { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Schema(e) => e.exit_code(),
            Self::Run(e) => e.exit_code(),
            Self::Nobody { .. } => exit::USAGE,
            Self::Trace { .. } => exit::CONTRACT,
            Self::Unseen { .. } => exit::UNEXPECTED,
        }
    }
}

/// Forgets what is asked for, or looks whether what was forgotten is gone.
///
/// # Errors
/// See [`Error`].
pub fn run(job: &mut Job<Config>, request: &Request) -> Result<Outcome, Error> {
    let record = if *request == Request::default() {
        scan::scan(&job.run)?
    } else {
        erase::erase(&mut job.run, request)?
    };
    Ok(Outcome { record, skipped: false })
}

/// A record for the closing event only.
fn told(warnings: Vec<String>, figures: impl IntoIterator<Item = (&'static str, Value)>) -> StageRecord {
    StageRecord {
        stage: TASK.name.into(),
        version: TASK.version,
        warnings,
        figures: figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..StageRecord::default()
    }
}

/// Tracks that were taken out of the run.
fn forgotten(run: &RunDir) -> Vec<i64> {
    let figures = run.manifest().stage("detect-track").map(|record| &record.figures);
    let list = figures.and_then(|figures| figures.get(TRACKS)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_i64).collect()
}

/// Whether pictures were taken out of the run.
fn has_no_pictures(run: &RunDir) -> bool {
    let figures = run.manifest().stage("detect-track").map(|record| &record.figures);
    figures.and_then(|figures| figures.get(PICTURES)) == Some(&Value::Bool(true))
}
