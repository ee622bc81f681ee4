"""Series that plots draw, as frozen arrays with their rows for a CSV file: what is drawn is what is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.analysis.reading import SIDES
from dissensus.curves import FloatArray
from dissensus.display import ShortRepr
from dissensus.plot.sources import Condition, Recording
from dissensus.report.figures import DrawnCurve
from dissensus.stats import GroupCurve, group_curves
from dissensus.stats.groups import GROUPS

ALL = "all"
"""The one group where no example has annotations."""
Row = tuple[str | float | int, ...]


@dataclass(frozen=True, eq=False)
class GroupSeries:
    """Mean loss along training by entropy group.

    Attributes:
        curves: a group each, averaged over seeds that share the first one's tracking points.
        sizes: group -> examples of the first seed.
        steps: optimiser steps of the tracking points, shape (T,).
        withheld: why a group has no band; '' where each has one.
    """

    curves: tuple[DrawnCurve, ...]
    sizes: Mapping[str, int]
    steps: NDArray[np.int64]
    withheld: str = ""

    columns = ("group", "seed", "step", "progress", "mean_loss_nats", "low", "high", "examples")

    def rows(self) -> Iterator[Row]:
        """The mean with its band ('seed' is 'mean'), then each seed's own, if there are several."""
        for curve in self.curves:
            size = self.sizes[curve.group]
            for at, step in enumerate(self.steps.tolist()):
                place = (step, float(curve.progress[at]))
                band = (float(curve.mean[at]), float(curve.low[at]), float(curve.high[at]))
                yield (curve.group, "mean", *place, *band, size)
                for seed, mean in enumerate(curve.seeds[:, at].tolist() if len(curve.seeds) > 1 else (), 1):
                    yield (curve.group, seed, *place, mean, float("nan"), float("nan"), size)


@dataclass(frozen=True, eq=False, repr=False)
class ExampleSeries(ShortRepr):
    """Metrics of each example, averaged over the seeds in which they are defined; sorted by id.

    Attributes:
        ids: shape (n,).
        group: contested, middle or settled; '' without annotations.
        entropy: bits.
        aulc: nats.
        confidence: mean probability of the gold label over the tracking points.
        variability: its standard deviation.
    """

    ids: NDArray[np.str_]
    group: NDArray[np.str_]
    entropy: FloatArray
    aulc: FloatArray
    confidence: FloatArray
    variability: FloatArray

    entropy_columns = ("id", "group", "entropy_bits", "aulc_nats")
    map_columns = ("id", "group", "variability", "confidence")

    def entropy_rows(self) -> Iterator[Row]:
        """One per example, of entropy against AULC."""
        yield from _together(self.ids, self.group, self.entropy, self.aulc)

    def map_rows(self) -> Iterator[Row]:
        """One per example, of the data map."""
        yield from _together(self.ids, self.group, self.variability, self.confidence)


@dataclass(frozen=True)
class Change:
    """Mean change of loss of a group or of a side of it, end minus start.

    Attributes:
        group: contested, middle, settled; or all.
        side: backed, rejected; '' for the whole group.
        mean: nats, averaged over seeds; NaN where it is not defined.
        low: lower end of the interval; NaN without one.
        high: upper end.
        n: examples of the first seed.
    """

    group: str
    side: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class ChangeSeries:
    """Changes of all groups, each followed by its sides.

    Attributes:
        changes: in the groups' order; groups and sides without an example are left out.
        withheld: why a group has no interval; '' where each has one.
    """

    changes: tuple[Change, ...]
    withheld: str = ""

    columns = ("group", "side", "mean_change_nats", "low", "high", "examples")

    def rows(self) -> Iterator[Row]:
        """One per group or side."""
        for one in self.changes:
            yield (one.group, one.side, one.mean, one.low, one.high, one.n)


def _together(*arrays: NDArray[Any]) -> Iterator[Row]:
    return zip(*(array.tolist() for array in arrays), strict=True)


def group_series(condition: Condition) -> GroupSeries:
    """Mean gold-label loss of each entropy group with its band; of all examples where none has annotations."""
    first = condition.seeds[0]
    alike = [seed for seed in condition.seeds if np.array_equal(seed.curves.steps, first.curves.steps)]
    bands = [_bands(seed, seed.curves.losses, _groups(seed)) for seed in alike]
    drawn = []
    for name in (*GROUPS, ALL):
        of_group = [band[name] for band in bands if name in band]
        if of_group:
            mean, low, high = (
                np.mean([getattr(one, end) for one in of_group], axis=0) for end in ("mean", "low", "high")
            )
            seeds = np.stack([one.mean for one in of_group])
            drawn.append(DrawnCurve(name, first.curves.progress, mean, low, high, seeds))
    sizes = {name: band.n for name, band in bands[0].items()}
    known = {curve.group: sizes.get(curve.group, 0) for curve in drawn}
    return GroupSeries(tuple(drawn), known, first.curves.steps, _withheld(bands))


def example_series(condition: Condition) -> ExampleSeries:
    """Entropy, AULC, confidence and variability of each example."""
    seeds = condition.seeds
    ids, place = np.unique(np.concatenate([np.array(seed.curves.ids) for seed in seeds]), return_inverse=True)
    _, first = np.unique(place, return_index=True)

    def mean(columns: list[FloatArray]) -> FloatArray:
        values = np.concatenate(columns)
        finite = np.isfinite(values)
        count = np.bincount(place[finite], minlength=len(ids))
        total = np.bincount(place[finite], weights=values[finite], minlength=len(ids))
        out = np.full(len(ids), np.nan)
        np.divide(total, count, out=out, where=count > 0)
        return out

    return ExampleSeries(
        ids=ids,
        group=np.concatenate([seed.group for seed in seeds])[first],
        entropy=np.concatenate([seed.entropy for seed in seeds])[first],
        aulc=mean([seed.metrics.aulc for seed in seeds]),
        confidence=mean([seed.metrics.cartography.confidence for seed in seeds]),
        variability=mean([seed.metrics.cartography.variability for seed in seeds]),
    )


def change_series(condition: Condition) -> ChangeSeries:
    """Mean change of the gold-label loss, end minus start, of each group and of its backed and rejected sides."""
    whole = [_bands(seed, _change(seed), _groups(seed)) for seed in condition.seeds]
    sides = [
        _bands(seed, _change(seed), np.char.add(np.char.add(_groups(seed), " "), seed.side))
        for seed in condition.seeds
    ]
    changes: list[Change] = []
    for group in (*GROUPS, ALL):
        changes += _mean_change(whole, group, group, "")
        for side in SIDES:
            changes += _mean_change(sides, f"{group} {side}", group, side)
    return ChangeSeries(tuple(changes), _withheld(whole))


def _withheld(bands: Sequence[Mapping[str, GroupCurve]]) -> str:
    """The first reason why a group has no interval."""
    reasons = (f"{name}: {one.withheld}" for band in bands for name, one in band.items() if one.withheld)
    return next(reasons, "")


def _mean_change(bands: list[dict[str, GroupCurve]], name: str, group: str, side: str) -> list[Change]:
    known = [band[name] for band in bands if name in band]
    if not known:
        return []
    mean, low, high = (
        float(np.mean([getattr(one, end)[0] for one in known])) for end in ("mean", "low", "high")
    )
    return [Change(group, side, mean, low, high, known[0].n)]


def _change(seed: Recording) -> FloatArray:
    return seed.metrics.unlearning.delta[:, None]


def _bands(seed: Recording, values: FloatArray, groups: NDArray[np.str_]) -> dict[str, GroupCurve]:
    return group_curves(values, groups, confidence=seed.confidence, clusters=seed.clusters)


def _groups(seed: Recording) -> NDArray[np.str_]:
    """Entropy groups; one of all examples where none has annotations."""
    return seed.group if np.any(seed.group != "") else np.full(len(seed.group), ALL)
