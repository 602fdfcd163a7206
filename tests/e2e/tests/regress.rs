//! Stored datasets: no pictures or names are stored, and changed metrics are reported.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use run::manifest::Manifest;
use schema::io::read_all;
use schema::tables::{Cluster, Crop};
use testkit::assets;
use testkit::files::{copy, hashes};
use testkit::synthetic_run::{self, must};

use crate::empty_folder;

fn folder(name: &str) -> PathBuf {
    empty_folder("regress", name)
}

/// A threshold that splits people costs far more than two hundredths of B-cubed F1.
#[test]
fn a_loss_is_reported_and_ends_with_five() {
    let Some(xtask) = assets::require_program("xtask") else { return };
    let mut command = Command::new(xtask);
    command.args(["regress", "--dataset", "friends_a", "--set", "cluster.method = 'agglomerative'"]);
    let done = command.args(["--set", "cluster.threshold = 0.2"]).output().unwrap();
    let (said, complaint) =
        (String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap());
    assert_eq!(done.status.code(), Some(5), "{complaint}");
    assert!(complaint.contains("error: metrics left their tolerance: friends_a"), "{complaint}");
    let line = said.lines().find(|line| line.starts_with("friends_a  b3_f1 (track): ")).unwrap();
    let loss = line.split_once(" (-").and_then(|(_, rest)| rest.split(',').next()?.parse::<f64>().ok());
    assert!(loss.is_some_and(|loss| loss > 0.02), "{line}");
}

#[test]
fn a_dataset_that_is_not_there_is_wrong_usage() {
    let Some(xtask) = assets::require_program("xtask") else { return };
    let done = Command::new(xtask).args(["regress", "--dataset", "nowhere"]).output().unwrap();
    assert_eq!(done.status.code(), Some(2));
    let complaint = String::from_utf8(done.stderr).unwrap();
    assert!(
        complaint.contains("error: unknown dataset `nowhere`\nhint: known datasets: composed_cc, "),
        "{complaint}"
    );
}

#[test]
fn a_stored_run_is_linked_as_the_run_was() {
    let folder = folder("stored");
    let Some(made) = synthetic_run::finished("tracks = 60\nseed = 6\n", &folder) else { return };
    let store = |into: &Path| {
        let mut command = Command::new(assets::require_program("ftl-datasets").unwrap());
        command.arg("store").arg("--run").arg(&made.run).arg("--into").arg(into);
        must(command.arg("--labels").arg(&made.labels))
    };
    let (dataset, again) = (folder.join("dataset"), folder.join("again"));
    store(&dataset);
    store(&again);
    assert_eq!(hashes(&dataset), hashes(&again), "the same run gives the same dataset");
    assert!(read_all::<Crop>(&dataset.join("crops.parquet")).unwrap().is_empty());
    assert!(!dataset.join("clusters.parquet").exists());
    let video = Manifest::read(&dataset).unwrap().unwrap().video.unwrap();
    assert_eq!(video.path, "made-up.mkv", "a dataset does not say where the video was");
    let run = folder.join("linked");
    copy(&dataset, &run);
    must(assets::require_facetrack(&["stage", "cluster", "--run-dir"]).unwrap().arg(&run));
    let clusters = |run: &Path| read_all::<Cluster>(&run.join("clusters.parquet")).unwrap();
    assert_eq!(clusters(&run), clusters(&made.run));
}

/// Names in the labels of a dataset are numbers, and who is who stays as it was.
#[test]
fn a_dataset_contains_no_names() {
    let folder = folder("names");
    let Some(made) = synthetic_run::finished("tracks = 3\nseed = 1\n", &folder) else { return };
    let labels = folder.join("named.csv");
    fs::write(
        &labels,
        "frame,x,y,w,h,identity\n0,1,1,5,5,ida\n0,9,1,5,5,?\n1,1,1,5,5,bo\n2,0,0,0,0,-\n3,1,1,5,5,ida\n",
    )
    .unwrap();
    let mut command = Command::new(assets::require_program("ftl-datasets").unwrap());
    command.arg("store").arg("--run").arg(&made.run).arg("--into").arg(folder.join("dataset"));
    must(command.arg("--labels").arg(&labels));
    let stored = fs::read_to_string(folder.join("dataset/labels.csv")).unwrap();
    assert_eq!(
        stored,
        "frame,x,y,w,h,identity\n0,1,1,5,5,p0\n0,9,1,5,5,?\n1,1,1,5,5,p1\n2,0,0,0,0,-\n3,1,1,5,5,p0\n"
    );
}
