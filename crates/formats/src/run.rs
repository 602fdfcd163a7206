//! The people of a run, with the places and times at which they are seen.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use geometry::{FrameTimes, Span, union};
use run::{Result, RunReader};
use schema::tables::{Cluster, Detection, Frame, Identity, Shot, Track, Video};

/// The tables of a finished run that say who is where.
#[derive(Debug, Clone)]
pub struct Run {
    /// The video.
    pub video: Video,
    /// Every frame.
    pub frames: Vec<Frame>,
    /// Times of the frames.
    pub times: FrameTimes,
    /// Every shot.
    pub shots: Vec<Shot>,
    /// Every track, by id.
    pub tracks: Vec<Track>,
    /// Every person, by cluster.
    pub people: Vec<Identity>,
    /// Every box that belongs to a track, by frame.
    pub boxes: Vec<Detection>,
    cluster_of: HashMap<i64, i64>,
}

impl Run {
    /// Reads the tables of `cluster` and of the stages before it. The run is not locked.
    ///
    /// # Errors
    /// When a stage has not finished, or a table is not what the contract says.
    pub fn read(root: &Path) -> Result<Self> {
        let run = RunReader::open(root)?;
        let mut boxes = run.read::<Detection>()?;
        boxes.retain(|row| row.track_id.is_some());
        let clusters = run.read::<Cluster>()?;
        let frames: Vec<Frame> = run.read()?;
        Ok(Self {
            video: run.read_one()?,
            times: frames.iter().map(|frame| (frame.pts_ticks, frame.t_secs)).collect(),
            frames,
            shots: run.read()?,
            tracks: run.read()?,
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
        let row = usize::try_from(cluster_id).ok().and_then(|at| self.people.get(at));
        row.and_then(|row| row.name.clone()).unwrap_or_else(|| format!("Person {cluster_id}"))
    }

    /// Boxes of each track, in order of frames.
    pub fn boxes_by_track(&self) -> BTreeMap<i64, Vec<&Detection>> {
        let mut by_track: BTreeMap<i64, Vec<&Detection>> = BTreeMap::new();
        for row in &self.boxes {
            row.track_id.into_iter().for_each(|track_id| by_track.entry(track_id).or_default().push(row));
        }
        by_track
    }

    /// When each person is on screen: stretches of frames with at least one of the person's tracks.
    pub fn presence(&self) -> Vec<(i64, Vec<Span>)> {
        let mut spans: BTreeMap<i64, Vec<Span>> = BTreeMap::new();
        for track in &self.tracks {
            let span = (track.first_frame_idx, track.last_frame_idx);
            self.cluster_of(track.track_id)
                .into_iter()
                .for_each(|id| spans.entry(id).or_default().push(span));
        }
        spans.into_iter().map(|(id, spans)| (id, union(spans))).collect()
    }

    /// When a span of frames begins and ends on screen, seconds: it ends when the next frame is shown, or with
    /// the video.
    pub fn secs(&self, span: Span) -> (f64, f64) {
        self.times.on_screen(span, self.times.at(0).unwrap_or(0.0) + self.video.duration_secs)
    }

    /// Frames per second: the nominal rate where the frames have one, else the mean.
    pub fn rate(&self) -> f64 {
        self.times.nominal_fps()
    }
}
