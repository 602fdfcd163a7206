//! The tables of this stage.

use numeric::vector::norm;
use run::StageRun;
use schema::footer::Embedder as Note;
use schema::io::TableWriter;
use schema::tables::{Crop, Embedding, TrackEmbedding, TrackView};
use schema::{Symbol, UnitVector};

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
        let mut vectors = vectors.iter();
        for track in crops.chunk_by(|a, b| a.track_id == b.track_id) {
            let mut crops: Vec<_> = track.iter().zip(vectors.by_ref()).collect();
            crops.sort_by_key(|(crop, _)| crop.frame_idx);
            self.write_track(embedder, &crops)?;
        }
        Ok(())
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
            stage.warn(format!("{} crops have an embedding of norm 0 and were skipped", self.unusable));
        }
        stage.finish(self.embeddings)?;
        stage.finish(self.tracks)?;
        stage.write::<TrackView>([])?;
        Ok(())
    }
}
