"""Learning time by a loss threshold: the first tracking point at which an example's loss is below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.display import ShortRepr
from dissensus.errors import DataError
from dissensus.metrics.blocks import by_blocks

LN_2 = 0.693
"""nats: the threshold of the paper's code, about the loss of an even guess between two labels."""


@dataclass(frozen=True, repr=False)
class LearningTime(ShortRepr):
    """When n examples were learned. Arrays have shape (n,).

    Both are infinite for an example that never was below the threshold (it ranks last), and NaN for one without a
    finite loss, of which nothing is known.

    Attributes:
        point: number of the first such tracking point, from 0.
        step: the optimiser step of that point.
    """

    point: FloatArray
    step: FloatArray


def learning_time(curves: Curves | CurveSource, threshold: float = LN_2) -> LearningTime:
    """Learning time of each example of `curves` by its gold loss; see `learning_time_of`.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        threshold: nats.
    """
    steps = np.asarray(curves.steps, dtype=np.float64)
    point = by_blocks(curves, lambda block: {"point": learning_time_of(block.losses, steps, threshold).point})
    return LearningTime(point["point"], _steps_at(point["point"], steps))


def learning_time_of(losses: ArrayLike, steps: ArrayLike, threshold: float = LN_2) -> LearningTime:
    """The first point with a loss below `threshold`: strictly below, step 0 among the points.

    Unlike `Forgetting.learned_step`, which asks whether gold is the most probable label and leaves step 0 out. A point
    whose loss is not finite is not below.

    Args:
        losses: nats, shape (n, T).
        steps: of the T points, shape (T,).
        threshold: nats.

    Raises:
        DataError: the shapes do not fit.
    """
    values, at = np.asarray(losses, dtype=np.float64), np.asarray(steps, dtype=np.float64)
    if values.ndim != 2 or at.shape != values.shape[1:]:
        raise DataError(
            f"losses have shape {values.shape} and steps {at.shape}; expected (examples, points) and (points,)"
        )
    point = np.full(len(values), np.nan)
    point[np.isfinite(values).any(axis=1)] = np.inf
    below = np.isfinite(values) & (values < threshold)
    learned = below.any(axis=1)
    if learned.any():
        point[learned] = below[learned].argmax(axis=1)
    return LearningTime(point, _steps_at(point, at))


def _steps_at(point: FloatArray, steps: FloatArray) -> FloatArray:
    step = point.copy()
    learned = np.isfinite(point)
    step[learned] = steps[point[learned].astype(np.intp)]
    return step
