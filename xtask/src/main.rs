//! The project's tasks: `cargo xtask run`, `check`, `regress`, `bench`, `models`, `schemas`, `forget`, `doctor`, and
//! `validate`, `export`, `import`, which are passed on.
//!
//! This crate knows the stages only by the names of their programs and by the events they print.
//! It has few dependencies on purpose: it must build and start in seconds, on a machine where
//! nothing else of the project can be built yet.

mod annotate;
mod assets;
mod bench;
mod cache;
mod check;
mod deny;
mod doctor;
mod embedders;
mod exchange;
mod failure;
mod forget;
mod models;
mod process;
mod progress;
mod pypi;
mod python;
mod regress;
mod run;
mod schemas;
mod settings;
mod several;
mod skip;
mod stages;
mod system;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::embedders::Own;
use crate::failure::Result;

const EXIT_CODES: &str = "Exit codes: 0 success, 1 unexpected, 2 usage, 3 unusable input or weights, \
4 contract mismatch, 5 quality gate, 130 interrupted.";

fn main() -> ExitCode {
    let matches = cli().get_matches();
    let result = process::watch_interrupts().and_then(|()| dispatch(&matches));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(wants_json(&matches)),
    }
}

fn dispatch(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("run", m)) => several::run(&several_options(m)),
        Some(("check", m)) => {
            check::check(&check::Options { install: m.get_flag("install-deps"), fast: m.get_flag("fast") })
        }
        Some(("bench", m)) => match m.subcommand() {
            Some(("pipeline", m)) => bench::pipeline::pipeline(&pipeline_options(m)),
            Some(("embed", m)) => bench::networks::embed(&network_options(m)),
            Some(("detect", m)) => bench::networks::detect(&network_options(m)),
            Some(("cluster", m)) => bench::linking::cluster(&synthetic_options(m)),
            Some(("link", m)) => bench::linking::link(&labelled_options(m)),
            Some(("library", m)) => bench::library::library(&library_options(m)),
            _ => Ok(()),
        },
        Some(("models", m)) => match m.subcommand() {
            Some(("fetch", m)) => models::fetch(&many(m, "name")),
            _ => models::list(),
        },
        Some(("schemas", m)) => schemas::schemas(m.get_flag("check"), m.get_one::<PathBuf>("release")),
        Some(("forget", m)) => forget::forget(&forget_options(m)),
        Some(("doctor", _)) => doctor::doctor(),
        Some(("regress", m)) => {
            let all = |name| many(m, name).into_iter().map(str::to_owned).collect();
            let (datasets, settings) = (all("dataset"), all("set"));
            regress::regress(&regress::Options { datasets, update: m.get_flag("update"), settings })
        }
        Some(("dataset", m)) => {
            let path = |name: &str| m.get_one::<PathBuf>(name).cloned().unwrap_or_default();
            let name = m.get_one::<String>("name").cloned().unwrap_or_default();
            regress::store(&name, &path("run"), &path("labels"))
        }
        Some((task, m)) => exchange::pass_on(task, &many_strings(m)),
        _ => Ok(()),
    }
}

fn wants_json(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some(("run" | "forget", m)) => m.get_flag("json"),
        Some(("bench", m)) => m.subcommand().is_some_and(|(_, m)| m.get_flag("json")),
        _ => false,
    }
}

fn run_options(m: &ArgMatches) -> run::Options {
    let path = |name: &str| m.get_one::<PathBuf>(name).cloned();
    run::Options {
        labels: path("labels"),
        edits: path("edits"),
        run_dir: path("run-dir"),
        config: path("config"),
        settings: settings::given(m),
        weights: m.get_many::<Own>("weights").into_iter().flatten().cloned().collect(),
        from: m.get_one::<String>("from").cloned(),
        threads: m.get_one::<usize>("threads").copied(),
        no_crops: m.get_flag("no-crops"),
        skip_bad: m.get_flag("skip-bad"),
        annotate: path("annotate"),
        install: m.get_flag("install-deps"),
        json: m.get_flag("json"),
        quiet: m.get_flag("quiet"),
        ..Default::default()
    }
}

fn several_options(m: &ArgMatches) -> several::Options {
    several::Options {
        run: run_options(m),
        videos: m.get_many::<PathBuf>("video").into_iter().flatten().cloned().collect(),
        library: m.get_one::<PathBuf>("library").cloned(),
    }
}

fn forget_options(m: &ArgMatches) -> forget::Options {
    forget::Options {
        run_dir: m.get_one::<PathBuf>("run").cloned().unwrap_or_default(),
        identities: m.get_many("identity").into_iter().flatten().copied().collect(),
        json: m.get_flag("json"),
    }
}

fn pipeline_options(m: &ArgMatches) -> bench::pipeline::Options {
    bench::pipeline::Options {
        video: m.get_one::<PathBuf>("video").cloned().unwrap_or_default(),
        scale: m.get_one::<(u32, u32)>("scale").copied(),
        threads: m.get_one::<usize>("threads").copied(),
        repeat: m.get_one::<usize>("repeat").copied().unwrap_or(1),
        install: m.get_flag("install-deps"),
        json: m.get_flag("json"),
    }
}

fn library_options(m: &ArgMatches) -> bench::library::Options {
    let number = |name: &str| m.get_one::<usize>(name).copied().unwrap_or(1);
    bench::library::Options {
        stored: m.get_many::<usize>("stored").into_iter().flatten().copied().collect(),
        people: number("people"),
        returning: m.get_one::<f64>("returning").copied(),
        seed: m.get_one::<u64>("seed").copied().unwrap_or_default(),
        json: m.get_flag("json"),
    }
}

fn network_options(m: &ArgMatches) -> bench::networks::Options {
    // `detect` has no choice of networks and batches.
    let given = |name: &str| m.try_contains_id(name).unwrap_or(false);
    let names = |name: &str| if given(name) { many(m, name) } else { Vec::new() };
    let counts = |name: &str| m.get_many::<usize>(name).into_iter().flatten().copied().collect();
    bench::networks::Options {
        networks: names("network").into_iter().map(str::to_owned).collect(),
        batches: if given("batch") { counts("batch") } else { Vec::new() },
        threads: counts("threads"),
        isas: names("isa").into_iter().map(str::to_owned).collect(),
        size: m.try_get_one::<(u32, u32)>("size").ok().flatten().copied(),
        repeat: m.get_one::<usize>("repeat").copied().unwrap_or(1),
        install: m.get_flag("install-deps"),
        json: m.get_flag("json"),
    }
}

fn synthetic_options(m: &ArgMatches) -> bench::linking::Synthetic {
    let counts = |name: &str| m.get_many::<usize>(name).into_iter().flatten().copied().collect();
    bench::linking::Synthetic {
        sizes: counts("n"),
        dims: counts("dim"),
        threads: m.get_one::<usize>("threads").copied(),
        install: m.get_flag("install-deps"),
        json: m.get_flag("json"),
    }
}

fn labelled_options(m: &ArgMatches) -> bench::linking::Labelled {
    bench::linking::Labelled {
        runs: m.get_many::<PathBuf>("run").into_iter().flatten().cloned().collect(),
        install: m.get_flag("install-deps"),
        json: m.get_flag("json"),
    }
}

fn cli() -> Command {
    Command::new("xtask")
        .bin_name("cargo xtask")
        .about("Tasks of FaceTrackLinking")
        .after_help(EXIT_CODES)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([run_command(), check_command(), bench_command(), models_command(), schemas_command()])
        .subcommands([forget_command(), doctor_command()])
        .subcommands([regress_command(), dataset_command()])
        .subcommands(exchange::TASKS.map(|(name, about)| passed_on(name, about)))
}

fn run_command() -> Command {
    Command::new("run")
        .about("From a video to its tables and a page that shows who is in it")
        .after_help(EXIT_CODES)
        .args([
            file("video", "PATH")
                .required(true)
                .num_args(1..)
                .action(ArgAction::Append)
                .help("the video, mkv or mp4; of several, folders or patterns, people are linked across videos"),
            file("labels", "CSV").help("the truth: frame,x,y,w,h,identity; adds metrics to the report"),
            file("edits", "CSV").help("pairs of tracks that are one person or two: track_a,track_b,kind"),
            file("run-dir", "DIR").help(
                "where results go [default: runs/<name of the video>]; of several videos the folder of their runs",
            ),
            file("library", "DIR").help(
                "link the people to those of this library [default: of several videos, runs/library]",
            ),
            file("config", "FILE").help("TOML, one section a stage"),
            file("annotate", "OUT").help("also write the video with boxes and names drawn in, .mp4 or .mkv"),
            Arg::new("weights")
                .long("weights")
                .value_name("[NAME=]FILE")
                .action(ArgAction::Append)
                .value_parser(Own::parse)
                .help("your own weights for an embedder: ONNX or safetensors"),
            Arg::new("from")
                .long("from")
                .value_name("STAGE")
                .value_parser(stages::names())
                .help("run this stage and the later ones even when nothing has changed"),
            count("threads", "worker threads, which never change the result [default: every core]"),
            flag("no-crops", "keep no picture of anybody: faces are deleted as soon as they are vectors"),
            flag("skip-bad", "where a stage crashes, go on without the frames around that place"),
            install_deps(),
            flag("json", "JSON Lines on standard output: every event of every stage, then run_finished"),
            flag("quiet", "only warnings, errors and, on standard output, the path of the page"),
        ])
        .args(settings::options())
}

fn check_command() -> Command {
    Command::new("check")
        .about("Everything that continuous integration does: format, lints, build, schemas, tests")
        .args([install_deps(), flag("fast", "format, lints and unit tests only; no network")])
}

fn bench_command() -> Command {
    Command::new("bench")
        .about("How fast it is, beside a yardstick that takes turns on the same cores")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([
            bench_pipeline_command(),
            bench_embed_command(),
            bench_detect_command(),
            bench_cluster_command(),
            bench_link_command(),
            bench_library_command(),
        ])
}

fn bench_pipeline_command() -> Command {
    Command::new("pipeline").about("A whole run beside ffmpeg decoding the same video").args([
        file("video", "PATH").required(true).help("the video, mkv or mp4"),
        Arg::new("scale")
            .long("scale")
            .value_name("WxH")
            .value_parser(parse_size)
            .help("measure a copy of this size, which is made first (libx264, crf 23)"),
        count("threads", "threads of ffmpeg and of every stage [default: every core]"),
        count("repeat", "rounds, each ffmpeg and then a run").default_value("3"),
        install_deps(),
        flag("json", "one JSON object on standard output in place of the table"),
    ])
}

fn bench_embed_command() -> Command {
    let networks = Arg::new("network")
        .long("network")
        .value_name("NAME")
        .value_delimiter(',')
        .value_parser(bench::networks::EMBEDDERS.to_vec())
        .help("these only [default: all]");
    let batches = counts("batch", "images that are passed together").default_value("1,8,32");
    Command::new("embed")
        .about("Every embedding network beside onnxruntime")
        .args([networks, batches])
        .args(contest_options())
}

fn bench_detect_command() -> Command {
    let size = Arg::new("size")
        .long("size")
        .value_name("WxH")
        .value_parser(parse_grid_size)
        .default_value("640x384")
        .help("size of the pictures, multiples of 32");
    Command::new("detect")
        .about("The face detector beside OpenCV and onnxruntime, as many pictures at a time as threads")
        .arg(size)
        .args(contest_options())
}

fn bench_cluster_command() -> Command {
    Command::new("cluster")
        .about("Linking of synthetic people, beside the definition, SciPy and HDBSCAN")
        .args([
            counts("n", "numbers of tracks").default_value("1000,10000,100000,1000000"),
            counts("dim", "numbers in a vector").default_value("128,512"),
            count("threads", "threads of those who can use several [default: every core]"),
            install_deps(),
            flag("json", "one JSON object on standard output in place of the table"),
        ])
}

fn bench_link_command() -> Command {
    Command::new("link")
        .about("Linking of labelled runs, beside other methods and the best that can be")
        .args([
            file("run", "DIR")
                .required(true)
                .action(ArgAction::Append)
                .help("a finished run with labels; thresholds of others are chosen on the other runs"),
            install_deps(),
            flag("json", "one JSON object on standard output in place of the table"),
        ])
}

fn bench_library_command() -> Command {
    Command::new("library")
        .about("Adding a video to libraries of several sizes, and how well people are found")
        .args([
            counts("stored", "videos that are there before").default_value("50,100,500"),
            count("people", "people in a video").default_value("40"),
            Arg::new("returning")
                .long("returning")
                .value_name("SHARE")
                .value_parser(parse_share)
                .help("share of a video's people who were in an earlier one [default: 0.6]"),
            Arg::new("seed").long("seed").value_name("N").value_parser(value_parser!(u64)).default_value("1"),
            flag("json", "one JSON object on standard output in place of the table"),
        ])
}

fn contest_options() -> [Arg; 5] {
    let isas = Arg::new("isa")
        .long("isa")
        .value_name("NAME")
        .value_delimiter(',')
        .value_parser(["avx512", "avx2", "neon", "scalar"])
        .help("our instruction sets, which the yardstick is free to exceed [default: the widest]");
    [
        counts("threads", "threads of either side").default_value("1,2"),
        isas,
        count("repeat", "rounds, each one measurement of either side").default_value("5"),
        install_deps(),
        flag("json", "one JSON object on standard output in place of the table"),
    ]
}

fn models_command() -> Command {
    Command::new("models").about("The weights of the networks: pinned, verified, converted once").subcommands(
        [
            Command::new("list").about("what is needed, where it comes from, what is present (the default)"),
            Command::new("fetch").about("obtain, verify and convert whatever is missing").arg(
                Arg::new("name")
                    .value_name("NAME")
                    .num_args(0..)
                    .value_parser(models::names())
                    .help("these only [default: all]"),
            ),
        ],
    )
}

fn schemas_command() -> Command {
    Command::new("schemas").about("Generate schemas/ from the source").args([
        flag("check", "fail when the committed documents differ instead"),
        file("release", "RUN").help("release the tables as they are, with those of this run as examples"),
    ])
}

fn regress_command() -> Command {
    let dataset = Arg::new("dataset").long("dataset").value_name("NAME").action(ArgAction::Append);
    Command::new("regress")
        .about("Link and judge every stored dataset, and compare with what is expected")
        .args([
            dataset.help("this one only [default: all]"),
            flag("update", "expect what came out from now on, and show what changed"),
            Arg::new("set")
                .long("set")
                .value_name("TOML")
                .action(ArgAction::Append)
                .conflicts_with("update")
                .help(
                    "a setting other than the default, such as cluster.threshold = 0.5, to see what it moves",
                ),
        ])
}

fn dataset_command() -> Command {
    Command::new("dataset").about("Keep a finished run as a stored dataset, without its pictures").args([
        Arg::new("name").value_name("NAME").required(true).help("its folder below datasets/"),
        file("run", "DIR").required(true).help("the finished run"),
        file("labels", "CSV").required(true).help("the truth"),
    ])
}

/// A task of another program, which reads its own arguments.
fn passed_on(name: &'static str, about: &'static str) -> Command {
    let arguments = Arg::new("arguments").num_args(0..).trailing_var_arg(true).allow_hyphen_values(true);
    Command::new(name).about(about).disable_help_flag(true).arg(arguments)
}

fn forget_command() -> Command {
    Command::new("forget")
        .about("Take people out of the tables and the page of a run, and look whether they are gone")
        .after_help(EXIT_CODES)
        .args([
            file("run", "DIR").required(true).help("the run directory"),
            Arg::new("identity")
                .long("identity")
                .value_name("N,..")
                .required(true)
                .value_delimiter(',')
                .value_parser(value_parser!(u32))
                .help("people, as the page and the table `identities` number them"),
            flag("json", "JSON Lines on standard output: every event, then `forgotten`"),
        ])
}

fn doctor_command() -> Command {
    Command::new("doctor").about("What this machine has of what is needed, and what to do next")
}

fn install_deps() -> Arg {
    flag("install-deps", "install missing system packages with apt-get")
}

/// The arguments of a task that is passed on.
fn many_strings(m: &ArgMatches) -> Vec<String> {
    many(m, "arguments").into_iter().map(str::to_owned).collect()
}

/// The values of an option that takes several.
fn many<'a>(m: &'a ArgMatches, name: &str) -> Vec<&'a str> {
    m.get_many::<String>(name).into_iter().flatten().map(String::as_str).collect()
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn file(name: &'static str, value: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_parser(value_parser!(PathBuf))
}

/// An option whose value is a whole number above zero.
fn count(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N").value_parser(parse_count).help(help)
}

/// An option whose values are whole numbers above zero.
fn counts(name: &'static str, help: &'static str) -> Arg {
    count(name, help).value_name("N,..").value_delimiter(',')
}

fn parse_count(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be a whole number above zero".into())
}

fn parse_share(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "must be from 0 to 1".into())
}

fn parse_size(text: &str) -> std::result::Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|n| *n > 0 && n % 2 == 0);
    let size = text.split_once('x').and_then(|(width, height)| Some((side(width)?, side(height)?)));
    size.ok_or_else(|| "must be two even numbers of pixels, like 1280x720".into())
}

fn parse_grid_size(text: &str) -> std::result::Result<(u32, u32), String> {
    let size = parse_size(text).ok().filter(|(width, height)| width % 32 == 0 && height % 32 == 0);
    size.ok_or_else(|| "must be two multiples of 32 pixels, like 640x384".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        cli().debug_assert();
    }

    #[test]
    fn sizes_are_two_even_numbers() {
        assert_eq!(parse_size("1280x720"), Ok((1280, 720)));
        for wrong in ["", "1280", "x", "1280x", "0x720", "1281x720", "1280x720x1", "-2x2"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_grid_size("640x384"), Ok((640, 384)));
        assert!(parse_grid_size("640x380").is_err());
    }

    #[test]
    fn networks_are_benched_as_asked_for() {
        let parsed = |line: &str| -> Option<bench::networks::Options> {
            let matches = cli().try_get_matches_from(line.split(' ')).ok()?;
            let (_, bench) = matches.subcommand()?;
            Some(network_options(bench.subcommand()?.1))
        };
        let embed = parsed("xtask bench embed --network sface --batch 1,32 --isa avx2,scalar --repeat 2");
        assert_eq!(
            embed,
            Some(bench::networks::Options {
                networks: vec!["sface".into()],
                batches: vec![1, 32],
                threads: vec![1, 2],
                isas: vec!["avx2".into(), "scalar".into()],
                repeat: 2,
                ..Default::default()
            })
        );
        let detect = parsed("xtask bench detect --threads 2 --json");
        assert_eq!(
            detect,
            Some(bench::networks::Options {
                threads: vec![2],
                size: Some((640, 384)),
                repeat: 5,
                json: true,
                ..Default::default()
            })
        );
        assert_eq!(parsed("xtask bench embed --batch 1,0"), None);
        assert_eq!(parsed("xtask bench embed --network nobody"), None);
    }

    #[test]
    fn an_unknown_stage_is_a_usage_error() {
        let error = cli().try_get_matches_from(["xtask", "run", "--video", "a.mkv", "--from", "paint"]);
        assert_eq!(error.map_err(|e| e.exit_code()).err(), Some(2));
    }
}
