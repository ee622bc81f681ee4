"""Label budget: how well an item's label shares are known, what one more label gains, and labels spread by that gain.

The labels of an item are taken as draws from its own distribution over K labels, with Jeffreys' prior: a Dirichlet of
1/2 per label. Counts make it the posterior Dirichlet a = counts + 1/2, of total A and shares m = a / A.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.curves import FloatArray
from dissensus.display import ShortRepr
from dissensus.errors import DataError, SpecError

PRIOR = 0.5
"""Weight of each label before anybody answered (Jeffreys)."""


@dataclass(frozen=True, repr=False)
class LabelBudget(ShortRepr):
    """Labels spread over n items. Every array has shape (n,).

    Attributes:
        labels: further labels of each item; they add up to the budget.
        before: standard deviation of the share of the item's most frequent label now, in [0, 1]; see `top_share_error`.
        after: the same with these labels, if they fall as those there are.
    """

    labels: NDArray[np.int64]
    before: FloatArray
    after: FloatArray


def top_share_error(counts: ArrayLike) -> FloatArray:
    """Posterior standard deviation of the share of each item's most frequent label: sqrt(m (1 - m) / (A + 1)).

    Args:
        counts: annotators per label, shape (n, K), K at least 2; fractional counts are taken as they are.

    Returns:
        Shape (n,), above 0; it goes to 0 as annotations grow.
    """
    a = _posterior(counts)
    total = a.sum(axis=1)
    top = a.max(axis=1) / total
    return np.asarray(np.sqrt(top * (1 - top) / (total + 1)), dtype=np.float64)


def spread_labels(counts: ArrayLike, budget: int) -> LabelBudget:
    """Hand out a number of further labels, one by one, each to the item where it gains most.

    The gain of a label is how far the variance of the item's label shares, summed over labels, V = (1 - sum_k m_k^2)
    / (A + 1), is expected to fall: V / (A + 1), the variance of the shares' posterior means after one more label. So
    labels go to items with few of them, and of equally many to those that are contested: in a unanimous item the next
    one will hardly change anything. After each label the posterior goes on as if the label had been divided as the
    shares are, so that the gain diminishes. Equal gains: the item that stands first.

    Not the variance of entropy, which is largest where all agree (entropy is steepest there), and not the mutual
    information of the next label and the distribution, which knows little difference between contested and unanimous
    items (docs/queue.md has the numbers, tests/stats/test_label_budget.py the worlds).

    Args:
        counts: annotators per label, shape (n, K); fractional counts are taken as they are.
        budget: labels to hand out, at least 0.

    Raises:
        SpecError: the budget is negative.
        DataError: there is no item, or fewer than two labels.
    """
    if budget < 0:
        raise SpecError(f"a budget of {budget} labels; expected a number of at least 0")
    a = _posterior(counts)
    if not len(a):
        raise DataError("there is no item to spread labels over")
    total = a.sum(axis=1)
    mixed = 1 - ((a / total[:, None]) ** 2).sum(axis=1)
    labels = np.zeros(len(a), dtype=np.int64)
    waiting = [(-gain, row) for row, gain in enumerate((mixed / (total + 1) ** 2).tolist())]
    heapq.heapify(waiting)
    for _ in range(budget):
        row = waiting[0][1]
        labels[row] += 1
        heapq.heapreplace(waiting, (-float(mixed[row] / (total[row] + labels[row] + 1) ** 2), row))
    before = top_share_error(counts)
    return LabelBudget(labels, before, before * np.sqrt((total + 1) / (total + labels + 1)))


def _posterior(counts: ArrayLike) -> FloatArray:
    c = np.asarray(counts, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] < 2:
        raise DataError(f"counts have shape {c.shape}; expected (items, labels), with two labels at least")
    if not np.all(np.isfinite(c) & (c >= 0)):
        raise DataError("counts hold a number that is negative or not finite; expected numbers of at least 0")
    return c + PRIOR
