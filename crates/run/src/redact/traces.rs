//! Pictures and vectors of faces in tables, and digests by which they are recognized without being stored.
//!
//! A digest is the beginning of the SHA-256 of a salt and the bytes of a picture or a vector. The salt is another one
//! in every report, so that two reports cannot be compared, and no picture or vector follows from a digest.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::time::SystemTime;

use schema::io::{current_name, open, read_footer};
use schema::tables::{Crop, Embedding, LinkVector, Member, PersonVector, TrackEmbedding, TrackView};
use schema::{Row, UnitVector};

use crate::error::Result;
use crate::reader::RunReader;

/// Hexadecimal digits of a digest: 128 bits.
const DIGITS: usize = 32;

/// Calls `see` for every picture and vector of a face in the table at `path`, with the track that the row names, or the
/// cluster (`members`) or the person (`person_vectors`). A vector is its components, little-endian. Returns the number
/// of rows of the table; 0 for a table of another kind.
///
/// # Errors
/// When the table cannot be read.
pub fn each_trace(path: &Path, mut see: impl FnMut(i64, &[u8])) -> schema::Result<u64> {
    let Some(footer) = read_footer(path)? else { return Ok(0) };
    let see = &mut see;
    let name = current_name(&footer);
    match TABLES.iter().find(|(table, _)| *table == name) {
        Some((_, walk)) => walk(path, see),
        None => Ok(0),
    }
}

/// Walks through a table.
type Walk = fn(&Path, &mut dyn FnMut(i64, &[u8])) -> schema::Result<u64>;

/// Every table with pictures or vectors of faces.
pub(crate) const TABLES: [(&str, Walk); 7] = [
    (Crop::TABLE.name, |path, see| {
        rows(path, |row: Crop| {
            if let Some(image) = &row.image {
                see(row.track_id, image)
            }
        })
    }),
    (Embedding::TABLE.name, |path, see| {
        rows(path, |row: Embedding| see(row.track_id, &bytes(&row.embedding)))
    }),
    (TrackEmbedding::TABLE.name, |path, see| {
        rows(path, |row: TrackEmbedding| see(row.track_id, &bytes(&row.embedding)))
    }),
    (TrackView::TABLE.name, |path, see| {
        rows(path, |row: TrackView| see(row.track_id, &bytes(&row.embedding.0)))
    }),
    (LinkVector::TABLE.name, |path, see| {
        rows(path, |row: LinkVector| see(row.track_id, &bytes(&row.direction.0)))
    }),
    (Member::TABLE.name, |path, see| rows(path, |row: Member| see(row.cluster_id, &bytes(&row.embedding)))),
    (PersonVector::TABLE.name, |path, see| {
        rows(path, |row: PersonVector| see(row.person_id, &bytes(&row.embedding)))
    }),
];

fn rows<R: Row + Clone>(path: &Path, mut see: impl FnMut(R)) -> schema::Result<u64> {
    let table = open::<R>(path)?;
    let mut rows = 0;
    for batch in table {
        for row in batch? {
            rows += 1;
            see(row);
        }
    }
    Ok(rows)
}

/// The components of a vector, little-endian.
pub fn bytes(vector: &UnitVector) -> Vec<u8> {
    vector.as_slice().iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// Makes digests with one salt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digester {
    /// The salt, hexadecimal.
    pub salt: String,
}

impl Digester {
    /// A digester with a new salt.
    pub fn new() -> Self {
        // The seeds of the standard library's hash maps come from the system.
        let seed = |_| RandomState::new().hash_one(SystemTime::now());
        let seeds: Vec<String> = (0..4).map(|at| format!("{:016x}", seed(at))).collect();
        Self { salt: hash::bytes(seeds.concat().as_bytes())[..DIGITS].to_owned() }
    }

    /// The digest of a picture or a vector.
    pub fn digest(&self, trace: &[u8]) -> String {
        let mut digest = hash::bytes(&[self.salt.as_bytes(), trace].concat());
        digest.truncate(DIGITS);
        digest
    }

    /// The digests of what a request removes from a run: pictures and vectors of `tracks`, or with `pictures` all
    /// pictures, too.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub fn of_run(
        &self,
        run: &RunReader,
        tracks: &BTreeSet<i64>,
        pictures: bool,
        into: &mut BTreeSet<String>,
    ) -> Result<()> {
        for (name, walk) in TABLES {
            let file = format!("{name}.parquet");
            // Tables of a gallery are none of a run.
            if run.manifest().output(&file).is_none() {
                continue;
            }
            let is_all = pictures && name == Crop::TABLE.name;
            walk(&run.root().join(file), &mut |track, trace| {
                if is_all || tracks.contains(&track) {
                    into.insert(self.digest(trace));
                }
            })?;
        }
        Ok(())
    }
}

impl Default for Digester {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a file is a Parquet file, by its first bytes: `PAR1`, or `PARE` if its footer is encrypted.
pub(crate) fn is_parquet(path: &Path) -> bool {
    let mut magic = [0; 4];
    let read =
        std::fs::File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && (&magic == b"PAR1" || &magic == b"PARE")
}

#[cfg(test)]
mod tests {
    use schema::cell::CellType;
    use schema::tables::all;

    use super::*;

    /// A new table with vectors or pictures must not be overlooked.
    #[test]
    fn every_table_with_pictures_or_vectors_of_faces_is_searched() {
        for table in all() {
            let is_trace = |cell| matches!(cell, CellType::UnitVector | CellType::Ragged | CellType::Bytes);
            let has = table.columns.iter().filter(|column| is_trace(column.cell)).count();
            assert_eq!(
                has,
                usize::from(TABLES.iter().any(|(name, _)| *name == table.name)),
                "{}",
                table.name
            );
        }
    }

    #[test]
    fn a_digest_depends_on_the_salt() {
        let (a, b) = (Digester::new(), Digester::new());
        assert_ne!(a.digest(b"x"), b.digest(b"x"));
        assert_eq!(a.digest(b"x"), a.clone().digest(b"x"));
        assert_eq!(a.digest(b"x").len(), DIGITS);
    }
}
