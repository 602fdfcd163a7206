//! Which cluster holds whose faces: clusters × people, counted in boxes.

use serde::Serialize;

use crate::input::Comparison;
use crate::{format, palette};

/// Most clusters in the table; those with the fewest judged boxes are left out beyond it.
const MAX_ROWS: usize = 60;
/// Most people in the table; first are those of the first rows.
const MAX_COLUMNS: usize = 60;

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Confusion {
    people: Vec<String>,
    rows: Vec<Row>,
    /// Labelled boxes that were never found, by person.
    missed: Vec<Cell>,
    /// Clusters that are not shown.
    hidden: usize,
    /// People who are not shown.
    hidden_people: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    name: String,
    class: String,
    cells: Vec<Cell>,
    /// Boxes that match no labelled face.
    nobody: Cell,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Cell {
    /// Empty for zero: zeros would hide the cells that count.
    text: String,
    /// Share of the row, 0 to 1, that gives the shade.
    shade: String,
}

fn cell(count: usize, whole: usize) -> Cell {
    let text = if count == 0 { String::new() } else { format::count(count) };
    Cell { text, shade: format!("{:.2}", count as f64 / whole.max(1) as f64) }
}

/// The person with most boxes in a row of [`Comparison::boxes`]; of equals, the first.
pub(crate) fn majority(row: &[usize]) -> Option<usize> {
    let most = row.iter().copied().max().filter(|most| *most > 0)?;
    row.iter().position(|count| *count == most)
}

/// Draws the table; `name` gives the name of a cluster.
pub(crate) fn draw(labels: &Comparison, name: impl Fn(Option<i64>) -> String) -> Confusion {
    let mut groups: Vec<Option<i64>> =
        labels.boxes.keys().chain(labels.false_boxes.keys()).copied().collect();
    // Noise last, and each cluster once.
    groups.sort_unstable_by_key(|group| (group.is_none(), *group));
    groups.dedup();
    let shown = largest(&groups, labels);
    let mut order = people_order(&shown, labels);
    order.truncate(MAX_COLUMNS);
    let none = vec![0; labels.people.len()];
    let row = |group: &Option<i64>| {
        let people = labels.boxes.get(group).unwrap_or(&none);
        let nobody = labels.false_boxes.get(group).copied().unwrap_or(0);
        let whole = people.iter().sum::<usize>() + nobody;
        Row {
            name: name(*group),
            class: palette::class(*group),
            cells: order.iter().map(|p| cell(people[*p], whole)).collect(),
            nobody: cell(nobody, whole),
        }
    };
    let missed: usize = labels.missed.iter().sum();
    Confusion {
        people: order.iter().map(|p| labels.people[*p].clone()).collect(),
        rows: shown.iter().map(row).collect(),
        missed: order.iter().map(|p| cell(labels.missed[*p], missed)).collect(),
        hidden: groups.len() - shown.len(),
        hidden_people: labels.people.len() - order.len(),
    }
}

/// At most [`MAX_ROWS`] of `groups`, in their order, the ones with the most boxes.
fn largest(groups: &[Option<i64>], labels: &Comparison) -> Vec<Option<i64>> {
    let boxes = |group: &Option<i64>| {
        let known: usize = labels.boxes.get(group).map_or(0, |row| row.iter().sum());
        known + labels.false_boxes.get(group).unwrap_or(&0)
    };
    let mut by_size: Vec<usize> = (0..groups.len()).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(boxes(&groups[*at])));
    by_size.truncate(MAX_ROWS);
    by_size.sort_unstable();
    by_size.into_iter().map(|at| groups[at]).collect()
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

    #[test]
    fn a_good_result_is_a_diagonal_and_what_is_wrong_stands_at_the_edges() {
        let labels = Comparison {
            people: vec!["anna".into(), "bert".into()],
            boxes: BTreeMap::from([(Some(0), vec![0, 2]), (Some(1), vec![1, 0]), (None, vec![1, 0])]),
            false_boxes: BTreeMap::from([(Some(2), 5)]),
            missed: vec![0, 3],
            ..Comparison::default()
        };
        let table = draw(&labels, |group| format!("{group:?}"));
        assert_eq!(table.people, ["bert", "anna"]);
        let texts: Vec<Vec<&str>> =
            table.rows.iter().map(|row| row.cells.iter().map(|c| c.text.as_str()).collect()).collect();
        assert_eq!(texts, [["2", ""], ["", "1"], ["", ""], ["", "1"]]);
        assert_eq!((table.rows[2].nobody.text.as_str(), table.missed[0].text.as_str()), ("5", "3"));
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
        let table = draw(&labels, |group| format!("{group:?}"));
        assert_eq!((table.rows.len(), table.hidden), (MAX_ROWS, 40));
        assert_eq!((table.people.len(), table.hidden_people), (MAX_COLUMNS, 40));
        assert!(table.rows.iter().all(|row| row.cells.iter().any(|cell| cell.text == "1")));
    }

    #[test]
    fn a_cluster_without_boxes_has_no_majority() {
        assert_eq!(majority(&[0, 0]), None);
        assert_eq!(majority(&[1, 3, 3]), Some(1));
    }
}
