"""How well clusters tell people apart, by the definitions of `evaluate`'s catalogue."""
import numpy as np


def f1(p, r):
    return 2 * p * r / (p + r) if p + r else 0.0


def alone(labels):
    """Labels from zero; noise, which is -1, gets a cluster of its own each."""
    labels = np.array(labels, np.int64)
    noise = labels < 0
    labels[noise] = labels.max(initial=-1) + 1 + np.arange(noise.sum())
    return np.unique(labels, return_inverse=True)[1]


def clustering(truth, labels):
    """B³, pairwise F1 and weighted cluster purity of items, each of which counts the same."""
    truth, labels = np.unique(truth, return_inverse=True)[1], alone(labels)
    people = truth.max() + 1
    cells, both = np.unique(labels * people + truth, return_counts=True)
    sizes, shown = np.bincount(labels), np.bincount(truth)
    purest = np.zeros(len(sizes), np.int64)
    np.maximum.at(purest, cells // people, both)
    both = both.astype(float)
    precision = (both**2 / sizes[cells // people]).sum() / len(truth)
    recall = (both**2 / shown[cells % people]).sum() / len(truth)
    pairs = lambda counts: (counts * (counts - 1.0)).sum()
    share = lambda counts: pairs(both) / pairs(counts) if pairs(counts) else 1.0
    return dict(b3_f1=f1(precision, recall), b3_precision=precision, b3_recall=recall,
                pairs_f1=f1(share(sizes), share(shown)), wcp=purest.sum() / len(truth))
