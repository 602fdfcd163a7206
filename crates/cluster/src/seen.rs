//! The tracks of a run as its embedders see them: vectors, crops and views.

use std::collections::HashMap;

use run::RunReader;
use schema::footer::{Embedder, Quality};
use schema::tables::{Constraint, Embedding, Track, TrackEmbedding, TrackView};

use serde::Deserialize as _;

use crate::config::Config;
use crate::method::{Clothes, Crop, Error, FurtherView, Items, Outfit, VideoModel};

/// Vectors of the tracks of a run.
#[derive(Debug)]
pub struct Seen {
    /// The embedder that tracks are linked by; `None` in a run without tracks.
    pub embedder: Option<Embedder>,
    /// Vectors of tracks, by `track_id`.
    pub vectors: Vec<TrackEmbedding>,
    /// Vectors of crops, by `track_id`.
    pub crops: Vec<Embedding>,
    /// Further embedders.
    further: Vec<Embedder>,
    /// What the further embedders see.
    views: Vec<TrackView>,
    /// Evidence of clothes by which the finished run was linked.
    clothes: Clothes,
}

impl Seen {
    /// Reads the tables of `embed`.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn read(run: &RunReader) -> run::Result<Self> {
        let (footer, vectors) = run.read_first_embedder(|row: &TrackEmbedding| &row.embedder)?;
        let (_, crops) = run.read_first_embedder(|row: &Embedding| &row.embedder)?;
        // Runs of older versions do not have the table.
        let (further, views) = match run.has::<TrackView>() {
            true => (run.open_table::<TrackView>()?.footer().embedders.clone(), run.read()?),
            false => Default::default(),
        };
        // Before `cluster` has finished, and for methods without clothes, the default counts.
        let linked = run.manifest().stage(crate::STAGE.name);
        let config = linked.and_then(|record| Config::deserialize(&record.config).ok());
        let clothes = config.and_then(|config| config.clothes).unwrap_or_default();
        Ok(Self { embedder: footer.embedders.into_iter().next(), vectors, crops, further, views, clothes })
    }

    /// Vectors of tracks by one embedder of no name, for tests.
    #[cfg(test)]
    pub(crate) fn of(vectors: Vec<TrackEmbedding>) -> Self {
        let (crops, further, views) = (Vec::new(), Vec::new(), Vec::new());
        Self { embedder: None, vectors, crops, further, views, clothes: Clothes::Off }
    }

    /// Returns the same embedders without vectors.
    pub(crate) fn without_tracks(&self) -> Self {
        let (embedder, further) = (self.embedder.clone(), self.further.clone());
        Self {
            embedder,
            further,
            vectors: Vec::new(),
            crops: Vec::new(),
            views: Vec::new(),
            clothes: self.clothes,
        }
    }

    /// Adds the vectors of a run with the same embedders; `ids` is added to the keys of its tracks, which are then above
    /// all others.
    pub(crate) fn append(&mut self, other: &Self, ids: i64) {
        let vectors = other.vectors.iter().cloned();
        self.vectors.extend(vectors.map(|row| TrackEmbedding { track_id: row.track_id + ids, ..row }));
        let crops = other.crops.iter().cloned();
        self.crops.extend(crops.map(|row| Embedding { track_id: row.track_id + ids, ..row }));
        let views = other.views.iter().cloned();
        self.views.extend(views.map(|row| TrackView { track_id: row.track_id + ids, ..row }));
    }

    /// Whether the vectors are of the same embedders.
    pub(crate) fn has_embedders_of(&self, other: &Self) -> bool {
        (&self.embedder, &self.further) == (&other.embedder, &other.further)
    }

    /// The quality table of the embedder that tracks are linked by.
    pub fn quality(&self) -> Option<&Quality> {
        self.embedder.as_ref()?.quality.as_ref()
    }

    /// Returns the index of a track in `vectors`; `None` for a track without a vector.
    pub fn place(&self, track_id: i64) -> Option<usize> {
        self.vectors.binary_search_by_key(&track_id, |v| v.track_id).ok()
    }

    /// Returns the tracks that have a vector, with the cannot-link constraints between them.
    ///
    /// # Errors
    /// When vectors are not finite, or differ in length.
    pub fn items<'a>(&'a self, tracks: &'a [Track], known: &[Constraint]) -> Result<Items<'a>, Error> {
        let cannot_link = known.iter().filter(|known| known.forbids());
        let cannot_link =
            cannot_link.filter_map(|row| self.place(row.track_a).zip(self.place(row.track_b))).collect();
        let crop = |crop: &'a Embedding| {
            let item = self.place(crop.track_id)?;
            Some(Crop { item, vector: crop.embedding.as_slice(), norm: crop.norm })
        };
        let mut scores = vec![0.0; self.vectors.len()];
        for track in tracks {
            self.place(track.track_id).into_iter().for_each(|item| scores[item] = track.mean_score);
        }
        Items::new(self.vectors.iter().map(|v| v.embedding.as_slice()).collect(), cannot_link)?
            .with_crops(self.crops.iter().filter_map(crop).collect())?
            .with_views(self.further.iter().filter_map(|embedder| self.view(embedder)).collect())?
            .with_outfits(tracks.iter().filter_map(|track| self.outfit(track)).collect())?
            .with_scores(scores)
    }

    /// What a further embedder sees, if its quality table is known.
    fn view<'a>(&'a self, embedder: &'a Embedder) -> Option<FurtherView<'a>> {
        let quality = embedder.quality.as_ref()?;
        let mut seen = vec![None; self.vectors.len()];
        for row in self.views.iter().filter(|row| row.embedder.as_str() == embedder.name) {
            if let Some(item) = self.place(row.track_id) {
                seen[item] = Some((row.embedding.0.as_slice(), row.norm));
            }
        }
        seen.iter().any(Option::is_some).then_some(FurtherView { quality, seen })
    }

    /// Returns the embedders that give evidence, in the order of the views: the main embedder first.
    pub fn embedders(&self) -> impl Iterator<Item = &Embedder> {
        let further = self.further.iter().filter(|embedder| self.view(embedder).is_some());
        self.embedder.iter().chain(further)
    }

    /// The clothes of a track, where they were measured.
    fn outfit<'a>(&self, track: &'a Track) -> Option<Outfit<'a>> {
        Some(Outfit {
            item: self.place(track.track_id)?,
            torso: track.torso.as_ref()?.as_slice(),
            first_secs: track.first_t_secs,
            last_secs: track.last_t_secs,
            shot: track.shot_idx,
        })
    }

    /// Returns the model of the video, learned from its people, for questions about them; `None` for an embedder
    /// without a quality table, and without tracks. `person` returns the person of a track.
    ///
    /// # Errors
    /// When vectors are not finite or differ in length, or a quality table does not fit the vectors.
    pub fn model(
        &self,
        tracks: &[Track],
        known: &[Constraint],
        person: impl Fn(i64) -> Option<i64>,
    ) -> Result<Option<VideoModel>, Error> {
        let Some(quality) = self.quality().filter(|_| !self.vectors.is_empty()) else { return Ok(None) };
        let labels = self.labels(person).0;
        VideoModel::new(&self.items(tracks, known)?, quality, self.clothes, &labels, 1).map(Some)
    }

    /// Returns the cluster of each track that has a vector, numbered from zero, and the cluster of each person; a track
    /// without a person is a cluster of its own.
    pub fn labels(&self, person: impl Fn(i64) -> Option<i64>) -> (Vec<usize>, HashMap<i64, usize>) {
        let (mut numbers, mut count) = (HashMap::new(), 0);
        let mut next = || {
            count += 1;
            count - 1
        };
        let label = |row: &TrackEmbedding| match person(row.track_id) {
            Some(person) => *numbers.entry(person).or_insert_with(&mut next),
            None => next(),
        };
        (self.vectors.iter().map(label).collect(), numbers)
    }
}
