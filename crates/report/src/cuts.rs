//! How tracks were linked, in words, and how other thresholds would group them.

use serde_json::{Value, json};

use crate::{Report, format};

/// The settings and what the heights of the tree mean: `method`, `scale` of the distances, and `why` there is no tree.
pub(crate) fn linking(report: &Report<'_>) -> Value {
    let config = report.stages.iter().find(|stage| stage.name == "cluster").map(|stage| stage.config);
    let text = |key: &str, default: &str| {
        let value = config.and_then(|config| config.get(key)).and_then(Value::as_str);
        value.unwrap_or(default).to_owned()
    };
    let method = text("method", "link");
    let is_calibrated = !report.tables.calibration.is_empty();
    let scale = match method.as_str() {
        "link" if is_calibrated => {
            "The distance is 0 for one person, 1 where one person and two people are equally likely, and 2 for two \
             people."
                .to_owned()
        }
        "agglomerative" => {
            let linkage = text("linkage", "average");
            let metric = text("metric", if linkage == "ward" { "euclidean" } else { "cosine" });
            format!("The height is the {metric} distance of two branches, by {linkage} linkage.")
        }
        _ => "The height is the mean cosine distance of two branches.".to_owned(),
    };
    let why = if report.tables.leaves.len() < 2 {
        "A tree of merges needs at least two tracks.".to_owned()
    } else {
        format!("The method `{method}` does not merge step by step, so there is no tree of merges.")
    };
    json!({ "method": method, "scale": scale, "why": why })
}

/// The people that other thresholds give, for the script: `cuts` are separated by `/`, each a threshold, the number of
/// people, the number of tracks that are not sorted, and groups of tracks, separated by `;`. Groups are separated by
/// `,`, their tracks by spaces. `own` is the place of the threshold that the run was cut at, and `people` the number of
/// its people. `None` without cuts.
pub(crate) fn draw(report: &Report<'_>) -> Option<Value> {
    let tables = report.tables;
    let cuts: Vec<_> = tables.cuts.chunk_by(|a, b| a.cut_idx == b.cut_idx).collect();
    let thresholds: Vec<f64> = cuts.iter().filter_map(|cut| Some(cut.first()?.threshold)).collect();
    if thresholds.len() < 2 {
        return None;
    }
    let cut = report.cut.unwrap_or(0.0);
    // Thresholds between two merges are one cut, so the last one up to the cut may lie a little above it.
    let own = thresholds.iter().position(|threshold| *threshold >= cut).unwrap_or(thresholds.len() - 1);
    let text = |cut: &&[schema::tables::Cut]| {
        let n_people = cut.iter().filter_map(|row| row.person).max().map_or(0, |last| last + 1);
        let mut groups = vec![Vec::new(); usize::try_from(n_people).unwrap_or(0)];
        for row in cut.iter() {
            let group = row.person.and_then(|person| groups.get_mut(usize::try_from(person).ok()?));
            group.into_iter().for_each(|group| group.push(row.track_id.to_string()));
        }
        let unsorted = cut.iter().filter(|row| row.person.is_none()).count();
        let groups: Vec<_> = groups.iter().map(|group| group.join(" ")).collect();
        let threshold = cut.first().map_or(0.0, |row| row.threshold);
        format!("{threshold};{n_people};{unsorted};{}", groups.join(","))
    };
    let config = report.stages.iter().find(|stage| stage.name == "cluster").map(|stage| stage.config);
    let method = config.and_then(|config| config.get("method")).and_then(Value::as_str).unwrap_or("link");
    let has_k = config.and_then(|config| config.get("k")).is_some_and(|k| !k.is_null());
    Some(json!({
        "cuts": cuts.iter().map(text).collect::<Vec<_>>().join("/"),
        "own": own,
        "last": thresholds.len() - 1,
        "people": format::count(tables.identities.len()),
        // A number of people in the settings excludes a threshold.
        "command": match (has_k, method) {
            (false, _) => "facetrack run VIDEO --run-dir RUN --config RUN/config.toml --threshold".into(),
            (true, "link") => "facetrack run VIDEO --run-dir RUN --threshold".into(),
            (true, method) => format!("facetrack run VIDEO --run-dir RUN --method {method} --threshold"),
        },
    }))
}
