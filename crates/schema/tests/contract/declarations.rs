//! The declared tables agree with themselves and with the documents made from them.

use std::collections::HashSet;

use schema::cell::CellType;
use schema::docs::documents;
use schema::table::Table;
use schema::tables::{ALL, producer};

#[test]
fn every_table_is_well_declared() {
    for table in ALL {
        let name = table.name;
        assert_eq!(producer(name), table.producer, "{name}");
        assert_eq!(table.columns.first().map(|c| c.name), Some("video_id"), "{name} cannot be concatenated");
        assert_eq!(table.sort_key.first(), Some(&"video_id"), "{name} cannot be concatenated");
        assert!(table.doc.trim().ends_with('.'), "{name} has no documentation");
        check_columns(table);
    }
}

fn check_columns(table: &Table) {
    let mut seen = HashSet::new();
    for column in table.columns {
        let name = format!("{}.{}", table.name, column.name);
        assert!(seen.insert(column.name), "{name} is declared twice");
        assert!(column.doc.trim().ends_with('.'), "{name} has no documentation");
        let says_null = column.doc.contains("null");
        let inherits = ["x_min", "y_min", "x_max", "y_max"].contains(&column.name);
        assert!(says_null || !column.nullable || inherits, "{name} does not say what null means");
    }
    for key in table.sort_key {
        let column = table.columns.iter().find(|column| column.name == *key);
        let column = column.unwrap_or_else(|| panic!("{} has no column {key}", table.name));
        assert!(!column.nullable, "{}.{key} is a key that may be null", table.name);
    }
}

#[test]
fn names_are_unique() {
    let names: HashSet<_> = ALL.iter().map(|table| table.name).collect();
    assert_eq!(names.len(), ALL.len());
}

/// A table that another program sorts by its words must come out in the order that we demand.
#[test]
fn categories_are_ordered_like_their_words() {
    use schema::cell::Category;
    use schema::tables::{ConstraintKind, MetricUnit};

    fn check<T: Category + Ord>() {
        let mut words = T::WORDS.to_vec();
        let mut variants: Vec<_> = words.iter().map(|word| T::from_word(word).unwrap()).collect();
        words.sort_unstable();
        variants.sort_unstable();
        assert_eq!(variants.iter().map(|v| v.word()).collect::<Vec<_>>(), words);
    }
    let keys = ALL.iter().flat_map(|table| table.columns.iter().filter(|c| table.sort_key.contains(&c.name)));
    let categories = keys.filter(|column| matches!(column.cell, CellType::Category(_))).count();
    assert_eq!(categories, 2, "a new category in a sort key belongs into this test");
    check::<ConstraintKind>();
    check::<MetricUnit>();
}

#[test]
fn every_table_has_a_document_of_every_column() {
    let documents = documents();
    for table in ALL {
        let path = format!("{}/{}.json", table.name, table.version);
        let (_, content) = documents.iter().find(|(p, _)| p.as_os_str() == path.as_str()).unwrap();
        let document: serde_json::Value = serde_json::from_str(content).unwrap();
        let columns = document["columns"].as_array().unwrap().iter();
        let described: Vec<_> = columns.map(|column| column["name"].as_str().unwrap()).collect();
        let declared: Vec<_> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(described, declared, "{path}");
        assert_eq!(document["version"], table.version);
    }
    let (_, page) = documents.iter().find(|(path, _)| path.as_os_str() == "README.md").unwrap();
    for table in ALL {
        assert!(page.contains(&format!("\n## {} {}\n", table.name, table.version)), "{}", table.name);
    }
}
