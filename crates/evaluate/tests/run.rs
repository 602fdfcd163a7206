//! The stage as a program, on made-up runs written through `schema`.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use schema::io::read_all;
use schema::tables::{Constraint, Label, Metric, MetricUnit, Track};
use testkit::assets;
use testkit::linked::{self, Spec};

struct Run {
    _folder: tempfile::TempDir,
    root: PathBuf,
    labels: PathBuf,
}

impl Run {
    fn new(spec: &Spec) -> Self {
        Self::named("run", spec)
    }

    fn named(name: &str, spec: &Spec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, labels) = (folder.path().join(name), folder.path().join("truth.csv"));
        fs::write(&labels, linked::write(&root, spec)).unwrap();
        Self { _folder: folder, root, labels }
    }

    fn evaluate(&self, arguments: &[&str]) -> Output {
        let mut command = assets::require_facetrack(&["stage", "evaluate", "--run-dir"]).unwrap();
        command.arg(&self.root).args(arguments).output().unwrap()
    }

    fn evaluate_with_labels(&self) -> Output {
        self.evaluate(&["--labels", self.labels.to_str().unwrap()])
    }

    fn page(&self) -> String {
        fs::read_to_string(self.root.join("report/index.html")).unwrap()
    }

    fn metrics(&self) -> Vec<Metric> {
        read_all(&self.root.join("metrics.parquet")).unwrap()
    }

    fn value(&self, name: &str, unit: MetricUnit) -> Option<f64> {
        self.metrics().iter().find(|m| m.name == name && m.unit == unit).map(|m| m.value)
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn assert_done(output: &Output) {
    assert!(output.status.success(), "{}", words(output));
}

#[test]
fn with_labels_everything_is_written_and_a_second_run_is_skipped() {
    let run = Run::new(&Spec::default());
    assert_done(&run.evaluate_with_labels());
    for name in ["det_precision", "id_f1", "identity_hota", "track_hota"] {
        assert!(run.value(name, MetricUnit::Frame).unwrap() > 0.5, "{name}");
    }
    assert!(run.value("wcp", MetricUnit::Track).unwrap() > 0.8);
    assert!(run.value("silhouette", MetricUnit::Track).is_some());
    let labels: Vec<Label> = read_all(&run.root.join("labels.parquet")).unwrap();
    assert!(labels.iter().any(|l| l.identity.as_deref() == Some("anna")));
    assert!(run.page().contains("Accuracy against the labels") && run.page().contains(">Tracking</h3>"));
    let again = run.evaluate_with_labels();
    assert!(words(&again).contains("is up to date"), "{}", words(&again));
}

#[test]
fn labels_without_shots_do_not_judge_tracks() {
    let run = Run::new(&Spec::default());
    let labels = fs::read_to_string(&run.labels).unwrap();
    fs::write(&run.labels, labels.replacen("shot", "note", 1)).unwrap();
    assert_done(&run.evaluate_with_labels());
    assert_eq!(run.value("track_hota", MetricUnit::Frame), None);
    assert!(run.value("identity_hota", MetricUnit::Frame).unwrap() > 0.5);
    assert!(run.page().contains("Accuracy against the labels") && !run.page().contains(">Tracking</h3>"));
}

#[test]
fn intervals_hold_their_figures_and_costs_add_up() {
    let run = Run::new(&Spec::default());
    assert_done(&run.evaluate_with_labels());
    let figures = run.metrics();
    let sure: Vec<_> = figures.iter().filter_map(|m| Some((m, m.ci_low?, m.ci_high?))).collect();
    for name in ["wcp", "ami", "ari", "b3_f1", "pairs_recall", "v_measure", "silhouette", "noise_share"] {
        assert!(sure.iter().any(|(m, ..)| m.name == name), "{name} has no interval");
    }
    for (figure, low, high) in sure {
        // Figures of few tracks rise a little when some are drawn twice, but not so far.
        assert!(low < high && (low - 0.03..=high + 0.03).contains(&figure.value), "{figure:?}");
    }
    let value = |name| run.value(name, MetricUnit::Frame).unwrap();
    let costs = ["cost_detection", "cost_tracking", "cost_embedding", "cost_linking"].map(value);
    assert!((costs.iter().sum::<f64>() + value("id_f1") - 1.0).abs() < 1e-12, "{costs:?}");
    assert!(value("oracle_tracking_id_f1") >= value("oracle_linking_id_f1"));
    assert!(value("oracle_linking_id_f1") >= value("oracle_cut_id_f1"));
    for text in ["Error budget", "Wrong tracks", "Check first", "What similarity means"] {
        assert!(run.page().contains(text), "{text}");
    }
}

/// The box and its colour, where and when the tables say, and nowhere else.
#[test]
fn boxes_are_drawn_over_a_video_where_the_tables_have_them() {
    let Some(mut ffmpeg) = assets::require_ffmpeg() else { return };
    let run = Run::new(&Spec { tracks: 1, people: 1, noise: 0, ..Spec::default() });
    assert_done(&run.evaluate(&[]));
    let track = read_all::<Track>(&run.root.join("tracks.parquet")).unwrap().remove(0);
    let (first, last) = (track.first_frame_idx, track.last_frame_idx);
    let frames = [first - 1, first, last, last + 1].map(|frame| format!("eq(n,{frame})")).join("+");
    let black = "color=black:size=640x360:rate=25:duration=8";
    ffmpeg.current_dir(run.root.join("report")).args(["-f", "lavfi", "-i", black]).args([
        "-vf",
        &format!("ass=boxes.ass,select='{frames}',format=rgb24"),
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-",
    ]);
    let drawn = ffmpeg.output().unwrap();
    assert_done(&drawn);
    let pictures: Vec<_> = drawn.stdout.chunks_exact(640 * 360 * 3).collect();
    let pixel = |picture: &[u8], x: usize, y: usize| {
        let at = 3 * (y * 640 + x);
        [picture[at], picture[at + 1], picture[at + 2]]
    };
    // The face lies at 40..100 × 80..160, the line around it; the first person's colour is #86a6ff.
    let edge = |picture| pixel(picture, 39, 120);
    let is_blue = |[r, _, b]: [u8; 3]| b > 150 && b > r;
    let seen: Vec<_> = pictures.iter().map(|picture| is_blue(edge(picture))).collect();
    assert_eq!(seen, [false, true, true, false]);
    assert_eq!([pixel(pictures[1], 70, 120), pixel(pictures[1], 300, 120)], [[0; 3]; 2]);
}

#[test]
fn metrics_json_holds_the_same_values_as_the_table() {
    let run = Run::new(&Spec::default());
    assert_done(&run.evaluate_with_labels());
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(run.root.join("report/metrics.json")).unwrap()).unwrap();
    let json = json.as_array().unwrap();
    let table = run.metrics();
    assert_eq!(json.len(), table.len());
    for (json, row) in json.iter().zip(&table) {
        assert_eq!(json["name"].as_str(), Some(row.name.as_str()));
        // serde_json reads fast, which may cost the last bit.
        assert!((json["value"].as_f64().unwrap() - row.value).abs() <= 1e-12 * row.value.abs());
    }
}

#[test]
fn without_labels_there_are_figures_but_no_truth() {
    let run = Run::new(&Spec::default());
    assert_done(&run.evaluate(&[]));
    assert_eq!(run.value("tracks", MetricUnit::Track), Some(60.0));
    assert_eq!(run.value("wcp", MetricUnit::Track), None);
    assert!(read_all::<Label>(&run.root.join("labels.parquet")).unwrap().is_empty());
    assert!(!run.page().contains("Accuracy against the labels"));
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let (a, b) = (Run::new(&Spec::default()), Run::new(&Spec::default()));
    assert_done(&a.evaluate(&["--threads", "1"]));
    assert_done(&b.evaluate(&["--threads", "2"]));
    for file in ["metrics.parquet", "labels.parquet", "report/metrics.json", "report/index.html"] {
        assert_eq!(fs::read(a.root.join(file)).unwrap(), fs::read(b.root.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn pages_of_empty_and_tiny_runs_are_whole() {
    for (tracks, people, says) in
        [(0, 0, "No face was found"), (1, 1, "One person in"), (2, 1, "One person in")]
    {
        let run = Run::new(&Spec { tracks, people, noise: 0, ..Spec::default() });
        assert_done(&run.evaluate_with_labels());
        let page = run.page();
        assert!(page.contains(says), "{tracks} tracks");
        assert!(page.trim_end().ends_with("</html>"));
    }
}

#[test]
fn noise_alone_is_no_person() {
    let run = Run::new(&Spec { tracks: 4, people: 2, noise: 4, ..Spec::default() });
    assert_done(&run.evaluate_with_labels());
    assert!(run.page().contains("none was assigned to a person"));
    assert_eq!(run.value("noise_share", MetricUnit::Track), Some(1.0));
}

#[test]
fn names_from_strangers_cannot_become_markup() {
    // To HTML and SVG, to their attributes, to the template, and to ASS.
    let words = "\"'><script>alert(1)</script>{{ 6 * 7 }}{% x %}]]>{\\p1}\nDialogue: 9,".to_owned();
    let file_name = "\"'><script>alert(3).mp4".into();
    let run = Run::named("\"'><script>alert(2)<", &Spec { file_name, text: Some(words), ..Spec::default() });
    assert_done(&run.evaluate_with_labels());
    let page = run.page();
    for hostile in ["<script>alert", "\"'", "<b>ida"] {
        assert!(!page.contains(hostile), "{hostile}");
    }
    for shown in ["alert(1)", "alert(2)", "alert(3)", "&lt;b&gt;ida", "{{ 6 * 7 }}{% x %}"] {
        assert!(page.contains(shown), "{shown} is not on the page");
    }
    assert_eq!(page.matches("<script").count(), 1, "the page has one script, which is its own");
    let plots: Vec<_> = fs::read_dir(run.root.join("report/plots")).unwrap().collect();
    assert!(plots.len() > 5);
    for plot in plots {
        let plot = fs::read_to_string(plot.unwrap().path()).unwrap();
        assert!(plot.starts_with("<svg xmlns=") && !plot.contains("<script") && !plot.contains("<b>"));
    }
    let boxes = fs::read_to_string(run.root.join("report/boxes.ass")).unwrap();
    let names: Vec<_> = boxes.lines().filter(|line| line.contains(",name,,")).collect();
    assert!(names.iter().any(|line| line.contains("alert(1)")));
    for line in boxes.lines().skip_while(|line| !line.starts_with("Dialogue")) {
        assert!(line.starts_with("Dialogue: 0,") || line.starts_with("Dialogue: 1,"), "{line}");
        assert_eq!((line.matches('{').count(), line.matches('}').count()), (1, 1), "{line}");
    }
}

#[test]
fn the_page_asks_for_nothing_outside_itself() {
    let run = Run::new(&Spec::default());
    assert_done(&run.evaluate_with_labels());
    let page = run.page();
    for reference in ["http:", "https:", "src=\"/", "url(", "@import", "<link"] {
        assert!(!page.contains(reference), "{reference}");
    }
}

/// Every kind of doubt has its faces and its command; a violated constraint is named with both tracks and the time.
#[test]
fn what_may_be_wrong_is_named() {
    let run = Run::new(&Spec::default());
    assert_done(&run.evaluate(&[]));
    let page = run.page();
    let check =
        &page[page.find("<section id=\"check\"").unwrap()..page.find("<section id=\"people\"").unwrap()];
    for says in [
        "31\u{a0}% likely to be one person",
        "12\u{a0}% likely to be another person, most like Person",
        "5\u{a0}% likely not to be a face",
        "not sorted, 45\u{a0}% likely to be this person",
        "facetrack edits add same RUN 1 2",
        "facetrack edits add not-a-face RUN ",
    ] {
        assert!(check.contains(says), "{says}");
    }
    let violated: Vec<Constraint> = read_all(&run.root.join("constraints.parquet")).unwrap();
    for row in violated.iter().filter(|row| row.violated) {
        let says = format!("tracks {} and {} are in one picture", row.track_a, row.track_b);
        assert!(check.contains(&says), "{says}");
    }
}

#[test]
fn times_lead_to_the_video_at_the_address_of_the_setting() {
    let run = Run::new(&Spec::default());
    let set = |url: &str| run.evaluate(&["--set", &format!("evaluate.video_url = {url:?}")]);
    assert_done(&set("https://tv.example/films/"));
    let page = run.page();
    assert!(page.contains("href=\"https://tv.example/films/dinner.mp4#t="));
    assert!(page.contains("media-src https://tv.example;"));
    assert_done(&set(""));
    assert!(!run.page().contains("class=\"at\"") && run.page().contains("media-src 'none'"));
    assert_eq!(set("javascript:alert(1)").status.code(), Some(2));
}

#[test]
fn unusable_labels_are_refused_with_file_and_line_and_leave_no_table() {
    let run = Run::new(&Spec::default());
    let cases: [(&[u8], &str); 4] = [
        (b"frame,x,y,w,h\n", "line 1: missing column `identity`"),
        (b"frame,x,y,w,h,identity\n0,a,0,5,5,anna\n", "line 2: `x`: \"a\" is not a number"),
        (b"frame,x,y,w,h,identity\n0,0,0,-5,5,anna\n", "line 2: a box must have a width and height above 0"),
        (b"frame,x,y,w,h,identity\n999999,0,0,5,5,anna\n", "line 2: frame 999999 is outside the video"),
    ];
    for (content, expected) in cases {
        fs::write(&run.labels, content).unwrap();
        let output = run.evaluate_with_labels();
        assert_eq!(output.status.code(), Some(3));
        assert!(
            words(&output).contains(expected) && words(&output).contains("truth.csv"),
            "{}",
            words(&output)
        );
    }
    fs::remove_file(&run.labels).unwrap();
    assert_eq!(run.evaluate_with_labels().status.code(), Some(3));
    assert!(!Path::new(&run.root).join("metrics.parquet").exists());
}

#[test]
fn a_value_out_of_range_is_wrong_usage() {
    let run = Run::new(&Spec { tracks: 1, people: 1, noise: 0, ..Spec::default() });
    let config = run.labels.with_file_name("config.toml");
    fs::write(&config, "[evaluate]\nmin_iou = 1.5\n").unwrap();
    let output = run.evaluate(&["--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("[evaluate] min_iou must be above 0 and at most 1"),
        "{}",
        words(&output)
    );
}

#[test]
fn labels_of_another_video_are_noticed() {
    let run = Run::new(&Spec::default());
    fs::write(&run.labels, "frame,x,y,w,h,identity\n3,900,900,5,5,anna\n").unwrap();
    let output = run.evaluate_with_labels();
    assert_done(&output);
    assert!(words(&output).contains("check that the labels belong to this video"));
}

#[test]
fn a_header_alone_gives_a_warning_and_no_metrics_of_labels() {
    let run = Run::new(&Spec::default());
    fs::write(&run.labels, "frame,x,y,w,h,identity\n").unwrap();
    let output = run.evaluate_with_labels();
    assert_done(&output);
    assert!(words(&output).contains("the labels file has no labels"), "{}", words(&output));
    for name in ["det_precision", "id_f1", "identity_hota"] {
        assert_eq!(run.value(name, MetricUnit::Frame), None, "{name}");
    }
    assert!(!run.page().contains("Accuracy against the labels"));
}
