//! How the new labels are distributed: tracks and screen time of every cluster, as columns.

use serde::Serialize;

use crate::input::Tables;
use crate::{format, palette};

/// Most columns; the smallest clusters are left out beyond it.
const MAX_COLUMNS: usize = 80;
/// Height of the tallest column, CSS pixels.
const FULL_PX: f64 = 120.0;
/// With more columns than this, numbers on top of them would run into each other.
const MAX_NUMBERED: usize = 16;
/// With more columns than this, so would those below them.
const MAX_NAMED: usize = 36;

/// One chart. Horizontal places are in percent of its width, vertical ones in pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Histogram {
    title: &'static str,
    columns: Vec<Column>,
    /// Clusters for which there was no column.
    hidden: usize,
    base: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Column {
    x: String,
    width: String,
    middle: String,
    y: String,
    height: String,
    /// Where the number on top stands.
    top: String,
    class: String,
    title: String,
    number: Option<String>,
    name: Option<String>,
}

/// A cluster and its size, before it is drawn.
struct Size {
    cluster_id: Option<i64>,
    value: f64,
    text: String,
}

/// Tracks per cluster and screen time per cluster, noise last.
pub(crate) fn draw(tables: &Tables<'_>) -> Vec<Histogram> {
    let noise: Vec<_> = tables.clusters.iter().filter(|c| c.is_noise).collect();
    let tracks = tables.identities.iter().map(|i| size(Some(i.cluster_id), i.n_tracks as f64));
    let tracks = tracks.chain((!noise.is_empty()).then(|| size(None, noise.len() as f64)));
    let secs = tables.identities.iter().map(|i| Size {
        cluster_id: Some(i.cluster_id),
        value: i.screen_secs,
        text: format::length(i.screen_secs),
    });
    vec![chart("Tracks per person", tracks.collect()), chart("Screen time per person", secs.collect())]
}

fn size(cluster_id: Option<i64>, value: f64) -> Size {
    Size { cluster_id, value, text: format::figure(value) }
}

fn chart(title: &'static str, sizes: Vec<Size>) -> Histogram {
    let shown = sizes.len().min(MAX_COLUMNS);
    let largest = sizes.iter().map(|s| s.value).fold(0.0, f64::max);
    let column = |(at, size): (usize, &Size)| column(at, shown, size, largest);
    Histogram {
        title,
        columns: sizes.iter().take(MAX_COLUMNS).enumerate().map(column).collect(),
        hidden: sizes.len() - shown,
        base: FULL_PX + TOP_PX,
    }
}

/// Room for the numbers on top, CSS pixels.
const TOP_PX: f64 = 18.0;

fn column(at: usize, shown: usize, size: &Size, largest: f64) -> Column {
    // Few columns should not become slabs.
    let step = 100.0 / shown.max(6) as f64;
    let height = if largest > 0.0 { (size.value / largest * FULL_PX).max(1.0) } else { 1.0 };
    let y = TOP_PX + FULL_PX - height;
    let short = size.cluster_id.map_or("noise".into(), |id| id.to_string());
    let who = size.cluster_id.map_or("Noise".into(), |id| format!("Cluster {id}"));
    Column {
        x: format!("{:.3}%", (at as f64 + 0.14) * step),
        width: format!("{:.3}%", step * 0.72),
        middle: format!("{:.3}%", (at as f64 + 0.5) * step),
        y: format!("{y:.1}"),
        height: format!("{height:.1}"),
        top: format!("{:.1}", y - 5.0),
        class: palette::class(size.cluster_id),
        title: format!("{who}: {}", size.text),
        number: (shown <= MAX_NUMBERED).then(|| size.text.clone()),
        name: (shown <= MAX_NAMED).then_some(short),
    }
}
