//! The whole line on a clip whose shots and people are known: through the programs, as a person runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use run::RunDir;
use run::manifest::{Manifest, STAGES};
use schema::Row;
use schema::io::read_all;
use schema::tables::{
    ALL, Cluster, Constraint, Crop, Detection, DetectionSource, Embedding, Frame, Identity, Label, Linkage,
    Metric, Shot, Track, TrackEmbedding, TrackView, Transition, Video,
};
use testkit::assets;
use testkit::files::{copy, hashes, table_hashes, untidy};
use testkit::line::{Line, Said};
use testkit::truth::{self, TrueShot};

use crate::empty_folder;

/// A finished run that every test looks at and none changes.
struct Done {
    line: Line,
    said: Vec<(&'static str, Said)>,
    shots: Vec<TrueShot>,
}

impl Done {
    /// Runs every stage.
    fn of(line: Line) -> Option<Self> {
        let shots = truth::shots(&line.video)?;
        Some(Self { said: line.run_all(), line, shots })
    }

    fn read<R: Row + Clone>(&self) -> Vec<R> {
        read_all(&self.line.run_dir.join(R::TABLE.file_name())).unwrap()
    }

    /// Who each cluster is, from the shots that show one person only.
    fn people(&self) -> BTreeMap<i64, String> {
        let mut people = BTreeMap::new();
        for track in self.read::<Track>() {
            if let [person] = self.shot_of(&track).people.as_slice() {
                let known = people.insert(self.cluster_of(&track), person.clone());
                assert!(known.is_none_or(|known| known == *person), "a cluster shows {person} and another");
            }
        }
        people
    }

    fn shot_of(&self, track: &Track) -> &TrueShot {
        let contains = |shot: &&TrueShot| shot.frames.contains(&track.first_frame_idx);
        self.shots.iter().find(contains).unwrap()
    }

    fn cluster_of(&self, track: &Track) -> i64 {
        let clusters = self.read::<Cluster>();
        let row = clusters.iter().find(|row| row.track_id == track.track_id).unwrap();
        row.cluster_id.unwrap_or_else(|| panic!("track {} is noise", track.track_id))
    }

    /// A copy of the run that a test may change, in a directory of the same name.
    fn copied(&self, name: &str) -> Line {
        let run_dir = folder(name);
        copy(&self.line.run_dir, &run_dir);
        Line { run_dir, ..self.line.clone() }
    }
}

/// An empty folder for a run directory. It remains after the test for inspection.
fn folder(name: &str) -> PathBuf {
    empty_folder("end_to_end", name).join("r")
}

/// The line on the clip with two threads and these settings of `detect-track`.
fn line_with(name: &str, settings: &str) -> Option<Line> {
    let line = Line::on_clip(&folder(name))?;
    let config = line.run_dir.with_file_name("settings.toml");
    fs::write(&config, format!("[detect-track]\n{settings}\n")).unwrap();
    Some(Line { config: Some(config), threads: Some(2), ..line })
}

/// The run, made once. With one thread, so that others can be compared with it.
fn done() -> Option<&'static Done> {
    static DONE: OnceLock<Done> = OnceLock::new();
    // Every test asks for what is needed, so that every one that is skipped says so.
    let line = Line::on_clip(Path::new("r"))?;
    truth::shots(&line.video)?;
    Some(DONE.get_or_init(|| {
        let line = Line { run_dir: folder("first"), threads: Some(1), ..line };
        Done::of(line).unwrap()
    }))
}

/// Runs every stage with `--reuse`; says which stages took over their tables.
fn reused(line: &Line, from: &Path, stages: &[&str]) -> Vec<bool> {
    let finished = |stage: &&str| {
        let said = Said::of(line.command(stage).arg("--reuse").arg(from).arg("--json"));
        assert_eq!(said.code, Some(0), "{stage}: {said:?}");
        let finished = said.finished();
        let is_reused = finished["figures"]["reused_from"].is_string();
        assert_eq!(finished["skipped"], is_reused, "{stage}: {finished}");
        is_reused
    };
    stages.iter().map(finished).collect()
}

#[test]
fn a_run_takes_over_the_tables_of_another_with_the_same_settings() {
    let Some(done) = done() else { return };
    let first = &done.line.run_dir;
    let before = table_hashes(first);
    let line = Line { run_dir: folder("reused"), ..done.line.clone() };
    assert_eq!(reused(&line, first, &STAGES), [true, true, true, true, false]);
    assert_eq!(untidy(&line.run_dir), [""; 0]);
    let of_embed = ["detections.parquet", "crops.parquet", "track_embeddings.parquet"];
    let inode = |run: &Path, file: &str| fs::metadata(run.join(file)).unwrap().ino();
    for file in of_embed {
        assert_eq!(inode(&line.run_dir, file), inode(first, file), "{file} is copied");
    }
    assert_eq!(line.run_again(), [""; 0]);
    // A person who is removed from the one run stays in the other.
    let mut redact = Command::new(&line.program);
    let redacted =
        redact.args(["redact", "--identity", "1", "--run-dir"]).arg(&line.run_dir).output().unwrap();
    assert!(redacted.status.success(), "{redacted:?}");
    assert_eq!(table_hashes(first), before);
    assert!(of_embed.iter().all(|file| inode(&line.run_dir, file) != inode(first, file)));

    // A run from which a person was removed is no source for the stage that found the person.
    let third = Line { run_dir: folder("reused-redacted"), ..done.line.clone() };
    assert_eq!(reused(&third, &line.run_dir, &["ingest", "detect-track"]), [true, false]);

    let Some(other) = line_with("reused-other", "min_face_px = 60") else { return };
    assert_eq!(reused(&other, first, &STAGES), [true, false, false, false, false]);
    assert_eq!(table_hashes(first), before);
}

#[test]
fn a_run_of_another_video_is_not_reused() {
    let Some(done) = done() else { return };
    let Some(video) = assets::require("FACETRACK_CLIP_NO_FACE") else { return };
    let Some(line) = Line::on(&video, &folder("reused-video")) else { return };
    let said = Said::of(line.command("ingest").arg("--reuse").arg(&done.line.run_dir).arg("--json"));
    assert_eq!(said.code, Some(2), "{said:?}");
    let said = Said::of(line.command("ingest").args(["--reuse", "nowhere", "--json"]));
    assert_eq!(said.code, Some(3), "{said:?}");
}

#[test]
fn the_whole_line_leaves_every_table_and_the_page() {
    let Some(done) = done() else { return };
    let run = &done.line.run_dir;
    assert_eq!(untidy(run), [""; 0]);
    let manifest = Manifest::read(run).unwrap().unwrap();
    assert_eq!(manifest.stages.iter().map(|s| s.stage.as_str()).collect::<Vec<_>>(), STAGES);
    for table in ALL {
        let output = manifest.output(&table.file_name()).unwrap_or_else(|| panic!("no {}", table.name));
        assert_eq!(output.table_version.as_deref(), Some(table.version), "{}", table.name);
    }
    for file in ["config.toml", "report/index.html"] {
        assert!(run.join(file).is_file(), "no {file}");
    }
    for stage in STAGES {
        let log = fs::read_to_string(run.join(format!("logs/{stage}.jsonl"))).unwrap();
        let events: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.iter().all(|event| event["stage"] == stage), "{log}");
        let [first, last] = [events.first(), events.last()].map(Option::unwrap);
        assert_eq!((first["event"].as_str(), last["event"].as_str()), (Some("started"), Some("finished")));
        let started = first["arguments"].to_string();
        assert!(started.contains(run.to_str().unwrap()), "{started}");
    }
}

#[test]
fn stages_speak_json_lines_and_nothing_else() {
    let Some(done) = done() else { return };
    for (stage, said) in &done.said {
        assert_eq!(said.stderr, "", "{stage} has something to say to people");
        for event in &said.events {
            assert_eq!(event["stage"], *stage, "{event}");
            let known = ["progress", "warning", "finished"].map(|kind| event["event"] == kind);
            assert!(known.contains(&true), "{event}");
        }
        assert_eq!(said.events.last(), Some(said.finished()), "{stage} goes on after its end");
        assert!(said.finished()["figures"].is_object(), "{stage}");
    }
    let detecting = &done.said[1].1;
    let progress: Vec<_> = detecting.events("progress").map(|e| e["done"].as_u64().unwrap()).collect();
    assert!(progress.len() > 1 && progress.is_sorted(), "{progress:?}");
}

#[test]
fn the_container_is_described() {
    let Some(done) = done() else { return };
    let [video] = <[Video; 1]>::try_from(done.read::<Video>()).unwrap();
    let end = done.shots.last().unwrap().frames.end;
    assert_eq!((video.width, video.height, video.rotation_degrees, video.frame_count), (640, 360, 0, end));
    assert_eq!(video.video_id.as_str(), &video.sha256[..16]);
    assert!((video.duration_secs - end as f64 / 25.0).abs() < 0.05, "{}", video.duration_secs);
    let frames = done.read::<Frame>();
    assert!(frames.iter().enumerate().all(|(i, frame)| frame.frame_idx == i as i64));
    assert!(frames.iter().all(|frame| (frame.t_secs - frame.frame_idx as f64 / 25.0).abs() < 0.002));
    assert!(frames[0].is_key);
    assert_eq!(frames.len() as i64, end);
}

/// Cuts are found to the frame, and shots cover the video.
#[test]
fn shots_are_found() {
    let Some(done) = done() else { return };
    let shots = done.read::<Shot>();
    assert_eq!(shots.len(), done.shots.len(), "{shots:?}");
    for (found, truth) in shots.iter().zip(&done.shots) {
        let off = |found: i64, truth: i64| (found - truth).abs();
        assert!(off(found.first_frame_idx, truth.frames.start) <= 1, "{found:?} for {truth:?}");
        assert!(off(found.last_frame_idx + 1, truth.frames.end) <= 1, "{found:?} for {truth:?}");
        let begins = if found.shot_idx == 0 { Transition::Start } else { Transition::Cut };
        assert_eq!(found.transition, begins, "{found:?}");
    }
    assert_eq!(shots[0].first_frame_idx, 0);
    assert!(shots.windows(2).all(|pair| pair[0].last_frame_idx + 1 == pair[1].first_frame_idx));
}

#[test]
fn identities_are_the_people_of_the_clip() {
    let Some(done) = done() else { return };
    assert_people_are_found(done);
}

/// Two people who return several times: no person is split and no two people are merged.
fn assert_people_are_found(done: &Done) {
    let truth: BTreeSet<_> = done.shots.iter().flat_map(|shot| shot.people.clone()).collect();
    let people = done.people();
    assert_eq!(people.values().cloned().collect::<BTreeSet<_>>(), truth);
    assert_eq!(people.len(), truth.len(), "a person has two clusters: {people:?}");
    assert_eq!(done.read::<Identity>().len(), truth.len());
}

/// Every shot shows exactly its people, also the one that shows both, side by side.
#[test]
fn every_shot_shows_its_people() {
    let Some(done) = done() else { return };
    let (people, tracks, detections) = (done.people(), done.read::<Track>(), done.read::<Detection>());
    let left = |track: &Track| {
        let edge = |d: &&Detection| d.track_id == Some(track.track_id);
        detections.iter().find(edge).unwrap().x_min
    };
    for (shot_idx, shot) in (0..).zip(&done.shots) {
        let mut tracks: Vec<_> = tracks.iter().filter(|track| track.shot_idx == shot_idx).collect();
        tracks.sort_by(|a, b| left(a).total_cmp(&left(b)));
        let mut shown: Vec<_> = tracks.iter().map(|t| people[&done.cluster_of(t)].clone()).collect();
        shown.dedup();
        assert_eq!(shown, shot.people, "shot {shot_idx}");
    }
}

/// Faces are in the picture all the time, so screen time is nearly the length of the shots, never more.
#[test]
fn screen_time_is_that_of_the_shots() {
    let Some(done) = done() else { return };
    let people = done.people();
    for identity in done.read::<Identity>() {
        let person = &people[&identity.cluster_id];
        let of_person = done.shots.iter().filter(|shot| shot.people.contains(person));
        let frames: i64 = of_person.map(|shot| shot.frames.end - shot.frames.start).sum();
        let least = frames * 85 / 100;
        assert!((least..=frames).contains(&identity.n_frames), "{identity:?} of {frames} frames");
        let secs = identity.n_frames as f64 / 25.0;
        assert!((identity.screen_secs - secs).abs() < 0.1, "{identity:?}, {secs} s");
    }
}

#[test]
fn tables_agree_with_each_other() {
    let Some(done) = done() else { return };
    assert_tables_agree(done);
}

/// Crops are small by default, and the same faces without loss on demand.
#[test]
fn crops_are_stored_without_loss_on_demand() {
    let Some(done) = done() else { return };
    let Some(line) = line_with("lossless", "lossless_crops = true") else { return };
    for stage in ["ingest", "detect-track"] {
        assert_eq!(line.run(stage).code, Some(0), "{stage}");
    }
    let small = done.read::<Crop>();
    let lossless: Vec<Crop> = read_all(&line.run_dir.join(Crop::TABLE.file_name())).unwrap();
    let face = |crop: &Crop| (crop.track_id, crop.rank, crop.frame_idx, crop.quality);
    assert_eq!(small.iter().map(face).collect::<Vec<_>>(), lossless.iter().map(face).collect::<Vec<_>>());
    let bytes =
        |crops: &[Crop]| crops.iter().filter_map(|crop| Some(crop.image.as_ref()?.len())).sum::<usize>();
    assert!(2 * bytes(&small) < bytes(&lossless), "{} and {}", bytes(&small), bytes(&lossless));
    let all_begin = |crops: &[Crop], with: &[u8]| {
        crops.iter().all(|crop| crop.image.as_ref().is_some_and(|image| image.starts_with(with)))
    };
    assert!(all_begin(&small, b"\xff\xd8\xff") && all_begin(&lossless, b"\x89PNG"));
}

/// Cascades need no weights and give no points: none are stored, and crops are aligned by the boxes.
#[test]
#[cfg_attr(not(feature = "opencv"), ignore = "needs OpenCV")]
fn haar_cascades_find_the_people_of_the_clip() {
    let Some(line) = line_with("haar", "detector = \"haar\"") else { return };
    let missing = line.run_dir.with_file_name("no.safetensors");
    let Some(done) = Done::of(Line { yunet: missing, ..line }) else { return };
    assert_tables_agree(&done);
    assert_people_are_found(&done);
    let detections = done.read::<Detection>();
    assert!(detections.iter().all(|d| d.landmarks.is_none() && d.frontality.is_none()));
    let seen: Vec<_> = detections.iter().filter(|d| d.source == DetectionSource::Detected).collect();
    assert!(seen.iter().any(|d| d.sharpness.is_some()), "no crop was made");
    assert!(seen.iter().all(|d| d.score.is_some_and(|score| (0.5..=1.0).contains(&score))));
}

/// Between two looks a face is in every frame, where the filter found it, with any number of threads.
#[test]
#[cfg_attr(not(feature = "opencv"), ignore = "needs OpenCV")]
fn correlation_filters_follow_the_people_of_the_clip() {
    let Some(line) = line_with("correlation", "tracker = \"correlation\"") else { return };
    let Some(done) = Done::of(line.clone()) else { return };
    assert_tables_agree(&done);
    assert_people_are_found(&done);
    let (detections, shots) = (done.read::<Detection>(), done.read::<Shot>());
    let count = |source| detections.iter().filter(|d| d.source == source).count();
    let [detected, tracked] = [DetectionSource::Detected, DetectionSource::Tracked].map(count);
    assert!(tracked > 4 * detected, "{detected} faces were detected and {tracked} followed");
    let at_an_end =
        |d: &Detection| shots.iter().any(|s| [s.first_frame_idx, s.last_frame_idx].contains(&d.frame_idx));
    let followed = detections.iter().filter(|d| d.source == DetectionSource::Tracked);
    assert!(!followed.into_iter().any(at_an_end), "shots are examined at both ends");
    let alone = Line { run_dir: folder("correlation-alone"), threads: Some(1), ..line };
    alone.run_all();
    assert_eq!(table_hashes(&alone.run_dir), table_hashes(&done.line.run_dir));
}

/// What one table says of another is so.
fn assert_tables_agree(done: &Done) {
    let (tracks, shots) = (done.read::<Track>(), done.read::<Shot>());
    let ids: BTreeSet<_> = tracks.iter().map(|track| track.track_id).collect();
    for track in &tracks {
        let shot = &shots[usize::try_from(track.shot_idx).unwrap()];
        let within =
            shot.first_frame_idx <= track.first_frame_idx && track.last_frame_idx <= shot.last_frame_idx;
        assert!(within, "track {} leaves its shot", track.track_id);
    }
    let detections = done.read::<Detection>();
    let boxes = |id: i64| detections.iter().filter(move |d| d.track_id == Some(id)).map(|d| d.frame_idx);
    for track in &tracks {
        let frames: Vec<_> = boxes(track.track_id).collect();
        let span: Vec<_> = (track.first_frame_idx..=track.last_frame_idx).collect();
        assert_eq!(frames, span, "track {} has one box in each of its frames", track.track_id);
    }
    assert!(detections.iter().filter_map(|d| d.track_id).all(|id| ids.contains(&id)));
    let crops: BTreeSet<_> = done.read::<Crop>().iter().map(|c| (c.track_id, c.frame_idx)).collect();
    let embedded: BTreeSet<_> = done.read::<Embedding>().iter().map(|e| (e.track_id, e.frame_idx)).collect();
    assert_eq!(crops, embedded);
    assert_eq!(crops.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>(), ids);
    assert_eq!(done.read::<TrackEmbedding>().iter().map(|e| e.track_id).collect::<BTreeSet<_>>(), ids);
    assert_eq!(done.read::<Cluster>().iter().map(|c| c.track_id).collect::<BTreeSet<_>>(), ids);
    let linkage = done.read::<Linkage>();
    assert_eq!(linkage.len() + 1, ids.len());
    assert_eq!(linkage.last().map(|merge| merge.size), Some(ids.len() as i64));
    let constrained = done.read::<Constraint>();
    assert!(constrained.iter().all(|c| ids.contains(&c.track_a) && ids.contains(&c.track_b) && !c.violated));
    assert!(!constrained.is_empty(), "two faces share a shot");
    assert!(done.read::<Label>().is_empty(), "the run has no labels");
}

/// The page opens from disk without a network: pictures are inside, nothing is loaded from elsewhere.
#[test]
fn the_page_is_self_contained() {
    let Some(done) = done() else { return };
    let page = fs::read_to_string(done.line.run_dir.join("report/index.html")).unwrap();
    let page = page.replace("&#x2f;", "/");
    assert!(page.contains("default-src 'none'"), "the policy does not forbid a browser to load files");
    let pictures = page.matches("src=\"data:image/").count();
    assert!(pictures >= done.read::<Identity>().len(), "{pictures} pictures");
    for outside in [
        "src=\"http",
        "href=\"http",
        "src='http",
        "url(http",
        "url(\"http",
        "src=\"//",
        "@import",
        "<script src",
    ] {
        assert!(!page.contains(outside), "the page loads {outside}…");
    }
    assert!(page.starts_with("<!doctype html>") || page.starts_with("<!DOCTYPE html>"));
    assert!(page.trim_end().ends_with("</html>"));
}

/// A machine on which the tests pass lacks nothing, and the doctor names what it looked at.
#[test]
fn the_doctor_finds_this_machine_fit() {
    if assets::require("FACETRACK_WEIGHTS_DIR").is_none() {
        return;
    }
    let Some(mut doctor) = assets::require_facetrack(&["doctor"]) else { return };
    let done = doctor.output().unwrap();
    let message = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{message}{}", String::from_utf8_lossy(&done.stderr));
    for looked_at in ["facetrack", "system", "ffmpeg", "cascades", "weights of sface", "device", "cache"] {
        assert!(message.lines().any(|line| line.trim().starts_with(looked_at)), "{looked_at} in {message}");
    }
}

#[test]
fn a_second_run_skips_every_stage_and_changes_no_file() {
    let Some(done) = done() else { return };
    let line = done.copied("again");
    let before = hashes(&line.run_dir);
    assert_eq!(line.run_again(), [""; 0]);
    assert_eq!(hashes(&line.run_dir), before);
}

#[test]
fn another_run_with_more_threads_gives_the_same_bytes() {
    let Some(done) = done() else { return };
    let line = Line { run_dir: folder("second"), threads: Some(2), ..done.line.clone() };
    line.run_all();
    assert_eq!(table_hashes(&line.run_dir), table_hashes(&done.line.run_dir));
}

#[test]
fn a_changed_setting_runs_again_what_depends_on_it() {
    let Some(done) = done() else { return };
    let line = done.copied("threshold");
    let before = table_hashes(&line.run_dir);
    let config = line.run_dir.with_file_name("strict.toml");
    fs::write(&config, "[cluster]\nthreshold = 0.05\n").unwrap();
    let strict = Line { config: Some(config), ..line.clone() };
    assert_eq!(strict.run_again(), ["cluster", "evaluate"]);
    let clusters: Vec<Identity> = read_all(&line.run_dir.join("identities.parquet")).unwrap();
    assert!(clusters.len() > 2, "at a distance of 0.05, no two people are joined");
    assert_eq!(untidy(&line.run_dir), [""; 0]);
    assert_eq!(strict.run_again(), [""; 0]);
    // And back: the same settings give the same bytes as before.
    assert_eq!(line.run_again(), ["cluster", "evaluate"]);
    assert_eq!(table_hashes(&line.run_dir), before);
}

/// Every way of linking finds the two people. Where the silhouette chooses their number it chooses that of
/// the photos that the clip shows repeatedly, but it merges no two people.
#[test]
fn every_method_finds_the_people() {
    let Some(done) = done() else { return };
    let line = done.copied("methods");
    let config = line.run_dir.with_file_name("method.toml");
    let line = Line { config: Some(config.clone()), ..line };
    for settings in [
        "method = 'link'",
        "method = 'agglomerative'",
        "method = 'agglomerative'\nlinkage = 'complete'\nk = 2",
        "method = 'agglomerative'\nlinkage = 'single'\nmetric = 'euclidean'\nthreshold = 1\nconstraints = true",
        "method = 'agglomerative'\nlinkage = 'ward'\nconstraints = true",
        "method = 'kmeans'",
        "method = 'kmeans'\nmetric = 'euclidean'\nk = 2\nseed = 7\nconstraints = true",
        "method = 'dbscan'",
        "method = 'dbscan'\nmetric = 'euclidean'\nmin_samples = 3\nconstraints = true",
        "method = 'hdbscan'\nmin_cluster_size = 3\nconstraints = true",
    ] {
        fs::write(&config, format!("[cluster]\n{settings}\n")).unwrap();
        line.run_all();
        let found = Done { line: line.clone(), said: Vec::new(), shots: done.shots.clone() };
        let linkage = found.read::<Linkage>();
        let has_tree = settings.contains("link'") || settings.contains("agglomerative");
        assert_eq!(linkage.len() + 1, if has_tree { found.read::<Track>().len() } else { 1 }, "{settings}");
        if settings.contains("ward") || settings == "method = 'kmeans'" {
            assert!(found.people().len() > 2, "{settings}");
        } else {
            assert_people_are_found(&found);
        }
    }
    let refused = [("method = 'kmeans'\nk = 1000", 2), ("method = 'dbscan'\nk = 2", 2)];
    for (settings, code) in refused {
        fs::write(&config, format!("[cluster]\n{settings}\n")).unwrap();
        assert_eq!(line.run("cluster").code, Some(code), "{settings}");
    }
}

/// A table that was modified is written again by its stage, and no other table is.
#[test]
fn a_lost_table_is_made_again() {
    let Some(done) = done() else { return };
    let line = done.copied("lost");
    let before = table_hashes(&line.run_dir);
    fs::remove_file(line.run_dir.join("linkage.parquet")).unwrap();
    assert_eq!(line.run_again(), ["cluster"]);
    assert_eq!(table_hashes(&line.run_dir), before);
}

/// Labels made of what was found are agreed with entirely.
/// One table holds the vectors of all; tracks are linked by those of the first that was named.
#[test]
#[cfg_attr(not(feature = "opencv"), ignore = "needs OpenCV")]
fn every_embedder_finds_its_place() {
    let Some(done) = done() else { return };
    const NAMES: [&str; 6] = ["dlib", "facenet", "fusion", "orb", "sface", "sift"];
    let mut line = done.copied("embedders");
    let config = line.run_dir.with_file_name("embedders.toml");
    // With the views of the run without the others, which depend on the weights that are present.
    let views: BTreeSet<_> = done.read::<TrackView>().iter().map(|row| row.embedder.to_string()).collect();
    let views: Vec<_> = views.into_iter().collect();
    let embedders = "embedders = ['sface', 'fusion', 'sift', 'orb', 'facenet', 'dlib']";
    // Without a view, SFace has mirror images.
    let flip = views.is_empty();
    fs::write(&config, format!("[embed]\n{embedders}\nviews = {views:?}\nflip = {flip}\n")).unwrap();
    line.config = Some(config);
    assert_eq!(line.run_again(), ["embed", "cluster", "evaluate"]);
    let run = RunDir::open(&line.run_dir).unwrap();
    let table = run.open_table::<Embedding>().unwrap();
    let dims: BTreeMap<_, _> = table.footer().embedders.iter().map(|e| (e.name.clone(), e.dim)).collect();
    assert_eq!(dims.keys().map(String::as_str).collect::<Vec<_>>(), NAMES);
    let rows: Vec<Embedding> = table.flat_map(Result::unwrap).collect();
    let n_crops = done.read::<Crop>().len();
    for name in NAMES {
        let vectors: Vec<_> = rows.iter().filter(|row| row.embedder.as_str() == name).collect();
        assert_eq!(vectors.len(), n_crops, "{name}");
        for row in vectors {
            assert!(row.embedding.as_slice()[dims[name]..].iter().all(|x| *x == 0.0), "{name} is too long");
        }
    }
    // SFace's vectors are those of a run without the others, and so are the people.
    let alone: Vec<_> = done.read::<Embedding>();
    let sface: Vec<_> = rows.iter().filter(|row| row.embedder.as_str() == "sface").collect();
    for (with, alone) in sface.iter().zip(&alone) {
        let dim = dims["sface"];
        assert_eq!(with.embedding.as_slice()[..dim], alone.embedding.as_slice()[..dim]);
    }
    assert_eq!(run.read::<Cluster>().unwrap(), done.read::<Cluster>());
}

#[test]
fn labels_give_figures() {
    let Some(done) = done() else { return };
    let line = done.copied("labels");
    let people = done.people();
    let names: BTreeMap<_, _> =
        done.read::<Track>().iter().map(|t| (t.track_id, people[&done.cluster_of(t)].clone())).collect();
    let mut csv = String::from("frame,x,y,w,h,identity\n");
    let mut lines = 0;
    for d in done.read::<Detection>().iter().filter(|d| d.frame_idx % 5 == 0) {
        let Some(track_id) = d.track_id else { continue };
        let (w, h) = (d.x_max - d.x_min, d.y_max - d.y_min);
        csv += &format!("{},{},{},{w},{h},{}\n", d.frame_idx, d.x_min, d.y_min, names[&track_id]);
        lines += 1;
    }
    let labels = line.run_dir.with_file_name("labels.csv");
    fs::write(&labels, csv).unwrap();
    let unlabelled = done.read::<Metric>();
    let labelled = Line { labels: Some(labels), ..line };
    assert_eq!(labelled.run_again(), ["evaluate"]);
    let read = read_all::<Label>(&labelled.run_dir.join("labels.parquet")).unwrap();
    assert_eq!(read.len(), lines);
    let metrics: Vec<Metric> = read_all(&labelled.run_dir.join("metrics.parquet")).unwrap();
    assert!(metrics.len() > unlabelled.len());
    for (name, value) in [("id_f1", 1.0), ("b3_f1", 1.0), ("ari", 1.0)] {
        let found: Vec<_> = metrics.iter().filter(|m| m.name == name).collect();
        assert!(!found.is_empty(), "no figure {name} in {metrics:?}");
        assert!(found.iter().all(|m| (m.value - value).abs() < 1e-9), "{found:?}");
    }
    assert_judged_beside_others(&labelled.run_dir);
}

/// The labels are the result of `link`, so no other method can be better. The bench itself fails where its figures are
/// not those of `evaluate`. Given twice, the run lends itself thresholds.
fn assert_judged_beside_others(run_dir: &Path) {
    let wanted = assets::require("FACETRACK_BENCH_PYTHON").and_then(|_| assets::require_program("xtask"));
    let Some(xtask) = wanted else { return };
    let runs = [run_dir, run_dir].map(|run| [OsStr::new("--run"), run.as_os_str()]);
    let done =
        Command::new(xtask).args(["bench", "link", "--json"]).args(runs.as_flattened()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let object: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let runs = object["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let rows = run["rows"].as_array().unwrap();
        let row = |method: &str| {
            rows.iter().find(|row| row["method"] == method).unwrap_or_else(|| panic!("{method} in {run}"))
        };
        for method in ["link", "HAC", "Chinese whispers", "FINCH", "HDBSCAN", "oracle"] {
            for figure in ["b3_f1", "wcp", "id_f1"] {
                let value = row(method)[figure].as_f64().unwrap();
                let best = ["link", "oracle"].contains(&method);
                assert!(
                    if best { value > 1.0 - 1e-9 } else { (0.0..=1.0).contains(&value) },
                    "{method}: {run}"
                );
            }
        }
        assert_eq!(run["auc"].as_f64().map(|auc| auc > 0.5), Some(true), "{run}");
    }
}

#[test]
fn a_video_that_has_moved_is_the_same_video() {
    let Some(done) = done() else { return };
    let line = done.copied("moved");
    let moved = line.run_dir.with_file_name("elsewhere.mkv");
    fs::copy(&line.video, &moved).unwrap();
    let line = Line { video: moved.canonicalize().unwrap(), ..line };
    assert_eq!(line.run_again(), [""; 0]);
    let manifest = Manifest::read(&line.run_dir).unwrap().unwrap();
    assert_eq!(manifest.video.unwrap().path, line.video.to_str().unwrap());
}

#[test]
fn a_video_that_changes_between_two_stages_is_refused() {
    let Some(line) = Line::on_clip(&folder("changed")) else { return };
    let video = line.run_dir.with_file_name("changing.mkv");
    fs::copy(&line.video, &video).unwrap();
    let line = Line { video, ..line };
    assert_eq!(line.run("ingest").code, Some(0));
    let mut bytes = fs::read(&line.video).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&line.video, bytes).unwrap();
    let said = line.run("detect-track");
    assert_eq!(said.code, Some(3), "{said:?}");
    let error = said.events("error").next().unwrap();
    assert!(error["message"].as_str().unwrap().ends_with("has changed since `ingest` read it"), "{error}");
}
