"""`cargo xtask bench link`: what the tracks of labelled runs can be linked to, by `link` and by others.

    python runs.py RUN_DIR..

All see the same: the vectors of the first embedder, one a track, and, where they can heed them, the same
pairs that must stay apart. A method with a threshold gets the one that does best on the other runs. Prints
one JSON object.
"""
import json, pathlib, sys
import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import linear_sum_assignment

import figures

CUTS = np.arange(0.30, 1.2, 0.01)
LIKENESSES = np.arange(0.05, 0.95, 0.01)
MIN_IOU = 0.5
BOX = ["x_min", "y_min", "x_max", "y_max"]
# What a pair that must stay apart adds to the distance of two clusters.
APART = 2.0


def columns(folder, table, *names):
    found = pq.read_table(folder / f"{table}.parquet", columns=list(names)).to_pydict()
    return [np.array(found[name]) for name in names]


class Run:
    """The tracks of a finished run, and what the labels say of them."""

    def __init__(self, folder):
        self.name, self.folder = folder.resolve().name, folder
        self.read_vectors()
        self.read_labels()
        ids, clusters = columns(folder, "clusters", "track_id", "cluster_id")
        of = {i: -1 if c is None or c != c else int(c) for i, c in zip(ids, clusters)}
        self.linked = np.array([of.get(i, -1) for i in self.ids])
        a, b, kind, weight = columns(folder, "constraints", "track_a", "track_b", "kind", "weight")
        place = {i: at for at, i in enumerate(self.ids)}
        known = lambda x, y: x in place and y in place
        self.apart = [(place[x], place[y]) for x, y, k, w in zip(a, b, kind, weight)
                      if k == "cannot_link" and w > 0 and known(x, y)]

    def read_vectors(self):
        table = pq.read_table(self.folder / "track_embeddings.parquet")
        first = json.loads(table.schema.metadata[b"facetrack"])["embedders"][0]
        mine = np.array(table["embedder"].to_pylist()) == first["name"]
        self.ids = np.array(table["track_id"].to_pylist())[mine]
        vectors = np.array(table["embedding"].to_pylist(), float)[mine, : first["dim"]]
        self.vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self.likeness = self.vectors @ self.vectors.T

    def read_labels(self):
        """Pairs a labelled face with a found one, frame by frame, and finds the person that each track shows."""
        frames, names, *box = columns(self.folder, "labels", "frame_idx", "identity", *BOX)
        faces = np.array([x is not None and x == x for x in box[0]], bool)
        boxes, seen_in, names = np.array(box, float).T[faces], frames[faces], names[faces]
        known = np.array([name not in (None, "?") for name in names], bool)
        at, track, *box = columns(self.folder, "detections", "frame_idx", "track_id", *BOX)
        judged = np.isin(at, frames) & np.array([t is not None and t == t for t in track], bool)
        at, track, found = at[judged], track[judged].astype(int), np.array(box, float).T[judged]
        pairs = [pair for frame in np.unique(seen_in)
                 for pair in matched(boxes, found, np.flatnonzero(seen_in == frame), np.flatnonzero(at == frame))]
        self.people = sorted(set(names[known]))
        ignored = sum(not known[face] for face, _ in pairs)
        self.n_true, self.n_found = int(known.sum()), len(found) - ignored
        self.seen = np.zeros((len(self.ids), len(self.people)), int)
        row = {i: at for at, i in enumerate(self.ids)}
        for face, box in pairs:
            if known[face]:
                self.seen[row[track[box]], self.people.index(names[face])] += 1
        self.judged = self.seen.sum(axis=1) > 0
        if not self.judged.any():
            raise SystemExit(f"error: no track of {self.name} shows a labelled person")
        self.shows = self.seen.argmax(axis=1)

    def figures(self, labels):
        labels = figures.alone(labels)
        found = figures.clustering(self.shows[self.judged], labels[self.judged])
        frames = np.zeros((labels.max() + 1, len(self.people)), int)
        np.add.at(frames, labels, self.seen)
        best = frames[linear_sum_assignment(-frames)].sum()
        found["id_f1"] = 2 * best / (self.n_found + self.n_true)
        found["clusters"], found["persons"] = len(set(labels[self.judged])), len(self.people)
        found["ratio"] = found["clusters"] / found["persons"]
        return {name: float(value) for name, value in found.items()}

    def auc(self):
        """Of pairs of tracks: how often two tracks of one person are more similar than two of different people."""
        from sklearn.metrics import roc_auc_score

        tracks = np.flatnonzero(self.judged)
        a, b = np.triu_indices(len(tracks), 1)
        same = self.shows[tracks[a]] == self.shows[tracks[b]]
        return float(roc_auc_score(same, self.likeness[tracks[a], tracks[b]])) if 0 < same.mean() < 1 else None

    def check(self):
        """Our figures of `link` are those of `evaluate`, or nothing here can be trusted."""
        mine = self.figures(self.linked)
        units = dict(b3_f1="track", wcp="track", ratio="track", id_f1="frame")
        for name, unit, value in zip(*columns(self.folder, "metrics", "name", "unit", "value")):
            if units.get(name) == unit and abs(mine[name] - value) > 1e-6:
                raise SystemExit(f"error: {name} of {self.name} is {mine[name]} here and {value} in metrics")


def matched(boxes, found, faces, candidates):
    """Pairs of a labelled and a found face in one frame, of the largest overlap together."""
    a, b = boxes[faces][:, None], found[candidates][None]
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None)
    size = lambda box: (box[..., 2:] - box[..., :2]).prod(axis=-1)
    iou = sides.prod(axis=-1) / np.maximum(size(a) + size(b) - sides.prod(axis=-1), 1e-9)
    iou[iou < MIN_IOU] = 0
    return [(faces[i], candidates[j]) for i, j in zip(*linear_sum_assignment(-iou)) if iou[i, j] > 0]


def dendrogram(run):
    """Average linkage under constraints by its definition: merges as (height, a, b), a taking b in."""
    n = len(run.ids)
    sums, sizes, apart = 1 - run.likeness, np.ones(n), np.zeros((n, n))
    for a, b in run.apart:
        apart[a, b] = apart[b, a] = APART
    merges, living = [], np.ones(n, bool)
    for _ in range(n - 1):
        heights = sums / np.outer(sizes, sizes) + apart
        heights[~living] = heights[:, ~living] = np.inf
        np.fill_diagonal(heights, np.inf)
        a, b = np.unravel_index(heights.argmin(), heights.shape)
        merges.append((heights[a, b], a, b))
        sums[a] += sums[b]
        sums[:, a] += sums[:, b]
        apart[a] = np.maximum(apart[a], apart[b])
        apart[:, a] = apart[a]
        sizes[a] += sizes[b]
        living[b] = False
    return merges


def hac(run, cut):
    labels = np.arange(len(run.ids))
    if not hasattr(run, "tree"):
        run.tree = dendrogram(run)
    for height, a, b in run.tree:
        if height <= cut:
            labels[labels == labels[b]] = labels[a]
    return labels


def whispers(run, likeness):
    """Chinese whispers (Biemann 2006) as dlib has them: a node takes the label of most of its neighbours."""
    rng, labels = np.random.default_rng(0), np.arange(len(run.ids))
    near = run.likeness > likeness
    np.fill_diagonal(near, False)
    for _ in range(100):
        before = labels.copy()
        for node in rng.permutation(len(labels)):
            if near[node].any():
                labels[node] = np.bincount(labels[near[node]]).argmax()
        if (labels == before).all():
            break
    return labels


def hdbscan(run):
    from sklearn.cluster import HDBSCAN

    return HDBSCAN(min_cluster_size=2, metric="cosine", algorithm="brute", copy=True).fit_predict(run.vectors)


def finch(run):
    """Labels of every partition, the finest first."""
    import warnings

    warnings.simplefilter("ignore")  # It says which packages it could make use of.
    from finch import FINCH

    return FINCH(run.vectors, distance="cosine", verbose=False)[0].T


def chosen(method, settings, others):
    """The setting that does best on other runs; of several the middle one."""
    means = np.array([np.mean([run.figures(method(run, s))["b3_f1"] for run in others]) for s in settings])
    best = np.flatnonzero(means == means.max())
    return float(settings[best[len(best) // 2]])


def rows(run, others):
    yield "link", None, run.linked
    if others:
        for name, method, settings in [("HAC", hac, CUTS), ("Chinese whispers", whispers, LIKENESSES)]:
            setting = chosen(method, settings, others)
            yield name, f"{setting:.2f}", method(run, setting)
    if len(run.ids) > 2:
        for level, labels in enumerate(finch(run), 1):
            yield "FINCH", f"partition {level}", labels
        yield "HDBSCAN", None, hdbscan(run)
    yield "oracle", None, np.where(run.judged, run.shows, -1)


def main(folders):
    runs = [Run(pathlib.Path(folder)) for folder in folders]
    [run.check() for run in runs]
    found = []
    for run in runs:
        others = [other for other in runs if other is not run]
        judged = [dict(run.figures(labels), method=name, setting=setting) for name, setting, labels in rows(run, others)]
        found.append(dict(run=run.name, tracks=len(run.ids), auc=run.auc(), rows=judged))
    print(json.dumps(dict(bench="link", runs=found)))


try:
    main(sys.argv[1:])
except KeyboardInterrupt:
    sys.exit(130)
