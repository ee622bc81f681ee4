"""Difference of a mean between two groups of examples, with a bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError
from dissensus.stats.bootstrap import (
    CountArray,
    FloatArray,
    Seed,
    cluster_index,
    generator_for,
    percentile_interval,
    resample_counts,
)
from dissensus.stats.columns import numeric_columns
from dissensus.stats.groups import CONTESTED, SETTLED


@dataclass(frozen=True)
class MeanDifference:
    """Mean of the first group minus mean of the second, in the unit of the values.

    Attributes:
        difference: above 0 where the first group's mean is higher; NaN when a group has no finite value.
        low: lower end of the bootstrap interval; NaN without one.
        high: upper end.
        first: name of the first group.
        second: name of the second group.
        mean_first: its mean.
        mean_second: its mean.
        n_first: finite values of the first group.
        n_second: finite values of the second group.
        dropped: members of either group whose value is not finite.
        confidence: of the interval.
        resamples: bootstrap resamples that were drawn.
    """

    difference: float
    low: float
    high: float
    first: str
    second: str
    mean_first: float
    mean_second: float
    n_first: int
    n_second: int
    dropped: int
    confidence: float
    resamples: int


def mean_difference(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    first: str = CONTESTED,
    second: str = SETTLED,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> MeanDifference:
    """Difference of group means, contested minus settled by default, with a percentile-bootstrap interval.

    Without clusters each group is resampled within itself and keeps its size. With clusters, which may have
    members in both groups, clusters of the two groups together are resampled.

    Args:
        values: one an example, shape (n,); those that are not finite are dropped and counted.
        groups: group names, shape (n,).
        first: the group whose mean comes first.
        second: the group whose mean is subtracted.
        resamples: bootstrap resamples; 0 gives no interval.
        confidence: of the interval.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,).

    Raises:
        DataError: shapes do not fit.
        SpecError: an option is not valid, or the seed is missing.
    """
    generator = generator_for(resamples, confidence, rng)
    column = numeric_columns({"values": values})["values"]
    names = np.asarray(groups, dtype=np.str_)
    if names.shape != column.shape:
        raise DataError(f"groups has shape {names.shape}; expected one name an example, shape {column.shape}")
    member = (names == first) | (names == second)
    keep = member & np.isfinite(column)
    own, is_first = column[keep], names[keep] == first
    groups_of = (own[is_first], own[~is_first])
    means = [float(g.mean()) if len(g) else float("nan") for g in groups_of]
    drawn = np.empty(0)
    if generator is not None and all(map(len, groups_of)):
        if clusters is None:
            sides = [
                np.concatenate([_means(c, g) for c in resample_counts(len(g), resamples, generator)])
                for g in groups_of
            ]
            drawn = sides[0] - sides[1]
        else:
            index = cluster_index(clusters, len(column))[keep]
            chunks = resample_counts(len(own), resamples, generator, clusters=index)
            drawn = np.concatenate(
                [_means(c[:, is_first], groups_of[0]) - _means(c[:, ~is_first], groups_of[1]) for c in chunks]
            )
    low, high = percentile_interval(drawn, confidence)
    return MeanDifference(
        difference=means[0] - means[1],
        low=float(low),
        high=float(high),
        first=first,
        second=second,
        mean_first=means[0],
        mean_second=means[1],
        n_first=len(groups_of[0]),
        n_second=len(groups_of[1]),
        dropped=int(member.sum() - keep.sum()),
        confidence=confidence,
        resamples=resamples,
    )


def _means(counts: CountArray, values: FloatArray) -> FloatArray:
    """Mean of the drawn values in each resample, shape (b,); NaN where none was drawn."""
    weights: NDArray[np.float64] = counts.astype(np.float64)
    drawn = weights.sum(axis=1)
    means = np.full(len(weights), np.nan)
    np.divide(weights @ values, drawn, out=means, where=drawn > 0)
    return means
