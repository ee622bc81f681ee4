"""Readings of C3's "the contested loss rises": last minus first, lowest to end, slope of the late half.

- *Last minus first* (the paper's) takes the untrained model's loss as the start. A freshly drawn head may begin far
  above an even guess; falling to it is not learning, and hides a later rise. A start above ln K by more than
  `NO_START` nats is therefore no start.
- *Lowest to end* needs no start. Its lowest point, taken from the curve itself, would make it at least 0 on any
  noise. So the point is found on other items (the other half of the clusters) and on the other seeds, among the
  points before the last, and read here: on a flat noisy curve it is 0 on average, on a falling one below 0. With one
  seed the point is found on other items of the same run, whose ups and downs are shared: such a reading decides
  nothing.
- *Late slope*: least-squares slope of the loss on progress u over the points with u of at least one half, nats per run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dissensus.analysis.claims.sampled import CellValue, ConditionValue
from dissensus.analysis.claims.statistics import ALL, ClaimStatistics, GroupMeans
from dissensus.analysis.claims.texts import names_of
from dissensus.analysis.reading import CellReading
from dissensus.curves import FloatArray
from dissensus.wording import number

NO_START = 0.05
"""Nats above ln K beyond which the first tracking point is an untrained head's noise."""
LATE_POINTS = 3
"""Points that the late slope needs."""


def why_no_start(means: GroupMeans) -> str:
    """Why a cell's first tracking point is no start, in words; '' where it is one."""
    if not means.starts:
        return "the loss before training was not measured"
    groups = {
        "mean loss": means.whole,
        "contested loss": means.contested[ALL].mean,
        "settled loss": means.settled[ALL].mean,
    }
    high = {name: float(curve[0]) for name, curve in groups.items() if curve[0] > means.chance + NO_START}
    if not high:
        return ""
    name = max(high, key=lambda one: high[one])
    chance = number(means.chance)
    return f"{name} starts at {number(high[name])}, above an even guess's {chance}: an untrained head's noise"


def change(measured: ClaimStatistics, cell: CellReading, side: str = ALL) -> CellValue:
    """Last minus first of the contested examples' mean loss, in nats."""
    means = measured.group_means(cell)
    curve = means.contested[side]
    if not means.starts or len(curve.mean) < 2:
        return measured.undefined("the loss before training was not measured")
    if not curve.n:
        return measured.undefined(
            f"no contested example that is {side}" if side != ALL else "no contested example"
        )
    return CellValue(
        float(curve.mean[-1] - curve.mean[0]), curve.resampled[:, -1] - curve.resampled[:, 0], curve.clusters
    )


def late_slope(measured: ClaimStatistics, cell: CellReading) -> CellValue:
    """Least-squares slope of the contested mean loss on u over the late half, in nats per run."""
    means = measured.group_means(cell)
    curve = means.contested[ALL]
    late = means.progress >= 0.5
    if late.sum() < LATE_POINTS:
        return measured.undefined(
            f"{int(late.sum())} tracking points in the late half; it needs {LATE_POINTS}"
        )
    if not curve.n:
        return measured.undefined("no contested example")
    u = means.progress[late] - means.progress[late].mean()
    weights = u / (u @ u)
    return CellValue(float(curve.mean[late] @ weights), curve.resampled[:, late] @ weights, curve.clusters)


def rise(measured: ClaimStatistics, name: str, cells: Sequence[CellReading]) -> ConditionValue:
    """Lowest to end of one condition, the lowest point found on other items and other seeds; see the first lines."""
    means = [measured.group_means(cell) for cell in cells]
    values = {
        cell.spec.seed: _rise(
            measured, cell_means, [other for other in means if other is not cell_means] or [cell_means]
        )
        for cell, cell_means in zip(cells, means, strict=True)
    }
    return ConditionValue.of(name, values, names_of(cells))


def _rise(measured: ClaimStatistics, cell_means: GroupMeans, others: Sequence[GroupMeans]) -> CellValue:
    points = len(cell_means.progress)
    if points < 3:
        return measured.undefined(f"{points} tracking points; lowest to end needs 3")
    if any(
        len(other.progress) != points or not np.allclose(other.progress, cell_means.progress)
        for other in others
    ):
        return measured.undefined("seeds have other tracking points")
    sizes = [half.n for half in cell_means.halves]
    if not all(sizes):
        return measured.undefined("too few contested examples to find the lowest point on one half of them")
    value, resampled = 0.0, np.zeros(measured.settings.resamples)
    for place, half in enumerate(cell_means.halves):
        share = sizes[place] / sum(sizes)
        elsewhere = [other.halves[1 - place] for other in others]
        value += share * float(
            _from_lowest(half.mean[None], np.mean([c.mean for c in elsewhere], axis=0)[None])[0]
        )
        resampled += share * _from_lowest(half.resampled, np.mean([c.resampled for c in elsewhere], axis=0))
    return CellValue(value, resampled, cell_means.contested[ALL].clusters)


def _from_lowest(read: FloatArray, found_on: FloatArray) -> FloatArray:
    """The last point of each row of `read` minus its value where `found_on`, without its last point, is lowest."""
    known = np.asarray(np.isfinite(found_on).all(axis=1))
    at = np.where(known[:, None], found_on, 0.0)[:, :-1].argmin(axis=1)
    rises = read[:, -1] - read[np.arange(len(read)), at]
    return np.where(known, rises, np.nan)
