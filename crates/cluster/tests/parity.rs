//! Methods against scikit-learn and SciPy, on stored cases made by `reference/make_expected.py`.

#![allow(clippy::unwrap_used, reason = "a failed test should stop where it fails")]

use std::collections::BTreeMap;

use cluster::linkage::{Linkage, Metric, Pairs};
use cluster::method::{
    Agglomerative, Clothes, Crop, Cut, Dbscan, FurtherView, Hdbscan, Items, KMeans, Link, Method, Outfit,
    Part, Scale, silhouette,
};
use schema::footer::Quality;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    vectors: Vec<Vec<f32>>,
    metrics: Metrics,
    kmeans: Vec<Means>,
}

#[derive(Deserialize)]
struct Metrics {
    cosine: OfMetric,
    euclidean: OfMetric,
}

#[derive(Deserialize)]
struct OfMetric {
    heights: BTreeMap<String, Vec<f64>>,
    agglomerative: Vec<Tree>,
    dbscan: Vec<Density>,
    hdbscan: Vec<Densities>,
    silhouette: Silhouette,
}

#[derive(Deserialize)]
struct Tree {
    linkage: Linkage,
    k: Option<usize>,
    threshold: Option<f64>,
    labels: Vec<i64>,
}

#[derive(Deserialize)]
struct Density {
    eps: f64,
    min_samples: usize,
    labels: Vec<i64>,
}

#[derive(Deserialize)]
struct Densities {
    min_cluster_size: usize,
    min_samples: usize,
    labels: Vec<i64>,
}

#[derive(Deserialize)]
struct Silhouette {
    labels: Vec<usize>,
    value: f64,
}

#[derive(Deserialize)]
struct Means {
    centres: Vec<Vec<f64>>,
    labels: Vec<i64>,
    inertia: f64,
    mean_best_inertia: f64,
}

#[derive(Deserialize)]
struct Degenerate {
    vectors: Vec<Vec<f32>>,
    agglomerative: Vec<i64>,
    dbscan: Vec<i64>,
    hdbscan: Vec<i64>,
}

fn cases() -> [Case; 2] {
    let small = include_str!("expected/small.json");
    [small, include_str!("expected/medium.json")].map(|case| serde_json::from_str(case).unwrap())
}

impl Case {
    fn items(&self) -> Items<'_> {
        items(&self.vectors)
    }

    fn metrics(&self) -> [(Metric, &OfMetric); 2] {
        [(Metric::Cosine, &self.metrics.cosine), (Metric::Euclidean, &self.metrics.euclidean)]
    }
}

fn items(vectors: &[Vec<f32>]) -> Items<'_> {
    Items::new(vectors.iter().map(Vec::as_slice).collect(), Vec::new()).unwrap()
}

/// Labels of scikit-learn as ours are: numbered by their first items, noise without.
fn renamed(labels: &[i64]) -> Vec<Option<usize>> {
    let mut numbers = BTreeMap::new();
    let number = |label: &i64| {
        let next = numbers.len();
        (*label >= 0).then(|| *numbers.entry(*label).or_insert(next))
    };
    labels.iter().map(number).collect()
}

fn labels(method: &dyn Method, items: &Items<'_>) -> Vec<Option<usize>> {
    method.assign(items, &mut |_, _| ()).unwrap().labels
}

#[test]
fn heights_are_scipys() {
    for case in cases() {
        for (metric, expected) in case.metrics() {
            for (name, heights) in &expected.heights {
                let linkage: Linkage = serde_json::from_value(name.as_str().into()).unwrap();
                for constraints in [false, true] {
                    let method = Agglomerative { metric, linkage, cut: Cut::Clusters(1), constraints };
                    let found = method.assign(&case.items(), &mut |_, _| ()).unwrap().tree.unwrap().merges;
                    assert_eq!(found.len(), heights.len());
                    for (found, expected) in found.iter().zip(heights) {
                        let error = (found.height - expected).abs() / expected;
                        assert!(error < 1e-9, "{metric:?} {name}: {} for {expected}", found.height);
                    }
                }
            }
        }
    }
}

#[test]
fn agglomerative_labels_are_scikit_learns() {
    for case in cases() {
        for (metric, expected) in case.metrics() {
            for Tree { linkage, k, threshold, labels: expected } in &expected.agglomerative {
                let cut = k.map_or_else(|| Cut::Height(threshold.unwrap()), Cut::Clusters);
                let method = Agglomerative { metric, linkage: *linkage, cut, constraints: false };
                assert_eq!(labels(&method, &case.items()), renamed(expected), "{method:?}");
            }
        }
    }
}

/// What scikit-learn calls a cluster with fewer than `min_samples` tracks is noise: see [`Dbscan`].
#[test]
fn dbscan_labels_are_scikit_learns_but_for_clusters_that_lost_their_edge() {
    let mut n_lost = 0;
    for case in cases() {
        for (metric, expected) in case.metrics() {
            for Density { eps, min_samples, labels: expected } in &expected.dbscan {
                let size = |label: i64| expected.iter().filter(|other| **other == label).count();
                let is_lost = |label: i64| label >= 0 && size(label) < *min_samples;
                let lost_as_noise = |label: &i64| if is_lost(*label) { -1 } else { *label };
                n_lost += expected.iter().filter(|label| is_lost(**label)).count();
                let method = Dbscan { metric, eps: *eps, min_samples: *min_samples, constraints: false };
                let expected: Vec<_> = expected.iter().map(lost_as_noise).collect();
                assert_eq!(labels(&method, &case.items()), renamed(&expected), "{method:?}");
            }
        }
    }
    assert!(n_lost > 0, "the difference is gone: say so no more");
}

#[test]
fn hdbscan_labels_are_scikit_learns() {
    for case in cases() {
        for (metric, expected) in case.metrics() {
            for Densities { min_cluster_size, min_samples, labels: expected } in &expected.hdbscan {
                let (min_cluster_size, min_samples) = (*min_cluster_size, *min_samples);
                let method = Hdbscan { metric, min_cluster_size, min_samples, constraints: false };
                assert_eq!(labels(&method, &case.items()), renamed(expected), "{method:?}");
            }
        }
    }
}

/// From the same centres the same clusters; from our own centres ones as good.
#[test]
fn kmeans_is_scikit_learns() {
    for case in cases() {
        for Means { centres, labels: expected, inertia, mean_best_inertia } in &case.kmeans {
            let k = centres.len();
            let method = KMeans { metric: Metric::Euclidean, k: Some(k), seed: 0, constraints: false };
            let found = method.lloyd(&case.items(), centres.clone());
            let found_labels: Vec<_> = found.labels.iter().map(|label| Some(*label)).collect();
            assert_eq!(found_labels, expected.iter().map(|l| usize::try_from(*l).ok()).collect::<Vec<_>>());
            assert!((found.inertia / inertia - 1.0).abs() < 1e-9, "{} for {inertia}", found.inertia);
            let best = |seed| KMeans { seed, ..method }.best_of_restarts(&case.items(), k).inertia;
            let mean = (0..10).map(best).sum::<f64>() / 10.0;
            assert!(mean <= mean_best_inertia * 1.001, "{mean} for {mean_best_inertia}");
        }
    }
}

#[test]
fn silhouettes_are_scikit_learns() {
    for case in cases() {
        for (metric, expected) in case.metrics() {
            let pairs = Pairs::of(case.items().vectors(), metric);
            let found = silhouette(&pairs, &expected.silhouette.labels);
            assert!((found - expected.silhouette.value).abs() < 1e-9, "{found}");
        }
    }
}

#[test]
fn few_and_equal_tracks_are_as_scikit_learn_has_them() {
    let cases: Vec<Degenerate> = serde_json::from_str(include_str!("expected/degenerate.json")).unwrap();
    let (metric, linkage, constraints) = (Metric::Euclidean, Linkage::Average, false);
    for case in cases {
        let items = items(&case.vectors);
        let tree = Agglomerative { metric, linkage, cut: Cut::Height(0.5), constraints };
        assert_eq!(labels(&tree, &items), renamed(&case.agglomerative));
        let dbscan = Dbscan { metric, eps: 0.5, min_samples: 2, constraints };
        assert_eq!(labels(&dbscan, &items), renamed(&case.dbscan));
        let hdbscan = Hdbscan { metric, min_cluster_size: 2, min_samples: 2, constraints };
        assert_eq!(labels(&hdbscan, &items), renamed(&case.hdbscan), "{:?}", case.vectors);
    }
}

#[derive(Deserialize)]
struct Evidence {
    quality: Quality,
    vectors: Vec<Vec<f32>>,
    norms: Vec<f32>,
    cannot_link: Vec<(usize, usize)>,
    further: Further,
    outfits: Vec<Worn>,
    one: Partitions,
    two: Partitions,
    veto: Partitions,
    clothed: Partitions,
}

#[derive(Deserialize)]
struct Further {
    quality: Quality,
    vectors: Vec<Option<Vec<f32>>>,
    norms: Vec<f32>,
}

#[derive(Deserialize)]
struct Worn {
    item: usize,
    torso: Vec<f32>,
    first_secs: f64,
    last_secs: f64,
    shot: i64,
}

#[derive(Deserialize)]
struct Partitions {
    alpha: f64,
    labels: Vec<i64>,
    at_distance_08: Vec<i64>,
    in_5_clusters: Vec<i64>,
}

/// Made by `reference/make_expected_link.py`: with one embedder, with two, and both with clothes.
#[test]
fn link_is_its_definition() {
    let cases: Vec<Evidence> = serde_json::from_str(include_str!("expected/link.json")).unwrap();
    for case in cases {
        let crops = case.vectors.iter().zip(&case.norms).enumerate();
        let crops = crops.map(|(item, (vector, norm))| Crop { item, vector, norm: *norm }).collect();
        let rows = case.vectors.iter().map(Vec::as_slice).collect();
        let outfits = case.outfits.iter().map(|worn| Outfit {
            item: worn.item,
            torso: &worn.torso,
            first_secs: worn.first_secs,
            last_secs: worn.last_secs,
            shot: worn.shot,
        });
        let one = Items::new(rows, case.cannot_link.clone()).unwrap().with_crops(crops).unwrap();
        let one = one.with_outfits(outfits.collect()).unwrap();
        let seen = case.further.vectors.iter().zip(&case.further.norms);
        let seen = seen.map(|(vector, norm)| Some((vector.as_deref()?, *norm))).collect();
        let view = FurtherView { quality: &case.further.quality, seen };
        let two = one.clone().with_views(vec![view]).unwrap();
        for (name, items, clothes, expected) in [
            ("one", &one, Clothes::Off, &case.one),
            ("two", &two, Clothes::Off, &case.two),
            ("veto", &one, Clothes::Veto, &case.veto),
            ("clothed", &two, Clothes::Both, &case.clothed),
        ] {
            for (cut, labels) in [
                (Cut::Best, &expected.labels),
                (Cut::Height(0.8), &expected.at_distance_08),
                (Cut::Clusters(5), &expected.in_5_clusters),
            ] {
                let scale = Scale::Evidence(case.quality.clone());
                let link = Link { scale, cut, clothes, without: vec![Part::SecondLook], threads: 2 };
                is_its_definition(&link, items, labels, expected.alpha, name);
            }
        }
    }
}

fn is_its_definition(link: &Link, items: &Items<'_>, expected: &[i64], alpha: f64, name: &str) {
    let found = link.assign(items, &mut |_, _| ()).unwrap();
    let of_link = found.calibration.as_ref().unwrap().alpha;
    assert!((of_link / alpha - 1.0).abs() < 1e-6, "{name}: {of_link} for {alpha}");
    // Noise is alone.
    for (label, own) in found.labels.iter().zip(expected) {
        let is_alone = expected.iter().filter(|other| *other == own).count() == 1;
        assert!(label.is_some() || is_alone, "{name} {:?}", link.cut);
    }
    let expected: Vec<_> = found.labels.iter().zip(expected).map(|(l, e)| l.map_or(-1, |_| *e)).collect();
    assert_eq!(found.labels, renamed(&expected), "{name} {:?}", link.cut);
}
