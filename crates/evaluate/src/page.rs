//! The page of a run: hands what this stage found to the crate `report`, and writes what comes back.

use std::collections::BTreeMap;

use report::faces::Faces;
use report::input::{self, Comparison};
use report::{Rendered, Report};
use run::stage::{Job, Progress as _};
use run::{RunDir, StageRun};
use schema::io::PRODUCER;
use schema::tables::Metric;

use crate::Judgement;
use crate::confidence;
use crate::config::Config;
use crate::error::Result;
use crate::matching::{Judged, judged_tracks};

/// Writes page, drawings and subtitles; `rows` and `warnings` are those of this stage.
pub(crate) fn write(
    job: &mut Job<Config>,
    stage: &mut StageRun,
    tables: &input::Tables,
    judgement: Option<&Judgement>,
    rows: &[Metric],
    warnings: &[String],
) -> Result<()> {
    stage.write_file("report/boxes.ass", report::subtitles(tables).as_bytes())?;
    let Config { samples_per_identity, thumbnail_px, .. } = job.config;
    let video_url = video_url(job.config.video_url.as_deref(), &job.run)?;
    let reporter = &mut job.reporter;
    let progress = |done, total| reporter.advance(done, total, "crops");
    let faces = match job.config.page_pictures {
        Some(false) => Faces::default(),
        _ => Faces::read(job.run.open_table()?, tables, samples_per_identity, thumbnail_px, progress)?,
    };
    let manifest = job.run.manifest();
    // The record of this stage itself is about to be replaced.
    let earlier = manifest.stages.iter().filter(|record| record.stage != crate::STAGE.name);
    let mut stages: Vec<_> = earlier
        .map(|record| input::Stage {
            name: &record.stage,
            producer: &record.producer,
            config: &record.config,
            warnings: &record.warnings,
        })
        .collect();
    let config = serde_json::to_value(&job.config)?;
    stages.push(input::Stage { name: crate::STAGE.name, producer: PRODUCER, config: &config, warnings });
    let linking = |name: &str| manifest.stage("cluster")?.figures.get(name)?.as_f64();
    let mut labels = judgement.map(|judgement| comparison(&judgement.judged));
    if let Some(labels) = labels.as_mut().filter(|_| job.config.page_names == Some(false)) {
        labels.people = (1..=labels.people.len()).map(|number| format!("Label {number}")).collect();
    }
    let budget = judgement.map(|Judgement { budget, .. }| input::Budget {
        reached: budget.found,
        costs: budget.costs().map(|(_, cost)| cost),
    });
    let reliability = judgement.map(|judgement| confidence::bins(&judgement.guesses)).unwrap_or_default();
    let report = Report {
        run_id: &manifest.run_id,
        tables,
        faces: &faces,
        labels: labels.as_ref(),
        budget,
        reliability: &reliability,
        figures: rows,
        stages: &stages,
        video_url: video_url.as_deref(),
        cut: linking("threshold"),
        forbidden_above: linking("forbidden_above"),
        samples_per_identity,
    };
    let Rendered { page, plots } = report.render()?;
    stage.write_file(run::PAGE, page.as_bytes())?;
    for (name, plot) in plots {
        stage.write_file(&format!("report/plots/{name}.svg"), plot.as_bytes())?;
    }
    Ok(())
}

/// The address of the video: the setting, with the name of the file added to a folder; without the setting, that of the
/// file in the manifest. `None` for an empty setting, and for a path that is not absolute.
fn video_url(setting: Option<&str>, run: &RunDir) -> Result<Option<String>> {
    let path = &run.video_file()?.path;
    let name = path.rsplit('/').next().unwrap_or_default();
    Ok(match setting {
        None => report::file_url(path),
        Some("") => None,
        Some(folder) if folder.ends_with('/') => Some(format!("{folder}{}", report::encoded(name))),
        Some(url) => Some(url.to_owned()),
    })
}

fn comparison(judged: &Judged) -> Comparison {
    let mut boxes: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
    for m in &judged.matches {
        boxes.entry(m.cluster_id).or_insert_with(|| vec![0; judged.people.len()])[m.person] += 1;
    }
    Comparison {
        people: judged.people.clone(),
        boxes,
        false_boxes: judged.false_boxes.clone(),
        missed: judged.missed.clone(),
        tracks: judged_tracks(&judged.matches),
    }
}
