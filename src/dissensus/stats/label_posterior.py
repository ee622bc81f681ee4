"""Label posterior: what a few votes on an item say of all people's labels: is its label backed, contested, rejected?

The votes of an item are taken as draws from its own distribution p over K labels, which has a symmetric Dirichlet prior
of weight w per label. Counts c make it the posterior Dirichlet c + w, from which shares are drawn.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.curves import FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.display import ShortRepr
from dissensus.errors import DataError
from dissensus.stats.label_budget import PRIOR

CUT = math.log2(3) - 2 / 3
"""Bits from which on an item is contested: the entropy of two labels chosen 2 to 1, .918."""
DEFENSIBLE = 0.5
"""A label is rejected where fewer than this share of the leading label's people would choose it. Of two labels, the
three cases then part at shares of 1/3 and 2/3."""
DRAWS = 1000
"""Of each item's posterior: a probability is known to .016 at worst."""
ENOUGH_VOTES = 3
"""Votes that an item needs to say how much people agree in general: of two, agreement is all that can be seen."""
FEWEST = 20
"""Items with so many votes below which the prior is Jeffreys' instead of being fitted."""
WEIGHTS = (0.05, 5.0)
"""Least and largest weight that is fitted."""


@dataclass(frozen=True, repr=False)
class LabelPosterior(ShortRepr):
    """What n items' votes say. With p an item's unknown shares of all people, H their entropy and g its given label.

    Attributes:
        rejected: P(p_g < `DEFENSIBLE` x the largest share), shape (n,); NaN without a given label.
        contested: P(not rejected, and H at least the cut), shape (n,).
        backed: P(not rejected, and H below the cut), shape (n,); the three add up to 1.
        leading: P(label k has the largest share), shape (n, K).
        weight: of the prior, per label.
    """

    rejected: FloatArray
    contested: FloatArray
    backed: FloatArray
    leading: FloatArray
    weight: float

    def only(self, known: NDArray[np.bool_]) -> LabelPosterior:
        """The same with NaN for the items that are not `known`, shape (n,)."""
        of_given = np.where(known, np.stack([self.rejected, self.contested, self.backed]), np.nan)
        return LabelPosterior(of_given[0], of_given[1], of_given[2], self.leading, self.weight)


def label_posterior(
    counts: ArrayLike, given: ArrayLike, *, cut: float = CUT, weight: float | None = None
) -> LabelPosterior:
    """The posterior of each item's label, by `DRAWS` draws of its shares.

    The draws of an item depend on its counts and the weight alone: equal counts give equal numbers, whatever else is
    asked about. A probability is (hits + 1/2) / (DRAWS + 1), so that it never claims to be certain.

    Args:
        counts: annotators per label, shape (n, K), K at least 2; without any, the answer is the prior's.
        given: the label in question, shape (n,); -1 where there is none.
        cut: bits from which on an item is contested.
        weight: of the prior per label; None: `prior_weight` of these counts.

    Raises:
        DataError: shapes do not fit, counts are negative or not finite, or there is one label only.
    """
    c, labels = np.asarray(counts, dtype=np.float64), np.asarray(given, dtype=np.int64)
    if c.ndim != 2 or c.shape[1] < 2 or labels.shape != c.shape[:1]:
        raise DataError(
            f"counts have shape {c.shape} and given labels {labels.shape}; expected (n, K), K at least 2, and (n,)"
        )
    if not np.all(np.isfinite(c) & (c >= 0)):
        raise DataError("counts hold a number that is negative or not finite; expected numbers of at least 0")
    prior = prior_weight(c) if weight is None else weight
    n, k = c.shape
    outcome = np.full((n, 3), np.nan)
    leading = np.empty((n, k))
    rows, place = np.unique(np.round(c, 9), axis=0, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(place.ravel(), minlength=len(rows)))
    for row, begin, end in zip(rows, np.concatenate([[0], ends[:-1]]), ends, strict=True):
        members = order[begin:end]
        shares = _drawn(row, prior)
        most = shares.max(axis=1)
        leading[members] = np.bincount(shares.argmax(axis=1), minlength=k) / DRAWS
        divided = _entropy(shares) >= cut
        for g in np.unique(labels[members]).tolist():
            if g == NO_GOLD:
                continue
            rejected = shares[:, g] < DEFENSIBLE * most
            hits = np.array([rejected.sum(), (~rejected & divided).sum(), (~rejected & ~divided).sum()])
            outcome[members[labels[members] == g]] = (hits + 0.5) / (DRAWS + 1.5)
    return LabelPosterior(outcome[:, 0], outcome[:, 1], outcome[:, 2], leading, prior)


def prior_weight(counts: ArrayLike) -> float:
    """The weight per label under which these counts are most likely: small where people mostly agree (empirical Bayes).

    Maximises the Dirichlet-multinomial likelihood of all items with `ENOUGH_VOTES` at least over one symmetric weight
    between `WEIGHTS`. Jeffreys' 1/2 with fewer than `FEWEST` such items.

    Source: T. Minka, "Estimating a Dirichlet distribution", 2000, section 4 (there one weight a label).
    """
    from scipy import (
        optimize,
        special,
    )  # here, because its import takes longer than the rest of `import dissensus`

    c = np.asarray(counts, dtype=np.float64)
    rows, times = np.unique(np.round(c[c.sum(axis=1) >= ENOUGH_VOTES], 9), axis=0, return_counts=True)
    if times.sum() < FEWEST:
        return PRIOR
    n, k = rows.sum(axis=1), c.shape[1]

    def surprise(log_weight: float) -> float:
        w = math.exp(log_weight)
        of_labels = (special.gammaln(rows + w) - special.gammaln(w)).sum(axis=1)
        return float(-(times * (special.gammaln(k * w) - special.gammaln(n + k * w) + of_labels)).sum())

    bounds = (math.log(WEIGHTS[0]), math.log(WEIGHTS[1]))
    return float(math.exp(optimize.minimize_scalar(surprise, bounds=bounds, method="bounded").x))


def true_kind(shares: ArrayLike, given: ArrayLike, *, cut: float = CUT) -> NDArray[np.int64]:
    """What holds of items whose shares of all people are known: 0 rejected, 1 contested, 2 backed. Shape (n,)."""
    p, labels = np.asarray(shares, dtype=np.float64), np.asarray(given, dtype=np.int64)
    rejected = np.take_along_axis(p, labels[:, None], axis=1)[:, 0] < DEFENSIBLE * p.max(axis=1)
    return np.where(rejected, 0, np.where(_entropy(p) >= cut, 1, 2)).astype(np.int64)


def _drawn(row: FloatArray, weight: float) -> FloatArray:
    seed = int.from_bytes(hashlib.sha256(np.append(row, weight).tobytes()).digest()[:8], "little")
    gammas = np.random.default_rng(seed).standard_gamma(row + weight, size=(DRAWS, len(row)))
    total = gammas.sum(axis=1, keepdims=True)
    return np.where(total > 0, gammas / np.where(total > 0, total, 1.0), 1 / len(row))


def _entropy(shares: FloatArray) -> FloatArray:
    logs = np.log2(np.where(shares > 0, shares, 1.0))
    return np.asarray(-(shares * logs).sum(axis=1), dtype=np.float64)
