"""Difference of a mean between two groups of examples, with a t interval that respects clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.errors import DataError, SpecError
from dissensus.stats.bootstrap import FloatArray, IntArray, cluster_index
from dissensus.stats.columns import numeric_columns
from dissensus.stats.groups import CONTESTED, SETTLED
from dissensus.stats.intervals import Interval, few_units, t_interval


@dataclass(frozen=True)
class MeanDifference:
    """Mean of the first group minus mean of the second, in the unit of the values.

    Attributes:
        difference: above 0 where the first group's mean is higher; NaN when a group has no finite value.
        low: lower end of its interval; NaN without one.
        high: upper end.
        p_value: two-sided, of no difference; below 1 - confidence exactly where the interval leaves out 0.
        first: name of the first group.
        second: name of the second group.
        mean_first: its mean.
        mean_second: its mean.
        n_first: finite values of the first group.
        n_second: finite values of the second group.
        dropped: members of either group whose value is not finite.
        units: clusters (examples, where each is its own) with a finite value in either group.
        df: degrees of freedom of the error; NaN without one.
        confidence: of the interval.
        withheld: why there is no interval; '' where there is.
    """

    difference: float
    low: float
    high: float
    p_value: float
    first: str
    second: str
    mean_first: float
    mean_second: float
    n_first: int
    n_second: int
    dropped: int
    units: int
    df: float
    confidence: float
    withheld: str = ""


def mean_difference(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    first: str = CONTESTED,
    second: str = SETTLED,
    confidence: float = 0.95,
    clusters: ArrayLike | None = None,
) -> MeanDifference:
    """Difference of group means, contested minus settled by default, with its t interval.

    The variance is the delete-one jackknife's over the clusters of both groups together: (G - 1) / G x the sum of
    squared changes of the difference when one cluster is left out. A cluster with members in both groups so cancels
    what it adds to both. Degrees of freedom are Welch's, from each group's own variance and clusters, at most G - 1.

    No interval below `MIN_CLUSTERS` clusters (or examples, where each is its own) in either group.

    Args:
        values: one per example, shape (n,); those that are not finite are dropped and counted.
        groups: group names, shape (n,).
        first: the group whose mean comes first.
        second: the group whose mean is subtracted.
        confidence: of the interval.
        clusters: labels of what belongs together, shape (n,); default: each example is its own.

    Raises:
        DataError: shapes do not fit.
        SpecError: the confidence is outside (0, 1).
    """
    if not 0 < confidence < 1:
        raise SpecError(f"confidence is {confidence!r}; expected a number between 0 and 1, such as 0.95")
    column = numeric_columns({"values": values})["values"]
    names = np.asarray(groups, dtype=np.str_)
    if names.shape != column.shape:
        raise DataError(
            f"groups has shape {names.shape}; expected one name per example, shape {column.shape}"
        )
    member = (names == first) | (names == second)
    keep = member & np.isfinite(column)
    kept_values, is_first = column[keep], names[keep] == first
    if clusters is None:
        unit: IntArray = np.arange(len(kept_values))
    else:
        unit = cluster_index(cluster_index(clusters, len(column))[keep], len(kept_values))
    units = int(unit.max(initial=-1)) + 1
    sides = [_Side.of(kept_values[side], unit[side], units) for side in (is_first, ~is_first)]
    difference = sides[0].mean - sides[1].mean
    df = float("nan")
    few = _few_in_a_group({first: sides[0].units, second: sides[1].units}, clustered=clusters is not None)
    if not np.isfinite(difference):
        interval = Interval(withheld="a group has no value")
    elif few:
        interval = Interval(withheld=few)
    else:
        error = float(np.sqrt(_jackknife(sides[0].changes - sides[1].changes, units)))
        apart = [_jackknife(side.changes, side.units) for side in sides]
        below = sum(v**2 / (side.units - 1) for v, side in zip(apart, sides, strict=True))
        df = min(sum(apart) ** 2 / below, units - 1) if below > 0 else units - 1
        interval = t_interval(difference, error, df, confidence)
    return MeanDifference(
        difference=difference,
        low=interval.low,
        high=interval.high,
        p_value=interval.p_value,
        first=first,
        second=second,
        mean_first=sides[0].mean,
        mean_second=sides[1].mean,
        n_first=int(is_first.sum()),
        n_second=int((~is_first).sum()),
        dropped=int(member.sum() - keep.sum()),
        units=units,
        df=float(df),
        confidence=confidence,
        withheld=interval.withheld,
    )


@dataclass(frozen=True)
class _Side:
    """The mean of one group.

    Attributes:
        mean: NaN without a value.
        units: clusters with a value.
        changes: of the mean when a cluster is left out, for each of the clusters of both groups.
    """

    mean: float
    units: int
    changes: FloatArray

    @classmethod
    def of(cls, values: FloatArray, unit: IntArray, units: int) -> _Side:
        mean = float(values.mean()) if len(values) else float("nan")
        sizes = np.bincount(unit, minlength=units).astype(np.float64)
        apart = np.bincount(unit, weights=values - mean, minlength=units)
        rest = len(values) - sizes
        changes = np.zeros(units)
        np.divide(-apart, rest, out=changes, where=rest > 0)
        return cls(mean, int((sizes > 0).sum()), changes)


def _jackknife(changes: FloatArray, units: int) -> float:
    return float((units - 1) / units * (changes**2).sum())


def _few_in_a_group(units: dict[str, int], *, clustered: bool) -> str:
    """Why the smaller group has too few units for an interval; '' where it has enough."""
    smaller = min(units, key=lambda name: units[name])
    return few_units(units[smaller], clustered=clustered, group=smaller)
