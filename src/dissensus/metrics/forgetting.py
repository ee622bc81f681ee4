"""Forgetting events: how often an example that was answered correctly is answered wrongly again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.curves import Curves, FloatArray
from dissensus.metrics.points import BoolArray, close_gaps, gold_margins, kept_points


@dataclass(frozen=True)
class Forgetting:
    """Forgetting of n examples. Every array has shape (n,).

    Attributes:
        events: steps from right to wrong between neighbouring tracking points, 0 to T / 2; NaN for an
            example that was never right (it had nothing to forget) or has no usable point.
        learned_step: optimiser step of the first tracking point at which it was right; NaN if never.
        learned_progress: the same in progress u, in [0, 1]; NaN if never.
        never_learned: it has usable points and was right at none of them.
    """

    events: FloatArray
    learned_step: FloatArray
    learned_progress: FloatArray
    never_learned: BoolArray


def forgetting(curves: Curves, *, include_start: bool = False) -> Forgetting:
    """Forgetting events and first learning of each example (Toneva et al., ICLR 2019).

    Toneva et al. look each time an example is presented in training; here every tracking point is a look,
    so counts of runs with other tracking schedules do not compare. Right: the gold label is the single most
    probable one. Step 0 is left out by default: a lucky guess of the untrained head that does not last is
    no forgetting.

    Degenerate cases: points with undefined probabilities are left out (neighbours are then the remaining
    ones). An example that was never right is flagged and has NaN, not a stand-in number; one without a
    usable point (no gold label) has NaN and is not flagged.

    Args:
        curves: n examples at T tracking points.
        include_start: take step 0 as well.
    """
    keep = kept_points(curves, include_start)
    margins = gold_margins(curves)[:, keep]
    right = np.where(np.isnan(margins), np.nan, (margins > 0).astype(np.float64))
    answers, at, count = close_gaps(right, curves.steps[keep].astype(np.float64))
    inside = np.arange(answers.shape[1]) < count[:, None]
    correct = (answers > 0) & inside
    ever = correct.any(axis=1)
    lost = correct[:, :-1] & ~correct[:, 1:] & inside[:, 1:]
    step = np.full(len(curves), np.nan)
    if answers.shape[1]:
        first = correct.argmax(axis=1)
        step[ever] = np.take_along_axis(at, first[:, None], axis=1)[ever, 0]
    return Forgetting(
        events=np.where(ever, lost.sum(axis=1).astype(np.float64), np.nan),
        learned_step=step,
        learned_progress=step / max(curves.total_steps, 1),
        never_learned=(count > 0) & ~ever,
    )
