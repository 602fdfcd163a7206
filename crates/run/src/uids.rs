//! The record of the people of a run directory, from which later runs take over the keys of people
//! (`identities.person_uid`).
//!
//! The record is the file `person_uids.json` beside the tables. The stage `cluster` writes the record and reads it
//! again; no other stage does. The record names faces by time and box, as edits do, so that a later run finds the
//! faces in other tracks. The commit of an earlier stage removes the tables of `cluster`, but not the record.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use geometry::BBox;
use schema::Symbol;
use schema::crypt::{self, Key};
use serde::{Deserialize, Serialize};

use crate::edits::{Anchor, Faces, Mark};
use crate::encryption::encrypt_again;
use crate::error::Result;
use crate::files::{remove, replace};

/// Name of the file.
pub const FILE: &str = "person_uids.json";
/// Name of the file in an encrypted run: the same content, [sealed](schema::crypt::seal).
pub const SEALED: &str = "person_uids.parquet";
/// Largest number of boxes of a face in the record.
const MOST_BOXES: usize = 3;

/// Name of the file with a key, or without.
fn name(key: Option<&Key>) -> &'static str {
    if key.is_some() { SEALED } else { FILE }
}

/// Encrypts the record of a run directory again, if there is one.
pub(crate) fn rotate(root: &Path, [old, new]: [Option<&Key>; 2]) -> Result<()> {
    let [from, to] = [old, new].map(|key| root.join(name(key)));
    if !from.is_file() {
        return Ok(());
    }
    if from == to {
        return encrypt_again(&to, [old, new]);
    }
    replace(&to, &crypt::seal(&crypt::unseal(&from, old)?, new)?)?;
    remove(&from)
}

/// The people of the last run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Uids {
    /// SHA-256 of the video file, lower-case hexadecimal.
    pub video_sha256: String,
    /// SHA-256 of the result of linking: the tracks, and the cluster of each.
    pub linking: String,
    /// Keys that people took over, by the origin of the person: `link 3` or `edit 7.0`. The key of every other person
    /// follows from the origin.
    pub taken: BTreeMap<String, String>,
    /// The people after edits, and the people that edits merged into others.
    pub people: Vec<Known>,
}

/// A person of the last run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Known {
    /// Key of the person.
    pub uid: String,
    /// Faces of the person, one per track.
    pub faces: Vec<KnownFace>,
}

/// The face of a track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownFace {
    /// Number of frames of the track.
    pub n_frames: i64,
    /// Time in seconds, and left, top, right and bottom edge in pixels, of some boxes of the track.
    pub boxes: Vec<(f64, [f32; 4])>,
}

impl KnownFace {
    /// Returns the face of a track; `None` for a track that is not there.
    pub fn of(faces: &Faces, track_id: i64, n_frames: i64) -> Option<Self> {
        let anchors = faces.mark(track_id)?.anchors;
        let count = anchors.len().min(MOST_BOXES);
        let some = (0..count).map(|i| anchors[(2 * i + 1) * anchors.len() / (2 * count)]);
        Some(Self { n_frames, boxes: some.map(|anchor| (anchor.t_secs, anchor.bbox.edges())).collect() })
    }

    /// Returns the tracks that show the face, by id.
    pub fn find(&self, video_sha256: &str, faces: &Faces) -> Vec<i64> {
        let anchor = |(t_secs, [x_min, y_min, x_max, y_max]): &(f64, [f32; 4])| Anchor {
            t_secs: *t_secs,
            bbox: BBox { x_min: *x_min, y_min: *y_min, x_max: *x_max, y_max: *y_max },
        };
        let anchors = self.boxes.iter().map(anchor).collect();
        faces.find(&Mark { video_sha256: Symbol::from(video_sha256), anchors })
    }
}

impl Uids {
    /// Reads the record of a run directory; `None` without a record, and where the file is damaged: the keys of the
    /// people are then those of a fresh run directory.
    pub fn read(root: &Path) -> Option<Self> {
        let key = crypt::key();
        serde_json::from_slice(&crypt::unseal(&root.join(name(key)), key).ok()?).ok()
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, root: &Path) -> Result<()> {
        let key = crypt::key();
        let content = crypt::seal(&serde_json::to_vec(self).unwrap_or_default(), key)?;
        replace(&root.join(name(key)), &content)
    }

    /// Removes the faces that one of these tracks shows, and the people that then have no face.
    pub(crate) fn forget(&mut self, tracks: &BTreeSet<i64>, faces: &Faces) {
        for person in &mut self.people {
            let is_gone = |face: &KnownFace| {
                let found = face.find(&self.video_sha256, faces);
                found.iter().any(|track| tracks.contains(track))
            };
            person.faces.retain(|face| !is_gone(face));
        }
        self.people.retain(|person| !person.faces.is_empty());
        let left: BTreeSet<&String> = self.people.iter().map(|person| &person.uid).collect();
        self.taken.retain(|_, uid| left.contains(uid));
    }
}
