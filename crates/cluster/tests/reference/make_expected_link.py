"""Makes ../expected/link.json: tracks of people who do not exist, and the partitions of `link` by its definition, with
one embedder, with two, and with clothes.

    python3 make_expected_link.py

The definition is quadratic to cubic and compares every pair of clusters; see the documentation of
`cluster::method::Link` for the formulas. Needs numpy and scipy.
"""

import json
from pathlib import Path

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammaln, psi

PRIOR_VARIANCE, CLEAR, ROUNDS = 0.1, 0.25, 10
# Factor of the precision and weight of the evidence: of the only embedder, and of each of two.
ALONE, JOINT = (0.67, 1.0), (0.75, 0.35)
MOST_GAP, SURE, UNIT, CLOTHES_ROUNDS, BOUND = 240.0, 2.0, 0.15, 3, 2.0


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
    u, norms = seen(quality, person, people, dim, random)
    apart = {tuple(sorted(p)) for p in random.integers(0, n, (n // 2, 2)).tolist() if person[p[0]] != person[p[1]]}
    return quality, u, norms, sorted(apart), person


def seen(quality, person, people, dim, random):
    n = len(person)
    norms = np.round(np.clip(random.normal(9.5, 1.6, n), 5.0, 14.5), 2)
    q = np.log(norms)
    a, om = (np.interp(q, np.log(quality["norms"]), quality[k]) for k in ("gain", "noise"))
    y = random.normal(0, np.sqrt(quality["person_variance"] / dim), (people, dim))
    e = random.normal(0, 1, (n, dim)) * np.sqrt(om / dim)[:, None]
    offset = random.normal(0, 0.35 / np.sqrt(dim), dim)
    u = offset + np.array(quality["mean"]) + np.outer(q - np.log(9), quality["slope"]) + a[:, None] * y[person] + e
    return np.round(u / np.linalg.norm(u, axis=1, keepdims=True), 4), norms


def dressed(person, people, random):
    """Outfits of 12 colours, two tracks a shot, a shot every 15 seconds; some are not seen. People may share clothes."""
    wardrobe = random.dirichlet(np.full(12, 0.4), people)
    wardrobe[-1] = wardrobe[0]
    outfits = []
    for i, p in enumerate(person):
        torso = random.dirichlet(40 * wardrobe[p] + 0.3)
        first = 15.0 * (i // 2) + round(random.uniform(0, 5), 2)
        if random.uniform() < 0.9:
            torso = np.round(torso, 4).tolist()
            outfits.append(dict(item=i, torso=torso, first_secs=first, last_secs=first + 4.0, shot=i // 2))
    return outfits


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


class View:
    """What one embedder says; `u` may have rows of None."""

    def __init__(self, t, u, norms, trust):
        known = np.array([row is not None for row in u])
        width = len(next(row for row in u if row is not None))
        u = np.array([np.zeros(width) if row is None else row for row in u])
        q = np.log(np.where(known, norms, 1.0).astype(float))
        self.t, (factor, self.weight) = t, trust
        self.v = u - np.array(t["mean"]) - np.outer(q - np.log(t["centre_norm"]), t["slope"])
        self.a, self.om = (np.interp(q, np.log(t["norms"]), t[key]) for key in ("gain", "noise"))
        self.om /= factor
        self.v[~known], self.a[~known], self.om[~known] = 0.0, 0.0, np.inf
        self.lam = self.a**2 / self.om
        ratio = self.lam * t["person_variance"]
        self.rho = ratio / (1 + ratio)
        self.worth = ratio * t["evidence_dim"] * self.weight

    def f(self, labels):
        scale = np.where(self.a > 0, self.lam / np.where(self.a > 0, self.a, 1), 0)
        return scale[:, None] * (self.v - offset_of(self.t, self.v, self.a, self.om, labels))

    def likelihood(self, square, precision):
        return self.weight * likelihood(self.t, square, precision)


def evidence(views, fs, members):
    pairs = zip(views, fs)
    return sum(view.likelihood((f[members].sum(0) ** 2).sum(), view.lam[members].sum()) for view, f in pairs)


def clothing(worn, a, b):
    """Mean over the pairs of outfits between two sets of tracks."""
    odds = [odds for i in a for j in b for odds in worn.get((i, j), [])]
    return sum(odds) / len(odds) if odds else 0.0


def merge(views, fs, worn, apart, alpha, stop, k):
    members = [[i] for i in range(len(apart))]

    def gain(a, b):
        prior = gammaln(len(a + b)) - gammaln(len(a)) - gammaln(len(b)) - np.log(alpha)
        of = [evidence(views, fs, c) for c in (a + b, a, b)]
        return of[0] - of[1] - of[2] + prior + clothing(worn, a, b)

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
    labels = np.zeros(len(apart), int)
    for c, m in enumerate(members):
        labels[m] = c
    return labels


def reassign(views, fs, worn, apart, labels, alpha, stop, k):
    for _ in range(30):
        moved = False
        for i in np.argsort(sum(view.worth for view in views), kind="stable"):
            if k and (labels == labels[i]).sum() == 1:
                continue
            best, to = (-np.inf if k else stop), None
            for c in sorted(set(labels)):
                j = [other for other in np.flatnonzero(labels == c) if other != i]
                if not j or apart[i, j].any():
                    continue
                of = [evidence(views, fs, m) for m in ([*j, i], j, [i])]
                gain = of[0] - of[1] - of[2] + np.log(len(j) / alpha) + clothing(worn, [i], j)
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


def outfit_pairs(outfits):
    for x, a in enumerate(outfits):
        for b in outfits[x + 1 :]:
            gap = max(a["first_secs"], b["first_secs"]) - min(a["last_secs"], b["last_secs"])
            if gap <= MOST_GAP and a["item"] != b["item"]:
                distance = np.sqrt(max(0.0, 1 - np.sqrt(np.array(a["torso"]) * b["torso"]).sum()))
                yield a["item"], b["item"], distance, a["shot"] == b["shot"]


def law_of(views, fs, outfits, apart, labels):
    """Slope, middle and intercept, or None where faces prove too little."""
    p, q, taught = [], [], set()
    for i, j, distance, one_shot in outfit_pairs(outfits):
        odds = evidence(views, fs, [i, j]) - evidence(views, fs, [i]) - evidence(views, fs, [j])
        if apart[i, j] or (labels[i] != labels[j] and odds < -SURE):
            q.append(distance)
        if labels[i] == labels[j] and odds > SURE and not one_shot:
            p.append(distance)
            taught |= {i, j}
    if min(len(p), len(q)) < 3:
        return None
    middle, half = (np.mean(p) + np.mean(q)) / 2, len(taught) / 2
    z = np.column_stack([(np.r_[p, q] - middle) / UNIT, np.ones(len(p) + len(q))])
    y = np.r_[np.ones(len(p)), np.zeros(len(q))]
    w = np.r_[np.full(len(p), half / len(p)), np.full(len(q), half / len(q))]
    b, ridge = np.zeros(2), np.diag([1, 0.1])
    for _ in range(50):
        odds = 1 / (1 + np.exp(-z @ b))
        hessian = (z * (w * odds * (1 - odds))[:, None]).T @ z + ridge
        b = b + np.linalg.solve(hessian, z.T @ (w * (y - odds)) - ridge @ b)
    return b[0], middle, b[1]


def worn_by(law, outfits, bounds):
    worn = {}
    for i, j, distance, _ in outfit_pairs(outfits) if law else []:
        odds = np.clip(law[0] * (distance - law[1]) / UNIT + law[2], *bounds)
        worn.setdefault((i, j), []).append(odds)
        worn.setdefault((j, i), []).append(odds)
    return worn


def link(views, pairs, outfits, bounds):
    n = len(views[0].a)
    clear = np.max([view.rho for view in views], 0) >= CLEAR
    if clear.sum() < 6:
        clear[:] = True
    apart = np.zeros((n, n), bool)
    for i, j in pairs:
        apart[i, j] = apart[j, i] = True

    def one(labels, alpha, worn, stop=0.0, k=None):
        fs = [view.f(labels) for view in views]
        merged = merge(views, fs, worn, apart, alpha, stop, k)
        return np.array(numbered(reassign(views, fs, worn, apart, merged, alpha, stop, k)))

    def rounds(worn):
        labels, alpha, seen = np.arange(n), min(8.0, 10.0 * n), []
        for _ in range(ROUNDS):
            before = labels
            labels = one(before, alpha, worn)
            if labels.tolist() in seen or len(seen) + 1 == ROUNDS:
                break
            seen.append(labels.tolist())
            alpha = np.sqrt(alpha_of(len(set(labels)), n) * alpha_of(len(set(labels[clear])), int(clear.sum())))
        return before, labels, alpha

    worn = {}
    before, labels, alpha = rounds(worn)
    for _ in range(CLOTHES_ROUNDS if outfits else 0):
        law = law_of(views, [view.f(labels) for view in views], outfits, apart, labels)
        worn, old = worn_by(law, outfits, bounds), labels
        before, labels, alpha = rounds(worn)
        if labels.tolist() == old.tolist():
            break
    return dict(
        alpha=float(alpha),
        labels=labels.tolist(),
        # The distance 0.8 is 5 nats of log odds: 20 / (20 + 5).
        at_distance_08=one(before, alpha, worn, stop=5.0).tolist(),
        in_5_clusters=one(before, alpha, worn, k=5).tolist(),
    )


def main():
    random = np.random.default_rng(7)
    cases = []
    for n, people, dim in [(20, 4, 48), (40, 9, 48), (60, 8, 64)]:
        quality, u, norms, pairs, person = synthetic(n, people, dim, random)
        further_random = np.random.default_rng(n)
        further = table(dim + 10, further_random) | dict(person_variance=0.67, evidence_dim=float(dim))
        further_u, further_norms = seen(further, person, people, dim + 10, further_random)
        known = further_random.uniform(size=n) < 0.9
        further_u = [row.tolist() if is_known else None for row, is_known in zip(further_u, known)]
        outfits = dressed(person, people, further_random)
        alone = [View(quality, u.tolist(), norms, ALONE)]
        both = [
            View(quality, u.tolist(), norms, JOINT),
            View(further, further_u, further_norms, JOINT),
        ]
        case = dict(
            quality=quality,
            vectors=u.tolist(),
            norms=norms.tolist(),
            cannot_link=pairs,
            further=dict(quality=further, vectors=further_u, norms=further_norms.tolist()),
            outfits=outfits,
            one=link(alone, pairs, (), (0, 0)),
            two=link(both, pairs, (), (0, 0)),
            veto=link(alone, pairs, outfits, (-BOUND, 0.0)),
            clothed=link(both, pairs, outfits, (-BOUND, BOUND)),
        )
        cases.append(case)
        for name in ("one", "two", "veto", "clothed"):
            found = case[name]["labels"]
            right = np.equal.outer(found, found) == np.equal.outer(person, person)
            print(n, people, name, max(found) + 1, round(case[name]["alpha"], 3), round(right.mean(), 3))
    out = Path(__file__).parent.parent / "expected" / "link.json"
    out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
