//! The reliability diagram: stated confidence against the share of tracks that are right.

use serde::Serialize;

use crate::format;
use crate::input::ReliabilityBin;

/// Edge of the square drawing and of the axes' room, user units.
const SIZE: f64 = 300.0;
const MARGIN: f64 = 34.0;

/// The drawing, in user units of its view box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reliability {
    size: f64,
    low: f64,
    high: f64,
    dots: Vec<Dot>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Dot {
    x: String,
    y: String,
    radius: String,
    title: String,
}

/// Draws the bins; `None` without bins.
pub(crate) fn draw(bins: &[ReliabilityBin]) -> Option<Reliability> {
    let total: usize = bins.iter().map(|bin| bin.n).sum();
    let place = |share: f64| MARGIN + share * (SIZE - 2.0 * MARGIN);
    let dot = |bin: &ReliabilityBin| Dot {
        x: format!("{:.1}", place(bin.stated)),
        y: format!("{:.1}", SIZE - place(bin.right)),
        // An area that grows with the number of tracks, and can always be seen.
        radius: format!("{:.1}", 3.0 + 12.0 * (bin.n as f64 / total as f64).sqrt()),
        title: format!(
            "{}: confidence {:.2}, correct in {}",
            format::counted(bin.n, "track", "tracks"),
            bin.stated,
            format::percent(bin.right)
        ),
    };
    let dots: Vec<Dot> = bins.iter().map(dot).collect();
    (!dots.is_empty()).then_some(Reliability { size: SIZE, low: MARGIN, high: SIZE - MARGIN, dots })
}
