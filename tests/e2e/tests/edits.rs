//! Corrections, through the program: that they last whatever the settings, that an undo leaves nothing, and that a
//! killed program loses none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use run::edits::Log;
use run::manifest::Manifest;
use schema::Row;
use schema::io::read_all;
use schema::tables::{Cluster, Detection, Identity, Track};
use testkit::files::{copy, hashes};
use testkit::line::Line;
use testkit::truth;

use crate::empty_folder;

/// A finished run of the clip that no test changes.
fn done() -> Option<&'static Line> {
    static DONE: OnceLock<Line> = OnceLock::new();
    let line = Line::on_clip(Path::new("r"))?;
    truth::shots(&line.video)?;
    Some(DONE.get_or_init(|| {
        let line = Line { run_dir: folder("first"), ..line };
        line.run_all();
        line
    }))
}

fn folder(name: &str) -> PathBuf {
    empty_folder("edits", name).join("r")
}

fn copied(name: &str) -> Option<Line> {
    let done = done()?;
    let line = Line { run_dir: folder(name), ..done.clone() };
    copy(&done.run_dir, &line.run_dir);
    Some(line)
}

fn read<R: Row + Clone>(line: &Line) -> Vec<R> {
    read_all(&line.run_dir.join(R::TABLE.file_name())).unwrap()
}

/// `facetrack edits`, with `RUN` for the run; exit code, standard output and standard error.
fn edits(line: &Line, arguments: &str) -> (i32, String, String) {
    let done = command(line, arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

fn command(line: &Line, arguments: &str) -> Command {
    let mut command = Command::new(&line.program);
    command.arg("edits");
    for argument in arguments.split(' ') {
        match argument {
            "RUN" => command.arg(&line.run_dir),
            other => command.arg(other),
        };
    }
    command
}

fn edit(line: &Line, arguments: &str) -> String {
    let (code, _, stderr) = edits(line, arguments);
    assert_eq!(code, 0, "{arguments}: {stderr}");
    stderr
}

/// Tracks of each person, by the number that the page shows.
fn people(line: &Line) -> BTreeMap<i64, Vec<i64>> {
    let mut people: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in read::<Cluster>(line) {
        row.cluster_id.iter().for_each(|id| people.entry(id + 1).or_default().push(row.track_id));
    }
    people
}

/// Who is on screen where only one person is, by track.
fn oracle(line: &Line) -> BTreeMap<i64, String> {
    let shots = truth::shots(&line.video).unwrap();
    let person = |track: &Track| {
        let shot = shots.iter().find(|shot| shot.frames.contains(&track.first_frame_idx))?;
        match shot.people.as_slice() {
            [person] => Some((track.track_id, person.clone())),
            _ => None,
        }
    };
    read::<Track>(line).iter().filter_map(person).collect()
}

/// Runs every stage with settings; each must succeed. Gives the edits that are not applied.
fn run_with(line: &Line, settings: &str) -> Vec<i64> {
    let config = line.run_dir.with_file_name("settings.toml");
    fs::write(&config, settings).unwrap();
    Line { config: Some(config), ..line.clone() }.run_all();
    let manifest = Manifest::read(&line.run_dir).unwrap().unwrap();
    let lost = manifest.stage("cluster").unwrap().figures["edits_not_applied"].clone();
    serde_json::from_value(lost).unwrap()
}

#[test]
fn edits_hold_under_other_settings_and_none_lands_on_another_person() {
    let Some(line) = copied("settings") else { return };
    let truth = oracle(&line);
    // Every person gets the name that the labels have; one track becomes a person of its own, and is given back.
    for (number, tracks) in people(&line) {
        let name = tracks.iter().find_map(|track| truth.get(track)).unwrap();
        edit(&line, &format!("add name RUN {number} {name} --no-apply"));
    }
    let (number, tracks) = people(&line).into_iter().next().unwrap();
    let alone = tracks.iter().rfind(|track| truth.contains_key(track)).unwrap();
    edit(&line, &format!("add split RUN {alone} --no-apply"));
    let new = people(&line).len() + 1;
    edit(&line, &format!("add name RUN {new} guest"));
    assert_eq!(people(&line)[&(new as i64)], [*alone]);
    edit(&line, &format!("add same RUN {number} guest --no-apply"));
    edit(&line, &format!("add lock RUN {number}"));
    assert_eq!(people(&line)[&number], tracks);
    let uids = |line: &Line| -> BTreeMap<Option<String>, Option<String>> {
        read::<Identity>(line).into_iter().map(|row| (row.name, row.person_uid)).collect()
    };
    let first = uids(&line);
    let settings = [
        "[detect-track]\nmin_face_px = 24.0\n",
        "[detect-track]\ntracker = 'correlation'\n",
        "[embed]\nembedders = ['dlib']\n",
        "[cluster]\nmethod = 'kmeans'\n",
        "",
    ];
    for settings in settings {
        if settings.contains("correlation") && !cfg!(feature = "opencv") {
            continue;
        }
        let lost = run_with(&line, settings);
        assert_eq!(lost, [0i64; 0], "{settings}");
        let (truth, named) = (oracle(&line), read::<Identity>(&line));
        let clusters = read::<Cluster>(&line);
        for person in named.iter().filter(|person| person.name.is_some()) {
            let own = clusters.iter().filter(|row| row.cluster_id == Some(person.cluster_id));
            let shown: BTreeSet<_> = own.filter_map(|row| truth.get(&row.track_id)).collect();
            assert_eq!(shown, person.name.iter().collect(), "{settings}");
        }
        assert_eq!(named.iter().filter(|person| person.name.is_some()).count(), 2, "{settings}");
        let now = uids(&line);
        for name in named.into_iter().map(|person| person.name).filter(Option::is_some) {
            assert_eq!(now[&name], first[&name], "{settings}: {name:?} has another person_uid");
        }
    }
}

#[test]
fn the_same_command_gives_the_same_page_and_a_merge_moves_only_its_people() {
    let Some(line) = copied("merge") else { return };
    let own = people(&line).into_values().max_by_key(Vec::len).unwrap();
    let [a, b] = [own[0], own[1]];
    edit(&line, &format!("add split RUN {a} --no-apply"));
    edit(&line, &format!("add split RUN {b}"));
    let (clusters, identities) = (read::<Cluster>(&line), read::<Identity>(&line));
    let n = identities.len();
    edit(&line, &format!("add merge RUN {} {n}", n - 1));
    let merged = |row: &Cluster| [a, b].contains(&row.track_id);
    let rest = |rows: &[Cluster]| rows.iter().filter(|row| !merged(row)).cloned().collect::<Vec<_>>();
    assert_eq!(rest(&read::<Cluster>(&line)), rest(&clusters));
    assert_eq!(read::<Identity>(&line)[..n - 2], identities[..n - 2]);
    assert_eq!(people(&line)[&(n as i64 - 1)], [a.min(b), a.max(b)]);

    let before = hashes(&line.run_dir);
    assert_eq!(line.run_again(), [""; 0]);
    assert_eq!(hashes(&line.run_dir), before);
    // Without the edits, and with them again.
    let off = line.run_dir.with_file_name("off.toml");
    fs::write(&off, "[cluster]\nedits = 'off'\n").unwrap();
    let without = Line { config: Some(off), ..line.clone() };
    assert_eq!(without.run_again(), ["cluster", "evaluate"]);
    assert_eq!(people(&line), people(done().unwrap()));
    assert_eq!(line.run_again(), ["cluster", "evaluate"]);
    assert_eq!(hashes(&line.run_dir).get("report/index.html"), before.get("report/index.html"));
}

#[test]
fn undoing_random_edits_gives_the_start() {
    let Some(line) = copied("random") else { return };
    let tables = |line: &Line| {
        let mut all = hashes(&line.run_dir);
        all.retain(|name, _| !name.contains("edit"));
        // The manifest has the time that a stage took.
        all.remove("manifest.json");
        all
    };
    let start = tables(&line);
    let all: Vec<i64> = read::<Track>(&line).iter().map(|track| track.track_id).collect();
    let mut state = 7_u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    let mut made = 0;
    for _ in 0..200 {
        let (track, person) = (all[random(all.len())], random(5) + 1);
        let arguments = match random(8) {
            0 => format!("add merge RUN {person} {}", random(5) + 1),
            1 => format!("add split RUN {track}"),
            2 => format!("add move RUN {track} --to {person}"),
            3 => format!("add name RUN {person} N{}", random(9)),
            4 => format!("add lock RUN {person}"),
            5 => format!("add not-a-face RUN {track}"),
            6 => format!("add different RUN {person} {}", random(5) + 1),
            _ => "undo RUN".to_owned(),
        };
        let (code, _, stderr) = edits(&line, &format!("{arguments} --no-apply"));
        assert!([0, 2].contains(&code), "{arguments}: {code} {stderr}");
        made += usize::from(code == 0);
    }
    assert!(made > 40, "{made} of 200 random edits were possible");
    // The state in the middle is valid too.
    line.run_all();
    let (program, run) = (&line.program, &line.run_dir);
    let valid = Command::new(program).arg("validate").arg(run).output().unwrap();
    assert!(valid.status.success(), "{}", String::from_utf8_lossy(&valid.stdout));
    while Log::open(run).unwrap().active().count() > 0 {
        edit(&line, "undo RUN --no-apply");
    }
    line.run_all();
    assert_eq!(tables(&line), start);
}

#[test]
fn a_killed_program_loses_at_most_the_edit_it_was_adding() {
    let Some(line) = copied("killed") else { return };
    let mut before = 0;
    for attempt in 0..40_u64 {
        let mut command = command(&line, &format!("add name RUN 1 N{attempt} --no-apply"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(attempt * 3));
        child.kill().unwrap();
        child.wait().unwrap();
        let log = Log::open(&line.run_dir).unwrap();
        let now = log.entries().len();
        assert!(now == before || now == before + 1, "{before} edits became {now}");
        assert!(log.entries().iter().all(|entry| !entry.edit.sides.concat().is_empty()));
        before = now;
    }
    let stderr = edit(&line, "add name RUN 1 last");
    assert!(stderr.contains(&format!("correction {}: name `last`", before + 1)), "{stderr}");
    assert_eq!(read::<Identity>(&line)[0].name.as_deref(), Some("last"));
}

#[test]
fn what_is_no_face_leaves_people_counts_and_exports() {
    let Some(line) = copied("no_face") else { return };
    let start = hashes(&line.run_dir);
    let track = people(&line)[&1][0];
    edit(&line, &format!("add not-a-face RUN {track}"));
    let row = |line: &Line| read::<Cluster>(line).into_iter().find(|row| row.track_id == track).unwrap();
    assert_eq!((row(&line).cluster_id, row(&line).not_a_face), (None, Some(true)));
    assert!(read::<Detection>(&line).iter().any(|row| row.track_id == Some(track)));
    let manifest = Manifest::read(&line.run_dir).unwrap().unwrap();
    assert_eq!(manifest.stage("cluster").unwrap().figures["noise_tracks"], 0);
    for format in ["csv", "cvat", "mot", "coco"] {
        let mut export = Command::new(&line.program);
        let text = export.args(["export", "--to", format, "--run-dir"]).arg(&line.run_dir).output().unwrap();
        assert!(text.status.success());
        let text = String::from_utf8(text.stdout).unwrap();
        let boxes = read::<Detection>(&line).iter().filter(|row| row.track_id.is_some()).count();
        let own = read::<Detection>(&line).iter().filter(|row| row.track_id == Some(track)).count();
        if format == "csv" {
            assert_eq!(text.lines().count(), 1 + boxes - own);
        }
        assert!(!text.contains(&format!("<track id=\"{track}\"")));
    }
    // The correction is about the face, not about the number of the track.
    assert_eq!(run_with(&line, "[detect-track]\nmin_face_px = 24.0\n"), [0i64; 0]);
    assert_eq!(read::<Cluster>(&line).iter().filter(|row| row.not_a_face == Some(true)).count(), 1);
    line.run_all();
    edit(&line, "undo RUN");
    let now = hashes(&line.run_dir);
    for table in ["clusters.parquet", "identities.parquet", "report/index.html"] {
        assert_eq!(now.get(table), start.get(table), "{table}");
    }
}

#[test]
fn contradictions_are_refused_and_files_are_imported() {
    let Some(line) = copied("refused") else { return };
    // Both people are in one shot.
    let (code, _, stderr) = edits(&line, "add merge RUN 1 2");
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("are in one frame, so they show two people") && stderr.contains("pixels"),
        "{stderr}"
    );
    let (code, _, stderr) = edits(&line, "add name RUN 1 2");
    assert!(code == 2 && stderr.contains("a name cannot be only a number"), "{stderr}");
    edit(&line, "add lock RUN 1 --no-apply");
    let (_, listed, _) = edits(&line, "list RUN");
    assert!(listed.contains(" of person 1, first at 0:"), "{listed}");
    let track = people(&line)[&1][0];
    let (code, _, stderr) = edits(&line, &format!("add split RUN {track}"));
    assert!(code == 2 && stderr.contains("it contradicts correction 1 (lock)"), "{stderr}");
    for (arguments, expected) in [
        ("add merge RUN 1 9", "has no person `9`"),
        ("add split RUN 999", "has no track 999"),
        ("add merge RUN 1 1", "names one person twice"),
        ("undo RUN 5", "there is no correction 5"),
    ] {
        let (code, _, stderr) = edits(&line, arguments);
        assert!(code == 2 && stderr.contains(expected), "{arguments}: {stderr}");
    }
    edit(&line, "undo RUN");

    // People of one frame are two people, whatever their names.
    edit(&line, "add name RUN 1 Ross --no-apply");
    let stderr = edit(&line, "add name RUN 2 Ross --no-apply");
    assert!(!stderr.contains("several people"), "{stderr}");
    edit(&line, "undo RUN --no-apply");
    edit(&line, "undo RUN");

    // Track numbers are read as those of the run that they were made for, once.
    let own = people(&line)[&1].clone();
    let file = line.run_dir.with_file_name("edits.csv");
    fs::write(&file, format!("track_a,track_b,kind\n{},{},cannot_link\n", own[0], own[1])).unwrap();
    let import = format!("import RUN {}", file.display());
    assert!(edit(&line, &import).contains("imported 1 correction"));
    assert!(edit(&line, &import).contains("was imported before"));
    assert_eq!(people(&line).len(), 3);
    fs::write(&file, "track_a,track_b,kind,tracks_sha256\n1,2,must_link,0123456789\n").unwrap();
    let (code, _, stderr) = edits(&line, &import);
    assert!(code == 3 && stderr.contains("the track numbers belong to another run"), "{stderr}");

    // What is exported is imported elsewhere.
    for format in ["csv", "json"] {
        let Some(other) = copied("imported") else { return };
        let file = line.run_dir.with_file_name(format!("all.{format}"));
        edit(&line, &format!("export RUN --to {format} --out {}", file.display()));
        assert!(edit(&other, &format!("import RUN {}", file.display())).contains("imported 1 correction"));
        assert_eq!(read::<Cluster>(&other), read::<Cluster>(&line));
    }
}

#[test]
fn one_name_for_two_people_who_may_be_one_offers_the_merge() {
    let Some(line) = copied("one_name") else { return };
    let config = line.run_dir.with_file_name("three.toml");
    fs::write(&config, "[cluster]\nmethod = 'kmeans'\nk = 3\n").unwrap();
    Line { config: Some(config), ..line.clone() }.run_all();
    assert_eq!(people(&line).len(), 3);
    let said: Vec<String> =
        (1..=3).map(|person| edit(&line, &format!("add name RUN {person} Ross --no-apply"))).collect();
    let offer = said.iter().find(|stderr| stderr.contains("several people are called `Ross`")).unwrap();
    let command = offer.split('`').find(|part| part.starts_with("facetrack edits add merge ")).unwrap();
    let [.., a, b] = command.split(' ').collect::<Vec<_>>()[..] else { panic!("{command}") };
    edit(&line, &format!("add merge RUN {a} {b} --no-apply"));
}

#[test]
fn a_removed_person_leaves_the_corrections() {
    let Some(line) = copied("removed") else { return };
    edit(&line, "add name RUN 1 Ross --no-apply");
    edit(&line, "add name RUN 2 Joey --no-apply");
    edit(&line, "add name RUN 1 Rachel --no-apply");
    edit(&line, "undo RUN");
    let names =
        |line: &Line| read::<Identity>(line).into_iter().filter_map(|person| person.name).collect::<Vec<_>>();
    assert_eq!(names(&line), ["Ross", "Joey"]);
    let page = |line: &Line| fs::read_to_string(line.run_dir.join("report/index.html")).unwrap();
    assert!(page(&line).contains("Ross"));
    let mut redact = Command::new(&line.program);
    let done = redact.args(["redact", "--identity", "1", "--run-dir"]).arg(&line.run_dir).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(names(&line), ["Joey"]);
    let log = Log::open(&line.run_dir).unwrap();
    assert_eq!(log.entries().iter().map(|entry| entry.edit_id).collect::<Vec<_>>(), [2]);
    for (name, path) in testkit::files::walk(&line.run_dir, &["logs"]) {
        let content = fs::read(&path).unwrap();
        let has = |word: &[u8]| content.windows(word.len()).any(|window| window == word);
        assert!(!has(b"Ross") && !has(b"Rachel"), "{name} has the name");
    }
}
