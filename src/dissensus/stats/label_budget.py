"""Label budget: how well the entropy of an item is known, what one more label gains, and labels spread by that gain.

The labels of an item are taken as draws from its own distribution over K labels, with Jeffreys' prior: a Dirichlet of
1/2 per label. Counts make it the posterior Dirichlet a = counts + 1/2, of total A.
"""

from __future__ import annotations

import heapq
import math
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
        before: standard deviation of the item's entropy now, bits; see `entropy_variance`.
        after: the same with these labels, if they fall as those there are.
    """

    labels: NDArray[np.int64]
    before: FloatArray
    after: FloatArray


def entropy_variance(counts: ArrayLike) -> FloatArray:
    """Posterior variance of the entropy of each item's label distribution, in bits squared.

    With psi the digamma and psi1 the trigamma function, Var H = E[H^2] - E[H]^2 of the Dirichlet a, where in nats

        E[H]   = psi(A + 1) - sum_k a_k / A psi(a_k + 1)
        E[H^2] = (sum_{i != k} a_i a_k I_ik + sum_k a_k (a_k + 1) J_k) / (A (A + 1))
        I_ik   = (psi(a_i + 1) - psi(A + 2)) (psi(a_k + 1) - psi(A + 2)) - psi1(A + 2)
        J_k    = (psi(a_k + 2) - psi(A + 2))^2 + psi1(a_k + 2) - psi1(A + 2)

    Range: above 0. Without annotations it is the prior's variance; it goes to 0 as annotations grow.

    Sources: D. Wolpert and D. Wolf, "Estimating functions of probability distributions from a finite set of samples",
    Physical Review E 52, 1995; E. Archer, I. M. Park and J. Pillow, "Bayesian entropy estimation for countable discrete
    distributions", JMLR 15, 2014, whose form this is.

    Args:
        counts: annotators per label, shape (n, K), K at least 2; fractional counts are taken as they are.

    Returns:
        Shape (n,).
    """
    return _variance(_posterior(counts))


def spread_labels(counts: ArrayLike, budget: int) -> LabelBudget:
    """Hand out a number of further labels, one by one, each to the item where it gains most.

    The gain of a label is Var H / (A + 1): how far the variance of the item's entropy is expected to fall. For a share
    p_k of a Dirichlet that is exact (Var p_k / (A + 1) is the variance of its posterior mean after one more label); for
    entropy it is so to first order. After each label the posterior goes on as if the label had been divided as the
    shares are, so that the gain diminishes. Equal gains: the item that stands first.

    Why not the mutual information of the next label and the distribution: it asks how well the whole distribution is
    known, which equal numbers of labels answer about as well; where all items have as many labels, entropy came out
    worse with it than with an even spread (docs/queue.md has the numbers, tests/stats/test_label_budget.py the worlds).

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
    shares = a / a.sum(axis=1, keepdims=True)
    variance = _variance(a)
    before, labels = np.sqrt(variance), np.zeros(len(a), dtype=np.int64)
    waiting = [(-gain, row) for row, gain in enumerate((variance / (a.sum(axis=1) + 1)).tolist())]
    heapq.heapify(waiting)
    for _ in range(budget):
        row = waiting[0][1]
        labels[row] += 1
        a[row] += shares[row]
        variance[row] = _variance(a[row : row + 1])[0]
        heapq.heapreplace(waiting, (-float(variance[row] / (a[row].sum() + 1)), row))
    return LabelBudget(labels, before, np.sqrt(variance))


def _posterior(counts: ArrayLike) -> FloatArray:
    c = np.asarray(counts, dtype=np.float64)
    if c.ndim != 2 or c.shape[1] < 2:
        raise DataError(f"counts have shape {c.shape}; expected (items, labels), with two labels at least")
    if not np.all(np.isfinite(c) & (c >= 0)):
        raise DataError("counts hold a number that is negative or not finite; expected numbers of at least 0")
    return c + PRIOR


def _variance(a: FloatArray) -> FloatArray:
    from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

    total = a.sum(axis=-1)
    mean = special.digamma(total + 1) - (a / total[:, None] * special.digamma(a + 1)).sum(axis=-1)
    base, spread = special.digamma(total + 2)[:, None], special.polygamma(1, total + 2)
    weighted = a * (special.digamma(a + 1) - base)
    pairs = weighted.sum(axis=-1) ** 2 - (weighted**2).sum(axis=-1)
    pairs -= spread * (total**2 - (a**2).sum(axis=-1))
    same = (special.digamma(a + 2) - base) ** 2 + special.polygamma(1, a + 2) - spread[:, None]
    square = (pairs + (a * (a + 1) * same).sum(axis=-1)) / (total * (total + 1))
    return np.asarray(np.maximum(square - mean**2, 0.0) / math.log(2) ** 2, dtype=np.float64)
