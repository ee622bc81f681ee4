"""A statistic in every resample: draws made one chunk after the other, computed on in threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus import threads
from dissensus.stats.bootstrap import (
    CountArray,
    FloatArray,
    IntArray,
    cluster_index,
    drawn_units,
    times_drawn,
)
from dissensus.stats.lanes import Lanes

WIDE = 32_767
"""Examples above which a machine word holds two resamples instead of four; see `Lanes`."""
CHUNK = 2**25
"""Bytes that a chunk of `cells` resamples x examples takes, about, with everything that is computed on it."""
HELD = 2**32
"""Bytes that the chunks of all threads may take together: with millions of examples fewer threads work at a time, for
a chunk of two resamples is the smallest that there is."""


@dataclass(frozen=True)
class Units:
    """What is drawn: examples, or clusters of them.

    Attributes:
        of: number of the unit of each example, shape (n,); None when each example is its own.
        sizes: examples of each unit, shape (units,).
    """

    of: IntArray | None
    sizes: FloatArray

    @classmethod
    def among(cls, n: int, clusters: ArrayLike | None) -> Units:
        """The units of n examples; `clusters` has one label an example."""
        if clusters is None:
            return cls(None, np.ones(n))
        index = cluster_index(clusters, n)
        return cls(index, np.bincount(index).astype(np.float64))


@dataclass(frozen=True)
class Draws:
    """A chunk of b resamples of n examples.

    Attributes:
        counts: draws of each unit, packed, shape (b, units).
        packed_totals: N, packed, shape (b, 1).
        weights: draws of each example, shape (b, n).
        totals: N, draws of each resample, shape (b,).
    """

    counts: Lanes
    packed_totals: Lanes
    weights: FloatArray
    totals: FloatArray

    @classmethod
    def of(cls, counts: CountArray, units: Units) -> Draws:
        """Draws from counts of units, shape (b, units)."""
        weights = counts.astype(np.float64)
        # einsum and not a matrix product: the latter would be shared out over threads again.
        totals = np.einsum("bu,u->b", weights, units.sizes)
        largest = 2 * int(totals.max(initial=0))  # what doubled ranks reach; see `RankedSample.rank`
        lanes = Lanes.of(counts, largest=largest)
        return cls(
            counts=lanes,
            packed_totals=Lanes.of(totals[:, None], largest=largest),
            weights=weights if units.of is None else lanes.take(units.of).numbers(),
            totals=totals,
        )


def over_resamples(
    statistic: Callable[[Draws], FloatArray],
    units: Units,
    resamples: int,
    rng: np.random.Generator,
    *,
    cells: int,
) -> FloatArray:
    """The statistic in each resample, in the order in which they are drawn, shape (resamples, ...).

    Args:
        statistic: from a chunk of b resamples to b values (or rows); called in several threads.
        units: what is drawn.
        resamples: how many, at least 1.
        rng: source of the draws; they are those of `bootstrap.resample_counts`.
        cells: resamples x examples of a chunk, about.
    """
    n = len(units.sizes) if units.of is None else len(units.of)
    each = 4 if n <= WIDE else 2  # a word holds so many; see `Lanes`
    rows = each * max(1, cells // max(each * n, 1))
    chunks = drawn_units(len(units.sizes), resamples, rng, rows=rows)
    fit = int(HELD / (CHUNK * max(1.0, rows * n / cells)))
    count = max(1, min(threads.available(), -(-resamples // rows), fit))
    found = threads.in_order(
        lambda picks: statistic(Draws.of(times_drawn(picks), units)), chunks, threads=count
    )
    return np.concatenate(found)
