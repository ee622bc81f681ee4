"""Average ranks, of a sample and of its bootstrap resamples, the latter without sorting again.

In a resample each distinct value v has a multiplicity W(v), the number of times that an example with this
value was drawn. Its average rank is (draws below v) + (W(v) + 1) / 2. With C the running sum of the draws in the
order of the sample's values, from C = 0 before the first, and v's examples in places [f, l) of that order, the draws
below v are C[f] and W(v) = C[l] - C[f]. So twice the average rank is C[f] + C[l] + 1: one sort of the sample serves
all resamples, and a resample takes one running sum and two look-ups an example.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.stats.bootstrap import FloatArray, IntArray
from dissensus.stats.draws import Draws
from dissensus.stats.lanes import Lanes


def average_ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1 to n, tied values sharing their mean rank, shape (n,). Values may be infinite, not NaN."""
    _, dense, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[dense.reshape(values.shape)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class RankedSample:
    """A sample that was sorted once and can be ranked in any number of resamples.

    Attributes:
        order: what is drawn (an example, or its cluster) at each place in the order of the values, shape (n,).
        first: the place at which each example's value begins, shape (n,).
        last: the place behind its end, shape (n,).
    """

    order: IntArray
    first: IntArray
    last: IntArray

    @classmethod
    def of(cls, values: FloatArray, units: IntArray | None = None) -> RankedSample:
        """Sort a sample of shape (n,), without NaN.

        Args:
            values: one per example.
            units: number of the unit that each example is drawn with, shape (n,); default: each is its own.
        """
        _, dense, sizes = np.unique(values, return_inverse=True, return_counts=True)
        dense = dense.reshape(values.shape)
        order = np.argsort(dense, kind="stable")
        last = np.cumsum(sizes)
        return cls(
            order=(order if units is None else units[order]).astype(np.intp),
            first=(last - sizes)[dense].astype(np.intp),
            last=last[dense].astype(np.intp),
        )

    def rank(self, draws: Draws, out: FloatArray | None = None) -> FloatArray:
        """Twice the average rank, less 1, of every example in each resample, shape (b, n).

        Whole numbers, of no meaning where the count is 0. Their mean over the N draws of a resample is N.

        Args:
            draws: the resamples.
            out: where to write the ranks, shape (`draws.counts.capacity`, n); by default a new array.
        """
        counts = draws.counts
        rows, n = len(counts.words), len(self.order)
        running = np.empty((rows, n + 1), dtype=np.uint64)
        running[:, 1:] = np.take(counts.words, self.order, axis=1)
        # One running sum over all rows, which each begin by taking off what the row before has come to: NumPy lets go
        # of the interpreter in a running sum over one axis, and not over one of two. (Modulo 2^64 this is exact.)
        running[0, 0] = 0
        running[1:, 0] = -draws.packed_totals.words[:-1, 0]
        running = np.cumsum(running.reshape(-1)).reshape(rows, n + 1)
        doubled = np.take(running, self.first, axis=1)
        doubled += np.take(running, self.last, axis=1)
        return Lanes(doubled, counts.lane, counts.resamples).numbers(out)


EXACT = 2.0**53
"""Whole numbers up to here are exact in float64."""


def centre(ranks: FloatArray, totals: FloatArray) -> FloatArray:
    """Take the mean off ranks of resamples so large that sums of their products would be rounded; what is to be added.

    Sums of products of doubled ranks come to 4/3 N^3 at most, and their mean's share of it to N^3. Up to some 130,000
    draws (4 N^3 < 2^53) both are exact and taking one from the other afterwards is the quickest. Beyond, sums are
    rounded, and of a constant, the same term over and over, always the same way: at 5 million draws a plain running sum
    was off by 5e-11 N^3, and a vectorised one by 1e-14 N^3. So there the mean, which is N, is taken off each rank
    first, and a constant leaves 0 again.

    Args:
        ranks: doubled ranks less 1, shape (b, ..., n); changed in place.
        totals: N of each resample, shape (b,).

    Returns:
        What sums of products of two such columns have above those of centred ones, shape (b,): N^3, or 0 where the
        ranks were centred.
    """
    if 4 * float(totals.max(initial=0.0)) ** 3 < EXACT:
        return np.asarray(totals**3, dtype=np.float64)
    ranks -= totals.reshape(-1, *[1] * (ranks.ndim - 1))
    return np.zeros(len(totals))


def spread_of(squares: FloatArray, draws: FloatArray, surplus: FloatArray | None = None) -> FloatArray:
    """Sum over the draws of squared deviations of doubled ranks from their mean; 0 for a constant.

    Args:
        squares: sum over the draws of (doubled rank - 1)^2.
        draws: N of each resample; same shape.
        surplus: from `centre`; default: N^3, of ranks that were not centred.

    What is below 1e-11 N^3 is 0: a single draw that differs from the others leaves about N^2.
    """
    spread = squares - (draws**3 if surplus is None else surplus)
    return np.where(spread > 1e-11 * draws**3, spread, 0.0)
