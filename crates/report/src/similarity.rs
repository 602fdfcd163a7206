//! The calibration of similarities: pairs of tracks by similarity, and how likely they show one person.

use schema::tables::Calibration;
use serde_json::{Value, json};

use crate::format::{self, units};

/// Size of the drawing, user units, and room for axes.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 40.0;
const RIGHT: f64 = 40.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;
/// Columns over the whole width.
const COLUMNS: usize = 80;

/// Pairs of about one similarity.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    open: i64,
    apart: i64,
}

/// Draws the calibration, in user units of the view box; `None` when the table is empty.
pub(crate) fn draw(calibration: &[Calibration]) -> Option<Value> {
    let (first, last) = (calibration.first()?, calibration.last()?);
    let low = first.similarity;
    let high = last.similarity.max(low + 0.1);
    let range = high - low;
    let share = |similarity: f64| ((similarity - low) / range).clamp(0.0, 1.0);
    let x = |similarity: f64| LEFT + share(similarity) * (WIDTH - LEFT - RIGHT);
    let mut buckets = [Bucket::default(); COLUMNS];
    for bin in calibration {
        let bucket = &mut buckets[((share(bin.similarity) * COLUMNS as f64) as usize).min(COLUMNS - 1)];
        bucket.open += bin.n_open;
        bucket.apart += bin.n_apart;
    }
    let most = |of: fn(&Bucket) -> i64| buckets.iter().map(of).max().unwrap_or(0).max(1) as f64;
    let (most_open, most_apart) = (most(|b| b.open), most(|b| b.apart));
    let step = (WIDTH - LEFT - RIGHT) / COLUMNS as f64;
    let base = height(0.0);
    let column = |(at, bucket): (usize, &Bucket)| {
        // The square root shows the few pairs of one person beside the many of different people.
        let top = |count: i64, most: f64| height((count as f64 / most).sqrt());
        let (open, apart) = (top(bucket.open, most_open), top(bucket.apart, most_apart));
        let middle = format::figure(low + (at as f64 + 0.5) / COLUMNS as f64 * range);
        json!({
            "x": units(LEFT + at as f64 * step), "width": units(step - 1.0),
            "open_y": units(open), "open_height": units(base - open),
            "apart_y": units(apart), "apart_height": units(base - apart),
            "title": format!(
                "similarity {middle}: {} pairs, and {} that share a frame", bucket.open, bucket.apart
            ),
        })
    };
    let drawn = buckets.iter().enumerate().filter(|(_, b)| b.open + b.apart > 0);
    let total = |of: fn(&Calibration) -> i64| {
        format::count(usize::try_from(calibration.iter().map(of).sum::<i64>()).unwrap_or(0))
    };
    let point = |bin: &Calibration| format!("{} {}", units(x(bin.similarity)), units(height(bin.same)));
    let curve: Vec<_> = calibration.iter().map(point).collect();
    let tick_step = if range > 0.9 { 0.2 } else { 0.1 };
    let ticks = ((low / tick_step).ceil() as i64..).map(|i| i as f64 * tick_step);
    let ticks = ticks.take_while(|value| *value <= high + 1e-9);
    let tick = |value: f64| {
        let label = format!("{:.1}", value + 0.0).replace('-', "\u{2212}");
        json!({ "at": units(x(value)), "label": label })
    };
    let even = even(calibration).map(|similarity| {
        let label = format!("probability 0.5 at {}", format::figure(similarity));
        json!({ "at": units(x(similarity)), "label": label })
    });
    let shares = [(0.0, "0"), (0.5, "½"), (1.0, "1")];
    let shares = shares.map(|(share, label)| json!({ "at": units(height(share)), "label": label }));
    Some(json!({
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "top": TOP,
        "base": HEIGHT - BOTTOM,
        "columns": drawn.map(column).collect::<Vec<_>>(),
        // Probability of showing one person, as the path of a line.
        "curve": format!("M{}", curve.join("L")),
        "ticks": ticks.map(tick).collect::<Vec<_>>(),
        // Heights of the probabilities 0, ½ and 1.
        "shares": shares,
        // Where a pair is as likely to show one person as two.
        "even": even,
        "n_open": total(|bin| bin.n_open),
        "n_apart": total(|bin| bin.n_apart),
    }))
}

/// Similarity at which the drawn curve reaches one half; `None` if it stays on one side.
fn even(calibration: &[Calibration]) -> Option<f64> {
    let [a, b] = calibration.array_windows().find(|[a, b]| a.same < 0.5 && b.same >= 0.5)?;
    Some(a.similarity + (0.5 - a.same) / (b.same - a.same) * (b.similarity - a.similarity))
}

fn height(share: f64) -> f64 {
    let base = HEIGHT - BOTTOM;
    base - share.clamp(0.0, 1.0) * (base - TOP)
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
        assert_eq!((drawn["columns"].as_array().map(Vec::len), &drawn["even"]), (Some(1), &Value::Null));
    }

    #[test]
    fn the_curve_rises_and_even_chances_are_marked() {
        let drawn = draw(&[bin(-0.2, 90, 0.0), bin(0.3, 4, 0.6), bin(0.8, 9, 1.0)]).unwrap();
        assert_eq!(drawn["curve"], "M40.0 210.0L480.0 98.4L920.0 24.0");
        assert_eq!([&drawn["even"]["at"], &drawn["n_open"]], ["406.7", "103"]);
    }
}
