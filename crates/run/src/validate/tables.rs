//! The checked tables, in memory; of a face image only the header.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schema::Row;
use schema::footer::{Embedder, Picture};
use schema::io;
use schema::tables::{
    self, Appearance, Calibration, Cluster, Constraint, Crop, Cut, Detection, Doubt, Edit, EditAnchor,
    Embedding, Frame, Identity, Label, LinkVector, Linkage, Member, Metric, Person, PersonVector, Shot,
    Track, TrackEmbedding, TrackView, Video,
};

use super::Files;
use crate::error::Error;

/// A table as far as it could be read.
#[derive(Debug)]
pub struct Rows<R> {
    /// Where it is.
    pub path: PathBuf,
    /// Every row.
    pub rows: Vec<R>,
    /// The embedders in the footer, the main one first.
    pub embedders: Vec<Embedder>,
    /// The picture in the footer.
    pub picture: Option<Picture>,
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
            /// Reads the tables that are there; faults of rows and files go to `faults`.
            pub fn read(files: &Files, faults: &mut Vec<Error>) -> Self {
                for (name, path) in files {
                    if !tables::all().any(|table| table.name == name) {
                        let reason = format!("unknown table `{name}`");
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
    track_views: TrackView,
    constraints: Constraint,
    clusters: Cluster,
    calibration: Calibration,
    linkage: Linkage,
    link_vectors: LinkVector,
    identities: Identity,
    appearances: Appearance,
    doubts: Doubt,
    cuts: Cut,
    metrics: Metric,
    labels: Label,
    edits: Edit,
    edit_anchors: EditAnchor,
    people: Person,
    members: Member,
    person_vectors: PersonVector,
}

/// A row with the size of its picture in place of the picture, if it has one: see [`size_of_slim`].
fn slim<R: Row + 'static>(mut row: R) -> R {
    if let Some(Crop { image: Some(image), .. }) = (&mut row as &mut dyn Any).downcast_mut() {
        let sides = picture::size(image).map(|(width, height)| [width, height].map(u32::to_be_bytes));
        *image = sides.map_or_else(Vec::new, |sides| sides.concat());
    }
    row
}

/// Width and height, pixels, of the picture of a row that [`read`] returns; `None` if it is no picture.
pub(super) fn size_of_slim(image: &[u8]) -> Option<(i64, i64)> {
    let (width, height) = image.split_first_chunk()?;
    let side = |bytes: [u8; 4]| i64::from(u32::from_be_bytes(bytes));
    Some((side(*width), side(height.try_into().ok()?)))
}

fn read<R: Row + Clone + 'static>(files: &Files, faults: &mut Vec<Error>) -> Option<Rows<R>> {
    read_table(files.get(R::TABLE.name)?, faults)
}

/// Reads a table; its faults go to `faults`. `None` when it cannot be read to its end.
pub fn read_table<R: Row + Clone + 'static>(path: &Path, faults: &mut Vec<Error>) -> Option<Rows<R>> {
    let reader = match io::open::<R>(path) {
        Ok(reader) => reader,
        Err(error) => {
            faults.push(error.into());
            return None;
        }
    };
    let (embedders, picture) = (reader.footer().embedders.clone(), reader.footer().picture);
    let mut rows = Vec::new();
    let found = reader.inspect(|row| rows.push(slim(row)));
    let whole = found.iter().all(|fault| matches!(fault, schema::Error::Row { .. }));
    faults.extend(found.into_iter().map(Error::from));
    whole.then_some(Rows { path: path.to_path_buf(), rows, embedders, picture })
}
