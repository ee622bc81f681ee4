"""Mean curves of groups from running sums: all at once, or a block at a time, of sets that do not fit into memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus import threads
from dissensus.curves import CurveSource
from dissensus.errors import DataError, SpecError
from dissensus.stats.bootstrap import FloatArray, IntArray, cluster_index
from dissensus.stats.groups import GROUPS, UNGROUPED, GroupCurve
from dissensus.stats.intervals import MIN_CLUSTERS, few_units

BLOCK = 65_536
"""Examples that are read at a time: a row group of a store."""
BUCKETS = 4096
"""Into so many buckets clusters are put at most. A cluster's residuals are independent of another's, so the square of
their sum over a bucket is on average the sum of their squares: the variance stays unbiased, and its own standard error
is sqrt(2 / 4096), 2%, so that of an interval's width 1%."""


class GroupSums:
    """Mean curves of groups with pointwise bands, of blocks of examples that come one after the other.

    Bands: mean +- t x standard error, with Student's t of G - 1 degrees of freedom, G the clusters (or examples) that
    have a finite value. The variance is the delete-one jackknife's, over clusters:
    (G - 1) / G x sum (e_g / (N - N_g))^2, with e_g the sum over cluster g of deviations from the mean and N_g its
    finite values. Where each example is its own cluster this is s^2 / N, the textbook's. Below `MIN_CLUSTERS` there is
    no band.

    Memory: groups x points x 4 numbers; with clusters `buckets` x points x groups x 2.

    Args:
        points: T, values of an example.
        clusters: how many clusters there are, if `add` is told them; 0 without.
        buckets: into so many buckets clusters are put at most; see `BUCKETS`.
    """

    def __init__(self, points: int, *, clusters: int = 0, buckets: int = BUCKETS) -> None:
        self._points, self._clusters = points, clusters
        self._buckets = min(clusters, buckets)
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
            sums = self._sums.setdefault(name, _Sums.empty(self._points, self._buckets))
            sums.add(
                shifted[member],
                finite[member],
                None if clusters is None else _bucket_of(clusters[member], self._clusters, self._buckets),
            )

    def curves(self, *, confidence: float = 0.95) -> dict[str, GroupCurve]:
        """Name -> curve of each group with an example: contested, middle, settled, then others by name.

        Raises `SpecError` when the confidence is outside (0, 1).
        """
        if not 0 < confidence < 1:
            raise SpecError(f"confidence is {confidence!r}; expected a number between 0 and 1, such as 0.95")
        from scipy import special  # here, because its import takes longer than the rest of `import dissensus`

        pivot = np.zeros(self._points) if self._pivot is None else self._pivot
        curves = {}
        for name in [g for g in GROUPS if g in self._sums] + sorted(self._sums.keys() - set(GROUPS)):
            sums = self._sums[name]
            shift = _mean(sums.total, sums.finite, empty=np.nan)
            units = sums.units()
            enough = units >= MIN_CLUSTERS
            freedom = np.where(enough, units - 1, 1)
            reach = special.stdtrit(freedom, (1 + confidence) / 2)
            half = np.where(enough, reach * np.sqrt(sums.variance(shift)), np.nan)
            mean = pivot + shift
            curves[name] = GroupCurve(
                group=name,
                mean=mean,
                low=mean - half,
                high=mean + half,
                n=sums.n,
                finite=sums.finite.copy(),
                confidence=confidence,
                units=units,
                withheld=few_units(int(units.min(initial=MIN_CLUSTERS)), clustered=self._clusters > 0),
            )
        return curves


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

    def units(self) -> NDArray[np.int64]:
        """Clusters (or examples) with a finite value at each point, shape (T,)."""
        if self.bucket_counts is None:
            return self.finite.copy()
        return np.asarray((self.bucket_counts > 0).sum(axis=0), dtype=np.int64)

    def variance(self, mean: FloatArray) -> FloatArray:
        """Of the mean at each point, shape (T,); NaN where there are not two clusters with a value."""
        n, units = self.finite.astype(np.float64), self.units()
        if self.bucket_totals is None or self.bucket_counts is None:
            spread = np.maximum(self.squares - self.total * mean, 0.0)
            left = (n - 1) ** 2
        else:
            rest = n - self.bucket_counts  # what is left without the bucket
            apart = np.zeros(rest.shape)
            np.divide(self.bucket_totals - mean * self.bucket_counts, rest, out=apart, where=rest > 0)
            spread, left = (apart**2).sum(axis=0), np.ones(len(n))
        variance = np.full(n.shape, np.nan)
        np.divide((units - 1) * spread, units * left, out=variance, where=units > 1)
        return variance


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


def group_curves(
    losses: ArrayLike, groups: ArrayLike, *, confidence: float = 0.95, clusters: ArrayLike | None = None
) -> dict[str, GroupCurve]:
    """Mean curve of each group with a pointwise band; see `GroupSums`.

    Unit: that of the losses (nats). Values that are not finite are left out point by point and counted
    (`GroupCurve.finite`).

    Args:
        losses: shape (n, T).
        groups: group names, shape (n,); '' belongs to no group.
        confidence: of the band.
        clusters: labels of what belongs together, shape (n,).

    Returns:
        Name -> curve for each group with an example: contested, middle, settled, then others by name.

    Raises:
        DataError: shapes do not fit.
        SpecError: the confidence is outside (0, 1).
    """
    values, names = np.asarray(losses, dtype=np.float64), np.asarray(groups, dtype=np.str_)
    if values.ndim != 2 or names.shape != values.shape[:1]:
        raise DataError(
            f"losses of shape {values.shape} do not fit groups of shape {names.shape}; expected (n, T) and (n,)"
        )
    index = None if clusters is None else cluster_index(clusters, len(values))
    count = 0 if index is None else int(index.max(initial=-1)) + 1
    sums = GroupSums(values.shape[1], clusters=count, buckets=count)
    if len(values):
        sums.add(values, names, None if index is None else index.astype(np.int64))
    return sums.curves(confidence=confidence)


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
            f"groups of shape {groups.shape} for {len(curves)} examples; expected one name per example"
        )
    sums = GroupSums(len(curves.steps), clusters=0 if clusters is None else int(clusters.max(initial=-1)) + 1)
    workers = threads.available()
    begins = list(range(0, len(curves), BLOCK))
    # Read side by side, added one after the other: sums that depended on which thread came first could not be repeated.
    for turn in range(0, len(begins), workers):
        turn_begins = begins[turn : turn + workers]
        losses = threads.in_order(
            lambda begin: curves.read(begin, min(len(curves), begin + BLOCK)).losses,
            turn_begins,
            threads=workers,
        )
        for begin, block in zip(turn_begins, losses, strict=True):
            rows = slice(begin, begin + BLOCK)
            sums.add(block, groups[rows], None if clusters is None else clusters[rows])
    return sums.curves(confidence=confidence)
