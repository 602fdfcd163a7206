//! The people of a run, with the places and times at which they are seen.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use run::{Result, RunReader};
use schema::tables::{Cluster, Detection, Frame, Identity, Shot, Track, Video};

/// The tables of a finished run that say who is where.
#[derive(Debug, Clone)]
pub struct Run {
    /// The video.
    pub video: Video,
    /// Every frame.
    pub frames: Vec<Frame>,
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

/// A stretch of frames, first and last.
pub type Span = (i64, i64);

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
        Ok(Self {
            video: run.read_one()?,
            frames: run.read()?,
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
        spans.into_iter().map(|(id, spans)| (id, joined(spans))).collect()
    }

    /// When a stretch of frames is on screen, seconds: until the next frame is.
    pub fn secs(&self, (first, last): Span) -> (f64, f64) {
        let at =
            |frame: i64| usize::try_from(frame).ok().and_then(|at| self.frames.get(at)).map(|row| row.t_secs);
        let start = at(first).unwrap_or(0.0);
        let origin = self.frames.first().map_or(0.0, |row| row.t_secs);
        (start, at(last + 1).unwrap_or(origin + self.video.duration_secs).max(start))
    }

    /// Frames per second: exact where all are equally long, else the mean.
    pub fn rate(&self) -> f64 {
        let (Some(first), Some(last)) = (self.frames.first(), self.frames.last()) else { return 25.0 };
        let secs = last.t_secs - first.t_secs;
        if secs <= 0.0 {
            return 25.0;
        }
        let mean = (self.frames.len() - 1) as f64 / secs;
        let ntsc = (mean * 1.001).round() / 1.001;
        // Containers count in milliseconds at times, so the mean is only nearly what it should be.
        [mean.round(), ntsc].into_iter().find(|rate| (mean - rate).abs() < mean * 1e-4).unwrap_or(mean)
    }
}

/// The spans without overlaps; those that touch become one.
fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for (first, last) in spans {
        match joined.last_mut() {
            Some(before) if first <= before.1 + 1 => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn spans_that_touch_become_one() {
        assert_eq!(joined(vec![(8, 9), (0, 3), (2, 3), (4, 5)]), [(0, 5), (8, 9)]);
        assert_eq!(joined(vec![]), []);
    }
}
