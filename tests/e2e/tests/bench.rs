//! What `cargo xtask bench` measures is whole and plausible; how fast this machine is, is no matter here.

use std::fs;
use std::process::{Command, Output};

use run::manifest::STAGES;
use serde_json::Value;
use testkit::{assets, truth};

use crate::empty_folder;

fn bench(arguments: &[&str]) -> Option<Output> {
    let clip = assets::require("FACETRACK_CLIP")?;
    assets::require_ffmpeg()?;
    let mut command = Command::new(assets::require_program("xtask")?);
    command.args(["bench", "pipeline", "--video"]).arg(clip).args(arguments);
    Some(command.output().unwrap())
}

#[test]
fn the_whole_line_is_measured() {
    let arguments = ["--repeat", "1", "--threads", "2", "--scale", "320x180", "--json"];
    let Some(done) = bench(&arguments) else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    let number = |path: &str| {
        let value = object.pointer(path).and_then(Value::as_f64);
        value.filter(|v| *v > 0.0 && v.is_finite()).unwrap_or_else(|| panic!("{path} in {object}"))
    };
    assert_eq!((&object["bench"], &object["scale"]), (&"pipeline".into(), &"320x180".into()));
    assert_eq!((&object["threads"], &object["repeat"]), (&2.into(), &1.into()));
    let Some(shots) = truth::shots(&assets::require("FACETRACK_CLIP").unwrap()) else { return };
    assert_eq!(number("/frames"), shots.last().unwrap().frames.end as f64);
    let stages = STAGES.map(|stage| format!("/stages/{stage}"));
    for part in ["/decode".to_owned(), "/run".to_owned()].iter().chain(&stages) {
        for figure in ["wall_secs", "cpu_secs", "peak_bytes"] {
            let [min, median, max] =
                ["min", "median", "max"].map(|f| number(&format!("{part}/{figure}/{f}")));
            assert!(min == median && median == max, "{part} {figure}: {object}");
        }
        assert!(number(&format!("{part}/peak_bytes/max")) > 1e6, "{part}: {object}");
    }
    let stages_secs: f64 = stages.iter().map(|stage| number(&format!("{stage}/wall_secs/max"))).sum();
    assert!(stages_secs <= number("/run/wall_secs/max"), "{object}");
    for figure in ["ratio/wall/median", "ratio/cpu/median", "frames_per_sec/run", "times_real_time/decode"] {
        number(&format!("/{figure}"));
    }
}

/// Measures networks once on one thread; its rows.
fn rows(arguments: &[&str]) -> Option<Vec<Value>> {
    // `xtask` finds this Python by itself; the variable says whether it is installed.
    assets::require("FACETRACK_BENCH_PYTHON")?;
    let mut command = Command::new(assets::require_program("xtask")?);
    command.arg("bench").args(arguments).args(["--threads", "1", "--repeat", "1", "--json"]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&object["bench"], &object["repeat"]), (&arguments[0].into(), &1.into()));
    Some(object["rows"].as_array().unwrap().clone())
}

/// Every figure of a row is there and makes sense.
fn check_row(row: &Value, reference: &str) {
    let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"));
    let ratio = number("images_per_sec") / number("reference_images_per_sec");
    let reported = number(&format!("ratio_to_{reference}"));
    assert!(reported > 0.0 && (ratio / reported - 1.0).abs() < 1e-6, "{row}");
    assert!(number("gflops") > 0.0 && number("peak_gflops_per_thread") > 0.0, "{row}");
    if row["precision"] == "int8" {
        assert!(row["share_of_peak"].is_null(), "{row}");
        return;
    }
    let share = number("gflops") / number("peak_gflops_per_thread");
    assert!((share / number("share_of_peak") - 1.0).abs() < 1e-6, "{row}");
    // Nothing is faster than the peak, but for what a changing clock does, and what compilers make of scalars.
    assert!(share < 1.5 || row["isa"] == "scalar", "{row}");
}

#[test]
fn shots_are_measured_beside_pyscenedetect() {
    let Some(clip) = assets::require("FACETRACK_CLIP") else { return };
    let Some(shots) = truth::shots(&clip) else { return };
    if assets::require("FACETRACK_BENCH_PYTHON").is_none() {
        return;
    }
    let folder = empty_folder("bench", "shots");
    fs::copy(&clip, folder.join("clip.mkv")).unwrap();
    fs::write(folder.join("clip.csv"), "frame,x,y,w,h,identity\n0,0,0,0,0,-\n").unwrap();
    let mut list = "shot,first_frame,end_frame_exclusive\n".to_owned();
    for (i, shot) in shots.iter().enumerate() {
        // The last shot is listed ten frames late.
        let first = shot.frames.start + if i + 1 == shots.len() { 10 } else { 0 };
        list += &format!("{i},{first},{}\n", shot.frames.end);
    }
    fs::write(folder.join("clip.shots.csv"), list).unwrap();
    let Some(xtask) = assets::require_program("xtask") else { return };
    let mut command = Command::new(xtask);
    command.args(["bench", "shots", "--copies", "", "--data"]).arg(&folder);
    let done = command.arg("--out").arg(folder.join("out.json")).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&fs::read(folder.join("out.json")).unwrap()).unwrap();
    let n = shots.len() - 1;
    let of = &object["original"]["clip"];
    assert_eq!(of["ours"], serde_json::json!([n - 1, n, n]), "{object}");
    assert!(of["adaptive"][0].as_u64().unwrap() >= 1, "{object}");
}

#[test]
fn networks_are_measured_beside_onnxruntime() {
    let Some(rows) = rows(&["embed", "--network", "sface", "--batch", "1,2"]) else { return };
    assert_eq!(rows.len(), 4);
    for (row, (precision, batch)) in rows.iter().zip([("int8", 1), ("int8", 2), ("f32", 1), ("f32", 2)]) {
        assert_eq!((&row["network"], &row["threads"]), (&"sface".into(), &1.into()));
        assert_eq!((&row["precision"], &row["batch"]), (&precision.into(), &batch.into()));
        check_row(row, "onnxruntime");
    }
}

#[test]
fn the_detector_is_measured_beside_opencv_and_onnxruntime() {
    let Some(rows) = rows(&["detect", "--size", "160x96", "--isa", "scalar"]) else { return };
    assert_eq!(rows.len(), 2);
    for (row, reference) in rows.iter().zip(["opencv", "onnxruntime"]) {
        assert_eq!((&row["network"], &row["isa"]), (&"yunet".into(), &"scalar".into()));
        check_row(row, reference);
    }
}

#[test]
fn linking_is_measured_beside_the_definition_and_others() {
    if assets::require("FACETRACK_BENCH_PYTHON").is_none() {
        return;
    }
    let Some(xtask) = assets::require_program("xtask") else { return };
    let arguments = ["bench", "cluster", "--n", "500,1000", "--dim", "64", "--threads", "1", "--json"];
    let done = Command::new(xtask).args(arguments).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    let rows = object["rows"].as_array().unwrap();
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name} in {row}"));
    for (n, rows) in [500, 1000].into_iter().zip(rows.chunks(4)) {
        let methods: Vec<_> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
        assert_eq!(methods, ["link", "naive", "scipy", "hdbscan"]);
        for row in rows {
            assert_eq!((&row["n"], &row["dim"]), (&n.into(), &64.into()));
            assert!(number(row, "wall_secs") > 0.0 && number(row, "peak_bytes") > 1e6, "{row}");
            assert!((0.0..=1.0).contains(&number(row, "pairs_f1")), "{row}");
            assert_eq!(row["cut"].is_null(), ["link", "hdbscan"].contains(&row["method"].as_str().unwrap()));
        }
        // The definition is cut where it does best, which only who knows the truth can do.
        let [link, naive] = [0, 1].map(|i| number(&rows[i], "b3_f1"));
        assert!(link > naive - 0.03 && naive > 0.9, "{object}");
    }
}

#[test]
fn runs_without_labels_are_not_judged() {
    let Some(xtask) = assets::require_program("xtask") else { return };
    let done = Command::new(xtask).args(["bench", "link", "--run", "/nowhere"]).output().unwrap();
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&done.stderr).contains("is not a finished run with labels"));
}

#[test]
fn what_cannot_be_measured_is_reported() {
    for (arguments, code) in
        [(&["--scale", "0x10"][..], 2), (&["--repeat", "0"], 2), (&["--video", "none.mkv"], 2)]
    {
        let Some(done) = bench(arguments) else { return };
        assert_eq!(done.status.code(), Some(code), "{arguments:?}");
        assert!(done.stdout.is_empty() && !done.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn additions_to_a_library_are_measured() {
    let Some(xtask) = assets::require_program("xtask") else { return };
    let mut command = Command::new(xtask);
    command.args(["bench", "library", "--stored", "2,12", "--people", "6", "--json"]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: Value = serde_json::from_slice(&done.stdout).unwrap();
    let rows = object["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| &row["stored"]).collect::<Vec<_>>(), [2, 12]);
    for row in rows {
        assert!(row["secs"]["median"].as_f64().unwrap() > 0.0, "{object}");
    }
    // 12 stored and 11 more, of 6 people each.
    assert_eq!(object["accuracy"]["appearances"], 23 * 6);
    let f1 = object["accuracy"]["b3_f1"].as_f64().unwrap();
    assert!((0.5..=1.0).contains(&f1), "{object}");
}
