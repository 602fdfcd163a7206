#!/usr/bin/env python3
"""Makes ../expected/*.json, what tests/parity.rs compares with.

    python3 make_expected.py

Each case has unit vectors and what scikit-learn and SciPy make of them. Cosine distances are one less the
product of the vectors as stored, in double precision, as ours are. Made with scikit-learn 1.9.1, SciPy
1.17.1 and numpy 2.4.6.
"""
import json, os
import numpy as np
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import silhouette_score

HERE = os.path.dirname(os.path.abspath(__file__))
LINKAGES = ["average", "complete", "single", "ward"]
METRICS = ["cosine", "euclidean"]


def blobs(seed, sizes, dim, spread, noise):
    """Directions of people with their tracks around them, and tracks of nobody in particular."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), dim))
    people = np.repeat(np.arange(len(sizes)), sizes)
    x = np.concatenate([centres[people] + spread * rng.normal(size=(len(people), dim)), rng.normal(size=(noise, dim))])
    x = x[rng.permutation(len(x))]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def distances(x, metric):
    x = x.astype(float)
    if metric == "cosine":
        d = np.clip(1 - x @ x.T, 0, 2)
    else:
        d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    d = np.triu(d, 1)
    return d + d.T


def trees(d, metric):
    kinds = [kind for kind in LINKAGES if kind != "ward" or metric == "euclidean"]
    return {kind: linkage(squareform(d, checks=False), kind)[:, 2].tolist() for kind in kinds}


def agglomerative(x, d, metric, ks):
    found = []
    for kind in LINKAGES:
        if kind == "ward" and metric == "cosine":
            continue
        heights = linkage(squareform(d, checks=False), kind)[:, 2]
        # Between two heights, so that rounding decides nothing.
        cuts = [dict(n_clusters=k) for k in ks] + [
            dict(n_clusters=None, distance_threshold=float((heights[-k] + heights[1 - k]) / 2)) for k in ks]
        for cut in cuts:
            method = AgglomerativeClustering(linkage=kind, metric="euclidean" if kind == "ward" else "precomputed", **cut)
            labels = method.fit_predict(x.astype(float) if kind == "ward" else d)
            found.append(dict(linkage=kind, k=cut["n_clusters"], threshold=cut.get("distance_threshold"), labels=labels.tolist()))
    return found


def dbscan(d, settings):
    return [dict(eps=eps, min_samples=m, labels=DBSCAN(eps=eps, min_samples=m, metric="precomputed").fit_predict(d).tolist())
            for eps, m in settings]


def hdbscan(d, settings):
    found = []
    for size, samples in settings:
        method = HDBSCAN(min_cluster_size=size, min_samples=samples, metric="precomputed", copy=True)
        found.append(dict(min_cluster_size=size, min_samples=samples, labels=method.fit_predict(d).tolist()))
    return found


def kmeans(x, ks):
    """From stored centres one run, label by label; and the best of scikit-learn's own runs, by inertia."""
    x, found = x.astype(float), []
    for k in ks:
        first = x[np.random.default_rng(k).choice(len(x), k, replace=False)]
        from_first = KMeans(k, init=first, n_init=1, tol=0).fit(x)
        # Where people lie close together ten restarts end in different places.
        best = [KMeans(k, n_init=10, random_state=seed, tol=0).fit(x).inertia_ for seed in range(10)]
        found.append(dict(centres=first.tolist(), labels=from_first.labels_.tolist(), inertia=from_first.inertia_,
                          mean_best_inertia=float(np.mean(best))))
    return found


def case(x, ks, eps, min_samples, hdbscan_settings):
    of_metric = {}
    for metric in METRICS:
        d = distances(x, metric)
        radii = eps if metric == "cosine" else [float(np.sqrt(2 * e)) for e in eps]
        labels = AgglomerativeClustering(n_clusters=ks[0], metric="precomputed", linkage="average").fit_predict(d)
        of_metric[metric] = dict(
            heights=trees(d, metric), agglomerative=agglomerative(x, d, metric, ks),
            dbscan=dbscan(d, [(e, m) for e in radii for m in min_samples]),
            hdbscan=hdbscan(d, hdbscan_settings),
            silhouette=dict(labels=labels.tolist(), value=float(silhouette_score(d, labels, metric="precomputed"))))
    return dict(vectors=[[float(v) for v in row] for row in x], metrics=of_metric, kmeans=kmeans(x, ks))


def degenerate():
    """What scikit-learn says of very few, and of equal vectors."""
    same, cases = [0.6, 0.8], []
    for vectors in [[same], [same] * 2, [same] * 6, [[1.0, 0.0], [0.0, 1.0]], [same] * 3 + [[-0.8, 0.6]] * 3]:
        x = np.array(vectors, np.float32)
        d, n = distances(x, "euclidean"), len(x)
        single = dict(n_clusters=None, distance_threshold=0.5, metric="precomputed", linkage="average")
        cases.append(dict(
            vectors=[[float(v) for v in row] for row in x],
            agglomerative=[0] if n == 1 else AgglomerativeClustering(**single).fit_predict(d).tolist(),
            dbscan=DBSCAN(eps=0.5, min_samples=2, metric="precomputed").fit_predict(d).tolist(),
            # It refuses one track.
            hdbscan=[-1] if n == 1 else HDBSCAN(min_cluster_size=2, metric="precomputed", copy=True).fit_predict(d).tolist()))
    return cases


def write(name, content):
    with open(os.path.join(HERE, "..", "expected", name), "w") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    write("small.json", case(blobs(1, [12, 9, 7, 5, 3], 8, 0.35, 4), [5, 3], [0.05, 0.1, 0.2], [2, 3], [(2, 2), (3, 3), (4, 2)]))
    write("medium.json", case(blobs(2, [40, 25, 18, 12, 8, 5, 3, 1], 16, 0.5, 8), [8, 4], [0.1, 0.15, 0.2], [2, 4], [(2, 2), (5, 5), (5, 3)]))
    write("degenerate.json", degenerate())
