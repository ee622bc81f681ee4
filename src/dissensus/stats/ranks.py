"""Average ranks, of a sample and of its bootstrap resamples, the latter without sorting again.

In a resample each distinct value v has a multiplicity W(v), the number of times that an example with this
value was drawn. Its average rank is (draws below v) + (W(v) + 1) / 2: a running sum over the distinct
values in order. The order is that of the sample, so one sort serves all resamples. Ranks are kept doubled,
which makes them whole numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.stats.bootstrap import CountArray, FloatArray

IntArray = NDArray[np.intp]


def average_ranks(values: FloatArray) -> FloatArray:
    """Ranks from 1 to n, tied values sharing their mean rank, shape (n,). Values may be infinite, not NaN."""
    _, dense, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return np.asarray((last - (sizes - 1) / 2)[dense.reshape(values.shape)], dtype=np.float64)


@dataclass(frozen=True)
class RankedSample:
    """A sample that was sorted once and can be ranked in any number of resamples.

    Attributes:
        order: examples in the order of their values, shape (n,).
        starts: where in `order` each distinct value begins, shape (G,).
        dense: the number (0 to G - 1) of each example's value among the distinct ones, shape (n,).
    """

    order: IntArray
    starts: IntArray
    dense: IntArray

    @classmethod
    def of(cls, values: FloatArray) -> RankedSample:
        """Sort a sample of shape (n,), without NaN."""
        _, dense, sizes = np.unique(values, return_inverse=True, return_counts=True)
        dense = dense.reshape(values.shape)
        starts = np.cumsum(sizes) - sizes
        return cls(np.argsort(dense, kind="stable"), starts.astype(np.intp), dense.astype(np.intp))

    def rank(self, counts: CountArray) -> tuple[CountArray, FloatArray]:
        """Doubled average ranks of every example in each resample, and their spread.

        Args:
            counts: draws of each example, shape (b, n).

        Returns:
            Twice the average ranks, shape (b, n) (of no meaning where the count is 0), whose mean over the
            draws is N + 1 for a resample of N draws; and the sum over the draws of their squared deviations
            from it, shape (b,), which is (N^3 - sum over values of W^3) / 3.
        """
        below = np.take(counts, self.order, axis=1)
        if len(self.starts) < counts.shape[1]:
            below = np.add.reduceat(below, self.starts, axis=1)
        draws = below.astype(np.float64)
        total = draws.sum(axis=1)
        # Whole numbers, hence exact in float64 up to some 200,000 draws; a constant has a spread of exactly 0.
        spread = (total**3 - np.einsum("bg,bg,bg->b", draws, draws, draws)) / 3
        doubled = np.cumsum(below, axis=1, dtype=np.int32)
        doubled *= 2
        doubled -= below
        doubled += 1
        return np.take(doubled, self.dense, axis=1), spread
