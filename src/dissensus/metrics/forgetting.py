"""Forgetting events: how often an example that was answered correctly is answered wrongly again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.display import ShortRepr
from dissensus.metrics.blocks import Block, by_blocks
from dissensus.metrics.points import BoolArray, close_gaps, count_true, kept_points


@dataclass(frozen=True, repr=False)
class Forgetting(ShortRepr):
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


def forgetting(curves: Curves | CurveSource, *, include_start: bool = False) -> Forgetting:
    """Forgetting events and first learning of each example (Toneva et al., ICLR 2019).

    Toneva et al. look each time an example is presented in training; here every tracking point is a look,
    so counts of runs with other tracking schedules do not compare. Right: the gold label is the single most
    probable one. Step 0 is left out by default: a lucky guess of the untrained head that does not last is
    no forgetting.

    Degenerate cases: points with undefined probabilities are left out (neighbours are then the remaining
    ones). An example that was never right is flagged and has NaN, not a stand-in number; one without a
    usable point (no gold label) has NaN and is not flagged.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        include_start: take step 0 as well.
    """
    kept = kept_points(curves, include_start)
    return Forgetting(**by_blocks(curves, lambda block: vars(forgetting_of(block, curves, kept))))


def forgetting_of(block: Block, curves: Curves | CurveSource, kept: slice) -> Forgetting:
    """`forgetting` of a block of examples of `curves`, over the points in `kept`."""
    margins, right, gaps = block.margins[:, kept], block.right[:, kept], block.gaps
    steps = curves.steps[kept].astype(np.float64)
    learned = np.full(len(right), np.nan)
    ever = np.zeros(len(right), dtype=np.bool_)
    if len(steps):
        first = right.argmax(axis=1)
        ever = right[np.arange(len(right)), first]  # the first of the largest is False only where all are
        learned[ever] = steps[first[ever]]
    lost = count_true(right[:, :-1] > right[:, 1:])
    usable = np.full(len(margins), len(steps) > 0)
    if len(gaps):
        known = ~np.isnan(margins[gaps])
        # Neighbours are the points that remain. What is not known is not right, so the first right point stands.
        answers, _, count = close_gaps(np.where(known, right[gaps], np.nan), steps)
        correct = answers > 0
        inside = np.arange(1, len(steps)) < count[:, None]
        lost[gaps] = ((correct[:, :-1] > correct[:, 1:]) & inside).sum(axis=1)
        usable[gaps] = count > 0
    return Forgetting(
        events=np.where(ever, lost, np.nan),
        learned_step=learned,
        learned_progress=learned / max(curves.total_steps, 1),
        never_learned=usable & ~ever,
    )
