//! The people of a run, with the places and times at which they are seen.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use geometry::{FrameTimes, Span};
use run::appearances::appearances;
use run::{Result, RunReader};
use schema::tables::{Appearance, Cluster, Detection, Frame, Identity, Track, Video};

/// The tables of a finished run that say who is where.
#[derive(Debug, Clone)]
pub struct Run {
    /// The video.
    pub video: Video,
    /// Time of every frame.
    pub times: FrameTimes,
    /// Every track, by id.
    pub tracks: Vec<Track>,
    /// Every person, by cluster.
    pub people: Vec<Identity>,
    /// Every box that belongs to a track, by frame.
    pub boxes: Vec<Detection>,
    /// Every appearance of a person, by cluster and time.
    pub appearances: Vec<Appearance>,
    cluster_of: HashMap<i64, i64>,
}

impl Run {
    /// Reads the tables of `cluster` and of the stages before it. The run is not locked.
    ///
    /// # Errors
    /// When a stage has not finished, or a table is not what the contract says.
    pub fn read(root: &Path) -> Result<Self> {
        let run = RunReader::open(root)?;
        let mut clusters = run.read::<Cluster>()?;
        // What an edit calls no face is not exported.
        clusters.retain(|row| row.not_a_face != Some(true));
        let faces: HashSet<i64> = clusters.iter().map(|row| row.track_id).collect();
        let mut boxes = run.read::<Detection>()?;
        boxes.retain(|row| row.track_id.is_some_and(|track_id| faces.contains(&track_id)));
        let mut tracks = run.read::<Track>()?;
        tracks.retain(|track| faces.contains(&track.track_id));
        let frames = run.read::<Frame>()?;
        let times = frames.iter().map(|row| (row.pts_ticks, row.t_secs, row.duration_secs)).collect();
        // Runs of older versions do not have the table.
        let appearances = if run.has::<Appearance>() {
            run.read::<Appearance>()?
        } else {
            appearances(&tracks, &clusters, &times)
        };
        Ok(Self {
            video: run.read_one()?,
            times,
            appearances,
            tracks,
            people: run.read()?,
            boxes,
            cluster_of: clusters.iter().filter_map(|row| Some((row.track_id, row.cluster_id?))).collect(),
        })
    }

    /// The cluster of a track; none for noise.
    pub fn cluster_of(&self, track_id: i64) -> Option<i64> {
        self.cluster_of.get(&track_id).copied()
    }

    /// What a person is called: by name, or as on the page.
    pub fn name(&self, cluster_id: i64) -> String {
        let row = self.people.binary_search_by_key(&cluster_id, |row| row.cluster_id);
        row.map_or_else(|_| Identity::numbered(cluster_id), |row| self.people[row].label())
    }

    /// When each person is on screen: spans of frames with at least one track of the person.
    pub fn presence(&self) -> Vec<(i64, Vec<Span>)> {
        let mut spans: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
        for track in &self.tracks {
            if let Some(id) = self.cluster_of(track.track_id) {
                spans.entry(id).or_default().push((track.first_frame_idx, track.last_frame_idx));
            }
        }
        spans.into_iter().map(|(id, spans)| (id, self.times.union(spans))).collect()
    }

    /// Start and end of an appearance, seconds.
    pub fn appearance_secs(&self, row: &Appearance) -> (f64, f64) {
        self.secs((row.first_frame_idx, row.last_frame_idx))
    }

    /// Time of a span of frames, seconds: from its first frame until the frame after its last one.
    pub fn secs(&self, span: Span) -> (f64, f64) {
        let origin = self.times.secs().first().copied().unwrap_or(0.0);
        self.times.on_screen(span, origin + self.video.duration_secs)
    }
}
