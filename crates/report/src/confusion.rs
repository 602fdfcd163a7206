//! Which cluster holds whose faces: clusters × people, counted in boxes.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{palette, words};
use crate::matching::Judged;

/// Most clusters in the table; those with the fewest judged boxes are left out beyond it.
const MAX_ROWS: usize = 60;
/// Most people in the table; first are those of the first rows.
const MAX_COLUMNS: usize = 60;

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Confusion {
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
    /// Empty for zero, which would only be noise for the eye.
    text: String,
    /// Share of the row, 0 to 1, that gives the shade.
    shade: String,
}

fn cell(count: usize, whole: usize) -> Cell {
    let text = if count == 0 { String::new() } else { words::count(count) };
    Cell { text, shade: format!("{:.2}", count as f64 / whole.max(1) as f64) }
}

/// Boxes of each person in each cluster (`None`: all noise tracks).
pub type Counts = BTreeMap<Option<i64>, Vec<usize>>;

/// Counts matched boxes.
pub fn counts(judged: &Judged) -> Counts {
    let mut counts = Counts::new();
    for m in &judged.matches {
        counts.entry(m.cluster_id).or_insert_with(|| vec![0; judged.people.len()])[m.person] += 1;
    }
    counts
}

/// The person with most boxes in a row of [`counts`]; of equals, the first.
pub fn majority(row: &[usize]) -> Option<usize> {
    let most = row.iter().copied().max().filter(|most| *most > 0)?;
    row.iter().position(|count| *count == most)
}

/// Draws the table; `name` gives the name of a cluster.
pub fn draw(judged: &Judged, counts: &Counts, name: impl Fn(Option<i64>) -> String) -> Confusion {
    let mut groups: Vec<Option<i64>> = counts.keys().chain(judged.false_boxes.keys()).copied().collect();
    // Noise last, and each cluster once.
    groups.sort_unstable_by_key(|group| (group.is_none(), *group));
    groups.dedup();
    let shown = largest(&groups, judged, counts);
    let mut order = people_order(judged.people.len(), &shown, counts);
    order.truncate(MAX_COLUMNS);
    let none = vec![0; judged.people.len()];
    let row = |group: &Option<i64>| {
        let people = counts.get(group).unwrap_or(&none);
        let nobody = judged.false_boxes.get(group).copied().unwrap_or(0);
        let whole = people.iter().sum::<usize>() + nobody;
        Row {
            name: name(*group),
            class: palette::class(*group),
            cells: order.iter().map(|p| cell(people[*p], whole)).collect(),
            nobody: cell(nobody, whole),
        }
    };
    let missed: usize = judged.missed.iter().sum();
    Confusion {
        people: order.iter().map(|p| judged.people[*p].clone()).collect(),
        rows: shown.iter().map(row).collect(),
        missed: order.iter().map(|p| cell(judged.missed[*p], missed)).collect(),
        hidden: groups.len() - shown.len(),
        hidden_people: judged.people.len() - order.len(),
    }
}

/// At most [`MAX_ROWS`] of `groups`, in their order, the ones with the most boxes.
fn largest(groups: &[Option<i64>], judged: &Judged, counts: &Counts) -> Vec<Option<i64>> {
    let boxes = |group: &Option<i64>| {
        counts.get(group).map_or(0, |row| row.iter().sum()) + judged.false_boxes.get(group).unwrap_or(&0)
    };
    let mut by_size: Vec<usize> = (0..groups.len()).collect();
    by_size.sort_by_key(|at| std::cmp::Reverse(boxes(&groups[*at])));
    by_size.truncate(MAX_ROWS);
    by_size.sort_unstable();
    by_size.into_iter().map(|at| groups[at]).collect()
}

/// People ordered by the cluster that holds most of them, so that a good result is a diagonal.
fn people_order(n_people: usize, groups: &[Option<i64>], counts: &Counts) -> Vec<usize> {
    let home = |person: usize| {
        let boxes = |at: &usize| counts.get(&groups[*at]).map_or(0, |row| row[person]);
        let most = (0..groups.len()).map(|at| boxes(&at)).max().unwrap_or(0);
        (0..groups.len()).find(|at| most > 0 && boxes(at) == most).unwrap_or(usize::MAX)
    };
    let mut order: Vec<usize> = (0..n_people).collect();
    order.sort_by_key(|person| home(*person));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::Match;

    #[test]
    fn a_good_result_is_a_diagonal_and_what_is_wrong_stands_at_the_edges() {
        let seen = |person, cluster_id| Match { person, track_id: 0, cluster_id };
        let judged = Judged {
            people: vec!["anna".into(), "bert".into()],
            matches: vec![seen(1, Some(0)), seen(1, Some(0)), seen(0, Some(1)), seen(0, None)],
            false_boxes: BTreeMap::from([(Some(2), 5)]),
            missed: vec![0, 3],
            ..Judged::default()
        };
        let table = draw(&judged, &counts(&judged), |group| format!("{group:?}"));
        assert_eq!(table.people, ["bert", "anna"]);
        let texts: Vec<Vec<&str>> =
            table.rows.iter().map(|row| row.cells.iter().map(|c| c.text.as_str()).collect()).collect();
        assert_eq!(texts, [["2", ""], ["", "1"], ["", ""], ["", "1"]]);
        assert_eq!((table.rows[2].nobody.text.as_str(), table.missed[0].text.as_str()), ("5", "3"));
    }

    #[test]
    fn of_a_crowd_those_of_the_first_clusters_are_shown() {
        let seen = |person| Match { person, track_id: 0, cluster_id: Some(person as i64) };
        let judged = Judged {
            people: (0..100).map(|person| format!("p{person}")).collect(),
            matches: (0..100).rev().map(seen).collect(),
            missed: vec![0; 100],
            ..Judged::default()
        };
        let table = draw(&judged, &counts(&judged), |group| format!("{group:?}"));
        assert_eq!((table.rows.len(), table.hidden), (MAX_ROWS, 40));
        assert_eq!((table.people.len(), table.hidden_people), (MAX_COLUMNS, 40));
        assert!(table.rows.iter().all(|row| row.cells.iter().any(|cell| cell.text == "1")));
    }

    #[test]
    fn the_majority_of_nothing_is_nobody() {
        assert_eq!(majority(&[0, 0]), None);
        assert_eq!(majority(&[1, 3, 3]), Some(1));
    }
}
