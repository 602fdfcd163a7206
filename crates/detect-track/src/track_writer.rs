//! Turns shots and faces into rows of `shots`, `detections`, `tracks` and `crops`.
//!
//! Tracks and crops are written when a track ends, boxes when their shot ends: a track never leaves
//! its shot. Memory holds the boxes of one shot, and the best crops and at most one doubtful face with its surroundings
//! of the tracks that go on.
//!
//! At a cut, all earlier rows are final. After a minute of video, the rows since the last part then become a part of the
//! checkpoint, from which the next start continues if this one is killed.

use geometry::{FrameTimes, Landmarks};
use picture::Format;
use run::StageRun;
use run::checkpoint::Checkpoint;
use schema::io::TableWriter;
use schema::tables::{Crop, Detection, Shot, Track, Transition};
use schema::{Row, Symbol};

use crate::closer_look::Best;
use crate::crops::{AlignedCrop, BestCrops, SIDE};
use crate::detector::Detector;
use crate::face::DetectedFace;
use crate::shots::Boundary;
use crate::still::Stillness;
use crate::torso::{Counts, MeanTorso};
use crate::tracker::{Credibility, EndedTrack, TrackDetection, Tracker, fill_gaps, mean_score};
use crate::view::View;
use crate::{Config, Error};

/// Length of video after which a part of the checkpoint ends, at the next cut, seconds.
const PART_SECS: f64 = 60.0;

/// Writes the tables of this stage.
pub struct TrackWriter {
    video_id: Symbol,
    config: Config,
    times: FrameTimes,
    view: View,
    /// Looks closer at tracks without a clear detection.
    detector: Box<dyn Detector>,
    shots: Twice<Shot>,
    detections: Twice<Detection>,
    tracks: Twice<Track>,
    crops: Twice<Crop>,
    /// `None` if no work is saved.
    checkpoint: Option<Checkpoint>,
    /// First frame of the part of the checkpoint that is being written.
    part_from: i64,
    shot: Option<OpenShot>,
    n_shots: i64,
    n_tracks: i64,
    n_detections: u64,
    /// Number of detections with a clear score.
    n_clear: u64,
}

/// A table of the stage, and the rows of it that the next part of the checkpoint will have.
struct Twice<R> {
    whole: TableWriter<R>,
    /// `None` if no work is saved.
    part: Option<TableWriter<R>>,
}

impl<R: Row + Clone> Twice<R> {
    fn push(&mut self, row: R) -> Result<(), Error> {
        if let Some(part) = &mut self.part {
            part.push(row.clone())?;
        }
        Ok(self.whole.push(row)?)
    }

    fn save(&mut self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        self.part.take().map_or(Ok(()), |part| checkpoint.finish(part))?;
        Ok(())
    }
}

struct OpenShot {
    first_frame_idx: i64,
    boundary: Boundary,
    tracker: Tracker,
    /// What the faces of a track have shown, by the tracker's number of the track; `None` once the track has ended.
    seen: Vec<Option<Seen>>,
    /// Key of the track in the tables, by the tracker's number; `None` when it was rejected.
    track_ids: Vec<Option<i64>>,
    /// Boxes of the tracks that have ended, each with the tracker's number of its track.
    boxes: Vec<(usize, TrackDetection)>,
}

/// What the faces of a track have shown.
struct Seen {
    crops: BestCrops,
    torso: MeanTorso,
    still: Stillness,
    best: Best,
}

impl Seen {
    /// Adds what another track of the same face has shown.
    fn absorb(&mut self, other: Self) {
        self.crops.absorb(other.crops);
        self.torso.absorb(other.torso);
        self.still.absorb(other.still);
        self.best.absorb(other.best);
    }
}

impl TrackWriter {
    /// Starts the four tables, with the rows of the checkpoint. The detector looks closer at tracks without a clear
    /// detection.
    ///
    /// # Errors
    /// When a file cannot be created or read.
    pub fn new(
        stage: &StageRun,
        video_id: Symbol,
        config: Config,
        times: FrameTimes,
        view: View,
        checkpoint: Option<Checkpoint>,
        detector: Box<dyn Detector>,
    ) -> Result<Self, Error> {
        let mut writer = Self {
            video_id,
            config,
            times,
            view,
            detector,
            shots: Twice { whole: stage.create(&[])?, part: None },
            detections: Twice {
                whole: stage.create_of_picture(&[], Some(view.stored_picture()))?,
                part: None,
            },
            tracks: Twice { whole: stage.create(&[])?, part: None },
            crops: Twice { whole: stage.create(&[])?, part: None },
            checkpoint: None,
            part_from: 0,
            shot: None,
            n_shots: 0,
            n_tracks: 0,
            n_detections: 0,
            n_clear: 0,
        };
        if let Some(checkpoint) = checkpoint {
            (0..checkpoint.parts()).try_for_each(|part| writer.take_over(&checkpoint, part))?;
            let end = writer.times.len() as i64;
            if writer.times.t_secs(end) - writer.times.t_secs(0) >= PART_SECS {
                writer.begin_part(checkpoint)?;
            }
        }
        Ok(writer)
    }

    /// Writes the rows of a part of the checkpoint.
    fn take_over(&mut self, checkpoint: &Checkpoint, part: usize) -> Result<(), Error> {
        for rows in checkpoint.read::<Shot>(part)? {
            for row in rows? {
                self.n_shots += 1;
                self.part_from = row.last_frame_idx + 1;
                self.shots.push(row)?;
            }
        }
        for rows in checkpoint.read::<Detection>(part)? {
            for row in rows? {
                self.push_detection(row)?;
            }
        }
        for rows in checkpoint.read::<Track>(part)? {
            for row in rows? {
                self.n_tracks += 1;
                self.tracks.push(row)?;
            }
        }
        for rows in checkpoint.read::<Crop>(part)? {
            rows?.into_iter().try_for_each(|row| self.crops.push(row))?;
        }
        Ok(())
    }

    fn begin_part(&mut self, checkpoint: Checkpoint) -> Result<(), Error> {
        self.shots.part = Some(checkpoint.create()?);
        self.detections.part = Some(checkpoint.create()?);
        self.tracks.part = Some(checkpoint.create()?);
        self.crops.part = Some(checkpoint.create()?);
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    /// Saves the rows since the last part, all of which are about frames before `end`.
    fn save_part(&mut self, end: i64) -> Result<(), Error> {
        let Some(mut checkpoint) = self.checkpoint.take() else { return Ok(()) };
        self.shots.save(&mut checkpoint)?;
        self.detections.save(&mut checkpoint)?;
        self.tracks.save(&mut checkpoint)?;
        self.crops.save(&mut checkpoint)?;
        checkpoint.save()?;
        self.part_from = end;
        self.begin_part(checkpoint)
    }

    /// The first frame that is not in the saved parts; a shot begins there with a cut. `None` without a part.
    pub fn continues_at(&self) -> Option<i64> {
        Some(self.part_from).filter(|first| *first > 0)
    }

    /// Closes the four tables.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(self, stage: &mut StageRun) -> Result<(), Error> {
        stage.figure("shots", self.n_shots);
        stage.figure("tracks", self.n_tracks);
        stage.figure("faces_detected", self.n_detections);
        if self.n_tracks == 0 && self.n_clear > 0 {
            stage.warn(format!(
                "faces were detected {} times, but each too briefly for a track: the tables have no person",
                self.n_clear
            ));
        }
        stage.finish(self.shots.whole)?;
        stage.finish(self.detections.whole)?;
        stage.finish(self.tracks.whole)?;
        stage.finish(self.crops.whole)?;
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
            first_t_secs: self.times.t_secs(first_frame_idx),
            last_t_secs: self.times.t_secs(last_frame_idx),
            transition: boundary.transition,
            score: boundary.score,
        })?;
        self.n_shots += 1;
        self.write_boxes(boxes, &track_ids)
    }

    /// Writes the tracks of the current shot that have ended.
    fn write_ended(&mut self, shot: &mut OpenShot) -> Result<(), Error> {
        for (from, into) in shot.tracker.join_ended() {
            if let (Some(seen), Some(into)) = (shot.seen[from].take(), &mut shot.seen[into]) {
                into.absorb(seen);
            }
        }
        for EndedTrack { number, detections, credibility } in shot.tracker.take_ended() {
            let Some(Seen { crops, torso, still, best }) = shot.seen[number].take() else { continue };
            let crops = crops.finish();
            let is_credible = match credibility {
                // A track without an aligned face cannot be embedded.
                _ if crops.is_empty() => false,
                Credibility::Rejected => false,
                Credibility::Credible if !best.is_doubtful() => true,
                _ => self.confirms(&best)?,
            };
            if is_credible {
                shot.track_ids[number] = Some(self.n_tracks);
                self.write_track(&detections, &crops, torso.finish(), still.is_still())?;
                let filled = fill_gaps(&detections, |frame| self.times.t_secs(frame));
                shot.boxes.extend(filled.into_iter().map(|detection| (number, detection)));
            }
            shot.boxes.extend(detections.into_iter().map(|detection| (number, detection)));
        }
        Ok(())
    }

    /// Whether closer looks at the best detections of a track find a face.
    fn confirms(&mut self, best: &Best) -> Result<bool, Error> {
        let is_face = best.is_face(self.detector.as_mut(), self.config.association.clear_score);
        is_face.map_err(|(frame_idx, reason)| Error::CloserLook { frame_idx, reason })
    }

    fn write_track(
        &mut self,
        detections: &[TrackDetection],
        crops: &[(i64, AlignedCrop)],
        torso: Option<Counts>,
        is_still: Option<bool>,
    ) -> Result<(), Error> {
        let ([first, ..], [.., last], [best, ..]) = (detections, detections, crops) else { return Ok(()) };
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
            n_detections: detections.len() as i64,
            mean_score: mean_score(detections),
            best_frame_idx: best.0,
            torso,
            is_still,
        })?;
        for (rank, (frame_idx, image)) in crops.iter().enumerate() {
            self.crops.push(Crop {
                video_id: self.video_id.clone(),
                track_id,
                rank: rank as i64,
                frame_idx: *frame_idx,
                image: Some(self.encoded(&image.rgb, *frame_idx)?),
                width: SIDE as i64,
                height: SIDE as i64,
                transform: self.view.from_stored(image.transform),
                quality: image.quality,
            })?;
        }
        Ok(())
    }

    fn encoded(&self, rgb: &[u8], frame_idx: i64) -> Result<Vec<u8>, Error> {
        let format = if self.config.lossless_crops { Format::Png } else { Format::Jpeg };
        picture::encode(rgb, SIDE as u32, SIDE as u32, format)
            .map_err(|source| Error::Crop { frame_idx, reason: source.to_string() })
    }

    fn write_boxes(
        &mut self,
        mut boxes: Vec<(usize, TrackDetection)>,
        track_ids: &[Option<i64>],
    ) -> Result<(), Error> {
        boxes.sort_by(|(track_a, a), (track_b, b)| {
            let place = a.frame_idx.cmp(&b.frame_idx).then(a.bbox.x_min.total_cmp(&b.bbox.x_min));
            place.then(track_a.cmp(track_b))
        });
        let (mut frame_idx, mut det_idx) = (-1, 0);
        for (track, detection) in boxes {
            det_idx = if detection.frame_idx == frame_idx { det_idx + 1 } else { 0 };
            frame_idx = detection.frame_idx;
            let bbox = self.view.stored_box(&detection.bbox);
            let landmarks = detection.landmarks.as_ref().map(|points| self.view.stored_landmarks(points));
            self.push_detection(Detection {
                video_id: self.video_id.clone(),
                frame_idx,
                det_idx,
                track_id: track_ids[track],
                x_min: bbox.x_min,
                y_min: bbox.y_min,
                x_max: bbox.x_max,
                y_max: bbox.y_max,
                score: detection.score,
                landmarks: landmarks.as_ref().map(Landmarks::flat),
                source: detection.source,
                sharpness: detection.sharpness,
                frontality: detection.landmarks.as_ref().map(Landmarks::frontality),
                size_px: bbox.size(),
            })?;
        }
        Ok(())
    }

    fn push_detection(&mut self, row: Detection) -> Result<(), Error> {
        self.n_detections += u64::from(row.score.is_some());
        let is_clear = |score: f32| f64::from(score) >= self.config.association.clear_score;
        self.n_clear += u64::from(row.score.is_some_and(is_clear));
        self.detections.push(row)
    }

    /// A shot begins at this frame; the one before it, if any, ends with the frame before.
    ///
    /// # Errors
    /// When the shot cannot be stored.
    pub fn begin_shot(&mut self, first_frame_idx: i64, boundary: Boundary) -> Result<(), Error> {
        self.end_shot(first_frame_idx - 1)?;
        let part_secs = self.times.t_secs(first_frame_idx) - self.times.t_secs(self.part_from);
        // A gradual boundary depends on frames before it.
        if boundary.transition == Transition::Cut && part_secs >= PART_SECS {
            self.save_part(first_frame_idx)?;
        }
        self.shot = Some(OpenShot {
            first_frame_idx,
            boundary,
            tracker: Tracker::new(self.config.association.at_pace_of(&self.times)),
            seen: Vec::new(),
            track_ids: Vec::new(),
            boxes: Vec::new(),
        });
        Ok(())
    }

    /// This frame of the current shot was examined, and these faces were found.
    ///
    /// # Errors
    /// When the faces cannot be stored.
    pub fn examined(&mut self, frame_idx: i64, faces: Vec<DetectedFace>) -> Result<(), Error> {
        let Some(mut shot) = self.shot.take() else { return Ok(()) };
        let t_secs = self.times.t_secs(frame_idx);
        let tracks = shot.tracker.step(frame_idx, t_secs, &faces);
        for (found, track) in faces.into_iter().zip(tracks) {
            if track == shot.seen.len() {
                shot.seen.push(Some(Seen {
                    crops: BestCrops::new(self.config.crops_per_track as usize),
                    torso: MeanTorso::default(),
                    still: Stillness::default(),
                    best: Best::default(),
                }));
                shot.track_ids.push(None);
            }
            let Some(seen) = &mut shot.seen[track] else { continue };
            seen.best.offer(frame_idx, &found.face, found.surroundings);
            found.torso.into_iter().for_each(|torso| seen.torso.add(torso));
            if let Some(crop) = found.crop {
                seen.still.add(t_secs, &found.face.bbox, &crop.appearance);
                seen.crops.offer(frame_idx, crop);
            }
        }
        self.write_ended(&mut shot)?;
        self.shot = Some(shot);
        Ok(())
    }

    /// The video ends, and with it the last shot.
    ///
    /// # Errors
    /// When the shot cannot be stored.
    pub fn end(&mut self) -> Result<(), Error> {
        self.end_shot(self.times.len() as i64 - 1)
    }

    /// Times of the frames.
    pub fn times(&self) -> &FrameTimes {
        &self.times
    }
}
