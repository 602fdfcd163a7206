//! The pictures of faces, in a temporary file without a name: the pictures of a film do not fit in memory. The system
//! deletes the file when the server ends. The pictures of an encrypted run are not copied: they are read from the table
//! one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use geometry::FrameTimes;
use run::RunReader;
use schema::tables::Crop;

use crate::Error;

/// A picture of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kept {
    pub(crate) track: i64,
    pub(crate) rank: i64,
    /// Time of the frame, seconds.
    pub(crate) t_secs: f64,
    /// Quality, 0 to 1, as in the table `crops`.
    pub(crate) quality: f32,
}

/// The pictures of a run.
#[derive(Debug)]
pub(crate) struct Pictures {
    file: Option<File>,
    run: RunReader,
    /// Place and length in the file, by track and rank.
    places: HashMap<(i64, i64), (u64, usize)>,
    by_track: BTreeMap<i64, Vec<Kept>>,
}

impl Pictures {
    /// Copies the pictures of the table `crops` to the temporary file.
    pub(crate) fn read(run: &RunReader, times: &FrameTimes) -> Result<Self, Error> {
        let failed = |source| Error::Pictures { source };
        let is_encrypted = run.manifest().encryption.is_some();
        let mut file = if is_encrypted { None } else { Some(tempfile::tempfile().map_err(failed)?) };
        let (mut places, mut by_track) = (HashMap::new(), BTreeMap::<_, Vec<_>>::new());
        let mut end = 0;
        for batch in run.open_table::<Crop>()? {
            for row in batch.map_err(run::Error::from)? {
                // `redact` removes pictures and keeps the rows.
                let Some(image) = row.image else { continue };
                file.as_mut().map_or(Ok(()), |file| file.write_all(&image)).map_err(failed)?;
                places.insert((row.track_id, row.rank), (end, image.len()));
                end += image.len() as u64;
                let t_secs = times.t_secs(row.frame_idx);
                let kept = Kept { track: row.track_id, rank: row.rank, t_secs, quality: row.quality };
                by_track.entry(row.track_id).or_default().push(kept);
            }
        }
        Ok(Self { file, run: run.clone(), places, by_track })
    }

    /// Returns the pictures of a track, those with the highest scores of the detector first.
    pub(crate) fn of(&self, track: i64) -> impl Iterator<Item = Kept> {
        self.by_track.get(&track).into_iter().flatten().copied()
    }

    /// Returns the bytes of a picture, JPEG or PNG; `None` if the run has no such picture.
    pub(crate) fn get(&self, track: i64, rank: i64) -> Option<Vec<u8>> {
        let (start, length) = *self.places.get(&(track, rank))?;
        let Some(file) = &self.file else { return self.read_again(track, rank) };
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, start).ok()?;
        Some(bytes)
    }

    /// Reads a picture from the table, of which only the parts with the track are read.
    fn read_again(&self, track: i64, rank: i64) -> Option<Vec<u8>> {
        let rows = self.run.open_tracks::<Crop>(&BTreeSet::from([track])).ok()?;
        let mut rows = rows.map_while(Result::ok).flatten();
        rows.find(|row| (row.track_id, row.rank) == (track, rank))?.image
    }
}
