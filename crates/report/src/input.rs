//! What the page is made of: plain structs that a caller fills in.

use std::collections::{BTreeMap, BTreeSet};

use geometry::{BBox, FrameTimes, main_cast};
use schema::footer::Picture;
use schema::tables::{
    Calibration, Cluster, Constraint, Cut, Doubt, Identity, Linkage, Metric, Shot, Track, Video,
};
use serde_json::Value;

use crate::faces::Faces;
use crate::palette::{self, Colour};

/// Everything on the page.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Name of the run.
    pub run_id: &'a str,
    /// Tables of the run.
    pub tables: &'a Tables,
    /// Faces of the run.
    pub faces: &'a Faces,
    /// Comparison with labels; `None` without labels.
    pub labels: Option<&'a Comparison>,
    /// What each stage costs; `None` without labels.
    pub budget: Option<Budget>,
    /// Stated against true confidence, by rising confidence; empty without labels.
    pub reliability: &'a [ReliabilityBin],
    /// Rows of `metrics`, in any order.
    pub figures: &'a [Metric],
    /// Stages of the run in their order; the last one makes the page.
    pub stages: &'a [Stage<'a>],
    /// Address of the video, to which times are added as `#t=SECONDS`; `None` for times that are no links.
    pub video_url: Option<&'a str>,
    /// Distance at which the tree of merges was cut; `None` without a cut.
    pub cut: Option<f64>,
    /// Distance above which a merge violates a constraint; `None` for the default, 2.
    pub forbidden_above: Option<f64>,
    /// Sample pictures per person.
    pub samples_per_identity: usize,
}

/// Tables of a run, without the pictures.
#[derive(Debug, Clone)]
pub struct Tables {
    /// The video.
    pub video: Video,
    /// Times of the frames.
    pub times: FrameTimes,
    /// Shots, in order.
    pub shots: Vec<Shot>,
    /// Tracks, by `track_id`.
    pub tracks: Vec<Track>,
    /// One row per track, by `track_id`.
    pub clusters: Vec<Cluster>,
    /// One row per person, by `cluster_id`.
    pub identities: Vec<Identity>,
    /// Calibrated similarities, rising.
    pub calibration: Vec<Calibration>,
    /// Merges of the tree.
    pub linkage: Vec<Linkage>,
    /// Tracks that are the leaves of `linkage`, in the order of its nodes.
    pub leaves: Vec<i64>,
    /// Boxes of all tracks, by frame.
    pub boxes: Vec<TrackBox>,
    /// What may be wrong, in the order in which it should be checked; empty for a run of an older version.
    pub doubts: Vec<Doubt>,
    /// The people that other thresholds give; empty for a run of an older version.
    pub cuts: Vec<Cut>,
    /// Constraints that the result violates.
    pub violated: Vec<Constraint>,
    /// The picture in which faces were detected; `None` for a run of an older version.
    pub picture: Option<Picture>,
}

/// A time during which a person is on screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Appearance {
    /// Start and end, seconds.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Longest track.
    pub(crate) track_id: i64,
}

impl Tables {
    /// Finds the row of `tracks` with this id.
    pub fn track(&self, track_id: i64) -> Option<&Track> {
        self.tracks.binary_search_by_key(&track_id, |t| t.track_id).ok().map(|at| &self.tracks[at])
    }

    /// Tracks of a person (`None`: of no person), with their clusters, by time.
    pub(crate) fn tracks_of(&self, cluster_id: Option<i64>) -> Vec<(&Cluster, &Track)> {
        let clusters = self.clusters.iter().filter(|c| c.cluster_id == cluster_id);
        let mut tracks: Vec<_> = clusters.filter_map(|c| Some((c, self.track(c.track_id)?))).collect();
        tracks.sort_by_key(|(_, track)| (track.first_frame_idx, track.track_id));
        tracks
    }

    /// Appearances of a person in order; of no person (`None`), each track is one.
    pub(crate) fn appearances(&self, cluster_id: Option<i64>) -> Vec<Appearance> {
        let tracks = self.tracks_of(cluster_id);
        let span = |track: &Track| (track.first_frame_idx, track.last_frame_idx);
        let spans: Vec<_> = match cluster_id {
            Some(_) => self.times.appearances(tracks.iter().map(|(_, track)| span(track))),
            None => tracks.iter().map(|(_, track)| span(track)).collect(),
        };
        let end = self.times.end_secs();
        let appearance = |(first, last)| {
            let (from, to) = self.times.on_screen((first, last), end);
            let at = tracks.partition_point(|(_, track)| track.first_frame_idx < first);
            let within = tracks[at..].iter().take_while(|(_, track)| track.first_frame_idx <= last);
            let longest = within.max_by_key(|(_, track)| track.last_frame_idx - track.first_frame_idx);
            Some(Appearance { from, to, track_id: longest?.1.track_id })
        };
        spans.into_iter().filter_map(appearance).collect()
    }

    /// The person with this key.
    pub(crate) fn identity(&self, cluster_id: i64) -> Option<&Identity> {
        let at = self.identities.binary_search_by_key(&cluster_id, |identity| identity.cluster_id).ok()?;
        Some(&self.identities[at])
    }

    /// Name of a person for users; `None` is no person.
    pub(crate) fn name(&self, cluster_id: Option<i64>) -> String {
        let Some(cluster_id) = cluster_id else { return "Not sorted".into() };
        self.identity(cluster_id).map_or_else(|| Identity::numbered(cluster_id), Identity::label)
    }

    /// The main people: see [`geometry::main_cast`].
    pub(crate) fn main(&self) -> BTreeSet<i64> {
        let secs: Vec<_> = self.identities.iter().map(|identity| identity.screen_secs).collect();
        let main = self.identities.iter().zip(main_cast(&secs)).filter(|(_, is_main)| *is_main);
        main.map(|(identity, _)| identity.cluster_id).collect()
    }

    /// Colours of people.
    pub(crate) fn colours(&self) -> impl Fn(Option<i64>) -> &'static Colour {
        let main = self.main();
        move |cluster_id| palette::colour(cluster_id, |id| main.contains(&id))
    }

    /// Mean duration of a frame, seconds.
    pub(crate) fn frame_secs(&self) -> f64 {
        self.video.duration_secs.max(0.0) / self.video.frame_count.max(1) as f64
    }
}

/// Box of a track in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackBox {
    /// Frame.
    pub frame_idx: i64,
    /// Box.
    pub bbox: BBox<f64>,
    /// Track.
    pub track_id: i64,
    /// Cluster of the track; `None` for noise.
    pub cluster_id: Option<i64>,
}

/// A stage of the run, as the manifest records it.
#[derive(Debug, Clone, Copy)]
pub struct Stage<'a> {
    /// Name.
    pub name: &'a str,
    /// Program and version that ran it.
    pub producer: &'a str,
    /// Configuration.
    pub config: &'a Value,
    /// Warnings.
    pub warnings: &'a [String],
}

/// A result compared with labels. Persons are numbered by their place in `people`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// Names of the labelled people.
    pub people: Vec<String>,
    /// Number of boxes of each person by cluster; `None` is noise.
    pub boxes: BTreeMap<Option<i64>, Vec<usize>>,
    /// Number of boxes that match no labelled face, by cluster.
    pub false_boxes: BTreeMap<Option<i64>, usize>,
    /// Number of labelled faces of each person without a box.
    pub missed: Vec<usize>,
    /// Tracks with at least one labelled box, by `track_id`.
    pub tracks: Vec<LabelledTrack>,
}

/// A track with at least one box that is a labelled face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabelledTrack {
    /// Track.
    pub track_id: i64,
    /// Cluster of the track; `None` for noise.
    pub cluster_id: Option<i64>,
    /// Person that most of its labelled boxes show; of several, the one seen first.
    pub person: usize,
    /// Number of labelled boxes.
    pub n_boxes: usize,
    /// Those that show `person`.
    pub n_person: usize,
}

/// Identity F1 that was reached, and what each stage costs; together 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Identity F1 of the result, 0 to 1.
    pub reached: f64,
    /// Costs of detecting, tracking, embedding and linking; `None` where a cost is unknown.
    pub costs: [Option<f64>; 4],
}

/// Tracks of about one confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Mean confidence, 0 to 1.
    pub stated: f64,
    /// Share of tracks in the right cluster, 0 to 1.
    pub right: f64,
    /// Number of tracks; above 0.
    pub n: usize,
}
