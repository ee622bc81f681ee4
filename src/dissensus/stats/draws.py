"""A statistic in every resample: draws made one chunk after the other, computed on in threads.

A bootstrap of ranks is gathers and running sums of small whole numbers: counts of draws. They are held with the
resamples of a chunk side by side in memory, in the narrowest type that no sum outgrows. So to move an example is to
copy a short run of memory, and one addition of machine words adds four resamples (two, where a resample has more than
32,767 draws): as long as no sum outgrows its part of a word, adding words adds all parts at once, in either byte order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus import threads
from dissensus.stats.bootstrap import (
    CountArray,
    FloatArray,
    IntArray,
    cluster_index,
    drawn_units,
    times_drawn,
)

WIDE = 32_767
"""Draws of a resample above which a machine word holds two resamples instead of four: twice their number, which sums of
two running counts reach, must fit into its part of the word."""
WORD = 8
"""Bytes of a machine word."""
CHUNK = 2**25
"""Bytes that a chunk of `cells` resamples x examples takes, about, with everything that is computed on it."""
HELD = 2**32
"""Bytes that the chunks of all threads may take together: with millions of examples fewer threads work at a time, for
a chunk of two resamples is the smallest that there is."""


RANKED, SUMS, PAIRS = 2, 8, 96
"""What a chunk keeps: ranks of columns (two arrays of the size of its draws each), sums of products of whole
designs, and of two covariates' columns (some 50 numbers a resample each)."""


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
        """The units of n examples; `clusters` has one label per example."""
        if clusters is None:
            return cls(None, np.ones(n))
        index = cluster_index(clusters, n)
        return cls(index, np.bincount(index).astype(np.float64))


Made = TypeVar("Made")


class Memo:
    """What was computed on a chunk of draws and is asked for again, by other statistics of the same columns.

    Args:
        most: results that are kept; the one that was asked for longest ago goes first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # The objects are kept beside the result: only then does an id stand for one of them.
        self._kept: dict[tuple[object, ...], tuple[tuple[object, ...], Any]] = {}

    def of(self, name: str, objects: tuple[object, ...], make: Callable[[], Made]) -> Made:
        """The result of this name on these objects, made where it is not kept; whoever gets it leaves it as it is."""
        made: Made | None = self.known(name, objects)
        if made is None:
            made = make()
            self.keep(name, objects, made)
        return made

    def known(self, name: str, objects: tuple[object, ...]) -> Any:
        """The result of this name on these objects; None where it is not kept."""
        key = (name, *map(id, objects))
        kept = self._kept.pop(key, None)
        if kept is None:
            return None
        self._kept[key] = kept
        return kept[1]

    def keep(self, name: str, objects: tuple[object, ...], made: object) -> None:
        """Keep a result; what was asked for longest ago is let go."""
        self._kept[name, *map(id, objects)] = (objects, made)
        if len(self._kept) > self._most:
            del self._kept[next(iter(self._kept))]


@dataclass(frozen=True)
class Draws:
    """A chunk of b resamples of n examples.

    Attributes:
        counts: draws of each unit, shape (b, units).
        packed: the same with the resamples side by side, uint16 or uint32, shape (units, w): w is b filled up with
            zeros to whole machine words.
        units: what is drawn.
        totals: N, draws of each resample, shape (b,).
        ranked: ranks of columns, where the chunk serves several statistics; None where it serves one.
        sums: sums of products, likewise.
        pairs: sums of products of two covariates' columns, or of one's with ranks, likewise.
    """

    counts: CountArray
    packed: NDArray[Any]
    units: Units
    totals: FloatArray
    ranked: Memo | None = None
    sums: Memo | None = None
    pairs: Memo | None = None

    @classmethod
    def of(cls, counts: CountArray, units: Units, *, several: bool = False) -> Draws:
        """Draws from counts of units, shape (b, units); `several`: keep what other statistics may ask for again."""
        # einsum and not a matrix product: the latter would be shared out over threads again.
        totals = np.einsum("bu,u->b", counts, units.sizes)
        part = np.dtype(np.uint16 if totals.max(initial=0) <= WIDE else np.uint32)
        each = WORD // part.itemsize
        packed = np.zeros((counts.shape[1], -(-len(counts) // each) * each), dtype=part)
        packed[:, : len(counts)] = counts.T
        return cls(
            counts=counts,
            packed=packed,
            units=units,
            totals=totals,
            ranked=Memo(RANKED) if several else None,
            sums=Memo(SUMS) if several else None,
            pairs=Memo(PAIRS) if several else None,
        )

    @cached_property
    def by_example(self) -> FloatArray:
        """Draws of each example, the resamples side by side, shape (n, b)."""
        of = self.units.of
        drawn = self.packed if of is None else np.take(self.packed, of, axis=0)
        return drawn[:, : len(self.counts)].astype(np.float64)

    @property
    def weights(self) -> FloatArray:
        """The same with a row for each resample, shape (b, n)."""
        return self.by_example.T


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
    each = 4 if n <= WIDE else 2  # a word holds so many
    rows = each * max(1, cells // max(each * n, 1))
    chunks = drawn_units(len(units.sizes), resamples, rng, rows=rows)
    fit = int(HELD / (CHUNK * max(1.0, rows * n / cells)))
    count = max(1, min(threads.available(), -(-resamples // rows), fit))
    parts = threads.in_order(
        lambda picks: statistic(Draws.of(times_drawn(picks), units)), chunks, threads=count
    )
    return np.concatenate(parts)
