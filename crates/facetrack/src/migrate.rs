//! `facetrack library migrate`: the vectors of another embedder for the people of a gallery, from the stored face
//! images.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use console::{Error, Result, counted, exit, process, say};
use embed::{Config, Embedders, Name};
use gallery::migration::Migrated;
use gallery::{Library, validate};
use run::RunReader;
use run::stage::Stage;
use serde_json::json;

use crate::cli::{RunArgs, Wait, WeightsDir, parse_count};
use crate::progress::Screen;
use crate::single::{Plan, check_file};
use crate::sources::{self, Own, WeightSource};
use crate::{models, people, stages};

/// Arguments of `library migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Directory of the gallery
    #[arg(long, value_name = "DIR")]
    library: PathBuf,
    /// The embedder whose vectors the gallery and its runs get
    #[arg(long, value_parser = PossibleValuesParser::new(embed::spec::NAMES))]
    embedder: String,
    /// Custom weights for the embedder
    #[arg(long, value_name = "[NAME=]FILE", value_parser = Own::parse)]
    weights: Vec<Own>,
    #[command(flatten)]
    weights_dir: WeightsDir,
    /// Number of worker threads; does not change the result [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    threads: Option<usize>,
    #[command(flatten)]
    pub(crate) wait: Wait,
    /// Print JSON Lines
    #[arg(long)]
    pub(crate) json: bool,
}

/// Embeds and links the runs of a gallery again, and gives the gallery their vectors.
pub(crate) fn main(args: &MigrateArgs) -> Result<()> {
    let root = &args.library;
    validate::require(root)?;
    let name: Name = args.embedder.parse().map_err(|message: String| Error::new(exit::USAGE, message))?;
    let config = Config { embedders: Embedders::Named(vec![name]), ..Config::default() };
    if config.networks()?.is_empty() {
        let message =
            format!("`{name}` learns from the faces of one video, so its vectors of two videos differ");
        return Err(Error::new(exit::USAGE, message).hint("use a network: `facetrack models list`"));
    }
    args.weights.iter().try_for_each(|own| check_file(&own.path, "weights file", exit::INPUT))?;
    let embedders = sources::sources(&config, &args.weights, |_| false)?;
    embed::check(&config, &sources::own_files(&embedders))?;
    let pinned: Vec<_> = embedders.iter().filter_map(WeightSource::pinned).collect();
    let weights = models::obtain(&pinned, args.weights_dir.given())?;

    let mut library = Library::open(root)?;
    let run_dirs = library.begin_migration()?;
    let run = |run_dir: &Path, stages: &[Stage], runs_left: usize| {
        let settings = vec![format!("embed.embedders = [\"{name}\"]"), "embed.views = []".into()];
        let run_args = RunArgs {
            config: Some(run_dir.join("config.toml")),
            threads: args.threads,
            wait: args.wait.clone(),
            ..RunArgs::default()
        };
        let plan = Plan { args: &run_args, settings, embedders: embedders.clone(), weights: weights.clone() };
        again(stages, &plan, run_dir, &mut Screen::new(args.json, false).of_several(runs_left as f64))
    };
    let mut in_series = Vec::new();
    for (number, run_dir) in run_dirs.iter().enumerate() {
        // Runs of a series are linked together, so all of them are embedded before the first is linked.
        let is_alone = people::series_of(run_dir)?.is_empty();
        let stages = [embed::STAGE, cluster::STAGE, evaluate::STAGE];
        run(run_dir, if is_alone { &stages } else { &stages[..1] }, run_dirs.len() - number - 1)?;
        in_series.extend((!is_alone).then_some(run_dir));
        if !args.json {
            let name = run_dir.file_name().unwrap_or_default().display();
            eprintln!("[{}/{}] {name}: embedded", number + 1, run_dirs.len());
        }
    }
    in_series.into_iter().try_for_each(|run_dir| run(run_dir, &[cluster::STAGE, evaluate::STAGE], 0))?;
    let threads = args.threads.unwrap_or_else(run::stage::cores);
    let done = library.migrate(threads)?;
    library.commit()?;
    library.end_migration()?;
    library.write_page()?;
    report(args, &library, name, done);
    Ok(())
}

/// Runs stages again, unless they have these results.
fn again(stages: &[Stage], plan: &Plan<'_>, run_dir: &Path, screen: &mut Screen) -> Result<()> {
    let run = RunReader::open(run_dir)?;
    // The crops of removed people are gone, so other vectors restore no removed person.
    let is_pinned = run.manifest().pinned.iter().any(|stage| stage == embed::STAGE.name);
    let args = RunArgs { from: is_pinned.then(|| embed::STAGE.name.to_owned()), ..plan.args.clone() };
    let plan = Plan { args: &args, ..plan.clone() };
    if people::has_labels(&run) {
        eprintln!(
            "warning: the page of `{}` loses its metrics; run again with --labels to restore them",
            run_dir.display()
        );
    }
    for stage in stages {
        stages::run(stage.name, &plan, Path::new(""), run_dir, screen)?;
        process::check_interrupt()?;
    }
    Ok(())
}

fn report(args: &MigrateArgs, library: &Library, name: Name, done: Migrated) {
    let page = library.root().join(gallery::PAGE);
    let Migrated { people, new, gone } = done;
    if args.json {
        say(&json!({
            "event": "library_migrated",
            "library": library.root(),
            "embedder": name.as_str(),
            "people": people,
            "new": new,
            "gone": gone,
            "page": page,
        })
        .to_string());
        return;
    }
    eprintln!(
        "{} in {}, with vectors of {name}",
        counted(people, "person", "people"),
        args.library.display()
    );
    if new + gone > 0 {
        eprintln!("linking by {name} found other people within the runs: {new} are new, {gone} are gone");
    }
    eprintln!(
        "`facetrack library build` links the people of all videos by the new vectors; page of the gallery:"
    );
    say(&page.display().to_string());
}
