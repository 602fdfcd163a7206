//! Readers of everything that is no table.

use std::fs;
use std::path::Path;

use arbitrary::Unstructured;
use evaluate::labels::Labels;
use formats::edits::{CorrectionsFile, parse};
use formats::labels::{LabelFormat, Scene, write};
use gallery::Library;
use nn::weights::read_tensors;
use run::edits::{Edit, Entry};
use run::manifest::{self, Manifest};
use run::stage::read_config;
use schema::footer::Footer;
use schema::{Row as _, Symbol};

use crate::{assert_message, place, up_to};

/// The JSON of a footer.
pub fn footers(data: &[u8]) {
    let Ok(footer) = serde_json::from_slice::<Footer>(data) else { return };
    let again = serde_json::to_string(&footer).unwrap();
    assert_eq!(serde_json::from_str::<Footer>(&again).unwrap(), footer);
    assert!(footer.embedders.iter().all(|embedder| embedder.dim <= footer.dim()));
}

/// `manifest.json`. What it names gets removed some day, so it must lie below the run.
pub fn manifests(data: &[u8]) {
    let path = place::file(manifest::FILE_NAME, data);
    match Manifest::read(&place::folder()) {
        Err(error) => assert_message(&error),
        Ok(manifest) => {
            let manifest = manifest.unwrap();
            for output in manifest.stages.iter().flat_map(|stage| &stage.outputs) {
                let parts = output.file.split('/').collect::<Vec<_>>();
                assert!(!output.file.starts_with('/') && !parts.contains(&".."), "{}", output.file);
                assert!(manifest.output(&output.file).is_some());
            }
            fs::write(&path, serde_json::to_string(&manifest).unwrap()).unwrap();
            assert_eq!(Manifest::read(&place::folder()).unwrap(), Some(manifest));
        }
    }
}

/// `library.json` of a library that holds nothing else. What opens can be committed and opened again.
pub fn indexes(data: &[u8]) {
    let root = place::folder().join("index");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("library.json"), data).unwrap();
    match Library::open(&root) {
        Err(error) => assert_message(&error),
        Ok(mut library) => {
            library.commit().unwrap();
            drop(library);
            Library::open(&root).unwrap();
        }
    }
}

/// Weights of every format.
pub fn weights(data: &[u8]) {
    // Values of an OpenVINO IR, which lie in a file of their own.
    place::file("weights.bin", data);
    match read_tensors(&place::file("weights", data)) {
        Err(error) => assert_message(&error),
        Ok(tensors) => {
            for tensor in tensors.values() {
                let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                assert_eq!(values.len(), tensor.dims().iter().product::<usize>());
                assert!(values.iter().all(|value| value.is_finite()));
            }
        }
    }
}

/// Frames of the video that labels are of.
const FRAMES: i64 = 1000;

/// Labels: the first byte says of which tool and how they are read. What is imported, the last stage takes.
pub fn labels(data: &[u8]) {
    let Some((how, content)) = data.split_first() else { return };
    let path = Path::new("labels.csv");
    let formats = LabelFormat::ALL.map(|(format, ..)| format);
    let number = match (how / 16, how % 4) {
        (0, 0) => return take(path, content),
        (0, low) => usize::from(low) - 1,
        (high, _) => (2 + usize::from(high)) % formats.len(),
    };
    let format = formats[number];
    let first = [None, Some(0), Some(1), Some(i64::MAX)][usize::from(how / 4 % 4)];
    let scene = Scene::new((0..FRAMES).map(|frame| (frame, frame as f64 / 25.0)).collect(), 640, 360);
    let Ok(labels) = format.read_of(content, first, Some(10), Some(&scene)) else { return };
    // Those of a whole day take seconds; `tests/bombs.rs` has them.
    if labels.looked_at.len() > 100_000 {
        return;
    }
    let text = write(&labels);
    if let Err(error) = Labels::parse(path, text.as_bytes(), i64::MAX) {
        panic!("what was imported is refused: {error}");
    }
}

fn take(path: &Path, content: &[u8]) {
    match Labels::parse(path, content, FRAMES) {
        Err(error) => assert_message(&error),
        Ok(labels) => {
            assert!(labels.lines.iter().all(|line| (0..FRAMES).contains(&line.frame)));
            labels.rows(&Symbol::from("v")).for_each(|row| assert_eq!(row.check(), Ok(()), "{row:?}"));
        }
    }
}

/// A file of corrections: what is read of anchors can be written and read again.
pub fn edits(data: &[u8]) {
    match parse(Path::new("edits.csv"), data) {
        Err(error) => assert_message(&error),
        Ok(CorrectionsFile::Pairs(pairs)) => assert!(pairs.iter().all(|pair| pair.tracks.0 != pair.tracks.1)),
        Ok(CorrectionsFile::Edits(edits)) => {
            let entry = |(edit_id, edit): (i64, &Edit)| Entry {
                edit_id,
                made_at: String::new(),
                undoes: None,
                edit: edit.clone(),
            };
            let entries: Vec<_> = (1..).zip(&edits).map(entry).collect();
            let again = parse(Path::new("edits.json"), formats::edits::json(&entries).as_bytes()).unwrap();
            assert!(again == CorrectionsFile::Edits(edits));
        }
    }
}

/// A file of settings, and an override from the command line.
pub fn settings(data: &[u8]) {
    let data = &mut Unstructured::new(data);
    let overrides: &[&str] =
        [&[], &["cluster.k = 3"][..], &["cluster = 3"], &["cluster.method = 'dbscan'"]][up_to(data, 3)];
    let path = place::file("config.toml", data.peek_bytes(data.len()).unwrap_or_default());
    match read_config::<cluster::Config>(Some(&path), overrides, "cluster") {
        Err(error) => assert_message(&error),
        Ok(config) => {
            if let Err(error) = config.check() {
                assert_message(&error);
            }
            let json = serde_json::to_value(&config).unwrap();
            assert_eq!(
                serde_json::to_value(serde_json::from_value::<cluster::Config>(json.clone()).unwrap())
                    .unwrap(),
                json
            );
        }
    }
}
