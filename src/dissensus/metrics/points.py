"""Shared by the metrics: choice of the loss, choice of the tracking points, and gaps in a curve.

A value that is not finite (no gold label, a diverged run, a probability of exactly 0) is a gap. Gaps are
left out point by point; a metric says how many points it needs and gives NaN below that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.errors import DataError, SpecError

Loss = Literal["gold", "soft"]
"""`gold`: -log p(gold label); `soft`: cross-entropy against the annotators' distribution. Both in nats."""

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.intp]


def losses_for(curves: Curves, loss: Loss) -> FloatArray:
    """The losses of `curves` by name, in nats, shape (n, T)."""
    if loss == "gold":
        return curves.losses
    if loss == "soft":
        return curves.soft_losses
    raise SpecError(f"loss is {loss!r}; expected 'gold' or 'soft'")


def kept_points(curves: Curves | CurveSource, include_start: bool) -> slice:
    """Which tracking points a metric of training dynamics looks at: all, or all but step 0."""
    has_start = len(curves.steps) > 0 and curves.steps[0] == 0  # steps rise, so step 0 can only be the first
    return slice(1, None) if has_start and not include_start else slice(None)


def row_dots(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Sum over each row of value times weight, shape (n,); `weights` is one row, (T,), or has a row each, (n, T).

    Not `np.vecdot`, which keeps other threads waiting, nor a matrix product, whose rounding would depend on which rows
    lie side by side.
    """
    return np.asarray(np.einsum("nt,t->n" if weights.ndim == 1 else "nt,nt->n", values, weights))


def count_true(flags: BoolArray) -> FloatArray:
    """How many of each row's flags are set, shape (n,); as floats, which is what shares are made of."""
    return np.asarray(np.add.reduce(flags.view(np.int8), axis=1, dtype=np.int32), dtype=np.float64)


def check_points(values: FloatArray, x: FloatArray) -> None:
    """Raise a DataError unless values are (n, T) and positions (T,)."""
    if values.ndim != 2 or x.shape != values.shape[1:]:
        raise DataError(
            f"curves of shape {values.shape} do not fit positions of shape {x.shape}; "
            "expected (examples, points) and (points,)"
        )


def recompute_gaps(values: FloatArray, slowly: Callable[[IntArray], FloatArray]) -> FloatArray:
    """Compute again, in place, the rows for which a formula for curves without gaps gave no number.

    Gaps are rare, and a formula that leaves them out costs several times one that need not. So the short formula runs
    on all rows; it must not give a finite number for a row with a gap.

    Args:
        values: shape (n,).
        slowly: the same quantity for the given rows, with their gaps left out; NaN where it is not defined.
    """
    gaps = np.flatnonzero(~np.isfinite(values))
    if len(gaps):
        values[gaps] = slowly(gaps)
    return values


def close_gaps(values: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Move each row's finite values to its front, in order, with their positions.

    Args:
        values: shape (n, T).
        x: positions of the points, shape (T,).

    Returns:
        The values and the positions, both (n, T), 0 behind the last finite one; and how many are finite,
        (n,).
    """
    check_points(values, x)
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    if finite.all():
        return values, np.broadcast_to(x, values.shape), count
    order = np.argsort(~finite, axis=1, kind="stable")
    inside = np.arange(values.shape[1]) < count[:, None]
    return (
        np.where(inside, np.take_along_axis(values, order, axis=1), 0.0),
        np.where(inside, x[order], 0.0),
        count,
    )
