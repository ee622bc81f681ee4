"""Area under the learning curve (AULC): one example's loss, averaged over training."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.errors import DataError, SpecError
from dissensus.metrics.blocks import Block, by_blocks
from dissensus.metrics.points import IntArray, Loss, check_points, close_gaps, recompute_gaps, row_dots

Axis = Literal["progress", "log"]
Rule = Literal["trapezoid", "mean"]
"""`trapezoid`: the area by the trapezoid rule; `mean`: the plain mean of the points, whatever their spacing."""


def aulc(
    curves: Curves | CurveSource,
    *,
    loss: Loss = "gold",
    x: Axis = "progress",
    relative: bool = False,
    rule: Rule = "trapezoid",
) -> FloatArray:
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
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        loss: 'gold', or 'soft' for cross-entropy against the annotators' distribution.
        x: 'progress' (u = step / total steps), or 'log' for log(1 + step) / log(1 + total steps), which
            gives the first steps more weight.
        relative: subtract the loss at step 0 (see `aulc_of`; NaN where that is not known).
        rule: 'trapezoid'; or 'mean', the arithmetic mean of the finite points, each once whatever its spacing (the
            paper's code), for which x is of no account.

    Returns:
        Shape (n,).

    Raises:
        SpecError: an option is unknown.
    """
    at = axis_of(curves, x)
    known = not relative or (len(curves.steps) > 0 and curves.steps[0] == 0)
    area = by_blocks(
        curves, lambda block: {"aulc": block_aulc(block, at, loss=loss, relative=relative, rule=rule)}
    )["aulc"]
    return area if known else np.full(len(curves), np.nan)


def block_aulc(
    block: Block,
    at: FloatArray,
    *,
    loss: Loss = "gold",
    relative: bool = False,
    rule: Rule = "trapezoid",
) -> FloatArray:
    """`aulc` of a block of examples, shape (b,), at positions `at` of shape (T,)."""
    if loss != "soft" or relative or len(at) < 2:
        return aulc_of(block.losses_for(loss), at, relative=relative, rule=rule)
    # The area of a weighted sum of curves is the weighted sum of their areas, which needs no curve of soft losses.
    weight = point_weights(at, rule)
    with np.errstate(invalid="ignore", over="ignore"):
        areas = [row_dots(block.log_probs_of(label), weight) for label in range(block.shares.shape[1])]
        soft = -(block.shares * np.stack(areas, axis=1)).sum(axis=1)
    return recompute_gaps(soft, lambda rows: aulc_of(block.soft_losses[rows], at, rule=rule))


def axis_of(curves: Curves | CurveSource, x: Axis) -> FloatArray:
    """Positions of the tracking points in [0, 1], shape (T,): 'progress' or 'log' (see `aulc`)."""
    if x == "progress":
        return curves.progress
    if x == "log":
        return np.asarray(np.log1p(curves.steps) / np.log1p(max(curves.total_steps, 1)), dtype=np.float64)
    raise SpecError(f"x is {x!r}; expected 'progress' or 'log'")


def aulc_of(
    losses: ArrayLike, x: ArrayLike, *, relative: bool = False, rule: Rule = "trapezoid"
) -> FloatArray:
    """Average height of curves: integral over the covered span, divided by that span; or the mean of the points.

    Args:
        losses: shape (n, T); values that are not finite are left out.
        x: positions of the T points, rising, in any unit (the result is in the unit of `losses`).
        relative: subtract each curve's first value; NaN where that is not finite.
        rule: 'trapezoid', or 'mean': the mean of the finite values.

    Returns:
        Shape (n,); NaN for fewer than two finite points.

    Raises:
        DataError: the shapes do not fit, or x does not rise.
        SpecError: the rule is unknown.
    """
    y, positions = np.asarray(losses, dtype=np.float64), np.asarray(x, dtype=np.float64)
    if not np.all(np.diff(positions) > 0):  # written so that NaN fails as well
        raise DataError(f"positions of the points must rise; given: {positions.tolist()}")
    check_points(y, positions)
    if len(positions) < 2:
        return np.full(len(y), np.nan)
    weight = point_weights(positions, rule)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = row_dots(y, weight)  # every weight is above 0, so a gap leaves no number

    def with_gaps(rows: IntArray) -> FloatArray:
        values, at, count = close_gaps(y[rows], positions)
        if rule == "mean":
            return np.where(count >= 2, values.sum(axis=1) / np.maximum(count, 1), np.nan)
        inside = np.arange(1, y.shape[1]) < count[:, None]
        width = np.where(inside, np.diff(at, axis=1), 0.0)
        area = (width * (values[:, 1:] + values[:, :-1]) / 2).sum(axis=1)
        covered = np.full(len(rows), np.nan)
        np.divide(area, width.sum(axis=1), out=covered, where=count >= 2)
        return covered

    recompute_gaps(mean, with_gaps)
    if relative:
        mean -= np.where(np.isfinite(y[:, 0]), y[:, 0], np.nan)
    return mean


def point_weights(x: FloatArray, rule: Rule) -> FloatArray:
    """Weights, all above 0 and 1 in sum, of T >= 2 rising positions in an average by `rule`."""
    if rule == "mean":
        return np.full(len(x), 1 / len(x))
    if rule == "trapezoid":
        return trapezoid_weights(x)
    raise SpecError(f"rule is {rule!r}; expected 'trapezoid' or 'mean'")


def trapezoid_weights(x: FloatArray) -> FloatArray:
    """Weights, all above 0 and 1 in sum, with which the trapezoid rule averages over T >= 2 rising positions."""
    width = np.diff(x)
    return np.asarray((np.append(width, 0.0) + np.append(0.0, width)) / 2 / (x[-1] - x[0]), dtype=np.float64)
