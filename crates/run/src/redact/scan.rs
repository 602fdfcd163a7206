//! Searches every table and every file of a run for what was removed.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use schema::Row;
use schema::tables::{
    Cluster, Constraint, Crop, Cut, Detection, Doubt, Embedding, Identity, Label, LinkVector, Track,
    TrackEmbedding, TrackView,
};
use serde_json::json;

use super::{Error, has_no_pictures, record, removed_tracks};
use crate::checkpoint;
use crate::files::{name_in, walk};
use crate::manifest::StageRecord;
use crate::reader::RunReader;

/// Beginning of a picture on the page.
const PICTURE: &str = "data:image";

/// What is searched for, and how much was searched.
struct Scan<'a> {
    run: &'a RunReader,
    tracks: BTreeSet<i64>,
    rows: u64,
}

/// Fails if a table names a removed track, if there is a picture although pictures were removed, or if a file
/// was not made from the tables that are here. Gives a record with the figures `tracks_forgotten`,
/// `rows_scanned` and `files_scanned`, and a warning for each file that is not of the run.
///
/// # Errors
/// See [`Error`].
pub fn redact_check(run: &RunReader) -> Result<StageRecord, Error> {
    run.verify_all()?;
    let mut scan = Scan { run, tracks: removed_tracks(run), rows: 0 };
    scan.table(|row: &Detection| [row.track_id])?;
    scan.table(|row: &Track| [Some(row.track_id)])?;
    scan.table(|row: &Crop| [Some(row.track_id)])?;
    scan.table(|row: &Embedding| [Some(row.track_id)])?;
    scan.table(|row: &TrackEmbedding| [Some(row.track_id)])?;
    scan.table(|row: &TrackView| [Some(row.track_id)])?;
    scan.table(|row: &Constraint| [Some(row.track_a), Some(row.track_b)])?;
    scan.table(|row: &Cluster| [Some(row.track_id)])?;
    scan.table(|row: &LinkVector| [Some(row.track_id)])?;
    scan.table(|row: &Identity| [Some(row.exemplar_track_id)])?;
    scan.table(|row: &Doubt| [row.track_id])?;
    scan.table(|row: &Cut| [Some(row.track_id)])?;
    scan.table(|row: &Label| [row.track_id])?;
    if has_no_pictures(run) {
        scan.pictures()?;
    }
    let is_redacted = !scan.tracks.is_empty() || has_no_pictures(run);
    if is_redacted && checkpoint::exists(run.root()) {
        return Err(scan.trace(checkpoint::FOLDER, "contains unfinished tables".into()));
    }
    let (known, foreign): (Vec<PathBuf>, Vec<PathBuf>) =
        walk(run.root())?.into_iter().partition(|path| run.is_own(&name_in(run.root(), path)));
    let figures = [
        ("tracks_forgotten", json!(scan.tracks.len())),
        ("rows_scanned", json!(scan.rows)),
        ("files_scanned", json!(known.len())),
    ];
    let not_ours =
        |path: &PathBuf| format!("`{}` does not belong to this run and was not checked", path.display());
    Ok(record(foreign.iter().map(not_ours).collect(), figures))
}

impl Scan<'_> {
    /// Fails if a row of a table names a removed track; an absent table names none.
    fn table<R: Row + Clone, const N: usize>(
        &mut self,
        named: impl Fn(&R) -> [Option<i64>; N],
    ) -> Result<(), Error> {
        if self.run.manifest().output(&R::TABLE.file_name()).is_none() {
            return Ok(());
        }
        for batch in self.run.open_table::<R>()? {
            for row in batch? {
                self.rows += 1;
                if let Some(track) = named(&row).into_iter().flatten().find(|id| self.tracks.contains(id)) {
                    return Err(self.trace(&R::TABLE.file_name(), format!("contains track {track}")));
                }
            }
        }
        Ok(())
    }

    fn pictures(&self) -> Result<(), Error> {
        for batch in self.run.open_table::<Crop>()? {
            if batch?.iter().any(|crop| crop.image.is_some()) {
                return Err(self.trace(&Crop::TABLE.file_name(), "contains a picture".into()));
            }
        }
        for path in walk(self.run.root())?.iter().filter(|path| path.extension() == Some("html".as_ref())) {
            let page = fs::read(path).map_err(crate::Error::io("read", path))?;
            if String::from_utf8_lossy(&page).contains(PICTURE) {
                return Err(Error::Trace { path: path.clone(), what: "contains a picture".into() });
            }
        }
        Ok(())
    }

    fn trace(&self, file: &str, what: String) -> Error {
        Error::Trace { path: self.run.root().join(file), what }
    }
}
