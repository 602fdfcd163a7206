//! Links the tracks of a run together with those of other runs of one series, such as the episodes of a season.
//!
//! A person has few tracks in a short video, often too few to link. The tracks of all runs together say more. They are
//! linked as the tracks of one video would be, and each run keeps its part of the result. The runs are taken in the order
//! of `video_id`, so that linking finds the same people from each of the runs. Clothes are compared within a video only.
//!
//! *Example.* Episode 1 shows a person from the front and, in another track, in profile; episode 2 shows both. The track
//! in profile alone may show another person, but both tracks fit the person of episode 2, and so show one person.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use numeric::pairing::one_to_one;
use run::manifest::{self, Input};
use run::{RunDir, RunReader};
use schema::tables::{Constraint, Embedding, Track, TrackEmbedding, TrackView};
use schema::{Row as _, Symbol};

use crate::constraints::{self, Pairs};
use crate::edits::People;
use crate::method::{Assignment, Method};
use crate::seen::Seen;
use crate::{Config, Error, STAGE, Use, uids};

/// Seconds from the tracks of one video to those of the next: more than clothes are compared over, and more than a video
/// lasts.
const APART_SECS: f64 = 1e6;
/// The tables that linking needs.
const READ: [&str; 4] =
    [Track::TABLE.name, Embedding::TABLE.name, TrackEmbedding::TABLE.name, TrackView::TABLE.name];

/// The other runs of the series.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// By video, without that of the job.
    runs: BTreeMap<Symbol, Other>,
    /// Why runs are left out, a sentence each.
    pub(crate) left_out: Vec<String>,
}

/// Another run of the series.
#[derive(Debug)]
struct Other {
    /// As the setting has it.
    dir: PathBuf,
    run: RunReader,
    /// See [`hash_of`].
    sha256: String,
}

/// What linking needs of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunTracks<'a> {
    pub(crate) tracks: &'a [Track],
    pub(crate) seen: &'a Seen,
    pub(crate) known: &'a [Constraint],
}

/// What linking of the series found for the job.
#[derive(Debug)]
pub(crate) struct InSeries {
    pub(crate) assignment: Assignment,
    /// Key of this linking: equal in all its runs.
    pub(crate) series_id: String,
    /// Key of the person in the series, of each track with a vector; `None` for noise.
    pub(crate) keys: Vec<Option<String>>,
}

/// What linking needs of another run, read from its tables.
struct StoredTracks {
    tracks: Vec<Track>,
    seen: Seen,
    known: Vec<Constraint>,
}

impl Others {
    /// Opens the runs in these directories, which are relative to the run directory of the job. A run that is not there, or
    /// has no vectors yet, is left out with a sentence; a second run of a video is left out without one.
    ///
    /// # Errors
    /// [`Error::Series`] when a run cannot be read, or a table is not as its stage left it.
    pub(crate) fn open(run: &RunDir, dirs: &[PathBuf]) -> Result<Self, Error> {
        let own = if dirs.is_empty() { None } else { Some(run.video_id()?) };
        let mut others = Self::default();
        for dir in dirs {
            let root = run.root().join(dir);
            if !root.join(manifest::FILE_NAME).is_file() {
                others.left_out.push(left_out(dir, "is missing"));
                continue;
            }
            let unreadable = |source| Error::Series { dir: dir.clone(), source: Box::new(source) };
            let reader = RunReader::open(&root).map_err(unreadable)?;
            if !reader.has::<TrackEmbedding>() {
                others.left_out.push(left_out(dir, "has no table `track_embeddings`"));
                continue;
            }
            let video_id = reader.video_id().map_err(unreadable)?;
            if Some(&video_id) != own.as_ref() {
                let sha256 = hash_of(&reader).map_err(unreadable)?;
                let other = Other { dir: dir.clone(), run: reader, sha256 };
                others.runs.entry(video_id).or_insert(other);
            }
        }
        Ok(others)
    }

    /// The tables that are read, as inputs of the stage.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = Input> {
        let input = |(video_id, other): (&Symbol, &Other)| Input {
            name: format!("series {video_id}"),
            sha256: other.sha256.clone(),
        };
        self.runs.iter().map(input)
    }

    /// Links the tracks of the job together with those of the others. Returns `None` if no other run has tracks with vectors
    /// of the same embedders.
    ///
    /// # Errors
    /// When a table cannot be read, and the errors of the method.
    pub(crate) fn assign(
        &mut self,
        run: &RunDir,
        own: RunTracks<'_>,
        (config, method): (&Config, &dyn Method),
        advance: &mut dyn FnMut(usize, usize),
    ) -> Result<Option<InSeries>, Error> {
        let mut stored = Vec::new();
        for (video_id, other) in &self.runs {
            let unreadable = |source| Error::Series { dir: other.dir.clone(), source: Box::new(source) };
            let tracks = StoredTracks::read(&other.run, video_id).map_err(unreadable)?;
            match tracks.seen.has_embedders_of(own.seen) {
                _ if tracks.tracks.is_empty() => {}
                true => stored.push((video_id, &other.sha256, tracks)),
                false => self.left_out.push(left_out(&other.dir, "has vectors of other embedders")),
            }
        }
        if stored.is_empty() || own.tracks.is_empty() {
            return Ok(None);
        }
        let (own_id, own_hash) = (run.video_id()?, hash_of(run)?);
        let mut all: Vec<(&Symbol, &String, RunTracks<'_>)> =
            stored.iter().map(|(video_id, sha256, stored)| (*video_id, *sha256, stored.tracks())).collect();
        let at = all.partition_point(|(video_id, ..)| **video_id < own_id);
        all.insert(at, (&own_id, &own_hash, own));
        // What is the same for all runs of the series.
        let hashes: Vec<_> = all.iter().map(|(video_id, sha256, _)| (video_id.as_str(), sha256)).collect();
        let config = Config { series: Vec::new(), edits: Use::default(), ..config.clone() };
        let series_id = uids::key(&format!("{} {config:?} {hashes:?}", STAGE.version));
        let all: Vec<RunTracks<'_>> = all.iter().map(|(.., tracks)| *tracks).collect();
        let (assignment, keys) = Joint::of(&all, at).assign(method, advance)?;
        Ok(Some(InSeries { assignment, series_id, keys }))
    }
}

/// Says why a run is left out.
fn left_out(dir: &Path, reason: &str) -> String {
    format!("the run `{}` of the series {reason} and is left out", dir.display())
}

/// The hash of the hashes of the tables that linking needs.
fn hash_of(run: &RunReader) -> run::Result<String> {
    let is_there = |table: &&str| run.manifest().output(&format!("{table}.parquet")).is_some();
    let tables = READ.into_iter().filter(is_there);
    let hashes = tables.map(|table| run.hash_of(table)).collect::<run::Result<Vec<_>>>()?;
    Ok(hash::bytes(hashes.concat().as_bytes()))
}

impl StoredTracks {
    fn read(run: &RunReader, video_id: &Symbol) -> run::Result<Self> {
        let (tracks, seen) = (run.read::<Track>()?, Seen::read(run)?);
        let known = constraints::of_run(video_id, &tracks, &seen, &Pairs::default());
        Ok(Self { tracks, seen, known })
    }

    fn tracks(&self) -> RunTracks<'_> {
        RunTracks { tracks: &self.tracks, seen: &self.seen, known: &self.known }
    }
}

/// The tracks of all runs, with keys and times that no two runs share.
struct Joint {
    tracks: Vec<Track>,
    seen: Seen,
    known: Vec<Constraint>,
    /// The vectors of the job.
    own: Range<usize>,
}

impl Joint {
    /// Joins the tracks of runs; the job is the run at `own`.
    fn of(runs: &[RunTracks<'_>], own: usize) -> Self {
        let mut joint =
            Self { tracks: Vec::new(), seen: runs[own].seen.without_tracks(), known: Vec::new(), own: 0..0 };
        let mut next_id = 0;
        for (number, run) in runs.iter().enumerate() {
            let (ids, secs) = (next_id, number as f64 * APART_SECS);
            next_id += run.tracks.last().map_or(0, |last| last.track_id + 1);
            joint.tracks.extend(run.tracks.iter().map(|track| Track {
                track_id: track.track_id + ids,
                first_t_secs: track.first_t_secs + secs,
                last_t_secs: track.last_t_secs + secs,
                ..track.clone()
            }));
            let moved = |row: &Constraint| Constraint {
                track_a: row.track_a + ids,
                track_b: row.track_b + ids,
                ..row.clone()
            };
            joint.known.extend(run.known.iter().map(moved));
            let first = joint.seen.vectors.len();
            joint.seen.append(run.seen, ids);
            if number == own {
                joint.own = first..joint.seen.vectors.len();
            }
        }
        joint
    }

    /// Returns the assignment of the job's tracks, and the key of the person in the series of each of them.
    fn assign(
        &self,
        method: &dyn Method,
        advance: &mut dyn FnMut(usize, usize),
    ) -> Result<(Assignment, Vec<Option<String>>), Error> {
        let found = method.assign(&self.seen.items(&self.tracks, &self.known)?, advance)?;
        let mut firsts = HashMap::new();
        for (item, label) in found.labels.iter().enumerate() {
            label.iter().for_each(|label| _ = firsts.entry(*label).or_insert(item));
        }
        let key = |label: &Option<usize>| {
            let track_id = self.seen.vectors[*firsts.get(&(*label)?)?].track_id;
            let at = self.tracks.binary_search_by_key(&track_id, |track| track.track_id).ok()?;
            let Track { video_id, first_frame_idx, last_frame_idx, best_frame_idx, mean_score, .. } =
                &self.tracks[at];
            let seed =
                format!("series {video_id} {first_frame_idx} {last_frame_idx} {best_frame_idx} {mean_score}");
            Some(uids::key(&seed))
        };
        let keys = found.labels[self.own.clone()].iter().map(key).collect();
        Ok((found.of_range(self.own.clone()), keys))
    }
}

/// Gives each person of a run the key of the person in the series who has most of the same frames; a key has one person
/// at most. `key` returns the key of a track.
pub(crate) fn keys(
    people: &People,
    tracks: &[Track],
    key: impl Fn(i64) -> Option<String>,
) -> BTreeMap<i64, String> {
    let mut shared: BTreeMap<(i64, String), i64> = BTreeMap::new();
    for track in tracks {
        if let (Some(key), Some(person)) = (key(track.track_id), people.cluster_of(track.track_id)) {
            *shared.entry((person, key)).or_default() += track.last_frame_idx - track.first_frame_idx + 1;
        }
    }
    one_to_one(shared)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;
    use schema::UnitVector;
    use schema::tables::Cluster;

    use super::*;
    use crate::method::{Clothes, Cut, Link, Scale};

    fn track(video: &str, track_id: i64, frames: i64) -> Track {
        Track {
            video_id: video.into(),
            track_id,
            shot_idx: track_id,
            first_frame_idx: 100 * track_id,
            last_frame_idx: 100 * track_id + frames - 1,
            first_t_secs: 4.0 * track_id as f64,
            last_t_secs: 4.0 * track_id as f64 + 1.0,
            n_detections: 2,
            mean_score: 0.9,
            best_frame_idx: 100 * track_id,
            torso: None,
            is_still: None,
        }
    }

    /// A run whose tracks have vectors at these angles, in degrees.
    fn read(video: &str, angles: &[f32]) -> StoredTracks {
        let tracks: Vec<Track> = (0..).zip(angles).map(|(id, _)| track(video, id, 20)).collect();
        let vector = |(track, angle): (&Track, &f32)| TrackEmbedding {
            video_id: video.into(),
            track_id: track.track_id,
            embedder: "e".into(),
            embedding: UnitVector::normalised(&[angle.to_radians().cos(), angle.to_radians().sin()]).unwrap(),
            n_crops: 1,
            spread: 0.0,
        };
        let seen = Seen::of(tracks.iter().zip(angles).map(vector).collect());
        StoredTracks { tracks, seen, known: Vec::new() }
    }

    fn link(scale: Scale) -> Link {
        Link { scale, cut: Cut::Best, clothes: Clothes::Off, without: Vec::new(), threads: 1 }
    }

    /// Person of each track of a run, its key in the series, and the merges of the run.
    type Found = (Vec<Option<usize>>, Vec<Option<String>>, usize);

    fn linked(videos: &[StoredTracks], own: usize, scale: &Scale) -> Found {
        let runs: Vec<RunTracks<'_>> = videos.iter().map(StoredTracks::tracks).collect();
        let (assignment, keys) = Joint::of(&runs, own).assign(&link(scale.clone()), &mut |_, _| ()).unwrap();
        (assignment.labels, keys, assignment.tree.map_or(0, |tree| tree.merges.len()))
    }

    #[test]
    fn a_track_of_another_run_joins_two_of_one() {
        let alone = [read("a", &[0.0, 90.0, 30.0])];
        let scale = Scale::Distance(0.1);
        assert_eq!(linked(&alone, 0, &scale).0, [Some(0), Some(1), Some(2)]);
        // 15° and 16° are near both 0° and 30°.
        let both = [read("a", &[0.0, 90.0, 30.0]), read("b", &[15.0, 16.0])];
        let (labels, keys, merges) = linked(&both, 0, &scale);
        assert_eq!(labels, [Some(0), Some(1), Some(0)]);
        assert_eq!((keys[0] == keys[2], keys[0] == keys[1], merges), (true, false, 2));
        let (labels, other, _) = linked(&both, 1, &scale);
        assert_eq!((labels, &other[0]), (vec![Some(0), Some(0)], &keys[0]));
    }

    proptest! {
        #[test]
        fn linking_finds_the_same_people_from_each_run(
            angles in prop::collection::vec(prop::collection::vec(0.0..360.0_f32, 0..6), 1..4)
        ) {
            let videos: Vec<StoredTracks> =
                angles.iter().zip(["a", "b", "c"]).map(|(angles, video)| read(video, angles)).collect();
            for scale in [Scale::Distance(0.1), Scale::Evidence(testkit::people::quality(2))] {
            let from_each: Vec<Found> = (0..videos.len()).map(|own| linked(&videos, own, &scale)).collect();
            let runs: Vec<RunTracks<'_>> = videos.iter().map(StoredTracks::tracks).collect();
            let joint = Joint::of(&runs, 0);
            let all = link(scale).assign(&joint.seen.items(&joint.tracks, &[]).unwrap(), &mut |_, _| ()).unwrap();
            let keys: Vec<_> = from_each.iter().flat_map(|(_, keys, _)| keys).collect();
            for (a, of_a) in all.labels.iter().enumerate() {
                for (b, of_b) in all.labels.iter().enumerate() {
                    prop_assert_eq!(of_a == of_b, keys[a] == keys[b]);
                }
            }
            for ((labels, keys, merges), video) in from_each.iter().zip(&videos) {
                prop_assert_eq!(*merges, video.tracks.len().saturating_sub(1));
                for (a, of_a) in labels.iter().enumerate() {
                    prop_assert!(labels.iter().enumerate().all(|(b, of_b)| (of_a == of_b) == (keys[a] == keys[b])));
                }
            }
            }
        }
    }

    #[test]
    fn a_key_has_one_person_and_a_person_one_key() {
        let tracks = [track("a", 0, 20), track("a", 1, 30), track("a", 2, 10), track("a", 3, 5)];
        let row = |(track, cluster): (&Track, i64)| Cluster {
            video_id: "a".into(),
            track_id: track.track_id,
            cluster_id: Some(cluster),
            is_noise: false,
            confidence: 1.0,
            runner_up_cluster_id: None,
            margin: None,
            linked_cluster_id: None,
            not_a_face: None,
        };
        let people = |clusters: [i64; 4]| {
            let rows: Vec<Cluster> = tracks.iter().zip(clusters).map(row).collect();
            People::linked(&rows, &tracks, &[])
        };
        let key = |track_id: i64| ["x", "x", "y", ""].get(track_id as usize).map(|key| (*key).to_owned());
        let key = |track_id: i64| key(track_id).filter(|key| !key.is_empty());
        let of = |clusters| keys(&people(clusters), &tracks, key).into_iter().collect::<Vec<_>>();
        let pair = |person: i64, key: &str| (person, key.to_owned());
        assert_eq!(of([0, 0, 1, 2]), [pair(0, "x"), pair(1, "y")]);
        assert_eq!(of([0, 1, 1, 1]), [pair(1, "x")], "the larger part keeps the key");
        assert_eq!(of([0, 0, 0, 0]), [pair(0, "x")], "a correction merged two people");
    }
}
