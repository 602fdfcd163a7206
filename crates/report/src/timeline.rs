//! When each person is on screen: one row per person over the video, one bar per appearance, with the shots behind.

use schema::tables::Transition;
use serde_json::{Value, json};

use crate::format;
use crate::input::{Appearance, Tables};
use crate::moments::Moments;

/// Most rows; people seldom on screen come last and are left out beyond it.
const MAX_ROWS: usize = 60;
/// Largest number of shots that are drawn; the bands of more could not be distinguished.
const MAX_SHOTS: usize = 2000;
/// Height of a row, CSS pixels.
const ROW_PX: usize = 26;
/// Steps of the time axis, seconds.
const STEPS: [f64; 14] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0];
/// Most marks on the time axis.
const MAX_TICKS: f64 = 7.0;

/// Seconds to percent of the drawing's width.
struct Scale {
    length: f64,
}

impl Scale {
    fn new(tables: &Tables) -> Self {
        let length = tables.times.end_secs().max(tables.video.duration_secs).max(1e-3);
        Self { length }
    }

    /// Place and width of a stretch of time.
    fn stretch(&self, from: f64, to: f64) -> [String; 2] {
        let start = from.clamp(0.0, self.length);
        [start, to.clamp(start, self.length) - start].map(|secs| self.percent(secs))
    }

    fn percent(&self, secs: f64) -> String {
        format!("{:.3}%", secs / self.length * 100.0)
    }

    fn ticks(&self) -> Vec<Value> {
        let fits = |step: &&f64| self.length / **step <= MAX_TICKS;
        let step = STEPS.iter().find(fits).copied().unwrap_or(self.length / MAX_TICKS);
        let marks = (0..).map(|i| f64::from(i) * step);
        // A mark at the very end would hang over the edge.
        let marks = marks.take_while(|at| *at == 0.0 || *at < self.length - step * 0.3);
        marks.map(|at| json!({ "x": self.percent(at), "label": format::tick(at) })).collect()
    }
}

/// Draws the timeline of these people, in the order of their rows; `None` is the tracks of no person. Horizontal places
/// and sizes are in percent of the video, vertical ones in pixels.
pub(crate) fn draw(tables: &Tables, moments: &Moments, people: &[Option<i64>]) -> Value {
    let (scale, colours) = (Scale::new(tables), tables.colours());
    let row = |(at, cluster): (usize, &Option<i64>)| {
        let name = tables.name(*cluster);
        let anchor = cluster.map_or("noise".into(), |id| format!("p{id}"));
        let bar = |appearance: &Appearance| {
            let Appearance { from, to, track_id } = *appearance;
            let [x, width] = scale.stretch(from, to);
            json!({
                "x": x, "width": width, "track": track_id,
                "title": format!("{name}, {} to {}", format::moment(from), format::moment(to)),
                "href": moments.href(from).unwrap_or_else(|| format!("#{anchor}")),
            })
        };
        json!({
            "label": name,
            "class": colours(*cluster).0,
            "anchor": anchor,
            "y": at * ROW_PX,
            "bars": tables.appearances(*cluster).iter().map(bar).collect::<Vec<_>>(),
        })
    };
    let rows: Vec<_> = people.iter().take(MAX_ROWS).enumerate().map(row).collect();
    let shots = if tables.shots.len() > MAX_SHOTS { &[][..] } else { &tables.shots };
    let shots = shots.iter().map(|shot| {
        let begins = match shot.transition {
            Transition::Start => "",
            Transition::Cut => ", begins with a cut",
            Transition::Fade => ", begins with a fade",
            Transition::Dissolve => ", begins with a dissolve",
        };
        let span = (shot.first_frame_idx, shot.last_frame_idx);
        let (from, to) = tables.times.on_screen(span, scale.length);
        let [x, width] = scale.stretch(from, to);
        let (from, to) = (format::moment(from), format::moment(to));
        json!({ "x": x, "width": width, "title": format!("Shot {}, {from} to {to}{begins}", shot.shot_idx) })
    });
    json!({
        "height": rows.len() * ROW_PX,
        "row_px": ROW_PX,
        "rows": rows,
        "shots": shots.collect::<Vec<_>>(),
        "ticks": scale.ticks(),
        // Number of people without a row.
        "hidden": people.len().saturating_sub(MAX_ROWS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_never_crowds_and_never_hangs_over() {
        for length in [0.001, 0.5, 1.0, 7.0, 61.0, 65.0, 1567.0, 3000.0, 90_000.0] {
            let ticks = Scale { length }.ticks();
            assert!((1..=8).contains(&ticks.len()), "{length}: {}", ticks.len());
        }
    }

    #[test]
    fn bars_stay_inside_the_drawing() {
        let scale = Scale { length: 10.0 };
        assert_eq!(scale.stretch(9.0, 10.04), ["90.000%", "10.000%"]);
        assert_eq!(scale.stretch(-5.0, 12.0), ["0.000%", "100.000%"]);
    }
}
