//! Nothing is lost, whatever ends a stage: SIGKILL at any moment, Ctrl-C, a full disk, a second run.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use run::manifest::{self, Manifest, STAGES};
use schema::io::read_all;
use schema::tables::{Detection, DetectionSource};
use testkit::assets;
use testkit::files::{copy, hashes, table_hashes, untidy};
use testkit::line::{Line, Said};
use testkit::random::{SplitMix64, times};
use testkit::world::{self, RETURNING, World};

use crate::empty_folder;

/// An empty place for a run directory.
fn folder(name: &str) -> PathBuf {
    empty_folder("kills", name).canonicalize().unwrap().join("r")
}

fn line(name: &str) -> Option<Line> {
    Some(Line { threads: Some(2), ..Line::on_clip(&folder(name))? })
}

/// An undisturbed run: how long each stage took, and what it wrote.
struct Undisturbed {
    secs: BTreeMap<&'static str, f64>,
    tables: BTreeMap<String, String>,
}

fn undisturbed() -> Option<&'static Undisturbed> {
    static DONE: OnceLock<Undisturbed> = OnceLock::new();
    Line::on_clip(Path::new("r"))?;
    Some(DONE.get_or_init(|| {
        let line = line("undisturbed").unwrap();
        let time = |stage: &'static str| {
            let started = Instant::now();
            assert_eq!(line.run(stage).code, Some(0), "{stage}");
            (stage, started.elapsed().as_secs_f64())
        };
        Undisturbed { secs: STAGES.map(time).into(), tables: table_hashes(&line.run_dir) }
    }))
}

/// When a stage is killed.
enum Moment {
    /// So long after its start.
    After(Duration),
    /// As soon as it touches the manifest, which is in the middle of its commit.
    InCommit,
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts a stage and kills it; whether it was still running.
fn kill(line: &Line, stage: &str, force: bool, moment: &Moment) -> bool {
    let manifest = || fs::metadata(line.run_dir.join(manifest::FILE_NAME)).and_then(|m| m.modified()).ok();
    let before = manifest();
    let mut command = line.command(stage);
    let mut child = start(command.args(["--json"]).args(force.then_some("--force")));
    match moment {
        Moment::After(pause) => std::thread::sleep(*pause),
        Moment::InCommit => while manifest() == before && child.try_wait().unwrap().is_none() {},
    }
    let _ = child.kill();
    child.wait().unwrap().signal() == Some(9)
}

/// Every table is absent or, to the byte, the one of an undisturbed run; and the manifest names none
/// that is not there.
fn assert_whole(run: &Path, tables: &BTreeMap<String, String>, when: &str) {
    if !run.is_dir() {
        // Killed before it could make its directory.
        return;
    }
    for (name, hash) in table_hashes(run) {
        assert_eq!(Some(&hash), tables.get(&name), "{when}: {name} is neither absent nor whole");
    }
    // What is not in the manifest may lie there after a kill, and counts for nothing.
    let wrong: Vec<_> = untidy(run).into_iter().filter(|w| !w.ends_with("is not in the manifest")).collect();
    assert_eq!(wrong, [""; 0], "{when}");
}

/// Kills every stage at random moments spread over its time, and once in its commit: first while there is
/// nothing yet, then while it replaces an earlier result. `FACETRACK_KILLS` says how often in all.
#[test]
fn a_run_that_was_killed_ends_as_if_nothing_had_happened() {
    let Some(Undisturbed { secs, tables }) = undisturbed() else { return };
    let Some(line) = line("killed") else { return };
    let per_stage = times("FACETRACK_KILLS", 40).div_ceil(2 * STAGES.len());
    let mut random = SplitMix64::new(8);
    let (mut tried, mut killed) = (0, 0);
    for force in [false, true] {
        for stage in STAGES {
            for i in 0..per_stage {
                let share = (i as f64 + random.unit()) / (per_stage - 1).max(1) as f64;
                let after = Moment::After(Duration::from_secs_f64(secs[stage] * share));
                let moment = if i + 1 == per_stage { Moment::InCommit } else { after };
                tried += 1;
                killed += usize::from(kill(&line, stage, force, &moment));
                assert_whole(&line.run_dir, tables, &format!("kill {tried}, of {stage}"));
            }
            // A stage that is killed in its commit takes away what was made from its old tables.
            line.run_stages(&STAGES[..=STAGES.iter().position(|name| *name == stage).unwrap()]);
            if force {
                line.run_all();
            }
        }
        assert_eq!(&table_hashes(&line.run_dir), tables);
        assert_eq!(untidy(&line.run_dir), [""; 0]);
    }
    println!("{killed} of {tried} kills met a running stage");
    assert!(killed * 2 > tried, "only {killed} of {tried} kills met a running stage");
}

/// A long video is examined in parts: after each kill, the stage continues behind the parts that are whole.
#[test]
fn detection_of_a_long_video_continues_where_it_was_killed() {
    let Some((clip, mut ffmpeg)) = assets::require("FACETRACK_CLIP").zip(assets::require_ffmpeg()) else {
        return;
    };
    let place = empty_folder("kills", "long").canonicalize().unwrap();
    let video = place.join("long.mp4");
    let made = ffmpeg
        .args(["-stream_loop", "9", "-i"])
        .arg(&clip)
        .args([
            "-vf",
            "scale=-2:120",
            "-r",
            "6",
            "-an",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-t",
            "150",
        ])
        .arg(&video)
        .status();
    assert!(made.unwrap().success());
    let [undisturbed, killed] = ["undisturbed", "killed"].map(|name| {
        let line = Line::on(&video, &place.join(name).join("r")).unwrap();
        assert_eq!(line.run("ingest").code, Some(0));
        Line { threads: Some(2), ..line }
    });
    assert_eq!(undisturbed.run("detect-track").code, Some(0));
    let parts = || -> Vec<_> {
        let entries = fs::read_dir(killed.run_dir.join("checkpoint")).into_iter().flatten().flatten();
        let part = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?));
        let mut parts: Vec<_> = entries.filter_map(part).collect();
        parts.retain(|(path, _)| path.extension() == Some("json".as_ref()));
        parts.sort();
        parts
    };
    for n in 1..=2 {
        let before = parts();
        let mut child = start(killed.command("detect-track").arg("--json"));
        while parts().len() < n {
            assert!(child.try_wait().unwrap().is_none(), "no part {n} of {video:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(parts()[..before.len()], before, "a part was written again");
    }
    assert_eq!(killed.run("detect-track").code, Some(0));
    assert_eq!(table_hashes(&killed.run_dir), table_hashes(&undisturbed.run_dir));
    assert_eq!(untidy(&killed.run_dir), [""; 0]);
    assert!(!killed.run_dir.join("checkpoint").exists());
}

/// A stage does not outlive the program that started it.
#[test]
fn a_stage_ends_when_its_program_is_killed() {
    let Some(line) = line("orphan") else { return };
    let mut program = Command::new(&line.program);
    let mut program =
        start(program.arg("run").arg("--video").arg(&line.video).arg("--run-dir").arg(&line.run_dir));
    while !line.run_dir.join("logs/detect-track.at").exists() {
        assert!(program.try_wait().unwrap().is_none(), "detect-track has not begun");
        std::thread::sleep(Duration::from_millis(1));
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let killed = Instant::now();
    while run::RunDir::open(&line.run_dir).is_err() {
        assert!(killed.elapsed() < Duration::from_secs(20), "the stage still has the run");
        std::thread::sleep(Duration::from_millis(10));
    }
    let run = run::RunDir::open(&line.run_dir).unwrap();
    assert!(run.manifest().stage("detect-track").is_none(), "the stage went on to its end");
}

/// Builds a gallery of many runs, and kills the program at random moments, several times in a row: what is there is
/// always the old gallery or the new one, and the next build continues and ends as if nothing had happened.
#[test]
fn a_gallery_whose_building_was_killed_is_the_old_one_or_the_new_one() {
    let place = folder("gallery").with_file_name("");
    let mut world = World::new(3, RETURNING);
    let runs: Vec<PathBuf> = (0..40)
        .map(|number| {
            let (name, shown) = (format!("v{number}"), world.video(12));
            let run_dir = place.join(&name);
            world::write_run(&run_dir, &name, &world::embedder(), &shown).unwrap();
            run_dir
        })
        .collect();
    let build = |library: &str, runs: &[PathBuf]| {
        let options = ["library", "build", "--threads", "2", "--save-every", "3", "--library"];
        let mut command = assets::require_facetrack(&options)?;
        command.arg(place.join(library).join("library"));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        runs.iter().for_each(|run| {
            command.arg("--run-dir").arg(run);
        });
        Some(command)
    };
    let Some(mut first) = build("old", &runs[..25]) else { return };
    assert!(first.status().unwrap().success());
    let [old, new] = ["old", "new"].map(|name| place.join(name).join("library"));
    copy(&old, &new);
    let started = Instant::now();
    assert!(build("new", &runs).unwrap().status().unwrap().success());
    let secs = started.elapsed().as_secs_f64();
    // Apart from the page, which is written after the commit.
    let tables = |library: &Path| {
        let mut files = hashes(library);
        files.remove("index.html");
        files
    };
    let expected = [&old, &new].map(|library| tables(library));
    assert_ne!(expected[0], expected[1]);
    let mut random = SplitMix64::new(5);
    let (kills, mut killed, mut commits, mut kept) = (times("FACETRACK_KILLS", 40).div_ceil(2), 0, 0, 0);
    let library = place.join("killed").join("library");
    for number in 0..kills {
        if number % 2 == 0 {
            let _ = fs::remove_dir_all(&library);
            copy(&old, &library);
        }
        let mut child = start(&mut build("killed", &runs).unwrap());
        std::thread::sleep(Duration::from_secs_f64(secs * (number as f64 + random.unit()) / kills as f64));
        let _ = child.kill();
        killed += usize::from(child.wait().unwrap().signal() == Some(9));
        let index = |library: &Path| fs::read(library.join("library.json")).unwrap();
        let is_new = index(&library) != index(&old);
        commits += usize::from(is_new);
        kept += usize::from(library.join("building").is_dir());
        let left = tables(&library);
        for (name, hash) in &expected[usize::from(is_new)] {
            // Before the commit, the table of people may already be that of the new gallery; it follows from the
            // others.
            let is_whole = left.get(name) == Some(hash) || name == "people.parquet";
            assert!(is_whole, "kill {number}: {name} is not whole");
        }
        if number % 5 == 0 {
            let mut validate = assets::require_facetrack(&["validate"]).unwrap();
            validate.arg(&library).stdout(Stdio::null());
            assert_eq!(validate.status().unwrap().code(), Some(0), "kill {number}");
        }
        // Every other time, the next kill meets a build that continues.
        if number % 2 == 1 || number + 1 == kills {
            assert!(start(&mut build("killed", &runs).unwrap()).wait().unwrap().success());
            assert_eq!(tables(&library), expected[1], "after kill {number}");
        }
    }
    println!(
        "{killed} of {kills} kills met a build, {commits} of them after its commit, {kept} of them left saved work"
    );
    assert!(kept > 0, "no kill left saved work");
    assert!(killed * 2 > kills, "only {killed} of {kills} kills met a build");
}

/// `facetrack run` on the test clip.
fn task(run_dir: &Path, arguments: &[&str]) -> Option<Command> {
    task_on(&assets::require("FACETRACK_CLIP")?, run_dir, arguments)
}

/// `facetrack run`, in a process group of its own, as a shell starts it.
fn task_on(video: &Path, run_dir: &Path, arguments: &[&str]) -> Option<Command> {
    let mut command = assets::require_facetrack(&["run"])?;
    command.arg(video);
    command.arg("--run-dir").arg(run_dir).args(arguments).process_group(0);
    Some(command)
}

/// Waits for something.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(600), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process that holds a run directory.
fn holder(run: &Path) -> Option<u32> {
    fs::read_to_string(run.join(".lock")).ok()?.parse().ok()
}

fn signal(name: &str, target: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {target}")]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn an_interrupted_run_says_so_and_goes_on_later() {
    let Some(Undisturbed { tables, .. }) = undisturbed() else { return };
    let run_dir = folder("interrupted");
    let Some(mut command) = task(&run_dir, &["--quiet"]) else { return };
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = run_dir.join("logs/detect-track.jsonl");
    wait_until("detect-track starts", || log.is_file());
    // As a terminal does it: to the whole group.
    signal("INT", &format!("-{}", child.id()));
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(130));
    assert_eq!(done.stdout, b"");
    let message = String::from_utf8(done.stderr).unwrap();
    assert_eq!(message, "interrupted; the same command continues\n");
    assert_whole(&run_dir, tables, "after the interrupt");
    let manifest = Manifest::read(&run_dir).unwrap().unwrap();
    assert!(manifest.stage("ingest").is_some() && manifest.stage("embed").is_none());
    let done = task(&run_dir, &["--quiet"]).unwrap().output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(&table_hashes(&run_dir), tables);
}

#[test]
fn a_second_run_on_the_same_directory_is_refused() {
    let Some(Undisturbed { tables, .. }) = undisturbed() else { return };
    let Some(line) = line("twice") else { return };
    line.run("ingest");
    let mut first = start(&mut line.command("detect-track"));
    wait_until("detect-track holds the directory", || holder(&line.run_dir) == Some(first.id()));
    let second = line.run("detect-track");
    assert!(first.wait().unwrap().success());
    assert_eq!(second.code, Some(75), "{second:?}");
    let error = second.events("error").next().unwrap();
    let expected = format!("another process ({}) is using `{}`", first.id(), line.run_dir.display());
    assert_eq!(error["message"], expected.as_str());
    assert_eq!(error["hint"], "run again later, wait with --wait, or use another --run-dir");
    line.run_all();
    assert_eq!(&table_hashes(&line.run_dir), tables);
}

/// Runs the line until a stage is refused room on the disk; which one.
fn runs_out_of_room(line: &Line, words: &str) -> &'static str {
    let said = line.run_stages(&STAGES);
    let (stage, last): &(_, Said) = said.last().unwrap();
    assert_eq!(last.code, Some(1), "{stage}: {last:?}");
    let error = last.events("error").next().unwrap();
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(words), "{stage}: {message}");
    stage
}

/// A file system in memory, of a size that can be changed.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where we may not mount one.
    fn new(place: &Path) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let disk = Self(place.to_path_buf());
        if disk.mount("size=64k") {
            return Some(disk);
        }
        println!("mounting is refused here, so no disk was filled; the limit of file sizes is tested");
        None
    }

    fn mount(&self, options: &str) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// The disk fills up in every stage that writes more than a little; with more room the run goes on.
#[test]
fn a_full_disk_is_reported_and_costs_nothing() {
    let Some(Undisturbed { tables, .. }) = undisturbed() else { return };
    let Some(line) = line("full") else { return };
    let place = line.run_dir.parent().unwrap();
    let Some(disk) = SmallDisk::new(place) else { return };
    let mut failed = Vec::new();
    for kib in ["16", "64", "640", "1000", "1020"] {
        assert!(disk.mount(&format!("remount,size={kib}k")));
        failed.push(runs_out_of_room(&line, "No space left on device"));
        assert_whole(&line.run_dir, tables, &format!("with {kib} KiB"));
    }
    println!("the disk was full in {failed:?}");
    failed.dedup();
    assert!(failed.len() > 1, "the disk was only ever full in {failed:?}");
    assert!(disk.mount("remount,size=64m"));
    line.run_all();
    assert_eq!(&table_hashes(&line.run_dir), tables);
    assert_eq!(untidy(&line.run_dir), [""; 0]);
}

/// The same without a disk of one's own: no file may grow beyond a limit.
#[test]
fn a_write_that_is_refused_is_reported_and_costs_nothing() {
    let Some(Undisturbed { tables, .. }) = undisturbed() else { return };
    let Some(line) = line("limited") else { return };
    for blocks in ["1", "8", "64"] {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        for stage in STAGES {
            let whole = line.command(stage);
            let mut limited = Command::new("sh");
            limited.args(["-c", &script]).arg(whole.get_program()).args(whole.get_args()).arg("--json");
            let said = Said::of(&mut limited);
            if said.code != Some(0) {
                let message = said.events("error").next().unwrap()["message"].to_string();
                assert!(message.contains("File too large"), "{stage}: {message}");
                assert_eq!(said.code, Some(1), "{stage}");
                break;
            }
        }
        assert_whole(&line.run_dir, tables, &format!("with {blocks} blocks"));
    }
    line.run_all();
    assert_eq!(&table_hashes(&line.run_dir), tables);
}

/// A run in which `stage` gets a signal that faults give, once the stage has reached frame 50.
fn crash(mut command: Command, run_dir: &Path, stage: &str) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let bookmark = run_dir.join(format!("logs/{stage}.at"));
    let frame = || fs::read_to_string(&bookmark).ok().and_then(|text| text.trim().parse::<u64>().ok());
    wait_until("the stage reaches frame 50", || frame().is_some_and(|frame| frame >= 50));
    // Not SIGSEGV: Rust's runtime takes the first, and lets a program go on that did nothing wrong.
    signal("ABRT", &holder(run_dir).unwrap().to_string());
    child.wait_with_output().unwrap()
}

/// `run` on the test clip, in which `detect-track` crashes.
fn crashed(run_dir: &Path, arguments: &[&str]) -> Option<Output> {
    Some(crash(task(run_dir, arguments)?, run_dir, "detect-track"))
}

#[test]
fn a_crash_is_reported_with_its_frame() {
    let Some(Undisturbed { tables, .. }) = undisturbed() else { return };
    let run_dir = folder("crashed");
    let Some(done) = crashed(&run_dir, &["--quiet"]) else { return };
    assert_eq!(done.status.code(), Some(1));
    let message = String::from_utf8(done.stderr).unwrap();
    assert!(message.starts_with("error: detect-track was killed by signal 6 at about frame "), "{message}");
    assert!(message.contains("run with --skip-bad to continue without the frames around it"), "{message}");
    assert_whole(&run_dir, tables, "after the crash");
}

/// `ingest` reads what frames there are, so none can be left out before; what comes before can be saved.
#[test]
fn a_crash_while_the_frames_are_listed_is_reported_with_its_frame() {
    let run_dir = folder("unlisted");
    let video = run_dir.with_file_name("long.mkv");
    let Some(mut ffmpeg) = assets::require_ffmpeg() else { return };
    // So many frames that the signal meets one of them.
    ffmpeg.args(["-f", "lavfi", "-i", "color=size=16x16:rate=1000", "-frames:v", "300000", "-c:v", "mpeg4"]);
    assert!(ffmpeg.arg(&video).status().unwrap().success());
    let Some(command) = task_on(&video, &run_dir, &["--quiet", "--skip-bad"]) else { return };
    let done = crash(command, &run_dir, "ingest");
    assert_eq!(done.status.code(), Some(1));
    let message = String::from_utf8(done.stderr).unwrap();
    let frame = message.strip_prefix("error: ingest was killed by signal 6 at about frame ").unwrap();
    let frame: u64 = frame.split_whitespace().next().unwrap().parse().unwrap();
    assert!((50..300_000).contains(&frame), "{message}");
    let rescue = format!("ffmpeg -i VIDEO -map 0:v:0 -c copy -frames:v {frame} part.mkv");
    assert!(message.contains("--skip-bad cannot help here") && message.contains(&rescue), "{message}");
    assert_eq!(untidy(&run_dir), [""; 0]);
}

#[test]
fn a_run_goes_on_past_a_crash() {
    let run_dir = folder("skipped");
    let Some(done) = crashed(&run_dir, &["--skip-bad", "--json"]) else { return };
    let said = String::from_utf8(done.stdout).unwrap();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(said.contains("was killed by signal 6 at about frame"), "{said}");
    let manifest = Manifest::read(&run_dir).unwrap().unwrap();
    let record = manifest.stage("detect-track").unwrap();
    let left_out = record.config["skip_frames"].as_array().unwrap();
    let [first, last] = [0, 1].map(|i| left_out[0][i].as_i64().unwrap());
    assert!(left_out.len() == 1 && first >= 50 && last > first, "{left_out:?}");
    let words = format!("frames {first} to {last} were skipped, as set by `skip_frames`");
    assert!(record.warnings.contains(&words), "{:?}", record.warnings);
    // No face was seen in what was left out: boxes there lie between seen ones.
    let faces: Vec<Detection> = read_all(&run_dir.join("detections.parquet")).unwrap();
    let within = |face: &&Detection| (first..=last).contains(&face.frame_idx);
    assert!(faces.iter().filter(within).all(|face| face.source == DetectionSource::Interpolated));
    assert!(faces.iter().any(|face| face.frame_idx > last), "nothing was found after the crash");
    assert_eq!(untidy(&run_dir), [""; 0]);
    // The same command finds there what it left out, and has nothing more to do.
    let again = task(&run_dir, &["--skip-bad", "--json"]).unwrap().output().unwrap();
    let closing = String::from_utf8(again.stdout).unwrap().lines().last().unwrap().to_owned();
    let closing: serde_json::Value = serde_json::from_str(&closing).unwrap();
    assert_eq!(closing["skipped"], serde_json::json!(STAGES), "{closing}");
}
