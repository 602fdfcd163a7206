//! `report/index.html`: one file that opens from disk, without network and without scripts.
//!
//! Rust decides what stands on the page and brings it into words and coordinates; the template
//! only places it. Everything is escaped: file names and labels come from strangers.

pub mod confusion;
pub mod dendrogram;
pub mod faces;
pub mod histogram;
pub mod palette;
pub mod people;
pub mod timeline;
pub mod words;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use schema::manifest::StageRecord;
use schema::tables::MetricUnit;
use serde::Serialize;

use crate::catalog::{self, Section};
use crate::config::Config;
use crate::error::Result;
use crate::figures::Figure;
use crate::matching::Judged;
use crate::tables::Tables;
use confusion::Confusion;
use dendrogram::Dendrogram;
use faces::{Album, Faces};
use histogram::Histogram;
use people::{Noise, Person, Truth};
use timeline::Timeline;

const TEMPLATE: &str = include_str!("index.html.j2");

/// Everything the page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Name of the run.
    pub run_id: &'a str,
    /// The run's tables.
    pub tables: &'a Tables,
    /// The run's faces.
    pub faces: &'a Faces,
    /// The comparison with labels, when there are any.
    pub judged: Option<&'a Judged>,
    /// Every figure.
    pub figures: &'a [Figure],
    /// What the manifest says of the stages before this one.
    pub earlier: &'a [&'a StageRecord],
    /// Warnings of this stage.
    pub own: &'a [String],
    /// Configuration of this stage.
    pub config: &'a Config,
}

/// What the template sees.
#[derive(Debug, Serialize)]
struct Page {
    run_id: String,
    file_name: String,
    lede: String,
    facts: Vec<Fact>,
    warnings: Vec<Warning>,
    people: Vec<Person>,
    noise: Option<Noise>,
    timeline: Timeline,
    histograms: Vec<Histogram>,
    dendrogram: Option<Dendrogram>,
    confusion: Option<Confusion>,
    labelled: Vec<FigureRow>,
    tracking: Vec<FigureRow>,
    details: Vec<FigureRow>,
    unlabelled: Vec<FigureRow>,
    stages: Vec<StageRow>,
    pictures_left_out: usize,
}

/// A fact of the summary.
#[derive(Debug, Serialize)]
struct Fact {
    label: &'static str,
    value: String,
    note: String,
}

#[derive(Debug, Serialize)]
struct Warning {
    stage: String,
    message: String,
}

/// A figure with its explanation, counted in one or more ways.
#[derive(Debug, Serialize)]
struct FigureRow {
    name: &'static str,
    title: &'static str,
    by_track: Option<Counted>,
    by_frame: Option<Counted>,
    overall: Option<Counted>,
    formula: &'static str,
    range: &'static str,
    hides: &'static str,
    source: &'static str,
}

/// A value and what it is over.
#[derive(Debug, Serialize)]
struct Counted {
    value: String,
    /// Empty for plain counts, where it would repeat the value.
    n: String,
}

#[derive(Debug, Serialize)]
struct StageRow {
    name: String,
    producer: String,
    config: Vec<(String, String)>,
}

impl Report<'_> {
    /// The page as HTML.
    pub fn render(&self) -> Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        Ok(environment.render_str(TEMPLATE, Value::from(Serde(self.page()?)))?)
    }

    fn page(&self) -> Result<Page> {
        let truth = self.judged.map(Truth::new);
        let mut album = Album::default();
        let people = people::draw(self, truth.as_ref(), &mut album);
        let noise = people::noise(self, truth.as_ref(), &mut album);
        let names: Vec<(i64, String)> =
            self.tables.identities.iter().map(|i| (i.cluster_id, people::name(i))).collect();
        let confusion = truth.as_ref().map(|truth| truth.confusion(&names));
        Ok(Page {
            run_id: self.run_id.to_owned(),
            file_name: self.tables.video.file_name.clone(),
            lede: self.lede(),
            facts: self.facts(),
            warnings: self.warnings(),
            people,
            noise,
            timeline: timeline::draw(self.tables, &names),
            histograms: histogram::draw(self.tables),
            dendrogram: self.dendrogram()?,
            confusion,
            labelled: self.figure_rows(Section::Labels),
            tracking: self.figure_rows(Section::Tracking),
            details: self.figure_rows(Section::Details),
            unlabelled: self.figure_rows(Section::Unlabelled),
            stages: self.stages()?,
            pictures_left_out: album.left_out(),
        })
    }

    /// The tree, cut where the manifest says that `cluster` did.
    fn dendrogram(&self) -> Result<Option<dendrogram::Dendrogram>> {
        let cluster = self.earlier.iter().find(|record| record.stage == "cluster");
        let figure = |name: &str| cluster?.figures.get(name)?.as_f64();
        let Tables { linkage, .. } = self.tables;
        dendrogram::draw(&self.tables.leaves(), linkage, figure("threshold"), figure("forbidden_above"))
    }

    fn lede(&self) -> String {
        let Tables { video, tracks, identities, .. } = self.tables;
        let length = words::length(video.duration_secs);
        let Some(first) = identities.iter().max_by(|a, b| a.screen_secs.total_cmp(&b.screen_secs)) else {
            return if tracks.is_empty() {
                format!("No face was found in {length} of video.")
            } else {
                let faces = words::counted(tracks.len(), "track of a face was", "tracks of faces were");
                format!("{faces} found in {length} of video, but none was linked to a person.")
            };
        };
        let (name, time) = (people::name(first), words::length(first.screen_secs));
        let share = words::percent(first.screen_secs / video.duration_secs.max(1e-3));
        match identities.len() {
            1 => format!("One person in {length} of video: {name} is on screen for {time}, {share} of it."),
            n => format!(
                "{} people in {length} of video. {name} is on screen longest: {time}, {share} of it.",
                words::count(n)
            ),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let Tables { video, shots, tracks, identities, clusters, .. } = self.tables;
        let rate = video.frame_count as f64 / video.duration_secs.max(1e-3);
        let noise = clusters.iter().filter(|c| c.is_noise).count();
        let frames = words::count(usize::try_from(video.frame_count).unwrap_or(0));
        let fact = |label, value, note| Fact { label, value, note };
        vec![
            fact("People", words::count(identities.len()), String::new()),
            fact("Tracks", words::count(tracks.len()), format!("{} linked to nobody", words::count(noise))),
            fact("Shots", words::count(shots.len()), String::new()),
            fact(
                "Length",
                words::length(video.duration_secs),
                format!("{frames} frames, {} a second", words::rate(rate)),
            ),
            fact("Picture", format!("{}\u{a0}×\u{a0}{}", video.width, video.height), video.codec.clone()),
        ]
    }

    fn warnings(&self) -> Vec<Warning> {
        let warning =
            |stage: &str, message: &String| Warning { stage: stage.into(), message: message.clone() };
        let earlier = self.earlier.iter().flat_map(|r| r.warnings.iter().map(|m| warning(&r.stage, m)));
        earlier.chain(self.own.iter().map(|m| warning(crate::STAGE.name, m))).collect()
    }

    /// Figures of a section, the most telling first.
    fn figure_rows(&self, section: Section) -> Vec<FigureRow> {
        let explained = catalog::CATALOG.iter().filter(|e| e.section == section);
        let rows = explained.map(|e| FigureRow {
            name: e.name,
            title: e.title,
            by_track: self.counted(e.name, MetricUnit::Track),
            by_frame: self.counted(e.name, MetricUnit::Frame),
            overall: self.counted(e.name, MetricUnit::Video),
            formula: e.formula,
            range: e.range,
            hides: e.hides,
            source: e.source,
        });
        rows.filter(|r| r.by_track.is_some() || r.by_frame.is_some() || r.overall.is_some()).collect()
    }

    fn counted(&self, name: &str, unit: MetricUnit) -> Option<Counted> {
        let figure = self.figures.iter().find(|f| f.name == name && f.unit == unit)?;
        let is_count = figure.value == figure.n as f64;
        let n = if is_count { String::new() } else { words::count(figure.n) };
        Some(Counted { value: words::figure(figure.value), n })
    }

    fn stages(&self) -> Result<Vec<StageRow>> {
        let own = serde_json::to_value(self.config)?;
        let earlier = self.earlier.iter().map(|r| (r.stage.as_str(), r.producer.as_str(), &r.config));
        let own = std::iter::once((crate::STAGE.name, schema::io::PRODUCER, &own));
        let row = |(name, producer, config): (&str, &str, &serde_json::Value)| StageRow {
            name: name.to_owned(),
            producer: producer.to_owned(),
            config: settings(config),
        };
        Ok(earlier.chain(own).map(row).collect())
    }
}

fn settings(config: &serde_json::Value) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Object(_) => {
                lines.extend(
                    settings(value).into_iter().map(|(inner, text)| (format!("{key}.{inner}"), text)),
                );
            }
            serde_json::Value::String(text) => lines.push((key.clone(), text.clone())),
            other => lines.push((key.clone(), other.to_string())),
        }
    }
    lines
}
