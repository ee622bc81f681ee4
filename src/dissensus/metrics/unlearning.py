"""Un-learning, or loss reversal: an example's loss rises during training. (Not machine unlearning.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dissensus.curves import Curves, FloatArray
from dissensus.errors import DataError, SpecError
from dissensus.metrics.points import BoolArray, Loss, close_gaps, losses_for


@dataclass(frozen=True)
class Unlearning:
    """Un-learning of n examples. Every array has shape (n,).

    Attributes:
        delta: l(1) - l(0), nats: last tracking point minus first. Any sign; above 0: worse than at the start.
        slope: least-squares slope of the loss on progress u, nats per unit of training.
        rise: l(1) - min l, nats, at least 0: how far the end lies above the best point.
        flag: delta > 0, slope > 0 and rise > noise floor. False where `defined` is False.
        defined: all three numbers are known; shares are of these examples.
        noise_floor: the smallest rise that counts, nats.
    """

    delta: FloatArray
    slope: FloatArray
    rise: FloatArray
    flag: BoolArray
    defined: BoolArray
    noise_floor: float

    @property
    def share(self) -> float:
        """Share of un-learned examples among the defined ones, in [0, 1]; NaN when there are none."""
        return float(self.flag[self.defined].mean()) if self.defined.any() else float("nan")


def unlearning(curves: Curves, *, noise_floor: float = 0.1, loss: Loss = "gold") -> Unlearning:
    """Un-learning of each example: delta, slope, rise, and the flag that takes all three.

    Delta alone would flag any example that ends a hair above its start, slope alone one that fell late,
    rise alone one that recovered only in part from a dip; hence all three. See `Unlearning` for formulas,
    units and signs.

    Degenerate cases: delta and rise are NaN when the first or the last tracking point is not finite (rise:
    the last): a diverged run must not pass for a good one by its last finite loss. The slope needs two
    finite points, the minimum is over the finite points.

    Args:
        curves: n examples at T tracking points.
        noise_floor: the smallest rise that counts, nats; a stated constant, or `noise_floor_between_seeds`.
        loss: 'gold', or 'soft' for cross-entropy against the annotators' distribution.

    Raises:
        SpecError: the noise floor is negative or not a number, or the loss is unknown.
    """
    return unlearning_of(losses_for(curves, loss), curves.progress, noise_floor=noise_floor)


def unlearning_of(losses: ArrayLike, x: ArrayLike, *, noise_floor: float = 0.1) -> Unlearning:
    """`unlearning` of bare arrays: losses of shape (n, T) at positions x of shape (T,)."""
    if not noise_floor >= 0:
        raise SpecError(f"noise_floor is {noise_floor!r}; expected a number of at least 0, in nats")
    y, u = np.asarray(losses, dtype=np.float64), np.asarray(x, dtype=np.float64)
    slope = slope_of(y, u)
    if y.shape[1] < 2:  # one point is both ends; nothing was trained in between
        delta = rise = np.full(len(y), np.nan)
    else:
        known = np.where(np.isfinite(y), y, np.nan)
        delta = known[:, -1] - known[:, 0]
        rise = rise_of(y)
    defined = np.isfinite(delta) & np.isfinite(slope) & np.isfinite(rise)
    flag = defined & (delta > 0) & (slope > 0) & (rise > noise_floor)
    return Unlearning(delta, slope, rise, flag, defined, float(noise_floor))


def rise_of(losses: FloatArray) -> FloatArray:
    """Last value minus the smallest finite one, shape (n,), at least 0; NaN where the last is not finite."""
    finite = np.isfinite(losses)
    last = np.where(finite[:, -1], losses[:, -1], np.nan)
    return np.asarray(last - np.where(finite, losses, np.inf).min(axis=1), dtype=np.float64)


def slope_of(losses: FloatArray, x: FloatArray) -> FloatArray:
    """Least-squares slope of each row of `losses`, (n, T), on x, (T,); NaN below two finite points."""
    values, at, count = close_gaps(losses, x)
    inside = np.arange(losses.shape[1]) < count[:, None]
    size = np.maximum(count, 1)[:, None]
    centred = np.where(inside, at - at.sum(axis=1, keepdims=True) / size, 0.0)
    # Centring the losses too changes nothing in exact arithmetic and keeps the digits of a small slope.
    heights = np.where(inside, values - values.sum(axis=1, keepdims=True) / size, 0.0)
    slope = np.full(len(losses), np.nan)
    np.divide((centred * heights).sum(axis=1), (centred**2).sum(axis=1), out=slope, where=count >= 2)
    return slope


def noise_floor_between_seeds(
    runs: Sequence[Curves], *, quantile: float = 0.95, loss: Loss = "gold"
) -> float:
    """The rise that chance alone gives a flat curve, estimated from several seeds of one condition, in nats.

    For example i, seed s and point t let r_ist = sqrt(S / (S - 1)) (l_ist - mean over seeds of l_i.t): the
    part of a curve that another seed does not repeat (the factor undoes the shrinking of residuals around a
    mean of S). A curve on which training had no effect at all would be such a residual around a constant,
    with the same dependence between neighbouring points; its rise r(1) - min r is due to the seed alone.
    The floor is the given quantile of these rises over all examples and seeds: by chance, one flat curve in
    twenty (at 0.95) rises further.

    Range: at least 0. It also covers what differs *systematically* between seeds (another head, another
    order), so it is no estimate of the noise of one optimiser step. Examples with a value that is not
    finite in any seed are left out; NaN when none remains.

    Args:
        runs: curves of two or more seeds; joined by id, so the order of examples may differ.
        quantile: in (0, 1).
        loss: 'gold' or 'soft'.

    Raises:
        DataError: fewer than two runs, or runs with other examples or tracking points.
        SpecError: the quantile is outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise SpecError(f"quantile is {quantile!r}; expected a number between 0 and 1")
    if len(runs) < 2:
        raise DataError(f"a noise floor between seeds needs at least 2 runs; given: {len(runs)}")
    ids, steps = runs[0].ids, runs[0].steps
    stacked = []
    for number, run in enumerate(runs, 1):
        row = {example_id: i for i, example_id in enumerate(run.ids)}
        if row.keys() != set(ids) or not np.array_equal(run.steps, steps):
            raise DataError(
                f"run {number} has other examples or tracking points than run 1 ({len(run)} at "
                f"{len(run.steps)} points, against {len(ids)} at {len(steps)}); give seeds of one condition"
            )
        stacked.append(losses_for(run, loss)[[row[i] for i in ids]])
    losses = np.stack(stacked)  # (S, n, T)
    losses = losses[:, np.isfinite(losses).all(axis=(0, 2))]
    if losses.shape[1] == 0 or len(steps) < 2:
        return float("nan")
    seeds = len(runs)
    residuals = (losses - losses.mean(axis=0)) * np.sqrt(seeds / (seeds - 1))
    return float(np.quantile(rise_of(residuals.reshape(-1, len(steps))), quantile))
