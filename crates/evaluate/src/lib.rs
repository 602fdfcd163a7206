//! Stage 5, `evaluate`: the metrics of a run, and the report.
//!
//! It reads every table of the run, and labels when there are any, and writes
//!
//! * `metrics`: every figure, explained in [`report::catalog`]; the same in `report/metrics.json`;
//! * `labels`: the ground truth it was given, no rows without;
//! * `report/index.html`: one file that opens from disk, with every picture inside;
//! * `report/plots/*.svg`: its drawings;
//! * `report/boxes.ass`: subtitles that draw boxes over the video.
//!
//! **Architecture invariant:** this is the only stage that sees labels, and nothing reads what it
//! writes: no result can depend on the truth.

pub mod budget;
pub mod cohesion;
pub mod confidence;
pub mod config;
pub mod error;
pub mod figures;
pub mod labels;
pub mod matching;
pub mod metrics;
mod page;
pub mod resample;
pub mod tables;
pub mod tracking;

use std::path::{Path, PathBuf};

use run::manifest::Input;
use run::stage::{Job, Outcome, Stage};
use run::{Begin, StageRun};
use schema::tables::Metric;

use budget::Budget;
use confidence::Guess;
pub use config::Config;
pub use error::{Error, Result};
use figures::Figure;
use labels::Labels;
use matching::Judged;
use tables::Tables;

/// Name, version and description of the stage.
pub const STAGE: Stage =
    Stage { name: "evaluate", version: 4, about: "Computes the metrics of a run and writes the report" };

/// A label file as it is on disk.
struct LabelFile {
    path: PathBuf,
    content: Vec<u8>,
}

impl LabelFile {
    fn read(path: &Path) -> Result<Self> {
        let path = path.to_path_buf();
        match std::fs::read(&path) {
            Ok(content) => Ok(Self { path, content }),
            Err(source) => Err(Error::LabelsFile { path, source }),
        }
    }

    fn input(&self) -> Input {
        Input { name: "labels".into(), sha256: hash::bytes(&self.content) }
    }
}

/// Runs the stage; `labels` is the path of a label file.
pub fn run(job: &mut Job<Config>, labels: Option<&Path>) -> Result<Outcome> {
    job.config.check()?;
    let file = labels.map(LabelFile::read).transpose()?;
    let inputs: Vec<Input> = file.iter().map(LabelFile::input).collect();
    let mut stage = match job.begin(&tables::INPUTS, &inputs)? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let tables = Tables::read(&job.run)?;
    let labels = match &file {
        Some(file) => Some(Labels::parse(&file.path, &file.content, tables.video.frame_count)?),
        None => None,
    };
    let judged = labels.as_ref().map(|labels| matching::judge(labels, &tables.found, job.config.min_iou));
    let budget = judged.as_ref().map(|judged| Budget::new(judged, &tables.leaves(), &tables.linkage));
    let guesses = judged.as_ref().map(|judged| guesses(&tables, judged)).unwrap_or_default();
    let mut figures = figures::unlabelled(&tables);
    figures.extend(judged.iter().flat_map(figures::labelled));
    figures.extend(judged.iter().zip(&budget).flat_map(|(judged, budget)| figures::budget(judged, budget)));
    figures.extend(figures::confidences(&guesses));
    let warnings = warnings(&tables, judged.as_ref());
    warnings.iter().for_each(|warning| stage.warn(warning));
    let rows = figures::rows(&figures, &tables.video.video_id);
    write_figures(&mut stage, &tables, labels.as_ref(), &figures, &rows)?;
    let found = page::Found {
        tables: &tables,
        judged: judged.as_ref(),
        budget: budget.as_ref(),
        guesses: &guesses,
        rows: &rows,
        warnings: &warnings,
    };
    page::write(job, &mut stage, &found)?;
    Ok(job.commit(stage)?)
}

/// Warnings about the result.
fn warnings(tables: &Tables, judged: Option<&Judged>) -> Vec<String> {
    let mut warnings = Vec::new();
    let violated = tables.constraints.iter().filter(|c| c.violated).count();
    if violated > 0 {
        let pairs = if violated == 1 { "constraint is" } else { "constraints are" };
        warnings
            .push(format!("{violated} {pairs} violated, such as two faces of one frame in the same cluster"));
    }
    if judged.is_some_and(|j| j.n_labelled > 0 && j.matches.is_empty()) {
        warnings.push(
            "no labelled face matches a detected one; check that the labels belong to this video".into(),
        );
    }
    warnings
}

fn write_figures(
    stage: &mut StageRun,
    tables: &Tables,
    labels: Option<&Labels>,
    figures: &[Figure],
    rows: &[Metric],
) -> Result<()> {
    let video_id = &tables.video.video_id;
    let json = serde_json::to_vec_pretty(&figures::json(rows))?;
    stage.write(rows.to_vec())?;
    stage.write(labels.iter().flat_map(|labels| labels.rows(video_id)))?;
    stage.write_file("report/metrics.json", &json)?;
    for (name, value) in figures::summary(figures) {
        stage.figure(name, value);
    }
    Ok(())
}

fn guesses(tables: &Tables, judged: &Judged) -> Vec<Guess> {
    confidence::guesses(&tables.clusters, &matching::judged_tracks(&judged.matches))
}
