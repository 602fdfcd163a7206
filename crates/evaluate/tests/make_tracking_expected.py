#!/usr/bin/env python3
"""Makes tracking_expected.json, the stored cases that tests/tracking.rs compares with.

    python3 make_tracking_expected.py > tracking_expected.json

Every figure comes from TrackEval itself, from its classes HOTA, CLEAR and Identity. Cases are frames
of names and overlaps; clips are labels and found boxes, from which this script makes such frames as
the stage does: on labelled frames only, less the found boxes that match a face of unknown identity.
Needs numpy, scipy and trackeval (made with 1.3.0).
"""
import contextlib, json, sys
import numpy as np
from scipy.optimize import linear_sum_assignment

# TrackEval prints as it goes, and standard output is for the cases.
with contextlib.redirect_stdout(sys.stderr):
    from trackeval.metrics import CLEAR, HOTA, Identity

MIN_IOU = 0.5


def iou(a, b):
    """Overlaps of boxes x, y, w, h: one row per box of a, one column per box of b."""
    a, b = np.reshape(a, (-1, 1, 4)), np.reshape(b, (1, -1, 4))
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    inter = np.clip(high - low, 0, None).prod(2)
    return inter / (a[..., 2:].prod(2) + b[..., 2:].prod(2) - inter)


def score(frames):
    """TrackEval's figures of frames (true names, found names, overlaps)."""
    number = lambda names: {name: at for at, name in enumerate(dict.fromkeys(names))}
    true = number(name for t, _, _ in frames for name in t)
    found = number(name for _, f, _ in frames for name in f)
    assert all(len(set(t)) == len(t) and len(set(f)) == len(f) for t, f, _ in frames), "TrackEval refuses this"
    data = dict(
        num_timesteps=len(frames), num_gt_ids=len(true), num_tracker_ids=len(found),
        num_gt_dets=sum(len(t) for t, _, _ in frames), num_tracker_dets=sum(len(f) for _, f, _ in frames),
        gt_ids=[np.array([true[name] for name in t], int) for t, _, _ in frames],
        tracker_ids=[np.array([found[name] for name in f], int) for _, f, _ in frames],
        similarity_scores=[np.reshape(s, (len(t), len(f))).astype(float) for t, f, s in frames])
    config = dict(THRESHOLD=MIN_IOU, PRINT_CONFIG=False)
    with contextlib.redirect_stdout(sys.stderr):
        hota = HOTA().eval_sequence(data)
        clear, identity = CLEAR(config).eval_sequence(data), Identity(config).eval_sequence(data)
    out = {name.lower(): np.mean(hota[name]) for name in ("HOTA", "DetA", "DetRe", "DetPr", "AssA", "AssRe", "AssPr", "LocA")}
    out.update(mota=clear["MOTA"], id_switches=clear["IDSW"], fragmentations=clear["Frag"], mostly_tracked=clear["MT"],
               mostly_lost=clear["ML"], id_precision=identity["IDP"], id_recall=identity["IDR"], id_f1=identity["IDF1"])
    return {name: float(value) for name, value in out.items()}


def paths(rng, n, length, size=50.0):
    """Boxes of n faces that wander, one row per frame."""
    place = rng.uniform(0, 300, (1, n, 2)) + np.cumsum(rng.normal(0, 4, (length, n, 2)), 0)
    return np.concatenate([place, np.full((length, n, 2), size)], 2)


def case(name, rng, n, length, tracks, noise=0.0, present=1.0):
    """n faces, some of the time labelled, each found under the names tracks(frame, face), some pixels off."""
    frames = []
    for at, boxes in enumerate(paths(rng, n, length)):
        here = [face for face in range(n) if rng.random() < present]
        found = [(track, boxes[face] + [*rng.normal(0, noise, 2), 0, 0]) for face in range(n) for track in tracks(at, face)]
        found = [found[i] for i in rng.permutation(len(found))]
        overlap = np.round(iou([boxes[face] for face in here], [box for _, box in found]), 6)
        frames.append((here, [track for track, _ in found], overlap))
    return stored(name, frames)


def stored(name, frames):
    plain = lambda values: [int(v) if v == int(v) else float(v) for v in np.ravel(values)]
    return dict(name=name, frames=[[t, f, plain(s)] for t, f, s in frames], expected=score(frames))


def crossing(length):
    """Two faces run through each other, and their tracks swap where they meet."""
    frames = []
    for at in range(length):
        true = [[10.0 * at, 0, 50, 50], [10.0 * (length - 1 - at), 6, 50, 50]]
        found = [[x + 2, y + 1, w, h] for x, y, w, h in true]
        frames.append(([0, 1], [0, 1] if 2 * at < length else [1, 0], np.round(iou(true, found), 6)))
    return stored("swap at a crossing", frames)


def cases(rng):
    keep = lambda at, face: [face]
    steps = [([0], [0], [[round(0.05 * step, 2)]]) for step in range(21)]
    return [
        case("perfect", rng, 3, 20, keep),
        crossing(20),
        case("fragments", rng, 3, 40, lambda at, face: [] if at % 9 in (3, 4) else [10 * face + at // 9]),
        case("gaps", rng, 3, 40, lambda at, face: [] if (at + face) % 7 == 0 else [face]),
        case("merged", rng, 4, 30, lambda at, face: [face // 2] if (at < 15) == (face % 2 == 0) else []),
        case("false boxes", rng, 2, 30, lambda at, face: [face, 100 + at // 5 + 50 * face][:rng.integers(1, 3)], noise=5),
        case("misses", rng, 4, 30, lambda at, face: [face] if rng.random() < 0.1 + 0.25 * face else []),
        case("nothing found", rng, 2, 5, lambda at, face: []),
        case("nothing labelled", rng, 2, 5, keep, present=0.0),
        stored("nothing at all", [([], [], [])] * 3),
        stored("overlaps at the very thresholds", steps),
        case("jitter", rng, 4, 40, keep, noise=9, present=0.8),
        case("crowd", rng, 16, 40, lambda at, face: [100 * face + (at + face) // 6] if rng.random() < 0.9 else [], noise=6, present=0.9),
    ]


def clip(rng, n_frames, shot_frames, noise):
    """Labels and found boxes: faces unknown, frames empty, frames not judged, tracks over a cut."""
    names = ["anna", "bert, jr.", "cleo", "zoë", "?"]
    true, found = [], []
    for at, boxes in enumerate(paths(rng, len(names), n_frames)):
        shot, kind = at // shot_frames, rng.random()
        here = [face for face in range(len(names)) if (face + shot) % 3]
        for face in here:
            if 0.05 < kind < 0.9:
                true.append([at, *np.round(boxes[face], 1).tolist(), names[face], shot])
            if rng.random() < 0.9:
                box = np.round(boxes[face] + [*rng.normal(0, noise, 2), 0, 0], 1).tolist()
                # Tracks break every 17 frames and know nothing of cuts; every fourth is noise, and the
                # others of a face lie in two clusters.
                track = 100 * face + at // 17
                found.append([at, *box, track, None if track % 4 == 3 else 2 * face + at // 51 % 2])
        if kind <= 0.05:
            true.append([at, 0, 0, 0, 0, "-", shot])
        if rng.random() < 0.2:
            found.append([at, 900.0, 10.0, 40.0, 40.0, 9000 + at // 7, 77])
    return dict(frames=n_frames, truth=true, found=found, **judged(true, found))


def judged(true, found):
    frames = []
    for at in sorted({row[0] for row in true}):
        faces = [row for row in true if row[0] == at and row[5] != "-"]
        boxes = [row for row in found if row[0] == at]
        overlap = iou([row[1:5] for row in faces], [row[1:5] for row in boxes])
        reached = np.where(overlap >= MIN_IOU, overlap, 0)
        pairs = [(t, f) for t, f in zip(*linear_sum_assignment(-reached)) if reached[t, f] > 0]
        ignored = {f for t, f in pairs if faces[t][5] == "?"}
        known = [t for t, face in enumerate(faces) if face[5] != "?"]
        counted = [f for f in range(len(boxes)) if f not in ignored]
        frames.append(([faces[t] for t in known], [boxes[f] for f in counted], overlap[known][:, counted]))
    named = lambda true, found: [([true(t) for t in ts], [found(f) for f in fs], s) for ts, fs, s in frames]
    tracks = named(lambda t: (t[6], t[5]), lambda f: f[5])
    identities = named(lambda t: t[5], lambda f: ("alone", f[5]) if f[6] is None else f[6])
    return dict(tracks=score(tracks), identities=score(identities))


def main():
    rng = np.random.default_rng(20240917)
    out = dict(cases=cases(rng), clips=[clip(rng, 60, 20, 3.0), clip(rng, 90, 37, 8.0)])
    json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
