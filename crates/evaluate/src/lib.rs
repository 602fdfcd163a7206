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
pub mod compare;
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

use std::path::Path;

use run::Begin;
use run::manifest::Input;
use run::stage::{Job, Outcome, Stage};
use schema::Row as _;
use schema::tables::{Cut, Doubt};

use budget::Budget;
use confidence::Guess;
pub use config::Config;
pub use error::{Error, Result};
use labels::Labels;
use matching::Judged;
use tables::Tables;

/// Name, version and description of the stage.
pub const STAGE: Stage =
    Stage { name: "evaluate", version: 9, about: "Computes the metrics of a run and writes the report" };

/// What the labels say about the run.
pub(crate) struct Judgement {
    judged: Judged,
    budget: Budget,
    guesses: Vec<Guess>,
}

/// Runs the stage; `labels` is the path of a label file.
pub fn run(job: &mut Job<Config>, labels: Option<&Path>) -> Result<Outcome> {
    job.config.check()?;
    if job.run.manifest().encryption.is_some() {
        // The page is not encrypted. What the defaults are here is part of the record of the stage.
        job.config.page_pictures.get_or_insert(false);
        job.config.page_names.get_or_insert(false);
    }
    let mut inputs = Vec::new();
    let mut file = None;
    if let Some(path) = labels {
        let unreadable = |source| Error::LabelsFile { path: path.to_path_buf(), source };
        let content = std::fs::read(path).map_err(unreadable)?;
        inputs.push(Input { name: "labels".into(), sha256: hash::bytes(&content) });
        file = Some((path, content));
    }
    let mut read = tables::INPUTS.to_vec();
    // Runs of older versions do not have these tables.
    read.extend(job.run.has::<Doubt>().then_some(Doubt::TABLE.name));
    read.extend(job.run.has::<Cut>().then_some(Cut::TABLE.name));
    let mut stage = match job.begin(&read, &inputs)? {
        Begin::UpToDate(record) => return Ok(Outcome::skipped(record)),
        Begin::Run(stage) => stage,
    };
    let mut tables = Tables::read(&job.run)?;
    if job.config.page_names == Some(false) {
        tables.shown.identities.iter_mut().for_each(|identity| identity.name = None);
    }
    let shown = &tables.shown;
    let labels = file.map(|(path, content)| Labels::parse(path, &content, shown.video.frame_count));
    let labels = labels.transpose()?;
    labels.iter().flat_map(|labels| &labels.warnings).for_each(|warning| stage.warn(warning));
    // Without a labelled frame there is nothing to compare with, so there are no metrics of labels.
    let judgement = labels.as_ref().filter(|labels| !labels.lines.is_empty()).map(|labels| {
        let judged = matching::judge(labels, &shown.boxes, job.config.min_iou);
        let budget = Budget::new(&judged, &shown.leaves, &shown.linkage);
        let guesses = confidence::guesses(&shown.clusters, &matching::judged_tracks(&judged.matches));
        Judgement { judged, budget, guesses }
    });
    let mut figures = figures::unlabelled(&tables);
    if let Some(Judgement { judged, budget, guesses }) = &judgement {
        figures.extend(figures::labelled(judged));
        figures.extend(figures::budget(judged, budget));
        figures.extend(figures::confidences(guesses));
    }
    let mut warnings = Vec::new();
    if labels.is_some() && judgement.is_none() {
        warnings
            .push("the labels file has no labels, so the metrics that need labels are left out".to_owned());
    }
    let violated = tables.constraints.iter().filter(|c| c.violated).count();
    if violated > 0 {
        let pairs = if violated == 1 { "constraint is" } else { "constraints are" };
        warnings
            .push(format!("{violated} {pairs} violated, such as two faces of one frame in the same cluster"));
    }
    if judgement.as_ref().is_some_and(|j| j.judged.n_labelled > 0 && j.judged.matches.is_empty()) {
        warnings.push(
            "no labelled face matches a detected one; check that the labels belong to this video".into(),
        );
    }
    warnings.iter().for_each(|warning| stage.warn(warning));
    let video_id = &shown.video.video_id;
    let rows = figures::rows(&figures, video_id);
    stage.write(rows.clone())?;
    stage.write(labels.iter().flat_map(|labels| labels.rows(video_id)))?;
    stage.write_file("report/metrics.json", &serde_json::to_vec_pretty(&figures::json(&rows))?)?;
    for (name, value) in figures::summary(&figures) {
        stage.figure(name, value);
    }
    page::write(job, &mut stage, shown, judgement.as_ref(), &rows, &warnings)?;
    Ok(job.commit(stage)?)
}
