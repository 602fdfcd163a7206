//! The tables of this stage.

use numeric::vector::norm;
use run::StageRun;
use schema::footer::Embedder as Note;
use schema::io::TableWriter;
use schema::tables::{Crop, Embedding, TrackEmbedding, TrackView};
use schema::{Ragged, Symbol, UnitVector};

use crate::{Embedder, Error, pool};

/// Writes the tables of this stage.
pub(crate) struct Writer {
    video_id: Symbol,
    /// Length of the file's vectors.
    dim: usize,
    embeddings: TableWriter<Embedding>,
    tracks: TableWriter<TrackEmbedding>,
    n_crops: u64,
    n_tracks: u64,
    unusable: u64,
}

impl Writer {
    /// For vectors of these embedders.
    pub(crate) fn new(stage: &StageRun, video_id: Symbol, notes: &[Note]) -> Result<Self, Error> {
        Ok(Self {
            video_id,
            dim: notes.iter().map(|note| note.dim).max().unwrap_or(0),
            embeddings: stage.create(notes)?,
            tracks: stage.create(notes)?,
            n_crops: 0,
            n_tracks: 0,
            unusable: 0,
        })
    }

    /// Writes whole tracks: their crops' vectors and the pooled one.
    pub(crate) fn write(
        &mut self,
        embedder: &dyn Embedder,
        crops: &[Crop],
        mut vectors: Vec<Vec<f32>>,
    ) -> Result<(), Error> {
        // Zeros at the end change neither norm nor angle.
        vectors.iter_mut().for_each(|vector| vector.resize(self.dim, 0.0));
        tracks(crops, &vectors).try_for_each(|crops| self.write_track(embedder, &crops))
    }

    fn write_track(&mut self, embedder: &dyn Embedder, crops: &[(&Crop, &Vec<f32>)]) -> Result<(), Error> {
        let mut usable: Vec<&[f32]> = Vec::new();
        for (crop, vector) in crops {
            // A vector of norm 0 has no direction and cannot be compared.
            let Some(embedding) = UnitVector::normalised(vector) else {
                self.unusable += 1;
                continue;
            };
            usable.push(vector);
            self.n_crops += 1;
            self.embeddings.push(Embedding {
                video_id: self.video_id.clone(),
                track_id: crop.track_id,
                frame_idx: crop.frame_idx,
                embedder: embedder.name().into(),
                embedding,
                norm: norm(vector),
            })?;
        }
        let (Some((crop, _)), Some(pooled)) = (crops.first(), pool(&usable, embedder.norm_power())) else {
            return Ok(());
        };
        self.n_tracks += 1;
        self.tracks.push(TrackEmbedding {
            video_id: self.video_id.clone(),
            track_id: crop.track_id,
            embedder: embedder.name().into(),
            embedding: pooled.vector,
            n_crops: pooled.n_crops as i64,
            spread: pooled.spread,
        })?;
        Ok(())
    }

    /// Closes the tables.
    pub(crate) fn finish(self, stage: &mut StageRun) -> Result<(), Error> {
        stage.figure("crops_embedded", self.n_crops);
        stage.figure("tracks_embedded", self.n_tracks);
        if self.unusable > 0 {
            stage.warn(format!("crops with an embedding of norm 0, which were skipped: {}", self.unusable));
        }
        stage.finish(self.embeddings)?;
        stage.finish(self.tracks)?;
        Ok(())
    }
}

/// The crops of every track with their vectors, in the order of frames.
fn tracks<'a>(
    crops: &'a [Crop],
    vectors: &'a [Vec<f32>],
) -> impl Iterator<Item = Vec<(&'a Crop, &'a Vec<f32>)>> {
    let mut vectors = vectors.iter();
    crops.chunk_by(|a, b| a.track_id == b.track_id).map(move |track| {
        let mut crops: Vec<_> = track.iter().zip(vectors.by_ref()).collect();
        crops.sort_by_key(|(crop, _)| crop.frame_idx);
        crops
    })
}

/// Writes the vectors of views.
pub(crate) struct ViewWriter {
    video_id: Symbol,
    views: TableWriter<TrackView>,
}

impl ViewWriter {
    /// For vectors of these embedders.
    pub(crate) fn new(stage: &StageRun, video_id: Symbol, notes: &[Note]) -> Result<Self, Error> {
        Ok(Self { video_id, views: stage.create(notes)? })
    }

    /// Writes whole tracks.
    pub(crate) fn write(
        &mut self,
        embedder: &dyn Embedder,
        crops: &[Crop],
        vectors: &[Vec<f32>],
    ) -> Result<(), Error> {
        for crops in tracks(crops, vectors) {
            // A vector of norm 0 has no direction and cannot be compared.
            let usable = crops.iter().map(|(_, vector)| vector.as_slice());
            let usable: Vec<_> = usable.filter(|v| UnitVector::normalised(v).is_some()).collect();
            let Some(pooled) = pool(&usable, embedder.norm_power()) else { continue };
            self.views.push(TrackView {
                video_id: self.video_id.clone(),
                embedder: embedder.name().into(),
                track_id: crops[0].0.track_id,
                embedding: Ragged(pooled.vector),
                norm: mean_norm(&usable),
            })?;
        }
        Ok(())
    }

    /// Closes the table.
    pub(crate) fn finish(self, stage: &mut StageRun) -> Result<(), Error> {
        Ok(stage.finish(self.views)?)
    }
}

/// `Σn⁵ / Σn⁴` over the norms of the vectors.
fn mean_norm(vectors: &[&[f32]]) -> f32 {
    let norms = || vectors.iter().map(|vector| f64::from(norm(vector)));
    (norms().map(|n| n.powi(5)).sum::<f64>() / norms().map(|n| n.powi(4)).sum::<f64>()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clear_crops_count_for_more_in_the_norm() {
        assert_eq!(mean_norm(&[&[0.0, 3.0]]), 3.0);
        assert_eq!(mean_norm(&[&[1.0, 0.0], &[0.0, 2.0]]), 33.0 / 17.0);
    }
}
