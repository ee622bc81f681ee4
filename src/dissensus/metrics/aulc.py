"""Area under the learning curve (AULC): one example's loss, averaged over training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from dissensus.curves import Curves, FloatArray
from dissensus.errors import DataError, SpecError
from dissensus.metrics.points import Loss, close_gaps, losses_for

Axis = Literal["progress", "log"]


def aulc(curves: Curves, *, loss: Loss = "gold", x: Axis = "progress", relative: bool = False) -> FloatArray:
    """Area under each example's learning curve: its loss averaged over training.

    AULC_i is the integral of l_i(u) over u in [0, 1], by the trapezoid rule over the tracking points, as in
    "Annotation Entropy Predicts Per-Example Learning Dynamics in LoRA Fine-Tuning" (arXiv 2604.16332).

    Unit: nats (the axis has length 1). Range: [0, inf), or any real number when `relative`. High: learned
    late, or never; relative and above 0: on average worse than before training.

    Degenerate cases: points whose loss is not finite are left out. A gap in the middle is bridged by a
    straight line. Where the first or the last points are missing (also in a run that has not ended) the
    integral is taken over the span that is covered and divided by its length: still an average loss in
    nats, over less of the training. Fewer than two finite points give NaN.

    Args:
        curves: n examples at T tracking points.
        loss: 'gold', or 'soft' for cross-entropy against the annotators' distribution.
        x: 'progress' (u = step / total steps), or 'log' for log(1 + step) / log(1 + total steps), which
            gives the first steps more weight.
        relative: subtract the loss at step 0 (see `aulc_of`; NaN where that is not known).

    Returns:
        Shape (n,).

    Raises:
        SpecError: an option is unknown.
    """
    losses = losses_for(curves, loss)
    if relative and (len(curves.steps) == 0 or curves.steps[0] != 0):
        return np.full(len(curves), np.nan)
    return aulc_of(losses, axis_of(curves, x), relative=relative)


def axis_of(curves: Curves, x: Axis) -> FloatArray:
    """Positions of the tracking points in [0, 1], shape (T,): 'progress' or 'log' (see `aulc`)."""
    if x == "progress":
        return curves.progress
    if x == "log":
        return np.asarray(np.log1p(curves.steps) / np.log1p(max(curves.total_steps, 1)), dtype=np.float64)
    raise SpecError(f"x is {x!r}; expected 'progress' or 'log'")


def aulc_of(losses: ArrayLike, x: ArrayLike, *, relative: bool = False) -> FloatArray:
    """Average height of curves by the trapezoid rule: integral over the covered span, divided by that span.

    Args:
        losses: shape (n, T); values that are not finite are left out.
        x: positions of the T points, rising, in any unit (the result is in the unit of `losses`).
        relative: subtract each curve's first value; NaN where that is not finite.

    Returns:
        Shape (n,); NaN for fewer than two finite points.

    Raises:
        DataError: the shapes do not fit, or x does not rise.
    """
    y, positions = np.asarray(losses, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if not np.all(np.diff(positions) > 0):  # written so that NaN fails as well
        raise DataError(f"positions of the points must rise; given: {positions.tolist()}")
    values, at, count = close_gaps(y, positions)
    inside = np.arange(1, y.shape[1]) < count[:, None]
    width = np.where(inside, np.diff(at, axis=1), 0.0)
    area = (width * (values[:, 1:] + values[:, :-1]) / 2).sum(axis=1)
    span = width.sum(axis=1)
    mean = np.full(len(y), np.nan)
    np.divide(area, span, out=mean, where=count >= 2)
    if relative and y.shape[1]:
        mean -= np.where(np.isfinite(y[:, 0]), y[:, 0], np.nan)
    return mean
