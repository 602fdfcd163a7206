//! Turns shots and faces into rows of `shots`, `detections`, `tracks` and `crops`.
//!
//! Tracks and crops are written when a track ends, boxes when their shot ends: a track never leaves
//! its shot. Memory holds one shot's boxes and the best crops of the tracks that go on.

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use schema::Symbol;
use schema::io::TableWriter;
use schema::run::StageRun;
use schema::tables::{Crop, Detection, DetectionSource, Shot, Track};

use crate::crops::{AlignedCrop, BestCrops, SIDE};
use crate::geometry::{Face, Rect};
use crate::pipeline::{Clock, Listener, Seen};
use crate::shots::Boundary;
use crate::tracker::{Observation, Sighting, Tracker, fill_gaps, mean_score};
use crate::{Config, Error};

/// A box of the current shot on its way to `detections`.
struct Boxed {
    frame_idx: i64,
    track: usize,
    rect: Rect,
    source: DetectionSource,
    seen: Option<(Face, Option<f32>)>,
}

/// Writes the tables of this stage.
pub struct Recorder<'a> {
    video_id: Symbol,
    config: &'a Config,
    clock: Clock,
    shots: TableWriter<Shot>,
    detections: TableWriter<Detection>,
    tracks: TableWriter<Track>,
    crops: TableWriter<Crop>,
    shot: Option<OpenShot>,
    n_shots: i64,
    n_tracks: i64,
    n_detections: u64,
}

struct OpenShot {
    first_frame_idx: i64,
    boundary: Boundary,
    tracker: Tracker,
    /// By the tracker's number of the track; `None` once the track has ended.
    best_crops: Vec<Option<BestCrops>>,
    /// Key of the track in the tables, by the tracker's number; `None` when it was rejected.
    track_ids: Vec<Option<i64>>,
    boxes: Vec<Boxed>,
}

impl OpenShot {
    fn new(first_frame_idx: i64, boundary: Boundary, config: &Config) -> Self {
        let tracker = Tracker::new(config.association);
        Self {
            first_frame_idx,
            boundary,
            tracker,
            best_crops: Vec::new(),
            track_ids: Vec::new(),
            boxes: Vec::new(),
        }
    }
}

impl<'a> Recorder<'a> {
    /// Starts the four tables.
    ///
    /// # Errors
    /// When a file cannot be created.
    pub fn new(stage: &StageRun, video_id: Symbol, config: &'a Config, clock: Clock) -> Result<Self, Error> {
        Ok(Self {
            video_id,
            config,
            clock,
            shots: stage.create(&[])?,
            detections: stage.create(&[])?,
            tracks: stage.create(&[])?,
            crops: stage.create(&[])?,
            shot: None,
            n_shots: 0,
            n_tracks: 0,
            n_detections: 0,
        })
    }

    /// Closes the four tables.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(self, stage: &mut StageRun) -> Result<(), Error> {
        stage.figure("shots", self.n_shots);
        stage.figure("tracks", self.n_tracks);
        stage.figure("faces_detected", self.n_detections);
        stage.finish(self.shots)?;
        stage.finish(self.detections)?;
        stage.finish(self.tracks)?;
        stage.finish(self.crops)?;
        Ok(())
    }

    fn end_shot(&mut self, last_frame_idx: i64) -> Result<(), Error> {
        let Some(mut shot) = self.shot.take() else { return Ok(()) };
        shot.tracker.end_all();
        self.write_ended(&mut shot)?;
        let OpenShot { first_frame_idx, boundary, track_ids, boxes, .. } = shot;
        self.shots.push(Shot {
            video_id: self.video_id.clone(),
            shot_idx: self.n_shots,
            first_frame_idx,
            last_frame_idx,
            first_t_secs: self.clock.t_secs(first_frame_idx),
            last_t_secs: self.clock.t_secs(last_frame_idx),
            transition: boundary.transition,
            score: boundary.score,
        })?;
        self.n_shots += 1;
        self.write_boxes(boxes, &track_ids)
    }

    /// Writes the tracks of the current shot that have ended.
    fn write_ended(&mut self, shot: &mut OpenShot) -> Result<(), Error> {
        for (number, sightings) in shot.tracker.take_ended() {
            let images = shot.best_crops[number].take().map(BestCrops::finish).unwrap_or_default();
            // Without a single alignable face there is nothing to recognise anyone by.
            let Some(sightings) = sightings.filter(|_| !images.is_empty()) else { continue };
            shot.track_ids[number] = Some(self.n_tracks);
            self.write_track(&sightings, &images)?;
            let filled = fill_gaps(&sightings, |frame| self.clock.t_secs(frame)).into_iter();
            let boxed =
                |(frame_idx, rect, source)| Boxed { frame_idx, track: number, rect, source, seen: None };
            shot.boxes.extend(filled.map(boxed));
        }
        Ok(())
    }

    fn write_track(&mut self, sightings: &[Sighting], images: &[(i64, AlignedCrop)]) -> Result<(), Error> {
        let ([first, ..], [.., last], [best, ..]) = (sightings, sightings, images) else { return Ok(()) };
        let track_id = self.n_tracks;
        self.n_tracks += 1;
        self.tracks.push(Track {
            video_id: self.video_id.clone(),
            track_id,
            shot_idx: self.n_shots,
            first_frame_idx: first.frame_idx,
            last_frame_idx: last.frame_idx,
            first_t_secs: first.t_secs,
            last_t_secs: last.t_secs,
            n_detections: sightings.len() as i64,
            mean_score: mean_score(sightings),
            best_frame_idx: best.0,
        })?;
        for (rank, (frame_idx, image)) in images.iter().enumerate() {
            self.crops.push(Crop {
                video_id: self.video_id.clone(),
                track_id,
                rank: rank as i64,
                frame_idx: *frame_idx,
                image: Some(png(&image.rgb).map_err(|reason| Error::Crop { frame_idx: *frame_idx, reason })?),
                width: SIDE as i64,
                height: SIDE as i64,
                transform: image.transform,
                quality: image.quality,
            })?;
        }
        Ok(())
    }

    fn write_boxes(&mut self, mut boxes: Vec<Boxed>, track_ids: &[Option<i64>]) -> Result<(), Error> {
        boxes.sort_by(|a, b| {
            a.frame_idx
                .cmp(&b.frame_idx)
                .then(a.rect.x_min.total_cmp(&b.rect.x_min))
                .then(a.track.cmp(&b.track))
        });
        let (mut frame_idx, mut det_idx) = (-1, 0);
        for item in boxes {
            det_idx = if item.frame_idx == frame_idx { det_idx + 1 } else { 0 };
            frame_idx = item.frame_idx;
            let face = item.seen.as_ref().map(|(face, _)| face);
            self.n_detections += u64::from(face.is_some());
            self.detections.push(Detection {
                video_id: self.video_id.clone(),
                frame_idx,
                det_idx,
                track_id: track_ids[item.track],
                x_min: item.rect.x_min,
                y_min: item.rect.y_min,
                x_max: item.rect.x_max,
                y_max: item.rect.y_max,
                score: face.map(|f| f.score),
                landmarks: face.and_then(|f| f.points.as_ref()).map(flat),
                source: item.source,
                sharpness: item.seen.as_ref().and_then(|(_, sharpness)| *sharpness),
                frontality: face.and_then(Face::frontality),
                size_px: item.rect.size(),
            })?;
        }
        Ok(())
    }
}

impl Listener for Recorder<'_> {
    fn begin_shot(&mut self, first_frame_idx: i64, boundary: Boundary) -> Result<(), Error> {
        self.end_shot(first_frame_idx - 1)?;
        self.shot = Some(OpenShot::new(first_frame_idx, boundary, self.config));
        Ok(())
    }

    fn examined(&mut self, frame_idx: i64, seen: Vec<Seen>) -> Result<(), Error> {
        let Some(mut shot) = self.shot.take() else { return Ok(()) };
        let faces: Vec<_> = seen.iter().map(observation).collect();
        let tracks = shot.tracker.step(frame_idx, self.clock.t_secs(frame_idx), &faces);
        for (Seen { face, image, .. }, track) in seen.into_iter().zip(tracks) {
            let sharpness = image.as_ref().map(|image| image.sharpness);
            let (rect, source) = (face.rect, DetectionSource::Detected);
            shot.boxes.push(Boxed { frame_idx, track, rect, source, seen: Some((face, sharpness)) });
            if track == shot.best_crops.len() {
                shot.best_crops.push(Some(BestCrops::new(self.config.crops_per_track as usize)));
                shot.track_ids.push(None);
            }
            if let Some((best, image)) = shot.best_crops[track].as_mut().zip(image) {
                best.offer(frame_idx, image);
            }
        }
        self.write_ended(&mut shot)?;
        self.shot = Some(shot);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Error> {
        self.end_shot(self.clock.len() as i64 - 1)
    }

    fn clock(&self) -> &Clock {
        &self.clock
    }
}

fn observation(seen: &Seen) -> Observation<'_> {
    let appearance = seen.image.as_ref().map(|image| &image.appearance);
    Observation { face: seen.face, appearance, trajectory: &seen.trajectory }
}

fn flat(points: &[(f32, f32); 5]) -> [f32; 10] {
    std::array::from_fn(|i| if i % 2 == 0 { points[i / 2].0 } else { points[i / 2].1 })
}

/// Lossless and quick rather than small: images are read back by the very next stage.
fn png(rgb: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let side = SIDE as u32;
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(rgb, side, side, ExtendedColorType::Rgb8)
        .map_err(|e| e.to_string())?;
    Ok(bytes)
}
