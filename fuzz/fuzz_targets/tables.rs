//! Every table: the first byte says which, the rest is the file.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use schema::Row;
use schema::tables::{
    Calibration, Cluster, Constraint, Crop, Detection, Embedding, Frame, Identity, Label, Linkage, Metric, Shot,
    Track, TrackEmbedding, Video,
};

fn read<R: Row + Clone>(path: &Path) {
    for row in schema::io::read_all::<R>(path).into_iter().flatten() {
        assert!(row.check().is_ok());
    }
}

const READERS: [fn(&Path); 15] = [
    read::<Video>,
    read::<Frame>,
    read::<Shot>,
    read::<Detection>,
    read::<Track>,
    read::<Crop>,
    read::<Embedding>,
    read::<TrackEmbedding>,
    read::<Constraint>,
    read::<Cluster>,
    read::<Calibration>,
    read::<Linkage>,
    read::<Identity>,
    read::<Metric>,
    read::<Label>,
];

fuzz_target!(|data: &[u8]| {
    let Some((which, file)) = data.split_first() else { return };
    let path = std::env::temp_dir().join(format!("fuzz-tables-{}", std::process::id()));
    if std::fs::write(&path, file).is_ok() {
        READERS[usize::from(*which) % READERS.len()](&path);
    }
});
