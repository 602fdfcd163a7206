//! Writes tables anew, without what is to be removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schema::Row;
use schema::tables::{Cluster, Crop, Detection, Embedding, Shot, Track, TrackEmbedding, TrackView};
use serde_json::json;

use super::{Error, PICTURES, Request, TRACKS, has_no_pictures, record, removed_tracks};
use crate::checkpoint;
use crate::directory::{RunDir, StageRun};
use crate::edits::{EditOp, Entry, Faces, Log};
use crate::manifest::StageRecord;
use crate::reader::RunReader;
use crate::uids::Uids;

/// What to remove.
struct Removal {
    tracks: BTreeSet<i64>,
    /// First and last frame of the shots that show a removed person.
    shots: Vec<(i64, i64)>,
    pictures: bool,
}

impl Removal {
    fn new(run: &RunReader, request: &Request) -> Result<Self, Error> {
        let mut tracks = request.tracks.clone();
        let clusters: Vec<Cluster> = if request.identities.is_empty() { Vec::new() } else { run.read()? };
        for identity in &request.identities {
            let before = tracks.len();
            tracks.extend(clusters.iter().filter(|c| c.cluster_id == Some(*identity)).map(|c| c.track_id));
            if tracks.len() == before {
                return Err(Error::NoIdentity { run: run.root().to_path_buf(), cluster_id: *identity });
            }
        }
        let rows: Vec<Track> = run.read()?;
        let shown = rows.iter().filter(|t| tracks.contains(&t.track_id)).map(|t| t.shot_idx);
        let shown: BTreeSet<i64> = shown.collect();
        let shots = run.read::<Shot>()?.into_iter().filter(|shot| shown.contains(&shot.shot_idx));
        let shots = shots.map(|shot| (shot.first_frame_idx, shot.last_frame_idx)).collect();
        // Removed pictures stay removed.
        Ok(Self { tracks, shots, pictures: request.pictures || has_no_pictures(run) })
    }

    fn keep<R>(&self, track_id: i64, row: R) -> Option<R> {
        (!self.tracks.contains(&track_id)).then_some(row)
    }

    /// A box without a track may show any person, so that in these shots it is removed too.
    fn hides(&self, detection: &Detection) -> bool {
        match detection.track_id {
            Some(track_id) => self.tracks.contains(&track_id),
            None => self.shots.iter().any(|(first, last)| (*first..=*last).contains(&detection.frame_idx)),
        }
    }
}

/// What a request would remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The tracks.
    pub tracks: BTreeSet<i64>,
    /// Number of rows by file of a table; tables that later stages write anew are left out.
    pub rows: BTreeMap<String, u64>,
    /// Number of pictures.
    pub pictures: u64,
    /// Number of corrections.
    pub corrections: u64,
}

/// Finds out what a request would remove, and removes nothing.
///
/// # Errors
/// See [`Error`].
pub fn outlook(run: &RunReader, request: &Request) -> Result<Outlook, Error> {
    let gone = Removal::new(run, request)?;
    let mut found =
        Outlook { tracks: gone.tracks.clone(), rows: BTreeMap::new(), pictures: 0, corrections: 0 };
    count(run, &mut found, |row: &Detection| gone.hides(row))?;
    count(run, &mut found, |row: &Track| gone.tracks.contains(&row.track_id))?;
    let mut pictures = 0;
    count(run, &mut found, |row: &Crop| {
        let is_gone = gone.tracks.contains(&row.track_id);
        pictures += u64::from(row.image.is_some() && (is_gone || gone.pictures));
        is_gone
    })?;
    found.pictures = pictures;
    count(run, &mut found, |row: &Embedding| gone.tracks.contains(&row.track_id))?;
    count(run, &mut found, |row: &TrackEmbedding| gone.tracks.contains(&row.track_id))?;
    if run.has::<TrackView>() {
        count(run, &mut found, |row: &TrackView| gone.tracks.contains(&row.track_id))?;
    }
    let log = Log::open(run.root())?;
    if !gone.tracks.is_empty() && !log.entries().is_empty() {
        let faces = Faces::read(run)?;
        let sha256 = run.video_file()?.sha256.as_str();
        let kept =
            log.entries().iter().filter(|entry| without((*entry).clone(), &gone, &faces, sha256).is_some());
        found.corrections = (log.entries().len() - kept.count()) as u64;
    }
    Ok(found)
}

fn count<R: Row + Clone>(
    run: &RunReader,
    found: &mut Outlook,
    mut is_gone: impl FnMut(&R) -> bool,
) -> Result<(), Error> {
    let mut rows = 0;
    for batch in run.open_table::<R>()? {
        rows += batch?.iter().filter(|row| is_gone(row)).count() as u64;
    }
    if rows > 0 {
        found.rows.insert(R::TABLE.file_name(), rows);
    }
    Ok(())
}

/// Removes what the request asks for from the tables, and the results that later stages made of them; gives a
/// record with the figures `tracks_forgotten` and `pictures_kept`.
///
/// # Errors
/// See [`Error`].
pub fn redact_run(run: &mut RunDir, request: &Request) -> Result<StageRecord, Error> {
    checkpoint::clear(run.root())?;
    let gone = Removal::new(run, request)?;
    let figures = [("tracks_forgotten", json!(gone.tracks.len())), ("pictures_kept", json!(!gone.pictures))];
    if gone.tracks.is_empty() && gone.pictures == has_no_pictures(run) {
        return Ok(record(Vec::new(), figures));
    }
    // Warnings about files of the user that later stages now run without.
    let was_read = |name: &str| run.manifest().stages.iter().any(|s| s.inputs.iter().any(|i| i.name == name));
    let labels = "the labels are removed from the run, because they may name a removed person";
    let mut lost: Vec<String> = was_read("labels").then(|| labels.to_owned()).into_iter().collect();
    let n_edits = forget_edits(run, &gone, &request.logs)?;
    if n_edits > 0 {
        lost.push(format!("corrections about removed people are removed: {n_edits}"));
    }
    let mut found = run.revise("detect-track", &[])?;
    rewrite_found(run, &mut found, &gone)?;
    let mut embedded = run.revise("embed", &[&found])?;
    let crops = rewrite(run, &mut embedded, |row: Embedding| gone.keep(row.track_id, row))?;
    let tracks = rewrite(run, &mut embedded, |row: TrackEmbedding| gone.keep(row.track_id, row))?;
    // Runs of older versions do not have the table.
    if run.has::<TrackView>() {
        rewrite(run, &mut embedded, |row: TrackView| gone.keep(row.track_id, row))?;
    }
    embedded.figure("crops_embedded", crops);
    embedded.figure("tracks_embedded", tracks);
    run.commit_all(vec![found, embedded])?;
    Ok(record(lost, figures))
}

/// Removes the faces of removed tracks from the record of people and from the log of edits, and edits that then lack a side; gives the number of
/// those. A mark that no track of the run matches goes too where the same side of the edit showed a removed person.
fn forget_edits(run: &RunDir, gone: &Removal, others: &[PathBuf]) -> Result<usize, Error> {
    if gone.tracks.is_empty() {
        return Ok(0);
    }
    let logs = others.iter().map(PathBuf::as_path).chain([run.root()]);
    let mut logs = logs.map(Log::open).collect::<crate::Result<Vec<_>>>()?;
    logs.retain(|log| !log.entries().is_empty());
    let uids = Uids::read(run.root());
    if logs.is_empty() && uids.is_none() {
        return Ok(0);
    }
    let faces = Faces::read(run)?;
    if let Some(mut uids) = uids {
        uids.forget(&gone.tracks, &faces);
        uids.write(run.root())?;
    }
    let sha256 = run.video_file()?.sha256.as_str();
    let mut n_removed = 0;
    for log in &mut logs {
        let before = log.entries().len();
        log.retain(|entry| without(entry, gone, &faces, sha256))?;
        n_removed += before - log.entries().len();
    }
    Ok(n_removed)
}

/// A correction without the faces of removed tracks; `None` if it then lacks a side. `faces` and `sha256` are of the
/// video of the run.
fn without(mut entry: Entry, gone: &Removal, faces: &Faces, sha256: &str) -> Option<Entry> {
    let had = entry.edit.sides.len();
    let mut is_about_gone = false;
    for side in &mut entry.edit.sides {
        let found: Vec<Vec<i64>> = side.iter().map(|mark| faces.find(mark)).collect();
        let is_gone = |tracks: &Vec<i64>| tracks.iter().any(|track| gone.tracks.contains(track));
        if found.iter().any(is_gone) {
            is_about_gone = true;
            let mut found = found.iter();
            side.retain(|mark| {
                let is_kept = |tracks: &Vec<i64>| !tracks.is_empty() && !is_gone(tracks);
                found.next().is_some_and(is_kept) || mark.video_sha256.as_str() != sha256
            });
        }
    }
    // A split is about its first side only.
    let needed = if entry.edit.op == EditOp::Split { had.min(1) } else { had };
    let is_whole = entry.edit.sides.iter().take(needed).all(|side| !side.is_empty());
    // In a gallery, a name is about the faces of the person in other videos, too.
    let names_gone = is_about_gone && entry.edit.op == EditOp::Name && entry.is_of_several_videos();
    (is_whole && !names_gone).then_some(entry)
}

/// Writes the tables of `detect-track` anew. What was removed is recorded in the manifest: every later run repeats
/// the warning.
fn rewrite_found(run: &RunDir, stage: &mut StageRun, gone: &Removal) -> Result<(), Error> {
    rewrite(run, stage, Some::<Shot>)?;
    let mut faces = 0;
    let mut last = (-1, -1);
    rewrite(run, stage, |row: Detection| {
        if gone.hides(&row) {
            return None;
        }
        faces += u64::from(row.score.is_some());
        let det_idx = if last.0 == row.frame_idx { last.1 + 1 } else { 0 };
        last = (row.frame_idx, det_idx);
        Some(Detection { det_idx, ..row })
    })?;
    let tracks = rewrite(run, stage, |row: Track| gone.keep(row.track_id, row))?;
    rewrite(run, stage, |row: Crop| {
        let image = row.image.clone().filter(|_| !gone.pictures);
        gone.keep(row.track_id, Crop { image, ..row })
    })?;
    stage.figure("tracks", tracks);
    stage.figure("faces_detected", faces);
    let mut tracks = removed_tracks(run);
    let before = tracks.len();
    tracks.extend(&gone.tracks);
    if tracks.len() > before {
        let count = tracks.len() - before;
        let tracks_are = if count == 1 { "track is" } else { "tracks are" };
        stage.warn(format!("{count} {tracks_are} removed; --from detect-track would restore them"));
        stage.figure(TRACKS, tracks);
    }
    if gone.pictures && !has_no_pictures(run) {
        stage.warn("pictures were removed; --from detect-track would restore them");
        stage.figure(PICTURES, true);
    }
    stage.pin();
    Ok(())
}

/// Writes a table again with the rows that `change` keeps; gives their number.
fn rewrite<R: Row + Clone>(
    run: &RunDir,
    stage: &mut StageRun,
    mut change: impl FnMut(R) -> Option<R>,
) -> Result<u64, Error> {
    let table = run.open_table::<R>()?;
    let mut writer = stage.create_of_picture::<R>(&table.footer().embedders, table.footer().picture)?;
    let mut rows = 0;
    for batch in table {
        for row in batch?.into_iter().filter_map(&mut change) {
            writer.push(row)?;
            rows += 1;
        }
    }
    stage.finish(writer)?;
    Ok(rows)
}
