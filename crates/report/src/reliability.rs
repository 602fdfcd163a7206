//! The reliability diagram: stated confidence against the share of tracks that are right.

use serde_json::{Value, json};

use crate::format;
use crate::input::ReliabilityBin;

/// Edge of the square drawing and of the axes' room, user units.
const SIZE: f64 = 300.0;
const MARGIN: f64 = 34.0;

/// Draws the bins, in user units of the view box; `None` without bins.
pub(crate) fn draw(bins: &[ReliabilityBin]) -> Option<Value> {
    let total: usize = bins.iter().map(|bin| bin.n).sum();
    let place = |share: f64| MARGIN + share * (SIZE - 2.0 * MARGIN);
    let dot = |bin: &ReliabilityBin| {
        let tracks = format::counted(bin.n, "track", "tracks");
        let correct = format::percent(bin.right);
        json!({
            "x": format!("{:.1}", place(bin.stated)),
            "y": format!("{:.1}", SIZE - place(bin.right)),
            // An area that grows with the number of tracks, and can always be seen.
            "radius": format!("{:.1}", 3.0 + 12.0 * (bin.n as f64 / total as f64).sqrt()),
            "title": format!("{tracks}: confidence {:.2}, correct in {correct}", bin.stated),
        })
    };
    let dots: Vec<_> = bins.iter().map(dot).collect();
    let drawing = || json!({ "size": SIZE, "low": MARGIN, "high": SIZE - MARGIN, "dots": dots });
    (!bins.is_empty()).then(drawing)
}
