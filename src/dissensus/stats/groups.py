"""Contested, middle and settled examples, and their mean curves with bootstrap bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dissensus.errors import DataError, SpecError
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
from dissensus.stats.ranks import average_ranks

CONTESTED, MIDDLE, SETTLED, UNGROUPED = "contested", "middle", "settled", ""
GROUPS = (CONTESTED, MIDDLE, SETTLED)
"""The groups in the order in which results list them."""
EQUAL = 1e-9
"""Bits: entropies less than this apart are equal, for the same counts in another order differ by rounding."""


@dataclass(frozen=True)
class GroupCurve:
    """Mean curve of one group.

    Attributes:
        group: its name.
        mean: mean over the group's finite values at each tracking point, shape (T,); NaN where there is none.
        low: lower end of the bootstrap interval at each point (a pointwise band), shape (T,); NaN without
            one.
        high: upper end, shape (T,).
        n: examples of the group.
        finite: how many of them have a finite value, at each point, shape (T,).
        confidence: of the band.
        resamples: bootstrap resamples that were drawn.
    """

    group: str
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    n: int
    finite: NDArray[np.int64]
    confidence: float
    resamples: int


def entropy_groups(
    entropy: ArrayLike, *, share: float = 1 / 3, cuts: tuple[float, float] | None = None
) -> NDArray[np.str_]:
    """Sort examples into 'contested', 'middle' and 'settled' by annotation entropy; '' where it is NaN.

    By share: with r the average rank of an example's entropy among the n finite ones, from 1, its place is
    (r - 1/2) / n, in (0, 1). Places below `share` are settled, places above 1 - `share` contested. Examples
    of equal entropy have one place and hence one group, whatever the order of rows; a tied block goes to
    the outer group that more than half of it lies in, so groups may be larger or smaller than `share`. The lowest of
    all values is settled and the highest contested in any case, unless all are equal: then all are middle,
    for nothing sets them apart. Entropies that differ by less than 1e-9 bits are equal: the same counts in
    another order differ by rounding.

    By cuts (low, high), in bits: entropy at or below low is settled, at or above high contested; here too, less than
    1e-9 bits apart is equal, so that a cut written with a few digits less than the entropy takes its whole block.

    Args:
        entropy: bits, shape (n,).
        share: share of each outer group, in (0, 1/2].
        cuts: cut points instead of a share.

    Returns:
        Shape (n,).

    Raises:
        SpecError: the share is outside (0, 1/2], or the cuts do not rise.
    """
    values = numeric_columns({"entropy": entropy})["entropy"]
    names = np.full(len(values), UNGROUPED, dtype="<U9")
    finite = np.isfinite(values)
    if cuts is not None:
        low, high = cuts
        if not low < high:
            raise SpecError(
                f"cuts are {cuts}; expected (low, high) in bits with low below high, such as (0.5, 1.0)"
            )
        settled, contested = values < low + EQUAL, values > high - EQUAL
    else:
        if not 0 < share <= 0.5:
            raise SpecError(f"share is {share!r}; expected a number above 0, at most 0.5")
        rounded = np.round(values, 9)
        known = rounded[finite]
        settled = contested = np.zeros(len(values), dtype=np.bool_)
        if len(known) and np.ptp(known) > 0:
            rank = np.full(len(values), np.nan)
            rank[finite] = average_ranks(known)
            # Both sides count from their own end, so that rounding cannot treat them differently.
            settled = ((rank - 0.5) / len(known) < share) | (rounded == known.min())
            contested = ((len(known) + 0.5 - rank) / len(known) < share) | (rounded == known.max())
    names[finite] = MIDDLE
    names[finite & settled] = SETTLED
    names[finite & contested] = CONTESTED
    return names


def group_curves(
    losses: ArrayLike,
    groups: ArrayLike,
    *,
    resamples: int = 0,
    confidence: float = 0.95,
    rng: Seed = None,
    clusters: ArrayLike | None = None,
) -> dict[str, GroupCurve]:
    """Mean curve of each group with a pointwise percentile-bootstrap band.

    Unit: that of the losses (nats). The examples of a group (or its clusters) are resampled; one resample
    serves all tracking points. Values that are not finite are left out point by point and counted
    (`GroupCurve.finite`).

    Args:
        losses: shape (n, T).
        groups: group names, shape (n,); '' belongs to no group.
        resamples: bootstrap resamples; 0 gives no band.
        confidence: of the band.
        rng: generator or seed; required when resamples > 0.
        clusters: labels of shape (n,); whole clusters are resampled.

    Returns:
        Name -> curve for each group with an example: contested, middle, settled, then others by name.

    Raises:
        DataError: shapes do not fit.
        SpecError: an option is not valid, or the seed is missing.
    """
    generator = generator_for(resamples, confidence, rng)
    values, names = np.asarray(losses, dtype=np.float64), np.asarray(groups, dtype=np.str_)
    if values.ndim != 2 or names.shape != values.shape[:1]:
        raise DataError(
            f"losses of shape {values.shape} do not fit groups of shape {names.shape}; expected (n, T) and (n,)"
        )
    index = None if clusters is None else cluster_index(clusters, len(values))
    present = set(names.tolist()) - {UNGROUPED}
    result = {}
    for name in [g for g in GROUPS if g in present] + sorted(present - set(GROUPS)):
        member = names == name
        own = values[member]
        finite = np.isfinite(own)
        means = np.empty((0, own.shape[1]))
        if generator is not None:
            own_clusters = None if index is None else index[member]
            chunks = resample_counts(len(own), resamples, generator, clusters=own_clusters)
            means = np.concatenate([_means(counts, own, finite) for counts in chunks])
        low, high = percentile_interval(means, confidence)
        result[name] = GroupCurve(
            group=name,
            mean=_means(np.ones((1, len(own)), dtype=np.int32), own, finite)[0],
            low=low,
            high=high,
            n=len(own),
            finite=finite.sum(axis=0),
            confidence=confidence,
            resamples=resamples,
        )
    return result


def _means(counts: CountArray, values: FloatArray, finite: NDArray[np.bool_]) -> FloatArray:
    """Mean over the drawn finite values at each point, shape (b, T); NaN where none was drawn."""
    weights = counts.astype(np.float64)
    drawn = weights @ finite.astype(np.float64)
    means = np.full(drawn.shape, np.nan)
    np.divide(weights @ np.where(finite, values, 0.0), drawn, out=means, where=drawn > 0)
    return means
