//! Edits: the corrections of a user, such as "these two people are one person" or "this person has this name".
//!
//! * [`Log`]: the two tables `edits` and `edit_anchors` of a run directory. Edits are only added.
//! * [`Faces`]: converts the tracks of a run to anchors, and finds the tracks of a later run by anchors.
//!
//! An edit names faces by video, time and box, never by track: see [`Mark`]. The crate `cluster` applies edits to
//! people.

mod faces;
mod log;
mod name;

use geometry::BBox;
use schema::Symbol;
use serde::Serialize;

pub use faces::{Faces, LEAST_IOU, MOST_ANCHORS};
pub use log::LOCK;
pub use log::Log;
pub(crate) use log::PATIENCE;
pub use name::{is_number, name};
pub use schema::tables::EditOp;

/// The box of a face in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anchor {
    /// Presentation time of the frame, seconds since the start of the container.
    pub t_secs: f64,
    /// The box, pixels of the upright frame.
    pub bbox: BBox,
}

/// One face: boxes of one track of the run that the edit was made on, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// SHA-256 of the video file, lower-case hexadecimal.
    pub video_sha256: Symbol,
    /// The boxes, at least one.
    pub anchors: Vec<Anchor>,
}

/// An edit: its kind, its faces and its author. The undone edit of an undo is in [`Entry`].
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Kind of the edit.
    pub op: EditOp,
    /// The name of the person; `None` unless `op` is `name`, and `None` removes a name.
    pub name: Option<String>,
    /// Groups of faces: see [`EditOp`] for what each means.
    pub sides: Vec<Vec<Mark>>,
    /// Who made the edit.
    pub author: String,
    /// Reason for the edit; `None` when no reason was given.
    pub reason: Option<String>,
}

impl Edit {
    /// Creates an edit without a name and a reason.
    pub fn new(op: EditOp, author: impl Into<String>, sides: Vec<Vec<Mark>>) -> Self {
        Self { op, name: None, sides, author: author.into(), reason: None }
    }

    /// Returns whether two edits have the same effect; author and reason may differ.
    pub fn says_the_same(&self, other: &Self) -> bool {
        (self.op, &self.name, &self.sides) == (other.op, &other.name, &other.sides)
    }
}

/// An edit of a log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Key of the edit, from 1, rising in the order in which edits were made.
    pub edit_id: i64,
    /// Time at which the edit was made, UTC, as in `2026-11-28T18:20:00Z`.
    pub made_at: String,
    /// Key of the edit that no longer counts; `None` unless `op` is `undo`.
    pub undoes: Option<i64>,
    /// The edit.
    pub edit: Edit,
}

impl Entry {
    /// Returns whether the edit has faces of more than one video, as edits of a gallery have.
    pub(crate) fn is_of_several_videos(&self) -> bool {
        let mut videos = self.edit.sides.iter().flatten().map(|mark| &mark.video_sha256);
        let first = videos.next();
        videos.any(|video| Some(video) != first)
    }
}

/// Parts of an edit that determine its effect, for the fingerprint; neither the author nor the time.
#[derive(Serialize)]
struct Effect<'a>(&'static str, Option<&'a str>, Vec<Vec<Face<'a>>>);

/// A mark: the video, and the time and edges of each box.
type Face<'a> = (&'a str, Vec<(f64, [f32; 4])>);

impl<'a> From<&'a Edit> for Effect<'a> {
    fn from(edit: &'a Edit) -> Self {
        use schema::cell::Category as _;
        let mark = |mark: &'a Mark| {
            let anchors = mark.anchors.iter().map(|anchor| (anchor.t_secs, anchor.bbox.edges()));
            (mark.video_sha256.as_str(), anchors.collect())
        };
        let sides = edit.sides.iter().map(|side| side.iter().map(mark).collect());
        Self(edit.op.word(), edit.name.as_deref(), sides.collect())
    }
}
