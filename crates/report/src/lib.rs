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
mod check;
mod confusion;
mod cooccurrence;
mod cuts;
mod dendrogram;
mod error;
pub mod faces;
mod format;
pub mod gallery;
mod histogram;
pub mod input;
mod moments;
mod palette;
mod people;
mod reliability;
mod similarity;
mod subtitles;
mod timeline;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use schema::footer::Picture;
use schema::tables::{Identity, MetricUnit};
use serde_json::{Value, json};

use catalog::Section;
use dendrogram::Leaf;
pub use error::{Error, Result};
use faces::ThumbnailBudget;
pub use input::Report;
use input::{Budget, Tables};
use moments::Moments;
pub use moments::{encoded, file_url};
use people::{About, Doubts, Pictures, Truth};
pub use subtitles::subtitles;

/// Drawings stand in front of both, as macros.
const PAGE: &str = concat!(include_str!("plots.j2"), include_str!("index.html.j2"));
const PLOT: &str = concat!(include_str!("plots.j2"), include_str!("plot.svg.j2"));
const PLOT_STYLE: &str = include_str!("plots.css");
const SCRIPT: &str = include_str!("page.js");
/// Names of the drawings. The template leaves those empty that have nothing to show.
const PLOTS: [&str; 8] = [
    "timeline",
    "tracks-per-person",
    "screen-time",
    "dendrogram",
    "co_occurrence",
    "similarity",
    "reliability",
    "confusion",
];

/// The page, and drawings by name.
#[derive(Debug)]
pub struct Rendered {
    /// `index.html`.
    pub page: String,
    /// Files of the folder `plots`, SVG.
    pub plots: Vec<(&'static str, String)>,
}

/// Returns the environment of all templates, which escapes every value.
fn environment() -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    Ok(environment)
}

impl Report<'_> {
    /// Renders the page as HTML, and its drawings as SVG.
    ///
    /// # Errors
    /// When `linkage` is no tree, or the template cannot be rendered.
    pub fn render(&self) -> Result<Rendered> {
        let environment = environment()?;
        let page = minijinja::Value::from(Serde(self.page()?));
        let style = palette::resolved(PLOT_STYLE);
        let mut plots = Vec::new();
        for name in PLOTS {
            let own = context! { plot => name, style => &style, ..page.clone() };
            plots.push((name, environment.render_str(PLOT, own)?));
        }
        plots.retain(|(_, plot)| !plot.trim().is_empty());
        Ok(Rendered { page: environment.render_str(PAGE, page)?, plots })
    }

    /// The context of the template.
    fn page(&self) -> Result<Value> {
        let tables = self.tables;
        let truth = self.labels.map(Truth::new);
        let moments = Moments::new(self.video_url);
        let mut thumbnails = ThumbnailBudget::default();
        let (main, minor) = people::order(self);
        // Pictures are limited, so those that are seen first are chosen first.
        let mut pictures = Pictures::portraits(self, &main, &mut thumbnails);
        let check = check::draw(self, truth.as_ref(), &moments, &mut thumbnails);
        pictures.add_samples(self, &main, &mut thumbnails);
        pictures.add_portraits(self, &minor, &mut thumbnails);
        pictures.add_samples(self, &minor, &mut thumbnails);
        let about =
            About { truth: truth.as_ref(), doubts: Doubts::new(&tables.doubts), pictures, moments: &moments };
        let mut left = people::MAX_LISTED;
        let cast = people::draw(self, &main, &about, &mut thumbnails, &mut left);
        let others = people::draw(self, &minor, &about, &mut thumbnails, &mut left);
        let noise = people::noise(self, &about, &mut thumbnails);
        let ids = |people: &[&Identity]| people.iter().map(|i| Some(i.cluster_id)).collect::<Vec<_>>();
        let mut rows = ids(&main);
        rows.extend(tables.clusters.iter().any(|c| c.cluster_id.is_none()).then_some(None));
        let names: Vec<(i64, String)> = tables.identities.iter().map(|i| (i.cluster_id, i.label())).collect();
        let colours = tables.colours();
        let confusion = |labels| confusion::draw(labels, &|id| tables.name(id), &colours);
        let warning = |(stage, message): (&str, &String)| json!({ "stage": stage, "message": message });
        let warnings = self.stages.iter().flat_map(|stage| stage.warnings.iter().map(|w| (stage.name, w)));
        let stage = |stage: &input::Stage<'_>| json!({ "name": stage.name, "producer": stage.producer, "config": settings(stage.config) });
        Ok(json!({
            "run_id": self.run_id,
            "file_name": tables.video.file_name,
            "video_url": self.video_url,
            "media_source": moments.source,
            "lede": self.lede(),
            "facts": self.facts(),
            "warnings": warnings.map(warning).collect::<Vec<_>>(),
            "main": cast,
            "minor": others,
            "noise": noise,
            "timeline": timeline::draw(tables, &moments, &rows),
            "minor_timeline": timeline::draw(tables, &moments, &ids(&minor)),
            "histograms": histogram::draw(tables),
            "dendrogram": dendrogram::draw(&self.leaves(), &tables.linkage, self.cut, self.forbidden_above, &colours)?,
            "linking": cuts::linking(self),
            "cuts": cuts::draw(self),
            "co_occurrence": cooccurrence::draw(tables, &names),
            "similarity": similarity::draw(&tables.calibration),
            "reliability": reliability::draw(self.reliability),
            "check": check,
            "budget": self.budget.as_ref().map(budget_rows).unwrap_or_default(),
            "confusion": self.labels.map(confusion),
            "labelled": self.figure_rows(Section::Labels),
            "tracking": self.figure_rows(Section::Tracking),
            "details": self.figure_rows(Section::Details),
            "budget_figures": self.figure_rows(Section::Budget),
            "unlabelled": self.figure_rows(Section::Unlabelled),
            "stages": self.stages.iter().map(stage).collect::<Vec<_>>(),
            "pictures_left_out": thumbnails.left_out,
            "style": format!("{}{}{PLOT_STYLE}", palette::style(), include_str!("style.css")),
            "script": SCRIPT,
            "script_hash": source_hash(SCRIPT),
        }))
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
        let Tables { video, tracks, identities, .. } = self.tables;
        let length = format::length(video.duration_secs);
        let Some(first) = identities.iter().max_by(|a, b| a.screen_secs.total_cmp(&b.screen_secs)) else {
            return if tracks.is_empty() {
                format!("No face was found in {length} of video.")
            } else {
                let faces = format::counted(tracks.len(), "face track was", "face tracks were");
                format!("{faces} found in {length} of video, but none was assigned to a person.")
            };
        };
        let (name, time) = (first.label(), format::length(first.screen_secs));
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

    fn facts(&self) -> Vec<Value> {
        let Tables { video, shots, tracks, identities, clusters, .. } = self.tables;
        let rate = video.frame_count as f64 / video.duration_secs.max(1e-3);
        let noise = clusters.iter().filter(|c| c.is_noise).count();
        let frames = format::count(usize::try_from(video.frame_count).unwrap_or(0));
        let fact =
            |label, value: String, note: String| json!({ "label": label, "value": value, "note": note });
        vec![
            fact("People", format::count(identities.len()), String::new()),
            fact("Tracks", format::count(tracks.len()), format!("{} not sorted", format::count(noise))),
            fact("Shots", format::count(shots.len()), String::new()),
            fact(
                "Length",
                format::length(video.duration_secs),
                format!("{frames} frames, {} per second", format::rate(rate)),
            ),
            fact("Picture", format::size(video.width, video.height), self.about_picture()),
        ]
    }

    /// The codec, and what `detect-track` found of the picture: a part of the frame, and a turn.
    fn about_picture(&self) -> String {
        let Tables { video, picture, .. } = self.tables;
        let mut about = video.codec.clone();
        let Some(Picture { x_min, y_min, x_max, y_max, turn_degrees }) = *picture else { return about };
        let (width, height) = (x_max.saturating_sub(x_min), y_max.saturating_sub(y_min));
        if (width, height) != (video.width, video.height) {
            about += &format!(", without bars {}", format::size(width, height));
        }
        if turn_degrees != 0 {
            about += &format!(", faces upright after a turn by {turn_degrees}° clockwise");
        }
        about
    }

    /// Figures of a section, the most telling first.
    fn figure_rows(&self, section: Section) -> Vec<Value> {
        let explained = catalog::CATALOG.iter().filter(|e| e.section == section);
        let rows = explained.filter_map(|explained| {
            let [by_track, by_frame, overall] = [MetricUnit::Track, MetricUnit::Frame, MetricUnit::Video]
                .map(|unit| self.counted(&explained.name, unit));
            let is_there = by_track.is_some() || by_frame.is_some() || overall.is_some();
            let row = || {
                json!({ "metric": explained, "by_track": by_track, "by_frame": by_frame, "overall": overall })
            };
            is_there.then(row)
        });
        rows.collect()
    }

    /// A value and what it is over. The interval is empty when it was not estimated, `n` for plain counts,
    /// where it would repeat the value.
    fn counted(&self, name: &str, unit: MetricUnit) -> Option<Value> {
        let figure = self.figures.iter().find(|f| f.name == name && f.unit == unit)?;
        let is_count = figure.value == figure.n as f64;
        let n = if is_count { String::new() } else { format::count(usize::try_from(figure.n).unwrap_or(0)) };
        let interval = match (figure.ci_low, figure.ci_high) {
            (Some(low), Some(high)) if low < high => {
                format!("{}–{}", format::figure(low), format::figure(high))
            }
            _ => String::new(),
        };
        Some(json!({ "value": format::figure(figure.value), "interval": interval, "n": n }))
    }
}

/// The cost of each stage; the first row is the identity F1 that was reached.
fn budget_rows(budget: &Budget) -> Vec<Value> {
    const COSTS: [(&str, &str); 4] = [
        ("Loss by detection", "missed and false faces"),
        ("Loss by tracking", "tracks that show two people"),
        ("Loss by embeddings", "errors that no cut of the dendrogram can repair"),
        ("Loss by the cut", "difference to the best cut; below zero if the result is better than every cut"),
    ];
    let row = |stage: usize, title, value: f64, what| {
        json!({
            "stage": stage, "title": title, "what": what,
            "points": format!("{:.1}", value * 100.0).replace('-', "\u{2212}"),
            "width": format!("{:.2}%", value.max(0.0) * 100.0),
        })
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

/// Keys and values of a configuration; those of a section under `section.key`.
fn settings(config: &Value) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (key, value) in config.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => {
                lines.extend(
                    settings(value).into_iter().map(|(inner, text)| (format!("{key}.{inner}"), text)),
                );
            }
            Value::String(text) => lines.push((key.clone(), text.clone())),
            other => lines.push((key.clone(), other.to_string())),
        }
    }
    lines
}
