"""Makes ../expected/link.json: tracks of people who do not exist, and the partitions of `link` by its definition.

    python3 make_expected_link.py

The definition is quadratic to cubic and compares every pair of clusters; see the documentation of
`cluster::method::Link` for the formulas. Needs numpy and scipy.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, psi

CAUTION, PRIOR_VARIANCE, CLEAR, ROUNDS = 0.85, 0.1, 0.25, 10


def table(dim, random):
    return dict(
        centre_norm=9.0,
        mean=np.round(random.normal(0, 0.05, dim), 3).tolist(),
        slope=np.round(random.normal(0, 0.05, dim), 3).tolist(),
        norms=[5.5, 7.5, 9.5, 11.5, 14.0],
        gain=[0.19, 0.389, 0.693, 0.971, 1.093],
        noise=[0.805, 0.79, 0.635, 0.378, 0.221],
        person_variance=0.575,
        evidence_dim=dim / 2,
    )


def synthetic(n, people, dim, random):
    """Vectors, norms and pairs that must stay apart, by the model; persons are unequally frequent."""
    quality = table(dim, random)
    person = random.choice(people, n, p=(w := 1.0 / np.arange(1, people + 1)) / w.sum())
    norms = np.round(np.clip(random.normal(9.5, 1.6, n), 5.0, 14.5), 2)
    q = np.log(norms)
    a, om = (np.interp(q, np.log(quality["norms"]), quality[k]) for k in ("gain", "noise"))
    y = random.normal(0, np.sqrt(quality["person_variance"] / dim), (people, dim))
    e = random.normal(0, 1, (n, dim)) * np.sqrt(om / dim)[:, None]
    offset = random.normal(0, 0.35 / np.sqrt(dim), dim)
    u = offset + np.array(quality["mean"]) + np.outer(q - np.log(9), quality["slope"]) + a[:, None] * y[person] + e
    u = np.round(u / np.linalg.norm(u, axis=1, keepdims=True), 4)
    apart = {tuple(sorted(p)) for p in random.integers(0, n, (n // 2, 2)).tolist() if person[p[0]] != person[p[1]]}
    return quality, u, norms, sorted(apart)


def likelihood(t, square, precision):
    spread = t["person_variance"] * precision
    return 0.5 * t["evidence_dim"] * (t["person_variance"] * square / (1 + spread) - np.log1p(spread))


def alpha_of(k, n):
    def f(x):
        return k - np.exp(x) * (psi(np.exp(x) + n) - psi(np.exp(x)))

    low, high = np.log(0.05), np.log(20.0 * n)
    return float(np.exp(low if f(low) <= 0 else high if f(high) >= 0 else brentq(f, low, high, xtol=1e-14)))


def offset_of(t, v, a, om, labels):
    beta, total, weights = t["person_variance"], 0.0, 1 / PRIOR_VARIANCE
    for c in set(labels):
        i = labels == c
        w = 1 / om[i]
        x = w - w * a[i] * (w * a[i]).sum() * beta / (1 + beta * (w * a[i] ** 2).sum())
        total, weights = total + x @ v[i], weights + x.sum()
    return total / weights


def merge(t, f, lam, apart, alpha, stop, k):
    members = [[i] for i in range(len(f))]

    def gain(a, b):
        def of(c):
            return likelihood(t, (f[c].sum(0) ** 2).sum(), lam[c].sum())

        prior = gammaln(len(a + b)) - gammaln(len(a)) - gammaln(len(b)) - np.log(alpha)
        return of(a + b) - of(a) - of(b) + prior

    while len(members) > (k or 1):
        pairs = [
            (gain(members[i], members[j]), -i, -j)
            for i in range(len(members))
            for j in range(i + 1, len(members))
            if not apart[np.ix_(members[i], members[j])].any()
        ]
        best = max(pairs, default=(-np.inf, 0, 0))
        if (k is None and best[0] <= stop) or best[0] == -np.inf:
            break
        i, j = -best[1], -best[2]
        members[i] += members.pop(j)
    labels = np.zeros(len(f), int)
    for c, m in enumerate(members):
        labels[m] = c
    return labels


def reassign(t, f, lam, apart, labels, alpha, stop, k):
    own = likelihood(t, (f**2).sum(1), lam)
    for _ in range(30):
        moved = False
        for i in np.argsort(lam, kind="stable"):
            if k and (labels == labels[i]).sum() == 1:
                continue
            best, to = (-np.inf if k else stop), None
            for c in sorted(set(labels)):
                j = labels == c
                j[i] = False
                if not j.any() or apart[i, j].any():
                    continue
                g, l = f[j].sum(0), lam[j].sum()
                gain = likelihood(t, ((g + f[i]) ** 2).sum(), l + lam[i]) - likelihood(t, (g**2).sum(), l) - own[i]
                gain += np.log(j.sum() / alpha)
                if gain > best:
                    best, to = gain, c
            if to is None:
                to = labels[i] if k or (labels == labels[i]).sum() == 1 else labels.max() + 1
            moved |= to != labels[i]
            labels[i] = to
        if not moved:
            break
    return labels


def numbered(labels):
    numbers = {}
    return [numbers.setdefault(int(label), len(numbers)) for label in labels]


def link(t, u, norms, pairs, stop=0.0, k=None):
    n, q = len(u), np.log(norms)
    v = u - np.array(t["mean"]) - np.outer(q - np.log(t["centre_norm"]), t["slope"])
    a, om = (np.interp(q, np.log(t["norms"]), t[key]) for key in ("gain", "noise"))
    lam = CAUTION * a * a / om
    ratio = lam * t["person_variance"]
    clear = ratio / (1 + ratio) >= CLEAR
    if clear.sum() < 6:
        clear[:] = True
    apart = np.zeros((n, n), bool)
    for i, j in pairs:
        apart[i, j] = apart[j, i] = True

    def one(labels, alpha, stop=0.0, k=None):
        f = (lam / a)[:, None] * (v - offset_of(t, v, a, om, labels))
        merged = merge(t, f, lam, apart, alpha, stop, k)
        return np.array(numbered(reassign(t, f, lam, apart, merged, alpha, stop, k)))

    labels, alpha, seen = np.arange(n), min(8.0, 10.0 * n), []
    for _ in range(ROUNDS):
        before = labels
        labels = one(before, alpha)
        if labels.tolist() in seen or len(seen) + 1 == ROUNDS:
            break
        seen.append(labels.tolist())
        alpha = np.sqrt(alpha_of(len(set(labels)), n) * alpha_of(len(set(labels[clear])), int(clear.sum())))
    return one(before, alpha, stop, k).tolist(), float(alpha)


def main():
    random = np.random.default_rng(7)
    cases = []
    for n, people, dim in [(20, 4, 48), (40, 9, 48), (60, 8, 64)]:
        quality, u, norms, pairs = synthetic(n, people, dim, random)
        labels, alpha = link(quality, u, norms, pairs)
        cases.append(
            dict(
                quality=quality,
                vectors=u.tolist(),
                norms=norms.tolist(),
                cannot_link=pairs,
                alpha=alpha,
                labels=labels,
                # The distance 0.8 is 5 nats of log odds: 20 / (20 + 5).
                at_distance_08=link(quality, u, norms, pairs, stop=5.0)[0],
                in_5_clusters=link(quality, u, norms, pairs, k=5)[0],
            )
        )
        print(n, people, max(labels) + 1, round(alpha, 3))
    out = Path(__file__).parent.parent / "expected" / "link.json"
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
