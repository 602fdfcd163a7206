//! The builder of synthetic runs: writes the tables of a run, as its stages would.

use std::collections::BTreeMap;
use std::path::Path;

use run::appearances::appearances;
use run::manifest::VideoFile;
use run::{Begin, Plan, Result, RunDir, StageRun};
use schema::footer::Embedder;
use schema::tables::{
    Calibration, Cluster, Constraint, ConstraintKind, ConstraintReason, Crop, Cut, Detection,
    DetectionSource, Doubt, DoubtKind, Embedding, Frame, FrameStatus, Identity, LinkVector, Linkage, Shot,
    Track, TrackEmbedding, TrackView, Transition, Video,
};
use schema::{Symbol, UnitVector};
use serde_json::Value;

/// Frames per second.
pub const FPS: i64 = 25;
/// Width and height of a frame, pixels.
const SIZE: [i64; 2] = [640, 360];

/// A run before it is written.
#[derive(Debug, Clone)]
pub struct SyntheticRun {
    /// Name of the video file.
    pub file_name: String,
    /// SHA-256 of the video, which gives the video_id of the video.
    pub video_sha256: String,
    /// Codec of the video.
    pub codec: String,
    /// Configuration of every stage.
    pub config: Value,
    /// Warning of `detect-track`.
    pub warning: Option<String>,
    /// First frame of each shot, and the end of the last shot.
    pub shots: Vec<i64>,
    /// Tracks, by `track_id`.
    pub tracks: Vec<SyntheticTrack>,
    /// Embedder of all vectors.
    pub embedder: Embedder,
    /// Result of `cluster`; `None` ends the run after `embed`.
    pub linking: Option<Linking>,
}

/// A track before it is written.
#[derive(Debug, Clone)]
pub struct SyntheticTrack {
    /// Shot.
    pub shot: i64,
    /// First and last frame.
    pub frames: (i64, i64),
    /// Left, top, width and height of its boxes, pixels.
    pub bbox: [f32; 4],
    /// Vector; need not be of unit norm.
    pub vector: Vec<f32>,
    /// Number of crops that the vector is said to be pooled from.
    pub n_crops: i64,
    /// Crops, the best first.
    pub crops: Vec<SyntheticCrop>,
    /// Cluster; `None` for noise.
    pub cluster: Option<i64>,
    /// Confidence of the cluster, 0 to 1.
    pub confidence: f32,
    /// Distance margin to the next cluster; `None` without a runner-up.
    pub margin: Option<f32>,
}

impl SyntheticTrack {
    fn n_frames(&self) -> i64 {
        self.frames.1 - self.frames.0 + 1
    }
}

/// A crop before it is written.
#[derive(Debug, Clone)]
pub struct SyntheticCrop {
    /// Frame.
    pub frame: i64,
    /// Quality, 0 to 1.
    pub quality: f32,
    /// JPEG or PNG of 112 × 112 pixels; a crop without a picture is no row of `crops`.
    pub image: Option<Vec<u8>>,
    /// Vector; a crop without a vector is no row of `embeddings`.
    pub vector: Option<Vec<f32>>,
    /// Norm of the raw vector.
    pub norm: f32,
}

/// A doubt: kind, track, person, other person, and probability.
pub type SyntheticDoubt = (DoubtKind, Option<i64>, Option<i64>, Option<i64>, f64);

/// Result of `cluster` beside the clusters of the tracks.
#[derive(Debug, Clone, Default)]
pub struct Linking {
    /// Distance at which the tree is cut.
    pub threshold: Option<f64>,
    /// Name of every person.
    pub name: Option<String>,
    /// Merges: left node, right node, distance, size.
    pub merges: Vec<(i64, i64, f64, i64)>,
    /// Bins of the calibration: number, similarity, pairs without a constraint, pairs with one, probability.
    pub calibration: Vec<(i64, f64, i64, i64, f64)>,
    /// Doubts: kind, track, person, other person, probability; each is about two seconds.
    pub doubts: Vec<SyntheticDoubt>,
    /// Thresholds, and the person of each track.
    pub cuts: Vec<(f64, Vec<Option<i64>>)>,
}

/// Time of a frame, seconds.
pub fn secs(frame: i64) -> f64 {
    frame as f64 / FPS as f64
}

impl SyntheticRun {
    /// Writes the run into the directory `root`.
    ///
    /// # Errors
    /// When the directory cannot be written, or a row breaks the contract.
    pub fn write(&self, root: &Path) -> Result<()> {
        let mut run = RunDir::open(root)?;
        run.set_video(VideoFile {
            path: self.file_name.clone(),
            size_bytes: 0,
            modified_ns: 0,
            sha256: self.video_sha256.clone(),
        });
        let id = run.video_id()?;
        self.stage(&mut run, "ingest", &[], |stage| self.ingest(stage, &id))?;
        self.stage(&mut run, "detect-track", &[], |stage| self.detect_track(stage, &id))?;
        self.stage(&mut run, "embed", &[], |stage| self.embed(stage, &id))?;
        if let Some(linking) = &self.linking {
            self.stage(&mut run, "cluster", &["tracks", "track_embeddings"], |stage| {
                self.cluster(stage, &id, linking)
            })?;
        }
        Ok(())
    }

    fn stage(
        &self,
        run: &mut RunDir,
        name: &'static str,
        tables: &[&'static str],
        body: impl FnOnce(&mut StageRun) -> Result<()>,
    ) -> Result<()> {
        let plan = Plan { stage: name, version: 1, config: &self.config, tables, inputs: &[], force: true };
        let Begin::Run(mut stage) = run.begin(&plan)? else { return Ok(()) };
        body(&mut stage)?;
        run.commit(stage)?;
        Ok(())
    }

    fn ingest(&self, stage: &mut StageRun, id: &Symbol) -> Result<()> {
        let frame_count = self.shots.last().copied().unwrap_or(0);
        stage.write([Video {
            video_id: id.clone(),
            file_name: self.file_name.clone(),
            sha256: self.video_sha256.clone(),
            container: "matroska,webm".into(),
            codec: self.codec.clone(),
            width: SIZE[0],
            height: SIZE[1],
            rotation_degrees: 0,
            time_base_num: 1,
            time_base_den: FPS,
            start_secs: 0.0,
            duration_secs: secs(frame_count),
            frame_count,
            size_bytes: 0,
        }])?;
        stage.write((0..frame_count).map(|frame_idx| Frame {
            video_id: id.clone(),
            frame_idx,
            pts_ticks: frame_idx,
            t_secs: secs(frame_idx),
            is_key: frame_idx == 0,
            status: FrameStatus::Ok,
            duration_secs: Some(secs(frame_idx + 1) - secs(frame_idx)),
        }))
    }

    fn detect_track(&self, stage: &mut StageRun, id: &Symbol) -> Result<()> {
        if let Some(warning) = &self.warning {
            stage.warn(warning);
        }
        stage.write((0..).zip(self.shots.windows(2)).map(|(shot_idx, ends)| Shot {
            video_id: id.clone(),
            shot_idx,
            first_frame_idx: ends[0],
            last_frame_idx: ends[1] - 1,
            first_t_secs: secs(ends[0]),
            last_t_secs: secs(ends[1] - 1),
            transition: if shot_idx == 0 { Transition::Start } else { Transition::Cut },
            score: (shot_idx > 0).then_some(1.0),
        }))?;
        stage.write(self.detections(id))?;
        stage.write(self.track_rows(id))?;
        let mut crops = stage.create::<Crop>(&[])?;
        for (track_id, track) in (0..).zip(&self.tracks) {
            for (rank, crop) in (0..).zip(track.crops.iter().filter(|crop| crop.image.is_some())) {
                crops.push(Crop {
                    video_id: id.clone(),
                    track_id,
                    rank,
                    frame_idx: crop.frame,
                    image: crop.image.clone(),
                    width: 112,
                    height: 112,
                    transform: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
                    quality: crop.quality,
                })?;
            }
        }
        stage.finish(crops)
    }

    fn track_rows(&self, id: &Symbol) -> Vec<Track> {
        let rows = (0..).zip(&self.tracks).map(|(track_id, track)| Track {
            video_id: id.clone(),
            track_id,
            shot_idx: track.shot,
            first_frame_idx: track.frames.0,
            last_frame_idx: track.frames.1,
            first_t_secs: secs(track.frames.0),
            last_t_secs: secs(track.frames.1),
            n_detections: track.n_frames(),
            mean_score: 0.9,
            best_frame_idx: track.frames.0,
            torso: None,
            is_still: None,
        });
        rows.collect()
    }

    /// The boxes of all tracks, by frame.
    fn detections(&self, id: &Symbol) -> Vec<Detection> {
        let mut frames: BTreeMap<i64, Vec<Detection>> = BTreeMap::new();
        for (track_id, track) in (0..).zip(&self.tracks) {
            let [x, y, w, h] = track.bbox;
            for frame_idx in track.frames.0..=track.frames.1 {
                let boxes = frames.entry(frame_idx).or_default();
                boxes.push(Detection {
                    video_id: id.clone(),
                    frame_idx,
                    det_idx: boxes.len() as i64,
                    track_id: Some(track_id),
                    x_min: x,
                    y_min: y,
                    x_max: x + w,
                    y_max: y + h,
                    score: Some(0.9),
                    landmarks: None,
                    source: DetectionSource::Detected,
                    sharpness: None,
                    frontality: None,
                    size_px: (w * h).sqrt(),
                });
            }
        }
        frames.into_values().flatten().collect()
    }

    fn embed(&self, stage: &mut StageRun, id: &Symbol) -> Result<()> {
        let embedders = std::slice::from_ref(&self.embedder);
        let name: Symbol = self.embedder.name.as_str().into();
        let mut crops = stage.create::<Embedding>(embedders)?;
        for (track_id, track) in (0..).zip(&self.tracks) {
            for crop in &track.crops {
                let Some(vector) = &crop.vector else { continue };
                let Some(embedding) = UnitVector::normalised(vector) else { continue };
                crops.push(Embedding {
                    video_id: id.clone(),
                    track_id,
                    frame_idx: crop.frame,
                    embedder: name.clone(),
                    embedding,
                    norm: crop.norm,
                })?;
            }
        }
        stage.finish(crops)?;
        let mut tracks = stage.create::<TrackEmbedding>(embedders)?;
        for (track_id, track) in (0..).zip(&self.tracks) {
            let Some(embedding) = UnitVector::normalised(&track.vector) else { continue };
            tracks.push(TrackEmbedding {
                video_id: id.clone(),
                track_id,
                embedder: name.clone(),
                embedding,
                n_crops: track.n_crops,
                spread: 0.0,
            })?;
        }
        stage.finish(tracks)?;
        stage.write::<TrackView>([])
    }

    fn cluster(&self, stage: &mut StageRun, id: &Symbol, linking: &Linking) -> Result<()> {
        if let Some(threshold) = linking.threshold {
            stage.figure("threshold", threshold);
        }
        let n_clusters = self.tracks.iter().filter_map(|t| t.cluster).max().map_or(0, |most| most + 1);
        stage.write(self.constraints(id))?;
        let clusters: Vec<Cluster> = (0..)
            .zip(&self.tracks)
            .map(|(track_id, track)| Cluster {
                video_id: id.clone(),
                track_id,
                cluster_id: track.cluster,
                is_noise: track.cluster.is_none(),
                confidence: track.confidence,
                runner_up_cluster_id: track.cluster.zip(track.margin).map(|(id, _)| (id + 1) % n_clusters),
                margin: track.margin,
                linked_cluster_id: track.cluster,
                not_a_face: Some(false),
            })
            .collect();
        let times = (0..self.shots.last().copied().unwrap_or(0)).map(|i| (i, secs(i))).collect();
        stage.write(appearances(&self.track_rows(id), &clusters, &times))?;
        stage.write(clusters)?;
        stage.write(linking.calibration.iter().map(|&(bin, similarity, n_open, n_apart, same)| {
            Calibration { video_id: id.clone(), bin, similarity, n_open, n_apart, same }
        }))?;
        stage.write((0..).zip(&linking.merges).map(|(step, &(left, right, distance, size))| Linkage {
            video_id: id.clone(),
            step,
            left,
            right,
            distance,
            size,
        }))?;
        stage.write::<LinkVector>([])?;
        let doubts = (0..).zip(&linking.doubts);
        stage.write(doubts.map(
            |(doubt_idx, &(kind, track_id, cluster_id, other_cluster_id, probability))| Doubt {
                video_id: id.clone(),
                doubt_idx,
                kind,
                track_id,
                cluster_id,
                other_cluster_id,
                probability,
                secs: 2.0,
            },
        ))?;
        stage.write((0..).zip(&linking.cuts).flat_map(|(cut_idx, (threshold, people))| {
            (0..).zip(people).map(move |(track_id, person)| Cut {
                video_id: id.clone(),
                cut_idx,
                track_id,
                threshold: *threshold,
                person: *person,
            })
        }))?;
        stage.write((0..n_clusters).map(|cluster_id| self.identity(id, linking, cluster_id)))
    }

    /// Cannot-link constraints between tracks that share a frame.
    fn constraints(&self, id: &Symbol) -> Vec<Constraint> {
        let mut rows = Vec::new();
        for (a, first) in self.tracks.iter().enumerate() {
            for (b, second) in self.tracks.iter().enumerate().skip(a + 1).take(2) {
                if first.frames.0.max(second.frames.0) <= first.frames.1.min(second.frames.1) {
                    rows.push(Constraint {
                        video_id: id.clone(),
                        track_a: a as i64,
                        track_b: b as i64,
                        kind: ConstraintKind::CannotLink,
                        reason: ConstraintReason::Overlap,
                        weight: 1.0,
                        violated: first.cluster.is_some() && first.cluster == second.cluster,
                    });
                }
            }
        }
        rows
    }

    fn identity(&self, id: &Symbol, linking: &Linking, cluster_id: i64) -> Identity {
        let own = || (0_i64..).zip(&self.tracks).filter(|(_, track)| track.cluster == Some(cluster_id));
        let n_tracks = own().count();
        let n_frames: i64 = own().map(|(_, track)| track.n_frames()).sum();
        let exemplar = own().nth(n_tracks / 2);
        Identity {
            video_id: id.clone(),
            cluster_id,
            name: linking.name.clone(),
            n_tracks: n_tracks as i64,
            n_frames,
            screen_secs: secs(n_frames),
            first_t_secs: own().map(|(_, track)| secs(track.frames.0)).fold(f64::INFINITY, f64::min),
            last_t_secs: own().map(|(_, track)| secs(track.frames.1)).fold(0.0, f64::max),
            exemplar_track_id: exemplar.map_or(0, |(track_id, _)| track_id),
            exemplar_frame_idx: exemplar.map_or(0, |(_, track)| track.frames.0),
            person_uid: Some(format!("{cluster_id:016x}")),
            series_id: None,
            series_uid: None,
        }
    }
}
