//! The co-occurrence of people: seconds that two people share, and seconds that a person has alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::format;
use crate::input::Tables;

/// Most people in the table, those longest on screen; a larger table cannot be read.
const MAX_PEOPLE: usize = 24;

/// Number of frames of every pair of clusters, the smaller first; of a cluster with itself, the number of
/// frames that it has alone.
fn frames(tables: &Tables) -> BTreeMap<(i64, i64), usize> {
    let mut frames = BTreeMap::new();
    for faces in tables.boxes.chunk_by(|a, b| a.frame_idx == b.frame_idx) {
        let here: Vec<i64> =
            faces.iter().filter_map(|face| face.cluster_id).collect::<BTreeSet<_>>().into_iter().collect();
        for (at, a) in here.iter().enumerate() {
            let others = &here[at + 1..];
            others.iter().for_each(|b| *frames.entry((*a, *b)).or_default() += 1);
        }
        if let [only] = here[..] {
            *frames.entry((only, only)).or_default() += 1;
        }
    }
    frames
}

/// Draws the table, the same along both sides; `None` with fewer than two people. `names` are the people,
/// longest on screen first. Cells are empty for people who never share a frame.
pub(crate) fn draw(tables: &Tables, names: &[(i64, String)]) -> Option<Value> {
    let shown = &names[..names.len().min(MAX_PEOPLE)];
    if shown.len() < 2 {
        return None;
    }
    let (frames, colours) = (frames(tables), tables.colours());
    let count = |a: i64, b: i64| frames.get(&(a.min(b), a.max(b))).copied().unwrap_or(0);
    let largest = shown.iter().flat_map(|(a, _)| shown.iter().map(|(b, _)| count(*a, *b))).max();
    let frame = tables.frame_secs();
    let cell = |a: i64, b: i64| {
        let n = count(a, b);
        let text = if n == 0 { String::new() } else { format::length(n as f64 * frame) };
        let shade = n as f64 / largest.unwrap_or(0).max(1) as f64;
        json!({ "text": text, "shade": format!("{:.2}", shade.sqrt()), "alone": a == b })
    };
    let row = |(a, name): &(i64, String)| {
        let cells: Vec<_> = shown.iter().map(|(b, _)| cell(*a, *b)).collect();
        json!({ "name": name, "class": colours(Some(*a)).0, "cells": cells })
    };
    Some(json!({
        "people": shown.iter().map(|(_, name)| name).collect::<Vec<_>>(),
        "rows": shown.iter().map(row).collect::<Vec<_>>(),
        "hidden": names.len() - shown.len(),
    }))
}
