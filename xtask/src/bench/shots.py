"""Shot boundaries of whole runs on labelled clips and their copies, beside PySceneDetect's adaptive detector; called by
`cargo xtask bench shots`.

A clip of `bench accuracy` takes part if NAME.shots.csv (shot,first_frame,end_frame_exclusive[,…,transition]) is beside it.
Boundaries are the first frames of shots, except the first shot. A found boundary and a labelled one match if they are at
most `--tolerance` frames apart, one with one. The last frames of a transition that is not a cut count as it, too.
"""
import argparse
import csv
import json
import re
import sys
from collections import defaultdict

import accuracy
import pyarrow.parquet
from scenedetect import AdaptiveDetector, detect

COPIES = ["original", *accuracy.COPIES, *accuracy.UNUSUAL]


def labelled(path):
    """The labelled boundaries: for each shot but the first, the first frame and the number of frames of its transition."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    length = lambda row: int((re.search(r"\d+$", row.get("transition") or "") or ["0"])[0])
    return [(int(row["first_frame"]), length(row)) for row in rows[1:]]


def own(run):
    """The boundaries that the program found."""
    shots = pyarrow.parquet.read_table(run / "shots.parquet", columns=["first_frame_idx"])
    return shots.column("first_frame_idx").to_pylist()[1:]


def theirs(video, shortest):
    """The boundaries of PySceneDetect. `shortest` is the smallest length of a shot; `None` for its default."""
    detector = AdaptiveDetector() if shortest is None else AdaptiveDetector(min_scene_len=shortest)
    scenes = detect(str(video), detector)
    frame = lambda time: time.frame_num if hasattr(time, "frame_num") else time.get_frames()
    return [frame(start) for start, _ in scenes[1:]]


def matches(found, labels, tolerance):
    """Number of found boundaries that match a labelled one, each with its own, in order of time."""
    n, free = 0, sorted(found)
    for first, length in labels:
        near = [at for at in free if first - tolerance <= at <= first + length + tolerance]
        if near:
            n += 1
            free = [at for at in free if at > near[0]]
    return n


def scores(counts):
    """Precision, recall and F1 of (matches, found, labelled); a clip without boundaries and findings has 1."""
    n, found, true = counts
    return n / found if found else 1.0, n / true if true else 1.0, 2 * n / (found + true) if found + true else 1.0


def main():
    parser = argparse.ArgumentParser()
    accuracy.arguments(parser)
    parser.add_argument("--tolerance", type=int, required=True)
    args = parser.parse_args()
    results = defaultdict(dict)
    for name, copy, video, labels, run in accuracy.jobs(args):
        shots = args.data / f"{name}.shots.csv"
        if not shots.exists() or copy in ("1fps", "combed"):
            continue
        accuracy.run_job(args, name, copy, video, labels, run)
        if copy != "original":
            video = args.work / "copies" / f"{run.name}.mkv"
        true = labelled(shots)
        sides = {"ours": own(run), "adaptive": theirs(video, None), "adaptive, any length": theirs(video, 2)}
        results[copy][name] = {
            side: [matches(found, true, args.tolerance), len(found), len(true)] for side, found in sides.items()}
        print(f"{name} {copy}", file=sys.stderr)
    if not results:
        sys.exit(f"error: no clip in `{args.data}` has a list of shots, NAME.shots.csv")
    sides = ["ours", "adaptive", "adaptive, any length"]
    rows = [["clip", "copy", "boundaries", *(f"{side}: {word}" for side in sides for word in ("P", "R", "F1"))]]
    for copy in sorted(results, key=COPIES.index):
        clips = results[copy]
        total = {side: [sum(values) for values in zip(*(clip[side] for clip in clips.values()))] for side in sides}
        for name, clip in [*clips.items(), ("all", total)]:
            figures = [accuracy.text(value) for side in sides for value in scores(clip[side])]
            rows.append([name, copy, str(clip["ours"][2]), *figures])
    accuracy.table(rows, 2)
    if args.out:
        args.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
