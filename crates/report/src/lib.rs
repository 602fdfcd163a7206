//! The page that shows who is in a video: `report/index.html`, one file that opens from disk without a
//! network; its drawings as SVG files; and subtitles that draw the boxes over the video.
//!
//! Rust decides what is on the page and turns it into text and coordinates; the template only places it.
//! Everything is escaped, because file names and labels come from strangers. The page can be read without its
//! script, which only adds comfort. The content security policy names the script by its hash, so that the
//! browser runs no other.
//!
//! **Architecture invariant:** this crate imports no stage and computes no figure: it takes the plain structs
//! of [`input`].

pub mod catalog;
mod confusion;
mod cooccurrence;
mod dendrogram;
mod error;
pub mod faces;
mod format;
mod histogram;
pub mod input;
mod palette;
mod people;
mod recipe;
mod reliability;
mod review;
mod similarity;
mod subtitles;
mod timeline;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use schema::tables::MetricUnit;
use serde::Serialize;

use catalog::Section;
use confusion::Confusion;
use cooccurrence::CoOccurrence;
use dendrogram::{Dendrogram, Leaf};
pub use error::{Error, Result};
use faces::ThumbnailBudget;
use histogram::Histogram;
use input::Budget;
pub use input::Report;
use people::{Noise, Person, Truth};
use recipe::Recipe;
use reliability::Reliability;
use review::Review;
use similarity::Similarity;
pub use subtitles::subtitles;
use timeline::Timeline;

/// Drawings stand in front of both, as macros.
const PAGE: &str = concat!(include_str!("plots.j2"), include_str!("index.html.j2"));
const PLOT: &str = concat!(include_str!("plots.j2"), include_str!("plot.svg.j2"));
const PLOT_STYLE: &str = include_str!("plots.css");
const SCRIPT: &str = include_str!("page.js");

/// The context of the template.
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
    co_occurrence: Option<CoOccurrence>,
    similarity: Option<Similarity>,
    reliability: Option<Reliability>,
    review: Review,
    budget: Vec<BudgetRow>,
    recipes: &'static [Recipe],
    confusion: Option<Confusion>,
    labelled: Vec<FigureRow>,
    tracking: Vec<FigureRow>,
    details: Vec<FigureRow>,
    budget_figures: Vec<FigureRow>,
    unlabelled: Vec<FigureRow>,
    stages: Vec<StageRow>,
    pictures_left_out: usize,
    style: String,
    script: &'static str,
    script_hash: String,
}

/// The cost of a stage; the first row is the identity F1 that was reached.
#[derive(Debug, Serialize)]
struct BudgetRow {
    stage: usize,
    title: &'static str,
    points: String,
    width: String,
    what: &'static str,
}

/// The page, and drawings by name.
#[derive(Debug)]
pub struct Rendered {
    /// `index.html`.
    pub page: String,
    /// Files of the folder `plots`, SVG.
    pub plots: Vec<(&'static str, String)>,
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
    /// Empty when not estimated.
    interval: String,
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
    /// Renders the page as HTML, and its drawings as SVG.
    ///
    /// # Errors
    /// When `linkage` is no tree, or the template cannot be rendered.
    pub fn render(&self) -> Result<Rendered> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        let page = self.page()?;
        let names = page.plots();
        let page = Value::from(Serde(page));
        let style = palette::resolved(PLOT_STYLE);
        let plot = |name| {
            let own = context! { plot => name, style => &style, ..page.clone() };
            Ok((name, environment.render_str(PLOT, own)?))
        };
        let plots = names.into_iter().map(plot).collect::<Result<_>>()?;
        Ok(Rendered { page: environment.render_str(PAGE, page.clone())?, plots })
    }

    fn page(&self) -> Result<Page> {
        let truth = self.labels.map(Truth::new);
        let mut thumbnails = ThumbnailBudget::default();
        let people = people::draw(self, truth.as_ref(), &mut thumbnails);
        let noise = people::noise(self, truth.as_ref(), &mut thumbnails);
        let names: Vec<(i64, String)> =
            self.tables.identities.iter().map(|i| (i.cluster_id, people::name(i))).collect();
        let review = review::draw(self, truth.as_ref(), &mut thumbnails)?;
        let confusion = truth.as_ref().map(|truth| truth.confusion(&names));
        Ok(Page {
            run_id: self.run_id.to_owned(),
            file_name: self.tables.video.file_name.clone(),
            lede: self.lede(),
            facts: self.facts(),
            warnings: self.warnings(),
            people,
            noise,
            timeline: timeline::draw(&self.tables, &names),
            histograms: histogram::draw(&self.tables),
            dendrogram: dendrogram::draw(
                &self.leaves(),
                self.tables.linkage,
                self.cut,
                self.forbidden_above,
            )?,
            co_occurrence: cooccurrence::draw(&self.tables, &names),
            similarity: similarity::draw(self.tables.calibration),
            reliability: reliability::draw(self.reliability),
            review,
            budget: self.budget.as_ref().map(budget_rows).unwrap_or_default(),
            recipes: &recipe::RECIPES,
            confusion,
            labelled: self.figure_rows(Section::Labels),
            tracking: self.figure_rows(Section::Tracking),
            details: self.figure_rows(Section::Details),
            budget_figures: self.figure_rows(Section::Budget),
            unlabelled: self.figure_rows(Section::Unlabelled),
            stages: self.stage_rows(),
            pictures_left_out: thumbnails.left_out(),
            style: [&palette::style(), include_str!("style.css"), PLOT_STYLE].concat(),
            script: SCRIPT,
            script_hash: source_hash(SCRIPT),
        })
    }

    /// Leaves of the tree of merges.
    fn leaves(&self) -> Vec<Leaf> {
        let clusters = self.tables.clusters.iter();
        let cluster_of: BTreeMap<i64, Option<i64>> = clusters.map(|c| (c.track_id, c.cluster_id)).collect();
        let leaf = |track_id: i64| Leaf {
            track_id,
            cluster_id: cluster_of.get(&track_id).copied().flatten(),
            quality: self.faces.best(track_id).map_or(0.0, |face| face.quality),
        };
        self.tables.leaves.iter().copied().map(leaf).collect()
    }

    fn lede(&self) -> String {
        let input::Tables { video, tracks, identities, .. } = self.tables;
        let length = format::length(video.duration_secs);
        let Some(first) = identities.iter().max_by(|a, b| a.screen_secs.total_cmp(&b.screen_secs)) else {
            return if tracks.is_empty() {
                format!("No face was found in {length} of video.")
            } else {
                let faces = format::counted(tracks.len(), "face track was", "face tracks were");
                format!("{faces} found in {length} of video, but none was assigned to a person.")
            };
        };
        let (name, time) = (people::name(first), format::length(first.screen_secs));
        let share = format::percent(first.screen_secs / video.duration_secs.max(1e-3));
        match identities.len() {
            1 => format!(
                "One person in {length} of video: {name} is on screen for {time}, {share} of the video."
            ),
            n => format!(
                "{} people in {length} of video. {name} is on screen longest: {time}, {share} of the video.",
                format::count(n)
            ),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let input::Tables { video, shots, tracks, identities, clusters, .. } = self.tables;
        let rate = video.frame_count as f64 / video.duration_secs.max(1e-3);
        let noise = clusters.iter().filter(|c| c.is_noise).count();
        let frames = format::count(usize::try_from(video.frame_count).unwrap_or(0));
        let fact = |label, value, note| Fact { label, value, note };
        vec![
            fact("People", format::count(identities.len()), String::new()),
            fact("Tracks", format::count(tracks.len()), format!("{} left as noise", format::count(noise))),
            fact("Shots", format::count(shots.len()), String::new()),
            fact(
                "Length",
                format::length(video.duration_secs),
                format!("{frames} frames, {} per second", format::rate(rate)),
            ),
            fact("Picture", format!("{}\u{a0}×\u{a0}{}", video.width, video.height), video.codec.clone()),
        ]
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for stage in self.stages {
            warnings.extend(
                stage.warnings.iter().map(|m| Warning { stage: stage.name.to_owned(), message: m.clone() }),
            );
        }
        warnings
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
        let n = if is_count { String::new() } else { format::count(usize::try_from(figure.n).unwrap_or(0)) };
        let interval = match (figure.ci_low, figure.ci_high) {
            (Some(low), Some(high)) if low < high => {
                format!("{}–{}", format::figure(low), format::figure(high))
            }
            _ => String::new(),
        };
        Some(Counted { value: format::figure(figure.value), interval, n })
    }

    fn stage_rows(&self) -> Vec<StageRow> {
        let row = |stage: &input::Stage<'_>| StageRow {
            name: stage.name.to_owned(),
            producer: stage.producer.to_owned(),
            config: settings(stage.config),
        };
        self.stages.iter().map(row).collect()
    }
}

impl Page {
    /// Names of the drawings that are not empty.
    fn plots(&self) -> Vec<&'static str> {
        let all = [
            ("timeline", !self.timeline.is_empty()),
            ("tracks-per-person", !self.people.is_empty()),
            ("screen-time", !self.people.is_empty()),
            ("dendrogram", self.dendrogram.is_some()),
            ("co_occurrence", self.co_occurrence.is_some()),
            ("similarity", self.similarity.is_some()),
            ("reliability", self.reliability.is_some()),
            ("confusion", self.confusion.is_some()),
        ];
        all.into_iter().filter(|(_, drawn)| *drawn).map(|(name, _)| name).collect()
    }
}

fn budget_rows(budget: &Budget) -> Vec<BudgetRow> {
    const COSTS: [(&str, &str); 4] = [
        ("Loss by detection", "missed and false faces"),
        ("Loss by tracking", "tracks that show two people"),
        ("Loss by embeddings", "errors that no cut of the dendrogram can repair"),
        ("Loss by the cut", "difference to the best cut; below zero if the result is better than every cut"),
    ];
    let row = |stage, title, value: f64, what| BudgetRow {
        stage,
        title,
        points: format!("{:.1}", value * 100.0).replace('-', "\u{2212}"),
        width: format!("{:.2}%", value.max(0.0) * 100.0),
        what,
    };
    let reached = row(0, "Reached", budget.reached, "identity F1 of this run, of 100");
    let costs = budget.costs.into_iter().zip(COSTS).enumerate().rev();
    let costs = costs.filter_map(|(at, (cost, (title, what)))| Some(row(at + 1, title, cost?, what)));
    std::iter::once(reached).chain(costs).collect()
}

/// The hash source of a script in a content security policy.
fn source_hash(script: &str) -> String {
    let hex = hash::bytes(script.as_bytes());
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap_or(0);
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    format!("sha256-{}", STANDARD.encode(bytes))
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
