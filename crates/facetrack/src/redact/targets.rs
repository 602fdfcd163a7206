//! Where a person is: the run, other runs of the same video, and galleries with that video.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use console::{Error, Result, exit};
use gallery::validate::{self, is_library};
use gallery::{Library, Table};
use run::RunReader;
use run::edits::Faces;
use run::manifest::{self, Manifest};
use run::redact::Request;
use schema::tables::{Cluster, Identity};

use crate::library_edits;

/// A run from which something is removed.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// The run directory, absolute.
    pub(crate) run_dir: PathBuf,
    /// What to remove.
    pub(crate) request: Request,
    /// Galleries that have this run, and their members of the video before the removal.
    pub(crate) galleries: Vec<(PathBuf, Table)>,
}

/// People of a video whose run is not there, so that only the gallery can lose them.
#[derive(Debug, Clone)]
pub(crate) struct Missing {
    pub(crate) library: PathBuf,
    pub(crate) video_id: String,
    pub(crate) run_id: String,
    pub(crate) clusters: BTreeSet<i64>,
}

impl Target {
    /// A run, with the galleries that have it: those given, and those in the folder of the run.
    pub(crate) fn new(run_dir: &Path, request: Request, given: &[PathBuf]) -> Result<Self> {
        let run_dir = std::path::absolute(run_dir).map_err(Error::io("resolve", run_dir))?;
        let video_id = RunReader::open(&run_dir)?.video_id()?;
        let mut galleries: Vec<(PathBuf, Table)> = Vec::new();
        for folder in galleries_beside(&run_dir, given)? {
            let library = Library::view(&folder)?;
            let at = library.videos().position(|video| {
                // A gallery may have another run of the video. A run that is not there any more was moved.
                let is_this =
                    video.run_dir.as_ref().is_none_or(|place| is_same(place, &run_dir) || !place.is_dir());
                video.video_id == video_id.as_str() && is_this
            });
            let root = library.root().to_path_buf();
            if let Some(at) = at.filter(|_| galleries.iter().all(|(known, _)| *known != root)) {
                galleries.push((root, library.members_of(at)?));
            }
        }
        Ok(Self { run_dir, request, galleries })
    }

    /// The key and the name of the people that are removed.
    pub(crate) fn names(&self) -> Result<Vec<(i64, Option<String>)>> {
        if self.request.identities.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<Identity> = RunReader::open(&self.run_dir)?.read()?;
        let rows = rows.into_iter().filter(|row| self.request.identities.contains(&row.cluster_id));
        Ok(rows.map(|row| (row.cluster_id, row.name)).collect())
    }
}

/// Whether two paths lead to one folder.
fn is_same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// The galleries that are given, and those in the folder of a run.
pub(crate) fn galleries_beside(run_dir: &Path, given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    given.iter().try_for_each(|folder| validate::require(folder))?;
    let beside = folders_beside(run_dir).into_iter().filter(|folder| is_library(folder));
    Ok(given.iter().cloned().chain(beside).collect())
}

/// The folders in the folder of a run, and the run itself.
pub(crate) fn folders_beside(run_dir: &Path) -> Vec<PathBuf> {
    let entries = run_dir.parent().map(std::fs::read_dir).and_then(std::result::Result::ok);
    let mut folders: Vec<PathBuf> =
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders
}

/// Other runs of the video of a run: those beside it, and those that the galleries beside it have. For each, the tracks
/// that show the faces of the people to be removed.
pub(crate) fn other_runs(target: &Target, given: &[PathBuf]) -> Result<Vec<(PathBuf, BTreeSet<i64>)>> {
    let run = RunReader::open(&target.run_dir)?;
    let sha256 = run.video_file()?.sha256.clone();
    let mut candidates = folders_beside(&target.run_dir);
    for folder in galleries_beside(&target.run_dir, given)? {
        candidates.extend(Library::view(&folder)?.videos().filter_map(|video| video.run_dir));
    }
    let clusters: Vec<Cluster> = run.read()?;
    let is_gone = |row: &&Cluster| row.cluster_id.is_some_and(|id| target.request.identities.contains(&id));
    let tracks: BTreeSet<i64> = clusters.iter().filter(is_gone).map(|row| row.track_id).collect();
    let tracks: BTreeSet<i64> = tracks.union(&target.request.tracks).copied().collect();
    let marks = Faces::read(&run)?.marks(tracks);
    let mut found: Vec<(PathBuf, BTreeSet<i64>)> = Vec::new();
    for folder in candidates {
        let is_known =
            is_same(&folder, &target.run_dir) || found.iter().any(|(known, _)| is_same(known, &folder));
        if is_known || !folder.join(manifest::FILE_NAME).is_file() {
            continue;
        }
        // A folder that is no readable run is no run of this video, as far as can be known.
        let Ok(Some(manifest)) = Manifest::read(&folder) else { continue };
        if manifest.video.is_none_or(|video| video.sha256 != sha256) {
            continue;
        }
        let Ok(faces) = RunReader::open(&folder).and_then(|other| Faces::read(&other)) else { continue };
        let tracks: BTreeSet<i64> = marks.iter().flat_map(|mark| faces.find(mark)).collect();
        if !tracks.is_empty() {
            found.push((folder, tracks));
        }
    }
    Ok(found)
}

/// The runs of a gallery that show a person, and the videos of the person whose runs are not there.
///
/// # Errors
/// When there is no such person, and when a run is not as it was added: its people may have other numbers.
pub(crate) fn of_person(
    root: &Path,
    given: &str,
    libraries: &[PathBuf],
) -> Result<(Vec<Target>, Vec<Missing>)> {
    let library = Library::view(root)?;
    let tables = library.members_of_all()?;
    let side = library_edits::side(&library, &tables, given)?;
    let mut by_video: BTreeMap<String, BTreeSet<i64>> = BTreeMap::new();
    for (video_id, cluster) in side {
        by_video.entry(video_id).or_default().insert(cluster);
    }
    let (mut targets, mut missing, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    for (video, rows) in library.videos().zip(&tables) {
        let Some(clusters) = by_video.remove(&video.video_id) else { continue };
        let run_dir = video.run_dir.clone().filter(|dir| dir.join(manifest::FILE_NAME).is_file());
        match run_dir {
            Some(run_dir) if video.is_as_added(rows) => {
                let request = Request { identities: clusters.into_iter().collect(), ..Request::default() };
                targets.push(Target::new(&run_dir, request, libraries)?);
            }
            Some(run_dir) => changed.push(run_dir.display().to_string()),
            None => {
                let (library, run_id) = (library.root().to_path_buf(), video.run_id);
                missing.push(Missing { library, video_id: video.video_id, run_id, clusters });
            }
        }
    }
    if changed.is_empty() {
        return Ok((targets, missing));
    }
    let message =
        format!("these runs have changed since they were added to the gallery: {}", changed.join(", "));
    Err(Error::new(exit::INPUT, message)
        .hint(format!("add them again: `facetrack library add --library {} --run-dir RUN`", root.display())))
}
