#!/usr/bin/env python3
"""Makes expected.json, the stored cases that tests/parity.rs compares with.

    python3 make_expected.py [path/to/score.py] > expected.json

Figures come from scikit-learn and, for those it does not have, from formulas written out here over
all pairs of items, the slow and obvious way. Given the project's independent scorer, each labelled
case is also run through it, and its figures are stored; without it, the stored ones are kept.
Needs numpy, pandas, scipy and scikit-learn.
"""
import importlib.util, json, os, subprocess, sys, tempfile
import numpy as np
import pandas as pd
from sklearn.calibration import calibration_curve
from sklearn.metrics import (adjusted_mutual_info_score, adjusted_rand_score, homogeneity_completeness_v_measure,
                             normalized_mutual_info_score, silhouette_score)
from sklearn.metrics.pairwise import cosine_distances

HERE = os.path.dirname(os.path.abspath(__file__))


def prf(p, r):
    return [p, r, 2 * p * r / (p + r) if p + r else 0.0]


def grouping(rng, n, groups, people, noise):
    person = rng.integers(0, people, n)
    group = np.where(rng.random(n) < noise, rng.integers(0, groups, n), person % groups)
    weight = rng.integers(1, 60, n)
    same_g, same_p = group[:, None] == group[None, :], person[:, None] == person[None, :]
    pair = np.outer(weight, weight) * (1 - np.eye(n))
    both = (pair * same_g * same_p).sum()
    share = lambda whole: both / (pair * whole).sum() if (pair * whole).sum() else 1.0
    w = weight / weight.sum()
    b3p = sum(w[i] * weight[same_g[i] & same_p[i]].sum() / weight[same_g[i]].sum() for i in range(n))
    b3r = sum(w[i] * weight[same_g[i] & same_p[i]].sum() / weight[same_p[i]].sum() for i in range(n))
    wcp = sum(max(weight[(group == g) & (person == c)].sum() for c in set(person)) for g in set(group))
    spread = lambda labels: np.repeat(labels, weight)
    return dict(
        group=group.tolist(), person=person.tolist(), weight=weight.tolist(),
        ari=adjusted_rand_score(person, group), nmi=normalized_mutual_info_score(person, group),
        ami=adjusted_mutual_info_score(person, group), v=list(homogeneity_completeness_v_measure(person, group)),
        v_weighted=list(homogeneity_completeness_v_measure(spread(person), spread(group))),
        nmi_weighted=normalized_mutual_info_score(spread(person), spread(group)),
        wcp_weighted=wcp / weight.sum(), b3_weighted=prf(b3p, b3r), pairs_weighted=prf(share(same_g), share(same_p)))


def vectors(rng, n, groups, dim):
    centre = rng.normal(size=(groups, dim))
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, n - groups)])
    x = (centre[group] + 0.7 * rng.normal(size=(n, dim))).astype(np.float32)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    d = cosine_distances(x.astype(float))
    upper = np.triu(np.ones((n, n), bool), 1)
    same = group[:, None] == group[None, :]
    return dict(group=group.tolist(), vectors=[[float(v) for v in row] for row in x],
                silhouette=silhouette_score(x.astype(float), group, metric="cosine"),
                within=1 - d[upper & same].mean(), between=1 - d[upper & ~same].mean())


def guesses(rng, n, sharpness):
    said = rng.random(n).round(6)
    right = rng.random(n) < said ** sharpness
    share, mean = calibration_curve(right, said, n_bins=10, strategy="uniform")
    count = np.histogram(said, np.linspace(0, 1, 11))[0]
    return dict(said=said.tolist(), right=right.tolist(), error=(abs(share - mean) * count[count > 0]).sum() / n)


def clip(rng, frames, people, noise):
    """Labels, and found boxes that miss, jitter, swap, split and merge."""
    truth, found = [], []
    names = ["?", "zoë", "anna", "bert, jr.", "cleo", "dora"][:people + 1]
    for f in range(frames):
        here = rng.permutation(len(names))[:rng.integers(0, len(names) + 1)]
        if rng.random() < 0.1:
            truth.append((f, 0, 0, 0, 0, "-"))
            here = []
        elif rng.random() < 0.1:
            continue
        for slot in here:
            box = np.array([70.0 * slot + rng.normal(0, 3), 40 + rng.normal(0, 3), 50, 60])
            truth.append((f, *np.round(box, 1), names[slot]))
            if rng.random() < 0.9:
                box[:2] += rng.normal(0, noise, 2)
                # Tracks last ten frames; some show a neighbour, some clusters are split or merged.
                track = int(100 * slot + f // 10)
                cluster = [5, 0, None if f % 30 < 10 else 1, 1 if f % 40 < 20 else 2, 3, 4][slot]
                if rng.random() < 0.05:
                    track += 100
                found.append((f, *np.round(box, 1), track, cluster))
        if rng.random() < 0.2:
            found.append((f, 500.0, 10.0, 40.0, 40.0, 9000 + f // 7, 5))
    clusters = {}
    for row in found:
        clusters.setdefault(row[5], row[6])
    found = [(*row[:6], clusters[row[5]]) for row in found]
    return dict(frames=frames, truth=[[*map(float, r[:5]), r[5]] for r in truth],
                found=[[*map(float, r[:5]), r[5], r[6]] for r in found])


def score(scorer, case):
    with tempfile.TemporaryDirectory() as folder:
        truth, found = os.path.join(folder, "truth.csv"), os.path.join(folder, "found.csv")
        quote = lambda name: '"%s"' % name if "," in name else name
        with open(truth, "w") as file:
            file.write("frame,x,y,w,h,identity\n")
            file.writelines("%d,%g,%g,%g,%g,%s\n" % (*r[:5], quote(r[5])) for r in case["truth"])
        with open(found, "w") as file:
            file.write("frame,x,y,w,h,track,cluster\n")
            file.writelines("%d,%g,%g,%g,%g,%d,%s\n" % (*r[:6], "" if r[6] is None else r[6]) for r in case["found"])
        out = subprocess.run([sys.executable, scorer, truth, found, "--json"], check=True, capture_output=True)
        return {**json.loads(out.stdout), **beyond(scorer, truth, found)}


def beyond(scorer, truth, found):
    """What the scorer does not know, from its matches of boxes: characters, and F1 with the truth swapped in."""
    spec = importlib.util.spec_from_file_location("score", scorer)
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    (t, frames), p = theirs.load_truth(truth), theirs.load_prediction(found)
    p = p[p.frame.isin(frames)].reset_index(drop=True)
    ti, pi = theirs.match(t, p, 0.5)
    box = p.assign(person=None)
    box.loc[pi, "person"] = t.identity.to_numpy()[ti]
    box = box[box.person != "?"]
    known, both = t[t.identity != "?"], len(box) + (t.identity != "?").sum()
    # Ties go to the first name, and never to a track without a name: "~" sorts behind every letter.
    table = pd.crosstab(box.cluster, box.person.fillna("~"))
    stands = set(table.idxmax(axis=1)) - {"~"}
    seen = box.dropna(subset=["person"])
    most = seen.groupby("track").person.agg(lambda s: s.value_counts().max()).sum()
    return dict(character_precision=len(stands) / len(table), character_recall=len(stands) / known.identity.nunique(),
                oracle_linking_id_f1=2 * most / both, oracle_tracking_id_f1=2 * len(seen) / both)


def main():
    rng = np.random.default_rng(20240611)
    out = dict(
        groupings=[grouping(rng, n, g, p, noise) for n, g, p, noise in
                   [(1, 1, 1, 0.0), (12, 3, 3, 0.0), (40, 6, 5, 0.3), (80, 20, 6, 0.5), (30, 2, 9, 0.2), (25, 25, 4, 1.0)]],
        vectors=[vectors(rng, n, g, d) for n, g, d in [(9, 3, 4), (40, 6, 16), (30, 12, 8)]],
        guesses=[guesses(np.random.default_rng(n), n, s) for n, s in [(1, 1.0), (60, 1.0), (500, 0.4), (500, 3.0)]],
        clips=[clip(rng, f, p, noise) for f, p, noise in [(30, 2, 1.0), (60, 5, 6.0), (120, 4, 14.0)]])
    if len(sys.argv) > 1:
        for case in out["clips"]:
            case["expected"] = score(sys.argv[1], case)
    else:
        with open(os.path.join(HERE, "expected.json")) as file:
            for case, stored in zip(out["clips"], json.load(file)["clips"]):
                assert case["truth"] == stored["truth"] and case["found"] == stored["found"], "cases changed"
                case["expected"] = stored["expected"]
    json.dump(out, sys.stdout, ensure_ascii=False, separators=(",", ":"))
    print()


if __name__ == "__main__":
    main()
