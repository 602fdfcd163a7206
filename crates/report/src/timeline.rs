//! When each person is on screen: one row per person over the video, with the shots behind.

use schema::tables::Transition;
use serde_json::{Value, json};

use crate::input::Tables;
use crate::{format, palette};

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
    /// Duration of a frame, for which the last frame of a track stays on screen.
    frame: f64,
}

impl Scale {
    fn new(tables: &Tables) -> Self {
        let ends = tables.tracks.iter().map(|t| t.last_t_secs);
        let ends = ends.chain(tables.shots.iter().map(|s| s.last_t_secs));
        let length = ends.fold(tables.video.duration_secs, f64::max).max(1e-3);
        Self { length, frame: tables.frame_secs() }
    }

    /// A bar; `anchor` is the track to jump to, empty for shots.
    fn bar(&self, first: f64, last: f64, title: String, anchor: String) -> Value {
        let start = first.clamp(0.0, self.length);
        let end = (last + self.frame).clamp(start, self.length);
        let (x, width) = (self.percent(start), self.percent(end - start));
        json!({ "x": x, "width": width, "title": title, "anchor": anchor })
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

/// Draws the timeline; `names` are the people in the order of their rows. Horizontal places and sizes are in
/// percent of the video, vertical ones in pixels.
pub(crate) fn draw(tables: &Tables, names: &[(i64, String)]) -> Value {
    let scale = Scale::new(tables);
    let row = |(at, (cluster, name)): (usize, (Option<i64>, &str))| {
        let tracks = tables.clusters.iter().filter(|c| c.cluster_id == cluster);
        let bars = tracks.filter_map(|c| tables.track(c.track_id)).map(|t| {
            let (from, to) = (format::moment(t.first_t_secs), format::moment(t.last_t_secs));
            let title = format!("{name}, track {}, {from} to {to}", t.track_id);
            scale.bar(t.first_t_secs, t.last_t_secs, title, format!("t{}", t.track_id))
        });
        json!({
            "label": name,
            "class": palette::class(cluster),
            "anchor": cluster.map_or("noise".into(), |id| format!("p{id}")),
            "y": at * ROW_PX,
            "bars": bars.collect::<Vec<_>>(),
        })
    };
    let people = names.iter().take(MAX_ROWS).map(|(id, name)| (Some(*id), name.as_str()));
    let noise = tables.clusters.iter().any(|c| c.is_noise).then_some((None, "Noise"));
    let rows: Vec<_> = people.chain(noise).enumerate().map(row).collect();
    let shots = if tables.shots.len() > MAX_SHOTS { &[][..] } else { &tables.shots };
    let shots = shots.iter().map(|shot| {
        let begins = match shot.transition {
            Transition::Start => "",
            Transition::Cut => ", begins with a cut",
            Transition::Fade => ", begins with a fade",
            Transition::Dissolve => ", begins with a dissolve",
        };
        let (from, to) = (format::moment(shot.first_t_secs), format::moment(shot.last_t_secs));
        let title = format!("Shot {}, {from} to {to}{begins}", shot.shot_idx);
        scale.bar(shot.first_t_secs, shot.last_t_secs, title, String::new())
    });
    json!({
        "height": rows.len() * ROW_PX,
        "row_px": ROW_PX,
        "rows": rows,
        "shots": shots.collect::<Vec<_>>(),
        "ticks": scale.ticks(),
        // Number of people without a row.
        "hidden": names.len().saturating_sub(MAX_ROWS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_never_crowds_and_never_hangs_over() {
        for length in [0.001, 0.5, 1.0, 7.0, 61.0, 65.0, 1567.0, 3000.0, 90_000.0] {
            let ticks = Scale { length, frame: 0.04 }.ticks();
            assert!((1..=8).contains(&ticks.len()), "{length}: {}", ticks.len());
        }
    }

    #[test]
    fn bars_stay_inside_the_drawing() {
        let scale = Scale { length: 10.0, frame: 0.04 };
        let bar = scale.bar(9.0, 10.0, String::new(), String::new());
        assert_eq!([&bar["x"], &bar["width"]], ["90.000%", "10.000%"]);
        let bar = scale.bar(-5.0, 12.0, String::new(), String::new());
        assert_eq!([&bar["x"], &bar["width"]], ["0.000%", "100.000%"]);
    }
}
