//! Whether confidences can be believed: what was said against what is true.

use serde::Serialize;

use super::words;
use crate::confidence::{self, Guess};

/// Edge of the square drawing and of the axes' room, user units.
const SIZE: f64 = 300.0;
const MARGIN: f64 = 34.0;

/// The drawing, in user units of its view box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
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

/// Draws the bins; `None` without guesses.
pub fn draw(guesses: &[Guess]) -> Option<Reliability> {
    let bins = confidence::bins(guesses);
    let place = |share: f64| MARGIN + share * (SIZE - 2.0 * MARGIN);
    let dot = |bin: &confidence::Bin| Dot {
        x: format!("{:.1}", place(bin.said)),
        y: format!("{:.1}", SIZE - place(bin.right)),
        // An area that grows with the number of tracks, and can always be seen.
        radius: format!("{:.1}", 3.0 + 12.0 * (bin.n as f64 / guesses.len() as f64).sqrt()),
        title: format!(
            "{}: confidence {:.2}, right in {}",
            words::counted(bin.n, "track", "tracks"),
            bin.said,
            words::percent(bin.right)
        ),
    };
    let dots: Vec<Dot> = bins.iter().map(dot).collect();
    (!dots.is_empty()).then_some(Reliability { size: SIZE, low: MARGIN, high: SIZE - MARGIN, dots })
}
