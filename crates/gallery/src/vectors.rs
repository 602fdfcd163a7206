//! One vector per person, and how these stand in a file that only grows at its end.
//!
//! A record is a person's id (8 bytes) and vector (4 bytes a number), little-endian. Whoever is seen again
//! gets another record, and a person's last one counts; so an addition writes only whom it saw. When more
//! than a fifth of the records have been overtaken, the file is begun anew without these.

use std::collections::HashMap;
use std::io::Read;

/// Records that are read at a time.
const BLOCK: usize = 512;
/// Records for which a file is never begun anew.
const FEW: usize = 1024;

/// Vectors of people by their id, all of one length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vectors {
    dim: usize,
    /// Which vector is whose.
    places: HashMap<i64, usize>,
    /// A vector per person, one after the other.
    values: Vec<f32>,
    /// Records of the file that stay.
    kept: usize,
    /// Records that follow them.
    unwritten: Vec<u8>,
}

impl Vectors {
    /// Nobody's, of that length.
    pub fn new(dim: usize) -> Self {
        Self { dim, ..Self::default() }
    }

    /// Reads this many records of vectors of that length; gives their CRC-32, too.
    ///
    /// # Errors
    /// When they are not there.
    pub fn read(dim: usize, n_records: usize, mut file: impl Read) -> std::io::Result<(Self, u32)> {
        let (mut vectors, mut crc32) = (Self::new(dim), crc32fast::Hasher::new());
        let mut block = vec![0; size(dim) * BLOCK];
        for first in (0..n_records).step_by(BLOCK) {
            let bytes = &mut block[..size(dim) * BLOCK.min(n_records - first)];
            file.read_exact(bytes)?;
            crc32.update(bytes);
            for record in bytes.chunks_exact(size(dim)) {
                let (id, vector) = record.split_at(size_of::<i64>());
                let id = id.try_into().map_or(0, i64::from_le_bytes);
                vectors.put(id, vector.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)));
            }
        }
        vectors.kept = n_records;
        Ok((vectors, crc32.finalize()))
    }

    /// Number of records, written or not.
    pub fn n_records(&self) -> usize {
        self.kept + self.unwritten.len() / size(self.dim)
    }

    /// Somebody's vector.
    pub fn get(&self, person_id: i64) -> Option<&[f32]> {
        self.places.get(&person_id).map(|place| &self.values[place * self.dim..(place + 1) * self.dim])
    }

    /// Gives somebody a vector.
    pub fn set(&mut self, person_id: i64, vector: &[f32]) {
        self.put(person_id, vector.iter().copied());
        push(&mut self.unwritten, person_id, vector);
        if self.n_records() > FEW + self.places.len() * 5 / 4 {
            self.begin_anew();
        }
    }

    fn put(&mut self, person_id: i64, vector: impl Iterator<Item = f32>) {
        let end = self.values.len();
        let place = *self.places.entry(person_id).or_insert(end / self.dim);
        if place * self.dim == end {
            self.values.resize(end + self.dim, 0.0);
        }
        self.values[place * self.dim..].iter_mut().zip(vector).for_each(|(old, new)| *old = new);
    }

    /// How the file is to be changed: the number of its records that stay, and what follows these.
    pub fn unwritten(&self) -> (usize, &[u8]) {
        (self.kept, &self.unwritten)
    }

    /// Notes that the file has been changed.
    pub fn set_written(&mut self) {
        self.kept = self.n_records();
        self.unwritten.clear();
    }

    /// In the order of ids, so that the file does not depend on what is in memory.
    fn begin_anew(&mut self) {
        let mut ids: Vec<i64> = self.places.keys().copied().collect();
        ids.sort_unstable();
        let mut records = Vec::with_capacity(ids.len() * size(self.dim));
        ids.iter().for_each(|id| push(&mut records, *id, self.get(*id).unwrap_or_default()));
        (self.kept, self.unwritten) = (0, records);
    }
}

fn push(records: &mut Vec<u8>, person_id: i64, vector: &[f32]) {
    records.extend(person_id.to_le_bytes());
    records.extend(vector.iter().flat_map(|x| x.to_le_bytes()));
}

/// Bytes of a record.
pub fn size(dim: usize) -> usize {
    size_of::<i64>() + dim * size_of::<f32>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIM: usize = 2;

    /// The file after a change.
    fn change(file: &mut Vec<u8>, vectors: &mut Vectors) {
        let (kept, records) = vectors.unwritten();
        file.truncate(kept * size(DIM));
        file.extend(records);
        vectors.set_written();
    }

    fn set(vectors: &mut Vectors, steps: &[(i64, f32)]) {
        steps.iter().for_each(|(id, x)| vectors.set(*id, &[*x, -x]));
    }

    #[test]
    fn only_what_is_new_is_written() {
        let (mut file, mut vectors) = (Vec::new(), Vectors::new(DIM));
        set(&mut vectors, &[(7, 1.0), (3, 2.0)]);
        change(&mut file, &mut vectors);
        assert_eq!((file.len(), vectors.n_records()), (2 * size(DIM), 2));
        set(&mut vectors, &[(7, 5.0)]);
        assert_eq!(vectors.unwritten().0, 2);
        assert_eq!(vectors.unwritten().1.len(), size(DIM));
        change(&mut file, &mut vectors);
        assert_eq!(
            (vectors.get(7), vectors.get(3)),
            (Some([5.0, -5.0].as_slice()), Some([2.0, -2.0].as_slice()))
        );
        assert_eq!(vectors.get(1), None);
    }

    #[test]
    fn only_records_that_count_are_read() -> std::io::Result<()> {
        let mut vectors = Vectors::new(DIM);
        set(&mut vectors, &[(7, 1.0), (7, 2.0)]);
        let file = vectors.unwritten().1;
        let (read, crc32) = Vectors::read(DIM, 1, file)?;
        assert_eq!((read.get(7), crc32), (Some([1.0, -1.0].as_slice()), crc32fast::hash(&file[..size(DIM)])));
        assert!(Vectors::read(DIM, 3, file).is_err());
        Ok(())
    }

    fn read(file: &[u8]) -> Vectors {
        Vectors::read(DIM, file.len() / size(DIM), file).map(|(vectors, _)| vectors).unwrap_or_default()
    }

    proptest! {
        /// However often it is written and read in between, the file is the same, it says what was set last,
        /// and it has not many more records than people.
        #[test]
        fn a_file_says_what_was_set_last(
            steps in prop::collection::vec((0..40_i64, -1e3..1e3_f32), 0..3000),
            cuts in prop::collection::vec(0..3000_usize, 0..5),
        ) {
            let (mut once, mut vectors) = (Vec::new(), Vectors::new(DIM));
            set(&mut vectors, &steps);
            change(&mut once, &mut vectors);
            let mut often = Vec::new();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(steps.len())).collect();
            cuts.extend([0, steps.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                let mut vectors = read(&often);
                set(&mut vectors, &steps[pair[0]..pair[1]]);
                change(&mut often, &mut vectors);
            }
            prop_assert_eq!(&once, &often);
            let read = read(&once);
            for id in 0..40 {
                let expected = steps.iter().rev().find(|step| step.0 == id).map(|(_, x)| [*x, -x]);
                prop_assert_eq!(read.get(id), expected.as_ref().map(<[f32; 2]>::as_slice));
            }
            prop_assert!(read.n_records() <= FEW + 40 * 5 / 4);
        }
    }
}
