"""Accuracy, calibration and distance to people by entropy group, at the end of training: a table of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves
from dissensus.report.grid import Grid, grid_of
from dissensus.report.tables import GROUPS, ConditionRow, percent
from dissensus.stats.calibration import calibration
from dissensus.wording import number

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class GroupEnd:
    """One entropy group at the last tracking point, averaged over seeds; NaN where undefined.

    Attributes:
        group: contested, middle or settled.
        n: items of the first seed.
        accuracy: share whose most probable label is the gold one.
        ece: expected calibration error.
        distance: mean total variation between the model's probabilities and the annotators' shares, 0 to 1.
    """

    group: str
    n: int
    accuracy: float
    ece: float
    distance: float


def group_ends(seeds: Sequence[Curves], groups: Sequence[NDArray[np.str_]]) -> tuple[GroupEnd, ...]:
    """Each group's end.

    Args:
        seeds: the curves of each seed, on the gold label.
        groups: the group of each item of each seed.
    """
    ends = []
    for name in GROUPS:
        members = [group == name for group in groups]
        if not any(member.any() for member in members):
            continue
        found = [_end(curves, member) for curves, member in zip(seeds, members, strict=True)]
        accuracy, ece, distance = (_mean([one[place] for one in found]) for place in range(3))
        ends.append(GroupEnd(name, int(members[0].sum()), accuracy, ece, distance))
    return tuple(ends)


def total_variation(counts: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Half of sum_k |p_k - q_k| of each item, shape (n,): 0 where the model answers as its annotators do, 1 at most.

    p are the annotators' shares, q the probabilities scaled to sum to 1. NaN without annotations or probabilities.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
        answers = probabilities / probabilities.sum(axis=1, keepdims=True)
    return np.asarray(0.5 * np.abs(shares - answers).sum(axis=1), dtype=np.float64)


def _end(curves: Curves, member: NDArray[np.bool_]) -> tuple[float, float, float]:
    last = curves.log_probs[member, -1].astype(np.float64)
    known = calibration(last, curves.gold[member])
    return known.accuracy, known.ece, _mean(total_variation(curves.counts[member], np.exp(last)))


def _mean(values: Sequence[float] | FloatArray) -> float:
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    return float(finite.mean()) if finite.size else float("nan")


def by_group_grid(rows: Sequence[tuple[ConditionRow, tuple[GroupEnd, ...]]]) -> Grid | None:
    """A row per condition and group; None where no item has a group."""
    return grid_of(
        "by-group",
        "Accuracy, calibration and distance to people",
        (
            "At the end of training. Accuracy: the most probable label is the gold one. Calibration error: how far the "
            "model's certainty lies from how often it is right (0 is best). Distance to people: how much probability "
            "must move for the model to answer as the annotators did (0 is best, 1 the most).",
        ),
        ("Condition, group", "Items", "Accuracy", "Calibration error", "Distance to people"),
        [
            (
                f"{row.title}, {end.group}",
                str(end.n),
                percent(end.accuracy),
                number(end.ece),
                number(end.distance),
            )
            for row, ends in rows
            for end in ends
        ],
    )
