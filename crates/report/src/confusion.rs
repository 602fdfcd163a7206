//! Which cluster holds whose faces: clusters × people, counted in boxes.

use serde_json::{Value, json};

use crate::format;
use crate::input::Comparison;
use crate::palette::Colour;

/// Most clusters in the table; those with the fewest judged boxes are left out beyond it.
const MAX_ROWS: usize = 60;
/// Most people in the table; first are those of the first rows.
const MAX_COLUMNS: usize = 60;

/// The person with most boxes in a row of [`Comparison::boxes`]; of equals, the first.
pub(crate) fn majority(row: &[usize]) -> Option<usize> {
    let most = row.iter().copied().max().filter(|most| *most > 0)?;
    row.iter().position(|count| *count == most)
}

/// Draws the table; `name` and `colours` are those of the clusters. Cells are shaded by their share of the row, and empty
/// for zero: zeros would hide the cells that count.
pub(crate) fn draw(
    labels: &Comparison,
    name: &dyn Fn(Option<i64>) -> String,
    colours: &dyn Fn(Option<i64>) -> &'static Colour,
) -> Value {
    let mut groups: Vec<Option<i64>> =
        labels.boxes.keys().chain(labels.false_boxes.keys()).copied().collect();
    // Noise last, and each cluster once.
    groups.sort_unstable_by_key(|group| (group.is_none(), *group));
    groups.dedup();
    let n_groups = groups.len();
    let none = vec![0; labels.people.len()];
    let people_of = |group: &Option<i64>| labels.boxes.get(group).unwrap_or(&none);
    let false_boxes_of = |group: &Option<i64>| labels.false_boxes.get(group).copied().unwrap_or(0);
    let whole_of = |group: &Option<i64>| people_of(group).iter().sum::<usize>() + false_boxes_of(group);
    // The ones with the most boxes, in their order.
    let mut by_size: Vec<usize> = (0..n_groups).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(whole_of(&groups[*at])));
    by_size.truncate(MAX_ROWS);
    by_size.sort_unstable();
    let shown: Vec<_> = by_size.into_iter().map(|at| groups[at]).collect();
    let mut order = people_order(&shown, labels);
    order.truncate(MAX_COLUMNS);
    let cell = |count: usize, whole: usize| {
        let text = if count == 0 { String::new() } else { format::count(count) };
        json!({ "text": text, "shade": format!("{:.2}", count as f64 / whole.max(1) as f64) })
    };
    let row = |group: &Option<i64>| {
        let (people, whole) = (people_of(group), whole_of(group));
        json!({
            "name": name(*group),
            "class": colours(*group).0,
            "cells": order.iter().map(|p| cell(people[*p], whole)).collect::<Vec<_>>(),
            "false_boxes": cell(false_boxes_of(group), whole),
        })
    };
    let missed: usize = labels.missed.iter().sum();
    json!({
        "people": order.iter().map(|p| &labels.people[*p]).collect::<Vec<_>>(),
        "rows": shown.iter().map(row).collect::<Vec<_>>(),
        // Labelled boxes that were never found, by person.
        "missed": order.iter().map(|p| cell(labels.missed[*p], missed)).collect::<Vec<_>>(),
        "hidden": n_groups - shown.len(),
        "hidden_people": labels.people.len() - order.len(),
    })
}

/// People ordered by the cluster that holds most of them, so that a good result is a diagonal.
fn people_order(groups: &[Option<i64>], labels: &Comparison) -> Vec<usize> {
    let home = |person: usize| {
        let boxes = |at: &usize| labels.boxes.get(&groups[*at]).map_or(0, |row| row[person]);
        let most = (0..groups.len()).map(|at| boxes(&at)).max().unwrap_or(0);
        (0..groups.len()).find(|at| most > 0 && boxes(at) == most).unwrap_or(usize::MAX)
    };
    let mut order: Vec<usize> = (0..labels.people.len()).collect();
    order.sort_by_key(|person| home(*person));
    order
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::palette;

    #[test]
    fn a_good_result_is_a_diagonal_and_what_is_wrong_stands_at_the_edges() {
        let labels = Comparison {
            people: vec!["anna".into(), "bert".into()],
            boxes: BTreeMap::from([(Some(0), vec![0, 2]), (Some(1), vec![1, 0]), (None, vec![1, 0])]),
            false_boxes: BTreeMap::from([(Some(2), 5)]),
            missed: vec![0, 3],
            ..Comparison::default()
        };
        let table = draw(&labels, &|_| String::new(), &|id| palette::colour(id, |_| true));
        assert_eq!(table["people"], json!(["bert", "anna"]));
        let texts = [0, 1, 2, 3].map(|row| [0, 1].map(|cell| &table["rows"][row]["cells"][cell]["text"]));
        assert_eq!(texts, [["2", ""], ["", "1"], ["", ""], ["", "1"]]);
        assert_eq!([&table["rows"][2]["false_boxes"]["text"], &table["missed"][0]["text"]], ["5", "3"]);
    }

    #[test]
    fn of_a_crowd_those_of_the_first_clusters_are_shown() {
        let one = |person| (0..100).map(|other| usize::from(other == person)).collect();
        let labels = Comparison {
            people: (0..100).map(|person| format!("p{person}")).collect(),
            boxes: (0..100).map(|person| (Some(person), one(person))).collect(),
            missed: vec![0; 100],
            ..Comparison::default()
        };
        let table = draw(&labels, &|_| String::new(), &|id| palette::colour(id, |_| true));
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let rows = list(&table["rows"]);
        assert_eq!((rows.len(), &table["hidden"]), (MAX_ROWS, &json!(40)));
        assert_eq!((list(&table["people"]).len(), &table["hidden_people"]), (MAX_COLUMNS, &json!(40)));
        assert!(rows.iter().all(|row| list(&row["cells"]).iter().any(|cell| cell["text"] == "1")));
    }

    #[test]
    fn a_cluster_without_boxes_has_no_majority() {
        assert_eq!(majority(&[0, 0]), None);
        assert_eq!(majority(&[1, 3, 3]), Some(1));
    }
}
