"""The judge of `cargo xtask bench peers`: boxes and people of either side against the labels of a clip; `episodes.py` reads
labels and runs by it, too.

    python score.py LABELS.csv RUN_DIR|PEER.csv

Prints one JSON object. A face and a label of its frame match from an IoU of 0.5, the best pairs first, one with one. Faces
on frames without a label, and those that match a label `?`, do not count. A track without a cluster is a person of its own.
"""
import csv
import json
import pathlib
import sys
from collections import Counter, defaultdict

from accuracy import b_cubed, overlap

SAME_FACE = 0.5


def labelled(path):
    """By frame, the labelled faces: box (x, y, w, h) and identity."""
    frames = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            # `-` stands for a frame without faces.
            faces = frames[int(row["frame"])]
            if row["identity"] != "-":
                faces.append((tuple(float(row[edge]) for edge in "xywh"), row["identity"] or "?"))
    return frames


def of_peer(path):
    """By frame, the faces that a peer found: box and cluster."""
    frames = defaultdict(list)
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            frames[int(row["frame"])].append((tuple(float(row[edge]) for edge in "xywh"), row["cluster"]))
    return frames


def rows(run, table, *columns):
    """Rows of a table of a run."""
    import pyarrow.parquet

    return pyarrow.parquet.read_table(run / f"{table}.parquet", columns=[*columns]).to_pylist()


def tracked(run):
    """The faces of a run that belong to a track: frame, box and track."""
    for face in rows(run, "detections", "frame_idx", "track_id", "x_min", "y_min", "x_max", "y_max"):
        x, y = face["x_min"], face["y_min"]
        if face["track_id"] is not None:
            yield face["frame_idx"], (x, y, face["x_max"] - x, face["y_max"] - y), face["track_id"]


def clusters_of(run):
    """The cluster of each track of a run; None if the track is not sorted."""
    return {row["track_id"]: row["cluster_id"] for row in rows(run, "clusters", "track_id", "cluster_id")}


def of_run(run):
    """By frame, the faces of a run that belong to a track: box, and cluster or track."""
    clusters, frames = clusters_of(run), defaultdict(list)
    for frame, box, track in tracked(run):
        cluster = clusters.get(track)
        frames[frame].append((box, f"track {track}" if cluster is None else cluster))
    return frames


def hungarian(table):
    """Largest sum of a table of pairs, each side of a pair taken once."""
    import numpy
    from scipy.optimize import linear_sum_assignment

    rows, columns = (sorted({pair[side] for pair in table}, key=str) for side in (0, 1))
    counts = numpy.array([[table[row, column] for column in columns] for row in rows])
    return int(counts[linear_sum_assignment(-counts)].sum())


def score(labels, faces, assign=hungarian):
    """The figures of faces; without a match, those of people are null."""
    pairs, found, true = [], 0, 0
    for frame, here in labels.items():
        there = faces.get(frame, [])
        ious = ((overlap(face[0], label[0]), i, j) for i, face in enumerate(there) for j, label in enumerate(here))
        matches, taken = {}, set()
        for iou, i, j in sorted(ious, reverse=True):
            if iou >= SAME_FACE and i not in matches and j not in taken:
                matches[i] = here[j][1]
                taken.add(j)
        pairs += [(there[i][1], identity) for i, identity in matches.items() if identity != "?"]
        found += len(there) - sum(identity == "?" for identity in matches.values())
        true += sum(identity != "?" for _, identity in here)
    people = {identity for here in labels.values() for _, identity in here} - {"?"}
    return {
        "det_precision": len(pairs) / found if found else None,
        "det_recall": len(pairs) / true if true else None,
        "b3_f1": b_cubed(pairs)[2] if pairs else None,
        "id_f1": 2 * assign(Counter(pairs)) / (found + true) if pairs else None,
        "clusters_per_person": len({cluster for cluster, _ in pairs}) / len(people) if people else None,
    }


def main(labels, side):
    side = pathlib.Path(side)
    print(json.dumps(score(labelled(labels), of_run(side) if side.is_dir() else of_peer(side))))


if __name__ == "__main__":
    main(*sys.argv[1:])
