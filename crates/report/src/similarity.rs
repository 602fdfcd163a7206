//! The calibration of similarities: pairs of tracks by similarity, and how likely they show one person.

use std::fmt::Write as _;

use schema::tables::Calibration;
use serde::Serialize;

use crate::format;

/// Size of the drawing, user units, and room for axes.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;
/// Columns over the whole width.
const COLUMNS: usize = 80;

/// The drawing, in user units of its view box.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Similarity {
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    base: f64,
    columns: Vec<Column>,
    /// Probability of showing one person, as the path of a line.
    curve: String,
    ticks: Vec<Tick>,
    /// Heights of the probabilities 0, ½ and 1.
    shares: Vec<Tick>,
    /// Where a pair is as likely one person as two.
    even: Option<Tick>,
    n_open: String,
    n_apart: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Column {
    x: String,
    width: String,
    open_y: String,
    open_height: String,
    apart_y: String,
    apart_height: String,
    title: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Tick {
    at: String,
    label: String,
}

/// Pairs of about one similarity.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    open: i64,
    apart: i64,
}

/// Draws the calibration; `None` when the table is empty.
pub(crate) fn draw(calibration: &[Calibration]) -> Option<Similarity> {
    let (first, last) = (calibration.first()?, calibration.last()?);
    let scale = Scale { low: first.similarity, high: last.similarity.max(first.similarity + 0.1) };
    let mut buckets = [Bucket::default(); COLUMNS];
    for bin in calibration {
        let bucket = &mut buckets[scale.column(bin.similarity)];
        bucket.open += bin.n_open;
        bucket.apart += bin.n_apart;
    }
    let most = |of: fn(&Bucket) -> i64| buckets.iter().map(of).max().unwrap_or(0).max(1) as f64;
    let (open, apart) = (most(|b| b.open), most(|b| b.apart));
    let column = |(at, bucket): (usize, &Bucket)| scale.draw(at, bucket, open, apart);
    let drawn = buckets.iter().enumerate().filter(|(_, b)| b.open + b.apart > 0);
    let total = |of: fn(&Calibration) -> i64| {
        format::count(usize::try_from(calibration.iter().map(of).sum::<i64>()).unwrap_or(0))
    };
    let even = calibration.iter().find(|bin| bin.same >= 0.5 && bin.similarity > scale.low);
    Some(Similarity {
        width: WIDTH,
        height: HEIGHT,
        left: LEFT,
        right: WIDTH - RIGHT,
        top: TOP,
        base: HEIGHT - BOTTOM,
        columns: drawn.map(column).collect(),
        curve: curve(calibration, &scale),
        ticks: scale.ticks(),
        shares: [(0.0, "0"), (0.5, "½"), (1.0, "1")]
            .map(|(share, label)| Tick { at: units(height(share)), label: label.into() })
            .to_vec(),
        even: even.map(|bin| Tick {
            at: units(scale.x(bin.similarity)),
            label: format!("probability 0.5 at {}", format::figure(bin.similarity)),
        }),
        n_open: total(|bin| bin.n_open),
        n_apart: total(|bin| bin.n_apart),
    })
}

struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    fn share(&self, similarity: f64) -> f64 {
        ((similarity - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn column(&self, similarity: f64) -> usize {
        ((self.share(similarity) * COLUMNS as f64) as usize).min(COLUMNS - 1)
    }

    fn x(&self, similarity: f64) -> f64 {
        LEFT + self.share(similarity) * (WIDTH - LEFT - RIGHT)
    }

    fn draw(&self, at: usize, bucket: &Bucket, open: f64, apart: f64) -> Column {
        let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
        // The square root shows the few pairs of one person beside the many of different people.
        let share = |count: i64, most: f64| (count as f64 / most).sqrt();
        let (open, apart) = (share(bucket.open, open), share(bucket.apart, apart));
        let middle = self.low + (at as f64 + 0.5) / COLUMNS as f64 * (self.high - self.low);
        let base = height(0.0);
        Column {
            x: units(LEFT + at as f64 * step),
            width: units(step - 1.0),
            open_y: units(height(open)),
            open_height: units(base - height(open)),
            apart_y: units(height(apart)),
            apart_height: units(base - height(apart)),
            title: format!(
                "similarity {}: {} pairs, and {} that share a frame",
                format::figure(middle),
                bucket.open,
                bucket.apart
            ),
        }
    }

    fn ticks(&self) -> Vec<Tick> {
        let step = if self.high - self.low > 0.9 { 0.2 } else { 0.1 };
        let first = (self.low / step).ceil() as i64;
        let values = (first..).map(|i| i as f64 * step).take_while(|value| *value <= self.high + 1e-9);
        let label = |value: f64| format!("{:.1}", value + 0.0).replace('-', "\u{2212}");
        values.map(|value| Tick { at: units(self.x(value)), label: label(value) }).collect()
    }
}

fn height(share: f64) -> f64 {
    let base = HEIGHT - BOTTOM;
    base - share.clamp(0.0, 1.0) * (base - TOP)
}

fn curve(calibration: &[Calibration], scale: &Scale) -> String {
    let mut path = String::new();
    for (at, bin) in calibration.iter().enumerate() {
        let step = if at == 0 { 'M' } else { 'L' };
        // Writing into a string cannot fail.
        let _ = write!(path, "{step}{:.1} {:.1}", scale.x(bin.similarity), height(bin.same));
    }
    path
}

fn units(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

    use super::*;

    fn bin(similarity: f64, n_open: i64, same: f64) -> Calibration {
        Calibration { video_id: "v".into(), bin: 0, similarity, n_open, n_apart: 1, same }
    }

    #[test]
    fn nothing_learned_is_not_drawn_and_one_bin_is() {
        assert_eq!(draw(&[]), None);
        let drawn = draw(&[bin(0.3, 4, 0.2)]).unwrap();
        assert_eq!((drawn.columns.len(), drawn.even), (1, None));
    }

    #[test]
    fn the_curve_rises_and_even_chances_are_marked() {
        let drawn = draw(&[bin(-0.2, 90, 0.0), bin(0.3, 4, 0.6), bin(0.8, 9, 1.0)]).unwrap();
        assert_eq!(drawn.curve, "M40.0 210.0L480.0 98.4L920.0 24.0");
        assert_eq!(drawn.even.unwrap().at, "480.0");
        assert_eq!(drawn.n_open, "103");
    }
}
