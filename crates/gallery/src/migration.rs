//! A library with the vectors of another embedder: the people stay, whatever the new vectors say.
//!
//! The new vectors are those of the runs, which the caller embeds and links again. A run may then have other clusters,
//! so the tracks of the old clusters are recorded before, in the file `migration.json`. A new cluster is the person of
//! the old cluster with which it shares most tracks, one to one within a video. The record stays until the migration is
//! complete, so that an interrupted migration can be repeated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use numeric::pairing::one_to_one;
use run::RunReader;
use run::files::{remove, replace};
use schema::Row as _;
use schema::tables::{Cluster, Track};
use serde::{Deserialize, Serialize};

use crate::store::Library;
use crate::{Error, RunIdentities};

/// Name of the record.
pub(crate) const RECORD: &str = "migration.json";

/// The clusters of each video before the migration, by `video_id`.
type Record = BTreeMap<String, Before>;

/// The clusters of a video before the migration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Before {
    /// SHA-256 of the table of members.
    members_sha256: String,
    /// SHA-256 of the table `tracks` of the run.
    tracks_sha256: String,
    /// Cluster of each track that has one.
    clusters: BTreeMap<i64, i64>,
}

/// The result of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Number of people.
    pub people: usize,
    /// Number of people who were not there before, because a run has more clusters.
    pub new: usize,
    /// Number of people who are no longer there, because a run has fewer clusters.
    pub gone: usize,
}

impl Library {
    /// Records the clusters of all runs; returns the run directories.
    ///
    /// # Errors
    /// When a run is not in its place, as it was added, and when its pictures were removed.
    pub fn begin_migration(&self) -> Result<Vec<PathBuf>, Error> {
        let old = self.record();
        let mut record = Record::new();
        let (mut run_dirs, mut gone, mut without_pictures) = (Vec::new(), Vec::new(), Vec::new());
        for ((video, rows), members_sha256) in
            self.videos().zip(self.members_of_all()?).zip(self.member_hashes())
        {
            let run = video.run_dir.as_deref().and_then(|run_dir| RunReader::open(run_dir).ok());
            let Some(run) = run else {
                gone.push(video.run_id);
                continue;
            };
            if run::redact::has_no_pictures(&run) {
                without_pictures.push(video.run_id);
                continue;
            }
            let tracks_sha256 = run.hash_of(Track::TABLE.name).map_err(Error::Run)?.to_owned();
            let is_of_this = |before: &&Before| {
                (&before.members_sha256, &before.tracks_sha256) == (&members_sha256, &tracks_sha256)
            };
            let before = match old.get(&video.video_id).filter(is_of_this) {
                Some(before) => before.clone(),
                None if video.is_as_added(&rows) => {
                    Before { members_sha256, tracks_sha256, clusters: clusters(&run)? }
                }
                None => {
                    gone.push(video.run_id);
                    continue;
                }
            };
            record.insert(video.video_id, before);
            run_dirs.push(run.root().to_path_buf());
        }
        if !gone.is_empty() {
            return Err(Error::RunsGone { runs: gone });
        }
        if !without_pictures.is_empty() {
            return Err(Error::NoPictures { runs: without_pictures });
        }
        let json = serde_json::to_vec(&record).unwrap_or_default();
        replace(&self.root().join(RECORD), &json)?;
        Ok(run_dirs)
    }

    /// Takes over the vectors of all runs, after [`Self::begin_migration`]. People keep their ids and names.
    ///
    /// # Errors
    /// When a run cannot be read, when the runs have different embedders, and when files cannot be used.
    pub fn migrate(&mut self, threads: usize) -> Result<Migrated, Error> {
        let people =
            |library: &Self| library.people().map(|person| person.person_id).collect::<BTreeSet<_>>();
        let (before, record) = (people(self), self.record());
        let mut runs = Vec::new();
        for video in self.videos().collect::<Vec<_>>() {
            let gone = || Error::RunsGone { runs: vec![video.run_id.clone()] };
            let (run_dir, old) = (video.run_dir.as_deref(), record.get(&video.video_id));
            let (run_dir, old) = run_dir.zip(old).ok_or_else(gone)?;
            let run = RunReader::open(run_dir).map_err(Error::Run)?;
            runs.push((RunIdentities::read(run_dir)?, kept(&clusters(&run)?, &old.clusters)));
        }
        self.replace_runs(&runs, threads)?;
        let after = people(self);
        Ok(Migrated {
            people: after.len(),
            new: after.difference(&before).count(),
            gone: before.difference(&after).count(),
        })
    }

    /// Removes the record, after the commit of a migration.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn end_migration(&self) -> Result<(), Error> {
        Ok(remove(&self.root().join(RECORD))?)
    }

    /// The record of an interrupted migration; empty where there is none.
    fn record(&self) -> Record {
        let json = fs::read(self.root().join(RECORD)).unwrap_or_default();
        serde_json::from_slice(&json).unwrap_or_default()
    }
}

/// The cluster of each track of a run that has one.
fn clusters(run: &RunReader) -> Result<BTreeMap<i64, i64>, Error> {
    let rows = run.read::<Cluster>().map_err(Error::Run)?;
    Ok(rows.iter().filter_map(|row| Some((row.track_id, row.cluster_id?))).collect())
}

/// The old cluster of each new cluster, one to one: the pair with most tracks in common first.
fn kept(new: &BTreeMap<i64, i64>, old: &BTreeMap<i64, i64>) -> BTreeMap<i64, i64> {
    let mut shared: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for (track, cluster) in new {
        if let Some(before) = old.get(track) {
            *shared.entry((*cluster, *before)).or_default() += 1;
        }
    }
    one_to_one(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_the_one_with_most_tracks_in_common_and_no_two_are_one() {
        let of = |clusters: &[i64]| (0..).zip(clusters.iter().copied()).collect::<BTreeMap<i64, i64>>();
        let (old, new) = (of(&[0, 0, 0, 1, 1, 2]), of(&[5, 5, 6, 6, 6, 7, 7]));
        assert_eq!(kept(&new, &old), BTreeMap::from([(5, 0), (6, 1), (7, 2)]));
        // Two clusters that were one: the larger part keeps the person.
        assert_eq!(kept(&of(&[3, 4, 4]), &of(&[9, 9, 9])), BTreeMap::from([(4, 9)]));
    }
}
