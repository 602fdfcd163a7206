//! How the new labels are distributed: tracks and screen time of every cluster, as columns.

use schema::tables::Identity;
use serde_json::{Value, json};

use crate::format;
use crate::input::Tables;
use crate::palette::Colour;

/// Most columns; the smallest clusters are left out beyond it.
const MAX_COLUMNS: usize = 80;
/// Height of the tallest column, CSS pixels.
const FULL_PX: f64 = 120.0;
/// Room for the numbers on top, CSS pixels.
const TOP_PX: f64 = 18.0;
/// With more columns than this, numbers on top of them would run into each other.
const MAX_NUMBERED: usize = 16;
/// With more columns than this, so would those below them.
const MAX_NAMED: usize = 36;

/// A cluster (`None`: noise), its size, and its size as text.
type Size = (Option<i64>, f64, String);

/// Tracks per cluster and screen time per cluster, noise last.
pub(crate) fn draw(tables: &Tables) -> [Value; 2] {
    let colours = tables.colours();
    let noise = tables.clusters.iter().filter(|c| c.is_noise).count() as f64;
    let tracks = tables.identities.iter().map(|i| (Some(i.cluster_id), i.n_tracks as f64));
    let tracks = tracks.chain((noise > 0.0).then_some((None, noise)));
    let tracks = tracks.map(|(cluster_id, n)| (cluster_id, n, format::figure(n)));
    let secs = tables.identities.iter();
    let secs = secs.map(|i| (Some(i.cluster_id), i.screen_secs, format::length(i.screen_secs)));
    [
        chart("Tracks per person", &tracks.collect::<Vec<_>>(), &colours),
        chart("Screen time per person", &secs.collect::<Vec<_>>(), &colours),
    ]
}

/// One chart. Horizontal places are in percent of its width, vertical ones in pixels.
fn chart(title: &str, sizes: &[Size], colours: &dyn Fn(Option<i64>) -> &'static Colour) -> Value {
    let shown = &sizes[..sizes.len().min(MAX_COLUMNS)];
    let largest = sizes.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
    // Few columns should not become slabs.
    let step = 100.0 / shown.len().max(6) as f64;
    let column = |(at, (cluster_id, value, text)): (usize, &Size)| {
        let height = if largest > 0.0 { (value / largest * FULL_PX).max(1.0) } else { 1.0 };
        let y = TOP_PX + FULL_PX - height;
        let short = cluster_id.map_or("–".into(), |id| Identity::number(id).to_string());
        let who = cluster_id.map_or("Not sorted".into(), Identity::numbered);
        json!({
            "x": format!("{:.3}%", (at as f64 + 0.14) * step),
            "width": format!("{:.3}%", step * 0.72),
            "middle": format!("{:.3}%", (at as f64 + 0.5) * step),
            "y": format!("{y:.1}"),
            "height": format!("{height:.1}"),
            "top": format!("{:.1}", y - 5.0),
            "class": colours(*cluster_id).0,
            "title": format!("{who}: {text}"),
            "number": (shown.len() <= MAX_NUMBERED).then_some(text),
            "name": (shown.len() <= MAX_NAMED).then_some(short),
        })
    };
    json!({
        "title": title,
        "columns": shown.iter().enumerate().map(column).collect::<Vec<_>>(),
        "hidden": sizes.len() - shown.len(),
        "base": FULL_PX + TOP_PX,
    })
}
