"""Mean curves of groups from running sums: a block of examples at a time, for sets that do not fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dissensus import threads
from dissensus.curves import CurveSource
from dissensus.errors import DataError, SpecError
from dissensus.stats.bootstrap import FloatArray, IntArray
from dissensus.stats.groups import GROUPS, UNGROUPED, GroupCurve

BLOCK = 65_536
"""Examples that are read at a time: a row group of a store."""
BUCKETS = 4096
"""Into so many buckets clusters are put at most. A cluster's residuals are independent of another's, so the square of
their sum over a bucket is on average the sum of their squares: the variance stays unbiased, and its own standard error
is sqrt(2 / 4096), 2%, so that of an interval's width 1%."""


class GroupSums:
    """Mean curves of groups with pointwise bands, of blocks of examples that come one after the other.

    The means are those of `group_curves`, up to rounding. The bands are mean +- z x standard error, where
    `group_curves` takes quantiles of resampled means: that needs B x n draws, and either all curves in memory or one
    reading of them for as many resamples as fit. Means of thousands of examples are normal for every purpose here, and
    what B resamples leave to chance in a quantile is more (with 1,000 of them, 0.08 of a standard error); tests hold
    both bands beside each other. The variance is the bootstrap's own (divisor n); with clusters it is that of a ratio
    of sums over clusters, linearised, from `BUCKETS` sums.

    Memory: groups x points x 4 numbers; with clusters `BUCKETS` x points x groups x 2.

    Args:
        points: T, values of an example.
        clusters: how many clusters there are, if `add` is told them; 0 without.
    """

    def __init__(self, points: int, *, clusters: int = 0) -> None:
        self._points, self._clusters = points, clusters
        self._buckets = min(clusters, BUCKETS)
        self._pivot: FloatArray | None = None
        self._sums: dict[str, _Sums] = {}

    def add(
        self, values: FloatArray, groups: NDArray[np.str_], clusters: NDArray[np.int64] | None = None
    ) -> None:
        """Take in a block.

        Args:
            values: shape (b, T); those that are not finite are left out point by point and counted.
            groups: group names, shape (b,); '' belongs to no group.
            clusters: numbers from 0, shape (b,), if the sums were opened for them.

        Raises `DataError` when the shapes do not fit.
        """
        if values.shape != (len(groups), self._points) or (clusters is None) == (self._clusters > 0):
            raise DataError(
                f"values of shape {values.shape} and {len(groups)} groups; expected (b, {self._points}) and b of both, "
                f"{'with' if self._clusters else 'without'} clusters"
            )
        finite = np.isfinite(values)
        if self._pivot is None:  # sums of squares are of deviations from here, so that no digits are lost
            self._pivot = _mean(np.where(finite, values, 0.0).sum(axis=0), finite.sum(axis=0), empty=0.0)
        shifted = np.where(finite, values - self._pivot, 0.0)
        for name in sorted(set(groups.tolist()) - {UNGROUPED}):
            member = np.flatnonzero(groups == name)
            own = self._sums.setdefault(name, _Sums.empty(self._points, self._buckets))
            own.add(
                shifted[member],
                finite[member],
                None if clusters is None else _bucket_of(clusters[member], self._clusters, self._buckets),
            )

    def curves(self, *, confidence: float = 0.95) -> dict[str, GroupCurve]:
        """Name -> curve of each group with an example: contested, middle, settled, then others by name.

        `resamples` is 0, for none were drawn; the bands are there all the same, NaN where no value was finite.

        Raises `SpecError` when the confidence is outside (0, 1).
        """
        if not 0 < confidence < 1:
            raise SpecError(f"confidence is {confidence!r}; expected a number between 0 and 1, such as 0.95")
        from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

        z = float(special.ndtri((1 + confidence) / 2))
        pivot = np.zeros(self._points) if self._pivot is None else self._pivot
        found = {}
        for name in [g for g in GROUPS if g in self._sums] + sorted(self._sums.keys() - set(GROUPS)):
            own = self._sums[name]
            shift = _mean(own.total, own.finite, empty=np.nan)
            half = z * np.sqrt(own.variance(shift))
            mean = pivot + shift
            found[name] = GroupCurve(
                group=name,
                mean=mean,
                low=mean - half,
                high=mean + half,
                n=own.n,
                finite=own.finite.copy(),
                confidence=confidence,
                resamples=0,
            )
        return found


class _Sums:
    """Sums of one group, of values less the pivot."""

    def __init__(self, total: FloatArray, squares: FloatArray, finite: NDArray[np.int64]) -> None:
        self.n, self.total, self.squares, self.finite = 0, total, squares, finite
        self.bucket_totals: FloatArray | None = None
        self.bucket_counts: FloatArray | None = None

    @classmethod
    def empty(cls, points: int, buckets: int) -> _Sums:
        sums = cls(np.zeros(points), np.zeros(points), np.zeros(points, dtype=np.int64))
        if buckets:
            sums.bucket_totals, sums.bucket_counts = np.zeros((buckets, points)), np.zeros((buckets, points))
        return sums

    def add(self, values: FloatArray, finite: NDArray[np.bool_], buckets: IntArray | None) -> None:
        self.n += len(values)
        self.total += values.sum(axis=0)
        self.finite += finite.sum(axis=0)
        if buckets is None or self.bucket_totals is None or self.bucket_counts is None:
            self.squares += np.einsum("nt,nt->t", values, values)
            return
        order = np.argsort(buckets, kind="stable")
        present, starts = np.unique(buckets[order], return_index=True)
        self.bucket_totals[present] += np.add.reduceat(values[order], starts, axis=0)
        self.bucket_counts[present] += np.add.reduceat(finite[order].astype(np.float64), starts, axis=0)

    def variance(self, mean: FloatArray) -> FloatArray:
        """Of the mean at each point, shape (T,); NaN where there is no value."""
        if self.bucket_totals is None or self.bucket_counts is None:
            squares = self.squares - self.total * mean
        else:
            squares = ((self.bucket_totals - mean * self.bucket_counts) ** 2).sum(axis=0)
        return _mean(_mean(np.maximum(squares, 0.0), self.finite, empty=np.nan), self.finite, empty=np.nan)


def _bucket_of(clusters: NDArray[np.int64], count: int, buckets: int) -> IntArray:
    """Each cluster's bucket: its own where there are enough, else one that has nothing to do with its number."""
    if count <= buckets:
        return clusters.astype(np.intp)
    mixed = clusters.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # Fibonacci hashing
    return ((mixed >> np.uint64(32)) % np.uint64(buckets)).astype(np.intp)


def _mean(total: FloatArray, count: NDArray[np.int64], *, empty: float) -> FloatArray:
    mean = np.full(total.shape, empty)
    np.divide(total, count, out=mean, where=count > 0)
    return mean


def stored_group_curves(
    curves: CurveSource,
    groups: NDArray[np.str_],
    *,
    confidence: float = 0.95,
    clusters: NDArray[np.int64] | None = None,
) -> dict[str, GroupCurve]:
    """Mean curves of groups' gold losses with bands, of curves that need not fit into memory; see `GroupSums`.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        groups: group names, shape (n,); '' belongs to no group.
        confidence: of the bands.
        clusters: numbers from 0 of what belongs together, shape (n,).

    Raises:
        DataError: shapes do not fit.
        SpecError: the confidence is outside (0, 1).
    """
    if groups.shape != (len(curves),) or (clusters is not None and clusters.shape != groups.shape):
        raise DataError(
            f"groups of shape {groups.shape} for {len(curves)} examples; expected one name an example"
        )
    sums = GroupSums(len(curves.steps), clusters=0 if clusters is None else int(clusters.max(initial=-1)) + 1)
    workers = threads.available()
    begins = list(range(0, len(curves), BLOCK))
    # Read side by side, added one after the other: sums that depended on which thread came first could not be repeated.
    for turn in range(0, len(begins), workers):
        own = begins[turn : turn + workers]
        losses = threads.in_order(
            lambda begin: curves.read(begin, min(len(curves), begin + BLOCK)).losses, own, threads=workers
        )
        for begin, block in zip(own, losses, strict=True):
            rows = slice(begin, begin + BLOCK)
            sums.add(block, groups[rows], None if clusters is None else clusters[rows])
    return sums.curves(confidence=confidence)
