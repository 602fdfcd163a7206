//! The page of a run: hands what this stage found to the crate `report`, and writes what comes back.

use std::collections::BTreeMap;

use report::faces::Faces;
use report::input::{self, Comparison, LabelledTrack, ReliabilityBin};
use report::{Rendered, Report};
use run::StageRun;
use run::stage::{Job, Progress as _};
use schema::io::PRODUCER;
use schema::tables::Metric;

use crate::budget::Budget;
use crate::confidence::{self, Guess};
use crate::config::Config;
use crate::error::Result;
use crate::matching::{Group, Judged, JudgedTrack, judged_tracks};
use crate::tables::Tables;

/// Everything that this stage found.
pub(crate) struct Found<'a> {
    pub(crate) tables: &'a Tables,
    pub(crate) judged: Option<&'a Judged>,
    pub(crate) budget: Option<&'a Budget>,
    pub(crate) guesses: &'a [Guess],
    pub(crate) rows: &'a [Metric],
    pub(crate) warnings: &'a [String],
}

/// Writes page, drawings and subtitles.
pub(crate) fn write(job: &mut Job<Config>, stage: &mut StageRun, found: &Found<'_>) -> Result<()> {
    let leaves = found.tables.leaves();
    let tables = tables(found.tables, &leaves);
    stage.write_file("report/boxes.ass", report::subtitles(&tables).as_bytes())?;
    let Config { samples_per_identity, thumbnail_px, .. } = job.config;
    let reporter = &mut job.reporter;
    let progress = |done, total| reporter.advance(done, total, "crops");
    let faces = Faces::read(job.run.open_table()?, &tables, samples_per_identity, thumbnail_px, progress)?;
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
    let own = input::Stage {
        name: crate::STAGE.name,
        producer: PRODUCER,
        config: &config,
        warnings: found.warnings,
    };
    stages.push(own);
    let linking = |name: &str| manifest.stage("cluster")?.figures.get(name)?.as_f64();
    let labels = found.judged.map(comparison);
    let report = Report {
        run_id: &manifest.run_id,
        tables,
        faces: &faces,
        labels: labels.as_ref(),
        budget: found.budget.map(budget),
        reliability: &confidence::bins(found.guesses).iter().map(bin).collect::<Vec<_>>(),
        figures: found.rows,
        stages: &stages,
        cut: linking("threshold"),
        forbidden_above: linking("forbidden_above"),
        samples_per_identity,
    };
    let Rendered { page, plots } = report.render()?;
    stage.write_file("report/index.html", page.as_bytes())?;
    for (name, plot) in plots {
        stage.write_file(&format!("report/plots/{name}.svg"), plot.as_bytes())?;
    }
    Ok(())
}

fn tables<'a>(tables: &'a Tables, leaves: &'a [i64]) -> input::Tables<'a> {
    input::Tables {
        video: &tables.video,
        times: &tables.times,
        shots: &tables.shots,
        tracks: &tables.tracks,
        clusters: &tables.clusters,
        identities: &tables.identities,
        calibration: &tables.calibration,
        linkage: &tables.linkage,
        leaves,
        boxes: &tables.found,
    }
}

fn comparison(judged: &Judged) -> Comparison {
    let mut boxes: BTreeMap<Option<i64>, Vec<usize>> = BTreeMap::new();
    for m in &judged.matches {
        boxes.entry(m.cluster_id).or_insert_with(|| vec![0; judged.people.len()])[m.person] += 1;
    }
    let labelled = |track: JudgedTrack| LabelledTrack {
        track_id: track.track_id,
        cluster_id: if let Group::Cluster(cluster_id) = track.group { Some(cluster_id) } else { None },
        person: track.person,
        n_boxes: track.n_boxes,
    };
    Comparison {
        people: judged.people.clone(),
        boxes,
        false_boxes: judged.false_boxes.clone(),
        missed: judged.missed.clone(),
        tracks: judged_tracks(&judged.matches).into_iter().map(labelled).collect(),
    }
}

fn budget(budget: &Budget) -> input::Budget {
    input::Budget { reached: budget.found, costs: budget.costs().map(|(_, cost)| cost) }
}

fn bin(bin: &confidence::Bin) -> ReliabilityBin {
    ReliabilityBin { stated: bin.said, right: bin.right, n: bin.n }
}
