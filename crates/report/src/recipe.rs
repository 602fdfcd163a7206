//! How to get a figure of the page out of the tables, to copy and paste into a run directory.

use serde::Serialize;

/// Code for one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Recipe {
    /// The program.
    pub(crate) name: &'static str,
    /// What it makes is called `counts`, but of SQL.
    pub(crate) code: &'static str,
}

/// Tracks per person: the first chart of the page, with noise as null.
pub(crate) const RECIPES: [Recipe; 3] = [
    Recipe {
        name: "pandas",
        code: r#"import pandas as pd
clusters = pd.read_parquet("clusters.parquet")
counts = clusters.groupby("cluster_id", dropna=False).size()
print(counts)"#,
    },
    Recipe {
        name: "Polars",
        code: r#"import polars as pl
clusters = pl.read_parquet("clusters.parquet")
counts = clusters.group_by("cluster_id").len().sort("cluster_id", nulls_last=True)
print(counts)"#,
    },
    Recipe {
        name: "DuckDB",
        code: r#"SELECT cluster_id, count(*) AS tracks
FROM 'clusters.parquet'
GROUP BY cluster_id ORDER BY cluster_id NULLS LAST;"#,
    },
];
