"""Average ranks, of a sample and of its bootstrap resamples, the latter without sorting again.

In a resample each distinct value v has a multiplicity W(v), the number of times that an example with this
value was drawn. Its average rank is (draws below v) + (W(v) + 1) / 2. With C the running sum of the draws in the
order of the sample's values, from C = 0 before the first, and v's examples in places [f, l) of that order, the draws
below v are C[f] and W(v) = C[l] - C[f]. So twice the average rank is C[f] + C[l] + 1: one sort of the sample serves
all resamples, and a resample takes one running sum and one look-up per example.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.stats.bootstrap import FloatArray, IntArray
from dissensus.stats.draws import Draws


def average_ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1 to n, tied values sharing their mean rank, shape (n,). Values may be infinite, not NaN."""
    _, dense, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[dense.reshape(values.shape)], dtype=np.float64)


def running_sums(rows: NDArray[Any], bounds: IntArray) -> NDArray[Any]:
    """Sums of the rows before each bound, shape (bounds, w).

    Args:
        rows: shape (n, w): numbers, or counts that are packed into whole machine words (see `Draws`).
        bounds: places from 0 to n, rising.
    """
    running = np.zeros((len(rows) + 1, rows.shape[1]), dtype=rows.dtype)
    running[1:] = rows
    words = running.view(np.uint64) if running.dtype.kind == "u" else running
    np.cumsum(words, axis=0, out=words)
    return running if len(bounds) == len(running) else np.take(running, bounds, axis=0)


@dataclass(frozen=True, eq=False)
class RankedSample:
    """A sample that was sorted once and can be ranked in any number of resamples.

    Attributes:
        order: what is drawn (an example, or its cluster) at each place in the order of the values, shape (n,).
        bounds: places at which the m distinct values begin, and n, shape (m + 1,).
        value: which of the distinct values each example has, shape (n,).
    """

    order: IntArray
    bounds: IntArray
    value: IntArray

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
        return cls(
            order=(order if units is None else units[order]).astype(np.intp),
            bounds=np.append(0, np.cumsum(sizes)).astype(np.intp),
            value=dense.astype(np.intp),
        )

    def rank(self, draws: Draws) -> FloatArray:
        """Twice the average rank of every example in each resample minus its mean over the draws, shape (n, b).

        Whole numbers, of no meaning where the count is 0.
        """
        running, b = running_sums(np.take(draws.packed, self.order, axis=0), self.bounds), len(draws.totals)
        doubled = running[1:] + running[:-1]
        # Their mean is N. Taken off modulo the width of a part, and read as a signed number, at most N to either side.
        doubled[:, :b] -= draws.totals.astype(doubled.dtype)
        signed = doubled.view(np.dtype(f"i{doubled.itemsize}"))
        return np.take(signed, self.value, axis=0)[:, :b].astype(np.float64)


@dataclass(frozen=True)
class CentredRanks:
    """A column's ranks in b resamples of n examples.

    Attributes:
        ranks: doubled, minus their mean over the draws, shape (n, b).
        weighted: the same times the draws of each example.
        squares: sum over the draws of the squares, shape (b,).
    """

    ranks: FloatArray
    weighted: FloatArray
    squares: FloatArray


def centred_ranks(sample: RankedSample, draws: Draws) -> CentredRanks:
    """A column's ranks in each resample, kept where the draws serve several statistics.

    Sums of products of centred doubled ranks come to N^3 / 3 at most: up to some 300,000 draws (2^53) they are
    exact, in any order of the terms.
    """

    def make() -> CentredRanks:
        ranks = sample.rank(draws)
        weighted = draws.by_example * ranks
        return CentredRanks(ranks, weighted, np.einsum("nb,nb->b", weighted, ranks))

    return make() if draws.ranked is None else draws.ranked.of("ranks", (sample,), make)


def spread_of(squares: FloatArray, draws: FloatArray) -> FloatArray:
    """Sum over the draws of squared deviations of doubled ranks from their mean; 0 for a constant.

    Args:
        squares: sum over the draws of squared centred ranks.
        draws: N of each resample; same shape.

    What is below 1e-11 N^3 is 0: a single draw that differs from the others leaves about N^2.
    """
    return np.where(squares > 1e-11 * draws**3, squares, 0.0)
