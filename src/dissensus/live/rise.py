"""Rise of a group's mean loss, told from noise: the rule behind the live warning. Needs NumPy alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

LEAST_RISE = 0.05
"""Nats: a group's mean that stands less above its lowest is not worth a warning."""

LEARNED = 0.05
"""Nats that the settled group's loss must have fallen by: without that nothing was learned, and nothing un-learned."""

STANDARD_ERRORS = 3.0
"""Of the mean of the examples' own rises. A warning is asked for at every point, so twice would be too few."""

JITTERS = 4.0
"""Standard deviations of the curve's own jitter. Its lowest point lies two below the curve by chance already."""

LOOKED_BACK_ON = 50
"""Points that jitter is estimated from."""


@dataclass(frozen=True)
class Rise:
    """A rise that is no accident.

    Attributes:
        since: the step at which the contested group's mean was lowest.
        mean: how much its mean has risen since, nats.
        now: its mean.
        settled: how much the settled group's mean has changed since, nats.
    """

    since: int
    mean: float
    now: float
    settled: float


class GroupRise:
    """Follows the contested and the settled group's losses and says when the first has risen.

    With l_it the loss of contested example i at point t, m_t their mean, and s the point with the lowest m so far, the
    rise is r = mean_i (l_it - l_is) over the examples that are finite at both. It counts when

    - r is at least `least_rise`, and at least `STANDARD_ERRORS` times the standard error of that mean (the standard
      deviation of l_it - l_is over the square root of their number): not a few examples' doing;
    - r is at least `JITTERS` times the curve's jitter, median |m_t-2 - 2 m_t-1 + m_t| / (0.6745 sqrt 6) over the points
      before s and after: of points that scatter around a smooth curve with standard deviation sigma, second differences
      have the standard deviation sqrt 6 sigma; 0 below three points;
    - the settled group's mean is at least `LEARNED` nats below its first, so that something was learned;
    - the settled group's mean has not risen by more than r since s: training as a whole does not diverge.

    Degenerate cases: nothing has risen where a mean is not finite, or where fewer than two examples are finite at both.

    How often it errs is measured in `tests/live/test_rise.py`: a mean that scatters is not taken for a rise, but one
    that wanders slowly, by more than `least_rise` and for several points, is.

    Args:
        least_rise: nats.
    """

    def __init__(self, least_rise: float = LEAST_RISE) -> None:
        self._least = least_rise
        self._lowest: tuple[int, float, FloatArray, float] | None = None
        self._settled_first = np.nan
        self._means: deque[float] = deque(maxlen=LOOKED_BACK_ON)

    def add(self, step: int, contested: FloatArray, settled: FloatArray) -> Rise | None:
        """Take in a tracking point's losses, in nats, of either group; the rise, if there is one that counts."""
        now, now_settled = finite_mean(contested), finite_mean(settled)
        if not np.isfinite(now):
            return None
        self._means.append(now)
        if np.isnan(self._settled_first):
            self._settled_first = now_settled
        if self._lowest is None or now <= self._lowest[1]:
            self._lowest = (step, now, contested.copy(), now_settled)
            return None
        since, _, then, settled_then = self._lowest
        both = np.isfinite(contested) & np.isfinite(then)
        each = contested[both] - then[both]
        if len(each) < 2:
            return None
        rise = float(each.mean())
        error = float(each.std(ddof=1) / np.sqrt(len(each)))
        learned = self._settled_first - now_settled >= LEARNED
        clear = rise >= max(self._least, STANDARD_ERRORS * error, JITTERS * self._jitter())
        if not (clear and learned) or now_settled - settled_then > rise:
            return None
        return Rise(since, rise, now, now_settled - settled_then)

    def _jitter(self) -> float:
        if len(self._means) < 3:
            return 0.0
        second = np.abs(np.diff(np.array(self._means), n=2))
        return float(np.median(second) / (0.6745 * np.sqrt(6.0)))


def finite_mean(values: FloatArray) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
