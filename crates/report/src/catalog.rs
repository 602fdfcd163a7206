//! The definition of every figure, as the page shows it: `catalog.toml`.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Where on the page a figure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// Compares with labels: who is who, and who was found.
    Labels,
    /// Compares with labels: face tracker.
    Tracking,
    /// Compares with labels: what the two above are made of.
    Details,
    /// Compares with labels: what each stage costs.
    Budget,
    /// Needs no labels.
    Unlabelled,
}

/// One figure, explained.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    /// Name, as in the column `name` of `metrics`.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Where it stands.
    pub section: Section,
    /// Whether it is in the closing summary of a run.
    #[serde(default)]
    pub summary: bool,
    /// How it is computed.
    pub formula: String,
    /// Lowest to highest value; which end is good.
    pub range: String,
    /// What it does not show.
    #[serde(default)]
    pub hides: String,
    /// Where it comes from; empty for plain counts.
    #[serde(default)]
    pub source: String,
}

#[derive(Deserialize)]
struct Catalog {
    figure: Vec<Explained>,
}

/// Every figure, the most telling first. A test parses the file, so that it is never empty.
pub static CATALOG: LazyLock<Vec<Explained>> = LazyLock::new(|| {
    toml::from_str(include_str!("catalog.toml"))
        .map_or_else(|_| Vec::new(), |catalog: Catalog| catalog.figure)
});

#[cfg(test)]
mod tests {
    #[test]
    fn every_figure_is_explained_once() {
        let parsed: Result<super::Catalog, _> = toml::from_str(include_str!("catalog.toml"));
        assert_eq!(
            parsed.as_ref().map(|catalog| catalog.figure.len()),
            Ok(66),
            "{:?}",
            parsed.as_ref().err()
        );
        let names: std::collections::HashSet<_> = super::CATALOG.iter().map(|figure| &figure.name).collect();
        assert_eq!(names.len(), super::CATALOG.len());
    }
}
