//! Section `[cluster]` of the configuration.

use std::fmt;
use std::path::PathBuf;

use numeric::law::SFACE_SAME_UP_TO;
use schema::footer::Quality;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::linkage::{FORBIDDEN, Linkage, Metric};
use crate::method::{Agglomerative, Clothes, Cut, Dbscan, Hdbscan, KMeans, Link, Method, Part, Scale};

/// Fewest tracks of a person: many people in films have two tracks.
const FEWEST: usize = 2;

/// A way of linking tracks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Name {
    /// [`Link`].
    #[default]
    Link,
    /// [`Agglomerative`].
    Agglomerative,
    /// [`KMeans`].
    Kmeans,
    /// [`Dbscan`].
    Dbscan,
    /// [`Hdbscan`].
    Hdbscan,
}

/// What a method takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Entry {
    /// The method.
    pub method: Name,
    /// As in settings.
    pub name: &'static str,
    /// The keys of `[cluster]` that it takes besides `method`.
    pub takes: &'static [&'static str],
}

/// Every method and the settings that it takes.
pub const METHODS: [Entry; 5] = [
    Entry { method: Name::Link, name: "link", takes: &["threshold", "k", "clothes", "without", "series"] },
    Entry {
        method: Name::Agglomerative,
        name: "agglomerative",
        takes: &["metric", "linkage", "threshold", "k", "constraints"],
    },
    Entry { method: Name::Kmeans, name: "kmeans", takes: &["metric", "k", "seed", "constraints"] },
    Entry { method: Name::Dbscan, name: "dbscan", takes: &["metric", "eps", "min_samples", "constraints"] },
    Entry {
        method: Name::Hdbscan,
        name: "hdbscan",
        takes: &["metric", "min_cluster_size", "min_samples", "constraints"],
    },
];

impl Name {
    /// What it takes.
    pub fn entry(self) -> Entry {
        METHODS[self as usize]
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry().name)
    }
}

/// The settings. Each method takes its own: see [`METHODS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Linking method: `link`, `agglomerative`, `kmeans`, `dbscan` or `hdbscan`.
    pub method: Name,
    /// Distance of tracks: `cosine` or `euclidean`, both 0 to 2. Default: `cosine`, with the linkage `ward`
    /// `euclidean`.
    pub metric: Option<Metric>,
    /// Distance of clusters: `average`, `complete`, `single` or `ward`. Default: `average`.
    pub linkage: Option<Linkage>,
    /// Largest distance at which clusters are joined, 0 to 2; with `ward` from 0. Default: with `link` and
    /// an embedder with a quality table 1, where one person and two are equally likely; otherwise the
    /// distance that belongs to the embedder.
    pub threshold: Option<f64>,
    /// Number of people, from 1. Default: with `link` the number at which linking stops by itself,
    /// otherwise the one from 1 to 100 with the largest silhouette.
    pub k: Option<usize>,
    /// Largest distance of neighbours, above 0 to 2. Default: half the distance that belongs to the
    /// embedder, as an angle.
    pub eps: Option<f64>,
    /// Number of neighbours, the track included, that makes a track a core point, from 1. Default: 2, with
    /// `hdbscan` `min_cluster_size`.
    pub min_samples: Option<usize>,
    /// Size of the smallest cluster, from 2; smaller ones are noise. Default: 2.
    pub min_cluster_size: Option<usize>,
    /// Whether tracks that share a frame are never linked. Default: with `edits = "relink"`; with `link` always.
    pub constraints: Option<bool>,
    /// Seed of the random numbers. Default: 0.
    pub seed: Option<u64>,
    /// Evidence of clothes for `link` with an embedder that has a quality table: `veto`, different clothes speak
    /// against one person; `both`, similar clothes also speak for one person; `off`. Default: `both`.
    pub clothes: Option<Clothes>,
    /// Parts of `link` that are left out, to measure what they are worth: `quality`, `offset`, `constraints`,
    /// `reassignment` and `second_look`.
    pub without: Vec<Part>,
    /// Run directories of other videos of the series, relative to the run directory: `link` links the tracks of all these
    /// runs together. Set by `facetrack run --series`.
    pub series: Vec<PathBuf>,
    /// What is done with the edits of the run: `apply` changes the people that linking found, `relink` also links
    /// with what the edits say of pairs of tracks, `off` ignores them.
    pub edits: Use,
}

/// What is done with the edits of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Edits change the people that linking found.
    #[default]
    Apply,
    /// Linking learns from edits; then they are applied.
    Relink,
    /// Edits are ignored.
    Off,
}

impl Config {
    /// Refuses what is out of range, and what the method does not take.
    ///
    /// # Errors
    /// [`Error::NotTaken`], [`Error::Threshold`] and [`Error::Config`].
    pub fn check(&self) -> Result<(), Error> {
        let takes = self.method.entry().takes;
        if let Some(key) = self.given().into_iter().find(|key| !takes.contains(key)) {
            return Err(Error::NotTaken { method: self.method, key });
        }
        let wrong = |reason: &str| Err(Error::Config { reason: reason.into() });
        let limit = if self.linkage == Some(Linkage::Ward) { f64::INFINITY } else { FORBIDDEN };
        if let Some(threshold) = self.threshold.filter(|t| !(0.0..limit).contains(t)) {
            return Err(Error::Threshold { threshold, limit });
        }
        if self.eps.is_some_and(|eps| !(eps > 0.0 && eps <= 2.0)) {
            return wrong("eps must be above 0 and at most 2");
        }
        for (key, value, least) in [
            ("k", self.k, 1),
            ("min_samples", self.min_samples, 1),
            ("min_cluster_size", self.min_cluster_size, 2),
        ] {
            if value.is_some_and(|value| value < least) {
                return wrong(&format!("{key} must be at least {least}"));
            }
        }
        if self.linkage == Some(Linkage::Ward) && self.metric == Some(Metric::Cosine) {
            return wrong("the linkage `ward` requires the metric `euclidean`");
        }
        if self.k.is_some() && self.threshold.is_some() {
            return wrong("set either k or threshold, not both: each determines where the tree is cut");
        }
        if !self.series.is_empty() && self.edits == Use::Relink {
            return wrong(
                "edits = \"relink\" is for a run that is linked alone, and this run is of a series",
            );
        }
        Ok(())
    }

    /// The keys that are given, besides `method`.
    fn given(&self) -> Vec<&'static str> {
        let keys = [
            ("metric", self.metric.is_some()),
            ("linkage", self.linkage.is_some()),
            ("threshold", self.threshold.is_some()),
            ("k", self.k.is_some()),
            ("eps", self.eps.is_some()),
            ("min_samples", self.min_samples.is_some()),
            ("min_cluster_size", self.min_cluster_size.is_some()),
            ("constraints", self.constraints.is_some()),
            ("seed", self.seed.is_some()),
            ("clothes", self.clothes.is_some()),
            ("without", !self.without.is_empty()),
            ("series", !self.series.is_empty()),
        ];
        keys.into_iter().filter_map(|(key, given)| given.then_some(key)).collect()
    }

    /// The key to give where the distance of one person's tracks is not known; `None` where the method
    /// does without it.
    pub fn wants_distance(&self) -> Option<&'static str> {
        match self.method {
            Name::Link => (self.threshold.is_none() && self.k.is_none()).then_some("threshold"),
            Name::Dbscan => self.eps.is_none().then_some("eps"),
            Name::Agglomerative | Name::Kmeans | Name::Hdbscan => None,
        }
    }

    /// Cosine distance up to which tracks are likely one person's. `known` is that of the embedder; without
    /// one that of SFace.
    pub fn same_up_to(&self, known: Option<f64>) -> f64 {
        known.unwrap_or(SFACE_SAME_UP_TO)
    }

    fn cut(&self, threshold: Option<f64>) -> Cut {
        self.k.map(Cut::Clusters).or(threshold.map(Cut::Height)).unwrap_or(Cut::Best)
    }

    /// The method, with what was not given filled in. `known` is the embedder's [`Self::same_up_to`].
    /// `quality` is its quality table, `edited` whether linking learns from edits.
    pub fn method(
        &self,
        known: Option<f64>,
        quality: Option<&Quality>,
        edited: bool,
        threads: usize,
    ) -> Box<dyn Method> {
        let same_up_to = self.same_up_to(known);
        let constraints = self.constraints.unwrap_or(edited);
        let metric = self.metric.unwrap_or(match self.linkage {
            Some(Linkage::Ward) => Metric::Euclidean,
            _ => Metric::Cosine,
        });
        match self.method {
            Name::Link => {
                let scale = quality.cloned().map_or(Scale::Distance(same_up_to), Scale::Evidence);
                let clothes = self.clothes.unwrap_or_default();
                let without = self.without.clone();
                Box::new(Link { scale, cut: self.cut(self.threshold), clothes, without, threads })
            }
            Name::Agglomerative => {
                let linkage = self.linkage.unwrap_or_default();
                let is_mean_cosine = (linkage, metric) == (Linkage::Average, Metric::Cosine);
                let cut = self.cut(self.threshold.or(known.filter(|_| is_mean_cosine)));
                Box::new(Agglomerative { metric, linkage, cut, constraints })
            }
            Name::Kmeans => Box::new(KMeans { metric, k: self.k, seed: self.seed.unwrap_or(0), constraints }),
            Name::Dbscan => {
                let eps = self.eps.unwrap_or(match metric {
                    Metric::Cosine => same_up_to / 2.0,
                    // The same angle: of unit vectors the squared distance is twice the cosine distance.
                    Metric::Euclidean => same_up_to.sqrt(),
                });
                let min_samples = self.min_samples.unwrap_or(FEWEST);
                Box::new(Dbscan { metric, eps, min_samples, constraints })
            }
            Name::Hdbscan => {
                let min_cluster_size = self.min_cluster_size.unwrap_or(FEWEST);
                let min_samples = self.min_samples.unwrap_or(min_cluster_size);
                Box::new(Hdbscan { metric, min_cluster_size, min_samples, constraints })
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn of(method: Name) -> Config {
        Config { method, ..Config::default() }
    }

    #[test]
    fn every_method_has_its_entry() {
        for entry in METHODS {
            assert_eq!(entry.method.entry(), entry);
            assert_eq!(serde_json::to_value(entry.method).unwrap(), entry.name);
            assert!(of(entry.method).check().is_ok());
        }
    }

    /// The guide has one table row per method, with every setting that the method takes.
    #[test]
    fn the_guide_has_every_method_with_its_keys() {
        let guide = include_str!("../../../docs/guide/linking.md");
        for Entry { name, takes, .. } in METHODS {
            let row = guide.lines().find(|line| line.starts_with(&format!("| `{name}` "))).unwrap();
            takes.iter().for_each(|key| assert!(row.contains(&format!("`{key}`")), "{name}: {key}"));
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let ward = Config { linkage: Some(Linkage::Ward), ..of(Name::Agglomerative) };
        let cases = [
            (Config { k: Some(3), ..of(Name::Dbscan) }, "the method `dbscan` does not use the setting `k`"),
            (
                Config { seed: Some(3), ..Config::default() },
                "the method `link` does not use the setting `seed`",
            ),
            (Config { k: Some(0), ..of(Name::Kmeans) }, "k must be at least 1"),
            (Config { min_samples: Some(0), ..of(Name::Dbscan) }, "min_samples must be at least 1"),
            (
                Config { min_cluster_size: Some(1), ..of(Name::Hdbscan) },
                "min_cluster_size must be at least 2",
            ),
            (Config { eps: Some(f64::NAN), ..of(Name::Dbscan) }, "eps must be above 0 and at most 2"),
            (
                Config { threshold: Some(2.0), ..Config::default() },
                "threshold is 2; it must be between 0 and 2",
            ),
            (
                Config { series: vec!["../b".into()], edits: Use::Relink, ..Config::default() },
                "is for a run that is linked alone, and this run is of a series",
            ),
            (Config { threshold: Some(-1.0), ..ward.clone() }, "threshold is -1; it must be 0 or more"),
            (Config { metric: Some(Metric::Cosine), ..ward.clone() }, "requires the metric `euclidean`"),
            (Config { k: Some(2), threshold: Some(1.0), ..ward }, "each determines where the tree is cut"),
        ];
        for (config, expected) in cases {
            let message = config.check().unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        }
    }
}
