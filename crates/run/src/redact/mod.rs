//! Removes people, or all pictures, from a finished run, and checks that they are gone.
//!
//! [`redact_run`] writes the tables of `detect-track` and `embed` anew, without the rows that show a person or
//! without pictures. The results of later stages were made from the old tables and are removed with them, so
//! that `cluster` and `evaluate` start from tables in which the person never was. The records in the manifest
//! keep the fingerprints that the stages look for: a later run accepts the shorter tables, and only a run from
//! `detect-track` on detects the person again.
//!
//! The edits of a removed person go with the tracks, whether they count or are undone: their anchors, names and
//! reasons.
//!
//! [`redact_check`] trusts none of that: it reads every table and every file of the run again. A [`Report`] says what
//! was removed where, and proves later that nothing has come back.
//!
//! **Architecture invariant:** rows are only removed; nothing here adds a row or changes a kept one, except for
//! the number of a box within its frame.

mod erase;
mod report;
mod scan;
mod traces;

use std::collections::BTreeSet;
use std::path::PathBuf;

use failure::{Advice, Failure, exit};
use schema::tables::Identity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use erase::{Outlook, outlook, redact_run};
pub use report::{Before, Change, Place, PlaceKind, Report};
pub use scan::redact_check;
pub use traces::{Digester, bytes, each_trace};

use crate::manifest::StageRecord;
use crate::reader::RunReader;
use crate::stage::Stage;

/// The task, as its events name it. It is no stage: the manifest has no record of it.
pub const TASK: Stage = Stage {
    name: "redact",
    version: 1,
    about: "Removes people or pictures from a run; without options, checks that they are gone",
};

/// Figure of `detect-track` that lists the removed tracks.
const TRACKS: &str = "forgotten_tracks";
/// Figure of `detect-track` that says that the pictures were removed.
const PICTURES: &str = "forgotten_pictures";

/// The configuration, which is empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// What to remove. The default asks for a check only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// People, by `cluster_id`.
    pub identities: Vec<i64>,
    /// Further tracks, by `track_id`: the same person, found by another run of the video.
    pub tracks: BTreeSet<i64>,
    /// Every picture.
    pub pictures: bool,
    /// Directories with a log of corrections about several videos, of which this run's is one: galleries.
    pub logs: Vec<PathBuf>,
}

/// Error of a redaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The run directory cannot be used.
    #[error(transparent)]
    Run(#[from] crate::Error),
    /// No track belongs to the person.
    #[error("`{}` has no person {}", run.display(), Identity::number(*cluster_id))]
    NoIdentity {
        /// The run directory.
        run: PathBuf,
        /// Key of the cluster asked for.
        cluster_id: i64,
    },
    /// A trace of a removed person or picture is left.
    #[error("`{}` still {what}", path.display())]
    Trace {
        /// The file.
        path: PathBuf,
        /// The trace, as in "names track 7".
        what: String,
    },
}

impl Failure for Error {
    fn advice(&self) -> Advice {
        match self {
            Self::Run(e) => e.advice(),
            Self::NoIdentity { .. } => {
                Advice::new(exit::USAGE, "the page lists the people with their numbers")
            }
            Self::Trace { .. } => Advice::new(
                exit::CONTRACT,
                "redact the run again; if that does not help, delete the run directory",
            ),
        }
    }
}

impl From<schema::Error> for Error {
    fn from(error: schema::Error) -> Self {
        Self::Run(error.into())
    }
}

/// A record for the closing event only.
fn record(warnings: Vec<String>, figures: impl IntoIterator<Item = (&'static str, Value)>) -> StageRecord {
    StageRecord {
        stage: TASK.name.into(),
        version: TASK.version,
        warnings,
        figures: figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..StageRecord::default()
    }
}

/// Figure of `detect-track`; null where there is none.
fn figure<'a>(run: &'a RunReader, name: &str) -> &'a Value {
    run.manifest().stage("detect-track").and_then(|record| record.figures.get(name)).unwrap_or(&Value::Null)
}

/// Tracks that were removed from the run.
pub fn removed_tracks(run: &RunReader) -> BTreeSet<i64> {
    figure(run, TRACKS).as_array().into_iter().flatten().filter_map(Value::as_i64).collect()
}

/// Whether the pictures were removed from the run.
pub fn has_no_pictures(run: &RunReader) -> bool {
    *figure(run, PICTURES) == true
}
