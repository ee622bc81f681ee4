"""What the metrics share: which loss, which tracking points, and how gaps in a curve are handled.

A value that is not finite (no gold label, a diverged run, a probability of exactly 0) is a gap. Gaps are
left out point by point; a metric says how many points it needs and gives NaN below that.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, FloatArray
from dissensus.data.annotations import NO_GOLD
from dissensus.errors import DataError, SpecError

Loss = Literal["gold", "soft"]
"""`gold`: -log p(gold label); `soft`: cross-entropy against the annotators' distribution. Both in nats."""

BoolArray = NDArray[np.bool_]


def losses_for(curves: Curves, loss: Loss) -> FloatArray:
    """The losses of `curves` by name, in nats, shape (n, T)."""
    if loss == "gold":
        return curves.losses
    if loss == "soft":
        return curves.soft_losses
    raise SpecError(f"loss is {loss!r}; expected 'gold' or 'soft'")


def gold_margins(curves: Curves) -> FloatArray:
    """log p(gold) - max over other labels of log p(label), in nats, shape (n, T); NaN without a gold label.

    The normalising constant of the softmax cancels, so this is the margin between logits as well. The gold
    label is the model's choice where the margin is above 0; a tie counts as wrong, so that no result
    depends on the order of the labels.
    """
    gold = np.maximum(curves.gold, 0)
    log_probs = curves.log_probs.astype(np.float64)
    own = np.take_along_axis(log_probs, gold[:, None, None], axis=2)[:, :, 0]
    others = log_probs.copy()
    others[np.arange(len(curves)), :, gold] = -np.inf
    with np.errstate(invalid="ignore"):  # -inf - -inf is undefined, hence NaN
        margins = np.asarray(own - others.max(axis=2), dtype=np.float64)
    margins[curves.gold == NO_GOLD] = np.nan
    return margins


def kept_points(curves: Curves, include_start: bool) -> BoolArray:
    """Which tracking points a metric of training dynamics looks at, shape (T,): all, or all but step 0."""
    return np.ones(len(curves.steps), dtype=np.bool_) if include_start else curves.steps > 0


def close_gaps(values: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Move each row's finite values to its front, in order, with their positions.

    Args:
        values: shape (n, T).
        x: positions of the points, shape (T,).

    Returns:
        The values and the positions, both (n, T), 0 behind the last finite one; and how many are finite,
        (n,).
    """
    if values.ndim != 2 or x.shape != values.shape[1:]:
        raise DataError(
            f"curves of shape {values.shape} do not fit positions of shape {x.shape}; "
            "expected (examples, points) and (points,)"
        )
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
