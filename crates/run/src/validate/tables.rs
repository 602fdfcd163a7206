//! The tables that are looked at, in memory; of the face images only what rules ask about.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;

use run::Error;
use schema::Row;
use schema::io;
use schema::tables::{
    self, Appearance, Calibration, Cluster, Constraint, Crop, Detection, Embedding, Frame, Identity, Label,
    Linkage, Metric, Person, PersonVector, Shot, Track, TrackEmbedding, Video,
};

use super::Files;

/// A table as far as it could be read.
#[derive(Debug)]
pub struct Rows<R> {
    /// Where it is.
    pub path: PathBuf,
    /// Every row.
    pub rows: Vec<R>,
    /// Names of the embedders in the footer, the one that tracks are linked by first.
    pub embedders: Vec<String>,
}

macro_rules! every_table {
    ($($field:ident: $row:ty,)+) => {
        /// Every table that is there and can be read.
        #[derive(Debug, Default)]
        pub struct Tables {
            $(
                #[doc = concat!("Rows of [`", stringify!($row), "`].")]
                pub $field: Option<Rows<$row>>,
            )+
        }

        impl Tables {
            /// Reads what there is; what is wrong with single rows and files goes to `faults`.
            pub fn read(files: &Files, faults: &mut Vec<Error>) -> Self {
                for (name, path) in files {
                    if !tables::ALL.iter().chain(&tables::LIBRARY).any(|table| table.name == name) {
                        let reason = format!("it holds a table called `{name}`, which the contract does not know");
                        faults.push(schema::Error::NotParquet { path: path.clone(), reason }.into());
                    }
                }
                Self { $($field: read(files, faults),)+ }
            }

            /// Number of rows by table.
            pub fn counts(&self) -> BTreeMap<&'static str, usize> {
                let mut counts = BTreeMap::new();
                $(if let Some(table) = &self.$field {
                    counts.insert(<$row>::TABLE.name, table.rows.len());
                })+
                counts
            }
        }
    };
}

every_table! {
    videos: Video,
    frames: Frame,
    shots: Shot,
    detections: Detection,
    tracks: Track,
    crops: Crop,
    embeddings: Embedding,
    track_embeddings: TrackEmbedding,
    constraints: Constraint,
    clusters: Cluster,
    calibration: Calibration,
    linkage: Linkage,
    identities: Identity,
    metrics: Metric,
    labels: Label,
    people: Person,
    appearances: Appearance,
    person_vectors: PersonVector,
}

/// Signature and header of a PNG, which say how large it is.
const PNG_HEADER: usize = 24;

/// A row without the pixels of its picture, if it has one.
fn slim<R: Row + 'static>(mut row: R) -> R {
    if let Some(Crop { image: Some(image), .. }) = (&mut row as &mut dyn Any).downcast_mut() {
        image.truncate(PNG_HEADER);
        image.shrink_to_fit();
    }
    row
}

fn read<R: Row + Clone + 'static>(files: &Files, faults: &mut Vec<Error>) -> Option<Rows<R>> {
    read_file(files.get(R::TABLE.name)?.clone(), faults)
}

/// A table that cannot be read to its end is left out: what other tables say of its rows means nothing.
pub(super) fn read_file<R: Row + Clone + 'static>(path: PathBuf, faults: &mut Vec<Error>) -> Option<Rows<R>> {
    let reader = match io::open::<R>(&path) {
        Ok(reader) => reader,
        Err(error) => {
            faults.push(error.into());
            return None;
        }
    };
    let embedders = reader.footer().embedders.iter().map(|embedder| embedder.name.clone()).collect();
    let mut rows = Vec::new();
    let found = reader.inspect(|row| rows.push(slim(row)));
    let whole = found.iter().all(|fault| matches!(fault, schema::Error::Row { .. }));
    faults.extend(found.into_iter().map(Error::from));
    whole.then_some(Rows { path, rows, embedders })
}
