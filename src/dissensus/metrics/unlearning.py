"""Un-learning, or loss reversal: an example's loss rises during training. (Not machine unlearning.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dissensus.curves import Curves, CurveSource, FloatArray
from dissensus.display import ShortRepr
from dissensus.errors import DataError, SpecError
from dissensus.metrics.blocks import by_blocks
from dissensus.metrics.points import (
    BoolArray,
    IntArray,
    Loss,
    check_points,
    close_gaps,
    losses_for,
    recompute_gaps,
    row_dots,
)


@dataclass(frozen=True, repr=False)
class Unlearning(ShortRepr):
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

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: value for name, value in vars(self).items() if name != "noise_floor"}

    @property
    def share(self) -> float:
        """Share of un-learned examples among the defined ones, in [0, 1]; NaN when there are none."""
        return float(self.flag[self.defined].mean()) if self.defined.any() else float("nan")


def unlearning(curves: Curves | CurveSource, *, noise_floor: float = 0.1, loss: Loss = "gold") -> Unlearning:
    """Un-learning of each example: delta, slope, rise, and the flag that takes all three.

    Delta alone would flag any example that ends a hair above its start, slope alone one that fell late,
    rise alone one that recovered only in part from a dip; hence all three. See `Unlearning` for formulas,
    units and signs.

    Degenerate cases: delta and rise are NaN when the first or the last tracking point is not finite (rise:
    the last): a diverged run must not pass for a good one by its last finite loss. The slope needs two
    finite points, the minimum is over the finite points.

    Args:
        curves: n examples at T tracking points, in memory or stored (`open_curves`).
        noise_floor: the smallest rise that counts, nats; a stated constant, or `noise_floor_between_seeds`.
        loss: 'gold', or 'soft' for cross-entropy against the annotators' distribution.

    Raises:
        SpecError: the noise floor is negative or not a number, or the loss is unknown.
    """
    u = curves.progress
    trend = by_blocks(curves, lambda block: vars(trend_of(block.losses_for(loss), u)))
    return judge(Trend(**trend), noise_floor=noise_floor)


@dataclass(frozen=True)
class Trend:
    """What un-learning is judged by, of n curves. Every array has shape (n,).

    Attributes:
        slope: least-squares slope of the loss on x; NaN below two finite points.
        first: the first loss, as it is; NaN where there are not two points: one is both ends, with nothing between.
        last: the last loss, likewise.
        lowest: the smallest finite loss; infinity where there is none.
    """

    slope: FloatArray
    first: FloatArray
    last: FloatArray
    lowest: FloatArray


def trend_of(losses: FloatArray, x: FloatArray) -> Trend:
    """The trend of losses of shape (n, T) at positions x of shape (T,)."""
    slope = slope_of(losses, x)
    if len(x) < 2:
        unknown = np.full(len(losses), np.nan)
        return Trend(slope, unknown, unknown, unknown)
    return Trend(slope, losses[:, 0], losses[:, -1], lowest_of(losses))


def judge(trend: Trend, *, noise_floor: float) -> Unlearning:
    """Un-learning from trends; see `unlearning`."""
    if not noise_floor >= 0:
        raise SpecError(f"noise_floor is {noise_floor!r}; expected a number of at least 0, in nats")
    first, last = (np.where(np.isfinite(end), end, np.nan) for end in (trend.first, trend.last))
    delta, rise = last - first, last - trend.lowest
    defined = np.isfinite(delta) & np.isfinite(trend.slope) & np.isfinite(rise)
    flag = defined & (delta > 0) & (trend.slope > 0) & (rise > noise_floor)
    return Unlearning(delta, trend.slope, rise, flag, defined, float(noise_floor))


def lowest_of(losses: FloatArray) -> FloatArray:
    """The smallest finite value of each row, shape (n,); infinity where there is none."""

    def with_gaps(rows: IntArray) -> FloatArray:
        row_losses = losses[rows]
        return np.asarray(np.where(np.isfinite(row_losses), row_losses, np.inf).min(axis=1), dtype=np.float64)

    # A NaN or a -inf becomes the smallest value and is seen; a +inf does not become it, nor is it meant to.
    return recompute_gaps(losses.min(axis=1), with_gaps)


def slope_of(losses: FloatArray, x: FloatArray) -> FloatArray:
    """Least-squares slope of each row of `losses`, (n, T), on x, (T,); NaN below two finite points."""
    check_points(losses, x)
    if len(x) < 2:
        return np.full(len(losses), np.nan)
    centred = x - x.mean()
    with np.errstate(invalid="ignore", over="ignore"):
        # 0 x inf and 0 x NaN are no numbers either, so a gap shows whatever its weight.
        slope = row_dots(losses, centred) / (centred @ centred)

    def with_gaps(rows: IntArray) -> FloatArray:
        values, at, count = close_gaps(losses[rows], x)
        inside = np.arange(len(x)) < count[:, None]
        size = np.maximum(count, 1)[:, None]
        centred = np.where(inside, at - at.sum(axis=1, keepdims=True) / size, 0.0)
        heights = np.where(inside, values - values.sum(axis=1, keepdims=True) / size, 0.0)
        slope = np.full(len(rows), np.nan)
        np.divide((centred * heights).sum(axis=1), (centred**2).sum(axis=1), out=slope, where=count >= 2)
        return slope

    return recompute_gaps(slope, with_gaps)


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
    curves = residuals.reshape(-1, len(steps))
    return float(np.quantile(curves[:, -1] - lowest_of(curves), quantile))
