"""The other side of `cargo xtask bench cluster`, and its judge.

    python peers.py scipy|hdbscan|judge FOLDER DIM THREADS

In FOLDER are the numbers that `ftl-bench people` wrote. A method writes what `ftl-bench cluster` would;
it knows nothing of pairs that must stay apart, nor of how clear a track is. The judge reads what was
written. A dendrogram is cut where B³ is best, which only who knows the truth can do.
"""
import json, pathlib, sys, time
import numpy as np

import figures

CUTS = np.arange(0.30, 1.0, 0.02)


def scipy(vectors, threads):
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    return "tree.f64", lambda: linkage(pdist(vectors, "cosine"), "average")


def hdbscan(vectors, threads):
    from sklearn.cluster import HDBSCAN

    method = HDBSCAN(min_cluster_size=2, n_jobs=threads, copy=True)
    return "labels.i32", lambda: method.fit_predict(vectors).astype(np.int32)


def judge(folder):
    from scipy.cluster.hierarchy import fcluster

    truth = np.fromfile(folder / "truth.u32", np.uint32)
    if (folder / "tree.f64").exists():
        tree = np.fromfile(folder / "tree.f64").reshape(-1, 4)
        at = lambda cut: dict(figures.clustering(truth, fcluster(tree, cut, "distance")), cut=cut)
        return max(map(at, CUTS.tolist()), key=lambda found: found["b3_f1"])
    return figures.clustering(truth, np.fromfile(folder / "labels.i32", np.int32))


def say(**fields):
    print(json.dumps(dict(event="finished", figures=fields)), flush=True)


def main(what, folder, dim, threads):
    folder = pathlib.Path(folder)
    if what == "judge":
        return say(**judge(folder))
    vectors = np.fromfile(folder / "vectors.f32", np.float32).reshape(-1, int(dim))
    file, run = dict(scipy=scipy, hdbscan=hdbscan)[what](vectors, int(threads))
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    say(wall_secs=time.perf_counter() - wall, cpu_secs=time.process_time() - cpu)
    result.tofile(folder / file)


try:
    main(*sys.argv[1:])
except KeyboardInterrupt:
    sys.exit(130)
